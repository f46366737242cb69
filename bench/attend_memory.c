/* SPDX-License-Identifier: MIT */
/* Caches and dense keys and values, filled with random numbers. */
#include "attend_memory.h"

#include <stdlib.h>
#include <string.h>

#include "cache_bytes.h"
#include "random.h"

enum { MOST_LAYERS = 65536 };

void fill_normal(float *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)tq_random_normal(&seed);
    }
}

static size_t layers_for(const struct attend_shape *shape, size_t layer_bytes)
{
    const size_t layers = (shape->cold_bytes + layer_bytes - 1) / layer_bytes;
    return layers < MOST_LAYERS ? layers : MOST_LAYERS;
}

/* The last query of a sequence sees this many pages encoded, with the default window of one page. */
static size_t encoded_pages(size_t context)
{
    const size_t last_page = (context - 1) / TQ_PAGE_TOKENS;
    return last_page > 0 ? last_page - 1 : 0;
}

/* One page of random tokens, appended until every layer is full: the time of an attention does not depend on what the
 * numbers are, and each copy is encoded into memory of its own. */
static tq_status fill(const struct filled_cache *filled, const struct attend_shape *shape)
{
    const size_t block = (size_t)TQ_PAGE_TOKENS * shape->kv_heads * shape->head_dim;
    float *numbers = malloc(2 * block * sizeof *numbers);
    if (numbers == NULL) {
        return TQ_ERR_OUT_OF_MEMORY;
    }
    fill_normal(numbers, 2 * block, 1);
    float *tokens = numbers;
    if (shape->device != NULL) {
        tokens = device_copy(shape->device, numbers, 2 * block * sizeof *numbers);
    }
    tq_status status = tokens != NULL ? TQ_OK : TQ_ERR_OUT_OF_MEMORY;
    tq_kv kv = {.struct_size = sizeof kv, .k = tokens, .v = tokens != NULL ? tokens + block : NULL};
    for (uint32_t layer = 0; layer < filled->layers; layer++) {
        for (size_t done = 0; status == TQ_OK && done < shape->context; done += kv.n_tokens) {
            const size_t left = shape->context - done;
            kv.n_tokens = left < TQ_PAGE_TOKENS ? left : TQ_PAGE_TOKENS;
            status = tq_cache_append(filled->cache, filled->seq, layer, &kv);
        }
    }
    if (shape->device != NULL && !device_wait(shape->device)) {
        status = TQ_ERR_BACKEND;
    }
    if (shape->device != NULL) {
        device_free(shape->device, tokens);
    }
    free(numbers);
    return status;
}

/* How many layers are needed and what a query reads in one. */
static tq_status plan(const tq_context *context, const struct attend_shape *shape, tq_cache_desc *desc,
                      struct filled_cache *filled)
{
    const size_t pages = encoded_pages(shape->context);
    const size_t exact_tokens = shape->context - pages * TQ_PAGE_TOKENS;
    size_t page_bytes;
    tq_status status = cache_page_bytes(context, desc, &page_bytes);
    if (status == TQ_OK) {
        filled->layer_bytes =
            pages * page_bytes + exact_tokens * shape->kv_heads * 2 * shape->head_dim * sizeof(uint16_t);
        filled->layers = desc->n_layers = (uint32_t)layers_for(shape, filled->layer_bytes);
        status = tq_cache_estimate(context, desc, shape->context, &filled->estimated_bytes);
    }
    return status;
}

tq_status filled_cache_create(const tq_context *context, const struct attend_shape *shape, tq_format k_format,
                              tq_format v_format, struct filled_cache *filled)
{
    tq_cache_stats_result stats = {.struct_size = sizeof stats};
    tq_cache_desc desc = TQ_CACHE_DESC_INIT;
    desc.n_layers = 1;
    desc.n_kv_heads = shape->kv_heads;
    desc.head_dim_k = shape->head_dim;
    desc.k_format = k_format;
    desc.v_format = v_format;
    desc.effort = TQ_EFFORT_FAST; /* The bytes are as many, and as quick to read. */
    *filled = (struct filled_cache){.cache = NULL};
    tq_status status = plan(context, shape, &desc, filled);
    if (status == TQ_OK) {
        status = tq_cache_create(context, &desc, &filled->cache);
    }
    if (status == TQ_OK) {
        status = tq_seq_create(filled->cache, &filled->seq);
    }
    if (status == TQ_OK) {
        status = fill(filled, shape);
    }
    if (status == TQ_OK) {
        status = tq_cache_stats(filled->cache, &stats);
        filled->resident_bytes = stats.page_bytes;
    }
    if (status != TQ_OK) {
        filled_cache_destroy(filled);
    }
    return status;
}

void filled_cache_destroy(struct filled_cache *filled)
{
    tq_cache_destroy(filled->cache);
    filled->cache = NULL;
}

/* Uninitialised: as quick to copy. */
static bool dense_on_device(struct dense_memory *dense)
{
    dense->data = device_new(dense->device, dense->layers * dense->layer_bytes);
    return dense->data != NULL;
}

bool dense_memory_create(const struct attend_shape *shape, const struct baseline_loops *loops,
                         struct dense_memory *dense)
{
    const size_t row = 2 * (size_t)shape->head_dim;
    const size_t block = TQ_PAGE_TOKENS * row;
    dense->device = shape->device;
    dense->layer_bytes = 2 * shape->kv_heads * shape->context * row;
    dense->layers = layers_for(shape, dense->layer_bytes);
    if (dense->device != NULL) {
        return dense_on_device(dense);
    }
    float *numbers = malloc((size_t)TQ_PAGE_TOKENS * shape->head_dim * sizeof *numbers);
    uint8_t *rows = malloc(block);
    const size_t bytes = dense->layers * dense->layer_bytes;
    dense->data = aligned_alloc(64, (bytes + 63) / 64 * 64);
    const bool ok = numbers != NULL && rows != NULL && dense->data != NULL;
    if (ok) {
        fill_normal(numbers, (size_t)TQ_PAGE_TOKENS * shape->head_dim, 2);
        loops->f16.encode(numbers, shape->head_dim, TQ_PAGE_TOKENS, rows);
        for (size_t i = 0; i < bytes; i += block) {
            memcpy(dense->data + i, rows, bytes - i < block ? bytes - i : block);
        }
    } else {
        dense_memory_destroy(dense);
    }
    free(numbers);
    free(rows);
    return ok;
}

void dense_memory_destroy(struct dense_memory *dense)
{
    if (dense->device != NULL) {
        device_free(dense->device, dense->data);
    } else {
        free(dense->data);
    }
    dense->data = NULL;
}
