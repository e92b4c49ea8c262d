/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * soak [-n FRAMES] [-s SEED]: tiny frames in storms of everything that a long
 * life brings: caps changes on either pad with a frame held, masks that are
 * slower, faster, late, missing or at an end, flushes and seeks at any moment,
 * stops, other properties, another model.
 *
 * The stream comes in episodes. Within one, which frames must come out is
 * known from the rules of pairing, and every one is accounted for: out,
 * dropped by policy, or under way when a flush or a stop cut the episode.
 * Fails if a frame is lost, if two outputs lie a second apart, or, in a long
 * run, if memory grows once it has warmed up.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gst/check/gsttestclock.h>
#include <gst/video/video.h>

#include "gst/gstcascadepsprefine.h"
#include "tests/gst/feeder.h"
#include "tests/gst/tiny-model.h"

#define STALL_MAX G_TIME_SPAN_SECOND
// Waiting longer than this for anything is a hang.
#define HANG_SECONDS 60
// Share of the frames after which memory counts as warm, and the number that
// this needs: oneDNN keeps what it has made for a shape, up to a limit.
#define WARM 0.4
#define WARM_FRAMES 50000
// Growth of memory that is noise: what the allocator holds back differs by as
// much from one moment to the next.
#define GROWTH_MAX (4 << 20)
#define SAMPLE_FRAMES 25

typedef enum
{
  PENDING,                      // must come out, unless cut
  DROPPED,                      // the policy says so: a GAP comes instead
} Fate;

typedef enum
{
  EQUAL,                        // one for each frame
  SLOWER,                       // one for four
  FASTER,                       // two for each
  LATE,                         // timestamps a little behind the frames'
  HOLES,                        // some are missing
  GAPS,                         // and GAP events say so
  N_RHYTHMS,
} Rhythm;

typedef enum
{
  FLUSH,
  SEEK,
  STOP,
  N_CUTS,
} Cut;

typedef struct
{
  GstElement *element;
  GstHarness *video, *mask;
  Feeder video_feeder, mask_feeder;
  GstTestClock *clock;
  GstBus *bus;
  GRand *random;
  char *models[2];
  gboolean drop;                // missing-mask=drop
  gboolean live;

  guint64 episodes, cuts[N_CUTS], drained, video_caps, mask_caps;
  guint64 properties, models_changed;

  GMutex lock;                  // of all below
  GCond changed;
  GArray *fates;                // guint8, one for each frame
  guint next;                   // the first that may come
  guint64 out, dropped, cut, lost, unexpected;
  gint64 last_us, stall_us;
  gboolean eos;
  GArray *memory;               // gdouble pairs: frame, bytes
} Soak;

static gsize
get_memory (void)
{
  gulong size = 0, resident = 0;
  FILE *file = fopen ("/proc/self/statm", "r");

  if (file) {
    if (fscanf (file, "%lu %lu", &size, &resident) != 2)
      resident = 0;
    fclose (file);
  }
  return resident * (gsize) sysconf (_SC_PAGESIZE);
}

// Frames from soak->next up to END did not come. With the lock held.
static void
settle (Soak * soak, guint end, gboolean cut)
{
  if (cut)
    soak->cut += end - soak->next;
  else
    soak->lost += end - soak->next;
  soak->next = end;
}

static GstPadProbeReturn
watch_output (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  gint64 now = g_get_monotonic_time ();
  Soak *soak = user_data;

  g_mutex_lock (&soak->lock);
  if (info->type & GST_PAD_PROBE_TYPE_BUFFER) {
    guint n = (guint) GST_BUFFER_OFFSET (GST_PAD_PROBE_INFO_BUFFER (info));

    if (n < soak->next || n >= soak->fates->len
        || g_array_index (soak->fates, guint8, n) == DROPPED) {
      soak->unexpected++;
    } else {
      settle (soak, n, FALSE);
      soak->next++;
      soak->out++;
    }
    if (soak->last_us)
      soak->stall_us = MAX (soak->stall_us, now - soak->last_us);
    soak->last_us = now;
    if (n % SAMPLE_FRAMES == 0) {
      gdouble sample[] = { n, (gdouble) get_memory () };

      g_array_append_vals (soak->memory, sample, 2);
    }
  } else if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info))
      == GST_EVENT_GAP) {
    // In the place of a frame.
    if (soak->next < soak->fates->len
        && g_array_index (soak->fates, guint8, soak->next) == DROPPED) {
      soak->next++;
      soak->dropped++;
    } else {
      soak->unexpected++;
    }
  } else if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info))
      == GST_EVENT_EOS) {
    soak->eos = TRUE;
    g_cond_signal (&soak->changed);
  }
  g_mutex_unlock (&soak->lock);
  return GST_PAD_PROBE_OK;
}

