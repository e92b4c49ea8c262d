/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every entry of a backend's table, alone. The reference backend against
 * numbers worked out by hand; then the backend under test against the
 * reference, on random shapes and data.
 *
 * The seed is printed. Repeat a run with `--seed N` or CPSP_TEST_SEED=N; a
 * test draws the same numbers whether it runs alone (-p) or with the others.
 * CPSP_TEST_ITERATIONS=N: N cases of each kind instead of ITERATIONS.
 * Compiled with CPSP_TEST_BACKEND=<table>, the same tests check another one.
 */
#include "ops-common.h"

#ifndef CPSP_TEST_BACKEND
#define CPSP_TEST_BACKEND cpsp_backend_cpu
#endif
extern const CpspBackend CPSP_TEST_BACKEND;

#define ITERATIONS 40
#define INPUT_SIDE 8            // of programs that use no input

static Rig reference, tested;
static guint32 seed;
static guint iterations = ITERATIONS;

// The same numbers for the same seed and test.
static GRand *
test_rand (void)
{
  return g_rand_new_with_seed (seed ^ g_str_hash (g_test_get_path ()));
}

/* Operations */

static void
op_case_init (Case * c, GRand * r)
{
  case_init (c, pick (r, 1, 3), INPUT_SIDE, INPUT_SIDE);
  c->input = case_add_tensor (c, INPUT_SIDE, INPUT_SIDE, CPSP_INPUT_CHANNELS,
      NULL);
  c->p1 = case_add_plane (c, INPUT_SIDE, INPUT_SIDE, NULL);
}

// A tensor with random values.
static gint
add_random (Case * c, GRand * r, guint height, guint width, guint channels)
{
  return case_add_tensor (c, height, width, channels, random_values (r,
          (gsize) c->batch * height * width * channels, 16));
}

static CpspConv *
add_conv (Case * c, GRand * r, guint c_in, guint c_out, guint kernel)
{
  CpspConv *conv = &c->convs[c->n_convs++];
  const gsize n = (gsize) c_in * kernel * kernel;

  *conv = (CpspConv) {
    .name = "conv",.c_in = c_in,.c_out = c_out,
    .kernel = kernel,
    // So that results stay far from fp16's maximum.
    .weight = random_values (r, n * c_out, 4 / sqrtf (n)),
    .bias = chance (r, 2) ? random_values (r, c_out, 4) : NULL,
  };
  c->n_terms += n;
  return conv;
}

static void
add_affine (Case * c, GRand * r, guint channels)
{
  c->affine = (CpspAffine) {
    .channels = channels,
    .scale = random_values (r, channels, 2),
    .shift = random_values (r, channels, 2),
  };
}

// Now and then a shape that several threads and blocks share.
static guint
pick_side (GRand * r)
{
  return chance (r, 8) ? pick (r, 25, 50) : pick (r, 1, 20);
}

static guint
pick_channels (GRand * r)
{
  return chance (r, 8) ? pick (r, 65, 140) : pick (r, 1, 40);
}

static void
make_conv (Case * c, GRand * r)
{
  const guint kernel = 1 + 2 * pick (r, 0, 3);
  const guint stride = pick (r, 1, 2);
  const guint dilation = kernel == 3 ? 1 << pick (r, 0, 2) : 1;
  const guint height = pick_side (r), width = pick_side (r);
  const guint c_in = pick_channels (r), c_out = pick_channels (r);
  const guint out_height = (height - 1) / stride + 1;
  const guint out_width = (width - 1) / stride + 1;
  const gboolean accumulate = chance (r, 2), relu = chance (r, 2);
  CpspConv *conv = add_conv (c, r, c_in, c_out, kernel);
  const gint src = add_random (c, r, height, width, c_in);
  const gint dst = accumulate ?
      add_random (c, r, out_height, out_width, c_out) :
      case_add_tensor (c, out_height, out_width, c_out, NULL);
  CpspOp *op = case_add_op (c, CPSP_OP_CONV, src, dst);

  op->conv = conv;
  op->stride = stride;
  op->dilation = dilation;
  op->accumulate = accumulate;
  op->relu = relu;
  c->text = g_strdup_printf ("conv %ux%u stride %u dilation %u, batch %u, "
      "%u x %u x %u -> %u,%s%s%s", kernel, kernel, stride, dilation, c->batch,
      height, width, c_in, c_out, conv->bias ? " bias" : "",
      accumulate ? " accumulate" : "", relu ? " relu" : "");
}

static void
make_max_pool (Case * c, GRand * r)
{
  const guint height = pick_side (r), width = pick_side (r);
  const guint channels = pick_channels (r);
  const gint src = add_random (c, r, height, width, channels);
  const gint dst = case_add_tensor (c, (height - 1) / 2 + 1,
      (width - 1) / 2 + 1, channels, NULL);

  add_affine (c, r, channels);
  case_add_op (c, CPSP_OP_MAX_POOL, src, dst)->affine = &c->affine;
  c->n_terms = 2;
  c->text = g_strdup_printf ("max pool, batch %u, %u x %u x %u", c->batch,
      height, width, channels);
}

static void
make_grid_pool (Case * c, GRand * r)
{
  const guint height = pick_side (r), width = pick_side (r);
  const guint channels = pick_channels (r), grid = pick (r, 1, 6);
  const gint src = add_random (c, r, height, width, channels);
  const gint dst = case_add_tensor (c, grid, grid, channels, NULL);

  case_add_op (c, CPSP_OP_GRID_POOL, src, dst);
  c->n_terms = (gsize) (height / grid + 2) * (width / grid + 2);
  c->text = g_strdup_printf ("grid pool, batch %u, %u x %u x %u -> %u x %u",
      c->batch, height, width, channels, grid, grid);
}

// What a resize of N pixels may be off: each position by a rounding, each
// value by that much of a step from minimum to maximum.
static float
position_error (guint n)
{
  return 4 * n * U32 * 32;
}

static void
make_pyramid (Case * c, GRand * r)
{
  const guint height = pick_side (r), width = pick_side (r);
  const guint channels = pick_channels (r);
  const guint grids[CPSP_N_GRIDS] = { 1, 2, 3, 6 };
  const gint dst = case_add_tensor (c, height, width, channels, NULL);
  CpspOp *op = case_add_op (c, CPSP_OP_PYRAMID, CPSP_NO_TENSOR, dst);

  for (guint i = 0; i < CPSP_N_GRIDS; i++)
    op->src[i] = add_random (c, r, grids[i], grids[i], channels);
  c->n_terms = 4 * CPSP_N_GRIDS;
  c->position_error = CPSP_N_GRIDS * position_error (6);
  c->text = g_strdup_printf ("pyramid, batch %u, %u x %u x %u", c->batch,
      height, width, channels);
}

// CONCAT from a random source into a tensor that it adds; LARGE: of several
// megabytes.
static gint
add_concat (Case * c, GRand * r, gboolean large)
{
  const guint height = large ? pick (r, 150, 250) : pick (r, 1, 12);
  const guint width = large ? 16 : pick (r, 1, 12);
  const guint channels = large ? pick (r, 120, 160) : pick_channels (r);
  const guint factor = large ? 2 : pick (r, 1, 2);
  const gboolean has_skip = chance (r, 2);
  const guint stored = pick_channels (r);
  const guint taken = has_skip ? pick (r, 1, stored) : 0;
  const gint src = add_random (c, r, height, width, channels);
  const gint skip = has_skip ? add_random (c, r, height * factor,
      width * factor, stored) : CPSP_NO_TENSOR;
  const gint dst = case_add_tensor (c, height * factor, width * factor,
      channels + taken, NULL);
  CpspOp *op = case_add_op (c, CPSP_OP_CONCAT, src, dst);

  add_affine (c, r, channels + taken);
  op->skip = skip;
  op->skip_channels = taken;
  op->affine = &c->affine;
  c->n_terms = 6;
  c->text = g_strdup_printf ("concat, batch %u, %u x %u x %u, x %u, skip %u "
      "of %u", c->batch, height, width, channels, factor, taken,
      has_skip ? stored : 0);
  return dst;
}

static void
make_concat (Case * c, GRand * r)
{
  add_concat (c, r, FALSE);
}

// A transient and its reader. A large transient is more than a backend that
// streams would make at once.
static void
make_concat_conv (Case * c, GRand * r)
{
  const gboolean large = chance (r, 12);
  const gint src = add_concat (c, r, large);
  CaseTensor *t = &c->tensors[src];
  const guint kernel = chance (r, 4) ? 1 : 3;
  const guint c_out = large ? pick (r, 1, 8) : pick_channels (r);
  const gboolean accumulate = chance (r, 2), relu = chance (r, 2);
  CpspConv *conv = add_conv (c, r, t->channels, c_out, kernel);
  const gint dst = accumulate ?
      add_random (c, r, t->height, t->width, c_out) :
      case_add_tensor (c, t->height, t->width, c_out, NULL);
  CpspOp *op = case_add_op (c, CPSP_OP_CONV, src, dst);
  char *text = g_strdup_printf ("%s; conv %ux%u -> %u,%s%s%s", c->text,
      kernel, kernel, c_out, conv->bias ? " bias" : "",
      accumulate ? " accumulate" : "", relu ? " relu" : "");

  t->transient = TRUE;
  op->conv = conv;
  op->accumulate = accumulate;
  op->relu = relu;
  c->rounds_inside = TRUE;
  g_free (c->text);
  c->text = text;
}

static void
make_upsample (Case * c, GRand * r)
{
  const guint height = pick (r, 1, 20), width = pick (r, 1, 20);
  const guint channels = pick_channels (r);
  const gint src = add_random (c, r, height, width, channels);
  const gint dst = case_add_tensor (c, 2 * height, 2 * width, channels, NULL);

  case_add_op (c, CPSP_OP_UPSAMPLE, src, dst);
  c->n_terms = 4;
  c->text = g_strdup_printf ("upsample, batch %u, %u x %u x %u", c->batch,
      height, width, channels);
}

