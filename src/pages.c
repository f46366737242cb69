/* SPDX-License-Identifier: MIT
 *
 * Pages: their memory, and what storing tokens does to them. */
#include "cache.h"

#include "half.h"

enum { P = TQ_PAGE_TOKENS };

/* --- memory --------------------------------------------------------------------------------------------------------
 */

static size_t used_bytes(tq_cache *cache)
{
    size_t sum = 0;
    for (size_t kind = 0; kind < TQ_BLOCK_KINDS; kind++) {
        sum += atomic_load(&cache->used[kind]);
    }
    return sum;
}

static void free_block(tq_cache *cache, const tq_layer *layer, tq_block kind, uint8_t *block)
{
    if (block != NULL) {
        atomic_fetch_sub(&cache->used[kind], layer->block_bytes[kind]);
        tq_release(&cache->context->allocator, block);
    }
}

/* The bytes are counted before they are allocated, so that threads cannot exceed the limit together. */
static tq_status allocate_block(tq_cache *cache, const tq_layer *layer, tq_block kind, uint8_t **block)
{
    const size_t bytes = layer->block_bytes[kind];
    atomic_fetch_add(&cache->used[kind], bytes);
    const bool fits = cache->desc.memory_limit == 0 || used_bytes(cache) <= cache->desc.memory_limit;
    /* Never less than a pointer, for the lists of spare blocks. */
    *block =
        fits ? tq_allocate(&cache->context->allocator, 1, bytes < sizeof(uint8_t *) ? sizeof(uint8_t *) : bytes) : NULL;
    if (*block == NULL) {
        atomic_fetch_sub(&cache->used[kind], bytes);
        return fits ? TQ_ERR_OUT_OF_MEMORY : TQ_ERR_CAPACITY;
    }
    return TQ_OK;
}

void tq_page_release(tq_cache *cache, const tq_layer *layer, tq_page *page)
{
    if (atomic_fetch_sub(&page->owners, 1) == 1) {
        for (size_t kind = 0; kind < TQ_BLOCK_KINDS; kind++) {
            free_block(cache, layer, (tq_block)kind, page->blocks[kind]);
        }
        tq_release(&cache->context->allocator, page);
    }
}

/* Lists of spare blocks run through the blocks themselves. */
static void give_block(tq_store *store, tq_block kind, uint8_t *block)
{
    memcpy(block, &store->spare_blocks[kind], sizeof(uint8_t *));
    store->spare_blocks[kind] = block;
}

static uint8_t *take_block(tq_store *store, tq_block kind)
{
    uint8_t *block = store->spare_blocks[kind];
    memcpy(&store->spare_blocks[kind], block, sizeof(uint8_t *));
    memset(block, 0, store->layer->block_bytes[kind]);
    return block;
}

static tq_page *take_page(tq_store *store)
{
    tq_page *page = store->spare_pages;
    store->spare_pages = page->next;
    page->next = NULL;
    atomic_store(&page->owners, 1);
    return page;
}

/* --- reserving -----------------------------------------------------------------------------------------------------
 */

typedef struct needs {
    size_t pages;
    size_t blocks[TQ_BLOCK_KINDS];
} needs;

/* What storing does to page `index`. */
typedef struct plan {
    bool receives; /* Tokens. */
    bool encodes;  /* What is not yet encoded. */
    bool drops;    /* Its exact tokens. */
} plan;

static plan plan_page(const tq_store *store, size_t index, size_t end)
{
    const tq_track *track = store->track;
    const size_t encoded = tq_encoded_pages(store->cache, end - 1);
    const tq_page *page = index < tq_pages_of(track->n_tokens) ? track->pages[index] : NULL;
    const bool receives = index >= track->n_tokens / P;
    return (plan){.receives = receives,
                  .encodes = index < encoded && (receives || page == NULL || page->n_encoded < P),
                  .drops = index + 1 < encoded && (receives || page == NULL || page->blocks[TQ_BLOCK_EXACT] != NULL)};
}

/* The first page that storing may touch: the one whose exact tokens the next page boundary drops. */
static size_t first_touched(const tq_cache *cache, size_t n_tokens)
{
    const size_t page = n_tokens / P;
    return page > cache->window_pages + 2 ? page - cache->window_pages - 2 : 0;
}

