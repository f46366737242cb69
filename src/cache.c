/* SPDX-License-Identifier: MIT
 *
 * The cache as an object: its description, its layers, its size. */
#include "device.h"

#include "checked.h"
#include "desc.h"
#include "kernels/pack.h"

enum { P = TQ_PAGE_TOKENS, MAX_LAYERS = 65536, MAX_KV_HEADS = 1024, ALIGNMENT = 64 };

static tq_format default_format(size_t dim)
{
    return dim % 8 == 0 ? TQ_FORMAT_TURBO4T : TQ_FORMAT_TURBO4;
}

static bool is_for_caches(tq_format format)
{
    const tq_format_info *info = tq_format_find(format);
    return info != NULL && info->family != TQ_FAMILY_PROD;
}

/* Checks a desc and resolves its defaults. The formats of single layers are checked with their codecs. */
static tq_status read_desc(const tq_context *context, const tq_cache_desc *from, tq_cache_desc *desc)
{
    if (from == NULL || !tq_desc_read(from, desc, sizeof *desc, sizeof(tq_cache_desc))) {
        return tq_fail(context, TQ_ERR_INVALID_ARGUMENT, "tq_cache: desc is null or its struct_size is wrong");
    }
    desc->struct_size = sizeof *desc;
    if (desc->head_dim_v == 0) {
        desc->head_dim_v = desc->head_dim_k;
    }
    if (desc->n_layers < 1 || desc->n_layers > MAX_LAYERS || desc->n_kv_heads < 1 || desc->n_kv_heads > MAX_KV_HEADS) {
        return tq_fail(context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache: n_layers is outside 1..65536 or n_kv_heads outside 1..1024");
    }
    if (desc->head_dim_k < 1 || desc->head_dim_k > TQ_MAX_DIM || desc->head_dim_v > TQ_MAX_DIM) {
        return tq_fail(context, TQ_ERR_INVALID_ARGUMENT, "tq_cache: a head_dim is outside 1..TQ_MAX_DIM");
    }
    if (desc->sink_tokens > P) {
        return tq_fail(context, TQ_ERR_INVALID_ARGUMENT, "tq_cache: sink_tokens is larger than a page");
    }
    if ((desc->flags & ~(uint32_t)(TQ_CACHE_NO_K_MEANS | TQ_CACHE_NO_V_MEANS)) != 0) {
        return tq_fail(context, TQ_ERR_INVALID_ARGUMENT, "tq_cache: unknown flag");
    }
    if (desc->recent_tokens == 0) {
        desc->recent_tokens = P;
    } else if (desc->recent_tokens == TQ_NO_RECENT_TOKENS) {
        desc->recent_tokens = 0;
    }
    if (desc->k_format == TQ_FORMAT_DEFAULT) {
        desc->k_format = default_format(desc->head_dim_k);
    }
    if (desc->v_format == TQ_FORMAT_DEFAULT) {
        desc->v_format = default_format(desc->head_dim_v);
    }
    return TQ_OK;
}

/* The formats of a layer, defaults resolved. */
static tq_layer_formats formats_of(const tq_cache_desc *desc, size_t index)
{
    tq_layer_formats formats = {desc->k_format, desc->v_format};
    if (desc->layers != NULL && desc->layers[index].k_format != TQ_FORMAT_DEFAULT) {
        formats.k_format = desc->layers[index].k_format;
    }
    if (desc->layers != NULL && desc->layers[index].v_format != TQ_FORMAT_DEFAULT) {
        formats.v_format = desc->layers[index].v_format;
    }
    return formats;
}

/* How one side of a cache is encoded: keys keep their norm, values their mean direction. */
static tq_codec_desc codec_desc_of(const tq_cache_desc *desc, tq_page_kind kind, tq_format format)
{
    return (tq_codec_desc){.struct_size = sizeof(tq_codec_desc),
                           .dim = kind == TQ_PAGE_KEYS ? desc->head_dim_k : desc->head_dim_v,
                           .format = format,
                           .scale = kind == TQ_PAGE_KEYS ? TQ_SCALE_NORM : TQ_SCALE_UNBIASED,
                           .effort = desc->effort,
                           .seed = desc->seed};
}

/* What it takes to store one side in a format, by arithmetic alone: all of *side but its codec. */
static tq_status shape_side(const tq_context *context, const tq_cache_desc *desc, tq_page_kind kind, tq_format format,
                            tq_side *side)
{
    if (tq_format_find(format) != NULL && !is_for_caches(format)) {
        return tq_fail(context, TQ_ERR_UNSUPPORTED, "tq_cache: the prod formats are not for caches");
    }
    const tq_codec_desc codec_desc = codec_desc_of(desc, kind, format);
    const uint32_t no_means = kind == TQ_PAGE_KEYS ? TQ_CACHE_NO_K_MEANS : TQ_CACHE_NO_V_MEANS;
    const size_t mean_bytes = (size_t)2 * codec_desc.dim;
    size_t row_bytes;
    const tq_status status = tq_codec_row_bytes(context, &codec_desc, &row_bytes);
    if (status != TQ_OK) {
        return status;
    }
    side->kind = kind;
    side->has_mean = (desc->flags & no_means) == 0 && format != TQ_FORMAT_F16;
    side->rows_at = side->has_mean ? (mean_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : 0;
    side->encoded_bytes = side->rows_at + P * row_bytes;
    if (context->device != NULL) {
        side->device_bytes = context->device->ops->side_bytes(format, codec_desc.dim, side->has_mean);
    }
    return TQ_OK;
}

void tq_cache_lock(tq_cache *cache)
{
    while (atomic_flag_test_and_set(&cache->busy)) {
    }
}

void tq_cache_unlock(tq_cache *cache)
{
    atomic_flag_clear(&cache->busy);
}

/* Makes a side if it is not there. Codecs are made outside of the lock; of two threads that made the same, one wins. */
static tq_status make_side(tq_cache *cache, tq_page_kind kind, tq_format format, tq_side *side)
{
    tq_side made = {0};
    tq_cache_lock(cache);
    const bool there = side->codec != NULL;
    tq_cache_unlock(cache);
    if (there) {
        return TQ_OK;
    }
    const tq_codec_desc codec_desc = codec_desc_of(&cache->desc, kind, format);
    tq_status status = shape_side(cache->context, &cache->desc, kind, format, &made);
    if (status == TQ_OK) {
        status = tq_codec_create(cache->context, &codec_desc, &made.codec);
    }
    if (status != TQ_OK) {
        return status;
    }
    tq_cache_lock(cache);
    if (side->codec == NULL) {
        *side = made;
        made.codec = NULL;
    }
    tq_cache_unlock(cache);
    tq_codec_destroy(made.codec);
    return TQ_OK;
}

tq_status tq_cache_form(tq_cache *cache, tq_layer_formats formats, tq_form *form)
{
    const size_t k = tq_format_index(formats.k_format);
    const size_t v = tq_format_index(formats.v_format);
    if (k == TQ_FORMATS || v == TQ_FORMATS) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_cache: unknown format");
    }
    tq_status status = make_side(cache, TQ_PAGE_KEYS, formats.k_format, &cache->k_sides[k]);
    if (status == TQ_OK) {
        status = make_side(cache, TQ_PAGE_VALUES, formats.v_format, &cache->v_sides[v]);
    }
    if (status == TQ_OK && cache->device != NULL) {
        status = cache->device->ops->form_open(cache->device, &cache->k_sides[k], &cache->v_sides[v]);
    }
    if (status == TQ_OK) {
        *form = (tq_form){&cache->k_sides[k], &cache->v_sides[v]};
    }
    return status;
}

tq_status tq_cache_create(const tq_context *context, const tq_cache_desc *desc, tq_cache **cache)
{
    tq_cache_desc resolved = TQ_CACHE_DESC_INIT;
    if (context == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (cache == NULL) {
        return tq_fail(context, TQ_ERR_INVALID_ARGUMENT, "tq_cache_create: cache is null");
    }
    tq_status status = read_desc(context, desc, &resolved);
    if (status != TQ_OK) {
        return status;
    }
    tq_cache *made = tq_allocate(&context->allocator, 1, sizeof *made);
    if (made == NULL) {
        return tq_fail(context, TQ_ERR_OUT_OF_MEMORY, "tq_cache_create: out of memory");
    }
    made->context = context;
    made->device = context->device;
    made->desc = resolved;
    made->window_pages = tq_pages_of(resolved.recent_tokens);
    atomic_flag_clear(&made->busy);
    made->layers = tq_allocate(&context->allocator, resolved.n_layers, sizeof *made->layers);
    if (made->layers == NULL) {
        tq_cache_destroy(made);
        return tq_fail(context, TQ_ERR_OUT_OF_MEMORY, "tq_cache_create: out of memory");
    }
    if (made->device != NULL) {
        status = made->device->ops->cache_open(made->device, made);
    }
    for (size_t i = 0; status == TQ_OK && i < resolved.n_layers; i++) {
        status = tq_cache_form(made, formats_of(&resolved, i), &made->layers[i]);
    }
    made->desc.layers = NULL;
    if (status != TQ_OK) {
        tq_cache_destroy(made);
        return status;
    }
    *cache = made;
    return TQ_OK;
}

void tq_cache_destroy(tq_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    const tq_allocator *allocator = &cache->context->allocator;
    while (cache->sequences != NULL) {
        tq_seq_destroy(cache->sequences);
    }
    while (cache->scratch != NULL) {
        tq_scratch *scratch = cache->scratch;
        cache->scratch = scratch->next;
        tq_release(allocator, scratch);
    }
    for (size_t i = 0; i < TQ_FORMATS; i++) {
        if (cache->device != NULL) {
            cache->device->ops->side_close(cache->device, &cache->k_sides[i]);
            cache->device->ops->side_close(cache->device, &cache->v_sides[i]);
        }
        tq_codec_destroy(cache->k_sides[i].codec);
        tq_codec_destroy(cache->v_sides[i].codec);
    }
    if (cache->device != NULL) {
        cache->device->ops->cache_close(cache->device, cache);
        tq_pool_close(cache);
    }
    tq_release(allocator, cache->layers);
    tq_release(allocator, cache);
}

tq_status tq_cache_estimate(const tq_context *context, const tq_cache_desc *desc, size_t n_tokens, size_t *bytes)
{
    tq_cache_desc resolved = TQ_CACHE_DESC_INIT;
    if (context == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (bytes == NULL) {
        return tq_fail(context, TQ_ERR_INVALID_ARGUMENT, "tq_cache_estimate: bytes is null");
    }
    tq_status status = read_desc(context, desc, &resolved);
    if (status != TQ_OK) {
        return status;
    }
    const tq_cache shape = {
        .desc = resolved, .device = context->device, .window_pages = tq_pages_of(resolved.recent_tokens)};
    const size_t encoded = n_tokens > 0 ? tq_encoded_pages(&shape, n_tokens - 1) : 0;
    const size_t dropped = encoded > 0 ? encoded - 1 : 0;
    const size_t blocks[TQ_BLOCK_KINDS] = {[TQ_BLOCK_EXACT] = tq_pages_of(n_tokens) - dropped,
                                           [TQ_BLOCK_ENCODED] = encoded,
                                           [TQ_BLOCK_SINKS] = encoded > 0};
    size_t sum = 0;
    for (size_t i = 0; i < resolved.n_layers; i++) {
        const tq_layer_formats formats = formats_of(&resolved, i);
        tq_side k = {0};
        tq_side v = {0};
        status = shape_side(context, &resolved, TQ_PAGE_KEYS, formats.k_format, &k);
        if (status == TQ_OK) {
            status = shape_side(context, &resolved, TQ_PAGE_VALUES, formats.v_format, &v);
        }
        if (status != TQ_OK) {
            return status;
        }
        for (size_t kind = 0; kind < TQ_BLOCK_KINDS; kind++) {
            size_t part;
            const size_t block = tq_block_bytes(&shape, (tq_form){&k, &v}, (tq_block)kind);
            if (!tq_multiply_fits(blocks[kind], block, &part) || part > SIZE_MAX - sum) {
                return tq_fail(context, TQ_ERR_INVALID_ARGUMENT, "tq_cache_estimate: the size overflows");
            }
            sum += part;
        }
    }
    *bytes = sum;
    return TQ_OK;
}

tq_status tq_cache_stats(const tq_cache *cache, tq_cache_stats_result *stats)
{
    if (cache == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    tq_cache_stats_result result = {.struct_size = sizeof result};
    result.n_sequences = atomic_load(&cache->n_sequences);
    result.encoded_bytes = atomic_load(&cache->used[TQ_BLOCK_ENCODED]);
    result.exact_bytes = atomic_load(&cache->used[TQ_BLOCK_EXACT]) + atomic_load(&cache->used[TQ_BLOCK_SINKS]);
    result.page_bytes = result.encoded_bytes + result.exact_bytes;
    if (stats == NULL || !tq_desc_write(&result, stats, sizeof result, sizeof(tq_cache_stats_result))) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache_stats: stats is null or its struct_size is wrong");
    }
    return TQ_OK;
}

tq_status tq_cache_layer_formats(const tq_cache *cache, uint32_t layer, tq_layer_formats *formats)
{
    if (cache == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (formats == NULL || layer >= cache->desc.n_layers) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache_layer_formats: formats is null or layer is out of range");
    }
    formats->k_format = cache->layers[layer].k->codec->desc.format;
    formats->v_format = cache->layers[layer].v->codec->desc.format;
    return TQ_OK;
}
