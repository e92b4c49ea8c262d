/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What tests/bench measures of the engine, one thing per process:
 *
 *   benchmark profile MODEL WIDTHxHEIGHT TYPE
 *       each operation of the three levels: time, rate, and oneDNN's time for
 *       its convolution alone
 *   benchmark network MODEL WIDTHxHEIGHT TYPE N
 *       N runs of the three levels
 *   benchmark memory MODEL WIDTHxHEIGHT TYPE
 *       what refining one frame takes beside the weights
 *   benchmark overhead MODEL WIDTHxHEIGHT FORMAT
 *       what refining a frame takes beside the network; FORMAT is I420 or RGB
 *
 *   benchmark budget MODEL WIDTHxHEIGHT
 *       how well frames keep budgets
 *
 * TYPE is fp32 or bf16. Lines that begin with # are for people, the others
 * for programs too.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cpu/cpu.h"
#include "refiner.h"

// Of a profile: other programs run on the machine too.
#define ROUNDS 10
// Of the overhead.
#define FRAMES 30
// Of each budget, besides those that learn.
#define BUDGET_FRAMES 200

// The linker (--wrap) puts `wrapped` where the refiner looks for the CPU
// backend's table: a copy of it with another plan_run.
extern const CpspBackend real __asm__ ("__real_cpsp_backend_cpu");
extern CpspBackend wrapped __asm__ ("__wrap_cpsp_backend_cpu");

CpspBackend wrapped;

// The three levels at one size on the CPU backend.
typedef struct
{
  CpspNetwork *network;
  CpspDevice *device;
  CpspProgram *program;
  CpspPlan *plan;
  guint threads;
} Rig;

// OK, or the end of this program.
static void
check (gboolean ok, const GError * error)
{
  if (ok)
    return;
  g_printerr ("benchmark: %s\n", error->message);
  exit (1);
}

// Milliseconds, of the wall clock and of processor time per thread. Where
// threads sleep while they wait (OMP_WAIT_POLICY=passive), the latter is the
// time that the work takes on a machine without other programs, if all
// threads have the same share of it.
typedef struct
{
  double ms, cpu_ms;
} Lap;

static Lap
lap_begin (void)
{
  struct timespec t;

  clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &t);
  return (Lap) {
    g_get_monotonic_time () / 1e3, t.tv_sec * 1e3 + t.tv_nsec / 1e6};
}

static Lap
lap_end (const Lap * begun, guint threads)
{
  Lap now = lap_begin ();

  return (Lap) {
    now.ms - begun->ms, (now.cpu_ms - begun->cpu_ms) / threads};
}

static void
lap_keep_least (Lap * least, Lap lap)
{
  least->ms = MIN (least->ms, lap.ms);
  least->cpu_ms = MIN (least->cpu_ms, lap.cpu_ms);
}

static void
lap_add (Lap * sum, const Lap * lap)
{
  sum->ms += lap->ms;
  sum->cpu_ms += lap->cpu_ms;
}

static void
parse_size (const char *text, guint * width, guint * height)
{
  if (sscanf (text, "%ux%u", width, height) == 2)
    return;
  g_printerr ("benchmark: '%s' is not WIDTHxHEIGHT\n", text);
  exit (2);
}

static CpspType
parse_type (const char *text)
{
  if (g_str_equal (text, "bf16"))
    return CPSP_TYPE_BF16;
  if (g_str_equal (text, "fp32"))
    return CPSP_TYPE_F32;
  g_printerr ("benchmark: '%s' is neither fp32 nor bf16\n", text);
  exit (2);
}

static void
fill_random (float *values, gsize n)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (1);

  for (gsize i = 0; i < n; i++)
    values[i] = g_rand_double_range (random, -1, 1);
}

static CpspNetwork *
load_network (const char *path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (CpspModel) model = cpsp_model_load (path, &error);
  CpspNetwork *network;

  check (model != NULL, error);
  network = cpsp_network_new (model, &error);
  check (network != NULL, error);
  return network;
}

