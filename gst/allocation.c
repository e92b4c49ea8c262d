/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "allocation.h"

typedef struct
{
  GstCaps *caps;
  guint size, min, max;
  GstAllocator *allocator;
  GstAllocationParams params;
  gboolean video_meta;
} PoolConfig;

static gboolean
configure_pool (GstBufferPool * pool, const PoolConfig * want)
{
  GstStructure *config = gst_buffer_pool_get_config (pool);

  gst_buffer_pool_config_set_params (config, want->caps, want->size, want->min,
      want->max);
  gst_buffer_pool_config_set_allocator (config, want->allocator, &want->params);
  if (want->video_meta)
    gst_buffer_pool_config_add_option (config,
        GST_BUFFER_POOL_OPTION_VIDEO_META);
  if (gst_buffer_pool_set_config (pool, config))
    return TRUE;

  // The pool made an offer of its own.
  config = gst_buffer_pool_get_config (pool);
  if (gst_buffer_pool_config_validate_params (config, want->caps, want->size,
          want->min, want->max))
    return gst_buffer_pool_set_config (pool, config);
  gst_structure_free (config);
  return FALSE;
}

gboolean
gst_cascade_psp_decide_pool (GstQuery * query, const GstVideoInfo * info)
{
  gboolean offered = gst_query_get_n_allocation_pools (query) > 0;
  g_autoptr (GstBufferPool) pool = NULL;
  g_autoptr (GstAllocator) allocator = NULL;
  PoolConfig want = { 0 };

  gst_query_parse_allocation (query, &want.caps, NULL);
  gst_allocation_params_init (&want.params);
  if (gst_query_get_n_allocation_params (query) > 0)
    gst_query_parse_nth_allocation_param (query, 0, &allocator, &want.params);
  if (offered)
    gst_query_parse_nth_allocation_pool (query, 0, &pool, &want.size,
        &want.min, &want.max);
  want.allocator = allocator;
  want.size = MAX (want.size, GST_VIDEO_INFO_SIZE (info));
  want.video_meta =
      gst_query_find_allocation_meta (query, GST_VIDEO_META_API_TYPE, NULL);

  if (!pool || !configure_pool (pool, &want)) {
    g_clear_object (&pool);
    pool = gst_video_buffer_pool_new ();
    if (!configure_pool (pool, &want))
      return FALSE;
  }

  if (offered)
    gst_query_set_nth_allocation_pool (query, 0, pool, want.size, want.min,
        want.max);
  else
    gst_query_add_allocation_pool (query, pool, want.size, want.min, want.max);
  return TRUE;
}

typedef struct
{
  GstBuffer *output;
  gboolean with_picture;
} Copy;

// Metas that say something of the picture's time or content hold for the
// output too. Those bound to the video's memory do not, and an overlay is
// drawn on the picture, not on its alpha.
static gboolean
copy_meta (GstBuffer * video, GstMeta ** meta, gpointer user_data)
{
  const Copy *copy = user_data;
  const GstMetaInfo *info = (*meta)->info;
  GstMetaTransformCopy whole = {.region = FALSE,.offset = 0,.size = -1 };

  if (!GST_META_FLAG_IS_SET (*meta, GST_META_FLAG_POOLED)
      && !gst_meta_api_type_has_tag (info->api,
          g_quark_from_static_string (GST_META_TAG_MEMORY_STR))
      && info->api != GST_PARENT_BUFFER_META_API_TYPE
      && (copy->with_picture
          || info->api != GST_VIDEO_OVERLAY_COMPOSITION_META_API_TYPE)
      && info->transform_func)
    info->transform_func (copy->output, *meta, video,
        _gst_meta_transform_copy, &whole);
  return TRUE;
}

void
gst_cascade_psp_copy_description (GstBuffer * video, GstBuffer * output,
    gboolean with_picture)
{
  Copy copy = { output, with_picture };

  gst_buffer_copy_into (output, video,
      GST_BUFFER_COPY_FLAGS | GST_BUFFER_COPY_TIMESTAMPS, 0, -1);
  gst_buffer_foreach_meta (video, copy_meta, &copy);
}
