/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Convolutions on oneDNN. The only place that knows oneDNN, whose versions 2
 * and 3 differ in API.
 */
#pragma once

#include <glib.h>

#include "types.h"

G_BEGIN_DECLS

typedef struct _CpspOnednn CpspOnednn;          // an engine and its stream
typedef struct _CpspOnednnConv CpspOnednnConv;  // a primitive for one shape
typedef struct _CpspOnednnWeights CpspOnednnWeights;

// All tensors are NHWC without gaps. c_in and c_out count the padding
// channels. Weights arrive as floats, [c_out][c_in][kernel][kernel].
typedef struct
{
  CpspType type;                // F32 or BF16: source, weights, destination
  guint batch, c_in, c_out;
  guint src_height, src_width, dst_height, dst_width;
  guint kernel, stride, dilation;
  guint pad_rows, pad_columns;  // on either side
  gboolean bias, accumulate, relu;
} CpspOnednnShape;

// Functions that can fail return NULL or FALSE and a DEVICE or NO_MEMORY error.
CpspOnednn *cpsp_onednn_new (GError ** error);
void cpsp_onednn_free (CpspOnednn * onednn);
// "oneDNN 2.6.3"
const char *cpsp_onednn_version (void);

CpspOnednnConv *cpsp_onednn_conv_new (CpspOnednn * onednn,
    const CpspOnednnShape * shape, GError ** error);
void cpsp_onednn_conv_free (CpspOnednnConv * conv);
// Bytes of scratch memory that a run needs.
gsize cpsp_onednn_conv_get_scratch (const CpspOnednnConv * conv);

// In the layout that CONV wants. BIAS: c_out floats or NULL.
CpspOnednnWeights *cpsp_onednn_weights_new (CpspOnednn * onednn,
    const CpspOnednnConv * conv, const float *weight, const float *bias,
    GError ** error);
void cpsp_onednn_weights_free (CpspOnednnWeights * weights);
// Whether weights made for another convolution have CONV's layout.
gboolean cpsp_onednn_weights_fit (const CpspOnednnWeights * weights,
    const CpspOnednnConv * conv);

gboolean cpsp_onednn_conv_run (CpspOnednn * onednn, CpspOnednnConv * conv,
    const CpspOnednnWeights * weights, const void *src, void *dst,
    void *scratch, GError ** error);

G_END_DECLS
