/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The element among neighbours that do anything: each byte of the input is an
 * operation, and some take further bytes. Two harnesses feed the pads, each
 * from a thread of its own, since an aggregator's pads block; the main thread
 * does what other threads would: flushes, states, properties, queries, seeks,
 * time. What neighbours must do for a pipeline to work at all, they do:
 * stream-start, caps and segment come first, and who accepts a flushing seek
 * flushes.
 *
 * Whatever happens, these hold, and it aborts if they do not:
 * - no critical or warning of GLib;
 * - an alpha has the size of its caps and of its frame, its frame's timestamp
 *   and duration, and comes once, in the frames' order; its bytes are set
 *   (valgrind sees that), and caps and a segment came before it;
 * - a stream that failed said so on the bus, once;
 * - if nothing failed, EOS on both pads ends the stream;
 * - all calls return; nothing is left behind: threads, buffers, the element.
 */
#include "fuzz.h"

#include <string.h>

#include <gst/check/gsttestclock.h>
#include <gst/video/video.h>

#include "gst/gstcascadepsprefine.h"
#include "tests/gst/feeder.h"
#include "tests/gst/tiny-model.h"

// How long a feeder gets before it counts as blocked, which is no fault.
#define SETTLE_US 300
#define EOS_SECONDS 60
#define HALT_US (60 * G_TIME_SPAN_SECOND)
// Frames of larger caps come as buffers that are too small.
#define BUFFER_SIZE_MAX (1 << 20)
#define FRAME_DURATION (40 * GST_MSECOND)

static char *model_path;

