/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames with a budget on a machine whose speed the test sets: the clock is
 * the test's own, and the network, replaced by an edge, is what advances it.
 */
#include "choose.h"
#include "cpu/cpu.h"
#include "test-frame.h"

// The linker (--wrap) puts `wrapped` where the refiner looks for the CPU
// backend's table.
extern const CpspBackend real __asm__ ("__real_cpsp_backend_cpu");
extern CpspBackend wrapped __asm__ ("__wrap_cpsp_backend_cpu");
extern gboolean choose_another (const CpspRefinerParams * params,
    const CpspChoiceOfDevice * choice, GError * why,
    CpspChoiceOfDevice * another, GError ** error)
    __asm__ ("__wrap_cpsp_choose_another");

CpspBackend wrapped;

#define WIDTH 1280
#define HEIGHT 720
#define CROP_SIZE 256

static gint64 now = 1;          // microseconds
static double us_per_mac;
static double slowdown = 1;
static guint runs_until_slow;   // 0: it does not happen
static guint n_runs;            // calls of plan_run
static gboolean launches_whole;
static gboolean fails;          // the next call of plan_run

// Behind the CPU there is another one.
gboolean
choose_another (const CpspRefinerParams * params,
    const CpspChoiceOfDevice * choice, GError * why,
    CpspChoiceOfDevice * another, GError ** error)
{
  g_error_free (why);
  return cpsp_choose_device (params, another, error);
}

gint64
g_get_monotonic_time (void)
{
  return now;
}

// P1 and P4 are what the mask says. Of the other operations only their time is
// taken, so that the input is still there for the last one.
static gboolean
run_copy (CpspPlan * plan, guint first, guint n, GError ** error)
{
  const CpspProgram *program = cpsp_cpu_plan_get_program (plan);
  gsize pixels = (gsize) program->params.width * program->params.height;
  g_autofree float *input = g_new (float, pixels * CPSP_INPUT_CHANNELS);
  g_autofree float *p = g_new (float, pixels);
  double macs = 0;

  n_runs++;
  if (fails) {
    fails = FALSE;
    g_set_error_literal (error, CPSP_ERROR, CPSP_ERROR_DEVICE, "the test's");
    return FALSE;
  }
  for (guint i = first; i < first + n; i++)
    macs += cpsp_program_op_macs (program, i);
  // What streams has nowhere to stay between two calls.
  if (first > 0)
    g_assert_false (program->tensors[program->ops[first - 1].dst].transient);
  if (runs_until_slow > 0 && --runs_until_slow == 0)
    slowdown = 10;
  now += (gint64) (us_per_mac * slowdown * macs);
  if (first + n < program->n_ops)
    return TRUE;
  if (!real.tensor_read (plan, program->input, input, error))
    return FALSE;
  for (gsize i = 0; i < pixels; i++)
    p[i] = (input[i * CPSP_INPUT_CHANNELS + CPSP_INPUT_SEG] + 1) / 2;
  return real.tensor_write (plan, program->p1, p, error) &&
      (program->p4 == CPSP_NO_TENSOR ||
      real.tensor_write (plan, program->p4, p, error));
}

static void
describe (CpspDevice * device, CpspDeviceInfo * info)
{
  real.describe (device, info);
  info->launches_whole = launches_whole;
}

static CpspModel *model;
static CpspSettings settings = CPSP_SETTINGS_DEFAULT;

