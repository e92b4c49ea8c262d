/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "selftest.h"

#include "error.h"

#include <math.h>

#define BATCH 2
#define HEIGHT 32
#define WIDTH 40
#define MAX_TENSORS 32
#define MAX_OPS 32
#define FRAME_HEIGHT 50
#define FRAME_WIDTH 62

// The first words of what the cache has; counted up when the test changes.
#define MAGIC "cascadepsp self-test 2"

// A program with every kind of operation, and its weights.
typedef struct
{
  CpspProgram program;
  CpspTensor tensors[MAX_TENSORS];
  CpspOp ops[MAX_OPS];
  GRand *rand;
  GPtrArray *memory;            // everything that the operations point to
} Test;

// One of the two that are compared.
typedef struct
{
  const CpspBackend *backend;
  CpspDevice *device;
  Test test;
  CpspPlan *plan;
  CpspPlane *p1, *p4, *sum, *weight;
  guint8 alpha[FRAME_HEIGHT][FRAME_WIDTH];
} Side;

static float *
random_floats (Test * test, gsize n, float low, float high)
{
  float *values = g_new (float, n);

  for (gsize i = 0; i < n; i++)
    values[i] = g_rand_double_range (test->rand, low, high);
  g_ptr_array_add (test->memory, values);
  return values;
}

static gint
add_tensor (Test * test, guint height, guint width, guint channels)
{
  CpspProgram *program = &test->program;
  gboolean plane = channels == 1;
  CpspTensor *t = &test->tensors[program->n_tensors];

  *t = (CpspTensor) {
    .height = height,.width = width,.channels = channels,
    .pitch = plane ? 1 : (channels + CPSP_CHANNEL_ALIGN - 1) /
        CPSP_CHANNEL_ALIGN * CPSP_CHANNEL_ALIGN,
    .type = plane ? CPSP_TYPE_F32 : program->params.type,
    .last_op = MAX_OPS,.offset = program->arena_size,
  };
  t->size = (gsize) BATCH * height * width * t->pitch *
      cpsp_type_size (t->type);
  program->arena_size += (t->size + 63) / 64 * 64;
  return program->n_tensors++;
}

static CpspOp *
add_op (Test * test, CpspOpKind kind, gint src, gint dst)
{
  CpspOp *op = &test->ops[test->program.n_ops++];

  *op = (CpspOp) {
    .kind = kind,.src = { src, CPSP_NO_TENSOR, CPSP_NO_TENSOR,
    CPSP_NO_TENSOR},.skip = CPSP_NO_TENSOR,.dst = dst,
    .stride = 1,.dilation = 1,.factor = 1,
  };
  return op;
}

static CpspOp *
add_conv_into (Test * test, gint src, gint dst, guint kernel, gboolean bias)
{
  const guint c_in = test->tensors[src].channels;
  const guint c_out = test->tensors[dst].channels;
  const gsize n = (gsize) c_in * kernel * kernel;
  const float range = 2 / sqrtf (n);
  CpspConv *conv = g_new (CpspConv, 1);
  CpspOp *op = add_op (test, CPSP_OP_CONV, src, dst);

  g_ptr_array_add (test->memory, conv);
  *conv = (CpspConv) {
    .name = "self-test",.c_in = c_in,.c_out = c_out,.kernel = kernel,
    .weight = random_floats (test, n * c_out, -range, range),
    .bias = bias ? random_floats (test, c_out, -1, 1) : NULL,
  };
  op->conv = conv;
  return op;
}

static gint
add_conv (Test * test, gint src, guint c_out, guint kernel, guint stride,
    guint dilation, gboolean relu)
{
  const CpspTensor *t = &test->tensors[src];
  const gint dst = add_tensor (test, (t->height - 1) / stride + 1,
      (t->width - 1) / stride + 1, c_out);
  CpspOp *op = add_conv_into (test, src, dst, kernel, relu);

  op->stride = stride;
  op->dilation = dilation;
  op->relu = relu;
  return dst;
}

