/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Of cuda/kernels.h what no function of a backend's table shows: weights,
 * ranges, refusals, and sizes beyond those of test-ops.
 */
#include <glib.h>
#include <math.h>
#include <string.h>

#include "device.h"
#include "half.h"
#include "kernels.h"

#define INVALID_VALUE 1         // cudaErrorInvalidValue

static guint
pick (GRand * r, guint low, guint high)
{
  return (guint) g_rand_int_range (r, (gint32) low, (gint32) high + 1);
}

static GRand *
test_rand (void)
{
  return g_rand_new_with_seed ((guint32) g_test_rand_int ());
}

static guint
align8 (guint n)
{
  return (n + 7) / 8 * 8;
}

static float
element (const void *data, CpspCudaType type, gsize i)
{
  return type == CPSP_CUDA_F16 ? half_to_float (((const guint16 *) data)[i]) :
      ((const float *) data)[i];
}

static void
set_element (void *data, CpspCudaType type, gsize i, float value)
{
  if (type == CPSP_CUDA_F16)
    ((guint16 *) data)[i] = half_from_float (value);
  else
    ((float *) data)[i] = value;
}

static gsize
type_size (CpspCudaType type)
{
  return type == CPSP_CUDA_F16 ? 2 : 4;
}

static void
check_launch (int status)
{
  g_assert_cmpint (status, ==, 0);
  g_assert_cmpint (device_sync (), ==, 0);
}

// Exactly: a conversion is one rounding.
static void
test_pack_weights (gconstpointer user_data)
{
  const CpspCudaType type = GPOINTER_TO_UINT (user_data);
  g_autoptr (GRand) r = test_rand ();

  for (guint i = 0; i < 20; i++) {
    const guint c_out = pick (r, 1, 40), c_in = pick (r, 1, 40);
    const guint kernel = 1 + 2 * pick (r, 0, 3), area = kernel * kernel;
    const gsize n = (gsize) c_out * c_in * area;
    const gsize n_packed = (gsize) align8 (c_out) * align8 (c_in) * area;
    float *src = device_alloc (n * sizeof (float));
    void *dst = device_alloc (n_packed * type_size (type));

    for (gsize k = 0; k < n; k++)
      src[k] = (float) g_rand_double_range (r, -4, 4);
    memset (dst, 0xff, n_packed * type_size (type));
    check_launch (cpsp_cuda_pack_weights (dst, type, src, c_out, c_in, kernel,
            NULL));
    for (gsize k = 0; k < n_packed; k++) {
      const guint in = k % align8 (c_in);
      const guint tap = k / align8 (c_in) % area;
      const guint out = (guint) (k / align8 (c_in) / area);
      float want = in < c_in && out < c_out ?
          src[((gsize) out * c_in + in) * area + tap] : 0;

      if (type == CPSP_CUDA_F16)
        want = half_to_float (half_from_float (want));
      g_assert_cmpfloat (element (dst, type, k), ==, want);
    }
    device_free (src);
    device_free (dst);
  }
}

static CpspCudaTensor
new_tensor (CpspCudaType type, guint height, guint width, guint channels)
{
  CpspCudaTensor t = {
    .type = type,.batch = 1,.height = height,.width = width,
    .channels = channels,.pitch = channels == 1 ? 1 : align8 (channels),
  };

  t.data = device_alloc ((gsize) height * width * t.pitch * type_size (type));
  return t;
}

