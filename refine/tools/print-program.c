/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * print-program MODEL [WIDTHxHEIGHT [global|local [fp32|bf16|fp16]]]
 *
 * Prints the operations that a model's cascade consists of, one line each:
 * million multiply-accumulates, kilobytes moved, what it does.
 */
#include "network.h"

#include <stdio.h>
#include <stdlib.h>

// Index of VALUE in NAMES, -1 if it is none of them.
static int
find (const char *value, const char *const *names)
{
  for (int i = 0; names[i]; i++)
    if (g_str_equal (value, names[i]))
      return i;
  return -1;
}

int
main (int argc, char **argv)
{
  static const char *const cascades[] = { "global", "local", NULL };
  static const char *const types[] = { "fp32", "fp16", "bf16", NULL };
  CpspProgramParams params = {
    .width = 224,.height = 224,.batch = 1,.stream_transients = TRUE,
  };
  int cascade = argc > 3 ? find (argv[3], cascades) : 0;
  int type = argc > 4 ? find (argv[4], types) : 0;
  g_autoptr (CpspModel) model = NULL;
  g_autoptr (CpspNetwork) network = NULL;
  g_autoptr (CpspProgram) program = NULL;
  GError *error = NULL;
  guint64 macs = 0, bytes = 0;

  if (argc < 2 || argc > 5 || cascade < 0 || type < 0 || (argc > 2 &&
          sscanf (argv[2], "%ux%u", &params.width, &params.height) != 2)) {
    fprintf (stderr, "usage: %s MODEL [WIDTHxHEIGHT [global|local "
        "[fp32|bf16|fp16]]]\n", argv[0]);
    return 2;
  }
  params.cascade = cascade ? CPSP_CASCADE_LOCAL : CPSP_CASCADE_GLOBAL;
  params.type = type;
  model = cpsp_model_load (argv[1], &error);
  if (model)
    network = cpsp_network_new (model, &error);
  if (network)
    program = cpsp_program_new (network, &params, &error);
  if (!program) {
    fprintf (stderr, "%s\n", error->message);
    g_error_free (error);
    return 1;
  }
  for (guint i = 0; i < program->n_ops; i++) {
    g_autofree char *line = cpsp_program_op_to_string (program, i);

    printf ("%10.3f %10.1f  %s\n", cpsp_program_op_macs (program, i) / 1e6,
        cpsp_program_op_bytes (program, i) / 1e3, line);
    macs += cpsp_program_op_macs (program, i);
    bytes += cpsp_program_op_bytes (program, i);
  }
  printf ("%10.3f %10.1f  all; arena %.1f MB\n", macs / 1e6, bytes / 1e3,
      program->arena_size / 1e6);
  return 0;
}
