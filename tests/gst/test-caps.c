/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Caps and memory, on all pads, at the start and mid-stream.
 */
#include "fixture.h"

GST_START_TEST (test_video_caps_change)
{
  Fixture f;
  GstBuffer *alpha;

  set_up (&f, __i__);
  // The frame waits for its mask while the new caps come.
  push_video (&f, 0);
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("I420", 32, 24));
  push_mask (&f, 0, FRAME_MS);
  alpha = pull_at (&f, 0);
  fail_unless_equals_int (gst_buffer_get_size (alpha), WIDTH * HEIGHT);
  gst_buffer_unref (alpha);

  push_frame (&f, 40);
  alpha = pull_at (&f, 40);
  fail_unless_equals_int (gst_buffer_get_size (alpha), 32 * 24);
  gst_buffer_unref (alpha);
  tear_down (&f);
}

GST_END_TEST;

// The mask in hand keeps its own caps.
GST_START_TEST (test_mask_caps_change)
{
  Fixture f;
  GstBuffer *first, *second;
  GstMapInfo map;

  set_up (&f, __i__);
  gst_harness_set_src_caps_str (f.mask, STILL_MASK_CAPS);
  push_video (&f, 0);
  push_mask (&f, 0, NONE);
  first = pull_at (&f, 0);

  push_video (&f, 40);
  gst_harness_set_src_caps_str (f.mask, VIDEO_CAPS ("GRAY16_LE", 128, 96));
  push_mask (&f, 80, FRAME_MS);
  second = pull_at (&f, 40);
  // Same picture, same mask.
  fail_unless (gst_buffer_map (first, &map, GST_MAP_READ));
  gst_check_buffer_data (second, map.data, map.size);
  gst_buffer_unmap (first, &map);
  tear_down (&f);
  gst_buffer_unref (first);
  gst_buffer_unref (second);
}

GST_END_TEST;

// Renegotiation at downstream's wish.
GST_START_TEST (test_reconfigure)
{
  Fixture f;
  GstBuffer *alpha;

  set_up (&f, FALSE);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  gst_harness_set_sink_caps_str (f.video, "video/x-raw,format=GRAY16_LE");
  push_frame (&f, 40);
  alpha = pull_at (&f, 40);
  fail_unless_equals_int (gst_buffer_get_size (alpha), 2 * WIDTH * HEIGHT);
  gst_buffer_unref (alpha);
  tear_down (&f);
}

GST_END_TEST;

static void
check_formats (const char *video_caps, const char *mask_caps,
    const char *alpha_format, gsize alpha_size)
{
  Fixture f;
  GstBuffer *alpha;
  char *alpha_caps = g_strdup_printf ("video/x-raw,format=%s", alpha_format);

  set_up_bare (&f, FALSE);
  gst_harness_set_sink_caps_str (f.video, alpha_caps);
  gst_harness_set_src_caps_str (f.video, video_caps);
  gst_harness_set_src_caps_str (f.mask, mask_caps);
  push_frame (&f, 0);
  alpha = pull_at (&f, 0);
  fail_unless_equals_int (gst_buffer_get_size (alpha), alpha_size);
  gst_buffer_unref (alpha);
  tear_down (&f);
  g_free (alpha_caps);
}

GST_START_TEST (test_formats)
{
  check_formats (VIDEO_CAPS ("NV12", 64, 48), VIDEO_CAPS ("GRAY8", 5, 3),
      "GRAY8", 64 * 48);
  check_formats (VIDEO_CAPS ("NV12", 64, 48), VIDEO_CAPS ("GRAY16_LE", 5, 3),
      "GRAY16_LE", 2 * 64 * 48);
  check_formats (VIDEO_CAPS ("v210", 64, 48), VIDEO_CAPS ("GRAY16_LE", 99, 101),
      "GRAY8", 64 * 48);
  check_formats (VIDEO_CAPS ("GRAY8", 64, 48), VIDEO_CAPS ("GRAY8", 64, 48),
      "GRAY16_LE", 2 * 64 * 48);
}

GST_END_TEST;