// Largest magnitudes anywhere, and what fp16 could not hold.
static void
test_magnitude (gconstpointer user_data)
{
  const CpspCudaType type = GPOINTER_TO_UINT (user_data);
  g_autoptr (GRand) r = test_rand ();
  float *most = device_alloc (sizeof (float));

  for (guint i = 0; i < 30; i++) {
    const gboolean plane = type == CPSP_CUDA_F32 && i % 2;
    CpspCudaTensor t = new_tensor (type, pick (r, 1, 20), pick (r, 1, 60),
        plane ? 1 : pick (r, 2, 20));
    const gsize n = (gsize) t.height * t.width * t.pitch;
    // Often the last one, behind whole vectors.
    const gsize at = i % 4 < 2 ? n - 1 :
        (gsize) g_rand_int_range (r, 0, (gint32) n);
    const float extremes[] = { 100, -100, 0, INFINITY, -INFINITY, NAN, -NAN };
    const float extreme = extremes[i % G_N_ELEMENTS (extremes)];

    for (gsize k = 0; k < n; k++) {
      set_element (t.data, type, k, (float) g_rand_int_range (r, -1000,
              1000) / 16);
    }
    set_element (t.data, type, at, extreme);
    *most = 0;
    check_launch (cpsp_cuda_magnitude (most, &t, NULL));
    if (isnan (extreme)) {
      g_assert_true (isnan (*most));
    } else {
      float want = 0;

      for (gsize k = 0; k < n; k++)
        want = MAX (want, fabsf (element (t.data, type, k)));
      g_assert_cmpfloat (*most, ==, want);
      // What was found before stays if it is more.
      *most = 200;
      check_launch (cpsp_cuda_magnitude (most, &t, NULL));
      g_assert_cmpfloat (*most, ==, MAX (want, 200));
    }
    device_free (t.data);
  }
  device_free (most);
}

static CpspCudaTensor
constant_tensor (CpspCudaType type, guint height, guint width,
    guint channels, float value)
{
  CpspCudaTensor t = new_tensor (type, height, width, channels);

  for (gsize i = 0; i < (gsize) height * width * t.pitch; i++)
    set_element (t.data, type, i, value);
  return t;
}

// Every element is VALUE; none was left as new_dst () makes them.
static void
check_constant (CpspCudaTensor * t, float value)
{
  for (gsize i = 0; i < (gsize) t->height * t->width * t->pitch; i++)
    g_assert_cmpfloat (element (t->data, t->type, i), ==, value);
  device_free (t->data);
}

static CpspCudaTensor
new_dst (CpspCudaType type, guint height, guint width, guint channels)
{
  return constant_tensor (type, height, width, channels, NAN);
}

// Rows that end just before, at and behind the end of a block's 256 threads:
// what is everywhere the same stays so, up to the last pixel.
static void
test_edges (gconstpointer user_data)
{
  const CpspCudaType type = GPOINTER_TO_UINT (user_data);
  static const guint widths[] = { 85, 255, 256 };

  for (guint i = 0; i < 2 * G_N_ELEMENTS (widths); i++) {
    const guint width = widths[i / 2], channels = i % 2 ? 24 : 8;
    const guint twice = 2 * channels;
    float *scale = device_alloc (twice * sizeof (float));
    float *shift = device_alloc (twice * sizeof (float));
    CpspCudaTensor src = constant_tensor (type, 2, width, channels, 3);
    CpspCudaTensor skip = constant_tensor (type, 4, 2 * width, channels, 3);
    CpspCudaTensor grids[4] = { src, src, src, src };
    CpspCudaTensor logits = constant_tensor (CPSP_CUDA_F32, 2, width, 1, 0);
    CpspCudaTensor dst;

    for (guint k = 0; k < twice; k++) {
      scale[k] = 2;
      shift[k] = -1;
    }
    dst = new_dst (type, 1, (width + 1) / 2, channels);
    check_launch (cpsp_cuda_max_pool (&dst, &src, scale, shift, NULL));
    check_constant (&dst, 5);
    dst = new_dst (type, 1, 3, channels);
    check_launch (cpsp_cuda_grid_pool (&dst, &src, NULL));
    for (gsize k = 0; k < 3 * dst.pitch; k++) {
      // The mean of so many is rounded.
      g_assert_cmpfloat_with_epsilon (element (dst.data, type, k), 3, 1e-6f);
    }
    device_free (dst.data);
    dst = new_dst (type, 3, width, channels);
    check_launch (cpsp_cuda_pyramid (&dst, grids, NULL));
    check_constant (&dst, 12);
    dst = new_dst (type, 4, 2 * width, channels);
    check_launch (cpsp_cuda_upsample (&dst, &src, NULL));
    check_constant (&dst, 3);
    dst = new_dst (type, 4, 2 * width, twice);
    check_launch (cpsp_cuda_concat (&dst, &src, &skip, scale, shift, NULL));
    check_constant (&dst, 5);
    dst = new_dst (type, 2, width, channels);
    check_launch (cpsp_cuda_concat (&dst, &src, NULL, scale, shift, NULL));
    check_constant (&dst, 5);
    // Of 5 channels and 3, all 8 of them there.
    src.channels = channels - 3;
    dst = new_dst (type, 4, 2 * width, channels);
    check_launch (cpsp_cuda_concat (&dst, &src, &skip, scale, shift, NULL));
    check_constant (&dst, 5);
    dst = new_dst (CPSP_CUDA_F32, 4, 2 * width, 1);
    check_launch (cpsp_cuda_logit (&dst, 0, 1, &logits, 1, NULL));
    check_constant (&dst, 0.5f);
    dst = constant_tensor (type, 4, 2 * width, 8, 0.5f);
    check_launch (cpsp_cuda_logit (&dst, 3, 3, &logits, 1, NULL));
    check_constant (&dst, 0.5f);
    device_free (scale);
    device_free (shift);
    device_free (src.data);
    device_free (skip.data);
    device_free (logits.data);
  }
}

