/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a model's tensors to folded weights (once), and from those to a
 * program (per size). The rewrites are exact but for rounding:
 *
 *  - a batch norm after a convolution is folded into it; one before a ReLU
 *    becomes an affine of the operation that writes the convolution's input;
 *  - `shortcut` of an up block runs before the resize by 2: a 1x1 convolution
 *    commutes with a resize whose weights sum to 1;
 *  - for the same reason each pyramid stage and its part of the bottleneck
 *    are one matrix, applied to the pooled cells; the concatenation of the
 *    published graph never exists;
 *  - each level of the cascade stops where nothing is needed any more.
 */
#include "network.h"

#include "arena.h"
#include "error.h"

#include <math.h>

#define BATCH_NORM_EPSILON 1e-5f

static const guint grid_sizes[CPSP_N_GRIDS] = { 1, 2, 3, 6 };

typedef struct
{
  CpspConv *conv1, *conv2, *conv3;
  CpspConv *downsample;         // NULL: identity
  guint stride, dilation;       // of conv2; the downsample has the stride
} Bottleneck;

// p = conv_b (conv_a (affine (concat (u, skip)))) + shortcut (u),
// result = p + conv_d (conv_c (affine2 (p)))
typedef struct
{
  CpspAffine *affine, *affine2;
  CpspConv *conv_a, *conv_b, *conv_c, *conv_d;
  CpspConv *shortcut;
} UpBlock;

struct _CpspNetwork
{
  guint refs;                   // with lock held
  CpspNetwork *next;            // in shared
  CpspModel *model;             // a reference
  gboolean no_memory;           // while it is being made: stop reading
  CpspWidths widths;
  GPtrArray *convs, *affines, *heads;   // own all that is below
  CpspConv *stem;
  CpspAffine *stem_affine;
  GArray *bottlenecks[4];       // of Bottleneck, layer1 to layer4
  CpspConv *grids[CPSP_N_GRIDS];
  CpspConv *bottleneck;
  UpBlock up[3];
  CpspHead *head[3];            // final_28, final_56, final_11 + final_21
};

// Networks that somebody has. `folding` is held while one is made, so that
// nobody makes the same one meanwhile; it is taken before `lock`.
static GMutex lock, folding;
static CpspNetwork *shared;

static void
conv_free (gpointer data)
{
  CpspConv *conv = data;

  g_free ((char *) conv->name);
  g_free (conv->weight);
  g_free (conv->bias);
  g_free (conv);
}

static void
affine_free (gpointer data)
{
  CpspAffine *affine = data;

  g_free (affine->scale);
  g_free (affine->shift);
  g_free (affine);
}

static void
head_free (gpointer data)
{
  CpspHead *head = data;

  g_free ((char *) head->name);
  g_free (head->weight);
  g_free (head->bias);
  g_free (head->out_weight);
  g_free (head);
}

// Tensor NAME.SUFFIX of the model, (transfer full); the loader has made sure
// that it is there. NULL if there is no memory, now or before.
static float *
read_tensor (CpspNetwork * network, const CpspModel * model,
    const char *name, const char *suffix, gsize * n)
{
  g_autofree char *full = g_strconcat (name, ".", suffix, NULL);
  float *values = network->no_memory ? NULL :
      cpsp_model_read (model, full, n);

  network->no_memory = values == NULL;
  return values;
}

// A batch norm as scale and shift per channel.
static CpspAffine *
read_affine (CpspNetwork * network, const CpspModel * model, const char *name)
{
  CpspAffine *affine = g_new0 (CpspAffine, 1);
  g_autofree float *mean = read_tensor (network, model, name,
      "running_mean", NULL);
  g_autofree float *variance = read_tensor (network, model, name,
      "running_var", NULL);
  gsize n = 0;

  affine->scale = read_tensor (network, model, name, "weight", &n);
  affine->shift = read_tensor (network, model, name, "bias", NULL);
  affine->channels = n;
  for (gsize i = 0; i < n && !network->no_memory; i++) {
    affine->scale[i] /= sqrtf (variance[i] + BATCH_NORM_EPSILON);
    affine->shift[i] -= mean[i] * affine->scale[i];
  }
  g_ptr_array_add (network->affines, affine);
  return affine;
}

