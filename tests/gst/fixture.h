/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The element between harnesses, for its test programs. A tiny model
 * (`CPSP_MODEL`) refines tiny frames. Scenarios in which time matters run
 * twice: not live, and live on a test clock, which only stands still or is
 * moved by the test.
 *
 * A function whose name starts with `expect` or `push` fails the test if things
 * are otherwise.
 */
#pragma once

#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>
#include <gst/video/video.h>

#define WIDTH 64
#define HEIGHT 48
#define FRAME_MS 40
#define NONE G_MAXUINT

#define VIDEO_CAPS(format, width, height) \
  "video/x-raw,format=" format ",width=" G_STRINGIFY (width) \
  ",height=" G_STRINGIFY (height) ",framerate=25/1"
#define MASK_CAPS VIDEO_CAPS ("GRAY8", WIDTH, HEIGHT)
#define STILL_MASK_CAPS "video/x-raw,format=GRAY8,width=16,height=12," \
  "framerate=0/1"

typedef struct
{
  GstElement *element;
  GstHarness *video;            // pads sink and src
  GstHarness *mask;             // NULL: no mask pad
  GstBus *bus;
  GMutex lock;
  GArray *pairs;                // of what samples-selected said
  GString *log;                 // what left, in order
} Fixture;

GstClockTime from_ms (guint ms);
GstElement *make_element (void);

// Without caps. Live ones have all the time they want for refining.
void set_up_bare (Fixture * fixture, gboolean live);
// RGB video and a GRAY8 mask.
void set_up (Fixture * fixture, gboolean live);
// Video of CAPS and no mask pad.
void set_up_maskless (Fixture * fixture, gboolean live, const char *caps);
void add_mask (Fixture * fixture, gboolean live);
void remove_mask (Fixture * fixture);
// To NULL and back, with the caps that there were. No message may be left.
void restart (Fixture * fixture);
// Fails if a message is left on the bus.
void tear_down (Fixture * fixture);

void set_option (Fixture * fixture, const char *property, const char *nick);

// The next error or warning on BUS.
void expect_message (GstBus * bus, GstMessageType type, GQuark domain,
    gint code);

// A buffer as the harness's caps have it: colourful, or for a mask (and alpha
// of 8 bits) white on its left.
GstBuffer *make_buffer (GstHarness * harness, guint pts_ms, guint duration_ms);
void push_video (Fixture * fixture, guint pts_ms);
void push_mask (Fixture * fixture, guint pts_ms, guint duration_ms);
void push_frame (Fixture * fixture, guint pts_ms);      // video and mask
void push_gap (GstHarness * harness, guint pts_ms, guint duration_ms);
void push_eos (GstHarness * harness);
void push_segment (GstHarness * harness, guint start_ms, guint stop_ms);
void push_flush (Fixture * fixture);

// (transfer full)
GstBuffer *pull_at (Fixture * fixture, guint video_ms);
// The next one is that of the frame at VIDEO_MS, refined from the mask at
// MASK_MS.
void expect_alpha (Fixture * fixture, guint video_ms, guint mask_ms);
// The same, but opaque all over.
void expect_whole (Fixture * fixture, guint video_ms);
void expect_same_bytes (GstBuffer * a, GstBuffer * b);
// No more come, and then EOS.
void expect_eos (Fixture * fixture);
// Upstream is told FLOW, sooner or later.
void expect_end (Fixture * fixture, GstFlowReturn flow);
// What left: events by name, buffers and gaps with their time in ms.
void expect_log (Fixture * fixture, const char *log);
guint64 get_count (Fixture * fixture, const char *name);        // of stats
void expect_count (Fixture * fixture, const char *name, guint64 count);

// Lets the frame that waits for its mask run out of time.
void time_out (Fixture * fixture);