// An input of garbage: padding becomes zero, channels of others stay.
static void
test_inputs (gconstpointer user_data)
{
  const CpspCudaType type = GPOINTER_TO_UINT (user_data);
  // One more than a block's.
  const guint width = 33, height = 9;
  const CpspCudaCrop crop = {
    .width = width,.height = height,.crop_width = width - 1,
    .crop_height = height,
  };
  const gsize size = (gsize) width * height;
  CpspCudaTensor logits = constant_tensor (CPSP_CUDA_F32, height, width, 1, 0);
  const CpspCudaPlane plane = {
    .data = logits.data,.width = width,.height = height,
  };
  CpspCudaComponent grey = {
    .data = device_alloc (size),.stride_bytes = (ptrdiff_t) width,
    .step_bytes = 1,.depth = 8,
  };
  const CpspCudaImage image = {
    .width = width,.height = height,.n_components = 1,.component = { grey },
  };
  const CpspCudaMask mask = {
    .width = width,.height = height,.component = grey,.scale = 1,
  };

  memset ((guint8 *) grey.data, 1, size);
  for (guint i = 0; i < 4; i++) {
    const guint first = i == 0 ? 0 : 3;
    CpspCudaTensor dst = constant_tensor (type, height, width, 6, 7);
    int status = 0;

    switch (i) {
      case 0:
        status = cpsp_cuda_load_image (&dst, 0, &image, &crop, NULL);
        break;
      case 1:
        status = cpsp_cuda_load_coarse (&dst, 0, &mask, width, height, &crop,
            0.5f, NULL);
        break;
      case 2:
        status = cpsp_cuda_load_masks (&dst, 0, &plane, &plane, &crop, NULL);
        break;
      case 3:
        status = cpsp_cuda_logit (&dst, 3, 3, &logits, 0, NULL);
        break;
    }
    check_launch (status);
    for (gsize k = 0; k < size * dst.pitch; k++) {
      const guint channel = k % dst.pitch;
      const float value = element (dst.data, type, k);

      if (channel >= dst.channels)
        g_assert_cmpfloat (value, ==, 0);
      else if (channel < first || channel >= first + 3)
        g_assert_cmpfloat (value, ==, 7);
      else
        g_assert_cmpfloat (value, !=, 7);
    }
    device_free (dst.data);
  }
  device_free (logits.data);
  device_free ((void *) grey.data);
}

