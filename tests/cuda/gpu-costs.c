/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a GPU has to do, for docs/make-gpu-performance, in tab-separated lines:
 *
 *   gpu-costs operations shipped|published
 *       each operation of the Global step and of a crop's Local step:
 *       step, kind, layer, what it does, multiply-accumulates, bytes
 *   gpu-costs crops
 *       crops of drawn masks: frame, what is drawn, of the published grid, of
 *       its crops that hold a boundary, of the boundary plan
 */
#include "networks.h"

#include "../refine/silhouettes.h"
#include "tiles.h"

#include <stdio.h>

static char *
describe_conv (const CpspProgram * program, const CpspOp * op)
{
  const CpspTensor *dst = &program->tensors[op->dst];
  GString *text = g_string_new (NULL);

  g_string_append_printf (text, "%ux%u", op->conv->kernel, op->conv->kernel);
  if (op->stride > 1)
    g_string_append_printf (text, "/%u", op->stride);
  if (op->dilation > 1)
    g_string_append_printf (text, " dilated %u", op->dilation);
  g_string_append_printf (text, ", %u to %u channels%s%s at %ux%u",
      op->conv->c_in, op->conv->c_out, op->accumulate ? ", added" : "",
      op->relu ? ", ReLU" : "", dst->width, dst->height);
  return g_string_free (text, FALSE);
}

// FROM what TO what, channels where they matter.
static char *
describe_other (const CpspProgram * program, const CpspOp * op)
{
  const CpspTensor *src = &program->tensors[op->src[0]];
  const CpspTensor *dst = &program->tensors[op->dst];

  return g_strdup_printf ("%ux%ux%u to %ux%ux%u", src->width, src->height,
      src->channels, dst->width, dst->height, dst->channels);
}

static void
print_operations (const char *name)
{
  static const char *kinds[] = {
    [CPSP_OP_CONV] = "convolution",[CPSP_OP_MAX_POOL] = "max pool",
    [CPSP_OP_GRID_POOL] = "grid pool",[CPSP_OP_PYRAMID] = "pyramid sum",
    [CPSP_OP_CONCAT] = "concatenation",[CPSP_OP_UPSAMPLE] = "upsampling",
    [CPSP_OP_HEAD] = "head",[CPSP_OP_LOGIT] = "logit to channel",
  };
  g_autoptr (CpspNetwork) network = network_load (name);

  for (guint step = 0; step < G_N_ELEMENTS (network_steps); step++) {
    g_autoptr (CpspProgram) program = network_program (network, step, 1,
        CPSP_TYPE_F16);

    for (guint i = 0; i < program->n_ops; i++) {
      const CpspOp *op = &program->ops[i];
      g_autofree char *text = op->kind == CPSP_OP_CONV ?
          describe_conv (program, op) : describe_other (program, op);

      printf ("%s\t%s\t%s\t%s\t%" G_GUINT64_FORMAT "\t%" G_GUINT64_FORMAT
          "\n", network_steps[step].name, kinds[op->kind],
          op->conv ? op->conv->name : op->head ? op->head->name : "-", text,
          cpsp_program_op_macs (program, i),
          cpsp_program_op_bytes (program, i));
    }
  }
}

static void
print_crops (void)
{
  static const struct
  {
    guint width, height;
  } frames[] = { {1920, 1080}, {3840, 2160} };
  struct
  {
    const char *name;
    Plane p1;
  } shapes[] = {
    {"a disc, an eighth of the height", make_disc (32)},
    {"a bicycle, half the height", make_bicycle (2)},
    {"a person, nearly the height", make_person (2)},
    {"a disc, nearly the height", make_disc (240)},
    {"doubt everywhere", plane_new (900, 506, 0.5f)},
  };
  const guint size = 900;
  CpspTilePlan plan = { 0 };

  for (guint f = 0; f < G_N_ELEMENTS (frames); f++) {
    const guint width = frames[f].width, height = frames[f].height;
    const CpspRect whole = { 0, 0, width, height };

    for (guint s = 0; s < G_N_ELEMENTS (shapes); s++) {
      const Plane *p1 = &shapes[s].p1;
      guint grid, mixed;

      g_assert_true (cpsp_tile_plan_grid (&plan, width, height, size, NULL));
      grid = plan.n_tiles;
      g_assert_true (cpsp_tile_plan_keep_mixed (&plan, p1->p, p1->width,
              p1->height, CPSP_RESIZE_BILINEAR, NULL));
      mixed = plan.n_tiles;
      cpsp_tile_plan_forget (&plan);
      g_assert_true (cpsp_tile_plan_boundary (&plan, width, height, size,
              p1->p, p1->width, p1->height, &whole, 1, NULL));
      printf ("%ux%u\t%s\t%u\t%u\t%u\n", width, height, shapes[s].name, grid,
          mixed, plan.n_tiles);
    }
  }
  for (guint s = 0; s < G_N_ELEMENTS (shapes); s++)
    plane_free (&shapes[s].p1);
  cpsp_tile_plan_clear (&plan);
}

int
main (int argc, char **argv)
{
  if (argc == 2 && g_str_equal (argv[1], "crops"))
    print_crops ();
  else if (argc == 3 && g_str_equal (argv[1], "operations") &&
      g_strv_contains (network_names, argv[2]))
    print_operations (argv[2]);
  else {
    fprintf (stderr, "usage: %s crops\n       %s operations "
        "shipped|published\n", argv[0], argv[0]);
    return 2;
  }
  return 0;
}
