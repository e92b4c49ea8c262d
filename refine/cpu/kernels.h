/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The CPU backend's own loops, one row of pixels at a time, for the machine
 * they run on. Pixels are NHWC; a pitch is in elements from pixel to pixel.
 * Rows of T are rows of the table's type; rows of float are float always.
 */
#pragma once

#include "clones.h"
#include "types.h"

G_BEGIN_DECLS

// Hidden channels of a head are handled in blocks of this many.
#define CPSP_HEAD_BLOCK 16
// Two cells of each of the pyramid's grids.
#define CPSP_SUM_ROWS 8

typedef struct
{
  gsize size;                   // of an element

  // dst (float) = (1 - t) * a + t * b, n elements
  void (*mix_rows) (float *dst, const void *a, const void *b, float t,
      gsize n);
  // dst = relu (scale * x + shift) of `channels` channels per pixel; scale
  // NULL: dst = x. x = src (float, `width` pixels) resized bilinearly by 2.
  void (*upsample_row) (void *dst, gsize dst_pitch, const float *src,
      gsize src_pitch, guint width, guint channels, const float *scale,
      const float *shift);
  // dst = relu (scale * src + shift)
  void (*affine_row) (void *dst, gsize dst_pitch, const void *src,
      gsize src_pitch, guint width, guint channels, const float *scale,
      const float *shift);
  // channels first .. pitch - 1 of each pixel = 0
  void (*zero_channels) (void *dst, gsize pitch, guint first, guint width);
  // One row of 3x3 stride 2 pooling of relu (scale * x + shift); rows[1] is
  // the middle one, the others are NULL outside the image.
  void (*max_pool_row) (void *dst, const void *const rows[3], gsize pitch,
      guint src_width, guint dst_width, guint channels, const float *scale,
      const float *shift);
  // sum += n channels of `count` pixels
  void (*sum_pixels) (float *sum, const void *src, gsize pitch, guint count,
      guint n);
  // dst = src * factor, and back to the type
  void (*store_scaled) (void *dst, const float *src, float factor, gsize n);
  // dst[i] = sum over k of weight[k] * src[k][i], n elements
  void (*sum_rows) (void *dst, const float *const src[CPSP_SUM_ROWS],
      const float weight[CPSP_SUM_ROWS], guint n);
  // A row of heads. weight is [c][hidden], hidden a multiple of
  // CPSP_HEAD_BLOCK (zeros where there is none); c counts src's channels
  // first, then the skip's.
  void (*head_row) (float *dst, const void *src, gsize src_pitch,
      guint src_channels, const void *skip, gsize skip_pitch,
      guint skip_channels, guint width, guint hidden, const float *weight,
      const float *bias, const float *out_weight, float out_bias);
  // channel c < n <= 3 from `dst` on of each pixel = values[c]
  void (*store_channels) (void *dst, gsize pitch, guint n,
      const float *const values[3], guint width);
  void (*load) (float *dst, const void *src, gsize n);
} CpspKernels;

extern const CpspKernels cpsp_kernels_f32, cpsp_kernels_bf16;

// In place: value = tanh (value), 1 / (1 + exp (-value)); within 3e-7.
void cpsp_tanh_row (float *value, guint n);
void cpsp_sigmoid_row (float *value, guint n);
// dst = w * src (first), dst += w * src (not first); n values
void cpsp_add_floats (float *dst, const float *src, float w, gboolean first,
    guint n);
// dst[i] = sum over k < n_taps of weight[k * n + i] *
// src[index[k * n + i] - low]; index[k * n + i] ascends with i and with k. Up
// to CPSP_GATHER_SLACK elements behind the last one are read, not used.
#define CPSP_GATHER_SLACK 16
void cpsp_gather_floats (float *dst, const float *src, guint low,
    const guint * index, const float *weight, guint n_taps, guint n);

G_END_DECLS
