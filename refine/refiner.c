/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The order of things: what is prepared for a size, and what each frame does.
 */
#include "refiner.h"

#include "budget.h"
#include "choose.h"
#include "range.h"
#include "tiles.h"

#include <math.h>

// Beyond this ratio of its two sizes, a Local step is split in two: its crops
// would know too little of the object [3.2.2].
#define LOCAL_RATIO_MAX 4.5
#define MAX_LOCALS 7
// A Global step with a limit looks at the clock so many times.
#define SLICES 32

// Sizes of the Global step, shares of the full one: what frames with a budget
// may choose from.
static const double global_shares[CPSP_BUDGET_SIZES] = {
  1, 3 / 4.0, 1 / 2.0, 3 / 8.0, 1 / 4.0
};

// The Global result or the result of a Local step, as large as its scaled
// frame.
typedef struct
{
  guint width, height;
  CpspProgram *program;         // Local: of one batch of tiles
  CpspPlan *plan;
  double macs;                  // of the program
  CpspCrop crop;                // Global: all of the frame; Local: its x, y
                                // change from tile to tile
  CpspPlane *p1, *p4;           // the last Local step has none
  CpspPlane *sum1, *sum4, *weight;      // Local
  CpspTilePlan tiles;           // Local
  CpspMemory last;              // Local: n_last CpspTile, those last run
  guint n_last;
} Level;

// A frame's Global step that has not run to its end.
typedef struct
{
  const Level *level;           // NULL: there is none
  guint n_ops;                  // operations that have run
  double network_ms;
  CpspStats stats;              // so far
} Unfinished;

struct _CpspRefiner
{
  CpspRefinerParams params;
  CpspChoiceOfDevice on;        // what it runs on
  guint batch;                  // Local crops at once
  CpspNetwork *network;

  // What is prepared; width 0: nothing.
  guint width, height;
  CpspSettings settings;
  Level globals[CPSP_BUDGET_SIZES];     // largest first
  guint n_globals;
  Level locals[MAX_LOCALS];     // coarse to fine
  guint n_locals;
  guint crops_grid;             // of the published grid; 0: no Local step
  gboolean budgeted;            // all sizes are prepared and calibrated
  Unfinished unfinished;

  CpspBudget budget;
  CpspWork work;                // of a frame of the prepared size
  CpspMemory regions;           // CpspRect: of the frame, scaled to a level
  CpspMemory crops;             // n_crops CpspCropReport: of the last frame
  guint n_crops;
};

// What is known of a frame on its way.
typedef struct
{
  const CpspFrame *frame;
  CpspRect object;              // the default region
  gint64 begun;                 // microseconds; when it was prepared
  CpspChoice choice;            // without a budget: everything
  CpspStats *stats;
  // The network: how often it ran, multiply-accumulates, milliseconds.
  guint n_runs;
  double macs, network_ms;
  guint n_crop_runs;            // of those
  double last_speed;            // of the last one: ms per multiply-accumulate
} Job;

// Leaves fp16 where the network does not fit into it, unless it was asked for.
static gboolean
check_range (CpspRefiner * refiner, GError ** error)
{
  GError *why = NULL;

  if (refiner->on.type != CPSP_TYPE_F16 ||
      cpsp_range_check_fp16 (refiner->network, &why))
    return TRUE;
  if (why->code != CPSP_ERROR_ARGUMENT ||
      refiner->params.precision != CPSP_PRECISION_AUTO) {
    g_propagate_error (error, why);
    return FALSE;
  }
  refiner->params.precision = CPSP_PRECISION_FP32;
  cpsp_choice_clear (&refiner->on);
  refiner->on = (CpspChoiceOfDevice) { 0 };
  if (!cpsp_choose_device (&refiner->params, &refiner->on, error)) {
    g_error_free (why);
    return FALSE;
  }
  if (refiner->on.passed_over)
    g_error_free (why);
  else
    refiner->on.passed_over = why;
  return TRUE;
}

CpspRefiner *
cpsp_refiner_new (CpspModel * model, const CpspRefinerParams * params,
    GError ** error)
{
  CpspRefiner *refiner = g_new0 (CpspRefiner, 1);

  refiner->params = *params;
  if (!cpsp_choose_device (params, &refiner->on, error) ||
      !(refiner->network = cpsp_network_new (model, error)) ||
      !check_range (refiner, error)) {
    cpsp_refiner_free (refiner);
    return NULL;
  }
  refiner->batch = refiner->on.info.batch;
  return refiner;
}

static void
clear_plane (CpspRefiner * refiner, CpspPlane ** plane)
{
  if (*plane)
    refiner->on.backend->plane_free (*plane);
  *plane = NULL;
}

static void
clear_level (CpspRefiner * refiner, Level * level)
{
  if (level->plan)
    refiner->on.backend->plan_free (level->plan);
  if (level->program)
    cpsp_program_free (level->program);
  level->plan = NULL;
  level->program = NULL;
  clear_plane (refiner, &level->p1);
  clear_plane (refiner, &level->p4);
  clear_plane (refiner, &level->sum1);
  clear_plane (refiner, &level->sum4);
  clear_plane (refiner, &level->weight);
  cpsp_tile_plan_forget (&level->tiles);
  level->n_last = 0;
}

static void
unprepare (CpspRefiner * refiner)
{
  for (guint i = 0; i < refiner->n_globals; i++)
    clear_level (refiner, &refiner->globals[i]);
  for (guint i = 0; i < refiner->n_locals; i++)
    clear_level (refiner, &refiner->locals[i]);
  refiner->n_globals = refiner->n_locals = 0;
  refiner->unfinished.level = NULL;
  refiner->budgeted = FALSE;
  refiner->width = 0;
  refiner->n_crops = 0;
}

