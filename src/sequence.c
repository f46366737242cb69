/* SPDX-License-Identifier: MIT
 *
 * Sequences: made, forked, cut, destroyed. */
#include "cache.h"

static void free_seq(tq_seq *seq)
{
    const tq_allocator *allocator = &seq->cache->context->allocator;
    for (size_t layer = 0; seq->tracks != NULL && layer < seq->cache->desc.n_layers; layer++) {
        tq_track *track = &seq->tracks[layer];
        for (size_t i = 0; i < tq_pages_of(track->n_tokens); i++) {
            tq_page_release(seq->cache, track->pages[i]);
        }
        tq_release(allocator, track->pages);
    }
    tq_release(allocator, seq->tracks);
    tq_release(allocator, seq);
}

/* A sequence that no list knows yet, or null. */
static tq_seq *make_seq(tq_cache *cache)
{
    const tq_allocator *allocator = &cache->context->allocator;
    tq_seq *seq = tq_allocate(allocator, 1, sizeof *seq);
    if (seq == NULL) {
        return NULL;
    }
    seq->cache = cache;
    seq->tracks = tq_allocate(allocator, cache->desc.n_layers, sizeof *seq->tracks);
    if (seq->tracks == NULL) {
        free_seq(seq);
        return NULL;
    }
    return seq;
}

static void enlist(tq_seq *seq)
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
    tq_seq *made = make_seq(cache);
    if (made == NULL) {
        return tq_fail(cache->context, TQ_ERR_OUT_OF_MEMORY, "tq_seq_create: out of memory");
    }
    enlist(made);
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
    tq_seq *made = make_seq(cache);
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
            free_seq(made);
        }
        return tq_fail(cache->context, TQ_ERR_OUT_OF_MEMORY, "tq_seq_fork: out of memory");
    }
    enlist(made);
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
    free_seq(seq);
}

size_t tq_seq_length(const tq_seq *seq, uint32_t layer)
{
    return seq == NULL || layer >= seq->cache->desc.n_layers ? 0 : seq->tracks[layer].n_tokens;
}