#define ENSURE(condition, ...) \
  G_STMT_START { \
    if (G_UNLIKELY (!(condition))) \
      give_up (#condition, __VA_ARGS__); \
  } G_STMT_END

G_GNUC_PRINTF (2, 3) G_GNUC_NORETURN
static void
give_up (const char *condition, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_printerr ("not so: %s: ", condition);
  vfprintf (stderr, format, args);
  g_printerr ("\n");
  va_end (args);
  g_abort ();
}

/* Input */

typedef struct
{
  const guint8 *data;
  gsize left;
} Input;

// 0 at the end.
static guint
take (Input * input)
{
  if (input->left == 0)
    return 0;
  input->left--;
  return *input->data++;
}

static gboolean
one_in (Input * input, guint n)
{
  return take (input) % n == n - 1;
}

/* The two streams */

typedef struct
{
  guint width, height;
  GstClockTime pts, duration;
} Frame;

typedef struct _Run Run;

typedef struct
{
  Run *run;
  GstHarness *harness;
  const char *pad_name;

  // Main thread.
  GstCaps *caps;
  GstVideoInfo info;            // format UNKNOWN: the caps are no raw video
  GstSegment segment;
  gboolean send_caps, send_segment;
  gboolean eos;
  guint32 flush_seqnum;         // 0: not flushing
  GstClockTime next_pts;

  Feeder feeder;
  // Its thread.
  gboolean caps_taken;          // the last ones
  gint epoch;                   // when the last push began
} Stream;

struct _Run
{
  GstElement *element;
  GstBus *bus;
  Stream video, mask;
  GstTestClock *clock;
  gboolean live;
  gboolean stopped_in_flush;    // and not flushed since

  GArray *frames;               // of Frame, by buffer offset; lock
  gint buffers;                 // alive
  gint errors;                  // on the bus, since the last flush or start
  gint errors_allowed;          // so many, besides one
  gint epoch;                   // counts those
  gint refused_downstream;      // a flow that the neighbour returned
  gint downstream_flow;         // for the next buffer, GstFlowReturn
  gint element_alive;

  // The source pad's thread.
  guint64 next_offset;          // none below it comes
  gboolean has_segment;

  GMutex lock;
  GCond changed;
  gboolean downstream_blocks;   // lock
  gboolean eos_seen;            // lock
};

static void
count_down (gpointer data, GstMiniObject * where)
{
  g_atomic_int_add ((gint *) data, -1);
}

static void
count_buffer (Run * run, GstBuffer * buffer)
{
  g_atomic_int_inc (&run->buffers);
  gst_mini_object_weak_ref (GST_MINI_OBJECT (buffer), count_down,
      &run->buffers);
}

static void
before_push (Feeder * feeder, GstMiniObject * object, gpointer user_data)
{
  Stream *stream = user_data;

  stream->epoch = g_atomic_int_get (&stream->run->epoch);
  if (GST_IS_EVENT (object) && GST_EVENT_TYPE (object) == GST_EVENT_CAPS) {
    GstCaps *caps;

    gst_event_parse_caps (GST_EVENT (object), &caps);
    stream->caps_taken =
        gst_pad_peer_query_accept_caps (feeder->harness->srcpad, caps);
  }
}

static void
after_push (Feeder * feeder, GstFlowReturn flow, gpointer user_data)
{
  Stream *stream = user_data;
  Run *run = stream->run;

  // Where caps were refused at the pad, upstream knows by itself.
  if (flow == GST_FLOW_ERROR
      || (flow == GST_FLOW_NOT_NEGOTIATED && stream->caps_taken))
    ENSURE (g_atomic_int_get (&run->errors) > 0
        || g_atomic_int_get (&run->refused_downstream)
        || g_atomic_int_get (&run->epoch) != stream->epoch,
        "%s without a message on %s", gst_flow_get_name (flow),
        stream->pad_name);
}

// Takes OBJECT. Most often it is pushed, and dealt with, on return. While the
// stream flushes, its upstream stands still.
static void
queue (Stream * stream, gpointer object)
{
  if (stream->flush_seqnum) {
    gst_mini_object_unref (object);
    return;
  }
  feeder_give (&stream->feeder, object);
  feeder_wait (&stream->feeder, SETTLE_US);
}

// Forgets what was not pushed yet, and waits for what is. The pad must block
// no more.
static void
halt (Stream * stream)
{
  feeder_drop (&stream->feeder);
  ENSURE (feeder_wait (&stream->feeder, HALT_US), "%s hangs",
      stream->pad_name);
}

/* What comes out */

static void
check_alpha (Run * run, GstPad * pad, GstBuffer * buffer)
{
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (pad);
  guint64 offset = GST_BUFFER_OFFSET (buffer);
  guint64 sum = 0;
  GstVideoFrame frame;
  GstVideoInfo info;
  Frame sent;

  ENSURE (caps && gst_video_info_from_caps (&info, caps), "caps?");
  ENSURE (run->has_segment, "no segment");
  ENSURE (offset >= run->next_offset, "%" G_GUINT64_FORMAT " after %"
      G_GUINT64_FORMAT, offset, run->next_offset);
  run->next_offset = offset + 1;

  g_mutex_lock (&run->lock);
  ENSURE (offset < run->frames->len, "%" G_GUINT64_FORMAT, offset);
  sent = g_array_index (run->frames, Frame, offset);
  g_mutex_unlock (&run->lock);
  ENSURE (sent.width == (guint) GST_VIDEO_INFO_WIDTH (&info)
      && sent.height == (guint) GST_VIDEO_INFO_HEIGHT (&info),
      "%u x %u for a frame of %u x %u", GST_VIDEO_INFO_WIDTH (&info),
      GST_VIDEO_INFO_HEIGHT (&info), sent.width, sent.height);
  ENSURE (sent.pts == GST_BUFFER_PTS (buffer), "timestamp");
  ENSURE (sent.duration == GST_BUFFER_DURATION (buffer), "duration");

  ENSURE (gst_video_frame_map (&frame, &info, buffer, GST_MAP_READ), "map");
  for (guint c = 0; c < GST_VIDEO_FRAME_N_COMPONENTS (&frame); c++)
    for (gint y = 0; y < GST_VIDEO_FRAME_COMP_HEIGHT (&frame, c); y++) {
      const guint8 *row = (const guint8 *) GST_VIDEO_FRAME_COMP_DATA (&frame, c)
          + y * GST_VIDEO_FRAME_COMP_STRIDE (&frame, c);

      for (gint x = 0; x < GST_VIDEO_FRAME_COMP_WIDTH (&frame, c); x++)
        sum += row[x * GST_VIDEO_FRAME_COMP_PSTRIDE (&frame, c)];
    }
  gst_video_frame_unmap (&frame);
  // A branch on every byte.
  ENSURE (sum < G_MAXUINT64, "sum");
}

static GstPadProbeReturn
watch_output (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  Run *run = user_data;

  if (info->type & GST_PAD_PROBE_TYPE_BUFFER) {
    GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
    GstFlowReturn flow = g_atomic_int_get (&run->downstream_flow);

    count_buffer (run, buffer);
    check_alpha (run, pad, buffer);
    g_mutex_lock (&run->lock);
    while (run->downstream_blocks)
      g_cond_wait (&run->changed, &run->lock);
    g_mutex_unlock (&run->lock);
    if (flow != GST_FLOW_OK) {
      g_atomic_int_set (&run->downstream_flow, GST_FLOW_OK);
      g_atomic_int_set (&run->refused_downstream, TRUE);
      gst_buffer_unref (buffer);
      GST_PAD_PROBE_INFO_FLOW_RETURN (info) = flow;
      return GST_PAD_PROBE_HANDLED;
    }
    return GST_PAD_PROBE_OK;
  }

  switch (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info))) {
    case GST_EVENT_SEGMENT:
      // One behind the caps: see watch_log.
      run->has_segment = gst_pad_has_current_caps (pad);
      break;
    case GST_EVENT_FLUSH_START:
      g_mutex_lock (&run->lock);
      run->downstream_blocks = FALSE;
      g_cond_signal (&run->changed);
      g_mutex_unlock (&run->lock);
      break;
    case GST_EVENT_FLUSH_STOP:
      run->has_segment = FALSE;
      break;
    case GST_EVENT_EOS:
      g_mutex_lock (&run->lock);
      run->eos_seen = TRUE;
      g_cond_signal (&run->changed);
      g_mutex_unlock (&run->lock);
      break;
    default:
      break;
  }
  return GST_PAD_PROBE_OK;
}

static GstBusSyncReply
watch_bus (GstBus * bus, GstMessage * message, gpointer user_data)
{
  Run *run = user_data;

  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
    gint errors = 1 + g_atomic_int_add (&run->errors, 1);
    g_autoptr (GError) error = NULL;

    gst_message_parse_error (message, &error, NULL);
    ENSURE (errors <= 1 + g_atomic_int_get (&run->errors_allowed),
        "error %d: %s", errors, error->message);
  }
  gst_message_unref (message);
  return GST_BUS_DROP;
}

