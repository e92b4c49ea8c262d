/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two ways to choose the Local step's crops.
 *
 * The published grid goes over the whole frame; crops that are nearly all
 * foreground or background are dropped from it (keep_mixed).
 *
 * The boundary plan is a set cover. The frame is divided into square cells; a
 * cell is marked if P1 leaves a pixel in it undecided. A tile covers the
 * cells that lie in its inner part, where its weight is 1. Lists of tiles
 * that cover all marked cells come from
 *  - a lattice over the frame, its empty tiles left out: never the best, but
 *    a bound on the number of tiles;
 *  - sweeps: the topmost marked cell that is not covered yet can have nothing
 *    left above it, so a tile that starts in its row is as good as any; of
 *    those, the one that covers most. From all four sides, in both senses.
 * The shortest list is then shortened where two, three or four neighbours
 * can be replaced by one tile less, and at last each tile is moved so that
 * what only it covers lies in its middle, where the network sees most around
 * it.
 */
#include "tiles.h"

#include <string.h>

// How far around them the Local step may move the boundary, P1's pixels. It
// is also more than bilinear interpolation carries doubt over.
#define NEAR 3
// Cells are so small that this many fit into the inner part of a tile, and so
// large that no more than CELLS_MAX fit into the frame, each way.
#define CELLS_PER_TILE 48
#define CELLS_MAX 1024
// Bounds on the work, in words or tiles looked at: about a millisecond each
// million.
#define REDUCE_BUDGET 1500000
#define SLIDE_BUDGET 20000000

// What a tile at `position` (pixels) covers along one axis: the cells
// start .. end - 1.
typedef struct
{
  guint start, end;
  guint position;
} Reach;

typedef struct
{
  guint side, tile, margin;     // pixels
  guint cell;                   // pixels
  guint n;                      // cells
  // [i]: the reach that goes furthest beyond cell i, of those that have it.
  Reach *forward;
  // The same from the far end: cell i is the i-th last one.
  Reach *mirrored;
} Axis;

typedef struct
{
  Reach x, y;
} Spot;

// The cells [x0, x1) x [y0, y1).
typedef struct
{
  guint x0, y0, x1, y1;
} Box;

// A bit for each cell, `words` words for each row.
typedef struct
{
  guint64 *bits;
  guint words, width, height;
} Bitmap;

#define DEPTH 5                 // of the search for shorter lists, + 1

typedef struct
{
  Axis x, y;
  Bitmap marks;
  Bitmap sides[4];              // marks, mirrored, transposed, both
  Bitmap level[DEPTH];
  guint32 *score;
  Spot *best, *other, *kept;    // capacity: the lattice
  guint n_lattice;
  guint *near;                  // tiles, in reduce
  guint *first_cell, *last_cell;        // of a column of P1, NEAR included
  guint8 *flags;                // of a row of P1
  guint64 *row;                 // marks that a row of P1 makes
  gint64 budget;
} Work;

// Hands out the next n_bytes of memory that starts at BASE. BASE 0: counts
// only.
static gpointer
take (guintptr base, gsize * used, gsize n_bytes)
{
  const gsize at = *used;

  *used += (n_bytes + 7) & ~(gsize) 7;
  return base ? (gpointer) (base + at) : NULL;
}

// A plan of at most MAX tiles, none yet.
static gboolean
start_plan (CpspTilePlan * plan, guint width, guint height, guint crop_size,
    guint ramp, gsize max, GError ** error)
{
  plan->frame_width = width;
  plan->frame_height = height;
  plan->width = MIN (crop_size, width);
  plan->height = MIN (crop_size, height);
  plan->ramp = ramp;
  plan->n_tiles = 0;
  if (!cpsp_memory_reserve (&plan->memory, max, sizeof (CpspTile),
          "a plan of crops", error))
    return FALSE;
  plan->tiles = plan->memory.data;
  return TRUE;
}

static gboolean
reserve_scratch (CpspTilePlan * plan, gsize bytes, guintptr * base,
    GError ** error)
{
  if (!cpsp_memory_reserve (&plan->scratch, bytes, 1, "planning crops",
          error))
    return FALSE;
  *base = (guintptr) plan->scratch.data;
  return TRUE;
}

void
cpsp_tile_plan_clear (CpspTilePlan * plan)
{
  cpsp_memory_clear (&plan->memory);
  cpsp_memory_clear (&plan->scratch);
  *plan = (CpspTilePlan) { 0 };
}

void
cpsp_tile_plan_forget (CpspTilePlan * plan)
{
  plan->n_tiles = 0;
}

typedef gint (*Compare) (const CpspTile * one, const CpspTile * other);

static void
sift (CpspTile * tiles, guint i, guint n, Compare compare)
{
  const CpspTile moved = tiles[i];

  for (guint child; (child = 2 * i + 1) < n; i = child) {
    if (child + 1 < n && compare (&tiles[child], &tiles[child + 1]) < 0)
      child++;
    if (compare (&moved, &tiles[child]) >= 0)
      break;
    tiles[i] = tiles[child];
  }
  tiles[i] = moved;
}

// A heap: the libraries' sorts allocate.
static void
sort (CpspTile * tiles, guint n, Compare compare)
{
  for (guint i = n / 2; i-- > 0;)
    sift (tiles, i, n, compare);
  while (n > 1) {
    const CpspTile last = tiles[0];

    tiles[0] = tiles[--n];
    tiles[n] = last;
    sift (tiles, 0, n, compare);
  }
}

/* The published grid */

// The I-th start of a crop along one side; FALSE: there is none. The last one
// ends at the border.
static gboolean
get_grid_start (guint side, guint crop_size, guint i, guint * start)
{
  const guint step = crop_size / 2 - 2 * CPSP_TILE_TRIM;
  const guint last = side > crop_size ? side - crop_size : 0;

  *start = MIN (i * step, last);
  return i == 0 || (i - 1) * step < last;
}

