/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The reference backend: every operation as its definition reads, in plain C
 * on one thread, in float. All other backends are measured against it, and it
 * runs where they cannot. Only the convolution is arranged for speed.
 *
 * Resampling computes positions in float and in the order of operations that
 * PyTorch uses: the published method does, and another order shifts large
 * images by visible fractions of a pixel's weight.
 *
 * One thread at a time per device, as backend.h says. Nothing is deferred.
 */
#include <math.h>

#include "backend.h"
#include "error.h"
#include "alloc.h"

// Output channels that a convolution's inner loop computes at once, and the
// neighbouring pixels that share one reading of the weights. As many sums as
// fit the registers of the oldest processors.
#define BLOCK CPSP_CHANNEL_ALIGN
#define PIXELS 4

// Of the training images (ImageNet), R, G, B.
static const float image_mean[3] = { 0.485f, 0.456f, 0.406f };
static const float image_std[3] = { 0.229f, 0.224f, 0.225f };

// A convolution's weights as [c_out / BLOCK][k][k][c_in][BLOCK], the missing
// channels of the last block zero. Plans of one network share them: a
// program keeps its network alive, thus the key is valid while there are
// users.
typedef struct _PackedConv PackedConv;
struct _PackedConv
{
  PackedConv *next;
  const CpspConv *conv;
  guint n_users;                // plans
  float *weight;
};

struct _CpspDevice
{
  float *arena;
  gsize arena_size;             // bytes, of the largest plan so far
  PackedConv *packed;

  CpspImageView image;
  CpspMaskView mask;
  float *rows;                  // MAX_TAPS RGB rows of the frame
  gsize rows_size;              // floats
  gsize planes_size;            // bytes of all planes
};

struct _CpspPlan
{
  CpspDevice *device;
  const CpspProgram *program;
  PackedConv **packed;          // per operation; NULL: not a convolution
  float *zeros;                 // a pixel outside the image, any channels
  double *sums;                 // one pixel's channels, or an input row's RGB
};

struct _CpspPlane
{
  CpspDevice *device;
  guint width, height;
  float *data;
};

// Pixel (0, 0) of image B of the batch.
static float *
tensor_image (CpspPlan * plan, gint tensor, guint b)
{
  const CpspTensor *t = &plan->program->tensors[tensor];

  return plan->device->arena + t->offset / sizeof (float) +
      (gsize) b * t->height * t->width * t->pitch;
}

static const CpspTensor *
tensor_info (CpspPlan * plan, gint tensor)
{
  return &plan->program->tensors[tensor];
}

static void
clear_padding (const CpspTensor * t, float *pixel)
{
  for (guint c = t->channels; c < t->pitch; c++)
    pixel[c] = 0;
}

/* Resampling */

// Bilinear: the value is a + weight * (b - a), a and b at the two indices.
// This form leaves constant areas exactly constant.
typedef struct
{
  guint index[2];
  float weight;
} Tap;

static Tap
tap_at (float position, guint n)
{
  Tap tap;

  position = CLAMP (position, 0.0f, (float) (n - 1));
  tap.index[0] = MIN ((guint) position, n - 1);
  tap.index[1] = MIN (tap.index[0] + 1, n - 1);
  tap.weight = position - tap.index[0];
  return tap;
}

static float
lerp (float a, float b, float weight)
{
  return a + weight * (b - a);
}

// Where pixel I of OUT lies among IN pixels: pixel centres at half
// coordinates.
static float
position_half (guint i, guint in, guint out)
{
  const float scale = (float) in / (float) out;

  return scale * (i + 0.5f) - 0.5f;
}

// The same with the centres of the first and last pixels aligned.
static float
position_corners (guint i, guint in, guint out)
{
  const float scale = out > 1 ? (float) (in - 1) / (float) (out - 1) : 0;

  return scale * i;
}

static Tap
tap_resize (guint i, guint in, guint out, CpspResize resize)
{
  return tap_at (resize == CPSP_RESIZE_CORNERS ?
      position_corners (i, in, out) : position_half (i, in, out), in);
}

// The pixels [first, end) that cell I of OUT averages, of IN.
typedef struct
{
  guint first, end;
} Bin;

static Bin
bin_at (guint i, guint in, guint out)
{
  return (Bin) {
    (guint) ((guint64) i * in / out),
    (guint) ((((guint64) i + 1) * in + out - 1) / out)
  };
}

// Weighted pixels of an axis, for a separable filter.
#define MAX_TAPS 4
typedef struct
{
  guint n;
  guint index[MAX_TAPS];
  float weight[MAX_TAPS];
} Taps;

static float
position_ratio (guint i, double ratio)
{
  const float scale = (float) (1.0 / ratio);

  return scale * (i + 0.5f) - 0.5f;
}

static Taps
taps_bilinear (float position, guint n)
{
  const Tap tap = tap_at (position, n);

  return (Taps) {
    .n = 2,
    .index = { tap.index[0], tap.index[1] },
    .weight = { 1 - tap.weight, tap.weight },
  };
}

// Cubic convolution with a = -0.75; taps outside the image are those at its
// border.
static Taps
taps_bicubic (float position, guint n)
{
  const float a = -0.75f;
  const float base = floorf (position);
  const float t = position - base;
  Taps taps = {.n = 4 };

  for (gint i = 0; i < 4; i++) {
    const float d = fabsf (t - (i - 1));
    const gint index = (gint) base + i - 1;

    taps.index[i] = (guint) CLAMP (index, 0, (gint) n - 1);
    taps.weight[i] = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 :
        ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  }
  return taps;
}

