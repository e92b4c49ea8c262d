/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every video format into every format of the output, seen through
 * GStreamer's own unpacking, which knows nothing of how the output writes.
 */
#include <math.h>

#include "picture.h"

/* All pairs */

static void
check_pair (const GstVideoInfo * video_info, const GstVideoInfo * info,
    GRand * r)
{
  GstCascadePspOutput output, other;
  Picture video, dst, want;
  GstBuffer *before;

  gst_cascade_psp_output_init (&output);
  gst_cascade_psp_output_init (&other);
  fail_unless (gst_cascade_psp_output_set_info (&output, video_info, info,
          FALSE, 1));
  picture_init (&video, video_info);
  picture_init (&dst, &output.info);
  picture_init (&want, info);
  fill_rows (&video, r, -1);
  before = picture_copy (&video);
  fill_alpha (&output.alpha, r);

  gst_cascade_psp_output_finish (&output, NULL, &video.frame, &dst.frame);

  check_alpha (&dst.frame, &output.alpha);
  if (!GST_VIDEO_INFO_IS_GRAY (info)) {
    if (output.converter) {
      // A converter keeps rows, which low frames find again in the next one.
      fail_unless (gst_cascade_psp_output_set_info (&other, video_info, info,
              FALSE, 1));
      gst_video_converter_frame (other.converter, &video.frame, &want.frame);
      check_colors (&dst.frame, &want.frame);
    } else {
      check_colors (&dst.frame, &video.frame);
    }
  }
  check_same (&video, before, "the video");
  check_rim (&dst);

  gst_buffer_unref (before);
  picture_clear (&video);
  picture_clear (&dst);
  picture_clear (&want);
  gst_cascade_psp_output_clear (&output);
  gst_cascade_psp_output_clear (&other);
}

// The formats that GStreamer can convert from.
static gboolean
can_read (GstVideoFormat format)
{
  const GstVideoFormatInfo *info = gst_video_format_get_info (format);

  return info->unpack_func && format != GST_VIDEO_FORMAT_ENCODED;
}

static GstVideoFormat *
get_video_formats (guint * n)
{
  GstCaps *caps = gst_caps_from_string ("video/x-raw, format = (string) "
      GST_VIDEO_FORMATS_ALL);
  const GValue *list =
      gst_structure_get_value (gst_caps_get_structure (caps, 0), "format");
  GstVideoFormat *all = g_new (GstVideoFormat, gst_value_list_get_size (list));

  *n = 0;
  for (guint i = 0; i < gst_value_list_get_size (list); i++) {
    GstVideoFormat format = gst_video_format_from_string (g_value_get_string
        (gst_value_list_get_value (list, i)));

    if (can_read (format))
      all[(*n)++] = format;
  }
  gst_caps_unref (caps);
  return all;
}

// Of these GStreamer (1.26) leaves the columns beyond the last whole tile, of
// 16, as they were in its own memory.
static gboolean
unpacks_whole_tiles (GstVideoFormat format)
{
  return g_str_has_prefix (gst_video_format_to_string (format), "MT2110");
}

GST_START_TEST (all_pairs)
{
  static const guint sizes[][2] = { {33, 17}, {1, 2}, {66, 5} };
  guint n_video;
  g_autofree GstVideoFormat *video_formats = get_video_formats (&n_video);
  g_autoptr (GRand) r = g_rand_new_with_seed (3);

  fail_unless (n_video > 60);
  for (guint v = 0; v < n_video; v++) {
    for (guint f = 0; f < G_N_ELEMENTS (formats); f++) {
      const guint *size = sizes[(v + f) % G_N_ELEMENTS (sizes)];
      guint width = unpacks_whole_tiles (video_formats[v]) ?
          GST_ROUND_UP_16 (size[0]) : size[0];
      GstVideoInfo video_info = make_info (video_formats[v], width, size[1]);
      GstVideoInfo info = make_info (formats[f], width, size[1]);

      set_subject ("%s to %s, %ux%u", GST_VIDEO_INFO_NAME (&video_info),
          GST_VIDEO_INFO_NAME (&info), width, size[1]);
      check_pair (&video_info, &info, r);
    }
  }
}

GST_END_TEST;

