/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operations on activations that wait for memory: pools, pyramid, resizes,
 * concat, logits. A thread makes eight channels of a pixel (of the resizes by
 * two: of the up to four pixels that lie between the same four of the source,
 * so that each of these is loaded once). Blocks run along a row; blockIdx.y
 * is the row, blockIdx.z the image.
 */
#include "device.cuh"

// The kernel's pixel and its first channel; false: behind the row's end.
__device__ static inline bool
locate (unsigned width, unsigned pitch, unsigned *x, unsigned *channel)
{
  const unsigned vectors = pitch / 8;
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;

  *x = i / vectors;
  *channel = i % vectors * 8;
  return *x < width;
}

static dim3
row_grid (unsigned width, unsigned height, unsigned batch, unsigned pitch)
{
  return dim3 (divide_up ((size_t) width * (pitch / 8), THREADS), height,
      batch);
}

// relu (scale * x + shift)
struct Affine
{
  Vec8 scale, shift;
};

__device__ static inline Affine
load_affine (const float *scale, const float *shift, unsigned channel)
{
  return { load8 (scale + channel), load8 (shift + channel) };
}

__device__ static inline float
affine_relu (const Affine &affine, int k, float x)
{
  return fmaxf (affine.scale.v[k] * x + affine.shift.v[k], 0);
}

/* Max pool */

template <typename T> struct MaxPool
{
  Tensor<T> dst;
  Tensor<const T> src;
  const float *scale, *shift;
};

template <typename T>
__device__ static inline void
max_pool (const MaxPool<T> &a)
{
  unsigned x, channel;
  Affine affine;
  // No value is below 0: it stands for a maximum of nothing.
  Vec8 most = { { 0 } };

  if (!locate (a.dst.width, a.dst.pitch, &x, &channel))
    return;
  affine = load_affine (a.scale, a.shift, channel);
#pragma unroll
  for (int j = -1; j <= 1; j++) {
#pragma unroll
    for (int i = -1; i <= 1; i++) {
      // Beyond the first row or column, these wrap and are too large.
      const unsigned sy = 2 * blockIdx.y + j, sx = 2 * x + i;

      if (sy < a.src.height && sx < a.src.width) {
        const Vec8 in = load8 (a.src.pixel (blockIdx.z, sy, sx) + channel);

#pragma unroll
        for (int k = 0; k < 8; k++)
          most.v[k] = fmaxf (most.v[k], affine_relu (affine, k, in.v[k]));
      }
    }
  }
  store8 (a.dst.pixel (blockIdx.z, blockIdx.y, x) + channel, most);
}

KERNEL (cpsp_max_pool_f16, THREADS, MaxPool<__half>, max_pool)
KERNEL (cpsp_max_pool_f32, THREADS, MaxPool<float>, max_pool)

template <typename T>
static int
launch_max_pool (void (*kernel) (MaxPool<T>), const CpspCudaTensor *dst,
    const CpspCudaTensor *src, const float *scale, const float *shift,
    void *stream)
{
  const MaxPool<T> args = { Tensor<T> (dst), Tensor<const T> (src), scale,
    shift };

  return launch (kernel, row_grid (dst->width, dst->height, dst->batch,
          dst->pitch), THREADS, args, stream);
}

int
cpsp_cuda_max_pool (const CpspCudaTensor *dst, const CpspCudaTensor *src,
    const float *scale, const float *shift, void *stream)
{
  if (!is_tensor (dst) || !is_tensor (src))
    return cudaErrorInvalidValue;
  return dst->type == CPSP_CUDA_F16 ?
      launch_max_pool (cpsp_max_pool_f16, dst, src, scale, shift, stream) :
      launch_max_pool (cpsp_max_pool_f32, dst, src, scale, shift, stream);
}

/* Grid pool */

// A block makes GRID_VECTORS * 8 channels of one cell, which may be the whole
// image: GRID_LANES x GRID_LANES threads share its pixels.
#define GRID_VECTORS 8
#define GRID_LANES 8
#define GRID_THREADS (GRID_VECTORS * GRID_LANES * GRID_LANES)
#define GRID_WARPS (GRID_THREADS / 32)

template <typename T> struct GridPool
{
  Tensor<T> dst;
  Tensor<const T> src;
};

