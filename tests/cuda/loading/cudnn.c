/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A cuDNN that has all that we call, and is too old.
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

size_t
cudnnGetVersion (void)
{
  return 8907;
}