static void
write_random_input (Rig * rig)
{
  const CpspTensor *input = &rig->program->tensors[rig->program->input];
  gsize n = (gsize) input->height * input->width * input->channels;
  g_autofree float *values = g_new (float, n);
  g_autoptr (GError) error = NULL;

  fill_random (values, n);
  check (real.tensor_write (rig->plan, rig->program->input,
          values, &error), error);
}

static void
rig_init (Rig * rig, const char *model, const char *size, CpspType type)
{
  const CpspDeviceParams device_params = { 0 };
  CpspProgramParams params = {
    .cascade = CPSP_CASCADE_GLOBAL,.batch = 1,.type = type,
    .stream_transients = TRUE,
  };
  g_autoptr (GError) error = NULL;
  CpspDeviceInfo info;

  parse_size (size, &params.width, &params.height);
  rig->network = load_network (model);
  rig->device = real.open (&device_params, &error);
  check (rig->device != NULL, error);
  rig->threads = rig->device->threads;
  real.describe (rig->device, &info);
  if (!(info.types & (1 << type))) {
    g_printerr ("benchmark: %s cannot compute in %s\n", info.name,
        cpsp_type_name (type));
    exit (1);
  }
  rig->program = cpsp_program_new (rig->network, &params, &error);
  check (rig->program != NULL, error);
  rig->plan = real.plan_new (rig->device, rig->program, &error);
  check (rig->plan != NULL, error);
  write_random_input (rig);
  g_print ("# %s, %s, %ux%u\n", info.name, cpsp_type_name (type),
      params.width, params.height);
}

static void
rig_clear (Rig * rig)
{
  real.plan_free (rig->plan);
  cpsp_program_free (rig->program);
  real.close (rig->device);
  cpsp_network_unref (rig->network);
}

static void
run_ops (Rig * rig, guint first, guint n)
{
  g_autoptr (GError) error = NULL;

  check (real.plan_run (rig->plan, first, n, &error), error);
}

static CpspOnednnShape
conv_shape (const CpspProgram * program, const CpspOp * op)
{
  const CpspTensor *src = &program->tensors[op->src[0]];
  const CpspTensor *dst = &program->tensors[op->dst];
  guint pad = op->dilation * (op->conv->kernel - 1) / 2;

  return (CpspOnednnShape) {
    .type = program->params.type,.batch = program->params.batch,
    .c_in = src->pitch,.c_out = dst->pitch,
    .src_height = src->height,.src_width = src->width,
    .dst_height = dst->height,.dst_width = dst->width,
    .kernel = op->conv->kernel,.stride = op->stride,
    .dilation = op->dilation,
    .pad_rows = pad,.pad_columns = pad,
    .bias = op->conv->bias != NULL,
    .accumulate = op->accumulate,.relu = op->relu,
  };
}

// One convolution on whole tensors, as oneDNN does it best.
typedef struct
{
  CpspOnednnShape shape;
  CpspOnednnConv *conv;
  CpspOnednnWeights *weights;
} Alone;

// The program's convolutions by themselves, each shape once.
typedef struct
{
  CpspOnednn *onednn;
  Alone *convs;
  guint n;
  guint *of_op;                 // index into convs, of operations that are one
  // Of the largest; huge pages, as our own arena has them.
  CpspBuffer src, dst, scratch;
} AloneSet;

static Alone
alone_new (CpspOnednn * onednn, const CpspOnednnShape * shape)
{
  Alone alone = {.shape = *shape };
  gsize n = (gsize) shape->c_out * shape->c_in * shape->kernel *
      shape->kernel;
  g_autofree float *weight = g_new (float, n);
  g_autofree float *bias = g_new0 (float, shape->c_out);
  g_autoptr (GError) error = NULL;

  fill_random (weight, n);
  alone.conv = cpsp_onednn_conv_new (onednn, shape, &error);
  check (alone.conv != NULL, error);
  alone.weights = cpsp_onednn_weights_new (onednn, alone.conv, weight,
      shape->bias ? bias : NULL, &error);
  check (alone.weights != NULL, error);
  return alone;
}

