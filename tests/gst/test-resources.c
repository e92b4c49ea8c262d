/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pools and memory that fail: one clear error or the right flow, nothing leaks,
 * and the next start works. Each test runs not live and live.
 */
#include "fixture.h"

/* Memory that cannot be mapped */

typedef GstAllocator StubbornAllocator;
typedef GstAllocatorClass StubbornAllocatorClass;

static GType stubborn_allocator_get_type (void);
G_DEFINE_TYPE (StubbornAllocator, stubborn_allocator, GST_TYPE_ALLOCATOR);

static gint n_memories;         // atomic: that live

static GstMemory *
stubborn_allocator_alloc (GstAllocator * allocator, gsize size,
    GstAllocationParams * params)
{
  GstMemory *memory = g_new0 (GstMemory, 1);

  gst_memory_init (memory, 0, allocator, NULL, size, 0, 0, size);
  g_atomic_int_inc (&n_memories);
  return memory;
}

static void
stubborn_allocator_free (GstAllocator * allocator, GstMemory * memory)
{
  g_atomic_int_add (&n_memories, -1);
  g_free (memory);
}

static gpointer
refuse_map (GstMemory * memory, gsize size, GstMapFlags flags)
{
  return NULL;
}

static void
stubborn_allocator_class_init (StubbornAllocatorClass * klass)
{
  klass->alloc = stubborn_allocator_alloc;
  klass->free = stubborn_allocator_free;
}

static void
stubborn_allocator_init (StubbornAllocator * allocator)
{
  GST_OBJECT_FLAG_SET (allocator, GST_ALLOCATOR_FLAG_CUSTOM_ALLOC);
  allocator->mem_map = refuse_map;
}

static GstAllocator *
stubborn_allocator_new (void)
{
  return gst_object_ref_sink (g_object_new (stubborn_allocator_get_type (),
          NULL));
}

static GstBuffer *
make_stubborn_buffer (GstHarness * harness)
{
  GstBuffer *buffer = make_buffer (harness, 0, FRAME_MS);
  GstAllocator *allocator = stubborn_allocator_new ();

  gst_buffer_replace_all_memory (buffer, gst_allocator_alloc (allocator,
          gst_buffer_get_size (buffer), NULL));
  gst_object_unref (allocator);
  return buffer;
}

// One error of RESOURCE (0: none), and FLOW upstream.
static void
expect_failure (Fixture * fixture, gint code, GstFlowReturn flow)
{
  if (code)
    expect_message (fixture->bus, GST_MESSAGE_ERROR, GST_RESOURCE_ERROR, code);
  expect_end (fixture, flow);
}

// With everything in order again
static void
expect_restart (Fixture * fixture)
{
  restart (fixture);
  push_frame (fixture, 0);
  expect_alpha (fixture, 0, 0);
  push_frame (fixture, 40);
  expect_alpha (fixture, 40, 40);
}

// A frame or its mask
static void
check_input (gboolean live, gboolean is_mask)
{
  Fixture f;

  set_up (&f, live);
  gst_harness_push (f.video, is_mask ? make_buffer (f.video, 0, FRAME_MS)
      : make_stubborn_buffer (f.video));
  gst_harness_push (f.mask, is_mask ? make_stubborn_buffer (f.mask)
      : make_buffer (f.mask, 0, FRAME_MS));
  expect_failure (&f, GST_RESOURCE_ERROR_FAILED, GST_FLOW_ERROR);
  expect_restart (&f);
  tear_down (&f);
  fail_unless_equals_int (g_atomic_int_get (&n_memories), 0);
}

GST_START_TEST (test_map_video)
{
  check_input (__i__, FALSE);
}

GST_END_TEST;

GST_START_TEST (test_map_mask)
{
  check_input (__i__, TRUE);
}

GST_END_TEST;

static GstPadProbeReturn
offer_allocator (GstPad * pad, GstPadProbeInfo * info, gpointer allocator)
{
  GstQuery *query = GST_PAD_PROBE_INFO_QUERY (info);

  if (GST_QUERY_TYPE (query) != GST_QUERY_ALLOCATION)
    return GST_PAD_PROBE_OK;
  gst_query_add_allocation_param (query, allocator, NULL);
  return GST_PAD_PROBE_HANDLED;
}

