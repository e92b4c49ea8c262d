/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * GAP events between a GstAggregator's pads: it makes them empty buffers, and
 * an empty buffer becomes one again when it leaves. That way a gap keeps its
 * place, and what must come before it (caps, segment) does: GStreamer 1.22's
 * base class has no other means to send them.
 */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

// Whether BUFFER stands for a GAP event.
gboolean gst_cascade_psp_gap_is (GstBuffer * buffer);

// Whether that event said that its data was lost on the way.
gboolean gst_cascade_psp_gap_is_missing_data (GstBuffer * buffer);

// (transfer full) A gap over the time of BUFFER. MISSING_DATA: compositors show
// the last frame once more.
GstBuffer *gst_cascade_psp_gap_new (GstBuffer * buffer, gboolean missing_data);

// From now on, gaps pushed on the source pad PAD leave as events.
void gst_cascade_psp_gap_watch (GstPad * pad);

G_END_DECLS
