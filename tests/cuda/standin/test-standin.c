/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stand-in is only worth what it finds: each mistake that a backend could
 * make, made on purpose in a child process, must end it with the message that
 * belongs to it; what is right must not.
 */
#include "conv.h"
#include "error.h"
#include "gpu.h"
#include "standin.h"

#include <string.h>

#define SIZE 1000               // bytes; not a multiple of anything

static const CpspGpuApi *api;
static cudaStream_t stream;
static guint8 *device, host[SIZE];

static void
nothing (void *data)
{
}

// A kernel that writes one byte behind the end.
static void
write_behind (void *data)
{
  ((guint8 *) data)[SIZE] = 1;
}

static void
send (void *dst, gsize size)
{
  api->cudaMemcpyAsync (dst, host, size, cudaMemcpyHostToDevice, stream);
}

// The mistakes

static void
touch_from_host (void)
{
  device[0] = 1;
}

static void
send_too_much (void)
{
  send (device, SIZE + 1);
}

static void
send_the_wrong_way (void)
{
  api->cudaMemcpyAsync (host, device, SIZE, cudaMemcpyHostToDevice, stream);
}

static void
free_too_early (void)
{
  send (device, SIZE);
  api->cudaFree (device);
}

static void
free_twice (void)
{
  api->cudaFree (device);
  api->cudaFree (device);
}

static void
write_out_of_bounds (void)
{
  standin_launch (stream, write_behind, nothing, device);
  api->cudaStreamSynchronize (stream);
  api->cudaFree (device);
}

static void
allocate_while_recording (void)
{
  void *more;

  api->cudaStreamBeginCapture (stream, cudaStreamCaptureModeThreadLocal);
  api->cudaMalloc (&more, SIZE);
}

static void
wait_while_recording (void)
{
  api->cudaStreamBeginCapture (stream, cudaStreamCaptureModeThreadLocal);
  api->cudaStreamSynchronize (stream);
}

// A convolution of 8 channels on 4 x 4 pixels in fp16: 256 bytes in and out,
// weights of 128 and a bias of 16, then a workspace of a page.
enum
{
  AT_X = 0,
  AT_WEIGHT = 256,
  AT_BIAS = 384,
  AT_Y = 512,
  AT_WORKSPACE = 768,
  CONV_SIZE = 768 + 4096,
};

static void
convolve (const void *x, guint8 * memory, guint8 * y)
{
  const CpspConvShape shape = {
    .type = CPSP_TYPE_F16,.batch = 1,.height = 4,.width = 4,.c_in = 8,
    .c_out = 8,.kernel = 1,.stride = 1,.dilation = 1,
  };
  CpspConvTarget target = {.workspace_limit = 1 << 20 };
  CpspConvMemory where = {
    .x = x,.weight = memory + AT_WEIGHT,.bias = memory + AT_BIAS,.y = y,
    .workspace = memory + AT_WORKSPACE,
  };
  CpspConvPlan *plan;

  api->cudnnCreate (&target.handle);
  api->cudnnSetStream (target.handle, stream);
  plan = cpsp_conv_plan_new (api, &target, &shape, NULL);
  g_assert_nonnull (plan);
  g_assert_true (cpsp_conv_plan_run (plan, target.handle, &where, NULL));
  api->cudaStreamSynchronize (stream);
  cpsp_conv_plan_free (plan);
  api->cudnnDestroy (target.handle);
}

static guint8 *
conv_memory (void)
{
  void *memory;

  api->cudaMalloc (&memory, CONV_SIZE);
  return memory;
}

static void
convolve_host_memory (void)
{
  guint8 *memory = conv_memory ();

  convolve (host, memory, memory + AT_Y);
}

static void
convolve_in_place (void)
{
  guint8 *memory = conv_memory ();

  convolve (memory + AT_X, memory, memory + AT_X);
}

static void
convolve_misaligned (void)
{
  guint8 *memory = conv_memory ();

  convolve (memory + AT_X + 2, memory, memory + AT_Y);
}

static void
convolve_beyond_the_end (void)
{
  guint8 *memory = conv_memory ();

  convolve (memory + AT_X, memory, memory + CONV_SIZE - 128);
}

typedef struct
{
  const char *name;
  void (*make) (void);
  const char *message;          // NULL: any end will do
} Mistake;

static const Mistake mistakes[] = {
  {"touch-from-host", touch_from_host, NULL},
  {"send-too-much", send_too_much, "*out of bounds*"},
  {"send-the-wrong-way", send_the_wrong_way, "*do not agree*"},
  {"free-too-early", free_too_early, "*while work is enqueued*"},
  {"free-twice", free_twice, "*was not allocated*"},
  {"write-out-of-bounds", write_out_of_bounds, "*written 1000 bytes from*"},
  {"allocate-while-recording", allocate_while_recording, "*cudaMalloc while*"},
  {"wait-while-recording", wait_while_recording, "*Synchronize while*"},
  {"convolve-host-memory", convolve_host_memory, "*tensor 1 is not*"},
  {"convolve-in-place", convolve_in_place, "*overlaps tensor 1*"},
  {"convolve-misaligned", convolve_misaligned, "*tensor 1 is not aligned*"},
  {"convolve-beyond-the-end", convolve_beyond_the_end, "*tensor 5 is not*"},
};

static void
setup (void)
{
  void *memory;

  api = cpsp_gpu_api_get (NULL);
  api->cudaStreamCreateWithFlags (&stream, cudaStreamNonBlocking);
  api->cudaMalloc (&memory, SIZE);
  device = memory;
}

static void
test_mistake (gconstpointer data)
{
  const Mistake *mistake = data;

  if (g_test_subprocess ()) {
    setup ();
    mistake->make ();
    return;
  }
  g_test_trap_subprocess (NULL, 0, 0);
  g_test_trap_assert_failed ();
  if (mistake->message)
    g_test_trap_assert_stderr (mistake->message);
}

// Work waits until somebody does; memory begins as NaN.
static void
test_late (void)
{
  guint8 back[SIZE] = { 0 };

  setup ();
  memset (host, 1, SIZE);
  api->cudaMemcpyAsync (back, device, SIZE, cudaMemcpyDeviceToHost, stream);
  send (device, SIZE);
  memset (host, 2, SIZE);
  g_assert_cmpuint (back[0], ==, 0);
  api->cudaStreamSynchronize (stream);
  g_assert_cmpuint (back[0], ==, 0xff);
  // What was sent is what the host had when it was waited for.
  api->cudaMemcpyAsync (back, device, SIZE, cudaMemcpyDeviceToHost, stream);
  api->cudaStreamSynchronize (stream);
  g_assert_cmpuint (back[SIZE - 1], ==, 2);
  api->cudaFree (device);
  api->cudaStreamDestroy (stream);
  g_assert_cmpuint (standin_get_alive (), ==, 0);
}

static void
test_right (void)
{
  guint8 *memory;

  setup ();
  memory = conv_memory ();
  convolve (memory + AT_X, memory, memory + AT_Y);
  g_assert_cmpuint (standin_get_alive (), ==, 3);
  api->cudaFree (memory);
  api->cudaFree (device);
  api->cudaStreamDestroy (stream);
  g_assert_cmpuint (standin_get_alive (), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (mistakes); i++) {
    g_autofree char *path = g_strconcat ("/standin/", mistakes[i].name, NULL);

    g_test_add_data_func (path, &mistakes[i], test_mistake);
  }
  g_test_add_func ("/standin/late", test_late);
  g_test_add_func ("/standin/right", test_right);
  return g_test_run ();
}
