/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The previews in every format of the output.
 */
#include <math.h>

#include "picture.h"

#include "gst/preview.h"

// What a red, green, blue of 0 or 1 is in INFO's samples, as unpacked: words
// with the sample's bits on top.
static void
get_color (const GstVideoInfo * info, const guint rgb[3], double want[4])
{
  double kr, kb, y;
  guint depth = info->finfo->depth[0];

  want[0] = ((1 << info->finfo->depth[3]) - 1) << (16 - info->finfo->depth[3]);
  if (GST_VIDEO_INFO_IS_RGB (info)) {
    for (guint c = 0; c < 3; c++)
      want[c + 1] = rgb[c] * (((1 << depth) - 1) << (16 - depth));
    return;
  }
  fail_unless (gst_video_color_matrix_get_Kr_Kb (info->colorimetry.matrix, &kr,
          &kb));
  fail_unless_equals_int (info->colorimetry.range,
      GST_VIDEO_COLOR_RANGE_16_235);
  y = kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2];
  want[1] = (16 + 219 * y) * 256;
  want[2] = (128 + 224 * (rgb[2] - y) / (2 * (1 - kb))) * 256;
  want[3] = (128 + 224 * (rgb[0] - y) / (2 * (1 - kr))) * 256;
}

typedef enum
{
  NOTHING, RUN, SKIPPED
} Mark;

static gboolean
is_on (const CpspRect * area, gint x, gint y)
{
  gint left = area->x & ~1, top = area->y & ~1;
  gint right = (area->x + (gint) area->width + 1) & ~1;
  gint bottom = (area->y + (gint) area->height + 1) & ~1;

  return x >= left && x < right && y >= top && y < bottom
      && (x < left + 2 || x >= right - 2 || y < top + 2 || y >= bottom - 2);
}

static Mark
get_mark (const CpspCropReport * crops, guint n, gint x, gint y)
{
  Mark mark = NOTHING;

  for (guint i = 0; i < n; i++) {
    if (is_on (&crops[i].area, x, y) && mark != RUN)
      mark = crops[i].run ? RUN : SKIPPED;
  }
  return mark;
}

static void
check_pixel (const GstVideoInfo * info, Mark mark, const guint16 * before,
    const guint16 * after)
{
  static const guint green[3] = { 0, 1, 0 }, red[3] = { 1, 0, 0 };
  guint depth = info->finfo->depth[0];
  double want[4];

  if (mark == NOTHING) {
    EXPECT (memcmp (before, after, 8) == 0, "%s: changed", subject);
    return;
  }
  if (GST_VIDEO_INFO_IS_GRAY (info)) {
    guint level = (guint) ((mark == RUN ? 0.75 : 0.375) * ((1 << depth) - 1));

    EXPECT ((guint) after[1] >> (16 - depth) == level, "%s: not %u", subject,
        level);
    return;
  }
  get_color (info, mark == RUN ? green : red, want);
  EXPECT (after[0] == want[0], "%s: not opaque", subject);
  // Half a step of the samples
  for (guint c = 1; c < 4; c++)
    EXPECT (ABS (after[c] - want[c]) <= 0.51 * (1 << (16 - depth)),
        "%s: component %u is %u instead of %f", subject, c, after[c], want[c]);
}

GST_START_TEST (tiles)
{
  static const CpspCropReport crops[] = {
    {{4, 6, 20, 14}, TRUE},
    {{21, 3, 30, 16}, FALSE},   // over the first, and at odd places
    {{30, 20, 13, 11}, TRUE},   // to the corner
  };
  g_autoptr (GRand) r = g_rand_new_with_seed (8);

  for (guint f = 0; f < G_N_ELEMENTS (formats); f++) {
    for (guint premultiplied = 0; premultiplied < 2; premultiplied++) {
      GstVideoInfo info = make_info (formats[f], 43, 31);
      GstCascadePspOutput output;
      Picture video, dst, before;

      set_subject ("%s", GST_VIDEO_INFO_NAME (&info));
      gst_cascade_psp_output_init (&output);
      fail_unless (gst_cascade_psp_output_set_info (&output, &info, &info,
              premultiplied, 1));
      picture_init (&video, &info);
      picture_init (&dst, &info);
      picture_init (&before, &info);
      fill_rows (&video, r, -1);
      fill_alpha (&output.alpha, r);
      gst_cascade_psp_output_finish (&output, NULL, &video.frame,
          &before.frame);
      gst_cascade_psp_output_finish (&output, NULL, &video.frame, &dst.frame);

      gst_cascade_psp_preview_draw_tiles (&dst.frame, crops,
          G_N_ELEMENTS (crops));

      for (guint y = 0; y < 31; y++) {
        guint16 row[4 * MAX_WIDTH], row_before[4 * MAX_WIDTH];

        unpack_row (&dst.frame, y, row);
        unpack_row (&before.frame, y, row_before);
        for (guint x = 0; x < 43; x++)
          check_pixel (&info, get_mark (crops, G_N_ELEMENTS (crops), x, y),
              row_before + 4 * x, row + 4 * x);
      }
      check_rim (&dst);
      picture_clear (&video);
      picture_clear (&dst);
      picture_clear (&before);
      gst_cascade_psp_output_clear (&output);
    }
  }
}

