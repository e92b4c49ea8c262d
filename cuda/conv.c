/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conv.h"

#include "error.h"

#include <string.h>

// Configurations of engines to look at, of each of the heuristics.
#define MAX_CONFIGS 32
// Of a graph: five tensors and three between them, convolution, its
// operation, two to three pointwise ones with an operation each, the graph,
// the configuration, the plan.
#define MAX_DESCRIPTORS 24
// Tensors in memory: X, W, bias, residual, Y.
#define MAX_TENSORS 5
// Memory of tensors starts at multiples of this.
#define ALIGNMENT 16

// Ids of tensors. cuDNN does not notice it if two are equal.
enum
{
  ID_X = 1,
  ID_WEIGHT,
  ID_BIAS,
  ID_RESIDUAL,
  ID_Y,
  ID_BETWEEN,                   // and those that follow
};

typedef cudnnBackendDescriptor_t Descriptor;

struct _CpspConvPlan
{
  const CpspGpuApi *api;
  Descriptor plan;
  // What the plan was made of; kept as long as it, since cuDNN does not say
  // how much of it a plan still uses.
  Descriptor parts[MAX_DESCRIPTORS];
  guint n_parts;
  gboolean accumulate;
  gint64 workspace;
  gint64 engine;
};

// A plan on its way: after the first failure nothing is called any more.
typedef struct
{
  const CpspGpuApi *api;
  const CpspConvShape *shape;
  const CpspConvTarget *target;
  CpspConvPlan *plan;
  cudnnStatus_t status;
  const char *failed;           // what failed
  guint n_between;
  GArray *skipped;              // numbers of engines that were left out
} Builder;

CpspConvShape
cpsp_conv_shape_of (const CpspProgram * program, guint i)
{
  const CpspOp *op = &program->ops[i];
  const CpspTensor *src = &program->tensors[op->src[0]];
  const CpspTensor *dst = &program->tensors[op->dst];

  return (CpspConvShape) {
    .type = program->params.type,.batch = program->params.batch,
    .height = src->height,.width = src->width,
    .c_in = src->pitch,.c_out = dst->pitch,
    .kernel = op->conv->kernel,.stride = op->stride,
    .dilation = op->dilation,
    .accumulate = op->accumulate,.relu = op->relu,
  };
}

char *
cpsp_conv_shape_to_string (const CpspConvShape * s)
{
  return g_strdup_printf ("convolution %ux%u stride %u dilation %u of %s, "
      "%u x %ux%u, %u to %u channels%s%s", s->kernel, s->kernel, s->stride,
      s->dilation, cpsp_type_name (s->type), s->batch, s->width, s->height,
      s->c_in, s->c_out, s->accumulate ? ", residual" : "",
      s->relu ? ", relu" : "");
}

static void
check (Builder * b, cudnnStatus_t status, const char *what)
{
  if (b->status == CUDNN_STATUS_SUCCESS && status != CUDNN_STATUS_SUCCESS) {
    b->status = status;
    b->failed = what;
  }
}

static Descriptor
create (Builder * b, cudnnBackendDescriptorType_t type)
{
  Descriptor descriptor = NULL;

  if (b->status != CUDNN_STATUS_SUCCESS)
    return NULL;
  check (b, b->api->cudnnBackendCreateDescriptor (type, &descriptor),
      "cudnnBackendCreateDescriptor");
  return b->status == CUDNN_STATUS_SUCCESS ? descriptor : NULL;
}

// One that the plan keeps.
static Descriptor
create_part (Builder * b, cudnnBackendDescriptorType_t type)
{
  Descriptor descriptor = create (b, type);

  g_assert (b->plan->n_parts < MAX_DESCRIPTORS);
  if (descriptor)
    b->plan->parts[b->plan->n_parts++] = descriptor;
  return descriptor;
}

