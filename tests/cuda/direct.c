/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A backend for tests that calls nothing but the kernels of cuda/kernels.h,
 * so that tests/refine/test-ops.c compares them with the reference. Every
 * tensor, plane and list of weights has memory of its own and of the exact
 * size; nothing is kept between calls that need not be. Convolutions are not
 * ours and fail.
 */
#include "backend.h"
#include "device.h"
#include "error.h"
#include "kernels.h"

extern const CpspBackend cpsp_backend_direct;

struct _CpspDevice
{
  CpspCudaImage image;
  CpspCudaMask mask;
  void *frame[4];               // memory of their components
  gsize planes_size;
};

struct _CpspPlan
{
  CpspDevice *device;
  const CpspProgram *program;
  void **memory;                // per tensor
};

struct _CpspPlane
{
  CpspDevice *device;
  CpspCudaPlane view;
};

// Of a call that returned STATUS, when all that it launched has run.
static gboolean
check_status (int status, const char *what, GError ** error)
{
  if (status == 0)
    status = device_sync ();
  if (status == 0)
    return TRUE;
  g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE, "%s: CUDA error %d",
      what, status);
  return FALSE;
}

// N floats, followed by zeros up to N_PADDED. (device_free)
static float *
upload (const float *values, gsize n, gsize n_padded)
{
  float *memory = device_alloc (n_padded * sizeof (float));

  memcpy (memory, values, n * sizeof (float));
  memset (memory + n, 0, (n_padded - n) * sizeof (float));
  return memory;
}

/* Device */

static CpspDevice *
direct_open (const CpspDeviceParams * params, GError ** error)
{
  return g_new0 (CpspDevice, 1);
}

static void
clear_frame (CpspDevice * device)
{
  for (guint i = 0; i < G_N_ELEMENTS (device->frame); i++)
    g_clear_pointer (&device->frame[i], device_free);
}

static void
direct_close (CpspDevice * device)
{
  clear_frame (device);
  g_free (device);
}

static void
direct_describe (CpspDevice * device, CpspDeviceInfo * info)
{
  *info = (CpspDeviceInfo) {
    .name = "kernels alone",
    .types = 1 << CPSP_TYPE_F32 | 1 << CPSP_TYPE_F16,
    .fastest_type = CPSP_TYPE_F16,
    .batch = 1,
    .memory = device->planes_size,
  };
}

static gboolean
direct_synchronise (CpspDevice * device, GError ** error)
{
  return check_status (0, "synchronise", error);
}

/* Plans */

static CpspCudaTensor
tensor_view (const CpspPlan * plan, gint tensor)
{
  const CpspTensor *t = &plan->program->tensors[tensor];

  return (CpspCudaTensor) {
    .data = plan->memory[tensor],
    .type = t->type == CPSP_TYPE_F16 ? CPSP_CUDA_F16 : CPSP_CUDA_F32,
    .batch = plan->program->params.batch,
    .height = t->height,
    .width = t->width,
    .channels = t->channels,
    .pitch = t->pitch,
  };
}

static CpspPlan *
direct_plan_new (CpspDevice * device, const CpspProgram * program,
    GError ** error)
{
  CpspPlan *plan = g_new0 (CpspPlan, 1);

  plan->device = device;
  plan->program = program;
  plan->memory = g_new0 (void *, program->n_tensors);
  for (guint i = 0; i < program->n_tensors; i++) {
    // Tensors at one offset are views of one memory.
    for (guint k = 0; k < i && !plan->memory[i]; k++) {
      if (program->tensors[k].offset == program->tensors[i].offset)
        plan->memory[i] = plan->memory[k];
    }
    if (!plan->memory[i])
      plan->memory[i] = device_alloc (program->tensors[i].size);
  }
  return plan;
}

static void
direct_plan_free (CpspPlan * plan)
{
  if (!plan)
    return;
  for (guint i = 0; i < plan->program->n_tensors; i++) {
    gboolean is_view = FALSE;

    for (guint k = 0; k < i; k++)
      is_view = is_view || plan->memory[k] == plan->memory[i];
    if (!is_view)
      device_free (plan->memory[i]);
  }
  g_free (plan->memory);
  g_free (plan);
}

