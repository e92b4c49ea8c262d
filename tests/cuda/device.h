/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where tests of kernels have device memory from. The host can read and write
 * it between launches. tests/cuda/shim/now.c gives plain memory of the exact
 * size, for kernels that run in the shim.
 */
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// A multiple of 16 bytes; never NULL.
void *device_alloc (size_t size);
void device_free (void *memory);
// Waits for all launches; a cudaError_t.
int device_sync (void);

#ifdef __cplusplus
}
#endif
