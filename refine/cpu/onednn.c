/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "onednn.h"

#include "error.h"

#include <oneapi/dnnl/dnnl.h>

// Version 2 passes descriptors by pointer to a struct, version 3 by handle.
#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t Desc;
typedef dnnl_memory_desc_t DescOwner;
#define DESC(owner) (owner)
#define desc_clear(owner) dnnl_memory_desc_destroy (owner)
#else
typedef const dnnl_memory_desc_t *Desc;
typedef dnnl_memory_desc_t DescOwner;
#define DESC(owner) (&(owner))
#define desc_clear(owner) ((void) (owner))
#endif

// There is one engine in the process: weights are shared between threads.
static GMutex engine_lock;
static dnnl_engine_t shared_engine;
static guint engine_users;

struct _CpspOnednn
{
  dnnl_engine_t engine;
  dnnl_stream_t stream;
};

struct _CpspOnednnConv
{
  dnnl_primitive_desc_t desc;
  dnnl_primitive_t primitive;
  dnnl_memory_t src, dst, scratch;
};

struct _CpspOnednnWeights
{
  dnnl_memory_t weight;
  dnnl_memory_t bias;           // NULL: none
};

// Returns FALSE with an error that names the call, unless STATUS is success.
static gboolean
check (dnnl_status_t status, const char *call, GError ** error)
{
  if (status == dnnl_success)
    return TRUE;
  g_set_error (error, CPSP_ERROR, status == dnnl_out_of_memory ?
      CPSP_ERROR_NO_MEMORY : CPSP_ERROR_DEVICE,
      "oneDNN: %s failed with status %d", call, status);
  return FALSE;
}

#define CHECK(call) check ((call), #call, error)

const char *
cpsp_onednn_version (void)
{
  static char text[32];
  static gsize once;

  if (g_once_init_enter (&once)) {
    const dnnl_version_t *version = dnnl_version ();

    g_snprintf (text, sizeof text, "oneDNN %d.%d.%d", version->major,
        version->minor, version->patch);
    g_once_init_leave (&once, 1);
  }
  return text;
}

static gboolean
engine_use (dnnl_engine_t * engine, GError ** error)
{
  gboolean ok;

  g_mutex_lock (&engine_lock);
  ok = engine_users > 0 ||
      CHECK (dnnl_engine_create (&shared_engine, dnnl_cpu, 0));
  if (ok) {
    engine_users++;
    *engine = shared_engine;
  }
  g_mutex_unlock (&engine_lock);
  return ok;
}

static void
engine_release (void)
{
  g_mutex_lock (&engine_lock);
  if (--engine_users == 0)
    dnnl_engine_destroy (shared_engine);
  g_mutex_unlock (&engine_lock);
}

CpspOnednn *
cpsp_onednn_new (GError ** error)
{
  CpspOnednn *onednn = g_new0 (CpspOnednn, 1);

  if (!engine_use (&onednn->engine, error) ||
      !CHECK (dnnl_stream_create (&onednn->stream, onednn->engine,
              dnnl_stream_default_flags))) {
    cpsp_onednn_free (onednn);
    return NULL;
  }
  return onednn;
}

void
cpsp_onednn_free (CpspOnednn * onednn)
{
  if (onednn->stream)
    dnnl_stream_destroy (onednn->stream);
  if (onednn->engine)
    engine_release ();
  g_free (onednn);
}

static dnnl_status_t
desc_init (DescOwner * desc, int n_dims, const dnnl_dim_t * dims,
    CpspType type, dnnl_format_tag_t tag)
{
  dnnl_data_type_t data_type = type == CPSP_TYPE_BF16 ? dnnl_bf16 : dnnl_f32;

#if DNNL_VERSION_MAJOR >= 3
  return dnnl_memory_desc_create_with_tag (desc, n_dims, dims, data_type, tag);
#else
  return dnnl_memory_desc_init_by_tag (desc, n_dims, dims, data_type, tag);
#endif
}

// + the destination's old content, ReLU; scratch memory is the caller's.
static dnnl_status_t
make_attributes (const CpspOnednnShape * shape, dnnl_primitive_attr_t * attr)
{
  dnnl_post_ops_t post_ops = NULL;
  dnnl_status_t status = dnnl_primitive_attr_create (attr);

  if (status == dnnl_success)
    status = dnnl_post_ops_create (&post_ops);
  if (status == dnnl_success && shape->accumulate)
#if DNNL_VERSION_MAJOR >= 3
    status = dnnl_post_ops_append_sum (post_ops, 1, 0, dnnl_data_type_undef);
#else
    status = dnnl_post_ops_append_sum (post_ops, 1);
#endif
  if (status == dnnl_success && shape->relu)
#if DNNL_VERSION_MAJOR >= 3
    status = dnnl_post_ops_append_eltwise (post_ops, dnnl_eltwise_relu, 0, 0);
#else
    status = dnnl_post_ops_append_eltwise (post_ops, 1, dnnl_eltwise_relu, 0,
        0);
#endif
  if (status == dnnl_success)
    status = dnnl_primitive_attr_set_post_ops (*attr, post_ops);
  if (status == dnnl_success)
    status = dnnl_primitive_attr_set_scratchpad_mode (*attr,
        dnnl_scratchpad_mode_user);
  if (post_ops)
    dnnl_post_ops_destroy (post_ops);
  return status;
}

