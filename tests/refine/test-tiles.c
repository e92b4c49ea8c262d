/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Crop plans. The published grid against lists worked out by hand and against
 * its published form written out; the boundary plan against its promise (all
 * that is uncertain is covered, with context) on random shapes, and against
 * the number of crops that it may take on silhouettes at 3840 x 2160.
 *
 * CPSP_TEST_SEED: another start for the random shapes.
 */
#include "silhouettes.h"
#include "tiles.h"

#include <stdlib.h>
#include <string.h>

// What counts as near the boundary, P1's pixels.
#define NEAR 3

#define N_RANDOM 150

static const CpspRect everywhere = { 0, 0, G_MAXINT, G_MAXINT };

/* Planes */

static Plane
make_random (GRand * random, guint width, guint height)
{
  Plane plane = plane_new (width, height, 0);
  const gint n = g_rand_int_range (random, 0, 7);
  const double size = MIN (width, height);
  const double soft = g_rand_double_range (random, 0.01, 12);

  for (gint i = 0; i < n; i++) {
    const double x = g_rand_double_range (random, -0.1, 1.1) * width;
    const double y = g_rand_double_range (random, -0.1, 1.1) * height;

    if (g_rand_boolean (random))
      draw_line (&plane, x, y, x + g_rand_double_range (random, -1, 1) * width,
          y + g_rand_double_range (random, -1, 1) * height + 0.01,
          g_rand_double_range (random, 1, 9), soft);
    else
      draw_ellipse (&plane, x, y,
          g_rand_double_range (random, 0.02, 0.5) * size + 0.5,
          g_rand_double_range (random, 0.02, 0.5) * size + 0.5,
          g_rand_double_range (random, 0, 3), soft, i % 3 == 2);
  }
  if (g_rand_int_range (random, 0, 4) == 0)
    for (gint i = 0; i < 5; i++)
      plane.p[g_rand_int_range (random, 0, (gint32) (width * height))] =
          (float) g_rand_double (random);
  return plane;
}

static float
sample (const Plane * plane, guint x, guint y, guint width, guint height,
    CpspResize resize)
{
  float at[2], weight[2];
  guint first[2], next[2];
  const guint i[2] = { x, y }, n[2] = { width, height };
  const guint n_src[2] = { plane->width, plane->height };

  for (guint k = 0; k < 2; k++) {
    if (resize == CPSP_RESIZE_CORNERS)
      at[k] = n[k] > 1 ? (float) i[k] * ((float) (n_src[k] - 1)
          / (float) (n[k] - 1)) : 0;
    else
      at[k] = ((float) i[k] + 0.5f) * ((float) n_src[k] / (float) n[k]) - 0.5f;
    at[k] = MAX (at[k], 0);
    first[k] = MIN ((guint) at[k], n_src[k] - 1);
    next[k] = MIN (first[k] + 1, n_src[k] - 1);
    weight[k] = MIN (at[k] - (float) first[k], 1);
  }
  const float *a = plane->p + (gsize) first[1] * plane->width;
  const float *b = plane->p + (gsize) next[1] * plane->width;

  return (1 - weight[1]) * ((1 - weight[0]) * a[first[0]]
      + weight[0] * a[next[0]]) + weight[1] * ((1 - weight[0]) * b[first[0]]
      + weight[0] * b[next[0]]);
}

/* Plans */

static const CpspTile *
get_tile (const CpspTilePlan * plan, guint i)
{
  return &plan->tiles[i];
}

static void
plan_grid (CpspTilePlan * plan, guint width, guint height, guint crop_size)
{
  g_assert_true (cpsp_tile_plan_grid (plan, width, height, crop_size, NULL));
}

static void
plan_keep_mixed (CpspTilePlan * plan, const float *p1, guint p1_width,
    guint p1_height, CpspResize resize)
{
  g_assert_true (cpsp_tile_plan_keep_mixed (plan, p1, p1_width, p1_height,
          resize, NULL));
}