void
cpsp_refiner_free (CpspRefiner * refiner)
{
  unprepare (refiner);
  for (guint i = 0; i < MAX_LOCALS; i++) {
    cpsp_tile_plan_clear (&refiner->locals[i].tiles);
    cpsp_memory_clear (&refiner->locals[i].last);
  }
  cpsp_memory_clear (&refiner->regions);
  cpsp_memory_clear (&refiner->crops);
  cpsp_choice_clear (&refiner->on);
  if (refiner->network)
    cpsp_network_unref (refiner->network);
  g_free (refiner);
}

const GError *
cpsp_refiner_get_passed_over (const CpspRefiner * refiner)
{
  return refiner->on.passed_over;
}

const char *
cpsp_refiner_get_device_name (const CpspRefiner * refiner)
{
  return refiner->on.info.name;
}

CpspType
cpsp_refiner_get_type (const CpspRefiner * refiner)
{
  return refiner->on.type;
}

gsize
cpsp_refiner_get_memory (const CpspRefiner * refiner)
{
  CpspDeviceInfo info;

  refiner->on.backend->describe (refiner->on.device, &info);
  return info.memory;
}

gboolean
cpsp_settings_check (const CpspSettings * settings, GError ** error)
{
  if (settings->crop_size < CPSP_CROP_SIZE_MIN ||
      settings->crop_size > CPSP_CROP_SIZE_MAX) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT,
        "crop-size %u is not within %u and %u", settings->crop_size,
        CPSP_CROP_SIZE_MIN, CPSP_CROP_SIZE_MAX);
    return FALSE;
  }
  if (!(settings->mask_threshold >= 0 && settings->mask_threshold < 1)) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT,
        "mask-threshold %g is not within 0 and 1", settings->mask_threshold);
    return FALSE;
  }
  return TRUE;
}

// The size and filter of the Global step [4], at SHARE of its full size.
static CpspCrop
global_crop (const CpspSettings * settings, guint width, guint height,
    double share)
{
  guint long_side = MAX (width, height), size = settings->crop_size;
  CpspCrop crop = { width, height, CPSP_FILTER_AREA, 1, 0, 0, width, height };

  if (!settings->enlarge_small)
    size = MIN (size, long_side);
  size = size * share;
  if (long_side != size) {
    // In this order of rounding: the published sizes follow from it.
    crop.ratio = (double) size / long_side;
    crop.width = MAX (1, (guint) floor (width * crop.ratio));
    crop.height = MAX (1, (guint) floor (height * crop.ratio));
    if (long_side < size)
      crop.filter = CPSP_FILTER_ENLARGE;
  }
  crop.crop_width = crop.width;
  crop.crop_height = crop.height;
  return crop;
}

// A program's side for a crop of SIDE x OTHER: the published code pads both
// sides as soon as one needs it, a side that fits by a whole step.
static guint
padded_side (guint side, guint other)
{
  const guint align = CPSP_SIZE_ALIGN;

  if (side % align == 0 && other % align == 0)
    return side;
  return (side / align + 1) * align;
}

static gboolean
prepare_program (CpspRefiner * refiner, Level * level, CpspCascade cascade,
    guint batch, GError ** error)
{
  guint width = level->crop.crop_width, height = level->crop.crop_height;
  const CpspProgramParams params = {
    .cascade = cascade,
    .width = padded_side (width, height),
    .height = padded_side (height, width),
    .batch = batch,
    .type = refiner->on.type,
    .stream_transients = refiner->on.info.streams_transients,
  };

  level->program = cpsp_program_new (refiner->network, &params, error);
  if (!level->program)
    return FALSE;
  level->macs = 0;
  for (guint i = 0; i < level->program->n_ops; i++)
    level->macs += cpsp_program_op_macs (level->program, i);
  level->plan = refiner->on.backend->plan_new (refiner->on.device,
      level->program, error);
  return level->plan != NULL;
}

static gboolean
prepare_plane (CpspRefiner * refiner, const Level * level, CpspPlane ** plane,
    GError ** error)
{
  *plane = refiner->on.backend->plane_new (refiner->on.device, level->width,
      level->height, error);
  return *plane != NULL;
}

static gboolean
prepare_global (CpspRefiner * refiner, double share, GError ** error)
{
  Level *level = &refiner->globals[refiner->n_globals++];

  level->crop = global_crop (&refiner->settings, refiner->width,
      refiner->height, share);
  level->width = level->crop.width;
  level->height = level->crop.height;
  return prepare_program (refiner, level, CPSP_CASCADE_GLOBAL, 1, error) &&
      prepare_plane (refiner, level, &level->p1, error) &&
      prepare_plane (refiner, level, &level->p4, error);
}

// A Local step on the frame scaled to WIDTH x HEIGHT, its own size if LAST.
static gboolean
prepare_local (CpspRefiner * refiner, guint width, guint height,
    gboolean last, GError ** error)
{
  Level *level = &refiner->locals[refiner->n_locals++];

  level->width = width;
  level->height = height;
  level->crop = (CpspCrop) {
    width, height, CPSP_FILTER_AREA, 1, 0, 0,
        MIN (width, refiner->settings.crop_size),
        MIN (height, refiner->settings.crop_size)
  };
  return prepare_program (refiner, level,
      last ? CPSP_CASCADE_LOCAL : CPSP_CASCADE_LOCAL_P4, refiner->batch,
      error) &&
      prepare_plane (refiner, level, &level->sum1, error) &&
      prepare_plane (refiner, level, &level->weight, error) && (last ||
      (prepare_plane (refiner, level, &level->sum4, error) &&
          prepare_plane (refiner, level, &level->p1, error) &&
          prepare_plane (refiner, level, &level->p4, error)));
}

