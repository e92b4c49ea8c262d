/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Everything that can go wrong in the engine, one code per kind of failure.
 * The message names the file, tensor, size or call.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define CPSP_ERROR (cpsp_error_quark ())

typedef enum
{
  CPSP_ERROR_NOT_FOUND,         // the model file is missing
  CPSP_ERROR_OPEN,              // the model file cannot be read
  CPSP_ERROR_FORMAT,            // the model file is malformed
  CPSP_ERROR_NO_MEMORY,
  CPSP_ERROR_DEVICE,            // a backend or its device failed
  CPSP_ERROR_ARGUMENT,          // a setting or size that cannot work
  CPSP_ERROR_SELF_TEST,         // a device computes wrong numbers
} CpspError;

GQuark cpsp_error_quark (void);

G_END_DECLS