static CpspConv *
add_conv (CpspNetwork * network, const char *name, guint c_in, guint c_out,
    guint kernel, float *weight, float *bias)
{
  CpspConv *conv = g_new0 (CpspConv, 1);

  conv->name = g_strdup (name);
  conv->c_in = c_in;
  conv->c_out = c_out;
  conv->kernel = kernel;
  conv->weight = weight;
  conv->bias = bias;
  g_ptr_array_add (network->convs, conv);
  return conv;
}

// Convolution NAME of C_OUT channels, batch norm NORM (nullable) folded in.
static CpspConv *
read_conv (CpspNetwork * network, const CpspModel * model, const char *name,
    guint c_out, guint kernel, const char *norm)
{
  gsize n = 0;
  float *weight = read_tensor (network, model, name, "weight", &n);
  gsize per_output = n / c_out;
  g_autofree char *bias_name = g_strconcat (name, ".bias", NULL);
  float *bias = NULL;

  if (cpsp_model_has (model, bias_name))
    bias = read_tensor (network, model, name, "bias", NULL);
  if (norm) {
    g_autofree float *gamma = read_tensor (network, model, norm, "weight",
        NULL);
    g_autofree float *beta = read_tensor (network, model, norm, "bias", NULL);
    g_autofree float *mean = read_tensor (network, model, norm,
        "running_mean", NULL);
    g_autofree float *variance = read_tensor (network, model, norm,
        "running_var", NULL);

    if (!bias)
      bias = g_try_new0 (float, c_out);
    network->no_memory = network->no_memory || !bias;
    for (guint o = 0; o < c_out && !network->no_memory; o++) {
      float scale = gamma[o] / sqrtf (variance[o] + BATCH_NORM_EPSILON);

      for (gsize i = 0; i < per_output; i++)
        weight[o * per_output + i] *= scale;
      bias[o] = (bias[o] - mean[o]) * scale + beta[o];
    }
  }
  return add_conv (network, name, per_output / (kernel * kernel), c_out,
      kernel, weight, bias);
}

static CpspHead *
read_head (CpspNetwork * network, const CpspModel * model,
    const char *hidden_name, const char *out_name, guint hidden)
{
  CpspHead *head = g_new0 (CpspHead, 1);
  gsize n = 0;
  g_autofree float *out_bias = NULL;

  head->name = g_strdup (hidden_name);
  head->hidden = hidden;
  head->weight = read_tensor (network, model, hidden_name, "weight", &n);
  head->c_in = n / hidden;
  head->bias = read_tensor (network, model, hidden_name, "bias", NULL);
  head->out_weight = read_tensor (network, model, out_name, "weight", NULL);
  out_bias = read_tensor (network, model, out_name, "bias", NULL);
  head->out_bias = out_bias ? *out_bias : 0;
  g_ptr_array_add (network->heads, head);
  return head;
}

static void
read_backbone (CpspNetwork * network, const CpspModel * model)
{
  const CpspWidths *widths = &network->widths;
  static const guint strides[4] = { 1, 2, 1, 1 };
  // of all blocks but the first, which has 1
  static const guint dilations[4] = { 1, 1, 2, 4 };

  network->stem = read_conv (network, model, "feats.conv1", widths->stem, 7,
      NULL);
  network->stem_affine = read_affine (network, model, "feats.bn1");
  for (guint layer = 0; layer < 4; layer++) {
    guint planes = widths->planes[layer];

    network->bottlenecks[layer] = g_array_new (FALSE, TRUE,
        sizeof (Bottleneck));
    for (guint i = 0; i < widths->blocks[layer]; i++) {
      g_autofree char *name = g_strdup_printf ("feats.layer%u.%u", layer + 1,
          i);
      g_autofree char *downsample = g_strconcat (name, ".downsample.0", NULL);
      g_autofree char *downsample_norm = g_strconcat (name, ".downsample.1",
          NULL);
      g_autofree char *downsample_weight = g_strconcat (downsample, ".weight",
          NULL);
      Bottleneck block = { 0 };
      CpspConv **convs[3] = { &block.conv1, &block.conv2, &block.conv3 };

      for (guint k = 0; k < 3; k++) {
        g_autofree char *conv = g_strdup_printf ("%s.conv%u", name, k + 1);
        g_autofree char *norm = g_strdup_printf ("%s.bn%u", name, k + 1);

        *convs[k] = read_conv (network, model, conv,
            k == 2 ? 4 * planes : planes, k == 1 ? 3 : 1, norm);
      }
      block.stride = i == 0 ? strides[layer] : 1;
      block.dilation = i == 0 ? 1 : dilations[layer];
      if (cpsp_model_has (model, downsample_weight))
        block.downsample = read_conv (network, model, downsample, 4 * planes,
            1, downsample_norm);
      g_array_append_val (network->bottlenecks[layer], block);
    }
  }
}

