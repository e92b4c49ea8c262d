/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Models, networks and converted weights are shared by those who use one
 * file, and freed with the last of them. Also run with the thread sanitizer:
 * refiners compute with one thread each, because OpenMP's library is not
 * built for it.
 */
#include "cpu/cpu.h"
#include "model-file.h"
#include "test-frame.h"

#include <glib/gstdio.h>

static const CpspWidths widths = {
  .stem = 4,.planes = {2, 2, 2, 2},.blocks = {1, 1, 1, 1},.psp = 4,
  .up = {4, 4, 4},.head = {2, 2, 2},
};
static const CpspRefinerParams params = {
  .backend = CPSP_BACKEND_CPU,.precision = CPSP_PRECISION_FP32,.threads = 1,
};

static char *folder;
static gint n_conversions;      // atomic

// The linker (--wrap) calls it in place of cpsp_onednn_weights_new.
CpspOnednnWeights *real_new (CpspOnednn * onednn, const CpspOnednnConv * conv,
    const float *weight, const float *bias, GError ** error)
    __asm__ ("__real_cpsp_onednn_weights_new");
CpspOnednnWeights *wrapped_new (CpspOnednn * onednn,
    const CpspOnednnConv * conv, const float *weight, const float *bias,
    GError ** error) __asm__ ("__wrap_cpsp_onednn_weights_new");

CpspOnednnWeights *
wrapped_new (CpspOnednn * onednn, const CpspOnednnConv * conv,
    const float *weight, const float *bias, GError ** error)
{
  g_atomic_int_inc (&n_conversions);
  return real_new (onednn, conv, weight, bias, error);
}

// A model file NAME, its weights made from SEED. (transfer full) its path
static char *
write_model (const char *name, guint32 seed)
{
  g_autoptr (File) file = file_new (&widths);
  g_autoptr (GBytes) bytes = NULL;
  char *path = g_build_filename (folder, name, NULL);
  GError *error = NULL;

  file_randomise (file, seed);
  bytes = file_write (file);
  // By renaming: others may have it mapped.
  g_file_set_contents (path, g_bytes_get_data (bytes, NULL),
      g_bytes_get_size (bytes), &error);
  g_assert_no_error (error);
  return path;
}

static CpspModel *
load (const char *path)
{
  GError *error = NULL;
  CpspModel *model = cpsp_model_load (path, &error);

  g_assert_no_error (error);
  return model;
}

static void
test_models (void)
{
  g_autofree char *path = write_model ("model", 1);
  g_autofree char *other_path = write_model ("other", 1);
  CpspModel *model = load (path), *again = load (path);
  CpspModel *other = load (other_path), *replaced;
  GError *error = NULL;

  g_assert_true (model == again);
  g_assert_true (model != other);

  // A new file of the same size, while the old one is in use.
  g_free (write_model ("model", 2));
  replaced = load (path);
  g_assert_true (replaced != model);
  g_assert_cmpstr (cpsp_model_get_path (replaced), ==, path);

  // A bad file is bad each time, and changes nothing.
  g_assert_true (g_file_set_contents (path, "bad", 3, NULL));
  for (guint i = 0; i < 2; i++) {
    g_assert_null (cpsp_model_load (path, &error));
    g_assert_error (error, CPSP_ERROR, CPSP_ERROR_FORMAT);
    g_clear_error (&error);
  }
  cpsp_model_unref (model);
  g_assert_cmpstr (cpsp_model_get_path (again), ==, path);
  cpsp_model_unref (again);
  cpsp_model_unref (replaced);
  cpsp_model_unref (other);
}

