/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the stand-in's two files, run-time and cuDNN, share.
 */
#pragma once

#include "standin.h"

G_BEGIN_DECLS

extern GRecMutex standin_lock;

// Counts CALL; TRUE: it is the one that is to fail.
gboolean standin_fails (const char *call);
void standin_enqueue (void *stream, void (*run) (void *data),
    void (*destroy) (void *data), void *data);
// Whether all of it lies in one allocation.
gboolean standin_is_device (const void *data, gsize size);

void standin_fill_cudnn (CpspGpuApi * api);
// Handles and descriptors.
guint standin_cudnn_alive (void);

G_END_DECLS