// product [rows][columns] = a [rows][inner], its rows a_stride apart, times
// b [inner][columns]
static void
multiply (float *product, const float *a, gsize a_stride, const float *b,
    guint rows, guint inner, guint columns)
{
  // 8 rows of b times a strip of columns stay in the first-level cache.
  const guint step = 8, strip = 512;

  for (guint r = 0; r < rows; r++) {
    float *p = product + (gsize) r * columns;

    memset (p, 0, columns * sizeof (float));
    for (guint c0 = 0; c0 < columns; c0 += strip) {
      guint c1 = MIN (columns, c0 + strip);
      guint i = 0;

      for (; i + step <= inner; i += step) {
        const float *w = a + r * a_stride + i;
        const float *q = b + (gsize) i * columns;
        gsize s = columns;

        for (guint c = c0; c < c1; c++)
          p[c] += w[0] * q[c] + w[1] * q[c + s] + w[2] * q[c + 2 * s] +
              w[3] * q[c + 3 * s] + w[4] * q[c + 4 * s] +
              w[5] * q[c + 5 * s] + w[6] * q[c + 6 * s] + w[7] * q[c + 7 * s];
      }
      for (; i < inner; i++)
        for (guint c = c0; c < c1; c++)
          p[c] += a[r * a_stride + i] * b[(gsize) i * columns + c];
    }
  }
}

// psp.bottleneck's input is concat (stages 0 to 3, feats): its weight splits
// by columns. The part of a stage, times the stage's own matrix, acts on the
// pooled cells; the last part, with the bias, on the features.
static void
read_pyramid (CpspNetwork * network, const CpspModel * model)
{
  guint c_in = 4 * network->widths.planes[3];
  guint c_out = network->widths.psp;
  gsize row = (CPSP_N_GRIDS + 1) * c_in;
  g_autofree float *weight = read_tensor (network, model, "psp.bottleneck",
      "weight", NULL);

  for (guint g = 0; g <= CPSP_N_GRIDS && !network->no_memory; g++) {
    g_autofree char *name = g_strdup_printf ("psp.stages.%u.1", g);
    float *part = g_try_malloc_n ((gsize) c_out * c_in, sizeof (float));

    if (!part) {
      network->no_memory = TRUE;
    } else if (g < CPSP_N_GRIDS) {
      g_autofree float *stage = read_tensor (network, model, name, "weight",
          NULL);

      if (stage)
        multiply (part, weight + g * c_in, row, stage, c_out, c_in, c_in);
      network->grids[g] = add_conv (network, name, c_in, c_out, 1, part, NULL);
    } else {
      for (guint o = 0; o < c_out; o++)
        memcpy (part + (gsize) o * c_in, weight + o * row + g * c_in,
            c_in * sizeof (float));
      network->bottleneck = add_conv (network, "psp.bottleneck", c_in, c_out,
          1, part, read_tensor (network, model, "psp.bottleneck", "bias",
              NULL));
    }
  }
}

static void
read_up_block (CpspNetwork * network, const CpspModel * model, guint k)
{
  UpBlock *up = &network->up[k];
  guint c_out = network->widths.up[k];
  char name[3][32];
  static const char *parts[3] = { "conv", "conv2", "shortcut" };

  for (guint i = 0; i < 3; i++)
    g_snprintf (name[i], sizeof name[i], "up_%u.%s", k + 1, parts[i]);
  for (guint i = 0; i < 2; i++) {
    g_autofree char *first_norm = g_strconcat (name[i], ".0", NULL);
    g_autofree char *first = g_strconcat (name[i], ".2", NULL);
    g_autofree char *second_norm = g_strconcat (name[i], ".3", NULL);
    g_autofree char *second = g_strconcat (name[i], ".5", NULL);

    *(i ? &up->affine2 : &up->affine) = read_affine (network, model,
        first_norm);
    *(i ? &up->conv_c : &up->conv_a) = read_conv (network, model, first,
        c_out, 3, second_norm);
    *(i ? &up->conv_d : &up->conv_b) = read_conv (network, model, second,
        c_out, 3, NULL);
  }
  up->shortcut = read_conv (network, model, name[2], c_out, 1, NULL);
}

