/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames of the output's formats with all around them watched, seen through
 * GStreamer's own unpacking, which knows nothing of how the output writes.
 */
#pragma once

#include <gst/check/gstcheck.h>
#include <gst/video/video.h>

#include "gst/output.h"

#define RIM 0xa5
// Of frames that are unpacked
#define MAX_WIDTH 200

// As fail_unless(), which makes a system call every time: for loops.
#define EXPECT(condition, ...) \
  do { \
    if (!(condition)) \
      fail (__VA_ARGS__); \
  } while (0)

// What is being checked, for messages.
static char *subject;

static inline void
set_subject (const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_free (subject);
  subject = g_strdup_vprintf (format, args);
  va_end (args);
}

#define FORMAT_VALUE(format) GST_VIDEO_FORMAT_##format,

static const GstVideoFormat formats[] = {
  GST_VIDEO_FORMAT_GRAY8,
  GST_CASCADE_PSP_OUTPUT_FOREACH (FORMAT_VALUE)
};

/* Frames */

// Rows further apart than they must be, with a rim that must stay as it is.
typedef struct
{
  GstVideoInfo info;
  GstBuffer *buffer;
  GstVideoFrame frame;
} Picture;

static inline GstVideoInfo
make_info (GstVideoFormat format, guint width, guint height)
{
  GstVideoInfo info, result;
  GstCaps *caps;

  gst_video_info_set_format (&info, format, width, height);
  caps = gst_video_info_to_caps (&info);
  fail_unless (gst_video_info_from_caps (&result, caps));
  gst_caps_unref (caps);
  return result;
}

static inline void
picture_init (Picture * picture, const GstVideoInfo * info)
{
  guint n = GST_VIDEO_INFO_N_PLANES (info);
  gsize offset[GST_VIDEO_MAX_PLANES] = { 0 };
  gint stride[GST_VIDEO_MAX_PLANES] = { 0 };
  GstVideoInfo padded = *info;
  gsize size = 64;

  // Tiled and palette formats do not know padding by strides.
  if (!GST_VIDEO_FORMAT_INFO_IS_TILED (info->finfo)
      && !GST_VIDEO_FORMAT_INFO_HAS_PALETTE (info->finfo)) {
    GstVideoAlignment align;

    gst_video_alignment_reset (&align);
    align.padding_right = 24;
    align.padding_bottom = 4;
    fail_unless (gst_video_info_align (&padded, &align));
  }
  for (guint p = 0; p < n; p++) {
    offset[p] = padded.offset[p] + size;
    stride[p] = padded.stride[p];
  }
  size += padded.size + 64;

  picture->info = *info;
  picture->buffer = gst_buffer_new_allocate (NULL, size, NULL);
  gst_buffer_memset (picture->buffer, 0, RIM, size);
  gst_buffer_add_video_meta_full (picture->buffer, GST_VIDEO_FRAME_FLAG_NONE,
      GST_VIDEO_INFO_FORMAT (info), GST_VIDEO_INFO_WIDTH (info),
      GST_VIDEO_INFO_HEIGHT (info), n, offset, stride);
  fail_unless (gst_video_frame_map (&picture->frame, &picture->info,
          picture->buffer, GST_MAP_READWRITE));
}

static inline void
picture_clear (Picture * picture)
{
  gst_video_frame_unmap (&picture->frame);
  gst_buffer_unref (picture->buffer);
}

static inline GstBuffer *
picture_copy (const Picture * picture)
{
  return gst_buffer_copy_deep (picture->buffer);
}

static inline void
check_same (const Picture * picture, GstBuffer * before, const char *what)
{
  GstMapInfo a, b;

  fail_unless (gst_buffer_map (before, &a, GST_MAP_READ));
  // mapped already: a buffer can be mapped to read any number of times
  fail_unless (gst_buffer_map (picture->buffer, &b, GST_MAP_READ));
  fail_unless (a.size == b.size && memcmp (a.data, b.data, a.size) == 0,
      "%s: %s has changed", subject, what);
  gst_buffer_unmap (picture->buffer, &b);
  gst_buffer_unmap (before, &a);
}

// Bytes of the rows of all planes become VALUE; or random, if that is -1.
static inline void
fill_rows (Picture * picture, GRand * r, gint value)
{
  GstVideoFrame *frame = &picture->frame;
  const GstVideoFormatInfo *format = picture->info.finfo;
  gint components[GST_VIDEO_MAX_COMPONENTS];

  for (guint p = 0; p < GST_VIDEO_FRAME_N_PLANES (frame); p++) {
    guint stride = ABS (GST_VIDEO_FRAME_PLANE_STRIDE (frame, p));
    guint rows = GST_VIDEO_FRAME_HEIGHT (frame), bytes = stride;

    if (GST_VIDEO_FORMAT_INFO_IS_TILED (format)
        || GST_VIDEO_FORMAT_INFO_HAS_PALETTE (format)) {
      memset (frame->map[p].data, 0x55, frame->map[p].size);
      continue;
    }
    gst_video_format_info_component (format, p, components);
    rows = GST_VIDEO_FRAME_COMP_HEIGHT (frame, components[0]);
    if (format->pixel_stride[components[0]] > 0) {
      bytes = 0;
      for (guint c = 0; c < 4 && components[c] >= 0; c++)
        bytes = MAX (bytes, (guint) (GST_VIDEO_FRAME_COMP_WIDTH (frame,
                    components[c]) * format->pixel_stride[components[c]]));
    }
    for (guint y = 0; y < rows; y++) {
      guint8 *row = (guint8 *) GST_VIDEO_FRAME_PLANE_DATA (frame, p)
          + y * stride;

      for (guint i = 0; i < MIN (bytes, stride); i++)
        row[i] = value >= 0 ? value : g_rand_int_range (r, 0, 256);
    }
  }
}