static void
make_head (Case * c, GRand * r)
{
  const guint height = pick_side (r), width = pick_side (r);
  const guint channels = pick_channels (r), hidden = pick (r, 1, 40);
  const gboolean has_skip = chance (r, 2);
  const guint stored = pick (r, 1, 20);
  const guint taken = has_skip ? pick (r, 1, stored) : 0;
  const gint src = add_random (c, r, height, width, channels);
  const gint skip = has_skip ? add_random (c, r, height, width, stored) :
      CPSP_NO_TENSOR;
  const gint dst = case_add_plane (c, height, width, NULL);
  CpspOp *op = case_add_op (c, CPSP_OP_HEAD, src, dst);

  c->head = (CpspHead) {
    .name = "head",.c_in = channels + taken,.hidden = hidden,
    .weight = random_values (r, (gsize) (channels + taken) * hidden, 1),
    .bias = random_values (r, hidden, 2),
    .out_weight = random_values (r, hidden, 1),
    .out_bias = random_value (r, 2),
  };
  op->skip = skip;
  op->skip_channels = taken;
  op->head = &c->head;
  c->n_terms = channels + taken + hidden;
  // The hidden values may be kept in the type.
  c->rounds_inside = TRUE;
  c->text = g_strdup_printf ("head, batch %u, %u x %u x %u, skip %u of %u, "
      "hidden %u", c->batch, height, width, channels, taken,
      has_skip ? stored : 0, hidden);
}

static void
make_logit (Case * c, GRand * r)
{
  const guint factor = 1 << pick (r, 0, 3);
  const guint height = pick (r, 1, 9), width = pick (r, 1, 9);
  const gboolean to_plane = chance (r, 2), sigmoid = chance (r, 2);
  const guint first = to_plane ? 0 : pick (r, 3, 5);
  const guint n = to_plane ? 1 : pick (r, 1, CPSP_INPUT_CHANNELS - first);
  const gint src = case_add_plane (c, height, width, random_values (r,
          (gsize) c->batch * height * width, chance (r, 4) ? 200 : 8));
  // Of an input, the other channels must stay as they are.
  const gint dst = to_plane ?
      case_add_plane (c, height * factor, width * factor, NULL) :
      add_random (c, r, height * factor, width * factor, CPSP_INPUT_CHANNELS);
  CpspOp *op = case_add_op (c, CPSP_OP_LOGIT, src, dst);

  op->factor = factor;
  op->sigmoid = sigmoid;
  op->first_channel = first;
  op->n_channels = n;
  c->text = g_strdup_printf ("logit, batch %u, %u x %u, x %u, %s into %u "
      "channels from %u of %s", c->batch, height, width, factor,
      sigmoid ? "sigmoid" : "tanh", n, first,
      to_plane ? "a plane" : "an input");
}

// The activations' slope is at most 1: what a value of the logit is off, its
// image is off at most. 4e-7: the activation's own approximation, a
// quarter of a bit of 20.
static float
logit_tolerance (float logit_magnitude)
{
  return 8 * U32 * logit_magnitude + 4e-7f;
}

typedef struct
{
  const char *name;
  void (*make) (Case * c, GRand * r);
} OpTest;

static const OpTest op_tests[] = {
  {"conv", make_conv},
  {"max-pool", make_max_pool},
  {"grid-pool", make_grid_pool},
  {"pyramid", make_pyramid},
  {"concat", make_concat},
  {"concat-conv", make_concat_conv},
  {"upsample", make_upsample},
  {"head", make_head},
  {"logit", make_logit},
};

// How far from the reference a value may be that results from products with
// a sum of magnitudes of MAGNITUDE.
//
// Each addition of n is off by up to U32 of the sum so far, which is at most
// the magnitude; errors of either sign add up as the square root of n, and
// both backends err. With activations of 16 bits the result is rounded once,
// relative to itself, and a value kept in between once too, relative to its
// share of the magnitude.
static float
op_tolerance (const Case * c, CpspType type, float magnitude, float value)
{
  const gint dst = c->ops[c->n_ops - 1].dst;
  float tolerance = 4 * U32 * (1 + sqrtf (c->n_terms)) * magnitude +
      c->position_error;

  if (c->ops[0].kind == CPSP_OP_LOGIT)
    tolerance = logit_tolerance (200);
  if (type != CPSP_TYPE_F32) {
    if (c->rounds_inside)
      tolerance += type_unit (type) * magnitude;
    if (!c->tensors[dst].plane)
      tolerance = tolerance * (1 + type_unit (type)) +
          type_unit (type) * fabsf (value);
  }
  // The smallest step of fp16 near zero.
  if (type == CPSP_TYPE_F16)
    tolerance += 1.0f / (1 << 24);
  return tolerance;
}

// FALSE: the test is skipped.
static gboolean
can_compare (void)
{
  if (!tested.device)
    g_test_skip ("this backend does not run here");
  return tested.device != NULL;
}

// Stands for all tests of a type that the device does not have.
static void
test_absent_type (gconstpointer data)
{
  g_autofree char *text = g_strdup_printf ("%s does not compute in %s",
      tested.info.name, cpsp_type_name (GPOINTER_TO_UINT (data)));

  g_test_skip (text);
}

static gboolean
compare_op (Case * c, CpspType type)
{
  const gint dst = c->ops[c->n_ops - 1].dst;
  const CaseTensor *t = &c->tensors[dst];
  const gsize size = case_tensor_size (c, dst);
  g_autofree float *want = NULL;
  g_autofree float *got = NULL;
  g_autofree float *magnitude = NULL;
  g_autofree float *low = g_new (float, size);
  g_autofree float *high = g_new (float, size);

  case_apply (c, type, FALSE);
  want = case_run (&reference, c, CPSP_TYPE_F32, dst);
  got = case_run (&tested, c, type, dst);
  if (!want || !got)
    return FALSE;
  // A sum of magnitudes is the same case with no minus in it.
  case_apply (c, type, TRUE);
  magnitude = case_run (&reference, c, CPSP_TYPE_F32, dst);
  if (!magnitude)
    return FALSE;
  for (gsize i = 0; i < size; i++) {
    const float tolerance = op_tolerance (c, type, magnitude[i], want[i]);

    low[i] = want[i] - tolerance;
    high[i] = want[i] + tolerance;
  }
  return check_between (c->text, size, t->height, t->width, t->channels, got,
      low, high);
}

typedef struct
{
  const OpTest *op;
  CpspType type;
} OpTestData;

static void
test_op (gconstpointer user_data)
{
  const OpTestData *data = user_data;
  g_autoptr (GRand) r = test_rand ();

  if (!can_compare ())
    return;
  for (guint i = 0; i < iterations; i++) {
    gboolean ok;
    Case c;

    op_case_init (&c, r);
    data->op->make (&c, r);
    ok = compare_op (&c, data->type);
    case_clear (&c);
    if (!ok) {
      g_test_message ("iteration %u, %s", i, cpsp_type_name (data->type));
      return;
    }
  }
}

/* Frames */

// A frame's views and the memory behind them: exactly as long as the last
// sample needs, so that a sanitizer sees what reads further.
typedef struct
{
  CpspImageView image;
  CpspMaskView mask;
  guint8 *memory[4];
} Frame;

static void
frame_clear (Frame * frame)
{
  for (guint i = 0; i < G_N_ELEMENTS (frame->memory); i++)
    g_free (frame->memory[i]);
}

// Describes samples of one to four components that lie side by side; returns
// their memory, filled with noise.
static guint8 *
make_components (GRand * r, guint width, guint height, guint n, guint depth,
    CpspComponent * components)
{
  const gboolean wide = depth > 8 || chance (r, 8);
  const guint bytes = wide ? 2 : 1;
  const guint stored = n == 3 && chance (r, 2) ? 4 : n;
  const guint step = stored * bytes;
  const gsize stride = (gsize) width * step + bytes * pick (r, 0, 9);
  const gsize size = (height - 1) * stride + (gsize) width * step;
  // Rows from the bottom up are as good as from the top down.
  const gboolean upwards = chance (r, 4);
  const guint shift = wide && chance (r, 2) ? 16 - depth : 0;
  const guint first = stored > n ? pick (r, 0, 1) : 0;
  guint8 *memory = g_malloc (size);

  for (gsize i = 0; i < size; i++)
    memory[i] = (guint8) (chance (r, 8) ? 0 : chance (r, 8) ? 255 :
        pick (r, 0, 255));
  for (guint i = 0; i < n; i++) {
    components[i] = (CpspComponent) {
      .data = memory + (first + i) * bytes +
          (upwards ? (height - 1) * stride : 0),
      .stride_bytes = upwards ? -(gssize) stride : (gssize) stride,
      .step_bytes = step,.wide = wide,.shift = shift,.depth = depth,
    };
  }
  return memory;
}

static void
frame_init (Frame * frame, GRand * r, guint width, guint height)
{
  const guint depths[] = { 8, 8, 10, 12, 16 };
  const guint depth = depths[pick (r, 0, G_N_ELEMENTS (depths) - 1)];
  const float scale = 1.0f / ((1u << depth) - 1);
  CpspImageView *image = &frame->image;
  guint layout = pick (r, 0, 3);
  guint mask_depth;

  memset (frame, 0, sizeof (*frame));
  image->width = width;
  image->height = height;
  image->n_components = layout == 0 ? 1 : 3;
  if (layout <= 1) {            // grey, or three together
    frame->memory[0] = make_components (r, width, height, image->n_components,
        depth, image->component);
  } else {                      // luma, then chroma apart or together
    const guint sx = pick (r, 0, 2), sy = pick (r, 0, 2);
    const guint chroma_width = (width + (1 << sx) - 1) >> sx;
    const guint chroma_height = (height + (1 << sy) - 1) >> sy;

    image->chroma_shift_x = sx;
    image->chroma_shift_y = sy;
    image->chroma_x = sx && chance (r, 2) ? ((1 << sx) - 1) / 2.0f : 0;
    image->chroma_y = sy && chance (r, 2) ? ((1 << sy) - 1) / 2.0f : 0;
    frame->memory[0] = make_components (r, width, height, 1, depth,
        image->component);
    if (layout == 2) {
      frame->memory[1] = make_components (r, chroma_width, chroma_height, 2,
          depth, image->component + 1);
    } else {
      frame->memory[1] = make_components (r, chroma_width, chroma_height, 1,
          depth, image->component + 1);
      frame->memory[2] = make_components (r, chroma_width, chroma_height, 1,
          depth, image->component + 2);
    }
  }
  // A conversion with some of everything; RGB leaves [0, 1] here and there.
  for (guint i = 0; i < 3; i++) {
    float sum = 0;

    for (guint j = 0; j < image->n_components; j++) {
      image->matrix[i][j] = (j == 0 ? 1.16f : random_value (r, 2)) * scale;
      sum += image->matrix[i][j] / scale;
    }
    image->offset[i] = 0.5f - sum / 2;
  }

  if (chance (r, 2)) {
    frame->mask.width = pick (r, 1, 40);
    frame->mask.height = pick (r, 1, 40);
  } else {
    frame->mask.width = width;
    frame->mask.height = height;
  }
  mask_depth = chance (r, 4) ? 16 : 8;
  frame->memory[3] = make_components (r, frame->mask.width,
      frame->mask.height, 1, mask_depth, &frame->mask.component);
  frame->mask.scale = 1.0f / ((1u << mask_depth) - 1);
  // Of the nominal range of video.
  if (chance (r, 4)) {
    frame->mask.scale *= 255.0f / 219;
    frame->mask.offset = -16.0f / 219;
  }
}

