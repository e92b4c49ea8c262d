/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stand-in's cuDNN: descriptors, and convolutions that compute. What it
 * accepts is what the precompiled engines of the real one do (tests/cuda/plans
 * asks those): a convolution, then a residual, then a bias, then ReLU, sums
 * between them virtual and fp32. Of anything else it does as the real one
 * does: the graph is fine, but no engine is found for it.
 */
#include "standin-internal.h"

#include "clones.h"

#include <string.h>

#define MAX_ATTRIBUTES 12
#define WORKSPACE 4096
// Engines in the order of the heuristic's results. The first ones must not be
// chosen: they are not deterministic, as precise as asked, or need too much.
enum
{
  ENGINE_RANDOM,
  ENGINE_REDUCED,
  ENGINE_HUGE,
  ENGINE_TF32,                  // good enough for fp16
  ENGINE_GOOD,
  ENGINE_SECOND,
  ENGINE_THIRD,
  N_ENGINES,
};

typedef struct
{
  cudnnBackendAttributeName_t name;
  cudnnBackendAttributeType_t type;
  gint64 n;
  void *values;
} Attribute;

typedef struct
{
  gint64 id, size[4], stride[4], align;
  cudnnDataType_t type;
  bool between;
} Tensor;

// What a graph computes.
typedef struct
{
  Tensor x, weight, bias, residual, y;
  gint64 pad, dilation, stride;
  gboolean has_bias, has_residual, relu;
} Convolution;

typedef struct
{
  cudnnBackendDescriptorType_t type;
  gboolean final;
  Attribute attributes[MAX_ATTRIBUTES];
  guint n_attributes;
  // Of graphs, heuristics, configurations, plans, as far as they are final.
  Convolution convolution;
  gboolean supported;
  gint64 engine;
} Item;

struct cudnnContext
{
  cudaStream_t stream;
};

static guint n_items, n_handles, broken;
static char last_message[128];

guint
standin_cudnn_alive (void)
{
  return n_items + n_handles;
}

void
standin_break_engines (guint n)
{
  broken = n;
}

static cudnnStatus_t
refuse (cudnnStatus_t status, const char *message)
{
  g_strlcpy (last_message, message, sizeof last_message);
  return status;
}

#define BEGIN \
  g_autoptr (GRecMutexLocker) locker = g_rec_mutex_locker_new (&standin_lock)
