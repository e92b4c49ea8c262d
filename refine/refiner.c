/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The order of things: what is prepared for a size, and what each frame does.
 */
#include "refiner.h"

#include "tiles.h"

#include <math.h>

// Beyond this ratio of its two sizes, a Local step is split in two: its crops
// would know too little of the object [3.2.2].
#define LOCAL_RATIO_MAX 4.5
#define MAX_LEVELS 8

// The Global result (level 0) or the result of a Local step, as large as its
// scaled frame.
typedef struct
{
  guint width, height;
  CpspProgram *program;         // Local: of one tile; NULL: no such step
  CpspPlan *plan;
  CpspCrop crop;                // Global: all of the frame; Local: its x, y
                                // change from tile to tile
  CpspPlane *p1, *p4;           // the last level has none if it isn't Global
  CpspPlane *sum1, *sum4, *weight;      // Local
  CpspTilePlan tiles;           // Local
} Level;

struct _CpspRefiner
{
  const CpspBackend *backend;
  CpspDevice *device;
  CpspDeviceInfo info;
  CpspType type;
  CpspNetwork *network;

  // What is prepared; width 0: nothing.
  guint width, height;
  CpspSettings settings;
  Level levels[MAX_LEVELS];
  guint n_levels;
  guint crops_grid;             // of the published grid; 0: no Local step
};

// In the order in which AUTO tries them.
static const struct
{
  CpspBackendChoice choice;
  const CpspBackend *backend;
} backends[] = {
  {CPSP_BACKEND_CPU, &cpsp_backend_cpu},
  {CPSP_BACKEND_CPU, &cpsp_backend_reference},
};

static gboolean
open_device (CpspRefiner * refiner, const CpspRefinerParams * params,
    GError ** error)
{
  const CpspDeviceParams device_params = {
    .threads = params->threads,.device_id = params->device_id,
  };
  g_autoptr (GString) reason = g_string_new (NULL);
  GError *refused = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (backends); i++) {
    if (params->backend != CPSP_BACKEND_AUTO &&
        params->backend != backends[i].choice)
      continue;
    refiner->backend = backends[i].backend;
    refiner->device = refiner->backend->open (&device_params, &refused);
    if (refiner->device) {
      refiner->backend->describe (refiner->device, &refiner->info);
      // A better one that could not be opened shows in the name.
      if (reason->len > 0)
        g_snprintf (refiner->info.name + strlen (refiner->info.name),
            sizeof refiner->info.name - strlen (refiner->info.name), " (%s)",
            reason->str);
      return TRUE;
    }
    g_string_append_printf (reason, "%s%s: %s", reason->len ? "; " : "",
        backends[i].backend->name, refused->message);
    g_clear_error (&refused);
  }
  g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE, "%s", reason->len ?
      reason->str : "this build has no CUDA backend");
  return FALSE;
}

static gboolean
choose_type (CpspRefiner * refiner, CpspPrecision precision, GError ** error)
{
  static const CpspType types[] = {
    [CPSP_PRECISION_FP32] = CPSP_TYPE_F32,
    [CPSP_PRECISION_BF16] = CPSP_TYPE_BF16,
    [CPSP_PRECISION_FP16] = CPSP_TYPE_F16,
  };

  refiner->type = precision == CPSP_PRECISION_AUTO ?
      refiner->info.fastest_type : types[precision];
  if (refiner->info.types & (1 << refiner->type))
    return TRUE;
  g_set_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT,
      "%s cannot compute in %s", refiner->info.name,
      cpsp_type_name (refiner->type));
  return FALSE;
}

CpspRefiner *
cpsp_refiner_new (const CpspModel * model, const CpspRefinerParams * params,
    GError ** error)
{
  CpspRefiner *refiner = g_new0 (CpspRefiner, 1);

  for (guint i = 0; i < MAX_LEVELS; i++)
    cpsp_tile_plan_init (&refiner->levels[i].tiles);
  if (!open_device (refiner, params, error) ||
      !choose_type (refiner, params->precision, error) ||
      !(refiner->network = cpsp_network_new (model, error))) {
    cpsp_refiner_free (refiner);
    return NULL;
  }
  return refiner;
}

static void
clear_plane (CpspRefiner * refiner, CpspPlane ** plane)
{
  if (*plane)
    refiner->backend->plane_free (*plane);
  *plane = NULL;
}

