/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The CUDA backend as the engine uses it, on the stand-in: whole programs,
 * batches, CUDA graphs, the self-test with its cache, and the ways back to
 * the CPU.
 */
#include "choose.h"
#include "error.h"
#include "gpu.h"
#include "../refine/model-file.h"
#include "selftest.h"
#include "standin.h"

#include <glib/gstdio.h>
#include <math.h>

#define WIDTH 128
#define HEIGHT 112
#define ATTEMPTS 3              // of choose.c

static CpspModel *model;
static char *cache;

/* Programs */

typedef struct
{
  guint batch;
  CpspType type;
} Variant;

static const Variant variants[] = {
  {1, CPSP_TYPE_F32}, {3, CPSP_TYPE_F32}, {8, CPSP_TYPE_F32},
  {1, CPSP_TYPE_F16}, {3, CPSP_TYPE_F16}, {8, CPSP_TYPE_F16},
};

// P1 of all slots for INPUT after N_RUNS runs (g_free).
static float *
run_program (const CpspBackend * backend, CpspNetwork * network,
    const CpspProgramParams * params, const float *input, guint n_runs)
{
  const CpspDeviceParams device_params = { 0 };
  CpspDevice *device = backend->open (&device_params, NULL);
  g_autoptr (CpspProgram) program = cpsp_program_new (network, params, NULL);
  g_autoptr (GError) error = NULL;
  CpspPlan *plan;
  float *values = g_new (float, (gsize) params->batch * params->height *
      params->width);

  g_assert_nonnull (device);
  plan = backend->plan_new (device, program, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < n_runs; i++) {
    // The program overwrites a part of it.
    g_assert_true (backend->tensor_write (plan, program->input, input, NULL));
    g_assert_true (backend->plan_run (plan, 0, program->n_ops, &error));
    g_assert_no_error (error);
  }
  g_assert_true (backend->tensor_read (plan, program->p1, values, NULL));
  backend->plan_free (plan);
  backend->close (device);
  return values;
}

// Every slot against the reference, which computes one at a time; run once,
// recorded, and replayed.
static void
test_batch (gconstpointer data)
{
  const Variant *v = data;
  const gsize pixels = 64 * 48;
  g_autoptr (CpspNetwork) network = cpsp_network_new (model, NULL);
  CpspProgramParams params = {
    .cascade = CPSP_CASCADE_LOCAL,.height = 64,.width = 48,
    .batch = v->batch,.type = v->type,
  };
  CpspProgramParams single = params;
  const gsize n_input = pixels * CPSP_INPUT_CHANNELS;
  g_autofree float *input = g_new (float, v->batch * n_input);
  g_autofree float *once = NULL;
  g_autofree float *often = NULL;
  GRand *r = g_rand_new_with_seed (3);
  const guint launches = standin_get_graph_launches ();

  for (gsize i = 0; i < v->batch * n_input; i++)
    input[i] = g_rand_double_range (r, -1, 1);
  g_rand_free (r);
  once = run_program (&cpsp_backend_cuda, network, &params, input, 1);
  g_assert_cmpuint (standin_get_graph_launches (), ==, launches);
  often = run_program (&cpsp_backend_cuda, network, &params, input, 4);
  g_assert_cmpuint (standin_get_graph_launches (), ==, launches + 3);
  g_assert_cmpmem (once, v->batch * pixels * sizeof (float), often,
      v->batch * pixels * sizeof (float));

  single.batch = 1;
  single.type = CPSP_TYPE_F32;
  single.keep_all = TRUE;
  for (guint slot = 0; slot < v->batch; slot++) {
    g_autofree float *want = run_program (&cpsp_backend_reference, network,
        &single, input + slot * n_input, 1);
    const float *got = once + slot * pixels;
    // As of the golden values: fp32 as promised, fp16 of probabilities.
    const float bound = v->type == CPSP_TYPE_F32 ? 2e-4f : 8.0f / 255;
    gsize far = 0;

    for (gsize i = 0; i < pixels; i++)
      far += !(fabsf (got[i] - want[i]) <= bound);
    g_test_message ("slot %u: %" G_GSIZE_FORMAT " pixels off", slot, far);
    g_assert_cmpuint (far, <=, v->type == CPSP_TYPE_F32 ? 0 : pixels / 100);
  }
  g_assert_cmpuint (standin_get_alive (), ==, 0);
}

