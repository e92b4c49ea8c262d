/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rows flow through the controls, each of which keeps the rows that it looks
 * at. Between them a row is floats of [0, 1].
 *
 * Maxima in a disc: each of its rows is a run of pixels. The maximum of a run
 * is that of two overlapping runs whose length is a power of two, and runs of
 * these lengths are made by doubling, once per source row. To choke is to
 * expand the complement. (Urbach and Wilkinson, "Efficient 2-D grayscale
 * morphological transformations with arbitrary flat structuring elements",
 * IEEE Transactions on Image Processing 17 (1), 2008.)
 */
#include "edge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clones.h"

#define RADIUS_MAX CPSP_EDGE_SHIFT_MAX
#define DISC_ROWS (2 * RADIUS_MAX + 1)
// Runs of 1, 2, 4... up to the disc's widest row.
#define RUN_LENGTHS 8
G_STATIC_ASSERT ((1 << RUN_LENGTHS) > DISC_ROWS);

// The raised cosine reaches half its width, its interpolation less than one
// pixel more.
#define TAPS_MAX (CPSP_EDGE_FEATHER_MAX / 2)
#define FEATHER_ROWS (2 * TAPS_MAX + 1)

// Cache lines
#define ALIGNMENT 64

#define THREADS_MAX 8
// A band's first row takes all the rows that the controls look at.
#define BAND_ROWS_MIN 64

// The rows in hand of one band of the plane.
typedef struct
{
  guint16 *runs;                // [DISC_ROWS][RUN_LENGTHS][run_pitch]
  guint16 *inner, *outer;       // [run_pitch]
  float *across;                // [FEATHER_ROWS][row_pitch]
  float *wide;                  // [row_pitch], TAPS_MAX pixels either side
  float *row, *result;          // [row_pitch]
} Rows;

struct _CpspEdge
{
  guint width;
  gsize run_pitch, row_pitch;   // elements
  guint threads;
  Rows rows[THREADS_MAX];
};

// Half the widths of a disc's rows: row dy has 2 * half[|dy|] + 1 pixels.
typedef struct
{
  guint radius;
  guint half[RADIUS_MAX + 1];
} Disc;

typedef struct _Job Job;

// Writes a row of the plane as it is after a control.
typedef void (*RowFunc) (Job * job, float *to, guint y);

// What a band of the plane takes.
struct _Job
{
  const CpspAlphaView *src;
  Rows rows;
  gsize run_pitch, row_pitch;

  RowFunc shift_src;
  gboolean choke;
  Disc inner, outer;            // the shift's radius is between theirs
  float outer_share;
  guint runs_end;               // the next row to be made

  RowFunc feather_src;
  guint taps;                   // on either side
  float weight[TAPS_MAX + 1];
  guint across_end;             // the next row to be made

  float black, gain;
  gboolean invert;
  RowFunc row_func;             // all of it
};

