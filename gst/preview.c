/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "preview.h"

#include "frameview.h"
#include "refine/clones.h"

// An outline is one pixel per this many rows of the frame thick, but at least
// two, and in even places: then chroma of half the size follows it.
#define ROWS_PER_PIXEL 540
#define LEAST_THICKNESS 2

/* Tiles */

static void
fill_component (GstVideoFrame * dst, guint c, const CpspRect * area,
    guint sample)
{
  const GstVideoFormatInfo *format = dst->info.finfo;
  guint x = (guint) area->x >> format->w_sub[c];
  guint y = (guint) area->y >> format->h_sub[c];
  guint end_x = GST_VIDEO_SUB_SCALE (format->w_sub[c], area->x + area->width);
  guint end_y = GST_VIDEO_SUB_SCALE (format->h_sub[c], area->y + area->height);
  CpspComponent component;

  gst_cascade_psp_component_init (&component, dst, c);
  for (; y < end_y; y++) {
    guint8 *row = (guint8 *) component.data
        + (gssize) y * component.stride_bytes;

    for (guint i = x; i < end_x; i++) {
      guint8 *at = row + (gsize) i * component.step_bytes;

      if (component.wide)
        *(guint16 *) at = sample;
      else
        *at = sample;
    }
  }
}

// What a pixel becomes.
typedef struct
{
  guint n_components;
  guint sample[4];
} Paint;

static void
paint_init (Paint * paint, const GstVideoInfo * info, GstCascadePspColor color,
    double grey)
{
  if (gst_cascade_psp_output_is_alpha (info)) {
    paint->n_components = 1;
    paint->sample[0] = (guint) (grey * ((1 << info->finfo->depth[0]) - 1));
    return;
  }
  paint->n_components = 4;
  gst_cascade_psp_output_get_color (info, color, paint->sample);
  paint->sample[GST_VIDEO_COMP_A] =
      (1 << info->finfo->depth[GST_VIDEO_COMP_A]) - 1;
}

// From X, Y up to END_X, END_Y, as far as it is in the frame.
static void
fill (GstVideoFrame * dst, const Paint * paint, gint x, gint y, gint end_x,
    gint end_y)
{
  CpspRect area = {.x = MAX (x, 0),.y = MAX (y, 0) };

  end_x = MIN (end_x, GST_VIDEO_FRAME_WIDTH (dst));
  end_y = MIN (end_y, GST_VIDEO_FRAME_HEIGHT (dst));
  if (end_x <= area.x || end_y <= area.y)
    return;
  area.width = end_x - area.x;
  area.height = end_y - area.y;
  for (guint c = 0; c < paint->n_components; c++)
    fill_component (dst, c, &area, paint->sample[c]);
}

static void
outline (GstVideoFrame * dst, const Paint * paint, const CpspRect * area)
{
  gint thickness = MAX (GST_VIDEO_FRAME_HEIGHT (dst) / ROWS_PER_PIXEL / 2 * 2,
      LEAST_THICKNESS);
  gint x = area->x / 2 * 2, y = area->y / 2 * 2;
  gint end_x = GST_ROUND_UP_2 (area->x + (gint) area->width);
  gint end_y = GST_ROUND_UP_2 (area->y + (gint) area->height);

  fill (dst, paint, x, y, end_x, y + thickness);
  fill (dst, paint, x, end_y - thickness, end_x, end_y);
  fill (dst, paint, x, y, x + thickness, end_y);
  fill (dst, paint, end_x - thickness, y, end_x, end_y);
}

void
gst_cascade_psp_preview_draw_tiles (GstVideoFrame * dst,
    const CpspCropReport * crops, guint n)
{
  Paint run, skipped;

  // Seen on black and on white.
  paint_init (&run, &dst->info, GST_CASCADE_PSP_GREEN, 0.75);
  paint_init (&skipped, &dst->info, GST_CASCADE_PSP_RED, 0.375);

  for (guint i = 0; i < n; i++)
    if (!crops[i].run)
      outline (dst, &skipped, &crops[i].area);
  for (guint i = 0; i < n; i++)
    if (crops[i].run)
      outline (dst, &run, &crops[i].area);
}

/* Uncertainty */

// How sure the engine is, |2 a - 1|; FLIP 255: how unsure
CPSP_CLONES static void
sure_bytes (guint8 * restrict to, const guint8 * from, guint flip, guint n)
{
  for (guint i = 0; i < n; i++)
    to[i] = ABS (2 * from[i] - 255) ^ flip;
}

// FLIP 65535: how unsure
CPSP_CLONES static void
sure_words (guint16 * restrict to, const guint16 * from, guint flip, guint n)
{
  for (guint i = 0; i < n; i++)
    to[i] = ABS (2 * from[i] - 65535) ^ flip;
}

static void
make_plane (const CpspAlphaView * dst, const CpspAlphaView * alpha,
    gboolean unsure)
{
  for (guint y = 0; y < alpha->height; y++) {
    guint8 *to = dst->data + (gssize) y * dst->stride_bytes;
    const guint8 *from = alpha->data + (gssize) y * alpha->stride_bytes;

    if (alpha->format == CPSP_ALPHA_U8)
      sure_bytes (to, from, unsure ? 255 : 0, alpha->width);
    else
      sure_words ((guint16 *) to, (const guint16 *) from, unsure ? 65535 : 0,
          alpha->width);
  }
}

void
gst_cascade_psp_preview_finish_uncertainty (GstCascadePspOutput * output,
    GstVideoFrame * video, GstVideoFrame * dst)
{
  gboolean alone = gst_cascade_psp_output_is_alpha (&dst->info);
  Paint black;

  make_plane (&output->scratch, &output->alpha, alone);
  if (alone) {
    gst_cascade_psp_output_write_alpha (dst, &output->scratch);
    return;
  }

  gst_cascade_psp_output_fill (output, video, dst);
  paint_init (&black, &dst->info, GST_CASCADE_PSP_BLACK, 0);
  fill_component (dst, GST_VIDEO_COMP_A,
      &(CpspRect) {0, 0, output->alpha.width, output->alpha.height},
      black.sample[GST_VIDEO_COMP_A]);
  gst_cascade_psp_output_mix (dst, GST_CASCADE_PSP_MAGENTA, &output->scratch);
}
