/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * SECTION:element-cascadepsprefine
 * @title: cascadepsprefine
 * @short_description: turns a coarse segmentation mask into a fine alpha mask
 *
 * Takes a video and a coarse mask of what is foreground in it, and emits for
 * every frame an alpha mask that follows the true boundaries: hair, fingers,
 * foliage. The method is CascadePSP (Cheng et al., CVPR 2020). The mask may
 * have any size; it is stretched over the frame. A mask value above
 * #GstCascadePspRefine:mask-threshold is foreground.
 *
 * ## The mask
 *
 * The pad `mask` is there on request. Without it, the coarse mask is the
 * video's own alpha; video without alpha is refused then. A mask pad may be
 * requested and released while the element plays; after its release frames have
 * no mask until there is another one.
 *
 * Frames and masks are paired by running time. A mask is in force over its
 * duration, or, if that is unknown, until the next one; so a slower mask is
 * held, and a single still image without a duration serves for ever. Of the
 * mask in force when a frame starts and one that starts within the frame, the
 * frame takes the one whose start is nearer to its own; with equal timestamps
 * that is always the mask made from this frame. A GAP on the mask pad ends the
 * mask in force. What happens to a frame without a mask, or when the mask
 * stream has ended, is up to #GstCascadePspRefine:missing-mask.
 *
 * ## Time
 *
 * In a live pipeline a frame waits for its mask for one frame duration beyond
 * the upstream latency, and then goes on as if none had come; then its
 * refinement may take #GstCascadePspRefine:processing-deadline. Both are the
 * latency that the element declares, whichever way a frame takes. What does
 * not fit is left out as #GstCascadePspRefine:overload says. A mask that takes
 * longer to make, and whose maker does not declare it, needs the inherited
 * property #GstAggregator:latency. In any other
 * pipeline a frame waits as long as it takes: the result does not depend on
 * timing, unless a sink that plays in real time sends QoS events
 * (#GstCascadePspRefine:qos).
 *
 * The video's end is the end. A GAP on the video pad leaves as one. (To
 * alphacombine that is an alpha without a frame: keep video gaps from it.)
 *
 * Local crops run within the regions of interest that the video's buffers carry
 * (#GstVideoRegionOfInterestMeta), if they do.
 *
 * ## Output
 *
 * Downstream's caps decide: an alpha mask by itself, GRAY8 or GRAY16_LE, which
 * is preferred, or the video with the refined alpha in a format that has one
 * (RGBA, A420, AYUV64...). It has the video's size, framerate, pixel aspect
 * ratio, timestamps, flags and metas. Samples that the format can hold are the
 * video's own; #GstCascadePspRefine:premultiplied multiplies them.
 * #GstCascadePspRefine:shift, #GstCascadePspRefine:feather,
 * #GstCascadePspRefine:black-point, #GstCascadePspRefine:white-point and
 * #GstCascadePspRefine:invert change the alpha before it leaves.
 *
 * In an alpha by itself 0 is background, the largest value foreground; the
 * caps say so with colorimetry `1:4:0:0` (full range) unless downstream names
 * another one. alphacombine needs that: it takes alpha of full range, but wants
 * its caps to name the range of the video beside it.
 * Interlaced video is refused: deinterlace it first.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 cascadepsprefine name=refine ! videoconvert ! autovideosink \
 *     videotestsrc pattern=ball ! tee name=t \
 *     t. ! queue ! refine.sink \
 *     t. ! queue ! videoconvert ! video/x-raw,format=GRAY8 ! refine.mask
 * ]| The bright parts of a picture are their own coarse mask. Each branch after
 * a tee needs a queue.
 * |[
 * gst-launch-1.0 cascadepsprefine name=refine ! pngenc \
 *     ! filesink location=alpha.png \
 *     filesrc location=photo.jpg ! jpegdec ! refine.sink \
 *     filesrc location=coarse.png ! pngdec ! videoconvert ! refine.mask
 * ]| Refines one picture.
 * |[
 * gst-launch-1.0 alphacombine name=key ! videoconvert ! autovideosink \
 *     videotestsrc pattern=ball ! video/x-raw,format=I420 ! tee name=t \
 *     t. ! queue ! key.sink \
 *     t. ! queue ! cascadepsprefine name=refine \
 *     ! video/x-raw,format=GRAY8,colorimetry=bt601 ! queue ! key.alpha \
 *     t. ! queue ! videoconvert ! video/x-raw,format=GRAY8 ! refine.mask
 * ]| The video with its refined alpha. `colorimetry=bt601` stands for the
 * video's range, here and for nearly all video 16 to 235.
 *
 * Since: 0.1
 */

/*
 * Threads: the source pad's task calls everything that works on frames and
 * owns every field below "streaming". Properties may be read and set by any
 * thread: they live under the object lock and are copied when a frame is due.
 * Nothing is posted, pushed, queried or refined with that lock held.
 *
 * The mask pad comes and goes in any thread; the streaming thread keeps a
 * reference to the one that it knows. `picking` keeps a release out while masks
 * are taken off the pad. It may be taken twice: a mask let go there may lead
 * into the application, which may release the pad.
 *
 * The frame in hand stays at the head of its pad's queue until its mask is
 * known. What follows it there (caps, segments) cannot overtake it.
 */
#include "gstcascadepsprefine.h"

#include <gst/video/video.h>

#include "allocation.h"
#include "deadline.h"
#include "frameview.h"
#include "gap.h"
#include "loader.h"
#include "output.h"
#include "pairing.h"
#include "policy.h"
#include "preparer.h"
#include "preview.h"
#include "report.h"

// Visible to pairing.c.
GST_DEBUG_CATEGORY (gst_cascade_psp_refine_debug);
#define GST_CAT_DEFAULT gst_cascade_psp_refine_debug

// Latency when the caps do not tell the frame duration.
#define UNKNOWN_FRAME_DURATION (40 * GST_MSECOND)

#define FRAME_SIZE "(int) [ 1, " G_STRINGIFY (CPSP_FRAME_SIZE_MAX) " ]"
#define CAPS(formats) \
  "video/x-raw, " \
  "format = (string) " formats ", " \
  "width = " FRAME_SIZE ", height = " FRAME_SIZE ", " \
  "framerate = " GST_VIDEO_FPS_RANGE ", " \
  "interlace-mode = (string) progressive"

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink",
    GST_PAD_SINK, GST_PAD_ALWAYS,
    GST_STATIC_CAPS (CAPS (GST_VIDEO_FORMATS_ALL)));

static GstStaticPadTemplate mask_template = GST_STATIC_PAD_TEMPLATE ("mask",
    GST_PAD_SINK, GST_PAD_REQUEST,
    GST_STATIC_CAPS (CAPS ("{ GRAY8, GRAY16_LE }")));

static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src",
    GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS (CAPS (GST_CASCADE_PSP_OUTPUT_FORMATS)));

#define DEFAULT_MODEL_LOCATION NULL


enum
{
  PROP_MODEL_LOCATION = GST_CASCADE_PSP_N_PROPS,
  PROP_STATS,
};

struct _GstCascadePspRefine
{
  GstAggregator parent;

  GstAggregatorPad *video_pad;  // owned by the element, as all its pads
  GRecMutex picking;            // taken before the base class takes its own

  // Object lock.
  GstAggregatorPad *mask_pad;   // NULL: not requested
  char *model_location;         // as set
  GstCascadePspPolicy policy;
  gboolean started;
  gboolean told_of_fields;      // that interlaced video was refused
  GstClockTime frame_duration;  // by the caps
  GstCascadePspLoad load;       // what a new model is loaded for; no location
  GstClockTime earliest;        // by downstream's QoS events
  gboolean flushed;             // what came before is to be forgotten
  GstCascadePspReport report;

  GstCascadePspLoader loader;   // has its own lock

  // Streaming; start and stop.
  CpspRefiner *refiner;         // the preparer's unless that is idle
  GstCascadePspPreparer preparer;
  GstVideoInfo video_info;
  GstCascadePspFrameView view;
  GstCascadePspMaskTrack masks;
  gboolean had_masks;           // there was a mask pad since start
  GstCascadePspOutput output;   // format UNKNOWN: not negotiated
  gboolean agreed;              // on caps, when it was last tried
  // Of the alpha in `output`:
  gboolean refined;             // it may be repeated
  GstClockTime alpha_start;     // its frame's running time
  gboolean unfinished;          // the refiner has a frame to go on with:
  GstClockTime unfinished_start;        // its running time
  GstClockTimeDiff unfinished_mask_age;
  GstCascadePspPace pace;
  GstClockTime cost;            // of a refinement; 0: not known
  GstClockTime reserve;         // what all else takes
};