// No side is 0 or too large for 32-bit arithmetic; nothing is launched.
static void
test_refusals (void)
{
  static const guint sides[] = { 0, CPSP_CUDA_MAX_SIDE + 1 };
  const CpspCudaTensor good = {
    .type = CPSP_CUDA_F16,.batch = 1,.height = 8,.width = 8,.channels = 8,
    .pitch = 8,
  };
  const CpspCudaPlane plane = {.width = 8,.height = 8 };
  const CpspCudaCrop crop = {
    .width = 8,.height = 8,.crop_width = 8,.crop_height = 8,
  };

  for (guint i = 0; i < 2 * G_N_ELEMENTS (sides); i++) {
    const guint side = sides[i / 2];
    const guint width = i % 2 ? side : 8, height = i % 2 ? 8 : side;
    CpspCudaTensor bad = good;
    CpspCudaTensor grids[4] = { good, good, good, good };
    CpspCudaImage image = {.width = 8,.height = 8,.n_components = 1 };
    CpspCudaMask mask = {.width = 8,.height = 8 };
    CpspCudaCrop bad_crop = crop;
    CpspCudaResult result = {.base = plane };
    CpspCudaAlpha alpha = {.width = 8,.height = 8 };
    const CpspCudaPlane bad_plane = {.width = width,.height = height };
    const CpspCudaBlend bad_blend = {.width = width,.height = height };
    const CpspCudaHead head = {.hidden = CPSP_CUDA_HEAD_BLOCK };

    bad.width = bad_crop.width = width;
    bad.height = bad_crop.height = height;
#define REFUSED(call) g_assert_cmpint (call, ==, INVALID_VALUE)
    REFUSED (cpsp_cuda_max_pool (&bad, &good, NULL, NULL, NULL));
    REFUSED (cpsp_cuda_max_pool (&good, &bad, NULL, NULL, NULL));
    REFUSED (cpsp_cuda_grid_pool (&bad, &good, NULL));
    REFUSED (cpsp_cuda_grid_pool (&good, &bad, NULL));
    REFUSED (cpsp_cuda_pyramid (&bad, grids, NULL));
    grids[i] = bad;
    REFUSED (cpsp_cuda_pyramid (&good, grids, NULL));
    REFUSED (cpsp_cuda_concat (&bad, &good, NULL, NULL, NULL, NULL));
    REFUSED (cpsp_cuda_concat (&good, &bad, NULL, NULL, NULL, NULL));
    REFUSED (cpsp_cuda_concat (&good, &good, &bad, NULL, NULL, NULL));
    REFUSED (cpsp_cuda_upsample (&bad, &good, NULL));
    REFUSED (cpsp_cuda_upsample (&good, &bad, NULL));
    REFUSED (cpsp_cuda_head (&bad, &good, NULL, &head, NULL));
    REFUSED (cpsp_cuda_head (&good, &bad, NULL, &head, NULL));
    REFUSED (cpsp_cuda_head (&good, &good, &bad, &head, NULL));
    REFUSED (cpsp_cuda_logit (&bad, 3, 3, &good, 0, NULL));
    REFUSED (cpsp_cuda_logit (&good, 3, 3, &bad, 0, NULL));
    REFUSED (cpsp_cuda_load_image (&bad, 0, &image, &crop, NULL));
    REFUSED (cpsp_cuda_load_image (&good, 0, &image, &bad_crop, NULL));
    image.width = width;
    image.height = height;
    REFUSED (cpsp_cuda_load_image (&good, 0, &image, &crop, NULL));
    REFUSED (cpsp_cuda_load_coarse (&bad, 0, &mask, 8, 8, &crop, 0, NULL));
    REFUSED (cpsp_cuda_load_coarse (&good, 0, &mask, width, height, &crop, 0,
            NULL));
    REFUSED (cpsp_cuda_load_coarse (&good, 0, &mask, 8, 8, &bad_crop, 0,
            NULL));
    mask.width = width;
    mask.height = height;
    REFUSED (cpsp_cuda_load_coarse (&good, 0, &mask, 8, 8, &crop, 0, NULL));
    REFUSED (cpsp_cuda_load_masks (&bad, 0, &plane, &plane, &crop, NULL));
    REFUSED (cpsp_cuda_load_masks (&good, 0, &bad_plane, &plane, &crop,
            NULL));
    REFUSED (cpsp_cuda_load_masks (&good, 0, &plane, &bad_plane, &crop,
            NULL));
    REFUSED (cpsp_cuda_load_masks (&good, 0, &plane, &plane, &bad_crop,
            NULL));
    REFUSED (cpsp_cuda_store (&bad_plane, &good, 0, NULL));
    REFUSED (cpsp_cuda_store (&plane, &bad, 0, NULL));
    REFUSED (cpsp_cuda_accumulate (&bad_plane, NULL, &good, 0,
            &(CpspCudaBlend) {.width = 8,.height = 8 }, NULL));
    REFUSED (cpsp_cuda_accumulate (&plane, NULL, &bad, 0,
            &(CpspCudaBlend) {.width = 8,.height = 8 }, NULL));
    REFUSED (cpsp_cuda_accumulate (&plane, NULL, &good, 0, &bad_blend, NULL));
    result.base = bad_plane;
    REFUSED (cpsp_cuda_finish (&alpha, &result, NULL));
    result.base = plane;
    alpha.width = width;
    alpha.height = height;
    REFUSED (cpsp_cuda_finish (&alpha, &result, NULL));
    REFUSED (cpsp_cuda_pack_weights (NULL, CPSP_CUDA_F16, NULL, side, 8, 3,
            NULL));
    REFUSED (cpsp_cuda_pack_weights (NULL, CPSP_CUDA_F16, NULL, 8, side, 3,
            NULL));
    REFUSED (cpsp_cuda_pack_weights (NULL, CPSP_CUDA_F16, NULL, 8, 8, side,
            NULL));
    REFUSED (cpsp_cuda_write (&bad, NULL, NULL));
    REFUSED (cpsp_cuda_read (NULL, &bad, NULL));
    REFUSED (cpsp_cuda_magnitude (NULL, &bad, NULL));
#undef REFUSED
  }
}

