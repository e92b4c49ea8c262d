/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames and planes of the CUDA backend. A frame is sent as it is, its
 * samples untouched, by way of pinned memory; so comes the alpha back.
 */
#include "gpu.h"

#include <string.h>

// Rows in device memory begin at multiples of this.
#define ROW_ALIGN 64

// Bytes of a frame that lie side by side in each of its rows: those of one
// component, or of several that are interleaved.
typedef struct
{
  const guint8 *data;           // of the first row
  gssize stride;
  gsize row, pitch;             // bytes: of a row, from row to row when sent
  guint rows;
  gsize offset;                 // in the sent frame
} Span;

static gsize
align (gsize n)
{
  return (n + ROW_ALIGN - 1) / ROW_ALIGN * ROW_ALIGN;
}

static guint
shifted (guint side, guint shift)
{
  return (side + (1u << shift) - 1) >> shift;
}

// Takes WIDTH x ROWS samples of COMPONENT into one of the *N spans, or a new
// one; returns which.
static guint
span_add (Span * spans, guint * n, const CpspComponent * component,
    guint width, guint rows)
{
  const guint8 *low = component->data;
  const guint8 *high = low + (gsize) (width - 1) * component->step_bytes +
      (component->wide ? 2 : 1);
  gsize stride = ABS (component->stride_bytes);

  for (guint i = 0; i < *n; i++) {
    Span *s = &spans[i];
    const guint8 *all_low = MIN (low, s->data);
    const guint8 *all_high = MAX (high, s->data + s->row);

    // An odd distance would leave samples of two bytes at odd places.
    if (s->stride == component->stride_bytes && s->rows == rows &&
        (gsize) (all_high - all_low) <= stride &&
        (!component->wide || (low - s->data) % 2 == 0)) {
      s->data = all_low;
      s->row = all_high - all_low;
      return i;
    }
  }
  spans[*n] = (Span) { low, component->stride_bytes, high - low, 0, rows, 0 };
  return (*n)++;
}

// COMPONENT as it is in device memory, of which SPAN begins at BASE.
static CpspCudaComponent
sent_component (const CpspComponent * component, const Span * span,
    const guint8 * base)
{
  return (CpspCudaComponent) {
    .data = base + span->offset + (component->data - span->data),
    .stride_bytes = span->pitch,.step_bytes = component->step_bytes,
    .wide = component->wide,.shift = component->shift,
    .depth = component->depth,
  };
}

gboolean
cpsp_gpu_set_frame (CpspDevice * device, const CpspImageView * image,
    const CpspMaskView * mask, GError ** error)
{
  Span spans[4];                // three components, the mask
  guint n = 0, n_image, of[4];
  gsize size = 0;
  guint8 *base;

  if (!cpsp_gpu_enter (device, error))
    return FALSE;
  for (guint c = 0; c < image->n_components; c++)
    of[c] = span_add (spans, &n, &image->component[c],
        shifted (image->width, c ? image->chroma_shift_x : 0),
        shifted (image->height, c ? image->chroma_shift_y : 0));
  n_image = n;
  of[3] = n_image;
  n = 0;
  span_add (spans + n_image, &n, &mask->component, mask->width, mask->height);
  n += n_image;
  for (guint i = 0; i < n; i++) {
    spans[i].pitch = align (spans[i].row);
    spans[i].offset = size;
    size += spans[i].pitch * spans[i].rows;
  }
  if ((device->sending && !cpsp_gpu_wait (device, error)) ||
      !cpsp_gpu_buffer_grow (device, &device->frame, size, error) ||
      !cpsp_gpu_buffer_grow (device, &device->frame_host, size, error))
    return FALSE;
  for (guint i = 0; i < n; i++)
    for (guint y = 0; y < spans[i].rows; y++)
      memcpy ((guint8 *) device->frame_host.data + spans[i].offset +
          y * spans[i].pitch, spans[i].data + y * spans[i].stride,
          spans[i].row);
  device->sending = TRUE;
  if (!cpsp_gpu_send (device, device->frame.data, device->frame_host.data,
          size, error))
    return FALSE;

  base = device->frame.data;
  device->image = (CpspCudaImage) {
    .width = image->width,.height = image->height,
    .n_components = image->n_components,
    .chroma_shift_x = image->chroma_shift_x,
    .chroma_shift_y = image->chroma_shift_y,
    .chroma_x = image->chroma_x,.chroma_y = image->chroma_y,
  };
  for (guint c = 0; c < image->n_components; c++)
    device->image.component[c] = sent_component (&image->component[c],
        &spans[of[c]], base);
  memcpy (device->image.matrix, image->matrix, sizeof image->matrix);
  memcpy (device->image.offset, image->offset, sizeof image->offset);
  device->mask = (CpspCudaMask) {
    .width = mask->width,.height = mask->height,
    .component = sent_component (&mask->component, &spans[of[3]], base),
    .scale = mask->scale,.offset = mask->offset,
  };
  return TRUE;
}

