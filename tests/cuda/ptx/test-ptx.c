/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The interpreter itself: instructions against values worked out by hand, and
 * that it finds what it is for.
 */
#include "ptx.h"

#include <string.h>

#define HEAD ".version 9.0\n.target sm_75\n.address_size 64\n"

// Runs kernel `k` of BODY with one parameter, DATA. NULL: nothing is wrong.
static char *
run (const char *body, guint n_blocks, guint n_threads, void *data)
{
  g_autofree char *text = g_strdup_printf (HEAD
      ".visible .entry k(\n\t.param .u64 k_param_0\n)\n"
      ".maxntid 64, 1, 1\n{\n"
      "\t.reg .pred %%p<9>;\n\t.reg .b32 %%r<99>;\n\t.reg .b64 %%rd<99>;\n"
      "\t.shared .align 4 .b8 pool[256];\n"
      "\tld.param.u64 %%rd1, [k_param_0];\n"
      "\tcvta.to.global.u64 %%rd2, %%rd1;\n"
      "\tmov.u32 %%r1, %%tid.x;\n"
      "\tmul.wide.u32 %%rd3, %%r1, 4;\n"
      "\tadd.s64 %%rd4, %%rd2, %%rd3;\n"
      "\tshl.b32 %%r2, %%r1, 2;\n"
      "\tmov.u32 %%r3, pool;\n"
      "\tadd.s32 %%r4, %%r3, %%r2;\n" "%s\n}\n", body);
  char *why = NULL;
  g_autoptr (PtxModule) module = ptx_module_new (text, &why);
  void *args[] = { &data };

  if (module)
    ptx_module_run (module, "k", (PtxSize) { n_blocks, 1, 1 },
        (PtxSize) { n_threads, 1, 1 }, args, &why);
  return why;
}

