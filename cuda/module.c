/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the engine finds when it opens this module (refine/module.h): its two
 * exported symbols.
 */
#include "gpu.h"
#include "module.h"

const guint cpsp_module_version = CPSP_MODULE_VERSION;

const CpspBackend *
cpsp_module_get_backend (GError ** error)
{
  return cpsp_gpu_api_get (error) ? &cpsp_backend_cuda : NULL;
}