G_DEFINE_TYPE_WITH_CODE (GstCascadePspRefine, gst_cascade_psp_refine,
    GST_TYPE_AGGREGATOR,
    GST_DEBUG_CATEGORY_INIT (gst_cascade_psp_refine_debug, "cascadepsprefine",
        0, "CascadePSP mask refinement"));
GST_ELEMENT_REGISTER_DEFINE (cascadepsprefine, "cascadepsprefine",
    GST_RANK_NONE, GST_TYPE_CASCADE_PSP_REFINE);

// Turns an engine's error into one message on the bus.
#define POST_ENGINE_MESSAGE(self, type, error, doing) \
  post_engine_message (self, type, error, doing, __FILE__, GST_FUNCTION, \
      __LINE__)

static void
post_engine_message (GstCascadePspRefine * self, GstMessageType type,
    const GError * error, const char *doing, const char *file,
    const char *function, gint line)
{
  GQuark domain = GST_RESOURCE_ERROR;
  gint code = GST_RESOURCE_ERROR_FAILED;

  switch ((CpspError) error->code) {
    case CPSP_ERROR_NOT_FOUND:
      code = GST_RESOURCE_ERROR_NOT_FOUND;
      break;
    case CPSP_ERROR_OPEN:
      code = GST_RESOURCE_ERROR_OPEN_READ;
      break;
    case CPSP_ERROR_FORMAT:
      domain = GST_STREAM_ERROR;
      code = GST_STREAM_ERROR_FORMAT;
      break;
    case CPSP_ERROR_NO_MEMORY:
      code = GST_RESOURCE_ERROR_NO_SPACE_LEFT;
      break;
    case CPSP_ERROR_DEVICE:
    case CPSP_ERROR_SELF_TEST:
      domain = GST_LIBRARY_ERROR;
      code = GST_LIBRARY_ERROR_FAILED;
      break;
    case CPSP_ERROR_ARGUMENT:
      domain = GST_LIBRARY_ERROR;
      code = GST_LIBRARY_ERROR_SETTINGS;
      break;
  }
  gst_element_message_full (GST_ELEMENT (self), type, domain, code,
      g_strdup (error->message), g_strdup_printf ("While %s.", doing), file,
      function, line);
}

/* Start and stop */

static void
forget_output (GstCascadePspRefine * self)
{
  gst_cascade_psp_output_clear (&self->output);
  self->refined = self->unfinished = FALSE;
}

// CPSP_MODEL is for builds that are not installed.
static char *
find_model (const char *location)
{
  if (!location)
    location = g_getenv ("CPSP_MODEL");
  return g_strdup (location ? location : CPSP_DEFAULT_MODEL);
}

// What `stats` says of the refiner, whose model is at LOCATION.
static void
describe_refiner (GstCascadePspRefine * self, const char *location)
{
  const GError *passed_over;

  GST_OBJECT_LOCK (self);
  g_free (self->report.model);
  self->report.model = g_strdup (location);
  g_free (self->report.device);
  self->report.device = g_strdup (cpsp_refiner_get_device_name (self->refiner));
  self->report.precision =
      cpsp_type_name (cpsp_refiner_get_type (self->refiner));
  self->report.memory_bytes = cpsp_refiner_get_memory (self->refiner);
  GST_OBJECT_UNLOCK (self);
  GST_INFO_OBJECT (self, "%s in %s on %s", location, self->report.precision,
      self->report.device);
  // What is not here is no fault; what is, and computes wrong, may be one.
  passed_over = cpsp_refiner_get_passed_over (self->refiner);
  if (passed_over)
    GST_CAT_LEVEL_LOG (GST_CAT_DEFAULT,
        passed_over->code == CPSP_ERROR_SELF_TEST ? GST_LEVEL_WARNING :
        GST_LEVEL_INFO, self, "not used: %s", passed_over->message);
}

static gboolean
gst_cascade_psp_refine_start (GstAggregator * aggregator)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);
  GstCascadePspLoad load;
  g_autoptr (GError) error = NULL;

  gst_cascade_psp_loader_cancel (&self->loader);
  GST_OBJECT_LOCK (self);
  self->started = cpsp_settings_check (&self->policy.settings, &error);
  self->load.params = self->policy.params;
  load = self->load;
  load.location = find_model (self->model_location);
  GST_OBJECT_UNLOCK (self);

  if (!error)
    self->refiner = gst_cascade_psp_load (&load, &error);
  if (error) {
    POST_ENGINE_MESSAGE (self, GST_MESSAGE_ERROR, error, "starting");
    GST_OBJECT_LOCK (self);
    self->started = FALSE;
    GST_OBJECT_UNLOCK (self);
  } else {
    describe_refiner (self, load.location);
  }
  g_free (load.location);
  return self->refiner != NULL;
}

static gboolean
gst_cascade_psp_refine_stop (GstAggregator * aggregator)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);

  GST_OBJECT_LOCK (self);
  self->started = FALSE;
  self->told_of_fields = FALSE;
  memset (&self->load, 0, sizeof (self->load));
  self->earliest = GST_CLOCK_TIME_NONE;
  self->flushed = FALSE;
  gst_cascade_psp_report_clear (&self->report);
  GST_OBJECT_UNLOCK (self);

  gst_cascade_psp_mask_track_clear (&self->masks);
  gst_cascade_psp_mask_track_set_pad (&self->masks, NULL);
  self->had_masks = FALSE;
  gst_cascade_psp_frame_view_clear (&self->view);
  gst_video_info_init (&self->video_info);
  forget_output (self);
  gst_cascade_psp_pace_init (&self->pace);
  self->cost = self->reserve = 0;
  gst_cascade_psp_loader_cancel (&self->loader);
  gst_cascade_psp_preparer_wait (&self->preparer, GST_CASCADE_PSP_FOR_EVER,
      NULL);
  g_clear_pointer (&self->refiner, cpsp_refiner_free);
  return TRUE;
}

static GstFlowReturn
gst_cascade_psp_refine_flush (GstAggregator * aggregator)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);

  // In upstream's thread. The source pad's task stands still, but for a base
  // class that was stopped between the two events of an earlier flush: it
  // still thinks that it flushes, and lets the task run on.
  GST_OBJECT_LOCK (self);
  self->earliest = GST_CLOCK_TIME_NONE;
  self->flushed = TRUE;
  GST_OBJECT_UNLOCK (self);
  return GST_FLOW_OK;
}

// In the streaming thread, the rest of a flush.
static void
forget_flushed (GstCascadePspRefine * self)
{
  gboolean flushed;

  GST_OBJECT_LOCK (self);
  flushed = self->flushed;
  self->flushed = FALSE;
  GST_OBJECT_UNLOCK (self);
  if (!flushed)
    return;
  gst_cascade_psp_mask_track_clear (&self->masks);
  gst_cascade_psp_pace_init (&self->pace);
  self->refined = self->unfinished = FALSE;
}

/* A new model while playing */

// In the loader's thread: the old model stays.
static void
refuse_model (gpointer user_data, const char *location, const GError * error)
{
  GstCascadePspRefine *self = user_data;

  g_autofree char *wanted = NULL;

  GST_OBJECT_LOCK (self);
  wanted = find_model (self->model_location);
  // Unless another one was set meanwhile
  if (g_str_equal (wanted, location)) {
    g_free (self->model_location);
    self->model_location = g_strdup (self->report.model);
  }
  GST_OBJECT_UNLOCK (self);
  POST_ENGINE_MESSAGE (self, GST_MESSAGE_WARNING, error,
      "loading a new model; the old one stays");
}

static void
request_model (GstCascadePspRefine * self)
{
  GstCascadePspLoad load;
  gboolean started;

  GST_OBJECT_LOCK (self);
  started = self->started;
  load = self->load;
  load.settings = self->policy.settings;
  load.location = find_model (self->model_location);
  GST_OBJECT_UNLOCK (self);

  if (started)
    gst_cascade_psp_loader_request (&self->loader, &load);
  else
    g_free (load.location);
}

// Streaming, between two frames.
static void
adopt_model (GstCascadePspRefine * self)
{
  g_autofree char *location = NULL;
  CpspRefiner *refiner =
      gst_cascade_psp_loader_take (&self->loader, &location);

  if (!refiner)
    return;
  cpsp_refiner_free (self->refiner);
  self->refiner = refiner;
  self->unfinished = FALSE;
  self->cost = 0;
  describe_refiner (self, location);
}

/* The mask pad: requested and released by any thread at any time */

static GstAggregatorPad *
make_sink_pad (GstPadTemplate * template)
{
  GstPad *pad = g_object_new (GST_TYPE_AGGREGATOR_PAD,
      "name", GST_PAD_TEMPLATE_NAME_TEMPLATE (template),
      "direction", GST_PAD_SINK, "template", template, NULL);

  // Caps may leave out what the template says of interlacing.
  GST_PAD_SET_ACCEPT_INTERSECT (pad);
  return GST_AGGREGATOR_PAD (pad);
}

