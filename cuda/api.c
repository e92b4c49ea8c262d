/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE             // dladdr
#endif

#include "api.h"

#include "error.h"

#include <dlfcn.h>

// The oldest that has all the calls.
#define CUDNN_OLDEST 90000

// cuDNN loads cuBLAS when it is first used, and ends the process if it cannot.
// What is loaded already it finds: from where the loader looks, or near
// cuDNN's own file, as Python's packages lie.
static gboolean
load_cublas (const CpspGpuApi * api, GError ** error)
{
  const guint cuda = api->cudnnGetCudartVersion () / 1000;
  g_autofree char *name = g_strdup_printf ("libcublasLt.so.%u", cuda);
  g_autofree char *toolkit = g_strdup_printf ("../../cu%u/lib", cuda);
  const char *const folders[] = { ".", "../../cublas/lib", toolkit };
  void *library = dlopen (name, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
  g_autofree char *why = library ? NULL : g_strdup (dlerror ());
  g_autofree char *own = NULL;
  Dl_info info;

  if (!library && dladdr ((void *) api->cudnnGetVersion, &info))
    own = g_path_get_dirname (info.dli_fname);
  for (guint i = 0; own && !library && i < G_N_ELEMENTS (folders); i++) {
    g_autofree char *path = g_build_filename (own, folders[i], name, NULL);

    library = dlopen (path, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
  }
  if (library)
    return TRUE;
  g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE, "cuDNN needs cuBLAS: %s",
      why);
  return FALSE;
}

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
  return load_cublas (api, error);
}