static void
test_instructions (void)
{
  // %r10 and %r11 hold a and b; what is in %r12 then is expected.
  static const struct
  {
    const char *code;
    guint32 a, b, expected;
  } cases[] = {
    {"add.s32 %r12, %r10, %r11;", 0xffffffff, 2, 1},
    {"sub.s32 %r12, %r10, %r11;", 1, 2, 0xffffffff},
    {"mul.lo.s32 %r12, %r10, %r11;", 0x10001, 0x10001, 0x20001},
    {"mul.hi.u32 %r12, %r10, %r11;", 0x80000000, 6, 3},
    {"mul.hi.s32 %r12, %r10, %r11;", 0x80000000, 6, 0xfffffffd},
    {"mul.wide.u32 %rd10, %r10, %r11; shr.u64 %rd10, %rd10, 32; "
          "cvt.u32.u64 %r12, %rd10;", 0x80000000, 6, 3},
    {"mad.lo.s32 %r12, %r10, %r11, 5;", 7, 0xffffffff, 0xfffffffe},
    {"div.s32 %r12, %r10, %r11;", 0xfffffff9, 2, 0xfffffffd},
    {"div.u32 %r12, %r10, %r11;", 0xfffffff9, 2, 0x7ffffffc},
    {"rem.s32 %r12, %r10, %r11;", 0xfffffff9, 2, 0xffffffff},
    {"min.s32 %r12, %r10, %r11;", 0xfffffff9, 2, 0xfffffff9},
    {"min.u32 %r12, %r10, %r11;", 0xfffffff9, 2, 2},
    {"neg.s32 %r12, %r10;", 3, 0, 0xfffffffd},
    {"abs.s32 %r12, %r10;", 0xfffffffd, 0, 3},
    {"not.b32 %r12, %r10;", 0x0f0f0f0f, 0, 0xf0f0f0f0},
    {"shl.b32 %r12, %r10, %r11;", 1, 40, 0},
    {"shr.s32 %r12, %r10, %r11;", 0x80000000, 40, 0xffffffff},
    {"shr.u32 %r12, %r10, %r11;", 0x80000000, 31, 1},
    {"prmt.b32 %r12, %r10, %r11, 0x9410;", 0x33221100, 0x778855f0,
        0x00f01100},
    {"bfi.b32 %r12, %r10, %r11, 8, 4;", 0xff, 0x12345678, 0x12345f78},
    {"setp.lt.s32 %p1, %r10, %r11; selp.b32 %r12, 1, 2, %p1;", 0xffffffff, 0,
        1},
    {"setp.lt.u32 %p1, %r10, %r11; selp.b32 %r12, 1, 2, %p1;", 0xffffffff, 0,
        2},
    {"setp.lo.u32 %p1|%p2, %r10, %r11; selp.b32 %r12, 1, 2, %p2;", 3, 4, 2},
    // floats: 1.5, NaN ...
    {"setp.neu.f32 %p1, %r10, %r11; selp.b32 %r12, 1, 2, %p1;", 0x7fc00000,
        0x3fc00000, 1},
    {"setp.ne.f32 %p1, %r10, %r11; selp.b32 %r12, 1, 2, %p1;", 0x7fc00000,
        0x3fc00000, 2},
    {"max.f32 %r12, %r10, %r11;", 0x7fc00000, 0x3fc00000, 0x3fc00000},
    {"fma.rn.f32 %r12, %r10, %r11, 0f3F800000;", 0x40000000, 0x40400000,
        0x40e00000},
    // 3 + 2^-24: down to 3, to the nearest too; -3 - 2^-24 down
    {"fma.rm.f32 %r12, %r10, %r11, 0f33800000;", 0x40400000, 0x3f800000,
        0x40400000},
    {"fma.rm.f32 %r12, %r10, %r11, 0fB3800000;", 0xc0400000, 0x3f800000,
        0xc0400001},
    {"copysign.f32 %r12, %r10, %r11;", 0x80000000, 0x3f800000, 0xbf800000},
    {"rcp.rn.f32 %r12, %r10;", 0x40000000, 0, 0x3f000000},
    {"ex2.approx.ftz.f32 %r12, %r10;", 0x40400000, 0, 0x41000000},
    {"cvt.rzi.s32.f32 %r12, %r10;", 0xbfc00000, 0, 0xffffffff},
    {"cvt.rmi.f32.f32 %r12, %r10;", 0xbfc00000, 0, 0xc0000000},
    {"cvt.rzi.u32.f32 %r12, %r10;", 0xbfc00000, 0, 0},
    {"cvt.rzi.u32.f32 %r12, %r10;", 0x7fc00000, 0, 0},
    {"cvt.rzi.u32.f32 %r12, %r10;", 0x50000000, 0, 0xffffffff},
    {"cvt.sat.f32.f32 %r12, %r10;", 0x40000000, 0, 0x3f800000},
    {"cvt.rn.f32.u32 %r12, %r10;", 0xffffffff, 0, 0x4f800000},
    {"cvt.rn.f32.s32 %r12, %r10;", 0xffffffff, 0, 0xbf800000},
    {"cvt.s32.s8 %r12, %r10;", 0x180, 0, 0xffffff80},
    // halves: 1, 65504, a tie to even, beyond the range
    {"cvt.rn.f16.f32 %r12, %r10;", 0x3f800000, 0, 0x3c00},
    {"cvt.rn.f16.f32 %r12, %r10;", 0x3f801000, 0, 0x3c00},
    {"cvt.rn.f16.f32 %r12, %r10;", 0x477ff000, 0, 0x7c00},
    {"cvt.f32.f16 %r12, %r10;", 0x7bff, 0, 0x477fe000},
    {"cvt.rn.f16x2.f32 %r12, %r10, %r11;", 0x3f800000, 0xc0000000,
        0x3c00c000},
    {"{ .reg .b16 low, high; mov.b32 {low, high}, %r10; "
          "mov.b32 %r12, {high, low}; }", 0x12345678, 0, 0x56781234},
  };
  guint32 *data = ptx_memory_new (12);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *body = g_strdup_printf ("ld.global.u32 %%r10, [%%rd2];\n"
        "ld.global.u32 %%r11, [%%rd2+4];\n%s\nst.global.u32 [%%rd2+8], %%r12;"
        "\nret;", cases[i].code);
    g_autofree char *why = NULL;

    data[0] = cases[i].a;
    data[1] = cases[i].b;
    why = run (body, 1, 1, data);
    g_test_message ("%s %#x", cases[i].code, data[2]);
    g_assert_cmpstr (why, ==, NULL);
    g_assert_cmphex (data[2], ==, cases[i].expected);
  }
  ptx_memory_free (data);
}