static int
run_head (const CpspOp * op, const CpspCudaTensor * dst,
    const CpspCudaTensor * src, const CpspCudaTensor * skip)
{
  const CpspHead *head = op->head;
  const guint hidden = (head->hidden + CPSP_CUDA_HEAD_BLOCK - 1) /
      CPSP_CUDA_HEAD_BLOCK * CPSP_CUDA_HEAD_BLOCK;
  const guint skip_rows = skip ? (op->skip_channels + 7) / 8 * 8 : 0;
  const gsize size = (gsize) (src->pitch + skip_rows) * hidden;
  g_autofree float *rows = g_new0 (float, size);
  float *weight, *bias, *out_weight;
  int status;

  for (guint c = 0; c < head->c_in; c++) {
    const guint row = c < src->channels ? c : src->pitch + c - src->channels;

    for (guint h = 0; h < head->hidden; h++)
      rows[(gsize) row * hidden + h] = head->weight[h * head->c_in + c];
  }
  weight = upload (rows, size, size);
  bias = upload (head->bias, head->hidden, hidden);
  out_weight = upload (head->out_weight, head->hidden, hidden);
  status = cpsp_cuda_head (dst, src, skip, &(CpspCudaHead) {
        .hidden = hidden,.skip_rows = skip_rows,.weight = weight,
        .bias = bias,.out_weight = out_weight,.out_bias = head->out_bias,
      }, NULL);
  device_sync ();
  device_free (weight);
  device_free (bias);
  device_free (out_weight);
  return status;
}

static int
run_op (CpspPlan * plan, const CpspOp * op)
{
  const CpspCudaTensor dst = tensor_view (plan, op->dst);
  const gboolean has_skip = op->skip != CPSP_NO_TENSOR;
  const CpspCudaTensor skip = has_skip ? tensor_view (plan, op->skip) :
      (CpspCudaTensor) { NULL };
  CpspCudaTensor src[CPSP_N_GRIDS];
  float *scale = NULL, *shift = NULL;
  int status = -1;

  for (guint i = 0; i < (op->kind == CPSP_OP_PYRAMID ? CPSP_N_GRIDS : 1); i++)
    src[i] = tensor_view (plan, op->src[i]);
  if (op->affine) {
    scale = upload (op->affine->scale, op->affine->channels, dst.pitch);
    shift = upload (op->affine->shift, op->affine->channels, dst.pitch);
  }
  switch (op->kind) {
    case CPSP_OP_CONV:
      break;
    case CPSP_OP_MAX_POOL:
      status = cpsp_cuda_max_pool (&dst, src, scale, shift, NULL);
      break;
    case CPSP_OP_GRID_POOL:
      status = cpsp_cuda_grid_pool (&dst, src, NULL);
      break;
    case CPSP_OP_PYRAMID:
      status = cpsp_cuda_pyramid (&dst, src, NULL);
      break;
    case CPSP_OP_CONCAT:
      status = cpsp_cuda_concat (&dst, src, has_skip ? &skip : NULL, scale,
          shift, NULL);
      break;
    case CPSP_OP_UPSAMPLE:
      status = cpsp_cuda_upsample (&dst, src, NULL);
      break;
    case CPSP_OP_HEAD:
      status = run_head (op, &dst, src, has_skip ? &skip : NULL);
      break;
    case CPSP_OP_LOGIT:
      status = cpsp_cuda_logit (&dst, op->first_channel, op->n_channels, src,
          op->sigmoid, NULL);
      break;
  }
  device_sync ();
  if (op->affine) {
    device_free (scale);
    device_free (shift);
  }
  return status;
}

static gboolean
direct_plan_run (CpspPlan * plan, guint first, guint n, GError ** error)
{
  for (guint i = first; i < first + n; i++) {
    if (!check_status (run_op (plan, &plan->program->ops[i]), "plan_run",
            error))
      return FALSE;
  }
  return TRUE;
}

static gsize
tensor_values (const CpspCudaTensor * t)
{
  return (gsize) t->batch * t->height * t->width * t->channels;
}

static gboolean
direct_tensor_write (CpspPlan * plan, guint tensor, const float *values,
    GError ** error)
{
  const CpspCudaTensor t = tensor_view (plan, (gint) tensor);
  float *memory = upload (values, tensor_values (&t), tensor_values (&t));
  const gboolean ok = check_status (cpsp_cuda_write (&t, memory, NULL),
      "tensor_write", error);

  device_free (memory);
  return ok;
}

static gboolean
direct_tensor_read (CpspPlan * plan, guint tensor, float *values,
    GError ** error)
{
  const CpspCudaTensor t = tensor_view (plan, (gint) tensor);
  const gsize size = tensor_values (&t) * sizeof (float);
  float *memory = device_alloc (size);
  const gboolean ok = check_status (cpsp_cuda_read (memory, &t, NULL),
      "tensor_read", error);

  memcpy (values, memory, size);
  device_free (memory);
  return ok;
}

/* Planes */

static gsize
plane_size (const CpspPlane * plane)
{
  return (gsize) plane->view.width * plane->view.height * sizeof (float);
}

