/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What fits into a frame's time. Learns from what frames took, and chooses,
 * best first: the Global step at full size with as many Local runs as fit,
 * the Global step alone, the Global step at smaller sizes. Arithmetic only:
 * no clock, no device, no memory; one thread.
 *
 * Work is counted in multiply-accumulates (of the network) and in pixels (of
 * everything else), so that what was learnt at one size holds for others.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define CPSP_BUDGET_SIZES 5     // of the Global step at most
#define CPSP_BUDGET_SAMPLES 8

// What one unit of work took, the newest samples.
typedef struct
{
  double samples[CPSP_BUDGET_SAMPLES];
  guint n;                      // pushed, ever
} CpspRate;

// Zeros: nothing known.
typedef struct
{
  CpspRate network;             // ms per multiply-accumulate
  CpspRate input;               // ms per pixel of the frame: what is neither
                                // the network nor the finish
  CpspRate finish;              // ms per pixel of the frame
  double run_macs;              // what starting a run costs, as if computed
  gboolean chosen;              // there is a rank
  guint rank;                   // see budget.c
  guint n_clear, clear_rank;    // frames with room for more, the least of it
  guint n_held;                 // frames since the rank rose
  guint patience;               // frames with room before it rises
} CpspBudget;

// The work of a frame.
typedef struct
{
  double pixels;                // of the frame
  double global[CPSP_BUDGET_SIZES];     // at each size, largest first
  guint n_globals;              // >= 1
  double local;                 // of one run of crops; 0: no Local step
} CpspWork;

typedef struct
{
  guint global;                 // which size
  guint n_runs;                 // of crops, at most
} CpspChoice;

// The Global step took SMALLEST_MS at the smallest size of WORK, NEXT_MS at
// the one above (if there is one): a first idea of the speed, and of what a
// run costs before it computes anything.
void cpsp_budget_calibrate (CpspBudget * budget, const CpspWork * work,
    double smallest_ms, double next_ms);

// What a frame took: N_RUNS runs of the network, MACS in all; a finish of 0:
// there was none.
void cpsp_budget_learn_network (CpspBudget * budget, double macs,
    guint n_runs, double ms);
void cpsp_budget_learn_frame (CpspBudget * budget, double pixels,
    double input_ms, double finish_ms);

// Sizes or settings are other ones: the next choice follows no earlier one.
void cpsp_budget_restart (CpspBudget * budget);

// What to do with a frame of WORK within BUDGET_MS. Less than the frame before
// as soon as that would not fit, more after several frames with room for it.
// The cheapest if nothing fits.
CpspChoice cpsp_budget_choose (CpspBudget * budget, const CpspWork * work,
    double budget_ms);

// Whether LEFT_MS suffice for a run of MACS and the finish. LAST_MS: what
// such a run took just now; 0: none did.
gboolean cpsp_budget_has_room (const CpspBudget * budget,
    const CpspWork * work, double macs, double last_ms, double left_ms);

// What the finish takes.
double cpsp_budget_get_finish_ms (const CpspBudget * budget,
    const CpspWork * work);

// What the cheapest choice takes; 0: not known yet.
double cpsp_budget_get_cheapest_ms (const CpspBudget * budget,
    const CpspWork * work);

G_END_DECLS