static needs count_needs(const tq_store *store, size_t end)
{
    const tq_cache *cache = store->cache;
    const size_t existing = tq_pages_of(store->track->n_tokens);
    size_t taken = 0; /* Exact blocks that new pages take, and that pages which drop theirs give back. */
    size_t given = 0;
    size_t peak = 0;
    needs n = {0};
    for (size_t i = first_touched(cache, store->track->n_tokens); i < tq_pages_of(end); i++) {
        const tq_page *page = i < existing ? store->track->pages[i] : NULL;
        const plan todo = plan_page(store, i, end);
        const bool sinks = todo.encodes && i == 0 && cache->desc.sink_tokens > 0;
        if (page == NULL) {
            if (i > cache->window_pages + 1) {
                given += plan_page(store, i - cache->window_pages - 2, end).drops;
            }
            taken++;
            peak = taken > given && taken - given > peak ? taken - given : peak;
            n.pages++;
            n.blocks[TQ_BLOCK_ENCODED] += todo.encodes;
            n.blocks[TQ_BLOCK_SINKS] += sinks;
        } else if (todo.receives || todo.encodes || todo.drops) {
            const bool copied = atomic_load(&page->owners) > 1;
            n.pages += copied;
            n.blocks[TQ_BLOCK_EXACT] += page->blocks[TQ_BLOCK_EXACT] != NULL ? copied : todo.receives;
            n.blocks[TQ_BLOCK_ENCODED] += page->blocks[TQ_BLOCK_ENCODED] != NULL ? copied : todo.encodes;
            n.blocks[TQ_BLOCK_SINKS] += page->blocks[TQ_BLOCK_SINKS] != NULL ? copied : sinks;
        }
    }
    n.blocks[TQ_BLOCK_EXACT] += peak;
    return n;
}

static tq_status make_room(const tq_cache *cache, tq_track *track, size_t n_pages)
{
    if (n_pages <= track->room) {
        return TQ_OK;
    }
    const size_t room = n_pages + n_pages / 2 + 4;
    tq_page **pages = tq_allocate(&cache->context->allocator, room, sizeof *pages);
    if (pages == NULL) {
        return TQ_ERR_OUT_OF_MEMORY;
    }
    if (track->pages != NULL) {
        memcpy(pages, track->pages, track->room * sizeof *pages);
    }
    tq_release(&cache->context->allocator, track->pages);
    track->pages = pages;
    track->room = room;
    return TQ_OK;
}

tq_status tq_store_begin(tq_store *store, tq_cache *cache, const tq_layer *layer, tq_track *track, const tq_kv *kv)
{
    *store = (tq_store){.cache = cache, .layer = layer, .track = track, .kv = kv};
    if (kv->n_tokens == 0) {
        return TQ_OK;
    }
    const size_t end = track->n_tokens + kv->n_tokens;
    const size_t n_pages = tq_pages_of(end);
    const needs n = count_needs(store, end);
    tq_status status = make_room(cache, track, n_pages);
    for (size_t i = 0; status == TQ_OK && i < n.pages; i++) {
        tq_page *page = tq_allocate(&cache->context->allocator, 1, sizeof *page);
        if (page == NULL) {
            status = TQ_ERR_OUT_OF_MEMORY;
        } else {
            page->next = store->spare_pages;
            store->spare_pages = page;
        }
    }
    for (size_t kind = 0; kind < TQ_BLOCK_KINDS; kind++) {
        for (size_t i = 0; status == TQ_OK && i < n.blocks[kind]; i++) {
            uint8_t *block;
            status = allocate_block(cache, layer, (tq_block)kind, &block);
            if (status == TQ_OK) {
                give_block(store, (tq_block)kind, block);
            }
        }
    }
    if (status != TQ_OK) {
        tq_store_end(store);
    }
    return status;
}

void tq_store_end(tq_store *store)
{
    while (store->spare_pages != NULL) {
        tq_page *page = take_page(store);
        tq_release(&store->cache->context->allocator, page);
    }
    for (size_t kind = 0; kind < TQ_BLOCK_KINDS; kind++) {
        while (store->spare_blocks[kind] != NULL) {
            free_block(store->cache, store->layer, (tq_block)kind, take_block(store, (tq_block)kind));
        }
    }
}

/* --- storing -------------------------------------------------------------------------------------------------------
 */

