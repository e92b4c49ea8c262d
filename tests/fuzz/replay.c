/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fuzz-TARGET [-t SECONDS] [-n COUNT] [-s SEED] [-l BYTES] [FILE|FOLDER...]
 *
 * Runs the files, then inputs made from the seeds SEED, SEED + 1... until
 * SECONDS have passed or COUNT have run: random bytes, or one of the files
 * with some bytes changed, BYTES at most. A seed stands for the same input as
 * long as the files and BYTES are the same. An input that breaks something, or
 * takes more than two minutes, ends the program; it is named on stderr
 * and left in the working folder as `fuzz-failure.bin`.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>

// Longest that one input may take, under valgrind on a busy machine.
#define INPUT_SECONDS 120

#define FAILURE_FILE "fuzz-failure.bin"

typedef struct
{
  char *name;
  GBytes *bytes;
} File;

// For the signal handler, which may allocate nothing.
static char input_name[1024];
static const guint8 *input_data;
static gsize input_size;

// NULL without the sanitizers.
void __sanitizer_set_death_callback (void (*callback) (void))
    __attribute__((weak));
void __lsan_disable (void) __attribute__((weak));
void __lsan_enable (void) __attribute__((weak));

// GLib loses an array that it allocates before main(), when it grows.
static void
ignore_leaks_until_main (void)
{
  if (__lsan_disable)
    __lsan_disable ();
}

__attribute__((section (".preinit_array"), used))
static void (*const before_libraries) (void) = ignore_leaks_until_main;

static void
write_all (int file, const void *data, gsize size)
{
  const guint8 *at = data;

  while (size > 0) {
    ssize_t n = write (file, at, size);

    if (n <= 0)
      return;
    at += n;
    size -= (gsize) n;
  }
}

static void
name_culprit (void)
{
  int file = open (FAILURE_FILE, O_WRONLY | O_CREAT | O_TRUNC, 0666);

  write_all (STDERR_FILENO, "\nfailed: ", 9);
  write_all (STDERR_FILENO, input_name, strlen (input_name));
  write_all (STDERR_FILENO, ", kept as " FAILURE_FILE "\n",
      strlen (", kept as " FAILURE_FILE "\n"));
  if (file >= 0) {
    write_all (file, input_data, input_size);
    close (file);
  }
}

static void
on_signal (int number)
{
  if (number == SIGALRM) {
    write_all (STDERR_FILENO, "\nhangs", 6);
    number = SIGABRT;
  }
  name_culprit ();
  signal (number, SIG_DFL);
  raise (number);
}

static void
watch (void)
{
  signal (SIGALRM, on_signal);
  signal (SIGABRT, on_signal);
  signal (SIGTRAP, on_signal);
  if (__sanitizer_set_death_callback) {
    __sanitizer_set_death_callback (name_culprit);
    return;
  }
  signal (SIGSEGV, on_signal);
  signal (SIGBUS, on_signal);
  signal (SIGFPE, on_signal);
  signal (SIGILL, on_signal);
}

static void
run (const char *name, const guint8 * data, gsize size)
{
  g_strlcpy (input_name, name, sizeof (input_name));
  input_data = data;
  input_size = size;
  alarm (INPUT_SECONDS);
  LLVMFuzzerTestOneInput (data, size);
  alarm (0);
  g_strlcpy (input_name, "none: after the last input", sizeof (input_name));
  input_size = 0;
}

static void
file_free (gpointer data)
{
  File *file = data;

  g_free (file->name);
  g_bytes_unref (file->bytes);
  g_free (file);
}

static gint
compare_files (gconstpointer a, gconstpointer b)
{
  return strcmp ((*(File * const *) a)->name, (*(File * const *) b)->name);
}

// PATH is a file, or a folder of files.
static void
load (GPtrArray * files, const char *path)
{
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *entry;
  char *contents;
  gsize size;

  if (dir) {
    while ((entry = g_dir_read_name (dir))) {
      g_autofree char *child = g_build_filename (path, entry, NULL);

      load (files, child);
    }
  } else if (g_file_get_contents (path, &contents, &size, NULL)) {
    File *file = g_new (File, 1);

    file->name = g_strdup (path);
    file->bytes = g_bytes_new_take (contents, size);
    g_ptr_array_add (files, file);
  } else {
    g_printerr ("Cannot read %s.\n", path);
    exit (2);
  }
}