// What GStreamer's core says of these neighbours is not the element's fault;
// nor that the base class ends a stream that failed before it had a segment
// with an event that has no number yet. In 1.26 a stream that ends before it
// has caps gets a segment all the same, which the core still knows when the
// stream starts anew: order is looked after where segments are watched. And the
// base class clips a GAP event to a segment that a flush of its pad alone may
// have taken away meanwhile; nothing comes of it but the complaint.
static void
watch_log (const char *domain, GLogLevelFlags level, const char *message,
    gpointer user_data)
{
  if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING)
      && !strstr (message, "Sticky event misordering")
      && !strstr (message, "gst_segment_clip: assertion 'segment->format ==")
      && !((strstr (message, "Got data flow before")
              || strstr (message, "gst_event_set_seqnum"))
          && !strstr (message, "<'':sink>")))
    give_up ("quiet", "%s: %s", domain, message);
}

/* Operations */

static const char *const sizes[] = {
  "width=16,height=12", "width=16,height=12", "width=16,height=12",
  "width=1,height=1", "width=2,height=3", "width=33,height=17",
  "width=64,height=48", "width=97,height=2", "width=3,height=120",
  "width=900,height=1", "width=1,height=500", "width=32768,height=16",
  "width=0,height=16", "width=2147483647,height=2147483647", "width=16",
  "height=-3,width=[1,16]",
};
static const char *const rates[] = {
  "framerate=25/1", "framerate=25/1", "framerate=0/1", "framerate=30000/1001",
  "framerate=2147483647/1", "framerate=1/2147483647", "framerate=50/1",
  "framerate=0/1,max-framerate=60/1",
};
static const char *const extras[] = {
  "", "", "", "", "", "", ",pixel-aspect-ratio=16/11",
  ",pixel-aspect-ratio=2147483647/3", ",interlace-mode=interleaved",
  ",interlace-mode=mixed", ",interlace-mode=progressive", ",views=2",
  ",colorimetry=bt709", ",colorimetry=2:9:99:1", ",colorimetry=sRGB",
  ",colorimetry=0:0:0:0", ",chroma-site=mpeg2", ",chroma-site=nonsense",
  ",multiview-mode=side-by-side", ",interlace-mode=fields",
};
static const char *const mask_formats[] = {
  "GRAY8", "GRAY8", "GRAY8", "GRAY16_LE", "GRAY16_BE", "RGB", "nonsense",
};

static const char *
pick (Input * input, const char *const *strings, guint n)
{
  return strings[take (input) % n];
}

#define PICK(input, strings) pick (input, strings, G_N_ELEMENTS (strings))

static GstCaps *
make_caps (Stream * stream, Input * input)
{
  const char *format = "RGB";
  g_autofree char *text = NULL;
  guint kind = take (input);

  if (kind == 255)
    return gst_caps_from_string ("video/x-h264");
  if (kind == 254)
    return gst_caps_from_string ("video/x-raw(memory:Nothing),format=RGB,"
        "width=16,height=12,framerate=25/1");
  if (stream == &stream->run->mask)
    format = PICK (input, mask_formats);
  else if (kind % 2)
    format = gst_video_format_to_string (GST_VIDEO_FORMAT_I420
        + take (input) % 120);
  if (!format)
    format = "I420";
  text = g_strdup_printf ("video/x-raw,format=%s,%s,%s%s", format,
      PICK (input, sizes), PICK (input, rates), PICK (input, extras));
  return gst_caps_from_string (text);
}

// Takes CAPS.
static void
set_caps (Stream * stream, GstCaps * caps)
{
  if (!gst_caps_is_fixed (caps)) {
    gst_caps_unref (caps);
    return;
  }
  gst_caps_take (&stream->caps, caps);
  if (!gst_video_info_from_caps (&stream->info, caps))
    gst_video_info_init (&stream->info);
  stream->send_caps = TRUE;
}

// What must come before anything else of a stream.
static void
catch_up (Stream * stream)
{
  Run *run = stream->run;

  if (stream->eos) {
    g_autofree char *id = g_strdup_printf ("after-eos-%p", stream);

    // In GStreamer 1.26 a new stream lets one that failed try again.
    g_atomic_int_inc (&run->errors_allowed);
    queue (stream, gst_event_new_stream_start (id));
    stream->eos = FALSE;
  }
  if (stream->send_caps) {
    // A rejected one may be told of, and so may what comes of it.
    g_atomic_int_add (&run->errors_allowed, 2);
    queue (stream, gst_event_new_caps (stream->caps));
  }
  stream->send_caps = FALSE;
  if (stream->send_segment)
    queue (stream, gst_event_new_segment (&stream->segment));
  stream->send_segment = FALSE;
}

typedef enum
{
  FLAT,
  BOUNDARY,
} Content;

static GstBuffer *
make_buffer (Stream * stream, Content content)
{
  Run *run = stream->run;
  gsize size = MIN (GST_VIDEO_INFO_SIZE (&stream->info), BUFFER_SIZE_MAX);
  GstBuffer *buffer;
  GstMapInfo map;

  if (size == 0)
    size = 16;
  buffer = gst_buffer_new_allocate (NULL, size, NULL);
  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  if (stream == &run->video)
    for (gsize i = 0; i < size; i++)
      map.data[i] = (guint8) (i * 7);
  else {
    memset (map.data, 0xff, size);
    if (content == BOUNDARY)
      memset (map.data, 0, size / 2);
  }
  gst_buffer_unmap (buffer, &map);

  GST_BUFFER_PTS (buffer) = stream->next_pts;
  GST_BUFFER_DURATION (buffer) = FRAME_DURATION;
  stream->next_pts += FRAME_DURATION;
  count_buffer (run, buffer);
  return buffer;
}

