/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * refine-frames FRAME.ppm MASK.pgm ALPHA.pgm [FRAME MASK ALPHA ...]
 *
 * The element inside of an application: frames and coarse masks of the
 * application's own memory go in through appsrc, alpha comes back through
 * appsink. Here they are read from and written to binary PPM and PGM files of
 * 8 bits; sizes may differ from frame to frame, and a mask's from its frame's.
 * The pipeline, with the model, stays up for all of them.
 *
 * Needs: libgstreamer-plugins-base1.0-dev and a C compiler. By hand:
 *   cc refine-frames.c -o refine-frames \
 *     $(pkg-config --cflags --libs gstreamer-app-1.0 gstreamer-video-1.0)
 */
#include <stdio.h>
#include <string.h>

#include <gst/app/gstappsink.h>
#include <gst/app/gstappsrc.h>
#include <gst/video/video.h>

static const char usage[] =
    "usage: refine-frames FRAME.ppm MASK.pgm ALPHA.pgm "
    "[FRAME MASK ALPHA ...]\n"
    "Refines the coarse mask of each frame. Binary PPM and PGM of 8 bits;\n"
    "the mask may have another size; white is foreground.\n";

static const char launch[] =
    "cascadepsprefine name=refine "
    "! video/x-raw,format=GRAY8 ! appsink name=alphas sync=false "
    "appsrc name=frames format=time ! refine.sink "
    "appsrc name=masks format=time ! refine.mask";

#define FRAME_DURATION (GST_SECOND / 25)        // any will do

typedef struct
{
  GstElement *pipeline;
  GstAppSrc *frames, *masks;
  GstAppSink *alphas;
} Refiner;

// A file's pixels, with rows as GStreamer aligns them, as a sample that lasts
// from the INDEXth frame duration to the next. NULL with ERROR set.
static GstSample *
read_sample (const char *path, GstVideoFormat format, guint index,
    GError ** error)
{
  const char *magic = format == GST_VIDEO_FORMAT_RGB ? "P6" : "P5";
  gsize depth = format == GST_VIDEO_FORMAT_RGB ? 3 : 1;
  g_autofree char *data = NULL;
  g_autoptr (GstBuffer) buffer = NULL;
  g_autoptr (GstCaps) caps = NULL;
  GstVideoInfo info;
  GstVideoFrame frame;
  gsize size;
  guint width, height, max;
  int start = 0;

  if (!g_file_get_contents (path, &data, &size, error))
    return NULL;
  if (strncmp (data, magic, 2) != 0
      || sscanf (data + 2, "%u %u %u%n", &width, &height, &max, &start) != 3
      || max != 255 || width < 1 || height < 1 || width > 32768
      || height > 32768 || size < 3 + start + depth * width * height) {
    g_set_error (error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
        "%s is no binary %s file of 8 bits.", path,
        depth == 3 ? "PPM" : "PGM");
    return NULL;
  }

  gst_video_info_set_format (&info, format, width, height);
  buffer = gst_buffer_new_allocate (NULL, info.size, NULL);
  if (!buffer || !gst_video_frame_map (&frame, &info, buffer, GST_MAP_WRITE)) {
    g_set_error (error, G_FILE_ERROR, G_FILE_ERROR_NOMEM,
        "There is no memory for %s.", path);
    return NULL;
  }
  for (guint y = 0; y < height; y++)
    memcpy ((guint8 *) GST_VIDEO_FRAME_PLANE_DATA (&frame, 0)
        + (gsize) y * GST_VIDEO_FRAME_PLANE_STRIDE (&frame, 0),
        data + 3 + start + depth * width * y, depth * width);
  gst_video_frame_unmap (&frame);

  // A mask with its frame's times is that frame's mask.
  GST_BUFFER_PTS (buffer) = index * FRAME_DURATION;
  GST_BUFFER_DURATION (buffer) = FRAME_DURATION;
  caps = gst_video_info_to_caps (&info);
  return gst_sample_new (buffer, caps, NULL, NULL);
}