/* Operations */

// Image B of dst = act (conv (src) [+ dst]).
static void
run_conv (CpspPlan * plan, const CpspOp * op, const PackedConv * packed,
    guint b)
{
  const CpspTensor *s = tensor_info (plan, op->src[0]);
  const CpspTensor *d = tensor_info (plan, op->dst);
  const CpspConv *conv = op->conv;
  const float *src = tensor_image (plan, op->src[0], b);
  float *dst = tensor_image (plan, op->dst, b);
  const guint k = conv->kernel;
  const gint padding = (gint) (op->dilation * (k - 1) / 2);

  for (guint y = 0; y < d->height; y++) {
    for (guint c0 = 0; c0 < conv->c_out; c0 += BLOCK) {
      const guint n_channels = MIN (BLOCK, conv->c_out - c0);
      const float *block = packed->weight + (gsize) c0 * k * k * conv->c_in;

      for (guint x0 = 0; x0 < d->width; x0 += PIXELS) {
        const guint n_pixels = MIN (PIXELS, d->width - x0);
        float *out = dst + ((gsize) y * d->width + x0) * d->pitch + c0;
        float sum[PIXELS][BLOCK] = { {0} };

        for (guint p = 0; p < n_pixels; p++) {
          for (guint c = 0; c < n_channels; c++) {
            sum[p][c] = conv->bias ? conv->bias[c0 + c] : 0;
            if (op->accumulate)
              sum[p][c] += out[p * d->pitch + c];
          }
        }

        for (guint tap = 0; tap < k * k; tap++) {
          const float *weight = block + (gsize) tap * conv->c_in * BLOCK;
          const gint sy = (gint) (y * op->stride + tap / k * op->dilation) -
              padding;
          const float *from[PIXELS];

          if (sy < 0 || sy >= (gint) s->height)
            continue;
          for (guint p = 0; p < PIXELS; p++) {
            const gint sx = (gint) ((x0 + p) * op->stride +
                tap % k * op->dilation) - padding;

            from[p] = sx < 0 || sx >= (gint) s->width ? plan->zeros :
                src + ((gsize) sy * s->width + sx) * s->pitch;
          }
          for (guint ci = 0; ci < conv->c_in; ci++) {
            for (guint p = 0; p < PIXELS; p++) {
              for (guint c = 0; c < BLOCK; c++)
                sum[p][c] += from[p][ci] * weight[ci * BLOCK + c];
            }
          }
        }

        for (guint p = 0; p < n_pixels; p++) {
          for (guint c = 0; c < n_channels; c++)
            out[p * d->pitch + c] = op->relu ? MAX (sum[p][c], 0) : sum[p][c];
        }
      }
    }
    for (guint x = 0; x < d->width; x++)
      clear_padding (d, dst + ((gsize) y * d->width + x) * d->pitch);
  }
}

static float
affine_relu (const CpspAffine * affine, guint c, float value)
{
  const float y = affine->scale[c] * value + affine->shift[c];

  return MAX (y, 0);
}

static void
run_max_pool (CpspPlan * plan, const CpspOp * op, guint b)
{
  const CpspTensor *s = tensor_info (plan, op->src[0]);
  const CpspTensor *d = tensor_info (plan, op->dst);
  const float *src = tensor_image (plan, op->src[0], b);
  float *dst = tensor_image (plan, op->dst, b);

  for (guint y = 0; y < d->height; y++) {
    for (guint x = 0; x < d->width; x++) {
      float *out = dst + ((gsize) y * d->width + x) * d->pitch;

      // No value is below 0: it stands for a maximum of nothing.
      for (guint c = 0; c < d->pitch; c++)
        out[c] = 0;
      for (guint tap = 0; tap < 9; tap++) {
        const gint sy = (gint) (2 * y + tap / 3) - 1;
        const gint sx = (gint) (2 * x + tap % 3) - 1;
        const float *in;

        if (sy < 0 || sy >= (gint) s->height || sx < 0 ||
            sx >= (gint) s->width)
          continue;
        in = src + ((gsize) sy * s->width + sx) * s->pitch;
        for (guint c = 0; c < d->channels; c++) {
          const float value = affine_relu (op->affine, c, in[c]);

          out[c] = MAX (out[c], value);
        }
      }
    }
  }
}

static void
run_grid_pool (CpspPlan * plan, const CpspOp * op, guint b)
{
  const CpspTensor *s = tensor_info (plan, op->src[0]);
  const CpspTensor *d = tensor_info (plan, op->dst);
  const float *src = tensor_image (plan, op->src[0], b);
  float *dst = tensor_image (plan, op->dst, b);
  double *sums = plan->sums;

  for (guint y = 0; y < d->height; y++) {
    const Bin rows = bin_at (y, s->height, d->height);

    for (guint x = 0; x < d->width; x++) {
      const Bin columns = bin_at (x, s->width, d->width);
      const double count = (double) (rows.end - rows.first) *
          (columns.end - columns.first);
      float *out = dst + ((gsize) y * d->width + x) * d->pitch;

      for (guint c = 0; c < d->channels; c++)
        sums[c] = 0;
      for (guint sy = rows.first; sy < rows.end; sy++) {
        for (guint sx = columns.first; sx < columns.end; sx++) {
          const float *in = src + ((gsize) sy * s->width + sx) * s->pitch;

          for (guint c = 0; c < d->channels; c++)
            sums[c] += in[c];
        }
      }
      for (guint c = 0; c < d->channels; c++)
        out[c] = (float) (sums[c] / count);
      clear_padding (d, out);
    }
  }
}

