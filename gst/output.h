/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What leaves the element: the alpha by itself, or the video with it. The
 * room owns the plane that the engine writes. That plane stays as it is until
 * the engine writes it again, so one alpha can be put on several frames and
 * with other edge controls each time.
 *
 * The video's samples are copied where the format holds them as they are, and
 * converted by GstVideoConverter, dithering and all, where it does not. An
 * alpha that the video has itself is replaced. Its colours are taken to be
 * straight: caps do not say if they are not, and premultiplied ones would stay
 * multiplied by the old alpha.
 *
 * Alpha is never dithered, and of full range in every format, whatever the
 * range of the colours: 0 is background, the largest value foreground.
 */
#pragma once

#include <gst/video/video.h>

#include "refine/edge.h"

G_BEGIN_DECLS

// Calls F with each format but GRAY8, the first. Formats that hold a video
// equally well are preferred in this order.
#define GST_CASCADE_PSP_OUTPUT_FOREACH(F) \
  F (GRAY16_LE) \
  F (A420) \
  F (AV12) \
  F (AYUV) \
  F (VUYA) \
  F (RGBA) \
  F (BGRA) \
  F (ARGB) \
  F (ABGR) \
  F (GBRA) \
  F (A420_10LE) \
  F (A422_10LE) \
  F (A444_10LE) \
  F (GBRA_10LE) \
  F (GBRA_12LE) \
  F (AYUV64) \
  F (ARGB64) \
  F (ARGB64_LE) \
  F (RGBA64_LE) \
  F (BGRA64_LE) \
  F (ABGR64_LE) \
  GST_CASCADE_PSP_OUTPUT_FOREACH_1_24 (F)

#if GST_CHECK_VERSION (1, 24, 0)
#define GST_CASCADE_PSP_OUTPUT_FOREACH_1_24(F) \
  F (A422) \
  F (A444) \
  F (A420_12LE) \
  F (A422_12LE) \
  F (A444_12LE) \
  F (A420_16LE) \
  F (A422_16LE) \
  F (A444_16LE)
#else
#define GST_CASCADE_PSP_OUTPUT_FOREACH_1_24(F)
#endif

#define GST_CASCADE_PSP_OUTPUT_NEXT_NAME(format) ", " #format

// All formats, for a pad template's caps.
#define GST_CASCADE_PSP_OUTPUT_FORMATS \
  "{ GRAY8" \
  GST_CASCADE_PSP_OUTPUT_FOREACH (GST_CASCADE_PSP_OUTPUT_NEXT_NAME) " }"

// Colorimetry of an alpha by itself: full range.
#define GST_CASCADE_PSP_ALPHA_COLORIMETRY "1:4:0:0"

typedef struct
{
  GstVideoInfo video_info;
  // Of the frames written, with GST_VIDEO_FLAG_PREMULTIPLIED_ALPHA if so.
  GstVideoInfo info;
  // What the engine writes: U8 for formats of 8 bits, else U16. Zeros after
  // set_info().
  CpspAlphaView alpha;

  CpspAlphaView scratch;        // a plane like alpha, from call to call
  CpspEdge *edge;
  GstVideoConverter *converter; // NULL: the video's samples are copied
} GstCascadePspOutput;

void gst_cascade_psp_output_init (GstCascadePspOutput * output);
void gst_cascade_psp_output_clear (GstCascadePspOutput * output);

// The caps that a video of INFO can leave as, most preferred first: alpha
// alone, then what holds the video as it is, then what loses least. (transfer
// full)
//
// Size, framerate, pixel aspect ratio and interlacing are the video's.
// Colours keep the video's colorimetry as far as the format can; alpha alone
// is of full range, but has no colorimetry here: downstream may name any (as
// alphacombine needs), without other values.
GstCaps *gst_cascade_psp_output_get_caps (const GstVideoInfo * info);

// Prepares for frames of VIDEO_INFO that leave as INFO, whose caps are of
// get_caps(). PREMULTIPLIED: colours are multiplied by the alpha, towards
// black. THREADS: of the edge controls, 0: one per processor. FALSE: it cannot
// be converted, or no memory; OUTPUT is as after clear().
gboolean gst_cascade_psp_output_set_info (GstCascadePspOutput * output,
    const GstVideoInfo * video_info, const GstVideoInfo * info,
    gboolean premultiplied, guint threads);

// Writes DST (of output->info, mapped to read and write) from VIDEO (of
// output->video_info, mapped to read; NULL if the format is alpha alone) and
// output->alpha, which stays as it is, with the controls of EDGE applied
// (NULL: none). Frames are progressive, or one field each.
void gst_cascade_psp_output_finish (GstCascadePspOutput * output,
    const CpspEdgeSettings * edge, GstVideoFrame * video, GstVideoFrame * dst);

/* The steps of finish() */

typedef enum
{
  GST_CASCADE_PSP_BLACK,
  GST_CASCADE_PSP_GREEN,
  GST_CASCADE_PSP_RED,
  GST_CASCADE_PSP_MAGENTA,
} GstCascadePspColor;

// Whether INFO's format is alpha alone.
gboolean gst_cascade_psp_output_is_alpha (const GstVideoInfo * info);

// Writes the colours of DST, and anything as its alpha; nothing if DST has no
// colours.
void gst_cascade_psp_output_fill (GstCascadePspOutput * output,
    GstVideoFrame * video, GstVideoFrame * dst);

// Writes ALPHA, U8 or U16, as DST's alpha.
void gst_cascade_psp_output_write_alpha (GstVideoFrame * dst,
    const CpspAlphaView * alpha);

// Mixes COLOR into the colours of DST: WEIGHT, of 0 to 1, is what stays of
// them. A sample of subsampled chroma takes the mean of WEIGHT around it.
void gst_cascade_psp_output_mix (GstVideoFrame * dst, GstCascadePspColor color,
    const CpspAlphaView * weight);

// Samples of COLOR in a frame of INFO that has colours.
void gst_cascade_psp_output_get_color (const GstVideoInfo * info,
    GstCascadePspColor color, guint sample[3]);

G_END_DECLS
