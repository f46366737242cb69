/* SPDX-License-Identifier: MIT
 *
 * Device memory of a cache. Blocks are cut from slabs, because the driver's own allocation takes long and may wait for
 * the device; slabs are freed with the cache. */
#include "cuda/cuda.h"

#include <string.h>

enum { FEWEST = 8 }; /* Blocks of a first slab; later ones double what there is, up to */
static const size_t SLAB_BYTES = (size_t)32 << 20;

static const tq_allocator *allocator_of(const tq_cuda_device *device)
{
    return &device->base.context->allocator;
}

tq_status tq_cuda_keep(tq_cuda_device *device, tq_cache *cache, size_t bytes, void **memory)
{
    tq_cuda_cache *own = cache->on_device;
    tq_cuda_slab *slab = tq_allocate(allocator_of(device), 1, sizeof *slab);
    if (slab == NULL) {
        return TQ_ERR_OUT_OF_MEMORY;
    }
    const bool entered = tq_cuda_enter(device);
    const int error = device->driver.allocate(&slab->address, bytes);
    tq_cuda_leave(device, entered);
    if (error != 0) {
        tq_release(allocator_of(device), slab);
        return tq_cuda_check(device, error, "allocating device memory");
    }
    tq_cache_lock(cache);
    slab->next = own->slabs;
    own->slabs = slab;
    tq_cache_unlock(cache);
    *memory = slab->address;
    return TQ_OK;
}

/* The list of blocks of a size; null if there is no memory for it. The cache is locked. */
static tq_cuda_size *find_size(tq_cuda_device *device, tq_cuda_cache *own, size_t bytes)
{
    for (tq_cuda_size *size = own->sizes; size != NULL; size = size->next) {
        if (size->bytes == bytes) {
            return size;
        }
    }
    tq_cuda_size *made = tq_allocate(allocator_of(device), 1, sizeof *made);
    if (made != NULL) {
        made->bytes = bytes;
        made->next = own->sizes;
        own->sizes = made;
    }
    return made;
}

/* Room in the list for all blocks there will be, so that freeing one cannot fail. The cache is locked. */
static bool make_room(tq_cuda_device *device, tq_cuda_size *size, size_t blocks)
{
    if (blocks <= size->room) {
        return true;
    }
    const size_t room = 2 * blocks;
    uint8_t **list = tq_allocate(allocator_of(device), room, sizeof *list);
    if (list == NULL) {
        return false;
    }
    if (size->n_free > 0) {
        memcpy(list, size->free, size->n_free * sizeof *list);
    }
    tq_release(allocator_of(device), size->free);
    size->free = list;
    size->room = room;
    return true;
}

static size_t rounded(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

static tq_status grow(tq_cuda_device *device, tq_cache *cache, tq_cuda_size *size)
{
    const size_t most = SLAB_BYTES / size->bytes;
    size_t n = size->n_blocks > FEWEST ? size->n_blocks : FEWEST;
    n = n > most ? most : n;
    n = n < 1 ? 1 : n;
    void *memory;
    const tq_status status = tq_cuda_keep(device, cache, n * size->bytes, &memory);
    if (status != TQ_OK) {
        return status;
    }
    tq_cache_lock(cache);
    const bool ok = make_room(device, size, size->n_blocks + n);
    for (size_t i = 0; ok && i < n; i++) {
        size->free[size->n_free++] = (uint8_t *)memory + i * size->bytes;
    }
    size->n_blocks += ok ? n : 0;
    tq_cache_unlock(cache);
    return ok ? TQ_OK : TQ_ERR_OUT_OF_MEMORY;
}

tq_status tq_cuda_allocate(tq_device *base, tq_cache *cache, size_t bytes, uint8_t **block)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    tq_cuda_cache *own = cache->on_device;
    tq_status status = TQ_OK;
    *block = NULL;
    tq_cache_lock(cache);
    tq_cuda_size *size = find_size(device, own, rounded(bytes));
    tq_cache_unlock(cache);
    while (status == TQ_OK && size != NULL && *block == NULL) {
        tq_cache_lock(cache);
        if (size->n_free > 0) {
            *block = size->free[--size->n_free];
        }
        tq_cache_unlock(cache);
        if (*block == NULL) {
            status = grow(device, cache, size);
        }
    }
    return size == NULL ? TQ_ERR_OUT_OF_MEMORY : status;
}

void tq_cuda_free(tq_device *base, tq_cache *cache, size_t bytes, uint8_t *block)
{
    tq_cache_lock(cache);
    tq_cuda_size *size = find_size((tq_cuda_device *)base, cache->on_device, rounded(bytes));
    size->free[size->n_free++] = block;
    tq_cache_unlock(cache);
}

void tq_cuda_copy(tq_device *base, tq_cache *cache, uint8_t *to, const uint8_t *from, size_t bytes)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    const bool entered = tq_cuda_enter(device);
    tq_cuda_note(device, device->driver.copy(to, from, bytes, cache->stream), "copying a block");
    tq_cuda_leave(device, entered);
}

tq_status tq_cuda_cache_open(tq_device *base, tq_cache *cache)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    if (cache->desc.head_dim_k != cache->desc.head_dim_v) {
        return tq_fail(base->context, TQ_ERR_UNSUPPORTED, "cuda: keys and values must have the same head_dim");
    }
    tq_cuda_cache *own = tq_allocate(allocator_of(device), 1, sizeof *own);
    if (own == NULL) {
        return tq_fail(base->context, TQ_ERR_OUT_OF_MEMORY, "cuda: out of memory");
    }
    const bool entered = tq_cuda_enter(device);
    const tq_status status = tq_cuda_load(device, cache->desc.head_dim_k, &own->module);
    tq_cuda_leave(device, entered);
    if (status != TQ_OK) {
        tq_release(allocator_of(device), own);
        return status;
    }
    cache->on_device = own;
    return TQ_OK;
}

void tq_cuda_cache_close(tq_device *base, tq_cache *cache)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    tq_cuda_cache *own = cache->on_device;
    if (own == NULL) {
        return;
    }
    const bool entered = tq_cuda_enter(device);
    while (own->slabs != NULL) {
        tq_cuda_slab *slab = own->slabs;
        own->slabs = slab->next;
        device->driver.release(slab->address); /* Waits for what is still running. */
        tq_release(allocator_of(device), slab);
    }
    tq_cuda_leave(device, entered);
    while (own->sizes != NULL) {
        tq_cuda_size *size = own->sizes;
        own->sizes = size->next;
        tq_release(allocator_of(device), size->free);
        tq_release(allocator_of(device), size);
    }
    tq_release(allocator_of(device), own);
    cache->on_device = NULL;
}

/* --- tables of tracks ----------------------------------------------------------------------------------------------
 */

tq_status tq_cuda_track_reserve(tq_device *base, tq_cache *cache, tq_track *track, size_t n_pages)
{
    if (n_pages <= track->device_room) {
        return TQ_OK;
    }
    uint8_t *table;
    const size_t room = n_pages + n_pages / 2 + 64;
    const tq_status status = tq_cuda_allocate(base, cache, room * sizeof(tq_cuda_entry), &table);
    if (status != TQ_OK) {
        return status;
    }
    tq_cuda_track_free(base, cache, track);
    track->on_device = table;
    track->device_room = room;
    track->device_current = 0;
    return TQ_OK;
}

void tq_cuda_track_free(tq_device *base, tq_cache *cache, tq_track *track)
{
    if (track->on_device != NULL) {
        tq_cuda_free(base, cache, track->device_room * sizeof(tq_cuda_entry), track->on_device);
    }
    track->on_device = NULL;
    track->device_room = 0;
}
