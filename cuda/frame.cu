/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a frame and its mask into a program's input, and from its output into
 * planes and alpha. Each pixel of an input is made straight from the samples
 * that it depends on: the caches hold what neighbours share. A thread makes a
 * pixel (of results: four of a row); blocks are FRAME_COLUMNS x FRAME_ROWS.
 */
#include "device.cuh"

#define FRAME_COLUMNS 32
#define FRAME_ROWS 8
#define FRAME_THREADS (FRAME_COLUMNS * FRAME_ROWS)
#define RESULT_PIXELS 4u

// Of the training images (ImageNet), R, G, B.
static const float image_mean[3] = { 0.485f, 0.456f, 0.406f };
static const float image_std[3] = { 0.229f, 0.224f, 0.225f };

static dim3
frame_grid (unsigned width, unsigned height)
{
  return dim3 (divide_up (width, FRAME_COLUMNS),
      divide_up (height, FRAME_ROWS));
}

static dim3
frame_block (void)
{
  return dim3 (FRAME_COLUMNS, FRAME_ROWS);
}

__device__ static inline unsigned
frame_x (void)
{
  return blockIdx.x * FRAME_COLUMNS + threadIdx.x;
}

__device__ static inline unsigned
frame_y (void)
{
  return blockIdx.y * FRAME_ROWS + threadIdx.y;
}

static bool
is_crop (const CpspCudaCrop *crop)
{
  return is_side (crop->width) && is_side (crop->height);
}

/* Samples */

__device__ static inline float
sample (const CpspCudaComponent &c, unsigned x, unsigned y)
{
  const uint8_t *at = c.data + (ptrdiff_t) y * c.stride_bytes +
      (size_t) x * c.step_bytes;
  const unsigned bits = c.wide ? *(const uint16_t *) at : *at;

  return (float) (bits >> c.shift & ((1u << c.depth) - 1));
}

__device__ static inline float
sample_between (const CpspCudaComponent &c, const Tap &tx, const Tap &ty)
{
  return exact_lerp (
      exact_lerp (sample (c, tx.first, ty.first),
          sample (c, tx.second, ty.first), tx.weight),
      exact_lerp (sample (c, tx.first, ty.second),
          sample (c, tx.second, ty.second), tx.weight), ty.weight);
}

/* Image */

template <typename T> struct LoadImage
{
  Tensor<T> dst;
  CpspCudaImage image;          // matrix, offset: to normalised RGB
  CpspCudaCrop crop;
  unsigned chroma_width, chroma_height;
  float chroma_scale_x, chroma_scale_y; // chroma samples per luma pixel
};

struct Samples
{
  float v[3];
};

// sum += WEIGHT * the samples of a pixel of the frame. TY: its chroma's rows.
template <typename T>
__device__ static inline void
add_samples (Samples *sum, const LoadImage<T> &a, unsigned x, unsigned y,
    const Tap &ty, float weight)
{
  const CpspCudaImage &image = a.image;

  sum->v[0] += weight * sample (image.component[0], x, y);
  if (image.n_components == 1)
    return;
  if (image.chroma_shift_x == 0 && image.chroma_shift_y == 0) {
    sum->v[1] += weight * sample (image.component[1], x, y);
    sum->v[2] += weight * sample (image.component[2], x, y);
  } else {
    const Tap tx = tap_at (((float) x - image.chroma_x) * a.chroma_scale_x,
        a.chroma_width);

    sum->v[1] += weight * sample_between (image.component[1], tx, ty);
    sum->v[2] += weight * sample_between (image.component[2], tx, ty);
  }
}

template <typename T>
__device__ static inline Tap
chroma_rows (const LoadImage<T> &a, unsigned y)
{
  return tap_at (((float) y - a.image.chroma_y) * a.chroma_scale_y,
      a.chroma_height);
}