static char *
frame_to_string (const Frame * frame)
{
  const CpspImageView *v = &frame->image;

  return g_strdup_printf ("frame %u x %u, %u components of %u bits, chroma "
      "shifts %u, %u at %g, %g, steps %u, %u; mask %u x %u, %u bits",
      v->width, v->height, v->n_components, v->component[0].depth,
      v->chroma_shift_x, v->chroma_shift_y, v->chroma_x, v->chroma_y,
      v->component[0].step_bytes, v->component[1].step_bytes,
      frame->mask.width, frame->mask.height, frame->mask.component.depth);
}

// A program with an input, both outputs and an operation that isn't run.
static void
frame_case_init (Case * c, GRand * r, guint batch, guint height, guint width)
{
  const gsize size = (gsize) batch * height * width;
  gint logit;
  CpspOp *op;

  case_init (c, batch, height, width);
  c->input = case_add_tensor (c, height, width, CPSP_INPUT_CHANNELS,
      random_values (r, size * CPSP_INPUT_CHANNELS, 2));
  c->p1 = case_add_plane (c, height, width, random_shares (r, size));
  c->p4 = case_add_plane (c, height, width, random_shares (r, size));
  logit = case_add_plane (c, height, width, random_values (r, size, 1));
  op = case_add_op (c, CPSP_OP_LOGIT, logit, c->p1);
  op->sigmoid = TRUE;
  op->n_channels = 1;
}

static CpspPlane *
plane_with (Rig * rig, guint width, guint height, const float *values,
    const char *text)
{
  // A plane gets its values as any does: from an output.
  const CpspBackend *backend = rig->backend;
  const guint padded_width = (width + 7) / 8 * 8;
  const guint padded_height = (height + 7) / 8 * 8;
  g_autofree float *output = g_new0 (float, (gsize) padded_width *
      padded_height);
  g_autoptr (GRand) r = g_rand_new_with_seed (1);
  CpspTensor tensors[3 * CASE_TENSORS + 1];
  CpspProgram program;
  CpspPlane *plane = NULL;
  CpspPlan *plan;
  GError *error = NULL;
  Case c;

  for (guint y = 0; y < height; y++) {
    memcpy (output + (gsize) y * padded_width, values + (gsize) y * width,
        width * sizeof (float));
  }
  frame_case_init (&c, r, 1, padded_height, padded_width);
  case_layout (&c, CPSP_TYPE_F32, FALSE, &program, tensors);
  plan = backend->plan_new (rig->device, &program, &error);
  if (check_call (text, "plan_new", plan != NULL, &error)) {
    plane = backend->plane_new (rig->device, width, height, &error);
    check_call (text, "plane_new", plane != NULL, &error);
  }
  if (plane) {
    check_call (text, "tensor_write", backend->tensor_write (plan,
            (guint) c.p1, output, &error), &error);
    check_call (text, "store", backend->store (plan, 0, CPSP_OUTPUT_P1, plane,
            &error), &error);
  }
  backend->plan_free (plan);
  case_clear (&c);
  return plane;
}

// The plane's values (g_free).
static float *
plane_values (Rig * rig, CpspPlane * plane, gsize n, const char *text)
{
  GError *error = NULL;
  const float *values = rig->backend->plane_map (plane, &error);
  float *copy = g_new0 (float, n);

  if (check_call (text, "plane_map", values != NULL, &error))
    memcpy (copy, values, n * sizeof (float));
  return copy;
}

typedef enum
{
  LOAD_IMAGE,
  LOAD_COARSE,
  LOAD_MASKS,
} Load;

typedef struct
{
  Load load;
  guint slot;
  CpspCrop crop;
  const Frame *frame;
  float threshold;
  // Of LOAD_MASKS.
  guint plane_width, plane_height;
  const float *p1, *p4;
} LoadParams;

// The whole input after a load (g_free); NULL: failed.
static float *
run_load (Rig * rig, const Case * c, CpspType type, const LoadParams * params)
{
  const CpspBackend *backend = rig->backend;
  CpspTensor tensors[3 * CASE_TENSORS + 1];
  CpspProgram program;
  CpspPlan *plan;
  CpspPlane *p1 = NULL, *p4 = NULL;
  gboolean ok = FALSE;
  GError *error = NULL;
  float *values = NULL;

  if (params->load == LOAD_MASKS) {
    p1 = plane_with (rig, params->plane_width, params->plane_height,
        params->p1, c->text);
    p4 = plane_with (rig, params->plane_width, params->plane_height,
        params->p4, c->text);
    if (!p1 || !p4)
      goto out_planes;
  }
  case_layout (c, type, rig->info.streams_transients, &program, tensors);
  plan = backend->plan_new (rig->device, &program, &error);
  if (!check_call (c->text, "plan_new", plan != NULL, &error))
    goto out_planes;
  if (!case_write (rig, c, plan, &program))
    goto out;
  if (params->frame && !check_call (c->text, "set_frame",
          backend->set_frame (rig->device, &params->frame->image,
              &params->frame->mask, &error), &error))
    goto out;
  switch (params->load) {
    case LOAD_IMAGE:
      ok = backend->load_image (plan, params->slot, &params->crop, &error);
      break;
    case LOAD_COARSE:
      ok = backend->load_coarse (plan, params->slot, &params->crop,
          params->threshold, &error);
      break;
    case LOAD_MASKS:
      ok = backend->load_masks (plan, params->slot, &params->crop, p1, p4,
          &error);
      break;
  }
  if (check_call (c->text, "a load", ok, &error) &&
      check_call (c->text, "synchronise",
          backend->synchronise (rig->device, &error), &error) &&
      case_check_surroundings (rig, c, plan, &program, c->input))
    values = case_read (rig, plan, &program, (guint) c->input, c->text);

out:
  backend->plan_free (plan);
out_planes:
  if (p1)
    backend->plane_free (p1);
  if (p4)
    backend->plane_free (p4);
  return values;
}

// What the backend loads must lie between LOW and HIGH, what the reference
// loads from slightly smaller and larger values, give or take TOLERANCE.
static gboolean
compare_load (Case * c, CpspType type, const LoadParams * params,
    const LoadParams * low_params, const LoadParams * high_params,
    float tolerance)
{
  const gsize size = case_tensor_size (c, c->input);
  g_autofree float *low = NULL;
  g_autofree float *high = NULL;
  g_autofree float *got = NULL;

  case_apply (c, type, FALSE);
  low = run_load (&reference, c, CPSP_TYPE_F32, low_params);
  high = run_load (&reference, c, CPSP_TYPE_F32, high_params);
  got = run_load (&tested, c, type, params);
  if (!low || !high || !got)
    return FALSE;
  for (gsize i = 0; i < size; i++) {
    const float unit = type == CPSP_TYPE_F32 ? 0 : type_unit (type);

    low[i] -= tolerance + unit * fabsf (low[i]);
    high[i] += tolerance + unit * fabsf (high[i]);
  }
  return check_between (c->text, size, c->height, c->width,
      CPSP_INPUT_CHANNELS, got, low, high);
}

// A crop that fits into INPUT_WIDTH x INPUT_HEIGHT, of the frame at its own
// size, made smaller or larger; often at a border.
static void
random_crop (GRand * r, guint frame_width, guint frame_height,
    guint input_width, guint input_height, CpspCrop * crop)
{
  memset (crop, 0, sizeof (*crop));
  crop->width = frame_width;
  crop->height = frame_height;
  switch (pick (r, 0, 2)) {
    case 0:
      break;
    case 1:
      crop->width = pick (r, 1, frame_width);
      crop->height = pick (r, 1, frame_height);
      break;
    case 2:
      crop->filter = CPSP_FILTER_ENLARGE;
      crop->ratio = 1 + 2 * g_rand_double (r);
      crop->width = (guint) (frame_width * crop->ratio);
      crop->height = (guint) (frame_height * crop->ratio);
      break;
  }
  crop->crop_width = chance (r, 2) ? MIN (crop->width, input_width) :
      pick (r, 1, MIN (crop->width, input_width));
  crop->crop_height = chance (r, 2) ? MIN (crop->height, input_height) :
      pick (r, 1, MIN (crop->height, input_height));
  crop->x = crop->width - crop->crop_width;
  crop->y = crop->height - crop->crop_height;
  if (chance (r, 2))
    crop->x = pick (r, 0, crop->x);
  if (chance (r, 2))
    crop->y = pick (r, 0, crop->y);
}

