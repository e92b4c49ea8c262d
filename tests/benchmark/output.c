/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What tests/bench measures of what leaves the element:
 *
 *   output-benchmark edge WIDTHxHEIGHT
 *       the edge controls, each and together, on one thread
 *   output-benchmark formats WIDTHxHEIGHT
 *       alpha put on frames of some formats, straight and premultiplied
 *
 * Times are the least of RUNS, of processor time; ratios are to copying as
 * many bytes as come out, measured in turns with the rest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gst/output.h"

#define RUNS 15

static double
now_ms (void)
{
  struct timespec t;

  clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

// Least time of some work, and of copying in between.
typedef struct
{
  guint8 *from, *to;
  gsize bytes;
  double work_ms, copy_ms;
} Race;

static void
race_init (Race * race, gsize bytes)
{
  *race = (Race) { g_malloc0 (bytes), g_malloc0 (bytes), bytes, 1e9, 1e9 };
}

// BEGUN: when the work did.
static void
race_lap (Race * race, double begun)
{
  double worked = now_ms ();

  race->work_ms = MIN (race->work_ms, worked - begun);
  memcpy (race->to, race->from, race->bytes);
  race->copy_ms = MIN (race->copy_ms, now_ms () - worked);
  race->from[race->to[0]]++;    // so that the copy is not left out
}

static double
race_clear (Race * race)
{
  g_free (race->from);
  g_free (race->to);
  return race->work_ms / race->copy_ms;
}

static void
fill_disc (const CpspAlphaView * alpha)
{
  double radius = alpha->height / 3., soft = 4;

  for (guint y = 0; y < alpha->height; y++)
    for (guint x = 0; x < alpha->width; x++) {
      double dx = x - alpha->width / 2., dy = y - alpha->height / 2.;
      double a = (radius * radius - dx * dx - dy * dy) / (2 * radius * soft);

      a = CLAMP (a + 0.5, 0, 1);
      if (alpha->format == CPSP_ALPHA_U8)
        alpha->data[y * alpha->stride_bytes + x] = a * 255;
      else
        ((guint16 *) (alpha->data + y * alpha->stride_bytes))[x] = a * 65535;
    }
}

static void
edge (guint width, guint height)
{
  static const CpspEdgeSettings cases[] = {
    {.black_point = 0.1,.white_point = 0.9},
    {.feather = 4,.white_point = 1},
    {.feather = 16,.white_point = 1},
    {.shift = 1,.white_point = 1},
    {.shift = -3.5,.white_point = 1},
    {.shift = 3.5,.feather = 8,.white_point = 1},
    {.shift = -16,.feather = 16,.black_point = 0.1,.white_point = 0.9},
    {.shift = 64,.feather = 128,.white_point = 1},
  };

  for (guint format = CPSP_ALPHA_U8; format <= CPSP_ALPHA_U16; format++) {
    gsize stride = (gsize) width * (format == CPSP_ALPHA_U8 ? 1 : 2);
    CpspAlphaView src = { width, height, format, g_malloc (stride * height),
      stride
    };
    CpspAlphaView dst = src;

    dst.data = g_malloc (stride * height);
    fill_disc (&src);
    for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
      CpspEdge *controls = cpsp_edge_new (width, 1);
      Race race;
      double ratio;

      race_init (&race, stride * height);
      for (guint run = 0; run < RUNS; run++) {
        double begun = now_ms ();

        cpsp_edge_apply (controls, &cases[i], &src, &dst);
        race_lap (&race, begun);
      }
      ratio = race_clear (&race);
      printf ("%ux%u %-4s %6.1f %7.0f %5.1f %5.1f %8.2f %7.1f\n", width,
          height, format == CPSP_ALPHA_U8 ? "8" : "16", cases[i].shift,
          cases[i].feather, cases[i].black_point, cases[i].white_point,
          race.work_ms, ratio);
      cpsp_edge_free (controls);
    }
    g_free (src.data);
    g_free (dst.data);
  }
}