// What must be copied, not converted; and some that must not.
GST_START_TEST (copied)
{
  static const struct
  {
    GstVideoFormat video, output;
    gboolean copied;
  } pairs[] = {
    {GST_VIDEO_FORMAT_I420, GST_VIDEO_FORMAT_A420, TRUE},
    {GST_VIDEO_FORMAT_YV12, GST_VIDEO_FORMAT_A420, TRUE},
    {GST_VIDEO_FORMAT_NV12, GST_VIDEO_FORMAT_A420, TRUE},
    {GST_VIDEO_FORMAT_NV12, GST_VIDEO_FORMAT_AV12, TRUE},
    {GST_VIDEO_FORMAT_NV21, GST_VIDEO_FORMAT_AV12, TRUE},
    {GST_VIDEO_FORMAT_A420, GST_VIDEO_FORMAT_A420, TRUE},
    {GST_VIDEO_FORMAT_Y444, GST_VIDEO_FORMAT_AYUV, TRUE},
    {GST_VIDEO_FORMAT_AYUV, GST_VIDEO_FORMAT_VUYA, TRUE},
    {GST_VIDEO_FORMAT_v308, GST_VIDEO_FORMAT_AYUV, TRUE},
    {GST_VIDEO_FORMAT_RGB, GST_VIDEO_FORMAT_RGBA, TRUE},
    {GST_VIDEO_FORMAT_BGRx, GST_VIDEO_FORMAT_BGRA, TRUE},
    {GST_VIDEO_FORMAT_BGRx, GST_VIDEO_FORMAT_RGBA, TRUE},
    {GST_VIDEO_FORMAT_xRGB, GST_VIDEO_FORMAT_ABGR, TRUE},
    {GST_VIDEO_FORMAT_RGBA, GST_VIDEO_FORMAT_RGBA, TRUE},
    {GST_VIDEO_FORMAT_GBR, GST_VIDEO_FORMAT_GBRA, TRUE},
    {GST_VIDEO_FORMAT_I420_10LE, GST_VIDEO_FORMAT_A420_10LE, TRUE},
    {GST_VIDEO_FORMAT_P010_10LE, GST_VIDEO_FORMAT_A420_10LE, TRUE},
    {GST_VIDEO_FORMAT_I422_10LE, GST_VIDEO_FORMAT_A422_10LE, TRUE},
    {GST_VIDEO_FORMAT_Y444_10LE, GST_VIDEO_FORMAT_A444_10LE, TRUE},
    {GST_VIDEO_FORMAT_Y444_16LE, GST_VIDEO_FORMAT_AYUV64, TRUE},
    {GST_VIDEO_FORMAT_GBR_10LE, GST_VIDEO_FORMAT_GBRA_10LE, TRUE},
    {GST_VIDEO_FORMAT_GBR_12LE, GST_VIDEO_FORMAT_GBRA_12LE, TRUE},
    {GST_VIDEO_FORMAT_ARGB64, GST_VIDEO_FORMAT_RGBA64_LE, TRUE},
#if GST_CHECK_VERSION (1, 24, 0)
    {GST_VIDEO_FORMAT_Y42B, GST_VIDEO_FORMAT_A422, TRUE},
    {GST_VIDEO_FORMAT_UYVY, GST_VIDEO_FORMAT_A422, TRUE},
    {GST_VIDEO_FORMAT_Y444_12LE, GST_VIDEO_FORMAT_A444_12LE, TRUE},
    {GST_VIDEO_FORMAT_P016_LE, GST_VIDEO_FORMAT_A420_16LE, TRUE},
#endif
    {GST_VIDEO_FORMAT_I420, GST_VIDEO_FORMAT_A420_10LE, FALSE},
    {GST_VIDEO_FORMAT_I420, GST_VIDEO_FORMAT_AYUV, FALSE},
    {GST_VIDEO_FORMAT_Y444, GST_VIDEO_FORMAT_GBRA, FALSE},
    {GST_VIDEO_FORMAT_GRAY8, GST_VIDEO_FORMAT_A420, FALSE},
    {GST_VIDEO_FORMAT_RGB16, GST_VIDEO_FORMAT_RGBA, FALSE},
    {GST_VIDEO_FORMAT_ARGB64_BE, GST_VIDEO_FORMAT_ARGB64_LE, FALSE},
  };

  for (guint i = 0; i < G_N_ELEMENTS (pairs); i++) {
    GstVideoInfo video_info = make_info (pairs[i].video, 34, 18);
    GstVideoInfo info = make_info (pairs[i].output, 34, 18);
    GstCascadePspOutput output;

    gst_cascade_psp_output_init (&output);
    fail_unless (gst_cascade_psp_output_set_info (&output, &video_info, &info,
            FALSE, 1));
    fail_unless_equals_int (output.converter == NULL, pairs[i].copied);
    gst_cascade_psp_output_clear (&output);
  }
}

