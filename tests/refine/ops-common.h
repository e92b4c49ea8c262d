/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What tests of backends share: random data with extremes, number types,
 * comparison that names the worst element, small programs made by hand and a
 * way to run one on a backend with everything around its tensors watched.
 */
#pragma once

#include <glib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "error.h"

// Relative error of one rounding to float.
#define U32 5.96e-8f

// A backend under test with its device.
typedef struct
{
  const CpspBackend *backend;
  CpspDevice *device;
  CpspDeviceInfo info;
} Rig;

static inline guint
pick (GRand * r, guint low, guint high)
{
  return (guint) g_rand_int_range (r, (gint32) low, (gint32) high + 1);
}

static inline gboolean
chance (GRand * r, guint one_in)
{
  return pick (r, 1, one_in) == 1;
}

// Relative error of one rounding to the type.
static inline float
type_unit (CpspType type)
{
  return type == CPSP_TYPE_F32 ? U32 : type == CPSP_TYPE_F16 ? 1.0f / 2048 :
      1.0f / 256;
}

static inline float
type_round (CpspType type, float value)
{
  int exponent;
  float unit;

  switch (type) {
    case CPSP_TYPE_BF16:
      return cpsp_bf16_to_float (cpsp_float_to_bf16 (value));
    case CPSP_TYPE_F16:
      // 11 significant bits, none below 2^-24.
      frexpf (value, &exponent);
      unit = ldexpf (1, MAX (exponent - 11, -24));
      return rintf (value / unit) * unit;
    default:
      return value;
  }
}

// In [-max, max]: one in eight near zero, one in eight near the maximum.
static inline float
random_value (GRand * r, float max)
{
  const float sign = chance (r, 2) ? max : -max;

  switch (pick (r, 0, 7)) {
    case 0:
      return sign * (float) g_rand_double (r) / 4096;
    case 1:
      return sign * (1 - (float) g_rand_double (r) / 64);
    default:
      return sign * (float) g_rand_double (r) / 4;
  }
}

static inline float *
random_values (GRand * r, gsize n, float max)
{
  float *values = g_new (float, n);

  for (gsize i = 0; i < n; i++)
    values[i] = random_value (r, max);
  return values;
}

// In [0, 1], the ends included.
static inline float *
random_shares (GRand * r, gsize n)
{
  float *values = g_new (float, n);

  for (gsize i = 0; i < n; i++) {
    values[i] = chance (r, 8) ? 0 : chance (r, 8) ? 1 :
        (float) g_rand_double (r);
  }
  return values;
}

// Fails the test unless low <= got <= high everywhere, and names the element
// that is furthest outside; NaN and infinities are always outside. The arrays
// hold batches of height x width x channels. TEXT: the case's parameters.
static inline gboolean
check_between (const char *text, gsize n, guint height, guint width,
    guint channels, const float *got, const float *low, const float *high)
{
  gsize worst = 0, n_bad = 0;
  float worst_excess = 0;

  for (gsize i = 0; i < n; i++) {
    float excess;

    if (got[i] >= low[i] && got[i] <= high[i])
      continue;
    excess = isfinite (got[i]) ? MAX (low[i] - got[i], got[i] - high[i]) :
        INFINITY;
    if (n_bad++ == 0 || excess > worst_excess) {
      worst = i;
      worst_excess = excess;
    }
  }
  if (n_bad > 0) {
    const gsize pixel = worst / channels;

    g_test_message ("%s", text);
    g_test_message ("%" G_GSIZE_FORMAT " of %" G_GSIZE_FORMAT " outside; "
        "worst at image %u, y %u, x %u, channel %u: %.9g, not in [%.9g, %.9g]",
        n_bad, n, (guint) (pixel / width / height),
        (guint) (pixel / width % height), (guint) (pixel % width),
        (guint) (worst % channels), got[worst], low[worst], high[worst]);
    g_test_fail ();
  }
  return n_bad == 0;
}

static inline gboolean
check_near (const char *text, gsize n, guint height, guint width,
    guint channels, const float *got, const float *want, float tolerance)
{
  g_autofree float *low = g_new (float, n);
  g_autofree float *high = g_new (float, n);

  for (gsize i = 0; i < n; i++) {
    low[i] = want[i] - tolerance;
    high[i] = want[i] + tolerance;
  }
  return check_between (text, n, height, width, channels, got, low, high);
}

