/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads that do things at any moment while two others push frames and
 * masks: what a sanitizer should watch. Each test runs not live and live;
 * live, one more thread makes time pass.
 */
#include "fixture.h"
#include "tiny-model.h"

#include <gst/check/gsttestclock.h>

// How long a storm lasts.
#define STORM_US (700 * G_TIME_SPAN_MILLISECOND)
// How long the next frame may take behind it, under valgrind on a bad day.
#define FLOW_US (30 * G_TIME_SPAN_SECOND)
#define SIZE "width=16,height=12,framerate=25/1"
#define PIXELS (16 * 12)
// The video has a mask in its alpha, for when the pad is away.
#define PIXEL_BYTES 4
#define STRESS_VIDEO_CAPS "video/x-raw,format=RGBA," SIZE
#define STRESS_MASK_CAPS "video/x-raw,format=GRAY8," SIZE

typedef struct
{
  GstHarness *harness;
  gsize size;
  guint n;                      // buffers pushed
  GMutex streaming;             // held while something is pushed
} Stream;

typedef struct
{
  Fixture f;
  Stream video, mask;
  GPtrArray *storm;             // of GstHarnessThread, neighbours first
  guint n_neighbours;
  // Flushes, states and links wait for each other, as they do in an
  // application; nothing else does.
  GMutex lock;
  gint out;                     // buffers
} Stress;

static char *model;

/* Neighbours */

static void
push_next (gpointer thread, gpointer user_data)
{
  Stream *stream = user_data;
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, stream->size, NULL);

  // Half of all masks have a boundary.
  gst_buffer_memset (buffer, 0, (guint8) (37 * stream->n), stream->size);
  gst_buffer_memset (buffer, 0, stream->n % 2 ? 0xff : 0, stream->size / 2);
  GST_BUFFER_PTS (buffer) = stream->n * 40 * GST_MSECOND;
  GST_BUFFER_DURATION (buffer) = 40 * GST_MSECOND;
  g_mutex_lock (&stream->streaming);
  stream->n++;
  gst_harness_push (stream->harness, buffer);
  g_mutex_unlock (&stream->streaming);
}

static void
let_time_pass (gpointer thread, gpointer user_data)
{
  Stress *stress = user_data;
  g_autoptr (GstTestClock) clock =
      gst_harness_get_testclock (stress->f.video);
  GstClockID id;

  if (!gst_test_clock_peek_next_pending_id (clock, &id))
    return;
  if (gst_clock_id_get_time (id) > gst_clock_get_time (GST_CLOCK (clock)))
    gst_test_clock_set_time (clock, gst_clock_id_get_time (id));
  gst_clock_id_unref (id);
  id = gst_test_clock_process_next_clock_id (clock);
  if (id)
    gst_clock_id_unref (id);
}

static GstPadProbeReturn
count_output (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  Stress *stress = user_data;

  g_atomic_int_inc (&stress->out);
  return GST_PAD_PROBE_OK;
}

static void
disturb (Stress * stress, GFunc what, gpointer data, gulong sleep_us)
{
  g_ptr_array_add (stress->storm,
      gst_harness_stress_custom_start (stress->f.video, NULL, what, data,
          sleep_us));
}

static void
stream_init (Stream * stream, GstHarness * harness, gsize size)
{
  stream->harness = harness;
  stream->size = size;
  g_mutex_init (&stream->streaming);
}

static void
begin (Stress * stress, gboolean live)
{
  memset (stress, 0, sizeof (*stress));
  set_up_maskless (&stress->f, live, STRESS_VIDEO_CAPS);
  add_mask (&stress->f, live);
  gst_harness_set_src_caps_str (stress->f.mask, STRESS_MASK_CAPS);
  gst_harness_set_drop_buffers (stress->f.video, TRUE);
  gst_pad_add_probe (GST_PAD_PEER (stress->f.video->sinkpad),
      GST_PAD_PROBE_TYPE_BUFFER, count_output, stress, NULL);
  stream_init (&stress->video, stress->f.video, PIXELS * PIXEL_BYTES);
  stream_init (&stress->mask, stress->f.mask, PIXELS);
  g_mutex_init (&stress->lock);
  stress->storm = g_ptr_array_new ();

  disturb (stress, push_next, &stress->video, 50);
  disturb (stress, push_next, &stress->mask, 50);
  if (live)
    disturb (stress, let_time_pass, stress, 50);
  stress->n_neighbours = stress->storm->len;
}