// GRAY8 rows are padded to multiples of 4 bytes.
GST_START_TEST (test_odd_sizes)
{
  check_formats (VIDEO_CAPS ("I420", 1, 1), VIDEO_CAPS ("GRAY8", 1, 1),
      "GRAY8", 4);
  check_formats (VIDEO_CAPS ("I420", 7, 9), VIDEO_CAPS ("GRAY8", 1, 1),
      "GRAY8", 8 * 9);
  check_formats (VIDEO_CAPS ("RGB", 7, 9), VIDEO_CAPS ("GRAY8", 7, 9),
      "GRAY16_LE", 16 * 9);
  check_formats (VIDEO_CAPS ("YUY2", 33, 100), VIDEO_CAPS ("GRAY8", 100, 33),
      "GRAY8", 36 * 100);
}

GST_END_TEST;

GST_START_TEST (test_accepted_caps)
{
  GstElement *element = make_element ();
  GstPad *sink = gst_element_get_static_pad (element, "sink");
  GstPad *mask = gst_element_request_pad_simple (element, "mask");
  static const struct
  {
    const char *caps;
    gboolean video, mask;
  } cases[] = {
    {VIDEO_CAPS ("I420", 64, 48), TRUE, FALSE},
    {VIDEO_CAPS ("GRAY8", 64, 48), TRUE, TRUE},
    {VIDEO_CAPS ("GRAY16_LE", 64, 48), TRUE, TRUE},
    {VIDEO_CAPS ("GRAY16_BE", 64, 48), TRUE, FALSE},
    {STILL_MASK_CAPS, TRUE, TRUE},
    {VIDEO_CAPS ("I420", 64, 48) ",interlace-mode=progressive", TRUE, FALSE},
    {VIDEO_CAPS ("I420", 64, 48) ",interlace-mode=interleaved", FALSE, FALSE},
    {VIDEO_CAPS ("GRAY8", 40000, 48), FALSE, FALSE},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GstCaps *caps = gst_caps_from_string (cases[i].caps);

    fail_unless_equals_int (gst_pad_query_accept_caps (sink, caps),
        cases[i].video);
    fail_unless_equals_int (gst_pad_query_accept_caps (mask, caps),
        cases[i].mask);
    gst_caps_unref (caps);
  }
  gst_element_release_request_pad (element, mask);
  gst_object_unref (mask);
  gst_object_unref (sink);
  gst_object_unref (element);
}

GST_END_TEST;

// Refused, and the reason is told once.
GST_START_TEST (test_interlaced)
{
  static const char *const modes[] = { "interleaved", "mixed", "fields" };
  Fixture f;

  set_up_bare (&f, FALSE);
  for (guint i = 0; i < G_N_ELEMENTS (modes); i++) {
    char *description = g_strdup_printf (VIDEO_CAPS ("I420", 64, 48)
        ",interlace-mode=%s", modes[i]);
    GstCaps *caps = gst_caps_from_string (description);

    fail_if (gst_pad_peer_query_accept_caps (f.video->srcpad, caps));
    gst_caps_unref (caps);
    g_free (description);
  }
  expect_message (f.bus, GST_MESSAGE_WARNING, GST_STREAM_ERROR,
      GST_STREAM_ERROR_FORMAT);
  tear_down (&f);
}

GST_END_TEST;

static void
check_colorimetry (const char *downstream, const char *want)
{
  Fixture f;
  GstCaps *caps;

  set_up_bare (&f, FALSE);
  gst_harness_set_sink_caps_str (f.video, downstream);
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("I420", WIDTH, HEIGHT));
  gst_harness_set_src_caps_str (f.mask, MASK_CAPS);
  push_frame (&f, 0);
  expect_alpha (&f, 0, 0);
  caps = gst_pad_get_current_caps (f.video->sinkpad);
  fail_unless_equals_string (gst_structure_get_string (gst_caps_get_structure
          (caps, 0), "colorimetry"), want);
  gst_caps_unref (caps);
  tear_down (&f);
}

// What downstream names, else what is true.
GST_START_TEST (test_colorimetry)
{
  check_colorimetry ("video/x-raw", "1:4:0:0");
  check_colorimetry ("video/x-raw,format=GRAY8", "1:4:0:0");
  check_colorimetry ("video/x-raw,colorimetry={ bt709, 1:4:0:0 }", "1:4:0:0");
  check_colorimetry ("video/x-raw,colorimetry=bt601", "bt601");
  check_colorimetry ("video/x-raw,colorimetry={ bt709, bt601 }", "bt709");
}

GST_END_TEST;