static GstAggregatorPad *
gst_cascade_psp_refine_create_new_pad (GstAggregator * aggregator,
    GstPadTemplate * template, const char *name, const GstCaps * caps)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);
  GstAggregatorPad *pad = NULL;

  GST_OBJECT_LOCK (self);
  if (!self->mask_pad)
    pad = self->mask_pad = make_sink_pad (template);
  GST_OBJECT_UNLOCK (self);
  if (!pad)
    GST_WARNING_OBJECT (self, "there is one mask pad already");
  return pad;
}

static void
gst_cascade_psp_refine_release_pad (GstElement * element, GstPad * pad)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (element);

  GST_OBJECT_LOCK (self);
  if (GST_PAD (self->mask_pad) == pad)
    self->mask_pad = NULL;
  GST_OBJECT_UNLOCK (self);
  // The base class drops the buffer that was peeked at without the pad's lock:
  // while one is popped, that takes away the reference that is handed over.
  g_rec_mutex_lock (&self->picking);
  GST_ELEMENT_CLASS (gst_cascade_psp_refine_parent_class)->release_pad (element,
      pad);
  g_rec_mutex_unlock (&self->picking);
}

// (transfer full) (nullable)
static GstAggregatorPad *
get_mask_pad (GstCascadePspRefine * self)
{
  GstAggregatorPad *pad;

  GST_OBJECT_LOCK (self);
  pad = self->mask_pad ? gst_object_ref (self->mask_pad) : NULL;
  GST_OBJECT_UNLOCK (self);
  return pad;
}

// Streaming: takes notice of a mask pad that came or went.
static void
adopt_mask_pad (GstCascadePspRefine * self)
{
  g_autoptr (GstAggregatorPad) pad = get_mask_pad (self);

  gst_cascade_psp_mask_track_set_pad (&self->masks, pad);
  self->had_masks |= pad != NULL;
}

/* Caps and allocation */

// With the object lock held. How long a frame waits for its mask.
static GstClockTime
get_window (GstCascadePspRefine * self)
{
  return GST_CLOCK_TIME_IS_VALID (self->frame_duration) ?
      self->frame_duration : UNKNOWN_FRAME_DURATION;
}

// With the object lock held. How long a frame's refinement may take.
static GstClockTime
get_deadline (GstCascadePspRefine * self)
{
  return GST_CLOCK_TIME_IS_VALID (self->policy.processing_deadline) ?
      self->policy.processing_deadline : get_window (self);
}

// The window is the base class's to wait for; the deadline is added to what
// it declares.
static void
declare_latency (GstCascadePspRefine * self)
{
  GstClockTime window, latency;
  gboolean changed;

  GST_OBJECT_LOCK (self);
  window = get_window (self);
  latency = window + get_deadline (self);
  changed = self->report.latency != latency;
  self->report.latency = latency;
  GST_OBJECT_UNLOCK (self);

  gst_aggregator_set_latency (GST_AGGREGATOR (self), window, window);
  if (changed)
    gst_element_post_message (GST_ELEMENT (self),
        gst_message_new_latency (GST_OBJECT (self)));
}

static gboolean
gst_cascade_psp_refine_set_video_caps (GstCascadePspRefine * self,
    GstCaps * caps)
{
  GstVideoInfo *info = &self->video_info;
  GstClockTime duration = GST_CLOCK_TIME_NONE;
  g_autoptr (GstAggregatorPad) mask_pad = get_mask_pad (self);

  // Once per start: the caps are the first.
  if (GST_VIDEO_INFO_FORMAT (info) == GST_VIDEO_FORMAT_UNKNOWN
      && mask_pad && !gst_pad_is_linked (GST_PAD (mask_pad)))
    GST_ELEMENT_WARNING (self, CORE, PAD, ("Pad mask is not linked."),
        ("Frames wait for masks, for ever if the pipeline is not live. Without "
            "a mask pad the mask is the video's own alpha."));

  forget_output (self);
  if (!gst_video_info_from_caps (info, caps)
      || !gst_cascade_psp_frame_view_set_info (&self->view, info)) {
    gst_video_info_init (info);
    return FALSE;
  }
  gst_pad_mark_reconfigure (GST_AGGREGATOR_SRC_PAD (self));

  if (GST_VIDEO_INFO_FPS_N (info) > 0)
    duration = gst_util_uint64_scale_int_ceil (GST_SECOND,
        GST_VIDEO_INFO_FPS_D (info), GST_VIDEO_INFO_FPS_N (info));
  GST_OBJECT_LOCK (self);
  self->frame_duration = duration;
  self->load.width = GST_VIDEO_INFO_WIDTH (info);
  self->load.height = GST_VIDEO_INFO_HEIGHT (info);
  GST_OBJECT_UNLOCK (self);
  declare_latency (self);
  return TRUE;
}

static gboolean
gst_cascade_psp_refine_set_caps (GstCascadePspRefine * self,
    GstAggregatorPad * pad, GstCaps * caps)
{
  gboolean ok;

  GST_DEBUG_OBJECT (pad, "%" GST_PTR_FORMAT, caps);

  if (pad == self->video_pad) {
    ok = gst_cascade_psp_refine_set_video_caps (self, caps);
  } else {
    adopt_mask_pad (self);
    ok = gst_video_info_from_caps (&self->masks.info, caps);
    if (!ok)
      gst_video_info_init (&self->masks.info);
  }

  if (!ok)
    GST_ELEMENT_ERROR (self, CORE, NEGOTIATION,
        ("Cannot read this format on pad %s.", GST_PAD_NAME (pad)),
        ("%" GST_PTR_FORMAT, caps));
  return ok;
}

// EVENT begins or ends a stream. The video's end is the end: it does not wait
// for masks.
static gboolean
gst_cascade_psp_refine_mark_end (GstCascadePspRefine * self,
    GstAggregatorPad * pad, GstEvent * event)
{
  GstAggregatorClass *parent_class =
      GST_AGGREGATOR_CLASS (gst_cascade_psp_refine_parent_class);
  g_autoptr (GstAggregatorPad) mask_pad = get_mask_pad (self);
  gboolean ok = parent_class->sink_event (GST_AGGREGATOR (self), pad, event);

  if (mask_pad && gst_aggregator_pad_is_eos (self->video_pad))
    parent_class->sink_event (GST_AGGREGATOR (self), mask_pad,
        gst_event_new_eos ());
  return ok;
}

static gboolean
gst_cascade_psp_refine_sink_event (GstAggregator * aggregator,
    GstAggregatorPad * pad, GstEvent * event)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);

  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_CAPS:{
      GstCaps *caps;
      gboolean ok;

      gst_event_parse_caps (event, &caps);
      ok = gst_cascade_psp_refine_set_caps (self, pad, caps);
      gst_event_unref (event);
      return ok;
    }
    case GST_EVENT_SEGMENT:
      if (pad == self->video_pad) {
        const GstSegment *segment;

        gst_event_parse_segment (event, &segment);
        if (segment->format == GST_FORMAT_TIME)
          gst_aggregator_update_segment (aggregator, segment);
      }
      break;
    case GST_EVENT_EOS:
    case GST_EVENT_STREAM_START:
      return gst_cascade_psp_refine_mark_end (self, pad, event);
    case GST_EVENT_GAP:
      // The base class takes for granted that gaps can be timed.
      if (pad->segment.format != GST_FORMAT_TIME) {
        gst_event_unref (event);
        return TRUE;
      }
      break;
    case GST_EVENT_TOC:
    case GST_EVENT_CUSTOM_DOWNSTREAM:
      // Behind a tee they come on both pads.
      if (pad != self->video_pad) {
        gst_event_unref (event);
        return TRUE;
      }
      break;
    default:
      break;
  }
  return GST_AGGREGATOR_CLASS (gst_cascade_psp_refine_parent_class)->sink_event
      (aggregator, pad, event);
}

// The two fields of a frame show different moments: one alpha cannot serve
// both. Upstream would only say that it could not negotiate.
static void
refuse_fields (GstCascadePspRefine * self, GstCaps * caps)
{
  const GstStructure *structure = gst_caps_get_structure (caps, 0);
  const char *mode = gst_structure_get_string (structure, "interlace-mode");
  gboolean told;

  if (!mode || g_str_equal (mode, "progressive"))
    return;

  GST_OBJECT_LOCK (self);
  told = self->told_of_fields;
  self->told_of_fields = TRUE;
  GST_OBJECT_UNLOCK (self);
  if (!told)
    GST_ELEMENT_WARNING (self, STREAM, FORMAT,
        ("Interlaced video cannot be refined. Deinterlace it first."),
        ("%" GST_PTR_FORMAT, caps));
}

