/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The element's behaviour as a stream filter: pairing, caps, events, errors.
 * What it computes is the engine's affair and tested there; here a tiny model
 * (`CPSP_MODEL`) refines tiny frames. Scenarios in which time matters run
 * twice: not live, and live on a test clock.
 */
#include <unistd.h>

#include <glib/gstdio.h>
#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>
#include <gst/controller/gstdirectcontrolbinding.h>
#include <gst/controller/gstinterpolationcontrolsource.h>
#include <gst/video/video.h>

#define WIDTH 64
#define HEIGHT 48
#define FRAME_MS 40
#define NONE G_MAXUINT

#define VIDEO_CAPS(format, width, height) \
  "video/x-raw,format=" format ",width=" G_STRINGIFY (width) \
  ",height=" G_STRINGIFY (height) ",framerate=25/1"
#define MASK_CAPS VIDEO_CAPS ("GRAY8", WIDTH, HEIGHT)
#define STILL_MASK_CAPS "video/x-raw,format=GRAY8,width=16,height=12," \
  "framerate=0/1"

typedef struct
{
  GstClockTime video, mask;
} Pair;

typedef struct
{
  GstElement *element;
  GstHarness *video;            // pads sink and src
  GstHarness *mask;
  GstBus *bus;
  GMutex lock;
  GArray *pairs;                // of Pair: what samples-selected said
} Fixture;

static GstClockTime
from_ms (guint ms)
{
  return ms == NONE ? GST_CLOCK_TIME_NONE : ms * GST_MSECOND;
}

static GstElement *
make_element (void)
{
  GstElement *element = gst_element_factory_make ("cascadepsprefine", NULL);

  fail_unless (element != NULL);
  g_object_set (element, "crop-size", 96, NULL);
  return element;
}

static void
record_pair (GstAggregator * element, GstSegment * segment, GstClockTime pts,
    GstClockTime dts, GstClockTime duration, GstStructure * info,
    Fixture * fixture)
{
  GstPad *pad = gst_element_get_static_pad (GST_ELEMENT (element), "mask");
  GstSample *sample = gst_aggregator_peek_next_sample (element,
      GST_AGGREGATOR_PAD (pad));
  Pair pair = { pts, GST_CLOCK_TIME_NONE };

  if (sample) {
    pair.mask = GST_BUFFER_PTS (gst_sample_get_buffer (sample));
    gst_sample_unref (sample);
  }
  gst_object_unref (pad);
  g_mutex_lock (&fixture->lock);
  g_array_append_val (fixture->pairs, pair);
  g_mutex_unlock (&fixture->lock);
}

static void
set_up_bare (Fixture * fixture, gboolean live)
{
  fixture->element = make_element ();
  fixture->bus = gst_bus_new ();
  gst_element_set_bus (fixture->element, fixture->bus);
  g_mutex_init (&fixture->lock);
  fixture->pairs = g_array_new (FALSE, FALSE, sizeof (Pair));
  g_object_set (fixture->element, "emit-signals", TRUE, NULL);
  g_signal_connect (fixture->element, "samples-selected",
      G_CALLBACK (record_pair), fixture);

  fixture->video = gst_harness_new_with_element (fixture->element, "sink",
      "src");
  fixture->mask = gst_harness_new_with_element (fixture->element, "mask", NULL);
  gst_harness_set_live (fixture->video, live);
  gst_harness_set_live (fixture->mask, live);
}

