/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A model file (safetensors): its tensors, checked against the network's
 * graph, and the widths that their shapes imply. The file may come from
 * anyone: whatever it holds, loading either yields a model that is complete
 * and finite or an error that names the file and the tensor.
 *
 * A model is immutable, reference-counted and may be used from any thread.
 */
#pragma once

#include <glib.h>

#include "types.h"

G_BEGIN_DECLS

// The file maps onto memory while the model lives, and must not be changed
// or truncated in place meanwhile (replacing it by renaming is fine).
typedef struct _CpspModel CpspModel;

// Widths, block counts and head sizes, read from the tensors' shapes.
typedef struct
{
  guint stem;                   // channels of feats.conv1
  guint planes[4];              // of layer1 to layer4; outputs: 4 x planes
  guint blocks[4];              // bottlenecks of layer1 to layer4
  guint psp;                    // outputs of psp.bottleneck
  guint up[3];                  // outputs of up_1, up_2, up_3
  guint head[3];                // hidden: final_28, final_56, final_11
} CpspWidths;

// The file at PATH (in GLib's file name encoding). As long as somebody has a
// model of the same path, and the file has not changed since (device, inode,
// size, time of modification), it is the same model. NULL on failure:
// CPSP_ERROR_NOT_FOUND, CPSP_ERROR_OPEN (unreadable, not a regular file) or
// CPSP_ERROR_FORMAT.
CpspModel *cpsp_model_load (const char * path, GError ** error);

// The same from memory. BYTES (transfer none) are referenced, not copied;
// NAME stands for the file in messages and is what get_path returns.
CpspModel *cpsp_model_load_bytes (const char * name, GBytes * bytes,
    GError ** error);

CpspModel *cpsp_model_ref (CpspModel * model);
void cpsp_model_unref (CpspModel * model);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CpspModel, cpsp_model_unref)

// (transfer none) Both live as long as the model.
const char *cpsp_model_get_path (const CpspModel * model);
const CpspWidths *cpsp_model_get_widths (const CpspModel * model);

// Learnt numbers of the network: weights and biases, those of batch norms
// included, running statistics not (published model: 67.7 million).
gsize cpsp_model_get_n_parameters (const CpspModel * model);

// Whether NAME (without the file's prefix "module.") is a tensor of the
// network. Only <layer>.0.downsample.* can be absent: in layer1, layer3 and
// layer4, where the block's input already has 4 x planes channels.
gboolean cpsp_model_has (const CpspModel * model, const char * name);

// A copy of tensor NAME as finite floats, in the file's order: the last
// dimension varies fastest (transfer full: g_free). N, where not NULL,
// becomes the number of elements. NULL (N: 0) if the network has no such
// tensor, or no memory is left.
float *cpsp_model_read (const CpspModel * model, const char * name, gsize * n);

G_END_DECLS
