/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads a safetensors file (8 bytes header length, JSON header, data) and
 * checks it in four steps, each trusting the one before:
 *
 *   1. the header is JSON that json-glib can parse without harm
 *   2. each tensor is sound by itself; together they fill the data exactly
 *   3. widths follow from a few shapes; with them, every tensor of the
 *      network (ALGORITHM, section 2) is there in exactly the right shape
 *   4. every number that the network will use is finite
 *
 * Nothing is copied before cpsp_model_read() asks for it: the file stays
 * mapped.
 */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L // fstat, O_CLOEXEC, O_NONBLOCK
#endif

#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <string.h>
#include <sys/stat.h>

#include "error.h"

// The published model's header has 40 kB, one of as many blocks as are
// allowed less than 1 MB. The format allows 100 MB, which as JSON nodes could
// take gigabytes, and GLib aborts when memory is short.
#define MAX_HEADER (1 << 20)
#define MAX_DEPTH 3             // header { tensor { shape [
// Of all objects; a tensor has four. Bounds the time that names chosen to
// collide in a hash table can cost.
#define MAX_MEMBERS 32768
// Commas: members and elements of lists. Each becomes a JSON node, of some
// 100 bytes.
#define MAX_VALUES 65536
#define MAX_DIMS 8
#define MAX_CHANNELS 16384
#define MAX_BLOCKS 64
#define MAX_MESSAGE 400         // bytes quoted from the file and around

#define PREFIX "module."
#define INPUT_CHANNELS 6        // R, G, B and three masks
#define IMAGE_CHANNELS 3
#define EXPANSION 4

// Types that the network's tensors may have come first, in CpspType's order.
static const struct
{
  const char *name;
  gsize size;                   // bytes per element
} dtypes[] = {
  [CPSP_TYPE_F32] = {"F32", 4},
  [CPSP_TYPE_F16] = {"F16", 2},
  [CPSP_TYPE_BF16] = {"BF16", 2},
  {"F64", 8}, {"F8_E4M3", 1}, {"F8_E5M2", 1},
  {"I64", 8}, {"I32", 4}, {"I16", 2}, {"I8", 1},
  {"U64", 8}, {"U32", 4}, {"U16", 2}, {"U8", 1}, {"BOOL", 1},
};

typedef struct
{
  char *name;                   // without prefix
  guint dtype;                  // in dtypes; of the network's: a CpspType
  guint n_dims;
  gsize dims[MAX_DIMS];
  gsize n;                      // elements: product of dims
  gsize begin, end;             // in the data section
  gboolean used;                // by the network
} Tensor;

// What makes two files the same.
typedef struct
{
  dev_t device;
  ino_t inode;
  off_t size;
  struct timespec modified;
} FileId;

struct _CpspModel
{
  // With lock held; all else is constant once loaded.
  guint n_refs;
  CpspModel *next;              // in shared
  FileId id;                    // of a model in shared
  char *path;
  GBytes *bytes;
  const guint8 *data;           // the data section of bytes
  // name -> Tensor. While loading: the file's, afterwards: the network's.
  GHashTable *tensors;
  CpspWidths widths;
  gsize n_parameters;
};

// Models of files that somebody has. `loading` is held while one is loaded,
// so that nobody loads the same one meanwhile; it is taken before `lock`.
static GMutex lock, loading;
static CpspModel *shared;

static void
tensor_free (gpointer data)
{
  Tensor *tensor = data;

  g_free (tensor->name);
  g_free (tensor);
}

// Sets CPSP_ERROR_FORMAT; always FALSE.
G_GNUC_PRINTF (3, 4)
static gboolean
fail (const CpspModel * model, GError ** error, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_autofree char *text = g_strdup_vprintf (format, args);
  va_end (args);

  // It may quote the file: keep it short and printable.
  if (strlen (text) > MAX_MESSAGE)
    memcpy (text + MAX_MESSAGE - 3, "...", 4);
  for (char *p = text; *p; p++)
    if (g_ascii_iscntrl (*p))
      *p = '?';

  g_autofree char *valid = g_utf8_make_valid (text, -1);
  g_autofree char *path = g_filename_display_name (model->path);
  g_set_error (error, CPSP_ERROR, CPSP_ERROR_FORMAT, "%s: %s", path, valid);
  return FALSE;
}

/* The header */