GST_END_TEST;

// Not copied, but the converter must not touch a sample either.
GST_START_TEST (converted_exactly)
{
  static const GstVideoFormat pairs[][2] = {
    {GST_VIDEO_FORMAT_v210, GST_VIDEO_FORMAT_A422_10LE},
    {GST_VIDEO_FORMAT_UYVP, GST_VIDEO_FORMAT_A422_10LE},
    {GST_VIDEO_FORMAT_I422_10BE, GST_VIDEO_FORMAT_A422_10LE},
    {GST_VIDEO_FORMAT_NV12_10LE32, GST_VIDEO_FORMAT_A420_10LE},
    {GST_VIDEO_FORMAT_I420_10BE, GST_VIDEO_FORMAT_A420_10LE},
    {GST_VIDEO_FORMAT_Y410, GST_VIDEO_FORMAT_A444_10LE},
    {GST_VIDEO_FORMAT_r210, GST_VIDEO_FORMAT_GBRA_10LE},
    {GST_VIDEO_FORMAT_ARGB64_BE, GST_VIDEO_FORMAT_ARGB64_LE},
    {GST_VIDEO_FORMAT_NV12_64Z32, GST_VIDEO_FORMAT_A420},
    // to more bits: back in the old ones it is the same
    {GST_VIDEO_FORMAT_I420, GST_VIDEO_FORMAT_A420_10LE},
    {GST_VIDEO_FORMAT_GBR, GST_VIDEO_FORMAT_ARGB64},
  };
  g_autoptr (GRand) r = g_rand_new_with_seed (4);

  for (guint i = 0; i < G_N_ELEMENTS (pairs); i++) {
    GstVideoInfo video_info = make_info (pairs[i][0], 72, 21);
    GstVideoInfo info = make_info (pairs[i][1], 72, 21);
    GstCascadePspOutput output;
    Picture video, dst;

    set_subject ("%s to %s", GST_VIDEO_INFO_NAME (&video_info),
        GST_VIDEO_INFO_NAME (&info));
    gst_cascade_psp_output_init (&output);
    fail_unless (gst_cascade_psp_output_set_info (&output, &video_info, &info,
            FALSE, 1));
    fail_unless (output.converter != NULL);
    picture_init (&video, &video_info);
    picture_init (&dst, &info);
    fill_rows (&video, r, -1);
    gst_cascade_psp_output_finish (&output, NULL, &video.frame, &dst.frame);
    check_colors (&dst.frame, &video.frame);
    picture_clear (&video);
    picture_clear (&dst);
    gst_cascade_psp_output_clear (&output);
  }
}

GST_END_TEST;

// All values in all depths, to the nearest.
GST_START_TEST (alpha_depths)
{
  for (guint f = 0; f < G_N_ELEMENTS (formats); f++) {
    GstVideoInfo info = make_info (formats[f], 128, 512);
    GstCascadePspOutput output;
    Picture dst;

    set_subject ("%s", GST_VIDEO_INFO_NAME (&info));
    gst_cascade_psp_output_init (&output);
    fail_unless (gst_cascade_psp_output_set_info (&output, &info, &info, FALSE,
            1));
    picture_init (&dst, &info);
    for (guint i = 0; i < 65536; i++)
      set_alpha (&output.alpha, i % 128, i / 128, i);
    gst_cascade_psp_output_write_alpha (&dst.frame, &output.alpha);
    check_alpha (&dst.frame, &output.alpha);
    picture_clear (&dst);
    gst_cascade_psp_output_clear (&output);
  }
}

GST_END_TEST;

