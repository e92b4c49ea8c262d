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

// One frame. Views and regions need only live until the call that takes them
// returns.
typedef struct
{
  const CpspImageView *image;
  const CpspMaskView *mask;
  // Where Local crops may run: within any of them; frame pixels, clipped to
  // the frame. NULL: the coarse mask's bounding box enlarged by 25 % (half on
  // each side), and for CPSP_LOCAL_REGION_REFERENCE, as published,
  // everywhere.
  const CpspRect *regions;
  guint n_regions;
  // Milliseconds that refining may take; 0: as many as it wants. What does
  // not fit is left out: Local crops, those that change least first, then
  // the Global step's size. If nothing fits, the cheapest runs all the same.
  double budget_ms;
  // Milliseconds after which the call must return, with a budget only; 0: none.
  // A Global step that would take longer is laid aside (CpspStats.unfinished).
  double limit_ms;
} CpspFrame;

// What one frame took.
typedef struct
{
  double global_ms, local_ms, finish_ms, total_ms;
  // Long side of the Global step, pixels; 0: the mask has no boundary, and
  // nothing ran.
  guint global_size;
  guint crops_planned;          // = crops_run + crops_skipped
  guint crops_run;
  guint crops_skipped;          // they did not fit into the budget
  // The budget had no room for a crop: none were planned.
  gboolean local_skipped;
  guint crops_grid;             // how many the published grid has
  // The limit came first: there is no alpha yet. See cpsp_refiner_resume().
  gboolean unfinished;
} CpspStats;

// A Local crop that was planned.
typedef struct
{
  CpspRect area;                // frame pixels
  gboolean run;                 // else it did not fit into the budget
} CpspCropReport;

typedef struct _CpspRefiner CpspRefiner;

// Opens a device and prepares the network. PARAMS need only live until the
// call returns; MODEL is referenced. Refiners of one model share its weights.
// NULL and an error (DEVICE, NO_MEMORY, ARGUMENT) on failure. One refiner
// belongs to one thread at a time.
CpspRefiner *cpsp_refiner_new (CpspModel * model,
    const CpspRefinerParams * params, GError ** error);
void cpsp_refiner_free (CpspRefiner * refiner);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CpspRefiner, cpsp_refiner_free)

// Why a better device, or a better way to use this one, was passed over
// (SELF_TEST: it is here, but computes wrong numbers). NULL: none was.
const GError *cpsp_refiner_get_passed_over (const CpspRefiner * refiner);
// The device's name and the precision in use, for logs and statistics. With
// CPSP_BACKEND_AUTO they change when a device fails while it is used.
const char *cpsp_refiner_get_device_name (const CpspRefiner * refiner);
CpspType cpsp_refiner_get_type (const CpspRefiner * refiner);
// Bytes that the refiner's programs and planes take, weights not counted.
gsize cpsp_refiner_get_memory (const CpspRefiner * refiner);

// FALSE and an ARGUMENT error that names the setting or the size, if they
// cannot work.
gboolean cpsp_settings_check (const CpspSettings * settings, GError ** error);

// Allocates what frames of WIDTH x HEIGHT need with SETTINGS, but for some row
// buffers that the first frame adds; cpsp_refiner_refine calls this itself
// when needed. BUDGETED: frames may have a budget. Then the Global step is
// prepared at smaller sizes too, and the network runs a few times at the
// smallest to see how long it takes.
gboolean cpsp_refiner_prepare (CpspRefiner * refiner,
    const CpspSettings * settings, guint width, guint height,
    gboolean budgeted, GError ** error);

// Whether cpsp_refiner_prepare() with these arguments would have nothing to do.
gboolean cpsp_refiner_is_prepared (const CpspRefiner * refiner,
    const CpspSettings * settings, guint width, guint height,
    gboolean budgeted);

// How many milliseconds the cheapest way to refine takes, as far as is known,
// for frames of the size last prepared; 0: not prepared for budgets. Looks
// at nothing but numbers. It changes only when frames are refined: whoever
// leaves frames out because of it must refine one now and then.
double cpsp_refiner_get_cheapest_ms (const CpspRefiner * refiner);

// Refines one frame. ALPHA must have the frame's size. STATS (nullable) is
// filled. FALSE and an error on failure: ALPHA's content is then undefined.
// What a first frame of a size prepares is not counted in its budget.
gboolean cpsp_refiner_refine (CpspRefiner * refiner,
    const CpspSettings * settings, const CpspFrame * frame,
    const CpspAlphaView * alpha, CpspStats * stats, GError ** error);

// Goes on with the frame that was left unfinished, for LIMIT_MS at most. It
// ends with the Global step; of the frame's own views nothing is read. STATS
// (nullable) is what the frame took in all, `unfinished` again or not. An
// ARGUMENT error if there is nothing to go on with: cpsp_refiner_refine() and
// a cpsp_refiner_prepare() for something else give it up. If the device fails
// and another one takes its place, the frame is lost: ALPHA stays as it was,
// and STATS are zeros.
gboolean cpsp_refiner_resume (CpspRefiner * refiner, double limit_ms,
    const CpspAlphaView * alpha, CpspStats * stats, GError ** error);

// The crops of the frame last refined, N of them, those of a coarser Local
// step first. Valid until the next call of cpsp_refiner_prepare or
// cpsp_refiner_refine.
const CpspCropReport *cpsp_refiner_get_crops (const CpspRefiner * refiner,
    guint * n);

G_END_DECLS