// REGION in pixels of the frame: what it is of the frame scaled to LEVEL.
static CpspRect
scale_region (const CpspRefiner * refiner, const Level * level,
    const CpspRect * region)
{
  gint64 left = (gint64) region->x * level->width / refiner->width;
  gint64 top = (gint64) region->y * level->height / refiner->height;
  gint64 right = ((gint64) region->x + region->width) * level->width;
  gint64 bottom = ((gint64) region->y + region->height) * level->height;

  right = (right + refiner->width - 1) / refiner->width;
  bottom = (bottom + refiner->height - 1) / refiner->height;
  return (CpspRect) { left, top, right - left, bottom - top };
}

// The frame's regions, scaled to LEVEL; its object in their place if it has
// none. NULL: no memory.
static const CpspRect *
scale_regions (CpspRefiner * refiner, const Level * level, const Job * job,
    guint * n, GError ** error)
{
  const CpspFrame *frame = job->frame;
  CpspRect *scaled;

  *n = frame->regions ? frame->n_regions : 1;
  if (!cpsp_memory_reserve (&refiner->regions, MAX (*n, 1), sizeof (CpspRect),
          "regions", error))
    return NULL;
  scaled = refiner->regions.data;
  for (guint i = 0; i < *n; i++)
    scaled[i] = scale_region (refiner, level,
        frame->regions ? &frame->regions[i] : &job->object);
  return scaled;
}

// The I-th Local step's coarser result.
static Level *
get_coarser (CpspRefiner * refiner, guint i)
{
  return i == 0 ? &refiner->globals[0] : &refiner->locals[i - 1];
}

static gboolean
plan_tiles (CpspRefiner * refiner, Level * level, const Level * coarser,
    const Job * job, GError ** error)
{
  const CpspSettings *settings = &refiner->settings;
  CpspTilePlan *tiles = &level->tiles;
  const float *p1 = refiner->on.backend->plane_map (coarser->p1, error);
  const CpspRect *regions;
  guint n_regions;

  if (!p1 || !(regions = scale_regions (refiner, level, job, &n_regions,
              error)))
    return FALSE;
  if (settings->local_region == CPSP_LOCAL_REGION_BOUNDARY) {
    if (!cpsp_tile_plan_boundary (tiles, level->width, level->height,
            settings->crop_size, p1, coarser->width, coarser->height, regions,
            n_regions, error))
      return FALSE;
  } else {
    if (!cpsp_tile_plan_grid (tiles, level->width, level->height,
            settings->crop_size, error) ||
        !cpsp_tile_plan_keep_mixed (tiles, p1, coarser->width,
            coarser->height, CPSP_RESIZE_BILINEAR, error))
      return FALSE;
    if (job->frame->regions)
      cpsp_tile_plan_keep_regions (tiles, regions, n_regions);
  }
  if (job->frame->budget_ms > 0)
    cpsp_tile_plan_rank (tiles, p1, coarser->width, coarser->height,
        level->last.data, level->n_last);
  return TRUE;
}

// Plans once, so that the plans of frames find their memory, and makes room
// for what is told of as many tiles as there may be.
static gboolean
prepare_tiles (CpspRefiner * refiner, GError ** error)
{
  const CpspFrame frame = { 0 };
  const Job job = {
    .frame = &frame,.object = {0, 0, refiner->width, refiner->height}
  };
  gsize n = 0;

  for (guint i = 0; i < refiner->n_locals; i++) {
    Level *level = &refiner->locals[i];
    gsize n_level;

    if (!plan_tiles (refiner, level, get_coarser (refiner, i), &job, error))
      return FALSE;
    cpsp_tile_plan_forget (&level->tiles);
    n_level = level->tiles.memory.bytes / sizeof (CpspTile);
    if (!cpsp_memory_reserve (&level->last, n_level, sizeof (CpspTile),
            "crops of the last frame", error))
      return FALSE;
    n += n_level;
  }
  refiner->crops_grid = refiner->n_locals == 0 ? 0 :
      cpsp_tile_grid_count (refiner->width, refiner->height,
      refiner->settings.crop_size);
  return cpsp_memory_reserve (&refiner->crops, n, sizeof (CpspCropReport),
      "crops", error);
}

static gboolean
prepare_levels (CpspRefiner * refiner, GError ** error)
{
  const CpspSettings *settings = &refiner->settings;
  guint long_side = MAX (refiner->width, refiner->height);
  double ratio = (double) long_side / settings->crop_size;
  guint n_local = 1;

  if (!prepare_global (refiner, 1, error))
    return FALSE;
  if (settings->local_step == CPSP_LOCAL_STEP_NEVER ||
      (settings->local_step == CPSP_LOCAL_STEP_AUTO &&
          long_side < settings->crop_size))
    return TRUE;
  // The published grid knows one Local step only.
  if (settings->local_region == CPSP_LOCAL_REGION_BOUNDARY && ratio > 1)
    n_local = MIN (MAX_LOCALS, MAX (1, (guint) ceil (log (ratio) /
                log (LOCAL_RATIO_MAX) - 1e-6)));
  for (guint i = 1; i <= n_local; i++) {
    double scale = pow (ratio, (double) i / n_local - 1);
    gboolean last = i == n_local;

    if (!prepare_local (refiner,
            last ? refiner->width : MAX (1, refiner->width * scale),
            last ? refiner->height : MAX (1, refiner->height * scale), last,
            error))
      return FALSE;
  }
  return prepare_tiles (refiner, error);
}