static gboolean
gst_cascade_psp_refine_sink_query (GstAggregator * aggregator,
    GstAggregatorPad * pad, GstQuery * query)
{
  // What came before is done with, and what leaves is no memory of upstream's:
  // downstream need not be asked.
  if (GST_QUERY_TYPE (query) == GST_QUERY_DRAIN)
    return TRUE;
  if (GST_QUERY_TYPE (query) == GST_QUERY_ACCEPT_CAPS) {
    GstCaps *caps;

    gst_query_parse_accept_caps (query, &caps);
    refuse_fields (GST_CASCADE_PSP_REFINE (aggregator), caps);
  }
  return GST_AGGREGATOR_CLASS (gst_cascade_psp_refine_parent_class)
      ->sink_query (aggregator, pad, query);
}

// In upstream's thread. A serialised query waits in the pad's queue else, where
// GStreamer 1.22 keeps no reference on it: a flush lets upstream free it while
// it is worked on. Those that can be answered at once therefore are, and DRAIN
// is not looked into.
static gboolean
gst_cascade_psp_refine_sink_query_pre_queue (GstAggregator * aggregator,
    GstAggregatorPad * pad, GstQuery * query)
{
  if (GST_QUERY_TYPE (query) == GST_QUERY_ALLOCATION) {
    gst_query_add_allocation_meta (query, GST_VIDEO_META_API_TYPE, NULL);
    return TRUE;
  }
  return GST_AGGREGATOR_CLASS (gst_cascade_psp_refine_parent_class)
      ->sink_query_pre_queue (aggregator, pad, query);
}

static gboolean
gst_cascade_psp_refine_src_query (GstAggregator * aggregator, GstQuery * query)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);

  switch (GST_QUERY_TYPE (query)) {
    case GST_QUERY_POSITION:
    case GST_QUERY_DURATION:
    case GST_QUERY_SEEKING:
      // They are the video's.
      return gst_pad_peer_query (GST_PAD (self->video_pad), query);
    case GST_QUERY_LATENCY:{
      GstClockTime min, max, deadline;
      gboolean live;

      if (!GST_AGGREGATOR_CLASS (gst_cascade_psp_refine_parent_class)->src_query
          (aggregator, query))
        return FALSE;
      gst_query_parse_latency (query, &live, &min, &max);
      GST_OBJECT_LOCK (self);
      deadline = get_deadline (self);
      GST_OBJECT_UNLOCK (self);
      gst_query_set_latency (query, live, min + deadline,
          GST_CLOCK_TIME_IS_VALID (max) ? max + deadline : max);
      return TRUE;
    }
    default:
      return GST_AGGREGATOR_CLASS (gst_cascade_psp_refine_parent_class)
          ->src_query (aggregator, query);
  }
}

static gboolean
gst_cascade_psp_refine_src_event (GstAggregator * aggregator, GstEvent * event)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);

  if (GST_EVENT_TYPE (event) == GST_EVENT_SEEK) {
    GstFormat format;

    // The base class takes for granted that it is TIME.
    gst_event_parse_seek (event, NULL, &format, NULL, NULL, NULL, NULL, NULL);
    if (format != GST_FORMAT_TIME) {
      gst_event_unref (event);
      return FALSE;
    }
  }
  if (GST_EVENT_TYPE (event) == GST_EVENT_QOS) {
    gboolean live =
        GST_CLOCK_TIME_IS_VALID (gst_aggregator_get_latency (aggregator));
    GstClockTimeDiff diff;
    GstClockTime timestamp;

    gst_event_parse_qos (event, NULL, NULL, &diff, &timestamp);
    GST_OBJECT_LOCK (self);
    self->earliest = gst_cascade_psp_get_earliest (timestamp, diff,
        self->frame_duration, live);
    GST_OBJECT_UNLOCK (self);
  }
  return GST_AGGREGATOR_CLASS (gst_cascade_psp_refine_parent_class)->src_event
      (aggregator, event);
}

// The caps of an alpha alone tell what its values are, full range, unless
// downstream names something else: alphacombine wants the range of the video
// beside it, and takes the values for full range all the same.
static void
settle_colorimetry (GstStructure * caps)
{
  const GstVideoFormatInfo *format = gst_video_format_get_info
      (gst_video_format_from_string (gst_structure_get_string (caps,
              "format")));

  if (!GST_VIDEO_FORMAT_INFO_IS_GRAY (format))
    return;
  if (gst_structure_has_field (caps, "colorimetry"))
    gst_structure_fixate_field_string (caps, "colorimetry",
        GST_CASCADE_PSP_ALPHA_COLORIMETRY);
  else
    gst_structure_set (caps, "colorimetry", G_TYPE_STRING,
        GST_CASCADE_PSP_ALPHA_COLORIMETRY, NULL);
}

static GstFlowReturn
gst_cascade_psp_refine_update_src_caps (GstAggregator * aggregator,
    GstCaps * downstream, GstCaps ** caps)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);
  g_autoptr (GstCaps) ours = NULL;

  if (GST_VIDEO_INFO_FORMAT (&self->video_info) == GST_VIDEO_FORMAT_UNKNOWN)
    return GST_AGGREGATOR_FLOW_NEED_DATA;

  // Ours come first: the preferred format if there is a choice.
  ours = gst_cascade_psp_output_get_caps (&self->video_info);
  *caps = gst_caps_truncate (gst_caps_intersect_full (ours, downstream,
          GST_CAPS_INTERSECT_FIRST));
  if (!gst_caps_is_empty (*caps))
    settle_colorimetry (gst_caps_get_structure (*caps, 0));
  return GST_FLOW_OK;
}

static gboolean
gst_cascade_psp_refine_negotiated_src_caps (GstAggregator * aggregator,
    GstCaps * caps)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);
  gboolean premultiplied;
  GstVideoInfo info;
  guint threads;

  GST_INFO_OBJECT (self, "output: %" GST_PTR_FORMAT, caps);
  self->agreed = TRUE;
  if (!gst_video_info_from_caps (&info, caps))
    return FALSE;
  GST_OBJECT_LOCK (self);
  premultiplied = self->policy.premultiplied;
  threads = self->policy.params.threads;
  GST_OBJECT_UNLOCK (self);

  self->refined = FALSE;
  if (gst_cascade_psp_output_set_info (&self->output, &self->video_info, &info,
          premultiplied, threads))
    return TRUE;
  GST_ELEMENT_ERROR (self, RESOURCE, NO_SPACE_LEFT,
      ("Cannot prepare the output."), ("%" GST_PTR_FORMAT, caps));
  return FALSE;
}

static gboolean
gst_cascade_psp_refine_negotiate (GstAggregator * aggregator)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);
  GstPad *pad = GST_AGGREGATOR_SRC_PAD (aggregator);

  forget_output (self);
  self->agreed = FALSE;
  if (GST_AGGREGATOR_CLASS (gst_cascade_psp_refine_parent_class)->negotiate
      (aggregator))
    return TRUE;

  // With the caps agreed, it is memory that failed, and that has been said.
  if (!self->agreed && !GST_PAD_IS_FLUSHING (pad)) {
    g_autoptr (GstCaps) caps = gst_pad_peer_query_caps (pad, NULL);

    GST_ELEMENT_ERROR (self, CORE, NEGOTIATION,
        ("Downstream takes neither an alpha mask like this video nor the "
            "video with alpha."),
        ("It takes %" GST_PTR_FORMAT, caps));
  }
  forget_output (self);
  return FALSE;
}

static gboolean
gst_cascade_psp_refine_decide_allocation (GstAggregator * aggregator,
    GstQuery * query)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);

  if (gst_cascade_psp_decide_pool (query, &self->output.info))
    return TRUE;
  GST_ELEMENT_ERROR (self, RESOURCE, SETTINGS,
      ("Cannot set up memory for the output."), ("%" GST_PTR_FORMAT, query));
  return FALSE;
}

/* Frames */

static GstFlowReturn
gst_cascade_psp_refine_acquire (GstCascadePspRefine * self, GstBuffer * video,
    GstBuffer ** output)
{
  g_autoptr (GstBufferPool) pool =
      gst_aggregator_get_buffer_pool (GST_AGGREGATOR (self));
  GstFlowReturn flow;

  if (!pool)
    return GST_FLOW_NOT_NEGOTIATED;
  if (!gst_buffer_pool_is_active (pool)
      && !gst_buffer_pool_set_active (pool, TRUE)) {
    GST_ELEMENT_ERROR (self, RESOURCE, NO_SPACE_LEFT,
        ("Cannot get memory for the output."),
        ("activating %" GST_PTR_FORMAT, pool));
    return GST_FLOW_ERROR;
  }
  flow = gst_buffer_pool_acquire_buffer (pool, output, NULL);
  if (flow == GST_FLOW_ERROR)
    GST_ELEMENT_ERROR (self, RESOURCE, NO_SPACE_LEFT,
        ("Cannot get memory for the output."),
        ("acquiring a buffer of %" GST_PTR_FORMAT, pool));
  if (flow == GST_FLOW_OK)
    gst_cascade_psp_copy_description (video, *output,
        !gst_cascade_psp_output_is_alpha (&self->output.info));
  return flow;
}

