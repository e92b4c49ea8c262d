/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sums of groups of 64, as a kernel that uses all that ours do: vectors,
 * guarded tails, shared memory, barriers, shuffles. With a bug planted, it is
 * what the checks must find.
 */
#include "device.cuh"

#include "planted.h"

#define GROUP 64u

struct Sums
{
  float *dst;
  const float *src;
  unsigned n;
};

// Elements 4 i .. 4 i + 3 of the source.
template <Planted BUG>
__device__ static inline float
sum_of_four (const Sums &a, unsigned i)
{
  const unsigned first = 4 * i;
  float sum = 0;

  if (BUG == PLANTED_MISALIGNED && first + 5 <= a.n) {
    const float4 v = *(const float4 *) (a.src + first + 1);

    return a.src[first] + v.x + v.y + v.z;
  }
  if (first + 4 <= a.n) {
    const float4 v = *(const float4 *) (a.src + first);

    return v.x + v.y + v.z + v.w;
  }
  for (unsigned k = first; k < (BUG == PLANTED_READ_BEHIND ? a.n + 1 : a.n) &&
      k < first + 4; k++)
    sum += a.src[k];
  return sum;
}

// A block makes a group: thread i's element is the group's i-th, and threads
// 0 to 15 sum four each.
template <Planted BUG>
__device__ static inline void
sums (const Sums &a)
{
  SHARED (float, parts, GROUP / 4);
  SHARED (float, much, BUG == PLANTED_MUCH_SHARED ? 13000 : 1);
  const unsigned lane = threadIdx.x % 32;
  const unsigned at = blockIdx.x * GROUP + threadIdx.x;
  const unsigned limit = BUG == PLANTED_WRITE_BEHIND ? a.n + 1 :
      BUG == PLANTED_LAST_NOT_WRITTEN ? a.n - 1 : a.n;
  const bool is_part = threadIdx.x < GROUP / 4;
  float sum = 0;

  if (BUG == PLANTED_RETURN_BEFORE_BARRIER && at >= a.n)
    return;
  if (is_part && (BUG != PLANTED_SHARED_UNSET || threadIdx.x != 3)) {
    parts[BUG == PLANTED_SHARED_BEHIND ? threadIdx.x + 1 : threadIdx.x] =
        sum_of_four<BUG> (a, blockIdx.x * GROUP / 4 + threadIdx.x);
  }
  if (BUG == PLANTED_BARRIER_IN_BRANCH) {
    if (is_part)
      __syncthreads ();
    else
      __syncthreads ();
  } else if (BUG == PLANTED_SHUFFLE_FOR_BARRIER) {
    sum = __shfl_xor_sync (0xffffffff, sum, 1);
  } else if (BUG != PLANTED_NO_BARRIER) {
    __syncthreads ();
  }
  if (BUG == PLANTED_MUCH_SHARED)
    much[0] = 0;

  // Each warp by itself: 16 parts in its lower lanes, then in all lanes.
  if (lane < GROUP / 4)
    sum = parts[lane];
  if (BUG == PLANTED_RETURN_BEFORE_SHUFFLE && lane == 20)
    return;
  if (BUG == PLANTED_SHUFFLE_IN_BRANCH && lane < 16)
    sum += __shfl_xor_sync (0xffffffff, sum, 16);
  for (unsigned mask = 1; mask < 32; mask *= 2) {
    sum += __shfl_xor_sync (BUG == PLANTED_SHUFFLE_ELSEWHERE ? 1u << lane :
        0xffffffff, sum, mask);
  }
  if (at < limit)
    a.dst[BUG == PLANTED_BLOCKS_RACE && threadIdx.x == 0 ? 0 : at] = sum;
}

#define PLANT(name, bug) KERNEL (name, GROUP, Sums, sums<bug>)
#define KERNELS(PLANT) \
  PLANT (planted_nothing, PLANTED_NOTHING) \
  PLANT (planted_no_barrier, PLANTED_NO_BARRIER) \
  PLANT (planted_barrier_in_branch, PLANTED_BARRIER_IN_BRANCH) \
  PLANT (planted_return_before_barrier, PLANTED_RETURN_BEFORE_BARRIER) \
  PLANT (planted_return_before_shuffle, PLANTED_RETURN_BEFORE_SHUFFLE) \
  PLANT (planted_shuffle_in_branch, PLANTED_SHUFFLE_IN_BRANCH) \
  PLANT (planted_shuffle_elsewhere, PLANTED_SHUFFLE_ELSEWHERE) \
  PLANT (planted_shuffle_for_barrier, PLANTED_SHUFFLE_FOR_BARRIER) \
  PLANT (planted_shared_unset, PLANTED_SHARED_UNSET) \
  PLANT (planted_read_behind, PLANTED_READ_BEHIND) \
  PLANT (planted_write_behind, PLANTED_WRITE_BEHIND) \
  PLANT (planted_shared_behind, PLANTED_SHARED_BEHIND) \
  PLANT (planted_misaligned, PLANTED_MISALIGNED) \
  PLANT (planted_last_not_written, PLANTED_LAST_NOT_WRITTEN) \
  PLANT (planted_blocks_race, PLANTED_BLOCKS_RACE) \
  PLANT (planted_large_block, PLANTED_LARGE_BLOCK) \
  PLANT (planted_much_shared, PLANTED_MUCH_SHARED)

KERNELS (PLANT)

int
planted_sums (float *dst, const float *src, unsigned n, Planted bug)
{
#define ENTRY(name, bug) [bug] = name,
  static void (*const kernels[]) (Sums) = { KERNELS (ENTRY) };
  const Sums args = { dst, src, n };

  return launch (kernels[bug], divide_up (n, GROUP),
      bug == PLANTED_LARGE_BLOCK ? 1025 : GROUP, args, NULL);
}
