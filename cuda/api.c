/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api.h"

#include "error.h"

#include <dlfcn.h>

// The oldest that has all the calls.
#define CUDNN_OLDEST 90000

gboolean
cpsp_gpu_api_load_cudnn (CpspGpuApi * api, const char *name, GError ** error)
{
  // Never closed: cuDNN and the driver keep threads and handlers.
  void *library = dlopen (name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  gsize version;

  if (!library) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE, "cuDNN: %s",
        dlerror ());
    return FALSE;
  }
#define X(call) \
  *(void **) &api->call = dlsym (library, #call); \
  if (!api->call) { \
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE, \
        "cuDNN: %s has no %s", name, #call); \
    dlclose (library); \
    return FALSE; \
  }
  CPSP_CUDNN_CALLS (X)
#undef X
  version = api->cudnnGetVersion ();
  if (version < CUDNN_OLDEST) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE,
        "cuDNN: %s is version %" G_GSIZE_FORMAT ", at least %d is needed",
        name, version, CUDNN_OLDEST);
    dlclose (library);
    return FALSE;
  }
  return TRUE;
}