// At least SIZE bytes that are values of TYPE in [-1, 1].
static void
grow_random (CpspBuffer * buffer, gsize size, CpspType type)
{
  g_autofree float *values = NULL;
  g_autoptr (GError) error = NULL;
  gsize n = size / cpsp_type_size (type);

  if (size <= buffer->size)
    return;
  check (cpsp_buffer_grow (buffer, size, &error), error);
  values = g_new (float, n);
  fill_random (values, n);
  if (type == CPSP_TYPE_F32)
    memcpy (buffer->data, values, size);
  else
    for (gsize i = 0; i < n; i++)
      ((guint16 *) buffer->data)[i] = cpsp_float_to_bf16 (values[i]);
}

static void
alone_init (AloneSet * set, const CpspProgram * program)
{
  CpspType type = program->params.type;
  g_autoptr (GError) error = NULL;

  *set = (AloneSet) {
    .convs = g_new0 (Alone, program->n_ops),
    .of_op = g_new0 (guint, program->n_ops),
    .onednn = cpsp_onednn_new (&error),
  };
  check (set->onednn != NULL, error);
  for (guint i = 0; i < program->n_ops; i++) {
    const CpspOp *op = &program->ops[i];
    CpspOnednnShape shape;
    guint k = 0;

    if (op->kind != CPSP_OP_CONV)
      continue;
    shape = conv_shape (program, op);
    while (k < set->n && memcmp (&set->convs[k].shape, &shape, sizeof shape))
      k++;
    set->of_op[i] = k;
    if (k < set->n)
      continue;
    set->convs[set->n++] = alone_new (set->onednn, &shape);
    grow_random (&set->src, program->tensors[op->src[0]].size, type);
    grow_random (&set->dst, program->tensors[op->dst].size, type);
    check (cpsp_buffer_grow (&set->scratch,
            cpsp_onednn_conv_get_scratch (set->convs[k].conv), &error),
        error);
  }
}

static void
alone_clear (AloneSet * set)
{
  for (guint i = 0; i < set->n; i++) {
    cpsp_onednn_weights_free (set->convs[i].weights);
    cpsp_onednn_conv_free (set->convs[i].conv);
  }
  cpsp_buffer_clear (&set->src);
  cpsp_buffer_clear (&set->dst);
  cpsp_buffer_clear (&set->scratch);
  g_free (set->convs);
  g_free (set->of_op);
  cpsp_onednn_free (set->onednn);
}

// What an operation took, each the least of all rounds.
typedef struct
{
  Lap lap;                      // in the program
  Lap alone;                    // CONV: alone, as oneDNN does it best
} Cost;

// One round; a transient's time is in its reader's, which makes it.
static void
time_round (Rig * rig, AloneSet * set, Cost * costs)
{
  const CpspProgram *program = rig->program;
  g_autofree Lap *alone = g_new (Lap, set->n);
  g_autoptr (GError) error = NULL;

  for (guint i = 0, n; i < program->n_ops; i += n) {
    Lap begun = lap_begin ();

    n = program->tensors[program->ops[i].dst].transient ? 2 : 1;
    run_ops (rig, i, n);
    lap_keep_least (&costs[i + n - 1].lap, lap_end (&begun, rig->threads));
  }
  for (guint k = 0; k < set->n; k++) {
    Lap begun = lap_begin ();

    check (cpsp_onednn_conv_run (set->onednn, set->convs[k].conv,
            set->convs[k].weights, set->src.data, set->dst.data,
            set->scratch.data, &error), error);
    alone[k] = lap_end (&begun, rig->threads);
  }
  for (guint i = 0; i < program->n_ops; i++)
    if (program->ops[i].kind == CPSP_OP_CONV)
      lap_keep_least (&costs[i].alone, alone[set->of_op[i]]);
}

// The cost of each operation of the program (g_free).
static Cost *
time_ops (Rig * rig)
{
  const CpspProgram *program = rig->program;
  Cost *costs = g_new (Cost, program->n_ops);
  AloneSet set;

  alone_init (&set, program);
  for (guint i = 0; i < program->n_ops; i++) {
    const CpspOp *op = &program->ops[i];
    const Lap never = { G_MAXDOUBLE, G_MAXDOUBLE }, none = { 0 };

    costs[i].lap = program->tensors[op->dst].transient ? none : never;
    costs[i].alone = op->kind == CPSP_OP_CONV ? never : none;
  }
  for (guint round = 0; round < ROUNDS; round++)
    time_round (rig, &set, costs);
  alone_clear (&set);
  return costs;
}

