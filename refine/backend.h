/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What executes: one const table of functions per backend. The engine decides
 * (sizes, crops, order); a backend never sees a frame's history or a policy.
 * The engine validates, the backend trusts.
 *
 * A device, with everything made from it, belongs to one thread at a time.
 * Functions that free wait for what still runs.
 * Functions of the frame and of plans enqueue: their effect is visible to
 * later calls on the device, and to the caller after plane_map or
 * synchronise.
 */
#pragma once

#include "image.h"
#include "network.h"

G_BEGIN_DECLS

typedef struct _CpspBackend CpspBackend;
typedef struct _CpspDevice CpspDevice;
typedef struct _CpspPlan CpspPlan;      // a program, ready to run on a device
typedef struct _CpspPlane CpspPlane;    // floats, width x height, on a device

typedef struct
{
  guint threads;                // CPU: 0: as many as the process may use
  guint device_id;              // GPU
  guint attempt;                // GPU: leave out so many ways to convolve
  gsize workspace;              // GPU: bytes that a convolution may use
} CpspDeviceParams;             // besides its tensors; 0: the default

#define CPSP_WORKSPACE_DEFAULT ((gsize) 64 << 20)

typedef struct
{
  char name[256];
  guint types;                  // bits 1 << CpspType that it can compute in
  CpspType fastest_type;        // of those that it does well
  guint batch;                  // crops at once that suit it
  gboolean streams_transients;  // see CpspProgramParams
  gboolean launches_whole;      // a program run whole costs less than in parts
  gsize memory;                 // bytes reserved, weights not counted
  // The name tells all that its numbers depend on: to be used only if it has
  // passed the self-test.
  gboolean self_test;
} CpspDeviceInfo;

typedef enum
{
  // Average over the integer bin [floor (i * in / out),
  // ceil ((i + 1) * in / out)) of each axis. With out == in: a copy.
  CPSP_FILTER_AREA,
  // Source position = (i + 0.5) / ratio - 0.5, borders clamped; the image
  // bicubic (a = -0.75), the mask bilinear.
  CPSP_FILTER_ENLARGE,
} CpspFilter;

// A crop of the frame scaled to width x height; it fills the top left
// crop_width x crop_height of a plan's input.
typedef struct
{
  guint width, height;
  CpspFilter filter;
  double ratio;                 // ENLARGE: scaled size / frame size
  guint x, y;
  guint crop_width, crop_height;
} CpspCrop;

typedef enum
{
  CPSP_OUTPUT_P1,
  CPSP_OUTPUT_P4,
} CpspOutput;

// Where a crop's result goes: its pixel (trim_left + i, trim_top + j) to the
// plane's pixel (x + i, y + j), i < width, j < height, with the weight
//   min (1, (i + 0.5) / ramp_left, (width - i - 0.5) / ramp_right) times the
// same of j; a ramp of 0 pixels: none on that side.
typedef struct
{
  guint trim_left, trim_top;
  guint x, y, width, height;
  guint ramp_left, ramp_top, ramp_right, ramp_bottom;
} CpspBlend;

typedef enum
{
  CPSP_RESIZE_BILINEAR,         // half-pixel centres, borders clamped
  CPSP_RESIZE_CORNERS,          // bilinear, corner pixels aligned
  CPSP_RESIZE_AREA,             // as CPSP_FILTER_AREA
} CpspResize;

// A result: what was accumulated, over a base.
//   b = base resized to the destination's size, binarised (b > 0.5) if asked
//   result = (sum + max (0, 1 - weight) * b) / max (1, weight)
// If `binarise`, the weights are whole counts, the result is sum / weight,
// and b where weight is 0.
// sum, weight: NULL: the result is b.
typedef struct
{
  const CpspPlane *sum, *weight;
  const CpspPlane *base;
  CpspResize resize;
  gboolean binarise;
} CpspResult;

struct _CpspBackend
{
  const char *name;