// The UTF-16 unit that \uXXXX at TEXT stands for; -1 if it isn't one.
static gint32
parse_unit (const char *text, gsize length)
{
  gint32 unit = 0;

  if (length < 6 || text[0] != '\\' || text[1] != 'u')
    return -1;
  for (guint i = 2; i < 6; i++) {
    gint digit = g_ascii_xdigit_value (text[i]);

    if (digit < 0)
      return -1;
    unit = unit << 4 | digit;
  }
  return unit;
}

// Length of the escape sequence at TEXT; 0 if there's something wrong with
// it. Halves of surrogate pairs matter: json-glib skips what follows them, or
// aborts.
static gsize
get_escape_length (const char *text, gsize length)
{
  gint32 unit = parse_unit (text, length);

  if (unit < 0)
    return length >= 2 && strchr ("\"\\/bfnrt", text[1]) ? 2 : 0;
  if (unit == 0 || (unit & 0xfc00) == 0xdc00)
    return 0;
  if ((unit & 0xfc00) != 0xd800)
    return 6;
  unit = parse_unit (text + 6, length - 6);
  return unit >= 0 && (unit & 0xfc00) == 0xdc00 ? 12 : 0;
}

// What is wrong with HEADER, or NULL. Not a parser: it refuses what json-glib
// takes beyond JSON and what would make it lose track of where strings end
// (comments, odd escapes, several roots), nesting, over which it recurses,
// and unreasonable size.
static const char *
find_header_problem (const char *header, gsize length)
{
  guint depth = 0, n_members = 0, n_values = 0;
  gboolean in_string = FALSE;

  if (length == 0 || header[0] != '{')
    return "the header does not begin with {";
  if (!g_utf8_validate (header, length, NULL))
    return "the header is not UTF-8";

  for (gsize i = 0; i < length; i++) {
    char c = header[i];

    if (in_string) {
      if (c == '\\') {
        gsize n = get_escape_length (header + i, length - i);

        if (n == 0)
          return "the header has a malformed escape sequence";
        i += n - 1;
      } else if (c == '"') {
        in_string = FALSE;
      }
      continue;
    }
    if (depth == 0 && i > 0 && !strchr (" \t\r\n", c))
      return "something follows the header's last }";

    switch (c) {
      case '{':
      case '[':
        if (++depth > MAX_DEPTH)
          return "the header nests too deeply";
        break;
      case '}':
      case ']':
        depth--;
        break;
      case '"':
        in_string = TRUE;
        break;
      case ':':
        if (++n_members > MAX_MEMBERS)
          return "the header has too many members";
        break;
      case ',':
        if (++n_values > MAX_VALUES)
          return "the header has too many values";
        break;
      default:
        // white space, punctuation, numbers, true, false, null
        if (!strchr (" \t\r\n+-.0123456789Eaeflnrstu", c))
          return "the header is not JSON";
    }
  }
  return depth > 0 ? "the header ends too early" : NULL;
}

typedef struct
{
  GHashTable *n_members;        // JsonObject -> members seen so far
  char *name;                   // the first that came twice
} Duplicates;

// json-glib lets a later member replace an earlier one of the same name: then
// the object does not grow.
static void
on_object_member (JsonParser * parser, JsonObject * object, const char *name,
    gpointer user_data)
{
  Duplicates *duplicates = user_data;
  gpointer seen = g_hash_table_lookup (duplicates->n_members, object);
  guint n = GPOINTER_TO_UINT (seen) + 1;

  if (n != json_object_get_size (object) && !duplicates->name)
    duplicates->name = g_strdup (name);
  g_hash_table_insert (duplicates->n_members, object, GUINT_TO_POINTER (n));
}

// (transfer full) NULL on failure.
static JsonNode *
parse_header (const CpspModel * model, const char *header, gsize length,
    GError ** error)
{
  const char *problem = find_header_problem (header, length);

  if (problem) {
    fail (model, error, "%s", problem);
    return NULL;
  }

  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GHashTable) n_members = g_hash_table_new (NULL, NULL);
  g_autoptr (GError) json_error = NULL;
  Duplicates duplicates = { n_members, NULL };
  JsonNode *root = NULL;

  g_signal_connect (parser, "object-member", G_CALLBACK (on_object_member),
      &duplicates);
  if (!json_parser_load_from_data (parser, header, length, &json_error))
    fail (model, error, "the header is not JSON: %s", json_error->message);
  else if (duplicates.name)
    fail (model, error, "the header has %s twice", duplicates.name);
  else if (!JSON_NODE_HOLDS_OBJECT (json_parser_get_root (parser)))
    fail (model, error, "the header is not an object");
  else
    root = json_parser_steal_root (parser);
  g_free (duplicates.name);
  return root;
}

