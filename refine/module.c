/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE             // dladdr
#endif

#include "module.h"

#include "error.h"

#include <dlfcn.h>

#define MODULE "cpspcuda.so"

// Folders to look in: the one that a developer names, and no other, or that
// of the file that we are part of, and where modules are installed.
static char **
get_folders (void)
{
  const char *named = g_getenv ("CPSP_MODULES");
  g_autoptr (GPtrArray) folders = g_ptr_array_new ();
  Dl_info info;

  if (named) {
    g_ptr_array_add (folders, g_strdup (named));
  } else {
    if (dladdr ((void *) get_folders, &info) && info.dli_fname)
      g_ptr_array_add (folders, g_path_get_dirname (info.dli_fname));
    g_ptr_array_add (folders, g_strdup (CPSP_MODULES_DIR));
  }
  g_ptr_array_add (folders, NULL);
  return (char **) g_ptr_array_free (g_steal_pointer (&folders), FALSE);
}

static const CpspBackend *
open_module (const char *path, GError ** error)
{
  void *module = dlopen (path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  __typeof__ (&cpsp_module_version) version;
  __typeof__ (&cpsp_module_get_backend) get_backend;

  if (!module) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE, "%s", dlerror ());
    return NULL;
  }
  version = dlsym (module, "cpsp_module_version");
  *(void **) &get_backend = dlsym (module, "cpsp_module_get_backend");
  if (!version || !get_backend) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE,
        "%s is no module of this plugin", path);
    return NULL;
  }
  if (*version != CPSP_MODULE_VERSION) {
    g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE,
        "%s is of version %u, not %d", path, *version, CPSP_MODULE_VERSION);
    return NULL;
  }
  return get_backend (error);
}

const CpspBackend *
cpsp_module_get_cuda (GError ** error)
{
  g_auto (GStrv) folders = get_folders ();

  for (guint i = 0; folders[i]; i++) {
    g_autofree char *path = g_build_filename (folders[i], MODULE, NULL);

    if (g_file_test (path, G_FILE_TEST_EXISTS))
      return open_module (path, error);
  }
  g_set_error (error, CPSP_ERROR, CPSP_ERROR_DEVICE,
      "its module %s is not installed", MODULE);
  return NULL;
}