static void
test_load (gconstpointer user_data)
{
  const guint which = GPOINTER_TO_UINT (user_data);
  const Load load = which % 4;
  const CpspType type = which / 4;
  g_autoptr (GRand) r = test_rand ();
  gboolean ok = TRUE;

  if (!can_compare ())
    return;
  for (guint i = 0; ok && i < 3 * iterations; i++) {
    const guint width = pick (r, 1, 70), height = pick (r, 1, 70);
    LoadParams params = {.load = load };
    LoadParams low, high;
    g_autofree float *p1 = NULL;
    g_autofree float *p1_low = NULL;
    g_autofree float *p1_high = NULL;
    g_autofree float *p4 = NULL;
    g_autofree char *frame_text = NULL;
    const char *const names[] = { "load image", "load coarse", "load masks" };
    float tolerance = 0;
    gsize plane_size;
    Frame frame;
    Case c;

    frame_init (&frame, r, width, height);
    frame_case_init (&c, r, pick (r, 1, 3), 8 * pick (r, 1, 6),
        8 * pick (r, 1, 6));
    params.frame = &frame;
    params.slot = pick (r, 0, c.batch - 1);
    random_crop (r, width, height, c.width, c.height, &params.crop);
    // No sample, and no mean of few, meets it.
    params.threshold = 0.31f + 0.001234567f * pick (r, 0, 300);
    low = high = params;
    switch (load) {
      case LOAD_IMAGE:
        // Some 16 roundings of values up to 6 (the sum of a row of the
        // matrix and its offset), divided by the deviation of 0.225.
        // Enlarged: positions are off by a rounding of up to `width` pixels,
        // and a cubic of values that far apart rises by at most 1.5 times
        // that per pixel on each axis, times as much for the other axis'
        // overshoot.
        tolerance = 16 * 6 * U32 / 0.225f;
        if (params.crop.filter == CPSP_FILTER_ENLARGE)
          tolerance += 2 * 1.5f * 1.5f * 6 / 0.225f * MAX (width, height) *
              2 * U32;
        break;
      case LOAD_COARSE:
        // Where the mask comes within this of the threshold, either side of
        // it is right; positions in it are off as above.
        low.threshold += 4 * 40 * U32;
        high.threshold -= 4 * 40 * U32;
        tolerance = 2e-6f;
        if (params.crop.filter == CPSP_FILTER_ENLARGE)
          tolerance += 2 * 2 * MAX (width, height) * 2 * U32;
        break;
      case LOAD_MASKS:
        params.plane_width = pick (r, 1, 40);
        params.plane_height = pick (r, 1, 40);
        plane_size = (gsize) params.plane_width * params.plane_height;
        p1 = random_shares (r, plane_size);
        p4 = random_shares (r, plane_size);
        p1_low = g_new (float, plane_size);
        p1_high = g_new (float, plane_size);
        // Positions are off by 40 pixels' roundings, on two axes.
        tolerance = 4 * 2 * 40 * U32;
        for (gsize k = 0; k < plane_size; k++) {
          p1_low[k] = p1[k] - tolerance;
          p1_high[k] = p1[k] + tolerance;
        }
        // Probabilities are doubled.
        tolerance *= 2;
        params.p4 = p4;
        low = high = params;
        params.p1 = p1;
        low.p1 = p1_low;
        high.p1 = p1_high;
        break;
    }
    frame_text = frame_to_string (&frame);
    c.text = g_strdup_printf ("%s %s, iteration %u: %s; %s to %u x %u, crop "
        "%u x %u at %u, %u into slot %u of %u, %u x %u; planes %u x %u; "
        "ratio %.17g, threshold %.9g", names[load],
        cpsp_type_name (type), i, frame_text,
        params.crop.filter == CPSP_FILTER_AREA ? "area" : "enlarged",
        params.crop.width, params.crop.height, params.crop.crop_width,
        params.crop.crop_height, params.crop.x, params.crop.y, params.slot,
        c.batch, c.width, c.height, params.plane_width, params.plane_height,
        params.crop.ratio, params.threshold);
    ok = compare_load (&c, type, &params, &low, &high, tolerance);
    case_clear (&c);
    frame_clear (&frame);
  }
}

/* Results */

#define BLENDS 3

typedef struct
{
  guint slot;
  CpspOutput output;
  CpspBlend blend;
} Accumulation;

// Sum and weight after some accumulations, one after the other (g_free);
// NULL: failed.
static float *
run_accumulate (Rig * rig, const Case * c, CpspType type,
    const Accumulation * list, guint width, guint height, gboolean has_weight)
{
  const CpspBackend *backend = rig->backend;
  const gsize size = (gsize) width * height;
  CpspTensor tensors[3 * CASE_TENSORS + 1];
  CpspProgram program;
  CpspPlan *plan;
  CpspPlane *sum = NULL, *weight = NULL;
  gboolean ok = FALSE;
  GError *error = NULL;
  float *values = NULL;

  case_layout (c, type, rig->info.streams_transients, &program, tensors);
  plan = backend->plan_new (rig->device, &program, &error);
  if (!check_call (c->text, "plan_new", plan != NULL, &error))
    return NULL;
  sum = backend->plane_new (rig->device, width, height, &error);
  if (!check_call (c->text, "plane_new", sum != NULL, &error))
    goto out;
  weight = backend->plane_new (rig->device, width, height, &error);
  if (!check_call (c->text, "plane_new", weight != NULL, &error))
    goto out;
  // Twice: a clear forgets all that was accumulated.
  for (guint round = 0; round < 2; round++) {
    if (!case_write (rig, c, plan, &program))
      goto out;
    ok = check_call (c->text, "plane_clear", backend->plane_clear (sum,
            &error) && backend->plane_clear (weight, &error), &error);
    for (guint i = 0; ok && i < BLENDS; i++) {
      ok = check_call (c->text, "accumulate", backend->accumulate (plan,
              list[i].slot, list[i].output, &list[i].blend, sum,
              has_weight ? weight : NULL, &error), &error);
    }
  }
  if (ok && case_check_surroundings (rig, c, plan, &program, CPSP_NO_TENSOR)) {
    g_autofree float *part = plane_values (rig, sum, size, c->text);

    values = plane_values (rig, weight, size, c->text);
    values = g_renew (float, values, 2 * size);
    memcpy (values + size, part, size * sizeof (float));
  }

out:
  if (sum)
    backend->plane_free (sum);
  if (weight)
    backend->plane_free (weight);
  backend->plan_free (plan);
  return values;
}

static guint
random_ramp (GRand * r, guint n)
{
  return chance (r, 3) ? 0 : pick (r, 1, n);
}

static void
test_accumulate (gconstpointer user_data)
{
  const CpspType type = GPOINTER_TO_UINT (user_data);
  g_autoptr (GRand) r = test_rand ();
  gboolean ok = TRUE;

  if (!can_compare ())
    return;
  for (guint i = 0; ok && i < iterations; i++) {
    const guint width = pick (r, 1, 60), height = pick (r, 1, 60);
    const gboolean has_weight = !chance (r, 4);
    GString *text = g_string_new ("accumulate");
    Accumulation list[BLENDS];
    g_autofree float *want = NULL;
    g_autofree float *got = NULL;
    Case c;

    frame_case_init (&c, r, pick (r, 1, 3), 8 * pick (r, 1, 6),
        8 * pick (r, 1, 6));
    g_string_append_printf (text, ", iteration %u, onto %u x %u from %u x %u",
        i, width, height, c.width, c.height);
    for (guint k = 0; k < BLENDS; k++) {
      CpspBlend *b = &list[k].blend;

      list[k].slot = pick (r, 0, c.batch - 1);
      list[k].output = chance (r, 2) ? CPSP_OUTPUT_P1 : CPSP_OUTPUT_P4;
      b->width = pick (r, 1, MIN (width, c.width));
      b->height = pick (r, 1, MIN (height, c.height));
      b->x = pick (r, 0, width - b->width);
      b->y = pick (r, 0, height - b->height);
      b->trim_left = pick (r, 0, c.width - b->width);
      b->trim_top = pick (r, 0, c.height - b->height);
      b->ramp_left = random_ramp (r, b->width);
      b->ramp_top = random_ramp (r, b->height);
      b->ramp_right = random_ramp (r, b->width);
      b->ramp_bottom = random_ramp (r, b->height);
      g_string_append_printf (text, "; slot %u %s, from %u, %u, %u x %u to "
          "%u, %u, ramps %u %u %u %u", list[k].slot,
          list[k].output == CPSP_OUTPUT_P1 ? "p1" : "p4", b->trim_left,
          b->trim_top, b->width, b->height, b->x, b->y, b->ramp_left,
          b->ramp_top, b->ramp_right, b->ramp_bottom);
    }
    c.text = g_string_free (text, FALSE);
    case_apply (&c, type, FALSE);
    want = run_accumulate (&reference, &c, CPSP_TYPE_F32, list, width, height,
        has_weight);
    got = run_accumulate (&tested, &c, type, list, width, height, has_weight);
    // "Images" 0 and 1 are weight and sum. Sums of three values up to 1, a
    // few roundings each.
    ok = want && got && check_near (c.text, 2 * (gsize) width * height,
        height, width, 1, got, want, 3 * 8 * U32);
    case_clear (&c);
  }
}

static void
test_store (gconstpointer user_data)
{
  const CpspType type = GPOINTER_TO_UINT (user_data);
  g_autoptr (GRand) r = test_rand ();
  gboolean ok = TRUE;

  if (!can_compare ())
    return;
  for (guint i = 0; ok && i < iterations; i++) {
    const CpspBackend *backend = tested.backend;
    CpspTensor tensors[3 * CASE_TENSORS + 1];
    CpspProgram program;
    CpspPlan *plan;
    CpspPlane *plane = NULL;
    GError *error = NULL;
    guint width, height, slot, output;
    Case c;

    frame_case_init (&c, r, pick (r, 1, 3), 8 * pick (r, 1, 4),
        8 * pick (r, 1, 4));
    width = pick (r, 1, c.width);
    height = pick (r, 1, c.height);
    slot = pick (r, 0, c.batch - 1);
    output = pick (r, 0, 1);
    c.text = g_strdup_printf ("store, iteration %u: %u x %u of %u x %u, slot "
        "%u, output %u", i, width, height, c.width, c.height, slot, output);
    case_apply (&c, type, FALSE);
    case_layout (&c, type, tested.info.streams_transients, &program, tensors);
    plan = backend->plan_new (tested.device, &program, &error);
    ok = check_call (c.text, "plan_new", plan != NULL, &error);
    if (ok) {
      plane = backend->plane_new (tested.device, width, height, &error);
      ok = check_call (c.text, "plane_new", plane != NULL, &error) &&
          case_write (&tested, &c, plan, &program) &&
          check_call (c.text, "store", backend->store (plan, slot, output,
              plane, &error), &error);
    }
    if (ok) {
      const float *from = c.tensors[output == CPSP_OUTPUT_P1 ? c.p1 :
          c.p4].values + (gsize) slot * c.width * c.height;
      g_autofree float *want = g_new (float, (gsize) width * height);
      g_autofree float *got = plane_values (&tested, plane,
          (gsize) width * height, c.text);

      for (guint y = 0; y < height; y++) {
        memcpy (want + (gsize) y * width, from + (gsize) y * c.width,
            width * sizeof (float));
      }
      ok = check_near (c.text, (gsize) width * height, height, width, 1, got,
          want, 0);
    }
    if (plane)
      backend->plane_free (plane);
    if (plan)
      backend->plan_free (plan);
    case_clear (&c);
  }
}

