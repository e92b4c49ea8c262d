/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fixture.h"

typedef struct
{
  GstClockTime video, mask;
} Pair;

GstClockTime
from_ms (guint ms)
{
  return ms == NONE ? GST_CLOCK_TIME_NONE : ms * GST_MSECOND;
}

GstElement *
make_element (void)
{
  GstElement *element = gst_element_factory_make ("cascadepsprefine", NULL);

  fail_unless (element != NULL);
  // One thread: ThreadSanitizer cannot see how OpenMP's wait for each other,
  // and frames this small take no more.
  g_object_set (element, "crop-size", 96, "threads", 1, NULL);
  return element;
}

static void
record_pair (GstAggregator * element, GstSegment * segment, GstClockTime pts,
    GstClockTime dts, GstClockTime duration, GstStructure * info,
    Fixture * fixture)
{
  GstPad *pad = gst_element_get_static_pad (GST_ELEMENT (element), "mask");
  GstSample *sample = pad ? gst_aggregator_peek_next_sample (element,
      GST_AGGREGATOR_PAD (pad)) : NULL;
  Pair pair = { pts, GST_CLOCK_TIME_NONE };

  if (sample) {
    pair.mask = GST_BUFFER_PTS (gst_sample_get_buffer (sample));
    gst_sample_unref (sample);
  }
  gst_clear_object (&pad);
  g_mutex_lock (&fixture->lock);
  g_array_append_val (fixture->pairs, pair);
  g_mutex_unlock (&fixture->lock);
}

static GstPadProbeReturn
write_log (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  Fixture *fixture = user_data;
  GstClockTime time = GST_CLOCK_TIME_NONE;
  const char *name = "buffer";

  if (info->type & GST_PAD_PROBE_TYPE_BUFFER) {
    time = GST_BUFFER_PTS (GST_PAD_PROBE_INFO_BUFFER (info));
  } else {
    GstEvent *event = GST_PAD_PROBE_INFO_EVENT (info);

    name = GST_EVENT_TYPE_NAME (event);
    if (GST_EVENT_TYPE (event) == GST_EVENT_GAP)
      gst_event_parse_gap (event, &time, NULL);
  }

  g_mutex_lock (&fixture->lock);
  g_string_append_printf (fixture->log, "%s%s", fixture->log->len ? " " : "",
      name);
  if (GST_CLOCK_TIME_IS_VALID (time))
    g_string_append_printf (fixture->log, "@%u", (guint) (time / GST_MSECOND));
  g_mutex_unlock (&fixture->lock);
  return GST_PAD_PROBE_OK;
}

void
add_mask (Fixture * fixture, gboolean live)
{
  fixture->mask = gst_harness_new_with_element (fixture->element, "mask", NULL);
  gst_harness_set_live (fixture->mask, live);
}

void
remove_mask (Fixture * fixture)
{
  g_clear_pointer (&fixture->mask, gst_harness_teardown);
}

static void
set_up_video (Fixture * fixture, gboolean live)
{
  fixture->element = make_element ();
  fixture->mask = NULL;
  fixture->bus = gst_bus_new ();
  gst_element_set_bus (fixture->element, fixture->bus);
  g_mutex_init (&fixture->lock);
  fixture->pairs = g_array_new (FALSE, FALSE, sizeof (Pair));
  fixture->log = g_string_new (NULL);
  g_object_set (fixture->element, "emit-signals", TRUE, NULL);
  g_signal_connect (fixture->element, "samples-selected",
      G_CALLBACK (record_pair), fixture);
  if (live)
    g_object_set (fixture->element, "processing-deadline", 1000 * GST_SECOND,
        NULL);

  fixture->video = gst_harness_new_with_element (fixture->element, "sink",
      "src");
  gst_pad_add_probe (fixture->video->sinkpad,
      GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM,
      write_log, fixture, NULL);
  gst_harness_set_live (fixture->video, live);
}

void
set_up_bare (Fixture * fixture, gboolean live)
{
  set_up_video (fixture, live);
  add_mask (fixture, live);
}

