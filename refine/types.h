/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Number types of weights and activations, and their conversions.
 */
#pragma once

#include <glib.h>
#include <string.h>

G_BEGIN_DECLS

typedef enum
{
  CPSP_TYPE_F32,
  CPSP_TYPE_F16,
  CPSP_TYPE_BF16,
} CpspType;

static inline gsize
cpsp_type_size (CpspType type)
{
  return type == CPSP_TYPE_F32 ? 4 : 2;
}

static inline const char *
cpsp_type_name (CpspType type)
{
  return type == CPSP_TYPE_F32 ? "fp32" : type == CPSP_TYPE_F16 ? "fp16" :
      "bf16";
}

static inline float
cpsp_bf16_to_float (guint16 bits)
{
  guint32 wide = (guint32) bits << 16;
  float value;

  memcpy (&value, &wide, 4);
  return value;
}

// Rounds to nearest, ties to even, as the processors' own instructions do.
// Not for NaN.
static inline guint16
cpsp_float_to_bf16 (float value)
{
  guint32 bits;

  memcpy (&bits, &value, 4);
  return (guint16) ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

G_END_DECLS
