/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "output.h"

#include <stdlib.h>
#include <string.h>

#include "frameview.h"
#include "refine/clones.h"

// Weights are made for so many pixels at a time.
#define CHUNK 512

#define FORMAT_VALUE(format) GST_VIDEO_FORMAT_##format,

// Their samples are bytes or words, without bits below or above.
static const GstVideoFormat formats[] = {
  GST_VIDEO_FORMAT_GRAY8,
  GST_CASCADE_PSP_OUTPUT_FOREACH (FORMAT_VALUE)
};

gboolean
gst_cascade_psp_output_is_alpha (const GstVideoInfo * info)
{
  return GST_VIDEO_INFO_IS_GRAY (info);
}

/* Caps */

static gboolean
is_same_family (const GstVideoFormatInfo * a, const GstVideoFormatInfo * b)
{
  return GST_VIDEO_FORMAT_INFO_IS_YUV (a) == GST_VIDEO_FORMAT_INFO_IS_YUV (b)
      && GST_VIDEO_FORMAT_INFO_IS_RGB (a) == GST_VIDEO_FORMAT_INFO_IS_RGB (b);
}

static gboolean
has_same_chroma (const GstVideoFormatInfo * a, const GstVideoFormatInfo * b)
{
  return is_same_family (a, b) && a->w_sub[1] == b->w_sub[1]
      && a->h_sub[1] == b->h_sub[1];
}

// Whether FORMAT can hold the very samples of VIDEO.
static gboolean
holds_unchanged (const GstVideoFormatInfo * format,
    const GstVideoFormatInfo * video)
{
  return !GST_VIDEO_FORMAT_INFO_IS_GRAY (video)
      && has_same_chroma (format, video) && format->depth[0] == video->depth[0]
      && format->depth[1] == video->depth[1]
      && format->depth[2] == video->depth[2];
}

// Whether the samples can be copied one by one.
static gboolean
can_copy (const GstVideoFormatInfo * format, const GstVideoFormatInfo * video)
{
  return holds_unchanged (format, video)
      && gst_cascade_psp_format_is_regular (video);
}

// What FORMAT makes of VIDEO: the greater the worse.
static guint
get_loss (const GstVideoFormatInfo * format, const GstVideoFormatInfo * video)
{
  guint loss = 1;

  if (GST_VIDEO_FORMAT_INFO_IS_GRAY (format)
      || holds_unchanged (format, video))
    return 0;
  if (format->depth[0] < video->depth[0])
    loss += 16;
  if (format->w_sub[1] > video->w_sub[1] || format->h_sub[1] > video->h_sub[1])
    loss += 8;
  if (!is_same_family (format, video))
    loss += 4;
  else if (!has_same_chroma (format, video))
    loss += 2;
  if (format->depth[0] > video->depth[0])
    loss += 1;
  return loss;
}

// Frames of FORMAT beside a video of VIDEO.
static void
make_info (GstVideoInfo * info, GstVideoFormat format,
    const GstVideoInfo * video)
{
  gst_video_info_set_interlaced_format (info, format,
      GST_VIDEO_INFO_INTERLACE_MODE (video), GST_VIDEO_INFO_WIDTH (video),
      GST_VIDEO_INFO_HEIGHT (video));
  GST_VIDEO_INFO_FIELD_ORDER (info) = GST_VIDEO_INFO_FIELD_ORDER (video);
  info->fps_n = video->fps_n;
  info->fps_d = video->fps_d;
  info->par_n = video->par_n;
  info->par_d = video->par_d;

  if (is_same_family (info->finfo, video->finfo)) {
    info->colorimetry = video->colorimetry;
    if (GST_VIDEO_FORMAT_INFO_W_SUB (info->finfo, 1) > 0)
      info->chroma_site = video->chroma_site;
  } else if (!gst_cascade_psp_output_is_alpha (info)) {
    info->colorimetry.transfer = video->colorimetry.transfer;
    info->colorimetry.primaries = video->colorimetry.primaries;
  }
}