typedef struct
{
  guint width, height;          // of the destination
  guint base_width, base_height;
  const float *sum, *weight;    // NULL: none
  const float *base;
  CpspResize resize;
  gboolean binarise;
} FinishParams;

static gboolean
finish_open (Rig * rig, const FinishParams * params, CpspPlane * planes[3],
    CpspResult * result, const char *text)
{
  const float *values[3] = { params->base, params->sum, params->weight };

  for (guint i = 0; i < 3; i++) {
    planes[i] = NULL;
    if (!values[i])
      continue;
    planes[i] = plane_with (rig, i ? params->width : params->base_width,
        i ? params->height : params->base_height, values[i], text);
    if (!planes[i])
      return FALSE;
  }
  *result = (CpspResult) {
    .base = planes[0],.sum = planes[1],.weight = planes[2],
    .resize = params->resize,.binarise = params->binarise,
  };
  return TRUE;
}

static void
finish_close (Rig * rig, CpspPlane * planes[3])
{
  for (guint i = 0; i < 3; i++) {
    if (planes[i])
      rig->backend->plane_free (planes[i]);
  }
}

// The result as a plane's values (g_free); NULL: failed.
static float *
run_finish_plane (Rig * rig, const FinishParams * params, const char *text)
{
  const CpspBackend *backend = rig->backend;
  CpspPlane *planes[3], *dst = NULL;
  float *values = NULL;
  CpspResult result;
  GError *error = NULL;

  if (finish_open (rig, params, planes, &result, text)) {
    dst = backend->plane_new (rig->device, params->width, params->height,
        &error);
    if (check_call (text, "plane_new", dst != NULL, &error) &&
        check_call (text, "finish_plane", backend->finish_plane (rig->device,
                &result, dst, &error), &error))
      values = plane_values (rig, dst, (gsize) params->width * params->height,
          text);
  }
  if (dst)
    backend->plane_free (dst);
  finish_close (rig, planes);
  return values;
}

// The result in a format, as integers or floats (g_free); NULL: failed. What
// lies between rows must stay.
static float *
run_finish_alpha (Rig * rig, const FinishParams * params,
    CpspAlphaFormat format, gsize padding, const char *text)
{
  const guint bytes = format == CPSP_ALPHA_U8 ? 1 :
      format == CPSP_ALPHA_U16 ? 2 : 4;
  const gsize row = (gsize) params->width * bytes;
  const gsize stride = row + padding * bytes;
  const gsize size = (params->height - 1) * stride + row;
  g_autofree guint8 *memory = g_malloc (size);
  const CpspAlphaView view = {
    .width = params->width,.height = params->height,.format = format,
    .data = memory,.stride_bytes = (gssize) stride,
  };
  float *values = NULL;
  CpspPlane *planes[3];
  CpspResult result;
  GError *error = NULL;

  memset (memory, 0xa5, size);
  if (!finish_open (rig, params, planes, &result, text) ||
      !check_call (text, "finish_alpha",
          rig->backend->finish_alpha (rig->device, &result, &view, &error) &&
          rig->backend->synchronise (rig->device, &error), &error))
    goto out;
  values = g_new (float, (gsize) params->width * params->height);
  for (guint y = 0; y < params->height; y++) {
    for (guint x = 0; x < params->width; x++) {
      const guint8 *at = memory + y * stride + x * bytes;
      float value = *at;
      guint16 wide;

      if (format == CPSP_ALPHA_U16) {
        memcpy (&wide, at, 2);
        value = wide;
      } else if (format == CPSP_ALPHA_F32) {
        memcpy (&value, at, 4);
      }
      values[(gsize) y * params->width + x] = value;
    }
    for (gsize i = row; y + 1 < params->height && i < stride; i++) {
      if (memory[y * stride + i] != 0xa5) {
        g_test_message ("%s\nwritten behind the end of row %u", text, y);
        g_test_fail ();
        g_clear_pointer (&values, g_free);
        goto out;
      }
    }
  }

out:
  finish_close (rig, planes);
  return values;
}

static void
test_finish (void)
{
  g_autoptr (GRand) r = test_rand ();
  gboolean ok = TRUE;

  if (!can_compare ())
    return;
  for (guint i = 0; ok && i < 2 * iterations; i++) {
    FinishParams params = {
      .width = pick (r, 1, 60),.height = pick (r, 1, 60),
      .resize = pick (r, 0, 2),.binarise = chance (r, 2),
    };
    const CpspAlphaFormat format = pick (r, 0, 2);
    const float steps = format == CPSP_ALPHA_U8 ? 255 :
        format == CPSP_ALPHA_U16 ? 65535 : 0;
    const gsize size = (gsize) params.width * params.height;
    g_autofree float *sum = random_shares (r, size);
    g_autofree float *weight = g_new (float, size);
    g_autofree float *base = NULL;
    g_autofree float *base_low = NULL;
    g_autofree float *base_high = NULL;
    g_autofree float *low = NULL;
    g_autofree float *high = NULL;
    g_autofree float *plane = NULL;
    g_autofree float *alpha = NULL;
    g_autofree char *text = NULL;
    FinishParams low_params, high_params;
    // Roundings of positions among up to 60 pixels, on two axes, and of the
    // formula.
    const float tolerance = (4 * 2 * 60 + 16) * U32;
    gsize base_size;

    params.base_width = chance (r, 3) ? params.width : pick (r, 1, 60);
    params.base_height = chance (r, 3) ? params.height : pick (r, 1, 60);
    base_size = (gsize) params.base_width * params.base_height;
    base = random_shares (r, base_size);
    base_low = g_new (float, base_size);
    base_high = g_new (float, base_size);
    for (gsize k = 0; k < base_size; k++) {
      base_low[k] = base[k] - tolerance;
      base_high[k] = base[k] + tolerance;
    }
    // Counts where binarised; the sum belongs to the weight.
    for (gsize k = 0; k < size; k++) {
      weight[k] = params.binarise ? pick (r, 0, 3) :
          chance (r, 3) ? 0 : 2 * (float) g_rand_double (r);
      sum[k] *= weight[k];
    }
    params.base = base;
    if (!chance (r, 4)) {
      params.sum = sum;
      params.weight = weight;
    }
    low_params = high_params = params;
    low_params.base = base_low;
    high_params.base = base_high;
    text = g_strdup_printf ("finish, iteration %u: base %u x %u -> %u x %u, "
        "%s,%s%s format %u", i, params.base_width, params.base_height,
        params.width, params.height,
        params.resize == CPSP_RESIZE_AREA ? "area" :
        params.resize == CPSP_RESIZE_CORNERS ? "corners" : "bilinear",
        params.binarise ? " binarised," : "", params.sum ? " over," : "",
        format);
    low = run_finish_plane (&reference, &low_params, text);
    high = run_finish_plane (&reference, &high_params, text);
    plane = run_finish_plane (&tested, &params, text);
    alpha = run_finish_alpha (&tested, &params, format, pick (r, 0, 5), text);
    ok = low && high && plane && alpha;
    for (gsize k = 0; ok && k < size; k++) {
      low[k] -= tolerance;
      high[k] += tolerance;
    }
    ok = ok && check_between (text, size, params.height, params.width, 1,
        plane, low, high);
    for (gsize k = 0; ok && k < size; k++) {
      if (steps > 0) {
        low[k] = floorf (MAX (low[k], 0) * steps + 0.5f);
        high[k] = floorf (MIN (high[k], 1) * steps + 0.5f);
      }
    }
    ok = ok && check_between (text, size, params.height, params.width, 1,
        alpha, low, high);
  }
}

/* By hand: numbers that need no reference */

// The result of the case's last operation must be WANT.
static void
check_hand (Rig * rig, Case * c, const char *text, const float *want,
    float tolerance)
{
  const gint dst = c->ops[c->n_ops - 1].dst;
  const CaseTensor *t = &c->tensors[dst];
  g_autofree float *got = NULL;

  c->text = g_strdup (text);
  got = case_run (rig, c, CPSP_TYPE_F32, dst);
  if (got) {
    check_near (text, case_tensor_size (c, dst), t->height, t->width,
        t->channels, got, want, tolerance);
  }
  case_clear (c);
}

#define FLOATS(...) ((const float[]) { __VA_ARGS__ })
// A copy on the heap, as cases own their values.
#define VALUES(...) g_memdup2 (FLOATS (__VA_ARGS__), \
    sizeof (FLOATS (__VA_ARGS__)))

static void
hand_case_init (Case * c)
{
  case_init (c, 1, INPUT_SIDE, INPUT_SIDE);
  c->input = case_add_tensor (c, INPUT_SIDE, INPUT_SIDE, CPSP_INPUT_CHANNELS,
      NULL);
  c->p1 = case_add_plane (c, INPUT_SIDE, INPUT_SIDE, NULL);
}

