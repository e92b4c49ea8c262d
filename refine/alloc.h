/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory whose size follows from frames, masks and models. GLib's own
 * allocations abort when there is none; that is left to what is small and
 * bounded (structs, names, lists of operations), where a process that gets
 * none is at its end anyway.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

// N elements of SIZE bytes, zeroed; NULL and a NO_MEMORY error that says that
// they were for WHAT, if there is no memory. (transfer full: g_free)
gpointer cpsp_allocate (gsize n, gsize size, const char *what,
    GError ** error);

// Grows, never shrinks. Zeros: none yet.
typedef struct
{
  gpointer data;
  gsize bytes;
} CpspMemory;

// Makes room for N elements of SIZE bytes; the content is lost if it has to
// grow. On failure it stays as it was.
gboolean cpsp_memory_reserve (CpspMemory * memory, gsize n, gsize size,
    const char *what, GError ** error);
void cpsp_memory_clear (CpspMemory * memory);

G_END_DECLS
