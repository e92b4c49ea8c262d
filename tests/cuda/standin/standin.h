/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A GPU that is not there: the table of device calls on host memory, for
 * tests of the CUDA backend. It is strict where the real one is lax; what the
 * caller does wrong ends the program with a message:
 *
 *  - work waits in its stream until somebody synchronises, and host memory
 *    is read and written then: who does not wait gets garbage;
 *  - device memory cannot be touched but by work (it is closed, and ends at
 *    a page that stays closed), begins as NaN, and has a rim that is
 *    checked when it is freed;
 *  - a convolution's graph must be of the one form that cuDNN's engines take,
 *    ids unique, tensors inside of one allocation, the result apart from all
 *    that is read; its workspace is overwritten with NaN;
 *  - nothing may be enqueued elsewhere, allocated or waited for while a
 *    stream records.
 *
 * Convolutions and kernels (tests/cuda/shim) yield real numbers.
 */
#pragma once

#include "api.h"

G_BEGIN_DECLS

// Counting of calls that can fail starts again; the N-th from now on fails.
// 0: none does.
void standin_fail_at (guint n);
// How many there have been.
guint standin_get_calls (void);
// Which call failed. NULL: none has.
const char *standin_get_failed (void);
// Things alive: memory, streams, graphs, descriptors, handles.
guint standin_get_alive (void);
// Device memory that can be had at once, bytes; 0: no limit.
void standin_set_memory (gsize bytes);
// The first N engines that would do compute a little wrong.
void standin_break_engines (guint n);
// Graphs leave out the first of what they recorded.
void standin_break_graphs (gboolean break_them);
// How many GPUs there are; at first 1.
void standin_set_devices (guint n);
// Graphs that were launched since the program began.
guint standin_get_graph_launches (void);

// What an emulated kernel is launched by: RUN (DATA) once or, if it is
// recorded, many times, then DESTROY (DATA). Returns a cudaError_t.
int standin_launch (void *stream, void (*run) (void *data),
    void (*destroy) (void *data), void *data);

G_END_DECLS