static gboolean
write_alpha (const char *path, GstSample * sample, GError ** error)
{
  g_autoptr (GByteArray) bytes = g_byte_array_new ();
  g_autofree char *header = NULL;
  GstVideoInfo info;
  GstVideoFrame frame;

  if (!gst_video_info_from_caps (&info, gst_sample_get_caps (sample))
      || !gst_video_frame_map (&frame, &info, gst_sample_get_buffer (sample),
          GST_MAP_READ)) {
    g_set_error (error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
        "The alpha for %s cannot be read.", path);
    return FALSE;
  }
  header = g_strdup_printf ("P5\n%d %d\n255\n", info.width, info.height);
  g_byte_array_append (bytes, (const guint8 *) header, strlen (header));
  for (int y = 0; y < info.height; y++)
    g_byte_array_append (bytes,
        (const guint8 *) GST_VIDEO_FRAME_PLANE_DATA (&frame, 0)
        + (gsize) y * GST_VIDEO_FRAME_PLANE_STRIDE (&frame, 0), info.width);
  gst_video_frame_unmap (&frame);
  return g_file_set_contents (path, (const char *) bytes->data, bytes->len,
      error);
}

// Why the pipeline gave no alpha.
static void
take_error (Refiner * refiner, GError ** error)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (refiner->pipeline);
  g_autoptr (GstMessage) message =
      gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);

  if (message)
    gst_message_parse_error (message, error, NULL);
  else
    g_set_error (error, GST_CORE_ERROR, GST_CORE_ERROR_FAILED,
        "The pipeline stopped without saying why.");
}

// Reads FILES[0] and FILES[1], writes FILES[2]. The result depends on no clock
// and no earlier frame.
static gboolean
refine (Refiner * refiner, char **files, guint index, GError ** error)
{
  g_autoptr (GstSample) frame = NULL;
  g_autoptr (GstSample) mask = NULL;
  g_autoptr (GstSample) alpha = NULL;

  frame = read_sample (files[0], GST_VIDEO_FORMAT_RGB, index, error);
  if (!frame)
    return FALSE;
  mask = read_sample (files[1], GST_VIDEO_FORMAT_GRAY8, index, error);
  if (!mask)
    return FALSE;

  gst_app_src_push_sample (refiner->frames, frame);
  gst_app_src_push_sample (refiner->masks, mask);
  alpha = gst_app_sink_pull_sample (refiner->alphas);
  if (!alpha) {
    take_error (refiner, error);
    return FALSE;
  }
  return write_alpha (files[2], alpha, error);
}

static gboolean
start (Refiner * refiner, GError ** error)
{
  refiner->pipeline = gst_parse_launch (launch, error);
  if (!refiner->pipeline)
    return FALSE;
  if (*error)                   // a pipeline in part
    return FALSE;
  refiner->frames = GST_APP_SRC (gst_bin_get_by_name
      (GST_BIN (refiner->pipeline), "frames"));
  refiner->masks = GST_APP_SRC (gst_bin_get_by_name
      (GST_BIN (refiner->pipeline), "masks"));
  refiner->alphas = GST_APP_SINK (gst_bin_get_by_name
      (GST_BIN (refiner->pipeline), "alphas"));
  if (gst_element_set_state (refiner->pipeline, GST_STATE_PLAYING)
      == GST_STATE_CHANGE_FAILURE) {
    take_error (refiner, error);
    return FALSE;
  }
  return TRUE;
}

static void
stop (Refiner * refiner)
{
  if (refiner->pipeline)
    gst_element_set_state (refiner->pipeline, GST_STATE_NULL);
  g_clear_object (&refiner->frames);
  g_clear_object (&refiner->masks);
  g_clear_object (&refiner->alphas);
  g_clear_object (&refiner->pipeline);
}

int
main (int argc, char **argv)
{
  Refiner refiner = { NULL, };
  GError *error = NULL;
  gboolean ok;

  if (argc == 2 && strcmp (argv[1], "--help") == 0) {
    fputs (usage, stdout);
    return 0;
  }
  if (argc < 4 || argc % 3 != 1) {
    fputs (usage, stderr);
    return 1;
  }

  gst_init (NULL, NULL);
  ok = start (&refiner, &error);
  for (int i = 1; ok && i < argc; i += 3)
    ok = refine (&refiner, argv + i, i / 3, &error);
  stop (&refiner);
  if (!ok) {
    fprintf (stderr, "refine-frames: %s\n", error->message);
    g_error_free (error);
  }
  return ok ? 0 : 1;
}
