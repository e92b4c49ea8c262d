/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The element in whole pipelines, and the memory that it takes in the long run.
 */
#include <errno.h>
#include <stdlib.h>

#include "fixture.h"

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


// alphacombine counts: it pairs the n-th alpha with the n-th frame.

#define KEY_FRAMES 12
// Frames without a mask
#define LOST_FIRST 4
#define LOST_LAST 7

static void
push_to (GstElement * pipeline, const char *name, GstBuffer * buffer)
{
  GstElement *source = gst_bin_get_by_name (GST_BIN (pipeline), name);
  GstFlowReturn flow;

  g_signal_emit_by_name (source, "push-buffer", buffer, &flow);
  fail_unless_equals_int (flow, GST_FLOW_OK);
  gst_buffer_unref (buffer);
  gst_object_unref (source);
}

// The mask of frame N: as many columns are white.
static GstBuffer *
make_key_mask (guint n)
{
  GstBuffer *mask = gst_buffer_new_allocate (NULL, 16 * 8, NULL);

  for (guint y = 0; y < 8; y++) {
    gst_buffer_memset (mask, y * 16, 0xff, n + 1);
    gst_buffer_memset (mask, y * 16 + n + 1, 0, 16 - n - 1);
  }
  return mask;
}

static void
set_times (GstBuffer * buffer, guint n)
{
  GST_BUFFER_PTS (buffer) = n * from_ms (FRAME_MS);
  GST_BUFFER_DURATION (buffer) = from_ms (FRAME_MS);
}

static guint
count_white_columns (GstSample * sample)
{
  GstVideoInfo info;
  GstVideoFrame frame;
  const guint8 *row;
  guint n = 0;

  fail_unless (gst_video_info_from_caps (&info, gst_sample_get_caps (sample)));
  fail_unless_equals_int (GST_VIDEO_INFO_FORMAT (&info), GST_VIDEO_FORMAT_A420);
  fail_unless (gst_video_frame_map (&frame, &info,
          gst_sample_get_buffer (sample), GST_MAP_READ));
  row = GST_VIDEO_FRAME_COMP_DATA (&frame, GST_VIDEO_COMP_A);
  while (n < 16 && row[n] == 0xff)
    n++;
  for (guint x = n; x < 16; x++)
    fail_unless_equals_int (row[x], 0);
  gst_video_frame_unmap (&frame);
  return n;
}

// After a mask dropout every frame has its own key again, whatever filled the
// hole. (At EOS alphacombine 1.26 may lose the last frame: there is none here.)
GST_START_TEST (test_alphacombine)
{
  static const struct
  {
    const char *policy;
    guint filled;               // white columns of frames without a mask
  } cases[] = { {"repeat", LOST_FIRST}, {"pass", 16}, {"drop", LOST_FIRST} };
  GError *error = NULL;
  GstElement *pipeline = gst_parse_launch ("alphacombine name=key"
      " ! appsink name=sink sync=false"
      " appsrc name=video format=time"
      " caps=video/x-raw,format=I420,width=16,height=8,framerate=25/1"
      " ! tee name=t"
      " t. ! queue ! key.sink"
      " t. ! queue ! cascadepsprefine name=refine crop-size=96 show=coarse"
      " ! video/x-raw,format=GRAY8,colorimetry=bt601 ! queue ! key.alpha"
      " appsrc name=mask format=time"
      " caps=video/x-raw,format=GRAY8,width=16,height=8,framerate=25/1"
      " ! refine.mask", &error);
  GstElement *refine, *sink;
  GstBus *bus;

  fail_unless (error == NULL, "%s", error ? error->message : "");
  refine = gst_bin_get_by_name (GST_BIN (pipeline), "refine");
  sink = gst_bin_get_by_name (GST_BIN (pipeline), "sink");
  gst_util_set_object_arg (G_OBJECT (refine), "missing-mask",
      cases[__i__].policy);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);

  for (guint n = 0; n < KEY_FRAMES; n++) {
    GstBuffer *video = gst_buffer_new_allocate (NULL, 16 * 8 * 3 / 2, NULL);

    gst_buffer_memset (video, 0, 128, 16 * 8 * 3 / 2);
    set_times (video, n);
    push_to (pipeline, "video", video);
    if (n < LOST_FIRST || n > LOST_LAST) {
      GstBuffer *mask = make_key_mask (n);

      set_times (mask, n);
      push_to (pipeline, "mask", mask);
    }
  }
  for (guint n = 0; n < KEY_FRAMES; n++) {
    gboolean lost = n >= LOST_FIRST && n <= LOST_LAST;
    GstSample *sample;

    g_signal_emit_by_name (sink, "pull-sample", &sample);
    fail_unless (sample != NULL, "no frame %u", n);
    fail_unless_equals_uint64 (GST_BUFFER_PTS (gst_sample_get_buffer (sample)),
        n * from_ms (FRAME_MS));
    fail_unless_equals_int (count_white_columns (sample),
        lost ? cases[__i__].filled : n + 1);
    gst_sample_unref (sample);
  }

  bus = gst_element_get_bus (pipeline);
  fail_unless (gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR) == NULL);
  gst_object_unref (bus);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (sink);
  gst_object_unref (refine);
  gst_object_unref (pipeline);
}