// Of all operations of one kind.
typedef struct
{
  guint n;
  Cost cost;
  guint64 macs, bytes;
} KindSum;

static void
print_row (const Cost * cost, guint64 macs, guint64 bytes)
{
  double ms = cost->lap.cpu_ms;

  g_print ("%9.3f %9.3f %9.3f %9.3f %9.4f %8.1f %7.1f",
      cost->lap.ms, ms, cost->alone.ms, cost->alone.cpu_ms, macs / 1e9,
      ms > 0 ? 2 * macs / ms / 1e6 : 0, ms > 0 ? bytes / ms / 1e6 : 0);
}

static void
kind_add (KindSum * sum, guint n, const Cost * cost, guint64 macs,
    guint64 bytes)
{
  sum->n += n;
  lap_add (&sum->cost.lap, &cost->lap);
  lap_add (&sum->cost.alone, &cost->alone);
  sum->macs += macs;
  sum->bytes += bytes;
}

static void
profile (const char *model, const char *size, CpspType type)
{
  static const char *names[] = {
    [CPSP_OP_CONV] = "conv",[CPSP_OP_MAX_POOL] = "max-pool",
    [CPSP_OP_GRID_POOL] = "grid-pool",[CPSP_OP_PYRAMID] = "pyramid",
    [CPSP_OP_CONCAT] = "concat",[CPSP_OP_UPSAMPLE] = "upsample",
    [CPSP_OP_HEAD] = "head",[CPSP_OP_LOGIT] = "logit",
  };
  KindSum kinds[G_N_ELEMENTS (names)] = { 0 }, all = { 0 };
  g_autofree Cost *costs = NULL;
  Rig rig;

  rig_init (&rig, model, size, type);
  costs = time_ops (&rig);
  g_print ("# Minima of %u rounds. ms: wall clock; cpu: processor time per "
      "thread, of which\n# the rates are made; alone: oneDNN's convolution of "
      "whole tensors. A concat\n# without time is made in bands by the "
      "convolution after it.\n%9s %9s %9s %9s %9s %8s %7s\n", ROUNDS, "ms",
      "cpu", "alone ms", "alone cpu", "GMAC", "GFLOP/s", "GB/s");
  for (guint i = 0; i < rig.program->n_ops; i++) {
    g_autofree char *line = cpsp_program_op_to_string (rig.program, i);
    guint64 macs = cpsp_program_op_macs (rig.program, i);
    guint64 bytes = cpsp_program_op_bytes (rig.program, i);

    print_row (&costs[i], macs, bytes);
    g_print ("  %s\n", line);
    kind_add (&kinds[rig.program->ops[i].kind], 1, &costs[i], macs, bytes);
  }
  g_print ("\n");
  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    print_row (&kinds[i].cost, kinds[i].macs, kinds[i].bytes);
    g_print ("  %u x %s\n", kinds[i].n, names[i]);
    kind_add (&all, kinds[i].n, &kinds[i].cost, kinds[i].macs,
        kinds[i].bytes);
  }
  print_row (&all.cost, all.macs, all.bytes);
  g_print ("  %u in all\n", all.n);
  rig_clear (&rig);
}

static guint64
conv_macs (guint64 pixels, guint kernel, guint c_in, guint c_out)
{
  return pixels * kernel * kernel * c_in * c_out;
}

static guint64
head_macs (guint64 pixels, guint c_in, guint hidden)
{
  return pixels * hidden * (c_in + 1);
}

// PIXELS are the result's.
static guint64
up_macs (guint64 pixels, guint c_in, guint skip, guint c_out)
{
  return conv_macs (pixels, 3, c_in + skip, c_out) +
      3 * conv_macs (pixels, 3, c_out, c_out) +
      conv_macs (pixels, 1, c_in, c_out);
}