/* Each tensor by itself, and where they lie */

static gboolean
get_size (JsonNode * node, gsize * value)
{
  if (!JSON_NODE_HOLDS_VALUE (node)
      || json_node_get_value_type (node) != G_TYPE_INT64)
    return FALSE;

  gint64 v = json_node_get_int (node);

  *value = (gsize) v;
  return v >= 0 && (guint64) v <= G_MAXSIZE;
}

// Member NAME of OBJECT, a list of sizes, into VALUES.
static gboolean
get_sizes (JsonObject * object, const char *name, gsize * values,
    guint max_values, guint * n_values)
{
  JsonNode *node = json_object_get_member (object, name);

  if (!node || !JSON_NODE_HOLDS_ARRAY (node))
    return FALSE;

  JsonArray *array = json_node_get_array (node);

  *n_values = json_array_get_length (array);
  if (*n_values > max_values)
    return FALSE;
  for (guint i = 0; i < *n_values; i++)
    if (!get_size (json_array_get_element (array, i), &values[i]))
      return FALSE;
  return TRUE;
}

static gboolean
get_dtype (JsonObject * object, guint * dtype)
{
  JsonNode *node = json_object_get_member (object, "dtype");

  if (!node || !JSON_NODE_HOLDS_VALUE (node)
      || json_node_get_value_type (node) != G_TYPE_STRING)
    return FALSE;
  for (*dtype = 0; *dtype < G_N_ELEMENTS (dtypes); ++*dtype)
    if (g_str_equal (json_node_get_string (node), dtypes[*dtype].name))
      return TRUE;
  return FALSE;
}

static gboolean
parse_tensor (const CpspModel * model, Tensor * tensor, JsonNode * node,
    gsize data_size, GError ** error)
{
  const char *name = tensor->name;
  gsize offsets[2], size;
  guint n_offsets;

  if (!JSON_NODE_HOLDS_OBJECT (node))
    return fail (model, error, "tensor %s is not described by an object",
        name);

  JsonObject *object = json_node_get_object (node);

  if (!get_dtype (object, &tensor->dtype))
    return fail (model, error, "tensor %s has no known dtype", name);
  if (!get_sizes (object, "shape", tensor->dims, MAX_DIMS, &tensor->n_dims))
    return fail (model, error, "tensor %s: shape is not a list of at most %d "
        "sizes", name, MAX_DIMS);
  if (!get_sizes (object, "data_offsets", offsets, 2, &n_offsets)
      || n_offsets != 2)
    return fail (model, error, "tensor %s: data_offsets is not a pair of "
        "sizes", name);

  tensor->begin = offsets[0];
  tensor->end = offsets[1];
  if (tensor->begin > tensor->end || tensor->end > data_size)
    return fail (model, error, "tensor %s: data_offsets %" G_GSIZE_FORMAT
        " to %" G_GSIZE_FORMAT " leave the file's %" G_GSIZE_FORMAT
        " bytes of data", name, tensor->begin, tensor->end, data_size);

  tensor->n = 1;
  for (guint i = 0; i < tensor->n_dims; i++)
    if (!g_size_checked_mul (&tensor->n, tensor->n, tensor->dims[i]))
      return fail (model, error, "tensor %s: shape is too large", name);
  if (!g_size_checked_mul (&size, tensor->n, dtypes[tensor->dtype].size)
      || size != tensor->end - tensor->begin)
    return fail (model, error, "tensor %s: %" G_GSIZE_FORMAT " elements of "
        "type %s do not take the %" G_GSIZE_FORMAT " bytes of its "
        "data_offsets", name, tensor->n, dtypes[tensor->dtype].name,
        tensor->end - tensor->begin);
  return TRUE;
}

static int
compare_offsets (gconstpointer a, gconstpointer b)
{
  const Tensor *s = *(const Tensor * const *) a;
  const Tensor *t = *(const Tensor * const *) b;

  if (s->begin != t->begin)
    return s->begin < t->begin ? -1 : 1;
  return (s->end > t->end) - (s->end < t->end);
}