// GStreamer 1.22 crashes here unless it is kept from its short cut.
GST_START_TEST (uyvy_of_odd_width)
{
  g_autoptr (GRand) r = g_rand_new_with_seed (10);

  for (guint width = 7; width < MAX_WIDTH; width += 11) {
    GstVideoInfo video_info = make_info (GST_VIDEO_FORMAT_UYVY, width, 9);
    GstVideoInfo info = make_info (GST_VIDEO_FORMAT_AYUV, width, 9);
    GstCascadePspOutput output;
    Picture video, dst;

    gst_cascade_psp_output_init (&output);
    fail_unless (gst_cascade_psp_output_set_info (&output, &video_info, &info,
            FALSE, 1));
    picture_init (&video, &video_info);
    picture_init (&dst, &info);
    fill_rows (&video, r, -1);
    gst_cascade_psp_output_finish (&output, NULL, &video.frame, &dst.frame);
    for (guint y = 0; y < 9; y++)
      for (guint x = 0; x < width; x++)
        EXPECT (get_sample (&dst.frame, 0, x, y) ==
            get_sample (&video.frame, 0, x, y), "luma at %u,%u", x, y);
    check_rim (&dst);
    picture_clear (&video);
    picture_clear (&dst);
    gst_cascade_psp_output_clear (&output);
  }
}

GST_END_TEST;

/* Premultiplied */

static double
get_clamped (const CpspAlphaView * alpha, gint x, gint y)
{
  x = CLAMP (x, 0, (gint) alpha->width - 1);
  y = CLAMP (y, 0, (gint) alpha->height - 1);
  return (double) get_alpha (alpha, x, y) / get_max (alpha);
}

// The mean of alpha where sample X, Y of component C lies: over the pixels on
// either side of a place between two, and over one pixel's two halves and a
// half of each neighbour where it is on a pixel.
static double
get_mean_alpha (const GstVideoFrame * frame, const CpspAlphaView * alpha,
    guint c, guint x, guint y)
{
  const GstVideoFormatInfo *format = frame->info.finfo;
  guint site = GST_VIDEO_INFO_CHROMA_SITE (&frame->info);
  guint step_x = 1 << format->w_sub[c], step_y = 1 << format->h_sub[c];
  double u = x * step_x, v = y * step_y, sum = 0;

  if (step_x == 2 && !(site & GST_VIDEO_CHROMA_SITE_H_COSITED))
    u += 0.5;
  if (step_y == 2 && !(site & GST_VIDEO_CHROMA_SITE_V_COSITED))
    v += 0.5;
  // the box of the sample's size, in quarters of a pixel
  for (guint j = 0; j < 4 * step_y; j++)
    for (guint i = 0; i < 4 * step_x; i++)
      sum += get_clamped (alpha,
          (gint) floor (u + 0.5 - step_x / 2. + (i + 0.5) / 4),
          (gint) floor (v + 0.5 - step_y / 2. + (j + 0.5) / 4));
  return sum / (16 * step_x * step_y);
}

static void
check_premultiplied (const GstVideoInfo * info, GRand * r)
{
  const GstVideoFormatInfo *format = info->finfo;
  GstVideoFormat video_format = GST_VIDEO_INFO_FORMAT (info);
  gint offset[GST_VIDEO_MAX_COMPONENTS], scale[GST_VIDEO_MAX_COMPONENTS];
  GstCascadePspOutput output;
  GstVideoInfo video_info = make_info (video_format,
      GST_VIDEO_INFO_WIDTH (info), GST_VIDEO_INFO_HEIGHT (info));
  Picture video, dst;

  gst_cascade_psp_output_init (&output);
  fail_unless (gst_cascade_psp_output_set_info (&output, &video_info, info,
          TRUE, 1));
  fail_unless (GST_VIDEO_INFO_FLAG_IS_SET (&output.info,
          GST_VIDEO_FLAG_PREMULTIPLIED_ALPHA));
  picture_init (&video, &video_info);
  picture_init (&dst, &output.info);
  fill_rows (&video, r, -1);
  // Samples of 10 and 12 bits must be such.
  for (guint c = 0; c < 3; c++) {
    for (gint y = 0; format->depth[c] % 8
        && y < GST_VIDEO_FRAME_COMP_HEIGHT (&video.frame, c); y++) {
      guint16 *row = (guint16 *) ((guint8 *) GST_VIDEO_FRAME_COMP_DATA
          (&video.frame, c) + y * GST_VIDEO_FRAME_COMP_STRIDE (&video.frame,
              c));

      for (gint x = 0; x < GST_VIDEO_FRAME_COMP_WIDTH (&video.frame, c); x++)
        row[x] &= (1 << format->depth[c]) - 1;
    }
  }
  fill_alpha (&output.alpha, r);

  gst_cascade_psp_output_finish (&output, NULL, &video.frame, &dst.frame);

  check_alpha (&dst.frame, &output.alpha);
  gst_video_color_range_offsets (info->colorimetry.range, format, offset,
      scale);
  for (guint c = 0; c < 3; c++) {
    for (gint y = 0; y < GST_VIDEO_FRAME_COMP_HEIGHT (&dst.frame, c); y++) {
      for (gint x = 0; x < GST_VIDEO_FRAME_COMP_WIDTH (&dst.frame, c); x++) {
        guint straight = get_sample (&video.frame, c, x, y);
        guint got = get_sample (&dst.frame, c, x, y);
        double mean = get_mean_alpha (&dst.frame, &output.alpha, c, x, y);
        double want = offset[c] + mean * ((double) straight - offset[c]);

        EXPECT (ABS (got - want) <= 0.51,
            "%s: sample %d,%d of component %u: %u instead of %f", subject, x,
            y, c, got, want);
      }
    }
  }
  check_rim (&dst);
  picture_clear (&video);
  picture_clear (&dst);
  gst_cascade_psp_output_clear (&output);
}