static gsize
pad_to_line (gsize n, gsize size)
{
  return (n * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT / size;
}

static gboolean
rows_init (Rows * rows, gsize run_pitch, gsize row_pitch)
{
  // Pages that no setting has used yet take no memory.
  rows->runs = aligned_alloc (ALIGNMENT,
      (DISC_ROWS * RUN_LENGTHS + 2) * run_pitch * sizeof (guint16));
  rows->across = aligned_alloc (ALIGNMENT,
      (FEATHER_ROWS + 3) * row_pitch * sizeof (float));
  if (!rows->runs || !rows->across)
    return FALSE;
  rows->inner = rows->runs + DISC_ROWS * RUN_LENGTHS * run_pitch;
  rows->outer = rows->inner + run_pitch;
  rows->wide = rows->across + FEATHER_ROWS * row_pitch;
  rows->row = rows->wide + row_pitch;
  rows->result = rows->row + row_pitch;
  return TRUE;
}

CpspEdge *
cpsp_edge_new (guint width, guint threads)
{
  CpspEdge *edge = g_try_new0 (CpspEdge, 1);

  if (!edge)
    return NULL;
  edge->width = width;
  edge->run_pitch = pad_to_line (width + 2 * RADIUS_MAX, sizeof (guint16));
  edge->row_pitch = pad_to_line (width + 2 * TAPS_MAX, sizeof (float));
  edge->threads = MIN (threads ? threads : g_get_num_processors (),
      THREADS_MAX);
  for (guint i = 0; i < edge->threads; i++) {
    if (!rows_init (&edge->rows[i], edge->run_pitch, edge->row_pitch)) {
      cpsp_edge_free (edge);
      return NULL;
    }
  }
  return edge;
}

void
cpsp_edge_free (CpspEdge * edge)
{
  if (!edge)
    return;
  for (guint i = 0; i < edge->threads; i++) {
    free (edge->rows[i].runs);
    free (edge->rows[i].across);
  }
  g_free (edge);
}

gboolean
cpsp_edge_settings_is_default (const CpspEdgeSettings * settings)
{
  return settings->shift == 0 && settings->feather <= 0
      && settings->black_point <= 0 && settings->white_point >= 1
      && !settings->invert;
}

/* Source */

CPSP_CLONES static void
load_bytes (float *restrict to, const guint8 * from, guint n)
{
  for (guint i = 0; i < n; i++)
    to[i] = from[i] * (1 / 255.f);
}

CPSP_CLONES static void
load_words (float *restrict to, const guint16 * from, guint n)
{
  for (guint i = 0; i < n; i++)
    to[i] = from[i] * (1 / 65535.f);
}

static void
source_row (Job * job, float *to, guint y)
{
  const guint8 *from = job->src->data + y * job->src->stride_bytes;

  if (job->src->format == CPSP_ALPHA_U8)
    load_bytes (to, from, job->src->width);
  else
    load_words (to, (const guint16 *) from, job->src->width);
}

/* Shift */

// The pixels within RADIUS and a quarter of the centre: without the quarter,
// small discs are diamonds.
static void
disc_init (Disc * disc, guint radius)
{
  double reach = radius ? radius + 0.25 : 0;

  disc->radius = radius;
  for (guint dy = 0; dy <= radius; dy++)
    disc->half[dy] = (guint) sqrt (reach * reach - (double) dy * dy);
}

// FLIP: 0, or 65535 for the complement.
CPSP_CLONES static void
words_row (guint16 * restrict to, const float *from, guint flip, guint n)
{
  for (guint i = 0; i < n; i++)
    to[i] = (gint) (from[i] * 65535 + 0.5f) ^ flip;
}

CPSP_CLONES static void
max_row (guint16 * restrict to, const guint16 * a, const guint16 * b, gsize n)
{
  for (gsize i = 0; i < n; i++)
    to[i] = MAX (a[i], b[i]);
}

CPSP_CLONES static void
max_into_row (guint16 * restrict to, const guint16 * a, const guint16 * b,
    const guint16 * c, const guint16 * d, guint n)
{
  for (guint i = 0; i < n; i++) {
    guint16 ab = MAX (a[i], b[i]), cd = MAX (c[i], d[i]);
    guint16 abcd = MAX (ab, cd);

    to[i] = MAX (to[i], abcd);
  }
}

static guint16 *
get_runs (const Job * job, guint y, guint length)
{
  gsize row = y % (2 * job->outer.radius + 1);

  return job->rows.runs + (row * RUN_LENGTHS + length) * job->run_pitch;
}

// Element i of the runs of 1 << length is the maximum of that many pixels from
// i - radius on; none lies outside of the frame.
static void
make_runs (Job * job, guint y)
{
  guint width = job->src->width, radius = job->outer.radius;
  guint16 *runs = get_runs (job, y, 0);
  gsize n = width + 2 * radius;

  job->shift_src (job, job->rows.row, y);
  memset (runs, 0, radius * sizeof (guint16));
  words_row (runs + radius, job->rows.row, job->choke ? 65535 : 0, width);
  memset (runs + radius + width, 0, radius * sizeof (guint16));

  for (guint length = 1; 1u << length <= 2 * radius + 1; length++) {
    const guint16 *shorter = get_runs (job, y, length - 1);
    guint16 *longer = get_runs (job, y, length);

    n -= 1u << (length - 1);
    max_row (longer, shorter, shorter + (1u << (length - 1)), n);
  }
}

// TO becomes its maximum with the discs around row Y's pixels, but for the
// disc's rows that are as wide as those of WITHOUT, which are in it already.
static void
max_in_disc (const Job * job, const Disc * disc, const Disc * without,
    guint16 * to, guint y)
{
  guint radius = job->outer.radius, height = job->src->height;

  for (guint dy = 0; dy <= disc->radius; dy++) {
    guint half = disc->half[dy];
    guint length = g_bit_storage (2 * half + 1) - 1;
    gsize first = radius - half;
    gsize second = radius + half + 1 - (1u << length);
    gboolean above = dy <= y, below = dy < height - y;
    const guint16 *up, *down;

    if (without && dy <= without->radius && half == without->half[dy])
      continue;
    if (!above && !below)
      break;
    up = get_runs (job, above ? y - dy : y + dy, length);
    down = get_runs (job, below ? y + dy : y - dy, length);
    max_into_row (to, up + first, up + second, down + first, down + second,
        job->src->width);
  }
}

// FROM and SIGN undo the complement.
CPSP_CLONES static void
mix_rows (float *restrict to, const guint16 * a, const guint16 * b,
    float share, float from, float sign, guint n)
{
  for (guint i = 0; i < n; i++) {
    float value = a[i] + share * ((float) b[i] - a[i]);

    to[i] = from + sign * value * (1 / 65535.f);
  }
}

static void
shift_row (Job * job, float *to, guint y)
{
  guint16 *inner = job->rows.inner, *outer = inner;
  guint width = job->src->width, radius = job->outer.radius;
  guint end = MIN (y + radius + 1, job->src->height);

  job->runs_end = MAX (job->runs_end, y > radius ? y - radius : 0);
  while (job->runs_end < end)
    make_runs (job, job->runs_end++);

  memcpy (inner, get_runs (job, y, 0) + radius, width * sizeof (guint16));
  max_in_disc (job, &job->inner, NULL, inner, y);
  if (job->outer_share > 0) {
    outer = job->rows.outer;
    memcpy (outer, inner, width * sizeof (guint16));
    max_in_disc (job, &job->outer, &job->inner, outer, y);
  }
  mix_rows (to, inner, outer, job->outer_share, job->choke ? 1 : 0,
      job->choke ? -1 : 1, width);
}

static void
prepare_shift (Job * job, double shift)
{
  double radius = CLAMP (fabs (shift), 0, CPSP_EDGE_SHIFT_MAX);
  guint whole = (guint) radius;

  job->choke = shift < 0;
  job->outer_share = radius - whole;
  disc_init (&job->inner, whole);
  disc_init (&job->outer, whole + (job->outer_share > 0));
}

/* Feather */

// What the raised cosine of WIDTH pixels, integrated twice, is at T.
static double
get_integral (double t, double width)
{
  if (t <= -width / 2)
    return 0;
  if (t >= width / 2)
    return t;
  return t * t / (2 * width) + t / 2 + width / 8
      - width / (4 * G_PI * G_PI) * (1 + cos (2 * G_PI * t / width));
}

// The plane is taken as linear between pixels: a tap's weight is the cosine
// under a triangle of two pixels, the second difference of its integral.
static void
prepare_feather (Job * job, double feather, double shift)
{
  double softness = MIN (2 * fabs (shift), CPSP_EDGE_SOFTNESS);
  double width = CLAMP (feather, softness, CPSP_EDGE_FEATHER_MAX);

  job->taps = (guint) ceil (width / 2);
  for (guint k = 0; k <= job->taps && width > 0; k++)
    job->weight[k] = get_integral (k + 1.0, width)
        - 2 * get_integral (k, width) + get_integral (k - 1.0, width);
}

// The sum over k of weight[k] * (before[k] + after[k]); before[0] is the
// centre, which counts once.
CPSP_CLONES static void
convolve_row (float *restrict to, const float *const *before,
    const float *const *after, const float *weight, guint taps, guint n)
{
  const float *centre = before[0];
  float centre_weight = weight[0];
  guint k = 1;

  for (guint i = 0; i < n; i++)
    to[i] = centre_weight * centre[i];

  // Four at a time: the sums go to memory and back less often.
  for (; k + 3 <= taps; k += 4) {
    const float *a = before[k], *b = after[k];
    const float *c = before[k + 1], *d = after[k + 1];
    const float *e = before[k + 2], *f = after[k + 2];
    const float *g = before[k + 3], *h = after[k + 3];
    float w0 = weight[k], w1 = weight[k + 1];
    float w2 = weight[k + 2], w3 = weight[k + 3];

    for (guint i = 0; i < n; i++)
      to[i] += w0 * (a[i] + b[i]) + w1 * (c[i] + d[i])
          + w2 * (e[i] + f[i]) + w3 * (g[i] + h[i]);
  }
  for (; k <= taps; k++) {
    const float *a = before[k], *b = after[k];
    float w = weight[k];

    for (guint i = 0; i < n; i++)
      to[i] += w * (a[i] + b[i]);
  }
}

static float *
get_across (const Job * job, gint y)
{
  guint row = CLAMP (y, 0, (gint) job->src->height - 1);

  return job->rows.across + row % (2 * job->taps + 1) * job->row_pitch;
}

// Row Y feathered along x.
static void
make_across (Job * job, guint y)
{
  guint width = job->src->width, taps = job->taps;
  float *row = job->rows.wide + taps;
  const float *left[TAPS_MAX + 1], *right[TAPS_MAX + 1];

  job->feather_src (job, row, y);
  for (guint k = 0; k <= taps; k++) {
    left[k] = row - k;
    right[k] = row + k;
    row[-(gint) k] = row[0];
    row[width - 1 + k] = row[width - 1];
  }
  convolve_row (get_across (job, y), left, right, job->weight, taps, width);
}

static void
feather_row (Job * job, float *to, guint y)
{
  guint end = MIN (y + job->taps + 1, job->src->height);
  const float *above[TAPS_MAX + 1], *below[TAPS_MAX + 1];

  job->across_end = MAX (job->across_end, y > job->taps ? y - job->taps : 0);
  while (job->across_end < end)
    make_across (job, job->across_end++);

  for (guint k = 0; k <= job->taps; k++) {
    above[k] = get_across (job, (gint) y - (gint) k);
    below[k] = get_across (job, (gint) (y + k));
  }
  convolve_row (to, above, below, job->weight, job->taps, job->src->width);
}

/* Levels and invert */

static void
prepare_levels (Job * job, const CpspEdgeSettings * settings)
{
  const double least = 1.0 / 65535;
  double black = CLAMP (settings->black_point, 0, 1 - least);
  double white = CLAMP (settings->white_point, black + least, 1);

  job->black = black;
  job->gain = 1 / (white - black);
  job->invert = settings->invert;
}

static inline __attribute__ ((always_inline)) gint
level (float value, float black, float gain, float from, float sign, float max)
{
  value = (value - black) * gain;
  value = value > 0 ? value : 0;
  value = value < 1 ? value : 1;
  return (gint) ((from + sign * value) * max + 0.5f);
}

CPSP_CLONES static void
store_bytes (guint8 * restrict to, const float *row, float black, float gain,
    float from, float sign, guint n)
{
  for (guint i = 0; i < n; i++)
    to[i] = level (row[i], black, gain, from, sign, 255);
}

CPSP_CLONES static void
store_words (guint16 * restrict to, const float *row, float black, float gain,
    float from, float sign, guint n)
{
  for (guint i = 0; i < n; i++)
    to[i] = level (row[i], black, gain, from, sign, 65535);
}

static void
store_row (const Job * job, const CpspAlphaView * dst, guint y,
    const float *row)
{
  guint8 *to = dst->data + y * dst->stride_bytes;
  float from = job->invert ? 1 : 0, sign = job->invert ? -1 : 1;

  if (dst->format == CPSP_ALPHA_U8)
    store_bytes (to, row, job->black, job->gain, from, sign, dst->width);
  else
    store_words ((guint16 *) to, row, job->black, job->gain, from, sign,
        dst->width);
}

static void
prepare_order (Job * job)
{
  job->row_func = source_row;
  if (job->choke) {
    // which brings feather
    job->feather_src = source_row;
    job->shift_src = feather_row;
    job->row_func = shift_row;
    return;
  }
  if (job->outer.radius > 0) {
    job->shift_src = job->row_func;
    job->row_func = shift_row;
  }
  if (job->taps > 0) {
    job->feather_src = job->row_func;
    job->row_func = feather_row;
  }
}

void
cpsp_edge_apply (CpspEdge * edge, const CpspEdgeSettings * settings,
    const CpspAlphaView * src, const CpspAlphaView * dst)
{
  guint bands = CLAMP (dst->height / BAND_ROWS_MIN, 1, edge->threads);
  Job all = {
    .src = src,.run_pitch = edge->run_pitch,.row_pitch = edge->row_pitch,
  };

  prepare_shift (&all, settings->shift);
  prepare_feather (&all, settings->feather, settings->shift);
  prepare_levels (&all, settings);
  prepare_order (&all);

#pragma omp parallel for schedule(static) num_threads(bands)
  for (guint band = 0; band < bands; band++) {
    guint end = (guint64) dst->height * (band + 1) / bands;
    Job job = all;

    job.rows = edge->rows[band];
    for (guint y = (guint64) dst->height * band / bands; y < end; y++) {
      job.row_func (&job, job.rows.result, y);
      store_row (&job, dst, y, job.rows.result);
    }
  }
}