// The format wants neither overlaps nor holes. Sorts TENSORS.
static gboolean
check_layout (const CpspModel * model, GPtrArray * tensors, gsize data_size,
    GError ** error)
{
  gsize end = 0;

  g_ptr_array_sort (tensors, compare_offsets);
  for (guint i = 0; i < tensors->len; i++) {
    const Tensor *tensor = tensors->pdata[i];

    if (tensor->begin != end)
      return fail (model, error, "tensor %s begins at byte %" G_GSIZE_FORMAT
          " of the data, but the one before it ends at %" G_GSIZE_FORMAT,
          tensor->name, tensor->begin, end);
    end = tensor->end;
  }
  if (end != data_size)
    return fail (model, error, "the tensors end at byte %" G_GSIZE_FORMAT
        " of %" G_GSIZE_FORMAT " bytes of data", end, data_size);
  return TRUE;
}

static gboolean
parse_tensors (CpspModel * model, JsonObject * header, gsize data_size,
    GError ** error)
{
  g_autoptr (GPtrArray) tensors = g_ptr_array_new ();
  gboolean prefixed = FALSE;
  JsonObjectIter iter;
  const char *name;
  JsonNode *node;

  json_object_iter_init_ordered (&iter, header);
  while (json_object_iter_next_ordered (&iter, &name, &node)) {
    if (g_str_equal (name, "__metadata__"))
      continue;
    if (tensors->len == 0)
      prefixed = g_str_has_prefix (name, PREFIX);
    if (g_str_has_prefix (name, PREFIX) != prefixed)
      return fail (model, error, "tensor %s: some names begin with " PREFIX
          ", some do not", name);

    Tensor *tensor = g_new0 (Tensor, 1);

    tensor->name = g_strdup (name + (prefixed ? strlen (PREFIX) : 0));
    g_hash_table_insert (model->tensors, tensor->name, tensor);
    g_ptr_array_add (tensors, tensor);
    if (!parse_tensor (model, tensor, node, data_size, error))
      return FALSE;
  }
  return check_layout (model, tensors, data_size, error);
}

/* The numbers */

// Data is little-endian and not aligned.
static inline guint16
load_16 (const guint8 * data)
{
  guint16 bits;

  memcpy (&bits, data, sizeof bits);
  return GUINT16_FROM_LE (bits);
}

static inline guint32
load_32 (const guint8 * data)
{
  guint32 bits;

  memcpy (&bits, data, sizeof bits);
  return GUINT32_FROM_LE (bits);
}

static inline float
float_from_bits (guint32 bits)
{
  float value = 0;

  memcpy (&value, &bits, sizeof value);
  return value;
}

// Not for infinity and NaN. Right even where the processor takes float
// subnormals for zero.
static inline float
half_to_float (guint16 half)
{
  guint32 magnitude = (guint32) (half & 0x7fff) << 13;
  float value = magnitude < 1u << 23 ?
      float_from_bits (magnitude + (113u << 23)) - 0x1p-14f :
      float_from_bits (magnitude + (112u << 23));

  return half & 0x8000 ? -value : value;
}

// A float is infinite or NaN if all bits of its exponent are set.
static gboolean
is_finite_16 (const guint8 * data, gsize n, guint16 exponent)
{
  guint bad = 0;

  for (gsize i = 0; i < n; i++)
    bad |= (load_16 (data + 2 * i) & exponent) == exponent;
  return !bad;
}

static gboolean
is_finite_32 (const guint8 * data, gsize n, guint32 exponent)
{
  guint bad = 0;

  for (gsize i = 0; i < n; i++)
    bad |= (load_32 (data + 4 * i) & exponent) == exponent;
  return !bad;
}

static gboolean
is_finite (const CpspModel * model, const Tensor * tensor)
{
  const guint8 *data = model->data + tensor->begin;

  switch ((CpspType) tensor->dtype) {
    case CPSP_TYPE_F32:
      return is_finite_32 (data, tensor->n, 0x7f800000);
    case CPSP_TYPE_F16:
      return is_finite_16 (data, tensor->n, 0x7c00);
    case CPSP_TYPE_BF16:
      return is_finite_16 (data, tensor->n, 0x7f80);
  }
  return FALSE;
}

static void
to_float (CpspType type, const guint8 * data, gsize n, float *dst)
{
  switch (type) {
    case CPSP_TYPE_F32:
      for (gsize i = 0; i < n; i++)
        dst[i] = float_from_bits (load_32 (data + 4 * i));
      break;
    case CPSP_TYPE_F16:
      for (gsize i = 0; i < n; i++)
        dst[i] = half_to_float (load_16 (data + 2 * i));
      break;
    case CPSP_TYPE_BF16:
      for (gsize i = 0; i < n; i++)
        dst[i] = cpsp_bf16_to_float (load_16 (data + 2 * i));
      break;
  }
}