#define MAY_FAIL(call, status) \
  BEGIN; \
  if (standin_fails (#call)) \
    return refuse (status, "made to fail")

// Attributes

static gsize
value_size (cudnnBackendAttributeType_t type)
{
  switch (type) {
    case CUDNN_TYPE_BOOLEAN:
      return sizeof (bool);
    case CUDNN_TYPE_CHAR:
      return 1;
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
      return 8;
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
      return sizeof (void *);
    default:                   // enumerations, float
      return 4;
  }
}

static const Attribute *
find (const Item * item, cudnnBackendAttributeName_t name)
{
  for (guint i = 0; i < item->n_attributes; i++)
    if (item->attributes[i].name == name)
      return &item->attributes[i];
  return NULL;
}

// Copies attribute NAME; what must be there and is not is the caller's fault.
static void
get (const Item * item, cudnnBackendAttributeName_t name,
    cudnnBackendAttributeType_t type, gint64 n, void *to)
{
  const Attribute *a = find (item, name);

  if (!a || a->type != type || a->n != n)
    g_error ("stand-in: descriptor of type %d: attribute %d is missing or of "
        "another type or number", item->type, name);
  memcpy (to, a->values, n * value_size (type));
}

static gint64
get_integer (const Item * item, cudnnBackendAttributeName_t name)
{
  gint64 value;

  get (item, name, CUDNN_TYPE_INT64, 1, &value);
  return value;
}

static const Item *
get_item (const Item * item, cudnnBackendAttributeName_t name)
{
  const Item *value;

  get (item, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
  return value;
}

static Tensor
get_tensor (const Item * op, cudnnBackendAttributeName_t name)
{
  const Item *item = get_item (op, name);
  Tensor t;

  t.id = get_integer (item, CUDNN_ATTR_TENSOR_UNIQUE_ID);
  t.align = get_integer (item, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
  get (item, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &t.type);
  get (item, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &t.between);
  get (item, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, t.size);
  get (item, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, t.stride);
  return t;
}

// Graphs

static gsize
tensor_bytes (const Tensor * t)
{
  return (gsize) t->size[0] * t->size[1] * t->size[2] * t->size[3] *
      (t->type == CUDNN_DATA_HALF ? 2 : 4);
}

static gboolean
is_nhwc (const Tensor * t)
{
  return t->stride[1] == 1 && t->stride[3] == t->size[1] &&
      t->stride[2] == t->size[1] * t->size[3] &&
      t->stride[0] == t->stride[2] * t->size[2];
}

static gboolean
same_size (const Tensor * a, const Tensor * b)
{
  return memcmp (a->size, b->size, sizeof a->size) == 0;
}

static void
check_ids (const Convolution * c, const Tensor * between, guint n)
{
  const Tensor *all[8] = { &c->x, &c->weight, &c->y };
  guint n_all = 3;

  if (c->has_bias)
    all[n_all++] = &c->bias;
  if (c->has_residual)
    all[n_all++] = &c->residual;
  for (guint i = 0; i < n; i++)
    if (between[i].id != c->y.id)
      all[n_all++] = &between[i];
  for (guint i = 0; i < n_all; i++)
    for (guint k = 0; k < i; k++)
      if (all[i]->id == all[k]->id)
        g_error ("stand-in: two tensors of a graph have one id");
}

// What FIRST, a convolution's operation, computes; a mistake that cuDNN would
// take for something else ends the program.
static void
read_convolution (const Item * first, Convolution * c, Tensor * y)
{
  const Item *how = get_item (first,
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC);
  gint64 pads[2][2], dilations[2], strides[2];

  c->x = get_tensor (first, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X);
  c->weight = get_tensor (first, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W);
  *y = get_tensor (first, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y);
  get (how, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2,
      pads[0]);
  get (how, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2,
      pads[1]);
  get (how, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2,
      dilations);
  get (how, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2,
      strides);
  c->pad = pads[0][0];
  c->dilation = dilations[0];
  c->stride = strides[0];
  if (c->x.size[1] != c->weight.size[1])
    g_error ("stand-in: x has %" G_GINT64_FORMAT " channels, w %"
        G_GINT64_FORMAT ": a grouped convolution", c->x.size[1],
        c->weight.size[1]);
  if (pads[0][1] != c->pad || pads[1][0] != c->pad || pads[1][1] != c->pad ||
      dilations[1] != c->dilation || strides[1] != c->stride)
    g_error ("stand-in: both axes should be alike");
}

// FALSE: no engine takes it.
static gboolean
read_graph (const Item * graph, Convolution * c)
{
  const Attribute *ops = find (graph, CUDNN_ATTR_OPERATIONGRAPH_OPS);
  const Item *const *items;
  Tensor sum, between[3];
  guint n_between = 0;

  if (!ops || ops->n < 1 || ops->n > 4)
    return FALSE;
  items = ops->values;
  if (items[0]->type != CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR)
    return FALSE;
  read_convolution (items[0], c, &sum);
  for (gint64 i = 1; i < ops->n; i++) {
    const Item *op = items[i];
    cudnnPointwiseMode_t mode;

    if (op->type != CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR ||
        !sum.between || sum.type != CUDNN_DATA_FLOAT || c->relu)
      return FALSE;
    if (get_tensor (op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC).id != sum.id)
      g_error ("stand-in: an operation does not go on where the last ended");
    between[n_between++] = sum;
    get (get_item (op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR),
        CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    if (mode == CUDNN_POINTWISE_ADD) {
      Tensor other = get_tensor (op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC);

      if (other.type != c->x.type || other.between || c->has_bias)
        return FALSE;
      if (same_size (&other, &sum) && !c->has_residual &&
          other.size[2] * other.size[3] * other.size[0] > 1) {
        c->has_residual = TRUE;
        c->residual = other;
      } else if (same_size (&other, &sum) && !c->has_residual && i == 1 &&
          ops->n > 2 && find (items[2],
              CUDNN_ATTR_OPERATION_POINTWISE_BDESC)) {
        // of one pixel, as the bias that follows
        c->has_residual = TRUE;
        c->residual = other;
      } else if (other.size[0] == 1 && other.size[2] == 1 &&
          other.size[3] == 1 && other.size[1] == sum.size[1]) {
        c->has_bias = TRUE;
        c->bias = other;
      } else {
        return FALSE;
      }
    } else if (mode == CUDNN_POINTWISE_RELU_FWD) {
      c->relu = TRUE;
    } else {
      return FALSE;
    }
    sum = get_tensor (op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
  }
  c->y = sum;
  check_ids (c, between, n_between);
  for (guint i = 2; i < 4; i++)
    if (c->y.size[i] != (c->x.size[i] + 2 * c->pad -
            c->dilation * (c->weight.size[i] - 1) - 1) / c->stride + 1)
      g_error ("stand-in: the result's sides are wrong");
  if (c->y.size[0] != c->x.size[0] || c->y.size[1] != c->weight.size[0])
    g_error ("stand-in: the result's batch or channels are wrong");
  return !c->y.between && is_nhwc (&c->x) && is_nhwc (&c->weight) &&
      is_nhwc (&c->y) && (!c->has_residual || is_nhwc (&c->residual)) &&
      c->weight.type == c->x.type && c->y.type == c->x.type;
}

// Numbers

CPSP_CLONES static void
load_halfs (float *restrict dst, const _Float16 * restrict src, gsize n)
{
  for (gsize i = 0; i < n; i++)
    dst[i] = src[i];
}

CPSP_CLONES static void
store_halfs (_Float16 * restrict dst, const float *restrict src, gsize n)
{
  for (gsize i = 0; i < n; i++)
    dst[i] = (_Float16) src[i];
}

static float *
load (const void *data, const Tensor * t)
{
  const gsize n = (gsize) t->size[0] * t->size[1] * t->size[2] * t->size[3];
  float *values = g_new (float, n);

  if (t->type == CUDNN_DATA_HALF)
    load_halfs (values, data, n);
  else
    memcpy (values, data, n * sizeof (float));
  return values;
}

// sum[k] += x[c] * w[c][k]
CPSP_CLONES static void
add_tap (float *restrict sum, const float *restrict x,
    const float *restrict w, gsize n_c, gsize n_k)
{
  for (gsize c = 0; c < n_c; c++) {
    const float value = x[c];

    if (value == 0)
      continue;
    for (gsize k = 0; k < n_k; k++)
      sum[k] += value * w[c * n_k + k];
  }
}

typedef struct
{
  Convolution c;
  gboolean broken;
  const void *x, *weight, *bias, *residual;
  void *y, *workspace;
} Job;

// [tap][c][k] of [k][tap][c]
static float *
turn_weight (const float *w, gsize n_k, gsize n_taps, gsize n_c)
{
  float *turned = g_new (float, n_k * n_taps * n_c);

  for (gsize k = 0; k < n_k; k++)
    for (gsize t = 0; t < n_taps; t++)
      for (gsize c = 0; c < n_c; c++)
        turned[(t * n_c + c) * n_k + k] = w[(k * n_taps + t) * n_c + c];
  return turned;
}

static void
job_run (void *data)
{
  const Job *job = data;
  const Convolution *c = &job->c;
  const gsize n_c = c->x.size[1], n_k = c->y.size[1];
  const gint64 side = c->weight.size[2];
  g_autofree float *x = load (job->x, &c->x);
  g_autofree float *raw = load (job->weight, &c->weight);
  g_autofree float *w = turn_weight (raw, n_k, side * side, n_c);
  g_autofree float *bias = c->has_bias ? load (job->bias, &c->bias) : NULL;
  g_autofree float *residual = c->has_residual ?
      load (job->residual, &c->residual) : NULL;
  g_autofree float *sum = g_new (float, n_k);
  gsize at = 0;

  memset (job->workspace, 0xff, WORKSPACE);
  for (gint64 n = 0; n < c->y.size[0]; n++)
    for (gint64 oy = 0; oy < c->y.size[2]; oy++)
      for (gint64 ox = 0; ox < c->y.size[3]; ox++, at += n_k) {
        memset (sum, 0, n_k * sizeof (float));
        for (gint64 r = 0; r < side; r++)
          for (gint64 s = 0; s < side; s++) {
            gint64 iy = oy * c->stride - c->pad + r * c->dilation;
            gint64 ix = ox * c->stride - c->pad + s * c->dilation;

            if (iy >= 0 && ix >= 0 && iy < c->x.size[2] && ix < c->x.size[3])
              add_tap (sum, x + ((n * c->x.size[2] + iy) * c->x.size[3] +
                      ix) * n_c, w + (r * side + s) * n_c * n_k, n_c, n_k);
          }
        for (gsize k = 0; k < n_k; k++) {
          if (residual)
            sum[k] += residual[at + k];
          if (bias)
            sum[k] += bias[k];
          if (c->relu && sum[k] < 0)
            sum[k] = 0;
        }
        if (job->broken)
          sum[0] += 1;
        if (c->y.type == CUDNN_DATA_HALF)
          store_halfs ((_Float16 *) job->y + at, sum, n_k);
        else
          memcpy ((float *) job->y + at, sum, n_k * sizeof (float));
      }
}

// The calls

static size_t
get_version (void)
{
  return CUDNN_VERSION;
}

static size_t
get_cudart_version (void)
{
  return CUDART_VERSION;
}

static const char *
get_error_string (cudnnStatus_t status)
{
  return status == CUDNN_STATUS_SUCCESS ? "no error (stand-in)" :
      "an error (stand-in)";
}

static void
get_last_error_string (char *message, size_t size)
{
  g_strlcpy (message, last_message, size);
}

static cudnnStatus_t
create (cudnnHandle_t * handle)
{
  MAY_FAIL (cudnnCreate, CUDNN_STATUS_NOT_INITIALIZED);
  *handle = g_new0 (struct cudnnContext, 1);
  n_handles++;
  return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t
destroy (cudnnHandle_t handle)
{
  BEGIN;
  g_free (handle);
  n_handles--;
  return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t
set_stream (cudnnHandle_t handle, cudaStream_t stream)
{
  MAY_FAIL (cudnnSetStream, CUDNN_STATUS_INTERNAL_ERROR);
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t
create_descriptor (cudnnBackendDescriptorType_t type,
    cudnnBackendDescriptor_t * descriptor)
{
  Item *item;

  MAY_FAIL (cudnnBackendCreateDescriptor, CUDNN_STATUS_ALLOC_FAILED);
  item = g_new0 (Item, 1);
  item->type = type;
  *descriptor = item;
  n_items++;
  return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t
destroy_descriptor (cudnnBackendDescriptor_t descriptor)
{
  Item *item = descriptor;

  BEGIN;
  for (guint i = 0; i < item->n_attributes; i++)
    g_free (item->attributes[i].values);
  g_free (item);
  n_items--;
  return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t
set_attribute (cudnnBackendDescriptor_t descriptor,
    cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
    int64_t n, const void *values)
{
  Item *item = descriptor;

  MAY_FAIL (cudnnBackendSetAttribute, CUDNN_STATUS_INTERNAL_ERROR);
  if (!item || item->final || !values || n < 1 ||
      item->n_attributes == MAX_ATTRIBUTES || find (item, name))
    g_error ("stand-in: attribute %d set of nothing, to nothing, twice, or "
        "after finalize", name);
  for (int64_t i = 0; type == CUDNN_TYPE_BACKEND_DESCRIPTOR && i < n; i++) {
    const Item *other = ((Item * const *) values)[i];

    if (!other || !other->final)
      g_error ("stand-in: attribute %d is a descriptor that is not final",
          name);
  }
  item->attributes[item->n_attributes++] = (Attribute) {
    name, type, n, g_memdup2 (values, n * value_size (type)),
  };
  return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t
finalize (cudnnBackendDescriptor_t descriptor)
{
  Item *item = descriptor;
  const Item *config;

  MAY_FAIL (cudnnBackendFinalize, CUDNN_STATUS_INTERNAL_ERROR);
  if (item->final)
    g_error ("stand-in: finalized twice");
  switch (item->type) {
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
      item->supported = read_graph (item, &item->convolution);
      break;
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
      get_item (item, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
      break;
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
      config = get_item (item, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
      item->convolution = config->convolution;
      item->engine = config->engine;
      break;
    default:
      break;
  }
  item->final = TRUE;
  return CUDNN_STATUS_SUCCESS;
}

// Configurations of all engines, two of each, the best first; of what is not
// supported none.
static void
get_results (const Item * heuristic, gint64 room, int64_t * n,
    Item * const *configs)
{
  const Item *graph = get_item (heuristic,
      CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);

  *n = graph->supported ? MIN (room, 2 * N_ENGINES) : 0;
  for (int64_t i = 0; i < *n; i++) {
    configs[i]->convolution = graph->convolution;
    configs[i]->engine = i / 2;
    configs[i]->final = TRUE;
  }
}

static void
get_notes (gint64 engine, int64_t * n, cudnnBackendNumericalNote_t * notes)
{
  *n = 1;
  notes[0] = CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
  if (engine == ENGINE_RANDOM)
    notes[0] = CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
  else if (engine == ENGINE_REDUCED)
    notes[0] = CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION;
  else if (engine != ENGINE_TF32)
    *n = 0;
}

static cudnnStatus_t
get_attribute (cudnnBackendDescriptor_t descriptor,
    cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
    int64_t room, int64_t * n, void *values)
{
  const Item *item = descriptor;

  MAY_FAIL (cudnnBackendGetAttribute, CUDNN_STATUS_INTERNAL_ERROR);
  if (!item->final)
    g_error ("stand-in: attribute %d asked for before finalize", name);
  *n = 1;
  switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS:
      get_results (item, room, n, values);
      break;
    case CUDNN_ATTR_ENGINECFG_ENGINE:
      (*(Item **) values)->engine = item->engine;
      (*(Item **) values)->final = TRUE;
      break;
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
      *(gint64 *) values = item->engine;
      break;
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
      get_notes (item->engine, n, values);
      break;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
      *(gint64 *) values = item->engine == ENGINE_HUGE ?
          G_GINT64_CONSTANT (1) << 40 : WORKSPACE;
      break;
    default:
      g_error ("stand-in: attribute %d is not known", name);
  }
  return CUDNN_STATUS_SUCCESS;
}

// The memory of tensor T in a variant pack, which must be the device's.
static void *
find_memory (const Item * pack, const Tensor * t)
{
  const Attribute *ids = find (pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const Attribute *all = find (pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);

  for (gint64 i = 0; i < ids->n; i++) {
    void *data = ((void *const *) all->values)[i];

    if (((const gint64 *) ids->values)[i] != t->id)
      continue;
    if ((guintptr) data % t->align ||
        !standin_is_device (data, tensor_bytes (t)))
      g_error ("stand-in: tensor %" G_GINT64_FORMAT " is not aligned, or not "
          "inside of one allocation", t->id);
    return data;
  }
  g_error ("stand-in: no memory for tensor %" G_GINT64_FORMAT, t->id);
}

static void
check_apart (const Convolution * c, const Job * job, const Tensor * t,
    const void *data)
{
  const guint8 *a = data, *y = job->y;

  if (a < y + tensor_bytes (&c->y) && y < a + tensor_bytes (t))
    g_error ("stand-in: the result overlaps tensor %" G_GINT64_FORMAT, t->id);
}

static cudnnStatus_t
execute (cudnnHandle_t handle, cudnnBackendDescriptor_t plan_descriptor,
    cudnnBackendDescriptor_t pack_descriptor)
{
  const Item *plan = plan_descriptor, *pack = pack_descriptor;
  const Convolution *c = &plan->convolution;
  // That a caller may choose.
  const gint64 first = c->x.type == CUDNN_DATA_HALF ? ENGINE_TF32 :
      ENGINE_GOOD;
  const Attribute *ids;
  Job job = {.c = *c };

  MAY_FAIL (cudnnBackendExecute, CUDNN_STATUS_EXECUTION_FAILED);
  if (!handle || !plan->final || !pack->final)
    g_error ("stand-in: run without a handle, or what is not final");
  if (plan->engine < first)
    g_error ("stand-in: engine %" G_GINT64_FORMAT " is none to choose",
        plan->engine);
  ids = find (pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  if (!ids || ids->n != 3 + c->has_bias + c->has_residual)
    g_error ("stand-in: a variant pack of another number of tensors");
  job.x = find_memory (pack, &c->x);
  job.weight = find_memory (pack, &c->weight);
  job.y = find_memory (pack, &c->y);
  if (c->has_bias)
    job.bias = find_memory (pack, &c->bias);
  if (c->has_residual)
    job.residual = find_memory (pack, &c->residual);
  check_apart (c, &job, &c->x, job.x);
  check_apart (c, &job, &c->weight, job.weight);
  if (c->has_bias)
    check_apart (c, &job, &c->bias, job.bias);
  if (c->has_residual)
    check_apart (c, &job, &c->residual, job.residual);
  get (pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
      &job.workspace);
  if (!standin_is_device (job.workspace, WORKSPACE))
    g_error ("stand-in: the workspace is too small, or not the device's");
  job.broken = plan->engine < first + broken;
  standin_enqueue (handle->stream, job_run, g_free, g_memdup2 (&job,
          sizeof job));
  return CUDNN_STATUS_SUCCESS;
}

void
standin_fill_cudnn (CpspGpuApi * api)
{
  api->cudnnGetVersion = get_version;
  api->cudnnGetCudartVersion = get_cudart_version;
  api->cudnnGetErrorString = get_error_string;
  api->cudnnGetLastErrorString = get_last_error_string;
  api->cudnnCreate = create;
  api->cudnnDestroy = destroy;
  api->cudnnSetStream = set_stream;
  api->cudnnBackendCreateDescriptor = create_descriptor;
  api->cudnnBackendDestroyDescriptor = destroy_descriptor;
  api->cudnnBackendSetAttribute = set_attribute;
  api->cudnnBackendGetAttribute = get_attribute;
  api->cudnnBackendFinalize = finalize;
  api->cudnnBackendExecute = execute;
}
