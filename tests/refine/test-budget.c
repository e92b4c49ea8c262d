/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The budget's decisions on simulated machines: no clock, so that each test
 * says exactly what its machine does.
 */
#include "budget.h"

#include <math.h>

// A frame of 1920x1080 with a Local step, multiply-accumulates of the
// published widths in billions.
static const CpspWork work = {
  .pixels = 1920 * 1080,
  .global = {560, 315, 140, 79, 35},
  .n_globals = 5,
  .local = 400,
};

typedef struct
{
  CpspBudget budget;
  double speed;                 // ms per unit of work
  double run_ms;                // of starting a run
  double noise;                 // times are multiplied by 1 .. 1 + noise
  GRand *random;
  guint planned;                // crops that each frame has
  // What frames did.
  guint n_frames, n_late, n_changes;
  double late_ms;               // the latest
  CpspChoice last;
  guint n_run;                  // crops of the last frame
} Machine;

static double
vary (Machine * machine, double ms)
{
  return ms * (1 + machine->noise * g_rand_double (machine->random));
}

static double
run_time (Machine * machine, double macs)
{
  return vary (machine, machine->run_ms + machine->speed * macs);
}

static Machine
machine_new (double speed, double run_ms, double noise)
{
  Machine machine = {
    .speed = speed,.run_ms = run_ms,.noise = noise,.planned = 6,
    .random = g_rand_new_with_seed (g_test_rand_int ()),
  };

  cpsp_budget_calibrate (&machine.budget, &work,
      run_time (&machine, work.global[4]),
      run_time (&machine, work.global[3]));
  return machine;
}

// One frame, as the refiner does it; returns what it took.
static double
run_frame (Machine * machine, double budget_ms)
{
  CpspBudget *budget = &machine->budget;
  CpspChoice choice = cpsp_budget_choose (budget, &work, budget_ms);
  double input = vary (machine, 3), finish = vary (machine, 2);
  double network = run_time (machine, work.global[choice.global]);
  double macs = work.global[choice.global];
  double last = 0;
  guint n = 0;

  while (n < MIN (choice.n_runs, machine->planned) &&
      cpsp_budget_has_room (budget, &work, work.local, last,
          budget_ms - input - network)) {
    last = run_time (machine, work.local);
    network += last;
    macs += work.local;
    n++;
  }
  cpsp_budget_learn_network (budget, macs, 1 + n, network);
  cpsp_budget_learn_frame (budget, work.pixels, input, finish);
  machine->n_late += input + network + finish > budget_ms;
  machine->late_ms = MAX (machine->late_ms, input + network + finish -
      budget_ms);
  machine->n_changes += machine->n_frames++ > 0 &&
      (choice.global != machine->last.global ||
      (n == 0) != (machine->n_run == 0));
  machine->last = choice;
  machine->n_run = n;
  return input + network + finish;
}

static void
run_frames (Machine * machine, double budget_ms, guint n)
{
  machine->n_frames = machine->n_late = machine->n_changes = 0;
  machine->late_ms = 0;
  while (n-- > 0)
    run_frame (machine, budget_ms);
}

static void
machine_clear (Machine * machine)
{
  g_rand_free (machine->random);
}

// Nothing known: the cheapest, and what it takes is not known either.
static void
test_unknown (void)
{
  CpspBudget budget = { 0 };

  g_assert_cmpfloat (cpsp_budget_get_cheapest_ms (&budget, &work), ==, 0);
  g_assert_cmpuint (cpsp_budget_choose (&budget, &work, 1e9).global, ==, 4);
}

// Every machine does what fits from the first frame on, and soon the best.
static void
test_steady (void)
{
  static const struct
  {
    double speed, run_ms, budget_ms;
    guint global, n_run;
  } cases[] = {
    {0.01, 0, 45, 0, 6},        // 5.6 + 6 * 4 + 5: everything
    {0.02, 0, 40, 0, 2},        // 11.2 + 2 * 8 + 5 = 32.2
    {0.05, 0, 40, 0, 0},        // 28 + 5
    {0.1, 0, 45, 1, 0},         // 31.5 + 5
    {0.2, 0, 40, 2, 0},         // 28 + 5
    {0.3, 0, 40, 3, 0},         // 23.7 + 5
    {0.7, 0, 40, 4, 0},         // 24.5 + 5
    {10, 0, 40, 4, 0},          // nothing fits
    {0.01, 6, 33, 0, 1},        // kernels to start: 11.6 + 10 + 5
    {0.01, 10, 32, 0, 0},       // 15.6 + 5; a run of crops: 14
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    Machine machine = machine_new (cases[i].speed, cases[i].run_ms, 0);

    run_frames (&machine, cases[i].budget_ms, 30);
    g_assert_cmpuint (machine.n_late, ==, cases[i].speed < 10 ? 0 : 30);
    g_assert_cmpuint (machine.last.global, ==, cases[i].global);
    g_assert_cmpuint (machine.n_run, ==, cases[i].n_run);
    machine_clear (&machine);
  }
}