static const CpspAffine *
add_affine (Test * test, guint channels)
{
  CpspAffine *affine = g_new (CpspAffine, 1);

  g_ptr_array_add (test->memory, affine);
  *affine = (CpspAffine) {
    .channels = channels,.scale = random_floats (test, channels, -2, 2),
    .shift = random_floats (test, channels, -1, 1),
  };
  return affine;
}

static gint
add_concat (Test * test, gint src, gint skip, guint skip_channels,
    guint factor)
{
  const CpspTensor *t = &test->tensors[src];
  const guint channels = t->channels + skip_channels;
  const gint dst = add_tensor (test, factor * t->height, factor * t->width,
      channels);
  CpspOp *op = add_op (test, CPSP_OP_CONCAT, src, dst);

  op->skip = skip;
  op->skip_channels = skip_channels;
  op->affine = add_affine (test, channels);
  return dst;
}

static gint
add_head (Test * test, gint src, gint skip, guint skip_channels, guint hidden)
{
  const CpspTensor *t = &test->tensors[src];
  const guint c_in = t->channels + skip_channels;
  CpspHead *head = g_new (CpspHead, 1);
  const gint dst = add_tensor (test, t->height, t->width, 1);
  CpspOp *op = add_op (test, CPSP_OP_HEAD, src, dst);

  g_ptr_array_add (test->memory, head);
  *head = (CpspHead) {
    .name = "self-test",.c_in = c_in,.hidden = hidden,
    .weight = random_floats (test, (gsize) c_in * hidden, -0.25f, 0.25f),
    .bias = random_floats (test, hidden, -1, 1),
    .out_weight = random_floats (test, hidden, -0.5f, 0.5f),
    .out_bias = 0.25f,
  };
  op->head = head;
  op->skip = skip;
  op->skip_channels = skip_channels;
  return dst;
}

static void
add_logit (Test * test, gint logit, gint dst, guint factor, gboolean sigmoid,
    guint first_channel, guint n_channels)
{
  CpspOp *op = add_op (test, CPSP_OP_LOGIT, logit, dst);

  op->factor = factor;
  op->sigmoid = sigmoid;
  op->first_channel = first_channel;
  op->n_channels = n_channels;
}

static gint
add_pyramid (Test * test, gint src, guint channels)
{
  static const guint grids[CPSP_N_GRIDS] = { 1, 2, 3, 6 };
  const CpspTensor *t = &test->tensors[src];
  gint dst, cells[CPSP_N_GRIDS];
  CpspOp *op;

  for (guint i = 0; i < CPSP_N_GRIDS; i++) {
    gint pooled = add_tensor (test, grids[i], grids[i], t->channels);

    add_op (test, CPSP_OP_GRID_POOL, src, pooled);
    cells[i] = add_conv (test, pooled, channels, 1, 1, 1, FALSE);
  }
  dst = add_tensor (test, t->height, t->width, channels);
  op = add_op (test, CPSP_OP_PYRAMID, cells[0], dst);
  memcpy (op->src, cells, sizeof cells);
  return dst;
}