static gboolean
all_finite (const float *values, gsize n)
{
  for (gsize i = 0; i < n; i++)
    if (!isfinite (values[i]))
      return FALSE;
  return TRUE;
}

// What was finite may not be so after folding. Returns the name of a layer
// that overflowed, NULL: none.
static const char *
find_overflow (const CpspNetwork * network)
{
  for (guint i = 0; i < network->convs->len; i++) {
    const CpspConv *conv = g_ptr_array_index (network->convs, i);

    if (!all_finite (conv->weight, (gsize) conv->c_out * conv->c_in *
            conv->kernel * conv->kernel) ||
        (conv->bias && !all_finite (conv->bias, conv->c_out)))
      return conv->name;
  }
  for (guint i = 0; i < network->affines->len; i++) {
    const CpspAffine *affine = g_ptr_array_index (network->affines, i);

    if (!all_finite (affine->scale, affine->channels) ||
        !all_finite (affine->shift, affine->channels))
      return "a batch norm";
  }
  return NULL;
}

static void
network_free (CpspNetwork * network)
{
  for (guint i = 0; i < 4; i++)
    if (network->bottlenecks[i])
      g_array_unref (network->bottlenecks[i]);
  g_ptr_array_unref (network->convs);
  g_ptr_array_unref (network->affines);
  g_ptr_array_unref (network->heads);
  cpsp_model_unref (network->model);
  g_free (network);
}

static CpspNetwork *
fold (CpspModel * model, GError ** error)
{
  CpspNetwork *network = g_new0 (CpspNetwork, 1);
  const guint *heads;
  const char *overflow;

  network->refs = 1;
  network->model = cpsp_model_ref (model);
  network->widths = *cpsp_model_get_widths (model);
  network->convs = g_ptr_array_new_with_free_func (conv_free);
  network->affines = g_ptr_array_new_with_free_func (affine_free);
  network->heads = g_ptr_array_new_with_free_func (head_free);
  heads = network->widths.head;

  read_backbone (network, model);
  read_pyramid (network, model);
  for (guint k = 0; k < 3; k++)
    read_up_block (network, model, k);
  network->head[0] = read_head (network, model, "final_28.0", "final_28.2",
      heads[0]);
  network->head[1] = read_head (network, model, "final_56.0", "final_56.2",
      heads[1]);
  network->head[2] = read_head (network, model, "final_11", "final_21",
      heads[2]);
  if (network->no_memory) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_NO_MEMORY,
        "%s: no memory for its weights", cpsp_model_get_path (model));
    network_free (network);
    return NULL;
  }
  overflow = find_overflow (network);
  if (overflow) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_FORMAT,
        "%s: %s overflows when its batch norm is applied",
        cpsp_model_get_path (model), overflow);
    network_free (network);
    return NULL;
  }
  return network;
}

// (transfer full) NULL: nobody has one.
static CpspNetwork *
find_shared (const CpspModel * model)
{
  CpspNetwork *network;

  g_mutex_lock (&lock);
  for (network = shared; network; network = network->next)
    if (network->model == model) {
      network->refs++;
      break;
    }
  g_mutex_unlock (&lock);
  return network;
}

CpspNetwork *
cpsp_network_new (CpspModel * model, GError ** error)
{
  CpspNetwork *network;

  g_mutex_lock (&folding);
  network = find_shared (model);
  if (!network && (network = fold (model, error))) {
    g_mutex_lock (&lock);
    network->next = shared;
    shared = network;
    g_mutex_unlock (&lock);
  }
  g_mutex_unlock (&folding);
  return network;
}

CpspNetwork *
cpsp_network_ref (CpspNetwork * network)
{
  g_mutex_lock (&lock);
  network->refs++;
  g_mutex_unlock (&lock);
  return network;
}

void
cpsp_network_unref (CpspNetwork * network)
{
  CpspNetwork **link = &shared;
  gboolean last;

  g_mutex_lock (&lock);
  last = --network->refs == 0;
  while (last && *link != network)
    link = &(*link)->next;
  if (last)
    *link = network->next;
  g_mutex_unlock (&lock);
  if (last)
    network_free (network);
}