static void
test_networks (void)
{
  g_autofree char *path = write_model ("model", 1);
  CpspModel *model = load (path);
  CpspNetwork *network = cpsp_network_new (model, NULL);
  CpspNetwork *again = cpsp_network_new (model, NULL), *other;

  g_assert_true (network == again);
  cpsp_network_unref (again);
  // A network keeps its model.
  cpsp_model_unref (model);
  g_assert_true (load (path) == model);
  cpsp_model_unref (model);

  g_free (write_model ("model", 2));
  model = load (path);
  other = cpsp_network_new (model, NULL);
  g_assert_true (other != network);
  cpsp_model_unref (model);
  cpsp_network_unref (network);
  cpsp_network_unref (other);
}

static void
refine (CpspRefiner * refiner, Frame * frame)
{
  const CpspSettings settings = {.crop_size = 96,.mask_threshold = 0.5 };
  GError *error = NULL;

  cpsp_refiner_refine (refiner, &settings, &(CpspFrame) {
      .image = &frame->image_view,.mask = &frame->mask_view},
      &frame->alpha_view, NULL, &error);
  g_assert_no_error (error);
}

static CpspRefiner *
refiner_new (const char *path)
{
  g_autoptr (CpspModel) model = load (path);
  GError *error = NULL;
  CpspRefiner *refiner = cpsp_refiner_new (model, &params, &error);

  g_assert_no_error (error);
  return refiner;
}

// The second refiner of a model converts nothing; when all are gone, the next
// one does.
static void
test_weights (void)
{
  g_autofree char *path = write_model ("model", 1);
  Frame frame = frame_new (150, 100), same = frame_new (150, 100);
  gint first;

  for (guint i = 0; i < 2; i++) {
    CpspRefiner *one = refiner_new (path), *other = refiner_new (path);

    n_conversions = 0;
    refine (one, &frame);
    first = n_conversions;
    g_assert_cmpint (first, >, 30);
    refine (other, &same);
    g_assert_cmpint (n_conversions, ==, first);
    g_assert_cmpmem (frame.alpha, 150 * 100 * sizeof (float), same.alpha,
        150 * 100 * sizeof (float));
    // What is left keeps what it uses.
    cpsp_refiner_free (one);
    refine (other, &same);
    g_assert_cmpint (n_conversions, ==, first);
    cpsp_refiner_free (other);
  }
  frame_clear (&frame);
  frame_clear (&same);
}

// Loads, refines and lets go, now of one model, now of the other.
static gpointer
work (gpointer data)
{
  Frame frame = frame_new (150, 100);

  for (guint i = 0; i < 6; i++) {
    g_autofree char *path = g_build_filename (folder,
        (i + GPOINTER_TO_UINT (data)) % 3 ? "model" : "other", NULL);
    g_autoptr (CpspRefiner) refiner = refiner_new (path);

    for (guint j = 0; j < 3; j++)
      refine (refiner, &frame);
    frame_assert_probabilities (&frame);
  }
  frame_clear (&frame);
  return NULL;
}

static void
test_threads (void)
{
  g_autofree char *path = write_model ("model", 1);
  g_autofree char *other = write_model ("other", 2);
  GThread *threads[4];

  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("worker", work, GUINT_TO_POINTER (i));
  // An element that looks for another model while it works.
  for (guint i = 0; i < 20; i++) {
    g_free (write_model ("model", i));
    cpsp_refiner_free (refiner_new (path));
  }
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
}

int
main (int argc, char **argv)
{
  static const char *const files[] = { "model", "other" };
  int status;

  g_test_init (&argc, &argv, NULL);
  folder = g_dir_make_tmp ("cascadepsp-XXXXXX", NULL);
  g_assert_nonnull (folder);
  g_test_add_func ("/sharing/models", test_models);
  g_test_add_func ("/sharing/networks", test_networks);
  g_test_add_func ("/sharing/weights", test_weights);
  g_test_add_func ("/sharing/threads", test_threads);
  status = g_test_run ();
  for (guint i = 0; i < G_N_ELEMENTS (files); i++) {
    g_autofree char *path = g_build_filename (folder, files[i], NULL);

    g_unlink (path);
  }
  g_rmdir (folder);
  g_free (folder);
  return status;
}
