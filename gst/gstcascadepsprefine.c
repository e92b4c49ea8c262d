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
 * ## Which mask belongs to a frame
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
 * In a live pipeline a frame waits for its mask for one frame duration beyond
 * the upstream latency, and then goes on as if none had come. In any other one
 * it waits as long as it takes: the result does not depend on timing. There
 * the end of the video, too, gets through only once the mask pad has a mask or
 * its own end, and nothing comes out while the mask pad is not linked; the
 * element posts a warning then.
 *
 * The latency that the element declares is this one frame duration. It does
 * not include the time that the refinement takes: set the inherited property
 * #GstAggregator:latency to add it.
 *
 * ## Output
 *
 * A mask of the video's size, framerate and pixel aspect ratio, with the video
 * buffers' timestamps, flags, time codes and captions: GRAY8, or GRAY16_LE if
 * downstream accepts nothing else. 0 is background, the largest value is
 * foreground; the caps say so with colorimetry `1:4:0:0` (full range). A GAP
 * on the video pad is not passed on.
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
 *
 * Since: 0.1
 */

/*
 * Threads: the source pad's task calls everything that works on frames and
 * owns every field below "streaming". Properties may be read and set by any
 * thread: they live under the object lock and are copied when a frame is due.
 * Nothing is posted, pushed, queried or refined with that lock held.
 *
 * The frame in hand stays at the head of its pad's queue until its mask is
 * known. What follows it there (caps, segments) cannot overtake it.
 */
#include "gstcascadepsprefine.h"

#include <gst/video/video.h>

#include "frameview.h"
#include "gstcascadepspenums.h"
#include "pairing.h"
#include "refine/model.h"
#include "refine/refiner.h"

// Visible to pairing.c.
GST_DEBUG_CATEGORY (gst_cascade_psp_refine_debug);
#define GST_CAT_DEFAULT gst_cascade_psp_refine_debug

// Latency when the caps do not tell the frame duration.
#define UNKNOWN_FRAME_DURATION (40 * GST_MSECOND)

// What a mask's values mean: 0 to the largest value.
#define ALPHA_COLORIMETRY "1:4:0:0"

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
    GST_PAD_SINK, GST_PAD_ALWAYS,
    GST_STATIC_CAPS (CAPS ("{ GRAY8, GRAY16_LE }")));

static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src",
    GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS (CAPS ("{ GRAY8, GRAY16_LE }")));

#define DEFAULT_MODEL_LOCATION NULL
#define DEFAULT_BACKEND CPSP_BACKEND_AUTO
#define DEFAULT_DEVICE_ID 0
#define DEFAULT_PRECISION CPSP_PRECISION_AUTO
#define DEFAULT_THREADS 0
#define DEFAULT_LOCAL_STEP CPSP_LOCAL_STEP_AUTO
#define DEFAULT_LOCAL_REGION CPSP_LOCAL_REGION_BOUNDARY
#define DEFAULT_ENLARGE_SMALL FALSE
#define DEFAULT_MASK_THRESHOLD 0.5
#define DEFAULT_MISSING_MASK GST_CASCADE_PSP_REFINE_MISSING_MASK_REPEAT

#define MAX_THREADS 1024
#define MAX_MASK_THRESHOLD 0.999

enum
{
  PROP_0,
  PROP_MODEL_LOCATION,
  PROP_BACKEND,
  PROP_DEVICE_ID,
  PROP_PRECISION,
  PROP_THREADS,
  PROP_CROP_SIZE,
  PROP_LOCAL_STEP,
  PROP_LOCAL_REGION,
  PROP_ENLARGE_SMALL,
  PROP_MASK_THRESHOLD,
  PROP_MISSING_MASK,
  PROP_STATS,
};

// What `stats` shows.
typedef struct
{
  guint64 frames;               // emitted since start
  CpspStats last;               // of the last frame refined
  GstClockTimeDiff mask_age;    // its start minus its mask's
  gsize memory_bytes;
  char *device;
  const char *precision;
} Report;

struct _GstCascadePspRefine
{
  GstAggregator parent;

  GstAggregatorPad *video_pad;  // owned by the element, as all its pads

  // Object lock.
  char *model_location;
  CpspRefinerParams params;
  CpspSettings settings;
  GstCascadePspRefineMissingMask missing_mask;
  gboolean started;
  Report report;

  // Streaming; start and stop.
  CpspRefiner *refiner;
  GstVideoInfo video_info;
  GstCascadePspFrameView view;
  GstCascadePspMaskTrack masks;
  GstVideoInfo alpha_info;      // format UNKNOWN: not negotiated
};

G_DEFINE_TYPE_WITH_CODE (GstCascadePspRefine, gst_cascade_psp_refine,
    GST_TYPE_AGGREGATOR,
    GST_DEBUG_CATEGORY_INIT (gst_cascade_psp_refine_debug, "cascadepsprefine",
        0, "CascadePSP mask refinement"));
GST_ELEMENT_REGISTER_DEFINE (cascadepsprefine, "cascadepsprefine",
    GST_RANK_NONE, GST_TYPE_CASCADE_PSP_REFINE);

// Turns an engine's error into one message on the bus, and frees it.
#define POST_ENGINE_ERROR(self, error, doing) \
  post_engine_error (self, error, doing, __FILE__, GST_FUNCTION, __LINE__)

