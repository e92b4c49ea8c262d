/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "arena.h"

#define ALIGN 64

static gint
compare_size (gconstpointer a, gconstpointer b)
{
  const CpspTensor *x = *(CpspTensor * const *) a;
  const CpspTensor *y = *(CpspTensor * const *) b;

  if (x->size != y->size)
    return x->size > y->size ? -1 : 1;
  return x < y ? -1 : x > y;
}

static gint
compare_offset (gconstpointer a, gconstpointer b)
{
  const CpspTensor *x = *(CpspTensor * const *) a;
  const CpspTensor *y = *(CpspTensor * const *) b;

  return x->offset < y->offset ? -1 : x->offset > y->offset;
}

gboolean
cpsp_arena_place (CpspTensor * const *tensors, guint n, gboolean keep_all,
    gsize * size)
{
  g_autoptr (GPtrArray) order = g_ptr_array_new ();
  g_autoptr (GPtrArray) placed = g_ptr_array_new ();

  for (guint i = 0; i < n; i++)
    g_ptr_array_add (order, tensors[i]);
  g_ptr_array_sort (order, compare_size);
  for (guint i = 0; i < order->len; i++) {
    CpspTensor *t = g_ptr_array_index (order, i);

    t->offset = 0;
    for (guint j = 0; j < placed->len; j++) {
      const CpspTensor *other = g_ptr_array_index (placed, j);
      gboolean together = keep_all ||
          (t->first_op <= other->last_op && other->first_op <= t->last_op);

      if (together && t->offset + t->size > other->offset)
        t->offset = MAX (t->offset, (other->offset + other->size +
                ALIGN - 1) & ~(gsize) (ALIGN - 1));
    }
    g_ptr_array_add (placed, t);
    g_ptr_array_sort (placed, compare_offset);
    *size = MAX (*size, t->offset + t->size);
    // So that no sum of two of them can wrap.
    if (*size > G_MAXSSIZE)
      return FALSE;
  }
  return TRUE;
}