// A network in small: as wide as real ones are in places, so that the
// libraries choose as they would for those.
static void
test_init (Test * test, CpspType type)
{
  CpspProgram *program = &test->program;
  gint stem, x, y, logit;
  CpspOp *op;

  *test = (Test) { 0 };
  // Both sides draw the same numbers.
  test->rand = g_rand_new_with_seed (1);
  test->memory = g_ptr_array_new_with_free_func (g_free);
  *program = (CpspProgram) {
    .params = {.height = HEIGHT,.width = WIDTH,.batch = BATCH,.type = type,
    .keep_all = TRUE},
    .ops = test->ops,.tensors = test->tensors,
  };
  program->input = add_tensor (test, HEIGHT, WIDTH, CPSP_INPUT_CHANNELS);
  program->p1 = add_tensor (test, HEIGHT, WIDTH, 1);
  program->p4 = add_tensor (test, HEIGHT, WIDTH, 1);

  stem = add_conv (test, program->input, 32, 7, 2, 1, FALSE);
  x = add_tensor (test, HEIGHT / 4, WIDTH / 4, 32);
  add_op (test, CPSP_OP_MAX_POOL, stem, x)->affine = add_affine (test, 32);
  y = add_conv (test, x, 64, 1, 1, 1, TRUE);
  y = add_conv (test, y, 64, 3, 1, 2, TRUE);
  op = add_conv_into (test, y, x, 1, TRUE);
  op->accumulate = op->relu = TRUE;
  y = add_conv (test, x, 128, 3, 2, 1, TRUE);
  x = add_pyramid (test, y, 64);
  op = add_conv_into (test, y, x, 1, TRUE);
  op->accumulate = op->relu = TRUE;
  logit = add_head (test, x, CPSP_NO_TENSOR, 0, 32);
  add_logit (test, logit, program->input, 8, FALSE, CPSP_INPUT_MASK1, 2);
  add_logit (test, logit, program->p4, 8, TRUE, 0, 1);

  y = add_conv (test, x, 64, 1, 1, 1, FALSE);
  x = add_tensor (test, HEIGHT / 4, WIDTH / 4, 64);
  add_op (test, CPSP_OP_UPSAMPLE, y, x);
  y = add_concat (test, x, CPSP_NO_TENSOR, 0, 2);
  op = add_conv_into (test, y, add_tensor (test, HEIGHT / 2, WIDTH / 2, 32),
      3, TRUE);
  y = add_concat (test, op->dst, program->input, 3, 2);
  y = add_conv (test, y, 32, 3, 1, 1, TRUE);
  logit = add_head (test, y, program->input, 3, 40);
  add_logit (test, logit, program->p1, 1, TRUE, 0, 1);
}

static void
test_clear (Test * test)
{
  if (test->rand)
    g_rand_free (test->rand);
  if (test->memory)
    g_ptr_array_unref (test->memory);
}

// Comparing

static gsize
count_values (const Test * test, gint tensor)
{
  const CpspTensor *t = &test->tensors[tensor];

  return (gsize) BATCH * t->height * t->width * t->channels;
}

static float *
read_tensor (const Side * side, gint tensor, GError ** error)
{
  float *values = g_new (float, count_values (&side->test, tensor));

  if (side->backend->tensor_read (side->plan, tensor, values, error))
    return values;
  g_free (values);
  return NULL;
}

// Values may differ by rounding: a small share of the largest of all. What is
// wrong in kind differs by much of it.
static gboolean
compare (const float *got, const float *want, gsize n, CpspType type,
    const char *what, GError ** error)
{
  const float share = type == CPSP_TYPE_F32 ? 1e-4f : 1.0f / 128;
  float largest = 0, worst = 0;

  for (gsize i = 0; i < n; i++) {
    const float off = fabsf (got[i] - want[i]);

    largest = MAX (largest, fabsf (want[i]));
    // NaN is worst, and stays.
    if (!(off <= worst) && !isnan (worst))
      worst = off;
  }
  if (worst <= share * largest)
    return TRUE;
  g_set_error (error, CPSP_ERROR, CPSP_ERROR_SELF_TEST,
      "%s in %s is off by %g, of values up to %g", what,
      cpsp_type_name (type), worst, largest);
  return FALSE;
}

static gboolean
compare_tensor (const Side * tested, const Side * reference, gint tensor,
    const char *what, GError ** error)
{
  g_autofree float *want = read_tensor (reference, tensor, error);
  g_autofree float *got = want ? read_tensor (tested, tensor, error) : NULL;

  return got && compare (got, want, count_values (&tested->test, tensor),
      tested->test.program.params.type, what, error);
}

