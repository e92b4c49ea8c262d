/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The network: a model's tensors with everything foldable folded
 * (ALGORITHM: batch norms into convolutions, pyramid stages into the
 * bottleneck), and programs: lists of operations on numbered tensors that
 * compute a cascade at one size. Every backend runs the same list.
 *
 * All tensors are NHWC. Channels are stored in multiples of
 * CPSP_CHANNEL_ALIGN; the padding channels of every activation are zero.
 * Logits and predictions are planes: one float per pixel.
 */
#pragma once

#include "model.h"
#include "types.h"

G_BEGIN_DECLS

#define CPSP_CHANNEL_ALIGN 8
#define CPSP_SIZE_ALIGN 8       // a program's height and width

// A convolution, batch norm folded in. Weights are [c_out][c_in][k][k].
typedef struct
{
  const char *name;
  guint c_in, c_out, kernel;
  float *weight;
  float *bias;                  // c_out; NULL: none
} CpspConv;

// Per channel: x -> max (0, scale * x + shift)
typedef struct
{
  guint channels;
  float *scale, *shift;
} CpspAffine;

// logit = out_weight . relu (weight . x + bias) + out_bias, per pixel;
// weight is [hidden][c_in].
typedef struct
{
  const char *name;
  guint c_in, hidden;
  float *weight, *bias, *out_weight;
  float out_bias;
} CpspHead;

typedef struct _CpspNetwork CpspNetwork;

// Immutable, reference-counted, may be shared between threads. Holds a
// reference to MODEL: as long as somebody has a network of it, it is the same
// network. NULL on failure: NO_MEMORY, or FORMAT if weights overflow.
CpspNetwork *cpsp_network_new (CpspModel * model, GError ** error);
CpspNetwork *cpsp_network_ref (CpspNetwork * network);
void cpsp_network_unref (CpspNetwork * network);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CpspNetwork, cpsp_network_unref)
const CpspWidths *cpsp_network_get_widths (const CpspNetwork * network);

typedef enum
{
  // dst = act (conv (src) [+ dst]), act = identity or ReLU. Stride and
  // dilation on both axes; padding = dilation * (kernel - 1) / 2.
  CPSP_OP_CONV,
  // dst = max of relu (scale * src + shift) over 3x3, stride 2, padding 1
  CPSP_OP_MAX_POOL,
  // dst = adaptive average pool of src to dst's size: cell i covers
  // [floor (i * in / out), ceil ((i + 1) * in / out))
  CPSP_OP_GRID_POOL,
  // dst = sum of the CPSP_N_GRIDS sources, each resized bilinearly to dst's
  // size (half-pixel centres, borders clamped)
  CPSP_OP_PYRAMID,
  // dst = relu (scale * concat (src, skip) + shift). src is first resized
  // bilinearly by 2 if dst is twice its size. Of the skip (may be absent)
  // the first skip_channels channels are taken.
  CPSP_OP_CONCAT,
  // dst = src resized bilinearly by 2
  CPSP_OP_UPSAMPLE,
  // dst (one channel, float) = head (concat (src, skip))
  CPSP_OP_HEAD,
  // value = act (src (one channel) resized bilinearly by `factor`), act =
  // tanh or sigmoid, into n_channels channels of dst from first_channel on.
  // factor 1: no resize.
  CPSP_OP_LOGIT,
} CpspOpKind;

#define CPSP_N_GRIDS 4
#define CPSP_NO_TENSOR (-1)

typedef struct
{
  CpspOpKind kind;
  gint src[CPSP_N_GRIDS];       // PYRAMID uses all, other kinds the first
  gint skip;                    // CONCAT, HEAD; CPSP_NO_TENSOR: none
  guint skip_channels;
  gint dst;
  const CpspConv *conv;         // CONV
  const CpspAffine *affine;     // MAX_POOL, CONCAT
  const CpspHead *head;         // HEAD
  guint stride, dilation;       // CONV
  gboolean accumulate, relu;    // CONV
  guint factor;                 // LOGIT
  gboolean sigmoid;             // LOGIT: else tanh
  guint first_channel, n_channels;      // LOGIT
} CpspOp;

typedef struct
{
  guint height, width;
  guint channels;
  guint pitch;                  // elements from pixel to pixel
  CpspType type;
  // Written by one operation and read by the next one only: a backend that
  // streams transients has no memory for it in the arena.
  gboolean transient;
  guint first_op, last_op;      // lifetime, inclusive
  gsize offset;                 // in the arena, bytes
  gsize size;                   // of the whole batch, bytes
} CpspTensor;

// Channels of a program's input tensor: R, G, B (normalised), then masks.
enum
{
  CPSP_INPUT_RGB = 0,
  CPSP_INPUT_SEG = 3,
  CPSP_INPUT_MASK1 = 4,
  CPSP_INPUT_MASK2 = 5,
  CPSP_INPUT_CHANNELS = 6,
};

typedef enum
{
  CPSP_CASCADE_GLOBAL,          // levels 1 to 3; masks: seg. Yields P1, P4
  CPSP_CASCADE_LOCAL,           // levels 2 and 3; masks: seg, coarse. P1
  CPSP_CASCADE_LOCAL_P4,        // the same, P4 too
} CpspCascade;

typedef struct
{
  CpspCascade cascade;
  guint height, width;          // multiples of CPSP_SIZE_ALIGN
  guint batch;
  CpspType type;                // of activations; logits are always F32
  // The backend makes a transient's values while it reads them.
  gboolean stream_transients;
  // Every tensor has memory of its own (to look at them afterwards).
  gboolean keep_all;
} CpspProgramParams;

typedef struct
{
  CpspNetwork *network;         // a reference
  CpspProgramParams params;
  CpspOp *ops;
  guint n_ops;
  CpspTensor *tensors;
  guint n_tensors;
  gsize arena_size;             // bytes; offsets are multiples of 64
  // All of the program's input: written before it runs, its masks
  // overwritten by it.
  gint input;
  gint p1, p4;                  // float, one channel; p4: or CPSP_NO_TENSOR
} CpspProgram;

CpspProgram *cpsp_program_new (CpspNetwork * network,
    const CpspProgramParams * params, GError ** error);
void cpsp_program_free (CpspProgram * program);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CpspProgram, cpsp_program_free)

// Multiply-accumulates of operation I over the whole batch.
guint64 cpsp_program_op_macs (const CpspProgram * program, guint i);
// Bytes of the tensors and convolution weights that operation I reads and
// writes.
guint64 cpsp_program_op_bytes (const CpspProgram * program, guint i);
// One line: kind, name, shapes, flags. (transfer full)
char *cpsp_program_op_to_string (const CpspProgram * program, guint i);

G_END_DECLS
