/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What choosing a device does on machines that lack something: the module, a
 * driver, a working driver, cuDNN. Each machine is a child process with an
 * environment of its own. The real module, where it is built.
 */
#include "choose.h"
#include "error.h"
#ifdef HAVE_CUDA_HEADERS
#include "api.h"
#endif

#include <glib/gstdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

// Of the processor, for one who has no GPU; plenty under a sanitizer.
#define MAX_CHOOSE_MS 50

static const char *program;
static char *folder;            // of libraries, as the loader looks for them

// The child

static gboolean
has_mapped (const char *name)
{
  g_autofree char *maps = NULL;

  return g_file_get_contents ("/proc/self/maps", &maps, NULL, NULL) &&
      strstr (maps, name) != NULL;
}

static double
processor_ms (void)
{
  struct rusage usage;

  getrusage (RUSAGE_SELF, &usage);
  return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
      (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

// Prints what was chosen, and why not another.
static int
choose (const char *backend)
{
  CpspRefinerParams params = {
    .backend = strcmp (backend, "auto") == 0 ? CPSP_BACKEND_AUTO :
        strcmp (backend, "cpu") == 0 ? CPSP_BACKEND_CPU : CPSP_BACKEND_CUDA,
  };
  CpspChoiceOfDevice choice = { 0 };
  g_autoptr (GError) error = NULL;
  gboolean early = has_mapped ("cpspcuda.so") || has_mapped ("libcuda.so") ||
      has_mapped ("libcudnn");
  double begun = processor_ms ();

  if (!cpsp_choose_device (&params, &choice, &error)) {
    g_print ("none: %s\n", error->message);
    return 0;
  }
  g_print ("chosen %s in %.1f ms%s%s\nnot used: %s\n", choice.backend->name,
      processor_ms () - begun, early ? ", loaded too early" : "",
      has_mapped ("libcudnn") ? ", cuDNN loaded" : "",
      choice.passed_over ? choice.passed_over->message : "nothing");
  cpsp_choice_clear (&choice);
  return 0;
}

// The parent

// What a child that chooses BACKEND says, with libraries from FOLDER first and
// modules in MODULES (g_free).
static char *
run_child (const char *backend, const char *modules, const char *libraries)
{
  const char *const arguments[] = { program, "--choose", backend, NULL };
  g_auto (GStrv) environment = g_get_environ ();
  char *output = NULL;
  GError *error = NULL;
  gint status;

  environment = g_environ_setenv (environment, "CPSP_MODULES", modules, TRUE);
  if (libraries)
    environment = g_environ_setenv (environment, "LD_LIBRARY_PATH", libraries,
        TRUE);
  g_spawn_sync (NULL, (char **) arguments, environment, 0, NULL, NULL,
      &output, NULL, &status, &error);
  g_assert_no_error (error);
  g_test_message ("%s", output);
  g_assert_cmpint (status, ==, 0);
  return output;
}

static void
assert_says (const char *text, const char *part)
{
  if (!strstr (text, part)) {
    g_test_message ("should say: %s", part);
    g_test_fail ();
  }
}

// AUTO yields the CPU, or what serves for it, quickly and with REASON; CUDA
// by name yields nothing but the reason.
static void
check_absent (const char *modules, const char *libraries, const char *reason)
{
  g_autofree char *automatic = run_child ("auto", modules, libraries);
  g_autofree char *named = run_child ("cuda", modules, libraries);

  g_assert_true (g_str_has_prefix (automatic, "chosen cpu") ||
      g_str_has_prefix (automatic, "chosen reference"));
  assert_says (automatic, reason);
  g_assert_null (strstr (automatic, "early"));
  g_assert_null (strstr (automatic, "cuDNN loaded"));
#if !defined (__SANITIZE_ADDRESS__) && !defined (__SANITIZE_THREAD__)
  g_assert_cmpfloat (g_ascii_strtod (strstr (automatic, " in ") + 4, NULL), <,
      MAX_CHOOSE_MS);
#endif
  g_assert_true (g_str_has_prefix (named, "none: cuda: "));
  assert_says (named, reason);
}

static void
test_no_module (void)
{
  check_absent ("/nowhere", NULL, "its module cpspcuda.so is not installed");
}

static void
test_no_choice (void)
{
  g_autofree char *text = run_child ("cpu", MODULES, NULL);

  assert_says (text, "not used: nothing");
}

static void
test_foreign_module (void)
{
  check_absent (FAKES "/empty", NULL, "is no module of this plugin");
}

static void
test_old_module (void)
{
  check_absent (FAKES "/old", NULL, "is of version 0");
}

#ifdef HAVE_CUDA
static gboolean
has_driver (void)
{
  return g_file_test ("/dev/nvidiactl", G_FILE_TEST_EXISTS);
}

// Puts TARGET in the place of the driver's library.
static void
use_driver (const char *target)
{
  g_autofree char *link = g_build_filename (folder, "libcuda.so.1", NULL);

  g_unlink (link);
  g_assert_cmpint (symlink (target, link), ==, 0);
}

static void
test_no_driver (void)
{
  if (has_driver ())
    g_test_skip ("this machine has a driver");
  else
    check_absent (MODULES, NULL, "no CUDA device");
}

// What NVIDIA gives to link against, and is found by mistake.
static void
test_stub_driver (void)
{
  if (!g_file_test (STUB_DRIVER, G_FILE_TEST_EXISTS)) {
    g_test_skip ("there is no " STUB_DRIVER);
    return;
  }
  use_driver (STUB_DRIVER);
  check_absent (MODULES, folder, "no CUDA device");
}

static void
test_failing_driver (void)
{
  use_driver (FAKES "/libfake-driver.so");
  check_absent (MODULES, folder, "no CUDA device");
}
#endif

#ifdef HAVE_CUDA_HEADERS
static void
check_cudnn (const char *name, const char *reason)
{
  CpspGpuApi api = { 0 };
  g_autoptr (GError) error = NULL;

  g_assert_false (cpsp_gpu_api_load_cudnn (&api, name, &error));
  g_assert_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE);
  g_test_message ("%s", error->message);
  assert_says (error->message, reason);
}

static void
test_no_cudnn (void)
{
  check_cudnn ("libcudnn_graph.so.0",
      "cuDNN: libcudnn_graph.so.0: cannot open");
}

static void
test_lacking_cudnn (void)
{
  check_cudnn (FAKES "/empty/cpspcuda.so", "has no cudnnGetVersion");
}

static void
test_old_cudnn (void)
{
  check_cudnn (FAKES "/libfake-cudnn-old.so",
      "is version 8907, at least 90000 is needed");
}

static void
test_no_cublas (void)
{
  check_cudnn (FAKES "/libfake-cudnn.so", "cuDNN needs cuBLAS: "
      "libcublasLt.so.99: cannot open");
}
#endif

int
main (int argc, char **argv)
{
  g_autofree char *link = NULL;
  int status;

  if (argc == 3 && strcmp (argv[1], "--choose") == 0)
    return choose (argv[2]);
  program = argv[0];
  g_test_init (&argc, &argv, NULL);
  folder = g_dir_make_tmp ("cascadepsp-XXXXXX", NULL);
  g_assert_nonnull (folder);
  g_test_add_func ("/loading/no-module", test_no_module);
  g_test_add_func ("/loading/no-choice", test_no_choice);
  g_test_add_func ("/loading/foreign-module", test_foreign_module);
  g_test_add_func ("/loading/old-module", test_old_module);
#ifdef HAVE_CUDA
  g_test_add_func ("/loading/no-driver", test_no_driver);
  g_test_add_func ("/loading/stub-driver", test_stub_driver);
  g_test_add_func ("/loading/failing-driver", test_failing_driver);
#endif
#ifdef HAVE_CUDA_HEADERS
  g_test_add_func ("/loading/no-cudnn", test_no_cudnn);
  g_test_add_func ("/loading/lacking-cudnn", test_lacking_cudnn);
  g_test_add_func ("/loading/old-cudnn", test_old_cudnn);
  g_test_add_func ("/loading/no-cublas", test_no_cublas);
#endif
  status = g_test_run ();
  link = g_build_filename (folder, "libcuda.so.1", NULL);
  g_unlink (link);
  g_rmdir (folder);
  g_free (folder);
  return status;
}
