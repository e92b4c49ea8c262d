/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The enumerations of the element's properties as GLib types. Their values
 * are the engine's own.
 */
#pragma once

#include <gst/gst.h>

#include "refine/refiner.h"

G_BEGIN_DECLS

// What becomes of a frame without a mask. Never: a guess.
typedef enum
{
  GST_CASCADE_PSP_REFINE_MISSING_MASK_REPEAT,
  GST_CASCADE_PSP_REFINE_MISSING_MASK_PASS,
  GST_CASCADE_PSP_REFINE_MISSING_MASK_DROP,
} GstCascadePspRefineMissingMask;

// What becomes of a frame that there is no time to refine.
typedef enum
{
  GST_CASCADE_PSP_REFINE_OVERLOAD_DEGRADE,
  GST_CASCADE_PSP_REFINE_OVERLOAD_REPEAT,
  GST_CASCADE_PSP_REFINE_OVERLOAD_DROP,
} GstCascadePspRefineOverload;

// What leaves.
typedef enum
{
  GST_CASCADE_PSP_REFINE_SHOW_ALPHA,
  GST_CASCADE_PSP_REFINE_SHOW_COARSE,
  GST_CASCADE_PSP_REFINE_SHOW_TILES,
  GST_CASCADE_PSP_REFINE_SHOW_UNCERTAINTY,
} GstCascadePspRefineShow;

#define GST_TYPE_CASCADE_PSP_REFINE_BACKEND \
  (gst_cascade_psp_refine_backend_get_type ())
#define GST_TYPE_CASCADE_PSP_REFINE_PRECISION \
  (gst_cascade_psp_refine_precision_get_type ())
#define GST_TYPE_CASCADE_PSP_REFINE_LOCAL_STEP \
  (gst_cascade_psp_refine_local_step_get_type ())
#define GST_TYPE_CASCADE_PSP_REFINE_LOCAL_REGION \
  (gst_cascade_psp_refine_local_region_get_type ())
#define GST_TYPE_CASCADE_PSP_REFINE_MISSING_MASK \
  (gst_cascade_psp_refine_missing_mask_get_type ())
#define GST_TYPE_CASCADE_PSP_REFINE_OVERLOAD \
  (gst_cascade_psp_refine_overload_get_type ())
#define GST_TYPE_CASCADE_PSP_REFINE_SHOW \
  (gst_cascade_psp_refine_show_get_type ())

GType gst_cascade_psp_refine_backend_get_type (void);
GType gst_cascade_psp_refine_precision_get_type (void);
GType gst_cascade_psp_refine_local_step_get_type (void);
GType gst_cascade_psp_refine_local_region_get_type (void);
GType gst_cascade_psp_refine_missing_mask_get_type (void);
GType gst_cascade_psp_refine_overload_get_type (void);
GType gst_cascade_psp_refine_show_get_type (void);

G_END_DECLS
