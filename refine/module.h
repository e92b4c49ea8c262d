/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A backend in a module of its own, opened when somebody asks for it and
 * never closed: its libraries keep threads.
 */
#pragma once

#include "backend.h"

G_BEGIN_DECLS

// Of backend.h and all that it includes: a module of another version is
// refused. To be counted up when any of them changes.
#define CPSP_MODULE_VERSION 1

// What a module exports.
#define CPSP_MODULE_EXPORT __attribute__ ((visibility ("default")))
CPSP_MODULE_EXPORT extern const guint cpsp_module_version;
// The table, or NULL and an error that says why it cannot run here.
CPSP_MODULE_EXPORT const CpspBackend *cpsp_module_get_backend (GError **
    error);

// The CUDA backend; NULL and a DEVICE error that says why it cannot run here.
// Any thread may ask; what was opened stays open.
const CpspBackend *cpsp_module_get_cuda (GError ** error);

G_END_DECLS