static void
set_up (Fixture * fixture, gboolean live)
{
  set_up_bare (fixture, live);
  gst_harness_set_src_caps_str (fixture->video,
      VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
  gst_harness_set_src_caps_str (fixture->mask, MASK_CAPS);
}

static void
tear_down (Fixture * fixture)
{
  GstMessage *message = gst_bus_pop_filtered (fixture->bus,
      GST_MESSAGE_ERROR | GST_MESSAGE_WARNING);

  fail_unless (message == NULL, "unexpected %s on the bus",
      message ? GST_MESSAGE_TYPE_NAME (message) : "");
  gst_harness_teardown (fixture->mask);
  gst_harness_teardown (fixture->video);
  gst_element_set_bus (fixture->element, NULL);
  gst_object_unref (fixture->bus);
  gst_object_unref (fixture->element);
  g_array_unref (fixture->pairs);
  g_mutex_clear (&fixture->lock);
}

static void
set_policy (Fixture * fixture, const char *missing_mask)
{
  gst_util_set_object_arg (G_OBJECT (fixture->element), "missing-mask",
      missing_mask);
}

// The next error or warning on BUS.
static void
expect_message (GstBus * bus, GstMessageType type, GQuark domain, gint code)
{
  GstMessage *message = gst_bus_timed_pop_filtered (bus, 10 * GST_SECOND,
      GST_MESSAGE_ERROR | GST_MESSAGE_WARNING);
  GError *error = NULL;

  fail_unless (message != NULL, "no message");
  fail_unless_equals_int (GST_MESSAGE_TYPE (message), type);
  if (type == GST_MESSAGE_ERROR)
    gst_message_parse_error (message, &error, NULL);
  else
    gst_message_parse_warning (message, &error, NULL);
  fail_unless (g_error_matches (error, domain, code), "%s %d: %s",
      g_quark_to_string (error->domain), error->code, error->message);
  g_error_free (error);
  gst_message_unref (message);
}

// A buffer as PAD's caps have it: colourful, or for a mask white on its left.
static GstBuffer *
make_buffer (GstHarness * harness, guint pts_ms, guint duration_ms)
{
  GstCaps *caps = gst_pad_get_current_caps (harness->srcpad);
  GstVideoInfo info;
  GstVideoFrame frame;
  GstBuffer *buffer;

  fail_unless (gst_video_info_from_caps (&info, caps));
  gst_caps_unref (caps);
  buffer = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&info), NULL);
  gst_buffer_memset (buffer, 0, 0, GST_VIDEO_INFO_SIZE (&info));
  GST_BUFFER_PTS (buffer) = from_ms (pts_ms);
  GST_BUFFER_DURATION (buffer) = from_ms (duration_ms);

  fail_unless (gst_video_frame_map (&frame, &info, buffer, GST_MAP_WRITE));
  for (gint y = 0; y < GST_VIDEO_FRAME_HEIGHT (&frame); y++) {
    guint8 *row = (guint8 *) GST_VIDEO_FRAME_PLANE_DATA (&frame, 0)
        + y * GST_VIDEO_FRAME_PLANE_STRIDE (&frame, 0);
    gint bytes = GST_VIDEO_FRAME_WIDTH (&frame)
        * GST_VIDEO_FRAME_COMP_PSTRIDE (&frame, 0);

    if (GST_VIDEO_INFO_IS_GRAY (&info))
      memset (row, 0xff, bytes / 2);
    else
      for (gint x = 0; x < bytes; x++)
        row[x] = (guint8) (x * 5 + y * 3);
  }
  gst_video_frame_unmap (&frame);
  return buffer;
}

static void
push_video (Fixture * fixture, guint pts_ms)
{
  fail_unless_equals_int (gst_harness_push (fixture->video,
          make_buffer (fixture->video, pts_ms, FRAME_MS)), GST_FLOW_OK);
}

static void
push_mask (Fixture * fixture, guint pts_ms, guint duration_ms)
{
  fail_unless_equals_int (gst_harness_push (fixture->mask,
          make_buffer (fixture->mask, pts_ms, duration_ms)), GST_FLOW_OK);
}

static gboolean
is_empty (GstBuffer * alpha)
{
  GstMapInfo map;
  gboolean empty = TRUE;

  fail_unless (gst_buffer_map (alpha, &map, GST_MAP_READ));
  for (gsize i = 0; i < map.size && empty; i++)
    empty = map.data[i] == 0;
  gst_buffer_unmap (alpha, &map);
  return empty;
}

static GstBuffer *
pull_at (Fixture * fixture, guint video_ms)
{
  GstBuffer *alpha = gst_harness_pull (fixture->video);

  fail_unless (alpha != NULL, "nothing came for the frame at %u ms", video_ms);
  fail_unless_equals_uint64 (GST_BUFFER_PTS (alpha), from_ms (video_ms));
  return alpha;
}

// The next alpha mask is that of the frame at VIDEO_MS, refined from the mask
// at MASK_MS, or empty if that is NONE.
static void
expect_alpha (Fixture * fixture, guint video_ms, guint mask_ms)
{
  GstBuffer *alpha = pull_at (fixture, video_ms);
  gboolean found = FALSE;

  fail_unless_equals_int (is_empty (alpha), mask_ms == NONE);
  gst_buffer_unref (alpha);
  if (mask_ms == NONE)
    return;

  g_mutex_lock (&fixture->lock);
  for (guint i = 0; i < fixture->pairs->len; i++) {
    Pair *pair = &g_array_index (fixture->pairs, Pair, i);

    if (pair->video == from_ms (video_ms)) {
      fail_unless_equals_uint64 (pair->mask, from_ms (mask_ms));
      found = TRUE;
    }
  }
  g_mutex_unlock (&fixture->lock);
  fail_unless (found);
}

static void
push_eos (GstHarness * harness)
{
  fail_unless (gst_harness_push_event (harness, gst_event_new_eos ()));
}

// No more alpha masks come, and then EOS.
static void
expect_eos (Fixture * fixture)
{
  GstBuffer *alpha = NULL;

  fail_unless (gst_harness_pull_until_eos (fixture->video, &alpha));
  fail_unless (alpha == NULL);
}