// Reports a failed call of a backend.
static inline gboolean
check_call (const char *text, const char *call, gboolean ok, GError ** error)
{
  if (!ok) {
    g_test_message ("%s", text);
    g_test_message ("%s failed: %s", call,
        *error ? (*error)->message : "no error was set");
    g_test_fail ();
  }
  g_clear_error (error);
  return ok;
}

/* Programs made by hand */

#define CASE_TENSORS 10
#define CASE_OPS 3
#define CASE_CONVS 2

typedef struct
{
  guint height, width, channels;
  gboolean plane;               // one float per pixel, whatever the type
  gboolean transient;
  float *values;                // written before a run; NULL: garbage
} CaseTensor;

// A program's description; the tensors' memory is laid out for each run.
typedef struct
{
  char *text;                   // the parameters, for messages
  guint batch;
  guint height, width;          // of the program
  CaseTensor tensors[CASE_TENSORS];
  guint n_tensors;
  gint input, p1, p4;
  CpspOp ops[CASE_OPS];
  guint n_ops;
  // Owned, with their arrays; operations point to them.
  CpspConv convs[CASE_CONVS];
  guint n_convs;
  CpspAffine affine;
  CpspHead head;
  // For tolerances: products and sums behind one value; roundings to the
  // type before the last one; error that a position's rounding may cause.
  gsize n_terms;
  gboolean rounds_inside;
  float position_error;
} Case;

static inline void
case_init (Case * c, guint batch, guint height, guint width)
{
  *c = (Case) {.batch = batch,.height = height,.width = width,
    .input = CPSP_NO_TENSOR,.p1 = CPSP_NO_TENSOR,.p4 = CPSP_NO_TENSOR,
    .n_terms = 1,
  };
}

static inline void
case_clear (Case * c)
{
  for (guint i = 0; i < c->n_tensors; i++)
    g_free (c->tensors[i].values);
  for (guint i = 0; i < c->n_convs; i++) {
    g_free (c->convs[i].weight);
    g_free (c->convs[i].bias);
  }
  g_free (c->affine.scale);
  g_free (c->affine.shift);
  g_free (c->head.weight);
  g_free (c->head.bias);
  g_free (c->head.out_weight);
  g_free (c->text);
}

// VALUES (transfer full).
static inline gint
case_add_tensor (Case * c, guint height, guint width, guint channels,
    float *values)
{
  g_assert_cmpuint (c->n_tensors, <, CASE_TENSORS);
  c->tensors[c->n_tensors] = (CaseTensor) {
    .height = height,.width = width,.channels = channels,.values = values,
  };
  return (gint) c->n_tensors++;
}

static inline gint
case_add_plane (Case * c, guint height, guint width, float *values)
{
  const gint plane = case_add_tensor (c, height, width, 1, values);

  c->tensors[plane].plane = TRUE;
  return plane;
}

static inline gsize
case_tensor_size (const Case * c, gint tensor)
{
  const CaseTensor *t = &c->tensors[tensor];

  return (gsize) c->batch * t->height * t->width * t->channels;
}

static inline CpspOp *
case_add_op (Case * c, CpspOpKind kind, gint src, gint dst)
{
  CpspOp *op = &c->ops[c->n_ops++];

  g_assert_cmpuint (c->n_ops, <=, CASE_OPS);
  *op = (CpspOp) {
    .kind = kind,.src = { src, CPSP_NO_TENSOR, CPSP_NO_TENSOR,
    CPSP_NO_TENSOR},.skip = CPSP_NO_TENSOR,.dst = dst,
    .stride = 1,.dilation = 1,.factor = 1,
  };
  return op;
}

static inline CpspTensor
case_place (CpspProgram * program, guint height, guint width, guint channels,
    guint pitch, CpspType type)
{
  CpspTensor t = {
    .height = height,.width = width,.channels = channels,.pitch = pitch,
    .type = type,.first_op = 0,.last_op = MAX (program->n_ops, 1) - 1,
    .offset = program->arena_size,
    .size = (gsize) program->params.batch * height * width * pitch *
        cpsp_type_size (type),
  };

  // What is left of the last 64 bytes is out of reach of the table's
  // functions; all else around a tensor is watched.
  program->arena_size += (t.size + 63) / 64 * 64;
  return t;
}

