/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The refiner on every odd frame, mask and setting that a user may bring, and
 * what the boundary plan promises. Exactness is test-golden's. CPSP_MODEL: a
 * model that works on pictures.
 */
#include "golden.h"
#include "test-frame.h"

static CpspModel *model;

static Frame
frame_from_case (guint number)
{
  g_autofree char *image = g_strdup_printf ("case%u_image.png", number);
  g_autofree char *mask = g_strdup_printf ("case%u_mask.png", number);
  Frame frame = { 0 };

  frame.image = golden_png (image, PNG_FORMAT_RGB, &frame.width,
      &frame.height);
  frame.mask = golden_png (mask, PNG_FORMAT_GRAY, &frame.width,
      &frame.height);
  frame_describe (&frame);
  return frame;
}

static CpspRefiner *
refiner_new (CpspPrecision precision)
{
  const CpspRefinerParams params = {.precision = precision };
  GError *error = NULL;
  CpspRefiner *refiner = cpsp_refiner_new (model, &params, &error);

  g_assert_no_error (error);
  return refiner;
}

static CpspStats
refine (CpspRefiner * refiner, const CpspSettings * settings, Frame * frame)
{
  CpspStats stats;
  GError *error = NULL;

  cpsp_refiner_refine (refiner, settings, &(CpspFrame) {
      .image = &frame->image_view,.mask = &frame->mask_view},
      &frame->alpha_view, &stats, &error);
  g_assert_no_error (error);
  return stats;
}

static void
assert_constant (const Frame * frame, float value)
{
  for (gsize i = 0; i < (gsize) frame->width * frame->height; i++)
    g_assert_cmpfloat (frame->alpha[i], ==, value);
}

static void
test_sizes (void)
{
  static const guint sizes[][2] = {
    {1, 1}, {7, 9}, {33, 300}, {8192, 16}, {16, 4100}, {96, 96}, {97, 95},
    {2, 1000},
  };
  g_autoptr (CpspRefiner) refiner = refiner_new (CPSP_PRECISION_AUTO);

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    for (guint variant = 0; variant < 6; variant++) {
      Frame frame = frame_new (sizes[i][0], sizes[i][1]);
      CpspSettings settings = CPSP_SETTINGS_DEFAULT;

      settings.crop_size = 128;
      settings.local_step = variant % 3;
      settings.local_region = variant / 3;
      settings.enlarge_small = variant == 4;
      refine (refiner, &settings, &frame);
      frame_assert_probabilities (&frame);
      frame_clear (&frame);
    }
}

// A mask without a boundary is its own result, a single pixel is refined.
static void
test_masks (void)
{
  g_autoptr (CpspRefiner) refiner = refiner_new (CPSP_PRECISION_AUTO);
  CpspSettings settings = CPSP_SETTINGS_DEFAULT;
  Frame frame = frame_new (300, 200);
  gsize n = 300 * 200;
  CpspStats stats;

  settings.crop_size = 128;
  memset (frame.mask, 0, n);
  stats = refine (refiner, &settings, &frame);
  assert_constant (&frame, 0);
  g_assert_cmpuint (stats.crops_run, ==, 0);

  memset (frame.mask, 255, n);
  refine (refiner, &settings, &frame);
  assert_constant (&frame, 1);

  memset (frame.mask, 127, n);
  refine (refiner, &settings, &frame);
  assert_constant (&frame, 0);
  settings.mask_threshold = 0.25;
  refine (refiner, &settings, &frame);
  assert_constant (&frame, 1);

  settings.mask_threshold = 0.5;
  memset (frame.mask, 0, n);
  frame.mask[100 * 300 + 150] = 255;
  refine (refiner, &settings, &frame);
  frame_assert_probabilities (&frame);

  memset (frame.mask, 255, n);
  frame.mask[100 * 300 + 150] = 0;
  refine (refiner, &settings, &frame);
  frame_assert_probabilities (&frame);
  frame_clear (&frame);
}

