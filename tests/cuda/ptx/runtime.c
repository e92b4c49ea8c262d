/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * In the place of CUDA's run-time: what the objects that nvcc makes call, and
 * the tests' device memory. A launch runs the kernel's PTX before it returns.
 * What goes wrong is printed, and is the launch's error.
 *
 * PTX_FILES: the files, separated by colons.
 */
#include "ptx.h"

#include "../device.h"

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>

// What nvcc's objects call has no header for others.
void **__cudaRegisterFatBinary (void *binary);
void __cudaRegisterFatBinaryEnd (void **handle);
void __cudaUnregisterFatBinary (void **handle);
void __cudaRegisterFunction (void **handle, const char *host, char *device,
    const char *name, int thread_limit, uint3 * tid, uint3 * bid,
    dim3 * block, dim3 * grid, int *warp);
unsigned __cudaPushCallConfiguration (dim3 grid, dim3 block, size_t shared,
    cudaStream_t stream);
cudaError_t __cudaPopCallConfiguration (dim3 * grid, dim3 * block,
    size_t *shared, cudaStream_t * stream);
cudaError_t __cudaGetKernel (cudaKernel_t * kernel, const void *function);
cudaError_t __cudaLaunchKernel (cudaKernel_t kernel, dim3 grid, dim3 block,
    void **args, size_t shared, cudaStream_t stream);

static GHashTable *names;       // host functions to names of kernels
static GPtrArray *modules;
static cudaError_t last_error;
// Of the launch that is being made.
static dim3 pushed_grid, pushed_block;
static size_t pushed_shared;

void **
__cudaRegisterFatBinary (void *binary)
{
  static void *handle;

  return &handle;
}

void
__cudaRegisterFatBinaryEnd (void **handle)
{
}

void
__cudaUnregisterFatBinary (void **handle)
{
}

void
__cudaRegisterFunction (void **handle, const char *host, char *device,
    const char *name, int thread_limit, uint3 * tid, uint3 * bid,
    dim3 * block, dim3 * grid, int *warp)
{
  if (!names)
    names = g_hash_table_new (NULL, NULL);
  g_hash_table_insert (names, (gpointer) host, (gpointer) name);
}

unsigned
__cudaPushCallConfiguration (dim3 grid, dim3 block, size_t shared,
    cudaStream_t stream)
{
  pushed_grid = grid;
  pushed_block = block;
  pushed_shared = shared;
  return 0;
}

cudaError_t
__cudaPopCallConfiguration (dim3 * grid, dim3 * block, size_t *shared,
    cudaStream_t * stream)
{
  *grid = pushed_grid;
  *block = pushed_block;
  *shared = pushed_shared;
  *stream = NULL;
  return cudaSuccess;
}

static void
load_modules (void)
{
  g_auto (GStrv) paths = g_strsplit (g_getenv ("PTX_FILES"), ":", -1);

  modules = g_ptr_array_new ();
  for (guint i = 0; paths[i]; i++) {
    g_autofree char *text = NULL, *why = NULL;
    PtxModule *module = NULL;

    if (g_file_get_contents (paths[i], &text, NULL, NULL))
      module = ptx_module_new (text, &why);
    if (!module) {
      fprintf (stderr, "%s: %s\n", paths[i], why ? why : "cannot be read");
      exit (1);
    }
    g_ptr_array_add (modules, module);
  }
}

static PtxModule *
find_module (const char *kernel)
{
  if (!modules)
    load_modules ();
  for (guint i = 0; i < modules->len; i++)
    if (ptx_module_has (modules->pdata[i], kernel))
      return modules->pdata[i];
  return NULL;
}

static cudaError_t
run (const char *kernel, dim3 grid, dim3 block, void **args, size_t shared)
{
  PtxModule *module = find_module (kernel);
  g_autofree char *why = NULL;

  if (!module || shared > 0) {
    why = g_strdup_printf ("%s: not in PTX_FILES, or wants shared memory "
        "of the launch", kernel);
  } else if (ptx_module_run (module, kernel, (PtxSize) {
          grid.x, grid.y, grid.z
      }, (PtxSize) {
        block.x, block.y, block.z
      }, args, &why))
    return cudaSuccess;
  fprintf (stderr, "%s\n", why);
  return last_error = cudaErrorLaunchFailure;
}

// CUDA 12
cudaError_t
cudaLaunchKernel (const void *function, dim3 grid, dim3 block, void **args,
    size_t shared, cudaStream_t stream)
{
  return run (g_hash_table_lookup (names, function), grid, block, args,
      shared);
}

// CUDA 13: the kernel is its name.
cudaError_t
__cudaGetKernel (cudaKernel_t * kernel, const void *function)
{
  *kernel = g_hash_table_lookup (names, function);
  return cudaSuccess;
}

cudaError_t
__cudaLaunchKernel (cudaKernel_t kernel, dim3 grid, dim3 block, void **args,
    size_t shared, cudaStream_t stream)
{
  return run ((const char *) kernel, grid, block, args, shared);
}

cudaError_t
cudaGetLastError (void)
{
  const cudaError_t error = last_error;

  last_error = cudaSuccess;
  return error;
}

void *
device_alloc (size_t size)
{
  return ptx_memory_new (size);
}

void
device_free (void *memory)
{
  ptx_memory_free (memory);
}

int
device_sync (void)
{
  return cudaSuccess;
}
