/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ends, segments, seeks, flushes, and what else travels with frames.
 * Loop tests: 0: not live, 1: live.
 */
#include "fixture.h"

GST_START_TEST (test_eos_before_any_buffer)
{
  Fixture f;

  set_up (&f, __i__);
  push_eos (f.mask);
  push_eos (f.video);
  expect_eos (&f);
  tear_down (&f);
}

GST_END_TEST;

// The video's end does not wait for masks, which may have stalled.
GST_START_TEST (test_eos_without_mask)
{
  Fixture f;

  set_up (&f, __i__);
  push_eos (f.video);
  expect_eos (&f);
  tear_down (&f);

  set_up_bare (&f, __i__);
  push_eos (f.video);
  expect_eos (&f);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_eos_with_frame_held)
{
  Fixture f;

  set_up (&f, __i__);
  push_video (&f, 0);
  push_eos (f.video);
  push_mask (&f, 0, FRAME_MS);
  expect_alpha (&f, 0, 0);
  expect_eos (&f);
  tear_down (&f);
}

GST_END_TEST;

// Running times are compared, not timestamps.
GST_START_TEST (test_segment)
{
  Fixture f;
  GstEvent *event;
  const GstSegment *segment;

  set_up (&f, __i__);
  push_segment (f.video, 1000, 1090);
  // The mask's own segment starts at 0. The first frame is outside, the
  // second and the last are partly inside.
  push_video (&f, 900);
  push_mask (&f, 0, FRAME_MS / 2);
  push_video (&f, 980);
  expect_alpha (&f, 980, 0);
  push_video (&f, 1020);
  push_mask (&f, 20, FRAME_MS);
  expect_alpha (&f, 1020, 20);
  push_video (&f, 1060);
  push_mask (&f, 60, FRAME_MS);
  expect_alpha (&f, 1060, 60);
  push_eos (f.mask);
  push_video (&f, 1120);
  push_eos (f.video);
  expect_eos (&f);

  while ((event = gst_harness_pull_event (f.video)) != NULL) {
    if (GST_EVENT_TYPE (event) == GST_EVENT_SEGMENT)
      break;
    gst_event_unref (event);
  }
  gst_event_parse_segment (event, &segment);
  fail_unless_equals_uint64 (segment->start, from_ms (1000));
  fail_unless_equals_uint64 (segment->stop, from_ms (1090));
  gst_event_unref (event);
  tear_down (&f);
}

GST_END_TEST;

static void
push_rate_segment (GstHarness * harness, gdouble rate, guint base_ms)
{
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.rate = rate;
  segment.base = from_ms (base_ms);
  fail_unless (gst_harness_push_event (harness,
          gst_event_new_segment (&segment)));
}

// A mask made from every frame at half the speed, in running time: the same.
// A second segment goes on where the first one ended.
GST_START_TEST (test_rates)
{
  Fixture f;

  set_up (&f, __i__);
  push_rate_segment (f.video, 2, 0);
  push_rate_segment (f.mask, 1, 0);
  for (guint ms = 0; ms < 160; ms += FRAME_MS) {
    push_video (&f, ms);
    push_mask (&f, ms / 2, FRAME_MS / 2);
    expect_alpha (&f, ms, ms / 2);
  }

  push_rate_segment (f.video, 0.5, 80);
  push_rate_segment (f.mask, 1, 80);
  for (guint ms = 0; ms < 160; ms += FRAME_MS) {
    push_video (&f, ms);
    push_mask (&f, 2 * ms, 2 * FRAME_MS);
    expect_alpha (&f, ms, 2 * ms);
  }
  expect_log (&f, "stream-start caps segment buffer@0 buffer@40 buffer@80 "
      "buffer@120 segment buffer@0 buffer@40 buffer@80 buffer@120");
  tear_down (&f);
}

GST_END_TEST;

// Backwards, a buffer's start in running time is its last moment.
GST_START_TEST (test_negative_rate)
{
  Fixture f;
  GstSegment segment;

  set_up (&f, __i__);
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.rate = -1;
  segment.stop = from_ms (400);
  fail_unless (gst_harness_push_event (f.video,
          gst_event_new_segment (&segment)));
  fail_unless (gst_harness_push_event (f.mask,
          gst_event_new_segment (&segment)));
  for (guint ms = 360; ms > 120; ms -= FRAME_MS) {
    push_video (&f, ms);
    if (ms % 80 == 40)
      push_mask (&f, ms - 40, 80);
    expect_alpha (&f, ms, ms - (ms % 80 == 40 ? 40 : 0));
  }
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_flush)
{
  Fixture f;

  set_up (&f, __i__);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  // One frame waits for its mask; the mask in hand is an old one.
  push_video (&f, 40);
  push_flush (&f);
  push_segment (f.video, 2000, NONE);
  push_segment (f.mask, 2000, NONE);

  // Both are forgotten: the first mask known is a new one.
  push_video (&f, 2000);
  push_mask (&f, 2040, FRAME_MS);
  expect_alpha (&f, 2000, 2040);
  push_video (&f, 2040);
  expect_alpha (&f, 2040, 2040);

  // After the end, too.
  push_eos (f.mask);
  push_eos (f.video);
  expect_eos (&f);
  push_flush (&f);
  push_segment (f.video, 0, NONE);
  push_segment (f.mask, 0, NONE);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_flush_before_any_buffer)
{
  Fixture f;

  set_up (&f, __i__);
  push_flush (&f);
  push_segment (f.video, 0, NONE);
  push_segment (f.mask, 0, NONE);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  tear_down (&f);
}

