/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames and planes of the CPU backend: crops into a program's input, results
 * into planes and alpha. Every resampling is separable and given by taps:
 * rows are mixed first, then columns.
 */
#include "cpu.h"

#include "error.h"

#include <math.h>
#include <stdlib.h>

static const float mean[3] = { 0.485f, 0.456f, 0.406f };
static const float deviation[3] = { 0.229f, 0.224f, 0.225f };

// Taps of one axis

// How a sample position of the frame maps to elements: positions are
// (frame position - siting) / 2^shift, of n elements.
typedef struct
{
  guint n;
  guint shift;
  float siting;
} Sampling;

static gboolean
taps_reserve (CpspTaps * taps, guint n, guint n_taps, GError ** error)
{
  taps->n = n;
  taps->n_taps = n_taps;
  if (!cpsp_buffer_grow (&taps->index_memory,
          (gsize) n * n_taps * sizeof (guint), error) ||
      !cpsp_buffer_grow (&taps->weight_memory,
          (gsize) n * n_taps * sizeof (float), error))
    return FALSE;
  taps->index = taps->index_memory.data;
  taps->weight = taps->weight_memory.data;
  return TRUE;
}

static void
taps_finish (CpspTaps * taps)
{
  taps->low = G_MAXUINT;
  taps->high = 0;
  taps->identity = taps->n_taps == 1;
  for (guint i = 0; i < taps->n * taps->n_taps; i++) {
    taps->low = MIN (taps->low, taps->index[i]);
    taps->high = MAX (taps->high, taps->index[i] + 1);
    taps->identity = taps->identity && taps->weight[i] == 1 &&
        taps->index[i] == taps->index[0] + i;
  }
}

// Adds WEIGHT of frame sample POSITION, whose elements are given by SAMPLING,
// to output I, whose *N taps so far have ascending elements.
static void
taps_add (CpspTaps * taps, guint i, guint * n, const Sampling * sampling,
    guint position, float weight)
{
  float at = (position - sampling->siting) / (1 << sampling->shift);
  guint first, second;
  float t;

  at = CLAMP (at, 0, sampling->n - 1);
  first = (guint) at;
  second = MIN (first + 1, sampling->n - 1);
  t = at - first;
  for (guint k = 0; k < 2; k++) {
    guint element = k ? second : first;
    float w = weight * (k ? t : 1 - t);
    guint j = 0;

    if (w == 0)
      continue;
    while (j < *n && taps->index[j * taps->n + i] != element)
      j++;
    if (j == *n) {
      taps->index[j * taps->n + i] = element;
      taps->weight[j * taps->n + i] = 0;
      ++*n;
    }
    taps->weight[j * taps->n + i] += w;
  }
}

static float
cubic (float x)
{
  const float a = -0.75f;

  x = fabsf (x);
  if (x <= 1)
    return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2)
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

// Taps of outputs start .. start + n - 1 of an axis of `size` samples that
// was resized to `scaled`.
static gboolean
taps_crop (CpspTaps * taps, guint size, guint scaled, CpspFilter filter,
    double ratio, gboolean bicubic, guint start, guint n,
    const Sampling * sampling, GError ** error)
{
  // Two more: neighbours of subsampled elements.
  guint n_taps = filter == CPSP_FILTER_ENLARGE ? 4 : size / scaled + 2;

  if (sampling->shift || sampling->siting != 0)
    n_taps = filter == CPSP_FILTER_ENLARGE ? 8 : n_taps + 2;
  else if (filter == CPSP_FILTER_AREA && size == scaled)
    n_taps = 1;
  if (!taps_reserve (taps, n, n_taps, error))
    return FALSE;
  taps->n_taps = 1;
  for (guint i = 0; i < n; i++) {
    guint used = 0;

    if (filter == CPSP_FILTER_AREA) {
      guint64 out = start + i;
      guint low = out * size / scaled;
      guint high = ((out + 1) * size + scaled - 1) / scaled;

      for (guint k = low; k < high; k++)
        taps_add (taps, i, &used, sampling, k, 1.0f / (high - low));
    } else {
      float at = (start + i + 0.5) / ratio - 0.5;
      gint base;

      if (!bicubic)
        at = MAX (at, 0);
      base = floorf (at);
      for (gint k = bicubic ? -1 : 0; k <= (bicubic ? 2 : 1); k++)
        taps_add (taps, i, &used, sampling, CLAMP (base + k, 0,
                (gint) size - 1), bicubic ? cubic (at - base - k) :
            k ? at - base : 1 - (at - base));
    }
    // What is unused repeats the last element with no weight.
    for (guint k = used; k < n_taps; k++) {
      taps->index[k * n + i] = used ? taps->index[(used - 1) * n + i] : 0;
      taps->weight[k * n + i] = 0;
    }
    taps->n_taps = MAX (taps->n_taps, used);
  }
  taps_finish (taps);
  return TRUE;
}

