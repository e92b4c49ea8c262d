/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The CUDA backend: runs a program's operations. Convolutions, with all that
 * follows them, are cuDNN's, the rest our own kernels.
 *
 * cuDNN does not promise that a convolution's result may overwrite its
 * residual. So each tensor that a convolution accumulates into has a twin of
 * the same size: the operation reads one and writes the other, which holds
 * the tensor from then on. Whatever writes a whole tensor writes it at home.
 *
 * A program that is run as a whole is recorded as a CUDA graph the second
 * time, and then is one launch: a frame has hundreds of small operations,
 * and the processor would take longer to enqueue than the GPU to run them.
 */
#include "gpu.h"

#include "alloc.h"
#include "arena.h"
#include "error.h"

#include <string.h>

#define BATCH 4
// Where cuDNN's kernels, and ours, begin: Turing.
#define OLDEST_CAPABILITY 75

#define ROUND_UP(n, step) (((n) + (step) - 1) / (step) * (step))

// What an operation needs beyond the program's own description.
typedef struct
{
  CpspConvPlan *conv;
  CpspGpuWeights *weights;
  gsize constants;              // floats from the start of the plan's
  guint head_hidden;            // padded
} OpData;

struct _CpspPlan
{
  CpspDevice *device;
  const CpspProgram *program;
  OpData *ops;
  CpspGpuBuffer constants;      // floats of affines and heads
  CpspTensor *twins;            // of each tensor; size 0: it has none
  gboolean *away;               // the tensor is in its twin
  // Of a run of all operations, if they end as they began.
  gboolean can_record;
  guint n_runs;                 // since the device's memory last moved
  guint64 moves;                // of the device, at that time
  cudaGraphExec_t graph;
  gboolean *recorded_away;      // `away` after a run of the graph
};

gboolean
cpsp_gpu_check (const CpspDevice * device, int status, const char *what,
    GError ** error)
{
  if (status == cudaSuccess)
    return TRUE;
  // Else it would be told again as the next kernel's.
  device->api->cudaGetLastError ();
  g_set_error (error, CPSP_ERROR, status == cudaErrorMemoryAllocation ?
      CPSP_ERROR_NO_MEMORY : CPSP_ERROR_DEVICE, "CUDA: %s: %s", what,
      device->api->cudaGetErrorString (status));
  return FALSE;
}

gboolean
cpsp_gpu_enter (CpspDevice * device, GError ** error)
{
  return cpsp_gpu_check (device, device->api->cudaSetDevice (device->number),
      "cudaSetDevice", error);
}

gboolean
cpsp_gpu_wait (CpspDevice * device, GError ** error)
{
  gboolean ok = cpsp_gpu_check (device,
      device->api->cudaStreamSynchronize (device->stream),
      "cudaStreamSynchronize", error);

  // After a failure nothing runs any more.
  device->sending = FALSE;
  if (ok)
    cpsp_gpu_hand_out (device);
  device->receiving.data = NULL;
  return ok;
}

void
cpsp_gpu_buffer_clear (CpspDevice * device, CpspGpuBuffer * buffer)
{
  if (buffer->data && buffer->pinned)
    device->api->cudaFreeHost (buffer->data);
  else if (buffer->data)
    device->api->cudaFree (buffer->data);
  buffer->data = NULL;
  buffer->size = 0;
}

gboolean
cpsp_gpu_buffer_grow (CpspDevice * device, CpspGpuBuffer * buffer, gsize size,
    GError ** error)
{
  const CpspGpuApi *api = device->api;

  if (size <= buffer->size)
    return TRUE;
  if (buffer->data) {
    if (!cpsp_gpu_wait (device, error))
      return FALSE;
    cpsp_gpu_buffer_clear (device, buffer);
  }
  if (buffer == &device->arena || buffer == &device->twins ||
      buffer == &device->workspace)
    device->moves++;
  if (!(buffer->pinned ? cpsp_gpu_check (device,
              api->cudaMallocHost (&buffer->data, size), "cudaMallocHost",
              error) :
          cpsp_gpu_check (device, api->cudaMalloc (&buffer->data, size),
              "cudaMalloc", error))) {
    buffer->data = NULL;
    return FALSE;
  }
  buffer->size = size;
  return TRUE;
}

