/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The refiner: a frame and its coarse mask in, alpha out. Global step, plan
 * of crops, Local step (Cheng et al., CascadePSP, CVPR 2020, section 3.2).
 */
#pragma once

#include "backend.h"
#include "error.h"

G_BEGIN_DECLS

// Below it the published grid's step, crop_size / 2 - 32, vanishes.
#define CPSP_CROP_SIZE_MIN 96
#define CPSP_CROP_SIZE_MAX 4096
#define CPSP_CROP_SIZE_DEFAULT 900
// Largest frame side, pixels.
#define CPSP_FRAME_SIZE_MAX 32767

typedef enum
{
  CPSP_BACKEND_AUTO,            // the fastest that can run
  CPSP_BACKEND_CPU,
  CPSP_BACKEND_CUDA,
} CpspBackendChoice;

typedef enum
{
  CPSP_PRECISION_AUTO,          // the fastest that the device does well
  CPSP_PRECISION_FP32,
  CPSP_PRECISION_BF16,
  CPSP_PRECISION_FP16,
} CpspPrecision;

typedef enum
{
  CPSP_LOCAL_STEP_AUTO,         // when the long side is >= crop_size
  CPSP_LOCAL_STEP_ALWAYS,
  CPSP_LOCAL_STEP_NEVER,
} CpspLocalStep;

typedef enum
{
  CPSP_LOCAL_REGION_BOUNDARY,   // every uncertain pixel, few crops
  CPSP_LOCAL_REGION_REFERENCE,  // the published grid and 10-90 % rule
} CpspLocalRegion;

// Chosen once, when a refiner is made.
typedef struct
{
  CpspBackendChoice backend;
  CpspPrecision precision;
  guint threads;                // CPU; 0: as many as the process may use
  guint device_id;              // GPU
} CpspRefinerParams;

// May change from frame to frame. Changing crop_size, local_step,
// local_region or enlarge_small makes the next frame allocate.
typedef struct
{
  guint crop_size;
  CpspLocalStep local_step;
  CpspLocalRegion local_region;
  gboolean enlarge_small;
  double mask_threshold;        // [0, 1); a mask value above is foreground
} CpspSettings;

#define CPSP_SETTINGS_DEFAULT { \
  .crop_size = CPSP_CROP_SIZE_DEFAULT, .mask_threshold = 0.5 }

// What one frame took.
typedef struct
{
  double global_ms, local_ms, finish_ms, total_ms;
  guint crops_run;
  guint crops_grid;             // how many the published grid has
} CpspStats;

typedef struct _CpspRefiner CpspRefiner;

// Opens a device and prepares the network. PARAMS need only live until the
// call returns; MODEL is not kept. NULL and an error (DEVICE, NO_MEMORY,
// ARGUMENT) on failure. One refiner belongs to one thread at a time.
CpspRefiner *cpsp_refiner_new (const CpspModel * model,
    const CpspRefinerParams * params, GError ** error);
void cpsp_refiner_free (CpspRefiner * refiner);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CpspRefiner, cpsp_refiner_free)

// The device's name and the precision in use, for logs and statistics.
const char *cpsp_refiner_get_device_name (const CpspRefiner * refiner);
CpspType cpsp_refiner_get_type (const CpspRefiner * refiner);
// Bytes that the refiner's programs and planes take, weights not counted.
gsize cpsp_refiner_get_memory (const CpspRefiner * refiner);

// FALSE and an ARGUMENT error that names the setting or the size, if they
// cannot work.
gboolean cpsp_settings_check (const CpspSettings * settings, GError ** error);

// Allocates what frames of WIDTH x HEIGHT need with SETTINGS, but for some row
// buffers that the first frame adds; cpsp_refiner_refine calls this itself
// when needed.
gboolean cpsp_refiner_prepare (CpspRefiner * refiner,
    const CpspSettings * settings, guint width, guint height,
    GError ** error);

// Refines one frame. REGION (nullable): where Local crops may run, frame
// pixels, clipped to the frame; NULL: the coarse mask's bounding box enlarged
// by 25 % (half on each side), and for CPSP_LOCAL_REGION_REFERENCE, as
// published, everywhere. ALPHA must have the frame's size. STATS
// (nullable) is filled. All views need only live until the call returns.
// FALSE and an error on failure: ALPHA's content is then undefined.
gboolean cpsp_refiner_refine (CpspRefiner * refiner,
    const CpspSettings * settings, const CpspImageView * image,
    const CpspMaskView * mask, const CpspRect * region,
    const CpspAlphaView * alpha, CpspStats * stats, GError ** error);

G_END_DECLS
