/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Refinements that take longer than their frame has. Which ones do is up to the
 * test: the linker (--wrap) takes the engine's time away.
 */
#include "fixture.h"

#include "gst/gstcascadepsprefine.h"
#include "refine/refiner.h"

extern gboolean real_refine (CpspRefiner * refiner,
    const CpspSettings * settings, const CpspFrame * frame,
    const CpspAlphaView * alpha, CpspStats * stats, GError ** error)
    __asm__ ("__real_cpsp_refiner_refine");
extern gboolean wrapped_refine (CpspRefiner * refiner,
    const CpspSettings * settings, const CpspFrame * frame,
    const CpspAlphaView * alpha, CpspStats * stats, GError ** error)
    __asm__ ("__wrap_cpsp_refiner_refine");
extern gboolean real_resume (CpspRefiner * refiner, double limit_ms,
    const CpspAlphaView * alpha, CpspStats * stats, GError ** error)
    __asm__ ("__real_cpsp_refiner_resume");
extern gboolean wrapped_resume (CpspRefiner * refiner, double limit_ms,
    const CpspAlphaView * alpha, CpspStats * stats, GError ** error)
    __asm__ ("__wrap_cpsp_refiner_resume");

static gint no_time, no_device; // atomic

gboolean
wrapped_refine (CpspRefiner * refiner, const CpspSettings * settings,
    const CpspFrame * frame, const CpspAlphaView * alpha, CpspStats * stats,
    GError ** error)
{
  CpspFrame hasty = *frame;

  fail_unless (hasty.limit_ms > 0);
  if (g_atomic_int_get (&no_time))
    hasty.limit_ms = 1e-9;
  return real_refine (refiner, settings, &hasty, alpha, stats, error);
}

gboolean
wrapped_resume (CpspRefiner * refiner, double limit_ms,
    const CpspAlphaView * alpha, CpspStats * stats, GError ** error)
{
  if (!g_atomic_int_get (&no_device))
    return real_resume (refiner, limit_ms, alpha, stats, error);
  memset (stats, 0, sizeof (*stats));
  return TRUE;
}

// Pushes the frame at PTS_MS, and takes what leaves.
static GstBuffer *
go_through (Fixture * fixture, guint pts_ms, gboolean has_time)
{
  GstBuffer *alpha;

  g_atomic_int_set (&no_time, !has_time);
  push_frame (fixture, pts_ms);
  alpha = pull_at (fixture, pts_ms);
  g_atomic_int_set (&no_time, FALSE);
  return alpha;
}

static void
expect_counts (Fixture * fixture, guint refined, guint repeated, guint resumed,
    guint coarse)
{
  expect_count (fixture, "refined", refined);
  expect_count (fixture, "repeated", repeated);
  expect_count (fixture, "resumed", resumed);
  expect_count (fixture, "coarse", coarse);
}

static gboolean
has_same_bytes (GstBuffer * a, GstBuffer * b)
{
  GstMapInfo map;
  gboolean same;

  fail_unless (gst_buffer_map (a, &map, GST_MAP_READ));
  same = gst_buffer_memcmp (b, 0, map.data, map.size) == 0;
  gst_buffer_unmap (a, &map);
  return same;
}

GST_START_TEST (test_resumed)
{
  GstBuffer *alphas[4];
  Fixture f;

  set_up (&f, TRUE);
  alphas[0] = go_through (&f, 0, TRUE);
  // From here on the mask is another one.
  gst_harness_set_src_caps_str (f.mask, VIDEO_CAPS ("GRAY8", 3, 1));
  alphas[1] = go_through (&f, 40, FALSE);
  expect_counts (&f, 1, 1, 0, 0);
  alphas[2] = go_through (&f, 80, TRUE);
  expect_counts (&f, 1, 2, 1, 0);
  alphas[3] = go_through (&f, 120, TRUE);
  expect_counts (&f, 2, 2, 1, 0);

  // The old one, and then what the frame at 40 ms came to.
  expect_same_bytes (alphas[0], alphas[1]);
  fail_if (has_same_bytes (alphas[1], alphas[2]));
  expect_same_bytes (alphas[2], alphas[3]);
  for (guint i = 0; i < G_N_ELEMENTS (alphas); i++)
    gst_buffer_unref (alphas[i]);
  tear_down (&f);
}

GST_END_TEST;

// With nothing to repeat, the mask leaves as it is.
GST_START_TEST (test_coarse)
{
  GstBuffer *alpha, *mask;
  Fixture f;

  set_up (&f, TRUE);
  alpha = go_through (&f, 0, FALSE);
  mask = make_buffer (f.mask, 0, FRAME_MS);
  expect_same_bytes (alpha, mask);
  gst_buffer_unref (mask);
  gst_buffer_unref (alpha);
  expect_counts (&f, 0, 0, 0, 1);
  gst_buffer_unref (go_through (&f, 40, TRUE));
  expect_counts (&f, 0, 1, 1, 1);
  tear_down (&f);
}

GST_END_TEST;

