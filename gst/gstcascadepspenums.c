/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstcascadepspenums.h"

#define DEFINE_ENUM(function, name, ...)                                \
GType                                                                   \
function (void)                                                         \
{                                                                       \
  static gsize type;                                                    \
  static const GEnumValue values[] = { __VA_ARGS__, {0, NULL, NULL} };  \
                                                                        \
  if (g_once_init_enter (&type))                                        \
    g_once_init_leave (&type, g_enum_register_static (name, values));   \
  return type;                                                          \
}

/* *INDENT-OFF* */

/**
 * GstCascadePspRefineBackend:
 * @auto: the fastest that can run
 * @cpu: the CPU, oneDNN
 * @cuda: an NVIDIA GPU, cuDNN
 *
 * What runs the network.
 *
 * Since: 0.1
 */
DEFINE_ENUM (gst_cascade_psp_refine_backend_get_type,
    "GstCascadePspRefineBackend",
    {CPSP_BACKEND_AUTO, "The fastest that can run", "auto"},
    {CPSP_BACKEND_CPU, "The CPU", "cpu"},
    {CPSP_BACKEND_CUDA, "An NVIDIA GPU", "cuda"})

/**
 * GstCascadePspRefinePrecision:
 * @auto: the fastest that the device does well
 * @fp32: 32-bit floats: the published numbers
 * @bf16: bfloat16
 * @fp16: half floats: the GPU only
 *
 * Numbers that the network computes with.
 *
 * Since: 0.1
 */
DEFINE_ENUM (gst_cascade_psp_refine_precision_get_type,
    "GstCascadePspRefinePrecision",
    {CPSP_PRECISION_AUTO, "The fastest that the device does well", "auto"},
    {CPSP_PRECISION_FP32, "32-bit floats", "fp32"},
    {CPSP_PRECISION_BF16, "bfloat16", "bf16"},
    {CPSP_PRECISION_FP16, "Half floats", "fp16"})

/**
 * GstCascadePspRefineLocalStep:
 * @auto: when the frame's long side is at least `crop-size`
 * @always: for frames of every size
 * @never: the Global step only
 *
 * When the Local step runs.
 *
 * Since: 0.1
 */
DEFINE_ENUM (gst_cascade_psp_refine_local_step_get_type,
    "GstCascadePspRefineLocalStep",
    {CPSP_LOCAL_STEP_AUTO, "When the long side is at least crop-size", "auto"},
    {CPSP_LOCAL_STEP_ALWAYS, "For frames of every size", "always"},
    {CPSP_LOCAL_STEP_NEVER, "The Global step only", "never"})

/**
 * GstCascadePspRefineLocalRegion:
 * @boundary: every uncertain boundary, in as few crops as cover it
 * @reference: the published grid and its 10 to 90 % rule
 *
 * Which crops of the frame the Local step refines.
 *
 * Since: 0.1
 */
DEFINE_ENUM (gst_cascade_psp_refine_local_region_get_type,
    "GstCascadePspRefineLocalRegion",
    {CPSP_LOCAL_REGION_BOUNDARY, "Every uncertain boundary, few crops",
        "boundary"},
    {CPSP_LOCAL_REGION_REFERENCE, "The published grid and 10 to 90 % rule",
        "reference"})

/**
 * GstCascadePspRefineMissingMask:
 * @repeat: refine the last mask, or before the first one that one, against the
 *   frame, if it is near enough; else as @pass
 * @pass: the frame passes whole: opaque, or with an alpha of its own
 * @drop: a GAP event takes the frame's place
 *
 * What becomes of a frame without a mask. None of these is an empty alpha: that
 * comes only from an empty mask.
 *
 * Since: 0.1
 */
DEFINE_ENUM (gst_cascade_psp_refine_missing_mask_get_type,
    "GstCascadePspRefineMissingMask",
    {GST_CASCADE_PSP_REFINE_MISSING_MASK_REPEAT,
        "Refine the last mask against it, up to max-mask-age; then as pass",
        "repeat"},
    {GST_CASCADE_PSP_REFINE_MISSING_MASK_PASS,
        "It passes whole: opaque, or with an alpha of its own", "pass"},
    {GST_CASCADE_PSP_REFINE_MISSING_MASK_DROP,
        "A GAP event takes its place", "drop"})

/**
 * GstCascadePspRefineOverload:
 * @degrade: refine it less: skip Local crops, then the Local step, then make
 *   the Global step smaller; if not even that fits, as @repeat
 * @repeat: the last alpha once more; the coarse mask if there is none that fits
 * @drop: a GAP event takes the frame's place
 *
 * What becomes of a frame that there is no time to refine.
 *
 * Since: 0.1
 */
DEFINE_ENUM (gst_cascade_psp_refine_overload_get_type,
    "GstCascadePspRefineOverload",
    {GST_CASCADE_PSP_REFINE_OVERLOAD_DEGRADE,
        "Refine it less; if not even that fits, as repeat", "degrade"},
    {GST_CASCADE_PSP_REFINE_OVERLOAD_REPEAT,
        "The last alpha once more, or else the coarse mask", "repeat"},
    {GST_CASCADE_PSP_REFINE_OVERLOAD_DROP, "A GAP event takes its place",
        "drop"})

/**
 * GstCascadePspRefineShow:
 * @alpha: the refined alpha
 * @coarse: the coarse mask in its place, not refined
 * @tiles: the refined alpha, and outlines of the Local crops: green the ones
 *   that ran, red those that there was no time for
 * @uncertainty: the opaque video, the more magenta the less sure the alpha is;
 *   alpha alone is that doubt itself
 *
 * What leaves: to see what the element does.
 *
 * Since: 0.1
 */
DEFINE_ENUM (gst_cascade_psp_refine_show_get_type,
    "GstCascadePspRefineShow",
    {GST_CASCADE_PSP_REFINE_SHOW_ALPHA, "The refined alpha", "alpha"},
    {GST_CASCADE_PSP_REFINE_SHOW_COARSE, "The coarse mask, not refined",
        "coarse"},
    {GST_CASCADE_PSP_REFINE_SHOW_TILES,
        "The refined alpha, and outlines of the Local crops", "tiles"},
    {GST_CASCADE_PSP_REFINE_SHOW_UNCERTAINTY,
        "How unsure the alpha is", "uncertainty"})

/* *INDENT-ON* */
