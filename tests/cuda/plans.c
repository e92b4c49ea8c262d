/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every convolution of the shipped and the published network, built by the
 * backend's own code, is one that the real cuDNN plans for the GPUs that we
 * build for, without a GPU: cuDNN is told what the device is. A plan proves
 * that graph, types, layouts and alignment are accepted, and how much
 * workspace it takes; not that it runs.
 *
 *   plans            one GPU, batch 1
 *   plans -m slow    all, batches 1 to 8; what it says is the table of plans
 */
#include <stdbool.h>

#include "conv.h"
#include "error.h"
#include "networks.h"

// The version whose description of a device this is: cuDNN does not document
// what has to be in it.
#define CUDNN_KNOWN 919
#define WORKSPACE_LIMIT ((gsize) 64 << 20)
#define MIB (1024.0 * 1024)

// From the boards' data sheets.
typedef struct
{
  guint sm;                     // compute capability x 10
  const char *name;
  guint n_sms, shared_kib;      // of a block, at most
  guint blocks, threads;        // of a multiprocessor
  guint clock_mhz, memory_mhz;
  guint l2_kib, memory_mib;
} Target;

static const Target targets[] = {
  {75, "Tesla T4", 40, 64, 16, 1024, 1590, 5001, 4096, 15102},
  {80, "NVIDIA A100-SXM4-40GB", 108, 163, 32, 2048, 1410, 1215, 40960, 40536},
  {86, "NVIDIA GeForce RTX 3090", 82, 99, 16, 1536, 1695, 9751, 6144, 24253},
  {89, "NVIDIA GeForce RTX 4090", 128, 99, 24, 1536, 2520, 10501, 73728,
      24111},
  {90, "NVIDIA H100 80GB HBM3", 132, 227, 32, 2048, 1980, 2619, 51200, 81079},
  {100, "NVIDIA B200", 148, 227, 32, 2048, 1965, 3996, 129536, 182640},
  {120, "NVIDIA GeForce RTX 5090", 170, 99, 24, 1536, 2407, 14001, 98304,
      32115},
};

#define QUICK_TARGET 3

static const CpspType types[] = { CPSP_TYPE_F16, CPSP_TYPE_F32 };

static const guint batches[] = { 1, 2, 4, 8 };

// What cuDNN wants to know of TARGET; all of it is required.
static char *
describe (const Target * t)
{
  return g_strdup_printf ("{\"deviceName\": \"%s\", \"deviceVer\": %u, "
      "\"driverVer\": 13000, \"multiProcessorCount\": %u, "
      "\"maxGridSize\": [2147483647, 65535, 65535], "
      "\"maxBlockSize\": [1024, 1024, 64], \"maxThreadsPerBlock\": 1024, "
      "\"maxThreadsPerSM\": %u, \"maxCtasPerSM\": %u, \"warpSize\": 32, "
      "\"regsPerBlock\": 65536, \"maxRegistersPerSM\": 65536, "
      "\"maxSharedMemoryPerBlock\": 49152, "
      "\"maxSharedMemoryPerBlockOptin\": %u, "
      "\"reservedSharedMemoryPerBlock\": 1024, \"l2CacheSize\": %u, "
      "\"totalGlobalMem\": %" G_GUINT64_FORMAT ", \"smClockRateKHz\": %u, "
      "\"memClockRateKHz\": %u, \"cudaDeviceId\": 0, \"pciDeviceId\": 0, "
      "\"isTccDriver\": 0, \"supportCoopLaunch\": 1}", t->name, t->sm * 10,
      t->n_sms, t->threads, t->blocks, t->shared_kib << 10, t->l2_kib << 10,
      (guint64) t->memory_mib << 20, t->clock_mhz * 1000,
      t->memory_mhz * 1000);
}

static CpspGpuApi api;
static const char *why_not;     // no plan can be made here