// Milliseconds that a run of a Global step takes, the shortest of a few: the
// first finds nothing in its place, and others compute on the machine too.
static gboolean
time_global (CpspRefiner * refiner, const Level * level, double *ms,
    GError ** error)
{
  const CpspBackend *backend = refiner->on.backend;
  static const guint8 grey = 128;
  const CpspComponent component = {.data = &grey,.depth = 8 };
  const CpspImageView image = {
    .width = 1,.height = 1,.n_components = 1,.component = {component}
  };
  const CpspMaskView mask = {
    .width = 1,.height = 1,.component = component,.scale = 1
  };
  CpspCrop crop = level->crop;

  crop.filter = CPSP_FILTER_ENLARGE;
  crop.ratio = MAX (crop.width, crop.height);
  *ms = G_MAXDOUBLE;
  for (guint i = 0; i < 4; i++) {
    gint64 begun;

    if (!backend->set_frame (refiner->on.device, &image, &mask, error) ||
        !backend->load_image (level->plan, 0, &crop, error) ||
        !backend->load_coarse (level->plan, 0, &crop, 0, error) ||
        !backend->synchronise (refiner->on.device, error))
      return FALSE;
    begun = g_get_monotonic_time ();
    if (!backend->plan_run (level->plan, 0, level->program->n_ops, error) ||
        !backend->synchronise (refiner->on.device, error))
      return FALSE;
    *ms = MIN (*ms, (g_get_monotonic_time () - begun) / 1000.0);
  }
  return TRUE;
}

// The Global step at its smaller sizes, and what a run takes.
static gboolean
prepare_budget (CpspRefiner * refiner, GError ** error)
{
  CpspWork *work = &refiner->work;
  double ms[2] = { 0 };

  for (guint i = 1; i < CPSP_BUDGET_SIZES; i++) {
    CpspCrop crop = global_crop (&refiner->settings, refiner->width,
        refiner->height, global_shares[i]);

    if (MAX (crop.width, crop.height) < CPSP_CROP_SIZE_MIN)
      break;
    if (!prepare_global (refiner, global_shares[i], error))
      return FALSE;
  }
  *work = (CpspWork) {
    .pixels = (double) refiner->width * refiner->height,
    .n_globals = refiner->n_globals,
  };
  for (guint i = 0; i < refiner->n_globals; i++)
    work->global[i] = refiner->globals[i].macs;
  for (guint i = 0; i < refiner->n_locals; i++)
    work->local = MAX (work->local, refiner->locals[i].macs);

  for (guint i = 0; i < MIN (2, refiner->n_globals); i++)
    if (!time_global (refiner, &refiner->globals[refiner->n_globals - 1 - i],
            &ms[i], error))
      return FALSE;
  cpsp_budget_calibrate (&refiner->budget, work, ms[0], ms[1]);
  cpsp_budget_restart (&refiner->budget);
  refiner->budgeted = TRUE;
  return TRUE;
}

gboolean
cpsp_refiner_is_prepared (const CpspRefiner * refiner,
    const CpspSettings * settings, guint width, guint height, gboolean budgeted)
{
  const CpspSettings *old = &refiner->settings;

  return (refiner->budgeted || !budgeted) &&
      width == refiner->width && height == refiner->height &&
      settings->crop_size == old->crop_size &&
      settings->local_step == old->local_step &&
      settings->local_region == old->local_region &&
      settings->enlarge_small == old->enlarge_small;
}

// Leaves the device, which has failed with WHY (transfer full), for another.
// FALSE: there is none, and WHY is the error.
static gboolean
fall_back (CpspRefiner * refiner, GError * why, GError ** error)
{
  CpspChoiceOfDevice another = { 0 };

  if (!cpsp_choose_another (&refiner->params, &refiner->on, why, &another,
          error))
    return FALSE;
  unprepare (refiner);
  cpsp_choice_clear (&refiner->on);
  refiner->on = another;
  refiner->batch = another.info.batch;
  refiner->budget = (CpspBudget) { 0 };
  return TRUE;
}

static gboolean
prepare_size (CpspRefiner * refiner, const CpspSettings * settings,
    guint width, guint height, gboolean budgeted, GError ** error)
{
  Level old = { 0 };
  gboolean ok = TRUE;

  if (!cpsp_refiner_is_prepared (refiner, settings, width, height, FALSE)) {
    // An old plan stays until the new ones are made, and keeps the weights
    // that they share.
    old.plan = refiner->globals[0].plan;
    old.program = refiner->globals[0].program;
    refiner->globals[0].plan = NULL;
    refiner->globals[0].program = NULL;
    unprepare (refiner);
    refiner->width = width;
    refiner->height = height;
    refiner->settings = *settings;
    ok = prepare_levels (refiner, error);
  }
  refiner->settings.mask_threshold = settings->mask_threshold;
  if (ok && budgeted && !refiner->budgeted)
    ok = prepare_budget (refiner, error);
  clear_level (refiner, &old);
  if (!ok)
    unprepare (refiner);
  return ok;
}

gboolean
cpsp_refiner_prepare (CpspRefiner * refiner, const CpspSettings * settings,
    guint width, guint height, gboolean budgeted, GError ** error)
{
  if (!cpsp_settings_check (settings, error))
    return FALSE;
  if (width == 0 || height == 0 || width > CPSP_FRAME_SIZE_MAX ||
      height > CPSP_FRAME_SIZE_MAX) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT,
        "frames of %ux%u: sides must be within 1 and %u", width, height,
        CPSP_FRAME_SIZE_MAX);
    return FALSE;
  }
  for (;;) {
    GError *why = NULL;

    if (prepare_size (refiner, settings, width, height, budgeted, &why))
      return TRUE;
    if (why->code == CPSP_ERROR_NO_MEMORY && refiner->batch > 1) {
      refiner->batch /= 2;
      g_error_free (why);
    } else if (!fall_back (refiner, why, error)) {
      return FALSE;
    }
  }
}

// The mask, as it is

