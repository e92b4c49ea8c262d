/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * frames MODEL WIDTHxHEIGHT PRECISION N: refines N frames on the GPU and
 * prints what they took. Without a size: only what the GPU is. The exit
 * status is 77 if there is none, or no cuDNN, and 1 if something goes wrong
 * there.
 */
#include "api.h"
#include "refiner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SKIPPED 77

// I420 in BT.709, a disc on a gradient; the mask: the disc, a little off.
typedef struct
{
  guint width, height;
  guint8 *luma, *chroma, *mask;
} Picture;

static gboolean
in_disc (const Picture * p, guint x, guint y, gint off)
{
  gint64 dx = (gint64) x - p->width / 2 + off;
  gint64 dy = (gint64) y - p->height / 2;
  gint64 radius = p->height / 3;

  return dx * dx + dy * dy < radius * radius;
}

static void
picture_init (Picture * p, guint width, guint height)
{
  const gsize n = (gsize) width * height;

  *p = (Picture) { width, height, g_malloc (n), g_malloc (n), g_malloc (n) };
  memset (p->chroma, 128, n);
  for (guint y = 0; y < height; y++)
    for (guint x = 0; x < width; x++) {
      p->luma[(gsize) y * width + x] = in_disc (p, x, y, 0) ? 200 :
          16 + x * 120 / width;
      p->mask[(gsize) y * width + x] = in_disc (p, x, y, 8) ? 255 : 0;
    }
}

static gboolean
run (CpspRefiner * refiner, guint width, guint height, guint n,
    GError ** error)
{
  const float y = 255 / 219.0f / 255, c = 255 / 224.0f / 255;
  const CpspSettings settings = CPSP_SETTINGS_DEFAULT;
  const guint chroma_stride = (width + 1) / 2;
  CpspStats stats;
  Picture p;
  double total = 0, least = G_MAXDOUBLE;
  guint crops = 0;

  picture_init (&p, width, height);
  for (guint i = 0; i < n + 3; i++) {
    const CpspComponent luma = { p.luma, width, 1, FALSE, 0, 8 };
    const CpspComponent chroma = { p.chroma, chroma_stride, 1, FALSE, 0, 8 };
    const CpspImageView image = {
      .width = width,.height = height,.n_components = 3,
      .component = {luma, chroma, chroma},
      .chroma_shift_x = 1,.chroma_shift_y = 1,.chroma_y = 0.5f,
      .matrix = {
        {y, 0, 1.5748f * c}, {y, -0.1873f * c, -0.4681f * c},
        {y, 1.8556f * c, 0}
      },
      .offset = {
        -16 * y - 128 * 1.5748f * c, -16 * y + 128 * 0.6554f * c,
        -16 * y - 128 * 1.8556f * c
      },
    };
    const CpspMaskView mask = {
      .width = width,.height = height,
      .component = {p.mask, width, 1, FALSE, 0, 8},.scale = 1 / 255.0f,
    };
    g_autofree guint8 *alpha = g_malloc ((gsize) width * height);
    const CpspAlphaView view = {
      width, height, CPSP_ALPHA_U8, alpha, width
    };

    if (!cpsp_refiner_refine (refiner, &settings,
            &(CpspFrame) {.image = &image,.mask = &mask}, &view, &stats,
            error))
      return FALSE;
    // The first ones prepare and record.
    if (i >= 3) {
      total += stats.total_ms;
      least = MIN (least, stats.total_ms);
      crops += stats.crops_run;
    }
  }
  printf ("%ux%u %s: %.1f frames a second (mean %.2f ms, least %.2f ms), "
      "%.1f crops, %.0f MB of device memory, weights not counted\n", width,
      height, cpsp_type_name (cpsp_refiner_get_type (refiner)),
      1e3 * n / total, total / n, least, (double) crops / n,
      cpsp_refiner_get_memory (refiner) / 1e6);
  g_free (p.luma);
  g_free (p.chroma);
  g_free (p.mask);
  return TRUE;
}

int
main (int argc, char **argv)
{
  CpspRefinerParams params = {.backend = CPSP_BACKEND_CUDA };
  g_autoptr (GError) error = NULL;
  g_autoptr (CpspModel) model = NULL;
  g_autoptr (CpspRefiner) refiner = NULL;
  guint width = 0, height = 0;

  if ((argc != 2 && argc != 5) ||
      (argc == 5 && sscanf (argv[2], "%ux%u", &width, &height) != 2)) {
    fprintf (stderr, "usage: frames MODEL [WIDTHxHEIGHT PRECISION N]\n");
    return 2;
  }
  if (argc == 5 && strcmp (argv[3], "fp32") == 0)
    params.precision = CPSP_PRECISION_FP32;
  if (!cpsp_gpu_api_get (&error)) {
    printf ("%s\n", error->message);
    return SKIPPED;
  }
  model = cpsp_model_load (argv[1], &error);
  if (model)
    refiner = cpsp_refiner_new (model, &params, &error);
  if (!refiner) {
    printf ("%s\n", error->message);
    return 1;
  }
  if (argc == 2) {
    printf ("%s\n", cpsp_refiner_get_device_name (refiner));
    if (cpsp_refiner_get_passed_over (refiner))
      printf ("%s\n", cpsp_refiner_get_passed_over (refiner)->message);
    return 0;
  }
  if (!run (refiner, width, height, atoi (argv[4]), &error)) {
    printf ("%s %s: %s\n", argv[2], argv[3], error->message);
    return 1;
  }
  return 0;
}
