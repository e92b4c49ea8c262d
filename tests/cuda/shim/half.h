/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Half precision on machines and compilers that need not have it.
 */
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float
half_to_float (uint16_t half)
{
  const int exponent = half >> 10 & 31, fraction = half & 0x3ff;
  const float magnitude = exponent == 31 ? (fraction ? NAN : INFINITY) :
      exponent == 0 ? ldexpf ((float) fraction, -24) :
      ldexpf ((float) (fraction + 0x400), exponent - 25);

  return half & 0x8000 ? -magnitude : magnitude;
}

// Rounds to nearest, ties to even.
static inline uint16_t
half_from_float (float value)
{
  const uint16_t sign = signbit (value) ? 0x8000 : 0;
  const float magnitude = fabsf (value);
  uint32_t bits, kept;

  if (isnan (value))
    return sign | 0x7e00;
  if (magnitude >= 65520)       // half way from the largest one on
    return sign | 0x7c00;
  if (magnitude < ldexpf (1, -14))      // steps of 2^-24
    return (uint16_t) (sign | (uint16_t) rintf (ldexpf (magnitude, 24)));
  memcpy (&bits, &magnitude, sizeof (bits));
  kept = (bits + 0xfff + (bits >> 13 & 1)) >> 13;
  return (uint16_t) (sign | (kept - (112 << 10)));
}