static guint
count_grid_starts (guint side, guint crop_size)
{
  guint n = 0, start;

  while (get_grid_start (side, crop_size, n, &start))
    n++;
  return n;
}

guint
cpsp_tile_grid_count (guint width, guint height, guint crop_size)
{
  return count_grid_starts (width, crop_size) *
      count_grid_starts (height, crop_size);
}

gboolean
cpsp_tile_plan_grid (CpspTilePlan * plan, guint width, guint height,
    guint crop_size, GError ** error)
{
  CpspTile tile = { 0 };

  if (!start_plan (plan, width, height, crop_size, 0,
          cpsp_tile_grid_count (width, height, crop_size), error))
    return FALSE;
  for (guint i = 0; get_grid_start (width, crop_size, i, &tile.x); i++)
    for (guint j = 0; get_grid_start (height, crop_size, j, &tile.y); j++)
      plan->tiles[plan->n_tiles++] = tile;
  return TRUE;
}

static gboolean
meets (const CpspTilePlan * plan, const CpspTile * tile,
    const CpspRect * region)
{
  const gint64 left = region->x, right = left + region->width;
  const gint64 top = region->y, bottom = top + region->height;

  return MAX (tile->x, left) < MIN ((gint64) tile->x + plan->width, right)
      && MAX (tile->y, top) < MIN ((gint64) tile->y + plan->height, bottom);
}

void
cpsp_tile_plan_keep_regions (CpspTilePlan * plan, const CpspRect * regions,
    guint n_regions)
{
  guint n = 0;

  for (guint i = 0; i < plan->n_tiles; i++) {
    const CpspTile tile = plan->tiles[i];
    gboolean keep = FALSE;

    for (guint j = 0; j < n_regions && !keep; j++)
      keep = meets (plan, &tile, &regions[j]);
    if (keep)
      plan->tiles[n++] = tile;
  }
  plan->n_tiles = n;
}

// Where pixel I of N lies between two pixels of a side of N_SRC: as the
// backends resize, in float.
static void
get_taps (guint i, guint n, guint n_src, CpspResize resize, guint * first,
    float *weight)
{
  float at;

  if (resize == CPSP_RESIZE_CORNERS)
    at = n > 1 ? (float) i * ((float) (n_src - 1) / (float) (n - 1)) : 0.0f;
  else
    at = ((float) i + 0.5f) * ((float) n_src / (float) n) - 0.5f;
  at = MAX (at, 0.0f);
  *first = MIN ((guint) at, n_src - 1);
  *weight = MIN (at - (float) *first, 1.0f);
}

// The foreground is counted in columns, from one tile's edge to the next one's,
// and summed up downwards; a tile's share is the difference between what its
// columns hold at its bottom and at its top. Between four pixels of P1 on the
// same side of 0.5 there is nothing to interpolate.
gboolean
cpsp_tile_plan_keep_mixed (CpspTilePlan * plan, const float *p1,
    guint p1_width, guint p1_height, CpspResize resize, GError ** error)
{
  const guint width = plan->frame_width, height = plan->frame_height;
  const guint n_tiles = plan->n_tiles;
  CpspTile *tiles = plan->tiles;
  gsize bytes = 0;
  guint *column = NULL, *edge = NULL, *sum = NULL, *pure = NULL;
  guint *first = NULL, *run = NULL, *mixed = NULL;
  guint *below = NULL, *order = NULL, *share = NULL;
  float *weight = NULL;

  if (n_tiles == 0)
    return TRUE;
  for (guintptr base = 0;;) {
    bytes = 0;
    // The column of a pixel, the columns' first pixels, sums.
    column = take (base, &bytes, (width + 1) * sizeof *column);
    edge = take (base, &bytes, (width + 2) * sizeof *edge);
    sum = take (base, &bytes, (width + 1) * sizeof *sum);
    pure = take (base, &bytes, (width + 1) * sizeof *pure);
    // The taps of a pixel, the first pixel between P1's pixels i and i + 1.
    first = take (base, &bytes, width * sizeof *first);
    weight = take (base, &bytes, width * sizeof *weight);
    run = take (base, &bytes, (p1_width + 1) * sizeof *run);
    mixed = take (base, &bytes, p1_width * sizeof *mixed);
    // How many tiles start above a row, all tiles from top to bottom, their
    // pixels of foreground.
    below = take (base, &bytes, (height + 1) * sizeof *below);
    order = take (base, &bytes, n_tiles * sizeof *order);
    share = take (base, &bytes, n_tiles * sizeof *share);
    if (base)
      break;
    if (!reserve_scratch (plan, bytes, &base, error)) {
      plan->n_tiles = 0;
      return FALSE;
    }
  }

  memset (column, 0, (width + 1) * sizeof *column);
  memset (below, 0, (height + 1) * sizeof *below);
  for (guint i = 0; i < n_tiles; i++) {
    column[tiles[i].x] = column[tiles[i].x + plan->width] = 1;
    below[tiles[i].y + 1]++;
  }
  guint n_columns = 0;

  column[0] = 1;
  for (guint x = 0; x <= width; x++) {
    if (column[x])
      edge[n_columns++] = x;
    column[x] = n_columns - 1;
  }
  edge[n_columns] = width + 1;
  for (guint y = 0; y < height; y++)
    below[y + 1] += below[y];
  for (guint i = n_tiles; i-- > 0;)
    order[--below[tiles[i].y + 1]] = i;
  // Now below[y + 1]: the first tile at row y.

  guint next_run = 0;

  for (guint x = 0; x < width; x++) {
    get_taps (x, width, p1_width, resize, &first[x], &weight[x]);
    while (next_run <= first[x])
      run[next_run++] = x;
  }
  while (next_run <= p1_width)
    run[next_run++] = width;

  guint n_mixed = 0, n_started = 0, n_ended = 0, previous = G_MAXUINT;

  memset (sum, 0, (width + 1) * sizeof *sum);
  for (guint y = 0;; y++) {
    const gboolean starts = n_started < n_tiles
        && tiles[order[n_started]].y == y;
    const gboolean ends = n_ended < n_tiles
        && tiles[order[n_ended]].y + plan->height == y;

    if (starts || ends) {
      guint total = 0;

      for (guint i = 0; i < n_columns; i++) {
        pure[i] = total;        // modulo 2^32, as the differences
        total += sum[i];
      }
      previous = G_MAXUINT;     // pure is used twice
      for (; n_ended < n_tiles; n_ended++) {
        const guint i = order[n_ended];

        if (tiles[i].y + plan->height != y)
          break;
        share[i] += pure[column[tiles[i].x + plan->width]]
            - pure[column[tiles[i].x]];
      }
      for (; n_started < n_tiles; n_started++) {
        const guint i = order[n_started];

        if (tiles[i].y != y)
          break;
        share[i] = pure[column[tiles[i].x]]
            - pure[column[tiles[i].x + plan->width]];
      }
    }
    if (y == height || n_ended == n_tiles)
      break;

    guint top;
    float down;

    get_taps (y, height, p1_height, resize, &top, &down);
    const float *a = p1 + (gsize) top * p1_width;
    const float *b = top + 1 < p1_height ? a + p1_width : a;

    if (previous != top) {
      gboolean left = a[0] > 0.5f, left_too = b[0] > 0.5f;

      previous = top;
      n_mixed = 0;
      memset (pure, 0, n_columns * sizeof *pure);
      for (guint i = 0; i < p1_width; i++) {
        const guint next = MIN (i + 1, p1_width - 1);
        const gboolean right = a[next] > 0.5f, right_too = b[next] > 0.5f;
        const gint n = left + left_too + right + right_too;

        if (n == 4)
          for (guint x = run[i]; x < run[i + 1];) {
            const guint stop = MIN (run[i + 1], edge[column[x] + 1]);

            pure[column[x]] += stop - x;
            x = stop;
        } else if (n > 0) {
          mixed[n_mixed++] = i;
        }
        left = right;
        left_too = right_too;
      }
    }
    for (guint i = 0; i < n_columns; i++)
      sum[i] += pure[i];
    for (guint i = 0; i < n_mixed; i++) {
      const guint m = mixed[i], next = MIN (m + 1, p1_width - 1);

      for (guint x = run[m]; x < run[m + 1]; x++) {
        const float across = weight[x];
        const float value = (1 - down) * ((1 - across) * a[m]
            + across * a[next]) + down * ((1 - across) * b[m]
            + across * b[next]);

        sum[column[x]] += value > 0.5f;
      }
    }
  }

  const float area = (float) ((gsize) plan->width * plan->height);
  guint n_kept = 0;

  for (guint i = 0; i < n_tiles; i++) {
    const float mean = (float) share[i] / area;

    if (mean >= 0.1f && mean <= 0.9f)
      tiles[n_kept++] = tiles[i];
  }
  plan->n_tiles = n_kept;
  return TRUE;
}

