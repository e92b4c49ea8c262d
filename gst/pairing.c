/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pairing.h"

#include "gap.h"

GST_DEBUG_CATEGORY_EXTERN (gst_cascade_psp_refine_debug);
#define GST_CAT_DEFAULT gst_cascade_psp_refine_debug

GstCascadePspTiming
gst_cascade_psp_get_span (GstAggregatorPad * pad, GstBuffer * buffer,
    const GstVideoInfo * info, GstCascadePspSpan * span)
{
  guint64 start = GST_BUFFER_PTS (buffer);
  guint64 end = GST_CLOCK_TIME_NONE;
  GstSegment segment;

  GST_OBJECT_LOCK (pad);
  segment = pad->segment;
  GST_OBJECT_UNLOCK (pad);

  // A flush of this pad alone takes its segment away in upstream's thread.
  if (segment.format == GST_FORMAT_UNDEFINED)
    return GST_CASCADE_PSP_OUTSIDE;
  if (!GST_CLOCK_TIME_IS_VALID (start) || segment.format != GST_FORMAT_TIME)
    return GST_CASCADE_PSP_UNTIMED;

  span->stream_time =
      gst_segment_to_stream_time (&segment, GST_FORMAT_TIME, start);

  if (GST_BUFFER_DURATION_IS_VALID (buffer) && GST_BUFFER_DURATION (buffer) > 0)
    end = start + GST_BUFFER_DURATION (buffer);
  else if (GST_VIDEO_INFO_FPS_N (info) > 0)
    end = start + gst_util_uint64_scale_int (GST_SECOND,
        GST_VIDEO_INFO_FPS_D (info), GST_VIDEO_INFO_FPS_N (info));

  if (!gst_segment_clip (&segment, GST_FORMAT_TIME, start, end, &start, &end))
    return GST_CASCADE_PSP_OUTSIDE;

  span->start = gst_segment_to_running_time (&segment, GST_FORMAT_TIME, start);
  span->end = gst_segment_to_running_time (&segment, GST_FORMAT_TIME, end);
  // Played backwards, a buffer's end comes first.
  if (segment.rate < 0 && GST_CLOCK_TIME_IS_VALID (span->end)) {
    GstClockTime swap = span->start;

    span->start = span->end;
    span->end = swap;
  }

  return GST_CASCADE_PSP_TIMED;
}

void
gst_cascade_psp_mask_track_init (GstCascadePspMaskTrack * track)
{
  memset (track, 0, sizeof (*track));
  gst_video_info_init (&track->info);
}

void
gst_cascade_psp_mask_track_set_pad (GstCascadePspMaskTrack * track,
    GstAggregatorPad * pad)
{
  if (gst_object_replace ((GstObject **) & track->pad, GST_OBJECT (pad)))
    gst_video_info_init (&track->info);
}

void
gst_cascade_psp_mask_track_clear (GstCascadePspMaskTrack * track)
{
  gst_buffer_replace (&track->buffer, NULL);
}

static void
take_mask (GstCascadePspMaskTrack * track, GstBuffer * mask,
    const GstCascadePspSpan * span)
{
  gst_buffer_replace (&track->buffer, mask);
  track->buffer_info = track->info;
  track->span = *span;
  track->ended = FALSE;
}

// A gap ends the mask in hand, unless it says that the data was lost on the
// way: then the mask in hand stands in for it, if none ended it before.
static void
take_gap (GstCascadePspMaskTrack * track, GstBuffer * gap,
    const GstCascadePspSpan * span)
{
  // An unknown end is the largest of times, so MIN and MAX do as they should.
  if (!gst_cascade_psp_gap_is_missing_data (gap)) {
    track->span.end = MIN (track->span.end, span->start);
    track->ended = TRUE;
  } else if (!track->ended) {
    track->span.end = MAX (track->span.end, span->end);
  }
}

// An unknown end is no promise.
static gboolean
lasts_beyond (const GstCascadePspSpan * span, GstClockTime time)
{
  return GST_CLOCK_TIME_IS_VALID (span->end) && span->end > time;
}

