/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Executes what was parsed.
 */
#include "program.h"

#include "../shim/half.h"

#include <math.h>
#include <string.h>

#define WARP 32
// Instructions of a thread: more is a loop that does not end.
#define MAX_STEPS 20000000

/* Device memory */

typedef struct
{
  guint8 *start;
  gsize size;
} Block;

static GArray *memory;          // of Block, ascending
static guint64 n_executed;
static guint32 seed = 1;

void
ptx_set_seed (guint32 new_seed)
{
  seed = new_seed;
}

guint64
ptx_get_n_executed (void)
{
  return n_executed;
}

// The index of the first block that starts behind ADDRESS.
static guint
find_behind (const guint8 * address)
{
  guint low = 0, high = memory ? memory->len : 0;

  while (low < high) {
    const guint middle = (low + high) / 2;

    if (g_array_index (memory, Block, middle).start <= address)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// With room before and behind, so that no block touches another one.
void *
ptx_memory_new (gsize size)
{
  guint8 *whole = g_malloc (size + 512);
  Block block = {
    (guint8 *) (((guintptr) whole + 511) / 256 * 256), size
  };

  if (!memory)
    memory = g_array_new (FALSE, FALSE, sizeof (Block));
  *(void **) (block.start - sizeof (void *)) = whole;
  memset (block.start, 0xff, size);
  g_array_insert_val (memory, find_behind (block.start), block);
  return block.start;
}

void
ptx_memory_free (void *address)
{
  const guint i = find_behind (address);

  if (!address)
    return;
  g_assert (i > 0 && g_array_index (memory, Block, i - 1).start ==
      (guint8 *) address);
  g_array_remove_index (memory, i - 1);
  g_free (*(void **) ((guint8 *) address - sizeof (void *)));
}

/* A block of threads */

typedef enum
{
  RUNNABLE,
  AT_BARRIER,
  AT_SHUFFLE,
  DONE,
} State;

typedef struct
{
  guint64 *values;              // of registers
  guint8 *written;              // booleans
  guint pc;                     // of the instruction it waits at, or the next
  guint steps;
  State state;
  PtxSize id;
  guint lane;
} Thread;

typedef struct
{
  const PtxKernel *kernel;
  PtxSize grid, block, id;
  Thread *threads;
  guint n_threads;
  guint64 *values;
  guint8 *written;
  guint8 *shared, *shared_written;
  guint8 *params;
  guint *ready;                 // indices of the threads that can go on
  guint n_ready;
  GRand *random;
  char *why;
} Run;

G_GNUC_PRINTF (4, 5)
static void
stop (Run * run, const Thread * t, const PtxInstruction * i,
    const char *format, ...)
{
  va_list args;

  if (run->why)
    return;
  va_start (args, format);
  g_autofree char *what = g_strdup_vprintf (format, args);
  va_end (args);
  run->why = g_strdup_printf ("%s, block %u,%u,%u, thread %u,%u,%u, "
      "PTX line %u: %s: %s", run->kernel->name, run->id.x, run->id.y,
      run->id.z, t->id.x, t->id.y, t->id.z, i->line, i->text, what);
}

/* Values */

static guint64
mask (guint64 value, guint bits)
{
  return bits >= 64 ? value : value & (((guint64) 1 << bits) - 1);
}

static gint64
sign (guint64 value, guint bits)
{
  return bits >= 64 ? (gint64) value :
      (gint64) (value << (64 - bits)) >> (64 - bits);
}

static float
to_float (guint64 value)
{
  const guint32 bits = value;
  float f;

  memcpy (&f, &bits, 4);
  return f;
}

static guint64
of_float (float f)
{
  guint32 bits;

  memcpy (&bits, &f, 4);
  return bits;
}

static double
to_double (guint64 value)
{
  double d;

  memcpy (&d, &value, 8);
  return d;
}

static guint64
of_double (double d)
{
  guint64 bits;

  memcpy (&bits, &d, 8);
  return bits;
}

static guint64
get_special (const Run * run, const Thread * t, PtxSpecial special)
{
  const guint values[PTX_N_SPECIALS] = {
    t->id.x, t->id.y, t->id.z, run->block.x, run->block.y, run->block.z,
    run->id.x, run->id.y, run->id.z, run->grid.x, run->grid.y, run->grid.z,
    t->lane
  };

  return values[special];
}

static guint64
get_register (Run * run, const Thread * t, const PtxInstruction * i, guint reg)
{
  if (!t->written[reg])
    stop (run, t, i, "a register is read that was never written");
  return t->values[reg];
}

static guint64
get (Run * run, const Thread * t, const PtxInstruction * i, guint nth)
{
  const PtxOperand *o = &i->operands[nth];

  if (nth >= i->n_operands) {
    stop (run, t, i, "too few operands");
    return 0;
  }
  switch (o->kind) {
    case PTX_REGISTER:
      return get_register (run, t, i, o->reg);
    case PTX_SPECIAL:
      return get_special (run, t, o->value);
    default:
      return o->value;
  }
}

static void
put_register (Thread * t, guint reg, guint64 value)
{
  t->values[reg] = value;
  t->written[reg] = TRUE;
}

static void
put (Thread * t, const PtxInstruction * i, guint nth, guint64 value)
{
  // `_` is no register: nvcc throws nothing away that way.
  put_register (t, i->operands[nth].reg, value);
}

/* Memory */

// Whether [at, at + size) is all of one variable.
static gboolean
is_in_variable (const GArray * variables, guint64 at, gsize size)
{
  for (guint k = 0; k < variables->len; k++) {
    const PtxVariable *v = &g_array_index (variables, PtxVariable, k);

    if (at >= v->offset && at + size <= (guint64) v->offset + v->size)
      return TRUE;
  }
  return FALSE;
}

static guint8 *
find_global (guint64 at, gsize size)
{
  const guint i = find_behind ((guint8 *) at);
  const Block *block;

  if (i == 0)
    return NULL;
  block = &g_array_index (memory, Block, i - 1);
  return at + size <= (guintptr) block->start + block->size ?
      (guint8 *) at : NULL;
}

// What operand NTH is the address of.
static guint8 *
access_memory (Run * run, const Thread * t, const PtxInstruction * i,
    guint nth, gsize size, gboolean read)
{
  const PtxOperand *o = &i->operands[nth];
  const guint64 at = o->kind == PTX_REGISTER ?
      get_register (run, t, i, o->reg) + o->value : o->value;
  guint8 *p = NULL;

  if (run->why)
    return NULL;
  if (at % size) {
    stop (run, t, i, "%" G_GSIZE_FORMAT " bytes at no multiple of that",
        size);
    return NULL;
  }
  switch (i->space) {
    case PTX_GLOBAL:
      p = find_global (at, size);
      break;
    case PTX_PARAM:
      if (is_in_variable (run->kernel->params, at, size))
        p = run->params + at;
      break;
    case PTX_SHARED:
      if (is_in_variable (run->kernel->shared, at, size))
        p = run->shared + at;
      for (gsize k = 0; p && k < size; k++) {
        if (read && !run->shared_written[at + k]) {
          stop (run, t, i, "shared memory is read that was never written");
          return NULL;
        }
        run->shared_written[at + k] = TRUE;
      }
      break;
    case PTX_SPACE_NONE:
      stop (run, t, i, "which memory?");
      return NULL;
  }
  if (!p)
    stop (run, t, i, "%" G_GSIZE_FORMAT " bytes out of bounds", size);
  return p;
}

static void
load (Run * run, Thread * t, const PtxInstruction * i)
{
  const guint n = i->n_first, size = i->type.bits / 8;
  const guint8 *p = access_memory (run, t, i, n, n * size, TRUE);

  for (guint k = 0; p && k < n; k++) {
    guint64 value = 0;

    memcpy (&value, p + k * size, size);
    put (t, i, k, i->type.class == PTX_S ?
        (guint64) sign (value, i->type.bits) : value);
  }
}

static void
store (Run * run, Thread * t, const PtxInstruction * i)
{
  const guint n = i->n_second, size = i->type.bits / 8;
  guint8 *p = access_memory (run, t, i, 0, n * size, FALSE);

  for (guint k = 0; p && k < n; k++) {
    const guint64 value = get (run, t, i, 1 + k);

    memcpy (p + k * size, &value, size);
  }
}

static void
atomic (Run * run, Thread * t, const PtxInstruction * i)
{
  const guint first = i->opcode == PTX_ATOM, size = i->type.bits / 8;
  const gboolean is_signed = i->type.class == PTX_S;
  guint8 *p = access_memory (run, t, i, first, size, TRUE);
  const guint64 value = get (run, t, i, first + 1);
  guint64 old = 0, new = 0;
  gboolean less;

  if (!p)
    return;
  memcpy (&old, p, size);
  less = is_signed ? sign (old, i->type.bits) < sign (value, i->type.bits) :
      old < value;
  if (i->how == PTX_DO_ADD && i->type.class == PTX_F && size == 4)
    new = of_float (to_float (old) + to_float (value));
  else if (i->how == PTX_DO_ADD && i->type.class != PTX_F)
    new = old + value;
  else if (i->how == PTX_DO_MAX && i->type.class != PTX_F)
    new = less ? value : old;
  else if (i->how == PTX_DO_MIN && i->type.class != PTX_F)
    new = less ? old : value;
  else
    stop (run, t, i, "not known");
  memcpy (p, &new, size);
  if (i->opcode == PTX_ATOM)
    put (t, i, 0, old);
}

/* Instructions */

static gboolean
holds (PtxHow how, gboolean less, gboolean equal)
{
  switch (how) {
    case PTX_EQ:
      return equal;
    case PTX_NE:
      return !equal;
    case PTX_LT:
      return less;
    case PTX_LE:
      return less || equal;
    case PTX_GT:
      return !less && !equal;
    default:
      return !less;
  }
}

static void
compare (Run * run, Thread * t, const PtxInstruction * i)
{
  const guint bits = i->type.bits;
  const guint64 a = mask (get (run, t, i, 1), bits);
  const guint64 b = mask (get (run, t, i, 2), bits);
  gboolean result;

  if (i->how > PTX_GE || (i->type.class == PTX_F && bits < 32)) {
    stop (run, t, i, "not known");
    return;
  }
  if (i->type.class == PTX_F) {
    const double x = bits == 64 ? to_double (a) : to_float (a);
    const double y = bits == 64 ? to_double (b) : to_float (b);

    result = isnan (x) || isnan (y) ?
        (i->modifiers & PTX_MOD_UNORDERED) != 0 : holds (i->how, x < y,
        x == y);
  } else if (i->type.class == PTX_S) {
    result = holds (i->how, sign (a, bits) < sign (b, bits), a == b);
  } else {
    result = holds (i->how, a < b, a == b);
  }
  put (t, i, 0, result);
  if (i->second_dst >= 0)
    put_register (t, i->second_dst, !result);
}

static void
move (Run * run, Thread * t, const PtxInstruction * i)
{
  const guint bits = i->type.bits;
  guint64 value = 0;

  // One of them may be a vector, of the other's parts.
  for (guint k = 0; k < i->n_second; k++) {
    const guint part = bits / i->n_second;

    value |= mask (get (run, t, i, i->n_first + k), part) << (k * part);
  }
  for (guint k = 0; k < i->n_first; k++) {
    const guint part = bits / i->n_first;

    put (t, i, k, mask (value >> (k * part), part));
  }
}

static double
round_as (double value, guint modifiers)
{
  if (modifiers & PTX_MOD_RZI)
    return trunc (value);
  if (modifiers & PTX_MOD_RMI)
    return floor (value);
  if (modifiers & PTX_MOD_RPI)
    return ceil (value);
  if (modifiers & PTX_MOD_RNI)
    return nearbyint (value);
  return value;
}

static guint64
of_real (double value, guint bits)
{
  return bits == 64 ? of_double (value) : bits == 16 ?
      half_from_float ((float) value) : of_float ((float) value);
}

// A real number as an integer: the nearest that there is, 0 for NaN.
static guint64
of_clamped (double value, PtxType to)
{
  const double low = to.class == PTX_S ? -ldexp (1, to.bits - 1) : 0;
  const double high = ldexp (1, to.class == PTX_S ? to.bits - 1 : to.bits);

  if (isnan (value))
    return 0;
  if (value <= low)
    return mask ((guint64) (gint64) low, to.bits);
  if (value >= high)
    return to.class == PTX_S ? mask (~(guint64) 0, to.bits - 1) :
        mask (~(guint64) 0, to.bits);
  return to.class == PTX_S ? mask ((guint64) (gint64) value, to.bits) :
      (guint64) value;
}

static void
convert (Run * run, Thread * t, const PtxInstruction * i)
{
  const PtxType from = i->type, to = i->to;
  const guint64 a = get (run, t, i, 1);
  double value;

  if (to.class == PTX_F && to.lanes == 2 && from.class == PTX_F &&
      from.bits == 32) {
    // the first source is the upper half
    put (t, i, 0, (guint64) half_from_float (to_float (a)) << 16 |
        half_from_float (to_float (get (run, t, i, 2))));
  } else if (from.class == PTX_F && from.lanes == 1) {
    value = round_as (from.bits == 64 ? to_double (a) : from.bits == 16 ?
        half_to_float (a) : to_float (a), i->modifiers);
    if (i->modifiers & PTX_MOD_SAT)
      value = value > 0 ? MIN (value, 1) : 0;
    put (t, i, 0, to.class == PTX_F ? of_real (value, to.bits) :
        of_clamped (value, to));
  } else if (to.class == PTX_F && from.class == PTX_S && to.bits == 32) {
    put (t, i, 0, of_float ((float) sign (a, from.bits)));
  } else if (to.class == PTX_F && from.class == PTX_U && to.bits == 32) {
    put (t, i, 0, of_float ((float) mask (a, from.bits)));
  } else if (to.class != PTX_F && from.class != PTX_F) {
    put (t, i, 0, mask (from.class == PTX_S ? (guint64) sign (a, from.bits) :
            mask (a, from.bits), to.bits));
  } else {
    stop (run, t, i, "not known");
  }
}

// a * b + c, rounded down
static float
fma_down (float a, float b, float c)
{
  const double exact = (double) a * b + c;
  const float nearest = (float) exact;

  return nearest > exact ? nextafterf (nearest, -INFINITY) : nearest;
}

static void
compute_float (Run * run, Thread * t, const PtxInstruction * i)
{
  const float a = to_float (get (run, t, i, 1));
  const float b = i->n_operands > 2 ? to_float (get (run, t, i, 2)) : 0;
  const float c = i->n_operands > 3 ? to_float (get (run, t, i, 3)) : 0;
  float result = 0;

  if (i->type.bits != 32 || i->type.lanes != 1 ||
      ((i->modifiers & PTX_MOD_RM) && i->opcode != PTX_FMA)) {
    stop (run, t, i, "not known");
    return;
  }
  switch (i->opcode) {
    case PTX_ABS:
      result = fabsf (a);
      break;
    case PTX_ADD:
      result = a + b;
      break;
    case PTX_COPYSIGN:
      result = copysignf (b, a);
      break;
    case PTX_DIV:
      result = a / b;
      break;
    case PTX_EX2:
      result = exp2f (a);
      break;
    case PTX_FMA:
      result = i->modifiers & PTX_MOD_RM ? fma_down (a, b, c) :
          fmaf (a, b, c);
      break;
    case PTX_LG2:
      result = log2f (a);
      break;
    case PTX_MAX:
      result = fmaxf (a, b);
      break;
    case PTX_MIN:
      result = fminf (a, b);
      break;
    case PTX_MUL:
      result = a * b;
      break;
    case PTX_NEG:
      result = -a;
      break;
    case PTX_RCP:
      result = 1 / a;
      break;
    case PTX_SQRT:
      result = sqrtf (a);
      break;
    case PTX_SUB:
      result = a - b;
      break;
    default:
      stop (run, t, i, "not known");
  }
  if (i->modifiers & PTX_MOD_SAT)
    result = result > 0 ? MIN (result, 1) : 0;
  put (t, i, 0, of_float (result));
}

// Byte K of what PRMT's SELECTOR takes from BYTES.
static guint64
permute_byte (guint64 bytes, guint64 selector, guint k)
{
  const guint64 nibble = selector >> (4 * k) & 15;
  const guint64 byte = bytes >> (8 * (nibble & 7)) & 0xff;

  return nibble & 8 ? (byte & 0x80 ? 0xff : 0) : byte;
}

static guint64
multiply (const PtxInstruction * i, guint64 a, guint64 b)
{
  const guint bits = i->type.bits;
  const gboolean is_signed = i->type.class == PTX_S;

  if (i->modifiers & PTX_MOD_WIDE)
    return is_signed ? (guint64) (sign (a, bits) * sign (b, bits)) : a * b;
  if (i->modifiers & PTX_MOD_HI)
    return is_signed ? (guint64) (((__int128) sign (a, bits) *
            sign (b, bits)) >> bits) :
        (guint64) (((unsigned __int128) a * b) >> bits);
  return a * b;
}

static guint64
divide (Run * run, Thread * t, const PtxInstruction * i, guint64 a, guint64 b)
{
  const guint bits = i->type.bits;
  const gboolean rest = i->opcode == PTX_REM;

  if (b == 0) {
    stop (run, t, i, "an integer is divided by zero");
    return 0;
  }
  if (i->type.class != PTX_S)
    return rest ? a % b : a / b;
  // The lowest number by -1 is no number: as the device, which wraps.
  if (sign (b, bits) == -1)
    return rest ? 0 : -a;
  return rest ? (guint64) (sign (a, bits) % sign (b, bits)) :
      (guint64) (sign (a, bits) / sign (b, bits));
}

static void
compute_integer (Run * run, Thread * t, const PtxInstruction * i)
{
  const guint bits = i->type.bits;
  const gboolean is_signed = i->type.class == PTX_S;
  const guint64 a = mask (get (run, t, i, 1), bits);
  const guint64 b = i->n_operands > 2 ? mask (get (run, t, i, 2), bits) : 0;
  const gboolean less = is_signed ? sign (a, bits) < sign (b, bits) : a < b;
  guint64 result = 0, c, d;

  switch (i->opcode) {
    case PTX_ABS:
      result = sign (a, bits) < 0 ? -a : a;
      break;
    case PTX_ADD:
      result = a + b;
      break;
    case PTX_AND:
      result = a & b;
      break;
    case PTX_BFI:
      c = get (run, t, i, 3) & 0xff;
      d = MIN (get (run, t, i, 4) & 0xff, bits);
      d = c < bits ? mask (~(guint64) 0, d) << c : 0;
      result = (b & ~d) | (c < bits ? a << c & d : 0);
      break;
    case PTX_DIV:
    case PTX_REM:
      result = divide (run, t, i, a, b);
      break;
    case PTX_MAD:
      result = multiply (i, a, b) + get (run, t, i, 3);
      break;
    case PTX_MAX:
      result = less ? b : a;
      break;
    case PTX_MIN:
      result = less ? a : b;
      break;
    case PTX_MUL:
      result = multiply (i, a, b);
      break;
    case PTX_NEG:
      result = -a;
      break;
    case PTX_NOT:
      result = ~a;
      break;
    case PTX_OR:
      result = a | b;
      break;
    case PTX_PRMT:
      c = get (run, t, i, 3);
      d = b << 32 | a;
      for (guint k = 0; k < 4; k++)
        result |= permute_byte (d, c, k) << (8 * k);
      break;
    case PTX_SHL:
      result = b >= bits ? 0 : a << b;
      break;
    case PTX_SHR:
      result = is_signed ? (guint64) (sign (a, bits) >> MIN (b, bits - 1)) :
          b >= bits ? 0 : a >> b;
      break;
    case PTX_SUB:
      result = a - b;
      break;
    case PTX_XOR:
      result = a ^ b;
      break;
    default:
      stop (run, t, i, "not known");
  }
  put (t, i, 0, mask (result, i->modifiers & PTX_MOD_WIDE ? 2 * bits : bits));
}

static void
step (Run * run, Thread * t)
{
  const PtxInstruction *i;

  // A kernel's last instruction is `ret`.
  i = &g_array_index (run->kernel->code, PtxInstruction, t->pc);
  if (++t->steps == MAX_STEPS)
    stop (run, t, i, "does not end");
  if (i->predicate >= 0 &&
      (get_register (run, t, i, i->predicate) != 0) == i->negated) {
    t->pc++;
    return;
  }
  switch (i->opcode) {
    case PTX_BAR:
      t->state = AT_BARRIER;
      return;
    case PTX_SHFL:
      t->state = AT_SHUFFLE;
      return;
    case PTX_RET:
      t->state = DONE;
      return;
    case PTX_BRA:
      t->pc = i->target;
      return;
    case PTX_LD:
      load (run, t, i);
      break;
    case PTX_ST:
      store (run, t, i);
      break;
    case PTX_ATOM:
    case PTX_RED:
      atomic (run, t, i);
      break;
    case PTX_MOV:
    case PTX_CVTA:
      move (run, t, i);
      break;
    case PTX_CVT:
      convert (run, t, i);
      break;
    case PTX_SETP:
      compare (run, t, i);
      break;
    case PTX_SELP:
      put (t, i, 0, get (run, t, i, get (run, t, i, 3) ? 1 : 2));
      break;
    default:
      if (i->type.class == PTX_F)
        compute_float (run, t, i);
      else
        compute_integer (run, t, i);
  }
  t->pc++;
}

/* Threads together */

static const PtxInstruction *
waits_at (const Run * run, const Thread * t)
{
  return &g_array_index (run->kernel->code, PtxInstruction, t->pc);
}

// The lane that T, at a shuffle, reads; *INSIDE: whether that is in range.
static guint
shuffle_source (Run * run, const Thread * t, const PtxInstruction * i,
    gboolean * inside)
{
  const gint lane = t->lane, by = get (run, t, i, 2) & 31;
  const guint64 c = get (run, t, i, 3);
  const gint segment = c >> 8 & 31, clamp = c & 31;
  const gint least = lane & segment;
  const gint most = (lane & segment) | (clamp & ~segment);
  gint from;

  switch (i->how) {
    case PTX_UP:
      from = lane - by;
      *inside = from >= most;
      break;
    case PTX_DOWN:
      from = lane + by;
      *inside = from <= most;
      break;
    case PTX_BFLY:
      from = lane ^ by;
      *inside = from <= most;
      break;
    default:
      from = least | (by & ~segment);
      *inside = from <= most;
  }
  return *inside ? (guint) from : t->lane;
}

static void
set_ready (Run * run, guint index)
{
  run->threads[index].state = RUNNABLE;
  run->threads[index].pc++;
  run->ready[run->n_ready++] = index;
}

// T is at a shuffle. Lets all threads of its mask go on if the last one has
// come.
static void
shuffle (Run * run, const Thread * t)
{
  const PtxInstruction *i = waits_at (run, t);
  const guint wanted = get (run, t, i, 4);
  const guint first = (t - run->threads) / WARP * WARP;
  const guint n = MIN (WARP, run->n_threads - first);
  guint64 values[WARP] = { 0 };

  if (!(wanted >> t->lane & 1))
    stop (run, t, i, "its mask does not name its own lane");
  for (guint k = 0; k < n; k++) {
    const Thread *other = &run->threads[first + k];

    if (!(wanted >> k & 1))
      continue;
    if (other->state != AT_SHUFFLE || other->pc != t->pc)
      return;
    values[k] = get (run, other, i, 1);
  }
  for (guint k = 0; k < n; k++) {
    Thread *other = &run->threads[first + k];
    gboolean inside;
    guint from;

    if (!(wanted >> k & 1))
      continue;
    from = shuffle_source (run, other, i, &inside);
    if (from >= n || !(wanted >> from & 1)) {
      stop (run, other, i, "reads lane %u, which is not in its mask", from);
      return;
    }
    put (other, i, 0, values[from]);
    if (i->second_dst >= 0)
      put_register (other, i->second_dst, inside);
  }
  for (guint k = 0; k < n; k++)
    if (wanted >> k & 1)
      set_ready (run, first + k);
}

// T waits at a shuffle, and nobody can go on.
static void
stop_at_shuffle (Run * run, const Thread * t)
{
  const PtxInstruction *i = waits_at (run, t);
  const guint wanted = get (run, t, i, 4);
  const guint first = (t - run->threads) / WARP * WARP;

  for (guint k = 0; k < MIN (WARP, run->n_threads - first); k++)
    if ((wanted >> k & 1) && run->threads[first + k].state == DONE)
      stop (run, t, i, "lane %u, which it waits for, has returned", k);
  stop (run, t, i, "lanes that it waits for do not come");
}

// Nobody can go on, not all are done: all are at one barrier, or that is an
// error.
static void
pass_barrier (Run * run)
{
  const Thread *first = NULL;

  for (guint k = 0; k < run->n_threads; k++) {
    const Thread *t = &run->threads[k];

    if (t->state == AT_SHUFFLE) {
      stop_at_shuffle (run, t);
      return;
    }
    if (t->state == AT_BARRIER && !first)
      first = t;
  }
  for (guint k = 0; k < run->n_threads; k++) {
    const Thread *t = &run->threads[k];

    if (t->state == DONE)
      stop (run, first, waits_at (run, first),
          "threads of the block have returned");
    else if (t->pc != first->pc)
      stop (run, first, waits_at (run, first),
          "others wait at PTX line %u", waits_at (run, t)->line);
  }
  for (guint k = 0; k < run->n_threads && !run->why; k++)
    set_ready (run, k);
}

// One of the threads that can go on does so, as far as it can.
static void
run_some_thread (Run * run)
{
  const guint k = g_rand_int_range (run->random, 0, run->n_ready);
  Thread *t = &run->threads[run->ready[k]];
  const guint before = t->steps;

  run->ready[k] = run->ready[--run->n_ready];
  while (t->state == RUNNABLE && !run->why)
    step (run, t);
  n_executed += t->steps - before;
  if (t->state == AT_SHUFFLE)
    shuffle (run, t);
}

static gboolean
is_done (const Run * run)
{
  for (guint k = 0; k < run->n_threads; k++)
    if (run->threads[k].state != DONE)
      return FALSE;
  return TRUE;
}

static void
run_block (Run * run)
{
  const guint n_registers = run->kernel->n_registers;

  memset (run->shared_written, 0, run->kernel->shared_size);
  memset (run->written, 0, (gsize) run->n_threads * n_registers);
  run->n_ready = run->n_threads;
  for (guint k = 0; k < run->n_threads; k++) {
    run->ready[k] = k;
    run->threads[k] = (Thread) {
      .values = run->values + (gsize) k * n_registers,
      .written = run->written + (gsize) k * n_registers,
      .id = { k % run->block.x, k / run->block.x % run->block.y,
          k / run->block.x / run->block.y },
      .lane = k % WARP,
    };
  }
  while (!run->why) {
    if (run->n_ready > 0)
      run_some_thread (run);
    else if (is_done (run))
      return;
    else
      pass_barrier (run);
  }
}

static void
copy_params (Run * run, void *const *args)
{
  for (guint k = 0; k < run->kernel->params->len; k++) {
    const PtxVariable *v = &g_array_index (run->kernel->params, PtxVariable,
        k);

    memcpy (run->params + v->offset, args[k], v->size);
  }
}

static const PtxKernel *
find_kernel (const PtxModule * module, const char *name)
{
  for (guint k = 0; k < module->kernels->len; k++) {
    const PtxKernel *kernel = module->kernels->pdata[k];

    if (g_str_equal (kernel->name, name))
      return kernel;
  }
  return NULL;
}

gboolean
ptx_module_has (const PtxModule * module, const char *kernel)
{
  return find_kernel (module, kernel) != NULL;
}

gboolean
ptx_module_run (PtxModule * module, const char *name, PtxSize grid,
    PtxSize block, void *const *args, char **why)
{
  const guint n_threads = block.x * block.y * block.z;
  const guint n_blocks = grid.x * grid.y * grid.z;
  const PtxKernel *kernel = find_kernel (module, name);
  Run run = {
    .kernel = kernel,.grid = grid,.block = block,.n_threads = n_threads
  };
  g_autofree guint *order = g_new (guint, n_blocks);

  if (!kernel || n_threads == 0 || n_blocks == 0 || n_threads >
      (kernel->max_threads ? kernel->max_threads : 1024)) {
    *why = g_strdup_printf ("%s: no such kernel, or an impossible launch",
        name);
    return FALSE;
  }
  run.threads = g_new (Thread, n_threads);
  run.values = g_new (guint64, (gsize) n_threads * kernel->n_registers);
  run.written = g_new (guint8, (gsize) n_threads * kernel->n_registers);
  run.shared = g_malloc0 (kernel->shared_size);
  run.shared_written = g_malloc0 (kernel->shared_size);
  run.params = g_malloc0 (kernel->params_size);
  run.ready = g_new (guint, n_threads);
  run.random = g_rand_new_with_seed (seed);
  copy_params (&run, args);
  for (guint k = 0; k < n_blocks; k++) {
    const guint other = g_rand_int_range (run.random, 0, k + 1);

    order[k] = order[other];
    order[other] = k;
  }
  for (guint k = 0; k < n_blocks && !run.why; k++) {
    run.id = (PtxSize) {
      order[k] % grid.x, order[k] / grid.x % grid.y, order[k] / grid.x / grid.y
    };
    run_block (&run);
  }
  g_free (run.threads);
  g_free (run.values);
  g_free (run.written);
  g_free (run.shared);
  g_free (run.shared_written);
  g_free (run.params);
  g_free (run.ready);
  g_rand_free (run.random);
  *why = run.why;
  return run.why == NULL;
}
