/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The CPU backend: runs a program's operations. Convolutions are oneDNN's,
 * the rest are our own row loops, spread over threads with OpenMP (whose pool
 * oneDNN uses too).
 *
 * A transient (the wide input of an up block's convolution) is made in bands
 * of rows that stay in the cache, and never exists as a whole.
 */
#include "cpu.h"

#include "error.h"
#include "alloc.h"

#include <omp.h>
#include <stdlib.h>
#include <sys/mman.h>

// Bytes of a transient made at a time, per thread: several rows of the widest
// one, and small enough for the last-level cache of most processors.
#define BAND_SIZE (2 << 20)
// Channels that a thread pools at a time.
#define POOL_CHANNELS 64
#define HUGE_PAGE (2 << 20)

// One convolution's weights, shared by all plans of the process with the same
// layout.
typedef struct _CachedWeights CachedWeights;
struct _CachedWeights
{
  const CpspConv *conv;
  CpspType type;
  guint users;
  CpspOnednnWeights *weights;
  CachedWeights *next;
};

// What an operation needs beyond the program's own description.
typedef struct
{
  CpspOnednnConv *conv;         // CONV: of the whole image, or of a band
  CpspOnednnConv *last;         // of the last band, if that is smaller
  guint band_rows;              // rows of output per band; 0: no bands
  CachedWeights *weights, *last_weights;
  float *head_weight;           // HEAD: [c][hidden], hidden padded with zeros
  float *head_bias, *head_out;  // one allocation
  guint head_hidden;
  float *expand_weight;         // LOGIT: horizontal resize, 2 taps
  guint *expand_index;
} OpData;

struct _CpspPlan
{
  CpspDevice *device;
  const CpspProgram *program;
  const CpspKernels *kernels;
  OpData *ops;
};

// Also held while weights are converted, so that no two threads do the same.
static GMutex weights_lock;
static CachedWeights *all_weights;

// Cores that computing threads have taken, first come first served.
static GMutex cores_lock;
static GCond cores_freed;
static guint cores_used;
static guint64 cores_next_ticket, cores_serving;

void
cpsp_cpu_enter (CpspDevice * device)
{
  guint cores = omp_get_num_procs ();
  guint64 ticket;

  g_mutex_lock (&cores_lock);
  ticket = cores_next_ticket++;
  while (ticket != cores_serving ||
      cores_used + device->threads > cores)
    g_cond_wait (&cores_freed, &cores_lock);
  cores_used += device->threads;
  cores_serving++;
  g_cond_broadcast (&cores_freed);
  g_mutex_unlock (&cores_lock);
  // A setting of the calling thread; oneDNN follows it.
  device->callers_threads = omp_get_max_threads ();
  omp_set_num_threads (device->threads);
}

void
cpsp_cpu_leave (CpspDevice * device)
{
  omp_set_num_threads (device->callers_threads);
  g_mutex_lock (&cores_lock);
  cores_used -= device->threads;
  g_cond_broadcast (&cores_freed);
  g_mutex_unlock (&cores_lock);
}

gboolean
cpsp_buffer_grow (CpspBuffer * buffer, gsize size, GError ** error)
{
  // Large ones in huge pages: fewer misses of the page table's cache.
  gsize align = size >= HUGE_PAGE ? HUGE_PAGE : 64;

  void *data;

  if (size <= buffer->size)
    return TRUE;
  size = (size + align - 1) / align * align;
  data = aligned_alloc (align, size);
  if (!data) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_NO_MEMORY,
        "no memory for a buffer of %" G_GSIZE_FORMAT " bytes", size);
    return FALSE;
  }
#ifdef MADV_HUGEPAGE
  if (align == HUGE_PAGE)
    madvise (data, size, MADV_HUGEPAGE);
#endif
  free (buffer->data);
  buffer->data = data;
  buffer->size = size;
  return TRUE;
}

void
cpsp_buffer_clear (CpspBuffer * buffer)
{
  free (buffer->data);
  *buffer = (CpspBuffer) { 0 };
}

// Floats from thread to thread: no two write the same cache line, and what is
// read behind a row's end belongs to its thread.
static gsize
row_stride (gsize n)
{
  return (n + CPSP_GATHER_SLACK + 15) / 16 * 16;
}