// The mean of a bin.
template <typename T>
__device__ static inline Samples
average_image (const LoadImage<T> &a, unsigned x, unsigned y)
{
  const Bin columns = bin_at (x, a.image.width, a.crop.width);
  const Bin rows = bin_at (y, a.image.height, a.crop.height);
  const float share = 1.0f / (float) ((rows.end - rows.first) *
      (columns.end - columns.first));
  Samples sum = { { 0 } };

  for (unsigned sy = rows.first; sy < rows.end; sy++) {
    const Tap ty = chroma_rows (a, sy);

    for (unsigned sx = columns.first; sx < columns.end; sx++)
      add_samples (&sum, a, sx, sy, ty, share);
  }
  return sum;
}

// Cubic convolution with a = -0.75: the weight of the pixel at distance D.
__device__ static inline float
cubic (float d)
{
  const float a = -0.75f;

  d = fabsf (d);
  return d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 :
      ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
}

__device__ static inline float
position_step (unsigned i, float step)
{
  return __fsub_rn (__fmul_rn (step, (float) i + 0.5f), 0.5f);
}

// Bicubic; taps outside the image are those at its border.
template <typename T>
__device__ static inline Samples
enlarge_image (const LoadImage<T> &a, unsigned x, unsigned y)
{
  const float at_x = position_step (x, a.crop.step);
  const float at_y = position_step (y, a.crop.step);
  const float base_x = floorf (at_x), base_y = floorf (at_y);
  Samples sum = { { 0 } };

  for (int j = -1; j <= 2; j++) {
    const int sy = min (max ((int) base_y + j, 0), (int) a.image.height - 1);
    const float weight = cubic (at_y - base_y - (float) j);
    const Tap ty = chroma_rows (a, sy);

    for (int i = -1; i <= 2; i++) {
      const int sx = min (max ((int) base_x + i, 0), (int) a.image.width - 1);

      add_samples (&sum, a, sx, sy, ty,
          weight * cubic (at_x - base_x - (float) i));
    }
  }
  return sum;
}

template <typename T, bool ENLARGE>
__device__ static inline void
load_image (const LoadImage<T> &a)
{
  const unsigned x = frame_x (), y = frame_y ();
  float rgb[3] = { 0 };

  if (x >= a.dst.width || y >= a.dst.height)
    return;
  if (x < a.crop.crop_width && y < a.crop.crop_height) {
    const Samples in = ENLARGE ?
        enlarge_image (a, a.crop.x + x, a.crop.y + y) :
        average_image (a, a.crop.x + x, a.crop.y + y);

#pragma unroll
    for (int i = 0; i < 3; i++) {
      rgb[i] = a.image.offset[i] + a.image.matrix[i][0] * in.v[0] +
          a.image.matrix[i][1] * in.v[1] + a.image.matrix[i][2] * in.v[2];
    }
  }
  set_channels (a.dst.pixel (0, y, x), a.dst.channels, a.dst.pitch, 0, 3,
      rgb[0], rgb[1], rgb[2]);
}

KERNEL (cpsp_average_image_f16, FRAME_THREADS, LoadImage<__half>,
    (load_image<__half, false>))
KERNEL (cpsp_average_image_f32, FRAME_THREADS, LoadImage<float>,
    (load_image<float, false>))
KERNEL (cpsp_enlarge_image_f16, FRAME_THREADS, LoadImage<__half>,
    (load_image<__half, true>))
KERNEL (cpsp_enlarge_image_f32, FRAME_THREADS, LoadImage<float>,
    (load_image<float, true>))

// The tensor's image SLOT.
template <typename T>
static Tensor<T>
tensor_slot (const CpspCudaTensor *t, unsigned slot)
{
  Tensor<T> image (t);

  image.data += (size_t) slot * t->height * t->width * t->pitch;
  return image;
}

