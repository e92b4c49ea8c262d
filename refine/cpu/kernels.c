/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The loops: once for each number type, and those on floats alone.
 */
#include "kernels.h"

#define T float
#define NAME(x) x##_f32
#define LOAD(x) (x)
#define STORE(x) (x)
#include "kernels_type.h"
#undef T
#undef NAME
#undef LOAD
#undef STORE

#define T guint16
#define NAME(x) x##_bf16
#define LOAD(x) cpsp_bf16_to_float (x)
#define STORE(x) cpsp_float_to_bf16 (x)
#include "kernels_type.h"
#undef T
#undef NAME
#undef LOAD
#undef STORE

// e^x for x in [-87, 88], relative error below 2e-7: 2^n * 2^f with f in
// [-0.5, 0.5], 2^f by its Taylor polynomial of degree 7.
static inline float
exp_approx (float x)
{
  float t = x * 1.44269504f;
  // Adding 1.5 * 2^23 rounds to an integer.
  float rounded = (t + 12582912.0f) - 12582912.0f;
  // What is left, times ln 2, in two steps to keep its low bits.
  float f = (x - rounded * 0.693145752f) - rounded * 1.42860677e-6f;
  float p = 1.0f / 5040;
  gint32 n = (gint32) rounded;
  guint32 bits = (guint32) (n + 127) << 23;
  float power;

  p = p * f + 1.0f / 720;
  p = p * f + 1.0f / 120;
  p = p * f + 1.0f / 24;
  p = p * f + 1.0f / 6;
  p = p * f + 0.5f;
  p = p * f + 1;
  p = p * f + 1;
  memcpy (&power, &bits, 4);
  return p * power;
}

static inline float
clamp (float x, float low, float high)
{
  // In this order a NaN becomes `low`.
  x = x > low ? x : low;
  return x < high ? x : high;
}

CPSP_CLONES void
cpsp_tanh_row (float *value, guint n)
{
  for (guint i = 0; i < n; i++) {
    // tanh (10) is 1 in float.
    float e = exp_approx (2 * clamp (value[i], -10, 10));

    value[i] = (e - 1) / (e + 1);
  }
}

CPSP_CLONES void
cpsp_sigmoid_row (float *value, guint n)
{
  for (guint i = 0; i < n; i++)
    value[i] = 1 / (1 + exp_approx (-clamp (value[i], -80, 80)));
}

CPSP_CLONES void
cpsp_add_floats (float *restrict dst, const float *src, float w,
    gboolean first, guint n)
{
  if (first)
    for (guint i = 0; i < n; i++)
      dst[i] = w * src[i];
  else
    for (guint i = 0; i < n; i++)
      dst[i] += w * src[i];
}

// Of enlargements 16 outputs read 16 neighbouring elements at most: these are
// loaded once and permuted, which is far cheaper than a gather. Returns how
// many outputs were made.
#if defined (__GNUC__) && !defined (__clang__)
typedef float Floats __attribute__ ((vector_size (64)));
typedef gint32 Ints __attribute__ ((vector_size (64)));

static inline __attribute__ ((always_inline)) guint
permute_two_taps (float *dst, const float *src, guint low,
    const guint * index, const float *weight, guint n)
{
  const guint *second = index + n;
  guint i = 0;

  for (; i + 16 <= n; i += 16) {
    guint base = index[i];
    Floats elements, first_weight, second_weight, sum;
    Ints first, next;

    // Indices ascend.
    if (second[i + 15] - base >= 16)
      break;
    memcpy (&elements, src + (base - low), sizeof elements);
    memcpy (&first, index + i, sizeof first);
    memcpy (&next, second + i, sizeof next);
    memcpy (&first_weight, weight + i, sizeof first_weight);
    memcpy (&second_weight, weight + n + i, sizeof second_weight);
    sum = __builtin_shuffle (elements, first - (gint32) base) *
        first_weight + __builtin_shuffle (elements, next - (gint32) base) *
        second_weight;
    memcpy (dst + i, &sum, sizeof sum);
  }
  return i;
}
#else
static inline guint
permute_two_taps (float *dst, const float *src, guint low,
    const guint * index, const float *weight, guint n)
{
  return 0;
}
#endif

CPSP_CLONES void
cpsp_gather_floats (float *restrict dst, const float *src, guint low,
    const guint * index, const float *weight, guint n_taps, guint n)
{
  guint begin = n_taps == 2 ? permute_two_taps (dst, src, low, index, weight,
      n) : 0;

  for (guint i = begin; i < n; i++)
    dst[i] = weight[i] * src[index[i] - low];
  for (guint k = 1; k < n_taps; k++)
    for (guint i = begin; i < n; i++)
      dst[i] += weight[k * n + i] * src[index[k * n + i] - low];
}