static void
post_engine_error (GstCascadePspRefine * self, GError * error,
    const char *doing, const char *file, const char *function, gint line)
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
      domain = GST_LIBRARY_ERROR;
      code = GST_LIBRARY_ERROR_FAILED;
      break;
    case CPSP_ERROR_ARGUMENT:
      domain = GST_LIBRARY_ERROR;
      code = GST_LIBRARY_ERROR_SETTINGS;
      break;
  }
  gst_element_message_full (GST_ELEMENT (self), GST_MESSAGE_ERROR, domain, code,
      g_strdup (error->message), g_strdup_printf ("While %s.", doing),
      file, function, line);
  g_error_free (error);
}

/* Start and stop */

// CPSP_MODEL is for builds that are not installed.
static char *
find_model (const char *location)
{
  if (!location)
    location = g_getenv ("CPSP_MODEL");
  return g_strdup (location ? location : CPSP_DEFAULT_MODEL);
}

static gboolean
gst_cascade_psp_refine_start (GstAggregator * aggregator)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);
  g_autofree char *location = NULL;
  g_autoptr (CpspModel) model = NULL;
  CpspRefinerParams params;
  GError *error = NULL;
  gboolean settings_ok;

  GST_OBJECT_LOCK (self);
  location = find_model (self->model_location);
  params = self->params;
  settings_ok = cpsp_settings_check (&self->settings, &error);
  self->started = settings_ok;
  GST_OBJECT_UNLOCK (self);

  if (!settings_ok) {
    POST_ENGINE_ERROR (self, error, "checking the properties");
    return FALSE;
  }

  model = cpsp_model_load (location, &error);
  if (!model) {
    POST_ENGINE_ERROR (self, error, "loading the model");
    goto failed;
  }
  self->refiner = cpsp_refiner_new (model, &params, &error);
  if (!self->refiner) {
    POST_ENGINE_ERROR (self, error, "preparing the network");
    goto failed;
  }

  GST_OBJECT_LOCK (self);
  self->report.device = g_strdup (cpsp_refiner_get_device_name (self->refiner));
  self->report.precision =
      cpsp_type_name (cpsp_refiner_get_type (self->refiner));
  self->report.memory_bytes = cpsp_refiner_get_memory (self->refiner);
  GST_OBJECT_UNLOCK (self);
  GST_INFO_OBJECT (self, "%s in %s on %s", location, self->report.precision,
      self->report.device);
  return TRUE;

failed:
  GST_OBJECT_LOCK (self);
  self->started = FALSE;
  GST_OBJECT_UNLOCK (self);
  return FALSE;
}

static gboolean
gst_cascade_psp_refine_stop (GstAggregator * aggregator)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);

  GST_OBJECT_LOCK (self);
  self->started = FALSE;
  g_free (self->report.device);
  memset (&self->report, 0, sizeof (self->report));
  GST_OBJECT_UNLOCK (self);

  gst_cascade_psp_mask_track_clear (&self->masks);
  gst_cascade_psp_frame_view_clear (&self->view);
  gst_video_info_init (&self->video_info);
  gst_video_info_init (&self->masks.info);
  gst_video_info_init (&self->alpha_info);
  g_clear_pointer (&self->refiner, cpsp_refiner_free);
  return TRUE;
}

static GstFlowReturn
gst_cascade_psp_refine_flush (GstAggregator * aggregator)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);

  gst_cascade_psp_mask_track_clear (&self->masks);
  return GST_FLOW_OK;
}

/* Caps and allocation */

static gboolean
gst_cascade_psp_refine_set_video_caps (GstCascadePspRefine * self,
    GstCaps * caps)
{
  GstVideoInfo *info = &self->video_info;
  GstClockTime latency = UNKNOWN_FRAME_DURATION;

  // Once per start: the caps are the first.
  if (GST_VIDEO_INFO_FORMAT (info) == GST_VIDEO_FORMAT_UNKNOWN
      && !gst_pad_is_linked (GST_PAD (self->masks.pad)))
    GST_ELEMENT_WARNING (self, CORE, PAD, ("Pad mask is not linked."),
        ("Frames wait for masks, for ever if the pipeline is not live."));

  gst_video_info_init (&self->alpha_info);
  if (!gst_video_info_from_caps (info, caps)
      || !gst_cascade_psp_frame_view_set_info (&self->view, info)) {
    gst_video_info_init (info);
    return FALSE;
  }
  gst_pad_mark_reconfigure (GST_AGGREGATOR_SRC_PAD (self));

  if (GST_VIDEO_INFO_FPS_N (info) > 0)
    latency = gst_util_uint64_scale_int_ceil (GST_SECOND,
        GST_VIDEO_INFO_FPS_D (info), GST_VIDEO_INFO_FPS_N (info));
  gst_aggregator_set_latency (GST_AGGREGATOR (self), latency, latency);
  return TRUE;
}

