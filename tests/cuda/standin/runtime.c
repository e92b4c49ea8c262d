/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stand-in's run-time: memory, streams, graphs.
 */
#include "standin-internal.h"

#include "error.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// What cudaMalloc promises.
#define DEVICE_ALIGN 256
#define RIM 0xa5
#define POISON 0xff             // NaN as fp16 and as float

typedef struct
{
  guint8 *map;
  gsize map_size;               // without the closed page
  guint8 *data;
  gsize size;
} Block;

typedef struct
{
  gint refs;
  void (*run) (void *data);
  void (*destroy) (void *data);
  void *data;
} Work;

struct CUstream_st
{
  GQueue queue;                 // of Work
  GThread *recorder;            // NULL: it does not record
};

struct CUgraph_st
{
  GPtrArray *work;
};

struct CUgraphExec_st
{
  GPtrArray *work;
};

// Held while anything here is used: devices of several threads share it.
GRecMutex standin_lock;

static GPtrArray *blocks, *pinned, *streams;    // Block, void *, cudaStream_t
static guint graphs, execs, graph_launches;
static gboolean graphs_broken;
static guint devices = 1;
static gsize limit, used;
static guint calls, fail_at;
static const char *failed;
static cudaError_t last_error;

gboolean
standin_fails (const char *call)
{
  if (++calls != fail_at)
    return FALSE;
  failed = call;
  return TRUE;
}

void
standin_fail_at (guint n)
{
  calls = 0;
  fail_at = n;
  failed = NULL;
  last_error = cudaSuccess;
}

guint
standin_get_calls (void)
{
  return calls;
}

const char *
standin_get_failed (void)
{
  return failed;
}

void
standin_set_memory (gsize bytes)
{
  limit = bytes;
}

void
standin_set_devices (guint n)
{
  devices = n;
}

void
standin_break_graphs (gboolean break_them)
{
  graphs_broken = break_them;
}

guint
standin_get_graph_launches (void)
{
  return graph_launches;
}

static guint
length (const GPtrArray * array)
{
  return array ? array->len : 0;
}

guint
standin_get_alive (void)
{
  return length (blocks) + length (pinned) + length (streams) + graphs +
      execs + standin_cudnn_alive ();
}

// Bracket a call: the lock, and whether it is the one that fails.
#define BEGIN(call) \
  g_autoptr (GRecMutexLocker) locker = g_rec_mutex_locker_new (&standin_lock)
