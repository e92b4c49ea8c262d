/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "deadline.h"

#define PATIENCE_MIN (1 * GST_SECOND)
#define PATIENCE_MAX (8 * GST_SECOND)
// Of the time that frames had lately, what is forgotten with each frame.
#define FORGOTTEN(most) ((most) / 64)
// What a late frame's refinement may take at least, but no more than this of a
// frame.
#define LATE_LIMIT (10 * GST_MSECOND)
#define LATE_SHARE(duration) ((duration) / 4)

GstClockTimeDiff
gst_cascade_psp_due_get_left (const GstCascadePspDue * due)
{
  GstClockTimeDiff left = GST_CASCADE_PSP_FOR_EVER;

  if (GST_CLOCK_TIME_IS_VALID (due->now))
    left = GST_CLOCK_DIFF (due->now + due->reserve,
        due->start + due->latency + due->deadline);
  if (GST_CLOCK_TIME_IS_VALID (due->earliest) && due->start < due->earliest)
    left = MIN (left, GST_CLOCK_DIFF (due->earliest, due->start));
  return left;
}

GstClockTimeDiff
gst_cascade_psp_due_get_budget (const GstCascadePspDue * due,
    GstClockTimeDiff left)
{
  GstClockTimeDiff budget = due->deadline;

  if (left == GST_CASCADE_PSP_FOR_EVER)
    return left;
  if (GST_CLOCK_TIME_IS_VALID (due->duration))
    budget = MIN (budget, GST_CLOCK_DIFF (due->reserve, due->duration));
  return CLAMP (budget, 0, MAX (left, 0));
}

GstClockTimeDiff
gst_cascade_psp_due_get_limit (const GstCascadePspDue * due,
    GstClockTimeDiff left)
{
  GstClockTimeDiff budget =
      gst_cascade_psp_due_get_budget (due, GST_CASCADE_PSP_FOR_EVER - 1);

  if (left > 0)
    return left;
  // An unknown duration is the largest of times.
  return MAX (budget / 2, (GstClockTimeDiff) MIN (LATE_LIMIT,
          LATE_SHARE (due->duration)));
}

void
gst_cascade_psp_pace_init (GstCascadePspPace * pace)
{
  pace->since = GST_CLOCK_TIME_NONE;
  pace->patience = PATIENCE_MIN;
  pace->attempt = FALSE;
  pace->most = 0;
}

gboolean
gst_cascade_psp_pace_allows (GstCascadePspPace * pace, GstClockTime start,
    GstClockTimeDiff left, GstClockTime cost, gboolean divisible)
{
  GstClockTime patience = pace->patience;
  gboolean fits = left > 0 && (GstClockTime) left >= cost;
  gboolean attempt = !fits && (left <= 0 || !divisible);

  if (left != GST_CASCADE_PSP_FOR_EVER)
    pace->most = MAX (left, pace->most - FORGOTTEN (pace->most));
  if (!fits && !attempt && cost <= (GstClockTime) pace->most)
    return FALSE;
  if (attempt) {
    // What is late already cannot come in time.
    if (left <= 0)
      patience = MAX (patience, PATIENCE_MIN);
    if (!GST_CLOCK_TIME_IS_VALID (pace->since))
      pace->since = start;
    if (start < pace->since + patience)
      return FALSE;
  }
  pace->since = start;
  pace->attempt = attempt;
  return TRUE;
}

void
gst_cascade_psp_pace_learn (GstCascadePspPace * pace, gboolean in_time)
{
  if (!pace->attempt)
    pace->patience = PATIENCE_MIN;
  else if (in_time)
    pace->patience = 0;
  else
    pace->patience = CLAMP (2 * pace->patience, PATIENCE_MIN, PATIENCE_MAX);
}

GstClockTime
gst_cascade_psp_get_earliest (GstClockTime timestamp, GstClockTimeDiff diff,
    GstClockTime duration, gboolean live)
{
  if (!GST_CLOCK_TIME_IS_VALID (timestamp))
    return GST_CLOCK_TIME_NONE;
  // What is late by DIFF now is not in time soon unless frames are skipped
  // until it is; live, the clock skips them.
  if (diff > 0 && !live) {
    diff *= 2;
    if (GST_CLOCK_TIME_IS_VALID (duration))
      diff += duration;
  }
  return diff < 0 && (GstClockTime) -diff > timestamp ? 0 : timestamp + diff;
}