// Lost with its device: there is nothing to repeat.
GST_START_TEST (test_lost)
{
  GstBuffer *alpha, *mask;
  Fixture f;

  set_up (&f, TRUE);
  gst_buffer_unref (go_through (&f, 0, FALSE));
  g_atomic_int_set (&no_device, TRUE);
  alpha = go_through (&f, 40, TRUE);
  g_atomic_int_set (&no_device, FALSE);
  mask = make_buffer (f.mask, 40, FRAME_MS);
  expect_same_bytes (alpha, mask);
  gst_buffer_unref (mask);
  gst_buffer_unref (alpha);
  expect_counts (&f, 0, 0, 0, 2);
  gst_buffer_unref (go_through (&f, 80, TRUE));
  expect_counts (&f, 1, 0, 0, 2);
  tear_down (&f);
}

GST_END_TEST;

// What was begun with the frame at START_MS comes to its end in the time of
// later ones. On a bad day not even the rest fits into half a frame's.
static void
finish_late (Fixture * f, guint start_ms)
{
  for (guint i = 1; i <= 20 && get_count (f, "resumed") == 0; i++)
    gst_buffer_unref (go_through (f, start_ms + 40 * i, TRUE));
  expect_count (f, "resumed", 1);
}

// From now on every frame is late.
static void
be_late (Fixture * fixture)
{
  GstTestClock *clock = gst_harness_get_testclock (fixture->video);

  gst_test_clock_set_time (clock, 1000 * GST_SECOND);
  gst_object_unref (clock);
}

// Frames that are late catch up first.
GST_START_TEST (test_late)
{
  Fixture f;

  set_up (&f, TRUE);
  g_object_set (f.element, "processing-deadline", 10 * GST_SECOND, NULL);
  gst_buffer_unref (go_through (&f, 0, FALSE));
  be_late (&f);
  gst_buffer_unref (go_through (&f, 40, TRUE));
  gst_buffer_unref (go_through (&f, 80, TRUE));
  expect_counts (&f, 0, 0, 0, 3);
  g_object_set (f.element, "processing-deadline", 10000 * GST_SECOND, NULL);
  gst_buffer_unref (go_through (&f, 120, TRUE));
  expect_counts (&f, 0, 1, 1, 3);
  tear_down (&f);
}

GST_END_TEST;

// Where every frame is late, one is begun once in a while, and goes on.
GST_START_TEST (test_always_late)
{
  Fixture f;

  set_up (&f, TRUE);
  g_object_set (f.element, "processing-deadline", 10 * GST_SECOND, NULL);
  gst_buffer_unref (go_through (&f, 0, TRUE));
  be_late (&f);
  gst_buffer_unref (go_through (&f, 40, TRUE));
  expect_counts (&f, 1, 1, 0, 0);
  gst_buffer_unref (go_through (&f, 1000, FALSE));
  expect_counts (&f, 1, 2, 0, 0);
  finish_late (&f, 1000);
  expect_count (&f, "refined", 1);
  tear_down (&f);
}

GST_END_TEST;

// So it is where frames have no time at all by what was declared.
GST_START_TEST (test_no_deadline)
{
  Fixture f;

  set_up (&f, TRUE);
  gst_buffer_unref (go_through (&f, 0, TRUE));
  g_object_set (f.element, "processing-deadline", G_GUINT64_CONSTANT (0), NULL);
  be_late (&f);
  gst_buffer_unref (go_through (&f, 1000, FALSE));
  finish_late (&f, 1000);
  tear_down (&f);
}

GST_END_TEST;

// Given up: what is too old to show, what came before a flush, what is of
// another size, what another setting asked for.
GST_START_TEST (test_given_up)
{
  Fixture f;

  set_up (&f, TRUE);
  gst_buffer_unref (go_through (&f, 0, FALSE));
  gst_buffer_unref (go_through (&f, 1001, TRUE));
  expect_counts (&f, 1, 0, 0, 1);

  gst_buffer_unref (go_through (&f, 1041, FALSE));
  push_flush (&f);
  push_segment (f.video, 0, NONE);
  push_segment (f.mask, 0, NONE);
  gst_buffer_unref (go_through (&f, 1081, TRUE));
  expect_counts (&f, 2, 1, 0, 1);

  gst_buffer_unref (go_through (&f, 1121, FALSE));
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", 32, 24));
  gst_buffer_unref (go_through (&f, 1161, TRUE));
  expect_counts (&f, 3, 2, 0, 1);

  gst_buffer_unref (go_through (&f, 1201, FALSE));
  g_object_set (f.element, "crop-size", 128, NULL);
  gst_buffer_unref (go_through (&f, 1241, TRUE));
  expect_counts (&f, 4, 3, 0, 1);
  tear_down (&f);
}

GST_END_TEST;

static Suite *
unfinished_suite (void)
{
  Suite *suite = suite_create ("unfinished");
  TCase *tcase = tcase_create ("live");

  // Not the plugin: what is linked into this program.
  GST_ELEMENT_REGISTER (cascadepsprefine, NULL);
  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_resumed);
  tcase_add_test (tcase, test_coarse);
  tcase_add_test (tcase, test_lost);
  tcase_add_test (tcase, test_late);
  tcase_add_test (tcase, test_always_late);
  tcase_add_test (tcase, test_no_deadline);
  tcase_add_test (tcase, test_given_up);
  return suite;
}

GST_CHECK_MAIN (unfinished);