GST_START_TEST (premultiplied)
{
  static const char *const colorimetries[] = { NULL, "bt709", "1:4:5:1" };
  static const GstVideoChromaSite sites[] = {
    GST_VIDEO_CHROMA_SITE_MPEG2, GST_VIDEO_CHROMA_SITE_JPEG,
    GST_VIDEO_CHROMA_SITE_COSITED,
  };
  g_autoptr (GRand) r = g_rand_new_with_seed (5);

  for (guint f = 0; f < G_N_ELEMENTS (formats); f++) {
    for (guint i = 0; i < 3; i++) {
      GstVideoInfo info = make_info (formats[f], 35 - i, 12 + i);

      if (GST_VIDEO_INFO_IS_GRAY (&info))
        continue;
      if (GST_VIDEO_INFO_IS_YUV (&info)) {
        if (colorimetries[i])
          fail_unless (gst_video_colorimetry_from_string (&info.colorimetry,
                  colorimetries[i]));
        info.chroma_site = sites[i];
      }
      set_subject ("%s, %u", GST_VIDEO_INFO_NAME (&info), i);
      check_premultiplied (&info, r);
    }
  }
}

GST_END_TEST;

// Wider than what is mixed at a time.
GST_START_TEST (premultiplied_wide)
{
  g_autoptr (GRand) r = g_rand_new_with_seed (6);
  static const guint widths[] = { 1023, 1024, 1025, 1026, 2049 };

  for (guint i = 0; i < G_N_ELEMENTS (widths); i++) {
    GstVideoInfo wide = make_info (GST_VIDEO_FORMAT_A420, widths[i], 3);
    GstCascadePspOutput output;
    Picture video, dst;

    gst_cascade_psp_output_init (&output);
    fail_unless (gst_cascade_psp_output_set_info (&output, &wide, &wide, TRUE,
            1));
    picture_init (&video, &wide);
    picture_init (&dst, &output.info);
    fill_rows (&video, r, -1);
    fill_alpha (&output.alpha, r);
    gst_cascade_psp_output_finish (&output, NULL, &video.frame, &dst.frame);
    for (guint c = 0; c < 3; c++)
      for (gint y = 0; y < GST_VIDEO_FRAME_COMP_HEIGHT (&dst.frame, c); y++)
        for (gint x = 0; x < GST_VIDEO_FRAME_COMP_WIDTH (&dst.frame, c); x++) {
          double black = c ? 128 : 16;
          double want = black + get_mean_alpha (&dst.frame, &output.alpha, c,
              x, y) * (get_sample (&video.frame, c, x, y) - black);

          EXPECT (ABS (get_sample (&dst.frame, c, x, y) - want) <= 0.51,
              "width %u, component %u at %d,%d", widths[i], c, x, y);
        }
    picture_clear (&video);
    picture_clear (&dst);
    gst_cascade_psp_output_clear (&output);
  }
}

GST_END_TEST;

/* Edge controls, repeats */