// Takes BUFFER.
static void
send_buffer (Stream * stream, GstBuffer * buffer)
{
  Run *run = stream->run;

  if (stream == &run->video) {
    Frame frame = { GST_VIDEO_INFO_WIDTH (&stream->info),
      GST_VIDEO_INFO_HEIGHT (&stream->info), GST_BUFFER_PTS (buffer),
      GST_BUFFER_DURATION (buffer)
    };

    g_mutex_lock (&run->lock);
    GST_BUFFER_OFFSET (buffer) = run->frames->len;
    g_array_append_val (run->frames, frame);
    g_mutex_unlock (&run->lock);
  }
  queue (stream, buffer);
}

static void
send_odd_buffer (Stream * stream, Input * input)
{
  GstBuffer *buffer = make_buffer (stream, BOUNDARY);
  guint kind = take (input), amount = take (input);

  if (kind & 1)
    GST_BUFFER_DURATION (buffer) = amount & 1 ? GST_CLOCK_TIME_NONE
        : amount * GST_MSECOND;
  if (kind & 2)
    GST_BUFFER_FLAG_SET (buffer, 1u << (4 + amount % 12));
  switch (kind >> 2 & 15) {
    case 0:
      GST_BUFFER_PTS (buffer) = GST_CLOCK_TIME_NONE;
      break;
    case 1:
      gst_buffer_set_size (buffer, gst_buffer_get_size (buffer) / 2);
      break;
    case 2:
      gst_buffer_remove_all_memory (buffer);
      break;
    case 3:
      GST_BUFFER_PTS (buffer) = G_MAXUINT64 - 1 - amount;
      break;
    case 4:
    case 5:
      GST_BUFFER_PTS (buffer) += amount * GST_MSECOND;
      break;
    case 6:
    case 7:
      GST_BUFFER_PTS (buffer) -= MIN (GST_BUFFER_PTS (buffer),
          amount * GST_MSECOND);
      break;
    case 8:
      stream->next_pts += amount * FRAME_DURATION;
      break;
    case 9:
      stream->next_pts = amount * GST_MSECOND;
      break;
    case 10:
      if (GST_VIDEO_INFO_FORMAT (&stream->info) != GST_VIDEO_FORMAT_UNKNOWN)
        gst_buffer_add_video_meta (buffer, 0,
            GST_VIDEO_INFO_FORMAT (&stream->info),
            GST_VIDEO_INFO_WIDTH (&stream->info) + amount % 3,
            GST_VIDEO_INFO_HEIGHT (&stream->info));
      break;
    case 11:
      gst_buffer_add_video_region_of_interest_meta (buffer, "object",
          amount, amount / 2, amount * 3, amount << (amount & 7));
      break;
    default:
      break;
  }
  send_buffer (stream, buffer);
}

static void
send_gap (Stream * stream, Input * input)
{
  guint kind = take (input);
  GstClockTime duration = kind & 1 ? GST_CLOCK_TIME_NONE
      : (kind >> 4) * 10 * GST_MSECOND;
  GstEvent *gap = gst_event_new_gap (stream->next_pts, duration);

  if (kind & 2)
    gst_event_set_gap_flags (gap, GST_GAP_FLAG_MISSING_DATA);
  if (GST_CLOCK_TIME_IS_VALID (duration))
    stream->next_pts += duration;
  queue (stream, gap);
}

static void
set_segment (Stream * stream, Input * input)
{
  static const gdouble factors[] = { 1, 1, 1, 2, 0.5, -1, -2, 1e-3 };
  guint kind = take (input);

  if (kind == 255) {
    gst_segment_init (&stream->segment, GST_FORMAT_BYTES);
  } else {
    gst_segment_init (&stream->segment, GST_FORMAT_TIME);
    stream->segment.rate = factors[kind & 7];
    stream->segment.start = take (input) * 20 * GST_MSECOND;
    if (kind & 8)
      stream->segment.stop = stream->segment.start
          + take (input) * 20 * GST_MSECOND;
    if (stream->segment.rate < 0 && !(kind & 8))
      stream->segment.stop = stream->segment.start + GST_SECOND;
    if (kind & 16)
      stream->segment.base = take (input) * 20 * GST_MSECOND;
    if (kind & 32)
      stream->segment.time = take (input) * GST_SECOND;
    if (kind & 64)
      stream->segment.offset = MIN (take (input) * GST_MSECOND,
          GST_CLOCK_TIME_IS_VALID (stream->segment.stop)
          ? stream->segment.stop - stream->segment.start : G_MAXUINT64);
    if (kind & 128)
      stream->segment.applied_rate = -2;
    stream->segment.position = stream->segment.start;
    stream->next_pts = stream->segment.start;
  }
  stream->send_segment = TRUE;
}

static void
flush_start (Stream * stream, guint32 seqnum)
{
  GstEvent *event = gst_event_new_flush_start ();

  if (stream->flush_seqnum) {
    gst_event_unref (event);
    return;
  }
  stream->flush_seqnum = seqnum;
  gst_event_set_seqnum (event, seqnum);
  feeder_drop (&stream->feeder);
  gst_pad_push_event (stream->harness->srcpad, event);
  halt (stream);
}

// A new run of both streams: what went wrong before is past.
static void
forgive (Run * run)
{
  g_atomic_int_inc (&run->epoch);
  g_atomic_int_set (&run->errors, 0);
  g_atomic_int_set (&run->errors_allowed, 0);
  g_atomic_int_set (&run->refused_downstream, FALSE);
}

