/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "preparer.h"

#include "deadline.h"

void
gst_cascade_psp_preparer_init (GstCascadePspPreparer * preparer)
{
  memset (preparer, 0, sizeof (*preparer));
  g_mutex_init (&preparer->lock);
  g_cond_init (&preparer->ended);
}

void
gst_cascade_psp_preparer_clear (GstCascadePspPreparer * preparer)
{
  g_mutex_clear (&preparer->lock);
  g_cond_clear (&preparer->ended);
}

static gpointer
work (gpointer user_data)
{
  GstCascadePspPreparer *preparer = user_data;
  const GstCascadePspSize *size = &preparer->size;
  GError *error = NULL;

  cpsp_refiner_prepare (preparer->refiner, &size->settings, size->width,
      size->height, size->budgeted, &error);
  g_mutex_lock (&preparer->lock);
  preparer->done = TRUE;
  preparer->error = error;
  g_cond_signal (&preparer->ended);
  g_mutex_unlock (&preparer->lock);
  return NULL;
}

void
gst_cascade_psp_preparer_begin (GstCascadePspPreparer * preparer,
    CpspRefiner * refiner, const GstCascadePspSize * size)
{
  preparer->refiner = refiner;
  preparer->size = *size;
  preparer->done = FALSE;
  preparer->thread = g_thread_new ("cascadepsp-size", work, preparer);
}

gboolean
gst_cascade_psp_preparer_is_idle (const GstCascadePspPreparer * preparer)
{
  return preparer->thread == NULL;
}

gboolean
gst_cascade_psp_preparer_wait (GstCascadePspPreparer * preparer,
    GstClockTimeDiff time, GError ** error)
{
  gint64 end_us = g_get_monotonic_time () + time / GST_USECOND;
  gboolean done, timely = TRUE;

  if (!preparer->thread)
    return TRUE;
  g_mutex_lock (&preparer->lock);
  while (!preparer->done && timely) {
    if (time == GST_CASCADE_PSP_FOR_EVER)
      g_cond_wait (&preparer->ended, &preparer->lock);
    else
      timely = g_cond_wait_until (&preparer->ended, &preparer->lock, end_us);
  }
  done = preparer->done;
  g_mutex_unlock (&preparer->lock);
  if (!done)
    return FALSE;
  g_clear_pointer (&preparer->thread, g_thread_join);
  if (preparer->error)
    g_propagate_error (error, g_steal_pointer (&preparer->error));
  return TRUE;
}
