/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which mask belongs to a frame. Frames and masks are compared by running
 * time, each with its own pad's segment; the order in which the two streams
 * arrive plays no part unless a live pipeline's deadline passes.
 *
 * Everything here runs in the aggregator's source pad task.
 */
#pragma once

#include <gst/base/gstaggregator.h>
#include <gst/video/video.h>

G_BEGIN_DECLS

// Running time from `start` up to, not including, `end`. end is
// GST_CLOCK_TIME_NONE where neither the buffer nor its caps tell.
typedef struct
{
  GstClockTime start, end;
  GstClockTime stream_time;     // of the buffer's timestamp; NONE: that lies
                                // before its segment
} GstCascadePspSpan;

typedef enum
{
  GST_CASCADE_PSP_TIMED,
  GST_CASCADE_PSP_OUTSIDE,      // of the segment, or of one that was flushed
                                // just now: not to be shown
  GST_CASCADE_PSP_UNTIMED,      // no timestamp, or not a TIME segment
} GstCascadePspTiming;

// The span of BUFFER, the next one on PAD, whose caps say INFO. SPAN is set
// if it is TIMED.
GstCascadePspTiming gst_cascade_psp_get_span (GstAggregatorPad * pad,
    GstBuffer * buffer, const GstVideoInfo * info, GstCascadePspSpan * span);

typedef enum
{
  GST_CASCADE_PSP_MASK_WAIT,    // a later mask could be this frame's
  GST_CASCADE_PSP_MASK_PRESENT, // track->buffer is the frame's mask
  GST_CASCADE_PSP_MASK_MISSING, // none: track->buffer is another one or NULL
  GST_CASCADE_PSP_MASK_UNTIMED, // a mask without a timestamp: an error
  GST_CASCADE_PSP_MASK_UNKNOWN, // a mask without caps: an error
} GstCascadePspMaskState;

typedef struct
{
  GstAggregatorPad *pad;        // a reference; NULL: no masks come
  GstVideoInfo info;            // of masks to come, from the pad's caps;
                                // format UNKNOWN: none, or refused
  GstBuffer *buffer;            // the mask in hand, NULL: none yet
  GstVideoInfo buffer_info;     // its caps: the pad's may have changed since
  GstCascadePspSpan span;       // when it is in force
  gboolean ended;               // by a gap
} GstCascadePspMaskTrack;

void gst_cascade_psp_mask_track_init (GstCascadePspMaskTrack * track);
// From where masks come from now on: PAD (nullable). The mask in hand stays.
void gst_cascade_psp_mask_track_set_pad (GstCascadePspMaskTrack * track,
    GstAggregatorPad * pad);
// Forgets the mask in hand.
void gst_cascade_psp_mask_track_clear (GstCascadePspMaskTrack * track);

// Finds the mask of FRAME:
// - a mask is in force over its span, or until the next one if its end is
//   unknown; a gap ends it, one for lost data extends it;
// - of the mask in force when the frame starts and the first one that starts
//   within the frame, the frame's is the one whose start is nearer. Nothing
//   is known to start within a frame whose end is unknown;
// - before the first mask, that one is in hand if it is known, but missing.
// WAIT is returned only if the answer can still change and FINAL is FALSE.
// Calls must come with rising FRAME starts; the same one may come again.
GstCascadePspMaskState
gst_cascade_psp_mask_track_select (GstCascadePspMaskTrack * track,
    const GstCascadePspSpan * frame, gboolean final);

// For how long the mask in hand has not been in force when FRAME starts, or
// will not be; 0: it is.
GstClockTime
gst_cascade_psp_mask_track_get_distance (const GstCascadePspMaskTrack * track,
    const GstCascadePspSpan * frame);

G_END_DECLS