static void
flush_stop (Stream * stream)
{
  Run *run = stream->run;
  Stream *other = stream == &run->video ? &run->mask : &run->video;
  GstEvent *event = gst_event_new_flush_stop (TRUE);

  if (!stream->flush_seqnum) {
    gst_event_unref (event);
    return;
  }
  // The streaming thread stands still if both pads flush at once.
  if (other->flush_seqnum == stream->flush_seqnum)
    forgive (run);
  else
    // One pad starts again, after an error of both perhaps.
    g_atomic_int_add (&run->errors_allowed, 1);
  gst_event_set_seqnum (event, stream->flush_seqnum);
  stream->flush_seqnum = 0;
  stream->eos = FALSE;
  stream->send_caps = stream->send_segment = TRUE;
  gst_pad_push_event (stream->harness->srcpad, event);
}

static void
flush_both (Run * run)
{
  guint32 seqnum = gst_util_seqnum_next ();

  // GStreamer's base class, stopped between the two events of a flush, still
  // thinks that it flushes. At the next one it does not wait for its task: one
  // that fails just then ends after it was started anew, and so fails again.
  // The flush behind that one is whole.
  if (run->stopped_in_flush) {
    run->stopped_in_flush = FALSE;
    flush_both (run);
  }
  flush_stop (&run->video);
  flush_stop (&run->mask);
  flush_start (&run->video, seqnum);
  flush_start (&run->mask, seqnum);
  run->video.next_pts = run->video.segment.start;
  run->mask.next_pts = run->mask.segment.start;
  // The video's first, so that its pad is the one that waits for the other.
  g_atomic_int_set (&run->refused_downstream, FALSE);
  flush_stop (&run->video);
  forgive (run);
  flush_stop (&run->mask);
}

static void
flush_one (Stream * stream, Input * input)
{
  Run *run = stream->run;
  Stream *other = stream == &run->video ? &run->mask : &run->video;

  if (stream->flush_seqnum)
    flush_stop (stream);
  else
    flush_start (stream, other->flush_seqnum && one_in (input, 2)
        ? other->flush_seqnum : gst_util_seqnum_next ());
}

// Upstream accepts every seek, and so it has to flush.
static void
answer_seeks (Run * run)
{
  Stream *streams[] = { &run->video, &run->mask };

  for (guint i = 0; i < 2; i++) {
    GstEvent *event;

    while ((event =
            gst_harness_try_pull_upstream_event (streams[i]->harness))) {
      if (GST_EVENT_TYPE (event) == GST_EVENT_SEEK) {
        GstSeekFlags flags;
        gdouble rate;

        gst_event_parse_seek (event, &rate, NULL, &flags, NULL, NULL, NULL,
            NULL);
        if (flags & GST_SEEK_FLAG_FLUSH) {
          flush_stop (streams[i]);
          flush_start (streams[i], gst_event_get_seqnum (event));
        }
      }
      gst_event_unref (event);
    }
  }
  for (guint i = 0; i < 2; i++)
    if (streams[i]->flush_seqnum
        && run->video.flush_seqnum == run->mask.flush_seqnum)
      flush_stop (streams[1 - i]), flush_stop (streams[i]);
}

static void
unblock_downstream (Run * run)
{
  g_mutex_lock (&run->lock);
  run->downstream_blocks = FALSE;
  g_cond_signal (&run->changed);
  g_mutex_unlock (&run->lock);
}

static void
seek (Run * run, Input * input)
{
  guint kind = take (input);
  GstSeekFlags flags = kind & 1 ? GST_SEEK_FLAG_FLUSH : 0;
  gdouble rate = kind & 2 ? -1 : 1;
  GstFormat format = kind & 0xf0 ? GST_FORMAT_TIME : GST_FORMAT_BYTES;
  gint64 start = take (input) * 20 * GST_MSECOND;

  // One seek at a time: this is no test of GstAggregator.
  if (run->video.flush_seqnum || run->mask.flush_seqnum)
    return;
  unblock_downstream (run);
  gst_harness_push_upstream_event (run->video.harness,
      gst_event_new_seek (rate, format, flags, GST_SEEK_TYPE_SET, start,
          GST_SEEK_TYPE_SET, start + take (input) * GST_SECOND));
  answer_seeks (run);
}

static void
send_qos (Run * run, Input * input)
{
  guint kind = take (input);
  GstClockTimeDiff jitter = ((gint) take (input) - 128) * 10 * GST_MSECOND;

  gst_harness_push_upstream_event (run->video.harness,
      gst_event_new_qos (kind % GST_QOS_TYPE_THROTTLE + 1, kind / 64.0,
          jitter, take (input) * 20 * GST_MSECOND + 3 * GST_SECOND));
}

static void
query_upstream_way (Run * run, Input * input)
{
  GstPad *pad = run->video.harness->sinkpad;
  g_autoptr (GstQuery) query = NULL;
  gint64 value;

  switch (take (input) % 6) {
    case 0:
      gst_harness_query_latency (run->video.harness);
      break;
    case 1:
      gst_pad_peer_query_position (pad, GST_FORMAT_TIME, &value);
      break;
    case 2:
      gst_pad_peer_query_duration (pad, GST_FORMAT_TIME, &value);
      break;
    case 3:
      query = gst_query_new_seeking (GST_FORMAT_TIME);
      break;
    case 4:
      query = gst_query_new_caps (NULL);
      break;
    default:
      query = gst_query_new_segment (GST_FORMAT_TIME);
      break;
  }
  if (query)
    gst_pad_peer_query (pad, query);
}

