// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What test-compiler.py must find, and one kernel that has nothing wrong.

#include <cuda_fp16.h>

extern "C" __global__ void
planted_good (uint4 *to, const uint4 *from)
{
  to[threadIdx.x] = from[threadIdx.x];
}

// Eight loads of two bytes.
extern "C" __global__ void
planted_scalar (__half *to, const __half *from)
{
  for (int i = 0; i < 8; i++)
    to[threadIdx.x * 8 + i] = from[threadIdx.x * 8 + i];
}

// A hundred values at once in 64 registers.
extern "C" __global__ void __launch_bounds__ (1024)
planted_spill (float *to, const float *from)
{
  float x[100], sum = 0;

#pragma unroll
  for (int i = 0; i < 100; i++) {
    x[i] = from[threadIdx.x + i * 1024];
    sum += x[i];
  }
  __syncthreads ();
#pragma unroll
  for (int i = 0; i < 100; i++)
    to[threadIdx.x + i * 1024] = x[i] * sum;
}

extern "C" __global__ void
planted_division (size_t *to, const size_t *from, size_t by, int n)
{
  size_t sum = 0;

#pragma unroll 1
  for (int i = 0; i < n; i++)
    sum += from[i] / by;
  to[threadIdx.x] = sum;
}

extern "C" __global__ void
planted_quotient (float *to, const float *from, float by, int n)
{
  float sum = 0;

#pragma unroll 1
  for (int i = 0; i < n; i++)
    sum += from[i] / by;
  to[threadIdx.x] = sum;
}
