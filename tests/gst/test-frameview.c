/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A picture in RGB, converted by GStreamer to every format there is, must
 * look the same through the engine's view of it.
 */
#include <gst/check/gstcheck.h>
#include <gst/video/video.h>

#include "gst/frameview.h"

// Ramps this steep tell chroma that is half a pixel off, by 8/255.
#define WIDTH 16
#define HEIGHT 16

typedef struct
{
  float rgb[3];
} Color;

static Color
make_color (float red, float green, float blue)
{
  Color color = { {red, green, blue} };

  return color;
}

static Color
get_source_color (guint x, guint y, guint width, guint height)
{
  float u = (x + 0.5f) / width, v = (y + 0.5f) / height;

  return make_color (0.1f + 0.8f * u, 0.9f - 0.8f * v, 0.2f + 0.3f * (u + v));
}

static float
get_source_alpha (guint x, guint width)
{
  return 0.55f + 0.4f * (x + 0.5f) / width;
}

static void
fill_source (GstVideoFrame * frame)
{
  guint width = GST_VIDEO_FRAME_WIDTH (frame);
  guint height = GST_VIDEO_FRAME_HEIGHT (frame);

  for (guint y = 0; y < height; y++) {
    guint16 *row = (guint16 *) ((guint8 *) GST_VIDEO_FRAME_PLANE_DATA (frame, 0)
        + y * GST_VIDEO_FRAME_PLANE_STRIDE (frame, 0));

    for (guint x = 0; x < width; x++) {
      Color color = get_source_color (x, y, width, height);

      row[4 * x] = (guint16) (get_source_alpha (x, width) * 65535 + 0.5f);
      for (guint c = 0; c < 3; c++)
        row[4 * x + 1 + c] = (guint16) (color.rgb[c] * 65535 + 0.5f);
    }
  }
}

// The picture in INFO's format; NULL if GStreamer can only read that.
static GstBuffer *
make_picture (const GstVideoInfo * info)
{
  GstVideoInfo source_info;
  GstVideoFrame source, picture;
  GstVideoConverter *converter;
  GstBuffer *source_buffer, *buffer;

  gst_video_info_set_format (&source_info, GST_VIDEO_FORMAT_ARGB64_LE,
      GST_VIDEO_INFO_WIDTH (info), GST_VIDEO_INFO_HEIGHT (info));
  source_info.fps_n = info->fps_n;
  source_info.fps_d = info->fps_d;
  converter = gst_video_converter_new (&source_info, info,
      gst_structure_new ("options", GST_VIDEO_CONVERTER_OPT_DITHER_METHOD,
          GST_TYPE_VIDEO_DITHER_METHOD, GST_VIDEO_DITHER_NONE, NULL));
  if (!converter)
    return NULL;

  source_buffer = gst_buffer_new_allocate (NULL,
      GST_VIDEO_INFO_SIZE (&source_info), NULL);
  buffer = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (info), NULL);
  gst_buffer_memset (buffer, 0, 0, GST_VIDEO_INFO_SIZE (info));
  fail_unless (gst_video_frame_map (&source, &source_info, source_buffer,
          GST_MAP_READWRITE));
  fail_unless (gst_video_frame_map (&picture, info, buffer, GST_MAP_READWRITE));
  fill_source (&source);
  gst_video_converter_frame (converter, &source, &picture);
  gst_video_frame_unmap (&picture);
  gst_video_frame_unmap (&source);
  gst_buffer_unref (source_buffer);
  gst_video_converter_free (converter);
  return buffer;
}

static float
get_sample (const CpspComponent * component, guint x, guint y)
{
  const guint8 *place = component->data + y * component->stride_bytes
      + x * component->step_bytes;
  guint word = component->wide ? *(const guint16 *) place : *place;

  return (word >> component->shift) & ((1u << component->depth) - 1);
}

static float
mix (float a, float b, float share)
{
  return a + (b - a) * share;
}