static void
query_downstream_way (Stream * stream, Input * input)
{
  g_autoptr (GstCaps) caps = make_caps (stream, input);
  GstPad *pad = stream->harness->srcpad;
  GstCaps *got;

  switch (take (input) % 4) {
    case 0:
      if (gst_caps_is_fixed (caps))
        gst_pad_peer_query_accept_caps (pad, caps);
      break;
    case 1:
      got = gst_pad_peer_query_caps (pad, caps);
      gst_caps_unref (got);
      break;
    case 2:
      // serialised: it may wait as long as a buffer does
      queue (stream, gst_query_new_allocation (caps, TRUE));
      break;
    default:
      queue (stream, gst_query_new_drain ());
      break;
  }
}

static void
set_random_property (Run * run, Input * input)
{
  static const guint64 spans[] = { 0, 1, GST_MSECOND, 20 * GST_MSECOND,
    GST_SECOND, 3600 * GST_SECOND
  };
  g_autofree GParamSpec **specs = NULL;
  g_auto (GValue) value = G_VALUE_INIT;
  guint n, amount;
  GParamSpec *spec;

  specs = g_object_class_list_properties (G_OBJECT_GET_CLASS (run->element),
      &n);
  spec = specs[take (input) % n];
  amount = take (input);
  if (g_str_equal (spec->name, "name") || g_str_equal (spec->name, "parent")
      || g_str_equal (spec->name, "threads"))
    return;
  g_value_init (&value, spec->value_type);
  g_object_get_property (G_OBJECT (run->element), spec->name, &value);
  if (!(spec->flags & G_PARAM_WRITABLE))
    return;

  if (g_str_equal (spec->name, "crop-size"))
    g_value_set_uint (&value, 80 + amount % 64);
  else if (G_IS_PARAM_SPEC_ENUM (spec))
    g_value_set_enum (&value, G_PARAM_SPEC_ENUM (spec)->enum_class->values
        [amount % G_PARAM_SPEC_ENUM (spec)->enum_class->n_values].value);
  else if (G_IS_PARAM_SPEC_BOOLEAN (spec))
    g_value_set_boolean (&value, amount & 1);
  else if (G_IS_PARAM_SPEC_UINT (spec))
    g_value_set_uint (&value, G_PARAM_SPEC_UINT (spec)->minimum + amount / 8);
  else if (G_IS_PARAM_SPEC_INT (spec))
    g_value_set_int (&value, (gint) amount / 4 - 32);
  else if (G_IS_PARAM_SPEC_UINT64 (spec))
    g_value_set_uint64 (&value, spans[amount % G_N_ELEMENTS (spans)]);
  else if (G_IS_PARAM_SPEC_INT64 (spec))
    g_value_set_int64 (&value, (gint64) spans[amount % G_N_ELEMENTS (spans)]);
  else if (G_IS_PARAM_SPEC_DOUBLE (spec))
    g_value_set_double (&value, amount / 255.0);
  else if (g_str_equal (spec->name, "model-location"))
    g_value_set_string (&value, amount % 4 == 0 ? "/no/such/file"
        : amount % 4 == 1 ? "/dev/null" : model_path);
  else
    return;
  // A value out of range is brought into it, as g_object_set() does.
  g_param_value_validate (spec, &value);
  g_object_set_property (G_OBJECT (run->element), spec->name, &value);
}

static void
start (Run * run)
{
  forgive (run);
  if (gst_element_set_state (run->element, GST_STATE_PLAYING)
      == GST_STATE_CHANGE_FAILURE)
    ENSURE (g_atomic_int_get (&run->errors) == 1,
        "%d messages of a failed start", g_atomic_int_get (&run->errors));
}

static void
restart_stream (Stream * stream)
{
  stream->flush_seqnum = 0;
  stream->eos = TRUE;           // which needs a new stream-start
  stream->send_caps = stream->send_segment = TRUE;
  stream->next_pts = stream->segment.start;
}

static void
change_state (Run * run, Input * input)
{
  static const GstState states[] = { GST_STATE_NULL, GST_STATE_READY,
    GST_STATE_PAUSED, GST_STATE_PLAYING
  };
  GstState state = states[take (input) % G_N_ELEMENTS (states)];
  GstPad *downstream = run->video.harness->sinkpad;

  unblock_downstream (run);
  if (state >= GST_STATE_PAUSED
      && GST_STATE (run->element) >= GST_STATE_PAUSED) {
    gst_element_set_state (run->element, state);
    gst_element_set_state (run->element, GST_STATE_PLAYING);
    return;
  }
  // The neighbours stop and start too.
  // An element that failed to start goes to NULL, as in every application.
  if (GST_STATE (run->element) < GST_STATE_PAUSED)
    state = GST_STATE_NULL;
  run->stopped_in_flush |= run->video.flush_seqnum || run->mask.flush_seqnum;
  gst_element_set_state (run->element, MIN (state, GST_STATE_READY));
  gst_pad_set_active (downstream, FALSE);
  halt (&run->video);
  halt (&run->mask);
  flush_stop (&run->video);
  flush_stop (&run->mask);
  run->has_segment = FALSE;
  gst_pad_set_active (downstream, TRUE);
  restart_stream (&run->video);
  restart_stream (&run->mask);
  start (run);
}