static void
clear_program (CpspRefiner * refiner, CpspPlan ** plan,
    CpspProgram ** program)
{
  if (*plan)
    refiner->backend->plan_free (*plan);
  if (*program)
    cpsp_program_free (*program);
  *plan = NULL;
  *program = NULL;
}

static void
unprepare (CpspRefiner * refiner)
{
  for (guint i = 0; i < refiner->n_levels; i++) {
    Level *level = &refiner->levels[i];

    clear_program (refiner, &level->plan, &level->program);
    clear_plane (refiner, &level->p1);
    clear_plane (refiner, &level->p4);
    clear_plane (refiner, &level->sum1);
    clear_plane (refiner, &level->sum4);
    clear_plane (refiner, &level->weight);
  }
  refiner->n_levels = 0;
  refiner->width = 0;
}

void
cpsp_refiner_free (CpspRefiner * refiner)
{
  unprepare (refiner);
  for (guint i = 0; i < MAX_LEVELS; i++)
    cpsp_tile_plan_clear (&refiner->levels[i].tiles);
  if (refiner->device)
    refiner->backend->close (refiner->device);
  if (refiner->network)
    cpsp_network_unref (refiner->network);
  g_free (refiner);
}

const char *
cpsp_refiner_get_device_name (const CpspRefiner * refiner)
{
  return refiner->info.name;
}

CpspType
cpsp_refiner_get_type (const CpspRefiner * refiner)
{
  return refiner->type;
}

