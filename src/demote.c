/* SPDX-License-Identifier: MIT
 *
 * Old tokens with fewer bits. */
#include "cache.h"
#include "device.h"

#include <string.h>

enum { P = TQ_PAGE_TOKENS };

typedef struct recode_work {
    const tq_cache *cache;
    const tq_page *page;
    tq_form form; /* The new one. */
    uint8_t *encoded;
    uint8_t *exact; /* Scratch: an exact block. */
} recode_work;

static void recode_side(const tq_side *from, const uint8_t *encoded, const tq_side *to, uint8_t *recoded,
                        uint8_t *exact)
{
    if (from == to) {
        memcpy(recoded, encoded, to->encoded_bytes);
    } else {
        tq_side_recode(from, encoded, P, to, recoded, exact);
    }
}

static void recode_head(void *arg, size_t head)
{
    const recode_work *work = arg;
    const tq_page *page = work->page;
    const uint8_t *encoded = page->blocks[TQ_BLOCK_ENCODED];
    recode_side(page->form.k, encoded + tq_encoded_keys_at(page->form, head), work->form.k,
                work->encoded + tq_encoded_keys_at(work->form, head),
                work->exact + tq_exact_keys_at(work->cache, P, head));
    recode_side(page->form.v, encoded + tq_encoded_values_at(page->form, head), work->form.v,
                work->encoded + tq_encoded_values_at(work->form, head),
                work->exact + tq_exact_values_at(work->cache, P, head));
}

/* A page's codes in another form, to `encoded`; on a device by way of the host. */
static tq_status recode(const tq_cache *cache, const tq_page *page, tq_form form, uint8_t *encoded, uint8_t *exact)
{
    recode_work work = {cache, page, form, encoded, exact};
    if (cache->device == NULL) {
        tq_run(cache->context, recode_head, &work, cache->desc.n_kv_heads);
        return TQ_OK;
    }
    const tq_allocator *allocator = &cache->context->allocator;
    tq_page copy;
    tq_status status = tq_page_to_host(cache, page, &copy);
    work.page = &copy;
    work.encoded = tq_allocate(allocator, 1, tq_host_block_bytes(cache, form, TQ_BLOCK_ENCODED));
    if (status == TQ_OK && work.encoded == NULL) {
        status = TQ_ERR_OUT_OF_MEMORY;
    }
    if (status == TQ_OK) {
        tq_run(cache->context, recode_head, &work, cache->desc.n_kv_heads);
        status = tq_device_write_block(cache, form, TQ_BLOCK_ENCODED, work.encoded, encoded);
    }
    tq_release(allocator, work.encoded);
    tq_page_free_copy(cache, &copy);
    return status;
}

/* Gives a page another form. The new block is not held against the limit where the old one, which is larger, goes at
 * once; the copy of a shared page is. */
static tq_status recode_page(tq_cache *cache, tq_page **slot, tq_form form, uint8_t *exact)
{
    tq_status status = TQ_OK;
    tq_page *page = *slot;
    uint8_t *encoded;
    const bool is_shared = atomic_load(&page->owners) > 1;
    if (is_shared) {
        status = tq_page_copy(cache, page, &page);
    }
    if (status != TQ_OK) {
        return status;
    }
    status = tq_block_allocate(cache, form, TQ_BLOCK_ENCODED, is_shared, &encoded);
    if (status == TQ_OK) {
        status = recode(cache, page, form, encoded, exact);
        tq_block_free(cache, status == TQ_OK ? page->form : form, TQ_BLOCK_ENCODED,
                      status == TQ_OK ? page->blocks[TQ_BLOCK_ENCODED] : encoded);
    }
    if (status == TQ_OK) {
        page->blocks[TQ_BLOCK_ENCODED] = encoded;
        page->form = form;
    }
    if (page != *slot) { /* Of the copy and the shared page, one is not needed. */
        tq_page *loser = status == TQ_OK ? *slot : page;
        *slot = status == TQ_OK ? page : *slot;
        tq_page_release(cache, loser);
    }
    return status;
}