// What downstream's allocator gives
GST_START_TEST (test_map_output)
{
  Fixture f;
  gulong probe;

  set_up_bare (&f, __i__);
  probe = gst_pad_add_probe (f.video->sinkpad,
      GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM, offer_allocator,
      stubborn_allocator_new (), gst_object_unref);
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
  gst_harness_set_src_caps_str (f.mask, MASK_CAPS);
  push_frame (&f, 0);
  expect_failure (&f, GST_RESOURCE_ERROR_FAILED, GST_FLOW_ERROR);
  gst_pad_remove_probe (f.video->sinkpad, probe);
  expect_restart (&f);
  tear_down (&f);
  fail_unless_equals_int (g_atomic_int_get (&n_memories), 0);
}

GST_END_TEST;

/* A pool of downstream's that fails */

typedef struct
{
  GstVideoBufferPool parent;
  gboolean inactive;            // it does not start
  GstFlowReturn flow;           // of acquiring a buffer
} LazyPool;
typedef GstVideoBufferPoolClass LazyPoolClass;

static GType lazy_pool_get_type (void);
G_DEFINE_TYPE (LazyPool, lazy_pool, GST_TYPE_VIDEO_BUFFER_POOL);

static gboolean
lazy_pool_start (GstBufferPool * pool)
{
  return !((LazyPool *) pool)->inactive
      && GST_BUFFER_POOL_CLASS (lazy_pool_parent_class)->start (pool);
}

static GstFlowReturn
lazy_pool_acquire (GstBufferPool * pool, GstBuffer ** buffer,
    GstBufferPoolAcquireParams * params)
{
  GstFlowReturn flow = ((LazyPool *) pool)->flow;

  return flow != GST_FLOW_OK ? flow : GST_BUFFER_POOL_CLASS
      (lazy_pool_parent_class)->acquire_buffer (pool, buffer, params);
}

static void
lazy_pool_class_init (LazyPoolClass * klass)
{
  GST_BUFFER_POOL_CLASS (klass)->start = lazy_pool_start;
  GST_BUFFER_POOL_CLASS (klass)->acquire_buffer = lazy_pool_acquire;
}

static void
lazy_pool_init (LazyPool * pool)
{
}

static GstPadProbeReturn
offer_pool (GstPad * pad, GstPadProbeInfo * info, gpointer pool)
{
  GstQuery *query = GST_PAD_PROBE_INFO_QUERY (info);

  if (GST_QUERY_TYPE (query) != GST_QUERY_ALLOCATION)
    return GST_PAD_PROBE_OK;
  gst_query_add_allocation_pool (query, pool, WIDTH * HEIGHT, 0, 0);
  return GST_PAD_PROBE_HANDLED;
}

static void
check_pool (gboolean live, gboolean inactive, GstFlowReturn acquire,
    gint code, GstFlowReturn flow)
{
  LazyPool *pool = g_object_new (lazy_pool_get_type (), NULL);
  Fixture f;

  gst_object_ref_sink (pool);
  g_object_add_weak_pointer (G_OBJECT (pool), (gpointer *) & pool);
  pool->inactive = inactive;
  pool->flow = acquire;
  set_up_bare (&f, live);
  gst_pad_add_probe (f.video->sinkpad, GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM,
      offer_pool, pool, gst_object_unref);
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
  gst_harness_set_src_caps_str (f.mask, MASK_CAPS);
  push_frame (&f, 0);
  expect_failure (&f, code, flow);
  pool->inactive = FALSE;
  pool->flow = GST_FLOW_OK;
  expect_restart (&f);
  tear_down (&f);
  fail_unless (pool == NULL, "the pool has leaked");
}

GST_START_TEST (test_pool_inactive)
{
  check_pool (__i__, TRUE, GST_FLOW_OK, GST_RESOURCE_ERROR_NO_SPACE_LEFT,
      GST_FLOW_ERROR);
}

GST_END_TEST;

GST_START_TEST (test_pool_error)
{
  check_pool (__i__, FALSE, GST_FLOW_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT,
      GST_FLOW_ERROR);
}

GST_END_TEST;

// Not an error: somebody is about to stop.
GST_START_TEST (test_pool_flushing)
{
  check_pool (__i__, FALSE, GST_FLOW_FLUSHING, 0, GST_FLOW_FLUSHING);
}

GST_END_TEST;

static Suite *
resources_suite (void)
{
  Suite *suite = suite_create ("resources");
  TCase *tcase = tcase_create ("memory");

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_map_video, 0, 2);
  tcase_add_loop_test (tcase, test_map_mask, 0, 2);
  tcase_add_loop_test (tcase, test_map_output, 0, 2);

  tcase = tcase_create ("pool");
  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_pool_inactive, 0, 2);
  tcase_add_loop_test (tcase, test_pool_error, 0, 2);
  tcase_add_loop_test (tcase, test_pool_flushing, 0, 2);
  return suite;
}

GST_CHECK_MAIN (resources);
