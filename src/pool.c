/* SPDX-License-Identifier: MIT
 *
 * Slabs, and free blocks of each size. */
#include "device.h"

#include <string.h>

enum { ALIGNMENT = 256, FEWEST = 8 }; /* Blocks of a first slab; later ones double what there is, up to */
static const size_t SLAB_BYTES = (size_t)32 << 20;

/* Blocks of one size. */
typedef struct tq_pool_size {
    struct tq_pool_size *next;
    size_t bytes;
    size_t n_free;
    size_t room;
    size_t n_blocks;
    uint8_t **free; /* [room], of which n_free are used. */
} tq_pool_size;

static const tq_allocator *allocator_of(const tq_cache *cache)
{
    return &cache->context->allocator;
}

tq_status tq_pool_keep(tq_cache *cache, size_t bytes, const tq_slab **slab)
{
    tq_slab *made = tq_allocate(allocator_of(cache), 1, sizeof *made);
    if (made == NULL) {
        return TQ_ERR_OUT_OF_MEMORY;
    }
    made->bytes = bytes;
    const tq_status status = cache->device->ops->slab_open(cache->device, made);
    if (status != TQ_OK) {
        tq_release(allocator_of(cache), made);
        return status;
    }
    tq_cache_lock(cache);
    made->next = cache->pool.slabs;
    cache->pool.slabs = made;
    tq_cache_unlock(cache);
    *slab = made;
    return TQ_OK;
}

/* The list of blocks of a size; null if there is no memory for it. The cache is locked. */
static tq_pool_size *find_size(tq_cache *cache, size_t bytes)
{
    for (tq_pool_size *size = cache->pool.sizes; size != NULL; size = size->next) {
        if (size->bytes == bytes) {
            return size;
        }
    }
    tq_pool_size *made = tq_allocate(allocator_of(cache), 1, sizeof *made);
    if (made != NULL) {
        made->bytes = bytes;
        made->next = cache->pool.sizes;
        cache->pool.sizes = made;
    }
    return made;
}

/* Room in the list for all blocks there will be, so that giving one back cannot fail. The cache is locked. */
static bool make_room(tq_cache *cache, tq_pool_size *size, size_t blocks)
{
    if (blocks <= size->room) {
        return true;
    }
    const size_t room = 2 * blocks;
    uint8_t **list = tq_allocate(allocator_of(cache), room, sizeof *list);
    if (list == NULL) {
        return false;
    }
    if (size->n_free > 0) {
        memcpy(list, size->free, size->n_free * sizeof *list);
    }
    tq_release(allocator_of(cache), size->free);
    size->free = list;
    size->room = room;
    return true;
}

static size_t rounded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static tq_status grow(tq_cache *cache, tq_pool_size *size)
{
    const size_t most = SLAB_BYTES / size->bytes;
    size_t n = size->n_blocks > FEWEST ? size->n_blocks : FEWEST;
    n = n > most ? most : n;
    n = n < 1 ? 1 : n;
    const tq_slab *slab;
    const tq_status status = tq_pool_keep(cache, n * size->bytes, &slab);
    if (status != TQ_OK) {
        return status;
    }
    tq_cache_lock(cache);
    const bool ok = make_room(cache, size, size->n_blocks + n);
    for (size_t i = 0; ok && i < n; i++) {
        size->free[size->n_free++] = slab->address + i * size->bytes;
    }
    size->n_blocks += ok ? n : 0;
    tq_cache_unlock(cache);
    return ok ? TQ_OK : TQ_ERR_OUT_OF_MEMORY;
}

tq_status tq_pool_take(tq_cache *cache, size_t bytes, uint8_t **block)
{
    tq_status status = TQ_OK;
    *block = NULL;
    tq_cache_lock(cache);
    tq_pool_size *size = find_size(cache, rounded(bytes));
    tq_cache_unlock(cache);
    while (status == TQ_OK && size != NULL && *block == NULL) {
        tq_cache_lock(cache);
        if (size->n_free > 0) {
            *block = size->free[--size->n_free];
        }
        tq_cache_unlock(cache);
        if (*block == NULL) {
            status = grow(cache, size);
        }
    }
    return size == NULL ? TQ_ERR_OUT_OF_MEMORY : status;
}

void tq_pool_give(tq_cache *cache, size_t bytes, uint8_t *block)
{
    tq_cache_lock(cache);
    tq_pool_size *size = find_size(cache, rounded(bytes));
    size->free[size->n_free++] = block;
    tq_cache_unlock(cache);
}

const tq_slab *tq_pool_find(tq_cache *cache, const uint8_t *address)
{
    tq_cache_lock(cache);
    const tq_slab *slab = cache->pool.slabs;
    while (slab != NULL && (address < slab->address || address >= slab->address + slab->bytes)) {
        slab = slab->next;
    }
    tq_cache_unlock(cache);
    return slab;
}

void tq_pool_close(tq_cache *cache)
{
    while (cache->pool.slabs != NULL) {
        tq_slab *slab = cache->pool.slabs;
        cache->pool.slabs = slab->next;
        cache->device->ops->slab_close(cache->device, slab); /* Waits for what is still running. */
        tq_release(allocator_of(cache), slab);
    }
    while (cache->pool.sizes != NULL) {
        tq_pool_size *size = cache->pool.sizes;
        cache->pool.sizes = size->next;
        tq_release(allocator_of(cache), size->free);
        tq_release(allocator_of(cache), size);
    }
}