/* Bitmaps */

// Bits [x0, x1) of the word that starts at FROM.
static inline guint64
get_bits_mask (guint from, guint x0, guint x1)
{
  guint64 mask = ~(guint64) 0;

  if (x0 > from)
    mask &= ~(guint64) 0 << (x0 - from);
  if (x1 < from + 64)
    mask &= ~(guint64) 0 >> (from + 64 - x1);
  return mask;
}

static void
clear_box (const Bitmap * map, const Box * box)
{
  for (guint w = box->x0 / 64; w * 64 < box->x1; w++) {
    const guint64 keep = ~get_bits_mask (w * 64, box->x0, box->x1);

    for (guint y = box->y0; y < box->y1; y++)
      map->bits[(gsize) y * map->words + w] &= keep;
  }
}

// Shrinks BOX to the bits set in it; FALSE: none is. Outside BOX, but within
// its words, no bit may be set.
static gboolean
shrink_box (const Bitmap * map, Box * box)
{
  const guint first = box->x0 / 64, end = (box->x1 + 63) / 64;
  guint top = G_MAXUINT, bottom = 0;
  guint left = G_MAXUINT, right = 0;

  for (guint w = first; w < end; w++) {
    guint64 any = 0;

    for (guint y = box->y0; y < box->y1; y++) {
      const guint64 bits = map->bits[(gsize) y * map->words + w];

      any |= bits;
      if (bits) {
        top = MIN (top, y);
        bottom = MAX (bottom, y + 1);
      }
    }
    if (any) {
      left = MIN (left, w * 64 + (guint) __builtin_ctzll (any));
      right = w * 64 + 64 - (guint) __builtin_clzll (any);
    }
  }
  if (top == G_MAXUINT)
    return FALSE;
  *box = (Box) { left, top, right, bottom };
  return TRUE;
}

// The words of BOX of SRC to DST; returns how many.
static guint
copy_box (const Bitmap * dst, const Bitmap * src, const Box * box)
{
  const guint first = box->x0 / 64, n = (box->x1 + 63) / 64 - first;

  for (guint y = box->y0; y < box->y1; y++)
    memcpy (dst->bits + (gsize) y * dst->words + first,
        src->bits + (gsize) y * src->words + first, n * sizeof *src->bits);
  return n * (box->y1 - box->y0);
}

/* What a tile covers */

static Reach
get_reach (const Axis * axis, guint position)
{
  const guint end = position + axis->tile;
  Reach reach = {.position = position,.end = axis->n };

  if (position > 0)
    reach.start = (position + axis->margin + axis->cell - 1) / axis->cell;
  if (end < axis->side)
    reach.end = (end - axis->margin) / axis->cell;
  return reach;
}

static void
fill_axis (Axis * axis)
{
  const gint last = (gint) (axis->side - axis->tile);

  for (guint i = 0; i < axis->n; i++) {
    const guint low = i * axis->cell;
    const guint high = MIN (low + axis->cell, axis->side);
    const gint forward = (gint) low - (gint) axis->margin;
    const gint backward = (gint) (high + axis->margin) - (gint) axis->tile;
    const Reach back = get_reach (axis, (guint) CLAMP (backward, 0, last));

    axis->forward[i] = get_reach (axis, (guint) CLAMP (forward, 0, last));
    axis->mirrored[axis->n - 1 - i] = (Reach) {
    axis->n - back.end, axis->n - back.start, back.position};
  }
}

