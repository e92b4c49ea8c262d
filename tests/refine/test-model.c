/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Model files, good and bad. A small valid file is written from scratch here;
 * each test spoils one thing and looks for the error that names it. Last, two
 * thousand random mutations, which may load or fail but nothing else: run it
 * under AddressSanitizer and UBSan.
 *
 * CPSP_TEST_DATA: folder of reference files. CPSP_TEST_SEED: another start
 * for the mutations.
 */
#include "error.h"
#include "model-file.h"

#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

#ifdef G_OS_UNIX
#include <sys/stat.h>
#include <unistd.h>
#endif

#define N_MUTATIONS 2000

static const CpspWidths tiny = {
  .stem = 2, .planes = {1, 2, 2, 1}, .blocks = {1, 2, 2, 1},
  .psp = 3, .up = {2, 3, 1}, .head = {2, 1, 3},
};

static void
replace (char **string, const char *with)
{
  if (with) {
    g_free (*string);
    *string = g_strdup (with);
  }
}

/* Assertions */

static CpspModel *
load (const File * file)
{
  g_autoptr (GBytes) bytes = file_write (file);
  GError *error = NULL;
  CpspModel *model = cpsp_model_load_bytes ("good.file", bytes, &error);

  g_assert_no_error (error);
  g_assert_nonnull (model);
  return model;
}

static void
assert_message (const GError * error, const char *what)
{
  if (what && !strstr (error->message, what))
    g_error ("\"%s\" does not say \"%s\"", error->message, what);
}

// Loading fails; the message names the file, says WHAT and WHAT_ELSE (may be
// NULL), and is one line of text.
static void
assert_bad_bytes (GBytes * bytes, const char *what, const char *what_else)
{
  g_autoptr (GError) error = NULL;
  CpspModel *model = cpsp_model_load_bytes ("bad.file", bytes, &error);

  g_assert_null (model);
  g_assert_error (error, CPSP_ERROR, CPSP_ERROR_FORMAT);
  assert_message (error, "bad.file: ");
  assert_message (error, what);
  assert_message (error, what_else);
  g_assert_cmpuint (strlen (error->message), <, 500);
  g_assert_true (g_utf8_validate (error->message, -1, NULL));
  for (const char *p = error->message; *p; p++)
    g_assert_false (g_ascii_iscntrl (*p));
}

static void
assert_bad (const File * file, const char *what, const char *what_else)
{
  g_autoptr (GBytes) bytes = file_write (file);

  assert_bad_bytes (bytes, what, what_else);
}

/* Good files */

static void
test_widths (void)
{
  g_autoptr (File) file = file_new (&tiny);
  g_autoptr (CpspModel) model = load (file);
  gsize n_parameters = 0;

  g_assert_cmpmem (cpsp_model_get_widths (model), sizeof tiny, &tiny,
      sizeof tiny);
  g_assert_cmpstr (cpsp_model_get_path (model), ==, "good.file");

  for (guint k = 0; k < file->entries->len; k++) {
    const Entry *e = file->entries->pdata[k];
    gsize n;
    g_autofree float *values = cpsp_model_read (model, e->name, &n);

    g_assert_true (cpsp_model_has (model, e->name));
    g_assert_nonnull (values);
    g_assert_cmpuint (n, ==, e->data->len / 4);
    for (gsize i = 0; i < n; i++)
      g_assert_true (values[i] == nth_value (k, i));
    if (!strstr (e->name, ".running_"))
      n_parameters += n;
  }
  g_assert_cmpuint (cpsp_model_get_n_parameters (model), ==, n_parameters);
}

static void
test_prefix (void)
{
  g_autoptr (File) file = file_new (&tiny);

  file->prefix = "module.";
  g_autoptr (CpspModel) model = load (file);
  g_assert_true (cpsp_model_has (model, "feats.conv1.weight"));
  g_assert_false (cpsp_model_has (model, "module.feats.conv1.weight"));
}

// Tensors that the network does not have are no harm, nor are metadata.
static void
test_extra (void)
{
  g_autoptr (File) file = file_new (&tiny);
  gsize n = 1;

  file->extra = "\"__metadata__\": {\"a\": \"}{[\\\"]\", "
      "\"b\": \"\\u00e9\\ud83d\\ude00\\n\\/\"}, ";
  add (file, "[2]", "feats.bn1.num_batches_tracked");
  replace (&find (file, "feats.bn1.num_batches_tracked")->dtype, "\"I64\"");
  replace (&find (file, "feats.bn1.num_batches_tracked")->shape, "[]");
  add (file, "[3]", "something.else");
  add (file, "[0]", "nothing");
  add (file, "[1]", "feats.layer5.0.conv1.weight");

  g_autoptr (CpspModel) model = load (file);
  g_assert_cmpmem (cpsp_model_get_widths (model), sizeof tiny, &tiny,
      sizeof tiny);
  g_assert_false (cpsp_model_has (model, "something.else"));
  g_assert_false (cpsp_model_has (model, "feats.bn1.num_batches_tracked"));
  g_assert_null (cpsp_model_read (model, "something.else", &n));
  g_assert_cmpuint (n, ==, 0);
  g_assert_null (cpsp_model_read (model, "", NULL));
}