GstCaps *
gst_cascade_psp_output_get_caps (const GstVideoInfo * video)
{
  GstCaps *caps = gst_caps_new_empty ();

  for (guint loss = 0, left = G_N_ELEMENTS (formats); left > 0; loss++) {
    for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
      GstVideoInfo info;
      GstCaps *one;

      if (get_loss (gst_video_format_get_info (formats[i]), video->finfo)
          != loss)
        continue;
      left--;
      make_info (&info, formats[i], video);
      one = gst_video_info_to_caps (&info);
      if (gst_cascade_psp_output_is_alpha (&info))
        gst_structure_remove_field (gst_caps_get_structure (one, 0),
            "colorimetry");
      gst_caps_append (caps, one);
    }
  }
  return caps;
}

/* Colours of the video */

static gboolean
components_lie_alike (const GstVideoFormatInfo * a,
    const GstVideoFormatInfo * b, guint c)
{
  return a->poffset[c] == b->poffset[c] && a->shift[c] == b->shift[c]
      && a->pixel_stride[c] == b->pixel_stride[c];
}

static void
copy_rows (GstVideoFrame * dst, const GstVideoFrame * src, guint c)
{
  guint height = GST_VIDEO_FRAME_COMP_HEIGHT (dst, c);
  gsize bytes = (gsize) GST_VIDEO_FRAME_COMP_WIDTH (dst, c)
      * GST_VIDEO_FRAME_COMP_PSTRIDE (dst, c);
  guint to_plane = GST_VIDEO_FRAME_COMP_PLANE (dst, c);
  guint from_plane = GST_VIDEO_FRAME_COMP_PLANE (src, c);
  guint8 *to = GST_VIDEO_FRAME_PLANE_DATA (dst, to_plane);
  const guint8 *from = GST_VIDEO_FRAME_PLANE_DATA (src, from_plane);

  for (guint y = 0; y < height; y++)
    memcpy (to + (gssize) y * GST_VIDEO_FRAME_PLANE_STRIDE (dst, to_plane),
        from + (gssize) y * GST_VIDEO_FRAME_PLANE_STRIDE (src, from_plane),
        bytes);
}

CPSP_CLONES static void
copy_bytes (guint8 * restrict to, guint to_step, const guint8 * from,
    guint from_step, guint n)
{
  for (guint i = 0; i < n; i++)
    to[i * to_step] = from[i * from_step];
}

// Steps in words
CPSP_CLONES static void
copy_words (guint16 * restrict to, guint to_step, const guint16 * from,
    guint from_step, guint shift, guint n)
{
  for (guint i = 0; i < n; i++)
    to[i * to_step] = from[i * from_step] >> shift;
}

// Pixels of four bytes, as numbers: several are worked on at a time, which the
// compiler does not manage with bytes that are apart. A component is the byte
// at its shift.
typedef guint32 Pixel __attribute__ ((aligned (1), may_alias));

static gboolean
has_pixels (const GstVideoFormatInfo * format)
{
  return GST_VIDEO_FORMAT_INFO_N_PLANES (format) == 1
      && format->pixel_stride[0] == 4 && format->depth[0] == 8;
}

static guint
get_pixel_shift (const GstVideoFormatInfo * format, guint c)
{
  return 8 * format->poffset[c];
}

CPSP_CLONES static void
reorder_pixels (Pixel * to, const guint to_shift[3], const Pixel * from,
    const guint from_shift[3], guint n)
{
  guint to_a = to_shift[0], to_b = to_shift[1], to_c = to_shift[2];
  guint from_a = from_shift[0], from_b = from_shift[1], from_c = from_shift[2];

  for (guint i = 0; i < n; i++)
    to[i] = ((from[i] >> from_a) & 0xff) << to_a
        | ((from[i] >> from_b) & 0xff) << to_b
        | ((from[i] >> from_c) & 0xff) << to_c;
}