static gboolean
gst_cascade_psp_refine_fail_map (GstCascadePspRefine * self, GstBuffer * buffer)
{
  GST_ELEMENT_ERROR (self, RESOURCE, FAILED,
      ("Cannot access a frame's memory."), ("%" GST_PTR_FORMAT, buffer));
  return FALSE;
}

// A frame on its way through.
typedef struct
{
  GstBuffer *video;
  GstCascadePspSpan span;
  GstCascadePspPolicy policy;
  GstCascadePspDue due;
  GstClockTimeDiff left;        // for the refinement
  double budget_ms;             // of that; 0: as long as it takes
  double limit_ms;              // with a budget: it stops then
  gboolean resume;              // with the one that is unfinished
  gint64 engine_us;             // that the engine took of the frame's time
  GstCascadePspFrameReport report;
} Job;

// NONE: there is no clock.
static GstClockTime
get_running_time (GstCascadePspRefine * self)
{
  g_autoptr (GstClock) clock = gst_element_get_clock (GST_ELEMENT (self));
  GstClockTime now, base_time = gst_element_get_base_time (GST_ELEMENT (self));

  if (!clock)
    return GST_CLOCK_TIME_NONE;
  now = gst_clock_get_time (clock);
  return now > base_time ? now - base_time : 0;
}

static void
init_job (GstCascadePspRefine * self, Job * job, GstBuffer * video,
    const GstCascadePspSpan * span, gboolean missing)
{
  GstClockTime latency =
      gst_aggregator_get_latency (GST_AGGREGATOR (self));

  memset (job, 0, sizeof (*job));
  job->video = video;
  job->span = *span;
  job->report.missing = missing;
  job->report.running_time = span->start;
  job->report.stream_time = span->stream_time;
  job->report.timestamp = GST_BUFFER_PTS (video);
  job->report.duration = GST_BUFFER_DURATION (video);
  job->report.live = GST_CLOCK_TIME_IS_VALID (latency);

  if (GST_CLOCK_TIME_IS_VALID (span->stream_time))
    gst_object_sync_values (GST_OBJECT (self), span->stream_time);

  job->due.start = span->start;
  job->due.duration = GST_CLOCK_TIME_IS_VALID (span->end) ?
      span->end - span->start : GST_CLOCK_TIME_NONE;
  job->due.now = GST_CLOCK_TIME_NONE;
  job->due.latency = latency;
  job->due.reserve = self->reserve;
  GST_OBJECT_LOCK (self);
  job->policy = self->policy;
  job->due.deadline = get_deadline (self);
  job->due.earliest = self->policy.qos ? self->earliest : GST_CLOCK_TIME_NONE;
  GST_OBJECT_UNLOCK (self);
}

// What a refinement takes, the cheapest one if it may be degraded; 0: unknown.
static GstClockTime
get_cost (GstCascadePspRefine * self, const Job * job)
{
  if (job->policy.overload != GST_CASCADE_PSP_REFINE_OVERLOAD_DEGRADE)
    return self->cost;
  return (GstClockTime) (cpsp_refiner_get_cheapest_ms (self->refiner)
      * GST_MSECOND);
}

// What becomes of a frame that there is no time to refine.
static GstCascadePspFate
choose_without_refining (GstCascadePspRefine * self, const Job * job)
{
  if (job->policy.overload == GST_CASCADE_PSP_REFINE_OVERLOAD_DROP)
    return GST_CASCADE_PSP_DROPPED;
  if (self->refined
      && job->span.start - self->alpha_start <= job->policy.max_mask_age)
    return GST_CASCADE_PSP_REPEATED;
  return GST_CASCADE_PSP_COARSE;
}

// Counts anew what time JOB has.
static GstClockTimeDiff
get_left (GstCascadePspRefine * self, Job * job)
{
  if (job->report.live)
    job->due.now = get_running_time (self);
  job->left = gst_cascade_psp_due_get_left (&job->due);
  return job->left;
}

// Sees to it that the refiner knows frames like JOB's, which waits for that as
// long as it has time. FALSE: it is not done yet, or failed.
static gboolean
make_ready (GstCascadePspRefine * self, Job * job, gboolean budgeted,
    GError ** error)
{
  const GstCascadePspSize size = {
    .settings = job->policy.settings,
    .width = GST_VIDEO_INFO_WIDTH (&self->video_info),
    .height = GST_VIDEO_INFO_HEIGHT (&self->video_info),
    .budgeted = budgeted,
  };

  while (TRUE) {
    GError *failed = NULL;

    if (!gst_cascade_psp_preparer_wait (&self->preparer, get_left (self, job),
            &failed))
      return FALSE;
    if (failed) {
      g_propagate_error (error, failed);
      return FALSE;
    }
    adopt_model (self);
    if (cpsp_refiner_is_prepared (self->refiner, &size.settings, size.width,
            size.height, budgeted))
      return TRUE;
    GST_DEBUG_OBJECT (self, "preparing for %ux%u", size.width, size.height);
    self->unfinished = FALSE;
    gst_cascade_psp_preparer_begin (&self->preparer, self->refiner, &size);
  }
}

// FALSE: an error was posted.
static gboolean
choose_fate (GstCascadePspRefine * self, Job * job)
{
  g_autoptr (GError) error = NULL;
  gboolean divisible, ready;
  GstClockTime cost = 0;

  if (job->report.missing) {
    GST_DEBUG_OBJECT (self, "no mask for the frame at %" GST_TIME_FORMAT,
        GST_TIME_ARGS (job->span.start));
    switch (job->policy.missing_mask) {
      case GST_CASCADE_PSP_REFINE_MISSING_MASK_REPEAT:
        if (self->masks.buffer
            && gst_cascade_psp_mask_track_get_distance (&self->masks,
                &job->span) <= job->policy.max_mask_age)
          break;
        // fall through
      case GST_CASCADE_PSP_REFINE_MISSING_MASK_PASS:
        job->report.fate = GST_CASCADE_PSP_PASSED;
        return TRUE;
      case GST_CASCADE_PSP_REFINE_MISSING_MASK_DROP:
        job->report.fate = GST_CASCADE_PSP_DROPPED;
        return TRUE;
    }
  }

  if (job->policy.show == GST_CASCADE_PSP_REFINE_SHOW_COARSE) {
    job->report.fate = GST_CASCADE_PSP_COARSE;
    return TRUE;
  }

  divisible = get_left (self, job) != GST_CASCADE_PSP_FOR_EVER
      && job->policy.overload == GST_CASCADE_PSP_REFINE_OVERLOAD_DEGRADE;
  ready = make_ready (self, job, divisible, &error);
  if (error) {
    POST_ENGINE_MESSAGE (self, GST_MESSAGE_ERROR, error, "refining a frame");
    return FALSE;
  }
  get_left (self, job);
  if (ready)
    cost = get_cost (self, job);
  if (divisible) {
    job->budget_ms = MAX (gst_cascade_psp_due_get_budget (&job->due,
            job->left), 1) / (double) GST_MSECOND;
    job->limit_ms = MAX (gst_cascade_psp_due_get_limit (&job->due,
            job->left), 1) / (double) GST_MSECOND;
  }
  // What would be too old to show is given up.
  self->unfinished = self->unfinished && divisible
      && job->span.start - self->unfinished_start <= job->policy.max_mask_age;
  // Late frames catch up, unless it was begun because they are always late.
  job->resume = self->unfinished && (job->left > 0 || self->pace.attempt);
  if (ready && !job->resume && gst_cascade_psp_pace_allows (&self->pace,
          job->span.start, job->left, cost, divisible)) {
    job->report.fate = GST_CASCADE_PSP_REFINED;
    return TRUE;
  }
  GST_DEBUG_OBJECT (self, "no time for the frame at %" GST_TIME_FORMAT ": %"
      GST_STIME_FORMAT " left of %" GST_TIME_FORMAT "%s",
      GST_TIME_ARGS (job->span.start), GST_STIME_ARGS (job->left),
      GST_TIME_ARGS (cost), job->resume ? ", an earlier one goes on" : "");
  job->report.overloaded = TRUE;
  job->report.fate = choose_without_refining (self, job);
  return TRUE;
}