// The four pixels around a place of an image, and their weights.
typedef struct
{
  const float *pixel[2][2];
  float weight_x, weight_y;
} Quad;

static Quad
quad_at (const CpspTensor * t, const float *image, guint x, guint y,
    guint width, guint height)
{
  const Tap tx = tap_resize (x, t->width, width, CPSP_RESIZE_BILINEAR);
  const Tap ty = tap_resize (y, t->height, height, CPSP_RESIZE_BILINEAR);
  Quad quad = {.weight_x = tx.weight,.weight_y = ty.weight };

  for (guint j = 0; j < 2; j++) {
    for (guint i = 0; i < 2; i++) {
      quad.pixel[j][i] = image +
          ((gsize) ty.index[j] * t->width + tx.index[i]) * t->pitch;
    }
  }
  return quad;
}

static float
quad_value (const Quad * quad, guint c)
{
  return lerp (lerp (quad->pixel[0][0][c], quad->pixel[0][1][c],
          quad->weight_x), lerp (quad->pixel[1][0][c], quad->pixel[1][1][c],
          quad->weight_x), quad->weight_y);
}

static void
run_pyramid (CpspPlan * plan, const CpspOp * op, guint b)
{
  const CpspTensor *d = tensor_info (plan, op->dst);
  float *dst = tensor_image (plan, op->dst, b);

  for (guint y = 0; y < d->height; y++) {
    for (guint x = 0; x < d->width; x++) {
      float *out = dst + ((gsize) y * d->width + x) * d->pitch;

      for (guint c = 0; c < d->pitch; c++)
        out[c] = 0;
      for (guint i = 0; i < CPSP_N_GRIDS; i++) {
        const Quad quad = quad_at (tensor_info (plan, op->src[i]),
            tensor_image (plan, op->src[i], b), x, y, d->width, d->height);

        for (guint c = 0; c < d->channels; c++)
          out[c] += quad_value (&quad, c);
      }
    }
  }
}

static void
run_upsample (CpspPlan * plan, const CpspOp * op, guint b)
{
  const CpspTensor *s = tensor_info (plan, op->src[0]);
  const CpspTensor *d = tensor_info (plan, op->dst);
  const float *src = tensor_image (plan, op->src[0], b);
  float *dst = tensor_image (plan, op->dst, b);

  for (guint y = 0; y < d->height; y++) {
    for (guint x = 0; x < d->width; x++) {
      const Quad quad = quad_at (s, src, x, y, d->width, d->height);
      float *out = dst + ((gsize) y * d->width + x) * d->pitch;

      for (guint c = 0; c < d->channels; c++)
        out[c] = quad_value (&quad, c);
      clear_padding (d, out);
    }
  }
}

static void
run_concat (CpspPlan * plan, const CpspOp * op, guint b)
{
  const gboolean has_skip = op->skip != CPSP_NO_TENSOR;
  const CpspTensor *s = tensor_info (plan, op->src[0]);
  const CpspTensor *k = has_skip ? tensor_info (plan, op->skip) : NULL;
  const CpspTensor *d = tensor_info (plan, op->dst);
  const float *src = tensor_image (plan, op->src[0], b);
  const float *skip = has_skip ? tensor_image (plan, op->skip, b) : NULL;
  float *dst = tensor_image (plan, op->dst, b);

  for (guint y = 0; y < d->height; y++) {
    for (guint x = 0; x < d->width; x++) {
      const gsize at = (gsize) y * d->width + x;
      float *out = dst + at * d->pitch;

      if (s->width == d->width && s->height == d->height) {
        for (guint c = 0; c < s->channels; c++)
          out[c] = affine_relu (op->affine, c, src[at * s->pitch + c]);
      } else {
        const Quad quad = quad_at (s, src, x, y, d->width, d->height);

        for (guint c = 0; c < s->channels; c++)
          out[c] = affine_relu (op->affine, c, quad_value (&quad, c));
      }
      if (has_skip) {
        for (guint c = 0; c < op->skip_channels; c++) {
          out[s->channels + c] = affine_relu (op->affine, s->channels + c,
              skip[at * k->pitch + c]);
        }
      }
      clear_padding (d, out);
    }
  }
}

static void
run_head (CpspPlan * plan, const CpspOp * op, guint b)
{
  const gboolean has_skip = op->skip != CPSP_NO_TENSOR;
  const CpspTensor *s = tensor_info (plan, op->src[0]);
  const CpspTensor *k = has_skip ? tensor_info (plan, op->skip) : NULL;
  const CpspTensor *d = tensor_info (plan, op->dst);
  const float *src = tensor_image (plan, op->src[0], b);
  const float *skip = has_skip ? tensor_image (plan, op->skip, b) : NULL;
  float *dst = tensor_image (plan, op->dst, b);
  const CpspHead *head = op->head;

  for (gsize at = 0; at < (gsize) d->width * d->height; at++) {
    float logit = head->out_bias;

    for (guint h = 0; h < head->hidden; h++) {
      const float *weight = head->weight + (gsize) h * head->c_in;
      float sum = head->bias[h];

      for (guint c = 0; c < s->channels; c++)
        sum += weight[c] * src[at * s->pitch + c];
      if (has_skip) {
        for (guint c = 0; c < op->skip_channels; c++)
          sum += weight[s->channels + c] * skip[at * k->pitch + c];
      }
      logit += head->out_weight[h] * MAX (sum, 0);
    }
    dst[at * d->pitch] = logit;
    clear_padding (d, dst + at * d->pitch);
  }
}