static void
copy_pixels (GstVideoFrame * dst, const GstVideoFrame * src)
{
  guint height = GST_VIDEO_FRAME_HEIGHT (dst);
  guint to_shift[3], from_shift[3];

  for (guint c = 0; c < 3; c++) {
    to_shift[c] = get_pixel_shift (dst->info.finfo, c);
    from_shift[c] = get_pixel_shift (src->info.finfo, c);
  }
  for (guint y = 0; y < height; y++)
    reorder_pixels ((Pixel *) ((guint8 *) GST_VIDEO_FRAME_PLANE_DATA (dst, 0)
            + (gssize) y * GST_VIDEO_FRAME_PLANE_STRIDE (dst, 0)), to_shift,
        (const Pixel *) ((const guint8 *) GST_VIDEO_FRAME_PLANE_DATA (src, 0)
            + (gssize) y * GST_VIDEO_FRAME_PLANE_STRIDE (src, 0)), from_shift,
        GST_VIDEO_FRAME_WIDTH (dst));
}

static void
copy_component (GstVideoFrame * dst, const GstVideoFrame * src, guint c)
{
  guint width = GST_VIDEO_FRAME_COMP_WIDTH (dst, c);
  guint height = GST_VIDEO_FRAME_COMP_HEIGHT (dst, c);
  CpspComponent to, from;

  gst_cascade_psp_component_init (&to, dst, c);
  gst_cascade_psp_component_init (&from, src, c);
  for (guint y = 0; y < height; y++) {
    guint8 *to_row = (guint8 *) to.data + (gssize) y * to.stride_bytes;
    const guint8 *from_row = from.data + (gssize) y * from.stride_bytes;

    if (to.wide)
      copy_words ((guint16 *) to_row, to.step_bytes / 2,
          (const guint16 *) from_row, from.step_bytes / 2, from.shift, width);
    else
      copy_bytes (to_row, to.step_bytes, from_row, from.step_bytes, width);
  }
}

// Whether all colours of C's plane in DST lie in one plane of SRC at the same
// places.
static gboolean
planes_are_alike (const GstVideoFormatInfo * dst,
    const GstVideoFormatInfo * src, guint c)
{
  for (guint i = 0; i < 3; i++) {
    if (dst->plane[i] == dst->plane[c]
        && (src->plane[i] != src->plane[c]
            || !components_lie_alike (dst, src, i)))
      return FALSE;
  }
  return TRUE;
}

static void
copy_video (GstVideoFrame * dst, const GstVideoFrame * src)
{
  const GstVideoFormatInfo *to = dst->info.finfo, *from = src->info.finfo;

  if (has_pixels (to) && has_pixels (from)
      && !planes_are_alike (to, from, 0)) {
    copy_pixels (dst, src);
    return;
  }
  for (guint c = 0; c < 3; c++) {
    gboolean first = TRUE;

    if (!planes_are_alike (to, from, c)) {
      copy_component (dst, src, c);
      continue;
    }
    for (guint before = 0; before < c; before++)
      first &= to->plane[before] != to->plane[c];
    if (first)
      copy_rows (dst, src, c);
  }
}

void
gst_cascade_psp_output_fill (GstCascadePspOutput * output,
    GstVideoFrame * video, GstVideoFrame * dst)
{
  if (gst_cascade_psp_output_is_alpha (&dst->info))
    return;
  if (output->converter)
    gst_video_converter_frame (output->converter, video, dst);
  else
    copy_video (dst, video);
}

/* Alpha */

CPSP_CLONES static void
store_in_pixels (Pixel * to, guint shift, const guint8 * from, guint n)
{
  guint32 others = ~(0xffu << shift);

  for (guint i = 0; i < n; i++)
    to[i] = (to[i] & others) | (guint32) from[i] << shift;
}

