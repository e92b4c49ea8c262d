/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside the CUDA backend: its device and what its files share.
 *
 * Everything that is enqueued goes to the device's one stream, and is waited
 * for in cpsp_gpu_wait only. Memory moves only when nothing is enqueued.
 */
#pragma once

#include "api.h"
#include "backend.h"
#include "conv.h"
#include "kernels.h"

G_BEGIN_DECLS

// Memory that only grows: of the device, or of the host, pinned.
typedef struct
{
  void *data;
  gsize size;
  gboolean pinned;              // the host's
} CpspGpuBuffer;

struct _CpspDevice
{
  const CpspGpuApi *api;
  int number;                   // CUDA's
  char name[256];
  guint skip;                   // engines of each convolution to leave out
  gsize workspace_limit;
  cudaStream_t stream;
  cudnnHandle_t cudnn;

  CpspGpuBuffer arena;          // tensors of the plan that runs
  CpspGpuBuffer twins;          // see CpspPlan
  CpspGpuBuffer workspace;      // of the convolution that runs
  CpspGpuBuffer scratch;        // of the call in progress
  guint64 moves;                // how often one of the first three moved

  CpspGpuBuffer frame, frame_host;      // image and mask, as they are sent
  CpspCudaImage image;
  CpspCudaMask mask;
  gboolean sending;             // frame_host may still be read
  CpspGpuBuffer alpha, alpha_host;
  CpspAlphaView receiving;      // where alpha_host goes; data NULL: nowhere
  gsize planes_size;            // bytes of all planes
};

struct _CpspPlane
{
  CpspDevice *device;
  CpspCudaPlane plane;
  CpspGpuBuffer memory, host;
};

// A convolution's weights in device memory, shared by all plans of the
// process on one GPU.
typedef struct _CpspGpuWeights CpspGpuWeights;

// FALSE and an error that names WHAT, unless STATUS (a cudaError_t) is 0.
gboolean cpsp_gpu_check (const CpspDevice * device, int status,
    const char *what, GError ** error);
// Makes the device the calling thread's. First in each of the table's
// functions.
gboolean cpsp_gpu_enter (CpspDevice * device, GError ** error);
// Waits for all that is enqueued, and hands out what was received.
gboolean cpsp_gpu_wait (CpspDevice * device, GError ** error);

// Content is lost if it has to grow. On failure it is empty.
gboolean cpsp_gpu_buffer_grow (CpspDevice * device, CpspGpuBuffer * buffer,
    gsize size, GError ** error);
// Nothing that uses it may be enqueued.
void cpsp_gpu_buffer_clear (CpspDevice * device, CpspGpuBuffer * buffer);
gboolean cpsp_gpu_send (CpspDevice * device, void *dst, const void *src,
    gsize size, GError ** error);
gboolean cpsp_gpu_receive (CpspDevice * device, void *dst, const void *src,
    gsize size, GError ** error);

// CONV's weights as TYPE. Everything is done when this returns.
CpspGpuWeights *cpsp_gpu_weights_get (CpspDevice * device,
    const CpspConv * conv, CpspType type, GError ** error);
void cpsp_gpu_weights_release (CpspDevice * device, CpspGpuWeights * weights);
const void *cpsp_gpu_weights_get_weight (const CpspGpuWeights * weights);
const void *cpsp_gpu_weights_get_bias (const CpspGpuWeights * weights);

CpspDevice *cpsp_gpu_plan_get_device (const CpspPlan * plan);
const CpspProgram *cpsp_gpu_plan_get_program (const CpspPlan * plan);
// Where a tensor is now.
CpspCudaTensor cpsp_gpu_plan_get_tensor (const CpspPlan * plan, gint tensor);

// frame.c: the table's entries of planes and frames, documented in backend.h.
CpspPlane *cpsp_gpu_plane_new (CpspDevice * device, guint width,
    guint height, GError ** error);
void cpsp_gpu_plane_free (CpspPlane * plane);
gboolean cpsp_gpu_plane_clear (CpspPlane * plane, GError ** error);
const float *cpsp_gpu_plane_map (CpspPlane * plane, GError ** error);
gboolean cpsp_gpu_set_frame (CpspDevice * device, const CpspImageView * image,
    const CpspMaskView * mask, GError ** error);
gboolean cpsp_gpu_load_image (CpspPlan * plan, guint slot,
    const CpspCrop * crop, GError ** error);
gboolean cpsp_gpu_load_coarse (CpspPlan * plan, guint slot,
    const CpspCrop * crop, float threshold, GError ** error);
gboolean cpsp_gpu_load_masks (CpspPlan * plan, guint slot,
    const CpspCrop * crop, const CpspPlane * p1, const CpspPlane * p4,
    GError ** error);
gboolean cpsp_gpu_store (CpspPlan * plan, guint slot, CpspOutput output,
    CpspPlane * dst, GError ** error);
gboolean cpsp_gpu_accumulate (CpspPlan * plan, guint slot, CpspOutput output,
    const CpspBlend * blend, CpspPlane * sum, CpspPlane * weight,
    GError ** error);
gboolean cpsp_gpu_finish_alpha (CpspDevice * device,
    const CpspResult * result, const CpspAlphaView * dst, GError ** error);
gboolean cpsp_gpu_finish_plane (CpspDevice * device,
    const CpspResult * result, CpspPlane * dst, GError ** error);
// Copies what finish_alpha made to its view; after a wait.
void cpsp_gpu_hand_out (CpspDevice * device);

extern const CpspBackend cpsp_backend_cuda;

G_END_DECLS