// Lets the frame that waits for its mask run out of time.
static void
time_out (Fixture * fixture)
{
  fail_unless (gst_harness_crank_single_clock_wait (fixture->video));
}

/* Pairing. Loop tests: 0: not live, 1: live. */

GST_START_TEST (test_same_time)
{
  Fixture f;
  GstBuffer *alpha;
  GstCaps *caps, *want;

  set_up (&f, __i__);
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
  alpha = pull_at (&f, 0);
  fail_unless_equals_uint64 (GST_BUFFER_DURATION (alpha), from_ms (FRAME_MS));
  fail_unless_equals_int (gst_buffer_get_size (alpha), WIDTH * HEIGHT);
  fail_if (is_empty (alpha));
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
  set_policy (&f, "drop");

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
  expect_alpha (&f, 0, NONE);
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
    set_policy (&f, policies[i]);
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
  push_video (fixture, 0);
  push_mask (fixture, 0, FRAME_MS);
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
  push_video (&f, 400);
  expect_alpha (&f, 400, 0);
  push_eos (f.video);
  expect_eos (&f);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_missing_pass)
{
  Fixture f;

  set_up (&f, __i__);
  set_policy (&f, "pass");
  push_two_frames_one_mask (&f);
  expect_alpha (&f, 40, NONE);
  push_eos (f.video);
  expect_eos (&f);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_missing_drop)
{
  Fixture f;

  set_up (&f, __i__);
  set_policy (&f, "drop");
  push_two_frames_one_mask (&f);
  push_eos (f.video);
  expect_eos (&f);
  tear_down (&f);
}

GST_END_TEST;

// Nothing to repeat: no frame is lost, and none shows what nobody marked.
GST_START_TEST (test_mask_starts_later)
{
  Fixture f;

  set_up (&f, __i__);
  push_video (&f, 0);
  push_mask (&f, 80, FRAME_MS);
  expect_alpha (&f, 0, NONE);
  push_video (&f, 40);
  expect_alpha (&f, 40, NONE);
  push_video (&f, 80);
  expect_alpha (&f, 80, 80);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_gap)
{
  Fixture f;

  set_up (&f, __i__);
  set_policy (&f, "pass");
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
  expect_alpha (&f, 0, 0);

  // Two frames are covered by one gap.
  push_video (&f, 40);
  fail_unless (gst_harness_push_event (f.mask,
          gst_event_new_gap (from_ms (40), from_ms (80))));
  expect_alpha (&f, 40, NONE);
  push_video (&f, 80);
  expect_alpha (&f, 80, NONE);
  push_video (&f, 120);
  push_mask (&f, 120, FRAME_MS);
  expect_alpha (&f, 120, 120);

  // Of unknown length: it ends with the next mask.
  push_video (&f, 160);
  fail_unless (gst_harness_push_event (f.mask,
          gst_event_new_gap (from_ms (160), GST_CLOCK_TIME_NONE)));
  expect_alpha (&f, 160, NONE);
  push_video (&f, 200);
  push_mask (&f, 200, FRAME_MS);
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
  set_policy (&f, "pass");
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
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
  set_policy (&f, "pass");
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
  expect_alpha (&f, 0, 0);
  push_video (&f, 40);
  fail_unless (gst_harness_push_event (f.mask,
          gst_event_new_gap (from_ms (40), from_ms (FRAME_MS))));
  expect_alpha (&f, 40, NONE);
  push_video (&f, 80);
  push_missing_data (&f, 80, FRAME_MS);
  expect_alpha (&f, 80, NONE);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_video_gap)
{
  Fixture f;

  set_up (&f, __i__);
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
  expect_alpha (&f, 0, 0);
  fail_unless (gst_harness_push_event (f.video,
          gst_event_new_gap (from_ms (40), from_ms (40))));
  push_mask (&f, 80, FRAME_MS);
  push_video (&f, 80);
  expect_alpha (&f, 80, 80);
  tear_down (&f);
}

GST_END_TEST;

/* Live only: time runs out. */

GST_START_TEST (test_timeout)
{
  Fixture f;

  set_up (&f, TRUE);
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
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
  push_video (&f, 120);
  push_mask (&f, 120, FRAME_MS);
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
  expect_alpha (&f, 0, NONE);
  push_mask (&f, 0, FRAME_MS);
  push_video (&f, 40);
  time_out (&f);
  expect_alpha (&f, 40, 0);
  tear_down (&f);
}

GST_END_TEST;

// The mask stream has stalled; the video's end must get through.
GST_START_TEST (test_live_eos_without_mask)
{
  Fixture f;

  set_up (&f, TRUE);
  push_eos (f.video);
  time_out (&f);
  expect_eos (&f);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_latency)
{
  Fixture f;

  set_up_bare (&f, TRUE);
  gst_harness_set_upstream_latency (f.video, from_ms (5));
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
  gst_harness_set_src_caps_str (f.mask, MASK_CAPS);
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
  expect_alpha (&f, 0, 0);
  fail_unless_equals_uint64 (gst_harness_query_latency (f.video),
      from_ms (5 + FRAME_MS));
  tear_down (&f);
}