static GstBusSyncReply
watch_bus (GstBus * bus, GstMessage * message, gpointer user_data)
{
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
    g_autoptr (GError) error = NULL;
    g_autofree char *debug = NULL;

    gst_message_parse_error (message, &error, &debug);
    g_error ("%s (%s)", error->message, debug);
  }
  gst_message_unref (message);
  return GST_BUS_DROP;
}

/* An episode */

typedef struct
{
  GstClockTime start, end;
} Span;

static const struct
{
  const char *caps;
  GstClockTime duration;
} videos[] = {
  {"video/x-raw,format=RGB,width=32,height=24,framerate=25/1",
        40 * GST_MSECOND},
  {"video/x-raw,format=I420,width=33,height=17,framerate=50/1",
        20 * GST_MSECOND},
  {"video/x-raw,format=v210,width=48,height=20,framerate=30000/1001",
        33366666},
  {"video/x-raw,format=NV12,width=16,height=48,framerate=0/1",
        30 * GST_MSECOND},
  {"video/x-raw,format=P010_10LE,width=32,height=24,framerate=25/1",
        40 * GST_MSECOND},
};
static const char *const mask_caps[] = {
  "video/x-raw,format=GRAY8,width=16,height=12,framerate=0/1",
  "video/x-raw,format=GRAY16_LE,width=32,height=24,framerate=25/1",
  "video/x-raw,format=GRAY8,width=7,height=9,framerate=12/1",
};

static GstBuffer *
make_buffer (Soak * soak, const GstVideoInfo * info, GstClockTime start,
    GstClockTime duration)
{
  gsize size = GST_VIDEO_INFO_SIZE (info);
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, size, NULL);

  gst_buffer_memset (buffer, 0, (guint8) g_rand_int (soak->random), size);
  GST_BUFFER_PTS (buffer) = start;
  GST_BUFFER_DURATION (buffer) = duration;
  return buffer;
}

static GstBuffer *
make_mask (Soak * soak, const GstVideoInfo * info, GstClockTime start,
    GstClockTime duration)
{
  GstBuffer *mask = make_buffer (soak, info, start, duration);
  gsize size = GST_VIDEO_INFO_SIZE (info);

  // A third has no boundary, which is a way of its own.
  gst_buffer_memset (mask, 0, 0xff, size);
  if (g_rand_int_range (soak->random, 0, 3))
    gst_buffer_memset (mask, 0, 0, size / 2);
  return mask;
}

// Whether one of MASKS is in force when FRAME starts or starts within it.
// Masks do not overlap, and a gap is none.
static gboolean
has_mask (const GArray * masks, const Span * frame)
{
  for (guint i = 0; i < masks->len; i++) {
    const Span *mask = &g_array_index (masks, Span, i);

    if (mask->start < frame->end && mask->end > frame->start)
      return TRUE;
  }
  return FALSE;
}

static void
give_mask (Soak * soak, GArray * masks, const GstVideoInfo * info,
    GstClockTime start, GstClockTime duration)
{
  Span span = { start, start + duration };

  g_array_append_val (masks, span);
  feeder_give (&soak->mask_feeder, make_mask (soak, info, start, duration));
}

