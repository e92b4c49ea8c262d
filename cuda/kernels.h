/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Our own kernels, callable from C: everything that the CUDA backend computes
 * but the convolutions. Each function enqueues one kernel on STREAM (a
 * cudaStream_t) and returns a cudaError_t: 0, or cudaErrorInvalidValue if a
 * side of anything is 0 or above CPSP_CUDA_MAX_SIDE, or what the launch said.
 * Nothing is synchronised and nothing allocated; the structs are read before
 * the function returns, the device memory that they point to when the kernel
 * runs. The caller validates all else; the kernels trust.
 *
 * All pointers to samples, tensors, planes and weights are device memory,
 * whence types of our own beside the engine's, whose pointers are the host's.
 * No header of CUDA or GLib: nvcc, C compilers and the tests' emulation read
 * this.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CPSP_CUDA_MAX_SIDE 65535
// Hidden channels of a head are handled in blocks of this many.
#define CPSP_CUDA_HEAD_BLOCK 32

typedef enum
{
  CPSP_CUDA_F32,
  CPSP_CUDA_F16,
} CpspCudaType;

// Images of NHWC activations. PITCH, elements from pixel to pixel, is a
// multiple of 8 and DATA of 16 bytes; channels from `channels` on are zero,
// which every function keeps so. A tensor of logits or predictions is F32,
// of one channel and pitch 1.
typedef struct
{
  void *data;                   // of the first image
  CpspCudaType type;
  uint32_t batch, height, width;
  uint32_t channels, pitch;
} CpspCudaTensor;

// height * width floats without padding, DATA a multiple of 16 bytes.
typedef struct
{
  float *data;
  uint32_t width, height;
} CpspCudaPlane;

// As CpspComponent; samples of two bytes lie at multiples of two.
typedef struct
{
  const uint8_t *data;
  ptrdiff_t stride_bytes;
  uint32_t step_bytes;
  uint32_t wide;                // boolean: two bytes
  uint32_t shift;
  uint32_t depth;
} CpspCudaComponent;

// As CpspImageView.
typedef struct
{
  uint32_t width, height;
  uint32_t n_components;
  CpspCudaComponent component[3];
  uint32_t chroma_shift_x, chroma_shift_y;
  float chroma_x, chroma_y;
  float matrix[3][3];
  float offset[3];
} CpspCudaImage;

// As CpspMaskView.
typedef struct
{
  uint32_t width, height;
  CpspCudaComponent component;
  float scale, offset;
} CpspCudaMask;

// As CpspCrop; step = (float) (1 / ratio) if the frame is enlarged, 0 if it
// is averaged.
typedef struct
{
  uint32_t width, height;
  float step;
  uint32_t x, y;
  uint32_t crop_width, crop_height;
} CpspCudaCrop;

// As CpspBlend.
typedef struct
{
  uint32_t trim_left, trim_top;
  uint32_t x, y, width, height;
  uint32_t ramp_left, ramp_top, ramp_right, ramp_bottom;
} CpspCudaBlend;

// As CpspResize.
typedef enum
{
  CPSP_CUDA_BILINEAR,
  CPSP_CUDA_CORNERS,
  CPSP_CUDA_AREA,
} CpspCudaResize;

// As CpspResult; sum and weight (both or neither) have the result's size.
typedef struct
{
  const float *sum, *weight;
  CpspCudaPlane base;
  CpspCudaResize resize;
  uint32_t binarise;            // boolean
} CpspCudaResult;

// As CpspAlphaFormat.
typedef enum
{
  CPSP_CUDA_ALPHA_U8,
  CPSP_CUDA_ALPHA_U16,
  CPSP_CUDA_ALPHA_F32,
} CpspCudaAlphaFormat;

// A place for a result, at a multiple of its samples' size, as are its rows.
typedef struct
{
  void *data;
  ptrdiff_t stride_bytes;
  uint32_t width, height;
  CpspCudaAlphaFormat format;
} CpspCudaAlpha;

/* Operations: refine/network.h says what each computes. */

// SCALE and SHIFT: src->pitch floats each, those of padding channels zero.
int cpsp_cuda_max_pool (const CpspCudaTensor * dst,
    const CpspCudaTensor * src, const float *scale, const float *shift,
    void *stream);