static gboolean
gst_cascade_psp_refine_set_caps (GstCascadePspRefine * self,
    GstAggregatorPad * pad, GstCaps * caps)
{
  gboolean ok;

  GST_DEBUG_OBJECT (pad, "%" GST_PTR_FORMAT, caps);

  if (pad == self->video_pad)
    ok = gst_cascade_psp_refine_set_video_caps (self, caps);
  else
    ok = gst_video_info_from_caps (&self->masks.info, caps);

  if (!ok)
    GST_ELEMENT_ERROR (self, CORE, NEGOTIATION,
        ("Cannot read this format on pad %s.", GST_PAD_NAME (pad)),
        ("%" GST_PTR_FORMAT, caps));
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

// Position, duration and seekability are the video's.
static gboolean
gst_cascade_psp_refine_src_query (GstAggregator * aggregator, GstQuery * query)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);

  switch (GST_QUERY_TYPE (query)) {
    case GST_QUERY_POSITION:
    case GST_QUERY_DURATION:
    case GST_QUERY_SEEKING:
      return gst_pad_peer_query (GST_PAD (self->video_pad), query);
    default:
      return GST_AGGREGATOR_CLASS (gst_cascade_psp_refine_parent_class)
          ->src_query (aggregator, query);
  }
}

static GstFlowReturn
gst_cascade_psp_refine_update_src_caps (GstAggregator * aggregator,
    GstCaps * downstream, GstCaps ** caps)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);
  const GstVideoInfo *info = &self->video_info;
  g_autoptr (GstCaps) ours = NULL;

  if (GST_VIDEO_INFO_FORMAT (info) == GST_VIDEO_FORMAT_UNKNOWN)
    return GST_AGGREGATOR_FLOW_NEED_DATA;

  ours = gst_caps_make_writable (gst_static_pad_template_get_caps
      (&src_template));
  gst_caps_set_simple (ours,
      "width", G_TYPE_INT, GST_VIDEO_INFO_WIDTH (info),
      "height", G_TYPE_INT, GST_VIDEO_INFO_HEIGHT (info),
      "framerate", GST_TYPE_FRACTION, GST_VIDEO_INFO_FPS_N (info),
      GST_VIDEO_INFO_FPS_D (info),
      "pixel-aspect-ratio", GST_TYPE_FRACTION, GST_VIDEO_INFO_PAR_N (info),
      GST_VIDEO_INFO_PAR_D (info),
      "colorimetry", G_TYPE_STRING, ALPHA_COLORIMETRY, NULL);

  // Ours come first: GRAY8 if there is a choice.
  *caps = gst_caps_intersect_full (ours, downstream, GST_CAPS_INTERSECT_FIRST);
  return GST_FLOW_OK;
}

static gboolean
gst_cascade_psp_refine_negotiated_src_caps (GstAggregator * aggregator,
    GstCaps * caps)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);

  GST_INFO_OBJECT (self, "alpha: %" GST_PTR_FORMAT, caps);
  return gst_video_info_from_caps (&self->alpha_info, caps);
}

static gboolean
gst_cascade_psp_refine_negotiate (GstAggregator * aggregator)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);
  GstPad *pad = GST_AGGREGATOR_SRC_PAD (aggregator);

  gst_video_info_init (&self->alpha_info);
  if (GST_AGGREGATOR_CLASS (gst_cascade_psp_refine_parent_class)->negotiate
      (aggregator))
    return TRUE;

  // With the caps agreed, it is decide_allocation that failed and said so.
  if (GST_VIDEO_INFO_FORMAT (&self->alpha_info) == GST_VIDEO_FORMAT_UNKNOWN
      && !GST_PAD_IS_FLUSHING (pad)) {
    g_autoptr (GstCaps) caps = gst_pad_peer_query_caps (pad, NULL);

    GST_ELEMENT_ERROR (self, CORE, NEGOTIATION,
        ("Downstream does not take alpha masks like this video."),
        ("It takes %" GST_PTR_FORMAT, caps));
  }
  gst_video_info_init (&self->alpha_info);
  return FALSE;
}

static gboolean
gst_cascade_psp_refine_propose_allocation (GstAggregator * aggregator,
    GstAggregatorPad * pad, GstQuery * decide_query, GstQuery * query)
{
  gst_query_add_allocation_meta (query, GST_VIDEO_META_API_TYPE, NULL);
  return TRUE;
}

typedef struct
{
  GstCaps *caps;
  guint size, min, max;
  GstAllocator *allocator;
  GstAllocationParams params;
  gboolean video_meta;
} PoolConfig;

static gboolean
configure_pool (GstBufferPool * pool, const PoolConfig * want)
{
  GstStructure *config = gst_buffer_pool_get_config (pool);

  gst_buffer_pool_config_set_params (config, want->caps, want->size, want->min,
      want->max);
  gst_buffer_pool_config_set_allocator (config, want->allocator, &want->params);
  if (want->video_meta)
    gst_buffer_pool_config_add_option (config,
        GST_BUFFER_POOL_OPTION_VIDEO_META);
  if (gst_buffer_pool_set_config (pool, config))
    return TRUE;

  // The pool made an offer of its own.
  config = gst_buffer_pool_get_config (pool);
  if (gst_buffer_pool_config_validate_params (config, want->caps, want->size,
          want->min, want->max))
    return gst_buffer_pool_set_config (pool, config);
  gst_structure_free (config);
  return FALSE;
}

