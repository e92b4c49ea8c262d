/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * GstVideo frames as the engine's views. A format whose samples are bytes or
 * 16-bit words at regular places is viewed where it lies; any other one
 * (packed bits, tiles, palettes, big-endian words) is first unpacked to such
 * a format of at least its depth and of the same colorimetry.
 */
#pragma once

#include <gst/video/video.h>

#include "refine/image.h"

G_BEGIN_DECLS

typedef struct
{
  GstVideoInfo info;            // of the frames
  // Unpacks a frame into `unpacked`; NULL: frames are viewed where they lie.
  GstVideoConverter *converter;
  GstVideoInfo unpacked_info;
  GstBuffer *unpacked_buffer;
  GstVideoFrame unpacked;       // mapped as long as there is a converter
  GstVideoFrame frame;          // mapped from map to unmap
  CpspImageView image;          // all but the places of the samples
} GstCascadePspFrameView;

// Maps BUFFER, of INFO, for reading, as gst_video_frame_map() does. That takes
// a GstVideoMeta at its word: here a buffer that is too small for what the
// meta says cannot be read.
gboolean gst_cascade_psp_map_frame (GstVideoFrame * frame,
    const GstVideoInfo * info, GstBuffer * buffer);

void gst_cascade_psp_frame_view_init (GstCascadePspFrameView * view);
void gst_cascade_psp_frame_view_clear (GstCascadePspFrameView * view);

// Prepares for frames of INFO. FALSE: the format cannot be read.
gboolean gst_cascade_psp_frame_view_set_info (GstCascadePspFrameView * view,
    const GstVideoInfo * info);

// Maps BUFFER and describes it in IMAGE, which is valid until unmap; the alpha
// of a format that has one becomes OWN_MASK, which stays as it is without one.
// FALSE, and nothing is mapped: its memory cannot be read.
gboolean gst_cascade_psp_frame_view_map (GstCascadePspFrameView * view,
    GstBuffer * buffer, CpspImageView * image, CpspMaskView * own_mask);
void gst_cascade_psp_frame_view_unmap (GstCascadePspFrameView * view);

// Whether the samples of FORMAT's colours are bytes or 16-bit little-endian
// words at regular places, and GStreamer's table tells the truth about them.
gboolean gst_cascade_psp_format_is_regular (const GstVideoFormatInfo * format);

// Describes where component C of FRAME, of a regular format, lies.
void gst_cascade_psp_component_init (CpspComponent * component,
    const GstVideoFrame * frame, guint c);

// Describes FRAME, a mapped mask of format GRAY8 or GRAY16_LE, in MASK; WIDTH
// and HEIGHT are those of its caps.
void gst_cascade_psp_mask_view_init (CpspMaskView * mask,
    const GstVideoFrame * frame, guint width, guint height);

// Draws MASK, stretched over ALPHA as the refiner stretches it and cut at
// THRESHOLD: the mask as it is when there is no time to refine it.
void gst_cascade_psp_mask_view_draw (const CpspMaskView * mask,
    double threshold, const CpspAlphaView * alpha);

#define GST_CASCADE_PSP_MAX_REGIONS 32

// Copies the rectangles of BUFFER's GstVideoRegionOfInterestMetas to REGIONS,
// GST_CASCADE_PSP_MAX_REGIONS at most: of more, the last one is around the
// rest. Returns how many.
guint gst_cascade_psp_find_regions (GstBuffer * buffer, CpspRect * regions);

G_END_DECLS
