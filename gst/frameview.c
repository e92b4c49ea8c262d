/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "frameview.h"

// More than any frame has.
#define REGION_MAX G_MAXINT16

#if G_BYTE_ORDER != G_LITTLE_ENDIAN
#error "The views' 16-bit words are native, the formats' are little-endian."
#endif

// Whether the component's samples are bytes or little-endian words.
static gboolean
component_is_regular (const GstVideoFormatInfo * format, guint c)
{
  if (format->pixel_stride[c] <= 0)
    return FALSE;
  if (format->depth[c] > 8)
    return GST_VIDEO_FORMAT_INFO_IS_LE (format)
        && format->shift[c] + format->depth[c] <= 16;
  return format->depth[c] == 8 && format->shift[c] == 0;
}

// Some entries of GStreamer's table (Y212, RGB10A2...) put all components in
// the same place: they cannot be right.
static gboolean
components_share_a_place (const GstVideoFormatInfo * format, guint a, guint b)
{
  return format->plane[a] == format->plane[b]
      && format->poffset[a] == format->poffset[b];
}

static guint
count_components (const GstVideoFormatInfo * format)
{
  return GST_VIDEO_FORMAT_INFO_IS_GRAY (format) ? 1 : 3;
}

// Whether the view reads component C: the picture's, and alpha.
static gboolean
is_read (const GstVideoFormatInfo * format, guint c)
{
  return c < count_components (format)
      || (c == GST_VIDEO_COMP_A && GST_VIDEO_FORMAT_INFO_HAS_ALPHA (format));
}

gboolean
gst_cascade_psp_format_is_regular (const GstVideoFormatInfo * format)
{
  if (GST_VIDEO_FORMAT_INFO_IS_COMPLEX (format)
      || GST_VIDEO_FORMAT_INFO_IS_TILED (format)
      || GST_VIDEO_FORMAT_INFO_HAS_PALETTE (format))
    return FALSE;
  // The table has its U and V the wrong way round.
  if (GST_VIDEO_FORMAT_INFO_FORMAT (format) == GST_VIDEO_FORMAT_VYUY)
    return FALSE;

  for (guint c = 0; c < GST_VIDEO_FORMAT_INFO_N_COMPONENTS (format); c++) {
    if (!is_read (format, c))
      continue;
    if (!component_is_regular (format, c))
      return FALSE;
    for (guint other = 0; other < c; other++) {
      if (components_share_a_place (format, c, other))
        return FALSE;
    }
  }
  return TRUE;
}

// The regular format that holds every frame of FORMAT without loss.
static GstVideoFormat
unpacked_format (const GstVideoFormatInfo * format)
{
  if (GST_VIDEO_FORMAT_INFO_IS_GRAY (format))
    return GST_VIDEO_FORMAT_GRAY16_LE;
  if (!GST_VIDEO_FORMAT_INFO_IS_YUV (format))
    return GST_VIDEO_FORMAT_ARGB64_LE;
  return GST_VIDEO_FORMAT_INFO_HAS_ALPHA (format) ?
      GST_VIDEO_FORMAT_AYUV64 : GST_VIDEO_FORMAT_Y444_16LE;
}

void
gst_cascade_psp_component_init (CpspComponent * component,
    const GstVideoFrame * frame, guint c)
{
  const GstVideoFormatInfo *format = frame->info.finfo;
  gboolean wide = format->depth[c] > 8;
  guint offset_bytes = format->poffset[c];

  // P010 and its kin: GStreamer's table counts this offset in samples.
  if (wide && offset_bytes % 2)
    offset_bytes *= 2;

  component->data = (const guint8 *) GST_VIDEO_FRAME_COMP_DATA (frame, c)
      - format->poffset[c] + offset_bytes;
  component->stride_bytes = GST_VIDEO_FRAME_COMP_STRIDE (frame, c);
  component->step_bytes = format->pixel_stride[c];
  component->wide = wide;
  component->shift = format->shift[c];
  component->depth = format->depth[c];
}

static void
describe_chroma (CpspImageView * image, const GstVideoInfo * info)
{
  GstVideoChromaSite site = GST_VIDEO_INFO_CHROMA_SITE (info);

  if (image->n_components < 3)
    return;

  image->chroma_shift_x = GST_VIDEO_FORMAT_INFO_W_SUB (info->finfo, 1);
  image->chroma_shift_y = GST_VIDEO_FORMAT_INFO_H_SUB (info->finfo, 1);

  if (!(site & GST_VIDEO_CHROMA_SITE_H_COSITED))
    image->chroma_x = ((1 << image->chroma_shift_x) - 1) / 2.f;
  if (!(site & GST_VIDEO_CHROMA_SITE_V_COSITED))
    image->chroma_y = ((1 << image->chroma_shift_y) - 1) / 2.f;
}