gboolean
cpsp_gpu_send (CpspDevice * device, void *dst, const void *src, gsize size,
    GError ** error)
{
  return cpsp_gpu_check (device, device->api->cudaMemcpyAsync (dst, src, size,
          cudaMemcpyHostToDevice, device->stream), "cudaMemcpyAsync", error);
}

gboolean
cpsp_gpu_receive (CpspDevice * device, void *dst, const void *src, gsize size,
    GError ** error)
{
  return cpsp_gpu_check (device, device->api->cudaMemcpyAsync (dst, src, size,
          cudaMemcpyDeviceToHost, device->stream), "cudaMemcpyAsync", error);
}

CpspDevice *
cpsp_gpu_plan_get_device (const CpspPlan * plan)
{
  return plan->device;
}

const CpspProgram *
cpsp_gpu_plan_get_program (const CpspPlan * plan)
{
  return plan->program;
}

CpspCudaTensor
cpsp_gpu_plan_get_tensor (const CpspPlan * plan, gint tensor)
{
  const CpspTensor *t = &plan->program->tensors[tensor];
  guint8 *data = plan->away[tensor] ? (guint8 *) plan->device->twins.data +
      plan->twins[tensor].offset :
      (guint8 *) plan->device->arena.data + t->offset;

  return (CpspCudaTensor) {
    .data = data,
    .type = t->type == CPSP_TYPE_F16 ? CPSP_CUDA_F16 : CPSP_CUDA_F32,
    .batch = plan->program->params.batch,
    .height = t->height,.width = t->width,
    .channels = t->channels,.pitch = t->pitch,
  };
}

// The device

static void
cuda_close (CpspDevice * device)
{
  const CpspGpuApi *api = device->api;
  CpspGpuBuffer *const buffers[] = {
    &device->arena, &device->twins, &device->workspace, &device->scratch,
    &device->frame, &device->frame_host, &device->alpha, &device->alpha_host,
  };

  cpsp_gpu_enter (device, NULL);
  if (device->stream)
    cpsp_gpu_wait (device, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (buffers); i++)
    cpsp_gpu_buffer_clear (device, buffers[i]);
  if (device->cudnn)
    api->cudnnDestroy (device->cudnn);
  if (device->stream)
    api->cudaStreamDestroy (device->stream);
  g_free (device);
}

static gboolean
check_cudnn (const CpspDevice * device, cudnnStatus_t status,
    const char *what, GError ** error)
{
  if (status == CUDNN_STATUS_SUCCESS)
    return TRUE;
  g_set_error (error, CPSP_ERROR, cpsp_conv_error_code (status),
      "cuDNN: %s: %s", what, device->api->cudnnGetErrorString (status));
  return FALSE;
}