// BASE (16-byte-aligned, full of k % 16 steps of 1/255) resized, in steps;
// device_free.
static guint8 *
finish_steps (guint base_width, guint base_height, guint width, guint height,
    CpspCudaResize resize)
{
  const gsize n = (gsize) base_width * base_height;
  const CpspCudaPlane base = {
    .data = device_alloc (n * sizeof (float)),
    .width = base_width,.height = base_height,
  };
  const CpspCudaAlpha dst = {
    .data = device_alloc ((gsize) width * height),
    .stride_bytes = (ptrdiff_t) width,.width = width,.height = height,
    .format = CPSP_CUDA_ALPHA_U8,
  };
  const CpspCudaResult result = {.base = base,.resize = resize };

  for (gsize k = 0; k < n; k++)
    base.data[k] = (float) (k % 16) / 255;
  memset (dst.data, 0xff, (gsize) width * height);
  check_launch (cpsp_cuda_finish (&dst, &result, NULL));
  device_free (base.data);
  return dst.data;
}

// The largest sides, one at a time.
static void
test_largest (gconstpointer user_data)
{
  const gboolean tall = user_data != NULL;
  const guint width = tall ? 3 : CPSP_CUDA_MAX_SIDE;
  const guint height = tall ? CPSP_CUDA_MAX_SIDE : 3;
  const gsize size = (gsize) width * height;
  // Pixels that are average of themselves alone: a copy.
  guint8 *copy = finish_steps (width, height, width, height, CPSP_CUDA_AREA);

  for (gsize i = 0; i < size; i++)
    g_assert_cmpuint (copy[i], ==, i % 16);
  device_free (copy);
  // Enlarged: from 0 to 15 without a step back.
  for (CpspCudaResize resize = CPSP_CUDA_BILINEAR; resize < CPSP_CUDA_AREA;
      resize++) {
    guint8 *alpha = finish_steps (4, 4, width, height, resize);

    g_assert_cmpuint (alpha[0], <=, 1);
    g_assert_cmpuint (alpha[size - 1], >=, 14);
    for (gsize i = 0; i < size; i++) {
      if (i % width > 0)
        g_assert_cmpuint (alpha[i], >=, alpha[i - 1]);
      if (i >= width)
        g_assert_cmpuint (alpha[i], >=, alpha[i - width]);
      g_assert_cmpuint (alpha[i], <=, 15);
    }
    device_free (alpha);
  }
}

int
main (int argc, char **argv)
{
  static const char *const names[] = {
    [CPSP_CUDA_F32] = "fp32",[CPSP_CUDA_F16] = "fp16",
  };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autofree char *pack = g_strdup_printf ("/pack-weights/%s", names[i]);
    g_autofree char *range = g_strdup_printf ("/magnitude/%s", names[i]);
    g_autofree char *inputs = g_strdup_printf ("/inputs/%s", names[i]);
    g_autofree char *edges = g_strdup_printf ("/edges/%s", names[i]);

    g_test_add_data_func (pack, GUINT_TO_POINTER (i), test_pack_weights);
    g_test_add_data_func (range, GUINT_TO_POINTER (i), test_magnitude);
    g_test_add_data_func (inputs, GUINT_TO_POINTER (i), test_inputs);
    g_test_add_data_func (edges, GUINT_TO_POINTER (i), test_edges);
  }
  g_test_add_func ("/refusals", test_refusals);
  if (g_test_slow ()) {
    g_test_add_data_func ("/largest/wide", NULL, test_largest);
    g_test_add_data_func ("/largest/tall", "tall", test_largest);
  }
  return g_test_run ();
}