static void
set (Builder * b, Descriptor descriptor, cudnnBackendAttributeName_t name,
    cudnnBackendAttributeType_t type, gint64 n, const void *values)
{
  if (b->status == CUDNN_STATUS_SUCCESS)
    check (b, b->api->cudnnBackendSetAttribute (descriptor, name, type, n,
            values), "cudnnBackendSetAttribute");
}

static void
set_descriptor (Builder * b, Descriptor descriptor,
    cudnnBackendAttributeName_t name, Descriptor value)
{
  set (b, descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void
set_integer (Builder * b, Descriptor descriptor,
    cudnnBackendAttributeName_t name, gint64 value)
{
  set (b, descriptor, name, CUDNN_TYPE_INT64, 1, &value);
}

static void
finalize (Builder * b, Descriptor descriptor, const char *what)
{
  if (b->status == CUDNN_STATUS_SUCCESS)
    check (b, b->api->cudnnBackendFinalize (descriptor), what);
}

// N x C x H x W as cuDNN counts, the channels next to each other in memory.
static Descriptor
add_tensor (Builder * b, gint64 id, cudnnDataType_t type, bool between,
    guint n, guint c, guint h, guint w)
{
  const gint64 sizes[4] = { n, c, h, w };
  const gint64 strides[4] = {
    (gint64) h * w * c, 1, (gint64) w * c, c,
  };
  Descriptor t = create_part (b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);

  set_integer (b, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  set (b, t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
  set_integer (b, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, ALIGNMENT);
  set (b, t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, sizes);
  set (b, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
  set (b, t, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &between);
  finalize (b, t, "a tensor");
  return t;
}

static guint
output_side (guint side, guint stride)
{
  return (side - 1) / stride + 1;
}

static cudnnDataType_t
data_type (const CpspConvShape * shape)
{
  return shape->type == CPSP_TYPE_F16 ? CUDNN_DATA_HALF : CUDNN_DATA_FLOAT;
}

// A tensor of the result's size: in memory, or of sums on their way.
static Descriptor
add_result (Builder * b, gint64 id, bool between)
{
  const CpspConvShape *s = b->shape;

  return add_tensor (b, between ? ID_BETWEEN + b->n_between++ : id,
      between ? CUDNN_DATA_FLOAT : data_type (s), between, s->batch, s->c_out,
      output_side (s->height, s->stride), output_side (s->width, s->stride));
}

static Descriptor
add_convolution (Builder * b, Descriptor x, Descriptor weight, Descriptor y)
{
  const CpspConvShape *s = b->shape;
  const gint64 pad = (gint64) s->dilation * (s->kernel - 1) / 2;
  const gint64 pads[2] = { pad, pad };
  const gint64 dilations[2] = { s->dilation, s->dilation };
  const gint64 strides[2] = { s->stride, s->stride };
  const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  const cudnnDataType_t precision = CUDNN_DATA_FLOAT;
  const float one = 1, zero = 0;
  Descriptor how = create_part (b, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  Descriptor op;

  set_integer (b, how, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 2);
  set (b, how, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1,
      &precision);
  set (b, how, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE,
      1, &mode);
  set (b, how, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2,
      pads);
  set (b, how, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2,
      pads);
  set (b, how, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2,
      dilations);
  set (b, how, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2,
      strides);
  finalize (b, how, "the convolution");

  op = create_part (b, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
  set_descriptor (b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
  set_descriptor (b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, weight);
  set_descriptor (b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y);
  set_descriptor (b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
      how);
  set (b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
      CUDNN_TYPE_FLOAT, 1, &one);
  set (b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT,
      1, &zero);
  finalize (b, op, "the operation of the convolution");
  return op;
}

// y = x + other; without OTHER: relu (x).
static Descriptor
add_pointwise (Builder * b, Descriptor x, Descriptor other, Descriptor y)
{
  const cudnnPointwiseMode_t mode = other ? CUDNN_POINTWISE_ADD :
      CUDNN_POINTWISE_RELU_FWD;
  const cudnnDataType_t precision = CUDNN_DATA_FLOAT;
  Descriptor how = create_part (b, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  Descriptor op;

  set (b, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1,
      &mode);
  set (b, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1,
      &precision);
  finalize (b, how, "a pointwise operation");

  op = create_part (b, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  set_descriptor (b, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
  set_descriptor (b, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
  if (other)
    set_descriptor (b, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, other);
  set_descriptor (b, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
  finalize (b, op, "the operation of a pointwise one");
  return op;
}

static Descriptor
build_graph (Builder * b)
{
  const CpspConvShape *s = b->shape;
  const cudnnDataType_t type = data_type (s);
  Descriptor ops[4];
  gint64 n_ops = 0;
  Descriptor x = add_tensor (b, ID_X, type, false, s->batch, s->c_in,
      s->height, s->width);
  // c_in of both: cuDNN would take a difference for a grouped convolution.
  Descriptor weight = add_tensor (b, ID_WEIGHT, type, false, s->c_out,
      s->c_in, s->kernel, s->kernel);
  Descriptor bias = add_tensor (b, ID_BIAS, type, false, 1, s->c_out, 1, 1);
  Descriptor sum = add_result (b, 0, true), next, graph;

  ops[n_ops++] = add_convolution (b, x, weight, sum);
  if (s->accumulate) {
    Descriptor residual = add_result (b, ID_RESIDUAL, false);

    next = add_result (b, 0, true);
    ops[n_ops++] = add_pointwise (b, sum, residual, next);
    sum = next;
  }
  next = add_result (b, ID_Y, s->relu);
  ops[n_ops++] = add_pointwise (b, sum, bias, next);
  if (s->relu)
    ops[n_ops++] = add_pointwise (b, next, NULL, add_result (b, ID_Y, false));

  graph = create_part (b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  if (b->target->handle)
    set (b, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1,
        &b->target->handle);
  set (b, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
      n_ops, ops);
  finalize (b, graph, "the graph");
  return graph;
}

static gboolean
is_skipped (const Builder * b, gint64 engine)
{
  for (guint i = 0; i < b->skipped->len; i++)
    if (g_array_index (b->skipped, gint64, i) == engine)
      return TRUE;
  return FALSE;
}

// Whether the engine of CONFIG is one that we want; its number.
static gboolean
is_wanted (Builder * b, Descriptor config, gint64 * number)
{
  cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
  Descriptor engine = create (b, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  gint64 n = 0, n_notes = 0;
  gboolean wanted = TRUE;

  if (!engine)
    return FALSE;
  check (b, b->api->cudnnBackendGetAttribute (config,
          CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n,
          &engine), "the engine of a configuration");
  if (b->status == CUDNN_STATUS_SUCCESS)
    check (b, b->api->cudnnBackendGetAttribute (engine,
            CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &n, number),
        "an engine's number");
  if (b->status == CUDNN_STATUS_SUCCESS)
    check (b, b->api->cudnnBackendGetAttribute (engine,
            CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
            CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &n_notes, notes),
        "an engine's notes");
  b->api->cudnnBackendDestroyDescriptor (engine);
  // A newer cuDNN may know more of them than there was room for.
  n_notes = MIN (n_notes, CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
  for (gint64 i = 0; b->status == CUDNN_STATUS_SUCCESS && i < n_notes; i++)
    switch (notes[i]) {
      case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
        wanted = FALSE;
        break;
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
        // TF32
        wanted = wanted && b->shape->type == CPSP_TYPE_F16;
        break;
      default:
        break;
    }
  return wanted && b->status == CUDNN_STATUS_SUCCESS;
}

// A plan of CONFIG within the workspace, or NULL. That cuDNN refuses one is
// no failure: the next may do.
static Descriptor
try_config (Builder * b, Descriptor config, gint64 * workspace)
{
  const CpspConvTarget *target = b->target;
  Descriptor plan = create (b, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  Builder own = *b;
  gint64 n = 0;

  if (!plan)
    return NULL;
  if (target->handle)
    set (&own, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1,
        &target->handle);
  set_descriptor (&own, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
      config);
  if (target->description)
    set_descriptor (&own, plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
        target->description);
  finalize (&own, plan, "the plan");
  if (own.status == CUDNN_STATUS_SUCCESS)
    check (&own, own.api->cudnnBackendGetAttribute (plan,
            CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n,
            workspace), "the plan's workspace");
  if (own.status == CUDNN_STATUS_SUCCESS && *workspace >= 0 &&
      (guint64) * workspace <= target->workspace_limit)
    return plan;
  b->api->cudnnBackendDestroyDescriptor (plan);
  return NULL;
}

// Looks through what MODE suggests, best first. Many configurations are of one
// engine, in several sizes of tiles: what is left out are engines.
static void
search (Builder * b, Descriptor graph, cudnnBackendHeurMode_t mode)
{
  CpspConvPlan *result = b->plan;
  Descriptor configs[MAX_CONFIGS] = { NULL };
  Descriptor heuristic = create (b, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  gint64 n = 0;

  set_descriptor (b, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  set (b, heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1,
      &mode);
  if (b->target->description)
    set_descriptor (b, heuristic, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP,
        b->target->description);
  finalize (b, heuristic, "the heuristic");
  for (guint i = 0; i < MAX_CONFIGS; i++)
    configs[i] = create (b, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  if (b->status == CUDNN_STATUS_SUCCESS)
    check (b, b->api->cudnnBackendGetAttribute (heuristic,
            CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
            MAX_CONFIGS, &n, configs), "the heuristic's results");
  for (gint64 i = 0; b->status == CUDNN_STATUS_SUCCESS && !result->plan &&
      i < MIN (n, MAX_CONFIGS); i++) {
    gint64 engine = 0, workspace = 0;
    Descriptor plan = is_wanted (b, configs[i], &engine) &&
        !is_skipped (b, engine) ? try_config (b, configs[i], &workspace) :
        NULL;

    if (plan && b->skipped->len < b->target->skip) {
      g_array_append_val (b->skipped, engine);
      b->api->cudnnBackendDestroyDescriptor (plan);
    } else if (plan) {
      result->plan = plan;
      result->workspace = workspace;
      result->engine = engine;
      g_assert (result->n_parts < MAX_DESCRIPTORS);
      result->parts[result->n_parts++] = g_steal_pointer (&configs[i]);
    }
  }
  for (guint i = 0; i < MAX_CONFIGS; i++)
    if (configs[i])
      b->api->cudnnBackendDestroyDescriptor (configs[i]);
  if (heuristic)
    b->api->cudnnBackendDestroyDescriptor (heuristic);
}

gint
cpsp_conv_error_code (cudnnStatus_t status)
{
  return status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ||
      status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ?
      CPSP_ERROR_NO_MEMORY : CPSP_ERROR_DEVICE;
}

static void
report (const Builder * b, GError ** error)
{
  g_autofree char *text = cpsp_conv_shape_to_string (b->shape);
  char detail[512] = "";

  if (b->status == CUDNN_STATUS_SUCCESS) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE,
        "cuDNN has no engine for %s within %" G_GSIZE_FORMAT
        " bytes of workspace", text, b->target->workspace_limit);
    return;
  }
  b->api->cudnnGetLastErrorString (detail, sizeof detail);
  g_set_error (error, CPSP_ERROR, cpsp_conv_error_code (b->status),
      "cuDNN: %s: %s: %s %s", text, b->failed,
      b->api->cudnnGetErrorString (b->status), detail);
}

// cuDNN takes what has too many values for its 31 bits, and does not say what
// becomes of it; smaller batches have less.
static gboolean
check_size (const CpspConvShape * s, GError ** error)
{
  const guint64 x = (guint64) s->batch * s->height * s->width * s->c_in;
  const guint64 y = (guint64) s->batch * output_side (s->height, s->stride) *
      output_side (s->width, s->stride) * s->c_out;
  g_autofree char *text = NULL;

  if (MAX (x, y) <= G_MAXINT32)
    return TRUE;
  text = cpsp_conv_shape_to_string (s);
  g_set_error (error, CPSP_ERROR, CPSP_ERROR_NO_MEMORY,
      "cuDNN has no room for %s: %" G_GUINT64_FORMAT " values", text,
      MAX (x, y));
  return FALSE;
}

CpspConvPlan *
cpsp_conv_plan_new (const CpspGpuApi * api, const CpspConvTarget * target,
    const CpspConvShape * shape, GError ** error)
{
  static const cudnnBackendHeurMode_t modes[] = {
    CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK,
  };
  g_autoptr (GArray) skipped = g_array_new (FALSE, FALSE, sizeof (gint64));
  CpspConvPlan *plan;
  Builder b = {
    .api = api,.shape = shape,.target = target,.skipped = skipped,
  };
  Descriptor graph;

  if (!check_size (shape, error))
    return NULL;
  b.plan = plan = g_new0 (CpspConvPlan, 1);
  plan->api = api;
  plan->accumulate = shape->accumulate;
  graph = build_graph (&b);
  for (guint i = 0; i < G_N_ELEMENTS (modes) && !plan->plan &&
      b.status == CUDNN_STATUS_SUCCESS; i++) {
    search (&b, graph, modes[i]);
    // That one of them does not know the graph is none of the other's.
    if (CUDNN_STATUS_CATEGORY (b.status) == CUDNN_STATUS_NOT_SUPPORTED)
      b.status = CUDNN_STATUS_SUCCESS;
  }
  if (!plan->plan) {
    report (&b, error);
    cpsp_conv_plan_free (plan);
    return NULL;
  }
  return plan;
}

void
cpsp_conv_plan_free (CpspConvPlan * plan)
{
  if (plan->plan)
    plan->api->cudnnBackendDestroyDescriptor (plan->plan);
  while (plan->n_parts > 0)
    plan->api->cudnnBackendDestroyDescriptor (plan->parts[--plan->n_parts]);
  g_free (plan);
}

gsize
cpsp_conv_plan_get_workspace (const CpspConvPlan * plan)
{
  return plan->workspace;
}

gint64
cpsp_conv_plan_get_engine (const CpspConvPlan * plan)
{
  return plan->engine;
}

gboolean
cpsp_conv_plan_run (const CpspConvPlan * plan, cudnnHandle_t handle,
    const CpspConvMemory * memory, GError ** error)
{
  const CpspGpuApi *api = plan->api;
  const gint64 ids[MAX_TENSORS] = {
    ID_X, ID_WEIGHT, ID_BIAS, ID_Y, ID_RESIDUAL,
  };
  const void *const pointers[MAX_TENSORS] = {
    memory->x, memory->weight, memory->bias, memory->y, memory->residual,
  };
  const gint64 n = plan->accumulate ? MAX_TENSORS : MAX_TENSORS - 1;
  Builder b = {.api = api };
  Descriptor pack = create (&b, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);

  set (&b, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n,
      ids);
  set (&b, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
      n, pointers);
  set (&b, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
      &memory->workspace);
  finalize (&b, pack, "the variant pack");
  if (b.status == CUDNN_STATUS_SUCCESS)
    check (&b, api->cudnnBackendExecute (handle, plan->plan, pack),
        "cudnnBackendExecute");
  if (pack)
    api->cudnnBackendDestroyDescriptor (pack);
  if (b.status == CUDNN_STATUS_SUCCESS)
    return TRUE;
  g_set_error (error, CPSP_ERROR, cpsp_conv_error_code (b.status),
      "cuDNN: %s: %s", b.failed, api->cudnnGetErrorString (b.status));
  return FALSE;
}
