/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the element tells about itself: the `stats` property, the message for
 * a frame, and QoS messages. Nothing here locks or posts.
 */
#pragma once

#include <gst/gst.h>

#include "refine/refiner.h"

G_BEGIN_DECLS

// What became of a frame.
typedef enum
{
  GST_CASCADE_PSP_REFINED,
  GST_CASCADE_PSP_REPEATED,     // the last alpha once more
  GST_CASCADE_PSP_COARSE,       // the mask as it is
  GST_CASCADE_PSP_PASSED,       // opaque, or with the alpha that it had
  GST_CASCADE_PSP_DROPPED,      // a GAP event in its place
} GstCascadePspFate;

// One frame.
typedef struct
{
  GstCascadePspFate fate;
  GstClockTime running_time, stream_time, timestamp, duration;
  gboolean missing;             // there was no mask for it
  GstClockTimeDiff mask_age;    // its start minus its mask's, if it has one
  gboolean overloaded;          // there was not enough time for all of it
  double quality;               // 1: nothing left out; 0: not refined
  gboolean live;
  GstClockTimeDiff jitter;      // > 0: it left so much too late
  CpspStats stats;              // of the refinement, zeros if there was none
} GstCascadePspFrameReport;

// Since start.
typedef struct
{
  guint64 frames;
  guint64 fates[GST_CASCADE_PSP_DROPPED + 1];
  guint64 resumed;              // of those repeated: with an alpha just made
  guint64 degraded;
  guint64 late;
  guint64 missing_masks;
  GstCascadePspFrameReport last;        // frame
  GstCascadePspFrameReport last_refined;
  double proportion;            // mean: time that refining everything would
                                // take, per duration of a frame
  gsize memory_bytes;
  GstClockTime latency;         // own, declared
  char *model, *device;
  const char *precision;
} GstCascadePspReport;

// How much was done, of 0 to 1, of what SETTINGS ask for with a frame of
// LONG_SIDE pixels: by area of the Global step; the Local step counts half.
double gst_cascade_psp_get_quality (const CpspSettings * settings,
    guint long_side, const CpspStats * stats);

void gst_cascade_psp_report_clear (GstCascadePspReport * report);

void gst_cascade_psp_report_add (GstCascadePspReport * report,
    const GstCascadePspFrameReport * frame);

// (transfer full)
GstStructure *gst_cascade_psp_report_to_structure (const GstCascadePspReport *
    report);
GstStructure *gst_cascade_psp_frame_report_to_structure (const
    GstCascadePspFrameReport * frame);

// (transfer full) The QoS message of SRC for the frame that was just added.
GstMessage *gst_cascade_psp_report_make_qos (const GstCascadePspReport *
    report, GstObject * src);

G_END_DECLS
