/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/base/gstaggregator.h>

G_BEGIN_DECLS

#define GST_TYPE_CASCADE_PSP_REFINE (gst_cascade_psp_refine_get_type ())
G_DECLARE_FINAL_TYPE (GstCascadePspRefine, gst_cascade_psp_refine,
    GST, CASCADE_PSP_REFINE, GstAggregator)

GST_ELEMENT_REGISTER_DECLARE (cascadepsprefine)

G_END_DECLS