// The engine lets no two threads use one device, but two devices share
// weights.
static gpointer
run_thread (gpointer data)
{
  CpspNetwork *network = data;
  const CpspProgramParams params = {
    .cascade = CPSP_CASCADE_LOCAL,.height = 32,.width = 32,.batch = 1,
    .type = CPSP_TYPE_F16,
  };
  g_autofree float *input = g_new0 (float, 32 * 32 * CPSP_INPUT_CHANNELS);
  float *values = NULL;

  for (guint i = 0; i < 3; i++) {
    g_free (values);
    values = run_program (&cpsp_backend_cuda, network, &params, input, 3);
  }
  return values;
}

static void
test_threads (void)
{
  g_autoptr (CpspNetwork) network = cpsp_network_new (model, NULL);
  GThread *threads[3];
  g_autofree float *first = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("device", run_thread, network);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++) {
    g_autofree float *values = g_thread_join (threads[i]);

    if (first)
      g_assert_cmpmem (first, 32 * 32 * sizeof (float), values,
          32 * 32 * sizeof (float));
    else
      first = g_steal_pointer (&values);
  }
  g_assert_cmpuint (standin_get_alive (), ==, 0);
}

/* Plans of convolutions */

// What the heuristics say the next time they are asked.
static cudnnStatus_t next_status;

static cudnnStatus_t
fail_once (cudnnBackendDescriptor_t descriptor,
    cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
    int64_t room, int64_t * n, void *values)
{
  cudnnStatus_t status = next_status;

  if (name != CUDNN_ATTR_ENGINEHEUR_RESULTS || status == CUDNN_STATUS_SUCCESS)
    return cpsp_gpu_api_get (NULL)->cudnnBackendGetAttribute (descriptor,
        name, type, room, n, values);
  next_status = CUDNN_STATUS_SUCCESS;
  return status;
}

// Which heuristic knows the graph does not matter; what is short of memory,
// or too large for cuDNN, says that less may do.
static void
test_plans (void)
{
  CpspGpuApi api = *cpsp_gpu_api_get (NULL);
  const CpspConvTarget target = {.workspace_limit = 1 << 20 };
  CpspConvShape shape = {
    .type = CPSP_TYPE_F16,.batch = 4,.height = 4096,.width = 4096,
    .c_in = 32,.c_out = 24,.kernel = 3,.stride = 1,.dilation = 1,
  };
  GError *error = NULL;
  CpspConvPlan *plan;

  api.cudnnBackendGetAttribute = fail_once;
  g_assert_null (cpsp_conv_plan_new (&api, &target, &shape, &error));
  g_assert_error (error, CPSP_ERROR, CPSP_ERROR_NO_MEMORY);
  g_test_message ("%s", error->message);
  g_clear_error (&error);

  shape.batch = 3;
  next_status = CUDNN_STATUS_NOT_SUPPORTED_SHAPE;
  plan = cpsp_conv_plan_new (&api, &target, &shape, &error);
  g_assert_no_error (error);
  cpsp_conv_plan_free (plan);
  next_status = CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
  g_assert_null (cpsp_conv_plan_new (&api, &target, &shape, &error));
  g_assert_error (error, CPSP_ERROR, CPSP_ERROR_NO_MEMORY);
  g_clear_error (&error);
  g_assert_cmpuint (standin_get_alive (), ==, 0);
}

/* The choice of a device */

static void
forget_verdicts (void)
{
  g_autofree char *folder = g_build_filename (cache, "cascadepsp", NULL);
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  const char *name;

  while (dir && (name = g_dir_read_name (dir))) {
    g_autofree char *path = g_build_filename (folder, name, NULL);

    g_remove (path);
  }
}

// Overwrites the verdicts with CONTENT; how many there are.
static guint
spoil_verdicts (const char *content)
{
  g_autofree char *folder = g_build_filename (cache, "cascadepsp", NULL);
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  const char *name;
  guint n = 0;

  while (dir && (name = g_dir_read_name (dir))) {
    g_autofree char *path = g_build_filename (folder, name, NULL);

    g_assert_true (g_file_set_contents (path, content, -1, NULL));
    n++;
  }
  return n;
}

