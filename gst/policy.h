/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The properties that say what becomes of a frame: those of the refiner,
 * latched when the element starts, and those latched when a frame is due, so
 * that one frame never sees two values. Nothing here locks.
 */
#pragma once

#include <gst/gst.h>

#include "gstcascadepspenums.h"
#include "refine/edge.h"

G_BEGIN_DECLS

typedef struct
{
  CpspRefinerParams params;     // latched at start
  CpspSettings settings;
  GstCascadePspRefineMissingMask missing_mask;
  GstClockTime max_mask_age;
  GstClockTime processing_deadline;     // NONE: one frame duration
  GstCascadePspRefineOverload overload;
  gboolean qos;
  gboolean post_messages;
  gboolean premultiplied;
  CpspEdgeSettings edge;
  GstCascadePspRefineShow show;
} GstCascadePspPolicy;

// Property numbers of the element: these first, then its own.
enum
{
  GST_CASCADE_PSP_PROP_BACKEND = 1,
  GST_CASCADE_PSP_PROP_DEVICE_ID,
  GST_CASCADE_PSP_PROP_PRECISION,
  GST_CASCADE_PSP_PROP_THREADS,
  GST_CASCADE_PSP_PROP_CROP_SIZE,
  GST_CASCADE_PSP_PROP_LOCAL_STEP,
  GST_CASCADE_PSP_PROP_LOCAL_REGION,
  GST_CASCADE_PSP_PROP_ENLARGE_SMALL,
  GST_CASCADE_PSP_PROP_MASK_THRESHOLD,
  GST_CASCADE_PSP_PROP_MISSING_MASK,
  GST_CASCADE_PSP_PROP_MAX_MASK_AGE,
  GST_CASCADE_PSP_PROP_PROCESSING_DEADLINE,
  GST_CASCADE_PSP_PROP_OVERLOAD,
  GST_CASCADE_PSP_PROP_QOS,
  GST_CASCADE_PSP_PROP_POST_MESSAGES,
  GST_CASCADE_PSP_PROP_PREMULTIPLIED,
  GST_CASCADE_PSP_PROP_SHIFT,
  GST_CASCADE_PSP_PROP_FEATHER,
  GST_CASCADE_PSP_PROP_BLACK_POINT,
  GST_CASCADE_PSP_PROP_WHITE_POINT,
  GST_CASCADE_PSP_PROP_INVERT,
  GST_CASCADE_PSP_PROP_SHOW,
  GST_CASCADE_PSP_N_PROPS
};

// Sets the defaults.
void gst_cascade_psp_policy_init (GstCascadePspPolicy * policy);

void gst_cascade_psp_policy_install (GObjectClass * object_class);

// Property PROP_ID, one of the above.
void gst_cascade_psp_policy_set (GstCascadePspPolicy * policy, guint prop_id,
    const GValue * value);
void gst_cascade_psp_policy_get (const GstCascadePspPolicy * policy,
    guint prop_id, GValue * value);

G_END_DECLS