/* The form of a page after demotion: of each side, what takes fewer bytes. */
static tq_form smaller(tq_form have, const tq_form *wanted)
{
    tq_form form = have;
    if (wanted->k != NULL && wanted->k->encoded_bytes < have.k->encoded_bytes) {
        form.k = wanted->k;
    }
    if (wanted->v != NULL && wanted->v->encoded_bytes < have.v->encoded_bytes) {
        form.v = wanted->v;
    }
    return form;
}

/* Demotes the pages of a track whose age is [newest, oldest) to one form. */
static tq_status demote_track(tq_cache *cache, tq_track *track, size_t min_age, size_t max_age, const tq_form *wanted,
                              uint8_t *exact)
{
    tq_status status = TQ_OK;
    for (size_t i = 0; status == TQ_OK && (i + 1) * P <= track->n_tokens; i++) {
        const tq_page *page = track->pages[i];
        const size_t age = track->n_tokens - (i + 1) * P;
        if (age < min_age || age >= max_age || page->n_encoded < P || page->blocks[TQ_BLOCK_EXACT] != NULL) {
            continue;
        }
        const tq_form form = smaller(page->form, wanted);
        if (!tq_same_form(form, page->form)) {
            status = recode_page(cache, &track->pages[i], form, exact);
            tq_track_touch(track, i);
        }
    }
    return status;
}

/* Finds the form of a tier; a side that stays as it is is null. */
static tq_status tier_form(tq_cache *cache, const tq_layer_formats *formats, tq_form *form)
{
    tq_layer_formats whole = *formats;
    if (whole.k_format == TQ_FORMAT_DEFAULT) {
        whole.k_format = cache->layers[0].k->codec->desc.format;
    }
    if (whole.v_format == TQ_FORMAT_DEFAULT) {
        whole.v_format = cache->layers[0].v->codec->desc.format;
    }
    const tq_status status = tq_cache_form(cache, whole, form);
    if (status == TQ_OK && formats->k_format == TQ_FORMAT_DEFAULT) {
        form->k = NULL;
    }
    if (status == TQ_OK && formats->v_format == TQ_FORMAT_DEFAULT) {
        form->v = NULL;
    }
    return status;
}

tq_status tq_cache_demote(tq_cache *cache, tq_seq *seq, const tq_tier *tiers, size_t n_tiers)
{
    tq_status status = TQ_OK;
    if (cache == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (seq == NULL || seq->cache != cache || (tiers == NULL && n_tiers > 0)) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache_demote: seq is null or of another cache, or tiers is null");
    }
    if (cache->device != NULL && !cache->device->ops->mixes_forms) {
        return tq_fail(cache->context, TQ_ERR_UNSUPPORTED,
                       "tq_cache_demote: this device cannot hold pages of several formats in a layer");
    }
    for (size_t i = 0; status == TQ_OK && i < n_tiers; i++) {
        tq_form form;
        if (i > 0 && tiers[i].min_age <= tiers[i - 1].min_age) {
            return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_cache_demote: min_age does not ascend");
        }
        status = tier_form(cache, &tiers[i].formats, &form);
    }
    if (status != TQ_OK) {
        return status;
    }
    uint8_t *exact =
        tq_allocate(&cache->context->allocator, 1, tq_host_block_bytes(cache, cache->layers[0], TQ_BLOCK_EXACT));
    status = exact == NULL ? TQ_ERR_OUT_OF_MEMORY : TQ_OK;
    for (size_t i = 0; status == TQ_OK && i < n_tiers; i++) {
        const size_t max_age = i + 1 < n_tiers ? tiers[i + 1].min_age : SIZE_MAX;
        tq_form form;
        status = tier_form(cache, &tiers[i].formats, &form);
        for (size_t layer = 0; status == TQ_OK && layer < cache->desc.n_layers; layer++) {
            status = demote_track(cache, &seq->tracks[layer], tiers[i].min_age, max_age, &form, exact);
        }
    }
    tq_release(&cache->context->allocator, exact);
    return status == TQ_OK ? TQ_OK
                           : tq_fail(cache->context, status,
                                     status == TQ_ERR_CAPACITY  ? "tq_cache_demote: memory_limit has been reached"
                                     : status == TQ_ERR_BACKEND ? "tq_cache_demote: the device failed"
                                                                : "tq_cache_demote: out of memory");
}