// What choosing yields, and how many device calls it takes.
static gboolean
choose (CpspBackendChoice backend, CpspChoiceOfDevice * choice, guint * calls,
    GError ** error)
{
  const CpspRefinerParams params = {.backend = backend };
  gboolean ok;

  *choice = (CpspChoiceOfDevice) { 0 };
  standin_fail_at (0);
  ok = cpsp_choose_device (&params, choice, error);
  if (calls)
    *calls = standin_get_calls ();
  return ok;
}

static void
assert_chosen (const CpspChoiceOfDevice * choice, gboolean cuda, gint why)
{
  g_assert_true ((choice->backend == &cpsp_backend_cuda) == cuda);
  if (why < 0) {
    g_assert_no_error (choice->passed_over);
  } else {
    g_assert_error (choice->passed_over, CPSP_ERROR, why);
    g_test_message ("%s", choice->passed_over->message);
  }
}

static void
test_choose (void)
{
  CpspChoiceOfDevice choice;
  guint tested, known, again;

  forget_verdicts ();
  g_assert_true (choose (CPSP_BACKEND_AUTO, &choice, &tested, NULL));
  assert_chosen (&choice, TRUE, -1);
  g_assert_cmpint (choice.type, ==, CPSP_TYPE_F16);
  cpsp_choice_clear (&choice);

  // Known now, and not tested.
  g_assert_true (choose (CPSP_BACKEND_CUDA, &choice, &known, NULL));
  assert_chosen (&choice, TRUE, -1);
  cpsp_choice_clear (&choice);
  g_assert_cmpuint (known, <, 20);
  g_assert_cmpuint (tested, >, known);

  // What is not what was written counts as not known.
  g_assert_cmpuint (spoil_verdicts ("cascadepsp self-test 2\nattempt 0\n"),
      ==, 1);
  g_assert_true (choose (CPSP_BACKEND_AUTO, &choice, &again, NULL));
  assert_chosen (&choice, TRUE, -1);
  cpsp_choice_clear (&choice);
  g_assert_cmpuint (again, ==, tested);
  g_assert_cmpuint (standin_get_alive (), ==, 0);
}

// Engines that compute wrong numbers are found, and the next is taken.
static void
test_broken (void)
{
  GError *error = NULL;
  CpspChoiceOfDevice choice;

  for (guint n = 1; n <= ATTEMPTS; n++)
    for (guint known = 0; known < 2; known++) {
      if (!known)
        forget_verdicts ();
      standin_break_engines (n);
      g_assert_true (choose (CPSP_BACKEND_AUTO, &choice, NULL, NULL));
      assert_chosen (&choice, n < ATTEMPTS, known && n < ATTEMPTS ? -1 :
          CPSP_ERROR_SELF_TEST);
      // What was chosen computes right, whether it was tested or known.
      if (n < ATTEMPTS)
        g_assert_true (cpsp_self_test (choice.backend, choice.device,
                choice.type, NULL));
      cpsp_choice_clear (&choice);
    }
  g_assert_false (choose (CPSP_BACKEND_CUDA, &choice, NULL, &error));
  g_assert_error (error, CPSP_ERROR, CPSP_ERROR_SELF_TEST);
  g_clear_error (&error);
  standin_break_engines (0);
  forget_verdicts ();
  g_assert_cmpuint (standin_get_alive (), ==, 0);
}

// So are graphs that replay something else than what was recorded.
static void
test_broken_graphs (void)
{
  CpspChoiceOfDevice choice;

  forget_verdicts ();
  standin_break_graphs (TRUE);
  g_assert_true (choose (CPSP_BACKEND_AUTO, &choice, NULL, NULL));
  assert_chosen (&choice, FALSE, CPSP_ERROR_SELF_TEST);
  g_assert_nonnull (strstr (choice.passed_over->message, "run again"));
  cpsp_choice_clear (&choice);
  standin_break_graphs (FALSE);
  forget_verdicts ();
  g_assert_cmpuint (standin_get_alive (), ==, 0);
}

static void
test_absent (void)
{
  GError *error = NULL;
  CpspChoiceOfDevice choice;

  standin_set_devices (0);
  g_assert_true (choose (CPSP_BACKEND_AUTO, &choice, NULL, NULL));
  assert_chosen (&choice, FALSE, CPSP_ERROR_DEVICE);
  cpsp_choice_clear (&choice);
  g_assert_false (choose (CPSP_BACKEND_CUDA, &choice, NULL, &error));
  g_assert_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE);
  g_clear_error (&error);
  standin_set_devices (1);
}