static void
run_logit (CpspPlan * plan, const CpspOp * op, guint b)
{
  const CpspTensor *s = tensor_info (plan, op->src[0]);
  const CpspTensor *d = tensor_info (plan, op->dst);
  const float *src = tensor_image (plan, op->src[0], b);
  float *dst = tensor_image (plan, op->dst, b);

  for (guint y = 0; y < d->height; y++) {
    for (guint x = 0; x < d->width; x++) {
      const gsize at = (gsize) y * d->width + x;
      float *out = dst + at * d->pitch;
      float value;

      if (op->factor == 1) {
        value = src[at * s->pitch];
      } else {
        const Quad quad = quad_at (s, src, x, y, d->width, d->height);

        value = quad_value (&quad, 0);
      }
      value = op->sigmoid ? 1 / (1 + expf (-value)) : tanhf (value);
      for (guint c = 0; c < op->n_channels; c++)
        out[op->first_channel + c] = value;
      clear_padding (d, out);
    }
  }
}

/* Device */

static CpspDevice *
reference_open (const CpspDeviceParams * params, GError ** error)
{
  return cpsp_allocate (1, sizeof (CpspDevice), "a device", error);
}

static void
reference_close (CpspDevice * device)
{
  g_free (device->arena);
  g_free (device->rows);
  g_free (device);
}

static void
reference_describe (CpspDevice * device, CpspDeviceInfo * info)
{
  memset (info, 0, sizeof (*info));
  g_strlcpy (info->name, "reference (plain C, one thread)",
      sizeof (info->name));
  info->types = 1 << CPSP_TYPE_F32;
  info->fastest_type = CPSP_TYPE_F32;
  info->batch = 1;
  info->streams_transients = FALSE;
  info->memory = device->arena_size + device->rows_size * sizeof (float) +
      device->planes_size;
}

static gboolean
reference_synchronise (CpspDevice * device, GError ** error)
{
  return TRUE;
}

/* Plans */

static PackedConv *
packed_conv_use (CpspDevice * device, const CpspConv * conv, GError ** error)
{
  const guint k = conv->kernel;
  const gsize blocks = (conv->c_out + BLOCK - 1) / BLOCK;
  PackedConv *packed;

  for (packed = device->packed; packed; packed = packed->next) {
    if (packed->conv == conv) {
      packed->n_users++;
      return packed;
    }
  }

  packed = cpsp_allocate (1, sizeof (*packed), "a convolution", error);
  if (!packed)
    return NULL;
  packed->weight = cpsp_allocate (blocks * k * k * conv->c_in,
      BLOCK * sizeof (float), "a convolution's weights", error);
  if (!packed->weight) {
    g_free (packed);
    return NULL;
  }
  for (gsize o = 0; o < conv->c_out; o++) {
    for (gsize i = 0; i < conv->c_in; i++) {
      for (gsize tap = 0; tap < k * k; tap++) {
        packed->weight[((o / BLOCK * k * k + tap) * conv->c_in + i) * BLOCK +
            o % BLOCK] = conv->weight[(o * conv->c_in + i) * k * k + tap];
      }
    }
  }
  packed->conv = conv;
  packed->n_users = 1;
  packed->next = device->packed;
  device->packed = packed;
  return packed;
}

static void
packed_conv_release (CpspDevice * device, PackedConv * packed)
{
  PackedConv **link = &device->packed;

  if (--packed->n_users > 0)
    return;
  while (*link != packed)
    link = &(*link)->next;
  *link = packed->next;
  g_free (packed->weight);
  g_free (packed);
}

static gboolean
grow_arena (CpspDevice * device, gsize size, GError ** error)
{
  float *arena;

  if (size <= device->arena_size)
    return TRUE;
  arena = cpsp_allocate (size, 1, "activations", error);
  if (!arena)
    return FALSE;
  g_free (device->arena);
  device->arena = arena;
  device->arena_size = size;
  return TRUE;
}

static void
reference_plan_free (CpspPlan * plan)
{
  if (!plan)
    return;
  for (guint i = 0; plan->packed && i < plan->program->n_ops; i++) {
    if (plan->packed[i])
      packed_conv_release (plan->device, plan->packed[i]);
  }
  g_free (plan->packed);
  g_free (plan->zeros);
  g_free (plan->sums);
  g_free (plan);
}