static CpspPlane *
direct_plane_new (CpspDevice * device, guint width, guint height,
    GError ** error)
{
  CpspPlane *plane = g_new0 (CpspPlane, 1);

  plane->device = device;
  plane->view.width = width;
  plane->view.height = height;
  plane->view.data = device_alloc (plane_size (plane));
  device->planes_size += plane_size (plane);
  return plane;
}

static void
direct_plane_free (CpspPlane * plane)
{
  if (!plane)
    return;
  plane->device->planes_size -= plane_size (plane);
  device_free (plane->view.data);
  g_free (plane);
}

static gboolean
direct_plane_clear (CpspPlane * plane, GError ** error)
{
  memset (plane->view.data, 0, plane_size (plane));
  return TRUE;
}

static const float *
direct_plane_map (CpspPlane * plane, GError ** error)
{
  return plane->view.data;
}

/* The frame */

// A copy of the component's samples alone, from the first to the last one.
static CpspCudaComponent
upload_component (const CpspComponent * component, guint width, guint height,
    void **memory)
{
  const gssize rows = (gssize) (height - 1) * component->stride_bytes;
  const gsize before = rows < 0 ? (gsize) - rows : 0;
  const gsize size = (gsize) ABS (rows) + (gsize) (width - 1) *
      component->step_bytes + (component->wide ? 2 : 1);

  *memory = device_alloc (size);
  memcpy (*memory, component->data - before, size);
  return (CpspCudaComponent) {
    .data = (guint8 *) * memory + before,
    .stride_bytes = component->stride_bytes,
    .step_bytes = component->step_bytes,
    .wide = component->wide,
    .shift = component->shift,
    .depth = component->depth,
  };
}

static gboolean
direct_set_frame (CpspDevice * device, const CpspImageView * image,
    const CpspMaskView * mask, GError ** error)
{
  CpspCudaImage *view = &device->image;

  clear_frame (device);
  *view = (CpspCudaImage) {
    .width = image->width,
    .height = image->height,
    .n_components = image->n_components,
    .chroma_shift_x = image->chroma_shift_x,
    .chroma_shift_y = image->chroma_shift_y,
    .chroma_x = image->chroma_x,
    .chroma_y = image->chroma_y,
  };
  memcpy (view->matrix, image->matrix, sizeof (view->matrix));
  memcpy (view->offset, image->offset, sizeof (view->offset));
  for (guint i = 0; i < image->n_components; i++) {
    const guint shift_x = i ? image->chroma_shift_x : 0;
    const guint shift_y = i ? image->chroma_shift_y : 0;

    view->component[i] = upload_component (&image->component[i],
        (image->width + (1u << shift_x) - 1) >> shift_x,
        (image->height + (1u << shift_y) - 1) >> shift_y, &device->frame[i]);
  }
  device->mask = (CpspCudaMask) {
    .width = mask->width,
    .height = mask->height,
    .component = upload_component (&mask->component, mask->width,
        mask->height, &device->frame[3]),
    .scale = mask->scale,
    .offset = mask->offset,
  };
  return TRUE;
}

static CpspCudaCrop
crop_view (const CpspCrop * crop)
{
  return (CpspCudaCrop) {
    .width = crop->width,
    .height = crop->height,
    .step = crop->filter == CPSP_FILTER_ENLARGE ? (float) (1 / crop->ratio) :
        0,
    .x = crop->x,
    .y = crop->y,
    .crop_width = crop->crop_width,
    .crop_height = crop->crop_height,
  };
}

static gboolean
direct_load_image (CpspPlan * plan, guint slot, const CpspCrop * crop,
    GError ** error)
{
  const CpspCudaTensor dst = tensor_view (plan, plan->program->input);
  const CpspCudaCrop view = crop_view (crop);

  return check_status (cpsp_cuda_load_image (&dst, slot, &plan->device->image,
          &view, NULL), "load_image", error);
}

static gboolean
direct_load_coarse (CpspPlan * plan, guint slot, const CpspCrop * crop,
    float threshold, GError ** error)
{
  const CpspCudaTensor dst = tensor_view (plan, plan->program->input);
  const CpspCudaCrop view = crop_view (crop);

  return check_status (cpsp_cuda_load_coarse (&dst, slot, &plan->device->mask,
          plan->device->image.width, plan->device->image.height, &view,
          threshold, NULL), "load_coarse", error);
}

static gboolean
direct_load_masks (CpspPlan * plan, guint slot, const CpspCrop * crop,
    const CpspPlane * p1, const CpspPlane * p4, GError ** error)
{
  const CpspCudaTensor dst = tensor_view (plan, plan->program->input);
  const CpspCudaCrop view = crop_view (crop);

  return check_status (cpsp_cuda_load_masks (&dst, slot, &p1->view, &p4->view,
          &view, NULL), "load_masks", error);
}