// The chroma sample at luma pixel (x, y), bilinear.
static float
get_chroma (const CpspImageView * image, guint c, guint x, guint y)
{
  const CpspComponent *component = &image->component[c];
  guint sub_x = 1 << image->chroma_shift_x, sub_y = 1 << image->chroma_shift_y;
  guint last_x = (image->width + sub_x - 1) / sub_x - 1;
  guint last_y = (image->height + sub_y - 1) / sub_y - 1;
  float u = CLAMP ((x - image->chroma_x) / sub_x, 0, last_x);
  float v = CLAMP ((y - image->chroma_y) / sub_y, 0, last_y);
  guint i = (guint) u, j = (guint) v;
  guint i1 = MIN (i + 1, last_x), j1 = MIN (j + 1, last_y);

  return mix (mix (get_sample (component, i, j),
          get_sample (component, i1, j), u - i),
      mix (get_sample (component, i, j1), get_sample (component, i1, j1),
          u - i), v - j);
}

static Color
get_color (const CpspImageView * image, guint x, guint y)
{
  float sample[3] = { get_sample (&image->component[0], x, y) };
  Color color;

  for (guint c = 1; c < image->n_components; c++)
    sample[c] = get_chroma (image, c, x, y);
  for (guint i = 0; i < 3; i++) {
    color.rgb[i] = image->offset[i];
    for (guint j = 0; j < image->n_components; j++)
      color.rgb[i] += image->matrix[i][j] * sample[j];
  }
  return color;
}

static guint
get_depth (const GstVideoFormatInfo * format)
{
  guint depth = format->depth[0];

  // As good as GStreamer's palette is.
  if (GST_VIDEO_FORMAT_INFO_HAS_PALETTE (format))
    return 2;
  for (guint c = 1; c < MIN (3, GST_VIDEO_FORMAT_INFO_N_COMPONENTS (format));
      c++)
    depth = MIN (depth, format->depth[c]);
  return depth;
}

// What GStreamer's way there, with 8-bit matrices even for formats of 16 bits,
// and quantisation, the blue difference's doubled, can leave.
static float
get_tolerance (const GstVideoFormatInfo * format)
{
  return 3.f / 255 + 1.5f / ((1 << get_depth (format)) - 1);
}

static void
compare (const CpspImageView * image, const GstVideoInfo * info)
{
  const GstVideoFormatInfo *format = info->finfo;
  float tolerance = get_tolerance (format);
  gboolean grey = GST_VIDEO_FORMAT_INFO_IS_GRAY (format);
  guint shift = GST_VIDEO_FORMAT_INFO_W_SUB (format, 1);
  // Subsampled chroma is exact on ramps but not at their ends.
  guint margin = shift ? 2 + 2 * shift : 0;

  for (guint y = margin; y + margin < image->height; y++) {
    for (guint x = margin; x + margin < image->width; x++) {
      Color want = get_source_color (x, y, image->width, image->height);
      Color got = get_color (image, x, y);

      if (grey) {
        float luma = 0.299f * want.rgb[0] + 0.587f * want.rgb[1]
            + 0.114f * want.rgb[2];

        want = make_color (luma, luma, luma);
      }
      for (guint c = 0; c < 3; c++)
        fail_unless (ABS (got.rgb[c] - want.rgb[c]) <= tolerance,
            "%s %ux%u, colour %u at %u,%u: %f instead of %f (+- %f)",
            GST_VIDEO_INFO_NAME (info), image->width, image->height, c, x, y,
            got.rgb[c], want.rgb[c], tolerance);
    }
  }
}