template <typename T>
__device__ static inline void
grid_pool (const GridPool<T> &a)
{
  SHARED (float, partial, GRID_WARPS * GRID_VECTORS * 8);
  const unsigned vector = threadIdx.x % GRID_VECTORS;
  const unsigned lane = threadIdx.x / GRID_VECTORS;
  const unsigned channel = (blockIdx.x * GRID_VECTORS + vector) * 8;
  const unsigned y = blockIdx.y / a.dst.width;
  const unsigned x = blockIdx.y - y * a.dst.width;
  const Bin rows = bin_at (y, a.src.height, a.dst.height);
  const Bin columns = bin_at (x, a.src.width, a.dst.width);
  Vec8 sum = { { 0 } };

  if (channel < a.src.pitch) {
    for (unsigned sy = rows.first + lane / GRID_LANES; sy < rows.end;
        sy += GRID_LANES) {
      const T *row = a.src.pixel (blockIdx.z, sy, 0) + channel;

#pragma unroll 4
      for (unsigned sx = columns.first + lane % GRID_LANES; sx < columns.end;
          sx += GRID_LANES) {
        const Vec8 in = load8 (row + (size_t) sx * a.src.pitch);

#pragma unroll
        for (int k = 0; k < 8; k++)
          sum.v[k] += in.v[k];
      }
    }
  }

  // A warp has 32 / GRID_VECTORS pixels of each vector.
#pragma unroll
  for (int k = 0; k < 8; k++) {
#pragma unroll
    for (int mask = GRID_VECTORS; mask < 32; mask *= 2)
      sum.v[k] += __shfl_xor_sync (0xffffffff, sum.v[k], mask);
  }
  if (threadIdx.x % 32 < GRID_VECTORS)
    store8 (partial + (threadIdx.x / 32 * GRID_VECTORS + vector) * 8, sum);
  __syncthreads ();

  if (threadIdx.x < GRID_VECTORS && channel < a.dst.pitch) {
    const float share = 1.0f / (float) ((rows.end - rows.first) *
        (columns.end - columns.first));

    for (int warp = 1; warp < GRID_WARPS; warp++) {
      const Vec8 in = load8 (partial + (warp * GRID_VECTORS + vector) * 8);

#pragma unroll
      for (int k = 0; k < 8; k++)
        sum.v[k] += in.v[k];
    }
#pragma unroll
    for (int k = 0; k < 8; k++)
      sum.v[k] *= share;
    store8 (a.dst.pixel (blockIdx.z, y, x) + channel, sum);
  }
}

KERNEL (cpsp_grid_pool_f16, GRID_THREADS, GridPool<__half>, grid_pool)
KERNEL (cpsp_grid_pool_f32, GRID_THREADS, GridPool<float>, grid_pool)

template <typename T>
static int
launch_grid_pool (void (*kernel) (GridPool<T>), const CpspCudaTensor *dst,
    const CpspCudaTensor *src, void *stream)
{
  const GridPool<T> args = { Tensor<T> (dst), Tensor<const T> (src) };
  const dim3 grid (divide_up (dst->pitch, 8 * GRID_VECTORS),
      dst->width * dst->height, dst->batch);

  return launch (kernel, grid, GRID_THREADS, args, stream);
}

int
cpsp_cuda_grid_pool (const CpspCudaTensor *dst, const CpspCudaTensor *src,
    void *stream)
{
  if (!is_tensor (dst) || !is_tensor (src) ||
      !is_side ((size_t) dst->width * dst->height))
    return cudaErrorInvalidValue;
  return dst->type == CPSP_CUDA_F16 ?
      launch_grid_pool (cpsp_grid_pool_f16, dst, src, stream) :
      launch_grid_pool (cpsp_grid_pool_f32, dst, src, stream);
}

/* Pyramid */

#define N_GRIDS 4

template <typename T> struct Pyramid
{
  Tensor<T> dst;
  Tensor<const T> src[N_GRIDS];
  float scale_x[N_GRIDS], scale_y[N_GRIDS];
};

// sum += what lies between four pixels of an image
template <typename T>
__device__ static inline void
add_between (Vec8 *sum, const Tensor<const T> &src, unsigned image, Tap tx,
    Tap ty, unsigned channel)
{
  const Vec8 a = load8 (src.pixel (image, ty.first, tx.first) + channel);
  const Vec8 b = load8 (src.pixel (image, ty.first, tx.second) + channel);
  const Vec8 c = load8 (src.pixel (image, ty.second, tx.first) + channel);
  const Vec8 d = load8 (src.pixel (image, ty.second, tx.second) + channel);

#pragma unroll
  for (int k = 0; k < 8; k++) {
    sum->v[k] += lerp (lerp (a.v[k], b.v[k], tx.weight),
        lerp (c.v[k], d.v[k], tx.weight), ty.weight);
  }
}

