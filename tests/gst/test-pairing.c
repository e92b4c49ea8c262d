/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which mask a frame gets, and what becomes of one that gets none.
 * Loop tests: 0: not live, 1: live.
 */
#include "fixture.h"

#include <gst/base/gstaggregator.h>

GST_START_TEST (test_same_time)
{
  Fixture f;
  GstBuffer *alpha;
  GstCaps *caps, *want;

  set_up (&f, __i__);
  push_frame (&f, 0);
  alpha = pull_at (&f, 0);
  fail_unless_equals_uint64 (GST_BUFFER_DURATION (alpha), from_ms (FRAME_MS));
  fail_unless_equals_int (gst_buffer_get_size (alpha), WIDTH * HEIGHT);
  gst_buffer_unref (alpha);

  caps = gst_pad_get_current_caps (f.video->sinkpad);
  want = gst_caps_from_string (MASK_CAPS ",pixel-aspect-ratio=1/1,"
      "interlace-mode=progressive,colorimetry=1:4:0:0");
  fail_unless (gst_caps_is_equal (caps, want), "%s", gst_caps_to_string (caps));
  gst_caps_unref (want);
  gst_caps_unref (caps);

  // Either may come first.
  for (guint ms = FRAME_MS; ms < 5 * FRAME_MS; ms += FRAME_MS) {
    push_mask (&f, ms, FRAME_MS);
    push_video (&f, ms);
    expect_alpha (&f, ms, ms);
  }
  tear_down (&f);
}

GST_END_TEST;

// A frame goes as soon as its own mask is there: the next of neither stream
// is needed.
GST_START_TEST (test_slower_mask)
{
  Fixture f;

  set_up (&f, __i__);
  for (guint ms = 0; ms < 9 * FRAME_MS; ms += FRAME_MS) {
    guint mask_ms = ms - ms % (3 * FRAME_MS);

    push_video (&f, ms);
    if (mask_ms == ms)
      push_mask (&f, ms, 3 * FRAME_MS);
    expect_alpha (&f, ms, mask_ms);
  }
  tear_down (&f);
}

GST_END_TEST;

// A mask of unknown duration holds until the next one, which must show up
// first.
GST_START_TEST (test_slower_mask_without_duration)
{
  Fixture f;

  set_up_bare (&f, __i__);
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
  gst_harness_set_src_caps_str (f.mask, STILL_MASK_CAPS);
  set_option (&f, "missing-mask", "drop");

  push_video (&f, 0);
  push_mask (&f, 0, NONE);
  expect_alpha (&f, 0, 0);
  push_video (&f, 40);
  push_mask (&f, 120, NONE);
  expect_alpha (&f, 40, 0);
  push_video (&f, 80);
  expect_alpha (&f, 80, 0);
  push_video (&f, 120);
  expect_alpha (&f, 120, 120);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_faster_mask)
{
  Fixture f;

  set_up (&f, __i__);
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS / 2);
  expect_alpha (&f, 0, 0);
  for (guint ms = FRAME_MS; ms < 5 * FRAME_MS; ms += FRAME_MS) {
    push_video (&f, ms);
    push_mask (&f, ms - FRAME_MS / 2, FRAME_MS / 2);
    push_mask (&f, ms, FRAME_MS / 2);
    expect_alpha (&f, ms, ms);
  }
  tear_down (&f);
}

GST_END_TEST;

// Timestamps that are a little off still mean this frame.
GST_START_TEST (test_early_mask)
{
  Fixture f;

  set_up (&f, __i__);
  for (guint ms = FRAME_MS; ms < 5 * FRAME_MS; ms += FRAME_MS) {
    push_video (&f, ms);
    push_mask (&f, ms - 10, FRAME_MS);
    expect_alpha (&f, ms, ms - 10);
  }
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_tardy_mask)
{
  Fixture f;

  set_up (&f, __i__);
  for (guint ms = 0; ms < 5 * FRAME_MS; ms += FRAME_MS) {
    push_video (&f, ms);
    push_mask (&f, ms + 10, FRAME_MS);
    expect_alpha (&f, ms, ms + 10);
  }
  tear_down (&f);
}

