/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs PTX, what nvcc makes of our kernels before a device's own assembler
 * sees it, on the CPU, one block after another and each block's threads in
 * random order. It knows the instructions that occur in our kernels; it stops,
 * and says where, at
 *  - an instruction or modifier that it does not know,
 *  - an access outside of all device memory, or at no multiple of its size,
 *  - a read of a register, or of shared memory, that nobody has written,
 *  - an integer division by zero,
 *  - threads of a block at different barriers, or at one that some of them
 *    will never reach; the same for shuffles,
 *  - a thread that does not end,
 *  - a block of more threads than the kernel was made for.
 *
 * Not thread-safe.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _PtxModule PtxModule;

// All kernels of TEXT; NULL and why not.
PtxModule *ptx_module_new (const char *text, char **why);
void ptx_module_free (PtxModule * module);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtxModule, ptx_module_free)
gboolean ptx_module_has (const PtxModule * module, const char *kernel);

typedef struct
{
  guint x, y, z;
} PtxSize;

// Runs a kernel; ARGS: where each parameter's value is. FALSE and what
// happened where.
gboolean ptx_module_run (PtxModule * module, const char *kernel,
    PtxSize grid, PtxSize block, void *const *args, char **why);

// Device memory: pointers are the host's.
void *ptx_memory_new (gsize size);
void ptx_memory_free (void *memory);

// Another order of threads.
void ptx_set_seed (guint32 seed);
// Of all runs so far.
guint64 ptx_get_n_executed (void);

G_END_DECLS
