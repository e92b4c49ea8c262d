/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * In place of the module: the CUDA backend as it is linked into a test. To be
 * used with --wrap=cpsp_module_get_cuda.
 */
#include "gpu.h"
#include "module.h"

const CpspBackend *__wrap_cpsp_module_get_cuda (GError ** error);

const CpspBackend *
__wrap_cpsp_module_get_cuda (GError ** error)
{
  return cpsp_gpu_api_get (error) ? &cpsp_backend_cuda : NULL;
}