// Where a first block keeps the shape, its downsample may be absent.
static void
test_downsample (void)
{
  CpspWidths widths = tiny;

  widths.stem = 4;
  g_autoptr (File) file = file_new (&widths);
  g_autoptr (CpspModel) without = load (file);
  g_assert_false (cpsp_model_has (without,
          "feats.layer1.0.downsample.0.weight"));
  g_assert_true (cpsp_model_has (without,
          "feats.layer2.0.downsample.0.weight"));

  add_conv (file, "feats.layer1.0.downsample.0", 4, 4, 1, FALSE);
  assert_bad (file, "feats.layer1.0.downsample.1.weight is missing", "[4]");
  add_norm (file, "feats.layer1.0.downsample.1", 4);
  g_autoptr (CpspModel) with = load (file);
  g_assert_true (cpsp_model_has (with, "feats.layer1.0.downsample.1.bias"));
}

// Rewrites an entry's floats as another type.
static void
convert (Entry * entry, const char *dtype, guint16 (*to_16) (float))
{
  replace (&entry->dtype, dtype);
  for (guint i = 0; i < entry->data->len / 4; i++) {
    guint32 bits;
    float value;

    memcpy (&bits, entry->data->data + 4 * i, 4);
    bits = GUINT32_FROM_LE (bits);
    memcpy (&value, &bits, 4);
    put_16 (entry->data->data + 2 * i, to_16 (value));
  }
  g_byte_array_set_size (entry->data, entry->data->len / 2);
}

// What every half is worth, from the definition.
static float
half_value (guint16 half)
{
  int exponent = half >> 10 & 31, mantissa = half & 1023;
  float magnitude = exponent == 0 ? ldexpf (mantissa, -24) :
      ldexpf (mantissa + 1024, exponent - 25);

  return half & 0x8000 ? -magnitude : magnitude;
}

// Of values that are halves already.
static guint16
to_half (float value)
{
  for (guint half = 0; half < 0x7c00; half++)
    if (half_value (half) == value)
      return half;
  g_assert_not_reached ();
}

static void
test_types (void)
{
  g_autoptr (File) file = file_new (&tiny);

  for (guint k = 0; k < file->entries->len; k++)
    if (k % 3 == 1)
      convert (file->entries->pdata[k], "\"F16\"", to_half);
    else if (k % 3 == 2)
      convert (file->entries->pdata[k], "\"BF16\"", cpsp_float_to_bf16);

  g_autoptr (CpspModel) model = load (file);
  for (guint k = 0; k < file->entries->len; k++) {
    const Entry *e = file->entries->pdata[k];
    gsize n;
    g_autofree float *values = cpsp_model_read (model, e->name, &n);

    for (gsize i = 0; i < n; i++)
      g_assert_true (values[i] == nth_value (k, i));
  }
}

// All 63488 finite halves, as weights of a large up_1.shortcut.
static void
test_halves (void)
{
  CpspWidths widths = tiny;
  gsize n;

  widths.psp = 248;
  widths.up[0] = 256;
  g_autoptr (File) file = file_new (&widths);
  Entry *entry = find (file, "up_1.shortcut.weight");

  replace (&entry->dtype, "\"F16\"");
  g_byte_array_set_size (entry->data, 2 * 248 * 256);
  for (guint i = 0; i < 248 * 256; i++)
    put_16 (entry->data->data + 2 * i, i < 0x7c00 ? i : i + 0x400);

  g_autoptr (CpspModel) model = load (file);
  g_autofree float *values = cpsp_model_read (model, entry->name, &n);
  g_assert_cmpuint (n, ==, 0xf800);
  for (guint i = 0; i < n; i++)
    g_assert_true (values[i] == half_value (i < 0x7c00 ? i : i + 0x400));
  g_assert_true (signbit (values[0x7c00]));     // -0
}

// Data begins wherever the header ends.
static void
test_unaligned (void)
{
  g_autoptr (File) file = file_new (&tiny);
  const char *extras[] = { "", " ", "  ", "   " };

  for (guint i = 0; i < G_N_ELEMENTS (extras); i++) {
    file->extra = extras[i];
    g_autoptr (CpspModel) model = load (file);
    g_autofree float *values =
        cpsp_model_read (model, "feats.conv1.weight", NULL);
    g_assert_true (values[5] == nth_value (0, 5));
  }
}