static gboolean
open_device (CpspDevice * device, GError ** error)
{
  const CpspGpuApi *api = device->api;
  struct cudaDeviceProp properties;
  gsize cudnn = api->cudnnGetVersion ();
  int n = 0, driver = 0;

  if (!cpsp_gpu_check (device, api->cudaGetDeviceCount (&n),
          "cudaGetDeviceCount", error))
    return FALSE;
  if (device->number >= n) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE,
        "there is no GPU %d: there are %d", device->number, n);
    return FALSE;
  }
  if (!cpsp_gpu_check (device, api->cudaGetDeviceProperties (&properties,
              device->number), "cudaGetDeviceProperties", error) ||
      !cpsp_gpu_check (device, api->cudaDriverGetVersion (&driver),
          "cudaDriverGetVersion", error))
    return FALSE;
  g_snprintf (device->name, sizeof device->name,
      "%s, compute capability %d.%d, driver for CUDA %d.%d, cuDNN %u.%u.%u",
      properties.name, properties.major, properties.minor, driver / 1000,
      driver % 1000 / 10, (guint) (cudnn / 10000),
      (guint) (cudnn / 100 % 100), (guint) (cudnn % 100));
  if (properties.major * 10 + properties.minor < OLDEST_CAPABILITY) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE,
        "%s: at least %d.%d is needed", device->name, OLDEST_CAPABILITY / 10,
        OLDEST_CAPABILITY % 10);
    return FALSE;
  }
  return cpsp_gpu_enter (device, error) &&
      cpsp_gpu_check (device, api->cudaStreamCreateWithFlags (&device->stream,
          cudaStreamNonBlocking), "cudaStreamCreateWithFlags", error) &&
      check_cudnn (device, api->cudnnCreate (&device->cudnn), "cudnnCreate",
      error) && check_cudnn (device, api->cudnnSetStream (device->cudnn,
          device->stream), "cudnnSetStream", error);
}

static CpspDevice *
cuda_open (const CpspDeviceParams * params, GError ** error)
{
  const CpspGpuApi *api = cpsp_gpu_api_get (error);
  CpspDevice *device;

  if (!api)
    return NULL;
  device = g_new0 (CpspDevice, 1);
  device->api = api;
  device->number = params->device_id;
  device->skip = params->attempt;
  device->workspace_limit = params->workspace ? params->workspace :
      CPSP_WORKSPACE_DEFAULT;
  device->frame_host.pinned = device->alpha_host.pinned = TRUE;
  if (!open_device (device, error)) {
    cuda_close (device);
    return NULL;
  }
  return device;
}

static void
cuda_describe (CpspDevice * device, CpspDeviceInfo * info)
{
  *info = (CpspDeviceInfo) {
    .types = 1 << CPSP_TYPE_F32 | 1 << CPSP_TYPE_F16,
    .fastest_type = CPSP_TYPE_F16,
    .batch = BATCH,
    .launches_whole = TRUE,
    .self_test = TRUE,
    .memory = device->arena.size + device->twins.size +
        device->workspace.size + device->scratch.size + device->frame.size +
        device->alpha.size + device->planes_size,
  };
  g_strlcpy (info->name, device->name, sizeof info->name);
}

// Plans

// Floats of an operation's constants.
static gsize
count_constants (const CpspProgram * program, const CpspOp * op)
{
  guint rows;

  switch (op->kind) {
    case CPSP_OP_MAX_POOL:
      return 2 * program->tensors[op->src[0]].pitch;
    case CPSP_OP_CONCAT:
      return 2 * program->tensors[op->dst].pitch;
    case CPSP_OP_HEAD:
      rows = program->tensors[op->src[0]].pitch +
          ROUND_UP (op->skip_channels, CPSP_CHANNEL_ALIGN);
      return (gsize) (rows + 2) * ROUND_UP (op->head->hidden,
          CPSP_CUDA_HEAD_BLOCK);
    default:
      return 0;
  }
}

static void
fill_affine (const CpspAffine * affine, guint pitch, float *to)
{
  memcpy (to, affine->scale, affine->channels * sizeof (float));
  memcpy (to + pitch, affine->shift, affine->channels * sizeof (float));
}

// As CpspCudaHead describes: weight, bias, out_weight.
static void
fill_head (const CpspProgram * program, const CpspOp * op, guint hidden,
    float *to)
{
  const CpspHead *head = op->head;
  const CpspTensor *src = &program->tensors[op->src[0]];
  guint rows = src->pitch + ROUND_UP (op->skip_channels, CPSP_CHANNEL_ALIGN);
  float *bias = to + (gsize) rows * hidden;

  for (guint c = 0; c < head->c_in; c++) {
    gsize row = c < src->channels ? c : src->pitch + c - src->channels;

    for (guint h = 0; h < head->hidden; h++)
      to[row * hidden + h] = head->weight[(gsize) h * head->c_in + c];
  }
  memcpy (bias, head->bias, head->hidden * sizeof (float));
  memcpy (bias + hidden, head->out_weight, head->hidden * sizeof (float));
}