gboolean
cpsp_cpu_rows (CpspDevice * device, gsize n, GError ** error)
{
  return cpsp_buffer_grow (&device->rows, row_stride (n) *
      device->threads * sizeof (float), error);
}

float *
cpsp_cpu_row (CpspDevice * device, gsize n)
{
  return (float *) device->rows.data + row_stride (n) *
      omp_get_thread_num ();
}

guint8 *
cpsp_cpu_tensor (const CpspPlan * plan, gint tensor, guint slot)
{
  const CpspTensor *t = &plan->program->tensors[tensor];

  return (guint8 *) plan->device->arena.data + t->offset +
      t->size / plan->program->params.batch * slot;
}

CpspDevice *
cpsp_cpu_plan_get_device (const CpspPlan * plan)
{
  return plan->device;
}

const CpspProgram *
cpsp_cpu_plan_get_program (const CpspPlan * plan)
{
  return plan->program;
}

const CpspKernels *
cpsp_cpu_plan_get_kernels (const CpspPlan * plan)
{
  return plan->kernels;
}

static void
cpu_close (CpspDevice * device)
{
  if (device->onednn)
    cpsp_onednn_free (device->onednn);
  cpsp_buffer_clear (&device->arena);
  cpsp_buffer_clear (&device->band);
  cpsp_buffer_clear (&device->scratch);
  cpsp_buffer_clear (&device->rows);
  for (guint i = 0; i < G_N_ELEMENTS (device->taps); i++) {
    cpsp_buffer_clear (&device->taps[i].index_memory);
    cpsp_buffer_clear (&device->taps[i].weight_memory);
  }
  g_free (device);
}

static CpspDevice *
cpu_open (const CpspDeviceParams * params, GError ** error)
{
  CpspDevice *device = g_new0 (CpspDevice, 1);

  // More threads than cores only wait for each other.
  device->threads = omp_get_num_procs ();
  if (params->threads)
    device->threads = MIN (params->threads, device->threads);
  device->onednn = cpsp_onednn_new (error);
  if (!device->onednn) {
    cpu_close (device);
    return NULL;
  }
  return device;
}

static gboolean
has_bf16 (void)
{
#if defined (__x86_64__) && defined (__GNUC__)
  return __builtin_cpu_supports ("avx512bf16");
#else
  return FALSE;
#endif
}

static void
cpu_describe (CpspDevice * device, CpspDeviceInfo * info)
{
  *info = (CpspDeviceInfo) {
    .types = 1 << CPSP_TYPE_F32,
    .fastest_type = CPSP_TYPE_F32,
    .batch = 1,
    .streams_transients = TRUE,
    .memory = device->arena.size + device->band.size + device->scratch.size +
        device->rows.size + device->planes_size,
  };
  g_snprintf (info->name, sizeof info->name, "CPU, %u threads, %s",
      device->threads, cpsp_onednn_version ());
  if (has_bf16 ()) {
    info->types |= 1 << CPSP_TYPE_BF16;
    info->fastest_type = CPSP_TYPE_BF16;
  }
}

static void
weights_release (CachedWeights * cached)
{
  CachedWeights **link = &all_weights;

  g_mutex_lock (&weights_lock);
  if (--cached->users == 0) {
    while (*link != cached)
      link = &(*link)->next;
    *link = cached->next;
    cpsp_onednn_weights_free (cached->weights);
    g_free (cached);
  }
  g_mutex_unlock (&weights_lock);
}

// CONV's weights in the layout that PRIMITIVE wants, with zeros for the
// padding channels.
static CpspOnednnWeights *
convert_weights (CpspDevice * device, const CpspConv * conv,
    const CpspOnednnShape * shape, const CpspOnednnConv * primitive,
    GError ** error)
{
  gsize taps = conv->kernel * conv->kernel;
  g_autofree float *weight = NULL;
  g_autofree float *bias = NULL;

  weight = cpsp_allocate ((gsize) shape->c_out * shape->c_in * taps,
      sizeof (float), conv->name, error);
  if (!weight)
    return NULL;
  for (guint o = 0; o < conv->c_out; o++)
    memcpy (weight + o * shape->c_in * taps,
        conv->weight + o * conv->c_in * taps,
        conv->c_in * taps * sizeof (float));
  if (conv->bias) {
    bias = cpsp_allocate (shape->c_out, sizeof (float), conv->name, error);
    if (!bias)
      return NULL;
    memcpy (bias, conv->bias, conv->c_out * sizeof (float));
  }
  return cpsp_onednn_weights_new (device->onednn, primitive, weight, bias,
      error);
}