// Notes what the refinement of a frame that starts at START came to.
static void
note_refinement (GstCascadePspRefine * self, const Job * job,
    GstClockTime start)
{
  const CpspStats *stats = &job->report.stats;

  // A device that failed has been left for another.
  if (!g_str_equal (self->report.device,
          cpsp_refiner_get_device_name (self->refiner))) {
    g_autofree char *location = g_strdup (self->report.model);

    describe_refiner (self, location);
  }
  GST_LOG_OBJECT (self, "%u of %u crops, Global step at %u, %.1f of %.1f ms%s",
      stats->crops_run, stats->crops_planned, stats->global_size,
      stats->total_ms, job->budget_ms, stats->unfinished ? ", unfinished" : "");
  self->unfinished = stats->unfinished;
  if (stats->unfinished) {
    self->unfinished_start = start;
    self->unfinished_mask_age = job->report.mask_age;
  } else if (!job->resume || stats->global_size > 0) {
    // Else the frame was lost with its device.
    self->refined = TRUE;
    self->alpha_start = start;
  }
}

static gboolean
gst_cascade_psp_refine_run (GstCascadePspRefine * self, Job * job,
    const CpspImageView * image, const CpspMaskView * mask)
{
  const CpspSettings *settings = &job->policy.settings;
  CpspStats *stats = &job->report.stats;
  g_autoptr (GError) error = NULL;
  CpspRect regions[GST_CASCADE_PSP_MAX_REGIONS];
  CpspFrame frame = {
    .image = image,.mask = mask,.budget_ms = job->budget_ms,
    .limit_ms = job->limit_ms
  };
  gint64 began_us = g_get_monotonic_time ();
  GstClockTime cost;

  frame.n_regions = gst_cascade_psp_find_regions (job->video, regions);
  frame.regions = frame.n_regions > 0 ? regions : NULL;
  if (!cpsp_refiner_refine (self->refiner, settings, &frame,
          &self->output.alpha, stats, &error)) {
    POST_ENGINE_MESSAGE (self, GST_MESSAGE_ERROR, error, "refining a frame");
    return FALSE;
  }
  job->engine_us = g_get_monotonic_time () - began_us;
  note_refinement (self, job, job->span.start);
  if (stats->unfinished) {
    job->report.overloaded = TRUE;
    job->report.fate = choose_without_refining (self, job);
    return TRUE;
  }
  cost = (GstClockTime) (stats->total_ms * GST_MSECOND);
  self->cost = self->cost > 0 ? (self->cost + cost) / 2 : cost;
  gst_cascade_psp_pace_learn (&self->pace,
      GST_CLOCK_DIFF (cost, job->left) >= 0);
  job->report.quality = gst_cascade_psp_get_quality (settings,
      MAX (image->width, image->height), stats);
  job->report.overloaded = job->report.quality < 1;
  return TRUE;
}

// Uses a frame's time for an earlier one's refinement, which becomes its alpha
// if it comes to its end.
static gboolean
gst_cascade_psp_refine_resume (GstCascadePspRefine * self, Job * job)
{
  gint64 began_us = g_get_monotonic_time ();
  g_autoptr (GError) error = NULL;

  if (!cpsp_refiner_resume (self->refiner, job->limit_ms, &self->output.alpha,
          &job->report.stats, &error)) {
    POST_ENGINE_MESSAGE (self, GST_MESSAGE_ERROR, error, "refining a frame");
    return FALSE;
  }
  job->engine_us = g_get_monotonic_time () - began_us;
  job->report.mask_age = self->unfinished_mask_age;
  note_refinement (self, job, self->unfinished_start);
  job->report.fate = choose_without_refining (self, job);
  return TRUE;
}

static void
make_opaque (const CpspAlphaView * alpha)
{
  memset (alpha->data, 0xff, alpha->stride_bytes * alpha->height);
}

// Makes the frame's alpha of IMAGE and MASK.
static gboolean
draw_alpha (GstCascadePspRefine * self, Job * job, const CpspImageView * image,
    const CpspMaskView * mask)
{
  if (job->report.fate == GST_CASCADE_PSP_REFINED
      && !gst_cascade_psp_refine_run (self, job, image, mask))
    return FALSE;
  if (job->report.fate == GST_CASCADE_PSP_COARSE
      || job->report.fate == GST_CASCADE_PSP_PASSED) {
    self->refined = FALSE;
    gst_cascade_psp_mask_view_draw (mask, job->policy.settings.mask_threshold,
        &self->output.alpha);
  }
  return TRUE;
}

// Makes the frame's alpha, of the mask in hand or the video's own.
static gboolean
gst_cascade_psp_refine_make_alpha (GstCascadePspRefine * self, Job * job)
{
  const GstCascadePspMaskTrack *masks = &self->masks;
  gboolean passed = job->report.fate == GST_CASCADE_PSP_PASSED;
  GstVideoFrame mask_frame;
  CpspImageView image;
  CpspMaskView mask;
  gboolean ok;

  if (job->resume && !gst_cascade_psp_refine_resume (self, job))
    return FALSE;
  if (job->report.fate == GST_CASCADE_PSP_REPEATED)
    return TRUE;
  if (passed && !GST_VIDEO_INFO_HAS_ALPHA (&self->video_info)) {
    self->refined = FALSE;
    make_opaque (&self->output.alpha);
    return TRUE;
  }

  if (!gst_cascade_psp_frame_view_map (&self->view, job->video, &image, &mask))
    return gst_cascade_psp_refine_fail_map (self, job->video);
  if (passed || !self->had_masks) {
    ok = draw_alpha (self, job, &image, &mask);
  } else {
    ok = gst_cascade_psp_map_frame (&mask_frame, &masks->buffer_info,
        masks->buffer);
    if (ok) {
      gst_cascade_psp_mask_view_init (&mask, &mask_frame,
          GST_VIDEO_INFO_WIDTH (&masks->buffer_info),
          GST_VIDEO_INFO_HEIGHT (&masks->buffer_info));
      job->report.mask_age = GST_CLOCK_DIFF (masks->span.start,
          job->span.start);
      ok = draw_alpha (self, job, &image, &mask);
      gst_video_frame_unmap (&mask_frame);
    } else {
      gst_cascade_psp_refine_fail_map (self, masks->buffer);
    }
  }
  gst_cascade_psp_frame_view_unmap (&self->view);
  return ok;
}

// Writes DST from VIDEO (NULL: alpha alone) and the alpha.
static void
draw_output (GstCascadePspRefine * self, const Job * job,
    GstVideoFrame * video, GstVideoFrame * dst)
{
  const CpspCropReport *crops;
  guint n_crops;

  if (job->policy.show == GST_CASCADE_PSP_REFINE_SHOW_UNCERTAINTY) {
    gst_cascade_psp_preview_finish_uncertainty (&self->output, video, dst);
    return;
  }
  gst_cascade_psp_output_finish (&self->output, &job->policy.edge, video, dst);
  if (job->policy.show == GST_CASCADE_PSP_REFINE_SHOW_TILES
      && job->report.fate == GST_CASCADE_PSP_REFINED) {
    crops = cpsp_refiner_get_crops (self->refiner, &n_crops);
    gst_cascade_psp_preview_draw_tiles (dst, crops, n_crops);
  }
}

static gboolean
gst_cascade_psp_refine_write_output (GstCascadePspRefine * self,
    const Job * job, GstBuffer * output)
{
  gboolean alone = gst_cascade_psp_output_is_alpha (&self->output.info);
  GstVideoFrame video, dst;

  if (!gst_video_frame_map (&dst, &self->output.info, output,
          GST_MAP_READWRITE))
    return gst_cascade_psp_refine_fail_map (self, output);
  if (!alone && !gst_cascade_psp_map_frame (&video, &self->video_info,
          job->video)) {
    gst_video_frame_unmap (&dst);
    return gst_cascade_psp_refine_fail_map (self, job->video);
  }
  draw_output (self, job, alone ? NULL : &video, &dst);
  if (!alone)
    gst_video_frame_unmap (&video);
  gst_video_frame_unmap (&dst);
  return TRUE;
}