template <typename T>
__device__ static inline void
pyramid (const Pyramid<T> &a)
{
  unsigned x, channel;
  Vec8 sum = { { 0 } };

  if (!locate (a.dst.width, a.dst.pitch, &x, &channel))
    return;
#pragma unroll
  for (int i = 0; i < N_GRIDS; i++) {
    add_between (&sum, a.src[i], blockIdx.z,
        tap_half (x, a.scale_x[i], a.src[i].width),
        tap_half (blockIdx.y, a.scale_y[i], a.src[i].height), channel);
  }
  store8 (a.dst.pixel (blockIdx.z, blockIdx.y, x) + channel, sum);
}

KERNEL (cpsp_pyramid_f16, THREADS, Pyramid<__half>, pyramid)
KERNEL (cpsp_pyramid_f32, THREADS, Pyramid<float>, pyramid)

template <typename T>
static int
launch_pyramid (void (*kernel) (Pyramid<T>), const CpspCudaTensor *dst,
    const CpspCudaTensor *src, void *stream)
{
  Pyramid<T> args;

  args.dst = Tensor<T> (dst);
  for (int i = 0; i < N_GRIDS; i++) {
    args.src[i] = Tensor<const T> (&src[i]);
    args.scale_x[i] = (float) src[i].width / (float) dst->width;
    args.scale_y[i] = (float) src[i].height / (float) dst->height;
  }
  return launch (kernel, row_grid (dst->width, dst->height, dst->batch,
          dst->pitch), THREADS, args, stream);
}

int
cpsp_cuda_pyramid (const CpspCudaTensor *dst, const CpspCudaTensor src[4],
    void *stream)
{
  if (!is_tensor (dst))
    return cudaErrorInvalidValue;
  for (int i = 0; i < N_GRIDS; i++) {
    if (!is_tensor (&src[i]))
      return cudaErrorInvalidValue;
  }
  return dst->type == CPSP_CUDA_F16 ?
      launch_pyramid (cpsp_pyramid_f16, dst, src, stream) :
      launch_pyramid (cpsp_pyramid_f32, dst, src, stream);
}

/* Upsample, concat */

template <typename T> struct Concat
{
  Tensor<T> dst;
  Tensor<const T> src, skip;    // skip.data NULL: none
  const float *scale, *shift;   // NULL: neither they nor ReLU
};

// What becomes of a value of the concatenation.
template <typename T, bool AFFINE>
__device__ static inline void
store_concat (const Concat<T> &a, const Affine &affine, unsigned y,
    unsigned x, unsigned channel, Vec8 value)
{
  if (AFFINE) {
#pragma unroll
    for (int k = 0; k < 8; k++)
      value.v[k] = affine_relu (affine, k, value.v[k]);
  }
  store8 (a.dst.pixel (blockIdx.z, y, x) + channel, value);
}

// Resized by two. Block row Y and column X are those that lie between source
// pixels X - 1, X and Y - 1, Y (at the borders the same one twice): outputs
// 2 X - 1, a quarter of the way, and 2 X, three quarters.
template <typename T, bool AFFINE>
__device__ static inline void
concat_twice (const Concat<T> &a)
{
  const unsigned y = blockIdx.y;
  unsigned x, channel;
  Affine affine = { };

  if (!locate (a.src.width + 1, a.dst.pitch, &x, &channel))
    return;
  if (AFFINE)
    affine = load_affine (a.scale, a.shift, channel);
  if (channel < a.src.pitch) {
    const unsigned x0 = x > 0 ? x - 1 : 0, x1 = min (x, a.src.width - 1);
    const unsigned y0 = y > 0 ? y - 1 : 0, y1 = min (y, a.src.height - 1);
    const Vec8 p00 = load8 (a.src.pixel (blockIdx.z, y0, x0) + channel);
    const Vec8 p01 = load8 (a.src.pixel (blockIdx.z, y0, x1) + channel);
    const Vec8 p10 = load8 (a.src.pixel (blockIdx.z, y1, x0) + channel);
    const Vec8 p11 = load8 (a.src.pixel (blockIdx.z, y1, x1) + channel);

#pragma unroll
    for (int i = 0; i < 2; i++) {
      const float weight = i ? 0.75f : 0.25f;
      Vec8 upper, lower;

      // Beyond the borders these wrap, or are too large.
      if (2 * x - 1 + i >= a.dst.width)
        continue;
#pragma unroll
      for (int k = 0; k < 8; k++) {
        upper.v[k] = lerp (p00.v[k], p01.v[k], weight);
        lower.v[k] = lerp (p10.v[k], p11.v[k], weight);
      }
#pragma unroll
      for (int j = 0; j < 2; j++) {
        Vec8 value;

        if (2 * y - 1 + j >= a.dst.height)
          continue;
#pragma unroll
        for (int k = 0; k < 8; k++)
          value.v[k] = lerp (upper.v[k], lower.v[k], j ? 0.75f : 0.25f);
        store_concat<T, AFFINE> (a, affine, 2 * y - 1 + j, 2 * x - 1 + i,
            channel, value);
      }
    }
  } else {
#pragma unroll
    for (int n = 0; n < 4; n++) {
      const unsigned to_x = 2 * x - 1 + n % 2, to_y = 2 * y - 1 + n / 2;

      if (to_x < a.dst.width && to_y < a.dst.height) {
        store_concat<T, AFFINE> (a, affine, to_y, to_x, channel,
            load8 (a.skip.pixel (blockIdx.z, to_y, to_x) + channel -
                a.src.pitch));
      }
    }
  }
}