GST_END_TEST;

// Neither stream tells how long its buffers last.
GST_START_TEST (test_variable_rate)
{
  static const guint frames_ms[] = { 0, 7, 100, 130, 131, 400 };
  Fixture f;

  set_up_bare (&f, __i__);
  gst_harness_set_src_caps_str (f.video, "video/x-raw,format=RGB,width=16,"
      "height=12,framerate=0/1");
  gst_harness_set_src_caps_str (f.mask, STILL_MASK_CAPS);
  for (guint i = 0; i < G_N_ELEMENTS (frames_ms); i++) {
    gst_harness_push (f.video, make_buffer (f.video, frames_ms[i], NONE));
    push_mask (&f, frames_ms[i], NONE);
    expect_alpha (&f, frames_ms[i], frames_ms[i]);
  }
  tear_down (&f);
}

GST_END_TEST;

// Which masks start within a frame is not known if its end is not.
GST_START_TEST (test_unknown_frame_end)
{
  Fixture f;

  set_up_bare (&f, __i__);
  gst_harness_set_src_caps_str (f.video, "video/x-raw,format=RGB,width=16,"
      "height=12,framerate=0/1");
  gst_harness_set_src_caps_str (f.mask, STILL_MASK_CAPS);
  gst_harness_push (f.video, make_buffer (f.video, 0, NONE));
  push_mask (&f, 10000, NONE);
  expect_whole (&f, 0);
  gst_harness_push (f.video, make_buffer (f.video, 15100, NONE));
  push_mask (&f, 20000, NONE);
  expect_alpha (&f, 15100, 10000);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_still_mask)
{
  static const char *const policies[] = { "repeat", "pass", "drop" };

  for (guint i = 0; i < G_N_ELEMENTS (policies); i++) {
    Fixture f;

    set_up_bare (&f, __i__);
    gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
    gst_harness_set_src_caps_str (f.mask, STILL_MASK_CAPS);
    set_option (&f, "missing-mask", policies[i]);
    push_mask (&f, 0, NONE);
    push_eos (f.mask);
    for (guint ms = 0; ms < 4 * FRAME_MS; ms += FRAME_MS) {
      push_video (&f, ms);
      expect_alpha (&f, ms, 0);
    }
    push_eos (f.video);
    expect_eos (&f);
    tear_down (&f);
  }
}

GST_END_TEST;

// Frames at 0 and 40 ms with a mask for the first, then the masks end.
static void
push_two_frames_one_mask (Fixture * fixture)
{
  push_frame (fixture, 0);
  push_eos (fixture->mask);
  expect_alpha (fixture, 0, 0);
  push_video (fixture, 40);
}

GST_START_TEST (test_missing_repeat)
{
  Fixture f;

  set_up (&f, __i__);
  push_two_frames_one_mask (&f);
  expect_alpha (&f, 40, 0);
  // The mask's own time ended at 40 ms.
  push_video (&f, 1040);
  expect_alpha (&f, 1040, 0);
  push_video (&f, 1041);
  expect_whole (&f, 1041);
  g_object_set (f.element, "max-mask-age", G_MAXUINT64, NULL);
  push_video (&f, 100000);
  expect_alpha (&f, 100000, 0);
  push_eos (f.video);
  expect_eos (&f);
  expect_count (&f, "frames", 5);
  expect_count (&f, "refined", 4);
  expect_count (&f, "passed", 1);
  expect_count (&f, "missing-masks", 4);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_missing_pass)
{
  Fixture f;

  set_up (&f, __i__);
  set_option (&f, "missing-mask", "pass");
  push_two_frames_one_mask (&f);
  expect_whole (&f, 40);
  push_eos (f.video);
  expect_eos (&f);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_missing_drop)
{
  Fixture f;

  set_up (&f, __i__);
  set_option (&f, "missing-mask", "drop");
  push_two_frames_one_mask (&f);
  push_eos (f.video);
  expect_eos (&f);
  expect_log (&f, "stream-start caps segment buffer@0 gap@40 eos");
  expect_count (&f, "dropped", 1);
  tear_down (&f);
}