static guint64
backbone_macs (const CpspWidths * w, guint64 pixels)
{
  guint64 macs = conv_macs (pixels / 4, 7, CPSP_INPUT_CHANNELS, w->stem);
  guint channels = w->stem;

  pixels /= 16;
  for (guint layer = 0; layer < 4; layer++)
    for (guint block = 0; block < w->blocks[layer]; block++) {
      guint planes = w->planes[layer];
      gboolean halves = layer == 1 && block == 0;

      macs += conv_macs (pixels, 1, channels, planes);
      if (halves)
        pixels /= 4;
      macs += conv_macs (pixels, 3, planes, planes) +
          conv_macs (pixels, 1, planes, 4 * planes);
      if (halves || channels != 4 * planes)
        macs += conv_macs (pixels, 1, channels, 4 * planes);
      channels = 4 * planes;
    }
  return macs;
}

// Multiply-accumulates of the three levels as published: what PyTorch does.
static guint64
published_macs (const CpspWidths * w, guint64 pixels)
{
  guint64 cells = 1 * 1 + 2 * 2 + 3 * 3 + 6 * 6;
  guint last = 4 * w->planes[3];
  guint64 trunk = backbone_macs (w, pixels) +
      conv_macs (cells, 1, last, last) +
      conv_macs (pixels / 64, 1, 5 * last, w->psp) +
      head_macs (pixels / 64, w->psp, w->head[0]);
  guint64 up1 = up_macs (pixels / 16, w->psp, 4 * w->planes[0], w->up[0]) +
      head_macs (pixels / 16, w->up[0], w->head[1]);
  guint64 up23 = up_macs (pixels / 4, w->up[0], w->stem, w->up[1]) +
      up_macs (pixels, w->up[1], 3, w->up[2]) +
      head_macs (pixels, w->up[2] + 3, w->head[2]);

  return 3 * trunk + 2 * up1 + up23;
}

static void
network (const char *model, const char *size, CpspType type, guint n)
{
  guint64 macs = 0;
  Rig rig;

  rig_init (&rig, model, size, type);
  for (guint i = 0; i < rig.program->n_ops; i++)
    macs += cpsp_program_op_macs (rig.program, i);
  g_print ("gmac %.3f published %.3f\n", macs / 1e9,
      published_macs (cpsp_network_get_widths (rig.network),
          (guint64) rig.program->params.width * rig.program->params.height) /
      1e9);
  // Once to warm up.
  run_ops (&rig, 0, rig.program->n_ops);
  for (guint i = 0; i < n; i++) {
    Lap begun = lap_begin (), lap;

    run_ops (&rig, 0, rig.program->n_ops);
    lap = lap_end (&begun, rig.threads);
    g_print ("lap %.3f %.3f\n", lap.ms, lap.cpu_ms);
  }
  rig_clear (&rig);
}

// A frame with a disc for a mask, and room for its alpha.
typedef struct
{
  CpspImageView image;
  CpspMaskView mask;
  CpspAlphaView alpha;
  guint8 *samples, *mask_samples;
} Frame;

static void
describe_rgb (CpspImageView * image, const guint8 * samples)
{
  for (guint c = 0; c < 3; c++) {
    image->component[c] = (CpspComponent) {
      .data = samples + c,.stride_bytes = 3 * image->width,
      .step_bytes = 3,.depth = 8,
    };
    image->matrix[c][c] = 1 / 255.f;
  }
}

// BT.709, limited range.
static void
describe_i420 (CpspImageView * image, const guint8 * samples)
{
  static const float matrix[3][3] = {
    {1 / 219.f, 0, 1.5748f / 224},
    {1 / 219.f, -0.1873f / 224, -0.4681f / 224},
    {1 / 219.f, 1.8556f / 224, 0},
  };
  gsize luma = (gsize) image->width * image->height;

  memcpy (image->matrix, matrix, sizeof matrix);
  for (guint c = 0; c < 3; c++) {
    image->component[c] = (CpspComponent) {
      .data = samples + (c > 0 ? luma : 0) + (c > 1 ? luma / 4 : 0),
      .stride_bytes = c > 0 ? image->width / 2 : image->width,
      .step_bytes = 1,.depth = 8,
    };
    image->offset[c] = -16 * matrix[c][0] - 128 * (matrix[c][1] +
        matrix[c][2]);
  }
  image->chroma_shift_x = image->chroma_shift_y = 1;
  image->chroma_y = 0.5;
}