GST_END_TEST;

/* End of stream */

GST_START_TEST (test_eos_before_any_buffer)
{
  Fixture f;

  set_up (&f, __i__);
  push_eos (f.video);
  push_eos (f.mask);
  expect_eos (&f);
  tear_down (&f);

  set_up_bare (&f, __i__);
  push_eos (f.mask);
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
  push_mask (&f, 40, FRAME_MS);
  expect_eos (&f);
  tear_down (&f);
}

GST_END_TEST;

/* Caps */

GST_START_TEST (test_video_caps_change)
{
  Fixture f;
  GstBuffer *alpha;

  set_up (&f, __i__);
  // The frame waits for its mask while the new caps come.
  push_video (&f, 0);
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("I420", 32, 24));
  push_mask (&f, 0, FRAME_MS);
  alpha = pull_at (&f, 0);
  fail_unless_equals_int (gst_buffer_get_size (alpha), WIDTH * HEIGHT);
  gst_buffer_unref (alpha);

  push_video (&f, 40);
  push_mask (&f, 40, FRAME_MS);
  alpha = pull_at (&f, 40);
  fail_unless_equals_int (gst_buffer_get_size (alpha), 32 * 24);
  gst_buffer_unref (alpha);
  tear_down (&f);
}

GST_END_TEST;

// The mask in hand keeps its own caps.
GST_START_TEST (test_mask_caps_change)
{
  Fixture f;
  GstBuffer *first, *second;
  GstMapInfo map;

  set_up (&f, __i__);
  gst_harness_set_src_caps_str (f.mask, STILL_MASK_CAPS);
  push_video (&f, 0);
  push_mask (&f, 0, NONE);
  first = pull_at (&f, 0);

  push_video (&f, 40);
  gst_harness_set_src_caps_str (f.mask, VIDEO_CAPS ("GRAY16_LE", 128, 96));
  push_mask (&f, 80, FRAME_MS);
  second = pull_at (&f, 40);
  // Same picture, same mask.
  fail_unless (gst_buffer_map (first, &map, GST_MAP_READ));
  gst_check_buffer_data (second, map.data, map.size);
  gst_buffer_unmap (first, &map);
  tear_down (&f);
  gst_buffer_unref (first);
  gst_buffer_unref (second);
}

GST_END_TEST;

// Renegotiation at downstream's wish.
GST_START_TEST (test_reconfigure)
{
  Fixture f;
  GstBuffer *alpha;

  set_up (&f, FALSE);
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
  expect_alpha (&f, 0, 0);
  gst_harness_set_sink_caps_str (f.video, "video/x-raw,format=GRAY16_LE");
  push_video (&f, 40);
  push_mask (&f, 40, FRAME_MS);
  alpha = pull_at (&f, 40);
  fail_unless_equals_int (gst_buffer_get_size (alpha), 2 * WIDTH * HEIGHT);
  gst_buffer_unref (alpha);
  tear_down (&f);
}

GST_END_TEST;

static void
check_formats (const char *video_caps, const char *mask_caps,
    const char *alpha_format, gsize alpha_size)
{
  Fixture f;
  GstBuffer *alpha;
  char *alpha_caps = g_strdup_printf ("video/x-raw,format=%s", alpha_format);

  set_up_bare (&f, FALSE);
  gst_harness_set_sink_caps_str (f.video, alpha_caps);
  gst_harness_set_src_caps_str (f.video, video_caps);
  gst_harness_set_src_caps_str (f.mask, mask_caps);
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
  alpha = pull_at (&f, 0);
  fail_unless_equals_int (gst_buffer_get_size (alpha), alpha_size);
  gst_buffer_unref (alpha);
  tear_down (&f);
  g_free (alpha_caps);
}

GST_START_TEST (test_formats)
{
  check_formats (VIDEO_CAPS ("NV12", 64, 48), VIDEO_CAPS ("GRAY8", 5, 3),
      "GRAY8", 64 * 48);
  check_formats (VIDEO_CAPS ("NV12", 64, 48), VIDEO_CAPS ("GRAY16_LE", 5, 3),
      "GRAY16_LE", 2 * 64 * 48);
  check_formats (VIDEO_CAPS ("v210", 64, 48), VIDEO_CAPS ("GRAY16_LE", 99, 101),
      "GRAY8", 64 * 48);
  check_formats (VIDEO_CAPS ("GRAY8", 64, 48), VIDEO_CAPS ("GRAY8", 64, 48),
      "GRAY16_LE", 2 * 64 * 48);
}

GST_END_TEST;