static void
hand_conv (Rig * rig)
{
  // An impulse returns the kernel mirrored, here spread by the dilation.
  float impulse[49] = { 0 }, spread[49] = { 0 };
  Case c;
  CpspOp *op;

  impulse[3 * 7 + 3] = 1;
  for (guint ky = 0; ky < 3; ky++) {
    for (guint kx = 0; kx < 3; kx++)
      spread[(5 - 2 * ky) * 7 + 5 - 2 * kx] = (float) (3 * ky + kx + 1);
  }
  hand_case_init (&c);
  c.convs[c.n_convs++] = (CpspConv) {
    .name = "conv",.c_in = 1,.c_out = 1,.kernel = 3,
    .weight = VALUES (1, 2, 3, 4, 5, 6, 7, 8, 9),
  };
  op = case_add_op (&c, CPSP_OP_CONV, case_add_tensor (&c, 7, 7, 1,
          g_memdup2 (impulse, sizeof (impulse))), case_add_tensor (&c, 7, 7,
          1, NULL));
  op->conv = c.convs;
  op->dilation = 2;
  check_hand (rig, &c, "dilated", spread, 0);

  // Taps 1, 10, 100 at 0 2 4, zero outside.
  hand_case_init (&c);
  c.convs[c.n_convs++] = (CpspConv) {
    .name = "conv",.c_in = 1,.c_out = 1,.kernel = 3,
    .weight = VALUES (7, 7, 7, 1, 10, 100, 7, 7, 7),
  };
  op = case_add_op (&c, CPSP_OP_CONV, case_add_tensor (&c, 1, 5, 1,
          VALUES (1, 2, 3, 4, 5)), case_add_tensor (&c, 1, 3, 1, NULL));
  op->conv = c.convs;
  op->stride = 2;
  check_hand (rig, &c, "strided", FLOATS (210, 432, 54), 0);

  // Two pixels of two channels; weights [[1, 2], [3, 4], [5, 6]].
  hand_case_init (&c);
  c.convs[c.n_convs++] = (CpspConv) {
    .name = "conv",.c_in = 2,.c_out = 3,.kernel = 1,
    .weight = VALUES (1, 2, 3, 4, 5, 6),.bias = VALUES (0.5f, 0, -100),
  };
  op = case_add_op (&c, CPSP_OP_CONV, case_add_tensor (&c, 1, 2, 2,
          VALUES (1, 10, -1, 2)), case_add_tensor (&c, 1, 2, 3,
          VALUES (0, 1, 36, -4, 0, 0)));
  op->conv = c.convs;
  op->accumulate = op->relu = TRUE;
  check_hand (rig, &c, "accumulated", FLOATS (21.5f, 44, 1, 0, 5, 0), 0);
}

static void
hand_pools (Rig * rig)
{
  Case c;

  hand_case_init (&c);
  c.affine = (CpspAffine) {
    .channels = 2,.scale = VALUES (1, -1),.shift = VALUES (-6, 5),
  };
  case_add_op (&c, CPSP_OP_MAX_POOL, case_add_tensor (&c, 3, 3, 2,
          VALUES (1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9)),
      case_add_tensor (&c, 2, 2, 2, NULL))->affine = &c.affine;
  check_hand (rig, &c, "max pool", FLOATS (0, 4, 0, 3, 2, 1, 3, 0), 0);

  // Of 7, three cells take 0-2, 2-4, 4-6.
  hand_case_init (&c);
  case_add_op (&c, CPSP_OP_GRID_POOL, case_add_tensor (&c, 1, 7, 1,
          VALUES (0, 1, 4, 9, 16, 25, 36)), case_add_tensor (&c, 1, 3, 1,
          NULL));
  check_hand (rig, &c, "grid pool", FLOATS (5 / 3.0f, 29 / 3.0f, 77 / 3.0f),
      1e-5f);

  // More cells than pixels: each pixel twice, the middle one three times.
  hand_case_init (&c);
  case_add_op (&c, CPSP_OP_GRID_POOL, case_add_tensor (&c, 2, 1, 1,
          VALUES (1, 3)), case_add_tensor (&c, 3, 1, 1, NULL));
  check_hand (rig, &c, "grid pool of few", FLOATS (1, 2, 3), 0);
}

static void
hand_resizes (Rig * rig)
{
  const float doubled[16] = {
    1, 1.25f, 1.75f, 2, 1.5f, 1.75f, 2.25f, 2.5f,
    2.5f, 2.75f, 3.25f, 3.5f, 3, 3.25f, 3.75f, 4,
  };
  CpspOp *op;
  Case c;

  hand_case_init (&c);
  case_add_op (&c, CPSP_OP_UPSAMPLE, case_add_tensor (&c, 2, 2, 1, VALUES (1,
              2, 3, 4)), case_add_tensor (&c, 4, 4, 1, NULL));
  check_hand (rig, &c, "upsample", doubled, 1e-6f);

  // Cells 1; 0 6; 0 0 3; 0 0 0 0 0 60, one row each of different height: of
  // five columns, sources at (i + 0.5) * n / 5 - 0.5.
  hand_case_init (&c);
  op = case_add_op (&c, CPSP_OP_PYRAMID, CPSP_NO_TENSOR,
      case_add_tensor (&c, 1, 5, 1, NULL));
  op->src[0] = case_add_tensor (&c, 1, 1, 1, VALUES (1));
  op->src[1] = case_add_tensor (&c, 1, 2, 1, VALUES (0, 6));
  op->src[2] = case_add_tensor (&c, 1, 3, 1, VALUES (0, 0, 3));
  op->src[3] = case_add_tensor (&c, 1, 6, 1, VALUES (0, 0, 0, 0, 0, 60));
  // 6: at -0.3, 0.1, 0.5, 0.9, 1.3; 3: -0.2, 0.4, 1, 1.6, 2.2;
  // 60: 0.1, 1.3, 2.5, 3.7, 4.9.
  check_hand (rig, &c, "pyramid", FLOATS (1, 1.6f, 4, 1 + 5.4f + 1.8f,
          1 + 6 + 3 + 54), 1e-4f);

  // 2 * 1 - 1, 1 * -2 + 3, 0.5 * 50 - 1; the skip's third channel is not
  // taken.
  hand_case_init (&c);
  c.affine = (CpspAffine) {
    .channels = 3,.scale = VALUES (2, 1, 0.5f),.shift = VALUES (-1, 3, -1),
  };
  op = case_add_op (&c, CPSP_OP_CONCAT, case_add_tensor (&c, 1, 2, 1,
          VALUES (1, 0)), case_add_tensor (&c, 1, 2, 3, NULL));
  op->skip = case_add_tensor (&c, 1, 2, 3, VALUES (-2, 50, 60, -4, 70, 80));
  op->skip_channels = 2;
  op->affine = &c.affine;
  check_hand (rig, &c, "concat", FLOATS (1, 1, 24, 0, 0, 34), 0);

  hand_case_init (&c);
  c.affine = (CpspAffine) {
    .channels = 1,.scale = VALUES (2),.shift = VALUES (-4),
  };
  op = case_add_op (&c, CPSP_OP_CONCAT, case_add_tensor (&c, 2, 2, 1,
          VALUES (1, 2, 3, 4)), case_add_tensor (&c, 4, 4, 1, NULL));
  op->affine = &c.affine;
  check_hand (rig, &c, "concat of a doubled source", FLOATS (0, 0, 0, 0,
          0, 0, 0.5f, 1, 1, 1.5f, 2.5f, 3, 2, 2.5f, 3.5f, 4), 1e-6f);
}

static void
hand_outputs (Rig * rig)
{
  const float ln3 = 1.0986123f;
  CpspOp *op;
  Case c;

  // Hidden: relu (1 + 2 * 10 + 0.5 * 4 - 20) = 3, relu (-1 - 5) = 0.
  hand_case_init (&c);
  c.head = (CpspHead) {
    .name = "head",.c_in = 3,.hidden = 2,
    .weight = VALUES (1, 2, 0.5f, -1, 0, 0),.bias = VALUES (-20, -5),
    .out_weight = VALUES (2, 7),.out_bias = 0.25f,
  };
  op = case_add_op (&c, CPSP_OP_HEAD, case_add_tensor (&c, 1, 1, 2,
          VALUES (1, 10)), case_add_plane (&c, 1, 1, NULL));
  op->skip = case_add_tensor (&c, 1, 1, 2, VALUES (4, 1000));
  op->skip_channels = 1;
  op->head = &c.head;
  check_hand (rig, &c, "head", FLOATS (6.25f), 1e-5f);

  hand_case_init (&c);
  op = case_add_op (&c, CPSP_OP_LOGIT, case_add_plane (&c, 1, 4, VALUES (0,
              ln3, -200, 200)), case_add_plane (&c, 1, 4, NULL));
  op->n_channels = 1;
  op->sigmoid = TRUE;
  check_hand (rig, &c, "sigmoid", FLOATS (0.5f, 0.75f, 0, 1), 1e-6f);

  // Doubled: the quarters of -ln3 / 2 .. ln3 / 2; tanh of those.
  hand_case_init (&c);
  op = case_add_op (&c, CPSP_OP_LOGIT, case_add_plane (&c, 1, 2,
          VALUES (-ln3 / 2, ln3 / 2)), case_add_tensor (&c, 2, 4, 6,
          g_new0 (float, 48)));
  op->factor = 2;
  op->first_channel = CPSP_INPUT_MASK1;
  op->n_channels = 2;
  {
    const float columns[4] = { -0.5f, -tanhf (ln3 / 4), tanhf (ln3 / 4), 0.5f };
    float want[48] = { 0 };

    for (guint i = 0; i < 8; i++)
      want[i * 6 + CPSP_INPUT_MASK1] = want[i * 6 + CPSP_INPUT_MASK2] =
          columns[i % 4];
    check_hand (rig, &c, "tanh", want, 1e-6f);
  }
}

// A grey frame of 8-bit samples, values 0 to 1, and a mask of its own.
static void
hand_frame (Frame * frame, guint width, const guint8 * grey, guint mask_width,
    const guint8 * mask)
{
  memset (frame, 0, sizeof (*frame));
  frame->image = (CpspImageView) {
    .width = width,.height = 1,.n_components = 1,
    .component = { {.data = grey,.stride_bytes = width,.step_bytes = 1,
    .depth = 8} },
    .matrix = { {1 / 255.0f}, {1 / 255.0f}, {1 / 255.0f} },
  };
  frame->mask = (CpspMaskView) {
    .width = mask_width,.height = 1,.component = {.data = mask,
    .stride_bytes = mask_width,.step_bytes = 1,.depth = 8},
    .scale = 1 / 255.0f,
  };
}

