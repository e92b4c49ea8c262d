/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The network for a new size is prepared aside. How long that takes is up to
 * the test: the linker (--wrap) puts a gate before it.
 */
#include "fixture.h"

#include "gst/gstcascadepsprefine.h"
#include "refine/refiner.h"

extern gboolean real_prepare (CpspRefiner * refiner,
    const CpspSettings * settings, guint width, guint height,
    gboolean budgeted, GError ** error)
    __asm__ ("__real_cpsp_refiner_prepare");
extern gboolean wrapped_prepare (CpspRefiner * refiner,
    const CpspSettings * settings, guint width, guint height,
    gboolean budgeted, GError ** error)
    __asm__ ("__wrap_cpsp_refiner_prepare");

static GMutex lock;
static GCond changed;
// Under the lock.
static gboolean closed, broken;
static guint n_begun;

gboolean
wrapped_prepare (CpspRefiner * refiner, const CpspSettings * settings,
    guint width, guint height, gboolean budgeted, GError ** error)
{
  gboolean fails;

  g_mutex_lock (&lock);
  n_begun++;
  g_cond_broadcast (&changed);
  while (closed)
    g_cond_wait (&changed, &lock);
  fails = broken;
  g_mutex_unlock (&lock);
  if (!fails)
    return real_prepare (refiner, settings, width, height, budgeted, error);
  g_set_error (error, CPSP_ERROR, CPSP_ERROR_NO_MEMORY, "the test says so");
  return FALSE;
}

static void
set_gate (gboolean is_closed, gboolean is_broken)
{
  g_mutex_lock (&lock);
  closed = is_closed;
  broken = is_broken;
  g_cond_broadcast (&changed);
  g_mutex_unlock (&lock);
}

static void
expect_begun (guint n)
{
  g_mutex_lock (&lock);
  while (n_begun < n)
    g_cond_wait (&changed, &lock);
  fail_unless_equals_int (n_begun, n);
  g_mutex_unlock (&lock);
}

static void
set_up_gate (Fixture * fixture, gboolean live)
{
  n_begun = 0;
  set_gate (TRUE, FALSE);
  set_up (fixture, live);
}

// The frame at PTS_MS leaves with its mask as it is.
static void
expect_coarse (Fixture * fixture, guint pts_ms)
{
  GstBuffer *alpha = pull_at (fixture, pts_ms);
  GstBuffer *mask = make_buffer (fixture->mask, pts_ms, FRAME_MS);

  expect_same_bytes (alpha, mask);
  gst_buffer_unref (mask);
  gst_buffer_unref (alpha);
}

// Live frames leave when their time is over, those that can wait are refined.
GST_START_TEST (test_live)
{
  Fixture f;

  set_up_gate (&f, TRUE);
  g_object_set (f.element, "processing-deadline", G_GUINT64_CONSTANT (0), NULL);
  push_frame (&f, 0);
  expect_coarse (&f, 0);
  push_frame (&f, 40);
  expect_coarse (&f, 40);
  expect_count (&f, "coarse", 2);
  expect_begun (1);

  g_object_set (f.element, "processing-deadline", 1000 * GST_SECOND, NULL);
  push_frame (&f, 80);
  set_gate (FALSE, FALSE);
  expect_alpha (&f, 80, 80);
  expect_count (&f, "refined", 1);

  // A property that asks for another network: the last alpha serves meanwhile.
  set_gate (TRUE, FALSE);
  g_object_set (f.element, "processing-deadline", G_GUINT64_CONSTANT (0),
      "crop-size", 128, NULL);
  push_frame (&f, 120);
  gst_buffer_unref (pull_at (&f, 120));
  expect_count (&f, "repeated", 1);
  expect_begun (2);

  // And another size before that is done.
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", 32, 24));
  gst_harness_set_src_caps_str (f.mask, VIDEO_CAPS ("GRAY8", 32, 24));
  push_frame (&f, 160);
  expect_coarse (&f, 160);
  expect_begun (2);
  g_object_set (f.element, "processing-deadline", 1000 * GST_SECOND, NULL);
  set_gate (FALSE, FALSE);
  push_frame (&f, 200);
  expect_alpha (&f, 200, 200);
  expect_begun (3);
  tear_down (&f);
}

GST_END_TEST;

// All others wait as long as it takes.
GST_START_TEST (test_not_live)
{
  Fixture f;

  set_up_gate (&f, FALSE);
  push_frame (&f, 0);
  expect_begun (1);
  fail_unless_equals_int (gst_harness_buffers_received (f.video), 0);
  set_gate (FALSE, FALSE);
  expect_alpha (&f, 0, 0);
  push_frame (&f, 40);
  expect_alpha (&f, 40, 40);
  expect_count (&f, "refined", 2);
  expect_begun (1);
  tear_down (&f);
}

GST_END_TEST;

// What fails aside is one error, and the end; the next start is a new one.
GST_START_TEST (test_failure)
{
  Fixture f;

  set_up_gate (&f, __i__);
  push_frame (&f, 0);
  expect_begun (1);
  set_gate (FALSE, TRUE);
  expect_message (f.bus, GST_MESSAGE_ERROR, GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_NO_SPACE_LEFT);
  expect_end (&f, GST_FLOW_ERROR);

  set_gate (FALSE, FALSE);
  restart (&f);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  tear_down (&f);
}

GST_END_TEST;

// Stopped while it prepares
GST_START_TEST (test_stop)
{
  Fixture f;

  set_up_gate (&f, TRUE);
  g_object_set (f.element, "processing-deadline", G_GUINT64_CONSTANT (0), NULL);
  push_frame (&f, 0);
  expect_coarse (&f, 0);
  set_gate (FALSE, __i__);
  restart (&f);
  set_gate (FALSE, FALSE);
  g_object_set (f.element, "processing-deadline", 1000 * GST_SECOND, NULL);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  tear_down (&f);
}

GST_END_TEST;

static Suite *
preparer_suite (void)
{
  Suite *suite = suite_create ("preparer");
  TCase *tcase = tcase_create ("general");

  // Not the plugin: what is linked into this program.
  GST_ELEMENT_REGISTER (cascadepsprefine, NULL);
  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_live);
  tcase_add_test (tcase, test_not_live);
  tcase_add_loop_test (tcase, test_failure, 0, 2);
  tcase_add_loop_test (tcase, test_stop, 0, 2);
  return suite;
}

GST_CHECK_MAIN (preparer);
