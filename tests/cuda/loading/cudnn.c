/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A cuDNN that has all that we call, is of VERSION, and made for a CUDA that
 * there is not.
 */
#include <stddef.h>

#define MISSING(name) void name (void); void name (void) {}

MISSING (cudnnGetErrorString)
MISSING (cudnnGetLastErrorString)
MISSING (cudnnCreate)
MISSING (cudnnDestroy)
MISSING (cudnnSetStream)
MISSING (cudnnBackendCreateDescriptor)
MISSING (cudnnBackendDestroyDescriptor)
MISSING (cudnnBackendSetAttribute)
MISSING (cudnnBackendGetAttribute)
MISSING (cudnnBackendFinalize)
MISSING (cudnnBackendExecute)

size_t cudnnGetVersion (void);
size_t cudnnGetCudartVersion (void);

size_t
cudnnGetVersion (void)
{
  return VERSION;
}

size_t
cudnnGetCudartVersion (void)
{
  return 99000;
}
