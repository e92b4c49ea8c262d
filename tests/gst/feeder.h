/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An upstream neighbour: a thread that pushes what it is given into one pad,
 * in order, and blocks where the pad blocks. Any thread may give.
 */
#pragma once

#include <gst/check/gstharness.h>

typedef struct _Feeder Feeder;

// Both are called in the feeder's thread, and may be NULL.
typedef struct
{
  // OBJECT is about to be pushed.
  void (*before) (Feeder * feeder, GstMiniObject * object, gpointer user_data);
  // A buffer was, and got FLOW.
  void (*after) (Feeder * feeder, GstFlowReturn flow, gpointer user_data);
} FeederHooks;

struct _Feeder
{
  GstHarness *harness;
  FeederHooks hooks;
  gpointer user_data;
  GThread *thread;

  GMutex lock;
  GCond changed;
  GQueue todo;                  // of GstMiniObject
  gboolean busy, quit;
};

static inline void
feeder_push (Feeder * feeder, GstMiniObject * object)
{
  GstPad *pad = feeder->harness->srcpad;

  if (feeder->hooks.before)
    feeder->hooks.before (feeder, object, feeder->user_data);
  if (GST_IS_EVENT (object)) {
    gst_pad_push_event (pad, GST_EVENT (object));
  } else if (GST_IS_QUERY (object)) {
    gst_pad_peer_query (pad, GST_QUERY (object));
    gst_mini_object_unref (object);
  } else {
    GstFlowReturn flow = gst_harness_push (feeder->harness,
        GST_BUFFER (object));

    if (feeder->hooks.after)
      feeder->hooks.after (feeder, flow, feeder->user_data);
  }
}

static inline gpointer
feeder_run (gpointer data)
{
  Feeder *feeder = data;

  g_mutex_lock (&feeder->lock);
  while (!feeder->quit) {
    GstMiniObject *object = g_queue_pop_head (&feeder->todo);

    feeder->busy = object != NULL;
    if (object) {
      g_mutex_unlock (&feeder->lock);
      feeder_push (feeder, object);
      g_mutex_lock (&feeder->lock);
    } else {
      g_cond_broadcast (&feeder->changed);
      g_cond_wait (&feeder->changed, &feeder->lock);
    }
  }
  g_mutex_unlock (&feeder->lock);
  return NULL;
}

// HARNESS must live until feeder_clear(). HOOKS are copied.
static inline void
feeder_init (Feeder * feeder, GstHarness * harness, const FeederHooks * hooks,
    gpointer user_data)
{
  feeder->harness = harness;
  feeder->hooks = *hooks;
  feeder->user_data = user_data;
  g_mutex_init (&feeder->lock);
  g_cond_init (&feeder->changed);
  g_queue_init (&feeder->todo);
  feeder->busy = feeder->quit = FALSE;
  feeder->thread = g_thread_new (GST_PAD_NAME (GST_PAD_PEER (harness->srcpad)),
      feeder_run, feeder);
}

// Gives OBJECT (transfer full): a buffer, event or query.
static inline void
feeder_give (Feeder * feeder, gpointer object)
{
  g_mutex_lock (&feeder->lock);
  g_queue_push_tail (&feeder->todo, object);
  feeder->busy = TRUE;
  g_cond_broadcast (&feeder->changed);
  g_mutex_unlock (&feeder->lock);
}

// Whether everything given is pushed, after MAX_US microseconds of waiting
// for it.
static inline gboolean
feeder_wait (Feeder * feeder, gint64 max_us)
{
  gint64 end = g_get_monotonic_time () + max_us;
  gboolean idle;

  g_mutex_lock (&feeder->lock);
  while (feeder->busy
      && g_cond_wait_until (&feeder->changed, &feeder->lock, end));
  idle = !feeder->busy;
  g_mutex_unlock (&feeder->lock);
  return idle;
}

// Forgets what is not pushed yet.
static inline void
feeder_drop (Feeder * feeder)
{
  g_mutex_lock (&feeder->lock);
  g_queue_clear_full (&feeder->todo, (GDestroyNotify) gst_mini_object_unref);
  g_mutex_unlock (&feeder->lock);
}

// Ends the thread. The pad must block no more.
static inline void
feeder_clear (Feeder * feeder)
{
  feeder_drop (feeder);
  g_mutex_lock (&feeder->lock);
  feeder->quit = TRUE;
  g_cond_broadcast (&feeder->changed);
  g_mutex_unlock (&feeder->lock);
  g_thread_join (feeder->thread);
  feeder_drop (feeder);
  g_mutex_clear (&feeder->lock);
  g_cond_clear (&feeder->changed);
}