static void
advance_clock (Run * run, Input * input)
{
  guint amount = take (input);
  GstClockID id;

  if (gst_test_clock_peek_next_pending_id (run->clock, &id)) {
    GstClockTime time = gst_clock_id_get_time (id);

    if (time > gst_clock_get_time (GST_CLOCK (run->clock)))
      gst_test_clock_set_time (run->clock, time);
    gst_clock_id_unref (id);
    id = gst_test_clock_process_next_clock_id (run->clock);
    if (id)
      gst_clock_id_unref (id);
  } else if (amount & 1) {
    gst_test_clock_advance_time (run->clock, amount * GST_MSECOND);
  }
}

static void
disturb_downstream (Run * run, Input * input)
{
  static const GstFlowReturn flows[] = { GST_FLOW_EOS, GST_FLOW_ERROR,
    GST_FLOW_NOT_NEGOTIATED, GST_FLOW_FLUSHING, GST_FLOW_NOT_LINKED
  };
  static const char *const accepted[] = {
    "video/x-raw,format=GRAY8", "video/x-raw,format=GRAY16_LE",
    "video/x-raw", "video/x-raw,width=16", "video/x-raw,format=RGBA",
    "video/x-raw,format=AYUV", "audio/x-raw",
  };
  guint kind = take (input);

  switch (kind % 4) {
    case 0:
      g_atomic_int_set (&run->downstream_flow,
          flows[kind / 4 % G_N_ELEMENTS (flows)]);
      break;
    case 1:
      // If caps are on their way just now, they are refused without a word.
      g_atomic_int_inc (&run->errors_allowed);
      g_atomic_int_set (&run->refused_downstream, TRUE);
      gst_harness_set_sink_caps_str (run->video.harness,
          accepted[kind / 4 % G_N_ELEMENTS (accepted)]);
      break;
    case 2:
      g_mutex_lock (&run->lock);
      run->downstream_blocks = TRUE;
      g_mutex_unlock (&run->lock);
      break;
    default:
      unblock_downstream (run);
      break;
  }
}

static gboolean
pad_is_on_request (Stream * stream)
{
  GstPadTemplate *template = gst_element_class_get_pad_template
      (GST_ELEMENT_GET_CLASS (stream->run->element), stream->pad_name);

  return GST_PAD_TEMPLATE_PRESENCE (template) == GST_PAD_REQUEST;
}

// Takes the pad away, or asks for a new one.
static void
relink (Stream * stream)
{
  Run *run = stream->run;
  GstPad *srcpad = stream->harness->srcpad;
  GstPad *pad = gst_pad_get_peer (srcpad);

  if (!pad_is_on_request (stream)) {
    gst_clear_object (&pad);
    return;
  }
  unblock_downstream (run);
  if (pad) {
    gst_pad_unlink (srcpad, pad);
    gst_element_release_request_pad (run->element, pad);
    halt (stream);
    stream->flush_seqnum = 0;
  } else {
    pad = gst_element_request_pad_simple (run->element, stream->pad_name);
    ENSURE (pad && gst_pad_link (srcpad, pad) == GST_PAD_LINK_OK,
        "no new pad");
    restart_stream (stream);
  }
  gst_object_unref (pad);
}

static void
send_event (Stream * stream, Input * input)
{
  guint kind = take (input);

  switch (kind % 5) {
    case 0:
      queue (stream, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM,
              gst_structure_new_empty ("surprise")));
      break;
    case 1:
      queue (stream, gst_event_new_tag (gst_tag_list_new (GST_TAG_TITLE,
                  "title", NULL)));
      break;
    case 2:
      gst_pad_push_event (stream->harness->srcpad,
          gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM_OOB,
              gst_structure_new_empty ("surprise")));
      break;
    case 3:
      gst_harness_push_upstream_event (stream->run->video.harness,
          gst_event_new_reconfigure ());
      break;
    default:
      gst_harness_push_upstream_event (stream->run->video.harness,
          gst_event_new_latency (kind * GST_MSECOND));
      break;
  }
}

static void
step (Run * run, Input * input)
{
  guint op = take (input);
  Stream *stream = op & 128 ? &run->mask : &run->video;
  gboolean linked = gst_pad_is_linked (stream->harness->srcpad);

  switch (op % 32) {
    case 14:
    case 15:
      if (linked) {
        catch_up (stream);
        send_odd_buffer (stream, input);
      }
      break;
    case 16:
      set_caps (stream, make_caps (stream, input));
      break;
    case 17:
      if (linked) {
        catch_up (stream);
        send_gap (stream, input);
      }
      break;
    case 18:
      set_segment (stream, input);
      break;
    case 19:
      flush_both (run);
      break;
    case 20:
      flush_one (stream, input);
      break;
    case 21:
      if (one_in (input, 2)) {
        queue (stream, gst_event_new_eos ());
        stream->eos = TRUE;
      }
      break;
    case 22:
    case 23:
      set_random_property (run, input);
      break;
    case 24:
      change_state (run, input);
      break;
    case 25:
      query_upstream_way (run, input);
      break;
    case 26:
      query_downstream_way (stream, input);
      break;
    case 27:
      seek (run, input);
      break;
    case 28:
      send_qos (run, input);
      break;
    case 29:
      disturb_downstream (run, input);
      break;
    case 30:
      if (one_in (input, 2))
        relink (&run->mask);
      else
        send_event (stream, input);
      break;
    case 31:
      advance_clock (run, input);
      break;
    default:
      if (linked) {
        catch_up (stream);
        send_buffer (stream, make_buffer (stream, op % 32 ? FLAT : BOUNDARY));
      }
      break;
  }
  answer_seeks (run);
}

/* A run */