// GRAY8 rows are padded to multiples of 4 bytes.
GST_START_TEST (test_odd_sizes)
{
  check_formats (VIDEO_CAPS ("I420", 1, 1), VIDEO_CAPS ("GRAY8", 1, 1),
      "GRAY8", 4);
  check_formats (VIDEO_CAPS ("I420", 7, 9), VIDEO_CAPS ("GRAY8", 1, 1),
      "GRAY8", 8 * 9);
  check_formats (VIDEO_CAPS ("RGB", 7, 9), VIDEO_CAPS ("GRAY8", 7, 9),
      "GRAY16_LE", 16 * 9);
  check_formats (VIDEO_CAPS ("YUY2", 33, 100), VIDEO_CAPS ("GRAY8", 100, 33),
      "GRAY8", 36 * 100);
}

GST_END_TEST;

GST_START_TEST (test_accepted_caps)
{
  GstElement *element = make_element ();
  GstPad *sink = gst_element_get_static_pad (element, "sink");
  GstPad *mask = gst_element_get_static_pad (element, "mask");
  static const struct
  {
    const char *caps;
    gboolean video, mask;
  } cases[] = {
    {VIDEO_CAPS ("I420", 64, 48), TRUE, FALSE},
    {VIDEO_CAPS ("GRAY8", 64, 48), TRUE, TRUE},
    {VIDEO_CAPS ("GRAY16_LE", 64, 48), TRUE, TRUE},
    {VIDEO_CAPS ("GRAY16_BE", 64, 48), TRUE, FALSE},
    {STILL_MASK_CAPS, TRUE, TRUE},
    {VIDEO_CAPS ("I420", 64, 48) ",interlace-mode=progressive", TRUE, FALSE},
    {VIDEO_CAPS ("I420", 64, 48) ",interlace-mode=interleaved", FALSE, FALSE},
    {VIDEO_CAPS ("GRAY8", 40000, 48), FALSE, FALSE},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GstCaps *caps = gst_caps_from_string (cases[i].caps);

    fail_unless_equals_int (gst_pad_query_accept_caps (sink, caps),
        cases[i].video);
    fail_unless_equals_int (gst_pad_query_accept_caps (mask, caps),
        cases[i].mask);
    gst_caps_unref (caps);
  }
  gst_object_unref (mask);
  gst_object_unref (sink);
  gst_object_unref (element);
}

GST_END_TEST;

// One frame is enough for the one message. Live, it comes from a timeout.
GST_START_TEST (test_not_negotiable)
{
  Fixture f;

  set_up_bare (&f, __i__);
  gst_harness_set_sink_caps_str (f.video, "video/x-raw,format=GRAY8,width=9");
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
  gst_harness_set_src_caps_str (f.mask, MASK_CAPS);
  push_video (&f, 0);
  if (__i__)
    time_out (&f);
  else
    push_mask (&f, 0, FRAME_MS);
  expect_message (f.bus, GST_MESSAGE_ERROR, GST_CORE_ERROR,
      GST_CORE_ERROR_NEGOTIATION);
  while (gst_harness_push (f.video, make_buffer (f.video, 40, FRAME_MS)) !=
      GST_FLOW_NOT_NEGOTIATED);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_allocation)
{
  Fixture f;
  GstHarness *harnesses[2];
  GstBuffer *alpha;

  set_up_bare (&f, FALSE);
  gst_harness_add_propose_allocation_meta (f.video, GST_VIDEO_META_API_TYPE,
      NULL);
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
  gst_harness_set_src_caps_str (f.mask, MASK_CAPS);

  harnesses[0] = f.video;
  harnesses[1] = f.mask;
  for (guint i = 0; i < 2; i++) {
    GstCaps *caps = gst_pad_get_current_caps (harnesses[i]->srcpad);
    GstQuery *query = gst_query_new_allocation (caps, TRUE);

    fail_unless (gst_pad_peer_query (harnesses[i]->srcpad, query));
    fail_unless (gst_query_find_allocation_meta (query, GST_VIDEO_META_API_TYPE,
            NULL));
    gst_query_unref (query);
    gst_caps_unref (caps);
  }

  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
  alpha = pull_at (&f, 0);
  fail_unless (gst_buffer_get_video_meta (alpha) != NULL);
  fail_unless (alpha->pool != NULL);
  gst_buffer_unref (alpha);
  tear_down (&f);
}

GST_END_TEST;

/* Segments, seeks, flushes */

static void
push_segment (GstHarness * harness, guint start_ms, guint stop_ms)
{
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = segment.time = segment.position = from_ms (start_ms);
  segment.stop = from_ms (stop_ms);
  fail_unless (gst_harness_push_event (harness,
          gst_event_new_segment (&segment)));
}

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