// Fills a program: for each of the case's tensors [i] itself, behind them
// [n + i] the same memory with the padding channels visible, behind those
// the guards before the first, between and after the last tensor.
static inline void
case_layout (const Case * c, CpspType type, gboolean stream,
    CpspProgram * program, CpspTensor * tensors)
{
  const guint n = c->n_tensors;

  *program = (CpspProgram) {
    .params = {.cascade = CPSP_CASCADE_GLOBAL,.height = c->height,
    .width = c->width,.batch = c->batch,.type = type,
    .stream_transients = stream,.keep_all = TRUE},
    .ops = (CpspOp *) c->ops,.n_ops = c->n_ops,
    .tensors = tensors,.n_tensors = 3 * n + 1,
    .input = c->input,.p1 = c->p1,.p4 = c->p4,
  };
  for (guint i = 0; i < n; i++) {
    const CaseTensor *t = &c->tensors[i];
    const guint pitch = t->plane ? 1 :
        (t->channels + CPSP_CHANNEL_ALIGN - 1) / CPSP_CHANNEL_ALIGN *
        CPSP_CHANNEL_ALIGN;

    tensors[2 * n + i] = case_place (program, 1, 4, 8, 8, CPSP_TYPE_F32);
    tensors[i] = case_place (program, t->height, t->width, t->channels, pitch,
        t->plane ? CPSP_TYPE_F32 : type);
    tensors[i].transient = t->transient;
    if (t->transient && stream) {
      program->arena_size = tensors[i].offset;
      tensors[i].offset = 0;
    }
    tensors[n + i] = tensors[i];
    tensors[n + i].channels = pitch;
  }
  tensors[3 * n] = case_place (program, 1, 4, 8, 8, CPSP_TYPE_F32);
}

static inline float *
case_read (Rig * rig, CpspPlan * plan, const CpspProgram * program,
    guint tensor, const char *text)
{
  const CpspTensor *t = &program->tensors[tensor];
  float *values = g_new0 (float, (gsize) program->params.batch * t->height *
      t->width * t->channels);
  GError *error = NULL;

  check_call (text, "tensor_read", rig->backend->tensor_read (plan, tensor,
          values, &error), &error);
  return values;
}

// Writes what the case's tensors hold before a run, and the guards.
static inline gboolean
case_write (Rig * rig, const Case * c, CpspPlan * plan,
    const CpspProgram * program)
{
  const guint n = c->n_tensors;
  GError *error = NULL;

  for (guint i = 0; i < program->n_tensors; i++) {
    const CpspTensor *t = &program->tensors[i];
    const gsize size = (gsize) c->batch * t->height * t->width * t->channels;
    g_autofree float *pattern = NULL;
    const float *values;

    if (i < n && c->tensors[i].values) {
      values = c->tensors[i].values;
    } else if (i < n || (i < 2 * n && (c->tensors[i - n].values ||
                (t->transient && program->params.stream_transients)))) {
      continue;
    } else {
      // Of guards, and of what an operation is to write, padding included.
      pattern = g_new (float, size);
      for (gsize k = 0; k < size; k++)
        pattern[k] = (float) (1 + (i + k) % 97);
      values = pattern;
    }
    if (!check_call (c->text, "tensor_write", rig->backend->tensor_write (plan,
                i, values, &error), &error))
      return FALSE;
  }
  return TRUE;
}

static inline gboolean
case_is_written (const Case * c, gint tensor)
{
  for (guint i = 0; i < c->n_ops; i++) {
    if (c->ops[i].dst == tensor)
      return TRUE;
  }
  return FALSE;
}