// Gives TESTED the values that the reference has for TENSOR.
static gboolean
copy_tensor (const Side * tested, const Side * reference, gint tensor,
    GError ** error)
{
  g_autofree float *values = NULL;

  if (tensor == CPSP_NO_TENSOR)
    return TRUE;
  values = read_tensor (reference, tensor, error);
  return values && tested->backend->tensor_write (tested->plan, tensor,
      values, error);
}

// One operation at a time, each on the reference's values: errors do not add
// up.
static gboolean
compare_ops (const Side * tested, const Side * reference, GError ** error)
{
  const CpspProgram *program = &tested->test.program;

  for (guint i = 0; i < program->n_ops; i++) {
    const CpspOp *op = &program->ops[i];
    g_autofree char *text = cpsp_program_op_to_string (program, i);

    for (guint k = 0; k < CPSP_N_GRIDS; k++)
      if (!copy_tensor (tested, reference, op->src[k], error))
        return FALSE;
    if (!copy_tensor (tested, reference, op->skip, error) ||
        !copy_tensor (tested, reference, op->dst, error) ||
        !tested->backend->plan_run (tested->plan, i, 1, error) ||
        !reference->backend->plan_run (reference->plan, i, 1, error) ||
        !compare_tensor (tested, reference, op->dst, text, error))
      return FALSE;
  }
  return TRUE;
}

// What P1 becomes if the program runs on INPUT, its first N_FIRST operations
// by themselves (g_free).
static float *
run_program (const Side * side, const float *input, guint n_first,
    GError ** error)
{
  const CpspProgram *program = &side->test.program;
  const CpspBackend *b = side->backend;

  if (!b->tensor_write (side->plan, program->input, input, error) ||
      (n_first > 0 && !b->plan_run (side->plan, 0, n_first, error)) ||
      !b->plan_run (side->plan, n_first, program->n_ops - n_first, error))
    return NULL;
  return read_tensor (side, program->p1, error);
}

// A device may record a program that runs as a whole, and replay it from then
// on. A replay after runs on another input must find what a run in parts does.
static gboolean
compare_replay (Side * tested, GError ** error)
{
  const CpspProgram *program = &tested->test.program;
  const gsize n_input = count_values (&tested->test, program->input);
  const float *input = random_floats (&tested->test, n_input, -2, 2);
  const float *other = random_floats (&tested->test, n_input, -2, 2);
  g_autofree float *want = run_program (tested, input, 1, error);
  g_autofree float *once = want ? run_program (tested, other, 0, error) : NULL;
  g_autofree float *twice = once ? run_program (tested, other, 0, error) : NULL;
  g_autofree float *got = twice ? run_program (tested, input, 0, error) : NULL;

  // Both are computed alike: even of fp16, little may differ.
  return got && compare (got, want, count_values (&tested->test, program->p1),
      CPSP_TYPE_F32, "a program that is run again", error);
}

// The frame: luma and interleaved chroma of half the size, a mask of 0 and
// 255, so that no pixel is near the threshold.
typedef struct
{
  guint8 luma[FRAME_HEIGHT][FRAME_WIDTH];
  guint8 chroma[FRAME_HEIGHT / 2][FRAME_WIDTH];
  guint8 mask[FRAME_HEIGHT][FRAME_WIDTH];
  CpspImageView image_view;
  CpspMaskView mask_view;
} Frame;