// Taps of outputs start .. start + n - 1 of an axis of `size` elements
// resized to `scaled`.
static gboolean
taps_resize (CpspTaps * taps, guint size, guint scaled, CpspResize resize,
    guint start, guint n, GError ** error)
{
  const Sampling direct = { size, 0, 0 };

  if (resize == CPSP_RESIZE_AREA || size == scaled)
    return taps_crop (taps, size, scaled, CPSP_FILTER_AREA, 0, FALSE, start,
        n, &direct, error);
  if (!taps_reserve (taps, n, 2, error))
    return FALSE;
  for (guint i = 0; i < n; i++) {
    float at;
    guint first;

    if (resize == CPSP_RESIZE_CORNERS)
      at = scaled > 1 ? (float) (size - 1) / (scaled - 1) * (start + i) : 0;
    else
      at = MAX ((start + i + 0.5f) * ((float) size / scaled) - 0.5f, 0);
    first = MIN ((guint) at, size - 1);
    taps->index[i] = first;
    taps->index[n + i] = MIN (first + 1, size - 1);
    taps->weight[n + i] = at - first;
    taps->weight[i] = 1 - taps->weight[n + i];
  }
  taps_finish (taps);
  return TRUE;
}

// dst = what TAPS make of a row whose element taps->low is at SRC
static void
taps_apply (const CpspTaps * taps, float *dst, const float *src)
{
  if (taps->identity)
    memcpy (dst, src, taps->n * sizeof (float));
  else
    cpsp_gather_floats (dst, src, taps->low, taps->index, taps->weight,
        taps->n_taps, taps->n);
}

// Output row I, columns by X, of a plane: dst has x->n values, row is scratch
// of x->high - x->low.
static void
resize_plane_row (const CpspPlane * plane, const CpspTaps * y, guint i,
    const CpspTaps * x, float *dst, float *row)
{
  gboolean first = TRUE;

  for (guint k = 0; k < y->n_taps; k++) {
    const float *src = plane->data +
        (gsize) y->index[k * y->n + i] * plane->width + x->low;
    float weight = y->weight[k * y->n + i];

    if (weight == 0 && !first)
      continue;
    cpsp_add_floats (row, src, weight, first, x->high - x->low);
    first = FALSE;
  }
  taps_apply (x, dst, row);
}

// Rows of samples

// sum (= or +=) w * sample, n samples, STEP bytes apart
static inline __attribute__ ((always_inline)) void
add_bytes (float *restrict sum, const guint8 * src, guint step, guint shift,
    guint mask, float w, gboolean first, guint n)
{
  if (first)
    for (guint i = 0; i < n; i++)
      sum[i] = w * (float) (gint) ((src[i * step] >> shift) & mask);
  else
    for (guint i = 0; i < n; i++)
      sum[i] += w * (float) (gint) ((src[i * step] >> shift) & mask);
}

static inline __attribute__ ((always_inline)) void
add_words (float *restrict sum, const guint8 * src, guint step, guint shift,
    guint mask, float w, gboolean first, guint n)
{
  for (guint i = 0; i < n; i++) {
    guint16 sample;

    memcpy (&sample, src + i * step, 2);
    sum[i] = (first ? 0 : sum[i]) +
        w * (float) (gint) ((sample >> shift) & mask);
  }
}

