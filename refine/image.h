/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Views of the caller's memory: a video frame, a coarse mask, a place for the
 * alpha. A view owns nothing; its memory must live until the call that takes
 * it returns. Pixel centres are at half coordinates: pixel x covers
 * [x, x + 1).
 *
 * There is no list of formats: a view says where each component's samples
 * are, which covers planar, semi-planar and packed layouts of 8 to 16 bits.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

// Samples of one component: sample (x, y) is the 8-bit (wide = FALSE) or
// native-endian 16-bit (wide = TRUE) unsigned integer at
// data + y * stride_bytes + x * step_bytes, shifted right by `shift` bits,
// its lowest `depth` bits.
typedef struct
{
  const guint8 *data;
  gssize stride_bytes;
  guint step_bytes;
  gboolean wide;
  guint shift;
  guint depth;
} CpspComponent;

// A frame of one component (grey) or three. RGB in [0, 1] is
//   rgb[i] = sum over j of matrix[i][j] * sample[j] + offset[i]
// with the samples as integers; matrix and offset carry range and
// colorimetry. Components 1 and 2 of a frame of three may be subsampled by
// 1 << chroma_shift_x, 1 << chroma_shift_y, their sizes rounded up; the centre
// of their first sample lies chroma_x, chroma_y luma pixels right of and below
// the centre of the first luma pixel (0: co-sited, 0.5: between two, for a
// shift of 1).
typedef struct
{
  guint width, height;
  guint n_components;
  CpspComponent component[3];
  guint chroma_shift_x, chroma_shift_y;
  float chroma_x, chroma_y;
  float matrix[3][3];
  float offset[3];
} CpspImageView;

// A mask of any size, stretched over the frame; value in [0, 1] =
// scale * sample + offset, scale > 0.
typedef struct
{
  guint width, height;
  CpspComponent component;
  float scale, offset;
} CpspMaskView;

typedef enum
{
  CPSP_ALPHA_U8,                // round (p * 255)
  CPSP_ALPHA_U16,               // round (p * 65535), native-endian
  CPSP_ALPHA_F32,               // p as computed
} CpspAlphaFormat;

typedef struct
{
  guint width, height;
  CpspAlphaFormat format;
  guint8 *data;
  gssize stride_bytes;
} CpspAlphaView;

typedef struct
{
  gint x, y;
  guint width, height;
} CpspRect;

G_END_DECLS