// That follows no earlier plan.
static void
plan_boundary (CpspTilePlan * plan, guint width, guint height,
    guint crop_size, const float *p1, guint p1_width, guint p1_height,
    const CpspRect * regions, guint n_regions)
{
  cpsp_tile_plan_forget (plan);
  g_assert_true (cpsp_tile_plan_boundary (plan, width, height, crop_size, p1,
          p1_width, p1_height, regions, n_regions, NULL));
}

static gboolean
is_same (const CpspTilePlan * one, const CpspTilePlan * other)
{
  return one->n_tiles == other->n_tiles && one->width == other->width
      && one->height == other->height && one->ramp == other->ramp
      && (one->n_tiles == 0 || memcmp (one->tiles,
          other->tiles, one->n_tiles * sizeof (CpspTile)) == 0);
}

// What every plan owes: tiles and their results in the frame, no duplicates.
static void
check_plan (const CpspTilePlan * plan)
{
  g_autoptr (GHashTable) seen = g_hash_table_new (NULL, NULL);

  for (guint i = 0; i < plan->n_tiles; i++) {
    const CpspTile *tile = get_tile (plan, i);
    const guint trim_x = tile->x + plan->width == plan->frame_width ? 0 : 16;
    const guint trim_y = tile->y + plan->height == plan->frame_height ? 0 : 16;
    CpspBlend blend;

    g_assert_cmpuint (tile->x + plan->width, <=, plan->frame_width);
    g_assert_cmpuint (tile->y + plan->height, <=, plan->frame_height);
    g_assert_true (g_hash_table_add (seen,
            GUINT_TO_POINTER (tile->y << 16 | tile->x)));

    cpsp_tile_plan_get_blend (plan, i, &blend);
    g_assert_cmpuint (blend.trim_left, ==, tile->x == 0 ? 0 : 16);
    g_assert_cmpuint (blend.trim_top, ==, tile->y == 0 ? 0 : 16);
    g_assert_cmpuint (blend.x, ==, tile->x + blend.trim_left);
    g_assert_cmpuint (blend.y, ==, tile->y + blend.trim_top);
    g_assert_cmpuint (blend.x + blend.width, ==,
        tile->x + plan->width - trim_x);
    g_assert_cmpuint (blend.y + blend.height, ==,
        tile->y + plan->height - trim_y);
    g_assert_cmpuint (blend.ramp_left, ==, tile->x == 0 ? 0 : plan->ramp);
    g_assert_cmpuint (blend.ramp_top, ==, tile->y == 0 ? 0 : plan->ramp);
    g_assert_cmpuint (blend.ramp_right, ==, trim_x ? plan->ramp : 0);
    g_assert_cmpuint (blend.ramp_bottom, ==, trim_y ? plan->ramp : 0);
    g_assert_cmpuint (blend.ramp_left + blend.ramp_right, <, blend.width);
    g_assert_cmpuint (blend.ramp_top + blend.ramp_bottom, <, blend.height);
  }
}

static void
check_list (const CpspTilePlan * plan, guint n_x, const guint * x, guint n_y,
    const guint * y)
{
  check_plan (plan);
  g_assert_cmpuint (plan->n_tiles, ==, n_x * n_y);
  for (guint i = 0; i < n_x; i++)
    for (guint j = 0; j < n_y; j++) {
      g_assert_cmpuint (get_tile (plan, i * n_y + j)->x, ==, x[i]);
      g_assert_cmpuint (get_tile (plan, i * n_y + j)->y, ==, y[j]);
    }
}

// The published form: more starts than needed, those beyond the border moved
// back, what has been seen skipped.
static void
check_published (const CpspTilePlan * plan, guint crop_size)
{
  const guint width = plan->frame_width, height = plan->frame_height;
  const guint step = crop_size / 2 - 32;
  g_autoptr (GHashTable) seen = g_hash_table_new (NULL, NULL);
  guint n = 0;

  for (guint i = 0; i < width / step + 1; i++)
    for (guint j = 0; j < height / step + 1; j++) {
      guint x = i * step, y = j * step;

      if (x + crop_size > width)
        x = MAX (width, crop_size) - crop_size;
      if (y + crop_size > height)
        y = MAX (height, crop_size) - crop_size;
      if (!g_hash_table_add (seen, GUINT_TO_POINTER (y << 16 | x)))
        continue;
      g_assert_cmpuint (n, <, plan->n_tiles);
      g_assert_cmpuint (get_tile (plan, n)->x, ==, x);
      g_assert_cmpuint (get_tile (plan, n)->y, ==, y);
      n++;
    }
  g_assert_cmpuint (n, ==, plan->n_tiles);
}

