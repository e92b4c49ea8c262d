/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside the CPU backend: its device and what its files share.
 */
#pragma once

#include "backend.h"
#include "kernels.h"
#include "onednn.h"

G_BEGIN_DECLS

// A buffer that only grows, 64-byte aligned.
typedef struct
{
  void *data;
  gsize size;
} CpspBuffer;

// Which source elements make each of n outputs along one axis, and how much:
// tap k of output i is element index[k * n + i] with weight[k * n + i].
// Outputs with fewer taps have weights of 0.
typedef struct
{
  guint n, n_taps;
  guint low, high;              // elements low .. high - 1 are used
  gboolean identity;            // index i + low, weight 1
  guint *index;
  float *weight;
  CpspBuffer index_memory, weight_memory;
} CpspTaps;

struct _CpspDevice
{
  guint threads;
  guint callers_threads;        // OpenMP's setting, while we compute
  CpspOnednn *onednn;
  CpspBuffer arena, band, scratch;
  CpspBuffer rows;              // `threads` parts, see cpsp_cpu_rows
  gsize planes_size;            // bytes of all planes
  CpspTaps taps[4];             // of the call in progress
  CpspImageView image;
  CpspMaskView mask;
};

struct _CpspPlane
{
  CpspDevice *device;
  guint width, height;
  float *data;
  // Columns first[y] .. last[y] - 1 of row y were accumulated into since the
  // plane was cleared; all others are 0.
  guint *first, *last;
};

// Bracket every call that computes: threads of one process that compute at
// the same time share the machine's cores instead of fighting for them.
void cpsp_cpu_enter (CpspDevice * device);
void cpsp_cpu_leave (CpspDevice * device);

// FALSE and a NO_MEMORY error if there's no memory. Content is lost.
gboolean cpsp_buffer_grow (CpspBuffer * buffer, gsize size, GError ** error);
void cpsp_buffer_clear (CpspBuffer * buffer);

// Gives each thread a row of N floats (see cpsp_cpu_row).
gboolean cpsp_cpu_rows (CpspDevice * device, gsize n, GError ** error);
float *cpsp_cpu_row (CpspDevice * device, gsize n);

// The memory of slot SLOT of a tensor.
guint8 *cpsp_cpu_tensor (const CpspPlan * plan, gint tensor, guint slot);
CpspDevice *cpsp_cpu_plan_get_device (const CpspPlan * plan);
const CpspProgram *cpsp_cpu_plan_get_program (const CpspPlan * plan);
const CpspKernels *cpsp_cpu_plan_get_kernels (const CpspPlan * plan);

// frame.c: the table's entries of planes and frames, documented in backend.h.
CpspPlane *cpsp_cpu_plane_new (CpspDevice * device, guint width,
    guint height, GError ** error);
void cpsp_cpu_plane_free (CpspPlane * plane);
gboolean cpsp_cpu_plane_clear (CpspPlane * plane, GError ** error);
const float *cpsp_cpu_plane_map (CpspPlane * plane, GError ** error);
gboolean cpsp_cpu_set_frame (CpspDevice * device, const CpspImageView * image,
    const CpspMaskView * mask, GError ** error);
gboolean cpsp_cpu_load_image (CpspPlan * plan, guint slot,
    const CpspCrop * crop, GError ** error);
gboolean cpsp_cpu_load_coarse (CpspPlan * plan, guint slot,
    const CpspCrop * crop, float threshold, GError ** error);
gboolean cpsp_cpu_load_masks (CpspPlan * plan, guint slot,
    const CpspCrop * crop, const CpspPlane * p1, const CpspPlane * p4,
    GError ** error);
gboolean cpsp_cpu_store (CpspPlan * plan, guint slot, CpspOutput output,
    CpspPlane * dst, GError ** error);
gboolean cpsp_cpu_accumulate (CpspPlan * plan, guint slot, CpspOutput output,
    const CpspBlend * blend, CpspPlane * sum, CpspPlane * weight,
    GError ** error);
gboolean cpsp_cpu_finish_alpha (CpspDevice * device,
    const CpspResult * result, const CpspAlphaView * dst, GError ** error);
gboolean cpsp_cpu_finish_plane (CpspDevice * device,
    const CpspResult * result, CpspPlane * dst, GError ** error);

G_END_DECLS
