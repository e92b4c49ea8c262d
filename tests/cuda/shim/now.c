/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device for tests of kernels: no streams, what is launched runs at once;
 * memory is the host's, of the exact size, for sanitizers to watch.
 */
#include "device.h"
#include "engine.h"

#include <stdlib.h>

int
standin_launch (void *stream, void (*run) (void *data),
    void (*destroy) (void *data), void *data)
{
  run (data);
  destroy (data);
  return 0;
}

void *
device_alloc (size_t size)
{
  void *memory = malloc (size);

  if (!memory)
    abort ();
  return memory;
}

void
device_free (void *memory)
{
  free (memory);
}

int
device_sync (void)
{
  return 0;
}
