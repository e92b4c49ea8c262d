/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tests of the tests: each planted bug must be found, by what is said here to
 * find it; the sound kernel must pass. A build finds what it can: the engine
 * and the numbers in every one, the rest where that sanitizer is. Compiled
 * with CPSP_TEST_PTX, the kernels run as PTX, and the interpreter finds what
 * the compiler leaves.
 */
#include <glib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "device.h"
#include "half.h"
#include "planted.h"

#ifdef CPSP_TEST_PTX
#include "ptx.h"
#define set_seed ptx_set_seed
#else
#include "engine.h"
#define set_seed shim_seed
#endif

#define N 167                   // two groups and a part, not whole vectors
#define SEEDS 20                // orders that are tried

#if defined (CPSP_TEST_PTX)
#define SANITIZER PTX
#elif defined (__SANITIZE_ADDRESS__)
#define SANITIZER ADDRESS
#elif defined (__SANITIZE_THREAD__)
#define SANITIZER THREAD
#else
#define SANITIZER NONE
#endif

typedef enum
{
  ANY,                          // found by every build of the shim
  NONE,
  ADDRESS,
  THREAD,
  PTX,                          // none: the interpreter
} Sanitizer;

typedef struct
{
  const char *name;
  Planted bug;
  Sanitizer sanitizer;
  const char *message;          // a pattern
} Case;

#define WRONG "*wrong result*"
#define RACE "*data race*"

static const Case cases[] = {
  {"no-barrier", PLANTED_NO_BARRIER, NONE, WRONG},
  {"no-barrier", PLANTED_NO_BARRIER, THREAD, RACE},
  {"barrier-in-branch", PLANTED_BARRIER_IN_BRANCH, ANY,
    "*at different barriers*"},
  {"return-before-barrier", PLANTED_RETURN_BEFORE_BARRIER, ANY,
    "*a barrier waits for a thread that has returned*"},
  {"return-before-shuffle", PLANTED_RETURN_BEFORE_SHUFFLE, ANY,
    "*names a lane that has returned*"},
  {"shuffle-in-branch", PLANTED_SHUFFLE_IN_BRANCH, ANY,
    "*at different calls*"},
  {"shuffle-elsewhere", PLANTED_SHUFFLE_ELSEWHERE, ANY,
    "*reads a lane that it does not name*"},
  {"shuffle-for-barrier", PLANTED_SHUFFLE_FOR_BARRIER, THREAD, RACE},
  {"shared-unset", PLANTED_SHARED_UNSET, ANY, WRONG},
  {"read-behind", PLANTED_READ_BEHIND, ADDRESS, "*heap-buffer-overflow*"},
  {"write-behind", PLANTED_WRITE_BEHIND, ADDRESS, "*heap-buffer-overflow*"},
  {"shared-behind", PLANTED_SHARED_BEHIND, ADDRESS, "*use-after-poison*"},
  {"misaligned", PLANTED_MISALIGNED, ADDRESS, "*misaligned address*"},
  {"last-not-written", PLANTED_LAST_NOT_WRITTEN, ANY, WRONG},
  {"blocks-race", PLANTED_BLOCKS_RACE, THREAD, RACE},
  {"large-block", PLANTED_LARGE_BLOCK, ANY, "*CUDA error 9*"},
  {"much-shared", PLANTED_MUCH_SHARED, ANY, "*more shared memory*"},

  {"no-barrier", PLANTED_NO_BARRIER, PTX, "*that was never written*"},
  {"barrier-in-branch", PLANTED_BARRIER_IN_BRANCH, PTX, "*others wait at*"},
  {"return-before-barrier", PLANTED_RETURN_BEFORE_BARRIER, PTX,
    "*threads of the block have returned*"},
  {"return-before-shuffle", PLANTED_RETURN_BEFORE_SHUFFLE, PTX,
    "*has returned*"},
  {"shuffle-in-branch", PLANTED_SHUFFLE_IN_BRANCH, PTX, "*do not come*"},
  {"shuffle-elsewhere", PLANTED_SHUFFLE_ELSEWHERE, PTX,
    "*not in its mask*"},
  {"shuffle-for-barrier", PLANTED_SHUFFLE_FOR_BARRIER, PTX,
    "*that was never written*"},
  {"shared-unset", PLANTED_SHARED_UNSET, PTX, "*that was never written*"},
  {"read-behind", PLANTED_READ_BEHIND, PTX, "*out of bounds*"},
  {"write-behind", PLANTED_WRITE_BEHIND, PTX, "*out of bounds*"},
  {"shared-behind", PLANTED_SHARED_BEHIND, PTX, "*out of bounds*"},
  {"misaligned", PLANTED_MISALIGNED, PTX, "*at no multiple of that*"},
  {"last-not-written", PLANTED_LAST_NOT_WRITTEN, PTX, WRONG},
  {"blocks-race", PLANTED_BLOCKS_RACE, PTX, WRONG},
  {"large-block", PLANTED_LARGE_BLOCK, PTX, "*impossible launch*"},
  // The compiler drops shared memory that is of no use.
};