  // Opens the device; NULL with error: DEVICE or NO_MEMORY.
  CpspDevice *(*open) (const CpspDeviceParams * params, GError ** error);
  void (*close) (CpspDevice * device);
  void (*describe) (CpspDevice * device, CpspDeviceInfo * info);

  // Makes everything that the program needs; plans of one network share its
  // converted weights. All plans of a device share one arena: what a
  // plan computed is gone when another one is loaded or runs. PROGRAM must
  // outlive the plan. After a failure the device's other plans may only be
  // freed.
  CpspPlan *(*plan_new) (CpspDevice * device, const CpspProgram * program,
      GError ** error);
  void (*plan_free) (CpspPlan * plan);
  // Runs operations first .. first + n - 1 (a transient and its reader are
  // never parted).
  gboolean (*plan_run) (CpspPlan * plan, guint first, guint n,
      GError ** error);
  // A tensor's logical channels as floats, NHWC without padding: for tests
  // and for dumping stages. Writing makes the padding channels zero.
  gboolean (*tensor_write) (CpspPlan * plan, guint tensor,
      const float *values, GError ** error);
  gboolean (*tensor_read) (CpspPlan * plan, guint tensor, float *values,
      GError ** error);

  CpspPlane *(*plane_new) (CpspDevice * device, guint width, guint height,
      GError ** error);
  void (*plane_free) (CpspPlane * plane);
  gboolean (*plane_clear) (CpspPlane * plane, GError ** error);
  // The values, row after row; waits for them. Valid until the next call
  // that writes the plane.
  const float *(*plane_map) (CpspPlane * plane, GError ** error);

  // The frame that the following calls read: load_image, load_coarse. The
  // views' memory must live until the next synchronise.
  gboolean (*set_frame) (CpspDevice * device, const CpspImageView * image,
      const CpspMaskView * mask, GError ** error);
  // The load functions fill slot `slot` (< batch) of the plan's input.
  // Outside the crop the image is 0 (after normalisation), masks are -1.
  // Image: each component filtered by itself (subsampled ones interpolated
  // bilinearly), then converted to RGB and normalised, (rgb - mean) / std;
  // all of it linear, nothing is clamped.
  gboolean (*load_image) (CpspPlan * plan, guint slot,
      const CpspCrop * crop, GError ** error);
  // All three masks = the frame's coarse mask: resized to the frame
  // bilinearly, > threshold ? +1 : -1, then filtered as the crop says.
  gboolean (*load_coarse) (CpspPlan * plan, guint slot,
      const CpspCrop * crop, float threshold, GError ** error);
  // Both resized (CPSP_RESIZE_BILINEAR) to the crop's scaled frame:
  // seg = p1 > 0.5 ? +1 : -1, the other two masks = 2 p4 - 1. The planes have
  // one size.
  gboolean (*load_masks) (CpspPlan * plan, guint slot,
      const CpspCrop * crop, const CpspPlane * p1, const CpspPlane * p4,
      GError ** error);

  // dst = the top left of an output, dst's size.
  gboolean (*store) (CpspPlan * plan, guint slot, CpspOutput output,
      CpspPlane * dst, GError ** error);
  // sum += weight * output, weight += the blend's weight (weight: may be
  // NULL).
  gboolean (*accumulate) (CpspPlan * plan, guint slot, CpspOutput output,
      const CpspBlend * blend, CpspPlane * sum, CpspPlane * weight,
      GError ** error);
  gboolean (*finish_alpha) (CpspDevice * device, const CpspResult * result,
      const CpspAlphaView * dst, GError ** error);
  gboolean (*finish_plane) (CpspDevice * device, const CpspResult * result,
      CpspPlane * dst, GError ** error);

  gboolean (*synchronise) (CpspDevice * device, GError ** error);
};

// Plain C, one thread, float: the oracle of all others. Always there.
extern const CpspBackend cpsp_backend_reference;
// oneDNN and vectorised C.
extern const CpspBackend cpsp_backend_cpu;

G_END_DECLS