static CpspCudaCrop
cuda_crop (const CpspCrop * crop)
{
  return (CpspCudaCrop) {
    .width = crop->width,.height = crop->height,
    .step = crop->filter == CPSP_FILTER_ENLARGE ? 1 / crop->ratio : 0,
    .x = crop->x,.y = crop->y,
    .crop_width = crop->crop_width,.crop_height = crop->crop_height,
  };
}

static CpspCudaTensor
plan_input (const CpspPlan * plan)
{
  return cpsp_gpu_plan_get_tensor (plan,
      cpsp_gpu_plan_get_program (plan)->input);
}

static CpspCudaTensor
plan_output (const CpspPlan * plan, CpspOutput output)
{
  const CpspProgram *program = cpsp_gpu_plan_get_program (plan);

  return cpsp_gpu_plan_get_tensor (plan,
      output == CPSP_OUTPUT_P1 ? program->p1 : program->p4);
}

gboolean
cpsp_gpu_load_image (CpspPlan * plan, guint slot, const CpspCrop * crop,
    GError ** error)
{
  CpspDevice *device = cpsp_gpu_plan_get_device (plan);
  const CpspCudaTensor input = plan_input (plan);
  const CpspCudaCrop c = cuda_crop (crop);

  return cpsp_gpu_enter (device, error) &&
      cpsp_gpu_check (device, cpsp_cuda_load_image (&input, slot,
          &device->image, &c, device->stream), "loading an image", error);
}

gboolean
cpsp_gpu_load_coarse (CpspPlan * plan, guint slot, const CpspCrop * crop,
    float threshold, GError ** error)
{
  CpspDevice *device = cpsp_gpu_plan_get_device (plan);
  const CpspCudaTensor input = plan_input (plan);
  const CpspCudaCrop c = cuda_crop (crop);

  return cpsp_gpu_enter (device, error) &&
      cpsp_gpu_check (device, cpsp_cuda_load_coarse (&input, slot,
          &device->mask, device->image.width, device->image.height, &c,
          threshold, device->stream), "loading a mask", error);
}

gboolean
cpsp_gpu_load_masks (CpspPlan * plan, guint slot, const CpspCrop * crop,
    const CpspPlane * p1, const CpspPlane * p4, GError ** error)
{
  CpspDevice *device = cpsp_gpu_plan_get_device (plan);
  const CpspCudaTensor input = plan_input (plan);
  const CpspCudaCrop c = cuda_crop (crop);

  return cpsp_gpu_enter (device, error) &&
      cpsp_gpu_check (device, cpsp_cuda_load_masks (&input, slot, &p1->plane,
          &p4->plane, &c, device->stream), "loading masks", error);
}

CpspPlane *
cpsp_gpu_plane_new (CpspDevice * device, guint width, guint height,
    GError ** error)
{
  CpspPlane *plane = g_new0 (CpspPlane, 1);

  plane->device = device;
  plane->host.pinned = TRUE;
  plane->plane = (CpspCudaPlane) {.width = width,.height = height };
  if (!cpsp_gpu_enter (device, error) ||
      !cpsp_gpu_buffer_grow (device, &plane->memory,
          (gsize) width * height * sizeof (float), error)) {
    g_free (plane);
    return NULL;
  }
  plane->plane.data = plane->memory.data;
  device->planes_size += plane->memory.size;
  if (!cpsp_gpu_plane_clear (plane, error)) {
    cpsp_gpu_plane_free (plane);
    return NULL;
  }
  return plane;
}

void
cpsp_gpu_plane_free (CpspPlane * plane)
{
  CpspDevice *device = plane->device;

  cpsp_gpu_enter (device, NULL);
  cpsp_gpu_wait (device, NULL);
  device->planes_size -= plane->memory.size;
  cpsp_gpu_buffer_clear (device, &plane->memory);
  cpsp_gpu_buffer_clear (device, &plane->host);
  g_free (plane);
}

gboolean
cpsp_gpu_plane_clear (CpspPlane * plane, GError ** error)
{
  CpspDevice *device = plane->device;

  return cpsp_gpu_enter (device, error) &&
      cpsp_gpu_check (device, device->api->cudaMemsetAsync
      (plane->memory.data, 0, (gsize) plane->plane.width *
          plane->plane.height * sizeof (float), device->stream),
      "cudaMemsetAsync", error);
}

const float *
cpsp_gpu_plane_map (CpspPlane * plane, GError ** error)
{
  CpspDevice *device = plane->device;
  gsize size = (gsize) plane->plane.width * plane->plane.height *
      sizeof (float);

  if (!cpsp_gpu_enter (device, error) ||
      !cpsp_gpu_buffer_grow (device, &plane->host, size, error) ||
      !cpsp_gpu_receive (device, plane->host.data, plane->memory.data, size,
          error) || !cpsp_gpu_wait (device, error))
    return NULL;
  return plane->host.data;
}

