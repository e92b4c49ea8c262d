/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Choices are numbered by rank, each better and dearer than the one before:
 * rank 0 is the smallest Global size, n_globals - 1 the full one, and each
 * rank beyond that allows one more run of crops.
 *
 * One speed serves the network at all sizes and in both steps: per
 * multiply-accumulate they differ by a tenth on a CPU. So what is not run
 * for a while does not go stale. What does not shrink with the size (starting
 * a GPU's kernels) is measured once, by cpsp_budget_calibrate().
 */
#include "budget.h"

// Frames with room for more before more is done, and how much room that is:
// what was chosen should stay chosen although costs vary.
#define PATIENCE 8
#define CLEAR_MARGIN 1.2
// Where more that was tried had to be taken back within HELD_FRAMES, the next
// try waits twice as long, PATIENCE_MAX frames at most.
#define HELD_FRAMES 64
#define PATIENCE_MAX 256
#define RANK_MAX 65535
// Until a frame was measured, ms per pixel: 33 ms for a frame of 3840x2160,
// several times what is usual.
#define UNKNOWN_MS_PER_PIXEL 4e-6

static void
rate_push (CpspRate * rate, double sample)
{
  rate->samples[rate->n++ % CPSP_BUDGET_SAMPLES] = sample;
  // Stays above the number of samples when it wraps.
  if (rate->n == 2 * CPSP_BUDGET_SAMPLES)
    rate->n = CPSP_BUDGET_SAMPLES;
}

// The second largest of the newest samples (of one: that): no single one can
// raise it, and little of what is to come lies above.
static double
rate_get (const CpspRate * rate, double unknown)
{
  guint n = MIN (rate->n, CPSP_BUDGET_SAMPLES);
  double largest = 0, second = 0;

  if (n == 0)
    return unknown;
  for (guint i = 0; i < n; i++) {
    double sample = rate->samples[i];

    if (sample > largest) {
      second = largest;
      largest = sample;
    } else if (sample > second) {
      second = sample;
    }
  }
  return n == 1 ? largest : second;
}

void
cpsp_budget_calibrate (CpspBudget * budget, const CpspWork * work,
    double smallest_ms, double next_ms)
{
  double smallest = work->global[work->n_globals - 1], limit, run_macs = 0;

  if (work->n_globals > 1) {
    double next = work->global[work->n_globals - 2];

    // The line through both, where it meets 0 ms. It may be steep or flat by
    // accident: no more than the full size's own work.
    limit = work->global[0];
    run_macs = next_ms <= smallest_ms ? limit : CLAMP ((smallest_ms * next -
            next_ms * smallest) / (next_ms - smallest_ms), 0, limit);
  }
  budget->run_macs = run_macs;
  cpsp_budget_learn_network (budget, smallest, 1, smallest_ms);
}

void
cpsp_budget_learn_network (CpspBudget * budget, double macs, guint n_runs,
    double ms)
{
  rate_push (&budget->network, ms / (macs + n_runs * budget->run_macs));
}

void
cpsp_budget_learn_frame (CpspBudget * budget, double pixels, double input_ms,
    double finish_ms)
{
  rate_push (&budget->input, input_ms / pixels);
  rate_push (&budget->finish, finish_ms / pixels);
}

void
cpsp_budget_restart (CpspBudget * budget)
{
  budget->chosen = FALSE;
}

static double
run_ms (const CpspBudget * budget, double macs)
{
  return rate_get (&budget->network, 0) * (macs + budget->run_macs);
}

double
cpsp_budget_get_finish_ms (const CpspBudget * budget, const CpspWork * work)
{
  return rate_get (&budget->finish, UNKNOWN_MS_PER_PIXEL) * work->pixels;
}

// All of a frame but the network.
static double
frame_ms (const CpspBudget * budget, const CpspWork * work)
{
  return cpsp_budget_get_finish_ms (budget, work) +
      rate_get (&budget->input, UNKNOWN_MS_PER_PIXEL) * work->pixels;
}

// The best rank that takes no longer than BUDGET_MS; 0 if none does.
static guint
find_rank (const CpspBudget * budget, const CpspWork * work, double budget_ms)
{
  double left = budget_ms - frame_ms (budget, work), run;
  guint size = 0;

  if (budget->network.n == 0)
    return 0;
  while (size < work->n_globals &&
      run_ms (budget, work->global[size]) > left)
    size++;
  if (size == work->n_globals)
    return 0;
  if (size > 0 || work->local == 0)
    return work->n_globals - 1 - size;
  left -= run_ms (budget, work->global[0]);
  run = run_ms (budget, work->local);
  if (left >= run * RANK_MAX)
    return RANK_MAX;
  return work->n_globals - 1 + (guint) (left / run);
}

CpspChoice
cpsp_budget_choose (CpspBudget * budget, const CpspWork * work,
    double budget_ms)
{
  guint most = find_rank (budget, work, budget_ms);
  guint clear = find_rank (budget, work, budget_ms / CLEAR_MARGIN);
  guint full = work->n_globals - 1, rank;

  if (!budget->chosen) {
    budget->chosen = TRUE;
    budget->rank = clear;
    budget->n_clear = 0;
    budget->n_held = HELD_FRAMES;
    budget->patience = PATIENCE;
  }
  budget->n_held = MIN (budget->n_held + 1, HELD_FRAMES + 1);
  if (clear > budget->rank) {
    budget->clear_rank = budget->n_clear == 0 ? clear :
        MIN (budget->clear_rank, clear);
    if (++budget->n_clear >= budget->patience) {
      budget->rank = budget->clear_rank;
      budget->n_clear = budget->n_held = 0;
    }
  } else {
    budget->n_clear = 0;
  }
  if (most < budget->rank) {
    budget->patience = budget->n_held > HELD_FRAMES ? PATIENCE :
        MIN (2 * budget->patience, PATIENCE_MAX);
    budget->rank = most;
  }
  rank = budget->rank;
  return (CpspChoice) {
    .global = rank < full ? full - rank : 0,
    .n_runs = rank < full ? 0 : rank - full,
  };
}

gboolean
cpsp_budget_has_room (const CpspBudget * budget, const CpspWork * work,
    double macs, double last_ms, double left_ms)
{
  return MAX (run_ms (budget, macs), last_ms) +
      cpsp_budget_get_finish_ms (budget, work) <= left_ms;
}

double
cpsp_budget_get_cheapest_ms (const CpspBudget * budget, const CpspWork * work)
{
  if (budget->network.n == 0)
    return 0;
  return frame_ms (budget, work) +
      run_ms (budget, work->global[work->n_globals - 1]);
}