void
set_up (Fixture * fixture, gboolean live)
{
  set_up_bare (fixture, live);
  gst_harness_set_src_caps_str (fixture->video,
      VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
  gst_harness_set_src_caps_str (fixture->mask, MASK_CAPS);
}

void
set_up_maskless (Fixture * fixture, gboolean live, const char *caps)
{
  set_up_video (fixture, live);
  gst_harness_set_src_caps_str (fixture->video, caps);
}

static void
expect_no_message (Fixture * fixture)
{
  GstMessage *message = gst_bus_pop_filtered (fixture->bus,
      GST_MESSAGE_ERROR | GST_MESSAGE_WARNING);

  fail_unless (message == NULL, "unexpected %s on the bus",
      message ? GST_MESSAGE_TYPE_NAME (message) : "");
}

// HARNESS's first events once more.
static void
begin_stream (GstHarness * harness)
{
  GstCaps *caps = gst_pad_get_current_caps (harness->srcpad);

  fail_unless (gst_harness_push_event (harness,
          gst_event_new_stream_start ("again")));
  gst_harness_set_src_caps (harness, caps);
}

void
restart (Fixture * fixture)
{
  fail_unless_equals_int (gst_element_set_state (fixture->element,
          GST_STATE_NULL), GST_STATE_CHANGE_SUCCESS);
  expect_no_message (fixture);
  fail_if (gst_element_set_state (fixture->element, GST_STATE_PLAYING)
      == GST_STATE_CHANGE_FAILURE);
  begin_stream (fixture->video);
  begin_stream (fixture->mask);
}

void
tear_down (Fixture * fixture)
{
  expect_no_message (fixture);
  remove_mask (fixture);
  gst_harness_teardown (fixture->video);
  gst_element_set_bus (fixture->element, NULL);
  gst_object_unref (fixture->bus);
  gst_object_unref (fixture->element);
  g_string_free (fixture->log, TRUE);
  g_array_unref (fixture->pairs);
  g_mutex_clear (&fixture->lock);
}

void
set_option (Fixture * fixture, const char *property, const char *nick)
{
  gst_util_set_object_arg (G_OBJECT (fixture->element), property, nick);
}

void
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

static void
fill_left_half (GstVideoFrame * frame, guint c)
{
  for (gint y = 0; y < GST_VIDEO_FRAME_COMP_HEIGHT (frame, c); y++) {
    guint8 *row = (guint8 *) GST_VIDEO_FRAME_COMP_DATA (frame, c)
        + y * GST_VIDEO_FRAME_COMP_STRIDE (frame, c);
    gint step = GST_VIDEO_FRAME_COMP_PSTRIDE (frame, c);
    gint bytes = (GST_VIDEO_FRAME_COMP_DEPTH (frame, c) + 7) / 8;

    for (gint x = 0; x < GST_VIDEO_FRAME_COMP_WIDTH (frame, c); x++)
      memset (row + x * step,
          2 * x + 1 < GST_VIDEO_FRAME_COMP_WIDTH (frame, c) ? 0xff : 0, bytes);
  }
}

GstBuffer *
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

    for (gint x = 0; x < bytes; x++)
      row[x] = (guint8) (x * 5 + y * 3);
  }
  if (GST_VIDEO_INFO_IS_GRAY (&info))
    fill_left_half (&frame, 0);
  if (GST_VIDEO_INFO_HAS_ALPHA (&info))
    fill_left_half (&frame, GST_VIDEO_COMP_A);
  gst_video_frame_unmap (&frame);
  return buffer;
}

void
push_video (Fixture * fixture, guint pts_ms)
{
  fail_unless_equals_int (gst_harness_push (fixture->video,
          make_buffer (fixture->video, pts_ms, FRAME_MS)), GST_FLOW_OK);
}

void
push_mask (Fixture * fixture, guint pts_ms, guint duration_ms)
{
  fail_unless_equals_int (gst_harness_push (fixture->mask,
          make_buffer (fixture->mask, pts_ms, duration_ms)), GST_FLOW_OK);
}

void
push_frame (Fixture * fixture, guint pts_ms)
{
  push_video (fixture, pts_ms);
  push_mask (fixture, pts_ms, FRAME_MS);
}

void
push_gap (GstHarness * harness, guint pts_ms, guint duration_ms)
{
  fail_unless (gst_harness_push_event (harness,
          gst_event_new_gap (from_ms (pts_ms), from_ms (duration_ms))));
}