/* A page of the track that may be written: itself, a copy if it is shared, or a new one. */
static tq_page *writable_page(tq_store *store, size_t index)
{
    tq_page **slot = &store->track->pages[index];
    if (index >= tq_pages_of(store->track->n_tokens)) {
        *slot = take_page(store);
        return *slot;
    }
    tq_page *page = *slot;
    if (atomic_load(&page->owners) == 1) {
        return page;
    }
    tq_page *copy = take_page(store);
    copy->n_encoded = page->n_encoded;
    copy->exact_from = page->exact_from;
    for (size_t kind = 0; kind < TQ_BLOCK_KINDS; kind++) {
        if (page->blocks[kind] != NULL) {
            copy->blocks[kind] = take_block(store, (tq_block)kind);
            memcpy(copy->blocks[kind], page->blocks[kind], store->layer->block_bytes[kind]);
        }
    }
    tq_page_release(store->cache, store->layer, page);
    *slot = copy;
    return copy;
}

static void want_block(tq_store *store, tq_page *page, tq_block kind)
{
    if (page->blocks[kind] == NULL) {
        page->blocks[kind] = take_block(store, kind);
    }
}

/* Encodes what is still exact in a page that leaves the window. */
static void encode_page(tq_store *store, size_t index)
{
    if (store->track->pages[index]->n_encoded == P) {
        return;
    }
    tq_page *page = writable_page(store, index);
    want_block(store, page, TQ_BLOCK_ENCODED);
    if (index == 0 && store->cache->desc.sink_tokens > 0) {
        want_block(store, page, TQ_BLOCK_SINKS);
        tq_page_keep_sinks(store->cache, store->layer, page);
    }
    tq_page_encode(store->cache, store->layer, page);
}

static void drop_exact(tq_store *store, size_t index)
{
    if (store->track->pages[index]->blocks[TQ_BLOCK_EXACT] != NULL) {
        tq_page *page = writable_page(store, index);
        give_block(store, TQ_BLOCK_EXACT, page->blocks[TQ_BLOCK_EXACT]);
        page->blocks[TQ_BLOCK_EXACT] = NULL;
    }
}

/* Converts vectors of `dim` elements to f16 rows. */
static void store_vector(const tq_cache *cache, const void *x, tq_dtype dtype, size_t offset, size_t dim, uint8_t *rows)
{
    float wide[TQ_MAX_DIM];
    const size_t element = dtype == TQ_DTYPE_F32 ? 4 : 2;
    cache->context->kernels.widen((const char *)x + offset * element, dtype, dim, wide);
    cache->context->kernels.half_encode(wide, dim, rows);
}

size_t tq_store_segment(tq_store *store)
{
    const tq_kv *kv = store->kv;
    const tq_layer *layer = store->layer;
    tq_track *track = store->track;
    const size_t position = track->n_tokens;
    const size_t index = position / P;
    const size_t begin = position % P;
    const size_t left = kv->n_tokens - store->done;
    const size_t count = left < P - begin ? left : P - begin;
    const size_t encoded = tq_encoded_pages(store->cache, position);
    for (size_t i = first_touched(store->cache, position); i < encoded; i++) {
        encode_page(store, i);
        if (i + 1 < encoded) {
            drop_exact(store, i);
        }
    }
    tq_page *page = writable_page(store, index);
    if (page->blocks[TQ_BLOCK_EXACT] == NULL) {
        page->blocks[TQ_BLOCK_EXACT] = take_block(store, TQ_BLOCK_EXACT);
        page->exact_from = begin; /* Not 0 if a cut went through a page that had dropped its exact tokens. */
    }
    if (page->exact_from > begin) { /* Cut again, further back: what was appended after the first cut is gone. */
        page->exact_from = begin;
    }
    if (page->n_encoded > page->exact_from) {
        page->n_encoded = page->exact_from;
    }
    uint8_t *exact = page->blocks[TQ_BLOCK_EXACT];
    for (size_t token = 0; token < count; token++) {
        const size_t from = store->done + token;
        for (size_t head = 0; head < store->cache->desc.n_kv_heads; head++) {
            store_vector(store->cache, kv->k, kv->dtype, from * kv->k_token_stride + head * kv->k_head_stride,
                         layer->k.dim, exact + tq_exact_keys_at(layer, P, head) + (begin + token) * 2 * layer->k.dim);
            store_vector(store->cache, kv->v, kv->dtype, from * kv->v_token_stride + head * kv->v_head_stride,
                         layer->v.dim, exact + tq_exact_values_at(layer, P, head) + (begin + token) * 2 * layer->v.dim);
        }
    }
    track->n_tokens += count;
    store->done += count;
    return count;
}
