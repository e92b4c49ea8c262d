/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The edge controls against their definition written out in double precision,
 * on random planes and settings, and against what an operator expects of
 * them: how far an edge moves, how wide it becomes, that nothing jumps.
 *
 * CPSP_TEST_SEED: another start for the random planes.
 */
#include "edge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_RANDOM 150
#define RIM 0xa5

/* Planes */

// Samples with a rim that must stay as it is.
typedef struct
{
  CpspAlphaView view;
  guint8 *memory;
  gsize size;
} Plane;

static Plane
plane_new (guint width, guint height, CpspAlphaFormat format, guint padding)
{
  guint bytes = format == CPSP_ALPHA_U8 ? 1 : 2;
  gsize stride = (gsize) (width + padding) * bytes;
  Plane plane = {.size = stride * (height + 2) };

  plane.memory = g_malloc (plane.size);
  memset (plane.memory, RIM, plane.size);
  plane.view = (CpspAlphaView) {
    width, height, format, plane.memory + stride, stride};
  return plane;
}

static void
plane_free (Plane * plane)
{
  g_free (plane->memory);
}

static guint
get_max (const Plane * plane)
{
  return plane->view.format == CPSP_ALPHA_U8 ? 255 : 65535;
}

static guint
get_sample (const Plane * plane, guint x, guint y)
{
  const guint8 *row = plane->view.data + y * plane->view.stride_bytes;

  return plane->view.format == CPSP_ALPHA_U8 ? row[x]
      : ((const guint16 *) row)[x];
}

static void
set_sample (Plane * plane, guint x, guint y, guint value)
{
  guint8 *row = plane->view.data + y * plane->view.stride_bytes;

  if (plane->view.format == CPSP_ALPHA_U8)
    row[x] = value;
  else
    ((guint16 *) row)[x] = value;
}

static void
check_rim (const Plane * plane)
{
  gsize stride = plane->view.stride_bytes;
  gsize used = (gsize) plane->view.width *
      (plane->view.format == CPSP_ALPHA_U8 ? 1 : 2);

  for (gsize i = 0; i < plane->size; i++) {
    gboolean inside = i >= stride && i < plane->size - stride
        && i % stride < used;

    if (!inside)
      g_assert_cmphex (plane->memory[i], ==, RIM);
  }
}

// Blobs, lines, noise: what has hard edges, thin parts and soft values.
static void
fill_random (Plane * plane, GRand * r)
{
  guint width = plane->view.width, height = plane->view.height;
  guint max = get_max (plane), kind = g_rand_int_range (r, 0, 4);
  double cx = g_rand_double_range (r, 0, width);
  double cy = g_rand_double_range (r, 0, height);
  double radius = g_rand_double_range (r, 1, 12);
  double soft = g_rand_double_range (r, 0.5, 8);

  for (guint y = 0; y < height; y++) {
    for (guint x = 0; x < width; x++) {
      double blob = 0.5 + (radius - hypot (x - cx, y - cy)) / soft;
      double value = CLAMP (blob, 0, 1);

      if (kind == 1)
        value = g_rand_double (r);
      else if (kind == 2 && g_rand_int_range (r, 0, 9) == 0)
        value = 1 - value;
      else if (kind == 3)
        value = (x + 2 * y) % 7 == 0;
      set_sample (plane, x, y, (guint) (value * max + 0.5));
    }
  }
}

/* The definition */

typedef struct
{
  guint width, height;
  double *p;
} Values;

static double
at (const Values * v, gint x, gint y)
{
  x = CLAMP (x, 0, (gint) v->width - 1);
  y = CLAMP (y, 0, (gint) v->height - 1);
  return v->p[(gsize) y * v->width + x];
}

static Values
values_new (const Values * like)
{
  Values v = *like;

  v.p = g_new (double, (gsize) v.width * v.height);
  return v;
}

// The extreme within RADIUS pixels, the border going on outside.
static double
get_extreme (const Values * v, gint x, gint y, gint radius, gboolean least)
{
  double result = at (v, x, y);

  for (gint dy = -radius; dy <= radius; dy++) {
    for (gint dx = -radius; dx <= radius; dx++) {
      double value = at (v, x + dx, y + dy);

      if (dx * dx + dy * dy > (radius + 0.25) * (radius + 0.25))
        continue;
      result = least ? MIN (result, value) : MAX (result, value);
    }
  }
  return result;
}