// Masks for N frames from START on, DURATION each.
static void
give_masks (Soak * soak, GArray * masks, Rhythm rhythm, GstClockTime start,
    GstClockTime duration, guint n)
{
  const char *caps_string =
      mask_caps[g_rand_int_range (soak->random, 0, G_N_ELEMENTS (mask_caps))];
  g_autoptr (GstCaps) caps = gst_caps_from_string (caps_string);
  GstVideoInfo info;

  gst_video_info_from_caps (&info, caps);
  feeder_give (&soak->mask_feeder, gst_event_new_caps (caps));
  soak->mask_caps++;
  for (guint i = 0; i < n; i++, start += duration) {
    gboolean missing = g_rand_int_range (soak->random, 0, 3) == 0;

    switch (rhythm) {
      case EQUAL:
        give_mask (soak, masks, &info, start, duration);
        break;
      case SLOWER:
        if (i % 4 == 0)
          give_mask (soak, masks, &info, start, MIN (4, n - i) * duration);
        break;
      case FASTER:
        give_mask (soak, masks, &info, start, duration / 2);
        give_mask (soak, masks, &info, start + duration / 2, duration / 2);
        break;
      case LATE:
        give_mask (soak, masks, &info, start + duration / 4,
            duration - duration / 4);
        break;
      case HOLES:
        if (!missing)
          give_mask (soak, masks, &info, start, duration);
        break;
      case GAPS:
        if (!missing)
          give_mask (soak, masks, &info, start, duration);
        else
          feeder_give (&soak->mask_feeder, gst_event_new_gap (start,
                  duration));
        break;
      default:
        g_assert_not_reached ();
    }
  }
}

static void
begin (Feeder * feeder, guint64 n, const char *caps_string)
{
  g_autofree char *id = g_strdup_printf ("%s-%" G_GUINT64_FORMAT,
      GST_PAD_NAME (GST_PAD_PEER (feeder->harness->srcpad)), n);
  g_autoptr (GstCaps) caps = gst_caps_from_string (caps_string);
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  feeder_give (feeder, gst_event_new_stream_start (id));
  feeder_give (feeder, gst_event_new_caps (caps));
  feeder_give (feeder, gst_event_new_segment (&segment));
}

// Gives a whole episode to the feeders, with EOS behind it. Returns its
// number of frames.
static guint
give_episode (Soak * soak)
{
  guint sections = (guint) g_rand_int_range (soak->random, 1, 8), total = 0;
  gboolean mask_ends = g_rand_int_range (soak->random, 0, 8) == 0;
  g_autoptr (GArray) masks = g_array_new (FALSE, FALSE, sizeof (Span));
  g_autoptr (GArray) frames = g_array_new (FALSE, FALSE, sizeof (Span));
  GstClockTime start = 0;

  soak->episodes++;
  begin (&soak->mask_feeder, soak->episodes, mask_caps[0]);
  begin (&soak->video_feeder, soak->episodes, videos[0].caps);
  for (guint s = 0; s < sections; s++) {
    guint v = (guint) g_rand_int_range (soak->random, 0,
        G_N_ELEMENTS (videos));
    guint n = (guint) g_rand_int_range (soak->random, 1, 40);
    g_autoptr (GstCaps) caps = gst_caps_from_string (videos[v].caps);
    GstClockTime duration = videos[v].duration;
    GstVideoInfo info;

    if (!mask_ends || s < sections / 2)
      give_masks (soak, masks, (Rhythm) g_rand_int_range (soak->random, 0,
              N_RHYTHMS), start, duration, n);
    gst_video_info_from_caps (&info, caps);
    feeder_give (&soak->video_feeder, gst_event_new_caps (caps));
    soak->video_caps++;
    g_array_set_size (frames, 0);
    for (guint i = 0; i < n; i++, start += duration) {
      GstBuffer *buffer = make_buffer (soak, &info, start, duration);
      Span frame = { start, start + duration };
      guint8 fate = soak->drop && !has_mask (masks, &frame) ? DROPPED
          : PENDING;

      g_mutex_lock (&soak->lock);
      GST_BUFFER_OFFSET (buffer) = soak->fates->len;
      g_array_append_val (soak->fates, fate);
      g_mutex_unlock (&soak->lock);
      feeder_give (&soak->video_feeder, buffer);
    }
    total += n;
  }
  feeder_give (&soak->mask_feeder, gst_event_new_eos ());
  feeder_give (&soak->video_feeder, gst_event_new_eos ());
  return total;
}

/* Storms */

static gboolean
takes_models_while_playing (Soak * soak)
{
  GParamSpec *spec = g_object_class_find_property (G_OBJECT_GET_CLASS
      (soak->element), "model-location");

  return (spec->flags & GST_PARAM_MUTABLE_PLAYING) != 0;
}