static dnnl_status_t
make_primitive_desc (CpspOnednn * onednn, const CpspOnednnShape * shape,
    const DescOwner * descs, const_dnnl_primitive_attr_t attr,
    dnnl_primitive_desc_t * desc)
{
  const dnnl_dims_t strides = { shape->stride, shape->stride };
  const dnnl_dims_t dilations = { shape->dilation - 1, shape->dilation - 1 };
  const dnnl_dims_t padding = { shape->pad_rows, shape->pad_columns };
  Desc bias = shape->bias ? DESC (descs[2]) : NULL;

#if DNNL_VERSION_MAJOR >= 3
  return dnnl_convolution_forward_primitive_desc_create (desc, onednn->engine,
      dnnl_forward_inference, dnnl_convolution_direct, DESC (descs[0]),
      DESC (descs[1]), bias, DESC (descs[3]), strides, dilations, padding,
      padding, attr);
#else
  dnnl_convolution_desc_t conv;
  dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init (&conv,
      dnnl_forward_inference, dnnl_convolution_direct, DESC (descs[0]),
      DESC (descs[1]), bias, DESC (descs[3]), strides, dilations, padding,
      padding);

  if (status != dnnl_success)
    return status;
  return dnnl_primitive_desc_create (desc, &conv, attr, onednn->engine, NULL);
#endif
}

CpspOnednnConv *
cpsp_onednn_conv_new (CpspOnednn * onednn, const CpspOnednnShape * shape,
    GError ** error)
{
  const dnnl_dims_t src = { shape->batch, shape->c_in, shape->src_height,
    shape->src_width
  };
  const dnnl_dims_t weight = { shape->c_out, shape->c_in, shape->kernel,
    shape->kernel
  };
  const dnnl_dims_t bias = { shape->c_out };
  const dnnl_dims_t dst = { shape->batch, shape->c_out, shape->dst_height,
    shape->dst_width
  };
  CpspOnednnConv *conv = g_new0 (CpspOnednnConv, 1);
  DescOwner descs[4] = { 0 };
  dnnl_primitive_attr_t attr = NULL;
  gboolean ok;

  ok = CHECK (desc_init (&descs[0], 4, src, shape->type, dnnl_nhwc)) &&
      CHECK (desc_init (&descs[1], 4, weight, shape->type,
          dnnl_format_tag_any)) &&
      CHECK (desc_init (&descs[2], 1, bias, CPSP_TYPE_F32, dnnl_x)) &&
      CHECK (desc_init (&descs[3], 4, dst, shape->type, dnnl_nhwc)) &&
      CHECK (make_attributes (shape, &attr)) &&
      CHECK (make_primitive_desc (onednn, shape, descs, attr, &conv->desc)) &&
      CHECK (dnnl_primitive_create (&conv->primitive, conv->desc)) &&
      CHECK (dnnl_memory_create (&conv->src, DESC (descs[0]), onednn->engine,
          DNNL_MEMORY_NONE)) &&
      CHECK (dnnl_memory_create (&conv->dst, DESC (descs[3]), onednn->engine,
          DNNL_MEMORY_NONE)) &&
      CHECK (dnnl_memory_create (&conv->scratch,
          dnnl_primitive_desc_query_md (conv->desc,
              dnnl_query_scratchpad_md, 0), onednn->engine, DNNL_MEMORY_NONE));
  if (attr)
    dnnl_primitive_attr_destroy (attr);
  for (guint i = 0; i < G_N_ELEMENTS (descs); i++)
    desc_clear (descs[i]);
  if (!ok) {
    cpsp_onednn_conv_free (conv);
    return NULL;
  }
  return conv;
}

void
cpsp_onednn_conv_free (CpspOnednnConv * conv)
{
  if (conv->scratch)
    dnnl_memory_destroy (conv->scratch);
  if (conv->dst)
    dnnl_memory_destroy (conv->dst);
  if (conv->src)
    dnnl_memory_destroy (conv->src);
  if (conv->primitive)
    dnnl_primitive_destroy (conv->primitive);
  if (conv->desc)
    dnnl_primitive_desc_destroy (conv->desc);
  g_free (conv);
}

gsize
cpsp_onednn_conv_get_scratch (const CpspOnednnConv * conv)
{
  return dnnl_memory_desc_get_size (dnnl_primitive_desc_query_md (conv->desc,
          dnnl_query_scratchpad_md, 0));
}