// A new mask pad is not linked yet when caps come just then, and the element
// says so.
static void
forget_warnings (Stress * stress)
{
  GstMessage *message;

  while ((message = gst_bus_pop_filtered (stress->f.bus,
              GST_MESSAGE_WARNING))) {
    g_autoptr (GError) error = NULL;

    gst_message_parse_warning (message, &error, NULL);
    fail_unless (g_error_matches (error, GST_CORE_ERROR, GST_CORE_ERROR_PAD),
        "%s", error->message);
    gst_message_unref (message);
  }
}

static void
stop_all_but (Stress * stress, guint n)
{
  while (stress->storm->len > n)
    gst_harness_stress_thread_stop (g_ptr_array_steal_index (stress->storm,
            stress->storm->len - 1));
}

// Lets the storm rage, and ends it. Behind it, frames must flow again.
static void
end (Stress * stress)
{
  const guint n_pushers = 2;
  gint64 late = g_get_monotonic_time () + STORM_US + FLOW_US;

  g_usleep (STORM_US);
  stop_all_but (stress, stress->n_neighbours);
  g_object_set (stress->f.element, "qos", FALSE, "overload", 0, NULL);
  g_atomic_int_set (&stress->out, 0);
  while (g_atomic_int_get (&stress->out) == 0) {
    fail_if (g_get_monotonic_time () > late, "nothing flows any more");
    g_usleep (G_TIME_SPAN_MILLISECOND);
  }

  stop_all_but (stress, n_pushers);
  gst_element_set_state (stress->f.element, GST_STATE_NULL);
  for (guint i = 0; i < n_pushers; i++)
    gst_harness_stress_thread_stop (stress->storm->pdata[i]);
  g_ptr_array_unref (stress->storm);
  forget_warnings (stress);
  tear_down (&stress->f);
  g_mutex_clear (&stress->video.streaming);
  g_mutex_clear (&stress->mask.streaming);
  g_mutex_clear (&stress->lock);
}

/* Storms */

static void
change_properties (gpointer thread, gpointer user_data)
{
  Stress *stress = user_data;
  GObject *element = G_OBJECT (stress->f.element);
  g_autoptr (GstStructure) stats = NULL;
  guint n = g_random_int ();

  g_object_set (element, "crop-size", 96 + n % 3 * 8, "local-step", n / 3 % 3,
      "local-region", n / 9 % 2, "mask-threshold", n % 997 / 1000.0, NULL);
  g_object_set (element, "overload", n / 18 % 3, "max-mask-age",
      (guint64) (n % 7) * 40 * GST_MSECOND, "qos", n / 54 % 2,
      "post-messages", n / 108 % 2, NULL);
  g_object_set (element, "model-location", n % 5 ? model : NULL, NULL);
  g_object_get (element, "stats", &stats, NULL);
  fail_unless (stats != NULL);
}

static void
ask (gpointer thread, gpointer user_data)
{
  Stress *stress = user_data;
  GstPad *pad = stress->f.video->sinkpad;
  GstCaps *caps = gst_pad_peer_query_caps (pad, NULL);

  gst_caps_unref (caps);
  gst_harness_query_latency (stress->f.video);
  gst_harness_push_upstream_event (stress->f.video,
      gst_event_new_qos (GST_QOS_TYPE_UNDERFLOW, 1.1,
          (GstClockTimeDiff) (g_random_int () % 100) * GST_MSECOND,
          GST_SECOND));
  gst_harness_push_upstream_event (stress->f.video,
      gst_event_new_reconfigure ());
}

static void
push_segment_again (Stream * stream)
{
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.base = stream->n * 40 * GST_MSECOND;
  segment.start = segment.position = segment.base;
  gst_harness_push_event (stream->harness, gst_event_new_segment (&segment));
}

// As upstream does: at once, then wait for the streaming thread.
static void
flush (Stress * stress, Stream ** streams, guint n)
{
  guint32 seqnum = gst_util_seqnum_next ();

  g_mutex_lock (&stress->lock);
  for (guint i = 0; i < n; i++) {
    GstEvent *event = gst_event_new_flush_start ();

    gst_event_set_seqnum (event, seqnum);
    gst_harness_push_event (streams[i]->harness, event);
  }
  for (guint i = 0; i < n; i++) {
    GstEvent *event = gst_event_new_flush_stop (TRUE);

    gst_event_set_seqnum (event, seqnum);
    g_mutex_lock (&streams[i]->streaming);
    gst_harness_push_event (streams[i]->harness, event);
    push_segment_again (streams[i]);
    g_mutex_unlock (&streams[i]->streaming);
  }
  g_mutex_unlock (&stress->lock);
}