static void
test_grid (void)
{
  static const guint uhd_x[] = { 0, 418, 836, 1254, 1672, 2090, 2508, 2926,
    2940
  };
  static const guint uhd_y[] = { 0, 418, 836, 1254, 1260 };
  static const guint zero[] = { 0 }, one[] = { 0, 1 }, four[] = { 0, 4 };
  static const guint whole[] = { 0, 16, 32 };
  static const guint long_x[] = { 0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160,
    176, 192, 204
  };
  CpspTilePlan plan = { 0 };
  plan_grid (&plan, 3840, 2160, 900);
  g_assert_cmpuint (plan.n_tiles, ==, 45);
  g_assert_cmpuint (plan.ramp, ==, 0);
  check_list (&plan, G_N_ELEMENTS (uhd_x), uhd_x, G_N_ELEMENTS (uhd_y), uhd_y);
  plan_grid (&plan, 900, 506, 900);
  check_list (&plan, 1, zero, 1, zero);
  g_assert_cmpuint (plan.width, ==, 900);
  g_assert_cmpuint (plan.height, ==, 506);
  plan_grid (&plan, 901, 506, 900);
  check_list (&plan, 2, one, 1, zero);
  plan_grid (&plan, 506, 901, 900);
  check_list (&plan, 1, zero, 2, one);
  plan_grid (&plan, 100, 97, 96);
  check_list (&plan, 2, four, 2, one);
  plan_grid (&plan, 300, 128, 96);
  check_list (&plan, G_N_ELEMENTS (long_x), long_x, 3, whole);
  plan_grid (&plan, 1, 1, 900);
  check_list (&plan, 1, zero, 1, zero);
  cpsp_tile_plan_clear (&plan);
}

static void
test_grid_random (void)
{
  CpspTilePlan plan = { 0 };
  for (guint i = 0; i < 500; i++) {
    const guint crop_size = (guint) g_test_rand_int_range (96, 1000);

    plan_grid (&plan, (guint) g_test_rand_int_range (1, 3000),
        (guint) g_test_rand_int_range (1, 2000), crop_size);
    g_assert_cmpuint (cpsp_tile_grid_count (plan.frame_width,
            plan.frame_height, crop_size), ==, plan.n_tiles);
    check_published (&plan, crop_size);
    check_plan (&plan);
  }
  cpsp_tile_plan_clear (&plan);
}

/* Tiles that go */

static void
check_mixed (CpspTilePlan * plan, const Plane * plane, CpspResize resize)
{
  g_autoptr (GArray) kept = g_array_new (FALSE, FALSE, sizeof (CpspTile));

  for (guint i = 0; i < plan->n_tiles; i++) {
    const CpspTile *tile = get_tile (plan, i);
    guint n = 0;

    for (guint y = tile->y; y < tile->y + plan->height; y++)
      for (guint x = tile->x; x < tile->x + plan->width; x++)
        n += sample (plane, x, y, plan->frame_width, plan->frame_height,
            resize) > 0.5f;
    const float mean = (float) n / (float) (plan->width * plan->height);

    if (!(mean > 0.9f || mean < 0.1f))
      g_array_append_vals (kept, tile, 1);
  }
  plan_keep_mixed (plan, plane->p, plane->width, plane->height,
      resize);
  g_assert_cmpmem (plan->tiles, plan->n_tiles * sizeof (CpspTile),
      kept->data, kept->len * sizeof (CpspTile));
}