// The disc's radius is the frame's height / PARTS.
static void
frame_init (Frame * frame, const char *size, const char *format, guint parts)
{
  gboolean rgb = g_str_equal (format, "RGB");
  guint width, height, r;
  gsize pixels;

  parse_size (size, &width, &height);
  pixels = (gsize) width * height;
  r = height / parts;
  frame->samples = g_malloc (rgb ? 3 * pixels : 3 * pixels / 2);
  for (gsize i = 0; i < (rgb ? 3 * pixels : 3 * pixels / 2); i++)
    frame->samples[i] = 16 + i * 7 % 220;
  frame->mask_samples = g_malloc (pixels);
  for (gsize i = 0; i < pixels; i++) {
    gint x = i % width - width / 2, y = i / width - height / 2;

    frame->mask_samples[i] = x * x + y * y < (gint) (r * r) ? 255 : 0;
  }
  frame->image = (CpspImageView) {
    .width = width,.height = height,.n_components = 3
  };
  if (rgb)
    describe_rgb (&frame->image, frame->samples);
  else
    describe_i420 (&frame->image, frame->samples);
  frame->mask = (CpspMaskView) {
    .width = width,.height = height,.scale = 1 / 255.f,
    .component = {
      .data = frame->mask_samples,.stride_bytes = width,.step_bytes = 1,
      .depth = 8,
    },
  };
  frame->alpha = (CpspAlphaView) {
    .width = width,.height = height,.format = CPSP_ALPHA_U8,
    .data = g_malloc0 (pixels),.stride_bytes = width,
  };
}

static void
frame_clear (Frame * frame)
{
  g_free (frame->samples);
  g_free (frame->mask_samples);
  g_free (frame->alpha.data);
}

static CpspRefiner *
open_refiner (const char *path, CpspPrecision precision)
{
  const CpspRefinerParams params = {
    .backend = CPSP_BACKEND_CPU,.precision = precision,
  };
  g_autoptr (GError) error = NULL;
  g_autoptr (CpspModel) model = cpsp_model_load (path, &error);
  CpspRefiner *refiner;

  check (model != NULL, error);
  refiner = cpsp_refiner_new (model, &params, &error);
  check (refiner != NULL, error);
  return refiner;
}

static void
refine (CpspRefiner * refiner, const Frame * frame, CpspLocalStep local_step,
    CpspStats * stats)
{
  CpspSettings settings = CPSP_SETTINGS_DEFAULT;
  g_autoptr (GError) error = NULL;

  settings.local_step = local_step;
  check (cpsp_refiner_refine (refiner, &settings,
          &(CpspFrame) {.image = &frame->image,.mask = &frame->mask},
          &frame->alpha, stats, &error), error);
}

// Megabytes of field NAME of /proc/self/status.
static double
status_mb (const char *name)
{
  g_autofree char *text = NULL;
  const char *field;

  if (!g_file_get_contents ("/proc/self/status", &text, NULL, NULL) ||
      !(field = strstr (text, name)))
    return 0;
  return g_ascii_strtoull (field + strlen (name) + 1, NULL, 10) * 1024 / 1e6;
}

// Makes VmHWM, the peak of resident memory, begin anew.
static void
reset_peak (void)
{
  FILE *file = fopen ("/proc/self/clear_refs", "w");

  if (!file || fputs ("5", file) < 0 || fclose (file) != 0)
    g_print ("# The peak could not be reset: it includes loading.\n");
}

// Megabytes of all convolutions' weights as oneDNN has them.
static double
converted_mb (const char *model, CpspType type)
{
  const CpspProgramParams params = {
    .cascade = CPSP_CASCADE_GLOBAL,.width = 64,.height = 64,.batch = 1,
    .type = type,
  };
  g_autoptr (CpspNetwork) network = load_network (model);
  g_autoptr (GError) error = NULL;
  g_autoptr (CpspProgram) program = cpsp_program_new (network, &params,
      &error);
  g_autoptr (GHashTable) seen = g_hash_table_new (NULL, NULL);
  gsize bytes = 0;

  check (program != NULL, error);
  for (guint i = 0; i < program->n_ops; i++) {
    const CpspOp *op = &program->ops[i];
    CpspOnednnShape shape;

    if (op->kind != CPSP_OP_CONV ||
        !g_hash_table_add (seen, (gpointer) op->conv))
      continue;
    shape = conv_shape (program, op);
    bytes += (gsize) shape.c_in * shape.c_out * shape.kernel * shape.kernel *
        cpsp_type_size (type);
  }
  return bytes / 1e6;
}

