/* SPDX-License-Identifier: MIT
 *
 * What storing tokens does to pages. First all memory is reserved; then nothing can fail. */
#include "device.h"

#include "half.h"

enum { P = TQ_PAGE_TOKENS };

/* --- reserving -----------------------------------------------------------------------------------------------------
 */

static void give_block(tq_store *store, tq_block kind, uint8_t *block)
{
    store->spare_blocks[kind][store->n_spare_blocks[kind]++] = block;
}

static uint8_t *take_block(tq_store *store, tq_block kind)
{
    uint8_t *block = store->spare_blocks[kind][--store->n_spare_blocks[kind]];
    if (tq_cache_is_on_host(store->cache)) {
        memset(block, 0, tq_block_bytes(store->cache, store->form, kind));
    }
    return block;
}

static tq_page *take_page(tq_store *store)
{
    tq_page *page = store->spare_pages;
    store->spare_pages = page->next;
    page->next = NULL;
    return page;
}

typedef struct needs {
    size_t pages;
    size_t blocks[TQ_BLOCK_KINDS];
    size_t drops; /* Exact blocks that become spare. */
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

/* True if encoding page `index` keeps sinks. Not where codes already hold the first tokens: after tq_seq_remove took
 * the page before it, and a cut. */
static bool keeps_sinks(const tq_cache *cache, const tq_page *page, size_t index)
{
    return index == 0 && cache->desc.sink_tokens > 0 &&
           (page == NULL || page->exact_from == 0 || page->blocks[TQ_BLOCK_SINKS] != NULL);
}

/* What the store needs besides copies of shared pages. */
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
        const bool sinks = todo.encodes && keeps_sinks(cache, page, i);
        n.drops += todo.drops;
        if (page == NULL) {
            if (i > cache->window_pages + 1) {
                given += plan_page(store, i - cache->window_pages - 2, end).drops;
            }
            taken++;
            peak = taken > given && taken - given > peak ? taken - given : peak;
            n.pages++;
        } else {
            n.blocks[TQ_BLOCK_EXACT] += todo.receives && page->blocks[TQ_BLOCK_EXACT] == NULL;
        }
        n.blocks[TQ_BLOCK_ENCODED] += todo.encodes && (page == NULL || page->blocks[TQ_BLOCK_ENCODED] == NULL);
        n.blocks[TQ_BLOCK_SINKS] += sinks && (page == NULL || page->blocks[TQ_BLOCK_SINKS] == NULL);
    }
    n.blocks[TQ_BLOCK_EXACT] += peak;
    return n;
}

/* Room for the lists of spare blocks. */
static tq_status reserve_lists(tq_store *store, const needs *n)
{
    size_t total = n->drops;
    for (size_t kind = 0; kind < TQ_BLOCK_KINDS; kind++) {
        total += n->blocks[kind];
    }
    if (total == 0) {
        return TQ_OK;
    }
    store->spares = tq_allocate(&store->cache->context->allocator, total, sizeof *store->spares);
    uint8_t **list = store->spares;
    for (size_t kind = 0; list != NULL && kind < TQ_BLOCK_KINDS; kind++) {
        store->spare_blocks[kind] = list;
        list += n->blocks[kind] + (kind == TQ_BLOCK_EXACT ? n->drops : 0);
    }
    return list == NULL ? TQ_ERR_OUT_OF_MEMORY : TQ_OK;
}

static tq_status reserve_spares(tq_store *store, const needs *n)
{
    tq_status status = reserve_lists(store, n);
    for (size_t i = 0; status == TQ_OK && i < n->pages; i++) {
        tq_page *page = tq_page_create(store->cache);
        if (page == NULL) {
            status = TQ_ERR_OUT_OF_MEMORY;
        } else {
            page->form = store->form;
            page->next = store->spare_pages;
            store->spare_pages = page;
        }
    }
    for (size_t kind = 0; kind < TQ_BLOCK_KINDS; kind++) {
        for (size_t i = 0; status == TQ_OK && i < n->blocks[kind]; i++) {
            uint8_t *block;
            status = tq_block_allocate(store->cache, store->form, (tq_block)kind, true, &block);
            if (status == TQ_OK) {
                give_block(store, (tq_block)kind, block);
            }
        }
    }
    return status;
}

static bool is_written(const void *arg, size_t index)
{
    const tq_store *store = arg;
    const plan todo = plan_page(store, index, store->track->n_tokens + store->kv->n_tokens);
    return todo.receives || todo.encodes || todo.drops;
}

tq_status tq_store_begin(tq_store *store, tq_cache *cache, tq_form form, tq_track *track, const tq_kv *kv)
{
    *store = (tq_store){.cache = cache, .form = form, .track = track, .kv = kv};
    if (kv->n_tokens == 0) {
        return TQ_OK;
    }
    const size_t end = track->n_tokens + kv->n_tokens;
    const needs n = count_needs(store, end);
    tq_status status = tq_track_reserve(cache, track, tq_pages_of(end));
    if (status == TQ_OK && cache->device != NULL) {
        status = tq_device_track_reserve(cache, track, tq_pages_of(end));
    }
    if (status == TQ_OK) {
        status = reserve_spares(store, &n);
    }
    if (status == TQ_OK) {
        status = tq_track_own(cache, track, first_touched(cache, track->n_tokens), tq_pages_of(track->n_tokens),
                              is_written, store);
    }
    if (status != TQ_OK) {
        tq_store_end(store);
    }
    return status;
}

