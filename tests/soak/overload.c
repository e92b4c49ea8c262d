/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * overload [-m MINUTES] [-s WIDTHxHEIGHT] [-r FPS] [-f SHARE] [--direct]
 *     [-p NAME=VALUE]...
 *
 * A live pipeline that asks for more than the machine can do: what a user sees
 * of it is counted where it leaves the element. Fails unless
 * - time is kept: a frame, the first one too, leaves at most one frame later
 *   than declared, and once everything is warm no queue fills up. Where the
 *   source itself is late, for want of a processor, the latency counts from the
 *   frame's arrival;
 * - of the frames that are not the first ones, SHARE brings a new alpha: it is
 *   refined, or finishes what an earlier one began;
 * - every frame is accounted for by the element's statistics;
 * - no mask is black.
 * --direct: no queue before the sink, which then waits for its clock in the
 * element's time.
 *
 * What else the machine does counts too: the figures are those of a bad day.
 */
#include <stdio.h>

#include <gst/video/video.h>

#include "gst/gstcascadepsprefine.h"

// Time for memory and caches to come, and for the policy to learn.
#define WARM_UP (5 * GST_SECOND)
#define SAMPLE_MS 100
// Frames that may be under way.
#define UNDER_WAY 4
#define ARRIVALS 64

static const char *const queues[] = {
  "video_queue", "mask_queue", "alpha_queue"
};

typedef struct
{
  GstElement *pipeline, *refine;
  GstClockTime frame;

  GMutex lock;
  guint64 in, out, gaps;
  GstClockTime arrivals[ARRIVALS];      // running times, by frame number
  guint64 n_new;                // frames with a new alpha
  guint64 cold, cold_new;       // of out, n_new: until it is warm
  GstClockTimeDiff source_late; // at most, warm
  guint64 late;                 // more than a frame
  GstClockTimeDiff worst;       // beyond what was declared
  GstClockTime last;            // running time of the last output
  gint64 first_us, last_us;
  double darkest;               // mean of a mask, of 255
  guint64 qos;
  guint levels[G_N_ELEMENTS (queues)];  // buffers at most, warm
} Overload;

static GstClockTime
get_running_time (Overload * self)
{
  g_autoptr (GstClock) clock = gst_element_get_clock (self->refine);

  return clock ? gst_clock_get_time (clock)
      - gst_element_get_base_time (self->refine) : 0;
}

static GstClockTime
get_declared (Overload * self)
{
  g_autoptr (GstQuery) query = gst_query_new_latency ();
  g_autoptr (GstPad) pad = gst_element_get_static_pad (self->refine, "src");
  GstClockTime min = 0;

  if (gst_pad_query (pad, query))
    gst_query_parse_latency (query, NULL, &min, NULL);
  return min;
}

static double
get_mean (GstPad * pad, GstBuffer * buffer)
{
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (pad);
  guint64 sum = 0, count = 0;
  GstVideoFrame frame;
  GstVideoInfo info;

  if (!caps || !gst_video_info_from_caps (&info, caps)
      || !gst_video_frame_map (&frame, &info, buffer, GST_MAP_READ))
    return 0;
  // Every eighth row is enough to tell black.
  for (gint y = 0; y < GST_VIDEO_FRAME_HEIGHT (&frame); y += 8) {
    const guint8 *row = (const guint8 *) GST_VIDEO_FRAME_PLANE_DATA (&frame, 0)
        + y * GST_VIDEO_FRAME_PLANE_STRIDE (&frame, 0);

    for (gint x = 0; x < GST_VIDEO_FRAME_WIDTH (&frame); x++)
      sum += row[x];
    count += GST_VIDEO_FRAME_WIDTH (&frame);
  }
  gst_video_frame_unmap (&frame);
  return (double) sum / count;
}

static GstClockTime *
get_arrival (Overload * self, GstBuffer * buffer)
{
  guint64 n = (GST_BUFFER_PTS (buffer) + self->frame / 2) / self->frame;

  return &self->arrivals[n % ARRIVALS];
}

// The segments start at 0: timestamps are running times.
static GstPadProbeReturn
watch_input (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  Overload *self = user_data;
  GstClockTime now = get_running_time (self);

  g_mutex_lock (&self->lock);
  self->in++;
  *get_arrival (self, buffer) = now;
  if (now >= WARM_UP)
    self->source_late = MAX (self->source_late,
        GST_CLOCK_DIFF (GST_BUFFER_PTS (buffer), now));
  g_mutex_unlock (&self->lock);
  return GST_PAD_PROBE_OK;
}

static guint64
get_count (const GstStructure * stats, const char *name)
{
  guint64 count = 0;

  gst_structure_get_uint64 (stats, name, &count);
  return count;
}

static guint64
count_new (Overload * self)
{
  g_autoptr (GstStructure) stats = NULL;

  g_object_get (self->refine, "stats", &stats, NULL);
  return get_count (stats, "refined") + get_count (stats, "resumed");
}