// Steps of the usual layouts are constants, so that the compiler can use
// vectors.
CPSP_CLONES static void
add_samples (float *sum, const CpspComponent * component, guint x, guint y,
    float w, gboolean first, guint n)
{
  guint step = component->step_bytes;
  guint shift = component->shift;
  guint mask = (1u << component->depth) - 1;
  const guint8 *src = component->data + y * component->stride_bytes +
      (gsize) x * step;

  if (component->wide) {
    if (step == 2)
      add_words (sum, src, 2, shift, mask, w, first, n);
    else if (step == 4)
      add_words (sum, src, 4, shift, mask, w, first, n);
    else
      add_words (sum, src, step, shift, mask, w, first, n);
  } else {
    if (step == 1)
      add_bytes (sum, src, 1, shift, mask, w, first, n);
    else if (step == 2)
      add_bytes (sum, src, 2, shift, mask, w, first, n);
    else if (step == 3)
      add_bytes (sum, src, 3, shift, mask, w, first, n);
    else if (step == 4)
      add_bytes (sum, src, 4, shift, mask, w, first, n);
    else
      add_bytes (sum, src, step, shift, mask, w, first, n);
  }
}

// The three components of packed pixels at once, in the order of memory.
static inline __attribute__ ((always_inline)) void
add_packed (float *restrict a, float *restrict b, float *restrict c,
    const guint8 * src, guint step, float w, gboolean first, guint n)
{
  for (guint i = 0; i < n; i++) {
    a[i] = (first ? 0 : a[i]) + w * (float) (gint) src[i * step];
    b[i] = (first ? 0 : b[i]) + w * (float) (gint) src[i * step + 1];
    c[i] = (first ? 0 : c[i]) + w * (float) (gint) src[i * step + 2];
  }
}

CPSP_CLONES static void
add_pixels (float *const sums[3], const guint8 * src, guint step, float w,
    gboolean first, guint n)
{
  if (step == 3 && first)
    add_packed (sums[0], sums[1], sums[2], src, 3, w, TRUE, n);
  else if (step == 3)
    add_packed (sums[0], sums[1], sums[2], src, 3, w, FALSE, n);
  else if (first)
    add_packed (sums[0], sums[1], sums[2], src, 4, w, TRUE, n);
  else
    add_packed (sums[0], sums[1], sums[2], src, 4, w, FALSE, n);
}

// From components to normalised RGB, in place in the first three of ROWS.
CPSP_CLONES static void
convert_row (const CpspImageView * view, float *restrict r,
    float *restrict g, float *restrict b, guint n)
{
  float m[3][3], offset[3];

  for (guint i = 0; i < 3; i++) {
    for (guint j = 0; j < 3; j++)
      m[i][j] = j < view->n_components ? view->matrix[i][j] / deviation[i] :
          0;
    offset[i] = (view->offset[i] - mean[i]) / deviation[i];
  }
  for (guint x = 0; x < n; x++) {
    float in[3] = { r[x], g[x], b[x] };
    float out[3];

    for (guint i = 0; i < 3; i++)
      out[i] = m[i][0] * in[0] + m[i][1] * in[1] + m[i][2] * in[2] +
          offset[i];
    r[x] = out[0];
    g[x] = out[1];
    b[x] = out[2];
  }
}

CPSP_CLONES static void
threshold_row (float *restrict row, float scale, float offset,
    float threshold, guint n)
{
  for (guint i = 0; i < n; i++)
    row[i] = scale * row[i] + offset > threshold ? 1 : -1;
}

CPSP_CLONES static void
double_minus_one_row (float *restrict row, guint n)
{
  for (guint i = 0; i < n; i++)
    row[i] = 2 * row[i] - 1;
}

CpspPlane *
cpsp_cpu_plane_new (CpspDevice * device, guint width, guint height,
    GError ** error)
{
  CpspPlane *plane = g_new0 (CpspPlane, 1);

  plane->device = device;
  plane->width = width;
  plane->height = height;
  plane->data = calloc ((gsize) width * height, sizeof (float));
  plane->first = calloc (2 * (gsize) height, sizeof (guint));
  if (!plane->data || !plane->first) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_NO_MEMORY,
        "no memory for a plane of %ux%u", width, height);
    free (plane->data);
    free (plane->first);
    g_free (plane);
    return NULL;
  }
  plane->last = plane->first + height;
  device->planes_size += (gsize) width *height * sizeof (float);
  return plane;
}