static void
change_model (Soak * soak)
{
  g_object_set (soak->element, "model-location",
      soak->models[g_rand_int_range (soak->random, 0, 2)], NULL);
  soak->models_changed++;
}

static void
change_property (Soak * soak)
{
  gint value = g_rand_int_range (soak->random, 0, 256);

  soak->properties++;
  switch (g_rand_int_range (soak->random, 0, 16)) {
    case 0:
      if (takes_models_while_playing (soak))
        change_model (soak);
      break;
    case 1:
    case 2:
      g_object_set (soak->element, "crop-size", 96 + value % 3 * 16, NULL);
      break;
    case 3:
    case 4:
      g_object_set (soak->element, "local-step", value % 3, NULL);
      break;
    case 5:
      g_object_set (soak->element, "local-region", value % 2, NULL);
      break;
    case 6:
      g_object_set (soak->element, "enlarge-small", value % 32 == 0, NULL);
      break;
    default:
      g_object_set (soak->element, "mask-threshold", value / 512.0, NULL);
      break;
  }
}

static void
let_time_pass (Soak * soak)
{
  GstClockID id;

  if (!gst_test_clock_peek_next_pending_id (soak->clock, &id))
    return;
  if (gst_clock_id_get_time (id) >
      gst_clock_get_time (GST_CLOCK (soak->clock)))
    gst_test_clock_set_time (soak->clock, gst_clock_id_get_time (id));
  gst_clock_id_unref (id);
  id = gst_test_clock_process_next_clock_id (soak->clock);
  if (id)
    gst_clock_id_unref (id);
}

// Lets the stream run until EOS, or until FRAMES of the episode are out.
static void
run_until (Soak * soak, guint frames)
{
  gint64 hang = g_get_monotonic_time () + HANG_SECONDS * G_TIME_SPAN_SECOND;
  gboolean stormy = g_rand_boolean (soak->random);
  guint end;

  g_mutex_lock (&soak->lock);
  end = soak->next + frames;
  while (!soak->eos && soak->next < end) {
    g_mutex_unlock (&soak->lock);
    if (soak->live)
      let_time_pass (soak);
    if (stormy)
      change_property (soak);
    if (g_get_monotonic_time () > hang)
      g_error ("hangs");
    g_mutex_lock (&soak->lock);
    if (!soak->eos)
      g_cond_wait_until (&soak->changed, &soak->lock,
          g_get_monotonic_time () + 2 * G_TIME_SPAN_MILLISECOND);
  }
  g_mutex_unlock (&soak->lock);
}

static void
flush (Soak * soak, guint32 seqnum)
{
  GstHarness *harnesses[] = { soak->video, soak->mask };
  guint first = (guint) g_rand_int_range (soak->random, 0, 2);

  for (guint i = 0; i < 2; i++) {
    GstEvent *event = gst_event_new_flush_start ();

    gst_event_set_seqnum (event, seqnum);
    gst_harness_push_event (harnesses[(first + i) % 2], event);
  }
  for (guint i = 0; i < 2; i++) {
    GstEvent *event = gst_event_new_flush_stop (TRUE);

    gst_event_set_seqnum (event, seqnum);
    gst_harness_push_event (harnesses[(first + i) % 2], event);
  }
}

static void
seek (Soak * soak)
{
  GstEvent *event = gst_event_new_seek (1, GST_FORMAT_TIME,
      GST_SEEK_FLAG_FLUSH, GST_SEEK_TYPE_SET, 0, GST_SEEK_TYPE_NONE, 0);
  guint32 seqnum = gst_event_get_seqnum (event);

  gst_harness_push_upstream_event (soak->video, event);
  flush (soak, seqnum);
}

static void
stop (Soak * soak)
{
  gst_element_set_state (soak->element,
      g_rand_boolean (soak->random) ? GST_STATE_READY : GST_STATE_NULL);
  gst_pad_set_active (soak->video->sinkpad, FALSE);
  gst_pad_set_active (soak->video->sinkpad, TRUE);
  soak->live = g_rand_boolean (soak->random);
  gst_harness_set_live (soak->video, soak->live);
  gst_harness_set_live (soak->mask, soak->live);
  change_model (soak);
}