GST_END_TEST;

// What must come before a GAP event does.
GST_START_TEST (test_drop_before_first_mask)
{
  Fixture f;

  set_up (&f, __i__);
  set_option (&f, "missing-mask", "drop");
  push_video (&f, 0);
  push_mask (&f, 40, FRAME_MS);
  push_video (&f, 40);
  expect_alpha (&f, 40, 40);
  expect_log (&f, "stream-start caps segment gap@0 buffer@40");
  tear_down (&f);
}

GST_END_TEST;

// The first mask serves the frames before it, if it is near.
GST_START_TEST (test_mask_starts_later)
{
  Fixture f;

  set_up (&f, __i__);
  push_video (&f, 0);
  push_mask (&f, 1001, FRAME_MS);
  expect_whole (&f, 0);
  push_video (&f, 40);
  expect_alpha (&f, 40, 1001);
  push_video (&f, 80);
  expect_alpha (&f, 80, 1001);
  push_video (&f, 1000);
  expect_alpha (&f, 1000, 1001);
  expect_count (&f, "missing-masks", 3);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_gap)
{
  Fixture f;

  set_up (&f, __i__);
  set_option (&f, "missing-mask", "pass");
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);

  // Two frames are covered by one gap.
  push_video (&f, 40);
  push_gap (f.mask, 40, 80);
  expect_whole (&f, 40);
  push_video (&f, 80);
  expect_whole (&f, 80);
  push_frame (&f, 120);
  expect_alpha (&f, 120, 120);

  // Of unknown length: it ends with the next mask.
  push_video (&f, 160);
  push_gap (f.mask, 160, NONE);
  expect_whole (&f, 160);
  push_frame (&f, 200);
  expect_alpha (&f, 200, 200);
  tear_down (&f);
}

GST_END_TEST;

static void
push_missing_data (Fixture * fixture, guint pts_ms, guint duration_ms)
{
  GstEvent *gap = gst_event_new_gap (from_ms (pts_ms), from_ms (duration_ms));

  gst_event_set_gap_flags (gap, GST_GAP_FLAG_MISSING_DATA);
  fail_unless (gst_harness_push_event (fixture->mask, gap));
}

// Data lost on the way is no reason to take a mask away,
GST_START_TEST (test_gap_missing_data)
{
  Fixture f;

  set_up (&f, __i__);
  set_option (&f, "missing-mask", "pass");
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  push_video (&f, 40);
  push_missing_data (&f, 40, 80);
  expect_alpha (&f, 40, 0);
  push_video (&f, 80);
  expect_alpha (&f, 80, 0);
  tear_down (&f);
}

GST_END_TEST;

// nor to bring back one that a gap had ended.
GST_START_TEST (test_gap_missing_data_after_gap)
{
  Fixture f;

  set_up (&f, __i__);
  set_option (&f, "missing-mask", "pass");
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  push_video (&f, 40);
  push_gap (f.mask, 40, FRAME_MS);
  expect_whole (&f, 40);
  push_video (&f, 80);
  push_missing_data (&f, 80, FRAME_MS);
  expect_whole (&f, 80);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_video_gap)
{
  Fixture f;

  set_up (&f, __i__);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  push_gap (f.video, 40, 40);
  push_mask (&f, 80, FRAME_MS);
  push_video (&f, 80);
  expect_alpha (&f, 80, 80);
  expect_log (&f, "stream-start caps segment buffer@0 gap@40 buffer@80");
  expect_count (&f, "frames", 2);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_video_gap_first)
{
  Fixture f;

  set_up (&f, __i__);
  push_gap (f.video, 0, NONE);
  push_mask (&f, 40, FRAME_MS);
  push_video (&f, 40);
  expect_alpha (&f, 40, 40);
  expect_log (&f, "stream-start caps segment gap@0 buffer@40");
  tear_down (&f);
}

