/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The loops for one number type. Included once per type with T (an element),
 * NAME (x) (x with the type's suffix), LOAD (x) (element to float) and
 * STORE (x) (float to element) defined.
 */

CPSP_CLONES static void
NAME (mix_rows) (float *restrict dst, const void *a_row, const void *b_row,
    float t, gsize n)
{
  const T *a = a_row, *b = b_row;

  for (gsize i = 0; i < n; i++)
    dst[i] = (1 - t) * LOAD (a[i]) + t * LOAD (b[i]);
}

// dst = near * 0.75 + far * 0.25, with the affine if there is one
static inline __attribute__ ((always_inline)) void
NAME (mix_pixel) (T * restrict dst, const float *near, const float *far,
    guint channels, const float *scale, const float *shift)
{
  if (scale)
    for (guint c = 0; c < channels; c++) {
      float x = scale[c] * (0.75f * near[c] + 0.25f * far[c]) + shift[c];

      dst[c] = STORE (x > 0 ? x : 0);
    }
  else
    for (guint c = 0; c < channels; c++)
      dst[c] = STORE (0.75f * near[c] + 0.25f * far[c]);
}

CPSP_CLONES static void
NAME (upsample_row) (void *dst_row, gsize dst_pitch, const float *src,
    gsize src_pitch, guint width, guint channels, const float *scale,
    const float *shift)
{
  T *dst = dst_row;

  for (guint x = 0; x < width; x++) {
    const float *mid = src + x * src_pitch;
    const float *left = x > 0 ? mid - src_pitch : mid;
    const float *right = x + 1 < width ? mid + src_pitch : mid;

    NAME (mix_pixel) (dst, mid, left, channels, scale, shift);
    NAME (mix_pixel) (dst + dst_pitch, mid, right, channels, scale, shift);
    dst += 2 * dst_pitch;
  }
}

CPSP_CLONES static void
NAME (affine_row) (void *dst_row, gsize dst_pitch, const void *src_row,
    gsize src_pitch, guint width, guint channels, const float *scale,
    const float *shift)
{
  T *restrict dst = dst_row;
  const T *src = src_row;

  for (guint x = 0; x < width; x++, dst += dst_pitch, src += src_pitch)
    for (guint c = 0; c < channels; c++) {
      float y = scale[c] * LOAD (src[c]) + shift[c];

      dst[c] = STORE (y > 0 ? y : 0);
    }
}

static void
NAME (zero_channels) (void *dst_row, gsize pitch, guint first, guint width)
{
  T *dst = dst_row;

  for (guint c = first; c < pitch; c++)
    for (guint x = 0; x < width; x++)
      dst[x * pitch + c] = STORE (0);
}

// n <= POOL_CHANNELS channels of one output; the pixels are *src, NULL where
// there is none.
#define POOL_CHANNELS 16

static inline __attribute__ ((always_inline)) void
NAME (max_pool_channels) (T * dst, const T * const src[9], guint n,
    const float *scale, const float *shift)
{
  // Values after ReLU are at least 0, and so is their maximum.
  float most[POOL_CHANNELS] = { 0 };

  for (guint k = 0; k < 9; k++)
    if (src[k])
      for (guint c = 0; c < n; c++) {
        float y = scale[c] * LOAD (src[k][c]) + shift[c];

        most[c] = y > most[c] ? y : most[c];
      }
  for (guint c = 0; c < n; c++)
    dst[c] = STORE (most[c]);
}

CPSP_CLONES static void
NAME (max_pool_row) (void *dst_row, const void *const rows[3], gsize pitch,
    guint src_width, guint dst_width, guint channels, const float *scale,
    const float *shift)
{
  for (guint x = 0; x < dst_width; x++) {
    T *dst = (T *) dst_row + x * pitch;
    const T *src[9];
    guint c = 0;

    for (guint k = 0; k < 9; k++) {
      guint sx = 2 * x + k % 3; // + 1: the position counts from -1

      src[k] = !rows[k / 3] || sx < 1 || sx > src_width ? NULL :
          (const T *) rows[k / 3] + (sx - 1) * pitch;
    }
    while (c < channels) {
      guint n = MIN (POOL_CHANNELS, channels - c);

      if (n == POOL_CHANNELS)
        NAME (max_pool_channels) (dst + c, src, POOL_CHANNELS, scale + c,
            shift + c);
      else
        NAME (max_pool_channels) (dst + c, src, n, scale + c, shift + c);
      for (guint k = 0; k < 9; k++)
        src[k] = src[k] ? src[k] + n : NULL;
      c += n;
    }
  }
  NAME (zero_channels) (dst_row, pitch, channels, dst_width);
}

#undef POOL_CHANNELS

CPSP_CLONES static void
NAME (sum_pixels) (float *restrict sum, const void *src_row, gsize pitch,
    guint count, guint n)
{
  const T *src = src_row;

  for (guint x = 0; x < count; x++, src += pitch)
    for (guint c = 0; c < n; c++)
      sum[c] += LOAD (src[c]);
}

CPSP_CLONES static void
NAME (store_scaled) (void *dst_row, const float *src, float factor, gsize n)
{
  T *restrict dst = dst_row;

  for (gsize i = 0; i < n; i++)
    dst[i] = STORE (src[i] * factor);
}

CPSP_CLONES static void
NAME (sum_rows) (void *dst_row, const float *const src[CPSP_SUM_ROWS],
    const float weight[CPSP_SUM_ROWS], guint n)
{
  T *restrict dst = dst_row;
  const float *a = src[0], *b = src[1], *c = src[2], *d = src[3];
  const float *e = src[4], *f = src[5], *g = src[6], *h = src[7];

  for (guint i = 0; i < n; i++) {
    float sum = weight[0] * a[i] + weight[1] * b[i] + weight[2] * c[i] +
        weight[3] * d[i] + weight[4] * e[i] + weight[5] * f[i] +
        weight[6] * g[i] + weight[7] * h[i];

    dst[i] = STORE (sum);
  }
}

// Pixels of a head that are computed together: enough independent sums to
// hide the latency of an addition.
#define HEAD_PIXELS 8

// sum += weight . src, `channels` channels, the n pixels from src on; what is
// beyond them repeats the last one and is not used.
static inline __attribute__ ((always_inline)) void
NAME (head_add) (float sum[HEAD_PIXELS][CPSP_HEAD_BLOCK], const T * src,
    gsize pitch, guint channels, guint n, const float *weight, guint hidden)
{
  const T *pixels[HEAD_PIXELS];

  for (guint p = 0; p < HEAD_PIXELS; p++)
    pixels[p] = src + MIN (p, n - 1) * pitch;
  for (guint c = 0; c < channels; c++, weight += hidden)
    for (guint p = 0; p < HEAD_PIXELS; p++) {
      float v = LOAD (pixels[p][c]);

      for (guint k = 0; k < CPSP_HEAD_BLOCK; k++)
        sum[p][k] += v * weight[k];
    }
}

CPSP_CLONES static void
NAME (head_row) (float *dst, const void *src_row, gsize src_pitch,
    guint src_channels, const void *skip_row, gsize skip_pitch,
    guint skip_channels, guint width, guint hidden, const float *weight,
    const float *bias, const float *out_weight, float out_bias)
{
  const T *src = src_row, *skip = skip_row;

  for (guint x = 0; x < width; x += HEAD_PIXELS) {
    guint n = MIN (HEAD_PIXELS, width - x);
    float logit[HEAD_PIXELS];

    for (guint p = 0; p < HEAD_PIXELS; p++)
      logit[p] = out_bias;
    for (guint h = 0; h < hidden; h += CPSP_HEAD_BLOCK) {
      float sum[HEAD_PIXELS][CPSP_HEAD_BLOCK];

      for (guint p = 0; p < HEAD_PIXELS; p++)
        for (guint k = 0; k < CPSP_HEAD_BLOCK; k++)
          sum[p][k] = bias[h + k];
      NAME (head_add) (sum, src + x * src_pitch, src_pitch, src_channels, n,
          weight + h, hidden);
      if (skip_channels > 0)
        NAME (head_add) (sum, skip + x * skip_pitch, skip_pitch,
            skip_channels, n, weight + (gsize) src_channels * hidden + h,
            hidden);
      for (guint p = 0; p < HEAD_PIXELS; p++)
        for (guint k = 0; k < CPSP_HEAD_BLOCK; k++)
          logit[p] += (sum[p][k] > 0 ? sum[p][k] : 0) * out_weight[h + k];
    }
    memcpy (dst + x, logit, n * sizeof (float));
  }
}

#undef HEAD_PIXELS

// Pixels that are converted together, before they go to their places.
#define STORE_PIXELS 64

CPSP_CLONES static void
NAME (store_channels) (void *dst_row, gsize pitch, guint n,
    const float *const values[3], guint width)
{
  T *dst = dst_row;
  T block[STORE_PIXELS];

  for (guint x = 0; x < width; x += STORE_PIXELS) {
    guint count = MIN (STORE_PIXELS, width - x);

    for (guint c = 0; c < n; c++) {
      for (guint i = 0; i < count; i++)
        block[i] = STORE (values[c][x + i]);
      for (guint i = 0; i < count; i++)
        dst[(x + i) * pitch + c] = block[i];
    }
  }
}

#undef STORE_PIXELS

CPSP_CLONES static void
NAME (load) (float *dst, const void *src_row, gsize n)
{
  const T *src = src_row;

  for (gsize i = 0; i < n; i++)
    dst[i] = LOAD (src[i]);
}

const CpspKernels NAME (cpsp_kernels) = {
  .size = sizeof (T),
  .mix_rows = NAME (mix_rows),
  .upsample_row = NAME (upsample_row),
  .affine_row = NAME (affine_row),
  .zero_channels = NAME (zero_channels),
  .max_pool_row = NAME (max_pool_row),
  .sum_pixels = NAME (sum_pixels),
  .store_scaled = NAME (store_scaled),
  .sum_rows = NAME (sum_rows),
  .head_row = NAME (head_row),
  .store_channels = NAME (store_channels),
  .load = NAME (load),
};