// After a run: the guards and sources are as they were, the padding channels
// of all tensors zero.
static inline gboolean
case_check_surroundings (Rig * rig, const Case * c, CpspPlan * plan,
    const CpspProgram * program, gint dst)
{
  const guint n = c->n_tensors;
  gboolean ok = TRUE;

  for (guint i = 0; i < program->n_tensors; i++) {
    const CpspTensor *t = &program->tensors[i];
    const gsize size = (gsize) c->batch * t->height * t->width * t->channels;
    g_autofree float *got = NULL;
    g_autofree float *want = NULL;
    g_autofree char *text = NULL;
    const char *what;

    if (t->transient && program->params.stream_transients)
      continue;
    want = g_new0 (float, size);
    if (i < n) {
      if ((gint) i == dst || !c->tensors[i].values)
        continue;
      what = "source changed: tensor";
      memcpy (want, c->tensors[i].values, size * sizeof (float));
      got = case_read (rig, plan, program, i, c->text);
    } else if (i < 2 * n) {
      // Tensors that nobody wrote hold the pattern still.
      if (!c->tensors[i - n].values && !case_is_written (c, (gint) (i - n)))
        continue;
      what = "padding channels not zero: tensor";
      got = case_read (rig, plan, program, i, c->text);
      for (gsize k = 0; k < size; k++) {
        if (k % t->channels < c->tensors[i - n].channels)
          got[k] = 0;
      }
    } else {
      what = "written outside of a tensor: guard";
      got = case_read (rig, plan, program, i, c->text);
      for (gsize k = 0; k < size; k++)
        want[k] = (float) (1 + (i + k) % 97);
    }
    text = g_strdup_printf ("%s\n%s %u", c->text, what, i % n);
    ok = check_between (text, size, t->height, t->width, t->channels, got,
        want, want) && ok;
  }
  return ok;
}

// Runs the case's operations with activations of TYPE. The values of tensor
// DST then (g_free), or NULL: the test has failed. A backend that may use
// threads runs twice and must yield the same bits both times.
static inline float *
case_run (Rig * rig, const Case * c, CpspType type, gint dst)
{
  const CpspBackend *backend = rig->backend;
  const gsize size = case_tensor_size (c, dst);
  const guint n_runs = backend == &cpsp_backend_reference ? 1 : 2;
  CpspTensor tensors[3 * CASE_TENSORS + 1];
  CpspProgram program;
  CpspPlan *plan;
  g_autofree float *first = NULL;
  g_autofree float *second = NULL;
  GError *error = NULL;

  case_layout (c, type, rig->info.streams_transients, &program, tensors);
  plan = backend->plan_new (rig->device, &program, &error);
  if (!check_call (c->text, "plan_new", plan != NULL, &error))
    return NULL;
  for (guint i = 0; i < n_runs; i++) {
    if (!case_write (rig, c, plan, &program))
      goto out;
    if (!check_call (c->text, "plan_run", backend->plan_run (plan, 0, c->n_ops,
                &error), &error))
      goto out;
    *(i == 0 ? &first : &second) =
        case_read (rig, plan, &program, (guint) dst, c->text);
  }
  if (!case_check_surroundings (rig, c, plan, &program, dst)) {
    g_clear_pointer (&first, g_free);
  } else if (second && memcmp (first, second, size * sizeof (float)) != 0) {
    g_test_message ("%s", c->text);
    g_test_message ("two runs differ");
    g_test_fail ();
    g_clear_pointer (&first, g_free);
  }

out:
  backend->plan_free (plan);
  return g_steal_pointer (&first);
}

static inline void
values_apply (float *values, gsize n, CpspType type, gboolean absolute)
{
  for (gsize i = 0; values && i < n; i++)
    values[i] = absolute ? fabsf (values[i]) : type_round (type, values[i]);
}

// Rounds all that a backend may hold in TYPE (then its conversion is exact
// and only its arithmetic is under test), or with ABSOLUTE makes all numbers
// positive: the case then computes the sums of the products' magnitudes.
static inline void
case_apply (Case * c, CpspType type, gboolean absolute)
{
  const CpspType f32 = CPSP_TYPE_F32;

  for (guint i = 0; i < c->n_tensors; i++) {
    values_apply (c->tensors[i].values, case_tensor_size (c, (gint) i),
        c->tensors[i].plane ? f32 : type, absolute);
  }
  for (guint i = 0; i < c->n_convs; i++) {
    CpspConv *conv = &c->convs[i];

    values_apply (conv->weight, (gsize) conv->c_out * conv->c_in *
        conv->kernel * conv->kernel, type, absolute);
    values_apply (conv->bias, conv->c_out, type, absolute);
  }
  values_apply (c->affine.scale, c->affine.channels, f32, absolute);
  values_apply (c->affine.shift, c->affine.channels, f32, absolute);
  values_apply (c->head.weight, (gsize) c->head.hidden * c->head.c_in, type,
      absolute);
  values_apply (c->head.bias, c->head.hidden, f32, absolute);
  values_apply (c->head.out_weight, c->head.hidden, type, absolute);
  values_apply (&c->head.out_bias, 1, f32, absolute);
}
