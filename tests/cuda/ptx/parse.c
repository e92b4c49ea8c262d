/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From text to instructions. Statement by statement: nvcc's output is
 * regular, and what is not known is an error.
 */
#include "program.h"

#include <stdio.h>
#include <string.h>

typedef struct
{
  const char *at;
  guint line;
  char *why;                    // the first error
  PtxKernel *kernel;
  // Names to registers + 1. Scopes (of inline assembly) have some of their
  // own, found before those of outer ones.
  GPtrArray *scopes;            // of GHashTable
  GHashTable *labels;           // names to index of an instruction + 1
  GArray *branches;             // of Branch
} Parser;

typedef struct
{
  guint instruction;
  char *label;
} Branch;

static const char *const opcodes[PTX_N_OPCODES] = {
  "abs", "add", "and", "atom", "bar", "bfi", "bra", "copysign", "cvt", "cvta",
  "div", "ex2", "fma", "ld", "lg2", "mad", "max", "min", "mov", "mul", "neg",
  "not", "or", "prmt", "rcp", "red", "rem", "ret", "selp", "setp", "shfl",
  "shl", "shr", "sqrt", "st", "sub", "xor"
};

static const char *const specials[PTX_N_SPECIALS] = {
  "%tid.x", "%tid.y", "%tid.z", "%ntid.x", "%ntid.y", "%ntid.z", "%ctaid.x",
  "%ctaid.y", "%ctaid.z", "%nctaid.x", "%nctaid.y", "%nctaid.z", "%laneid"
};

G_GNUC_PRINTF (2, 3)
static void
fail (Parser * p, const char *format, ...)
{
  va_list args;

  if (p->why)
    return;
  va_start (args, format);
  g_autofree char *what = g_strdup_vprintf (format, args);
  va_end (args);
  p->why = g_strdup_printf ("PTX line %u: %s", p->line, what);
}

static int
find_name (const char *const *names, guint n, const char *name)
{
  for (guint i = 0; i < n; i++)
    if (g_str_equal (names[i], name))
      return i;
  return -1;
}

static void
skip_blanks (Parser * p)
{
  for (;; p->at++) {
    if (g_str_has_prefix (p->at, "//"))
      p->at += strcspn (p->at, "\n");
    if (*p->at == '\n')
      p->line++;
    if (*p->at == '\0' || !g_ascii_isspace (*p->at))
      return;
  }
}

// The text up to one of STOPS, which is next; blanks around it gone.
static char *
take (Parser * p, const char *stops)
{
  GString *text = g_string_new (NULL);

  skip_blanks (p);
  while (*p->at && !strchr (stops, *p->at)) {
    g_string_append_c (text, *p->at);
    p->at++;
    if (g_ascii_isspace (*p->at) || *p->at == '/') {
      skip_blanks (p);
      g_string_append_c (text, ' ');
    }
  }
  if (!*p->at)
    fail (p, "the text ends");
  return g_strchomp (g_string_free (text, FALSE));
}

/* Types and modifiers */

static gboolean
parse_type (const char *text, PtxType * type)
{
  static const struct
  {
    char letter;
    PtxClass class;
  } classes[] = { {'b', PTX_B}, {'u', PTX_U}, {'s', PTX_S}, {'f', PTX_F} };
  char *end;

  if (g_str_equal (text, "pred")) {
    *type = (PtxType) { PTX_PRED, 1, 1 };
    return TRUE;
  }
  if (g_str_equal (text, "f16x2")) {
    *type = (PtxType) { PTX_F, 16, 2 };
    return TRUE;
  }
  for (guint i = 0; i < G_N_ELEMENTS (classes); i++)
    if (text[0] == classes[i].letter) {
      guint64 bits = g_ascii_strtoull (text + 1, &end, 10);

      *type = (PtxType) { classes[i].class, bits, 1 };
      return *end == '\0' && (bits == 8 || bits == 16 || bits == 32 ||
          bits == 64);
    }
  return FALSE;
}

// What changes nothing here: rounding to nearest, approximations that are
// taken for exact, caching, scope, what is the default.
static const char *const ignored[] = {
  "rn", "approx", "ftz", "lo", "nc", "to", "sync", "uni", "relaxed", "gpu",
  "aligned", "full"
};

static const struct
{
  const char *name;
  guint modifier;
} modifiers[] = {
  {"wide", PTX_MOD_WIDE}, {"hi", PTX_MOD_HI}, {"sat", PTX_MOD_SAT},
  {"rzi", PTX_MOD_RZI}, {"rmi", PTX_MOD_RMI}, {"rpi", PTX_MOD_RPI},
  {"rni", PTX_MOD_RNI}, {"rm", PTX_MOD_RM},
};

