/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether there is time to refine a frame, and how much. Arithmetic on times
 * in nanoseconds only: no clock is read here.
 */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

// Times without end, and times that nobody counts.
#define GST_CASCADE_PSP_FOR_EVER G_MAXINT64

// By when a frame must have left.
typedef struct
{
  GstClockTime start;           // the frame's, running time
  GstClockTime duration;        // the frame's; NONE: unknown
  GstClockTime now;             // running time; NONE: not live
  GstClockTime latency;         // upstream's, and the wait for a mask
  GstClockTime deadline;        // for the refinement
  GstClockTime reserve;         // what the rest of the work takes
  GstClockTime earliest;        // downstream takes nothing that starts before
                                // it in time; NONE: it takes everything
} GstCascadePspDue;

// The time that is left for the refinement of this frame; below 0: none, for
// so long. GST_CASCADE_PSP_FOR_EVER: nothing waits for the frame.
GstClockTimeDiff gst_cascade_psp_due_get_left (const GstCascadePspDue * due);

// The time that each frame's refinement may take of LEFT for the following
// ones to be in time too.
GstClockTimeDiff gst_cascade_psp_due_get_budget (const GstCascadePspDue * due,
    GstClockTimeDiff left);

// When a refinement that can be divided stops: when LEFT is over, and after
// half the time of one frame if the frame is late already: frames catch up.
// Even where frames have no time it is some: it must come to its end.
GstClockTimeDiff gst_cascade_psp_due_get_limit (const GstCascadePspDue * due,
    GstClockTimeDiff left);

// Whether a frame's refinement begins, where there may not be time for it.
//
// One that can be divided goes on in the time of later frames. It begins when
// it fits into its own frame's time; and when it does not, but only if leaving
// frames out does not help: if frames had no such time lately, however many
// before them were left out.
//
// One that cannot be divided, or of a frame that is late already, is let
// through once in a while: nothing must freeze for ever, and after a bad moment
// somebody must find out that refinements are fast again. After such an attempt
// that came in time the next frame may try too; after one that did not, the
// next one waits twice as long.
typedef struct
{
  GstClockTime since;           // running time of the last refinement; NONE
  GstClockTime patience;
  gboolean attempt;             // the last refinement was one
  GstClockTimeDiff most;        // time that frames had lately
} GstCascadePspPace;

void gst_cascade_psp_pace_init (GstCascadePspPace * pace);

// Whether to refine the frame that starts at START, with LEFT for it, if that
// takes COST (0: not known) and is DIVISIBLE or not.
gboolean gst_cascade_psp_pace_allows (GstCascadePspPace * pace,
    GstClockTime start, GstClockTimeDiff left, GstClockTime cost,
    gboolean divisible);

// The refinement that was allowed last is done, in time or not.
void gst_cascade_psp_pace_learn (GstCascadePspPace * pace, gboolean in_time);

// From when on frames are in time after downstream's QoS event: one that was
// shown at TIMESTAMP came DIFF too late (below 0: too early).
GstClockTime gst_cascade_psp_get_earliest (GstClockTime timestamp,
    GstClockTimeDiff diff, GstClockTime duration, gboolean live);

G_END_DECLS
