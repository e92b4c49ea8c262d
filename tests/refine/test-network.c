/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Programs: their memory plan, their rewrites and their cost; and every
 * backend gives the same result for one program, whatever the widths.
 */
#include "model-file.h"
#include "refiner.h"

// No channel count is a multiple of anything.
static const CpspWidths widths_odd = {
  10, {6, 10, 14, 22}, {2, 3, 2, 2}, 40, {20, 12, 9}, {7, 7, 7}
};

static const CpspWidths widths_plain = {
  16, {16, 32, 48, 64}, {2, 3, 4, 2}, 96, {64, 32, 16}, {16, 16, 16}
};

// The published widths' cost at 224 x 224 (ALGORITHM, section 10), less what
// the rewrites save.
static void
test_cost (void)
{
  g_autoptr (CpspModel) model = model_new_random (&widths_published, 1);
  g_autoptr (CpspNetwork) network = cpsp_network_new (model, NULL);
  const CpspProgramParams params = {
    .height = 224,.width = 224,.batch = 1,.stream_transients = TRUE,
  };
  g_autoptr (CpspProgram) program = cpsp_program_new (network, &params, NULL);
  guint64 macs = 0, psp = 0, shortcuts = 0;

  for (guint i = 0; i < program->n_ops; i++) {
    const CpspOp *op = &program->ops[i];
    guint64 own = cpsp_program_op_macs (program, i);

    macs += own;
    if (op->conv && g_str_has_prefix (op->conv->name, "psp"))
      psp += own;
    if (op->conv && g_str_has_suffix (op->conv->name, "shortcut"))
      shortcuts += own;
  }
  // Without the rewrites: 214 G, and 8.4 G for psp in each of three levels.
  g_test_message ("%.1f GMAC, psp %.2f", macs / 1e9, psp / 1e9);
  g_assert_cmpfloat (macs / 1e9, <, 190);
  g_assert_cmpfloat (macs / 1e9, >, 180);
  g_assert_cmpfloat (psp / 3e9, <, 8.4 / 4);
  g_assert_cmpuint (shortcuts, ==, (guint64) 28 * 28 * 1024 * 512 * 2 +
      56 * 56 * 512 * 256 + 112 * 112 * 256 * 32);
}

// No two tensors that live at the same time share a byte.
static void
test_arena (void)
{
  g_autoptr (CpspModel) model = model_new_random (&widths_odd, 2);
  g_autoptr (CpspNetwork) network = cpsp_network_new (model, NULL);

  for (guint variant = 0; variant < 12; variant++) {
    const CpspProgramParams params = {
      .cascade = variant % 3,.height = 8 * (1 + variant),.width = 72,
      .batch = 1 + variant % 2,.stream_transients = variant % 4 > 1,
      .keep_all = variant == 11,
    };
    g_autoptr (CpspProgram) program = cpsp_program_new (network, &params,
        NULL);
    gsize sum = 0;

    for (guint i = 0; i < program->n_tensors; i++) {
      const CpspTensor *a = &program->tensors[i];

      if (a->transient && params.stream_transients) {
        g_assert_cmpuint (a->last_op, ==, a->first_op + 1);
        continue;
      }
      sum += a->size;
      g_assert_cmpuint (a->offset % 64, ==, 0);
      g_assert_cmpuint (a->offset + a->size, <=, program->arena_size);
      g_assert_cmpuint (a->size, ==, (gsize) params.batch * a->height *
          a->width * a->pitch * cpsp_type_size (a->type));
      for (guint j = 0; j < i; j++) {
        const CpspTensor *b = &program->tensors[j];
        gboolean together = params.keep_all ||
            (a->first_op <= b->last_op && b->first_op <= a->last_op);

        if (!together || (b->transient && params.stream_transients))
          continue;
        g_assert_true (a->offset + a->size <= b->offset ||
            b->offset + b->size <= a->offset);
      }
    }
    if (!params.keep_all)
      g_assert_cmpuint (program->arena_size, <, sum / 2);
    // What a transient is made of lives until the transient was read.
    for (guint i = 0; i < program->n_ops; i++) {
      const CpspOp *op = &program->ops[i];

      if (!program->tensors[op->dst].transient)
        continue;
      g_assert_cmpuint (program->tensors[op->src[0]].last_op, >, i);
      if (op->skip != CPSP_NO_TENSOR)
        g_assert_cmpuint (program->tensors[op->skip].last_op, >, i);
    }
    for (guint i = 0; i < program->n_ops; i++) {
      g_autofree char *line = cpsp_program_op_to_string (program, i);

      g_assert_cmpuint (strlen (line), >, 20);
    }
  }
}

