/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A convolution with all that follows it, as one graph of cuDNN:
 *   y = act (conv (x, w) + residual + bias), act = identity or ReLU
 * in this order, which cuDNN's precompiled engines take; tensors NHWC, all of
 * F16 or all of F32, sums in between fp32. Residual and result are different
 * memory.
 *
 * A plan is made for a device that is there (a handle) or for one that is
 * only described, by the same code.
 */
#pragma once

#include "api.h"
#include "network.h"

G_BEGIN_DECLS

typedef struct
{
  CpspType type;                // F16 or F32
  guint batch;
  guint height, width;          // of x
  guint c_in, c_out;            // multiples of CPSP_CHANNEL_ALIGN
  guint kernel, stride, dilation;       // padding as CPSP_OP_CONV
  gboolean accumulate;          // there is a residual
  gboolean relu;
} CpspConvShape;

typedef struct
{
  cudnnHandle_t handle;         // NULL: a device that is only described
  cudnnBackendDescriptor_t description; // NULL: the handle's device
  gsize workspace_limit;        // bytes
  guint skip;                   // leave out so many engines that would do
} CpspConvTarget;

typedef struct _CpspConvPlan CpspConvPlan;

// The best plan by cuDNN's own reckoning that is deterministic, as precise as
// TYPE says and needs no more than the target's workspace. NULL with a DEVICE
// error that names the shape if there is none, or with NO_MEMORY.
CpspConvPlan *cpsp_conv_plan_new (const CpspGpuApi * api,
    const CpspConvTarget * target, const CpspConvShape * shape,
    GError ** error);
void cpsp_conv_plan_free (CpspConvPlan * plan);
gsize cpsp_conv_plan_get_workspace (const CpspConvPlan * plan);
// The number that cuDNN gives to the plan's engine.
gint64 cpsp_conv_plan_get_engine (const CpspConvPlan * plan);

// Device memory.
typedef struct
{
  const void *x;
  const void *weight;           // [c_out][kernel][kernel][c_in]
  const void *bias;             // c_out
  const void *residual;         // if the shape has one
  void *y;
  void *workspace;
} CpspConvMemory;

// Enqueues on HANDLE's stream.
gboolean cpsp_conv_plan_run (const CpspConvPlan * plan, cudnnHandle_t handle,
    const CpspConvMemory * memory, GError ** error);

// What STATUS, no success, is as a CpspError.
gint cpsp_conv_error_code (cudnnStatus_t status);

// The convolution that is operation I.
CpspConvShape cpsp_conv_shape_of (const CpspProgram * program, guint i);
// (transfer full)
char *cpsp_conv_shape_to_string (const CpspConvShape * shape);

G_END_DECLS