// The reach that goes furthest before cell I, of those that have it.
static Reach
get_backward (const Axis * axis, guint i)
{
  const Reach back = axis->mirrored[axis->n - 1 - i];

  return (Reach) {
  axis->n - back.end, axis->n - back.start, back.position};
}

static Box
get_box (const Spot * spot)
{
  return (Box) {
  spot->x.start, spot->y.start, spot->x.end, spot->y.end};
}

// How many reaches in a row cover the whole axis.
static guint
count_lattice (const Axis * axis)
{
  guint n = 0;

  for (guint i = 0; i < axis->n; i = axis->forward[i].end)
    n++;
  return n;
}

/* Marks */

static guint
get_last_cell (guint end, guint cell)
{
  return (end - 1) / cell;
}

// Bits [x0, x1] of ROW.
static void
set_span (guint64 * row, guint x0, guint x1)
{
  for (guint w = x0 / 64; w <= x1 / 64; w++)
    row[w] |= get_bits_mask (w * 64, x0, x1 + 1);
}

// The cells of pixel I of P1 with those NEAR around it, cut to the region
// [START, END); FALSE: none.
static gboolean
get_cells (const Axis * axis, guint i, guint n, guint start, guint end,
    guint * first, guint * last)
{
  const guint low = (guint) ((guint64) (i > NEAR ? i - NEAR : 0)
      * axis->side / n);
  const guint high = (guint) (((guint64) MIN (i + 1 + NEAR, n)
          * axis->side + n - 1) / n);

  *first = MAX (low, start) / axis->cell;
  *last = get_last_cell (MIN (high, end), axis->cell);
  return MAX (low, start) < MIN (high, end);
}

static inline gboolean
is_foreground (float p)
{
  return p > 0.5f;
}

// Which pixels of row Y of P1 are uncertain, or on another side of 0.5 than
// the next one to the right or below. NaN: a network that broke down, which
// no crop can mend: background.
static void
flag_row (const float *p1, guint width, gboolean last, guint8 * flags)
{
  const float *next = last ? p1 : p1 + width;

  for (guint x = 0; x < width; x++)
    flags[x] = ((p1[x] > CPSP_TILE_DOUBT) & (p1[x] < 1 - CPSP_TILE_DOUBT))
        | (is_foreground (p1[x]) != is_foreground (next[x]));
  for (guint x = 0; x + 1 < width; x++)
    flags[x] |= is_foreground (p1[x]) != is_foreground (p1[x + 1]);
}

// Marks, besides what is marked, the cells of REGION, which lies within the
// frame.
static void
mark (Work * work, const float *p1, guint width, guint height,
    const CpspRect * region)
{
  const Bitmap *marks = &work->marks;
  const guint left = (guint) region->x, right = left + region->width;
  const guint top = (guint) region->y, bottom = top + region->height;
  guint start = G_MAXUINT, end = 0;

  for (guint x = 0; x < width; x++)
    if (get_cells (&work->x, x, width, left, right, &work->first_cell[x],
            &work->last_cell[x])) {
      start = MIN (start, x);
      end = x + 1;
    }

  for (guint y = 0; y < height; y++) {
    guint first, last;

    if (!get_cells (&work->y, y, height, top, bottom, &first, &last))
      continue;
    flag_row (p1 + (gsize) y * width, width, y + 1 == height, work->flags);
    memset (work->row, 0, marks->words * sizeof *work->row);
    for (guint x = start; x < end; x++) {
      guint64 eight;

      // Most of a row is decided.
      for (; x + 8 <= end; x += 8) {
        memcpy (&eight, work->flags + x, 8);
        if (eight)
          break;
      }
      while (x < end && !work->flags[x])
        x++;
      if (x == end)
        break;
      const guint from = x;

      while (x < end && work->flags[x])
        x++;
      set_span (work->row, work->first_cell[from], work->last_cell[x - 1]);
    }
    for (guint j = first; j <= last; j++)
      for (guint w = 0; w < marks->words; w++)
        marks->bits[(gsize) j * marks->words + w] |= work->row[w];
  }
}

// The marks as they look with left and right exchanged (SIDE & 1) and with
// the axes exchanged (SIDE & 2).
static void
fill_side (const Bitmap * marks, guint side, const Bitmap * dst)
{
  memset (dst->bits, 0, (gsize) dst->words * dst->height * sizeof *dst->bits);
  for (guint j = 0; j < marks->height; j++)
    for (guint w = 0; w < marks->words; w++) {
      guint64 bits = marks->bits[(gsize) j * marks->words + w];

      for (; bits; bits &= bits - 1) {
        const guint i = w * 64 + (guint) __builtin_ctzll (bits);
        guint x = side & 2 ? j : i, y = side & 2 ? i : j;

        if (side & 1)
          x = dst->width - 1 - x;
        dst->bits[(gsize) y * dst->words + x / 64] |= (guint64) 1 << (x % 64);
      }
    }
}

/* Covers */

