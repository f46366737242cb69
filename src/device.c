/* SPDX-License-Identifier: MIT
 *
 * Devices: which there are, and what a step of a cache is made of there. Pages and tokens are counted here as in
 * store.c and forward.c; a step of many sequences is a launch for all of them where they take the same step. */
#include "device.h"

#if defined(TQ_CUDA)
#include "cuda/cuda.h"
#endif
#if defined(TQ_METAL)
#include "metal/metal.h"
#endif

#include <string.h>

typedef struct device_kind {
    const char *name;
    bool (*is_usable)(void);
    tq_status (*open)(const tq_context *context, uint32_t ordinal, tq_device **device);
} device_kind;

static const device_kind KINDS[] = {
#if defined(TQ_CUDA)
    {"cuda", tq_cuda_is_usable, tq_cuda_open},
#endif
#if defined(TQ_METAL)
    {"metal", tq_metal_is_usable, tq_metal_open},
#endif
    {NULL, NULL, NULL},
};

size_t tq_device_kinds(void)
{
    return sizeof KINDS / sizeof KINDS[0] - 1;
}

const char *tq_device_kind_name(size_t index)
{
    return KINDS[index].name;
}

bool tq_device_kind_usable(size_t index)
{
    return KINDS[index].is_usable();
}

tq_status tq_device_open(tq_context *context, const char *backend, uint32_t ordinal)
{
    for (const device_kind *kind = KINDS; kind->name != NULL; kind++) {
        if (strcmp(kind->name, backend) == 0) {
            return kind->open(context, ordinal, &context->device);
        }
    }
    return TQ_OK;
}

tq_status tq_device_status(const tq_device *device)
{
    return atomic_load(&device->failed) == 0
               ? TQ_OK
               : tq_fail(device->context, TQ_ERR_BACKEND,
                         "tq_cache: the device failed; what is stored there can no longer be trusted");
}

tq_status tq_device_track_reserve(tq_cache *cache, tq_track *track, size_t n_pages)
{
    if (n_pages <= track->device_room) {
        return TQ_OK;
    }
    uint8_t *table;
    const size_t room = n_pages + n_pages / 2 + 64;
    const tq_status status = tq_pool_take(cache, room * TQ_DEVICE_ENTRY, &table);
    if (status != TQ_OK) {
        return status;
    }
    tq_device_track_free(cache, track);
    track->on_device = table;
    track->device_room = room;
    track->device_current = 0;
    return TQ_OK;
}

void tq_device_track_free(tq_cache *cache, tq_track *track)
{
    if (track->on_device != NULL) {
        tq_pool_give(cache, track->device_room * TQ_DEVICE_ENTRY, track->on_device);
    }
    track->on_device = NULL;
    track->device_room = 0;
}

/* As find_spans in attend_page.c has it. */
size_t tq_device_first_exact(const tq_cache *cache, const tq_track *track, size_t n_queries)
{
    const size_t encoded = tq_encoded_pages(cache, track->n_tokens - n_queries);
    size_t boundary = track->n_tokens;
    for (size_t i = tq_pages_of(track->n_tokens); i > 0; i--) {
        const tq_page *page = track->pages[i - 1];
        if (page->blocks[TQ_BLOCK_EXACT] == NULL || (i - 1 < encoded && page->n_encoded == TQ_PAGE_TOKENS)) {
            break;
        }
        boundary = (i - 1) * TQ_PAGE_TOKENS + page->exact_from;
        if (page->exact_from > 0) {
            break;
        }
    }
    return boundary;
}

/* Copies tokens [first, end) of both sides from a page's exact block to a block of `tokens` tokens. */
static void copy_exact(tq_cache *cache, const tq_page *page, uint8_t *to, size_t tokens, size_t first, size_t end)
{
    const uint8_t *exact = page->blocks[TQ_BLOCK_EXACT];
    const size_t k_row = (size_t)2 * cache->desc.head_dim_k;
    const size_t v_row = (size_t)2 * cache->desc.head_dim_v;
    for (size_t head = 0; head < cache->desc.n_kv_heads && first < end; head++) {
        cache->device->ops->copy(cache->device, cache, to + tq_exact_keys_at(cache, tokens, head) + first * k_row,
                                 exact + tq_exact_keys_at(cache, TQ_PAGE_TOKENS, head) + first * k_row,
                                 (end - first) * k_row);
        cache->device->ops->copy(cache->device, cache, to + tq_exact_values_at(cache, tokens, head) + first * v_row,
                                 exact + tq_exact_values_at(cache, TQ_PAGE_TOKENS, head) + first * v_row,
                                 (end - first) * v_row);
    }
}

void tq_device_copy_page(const tq_device_step *step, const tq_page *page)
{
    tq_cache *cache = step->cache;
    const size_t n_sinks = cache->desc.sink_tokens;
    copy_exact(cache, page, page->blocks[TQ_BLOCK_ENCODED], TQ_PAGE_TOKENS, page->exact_from, TQ_PAGE_TOKENS);
    if (page->blocks[TQ_BLOCK_SINKS] != NULL) {
        copy_exact(cache, page, page->blocks[TQ_BLOCK_SINKS], n_sinks, page->exact_from, n_sinks);
    }
}

/* --- a step --------------------------------------------------------------------------------------------------------
 */

