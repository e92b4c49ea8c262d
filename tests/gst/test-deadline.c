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
  if (!gst_cascade_psp_pace_allows (pace, MS (ms), MS (left_ms), MS (cost_ms)))
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
          MS (100000)));

  // Never enough time: attempts after 1, 2, 4... up to 64 seconds.
  gst_cascade_psp_pace_init (&pace);
  for (guint ms = 0; ms < 300000; ms += 40) {
    if (try_frame (&pace, ms, 30, 31, FALSE))
      allowed_ms[n++] = ms;
  }
  fail_unless_equals_int (n, 9);
  for (guint i = 1; i < n; i++)
    fail_unless_equals_int (allowed_ms[i] - allowed_ms[i - 1],
        MIN (1000 << i, 64000));

  // Enough once starts that anew.
  fail_unless (try_frame (&pace, 300000, 31, 31, TRUE));
  fail_if (try_frame (&pace, 300040, 30, 31, TRUE));
  // The cost was wrong: one frame after the other,
  fail_unless (try_frame (&pace, 301000, 30, 31, TRUE));
  fail_unless (try_frame (&pace, 301040, 30, 31, TRUE));
  // but for one that is late already,
  fail_if (try_frame (&pace, 301080, -1, 31, FALSE));
  // until one is not in time.
  fail_unless (try_frame (&pace, 301120, 30, 31, FALSE));
  fail_if (try_frame (&pace, 301160, 30, 31, FALSE));
  fail_unless (try_frame (&pace, 302120, 30, 31, FALSE));
  fail_if (try_frame (&pace, 303120, 30, 31, FALSE));
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
  return suite;
}

GST_CHECK_MAIN (deadline);
