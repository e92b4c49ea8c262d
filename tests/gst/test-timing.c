/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Live pipelines: deadlines, latency, and what happens when there is not enough
 * time.
 */
#include "fixture.h"

GST_START_TEST (test_timeout)
{
  Fixture f;

  set_up (&f, TRUE);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);

  // No mask in time: the last one serves.
  push_video (&f, 40);
  time_out (&f);
  fail_unless_equals_uint64 (gst_clock_get_time (GST_ELEMENT_CLOCK
          (f.element)), from_ms (40 + FRAME_MS));
  expect_alpha (&f, 40, 0);

  // The late one is the last one now.
  push_mask (&f, 40, FRAME_MS);
  push_video (&f, 80);
  time_out (&f);
  expect_alpha (&f, 80, 40);

  // And back in step.
  push_frame (&f, 120);
  expect_alpha (&f, 120, 120);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_timeout_before_first_mask)
{
  Fixture f;

  set_up (&f, TRUE);
  push_video (&f, 0);
  time_out (&f);
  expect_whole (&f, 0);
  push_mask (&f, 0, FRAME_MS);
  push_video (&f, 40);
  time_out (&f);
  expect_alpha (&f, 40, 0);
  tear_down (&f);
}

GST_END_TEST;

static void
expect_latency_message (Fixture * fixture)
{
  GstMessage *message = gst_bus_pop_filtered (fixture->bus,
      GST_MESSAGE_LATENCY);

  fail_unless (message != NULL);
  while (message) {
    gst_message_unref (message);
    message = gst_bus_pop_filtered (fixture->bus, GST_MESSAGE_LATENCY);
  }
}

static void
expect_latency (Fixture * fixture, guint own_ms)
{
  fail_unless_equals_uint64 (gst_harness_query_latency (fixture->video),
      from_ms (5 + own_ms));
  expect_count (fixture, "latency", from_ms (own_ms));
  expect_latency_message (fixture);
}

GST_START_TEST (test_latency)
{
  Fixture f;

  set_up_bare (&f, TRUE);
  gst_harness_set_upstream_latency (f.video, from_ms (5));
  g_object_set (f.element, "processing-deadline", GST_CLOCK_TIME_NONE, NULL);
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
  gst_harness_set_src_caps_str (f.mask, MASK_CAPS);
  push_frame (&f, 0);
  gst_buffer_unref (pull_at (&f, 0));
  expect_latency (&f, FRAME_MS + FRAME_MS);

  // Less is declared at once.
  g_object_set (f.element, "processing-deadline", from_ms (10), NULL);
  expect_latency (&f, FRAME_MS + 10);

  gst_harness_set_src_caps_str (f.video,
      "video/x-raw,format=RGB,width=64,height=48,framerate=100/1");
  push_frame (&f, 40);
  gst_buffer_unref (pull_at (&f, 40));
  expect_latency (&f, 10 + 10);
  tear_down (&f);
}

GST_END_TEST;

static void
set_time (Fixture * fixture, guint ms)
{
  GstTestClock *clock = gst_harness_get_testclock (fixture->video);

  gst_test_clock_set_time (clock, from_ms (ms));
  gst_object_unref (clock);
}

// The next QoS message is for the frame at TIMESTAMP_MS, JITTER_MS late.
static void
expect_qos (Fixture * fixture, guint timestamp_ms, guint jitter_ms,
    guint64 processed, guint64 dropped)
{
  GstMessage *message = gst_bus_pop_filtered (fixture->bus, GST_MESSAGE_QOS);
  guint64 timestamp, running_time, got_processed, got_dropped;
  gint64 jitter;
  gdouble proportion;
  gint quality;
  GstFormat format;

  fail_unless (message != NULL, "no QoS message");
  gst_message_parse_qos (message, NULL, &running_time, NULL, &timestamp, NULL);
  fail_unless_equals_uint64 (timestamp, from_ms (timestamp_ms));
  fail_unless_equals_uint64 (running_time, from_ms (timestamp_ms));
  gst_message_parse_qos_values (message, &jitter, &proportion, &quality);
  fail_unless_equals_int64 (jitter, from_ms (jitter_ms));
  fail_unless (proportion > 0);
  fail_unless_equals_int (quality, 0);
  gst_message_parse_qos_stats (message, &format, &got_processed, &got_dropped);
  fail_unless_equals_int (format, GST_FORMAT_BUFFERS);
  fail_unless_equals_uint64 (got_processed, processed);
  fail_unless_equals_uint64 (got_dropped, dropped);
  gst_message_unref (message);
}