// One frame that takes ten times as long changes nothing.
static void
test_outlier (void)
{
  Machine machine = machine_new (0.05, 0, 0.02);
  CpspChoice before;

  run_frames (&machine, 45, 20);
  before = machine.last;
  for (guint i = 0; i < 5; i++) {
    machine.speed *= 10;
    run_frame (&machine, 45);
    machine.speed /= 10;
    for (guint j = 0; j < 20; j++) {
      run_frame (&machine, 45);
      g_assert_cmpuint (machine.last.global, ==, before.global);
    }
  }
  machine_clear (&machine);
}

// Slower by half from one frame to the next: two frames are late, no more.
// When that is over, quality comes back, after several frames.
static void
test_step (void)
{
  Machine machine = machine_new (0.05, 0, 0.02);
  guint n = 0;

  run_frames (&machine, 45, 20);
  g_assert_cmpuint (machine.last.global, ==, 0);
  machine.speed *= 4;
  run_frames (&machine, 45, 100);
  g_assert_cmpuint (machine.n_late, <=, 2);
  g_assert_cmpuint (machine.n_changes, ==, 1);
  g_assert_cmpuint (machine.last.global, ==, 2);
  machine.speed /= 4;
  for (; machine.last.global > 0; n++) {
    run_frame (&machine, 45);
    g_assert_cmpuint (n, <, 300);
  }
  g_test_message ("back after %u frames", n);
  g_assert_cmpuint (n, >=, 8);
  run_frames (&machine, 45, 100);
  g_assert_cmpuint (machine.n_changes, ==, 0);
  g_assert_cmpuint (machine.n_late, ==, 0);
  machine_clear (&machine);
}

// Costs that vary by half: most frames keep the budget, and what is chosen
// seldom changes.
static void
test_noise (void)
{
  for (guint i = 0; i < 40; i++) {
    Machine machine = machine_new (0.01 * pow (1.12, i), 0, 0.5);

    run_frames (&machine, 45, 1000);
    g_test_message ("%.3f: size %u, %u late by at most %.1f ms, %u changes",
        machine.speed, machine.last.global, machine.n_late, machine.late_ms,
        machine.n_changes);
    // Where the least fits at all.
    if (35 * machine.speed * 1.5 + 7.5 < 45) {
      g_assert_cmpuint (machine.n_late, <, 100);
      g_assert_cmpfloat (machine.late_ms, <, 45 / 3.0);
    }
    g_assert_cmpuint (machine.n_changes, <, 30);
    machine_clear (&machine);
  }
}

// A speed that looks right at a small size and is half as fast at full size:
// the full size is tried ever more seldom.
static void
test_false_hope (void)
{
  Machine machine = machine_new (0.05, 0, 0);
  guint n_full = 0;

  for (guint i = 0; i < 2000; i++) {
    machine.speed = machine.last.global == 0 ? 0.1 : 0.05;
    run_frame (&machine, 45);
    n_full += machine.last.global == 0;
  }
  g_test_message ("%u of 2000 frames tried it", n_full);
  g_assert_cmpuint (n_full, <, 60);
  machine_clear (&machine);
}

// What was learnt at one size holds at another.
static void
test_sizes (void)
{
  Machine machine = machine_new (0.05, 1, 0);
  CpspWork half = work;

  run_frames (&machine, 45, 20);
  for (guint i = 0; i < half.n_globals; i++)
    half.global[i] /= 4;
  half.pixels /= 4;
  // 35 / 4 * 0.05 + 1 + 5 / 4
  g_assert_cmpfloat_with_epsilon (cpsp_budget_get_cheapest_ms (
          &machine.budget, &half), 2.6875, 1e-3);
  cpsp_budget_restart (&machine.budget);
  g_assert_cmpuint (cpsp_budget_choose (&machine.budget, &half, 12).global,
      ==, 0);
  machine_clear (&machine);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/budget/unknown", test_unknown);
  g_test_add_func ("/budget/steady", test_steady);
  g_test_add_func ("/budget/outlier", test_outlier);
  g_test_add_func ("/budget/step", test_step);
  g_test_add_func ("/budget/noise", test_noise);
  g_test_add_func ("/budget/false-hope", test_false_hope);
  g_test_add_func ("/budget/sizes", test_sizes);
  return g_test_run ();
}