static void
empty_queue (GstHarness * harness)
{
  GstEvent *event;

  while ((event = gst_harness_try_pull_event (harness)))
    gst_event_unref (event);
}

static void
empty_upstream_queue (GstHarness * harness)
{
  GstEvent *event;

  while ((event = gst_harness_try_pull_upstream_event (harness)))
    gst_event_unref (event);
}

// Ends the episode: what is under way is lost with it.
static void
cut (Soak * soak)
{
  Cut how = (Cut) g_rand_int_range (soak->random, 0, N_CUTS);
  gboolean drop;

  soak->cuts[how]++;
  feeder_drop (&soak->video_feeder);
  feeder_drop (&soak->mask_feeder);
  switch (how) {
    case FLUSH:
      flush (soak, gst_util_seqnum_next ());
      break;
    case SEEK:
      seek (soak);
      break;
    default:
      stop (soak);
      break;
  }
  feeder_wait (&soak->video_feeder, G_MAXINT32);
  feeder_wait (&soak->mask_feeder, G_MAXINT32);

  // Nothing flows now. Live, a mask may come too late: drop is a matter of
  // chance then.
  drop = !soak->live && g_rand_boolean (soak->random);
  gst_util_set_object_arg (G_OBJECT (soak->element), "missing-mask",
      drop ? "drop" : g_rand_boolean (soak->random) ? "repeat" : "pass");
  soak->drop = drop;
  g_mutex_lock (&soak->lock);
  settle (soak, soak->fates->len, !soak->eos);
  soak->eos = FALSE;
  g_mutex_unlock (&soak->lock);
  empty_queue (soak->video);
  empty_upstream_queue (soak->video);
  empty_upstream_queue (soak->mask);
  if (how == STOP)
    gst_element_set_state (soak->element, GST_STATE_PLAYING);
}

/* The whole */

// Bytes that memory grew by from the warm-up to the end, on the straight line
// through its samples.
static gdouble
get_growth (const Soak * soak)
{
  const gdouble *samples = (const gdouble *) soak->memory->data;
  guint n = soak->memory->len / 2, first = (guint) (n * WARM);
  gdouble x = 0, y = 0, xx = 0, xy = 0, count = n - first;

  if (count < 4)
    return 0;
  for (guint i = first; i < n; i++) {
    x += samples[2 * i] / count;
    y += samples[2 * i + 1] / count;
  }
  for (guint i = first; i < n; i++) {
    xx += (samples[2 * i] - x) * (samples[2 * i] - x);
    xy += (samples[2 * i] - x) * (samples[2 * i + 1] - y);
  }
  return xy / xx * (samples[2 * (n - 1)] - samples[2 * first]);
}

static gboolean
report (const Soak * soak, gdouble seconds)
{
  guint64 given = soak->fates->len;
  gdouble growth = get_growth (soak);
  gboolean ok = soak->lost == 0 && soak->unexpected == 0
      && soak->stall_us < STALL_MAX
      && (given < WARM_FRAMES || growth < GROWTH_MAX)
      && given == soak->out + soak->dropped + soak->cut;

  g_print ("%" G_GUINT64_FORMAT " frames in %" G_GUINT64_FORMAT " episodes, "
      "%.0f s\n", given, soak->episodes, seconds);
  g_print ("%" G_GUINT64_FORMAT " video caps, %" G_GUINT64_FORMAT
      " mask caps, %" G_GUINT64_FORMAT " flushes, %" G_GUINT64_FORMAT
      " seeks, %" G_GUINT64_FORMAT " stops, %" G_GUINT64_FORMAT
      " episodes to their end, %" G_GUINT64_FORMAT " properties, %"
      G_GUINT64_FORMAT " models\n", soak->video_caps, soak->mask_caps,
      soak->cuts[FLUSH], soak->cuts[SEEK], soak->cuts[STOP], soak->drained,
      soak->properties, soak->models_changed);
  g_print ("%" G_GUINT64_FORMAT " out, %" G_GUINT64_FORMAT
      " dropped by policy, %" G_GUINT64_FORMAT " cut off, %" G_GUINT64_FORMAT
      " lost, %" G_GUINT64_FORMAT " unexpected\n", soak->out, soak->dropped,
      soak->cut, soak->lost, soak->unexpected);
  g_print ("longest stall %.0f ms; memory %.1f MB, grew by %.2f MB after %.0f"
      " %%\n%s\n", soak->stall_us / 1e3,
      g_array_index (soak->memory, gdouble, soak->memory->len - 1) / 1e6,
      growth / 1e6, WARM * 100, ok ? "passed" : "FAILED");
  return ok;
}