GST_START_TEST (edge_and_repeat)
{
  g_autoptr (GRand) r = g_rand_new_with_seed (7);

  for (guint f = 0; f < G_N_ELEMENTS (formats); f++) {
    GstVideoInfo info = make_info (formats[f], 40, 23);
    GstVideoInfo video_info = make_info (GST_VIDEO_INFO_IS_GRAY (&info)
        ? GST_VIDEO_FORMAT_I420 : formats[f], 40, 23);
    CpspEdgeSettings settings = CPSP_EDGE_SETTINGS_DEFAULT;
    g_autoptr (CpspEdge) edge = cpsp_edge_new (40, 1);
    GstCascadePspOutput output;
    Picture first, second, dst;
    CpspAlphaView want;
    g_autofree guint8 *kept = NULL;
    gsize bytes;

    set_subject ("%s", GST_VIDEO_INFO_NAME (&info));
    gst_cascade_psp_output_init (&output);
    fail_unless (gst_cascade_psp_output_set_info (&output, &video_info, &info,
            FALSE, 1));
    picture_init (&first, &video_info);
    picture_init (&second, &video_info);
    picture_init (&dst, &info);
    fill_rows (&first, r, -1);
    fill_rows (&second, r, -1);
    fill_alpha (&output.alpha, r);
    bytes = output.alpha.stride_bytes * output.alpha.height;
    want = output.alpha;
    want.data = kept = g_malloc (bytes);
    settings.shift = -1.5;
    settings.invert = TRUE;
    cpsp_edge_apply (edge, &settings, &output.alpha, &want);

    gst_cascade_psp_output_finish (&output, &settings, &first.frame,
        &dst.frame);
    check_alpha (&dst.frame, &want);
    if (!GST_VIDEO_INFO_IS_GRAY (&info))
      check_colors (&dst.frame, &first.frame);

    // The same alpha, another frame, other controls.
    settings = (CpspEdgeSettings) CPSP_EDGE_SETTINGS_DEFAULT;
    gst_cascade_psp_output_finish (&output, &settings, &second.frame,
        &dst.frame);
    check_alpha (&dst.frame, &output.alpha);
    settings.invert = TRUE;
    cpsp_edge_apply (edge, &settings, &output.alpha, &want);
    gst_cascade_psp_output_finish (&output, &settings, &second.frame,
        &dst.frame);
    check_alpha (&dst.frame, &want);
    if (!GST_VIDEO_INFO_IS_GRAY (&info))
      check_colors (&dst.frame, &second.frame);
    check_rim (&dst);

    picture_clear (&first);
    picture_clear (&second);
    picture_clear (&dst);
    gst_cascade_psp_output_clear (&output);
  }
}

GST_END_TEST;

// A new room, and one with other infos, does not show what was there before.
GST_START_TEST (starts_empty)
{
  GstVideoInfo info = make_info (GST_VIDEO_FORMAT_GRAY16_LE, 20, 20);
  GstCascadePspOutput output;

  gst_cascade_psp_output_init (&output);
  for (guint i = 0; i < 2; i++) {
    fail_unless (gst_cascade_psp_output_set_info (&output, &info, &info, TRUE,
            1));
    fail_if (GST_VIDEO_INFO_FLAG_IS_SET (&output.info,
            GST_VIDEO_FLAG_PREMULTIPLIED_ALPHA));
    fail_unless_equals_int (output.alpha.format, CPSP_ALPHA_U16);
    for (guint y = 0; y < 20; y++)
      for (guint x = 0; x < 20; x++) {
        fail_unless_equals_int (get_alpha (&output.alpha, x, y), 0);
        set_alpha (&output.alpha, x, y, 0xffff);
      }
  }
  gst_cascade_psp_output_clear (&output);
  // and once more
  gst_cascade_psp_output_clear (&output);
}

GST_END_TEST;

/* Caps */

static GstCaps *
get_caps (const char *video)
{
  g_autoptr (GstCaps) caps = gst_caps_from_string (video);
  GstVideoInfo info;

  fail_unless (gst_video_info_from_caps (&info, caps));
  return gst_cascade_psp_output_get_caps (&info);
}

static const char *
get_format (const GstCaps * caps, guint i)
{
  return gst_structure_get_string (gst_caps_get_structure (caps, i), "format");
}

// Formats of newer versions that hold 4:2:2 better than 4:4:4 does.
#if GST_CHECK_VERSION (1, 24, 0)
#define DEEPER_422 "A422_12LE", "A422_16LE",
#else
#define DEEPER_422
#endif