// Makes P the result of PLAN: P1 and, where it has one, P4.
static gboolean
write_result (CpspPlan * plan, const float *p, GError ** error)
{
  const CpspProgram *program = cpsp_cpu_plan_get_program (plan);

  return real.tensor_write (plan, program->p1, p, error) &&
      (program->p4 == CPSP_NO_TENSOR ||
      real.tensor_write (plan, program->p4, p, error));
}

// The network runs, but its result becomes an edge down the middle: random
// weights need not find one, and without one no crop runs.
static gboolean
run_to_edge (CpspPlan * plan, guint first, guint n, GError ** error)
{
  const CpspProgramParams *params =
      &cpsp_cpu_plan_get_program (plan)->params;
  gsize pixels = (gsize) params->width * params->height;
  g_autofree float *p = g_new (float, pixels);

  for (gsize i = 0; i < pixels; i++)
    p[i] = i % params->width < params->width / 2 ? 0 : 1;
  return real.plan_run (plan, first, n, error) &&
      write_result (plan, p, error);
}

// What the copies of the current frame took.
static Lap copies;

// In the network's place: P1 and P4 are what seg says.
static gboolean
run_copy (CpspPlan * plan, guint first, guint n, GError ** error)
{
  const CpspProgram *program = cpsp_cpu_plan_get_program (plan);
  gsize pixels = (gsize) program->params.width * program->params.height;
  Lap begun = lap_begin (), lap;
  g_autofree float *input = g_new (float, pixels * CPSP_INPUT_CHANNELS);
  g_autofree float *p = g_new (float, pixels);

  if (!real.tensor_read (plan, program->input, input, error))
    return FALSE;
  for (gsize i = 0; i < pixels; i++)
    p[i] = (input[i * CPSP_INPUT_CHANNELS + CPSP_INPUT_SEG] + 1) / 2;
  if (!write_result (plan, p, error))
    return FALSE;
  lap = lap_end (&begun, 1);
  lap_add (&copies, &lap);
  return TRUE;
}

static void
memory (const char *model, const char *size, CpspType type)
{
  double converted = converted_mb (model, type);
  double before, peak;
  CpspRefiner *refiner;
  CpspStats stats;
  Frame frame;

  wrapped.plan_run = run_to_edge;
  frame_init (&frame, size, "I420", 20);
  refiner = open_refiner (model, type == CPSP_TYPE_BF16 ?
      CPSP_PRECISION_BF16 : CPSP_PRECISION_FP32);
  // What loading has given back to malloc would hide a part of the peak.
  malloc_trim (0);
  before = status_mb ("VmRSS");
  reset_peak ();
  refine (refiner, &frame, CPSP_LOCAL_STEP_ALWAYS, &stats);
  peak = status_mb ("VmHWM");
  g_print ("%-10s %-5s %6u %7.0f %7.0f %10.0f %8.0f %7.0f\n", size,
      cpsp_type_name (type), stats.crops_run, peak, before, converted,
      peak - before - converted, cpsp_refiner_get_memory (refiner) / 1e6);
  cpsp_refiner_free (refiner);
  frame_clear (&frame);
}

