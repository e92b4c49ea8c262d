/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Properties and errors.
 */
#include <unistd.h>

#include <glib/gstdio.h>
#include <gst/controller/gstdirectcontrolbinding.h>
#include <gst/controller/gstinterpolationcontrolsource.h>

#include "fixture.h"

GST_START_TEST (test_stats)
{
  Fixture f;
  GstStructure *stats;
  guint64 frames, memory_bytes;
  gint64 mask_age;
  gdouble total_ms;

  set_up (&f, FALSE);
  push_frame (&f, 0);
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

static guint
count_crops (Fixture * fixture)
{
  GstStructure *stats;
  guint n;

  g_object_get (fixture->element, "stats", &stats, NULL);
  fail_unless (gst_structure_get_uint (stats, "crops-run", &n));
  gst_structure_free (stats);
  return n;
}

// Of a frame at MS with N regions at the left, and one at X, Y.
static guint
refine_regions (Fixture * fixture, guint ms, guint n, guint x, guint y)
{
  GstBuffer *video = make_buffer (fixture->video, ms, FRAME_MS);

  for (guint i = 0; i < n; i++)
    gst_buffer_add_video_region_of_interest_meta (video, "left", 0, 0, 90, 90);
  gst_buffer_add_video_region_of_interest_meta (video, "other", x, y, 90, 90);
  gst_harness_push (fixture->video, video);
  expect_alpha (fixture, ms, 0);
  return count_crops (fixture);
}

// Crops run where somebody looks. (This model is unsure everywhere.)
GST_START_TEST (test_regions_of_interest)
{
  guint all, corner, both;
  Fixture f;

  set_up_bare (&f, FALSE);
  set_option (&f, "local-step", "always");
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", 400, 300));
  gst_harness_set_src_caps_str (f.mask, STILL_MASK_CAPS);
  push_mask (&f, 0, NONE);
  push_eos (f.mask);

  push_video (&f, 0);
  expect_alpha (&f, 0, 0);
  all = count_crops (&f);
  corner = refine_regions (&f, 40, 0, 300, 200);
  fail_unless (corner > 0 && corner < all);
  both = refine_regions (&f, 80, 1, 300, 200);
  fail_unless (both > corner && both < all);
  // Of more than anybody counts the last one counts too.
  fail_unless_equals_int (refine_regions (&f, 120, 31, 300, 200), both);
  fail_unless (refine_regions (&f, 160, 50, 300, 200) >= both);
  fail_unless_equals_int (refine_regions (&f, 200, 0, G_MAXUINT, 5000), 0);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_post_messages)
{
  static const char *const fates[] = { "refined", "refined", "passed" };
  Fixture f;

  set_up (&f, FALSE);
  g_object_set (f.element, "post-messages", TRUE, NULL);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  push_eos (f.mask);
  push_video (&f, 40);
  expect_alpha (&f, 40, 0);
  push_video (&f, 4000);
  expect_whole (&f, 4000);

  for (guint i = 0; i < G_N_ELEMENTS (fates); i++) {
    GstMessage *message = gst_bus_pop_filtered (f.bus, GST_MESSAGE_ELEMENT);
    const GstStructure *structure;
    gboolean missing;
    gdouble ms;
    gint64 age;

    fail_unless (message != NULL);
    structure = gst_message_get_structure (message);
    fail_unless (gst_structure_has_name (structure, "cascadepsprefine"));
    fail_unless_equals_string (gst_structure_get_string (structure, "fate"),
        fates[i]);
    fail_unless (gst_structure_get (structure, "missing-mask", G_TYPE_BOOLEAN,
            &missing, "total-ms", G_TYPE_DOUBLE, &ms, "mask-age", G_TYPE_INT64,
            &age, NULL));
    fail_unless_equals_int (missing, i > 0);
    fail_unless_equals_int (ms > 0, i < 2);
    fail_unless_equals_int64 (age, i == 1 ? from_ms (40) : 0);
    gst_message_unref (message);
  }
  fail_unless (gst_bus_pop_filtered (f.bus, GST_MESSAGE_ELEMENT) == NULL);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_crop_size_while_playing)
{
  Fixture f;
  guint crop_size;

  set_up (&f, FALSE);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);

  g_object_set (f.element, "crop-size", 64, NULL);
  expect_message (f.bus, GST_MESSAGE_WARNING, GST_LIBRARY_ERROR,
      GST_LIBRARY_ERROR_SETTINGS);
  g_object_get (f.element, "crop-size", &crop_size, NULL);
  fail_unless_equals_int (crop_size, 96);

  g_object_set (f.element, "crop-size", 128, NULL);
  g_object_get (f.element, "crop-size", &crop_size, NULL);
  fail_unless_equals_int (crop_size, 128);
  push_frame (&f, 40);
  expect_alpha (&f, 40, 40);
  tear_down (&f);
}

