/* SPDX-License-Identifier: MIT
 *
 * The memory of pages. */
#include "device.h"

#include <string.h>

static size_t used_bytes(tq_cache *cache)
{
    size_t sum = 0;
    for (size_t kind = 0; kind < TQ_BLOCK_KINDS; kind++) {
        sum += atomic_load(&cache->used[kind]);
    }
    return sum;
}

/* Memory where the cache has its pages. */
static tq_status take_memory(tq_cache *cache, size_t bytes, uint8_t **memory)
{
    if (cache->device != NULL) {
        return tq_pool_take(cache, bytes, memory);
    }
    *memory = tq_allocate(&cache->context->allocator, 1, bytes);
    return *memory != NULL ? TQ_OK : TQ_ERR_OUT_OF_MEMORY;
}

static void give_memory(tq_cache *cache, size_t bytes, uint8_t *memory)
{
    if (cache->device == NULL) {
        tq_release(&cache->context->allocator, memory);
    } else {
        tq_pool_give(cache, bytes, memory);
    }
}

static void copy_memory(tq_cache *cache, uint8_t *to, const uint8_t *from, size_t bytes)
{
    if (cache->device == NULL) {
        memcpy(to, from, bytes);
    } else {
        cache->device->ops->copy(cache->device, cache, to, from, bytes);
    }
}

/* The bytes are counted before they are allocated, so that threads cannot exceed the limit together. */
tq_status tq_block_allocate(tq_cache *cache, tq_form form, tq_block kind, bool limited, uint8_t **block)
{
    const size_t bytes = tq_block_bytes(cache, form, kind);
    atomic_fetch_add(&cache->used[kind], bytes);
    const bool fits = !limited || cache->desc.memory_limit == 0 || used_bytes(cache) <= cache->desc.memory_limit;
    const tq_status status = fits ? take_memory(cache, bytes, block) : TQ_ERR_CAPACITY;
    if (status != TQ_OK) {
        atomic_fetch_sub(&cache->used[kind], bytes);
    }
    return status;
}

void tq_block_free(tq_cache *cache, tq_form form, tq_block kind, uint8_t *block)
{
    if (block != NULL) {
        const size_t bytes = tq_block_bytes(cache, form, kind);
        atomic_fetch_sub(&cache->used[kind], bytes);
        give_memory(cache, bytes, block);
    }
}

tq_page *tq_page_create(tq_cache *cache)
{
    tq_page *page = tq_allocate_struct(&cache->context->allocator, sizeof *page);
    if (page != NULL) {
        atomic_store(&page->owners, 1);
    }
    return page;
}

void tq_page_release(tq_cache *cache, tq_page *page)
{
    if (atomic_fetch_sub(&page->owners, 1) == 1) {
        for (size_t kind = 0; kind < TQ_BLOCK_KINDS; kind++) {
            tq_block_free(cache, page->form, (tq_block)kind, page->blocks[kind]);
        }
        tq_release(&cache->context->allocator, page);
    }
}

tq_status tq_page_copy(tq_cache *cache, const tq_page *page, tq_page **copy)
{
    tq_page *made = tq_page_create(cache);
    tq_status status = made == NULL ? TQ_ERR_OUT_OF_MEMORY : TQ_OK;
    for (size_t kind = 0; status == TQ_OK && kind < TQ_BLOCK_KINDS; kind++) {
        made->form = page->form;
        made->n_encoded = page->n_encoded;
        made->exact_from = page->exact_from;
        const uint8_t *block = page->blocks[kind];
        if (block != NULL) {
            status = tq_block_allocate(cache, page->form, (tq_block)kind, true, &made->blocks[kind]);
        }
        if (block != NULL && status == TQ_OK) {
            copy_memory(cache, made->blocks[kind], block, tq_block_bytes(cache, page->form, (tq_block)kind));
        }
    }
    if (status != TQ_OK) {
        if (made != NULL) {
            tq_page_release(cache, made);
        }
        return status;
    }
    *copy = made;
    return TQ_OK;
}

/* Puts copies in the places of shared pages, or frees them. */
static void settle_copies(tq_cache *cache, tq_track *track, tq_page *copies, bool keep)
{
    while (copies != NULL) {
        tq_page *copy = copies;
        tq_page *loser = copy;
        copies = copy->next;
        copy->next = NULL;
        if (keep) {
            loser = track->pages[copy->index];
            track->pages[copy->index] = copy;
            tq_track_touch(track, copy->index);
        }
        tq_page_release(cache, loser);
    }
}

tq_status tq_track_own(tq_cache *cache, tq_track *track, size_t first, size_t end,
                       bool (*is_wanted)(const void *arg, size_t index), const void *arg)
{
    tq_status status = TQ_OK;
    tq_page *copies = NULL;
    for (size_t i = first; status == TQ_OK && i < end; i++) {
        tq_page *copy;
        if (atomic_load(&track->pages[i]->owners) == 1 || !is_wanted(arg, i)) {
            continue;
        }
        status = tq_page_copy(cache, track->pages[i], &copy);
        if (status == TQ_OK) {
            copy->index = i;
            copy->next = copies;
            copies = copy;
        }
    }
    settle_copies(cache, track, copies, status == TQ_OK);
    return status;
}

tq_status tq_track_reserve(const tq_cache *cache, tq_track *track, size_t n_pages)
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