// One frame is enough for the one message. Live, it comes from a timeout.
GST_START_TEST (test_not_negotiable)
{
  Fixture f;

  set_up_bare (&f, __i__);
  gst_harness_set_sink_caps_str (f.video, "video/x-raw,format=GRAY8,width=9");
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
  gst_harness_set_src_caps_str (f.mask, MASK_CAPS);
  push_video (&f, 0);
  if (__i__)
    time_out (&f);
  else
    push_mask (&f, 0, FRAME_MS);
  expect_message (f.bus, GST_MESSAGE_ERROR, GST_CORE_ERROR,
      GST_CORE_ERROR_NEGOTIATION);
  while (gst_harness_push (f.video, make_buffer (f.video, 40, FRAME_MS)) !=
      GST_FLOW_NOT_NEGOTIATED);
  tear_down (&f);
}

GST_END_TEST;

GST_START_TEST (test_allocation)
{
  Fixture f;
  GstHarness *harnesses[2];
  GstBuffer *alpha;

  set_up_bare (&f, FALSE);
  gst_harness_add_propose_allocation_meta (f.video, GST_VIDEO_META_API_TYPE,
      NULL);
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
  gst_harness_set_src_caps_str (f.mask, MASK_CAPS);

  harnesses[0] = f.video;
  harnesses[1] = f.mask;
  for (guint i = 0; i < 2; i++) {
    GstCaps *caps = gst_pad_get_current_caps (harnesses[i]->srcpad);
    GstQuery *query = gst_query_new_allocation (caps, TRUE);

    fail_unless (gst_pad_peer_query (harnesses[i]->srcpad, query));
    fail_unless (gst_query_find_allocation_meta (query, GST_VIDEO_META_API_TYPE,
            NULL));
    gst_query_unref (query);
    gst_caps_unref (caps);
  }

  push_frame (&f, 0);
  alpha = pull_at (&f, 0);
  fail_unless (gst_buffer_get_video_meta (alpha) != NULL);
  fail_unless (alpha->pool != NULL);
  gst_buffer_unref (alpha);
  tear_down (&f);
}

GST_END_TEST;

static void
map (GstVideoFrame * frame, GstHarness * harness, gboolean sink,
    GstBuffer * buffer)
{
  GstCaps *caps = gst_pad_get_current_caps (sink ? harness->sinkpad
      : harness->srcpad);
  GstVideoInfo info;

  fail_unless (gst_video_info_from_caps (&info, caps));
  fail_unless (gst_video_frame_map (frame, &info, buffer, GST_MAP_READ));
  gst_caps_unref (caps);
}

static guint
get_sample (const GstVideoFrame * frame, guint c, gint x, gint y)
{
  const guint8 *place = (const guint8 *) GST_VIDEO_FRAME_COMP_DATA (frame, c)
      + y * GST_VIDEO_FRAME_COMP_STRIDE (frame, c)
      + x * GST_VIDEO_FRAME_COMP_PSTRIDE (frame, c);

  return GST_VIDEO_FRAME_COMP_DEPTH (frame, c) > 8 ? GST_READ_UINT16_LE (place)
      : *place;
}

static void
expect_same_samples (const GstVideoFrame * a, guint c_a,
    const GstVideoFrame * b, guint c_b)
{
  for (gint y = 0; y < GST_VIDEO_FRAME_COMP_HEIGHT (a, c_a); y++) {
    for (gint x = 0; x < GST_VIDEO_FRAME_COMP_WIDTH (a, c_a); x++)
      fail_unless_equals_int (get_sample (a, c_a, x, y),
          get_sample (b, c_b, x, y));
  }
}