static gboolean
gst_cascade_psp_refine_decide_allocation (GstAggregator * aggregator,
    GstQuery * query)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);
  gboolean offered = gst_query_get_n_allocation_pools (query) > 0;
  g_autoptr (GstBufferPool) pool = NULL;
  g_autoptr (GstAllocator) allocator = NULL;
  PoolConfig want = { 0 };

  gst_query_parse_allocation (query, &want.caps, NULL);
  gst_allocation_params_init (&want.params);
  if (gst_query_get_n_allocation_params (query) > 0)
    gst_query_parse_nth_allocation_param (query, 0, &allocator, &want.params);
  if (offered)
    gst_query_parse_nth_allocation_pool (query, 0, &pool, &want.size,
        &want.min, &want.max);
  want.allocator = allocator;
  want.size = MAX (want.size, GST_VIDEO_INFO_SIZE (&self->alpha_info));
  want.video_meta =
      gst_query_find_allocation_meta (query, GST_VIDEO_META_API_TYPE, NULL);

  if (!pool || !configure_pool (pool, &want)) {
    g_clear_object (&pool);
    pool = gst_video_buffer_pool_new ();
    if (!configure_pool (pool, &want)) {
      GST_ELEMENT_ERROR (self, RESOURCE, SETTINGS,
          ("Cannot set up memory for the alpha masks."),
          ("%u bytes, %" GST_PTR_FORMAT, want.size, want.caps));
      return FALSE;
    }
  }

  if (offered)
    gst_query_set_nth_allocation_pool (query, 0, pool, want.size, want.min,
        want.max);
  else
    gst_query_add_allocation_pool (query, pool, want.size, want.min, want.max);
  return TRUE;
}

/* Frames */

// Metas that say something of the picture's time or content hold for the
// alpha too. Those bound to the video's memory do not, and an overlay is
// drawn on the video, not on its alpha.
static gboolean
copy_meta (GstBuffer * video, GstMeta ** meta, gpointer user_data)
{
  GstBuffer *alpha = user_data;
  const GstMetaInfo *info = (*meta)->info;
  GstMetaTransformCopy whole = {.region = FALSE,.offset = 0,.size = -1 };

  if (!GST_META_FLAG_IS_SET (*meta, GST_META_FLAG_POOLED)
      && !gst_meta_api_type_has_tag (info->api,
          g_quark_from_static_string (GST_META_TAG_MEMORY_STR))
      && info->api != GST_PARENT_BUFFER_META_API_TYPE
      && info->api != GST_VIDEO_OVERLAY_COMPOSITION_META_API_TYPE
      && info->transform_func)
    info->transform_func (alpha, *meta, video, _gst_meta_transform_copy,
        &whole);
  return TRUE;
}

static GstFlowReturn
gst_cascade_psp_refine_acquire_alpha (GstCascadePspRefine * self,
    GstBuffer * video, GstBuffer ** alpha)
{
  g_autoptr (GstBufferPool) pool =
      gst_aggregator_get_buffer_pool (GST_AGGREGATOR (self));
  GstFlowReturn flow;

  if (!pool)
    return GST_FLOW_NOT_NEGOTIATED;
  if (!gst_buffer_pool_is_active (pool)
      && !gst_buffer_pool_set_active (pool, TRUE)) {
    GST_ELEMENT_ERROR (self, RESOURCE, NO_SPACE_LEFT,
        ("Cannot get memory for the alpha masks."),
        ("activating %" GST_PTR_FORMAT, pool));
    return GST_FLOW_ERROR;
  }
  flow = gst_buffer_pool_acquire_buffer (pool, alpha, NULL);
  if (flow == GST_FLOW_ERROR)
    GST_ELEMENT_ERROR (self, RESOURCE, NO_SPACE_LEFT,
        ("Cannot get memory for the alpha masks."),
        ("acquiring a buffer of %" GST_PTR_FORMAT, pool));
  if (flow != GST_FLOW_OK)
    return flow;

  gst_buffer_copy_into (*alpha, video,
      GST_BUFFER_COPY_FLAGS | GST_BUFFER_COPY_TIMESTAMPS, 0, -1);
  gst_buffer_foreach_meta (video, copy_meta, *alpha);
  return GST_FLOW_OK;
}

static gboolean
gst_cascade_psp_refine_fail_map (GstCascadePspRefine * self, GstBuffer * buffer)
{
  GST_ELEMENT_ERROR (self, RESOURCE, FAILED,
      ("Cannot access a frame's memory."), ("%" GST_PTR_FORMAT, buffer));
  return FALSE;
}

static void
clear_alpha (const CpspAlphaView * alpha)
{
  gsize bytes = (gsize) alpha->width
      * (alpha->format == CPSP_ALPHA_U16 ? sizeof (guint16) : 1);

  for (guint y = 0; y < alpha->height; y++)
    memset (alpha->data + y * alpha->stride_bytes, 0, bytes);
}