static CachedWeights *
weights_get (CpspDevice * device, const CpspConv * conv, CpspType type,
    const CpspOnednnShape * shape, const CpspOnednnConv * primitive,
    GError ** error)
{
  CachedWeights *cached;
  CpspOnednnWeights *weights;

  g_mutex_lock (&weights_lock);
  for (cached = all_weights; cached; cached = cached->next)
    if (cached->conv == conv && cached->type == type &&
        cpsp_onednn_weights_fit (cached->weights, primitive))
      break;
  if (!cached && (weights = convert_weights (device, conv, shape, primitive,
              error))) {
    cached = g_new (CachedWeights, 1);
    *cached = (CachedWeights) { conv, type, 0, weights, all_weights };
    all_weights = cached;
  }
  if (cached)
    cached->users++;
  g_mutex_unlock (&weights_lock);
  return cached;
}

static gsize
row_size (const CpspTensor * t)
{
  return (gsize) t->width * t->pitch * cpsp_type_size (t->type);
}

// Rows above and below that a convolution reads.
static guint
halo_rows (const CpspOp * op)
{
  return op->dilation * (op->conv->kernel - 1) / 2;
}

static gboolean
streams (const CpspPlan * plan, gint tensor)
{
  return plan->program->tensors[tensor].transient &&
      plan->program->params.stream_transients;
}

static gboolean
prepare_conv (CpspPlan * plan, const CpspOp * op, OpData * data,
    GError ** error)
{
  CpspDevice *device = plan->device;
  const CpspTensor *src = &plan->program->tensors[op->src[0]];
  const CpspTensor *dst = &plan->program->tensors[op->dst];
  guint halo = halo_rows (op);
  CpspOnednnShape shape = {
    .type = plan->program->params.type,
    .batch = plan->program->params.batch,
    .c_in = src->pitch,.c_out = dst->pitch,
    .src_height = src->height,.src_width = src->width,
    .dst_height = dst->height,.dst_width = dst->width,
    .kernel = op->conv->kernel,.stride = op->stride,
    .dilation = op->dilation,
    .pad_rows = halo,.pad_columns = halo,
    .bias = op->conv->bias != NULL,
    .accumulate = op->accumulate,.relu = op->relu,
  };
  gsize scratch;

  if (streams (plan, op->src[0])) {
    data->band_rows = MIN (dst->height, MAX (2 * device->threads,
            BAND_SIZE * device->threads / row_size (src)));
    if (!cpsp_buffer_grow (&device->band,
            (data->band_rows + 2 * halo) * row_size (src), error))
      return FALSE;
    shape.batch = 1;
    shape.pad_rows = 0;
    if (dst->height % data->band_rows) {
      shape.dst_height = dst->height % data->band_rows;
      shape.src_height = shape.dst_height + 2 * halo;
      data->last = cpsp_onednn_conv_new (device->onednn, &shape, error);
      if (!data->last)
        return FALSE;
    }
    shape.dst_height = data->band_rows;
    shape.src_height = shape.dst_height + 2 * halo;
  }
  data->conv = cpsp_onednn_conv_new (device->onednn, &shape, error);
  if (!data->conv)
    return FALSE;
  data->weights = weights_get (device, op->conv, shape.type, &shape,
      data->conv, error);
  if (!data->weights)
    return FALSE;
  scratch = cpsp_onednn_conv_get_scratch (data->conv);
  if (data->last) {
    data->last_weights = weights_get (device, op->conv, shape.type, &shape,
        data->last, error);
    if (!data->last_weights)
      return FALSE;
    scratch = MAX (scratch, cpsp_onednn_conv_get_scratch (data->last));
  }
  return cpsp_buffer_grow (&device->scratch, scratch, error);
}