// A batch norm divides by the root of it.
static gboolean
is_variance (const CpspModel * model, const Tensor * tensor)
{
  const guint8 *data = model->data + tensor->begin;
  float value = 0;

  for (gsize i = 0; i < tensor->n; i++) {
    to_float ((CpspType) tensor->dtype, data, 1, &value);
    if (value < 0)
      return FALSE;
    data += dtypes[tensor->dtype].size;
  }
  return TRUE;
}

/* The network */

static char *
shape_to_string (guint n_dims, const gsize * dims)
{
  GString *string = g_string_new ("[");

  for (guint i = 0; i < n_dims; i++)
    g_string_append_printf (string, "%s%" G_GSIZE_FORMAT, i ? ", " : "",
        dims[i]);
  g_string_append_c (string, ']');
  return g_string_free (string, FALSE);
}

typedef enum
{
  CONV,                         // weight [c_out, c_in, kernel, kernel]
  CONV_BIAS,                    // the same, and bias [c_out]
  NORM,                         // weight, bias, running_mean and _var [c_out]
} Kind;

typedef struct
{
  const char *name;
  Kind kind;
  guint c_out, c_in, kernel;
} Layer;

// Tensor layer.part
static gboolean
expect_tensor (CpspModel * model, const char *layer, const char *part,
    guint n_dims, const gsize * dims, GError ** error)
{
  g_autofree char *name = g_strconcat (layer, ".", part, NULL);
  g_autofree char *expected = shape_to_string (n_dims, dims);
  Tensor *tensor = g_hash_table_lookup (model->tensors, name);

  if (!tensor)
    return fail (model, error, "tensor %s is missing, expected shape %s",
        name, expected);
  if (tensor->n_dims != n_dims
      || memcmp (tensor->dims, dims, n_dims * sizeof *dims) != 0) {
    g_autofree char *found = shape_to_string (tensor->n_dims, tensor->dims);

    return fail (model, error, "tensor %s: expected shape %s, found %s",
        name, expected, found);
  }
  if (tensor->dtype > CPSP_TYPE_BF16)
    return fail (model, error, "tensor %s: expected type F32, F16 or BF16, "
        "found %s", name, dtypes[tensor->dtype].name);
  if (!is_finite (model, tensor))
    return fail (model, error, "tensor %s holds NaN or infinity", name);
  if (g_str_equal (part, "running_var") && !is_variance (model, tensor))
    return fail (model, error, "tensor %s holds a negative variance", name);

  tensor->used = TRUE;
  if (!g_str_has_prefix (part, "running_"))
    model->n_parameters += tensor->n;
  return TRUE;
}

// Layers whose names begin with PREFIX.
static gboolean
expect_layers (CpspModel * model, const char *prefix, const Layer * layers,
    guint n_layers, GError ** error)
{
  for (guint i = 0; i < n_layers; i++) {
    const Layer *l = &layers[i];
    g_autofree char *name = g_strconcat (prefix, l->name, NULL);
    const gsize dims[] = { l->c_out, l->c_in, l->kernel, l->kernel };

    if (!expect_tensor (model, name, "weight", l->kind == NORM ? 1 : 4, dims,
            error))
      return FALSE;
    if (l->kind != CONV
        && !expect_tensor (model, name, "bias", 1, dims, error))
      return FALSE;
    if (l->kind == NORM
        && (!expect_tensor (model, name, "running_mean", 1, dims, error)
            || !expect_tensor (model, name, "running_var", 1, dims, error)))
      return FALSE;
  }
  return TRUE;
}

// Where the shape does not change a block may have a downsample all the same.
static gboolean
expect_bottleneck (CpspModel * model, const char *prefix, guint c_in,
    guint planes, gboolean downsample, GError ** error)
{
  guint c_out = EXPANSION * planes;
  const Layer layers[] = {
    {"conv1", CONV, planes, c_in, 1},
    {"bn1", NORM, planes, 0, 0},
    {"conv2", CONV, planes, planes, 3},
    {"bn2", NORM, planes, 0, 0},
    {"conv3", CONV, c_out, planes, 1},
    {"bn3", NORM, c_out, 0, 0},
    {"downsample.0", CONV, c_out, c_in, 1},
    {"downsample.1", NORM, c_out, 0, 0},
  };

  return expect_layers (model, prefix, layers,
      G_N_ELEMENTS (layers) - (downsample ? 0 : 2), error);
}