// Of the reaches that have column FIRST, the one that covers most of the
// cells of the rows of DOWN. WEIGHING 0: all alike; 1: upper ones more.
static Reach
choose_reach (const Work * work, const Bitmap * left, const Reach * across,
    Reach down, guint first, guint weighing)
{
  guint32 *score = work->score;
  guint low = first;

  while (low > 0 && across[low - 1].end > first)
    low--;
  const guint start = across[low].start, end = across[first].end;

  memset (score + start, 0, (end - start + 1) * sizeof *score);
  for (guint y = down.start; y < down.end; y++) {
    const guint64 *row = left->bits + (gsize) y * left->words;
    const guint32 weight = weighing ? down.end - y : 1;

    for (guint w = start / 64; w * 64 < end; w++) {
      guint64 bits = row[w] & get_bits_mask (w * 64, start, end);

      for (; bits; bits &= bits - 1)
        score[w * 64 + (guint) __builtin_ctzll (bits)] += weight;
    }
  }
  // score[i]: what lies before column i.
  guint32 total = 0;

  for (guint i = start; i <= end; i++) {
    const guint32 own = score[i];

    score[i] = total;
    total += own;
  }
  guint best = first;
  guint32 best_score = 0;

  for (guint i = first + 1; i-- > low;) {
    const guint32 here = score[across[i].end] - score[across[i].start];

    if (here > best_score) {
      best = i;
      best_score = here;
    }
  }
  return across[best];
}

// One of 8 orders (bits: left and right, the axes, top and bottom exchanged).
// Returns how many tiles it took, or LIMIT + 1 if that is not enough.
static guint
sweep (Work * work, guint order, guint weighing, Spot * spots, guint limit)
{
  const Bitmap *side = &work->sides[order & 3];
  const Axis *x = order & 2 ? &work->y : &work->x;
  const Axis *y = order & 2 ? &work->x : &work->y;
  const Reach *across = order & 1 ? x->mirrored : x->forward;
  const Reach *downward = order & 4 ? y->mirrored : y->forward;
  const Bitmap left = { work->level[0].bits, side->words, side->width,
    side->height
  };
  guint n = 0;

  for (guint j = 0; j < side->height; j++)
    memcpy (left.bits + (gsize) j * left.words, side->bits
        + (gsize) (order & 4 ? side->height - 1 - j : j) * side->words,
        side->words * sizeof *left.bits);

  for (guint j = 0; j < left.height; j++)
    for (guint w = 0; w < left.words; w++) {
      const guint64 *word = &left.bits[(gsize) j * left.words + w];

      while (*word) {
        const guint first = w * 64 + (guint) __builtin_ctzll (*word);
        Spot spot = {.y = downward[j] };

        if (n == limit)
          return limit + 1;
        spot.x = choose_reach (work, &left, across, spot.y, first, weighing);
        const Box box = get_box (&spot);

        clear_box (&left, &box);
        const guint u = spot.x.position, v = spot.y.position;

        spots[n++] = (Spot) {
        get_reach (&work->x, order & 2 ? v : u),
              get_reach (&work->y, order & 2 ? u : v)};
      }
    }
  return n;
}

// A number of marked cells of MAP in BOX of which no two fit into one tile;
// stops above LIMIT. Clears MAP.
static guint
count_apart (const Work * work, const Bitmap * map, const Box * box,
    guint limit)
{
  guint n = 0;

  for (guint j = box->y0; j < box->y1; j++)
    for (guint w = box->x0 / 64; w * 64 < box->x1; w++) {
      const guint64 *word = &map->bits[(gsize) j * map->words + w];

      while (*word) {
        const guint i = w * 64 + (guint) __builtin_ctzll (*word);
        const Box together = { MAX (get_backward (&work->x, i).start, box->x0),
          j, MIN (work->x.forward[i].end, box->x1),
          MIN (work->y.forward[j].end, box->y1)
        };

        if (++n > limit)
          return n;
        clear_box (map, &together);
      }
    }
  return n;
}

// Marks what of the marks only the tiles MEMBERS cover in level 0; returns the
// box around them.
static Box
get_exclusive (Work * work, const Spot * spots, guint n, const guint * members,
    guint n_members)
{
  const Bitmap *map = &work->level[0];
  Box box = get_box (&spots[members[0]]);

  for (guint i = 1; i < n_members; i++) {
    const Box more = get_box (&spots[members[i]]);

    box = (Box) { MIN (box.x0, more.x0), MIN (box.y0, more.y0),
      MAX (box.x1, more.x1), MAX (box.y1, more.y1)};
  }
  const guint first = box.x0 / 64, n_words = (box.x1 + 63) / 64 - first;

  for (guint y = box.y0; y < box.y1; y++)
    memset (map->bits + (gsize) y * map->words + first, 0,
        n_words * sizeof *map->bits);
  for (guint i = 0; i < n_members; i++) {
    const Box own = get_box (&spots[members[i]]);

    for (guint w = own.x0 / 64; w * 64 < own.x1; w++) {
      const guint64 mask = get_bits_mask (w * 64, own.x0, own.x1);

      for (guint y = own.y0; y < own.y1; y++)
        map->bits[(gsize) y * map->words + w] |=
            work->marks.bits[(gsize) y * map->words + w] & mask;
    }
  }
  work->budget -= n_words * (box.y1 - box.y0) + n;
  for (guint i = 0; i < n; i++) {
    Box other = get_box (&spots[i]);
    gboolean is_member = FALSE;

    for (guint j = 0; j < n_members; j++)
      is_member |= members[j] == i;
    other = (Box) { MAX (other.x0, box.x0), MAX (other.y0, box.y0),
      MIN (other.x1, box.x1), MIN (other.y1, box.y1)};
    if (is_member || other.x0 >= other.x1 || other.y0 >= other.y1)
      continue;
    clear_box (map, &other);
    work->budget -= other.y1 - other.y0;
  }
  return box;
}

