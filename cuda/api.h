/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one table of device calls: nothing else of this folder calls CUDA's
 * run-time or cuDNN. Their types are the vendor's own, so that the table
 * cannot drift from them. In the module it holds the static run-time and what
 * libcudnn_graph.so.9 has (api.c), in tests a stand-in on host memory.
 */
#pragma once

#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <glib.h>
#include <stdbool.h>

G_BEGIN_DECLS

#define CPSP_RUNTIME_CALLS(X) \
  X (cudaGetDeviceCount) \
  X (cudaGetDeviceProperties) \
  X (cudaDriverGetVersion) \
  X (cudaSetDevice) \
  X (cudaMalloc) \
  X (cudaFree) \
  X (cudaMallocHost) \
  X (cudaFreeHost) \
  X (cudaMemcpyAsync) \
  X (cudaMemsetAsync) \
  X (cudaStreamCreateWithFlags) \
  X (cudaStreamDestroy) \
  X (cudaStreamSynchronize) \
  X (cudaStreamBeginCapture) \
  X (cudaStreamEndCapture) \
  X (cudaGraphInstantiate) \
  X (cudaGraphDestroy) \
  X (cudaGraphExecDestroy) \
  X (cudaGraphLaunch) \
  X (cudaGetLastError) \
  X (cudaGetErrorString)

#define CPSP_CUDNN_CALLS(X) \
  X (cudnnGetVersion) \
  X (cudnnGetCudartVersion) \
  X (cudnnGetErrorString) \
  X (cudnnGetLastErrorString) \
  X (cudnnCreate) \
  X (cudnnDestroy) \
  X (cudnnSetStream) \
  X (cudnnBackendCreateDescriptor) \
  X (cudnnBackendDestroyDescriptor) \
  X (cudnnBackendSetAttribute) \
  X (cudnnBackendGetAttribute) \
  X (cudnnBackendFinalize) \
  X (cudnnBackendExecute)

typedef struct
{
#define X(call) __typeof__ (call) *call;
  CPSP_RUNTIME_CALLS (X)
  CPSP_CUDNN_CALLS (X)
#undef X
} CpspGpuApi;

// The table, complete, and a device that the run-time can use; else NULL and
// a DEVICE error that says what is missing. What was found stays, what was
// not is looked for again.
const CpspGpuApi *cpsp_gpu_api_get (GError ** error);

// The part of cuDNN that has all of our calls. The one that is called like the
// whole, libcudnn.so.9, hands them on, and ends the process if it cannot.
#define CPSP_CUDNN_LIBRARY "libcudnn_graph.so.9"

// cuDNN's part of API from the library NAME, whose other entries stay as they
// are. A DEVICE error if it is missing, lacks an entry, is too old, or would
// not find cuBLAS.
gboolean cpsp_gpu_api_load_cudnn (CpspGpuApi * api, const char *name,
    GError ** error);

G_END_DECLS