static const struct
{
  const char *name;
  PtxHow how;
} hows[] = {
  {"eq", PTX_EQ}, {"ne", PTX_NE}, {"lt", PTX_LT}, {"le", PTX_LE},
  {"gt", PTX_GT}, {"ge", PTX_GE}, {"lo", PTX_LT}, {"ls", PTX_LE},
  {"hi", PTX_GT}, {"hs", PTX_GE}, {"add", PTX_DO_ADD}, {"min", PTX_DO_MIN},
  {"max", PTX_DO_MAX}, {"up", PTX_UP}, {"down", PTX_DOWN},
  {"bfly", PTX_BFLY}, {"idx", PTX_IDX},
};

static gboolean
parse_how (PtxInstruction * i, const char *part)
{
  // ltu and the like: true for NaN
  const gboolean unordered = strlen (part) == 3 && part[2] == 'u';

  for (guint k = 0; k < G_N_ELEMENTS (hows); k++)
    if (g_str_equal (hows[k].name, part) || (unordered &&
            strlen (hows[k].name) == 2 && strncmp (hows[k].name, part, 2)
            == 0)) {
      i->how = hows[k].how;
      if (unordered)
        i->modifiers |= PTX_MOD_UNORDERED;
      return TRUE;
    }
  return FALSE;
}

static gboolean
parse_modifier (PtxInstruction * i, const char *part)
{
  static const char *const spaces[] = { "", "global", "shared", "param" };
  const int space = find_name (spaces, G_N_ELEMENTS (spaces), part);

  if (space >= 0) {
    i->space = space;
    return TRUE;
  }
  if ((i->opcode == PTX_SETP || i->opcode == PTX_SHFL ||
          i->opcode == PTX_ATOM || i->opcode == PTX_RED) &&
      parse_how (i, part))
    return TRUE;
  for (guint k = 0; k < G_N_ELEMENTS (modifiers); k++)
    if (g_str_equal (modifiers[k].name, part)) {
      i->modifiers |= modifiers[k].modifier;
      return TRUE;
    }
  // vectors: their operands say how long they are
  return g_str_equal (part, "v2") || g_str_equal (part, "v4") ||
      find_name (ignored, G_N_ELEMENTS (ignored), part) >= 0;
}

static void
parse_name (Parser * p, PtxInstruction * i, const char *name)
{
  g_auto (GStrv) parts = g_strsplit (name, ".", -1);
  const int opcode = find_name (opcodes, PTX_N_OPCODES, parts[0]);

  if (opcode < 0) {
    fail (p, "no such instruction is known: %s", name);
    return;
  }
  i->opcode = opcode;
  for (guint k = 1; parts[k]; k++) {
    PtxType type;

    if (parse_type (parts[k], &type)) {
      i->to = i->type;
      i->type = type;
    } else if (!parse_modifier (i, parts[k])) {
      fail (p, "%s of %s is not known", parts[k], name);
      return;
    }
  }
}

/* Operands */

static guint
add_register (Parser * p, GHashTable * scope, const char *name)
{
  const guint reg = p->kernel->n_registers++;

  g_hash_table_insert (scope, g_strdup (name), GUINT_TO_POINTER (reg + 1));
  return reg;
}

static gboolean
find_register (Parser * p, const char *name, guint * reg)
{
  for (guint i = p->scopes->len; i-- > 0;) {
    const guint found = GPOINTER_TO_UINT (g_hash_table_lookup
        (p->scopes->pdata[i], name));

    if (found) {
      *reg = found - 1;
      return TRUE;
    }
  }
  // %r<240> is declared by its number, so each is known when it is first used
  if (name[0] != '%')
    return FALSE;
  *reg = add_register (p, p->scopes->pdata[0], name);
  return TRUE;
}

// A variable of shared memory, a parameter: their addresses.
static gboolean
find_variable (const GArray * variables, const char *name, guint64 * address)
{
  for (guint i = 0; i < variables->len; i++) {
    const PtxVariable *v = &g_array_index (variables, PtxVariable, i);

    if (g_str_equal (v->name, name)) {
      *address = v->offset;
      return TRUE;
    }
  }
  return FALSE;
}

static gboolean
parse_number (const char *text, guint64 * value)
{
  char *end;

  if (g_str_has_prefix (text, "0f") || g_str_has_prefix (text, "0d"))
    *value = g_ascii_strtoull (text + 2, &end, 16);
  else if (text[0] == '-')
    *value = (guint64) g_ascii_strtoll (text, &end, 0);
  else
    *value = g_ascii_strtoull (text, &end, 0);
  return end != text && (*end == '\0' || g_str_equal (end, "U"));
}