// Memory that oneDNN owns, filled with float VALUES of layout SRC.
static dnnl_memory_t
make_memory (CpspOnednn * onednn, const float *values, Desc src, Desc dst,
    GError ** error)
{
  dnnl_memory_t from = NULL, to = NULL;
  dnnl_primitive_desc_t desc = NULL;
  dnnl_primitive_t reorder = NULL;
  gboolean ok;

  ok = CHECK (dnnl_memory_create (&from, src, onednn->engine,
          (void *) values)) &&
      CHECK (dnnl_memory_create (&to, dst, onednn->engine,
          DNNL_MEMORY_ALLOCATE)) &&
      CHECK (dnnl_reorder_primitive_desc_create (&desc, src, onednn->engine,
          dst, onednn->engine, NULL)) &&
      CHECK (dnnl_primitive_create (&reorder, desc));
  if (ok) {
    const dnnl_exec_arg_t args[2] = {
      {DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}
    };

    ok = CHECK (dnnl_primitive_execute (reorder, onednn->stream, 2, args)) &&
        CHECK (dnnl_stream_wait (onednn->stream));
  }
  if (reorder)
    dnnl_primitive_destroy (reorder);
  if (desc)
    dnnl_primitive_desc_destroy (desc);
  if (from)
    dnnl_memory_destroy (from);
  if (!ok && to) {
    dnnl_memory_destroy (to);
    to = NULL;
  }
  return to;
}

static Desc
memory_desc (const_dnnl_memory_t memory)
{
  Desc desc = NULL;

  dnnl_memory_get_memory_desc (memory, &desc);
  return desc;
}

CpspOnednnWeights *
cpsp_onednn_weights_new (CpspOnednn * onednn, const CpspOnednnConv * conv,
    const float *weight, const float *bias, GError ** error)
{
  CpspOnednnWeights *weights = g_new0 (CpspOnednnWeights, 1);
  Desc wanted = dnnl_primitive_desc_query_md (conv->desc,
      dnnl_query_weights_md, 0);
  Desc wanted_bias = dnnl_primitive_desc_query_md (conv->desc,
      dnnl_query_weights_md, 1);
  DescOwner given = { 0 };
  gboolean ok;
#if DNNL_VERSION_MAJOR >= 3
  dnnl_dims_t *dims;

  ok = CHECK (dnnl_memory_desc_query (wanted, dnnl_query_dims, &dims)) &&
      CHECK (desc_init (&given, 4, *dims, CPSP_TYPE_F32, dnnl_oihw));
#else
  ok = CHECK (desc_init (&given, 4, wanted->dims, CPSP_TYPE_F32, dnnl_oihw));
#endif
  if (ok) {
    weights->weight = make_memory (onednn, weight, DESC (given), wanted,
        error);
    ok = weights->weight != NULL;
  }
  if (ok && bias) {
    weights->bias = make_memory (onednn, bias, wanted_bias, wanted_bias,
        error);
    ok = weights->bias != NULL;
  }
  desc_clear (given);
  if (!ok) {
    cpsp_onednn_weights_free (weights);
    return NULL;
  }
  return weights;
}

void
cpsp_onednn_weights_free (CpspOnednnWeights * weights)
{
  if (weights->weight)
    dnnl_memory_destroy (weights->weight);
  if (weights->bias)
    dnnl_memory_destroy (weights->bias);
  g_free (weights);
}

gboolean
cpsp_onednn_weights_fit (const CpspOnednnWeights * weights,
    const CpspOnednnConv * conv)
{
  return dnnl_memory_desc_equal (memory_desc (weights->weight),
      dnnl_primitive_desc_query_md (conv->desc, dnnl_query_weights_md, 0));
}

gboolean
cpsp_onednn_conv_run (CpspOnednn * onednn, CpspOnednnConv * conv,
    const CpspOnednnWeights * weights, const void *src, void *dst,
    void *scratch, GError ** error)
{
  const dnnl_exec_arg_t args[5] = {
    {DNNL_ARG_SRC, conv->src}, {DNNL_ARG_WEIGHTS, weights->weight},
    {DNNL_ARG_DST, conv->dst}, {DNNL_ARG_SCRATCHPAD, conv->scratch},
    {DNNL_ARG_BIAS, weights->bias},
  };

  return CHECK (dnnl_memory_set_data_handle (conv->src, (void *) src)) &&
      CHECK (dnnl_memory_set_data_handle (conv->dst, dst)) &&
      CHECK (dnnl_memory_set_data_handle (conv->scratch, scratch)) &&
      CHECK (dnnl_primitive_execute (conv->primitive, onednn->stream,
          weights->bias ? 5 : 4, args)) &&
      CHECK (dnnl_stream_wait (onednn->stream));
}
