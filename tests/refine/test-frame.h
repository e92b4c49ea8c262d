/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames made for tests of the refiner.
 */
#pragma once

#include "refiner.h"

#include <math.h>

// A frame with its mask and a place for the alpha.
typedef struct
{
  guint width, height;
  guint8 *image;                // RGB
  guint8 *mask;
  float *alpha;
  CpspImageView image_view;
  CpspMaskView mask_view;
  CpspAlphaView alpha_view;
} Frame;

static inline void
frame_describe (Frame * frame)
{
  frame->alpha = g_new (float, (gsize) frame->width * frame->height);
  for (gsize i = 0; i < (gsize) frame->width * frame->height; i++)
    frame->alpha[i] = NAN;
  frame->image_view = (CpspImageView) {
    .width = frame->width,.height = frame->height,.n_components = 3
  };
  for (guint c = 0; c < 3; c++) {
    frame->image_view.component[c] = (CpspComponent) {
      frame->image + c, 3 * (gssize) frame->width, 3, FALSE, 0, 8
    };
    frame->image_view.matrix[c][c] = 1 / 255.0f;
  }
  frame->mask_view = (CpspMaskView) {
    .width = frame->width,.height = frame->height,
    .component = {frame->mask, frame->width, 1, FALSE, 0, 8},
    .scale = 1 / 255.0f
  };
  frame->alpha_view = (CpspAlphaView) {
    frame->width, frame->height, CPSP_ALPHA_F32, (guint8 *) frame->alpha,
    frame->width * sizeof (float)
  };
}

// A grey gradient with a lighter ellipse; the mask is the ellipse a little
// off its place.
static inline Frame
frame_new (guint width, guint height)
{
  Frame frame = {.width = width,.height = height };
  double rx = width * 0.3 + 0.3, ry = height * 0.3 + 0.3;

  frame.image = g_new (guint8, 3 * (gsize) width * height);
  frame.mask = g_new (guint8, (gsize) width * height);
  for (guint y = 0; y < height; y++)
    for (guint x = 0; x < width; x++) {
      gsize i = (gsize) y * width + x;
      double u = (x + 0.5 - width / 2.0) / rx;
      double v = (y + 0.5 - height / 2.0) / ry;
      gboolean inside = u * u + v * v < 1;

      for (guint c = 0; c < 3; c++)
        frame.image[3 * i + c] = inside ? 200 + 10 * c : 40 + x * 60 / width;
      u += 0.1;
      frame.mask[i] = u * u + v * v < 1 ? 255 : 0;
    }
  frame_describe (&frame);
  return frame;
}

static inline void
frame_clear (Frame * frame)
{
  g_free (frame->image);
  g_free (frame->mask);
  g_free (frame->alpha);
}

static inline void
frame_assert_probabilities (const Frame * frame)
{
  for (gsize i = 0; i < (gsize) frame->width * frame->height; i++)
    g_assert_true (frame->alpha[i] >= 0 && frame->alpha[i] <= 1);
}