void
cpsp_cpu_plane_free (CpspPlane * plane)
{
  plane->device->planes_size -=
      (gsize) plane->width * plane->height * sizeof (float);
  free (plane->data);
  free (plane->first);
  g_free (plane);
}

gboolean
cpsp_cpu_plane_clear (CpspPlane * plane, GError ** error)
{
  (void) error;
  for (guint y = 0; y < plane->height; y++) {
    if (plane->first[y] < plane->last[y])
      memset (plane->data + (gsize) y * plane->width + plane->first[y], 0,
          (plane->last[y] - plane->first[y]) * sizeof (float));
    plane->first[y] = plane->last[y] = 0;
  }
  return TRUE;
}

const float *
cpsp_cpu_plane_map (CpspPlane * plane, GError ** error)
{
  (void) error;
  return plane->data;
}

// Columns low .. high - 1 of row y will be written.
static void
plane_touch (CpspPlane * plane, guint y, guint low, guint high)
{
  gboolean empty = plane->first[y] == plane->last[y];

  plane->first[y] = empty ? low : MIN (plane->first[y], low);
  plane->last[y] = empty ? high : MAX (plane->last[y], high);
}

gboolean
cpsp_cpu_set_frame (CpspDevice * device, const CpspImageView * image,
    const CpspMaskView * mask, GError ** error)
{
  (void) error;
  device->image = *image;
  device->mask = *mask;
  return TRUE;
}

// Channels first .. first + 2 of row y of the input: ROWS (of `used` pixels,
// the rest is PADDING).
static void
store_input (const CpspPlan * plan, guint slot, guint y, guint first,
    const float *const rows[3], guint used, float padding)
{
  const float *const paddings[3] = { &padding, &padding, &padding };
  const CpspProgram *program = cpsp_cpu_plan_get_program (plan);
  const CpspKernels *k = cpsp_cpu_plan_get_kernels (plan);
  const CpspTensor *t = &program->tensors[program->input];
  guint8 *to = cpsp_cpu_tensor (plan, program->input, slot) +
      ((gsize) y * t->width * t->pitch + first) * k->size;

  k->store_channels (to, t->pitch, 3, rows, used);
  for (guint x = used; x < t->width; x++)
    k->store_channels (to + x * t->pitch * k->size, t->pitch, 3, paddings, 1);
}

// A frame's components and the taps of a crop.
typedef struct
{
  const CpspImageView *view;
  const CpspTaps *x[3], *y[3];
  // Bytes of packed pixels of 3 or 4 bytes, not subsampled: component c is
  // byte order[c] from the first one on.
  gboolean packed;
  const guint8 *packed_data;
  guint order[3];
} Components;

static void
find_packed (Components * components)
{
  const CpspImageView *view = components->view;
  const CpspComponent *first = &view->component[0];
  const guint8 *data = first->data;

  components->packed = view->n_components == 3 && view->chroma_shift_x == 0 &&
      view->chroma_shift_y == 0 && view->chroma_x == 0 &&
      view->chroma_y == 0 && (first->step_bytes == 3 ||
      first->step_bytes == 4);
  for (guint c = 1; c < view->n_components; c++)
    data = MIN (data, view->component[c].data);
  for (guint c = 0; c < view->n_components; c++) {
    const CpspComponent *component = &view->component[c];

    components->packed = components->packed && !component->wide &&
        component->depth == 8 && component->data - data < 3 &&
        component->step_bytes == first->step_bytes &&
        component->stride_bytes == first->stride_bytes;
    components->order[c] = component->data - data;
  }
  components->packed_data = data;
}