static void
flush_both (gpointer thread, gpointer user_data)
{
  Stress *stress = user_data;
  Stream *streams[] = { &stress->video, &stress->mask };

  flush (stress, streams, 2);
}

static void
flush_video (gpointer thread, gpointer user_data)
{
  Stress *stress = user_data;
  Stream *stream = &stress->video;

  flush (stress, &stream, 1);
}

static void
flush_mask (gpointer thread, gpointer user_data)
{
  Stress *stress = user_data;
  Stream *stream = &stress->mask;

  flush (stress, &stream, 1);
}

static void
change_state (gpointer thread, gpointer user_data)
{
  Stress *stress = user_data;
  Stream *streams[] = { &stress->video, &stress->mask };
  static const GstState states[] = { GST_STATE_NULL, GST_STATE_READY,
    GST_STATE_PAUSED
  };
  GstState state = states[g_random_int () % 3];

  g_mutex_lock (&stress->lock);
  fail_if (gst_element_set_state (stress->f.element, state)
      == GST_STATE_CHANGE_FAILURE);
  if (state == GST_STATE_PAUSED) {
    fail_if (gst_element_set_state (stress->f.element, GST_STATE_PLAYING)
        == GST_STATE_CHANGE_FAILURE);
    g_mutex_unlock (&stress->lock);
    return;
  }
  for (guint i = 0; i < 2; i++)
    g_mutex_lock (&streams[i]->streaming);
  // The neighbours stop and start too.
  gst_pad_set_active (stress->f.video->sinkpad, FALSE);
  gst_pad_set_active (stress->f.video->sinkpad, TRUE);
  fail_if (gst_element_set_state (stress->f.element, GST_STATE_PLAYING)
      == GST_STATE_CHANGE_FAILURE);
  for (guint i = 0; i < 2; i++) {
    GstPad *pad = streams[i]->harness->srcpad;
    g_autoptr (GstCaps) caps = gst_pad_get_current_caps (pad);

    gst_pad_push_event (pad, gst_event_new_stream_start ("again"));
    gst_pad_push_event (pad, gst_event_new_caps (caps));
    push_segment_again (streams[i]);
    g_mutex_unlock (&streams[i]->streaming);
  }
  g_mutex_unlock (&stress->lock);
}

static void
relink_mask (gpointer thread, gpointer user_data)
{
  Stress *stress = user_data;
  GstPad *srcpad = stress->mask.harness->srcpad;
  GstPad *pad;

  g_mutex_lock (&stress->lock);
  pad = gst_pad_get_peer (srcpad);
  gst_pad_unlink (srcpad, pad);
  gst_element_release_request_pad (stress->f.element, pad);
  gst_object_unref (pad);
  g_thread_yield ();
  pad = gst_element_request_pad_simple (stress->f.element, "mask");
  fail_unless (pad != NULL);
  // Whoever links a pad keeps its stream still: GStreamer else takes caps or
  // segment, on their way to the old peer, for received by the new one.
  g_mutex_lock (&stress->mask.streaming);
  fail_unless_equals_int (gst_pad_link (srcpad, pad), GST_PAD_LINK_OK);
  g_mutex_unlock (&stress->mask.streaming);
  gst_object_unref (pad);
  g_mutex_unlock (&stress->lock);
}

GST_START_TEST (test_properties)
{
  Stress stress;

  begin (&stress, __i__);
  disturb (&stress, change_properties, &stress, 100);
  disturb (&stress, change_properties, &stress, 300);
  disturb (&stress, ask, &stress, 200);
  end (&stress);
}

GST_END_TEST;

GST_START_TEST (test_flushes)
{
  Stress stress;

  begin (&stress, __i__);
  disturb (&stress, flush_both, &stress, 300);
  disturb (&stress, flush_video, &stress, 500);
  disturb (&stress, flush_mask, &stress, 700);
  disturb (&stress, ask, &stress, 500);
  end (&stress);
}

GST_END_TEST;