static gboolean
prepare_head (const CpspHead * head, OpData * data, GError ** error)
{
  guint hidden = (head->hidden + CPSP_HEAD_BLOCK - 1) / CPSP_HEAD_BLOCK *
      CPSP_HEAD_BLOCK;

  data->head_hidden = hidden;
  data->head_weight = cpsp_allocate ((gsize) head->c_in * hidden,
      sizeof (float), head->name, error);
  data->head_bias = data->head_weight ? cpsp_allocate (2 * (gsize) hidden,
      sizeof (float), head->name, error) : NULL;
  if (!data->head_bias)
    return FALSE;
  data->head_out = data->head_bias + hidden;
  for (guint h = 0; h < head->hidden; h++) {
    for (guint c = 0; c < head->c_in; c++)
      data->head_weight[(gsize) c * hidden + h] =
          head->weight[(gsize) h * head->c_in + c];
    data->head_bias[h] = head->bias[h];
    data->head_out[h] = head->out_weight[h];
  }
  return TRUE;
}

// Where output I of a resize from N_SRC to N_DST elements (half-pixel centres,
// borders clamped) lies: between elements *first and *second, weight *t of the
// second.
static void
locate (guint i, guint n_dst, guint n_src, guint * first, guint * second,
    float *t)
{
  float position = MAX ((i + 0.5f) * n_src / n_dst - 0.5f, 0);

  *first = MIN ((guint) position, n_src - 1);
  *second = MIN (*first + 1, n_src - 1);
  *t = position - *first;
}

static gboolean
prepare_logit (const CpspOp * op, guint src_width, OpData * data,
    GError ** error)
{
  guint n = src_width * op->factor;

  data->expand_weight = cpsp_allocate (2 * (gsize) n, sizeof (float),
      "a resize", error);
  data->expand_index = data->expand_weight ? cpsp_allocate (2 * (gsize) n,
      sizeof (guint), "a resize", error) : NULL;
  if (!data->expand_index)
    return FALSE;
  for (guint i = 0; i < n; i++) {
    locate (i, n, src_width, &data->expand_index[i],
        &data->expand_index[n + i], &data->expand_weight[n + i]);
    data->expand_weight[i] = 1 - data->expand_weight[n + i];
  }
  return TRUE;
}

// Floats of a thread's row that OP needs.
static gsize
row_floats (const CpspPlan * plan, const CpspOp * op)
{
  const CpspTensor *src = &plan->program->tensors[op->src[0]];

  switch (op->kind) {
    case CPSP_OP_GRID_POOL:
      return POOL_CHANNELS;
    case CPSP_OP_PYRAMID:{
      gsize n = 0;

      for (guint g = 0; g < CPSP_N_GRIDS; g++)
        n += (gsize) plan->program->tensors[op->src[g]].width *
            plan->program->tensors[op->src[g]].pitch;
      return n;
    }
    case CPSP_OP_CONCAT:
    case CPSP_OP_UPSAMPLE:
      return (gsize) src->width * src->pitch;
    case CPSP_OP_LOGIT:
      return (gsize) src->width * (op->factor + 1) + CPSP_GATHER_SLACK;
    default:
      return 0;
  }
}

static void
cpu_plan_free (CpspPlan * plan)
{
  for (guint i = 0; i < plan->program->n_ops; i++) {
    OpData *data = &plan->ops[i];

    if (data->weights)
      weights_release (data->weights);
    if (data->last_weights)
      weights_release (data->last_weights);
    if (data->conv)
      cpsp_onednn_conv_free (data->conv);
    if (data->last)
      cpsp_onednn_conv_free (data->last);
    g_free (data->head_weight);
    g_free (data->head_bias);
    g_free (data->expand_weight);
    g_free (data->expand_index);
  }
  g_free (plan->ops);
  g_free (plan);
}

static CpspPlan *
cpu_plan_new (CpspDevice * device, const CpspProgram * program,
    GError ** error)
{
  CpspPlan *plan = g_new0 (CpspPlan, 1);
  gboolean ok;

  plan->device = device;
  plan->program = program;
  plan->kernels = program->params.type == CPSP_TYPE_BF16 ?
      &cpsp_kernels_bf16 : &cpsp_kernels_f32;
  plan->ops = g_new0 (OpData, program->n_ops);

  // oneDNN prepares for as many threads as it will run on.
  cpsp_cpu_enter (device);
  // Nothing in the arena is kept: there need never be two.
  if (program->arena_size > device->arena.size)
    cpsp_buffer_clear (&device->arena);
  ok = cpsp_buffer_grow (&device->arena, program->arena_size, error);
  for (guint i = 0; ok && i < program->n_ops; i++) {
    const CpspOp *op = &program->ops[i];

    if (op->kind == CPSP_OP_CONV)
      ok = prepare_conv (plan, op, &plan->ops[i], error);
    else if (op->kind == CPSP_OP_HEAD)
      ok = prepare_head (op->head, &plan->ops[i], error);
    else if (op->kind == CPSP_OP_LOGIT)
      ok = prepare_logit (op, program->tensors[op->src[0]].width,
          &plan->ops[i], error);
    ok = ok && cpsp_cpu_rows (device, row_floats (plan, op), error);
  }
  cpsp_cpu_leave (device);
  if (!ok) {
    cpu_plan_free (plan);
    return NULL;
  }
  return plan;
}