static gboolean
components_init (Components * components, CpspDevice * device,
    const CpspCrop * crop, GError ** error)
{
  const CpspImageView *view = &device->image;

  components->view = view;
  for (guint c = 0; c < view->n_components; c++) {
    // Components 1 and 2 share theirs.
    CpspTaps *x = &device->taps[c ? 2 : 0], *y = x + 1;
    guint shift_x = c ? view->chroma_shift_x : 0;
    guint shift_y = c ? view->chroma_shift_y : 0;
    const Sampling sx = {
      (view->width + (1u << shift_x) - 1) >> shift_x, shift_x,
      c ? view->chroma_x : 0,
    };
    const Sampling sy = {
      (view->height + (1u << shift_y) - 1) >> shift_y, shift_y,
      c ? view->chroma_y : 0,
    };

    components->x[c] = x;
    components->y[c] = y;
    if (c < 2 && (!taps_crop (x, view->width, crop->width, crop->filter,
                crop->ratio, TRUE, crop->x, crop->crop_width, &sx, error) ||
            !taps_crop (y, view->height, crop->height, crop->filter,
                crop->ratio, TRUE, crop->y, crop->crop_height, &sy, error)))
      return FALSE;
  }
  find_packed (components);
  return TRUE;
}

// Row Y of the crop, component C, before its columns are mixed: to SUMS[0];
// of packed pixels all components at once, to sums[order].
static void
mix_samples (const Components * components, guint c, guint y,
    float *const sums[3])
{
  const CpspTaps *tx = components->x[c], *ty = components->y[c];
  const CpspComponent *component = &components->view->component[c];
  guint n = tx->high - tx->low;
  gboolean first = TRUE;

  for (guint k = 0; k < ty->n_taps; k++) {
    float weight = ty->weight[k * ty->n + y];
    guint row = ty->index[k * ty->n + y];

    if (weight == 0 && !first)
      continue;
    if (components->packed)
      add_pixels (sums, components->packed_data +
          row * component->stride_bytes +
          (gsize) tx->low * component->step_bytes, component->step_bytes,
          weight, first, n);
    else
      add_samples (sums[0], component, tx->low, row, weight, first, n);
    first = FALSE;
  }
}

gboolean
cpsp_cpu_load_image (CpspPlan * plan, guint slot, const CpspCrop * crop,
    GError ** error)
{
  CpspDevice *device = cpsp_cpu_plan_get_device (plan);
  const CpspProgram *program = cpsp_cpu_plan_get_program (plan);
  const CpspTensor *t = &program->tensors[program->input];
  const CpspImageView *view = &device->image;
  const CpspKernels *k = cpsp_cpu_plan_get_kernels (plan);
  Components components;
  gsize span = 0, floats;

  if (!components_init (&components, device, crop, error))
    return FALSE;
  for (guint c = 0; c < view->n_components; c++)
    span = MAX (span, components.x[c]->high - components.x[c]->low);
  span += CPSP_GATHER_SLACK;
  floats = 3 * (span + crop->crop_width);
  if (!cpsp_cpu_rows (device, floats, error))
    return FALSE;

  cpsp_cpu_enter (device);
#pragma omp parallel for schedule(static)
  for (guint y = 0; y < t->height; y++) {
    float *row = cpsp_cpu_row (device, floats);
    float *const sums[3] = { row, row + span, row + 2 * span };
    float *out[3];

    for (guint c = 0; c < 3; c++)
      out[c] = row + 3 * span + c * crop->crop_width;
    if (y < crop->crop_height) {
      for (guint c = 0; c < view->n_components; c++) {
        if (!components.packed || c == 0)
          mix_samples (&components, c, y, sums);
        taps_apply (components.x[c], out[c],
            sums[components.packed ? components.order[c] : 0]);
      }
      for (guint c = view->n_components; c < 3; c++)
        memset (out[c], 0, crop->crop_width * sizeof (float));
      convert_row (view, out[0], out[1], out[2], crop->crop_width);
    }
    store_input (plan, slot, y, CPSP_INPUT_RGB, (const float *const *) out,
        y < crop->crop_height ? crop->crop_width : 0, 0);
    k->zero_channels (cpsp_cpu_tensor (plan, program->input, slot) +
        (gsize) y * t->width * t->pitch * k->size, t->pitch, t->channels,
        t->width);
  }
  cpsp_cpu_leave (device);
  return TRUE;
}

// The mask as +1 and -1, one row of the frame at a time.
typedef struct
{
  const CpspMaskView *view;
  const CpspTaps *x, *y;        // mask to frame
  float threshold;
} Levels;