// Covers the bits of level DEPTH in BOX with at most N tiles; returns how
// many, or N + 1: impossible. Exact for N <= 3: one of two or three squares
// around a set lies in a corner of the set's bounding box.
static guint
cover (Work * work, guint depth, Box box, guint n, Spot * spots)
{
  const Bitmap *map = &work->level[depth];

  work->budget -= ((box.x1 + 63) / 64 - box.x0 / 64) * (box.y1 - box.y0);
  if (work->budget < 0)
    return n + 1;
  if (!shrink_box (map, &box))
    return 0;
  if (n == 0)
    return 1;

  const Spot near = { work->x.forward[box.x0], work->y.forward[box.y0] };
  const Spot far = { get_backward (&work->x, box.x1 - 1),
    get_backward (&work->y, box.y1 - 1)
  };

  if (near.x.end >= box.x1 && near.y.end >= box.y1) {
    spots[0] = near;
    return 1;
  }
  if (n == 1)
    return 2;

  work->budget -= copy_box (&work->level[depth + 1], map, &box);
  if (count_apart (work, &work->level[depth + 1], &box, n) > n)
    return n + 1;
  for (guint corner = 0; corner < 4; corner++) {
    const Spot spot = { corner & 1 ? far.x : near.x,
      corner & 2 ? far.y : near.y
    };
    const Box cleared = { MAX (spot.x.start, box.x0),
      MAX (spot.y.start, box.y0), MIN (spot.x.end, box.x1),
      MIN (spot.y.end, box.y1)
    };

    work->budget -= copy_box (&work->level[depth + 1], map, &box);
    clear_box (&work->level[depth + 1], &cleared);
    const guint used = cover (work, depth + 1, box, n - 1, spots + 1);

    if (used < n) {
      spots[0] = spot;
      return used + 1;
    }
  }
  return n + 1;
}

// Replaces tiles MEMBERS by fewer, if that can be; returns the number of tiles
// that there are then.
static guint
replace (Work * work, Spot * spots, guint n, const guint * members,
    guint n_members)
{
  Spot fewer[DEPTH];
  const Box box = get_exclusive (work, spots, n, members, n_members);
  const guint used = cover (work, 0, box, n_members - 1, fewer);

  if (used >= n_members)
    return n;
  for (guint i = 0; i < used; i++)
    spots[members[i]] = fewer[i];
  // Members are in rising order.
  for (guint i = n_members; i-- > used;)
    spots[members[i]] = spots[--n];
  return n;
}

// Looks for N_MEMBERS tiles, close to each other, that fewer can replace.
static guint
reduce_groups (Work * work, Spot * spots, guint n, guint n_members)
{
  guint *near = work->near;

  for (guint i = 0; i < n; i++) {
    guint n_near = 0;

    for (guint j = i + 1; j < n && n_members > 1; j++) {
      const gint dx = (gint) spots[j].x.position - (gint) spots[i].x.position;
      const gint dy = (gint) spots[j].y.position - (gint) spots[i].y.position;

      if (ABS (dx) < 2 * (gint) work->x.tile
          && ABS (dy) < 2 * (gint) work->y.tile)
        near[n_near++] = j;
    }
    work->budget -= n - i;

    guint pick[DEPTH] = { 0, 1, 2, 3 };

    if (n_near + 1 < n_members)
      continue;
    for (;;) {
      guint members[DEPTH] = { i };

      for (guint k = 1; k < n_members; k++)
        members[k] = near[pick[k - 1]];
      if (work->budget < 0)
        return n;
      const guint left = replace (work, spots, n, members, n_members);

      if (left < n)
        return left;

      // The next choice of n_members - 1 out of n_near.
      guint k = n_members - 1;

      while (k > 0 && pick[k - 1] + n_members == n_near + k)
        k--;
      if (k == 0)
        break;
      pick[k - 1]++;
      for (; k < n_members - 1; k++)
        pick[k] = pick[k - 1] + 1;
    }
  }
  return n;
}

static guint
reduce (Work * work, Spot * spots, guint n)
{
  work->budget = REDUCE_BUDGET;
  for (guint size = 1; size < DEPTH && size <= n;) {
    const guint left = reduce_groups (work, spots, n, size);

    size = left < n ? 1 : size + 1;
    n = left;
    if (work->budget < 0)
      break;
  }
  return n;
}

// Of the positions that cover the cells [START, END), the one with these
// cells in its middle.
static Reach
centre (const Axis * axis, guint start, guint end)
{
  const gint low = (gint) get_backward (axis, end - 1).position;
  const gint high = (gint) axis->forward[start].position;
  const gint last = (gint) (axis->side - axis->tile);
  const gint middle = (gint) (start * axis->cell
      + MIN (end * axis->cell, axis->side)) / 2;
  gint position = CLAMP (middle - (gint) axis->tile / 2, low, high);

  // So close to the border that the strip beyond would only be trimmed off.
  if (low == 0 && position < (gint) axis->margin)
    position = 0;
  else if (high == last && last - position < (gint) axis->margin)
    position = last;
  return get_reach (axis, (guint) position);
}

// Moves the tiles from FIRST on.
static void
slide (Work * work, Spot * spots, guint first, guint n)
{
  work->budget = SLIDE_BUDGET;
  // The second time, the neighbours have moved.
  for (guint pass = 0; pass < 2; pass++)
    for (guint i = first; i < n && work->budget >= 0; i++) {
      Box box = get_exclusive (work, spots, n, &i, 1);

      if (!shrink_box (&work->level[0], &box))
        continue;
      spots[i].x = centre (&work->x, box.x0, box.x1);
      spots[i].y = centre (&work->y, box.y0, box.y1);
    }
}

/* The boundary plan */

static void
lay_out_axis (Axis * axis, guint side, guint tile, guint margin, guint cell)
{
  *axis = (Axis) {
    .side = side,.tile = tile,.margin = margin,.cell = cell,
    .n = (side + cell - 1) / cell,
  };
}

static void
take_bitmap (Bitmap * map, guint width, guint height, guintptr base,
    gsize * bytes)
{
  map->width = width;
  map->height = height;
  map->words = (width + 63) / 64;
  map->bits = take (base, bytes,
      (gsize) map->words * height * sizeof *map->bits);
}

