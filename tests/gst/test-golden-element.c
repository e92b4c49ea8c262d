/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The published implementation's results, out of a whole pipeline: PNG files
 * in, GRAY16_LE out.
 */
#include <math.h>

#include <gst/check/gstcheck.h>
#include <gst/video/video.h>

#include "tests/refine/golden.h"

// Largest side of a local crop, L, of each case.
static const guint crop_sizes[] = { 128, 128, 128, 128, 160, 96, 131 };

typedef struct
{
  const char *name;
  float bound;                  // of a pixel's error
  double global, both;          // promised share of pixels within the bound
} Precision;

static const Precision precisions[] = {
  {"fp32", 5e-4f, 0.9995, 0.9995},
  {"bf16", 8.f / 255, 0.97, 0.88},
};

// NULL: the device has no such precision.
static GstSample *
refine (guint number, const Precision * precision, gboolean paper,
    gboolean both)
{
  char *description = g_strdup_printf ("cascadepsprefine name=refine"
      " crop-size=%u precision=%s local-step=%s local-region=reference"
      " enlarge-small=%s ! video/x-raw,format=GRAY16_LE"
      " ! appsink name=sink sync=false"
      " filesrc location=%s/case%u_image.png ! pngdec ! refine.sink"
      " filesrc location=%s/case%u_mask.png ! pngdec ! refine.mask",
      crop_sizes[number], precision->name, both ? "always" : "never",
      paper ? "false" : "true", g_getenv ("CPSP_TEST_DATA"), number,
      g_getenv ("CPSP_TEST_DATA"), number);
  GError *error = NULL;
  GstElement *pipeline = gst_parse_launch (description, &error);
  GstElement *sink;
  GstBus *bus;
  GstMessage *message;
  GstSample *sample = NULL;

  fail_unless (error == NULL, "%s", error ? error->message : "");
  g_free (description);
  sink = gst_bin_get_by_name (GST_BIN (pipeline), "sink");
  if (gst_element_set_state (pipeline, GST_STATE_PLAYING) !=
      GST_STATE_CHANGE_FAILURE)
    g_signal_emit_by_name (sink, "pull-sample", &sample);

  bus = gst_element_get_bus (pipeline);
  message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);
  if (message) {
    gst_message_parse_error (message, &error, NULL);
    fail_unless (g_error_matches (error, GST_LIBRARY_ERROR,
            GST_LIBRARY_ERROR_SETTINGS), "%s", error->message);
    g_error_free (error);
    gst_message_unref (message);
  }
  gst_object_unref (bus);
  gst_object_unref (sink);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
  return sample;
}

static double
get_share_within (GstSample * sample, const float *expected, gsize n,
    float bound)
{
  GstVideoInfo info;
  GstVideoFrame frame;
  gsize good = 0;

  fail_unless (gst_video_info_from_caps (&info, gst_sample_get_caps (sample)));
  fail_unless_equals_uint64 (n,
      (gsize) GST_VIDEO_INFO_WIDTH (&info) * GST_VIDEO_INFO_HEIGHT (&info));
  fail_unless (gst_video_frame_map (&frame, &info,
          gst_sample_get_buffer (sample), GST_MAP_READ));
  for (gint y = 0; y < GST_VIDEO_INFO_HEIGHT (&info); y++) {
    const guint16 *row =
        (const guint16 *) ((guint8 *) GST_VIDEO_FRAME_PLANE_DATA (&frame, 0)
        + y * GST_VIDEO_FRAME_PLANE_STRIDE (&frame, 0));

    for (gint x = 0; x < GST_VIDEO_INFO_WIDTH (&info); x++)
      good += fabsf (row[x] / 65535.f - *expected++) <= bound;
  }
  gst_video_frame_unmap (&frame);
  return (double) good / n;
}

static void
check_case (guint number, const Precision * precision)
{
  Golden *golden = golden_open ("cases.safetensors");

  for (guint variant = 0; variant < 4; variant++) {
    gboolean paper = variant & 1, both = variant >> 1;
    double promised = both ? precision->both : precision->global;
    GstSample *sample = refine (number, precision, paper, both);
    const float *expected;
    double share;
    gsize n;
    char *name;

    if (!sample) {
      fail_unless (precision != &precisions[0], "no fp32");
      g_printerr ("skipped: this processor has no %s\n", precision->name);
      break;
    }
    name = g_strdup_printf ("case%u.%s_%s", number,
        paper ? "paper" : "release", both ? "both" : "global");
    expected = golden_tensor (golden, name, &n);
    share = get_share_within (sample, expected, n, precision->bound);
    fail_unless (share >= promised, "%s %s: %.3f %% within %g", name,
        precision->name, 100 * share, precision->bound);
    g_free (name);
    gst_sample_unref (sample);
  }
  golden_close (golden);
}

GST_START_TEST (test_fp32)
{
  check_case (__i__, &precisions[0]);
}

GST_END_TEST;

GST_START_TEST (test_bf16)
{
  check_case (__i__, &precisions[1]);
}

GST_END_TEST;

static Suite *
golden_element_suite (void)
{
  Suite *suite = suite_create ("golden-element");
  TCase *tcase = tcase_create ("cases");

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_fp32, 0, G_N_ELEMENTS (crop_sizes));
  tcase_add_loop_test (tcase, test_bf16, 0, G_N_ELEMENTS (crop_sizes));
  return suite;
}

GST_CHECK_MAIN (golden_element);
