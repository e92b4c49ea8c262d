/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether there is time for a frame.
 */
#include <gst/check/gstcheck.h>

#include "gst/deadline.h"

#define MS(n) ((GstClockTimeDiff) (n) * (GstClockTimeDiff) GST_MSECOND)
#define FOR_EVER GST_CASCADE_PSP_FOR_EVER

static GstCascadePspDue
make_due (GstClockTime now)
{
  GstCascadePspDue due = {
    .start = MS (1000),.duration = MS (40),.now = now,.latency = MS (45),
    .deadline = MS (40),.reserve = MS (5),.earliest = GST_CLOCK_TIME_NONE,
  };

  return due;
}

static void
check (const GstCascadePspDue * due, GstClockTimeDiff left,
    GstClockTimeDiff budget)
{
  GstClockTimeDiff got = gst_cascade_psp_due_get_left (due);

  fail_unless_equals_int64 (got, left);
  fail_unless_equals_int64 (gst_cascade_psp_due_get_budget (due, got), budget);
}

GST_START_TEST (test_due)
{
  GstCascadePspDue due = make_due (GST_CLOCK_TIME_NONE);

  check (&due, FOR_EVER, FOR_EVER);
  // The frame's mask came with it: 1085 - 5 is when it must be refined.
  due = make_due (MS (1000));
  check (&due, MS (80), MS (35));
  // The mask came in the last moment.
  due = make_due (MS (1045));
  check (&due, MS (35), MS (35));
  due = make_due (MS (1079));
  check (&due, MS (1), MS (1));
  due = make_due (MS (1100));
  check (&due, MS (-20), 0);

  // A longer deadline does not make the mean longer,
  due = make_due (MS (1000));
  due.deadline = MS (200);
  check (&due, MS (240), MS (35));
  // unless nobody knows when the next frame comes.
  due.duration = GST_CLOCK_TIME_NONE;
  check (&due, MS (240), MS (200));
  // A shorter one is kept.
  due = make_due (MS (1000));
  due.deadline = MS (10);
  check (&due, MS (50), MS (10));

  // All that is left is the limit, and half a frame's time if nothing is.
  due = make_due (MS (1000));
  fail_unless_equals_int64 (gst_cascade_psp_due_get_limit (&due, MS (80)),
      MS (80));
  fail_unless_equals_int64 (gst_cascade_psp_due_get_limit (&due, MS (-20)),
      MS (35) / 2);
  // Some time even where the rest of the work takes all of it.
  due.reserve = MS (50);
  fail_unless_equals_int64 (gst_cascade_psp_due_get_limit (&due, MS (-20)),
      MS (10));
  due.duration = MS (8);
  fail_unless_equals_int64 (gst_cascade_psp_due_get_limit (&due, MS (-20)),
      MS (2));
  due.duration = GST_CLOCK_TIME_NONE;
  due.deadline = 0;
  fail_unless_equals_int64 (gst_cascade_psp_due_get_limit (&due, MS (-20)),
      MS (10));
}

GST_END_TEST;

GST_START_TEST (test_earliest)
{
  GstCascadePspDue due = make_due (GST_CLOCK_TIME_NONE);

  due.earliest = MS (1000);
  check (&due, FOR_EVER, FOR_EVER);
  due.earliest = MS (1001);
  check (&due, MS (-1), 0);
  due.now = MS (1100);
  check (&due, MS (-20), 0);
  due.earliest = MS (1030);
  check (&due, MS (-30), 0);

  fail_unless_equals_uint64 (gst_cascade_psp_get_earliest (MS (100), MS (10),
          MS (40), TRUE), MS (110));
  fail_unless_equals_uint64 (gst_cascade_psp_get_earliest (MS (100), MS (10),
          MS (40), FALSE), MS (160));
  fail_unless_equals_uint64 (gst_cascade_psp_get_earliest (MS (100), MS (10),
          GST_CLOCK_TIME_NONE, FALSE), MS (120));
  fail_unless_equals_uint64 (gst_cascade_psp_get_earliest (MS (100), MS (-10),
          MS (40), FALSE), MS (90));
  fail_unless_equals_uint64 (gst_cascade_psp_get_earliest (MS (100), MS (-200),
          MS (40), FALSE), 0);
  fail_unless_equals_uint64 (gst_cascade_psp_get_earliest (GST_CLOCK_TIME_NONE,
          MS (10), MS (40), FALSE), GST_CLOCK_TIME_NONE);
}

GST_END_TEST;

static gboolean
try_frame (GstCascadePspPace * pace, guint ms, gint left_ms, guint cost_ms,
    gboolean in_time)
{
  if (!gst_cascade_psp_pace_allows (pace, MS (ms), MS (left_ms), MS (cost_ms),
          FALSE))
    return FALSE;
  gst_cascade_psp_pace_learn (pace, in_time);
  return TRUE;
}