// Row Y of CONCAT's result, at DST.
static void
concat_row (const CpspPlan * plan, const CpspOp * op, guint slot, guint y,
    guint8 * dst)
{
  const CpspKernels *k = plan->kernels;
  const CpspTensor *src = &plan->program->tensors[op->src[0]];
  const CpspTensor *out = &plan->program->tensors[op->dst];
  const guint8 *from = cpsp_cpu_tensor (plan, op->src[0], slot);
  const CpspAffine *affine = op->affine;

  if (out->height == src->height) {
    k->affine_row (dst, out->pitch, from + y * row_size (src), src->pitch,
        src->width, src->channels, affine->scale, affine->shift);
  } else {
    gsize n = (gsize) src->width * src->pitch;
    float *row = cpsp_cpu_row (plan->device, n);
    guint first, second;
    float t;

    locate (y, out->height, src->height, &first, &second, &t);
    k->mix_rows (row, from + first * row_size (src),
        from + second * row_size (src), t, n);
    k->upsample_row (dst, out->pitch, row, src->pitch, src->width,
        src->channels, affine->scale, affine->shift);
  }
  if (op->skip != CPSP_NO_TENSOR) {
    const CpspTensor *skip = &plan->program->tensors[op->skip];

    k->affine_row (dst + src->channels * k->size, out->pitch,
        cpsp_cpu_tensor (plan, op->skip, slot) + y * row_size (skip),
        skip->pitch, skip->width, op->skip_channels,
        affine->scale + src->channels, affine->shift + src->channels);
  }
  k->zero_channels (dst, out->pitch, out->channels, out->width);
}

static void
run_concat (const CpspPlan * plan, const CpspOp * op)
{
  const CpspTensor *dst = &plan->program->tensors[op->dst];

#pragma omp parallel for collapse(2) schedule(static)
  for (guint n = 0; n < plan->program->params.batch; n++)
    for (guint y = 0; y < dst->height; y++)
      concat_row (plan, op, n, y, cpsp_cpu_tensor (plan, op->dst, n) +
          y * row_size (dst));
}