static void
one_format (const GstVideoInfo * video_info, const GstVideoInfo * info,
    gboolean premultiplied)
{
  GstBuffer *from = gst_buffer_new_allocate (NULL,
      GST_VIDEO_INFO_SIZE (video_info), NULL);
  GstBuffer *to = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (info),
      NULL);
  GstCascadePspOutput output;
  GstVideoFrame video, dst;
  Race race;
  double ratio;

  gst_cascade_psp_output_init (&output);
  gst_buffer_memset (from, 0, 0x55, -1);
  if (!gst_cascade_psp_output_set_info (&output, video_info, info,
          premultiplied, 1)
      || !gst_video_frame_map (&video, video_info, from, GST_MAP_READ)
      || !gst_video_frame_map (&dst, &output.info, to, GST_MAP_READWRITE)) {
    g_printerr ("output-benchmark: no memory\n");
    exit (1);
  }
  fill_disc (&output.alpha);
  race_init (&race, GST_VIDEO_INFO_SIZE (info));
  for (guint run = 0; run < RUNS; run++) {
    double begun = now_ms ();

    gst_cascade_psp_output_finish (&output, NULL, &video, &dst);
    race_lap (&race, begun);
  }
  ratio = race_clear (&race);
  printf ("%dx%d %-10s %-10s %-9s %-13s %8.2f %7.1f\n", video_info->width,
      video_info->height, GST_VIDEO_INFO_NAME (video_info),
      GST_VIDEO_INFO_NAME (info), output.converter ? "converted" : "copied",
      premultiplied ? "premultiplied" : "straight", race.work_ms, ratio);

  gst_video_frame_unmap (&video);
  gst_video_frame_unmap (&dst);
  gst_cascade_psp_output_clear (&output);
  gst_buffer_unref (from);
  gst_buffer_unref (to);
}

static void
formats (guint width, guint height)
{
  static const GstVideoFormat pairs[][2] = {
    {GST_VIDEO_FORMAT_I420, GST_VIDEO_FORMAT_GRAY8},
    {GST_VIDEO_FORMAT_I420, GST_VIDEO_FORMAT_A420},
    {GST_VIDEO_FORMAT_NV12, GST_VIDEO_FORMAT_AV12},
    {GST_VIDEO_FORMAT_NV12, GST_VIDEO_FORMAT_A420},
    {GST_VIDEO_FORMAT_BGRx, GST_VIDEO_FORMAT_BGRA},
    {GST_VIDEO_FORMAT_BGRx, GST_VIDEO_FORMAT_RGBA},
    {GST_VIDEO_FORMAT_RGB, GST_VIDEO_FORMAT_RGBA},
    {GST_VIDEO_FORMAT_GBR, GST_VIDEO_FORMAT_GBRA},
    {GST_VIDEO_FORMAT_P010_10LE, GST_VIDEO_FORMAT_A420_10LE},
    {GST_VIDEO_FORMAT_I422_10LE, GST_VIDEO_FORMAT_A422_10LE},
    {GST_VIDEO_FORMAT_v210, GST_VIDEO_FORMAT_A422_10LE},
    {GST_VIDEO_FORMAT_UYVY, GST_VIDEO_FORMAT_AYUV},
    {GST_VIDEO_FORMAT_I420, GST_VIDEO_FORMAT_BGRA},
  };

  for (guint i = 0; i < G_N_ELEMENTS (pairs); i++) {
    GstVideoInfo video_info, info;

    gst_video_info_set_format (&video_info, pairs[i][0], width, height);
    gst_video_info_set_format (&info, pairs[i][1], width, height);
    one_format (&video_info, &info, FALSE);
    if (!gst_cascade_psp_output_is_alpha (&info))
      one_format (&video_info, &info, TRUE);
  }
}

int
main (int argc, char **argv)
{
  guint width, height;

  // Lines show as they are measured.
  setvbuf (stdout, NULL, _IOLBF, 0);
  gst_init (NULL, NULL);
  if (argc == 3 && sscanf (argv[2], "%ux%u", &width, &height) == 2) {
    if (g_str_equal (argv[1], "edge")) {
      edge (width, height);
      return 0;
    }
    if (g_str_equal (argv[1], "formats")) {
      formats (width, height);
      return 0;
    }
  }
  g_printerr ("usage: output-benchmark edge|formats WIDTHxHEIGHT\n");
  return 2;
}