// Row Y as GStreamer unpacks it: four words per pixel, the first is alpha.
// Samples of fewer bits are at the top, zeros below.
static inline void
unpack_row (const GstVideoFrame * frame, guint y, guint16 * row)
{
  const GstVideoFormatInfo *format = frame->info.finfo;
  const GstVideoFormatInfo *unpacked =
      gst_video_format_get_info (format->unpack_format);
  guint width = GST_VIDEO_FRAME_WIDTH (frame);
  guint8 *bytes = (guint8 *) row;
  gpointer data[GST_VIDEO_MAX_PLANES];
  gint stride[GST_VIDEO_MAX_PLANES];

  // v210 and its kin are unpacked in groups of pixels.
  for (guint p = 0; p < GST_VIDEO_MAX_PLANES; p++) {
    data[p] = frame->data[p];
    stride[p] = frame->info.stride[p];
  }
  format->unpack_func (format, GST_VIDEO_PACK_FLAG_TRUNCATE_RANGE, row, data,
      stride, 0, y, width);
  if (unpacked->bits == 8) {
    for (guint i = 4 * width; i-- > 0;)
      row[i] = bytes[i] << 8;
  }
}

static inline guint
get_alpha_depth (const GstVideoInfo * info)
{
  return info->finfo->depth[GST_VIDEO_INFO_IS_GRAY (info) ? 0 : 3];
}

static inline guint
get_max (const CpspAlphaView * alpha)
{
  return alpha->format == CPSP_ALPHA_U8 ? 255 : 65535;
}

static inline guint
get_alpha (const CpspAlphaView * alpha, guint x, guint y)
{
  const guint8 *row = alpha->data + y * alpha->stride_bytes;

  return alpha->format == CPSP_ALPHA_U8 ? row[x] : ((const guint16 *) row)[x];
}

static inline void
set_alpha (const CpspAlphaView * alpha, guint x, guint y, guint value)
{
  guint8 *row = alpha->data + y * alpha->stride_bytes;

  if (alpha->format == CPSP_ALPHA_U8)
    row[x] = value;
  else
    ((guint16 *) row)[x] = value;
}

// With both ends of the range.
static inline void
fill_alpha (const CpspAlphaView * alpha, GRand * r)
{
  for (guint y = 0; y < alpha->height; y++)
    for (guint x = 0; x < alpha->width; x++) {
      guint kind = g_rand_int_range (r, 0, 4);

      set_alpha (alpha, x, y, kind == 0 ? 0 : kind == 1 ? get_max (alpha)
          : (guint) g_rand_int_range (r, 0, get_max (alpha) + 1));
    }
}

static inline void
check_alpha (const GstVideoFrame * frame, const CpspAlphaView * alpha)
{
  guint depth = get_alpha_depth (&frame->info);
  gboolean grey = GST_VIDEO_INFO_IS_GRAY (&frame->info);

  for (guint y = 0; y < alpha->height; y++) {
    guint16 row[4 * MAX_WIDTH];

    unpack_row (frame, y, row);
    for (guint x = 0; x < alpha->width; x++) {
      double exact = (double) get_alpha (alpha, x, y) / get_max (alpha)
          * ((1 << depth) - 1);
      guint want = (guint) (exact + 0.5);
      guint got = row[4 * x + (grey ? 1 : 0)] >> (16 - depth);

      EXPECT (got == want, "%s: alpha at %u,%u: %u instead of %u", subject,
          x, y, got, want);
    }
  }
}

// To the bits that both have: P010's words may have more.
static inline void
check_colors (const GstVideoFrame * frame, const GstVideoFrame * want)
{
  guint shift = 16 - MIN (frame->info.finfo->depth[0],
      want->info.finfo->depth[0]);

  for (gint y = 0; y < GST_VIDEO_FRAME_HEIGHT (frame); y++) {
    guint16 row[4 * MAX_WIDTH], want_row[4 * MAX_WIDTH];

    unpack_row (frame, y, row);
    unpack_row (want, y, want_row);
    for (gint x = 0; x < GST_VIDEO_FRAME_WIDTH (frame); x++)
      for (guint c = 1; c < 4; c++) {
        guint a = row[4 * x + c] >> shift, b = want_row[4 * x + c] >> shift;

        EXPECT (a == b, "%s: colour %u at %d,%d: %u instead of %u",
            subject, c, x, y, a, b);
      }
  }
}

// The rows' ends and what is before, between and behind the planes: fill_rows
// reaches the rest.
static inline void
check_rim (Picture * picture)
{
  GstBuffer *copy;
  GstMapInfo map;

  fill_rows (picture, NULL, RIM);
  copy = picture_copy (picture);
  fail_unless (gst_buffer_map (copy, &map, GST_MAP_READ));
  for (gsize i = 0; i < map.size; i++)
    EXPECT (map.data[i] == RIM, "%s: byte %" G_GSIZE_FORMAT
        " beyond the rows is written", subject, i);
  gst_buffer_unmap (copy, &map);
  gst_buffer_unref (copy);
}

static inline guint
get_sample (const GstVideoFrame * frame, guint c, guint x, guint y)
{
  const GstVideoFormatInfo *format = frame->info.finfo;
  const guint8 *at = (const guint8 *) GST_VIDEO_FRAME_COMP_DATA (frame, c)
      + y * GST_VIDEO_FRAME_COMP_STRIDE (frame, c)
      + x * GST_VIDEO_FRAME_COMP_PSTRIDE (frame, c);

  return format->depth[c] > 8 ? GST_READ_UINT16_LE (at) : *at;
}