// The alpha that the picture itself has.
static void
compare_own_mask (const CpspMaskView * mask, const GstVideoInfo * info)
{
  guint depth = info->finfo->depth[GST_VIDEO_COMP_A];
  float tolerance = 1.f / 255 + 1.f / ((1 << depth) - 1);

  fail_unless_equals_int (mask->width, GST_VIDEO_INFO_WIDTH (info));
  fail_unless_equals_int (mask->height, GST_VIDEO_INFO_HEIGHT (info));
  for (guint y = 0; y < mask->height; y++) {
    for (guint x = 0; x < mask->width; x++) {
      float got = mask->scale * get_sample (&mask->component, x, y)
          + mask->offset;

      fail_unless (ABS (got - get_source_alpha (x, mask->width)) <= tolerance,
          "%s %ux%u, alpha at %u,%u: %f", GST_VIDEO_INFO_NAME (info),
          mask->width, mask->height, x, y, got);
    }
  }
}

// What an element has from caps. The defaults of gst_video_info_set_format()
// are not all that: GStreamer 1.26 leaves the chroma site unknown.
static GstVideoInfo
make_info_of_caps (const GstVideoInfo * info)
{
  GstCaps *caps = gst_video_info_to_caps (info);
  GstVideoInfo result;

  fail_unless (gst_video_info_from_caps (&result, caps));
  gst_caps_unref (caps);
  return result;
}

// The picture is always in the format that the caps of INFO mean.
static void
check_view (const GstVideoInfo * info)
{
  GstVideoInfo picture_info = make_info_of_caps (info);
  GstBuffer *buffer = make_picture (&picture_info);
  GstCascadePspFrameView view;
  CpspImageView image;
  CpspMaskView own_mask;

  gst_cascade_psp_frame_view_init (&view);
  fail_unless (gst_cascade_psp_frame_view_set_info (&view, info),
      "%s cannot be read", GST_VIDEO_INFO_NAME (info));

  if (!buffer) {
    GST_INFO ("%s cannot be written", GST_VIDEO_INFO_NAME (info));
  } else {
    // Twice: a view is used for every frame.
    for (guint i = 0; i < 2; i++) {
      fail_unless (gst_cascade_psp_frame_view_map (&view, buffer, &image,
          &own_mask));
      compare (&image, info);
      // GStreamer's palette has no shades of alpha, its Y410 writer none.
      if (GST_VIDEO_INFO_HAS_ALPHA (info)
          && !GST_VIDEO_FORMAT_INFO_HAS_PALETTE (info->finfo))
        compare_own_mask (&own_mask, info);
      gst_cascade_psp_frame_view_unmap (&view);
    }
    gst_buffer_unref (buffer);
  }
  gst_cascade_psp_frame_view_clear (&view);
}

static void
check_all_formats (guint width, guint height)
{
  GValue formats = G_VALUE_INIT;

  g_value_init (&formats, GST_TYPE_LIST);
  fail_unless (gst_value_deserialize (&formats, GST_VIDEO_FORMATS_ALL));
  for (guint i = 0; i < gst_value_list_get_size (&formats); i++) {
    const char *name =
        g_value_get_string (gst_value_list_get_value (&formats, i));
    GstVideoInfo info;

    fail_unless (gst_video_info_set_format (&info,
            gst_video_format_from_string (name), width, height));
    info.fps_n = 30000;
    info.fps_d = 1001;
    check_view (&info);
  }
  g_value_unset (&formats);
}

GST_START_TEST (test_formats)
{
  check_all_formats (WIDTH, HEIGHT);
}

GST_END_TEST;

GST_START_TEST (test_odd_sizes)
{
  check_all_formats (33, 17);
  check_all_formats (7, 9);
  check_all_formats (1, 1);
}

GST_END_TEST;

static GstVideoFormat yuv_formats[] = {
  GST_VIDEO_FORMAT_I420, GST_VIDEO_FORMAT_NV12, GST_VIDEO_FORMAT_YUY2,
  GST_VIDEO_FORMAT_Y444, GST_VIDEO_FORMAT_P010_10LE, GST_VIDEO_FORMAT_v210,
  GST_VIDEO_FORMAT_Y444_16LE
};