static void
frame_init (Frame * frame)
{
  GRand *r = g_rand_new_with_seed (2);

  for (guint y = 0; y < FRAME_HEIGHT; y++)
    for (guint x = 0; x < FRAME_WIDTH; x++) {
      frame->luma[y][x] = g_rand_int_range (r, 16, 236);
      frame->chroma[y / 2][x] = g_rand_int_range (r, 16, 241);
      frame->mask[y][x] = (x / 9 + y / 7) % 2 ? 255 : 0;
    }
  g_rand_free (r);
  frame->image_view = (CpspImageView) {
    .width = FRAME_WIDTH,.height = FRAME_HEIGHT,.n_components = 3,
    .component = {
      {frame->luma[0], FRAME_WIDTH, 1, FALSE, 0, 8},
      {frame->chroma[0], FRAME_WIDTH, 2, FALSE, 0, 8},
      {frame->chroma[0] + 1, FRAME_WIDTH, 2, FALSE, 0, 8},
    },
    .chroma_shift_x = 1,.chroma_shift_y = 1,.chroma_y = 0.5f,
    .matrix = {
      {0.0046f, 0, 0.007f}, {0.0046f, -0.0008f, -0.002f}, {0.0046f, 0.008f}
    },
    .offset = {-0.9f, 0.3f, -1},
  };
  frame->mask_view = (CpspMaskView) {
    .width = FRAME_WIDTH,.height = FRAME_HEIGHT,
    .component = {frame->mask[0], FRAME_WIDTH, 1, FALSE, 0, 8},
    .scale = 1 / 255.0f,
  };
}

// The frame and the outputs through all of the table's entries.
static gboolean
run_frame (Side * side, const Frame * frame, GError ** error)
{
  const CpspBackend *b = side->backend;
  const CpspCrop small = {
    .width = WIDTH - 5,.height = HEIGHT - 3,
    .crop_width = WIDTH - 5,.crop_height = HEIGHT - 3,
  };
  const CpspCrop large = {
    .width = 93,.height = 75,.filter = CPSP_FILTER_ENLARGE,.ratio = 1.5,
    .x = 50,.y = 40,.crop_width = WIDTH,.crop_height = HEIGHT,
  };
  const CpspCrop same = {
    .width = WIDTH,.height = HEIGHT,
    .crop_width = WIDTH,.crop_height = HEIGHT,
  };
  const CpspBlend blend = {
    .trim_left = 2,.trim_top = 1,.x = 20,.y = 15,
    .width = WIDTH - 4,.height = HEIGHT - 3,.ramp_left = 9,.ramp_bottom = 7,
  };
  const CpspResult result = {
    .sum = side->sum,.weight = side->weight,.base = side->p1,
  };
  const CpspAlphaView alpha = {
    FRAME_WIDTH, FRAME_HEIGHT, CPSP_ALPHA_U8, side->alpha[0], FRAME_WIDTH
  };

  return b->set_frame (side->device, &frame->image_view, &frame->mask_view,
      error) && b->load_image (side->plan, 0, &small, error) &&
      b->load_coarse (side->plan, 0, &small, 0.5f, error) &&
      b->load_image (side->plan, 1, &large, error) &&
      b->store (side->plan, 0, CPSP_OUTPUT_P1, side->p1, error) &&
      b->store (side->plan, 1, CPSP_OUTPUT_P4, side->p4, error) &&
      b->load_masks (side->plan, 1, &same, side->p1, side->p4, error) &&
      b->accumulate (side->plan, 1, CPSP_OUTPUT_P1, &blend, side->sum,
      side->weight, error) &&
      b->finish_alpha (side->device, &result, &alpha, error) &&
      b->synchronise (side->device, error);
}

static gboolean
compare_frame (Side * tested, Side * reference, GError ** error)
{
  const CpspProgram *program = &tested->test.program;
  Frame frame;

  frame_init (&frame);
  if (!copy_tensor (tested, reference, program->p1, error) ||
      !copy_tensor (tested, reference, program->p4, error) ||
      !run_frame (tested, &frame, error) ||
      !run_frame (reference, &frame, error) ||
      !compare_tensor (tested, reference, program->input, "loading a frame",
          error))
    return FALSE;
  for (guint y = 0; y < FRAME_HEIGHT; y++)
    for (guint x = 0; x < FRAME_WIDTH; x++)
      if (ABS (tested->alpha[y][x] - reference->alpha[y][x]) > 1) {
        g_set_error (error, CPSP_ERROR, CPSP_ERROR_SELF_TEST,
            "an alpha is %u instead of %u", tested->alpha[y][x],
            reference->alpha[y][x]);
        return FALSE;
      }
  return TRUE;
}

