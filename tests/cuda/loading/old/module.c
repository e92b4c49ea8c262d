/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A module of another version.
 */
#include "module.h"

const guint cpsp_module_version = 0;

const CpspBackend *
cpsp_module_get_backend (GError ** error)
{
  g_assert_not_reached ();
}