GST_START_TEST (test_states)
{
  Stress stress;

  begin (&stress, __i__);
  disturb (&stress, change_state, &stress, 2000);
  disturb (&stress, change_properties, &stress, 500);
  disturb (&stress, ask, &stress, 500);
  end (&stress);
}

GST_END_TEST;

GST_START_TEST (test_mask_pad)
{
  Stress stress;

  begin (&stress, __i__);
  disturb (&stress, relink_mask, &stress, 500);
  disturb (&stress, ask, &stress, 500);
  end (&stress);
}

GST_END_TEST;

GST_START_TEST (test_all_at_once)
{
  Stress stress;

  begin (&stress, __i__);
  disturb (&stress, change_properties, &stress, 200);
  disturb (&stress, flush_both, &stress, 700);
  disturb (&stress, flush_mask, &stress, 900);
  disturb (&stress, change_state, &stress, 5000);
  disturb (&stress, relink_mask, &stress, 1000);
  disturb (&stress, ask, &stress, 300);
  end (&stress);
}

GST_END_TEST;

/* Several elements in one process */

static void
count_buffer (GstElement * sink, GstBuffer * buffer, GstPad * pad, gint * n)
{
  g_atomic_int_inc (n);
}

// Two one after the other in each of three pipelines, all at once: each takes
// its own way, and gives every frame.
GST_START_TEST (test_neighbours)
{
  const gint n_frames = 40;
  GstElement *pipelines[3];
  gint out[3] = { 0 };

  for (guint i = 0; i < G_N_ELEMENTS (pipelines); i++) {
    g_autofree char *line = g_strdup_printf ("cascadepsprefine name=first"
        " crop-size=%u threads=1 ! queue ! second.mask"
        " cascadepsprefine name=second crop-size=96 threads=1"
        " ! fakesink name=sink signal-handoffs=true"
        " videotestsrc num-buffers=%d ! video/x-raw,width=%u,height=24"
        " ! tee name=t"
        " t. ! queue ! first.sink"
        " t. ! queue ! videoconvert ! video/x-raw,format=GRAY8 ! first.mask"
        " t. ! queue ! second.sink", 96 + 8 * i, n_frames,
        32 + 16 * i);
    GError *error = NULL;
    GstElement *sink;

    pipelines[i] = gst_parse_launch (line, &error);
    fail_unless (error == NULL, "%s", error ? error->message : "");
    sink = gst_bin_get_by_name (GST_BIN (pipelines[i]), "sink");
    g_signal_connect (sink, "handoff", G_CALLBACK (count_buffer), &out[i]);
    gst_object_unref (sink);
  }
  for (guint i = 0; i < G_N_ELEMENTS (pipelines); i++)
    gst_element_set_state (pipelines[i], GST_STATE_PLAYING);
  for (guint i = 0; i < G_N_ELEMENTS (pipelines); i++) {
    GstBus *bus = gst_element_get_bus (pipelines[i]);
    GstMessage *message = gst_bus_timed_pop_filtered (bus, 60 * GST_SECOND,
        GST_MESSAGE_EOS | GST_MESSAGE_ERROR);

    fail_unless (message && GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS);
    gst_message_unref (message);
    gst_object_unref (bus);
    gst_element_set_state (pipelines[i], GST_STATE_NULL);
    gst_object_unref (pipelines[i]);
    fail_unless_equals_int (g_atomic_int_get (&out[i]), n_frames);
  }
}

GST_END_TEST;

static void
set_up_model (void)
{
  model = tiny_model_write (1);
  g_setenv ("CPSP_MODEL", model, TRUE);
}

static void
remove_model (void)
{
  g_unlink (model);
  g_clear_pointer (&model, g_free);
}

static Suite *
stress_suite (void)
{
  Suite *suite = suite_create ("stress");
  TCase *tcase = tcase_create ("storms");

  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, set_up_model, remove_model);
  tcase_add_loop_test (tcase, test_properties, 0, 2);
  tcase_add_loop_test (tcase, test_flushes, 0, 2);
  tcase_add_loop_test (tcase, test_states, 0, 2);
  tcase_add_loop_test (tcase, test_mask_pad, 0, 2);
  tcase_add_loop_test (tcase, test_all_at_once, 0, 2);
  tcase_add_test (tcase, test_neighbours);
  return suite;
}

GST_CHECK_MAIN (stress);
