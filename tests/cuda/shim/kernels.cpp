/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernels, for the host.
 */
#include "convert.cu"
#include "frame.cu"
#include "head.cu"
#include "tensor.cu"