static int
compare_doubles (gconstpointer a, gconstpointer b)
{
  double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

static double
median (double *values, guint n)
{
  qsort (values, n, sizeof *values, compare_doubles);
  return values[n / 2];
}

static void
overhead_of (CpspRefiner * refiner, const Frame * frame, CpspLocalStep step)
{
  double wall[FRAMES], cpu[FRAMES];
  CpspStats stats;

  // Once to allocate.
  refine (refiner, frame, step, &stats);
  for (guint i = 0; i < FRAMES; i++) {
    Lap begun, lap;

    copies = (Lap) { 0 };
    begun = lap_begin ();
    refine (refiner, frame, step, &stats);
    lap = lap_end (&begun, 1);
    wall[i] = lap.ms - copies.ms;
    cpu[i] = lap.cpu_ms - copies.cpu_ms;
  }
  g_print (" %6u %10.1f", stats.crops_run, median (wall, FRAMES));
  // Sorted by now.
  g_print (" %8.1f %12.1f\n", wall[0], median (cpu, FRAMES));
}

static void
overhead (const char *model, const char *size, const char *format)
{
  CpspRefiner *refiner = open_refiner (model, CPSP_PRECISION_AUTO);
  Frame frame;

  wrapped.plan_run = run_copy;
  frame_init (&frame, size, format, 4);
  g_print ("%-10s %-6s %-13s", size, format, "Global");
  overhead_of (refiner, &frame, CPSP_LOCAL_STEP_NEVER);
  g_print ("%-10s %-6s %-13s", size, format, "Global, Local");
  overhead_of (refiner, &frame, CPSP_LOCAL_STEP_ALWAYS);
  cpsp_refiner_free (refiner);
  frame_clear (&frame);
}

// Budgets from all that a frame wants to less than the least that helps.
static void
budget (const char *model, const char *size)
{
  CpspRefiner *refiner = open_refiner (model, CPSP_PRECISION_AUTO);
  CpspSettings settings = CPSP_SETTINGS_DEFAULT;
  g_autoptr (GError) error = NULL;
  CpspStats stats;
  Frame frame;
  double all;

  wrapped.plan_run = run_to_edge;
  frame_init (&frame, size, "I420", 4);
  for (guint i = 0; i < 3; i++)
    refine (refiner, &frame, CPSP_LOCAL_STEP_ALWAYS, &stats);
  all = stats.total_ms;
  settings.local_step = CPSP_LOCAL_STEP_ALWAYS;
  for (double ms = all * 1.5; ms > all / 100; ms /= 2) {
    double took[BUDGET_FRAMES], n_within = 0, size_sum = 0, crops = 0;

    for (guint i = 0; i < 20 + BUDGET_FRAMES; i++) {
      const CpspFrame what = {
        .image = &frame.image,.mask = &frame.mask,.budget_ms = ms,
      };

      check (cpsp_refiner_refine (refiner, &settings, &what, &frame.alpha,
              &stats, &error), error);
      if (i < 20)
        continue;
      took[i - 20] = stats.total_ms;
      n_within += stats.total_ms <= ms;
      size_sum += stats.global_size;
      crops += stats.crops_run;
    }
    g_print ("%8.1f %7.1f %9.1f", ms, 100 * n_within / BUDGET_FRAMES,
        median (took, BUDGET_FRAMES));
    // Sorted by now.
    g_print (" %9.1f %6.0f %6.1f\n", took[BUDGET_FRAMES * 99 / 100],
        size_sum / BUDGET_FRAMES, crops / BUDGET_FRAMES);
  }
  cpsp_refiner_free (refiner);
  frame_clear (&frame);
}

int
main (int argc, char **argv)
{
  const char *command = argc > 1 ? argv[1] : "";

  wrapped = real;
  if (g_str_equal (command, "profile") && argc == 5) {
    profile (argv[2], argv[3], parse_type (argv[4]));
  } else if (g_str_equal (command, "network") && argc == 6) {
    network (argv[2], argv[3], parse_type (argv[4]), atoi (argv[5]));
  } else if (g_str_equal (command, "memory") && argc == 5) {
    memory (argv[2], argv[3], parse_type (argv[4]));
  } else if (g_str_equal (command, "overhead") && argc == 5) {
    overhead (argv[2], argv[3], argv[4]);
  } else if (g_str_equal (command, "budget") && argc == 4) {
    budget (argv[2], argv[3]);
  } else {
    g_printerr ("usage: benchmark profile|memory MODEL WIDTHxHEIGHT "
        "fp32|bf16\n"
        "       benchmark network MODEL WIDTHxHEIGHT fp32|bf16 N\n"
        "       benchmark overhead MODEL WIDTHxHEIGHT I420|RGB\n"
        "       benchmark budget MODEL WIDTHxHEIGHT\n");
    return 2;
  }
  return 0;
}
