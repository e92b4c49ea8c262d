/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table as the module fills it. Apart from api.c, which tools that have no
 * CUDA run-time use too.
 */
#include "api.h"

#include "error.h"

// The device first: libcudnn brings about a gigabyte of libraries with it.
static gboolean
find_device (GError ** error)
{
  // Not written if there is no driver.
  int n = 0;
  cudaError_t status = cudaGetDeviceCount (&n);

  if (status == cudaSuccess && n > 0)
    return TRUE;
  cudaGetLastError ();
  g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE, "no CUDA device: %s",
      status == cudaSuccess ? "the driver has none" :
      cudaGetErrorString (status));
  return FALSE;
}

const CpspGpuApi *
cpsp_gpu_api_get (GError ** error)
{
  static GMutex lock;
  static gboolean loaded;
  static CpspGpuApi api = {
#define X(call) .call = call,
    CPSP_RUNTIME_CALLS (X)
#undef X
  };

  g_mutex_lock (&lock);
  if (!loaded)
    loaded = find_device (error) &&
        cpsp_gpu_api_load_cudnn (&api, CPSP_CUDNN_LIBRARY, error);
  g_mutex_unlock (&lock);
  return loaded ? &api : NULL;
}
