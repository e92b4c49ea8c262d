/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "alloc.h"

#include "error.h"

gpointer
cpsp_allocate (gsize n, gsize size, const char *what, GError ** error)
{
  gpointer memory = g_try_malloc0_n (MAX (n, 1), size);

  if (!memory)
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_NO_MEMORY,
        "no memory for %s: %" G_GSIZE_FORMAT " elements of %" G_GSIZE_FORMAT
        " bytes", what, n, size);
  return memory;
}

gboolean
cpsp_memory_reserve (CpspMemory * memory, gsize n, gsize size,
    const char *what, GError ** error)
{
  gpointer data;

  if (n <= memory->bytes / size)
    return TRUE;
  data = cpsp_allocate (n, size, what, error);
  if (!data)
    return FALSE;
  g_free (memory->data);
  memory->data = data;
  memory->bytes = n * size;
  return TRUE;
}

void
cpsp_memory_clear (CpspMemory * memory)
{
  g_free (memory->data);
  *memory = (CpspMemory) { 0 };
}