void
push_eos (GstHarness * harness)
{
  fail_unless (gst_harness_push_event (harness, gst_event_new_eos ()));
}

void
push_segment (GstHarness * harness, guint start_ms, guint stop_ms)
{
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = segment.time = segment.position = from_ms (start_ms);
  segment.stop = from_ms (stop_ms);
  fail_unless (gst_harness_push_event (harness,
          gst_event_new_segment (&segment)));
}

void
push_flush (Fixture * fixture)
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

// Whether every byte is VALUE.
static gboolean
is_all (GstBuffer * alpha, guint8 value)
{
  GstMapInfo map;
  gboolean all = TRUE;

  fail_unless (gst_buffer_map (alpha, &map, GST_MAP_READ));
  for (gsize i = 0; i < map.size && all; i++)
    all = map.data[i] == value;
  gst_buffer_unmap (alpha, &map);
  return all;
}

GstBuffer *
pull_at (Fixture * fixture, guint video_ms)
{
  GstBuffer *alpha = gst_harness_pull (fixture->video);

  fail_unless (alpha != NULL, "nothing came for the frame at %u ms", video_ms);
  fail_unless_equals_uint64 (GST_BUFFER_PTS (alpha), from_ms (video_ms));
  return alpha;
}

void
expect_alpha (Fixture * fixture, guint video_ms, guint mask_ms)
{
  GstBuffer *alpha = pull_at (fixture, video_ms);
  Pair *pair = NULL;

  fail_if (is_all (alpha, 0) || is_all (alpha, 0xff),
      "the alpha at %u ms shows nothing", video_ms);
  gst_buffer_unref (alpha);

  g_mutex_lock (&fixture->lock);
  // The last one: timestamps come again after a seek.
  for (guint i = fixture->pairs->len; i > 0 && !pair; i--) {
    pair = &g_array_index (fixture->pairs, Pair, i - 1);
    if (pair->video != from_ms (video_ms))
      pair = NULL;
  }
  fail_unless (pair != NULL);
  fail_unless_equals_uint64 (pair->mask, from_ms (mask_ms));
  g_mutex_unlock (&fixture->lock);
}

void
expect_whole (Fixture * fixture, guint video_ms)
{
  GstBuffer *alpha = pull_at (fixture, video_ms);

  fail_unless (is_all (alpha, 0xff), "the alpha at %u ms is not opaque",
      video_ms);
  gst_buffer_unref (alpha);
}

void
expect_same_bytes (GstBuffer * a, GstBuffer * b)
{
  GstMapInfo map;

  fail_unless (gst_buffer_map (a, &map, GST_MAP_READ));
  gst_check_buffer_data (b, map.data, map.size);
  gst_buffer_unmap (a, &map);
}

void
expect_eos (Fixture * fixture)
{
  GstBuffer *alpha = NULL;

  fail_unless (gst_harness_pull_until_eos (fixture->video, &alpha));
  fail_unless (alpha == NULL);
}

void
expect_end (Fixture * fixture, GstFlowReturn flow)
{
  while (gst_harness_push (fixture->video, make_buffer (fixture->video, 0,
              FRAME_MS)) != flow)
    g_thread_yield ();
}

void
expect_log (Fixture * fixture, const char *log)
{
  g_mutex_lock (&fixture->lock);
  fail_unless_equals_string (fixture->log->str, log);
  g_mutex_unlock (&fixture->lock);
}

guint64
get_count (Fixture * fixture, const char *name)
{
  GstStructure *stats;
  guint64 count;

  g_object_get (fixture->element, "stats", &stats, NULL);
  fail_unless (gst_structure_get_uint64 (stats, name, &count), "no %s", name);
  gst_structure_free (stats);
  return count;
}

void
expect_count (Fixture * fixture, const char *name, guint64 count)
{
  guint64 got = get_count (fixture, name);

  fail_unless (got == count, "%s is %" G_GUINT64_FORMAT ", not %"
      G_GUINT64_FORMAT, name, got, count);
}

void
time_out (Fixture * fixture)
{
  fail_unless (gst_harness_crank_single_clock_wait (fixture->video));
}
