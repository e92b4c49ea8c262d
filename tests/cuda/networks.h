/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the proofs about GPUs are of: the network that ships and one of the
 * published widths, and the programs that 1080p and 2160p frames run.
 */
#pragma once

#include <stdlib.h>

#include "../refine/model-file.h"
#include "network.h"

static const char *const network_names[] = { "shipped", "published", NULL };

// With the default crop-size, 900, frames of both sizes are scaled to
// 900x506 for the Global step and have crops of 900x900; padded as the
// published code does.
static const struct
{
  const char *name;
  CpspCascade cascade;
  guint width, height;
} network_steps[] = {
  {"Global", CPSP_CASCADE_GLOBAL, 904, 512},
  {"Local", CPSP_CASCADE_LOCAL, 904, 904},
};

// One of network_names. What is published is random: shapes are what counts.
static inline CpspNetwork *
network_load (const char *name)
{
  GError *error = NULL;
  g_autoptr (CpspModel) model = g_str_equal (name, "published") ?
      model_new_random (&widths_published, 1) :
      cpsp_model_load (g_getenv ("CPSP_MODEL"), &error);
  CpspNetwork *network = model ? cpsp_network_new (model, &error) : NULL;

  g_assert_no_error (error);
  return network;
}

// A program of step STEP as the CUDA backend runs it.
static inline CpspProgram *
network_program (CpspNetwork * network, guint step, guint batch, CpspType type)
{
  const CpspProgramParams params = {
    .cascade = network_steps[step].cascade,
    .width = network_steps[step].width,
    .height = network_steps[step].height,
    .batch = batch,
    .type = type,
  };
  GError *error = NULL;
  CpspProgram *program = cpsp_program_new (network, &params, &error);

  g_assert_no_error (error);
  return program;
}