int cpsp_cuda_grid_pool (const CpspCudaTensor * dst,
    const CpspCudaTensor * src, void *stream);
// dst = sum of four tensors
int cpsp_cuda_pyramid (const CpspCudaTensor * dst,
    const CpspCudaTensor src[4], void *stream);
// SKIP: NULL: none. SCALE and SHIFT: dst->pitch floats, those of padding
// channels zero.
int cpsp_cuda_concat (const CpspCudaTensor * dst, const CpspCudaTensor * src,
    const CpspCudaTensor * skip, const float *scale, const float *shift,
    void *stream);
int cpsp_cuda_upsample (const CpspCudaTensor * dst,
    const CpspCudaTensor * src, void *stream);

// A head's weights, padded with zeros: HIDDEN is a multiple of
// CPSP_CUDA_HEAD_BLOCK; weight is [row][hidden], its rows those of src's
// src->pitch channels, then as many of the skip's as are taken, rounded up
// to a multiple of 8.
typedef struct
{
  uint32_t hidden;
  uint32_t skip_rows;           // 0: no skip
  const float *weight;          // a multiple of 16 bytes
  const float *bias, *out_weight;       // hidden
  float out_bias;
} CpspCudaHead;

// DST: a tensor of logits. SKIP: NULL: none.
int cpsp_cuda_head (const CpspCudaTensor * dst, const CpspCudaTensor * src,
    const CpspCudaTensor * skip, const CpspCudaHead * head, void *stream);
// SRC: a tensor of logits. DST: one of predictions, or activations, of which
// the other channels stay. Resized if the sizes differ.
int cpsp_cuda_logit (const CpspCudaTensor * dst, uint32_t first_channel,
    uint32_t n_channels, const CpspCudaTensor * src, int sigmoid,
    void *stream);

/* The frame: refine/backend.h says what each computes. DST is a program's
 * input; each writes its channels and the padding, the others stay. */

int cpsp_cuda_load_image (const CpspCudaTensor * dst, uint32_t slot,
    const CpspCudaImage * image, const CpspCudaCrop * crop, void *stream);
// FRAME_WIDTH x FRAME_HEIGHT: of the image that the mask belongs to.
int cpsp_cuda_load_coarse (const CpspCudaTensor * dst, uint32_t slot,
    const CpspCudaMask * mask, uint32_t frame_width, uint32_t frame_height,
    const CpspCudaCrop * crop, float threshold, void *stream);
int cpsp_cuda_load_masks (const CpspCudaTensor * dst, uint32_t slot,
    const CpspCudaPlane * p1, const CpspCudaPlane * p4,
    const CpspCudaCrop * crop, void *stream);

// SRC: a tensor of predictions.
int cpsp_cuda_store (const CpspCudaPlane * dst, const CpspCudaTensor * src,
    uint32_t slot, void *stream);
// WEIGHT: NULL: none.
int cpsp_cuda_accumulate (const CpspCudaPlane * sum,
    const CpspCudaPlane * weight, const CpspCudaTensor * src, uint32_t slot,
    const CpspCudaBlend * blend, void *stream);
// Of a plane: CPSP_CUDA_ALPHA_F32 with its stride.
int cpsp_cuda_finish (const CpspCudaAlpha * dst,
    const CpspCudaResult * result, void *stream);

/* Conversions */

// dst[c_out rounded up to 8][kernel][kernel][c_in rounded up to 8] of TYPE,
// zeros where src has nothing; src: floats [c_out][c_in][kernel][kernel].
int cpsp_cuda_pack_weights (void *dst, CpspCudaType type, const float *src,
    uint32_t c_out, uint32_t c_in, uint32_t kernel, void *stream);
// A tensor from and to its logical channels as floats, without padding.
// (A bias is a tensor of 1 x 1.)
int cpsp_cuda_write (const CpspCudaTensor * dst, const float *src,
    void *stream);
int cpsp_cuda_read (float *dst, const CpspCudaTensor * src, void *stream);
// *dst = max (*dst, the largest magnitude in SRC), NaN if there is one;
// *dst is not negative.
int cpsp_cuda_magnitude (float *dst, const CpspCudaTensor * src,
    void *stream);

#ifdef __cplusplus
}
#endif