static void
define_shift (Values * v, double shift)
{
  Values src = *v, dst = values_new (v);
  gint whole = (gint) fabs (shift);
  double share = fabs (shift) - whole;

  for (guint y = 0; y < v->height; y++)
    for (guint x = 0; x < v->width; x++) {
      double value = (1 - share) * get_extreme (&src, x, y, whole, shift < 0);

      if (share > 0)
        value += share * get_extreme (&src, x, y, whole + 1, shift < 0);
      dst.p[(gsize) y * v->width + x] = value;
    }
  g_free (v->p);
  *v = dst;
}

// The raised cosine over the triangle around tap K, in many small steps.
static double
get_weight (double width, gint k)
{
  const gint steps = 20000;
  double sum = 0;

  for (gint i = 0; i < steps; i++) {
    double t = ((i + 0.5) / steps - 0.5) * width;
    double triangle = 1 - fabs (t - k);

    if (triangle > 0)
      sum += triangle * (1 + cos (2 * G_PI * t / width)) / steps;
  }
  return sum;
}

static void
define_feather (Values * v, double width)
{
  gint reach = (gint) ceil (width / 2);
  g_autofree double *weight = g_new (double, reach + 1);

  for (gint k = 0; k <= reach; k++)
    weight[k] = get_weight (width, k);
  for (guint axis = 0; axis < 2; axis++) {
    Values src = *v, dst = values_new (v);

    for (guint y = 0; y < v->height; y++)
      for (guint x = 0; x < v->width; x++) {
        double sum = 0;

        for (gint k = -reach; k <= reach; k++)
          sum += weight[ABS (k)] * (axis ? at (&src, x, (gint) y + k)
              : at (&src, (gint) x + k, y));
        dst.p[(gsize) y * v->width + x] = sum;
      }
    g_free (v->p);
    *v = dst;
  }
}

static Values
define (const Plane * plane, const CpspEdgeSettings * settings)
{
  Values v = { plane->view.width, plane->view.height, NULL };
  double softness = MIN (2 * fabs (settings->shift), CPSP_EDGE_SOFTNESS);
  double feather = MAX (settings->feather, softness);

  v.p = g_new (double, (gsize) v.width * v.height);
  for (guint y = 0; y < v.height; y++)
    for (guint x = 0; x < v.width; x++)
      v.p[(gsize) y * v.width + x] =
          (double) get_sample (plane, x, y) / get_max (plane);

  if (settings->shift > 0)
    define_shift (&v, settings->shift);
  if (feather > 0)
    define_feather (&v, feather);
  if (settings->shift < 0)
    define_shift (&v, settings->shift);

  for (gsize i = 0; i < (gsize) v.width * v.height; i++) {
    double value = (v.p[i] - settings->black_point) /
        (settings->white_point - settings->black_point);

    value = CLAMP (value, 0, 1);
    v.p[i] = settings->invert ? 1 - value : value;
  }
  return v;
}

/* Against the definition */

static CpspEdgeSettings
pick_settings (GRand * r)
{
  CpspEdgeSettings settings = CPSP_EDGE_SETTINGS_DEFAULT;

  switch (g_rand_int_range (r, 0, 4)) {
    case 0:
      settings.shift = g_rand_int_range (r, -6, 7);
      break;
    case 1:
      settings.shift = g_rand_double_range (r, -9, 9);
      break;
    case 2:
      settings.shift = g_rand_double_range (r, -0.3, 0.3);
      break;
  }
  if (g_rand_boolean (r))
    settings.feather = g_rand_double_range (r, 0, 14);
  if (g_rand_boolean (r)) {
    settings.black_point = g_rand_double_range (r, 0, 0.5);
    settings.white_point = g_rand_double_range (r, 0.6, 1);
  }
  settings.invert = g_rand_boolean (r);
  return settings;
}

static void
compare (const Plane * src, const Plane * dst, const CpspEdgeSettings * s)
{
  Values want = define (src, s);
  double max = get_max (dst);
  // Half a step of the result, and of the words between choke and feather,
  // which the levels stretch, with room for single precision.
  double between = (0.5 + 0.5) / 65535
      / (s->white_point - s->black_point);
  double tolerance = 0.5 + between * max;

  for (guint y = 0; y < want.height; y++)
    for (guint x = 0; x < want.width; x++) {
      double value = want.p[(gsize) y * want.width + x] * max;
      double got = get_sample (dst, x, y);

      if (!(fabs (got - value) <= tolerance))
        g_error ("%ux%u, shift %g, feather %g, levels %g to %g, invert %d: "
            "%g instead of %g at %u,%u", want.width, want.height, s->shift,
            s->feather, s->black_point, s->white_point, s->invert, got, value,
            x, y);
    }
  g_free (want.p);
}