// The smallest sample that is foreground; 1 << depth: none is.
static guint
mask_level (const CpspMaskView * mask, float threshold)
{
  guint level = 0, end = 1u << mask->component.depth;

  while (level < end && !(mask->scale * level + mask->offset > threshold))
    level++;
  return level;
}

// How many of row Y's samples x .. x + n - 1 are at least LEVEL.
static guint
mask_count (const CpspMaskView * mask, guint y, guint x, guint n, guint level)
{
  const CpspComponent *c = &mask->component;
  const guint8 *at = c->data + y * c->stride_bytes + (gsize) x * c->step_bytes;
  guint count = 0;

  if (!c->wide && c->step_bytes == 1 && c->depth == 8) {
    // What the compiler turns into vectors.
    for (guint i = 0; i < n; i++)
      count += at[i] >= level;
    return count;
  }
  for (guint i = 0; i < n; i++, at += c->step_bytes) {
    guint16 sample = *at;

    if (c->wide)
      memcpy (&sample, at, 2);
    count += ((sample >> c->shift) & ((1u << c->depth) - 1)) >= level;
  }
  return count;
}

// The smallest rectangle, in mask pixels, around all foreground; empty if
// there is none. *uniform: all pixels are of one kind.
static CpspRect
mask_bounds (const CpspMaskView * mask, float threshold, gboolean * uniform)
{
  const guint step = 64;
  guint level = mask_level (mask, threshold);
  guint left = mask->width, right = 0, top = mask->height, bottom = 0;
  gboolean holes = FALSE;

  for (guint y = 0; y < mask->height; y++) {
    guint count = 0;

    for (guint x = 0; x < mask->width; x += step) {
      guint n = MIN (step, mask->width - x);
      guint here = mask_count (mask, y, x, n, level);
      guint end = x + n;

      count += here;
      if (here == 0)
        continue;
      // A side that this block moves, to the pixel.
      for (guint i = x; i < MIN (end, left); i++)
        if (mask_count (mask, y, i, 1, level))
          left = i;
      for (guint i = end; i > MAX (x, right); i--)
        if (mask_count (mask, y, i - 1, 1, level))
          right = i;
    }
    holes = holes || count < mask->width;
    if (count > 0) {
      top = MIN (top, y);
      bottom = y + 1;
    }
  }
  *uniform = right == 0 || !holes;
  if (right == 0)
    return (CpspRect) { 0, 0, 0, 0 };
  return (CpspRect) { left, top, right - left, bottom - top };
}

// BOUNDS (mask pixels) in frame pixels, with the pixel around that a resize
// may reach, enlarged by 25 %.
static CpspRect
object_region (const CpspRect * bounds, const CpspMaskView * mask,
    guint width, guint height)
{
  double scale_x = (double) width / mask->width;
  double scale_y = (double) height / mask->height;
  double pad_x = (0.125 * bounds->width + 1) * scale_x;
  double pad_y = (0.125 * bounds->height + 1) * scale_y;
  double left = MAX (0, floor (bounds->x * scale_x - pad_x));
  double top = MAX (0, floor (bounds->y * scale_y - pad_y));
  double right = MIN (width, ceil ((bounds->x + bounds->width) * scale_x +
          pad_x));
  double bottom = MIN (height, ceil ((bounds->y + bounds->height) * scale_y +
          pad_y));

  return (CpspRect) { left, top, right - left, bottom - top };
}

static void
fill_alpha (const CpspAlphaView * alpha, gboolean foreground)
{
  for (guint y = 0; y < alpha->height; y++) {
    guint8 *row = alpha->data + y * alpha->stride_bytes;

    if (alpha->format == CPSP_ALPHA_F32)
      for (guint x = 0; x < alpha->width; x++)
        ((float *) row)[x] = foreground ? 1 : 0;
    else
      memset (row, foreground ? 0xff : 0, (gsize) alpha->width *
          (alpha->format == CPSP_ALPHA_U16 ? 2 : 1));
  }
}

// The steps

static double
ms_since (gint64 begun)
{
  return (g_get_monotonic_time () - begun) / 1000.0;
}

// Counts N runs of LEVEL's program, begun at BEGUN and finished by now.
static void
count_runs (Job * job, const Level * level, guint n, gint64 begun)
{
  job->n_runs += n;
  job->macs += n * level->macs;
  job->network_ms += ms_since (begun);
}

static gboolean
load_global (CpspRefiner * refiner, const Level * level, const Job * job,
    GError ** error)
{
  const CpspBackend *backend = refiner->on.backend;

  return backend->set_frame (refiner->on.device, job->frame->image,
      job->frame->mask, error) &&
      backend->load_image (level->plan, 0, &level->crop, error) &&
      backend->load_coarse (level->plan, 0, &level->crop,
      refiner->settings.mask_threshold, error) &&
      backend->synchronise (refiner->on.device, error);
}

// How many of LEVEL's operations from FIRST on make a slice. What streams and
// its reader stay together.
static guint
count_slice (const Level * level, guint first)
{
  const CpspProgram *program = level->program;
  double macs = 0;
  guint end = first;

  while (end < program->n_ops && (macs < level->macs / SLICES ||
          program->tensors[program->ops[end - 1].dst].transient))
    macs += cpsp_program_op_macs (program, end++);
  return end - first;
}

// A finish that seems to take long, or is not known, must not keep the network
// from ever getting there: it counts for no more than half of the time.
static gboolean
is_time_over (const CpspRefiner * refiner, const Job * job)
{
  double limit_ms = job->frame->limit_ms;
  double finish_ms = cpsp_budget_get_finish_ms (&refiner->budget,
      &refiner->work);

  return limit_ms > 0 &&
      ms_since (job->begun) + MIN (finish_ms, limit_ms / 2) > limit_ms;
}