GST_START_TEST (test_colorimetry)
{
  static const char *const colorimetries[] = {
    GST_VIDEO_COLORIMETRY_BT601, GST_VIDEO_COLORIMETRY_BT709,
    GST_VIDEO_COLORIMETRY_BT2020, GST_VIDEO_COLORIMETRY_SMPTE240M,
    "1:4:7:1", "1:3:7:1"
  };

  for (guint f = 0; f < G_N_ELEMENTS (yuv_formats); f++) {
    for (guint i = 0; i < G_N_ELEMENTS (colorimetries); i++) {
      GstVideoInfo info;

      gst_video_info_set_format (&info, yuv_formats[f], WIDTH, HEIGHT);
      gst_video_colorimetry_from_string (&info.colorimetry, colorimetries[i]);
      check_view (&info);
    }
  }
}

GST_END_TEST;

// GStreamer's converter takes no notice of the range of RGB, so these are not
// compared with its pictures.
static void
check_range (GstVideoFormat format, GstVideoColorRange range, guint black,
    guint white)
{
  GstVideoInfo info;
  GstCascadePspFrameView view;

  gst_video_info_set_format (&info, format, WIDTH, HEIGHT);
  info.colorimetry.range = range;
  gst_cascade_psp_frame_view_init (&view);
  fail_unless (gst_cascade_psp_frame_view_set_info (&view, &info));
  for (guint i = 0; i < 3; i++) {
    float gain = 0;

    for (guint j = 0; j < view.image.n_components; j++)
      gain += view.image.matrix[i][j];
    fail_unless (ABS (gain * black + view.image.offset[i]) < 1e-6f);
    fail_unless (ABS (gain * white + view.image.offset[i] - 1) < 1e-6f);
  }
  gst_cascade_psp_frame_view_clear (&view);
}

GST_START_TEST (test_range)
{
  check_range (GST_VIDEO_FORMAT_RGB, GST_VIDEO_COLOR_RANGE_0_255, 0, 255);
  check_range (GST_VIDEO_FORMAT_RGB, GST_VIDEO_COLOR_RANGE_16_235, 16, 235);
  check_range (GST_VIDEO_FORMAT_GRAY8, GST_VIDEO_COLOR_RANGE_16_235, 16, 235);
  check_range (GST_VIDEO_FORMAT_GRAY16_LE, GST_VIDEO_COLOR_RANGE_16_235,
      16 << 8, 235 << 8);
}

GST_END_TEST;

GST_START_TEST (test_chroma_site)
{
  GstVideoChromaSite sites[] = {
    GST_VIDEO_CHROMA_SITE_NONE, GST_VIDEO_CHROMA_SITE_H_COSITED,
    GST_VIDEO_CHROMA_SITE_V_COSITED, GST_VIDEO_CHROMA_SITE_COSITED
  };

  for (guint f = 0; f < G_N_ELEMENTS (yuv_formats); f++) {
    for (guint i = 0; i < G_N_ELEMENTS (sites); i++) {
      GstVideoInfo info;

      gst_video_info_set_format (&info, yuv_formats[f], WIDTH, HEIGHT);
      info.chroma_site = sites[i];
      check_view (&info);
    }
  }
}

GST_END_TEST;

// The height decides; formats that are viewed where they lie and others.
GST_START_TEST (test_unknown_chroma_site)
{
  guint heights[] = { 16, 576, 577 };

  for (guint f = 0; f < G_N_ELEMENTS (yuv_formats); f++) {
    for (guint i = 0; i < G_N_ELEMENTS (heights); i++) {
      GstVideoInfo info;

      gst_video_info_set_format (&info, yuv_formats[f], WIDTH, heights[i]);
      info.chroma_site = GST_VIDEO_CHROMA_SITE_UNKNOWN;
      check_view (&info);
    }
  }
}

GST_END_TEST;