static gboolean
prepare_constants (CpspPlan * plan, GError ** error)
{
  const CpspProgram *program = plan->program;
  g_autofree float *host = NULL;
  gsize n = 0;

  for (guint i = 0; i < program->n_ops; i++) {
    plan->ops[i].constants = n;
    n += count_constants (program, &program->ops[i]);
  }
  if (n == 0)
    return TRUE;
  host = cpsp_allocate (n, sizeof (float), "constants", error);
  if (!host || !cpsp_gpu_buffer_grow (plan->device, &plan->constants,
          n * sizeof (float), error))
    return FALSE;
  for (guint i = 0; i < program->n_ops; i++) {
    const CpspOp *op = &program->ops[i];
    float *to = host + plan->ops[i].constants;

    if (op->kind == CPSP_OP_MAX_POOL) {
      fill_affine (op->affine, program->tensors[op->src[0]].pitch, to);
    } else if (op->kind == CPSP_OP_CONCAT) {
      fill_affine (op->affine, program->tensors[op->dst].pitch, to);
    } else if (op->kind == CPSP_OP_HEAD) {
      plan->ops[i].head_hidden = ROUND_UP (op->head->hidden,
          CPSP_CUDA_HEAD_BLOCK);
      fill_head (program, op, plan->ops[i].head_hidden, to);
    }
  }
  return cpsp_gpu_send (plan->device, plan->constants.data, host,
      n * sizeof (float), error) && cpsp_gpu_wait (plan->device, error);
}

// Finds the tensors that need twins, and whether a run ends as it began: all
// of them are written as a whole before a convolution accumulates.
static gboolean
prepare_twins (CpspPlan * plan, GError ** error)
{
  const CpspProgram *program = plan->program;
  g_autofree CpspTensor **twins = g_new (CpspTensor *, program->n_tensors);
  g_autofree gboolean *written = g_new0 (gboolean, program->n_tensors);
  guint n = 0;
  gsize size = 0;

  plan->twins = g_new0 (CpspTensor, program->n_tensors);
  plan->away = g_new0 (gboolean, program->n_tensors);
  plan->recorded_away = g_new0 (gboolean, program->n_tensors);
  plan->can_record = TRUE;
  for (guint i = 0; i < program->n_ops; i++) {
    const CpspOp *op = &program->ops[i];
    CpspTensor *twin = &plan->twins[op->dst];

    if (op->kind == CPSP_OP_CONV && op->accumulate) {
      plan->can_record = plan->can_record && written[op->dst];
      if (twin->size == 0) {
        *twin = program->tensors[op->dst];
        twins[n++] = twin;
      }
    }
    written[op->dst] = TRUE;
  }
  if (!cpsp_arena_place (twins, n, program->params.keep_all, &size)) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_NO_MEMORY,
        "no memory for residuals");
    return FALSE;
  }
  return size == 0 ||
      cpsp_gpu_buffer_grow (plan->device, &plan->device->twins, size, error);
}

static gboolean
prepare_conv (CpspPlan * plan, guint i, GError ** error)
{
  CpspDevice *device = plan->device;
  OpData *data = &plan->ops[i];
  const CpspConvShape shape = cpsp_conv_shape_of (plan->program, i);
  const CpspConvTarget target = {
    .handle = device->cudnn,.workspace_limit = device->workspace_limit,
    .skip = device->skip,
  };

  data->conv = cpsp_conv_plan_new (device->api, &target, &shape, error);
  if (!data->conv)
    return FALSE;
  data->weights = cpsp_gpu_weights_get (device, plan->program->ops[i].conv,
      shape.type, error);
  return data->weights && cpsp_gpu_buffer_grow (device, &device->workspace,
      cpsp_conv_plan_get_workspace (data->conv), error);
}