// Of one size.
template <typename T>
__device__ static inline void
concat (const Concat<T> &a)
{
  const unsigned y = blockIdx.y;
  unsigned x, channel;

  if (!locate (a.dst.width, a.dst.pitch, &x, &channel))
    return;
  store_concat<T, true> (a, load_affine (a.scale, a.shift, channel), y, x,
      channel, load8 (channel < a.src.pitch ?
          a.src.pixel (blockIdx.z, y, x) + channel :
          a.skip.pixel (blockIdx.z, y, x) + channel - a.src.pitch));
}

// Where the skip's channels do not begin at a multiple of eight.
template <typename T>
__device__ static inline void
concat_unaligned (const Concat<T> &a)
{
  const unsigned y = blockIdx.y;
  const float scale = a.src.width == a.dst.width ? 1 : 0.5f;
  unsigned x, channel;
  Tap tx, ty;
  Vec8 value = { { 0 } };

  if (!locate (a.dst.width, a.dst.pitch, &x, &channel))
    return;
  tx = tap_half (x, scale, a.src.width);
  ty = tap_half (y, scale, a.src.height);
#pragma unroll
  for (int k = 0; k < 8; k++) {
    const unsigned c = channel + k;

    if (c < a.src.channels) {
      const T *upper = a.src.pixel (blockIdx.z, ty.first, 0) + c;
      const T *lower = a.src.pixel (blockIdx.z, ty.second, 0) + c;
      const size_t first = (size_t) tx.first * a.src.pitch;
      const size_t second = (size_t) tx.second * a.src.pitch;

      value.v[k] = lerp (
          lerp (to_float (upper[first]), to_float (upper[second]), tx.weight),
          lerp (to_float (lower[first]), to_float (lower[second]), tx.weight),
          ty.weight);
    } else if (c < a.dst.channels) {
      value.v[k] = to_float (a.skip.pixel (blockIdx.z, y,
              x)[c - a.src.channels]);
    }
  }
  store_concat<T, true> (a, load_affine (a.scale, a.shift, channel), y, x,
      channel, value);
}

KERNEL (cpsp_upsample_f16, THREADS, Concat<__half>, (concat_twice<__half,
        false>))
KERNEL (cpsp_upsample_f32, THREADS, Concat<float>, (concat_twice<float,
        false>))
KERNEL (cpsp_concat_twice_f16, THREADS, Concat<__half>, (concat_twice<__half,
        true>))
KERNEL (cpsp_concat_twice_f32, THREADS, Concat<float>, (concat_twice<float,
        true>))
KERNEL (cpsp_concat_f16, THREADS, Concat<__half>, concat)
KERNEL (cpsp_concat_f32, THREADS, Concat<float>, concat)
KERNEL (cpsp_concat_unaligned_f16, THREADS, Concat<__half>, concat_unaligned)
KERNEL (cpsp_concat_unaligned_f32, THREADS, Concat<float>, concat_unaligned)

template <typename T>
static int
launch_concat (void (*twice) (Concat<T>), void (*same) (Concat<T>),
    void (*unaligned) (Concat<T>), const CpspCudaTensor *dst,
    const CpspCudaTensor *src, const CpspCudaTensor *skip,
    const float *scale, const float *shift, void *stream)
{
  Concat<T> args;

  args.dst = Tensor<T> (dst);
  args.src = Tensor<const T> (src);
  args.skip = skip ? Tensor<const T> (skip) : Tensor<const T> ();
  args.scale = scale;
  args.shift = shift;
  if (skip && src->channels % 8 != 0) {
    return launch (unaligned, row_grid (dst->width, dst->height, dst->batch,
            dst->pitch), THREADS, args, stream);
  }
  if (dst->width == src->width && dst->height == src->height) {
    return launch (same, row_grid (dst->width, dst->height, dst->batch,
            dst->pitch), THREADS, args, stream);
  }
  return launch (twice, row_grid (src->width + 1, src->height + 1, dst->batch,
          dst->pitch), THREADS, args, stream);
}