// Loads row 0 of an 8 x 8 input; its channel C must be WANT, n values, and
// PADDING behind and below.
static void
check_hand_load (Rig * rig, const LoadParams * params, const char *text,
    guint channel, const float *want, guint n, float padding, float tolerance)
{
  g_autoptr (GRand) r = g_rand_new_with_seed (1);
  g_autofree float *values = NULL;
  float all[64], got[64];
  Case c;

  frame_case_init (&c, r, 1, 8, 8);
  c.text = g_strdup (text);
  values = run_load (rig, &c, CPSP_TYPE_F32, params);
  if (values) {
    for (guint i = 0; i < 64; i++) {
      all[i] = i < n ? want[i] : padding;
      got[i] = values[i * CPSP_INPUT_CHANNELS + channel];
    }
    check_near (text, 64, 8, 8, 1, got, all, tolerance);
  }
  case_clear (&c);
}

static void
hand_frames (Rig * rig)
{
  const guint8 five[5] = { 0, 51, 102, 153, 204 };
  const guint8 two[2] = { 0, 255 };
  const guint8 luma[4] = { 0, 0, 0, 0 };
  const guint8 chroma[4] = { 0, 255, 100, 200 };
  const float siting[2][4] = { {0, 50, 100, 100}, {0, 25, 75, 100} };
  float want[8];
  Frame frame;
  LoadParams params = {.frame = &frame,.threshold = 0.45f };

  // Averages of 0-2 and 2-4 of the five, for each of R, G, B.
  hand_frame (&frame, 5, five, 5, five);
  params.crop = (CpspCrop) {
    .width = 2,.height = 1,.crop_width = 2,.crop_height = 1,
  };
  for (guint i = 0; i < 3; i++) {
    const float mean[3] = { 0.485f, 0.456f, 0.406f };
    const float deviation[3] = { 0.229f, 0.224f, 0.225f };

    want[0] = (0.2f - mean[i]) / deviation[i];
    want[1] = (0.6f - mean[i]) / deviation[i];
    check_hand_load (rig, &params, "area", CPSP_INPUT_RGB + i, want, 2, 0,
        1e-5f);
  }
  // The mask, -1 -1 -1 +1 +1, likewise; then its end as it is.
  params.load = LOAD_COARSE;
  check_hand_load (rig, &params, "mask's area", CPSP_INPUT_SEG,
      FLOATS (-1, 1 / 3.0f), 2, -1, 1e-6f);
  params.crop = (CpspCrop) {
    .width = 5,.height = 1,.x = 2,.crop_width = 3,.crop_height = 1,
  };
  check_hand_load (rig, &params, "mask's end", CPSP_INPUT_MASK2,
      FLOATS (-1, 1, 1), 3, -1, 0);
  // A mask of two over a frame of five: 0, 0.1, 0.5, 0.9, 1.
  hand_frame (&frame, 5, five, 2, two);
  check_hand_load (rig, &params, "stretched mask", CPSP_INPUT_MASK1,
      FLOATS (1, 1, 1), 3, -1, 0);
  params.threshold = 0.55f;
  check_hand_load (rig, &params, "stretched mask", CPSP_INPUT_MASK1,
      FLOATS (-1, 1, 1), 3, -1, 0);

  // 0, 1 doubled: bicubic at -0.25, 0.25, 0.75, 1.25 between repeated ends.
  hand_frame (&frame, 2, two, 2, two);
  params.crop = (CpspCrop) {
    .width = 4,.height = 2,.filter = CPSP_FILTER_ENLARGE,.ratio = 2,
    .crop_width = 4,.crop_height = 1,
  };
  check_hand_load (rig, &params, "mask enlarged", CPSP_INPUT_SEG,
      FLOATS (-1, -0.5f, 0.5f, 1), 4, -1, 1e-6f);
  params.load = LOAD_IMAGE;
  want[0] = -0.10546875f;
  want[1] = 0.2265625f;
  want[2] = 0.7734375f;
  want[3] = 1.10546875f;
  for (guint i = 0; i < 4; i++)
    want[i] = (want[i] - 0.485f) / 0.229f;
  check_hand_load (rig, &params, "enlarged", CPSP_INPUT_RGB, want, 4, 0,
      1e-5f);

  // Chroma 0, 100 and 255, 200 interleaved, under four pixels of luma:
  // co-sited with the first of two, and between them. Green = luma + cb,
  // blue = cr; both in units of 1 / 255.
  for (guint between = 0; between < 2; between++) {
    hand_frame (&frame, 4, luma, 2, two);
    frame.image.n_components = 3;
    for (guint i = 1; i < 3; i++) {
      frame.image.component[i] = (CpspComponent) {
        .data = chroma + i - 1,.stride_bytes = 4,.step_bytes = 2,.depth = 8,
      };
    }
    frame.image.chroma_shift_x = 1;
    frame.image.chroma_x = between ? 0.5f : 0;
    frame.image.matrix[1][1] = frame.image.matrix[2][2] = 1 / 255.0f;
    frame.image.matrix[2][0] = 0;
    params.crop = (CpspCrop) {
      .width = 4,.height = 1,.crop_width = 4,.crop_height = 1,
    };
    for (guint i = 0; i < 4; i++)
      want[i] = (siting[between][i] / 255 - 0.456f) / 0.224f;
    check_hand_load (rig, &params, "chroma", 1, want, 4, 0, 1e-5f);
    // From 255 down to 200.
    for (guint i = 0; i < 4; i++)
      want[i] = (1 - siting[between][i] * 0.55f / 255 - 0.406f) / 0.225f;
    check_hand_load (rig, &params, "chroma", 2, want, 4, 0, 1e-5f);
  }

  // Planes 0, 1 over four pixels: 0, 0.25, 0.75, 1.
  params = (LoadParams) {
    .load = LOAD_MASKS,.plane_width = 2,.plane_height = 1,
    .p1 = FLOATS (0, 1),.p4 = FLOATS (0.5f, 1),
    .crop = {.width = 4,.height = 1,.x = 1,.crop_width = 3,.crop_height = 1},
  };
  check_hand_load (rig, &params, "masks", CPSP_INPUT_SEG, FLOATS (-1, 1, 1),
      3, -1, 0);
  check_hand_load (rig, &params, "masks", CPSP_INPUT_MASK2,
      FLOATS (0.25f, 0.75f, 1), 3, -1, 1e-6f);
}

static void
hand_results (Rig * rig)
{
  // Four pixels: ramps of 2 and 3, then none at the ends of two rows.
  const CpspBlend blend = {
    .trim_left = 1,.x = 1,.width = 4,.height = 1,.ramp_left = 2,
    .ramp_right = 3,
  };
  const CpspBlend rows = {.x = 5,.width = 1,.height = 2,.ramp_top = 4 };
  const Accumulation list[BLENDS] = {
    {.blend = blend}, {.blend = rows}, {.blend = rows},
  };
  const float weights[12] = {
    0, 0.25f, 0.75f, 0.5f, 1 / 6.0f, 2 * 0.125f,
    0, 0, 0, 0, 0, 2 * 0.375f,
  };
  // Alphas of no number, of nothing, everything between and beyond.
  const float odd[6] = { NAN, -1, 0.4999f / 255, 0.5001f / 255, 1, 2 };
  FinishParams params = {
    .width = 4,.height = 1,.base_width = 2,.base_height = 1,
    .base = FLOATS (0.4f, 0.8f),.resize = CPSP_RESIZE_BILINEAR,
  };
  g_autoptr (GRand) r = g_rand_new_with_seed (1);
  g_autofree float *got = NULL;
  float want[24];
  Case c;

  frame_case_init (&c, r, 1, 8, 8);
  c.text = g_strdup ("accumulate");
  for (guint i = 0; i < 64; i++)
    c.tensors[c.p1].values[i] = (float) i;
  got = run_accumulate (rig, &c, CPSP_TYPE_F32, list, 6, 2, TRUE);
  if (got) {
    const float values[12] = { 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 8 };

    for (guint i = 0; i < 12; i++) {
      want[i] = weights[i];
      want[12 + i] = weights[i] * values[i];
    }
    check_near ("accumulate: weight, sum", 24, 2, 6, 1, got, want, 1e-6f);
  }
  case_clear (&c);

#define CHECK_FINISH(text, tolerance, ...) G_STMT_START { \
    g_autofree float *plane = run_finish_plane (rig, &params, text); \
    if (plane) \
      check_near (text, params.width, 1, params.width, 1, plane, \
          FLOATS (__VA_ARGS__), tolerance); \
  } G_STMT_END

  CHECK_FINISH ("base", 1e-6f, 0.4f, 0.5f, 0.7f, 0.8f);
  params.resize = CPSP_RESIZE_CORNERS;
  CHECK_FINISH ("base, corners", 1e-6f, 0.4f, 1.6f / 3, 2 / 3.0f, 0.8f);
  params.binarise = TRUE;
  CHECK_FINISH ("base, binarised", 0, 0, 1, 1, 1);
  // Counts: nothing, one, two, nothing.
  params.sum = FLOATS (0, 0.25f, 1, 0);
  params.weight = FLOATS (0, 1, 2, 0);
  CHECK_FINISH ("over it", 1e-6f, 0, 0.25f, 0.5f, 1);
  // (0.3 + 0.5 * base) / 1, and more than one is a mean.
  params.binarise = FALSE;
  params.sum = FLOATS (0.3f, 0, 1, 0.9f);
  params.weight = FLOATS (0.5f, 0, 2, 1);
  CHECK_FINISH ("blended", 1e-6f, 0.5f, 1.6f / 3, 0.5f, 0.9f);
  params = (FinishParams) {
    .width = 2,.height = 1,.base_width = 5,.base_height = 1,
    .base = FLOATS (0, 0.1f, 0.2f, 0.3f, 0.4f),.resize = CPSP_RESIZE_AREA,
  };
  CHECK_FINISH ("base, area", 1e-6f, 0.1f, 0.3f);
#undef CHECK_FINISH

  params = (FinishParams) {
    .width = 6,.height = 1,.base_width = 6,.base_height = 1,.base = odd,
  };
  g_free (g_steal_pointer (&got));
  got = run_finish_alpha (rig, &params, CPSP_ALPHA_U8, 0, "8 bits");
  if (got)
    check_near ("8 bits", 6, 1, 6, 1, got, FLOATS (0, 0, 0, 1, 255, 255), 0);
  g_free (g_steal_pointer (&got));
  got = run_finish_alpha (rig, &params, CPSP_ALPHA_U16, 0, "16 bits");
  if (got)
    check_near ("16 bits", 6, 1, 6, 1, got, FLOATS (0, 0, 128, 129, 65535,
            65535), 0);
}

