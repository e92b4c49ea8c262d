/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Prepares a refiner for frames of a size aside, in a thread of its own: that
 * takes longer than a live frame has.
 */
#pragma once

#include <gst/gst.h>

#include "refine/refiner.h"

G_BEGIN_DECLS

// What a refiner is prepared for.
typedef struct
{
  CpspSettings settings;
  guint width, height;
  gboolean budgeted;
} GstCascadePspSize;

// All but `lock` and what it protects belongs to the caller's thread.
typedef struct
{
  GThread *thread;              // NULL: idle
  CpspRefiner *refiner;         // the thread's, while there is one
  GstCascadePspSize size;

  GMutex lock;
  GCond ended;
  // Under the lock.
  gboolean done;
  GError *error;
} GstCascadePspPreparer;

void gst_cascade_psp_preparer_init (GstCascadePspPreparer * preparer);
// After wait().
void gst_cascade_psp_preparer_clear (GstCascadePspPreparer * preparer);

// REFINER, which nobody else may touch until wait() says so, begins to prepare
// for SIZE. PREPARER must be idle.
void gst_cascade_psp_preparer_begin (GstCascadePspPreparer * preparer,
    CpspRefiner * refiner, const GstCascadePspSize * size);

gboolean gst_cascade_psp_preparer_is_idle (const GstCascadePspPreparer *
    preparer);

// Waits for TIME at most (GST_CASCADE_PSP_FOR_EVER; below 0: not at all) until
// the preparer is idle; FALSE: it is not yet. ERROR is set if it failed.
gboolean gst_cascade_psp_preparer_wait (GstCascadePspPreparer * preparer,
    GstClockTimeDiff time, GError ** error);

G_END_DECLS