static void
gst_cascade_psp_refine_report (GstCascadePspRefine * self, Job * job)
{
  const GstCascadePspFrameReport *frame = &job->report;
  GstCascadePspDue due = job->due;
  GstClockTimeDiff left;
  GstCascadePspReport report;

  due.reserve = 0;
  if (job->report.live)
    due.now = get_running_time (self);
  left = gst_cascade_psp_due_get_left (&due);
  job->report.jitter = left == GST_CASCADE_PSP_FOR_EVER ? 0 : -left;

  GST_OBJECT_LOCK (self);
  gst_cascade_psp_report_add (&self->report, frame);
  self->load.budgeted |= job->budget_ms > 0;
  if (gst_cascade_psp_preparer_is_idle (&self->preparer))
    self->report.memory_bytes = cpsp_refiner_get_memory (self->refiner);
  report = self->report;
  GST_OBJECT_UNLOCK (self);

  if (frame->overloaded || frame->jitter > 0)
    gst_element_post_message (GST_ELEMENT (self),
        gst_cascade_psp_report_make_qos (&report, GST_OBJECT (self)));
  if (job->policy.post_messages)
    gst_element_post_message (GST_ELEMENT (self),
        gst_message_new_element (GST_OBJECT (self),
            gst_cascade_psp_frame_report_to_structure (frame)));
}

// Makes OUTPUT, the frame with its alpha, and notes what that takes besides the
// refinement.
static GstFlowReturn
gst_cascade_psp_refine_make_output (GstCascadePspRefine * self, Job * job,
    GstBuffer ** output)
{
  gint64 began_us = g_get_monotonic_time (), waited_us;
  GstClockTimeDiff rest;
  GstFlowReturn flow;

  if (!gst_cascade_psp_refine_make_alpha (self, job))
    return GST_FLOW_ERROR;
  // Downstream may have all buffers still.
  waited_us = g_get_monotonic_time ();
  flow = gst_cascade_psp_refine_acquire (self, job->video, output);
  waited_us = g_get_monotonic_time () - waited_us;
  if (flow != GST_FLOW_OK)
    return flow;
  if (!gst_cascade_psp_refine_write_output (self, job, *output))
    return GST_FLOW_ERROR;

  rest = (g_get_monotonic_time () - began_us - waited_us - job->engine_us)
      * GST_USECOND;
  self->reserve = (self->reserve + MAX (rest, 0)) / 2;
  return GST_FLOW_OK;
}

// VIDEO, whose mask is the one in hand or its own alpha unless it is MISSING,
// leaves as what it becomes.
static GstFlowReturn
gst_cascade_psp_refine_process (GstCascadePspRefine * self, GstBuffer * video,
    const GstCascadePspSpan * span, gboolean missing)
{
  g_autoptr (GstBuffer) output = NULL;
  GstFlowReturn flow = GST_FLOW_OK;
  Job job;

  init_job (self, &job, video, span, missing);
  if (!choose_fate (self, &job))
    return GST_FLOW_ERROR;
  // Where there was no time, the object is still there: data is missing.
  if (job.report.fate == GST_CASCADE_PSP_DROPPED)
    output = gst_cascade_psp_gap_new (video, job.report.overloaded);
  else
    flow = gst_cascade_psp_refine_make_output (self, &job, &output);
  if (flow != GST_FLOW_OK)
    return flow;

  gst_cascade_psp_refine_report (self, &job);
  return gst_aggregator_finish_buffer (GST_AGGREGATOR (self),
      g_steal_pointer (&output));
}

static GstFlowReturn
gst_cascade_psp_refine_fail_untimed (GstCascadePspRefine * self,
    GstAggregatorPad * pad)
{
  GST_ELEMENT_ERROR (self, STREAM, FORMAT,
      ("A buffer on pad %s has no timestamp.", GST_PAD_NAME (pad)),
      ("Frames and masks are paired by time: buffers need timestamps and a "
          "TIME segment."));
  return GST_FLOW_ERROR;
}

static GstFlowReturn
gst_cascade_psp_refine_fail_maskless (GstCascadePspRefine * self)
{
  GST_ELEMENT_ERROR (self, CORE, NEGOTIATION,
      ("There is no coarse mask. Link one to the pad mask, or give the pad "
          "sink video whose alpha is the mask."),
      ("The pad mask was not requested, and the video, %s, has no alpha.",
          GST_VIDEO_INFO_NAME (&self->video_info)));
  return GST_FLOW_NOT_NEGOTIATED;
}

static GstCascadePspMaskState
pick_mask (GstCascadePspRefine * self, const GstCascadePspSpan * frame,
    gboolean final)
{
  GstCascadePspMaskState state;

  g_rec_mutex_lock (&self->picking);
  state = gst_cascade_psp_mask_track_select (&self->masks, frame, final);
  g_rec_mutex_unlock (&self->picking);
  return state;
}

static GstFlowReturn
gst_cascade_psp_refine_aggregate (GstAggregator * aggregator, gboolean timeout)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);
  g_autoptr (GstBuffer) video =
      gst_aggregator_pad_peek_buffer (self->video_pad);
  GstCascadePspSpan span;
  GstCascadePspMaskState state;

  forget_flushed (self);
  if (!video)
    return gst_aggregator_pad_is_eos (self->video_pad) ? GST_FLOW_EOS
        : GST_AGGREGATOR_FLOW_NEED_DATA;

  // A timeout comes even if negotiation failed.
  if (GST_VIDEO_INFO_FORMAT (&self->output.info) == GST_VIDEO_FORMAT_UNKNOWN)
    return GST_PAD_IS_FLUSHING (GST_AGGREGATOR_SRC_PAD (self)) ?
        GST_FLOW_FLUSHING : GST_FLOW_NOT_NEGOTIATED;

  switch (gst_cascade_psp_get_span (self->video_pad, video, &self->video_info,
          &span)) {
    case GST_CASCADE_PSP_TIMED:
      break;
    case GST_CASCADE_PSP_OUTSIDE:
      GST_DEBUG_OBJECT (self->video_pad, "outside the segment: %"
          GST_PTR_FORMAT, video);
      gst_aggregator_pad_drop_buffer (self->video_pad);
      return GST_FLOW_OK;
    case GST_CASCADE_PSP_UNTIMED:
      return gst_cascade_psp_refine_fail_untimed (self, self->video_pad);
  }

  if (gst_cascade_psp_gap_is (video)) {
    gst_aggregator_pad_drop_buffer (self->video_pad);
    return gst_aggregator_finish_buffer (aggregator, g_steal_pointer (&video));
  }

  adopt_mask_pad (self);
  if (self->had_masks)
    state = pick_mask (self, &span, timeout);
  else if (GST_VIDEO_INFO_HAS_ALPHA (&self->video_info))
    state = GST_CASCADE_PSP_MASK_PRESENT;
  else
    return gst_cascade_psp_refine_fail_maskless (self);

  if (state == GST_CASCADE_PSP_MASK_WAIT)
    return GST_AGGREGATOR_FLOW_NEED_DATA;
  if (state == GST_CASCADE_PSP_MASK_UNTIMED)
    return gst_cascade_psp_refine_fail_untimed (self, self->masks.pad);
  if (state == GST_CASCADE_PSP_MASK_UNKNOWN)
    return GST_FLOW_NOT_NEGOTIATED;

  gst_aggregator_selected_samples (aggregator, GST_BUFFER_PTS (video),
      GST_BUFFER_DTS (video), GST_BUFFER_DURATION (video), NULL);

  // From here on the next frame may queue up.
  gst_aggregator_pad_drop_buffer (self->video_pad);
  return gst_cascade_psp_refine_process (self, video, &span,
      state == GST_CASCADE_PSP_MASK_MISSING);
}

// When the frame at the head of the queue is due. NONE: there is none, and
// nothing to time out; 0: something to deal with at once.
static GstClockTime
gst_cascade_psp_refine_get_next_time (GstAggregator * aggregator)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);
  g_autoptr (GstBuffer) video =
      gst_aggregator_pad_peek_buffer (self->video_pad);
  GstCascadePspSpan span;

  if (!video)
    return gst_aggregator_pad_is_eos (self->video_pad) ? 0
        : GST_CLOCK_TIME_NONE;
  if (gst_cascade_psp_get_span (self->video_pad, video, &self->video_info,
          &span) != GST_CASCADE_PSP_TIMED || gst_cascade_psp_gap_is (video))
    return 0;
  return span.start;
}

static GstSample *
gst_cascade_psp_refine_peek_next_sample (GstAggregator * aggregator,
    GstAggregatorPad * pad)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);
  g_autoptr (GstBuffer) buffer = NULL;
  g_autoptr (GstCaps) caps = NULL;
  GstSegment segment;

  GST_OBJECT_LOCK (pad);
  segment = pad->segment;
  GST_OBJECT_UNLOCK (pad);
  if (pad == self->video_pad) {
    buffer = gst_aggregator_pad_peek_buffer (pad);
    caps = gst_video_info_to_caps (&self->video_info);
  } else if (self->masks.buffer) {
    buffer = gst_buffer_ref (self->masks.buffer);
    caps = gst_video_info_to_caps (&self->masks.buffer_info);
  }
  return buffer ? gst_sample_new (buffer, caps, &segment, NULL) : NULL;
}