template <typename T>
static int
launch_load_image (void (*average) (LoadImage<T>),
    void (*enlarge) (LoadImage<T>), const CpspCudaTensor *dst, unsigned slot,
    const CpspCudaImage *image, const CpspCudaCrop *crop, void *stream)
{
  LoadImage<T> args;

  args.dst = tensor_slot<T> (dst, slot);
  args.image = *image;
  args.crop = *crop;
  for (unsigned i = 0; i < 3; i++) {
    for (unsigned j = 0; j < 3; j++) {
      args.image.matrix[i][j] = j < image->n_components ?
          image->matrix[i][j] / image_std[i] : 0;
    }
    args.image.offset[i] = (image->offset[i] - image_mean[i]) / image_std[i];
  }
  args.chroma_scale_x = 1.0f / (float) (1u << image->chroma_shift_x);
  args.chroma_scale_y = 1.0f / (float) (1u << image->chroma_shift_y);
  args.chroma_width = divide_up (image->width, 1u << image->chroma_shift_x);
  args.chroma_height = divide_up (image->height, 1u << image->chroma_shift_y);
  return launch (crop->step > 0 ? enlarge : average,
      frame_grid (dst->width, dst->height), frame_block (), args, stream);
}

int
cpsp_cuda_load_image (const CpspCudaTensor *dst, uint32_t slot,
    const CpspCudaImage *image, const CpspCudaCrop *crop, void *stream)
{
  if (!is_tensor (dst) || !is_side (image->width) ||
      !is_side (image->height) || !is_crop (crop))
    return cudaErrorInvalidValue;
  return dst->type == CPSP_CUDA_F16 ?
      launch_load_image (cpsp_average_image_f16, cpsp_enlarge_image_f16, dst,
          slot, image, crop, stream) :
      launch_load_image (cpsp_average_image_f32, cpsp_enlarge_image_f32, dst,
          slot, image, crop, stream);
}

/* Coarse mask */

template <typename T> struct LoadCoarse
{
  Tensor<T> dst;
  CpspCudaMask mask;
  CpspCudaCrop crop;
  unsigned frame_width, frame_height;
  float scale_x, scale_y;       // mask pixels per frame pixel
  float threshold;
};

// +1 or -1: pixel X of the frame, of a row that lies between TY.
template <typename T>
__device__ static inline int
mask_sign (const LoadCoarse<T> &a, unsigned x, const Tap &ty)
{
  const float value = sample_between (a.mask.component,
      tap_half (x, a.scale_x, a.mask.width), ty);

  return __fadd_rn (__fmul_rn (a.mask.scale, value), a.mask.offset) >
      a.threshold ? 1 : -1;
}

template <typename T>
__device__ static inline float
average_mask (const LoadCoarse<T> &a, unsigned x, unsigned y)
{
  const Bin columns = bin_at (x, a.frame_width, a.crop.width);
  const Bin rows = bin_at (y, a.frame_height, a.crop.height);
  int sum = 0;

  for (unsigned sy = rows.first; sy < rows.end; sy++) {
    const Tap ty = tap_half (sy, a.scale_y, a.mask.height);

    for (unsigned sx = columns.first; sx < columns.end; sx++)
      sum += mask_sign (a, sx, ty);
  }
  return (float) sum / (float) ((rows.end - rows.first) *
      (columns.end - columns.first));
}

template <typename T>
__device__ static inline float
enlarge_mask (const LoadCoarse<T> &a, unsigned x, unsigned y)
{
  const Tap tx = tap_at (position_step (x, a.crop.step), a.frame_width);
  const Tap ty = tap_at (position_step (y, a.crop.step), a.frame_height);
  const Tap upper = tap_half (ty.first, a.scale_y, a.mask.height);
  const Tap lower = tap_half (ty.second, a.scale_y, a.mask.height);

  return lerp (
      lerp ((float) mask_sign (a, tx.first, upper),
          (float) mask_sign (a, tx.second, upper), tx.weight),
      lerp ((float) mask_sign (a, tx.first, lower),
          (float) mask_sign (a, tx.second, lower), tx.weight), ty.weight);
}