static CpspStats
refine (CpspRefiner * refiner, const Frame * frame, double budget_ms)
{
  CpspStats stats;
  GError *error = NULL;

  cpsp_refiner_refine (refiner, &settings, &(CpspFrame) {
      .image = &frame->image_view,.mask = &frame->mask_view,
      .budget_ms = budget_ms}, &frame->alpha_view, &stats, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (stats.crops_planned, ==,
      stats.crops_run + stats.crops_skipped);
  return stats;
}

// A refiner on which a full Global step takes GLOBAL_MS.
static CpspRefiner *
refiner_new (const Frame * frame, double global_ms)
{
  const CpspRefinerParams params = {.backend = CPSP_BACKEND_CPU };
  GError *error = NULL;
  CpspRefiner *refiner = cpsp_refiner_new (model, &params, &error);
  CpspStats stats;

  g_assert_no_error (error);
  slowdown = 1;
  us_per_mac = 1e-3;
  stats = refine (refiner, frame, 0);
  us_per_mac *= global_ms / stats.global_ms;
  cpsp_refiner_free (refiner);
  refiner = cpsp_refiner_new (model, &params, &error);
  g_assert_no_error (error);
  return refiner;
}

// No time at all: the smallest size, at once. All the time of the world:
// what is done without a budget, but for the order of the sums.
static void
test_extremes (void)
{
  Frame frame = frame_new (WIDTH, HEIGHT), all = frame_new (WIDTH, HEIGHT);
  g_autoptr (CpspRefiner) refiner = refiner_new (&frame, 10);
  CpspStats stats, unlimited;
  gsize memory;
  guint n;

  unlimited = refine (refiner, &all, 0);
  g_assert_cmpuint (unlimited.crops_run, >, 3);
  g_assert_cmpfloat (cpsp_refiner_get_cheapest_ms (refiner), ==, 0);
  stats = refine (refiner, &frame, 1e-3);
  memory = cpsp_refiner_get_memory (refiner);
  g_assert_cmpuint (stats.global_size, ==, CROP_SIZE * 3 / 8);
  g_assert_true (stats.local_skipped);
  g_assert_cmpuint (stats.crops_planned, ==, 0);
  cpsp_refiner_get_crops (refiner, &n);
  g_assert_cmpuint (n, ==, 0);
  g_assert_cmpfloat (cpsp_refiner_get_cheapest_ms (refiner), >, 1);
  g_assert_cmpfloat (cpsp_refiner_get_cheapest_ms (refiner), <, 10);
  frame_assert_probabilities (&frame);

  for (guint i = 0; i < 20; i++)
    stats = refine (refiner, &frame, 1e6);
  g_assert_cmpuint (stats.crops_run, ==, unlimited.crops_run);
  g_assert_cmpuint (stats.crops_skipped, ==, 0);
  g_assert_false (stats.local_skipped);
  for (gsize i = 0; i < WIDTH * HEIGHT; i++)
    g_assert_cmpfloat_with_epsilon (frame.alpha[i], all.alpha[i], 1e-5);
  g_assert_cmpuint (cpsp_refiner_get_memory (refiner), ==, memory);
  frame_clear (&frame);
  frame_clear (&all);
}

static gboolean
is_inside (const CpspRect * area, guint x, guint y)
{
  return x - area->x < area->width && y - area->y < area->height;
}

// Half of the crops fit: the same ones in every frame; elsewhere the result
// is the Global one.
static void
test_some_crops (void)
{
  Frame frame = frame_new (WIDTH, HEIGHT), global = frame_new (WIDTH, HEIGHT);
  g_autoptr (CpspRefiner) refiner = refiner_new (&frame, 10);
  CpspStats stats = refine (refiner, &frame, 0);
  guint all = stats.crops_run, n;
  double crop_ms = stats.local_ms / all;
  double budget_ms = 1.3 * (stats.global_ms + crop_ms * all / 2);
  const CpspCropReport *crops;
  CpspCropReport first[64];

  settings.local_step = CPSP_LOCAL_STEP_NEVER;
  refine (refiner, &global, 0);
  settings.local_step = CPSP_LOCAL_STEP_AUTO;
  for (guint i = 0; i < 30; i++) {
    stats = refine (refiner, &frame, budget_ms);
    g_assert_cmpfloat (stats.total_ms, <=, budget_ms);
    if (i < 10)
      continue;
    g_assert_cmpuint (stats.crops_planned, ==, all);
    g_assert_cmpuint (stats.crops_run, >=, all / 2);
    g_assert_cmpuint (stats.crops_run, <, all);
    crops = cpsp_refiner_get_crops (refiner, &n);
    g_assert_cmpuint (n, ==, all);
    g_assert_cmpuint (n, <=, G_N_ELEMENTS (first));
    if (i == 10)
      memcpy (first, crops, n * sizeof *crops);
    else
      g_assert_cmpmem (crops, n * sizeof *crops, first, n * sizeof *crops);
  }
  crops = cpsp_refiner_get_crops (refiner, &n);
  for (guint i = 0; i < n; i++)
    g_assert_cmpint (crops[i].run, ==, i < stats.crops_run);
  for (guint y = 0; y < HEIGHT; y++)
    for (guint x = 0; x < WIDTH; x++) {
      gboolean inside = FALSE;

      for (guint i = 0; i < stats.crops_run; i++)
        inside = inside || is_inside (&crops[i].area, x, y);
      if (!inside)
        g_assert_cmpfloat (frame.alpha[y * WIDTH + x], ==,
            global.alpha[y * WIDTH + x]);
    }
  frame_clear (&frame);
  frame_clear (&global);
}

// The machine becomes ten times as slow in the middle of a frame: what
// has not begun then does not run.
static void
test_slow_crop (void)
{
  Frame frame = frame_new (WIDTH, HEIGHT);
  g_autoptr (CpspRefiner) refiner = refiner_new (&frame, 10);
  CpspStats stats = refine (refiner, &frame, 0);
  double budget_ms = 1.5 * stats.total_ms;
  guint all = stats.crops_run;

  for (guint i = 0; i < 20; i++)
    stats = refine (refiner, &frame, budget_ms);
  g_assert_cmpuint (stats.crops_run, ==, all);
  // The Global step, two crops, and two that are slow.
  runs_until_slow = 4;
  stats = refine (refiner, &frame, budget_ms);
  g_test_message ("%u crops of %u, %.1f ms of %.1f", stats.crops_run, all,
      stats.total_ms, budget_ms);
  g_assert_cmpuint (stats.crops_run, ==, 4);
  g_assert_cmpuint (stats.crops_skipped, >, 0);
  g_assert_cmpfloat (stats.total_ms, <=, budget_ms);
  frame_clear (&frame);
}

static CpspStats
refine_within (CpspRefiner * refiner, const Frame * frame, double budget_ms,
    double limit_ms)
{
  CpspStats stats;
  GError *error = NULL;

  cpsp_refiner_refine (refiner, &settings, &(CpspFrame) {
      .image = &frame->image_view,.mask = &frame->mask_view,
      .budget_ms = budget_ms,.limit_ms = limit_ms}, &frame->alpha_view, &stats,
      &error);
  g_assert_no_error (error);
  return stats;
}

// A Global step that is laid aside when its time is over, and goes on later,
// comes to the same as one that is not.
static void
test_unfinished (void)
{
  Frame whole = frame_new (WIDTH, HEIGHT), frame = frame_new (WIDTH, HEIGHT);
  g_autoptr (CpspRefiner) refiner = refiner_new (&frame, 100);
  CpspStats stats, all = refine (refiner, &whole, 1e-3);
  double cheapest_ms = cpsp_refiner_get_cheapest_ms (refiner);
  double limit_ms = all.total_ms / 4.5;
  gint64 before;
  GError *error = NULL;
  guint n = 0;

  // Time enough: nothing is different.
  stats = refine_within (refiner, &frame, 1e-3, 2 * all.total_ms);
  g_assert_false (stats.unfinished);
  g_assert_cmpmem (frame.alpha, WIDTH * HEIGHT * sizeof *frame.alpha,
      whole.alpha, WIDTH * HEIGHT * sizeof *whole.alpha);

  memset (frame.alpha, 0, WIDTH * HEIGHT * sizeof *frame.alpha);
  before = now;
  stats = refine_within (refiner, &frame, 1e-3, limit_ms);
  while (stats.unfinished) {
    // It stops in time, but for what it cannot stop in.
    g_assert_cmpfloat ((now - before) / 1000.0, <=, 1.2 * limit_ms);
    g_assert_cmpfloat (frame.alpha[WIDTH * HEIGHT / 2 + WIDTH / 2], ==, 0);
    before = now;
    cpsp_refiner_resume (refiner, limit_ms, &frame.alpha_view, &stats, &error);
    g_assert_no_error (error);
    n++;
  }
  g_assert_cmpuint (n, ==, 4);
  g_assert_cmpmem (frame.alpha, WIDTH * HEIGHT * sizeof *frame.alpha,
      whole.alpha, WIDTH * HEIGHT * sizeof *whole.alpha);
  g_assert_cmpuint (stats.global_size, ==, all.global_size);
  g_assert_true (stats.local_skipped);
  g_assert_cmpfloat_with_epsilon (stats.total_ms, all.total_ms, 0.5);
  g_assert_cmpfloat_with_epsilon (stats.global_ms, all.global_ms, 0.5);
  g_assert_cmpfloat_with_epsilon (cpsp_refiner_get_cheapest_ms (refiner),
      cheapest_ms, 0.5);

  // There is nothing to go on with: it came to its end,
  g_assert_false (cpsp_refiner_resume (refiner, 10, &frame.alpha_view, &stats,
          &error));
  g_assert_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT);
  g_clear_error (&error);
  // or another frame came.
  stats = refine_within (refiner, &frame, 1e-3, limit_ms);
  g_assert_true (stats.unfinished);
  g_assert_false (refine (refiner, &frame, 1e-3).unfinished);
  g_assert_false (cpsp_refiner_resume (refiner, 10, &frame.alpha_view, &stats,
          &error));
  g_assert_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT);
  g_clear_error (&error);
  frame_clear (&frame);
  frame_clear (&whole);
}

