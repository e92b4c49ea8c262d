/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which crops the Local step runs, as data: a list of tiles of one size.
 */
#pragma once

#include "backend.h"
#include "alloc.h"

G_BEGIN_DECLS

// Pixels cut from each side of a crop that is not at the frame's border: the
// network has seen too little there [3.2.2].
#define CPSP_TILE_TRIM 16
// Pixels over which a tile of the boundary plan fades in; fewer in crops of
// less than 8 times as many.
#define CPSP_TILE_RAMP 32
// The boundary plan takes P1 for decided up to DOUBT and from 1 - DOUBT. A
// pixel that no tile covers keeps P1; next to one that a tile made 0 or 1 that
// is a step of 13 in 255 at most, spread over RAMP pixels. With 0.02 there
// were a seventh more tiles at 4K, and no pixel of theirs crossed 0.5.
#define CPSP_TILE_DOUBT 0.05f

typedef struct
{
  guint x, y;                   // top left, pixels of the (scaled) frame
  float value;                  // of running it, once ranked
} CpspTile;

typedef struct
{
  guint frame_width, frame_height;
  guint width, height;          // of every tile: crop_size or the frame's side
  guint ramp;                   // 0: weights are 0 or 1
  CpspTile *tiles;              // no duplicates, in running order
  guint n_tiles;
  // Kept, so that a next plan of frames of this size allocates nothing.
  CpspMemory memory;            // of the tiles
  CpspMemory scratch;
} CpspTilePlan;

// Zeros: an empty plan. The functions that plan return FALSE, with a NO_MEMORY
// error and no tiles, if there is no memory.
void cpsp_tile_plan_clear (CpspTilePlan * plan);

// How many tiles the published grid has.
guint cpsp_tile_grid_count (guint width, guint height, guint crop_size);
// The published grid: crops of CROP_SIZE with step CROP_SIZE / 2 - 32.
// CROP_SIZE >= CPSP_CROP_SIZE_MIN.
gboolean cpsp_tile_plan_grid (CpspTilePlan * plan, guint width,
    guint height, guint crop_size, GError ** error);
// Removes the tiles whose share of foreground (P1 resized to the frame > 0.5)
// is above 0.9 or below 0.1. P1 is p1_width x p1_height; RESIZE is BILINEAR
// or CORNERS.
gboolean cpsp_tile_plan_keep_mixed (CpspTilePlan * plan, const float *p1,
    guint p1_width, guint p1_height, CpspResize resize, GError ** error);
// Removes the tiles that meet none of REGIONS (frame pixels).
void cpsp_tile_plan_keep_regions (CpspTilePlan * plan,
    const CpspRect * regions, guint n_regions);

// Few tiles that cover, with at least TRIM + plan->ramp pixels of context
// (except at the frame's border), every pixel within any of REGIONS (frame
// pixels) whose P1 is uncertain or which lies near P1's boundary; none where
// there is no such pixel. Tiles that PLAN holds from a plan for the same sizes
// stay where they are, as far as this takes no more tiles: a crop that moves
// sees something else, and the alpha would jump. The same calls give the same
// tiles.
gboolean cpsp_tile_plan_boundary (CpspTilePlan * plan, guint width,
    guint height, guint crop_size, const float *p1, guint p1_width,
    guint p1_height, const CpspRect * regions, guint n_regions,
    GError ** error);
// The next plan follows no earlier one.
void cpsp_tile_plan_forget (CpspTilePlan * plan);

// Orders the tiles by what they may change, most first: P1's doubt within
// them, and more for those that lie where one of the N_LAST tiles LAST lies,
// so that much the same tiles run from frame to frame.
void cpsp_tile_plan_rank (CpspTilePlan * plan, const float *p1,
    guint p1_width, guint p1_height, const CpspTile * last, guint n_last);

// Where tile I's result goes.
void cpsp_tile_plan_get_blend (const CpspTilePlan * plan, guint i,
    CpspBlend * blend);

G_END_DECLS
