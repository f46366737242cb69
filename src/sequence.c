/* SPDX-License-Identifier: MIT
 *
 * Sequences: made, forked, cut, destroyed. */
#include "device.h"

void tq_seq_free(tq_seq *seq)
{
    const tq_allocator *allocator = &seq->cache->context->allocator;
    for (size_t layer = 0; seq->tracks != NULL && layer < seq->cache->desc.n_layers; layer++) {
        tq_track *track = &seq->tracks[layer];
        for (size_t i = 0; i < tq_pages_of(track->n_tokens); i++) {
            tq_page_release(seq->cache, track->pages[i]);
        }
        tq_release(allocator, track->pages);
        tq_device_track_free(seq->cache, track);
    }
    tq_release(allocator, seq->tracks);
    tq_release(allocator, seq);
}

tq_seq *tq_seq_make(tq_cache *cache)
{
    const tq_allocator *allocator = &cache->context->allocator;
    tq_seq *seq = tq_allocate(allocator, 1, sizeof *seq);
    if (seq == NULL) {
        return NULL;
    }
    seq->cache = cache;
    seq->tracks = tq_allocate(allocator, cache->desc.n_layers, sizeof *seq->tracks);
    if (seq->tracks == NULL) {
        tq_seq_free(seq);
        return NULL;
    }
    return seq;
}

void tq_seq_enlist(tq_seq *seq)
{
    tq_cache *cache = seq->cache;
    tq_cache_lock(cache);
    seq->next = cache->sequences;
    if (seq->next != NULL) {
        seq->next->previous = seq;
    }
    cache->sequences = seq;
    atomic_fetch_add(&cache->n_sequences, 1);
    tq_cache_unlock(cache);
}

tq_status tq_seq_create(tq_cache *cache, tq_seq **seq)
{
    if (cache == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (seq == NULL) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_seq_create: seq is null");
    }
    tq_seq *made = tq_seq_make(cache);
    if (made == NULL) {
        return tq_fail(cache->context, TQ_ERR_OUT_OF_MEMORY, "tq_seq_create: out of memory");
    }
    tq_seq_enlist(made);
    *seq = made;
    return TQ_OK;
}

/* True if every layer has n_tokens or more. */
static bool has_tokens(const tq_seq *seq, size_t n_tokens)
{
    for (size_t layer = 0; layer < seq->cache->desc.n_layers; layer++) {
        if (seq->tracks[layer].n_tokens < n_tokens) {
            return false;
        }
    }
    return true;
}

tq_status tq_seq_fork(const tq_seq *parent, size_t n_tokens, tq_seq **seq)
{
    if (parent == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    tq_cache *cache = parent->cache;
    if (seq == NULL || !has_tokens(parent, n_tokens)) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_seq_fork: seq is null or a layer of the parent has fewer tokens");
    }
    const size_t n_pages = tq_pages_of(n_tokens);
    tq_seq *made = tq_seq_make(cache);
    bool ok = made != NULL;
    for (size_t layer = 0; ok && n_pages > 0 && layer < cache->desc.n_layers; layer++) {
        tq_track *track = &made->tracks[layer];
        track->pages = tq_allocate(&cache->context->allocator, n_pages, sizeof *track->pages);
        ok = track->pages != NULL;
        for (size_t i = 0; ok && i < n_pages; i++) {
            track->pages[i] = parent->tracks[layer].pages[i];
            atomic_fetch_add(&track->pages[i]->owners, 1);
        }
        track->room = ok ? n_pages : 0;
        track->n_tokens = ok ? n_tokens : 0;
    }
    if (!ok) {
        if (made != NULL) {
            tq_seq_free(made);
        }
        return tq_fail(cache->context, TQ_ERR_OUT_OF_MEMORY, "tq_seq_fork: out of memory");
    }
    tq_seq_enlist(made);
    *seq = made;
    return TQ_OK;
}

tq_status tq_seq_truncate(tq_seq *seq, size_t n_tokens)
{
    if (seq == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (!has_tokens(seq, n_tokens)) {
        return tq_fail(seq->cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_seq_truncate: a layer has fewer tokens");
    }
    for (size_t layer = 0; layer < seq->cache->desc.n_layers; layer++) {
        tq_track *track = &seq->tracks[layer];
        for (size_t i = tq_pages_of(n_tokens); i < tq_pages_of(track->n_tokens); i++) {
            tq_page_release(seq->cache, track->pages[i]);
        }
        track->n_tokens = n_tokens;
    }
    return TQ_OK;
}

tq_status tq_seq_remove(tq_seq *seq, size_t first, size_t n_tokens)
{
    if (seq == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (first % TQ_PAGE_TOKENS != 0 || n_tokens % TQ_PAGE_TOKENS != 0 || n_tokens > SIZE_MAX - first ||
        !has_tokens(seq, first + n_tokens)) {
        return tq_fail(seq->cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_seq_remove: no multiples of a page, or a layer has fewer tokens");
    }
    const size_t begin = first / TQ_PAGE_TOKENS;
    const size_t end = begin + n_tokens / TQ_PAGE_TOKENS;
    for (size_t layer = 0; layer < seq->cache->desc.n_layers; layer++) {
        tq_track *track = &seq->tracks[layer];
        const size_t n_pages = tq_pages_of(track->n_tokens);
        for (size_t i = begin; i < end; i++) {
            tq_page_release(seq->cache, track->pages[i]);
        }
        for (size_t i = end; i < n_pages; i++) {
            track->pages[i - (end - begin)] = track->pages[i];
        }
        tq_track_touch(track, begin);
        track->n_tokens -= n_tokens;
    }
    return TQ_OK;
}

void tq_seq_destroy(tq_seq *seq)
{
    if (seq == NULL) {
        return;
    }
    tq_cache *cache = seq->cache;
    tq_cache_lock(cache);
    if (seq->previous != NULL) {
        seq->previous->next = seq->next;
    } else {
        cache->sequences = seq->next;
    }
    if (seq->next != NULL) {
        seq->next->previous = seq->previous;
    }
    atomic_fetch_sub(&cache->n_sequences, 1);
    tq_cache_unlock(cache);
    tq_seq_free(seq);
}

size_t tq_seq_length(const tq_seq *seq, uint32_t layer)
{
    return seq == NULL || layer >= seq->cache->desc.n_layers ? 0 : seq->tracks[layer].n_tokens;
}