// A frame that is lost with its device took nothing and came to nothing; the
// next one has another device.
static void
test_lost (void)
{
  Frame frame = frame_new (WIDTH, HEIGHT);
  g_autoptr (CpspRefiner) refiner = refiner_new (&frame, 100);
  CpspStats stats = refine (refiner, &frame, 1e-3), nothing = { 0 };
  double limit_ms = stats.total_ms / 2;
  GError *error = NULL;

  memset (frame.alpha, 0, WIDTH * HEIGHT * sizeof *frame.alpha);
  stats = refine_within (refiner, &frame, 1e-3, limit_ms);
  g_assert_true (stats.unfinished);
  fails = TRUE;
  g_assert_true (cpsp_refiner_resume (refiner, 10 * limit_ms,
          &frame.alpha_view, &stats, &error));
  g_assert_no_error (error);
  g_assert_false (fails);
  g_assert_cmpmem (&stats, sizeof stats, &nothing, sizeof nothing);
  g_assert_cmpfloat (frame.alpha[WIDTH * HEIGHT / 2 + WIDTH / 2], ==, 0);
  g_assert_false (cpsp_refiner_resume (refiner, 10 * limit_ms,
          &frame.alpha_view, &stats, &error));
  g_assert_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT);
  g_clear_error (&error);
  g_assert_cmpuint (refine (refiner, &frame, 1e-3).global_size, >, 0);
  frame_clear (&frame);
}