static guint32
get_seed (void)
{
  const char *given = g_getenv ("CPSP_TEST_SEED");

  return given ? (guint32) strtoul (given, NULL, 0) : 3;
}

static void
test_random (void)
{
  g_autoptr (GRand) r = g_rand_new_with_seed (get_seed ());

  g_test_message ("CPSP_TEST_SEED=%u", get_seed ());
  for (guint i = 0; i < N_RANDOM; i++) {
    guint width = i % 10 ? g_rand_int_range (r, 1, 60) : 1;
    guint height = i % 7 ? g_rand_int_range (r, 1, 60) : 1;
    CpspAlphaFormat format = i % 2 ? CPSP_ALPHA_U8 : CPSP_ALPHA_U16;
    CpspEdgeSettings settings = pick_settings (r);
    Plane src = plane_new (width, height, format, g_rand_int_range (r, 0, 9));
    Plane dst = plane_new (width, height, format, g_rand_int_range (r, 0, 9));
    g_autoptr (CpspEdge) edge = cpsp_edge_new (width, 1);

    fill_random (&src, r);
    cpsp_edge_apply (edge, &settings, &src.view, &dst.view);
    compare (&src, &dst, &settings);
    check_rim (&src);
    check_rim (&dst);
    plane_free (&src);
    plane_free (&dst);
  }
}

// Bands of the plane must meet without a seam, whatever was before in their
// memory.
static void
test_threads (void)
{
  g_autoptr (GRand) r = g_rand_new_with_seed (get_seed ());
  guint width = 90, height = 331;
  g_autoptr (CpspEdge) one = cpsp_edge_new (width, 1);
  g_autoptr (CpspEdge) many = cpsp_edge_new (width, 5);
  Plane src = plane_new (width, height, CPSP_ALPHA_U16, 3);
  Plane a = plane_new (width, height, CPSP_ALPHA_U16, 0);
  Plane b = plane_new (width, height, CPSP_ALPHA_U16, 0);

  for (guint i = 0; i < 20; i++) {
    CpspEdgeSettings settings = pick_settings (r);

    if (i == 0)
      settings.shift = CPSP_EDGE_SHIFT_MAX;
    if (i <= 1)
      settings.feather = CPSP_EDGE_FEATHER_MAX;
    if (i == 2)
      settings.shift = -CPSP_EDGE_SHIFT_MAX - 5;
    fill_random (&src, r);
    cpsp_edge_apply (one, &settings, &src.view, &a.view);
    cpsp_edge_apply (many, &settings, &src.view, &b.view);
    g_assert_cmpmem (a.memory, a.size, b.memory, b.size);
  }
  plane_free (&src);
  plane_free (&a);
  plane_free (&b);
}

/* What an operator expects */

// A half-plane's edge through the middle, at ANGLE; the sum over a strip across
// it by the strip's width is the place of the edge, but for a constant.
static double
get_place (double angle, const CpspEdgeSettings * settings)
{
  const guint side = 201;
  g_autoptr (CpspEdge) edge = cpsp_edge_new (side, 1);
  Plane src = plane_new (side, side, CPSP_ALPHA_U16, 0);
  Plane dst = plane_new (side, side, CPSP_ALPHA_U16, 0);
  double sum = 0;

  for (guint y = 0; y < side; y++)
    for (guint x = 0; x < side; x++) {
      double distance = (x - 100.0) * cos (angle) + (y - 100.0) * sin (angle);

      set_sample (&src, x, y, CLAMP (0.5 - distance, 0, 1) * 65535);
    }
  cpsp_edge_apply (edge, settings, &src.view, &dst.view);

  for (guint y = 0; y < side; y++)
    for (guint x = 0; x < side; x++) {
      double u = (x - 100.0) * cos (angle) + (y - 100.0) * sin (angle);
      double v = (y - 100.0) * cos (angle) - (x - 100.0) * sin (angle);

      if (fabs (u) < 40 && fabs (v) < 40.5)
        sum += get_sample (&dst, x, y) / 65535.0;
    }
  plane_free (&src);
  plane_free (&dst);
  return sum / 81;
}