/* Frames */

typedef struct
{
  guint8 image[HEIGHT][WIDTH][3];
  guint8 mask[HEIGHT][WIDTH];
} Picture;

static void
picture_init (Picture * p)
{
  for (guint y = 0; y < HEIGHT; y++)
    for (guint x = 0; x < WIDTH; x++) {
      gint dx = (gint) x - WIDTH / 2, dy = (gint) y - HEIGHT / 2;
      gboolean inside = dx * dx + dy * dy < 40 * 40;

      p->image[y][x][0] = inside ? 200 : 40;
      p->image[y][x][1] = (guint8) (x * 2);
      p->image[y][x][2] = (guint8) (y * 2);
      p->mask[y][x] = inside ? 255 : 0;
    }
}

static gboolean
refine (CpspRefiner * refiner, float *alpha, GError ** error)
{
  static Picture picture;
  CpspSettings settings = CPSP_SETTINGS_DEFAULT;
  CpspImageView image = {.width = WIDTH,.height = HEIGHT,.n_components = 3 };
  const CpspMaskView mask = {
    .width = WIDTH,.height = HEIGHT,
    .component = {picture.mask[0], WIDTH, 1, FALSE, 0, 8},.scale = 1 / 255.0f,
  };
  const CpspAlphaView view = {
    WIDTH, HEIGHT, CPSP_ALPHA_F32, (guint8 *) alpha, WIDTH * sizeof (float)
  };

  picture_init (&picture);
  for (guint c = 0; c < 3; c++) {
    image.component[c] = (CpspComponent) {
      picture.image[0][0] + c, 3 * WIDTH, 3, FALSE, 0, 8
    };
    image.matrix[c][c] = 1 / 255.0f;
  }
  settings.crop_size = 96;
  settings.local_step = CPSP_LOCAL_STEP_ALWAYS;
  return cpsp_refiner_refine (refiner, &settings,
      &(CpspFrame) {.image = &image,.mask = &mask}, &view, NULL, error);
}

static CpspRefiner *
refiner_new (CpspBackendChoice backend, CpspPrecision precision)
{
  const CpspRefinerParams params = {
    .backend = backend,.precision = precision,
  };
  g_autoptr (GError) error = NULL;
  CpspRefiner *refiner = cpsp_refiner_new (model, &params, &error);

  g_assert_no_error (error);
  return refiner;
}

static void
assert_near (const float *got, const float *want, float bound)
{
  gsize far = 0;

  for (gsize i = 0; i < WIDTH * HEIGHT; i++)
    far += !(fabsf (got[i] - want[i]) <= bound);
  g_assert_cmpuint (far, <=, WIDTH * HEIGHT / 100);
}

// As much memory as MEMORY allows, batches grow smaller; with none to speak
// of, AUTO goes to the CPU and CUDA fails. All find the same alpha.
static void
test_memory (void)
{
  g_autofree float *alphas[4] = { NULL };
  g_autoptr (CpspRefiner) cpu = refiner_new (CPSP_BACKEND_CPU,
      CPSP_PRECISION_FP32);
  GError *error = NULL;
  gsize full;

  for (guint i = 0; i < 4; i++)
    alphas[i] = g_new (float, WIDTH * HEIGHT);
  g_assert_true (refine (cpu, alphas[0], NULL));
  {
    g_autoptr (CpspRefiner) r = refiner_new (CPSP_BACKEND_CUDA,
        CPSP_PRECISION_AUTO);

    g_assert_true (refine (r, alphas[1], &error));
    g_assert_no_error (error);
    assert_near (alphas[1], alphas[0], 8.0f / 255);
    full = cpsp_refiner_get_memory (r);
  }
  {
    g_autoptr (CpspRefiner) r = refiner_new (CPSP_BACKEND_CUDA,
        CPSP_PRECISION_AUTO);

    standin_set_memory (full * 2 / 3);
    g_assert_true (refine (r, alphas[2], &error));
    g_assert_no_error (error);
    g_assert_cmpuint (cpsp_refiner_get_memory (r), <, full * 2 / 3);
    g_assert_cmpmem (alphas[2], WIDTH * HEIGHT * sizeof (float), alphas[1],
        WIDTH * HEIGHT * sizeof (float));
  }
  {
    g_autoptr (CpspRefiner) r = refiner_new (CPSP_BACKEND_CUDA,
        CPSP_PRECISION_AUTO);

    standin_set_memory (1 << 20);
    g_assert_false (refine (r, alphas[3], &error));
    g_assert_error (error, CPSP_ERROR, CPSP_ERROR_NO_MEMORY);
    g_clear_error (&error);
    // And goes on when there is memory again.
    standin_set_memory (0);
    g_assert_true (refine (r, alphas[3], NULL));
    assert_near (alphas[3], alphas[0], 8.0f / 255);
  }
  {
    g_autoptr (CpspRefiner) r = refiner_new (CPSP_BACKEND_AUTO,
        CPSP_PRECISION_AUTO);

    standin_set_memory (1 << 20);
    g_assert_true (refine (r, alphas[3], &error));
    g_assert_no_error (error);
    g_assert_error (cpsp_refiner_get_passed_over (r), CPSP_ERROR,
        CPSP_ERROR_NO_MEMORY);
    g_assert_cmpint (cpsp_refiner_get_type (r), !=, CPSP_TYPE_F16);
    standin_set_memory (0);
  }
  g_assert_cmpuint (standin_get_alive (), ==, 0);
}