static gboolean
side_open (Side * side, CpspType type, GError ** error)
{
  const CpspBackend *b = side->backend;

  test_init (&side->test, type);
  return (side->plan = b->plan_new (side->device, &side->test.program,
          error)) &&
      (side->p1 = b->plane_new (side->device, WIDTH, HEIGHT, error)) &&
      (side->p4 = b->plane_new (side->device, WIDTH, HEIGHT, error)) &&
      (side->sum = b->plane_new (side->device, FRAME_WIDTH, FRAME_HEIGHT,
          error)) &&
      (side->weight = b->plane_new (side->device, FRAME_WIDTH, FRAME_HEIGHT,
          error));
}

static void
side_close (Side * side)
{
  CpspPlane *const planes[] = {
    side->p1, side->p4, side->sum, side->weight,
  };

  for (guint i = 0; i < G_N_ELEMENTS (planes); i++)
    if (planes[i])
      side->backend->plane_free (planes[i]);
  if (side->plan)
    side->backend->plan_free (side->plan);
  test_clear (&side->test);
}

// The reference begins with the same input for all; everything else follows
// from it.
static gboolean
fill_input (Side * reference, GError ** error)
{
  const gint input = reference->test.program.input;
  const float *values = random_floats (&reference->test,
      count_values (&reference->test, input), -2, 2);

  return reference->backend->tensor_write (reference->plan, input, values,
      error);
}

gboolean
cpsp_self_test (const CpspBackend * backend, CpspDevice * device,
    CpspType type, GError ** error)
{
  const CpspDeviceParams params = { 0 };
  Side tested = {.backend = backend,.device = device };
  Side reference = {.backend = &cpsp_backend_reference };
  gboolean ok;

  reference.device = reference.backend->open (&params, error);
  if (!reference.device)
    return FALSE;
  ok = side_open (&reference, CPSP_TYPE_F32, error) &&
      side_open (&tested, type, error) && fill_input (&reference, error) &&
      compare_ops (&tested, &reference, error) &&
      compare_replay (&tested, error) &&
      compare_frame (&tested, &reference, error);
  side_close (&tested);
  side_close (&reference);
  reference.backend->close (reference.device);
  return ok;
}

// The cache: a file per identity, whose whole content follows from what it
// says.

static char *
cache_path (const char *identity)
{
  g_autofree char *sum = g_compute_checksum_for_string (G_CHECKSUM_SHA256,
      identity, -1);
  g_autofree char *name = g_strconcat ("self-test-", sum, NULL);

  return g_build_filename (g_get_user_cache_dir (), "cascadepsp", name, NULL);
}

static char *
cache_content (const char *identity, guint attempt)
{
  return g_strdup_printf (MAGIC "\n%s\nattempt %u\n", identity, attempt);
}

gboolean
cpsp_self_test_recall (const char *identity, guint n_attempts,
    guint * attempt)
{
  g_autofree char *path = cache_path (identity);
  g_autofree char *content = NULL;
  gsize size;

  if (!g_file_get_contents (path, &content, &size, NULL))
    return FALSE;
  for (guint i = 0; i <= n_attempts; i++) {
    g_autofree char *expected = cache_content (identity, i);

    if (size == strlen (expected) && memcmp (content, expected, size) == 0) {
      *attempt = i;
      return TRUE;
    }
  }
  return FALSE;
}

void
cpsp_self_test_remember (const char *identity, guint attempt)
{
  g_autofree char *path = cache_path (identity);
  g_autofree char *folder = g_path_get_dirname (path);
  g_autofree char *content = cache_content (identity, attempt);

  // Written aside and renamed: a reader sees all of it, or the old one.
  if (g_mkdir_with_parents (folder, 0700) == 0)
    g_file_set_contents (path, content, -1, NULL);
}