static void
flush (Fixture * fixture)
{
  guint32 seqnum = gst_util_seqnum_next ();
  GstHarness *harnesses[] = { fixture->video, fixture->mask };

  for (guint stop = 0; stop < 2; stop++) {
    for (guint i = 0; i < G_N_ELEMENTS (harnesses); i++) {
      GstEvent *event = stop ? gst_event_new_flush_stop (TRUE)
          : gst_event_new_flush_start ();

      gst_event_set_seqnum (event, seqnum);
      fail_unless (gst_harness_push_event (harnesses[i], event));
    }
  }
}

GST_START_TEST (test_flush)
{
  Fixture f;

  set_up (&f, __i__);
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
  expect_alpha (&f, 0, 0);
  // One frame waits for its mask; the mask in hand is an old one.
  push_video (&f, 40);
  flush (&f);
  push_segment (f.video, 2000, NONE);
  push_segment (f.mask, 2000, NONE);

  // Both are forgotten.
  push_video (&f, 2000);
  push_mask (&f, 2040, FRAME_MS);
  expect_alpha (&f, 2000, NONE);
  push_video (&f, 2040);
  expect_alpha (&f, 2040, 2040);

  // After the end, too.
  push_eos (f.mask);
  push_eos (f.video);
  expect_eos (&f);
  flush (&f);
  push_segment (f.video, 0, NONE);
  push_segment (f.mask, 0, NONE);
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
  expect_alpha (&f, 0, 0);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_flush_before_any_buffer)
{
  Fixture f;

  set_up (&f, __i__);
  flush (&f);
  push_segment (f.video, 0, NONE);
  push_segment (f.mask, 0, NONE);
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
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
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
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
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
  expect_alpha (&f, 0, 0);
  harnesses[0] = f.video;
  harnesses[1] = f.mask;
  for (guint i = 0; i < G_N_ELEMENTS (harnesses); i++)
    fail_unless (gst_harness_push_event (harnesses[i],
            gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM,
                gst_structure_new_empty ("custom"))));
  push_video (&f, 40);
  push_mask (&f, 40, FRAME_MS);
  expect_alpha (&f, 40, 40);

  while ((event = gst_harness_try_pull_event (f.video)) != NULL) {
    n += GST_EVENT_TYPE (event) == GST_EVENT_CUSTOM_DOWNSTREAM;
    gst_event_unref (event);
  }
  fail_unless_equals_int (n, 1);
  tear_down (&f);
}

GST_END_TEST;

/* What goes along with a frame */

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

/* Properties */

GST_START_TEST (test_stats)
{
  Fixture f;
  GstStructure *stats;
  guint64 frames, memory_bytes;
  gint64 mask_age;
  gdouble total_ms;

  set_up (&f, FALSE);
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
  expect_alpha (&f, 0, 0);
  push_eos (f.mask);
  push_video (&f, 40);
  expect_alpha (&f, 40, 0);

  g_object_get (f.element, "stats", &stats, NULL);
  fail_unless (gst_structure_get (stats, "frames", G_TYPE_UINT64, &frames,
          "mask-age", G_TYPE_INT64, &mask_age,
          "total-ms", G_TYPE_DOUBLE, &total_ms,
          "memory-bytes", G_TYPE_UINT64, &memory_bytes, NULL));
  fail_unless_equals_uint64 (frames, 2);
  fail_unless_equals_int64 (mask_age, from_ms (40));
  fail_unless (total_ms > 0);
  fail_unless (memory_bytes > 0);
  fail_unless (gst_structure_get_string (stats, "device") != NULL);
  fail_unless (gst_structure_get_string (stats, "precision") != NULL);
  gst_structure_free (stats);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_crop_size_while_playing)
{
  Fixture f;
  guint crop_size;

  set_up (&f, FALSE);
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
  expect_alpha (&f, 0, 0);

  g_object_set (f.element, "crop-size", 64, NULL);
  expect_message (f.bus, GST_MESSAGE_WARNING, GST_LIBRARY_ERROR,
      GST_LIBRARY_ERROR_SETTINGS);
  g_object_get (f.element, "crop-size", &crop_size, NULL);
  fail_unless_equals_int (crop_size, 96);

  g_object_set (f.element, "crop-size", 128, NULL);
  g_object_get (f.element, "crop-size", &crop_size, NULL);
  fail_unless_equals_int (crop_size, 128);
  push_video (&f, 40);
  push_mask (&f, 40, FRAME_MS);
  expect_alpha (&f, 40, 40);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_controlled_threshold)
{
  Fixture f;
  GstControlSource *source = gst_interpolation_control_source_new ();
  gdouble threshold;

  g_object_set (source, "mode", GST_INTERPOLATION_MODE_NONE, NULL);
  gst_timed_value_control_source_set (GST_TIMED_VALUE_CONTROL_SOURCE (source),
      0, 0.25);
  gst_timed_value_control_source_set (GST_TIMED_VALUE_CONTROL_SOURCE (source),
      from_ms (40), 0.75);

  set_up (&f, FALSE);
  fail_unless (gst_object_add_control_binding (GST_OBJECT (f.element),
          gst_direct_control_binding_new_absolute (GST_OBJECT (f.element),
              "mask-threshold", source)));
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
  expect_alpha (&f, 0, 0);
  g_object_get (f.element, "mask-threshold", &threshold, NULL);
  fail_unless_equals_float (threshold, 0.25);
  push_video (&f, 40);
  push_mask (&f, 40, FRAME_MS);
  expect_alpha (&f, 40, 40);
  g_object_get (f.element, "mask-threshold", &threshold, NULL);
  fail_unless_equals_float (threshold, 0.75);
  tear_down (&f);
  gst_object_unref (source);
}