const CpspWidths *
cpsp_network_get_widths (const CpspNetwork * network)
{
  return &network->widths;
}

// A program under construction.
typedef struct
{
  const CpspNetwork *network;
  const CpspProgramParams *params;
  GArray *ops, *tensors;
  gint input;
} Builder;

static CpspTensor *
tensor_at (Builder * b, gint i)
{
  return &g_array_index (b->tensors, CpspTensor, i);
}

static gint
add_tensor (Builder * b, guint height, guint width, guint channels)
{
  CpspTensor tensor = { 0 };

  tensor.height = height;
  tensor.width = width;
  tensor.channels = channels;
  tensor.pitch = (channels + CPSP_CHANNEL_ALIGN - 1) / CPSP_CHANNEL_ALIGN *
      CPSP_CHANNEL_ALIGN;
  tensor.type = b->params->type;
  tensor.first_op = G_MAXUINT;
  g_array_append_val (b->tensors, tensor);
  return b->tensors->len - 1;
}

// One float per pixel: logits and predictions.
static gint
add_plane (Builder * b, guint height, guint width)
{
  gint plane = add_tensor (b, height, width, 1);

  tensor_at (b, plane)->pitch = 1;
  tensor_at (b, plane)->type = CPSP_TYPE_F32;
  return plane;
}

// Operation I, the newest, uses TENSOR.
static void
touch (Builder * b, gint tensor, guint i)
{
  CpspTensor *t;

  if (tensor == CPSP_NO_TENSOR)
    return;
  t = tensor_at (b, tensor);
  t->first_op = MIN (t->first_op, i);
  t->last_op = i;
}

static void
add_op (Builder * b, CpspOp op)
{
  if (op.kind != CPSP_OP_PYRAMID)
    for (guint i = 1; i < CPSP_N_GRIDS; i++)
      op.src[i] = CPSP_NO_TENSOR;
  for (guint i = 0; i < CPSP_N_GRIDS; i++)
    touch (b, op.src[i], b->ops->len);
  touch (b, op.skip, b->ops->len);
  touch (b, op.dst, b->ops->len);
  // What a transient is made of is read, if it is streamed, while its reader
  // runs.
  if (tensor_at (b, op.src[0])->transient) {
    const CpspOp *maker = &g_array_index (b->ops, CpspOp, b->ops->len - 1);

    touch (b, maker->src[0], b->ops->len);
    touch (b, maker->skip, b->ops->len);
  }
  g_array_append_val (b->ops, op);
}

static void
conv_into (Builder * b, gint src, gint dst, const CpspConv * conv,
    guint stride, guint dilation, gboolean accumulate, gboolean relu)
{
  add_op (b, (CpspOp) {
      .kind = CPSP_OP_CONV, .src = { src }, .skip = CPSP_NO_TENSOR,
      .dst = dst, .conv = conv, .stride = stride, .dilation = dilation,
      .accumulate = accumulate, .relu = relu});
}

static gint
conv (Builder * b, gint src, const CpspConv * weights, guint stride,
    guint dilation, gboolean relu)
{
  CpspTensor *t = tensor_at (b, src);
  gint dst = add_tensor (b, t->height / stride, t->width / stride,
      weights->c_out);

  conv_into (b, src, dst, weights, stride, dilation, FALSE, relu);
  return dst;
}

// X is overwritten with the result unless the block changes its shape.
static gint
bottleneck (Builder * b, gint x, const Bottleneck * block)
{
  gint y = conv (b, x, block->conv1, 1, 1, TRUE);

  y = conv (b, y, block->conv2, block->stride, block->dilation, TRUE);
  if (block->downsample)
    x = conv (b, x, block->downsample, block->stride, 1, FALSE);
  conv_into (b, y, x, block->conv3, 1, 1, TRUE, TRUE);
  return x;
}