// Whether the Global step stops between slices to look at the clock. Where it
// then is no longer one launch, it does not if it seems to take less than half
// of its time.
static gboolean
is_sliced (const CpspRefiner * refiner, const Level * level, const Job * job)
{
  double limit_ms = job->frame->limit_ms;

  return limit_ms > 0 && !(refiner->on.info.launches_whole &&
      cpsp_budget_has_room (&refiner->budget, &refiner->work, level->macs, 0,
          (limit_ms - ms_since (job->begun)) / 2));
}

// Runs what is left of the Global step, or what the limit leaves time for.
static gboolean
run_global (CpspRefiner * refiner, Job * job, GError ** error)
{
  const CpspBackend *backend = refiner->on.backend;
  Unfinished *rest = &refiner->unfinished;
  const Level *level = rest->level;
  guint n_ops = level->program->n_ops;
  gboolean sliced = is_sliced (refiner, level, job);
  gint64 begun = g_get_monotonic_time ();

  while (rest->n_ops < n_ops && !is_time_over (refiner, job)) {
    guint n = sliced ? count_slice (level, rest->n_ops) : n_ops - rest->n_ops;

    if (!backend->plan_run (level->plan, rest->n_ops, n, error) ||
        (sliced && !backend->synchronise (refiner->on.device, error)))
      return FALSE;
    rest->n_ops += n;
  }
  job->stats->unfinished = rest->n_ops < n_ops;
  if (job->stats->unfinished) {
    job->network_ms += ms_since (begun);
    return TRUE;
  }
  rest->level = NULL;
  if (!backend->store (level->plan, 0, CPSP_OUTPUT_P1, level->p1, error) ||
      !backend->store (level->plan, 0, CPSP_OUTPUT_P4, level->p4, error) ||
      !backend->synchronise (refiner->on.device, error))
    return FALSE;
  count_runs (job, level, 1, begun);
  job->stats->global_size = MAX (level->width, level->height);
  return TRUE;
}

// Tiles first .. first + n - 1, at once.
static gboolean
run_tiles (CpspRefiner * refiner, Level * level, const Level * coarser,
    guint first, guint n, GError ** error)
{
  const CpspBackend *backend = refiner->on.backend;

  for (guint i = 0; i < n; i++) {
    const CpspTile *tile = &level->tiles.tiles[first + i];

    level->crop.x = tile->x;
    level->crop.y = tile->y;
    if (!backend->load_image (level->plan, i, &level->crop, error) ||
        !backend->load_masks (level->plan, i, &level->crop, coarser->p1,
            coarser->p4, error))
      return FALSE;
  }
  if (!backend->plan_run (level->plan, 0, level->program->n_ops, error))
    return FALSE;
  for (guint i = 0; i < n; i++) {
    CpspBlend blend;

    cpsp_tile_plan_get_blend (&level->tiles, first + i, &blend);
    if (!backend->accumulate (level->plan, i, CPSP_OUTPUT_P1, &blend,
            level->sum1, level->weight, error) ||
        (level->sum4 && !backend->accumulate (level->plan, i, CPSP_OUTPUT_P4,
                &blend, level->sum4, NULL, error)))
      return FALSE;
  }
  return TRUE;
}

// What LEVEL's tiles made of the coarser result.
static CpspResult
local_result (const CpspRefiner * refiner, const Level * level,
    const CpspPlane * sum, const CpspPlane * base)
{
  return (CpspResult) {
    .sum = sum,.weight = level->weight,.base = base,
    .resize = CPSP_RESIZE_BILINEAR,
    .binarise = refiner->settings.local_region ==
        CPSP_LOCAL_REGION_REFERENCE,
  };
}

// Whether one more run of LEVEL's program and the finish fit into JOB's
// budget.
static gboolean
has_room (const CpspRefiner * refiner, const Level * level, const Job * job)
{
  double budget_ms = job->frame->budget_ms;

  return budget_ms == 0 || (job->n_crop_runs < job->choice.n_runs &&
      cpsp_budget_has_room (&refiner->budget, &refiner->work, level->macs,
          level->macs * job->last_speed, budget_ms - ms_since (job->begun)));
}

// Says of LEVEL's tiles that the first N_RUN have run, and remembers them.
static void
report_tiles (CpspRefiner * refiner, Level * level, guint n_run, Job * job)
{
  const CpspTilePlan *tiles = &level->tiles;
  CpspCropReport *crops = refiner->crops.data;
  guint n = tiles->n_tiles;

  for (guint i = 0; i < n; i++) {
    const CpspTile *tile = &tiles->tiles[i];
    guint64 x = (guint64) tile->x * refiner->width / level->width;
    guint64 y = (guint64) tile->y * refiner->height / level->height;

    crops[refiner->n_crops++] = (CpspCropReport) {
      .area = {
        x, y,
        (guint64) (tile->x + tiles->width) * refiner->width / level->width - x,
        (guint64) (tile->y + tiles->height) * refiner->height /
            level->height - y,
      },
      .run = i < n_run,
    };
  }
  if (n_run > 0)
    memcpy (level->last.data, tiles->tiles, n_run * sizeof (CpspTile));
  level->n_last = n_run;
  job->stats->crops_planned += n;
  job->stats->crops_run += n_run;
  job->stats->crops_skipped += n - n_run;
}