static void
test_bad_size (void)
{
  g_autoptr (CpspModel) model = model_new_random (&widths_odd, 3);
  g_autoptr (CpspNetwork) network = cpsp_network_new (model, NULL);
  static const CpspProgramParams bad[] = {
    {.height = 0,.width = 8,.batch = 1},
    {.height = 8,.width = 12,.batch = 1},
    {.height = 8,.width = 8,.batch = 0},
  };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    GError *error = NULL;

    g_assert_null (cpsp_program_new (network, &bad[i], &error));
    g_assert_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT);
    g_clear_error (&error);
  }
}

// P1 (and P4) of a random input on BACKEND, two images at once.
static float *
run (const CpspBackend * backend, CpspNetwork * network, guint height,
    guint width, CpspCascade cascade, gsize * n)
{
  const CpspDeviceParams device_params = { 0 };
  CpspDevice *device = backend->open (&device_params, NULL);
  CpspDeviceInfo info;
  CpspProgramParams params = {
    .cascade = cascade,.height = height,.width = width,.batch = 2,
  };
  g_autoptr (CpspProgram) program = NULL;
  g_autoptr (GRand) random = g_rand_new_with_seed (5);
  gsize pixels = (gsize) 2 * height * width;
  g_autofree float *input = g_new (float, 6 * pixels);
  float *result = g_new0 (float, 2 * pixels);
  CpspPlan *plan;

  if (!device)
    return NULL;
  backend->describe (device, &info);
  params.stream_transients = info.streams_transients;
  program = cpsp_program_new (network, &params, NULL);
  plan = backend->plan_new (device, program, NULL);
  g_assert_nonnull (plan);
  for (gsize i = 0; i < 6 * pixels; i++)
    input[i] = g_rand_double_range (random, -1, 1);
  g_assert_true (backend->tensor_write (plan, program->input, input, NULL));
  g_assert_true (backend->plan_run (plan, 0, program->n_ops, NULL));
  g_assert_true (backend->tensor_read (plan, program->p1, result, NULL));
  if (program->p4 != CPSP_NO_TENSOR)
    g_assert_true (backend->tensor_read (plan, program->p4, result + pixels,
            NULL));
  backend->plan_free (plan);
  backend->close (device);
  *n = 2 * pixels;
  return result;
}

static void
test_backends_agree (gconstpointer data)
{
  g_autoptr (CpspModel) model = model_new_random (data, 4);
  g_autoptr (CpspNetwork) network = cpsp_network_new (model, NULL);
  static const guint sizes[][2] = { {8, 8}, {16, 104}, {72, 40} };

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    for (guint cascade = 0; cascade < 3; cascade++) {
      gsize n;
      g_autofree float *expected = run (&cpsp_backend_reference, network,
          sizes[i][0], sizes[i][1], cascade, &n);
      g_autofree float *values = run (&cpsp_backend_cpu, network, sizes[i][0],
          sizes[i][1], cascade, &n);
      double worst = 0;

      if (!values) {
        g_test_skip ("the CPU backend is not built");
        return;
      }
      for (gsize k = 0; k < n; k++)
        if (!(fabsf (values[k] - expected[k]) <= worst))
          worst = fabsf (values[k] - expected[k]);
      g_test_message ("%ux%u, cascade %u: largest difference %.1e",
          sizes[i][1], sizes[i][0], cascade, worst);
      // DESIGN: probabilities within 2e-4
      g_assert_cmpfloat (worst, <=, 2e-4);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/network/cost", test_cost);
  g_test_add_func ("/network/arena", test_arena);
  g_test_add_func ("/network/bad-size", test_bad_size);
  g_test_add_data_func ("/network/backends-agree/odd", &widths_odd,
      test_backends_agree);
  g_test_add_data_func ("/network/backends-agree/plain", &widths_plain,
      test_backends_agree);
  return g_test_run ();
}