static CpspPlan *
reference_plan_new (CpspDevice * device, const CpspProgram * program,
    GError ** error)
{
  CpspPlan *plan;
  gsize max_pitch = 0;

  if (program->params.type != CPSP_TYPE_F32 ||
      program->params.stream_transients) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE,
        "the reference backend computes in fp32 and keeps every tensor, "
        "not %s%s", cpsp_type_name (program->params.type),
        program->params.stream_transients ? " with streamed transients" : "");
    return NULL;
  }

  plan = cpsp_allocate (1, sizeof (*plan), "a plan", error);
  if (!plan)
    return NULL;
  plan->device = device;
  plan->program = program;

  for (guint i = 0; i < program->n_tensors; i++)
    max_pitch = MAX (max_pitch, program->tensors[i].pitch);
  plan->zeros = cpsp_allocate (max_pitch, sizeof (float), "a pixel", error);
  if (!plan->zeros)
    goto error;
  plan->sums = cpsp_allocate (MAX (max_pitch,
          3 * (gsize) program->params.width), sizeof (double),
      "a row of sums", error);
  if (!plan->sums)
    goto error;
  plan->packed = cpsp_allocate (program->n_ops, sizeof (*plan->packed),
      "a plan", error);
  if (!plan->packed)
    goto error;
  for (guint i = 0; i < program->n_ops; i++) {
    if (program->ops[i].kind != CPSP_OP_CONV)
      continue;
    plan->packed[i] = packed_conv_use (device, program->ops[i].conv, error);
    if (!plan->packed[i])
      goto error;
  }
  if (!grow_arena (device, program->arena_size, error))
    goto error;
  return plan;

error:
  reference_plan_free (plan);
  return NULL;
}

static gboolean
reference_plan_run (CpspPlan * plan, guint first, guint n, GError ** error)
{
  for (guint i = first; i < first + n; i++) {
    const CpspOp *op = &plan->program->ops[i];

    for (guint b = 0; b < plan->program->params.batch; b++) {
      switch (op->kind) {
        case CPSP_OP_CONV:
          run_conv (plan, op, plan->packed[i], b);
          break;
        case CPSP_OP_MAX_POOL:
          run_max_pool (plan, op, b);
          break;
        case CPSP_OP_GRID_POOL:
          run_grid_pool (plan, op, b);
          break;
        case CPSP_OP_PYRAMID:
          run_pyramid (plan, op, b);
          break;
        case CPSP_OP_CONCAT:
          run_concat (plan, op, b);
          break;
        case CPSP_OP_UPSAMPLE:
          run_upsample (plan, op, b);
          break;
        case CPSP_OP_HEAD:
          run_head (plan, op, b);
          break;
        case CPSP_OP_LOGIT:
          run_logit (plan, op, b);
          break;
      }
    }
  }
  return TRUE;
}

static gboolean
reference_tensor_write (CpspPlan * plan, guint tensor, const float *values,
    GError ** error)
{
  const CpspTensor *t = tensor_info (plan, tensor);
  const gsize pixels = (gsize) t->height * t->width *
      plan->program->params.batch;
  float *pixel = tensor_image (plan, tensor, 0);

  for (gsize i = 0; i < pixels; i++, pixel += t->pitch) {
    for (guint c = 0; c < t->channels; c++)
      pixel[c] = values[i * t->channels + c];
    clear_padding (t, pixel);
  }
  return TRUE;
}

static gboolean
reference_tensor_read (CpspPlan * plan, guint tensor, float *values,
    GError ** error)
{
  const CpspTensor *t = tensor_info (plan, tensor);
  const gsize pixels = (gsize) t->height * t->width *
      plan->program->params.batch;
  const float *pixel = tensor_image (plan, tensor, 0);

  for (gsize i = 0; i < pixels; i++, pixel += t->pitch) {
    for (guint c = 0; c < t->channels; c++)
      values[i * t->channels + c] = pixel[c];
  }
  return TRUE;
}

/* Planes */

static gsize
plane_size (const CpspPlane * plane)
{
  return (gsize) plane->width * plane->height * sizeof (float);
}

static CpspPlane *
reference_plane_new (CpspDevice * device, guint width, guint height,
    GError ** error)
{
  CpspPlane *plane = cpsp_allocate (1, sizeof (*plane), "a plane", error);

  if (!plane)
    return NULL;
  plane->data = cpsp_allocate ((gsize) width * height, sizeof (float),
      "a plane", error);
  if (!plane->data) {
    g_free (plane);
    return NULL;
  }
  plane->device = device;
  plane->width = width;
  plane->height = height;
  device->planes_size += plane_size (plane);
  return plane;
}

static void
reference_plane_free (CpspPlane * plane)
{
  if (!plane)
    return;
  plane->device->planes_size -= plane_size (plane);
  g_free (plane->data);
  g_free (plane);
}

static gboolean
reference_plane_clear (CpspPlane * plane, GError ** error)
{
  memset (plane->data, 0, plane_size (plane));
  return TRUE;
}

static const float *
reference_plane_map (CpspPlane * plane, GError ** error)
{
  return plane->data;
}

// Pixel (X, Y) of PLANE resized bilinearly to WIDTH x HEIGHT.
static float
plane_resized (const CpspPlane * plane, guint x, guint y, guint width,
    guint height, CpspResize resize)
{
  const Tap tx = tap_resize (x, plane->width, width, resize);
  const Tap ty = tap_resize (y, plane->height, height, resize);
  const float *row0 = plane->data + (gsize) ty.index[0] * plane->width;
  const float *row1 = plane->data + (gsize) ty.index[1] * plane->width;

  return lerp (lerp (row0[tx.index[0]], row0[tx.index[1]], tx.weight),
      lerp (row1[tx.index[0]], row1[tx.index[1]], tx.weight), ty.weight);
}