static gint
pyramid (Builder * b, gint feats)
{
  CpspTensor t = *tensor_at (b, feats);
  gint dst;
  CpspOp op = { .kind = CPSP_OP_PYRAMID, .skip = CPSP_NO_TENSOR };

  for (guint g = 0; g < CPSP_N_GRIDS; g++) {
    gint cells = add_tensor (b, grid_sizes[g], grid_sizes[g], t.channels);

    add_op (b, (CpspOp) {
        .kind = CPSP_OP_GRID_POOL, .src = { feats },
        .skip = CPSP_NO_TENSOR, .dst = cells});
    op.src[g] = conv (b, cells, b->network->grids[g], 1, 1, FALSE);
  }
  dst = add_tensor (b, t.height, t.width, b->network->widths.psp);
  op.dst = dst;
  add_op (b, op);
  conv_into (b, feats, dst, b->network->bottleneck, 1, 1, TRUE, TRUE);
  return dst;
}

// The transient input of the convolution that follows:
// relu (affine (concat (src, skip))).
static gint
concat (Builder * b, gint src, gint skip, guint skip_channels,
    const CpspAffine * affine, guint height, guint width)
{
  gint dst = add_tensor (b, height, width, affine->channels);

  tensor_at (b, dst)->transient = TRUE;
  add_op (b, (CpspOp) {
      .kind = CPSP_OP_CONCAT, .src = { src }, .skip = skip,
      .skip_channels = skip_channels, .dst = dst, .affine = affine});
  return dst;
}

static gint
up_block (Builder * b, gint x, gint skip, guint skip_channels,
    const UpBlock * up)
{
  guint height = 2 * tensor_at (b, x)->height;
  guint width = 2 * tensor_at (b, x)->width;
  gint y, shortcut, p;

  y = concat (b, x, skip, skip_channels, up->affine, height, width);
  y = conv (b, y, up->conv_a, 1, 1, TRUE);
  shortcut = conv (b, x, up->shortcut, 1, 1, FALSE);
  p = add_tensor (b, height, width, up->shortcut->c_out);
  add_op (b, (CpspOp) {
      .kind = CPSP_OP_UPSAMPLE, .src = { shortcut }, .skip = CPSP_NO_TENSOR,
      .dst = p});
  conv_into (b, y, p, up->conv_b, 1, 1, TRUE, FALSE);
  y = concat (b, p, CPSP_NO_TENSOR, 0, up->affine2, height, width);
  y = conv (b, y, up->conv_c, 1, 1, TRUE);
  conv_into (b, y, p, up->conv_d, 1, 1, TRUE, FALSE);
  return p;
}

static gint
head (Builder * b, gint src, gint skip, guint skip_channels,
    const CpspHead * weights)
{
  gint dst = add_plane (b, tensor_at (b, src)->height,
      tensor_at (b, src)->width);

  add_op (b, (CpspOp) {
      .kind = CPSP_OP_HEAD, .src = { src }, .skip = skip,
      .skip_channels = skip_channels, .dst = dst, .head = weights});
  return dst;
}

static void
logit_into (Builder * b, gint logit, guint factor, gboolean sigmoid, gint dst,
    guint first_channel, guint n_channels)
{
  add_op (b, (CpspOp) {
      .kind = CPSP_OP_LOGIT, .src = { logit }, .skip = CPSP_NO_TENSOR,
      .dst = dst, .factor = factor, .sigmoid = sigmoid,
      .first_channel = first_channel, .n_channels = n_channels});
}

static gint
prediction (Builder * b, gint logit, guint factor)
{
  gint plane = add_plane (b, b->params->height, b->params->width);

  logit_into (b, logit, factor, TRUE, plane, 0, 1);
  return plane;
}