/* Properties */

// While frames flow, a setting that cannot work is refused with a warning and
// the old one stays: a slip must not end a broadcast. Before that, start says
// so with an error.
static void
gst_cascade_psp_refine_change_policy (GstCascadePspRefine * self,
    guint prop_id, const GValue * value)
{
  GstCascadePspPolicy policy;
  GError *error = NULL;

  GST_OBJECT_LOCK (self);
  policy = self->policy;
  gst_cascade_psp_policy_set (&policy, prop_id, value);
  if (!self->started || cpsp_settings_check (&policy.settings, &error))
    self->policy = policy;
  GST_OBJECT_UNLOCK (self);

  if (error) {
    GST_ELEMENT_WARNING (self, LIBRARY, SETTINGS, ("%s", error->message),
        ("The old value stays."));
    g_error_free (error);
  }
  if (prop_id == GST_CASCADE_PSP_PROP_PROCESSING_DEADLINE)
    declare_latency (self);
  if (prop_id == GST_CASCADE_PSP_PROP_PREMULTIPLIED)
    gst_pad_mark_reconfigure (GST_AGGREGATOR_SRC_PAD (self));
}

static void
gst_cascade_psp_refine_set_property (GObject * object, guint prop_id,
    const GValue * value, GParamSpec * pspec)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (object);

  if (prop_id < GST_CASCADE_PSP_N_PROPS) {
    gst_cascade_psp_refine_change_policy (self, prop_id, value);
    return;
  }

  GST_OBJECT_LOCK (self);
  switch (prop_id) {
    case PROP_MODEL_LOCATION:
      g_free (self->model_location);
      self->model_location = g_value_dup_string (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, prop_id, pspec);
      break;
  }
  GST_OBJECT_UNLOCK (self);

  if (prop_id == PROP_MODEL_LOCATION)
    request_model (self);
}

static void
gst_cascade_psp_refine_get_property (GObject * object, guint prop_id,
    GValue * value, GParamSpec * pspec)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (object);

  GST_OBJECT_LOCK (self);
  switch (prop_id) {
    case PROP_MODEL_LOCATION:
      g_value_set_string (value, self->model_location);
      break;
    case PROP_STATS:
      g_value_take_boxed (value,
          gst_cascade_psp_report_to_structure (&self->report));
      break;
    default:
      if (prop_id < GST_CASCADE_PSP_N_PROPS)
        gst_cascade_psp_policy_get (&self->policy, prop_id, value);
      else
        G_OBJECT_WARN_INVALID_PROPERTY_ID (object, prop_id, pspec);
      break;
  }
  GST_OBJECT_UNLOCK (self);
}

static void
install_properties (GObjectClass * object_class)
{
  gst_cascade_psp_policy_install (object_class);

  /**
   * GstCascadePspRefine:model-location:
   *
   * The safetensors file with the network's weights. %NULL is the model that
   * is installed with the plugin, or, for builds that are not installed, what
   * the environment variable `CPSP_MODEL` names. The file is read when the
   * element starts; one that is missing or malformed keeps it from starting.
   * Set while the element plays, the new model loads aside and takes over
   * between two frames; until then both take memory. One that cannot be loaded
   * is refused with a warning, and the old one stays.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, PROP_MODEL_LOCATION,
      g_param_spec_string ("model-location", "Model location",
          "Safetensors file with the network's weights "
          "(NULL: the installed model)", DEFAULT_MODEL_LOCATION,
          G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS |
          GST_PARAM_MUTABLE_PLAYING));

  /**
   * GstCascadePspRefine:stats:
   *
   * What the element has done since it started:
   *
   * - `frames` (#guint64): frames since start, each of which is one of
   *   `refined`, `repeated` (the alpha of an earlier one), `coarse` (the mask
   *   as it is), `passed` (opaque or with an alpha of its own), `dropped` (a
   *   GAP event in its place)
   * - `resumed` (#guint64): how many of the repeated ones brought a new alpha:
   *   that of an earlier frame, whose time had not sufficed
   * - `degraded` (#guint64): how many of the refined ones lack something
   * - `late` (#guint64): frames that left later than the latency declared
   * - `missing-masks` (#guint64): frames that had no mask of their own
   * - `latency` (#guint64): own latency declared, nanoseconds
   * - `global-ms`, `local-ms`, `finish-ms`, `total-ms` (#gdouble):
   *   milliseconds that the last refined frame took, by step
   * - `global-size` (#guint): long side of that frame's Global step, pixels
   * - `crops-planned`, `crops-run`, `crops-skipped` (#guint): Local crops of
   *   that frame; those skipped did not fit into its time
   * - `local-skipped` (#gboolean): there was no time for a single one
   * - `crops-grid` (#guint): how many the published grid has
   * - `mask-age` (#gint64): nanoseconds from the start of that frame's mask to
   *   its own
   * - `memory-bytes` (#guint64): memory of the engine but for the weights
   * - `model` (string): the file of the model in use
   * - `device`, `precision` (string): what computes, and in which numbers
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, PROP_STATS,
      g_param_spec_boxed ("stats", "Statistics",
          "What the element has done since it started", GST_TYPE_STRUCTURE,
          G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));
}

/* Object */

static void
gst_cascade_psp_refine_init (GstCascadePspRefine * self)
{
  g_rec_mutex_init (&self->picking);
  gst_cascade_psp_policy_init (&self->policy);
  self->frame_duration = GST_CLOCK_TIME_NONE;
  self->earliest = GST_CLOCK_TIME_NONE;

  gst_video_info_init (&self->video_info);
  gst_cascade_psp_output_init (&self->output);
  gst_cascade_psp_frame_view_init (&self->view);

  gst_cascade_psp_loader_init (&self->loader, refuse_model, self);
  gst_cascade_psp_preparer_init (&self->preparer);
  gst_cascade_psp_mask_track_init (&self->masks);
  gst_cascade_psp_pace_init (&self->pace);

  self->video_pad = make_sink_pad (gst_element_class_get_pad_template
      (GST_ELEMENT_GET_CLASS (self), "sink"));
  gst_element_add_pad (GST_ELEMENT (self), GST_PAD (self->video_pad));
  gst_cascade_psp_gap_watch (GST_AGGREGATOR_SRC_PAD (self));
}

static void
gst_cascade_psp_refine_finalize (GObject * object)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (object);

  gst_cascade_psp_loader_cancel (&self->loader);
  gst_cascade_psp_loader_clear (&self->loader);
  g_rec_mutex_clear (&self->picking);
  gst_cascade_psp_preparer_clear (&self->preparer);
  g_free (self->model_location);
  G_OBJECT_CLASS (gst_cascade_psp_refine_parent_class)->finalize (object);
}

static void
gst_cascade_psp_refine_class_init (GstCascadePspRefineClass * klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);
  GstAggregatorClass *aggregator_class = GST_AGGREGATOR_CLASS (klass);

  object_class->set_property = gst_cascade_psp_refine_set_property;
  object_class->get_property = gst_cascade_psp_refine_get_property;
  object_class->finalize = gst_cascade_psp_refine_finalize;
  install_properties (object_class);

  element_class->release_pad =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_release_pad);
  gst_element_class_set_static_metadata (element_class,
      "CascadePSP mask refinement", "Filter/Effect/Video",
      "Turns a video's coarse mask into a fine alpha mask",
      "The gst-cascadepsp authors");
  gst_element_class_add_static_pad_template_with_gtype (element_class,
      &sink_template, GST_TYPE_AGGREGATOR_PAD);
  gst_element_class_add_static_pad_template_with_gtype (element_class,
      &mask_template, GST_TYPE_AGGREGATOR_PAD);
  gst_element_class_add_static_pad_template_with_gtype (element_class,
      &src_template, GST_TYPE_AGGREGATOR_PAD);

  aggregator_class->start = GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_start);
  aggregator_class->stop = GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_stop);
  aggregator_class->flush = GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_flush);
  aggregator_class->create_new_pad =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_create_new_pad);
  aggregator_class->sink_event =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_sink_event);
  aggregator_class->sink_query =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_sink_query);
  aggregator_class->sink_query_pre_queue =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_sink_query_pre_queue);
  aggregator_class->src_event =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_src_event);
  aggregator_class->src_query =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_src_query);
  aggregator_class->update_src_caps =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_update_src_caps);
  aggregator_class->negotiated_src_caps =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_negotiated_src_caps);
  aggregator_class->negotiate =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_negotiate);
  aggregator_class->decide_allocation =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_decide_allocation);
  aggregator_class->get_next_time =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_get_next_time);
  aggregator_class->aggregate =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_aggregate);
  aggregator_class->peek_next_sample =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_peek_next_sample);
}