// round (a * (2^depth - 1) / 65535)
CPSP_CLONES static void
store_words (guint16 * restrict to, guint step, guint depth,
    const guint16 * from, guint n)
{
  guint32 max = (1u << depth) - 1;

  for (guint i = 0; i < n; i++) {
    guint32 scaled = from[i] * max + 32767;

    // by 65535, exactly
    to[i * step] = (scaled + 1 + (scaled >> 16)) >> 16;
  }
}

void
gst_cascade_psp_output_write_alpha (GstVideoFrame * dst,
    const CpspAlphaView * alpha)
{
  const GstVideoFormatInfo *format = dst->info.finfo;
  guint c = gst_cascade_psp_output_is_alpha (&dst->info) ? 0
      : GST_VIDEO_COMP_A;
  CpspComponent component;

  gst_cascade_psp_component_init (&component, dst, c);
  for (guint y = 0; y < alpha->height; y++) {
    guint8 *to = (guint8 *) component.data
        + (gssize) y * component.stride_bytes;
    const guint8 *from = alpha->data + (gssize) y * alpha->stride_bytes;

    if (component.wide)
      store_words ((guint16 *) to, component.step_bytes / 2, component.depth,
          (const guint16 *) from, alpha->width);
    else if (has_pixels (format))
      store_in_pixels ((Pixel *) (to - format->poffset[c]),
          get_pixel_shift (format, c), from, alpha->width);
    else
      memcpy (to, from, alpha->width);
  }
}

/* Mixing with a colour */

void
gst_cascade_psp_output_get_color (const GstVideoInfo * info,
    GstCascadePspColor color, guint sample[3])
{
  static const gdouble colors[][3] = {
    [GST_CASCADE_PSP_BLACK] = {0, 0, 0},
    [GST_CASCADE_PSP_GREEN] = {0, 1, 0},
    [GST_CASCADE_PSP_RED] = {1, 0, 0},
    [GST_CASCADE_PSP_MAGENTA] = {1, 0, 1},
  };
  const gdouble *rgb = colors[color];
  gint offset[GST_VIDEO_MAX_COMPONENTS], scale[GST_VIDEO_MAX_COMPONENTS];
  gdouble value[3] = { rgb[0], rgb[1], rgb[2] };

  gst_video_color_range_offsets (info->colorimetry.range, info->finfo, offset,
      scale);
  if (GST_VIDEO_INFO_IS_YUV (info)) {
    gdouble kr, kb;

    if (!gst_video_color_matrix_get_Kr_Kb (info->colorimetry.matrix, &kr, &kb))
      gst_video_color_matrix_get_Kr_Kb (GST_VIDEO_COLOR_MATRIX_BT709, &kr,
          &kb);
    value[0] = kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2];
    value[1] = (rgb[2] - value[0]) / (2 * (1 - kb));
    value[2] = (rgb[0] - value[0]) / (2 * (1 - kr));
  }
  for (guint c = 0; c < 3; c++)
    sample[c] = CLAMP ((gint) (offset[c] + value[c] * scale[c] + 0.5), 0,
        (1 << info->finfo->depth[c]) - 1);
}

// How the weights around a sample count along an axis: those of the pixel
// before its first one, of that and of the one after it. They sum up to 1.
typedef struct
{
  guint shift;                  // log2 of pixels per sample
  float tap[3];
} Axis;

static void
axis_init (Axis * axis, guint shift, gboolean cosited)
{
  *axis = (Axis) { shift, { 0, 1, 0 } };
  if (shift > 0 && cosited)
    *axis = (Axis) { shift, { 0.25f, 0.5f, 0.25f } };
  else if (shift > 0)
    *axis = (Axis) { shift, { 0, 0.5f, 0.5f } };
}

CPSP_CLONES static void
add_bytes (float *restrict to, const guint8 * from, float scale, guint n)
{
  for (guint i = 0; i < n; i++)
    to[i] += from[i] * scale;
}