static void
load_cudnn (void)
{
  static char text[256];
  GError *error = NULL;
  gsize version;

  if (!cpsp_gpu_api_load_cudnn (&api, CPSP_CUDNN_LIBRARY, &error)) {
    g_snprintf (text, sizeof text, "%s", error->message);
    g_error_free (error);
    why_not = text;
    return;
  }
  version = api.cudnnGetVersion ();
  if (version / 100 != CUDNN_KNOWN) {
    g_snprintf (text, sizeof text, "cuDNN %" G_GSIZE_FORMAT ": how to "
        "describe a device is known of %d only", version, CUDNN_KNOWN);
    why_not = text;
  }
}

static cudnnBackendDescriptor_t
make_description (const Target * target)
{
  g_autofree char *text = describe (target);
  cudnnBackendDescriptor_t description = NULL;

  g_assert_cmpint (api.cudnnBackendCreateDescriptor
      (CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &description), ==, 0);
  g_assert_cmpint (api.cudnnBackendSetAttribute (description,
          CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
          strlen (text), text), ==, 0);
  g_assert_cmpint (api.cudnnBackendFinalize (description), ==, 0);
  return description;
}

static gboolean
has_shape (GArray * shapes, const CpspConvShape * shape)
{
  for (guint i = 0; i < shapes->len; i++)
    if (memcmp (&g_array_index (shapes, CpspConvShape, i), shape,
            sizeof *shape) == 0)
      return TRUE;
  return FALSE;
}

// Each convolution that PROGRAM has, once.
static void
add_shapes (GArray * shapes, const CpspProgram * program)
{
  for (guint i = 0; i < program->n_ops; i++)
    if (program->ops[i].kind == CPSP_OP_CONV) {
      CpspConvShape shape = cpsp_conv_shape_of (program, i);

      if (!has_shape (shapes, &shape))
        g_array_append_val (shapes, shape);
    }
}

typedef struct
{
  const char *network;
  CpspType type;
  guint batch;
} Case;

// One row of the table: a shape, and for each target the engine's number and
// the workspace.
static void
plan_shape (const CpspConvShape * shape,
    const cudnnBackendDescriptor_t * descriptions, guint n, gsize * largest)
{
  g_autoptr (GString) row = g_string_new (NULL);

  g_string_printf (row, "%ux%u/%u d%u %4ux%-3u %4u>%-4u %s%s", shape->kernel,
      shape->kernel, shape->stride, shape->dilation, shape->width,
      shape->height, shape->c_in, shape->c_out, shape->accumulate ? "+" : " ",
      shape->relu ? "relu" : "    ");
  for (guint i = 0; i < n; i++) {
    const CpspConvTarget target = {
      .description = descriptions[i],.workspace_limit = WORKSPACE_LIMIT,
    };
    GError *error = NULL;
    CpspConvPlan *plan = cpsp_conv_plan_new (&api, &target, shape, &error);
    gsize workspace;

    if (error)
      g_test_message ("column %u: %s", i + 1, error->message);
    g_assert_no_error (error);
    workspace = cpsp_conv_plan_get_workspace (plan);
    g_assert_cmpuint (workspace, <=, WORKSPACE_LIMIT);
    *largest = MAX (*largest, workspace);
    g_string_append_printf (row, " %6" G_GINT64_FORMAT ":%-4.1f",
        cpsp_conv_plan_get_engine (plan), workspace / MIB);
    cpsp_conv_plan_free (plan);
  }
  g_test_message ("%s", row->str);
}