static gpointer
read_all (gpointer data)
{
  CpspModel *model = data;

  for (guint i = 0; i < 200; i++) {
    g_autoptr (CpspModel) ref = cpsp_model_ref (model);
    g_autofree float *values =
        cpsp_model_read (ref, "feats.conv1.weight", NULL);
    g_assert_true (values[5] == nth_value (0, 5));
  }
  cpsp_model_unref (model);
  return NULL;
}

static void
test_threads (void)
{
  g_autoptr (File) file = file_new (&tiny);
  CpspModel *model = load (file);
  GThread *threads[4];

  for (guint i = 0; i < 4; i++)
    threads[i] = g_thread_new ("read", read_all, cpsp_model_ref (model));
  cpsp_model_unref (model);
  for (guint i = 0; i < 4; i++)
    g_thread_join (threads[i]);
}

static void
test_golden (void)
{
  const CpspWidths expected = {
    .stem = 8, .planes = {8, 16, 24, 32}, .blocks = {3, 4, 6, 3},
    .psp = 48, .up = {24, 16, 8}, .head = {8, 8, 8},
  };
  const char *folder = g_getenv ("CPSP_TEST_DATA");

  if (!folder) {
    g_test_skip ("CPSP_TEST_DATA is not set");
    return;
  }

  g_autofree char *path = g_build_filename (folder, "mini.safetensors", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (CpspModel) model = cpsp_model_load (path, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (cpsp_model_get_path (model), ==, path);
  g_assert_cmpmem (cpsp_model_get_widths (model), sizeof expected, &expected,
      sizeof expected);
  g_assert_cmpuint (cpsp_model_get_n_parameters (model), ==, 303753);
}

/* Files that cannot be opened */

static void
assert_cannot_open (const char *path, CpspError code)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (cpsp_model_load (path, &error));
  g_assert_error (error, CPSP_ERROR, (int) code);
  assert_message (error, path);
}

static void
test_open (void)
{
  g_autoptr (File) file = file_new (&tiny);
  g_autoptr (GBytes) bytes = file_write (file);
  g_autoptr (GError) error = NULL;
  g_autofree char *folder = g_dir_make_tmp ("cpsp-model-XXXXXX", &error);
  g_assert_no_error (error);
  g_autofree char *path = g_build_filename (folder, "model", NULL);
  gsize size;
  const char *data = g_bytes_get_data (bytes, &size);

  assert_cannot_open (path, CPSP_ERROR_NOT_FOUND);
  assert_cannot_open (folder, CPSP_ERROR_OPEN);

  g_assert_true (g_file_set_contents (path, "", 0, NULL));
  assert_cannot_open (path, CPSP_ERROR_FORMAT);

  g_assert_true (g_file_set_contents (path, data, size, NULL));
  CpspModel *model = cpsp_model_load (path, &error);
  g_assert_no_error (error);
  cpsp_model_unref (model);

  g_autofree char *below = g_build_filename (path, "below", NULL);
  assert_cannot_open (below, CPSP_ERROR_NOT_FOUND);
#ifdef G_OS_UNIX
  if (geteuid () != 0) {        // root may read everything
    g_assert_cmpint (g_chmod (path, 0), ==, 0);
    assert_cannot_open (path, CPSP_ERROR_OPEN);
  }
  g_assert_cmpint (g_unlink (path), ==, 0);
  g_assert_cmpint (mkfifo (path, 0600), ==, 0);
  assert_cannot_open (path, CPSP_ERROR_OPEN);
#endif
  g_unlink (path);
  g_rmdir (folder);
}

/* Bad files: one tensor spoilt */

typedef struct
{
  const char *id, *name;        // name of the tensor
  const char *dtype, *shape, *offsets, *rename; // instead of the right ones
  const char *what;             // besides the name, in the message
} BadTensor;

static const BadTensor bad_tensors[] = {
  {"dtype/unknown", "final_11.bias", .dtype = "\"F31\"", .what = "dtype"},
  {"dtype/case", "final_11.bias", .dtype = "\"f32\"", .what = "dtype"},
  {"dtype/empty", "final_11.bias", .dtype = "\"\"", .what = "dtype"},
  {"dtype/number", "final_11.bias", .dtype = "32", .what = "dtype"},
  {"dtype/null", "final_11.bias", .dtype = "null", .what = "dtype"},
  {"dtype/list", "final_11.bias", .dtype = "[\"F32\"]", .what = "dtype"},
  {"dtype/size", "final_11.bias", .dtype = "\"F16\"", .what = "F16"},
  {"dtype/integer", "final_11.bias", .dtype = "\"I32\"", .what = "I32"},
  {"dtype/twice", "final_11.bias", .dtype = "\"F32\", \"dtype\": \"F32\"",
      .rename = "x", .what = "dtype twice"},
  {"shape/null", "final_11.bias", .shape = "null", .what = "shape"},
  {"shape/number", "final_11.bias", .shape = "3", .what = "shape"},
  {"shape/object", "final_11.bias", .shape = "{}", .what = "shape"},
  {"shape/string", "final_11.bias", .shape = "[\"3\"]", .what = "shape"},
  {"shape/bool", "final_11.bias", .shape = "[true]", .what = "shape"},
  {"shape/fraction", "final_11.bias", .shape = "[3.0]", .what = "shape"},
  {"shape/exponent", "final_11.bias", .shape = "[3e0]", .what = "shape"},
  {"shape/negative", "final_11.bias", .shape = "[-3]", .what = "shape"},
  {"shape/two-negative", "final_11.bias", .shape = "[-3, -1]",
      .what = "shape"},
  {"shape/nested", "final_11.bias", .shape = "[{}]", .rename = "x",
      .what = "nests"},
  {"shape/many", "final_11.bias", .shape = "[3, 1, 1, 1, 1, 1, 1, 1, 1]",
      .what = "shape"},
  {"shape/overflow", "final_11.bias",
      .shape = "[4294967296, 4294967296, 4294967296]", .what = "too large"},
  {"shape/wraps", "final_11.bias", .shape = "[4611686018427387907]",
      .what = "elements"},
  {"shape/2^63", "final_11.bias", .shape = "[9223372036854775808]",
      .what = "tensor"},
  {"shape/2^64+3", "final_11.bias", .shape = "[18446744073709551619]",
      .what = "tensor"},
  {"shape/zero", "final_11.bias", .shape = "[0]", .what = "elements"},
  {"shape/scalar", "final_11.bias", .shape = "[]", .what = "elements"},
  {"shape/short", "final_11.bias", .shape = "[2]", .what = "elements"},
  {"shape/long", "final_11.bias", .shape = "[4]", .what = "elements"},
  {"shape/transposed", "final_11.weight", .shape = "[3, 1, 1, 4]",
      .what = "expected shape [3, 4, 1, 1], found [3, 1, 1, 4]"},
  {"shape/kernel", "feats.conv1.weight", .shape = "[2, 294, 1, 1]",
      .what = "expected shape [2, 6, 7, 7], found [2, 294, 1, 1]"},
  {"shape/flat", "up_1.shortcut.weight", .shape = "[6]",
      .what = "found [6]"},
  {"offsets/null", "final_11.bias", .offsets = "null", .what = "offsets"},
  {"offsets/empty", "final_11.bias", .offsets = "[]", .what = "offsets"},
  {"offsets/one", "final_11.bias", .offsets = "[0]", .what = "offsets"},
  {"offsets/three", "final_11.bias", .offsets = "[0, 4, 8]",
      .what = "offsets"},
  {"offsets/string", "final_11.bias", .offsets = "\"0, 12\"",
      .what = "offsets"},
  {"offsets/fraction", "final_11.bias", .offsets = "[0, 12.5]",
      .what = "offsets"},
  {"offsets/negative", "final_11.bias", .offsets = "[-12, 0]",
      .what = "offsets"},
  {"offsets/reversed", "final_11.bias", .offsets = "[12, 0]",
      .what = "12 to 0"},
  {"offsets/outside", "final_11.bias", .offsets = "[0, 99999999]",
      .what = "leave"},
  {"offsets/huge", "final_11.bias",
      .offsets = "[9223372036854775795, 9223372036854775807]",
      .what = "leave"},
  {"offsets/wraps", "final_11.bias",
      .offsets = "[18446744073709551604, 0]", .what = "offsets"},
  {"offsets/overlap", "feats.bn1.weight", .offsets = "[2351, 2359]",
      .what = "begins at byte 2351"},
  {"offsets/same", "feats.bn1.bias", .offsets = "[2352, 2360]",
      .what = "begins at byte 2352"},
  {"name/duplicate", "feats.bn1.weight", .rename = "feats.bn1.bias",
      .what = "twice"},
  {"name/escaped-duplicate", "feats.bn1.weight",
      .rename = "feats.bn1.b\\u0069as", .what = "feats.bn1.bias twice"},
  {"name/prefix", "feats.bn1.weight", .rename = "module.feats.bn1.weight",
      .what = "some names begin"},
  {"name/control", "feats.bn1.weight", .rename = "module.\\n\\u001b[31m",
      .what = "module.??[31m"},
  {"name/nul", "feats.bn1.weight", .rename = "feats.bn1.weight\\u0000",
      .what = "escape"},
  {"name/blocks", "feats.bn1.weight", .rename = "feats.layer1.64.x",
      .what = "feats.layer1.64.x"},
  {"name/many-blocks", "feats.bn1.weight",
      .rename = "feats.layer1.99999999999999999999.x",
      .what = "feats.layer1.99999999999999999999.x"},
  {"name/gap", "feats.bn1.weight", .rename = "feats.layer1.2.bn1.weight",
      .what = "feats.layer1.1.conv1.weight is missing"},
};

static void
test_bad_tensor (gconstpointer data)
{
  const BadTensor *bad = data;
  g_autoptr (File) file = file_new (&tiny);
  Entry *entry = find (file, bad->name);

  replace (&entry->dtype, bad->dtype);
  replace (&entry->shape, bad->shape);
  replace (&entry->offsets, bad->offsets);
  replace (&entry->name, bad->rename);
  assert_bad (file, bad->what, bad->rename ? NULL : bad->name);
}

// Each tensor, missing.
static void
test_missing (void)
{
  g_autoptr (File) all = file_new (&tiny);

  for (guint k = 0; k < all->entries->len; k++) {
    g_autoptr (File) file = file_new (&tiny);
    const Entry *dropped = all->entries->pdata[k];
    g_autofree char *what = g_strdup_printf ("tensor %s is missing",
        dropped->name);

    g_ptr_array_remove_index (file->entries, k);
    assert_bad (file, what, NULL);
  }
}

// Each tensor, with one dimension too many.
static void
test_shapes (void)
{
  g_autoptr (File) file = file_new (&tiny);

  for (guint k = 0; k < file->entries->len; k++) {
    Entry *e = file->entries->pdata[k];
    g_autofree char *right = g_strdup (e->shape);
    g_autofree char *found =
        g_strdup_printf ("%.*s, 1]", (int) strlen (right) - 1, right);
    g_autofree char *what = g_strdup_printf ("found %s", found);

    replace (&e->shape, found);
    assert_bad (file, e->name, what);
    replace (&e->shape, right);
  }
}

// Each tensor, with one number that is none.
static void
test_not_finite (void)
{
  const float bad[] = { NAN, -NAN, INFINITY, -INFINITY };
  g_autoptr (File) file = file_new (&tiny);

  for (guint k = 0; k < file->entries->len; k++) {
    Entry *e = file->entries->pdata[k];
    guint8 *last = e->data->data + e->data->len - 4;
    guint8 right[4];

    memcpy (right, last, 4);
    put_float (last, bad[k % G_N_ELEMENTS (bad)]);
    assert_bad (file, e->name, "NaN or infinity");
    memcpy (last, right, 4);
  }
}

static void
test_not_finite_16 (void)
{
  const struct
  {
    const char *dtype;
    guint16 good, bad[3];
  } types[] = {
    {"\"F16\"", 0xfbff, {0x7c00, 0xfc00, 0x7c01}},
    {"\"BF16\"", 0xff7f, {0x7f80, 0xff80, 0x7f81}},
  };

  for (guint t = 0; t < G_N_ELEMENTS (types); t++) {
    g_autoptr (File) file = file_new (&tiny);
    Entry *e = find (file, "final_21.weight");

    replace (&e->dtype, types[t].dtype);
    g_byte_array_set_size (e->data, 6);
    for (guint i = 0; i < 3; i++)
      put_16 (e->data->data + 2 * i, types[t].good);
    cpsp_model_unref (load (file));
    for (guint i = 0; i < 3; i++) {
      put_16 (e->data->data + 2 * i, types[t].bad[i]);
      assert_bad (file, e->name, "NaN or infinity");
      put_16 (e->data->data + 2 * i, types[t].good);
    }
  }
}

static void
test_variance (void)
{
  g_autoptr (File) file = file_new (&tiny);
  Entry *e = find (file, "up_1.conv.3.running_var");

  put_float (e->data->data, -0.0f);
  cpsp_model_unref (load (file));
  put_float (e->data->data, -1e-40f);
  assert_bad (file, e->name, "negative");
}

// A width over the limit, in a file that really has all the numbers.
static void
test_too_wide (void)
{
  CpspWidths widths = tiny;

  widths.head[2] = 16384;
  g_autoptr (File) file = file_new (&widths);
  cpsp_model_unref (load (file));
  widths.head[2] = 16385;
  g_autoptr (File) wider = file_new (&widths);
  assert_bad (wider, "final_11.weight", "16384");
}

static void
test_zero_width (void)
{
  CpspWidths widths = tiny;

  widths.up[2] = 0;
  g_autoptr (File) file = file_new (&widths);
  assert_bad (file, "up_3.shortcut.weight", "[0, 3, 1, 1]");
}

/* Bad files: the whole */

typedef struct
{
  const char *id, *header, *what;
} BadHeader;

#define ENTRY "{\"dtype\": \"F32\", \"shape\": [0], \"data_offsets\": [0, 0]}"

static const BadHeader bad_headers[] = {
  {"empty", "", "does not begin"},
  {"blank", "  ", "does not begin"},
  {"list", "[]", "does not begin"},
  {"number", "1", "does not begin"},
  {"space-first", " {}", "does not begin"},
  {"assignment", "var a = {}", "does not begin"},
  {"nothing", "{}", "feats.conv1.weight is missing"},
  {"unfinished", "{", "ends too early"},
  {"in-string", "{\"a", "ends too early"},
  {"in-escape", "{\"a\\", "escape"},
  {"escape/unknown", "{\"\\x\": " ENTRY "}", "escape"},
  {"escape/octal", "{\"\\101\": " ENTRY "}", "escape"},
  {"escape/newline", "{\"\\\n\": " ENTRY "}", "escape"},
  {"escape/short", "{\"\\u12\": " ENTRY "}", "escape"},
  {"escape/not-hexadecimal", "{\"\\u00g0\": " ENTRY "}", "escape"},
  {"escape/nul", "{\"\\u0000\": " ENTRY "}", "escape"},
  // json-glib takes the closing quote for part of the pair
  {"escape/high", "{\"\\ud800\": " ENTRY "}", "escape"},
  {"escape/low", "{\"\\udc00\": " ENTRY "}", "escape"},
  {"escape/low-high", "{\"\\udc00\\ud800\": " ENTRY "}", "escape"},
  {"escape/high-high", "{\"\\ud800\\ud800\": " ENTRY "}", "escape"},
  {"escape/high-other", "{\"\\ud800\\u0041\": " ENTRY "}", "escape"},
  {"escape/cut", "{\"\\ud83d\\ude0", "escape"},
  {"closed-twice", "{}}", "follows"},
  {"two-objects", "{} {}", "follows"},
  {"text-behind", "{},", "follows"},
  {"mismatch", "{]", "not JSON"},
  {"mismatch-inside", "{\"a\": {]}", "not JSON"},
  {"no-name", "{1: 2}", "not JSON"},
  {"no-colon", "{\"a\" 1}", "not JSON"},
  {"no-value", "{\"a\":}", "not JSON"},
  {"bareword", "{\"a\": nul}", "not JSON"},
  {"comma", "{\"a\": " ENTRY ",}", "not JSON"},
  {"comment", "{/* \" */ \"a\": 1}", "not JSON"},
  {"line-comment", "{//\n}", "not JSON"},
  {"hash-comment", "{#\n}", "not JSON"},
  {"single-quotes", "{'a': 1}", "not JSON"},
  {"hexadecimal", "{\"a\": 0x10}", "not JSON"},
  {"latin1", "{\"\xe9\": " ENTRY "}", "UTF-8"},
  {"overlong", "{\"\xc0\x80\": " ENTRY "}", "UTF-8"},
  {"duplicate", "{\"a\": " ENTRY ", \"a\": " ENTRY "}", "a twice"},
  {"metadata-twice", "{\"__metadata__\": {}, \"__metadata__\": {}}",
      "__metadata__ twice"},
  {"tensor-null", "{\"a\": null}", "tensor a"},
  {"tensor-number", "{\"a\": 1}", "tensor a"},
  {"tensor-string", "{\"a\": \"b\"}", "tensor a"},
  {"tensor-list", "{\"a\": [1]}", "tensor a"},
  {"tensor-empty", "{\"a\": {}}", "tensor a"},
  {"no-dtype", "{\"a\": {\"shape\": [], \"data_offsets\": [0, 0]}}",
      "tensor a has no known dtype"},
  {"no-shape", "{\"a\": {\"dtype\": \"F32\", \"data_offsets\": [0, 0]}}",
      "tensor a: shape"},
  {"no-offsets", "{\"a\": {\"dtype\": \"F32\", \"shape\": [0]}}",
      "tensor a: data_offsets"},
  {"deep", "{\"a\": {\"b\": [[]]}}", "nests"},
};

static void
test_bad_header (gconstpointer data)
{
  const BadHeader *bad = data;
  g_autoptr (GBytes) bytes = pack (bad->header, -1, NULL, 0);

  assert_bad_bytes (bytes, bad->what, NULL);
}

static void
test_nul (void)
{
  g_autoptr (GBytes) bytes = pack ("{\0}", 3, NULL, 0);

  assert_bad_bytes (bytes, "UTF-8", NULL);
}

// A parser that recurses would overflow its stack.
static void
test_brackets (void)
{
  const char brackets[] = "[{";

  for (guint i = 0; i < 2; i++) {
    g_autofree char *header = g_strnfill (1 << 20, brackets[i]);

    memcpy (header, "{\"a\":", 5);
    g_autoptr (GBytes) bytes = pack (header, -1, NULL, 0);
    assert_bad_bytes (bytes, "nests", NULL);
  }
}

static void
test_many_members (void)
{
  g_autoptr (GString) header = g_string_new ("{");

  for (guint i = 0; i < 40000; i++)
    g_string_append_printf (header, "%s\"%u\":0", i ? "," : "", i);
  g_string_append_c (header, '}');
  g_autoptr (GBytes) bytes = pack (header->str, -1, NULL, 0);
  assert_bad_bytes (bytes, "too many members", NULL);
}

static void
test_many_values (void)
{
  g_autoptr (GString) header = g_string_new ("{\"a\": {\"shape\": [1");

  for (guint i = 0; i < 70000; i++)
    g_string_append (header, ",1");
  g_string_append (header, "]}}");
  g_autoptr (GBytes) bytes = pack (header->str, -1, NULL, 0);
  assert_bad_bytes (bytes, "too many values", NULL);
}

static void
test_long_name (void)
{
  g_autofree char *name = g_strnfill (100000, 'x');
  g_autofree char *header = g_strdup_printf ("{\"%s\": 1}", name);
  g_autoptr (GBytes) bytes = pack (header, -1, NULL, 0);

  assert_bad_bytes (bytes, "tensor xxx", "...");
}

static void
test_huge_header (void)
{
  g_autofree char *header = g_strnfill ((1 << 20) + 1, ' ');

  memcpy (header, "{}", 2);
  g_autoptr (GBytes) bytes = pack (header, -1, NULL, 0);
  assert_bad_bytes (bytes, "1048577", NULL);
  header[1 << 20] = '\0';
  g_autoptr (GBytes) smaller = pack (header, -1, NULL, 0);
  assert_bad_bytes (smaller, "missing", NULL);
}

static void
test_header_sizes (void)
{
  const guint64 sizes[] = { 3, 1 << 30, G_MAXUINT64, G_MAXUINT64 - 7,
    (guint64) 1 << 63,
  };

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    guint8 data[10] = "12345678{}";
    guint64 size = GUINT64_TO_LE (sizes[i]);

    memcpy (data, &size, 8);
    g_autoptr (GBytes) bytes = g_bytes_new (data, 10);
    assert_bad_bytes (bytes, "cut off", NULL);
  }
}