CPSP_CLONES static void
add_words (float *restrict to, const guint16 * from, float scale, guint n)
{
  for (guint i = 0; i < n; i++)
    to[i] += from[i] * scale;
}

// Adds SCALE times the weights of row Y from pixel X on, which may be outside.
static void
add_row (float *to, const CpspAlphaView * weight, gint x, gint y, float scale,
    guint n)
{
  gint row = CLAMP (y, 0, (gint) weight->height - 1);
  const guint8 *from = weight->data + (gssize) row * weight->stride_bytes;
  gint first = MAX (x, 0);
  gint last = MIN (x + (gint) n, (gint) weight->width);
  gboolean bytes = weight->format == CPSP_ALPHA_U8;
  float border[2];

  scale /= bytes ? 255 : 65535;
  if (bytes)
    add_bytes (to + first - x, from + first, scale, last - first);
  else
    add_words (to + first - x, (const guint16 *) from + first, scale,
        last - first);

  border[0] = bytes ? from[0] : ((const guint16 *) from)[0];
  border[1] = bytes ? from[weight->width - 1]
      : ((const guint16 *) from)[weight->width - 1];
  for (gint i = x; i < first; i++)
    to[i - x] += border[0] * scale;
  for (gint i = last; i < x + (gint) n; i++)
    to[i - x] += border[1] * scale;
}

CPSP_CLONES static void
halve_row (float *restrict to, const float *from, const float tap[3], guint n)
{
  float before = tap[0], first = tap[1], second = tap[2];

  for (guint i = 0; i < n; i++)
    to[i] = before * from[2 * i] + first * from[2 * i + 1]
        + second * from[2 * i + 2];
}

// Weights, of 0 to 1, of N samples, at most CHUNK, from (x, y) on.
static void
get_weights (float *to, const CpspAlphaView * weight, const Axis * across,
    const Axis * down, guint x, guint y, guint n)
{
  float pixels[2 * CHUNK + 1];
  float *sum = across->shift ? pixels : to;
  gint first = across->shift ? 2 * (gint) x - 1 : (gint) x;
  guint n_pixels = across->shift ? 2 * n + 1 : n;

  memset (sum, 0, n_pixels * sizeof (float));
  for (guint k = 0; k < 3; k++) {
    if (down->tap[k] > 0)
      add_row (sum, weight, first, (gint) (y << down->shift) + (gint) k - 1,
          down->tap[k], n_pixels);
  }
  if (across->shift)
    halve_row (to, sum, across->tap, n);
}

// Steps in elements; a colour's samples are within its depth, so the mixture
// is.
CPSP_CLONES static void
mix_bytes (guint8 * row, guint step, float color, const float *weight, guint n)
{
  for (guint i = 0; i < n; i++)
    row[i * step] =
        (gint) (color + weight[i] * (row[i * step] - color) + 0.5f);
}

CPSP_CLONES static void
mix_words (guint16 * row, guint step, float color, const float *weight,
    guint n)
{
  for (guint i = 0; i < n; i++)
    row[i * step] =
        (gint) (color + weight[i] * (row[i * step] - color) + 0.5f);
}

static inline __attribute__ ((always_inline)) guint32
mix_byte (guint32 pixel, guint shift, float color, float weight)
{
  gint value = (pixel >> shift) & 0xff;

  return (guint32) (gint) (color + weight * (value - color) + 0.5f) << shift;
}

CPSP_CLONES static void
mix_pixels (Pixel * row, const guint shift[3], const guint color[3],
    const float *weight, guint n)
{
  guint shift_a = shift[0], shift_b = shift[1], shift_c = shift[2];
  float a = color[0], b = color[1], c = color[2];
  guint32 alpha = ~(0xffu << shift_a | 0xffu << shift_b | 0xffu << shift_c);

  for (guint i = 0; i < n; i++)
    row[i] = (row[i] & alpha) | mix_byte (row[i], shift_a, a, weight[i])
        | mix_byte (row[i], shift_b, b, weight[i])
        | mix_byte (row[i], shift_c, c, weight[i]);
}

