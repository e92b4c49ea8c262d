/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Buffers between elements: pools, and what a buffer made for a frame takes
 * over from it.
 */
#pragma once

#include <gst/video/video.h>

G_BEGIN_DECLS

// Settles QUERY, an ALLOCATION query answered by downstream, on one pool for
// frames of INFO: downstream's if it can be configured, else our own, with
// GstVideoMeta if downstream reads it. FALSE: no pool can be had.
gboolean gst_cascade_psp_decide_pool (GstQuery * query,
    const GstVideoInfo * info);

// Copies timestamps, flags and metas of VIDEO to OUTPUT, which shows the same
// moment: all metas but those of VIDEO's memory and, unless OUTPUT holds the
// picture too (WITH_PICTURE), those drawn over it.
void gst_cascade_psp_copy_description (GstBuffer * video, GstBuffer * output,
    gboolean with_picture);

G_END_DECLS
