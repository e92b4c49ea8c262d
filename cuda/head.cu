/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The heads: per pixel a product of a small matrix, ReLU, a scalar product.
 * A block makes HEAD_PIXELS logits. Of HEAD_ROWS channels at a time it puts
 * the pixels' values and the weights into shared memory; a thread then sums
 * 4 hidden channels of 4 pixels, the weights in one 16-byte access, the
 * values in another.
 */
#include "device.cuh"

#define HEAD_PIXELS 64
#define HEAD_ROWS 32
#define HEAD_HIDDEN CPSP_CUDA_HEAD_BLOCK
#define HEAD_THREADS (HEAD_PIXELS / 4 * HEAD_HIDDEN / 4)
// As many blocks on a multiprocessor as registers are left for 16 sums and
// what is on its way; left alone, the compiler aims at more and spills.
#define HEAD_BOUNDS HEAD_THREADS, 4

template <typename T> struct Head
{
  const T *src, *skip;
  unsigned src_pitch, skip_pitch, n_rows;
  unsigned hidden;
  const float *weight, *bias, *out_weight;
  float out_bias;
  float *dst;
  size_t n_pixels;              // of all images
};

// Where row ROW of pixel PIXEL lies among its HEAD_ROWS x HEAD_PIXELS values.
// Pixels change places, four by four, so that what a warp writes at once,
// eight pixels of four rows eight apart, falls into different banks.
__device__ static inline unsigned
value_at (unsigned row, unsigned pixel)
{
  return row * HEAD_PIXELS + (pixel ^ row / 8 % 4 * 8);
}

// Rows row .. row + 7 of a pixel; what there is not is zero.
template <typename T>
__device__ static inline Vec8
load_rows (const Head<T> &a, unsigned row, size_t pixel)
{
  if (row >= a.n_rows || pixel >= a.n_pixels)
    return { { 0 } };
  return load8 (row < a.src_pitch ? a.src + pixel * a.src_pitch + row :
      a.skip + pixel * a.skip_pitch + row - a.src_pitch);
}

template <typename T>
__device__ static inline void
load_tiles (const Head<T> &a, unsigned row, unsigned hidden,
    size_t first_pixel, float *values, float *weights)
{
  const unsigned lane_row = threadIdx.x % (HEAD_ROWS / 8) * 8;

#pragma unroll
  for (unsigned i = 0; i < HEAD_PIXELS * HEAD_ROWS / 8 / HEAD_THREADS; i++) {
    const unsigned pixel = threadIdx.x / (HEAD_ROWS / 8) +
        i * (HEAD_THREADS / (HEAD_ROWS / 8));
    const Vec8 in = load_rows (a, row + lane_row, first_pixel + pixel);

#pragma unroll
    for (int k = 0; k < 8; k++)
      values[value_at (lane_row + k, pixel)] = in.v[k];
  }
#pragma unroll
  for (unsigned i = threadIdx.x * 4; i < HEAD_ROWS * HEAD_HIDDEN;
      i += HEAD_THREADS * 4) {
    const unsigned weight_row = row + i / HEAD_HIDDEN;

    *(float4 *) (weights + i) = weight_row < a.n_rows ?
        *(const float4 *) (a.weight + (size_t) weight_row * a.hidden +
        hidden + i % HEAD_HIDDEN) : make_float4 (0, 0, 0, 0);
  }
}