// Runs LEVEL's tiles, as many as fit.
static gboolean
run_level (CpspRefiner * refiner, Level * level, const Level * coarser,
    Job * job, GError ** error)
{
  const CpspBackend *backend = refiner->on.backend;
  guint n = level->tiles.n_tiles, n_tiles = 0, n_before = job->n_crop_runs;
  gint64 begun;

  if (!backend->synchronise (refiner->on.device, error))
    return FALSE;
  begun = g_get_monotonic_time ();
  while (n_tiles < n && has_room (refiner, level, job)) {
    guint some = MIN (refiner->batch, n - n_tiles);
    gint64 before = g_get_monotonic_time ();

    // With a budget, what is enqueued has to have happened for the clock to
    // tell what is left.
    if (!run_tiles (refiner, level, coarser, n_tiles, some, error) ||
        (job->frame->budget_ms > 0 &&
            !backend->synchronise (refiner->on.device, error)))
      return FALSE;
    job->last_speed = ms_since (before) / level->macs;
    job->n_crop_runs++;
    n_tiles += some;
  }
  if (!backend->synchronise (refiner->on.device, error))
    return FALSE;
  count_runs (job, level, job->n_crop_runs - n_before, begun);
  report_tiles (refiner, level, n_tiles, job);
  return TRUE;
}

static gboolean
local_step (CpspRefiner * refiner, Level * level, const Level * coarser,
    Job * job, GError ** error)
{
  const CpspBackend *backend = refiner->on.backend;

  if (!plan_tiles (refiner, level, coarser, job, error) ||
      !backend->plane_clear (level->sum1, error) ||
      !backend->plane_clear (level->weight, error) ||
      (level->sum4 && !backend->plane_clear (level->sum4, error)) ||
      !run_level (refiner, level, coarser, job, error))
    return FALSE;
  if (level->p1) {
    CpspResult p1 = local_result (refiner, level, level->sum1, coarser->p1);
    CpspResult p4 = local_result (refiner, level, level->sum4, coarser->p4);

    return backend->finish_plane (refiner->on.device, &p1, level->p1, error)
        && backend->finish_plane (refiner->on.device, &p4, level->p4, error);
  }
  return TRUE;
}

// The alpha of GLOBAL, or of the Local steps if they were considered.
static gboolean
finish (CpspRefiner * refiner, const Level * global, gboolean local,
    const CpspAlphaView * alpha, GError ** error)
{
  CpspResult result;

  if (local) {
    guint last = refiner->n_locals - 1;
    const Level *level = &refiner->locals[last];

    result = local_result (refiner, level, level->sum1,
        get_coarser (refiner, last)->p1);
  } else {
    // The published package aligns corners, the paper's evaluation code does
    // not.
    result = (CpspResult) {
      .base = global->p1,
      .resize = global->crop.filter == CPSP_FILTER_ENLARGE ?
          CPSP_RESIZE_AREA : refiner->settings.enlarge_small ?
          CPSP_RESIZE_CORNERS : CPSP_RESIZE_BILINEAR,
    };
  }
  return refiner->on.backend->finish_alpha (refiner->on.device, &result, alpha,
      error) &&
      refiner->on.backend->synchronise (refiner->on.device, error);
}

static gboolean
refine_steps (CpspRefiner * refiner, Job * job, const CpspAlphaView * alpha,
    GError ** error)
{
  const CpspFrame *frame = job->frame;
  CpspStats *stats = job->stats;
  const Level *global;
  gboolean local;
  gint64 at;

  job->choice = (CpspChoice) { 0, G_MAXUINT };
  if (frame->budget_ms > 0)
    job->choice = cpsp_budget_choose (&refiner->budget, &refiner->work,
        frame->budget_ms - ms_since (job->begun));
  global = &refiner->globals[job->choice.global];
  local = refiner->n_locals > 0 && job->choice.n_runs > 0;

  refiner->unfinished = (Unfinished) {.level = global };
  if (!load_global (refiner, global, job, error) ||
      !run_global (refiner, job, error))
    return FALSE;
  stats->global_ms = ms_since (job->begun);
  if (stats->unfinished)
    return TRUE;
  at = g_get_monotonic_time ();
  for (guint i = 0; local && i < refiner->n_locals; i++)
    if (!local_step (refiner, &refiner->locals[i], get_coarser (refiner, i),
            job, error))
      return FALSE;
  stats->local_ms = ms_since (at);
  stats->local_skipped = refiner->n_locals > 0 && !local;
  at = g_get_monotonic_time ();
  if (!finish (refiner, global, local, alpha, error))
    return FALSE;
  stats->finish_ms = ms_since (at);
  return TRUE;
}

// Whether the views are what image.h says; the backends trust them.
static gboolean
component_is_valid (const CpspComponent * component)
{
  guint bits = component->wide ? 16 : 8;

  return component->data && component->depth > 0 && component->depth <= bits
      && component->shift + component->depth <= bits;
}

static gboolean
alpha_is_aligned (const CpspAlphaView * alpha)
{
  guint sample = alpha->format == CPSP_ALPHA_U8 ? 1 :
      alpha->format == CPSP_ALPHA_U16 ? 2 : 4;

  return alpha->data && (guintptr) alpha->data % sample == 0 &&
      alpha->stride_bytes % (gssize) sample == 0;
}

static gboolean
check_frame (const CpspFrame * frame, const CpspAlphaView * alpha,
    GError ** error)
{
  const CpspImageView *image = frame->image;
  const CpspMaskView *mask = frame->mask;
  const char *what = NULL;

  if (image->n_components != 1 && image->n_components != 3)
    what = "a frame has 1 or 3 components";
  else if (image->chroma_shift_x > 8 || image->chroma_shift_y > 8)
    what = "chroma is subsampled too far";
  for (guint c = 0; !what && c < image->n_components; c++)
    if (!component_is_valid (&image->component[c]))
      what = "a component of the frame is malformed";
  if (!what && (!component_is_valid (&mask->component) || !(mask->scale > 0)))
    what = "the mask is malformed";
  if (!what && !alpha_is_aligned (alpha))
    what = "the alpha's memory is not aligned";
  if (!what && !(frame->budget_ms >= 0 && frame->limit_ms >= 0))
    what = "a budget or a limit is less than nothing";
  if (!what && frame->limit_ms > 0 && frame->budget_ms == 0)
    what = "a limit needs a budget";
  if (what) {
    g_set_error_literal (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT, what);
    return FALSE;
  }
  if (alpha->width != image->width || alpha->height != image->height ||
      mask->width == 0 || mask->height == 0 ||
      mask->width > CPSP_FRAME_SIZE_MAX ||
      mask->height > CPSP_FRAME_SIZE_MAX) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT,
        "alpha of %ux%u, mask of %ux%u for a frame of %ux%u", alpha->width,
        alpha->height, mask->width, mask->height, image->width,
        image->height);
    return FALSE;
  }
  return TRUE;
}