static void
test_mixed (void)
{
  static const struct
  {
    guint n;
    gboolean kept;
  } shares[] = { {0, FALSE}, {999, FALSE}, {1000, TRUE}, {5000, TRUE},
    {9000, TRUE}, {9001, FALSE}, {10000, FALSE}
  };
  CpspTilePlan plan = { 0 };
  for (guint i = 0; i < G_N_ELEMENTS (shares); i++) {
    Plane plane = plane_new (100, 100, 0.5f);   // 0.5 is background

    for (guint j = 0; j < shares[i].n; j++)
      plane.p[j] = 0.75f;
    plan_grid (&plan, 100, 100, 900);
    plan_keep_mixed (&plan, plane.p, 100, 100, CPSP_RESIZE_BILINEAR);
    g_assert_cmpuint (plan.n_tiles, ==, shares[i].kept);
    plane_free (&plane);
  }
  cpsp_tile_plan_clear (&plan);
}

static void
test_mixed_random (void)
{
  GRand *random = g_rand_new_with_seed ((guint32) g_test_rand_int ());
  CpspTilePlan plan = { 0 };
  for (guint i = 0; i < 40; i++) {
    const guint width = (guint) g_rand_int_range (random, 1, 500);
    const guint height = (guint) g_rand_int_range (random, 1, 400);
    const double scale = g_rand_double_range (random, 0.05, 1.5);
    Plane plane = make_random (random, (guint) ceil (width * scale),
        (guint) ceil (height * scale));

    for (guint resize = 0; resize < 2; resize++) {
      plan_grid (&plan, width, height,
          (guint) g_rand_int_range (random, 96, 300));
      check_mixed (&plan, &plane,
          resize ? CPSP_RESIZE_CORNERS : CPSP_RESIZE_BILINEAR);
    }
    plane_free (&plane);
  }
  cpsp_tile_plan_clear (&plan);
  g_rand_free (random);
}

static void
test_region_tiles (void)
{
  static const struct
  {
    CpspRect region;
    guint n;
  } cases[] = {
    {{0, 0, 3840, 2160}, 45},
    {{-100, -100, 32767, 32767}, 45},
    {{0, 0, 1, 1}, 1},
    {{-1, -1, 1, 1}, 0},
    {{3840, 0, 10, 10}, 0},
    {{10, 10, 0, 10}, 0},
    {{3839, 2159, 100, 100}, 1},
    {{899, 0, 2, 417}, 3},      // 0, 418, 836
    {{900, 0, 1, 419}, 4},      // 418, 836; 0, 418
    {{G_MAXINT, G_MAXINT, G_MAXUINT, G_MAXUINT}, 0},
    {{G_MININT, G_MININT, G_MAXUINT, G_MAXUINT}, 45},
  };
  CpspTilePlan plan = { 0 };
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    plan_grid (&plan, 3840, 2160, 900);
    cpsp_tile_plan_keep_regions (&plan, &cases[i].region, 1);
    g_assert_cmpuint (plan.n_tiles, ==, cases[i].n);
  }
  cpsp_tile_plan_clear (&plan);
}

/* The boundary plan */

static gboolean
is_foreground (const Plane * plane, guint x, guint y)
{
  return plane->p[(gsize) y * plane->width + x] > 0.5f;
}

