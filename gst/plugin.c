/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstcascadepsprefine.h"

static gboolean
plugin_init (GstPlugin * plugin)
{
  return GST_ELEMENT_REGISTER (cascadepsprefine, plugin);
}

GST_PLUGIN_DEFINE (GST_VERSION_MAJOR, GST_VERSION_MINOR, cascadepsp,
    "Refines coarse segmentation masks with CascadePSP", plugin_init,
    PACKAGE_VERSION, "LGPL", PACKAGE, PACKAGE)