// The usual formats must not cost a copy.
GST_START_TEST (test_viewed_in_place)
{
  GstVideoFormat formats[] = {
    GST_VIDEO_FORMAT_I420, GST_VIDEO_FORMAT_YV12, GST_VIDEO_FORMAT_NV12,
    GST_VIDEO_FORMAT_NV21, GST_VIDEO_FORMAT_P010_10LE,
    GST_VIDEO_FORMAT_P016_LE, GST_VIDEO_FORMAT_I420_10LE,
    GST_VIDEO_FORMAT_Y42B, GST_VIDEO_FORMAT_YUY2, GST_VIDEO_FORMAT_UYVY,
    GST_VIDEO_FORMAT_Y444, GST_VIDEO_FORMAT_AYUV, GST_VIDEO_FORMAT_RGB,
    GST_VIDEO_FORMAT_BGR, GST_VIDEO_FORMAT_RGBA, GST_VIDEO_FORMAT_xRGB,
    GST_VIDEO_FORMAT_GBR, GST_VIDEO_FORMAT_GBR_12LE,
    GST_VIDEO_FORMAT_ARGB64_LE, GST_VIDEO_FORMAT_GRAY8,
    GST_VIDEO_FORMAT_GRAY16_LE
  };

  for (guint f = 0; f < G_N_ELEMENTS (formats); f++) {
    GstCascadePspFrameView view;
    GstVideoInfo info;

    gst_video_info_set_format (&info, formats[f], WIDTH, HEIGHT);
    gst_cascade_psp_frame_view_init (&view);
    fail_unless (gst_cascade_psp_frame_view_set_info (&view, &info));
    fail_unless (view.converter == NULL, "%s is copied",
        GST_VIDEO_INFO_NAME (&info));
    gst_cascade_psp_frame_view_clear (&view);
  }
}

GST_END_TEST;

// Strides and offsets are the buffer's, not the caps'.
GST_START_TEST (test_video_meta)
{
  GstVideoInfo info, padded;
  GstVideoAlignment align;
  GstBuffer *tight, *buffer;
  GstVideoFrame from, to;
  GstCascadePspFrameView view;
  CpspImageView image;
  CpspMaskView own_mask;

  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_I420, WIDTH, HEIGHT);
  padded = info;
  gst_video_alignment_reset (&align);
  align.padding_left = 32;
  align.padding_right = align.padding_top = align.padding_bottom = 8;
  fail_unless (gst_video_info_align (&padded, &align));

  tight = make_picture (&info);
  buffer = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&padded), NULL);
  gst_buffer_memset (buffer, 0, 0xaa, GST_VIDEO_INFO_SIZE (&padded));
  gst_buffer_add_video_meta_full (buffer, GST_VIDEO_FRAME_FLAG_NONE,
      GST_VIDEO_INFO_FORMAT (&info), WIDTH, HEIGHT, 3, padded.offset,
      padded.stride);
  fail_unless (gst_video_frame_map (&from, &info, tight, GST_MAP_READ));
  fail_unless (gst_video_frame_map (&to, &info, buffer, GST_MAP_WRITE));
  fail_unless (gst_video_frame_copy (&to, &from));
  gst_video_frame_unmap (&to);
  gst_video_frame_unmap (&from);
  gst_buffer_unref (tight);

  gst_cascade_psp_frame_view_init (&view);
  fail_unless (gst_cascade_psp_frame_view_set_info (&view, &info));
  fail_unless (gst_cascade_psp_frame_view_map (&view, buffer, &image,
          &own_mask));
  compare (&image, &info);
  gst_cascade_psp_frame_view_unmap (&view);
  gst_cascade_psp_frame_view_clear (&view);
  gst_buffer_unref (buffer);
}

GST_END_TEST;