static void
forget_graph (CpspPlan * plan)
{
  if (plan->graph)
    plan->device->api->cudaGraphExecDestroy (plan->graph);
  plan->graph = NULL;
  plan->n_runs = 0;
  plan->moves = plan->device->moves;
}

static void
cuda_plan_free (CpspPlan * plan)
{
  CpspDevice *device = plan->device;

  cpsp_gpu_enter (device, NULL);
  cpsp_gpu_wait (device, NULL);
  forget_graph (plan);
  for (guint i = 0; i < plan->program->n_ops; i++) {
    if (plan->ops[i].conv)
      cpsp_conv_plan_free (plan->ops[i].conv);
    if (plan->ops[i].weights)
      cpsp_gpu_weights_release (device, plan->ops[i].weights);
  }
  cpsp_gpu_buffer_clear (device, &plan->constants);
  g_free (plan->twins);
  g_free (plan->away);
  g_free (plan->recorded_away);
  g_free (plan->ops);
  g_free (plan);
}

static CpspPlan *
cuda_plan_new (CpspDevice * device, const CpspProgram * program,
    GError ** error)
{
  CpspPlan *plan = g_new0 (CpspPlan, 1);
  gboolean ok;

  plan->device = device;
  plan->program = program;
  plan->ops = g_new0 (OpData, program->n_ops);
  ok = cpsp_gpu_enter (device, error) &&
      cpsp_gpu_buffer_grow (device, &device->arena, program->arena_size,
      error) && prepare_twins (plan, error) &&
      prepare_constants (plan, error);
  for (guint i = 0; ok && i < program->n_ops; i++)
    if (program->ops[i].kind == CPSP_OP_CONV)
      ok = prepare_conv (plan, i, error);
  // Only weights need much of it.
  cpsp_gpu_buffer_clear (device, &device->scratch);
  if (!ok) {
    cuda_plan_free (plan);
    return NULL;
  }
  plan->moves = device->moves;
  return plan;
}

static gboolean
run_conv (CpspPlan * plan, guint i, GError ** error)
{
  const CpspOp *op = &plan->program->ops[i];
  const OpData *data = &plan->ops[i];
  CpspConvMemory memory = {
    .x = cpsp_gpu_plan_get_tensor (plan, op->src[0]).data,
    .weight = cpsp_gpu_weights_get_weight (data->weights),
    .bias = cpsp_gpu_weights_get_bias (data->weights),
    .workspace = plan->device->workspace.data,
  };

  if (op->accumulate)
    memory.residual = cpsp_gpu_plan_get_tensor (plan, op->dst).data;
  plan->away[op->dst] = op->accumulate && !plan->away[op->dst];
  memory.y = cpsp_gpu_plan_get_tensor (plan, op->dst).data;
  return cpsp_conv_plan_run (data->conv, plan->device->cudnn, &memory, error);
}

static int
run_head (const CpspPlan * plan, guint i, const CpspCudaTensor * dst,
    const CpspCudaTensor * src, const CpspCudaTensor * skip)
{
  const CpspOp *op = &plan->program->ops[i];
  const guint skip_rows = ROUND_UP (op->skip_channels, CPSP_CHANNEL_ALIGN);
  const guint hidden = plan->ops[i].head_hidden;
  const float *weight = (float *) plan->constants.data +
      plan->ops[i].constants;
  const float *bias = weight + (gsize) (src->pitch + skip_rows) * hidden;
  const CpspCudaHead head = {
    .hidden = hidden,.skip_rows = skip_rows,
    .weight = weight,.bias = bias,.out_weight = bias + hidden,
    .out_bias = op->head->out_bias,
  };

  return cpsp_cuda_head (dst, src, skip, &head, plan->device->stream);
}