template <typename T>
__device__ static inline void
head (const Head<T> &a)
{
  SHARED (float, values, HEAD_ROWS * HEAD_PIXELS);
  SHARED (float, weights, HEAD_ROWS * HEAD_HIDDEN);
  const size_t first_pixel = (size_t) blockIdx.x * HEAD_PIXELS;
  const unsigned lane_hidden = threadIdx.x % (HEAD_HIDDEN / 4) * 4;
  const unsigned lane_pixel = threadIdx.x / (HEAD_HIDDEN / 4) * 4;
  float logits[4] = { 0 };

  for (unsigned hidden = 0; hidden < a.hidden; hidden += HEAD_HIDDEN) {
    float sums[4][4];           // [pixel][hidden]

#pragma unroll
    for (int h = 0; h < 4; h++) {
      sums[0][h] = a.bias[hidden + lane_hidden + h];
      sums[1][h] = sums[2][h] = sums[3][h] = sums[0][h];
    }
    for (unsigned row = 0; row < a.n_rows; row += HEAD_ROWS) {
      load_tiles (a, row, hidden, first_pixel, values, weights);
      __syncthreads ();
      for (unsigned i = 0; i < HEAD_ROWS && row + i < a.n_rows; i += 8) {
#pragma unroll
        for (unsigned k = 0; k < 8; k++) {
          const float4 v = *(const float4 *) (values +
              value_at (i + k, lane_pixel));
          const float4 w = *(const float4 *) (weights +
              (i + k) * HEAD_HIDDEN + lane_hidden);
          const float pixel[4] = { v.x, v.y, v.z, v.w };

#pragma unroll
          for (int p = 0; p < 4; p++) {
            sums[p][0] += pixel[p] * w.x;
            sums[p][1] += pixel[p] * w.y;
            sums[p][2] += pixel[p] * w.z;
            sums[p][3] += pixel[p] * w.w;
          }
        }
      }
      __syncthreads ();
    }
#pragma unroll
    for (int h = 0; h < 4; h++) {
      const float weight = a.out_weight[hidden + lane_hidden + h];

#pragma unroll
      for (int p = 0; p < 4; p++)
        logits[p] += weight * fmaxf (sums[p][h], 0);
    }
  }

  // Neighbouring threads have the other hidden channels of the same pixels.
#pragma unroll
  for (int p = 0; p < 4; p++) {
#pragma unroll
    for (int mask = 1; mask < HEAD_HIDDEN / 4; mask *= 2)
      logits[p] += __shfl_xor_sync (0xffffffff, logits[p], mask);
    logits[p] += a.out_bias;
  }
  if (lane_hidden == 0) {
    const size_t pixel = first_pixel + lane_pixel;

    if (pixel + 4 <= a.n_pixels) {
      *(float4 *) (a.dst + pixel) = make_float4 (logits[0], logits[1],
          logits[2], logits[3]);
    } else {
#pragma unroll
      for (int p = 0; p < 4; p++) {
        if (pixel + p < a.n_pixels)
          a.dst[pixel + p] = logits[p];
      }
    }
  }
}

KERNEL (cpsp_head_f16, HEAD_BOUNDS, Head<__half>, head)
KERNEL (cpsp_head_f32, HEAD_BOUNDS, Head<float>, head)

template <typename T>
static int
launch_head (void (*kernel) (Head<T>), const CpspCudaTensor *dst,
    const CpspCudaTensor *src, const CpspCudaTensor *skip,
    const CpspCudaHead *head, void *stream)
{
  Head<T> args;

  args.src = (const T *) src->data;
  args.skip = skip ? (const T *) skip->data : NULL;
  args.src_pitch = src->pitch;
  args.skip_pitch = skip ? skip->pitch : 0;
  args.n_rows = src->pitch + head->skip_rows;
  args.hidden = head->hidden;
  args.weight = head->weight;
  args.bias = head->bias;
  args.out_weight = head->out_weight;
  args.out_bias = head->out_bias;
  args.dst = (float *) dst->data;
  args.n_pixels = (size_t) src->batch * src->height * src->width;
  return launch (kernel, divide_up (args.n_pixels, HEAD_PIXELS), HEAD_THREADS,
      args, stream);
}

int
cpsp_cuda_head (const CpspCudaTensor *dst, const CpspCudaTensor *src,
    const CpspCudaTensor *skip, const CpspCudaHead *head, void *stream)
{
  if (!is_tensor (dst) || !is_tensor (src) || (skip && !is_tensor (skip)))
    return cudaErrorInvalidValue;
  return src->type == CPSP_CUDA_F16 ?
      launch_head (cpsp_head_f16, dst, src, skip, head, stream) :
      launch_head (cpsp_head_f32, dst, src, skip, head, stream);
}
