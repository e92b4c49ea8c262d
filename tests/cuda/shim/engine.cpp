/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine: a scheduler on the caller's stack, and fibers that it switches
 * to. A thread of a block needs a fiber of its own only while it waits; one
 * that never waits runs on whichever is free, and so do its successors, one
 * after the other, without a switch. Under the thread sanitizer, which knows
 * a stack's memory by its address, each thread has its own.
 */
#include "engine.h"

#include <algorithm>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

// There if the program is linked with the sanitizer.
#define OPTIONAL __attribute__ ((weak))
extern "C"
{
  void __sanitizer_start_switch_fiber (void **, const void *, size_t)
      OPTIONAL;
  void __sanitizer_finish_switch_fiber (void *, const void **, size_t *)
      OPTIONAL;
  void __asan_poison_memory_region (const volatile void *, size_t) OPTIONAL;
  void __asan_unpoison_memory_region (const volatile void *, size_t) OPTIONAL;
  void *__tsan_get_current_fiber (void) OPTIONAL;
  void *__tsan_create_fiber (unsigned) OPTIONAL;
  void __tsan_switch_to_fiber (void *, unsigned) OPTIONAL;
  void __tsan_acquire (void *) OPTIONAL;
  void __tsan_release (void *) OPTIONAL;
}

#define WARP 32
#define MAX_BLOCK 1024
#define SHARED_SIZE 49152       // of a block, without asking for more
#define STACK_SIZE (256 << 10)
#define PAGE 4096

const ShimContext *shim_context;

