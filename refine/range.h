/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether a network's numbers fit into fp16, whose largest is 65504: a model
 * that is fine in fp32 may leave it, and then yields infinities.
 */
#pragma once

#include "network.h"

G_BEGIN_DECLS

// Runs the two Local levels in fp32 on the CPU, on a small picture of noise
// with random masks. FALSE and an ARGUMENT error that names the layer if
// something would overflow; or NO_MEMORY, DEVICE.
gboolean cpsp_range_check_fp16 (CpspNetwork * network, GError ** error);

G_END_DECLS