// An operation that one of our kernels computes.
static gboolean
run_kernel (CpspPlan * plan, guint i, GError ** error)
{
  static const char *const names[] = {
    [CPSP_OP_MAX_POOL] = "max pool",[CPSP_OP_GRID_POOL] = "grid pool",
    [CPSP_OP_PYRAMID] = "pyramid",[CPSP_OP_CONCAT] = "concat",
    [CPSP_OP_UPSAMPLE] = "upsample",[CPSP_OP_HEAD] = "head",
    [CPSP_OP_LOGIT] = "logit",
  };
  const CpspOp *op = &plan->program->ops[i];
  const float *scale = (float *) plan->constants.data +
      plan->ops[i].constants;
  void *stream = plan->device->stream;
  CpspCudaTensor src[CPSP_N_GRIDS], skip, dst;
  const CpspCudaTensor *used_skip = NULL;
  int status = cudaErrorInvalidValue;

  for (guint k = 0; k < CPSP_N_GRIDS; k++)
    if (op->src[k] != CPSP_NO_TENSOR)
      src[k] = cpsp_gpu_plan_get_tensor (plan, op->src[k]);
  if (op->skip != CPSP_NO_TENSOR) {
    skip = cpsp_gpu_plan_get_tensor (plan, op->skip);
    used_skip = &skip;
  }
  // All but LOGIT write the whole tensor.
  if (op->kind != CPSP_OP_LOGIT)
    plan->away[op->dst] = FALSE;
  dst = cpsp_gpu_plan_get_tensor (plan, op->dst);
  switch (op->kind) {
    case CPSP_OP_MAX_POOL:
      status = cpsp_cuda_max_pool (&dst, src, scale, scale + src[0].pitch,
          stream);
      break;
    case CPSP_OP_GRID_POOL:
      status = cpsp_cuda_grid_pool (&dst, src, stream);
      break;
    case CPSP_OP_PYRAMID:
      status = cpsp_cuda_pyramid (&dst, src, stream);
      break;
    case CPSP_OP_CONCAT:
      status = cpsp_cuda_concat (&dst, src, used_skip, scale,
          scale + dst.pitch, stream);
      break;
    case CPSP_OP_UPSAMPLE:
      status = cpsp_cuda_upsample (&dst, src, stream);
      break;
    case CPSP_OP_HEAD:
      status = run_head (plan, i, &dst, src, used_skip);
      break;
    case CPSP_OP_LOGIT:
      status = cpsp_cuda_logit (&dst, op->first_channel, op->n_channels, src,
          op->sigmoid, stream);
      break;
    case CPSP_OP_CONV:
      break;
  }
  return cpsp_gpu_check (plan->device, status, names[op->kind], error);
}

static gboolean
run_ops (CpspPlan * plan, guint first, guint n, GError ** error)
{
  for (guint i = first; i < first + n; i++)
    if (!(plan->program->ops[i].kind == CPSP_OP_CONV ?
            run_conv (plan, i, error) : run_kernel (plan, i, error)))
      return FALSE;
  return TRUE;
}

// Records a run of all operations. FALSE: it cannot be, and need not be.
static gboolean
record (CpspPlan * plan)
{
  const CpspGpuApi *api = plan->device->api;
  cudaStream_t stream = plan->device->stream;
  cudaGraph_t graph = NULL;
  gboolean ok;

  // Only what this thread does: others may allocate meanwhile.
  if (api->cudaStreamBeginCapture (stream,
          cudaStreamCaptureModeThreadLocal) != cudaSuccess) {
    api->cudaGetLastError ();
    return FALSE;
  }
  ok = run_ops (plan, 0, plan->program->n_ops, NULL);
  ok = api->cudaStreamEndCapture (stream, &graph) == cudaSuccess && ok &&
      api->cudaGraphInstantiate (&plan->graph, graph, 0) == cudaSuccess;
  if (!ok) {
    plan->graph = NULL;
    api->cudaGetLastError ();
  }
  if (graph)
    api->cudaGraphDestroy (graph);
  memcpy (plan->recorded_away, plan->away, plan->program->n_tensors *
      sizeof (gboolean));
  return ok;
}