namespace
{

enum State
{
  FRESH,
  READY,
  AT_BARRIER,
  AT_WARP,
  DONE,
};

struct Fiber
{
  void *jump[5];                // of __builtin_setjmp
  ucontext_t start;
  char *stack;
  bool started;                 // else at `start`
  void *fake_stack;             // the address sanitizer's
};

struct Thread
{
  ShimContext context;
  State state;
  Fiber *fiber;                 // while it runs or waits
  void *identity;               // the thread sanitizer's
  // Where it waits.
  const char *file;
  int line;
  // Of a warp's call.
  unsigned lanes, from;
  uint64_t value, result;
};

// Shared memory that a block has asked for.
struct Shared
{
  const char *file;
  int line;
  size_t offset;
};

std::vector<Thread> threads;    // of the running block
std::vector<Thread *> queue;    // may run, in this order
size_t queue_next;
Thread *current;

Fiber scheduler;
// Never freed, nor are they: reachable for the leak check.
std::vector<Fiber *> &fibers = *new std::vector<Fiber *>;       // by identity
std::vector<Fiber *> &idle = *new std::vector<Fiber *>;
std::vector<void *> identities;
const void *scheduler_stack;
size_t scheduler_stack_size;
void *scheduler_identity;

void (*body) (void *);
void *body_data;

Shared shared[16];
unsigned n_shared;
char *arena;
size_t arena_used;

// Their addresses stand for "happens before".
char grid_start, grid_end, barriers[2];
unsigned n_barriers;

uint64_t random_state = 1;
bool is_seeded;

uint64_t
random_number (void)
{
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

template <typename T>
void
shuffle (std::vector<T> &list)
{
  for (size_t i = list.size (); i > 1; i--)
    std::swap (list[i - 1], list[random_number () % i]);
}

void
acquire (void *key)
{
  if (__tsan_acquire)
    __tsan_acquire (key);
}

void
release (void *key)
{
  if (__tsan_release)
    __tsan_release (key);
}

void
print_thread (const char *what, const Thread *t)
{
  const ShimContext &c = t->context;

  fprintf (stderr, "shim: %s at %s:%d, block (%u, %u, %u), thread (%u, %u, "
      "%u)\n", what, t->file, t->line, c.block.x, c.block.y, c.block.z,
      c.thread.x, c.thread.y, c.thread.z);
}

[[noreturn]] void
die (const char *what, const Thread *t, const Thread *other = NULL)
{
  print_thread (what, t);
  if (other && other->state != DONE)
    print_thread ("  another one is", other);
  fflush (stderr);
  abort ();
}

/* Switching */

// Not in the function that sets the jump.
__attribute__ ((noinline)) void
jump_to (Fiber *to)
{
  if (to->started)
    __builtin_longjmp (to->jump, 1);
  to->started = true;
  setcontext (&to->start);
}

__attribute__ ((noinline)) void
switch_fiber (Fiber *from, Fiber *to)
{
  if (!__builtin_setjmp (from->jump))
    jump_to (to);
}

void
enter (Fiber *fiber)
{
  if (__sanitizer_start_switch_fiber) {
    __sanitizer_start_switch_fiber (&scheduler.fake_stack, fiber->stack,
        STACK_SIZE);
  }
  // 1: what was done here does not happen before what is done there.
  if (__tsan_switch_to_fiber)
    __tsan_switch_to_fiber (current->identity, 1);
  switch_fiber (&scheduler, fiber);
  if (__sanitizer_finish_switch_fiber)
    __sanitizer_finish_switch_fiber (scheduler.fake_stack, NULL, NULL);
}

void
leave (Fiber *fiber)
{
  if (__sanitizer_start_switch_fiber) {
    __sanitizer_start_switch_fiber (&fiber->fake_stack, scheduler_stack,
        scheduler_stack_size);
  }
  if (__tsan_switch_to_fiber)
    __tsan_switch_to_fiber (scheduler_identity, 1);
  switch_fiber (fiber, &scheduler);
  if (__sanitizer_finish_switch_fiber)
    __sanitizer_finish_switch_fiber (fiber->fake_stack, NULL, NULL);
}

void
begin (Thread *t, Fiber *fiber)
{
  t->fiber = fiber;
  t->state = READY;
  current = t;
  shim_context = &t->context;
}

// The thread to run next on this fiber; NULL: one that has a fiber.
Thread *
next_fresh (void)
{
  if (__tsan_create_fiber || queue_next == queue.size () ||
      queue[queue_next]->state != FRESH)
    return NULL;
  return queue[queue_next++];
}

void
fiber_main (void)
{
  if (__sanitizer_finish_switch_fiber) {
    __sanitizer_finish_switch_fiber (NULL, &scheduler_stack,
        &scheduler_stack_size);
  }
  for (;;) {
    Fiber *fiber = current->fiber;
    Thread *next;

    acquire (&grid_start);
    body (body_data);
    release (&grid_end);
    current->state = DONE;
    next = next_fresh ();
    if (next) {
      begin (next, fiber);
    } else {
      // The thread sanitizer watches allocations too.
      if (!__tsan_create_fiber)
        idle.push_back (fiber);
      leave (fiber);
    }
  }
}

Fiber *
fiber_new (void)
{
  Fiber *fiber = new Fiber ();
  char *memory = (char *) mmap (NULL, STACK_SIZE + PAGE,
      PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  if (memory == MAP_FAILED || mprotect (memory, PAGE, PROT_NONE) != 0) {
    fprintf (stderr, "shim: no memory for a stack\n");
    abort ();
  }
  fiber->stack = memory + PAGE;
  getcontext (&fiber->start);
  fiber->start.uc_stack.ss_sp = fiber->stack;
  fiber->start.uc_stack.ss_size = STACK_SIZE;
  makecontext (&fiber->start, fiber_main, 0);
  return fiber;
}

// IDENTITY: which of the thread sanitizer's.
Fiber *
fiber_for (size_t identity)
{
  Fiber *fiber;

  if (__tsan_create_fiber) {
    while (fibers.size () <= identity)
      fibers.push_back (fiber_new ());
    return fibers[identity];
  }
  if (idle.empty ())
    return fiber_new ();
  fiber = idle.back ();
  idle.pop_back ();
  return fiber;
}

// Until the thread waits or has returned.
void
run_thread (Thread *t, size_t identity)
{
  if (t->state == FRESH)
    begin (t, fiber_for (identity));
  current = t;
  shim_context = &t->context;
  enter (t->fiber);
}

/* Waiting */

void
wait_at (State state, const char *file, int line)
{
  current->state = state;
  current->file = file;
  current->line = line;
  leave (current->fiber);
}

bool
at_one_place (const Thread *a, const Thread *b)
{
  return a->line == b->line && strcmp (a->file, b->file) == 0;
}

// Lets the lanes go on for which T waits at a warp's call, if they are there.
void
release_lanes (Thread *t)
{
  const size_t first = (size_t) (t - threads.data ()) / WARP * WARP;
  Thread *warp = &threads[first];

  for (unsigned lane = 0; lane < WARP; lane++) {
    if (!(t->lanes >> lane & 1))
      continue;
    if (first + lane >= threads.size ())
      die ("a warp's call names a lane that does not exist", t);
    if (warp[lane].state == DONE)
      die ("a warp's call names a lane that has returned", t);
    if (warp[lane].state != AT_WARP)
      return;
    if (!at_one_place (t, &warp[lane]) || warp[lane].lanes != t->lanes)
      die ("lanes of a warp are at different calls", t, &warp[lane]);
  }
  for (unsigned lane = 0; lane < WARP; lane++) {
    if (t->lanes >> lane & 1) {
      warp[lane].result = warp[warp[lane].from].value;
      warp[lane].state = READY;
    }
  }
}

// Nobody can run: the block is at a barrier, or stuck.
void
release_barrier (void)
{
  const Thread *first = NULL;

  for (Thread &t : threads) {
    if (t.state == AT_WARP)
      die ("a warp's call waits for a lane that waits elsewhere", &t);
    if (t.state == AT_BARRIER && !first)
      first = &t;
  }
  for (Thread &t : threads) {
    if (t.state == DONE)
      die ("a barrier waits for a thread that has returned", first);
    if (!at_one_place (&t, first))
      die ("threads of a block are at different barriers", first, &t);
    t.state = READY;
  }
  n_barriers++;
}

/* Running */

void
fill_with_nans (char *at, size_t size)
{
  // Not memset, which sanitizers watch.
  for (volatile char *p = at; p < at + size; p++)
    *p = (char) 0xff;
}

char *
new_arena (void)
{
  return (char *) aligned_alloc (16, SHARED_SIZE);
}

// FIRST_IDENTITY: the thread sanitizer's of thread 0.
void
run_block (ShimIndex block, size_t first_identity)
{
  size_t n_done = 0;

  n_shared = 0;
  arena_used = 0;
  if (__asan_poison_memory_region)
    __asan_poison_memory_region (arena, SHARED_SIZE);
  for (size_t i = 0; i < threads.size (); i++) {
    threads[i].context.block = block;
    threads[i].state = FRESH;
    if (__tsan_create_fiber)
      threads[i].identity = identities[first_identity + i];
  }
  while (n_done < threads.size ()) {
    queue.clear ();
    queue_next = 0;
    for (Thread &t : threads) {
      if (t.state == FRESH || t.state == READY)
        queue.push_back (&t);
    }
    if (queue.empty ()) {
      release_barrier ();
      continue;
    }
    shuffle (queue);
    while (queue_next < queue.size ()) {
      Thread *t = queue[queue_next++];

      run_thread (t, first_identity + (size_t) (t - threads.data ()));
      // Not T: others may have run on its fiber.
      if (current->state == AT_WARP)
        release_lanes (current);
    }
    n_done = 0;
    for (const Thread &t : threads)
      n_done += t.state == DONE;
  }
}

void
make_threads (ShimIndex grid, ShimIndex block)
{
  threads.assign ((size_t) block.x * block.y * block.z, Thread ());
  for (size_t i = 0; i < threads.size (); i++) {
    ShimContext &c = threads[i].context;

    c.thread = { (unsigned) (i % block.x), (unsigned) (i / block.x % block.y),
      (unsigned) (i / block.x / block.y) };
    c.block_size = block;
    c.grid_size = grid;
    c.lane = i % WARP;
  }
}

} // namespace

void
shim_barrier (const char *file, int line)
{
  void *key = &barriers[n_barriers % 2];

  release (key);
  wait_at (AT_BARRIER, file, line);
  acquire (key);
}

uint64_t
shim_exchange (unsigned lanes, uint64_t value, unsigned from,
    const char *file, int line)
{
  current->file = file;
  current->line = line;
  if (!(lanes >> current->context.lane & 1))
    die ("a warp's call does not name its caller", current);
  if (from >= WARP || !(lanes >> from & 1))
    die ("a warp's call reads a lane that it does not name", current);
  current->lanes = lanes;
  current->from = from;
  current->value = value;
  wait_at (AT_WARP, file, line);
  return current->result;
}

void *
shim_shared (size_t size, const char *file, int line)
{
  // So much is poisoned behind each.
  const size_t gap = 16;
  size_t offset = arena_used;

  for (unsigned i = 0; i < n_shared; i++) {
    if (shared[i].line == line && strcmp (shared[i].file, file) == 0)
      return arena + shared[i].offset;
  }
  arena_used += (size + gap - 1) / gap * gap + gap;
  if (arena_used > SHARED_SIZE ||
      n_shared == sizeof (shared) / sizeof (shared[0])) {
    current->file = file;
    current->line = line;
    die ("more shared memory than a block has", current);
  }
  shared[n_shared++] = { file, line, offset };
  if (__asan_unpoison_memory_region)
    __asan_unpoison_memory_region (arena + offset, size);
  fill_with_nans (arena + offset, size);
  return arena + offset;
}

bool
shim_is_launch (ShimIndex grid, ShimIndex block)
{
  const uint64_t n = (uint64_t) block.x * block.y * block.z;

  return n >= 1 && n <= MAX_BLOCK && block.x <= MAX_BLOCK &&
      block.y <= MAX_BLOCK && block.z <= 64 && grid.x >= 1 && grid.y >= 1 &&
      grid.z >= 1 && grid.x <= 0x7fffffff && grid.y <= 65535 &&
      grid.z <= 65535;
}

void
shim_seed (uint64_t seed)
{
  // Of a few bits in a row, it would take many numbers to look random.
  random_state = (seed + 1) * 0x9e3779b97f4a7c15;
  is_seeded = true;
}

void
shim_run (ShimIndex grid, ShimIndex block, void (*thread) (void *data),
    void *data)
{
  const char *blocks = getenv ("CPSP_SHIM_BLOCKS");
  const bool ordered = !blocks || strcmp (blocks, "free") != 0;
  std::vector<uint64_t> order ((uint64_t) grid.x * grid.y * grid.z);
  std::vector<char *> arenas;
  const char *seed = getenv ("CPSP_SHIM_SEED");
  bool odd = false;

  if (!is_seeded)
    shim_seed (seed ? strtoull (seed, NULL, 10) : 1);
  make_threads (grid, block);
  scheduler.started = true;
  body = thread;
  body_data = data;
  if (__tsan_create_fiber) {
    scheduler_identity = __tsan_get_current_fiber ();
    while (identities.size () < 2 * threads.size ())
      identities.push_back (__tsan_create_fiber (0));
  }
  for (uint64_t i = 0; i < order.size (); i++)
    order[i] = i;
  shuffle (order);
  for (uint64_t i : order) {
    // Blocks in no order need shared memory of their own, and threads that
    // are not those of the block before.
    if (arenas.empty () || !ordered)
      arenas.push_back (new_arena ());
    arena = arenas.back ();
    release (&grid_start);
    run_block ({ (unsigned) (i % grid.x), (unsigned) (i / grid.x % grid.y),
        (unsigned) (i / grid.x / grid.y) }, odd ? threads.size () : 0);
    if (ordered)
      acquire (&grid_end);
    odd = !ordered && !odd;
  }
  acquire (&grid_end);
  for (char *memory : arenas) {
    if (__asan_unpoison_memory_region)
      __asan_unpoison_memory_region (memory, SHARED_SIZE);
    free (memory);
  }
}