// Row Y of the frame, columns x->n from 0; scratch of x->high - x->low.
static void
levels_row (const Levels * levels, guint y, float *dst, float *scratch)
{
  const CpspTaps *tx = levels->x, *ty = levels->y;
  const CpspMaskView *view = levels->view;

  for (guint k = 0; k < ty->n_taps; k++)
    add_samples (scratch, &view->component, tx->low, ty->index[k * ty->n + y],
        ty->weight[k * ty->n + y], k == 0, tx->high - tx->low);
  taps_apply (tx, dst, scratch);
  threshold_row (dst, view->scale, view->offset, levels->threshold, tx->n);
}

gboolean
cpsp_cpu_load_coarse (CpspPlan * plan, guint slot, const CpspCrop * crop,
    float threshold, GError ** error)
{
  CpspDevice *device = cpsp_cpu_plan_get_device (plan);
  const CpspProgram *program = cpsp_cpu_plan_get_program (plan);
  const CpspTensor *t = &program->tensors[program->input];
  const CpspMaskView *mask = &device->mask;
  guint width = device->image.width, height = device->image.height;
  const Sampling sx = { width, 0, 0 };
  const Sampling sy = { height, 0, 0 };
  CpspTaps *tx = &device->taps[0], *ty = &device->taps[1];
  Levels levels = { mask, &device->taps[2], &device->taps[3], threshold };
  gsize span, floats;

  if (!taps_crop (tx, width, crop->width, crop->filter, crop->ratio, FALSE,
          crop->x, crop->crop_width, &sx, error) ||
      !taps_crop (ty, height, crop->height, crop->filter, crop->ratio, FALSE,
          crop->y, crop->crop_height, &sy, error) ||
      !taps_resize (&device->taps[2], mask->width, width,
          CPSP_RESIZE_BILINEAR, tx->low, tx->high - tx->low, error) ||
      !taps_resize (&device->taps[3], mask->height, height,
          CPSP_RESIZE_BILINEAR, 0, height, error))
    return FALSE;
  span = tx->high - tx->low + CPSP_GATHER_SLACK;
  floats = MAX (mask->width, crop->crop_width) + 2 * span;
  if (!cpsp_cpu_rows (device, floats, error))
    return FALSE;

  cpsp_cpu_enter (device);
#pragma omp parallel for schedule(static)
  for (guint y = 0; y < t->height; y++) {
    float *row = cpsp_cpu_row (device, floats);
    float *sum = row + span, *out = sum + span;
    gboolean first = TRUE;

    if (y < crop->crop_height) {
      for (guint k = 0; k < ty->n_taps; k++) {
        float weight = ty->weight[k * ty->n + y];

        if (weight == 0 && !first)
          continue;
        levels_row (&levels, ty->index[k * ty->n + y], row, out);
        cpsp_add_floats (sum, row, weight, first, tx->high - tx->low);
        first = FALSE;
      }
      taps_apply (tx, out, sum);
    }
    store_input (plan, slot, y, CPSP_INPUT_SEG,
        (const float *const[3]) { out, out, out },
        y < crop->crop_height ? crop->crop_width : 0, -1);
  }
  cpsp_cpu_leave (device);
  return TRUE;
}

gboolean
cpsp_cpu_load_masks (CpspPlan * plan, guint slot, const CpspCrop * crop,
    const CpspPlane * p1, const CpspPlane * p4, GError ** error)
{
  CpspDevice *device = cpsp_cpu_plan_get_device (plan);
  const CpspProgram *program = cpsp_cpu_plan_get_program (plan);
  const CpspTensor *t = &program->tensors[program->input];
  CpspTaps *tx = &device->taps[0], *ty = &device->taps[1];
  gsize floats;

  if (!taps_resize (tx, p1->width, crop->width, CPSP_RESIZE_BILINEAR,
          crop->x, crop->crop_width, error) ||
      !taps_resize (ty, p1->height, crop->height, CPSP_RESIZE_BILINEAR,
          crop->y, crop->crop_height, error))
    return FALSE;
  floats = (tx->high - tx->low) + 2 * crop->crop_width;
  if (!cpsp_cpu_rows (device, floats, error))
    return FALSE;

  cpsp_cpu_enter (device);
#pragma omp parallel for schedule(static)
  for (guint y = 0; y < t->height; y++) {
    float *seg = cpsp_cpu_row (device, floats);
    float *coarse = seg + crop->crop_width;
    float *row = coarse + crop->crop_width;
    guint used = y < crop->crop_height ? crop->crop_width : 0;

    if (used) {
      resize_plane_row (p1, ty, y, tx, seg, row);
      threshold_row (seg, 1, 0, 0.5f, used);
      resize_plane_row (p4, ty, y, tx, coarse, row);
      double_minus_one_row (coarse, used);
    }
    store_input (plan, slot, y, CPSP_INPUT_SEG,
        (const float *const[3]) { seg, coarse, coarse }, used, -1);
  }
  cpsp_cpu_leave (device);
  return TRUE;
}