// JOB has come to its end, or as far as it could.
static void
conclude (CpspRefiner * refiner, const Job * job)
{
  const CpspStats *stats = job->stats;

  if (stats->unfinished) {
    refiner->unfinished.network_ms = job->network_ms;
    refiner->unfinished.stats = *stats;
    return;
  }

  cpsp_budget_learn_network (&refiner->budget, job->macs, job->n_runs,
      job->network_ms);
  cpsp_budget_learn_frame (&refiner->budget,
      (double) refiner->width * refiner->height,
      stats->total_ms - stats->finish_ms - job->network_ms,
      stats->finish_ms);
}

static gboolean
refine_frame (CpspRefiner * refiner, const CpspSettings * settings,
    const CpspFrame * frame, const CpspAlphaView * alpha, CpspStats * stats,
    GError ** error)
{
  const CpspImageView *image = frame->image;
  const CpspMaskView *mask = frame->mask;
  Job job = {.frame = frame,.stats = stats };
  CpspRect bounds;
  gboolean uniform;

  *stats = (CpspStats) { 0 };
  if (!cpsp_refiner_prepare (refiner, settings, image->width, image->height,
          frame->budget_ms > 0, error))
    return FALSE;
  refiner->n_crops = 0;
  refiner->unfinished.level = NULL;
  job.begun = g_get_monotonic_time ();
  stats->crops_grid = refiner->crops_grid;
  bounds = mask_bounds (mask, settings->mask_threshold, &uniform);
  // Without a boundary there is nothing to refine.
  if (uniform) {
    fill_alpha (alpha, bounds.width > 0);
  } else {
    job.object = object_region (&bounds, mask, image->width, image->height);
    if (!refine_steps (refiner, &job, alpha, error)) {
      // Nothing may still read the views when we return.
      refiner->on.backend->synchronise (refiner->on.device, NULL);
      refiner->unfinished.level = NULL;
      return FALSE;
    }
  }
  stats->total_ms = ms_since (job.begun);
  if (!uniform)
    conclude (refiner, &job);
  return TRUE;
}

// The unfinished frame is lost with the device, which failed with WHY (transfer
// full); the next one has another device. FALSE: there is none.
static gboolean
give_up (CpspRefiner * refiner, const Job * job, GError * why, GError ** error)
{
  *job->stats = (CpspStats) { 0 };
  refiner->unfinished.level = NULL;
  return fall_back (refiner, why, error);
}

gboolean
cpsp_refiner_resume (CpspRefiner * refiner, double limit_ms,
    const CpspAlphaView * alpha, CpspStats * stats, GError ** error)
{
  const Unfinished *rest = &refiner->unfinished;
  const Level *level = rest->level;
  const CpspFrame frame = {.limit_ms = limit_ms };
  CpspStats ignored;
  Job job = {
    .frame = &frame,.stats = stats ? stats : &ignored,
    .network_ms = rest->network_ms,.begun = g_get_monotonic_time ()
  };
  GError *why = NULL;
  gint64 at;

  if (!level || !(limit_ms > 0) || !alpha_is_aligned (alpha) ||
      alpha->width != refiner->width || alpha->height != refiner->height) {
    g_set_error_literal (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT, !level ?
        "there is no unfinished frame" :
        "to go on with a frame takes time, and alpha of its size");
    return FALSE;
  }
  *job.stats = rest->stats;
  job.stats->unfinished = FALSE;
  if (!run_global (refiner, &job, &why))
    return give_up (refiner, &job, why, error);
  job.stats->global_ms += ms_since (job.begun);
  at = g_get_monotonic_time ();
  if (!job.stats->unfinished) {
    job.stats->local_skipped = refiner->n_locals > 0;
    if (!finish (refiner, level, FALSE, alpha, &why))
      return give_up (refiner, &job, why, error);
    job.stats->finish_ms = ms_since (at);
  }
  job.stats->total_ms += ms_since (job.begun);
  conclude (refiner, &job);
  return TRUE;
}

gboolean
cpsp_refiner_refine (CpspRefiner * refiner, const CpspSettings * settings,
    const CpspFrame * frame, const CpspAlphaView * alpha, CpspStats * stats,
    GError ** error)
{
  CpspStats ignored;
  GError *why = NULL;

  if (!check_frame (frame, alpha, error))
    return FALSE;
  while (!refine_frame (refiner, settings, frame, alpha,
          stats ? stats : &ignored, &why)) {
    if (!fall_back (refiner, why, error))
      return FALSE;
    why = NULL;
  }
  return TRUE;
}

double
cpsp_refiner_get_cheapest_ms (const CpspRefiner * refiner)
{
  return refiner->budgeted ?
      cpsp_budget_get_cheapest_ms (&refiner->budget, &refiner->work) : 0;
}

const CpspCropReport *
cpsp_refiner_get_crops (const CpspRefiner * refiner, guint * n)
{
  *n = refiner->n_crops;
  return refiner->crops.data;
}
