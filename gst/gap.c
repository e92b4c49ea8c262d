/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gap.h"

// What the base class marks gaps for lost data with.
#define MISSING_DATA_META "GstAggregatorMissingDataMeta"

gboolean
gst_cascade_psp_gap_is (GstBuffer * buffer)
{
  return gst_buffer_get_size (buffer) == 0
      && GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_GAP);
}

gboolean
gst_cascade_psp_gap_is_missing_data (GstBuffer * buffer)
{
  return gst_buffer_get_custom_meta (buffer, MISSING_DATA_META) != NULL;
}

GstBuffer *
gst_cascade_psp_gap_new (GstBuffer * buffer, gboolean missing_data)
{
  GstBuffer *gap = gst_buffer_new ();

  GST_BUFFER_PTS (gap) = GST_BUFFER_PTS (buffer);
  GST_BUFFER_DURATION (gap) = GST_BUFFER_DURATION (buffer);
  GST_BUFFER_FLAG_SET (gap, GST_BUFFER_FLAG_GAP);
  if (missing_data)
    gst_buffer_add_custom_meta (gap, MISSING_DATA_META);
  return gap;
}

static GstPadProbeReturn
turn_into_event (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  GstEvent *gap;

  if (!gst_cascade_psp_gap_is (buffer))
    return GST_PAD_PROBE_OK;
  gap = gst_event_new_gap (GST_BUFFER_PTS (buffer),
      GST_BUFFER_DURATION (buffer));
  if (gst_cascade_psp_gap_is_missing_data (buffer))
    gst_event_set_gap_flags (gap, GST_GAP_FLAG_MISSING_DATA);
  gst_pad_push_event (pad, gap);
  return GST_PAD_PROBE_DROP;
}

void
gst_cascade_psp_gap_watch (GstPad * pad)
{
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, turn_into_event, NULL,
      NULL);
}
