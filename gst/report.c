/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "report.h"

// Weight of the newest frame in the mean.
#define NEWEST 0.1

static const char *const fates[] = {
  [GST_CASCADE_PSP_REFINED] = "refined",
  [GST_CASCADE_PSP_REPEATED] = "repeated",
  [GST_CASCADE_PSP_COARSE] = "coarse",
  [GST_CASCADE_PSP_PASSED] = "passed",
  [GST_CASCADE_PSP_DROPPED] = "dropped",
};

double
gst_cascade_psp_get_quality (const CpspSettings * settings, guint long_side,
    const CpspStats * stats)
{
  guint size = settings->enlarge_small ? settings->crop_size
      : MIN (long_side, settings->crop_size);
  double quality = 1;

  // It may be smaller by rounding.
  if (stats->global_size > 0 && stats->global_size + 1 < size)
    quality = (double) stats->global_size * stats->global_size / size / size;
  if (stats->local_skipped)
    quality *= 0.5;
  else if (stats->crops_skipped > 0)
    quality *= 0.5 + 0.5 * stats->crops_run / stats->crops_planned;
  return quality;
}

void
gst_cascade_psp_report_clear (GstCascadePspReport * report)
{
  g_free (report->model);
  g_free (report->device);
  memset (report, 0, sizeof (*report));
}

void
gst_cascade_psp_report_add (GstCascadePspReport * report,
    const GstCascadePspFrameReport * frame)
{
  gboolean resumed = frame->fate == GST_CASCADE_PSP_REPEATED
      && frame->stats.total_ms > 0 && !frame->stats.unfinished;

  report->frames++;
  report->fates[frame->fate]++;
  report->resumed += resumed;
  report->degraded += frame->fate == GST_CASCADE_PSP_REFINED
      && frame->overloaded;
  report->late += frame->jitter > 0;
  report->missing_masks += frame->missing;
  report->last = *frame;
  if (frame->fate == GST_CASCADE_PSP_REFINED || resumed)
    report->last_refined = *frame;
  if (frame->quality > 0 && GST_CLOCK_TIME_IS_VALID (frame->duration)
      && frame->duration > 0) {
    double proportion = frame->stats.total_ms * GST_MSECOND / frame->quality
        / frame->duration;

    report->proportion += (report->proportion > 0 ? NEWEST : 1)
        * (proportion - report->proportion);
  }
}

static void
add_steps (GstStructure * structure, const GstCascadePspFrameReport * frame)
{
  gst_structure_set (structure,
      "global-ms", G_TYPE_DOUBLE, frame->stats.global_ms,
      "local-ms", G_TYPE_DOUBLE, frame->stats.local_ms,
      "finish-ms", G_TYPE_DOUBLE, frame->stats.finish_ms,
      "total-ms", G_TYPE_DOUBLE, frame->stats.total_ms,
      "global-size", G_TYPE_UINT, frame->stats.global_size,
      "crops-planned", G_TYPE_UINT, frame->stats.crops_planned,
      "crops-run", G_TYPE_UINT, frame->stats.crops_run,
      "crops-skipped", G_TYPE_UINT, frame->stats.crops_skipped,
      "local-skipped", G_TYPE_BOOLEAN, frame->stats.local_skipped,
      "crops-grid", G_TYPE_UINT, frame->stats.crops_grid,
      "mask-age", G_TYPE_INT64, frame->mask_age, NULL);
}

GstStructure *
gst_cascade_psp_report_to_structure (const GstCascadePspReport * report)
{
  GstStructure *structure =
      gst_structure_new ("application/x-cascadepsprefine-stats",
      "frames", G_TYPE_UINT64, report->frames,
      "resumed", G_TYPE_UINT64, report->resumed,
      "degraded", G_TYPE_UINT64, report->degraded,
      "late", G_TYPE_UINT64, report->late,
      "missing-masks", G_TYPE_UINT64, report->missing_masks,
      "latency", G_TYPE_UINT64, report->latency,
      "memory-bytes", G_TYPE_UINT64, (guint64) report->memory_bytes,
      "model", G_TYPE_STRING, report->model,
      "device", G_TYPE_STRING, report->device,
      "precision", G_TYPE_STRING, report->precision, NULL);

  for (guint i = 0; i < G_N_ELEMENTS (fates); i++)
    gst_structure_set (structure, fates[i], G_TYPE_UINT64, report->fates[i],
        NULL);
  add_steps (structure, &report->last_refined);
  return structure;
}

GstStructure *
gst_cascade_psp_frame_report_to_structure (const GstCascadePspFrameReport *
    frame)
{
  GstStructure *structure = gst_structure_new ("cascadepsprefine",
      "timestamp", G_TYPE_UINT64, frame->timestamp,
      "stream-time", G_TYPE_UINT64, frame->stream_time,
      "running-time", G_TYPE_UINT64, frame->running_time,
      "duration", G_TYPE_UINT64, frame->duration,
      "fate", G_TYPE_STRING, fates[frame->fate],
      "missing-mask", G_TYPE_BOOLEAN, frame->missing,
      "overloaded", G_TYPE_BOOLEAN, frame->overloaded,
      "quality", G_TYPE_DOUBLE, frame->quality,
      "jitter", G_TYPE_INT64, frame->jitter, NULL);

  add_steps (structure, frame);
  return structure;
}

GstMessage *
gst_cascade_psp_report_make_qos (const GstCascadePspReport * report,
    GstObject * src)
{
  const GstCascadePspFrameReport *frame = &report->last;
  guint64 dropped = report->fates[GST_CASCADE_PSP_DROPPED];
  GstMessage *message = gst_message_new_qos (src, frame->live,
      frame->running_time, frame->stream_time, frame->timestamp,
      frame->duration);

  gst_message_set_qos_values (message, frame->jitter, report->proportion,
      (gint) (frame->quality * 1000000));
  gst_message_set_qos_stats (message, GST_FORMAT_BUFFERS,
      report->frames - dropped, dropped);
  return message;
}