// Every pixel of REGION that is uncertain or near P1's boundary has weight 1
// from one tile at least; every tile has a reason to be.
static void
check_covered (const CpspTilePlan * plan, const Plane * plane,
    const CpspRect * region)
{
  const guint width = plan->frame_width, height = plan->frame_height;
  g_autofree guint8 *covered = g_malloc0 ((gsize) width * height);
  g_autofree guint8 *crossing = g_malloc0 ((gsize) plane->width
      * plane->height);
  const guint left = (guint) MAX (region->x, 0);
  const guint top = (guint) MAX (region->y, 0);
  const guint right = (guint) CLAMP (region->x + (gint) region->width, 0,
      (gint) width);
  const guint bottom = (guint) CLAMP (region->y + (gint) region->height, 0,
      (gint) height);

  for (guint i = 0; i < plan->n_tiles; i++) {
    CpspBlend b;

    cpsp_tile_plan_get_blend (plan, i, &b);
    for (guint y = b.ramp_top; y < b.height - b.ramp_bottom; y++)
      memset (covered + (gsize) (b.y + y) * width + b.x + b.ramp_left, 1,
          b.width - b.ramp_left - b.ramp_right);
  }
  for (guint y = 0; y < plane->height; y++)
    for (guint x = 0; x < plane->width; x++) {
      gboolean crosses = FALSE;

      for (guint v = y ? y - 1 : 0; v < MIN (y + 2, plane->height); v++)
        for (guint u = x ? x - 1 : 0; u < MIN (x + 2, plane->width); u++)
          crosses |= (u == x || v == y)
              && is_foreground (plane, u, v) != is_foreground (plane, x, y);
      crossing[(gsize) y * plane->width + x] = crosses;
    }
  for (guint y = top; y < bottom; y++)
    for (guint x = left; x < right; x++) {
      const float p = sample (plane, x, y, width, height,
          CPSP_RESIZE_BILINEAR);
      const gint u = (gint) (x * plane->width / width);
      const gint v = (gint) (y * plane->height / height);
      gboolean is_due = p > CPSP_TILE_DOUBT && p < 1 - CPSP_TILE_DOUBT;

      // A crossing marks the pixel on one of its sides.
      for (gint j = MAX (v - NEAR + 1, 0);
          j < MIN (v + NEAR, (gint) plane->height) && !is_due; j++)
        for (gint i = MAX (u - NEAR + 1, 0);
            i < MIN (u + NEAR, (gint) plane->width); i++)
          is_due |= crossing[(gsize) j * plane->width + i];
      if (is_due && !covered[(gsize) y * width + x])
        g_error ("%u x %u, crop %u: (%u, %u) is not covered", width, height,
            plan->width, x, y);
    }
}

static CpspRect
make_region (GRand * random, guint width, guint height)
{
  const gint w = (gint) width, h = (gint) height;
  const gint x = g_rand_int_range (random, -w / 2, w);
  const gint y = g_rand_int_range (random, -h / 2, h);

  return (CpspRect) { x, y, (guint) g_rand_int_range (random, 0, 2 * w),
    (guint) g_rand_int_range (random, 0, 2 * h)
  };
}

static void
test_boundary_random (void)
{
  guint32 seed = (guint32) g_test_rand_int ();
  const char *given = g_getenv ("CPSP_TEST_SEED");
  CpspTilePlan plan = { 0 }, fresh = { 0 };

  if (given)
    seed = (guint32) g_ascii_strtoull (given, NULL, 0);
  for (guint i = 0; i < N_RANDOM; i++, seed++) {
    GRand *random = g_rand_new_with_seed (seed);
    const guint width = (guint) g_rand_int_range (random, 1, 900);
    const guint height = (guint) g_rand_int_range (random, 1, 700);
    const guint crop_size = (guint) g_rand_int_range (random, 96, 400);
    // Above 1: small frames are enlarged for the Global step.
    const double scale = MIN (2, (double) crop_size / MAX (width, height));
    const CpspRect whole = { 0, 0, width, height };
    const CpspRect regions[2] = {
      make_region (random, width, height), make_region (random, width, height)
    };
    Plane plane = make_random (random, MAX (1, (guint) (width * scale)),
        MAX (1, (guint) (height * scale)));

    g_test_message ("seed %u: %u x %u, crop %u", seed, width, height,
        crop_size);
    plan_boundary (&plan, width, height, crop_size, plane.p,
        plane.width, plane.height, &whole, 1);
    check_plan (&plan);
    check_covered (&plan, &plane, &whole);

    for (guint n_regions = 0; n_regions <= 2; n_regions++) {
      plan_boundary (&plan, width, height, crop_size, plane.p,
          plane.width, plane.height, regions, n_regions);
      check_plan (&plan);
      for (guint j = 0; j < n_regions; j++)
        check_covered (&plan, &plane, &regions[j]);
      // No tile without something in the regions.
      const guint n = plan.n_tiles;

      cpsp_tile_plan_keep_regions (&plan, regions, n_regions);
      g_assert_cmpuint (plan.n_tiles, ==, n);
    }
    plan_boundary (&fresh, width, height, crop_size, plane.p,
        plane.width, plane.height, regions, 2);
    g_assert_true (is_same (&plan, &fresh));
    cpsp_tile_plan_clear (&fresh);
    plane_free (&plane);
    g_rand_free (random);
  }
  cpsp_tile_plan_clear (&plan);
}