gsize
cpsp_refiner_get_memory (const CpspRefiner * refiner)
{
  CpspDeviceInfo info;

  refiner->backend->describe (refiner->device, &info);
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

// The size and filter of the Global step [4].
static CpspCrop
global_crop (const CpspSettings * settings, guint width, guint height)
{
  guint size = settings->crop_size, long_side = MAX (width, height);
  CpspCrop crop = { width, height, CPSP_FILTER_AREA, 1, 0, 0, width, height };

  if (long_side > size || (long_side < size && settings->enlarge_small)) {
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
    .type = refiner->type,
    .stream_transients = refiner->info.streams_transients,
  };

  level->program = cpsp_program_new (refiner->network, &params, error);
  if (!level->program)
    return FALSE;
  level->plan = refiner->backend->plan_new (refiner->device, level->program,
      error);
  return level->plan != NULL;
}

static gboolean
prepare_plane (CpspRefiner * refiner, const Level * level, CpspPlane ** plane,
    GError ** error)
{
  *plane = refiner->backend->plane_new (refiner->device, level->width,
      level->height, error);
  return *plane != NULL;
}

static gboolean
prepare_global (CpspRefiner * refiner, GError ** error)
{
  Level *level = &refiner->levels[refiner->n_levels++];

  level->crop = global_crop (&refiner->settings, refiner->width,
      refiner->height);
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
  Level *level = &refiner->levels[refiner->n_levels++];

  level->width = width;
  level->height = height;
  level->crop = (CpspCrop) {
    width, height, CPSP_FILTER_AREA, 1, 0, 0,
        MIN (width, refiner->settings.crop_size),
        MIN (height, refiner->settings.crop_size)
  };
  return prepare_program (refiner, level,
      last ? CPSP_CASCADE_LOCAL : CPSP_CASCADE_LOCAL_P4, refiner->info.batch,
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

static gboolean
plan_tiles (CpspRefiner * refiner, Level * level, const Level * coarser,
    const CpspRect * region, gboolean default_region, GError ** error)
{
  const CpspSettings *settings = &refiner->settings;
  const float *p1 = refiner->backend->plane_map (coarser->p1, error);
  CpspRect scaled = scale_region (refiner, level, region);

  if (!p1)
    return FALSE;
  if (settings->local_region == CPSP_LOCAL_REGION_BOUNDARY) {
    cpsp_tile_plan_boundary (&level->tiles, level->width, level->height,
        settings->crop_size, p1, coarser->width, coarser->height, &scaled);
    return TRUE;
  }
  cpsp_tile_plan_grid (&level->tiles, level->width, level->height,
      settings->crop_size);
  cpsp_tile_plan_keep_mixed (&level->tiles, p1, coarser->width,
      coarser->height, CPSP_RESIZE_BILINEAR);
  if (!default_region)
    cpsp_tile_plan_keep_region (&level->tiles, &scaled);
  return TRUE;
}

// Plans once, so that the plans of frames find their memory.
static gboolean
prepare_tiles (CpspRefiner * refiner, GError ** error)
{
  const CpspRect all = { 0, 0, refiner->width, refiner->height };

  refiner->crops_grid = refiner->n_levels == 1 ? 0 :
      cpsp_tile_grid_count (refiner->width, refiner->height,
      refiner->settings.crop_size);
  for (guint i = 1; i < refiner->n_levels; i++)
    if (!plan_tiles (refiner, &refiner->levels[i], &refiner->levels[i - 1],
            &all, TRUE, error))
      return FALSE;
  return TRUE;
}

static gboolean
prepare_levels (CpspRefiner * refiner, GError ** error)
{
  const CpspSettings *settings = &refiner->settings;
  guint long_side = MAX (refiner->width, refiner->height);
  double ratio = (double) long_side / settings->crop_size;
  guint n_local = 1;

  if (!prepare_global (refiner, error))
    return FALSE;
  if (settings->local_step == CPSP_LOCAL_STEP_NEVER ||
      (settings->local_step == CPSP_LOCAL_STEP_AUTO &&
          long_side < settings->crop_size))
    return TRUE;
  // The published grid knows one Local step only.
  if (settings->local_region == CPSP_LOCAL_REGION_BOUNDARY && ratio > 1)
    n_local = MIN (MAX_LEVELS - 1, MAX (1, (guint) ceil (log (ratio) /
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

gboolean
cpsp_refiner_prepare (CpspRefiner * refiner, const CpspSettings * settings,
    guint width, guint height, GError ** error)
{
  const CpspSettings *old = &refiner->settings;
  CpspProgram *program;
  CpspPlan *plan;
  gboolean ok;

  if (!cpsp_settings_check (settings, error))
    return FALSE;
  if (width == 0 || height == 0 || width > CPSP_FRAME_SIZE_MAX ||
      height > CPSP_FRAME_SIZE_MAX) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT,
        "frames of %ux%u: sides must be within 1 and %u", width, height,
        CPSP_FRAME_SIZE_MAX);
    return FALSE;
  }
  if (width == refiner->width && height == refiner->height &&
      settings->crop_size == old->crop_size &&
      settings->local_step == old->local_step &&
      settings->local_region == old->local_region &&
      settings->enlarge_small == old->enlarge_small) {
    refiner->settings = *settings;
    return TRUE;
  }
  // An old plan stays until the new ones are made, and keeps the weights that
  // they share.
  plan = refiner->levels[0].plan;
  program = refiner->levels[0].program;
  refiner->levels[0].plan = NULL;
  refiner->levels[0].program = NULL;
  unprepare (refiner);
  refiner->width = width;
  refiner->height = height;
  refiner->settings = *settings;
  ok = prepare_levels (refiner, error);
  clear_program (refiner, &plan, &program);
  if (!ok)
    unprepare (refiner);
  return ok;
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

static gboolean
global_step (CpspRefiner * refiner, GError ** error)
{
  const CpspBackend *backend = refiner->backend;
  Level *level = &refiner->levels[0];

  return backend->load_image (level->plan, 0, &level->crop, error) &&
      backend->load_coarse (level->plan, 0, &level->crop,
      refiner->settings.mask_threshold, error) &&
      backend->plan_run (level->plan, 0, level->program->n_ops, error) &&
      backend->store (level->plan, 0, CPSP_OUTPUT_P1, level->p1, error) &&
      backend->store (level->plan, 0, CPSP_OUTPUT_P4, level->p4, error);
}

// Tiles first .. first + n - 1, at once.
static gboolean
run_tiles (CpspRefiner * refiner, Level * level, const Level * coarser,
    guint first, guint n, GError ** error)
{
  const CpspBackend *backend = refiner->backend;

  for (guint i = 0; i < n; i++) {
    const CpspTile *tile = &g_array_index (level->tiles.tiles, CpspTile,
        first + i);

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

static gboolean
local_step (CpspRefiner * refiner, Level * level, const Level * coarser,
    const CpspRect * region, gboolean default_region, CpspStats * stats,
    GError ** error)
{
  const CpspBackend *backend = refiner->backend;
  guint batch = refiner->info.batch, n;

  if (!plan_tiles (refiner, level, coarser, region, default_region, error) ||
      !backend->plane_clear (level->sum1, error) ||
      !backend->plane_clear (level->weight, error) ||
      (level->sum4 && !backend->plane_clear (level->sum4, error)))
    return FALSE;
  n = level->tiles.tiles->len;
  for (guint i = 0; i < n; i += batch)
    if (!run_tiles (refiner, level, coarser, i, MIN (batch, n - i), error))
      return FALSE;
  stats->crops_run += n;
  if (level->p1) {
    CpspResult p1 = local_result (refiner, level, level->sum1, coarser->p1);
    CpspResult p4 = local_result (refiner, level, level->sum4, coarser->p4);

    return backend->finish_plane (refiner->device, &p1, level->p1, error) &&
        backend->finish_plane (refiner->device, &p4, level->p4, error);
  }
  return TRUE;
}

static gboolean
finish (CpspRefiner * refiner, const CpspAlphaView * alpha, GError ** error)
{
  const Level *level = &refiner->levels[refiner->n_levels - 1];
  CpspResult result;

  if (refiner->n_levels > 1) {
    result = local_result (refiner, level, level->sum1, level[-1].p1);
  } else {
    // The published package aligns corners, the paper's evaluation code does
    // not.
    result = (CpspResult) {
      .base = level->p1,
      .resize = level->crop.filter == CPSP_FILTER_ENLARGE ?
          CPSP_RESIZE_AREA : refiner->settings.enlarge_small ?
          CPSP_RESIZE_CORNERS : CPSP_RESIZE_BILINEAR,
    };
  }
  return refiner->backend->finish_alpha (refiner->device, &result, alpha,
      error) &&
      refiner->backend->synchronise (refiner->device, error);
}

static gboolean
refine_steps (CpspRefiner * refiner, const CpspImageView * image,
    const CpspMaskView * mask, const CpspRect * region,
    gboolean default_region, const CpspAlphaView * alpha, CpspStats * stats,
    GError ** error)
{
  gint64 begun = g_get_monotonic_time (), globally, locally;

  if (!refiner->backend->set_frame (refiner->device, image, mask, error) ||
      !global_step (refiner, error))
    return FALSE;
  globally = g_get_monotonic_time ();
  for (guint i = 1; i < refiner->n_levels; i++)
    if (!local_step (refiner, &refiner->levels[i], &refiner->levels[i - 1],
            region, default_region, stats, error))
      return FALSE;
  locally = g_get_monotonic_time ();
  if (!finish (refiner, alpha, error))
    return FALSE;
  stats->global_ms = (globally - begun) / 1000.0;
  stats->local_ms = (locally - globally) / 1000.0;
  stats->finish_ms = (g_get_monotonic_time () - locally) / 1000.0;
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
check_views (const CpspImageView * image, const CpspMaskView * mask,
    const CpspAlphaView * alpha, GError ** error)
{
  guint sample = alpha->format == CPSP_ALPHA_U8 ? 1 :
      alpha->format == CPSP_ALPHA_U16 ? 2 : 4;
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
  if (!what && (!alpha->data || (guintptr) alpha->data % sample ||
          alpha->stride_bytes % (gssize) sample))
    what = "the alpha's memory is not aligned";
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

gboolean
cpsp_refiner_refine (CpspRefiner * refiner, const CpspSettings * settings,
    const CpspImageView * image, const CpspMaskView * mask,
    const CpspRect * region, const CpspAlphaView * alpha, CpspStats * stats,
    GError ** error)
{
  gint64 begun = g_get_monotonic_time ();
  CpspStats ignored;
  CpspRect bounds, whole;
  gboolean uniform;

  if (!stats)
    stats = &ignored;
  *stats = (CpspStats) { 0 };
  if (!check_views (image, mask, alpha, error) ||
      !cpsp_refiner_prepare (refiner, settings, image->width, image->height,
          error))
    return FALSE;
  stats->crops_grid = refiner->crops_grid;
  bounds = mask_bounds (mask, settings->mask_threshold, &uniform);
  // Without a boundary there is nothing to refine.
  if (uniform) {
    fill_alpha (alpha, bounds.width > 0);
  } else {
    whole = object_region (&bounds, mask, image->width, image->height);
    if (!refine_steps (refiner, image, mask, region ? region : &whole,
            region == NULL, alpha, stats, error)) {
      // Nothing may still read the views when we return.
      refiner->backend->synchronise (refiner->device, NULL);
      return FALSE;
    }
  }
  stats->total_ms = (g_get_monotonic_time () - begun) / 1000.0;
  return TRUE;
}