typedef struct
{
  const char *name;
  void (*run) (Rig * rig);
} HandTest;

static const HandTest hand_tests[] = {
  {"conv", hand_conv},
  {"pools", hand_pools},
  {"resizes", hand_resizes},
  {"outputs", hand_outputs},
  {"frames", hand_frames},
  {"results", hand_results},
};

static void
test_hand_reference (gconstpointer user_data)
{
  const HandTest *test = user_data;

  test->run (&reference);
}

static void
test_hand_tested (gconstpointer user_data)
{
  const HandTest *test = user_data;

  if (can_compare ())
    test->run (&tested);
}

/* The table's other entries */

// Types and layouts that a backend cannot handle are an error, not a crash.
static void
test_refusal (void)
{
  CpspTensor tensors[3 * CASE_TENSORS + 1];
  CpspProgram program;
  g_autoptr (GError) error = NULL;
  CpspPlan *plan;
  Case c;

  hand_case_init (&c);
  case_layout (&c, CPSP_TYPE_BF16, FALSE, &program, tensors);
  plan = reference.backend->plan_new (reference.device, &program, &error);
  g_assert_null (plan);
  g_assert_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE);
  case_clear (&c);
}

// A program too large for any machine is an error too, and the device can be
// used after it. Not under a sanitizer, which ends the program instead.
static void
test_no_memory (gconstpointer user_data)
{
#if defined (__SANITIZE_ADDRESS__) || defined (__SANITIZE_THREAD__)
  g_test_skip ("sanitizers do not let an allocation fail");
#else
  Rig *rig = (Rig *) user_data;
  const CpspBackend *backend = rig->backend;
  CpspTensor tensors[3 * CASE_TENSORS + 1];
  CpspProgram program;
  GError *error = NULL;
  CpspPlan *plan;
  Case c;

  if (rig == &tested && !can_compare ())
    return;
  hand_case_init (&c);
  case_layout (&c, CPSP_TYPE_F32, FALSE, &program, tensors);
  program.arena_size = (G_MAXSIZE >> 4) & ~(gsize) 63;
  plan = backend->plan_new (rig->device, &program, &error);
  g_assert_null (plan);
  g_assert_error (error, CPSP_ERROR, CPSP_ERROR_NO_MEMORY);
  g_clear_error (&error);
  case_layout (&c, CPSP_TYPE_F32, FALSE, &program, tensors);
  plan = backend->plan_new (rig->device, &program, &error);
  if (check_call ("a plan after that", "plan_new", plan != NULL, &error))
    backend->plan_free (plan);
  case_clear (&c);
#endif
}

// Plans share a device: one may come and go while another is in use, and
// memory is given back.
static void
test_plans (gconstpointer user_data)
{
  Rig *rig = (Rig *) user_data;
  const CpspBackend *backend = rig->backend;
  g_autoptr (GRand) r = test_rand ();
  CpspTensor tensors[2][3 * CASE_TENSORS + 1];
  CpspProgram programs[2];
  CpspPlan *plans[2];
  CpspPlane *plane;
  CpspDeviceInfo before, during, after;
  GError *error = NULL;
  Case cases[2];

  if (rig == &tested && !can_compare ())
    return;
  for (guint i = 0; i < 2; i++) {
    op_case_init (&cases[i], r);
    make_conv (&cases[i], r);
    case_layout (&cases[i], CPSP_TYPE_F32, rig->info.streams_transients,
        &programs[i], tensors[i]);
  }
  plans[0] = backend->plan_new (rig->device, &programs[0], &error);
  check_call (cases[0].text, "plan_new", plans[0] != NULL, &error);
  // Two plans with the same weights.
  plans[1] = backend->plan_new (rig->device, &programs[0], &error);
  check_call (cases[0].text, "plan_new", plans[1] != NULL, &error);
  backend->plan_free (plans[0]);
  plans[0] = backend->plan_new (rig->device, &programs[1], &error);
  check_call (cases[1].text, "plan_new", plans[0] != NULL, &error);
  for (guint i = 0; i < 2; i++) {
    const Case *c = &cases[i];
    CpspPlan *plan = plans[1 - i];
    const gint dst = c->ops[0].dst;
    const CaseTensor *t = &c->tensors[dst];
    g_autofree float *want = case_run (rig, c, CPSP_TYPE_F32, dst);
    g_autofree float *got = NULL;

    if (want && case_write (rig, c, plan, &programs[i]) &&
        check_call (c->text, "plan_run", backend->plan_run (plan, 0, 1,
                &error), &error)) {
      got = case_read (rig, plan, &programs[i], (guint) dst, c->text);
      check_near (c->text, case_tensor_size (c, dst), t->height, t->width,
          t->channels, got, want, 0);
    }
  }
  backend->plan_free (plans[0]);
  backend->plan_free (plans[1]);
  for (guint i = 0; i < 2; i++)
    case_clear (&cases[i]);

  backend->describe (rig->device, &before);
  plane = backend->plane_new (rig->device, 40, 30, &error);
  check_call ("plane", "plane_new", plane != NULL, &error);
  backend->describe (rig->device, &during);
  backend->plane_free (plane);
  backend->describe (rig->device, &after);
  g_assert_cmpuint (during.memory, >=, before.memory + 40 * 30 * 4);
  g_assert_cmpuint (after.memory, ==, before.memory);
}

/* The program */

static gboolean
rig_open (Rig * rig, const CpspBackend * backend, GError ** error)
{
  const CpspDeviceParams params = {.threads = 2 };

  rig->backend = backend;
  rig->device = backend->open (&params, error);
  if (!rig->device)
    return FALSE;
  backend->describe (rig->device, &rig->info);
  return TRUE;
}

// From `--seed N`, taken out of the arguments (GLib's own takes another
// form), or the environment, or the clock.
static guint32
take_seed (int *argc, char **argv)
{
  const char *text = g_getenv ("CPSP_TEST_SEED");
  int kept = 1;

  for (int i = 1; i < *argc; i++) {
    if (strcmp (argv[i], "--seed") == 0 && i + 1 < *argc &&
        g_ascii_isdigit (argv[i + 1][0]))
      text = argv[++i];
    else if (g_str_has_prefix (argv[i], "--seed=") &&
        g_ascii_isdigit (argv[i][7]))
      text = argv[i] + 7;
    else
      argv[kept++] = argv[i];
  }
  argv[kept] = NULL;
  *argc = kept;
  return text ? (guint32) g_ascii_strtoull (text, NULL, 10) :
      g_random_int ();
}

static void
add_hand_tests (const char *name, GTestDataFunc run)
{
  for (guint i = 0; i < G_N_ELEMENTS (hand_tests); i++) {
    g_autofree char *path = g_strdup_printf ("/by-hand/%s/%s", name,
        hand_tests[i].name);

    g_test_add_data_func (path, &hand_tests[i], run);
  }
}

int
main (int argc, char **argv)
{
  const CpspType types[] = { CPSP_TYPE_F32, CPSP_TYPE_F16, CPSP_TYPE_BF16 };
  const char *const loads[] = { "image", "coarse", "masks" };
  const CpspBackend *backend = &CPSP_TEST_BACKEND;
  static OpTestData op_data[G_N_ELEMENTS (op_tests) *
      G_N_ELEMENTS (types)];
  g_autoptr (GError) error = NULL;
  guint n = 0;
  int status;

  seed = take_seed (&argc, argv);
  if (g_getenv ("CPSP_TEST_ITERATIONS"))
    iterations = (guint) atoi (g_getenv ("CPSP_TEST_ITERATIONS"));
  g_test_init (&argc, &argv, NULL);
  g_test_message ("seed %u: repeat with --seed %u", seed, seed);
  if (!rig_open (&reference, &cpsp_backend_reference, &error))
    g_error ("%s", error->message);
  // Without it, the tests of the reference run still.
  if (!rig_open (&tested, backend, &error)) {
    g_test_message ("%s: %s", backend->name, error->message);
    g_clear_error (&error);
  }

  add_hand_tests ("oracle", test_hand_reference);
  add_hand_tests (backend->name, test_hand_tested);
  for (guint i = 0; i < G_N_ELEMENTS (types); i++) {
    const char *type = cpsp_type_name (types[i]);

    if (tested.device && !(tested.info.types & (1 << types[i]))) {
      g_autofree char *path = g_strdup_printf ("/types/%s", type);

      g_test_add_data_func (path, GUINT_TO_POINTER (types[i]),
          test_absent_type);
      continue;
    }
    for (guint k = 0; k < G_N_ELEMENTS (op_tests); k++) {
      g_autofree char *path = g_strdup_printf ("/ops/%s/%s", op_tests[k].name,
          type);

      op_data[n] = (OpTestData) { &op_tests[k], types[i] };
      g_test_add_data_func (path, &op_data[n++], test_op);
    }
    for (guint k = 0; k < 3; k++) {
      g_autofree char *path = g_strdup_printf ("/load/%s/%s", loads[k], type);

      g_test_add_data_func (path, GUINT_TO_POINTER (4 * types[i] + k),
          test_load);
    }
    {
      g_autofree char *store = g_strdup_printf ("/results/store/%s", type);
      g_autofree char *sum = g_strdup_printf ("/results/accumulate/%s", type);

      g_test_add_data_func (store, GUINT_TO_POINTER (types[i]), test_store);
      g_test_add_data_func (sum, GUINT_TO_POINTER (types[i]),
          test_accumulate);
    }
  }
  g_test_add_func ("/results/finish", test_finish);
  g_test_add_func ("/table/refusal", test_refusal);
  g_test_add_data_func ("/table/no-memory/oracle", &reference,
      test_no_memory);
  g_test_add_data_func ("/table/no-memory/tested", &tested, test_no_memory);
  g_test_add_data_func ("/table/plans/oracle", &reference, test_plans);
  g_test_add_data_func ("/table/plans/tested", &tested, test_plans);

  status = g_test_run ();
  if (tested.device)
    backend->close (tested.device);
  reference.backend->close (reference.device);
  return status;
}
