/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the engine allocates, and that it survives not getting it.
 */
#include "counting.h"
#include "cpu/cpu.h"
#include "model-file.h"
#include "test-frame.h"

// The linker (--wrap) puts `wrapped` where the refiner looks for the CPU
// backend's table.
extern const CpspBackend real __asm__ ("__real_cpsp_backend_cpu");
extern CpspBackend wrapped __asm__ ("__wrap_cpsp_backend_cpu");

CpspBackend wrapped;

// A run has fewer than 100 convolutions, of at most 5 arguments.
#define LIBRARIES_PER_RUN (100 * 8)

static const CpspWidths widths = {
  .stem = 4,.planes = {2, 2, 2, 2},.blocks = {1, 1, 1, 1},.psp = 4,
  .up = {4, 4, 4},.head = {2, 2, 2},
};

// The network runs, but its result is what the mask says: random weights
// find no edge.
static gboolean
run_copy (CpspPlan * plan, guint first, guint n, GError ** error)
{
  const CpspProgram *program = cpsp_cpu_plan_get_program (plan);
  gsize pixels = (gsize) program->params.width * program->params.height;
  static float input[1024 * 1024], p[1024 * 1024 / CPSP_INPUT_CHANNELS];

  g_assert_cmpuint (pixels * CPSP_INPUT_CHANNELS, <=, G_N_ELEMENTS (input));
  if (!real.tensor_read (plan, program->input, input, error))
    return FALSE;
  for (gsize i = 0; i < pixels; i++)
    p[i] = (input[i * CPSP_INPUT_CHANNELS + CPSP_INPUT_SEG] + 1) / 2;
  return real.plan_run (plan, first, n, error) &&
      real.tensor_write (plan, program->p1, p, error) &&
      (program->p4 == CPSP_NO_TENSOR ||
      real.tensor_write (plan, program->p4, p, error));
}

static CpspRefiner *
refiner_new (CpspModel * model, guint threads, GError ** error)
{
  const CpspRefinerParams params = {
    .backend = CPSP_BACKEND_CPU,.threads = threads
  };

  return cpsp_refiner_new (model, &params, error);
}

// A disc of radius R around (x, y).
static void
draw_mask (Frame * frame, gint x, gint y, gint r)
{
  for (gint j = 0; j < (gint) frame->height; j++)
    for (gint i = 0; i < (gint) frame->width; i++)
      frame->mask[j * frame->width + i] =
          (i - x) * (i - x) + (j - y) * (j - y) < r * r ? 255 : 0;
}

// Frames in steady state allocate nothing, wherever the boundary goes.
// Libraries do, and give it back: dnnl_primitive_execute() makes a hash table
// of its arguments each time, and OpenMP a team where it is of one thread.
static void
test_steady (void)
{
  static const struct
  {
    const char *name;
    guint crop_size;
    CpspLocalStep local_step;
    CpspLocalRegion local_region;
    double budget_ms;
    guint n_regions;
  } cases[] = {
    {"Global", 160, CPSP_LOCAL_STEP_NEVER, 0, 0, 0},
    {"crops", 160, CPSP_LOCAL_STEP_ALWAYS, CPSP_LOCAL_REGION_BOUNDARY, 0, 0},
    {"grid", 160, CPSP_LOCAL_STEP_ALWAYS, CPSP_LOCAL_REGION_REFERENCE, 0, 0},
    {"two Local steps", 96, CPSP_LOCAL_STEP_ALWAYS, 0, 0, 0},
    {"regions", 160, CPSP_LOCAL_STEP_ALWAYS, 0, 0, 2},
    {"much time", 160, CPSP_LOCAL_STEP_ALWAYS, 0, 1e6, 0},
    {"little time", 160, CPSP_LOCAL_STEP_ALWAYS, 0, 15, 0},
    {"no time", 160, CPSP_LOCAL_STEP_ALWAYS, 0, 1e-3, 0},
  };
  static const CpspRect regions[] = { {0, 0, 200, 300}, {300, 50, 90, 90} };
  g_autoptr (CpspModel) model = model_new_random (&widths, 1);
  g_autoptr (CpspRefiner) refiner = refiner_new (model, 0, NULL);
  Frame frame = frame_new (480, 300);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    CpspSettings settings = {
      .crop_size = cases[i].crop_size,.local_step = cases[i].local_step,
      .local_region = cases[i].local_region,.mask_threshold = 0.5,
    };
    CpspFrame what = {
      .image = &frame.image_view,.mask = &frame.mask_view,
      .regions = cases[i].n_regions ? regions : NULL,
      .n_regions = cases[i].n_regions,.budget_ms = cases[i].budget_ms,
    };
    guint n = 0, n_crops = 0, n_runs;

    for (guint j = 0; j < 12; j++) {
      CpspStats stats;
      gboolean ok;

      // First the widest mask, then ever another one.
      draw_mask (&frame, j ? 60 + 30 * j : 240, j ? 40 + 20 * j : 150,
          j ? 30 + 12 * (j % 5) : 140);
      counting_begin (-1);
      ok = cpsp_refiner_refine (refiner, &settings, &what, &frame.alpha_view,
          &stats, NULL);
      guint taken = counting_end ();

      g_assert_true (ok);
      n_crops += stats.crops_run;
      n_runs = stats.crops_run + 1;
      if (j < 2)
        continue;
      g_assert_cmpint (counting_n_library, <=, LIBRARIES_PER_RUN * n_runs);
      g_assert_cmpint (counting_bytes, ==, 0);
      n += taken;
      if (taken) {
        Dl_info info = { 0 };

        dladdr (counting_first, &info);
        g_test_message ("%s, frame %u: %u, the first by %s in %s",
            cases[i].name, j, taken, info.dli_sname, info.dli_fname);
      }
    }
    g_test_message ("%s: %u allocations, %u crops; libraries %d for %u runs",
        cases[i].name, n, n_crops, counting_n_library, n_runs);
    g_assert_cmpuint (n, ==, 0);
  }
  frame_clear (&frame);
}

