/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "choose.h"

#include "module.h"
#include "selftest.h"

// Ways to convolve that are tried, the best first.
#define N_ATTEMPTS 3

static const CpspBackend *
get_cpu (GError ** error)
{
  return &cpsp_backend_cpu;
}

static const CpspBackend *
get_reference (GError ** error)
{
  return &cpsp_backend_reference;
}

// In the order in which AUTO tries them.
static const struct
{
  CpspBackendChoice choice;
  const char *name;
  const CpspBackend *(*get) (GError ** error);
} backends[] = {
  {CPSP_BACKEND_CUDA, "cuda", cpsp_module_get_cuda},
  {CPSP_BACKEND_CPU, "cpu", get_cpu},
  {CPSP_BACKEND_CPU, "reference", get_reference},
};

static gboolean
choose_type (CpspChoiceOfDevice * c, CpspPrecision precision, GError ** error)
{
  static const CpspType types[] = {
    [CPSP_PRECISION_FP32] = CPSP_TYPE_F32,
    [CPSP_PRECISION_BF16] = CPSP_TYPE_BF16,
    [CPSP_PRECISION_FP16] = CPSP_TYPE_F16,
  };

  c->type = precision == CPSP_PRECISION_AUTO ? c->info.fastest_type :
      types[precision];
  if (c->info.types & (1 << c->type))
    return TRUE;
  g_set_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT,
      "%s cannot compute in %s", c->info.name, cpsp_type_name (c->type));
  return FALSE;
}

static void
close_device (CpspChoiceOfDevice * c)
{
  if (c->device)
    c->backend->close (c->device);
  c->device = NULL;
}

static gboolean
open_attempt (const CpspRefinerParams * params, guint attempt,
    CpspChoiceOfDevice * c, GError ** error)
{
  const CpspDeviceParams device_params = {
    .threads = params->threads,.device_id = params->device_id,
    .attempt = attempt,
  };

  c->device = c->backend->open (&device_params, error);
  if (!c->device)
    return FALSE;
  c->backend->describe (c->device, &c->info);
  if (choose_type (c, params->precision, error))
    return TRUE;
  close_device (c);
  return FALSE;
}

// Notes WHY (transfer full) something was passed over, after what was before.
static void
pass_over (CpspChoiceOfDevice * c, const char *name, GError * why)
{
  GError *before = c->passed_over;

  c->passed_over = g_error_new (CPSP_ERROR, why->code, "%s%s%s: %s",
      before ? before->message : "", before ? "; " : "", name, why->message);
  g_clear_error (&before);
  g_error_free (why);
}

// Tries one attempt after the other until one passes. FALSE: the device is
// closed.
static gboolean
test_attempts (const CpspRefinerParams * params, const char *identity,
    CpspChoiceOfDevice * c, GError ** error)
{
  GError *first = NULL;

  for (guint i = 0; i < N_ATTEMPTS; i++) {
    GError *why = NULL;

    if ((i == 0 || open_attempt (params, i, c, &why)) &&
        cpsp_self_test (c->backend, c->device, c->type, &why)) {
      cpsp_self_test_remember (identity, i);
      if (first)
        pass_over (c, c->info.name, first);
      return TRUE;
    }
    close_device (c);
    // No memory is no verdict.
    if (why->code != CPSP_ERROR_SELF_TEST && (!first ||
            why->code == CPSP_ERROR_NO_MEMORY)) {
      g_clear_error (&first);
      g_propagate_error (error, why);
      return FALSE;
    }
    if (first)
      g_error_free (why);
    else
      first = why;
  }
  cpsp_self_test_remember (identity, N_ATTEMPTS);
  g_propagate_prefixed_error (error, first, "%s: ", c->info.name);
  return FALSE;
}

// Opens backend INDEX.
static gboolean
open_backend (const CpspRefinerParams * params, guint index,
    CpspChoiceOfDevice * c, GError ** error)
{
  g_autofree char *identity = NULL;
  guint attempt;

  c->index = index;
  c->backend = backends[index].get (error);
  if (!c->backend || !open_attempt (params, 0, c, error))
    return FALSE;
  if (!c->info.self_test)
    return TRUE;
  // Of this version: the next one may have put right what failed here.
  identity = g_strdup_printf ("%s, %s, version " CPSP_VERSION, c->info.name,
      cpsp_type_name (c->type));
  if (!cpsp_self_test_recall (identity, N_ATTEMPTS, &attempt))
    return test_attempts (params, identity, c, error);
  if (attempt == 0)
    return TRUE;
  close_device (c);
  if (attempt < N_ATTEMPTS)
    return open_attempt (params, attempt, c, error);
  g_set_error (error, CPSP_ERROR, CPSP_ERROR_SELF_TEST,
      "%s has failed its self-test before", c->info.name);
  return FALSE;
}

static gboolean
choose_from (const CpspRefinerParams * params, guint first,
    CpspChoiceOfDevice * c, GError ** error)
{
  for (guint i = first; i < G_N_ELEMENTS (backends); i++) {
    GError *why = NULL;

    if (params->backend != CPSP_BACKEND_AUTO &&
        params->backend != backends[i].choice)
      continue;
    if (open_backend (params, i, c, &why)) {
      // The CPU without its libraries is so slow that its name says why.
      if (backends[i].get == get_reference && c->passed_over)
        g_snprintf (c->info.name + strlen (c->info.name),
            sizeof c->info.name - strlen (c->info.name), " (%s)",
            c->passed_over->message);
      return TRUE;
    }
    pass_over (c, backends[i].name, why);
  }
  g_propagate_error (error, g_steal_pointer (&c->passed_over));
  return FALSE;
}

gboolean
cpsp_choose_device (const CpspRefinerParams * params, CpspChoiceOfDevice * c,
    GError ** error)
{
  return choose_from (params, 0, c, error);
}

gboolean
cpsp_choose_another (const CpspRefinerParams * params,
    const CpspChoiceOfDevice * c, GError * why, CpspChoiceOfDevice * another,
    GError ** error)
{
  if (params->backend != CPSP_BACKEND_AUTO || why->domain != CPSP_ERROR ||
      (why->code != CPSP_ERROR_DEVICE && why->code != CPSP_ERROR_NO_MEMORY) ||
      backends[c->index].choice == CPSP_BACKEND_CPU ||
      !choose_from (params, c->index + 1, another, NULL)) {
    g_propagate_error (error, why);
    return FALSE;
  }
  pass_over (another, c->info.name, why);
  return TRUE;
}

void
cpsp_choice_clear (CpspChoiceOfDevice * c)
{
  close_device (c);
  g_clear_error (&c->passed_over);
}