static void
check_mask (GstVideoFormat format, GstVideoColorRange range, guint black,
    guint white)
{
  GstVideoInfo info;
  GstVideoFrame frame;
  GstBuffer *buffer;
  CpspMaskView mask;

  gst_video_info_set_format (&info, format, 3, 2);
  info.colorimetry.range = range;
  buffer = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&info), NULL);
  fail_unless (gst_video_frame_map (&frame, &info, buffer, GST_MAP_READ));
  gst_cascade_psp_mask_view_init (&mask, &frame, 3, 2);

  fail_unless_equals_int (mask.width, 3);
  fail_unless_equals_int (mask.height, 2);
  fail_unless_equals_int (mask.component.wide,
      format == GST_VIDEO_FORMAT_GRAY16_LE);
  fail_unless (ABS (mask.scale * black + mask.offset) < 1e-6f);
  fail_unless (ABS (mask.scale * white + mask.offset - 1) < 1e-6f);

  gst_video_frame_unmap (&frame);
  gst_buffer_unref (buffer);
}

GST_START_TEST (test_mask)
{
  check_mask (GST_VIDEO_FORMAT_GRAY8, GST_VIDEO_COLOR_RANGE_0_255, 0, 255);
  check_mask (GST_VIDEO_FORMAT_GRAY8, GST_VIDEO_COLOR_RANGE_16_235, 16, 235);
  check_mask (GST_VIDEO_FORMAT_GRAY16_LE, GST_VIDEO_COLOR_RANGE_0_255, 0,
      65535);
  check_mask (GST_VIDEO_FORMAT_GRAY16_LE, GST_VIDEO_COLOR_RANGE_16_235,
      16 << 8, 235 << 8);
}

GST_END_TEST;

// A column of one sample against three, both depths: pixels whose bilinear
// value is above the threshold.
GST_START_TEST (test_draw_mask)
{
  static const guint8 column[3] = { 0, 90, 255 };
  guint8 drawn[9];
  guint16 drawn_wide[9];
  CpspMaskView mask = {.width = 1,.height = 3,.component = {.data = column,
          .stride_bytes = 1,.step_bytes = 1,.depth = 8},.scale = 1.f / 255
  };
  CpspAlphaView alpha = { 1, 9, CPSP_ALPHA_U8, drawn, 1 };
  CpspAlphaView alpha_wide = { 1, 9, CPSP_ALPHA_U16, (guint8 *) drawn_wide, 2 };
  // 0, 0, 30, 60, 90, 145, 200, 255, 255 without the ends' halves
  static const gboolean above[9] = { 0, 0, 0, 0, 0, 1, 1, 1, 1 };

  gst_cascade_psp_mask_view_draw (&mask, 0.5, &alpha);
  gst_cascade_psp_mask_view_draw (&mask, 0.5, &alpha_wide);
  for (guint y = 0; y < 9; y++) {
    fail_unless_equals_int (drawn[y], above[y] ? 0xff : 0);
    fail_unless_equals_int (drawn_wide[y], above[y] ? 0xffff : 0);
  }

  // A smaller one keeps the samples nearest to its pixels.
  alpha.height = 1;
  gst_cascade_psp_mask_view_draw (&mask, 0.3, &alpha);
  fail_unless_equals_int (drawn[0], 0xff);
  gst_cascade_psp_mask_view_draw (&mask, 0.4, &alpha);
  fail_unless_equals_int (drawn[0], 0);
}

GST_END_TEST;

static Suite *
frameview_suite (void)
{
  Suite *suite = suite_create ("frameview");
  TCase *tcase = tcase_create ("general");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_formats);
  tcase_add_test (tcase, test_odd_sizes);
  tcase_add_test (tcase, test_colorimetry);
  tcase_add_test (tcase, test_range);
  tcase_add_test (tcase, test_chroma_site);
  tcase_add_test (tcase, test_unknown_chroma_site);
  tcase_add_test (tcase, test_viewed_in_place);
  tcase_add_test (tcase, test_video_meta);
  tcase_add_test (tcase, test_mask);
  tcase_add_test (tcase, test_draw_mask);
  return suite;
}

GST_CHECK_MAIN (frameview);