static void
test_plans (gconstpointer data)
{
  const Case *c = data;
  const guint first = g_test_slow () ? 0 : QUICK_TARGET;
  const guint n = g_test_slow () ? G_N_ELEMENTS (targets) : 1;
  cudnnBackendDescriptor_t descriptions[G_N_ELEMENTS (targets)];
  g_autoptr (GArray) shapes = g_array_new (FALSE, FALSE,
      sizeof (CpspConvShape));
  g_autoptr (CpspNetwork) network = NULL;
  g_autoptr (GString) head = g_string_new (NULL);
  gsize largest = 0;

  if (why_not) {
    g_test_skip (why_not);
    return;
  }
  network = network_load (c->network);
  for (guint step = 0; step < G_N_ELEMENTS (network_steps); step++) {
    g_autoptr (CpspProgram) program = network_program (network, step,
        c->batch, c->type);

    add_shapes (shapes, program);
  }
  for (guint i = 0; i < n; i++) {
    descriptions[i] = make_description (&targets[first + i]);
    g_string_append_printf (head, " sm_%-8u", targets[first + i].sm);
  }
  g_test_message ("%s, %s, batch %u; engine:MiB of workspace%s", c->network,
      cpsp_type_name (c->type), c->batch, head->str);
  for (guint i = 0; i < shapes->len; i++)
    plan_shape (&g_array_index (shapes, CpspConvShape, i), descriptions, n,
        &largest);
  g_test_message ("%u convolutions, each on %u GPUs; %.1f MiB at most",
      shapes->len, n, largest / MIB);
  for (guint i = 0; i < n; i++)
    api.cudnnBackendDestroyDescriptor (descriptions[i]);
}

// A plan of a convolution of the published network.
static CpspConvPlan *
plan_one (const CpspGpuApi * table, CpspType type, gsize limit,
    GError ** error)
{
  cudnnBackendDescriptor_t description =
      make_description (&targets[QUICK_TARGET]);
  const CpspConvShape shape = {
    type, 1, 113, 113, 512, 512, 3, 1, 1, TRUE, TRUE
  };
  const CpspConvTarget target = {
    .description = description,.workspace_limit = limit,
  };
  CpspConvPlan *plan = cpsp_conv_plan_new (table, &target, &shape, error);

  api.cudnnBackendDestroyDescriptor (description);
  return plan;
}

// How a graph is spoilt while it is built.
typedef struct
{
  const char *name;
  cudnnBackendAttributeName_t attribute;
  gint64 id;                    // of the tensor; 0: of any, or no tensor's
  guint element;
  gint64 value;                 // added to a size; in the place of a type
} Spoiler;

// Of the graph's tensors, as in cuda/conv.c.
enum
{
  ID_X = 1,
  ID_WEIGHT,
  ID_BIAS,
  ID_RESIDUAL,
  ID_Y,
  ID_BETWEEN,                   // and those that follow
};

static const Spoiler *spoiler;
static gint64 last_id;
static guint n_spoilt;

static cudnnStatus_t
set_spoilt (cudnnBackendDescriptor_t descriptor,
    cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
    int64_t n, const void *values)
{
  gint64 sizes[4];
  gint32 code = spoiler->value;

  if (name == CUDNN_ATTR_TENSOR_UNIQUE_ID)
    last_id = *(const gint64 *) values;
  if (name != spoiler->attribute ||
      (spoiler->id && spoiler->id != MIN (last_id, ID_BETWEEN)))
    return api.cudnnBackendSetAttribute (descriptor, name, type, n, values);
  n_spoilt++;
  if (type == CUDNN_TYPE_INT64) {
    memcpy (sizes, values, n * sizeof sizes[0]);
    sizes[spoiler->element] += spoiler->value;
    return api.cudnnBackendSetAttribute (descriptor, name, type, n, sizes);
  }
  return api.cudnnBackendSetAttribute (descriptor, name, type, n, &code);
}