GST_END_TEST;

/* Errors: one message each */

static void
check_start_fails (GstElement * element, GQuark domain, gint code)
{
  GstBus *bus = gst_bus_new ();

  gst_element_set_bus (element, bus);
  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_PAUSED),
      GST_STATE_CHANGE_FAILURE);
  expect_message (bus, GST_MESSAGE_ERROR, domain, code);
  fail_unless (gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR) == NULL);
  gst_element_set_state (element, GST_STATE_NULL);
  gst_element_set_bus (element, NULL);
  gst_object_unref (bus);
}

GST_START_TEST (test_missing_model)
{
  GstElement *element = make_element ();

  g_object_set (element, "model-location", "/nowhere/model.safetensors", NULL);
  check_start_fails (element, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND);

  // The same element starts once that is put right.
  g_object_set (element, "model-location", NULL, NULL);
  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_PAUSED),
      GST_STATE_CHANGE_SUCCESS);
  gst_element_set_state (element, GST_STATE_NULL);
  gst_object_unref (element);
}

GST_END_TEST;

GST_START_TEST (test_malformed_model)
{
  GstElement *element = make_element ();
  char *path;
  gint file = g_file_open_tmp ("cpsp-XXXXXX.safetensors", &path, NULL);

  fail_unless (file >= 0);
  close (file);
  fail_unless (g_file_set_contents (path, "not a model", -1, NULL));
  g_object_set (element, "model-location", path, NULL);
  check_start_fails (element, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT);
  g_unlink (path);
  g_free (path);
  gst_object_unref (element);
}

GST_END_TEST;

GST_START_TEST (test_crop_size_too_small)
{
  GstElement *element = make_element ();

  g_object_set (element, "crop-size", 64, NULL);
  check_start_fails (element, GST_LIBRARY_ERROR, GST_LIBRARY_ERROR_SETTINGS);
  gst_object_unref (element);
}

GST_END_TEST;

GST_START_TEST (test_no_timestamp)
{
  GstHarness *culprit;
  Fixture f;

  set_up (&f, FALSE);
  culprit = __i__ ? f.mask : f.video;
  gst_harness_push (culprit, make_buffer (culprit, NONE, FRAME_MS));
  gst_harness_push (__i__ ? f.video : f.mask,
      make_buffer (__i__ ? f.video : f.mask, 0, FRAME_MS));
  expect_message (f.bus, GST_MESSAGE_ERROR, GST_STREAM_ERROR,
      GST_STREAM_ERROR_FORMAT);
  while (gst_harness_push (culprit, make_buffer (culprit, 0, FRAME_MS)) !=
      GST_FLOW_ERROR);
  tear_down (&f);
}

GST_END_TEST;

typedef GstAllocator FailingAllocator;
typedef GstAllocatorClass FailingAllocatorClass;

static GType failing_allocator_get_type (void);
G_DEFINE_TYPE (FailingAllocator, failing_allocator, GST_TYPE_ALLOCATOR);

static GstMemory *
failing_allocator_alloc (GstAllocator * allocator, gsize size,
    GstAllocationParams * params)
{
  return NULL;
}

static void
failing_allocator_class_init (FailingAllocatorClass * klass)
{
  klass->alloc = failing_allocator_alloc;
}

static void
failing_allocator_init (FailingAllocator * allocator)
{
}