template <typename T, bool ENLARGE>
__device__ static inline void
load_coarse (const LoadCoarse<T> &a)
{
  const unsigned x = frame_x (), y = frame_y ();
  float value = -1;

  if (x >= a.dst.width || y >= a.dst.height)
    return;
  if (x < a.crop.crop_width && y < a.crop.crop_height) {
    value = ENLARGE ? enlarge_mask (a, a.crop.x + x, a.crop.y + y) :
        average_mask (a, a.crop.x + x, a.crop.y + y);
  }
  set_channels (a.dst.pixel (0, y, x), a.dst.channels, a.dst.pitch, 3, 3,
      value, value, value);
}

KERNEL (cpsp_average_mask_f16, FRAME_THREADS, LoadCoarse<__half>,
    (load_coarse<__half, false>))
KERNEL (cpsp_average_mask_f32, FRAME_THREADS, LoadCoarse<float>,
    (load_coarse<float, false>))
KERNEL (cpsp_enlarge_mask_f16, FRAME_THREADS, LoadCoarse<__half>,
    (load_coarse<__half, true>))
KERNEL (cpsp_enlarge_mask_f32, FRAME_THREADS, LoadCoarse<float>,
    (load_coarse<float, true>))

template <typename T>
static int
launch_load_coarse (void (*average) (LoadCoarse<T>),
    void (*enlarge) (LoadCoarse<T>), const CpspCudaTensor *dst, unsigned slot,
    const CpspCudaMask *mask, unsigned frame_width, unsigned frame_height,
    const CpspCudaCrop *crop, float threshold, void *stream)
{
  LoadCoarse<T> args;

  args.dst = tensor_slot<T> (dst, slot);
  args.mask = *mask;
  args.crop = *crop;
  args.frame_width = frame_width;
  args.frame_height = frame_height;
  args.scale_x = (float) mask->width / (float) frame_width;
  args.scale_y = (float) mask->height / (float) frame_height;
  args.threshold = threshold;
  return launch (crop->step > 0 ? enlarge : average,
      frame_grid (dst->width, dst->height), frame_block (), args, stream);
}

int
cpsp_cuda_load_coarse (const CpspCudaTensor *dst, uint32_t slot,
    const CpspCudaMask *mask, uint32_t frame_width, uint32_t frame_height,
    const CpspCudaCrop *crop, float threshold, void *stream)
{
  if (!is_tensor (dst) || !is_side (mask->width) ||
      !is_side (mask->height) || !is_side (frame_width) ||
      !is_side (frame_height) || !is_crop (crop))
    return cudaErrorInvalidValue;
  return dst->type == CPSP_CUDA_F16 ?
      launch_load_coarse (cpsp_average_mask_f16, cpsp_enlarge_mask_f16, dst,
          slot, mask, frame_width, frame_height, crop, threshold, stream) :
      launch_load_coarse (cpsp_average_mask_f32, cpsp_enlarge_mask_f32, dst,
          slot, mask, frame_width, frame_height, crop, threshold, stream);
}

/* Masks from predictions */

// Between four pixels of a plane.
__device__ static inline float
plane_between (const float *plane, unsigned width, const Tap &tx,
    const Tap &ty)
{
  const float *upper = plane + (size_t) ty.first * width;
  const float *lower = plane + (size_t) ty.second * width;

  return exact_lerp (
      exact_lerp (upper[tx.first], upper[tx.second], tx.weight),
      exact_lerp (lower[tx.first], lower[tx.second], tx.weight), ty.weight);
}

template <typename T> struct LoadMasks
{
  Tensor<T> dst;
  const float *p1, *p4;
  unsigned width, height;       // of the planes
  CpspCudaCrop crop;
  float scale_x, scale_y;       // plane pixels per pixel of the scaled frame
};

template <typename T>
__device__ static inline void
load_masks (const LoadMasks<T> &a)
{
  const unsigned x = frame_x (), y = frame_y ();
  float seg = -1, coarse = -1;

  if (x >= a.dst.width || y >= a.dst.height)
    return;
  if (x < a.crop.crop_width && y < a.crop.crop_height) {
    const Tap tx = tap_half (a.crop.x + x, a.scale_x, a.width);
    const Tap ty = tap_half (a.crop.y + y, a.scale_y, a.height);

    seg = plane_between (a.p1, a.width, tx, ty) > 0.5f ? 1 : -1;
    coarse = 2 * plane_between (a.p4, a.width, tx, ty) - 1;
  }
  set_channels (a.dst.pixel (0, y, x), a.dst.channels, a.dst.pitch, 3, 3,
      seg, coarse, coarse);
}