// cuDNN refuses what is wrong: that it takes ours means something.
static void
test_wrong (void)
{
  static const Spoiler spoilers[] = {
    {"Y a row short", CUDNN_ATTR_TENSOR_DIMENSIONS, ID_Y, 2, -1},
    {"X a row longer", CUDNN_ATTR_TENSOR_DIMENSIONS, ID_X, 2, 1},
    {"weights one wider", CUDNN_ATTR_TENSOR_DIMENSIONS, ID_WEIGHT, 3, 1},
    {"a bias of too few", CUDNN_ATTR_TENSOR_DIMENSIONS, ID_BIAS, 1, -8},
    {"a residual of too few", CUDNN_ATTR_TENSOR_DIMENSIONS, ID_RESIDUAL, 1,
        -8},
    {"rows of X that overlap", CUDNN_ATTR_TENSOR_STRIDES, ID_X, 2, -8},
    {"Y's channels apart", CUDNN_ATTR_TENSOR_STRIDES, ID_Y, 1, 113 * 113 - 1},
    {"weights of fp32", CUDNN_ATTR_TENSOR_DATA_TYPE, ID_WEIGHT, 0,
        CUDNN_DATA_FLOAT},
    {"a bias of fp32", CUDNN_ATTR_TENSOR_DATA_TYPE, ID_BIAS, 0,
        CUDNN_DATA_FLOAT},
    {"a residual of fp32", CUDNN_ATTR_TENSOR_DATA_TYPE, ID_RESIDUAL, 0,
        CUDNN_DATA_FLOAT},
    {"sums of fp16", CUDNN_ATTR_TENSOR_DATA_TYPE, ID_BETWEEN, 0,
        CUDNN_DATA_HALF},
    {"odd addresses", CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 0, 0, -15},
    {"no padding above", CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, 0, 0, -2},
    {"another stride", CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, 0, 0, 1},
    {"another dilation", CUDNN_ATTR_CONVOLUTION_DILATIONS, 0, 0, 1},
    {"sigmoid for ReLU", CUDNN_ATTR_POINTWISE_MODE, 0, 0,
        CUDNN_POINTWISE_SIGMOID_FWD},
  };
  CpspGpuApi spoilt = api;

  if (why_not) {
    g_test_skip (why_not);
    return;
  }
  spoilt.cudnnBackendSetAttribute = set_spoilt;
  for (guint i = 0; i < G_N_ELEMENTS (spoilers); i++) {
    GError *error = NULL;
    CpspConvPlan *plan;

    spoiler = &spoilers[i];
    n_spoilt = 0;
    plan = plan_one (&spoilt, CPSP_TYPE_F16, WORKSPACE_LIMIT, &error);
    g_test_message ("%s: %s", spoiler->name,
        plan ? "taken" : error->message);
    g_assert_cmpuint (n_spoilt, >, 0);
    g_assert_null (plan);
    g_assert_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE);
    g_clear_error (&error);
  }
}

// What takes too much memory is left out; what is left is the next best.
static void
test_limit (void)
{
  const gsize limits[] = { WORKSPACE_LIMIT, 4 << 20, 0 };

  if (why_not) {
    g_test_skip (why_not);
    return;
  }
  for (guint t = 0; t < G_N_ELEMENTS (types); t++)
    for (guint i = 0; i < G_N_ELEMENTS (limits); i++) {
      CpspConvPlan *plan = plan_one (&api, types[t], limits[i], NULL);

      g_assert_nonnull (plan);
      g_assert_cmpuint (cpsp_conv_plan_get_workspace (plan), <=, limits[i]);
      cpsp_conv_plan_free (plan);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  load_cudnn ();
  g_test_add_func ("/plans/wrong", test_wrong);
  g_test_add_func ("/plans/limit", test_limit);
  for (guint n = 0; network_names[n]; n++)
    for (guint t = 0; t < G_N_ELEMENTS (types); t++)
      for (guint b = 0; b < G_N_ELEMENTS (batches); b++) {
        Case c = { network_names[n], types[t], batches[b] };
        g_autofree char *path = g_strdup_printf ("/plans/%s/%s/%u", c.network,
            cpsp_type_name (c.type), c.batch);

        if (b == 0 || g_test_slow ())
          g_test_add_data_func_full (path, g_memdup2 (&c, sizeof c),
              test_plans, g_free);
      }
  return g_test_run ();
}