static void
test_boundary_uhd (void)
{
  struct
  {
    const char *name;
    Plane plane;
    guint max;
  } cases[] = {
    {"small disc", make_disc (60), 1},
    {"disc", make_disc (130), 4},
    {"large disc", make_disc (240), 8},
    {"person", make_person (2), 5},
    {"soft person", make_person (8), 5},
    {"bicycle", make_bicycle (2), 6},
    {"nothing", plane_new (900, 506, 0), 0},
    {"everything", plane_new (900, 506, 1), 0},
    {"all in doubt", plane_new (900, 506, 0.5f), 15},
  };
  const CpspRect whole = { 0, 0, 3840, 2160 };
  CpspTilePlan plan = { 0 };
  gpointer scratch = NULL, tiles = NULL;
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    const Plane *plane = &cases[i].plane;

    plan_grid (&plan, 3840, 2160, 900);
    plan_keep_mixed (&plan, plane->p, plane->width, plane->height,
        CPSP_RESIZE_BILINEAR);
    const guint n_reference = plan.n_tiles;
    const gint64 start = g_get_monotonic_time ();

    plan_boundary (&plan, 3840, 2160, 900, plane->p, plane->width,
        plane->height, &whole, 1);
    g_test_message ("%s: %u crops (published: %u of 45), %.1f ms",
        cases[i].name, plan.n_tiles, n_reference,
        (double) (g_get_monotonic_time () - start) / 1000);
    check_plan (&plan);
    check_covered (&plan, plane, &whole);
    g_assert_cmpuint (plan.n_tiles, <=, cases[i].max);
    // One after another, frames of one size take no more memory.
    if (i > 0) {
      g_assert_true (plan.scratch.data == scratch);
      g_assert_true (plan.tiles == tiles);
    }
    scratch = plan.scratch.data;
    tiles = plan.tiles;
    plane_free (&cases[i].plane);
  }
  cpsp_tile_plan_clear (&plan);
}

// At most a third of the published grid's crops, whatever is in the frame.
static void
test_boundary_third (void)
{
  GRand *random = g_rand_new_with_seed ((guint32) g_test_rand_int ());
  CpspTilePlan plan = { 0 };
  for (guint i = 0; i < 20; i++) {
    Plane plane = make_random (random, 900, 506);

    plan_boundary (&plan, 3840, 2160, 900, plane.p, plane.width,
        plane.height, &everywhere, 1);
    g_assert_cmpuint (plan.n_tiles, <=, 15);
    plane_free (&plane);
  }
  cpsp_tile_plan_clear (&plan);
  g_rand_free (random);
}

