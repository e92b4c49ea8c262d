/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy.h"

#define DEFAULT_BACKEND CPSP_BACKEND_AUTO
#define DEFAULT_DEVICE_ID 0
#define DEFAULT_PRECISION CPSP_PRECISION_AUTO
#define DEFAULT_THREADS 0
#define MAX_THREADS 1024
#define DEFAULT_LOCAL_STEP CPSP_LOCAL_STEP_AUTO
#define DEFAULT_LOCAL_REGION CPSP_LOCAL_REGION_BOUNDARY
#define DEFAULT_ENLARGE_SMALL FALSE
#define DEFAULT_MASK_THRESHOLD 0.5
#define DEFAULT_MISSING_MASK GST_CASCADE_PSP_REFINE_MISSING_MASK_REPEAT
#define DEFAULT_MAX_MASK_AGE (1 * GST_SECOND)
#define DEFAULT_PROCESSING_DEADLINE GST_CLOCK_TIME_NONE
#define DEFAULT_OVERLOAD GST_CASCADE_PSP_REFINE_OVERLOAD_DEGRADE
#define DEFAULT_QOS TRUE
#define DEFAULT_POST_MESSAGES FALSE
#define DEFAULT_PREMULTIPLIED FALSE
#define DEFAULT_SHIFT 0
#define DEFAULT_FEATHER 0
#define DEFAULT_BLACK_POINT 0
#define DEFAULT_WHITE_POINT 1
#define DEFAULT_INVERT FALSE
#define DEFAULT_SHOW GST_CASCADE_PSP_REFINE_SHOW_ALPHA
#define MAX_MASK_THRESHOLD 0.999

#define READY_FLAGS \
  (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY)
#define FLAGS \
  (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_PLAYING)

void
gst_cascade_psp_policy_init (GstCascadePspPolicy * policy)
{
  policy->params.backend = DEFAULT_BACKEND;
  policy->params.device_id = DEFAULT_DEVICE_ID;
  policy->params.precision = DEFAULT_PRECISION;
  policy->params.threads = DEFAULT_THREADS;
  policy->settings.crop_size = CPSP_CROP_SIZE_DEFAULT;
  policy->settings.local_step = DEFAULT_LOCAL_STEP;
  policy->settings.local_region = DEFAULT_LOCAL_REGION;
  policy->settings.enlarge_small = DEFAULT_ENLARGE_SMALL;
  policy->settings.mask_threshold = DEFAULT_MASK_THRESHOLD;
  policy->missing_mask = DEFAULT_MISSING_MASK;
  policy->max_mask_age = DEFAULT_MAX_MASK_AGE;
  policy->processing_deadline = DEFAULT_PROCESSING_DEADLINE;
  policy->overload = DEFAULT_OVERLOAD;
  policy->qos = DEFAULT_QOS;
  policy->post_messages = DEFAULT_POST_MESSAGES;
  policy->premultiplied = DEFAULT_PREMULTIPLIED;
  policy->edge.shift = DEFAULT_SHIFT;
  policy->edge.feather = DEFAULT_FEATHER;
  policy->edge.black_point = DEFAULT_BLACK_POINT;
  policy->edge.white_point = DEFAULT_WHITE_POINT;
  policy->edge.invert = DEFAULT_INVERT;
  policy->show = DEFAULT_SHOW;
}