// One frame is refined in time. Then the clock shows FAR_MS, much later than
// frames at 40 ms and on must leave.
#define FAR_MS 1000000
#define DEADLINE_MS 10000
#define LATE_MS(frame) (FAR_MS - (frame) - FRAME_MS - DEADLINE_MS)

static GstBuffer *
set_up_late (Fixture * fixture, const char *overload)
{
  GstBuffer *alpha;

  set_up (fixture, TRUE);
  set_option (fixture, "overload", overload);
  g_object_set (fixture->element, "processing-deadline", from_ms (DEADLINE_MS),
      NULL);
  push_frame (fixture, 0);
  alpha = pull_at (fixture, 0);
  set_time (fixture, FAR_MS);
  return alpha;
}

// The last alpha once more, although the mask moved.
GST_START_TEST (test_overload)
{
  static const char *const policies[] = { "degrade", "repeat" };
  GstBuffer *first, *second;
  Fixture f;

  first = set_up_late (&f, policies[__i__]);
  gst_harness_set_src_caps_str (f.mask, VIDEO_CAPS ("GRAY8", 4, 1));
  push_frame (&f, 40);
  second = pull_at (&f, 40);
  expect_same_bytes (first, second);
  expect_qos (&f, 40, LATE_MS (40), 2, 0);
  expect_count (&f, "repeated", 1);
  expect_count (&f, "late", 1);
  gst_buffer_unref (second);
  gst_buffer_unref (first);

  // Once in a while one is refined all the same, but ever more rarely.
  push_frame (&f, 1000);
  expect_alpha (&f, 1000, 1000);
  expect_count (&f, "refined", 2);
  expect_count (&f, "late", 2);
  push_frame (&f, 2000);
  gst_buffer_unref (pull_at (&f, 2000));
  expect_count (&f, "refined", 2);
  push_frame (&f, 3000);
  gst_buffer_unref (pull_at (&f, 3000));
  expect_count (&f, "refined", 3);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_overload_drop)
{
  GstEvent *event;
  GstGapFlags flags;
  Fixture f;

  gst_buffer_unref (set_up_late (&f, "drop"));
  push_frame (&f, 40);
  // What no more alpha follows cannot be waited for otherwise.
  do {
    event = gst_harness_pull_event (f.video);
    fail_unless (event != NULL);
    if (GST_EVENT_TYPE (event) == GST_EVENT_GAP)
      break;
    gst_event_unref (event);
  } while (TRUE);
  gst_event_parse_gap_flags (event, &flags);
  fail_unless_equals_int (flags, GST_GAP_FLAG_MISSING_DATA);
  gst_event_unref (event);
  expect_log (&f, "stream-start caps segment buffer@0 gap@40");
  expect_qos (&f, 40, LATE_MS (40), 1, 1);
  expect_count (&f, "dropped", 1);
  tear_down (&f);
}

GST_END_TEST;

// An alpha that is too old, or of another size, is not repeated: the mask
// leaves as it is.
GST_START_TEST (test_overload_coarse)
{
  GstBuffer *alpha, *mask;
  Fixture f;

  gst_buffer_unref (set_up_late (&f, "degrade"));
  g_object_set (f.element, "max-mask-age", from_ms (40), NULL);
  push_frame (&f, 40);
  gst_buffer_unref (pull_at (&f, 40));
  expect_count (&f, "repeated", 1);

  push_frame (&f, 80);
  alpha = pull_at (&f, 80);
  mask = make_buffer (f.mask, 80, FRAME_MS);
  expect_same_bytes (alpha, mask);
  gst_buffer_unref (mask);
  gst_buffer_unref (alpha);
  expect_count (&f, "coarse", 1);

  g_object_set (f.element, "max-mask-age", G_MAXUINT64, NULL);
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("I420", 32, 24));
  push_frame (&f, 120);
  alpha = pull_at (&f, 120);
  fail_unless_equals_int (gst_buffer_get_size (alpha), 32 * 24);
  gst_buffer_unref (alpha);
  expect_count (&f, "coarse", 2);
  tear_down (&f);
}

