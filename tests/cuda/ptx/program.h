/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside the interpreter: PTX, parsed. Names are those of NVIDIA's "Parallel
 * Thread Execution ISA".
 */
#pragma once

#include "ptx.h"

G_BEGIN_DECLS

// Shared memory between and around variables that belongs to none.
#define PTX_RED_ZONE 64

#define PTX_MAX_OPERANDS 8

typedef enum
{
  PTX_ABS, PTX_ADD, PTX_AND, PTX_ATOM, PTX_BAR, PTX_BFI, PTX_BRA,
  PTX_COPYSIGN, PTX_CVT, PTX_CVTA, PTX_DIV, PTX_EX2, PTX_FMA, PTX_LD,
  PTX_LG2, PTX_MAD, PTX_MAX, PTX_MIN, PTX_MOV, PTX_MUL, PTX_NEG, PTX_NOT,
  PTX_OR, PTX_PRMT, PTX_RCP, PTX_RED, PTX_REM, PTX_RET, PTX_SELP, PTX_SETP,
  PTX_SHFL, PTX_SHL, PTX_SHR, PTX_SQRT, PTX_ST, PTX_SUB, PTX_XOR,
  PTX_N_OPCODES
} PtxOpcode;

typedef enum
{
  PTX_NONE, PTX_PRED, PTX_B, PTX_U, PTX_S, PTX_F
} PtxClass;

typedef struct
{
  PtxClass class;
  guint bits;
  guint lanes;                  // 2: f16x2
} PtxType;

// What stands between an instruction's name and its types.
typedef enum
{
  PTX_MOD_WIDE = 1 << 0,
  PTX_MOD_HI = 1 << 1,
  PTX_MOD_SAT = 1 << 2,
  PTX_MOD_RZI = 1 << 3,         // rounding of conversions
  PTX_MOD_RMI = 1 << 4,
  PTX_MOD_RPI = 1 << 5,
  PTX_MOD_RNI = 1 << 6,
  PTX_MOD_RM = 1 << 7,          // rounding of arithmetic; else to nearest
  PTX_MOD_UNORDERED = 1 << 8,   // ltu and the like
} PtxModifier;

typedef enum
{
  PTX_SPACE_NONE, PTX_GLOBAL, PTX_SHARED, PTX_PARAM
} PtxSpace;

// What it compares, what it does to memory, how it shuffles.
typedef enum
{
  PTX_EQ, PTX_NE, PTX_LT, PTX_LE, PTX_GT, PTX_GE,
  PTX_DO_ADD, PTX_DO_MIN, PTX_DO_MAX,
  PTX_UP, PTX_DOWN, PTX_BFLY, PTX_IDX,
  PTX_HOW_NONE
} PtxHow;

typedef enum
{
  PTX_REGISTER,
  PTX_IMMEDIATE,                // of an address in shared or param space too
  PTX_SPECIAL,                  // value: a PtxSpecial
} PtxKind;

typedef enum
{
  PTX_TID_X, PTX_TID_Y, PTX_TID_Z, PTX_NTID_X, PTX_NTID_Y, PTX_NTID_Z,
  PTX_CTAID_X, PTX_CTAID_Y, PTX_CTAID_Z, PTX_NCTAID_X, PTX_NCTAID_Y,
  PTX_NCTAID_Z, PTX_LANEID,
  PTX_N_SPECIALS
} PtxSpecial;

typedef struct
{
  PtxKind kind;
  guint reg;
  guint64 value;                // an offset, if the register is an address
  gboolean address;             // in brackets
} PtxOperand;

typedef struct
{
  PtxOpcode opcode;
  PtxType type;                 // the last one named
  PtxType to;                   // CVT: what is made
  guint modifiers;
  PtxSpace space;
  PtxHow how;
  // In the order of the text, vectors flattened; the first n_first are those
  // of the first vector or of the first operand, n_second of the second.
  PtxOperand operands[PTX_MAX_OPERANDS];
  guint n_operands, n_first, n_second;
  gint predicate;               // register; -1: always
  gboolean negated;
  gint second_dst;              // SHFL, SETP: behind `|`; -1: none
  guint target;                 // BRA: index of an instruction
  guint line;                   // in the text
  char *text;
} PtxInstruction;

typedef struct
{
  char *name;
  guint offset, size;
} PtxVariable;

typedef struct
{
  char *name;
  GArray *params;               // of PtxVariable, in param space
  guint params_size;
  GArray *shared;               // of PtxVariable
  guint shared_size;            // with red zones
  GArray *code;                 // of PtxInstruction
  guint n_registers;
  guint max_threads;            // of a block; 0: not said
} PtxKernel;

struct _PtxModule
{
  GPtrArray *kernels;           // of PtxKernel
};

G_END_DECLS
