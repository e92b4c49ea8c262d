/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pictures of what the element does, in any format of the output:
 *
 *   tiles        The output with the Local crops outlined: those that ran in
 *                green, those that did not fit into the budget in red; in
 *                alpha alone light and dark grey.
 *   uncertainty  The video, opaque, the more magenta the less sure the engine
 *                is; alpha alone is that doubt itself, 1 - |2 a - 1|.
 */
#pragma once

#include "output.h"
#include "refine/refiner.h"

G_BEGIN_DECLS

// Outlines the N CROPS in DST, a frame that output_finish() has written.
void gst_cascade_psp_preview_draw_tiles (GstVideoFrame * dst,
    const CpspCropReport * crops, guint n);

// In the place of output_finish(): writes DST from VIDEO and output->alpha,
// which stays as it is.
void gst_cascade_psp_preview_finish_uncertainty (GstCascadePspOutput * output,
    GstVideoFrame * video, GstVideoFrame * dst);

G_END_DECLS