static void
change (GRand * random, GByteArray * bytes)
{
  guint at = bytes->len ? g_rand_int_range (random, 0, bytes->len) : 0;
  guint8 value = (guint8) g_rand_int (random);
  guint n;

  switch (g_rand_int_range (random, 0, 5)) {
    case 0:
      g_byte_array_append (bytes, &value, 1);
      break;
    case 1:
      g_byte_array_set_size (bytes, at);
      break;
    case 2:
      n = MIN (bytes->len - at, 1 + value % 16u);
      g_byte_array_remove_range (bytes, at, n);
      break;
    case 3:
      if (bytes->len)
        bytes->data[at] ^= (guint8) (1 << value % 8);
      break;
    default:
      if (bytes->len)
        bytes->data[at] = value;
      break;
  }
}

static GByteArray *
make_input (guint32 seed, const GPtrArray * files, guint max_bytes)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (seed);
  GByteArray *bytes = g_byte_array_new ();

  if (files->len > 0 && g_rand_boolean (random)) {
    const File *file = files->pdata[g_rand_int_range (random, 0, files->len)];
    guint changes = 1 << g_rand_int_range (random, 0, 6);

    g_byte_array_append (bytes, g_bytes_get_data (file->bytes, NULL),
        g_bytes_get_size (file->bytes));
    while (changes--)
      change (random, bytes);
  } else {
    g_byte_array_set_size (bytes, g_rand_int_range (random, 1, max_bytes + 1));
    for (guint i = 0; i < bytes->len; i++)
      bytes->data[i] = (guint8) g_rand_int (random);
  }
  return bytes;
}

int
main (int argc, char **argv)
{
  gint seconds = 0, count = 0, seed = 1, max_bytes = 256;
  g_auto (GStrv) paths = NULL;
  GOptionEntry options[] = {
    {"time", 't', 0, G_OPTION_ARG_INT, &seconds, "Seconds to run", "SECONDS"},
    {"count", 'n', 0, G_OPTION_ARG_INT, &count, "Inputs to make", "COUNT"},
    {"seed", 's', 0, G_OPTION_ARG_INT, &seed, "The first seed", "SEED"},
    {"length", 'l', 0, G_OPTION_ARG_INT, &max_bytes, "Longest random input",
        "BYTES"},
    {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &paths, NULL,
        "[FILE|FOLDER...]"},
    G_OPTION_ENTRY_NULL
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GPtrArray) files = g_ptr_array_new_with_free_func (file_free);
  g_autoptr (GError) error = NULL;
  gint64 end;
  gint made = 0;

  if (__lsan_enable)
    __lsan_enable ();
  g_option_context_add_main_entries (context, options, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error)
      || max_bytes < 1) {
    g_printerr ("%s\n", error ? error->message : "No such length.");
    return 2;
  }
  for (guint i = 0; paths && paths[i]; i++)
    load (files, paths[i]);
  g_ptr_array_sort (files, compare_files);

  end = g_get_monotonic_time () + seconds * G_TIME_SPAN_SECOND;
  LLVMFuzzerInitialize (&argc, &argv);
  watch ();

  for (guint i = 0; i < files->len; i++) {
    const File *file = files->pdata[i];

    run (file->name, g_bytes_get_data (file->bytes, NULL),
        g_bytes_get_size (file->bytes));
  }
  while (made < count || g_get_monotonic_time () < end) {
    g_autoptr (GByteArray) input =
        make_input ((guint32) (seed + made), files, (guint) max_bytes);
    g_autofree char *name = g_strdup_printf ("-s %d -n 1", seed + made);

    run (name, input->data, input->len);
    made++;
  }
  g_print ("%u files, %d inputs from seed %d: passed\n", files->len, made,
      seed);
  return 0;
}