KERNEL (cpsp_load_masks_f16, FRAME_THREADS, LoadMasks<__half>, load_masks)
KERNEL (cpsp_load_masks_f32, FRAME_THREADS, LoadMasks<float>, load_masks)

template <typename T>
static int
launch_load_masks (void (*kernel) (LoadMasks<T>), const CpspCudaTensor *dst,
    unsigned slot, const CpspCudaPlane *p1, const CpspCudaPlane *p4,
    const CpspCudaCrop *crop, void *stream)
{
  LoadMasks<T> args;

  args.dst = tensor_slot<T> (dst, slot);
  args.p1 = p1->data;
  args.p4 = p4->data;
  args.width = p1->width;
  args.height = p1->height;
  args.crop = *crop;
  args.scale_x = (float) p1->width / (float) crop->width;
  args.scale_y = (float) p1->height / (float) crop->height;
  return launch (kernel, frame_grid (dst->width, dst->height),
      frame_block (), args, stream);
}

int
cpsp_cuda_load_masks (const CpspCudaTensor *dst, uint32_t slot,
    const CpspCudaPlane *p1, const CpspCudaPlane *p4,
    const CpspCudaCrop *crop, void *stream)
{
  if (!is_tensor (dst) || !is_plane (p1) || !is_plane (p4) || !is_crop (crop))
    return cudaErrorInvalidValue;
  return dst->type == CPSP_CUDA_F16 ?
      launch_load_masks (cpsp_load_masks_f16, dst, slot, p1, p4, crop,
          stream) :
      launch_load_masks (cpsp_load_masks_f32, dst, slot, p1, p4, crop,
          stream);
}

/* Store, accumulate */

struct Store
{
  float *dst;
  unsigned width, height;       // of dst
  const float *src;
  unsigned src_width;
};

__device__ static inline void
store (const Store &a)
{
  const unsigned x = frame_x (), y = frame_y ();

  if (x < a.width && y < a.height)
    a.dst[(size_t) y * a.width + x] = a.src[(size_t) y * a.src_width + x];
}

KERNEL (cpsp_store, FRAME_THREADS, Store, store)

int
cpsp_cuda_store (const CpspCudaPlane *dst, const CpspCudaTensor *src,
    uint32_t slot, void *stream)
{
  Store args;

  if (!is_plane (dst) || !is_tensor (src))
    return cudaErrorInvalidValue;
  args.dst = dst->data;
  args.width = dst->width;
  args.height = dst->height;
  args.src = tensor_slot<float> (src, slot).data;
  args.src_width = src->width;
  return launch (cpsp_store, frame_grid (dst->width, dst->height),
      frame_block (), args, stream);
}

// Shares of a ramp per pixel; infinite: none.
struct Accumulate
{
  float *sum, *weight;          // weight: NULL: none
  unsigned dst_width;
  const float *src;
  unsigned src_width;
  unsigned width, height;
  float left, top, right, bottom;
};

// A blend's weight along one axis at pixel I of N.
__device__ static inline float
ramp_weight (unsigned i, unsigned n, float before, float after)
{
  return fminf (1, fminf (((float) i + 0.5f) * before,
          ((float) (n - i) - 0.5f) * after));
}

__device__ static inline void
accumulate (const Accumulate &a)
{
  const unsigned x = frame_x (), y = frame_y ();
  const size_t at = (size_t) y * a.dst_width + x;
  float weight;

  if (x >= a.width || y >= a.height)
    return;
  weight = ramp_weight (y, a.height, a.top, a.bottom) *
      ramp_weight (x, a.width, a.left, a.right);
  a.sum[at] += weight * a.src[(size_t) y * a.src_width + x];
  if (a.weight)
    a.weight[at] += weight;
}