static const float *
output_row (const CpspPlan * plan, guint slot, CpspOutput output, guint y)
{
  const CpspProgram *program = cpsp_cpu_plan_get_program (plan);
  gint tensor = output == CPSP_OUTPUT_P1 ? program->p1 : program->p4;

  return (const float *) cpsp_cpu_tensor (plan, tensor, slot) +
      (gsize) y * program->tensors[tensor].width;
}

gboolean
cpsp_cpu_store (CpspPlan * plan, guint slot, CpspOutput output,
    CpspPlane * dst, GError ** error)
{
  (void) error;
  for (guint y = 0; y < dst->height; y++) {
    memcpy (dst->data + (gsize) y * dst->width,
        output_row (plan, slot, output, y), dst->width * sizeof (float));
    plane_touch (dst, y, 0, dst->width);
  }
  return TRUE;
}

CPSP_CLONES static void
accumulate_row (float *restrict sum, float *restrict weight,
    const float *value, const float *row_weight, float w, guint n)
{
  for (guint i = 0; i < n; i++)
    sum[i] += w * row_weight[i] * value[i];
  if (weight)
    for (guint i = 0; i < n; i++)
      weight[i] += w * row_weight[i];
}

// min (1, (i + 0.5) / before, (n - i - 0.5) / after), 0: no ramp
static float
ramp (guint i, guint n, guint before, guint after)
{
  float w = 1;

  if (before)
    w = MIN (w, (i + 0.5f) / before);
  if (after)
    w = MIN (w, (n - i - 0.5f) / after);
  return w;
}

gboolean
cpsp_cpu_accumulate (CpspPlan * plan, guint slot, CpspOutput output,
    const CpspBlend * blend, CpspPlane * sum, CpspPlane * weight,
    GError ** error)
{
  CpspDevice *device = cpsp_cpu_plan_get_device (plan);
  float *row_weight;

  if (!cpsp_cpu_rows (device, blend->width, error))
    return FALSE;
  row_weight = device->rows.data;
  for (guint i = 0; i < blend->width; i++)
    row_weight[i] = ramp (i, blend->width, blend->ramp_left,
        blend->ramp_right);

  cpsp_cpu_enter (device);
#pragma omp parallel for schedule(static)
  for (guint j = 0; j < blend->height; j++) {
    guint y = blend->y + j;
    gsize at = (gsize) y * sum->width + blend->x;

    accumulate_row (sum->data + at, weight ? weight->data + at : NULL,
        output_row (plan, slot, output, blend->trim_top + j) +
        blend->trim_left, row_weight, ramp (j, blend->height,
            blend->ramp_top, blend->ramp_bottom), blend->width);
    plane_touch (sum, y, blend->x, blend->x + blend->width);
    if (weight)
      plane_touch (weight, y, blend->x, blend->x + blend->width);
  }
  cpsp_cpu_leave (device);
  return TRUE;
}

CPSP_CLONES static void
binarise_row (float *restrict row, guint n)
{
  for (guint i = 0; i < n; i++)
    row[i] = row[i] > 0.5f ? 1 : 0;
}

CPSP_CLONES static void
combine_row (float *restrict row, const float *sum, const float *weight,
    gboolean counts, guint n)
{
  if (counts)
    for (guint i = 0; i < n; i++)
      row[i] = weight[i] > 0 ? sum[i] / weight[i] : row[i];
  else
    for (guint i = 0; i < n; i++) {
      float rest = 1 - weight[i];
      float whole = weight[i] > 1 ? weight[i] : 1;

      row[i] = (sum[i] + (rest > 0 ? rest : 0) * row[i]) / whole;
    }
}