// A device that fails while a frame is refined: AUTO yields that frame from
// the CPU, CUDA an error, and the next frame works.
static void
test_lost (void)
{
  g_autofree float *want = g_new (float, WIDTH * HEIGHT);
  g_autofree float *got = g_new (float, WIDTH * HEIGHT);
  GError *error = NULL;
  guint calls;

  {
    g_autoptr (CpspRefiner) r = refiner_new (CPSP_BACKEND_CUDA,
        CPSP_PRECISION_AUTO);

    // The second frame records.
    for (guint i = 0; i < 3; i++) {
      standin_fail_at (0);
      g_assert_true (refine (r, want, NULL));
    }
    calls = standin_get_calls ();
    for (guint n = 1; n <= calls; n += 1 + calls / 5) {
      standin_fail_at (n);
      if (refine (r, got, &error)) {
        // Only what can be done another way.
        g_test_message ("call %u of %u, %s: none the worse", n, calls,
            standin_get_failed ());
        g_assert_cmpmem (got, WIDTH * HEIGHT * sizeof (float), want,
            WIDTH * HEIGHT * sizeof (float));
      } else {
        g_assert_true (error->code == CPSP_ERROR_DEVICE ||
            error->code == CPSP_ERROR_NO_MEMORY);
        g_clear_error (&error);
      }
      standin_fail_at (0);
      g_assert_true (refine (r, got, NULL));
      g_assert_cmpmem (got, WIDTH * HEIGHT * sizeof (float), want,
          WIDTH * HEIGHT * sizeof (float));
    }
  }
  {
    g_autoptr (CpspRefiner) r = refiner_new (CPSP_BACKEND_AUTO,
        CPSP_PRECISION_AUTO);

    for (guint i = 0; i < 3; i++)
      g_assert_true (refine (r, got, NULL));
    standin_fail_at (calls / 2);
    g_assert_true (refine (r, got, &error));
    g_assert_no_error (error);
    g_assert_error (cpsp_refiner_get_passed_over (r), CPSP_ERROR,
        CPSP_ERROR_DEVICE);
    g_assert_cmpuint (standin_get_alive (), ==, 0);
  }
}

// A model whose first layer leaves fp16: `auto` computes in fp32, fp16 by
// name is refused.
static void
test_range (void)
{
  static const CpspWidths widths = {
    8, {8, 8, 8, 8}, {1, 1, 1, 1}, 8, {8, 8, 8}, {8, 8, 8}
  };
  File *file = file_new (&widths);
  CpspRefinerParams params = {.backend = CPSP_BACKEND_CUDA };
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (CpspModel) large = NULL;
  g_autoptr (CpspRefiner) refiner = NULL;
  GError *error = NULL;
  Entry *entry;

  file_randomise (file, 1);
  entry = find (file, "feats.conv1.weight");
  for (guint i = 0; i < entry->data->len; i += 4) {
    float value;

    memcpy (&value, entry->data->data + i, 4);
    put_float (entry->data->data + i, value * 3e4f);
  }
  bytes = file_write (file);
  file_free (file);
  large = cpsp_model_load_bytes ("large", bytes, &error);
  g_assert_no_error (error);

  refiner = cpsp_refiner_new (large, &params, &error);
  g_assert_no_error (error);
  g_assert_cmpint (cpsp_refiner_get_type (refiner), ==, CPSP_TYPE_F32);
  g_assert_error (cpsp_refiner_get_passed_over (refiner), CPSP_ERROR,
      CPSP_ERROR_ARGUMENT);
  g_test_message ("%s", cpsp_refiner_get_passed_over (refiner)->message);
  params.precision = CPSP_PRECISION_FP16;
  g_assert_null (cpsp_refiner_new (large, &params, &error));
  g_assert_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT);
  g_clear_error (&error);
}