static GstPadProbeReturn
watch_output (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  Overload *self = user_data;
  GstClockTime now = get_running_time (self);
  GstBuffer *buffer;
  GstClockTimeDiff beyond;
  guint64 n_new;
  GstClockTime due;
  double mean;

  if (!(info->type & GST_PAD_PROBE_TYPE_BUFFER)) {
    g_mutex_lock (&self->lock);
    self->gaps += GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info))
        == GST_EVENT_GAP;
    g_mutex_unlock (&self->lock);
    return GST_PAD_PROBE_OK;
  }

  buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  due = get_declared (self);
  mean = get_mean (pad, buffer);
  n_new = count_new (self);
  g_mutex_lock (&self->lock);
  due += MAX (GST_BUFFER_PTS (buffer), *get_arrival (self, buffer));
  beyond = GST_CLOCK_DIFF (due, now);
  self->out++;
  self->n_new = n_new;
  self->darkest = MIN (self->darkest, mean);
  self->last = GST_BUFFER_PTS (buffer);
  self->last_us = g_get_monotonic_time ();
  if (!self->first_us)
    self->first_us = self->last_us
        - GST_TIME_AS_USECONDS ((gint64) GST_BUFFER_PTS (buffer));
  if (now < WARM_UP) {
    self->cold = self->out;
    self->cold_new = n_new;
  }
  self->worst = MAX (self->worst, beyond);
  self->late += beyond > (GstClockTimeDiff) self->frame;
  g_mutex_unlock (&self->lock);
  return GST_PAD_PROBE_OK;
}

static void
add_probe (Overload * self, const char *pad_name, GstPadProbeType type,
    GstPadProbeCallback callback)
{
  g_autoptr (GstPad) pad = gst_element_get_static_pad (self->refine, pad_name);

  gst_pad_add_probe (pad, type, callback, self, NULL);
}

static void
sample_queues (Overload * self)
{
  if (get_running_time (self) < WARM_UP)
    return;
  for (guint i = 0; i < G_N_ELEMENTS (queues); i++) {
    g_autoptr (GstElement) queue =
        gst_bin_get_by_name (GST_BIN (self->pipeline), queues[i]);
    guint level;

    // The last one, if it is there.
    if (!queue)
      continue;
    g_object_get (queue, "current-level-buffers", &level, NULL);
    self->levels[i] = MAX (self->levels[i], level);
  }
}

// FALSE: the pipeline failed.
static gboolean
run (Overload * self, gdouble minutes)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (self->pipeline);
  gint64 end = g_get_monotonic_time ()
      + (gint64) (minutes * G_TIME_SPAN_MINUTE);

  gst_element_set_state (self->pipeline, GST_STATE_PLAYING);
  while (g_get_monotonic_time () < end) {
    g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (bus,
        SAMPLE_MS * GST_MSECOND, GST_MESSAGE_ERROR | GST_MESSAGE_QOS
        | GST_MESSAGE_LATENCY);

    sample_queues (self);
    if (!message)
      continue;
    switch (GST_MESSAGE_TYPE (message)) {
      case GST_MESSAGE_QOS:
        self->qos += GST_MESSAGE_SRC (message) == GST_OBJECT (self->refine);
        break;
      case GST_MESSAGE_LATENCY:
        gst_bin_recalculate_latency (GST_BIN (self->pipeline));
        break;
      default:{
        g_autoptr (GError) error = NULL;

        gst_message_parse_error (message, &error, NULL);
        g_printerr ("%s\n", error->message);
        return FALSE;
      }
    }
  }
  return TRUE;
}

