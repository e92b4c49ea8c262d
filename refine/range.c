/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "range.h"

#include "backend.h"
#include "error.h"

#include <math.h>

#define SIDE 64
// What rounds to infinity, less a factor for pictures that reach higher.
#define LIMIT (65520.0f / 2)

// Normalised colours lie within -2.2 and 2.7, masks within -1 and 1.
static float *
make_input (void)
{
  const gsize pixels = SIDE * SIDE;
  float *values = g_new (float, pixels * CPSP_INPUT_CHANNELS);
  GRand *r = g_rand_new_with_seed (1);

  for (gsize i = 0; i < pixels * CPSP_INPUT_CHANNELS; i++)
    values[i] = i % CPSP_INPUT_CHANNELS < CPSP_INPUT_SEG ?
        g_rand_double_range (r, -2.2, 2.7) :
        i % CPSP_INPUT_CHANNELS == CPSP_INPUT_SEG ?
        (g_rand_boolean (r) ? 1 : -1) : g_rand_double_range (r, -1, 1);
  g_rand_free (r);
  return values;
}

// Whether what operation I has written fits; planes of logits stay fp32.
static gboolean
check_op (const CpspBackend * backend, CpspPlan * plan,
    const CpspProgram * program, guint i, GError ** error)
{
  const CpspOp *op = &program->ops[i];
  const CpspTensor *t = &program->tensors[op->dst];
  const gsize n = (gsize) t->height * t->width * t->channels;
  g_autofree float *values = NULL;
  float largest = 0;

  if (t->pitch == 1)
    return TRUE;
  values = g_new (float, n);
  if (!backend->tensor_read (plan, op->dst, values, error))
    return FALSE;
  for (gsize k = 0; k < n; k++)
    largest = MAX (largest, fabsf (values[k]));
  if (largest < LIMIT)
    return TRUE;
  g_set_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT,
      "%s reaches %g: too large for fp16", op->conv ? op->conv->name :
      "an activation", largest);
  return FALSE;
}

static gboolean
check_on (const CpspBackend * backend, CpspDevice * device,
    CpspNetwork * network, GError ** error)
{
  const CpspProgramParams params = {
    .cascade = CPSP_CASCADE_LOCAL,.height = SIDE,.width = SIDE,.batch = 1,
    .type = CPSP_TYPE_F32,.keep_all = TRUE,
  };
  g_autoptr (CpspProgram) program = cpsp_program_new (network, &params,
      error);
  g_autofree float *input = make_input ();
  CpspPlan *plan = program ? backend->plan_new (device, program, error) :
      NULL;
  gboolean ok;

  if (!plan)
    return FALSE;
  ok = backend->tensor_write (plan, program->input, input, error);
  // One after the other: some overwrite what others have written.
  for (guint i = 0; ok && i < program->n_ops; i++)
    ok = backend->plan_run (plan, i, 1, error) &&
        check_op (backend, plan, program, i, error);
  backend->plan_free (plan);
  return ok;
}

gboolean
cpsp_range_check_fp16 (CpspNetwork * network, GError ** error)
{
  const CpspDeviceParams params = { 0 };
  const CpspBackend *backend = &cpsp_backend_cpu;
  CpspDevice *device = backend->open (&params, NULL);
  gboolean ok;

  if (!device) {
    backend = &cpsp_backend_reference;
    device = backend->open (&params, error);
  }
  if (!device)
    return FALSE;
  ok = check_on (backend, device, network, error);
  backend->close (device);
  return ok;
}