static void
test_refused (void)
{
  g_autoptr (CpspRefiner) refiner = refiner_new (CPSP_PRECISION_AUTO);
  Frame frame = frame_new (64, 64);
  static const struct
  {
    guint crop_size;
    double threshold;
    const char *what;
  } bad[] = {
    {64, 0.5, "crop-size 64"}, {0, 0.5, "crop-size 0"},
    {CPSP_CROP_SIZE_MIN - 1, 0.5, "crop-size"},
    {CPSP_CROP_SIZE_MAX + 1, 0.5, "crop-size"},
    {900, 1, "mask-threshold 1"}, {900, NAN, "mask-threshold"},
  };
  CpspSettings settings = CPSP_SETTINGS_DEFAULT;
  GError *error = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    settings.crop_size = bad[i].crop_size;
    settings.mask_threshold = bad[i].threshold;
    g_assert_false (cpsp_refiner_refine (refiner, &settings, &(CpspFrame) {
                .image = &frame.image_view,.mask = &frame.mask_view},
            &frame.alpha_view, NULL, &error));
    g_assert_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT);
    g_assert_nonnull (strstr (error->message, bad[i].what));
    g_clear_error (&error);
  }
  settings = (CpspSettings) CPSP_SETTINGS_DEFAULT;
  g_assert_false (cpsp_refiner_prepare (refiner, &settings, 0, 5, FALSE,
          &error));
  g_assert_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT);
  g_clear_error (&error);
  g_assert_false (cpsp_refiner_prepare (refiner, &settings, 100000, 5,
          FALSE, &error));
  g_assert_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT);
  g_clear_error (&error);
  // After all that it works.
  refine (refiner, &settings, &frame);
  frame_clear (&frame);
}

// Views that are not what image.h says are refused before anything reads them.
static void
test_views (void)
{
  g_autoptr (CpspRefiner) refiner = refiner_new (CPSP_PRECISION_AUTO);
  CpspSettings settings = CPSP_SETTINGS_DEFAULT;
  Frame good = frame_new (64, 64);

  for (guint i = 0; i < 12; i++) {
    Frame bad = good;
    double budget_ms = 0;
    GError *error = NULL;

    switch (i) {
      case 0:
        bad.image_view.n_components = 2;
        break;
      case 1:
        bad.image_view.component[2].data = NULL;
        break;
      case 2:
        bad.image_view.component[0].depth = 9;
        break;
      case 3:
        bad.image_view.component[1].shift = 1;
        break;
      case 4:
        bad.image_view.chroma_shift_x = 32;
        break;
      case 5:
        bad.mask_view.scale = 0;
        break;
      case 6:
        bad.mask_view.width = 0;
        break;
      case 7:
        bad.mask_view.component.depth = 0;
        break;
      case 8:
        bad.alpha_view.width = 63;
        break;
      case 9:
        bad.alpha_view.stride_bytes += 1;
        break;
      case 10:
        budget_ms = -1;
        break;
      case 11:
        budget_ms = NAN;
        break;
    }
    g_assert_false (cpsp_refiner_refine (refiner, &settings, &(CpspFrame) {
                .image = &bad.image_view,.mask = &bad.mask_view,
                .budget_ms = budget_ms}, &bad.alpha_view, NULL, &error));
    g_assert_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT);
    g_clear_error (&error);
  }
  refine (refiner, &settings, &good);
  frame_assert_probabilities (&good);
  frame_clear (&good);
}

// The same frame gives the same bytes: again, after another size, and in a
// second refiner that computes at the same time.
static gpointer
refine_often (gpointer data)
{
  Frame *frame = data;
  g_autoptr (CpspRefiner) refiner = refiner_new (CPSP_PRECISION_AUTO);
  CpspSettings settings = CPSP_SETTINGS_DEFAULT;

  settings.crop_size = 128;
  for (guint i = 0; i < 5; i++)
    refine (refiner, &settings, frame);
  return NULL;
}

static void
test_same_bytes (void)
{
  g_autoptr (CpspRefiner) refiner = refiner_new (CPSP_PRECISION_AUTO);
  CpspSettings settings = CPSP_SETTINGS_DEFAULT;
  Frame frame = frame_new (260, 180), same = frame_new (260, 180);
  Frame other = frame_new (100, 140);
  gsize size = 260 * 180 * sizeof (float);
  GThread *thread = g_thread_new ("second", refine_often, &same);

  settings.crop_size = 128;
  refine (refiner, &settings, &frame);
  {
    g_autofree float *first = g_memdup2 (frame.alpha, size);

    refine (refiner, &settings, &other);
    refine (refiner, &settings, &frame);
    g_assert_cmpmem (frame.alpha, size, first, size);
    g_thread_join (thread);
    g_assert_cmpmem (same.alpha, size, first, size);
  }
  frame_clear (&frame);
  frame_clear (&same);
  frame_clear (&other);
}