// Refines the mask in hand against VIDEO, into ALPHA.
static gboolean
gst_cascade_psp_refine_run (GstCascadePspRefine * self, GstBuffer * video,
    const CpspSettings * settings, const CpspAlphaView * alpha,
    GstClockTimeDiff mask_age)
{
  const GstCascadePspMaskTrack *masks = &self->masks;
  GstVideoFrame mask_frame;
  CpspImageView image;
  CpspMaskView mask, own_mask;
  CpspStats stats;
  GError *error = NULL;
  gboolean ok;

  if (!gst_video_frame_map (&mask_frame, &masks->buffer_info, masks->buffer,
          GST_MAP_READ))
    return gst_cascade_psp_refine_fail_map (self, masks->buffer);
  gst_cascade_psp_mask_view_init (&mask, &mask_frame,
      GST_VIDEO_INFO_WIDTH (&masks->buffer_info),
      GST_VIDEO_INFO_HEIGHT (&masks->buffer_info));

  if (!gst_cascade_psp_frame_view_map (&self->view, video, &image,
          &own_mask)) {
    gst_video_frame_unmap (&mask_frame);
    return gst_cascade_psp_refine_fail_map (self, video);
  }

  ok = cpsp_refiner_refine (self->refiner, settings,
      &(CpspFrame) {.image = &image,.mask = &mask}, alpha, &stats, &error);

  gst_cascade_psp_frame_view_unmap (&self->view);
  gst_video_frame_unmap (&mask_frame);
  if (!ok) {
    POST_ENGINE_ERROR (self, error, "refining a frame");
    return FALSE;
  }

  GST_LOG_OBJECT (self, "%u of %u crops, %.1f ms, mask age %" GST_STIME_FORMAT,
      stats.crops_run, stats.crops_grid, stats.total_ms,
      GST_STIME_ARGS (mask_age));
  GST_OBJECT_LOCK (self);
  self->report.last = stats;
  self->report.mask_age = mask_age;
  self->report.memory_bytes = cpsp_refiner_get_memory (self->refiner);
  GST_OBJECT_UNLOCK (self);
  return TRUE;
}

// Emits VIDEO's alpha: refined from the mask in hand, or empty.
static GstFlowReturn
gst_cascade_psp_refine_emit (GstCascadePspRefine * self, GstBuffer * video,
    const GstCascadePspSpan * span, const CpspSettings * settings,
    gboolean refine)
{
  g_autoptr (GstBuffer) alpha = NULL;
  GstVideoFrame frame;
  CpspAlphaView view;
  GstFlowReturn flow;
  gboolean ok = TRUE;

  flow = gst_cascade_psp_refine_acquire_alpha (self, video, &alpha);
  if (flow != GST_FLOW_OK)
    return flow;

  if (!gst_video_frame_map (&frame, &self->alpha_info, alpha, GST_MAP_WRITE)) {
    gst_cascade_psp_refine_fail_map (self, alpha);
    return GST_FLOW_ERROR;
  }
  view.width = GST_VIDEO_INFO_WIDTH (&self->alpha_info);
  view.height = GST_VIDEO_INFO_HEIGHT (&self->alpha_info);
  view.format = GST_VIDEO_INFO_FORMAT (&self->alpha_info) ==
      GST_VIDEO_FORMAT_GRAY8 ? CPSP_ALPHA_U8 : CPSP_ALPHA_U16;
  view.data = GST_VIDEO_FRAME_PLANE_DATA (&frame, 0);
  view.stride_bytes = GST_VIDEO_FRAME_PLANE_STRIDE (&frame, 0);

  if (refine)
    ok = gst_cascade_psp_refine_run (self, video, settings, &view,
        GST_CLOCK_DIFF (self->masks.span.start, span->start));
  else
    clear_alpha (&view);
  gst_video_frame_unmap (&frame);
  if (!ok)
    return GST_FLOW_ERROR;

  GST_OBJECT_LOCK (self);
  self->report.frames++;
  GST_OBJECT_UNLOCK (self);
  return gst_aggregator_finish_buffer (GST_AGGREGATOR (self),
      g_steal_pointer (&alpha));
}

// VIDEO, whose mask is the one in hand unless it is MISSING, leaves or not.
static GstFlowReturn
gst_cascade_psp_refine_process (GstCascadePspRefine * self, GstBuffer * video,
    const GstCascadePspSpan * span, gboolean missing)
{
  GstClockTime stream_time =
      gst_segment_to_stream_time (&self->video_pad->segment, GST_FORMAT_TIME,
      GST_BUFFER_PTS (video));
  GstCascadePspRefineMissingMask policy;
  CpspSettings settings;
  gboolean refine = !missing;

  // A frame that starts before its segment has no stream time.
  if (GST_CLOCK_TIME_IS_VALID (stream_time))
    gst_object_sync_values (GST_OBJECT (self), stream_time);
  GST_OBJECT_LOCK (self);
  settings = self->settings;
  policy = self->missing_mask;
  GST_OBJECT_UNLOCK (self);

  if (missing) {
    GST_DEBUG_OBJECT (self, "no mask for the frame at %" GST_TIME_FORMAT,
        GST_TIME_ARGS (span->start));
    switch (policy) {
      case GST_CASCADE_PSP_REFINE_MISSING_MASK_REPEAT:
        refine = self->masks.buffer != NULL;
        break;
      case GST_CASCADE_PSP_REFINE_MISSING_MASK_PASS:
        break;
      case GST_CASCADE_PSP_REFINE_MISSING_MASK_DROP:
        return GST_FLOW_OK;
    }
  }
  return gst_cascade_psp_refine_emit (self, video, span, &settings, refine);
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
gst_cascade_psp_refine_aggregate (GstAggregator * aggregator, gboolean timeout)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (aggregator);
  g_autoptr (GstBuffer) video =
      gst_aggregator_pad_peek_buffer (self->video_pad);
  GstCascadePspSpan span;
  GstCascadePspMaskState state;

  if (!video)
    return gst_aggregator_pad_is_eos (self->video_pad) ? GST_FLOW_EOS
        : GST_AGGREGATOR_FLOW_NEED_DATA;

  // A timeout comes even if negotiation failed.
  if (GST_VIDEO_INFO_FORMAT (&self->alpha_info) == GST_VIDEO_FORMAT_UNKNOWN)
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

  if (gst_cascade_psp_is_gap (video)) {
    gst_aggregator_pad_drop_buffer (self->video_pad);
    return GST_FLOW_OK;
  }

  state = gst_cascade_psp_mask_track_select (&self->masks, &span, timeout);
  if (state == GST_CASCADE_PSP_MASK_WAIT)
    return GST_AGGREGATOR_FLOW_NEED_DATA;
  if (state == GST_CASCADE_PSP_MASK_UNTIMED)
    return gst_cascade_psp_refine_fail_untimed (self, self->masks.pad);

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
          &span) != GST_CASCADE_PSP_TIMED)
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

  if (pad == self->video_pad) {
    buffer = gst_aggregator_pad_peek_buffer (pad);
    caps = gst_video_info_to_caps (&self->video_info);
  } else if (self->masks.buffer) {
    buffer = gst_buffer_ref (self->masks.buffer);
    caps = gst_video_info_to_caps (&self->masks.buffer_info);
  }
  return buffer ? gst_sample_new (buffer, caps, &pad->segment, NULL) : NULL;
}