static void
stream_init (Stream * stream, Run * run, const char *pad_name,
    const char *caps)
{
  const FeederHooks hooks = { before_push, after_push };

  stream->run = run;
  stream->pad_name = pad_name;
  stream->harness = gst_harness_new_with_element (run->element, pad_name,
      stream == &run->video ? "src" : NULL);
  gst_harness_set_live (stream->harness, run->live);
  gst_harness_set_drop_buffers (stream->harness, TRUE);
  gst_segment_init (&stream->segment, GST_FORMAT_TIME);
  set_caps (stream, gst_caps_from_string (caps));
  stream->send_segment = TRUE;
  feeder_init (&stream->feeder, stream->harness, &hooks, stream);
}

static void
stream_clear (Stream * stream)
{
  gst_harness_teardown (stream->harness);
  gst_caps_unref (stream->caps);
}

// Neither a failure nor a neighbour stands in the way of the stream's end.
static gboolean
can_end (Run * run)
{
  GstState state;

  gst_element_get_state (run->element, &state, NULL, 0);
  return state == GST_STATE_PLAYING && !g_atomic_int_get (&run->errors)
      && !g_atomic_int_get (&run->refused_downstream)
      && g_atomic_int_get (&run->downstream_flow) == GST_FLOW_OK;
}

static void
expect_end (Run * run)
{
  gint64 end = g_get_monotonic_time () + EOS_SECONDS * G_TIME_SPAN_SECOND;
  Input none = { NULL, 0 };
  gboolean seen;

  unblock_downstream (run);
  flush_both (run);
  g_mutex_lock (&run->lock);
  run->eos_seen = FALSE;
  g_mutex_unlock (&run->lock);
  if (!can_end (run))
    return;

  if (gst_pad_is_linked (run->mask.harness->srcpad)) {
    catch_up (&run->mask);
    send_buffer (&run->mask, make_buffer (&run->mask, BOUNDARY));
    queue (&run->mask, gst_event_new_eos ());
  }
  catch_up (&run->video);
  for (guint i = 0; i < 3; i++)
    send_buffer (&run->video, make_buffer (&run->video, BOUNDARY));
  queue (&run->video, gst_event_new_eos ());
  do {
    advance_clock (run, &none);
    g_mutex_lock (&run->lock);
    seen = run->eos_seen || g_cond_wait_until (&run->changed, &run->lock,
        g_get_monotonic_time () + G_TIME_SPAN_MILLISECOND);
    seen = run->eos_seen;
    g_mutex_unlock (&run->lock);
    ENSURE (seen || g_get_monotonic_time () < end, "no EOS");
  } while (!seen && can_end (run));
}

static void
element_is_gone (gpointer data, GObject * where)
{
  Run *run = data;

  run->element_alive = FALSE;
}

int
LLVMFuzzerTestOneInput (const uint8_t * data, size_t size)
{
  Input input = { data, size };
  Run run = { 0 };
  guint mode = take (&input);
  GstPad *pad;

  run.live = mode & 1;
  g_mutex_init (&run.lock);
  g_cond_init (&run.changed);
  run.frames = g_array_new (FALSE, FALSE, sizeof (Frame));
  run.element = gst_element_factory_make ("cascadepsprefine", NULL);
  run.element_alive = TRUE;
  g_object_weak_ref (G_OBJECT (run.element), element_is_gone, &run);
  g_object_set (run.element, "crop-size", 96, "threads", 1, NULL);
  run.bus = gst_bus_new ();
  gst_bus_set_sync_handler (run.bus, watch_bus, &run, NULL);
  gst_element_set_bus (run.element, run.bus);
  pad = gst_element_get_static_pad (run.element, "src");
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER
      | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM | GST_PAD_PROBE_TYPE_EVENT_FLUSH,
      watch_output, &run, NULL);
  gst_object_unref (pad);

  stream_init (&run.video, &run, "sink",
      "video/x-raw,format=RGB,width=16,height=12,framerate=25/1");
  stream_init (&run.mask, &run, "mask",
      "video/x-raw,format=GRAY8,width=16,height=12,framerate=25/1");
  run.clock = gst_harness_get_testclock (run.video.harness);

  while (input.left > 0)
    step (&run, &input);
  if (mode & 2)
    expect_end (&run);

  unblock_downstream (&run);
  gst_element_set_state (run.element, GST_STATE_NULL);
  feeder_clear (&run.video.feeder);
  feeder_clear (&run.mask.feeder);
  stream_clear (&run.mask);
  stream_clear (&run.video);
  gst_object_unref (run.clock);
  gst_bus_set_sync_handler (run.bus, NULL, NULL, NULL);
  gst_element_set_bus (run.element, NULL);
  gst_object_unref (run.bus);
  gst_object_unref (run.element);
  ENSURE (!run.element_alive, "the element is left behind");
  ENSURE (g_atomic_int_get (&run.buffers) == 0, "%d buffers are left behind",
      g_atomic_int_get (&run.buffers));
  g_array_unref (run.frames);
  g_mutex_clear (&run.lock);
  g_cond_clear (&run.changed);
  return 0;
}

static void
remove_model (void)
{
  g_unlink (model_path);
}

int
LLVMFuzzerInitialize (int *argc, char ***argv)
{
  g_log_set_default_handler (watch_log, NULL);
  gst_init (argc, argv);
  GST_ELEMENT_REGISTER (cascadepsprefine, NULL);

  model_path = tiny_model_write (1);
  atexit (remove_model);
  g_setenv ("CPSP_MODEL", model_path, TRUE);
  return 0;
}
