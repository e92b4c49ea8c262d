/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Places for tensors in one piece of memory, which they share when they do
 * not live at the same time.
 */
#pragma once

#include "network.h"

G_BEGIN_DECLS

// Gives each of N tensors an offset, a multiple of 64: largest first, each at
// the lowest place that is free all its life, or with KEEP_ALL for itself.
// Grows *SIZE to what they take. FALSE if no memory could be as large as that.
gboolean cpsp_arena_place (CpspTensor * const *tensors, guint n,
    gboolean keep_all, gsize * size);

G_END_DECLS