// A mask of another size is stretched over the frame.
static void
test_mask_size (void)
{
  g_autoptr (CpspRefiner) refiner = refiner_new (CPSP_PRECISION_FP32);
  CpspSettings settings = CPSP_SETTINGS_DEFAULT;
  Frame frame = frame_new (240, 160), small = frame_new (30, 20);
  gsize agree = 0, n = 240 * 160;
  g_autofree float *first = NULL;

  settings.crop_size = 128;
  refine (refiner, &settings, &frame);
  first = g_memdup2 (frame.alpha, n * sizeof (float));
  frame.mask_view = small.mask_view;
  refine (refiner, &settings, &frame);
  frame_assert_probabilities (&frame);
  for (gsize i = 0; i < n; i++)
    agree += (frame.alpha[i] > 0.5f) == (first[i] > 0.5f);
  g_test_message ("%.2f %% agree", 100.0 * agree / n);
  g_assert_cmpfloat ((double) agree / n, >, 0.97);
  frame_clear (&frame);
  frame_clear (&small);
}

// Refines FRAME with Local crops in REGIONS only.
static CpspStats
refine_regions (CpspRefiner * refiner, const CpspSettings * settings,
    Frame * frame, const CpspRect * regions, guint n_regions)
{
  CpspStats stats;
  GError *error = NULL;

  cpsp_refiner_refine (refiner, settings, &(CpspFrame) {
      .image = &frame->image_view,.mask = &frame->mask_view,
      .regions = regions,.n_regions = n_regions}, &frame->alpha_view, &stats,
      &error);
  g_assert_no_error (error);
  return stats;
}

// Regions limit where the Local step changes the Global result.
static void
test_regions (void)
{
  g_autoptr (CpspRefiner) refiner = refiner_new (CPSP_PRECISION_FP32);
  CpspSettings settings = CPSP_SETTINGS_DEFAULT;
  Frame frame = frame_from_case (4);
  guint width = frame.width, height = frame.height, all, left, n_crops;
  gsize n = (gsize) width * height;
  const CpspRect regions[] = {
    {0, 0, 60, height}, {-100, -100, 220, height + 200},
    {width * 2 / 3, 0, G_MAXUINT, height},
  };
  const CpspRect nowhere = { 900, 900, 5, 5 };
  g_autofree float *global = NULL;
  const CpspCropReport *crops;
  gboolean changes = FALSE;
  CpspStats stats;

  settings.crop_size = 160;
  all = refine (refiner, &settings, &frame).crops_run;
  settings.local_step = CPSP_LOCAL_STEP_NEVER;
  refine (refiner, &settings, &frame);
  global = g_memdup2 (frame.alpha, n * sizeof (float));
  settings.local_step = CPSP_LOCAL_STEP_AUTO;

  // Two that overlap are one.
  left = refine_regions (refiner, &settings, &frame, regions, 2).crops_run;
  g_assert_cmpuint (left, <, all);
  for (guint y = 0; y < height; y++)
    for (guint x = 120 + 160; x < width; x++)
      g_assert_cmpfloat (frame.alpha[y * width + x], ==,
          global[y * width + x]);
  stats = refine_regions (refiner, &settings, &frame, regions + 1, 1);
  g_assert_cmpuint (stats.crops_run, ==, left);

  // Two that are apart: what lies between is left alone.
  stats = refine_regions (refiner, &settings, &frame, regions, 3);
  g_assert_cmpuint (stats.crops_run, >, left);
  crops = cpsp_refiner_get_crops (refiner, &n_crops);
  g_assert_cmpuint (n_crops, ==, stats.crops_run);
  for (guint i = 0; i < n_crops; i++) {
    const CpspRect *area = &crops[i].area;

    g_assert_true (crops[i].run);
    g_assert_true (area->x < 120 ||
        area->x + area->width > width * 2 / 3);
  }
  for (guint y = 0; y < height; y++)
    for (guint x = 0; x < width; x++) {
      gboolean inside = FALSE;

      for (guint i = 0; i < n_crops; i++)
        inside = inside || (x - crops[i].area.x < crops[i].area.width &&
            y - crops[i].area.y < crops[i].area.height);
      if (!inside)
        g_assert_cmpfloat (frame.alpha[y * width + x], ==,
            global[y * width + x]);
      changes = changes || frame.alpha[y * width + x] !=
          global[y * width + x];
    }
  g_assert_true (changes);

  for (guint i = 0; i < 2; i++) {
    stats = refine_regions (refiner, &settings, &frame, &nowhere, i);
    g_assert_cmpuint (stats.crops_run, ==, 0);
    g_assert_cmpmem (frame.alpha, n * sizeof (float), global,
        n * sizeof (float));
  }
  frame_clear (&frame);
}

