/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Drawn results of a Global step: planes of floats, and what to draw on them.
 */
#pragma once

#include <glib.h>
#include <math.h>

typedef struct
{
  guint width, height;
  float *p;
} Plane;

static inline Plane
plane_new (guint width, guint height, float value)
{
  Plane plane = { width, height, g_new (float, (gsize) width * height) };

  for (gsize i = 0; i < (gsize) width * height; i++)
    plane.p[i] = value;
  return plane;
}

static inline void
plane_free (Plane * plane)
{
  g_free (plane->p);
}

// An edge of SOFT pixels: 1 at DISTANCE <= 0 (inside), 0 far outside.
static inline float
get_edge (double distance, double soft)
{
  return (float) CLAMP (0.5 - distance / soft, 0, 1);
}

static inline void
draw_ellipse (Plane * plane, double x, double y, double a, double b,
    double turn, double soft, gboolean erase)
{
  const double c = cos (turn), s = sin (turn);

  for (guint j = 0; j < plane->height; j++)
    for (guint i = 0; i < plane->width; i++) {
      const double dx = i + 0.5 - x, dy = j + 0.5 - y;
      const double u = (dx * c + dy * s) / a, v = (dy * c - dx * s) / b;
      const double r = sqrt (u * u + v * v);
      const float p = get_edge ((r - 1) * MIN (a, b), soft);
      float *dst = &plane->p[(gsize) j * plane->width + i];

      *dst = erase ? MIN (*dst, 1 - p) : MAX (*dst, p);
    }
}

static inline void
draw_line (Plane * plane, double x0, double y0, double x1, double y1,
    double width, double soft)
{
  const double dx = x1 - x0, dy = y1 - y0, square = dx * dx + dy * dy;

  for (guint j = 0; j < plane->height; j++)
    for (guint i = 0; i < plane->width; i++) {
      const double x = i + 0.5 - x0, y = j + 0.5 - y0;
      const double t = CLAMP ((x * dx + y * dy) / square, 0, 1);
      const double r = hypot (x - t * dx, y - t * dy);
      float *dst = &plane->p[(gsize) j * plane->width + i];

      *dst = MAX (*dst, get_edge (r - width / 2, soft));
    }
}

static inline Plane
make_person (double soft)
{
  Plane plane = plane_new (900, 506, 0);

  draw_ellipse (&plane, 450, 92, 32, 42, 0, soft, FALSE);
  draw_ellipse (&plane, 450, 215, 68, 95, 0, soft, FALSE);
  draw_line (&plane, 390, 160, 330, 300, 30, soft);
  draw_line (&plane, 510, 160, 575, 290, 30, soft);
  draw_line (&plane, 425, 290, 405, 470, 44, soft);
  draw_line (&plane, 475, 290, 500, 470, 44, soft);
  return plane;
}

// Half as high as the frame.
static inline Plane
make_bicycle (double soft)
{
  Plane plane = plane_new (900, 506, 0);

  for (guint i = 0; i < 2; i++) {
    const double x = i ? 560 : 340;

    draw_ellipse (&plane, x, 320, 85, 85, 0, soft, FALSE);
    draw_ellipse (&plane, x, 320, 80, 80, 0, soft, TRUE);
  }
  for (guint i = 0; i < 6; i++)
    for (guint k = 0; k < 2; k++) {
      const double x = k ? 560 : 340, a = i * 3.14159 / 6;

      draw_line (&plane, x - 82 * cos (a), 320 - 82 * sin (a),
          x + 82 * cos (a), 320 + 82 * sin (a), 1.5, soft);
    }
  draw_line (&plane, 340, 320, 410, 210, 6, soft);
  draw_line (&plane, 410, 210, 520, 205, 6, soft);
  draw_line (&plane, 520, 205, 445, 325, 6, soft);
  draw_line (&plane, 445, 325, 340, 320, 6, soft);
  draw_line (&plane, 410, 210, 445, 325, 6, soft);
  draw_line (&plane, 515, 165, 560, 320, 6, soft);
  draw_line (&plane, 400, 190, 425, 190, 8, soft);
  draw_line (&plane, 500, 165, 540, 160, 6, soft);
  return plane;
}

static inline Plane
make_disc (double radius)
{
  Plane plane = plane_new (900, 506, 0);

  draw_ellipse (&plane, 470, 250, radius, radius * 0.9, 0.3, 3, FALSE);
  return plane;
}