// The same, averaged over bins.
static float
plane_averaged (const CpspPlane * plane, guint x, guint y, guint width,
    guint height)
{
  const Bin columns = bin_at (x, plane->width, width);
  const Bin rows = bin_at (y, plane->height, height);
  double sum = 0;

  for (guint sy = rows.first; sy < rows.end; sy++) {
    for (guint sx = columns.first; sx < columns.end; sx++)
      sum += plane->data[(gsize) sy * plane->width + sx];
  }
  return (float) (sum / ((double) (rows.end - rows.first) *
          (columns.end - columns.first)));
}

/* The frame */

static float
component_sample (const CpspComponent * component, guint x, guint y)
{
  const guint8 *at = component->data + (gssize) y * component->stride_bytes +
      (gsize) x * component->step_bytes;
  guint value = *at;

  if (component->wide) {
    guint16 wide;

    memcpy (&wide, at, sizeof (wide));
    value = wide;
  }
  return (value >> component->shift) & ((1u << component->depth) - 1);
}

// A component of WIDTH x HEIGHT samples between its samples.
static float
component_between (const CpspComponent * component, Tap tx, Tap ty)
{
  return lerp (lerp (component_sample (component, tx.index[0], ty.index[0]),
          component_sample (component, tx.index[1], ty.index[0]), tx.weight),
      lerp (component_sample (component, tx.index[0], ty.index[1]),
          component_sample (component, tx.index[1], ty.index[1]), tx.weight),
      ty.weight);
}

// Between which chroma samples luma pixel I lies, on an axis of N luma
// pixels.
static Tap
tap_chroma (guint i, guint n, guint shift, float siting)
{
  return tap_at (((float) i - siting) / (float) (1u << shift),
      (n + (1u << shift) - 1) >> shift);
}

// RGB of the N pixels from (X0, Y) on: in [0, 1], and beyond where the
// samples are beyond their nominal range.
static void
image_row (const CpspImageView * view, guint y, guint x0, guint n,
    float *rgb)
{
  for (guint x = x0; x < x0 + n; x++) {
    float sample[3] = { component_sample (&view->component[0], x, y) };

    if (view->n_components == 3) {
      const Tap tx = tap_chroma (x, view->width, view->chroma_shift_x,
          view->chroma_x);
      const Tap ty = tap_chroma (y, view->height, view->chroma_shift_y,
          view->chroma_y);

      for (guint i = 1; i < 3; i++) {
        sample[i] = view->chroma_shift_x == 0 && view->chroma_shift_y == 0 ?
            component_sample (&view->component[i], x, y) :
            component_between (&view->component[i], tx, ty);
      }
    }
    for (guint i = 0; i < 3; i++) {
      float value = view->offset[i];

      for (guint j = 0; j < view->n_components; j++)
        value += view->matrix[i][j] * sample[j];
      *rgb++ = value;
    }
  }
}

// The coarse mask, -1 or +1, of the N pixels of the frame from (X0, Y) on.
static void
mask_row (const CpspMaskView * mask, guint frame_width, guint frame_height,
    float threshold, guint y, guint x0, guint n, float *row)
{
  const gboolean same = mask->width == frame_width &&
      mask->height == frame_height;
  const Tap ty = tap_resize (y, mask->height, frame_height,
      CPSP_RESIZE_BILINEAR);

  for (guint x = x0; x < x0 + n; x++) {
    const float sample = same ? component_sample (&mask->component, x, y) :
        component_between (&mask->component, tap_resize (x, mask->width,
            frame_width, CPSP_RESIZE_BILINEAR), ty);

    *row++ = mask->scale * sample + mask->offset > threshold ? 1 : -1;
  }
}

static gboolean
reference_set_frame (CpspDevice * device, const CpspImageView * image,
    const CpspMaskView * mask, GError ** error)
{
  const gsize size = (gsize) image->width * 3 * MAX_TAPS;

  if (size > device->rows_size) {
    float *rows = cpsp_allocate (size, sizeof (float), "rows of the frame",
        error);

    if (!rows)
      return FALSE;
    g_free (device->rows);
    device->rows = rows;
    device->rows_size = size;
  }
  device->image = *image;
  device->mask = *mask;
  return TRUE;
}

// What a crop takes from the frame: RGB, or with IS_MASK the mask binarised
// at THRESHOLD.
typedef struct
{
  gboolean is_mask;
  float threshold;
} Source;

static guint
source_channels (const Source * source)
{
  return source->is_mask ? 1 : 3;
}

static void
source_row (CpspDevice * device, const Source * source, guint y, guint x0,
    guint n, float *row)
{
  if (source->is_mask) {
    mask_row (&device->mask, device->image.width, device->image.height,
        source->threshold, y, x0, n, row);
  } else {
    image_row (&device->image, y, x0, n, row);
  }
}

static float *
input_pixel (CpspPlan * plan, guint slot, guint x, guint y)
{
  const CpspTensor *t = tensor_info (plan, plan->program->input);

  return tensor_image (plan, plan->program->input, slot) +
      ((gsize) y * t->width + x) * t->pitch;
}

// Writes one filtered value of the source's channel C.
static void
input_set (const Source * source, float *pixel, guint c, float value)
{
  if (source->is_mask) {
    pixel[CPSP_INPUT_SEG] = value;
    pixel[CPSP_INPUT_MASK1] = value;
    pixel[CPSP_INPUT_MASK2] = value;
  } else {
    pixel[CPSP_INPUT_RGB + c] = (value - image_mean[c]) / image_std[c];
  }
}