gboolean
cpsp_gpu_store (CpspPlan * plan, guint slot, CpspOutput output,
    CpspPlane * dst, GError ** error)
{
  CpspDevice *device = cpsp_gpu_plan_get_device (plan);
  const CpspCudaTensor src = plan_output (plan, output);

  return cpsp_gpu_enter (device, error) &&
      cpsp_gpu_check (device, cpsp_cuda_store (&dst->plane, &src, slot,
          device->stream), "storing a result", error);
}

gboolean
cpsp_gpu_accumulate (CpspPlan * plan, guint slot, CpspOutput output,
    const CpspBlend * blend, CpspPlane * sum, CpspPlane * weight,
    GError ** error)
{
  CpspDevice *device = cpsp_gpu_plan_get_device (plan);
  const CpspCudaTensor src = plan_output (plan, output);
  const CpspCudaBlend b = {
    .trim_left = blend->trim_left,.trim_top = blend->trim_top,
    .x = blend->x,.y = blend->y,
    .width = blend->width,.height = blend->height,
    .ramp_left = blend->ramp_left,.ramp_top = blend->ramp_top,
    .ramp_right = blend->ramp_right,.ramp_bottom = blend->ramp_bottom,
  };

  return cpsp_gpu_enter (device, error) &&
      cpsp_gpu_check (device, cpsp_cuda_accumulate (&sum->plane,
          weight ? &weight->plane : NULL, &src, slot, &b, device->stream),
      "accumulating a result", error);
}

static gboolean
finish_into (CpspDevice * device, const CpspResult * result,
    const CpspCudaAlpha * dst, GError ** error)
{
  static const CpspCudaResize resizes[] = {
    [CPSP_RESIZE_BILINEAR] = CPSP_CUDA_BILINEAR,
    [CPSP_RESIZE_CORNERS] = CPSP_CUDA_CORNERS,
    [CPSP_RESIZE_AREA] = CPSP_CUDA_AREA,
  };
  const CpspCudaResult r = {
    .sum = result->sum ? result->sum->plane.data : NULL,
    .weight = result->weight ? result->weight->plane.data : NULL,
    .base = result->base->plane,
    .resize = resizes[result->resize],.binarise = result->binarise,
  };

  return cpsp_gpu_check (device, cpsp_cuda_finish (dst, &r, device->stream),
      "finishing a result", error);
}

static gsize
alpha_row (const CpspAlphaView * view)
{
  return (gsize) view->width * (view->format == CPSP_ALPHA_U8 ? 1 :
      view->format == CPSP_ALPHA_U16 ? 2 : 4);
}

gboolean
cpsp_gpu_finish_alpha (CpspDevice * device, const CpspResult * result,
    const CpspAlphaView * dst, GError ** error)
{
  static const CpspCudaAlphaFormat formats[] = {
    [CPSP_ALPHA_U8] = CPSP_CUDA_ALPHA_U8,
    [CPSP_ALPHA_U16] = CPSP_CUDA_ALPHA_U16,
    [CPSP_ALPHA_F32] = CPSP_CUDA_ALPHA_F32,
  };
  const gsize pitch = align (alpha_row (dst));
  CpspCudaAlpha alpha = {
    .stride_bytes = pitch,.width = dst->width,.height = dst->height,
    .format = formats[dst->format],
  };

  if (!cpsp_gpu_enter (device, error) ||
      (device->receiving.data && !cpsp_gpu_wait (device, error)) ||
      !cpsp_gpu_buffer_grow (device, &device->alpha, pitch * dst->height,
          error) ||
      !cpsp_gpu_buffer_grow (device, &device->alpha_host,
          pitch * dst->height, error))
    return FALSE;
  alpha.data = device->alpha.data;
  if (!finish_into (device, result, &alpha, error) ||
      !cpsp_gpu_receive (device, device->alpha_host.data, device->alpha.data,
          pitch * dst->height, error))
    return FALSE;
  device->receiving = *dst;
  return TRUE;
}

void
cpsp_gpu_hand_out (CpspDevice * device)
{
  const CpspAlphaView *view = &device->receiving;
  const gsize row = alpha_row (view);

  for (guint y = 0; view->data && y < view->height; y++)
    memcpy (view->data + y * view->stride_bytes,
        (guint8 *) device->alpha_host.data + y * align (row), row);
  device->receiving.data = NULL;
}

gboolean
cpsp_gpu_finish_plane (CpspDevice * device, const CpspResult * result,
    CpspPlane * dst, GError ** error)
{
  const CpspCudaAlpha alpha = {
    .data = dst->plane.data,
    .stride_bytes = (gsize) dst->plane.width * sizeof (float),
    .width = dst->plane.width,.height = dst->plane.height,
    .format = CPSP_CUDA_ALPHA_F32,
  };

  return cpsp_gpu_enter (device, error) &&
      finish_into (device, result, &alpha, error);
}