GST_END_TEST;

static gboolean
buffers_differ (GstBuffer * a, GstBuffer * b)
{
  GstMapInfo map;
  gboolean differ;

  fail_unless (gst_buffer_map (a, &map, GST_MAP_READ));
  differ = gst_buffer_memcmp (b, 0, map.data, map.size) != 0;
  gst_buffer_unmap (a, &map);
  return differ;
}

// Each frame has its own value, and the alpha changes with it.
GST_START_TEST (test_controlled_edges)
{
  static const char *const names[] = { "shift", "feather", "black-point",
    "white-point"
  };
  static const gdouble values[] = { 5, 9, 0.9, 0.1 };
  GstControlSource *source = gst_interpolation_control_source_new ();
  GstTimedValueControlSource *timed = GST_TIMED_VALUE_CONTROL_SOURCE (source);
  GstBuffer *before, *after;
  gdouble plain, got;
  Fixture f;

  set_up (&f, FALSE);
  g_object_get (f.element, names[__i__], &plain, NULL);
  g_object_set (source, "mode", GST_INTERPOLATION_MODE_NONE, NULL);
  gst_timed_value_control_source_set (timed, 0, plain);
  gst_timed_value_control_source_set (timed, from_ms (40), values[__i__]);
  fail_unless (gst_object_add_control_binding (GST_OBJECT (f.element),
          gst_direct_control_binding_new_absolute (GST_OBJECT (f.element),
              names[__i__], source)));
  push_frame (&f, 0);
  before = pull_at (&f, 0);
  push_frame (&f, 40);
  after = pull_at (&f, 40);
  g_object_get (f.element, names[__i__], &got, NULL);
  fail_unless_equals_float (got, values[__i__]);
  fail_unless (buffers_differ (before, after));
  gst_buffer_unref (after);
  gst_buffer_unref (before);
  tear_down (&f);
  gst_object_unref (source);
}

GST_END_TEST;

GST_START_TEST (test_invert)
{
  GstBuffer *alpha, *hole;
  Fixture f;

  set_up (&f, FALSE);
  g_object_set (f.element, "invert", TRUE, NULL);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  push_eos (f.mask);
  set_option (&f, "missing-mask", "pass");
  push_video (&f, 40);
  // Opaque is 0 then.
  alpha = pull_at (&f, 40);
  hole = gst_buffer_new_allocate (NULL, WIDTH * HEIGHT, NULL);
  gst_buffer_memset (hole, 0, 0, WIDTH * HEIGHT);
  fail_if (buffers_differ (alpha, hole));
  gst_buffer_unref (hole);
  gst_buffer_unref (alpha);
  tear_down (&f);
}

GST_END_TEST;

// Nothing of what is shown needs more than a frame; all of it differs.
GST_START_TEST (test_show)
{
  static const char *const shows[] = { "alpha", "coarse", "tiles",
    "uncertainty"
  };
  GstBuffer *shown[G_N_ELEMENTS (shows)];
  Fixture f;

  set_up_bare (&f, FALSE);
  gst_harness_set_sink_caps_str (f.video, __i__ ? "video/x-raw,format=RGBA" :
      "video/x-raw,format=GRAY8");
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
  gst_harness_set_src_caps_str (f.mask, MASK_CAPS);
  set_option (&f, "local-step", "always");
  for (guint i = 0; i < G_N_ELEMENTS (shows); i++) {
    set_option (&f, "show", shows[i]);
    push_frame (&f, i * FRAME_MS);
    shown[i] = pull_at (&f, i * FRAME_MS);
    for (guint j = 0; j < i; j++)
      fail_unless (buffers_differ (shown[i], shown[j]), "%s and %s", shows[i],
          shows[j]);
  }
  for (guint i = 0; i < G_N_ELEMENTS (shows); i++)
    gst_buffer_unref (shown[i]);
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
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  g_object_get (f.element, "mask-threshold", &threshold, NULL);
  fail_unless_equals_float (threshold, 0.25);
  push_frame (&f, 40);
  expect_alpha (&f, 40, 40);
  g_object_get (f.element, "mask-threshold", &threshold, NULL);
  fail_unless_equals_float (threshold, 0.75);
  tear_down (&f);
  gst_object_unref (source);
}