// Gives channels [FIRST, END) of the slot one value.
static void
input_fill (CpspPlan * plan, guint slot, guint first, guint end, float value)
{
  const CpspTensor *t = tensor_info (plan, plan->program->input);

  for (guint y = 0; y < t->height; y++) {
    for (guint x = 0; x < t->width; x++) {
      float *pixel = input_pixel (plan, slot, x, y);

      for (guint c = first; c < end; c++)
        pixel[c] = value;
      clear_padding (t, pixel);
    }
  }
}

static void
load_area (CpspPlan * plan, guint slot, const CpspCrop * crop,
    const Source * source)
{
  CpspDevice *device = plan->device;
  const CpspImageView *image = &device->image;
  const guint channels = source_channels (source);
  const guint left = bin_at (crop->x, image->width, crop->width).first;
  const guint right = bin_at (crop->x + crop->crop_width - 1, image->width,
      crop->width).end;

  for (guint y = 0; y < crop->crop_height; y++) {
    const Bin rows = bin_at (crop->y + y, image->height, crop->height);

    for (gsize i = 0; i < (gsize) crop->crop_width * channels; i++)
      plan->sums[i] = 0;
    for (guint sy = rows.first; sy < rows.end; sy++) {
      source_row (device, source, sy, left, right - left, device->rows);
      for (guint x = 0; x < crop->crop_width; x++) {
        const Bin columns = bin_at (crop->x + x, image->width, crop->width);

        for (guint sx = columns.first; sx < columns.end; sx++) {
          for (guint c = 0; c < channels; c++) {
            plan->sums[(gsize) x * channels + c] +=
                device->rows[(gsize) (sx - left) * channels + c];
          }
        }
      }
    }
    for (guint x = 0; x < crop->crop_width; x++) {
      const Bin columns = bin_at (crop->x + x, image->width, crop->width);
      const double count = (double) (rows.end - rows.first) *
          (columns.end - columns.first);
      float *pixel = input_pixel (plan, slot, x, y);

      for (guint c = 0; c < channels; c++) {
        input_set (source, pixel, c,
            (float) (plan->sums[(gsize) x * channels + c] / count));
      }
    }
  }
}

static Taps
source_taps (const Source * source, guint i, double ratio, guint n)
{
  const float position = position_ratio (i, ratio);

  return source->is_mask ? taps_bilinear (position, n) :
      taps_bicubic (position, n);
}

static void
load_enlarged (CpspPlan * plan, guint slot, const CpspCrop * crop,
    const Source * source)
{
  CpspDevice *device = plan->device;
  const CpspImageView *image = &device->image;
  const guint channels = source_channels (source);
  const gsize row_size = (gsize) image->width * channels;

  for (guint y = 0; y < crop->crop_height; y++) {
    const Taps ty = source_taps (source, crop->y + y, crop->ratio,
        image->height);

    for (guint j = 0; j < ty.n; j++) {
      source_row (device, source, ty.index[j], 0, image->width,
          device->rows + j * row_size);
    }
    for (guint x = 0; x < crop->crop_width; x++) {
      const Taps tx = source_taps (source, crop->x + x, crop->ratio,
          image->width);
      float *pixel = input_pixel (plan, slot, x, y);

      for (guint c = 0; c < channels; c++) {
        float value = 0;

        for (guint j = 0; j < ty.n; j++) {
          const float *row = device->rows + j * row_size + c;
          float sum = 0;

          for (guint i = 0; i < tx.n; i++)
            sum += tx.weight[i] * row[(gsize) tx.index[i] * channels];
          value += ty.weight[j] * sum;
        }
        input_set (source, pixel, c, value);
      }
    }
  }
}

static void
load_crop (CpspPlan * plan, guint slot, const CpspCrop * crop,
    const Source * source)
{
  if (crop->filter == CPSP_FILTER_ENLARGE)
    load_enlarged (plan, slot, crop, source);
  else
    load_area (plan, slot, crop, source);
}

static gboolean
reference_load_image (CpspPlan * plan, guint slot, const CpspCrop * crop,
    GError ** error)
{
  const Source source = {.is_mask = FALSE };

  input_fill (plan, slot, CPSP_INPUT_RGB, CPSP_INPUT_SEG, 0);
  load_crop (plan, slot, crop, &source);
  return TRUE;
}

static gboolean
reference_load_coarse (CpspPlan * plan, guint slot, const CpspCrop * crop,
    float threshold, GError ** error)
{
  const Source source = {.is_mask = TRUE,.threshold = threshold };

  input_fill (plan, slot, CPSP_INPUT_SEG, CPSP_INPUT_CHANNELS, -1);
  load_crop (plan, slot, crop, &source);
  return TRUE;
}

static gboolean
reference_load_masks (CpspPlan * plan, guint slot, const CpspCrop * crop,
    const CpspPlane * p1, const CpspPlane * p4, GError ** error)
{
  input_fill (plan, slot, CPSP_INPUT_SEG, CPSP_INPUT_CHANNELS, -1);
  for (guint y = 0; y < crop->crop_height; y++) {
    for (guint x = 0; x < crop->crop_width; x++) {
      const float seg = plane_resized (p1, crop->x + x, crop->y + y,
          crop->width, crop->height, CPSP_RESIZE_BILINEAR);
      const float coarse = plane_resized (p4, crop->x + x, crop->y + y,
          crop->width, crop->height, CPSP_RESIZE_BILINEAR);
      float *pixel = input_pixel (plan, slot, x, y);

      pixel[CPSP_INPUT_SEG] = seg > 0.5f ? 1 : -1;
      pixel[CPSP_INPUT_MASK1] = 2 * coarse - 1;
      pixel[CPSP_INPUT_MASK2] = 2 * coarse - 1;
    }
  }
  return TRUE;
}