GST_START_TEST (caps_order)
{
  static const struct
  {
    const char *video;
    const char *formats[8];     // the first ones
  } cases[] = {
    {"I420", {"GRAY8", "GRAY16_LE", "A420", "AV12", "A420_10LE"}},
    {"NV12", {"GRAY8", "GRAY16_LE", "A420", "AV12", "A420_10LE"}},
    {"I422_10LE", {"GRAY8", "GRAY16_LE", "A422_10LE", DEEPER_422 "A444_10LE",
            "AYUV64"}},
    {"v210", {"GRAY8", "GRAY16_LE", "A422_10LE", DEEPER_422 "A444_10LE",
            "AYUV64"}},
    {"BGRx", {"GRAY8", "GRAY16_LE", "RGBA", "BGRA", "ARGB", "ABGR"}},
    {"GBR_10LE", {"GRAY8", "GRAY16_LE", "GBRA_10LE", "GBRA_12LE", "ARGB64"}},
    {"P010_10LE", {"GRAY8", "GRAY16_LE", "A420_10LE"}},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *video = g_strdup_printf ("video/x-raw, format=%s, "
        "width=64, height=48, framerate=25/1", cases[i].video);
    g_autoptr (GstCaps) caps = get_caps (video);
    g_autoptr (GstCaps) template = gst_caps_from_string
        ("video/x-raw, format = (string) " GST_CASCADE_PSP_OUTPUT_FORMATS);

    fail_unless_equals_int (gst_caps_get_size (caps), G_N_ELEMENTS (formats));
    fail_unless (gst_caps_is_subset (caps, template));
    for (guint f = 0; f < 8 && cases[i].formats[f]; f++)
      fail_unless_equals_string (get_format (caps, f), cases[i].formats[f]);
  }
}

GST_END_TEST;

// The first of CAPS with FORMAT, fixed.
static GstVideoInfo
take_format (GstCaps * caps, const char *format)
{
  g_autoptr (GstCaps) filter = gst_caps_new_simple ("video/x-raw", "format",
      G_TYPE_STRING, format, NULL);
  GstCaps *fixed = gst_caps_fixate (gst_caps_intersect (caps, filter));
  GstVideoInfo info;

  fail_unless (gst_video_info_from_caps (&info, fixed));
  gst_caps_unref (fixed);
  return info;
}

static void
check_colorimetry (GstCaps * caps, const char *format, const char *want)
{
  GstVideoInfo info = take_format (caps, format);
  g_autofree char *got = gst_video_colorimetry_to_string (&info.colorimetry);

  fail_unless_equals_string (got, want);
  fail_unless_equals_int (info.width, 64);
  fail_unless_equals_int (info.height, 48);
  fail_unless_equals_int (info.fps_n, 30000);
  fail_unless_equals_int (info.par_n, 4);
}

GST_START_TEST (caps_fields)
{
  g_autoptr (GstCaps) caps = get_caps ("video/x-raw, format=P010_10LE, "
      "width=64, height=48, framerate=30000/1001, pixel-aspect-ratio=4/3, "
      "colorimetry=bt2100-pq, chroma-site=cosited");
  g_autoptr (GstCaps) other = gst_caps_from_string
      ("video/x-raw, format=GRAY8, colorimetry=bt601");
  GstVideoInfo info;

  check_colorimetry (caps, "A420_10LE", "bt2100-pq");
  check_colorimetry (caps, "AYUV64", "bt2100-pq");
  // full range, no matrix; transfer and primaries of the video
  check_colorimetry (caps, "ARGB64", "1:1:14:7");
  check_colorimetry (caps, "GRAY8", GST_CASCADE_PSP_ALPHA_COLORIMETRY);
  check_colorimetry (caps, "GRAY16_LE", GST_CASCADE_PSP_ALPHA_COLORIMETRY);
  fail_unless (gst_caps_can_intersect (caps, other));

  info = take_format (caps, "A420_10LE");
  fail_unless_equals_int (info.chroma_site, GST_VIDEO_CHROMA_SITE_COSITED);
}

GST_END_TEST;

static Suite *
output_suite (void)
{
  Suite *suite = suite_create ("output");
  TCase *tcase = tcase_create ("general");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, all_pairs);
  tcase_add_test (tcase, copied);
  tcase_add_test (tcase, converted_exactly);
  tcase_add_test (tcase, alpha_depths);
  tcase_add_test (tcase, uyvy_of_odd_width);
  tcase_add_test (tcase, premultiplied);
  tcase_add_test (tcase, premultiplied_wide);
  tcase_add_test (tcase, edge_and_repeat);
  tcase_add_test (tcase, starts_empty);
  tcase_add_test (tcase, caps_order);
  tcase_add_test (tcase, caps_fields);
  return suite;
}

GST_CHECK_MAIN (output);