GST_END_TEST;

static gboolean
uses_model (Fixture * fixture, const char *path)
{
  GstStructure *stats;
  gboolean equal;

  g_object_get (fixture->element, "stats", &stats, NULL);
  equal = g_strcmp0 (gst_structure_get_string (stats, "model"), path) == 0;
  gst_structure_free (stats);
  return equal;
}

static void
expect_model_location (Fixture * fixture, const char *want)
{
  char *got;

  g_object_get (fixture->element, "model-location", &got, NULL);
  fail_unless_equals_string (got, want);
  g_free (got);
}

// A model that is set while playing takes over between two frames; a bad one
// does not.
GST_START_TEST (test_model_while_playing)
{
  const char *old = g_getenv ("CPSP_MODEL");
  char *folder = g_dir_make_tmp ("cpsp-XXXXXX", NULL);
  char *good = g_build_filename (folder, "good.safetensors", NULL);
  char *bad = g_build_filename (folder, "bad.safetensors", NULL);
  char *content;
  gsize length;
  guint ms = 0;
  Fixture f;

  fail_unless (g_file_get_contents (old, &content, &length, NULL));
  fail_unless (g_file_set_contents (good, content, length, NULL));
  fail_unless (g_file_set_contents (bad, content, length / 2, NULL));
  g_free (content);

  set_up (&f, FALSE);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  fail_unless (uses_model (&f, old));

  g_object_set (f.element, "model-location", bad, NULL);
  expect_message (f.bus, GST_MESSAGE_WARNING, GST_STREAM_ERROR,
      GST_STREAM_ERROR_FORMAT);
  expect_model_location (&f, old);
  push_frame (&f, ms += FRAME_MS);
  expect_alpha (&f, ms, ms);
  fail_unless (uses_model (&f, old));

  // Of several the last one counts.
  for (guint i = 0; i < 5; i++)
    g_object_set (f.element, "model-location", i % 2 ? old : good, NULL);
  while (!uses_model (&f, good)) {
    push_frame (&f, ms += FRAME_MS);
    expect_alpha (&f, ms, ms);
  }
  expect_model_location (&f, good);

  // A stop waits for what loads.
  g_object_set (f.element, "model-location", old, NULL);
  tear_down (&f);
  g_unlink (bad);
  g_unlink (good);
  g_rmdir (folder);
  g_free (bad);
  g_free (good);
  g_free (folder);
}

GST_END_TEST;

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
  push_frame (&f, 0);
  expect_message (f.bus, GST_MESSAGE_ERROR, GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_NO_SPACE_LEFT);
  tear_down (&f);
}

GST_END_TEST;

// It might be linked later, but it might have been forgotten.
GST_START_TEST (test_mask_not_linked)
{
  GstElement *element = make_element ();
  GstPad *mask = gst_element_request_pad_simple (element, "mask");
  GstBus *bus = gst_bus_new ();
  GstHarness *video;

  gst_element_set_bus (element, bus);
  video = gst_harness_new_with_element (element, "sink", "src");
  gst_harness_set_src_caps_str (video, VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
  expect_message (bus, GST_MESSAGE_WARNING, GST_CORE_ERROR, GST_CORE_ERROR_PAD);
  gst_harness_teardown (video);
  gst_element_release_request_pad (element, mask);
  gst_object_unref (mask);
  gst_element_set_bus (element, NULL);
  gst_object_unref (bus);
  gst_object_unref (element);
}

GST_END_TEST;

static Suite *
element_suite (void)
{
  Suite *suite = suite_create ("element");
  TCase *tcase = tcase_create ("properties");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_stats);
  tcase_add_test (tcase, test_regions_of_interest);
  tcase_add_test (tcase, test_post_messages);
  tcase_add_test (tcase, test_crop_size_while_playing);
  tcase_add_test (tcase, test_model_while_playing);
  tcase_add_test (tcase, test_controlled_threshold);
  tcase_add_loop_test (tcase, test_controlled_edges, 0, 4);
  tcase_add_test (tcase, test_invert);
  tcase_add_loop_test (tcase, test_show, 0, 2);

  tcase = tcase_create ("errors");
  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_missing_model);
  tcase_add_test (tcase, test_malformed_model);
  tcase_add_test (tcase, test_crop_size_too_small);
  tcase_add_loop_test (tcase, test_no_timestamp, 0, 2);
  tcase_add_test (tcase, test_no_memory);
  tcase_add_test (tcase, test_mask_not_linked);
  return suite;
}

GST_CHECK_MAIN (element);