// Video and alpha together: the colours that came, the alpha that leaves
// alone.
GST_START_TEST (test_video_with_alpha)
{
  static const char *const cases[][3] = {
    {"RGB", "RGBA", "GRAY8"}, {"RGB", "ABGR", "GRAY8"},
    {"I420", "A420", "GRAY8"}, {"NV12", "AV12", "GRAY8"},
    {"RGBA", "BGRA", "GRAY8"},
    {"I422_10LE", "A422_10LE", NULL}, {"ARGB64", "ARGB64", "GRAY16_LE"},
  };
  const char *const *formats = cases[__i__];
  char *video_caps = g_strdup_printf ("video/x-raw,format=%s,width=64,height=48"
      ",framerate=25/1", formats[0]);
  GstBuffer *video = NULL, *alone = NULL;
  Fixture f;

  for (guint i = 0; i < 2; i++) {
    char *caps = g_strdup_printf ("video/x-raw,format=%s", i == 0 ? formats[2]
        ? formats[2] : "GRAY8" : formats[1]);
    GstBuffer *output;
    GstVideoFrame source, shown, alpha;
    GstVideoInfo gray;

    set_up_bare (&f, FALSE);
    gst_harness_set_sink_caps_str (f.video, caps);
    gst_harness_set_src_caps_str (f.video, video_caps);
    gst_harness_set_src_caps_str (f.mask, MASK_CAPS);
    gst_buffer_replace (&video, NULL);
    video = make_buffer (f.video, 0, FRAME_MS);
    push_mask (&f, 0, FRAME_MS);
    gst_harness_push (f.video, gst_buffer_ref (video));
    output = pull_at (&f, 0);
    if (i == 0) {
      alone = output;
    } else {
      map (&shown, f.video, TRUE, output);
      map (&source, f.video, FALSE, video);
      for (guint c = 0; c < 3; c++)
        expect_same_samples (&source, c, &shown, c);
      if (formats[2]) {
        gst_video_info_set_format (&gray,
            gst_video_format_from_string (formats[2]), 64, 48);
        fail_unless (gst_video_frame_map (&alpha, &gray, alone, GST_MAP_READ));
        expect_same_samples (&alpha, 0, &shown, GST_VIDEO_COMP_A);
        gst_video_frame_unmap (&alpha);
      }
      gst_video_frame_unmap (&source);
      gst_video_frame_unmap (&shown);
      gst_buffer_unref (output);
    }
    tear_down (&f);
    g_free (caps);
  }
  gst_buffer_unref (alone);
  gst_buffer_unref (video);
  g_free (video_caps);
}

GST_END_TEST;

// Changed while playing; black where the alpha is 0.
GST_START_TEST (test_premultiplied)
{
  Fixture f;

  set_up_bare (&f, FALSE);
  gst_harness_set_sink_caps_str (f.video, "video/x-raw,format=RGBA");
  gst_harness_set_src_caps_str (f.video, VIDEO_CAPS ("RGB", WIDTH, HEIGHT));
  gst_harness_set_src_caps_str (f.mask, MASK_CAPS);
  // Hard, to know what to expect.
  g_object_set (f.element, "black-point", 0.5, "white-point", 0.5, NULL);

  for (guint i = 0; i < 2; i++) {
    GstBuffer *video = make_buffer (f.video, i * 40, FRAME_MS), *output;
    GstVideoFrame source, shown;

    g_object_set (f.element, "premultiplied", (gboolean) i, NULL);
    push_mask (&f, i * 40, FRAME_MS);
    gst_harness_push (f.video, gst_buffer_ref (video));
    output = pull_at (&f, i * 40);
    map (&shown, f.video, TRUE, output);
    map (&source, f.video, FALSE, video);
    for (gint y = 0; y < HEIGHT; y++) {
      for (gint x = 0; x < WIDTH; x++) {
        guint alpha = get_sample (&shown, GST_VIDEO_COMP_A, x, y);

        fail_unless (alpha == 0 || alpha == 255);
        for (guint c = 0; c < 3; c++)
          fail_unless_equals_int (get_sample (&shown, c, x, y),
              i == 1 && alpha == 0 ? 0 : get_sample (&source, c, x, y));
      }
    }
    gst_video_frame_unmap (&source);
    gst_video_frame_unmap (&shown);
    gst_buffer_unref (output);
    gst_buffer_unref (video);
  }
  tear_down (&f);
}

GST_END_TEST;

static Suite *
caps_suite (void)
{
  Suite *suite = suite_create ("caps");
  TCase *tcase = tcase_create ("caps");

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_video_caps_change, 0, 2);
  tcase_add_loop_test (tcase, test_mask_caps_change, 0, 2);
  tcase_add_test (tcase, test_reconfigure);
  tcase_add_test (tcase, test_formats);
  tcase_add_test (tcase, test_odd_sizes);
  tcase_add_test (tcase, test_accepted_caps);
  tcase_add_test (tcase, test_interlaced);
  tcase_add_test (tcase, test_colorimetry);
  tcase_add_loop_test (tcase, test_not_negotiable, 0, 2);
  tcase_add_test (tcase, test_allocation);
  tcase_add_loop_test (tcase, test_video_with_alpha, 0, 7);
  tcase_add_test (tcase, test_premultiplied);
  return suite;
}

GST_CHECK_MAIN (caps);