GST_START_TEST (test_no_memory)
{
  Fixture f;

  set_up_bare (&f, FALSE);
  gst_harness_set_propose_allocator (f.video,
      g_object_new (failing_allocator_get_type (), NULL), NULL);
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
  gst_harness_set_src_caps_str (f.mask, MASK_CAPS);
  push_video (&f, 0);
  push_mask (&f, 0, FRAME_MS);
  expect_message (f.bus, GST_MESSAGE_ERROR, GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_NO_SPACE_LEFT);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_mask_not_linked)
{
  GstElement *element = make_element ();
  GstBus *bus = gst_bus_new ();
  GstHarness *video;

  gst_element_set_bus (element, bus);
  video = gst_harness_new_with_element (element, "sink", "src");
  gst_harness_set_src_caps_str (video, VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
  expect_message (bus, GST_MESSAGE_WARNING, GST_CORE_ERROR, GST_CORE_ERROR_PAD);
  gst_harness_teardown (video);
  gst_element_set_bus (element, NULL);
  gst_object_unref (bus);
  gst_object_unref (element);
}

GST_END_TEST;

/* Whole pipelines */

static void
count_buffer (GstElement * sink, GstBuffer * buffer, GstPad * pad, guint * n)
{
  ++*n;
}

GST_START_TEST (test_restart)
{
  GstElement *pipeline = gst_parse_launch ("cascadepsprefine name=refine"
      " crop-size=96 ! fakesink name=sink signal-handoffs=true"
      " videotestsrc num-buffers=5 ! video/x-raw,width=64,height=48"
      " ! tee name=t"
      " t. ! queue ! refine.sink"
      " t. ! queue ! videoconvert ! video/x-raw,format=GRAY8 ! refine.mask",
      NULL);
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "sink");
  GstBus *bus = gst_element_get_bus (pipeline);

  for (guint round = 0; round < 3; round++) {
    guint n = 0;
    gulong handler = g_signal_connect (sink, "handoff",
        G_CALLBACK (count_buffer), &n);
    GstMessage *message;

    gst_element_set_state (pipeline, GST_STATE_PLAYING);
    message = gst_bus_timed_pop_filtered (bus, GST_CLOCK_TIME_NONE,
        GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
    fail_unless_equals_int (GST_MESSAGE_TYPE (message), GST_MESSAGE_EOS);
    gst_message_unref (message);
    gst_element_set_state (pipeline, GST_STATE_NULL);
    fail_unless_equals_int (n, 5);
    g_signal_handler_disconnect (sink, handler);
  }
  gst_object_unref (bus);
  gst_object_unref (sink);
  gst_object_unref (pipeline);
}

GST_END_TEST;

static Suite *
element_suite (void)
{
  Suite *suite = suite_create ("element");
  TCase *tcase = tcase_create ("pairing");

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
  tcase_add_loop_test (tcase, test_missing_repeat, 0, 2);
  tcase_add_loop_test (tcase, test_missing_pass, 0, 2);
  tcase_add_loop_test (tcase, test_missing_drop, 0, 2);
  tcase_add_loop_test (tcase, test_mask_starts_later, 0, 2);
  tcase_add_loop_test (tcase, test_gap, 0, 2);
  tcase_add_loop_test (tcase, test_gap_missing_data, 0, 2);
  tcase_add_loop_test (tcase, test_gap_missing_data_after_gap, 0, 2);
  tcase_add_loop_test (tcase, test_video_gap, 0, 2);

  tcase = tcase_create ("live");
  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_timeout);
  tcase_add_test (tcase, test_timeout_before_first_mask);
  tcase_add_test (tcase, test_live_eos_without_mask);
  tcase_add_test (tcase, test_latency);

  tcase = tcase_create ("events");
  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_eos_before_any_buffer, 0, 2);
  tcase_add_loop_test (tcase, test_eos_with_frame_held, 0, 2);
  tcase_add_loop_test (tcase, test_segment, 0, 2);
  tcase_add_loop_test (tcase, test_negative_rate, 0, 2);
  tcase_add_loop_test (tcase, test_flush, 0, 2);
  tcase_add_loop_test (tcase, test_flush_before_any_buffer, 0, 2);
  tcase_add_test (tcase, test_seek);
  tcase_add_test (tcase, test_custom_events);
  tcase_add_test (tcase, test_metas);

  tcase = tcase_create ("caps");
  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_video_caps_change, 0, 2);
  tcase_add_loop_test (tcase, test_mask_caps_change, 0, 2);
  tcase_add_test (tcase, test_reconfigure);
  tcase_add_test (tcase, test_formats);
  tcase_add_test (tcase, test_odd_sizes);
  tcase_add_test (tcase, test_accepted_caps);
  tcase_add_loop_test (tcase, test_not_negotiable, 0, 2);
  tcase_add_test (tcase, test_allocation);

  tcase = tcase_create ("properties");
  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_stats);
  tcase_add_test (tcase, test_crop_size_while_playing);
  tcase_add_test (tcase, test_controlled_threshold);

  tcase = tcase_create ("errors");
  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_missing_model);
  tcase_add_test (tcase, test_malformed_model);
  tcase_add_test (tcase, test_crop_size_too_small);
  tcase_add_loop_test (tcase, test_no_timestamp, 0, 2);
  tcase_add_test (tcase, test_no_memory);
  tcase_add_test (tcase, test_mask_not_linked);

  tcase = tcase_create ("pipelines");
  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_restart);
  return suite;
}

GST_CHECK_MAIN (element);