GST_END_TEST;

static void
expect_upstream (GstHarness * harness, GstEventType type)
{
  GstEvent *event = NULL;

  do {
    gst_clear_event (&event);
    event = gst_harness_pull_upstream_event (harness);
    fail_unless (event != NULL);
  } while (GST_EVENT_TYPE (event) != type);
  gst_event_unref (event);
}

GST_START_TEST (test_seek)
{
  Fixture f;

  set_up (&f, FALSE);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  fail_unless (gst_harness_push_upstream_event (f.video,
          gst_event_new_seek (1, GST_FORMAT_TIME, GST_SEEK_FLAG_NONE,
              GST_SEEK_TYPE_SET, 0, GST_SEEK_TYPE_NONE, 0)));
  expect_upstream (f.video, GST_EVENT_SEEK);
  expect_upstream (f.mask, GST_EVENT_SEEK);
  tear_down (&f);
}

GST_END_TEST;

// Behind a tee an event comes on both pads; it leaves once.
GST_START_TEST (test_custom_events)
{
  GstHarness *harnesses[2];
  GstEvent *event;
  guint n = 0;
  Fixture f;

  set_up (&f, FALSE);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  harnesses[0] = f.video;
  harnesses[1] = f.mask;
  for (guint i = 0; i < G_N_ELEMENTS (harnesses); i++)
    fail_unless (gst_harness_push_event (harnesses[i],
            gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM,
                gst_structure_new_empty ("custom"))));
  push_frame (&f, 40);
  expect_alpha (&f, 40, 40);

  while ((event = gst_harness_try_pull_event (f.video)) != NULL) {
    n += GST_EVENT_TYPE (event) == GST_EVENT_CUSTOM_DOWNSTREAM;
    gst_event_unref (event);
  }
  fail_unless_equals_int (n, 1);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_metas)
{
  Fixture f;
  GstBuffer *parent = gst_buffer_new (), *video, *alpha;
  GstVideoTimeCodeMeta *code;
  GstVideoOverlayComposition *overlays;
  const guint8 caption[3] = { 0xfc, 0x80, 0x80 };

  set_up (&f, FALSE);
  video = make_buffer (f.video, 0, FRAME_MS);
  GST_BUFFER_OFFSET (video) = 42;
  GST_BUFFER_FLAG_SET (video, GST_BUFFER_FLAG_DISCONT);
  gst_buffer_add_video_time_code_meta_full (video, 25, 1, NULL, 0, 10, 20, 30,
      5, 0);
  gst_buffer_add_video_caption_meta (video, GST_VIDEO_CAPTION_TYPE_CEA708_RAW,
      caption, sizeof (caption));
  gst_buffer_add_video_meta (video, GST_VIDEO_FRAME_FLAG_NONE,
      GST_VIDEO_FORMAT_RGB, WIDTH, HEIGHT);
  gst_buffer_add_parent_buffer_meta (video, parent);
  overlays = gst_video_overlay_composition_new (NULL);
  gst_buffer_add_video_overlay_composition_meta (video, overlays);
  gst_video_overlay_composition_unref (overlays);
  fail_unless_equals_int (gst_harness_push (f.video, video), GST_FLOW_OK);
  push_mask (&f, 0, FRAME_MS);
  alpha = pull_at (&f, 0);

  fail_unless_equals_uint64 (GST_BUFFER_OFFSET (alpha), 42);
  fail_unless (GST_BUFFER_FLAG_IS_SET (alpha, GST_BUFFER_FLAG_DISCONT));
  code = gst_buffer_get_video_time_code_meta (alpha);
  fail_unless (code != NULL);
  fail_unless_equals_int (code->tc.seconds, 30);
  fail_unless (gst_buffer_get_video_caption_meta (alpha) != NULL);
  fail_unless (gst_buffer_get_video_meta (alpha) == NULL);
  fail_unless (gst_buffer_get_parent_buffer_meta (alpha) == NULL);
  fail_unless (gst_buffer_get_video_overlay_composition_meta (alpha) == NULL);
  gst_buffer_unref (alpha);
  tear_down (&f);
  gst_buffer_unref (parent);
}

GST_END_TEST;

static Suite *
events_suite (void)
{
  Suite *suite = suite_create ("events");
  TCase *tcase = tcase_create ("eos");

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_eos_before_any_buffer, 0, 2);
  tcase_add_loop_test (tcase, test_eos_without_mask, 0, 2);
  tcase_add_loop_test (tcase, test_eos_with_frame_held, 0, 2);

  tcase = tcase_create ("segments");
  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_segment, 0, 2);
  tcase_add_loop_test (tcase, test_rates, 0, 2);
  tcase_add_loop_test (tcase, test_negative_rate, 0, 2);
  tcase_add_loop_test (tcase, test_flush, 0, 2);
  tcase_add_loop_test (tcase, test_flush_before_any_buffer, 0, 2);
  tcase_add_test (tcase, test_seek);
  tcase_add_test (tcase, test_custom_events);

  tcase = tcase_create ("metas");
  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_metas);
  return suite;
}

GST_CHECK_MAIN (events);