static void
parse_value (Parser * p, PtxOperand * operand, const char *text)
{
  const int special = find_name (specials, PTX_N_SPECIALS, text);

  if (special >= 0) {
    operand->kind = PTX_SPECIAL;
    operand->value = special;
  } else if (parse_number (text, &operand->value) ||
      find_variable (p->kernel->shared, text, &operand->value) ||
      find_variable (p->kernel->params, text, &operand->value))
    operand->kind = PTX_IMMEDIATE;
  else if (find_register (p, text, &operand->reg))
    operand->kind = PTX_REGISTER;
  else
    fail (p, "what is %s?", text);
}

static PtxOperand *
add_operand (Parser * p, PtxInstruction * i)
{
  static PtxOperand none;

  if (i->n_operands == PTX_MAX_OPERANDS) {
    fail (p, "too many operands");
    return &none;
  }
  return &i->operands[i->n_operands++];
}

// `[base+offset]`, without the brackets.
static void
parse_address (Parser * p, PtxInstruction * i, const char *text)
{
  PtxOperand *operand = add_operand (p, i);
  const char *plus = strchr (text, '+');
  g_autofree char *base = g_strndup (text, plus ? (gsize) (plus - text) :
      strlen (text));
  guint64 offset = 0;

  g_strstrip (base);
  parse_value (p, operand, base);
  if (plus && !parse_number (plus + 1, &offset))
    fail (p, "what is %s?", text);
  operand->address = TRUE;
  if (operand->kind == PTX_IMMEDIATE)
    operand->value += offset;
  else
    operand->value = offset;
}

static void
parse_operand (Parser * p, PtxInstruction * i, char *text)
{
  const gsize n = strlen (text);
  char *bar = strchr (text, '|');

  if (text[0] == '{' || text[0] == '[') {
    text[n - 1] = '\0';
    if (text[0] == '[') {
      parse_address (p, i, text + 1);
    } else {
      g_auto (GStrv) parts = g_strsplit (text + 1, ",", -1);

      for (guint k = 0; parts[k]; k++)
        parse_value (p, add_operand (p, i), g_strstrip (parts[k]));
    }
    return;
  }
  if (bar) {
    PtxOperand second;

    *bar = '\0';
    parse_value (p, &second, g_strstrip (bar + 1));
    i->second_dst = second.reg;
    g_strchomp (text);
  }
  parse_value (p, add_operand (p, i), text);
}

// At the commas that are not within braces.
static void
parse_operands (Parser * p, PtxInstruction * i, char *text)
{
  guint depth = 0, nth = 0;

  for (char *c = text, *start = text;; c++) {
    depth += *c == '{' || *c == '[';
    depth -= *c == '}' || *c == ']';
    if (*c == '\0' || (*c == ',' && depth == 0)) {
      const gboolean last = *c == '\0';
      const guint before = i->n_operands;

      *c = '\0';
      if (*g_strstrip (start))
        parse_operand (p, i, g_strstrip (start));
      if (nth < 2)
        *(nth == 0 ? &i->n_first : &i->n_second) = i->n_operands - before;
      nth++;
      if (last || p->why)
        return;
      start = c + 1;
    }
  }
}

/* Statements */

static void
parse_instruction (Parser * p, const char *statement)
{
  PtxInstruction i = {
    .predicate = -1,.second_dst = -1,.how = PTX_HOW_NONE,.line = p->line,
    .text = g_strdup (statement)
  };
  const char *rest = statement;

  if (rest[0] == '@') {
    const gsize n = strcspn (rest, " ");
    g_autofree char *name = NULL;
    guint reg = 0;

    i.negated = rest[1] == '!';
    name = g_strndup (rest + 1 + i.negated, n - 1 - i.negated);
    if (!find_register (p, name, &reg))
      fail (p, "what is %s?", name);
    i.predicate = reg;
    rest += n;
    while (*rest == ' ')
      rest++;
  }
  const gsize n = strcspn (rest, " ");
  g_autofree char *name = g_strndup (rest, n);
  g_autofree char *operands = g_strdup (rest + n);

  parse_name (p, &i, name);
  if (i.opcode == PTX_BRA && !p->why) {
    Branch branch = { p->kernel->code->len, g_strdup (g_strstrip (operands)) };

    g_array_append_val (p->branches, branch);
  } else if (!p->why) {
    parse_operands (p, &i, operands);
  }
  g_array_append_val (p->kernel->code, i);
}