// Components normalised to [0, 1], chroma to [-0.5, 0.5], to RGB.
static void
get_rgb_matrix (const GstVideoInfo * info, gdouble matrix[3][3])
{
  const GstVideoFormatInfo *format = info->finfo;
  gdouble kr, kb, kg;

  memset (matrix, 0, 9 * sizeof (gdouble));

  if (GST_VIDEO_FORMAT_INFO_IS_RGB (format)) {
    matrix[0][0] = matrix[1][1] = matrix[2][2] = 1;
    return;
  }

  matrix[0][0] = matrix[1][0] = matrix[2][0] = 1;
  if (GST_VIDEO_FORMAT_INFO_IS_GRAY (format))
    return;

  if (!gst_video_color_matrix_get_Kr_Kb (info->colorimetry.matrix, &kr, &kb)) {
    GstVideoInfo usual;

    gst_video_info_set_format (&usual, GST_VIDEO_INFO_FORMAT (info),
        GST_VIDEO_INFO_WIDTH (info), GST_VIDEO_INFO_HEIGHT (info));
    gst_video_color_matrix_get_Kr_Kb (usual.colorimetry.matrix, &kr, &kb);
  }
  kg = 1 - kr - kb;
  matrix[0][2] = 2 * (1 - kr);
  matrix[1][1] = -2 * (1 - kb) * kb / kg;
  matrix[1][2] = -2 * (1 - kr) * kr / kg;
  matrix[2][1] = 2 * (1 - kb);
}

static void
describe_colors (CpspImageView * image, const GstVideoInfo * info)
{
  gdouble matrix[3][3];
  gint offset[GST_VIDEO_MAX_COMPONENTS], scale[GST_VIDEO_MAX_COMPONENTS];

  get_rgb_matrix (info, matrix);
  gst_video_color_range_offsets (info->colorimetry.range, info->finfo, offset,
      scale);

  for (guint i = 0; i < 3; i++) {
    gdouble sum = 0;

    for (guint j = 0; j < image->n_components; j++) {
      image->matrix[i][j] = matrix[i][j] / scale[j];
      sum -= matrix[i][j] * offset[j] / scale[j];
    }
    image->offset[i] = sum;
  }
}

// Caps that name no chroma site mean the usual one of their height. Infos read
// from caps have that, but those of gst_video_info_set_format() have it with
// GStreamer 1.22 and an unknown site with 1.26, which the converter takes for
// no cositing at any height. So the caps' rule is asked for here, of GStreamer.
static void
settle_chroma_site (GstVideoInfo * info)
{
  GstVideoInfo usual;
  GstCaps *caps;

  if (!GST_VIDEO_INFO_IS_YUV (info)
      || GST_VIDEO_INFO_CHROMA_SITE (info) != GST_VIDEO_CHROMA_SITE_UNKNOWN)
    return;

  caps = gst_video_info_to_caps (info);
  if (!caps)
    return;
  if (gst_video_info_from_caps (&usual, caps))
    info->chroma_site = usual.chroma_site;
  gst_caps_unref (caps);
}

static gboolean
set_up_converter (GstCascadePspFrameView * view)
{
  const GstVideoInfo *info = &view->info;
  GstVideoInfo *unpacked = &view->unpacked_info;

  gst_video_info_set_format (unpacked, unpacked_format (info->finfo),
      GST_VIDEO_INFO_WIDTH (info), GST_VIDEO_INFO_HEIGHT (info));
  unpacked->colorimetry = info->colorimetry;
  unpacked->chroma_site = info->chroma_site;
  unpacked->fps_n = info->fps_n;
  unpacked->fps_d = info->fps_d;

  view->converter = gst_video_converter_new (info, unpacked,
      gst_structure_new ("options",
          GST_VIDEO_CONVERTER_OPT_DITHER_METHOD, GST_TYPE_VIDEO_DITHER_METHOD,
          GST_VIDEO_DITHER_NONE, NULL));
  if (!view->converter)
    return FALSE;

  view->unpacked_buffer =
      gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (unpacked), NULL);
  return view->unpacked_buffer
      && gst_video_frame_map (&view->unpacked, unpacked, view->unpacked_buffer,
      GST_MAP_READWRITE);
}