GST_END_TEST;

// Time enough to come in time, but a budget that nothing fits into: the
// cheapest way.
GST_START_TEST (test_degrade)
{
  GstMessage *message;
  gint quality;
  Fixture f;

  set_up_bare (&f, TRUE);
  g_object_set (f.element, "crop-size", 256, "local-step", 1 /* always */ ,
      "processing-deadline", G_GUINT64_CONSTANT (1), NULL);
  gst_harness_set_src_caps_str (f.video,
      "video/x-raw,format=RGB,width=256,height=192,framerate=1/1000");
  gst_harness_set_src_caps_str (f.mask, STILL_MASK_CAPS);
  gst_harness_push (f.video, make_buffer (f.video, 0, 1000000));
  push_mask (&f, 0, NONE);
  expect_alpha (&f, 0, 0);
  expect_count (&f, "degraded", 1);
  expect_count (&f, "refined", 1);
  expect_count (&f, "late", 0);
  message = gst_bus_pop_filtered (f.bus, GST_MESSAGE_QOS);
  fail_unless (message != NULL);
  gst_message_parse_qos_values (message, NULL, NULL, &quality);
  fail_unless (quality > 0 && quality < 500000, "quality %d", quality);
  gst_message_unref (message);

  // The same frame with all the time it wants
  set_option (&f, "overload", "repeat");
  gst_harness_push (f.video, make_buffer (f.video, 1000000, 1000000));
  push_mask (&f, 1000000, NONE);
  expect_alpha (&f, 1000000, 1000000);
  expect_count (&f, "refined", 2);
  expect_count (&f, "degraded", 1);
  tear_down (&f);
}

GST_END_TEST;

static void
push_qos (Fixture * fixture, guint timestamp_ms, gint late_ms)
{
  gst_harness_push_upstream_event (fixture->video,
      gst_event_new_qos (GST_QOS_TYPE_UNDERFLOW, 2, late_ms * GST_MSECOND,
          from_ms (timestamp_ms)));
}

// What a sink cannot show in time is not refined.
GST_START_TEST (test_qos_event)
{
  guint late_ms;
  Fixture f;

  set_up (&f, __i__);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);

  // Not live, catching up takes as long again, and one frame.
  push_qos (&f, 0, 60);
  late_ms = __i__ ? 60 : 2 * 60 + FRAME_MS;
  push_frame (&f, late_ms - 1);
  gst_buffer_unref (pull_at (&f, late_ms - 1));
  expect_count (&f, "repeated", 1);
  expect_qos (&f, late_ms - 1, 1, 2, 0);
  push_frame (&f, late_ms);
  gst_buffer_unref (pull_at (&f, late_ms));
  expect_count (&f, "repeated", 1);

  push_qos (&f, 400, 400);
  g_object_set (f.element, "qos", FALSE, NULL);
  push_frame (&f, 480);
  expect_alpha (&f, 480, 480);
  g_object_set (f.element, "qos", TRUE, NULL);
  push_frame (&f, 520);
  gst_buffer_unref (pull_at (&f, 520));
  expect_count (&f, "repeated", 2);

  // A flush starts anew.
  push_flush (&f);
  push_segment (f.video, 0, NONE);
  push_segment (f.mask, 0, NONE);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  expect_count (&f, "repeated", 2);
  tear_down (&f);
}

GST_END_TEST;

static Suite *
timing_suite (void)
{
  Suite *suite = suite_create ("timing");
  TCase *tcase = tcase_create ("live");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_timeout);
  tcase_add_test (tcase, test_timeout_before_first_mask);
  tcase_add_test (tcase, test_latency);

  tcase = tcase_create ("overload");
  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_overload, 0, 2);
  tcase_add_test (tcase, test_overload_drop);
  tcase_add_test (tcase, test_degrade);
  tcase_add_test (tcase, test_overload_coarse);
  tcase_add_loop_test (tcase, test_qos_event, 0, 2);
  return suite;
}

GST_CHECK_MAIN (timing);