static void
test_zip (void)
{
  g_autoptr (GBytes) bytes = g_bytes_new_static ("PK\3\4abcdefgh", 12);

  assert_bad_bytes (bytes, "PyTorch", NULL);
}

// Every shorter file; and one that is longer.
static void
test_truncated (void)
{
  g_autoptr (File) file = file_new (&tiny);
  g_autoptr (GBytes) whole = file_write (file);
  gsize size;
  const guint8 *data = g_bytes_get_data (whole, &size);

  for (gsize n = 0; n < size; n += n < 16 ? 1 : 97) {
    // A copy, so that AddressSanitizer sees its end
    g_autoptr (GBytes) bytes = g_bytes_new (data, n);

    assert_bad_bytes (bytes, NULL, NULL);
  }

  g_autofree guint8 *longer = g_malloc0 (size + 1);
  memcpy (longer, data, size);
  g_autoptr (GBytes) bytes = g_bytes_new (longer, size + 1);
  assert_bad_bytes (bytes, "bytes of data", NULL);
}

// Data of no tensor: in front, between, behind.
static void
test_holes (void)
{
  const struct
  {
    const char *name, *what;
  } holes[] = {
    {"feats.conv1.weight", "tensor feats.bn1.weight begins at byte 2352"},
    {"up_1.conv.0.bias", "tensor up_1.conv.0.running_mean begins at"},
    {"final_21.bias", "of data"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (holes); i++) {
    g_autoptr (File) file = file_new (&tiny);
    Entry *e = find (file, holes[i].name);

    replace (&e->shape, "[0]");
    replace (&e->offsets, "[0, 0]");
    assert_bad (file, holes[i].what, NULL);
  }
}

/* Random files */

// One to four small changes: bytes, digits, or pieces moved within the
// header, mostly where the structure is.
static void
mutate (GRand * rand, GByteArray * array)
{
  const char *const tokens[] = { "{", "}", "[", "]", ",", ":", "\"", "-",
    "0", "9", "99999999999999999999", "null", "1e9", "\\", "\\u0000", "\xff",
    "\"dtype\"", "\"shape\"", "\"data_offsets\"", "\"F16\"", "\"I64\"", "[]",
    "module.", "__metadata__", "feats.layer4.63.", "true",
  };
  guint64 header_size;

  memcpy (&header_size, array->data, 8);
  header_size = GUINT64_FROM_LE (header_size);

  guint n_changes = g_rand_int_range (rand, 1, 5);

  for (guint i = 0; i < n_changes; i++) {
    gboolean anywhere = g_rand_int_range (rand, 0, 8) == 0;
    guint end = anywhere || header_size + 8 > array->len ? array->len :
        (guint) header_size + 8;

    if (end < 10)
      return;

    guint at = g_rand_int_range (rand, anywhere ? 0 : 8, end);

    switch (g_rand_int_range (rand, 0, 6)) {
      case 0:                  // one bit
        array->data[at] ^= 1 << g_rand_int_range (rand, 0, 8);
        break;
      case 1:                  // one byte
        array->data[at] = g_rand_int_range (rand, 0, 256);
        break;
      case 2:                  // the next digit
        while (at < end && !g_ascii_isdigit (array->data[at]))
          at++;
        if (at < end)
          array->data[at] = '0' + g_rand_int_range (rand, 0, 10);
        break;
      case 3:{                 // a token over what is there
        const char *token =
            tokens[g_rand_int_range (rand, 0, G_N_ELEMENTS (tokens))];

        memcpy (array->data + at, token,
            MIN (strlen (token), (gsize) array->len - at));
        break;
      }
      case 4:{                 // a piece copied elsewhere
        guint from = g_rand_int_range (rand, 0, end);
        guint n = g_rand_int_range (rand, 1, 200);

        memmove (array->data + at, array->data + from,
            MIN (n, array->len - MAX (at, from)));
        break;
      }
      case 5:                  // cut, rarely
        if (anywhere)
          g_byte_array_set_size (array, at);
        break;
    }
  }
}

static void
test_mutations (void)
{
  const char *env = g_getenv ("CPSP_TEST_SEED");
  guint32 seed = env ? (guint32) g_ascii_strtoull (env, NULL, 10) : 1;
  g_autoptr (File) file = file_new (&tiny);
  g_autoptr (GBytes) whole = file_write (file);
  GRand *rand = g_rand_new_with_seed (seed);
  guint n_good = 0;

  g_test_message ("CPSP_TEST_SEED=%u", seed);
  for (guint i = 0; i < N_MUTATIONS; i++) {
    GByteArray *array = g_byte_array_new ();
    gsize size;
    const guint8 *data = g_bytes_get_data (whole, &size);

    g_byte_array_append (array, data, size);
    mutate (rand, array);

    // A copy of exactly its size, so that AddressSanitizer sees its end
    g_autoptr (GBytes) bytes = g_bytes_new (array->data, array->len);
    g_autoptr (GError) error = NULL;
    g_autoptr (CpspModel) model =
        cpsp_model_load_bytes ("bad.file", bytes, &error);

    g_byte_array_unref (array);
    if (!model) {
      g_assert_error (error, CPSP_ERROR, CPSP_ERROR_FORMAT);
      continue;
    }
    g_assert_no_error (error);
    n_good++;
    for (guint k = 0; k < file->entries->len; k++) {
      const Entry *e = file->entries->pdata[k];
      gsize n;
      g_autofree float *values = cpsp_model_read (model, e->name, &n);

      for (gsize j = 0; j < n; j++)
        g_assert_true (isfinite (values[j]));
    }
  }
  g_test_message ("%u of %u mutations loaded", n_good, N_MUTATIONS);
  g_rand_free (rand);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/model/widths", test_widths);
  g_test_add_func ("/model/prefix", test_prefix);
  g_test_add_func ("/model/extra", test_extra);
  g_test_add_func ("/model/downsample", test_downsample);
  g_test_add_func ("/model/types", test_types);
  g_test_add_func ("/model/halves", test_halves);
  g_test_add_func ("/model/unaligned", test_unaligned);
  g_test_add_func ("/model/threads", test_threads);
  g_test_add_func ("/model/golden", test_golden);
  g_test_add_func ("/model/open", test_open);
  for (guint i = 0; i < G_N_ELEMENTS (bad_tensors); i++) {
    g_autofree char *path =
        g_strconcat ("/model/bad/", bad_tensors[i].id, NULL);

    g_test_add_data_func (path, &bad_tensors[i], test_bad_tensor);
  }
  g_test_add_func ("/model/bad/missing", test_missing);
  g_test_add_func ("/model/bad/shapes", test_shapes);
  g_test_add_func ("/model/bad/not-finite", test_not_finite);
  g_test_add_func ("/model/bad/not-finite-16", test_not_finite_16);
  g_test_add_func ("/model/bad/variance", test_variance);
  g_test_add_func ("/model/bad/too-wide", test_too_wide);
  g_test_add_func ("/model/bad/zero-width", test_zero_width);
  for (guint i = 0; i < G_N_ELEMENTS (bad_headers); i++) {
    g_autofree char *path =
        g_strconcat ("/model/bad/header/", bad_headers[i].id, NULL);

    g_test_add_data_func (path, &bad_headers[i], test_bad_header);
  }
  g_test_add_func ("/model/bad/header/nul", test_nul);
  g_test_add_func ("/model/bad/header/brackets", test_brackets);
  g_test_add_func ("/model/bad/header/many-members", test_many_members);
  g_test_add_func ("/model/bad/header/many-values", test_many_values);
  g_test_add_func ("/model/bad/header/long-name", test_long_name);
  g_test_add_func ("/model/bad/header/huge", test_huge_header);
  g_test_add_func ("/model/bad/header/sizes", test_header_sizes);
  g_test_add_func ("/model/bad/zip", test_zip);
  g_test_add_func ("/model/bad/truncated", test_truncated);
  g_test_add_func ("/model/bad/holes", test_holes);
  g_test_add_func ("/model/mutations", test_mutations);
  return g_test_run ();
}