// N samples of each component from FIRST up to END, from (x, y) on.
static void
mix_chunk (GstVideoFrame * dst, guint first, guint end, guint x, guint y,
    const guint color[3], const float *weights, guint n)
{
  const GstVideoFormatInfo *format = dst->info.finfo;

  if (has_pixels (format)) {
    guint shift[3];

    for (guint c = 0; c < 3; c++)
      shift[c] = get_pixel_shift (format, c);
    mix_pixels ((Pixel *) ((guint8 *) GST_VIDEO_FRAME_PLANE_DATA (dst, 0)
            + (gssize) y * GST_VIDEO_FRAME_PLANE_STRIDE (dst, 0)) + x, shift,
        color, weights, n);
    return;
  }
  for (guint c = first; c < end; c++) {
    CpspComponent component;
    guint8 *at;

    gst_cascade_psp_component_init (&component, dst, c);
    at = (guint8 *) component.data + (gssize) y * component.stride_bytes
        + (gsize) x * component.step_bytes;
    if (component.wide)
      mix_words ((guint16 *) at, component.step_bytes / 2, color[c], weights,
          n);
    else
      mix_bytes (at, component.step_bytes, color[c], weights, n);
  }
}

// Components FIRST up to END, whose samples are at the same places.
static void
mix_components (GstVideoFrame * dst, guint first, guint end,
    const guint color[3], const CpspAlphaView * weight)
{
  const GstVideoFormatInfo *format = dst->info.finfo;
  GstVideoChromaSite site = GST_VIDEO_INFO_CHROMA_SITE (&dst->info);
  guint width = GST_VIDEO_FRAME_COMP_WIDTH (dst, first);
  guint height = GST_VIDEO_FRAME_COMP_HEIGHT (dst, first);
  Axis across, down;
  float weights[CHUNK];

  axis_init (&across, format->w_sub[first],
      site & GST_VIDEO_CHROMA_SITE_H_COSITED);
  axis_init (&down, format->h_sub[first],
      site & GST_VIDEO_CHROMA_SITE_V_COSITED);

  for (guint y = 0; y < height; y++) {
    for (guint x = 0; x < width; x += CHUNK) {
      guint n = MIN (width - x, CHUNK);

      get_weights (weights, weight, &across, &down, x, y, n);
      mix_chunk (dst, first, end, x, y, color, weights, n);
    }
  }
}

void
gst_cascade_psp_output_mix (GstVideoFrame * dst, GstCascadePspColor color,
    const CpspAlphaView * weight)
{
  const GstVideoFormatInfo *format = dst->info.finfo;
  guint end = format->w_sub[1] || format->h_sub[1] ? 1 : 3;
  guint sample[3];

  gst_cascade_psp_output_get_color (&dst->info, color, sample);
  mix_components (dst, 0, end, sample, weight);
  if (end < 3)
    mix_components (dst, end, 3, sample, weight);
}

/* The room */

void
gst_cascade_psp_output_init (GstCascadePspOutput * output)
{
  memset (output, 0, sizeof (*output));
  gst_video_info_init (&output->video_info);
  gst_video_info_init (&output->info);
}

void
gst_cascade_psp_output_clear (GstCascadePspOutput * output)
{
  g_free (output->alpha.data);
  g_free (output->scratch.data);
  cpsp_edge_free (output->edge);
  g_clear_pointer (&output->converter, gst_video_converter_free);
  gst_cascade_psp_output_init (output);
}