void tq_store_end(tq_store *store)
{
    while (store->spare_pages != NULL) {
        tq_page_release(store->cache, take_page(store));
    }
    for (size_t kind = 0; kind < TQ_BLOCK_KINDS; kind++) {
        while (store->n_spare_blocks[kind] > 0) {
            uint8_t *block = store->spare_blocks[kind][--store->n_spare_blocks[kind]];
            tq_block_free(store->cache, store->form, (tq_block)kind, block);
        }
    }
    tq_release(&store->cache->context->allocator, store->spares);
    store->spares = NULL;
}

/* --- storing -------------------------------------------------------------------------------------------------------
 */

void tq_store_leaving(const tq_store *store, size_t *first, size_t *end)
{
    *first = first_touched(store->cache, store->track->n_tokens);
    *end = tq_encoded_pages(store->cache, store->track->n_tokens);
}

tq_page *tq_store_leave(tq_store *store, size_t index)
{
    tq_page *page = store->track->pages[index];
    if (page->n_encoded == P) {
        return NULL;
    }
    if (page->blocks[TQ_BLOCK_ENCODED] == NULL) { /* A page that was loaded may be of another form until here. */
        page->form = store->form;
        page->blocks[TQ_BLOCK_ENCODED] = take_block(store, TQ_BLOCK_ENCODED);
    }
    if (keeps_sinks(store->cache, page, index) && page->blocks[TQ_BLOCK_SINKS] == NULL) {
        page->blocks[TQ_BLOCK_SINKS] = take_block(store, TQ_BLOCK_SINKS);
    }
    return page;
}

static void drop_exact(tq_store *store, size_t index)
{
    tq_page *page = store->track->pages[index];
    if (page->blocks[TQ_BLOCK_EXACT] != NULL) {
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

void tq_store_left(tq_store *store, size_t index, size_t end)
{
    tq_page *page = store->track->pages[index];
    tq_track_touch(store->track, index);
    if (page->n_encoded < P) { /* Else it may be shared: others read it. */
        page->n_encoded = P;
    }
    if (index + 1 < end) {
        drop_exact(store, index);
    }
}

size_t tq_store_next(const tq_store *store)
{
    const size_t left = store->kv->n_tokens - store->done;
    const size_t room = P - store->track->n_tokens % P;
    return left < room ? left : room;
}

tq_page *tq_store_receive(tq_store *store)
{
    tq_track *track = store->track;
    const size_t index = track->n_tokens / P;
    const size_t begin = track->n_tokens % P;
    if (index >= tq_pages_of(track->n_tokens)) {
        track->pages[index] = take_page(store);
        tq_track_touch(track, index);
    }
    tq_page *page = track->pages[index];
    if (page->blocks[TQ_BLOCK_EXACT] == NULL) {
        page->blocks[TQ_BLOCK_EXACT] = take_block(store, TQ_BLOCK_EXACT);
        page->exact_from = begin; /* Not 0 if a cut went through a page that had dropped its exact tokens. */
        tq_track_touch(track, index);
    }
    if (page->exact_from > begin) { /* Cut again, further back: what was appended after the first cut is gone. */
        page->exact_from = begin;
    }
    if (page->n_encoded > page->exact_from) {
        page->n_encoded = page->exact_from;
    }
    return page;
}

void tq_store_received(tq_store *store, size_t count)
{
    store->track->n_tokens += count;
    store->done += count;
}

tq_page *tq_store_pass(tq_store *store)
{
    tq_track *track = store->track;
    const size_t index = track->n_tokens / P;
    const size_t end = track->n_tokens + store->kv->n_tokens - store->done;
    if (track->n_tokens % P != 0 || end - track->n_tokens < P || !plan_page(store, index, end).drops) {
        return NULL;
    }
    tq_page *page = take_page(store);
    page->blocks[TQ_BLOCK_ENCODED] = take_block(store, TQ_BLOCK_ENCODED);
    if (keeps_sinks(store->cache, page, index)) {
        page->blocks[TQ_BLOCK_SINKS] = take_block(store, TQ_BLOCK_SINKS);
    }
    page->n_encoded = P;
    track->pages[index] = page;
    tq_track_touch(track, index);
    tq_store_received(store, P);
    return page;
}

void tq_page_store(const tq_cache *cache, tq_page *page, size_t place, const tq_kv *kv, size_t first, size_t n_tokens)
{
    const size_t dim_k = cache->desc.head_dim_k;
    const size_t dim_v = cache->desc.head_dim_v;
    uint8_t *exact = page->blocks[TQ_BLOCK_EXACT];
    for (size_t token = 0; token < n_tokens; token++) {
        const size_t from = first + token;
        const size_t to = place + token;
        for (size_t head = 0; head < cache->desc.n_kv_heads; head++) {
            store_vector(cache, kv->k, kv->dtype, from * kv->k_token_stride + head * kv->k_head_stride, dim_k,
                         exact + tq_exact_keys_at(cache, P, head) + to * 2 * dim_k);
            store_vector(cache, kv->v, kv->dtype, from * kv->v_token_stride + head * kv->v_head_stride, dim_v,
                         exact + tq_exact_values_at(cache, P, head) + to * 2 * dim_v);
        }
    }
    if (page->blocks[TQ_BLOCK_SINKS] != NULL) { /* A cut went through them. */
        tq_page_keep_sinks(cache, page);
    }
}

size_t tq_store_segment(tq_store *store)
{
    const tq_cache *cache = store->cache;
    const size_t begin = store->track->n_tokens % P;
    const size_t count = tq_store_next(store);
    size_t first;
    size_t end;
    tq_store_leaving(store, &first, &end);
    for (size_t i = first; i < end; i++) {
        tq_page *leaving = tq_store_leave(store, i);
        if (leaving != NULL) {
            tq_page_encode(cache, leaving);
        }
        tq_store_left(store, i, end);
    }
    tq_page_store(cache, tq_store_receive(store), begin, store->kv, store->done, count);
    tq_store_received(store, count);
    return count;
}
