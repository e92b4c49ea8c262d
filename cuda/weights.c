/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Weights are converted once per GPU and type, by the GPU.
 */
#include "gpu.h"

#include "error.h"

#include <math.h>

// What rounds to infinity in fp16.
#define F16_OVERFLOW 65520.0f

struct _CpspGpuWeights
{
  const CpspConv *conv;
  CpspType type;
  int number;                   // of the GPU
  guint users;
  CpspGpuBuffer memory;         // weight, then bias
  gsize bias_offset;
  CpspGpuWeights *next;
};

// Also held while weights are converted, so that no two threads do the same.
static GMutex lock;
static CpspGpuWeights *all_weights;

static guint
pad (guint channels)
{
  return (channels + CPSP_CHANNEL_ALIGN - 1) / CPSP_CHANNEL_ALIGN *
      CPSP_CHANNEL_ALIGN;
}

static float
largest (const float *values, gsize n)
{
  float max = 0;

  for (gsize i = 0; i < n; i++)
    max = MAX (max, fabsf (values[i]));
  return max;
}

static gboolean
check_range (const CpspConv * conv, CpspType type, GError ** error)
{
  gsize n = (gsize) conv->c_out * conv->c_in * conv->kernel * conv->kernel;

  if (type == CPSP_TYPE_F32 || (largest (conv->weight, n) < F16_OVERFLOW &&
          (!conv->bias || largest (conv->bias, conv->c_out) < F16_OVERFLOW)))
    return TRUE;
  g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE,
      "the weights of %s do not fit into fp16", conv->name);
  return FALSE;
}

static gboolean
convert (CpspDevice * device, CpspGpuWeights * w, GError ** error)
{
  const CpspConv *conv = w->conv;
  const gsize n = (gsize) conv->c_out * conv->c_in * conv->kernel *
      conv->kernel;
  const gsize size = (gsize) pad (conv->c_out) * pad (conv->c_in) *
      conv->kernel * conv->kernel * cpsp_type_size (w->type);
  const gsize bias_size = pad (conv->c_out) * cpsp_type_size (w->type);
  const CpspCudaType type = w->type == CPSP_TYPE_F16 ? CPSP_CUDA_F16 :
      CPSP_CUDA_F32;
  CpspCudaTensor bias = {
    .type = type,.batch = 1,.height = 1,.width = 1,
    .channels = conv->c_out,.pitch = pad (conv->c_out),
  };
  const gsize bias_at = (n + 3) / 4 * 4;
  float *raw;

  // Both parts of both begin at multiples of 16 bytes.
  w->bias_offset = size;
  if (!cpsp_gpu_buffer_grow (device, &w->memory, size + bias_size, error) ||
      !cpsp_gpu_buffer_grow (device, &device->scratch,
          (bias_at + conv->c_out) * sizeof (float), error))
    return FALSE;
  raw = device->scratch.data;
  bias.data = (guint8 *) w->memory.data + size;
  return cpsp_gpu_send (device, raw, conv->weight, n * sizeof (float), error)
      && cpsp_gpu_check (device, cpsp_cuda_pack_weights (w->memory.data, type,
          raw, conv->c_out, conv->c_in, conv->kernel, device->stream),
      conv->name, error) && (!conv->bias ? cpsp_gpu_check (device,
          device->api->cudaMemsetAsync (bias.data, 0, bias_size,
              device->stream), "cudaMemsetAsync", error) :
      cpsp_gpu_send (device, raw + bias_at, conv->bias,
          conv->c_out * sizeof (float), error) && cpsp_gpu_check (device,
          cpsp_cuda_write (&bias, raw + bias_at, device->stream), conv->name,
          error)) && cpsp_gpu_wait (device, error);
}

static void
weights_free (CpspDevice * device, CpspGpuWeights * w)
{
  // After a failure something may be enqueued still.
  cpsp_gpu_wait (device, NULL);
  cpsp_gpu_buffer_clear (device, &w->memory);
  g_free (w);
}

CpspGpuWeights *
cpsp_gpu_weights_get (CpspDevice * device, const CpspConv * conv,
    CpspType type, GError ** error)
{
  CpspGpuWeights *w;

  g_mutex_lock (&lock);
  for (w = all_weights; w; w = w->next)
    if (w->conv == conv && w->type == type && w->number == device->number)
      break;
  if (!w && check_range (conv, type, error)) {
    w = g_new (CpspGpuWeights, 1);
    *w = (CpspGpuWeights) {
      .conv = conv,.type = type,.number = device->number,
      .next = all_weights,
    };
    if (convert (device, w, error)) {
      all_weights = w;
    } else {
      weights_free (device, w);
      w = NULL;
    }
  }
  if (w)
    w->users++;
  g_mutex_unlock (&lock);
  return w;
}

void
cpsp_gpu_weights_release (CpspDevice * device, CpspGpuWeights * weights)
{
  CpspGpuWeights **link = &all_weights;

  g_mutex_lock (&lock);
  if (--weights->users == 0) {
    while (*link != weights)
      link = &(*link)->next;
    *link = weights->next;
    weights_free (device, weights);
  }
  g_mutex_unlock (&lock);
}

const void *
cpsp_gpu_weights_get_weight (const CpspGpuWeights * weights)
{
  return weights->memory.data;
}

const void *
cpsp_gpu_weights_get_bias (const CpspGpuWeights * weights)
{
  return (guint8 *) weights->memory.data + weights->bias_offset;
}