/* Results */

static float
output_value (CpspPlan * plan, guint slot, CpspOutput output, guint x,
    guint y)
{
  const gint tensor = output == CPSP_OUTPUT_P1 ? plan->program->p1 :
      plan->program->p4;
  const CpspTensor *t = tensor_info (plan, tensor);

  return tensor_image (plan, tensor, slot)[((gsize) y * t->width +
          x) * t->pitch];
}

static gboolean
reference_store (CpspPlan * plan, guint slot, CpspOutput output,
    CpspPlane * dst, GError ** error)
{
  for (guint y = 0; y < dst->height; y++) {
    for (guint x = 0; x < dst->width; x++) {
      dst->data[(gsize) y * dst->width + x] =
          output_value (plan, slot, output, x, y);
    }
  }
  return TRUE;
}

// A blend's weight along one axis at pixel I of N.
static float
ramp_weight (guint i, guint n, guint ramp_before, guint ramp_after)
{
  float weight = 1;

  if (ramp_before > 0)
    weight = MIN (weight, (i + 0.5f) / ramp_before);
  if (ramp_after > 0)
    weight = MIN (weight, (n - i - 0.5f) / ramp_after);
  return weight;
}

static gboolean
reference_accumulate (CpspPlan * plan, guint slot, CpspOutput output,
    const CpspBlend * blend, CpspPlane * sum, CpspPlane * weight,
    GError ** error)
{
  for (guint y = 0; y < blend->height; y++) {
    const float weight_y = ramp_weight (y, blend->height, blend->ramp_top,
        blend->ramp_bottom);

    for (guint x = 0; x < blend->width; x++) {
      const float w = weight_y * ramp_weight (x, blend->width,
          blend->ramp_left, blend->ramp_right);
      const gsize at = (gsize) (blend->y + y) * sum->width + blend->x + x;

      sum->data[at] += w * output_value (plan, slot, output,
          blend->trim_left + x, blend->trim_top + y);
      if (weight)
        weight->data[at] += w;
    }
  }
  return TRUE;
}

// Pixel (X, Y) of a result of WIDTH x HEIGHT.
static float
result_value (const CpspResult * result, guint x, guint y, guint width,
    guint height)
{
  const gsize at = (gsize) y * width + x;
  float base, weight;

  base = result->resize == CPSP_RESIZE_AREA ?
      plane_averaged (result->base, x, y, width, height) :
      plane_resized (result->base, x, y, width, height, result->resize);
  if (result->binarise)
    base = base > 0.5f ? 1 : 0;
  if (!result->sum)
    return base;

  // Where weights are counts, one or more of them leave nothing of the base.
  weight = result->weight->data[at];
  return (result->sum->data[at] + MAX (0, 1 - weight) * base) /
      MAX (1, weight);
}

static gboolean
reference_finish_alpha (CpspDevice * device, const CpspResult * result,
    const CpspAlphaView * dst, GError ** error)
{
  for (guint y = 0; y < dst->height; y++) {
    guint8 *row = dst->data + (gssize) y * dst->stride_bytes;

    for (guint x = 0; x < dst->width; x++) {
      const float p = result_value (result, x, y, dst->width, dst->height);
      // What an integer can hold, whatever p is; 0 for NaN.
      const float clamped = p > 0 ? MIN (p, 1) : 0;
      guint16 wide;

      switch (dst->format) {
        case CPSP_ALPHA_U8:
          row[x] = (guint8) (clamped * 255 + 0.5f);
          break;
        case CPSP_ALPHA_U16:
          wide = (guint16) (clamped * 65535 + 0.5f);
          memcpy (row + (gsize) x * 2, &wide, 2);
          break;
        case CPSP_ALPHA_F32:
          memcpy (row + (gsize) x * 4, &p, 4);
          break;
      }
    }
  }
  return TRUE;
}

static gboolean
reference_finish_plane (CpspDevice * device, const CpspResult * result,
    CpspPlane * dst, GError ** error)
{
  for (guint y = 0; y < dst->height; y++) {
    for (guint x = 0; x < dst->width; x++) {
      dst->data[(gsize) y * dst->width + x] =
          result_value (result, x, y, dst->width, dst->height);
    }
  }
  return TRUE;
}

const CpspBackend cpsp_backend_reference = {
  .name = "reference",
  .open = reference_open,
  .close = reference_close,
  .describe = reference_describe,
  .plan_new = reference_plan_new,
  .plan_free = reference_plan_free,
  .plan_run = reference_plan_run,
  .tensor_write = reference_tensor_write,
  .tensor_read = reference_tensor_read,
  .plane_new = reference_plane_new,
  .plane_free = reference_plane_free,
  .plane_clear = reference_plane_clear,
  .plane_map = reference_plane_map,
  .set_frame = reference_set_frame,
  .load_image = reference_load_image,
  .load_coarse = reference_load_coarse,
  .load_masks = reference_load_masks,
  .store = reference_store,
  .accumulate = reference_accumulate,
  .finish_alpha = reference_finish_alpha,
  .finish_plane = reference_finish_plane,
  .synchronise = reference_synchronise,
};