// Whether the samples of component C lie within what is mapped. Of packed bits
// and tiles only the part that has a fixed place is looked at.
static gboolean
component_is_mapped (const GstVideoFrame * frame, const GstVideoInfo * info,
    guint c)
{
  const GstVideoFormatInfo *format = info->finfo;
  guint plane = format->plane[c];
  const GstMapInfo *map = &frame->map[plane];
  gint64 width = GST_VIDEO_FORMAT_INFO_SCALE_WIDTH (format, c, info->width);
  gint64 height = GST_VIDEO_FORMAT_INFO_SCALE_HEIGHT (format, c, info->height);
  gint64 last_row = (height - 1) * frame->info.stride[plane];
  gint64 start = (guint8 *) frame->data[plane] - map->data;
  gint64 row_bytes = format->poffset[c]
      + (width - 1) * MAX (format->pixel_stride[c], 0)
      + (format->depth[c] > 8 ? 2 : 1);

  return start + MIN (last_row, 0) >= 0
      && start + MAX (last_row, 0) + row_bytes <= (gint64) map->size;
}

gboolean
gst_cascade_psp_map_frame (GstVideoFrame * frame, const GstVideoInfo * info,
    GstBuffer * buffer)
{
  if (!gst_video_frame_map (frame, info, buffer, GST_MAP_READ))
    return FALSE;
  // Without a meta GStreamer looks itself.
  for (guint c = 0; frame->meta
      && c < GST_VIDEO_FORMAT_INFO_N_COMPONENTS (info->finfo); c++) {
    if (!component_is_mapped (frame, info, c)) {
      gst_video_frame_unmap (frame);
      return FALSE;
    }
  }
  return TRUE;
}

void
gst_cascade_psp_frame_view_init (GstCascadePspFrameView * view)
{
  memset (view, 0, sizeof (*view));
  gst_video_info_init (&view->info);
}

void
gst_cascade_psp_frame_view_clear (GstCascadePspFrameView * view)
{
  if (view->unpacked.buffer)
    gst_video_frame_unmap (&view->unpacked);
  gst_clear_buffer (&view->unpacked_buffer);
  g_clear_pointer (&view->converter, gst_video_converter_free);
  gst_cascade_psp_frame_view_init (view);
}

gboolean
gst_cascade_psp_frame_view_set_info (GstCascadePspFrameView * view,
    const GstVideoInfo * info)
{
  const GstVideoInfo *viewed = &view->info;

  gst_cascade_psp_frame_view_clear (view);
  view->info = *info;
  settle_chroma_site (&view->info);

  if (!gst_cascade_psp_format_is_regular (info->finfo)) {
    if (!set_up_converter (view)) {
      gst_cascade_psp_frame_view_clear (view);
      return FALSE;
    }
    viewed = &view->unpacked_info;
  }

  view->image.width = GST_VIDEO_INFO_WIDTH (viewed);
  view->image.height = GST_VIDEO_INFO_HEIGHT (viewed);
  view->image.n_components = count_components (viewed->finfo);
  describe_chroma (&view->image, viewed);
  describe_colors (&view->image, viewed);
  return TRUE;
}

// Describes component C of FRAME as a mask of WIDTH x HEIGHT.
static void
describe_mask (CpspMaskView * mask, const GstVideoFrame * frame, guint c,
    guint width, guint height)
{
  gint offset[GST_VIDEO_MAX_COMPONENTS], scale[GST_VIDEO_MAX_COMPONENTS];

  gst_video_color_range_offsets (frame->info.colorimetry.range,
      frame->info.finfo, offset, scale);
  // Alpha has no range but the full one.
  if (c == GST_VIDEO_COMP_A) {
    offset[c] = 0;
    scale[c] = (1 << frame->info.finfo->depth[c]) - 1;
  }

  mask->width = width;
  mask->height = height;
  gst_cascade_psp_component_init (&mask->component, frame, c);
  mask->scale = 1.f / scale[c];
  mask->offset = -(float) offset[c] / scale[c];
}