static gboolean
cuda_plan_run (CpspPlan * plan, guint first, guint n, GError ** error)
{
  CpspDevice *device = plan->device;

  if (!cpsp_gpu_enter (device, error))
    return FALSE;
  if (plan->moves != device->moves)
    forget_graph (plan);
  if (plan->can_record && n == plan->program->n_ops) {
    // The first run loads what the operations need: not to be recorded.
    if (plan->n_runs++ == 1)
      plan->can_record = record (plan);
    if (plan->graph) {
      memcpy (plan->away, plan->recorded_away, plan->program->n_tensors *
          sizeof (gboolean));
      return cpsp_gpu_check (device, device->api->cudaGraphLaunch
          (plan->graph, device->stream), "cudaGraphLaunch", error);
    }
  }
  return run_ops (plan, first, n, error);
}

static gsize
count_values (const CpspPlan * plan, guint tensor)
{
  const CpspTensor *t = &plan->program->tensors[tensor];

  return (gsize) plan->program->params.batch * t->height * t->width *
      t->channels;
}

static gboolean
cuda_tensor_write (CpspPlan * plan, guint tensor, const float *values,
    GError ** error)
{
  CpspDevice *device = plan->device;
  const gsize size = count_values (plan, tensor) * sizeof (float);
  CpspCudaTensor dst;
  gboolean ok;

  plan->away[tensor] = FALSE;
  dst = cpsp_gpu_plan_get_tensor (plan, tensor);
  ok = cpsp_gpu_enter (device, error) &&
      cpsp_gpu_buffer_grow (device, &device->scratch, size, error) &&
      cpsp_gpu_send (device, device->scratch.data, values, size, error) &&
      cpsp_gpu_check (device, cpsp_cuda_write (&dst, device->scratch.data,
          device->stream), "writing a tensor", error);
  // The values are the caller's: they are read before we return, whatever
  // failed.
  return cpsp_gpu_wait (device, ok ? error : NULL) && ok;
}

static gboolean
cuda_tensor_read (CpspPlan * plan, guint tensor, float *values,
    GError ** error)
{
  CpspDevice *device = plan->device;
  const gsize size = count_values (plan, tensor) * sizeof (float);
  const CpspCudaTensor src = cpsp_gpu_plan_get_tensor (plan, tensor);

  return cpsp_gpu_enter (device, error) &&
      cpsp_gpu_buffer_grow (device, &device->scratch, size, error) &&
      cpsp_gpu_check (device, cpsp_cuda_read (device->scratch.data, &src,
          device->stream), "reading a tensor", error) &&
      cpsp_gpu_receive (device, values, device->scratch.data, size, error) &&
      cpsp_gpu_wait (device, error);
}

static gboolean
cuda_synchronise (CpspDevice * device, GError ** error)
{
  return cpsp_gpu_enter (device, error) && cpsp_gpu_wait (device, error);
}

const CpspBackend cpsp_backend_cuda = {
  .name = "cuda",
  .open = cuda_open,
  .close = cuda_close,
  .describe = cuda_describe,
  .plan_new = cuda_plan_new,
  .plan_free = cuda_plan_free,
  .plan_run = cuda_plan_run,
  .tensor_write = cuda_tensor_write,
  .tensor_read = cuda_tensor_read,
  .plane_new = cpsp_gpu_plane_new,
  .plane_free = cpsp_gpu_plane_free,
  .plane_clear = cpsp_gpu_plane_clear,
  .plane_map = cpsp_gpu_plane_map,
  .set_frame = cpsp_gpu_set_frame,
  .load_image = cpsp_gpu_load_image,
  .load_coarse = cpsp_gpu_load_coarse,
  .load_masks = cpsp_gpu_load_masks,
  .store = cpsp_gpu_store,
  .accumulate = cpsp_gpu_accumulate,
  .finish_alpha = cpsp_gpu_finish_alpha,
  .finish_plane = cpsp_gpu_finish_plane,
  .synchronise = cuda_synchronise,
};