GST_END_TEST;

static void
pull_and_forget (Fixture * fixture, guint video_ms)
{
  gst_buffer_unref (pull_at (fixture, video_ms));
}

GST_START_TEST (test_mask_pad_comes_and_goes)
{
  Fixture f;

  set_up (&f, __i__);
  fail_unless (gst_element_request_pad (f.element,
          gst_element_get_pad_template (f.element, "mask"), NULL, NULL) ==
      NULL);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);

  // A frame waits for its mask when the pad goes.
  push_video (&f, 40);
  remove_mask (&f);
  pull_and_forget (&f, 40);
  push_video (&f, 2000);
  expect_whole (&f, 2000);

  push_video (&f, 2040);
  expect_whole (&f, 2040);
  add_mask (&f, __i__);
  gst_harness_set_src_caps_str (f.mask, STILL_MASK_CAPS);
  push_video (&f, 2080);
  push_mask (&f, 2080, NONE);
  expect_alpha (&f, 2080, 2080);
  tear_down (&f);
}

GST_END_TEST;

/*
 * A mask is taken off its pad just when that is released: in GStreamer's base
 * class the releaser drops what had been peeked at while the streaming thread,
 * in the middle of popping it, believes to own that reference. Both threads are
 * led there by what GStreamer logs.
 */

typedef enum
{
  START,
  PEEKED,                       // streaming: the mask comes into hand
  DROPPING,                     // release: about to drop what was peeked at
  POPPING,                      // streaming: in the middle of it
  RELEASED,
  NOT_TOGETHER,                 // one kept the other out
} Stage;

typedef struct
{
  GThread *releaser;
  char *taken, *replaced;       // how log lines of the mask look
  guint n_replaced;             // in the releaser's thread
  GMutex lock;
  GCond changed;
  Stage stage;
} Race;

static void
wait_for (Race * race, Stage stage, guint patience_ms)
{
  gint64 end = g_get_monotonic_time () + patience_ms * G_TIME_SPAN_MILLISECOND;

  while (race->stage < stage) {
    if (!g_cond_wait_until (&race->changed, &race->lock, end))
      race->stage = NOT_TOGETHER;
  }
}

static void
advance (Race * race, Stage now, Stage until)
{
  g_mutex_lock (&race->lock);
  race->stage = MAX (race->stage, now);
  g_cond_broadcast (&race->changed);
  wait_for (race, until, 500);
  g_mutex_unlock (&race->lock);
}

static void
follow_log (GstDebugCategory * category, GstDebugLevel level, const char *file,
    const char *function, gint line, GObject * object,
    GstDebugMessage * message, gpointer user_data)
{
  Race *race = user_data;
  const char *text = gst_debug_message_get (message);

  if (strstr (text, race->taken))
    advance (race, PEEKED, DROPPING);
  // The first is that of the pad's queue.
  else if (g_thread_self () == race->releaser
      && g_str_has_prefix (text, race->replaced) && ++race->n_replaced == 2)
    advance (race, DROPPING, POPPING);
}

static void
stop_popping (GstAggregatorPad * pad, GstBuffer * buffer, Race * race)
{
  advance (race, POPPING, RELEASED);
}

static void
race_begin (Race * race, Fixture * fixture, GstBuffer * mask)
{
  GstPad *pad = gst_element_get_static_pad (fixture->element, "mask");

  memset (race, 0, sizeof (*race));
  race->releaser = g_thread_self ();
  race->taken = g_strdup_printf (" with %p ", (void *) mask);
  race->replaced = g_strdup_printf ("replace %p ", (void *) mask);
  g_mutex_init (&race->lock);
  g_cond_init (&race->changed);
  g_object_set (pad, "emit-signals", TRUE, NULL);
  g_signal_connect (pad, "buffer-consumed", G_CALLBACK (stop_popping), race);
  gst_object_unref (pad);
  gst_debug_remove_log_function (gst_debug_log_default);
  gst_debug_add_log_function (follow_log, race, NULL);
  gst_debug_set_threshold_for_name ("GST_REFCOUNTING", GST_LEVEL_TRACE);
}

