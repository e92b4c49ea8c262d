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

  if (first == pitch)
    return;
  for (guint x = 0; x < width; x++)
    memset (dst + x * pitch + first, 0, (pitch - first) * sizeof (T));
}

CPSP_CLONES static void
NAME (max_pool_row) (void *dst_row, const void *const rows[3], gsize pitch,
    guint src_width, guint dst_width, guint channels, const float *scale,
    const float *shift)
{
  for (guint x = 0; x < dst_width; x++) {
    T *restrict dst = (T *) dst_row + x * pitch;

    // The values after ReLU are at least 0, and so is their maximum.
    memset (dst, 0, pitch * sizeof (T));
    for (guint r = 0; r < 3; r++)
      for (guint k = 0; k < 3; k++) {
        guint sx = 2 * x + k;   // + 1: the position counts from -1
        const T *src;

        if (!rows[r] || sx < 1 || sx > src_width)
          continue;
        src = (const T *) rows[r] + (sx - 1) * pitch;
        for (guint c = 0; c < channels; c++) {
          float y = scale[c] * LOAD (src[c]) + shift[c];
          float old = LOAD (dst[c]);

          dst[c] = STORE (y > old ? y : old);
        }
      }
  }
}

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
      NAME (head_add) (sum, skip + x * skip_pitch, skip_pitch, skip_channels,
          n, weight + (gsize) src_channels * hidden + h, hidden);
      for (guint p = 0; p < HEAD_PIXELS; p++)
        for (guint k = 0; k < CPSP_HEAD_BLOCK; k++)
          logit[p] += (sum[p][k] > 0 ? sum[p][k] : 0) * out_weight[h + k];
    }
    memcpy (dst + x, logit, n * sizeof (float));
  }
}

#undef HEAD_PIXELS

static void
NAME (store_channels) (void *dst_row, gsize pitch, guint n,
    const float *value, guint width)
{
  T *dst = dst_row;

  for (guint x = 0; x < width; x++)
    for (guint c = 0; c < n; c++)
      dst[x * pitch + c] = STORE (value[x]);
}

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