static void
test_distance (void)
{
  static const double shifts[] = { -12.25, -6, -3.5, -2, 0, 1.75, 2, 5, 9.5 };
  CpspEdgeSettings same = CPSP_EDGE_SETTINGS_DEFAULT;

  for (guint i = 0; i < G_N_ELEMENTS (shifts); i++) {
    for (guint turn = 0; turn < 8; turn++) {
      CpspEdgeSettings settings = CPSP_EDGE_SETTINGS_DEFAULT;
      double angle = turn * G_PI / 8, moved;

      settings.shift = shifts[i];
      moved = get_place (angle, &settings) - get_place (angle, &same);
      // Along the axes the discs are exact. What a disc of whole pixels lacks
      // or has too much elsewhere: a third of a pixel.
      if (!(fabs (moved - shifts[i]) < (turn % 4 ? 0.34 : 0.03)))
        g_error ("shift %g at %u/8 of a half turn: %g", shifts[i], turn, moved);
    }
  }
}

static void
test_width (void)
{
  const guint side = 101;
  g_autoptr (CpspEdge) edge = cpsp_edge_new (side, 1);
  Plane src = plane_new (side, 1, CPSP_ALPHA_U16, 0);
  Plane dst = plane_new (side, 1, CPSP_ALPHA_U16, 0);
  CpspEdgeSettings settings = CPSP_EDGE_SETTINGS_DEFAULT;

  for (guint x = 0; x < side; x++)
    set_sample (&src, x, 0, x < 50 ? 65535 : 0);
  settings.feather = 20;
  cpsp_edge_apply (edge, &settings, &src.view, &dst.view);

  // from 10 pixels before the edge, at 50, to 10 behind it, and symmetrical
  g_assert_cmpuint (get_sample (&dst, 38, 0), ==, 65535);
  g_assert_cmpuint (get_sample (&dst, 61, 0), ==, 0);
  for (guint x = 39; x < 60; x++) {
    g_assert_cmpuint (get_sample (&dst, x, 0), >, get_sample (&dst, x + 1, 0));
    g_assert_cmpint (abs ((gint) (get_sample (&dst, x, 0) +
                get_sample (&dst, 99 - x, 0)) - 65535), <=, 1);
  }
  plane_free (&src);
  plane_free (&dst);
}

// Half transparent regions stay so, up to what is next to other values.
static void
test_flat (void)
{
  const guint side = 60;
  g_autoptr (CpspEdge) edge = cpsp_edge_new (side, 1);
  Plane src = plane_new (side, side, CPSP_ALPHA_U8, 0);
  Plane dst = plane_new (side, side, CPSP_ALPHA_U8, 0);
  CpspEdgeSettings settings = CPSP_EDGE_SETTINGS_DEFAULT;

  for (guint value = 0; value < 256; value += 51) {
    for (guint y = 0; y < side; y++)
      for (guint x = 0; x < side; x++)
        set_sample (&src, x, y, value);
    for (gint shift = -8; shift <= 8; shift++) {
      settings.shift = shift * 1.25;
      settings.feather = value % 10;
      cpsp_edge_apply (edge, &settings, &src.view, &dst.view);
      g_assert_cmpmem (dst.memory, dst.size, src.memory, src.size);
    }
  }
  plane_free (&src);
  plane_free (&dst);
}

// How far a result may go for a step of a setting, per unit; steps of 0.01.
static void
check_smooth (CpspEdge * edge, const Plane * src, const char *name,
    CpspEdgeSettings * settings, double *setting, double from, double to,
    double per_unit)
{
  Plane old = plane_new (src->view.width, src->view.height, CPSP_ALPHA_U16, 0);
  Plane new = plane_new (src->view.width, src->view.height, CPSP_ALPHA_U16, 0);

  for (double value = from; value < to; value += 0.01) {
    Plane swap = old;

    *setting = value;
    cpsp_edge_apply (edge, settings, &src->view, &new.view);
    old = new;
    new = swap;
    if (value == from)
      continue;
    for (guint y = 0; y < src->view.height; y++)
      for (guint x = 0; x < src->view.width; x++) {
        gint step = abs ((gint) get_sample (&old, x, y) -
            (gint) get_sample (&new, x, y));

        if (step > per_unit * 0.01 * 65535 + 1)
          g_error ("%s: a pixel jumps by %d of 65535 at %g", name, step, value);
      }
  }
  plane_free (&old);
  plane_free (&new);
}