// Loads, prepares and refines; TRUE: all of that went well.
static gboolean
do_all (GBytes * bytes, Frame * frame, GError ** error)
{
  const CpspSettings settings = {.crop_size = 160,.mask_threshold = 0.5 };
  const CpspRect region = { 0, 0, 480, 300 };
  CpspModel *model = cpsp_model_load_bytes ("model", bytes, error);
  CpspRefiner *refiner = model ? refiner_new (model, 1, error) : NULL;
  gboolean ok = refiner != NULL;

  for (guint i = 0; ok && i < 2; i++)
    ok = cpsp_refiner_refine (refiner, &settings, &(CpspFrame) {
        .image = &frame->image_view,.mask = &frame->mask_view,
        .regions = &region,.n_regions = 1,.budget_ms = i ? 1e6 : 0},
        &frame->alpha_view, NULL, error);
  if (refiner)
    cpsp_refiner_free (refiner);
  if (model)
    cpsp_model_unref (model);
  return ok;
}

// Each allocation that may fail fails once: an error, no crash, nothing lost;
// afterwards everything works.
static void
test_refused (void)
{
  g_autoptr (File) file = file_new (&widths);
  g_autoptr (GBytes) bytes = NULL;
  Frame frame = frame_new (480, 300);
  gint n, n_refused = 0;

  file_randomise (file, 1);
  bytes = file_write (file);
  // Once to have what libraries keep.
  g_assert_true (do_all (bytes, &frame, NULL));
  counting_begin (0);
  g_assert_true (do_all (bytes, &frame, NULL));
  n = counting_end () ? counting_n_may_fail : 0;
  g_test_message ("%d of %d allocations may fail", n, counting_n);
  g_assert_cmpint (n, >, 50);

  // The first one twice, for what GLib keeps of a first error.
  for (gint i = 0; i <= n; i++) {
    GError *error = NULL;
    gboolean ok, no_memory;

    counting_begin (MAX (i, 1));
    ok = do_all (bytes, &frame, &error);
    no_memory = g_error_matches (error, CPSP_ERROR, CPSP_ERROR_NO_MEMORY);
    g_clear_error (&error);
    counting_end ();
    // oneDNN can do without some buffers.
    g_assert_true (ok || no_memory);
    n_refused += !ok;
    if (i > 0)
      g_assert_cmpint (counting_bytes, <=, 0);
  }
  g_test_message ("%d were errors", n_refused);
  g_assert_true (do_all (bytes, &frame, NULL));
  frame_clear (&frame);
}

// Whatever a model file's header says, reading it takes little memory.
static void
test_header (void)
{
  for (guint way = 0; way < 3; way++) {
    g_autoptr (GString) header = g_string_new ("{\"a\":{\"shape\":[1");
    g_autoptr (GBytes) bytes = NULL;
    GError *error = NULL;

    switch (way) {
      case 0:
        for (guint i = 0; i < 65000; i++)
          g_string_append (header, ",1");
        g_string_append (header, "]}}");
        break;
      case 1:
        g_string_append (header, "]}");
        for (guint i = 0; i < 16000; i++)
          g_string_append_printf (header, ",\"%x\":{\"%x\":{}}", i, i);
        g_string_append (header, "}");
        break;
      case 2:
        g_string_append (header, "]},\"");
        while (header->len < (1 << 20) - 10)
          g_string_append_c (header, 'x');
        g_string_append (header, "\":{}}");
        break;
    }
    bytes = pack (header->str, -1, NULL, 0);
    counting_begin (-1);
    g_assert_null (cpsp_model_load_bytes ("bad", bytes, &error));
    counting_end ();
    g_assert_error (error, CPSP_ERROR, CPSP_ERROR_FORMAT);
    g_test_message ("%d kB: %s", (gint) (counting_peak >> 10),
        error->message);
    g_assert_cmpint (counting_peak, <, 32 << 20);
    g_clear_error (&error);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  wrapped = real;
  wrapped.plan_run = run_copy;
  g_test_add_func ("/memory/steady", test_steady);
  g_test_add_func ("/memory/refused", test_refused);
  g_test_add_func ("/memory/header", test_header);
  return g_test_run ();
}