/* Every call failing once */

// All kinds of operations and all of the table's entries, and a program that
// is recorded.
static gboolean
run_everything (GError ** error)
{
  const CpspDeviceParams params = { 0 };
  CpspDevice *device = cpsp_backend_cuda.open (&params, error);
  gboolean ok;

  if (!device)
    return FALSE;
  ok = cpsp_self_test (&cpsp_backend_cuda, device, CPSP_TYPE_F16, error);
  cpsp_backend_cuda.close (device);
  return ok;
}

// From the first on every STEP-th.
static void
fail_in_turn (guint first, guint step)
{
  guint calls, none_the_worse = 0, n_errors = 0;

  standin_fail_at (0);
  g_assert_true (run_everything (NULL));
  calls = standin_get_calls ();
  for (guint n = first; n <= calls; n += step) {
    g_autoptr (GError) error = NULL;
    gboolean ok;

    standin_fail_at (n);
    ok = run_everything (&error);
    if (ok) {
      // An engine less to choose from: the numbers have been compared.
      g_assert_no_error (error);
      none_the_worse++;
    } else if (error->domain != CPSP_ERROR ||
        (error->code != CPSP_ERROR_DEVICE &&
            error->code != CPSP_ERROR_NO_MEMORY)) {
      g_test_message ("call %u, %s: %s", n, standin_get_failed (),
          error->message);
      g_test_fail ();
    } else {
      n_errors++;
    }
    if (standin_get_alive () > 0) {
      g_test_message ("call %u, %s: something was left behind", n,
          standin_get_failed ());
      g_test_fail ();
      break;
    }
  }
  standin_fail_at (0);
  g_test_message ("of %u calls: %u errors, %u done another way", calls,
      n_errors, none_the_worse);
  g_assert_cmpuint (n_errors, >, 0);
}

static void
test_failing (void)
{
  // Another share with each seed.
  const guint step = g_test_slow () ? 1 : 17;

  fail_in_turn (1 + g_test_rand_int_range (0, step), step);
}

int
main (int argc, char **argv)
{
  g_autofree char *path = NULL;
  GError *error = NULL;
  int status;

  cache = g_dir_make_tmp ("cascadepsp-XXXXXX", NULL);
  g_assert_nonnull (cache);
  g_setenv ("XDG_CACHE_HOME", cache, TRUE);
  g_test_init (&argc, &argv, NULL);
  path = g_build_filename (g_getenv ("CPSP_TEST_DATA"), "mini.safetensors",
      NULL);
  model = cpsp_model_load (path, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < G_N_ELEMENTS (variants); i++) {
    g_autofree char *name = g_strdup_printf ("/cuda/batch-%u/%s",
        variants[i].batch, cpsp_type_name (variants[i].type));

    g_test_add_data_func (name, &variants[i], test_batch);
  }
  g_test_add_func ("/cuda/threads", test_threads);
  g_test_add_func ("/cuda/plans", test_plans);
  g_test_add_func ("/cuda/choose", test_choose);
  g_test_add_func ("/cuda/broken", test_broken);
  g_test_add_func ("/cuda/broken-graphs", test_broken_graphs);
  g_test_add_func ("/cuda/absent", test_absent);
  g_test_add_func ("/cuda/range", test_range);
  g_test_add_func ("/cuda/memory", test_memory);
  g_test_add_func ("/cuda/lost", test_lost);
  g_test_add_func ("/cuda/failing", test_failing);
  status = g_test_run ();
  cpsp_model_unref (model);
  forget_verdicts ();
  {
    g_autofree char *folder = g_build_filename (cache, "cascadepsp", NULL);

    g_rmdir (folder);
  }
  g_rmdir (cache);
  g_free (cache);
  return status;
}