// The boundary plan runs fewer crops than the published grid, and gives its
// result but for what the module is unsure of: there each crop sees something
// else.
static void
test_boundary (void)
{
  g_autoptr (CpspRefiner) refiner = refiner_new (CPSP_PRECISION_FP32);
  CpspSettings settings = CPSP_SETTINGS_DEFAULT;
  Frame frame = frame_from_case (4);
  gsize n = (gsize) frame.width * frame.height, close = 0;
  g_autofree float *reference = NULL;
  guint published, ours;

  settings.crop_size = 160;
  settings.local_region = CPSP_LOCAL_REGION_REFERENCE;
  published = refine (refiner, &settings, &frame).crops_run;
  reference = g_memdup2 (frame.alpha, n * sizeof (float));
  settings.local_region = CPSP_LOCAL_REGION_BOUNDARY;
  ours = refine (refiner, &settings, &frame).crops_run;
  for (gsize i = 0; i < n; i++)
    close += (frame.alpha[i] > 0.5f) == (reference[i] > 0.5f);
  g_test_message ("%u crops, published grid %u; %.2f %% agree", ours,
      published, 100.0 * close / n);
  g_assert_cmpuint (ours, <, published);
  g_assert_cmpfloat ((double) close / n, >, 0.96);
  frame_clear (&frame);
}

// What is promised of one object on a UHD frame: a third of the grid's crops
// at most, and the published result.
static void
test_uhd (void)
{
  g_autoptr (CpspRefiner) refiner = refiner_new (CPSP_PRECISION_AUTO);
  CpspSettings settings = CPSP_SETTINGS_DEFAULT;
  Frame frame = frame_new (3840, 2160);
  gsize n = (gsize) 3840 * 2160, close = 0;
  g_autofree float *ours = NULL;
  CpspStats stats = refine (refiner, &settings, &frame);

  g_test_message ("%u crops of %u", stats.crops_run, stats.crops_grid);
  g_assert_cmpuint (stats.crops_grid, ==, 45);
  g_assert_cmpuint (3 * stats.crops_run, <=, 45);
  ours = g_memdup2 (frame.alpha, n * sizeof (float));
  settings.local_region = CPSP_LOCAL_REGION_REFERENCE;
  stats = refine (refiner, &settings, &frame);
  for (gsize i = 0; i < n; i++)
    close += fabsf (ours[i] - frame.alpha[i]) <= 16.0f / 255;
  g_test_message ("published: %u crops; %.3f %% within 16/255",
      stats.crops_run, 100.0 * close / n);
  g_assert_cmpfloat ((double) close / n, >, 0.995);
  frame_clear (&frame);
}

// Frames far beyond the crop size take Local steps from coarse to fine.
static void
test_recursion (void)
{
  g_autoptr (CpspRefiner) refiner = refiner_new (CPSP_PRECISION_AUTO);
  CpspSettings settings = CPSP_SETTINGS_DEFAULT;
  Frame frame = frame_new (1400, 500);
  CpspStats stats;
  gsize right = 0;

  settings.crop_size = 96;
  stats = refine (refiner, &settings, &frame);
  frame_assert_probabilities (&frame);
  g_test_message ("%u crops", stats.crops_run);
  for (gsize i = 0; i < 1400 * 500; i++)
    right += (frame.alpha[i] > 0.5f) == (frame.image[3 * i] >= 200);
  g_test_message ("%.2f %% right", right / 7000.0);
  g_assert_cmpfloat (right / 7000.0, >, 97);
  frame_clear (&frame);
}

int
main (int argc, char **argv)
{
  int status;

  g_test_init (&argc, &argv, NULL);
  model = cpsp_model_load (g_getenv ("CPSP_MODEL"), NULL);
  g_assert_nonnull (model);
  g_test_add_func ("/refiner/sizes", test_sizes);
  g_test_add_func ("/refiner/masks", test_masks);
  g_test_add_func ("/refiner/refused", test_refused);
  g_test_add_func ("/refiner/views", test_views);
  g_test_add_func ("/refiner/same-bytes", test_same_bytes);
  g_test_add_func ("/refiner/mask-size", test_mask_size);
  g_test_add_func ("/refiner/regions", test_regions);
  g_test_add_func ("/refiner/boundary", test_boundary);
  g_test_add_func ("/refiner/uhd", test_uhd);
  g_test_add_func ("/refiner/recursion", test_recursion);
  status = g_test_run ();
  cpsp_model_unref (model);
  return status;
}