// The convolution OP of the transient that CONCAT describes, band by band.
static gboolean
run_bands (const CpspPlan * plan, const CpspOp * concat, const CpspOp * op,
    const OpData * data, GError ** error)
{
  const CpspTensor *src = &plan->program->tensors[op->src[0]];
  const CpspTensor *dst = &plan->program->tensors[op->dst];
  guint8 *band = plan->device->band.data;
  gsize src_row = row_size (src);
  guint halo = halo_rows (op);

  for (guint n = 0; n < plan->program->params.batch; n++)
    for (guint y0 = 0; y0 < dst->height; y0 += data->band_rows) {
      guint rows = MIN (data->band_rows, dst->height - y0);
      gboolean full = rows == data->band_rows;
      // The band's row j is the image's y0 + j - halo. What the previous
      // band ended with begins this one.
      guint kept = y0 > 0 ? 2 * halo : 0;

      memmove (band, band + data->band_rows * src_row, kept * src_row);
#pragma omp parallel for schedule(static)
      for (guint j = kept; j < rows + 2 * halo; j++) {
        guint8 *row = band + j * src_row;

        if (y0 + j < halo || y0 + j - halo >= src->height)
          memset (row, 0, src_row);
        else
          concat_row (plan, concat, n, y0 + j - halo, row);
      }
      if (!cpsp_onednn_conv_run (plan->device->onednn,
              full ? data->conv : data->last, full ? data->weights->weights :
              data->last_weights->weights, band,
              cpsp_cpu_tensor (plan, op->dst, n) + y0 * row_size (dst),
              plan->device->scratch.data, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
run_conv (const CpspPlan * plan, guint i, GError ** error)
{
  const CpspOp *op = &plan->program->ops[i];
  const OpData *data = &plan->ops[i];

  if (streams (plan, op->src[0]))
    return run_bands (plan, op - 1, op, data, error);
  return cpsp_onednn_conv_run (plan->device->onednn, data->conv,
      data->weights->weights, cpsp_cpu_tensor (plan, op->src[0], 0),
      cpsp_cpu_tensor (plan, op->dst, 0), plan->device->scratch.data, error);
}

static void
run_max_pool (const CpspPlan * plan, const CpspOp * op)
{
  const CpspTensor *src = &plan->program->tensors[op->src[0]];
  const CpspTensor *dst = &plan->program->tensors[op->dst];

#pragma omp parallel for collapse(2) schedule(static)
  for (guint n = 0; n < plan->program->params.batch; n++)
    for (guint y = 0; y < dst->height; y++) {
      const guint8 *mid = cpsp_cpu_tensor (plan, op->src[0], n) +
          2 * y * row_size (src);
      const void *rows[3] = {
        y > 0 ? mid - row_size (src) : NULL, mid,
        2 * y + 1 < src->height ? mid + row_size (src) : NULL,
      };

      plan->kernels->max_pool_row (cpsp_cpu_tensor (plan, op->dst, n) +
          y * row_size (dst), rows, src->pitch, src->width, dst->width,
          src->channels, op->affine->scale, op->affine->shift);
    }
}

static void
run_grid_pool (const CpspPlan * plan, const CpspOp * op)
{
  const CpspKernels *k = plan->kernels;
  const CpspTensor *src = &plan->program->tensors[op->src[0]];
  const CpspTensor *dst = &plan->program->tensors[op->dst];
  guint blocks = (src->pitch + POOL_CHANNELS - 1) / POOL_CHANNELS;

#pragma omp parallel for collapse(2) schedule(static)
  for (guint n = 0; n < plan->program->params.batch; n++)
    for (guint block = 0; block < blocks; block++) {
      const guint8 *from = cpsp_cpu_tensor (plan, op->src[0], n) +
          block * POOL_CHANNELS * k->size;
      guint8 *to = cpsp_cpu_tensor (plan, op->dst, n) +
          block * POOL_CHANNELS * k->size;
      guint channels = MIN (POOL_CHANNELS,
          src->pitch - block * POOL_CHANNELS);
      float *sum = cpsp_cpu_row (plan->device, POOL_CHANNELS);

      for (guint i = 0; i < dst->height * dst->width; i++) {
        guint row = i / dst->width, column = i % dst->width;
        guint y0 = row * src->height / dst->height;
        guint y1 = ((row + 1) * src->height + dst->height - 1) / dst->height;
        guint x0 = column * src->width / dst->width;
        guint x1 = ((column + 1) * src->width + dst->width - 1) / dst->width;

        memset (sum, 0, POOL_CHANNELS * sizeof (float));
        for (guint y = y0; y < y1; y++)
          k->sum_pixels (sum, from + y * row_size (src) +
              x0 * src->pitch * k->size, src->pitch, x1 - x0, channels);
        k->store_scaled (to + i * dst->pitch * k->size, sum,
            1.0f / ((y1 - y0) * (x1 - x0)), channels);
      }
    }
}

static void
run_pyramid (const CpspPlan * plan, const CpspOp * op)
{
  const CpspKernels *k = plan->kernels;
  const CpspTensor *dst = &plan->program->tensors[op->dst];
  gsize floats = row_floats (plan, op);

#pragma omp parallel for collapse(2) schedule(static)
  for (guint n = 0; n < plan->program->params.batch; n++)
    for (guint y = 0; y < dst->height; y++) {
      guint8 *to = cpsp_cpu_tensor (plan, op->dst, n) + y * row_size (dst);
      float *rows[CPSP_N_GRIDS];
      float *row = cpsp_cpu_row (plan->device, floats);

      // Each grid at this row's height ...
      for (guint g = 0; g < CPSP_N_GRIDS; g++) {
        const CpspTensor *src = &plan->program->tensors[op->src[g]];
        const guint8 *from = cpsp_cpu_tensor (plan, op->src[g], n);
        guint first, second;
        float t;

        locate (y, dst->height, src->height, &first, &second, &t);
        rows[g] = row;
        k->mix_rows (row, from + first * row_size (src),
            from + second * row_size (src), t,
            (gsize) src->width * src->pitch);
        row += (gsize) src->width * src->pitch;
      }
      // ... and at each of its pixels.
      for (guint x = 0; x < dst->width; x++) {
        const float *cells[CPSP_SUM_ROWS];
        float weights[CPSP_SUM_ROWS];

        for (guint g = 0; g < CPSP_N_GRIDS; g++) {
          const CpspTensor *src = &plan->program->tensors[op->src[g]];
          guint first, second;

          locate (x, dst->width, src->width, &first, &second,
              &weights[2 * g + 1]);
          cells[2 * g] = rows[g] + first * src->pitch;
          cells[2 * g + 1] = rows[g] + second * src->pitch;
          weights[2 * g] = 1 - weights[2 * g + 1];
        }
        k->sum_rows (to + x * dst->pitch * k->size, cells, weights,
            dst->pitch);
      }
    }
}

static void
run_upsample (const CpspPlan * plan, const CpspOp * op)
{
  const CpspKernels *k = plan->kernels;
  const CpspTensor *src = &plan->program->tensors[op->src[0]];
  const CpspTensor *dst = &plan->program->tensors[op->dst];
  gsize floats = (gsize) src->width * src->pitch;

#pragma omp parallel for collapse(2) schedule(static)
  for (guint n = 0; n < plan->program->params.batch; n++)
    for (guint y = 0; y < dst->height; y++) {
      const guint8 *from = cpsp_cpu_tensor (plan, op->src[0], n);
      float *row = cpsp_cpu_row (plan->device, floats);
      guint first, second;
      float t;

      locate (y, dst->height, src->height, &first, &second, &t);
      k->mix_rows (row, from + first * row_size (src),
          from + second * row_size (src), t, floats);
      k->upsample_row (cpsp_cpu_tensor (plan, op->dst, n) +
          y * row_size (dst), dst->pitch, row, src->pitch, src->width,
          dst->pitch, NULL, NULL);
    }
}

static void
run_head (const CpspPlan * plan, const CpspOp * op, const OpData * data)
{
  const CpspTensor *src = &plan->program->tensors[op->src[0]];
  const CpspTensor *dst = &plan->program->tensors[op->dst];
  const CpspTensor *skip = op->skip == CPSP_NO_TENSOR ? NULL :
      &plan->program->tensors[op->skip];

#pragma omp parallel for collapse(2) schedule(static)
  for (guint n = 0; n < plan->program->params.batch; n++)
    for (guint y = 0; y < dst->height; y++)
      plan->kernels->head_row ((float *) (cpsp_cpu_tensor (plan, op->dst, n) +
              y * row_size (dst)), cpsp_cpu_tensor (plan, op->src[0], n) +
          y * row_size (src), src->pitch, src->channels,
          skip ? cpsp_cpu_tensor (plan, op->skip, n) + y * row_size (skip) :
          NULL, skip ? skip->pitch : 0, skip ? op->skip_channels : 0,
          dst->width, data->head_hidden, data->head_weight, data->head_bias,
          data->head_out, op->head->out_bias);
}

static void
run_logit (const CpspPlan * plan, const CpspOp * op, const OpData * data)
{
  const CpspTensor *src = &plan->program->tensors[op->src[0]];
  const CpspTensor *dst = &plan->program->tensors[op->dst];
  const CpspKernels *k = dst->type == CPSP_TYPE_F32 ? &cpsp_kernels_f32 :
      plan->kernels;
  gsize floats = row_floats (plan, op);

#pragma omp parallel for collapse(2) schedule(static)
  for (guint n = 0; n < plan->program->params.batch; n++)
    for (guint y = 0; y < dst->height; y++) {
      const float *from = (float *) cpsp_cpu_tensor (plan, op->src[0], n);
      guint8 *to = cpsp_cpu_tensor (plan, op->dst, n) + y * row_size (dst);
      float *mixed = cpsp_cpu_row (plan->device, floats);
      float *row = mixed + src->width + CPSP_GATHER_SLACK;
      guint first, second;
      float t;

      locate (y, dst->height, src->height, &first, &second, &t);
      cpsp_kernels_f32.mix_rows (mixed, from + (gsize) first * src->width,
          from + (gsize) second * src->width, t, src->width);
      cpsp_gather_floats (row, mixed, 0, data->expand_index,
          data->expand_weight, 2, dst->width);
      if (op->sigmoid)
        cpsp_sigmoid_row (row, dst->width);
      else
        cpsp_tanh_row (row, dst->width);
      k->store_channels (to + op->first_channel * k->size, dst->pitch,
          op->n_channels, (const float *const[3]) { row, row, row },
          dst->width);
    }
}

static gboolean
cpu_plan_run (CpspPlan * plan, guint first, guint n, GError ** error)
{
  gboolean ok = TRUE;

  cpsp_cpu_enter (plan->device);
  for (guint i = first; ok && i < first + n; i++) {
    const CpspOp *op = &plan->program->ops[i];

    switch (op->kind) {
      case CPSP_OP_CONV:
        ok = run_conv (plan, i, error);
        break;
      case CPSP_OP_MAX_POOL:
        run_max_pool (plan, op);
        break;
      case CPSP_OP_GRID_POOL:
        run_grid_pool (plan, op);
        break;
      case CPSP_OP_PYRAMID:
        run_pyramid (plan, op);
        break;
      case CPSP_OP_CONCAT:
        if (!streams (plan, op->dst))
          run_concat (plan, op);
        break;
      case CPSP_OP_UPSAMPLE:
        run_upsample (plan, op);
        break;
      case CPSP_OP_HEAD:
        run_head (plan, op, &plan->ops[i]);
        break;
      case CPSP_OP_LOGIT:
        run_logit (plan, op, &plan->ops[i]);
        break;
    }
  }
  cpsp_cpu_leave (plan->device);
  return ok;
}

static gboolean
cpu_tensor_write (CpspPlan * plan, guint tensor, const float *values,
    GError ** error)
{
  const CpspTensor *t = &plan->program->tensors[tensor];
  const CpspKernels *k = t->type == CPSP_TYPE_BF16 ? &cpsp_kernels_bf16 :
      &cpsp_kernels_f32;
  gsize pixels = (gsize) plan->program->params.batch * t->height * t->width;
  guint8 *to = cpsp_cpu_tensor (plan, tensor, 0);

  (void) error;
  for (gsize i = 0; i < pixels; i++) {
    k->store_scaled (to, values + i * t->channels, 1, t->channels);
    k->zero_channels (to, t->pitch, t->channels, 1);
    to += t->pitch * k->size;
  }
  return TRUE;
}

static gboolean
cpu_tensor_read (CpspPlan * plan, guint tensor, float *values,
    GError ** error)
{
  const CpspTensor *t = &plan->program->tensors[tensor];
  const CpspKernels *k = t->type == CPSP_TYPE_BF16 ? &cpsp_kernels_bf16 :
      &cpsp_kernels_f32;
  gsize pixels = (gsize) plan->program->params.batch * t->height * t->width;
  const guint8 *from = cpsp_cpu_tensor (plan, tensor, 0);

  (void) error;
  for (gsize i = 0; i < pixels; i++)
    k->load (values + i * t->channels, from + i * t->pitch * k->size,
        t->channels);
  return TRUE;
}

static gboolean
cpu_synchronise (CpspDevice * device, GError ** error)
{
  // Every call has done its work when it returns.
  (void) device;
  (void) error;
  return TRUE;
}

const CpspBackend cpsp_backend_cpu = {
  .name = "cpu",
  .open = cpu_open,
  .close = cpu_close,
  .describe = cpu_describe,
  .plan_new = cpu_plan_new,
  .plan_free = cpu_plan_free,
  .plan_run = cpu_plan_run,
  .tensor_write = cpu_tensor_write,
  .tensor_read = cpu_tensor_read,
  .plane_new = cpsp_cpu_plane_new,
  .plane_free = cpsp_cpu_plane_free,
  .plane_clear = cpsp_cpu_plane_clear,
  .plane_map = cpsp_cpu_plane_map,
  .set_frame = cpsp_cpu_set_frame,
  .load_image = cpsp_cpu_load_image,
  .load_coarse = cpsp_cpu_load_coarse,
  .load_masks = cpsp_cpu_load_masks,
  .store = cpsp_cpu_store,
  .accumulate = cpsp_cpu_accumulate,
  .finish_alpha = cpsp_cpu_finish_alpha,
  .finish_plane = cpsp_cpu_finish_plane,
  .synchronise = cpu_synchronise,
};
