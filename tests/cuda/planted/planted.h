/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A kernel, sound and with one bug each.
 */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

typedef enum
{
  PLANTED_NOTHING,
  PLANTED_NO_BARRIER,
  PLANTED_BARRIER_IN_BRANCH,
  PLANTED_RETURN_BEFORE_BARRIER,
  PLANTED_RETURN_BEFORE_SHUFFLE,
  PLANTED_SHUFFLE_IN_BRANCH,
  PLANTED_SHUFFLE_ELSEWHERE,
  PLANTED_SHUFFLE_FOR_BARRIER,
  PLANTED_SHARED_UNSET,
  PLANTED_READ_BEHIND,
  PLANTED_WRITE_BEHIND,
  PLANTED_SHARED_BEHIND,
  PLANTED_MISALIGNED,
  PLANTED_LAST_NOT_WRITTEN,
  PLANTED_BLOCKS_RACE,
  PLANTED_LARGE_BLOCK,
  PLANTED_MUCH_SHARED,
} Planted;

// N floats, not a multiple of 64: dst[i] = the sum of the aligned 64 elements
// of SRC (16-byte-aligned) that i lies in, 0 for what is behind the end. A
// cudaError_t.
int planted_sums (float *dst, const float *src, unsigned n, Planted bug);

#ifdef __cplusplus
}
#endif
