/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loads a model and makes its refiner aside, in a thread of its own, while
 * another one works. Of several requests the last one counts.
 */
#pragma once

#include <gst/gst.h>

#include "refine/refiner.h"

G_BEGIN_DECLS

// What to load, and what to prepare for.
typedef struct
{
  char *location;               // owned by whoever holds the request
  CpspRefinerParams params;
  CpspSettings settings;
  guint width, height;          // of frames; 0: not known yet
  gboolean budgeted;            // frames have budgets
} GstCascadePspLoad;

// Called in the loader's thread. ERROR is (transfer none).
typedef void (*GstCascadePspLoadFailed) (gpointer user_data,
    const char * location, const GError * error);

typedef struct
{
  GMutex lock;
  // Under the lock.
  GThread *thread;
  gboolean busy;                // the thread works
  gboolean has_request;
  GstCascadePspLoad request;    // not begun yet
  gboolean wanted;              // what the thread loads
  CpspRefiner *refiner;         // ready; NULL: none is
  char *location;               // its model's

  GstCascadePspLoadFailed failed;
  gpointer user_data;
} GstCascadePspLoader;

void gst_cascade_psp_loader_init (GstCascadePspLoader * loader,
    GstCascadePspLoadFailed failed, gpointer user_data);
// After cancel().
void gst_cascade_psp_loader_clear (GstCascadePspLoader * loader);

// Loads, prepares; NULL and an error on failure. (transfer full)
CpspRefiner *gst_cascade_psp_load (const GstCascadePspLoad * load,
    GError ** error);

// Begins to do so aside; earlier requests are void. LOAD is copied, but for its
// location (transfer full). Any thread.
void gst_cascade_psp_loader_request (GstCascadePspLoader * loader,
    const GstCascadePspLoad * load);

// The refiner that has become ready (transfer full), with LOCATION (transfer
// full); NULL: none has.
CpspRefiner *gst_cascade_psp_loader_take (GstCascadePspLoader * loader,
    char **location);

// Forgets all requests and what is ready; waits for the thread. Not in the
// callback.
void gst_cascade_psp_loader_cancel (GstCascadePspLoader * loader);

G_END_DECLS