KERNEL (cpsp_accumulate, FRAME_THREADS, Accumulate, accumulate)

static float
ramp_share (unsigned pixels)
{
  return pixels > 0 ? 1.0f / (float) pixels : INFINITY;
}

int
cpsp_cuda_accumulate (const CpspCudaPlane *sum, const CpspCudaPlane *weight,
    const CpspCudaTensor *src, uint32_t slot, const CpspCudaBlend *blend,
    void *stream)
{
  const size_t to = (size_t) blend->y * sum->width + blend->x;
  Accumulate args;

  if (!is_plane (sum) || !is_tensor (src) || !is_side (blend->width) ||
      !is_side (blend->height))
    return cudaErrorInvalidValue;
  args.sum = sum->data + to;
  args.weight = weight ? weight->data + to : NULL;
  args.dst_width = sum->width;
  args.src = tensor_slot<float> (src, slot).data +
      (size_t) blend->trim_top * src->width + blend->trim_left;
  args.src_width = src->width;
  args.width = blend->width;
  args.height = blend->height;
  args.left = ramp_share (blend->ramp_left);
  args.top = ramp_share (blend->ramp_top);
  args.right = ramp_share (blend->ramp_right);
  args.bottom = ramp_share (blend->ramp_bottom);
  return launch (cpsp_accumulate, frame_grid (blend->width, blend->height),
      frame_block (), args, stream);
}

/* Results */

struct Finish
{
  CpspCudaAlpha dst;
  CpspCudaResult result;
  float scale_x, scale_y;       // base pixels per pixel
  bool vectors;                 // rows of dst, sum and weight are aligned
};

// One axis of the base under pixel I of N.
__device__ static inline Tap
tap_result (const Finish &a, unsigned i, float scale, unsigned base)
{
  return a.result.resize == CPSP_CUDA_CORNERS ?
      tap_at (scale * (float) i, base) : tap_half (i, scale, base);
}

__device__ static inline float
plane_average (const CpspCudaPlane &plane, const Bin &columns,
    const Bin &rows)
{
  float sum = 0;

  for (unsigned y = rows.first; y < rows.end; y++) {
    const float *row = plane.data + (size_t) y * plane.width;

    for (unsigned x = columns.first; x < columns.end; x++)
      sum += row[x];
  }
  return sum / (float) ((rows.end - rows.first) *
      (columns.end - columns.first));
}

__device__ static inline float
result_base (const Finish &a, unsigned x, unsigned y)
{
  const CpspCudaPlane &base = a.result.base;
  const float value = a.result.resize == CPSP_CUDA_AREA ?
      plane_average (base, bin_at (x, base.width, a.dst.width),
          bin_at (y, base.height, a.dst.height)) :
      plane_between (base.data, base.width,
          tap_result (a, x, a.scale_x, base.width),
          tap_result (a, y, a.scale_y, base.height));

  return a.result.binarise ? (value > 0.5f ? 1.0f : 0.0f) : value;
}

// p * steps, rounded, within 0 .. steps; 0 for NaN.
__device__ static inline unsigned
quantise (float p, float steps)
{
  return (unsigned) (fminf (fmaxf (p, 0), 1) * steps + 0.5f);
}

__device__ static inline void
store_result (const CpspCudaAlpha &dst, unsigned x, unsigned y, float p)
{
  uint8_t *row = (uint8_t *) dst.data + (ptrdiff_t) y * dst.stride_bytes;

  switch (dst.format) {
    case CPSP_CUDA_ALPHA_U8:
      row[x] = (uint8_t) quantise (p, 255);
      break;
    case CPSP_CUDA_ALPHA_U16:
      ((uint16_t *) row)[x] = (uint16_t) quantise (p, 65535);
      break;
    case CPSP_CUDA_ALPHA_F32:
      ((float *) row)[x] = p;
      break;
  }
}