void
gst_cascade_psp_policy_set (GstCascadePspPolicy * policy, guint prop_id,
    const GValue * value)
{
  switch (prop_id) {
    case GST_CASCADE_PSP_PROP_BACKEND:
      policy->params.backend = g_value_get_enum (value);
      break;
    case GST_CASCADE_PSP_PROP_DEVICE_ID:
      policy->params.device_id = g_value_get_uint (value);
      break;
    case GST_CASCADE_PSP_PROP_PRECISION:
      policy->params.precision = g_value_get_enum (value);
      break;
    case GST_CASCADE_PSP_PROP_THREADS:
      policy->params.threads = g_value_get_uint (value);
      break;
    case GST_CASCADE_PSP_PROP_CROP_SIZE:
      policy->settings.crop_size = g_value_get_uint (value);
      break;
    case GST_CASCADE_PSP_PROP_LOCAL_STEP:
      policy->settings.local_step = g_value_get_enum (value);
      break;
    case GST_CASCADE_PSP_PROP_LOCAL_REGION:
      policy->settings.local_region = g_value_get_enum (value);
      break;
    case GST_CASCADE_PSP_PROP_ENLARGE_SMALL:
      policy->settings.enlarge_small = g_value_get_boolean (value);
      break;
    case GST_CASCADE_PSP_PROP_MASK_THRESHOLD:
      policy->settings.mask_threshold = g_value_get_double (value);
      break;
    case GST_CASCADE_PSP_PROP_MISSING_MASK:
      policy->missing_mask = g_value_get_enum (value);
      break;
    case GST_CASCADE_PSP_PROP_MAX_MASK_AGE:
      policy->max_mask_age = g_value_get_uint64 (value);
      break;
    case GST_CASCADE_PSP_PROP_PROCESSING_DEADLINE:
      policy->processing_deadline = g_value_get_uint64 (value);
      break;
    case GST_CASCADE_PSP_PROP_OVERLOAD:
      policy->overload = g_value_get_enum (value);
      break;
    case GST_CASCADE_PSP_PROP_QOS:
      policy->qos = g_value_get_boolean (value);
      break;
    case GST_CASCADE_PSP_PROP_POST_MESSAGES:
      policy->post_messages = g_value_get_boolean (value);
      break;
    case GST_CASCADE_PSP_PROP_PREMULTIPLIED:
      policy->premultiplied = g_value_get_boolean (value);
      break;
    case GST_CASCADE_PSP_PROP_SHIFT:
      policy->edge.shift = g_value_get_double (value);
      break;
    case GST_CASCADE_PSP_PROP_FEATHER:
      policy->edge.feather = g_value_get_double (value);
      break;
    case GST_CASCADE_PSP_PROP_BLACK_POINT:
      policy->edge.black_point = g_value_get_double (value);
      break;
    case GST_CASCADE_PSP_PROP_WHITE_POINT:
      policy->edge.white_point = g_value_get_double (value);
      break;
    case GST_CASCADE_PSP_PROP_INVERT:
      policy->edge.invert = g_value_get_boolean (value);
      break;
    case GST_CASCADE_PSP_PROP_SHOW:
      policy->show = g_value_get_enum (value);
      break;
  }
}

void
gst_cascade_psp_policy_get (const GstCascadePspPolicy * policy, guint prop_id,
    GValue * value)
{
  switch (prop_id) {
    case GST_CASCADE_PSP_PROP_BACKEND:
      g_value_set_enum (value, policy->params.backend);
      break;
    case GST_CASCADE_PSP_PROP_DEVICE_ID:
      g_value_set_uint (value, policy->params.device_id);
      break;
    case GST_CASCADE_PSP_PROP_PRECISION:
      g_value_set_enum (value, policy->params.precision);
      break;
    case GST_CASCADE_PSP_PROP_THREADS:
      g_value_set_uint (value, policy->params.threads);
      break;
    case GST_CASCADE_PSP_PROP_CROP_SIZE:
      g_value_set_uint (value, policy->settings.crop_size);
      break;
    case GST_CASCADE_PSP_PROP_LOCAL_STEP:
      g_value_set_enum (value, policy->settings.local_step);
      break;
    case GST_CASCADE_PSP_PROP_LOCAL_REGION:
      g_value_set_enum (value, policy->settings.local_region);
      break;
    case GST_CASCADE_PSP_PROP_ENLARGE_SMALL:
      g_value_set_boolean (value, policy->settings.enlarge_small);
      break;
    case GST_CASCADE_PSP_PROP_MASK_THRESHOLD:
      g_value_set_double (value, policy->settings.mask_threshold);
      break;
    case GST_CASCADE_PSP_PROP_MISSING_MASK:
      g_value_set_enum (value, policy->missing_mask);
      break;
    case GST_CASCADE_PSP_PROP_MAX_MASK_AGE:
      g_value_set_uint64 (value, policy->max_mask_age);
      break;
    case GST_CASCADE_PSP_PROP_PROCESSING_DEADLINE:
      g_value_set_uint64 (value, policy->processing_deadline);
      break;
    case GST_CASCADE_PSP_PROP_OVERLOAD:
      g_value_set_enum (value, policy->overload);
      break;
    case GST_CASCADE_PSP_PROP_QOS:
      g_value_set_boolean (value, policy->qos);
      break;
    case GST_CASCADE_PSP_PROP_POST_MESSAGES:
      g_value_set_boolean (value, policy->post_messages);
      break;
    case GST_CASCADE_PSP_PROP_PREMULTIPLIED:
      g_value_set_boolean (value, policy->premultiplied);
      break;
    case GST_CASCADE_PSP_PROP_SHIFT:
      g_value_set_double (value, policy->edge.shift);
      break;
    case GST_CASCADE_PSP_PROP_FEATHER:
      g_value_set_double (value, policy->edge.feather);
      break;
    case GST_CASCADE_PSP_PROP_BLACK_POINT:
      g_value_set_double (value, policy->edge.black_point);
      break;
    case GST_CASCADE_PSP_PROP_WHITE_POINT:
      g_value_set_double (value, policy->edge.white_point);
      break;
    case GST_CASCADE_PSP_PROP_INVERT:
      g_value_set_boolean (value, policy->edge.invert);
      break;
    case GST_CASCADE_PSP_PROP_SHOW:
      g_value_set_enum (value, policy->show);
      break;
  }
}