// Gives WORK its memory, which starts at BASE; returns how many bytes it is.
// BASE 0: counts only.
static gsize
lay_out (Work * work, guint p1_width, guintptr base)
{
  Axis *x = &work->x, *y = &work->y;
  const guint n = MAX (x->n, y->n);
  gsize bytes = 0;

  x->forward = take (base, &bytes, x->n * sizeof *x->forward);
  x->mirrored = take (base, &bytes, x->n * sizeof *x->mirrored);
  y->forward = take (base, &bytes, y->n * sizeof *y->forward);
  y->mirrored = take (base, &bytes, y->n * sizeof *y->mirrored);
  take_bitmap (&work->marks, x->n, y->n, base, &bytes);
  for (guint i = 0; i < 4; i++)
    take_bitmap (&work->sides[i], i & 2 ? y->n : x->n, i & 2 ? x->n : y->n,
        base, &bytes);
  // Level 0 is used transposed too.
  for (guint i = 0; i < DEPTH; i++) {
    take_bitmap (&work->level[i], n, n, base, &bytes);
    work->level[i].words = work->marks.words;
  }
  work->score = take (base, &bytes, (n + 1) * sizeof *work->score);
  work->first_cell = take (base, &bytes, p1_width * sizeof (guint));
  work->last_cell = take (base, &bytes, p1_width * sizeof (guint));
  work->flags = take (base, &bytes, p1_width);
  work->row = take (base, &bytes, work->marks.words * sizeof *work->row);
  work->best = take (base, &bytes, work->n_lattice * sizeof (Spot));
  work->other = take (base, &bytes, work->n_lattice * sizeof (Spot));
  work->kept = take (base, &bytes, work->n_lattice * sizeof (Spot));
  work->near = take (base, &bytes, work->n_lattice * sizeof *work->near);
  return bytes;
}

static gint
compare_tiles (const CpspTile * one, const CpspTile * other)
{
  if (one->y != other->y)
    return one->y < other->y ? -1 : 1;
  return one->x < other->x ? -1 : one->x > other->x;
}

// The part of REGION within the frame; FALSE: none.
static gboolean
clip_region (const CpspRect * region, guint width, guint height,
    CpspRect * clipped)
{
  const gint64 left = MAX (region->x, 0), top = MAX (region->y, 0);
  const gint64 right = MIN ((gint64) region->x + region->width, width);
  const gint64 bottom = MIN ((gint64) region->y + region->height, height);

  if (left >= right || top >= bottom)
    return FALSE;
  *clipped = (CpspRect) { (gint) left, (gint) top, (guint) (right - left),
    (guint) (bottom - top)
  };
  return TRUE;
}

static gboolean
has_marks (const Bitmap * map, const Box * box)
{
  guint64 any = 0;

  for (guint y = box->y0; y < box->y1; y++)
    for (guint w = box->x0 / 64; w * 64 < box->x1; w++)
      any |= map->bits[(gsize) y * map->words + w]
          & get_bits_mask (w * 64, box->x0, box->x1);
  return any != 0;
}

// The lattice's tiles that have marks.
static guint
fill_lattice (Work * work, Spot * spots)
{
  guint n = 0;

  for (guint j = 0; j < work->y.n; j = work->y.forward[j].end)
    for (guint i = 0; i < work->x.n; i = work->x.forward[i].end) {
      const Spot spot = { work->x.forward[i], work->y.forward[j] };
      const Box box = get_box (&spot);

      if (has_marks (&work->marks, &box))
        spots[n++] = spot;
    }
  return n;
}

// Leaves the shortest list found in work->best.
static guint
find_cover (Work * work)
{
  const Box all = { 0, 0, work->x.n, work->y.n };
  guint n = fill_lattice (work, work->best);

  copy_box (&work->level[0], &work->marks, &all);
  const guint apart = count_apart (work, &work->level[0], &all, G_MAXUINT);

  for (guint order = 0; order < 8 && n > apart; order++) {
    if (order < 4)
      fill_side (&work->marks, order, &work->sides[order]);
    for (guint weighing = 0; weighing < 2 && n > apart; weighing++) {
      const guint other = sweep (work, order, weighing, work->other, n - 1);

      if (other < n) {
        memcpy (work->best, work->other, other * sizeof *work->best);
        n = other;
      }
    }
  }
  return n > apart ? reduce (work, work->best, n) : n;
}

// Drops those of the *N tiles KEPT that cover nothing more than the ones
// before them. What none covers is left in work->sides[0]; FALSE: nothing.
static gboolean
drop_idle (Work * work, Spot * kept, guint * n)
{
  const Bitmap *left = &work->sides[0];
  const Box all = { 0, 0, work->x.n, work->y.n };
  guint n_kept = 0;

  copy_box (left, &work->marks, &all);
  for (guint i = 0; i < *n; i++) {
    const Box box = get_box (&kept[i]);

    if (has_marks (left, &box)) {
      clear_box (left, &box);
      kept[n_kept++] = kept[i];
    }
  }
  *n = n_kept;
  return has_marks (left, &all);
}

// In place of the N tiles of work->best, the N_KEPT ones of work->kept, with
// new ones for what they do not cover, if that takes no more. Returns how
// many are in work->best then; the first *N_OLD of them have not moved.
static guint
keep_tiles (Work * work, guint n, guint n_kept, guint * n_old)
{
  guint n_new = 0;

  *n_old = 0;
  if (drop_idle (work, work->kept, &n_kept)) {
    if (n_kept >= n)
      return n;
    n_new = sweep (work, 0, 0, work->other, n - n_kept);
  }
  if (n_kept + n_new > n)
    return n;
  memcpy (work->best, work->kept, n_kept * sizeof *work->best);
  memcpy (work->best + n_kept, work->other, n_new * sizeof *work->best);
  *n_old = n_kept;
  return n_kept + n_new;
}

// Gives WORK all its memory. How many tiles there may be depends on its axes,
// which therefore come first.
static gboolean
reserve_work (CpspTilePlan * plan, Work * work, guint p1_width,
    GError ** error)
{
  for (gboolean known = FALSE;; known = TRUE) {
    const gsize bytes = lay_out (work, p1_width, 0);
    guintptr base;

    if (!reserve_scratch (plan, bytes, &base, error))
      return FALSE;
    lay_out (work, p1_width, base);
    fill_axis (&work->x);
    fill_axis (&work->y);
    if (known)
      return TRUE;
    work->n_lattice = count_lattice (&work->x) * count_lattice (&work->y);
  }
}