// NULL: GStreamer cannot convert this.
static GstVideoConverter *
make_converter (const GstVideoInfo * from, const GstVideoInfo * to)
{
  GstStructure *options = gst_structure_new_empty ("options");

  // What stays as it is need not pass through filters, nor be dithered on its
  // way through 16 bits.
  if (has_same_chroma (to->finfo, from->finfo))
    gst_structure_set (options, GST_VIDEO_CONVERTER_OPT_CHROMA_MODE,
        GST_TYPE_VIDEO_CHROMA_MODE, GST_VIDEO_CHROMA_MODE_NONE, NULL);
  if (is_same_family (to->finfo, from->finfo)
      && to->finfo->depth[0] >= from->finfo->depth[0])
    gst_structure_set (options, GST_VIDEO_CONVERTER_OPT_DITHER_METHOD,
        GST_TYPE_VIDEO_DITHER_METHOD, GST_VIDEO_DITHER_NONE, NULL);
  // GStreamer's short cut from UYVY to AYUV writes past rows of odd width, and
  // crashes. This keeps it from that, and means nothing without dithering.
  if (GST_VIDEO_INFO_FORMAT (from) == GST_VIDEO_FORMAT_UYVY
      && GST_VIDEO_INFO_FORMAT (to) == GST_VIDEO_FORMAT_AYUV)
    gst_structure_set (options, GST_VIDEO_CONVERTER_OPT_DITHER_QUANTIZATION,
        G_TYPE_UINT, 2, NULL);
  return gst_video_converter_new (from, to, options);
}

static gboolean
make_plane (CpspAlphaView * plane, const GstVideoInfo * info)
{
  guint depth = info->finfo->depth[0];

  plane->width = GST_VIDEO_INFO_WIDTH (info);
  plane->height = GST_VIDEO_INFO_HEIGHT (info);
  plane->format = depth == 8 ? CPSP_ALPHA_U8 : CPSP_ALPHA_U16;
  plane->stride_bytes = (gssize) plane->width * (depth == 8 ? 1 : 2);
  plane->data = g_try_malloc0_n (plane->stride_bytes, plane->height);
  return plane->data != NULL;
}

gboolean
gst_cascade_psp_output_set_info (GstCascadePspOutput * output,
    const GstVideoInfo * video_info, const GstVideoInfo * info,
    gboolean premultiplied, guint threads)
{
  gst_cascade_psp_output_clear (output);
  output->video_info = *video_info;
  output->info = *info;

  output->edge = cpsp_edge_new (GST_VIDEO_INFO_WIDTH (info), threads);
  if (!output->edge || !make_plane (&output->alpha, info)
      || !make_plane (&output->scratch, info))
    goto failed;

  if (gst_cascade_psp_output_is_alpha (info))
    return TRUE;
  if (!can_copy (info->finfo, video_info->finfo)) {
    output->converter = make_converter (video_info, info);
    if (!output->converter)
      goto failed;
  }
  if (premultiplied)
    GST_VIDEO_INFO_FLAG_SET (&output->info,
        GST_VIDEO_FLAG_PREMULTIPLIED_ALPHA);
  return TRUE;

failed:
  gst_cascade_psp_output_clear (output);
  return FALSE;
}

void
gst_cascade_psp_output_finish (GstCascadePspOutput * output,
    const CpspEdgeSettings * edge, GstVideoFrame * video, GstVideoFrame * dst)
{
  const CpspAlphaView *alpha = &output->alpha;

  if (edge && !cpsp_edge_settings_is_default (edge)) {
    cpsp_edge_apply (output->edge, edge, alpha, &output->scratch);
    alpha = &output->scratch;
  }
  gst_cascade_psp_output_fill (output, video, dst);
  gst_cascade_psp_output_write_alpha (dst, alpha);
  if (GST_VIDEO_INFO_FLAG_IS_SET (&output->info,
          GST_VIDEO_FLAG_PREMULTIPLIED_ALPHA))
    gst_cascade_psp_output_mix (dst, GST_CASCADE_PSP_BLACK, alpha);
}