/* Encodes the pages that the next segment pushes out of the window. */
static void leave(const tq_device_step *step, tq_store *stores)
{
    tq_page *pages[TQ_DEVICE_TOGETHER];
    size_t first[TQ_DEVICE_TOGETHER];
    size_t end[TQ_DEVICE_TOGETHER];
    bool more = true;
    for (size_t i = 0; i < step->n_tracks; i++) {
        tq_store_leaving(&stores[i], &first[i], &end[i]);
    }
    while (more) {
        size_t n_pages = 0;
        more = false;
        for (size_t i = 0; i < step->n_tracks; i++) {
            pages[i] = first[i] < end[i] ? tq_store_leave(&stores[i], first[i]) : NULL;
            n_pages += pages[i] != NULL;
        }
        if (n_pages > 0) {
            step->cache->device->ops->encode(step->cache->device, step, pages);
        }
        for (size_t i = 0; i < step->n_tracks; i++) {
            if (first[i] < end[i]) {
                tq_store_left(&stores[i], first[i]++, end[i]);
                more = true;
            }
        }
    }
}

/* The same number of tokens of each of some sequences; that of the first sequence is kv's token `first`. */
static tq_status store_together(tq_store *stores, size_t n_seqs, const tq_kv *kv, const tq_attention *args,
                                size_t first, size_t count)
{
    tq_track *tracks[TQ_DEVICE_TOGETHER];
    tq_cache *cache = stores[0].cache;
    tq_device *device = cache->device;
    for (size_t i = 0; i < n_seqs; i++) {
        tracks[i] = stores[i].track;
    }
    const tq_device_step step = {cache, stores[0].form, tracks, n_seqs, cache->stream};
    leave(&step, stores);
    for (size_t i = 0; i < n_seqs; i++) {
        tq_store_receive(&stores[i]);
    }
    device->ops->store(device, &step, kv, first, count);
    for (size_t i = 0; i < n_seqs; i++) {
        tq_store_received(&stores[i], count);
    }
    return args == NULL ? TQ_OK : device->ops->attend(device, &step, args, first, count);
}

/* Pages of a long append that have left the window at its end go straight from the caller's tokens to codes, many in a
 * launch. True if there were some. Those that leave meanwhile are encoded in the same order as ever. */
static bool pass_pages(tq_store *store, const tq_kv *kv, size_t first)
{
    tq_device *device = store->cache->device;
    tq_track *track = store->track;
    const tq_device_step step = {store->cache, store->form, &track, 1, store->cache->stream};
    tq_page *pages[TQ_DEVICE_TOGETHER];
    size_t n = 0;
    bool more = device->ops->encode_tokens != NULL && !tq_form_is_half(store->form);
    while (more && n < TQ_DEVICE_TOGETHER) {
        leave(&step, store);
        pages[n] = tq_store_pass(store);
        more = pages[n] != NULL;
        n += more;
    }
    if (n > 0) {
        device->ops->encode_tokens(device, &step, pages, n, kv, first);
    }
    return n > 0;
}

tq_status tq_device_store(tq_store *stores, size_t n_seqs, const tq_kv *kv, const tq_attention *args)
{
    tq_status status = TQ_OK;
    const size_t each = kv->n_tokens / n_seqs;
    for (size_t from = 0; from < n_seqs;) {
        size_t n = 0; /* Sequences that store all of their tokens in one segment. */
        while (from + n < n_seqs && n < TQ_DEVICE_TOGETHER && tq_store_next(&stores[from + n]) == each) {
            n++;
        }
        const size_t together = n > 0 ? n : 1;
        while (stores[from].done < each) {
            const size_t next = from * each + stores[from].done;
            if (args == NULL && n == 0 && pass_pages(&stores[from], kv, next)) {
                continue;
            }
            const size_t count = n > 0 ? each : tq_store_next(&stores[from]);
            const tq_status own = store_together(&stores[from], together, kv, args, next, count);
            status = status == TQ_OK ? own : status;
        }
        from += together;
    }
    const tq_status failed = tq_device_status(stores[0].cache->device);
    return status == TQ_OK ? failed : status;
}

tq_status tq_device_decode(tq_cache *cache, tq_form form, tq_track *track, size_t first, const tq_kv_out *kv)
{
    const tq_device_step step = {cache, form, &track, 1, kv->stream};
    const tq_status status = tq_device_track_reserve(cache, track, tq_pages_of(track->n_tokens));
    if (status == TQ_OK) {
        cache->stream = kv->stream;
        cache->device->ops->decode(cache->device, &step, first, kv);
    }
    return status == TQ_OK ? tq_device_status(cache->device) : status;
}

tq_status tq_device_attend(tq_cache *cache, tq_form form, tq_track *const *tracks, size_t n_tracks,
                           const tq_attention *args, size_t first, size_t n_tokens)
{
    const tq_device_step step = {cache, form, tracks, n_tracks, cache->stream};
    tq_status status = TQ_OK;
    for (size_t i = 0; status == TQ_OK && i < n_tracks; i++) {
        status = tq_device_track_reserve(cache, tracks[i], tq_pages_of(tracks[i]->n_tokens));
    }
    if (status == TQ_OK) {
        status = cache->device->ops->attend(cache->device, &step, args, first, n_tokens);
    }
    return status == TQ_OK ? tq_device_status(cache->device) : status;
}
