/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The smallest model that is one, for tests of everything but pictures: a tiny
 * frame takes a fraction of a millisecond.
 */
#pragma once

#include <glib/gstdio.h>

#include "tests/refine/model-file.h"

// Writes a model whose weights are random, but the same for equal SEEDs, to a
// new file in the temporary folder. The caller removes it, and frees the name.
static inline char *
tiny_model_write (guint32 seed)
{
  const CpspWidths tiny = {
    .stem = 2, .planes = {1, 2, 2, 1}, .blocks = {1, 2, 2, 1},
    .psp = 3, .up = {2, 3, 1}, .head = {2, 1, 3},
  };
  g_autoptr (File) file = file_new (&tiny);
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GError) error = NULL;
  char *path;
  gint fd;

  file_randomise (file, seed);
  bytes = file_write (file);
  fd = g_file_open_tmp ("tiny-model-XXXXXX", &path, &error);
  g_assert_no_error (error);
  g_close (fd, NULL);
  g_file_set_contents (path, g_bytes_get_data (bytes, NULL),
      (gssize) g_bytes_get_size (bytes), &error);
  g_assert_no_error (error);
  return path;
}
