/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ThreadSanitizer sees how threads wait for each other only in code that it
 * has instrumented, and GLib and GStreamer are as the system has them. Linked
 * into a test program, the functions here come before theirs: each calls the
 * real one and tells the sanitizer what it orders. Only calls from one library
 * to another pass here, which is where our threads meet.
 */
#define _GNU_SOURCE
#include <dlfcn.h>

#include <gst/gst.h>

// Of the sanitizer's library: what this thread did up to a release of ADDRESS
// comes before what another does from its acquire on.
void __tsan_acquire (void *address);
void __tsan_release (void *address);

#define REAL(name) \
  static gpointer found; \
  __typeof__ (name) *real = g_atomic_pointer_get (&found); \
  if (!real) { \
    real = (__typeof__ (name) *) dlsym (RTLD_NEXT, #name); \
    g_atomic_pointer_set (&found, (gpointer) real); \
  }

#define LOCK(name, type) \
void \
name (type * lock) \
{ \
  REAL (name); \
  real (lock); \
  __tsan_acquire (lock); \
}

#define TRY_LOCK(name, type) \
gboolean \
name (type * lock) \
{ \
  REAL (name); \
  if (!real (lock)) \
    return FALSE; \
  __tsan_acquire (lock); \
  return TRUE; \
}

#define UNLOCK(name, type) \
void \
name (type * lock) \
{ \
  REAL (name); \
  __tsan_release (lock); \
  real (lock); \
}

LOCK (g_mutex_lock, GMutex)
TRY_LOCK (g_mutex_trylock, GMutex)
UNLOCK (g_mutex_unlock, GMutex)
LOCK (g_rec_mutex_lock, GRecMutex)
TRY_LOCK (g_rec_mutex_trylock, GRecMutex)
UNLOCK (g_rec_mutex_unlock, GRecMutex)

void
g_cond_wait (GCond * cond, GMutex * mutex)
{
  REAL (g_cond_wait);
  __tsan_release (mutex);
  real (cond, mutex);
  __tsan_acquire (mutex);
}

gboolean
g_cond_wait_until (GCond * cond, GMutex * mutex, gint64 end_time)
{
  gboolean signalled;

  REAL (g_cond_wait_until);
  __tsan_release (mutex);
  signalled = real (cond, mutex, end_time);
  __tsan_acquire (mutex);
  return signalled;
}

void
g_async_queue_push (GAsyncQueue * queue, gpointer data)
{
  REAL (g_async_queue_push);
  __tsan_release (queue);
  real (queue, data);
}

gpointer
g_async_queue_try_pop (GAsyncQueue * queue)
{
  gpointer data;

  REAL (g_async_queue_try_pop);
  data = real (queue);
  __tsan_acquire (queue);
  return data;
}

// Whoever drops the last reference comes after all others that dropped one.
void
gst_mini_object_unref (GstMiniObject * object)
{
  REAL (gst_mini_object_unref);
  __tsan_release (object);
  __tsan_acquire (object);
  real (object);
}

void
g_object_unref (gpointer object)
{
  REAL (g_object_unref);
  __tsan_release (object);
  __tsan_acquire (object);
  real (object);
}

void
gst_object_unref (gpointer object)
{
  REAL (gst_object_unref);
  __tsan_release (object);
  __tsan_acquire (object);
  real (object);
}

// A buffer comes back from a pool to which another thread has returned it.
GstFlowReturn
gst_buffer_pool_acquire_buffer (GstBufferPool * pool, GstBuffer ** buffer,
    GstBufferPoolAcquireParams * params)
{
  GstFlowReturn flow;

  REAL (gst_buffer_pool_acquire_buffer);
  flow = real (pool, buffer, params);
  if (flow == GST_FLOW_OK)
    __tsan_acquire (*buffer);
  return flow;
}