static gboolean
expect_up (CpspModel * model, const char *prefix, guint c_in, guint c_skip,
    guint c_out, GError ** error)
{
  const Layer layers[] = {
    {"conv.0", NORM, c_in + c_skip, 0, 0},
    {"conv.2", CONV_BIAS, c_out, c_in + c_skip, 3},
    {"conv.3", NORM, c_out, 0, 0},
    {"conv.5", CONV_BIAS, c_out, c_out, 3},
    {"conv2.0", NORM, c_out, 0, 0},
    {"conv2.2", CONV_BIAS, c_out, c_out, 3},
    {"conv2.3", NORM, c_out, 0, 0},
    {"conv2.5", CONV_BIAS, c_out, c_out, 3},
    {"shortcut", CONV_BIAS, c_out, c_in, 1},
  };

  return expect_layers (model, prefix, layers, G_N_ELEMENTS (layers), error);
}

static gboolean
expect_network (CpspModel * model, GError ** error)
{
  const CpspWidths *w = &model->widths;
  guint feats = EXPANSION * w->planes[3];
  const Layer layers[] = {
    {"feats.conv1", CONV, w->stem, INPUT_CHANNELS, 7},
    {"feats.bn1", NORM, w->stem, 0, 0},
    {"psp.stages.0.1", CONV, feats, feats, 1},
    {"psp.stages.1.1", CONV, feats, feats, 1},
    {"psp.stages.2.1", CONV, feats, feats, 1},
    {"psp.stages.3.1", CONV, feats, feats, 1},
    {"psp.bottleneck", CONV_BIAS, w->psp, 5 * feats, 1},
    {"final_28.0", CONV_BIAS, w->head[0], w->psp, 1},
    {"final_28.2", CONV_BIAS, 1, w->head[0], 1},
    {"final_56.0", CONV_BIAS, w->head[1], w->up[0], 1},
    {"final_56.2", CONV_BIAS, 1, w->head[1], 1},
    {"final_11", CONV_BIAS, w->head[2], w->up[2] + IMAGE_CHANNELS, 1},
    {"final_21", CONV_BIAS, 1, w->head[2], 1},
  };
  guint c_in = w->stem;

  for (guint l = 0; l < 4; l++) {
    guint c_out = EXPANSION * w->planes[l];

    for (guint b = 0; b < w->blocks[l]; b++) {
      g_autofree char *prefix =
          g_strdup_printf ("feats.layer%u.%u.", l + 1, b);
      g_autofree char *downsample =
          g_strconcat (prefix, "downsample.0.weight", NULL);
      gboolean reshapes = b == 0 && (c_in != c_out || l == 1    // stride 2
          || g_hash_table_contains (model->tensors, downsample));

      if (!expect_bottleneck (model, prefix, c_in, w->planes[l], reshapes,
              error))
        return FALSE;
      c_in = c_out;
    }
  }
  return expect_layers (model, "", layers, G_N_ELEMENTS (layers), error)
      && expect_up (model, "up_1.", w->psp, EXPANSION * w->planes[0],
      w->up[0], error)
      && expect_up (model, "up_2.", w->up[0], w->stem, w->up[1], error)
      && expect_up (model, "up_3.", w->up[1], IMAGE_CHANNELS, w->up[2],
      error);
}

// The highest index under feats.layer<l>, plus one: a gap is found later, as
// a missing tensor.
static gboolean
infer_blocks (CpspModel * model, GError ** error)
{
  GHashTableIter iter;
  gpointer key;

  g_hash_table_iter_init (&iter, model->tensors);
  while (g_hash_table_iter_next (&iter, &key, NULL)) {
    const char *name = key;

    if (!g_str_has_prefix (name, "feats.layer"))
      continue;
    name += strlen ("feats.layer");
    if (name[0] < '1' || name[0] > '4' || name[1] != '.'
        || !g_ascii_isdigit (name[2]))
      continue;

    guint *blocks = &model->widths.blocks[name[0] - '1'];
    guint64 block = g_ascii_strtoull (name + 2, NULL, 10);

    if (block >= MAX_BLOCKS)
      return fail (model, error, "tensor %s: a layer may have %d blocks",
          (char *) key, MAX_BLOCKS);
    *blocks = MAX (*blocks, (guint) block + 1);
  }
  return TRUE;
}