void
gst_cascade_psp_policy_install (GObjectClass * object_class)
{
  /**
   * GstCascadePspRefine:backend:
   *
   * What runs the network. If a backend is named and cannot run, the element
   * does not start. `auto` takes the GPU where there is one that passes its
   * self-test, leaves it for the CPU if it fails later, and logs why.
   *
   * The CUDA backend was proven by emulation: its authors have never run it
   * on a GPU.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_BACKEND,
      g_param_spec_enum ("backend", "Backend", "What runs the network",
          GST_TYPE_CASCADE_PSP_REFINE_BACKEND, DEFAULT_BACKEND, READY_FLAGS));

  /**
   * GstCascadePspRefine:device-id:
   *
   * Which of several GPUs. The CPU ignores it.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_DEVICE_ID,
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
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_PRECISION,
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
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_THREADS,
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
  g_object_class_install_property (object_class, GST_CASCADE_PSP_PROP_CROP_SIZE,
      g_param_spec_uint ("crop-size", "Crop size",
          "Long side of the Global step, side of a Local crop, in pixels "
          "(at least " G_STRINGIFY (CPSP_CROP_SIZE_MIN) ")",
          1, CPSP_CROP_SIZE_MAX, CPSP_CROP_SIZE_DEFAULT, FLAGS));

  /**
   * GstCascadePspRefine:local-step:
   *
   * When the Local step follows the Global step. It brings detail that is lost
   * when the frame is scaled to #GstCascadePspRefine:crop-size, and takes most
   * of the time on large frames. With `never` every frame takes the same time.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_LOCAL_STEP,
      g_param_spec_enum ("local-step", "Local step", "When the Local step runs",
          GST_TYPE_CASCADE_PSP_REFINE_LOCAL_STEP, DEFAULT_LOCAL_STEP,
          FLAGS));

  /**
   * GstCascadePspRefine:local-region:
   *
   * Which crops the Local step refines. `boundary` covers every uncertain
   * boundary with few crops; `reference` is slower and does what the published
   * code does, to the pixel.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_LOCAL_REGION,
      g_param_spec_enum ("local-region", "Local region",
          "Which crops of the frame the Local step refines",
          GST_TYPE_CASCADE_PSP_REFINE_LOCAL_REGION, DEFAULT_LOCAL_REGION,
          FLAGS));

  /**
   * GstCascadePspRefine:enlarge-small:
   *
   * Whether a frame smaller than #GstCascadePspRefine:crop-size is enlarged to
   * it for the Global step, as the released package does. %FALSE is faster and
   * what the paper describes.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_ENLARGE_SMALL,
      g_param_spec_boolean ("enlarge-small", "Enlarge small",
          "Enlarge frames smaller than crop-size for the Global step",
          DEFAULT_ENLARGE_SMALL, FLAGS));

  /**
   * GstCascadePspRefine:mask-threshold:
   *
   * A mask value above it, of 0 to 1, is foreground. The mask is cut there
   * before it is refined: a soft mask's shades make no other difference.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_MASK_THRESHOLD,
      g_param_spec_double ("mask-threshold", "Mask threshold",
          "A mask value above it, of 0 to 1, is foreground",
          0, MAX_MASK_THRESHOLD, DEFAULT_MASK_THRESHOLD,
          FLAGS | GST_PARAM_CONTROLLABLE));

  /**
   * GstCascadePspRefine:missing-mask:
   *
   * What becomes of a frame without a mask. `repeat` refines the last mask
   * against the new frame: right for a short loss and a slow segmentation, and
   * wrong once the object has moved away from it, so that it ends after
   * #GstCascadePspRefine:max-mask-age; a frame before the first mask takes that
   * one if it is already known and as near. What `repeat` cannot serve passes,
   * as with `pass`: whole, in front of whatever is behind it. No policy shows
   * an object as absent that nobody said is.
   *
   * `repeat` and `pass` keep one alpha for each frame. So does `drop` for those
   * who count GAP events, as alphacombine does; it shows the last alpha
   * once more then, but fails if the first frame of all is a GAP. A compositor
   * shows nothing of the frame.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_MISSING_MASK,
      g_param_spec_enum ("missing-mask", "Missing mask",
          "What becomes of a frame without a mask",
          GST_TYPE_CASCADE_PSP_REFINE_MISSING_MASK, DEFAULT_MISSING_MASK,
          FLAGS));

  /**
   * GstCascadePspRefine:max-mask-age:
   *
   * For how long, in nanoseconds, a mask serves beyond its own time when
   * #GstCascadePspRefine:missing-mask is `repeat`, and an alpha beyond its
   * frame when #GstCascadePspRefine:overload repeats it. The largest value: for
   * ever.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_MAX_MASK_AGE,
      g_param_spec_uint64 ("max-mask-age", "Maximum mask age",
          "For how long a mask or an alpha is repeated, in nanoseconds "
          "(largest value: for ever)", 0, G_MAXUINT64, DEFAULT_MAX_MASK_AGE,
          FLAGS));

  /**
   * GstCascadePspRefine:processing-deadline:
   *
   * How long the refinement of a frame may take in a live pipeline, in
   * nanoseconds; the largest value: one frame duration. The element declares it
   * as latency, however long frames really take. A longer one gives slack for
   * single frames that take longer; the mean cannot exceed the frame
   * duration. What does not fit is up to #GstCascadePspRefine:overload. Where
   * nothing is live a refinement takes as long as it takes.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_PROCESSING_DEADLINE,
      g_param_spec_uint64 ("processing-deadline", "Processing deadline",
          "How long a refinement may take in a live pipeline, in nanoseconds "
          "(largest value: one frame duration)", 0, G_MAXUINT64,
          DEFAULT_PROCESSING_DEADLINE, FLAGS));

  /**
   * GstCascadePspRefine:overload:
   *
   * What becomes of a frame that there is no time to refine: in a live
   * pipeline because of #GstCascadePspRefine:processing-deadline, in any one
   * because of #GstCascadePspRefine:qos. Each such frame posts a QoS message.
   * An alpha is repeated for at most #GstCascadePspRefine:max-mask-age, and
   * only over frames of its size; then the coarse mask leaves as it is. With
   * `degrade` a refinement that a frame has no time for goes on in the time of
   * those that follow; with the others a frame is refined once in a while
   * although there is no time.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, GST_CASCADE_PSP_PROP_OVERLOAD,
      g_param_spec_enum ("overload", "Overload",
          "What becomes of a frame that there is no time to refine",
          GST_TYPE_CASCADE_PSP_REFINE_OVERLOAD, DEFAULT_OVERLOAD,
          FLAGS));

  /**
   * GstCascadePspRefine:qos:
   *
   * Whether frames that would come too late downstream, as its QoS events tell,
   * are not refined.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, GST_CASCADE_PSP_PROP_QOS,
      g_param_spec_boolean ("qos", "QoS",
          "Do not refine frames that come too late downstream", DEFAULT_QOS,
          FLAGS));

  /**
   * GstCascadePspRefine:post-messages:
   *
   * Whether each frame posts an element message on the bus, a structure named
   * `cascadepsprefine`: `timestamp`, `stream-time`, `running-time`, `duration`;
   * `fate`, what became of it, one of the counters' names of
   * #GstCascadePspRefine:stats; `missing-mask`; `overloaded`, whether there was
   * not enough time for all of it; `quality` from 0 (not refined) to 1 (nothing
   * left out); `jitter`, nanoseconds that it left too late; and of its
   * refinement what #GstCascadePspRefine:stats has of the last one.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_POST_MESSAGES,
      g_param_spec_boolean ("post-messages", "Post messages",
          "Post an element message for each frame", DEFAULT_POST_MESSAGES,
          FLAGS));


  /**
   * GstCascadePspRefine:premultiplied:
   *
   * Whether the video's colours leave multiplied by the alpha ("shaped" fill,
   * for an additive key), and not as they came ("unshaped", for a linear one).
   * Caps do not tell: what comes after must be told.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_PREMULTIPLIED,
      g_param_spec_boolean ("premultiplied", "Premultiplied",
          "Multiply the video's colours by the alpha", DEFAULT_PREMULTIPLIED,
          FLAGS));

  /**
   * GstCascadePspRefine:shift:
   *
   * Moves the edges of the finished alpha, in pixels: above 0 outwards
   * (expand), below 0 inwards (choke). What is half transparent stays so.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_SHIFT,
      g_param_spec_double ("shift", "Shift",
          "Pixels that edges move outwards (below 0: inwards)",
          -CPSP_EDGE_SHIFT_MAX, CPSP_EDGE_SHIFT_MAX, DEFAULT_SHIFT,
          FLAGS | GST_PARAM_CONTROLLABLE));

  /**
   * GstCascadePspRefine:feather:
   *
   * Pixels of ramp that a hard edge becomes, half of it on either side. With
   * #GstCascadePspRefine:shift of half as much it lies all outside, with the
   * same below 0 all inside.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_FEATHER,
      g_param_spec_double ("feather", "Feather",
          "Pixels of ramp that a hard edge becomes", 0, CPSP_EDGE_FEATHER_MAX,
          DEFAULT_FEATHER, FLAGS | GST_PARAM_CONTROLLABLE));

  /**
   * GstCascadePspRefine:black-point:
   *
   * Alpha up to it, of 0 to 1, becomes 0 (clip); what is between it and
   * #GstCascadePspRefine:white-point is stretched over the range (gain).
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_BLACK_POINT,
      g_param_spec_double ("black-point", "Black point",
          "Alpha up to it, of 0 to 1, becomes 0", 0, 1, DEFAULT_BLACK_POINT,
          FLAGS | GST_PARAM_CONTROLLABLE));

  /**
   * GstCascadePspRefine:white-point:
   *
   * Alpha from it on, of 0 to 1, becomes 1.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_WHITE_POINT,
      g_param_spec_double ("white-point", "White point",
          "Alpha from it on, of 0 to 1, becomes 1", 0, 1, DEFAULT_WHITE_POINT,
          FLAGS | GST_PARAM_CONTROLLABLE));

  /**
   * GstCascadePspRefine:invert:
   *
   * The key's polarity: %TRUE makes the foreground 0. It comes after all else.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_INVERT,
      g_param_spec_boolean ("invert", "Invert",
          "Make the foreground 0, the background the largest value",
          DEFAULT_INVERT, FLAGS | GST_PARAM_CONTROLLABLE));

  /**
   * GstCascadePspRefine:show:
   *
   * What leaves: the alpha, or a picture of how it came about.
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class,
      GST_CASCADE_PSP_PROP_SHOW,
      g_param_spec_enum ("show", "Show", "What leaves",
          GST_TYPE_CASCADE_PSP_REFINE_SHOW, DEFAULT_SHOW, FLAGS));

  gst_type_mark_as_plugin_api (GST_TYPE_CASCADE_PSP_REFINE_BACKEND, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_CASCADE_PSP_REFINE_PRECISION, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_CASCADE_PSP_REFINE_LOCAL_STEP, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_CASCADE_PSP_REFINE_LOCAL_REGION, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_CASCADE_PSP_REFINE_MISSING_MASK, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_CASCADE_PSP_REFINE_OVERLOAD, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_CASCADE_PSP_REFINE_SHOW, 0);
}