// A shape in the middle of one crop stays in its middle; one at the border
// gets a crop at the border.
static void
test_boundary_context (void)
{
  Plane plane = plane_new (900, 506, 0);
  CpspTilePlan plan = { 0 };
  draw_ellipse (&plane, 450, 253, 40, 30, 0, 2, FALSE);
  plan_boundary (&plan, 3840, 2160, 900, plane.p, 900, 506,
      &everywhere, 1);
  g_assert_cmpuint (plan.n_tiles, ==, 1);
  g_assert_cmpint (abs ((gint) get_tile (&plan, 0)->x + 450 - 1920), <, 24);
  g_assert_cmpint (abs ((gint) get_tile (&plan, 0)->y + 450 - 1080), <, 24);
  plane_free (&plane);

  plane = plane_new (900, 506, 0);
  draw_ellipse (&plane, 0, 0, 100, 100, 0, 2, FALSE);
  draw_ellipse (&plane, 890, 500, 40, 40, 0, 2, FALSE);
  plan_boundary (&plan, 3840, 2160, 900, plane.p, 900, 506,
      &everywhere, 1);
  g_assert_cmpuint (plan.n_tiles, ==, 2);
  g_assert_cmpuint (get_tile (&plan, 0)->x, ==, 0);
  g_assert_cmpuint (get_tile (&plan, 0)->y, ==, 0);
  g_assert_cmpuint (get_tile (&plan, 1)->x, ==, 2940);
  g_assert_cmpuint (get_tile (&plan, 1)->y, ==, 1260);
  plane_free (&plane);
  cpsp_tile_plan_clear (&plan);
}

static void
test_degenerate (void)
{
  static const guint sizes[][2] = { {1, 1}, {7, 9}, {1, 300}, {33, 300},
    {300, 33}, {95, 97}, {96, 96}, {97, 96}, {8192, 16}, {16, 8192},
    {900, 900}, {901, 901}, {3840, 2160}, {32767, 1}, {32767, 32767}
  };
  static const guint crops[] = { 96, 97, 900, 4096 };
  static const float values[] = { 0, 1, 0.5f, NAN, INFINITY, -INFINITY };
  static const CpspRect regions[] = { {0, 0, 0, 0}, {-5, -5, 5, 5},
    {32767, 32767, 10, 10}, {G_MAXINT, G_MININT, G_MAXUINT, G_MAXUINT}
  };
  CpspTilePlan plan = { 0 };
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    for (guint j = 0; j < G_N_ELEMENTS (crops); j++) {
      const guint width = sizes[i][0], height = sizes[i][1];
      const double scale = MIN (1, (double) crops[j] / MAX (width, height));
      const guint small = MAX (1, (guint) (width * scale));
      const guint low = MAX (1, (guint) (height * scale));
      // The grid of the largest frame in the smallest crops is not worth
      // the wait.
      const gboolean grid = width < 32767 || height < 32767 || crops[j] >= 900;

      for (guint k = 0; k < G_N_ELEMENTS (values); k++) {
        const gboolean doubt = values[k] == 0.5f;
        Plane plane = plane_new (small, low, values[k]);

        plan_boundary (&plan, width, height, crops[j], plane.p,
            small, low, &everywhere, 1);
        check_plan (&plan);
        g_assert_cmpint (plan.n_tiles > 0, ==, doubt);
        if (width <= crops[j] && height <= crops[j])
          g_assert_cmpuint (plan.n_tiles, ==, doubt);
        if (doubt && (gsize) width * height < 10000000) {
          const CpspRect whole = { 0, 0, width, height };

          check_covered (&plan, &plane, &whole);
        }
        for (guint r = 0; r < G_N_ELEMENTS (regions); r++) {
          plan_boundary (&plan, width, height, crops[j], plane.p,
              small, low, &regions[r], 1);
          g_assert_cmpuint (plan.n_tiles, ==, 0);
        }
        if (grid && k < 4) {
          plan_grid (&plan, width, height, crops[j]);
          g_assert_cmpuint (plan.n_tiles, >, 0);
          plan_keep_mixed (&plan, plane.p, small, low,
              CPSP_RESIZE_BILINEAR);
          g_assert_cmpuint (plan.n_tiles, ==, 0);
        }
        plane_free (&plane);
      }
    }
  cpsp_tile_plan_clear (&plan);
}

// NaN here and there: the rest is covered as ever.
static void
test_nan (void)
{
  Plane plane = make_disc (130);
  const CpspRect whole = { 0, 0, 1800, 1012 };
  CpspTilePlan plan = { 0 };

  for (guint i = 0; i < plane.width * plane.height; i += 97)
    if (plane.p[i] == 0)
      plane.p[i] = NAN;
  plan_boundary (&plan, 1800, 1012, 500, plane.p, plane.width,
      plane.height, &everywhere, 1);
  check_plan (&plan);
  g_assert_cmpuint (plan.n_tiles, <=, 6);
  check_covered (&plan, &plane, &whole);
  plane_free (&plane);
  cpsp_tile_plan_clear (&plan);
}