GST_END_TEST;

/* Memory in steady state. Sanitizers bring an allocator of their own. */

#if !defined (__SANITIZE_ADDRESS__) && !defined (__SANITIZE_THREAD__)

// Rows of pixels and more; objects, events and metas of GStreamer's own are
// smaller.
#define LARGE 1024
#define N 20

static gint n_large;            // allocations of LARGE bytes or more

extern void *__libc_malloc (size_t size);
extern void *__libc_calloc (size_t n, size_t size);
extern void *__libc_realloc (void *memory, size_t size);
extern void *__libc_memalign (size_t alignment, size_t size);

void *
malloc (size_t size)
{
  if (size >= LARGE)
    g_atomic_int_inc (&n_large);
  return __libc_malloc (size);
}

void *
calloc (size_t n, size_t size)
{
  if (n * size >= LARGE)
    g_atomic_int_inc (&n_large);
  return __libc_calloc (n, size);
}

void *
realloc (void *memory, size_t size)
{
  if (size >= LARGE)
    g_atomic_int_inc (&n_large);
  return __libc_realloc (memory, size);
}

int
posix_memalign (void **memory, size_t alignment, size_t size)
{
  if (size >= LARGE)
    g_atomic_int_inc (&n_large);
  *memory = __libc_memalign (alignment, size);
  return *memory ? 0 : ENOMEM;
}

void *
aligned_alloc (size_t alignment, size_t size)
{
  if (size >= LARGE)
    g_atomic_int_inc (&n_large);
  return __libc_memalign (alignment, size);
}

GST_START_TEST (test_steady_memory)
{
  static const char *const formats[] = { "GRAY8", "RGBA" };
  char *caps = g_strdup_printf ("video/x-raw,format=%s", formats[__i__]);
  GstBuffer *video[N], *mask[N];
  gint before = 0;
  Fixture f;

  set_up_bare (&f, FALSE);
  set_option (&f, "local-step", "always");
  g_object_set (f.element, "feather", 3., "emit-signals", FALSE, NULL);
  gst_harness_set_sink_caps_str (f.video, caps);
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", 160, 120));
  gst_harness_set_src_caps_str (f.mask, VIDEO_CAPS ("GRAY8", 160, 120));
  // What the test itself needs is there before.
  for (guint n = 0; n < N; n++) {
    video[n] = make_buffer (f.video, n * FRAME_MS, FRAME_MS);
    mask[n] = make_buffer (f.mask, n * FRAME_MS, FRAME_MS);
  }

  for (guint n = 0; n < N; n++) {
    // The first ones fill pools and grow buffers.
    if (n == N / 2)
      before = g_atomic_int_get (&n_large);
    gst_harness_push (f.video, video[n]);
    gst_harness_push (f.mask, mask[n]);
    gst_buffer_unref (pull_at (&f, n * FRAME_MS));
  }
  fail_unless (before > 0);
  fail_unless_equals_int (g_atomic_int_get (&n_large) - before, 0);
  tear_down (&f);
  g_free (caps);
}

GST_END_TEST;
#endif

static Suite *
pipelines_suite (void)
{
  Suite *suite = suite_create ("pipelines");
  TCase *tcase = tcase_create ("general");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_restart);
  tcase_add_loop_test (tcase, test_alphacombine, 0, 3);
#ifdef LARGE
  tcase_add_loop_test (tcase, test_steady_memory, 0, 2);
#endif
  return suite;
}

GST_CHECK_MAIN (pipelines);