// What all rows of a result share.
typedef struct
{
  const CpspResult *result;
  const CpspTaps *x, *y;
  gsize floats;                 // of a thread's row
} Finish;

static gboolean
finish_init (Finish * finish, CpspDevice * device, const CpspResult * result,
    guint width, guint height, GError ** error)
{
  const CpspPlane *base = result->base;

  finish->result = result;
  finish->x = &device->taps[0];
  finish->y = &device->taps[1];
  finish->floats = width + base->width;
  return taps_resize (&device->taps[0], base->width, width, result->resize,
      0, width, error) &&
      taps_resize (&device->taps[1], base->height, height, result->resize, 0,
      height, error) && cpsp_cpu_rows (device, finish->floats, error);
}

static void
finish_row (const Finish * finish, guint y, float *row, float *scratch)
{
  const CpspResult *result = finish->result;
  const CpspPlane *sum = result->sum, *weight = result->weight;

  resize_plane_row (result->base, finish->y, y, finish->x, row, scratch);
  if (result->binarise)
    binarise_row (row, finish->x->n);
  if (sum && weight->first[y] < weight->last[y]) {
    guint first = weight->first[y];
    gsize at = (gsize) y * weight->width + first;

    combine_row (row + first, sum->data + at, weight->data + at,
        result->binarise, weight->last[y] - first);
  }
}

// x * scale + 0.5 within [0, scale]: to be truncated; NaN: 0
static inline __attribute__ ((always_inline)) gint
quantise (float x, float scale)
{
  x = x > 0 ? x : 0;
  x = x < 1 ? x : 1;
  return (gint) (x * scale + 0.5f);
}

CPSP_CLONES static void
bytes_row (guint8 * restrict dst, const float *src, guint n)
{
  for (guint i = 0; i < n; i++)
    dst[i] = quantise (src[i], 255);
}

CPSP_CLONES static void
words_row (guint16 * restrict dst, const float *src, guint n)
{
  for (guint i = 0; i < n; i++)
    dst[i] = quantise (src[i], 65535);
}

static void
alpha_row (const CpspAlphaView * dst, guint y, const float *row)
{
  guint8 *to = dst->data + y * dst->stride_bytes;

  if (dst->format == CPSP_ALPHA_U8)
    bytes_row (to, row, dst->width);
  else if (dst->format == CPSP_ALPHA_U16)
    words_row ((guint16 *) to, row, dst->width);
  else
    memcpy (to, row, dst->width * sizeof (float));
}

static void
plane_row (CpspPlane * dst, guint y, const float *row)
{
  memcpy (dst->data + (gsize) y * dst->width, row,
      dst->width * sizeof (float));
  plane_touch (dst, y, 0, dst->width);
}

// Into ALPHA, or if that is NULL, into PLANE.
static gboolean
finish_into (CpspDevice * device, const CpspResult * result, guint width,
    guint height, const CpspAlphaView * alpha, CpspPlane * plane,
    GError ** error)
{
  Finish finish;

  if (!finish_init (&finish, device, result, width, height, error))
    return FALSE;
  cpsp_cpu_enter (device);
#pragma omp parallel for schedule(static)
  for (guint y = 0; y < height; y++) {
    float *row = cpsp_cpu_row (device, finish.floats);

    finish_row (&finish, y, row, row + width);
    if (alpha)
      alpha_row (alpha, y, row);
    else
      plane_row (plane, y, row);
  }
  cpsp_cpu_leave (device);
  return TRUE;
}

gboolean
cpsp_cpu_finish_alpha (CpspDevice * device, const CpspResult * result,
    const CpspAlphaView * dst, GError ** error)
{
  return finish_into (device, result, dst->width, dst->height, dst, NULL,
      error);
}

gboolean
cpsp_cpu_finish_plane (CpspDevice * device, const CpspResult * result,
    CpspPlane * dst, GError ** error)
{
  return finish_into (device, result, dst->width, dst->height, NULL, dst,
      error);
}