/* Results */

static CpspCudaTensor
output_view (CpspPlan * plan, CpspOutput output)
{
  return tensor_view (plan, output == CPSP_OUTPUT_P1 ? plan->program->p1 :
      plan->program->p4);
}

static gboolean
direct_store (CpspPlan * plan, guint slot, CpspOutput output, CpspPlane * dst,
    GError ** error)
{
  const CpspCudaTensor src = output_view (plan, output);

  return check_status (cpsp_cuda_store (&dst->view, &src, slot, NULL),
      "store", error);
}

static gboolean
direct_accumulate (CpspPlan * plan, guint slot, CpspOutput output,
    const CpspBlend * blend, CpspPlane * sum, CpspPlane * weight,
    GError ** error)
{
  const CpspCudaTensor src = output_view (plan, output);
  const CpspCudaBlend view = {
    .trim_left = blend->trim_left,
    .trim_top = blend->trim_top,
    .x = blend->x,
    .y = blend->y,
    .width = blend->width,
    .height = blend->height,
    .ramp_left = blend->ramp_left,
    .ramp_top = blend->ramp_top,
    .ramp_right = blend->ramp_right,
    .ramp_bottom = blend->ramp_bottom,
  };

  return check_status (cpsp_cuda_accumulate (&sum->view,
          weight ? &weight->view : NULL, &src, slot, &view, NULL),
      "accumulate", error);
}

static gboolean
finish (const CpspResult * result, const CpspCudaAlpha * dst, GError ** error)
{
  static const CpspCudaResize resizes[] = {
    [CPSP_RESIZE_BILINEAR] = CPSP_CUDA_BILINEAR,
    [CPSP_RESIZE_CORNERS] = CPSP_CUDA_CORNERS,
    [CPSP_RESIZE_AREA] = CPSP_CUDA_AREA,
  };
  const CpspCudaResult view = {
    .sum = result->sum ? result->sum->view.data : NULL,
    .weight = result->weight ? result->weight->view.data : NULL,
    .base = result->base->view,
    .resize = resizes[result->resize],
    .binarise = result->binarise,
  };

  return check_status (cpsp_cuda_finish (dst, &view, NULL), "finish", error);
}

static gboolean
direct_finish_alpha (CpspDevice * device, const CpspResult * result,
    const CpspAlphaView * dst, GError ** error)
{
  static const struct
  {
    CpspCudaAlphaFormat format;
    guint size;
  } formats[] = {
    [CPSP_ALPHA_U8] = { CPSP_CUDA_ALPHA_U8, 1 },
    [CPSP_ALPHA_U16] = { CPSP_CUDA_ALPHA_U16, 2 },
    [CPSP_ALPHA_F32] = { CPSP_CUDA_ALPHA_F32, 4 },
  };
  const gsize size = (dst->height - 1) * (gsize) dst->stride_bytes +
      (gsize) dst->width * formats[dst->format].size;
  const CpspCudaAlpha view = {
    .data = device_alloc (size),
    .stride_bytes = dst->stride_bytes,
    .width = dst->width,
    .height = dst->height,
    .format = formats[dst->format].format,
  };
  gboolean ok;

  memcpy (view.data, dst->data, size);
  ok = finish (result, &view, error);
  memcpy (dst->data, view.data, size);
  device_free (view.data);
  return ok;
}

static gboolean
direct_finish_plane (CpspDevice * device, const CpspResult * result,
    CpspPlane * dst, GError ** error)
{
  const CpspCudaAlpha view = {
    .data = dst->view.data,
    .stride_bytes = (ptrdiff_t) (dst->view.width * sizeof (float)),
    .width = dst->view.width,
    .height = dst->view.height,
    .format = CPSP_CUDA_ALPHA_F32,
  };

  return finish (result, &view, error);
}

const CpspBackend cpsp_backend_direct = {
  .name = "kernels",
  .open = direct_open,
  .close = direct_close,
  .describe = direct_describe,
  .plan_new = direct_plan_new,
  .plan_free = direct_plan_free,
  .plan_run = direct_plan_run,
  .tensor_write = direct_tensor_write,
  .tensor_read = direct_tensor_read,
  .plane_new = direct_plane_new,
  .plane_free = direct_plane_free,
  .plane_clear = direct_plane_clear,
  .plane_map = direct_plane_map,
  .set_frame = direct_set_frame,
  .load_image = direct_load_image,
  .load_coarse = direct_load_coarse,
  .load_masks = direct_load_masks,
  .store = direct_store,
  .accumulate = direct_accumulate,
  .finish_alpha = direct_finish_alpha,
  .finish_plane = direct_finish_plane,
  .synchronise = direct_synchronise,
};
