/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes model files of any widths, for tests: to be loaded, spoilt, or
 * filled with random weights and run.
 */
#pragma once

#include "model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct
{
  char *name;
  char *dtype, *shape, *offsets;        // JSON; offsets NULL: where it lies
  GByteArray *data;
} Entry;

typedef struct
{
  const char *prefix;           // before each name
  const char *extra;            // JSON members, each with a comma behind
  GPtrArray *entries;
} File;

// 67.7 million parameters
static const CpspWidths widths_published = {
  64, {64, 128, 256, 512}, {3, 4, 6, 3}, 1024, {512, 256, 32}, {32, 32, 32}
};

static inline void
entry_free (gpointer data)
{
  Entry *entry = data;

  g_free (entry->name);
  g_free (entry->dtype);
  g_free (entry->shape);
  g_free (entry->offsets);
  g_byte_array_unref (entry->data);
  g_free (entry);
}

static inline void
file_free (File * file)
{
  g_ptr_array_unref (file->entries);
  g_free (file);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (File, file_free)

static inline void
put_16 (guint8 * dst, guint16 bits)
{
  bits = GUINT16_TO_LE (bits);
  memcpy (dst, &bits, 2);
}

static inline void
put_float (guint8 * dst, float value)
{
  guint32 bits;

  memcpy (&bits, &value, 4);
  bits = GUINT32_TO_LE (bits);
  memcpy (dst, &bits, 4);
}

// Element i of the k-th tensor of a file: small, exact in every type.
static inline float
nth_value (guint k, guint i)
{
  return (float) ((k * 7 + i) % 31) / 16;
}

G_GNUC_PRINTF (3, 4)
static inline void
add (File * file, const char *shape, const char *format, ...)
{
  Entry *entry = g_new0 (Entry, 1);
  g_auto (GStrv) dims = NULL;
  guint n = 1;
  va_list args;

  va_start (args, format);
  entry->name = g_strdup_vprintf (format, args);
  va_end (args);
  entry->dtype = g_strdup ("\"F32\"");
  entry->shape = g_strdup (shape);

  dims = g_strsplit (shape + 1, ",", -1);
  for (guint i = 0; dims[i]; i++)
    n *= (guint) g_ascii_strtoull (dims[i], NULL, 10);
  entry->data = g_byte_array_new ();
  g_byte_array_set_size (entry->data, 4 * n);
  for (guint i = 0; i < n; i++)
    put_float (entry->data->data + 4 * i,
        nth_value (file->entries->len, i));
  g_ptr_array_add (file->entries, entry);
}

static inline void
add_conv (File * file, const char *name, guint c_out, guint c_in, guint k,
    gboolean bias)
{
  g_autofree char *shape =
      g_strdup_printf ("[%u, %u, %u, %u]", c_out, c_in, k, k);
  g_autofree char *vector = g_strdup_printf ("[%u]", c_out);

  add (file, shape, "%s.weight", name);
  if (bias)
    add (file, vector, "%s.bias", name);
}

static inline void
add_norm (File * file, const char *name, guint channels)
{
  g_autofree char *shape = g_strdup_printf ("[%u]", channels);

  add (file, shape, "%s.weight", name);
  add (file, shape, "%s.bias", name);
  add (file, shape, "%s.running_mean", name);
  add (file, shape, "%s.running_var", name);
}

static inline const char *
join (char *dst, gsize size, const char *a, const char *b)
{
  g_snprintf (dst, size, "%s%s", a, b);
  return dst;
}

#define IN(prefix, name) join (buffer, sizeof buffer, prefix, name)

static inline void
add_up (File * file, const char *name, guint c_in, guint skip, guint c)
{
  char buffer[64];

  add_norm (file, IN (name, ".conv.0"), c_in + skip);
  add_conv (file, IN (name, ".conv.2"), c, c_in + skip, 3, TRUE);
  add_norm (file, IN (name, ".conv.3"), c);
  add_conv (file, IN (name, ".conv.5"), c, c, 3, TRUE);
  add_norm (file, IN (name, ".conv2.0"), c);
  add_conv (file, IN (name, ".conv2.2"), c, c, 3, TRUE);
  add_norm (file, IN (name, ".conv2.3"), c);
  add_conv (file, IN (name, ".conv2.5"), c, c, 3, TRUE);
  add_conv (file, IN (name, ".shortcut"), c, c_in, 1, TRUE);
}

static inline File *
file_new (const CpspWidths * w)
{
  File *file = g_new0 (File, 1);
  guint c = w->stem;
  char buffer[64];

  file->prefix = file->extra = "";
  file->entries = g_ptr_array_new_with_free_func (entry_free);

  add_conv (file, "feats.conv1", w->stem, 6, 7, FALSE);
  add_norm (file, "feats.bn1", w->stem);
  for (guint l = 0; l < 4; l++)
    for (guint b = 0; b < w->blocks[l]; b++) {
      g_autofree char *block =
          g_strdup_printf ("feats.layer%u.%u.", l + 1, b);
      guint planes = w->planes[l];

      add_conv (file, IN (block, "conv1"), planes, c, 1, FALSE);
      add_norm (file, IN (block, "bn1"), planes);
      add_conv (file, IN (block, "conv2"), planes, planes, 3, FALSE);
      add_norm (file, IN (block, "bn2"), planes);
      add_conv (file, IN (block, "conv3"), 4 * planes, planes, 1, FALSE);
      add_norm (file, IN (block, "bn3"), 4 * planes);
      if (b == 0 && (c != 4 * planes || l == 1)) {
        add_conv (file, IN (block, "downsample.0"), 4 * planes, c, 1, FALSE);
        add_norm (file, IN (block, "downsample.1"), 4 * planes);
      }
      c = 4 * planes;
    }
  for (guint i = 0; i < 4; i++) {
    g_snprintf (buffer, sizeof buffer, "psp.stages.%u.1", i);
    add_conv (file, buffer, c, c, 1, FALSE);
  }
  add_conv (file, "psp.bottleneck", w->psp, 5 * c, 1, TRUE);
  add_up (file, "up_1", w->psp, 4 * w->planes[0], w->up[0]);
  add_up (file, "up_2", w->up[0], w->stem, w->up[1]);
  add_up (file, "up_3", w->up[1], 3, w->up[2]);
  add_conv (file, "final_28.0", w->head[0], w->psp, 1, TRUE);
  add_conv (file, "final_28.2", 1, w->head[0], 1, TRUE);
  add_conv (file, "final_56.0", w->head[1], w->up[0], 1, TRUE);
  add_conv (file, "final_56.2", 1, w->head[1], 1, TRUE);
  add_conv (file, "final_11", w->head[2], w->up[2] + 3, 1, TRUE);
  add_conv (file, "final_21", 1, w->head[2], 1, TRUE);
  return file;
}

static inline GBytes *
pack (const char *header, gssize length, const guint8 * data, gsize size)
{
  GByteArray *array = g_byte_array_new ();
  gsize n = length < 0 ? strlen (header) : (gsize) length;
  guint64 n_le = GUINT64_TO_LE ((guint64) n);

  g_byte_array_append (array, (guint8 *) & n_le, 8);
  g_byte_array_append (array, (const guint8 *) header, n);
  g_byte_array_append (array, data, size);
  return g_byte_array_free_to_bytes (array);
}

static inline GBytes *
file_write (const File * file)
{
  g_autoptr (GByteArray) data = g_byte_array_new ();
  g_autoptr (GString) header = g_string_new ("{");

  g_string_append (header, file->extra);
  for (guint i = 0; i < file->entries->len; i++) {
    const Entry *e = file->entries->pdata[i];
    guint begin = data->len;

    g_byte_array_append (data, e->data->data, e->data->len);
    g_string_append_printf (header, "%s\"%s%s\": {\"dtype\": %s, "
        "\"shape\": %s, \"data_offsets\": ", i ? ", " : "", file->prefix,
        e->name, e->dtype, e->shape);
    if (e->offsets)
      g_string_append_printf (header, "%s}", e->offsets);
    else
      g_string_append_printf (header, "[%u, %u]}", begin, data->len);
  }
  g_string_append (header, "}   ");
  return pack (header->str, header->len, data->data, data->len);
}

static inline Entry *
find (const File * file, const char *name)
{
  for (guint i = 0; i < file->entries->len; i++) {
    Entry *entry = file->entries->pdata[i];

    if (g_str_equal (entry->name, name))
      return entry;
  }
  g_assert_not_reached ();
}

// Random weights that keep activations near 1 (He initialisation; batch norms
// that change little), so that a network of them is numerically well-behaved.
static inline void
file_randomise (File * file, guint32 seed)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (seed);

  for (guint i = 0; i < file->entries->len; i++) {
    Entry *entry = file->entries->pdata[i];
    guint n = entry->data->len / 4, c_out = 1, c_in = 1, k = 1;
    gboolean conv = sscanf (entry->shape, "[%u, %u, %u", &c_out, &c_in,
        &k) > 1;
    // of uniform numbers within +-1: their variance is 1 / 3
    double scale = conv ? sqrt (3.0 * 2 / (c_in * k * k)) / 1.5 : 0.1;
    double centre = !conv && (g_str_has_suffix (entry->name, "weight") ||
        g_str_has_suffix (entry->name, "running_var")) ? 1 : 0;

    for (guint j = 0; j < n; j++)
      put_float (entry->data->data + 4 * j, centre + scale *
          g_rand_double_range (random, -1, 1));
  }
}

// A model of random weights.
static inline CpspModel *
model_new_random (const CpspWidths * widths, guint32 seed)
{
  g_autoptr (File) file = file_new (widths);
  g_autoptr (GBytes) bytes = NULL;
  GError *error = NULL;
  CpspModel *model;

  file_randomise (file, seed);
  bytes = file_write (file);
  model = cpsp_model_load_bytes ("random", bytes, &error);
  g_assert_no_error (error);
  return model;
}
