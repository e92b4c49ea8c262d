/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "loader.h"

CpspRefiner *
gst_cascade_psp_load (const GstCascadePspLoad * load, GError ** error)
{
  g_autoptr (CpspModel) model = cpsp_model_load (load->location, error);
  g_autoptr (CpspRefiner) refiner = NULL;

  if (!model)
    return NULL;
  refiner = cpsp_refiner_new (model, &load->params, error);
  if (!refiner)
    return NULL;
  if (load->width > 0 && !cpsp_refiner_prepare (refiner, &load->settings,
          load->width, load->height, load->budgeted, error))
    return NULL;
  return g_steal_pointer (&refiner);
}

void
gst_cascade_psp_loader_init (GstCascadePspLoader * loader,
    GstCascadePspLoadFailed failed, gpointer user_data)
{
  memset (loader, 0, sizeof (*loader));
  g_mutex_init (&loader->lock);
  loader->failed = failed;
  loader->user_data = user_data;
}

void
gst_cascade_psp_loader_clear (GstCascadePspLoader * loader)
{
  g_mutex_clear (&loader->lock);
}

// With the lock held.
static void
forget (GstCascadePspLoader * loader)
{
  loader->has_request = FALSE;
  g_clear_pointer (&loader->request.location, g_free);
  g_clear_pointer (&loader->refiner, cpsp_refiner_free);
  g_clear_pointer (&loader->location, g_free);
}

static gpointer
work (gpointer user_data)
{
  GstCascadePspLoader *loader = user_data;

  g_mutex_lock (&loader->lock);
  while (loader->has_request) {
    GstCascadePspLoad load = loader->request;
    GError *error = NULL;
    CpspRefiner *refiner;

    loader->has_request = FALSE;
    loader->request.location = NULL;
    loader->wanted = TRUE;
    g_mutex_unlock (&loader->lock);
    refiner = gst_cascade_psp_load (&load, &error);
    g_mutex_lock (&loader->lock);

    // A later request or a cancellation makes this one void.
    if (loader->wanted && refiner) {
      loader->refiner = g_steal_pointer (&refiner);
      loader->location = g_steal_pointer (&load.location);
    } else if (loader->wanted) {
      g_mutex_unlock (&loader->lock);
      loader->failed (loader->user_data, load.location, error);
      g_mutex_lock (&loader->lock);
    }
    g_clear_pointer (&refiner, cpsp_refiner_free);
    g_clear_error (&error);
    g_free (load.location);
  }
  loader->busy = FALSE;
  g_mutex_unlock (&loader->lock);
  return NULL;
}

void
gst_cascade_psp_loader_request (GstCascadePspLoader * loader,
    const GstCascadePspLoad * load)
{
  GThread *ended = NULL;

  g_mutex_lock (&loader->lock);
  forget (loader);
  loader->wanted = FALSE;
  loader->request = *load;
  loader->has_request = TRUE;
  if (!loader->busy) {
    ended = loader->thread;
    loader->busy = TRUE;
    loader->thread = g_thread_new ("cascadepsp-load", work, loader);
  }
  g_mutex_unlock (&loader->lock);
  if (ended)
    g_thread_join (ended);
}

CpspRefiner *
gst_cascade_psp_loader_take (GstCascadePspLoader * loader, char **location)
{
  CpspRefiner *refiner;

  g_mutex_lock (&loader->lock);
  refiner = g_steal_pointer (&loader->refiner);
  *location = g_steal_pointer (&loader->location);
  g_mutex_unlock (&loader->lock);
  return refiner;
}

void
gst_cascade_psp_loader_cancel (GstCascadePspLoader * loader)
{
  GThread *thread;

  g_mutex_lock (&loader->lock);
  forget (loader);
  loader->wanted = FALSE;
  thread = g_steal_pointer (&loader->thread);
  g_mutex_unlock (&loader->lock);
  if (thread)
    g_thread_join (thread);
}