static void
race_end (Race * race)
{
  gst_debug_unset_threshold_for_name ("GST_REFCOUNTING");
  gst_debug_remove_log_function (follow_log);
  gst_debug_add_log_function (gst_debug_log_default, NULL, NULL);
  g_free (race->taken);
  g_free (race->replaced);
  g_mutex_clear (&race->lock);
  g_cond_clear (&race->changed);
}

GST_START_TEST (test_mask_pad_goes_while_popped)
{
  GstBuffer *mask;
  Fixture f;
  Race race;

  set_up (&f, __i__);
  mask = make_buffer (f.mask, 0, FRAME_MS);
  race_begin (&race, &f, mask);
  push_video (&f, 0);
  fail_unless_equals_int (gst_harness_push (f.mask, gst_buffer_ref (mask)),
      GST_FLOW_OK);
  g_mutex_lock (&race.lock);
  wait_for (&race, PEEKED, 10000);
  fail_unless_equals_int (race.stage, PEEKED);
  g_mutex_unlock (&race.lock);
  remove_mask (&f);
  advance (&race, RELEASED, RELEASED);

  pull_and_forget (&f, 0);
  // Ours, and that of the mask in hand.
  ASSERT_MINI_OBJECT_REFCOUNT (mask, "mask", 2);
  race_end (&race);
  tear_down (&f);
  gst_buffer_unref (mask);
}

GST_END_TEST;

static void
release_mask_pad (gpointer user_data)
{
  GstElement *element = user_data;
  GstPad *pad = gst_element_get_static_pad (element, "mask");

  gst_element_release_request_pad (element, pad);
  gst_object_unref (pad);
}

// The application releases the pad as soon as it gets a mask's memory back,
// which is in the streaming thread.
GST_START_TEST (test_mask_pad_goes_with_memory)
{
  static guint8 samples[16 * 12];
  GstBuffer *mask;
  Fixture f;

  set_up (&f, __i__);
  gst_harness_set_src_caps_str (f.mask, STILL_MASK_CAPS);
  mask = gst_buffer_new_wrapped_full (GST_MEMORY_FLAG_READONLY, samples,
      sizeof samples, 0, sizeof samples, f.element, release_mask_pad);
  GST_BUFFER_PTS (mask) = 0;
  push_video (&f, 0);
  fail_unless_equals_int (gst_harness_push (f.mask, mask), GST_FLOW_OK);
  push_mask (&f, 40, NONE);
  pull_and_forget (&f, 0);
  // The mask at 40 ms takes the place of the other one.
  push_video (&f, 40);
  expect_alpha (&f, 40, NONE);
  tear_down (&f);
}

GST_END_TEST;

// Without a mask pad the video's own alpha is the mask: as good as the same
// mask on its own.
GST_START_TEST (test_own_alpha)
{
  static const char *const pairs[][2] = {
    {VIDEO_CAPS ("RGBA", 64, 48), VIDEO_CAPS ("RGBx", 64, 48)},
    {VIDEO_CAPS ("ARGB", 64, 48), VIDEO_CAPS ("xRGB", 64, 48)},
    {VIDEO_CAPS ("A420", 64, 48), VIDEO_CAPS ("I420", 64, 48)},
    {VIDEO_CAPS ("A444_10LE", 64, 48), VIDEO_CAPS ("Y444_10LE", 64, 48)},
  };

  for (guint i = 0; i < G_N_ELEMENTS (pairs); i++) {
    GstBuffer *own, *other;
    Fixture f;

    set_up_maskless (&f, __i__, pairs[i][0]);
    push_video (&f, 0);
    own = pull_at (&f, 0);
    tear_down (&f);

    set_up_bare (&f, __i__);
    gst_harness_set_src_caps_str (f.video, pairs[i][1]);
    gst_harness_set_src_caps_str (f.mask, MASK_CAPS);
    push_frame (&f, 0);
    other = pull_at (&f, 0);
    tear_down (&f);

    expect_same_bytes (own, other);
    gst_buffer_unref (other);
    gst_buffer_unref (own);
  }
}