/* Properties */

static GstStructure *
gst_cascade_psp_refine_get_stats (GstCascadePspRefine * self)
{
  GstStructure *stats;

  GST_OBJECT_LOCK (self);
  stats = gst_structure_new ("application/x-cascadepsprefine-stats",
      "frames", G_TYPE_UINT64, self->report.frames,
      "global-ms", G_TYPE_DOUBLE, self->report.last.global_ms,
      "local-ms", G_TYPE_DOUBLE, self->report.last.local_ms,
      "finish-ms", G_TYPE_DOUBLE, self->report.last.finish_ms,
      "total-ms", G_TYPE_DOUBLE, self->report.last.total_ms,
      "crops-run", G_TYPE_UINT, self->report.last.crops_run,
      "crops-grid", G_TYPE_UINT, self->report.last.crops_grid,
      "mask-age", G_TYPE_INT64, self->report.mask_age,
      "memory-bytes", G_TYPE_UINT64, (guint64) self->report.memory_bytes,
      "device", G_TYPE_STRING, self->report.device,
      "precision", G_TYPE_STRING, self->report.precision, NULL);
  GST_OBJECT_UNLOCK (self);
  return stats;
}

// While frames flow, a setting that cannot work is refused with a warning and
// the old one stays: a slip must not end a broadcast. Before that, start says
// so with an error.
static void
gst_cascade_psp_refine_change_settings (GstCascadePspRefine * self,
    guint prop_id, const GValue * value)
{
  CpspSettings settings;
  GError *error = NULL;

  GST_OBJECT_LOCK (self);
  settings = self->settings;
  switch (prop_id) {
    case PROP_CROP_SIZE:
      settings.crop_size = g_value_get_uint (value);
      break;
    case PROP_LOCAL_STEP:
      settings.local_step = g_value_get_enum (value);
      break;
    case PROP_LOCAL_REGION:
      settings.local_region = g_value_get_enum (value);
      break;
    case PROP_ENLARGE_SMALL:
      settings.enlarge_small = g_value_get_boolean (value);
      break;
    case PROP_MASK_THRESHOLD:
      settings.mask_threshold = g_value_get_double (value);
      break;
    default:
      g_assert_not_reached ();
  }
  if (!self->started || cpsp_settings_check (&settings, &error))
    self->settings = settings;
  GST_OBJECT_UNLOCK (self);

  if (error) {
    GST_ELEMENT_WARNING (self, LIBRARY, SETTINGS, ("%s", error->message),
        ("The old value stays."));
    g_error_free (error);
  }
}

static void
gst_cascade_psp_refine_set_property (GObject * object, guint prop_id,
    const GValue * value, GParamSpec * pspec)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (object);

  switch (prop_id) {
    case PROP_CROP_SIZE:
    case PROP_LOCAL_STEP:
    case PROP_LOCAL_REGION:
    case PROP_ENLARGE_SMALL:
    case PROP_MASK_THRESHOLD:
      gst_cascade_psp_refine_change_settings (self, prop_id, value);
      return;
    default:
      break;
  }

  GST_OBJECT_LOCK (self);
  switch (prop_id) {
    case PROP_MODEL_LOCATION:
      g_free (self->model_location);
      self->model_location = g_value_dup_string (value);
      break;
    case PROP_BACKEND:
      self->params.backend = g_value_get_enum (value);
      break;
    case PROP_DEVICE_ID:
      self->params.device_id = g_value_get_uint (value);
      break;
    case PROP_PRECISION:
      self->params.precision = g_value_get_enum (value);
      break;
    case PROP_THREADS:
      self->params.threads = g_value_get_uint (value);
      break;
    case PROP_MISSING_MASK:
      self->missing_mask = g_value_get_enum (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, prop_id, pspec);
      break;
  }
  GST_OBJECT_UNLOCK (self);
}

