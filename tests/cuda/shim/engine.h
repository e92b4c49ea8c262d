/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs kernels on the host: each thread of a block is a fiber, threads and
 * blocks in random order. What CUDA leaves undefined ends the program with a
 * message: threads of a block at different barriers, a barrier or a warp's
 * call that waits for a thread that has returned, a warp's call that does not
 * name its caller or whose lanes are elsewhere.
 *
 * The sanitizers find the rest, if the kernels are compiled with them: the
 * engine tells them what a thread is. It must not be compiled with them
 * itself: its bookkeeping is not under test. To the thread sanitizer, each
 * block happens after the one before; with CPSP_SHIM_BLOCKS=free in the
 * environment, blocks are in no order, and it finds what races between them.
 * A warp's call orders no memory, as on a device.
 *
 * One thread of the host at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct
{
  unsigned x, y, z;
} ShimIndex;

// What the running thread sees.
typedef struct
{
  ShimIndex thread, block, block_size, grid_size;
  unsigned lane;
} ShimContext;

extern const ShimContext *shim_context;

// Runs a grid whose threads call BODY (DATA).
void shim_run (ShimIndex grid, ShimIndex block, void (*body) (void *data),
    void *data);
// Whether a device would launch it.
bool shim_is_launch (ShimIndex grid, ShimIndex block);
// Where the order starts; else from the environment's CPSP_SHIM_SEED, or 1.
void shim_seed (uint64_t seed);

// For kernels.
// The block's shared memory that is declared in that line: 16-byte-aligned,
// full of NaNs at first, and poisoned around for the address sanitizer.
void *shim_shared (size_t size, const char *file, int line);
void shim_barrier (const char *file, int line);
// The value of lane FROM of the warp; LANES take part.
uint64_t shim_exchange (unsigned lanes, uint64_t value, unsigned from,
    const char *file, int line);

// Given by who owns streams. Calls RUN (DATA) when the launch is due, as
// often as it is due, and DESTROY (DATA) once, on failure too; a cudaError_t.
int standin_launch (void *stream, void (*run) (void *data),
    void (*destroy) (void *data), void *data);

#ifdef __cplusplus
}
#endif
