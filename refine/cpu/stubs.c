/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * In place of the CPU backend where oneDNN or OpenMP is missing.
 */
#include "backend.h"
#include "error.h"

static CpspDevice *
cpu_open (const CpspDeviceParams * params, GError ** error)
{
  g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE,
      "this build has no oneDNN or OpenMP");
  return NULL;
}

const CpspBackend cpsp_backend_cpu = {
  .name = "cpu",
  .open = cpu_open,
};