// One level of the cascade [3.2.1]; levels 1 and 2 write the next level's
// masks into the input.
static void
level (Builder * b, guint number, gboolean want_p4, gint * p1, gint * p4)
{
  const CpspNetwork *network = b->network;
  gint f1, f2 = CPSP_NO_TENSOR, x, logit;

  f1 = conv (b, b->input, network->stem, 2, 1, FALSE);
  x = add_tensor (b, tensor_at (b, f1)->height / 2,
      tensor_at (b, f1)->width / 2, network->stem->c_out);
  add_op (b, (CpspOp) {
      .kind = CPSP_OP_MAX_POOL, .src = { f1 }, .skip = CPSP_NO_TENSOR,
      .dst = x, .affine = network->stem_affine});
  for (guint layer = 0; layer < 4; layer++) {
    for (guint i = 0; i < network->bottlenecks[layer]->len; i++)
      x = bottleneck (b, x, &g_array_index (network->bottlenecks[layer],
              Bottleneck, i));
    if (layer == 0)
      f2 = x;
  }
  x = pyramid (b, x);
  if (number < 3) {
    logit = head (b, x, CPSP_NO_TENSOR, 0, network->head[0]);
    logit_into (b, logit, 8, FALSE, b->input, CPSP_INPUT_MASK1,
        number == 1 ? 2 : 1);
    if (number == 1)
      return;
  }
  x = up_block (b, x, f2, tensor_at (b, f2)->channels, &network->up[0]);
  if (number == 2 || want_p4) {
    logit = head (b, x, CPSP_NO_TENSOR, 0, network->head[1]);
    if (number == 2) {
      logit_into (b, logit, 4, FALSE, b->input, CPSP_INPUT_MASK2, 1);
      return;
    }
    *p4 = prediction (b, logit, 4);
  }
  x = up_block (b, x, f1, tensor_at (b, f1)->channels, &network->up[1]);
  x = up_block (b, x, b->input, 3, &network->up[2]);
  logit = head (b, x, b->input, 3, network->head[2]);
  *p1 = prediction (b, logit, 1);
}

// FALSE if the tensor's size does not fit a gsize.
static gboolean
compute_size (CpspTensor * t, guint batch)
{
  return g_size_checked_mul (&t->size, batch, t->height) &&
      g_size_checked_mul (&t->size, t->size, t->width) &&
      g_size_checked_mul (&t->size, t->size, t->pitch) &&
      g_size_checked_mul (&t->size, t->size, cpsp_type_size (t->type));
}

// FALSE if no memory could be as large as that.
static gboolean
plan_arena (CpspProgram * program)
{
  g_autoptr (GPtrArray) tensors = g_ptr_array_new ();

  for (guint i = 0; i < program->n_tensors; i++) {
    CpspTensor *t = &program->tensors[i];

    if (!compute_size (t, program->params.batch) || t->size > G_MAXSSIZE)
      return FALSE;
    if (!(t->transient && program->params.stream_transients))
      g_ptr_array_add (tensors, t);
  }
  return cpsp_arena_place ((CpspTensor **) tensors->pdata, tensors->len,
      program->params.keep_all, &program->arena_size);
}

CpspProgram *
cpsp_program_new (CpspNetwork * network, const CpspProgramParams * params,
    GError ** error)
{
  Builder b = { network, params, NULL, NULL, CPSP_NO_TENSOR };
  CpspProgram *program;
  gint p1 = CPSP_NO_TENSOR, p4 = CPSP_NO_TENSOR;

  if (params->height == 0 || params->width == 0 || params->batch == 0 ||
      params->height % CPSP_SIZE_ALIGN || params->width % CPSP_SIZE_ALIGN) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_ARGUMENT,
        "a program of %u x %ux%u: sides must be multiples of %u and nothing 0",
        params->batch, params->width, params->height, CPSP_SIZE_ALIGN);
    return NULL;
  }
  b.ops = g_array_new (FALSE, FALSE, sizeof (CpspOp));
  b.tensors = g_array_new (FALSE, FALSE, sizeof (CpspTensor));
  b.input = add_tensor (&b, params->height, params->width,
      CPSP_INPUT_CHANNELS);
  if (params->cascade == CPSP_CASCADE_GLOBAL)
    level (&b, 1, FALSE, &p1, &p4);
  level (&b, 2, FALSE, &p1, &p4);
  level (&b, 3, params->cascade != CPSP_CASCADE_LOCAL, &p1, &p4);
  tensor_at (&b, p1)->last_op = b.ops->len - 1;
  if (p4 != CPSP_NO_TENSOR)
    tensor_at (&b, p4)->last_op = b.ops->len - 1;

  program = g_new0 (CpspProgram, 1);
  program->network = cpsp_network_ref (network);
  program->params = *params;
  program->input = b.input;
  program->p1 = p1;
  program->p4 = p4;
  program->n_ops = b.ops->len;
  program->ops = (CpspOp *) g_array_free (b.ops, FALSE);
  program->n_tensors = b.tensors->len;
  program->tensors = (CpspTensor *) g_array_free (b.tensors, FALSE);
  if (!plan_arena (program)) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_NO_MEMORY,
        "no memory for a program of %u x %ux%u", params->batch,
        params->width, params->height);
    cpsp_program_free (program);
    return NULL;
  }
  return program;
}