static gboolean
infer_widths (CpspModel * model, GError ** error)
{
  CpspWidths *w = &model->widths;
  // The first dimension of each is a width.
  const struct
  {
    const char *name;
    guint *width;
  } sources[] = {
    {"feats.conv1.weight", &w->stem},
    {"feats.layer1.0.conv1.weight", &w->planes[0]},
    {"feats.layer2.0.conv1.weight", &w->planes[1]},
    {"feats.layer3.0.conv1.weight", &w->planes[2]},
    {"feats.layer4.0.conv1.weight", &w->planes[3]},
    {"psp.bottleneck.weight", &w->psp},
    {"up_1.shortcut.weight", &w->up[0]},
    {"up_2.shortcut.weight", &w->up[1]},
    {"up_3.shortcut.weight", &w->up[2]},
    {"final_28.0.weight", &w->head[0]},
    {"final_56.0.weight", &w->head[1]},
    {"final_11.weight", &w->head[2]},
  };

  for (guint i = 0; i < G_N_ELEMENTS (sources); i++) {
    const char *name = sources[i].name;
    const Tensor *tensor = g_hash_table_lookup (model->tensors, name);

    if (!tensor)
      return fail (model, error, "tensor %s is missing", name);
    if (tensor->n_dims != 4 || tensor->dims[0] == 0
        || tensor->dims[0] > MAX_CHANNELS) {
      g_autofree char *found = shape_to_string (tensor->n_dims, tensor->dims);

      return fail (model, error, "tensor %s: expected shape [1 to %d, "
          "channels, kernel, kernel], found %s", name, MAX_CHANNELS, found);
    }
    *sources[i].width = (guint) tensor->dims[0];
  }
  return infer_blocks (model, error);
}

static gboolean
is_unused (gpointer key, gpointer value, gpointer user_data)
{
  return !((const Tensor *) value)->used;
}

/* The model */

static gboolean
parse_file (CpspModel * model, GError ** error)
{
  gsize size;
  const guint8 *file = g_bytes_get_data (model->bytes, &size);
  guint64 header_size = 0;

  if (size < sizeof header_size)
    return fail (model, error, "too short for a safetensors file: %"
        G_GSIZE_FORMAT " bytes", size);
  if (memcmp (file, "PK\3\4", 4) == 0)
    return fail (model, error, "this is a zip archive, perhaps a PyTorch "
        "checkpoint: convert it to safetensors");

  memcpy (&header_size, file, sizeof header_size);
  header_size = GUINT64_FROM_LE (header_size);
  file += sizeof header_size;
  size -= sizeof header_size;
  if (header_size > size || header_size > MAX_HEADER)
    return fail (model, error, "not a safetensors file, or cut off: it wants "
        "a header of %" G_GUINT64_FORMAT " bytes; %" G_GSIZE_FORMAT
        " follow, %d are allowed", header_size, size, MAX_HEADER);
  model->data = file + header_size;

  g_autoptr (JsonNode) header =
      parse_header (model, (const char *) file, header_size, error);

  if (!header || !parse_tensors (model, json_node_get_object (header),
          size - header_size, error)
      || !infer_widths (model, error) || !expect_network (model, error))
    return FALSE;

  g_hash_table_foreach_remove (model->tensors, is_unused, NULL);
  return TRUE;
}

CpspModel *
cpsp_model_load_bytes (const char *name, GBytes * bytes, GError ** error)
{
  g_return_val_if_fail (name != NULL && bytes != NULL, NULL);

  g_autoptr (CpspModel) model = g_new0 (CpspModel, 1);

  model->n_refs = 1;
  model->path = g_strdup (name);
  model->bytes = g_bytes_ref (bytes);
  model->tensors =
      g_hash_table_new_full (g_str_hash, g_str_equal, NULL, tensor_free);
  if (!parse_file (model, error))
    return NULL;
  return g_steal_pointer (&model);
}

static gboolean
fail_open (const char *path, CpspError code, const char *reason,
    GError ** error)
{
  g_autofree char *display = g_filename_display_name (path);

  g_set_error (error, CPSP_ERROR, code, "%s: %s", display, reason);
  return FALSE;
}

