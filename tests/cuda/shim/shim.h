/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What device.cuh includes where nvcc does not compile it: enough of CUDA's
 * language for a host compiler to take our kernels as they are. engine.h runs
 * them. No header of CUDA is needed. Compile with -fno-strict-aliasing (as
 * device code is) and -ffp-contract=off (the exact_... functions).
 */
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine.h"
#include "half.h"

/* The language */

#define __global__
#define __device__
#define __grid_constant__
#define __launch_bounds__(...)
#define SHARED(type, name, count) \
  type *const name = (type *) shim_shared ((count) * sizeof (type), \
      __FILE__, __LINE__)

typedef ShimIndex uint3;

struct dim3 : ShimIndex
{
  dim3 (unsigned x_size, unsigned y_size = 1, unsigned z_size = 1)
      : ShimIndex { x_size, y_size, z_size }
  {
  }
};

#define threadIdx (shim_context->thread)
#define blockIdx (shim_context->block)
#define blockDim (shim_context->block_size)
#define gridDim (shim_context->grid_size)

#define __syncthreads() shim_barrier (__FILE__, __LINE__)
#define __shfl_xor_sync(lanes, value, mask) \
  shim_shuffle (lanes, value, shim_context->lane ^ (mask), __FILE__, __LINE__)

// A value of another lane of the warp.
template <typename T>
static inline T
shim_shuffle (unsigned lanes, T value, unsigned from, const char *file,
    int line)
{
  uint64_t bits = 0;

  static_assert (sizeof (T) <= sizeof (bits), "an operand of a shuffle");
  memcpy (&bits, &value, sizeof (T));
  bits = shim_exchange (lanes, bits, from, file, line);
  memcpy (&value, &bits, sizeof (T));
  return value;
}

static inline unsigned
atomicMax (unsigned *at, unsigned value)
{
  unsigned old = __atomic_load_n (at, __ATOMIC_RELAXED);

  while (old < value && !__atomic_compare_exchange_n (at, &old, value, false,
          __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    continue;
  return old;
}

/* Types */

struct alignas (8) float2 { float x, y; };
struct alignas (16) float4 { float x, y, z, w; };
struct alignas (16) uint4 { unsigned x, y, z, w; };
struct alignas (4) uchar4 { uint8_t x, y, z, w; };
struct alignas (8) ushort4 { uint16_t x, y, z, w; };
struct __half { uint16_t bits; };
struct alignas (4) __half2 { __half x, y; };

static inline float4
make_float4 (float x, float y, float z, float w)
{
  return { x, y, z, w };
}

static inline uchar4
make_uchar4 (uint8_t x, uint8_t y, uint8_t z, uint8_t w)
{
  return { x, y, z, w };
}

static inline ushort4
make_ushort4 (uint16_t x, uint16_t y, uint16_t z, uint16_t w)
{
  return { x, y, z, w };
}

/* Arithmetic */

static inline float
__half2float (__half x)
{
  return half_to_float (x.bits);
}

static inline __half
__float2half_rn (float x)
{
  return { half_from_float (x) };
}

static inline float2
__half22float2 (__half2 pair)
{
  return { __half2float (pair.x), __half2float (pair.y) };
}

static inline __half2
__floats2half2_rn (float x, float y)
{
  return { __float2half_rn (x), __float2half_rn (y) };
}

static inline float
__fadd_rn (float a, float b)
{
  return a + b;
}

static inline float
__fsub_rn (float a, float b)
{
  return a - b;
}

static inline float
__fmul_rn (float a, float b)
{
  return a * b;
}

static inline unsigned
__float_as_uint (float x)
{
  unsigned bits;

  memcpy (&bits, &x, sizeof (bits));
  return bits;
}

// As in CUDA, for mixed and equal signs; conversions as C has them.
static inline int
min (int a, int b)
{
  return a < b ? a : b;
}

static inline unsigned
min (unsigned a, unsigned b)
{
  return a < b ? a : b;
}

static inline int
max (int a, int b)
{
  return a > b ? a : b;
}

static inline unsigned
max (unsigned a, unsigned b)
{
  return a > b ? a : b;
}

/* The run-time */

enum
{
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
};

template <typename Args> struct ShimLaunch
{
  void (*kernel) (Args);
  dim3 grid, block;
  Args args;

  static void
  thread (void *data)
  {
    const ShimLaunch *launch = (const ShimLaunch *) data;

    launch->kernel (launch->args);
  }

  static void
  run (void *data)
  {
    const ShimLaunch *launch = (const ShimLaunch *) data;

    shim_run (launch->grid, launch->block, thread, data);
  }

  static void
  destroy (void *data)
  {
    delete (ShimLaunch *) data;
  }
};

template <typename Args>
static int
launch (void (*kernel) (Args), dim3 grid, dim3 block, const Args &args,
    void *stream)
{
  if (!shim_is_launch (grid, block))
    return cudaErrorInvalidConfiguration;
  return standin_launch (stream, ShimLaunch<Args>::run,
      ShimLaunch<Args>::destroy, new ShimLaunch<Args> { kernel, grid, block,
      args });
}