void
cpsp_program_free (CpspProgram * program)
{
  if (program->network)
    cpsp_network_unref (program->network);
  g_free (program->ops);
  g_free (program->tensors);
  g_free (program);
}

guint64
cpsp_program_op_macs (const CpspProgram * program, guint i)
{
  const CpspOp *op = &program->ops[i];
  const CpspTensor *dst = &program->tensors[op->dst];
  guint64 pixels = (guint64) program->params.batch * dst->height * dst->width;

  if (op->kind == CPSP_OP_CONV)
    return pixels * op->conv->c_out * op->conv->c_in * op->conv->kernel *
        op->conv->kernel;
  if (op->kind == CPSP_OP_HEAD)
    return pixels * op->head->hidden * (op->head->c_in + 1);
  return 0;
}

// Bytes of a tensor in memory; a streamed transient is never there.
static guint64
memory_bytes (const CpspProgram * program, gint tensor)
{
  const CpspTensor *t;

  if (tensor == CPSP_NO_TENSOR)
    return 0;
  t = &program->tensors[tensor];
  return t->transient && program->params.stream_transients ? 0 : t->size;
}

guint64
cpsp_program_op_bytes (const CpspProgram * program, guint i)
{
  const CpspOp *op = &program->ops[i];
  guint64 bytes = memory_bytes (program, op->dst) * (op->accumulate ? 2 : 1) +
      memory_bytes (program, op->skip);

  for (guint k = 0; k < CPSP_N_GRIDS; k++)
    bytes += memory_bytes (program, op->src[k]);
  if (op->conv)
    bytes += (guint64) op->conv->c_out * op->conv->c_in * op->conv->kernel *
        op->conv->kernel * cpsp_type_size (program->params.type);
  return bytes;
}

static void
append_tensor (GString * line, const CpspProgram * program, gint i)
{
  const CpspTensor *t = &program->tensors[i];

  g_string_append_printf (line, "%%%d %ux%ux%u", i, t->width, t->height,
      t->channels);
}

char *
cpsp_program_op_to_string (const CpspProgram * program, guint i)
{
  static const char *names[] = {
    [CPSP_OP_CONV] = "conv",[CPSP_OP_MAX_POOL] = "max-pool",
    [CPSP_OP_GRID_POOL] = "grid-pool",[CPSP_OP_PYRAMID] = "pyramid",
    [CPSP_OP_CONCAT] = "concat",[CPSP_OP_UPSAMPLE] = "upsample",
    [CPSP_OP_HEAD] = "head",[CPSP_OP_LOGIT] = "logit",
  };
  const CpspOp *op = &program->ops[i];
  GString *line = g_string_new (NULL);

  g_string_append_printf (line, "%-9s ", names[op->kind]);
  for (guint k = 0; k < CPSP_N_GRIDS && op->src[k] != CPSP_NO_TENSOR; k++) {
    if (k)
      g_string_append (line, ", ");
    append_tensor (line, program, op->src[k]);
  }
  if (op->skip != CPSP_NO_TENSOR) {
    g_string_append (line, ", ");
    append_tensor (line, program, op->skip);
    g_string_append_printf (line, "[%u]", op->skip_channels);
  }
  g_string_append (line, op->accumulate ? " +> " : " -> ");
  append_tensor (line, program, op->dst);
  if (program->tensors[op->dst].transient)
    g_string_append (line, " transient");
  if (op->kind == CPSP_OP_CONV) {
    g_string_append_printf (line, " %ux%u", op->conv->kernel,
        op->conv->kernel);
    if (op->stride > 1)
      g_string_append_printf (line, " stride %u", op->stride);
    if (op->dilation > 1)
      g_string_append_printf (line, " dilation %u", op->dilation);
    if (op->relu)
      g_string_append (line, " relu");
  }
  if (op->kind == CPSP_OP_LOGIT)
    g_string_append_printf (line, " x%u %s channels %u-%u", op->factor,
        op->sigmoid ? "sigmoid" : "tanh", op->first_channel,
        op->first_channel + op->n_channels - 1);
  if (op->conv || op->head)
    g_string_append_printf (line, " %s",
        op->conv ? op->conv->name : op->head->name);
  return g_string_free (line, FALSE);
}