// Four pixels at once, in one access.
__device__ static inline void
store_results (const CpspCudaAlpha &dst, unsigned x, unsigned y,
    const float *p)
{
  uint8_t *row = (uint8_t *) dst.data + (ptrdiff_t) y * dst.stride_bytes;

  switch (dst.format) {
    case CPSP_CUDA_ALPHA_U8:
      *(uchar4 *) (row + x) = make_uchar4 (
          (uint8_t) quantise (p[0], 255), (uint8_t) quantise (p[1], 255),
          (uint8_t) quantise (p[2], 255), (uint8_t) quantise (p[3], 255));
      break;
    case CPSP_CUDA_ALPHA_U16:
      *(ushort4 *) (row + (size_t) x * 2) = make_ushort4 (
          (uint16_t) quantise (p[0], 65535),
          (uint16_t) quantise (p[1], 65535),
          (uint16_t) quantise (p[2], 65535),
          (uint16_t) quantise (p[3], 65535));
      break;
    case CPSP_CUDA_ALPHA_F32:
      *(float4 *) (row + (size_t) x * 4) = make_float4 (p[0], p[1], p[2],
          p[3]);
      break;
  }
}

__device__ static inline float
over_base (float base, float sum, float weight)
{
  return (sum + fmaxf (0, 1 - weight) * base) / fmaxf (1, weight);
}

__device__ static inline void
finish (const Finish &a)
{
  const unsigned x = frame_x () * RESULT_PIXELS, y = frame_y ();
  const size_t at = (size_t) y * a.dst.width + x;
  const float *sum = a.result.sum, *weight = a.result.weight;

  if (x >= a.dst.width || y >= a.dst.height)
    return;
  if (a.vectors) {
    float p[RESULT_PIXELS];

#pragma unroll
    for (unsigned i = 0; i < RESULT_PIXELS; i++)
      p[i] = result_base (a, x + i, y);
    if (sum) {
      const float4 s = *(const float4 *) (sum + at);
      const float4 w = *(const float4 *) (weight + at);

      p[0] = over_base (p[0], s.x, w.x);
      p[1] = over_base (p[1], s.y, w.y);
      p[2] = over_base (p[2], s.z, w.z);
      p[3] = over_base (p[3], s.w, w.w);
    }
    store_results (a.dst, x, y, p);
  } else {
    for (unsigned i = 0; i < min (RESULT_PIXELS, a.dst.width - x); i++) {
      const float base = result_base (a, x + i, y);

      store_result (a.dst, x + i, y, sum ? over_base (base, sum[at + i],
              weight[at + i]) : base);
    }
  }
}

KERNEL (cpsp_finish, FRAME_THREADS, Finish, finish)

// Source pixels per pixel of an axis.
static float
result_scale (CpspCudaResize resize, unsigned base, unsigned n)
{
  if (resize == CPSP_CUDA_CORNERS)
    return n > 1 ? (float) (base - 1) / (float) (n - 1) : 0;
  return (float) base / (float) n;
}

int
cpsp_cuda_finish (const CpspCudaAlpha *dst, const CpspCudaResult *result,
    void *stream)
{
  static const unsigned sizes[] = { 1, 2, 4 };
  const unsigned size = sizes[dst->format];
  Finish args;

  if (!is_side (dst->width) || !is_side (dst->height) ||
      !is_plane (&result->base))
    return cudaErrorInvalidValue;
  args.dst = *dst;
  args.result = *result;
  args.scale_x = result_scale (result->resize, result->base.width,
      dst->width);
  args.scale_y = result_scale (result->resize, result->base.height,
      dst->height);
  args.vectors = dst->width % RESULT_PIXELS == 0 &&
      (uintptr_t) dst->data % (size * RESULT_PIXELS) == 0 &&
      dst->stride_bytes % (ptrdiff_t) (size * RESULT_PIXELS) == 0;
  return launch (cpsp_finish, frame_grid (divide_up (dst->width,
              RESULT_PIXELS), dst->height), frame_block (), args, stream);
}