// .reg .f16 low, high: in a scope of its own. Those of the whole kernel are
// known by their `%`.
static void
parse_registers (Parser * p, const char *statement)
{
  const char *names = strchr (statement + strlen (".reg "), ' ');
  g_auto (GStrv) parts = g_strsplit (names ? names : "", ",", -1);

  for (guint k = 0; parts[k]; k++)
    if (!strchr (parts[k], '<'))
      add_register (p, p->scopes->pdata[p->scopes->len - 1],
          g_strstrip (parts[k]));
}

// `.align 16 .b8 name[8192]`, of which blanks and `.align` may be missing.
static gboolean
parse_variable (const char *text, PtxVariable * variable)
{
  g_auto (GStrv) words = g_strsplit (text, " ", -1);
  guint align = 0;

  *variable = (PtxVariable) { NULL, 0, 1 };
  for (guint k = 0; words[k]; k++) {
    char *bracket = strchr (words[k], '[');
    PtxType type;

    if (g_str_equal (words[k], ".align") && words[k + 1]) {
      align = g_ascii_strtoull (words[++k], NULL, 10);
    } else if (words[k][0] == '.' && parse_type (words[k] + 1, &type)) {
      variable->size *= type.bits / 8;
    } else if (words[k][0] != '.' && words[k][0]) {
      if (bracket) {
        variable->size *= g_ascii_strtoull (bracket + 1, NULL, 10);
        *bracket = '\0';
      }
      g_free (variable->name);
      variable->name = g_strdup (words[k]);
    }
  }
  variable->offset = align ? align : variable->size;
  return variable->name != NULL;
}

// Its alignment is at most the red zone.
static void
parse_shared (Parser * p, const char *statement)
{
  PtxKernel *kernel = p->kernel;
  PtxVariable variable;

  if (!parse_variable (statement, &variable)) {
    fail (p, "what is %s?", statement);
    return;
  }
  variable.offset = kernel->shared_size + PTX_RED_ZONE;
  kernel->shared_size = (variable.offset + variable.size + PTX_RED_ZONE - 1) /
      PTX_RED_ZONE * PTX_RED_ZONE;
  g_array_append_val (kernel->shared, variable);
}

static void
parse_statement (Parser * p, const char *statement)
{
  if (statement[0] == '\0' || g_str_has_prefix (statement, ".pragma") ||
      g_str_has_prefix (statement, ".loc "))
    return;
  if (g_str_has_prefix (statement, ".reg "))
    parse_registers (p, statement);
  else if (g_str_has_prefix (statement, ".shared "))
    parse_shared (p, statement);
  else if (statement[0] == '.')
    fail (p, "no such directive is known: %s", statement);
  else
    parse_instruction (p, statement);
}

static void
push_scope (Parser * p)
{
  g_ptr_array_add (p->scopes, g_hash_table_new_full (g_str_hash, g_str_equal,
          g_free, NULL));
}

// A label that is next, or NULL.
static char *
take_label (Parser * p)
{
  const gsize n = strspn (p->at, "$_" G_CSET_A_2_Z G_CSET_a_2_z
      G_CSET_DIGITS);
  char *label;

  if (n == 0 || p->at[n] != ':')
    return NULL;
  label = g_strndup (p->at, n);
  p->at += n + 1;
  return label;
}

// Behind the opening brace, to behind the closing one.
static void
parse_body (Parser * p)
{
  push_scope (p);
  while (p->scopes->len > 0 && !p->why) {
    g_autofree char *label = NULL;

    skip_blanks (p);
    if (*p->at == '{') {
      p->at++;
      push_scope (p);
    } else if (*p->at == '}') {
      p->at++;
      g_ptr_array_set_size (p->scopes, p->scopes->len - 1);
    } else if ((label = take_label (p))) {
      g_hash_table_insert (p->labels, g_steal_pointer (&label),
          GUINT_TO_POINTER (p->kernel->code->len + 1));
    } else {
      g_autofree char *statement = take (p, ";");

      parse_statement (p, statement);
      p->at += *p->at == ';';
    }
  }
  g_ptr_array_set_size (p->scopes, 0);
}

static void
parse_params (Parser * p, const char *text)
{
  g_auto (GStrv) params = g_strsplit (text, ",", -1);
  PtxKernel *kernel = p->kernel;

  for (guint k = 0; params[k] && *g_strstrip (params[k]); k++) {
    PtxVariable variable;
    guint align;

    if (!parse_variable (params[k], &variable)) {
      fail (p, "what is %s?", params[k]);
      return;
    }
    align = variable.offset;
    variable.offset = (kernel->params_size + align - 1) / align * align;
    kernel->params_size = variable.offset + variable.size;
    g_array_append_val (kernel->params, variable);
  }
}