gboolean
gst_cascade_psp_frame_view_map (GstCascadePspFrameView * view,
    GstBuffer * buffer, CpspImageView * image, CpspMaskView * own_mask)
{
  const GstVideoFrame *viewed = &view->frame;

  if (!gst_cascade_psp_map_frame (&view->frame, &view->info, buffer))
    return FALSE;

  if (view->converter) {
    gst_video_converter_frame (view->converter, &view->frame, &view->unpacked);
    viewed = &view->unpacked;
  }

  *image = view->image;
  for (guint c = 0; c < image->n_components; c++)
    gst_cascade_psp_component_init (&image->component[c], viewed, c);
  if (GST_VIDEO_INFO_HAS_ALPHA (&view->info))
    describe_mask (own_mask, viewed, GST_VIDEO_COMP_A, image->width,
        image->height);
  return TRUE;
}

void
gst_cascade_psp_frame_view_unmap (GstCascadePspFrameView * view)
{
  gst_video_frame_unmap (&view->frame);
}

void
gst_cascade_psp_mask_view_init (CpspMaskView * mask,
    const GstVideoFrame * frame, guint width, guint height)
{
  describe_mask (mask, frame, 0, width, height);
}

// The sample before place I of N, and how far towards the next one it is.
static guint
find_sample (guint i, guint n, guint n_samples, float *share)
{
  float place = (i + 0.5f) * n_samples / n - 0.5f;
  guint sample;

  place = CLAMP (place, 0, n_samples - 1);
  sample = MIN ((guint) place, MAX (n_samples, 2) - 2);
  *share = place - sample;
  return sample;
}

static void
read_mask_row (const CpspMaskView * mask, guint y, float weight, float *line)
{
  const CpspComponent *component = &mask->component;
  const guint8 *place = component->data + (gssize) y * component->stride_bytes;
  guint all = (1u << component->depth) - 1;

  for (guint x = 0; x < mask->width; x++, place += component->step_bytes) {
    guint word = component->wide ? *(const guint16 *) place : *place;

    word = (word >> component->shift) & all;
    line[x] += weight * (mask->scale * word + mask->offset);
  }
}

void
gst_cascade_psp_mask_view_draw (const CpspMaskView * mask, double threshold,
    const CpspAlphaView * alpha)
{
  // The row's samples above and below, mixed; the last one twice.
  float *line = g_new (float, mask->width + 1);

  for (guint y = 0; y < alpha->height; y++) {
    guint8 *row = alpha->data + (gssize) y * alpha->stride_bytes;
    float share;
    guint sample = find_sample (y, alpha->height, mask->height, &share);

    memset (line, 0, mask->width * sizeof (float));
    read_mask_row (mask, sample, 1 - share, line);
    if (share > 0)
      read_mask_row (mask, sample + 1, share, line);
    line[mask->width] = line[mask->width - 1];

    for (guint x = 0; x < alpha->width; x++) {
      gboolean in;

      sample = find_sample (x, alpha->width, mask->width, &share);
      in = line[sample] + share * (line[sample + 1] - line[sample]) > threshold;
      if (alpha->format == CPSP_ALPHA_U8)
        row[x] = in ? 0xff : 0;
      else
        ((guint16 *) row)[x] = in ? 0xffff : 0;
    }
  }
  g_free (line);
}

static void
enlarge (CpspRect * rect, const CpspRect * other)
{
  gint x = MIN (rect->x, other->x), y = MIN (rect->y, other->y);

  rect->width = MAX (rect->x + rect->width, other->x + other->width) - x;
  rect->height = MAX (rect->y + rect->height, other->y + other->height) - y;
  rect->x = x;
  rect->y = y;
}

guint
gst_cascade_psp_find_regions (GstBuffer * buffer, CpspRect * regions)
{
  guint n = 0;
  gpointer state = NULL;
  GstMeta *meta;

  while ((meta = gst_buffer_iterate_meta_filtered (buffer, &state,
              GST_VIDEO_REGION_OF_INTEREST_META_API_TYPE))) {
    const GstVideoRegionOfInterestMeta *roi =
        (const GstVideoRegionOfInterestMeta *) meta;
    // Numbers that no frame reaches must not overflow.
    CpspRect region = {
      .x = MIN (roi->x, REGION_MAX),
      .y = MIN (roi->y, REGION_MAX),
      .width = MIN (roi->w, REGION_MAX),
      .height = MIN (roi->h, REGION_MAX),
    };

    if (n < GST_CASCADE_PSP_MAX_REGIONS)
      regions[n++] = region;
    else
      enlarge (&regions[n - 1], &region);
  }
  return n;
}
