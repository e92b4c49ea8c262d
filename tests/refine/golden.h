/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads the golden data: tensors of a safetensors file, and PNG pictures.
 * A test's own files: whatever is wrong with them ends the test.
 */
#pragma once

#include <json-glib/json-glib.h>
#include <png.h>
#include <string.h>

typedef struct
{
  char *bytes;
  gsize size;
  JsonParser *header;
} Golden;

static inline char *
golden_path (const char *name)
{
  const char *folder = g_getenv ("CPSP_TEST_DATA");

  g_assert_nonnull (folder);
  return g_build_filename (folder, name, NULL);
}

static inline Golden *
golden_open (const char *name)
{
  Golden *golden = g_new0 (Golden, 1);
  g_autofree char *path = golden_path (name);
  guint64 length;
  GError *error = NULL;

  g_file_get_contents (path, &golden->bytes, &golden->size, &error);
  g_assert_no_error (error);
  memcpy (&length, golden->bytes, 8);
  golden->header = json_parser_new ();
  json_parser_load_from_data (golden->header, golden->bytes + 8,
      GUINT64_FROM_LE (length), &error);
  g_assert_no_error (error);
  return golden;
}

static inline void
golden_close (Golden * golden)
{
  g_object_unref (golden->header);
  g_free (golden->bytes);
  g_free (golden);
}

// A float tensor's values (owned by GOLDEN) and how many there are.
static inline const float *
golden_tensor (Golden * golden, const char *name, gsize * n)
{
  JsonObject *root = json_node_get_object (json_parser_get_root
      (golden->header));
  JsonArray *offsets;
  guint64 length, begin;

  g_assert_true (json_object_has_member (root, name));
  offsets = json_object_get_array_member (json_object_get_object_member (root,
          name), "data_offsets");
  memcpy (&length, golden->bytes, 8);
  begin = json_array_get_int_element (offsets, 0);
  *n = (json_array_get_int_element (offsets, 1) - begin) / sizeof (float);
  return (const float *) (golden->bytes + 8 + GUINT64_FROM_LE (length) +
      begin);
}

// FORMAT: PNG_FORMAT_RGB or PNG_FORMAT_GRAY, rows without gaps. (transfer
// full)
static inline guint8 *
golden_png (const char *name, guint format, guint * width, guint * height)
{
  g_autofree char *path = golden_path (name);
  png_image image = {.version = PNG_IMAGE_VERSION };
  guint8 *pixels;

  g_assert_true (png_image_begin_read_from_file (&image, path));
  image.format = format;
  pixels = g_malloc (PNG_IMAGE_SIZE (image));
  g_assert_true (png_image_finish_read (&image, NULL, pixels, 0, NULL));
  *width = image.width;
  *height = image.height;
  return pixels;
}