GST_END_TEST;

// A mask pad comes before the video's own alpha, which passes without a mask.
GST_START_TEST (test_own_alpha_and_mask)
{
  GstBuffer *passed, *mask;
  Fixture f;

  set_up_bare (&f, __i__);
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGBA", 64, 48));
  gst_harness_set_src_caps_str (f.mask, MASK_CAPS);
  set_option (&f, "missing-mask", "pass");
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  push_eos (f.mask);
  push_video (&f, 40);
  passed = pull_at (&f, 40);
  // That is what masks of the fixture show.
  mask = make_buffer (f.mask, 0, FRAME_MS);
  expect_same_bytes (passed, mask);
  gst_buffer_unref (mask);
  gst_buffer_unref (passed);
  expect_count (&f, "passed", 1);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_no_mask)
{
  Fixture f;

  set_up_maskless (&f, __i__, VIDEO_CAPS ("RGB", 64, 48));
  push_video (&f, 0);
  expect_message (f.bus, GST_MESSAGE_ERROR, GST_CORE_ERROR,
      GST_CORE_ERROR_NEGOTIATION);
  while (gst_harness_push (f.video, make_buffer (f.video, 40, FRAME_MS)) !=
      GST_FLOW_NOT_NEGOTIATED);
  tear_down (&f);
}

GST_END_TEST;

static Suite *
pairing_suite (void)
{
  Suite *suite = suite_create ("pairing");
  TCase *tcase = tcase_create ("pairs");

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_same_time, 0, 2);
  tcase_add_loop_test (tcase, test_slower_mask, 0, 2);
  tcase_add_loop_test (tcase, test_slower_mask_without_duration, 0, 2);
  tcase_add_loop_test (tcase, test_faster_mask, 0, 2);
  tcase_add_loop_test (tcase, test_early_mask, 0, 2);
  tcase_add_loop_test (tcase, test_tardy_mask, 0, 2);
  tcase_add_loop_test (tcase, test_variable_rate, 0, 2);
  tcase_add_loop_test (tcase, test_unknown_frame_end, 0, 2);
  tcase_add_loop_test (tcase, test_still_mask, 0, 2);

  tcase = tcase_create ("missing");
  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_missing_repeat, 0, 2);
  tcase_add_loop_test (tcase, test_missing_pass, 0, 2);
  tcase_add_loop_test (tcase, test_missing_drop, 0, 2);
  tcase_add_loop_test (tcase, test_drop_before_first_mask, 0, 2);
  tcase_add_loop_test (tcase, test_mask_starts_later, 0, 2);

  tcase = tcase_create ("gaps");
  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_gap, 0, 2);
  tcase_add_loop_test (tcase, test_gap_missing_data, 0, 2);
  tcase_add_loop_test (tcase, test_gap_missing_data_after_gap, 0, 2);
  tcase_add_loop_test (tcase, test_video_gap, 0, 2);
  tcase_add_loop_test (tcase, test_video_gap_first, 0, 2);

  tcase = tcase_create ("pads");
  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_mask_pad_comes_and_goes, 0, 2);
  tcase_add_loop_test (tcase, test_mask_pad_goes_while_popped, 0, 2);
  tcase_add_loop_test (tcase, test_mask_pad_goes_with_memory, 0, 2);
  tcase_add_loop_test (tcase, test_own_alpha, 0, 2);
  tcase_add_loop_test (tcase, test_own_alpha_and_mask, 0, 2);
  tcase_add_loop_test (tcase, test_no_mask, 0, 2);
  return suite;
}

GST_CHECK_MAIN (pairing);