static void
test_smooth (void)
{
  g_autoptr (GRand) r = g_rand_new_with_seed (get_seed ());
  g_autoptr (CpspEdge) edge = cpsp_edge_new (40, 1);
  Plane src = plane_new (40, 40, CPSP_ALPHA_U16, 0);

  for (guint y = 0; y < 40; y++)
    for (guint x = 0; x < 40; x++)
      set_sample (&src, x, y, g_rand_int_range (r, 0, 65536));
  {
    CpspEdgeSettings s = CPSP_EDGE_SETTINGS_DEFAULT;

    // The softness of small shifts adds to the shift's own unit.
    check_smooth (edge, &src, "shift", &s, &s.shift, -3.2, 3.2, 2.5);
  }
  {
    CpspEdgeSettings s = CPSP_EDGE_SETTINGS_DEFAULT;

    check_smooth (edge, &src, "feather", &s, &s.feather, 0, 6.5, 1);
  }
  {
    CpspEdgeSettings s = CPSP_EDGE_SETTINGS_DEFAULT;

    check_smooth (edge, &src, "black-point", &s, &s.black_point, 0, 0.5, 2);
    check_smooth (edge, &src, "white-point", &s, &s.white_point, 0.75, 1, 4);
  }
  plane_free (&src);
}

static void
test_levels (void)
{
  static const struct
  {
    double black, white;
    guint want[5];              // of 0, 1, 128, 254, 255
  } cases[] = {
    {0, 1, {0, 1, 128, 254, 255}},
    {0.5, 0.5, {0, 0, 255, 255, 255}},
    {0.9, 0.1, {0, 0, 0, 255, 255}},
    {0, 0, {0, 255, 255, 255, 255}},
    {1, 1, {0, 0, 0, 0, 255}},
    {128. / 255, 1, {0, 0, 0, 253, 255}},
    {0, 128. / 255, {0, 2, 255, 255, 255}},
  };
  static const guint values[5] = { 0, 1, 128, 254, 255 };
  g_autoptr (CpspEdge) edge = cpsp_edge_new (5, 1);
  Plane src = plane_new (5, 1, CPSP_ALPHA_U8, 0);
  Plane dst = plane_new (5, 1, CPSP_ALPHA_U8, 0);

  for (guint i = 0; i < 5; i++)
    set_sample (&src, i, 0, values[i]);
  for (guint c = 0; c < G_N_ELEMENTS (cases); c++) {
    for (guint invert = 0; invert < 2; invert++) {
      CpspEdgeSettings settings = {
        .black_point = cases[c].black,.white_point = cases[c].white,
        .invert = invert,
      };

      cpsp_edge_apply (edge, &settings, &src.view, &dst.view);
      for (guint i = 0; i < 5; i++)
        g_assert_cmpuint (get_sample (&dst, i, 0), ==,
            invert ? 255 - cases[c].want[i] : cases[c].want[i]);
    }
  }
  plane_free (&src);
  plane_free (&dst);
}

static void
test_default (void)
{
  CpspEdgeSettings settings = CPSP_EDGE_SETTINGS_DEFAULT;
  g_autoptr (CpspEdge) edge = cpsp_edge_new (256, 1);
  Plane src = plane_new (256, 256, CPSP_ALPHA_U16, 0);
  Plane dst = plane_new (256, 256, CPSP_ALPHA_U16, 0);

  g_assert_true (cpsp_edge_settings_is_default (&settings));
  for (guint i = 0; i < 65536; i++)
    set_sample (&src, i % 256, i / 256, i);
  cpsp_edge_apply (edge, &settings, &src.view, &dst.view);
  g_assert_cmpmem (dst.memory, dst.size, src.memory, src.size);
  plane_free (&src);
  plane_free (&dst);

  settings.shift = -0.01;
  g_assert_false (cpsp_edge_settings_is_default (&settings));
  settings = (CpspEdgeSettings) CPSP_EDGE_SETTINGS_DEFAULT;
  settings.feather = 0.01;
  g_assert_false (cpsp_edge_settings_is_default (&settings));
  settings = (CpspEdgeSettings) CPSP_EDGE_SETTINGS_DEFAULT;
  settings.black_point = 0.01;
  g_assert_false (cpsp_edge_settings_is_default (&settings));
  settings = (CpspEdgeSettings) CPSP_EDGE_SETTINGS_DEFAULT;
  settings.white_point = 0.99;
  g_assert_false (cpsp_edge_settings_is_default (&settings));
  settings = (CpspEdgeSettings) CPSP_EDGE_SETTINGS_DEFAULT;
  settings.invert = TRUE;
  g_assert_false (cpsp_edge_settings_is_default (&settings));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/edge/default", test_default);
  g_test_add_func ("/edge/random", test_random);
  g_test_add_func ("/edge/threads", test_threads);
  g_test_add_func ("/edge/distance", test_distance);
  g_test_add_func ("/edge/width", test_width);
  g_test_add_func ("/edge/flat", test_flat);
  g_test_add_func ("/edge/smooth", test_smooth);
  g_test_add_func ("/edge/levels", test_levels);
  return g_test_run ();
}