// Only a regular file: opening a pipe for reading would wait for a writer.
static int
open_file (const char *path, FileId * id, GError ** error)
{
  int flags = O_RDONLY;
#ifdef G_OS_UNIX
  flags |= O_CLOEXEC | O_NONBLOCK;
#endif
  int fd = g_open (path, flags, 0);
  struct stat info;

  if (fd < 0) {
    int code = errno;

    fail_open (path, code == ENOENT || code == ENOTDIR ?
        CPSP_ERROR_NOT_FOUND : CPSP_ERROR_OPEN, g_strerror (code), error);
    return -1;
  }
  if (fstat (fd, &info) != 0) {
    fail_open (path, CPSP_ERROR_OPEN, g_strerror (errno), error);
  } else if (!S_ISREG (info.st_mode)) {
    fail_open (path, CPSP_ERROR_OPEN, "not a regular file", error);
  } else {
    *id = (FileId) {
    info.st_dev, info.st_ino, info.st_size, info.st_mtim};
    return fd;
  }
  g_close (fd, NULL);
  return -1;
}

static gboolean
is_same_file (const FileId * one, const FileId * other)
{
  return one->device == other->device && one->inode == other->inode
      && one->size == other->size
      && one->modified.tv_sec == other->modified.tv_sec
      && one->modified.tv_nsec == other->modified.tv_nsec;
}

// (transfer full) NULL: nobody has it.
static CpspModel *
find_shared (const char *path, const FileId * id)
{
  CpspModel *model;

  g_mutex_lock (&lock);
  for (model = shared; model; model = model->next)
    if (is_same_file (&model->id, id) && g_str_equal (model->path, path)) {
      model->n_refs++;
      break;
    }
  g_mutex_unlock (&lock);
  return model;
}

static CpspModel *
load_file (const char *path, int fd, const FileId * id, GError ** error)
{
  g_autoptr (GError) map_error = NULL;
  g_autoptr (GMappedFile) file =
      g_mapped_file_new_from_fd (fd, FALSE, &map_error);
  g_autoptr (GBytes) bytes = NULL;
  CpspModel *model;

  if (!file) {
    fail_open (path, CPSP_ERROR_OPEN, map_error->message, error);
    return NULL;
  }
  bytes = g_mapped_file_get_bytes (file);
  model = cpsp_model_load_bytes (path, bytes, error);
  if (model) {
    g_mutex_lock (&lock);
    model->id = *id;
    model->next = shared;
    shared = model;
    g_mutex_unlock (&lock);
  }
  return model;
}

CpspModel *
cpsp_model_load (const char *path, GError ** error)
{
  FileId id;
  CpspModel *model;
  int fd;

  g_return_val_if_fail (path != NULL, NULL);

  fd = open_file (path, &id, error);
  if (fd < 0)
    return NULL;
  g_mutex_lock (&loading);
  model = find_shared (path, &id);
  if (!model)
    model = load_file (path, fd, &id, error);
  g_mutex_unlock (&loading);
  g_close (fd, NULL);
  return model;
}

CpspModel *
cpsp_model_ref (CpspModel * model)
{
  g_mutex_lock (&lock);
  model->n_refs++;
  g_mutex_unlock (&lock);
  return model;
}

void
cpsp_model_unref (CpspModel * model)
{
  CpspModel **link = &shared;
  gboolean last;

  g_mutex_lock (&lock);
  last = --model->n_refs == 0;
  while (last && *link && *link != model)
    link = &(*link)->next;
  if (last && *link)
    *link = model->next;
  g_mutex_unlock (&lock);
  if (!last)
    return;
  g_hash_table_unref (model->tensors);
  g_bytes_unref (model->bytes);
  g_free (model->path);
  g_free (model);
}

const char *
cpsp_model_get_path (const CpspModel * model)
{
  return model->path;
}

const CpspWidths *
cpsp_model_get_widths (const CpspModel * model)
{
  return &model->widths;
}

gsize
cpsp_model_get_n_parameters (const CpspModel * model)
{
  return model->n_parameters;
}

gboolean
cpsp_model_has (const CpspModel * model, const char *name)
{
  return g_hash_table_contains (model->tensors, name);
}

float *
cpsp_model_read (const CpspModel * model, const char *name, gsize * n)
{
  const Tensor *tensor = g_hash_table_lookup (model->tensors, name);
  float *values = tensor ? g_try_new (float, tensor->n) : NULL;

  if (values)
    to_float ((CpspType) tensor->dtype, model->data + tensor->begin,
        tensor->n, values);
  if (n)
    *n = values ? tensor->n : 0;
  return values;
}