static void
gst_cascade_psp_refine_get_property (GObject * object, guint prop_id,
    GValue * value, GParamSpec * pspec)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (object);

  if (prop_id == PROP_STATS) {
    g_value_take_boxed (value, gst_cascade_psp_refine_get_stats (self));
    return;
  }

  GST_OBJECT_LOCK (self);
  switch (prop_id) {
    case PROP_MODEL_LOCATION:
      g_value_set_string (value, self->model_location);
      break;
    case PROP_BACKEND:
      g_value_set_enum (value, self->params.backend);
      break;
    case PROP_DEVICE_ID:
      g_value_set_uint (value, self->params.device_id);
      break;
    case PROP_PRECISION:
      g_value_set_enum (value, self->params.precision);
      break;
    case PROP_THREADS:
      g_value_set_uint (value, self->params.threads);
      break;
    case PROP_CROP_SIZE:
      g_value_set_uint (value, self->settings.crop_size);
      break;
    case PROP_LOCAL_STEP:
      g_value_set_enum (value, self->settings.local_step);
      break;
    case PROP_LOCAL_REGION:
      g_value_set_enum (value, self->settings.local_region);
      break;
    case PROP_ENLARGE_SMALL:
      g_value_set_boolean (value, self->settings.enlarge_small);
      break;
    case PROP_MASK_THRESHOLD:
      g_value_set_double (value, self->settings.mask_threshold);
      break;
    case PROP_MISSING_MASK:
      g_value_set_enum (value, self->missing_mask);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, prop_id, pspec);
      break;
  }
  GST_OBJECT_UNLOCK (self);
}

#define READY_FLAGS \
  (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY)
#define PLAYING_FLAGS \
  (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_PLAYING)

