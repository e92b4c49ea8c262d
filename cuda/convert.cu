/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Weights and tensors from and to the engine's floats, and the range of a
 * tensor: what runs when a model is loaded, and in tests.
 */
#include "device.cuh"

/* Weights */

template <typename T> struct Pack
{
  T *dst;
  const float *src;
  unsigned c_out, c_in, area;   // kernel * kernel
  unsigned vectors;             // of eight input channels
};

// Blocks run along a row of dst, which is one output channel.
template <typename T>
__device__ static inline void
pack_weights (const Pack<T> &a)
{
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned tap = i / a.vectors, channel = i % a.vectors * 8;
  const size_t row = blockIdx.y;
  Vec8 x = { { 0 } };

  if (tap >= a.area)
    return;
#pragma unroll
  for (unsigned k = 0; k < 8; k++) {
    if (row < a.c_out && channel + k < a.c_in)
      x.v[k] = a.src[(row * a.c_in + channel + k) * a.area + tap];
  }
  store8 (a.dst + (row * a.area + tap) * a.vectors * 8 + channel, x);
}

KERNEL (cpsp_pack_weights_f16, THREADS, Pack<__half>, pack_weights)
KERNEL (cpsp_pack_weights_f32, THREADS, Pack<float>, pack_weights)

template <typename T>
static int
launch_pack_weights (void (*kernel) (Pack<T>), void *dst, const float *src,
    unsigned c_out, unsigned c_in, unsigned area, void *stream)
{
  const unsigned vectors = divide_up (c_in, 8);
  const Pack<T> args = { (T *) dst, src, c_out, c_in, area, vectors };

  return launch (kernel, dim3 (divide_up ((size_t) area * vectors, THREADS),
          divide_up (c_out, 8) * 8), THREADS, args, stream);
}

int
cpsp_cuda_pack_weights (void *dst, CpspCudaType type, const float *src,
    uint32_t c_out, uint32_t c_in, uint32_t kernel, void *stream)
{
  // c_out is rounded up, to what must be a grid's side.
  if (!is_side ((size_t) c_out + 7) || !is_side (c_in) || c_out == 0 ||
      !is_side ((size_t) kernel * kernel))
    return cudaErrorInvalidValue;
  return type == CPSP_CUDA_F16 ?
      launch_pack_weights (cpsp_pack_weights_f16, dst, src, c_out, c_in,
          kernel * kernel, stream) :
      launch_pack_weights (cpsp_pack_weights_f32, dst, src, c_out, c_in,
          kernel * kernel, stream);
}

/* Tensors */

template <typename T> struct Copy
{
  Tensor<T> tensor;
  float *values;                // logical channels only
};

// A thread per element of the tensor, padding included.
template <typename T, bool WRITE>
__device__ static inline void
copy (const Copy<T> &a)
{
  const Tensor<T> &t = a.tensor;
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned x = i / t.pitch, channel = i % t.pitch;
  const size_t pixel = ((size_t) blockIdx.z * t.height + blockIdx.y) *
      t.width + x;
  float *value = a.values + pixel * t.channels + channel;

  if (x >= t.width)
    return;
  if (WRITE)
    from_float (t.data + pixel * t.pitch + channel,
        channel < t.channels ? *value : 0);
  else if (channel < t.channels)
    *value = to_float (t.data[pixel * t.pitch + channel]);
}

KERNEL (cpsp_write_f16, THREADS, Copy<__half>, (copy<__half, true>))
KERNEL (cpsp_write_f32, THREADS, Copy<float>, (copy<float, true>))
KERNEL (cpsp_read_f16, THREADS, Copy<__half>, (copy<__half, false>))
KERNEL (cpsp_read_f32, THREADS, Copy<float>, (copy<float, false>))

template <typename T>
static int
launch_copy (void (*kernel) (Copy<T>), const CpspCudaTensor *tensor,
    float *values, void *stream)
{
  const Copy<T> args = { Tensor<T> (tensor), values };

  return launch (kernel, dim3 (divide_up ((size_t) tensor->width *
              tensor->pitch, THREADS), tensor->height, tensor->batch),
      THREADS, args, stream);
}

int
cpsp_cuda_write (const CpspCudaTensor *dst, const float *src, void *stream)
{
  if (!is_tensor (dst))
    return cudaErrorInvalidValue;
  return dst->type == CPSP_CUDA_F16 ?
      launch_copy (cpsp_write_f16, dst, (float *) src, stream) :
      launch_copy (cpsp_write_f32, dst, (float *) src, stream);
}

int
cpsp_cuda_read (float *dst, const CpspCudaTensor *src, void *stream)
{
  if (!is_tensor (src))
    return cudaErrorInvalidValue;
  return src->type == CPSP_CUDA_F16 ?
      launch_copy (cpsp_read_f16, src, dst, stream) :
      launch_copy (cpsp_read_f32, src, dst, stream);
}

/* Range */

#define RANGE_BLOCKS 1024       // enough for any device

template <typename T> struct Magnitude
{
  float *dst;
  const T *src;
  size_t n;
};

// As an integer: of floats that are not negative the order is the same, and
// NaN is above all.
__device__ static inline unsigned
magnitude_bits (float x)
{
  return __float_as_uint (x) & 0x7fffffff;
}

template <typename T>
__device__ static inline void
magnitude (const Magnitude<T> &a)
{
  const size_t stride = (size_t) gridDim.x * blockDim.x;
  const size_t first = (size_t) blockIdx.x * blockDim.x + threadIdx.x;
  unsigned most = 0;

  for (size_t i = first; i < a.n / 8; i += stride) {
    const Vec8 x = load8 (a.src + i * 8);

#pragma unroll
    for (int k = 0; k < 8; k++)
      most = max (most, magnitude_bits (x.v[k]));
  }
  if (first < a.n % 8)
    most = max (most, magnitude_bits (to_float (a.src[a.n / 8 * 8 + first])));
#pragma unroll
  for (int mask = 1; mask < 32; mask *= 2)
    most = max (most, __shfl_xor_sync (0xffffffff, most, mask));
  if (threadIdx.x % 32 == 0)
    atomicMax ((unsigned *) a.dst, most);
}

KERNEL (cpsp_magnitude_f16, THREADS, Magnitude<__half>, magnitude)
KERNEL (cpsp_magnitude_f32, THREADS, Magnitude<float>, magnitude)

template <typename T>
static int
launch_magnitude (void (*kernel) (Magnitude<T>), float *dst,
    const CpspCudaTensor *src, void *stream)
{
  const size_t n = (size_t) src->batch * src->height * src->width *
      src->pitch;
  const size_t blocks = divide_up (n, 8 * THREADS);
  const Magnitude<T> args = { dst, (const T *) src->data, n };

  return launch (kernel, (unsigned) (blocks < RANGE_BLOCKS ? blocks :
          RANGE_BLOCKS), THREADS, args, stream);
}

int
cpsp_cuda_magnitude (float *dst, const CpspCudaTensor *src, void *stream)
{
  if (!is_tensor (src))
    return cudaErrorInvalidValue;
  return src->type == CPSP_CUDA_F16 ?
      launch_magnitude (cpsp_magnitude_f16, dst, src, stream) :
      launch_magnitude (cpsp_magnitude_f32, dst, src, stream);
}