// Where a program run whole costs less, a Global step with a limit is one run
// if there is time enough, and slices if it may get short.
static void
test_one_launch (void)
{
  Frame frame = frame_new (WIDTH, HEIGHT);

  for (guint whole = 0; whole < 2; whole++) {
    g_autoptr (CpspRefiner) refiner = NULL;
    CpspStats stats;

    launches_whole = whole;
    refiner = refiner_new (&frame, 100);
    stats = refine (refiner, &frame, 1e-3);
    n_runs = 0;
    refine_within (refiner, &frame, 1e-3, 3 * stats.total_ms);
    if (whole)
      g_assert_cmpuint (n_runs, ==, 1);
    else
      g_assert_cmpuint (n_runs, >, 16);
    n_runs = 0;
    refine_within (refiner, &frame, 1e-3, 1.5 * stats.total_ms);
    g_assert_cmpuint (n_runs, >, 16);
  }
  launches_whole = FALSE;
  frame_clear (&frame);
}

// From full quality down the ladder and up again, as the machine's speed
// asks. Each size is prepared once.
static void
test_ladder (void)
{
  static const struct
  {
    double slowdown;
    guint global_size;
    gboolean local;
  } stages[] = {
    {1, CROP_SIZE, TRUE}, {3.5, CROP_SIZE, FALSE},
    {6, CROP_SIZE * 3 / 4, FALSE}, {12, CROP_SIZE / 2, FALSE},
    {22, CROP_SIZE * 3 / 8, FALSE}, {6, CROP_SIZE * 3 / 4, FALSE},
    {1, CROP_SIZE, TRUE},
  };
  Frame frame = frame_new (WIDTH, HEIGHT);
  g_autoptr (CpspRefiner) refiner = refiner_new (&frame, 10);
  CpspStats stats;
  gsize memory = 0;

  for (guint i = 0; i < G_N_ELEMENTS (stages); i++) {
    guint n_late = 0;

    slowdown = stages[i].slowdown;
    for (guint j = 0; j < 100; j++) {
      stats = refine (refiner, &frame, 45);
      n_late += stats.total_ms > 45;
      frame_assert_probabilities (&frame);
    }
    g_test_message ("%.1f: size %u, %u crops, %u late, %.1f ms, cheapest "
        "%.1f ms", slowdown, stats.global_size, stats.crops_run, n_late,
        stats.total_ms, cpsp_refiner_get_cheapest_ms (refiner));
    g_assert_cmpuint (n_late, <=, 2);
    g_assert_cmpuint (stats.global_size, ==, stages[i].global_size);
    g_assert_cmpint (stats.crops_run > 0, ==, stages[i].local);
    if (i == 0)
      memory = cpsp_refiner_get_memory (refiner);
    g_assert_cmpuint (cpsp_refiner_get_memory (refiner), ==, memory);
  }
  frame_clear (&frame);
}

int
main (int argc, char **argv)
{
  GError *error = NULL;
  int status;

  g_test_init (&argc, &argv, NULL);
  wrapped = real;
  wrapped.plan_run = run_copy;
  wrapped.describe = describe;
  settings.crop_size = CROP_SIZE;
  model = cpsp_model_load (g_getenv ("CPSP_MODEL"), &error);
  g_assert_no_error (error);
  g_test_add_func ("/overload/extremes", test_extremes);
  g_test_add_func ("/overload/some-crops", test_some_crops);
  g_test_add_func ("/overload/slow-crop", test_slow_crop);
  g_test_add_func ("/overload/unfinished", test_unfinished);
  g_test_add_func ("/overload/lost", test_lost);
  g_test_add_func ("/overload/one-launch", test_one_launch);
  g_test_add_func ("/overload/ladder", test_ladder);
  status = g_test_run ();
  cpsp_model_unref (model);
  return status;
}