GST_START_TEST (test_pace)
{
  GstCascadePspPace pace;
  guint allowed_ms[16];
  guint n = 0;

  gst_cascade_psp_pace_init (&pace);
  // A cost that is not known is tried.
  fail_unless (try_frame (&pace, 0, 1, 0, TRUE));
  fail_unless (try_frame (&pace, 40, 30, 30, TRUE));
  fail_if (try_frame (&pace, 80, 30, 31, TRUE));
  fail_if (try_frame (&pace, 80, 0, 0, TRUE));
  fail_unless (gst_cascade_psp_pace_allows (&pace, MS (120), FOR_EVER,
          MS (100000), FALSE));

  // Never enough time: attempts after 1, 2, 4, 8, 8... seconds.
  gst_cascade_psp_pace_init (&pace);
  for (guint ms = 0; ms < 60000; ms += 40) {
    if (try_frame (&pace, ms, 30, 31, FALSE))
      allowed_ms[n++] = ms;
  }
  fail_unless_equals_int (n, 9);
  for (guint i = 1; i < n; i++)
    fail_unless_equals_int (allowed_ms[i] - allowed_ms[i - 1],
        MIN (1000 << i, 8000));

  // Enough once starts that anew.
  fail_unless (try_frame (&pace, 60000, 31, 31, TRUE));
  fail_if (try_frame (&pace, 60040, 30, 31, TRUE));
  // The cost was wrong: one frame after the other,
  fail_unless (try_frame (&pace, 61000, 30, 31, TRUE));
  fail_unless (try_frame (&pace, 61040, 30, 31, TRUE));
  // but for one that is late already,
  fail_if (try_frame (&pace, 61080, -1, 31, FALSE));
  // until one is not in time.
  fail_unless (try_frame (&pace, 61120, 30, 31, FALSE));
  fail_if (try_frame (&pace, 61160, 30, 31, FALSE));
  fail_unless (try_frame (&pace, 62120, 30, 31, FALSE));
  fail_if (try_frame (&pace, 63120, 30, 31, FALSE));
}

GST_END_TEST;

// A refinement that can be divided takes COST_MS. Frames come every 40 ms and
// must leave LEFT_MS later; one that is in the way of the next one takes that
// much of it. Without RECOVERS what leaving frames out saves is lost.
static guint
count_begun (guint left_ms, guint cost_ms, gboolean recovers)
{
  GstCascadePspPace pace;
  gint free_ms = 0;             // when the element is free again
  gint rest_ms = 0;             // of what has begun
  guint n = 0;

  gst_cascade_psp_pace_init (&pace);
  for (gint ms = 0; ms < 40000; ms += 40) {
    gint now_ms = recovers ? MAX (ms, free_ms) : ms;
    gint left = ms + (gint) left_ms - now_ms;

    fail_unless (left >= 0);
    if (rest_ms == 0 && gst_cascade_psp_pace_allows (&pace, MS (ms),
            MS (left), MS (cost_ms), TRUE)) {
      rest_ms = (gint) cost_ms;
      n++;
    }
    free_ms = now_ms + MIN (rest_ms, left);
    rest_ms -= MIN (rest_ms, left);
  }
  return n;
}

GST_START_TEST (test_divisible)
{
  GstCascadePspPace pace;

  // In time: every frame.
  fail_unless_equals_int (count_begun (35, 35, FALSE), 1000);
  fail_unless_equals_int (count_begun (100, 39, TRUE), 1000);
  // Longer than frames, shorter than what a frame has if those before it are
  // left out: as many as there is time for, each within its own frame's time.
  fail_unless_equals_int (count_begun (100, 80, TRUE), 500);
  // Longer than any frame has: at once, for what it takes.
  fail_unless_equals_int (count_begun (13, 26, FALSE), 500);
  fail_unless_equals_int (count_begun (13, 130, FALSE), 100);
  fail_unless_equals_int (count_begun (100, 400, TRUE), 101);

  // A frame that is late already waits for its turn as others do.
  gst_cascade_psp_pace_init (&pace);
  fail_if (gst_cascade_psp_pace_allows (&pace, 0, MS (-1), MS (1), TRUE));
  fail_if (gst_cascade_psp_pace_allows (&pace, MS (960), MS (-1), MS (1),
          TRUE));
  fail_unless (gst_cascade_psp_pace_allows (&pace, MS (1000), MS (-1), MS (1),
          TRUE));

  // Where frames have less time than they had, it begins before long.
  gst_cascade_psp_pace_init (&pace);
  fail_unless (gst_cascade_psp_pace_allows (&pace, 0, MS (100), MS (50),
          TRUE));
  for (guint i = 1; i < 100; i++) {
    gboolean allowed = gst_cascade_psp_pace_allows (&pace, MS (40 * i),
        MS (13), MS (50), TRUE);

    fail_unless (allowed == (i >= 45), "frame %u", i);
    if (allowed)
      break;
  }

  // Frames that nothing waited for say nothing of those that it does.
  gst_cascade_psp_pace_init (&pace);
  fail_unless (gst_cascade_psp_pace_allows (&pace, 0, FOR_EVER, MS (50),
          FALSE));
  fail_unless (gst_cascade_psp_pace_allows (&pace, MS (40), MS (13), MS (50),
          TRUE));
}

GST_END_TEST;

static Suite *
deadline_suite (void)
{
  Suite *suite = suite_create ("deadline");
  TCase *tcase = tcase_create ("general");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_due);
  tcase_add_test (tcase, test_earliest);
  tcase_add_test (tcase, test_pace);
  tcase_add_test (tcase, test_divisible);
  return suite;
}

GST_CHECK_MAIN (deadline);