// PLAN's tiles as work->kept, if they are of these sizes; returns how many.
static guint
take_tiles (const CpspTilePlan * plan, Work * work)
{
  guint n = plan->n_tiles;

  if (plan->frame_width != work->x.side || plan->frame_height != work->y.side
      || plan->width != work->x.tile || plan->height != work->y.tile
      || n > work->n_lattice)
    return 0;
  for (guint i = 0; i < n; i++)
    work->kept[i] = (Spot) {
    get_reach (&work->x, plan->tiles[i].x),
          get_reach (&work->y, plan->tiles[i].y)};
  return n;
}

gboolean
cpsp_tile_plan_boundary (CpspTilePlan * plan, guint width, guint height,
    guint crop_size, const float *p1, guint p1_width, guint p1_height,
    const CpspRect * regions, guint n_regions, GError ** error)
{
  const guint ramp = MIN (CPSP_TILE_RAMP, crop_size / 8);
  const guint margin = CPSP_TILE_TRIM + ramp;
  const guint inner = crop_size - 2 * margin;
  const guint cell = MAX (1, MAX (inner / CELLS_PER_TILE,
          (MAX (width, height) + CELLS_MAX - 1) / CELLS_MAX));
  Work work = { 0 };
  guint n, n_kept, n_old;

  lay_out_axis (&work.x, width, MIN (crop_size, width), margin, cell);
  lay_out_axis (&work.y, height, MIN (crop_size, height), margin, cell);
  if (!reserve_work (plan, &work, p1_width, error)) {
    plan->n_tiles = 0;
    return FALSE;
  }
  n_kept = take_tiles (plan, &work);
  if (!start_plan (plan, width, height, crop_size, ramp, work.n_lattice,
          error))
    return FALSE;

  memset (work.marks.bits, 0, (gsize) work.marks.words * work.marks.height
      * sizeof *work.marks.bits);
  for (guint i = 0; i < n_regions; i++) {
    CpspRect clipped;

    if (clip_region (&regions[i], width, height, &clipped))
      mark (&work, p1, p1_width, p1_height, &clipped);
  }
  n = find_cover (&work);
  n = keep_tiles (&work, n, n_kept, &n_old);
  slide (&work, work.best, n_old, n);
  for (guint i = 0; i < n; i++)
    plan->tiles[i] = (CpspTile) {
    .x = work.best[i].x.position,.y = work.best[i].y.position};
  plan->n_tiles = n;
  sort (plan->tiles, n, compare_tiles);
  return TRUE;
}

/* What tiles are worth */

// A tile that ran before is worth so much more.
#define LAST_BONUS 1.5f

static gint
compare_values (const CpspTile * one, const CpspTile * other)
{
  if (one->value != other->value)
    return one->value > other->value ? -1 : 1;
  return compare_tiles (one, other);
}

// The sum over the pixels of P1 in [X0, X1) x [Y0, Y1) of the error to be
// expected of each, if its probability is right.
static float
get_doubt (const float *p1, guint p1_width, guint x0, guint y0, guint x1,
    guint y1)
{
  float sum = 0;

  for (guint y = y0; y < y1; y++) {
    const float *row = p1 + (gsize) y * p1_width;
    float row_sum = 0;

    for (guint x = x0; x < x1; x++)
      row_sum += row[x] < 0.5f ? row[x] : 1 - row[x];
    sum += row_sum;
  }
  return sum > 0 ? sum : 0;     // not NaN
}

static gboolean
is_near (const CpspTilePlan * plan, const CpspTile * one,
    const CpspTile * other)
{
  return (guint) ABS ((gint) one->x - (gint) other->x) < plan->width / 4
      && (guint) ABS ((gint) one->y - (gint) other->y) < plan->height / 4;
}

void
cpsp_tile_plan_rank (CpspTilePlan * plan, const float *p1, guint p1_width,
    guint p1_height, const CpspTile * last, guint n_last)
{
  for (guint i = 0; i < plan->n_tiles; i++) {
    CpspTile *tile = &plan->tiles[i];

    tile->value = get_doubt (p1, p1_width,
        (guint) ((guint64) tile->x * p1_width / plan->frame_width),
        (guint) ((guint64) tile->y * p1_height / plan->frame_height),
        (guint) ((guint64) (tile->x + plan->width) * p1_width /
            plan->frame_width),
        (guint) ((guint64) (tile->y + plan->height) * p1_height /
            plan->frame_height));
    for (guint j = 0; j < n_last; j++)
      if (is_near (plan, tile, &last[j])) {
        tile->value *= LAST_BONUS;
        break;
      }
  }
  sort (plan->tiles, plan->n_tiles, compare_values);
}

/* Where a tile's result goes */

static void
get_blend_axis (guint position, guint size, guint side, guint ramp,
    guint * trim, guint * start, guint * length, guint * ramp_start,
    guint * ramp_end)
{
  const gboolean at_start = position == 0;
  const gboolean at_end = position + size == side;

  *trim = at_start ? 0 : CPSP_TILE_TRIM;
  *start = position + *trim;
  *length = size - *trim - (at_end ? 0 : CPSP_TILE_TRIM);
  *ramp_start = at_start ? 0 : ramp;
  *ramp_end = at_end ? 0 : ramp;
}

void
cpsp_tile_plan_get_blend (const CpspTilePlan * plan, guint i,
    CpspBlend * blend)
{
  const CpspTile *tile = &plan->tiles[i];

  get_blend_axis (tile->x, plan->width, plan->frame_width, plan->ramp,
      &blend->trim_left, &blend->x, &blend->width, &blend->ramp_left,
      &blend->ramp_right);
  get_blend_axis (tile->y, plan->height, plan->frame_height, plan->ramp,
      &blend->trim_top, &blend->y, &blend->height, &blend->ramp_top,
      &blend->ramp_bottom);
}