static void
install_properties (GObjectClass * object_class)
{
  /**
   * GstCascadePspRefine:model-location:
   *
   * The safetensors file with the network's weights. %NULL is the model that
   * is installed with the plugin, or, for builds that are not installed, what
   * the environment variable `CPSP_MODEL` names. The file is read when the
   * element starts; one that is missing or malformed keeps it from starting.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, PROP_MODEL_LOCATION,
      g_param_spec_string ("model-location", "Model location",
          "Safetensors file with the network's weights "
          "(NULL: the installed model)", DEFAULT_MODEL_LOCATION, READY_FLAGS));

  /**
   * GstCascadePspRefine:backend:
   *
   * What runs the network. If a backend is named and cannot run, the element
   * does not start. This version has the CPU only.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, PROP_BACKEND,
      g_param_spec_enum ("backend", "Backend", "What runs the network",
          GST_TYPE_CASCADE_PSP_REFINE_BACKEND, DEFAULT_BACKEND, READY_FLAGS));

  /**
   * GstCascadePspRefine:device-id:
   *
   * Which of several GPUs. The CPU ignores it.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, PROP_DEVICE_ID,
      g_param_spec_uint ("device-id", "Device", "Which of several GPUs",
          0, G_MAXINT, DEFAULT_DEVICE_ID, READY_FLAGS));

  /**
   * GstCascadePspRefine:precision:
   *
   * Numbers that the network computes with. `fp32` gives the published
   * results; the 16-bit ones are faster where the device has them, with
   * differences at boundaries that are hard to tell anyway. A precision that
   * the device does not have keeps the element from starting.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, PROP_PRECISION,
      g_param_spec_enum ("precision", "Precision",
          "Numbers that the network computes with",
          GST_TYPE_CASCADE_PSP_REFINE_PRECISION, DEFAULT_PRECISION,
          READY_FLAGS));

  /**
   * GstCascadePspRefine:threads:
   *
   * Threads of the CPU backend. 0: as many as the process may use. With fewer,
   * decoders and other elements keep cores of their own.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, PROP_THREADS,
      g_param_spec_uint ("threads", "Threads",
          "Threads of the CPU backend (0: as many as the process may use)",
          0, MAX_THREADS, DEFAULT_THREADS, READY_FLAGS));

  /**
   * GstCascadePspRefine:crop-size:
   *
   * The long side of the frame in the Global step and the side of a crop in
   * the Local step: the paper's L. Larger shows the network more context and
   * costs time and memory with its square. Values below 96 cannot work: then
   * the element does not start, or, while it runs, posts a warning and keeps
   * the old value.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, PROP_CROP_SIZE,
      g_param_spec_uint ("crop-size", "Crop size",
          "Long side of the Global step, side of a Local crop, in pixels "
          "(at least " G_STRINGIFY (CPSP_CROP_SIZE_MIN) ")",
          1, CPSP_CROP_SIZE_MAX, CPSP_CROP_SIZE_DEFAULT, PLAYING_FLAGS));

  /**
   * GstCascadePspRefine:local-step:
   *
   * When the Local step follows the Global step. It brings detail that is lost
   * when the frame is scaled to #GstCascadePspRefine:crop-size, and takes most
   * of the time on large frames. With `never` every frame takes the same time.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, PROP_LOCAL_STEP,
      g_param_spec_enum ("local-step", "Local step", "When the Local step runs",
          GST_TYPE_CASCADE_PSP_REFINE_LOCAL_STEP, DEFAULT_LOCAL_STEP,
          PLAYING_FLAGS));

  /**
   * GstCascadePspRefine:local-region:
   *
   * Which crops the Local step refines. `boundary` covers every uncertain
   * boundary with few crops; `reference` is slower and does what the published
   * code does, to the pixel.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, PROP_LOCAL_REGION,
      g_param_spec_enum ("local-region", "Local region",
          "Which crops of the frame the Local step refines",
          GST_TYPE_CASCADE_PSP_REFINE_LOCAL_REGION, DEFAULT_LOCAL_REGION,
          PLAYING_FLAGS));

  /**
   * GstCascadePspRefine:enlarge-small:
   *
   * Whether a frame smaller than #GstCascadePspRefine:crop-size is enlarged to
   * it for the Global step, as the released package does. %FALSE is faster and
   * what the paper describes.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, PROP_ENLARGE_SMALL,
      g_param_spec_boolean ("enlarge-small", "Enlarge small",
          "Enlarge frames smaller than crop-size for the Global step",
          DEFAULT_ENLARGE_SMALL, PLAYING_FLAGS));

  /**
   * GstCascadePspRefine:mask-threshold:
   *
   * A mask value above it, of 0 to 1, is foreground. The mask is cut there
   * before it is refined: a soft mask's shades make no other difference.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, PROP_MASK_THRESHOLD,
      g_param_spec_double ("mask-threshold", "Mask threshold",
          "A mask value above it, of 0 to 1, is foreground",
          0, MAX_MASK_THRESHOLD, DEFAULT_MASK_THRESHOLD,
          PLAYING_FLAGS | GST_PARAM_CONTROLLABLE));

  /**
   * GstCascadePspRefine:missing-mask:
   *
   * What becomes of a frame without a mask. `repeat` refines the last mask
   * against the new frame: right for a short loss and a slow segmentation, and
   * wrong once the object has moved away from it. `pass` and `repeat` keep
   * one alpha for each frame; `drop` does not, which puts elements that count
   * on it (alphacombine) out of step. Nothing takes the place of a dropped
   * frame, not even a GAP event.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, PROP_MISSING_MASK,
      g_param_spec_enum ("missing-mask", "Missing mask",
          "What becomes of a frame without a mask",
          GST_TYPE_CASCADE_PSP_REFINE_MISSING_MASK, DEFAULT_MISSING_MASK,
          PLAYING_FLAGS));

  /**
   * GstCascadePspRefine:stats:
   *
   * What the element has done since it started:
   *
   * - `frames` (#guint64): alpha masks emitted
   * - `global-ms`, `local-ms`, `finish-ms`, `total-ms` (#gdouble):
   *   milliseconds that the last refined frame took, by step
   * - `crops-run`, `crops-grid` (#guint): Local crops of that frame, and how
   *   many the published grid has
   * - `mask-age` (#gint64): nanoseconds from the start of that frame's mask to
   *   its own
   * - `memory-bytes` (#guint64): memory of the engine but for the weights
   * - `device`, `precision` (string): what computes, and in which numbers
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, PROP_STATS,
      g_param_spec_boxed ("stats", "Statistics",
          "What the element has done since it started", GST_TYPE_STRUCTURE,
          G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));

  gst_type_mark_as_plugin_api (GST_TYPE_CASCADE_PSP_REFINE_BACKEND, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_CASCADE_PSP_REFINE_PRECISION, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_CASCADE_PSP_REFINE_LOCAL_STEP, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_CASCADE_PSP_REFINE_LOCAL_REGION, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_CASCADE_PSP_REFINE_MISSING_MASK, 0);
}

/* Object */

static GstAggregatorPad *
add_sink_pad (GstCascadePspRefine * self,
    GstStaticPadTemplate * static_template)
{
  g_autoptr (GstPadTemplate) template =
      gst_static_pad_template_get (static_template);
  GstPad *pad = g_object_new (GST_TYPE_AGGREGATOR_PAD,
      "name", static_template->name_template, "direction", GST_PAD_SINK,
      "template", template, NULL);

  // Caps may leave out what the template says of interlacing.
  GST_PAD_SET_ACCEPT_INTERSECT (pad);
  gst_element_add_pad (GST_ELEMENT (self), pad);
  return GST_AGGREGATOR_PAD (pad);
}

static void
gst_cascade_psp_refine_init (GstCascadePspRefine * self)
{
  self->params.backend = DEFAULT_BACKEND;
  self->params.precision = DEFAULT_PRECISION;
  self->params.threads = DEFAULT_THREADS;
  self->params.device_id = DEFAULT_DEVICE_ID;
  self->settings.crop_size = CPSP_CROP_SIZE_DEFAULT;
  self->settings.local_step = DEFAULT_LOCAL_STEP;
  self->settings.local_region = DEFAULT_LOCAL_REGION;
  self->settings.enlarge_small = DEFAULT_ENLARGE_SMALL;
  self->settings.mask_threshold = DEFAULT_MASK_THRESHOLD;
  self->missing_mask = DEFAULT_MISSING_MASK;

  gst_video_info_init (&self->video_info);
  gst_video_info_init (&self->alpha_info);
  gst_cascade_psp_frame_view_init (&self->view);

  self->video_pad = add_sink_pad (self, &sink_template);
  gst_cascade_psp_mask_track_init (&self->masks,
      add_sink_pad (self, &mask_template));
}

static void
gst_cascade_psp_refine_finalize (GObject * object)
{
  GstCascadePspRefine *self = GST_CASCADE_PSP_REFINE (object);

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
  aggregator_class->sink_event =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_sink_event);
  aggregator_class->src_query =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_src_query);
  aggregator_class->update_src_caps =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_update_src_caps);
  aggregator_class->negotiated_src_caps =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_negotiated_src_caps);
  aggregator_class->negotiate =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_negotiate);
  aggregator_class->propose_allocation =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_propose_allocation);
  aggregator_class->decide_allocation =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_decide_allocation);
  aggregator_class->get_next_time =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_get_next_time);
  aggregator_class->aggregate =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_aggregate);
  aggregator_class->peek_next_sample =
      GST_DEBUG_FUNCPTR (gst_cascade_psp_refine_peek_next_sample);
}
