/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What all kernels share: eight channels at a time, positions of resizing,
 * launching. Device code is plain CUDA C++ that a host compiler takes too
 * (tests/cuda/shim): no inline PTX, no textures, no cooperative groups.
 *
 * Each kernel has one parameter, a struct, and a C name: what compiler and
 * interpreter print about it can be read.
 *
 * Where a position or a comparison with a threshold decides, products and
 * sums are rounded one by one (exact_...), as the reference backend does:
 * both then take the same decision. All else may be contracted.
 */
#pragma once

#include "kernels.h"

#ifdef __CUDACC__
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#else
#include "shim.h"
#endif

#ifdef __CUDACC__
// Memory of a block, for COUNT elements.
#define SHARED(type, name, count) alignas (16) __shared__ type name[count]
#endif

/* Launching, on the host */

#define THREADS 256             // of a block, where nothing else is said

// BOUNDS: its threads, or those and blocks on a multiprocessor.
#define KERNEL(name, bounds, Args, body) \
extern "C" __global__ void __launch_bounds__ (bounds) \
name (const __grid_constant__ Args args) \
{ \
  body (args); \
}

#ifdef __CUDACC__
template <typename Args>
static int
launch (void (*kernel) (Args), dim3 grid, dim3 block, const Args &args,
    void *stream)
{
  kernel <<<grid, block, 0, (cudaStream_t) stream>>> (args);
  return (int) cudaGetLastError ();
}
#endif

static inline unsigned
divide_up (size_t n, unsigned by)
{
  return (unsigned) ((n + by - 1) / by);
}

static inline bool
is_side (size_t n)
{
  return n >= 1 && n <= CPSP_CUDA_MAX_SIDE;
}

static inline bool
is_tensor (const CpspCudaTensor *t)
{
  return is_side (t->batch) && is_side (t->height) && is_side (t->width) &&
      is_side (t->pitch);
}

static inline bool
is_plane (const CpspCudaPlane *p)
{
  return is_side (p->width) && is_side (p->height);
}

/* Tensors, in kernels */

// What kernels need of a CpspCudaTensor.
template <typename T> struct Tensor
{
  T *data;
  unsigned height, width, channels, pitch;

  Tensor () = default;
  explicit Tensor (const CpspCudaTensor *t)
      : data ((T *) t->data), height (t->height), width (t->width),
        channels (t->channels), pitch (t->pitch)
  {
  }

  __device__ T *
  pixel (unsigned image, unsigned y, unsigned x) const
  {
    return data + (((size_t) image * height + y) * width + x) * pitch;
  }
};

// Eight channels of a pixel.
struct Vec8
{
  float v[8];
};

__device__ static inline Vec8
load8 (const float *from)
{
  const float4 a = ((const float4 *) from)[0];
  const float4 b = ((const float4 *) from)[1];

  return { { a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w } };
}

__device__ static inline Vec8
load8 (const __half *from)
{
  const uint4 bits = *(const uint4 *) from;
  const __half2 *pairs = (const __half2 *) &bits;
  Vec8 x;

#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float2 pair = __half22float2 (pairs[i]);

    x.v[2 * i] = pair.x;
    x.v[2 * i + 1] = pair.y;
  }
  return x;
}

__device__ static inline void
store8 (float *to, const Vec8 &x)
{
  ((float4 *) to)[0] = make_float4 (x.v[0], x.v[1], x.v[2], x.v[3]);
  ((float4 *) to)[1] = make_float4 (x.v[4], x.v[5], x.v[6], x.v[7]);
}

__device__ static inline void
store8 (__half *to, const Vec8 &x)
{
  uint4 bits;
  __half2 *pairs = (__half2 *) &bits;

#pragma unroll
  for (int i = 0; i < 4; i++)
    pairs[i] = __floats2half2_rn (x.v[2 * i], x.v[2 * i + 1]);
  *(uint4 *) to = bits;
}

__device__ static inline float
to_float (float x)
{
  return x;
}

__device__ static inline float
to_float (__half x)
{
  return __half2float (x);
}

__device__ static inline void
from_float (float *to, float x)
{
  *to = x;
}

__device__ static inline void
from_float (__half *to, float x)
{
  *to = __float2half_rn (x);
}

// Channels first .. first + n - 1 of a pixel = a, b, c, c ...; padding
// channels = 0; the others stay.
template <typename T>
__device__ static inline void
set_channels (T *pixel, unsigned channels, unsigned pitch, unsigned first,
    unsigned n, float a, float b, float c)
{
  for (unsigned base = first / 8 * 8; base < pitch; base += 8) {
    Vec8 x;

    if (base >= first + n && base + 8 <= channels)
      continue;
    x = load8 (pixel + base);
#pragma unroll
    for (unsigned k = 0; k < 8; k++) {
      const unsigned at = base + k;

      if (at >= channels)
        x.v[k] = 0;
      else if (at >= first && at < first + n)
        x.v[k] = at == first ? a : at == first + 1 ? b : c;
    }
    store8 (pixel + base, x);
  }
}

/* Resizing */

__device__ static inline float
exact_lerp (float a, float b, float weight)
{
  return __fadd_rn (a, __fmul_rn (weight, __fsub_rn (b, a)));
}

__device__ static inline float
lerp (float a, float b, float weight)
{
  return a + weight * (b - a);
}

// Bilinear: a + weight * (b - a), a and b at the two indices.
struct Tap
{
  unsigned first, second;
  float weight;
};

__device__ static inline Tap
tap_at (float position, unsigned n)
{
  Tap tap;

  position = fminf (fmaxf (position, 0.0f), (float) (n - 1));
  tap.first = min ((unsigned) position, n - 1);
  tap.second = min (tap.first + 1, n - 1);
  tap.weight = position - (float) tap.first;
  return tap;
}

// Between which of N pixels pixel I lies; pixel centres at half coordinates.
// SCALE: N / what I counts.
__device__ static inline Tap
tap_half (unsigned i, float scale, unsigned n)
{
  return tap_at (__fsub_rn (__fmul_rn (scale, (float) i + 0.5f), 0.5f), n);
}

// The pixels [first, end) of IN that cell I of OUT averages. Fits 32 bits
// because no side is above CPSP_CUDA_MAX_SIDE.
struct Bin
{
  unsigned first, end;
};

__device__ static inline Bin
bin_at (unsigned i, unsigned in, unsigned out)
{
  return { i * in / out, ((i + 1) * in + out - 1) / out };
}