#define MAY_FAIL(call, status) \
  BEGIN (call); \
  if (standin_fails (#call)) \
    return last_error = status

gboolean
standin_is_device (const void *data, gsize size)
{
  const guint8 *at = data;

  for (guint i = 0; i < length (blocks); i++) {
    const Block *b = g_ptr_array_index (blocks, i);

    if (at >= b->data && at + size <= b->data + b->size)
      return TRUE;
  }
  return FALSE;
}

static gboolean
touches_device (const void *data, gsize size)
{
  const guint8 *at = data;

  for (guint i = 0; i < length (blocks); i++) {
    const Block *b = g_ptr_array_index (blocks, i);

    if (at + size > b->map && at < b->map + b->map_size)
      return TRUE;
  }
  return FALSE;
}

static void
open_memory (gboolean open)
{
  for (guint i = 0; i < length (blocks); i++) {
    const Block *b = g_ptr_array_index (blocks, i);

    mprotect (b->map, b->map_size, open ? PROT_READ | PROT_WRITE : PROT_NONE);
  }
}

static Work *
work_ref (Work * work)
{
  work->refs++;
  return work;
}

static void
work_unref (gpointer data)
{
  Work *work = data;

  if (--work->refs > 0)
    return;
  work->destroy (work->data);
  g_free (work);
}

static void
check_stream (cudaStream_t stream)
{
  if (!streams || !g_ptr_array_find (streams, stream, NULL))
    g_error ("stand-in: a stream that does not exist");
}

static void
check_no_records (const char *call)
{
  for (guint i = 0; i < length (streams); i++) {
    const struct CUstream_st *s = g_ptr_array_index (streams, i);

    // What other threads do is not its business.
    if (s->recorder == g_thread_self ())
      g_error ("stand-in: %s while a stream records", call);
  }
}

void
standin_enqueue (void *stream, void (*run) (void *data),
    void (*destroy) (void *data), void *data)
{
  struct CUstream_st *s = stream;
  Work *work = g_new (Work, 1);

  check_stream (s);
  *work = (Work) { 1, run, destroy, data };
  g_queue_push_tail (&s->queue, work);
}

int
standin_launch (void *stream, void (*run) (void *data),
    void (*destroy) (void *data), void *data)
{
  BEGIN (launch);
  if (standin_fails ("a kernel's launch")) {
    destroy (data);
    return last_error = cudaErrorLaunchFailure;
  }
  standin_enqueue (stream, run, destroy, data);
  return cudaSuccess;
}

static void
drain (struct CUstream_st *s)
{
  Work *work;

  if (g_queue_is_empty (&s->queue))
    return;
  open_memory (TRUE);
  while ((work = g_queue_pop_head (&s->queue))) {
    work->run (work->data);
    work_unref (work);
  }
  open_memory (FALSE);
}

static cudaError_t
get_device_count (int *n)
{
  MAY_FAIL (cudaGetDeviceCount, cudaErrorNoDevice);
  if (devices == 0)
    return last_error = cudaErrorNoDevice;
  *n = devices;
  return cudaSuccess;
}

static cudaError_t
get_device_properties (struct cudaDeviceProp *properties, int device)
{
  MAY_FAIL (cudaGetDeviceProperties, cudaErrorInvalidDevice);
  if (device < 0 || (guint) device >= devices)
    return last_error = cudaErrorInvalidDevice;
  memset (properties, 0, sizeof *properties);
  g_strlcpy (properties->name, "Stand-in", sizeof properties->name);
  properties->major = 8;
  return cudaSuccess;
}

static cudaError_t
driver_get_version (int *version)
{
  MAY_FAIL (cudaDriverGetVersion, cudaErrorInvalidValue);
  *version = CUDART_VERSION;
  return cudaSuccess;
}

static cudaError_t
set_device (int device)
{
  MAY_FAIL (cudaSetDevice, cudaErrorInvalidDevice);
  if (device < 0 || (guint) device >= devices)
    return last_error = cudaErrorInvalidDevice;
  return cudaSuccess;
}

static cudaError_t
device_malloc (void **data, size_t size)
{
  const gsize page = sysconf (_SC_PAGESIZE);
  gsize padded, map_size;
  Block *b;
  guint8 *map;

  MAY_FAIL (cudaMalloc, cudaErrorMemoryAllocation);
  check_no_records ("cudaMalloc");
  if (size > G_MAXSSIZE / 2 || (limit && used + size > limit))
    return last_error = cudaErrorMemoryAllocation;
  padded = (size + DEVICE_ALIGN - 1) / DEVICE_ALIGN * DEVICE_ALIGN;
  map_size = (padded + page - 1) / page * page;
  map = mmap (NULL, map_size + page, PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED)
    return last_error = cudaErrorMemoryAllocation;
  b = g_new (Block, 1);
  *b = (Block) { map, map_size, map + map_size - padded, size };
  memset (map, RIM, map_size);
  memset (b->data, POISON, size);
  mprotect (map, map_size + page, PROT_NONE);
  if (!blocks)
    blocks = g_ptr_array_new ();
  g_ptr_array_add (blocks, b);
  used += size;
  *data = b->data;
  return cudaSuccess;
}

static void
check_rim (const Block * b)
{
  mprotect (b->map, b->map_size, PROT_READ | PROT_WRITE);
  for (const guint8 * at = b->map; at < b->map + b->map_size; at++)
    if ((at < b->data || at >= b->data + b->size) && *at != RIM)
      g_error ("stand-in: written %td bytes from an allocation of %"
          G_GSIZE_FORMAT " bytes", at - b->data, b->size);
}

static cudaError_t
device_free (void *data)
{
  BEGIN (cudaFree);
  for (guint i = 0; i < length (blocks); i++) {
    Block *b = g_ptr_array_index (blocks, i);

    if (b->data != data)
      continue;
    // The real one would wait; to rely on that is no good manners.
    for (guint k = 0; k < length (streams); k++) {
      const struct CUstream_st *s = g_ptr_array_index (streams, k);

      if (!g_queue_is_empty ((GQueue *) & s->queue) && length (streams) == 1)
        g_error ("stand-in: cudaFree while work is enqueued");
    }
    check_rim (b);
    munmap (b->map, b->map_size + sysconf (_SC_PAGESIZE));
    used -= b->size;
    g_ptr_array_remove_index_fast (blocks, i);
    g_free (b);
    return cudaSuccess;
  }
  g_error ("stand-in: cudaFree of what was not allocated");
}

static cudaError_t
malloc_host (void **data, size_t size)
{
  MAY_FAIL (cudaMallocHost, cudaErrorMemoryAllocation);
  check_no_records ("cudaMallocHost");
  *data = g_try_malloc (size);
  if (!*data)
    return last_error = cudaErrorMemoryAllocation;
  memset (*data, POISON, size);
  if (!pinned)
    pinned = g_ptr_array_new ();
  g_ptr_array_add (pinned, *data);
  return cudaSuccess;
}

static cudaError_t
free_host (void *data)
{
  BEGIN (cudaFreeHost);
  if (!pinned || !g_ptr_array_remove_fast (pinned, data))
    g_error ("stand-in: cudaFreeHost of what was not allocated");
  g_free (data);
  return cudaSuccess;
}

typedef struct
{
  void *dst;
  const void *src;
  int value;
  gsize size;
} Copy;

static void
copy_run (void *data)
{
  const Copy *copy = data;

  if (copy->src)
    memcpy (copy->dst, copy->src, copy->size);
  else
    memset (copy->dst, copy->value, copy->size);
}

static cudaError_t
memcpy_async (void *dst, const void *src, size_t size,
    enum cudaMemcpyKind kind, cudaStream_t stream)
{
  gboolean to = kind == cudaMemcpyHostToDevice;

  MAY_FAIL (cudaMemcpyAsync, cudaErrorInvalidValue);
  if ((kind != cudaMemcpyHostToDevice && kind != cudaMemcpyDeviceToHost) ||
      !standin_is_device (to ? dst : src, size) ||
      touches_device (to ? src : dst, size))
    g_error ("stand-in: cudaMemcpyAsync: direction and pointers do not agree,"
        " or out of bounds");
  standin_enqueue (stream, copy_run, g_free, g_memdup2 (&(Copy) {
          .dst = dst,.src = src,.size = size}, sizeof (Copy)));
  return cudaSuccess;
}

static cudaError_t
memset_async (void *dst, int value, size_t size, cudaStream_t stream)
{
  MAY_FAIL (cudaMemsetAsync, cudaErrorInvalidValue);
  if (!standin_is_device (dst, size))
    g_error ("stand-in: cudaMemsetAsync out of bounds");
  standin_enqueue (stream, copy_run, g_free, g_memdup2 (&(Copy) {
          .dst = dst,.value = value,.size = size}, sizeof (Copy)));
  return cudaSuccess;
}

static cudaError_t
stream_create (cudaStream_t * stream, unsigned int flags)
{
  MAY_FAIL (cudaStreamCreateWithFlags, cudaErrorMemoryAllocation);
  *stream = g_new0 (struct CUstream_st, 1);
  g_queue_init (&(*stream)->queue);
  if (!streams)
    streams = g_ptr_array_new ();
  g_ptr_array_add (streams, *stream);
  return cudaSuccess;
}

static cudaError_t
stream_destroy (cudaStream_t stream)
{
  BEGIN (cudaStreamDestroy);
  check_stream (stream);
  if (!g_queue_is_empty (&stream->queue))
    g_error ("stand-in: cudaStreamDestroy while work is enqueued");
  g_ptr_array_remove_fast (streams, stream);
  g_free (stream);
  return cudaSuccess;
}

static cudaError_t
stream_synchronize (cudaStream_t stream)
{
  BEGIN (cudaStreamSynchronize);
  check_stream (stream);
  check_no_records ("cudaStreamSynchronize");
  // A failure here is one of what was enqueued: it has not run, and never
  // will.
  if (standin_fails ("cudaStreamSynchronize")) {
    g_queue_clear_full (&stream->queue, work_unref);
    return last_error = cudaErrorIllegalAddress;
  }
  drain (stream);
  return cudaSuccess;
}

static cudaError_t
stream_begin_capture (cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
  MAY_FAIL (cudaStreamBeginCapture, cudaErrorStreamCaptureUnsupported);
  check_stream (stream);
  // What was enqueued before is not recorded: it runs first.
  drain (stream);
  stream->recorder = g_thread_self ();
  return cudaSuccess;
}

static cudaError_t
stream_end_capture (cudaStream_t stream, cudaGraph_t * graph)
{
  GPtrArray *work;

  BEGIN (cudaStreamEndCapture);
  if (stream->recorder != g_thread_self ())
    g_error ("stand-in: cudaStreamEndCapture of a stream that doesn't record");
  stream->recorder = NULL;
  work = g_ptr_array_new_with_free_func (work_unref);
  while (!g_queue_is_empty (&stream->queue))
    g_ptr_array_add (work, g_queue_pop_head (&stream->queue));
  if (standin_fails ("cudaStreamEndCapture")) {
    g_ptr_array_unref (work);
    *graph = NULL;
    return last_error = cudaErrorStreamCaptureInvalidated;
  }
  *graph = g_new (struct CUgraph_st, 1);
  (*graph)->work = work;
  graphs++;
  return cudaSuccess;
}

static cudaError_t
graph_instantiate (cudaGraphExec_t * exec, cudaGraph_t graph,
    unsigned long long flags)
{
  MAY_FAIL (cudaGraphInstantiate, cudaErrorMemoryAllocation);
  *exec = g_new (struct CUgraphExec_st, 1);
  (*exec)->work = g_ptr_array_ref (graph->work);
  execs++;
  return cudaSuccess;
}

static cudaError_t
graph_destroy (cudaGraph_t graph)
{
  BEGIN (cudaGraphDestroy);
  g_ptr_array_unref (graph->work);
  g_free (graph);
  graphs--;
  return cudaSuccess;
}

static cudaError_t
graph_exec_destroy (cudaGraphExec_t exec)
{
  BEGIN (cudaGraphExecDestroy);
  g_ptr_array_unref (exec->work);
  g_free (exec);
  execs--;
  return cudaSuccess;
}

static cudaError_t
graph_launch (cudaGraphExec_t exec, cudaStream_t stream)
{
  MAY_FAIL (cudaGraphLaunch, cudaErrorLaunchFailure);
  check_stream (stream);
  for (guint i = graphs_broken; i < exec->work->len; i++)
    g_queue_push_tail (&stream->queue,
        work_ref (g_ptr_array_index (exec->work, i)));
  graph_launches++;
  return cudaSuccess;
}

static cudaError_t
get_last_error (void)
{
  cudaError_t error;

  BEGIN (cudaGetLastError);
  error = last_error;
  last_error = cudaSuccess;
  return error;
}

static const char *
get_error_string (cudaError_t error)
{
  return error == cudaErrorMemoryAllocation ? "out of memory (stand-in)" :
      error == cudaSuccess ? "no error (stand-in)" :
      "an error (stand-in)";
}

const CpspGpuApi *
cpsp_gpu_api_get (GError ** error)
{
  static CpspGpuApi api;

  BEGIN (get);
  if (devices == 0) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE,
        "no CUDA device: the stand-in has none");
    return NULL;
  }
  api = (CpspGpuApi) {
    .cudaGetDeviceCount = get_device_count,
    .cudaGetDeviceProperties = get_device_properties,
    .cudaDriverGetVersion = driver_get_version,
    .cudaSetDevice = set_device,
    .cudaMalloc = device_malloc,
    .cudaFree = device_free,
    .cudaMallocHost = malloc_host,
    .cudaFreeHost = free_host,
    .cudaMemcpyAsync = memcpy_async,
    .cudaMemsetAsync = memset_async,
    .cudaStreamCreateWithFlags = stream_create,
    .cudaStreamDestroy = stream_destroy,
    .cudaStreamSynchronize = stream_synchronize,
    .cudaStreamBeginCapture = stream_begin_capture,
    .cudaStreamEndCapture = stream_end_capture,
    .cudaGraphInstantiate = graph_instantiate,
    .cudaGraphDestroy = graph_destroy,
    .cudaGraphExecDestroy = graph_exec_destroy,
    .cudaGraphLaunch = graph_launch,
    .cudaGetLastError = get_last_error,
    .cudaGetErrorString = get_error_string,
  };
  standin_fill_cudnn (&api);
  return &api;
}
