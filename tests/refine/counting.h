/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Takes the place of malloc and its kin in a test program (glibc): counts
 * what is allocated, and refuses what the test says. For one file of a
 * program; the sanitizers have allocators of their own and cannot be
 * combined with it.
 */
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE             // dladdr
#endif

#include <dlfcn.h>
#include <errno.h>
#include <glib.h>
#include <malloc.h>
#include <string.h>

extern void *__libc_malloc (size_t size);
extern void *__libc_calloc (size_t n, size_t size);
extern void *__libc_realloc (void *old, size_t size);
extern void *__libc_memalign (size_t align, size_t size);
extern void __libc_free (void *memory);

static gint counting_on;        // atomic
static gint counting_n;         // allocations while on, libraries' not counted
static gint counting_n_library;
static gint counting_refuse;    // which of those that may fail; 0: none
static gint counting_n_may_fail;
static gssize counting_bytes, counting_peak;    // alive, while on
static void *counting_first;    // who asked first, while on

// The engine's own, and oneDNN's buffers. Not those that end the process by
// contract when they get none: GLib's (but for its g_try functions), OpenMP's,
// and what is small in oneDNN, which does not check it. They are all small and
// bounded, see refine/alloc.h.
static gboolean
counting_may_fail (void *caller, size_t size)
{
  Dl_info info, here;

  if (!dladdr (caller, &info) || !info.dli_fname ||
      !dladdr ((void *) counting_may_fail, &here))
    return FALSE;
  if (info.dli_fbase == here.dli_fbase)
    return TRUE;
  if (strstr (info.dli_fname, "libglib"))
    return info.dli_sname && g_str_has_prefix (info.dli_sname, "g_try_");
  return strstr (info.dli_fname, "libdnnl") && size >= 4096;
}

// oneDNN, its C++, OpenMP.
static gboolean
counting_is_library (void *caller)
{
  Dl_info info;

  return dladdr (caller, &info) && info.dli_fname &&
      (strstr (info.dli_fname, "libstdc++") ||
      strstr (info.dli_fname, "libdnnl") ||
      strstr (info.dli_fname, "libgomp"));
}

// FALSE: to be refused.
static gboolean
counting_ask (void *caller, size_t size)
{
  if (!g_atomic_int_get (&counting_on))
    return TRUE;
  if (counting_is_library (caller))
    g_atomic_int_inc (&counting_n_library);
  else if (g_atomic_int_add (&counting_n, 1) == 0)
    counting_first = caller;
  if (g_atomic_int_get (&counting_refuse) < 0 ||
      !counting_may_fail (caller, size))
    return TRUE;
  if (g_atomic_int_add (&counting_n_may_fail, 1) + 1 !=
      g_atomic_int_get (&counting_refuse))
    return TRUE;
  errno = ENOMEM;
  return FALSE;
}

static void *
counting_took (void *memory)
{
  if (memory && g_atomic_int_get (&counting_on)) {
    gssize n = malloc_usable_size (memory);
    gssize now = __atomic_add_fetch (&counting_bytes, n, __ATOMIC_RELAXED);

    if (now > counting_peak)
      counting_peak = now;
  }
  return memory;
}

static void
counting_gave (void *memory)
{
  if (memory && g_atomic_int_get (&counting_on))
    __atomic_sub_fetch (&counting_bytes, malloc_usable_size (memory),
        __ATOMIC_RELAXED);
}

void *
malloc (size_t size)
{
  if (!counting_ask (__builtin_return_address (0), size))
    return NULL;
  return counting_took (__libc_malloc (size));
}

void *
calloc (size_t n, size_t size)
{
  if (!counting_ask (__builtin_return_address (0), n * size))
    return NULL;
  return counting_took (__libc_calloc (n, size));
}

void *
realloc (void *old, size_t size)
{
  if (!counting_ask (__builtin_return_address (0), size))
    return NULL;
  counting_gave (old);
  return counting_took (__libc_realloc (old, size));
}

void *
memalign (size_t align, size_t size)
{
  if (!counting_ask (__builtin_return_address (0), size))
    return NULL;
  return counting_took (__libc_memalign (align, size));
}

void *
aligned_alloc (size_t align, size_t size)
{
  if (!counting_ask (__builtin_return_address (0), size))
    return NULL;
  return counting_took (__libc_memalign (align, size));
}

int
posix_memalign (void **memory, size_t align, size_t size)
{
  if (!counting_ask (__builtin_return_address (0), size))
    return ENOMEM;
  *memory = counting_took (__libc_memalign (align, size));
  return *memory ? 0 : ENOMEM;
}

void
free (void *memory)
{
  counting_gave (memory);
  __libc_free (memory);
}

// Counts from now on; REFUSE: which allocation to refuse, 0: none, -1: none,
// and it does not matter who asks (faster).
static inline void
counting_begin (gint refuse)
{
  counting_n = counting_n_library = counting_n_may_fail = 0;
  counting_bytes = counting_peak = 0;
  counting_refuse = refuse;
  g_atomic_int_set (&counting_on, 1);
}

// Returns how many there were.
static inline guint
counting_end (void)
{
  g_atomic_int_set (&counting_on, 0);
  return counting_n;
}