// Never if the frame's end is unknown.
static gboolean
starts_within (const GstCascadePspSpan * span, const GstCascadePspSpan * frame)
{
  return GST_CLOCK_TIME_IS_VALID (frame->end) && span->start > frame->start
      && span->start < frame->end;
}

static gboolean
is_in_force (const GstCascadePspMaskTrack * track,
    const GstCascadePspSpan * frame)
{
  return track->buffer && track->span.end > frame->start
      && (track->span.start <= frame->start || starts_within (&track->span,
          frame));
}

static gboolean
is_nearer (const GstCascadePspSpan * mask, const GstCascadePspSpan * other,
    const GstCascadePspSpan * frame)
{
  return ABS (GST_CLOCK_DIFF (frame->start, mask->start))
      < ABS (GST_CLOCK_DIFF (frame->start, other->start));
}

// Whether MASK, which starts after FRAME does, is the one to have in hand.
static gboolean
is_wanted (const GstCascadePspMaskTrack * track, const GstCascadePspSpan * mask,
    const GstCascadePspSpan * frame)
{
  if (!starts_within (mask, frame))
    return !track->buffer;
  return !is_in_force (track, frame) || is_nearer (mask, &track->span, frame);
}

GstCascadePspMaskState
gst_cascade_psp_mask_track_select (GstCascadePspMaskTrack * track,
    const GstCascadePspSpan * frame, gboolean final)
{
  gboolean has_end = GST_CLOCK_TIME_IS_VALID (frame->end);
  GstClockTime length = has_end ? frame->end - frame->start : 0;
  GstClockTime middle = frame->start + length / 2;
  gboolean decided = FALSE;

  while (track->pad && !decided) {
    g_autoptr (GstBuffer) mask = gst_aggregator_pad_peek_buffer (track->pad);
    GstCascadePspSpan span;

    if (!mask) {
      if (!final && !gst_aggregator_pad_is_eos (track->pad))
        return GST_CASCADE_PSP_MASK_WAIT;
      break;
    }

    switch (gst_cascade_psp_get_span (track->pad, mask, &track->info, &span)) {
      case GST_CASCADE_PSP_TIMED:
        break;
      case GST_CASCADE_PSP_OUTSIDE:
        GST_DEBUG_OBJECT (track->pad, "outside the segment: %" GST_PTR_FORMAT,
            mask);
        gst_aggregator_pad_drop_buffer (track->pad);
        continue;
      case GST_CASCADE_PSP_UNTIMED:
        return GST_CASCADE_PSP_MASK_UNTIMED;
    }

    if (GST_VIDEO_INFO_FORMAT (&track->info) == GST_VIDEO_FORMAT_UNKNOWN
        && !gst_cascade_psp_gap_is (mask))
      return GST_CASCADE_PSP_MASK_UNKNOWN;

    if (span.start > frame->start) {
      if (!gst_cascade_psp_gap_is (mask) && is_wanted (track, &span, frame))
        take_mask (track, mask, &span);
      break;
    }

    if (gst_cascade_psp_gap_is (mask))
      take_gap (track, mask, &span);
    else
      take_mask (track, mask, &span);

    // Nothing nearer can follow a mask that starts with the frame, or one
    // that is still in force half-way through it.
    decided = span.start == frame->start || lasts_beyond (&span, middle);
    // If it will be half-way through the next frame, it stays queued, so that
    // the next frame need not wait for another mask either.
    if (!decided || !has_end || !lasts_beyond (&span, middle + length))
      gst_aggregator_pad_drop_buffer (track->pad);
  }

  return is_in_force (track, frame) ? GST_CASCADE_PSP_MASK_PRESENT
      : GST_CASCADE_PSP_MASK_MISSING;
}

GstClockTime
gst_cascade_psp_mask_track_get_distance (const GstCascadePspMaskTrack * track,
    const GstCascadePspSpan * frame)
{
  if (is_in_force (track, frame))
    return 0;
  return track->span.start > frame->start ? track->span.start - frame->start
      : frame->start - track->span.end;
}