static void
resolve_branches (Parser * p)
{
  for (guint k = 0; k < p->branches->len; k++) {
    const Branch *branch = &g_array_index (p->branches, Branch, k);
    const guint target = GPOINTER_TO_UINT (g_hash_table_lookup (p->labels,
            branch->label));

    if (target == 0)
      fail (p, "no such label: %s", branch->label);
    else if (target > p->kernel->code->len)
      fail (p, "nothing follows %s", branch->label);
    else
      g_array_index (p->kernel->code, PtxInstruction,
          branch->instruction).target = target - 1;
  }
  g_hash_table_remove_all (p->labels);
  g_array_set_size (p->branches, 0);
}

static void
clear_variable (gpointer data)
{
  g_free (((PtxVariable *) data)->name);
}

static void
clear_instruction (gpointer data)
{
  g_free (((PtxInstruction *) data)->text);
}

static void
clear_branch (gpointer data)
{
  g_free (((Branch *) data)->label);
}

static GArray *
array_new (guint size, GDestroyNotify clear)
{
  GArray *array = g_array_new (FALSE, TRUE, size);

  g_array_set_clear_func (array, clear);
  return array;
}

static void
kernel_free (gpointer data)
{
  PtxKernel *kernel = data;

  g_free (kernel->name);
  g_array_unref (kernel->params);
  g_array_unref (kernel->shared);
  g_array_unref (kernel->code);
  g_free (kernel);
}

// .maxntid and the like, behind the parameters.
static void
parse_directives (PtxKernel * kernel, const char *text)
{
  const char *at = strstr (text, ".maxntid ");
  guint x, y = 1, z = 1;

  if (at && sscanf (at, ".maxntid %u, %u, %u", &x, &y, &z) >= 1)
    kernel->max_threads = x * y * z;
}

// Nothing runs beyond the last instruction.
static gboolean
ends (const PtxKernel * kernel)
{
  const PtxInstruction *last = kernel->code->len == 0 ? NULL :
      &g_array_index (kernel->code, PtxInstruction, kernel->code->len - 1);

  return last && last->predicate < 0 && (last->opcode == PTX_RET ||
      last->opcode == PTX_BRA);
}

// Behind `.entry`.
static void
parse_kernel (Parser * p, PtxModule * module)
{
  PtxKernel *kernel = g_new0 (PtxKernel, 1);
  g_autofree char *params = NULL, *directives = NULL;

  p->kernel = kernel;
  kernel->params = array_new (sizeof (PtxVariable), clear_variable);
  kernel->shared = array_new (sizeof (PtxVariable), clear_variable);
  kernel->code = array_new (sizeof (PtxInstruction), clear_instruction);
  g_ptr_array_add (module->kernels, kernel);
  kernel->name = take (p, "(");
  p->at += *p->at == '(';
  params = take (p, ")");
  parse_params (p, params);
  p->at += *p->at == ')';
  directives = take (p, "{");
  parse_directives (kernel, directives);
  p->at += *p->at == '{';
  if (!p->why)
    parse_body (p);
  if (!p->why)
    resolve_branches (p);
  if (!p->why && !ends (kernel))
    fail (p, "%s has no end", kernel->name);
}

PtxModule *
ptx_module_new (const char *text, char **why)
{
  PtxModule *module = g_new0 (PtxModule, 1);
  Parser p = {.at = text,.line = 1 };

  module->kernels = g_ptr_array_new_with_free_func (kernel_free);
  p.scopes = g_ptr_array_new_with_free_func ((GDestroyNotify)
      g_hash_table_unref);
  p.labels = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  p.branches = array_new (sizeof (Branch), clear_branch);
  while (!p.why) {
    const gsize n = strcspn (p.at, " \t\n(");

    if (n == strlen (".entry") && g_str_has_prefix (p.at, ".entry")) {
      p.at += n;
      parse_kernel (&p, module);
    } else {
      p.at += n;
      skip_blanks (&p);
      if (!*p.at)
        break;
      p.at += *p.at == '(';
    }
  }
  g_ptr_array_unref (p.scopes);
  g_hash_table_unref (p.labels);
  g_array_unref (p.branches);
  if (p.why) {
    *why = p.why;
    ptx_module_free (module);
    return NULL;
  }
  return module;
}

void
ptx_module_free (PtxModule * module)
{
  g_ptr_array_unref (module->kernels);
  g_free (module);
}