static gboolean
report (Overload * self, double wanted)
{
  g_autoptr (GstStructure) stats = NULL;
  double pace = (double) GST_TIME_AS_USECONDS (self->last)
      / (double) MAX (1, self->last_us - self->first_us);
  guint64 dropped;
  double share;
  gboolean ok;

  g_object_get (self->refine, "stats", &stats, NULL);
  dropped = get_count (stats, "dropped");
  g_print ("%" G_GUINT64_FORMAT " frames in, %" G_GUINT64_FORMAT " out, %"
      G_GUINT64_FORMAT " gaps\n", self->in, self->out, self->gaps);
  share = (double) (self->n_new - self->cold_new)
      / (double) MAX (1, self->out - self->cold);
  g_print ("%" G_GUINT64_FORMAT " refined (%" G_GUINT64_FORMAT " of them with "
      "less), %" G_GUINT64_FORMAT " repeated (%" G_GUINT64_FORMAT " of them "
      "with a new alpha), %" G_GUINT64_FORMAT " coarse, %" G_GUINT64_FORMAT
      " passed, %" G_GUINT64_FORMAT " dropped; %" G_GUINT64_FORMAT
      " without a mask\n", get_count (stats, "refined"),
      get_count (stats, "degraded"), get_count (stats, "repeated"),
      get_count (stats, "resumed"), get_count (stats, "coarse"),
      get_count (stats, "passed"), dropped,
      get_count (stats, "missing-masks"));
  g_print ("a new alpha for %.3f of the frames after %u s\n", share,
      (guint) (WARM_UP / GST_SECOND));
  g_print ("declared latency %.1f ms; beyond it at most %.1f ms, %"
      G_GUINT64_FORMAT " frames more than a frame; the source itself was up to "
      "%.1f ms late\n", get_declared (self) / 1e6, self->worst / 1e6,
      self->late, self->source_late / 1e6);
  g_print ("queues: video %u, mask %u, alpha %u buffers at most; %"
      G_GUINT64_FORMAT " QoS messages; pace %.4f of real time; darkest mask "
      "%.2f of 255\n", self->levels[0], self->levels[1], self->levels[2],
      self->qos, pace, self->darkest);
  ok = self->out > 0 && self->in <= self->out + dropped + UNDER_WAY
      && self->worst <= (GstClockTimeDiff) self->frame
      && self->darkest > 0 && share >= wanted;
  for (guint i = 0; i < G_N_ELEMENTS (queues); i++)
    ok = ok && self->levels[i] < 10;
  g_print ("%s\n", ok ? "passed" : "FAILED");
  return ok;
}

int
main (int argc, char **argv)
{
  gdouble minutes = 1, share = 1 / 3.0;
  gboolean direct = FALSE;
  gint fps = 30;
  g_autofree char *size = NULL, *line = NULL;
  g_auto (GStrv) properties = NULL;
  GOptionEntry options[] = {
    {"minutes", 'm', 0, G_OPTION_ARG_DOUBLE, &minutes, "How long", "MINUTES"},
    {"size", 's', 0, G_OPTION_ARG_STRING, &size, "Frame size",
        "WIDTHxHEIGHT"},
    {"rate", 'r', 0, G_OPTION_ARG_INT, &fps, "Frames a second", "FPS"},
    {"fresh", 'f', 0, G_OPTION_ARG_DOUBLE, &share,
        "Share of frames that bring a new alpha, at least", "SHARE"},
    {"direct", 0, 0, G_OPTION_ARG_NONE, &direct, "No queue before the sink",
        NULL},
    {"property", 'p', 0, G_OPTION_ARG_STRING_ARRAY, &properties,
        "Property of the element", "NAME=VALUE"},
    G_OPTION_ENTRY_NULL
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;
  Overload self = {.darkest = 255,.worst = G_MININT64 };
  guint width = 1920, height = 1080;
  gboolean ok;

  g_option_context_add_main_entries (context, options, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error)
      || (size && sscanf (size, "%ux%u", &width, &height) != 2) || fps < 1) {
    g_printerr ("%s\n", error ? error->message : "No such size or rate.");
    return 2;
  }
  gst_init (NULL, NULL);
  GST_ELEMENT_REGISTER (cascadepsprefine, NULL);

  line = g_strdup_printf ("cascadepsprefine name=refine"
      " ! %s fakesink sync=true qos=true"
      " videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,"
      "width=%u,height=%u,framerate=%d/1 ! queue name=video_queue"
      " ! refine.sink"
      " videotestsrc is-live=true pattern=ball ! video/x-raw,format=GRAY8,"
      "width=%u,height=%u,framerate=%d/1 ! queue name=mask_queue"
      " ! refine.mask", direct ? "" : "queue name=alpha_queue !", width, height,
      fps, width / 8, height / 8, fps);
  self.pipeline = gst_parse_launch (line, &error);
  if (!self.pipeline || error) {
    g_printerr ("%s\n", error->message);
    return 1;
  }
  self.refine = gst_bin_get_by_name (GST_BIN (self.pipeline), "refine");
  self.frame = GST_SECOND / fps;
  g_mutex_init (&self.lock);
  for (guint i = 0; properties && properties[i]; i++) {
    g_auto (GStrv) pair = g_strsplit (properties[i], "=", 2);

    gst_util_set_object_arg (G_OBJECT (self.refine), pair[0],
        pair[1] ? pair[1] : "");
  }
  add_probe (&self, "sink", GST_PAD_PROBE_TYPE_BUFFER, watch_input);
  add_probe (&self, "src", GST_PAD_PROBE_TYPE_BUFFER
      | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, watch_output);

  g_print ("%ux%u at %d/s, %.1f minutes\n", width, height, fps, minutes);
  ok = run (&self, minutes);
  ok = report (&self, share) && ok;
  gst_element_set_state (self.pipeline, GST_STATE_NULL);
  gst_object_unref (self.refine);
  gst_object_unref (self.pipeline);
  g_mutex_clear (&self.lock);
  return ok ? 0 : 1;
}