// How many tiles of PLAN are not among the N tiles LAST.
static guint
count_moved (const CpspTilePlan * plan, const CpspTile * last, guint n)
{
  guint n_moved = 0;

  for (guint i = 0; i < plan->n_tiles; i++) {
    gboolean found = FALSE;

    for (guint j = 0; j < n; j++)
      found = found || (last[j].x == plan->tiles[i].x
          && last[j].y == plan->tiles[i].y);
    n_moved += !found;
  }
  return n_moved;
}

// A shape that moves a pixel of P1 each frame: tiles stay where they are
// until they no longer cover it, and there are no more of them than a plan
// from scratch has.
static void
test_stable (void)
{
  static const struct
  {
    const char *name;
    guint dx, dy;
  } ways[] = { {"right", 1, 0}, {"down", 0, 1}, {"both", 1, 1} };
  const CpspRect whole = { 0, 0, 3840, 2160 };
  CpspTilePlan plan = { 0 }, fresh = { 0 };

  for (guint way = 0; way < G_N_ELEMENTS (ways); way++) {
    g_autoptr (GArray) last = g_array_new (FALSE, FALSE, sizeof (CpspTile));
    guint n_tiles = 0, n_moved = 0, n_moved_fresh = 0;

    cpsp_tile_plan_forget (&plan);
    cpsp_tile_plan_forget (&fresh);
    for (guint i = 0; i < 60; i++) {
      Plane plane = plane_new (900, 506, 0);

      draw_ellipse (&plane, 300 + i * ways[way].dx, 200 + i * ways[way].dy,
          140, 110, 0, 2, FALSE);
      g_array_set_size (last, 0);
      g_array_append_vals (last, plan.tiles, plan.n_tiles);
      g_assert_true (cpsp_tile_plan_boundary (&plan, 3840, 2160, 900, plane.p,
              900, 506, &whole, 1, NULL));
      check_plan (&plan);
      check_covered (&plan, &plane, &whole);
      n_moved += count_moved (&plan, (CpspTile *) last->data, last->len);

      g_array_set_size (last, 0);
      g_array_append_vals (last, fresh.tiles, fresh.n_tiles);
      plan_boundary (&fresh, 3840, 2160, 900, plane.p, 900, 506, &whole, 1);
      n_moved_fresh += count_moved (&fresh, (CpspTile *) last->data,
          last->len);
      g_assert_cmpuint (plan.n_tiles, <=, fresh.n_tiles);
      n_tiles += plan.n_tiles;
      plane_free (&plane);
    }
    g_test_message ("%s: of %u tiles %u moved, %u without memory",
        ways[way].name, n_tiles, n_moved, n_moved_fresh);
    g_assert_cmpuint (4 * n_moved, <, n_moved_fresh);
  }
  cpsp_tile_plan_clear (&plan);
  cpsp_tile_plan_clear (&fresh);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/tiles/grid/list", test_grid);
  g_test_add_func ("/tiles/grid/random", test_grid_random);
  g_test_add_func ("/tiles/keep/mixed", test_mixed);
  g_test_add_func ("/tiles/keep/mixed-random", test_mixed_random);
  g_test_add_func ("/tiles/keep/region", test_region_tiles);
  g_test_add_func ("/tiles/boundary/random", test_boundary_random);
  g_test_add_func ("/tiles/boundary/uhd", test_boundary_uhd);
  g_test_add_func ("/tiles/boundary/third", test_boundary_third);
  g_test_add_func ("/tiles/boundary/context", test_boundary_context);
  g_test_add_func ("/tiles/boundary/nan", test_nan);
  g_test_add_func ("/tiles/boundary/stable", test_stable);
  g_test_add_func ("/tiles/degenerate", test_degenerate);
  return g_test_run ();
}
