/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Edge controls of an alpha plane: what a keyer's operator sets by eye. They
 * work on the finished alpha, in this order:
 *
 *   shift    Every contour of the alpha (the line of equal values) moves by
 *            this many pixels: the largest value within a disc, or, to choke,
 *            the smallest. What is half transparent stays so, and a soft edge
 *            keeps its softness. Between two whole radii the results are
 *            mixed, which for an edge is the place between.
 *   feather  A hard edge becomes a ramp this many pixels wide, half of it on
 *            either side: a convolution with one period of a raised cosine,
 *            along x and along y. Together with `shift` of half of it the ramp
 *            lies all outside (or inside) of the old edge. A shift brings at
 *            least CPSP_EDGE_SOFTNESS with it (less below 1.5 pixels), without
 *            which expanded hair would be a string of discs, and choked hair
 *            one of dots; to choke, feather comes first, for the same reason.
 *   levels   Values up to `black_point` become 0, from `white_point` on 1, and
 *            those between are stretched over the range.
 *   invert   1 - value: the key's polarity.
 *
 * Outside of the frame, the plane goes on as at its border. The result is
 * continuous in every number, so that all may be animated.
 */
#pragma once

#include "image.h"

G_BEGIN_DECLS

#define CPSP_EDGE_SHIFT_MAX 64
#define CPSP_EDGE_FEATHER_MAX 128
// Pixels of feather
#define CPSP_EDGE_SOFTNESS 3

typedef struct
{
  double shift;                 // pixels; below 0: choke, above: expand
  double feather;               // pixels; 0 to CPSP_EDGE_FEATHER_MAX
  // 0 to 1. They stay one 65535th apart: a white point that is not above the
  // black point cuts hard.
  double black_point, white_point;
  gboolean invert;
} CpspEdgeSettings;

#define CPSP_EDGE_SETTINGS_DEFAULT { .white_point = 1 }

typedef struct _CpspEdge CpspEdge;

// Works for planes of WIDTH pixels on up to THREADS threads (0: one per
// processor), with memory of its own, enough for all settings: applying
// allocates nothing. NULL: no memory.
CpspEdge *cpsp_edge_new (guint width, guint threads);
void cpsp_edge_free (CpspEdge * edge);

// Whether nothing would change.
gboolean cpsp_edge_settings_is_default (const CpspEdgeSettings * settings);

// Writes SRC with the controls applied to DST. Both are of EDGE's width, of the
// same height, and of the same format, U8 or U16; they must not overlap.
// Settings out of range act as the nearest in range. The caller may not be in
// two calls with one EDGE at once.
void cpsp_edge_apply (CpspEdge * edge, const CpspEdgeSettings * settings,
    const CpspAlphaView * src, const CpspAlphaView * dst);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (CpspEdge, cpsp_edge_free)

G_END_DECLS