int
cpsp_cuda_concat (const CpspCudaTensor *dst, const CpspCudaTensor *src,
    const CpspCudaTensor *skip, const float *scale, const float *shift,
    void *stream)
{
  if (!is_tensor (dst) || !is_tensor (src) || (skip && !is_tensor (skip)))
    return cudaErrorInvalidValue;
  return dst->type == CPSP_CUDA_F16 ?
      launch_concat (cpsp_concat_twice_f16, cpsp_concat_f16,
          cpsp_concat_unaligned_f16, dst, src, skip, scale, shift, stream) :
      launch_concat (cpsp_concat_twice_f32, cpsp_concat_f32,
          cpsp_concat_unaligned_f32, dst, src, skip, scale, shift, stream);
}

template <typename T>
static int
launch_upsample (void (*kernel) (Concat<T>), const CpspCudaTensor *dst,
    const CpspCudaTensor *src, void *stream)
{
  Concat<T> args = { };

  args.dst = Tensor<T> (dst);
  args.src = Tensor<const T> (src);
  return launch (kernel, row_grid (src->width + 1, src->height + 1,
          dst->batch, dst->pitch), THREADS, args, stream);
}

int
cpsp_cuda_upsample (const CpspCudaTensor *dst, const CpspCudaTensor *src,
    void *stream)
{
  if (!is_tensor (dst) || !is_tensor (src))
    return cudaErrorInvalidValue;
  return dst->type == CPSP_CUDA_F16 ?
      launch_upsample (cpsp_upsample_f16, dst, src, stream) :
      launch_upsample (cpsp_upsample_f32, dst, src, stream);
}

/* Logit */

template <typename T> struct Logit
{
  Tensor<T> dst;
  Tensor<const float> src;
  float scale_x, scale_y;
  unsigned first_channel, n_channels;
  bool sigmoid;
};

// A thread per pixel.
template <typename T>
__device__ static inline void
logit (const Logit<T> &a)
{
  const unsigned x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
  Tap tx, ty;
  float value;
  T *pixel;

  if (x >= a.dst.width)
    return;
  // Of one size, the weights are 0.
  tx = tap_half (x, a.scale_x, a.src.width);
  ty = tap_half (y, a.scale_y, a.src.height);
  value = lerp (lerp (*a.src.pixel (blockIdx.z, ty.first, tx.first),
          *a.src.pixel (blockIdx.z, ty.first, tx.second), tx.weight),
      lerp (*a.src.pixel (blockIdx.z, ty.second, tx.first),
          *a.src.pixel (blockIdx.z, ty.second, tx.second), tx.weight),
      ty.weight);
  value = a.sigmoid ? 1 / (1 + expf (-value)) : tanhf (value);
  pixel = a.dst.pixel (blockIdx.z, y, x);
  if (a.dst.pitch == 1)
    from_float (pixel, value);
  else
    set_channels (pixel, a.dst.channels, a.dst.pitch, a.first_channel,
        a.n_channels, value, value, value);
}

KERNEL (cpsp_logit_f16, THREADS, Logit<__half>, logit)
KERNEL (cpsp_logit_f32, THREADS, Logit<float>, logit)

template <typename T>
static int
launch_logit (void (*kernel) (Logit<T>), const CpspCudaTensor *dst,
    unsigned first_channel, unsigned n_channels, const CpspCudaTensor *src,
    int sigmoid, void *stream)
{
  Logit<T> args;

  args.dst = Tensor<T> (dst);
  args.src = Tensor<const float> (src);
  args.scale_x = (float) src->width / (float) dst->width;
  args.scale_y = (float) src->height / (float) dst->height;
  args.first_channel = first_channel;
  args.n_channels = n_channels;
  args.sigmoid = sigmoid != 0;
  return launch (kernel, dim3 (divide_up (dst->width, THREADS), dst->height,
          dst->batch), THREADS, args, stream);
}

int
cpsp_cuda_logit (const CpspCudaTensor *dst, uint32_t first_channel,
    uint32_t n_channels, const CpspCudaTensor *src, int sigmoid, void *stream)
{
  if (!is_tensor (dst) || !is_tensor (src))
    return cudaErrorInvalidValue;
  return dst->type == CPSP_CUDA_F16 ?
      launch_logit (cpsp_logit_f16, dst, first_channel, n_channels, src,
          sigmoid, stream) :
      launch_logit (cpsp_logit_f32, dst, first_channel, n_channels, src,
          sigmoid, stream);
}
