/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The input is a model file. Whatever it holds, loading it yields a model
 * that is complete and finite, of which a network and a program can be made,
 * or a CPSP_ERROR_FORMAT whose message is short, valid UTF-8 and names the
 * file; no critical or warning of GLib.
 */
#include "fuzz.h"

#include "refine/error.h"
#include "refine/network.h"

#include <math.h>
#include <string.h>

// A limit of refine/model.c on what it quotes, and the file's name.
#define MESSAGE_MAX 1000

int
LLVMFuzzerInitialize (int *argc, char ***argv)
{
  g_log_set_always_fatal (G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING);
  return 0;
}

static void
check_refusal (const GError * error)
{
  g_assert_error (error, CPSP_ERROR, CPSP_ERROR_FORMAT);
  g_assert_cmpuint (strlen (error->message), <, MESSAGE_MAX);
  g_assert_true (g_utf8_validate (error->message, -1, NULL));
  g_assert_true (g_str_has_prefix (error->message, "fuzz: "));
  for (const char *p = error->message; *p; p++)
    g_assert_false (g_ascii_iscntrl (*p));
}

static void
check_model (CpspModel * model)
{
  const CpspProgramParams params = {
    .cascade = CPSP_CASCADE_GLOBAL,.width = 8,.height = 16,.batch = 1,
    .type = CPSP_TYPE_F32,
  };
  g_autoptr (GError) error = NULL;
  g_autoptr (CpspNetwork) network = NULL;
  g_autoptr (CpspProgram) program = NULL;
  g_autofree float *values = NULL;
  gsize n;

  values = cpsp_model_read (model, "final_21.weight", &n);
  g_assert_cmpuint (n, ==, cpsp_model_get_widths (model)->head[2]);
  for (gsize i = 0; i < n; i++)
    g_assert_true (isfinite (values[i]));
  g_assert_cmpuint (cpsp_model_get_n_parameters (model), >, n);

  network = cpsp_network_new (model, &error);
  if (!network) {
    check_refusal (error);
    return;
  }
  program = cpsp_program_new (network, &params, &error);
  g_assert_no_error (error);
}

int
LLVMFuzzerTestOneInput (const uint8_t * data, size_t size)
{
  g_autoptr (GBytes) bytes = g_bytes_new (data, size);
  g_autoptr (GError) error = NULL;
  g_autoptr (CpspModel) model = cpsp_model_load_bytes ("fuzz", bytes, &error);

  if (model)
    check_model (model);
  else
    check_refusal (error);
  return 0;
}