// Runs it in several orders; says what is wrong and ends the program, or
// returns.
static void
run (Planted bug)
{
  for (guint seed = 0; seed < SEEDS; seed++) {
    float *src = device_alloc (N * sizeof (float));
    float *dst = device_alloc (N * sizeof (float));
    int status;

    for (guint i = 0; i < N; i++) {
      src[i] = (float) (i + 1);
      dst[i] = NAN;
    }
    set_seed (seed);
    status = planted_sums (dst, src, N, bug);
    if (status == 0)
      status = device_sync ();
    if (status != 0) {
      fprintf (stderr, "CUDA error %d\n", status);
      exit (1);
    }
    for (guint i = 0; i < N; i++) {
      float want = 0;

      for (guint k = i / 64 * 64; k < MIN (N, i / 64 * 64 + 64); k++)
        want += src[k];
      if (!(dst[i] == want)) {
        fprintf (stderr, "wrong result at %u: %g, not %g\n", i, dst[i], want);
        exit (1);
      }
    }
    device_free (src);
    device_free (dst);
  }
}

static void
test_case (gconstpointer user_data)
{
  const Case *c = user_data;

  if (g_test_subprocess ()) {
    run (c->bug);
    return;
  }
  if (c->bug == PLANTED_BLOCKS_RACE)
    g_setenv ("CPSP_SHIM_BLOCKS", "free", TRUE);
  g_test_trap_subprocess (NULL, 0, 0);
  g_unsetenv ("CPSP_SHIM_BLOCKS");
  g_test_trap_assert_failed ();
  g_test_trap_assert_stderr (c->message);
}

static void
test_sound (gconstpointer user_data)
{
  if (g_test_subprocess ()) {
    run (PLANTED_NOTHING);
    return;
  }
  if (user_data)
    g_setenv ("CPSP_SHIM_BLOCKS", "free", TRUE);
  g_test_trap_subprocess (NULL, 0, 0);
  g_unsetenv ("CPSP_SHIM_BLOCKS");
  g_test_trap_assert_passed ();
  g_test_trap_assert_stderr ("");
}

// What stands for the device's own conversion.
static void
test_half (void)
{
  for (guint i = 0; i < 0x7c00; i++) {
    const float value = half_to_float ((guint16) i);
    const float next = half_to_float ((guint16) (i + 1));
    const float middle = i == 0x7bff ? 65520 : (value + next) / 2;
    const guint16 even = (guint16) (i + i % 2);

    g_assert_cmpuint (half_from_float (value), ==, i);
    g_assert_cmpuint (half_from_float (-value), ==, i | 0x8000);
    g_assert_cmpuint (half_from_float (middle), ==, even);
    g_assert_cmpuint (half_from_float (nextafterf (middle, 0)), ==, i);
    g_assert_cmpuint (half_from_float (nextafterf (middle, INFINITY)), ==,
        i + 1);
    g_assert_cmpfloat (half_to_float ((guint16) (i | 0x8000)), ==, -value);
  }
  g_assert_cmpfloat (half_to_float (0x3555), ==, 1365 / 4096.0f);
  g_assert_cmpfloat (half_to_float (0x0001), ==, ldexpf (1, -24));
  g_assert_true (isinf (half_to_float (0x7c00)));
  g_assert_true (isnan (half_to_float (half_from_float (NAN))));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/half", test_half);
  g_test_add_data_func ("/sound", NULL, test_sound);
  if (SANITIZER == THREAD)
    g_test_add_data_func ("/sound/free-blocks", "free", test_sound);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    const Case *c = &cases[i];
    g_autofree char *path = g_strdup_printf ("/found/%s", c->name);

    if (c->sanitizer == SANITIZER || (c->sanitizer == ANY &&
            SANITIZER != PTX))
      g_test_add_data_func (path, c, test_case);
  }
  return g_test_run ();
}
