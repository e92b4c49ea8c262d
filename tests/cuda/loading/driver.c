/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A driver that does not start, as after an update without a reboot.
 */
int cuInit (unsigned int flags);
int cuDriverGetVersion (int *version);
int cuGetProcAddress (const char *name, void **function, int version,
    unsigned long long flags);
int cuGetProcAddress_v2 (const char *name, void **function, int version,
    unsigned long long flags, int *status);

#define SYSTEM_DRIVER_MISMATCH 803
#define NOT_FOUND 500

int
cuInit (unsigned int flags)
{
  return SYSTEM_DRIVER_MISMATCH;
}

int
cuDriverGetVersion (int *version)
{
  *version = 13000;
  return 0;
}

int
cuGetProcAddress (const char *name, void **function, int version,
    unsigned long long flags)
{
  return cuGetProcAddress_v2 (name, function, version, flags, 0);
}

int
cuGetProcAddress_v2 (const char *name, void **function, int version,
    unsigned long long flags, int *status)
{
  static const struct
  {
    const char *name;
    void *function;
  } functions[] = {
    {"cuInit", cuInit},
    {"cuDriverGetVersion", cuDriverGetVersion},
    {"cuGetProcAddress", cuGetProcAddress_v2},
  };

  for (unsigned int i = 0; i < sizeof functions / sizeof *functions; i++)
    if (__builtin_strcmp (name, functions[i].name) == 0) {
      *function = functions[i].function;
      return 0;
    }
  *function = 0;
  return NOT_FOUND;
}