GST_END_TEST;

// On large frames lines are thicker.
GST_START_TEST (thickness)
{
  static const guint heights[][2] = { {720, 2}, {1620, 2}, {2160, 4} };
  static const CpspCropReport crop = { {8, 100, 48, 600}, TRUE };

  for (guint i = 0; i < G_N_ELEMENTS (heights); i++) {
    GstVideoInfo info = make_info (GST_VIDEO_FORMAT_GRAY8, 64, heights[i][0]);
    guint last = 8 + heights[i][1] - 1;
    Picture dst;
    guint8 *row;

    picture_init (&dst, &info);
    fill_rows (&dst, NULL, 0);
    gst_cascade_psp_preview_draw_tiles (&dst.frame, &crop, 1);
    row = (guint8 *) GST_VIDEO_FRAME_PLANE_DATA (&dst.frame, 0)
        + 300 * GST_VIDEO_FRAME_PLANE_STRIDE (&dst.frame, 0);
    fail_unless (row[7] == 0 && row[8] != 0);
    fail_unless (row[last] != 0 && row[last + 1] == 0);
    picture_clear (&dst);
  }
}

GST_END_TEST;

// COLOR's share is the doubt, and the picture is opaque.
static void
check_doubt (const GstVideoFrame * dst, const GstVideoFrame * video,
    const CpspAlphaView * alpha)
{
  static const guint magenta[3] = { 1, 0, 1 };
  const GstVideoFormatInfo *format = dst->info.finfo;
  guint depth = format->depth[0];
  double color[4];

  if (!GST_VIDEO_INFO_IS_GRAY (&dst->info))
    get_color (&dst->info, magenta, color);
  for (guint y = 0; y < alpha->height; y++) {
    guint16 row[4 * MAX_WIDTH], video_row[4 * MAX_WIDTH];

    unpack_row (dst, y, row);
    unpack_row (video, y, video_row);
    for (guint x = 0; x < alpha->width; x++) {
      double a = (double) get_alpha (alpha, x, y) / get_max (alpha);
      double doubt = 1 - fabs (2 * a - 1);

      if (GST_VIDEO_INFO_IS_GRAY (&dst->info)) {
        EXPECT ((guint) row[4 * x + 1] >> (16 - depth) ==
            (guint) (doubt * ((1 << depth) - 1) + 0.5), "%s: doubt at %u,%u",
            subject, x, y);
        continue;
      }
      EXPECT (row[4 * x] == color[0], "%s: not opaque", subject);
      for (guint c = 1; c < 4; c++) {
        double want = video_row[4 * x + c]
            + doubt * (color[c] - video_row[4 * x + c]);

        // The colour is rounded, and the mixture.
        if (!format->w_sub[c - 1])
          EXPECT (ABS (row[4 * x + c] - want) <=
              1.01 * (1 << (16 - depth)), "%s: component %u at %u,%u", subject,
              c, x, y);
      }
    }
  }
}

GST_START_TEST (uncertainty)
{
  g_autoptr (GRand) r = g_rand_new_with_seed (9);

  for (guint f = 0; f < G_N_ELEMENTS (formats); f++) {
    GstVideoInfo info = make_info (formats[f], 33, 18);
    GstCascadePspOutput output;
    Picture video, dst;
    g_autofree guint8 *kept = NULL;
    gsize bytes;

    set_subject ("%s", GST_VIDEO_INFO_NAME (&info));
    gst_cascade_psp_output_init (&output);
    fail_unless (gst_cascade_psp_output_set_info (&output, &info, &info, TRUE,
            1));
    picture_init (&video, &info);
    picture_init (&dst, &info);
    // Random bytes would not be samples of 10 or 12 bits.
    fill_rows (&video, NULL, 1);
    fill_alpha (&output.alpha, r);
    bytes = output.alpha.stride_bytes * output.alpha.height;
    kept = g_memdup2 (output.alpha.data, bytes);

    gst_cascade_psp_preview_finish_uncertainty (&output, &video.frame,
        &dst.frame);

    check_doubt (&dst.frame, &video.frame, &output.alpha);
    fail_unless (memcmp (kept, output.alpha.data, bytes) == 0);
    check_rim (&dst);
    picture_clear (&video);
    picture_clear (&dst);
    gst_cascade_psp_output_clear (&output);
  }
}

GST_END_TEST;

static Suite *
preview_suite (void)
{
  Suite *suite = suite_create ("preview");
  TCase *tcase = tcase_create ("general");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, tiles);
  tcase_add_test (tcase, thickness);
  tcase_add_test (tcase, uncertainty);
  return suite;
}

GST_CHECK_MAIN (preview);