int
main (int argc, char **argv)
{
  gint frames = 2000, seed = 1;
  GOptionEntry options[] = {
    {"frames", 'n', 0, G_OPTION_ARG_INT, &frames, "Frames", "FRAMES"},
    {"seed", 's', 0, G_OPTION_ARG_INT, &seed, "Start of chance", "SEED"},
    G_OPTION_ENTRY_NULL
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  const FeederHooks none = { NULL, NULL };
  Soak soak = { 0 };
  gint64 began;
  gboolean ok;
  GstPad *pad;

  g_option_context_add_main_entries (context, options, NULL);
  if (!g_option_context_parse (context, &argc, &argv, NULL))
    return 2;
  g_log_set_always_fatal (G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING);
  gst_init (NULL, NULL);
  GST_ELEMENT_REGISTER (cascadepsprefine, NULL);

  soak.random = g_rand_new_with_seed ((guint32) seed);
  for (guint i = 0; i < 2; i++)
    soak.models[i] = tiny_model_write (i);
  soak.fates = g_array_new (FALSE, FALSE, 1);
  soak.memory = g_array_new (FALSE, FALSE, sizeof (gdouble));
  g_mutex_init (&soak.lock);
  g_cond_init (&soak.changed);
  soak.element = gst_element_factory_make ("cascadepsprefine", NULL);
  g_object_set (soak.element, "crop-size", 96, "threads", 1,
      "model-location", soak.models[0], NULL);
  soak.bus = gst_bus_new ();
  gst_bus_set_sync_handler (soak.bus, watch_bus, NULL, NULL);
  gst_element_set_bus (soak.element, soak.bus);
  pad = gst_element_get_static_pad (soak.element, "src");
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER
      | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, watch_output, &soak, NULL);
  gst_object_unref (pad);
  soak.video = gst_harness_new_with_element (soak.element, "sink", "src");
  soak.mask = gst_harness_new_with_element (soak.element, "mask", NULL);
  soak.clock = gst_harness_get_testclock (soak.video);
  gst_harness_set_drop_buffers (soak.video, TRUE);
  gst_harness_set_live (soak.video, FALSE);
  gst_harness_set_live (soak.mask, FALSE);
  feeder_init (&soak.video_feeder, soak.video, &none, NULL);
  feeder_init (&soak.mask_feeder, soak.mask, &none, NULL);

  began = g_get_monotonic_time ();
  while (soak.fates->len < (guint) frames) {
    guint given = give_episode (&soak);

    if (g_rand_boolean (soak.random)) {
      run_until (&soak, G_MAXUINT / 2);
      soak.drained++;
    } else {
      run_until (&soak, (guint) g_rand_int_range (soak.random, 0,
              (gint) given + 1));
    }
    cut (&soak);
  }
  gst_element_set_state (soak.element, GST_STATE_NULL);

  ok = report (&soak, (g_get_monotonic_time () - began) / 1e6);
  feeder_clear (&soak.video_feeder);
  feeder_clear (&soak.mask_feeder);
  gst_harness_teardown (soak.mask);
  gst_harness_teardown (soak.video);
  gst_object_unref (soak.clock);
  gst_bus_set_sync_handler (soak.bus, NULL, NULL, NULL);
  gst_element_set_bus (soak.element, NULL);
  gst_object_unref (soak.bus);
  gst_object_unref (soak.element);
  for (guint i = 0; i < 2; i++) {
    g_unlink (soak.models[i]);
    g_free (soak.models[i]);
  }
  g_array_unref (soak.fates);
  g_array_unref (soak.memory);
  g_rand_free (soak.random);
  g_mutex_clear (&soak.lock);
  g_cond_clear (&soak.changed);
  return ok ? 0 : 1;
}