// Threads that exchange what they have through shared memory and shuffles.
static void
test_together (void)
{
  guint32 *data = ptx_memory_new (64 * 4);

  for (guint seed = 1; seed < 9; seed++) {
    g_autofree char *why = NULL;

    ptx_set_seed (seed);
    why = run ("st.shared.u32 [%r4], %r1;\nbar.sync 0;\n"
        "xor.b32 %r5, %r2, 252;\nadd.s32 %r6, %r3, %r5;\n"
        "ld.shared.u32 %r7, [%r6];\n"
        "shfl.sync.down.b32 %r8|%p1, %r7, 1, 31, -1;\n"
        "@!%p1 mov.u32 %r8, 7;\n" "st.global.u32 [%rd4], %r8;\nret;", 1, 64,
        data);
    g_assert_cmpstr (why, ==, NULL);
    for (guint i = 0; i < 64; i++)
      g_assert_cmpuint (data[i], ==, i % 32 == 31 ? 7 : 62 - i);
  }
  ptx_memory_free (data);
}

static void
test_bugs (void)
{
  static const struct
  {
    const char *code;
    const char *found;
  } bugs[] = {
    {"st.global.u32 [%rd4+4], %r1; ret;", "out of bounds"},
    {"st.global.u32 [%rd4+-4], %r1; ret;", "out of bounds"},
    {"ld.global.v2.u32 {%r5, %r6}, [%rd4]; ret;", "at no multiple"},
    {"st.global.u32 [%rd2+1], %r1; ret;", "at no multiple"},
    {"mov.u64 %rd5, 0; st.global.u32 [%rd5], %r1; ret;", "out of bounds"},
    {"st.global.u32 [%rd4], %r50; ret;", "never written"},
    {"setp.eq.s32 %p1, %r1, 3; @%p1 mov.u32 %r5, 1; "
          "st.global.u32 [%rd4], %r5; ret;", "never written"},
    {"ld.shared.u32 %r5, [%r4]; ret;", "never written"},
    {"st.shared.u32 [%r4+256], %r1; ret;", "out of bounds"},
    // no barrier
    {"st.shared.u32 [%r4], %r1; xor.b32 %r5, %r2, 124; add.s32 %r6, %r3, %r5; "
          "ld.shared.u32 %r6, [%r6]; ret;", "never written"},
    {"div.u32 %r5, 1, %r1; ret;", "divided by zero"},
    {"setp.eq.s32 %p1, %r1, 3; @%p1 ret; bar.sync 0; ret;",
        "have returned"},
    {"setp.lt.u32 %p1, %r1, 3; @%p1 bra $other; bar.sync 0; ret;\n"
          "$other: bar.sync 0; ret;", "others wait"},
    {"setp.eq.s32 %p1, %r1, 3; @%p1 ret; "
          "shfl.sync.bfly.b32 %r5, %r1, 1, 31, -1; ret;", "has returned"},
    {"setp.eq.s32 %p1, %r1, 3; @%p1 bar.sync 0; "
          "shfl.sync.bfly.b32 %r5, %r1, 1, 31, -1; ret;", "do not come"},
    {"shfl.sync.bfly.b32 %r5, %r1, 1, 31, 4; ret;", "own lane"},
    {"setp.ne.s32 %p1, %r1, 3; @%p1 ret; "
          "shfl.sync.idx.b32 %r5, %r1, 4, 31, 8; ret;", "not in its mask"},
    {"$again: bra $again; ret;", "does not end"},
    {"sin.approx.f32 %r5, %r1; ret;", "known"},
    {"add.rz.f32 %r5, %r1, %r1; ret;", "known"},
    {"ld.u32 %r5, [%rd4]; ret;", "which memory"},
    {".local .b8 stack[8]; ret;", "known"},
    {"mov.u32 %r5, nowhere; ret;", "what is"},
    {"bra $nowhere; ret;", "no such label"},
    {"add.s32 %r5, %r1, 1;", "no end"},
  };
  guint32 *data = ptx_memory_new (32 * 4);

  for (guint i = 0; i < G_N_ELEMENTS (bugs); i++) {
    g_autofree char *why = run (bugs[i].code, 1, 32, data);

    g_test_message ("%s: %s", bugs[i].code, why ? why : "nothing");
    g_assert_nonnull (why);
    g_assert_nonnull (strstr (why, bugs[i].found));
  }
  ptx_memory_free (data);
}

static void
test_launch (void)
{
  g_autofree char *small = run ("ret;", 1, 64, NULL);
  g_autofree char *large = run ("ret;", 1, 65, NULL);

  g_assert_cmpstr (small, ==, NULL);
  g_assert_nonnull (large);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/ptx/instructions", test_instructions);
  g_test_add_func ("/ptx/together", test_together);
  g_test_add_func ("/ptx/bugs", test_bugs);
  g_test_add_func ("/ptx/launch", test_launch);
  return g_test_run ();
}
