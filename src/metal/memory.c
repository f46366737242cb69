/* SPDX-License-Identifier: MIT
 *
 * Memory of the device, which the host shares, and a cache's part of it. */
#include "metal/metal.h"

#include <string.h>

tq_status tq_metal_slab_open(tq_device *base, tq_slab *slab)
{
    tq_metal_device *device = (tq_metal_device *)base;
    tq_gpu_memory *memory;
    const tq_status status = tq_gpu_alloc(device->gpu, slab->bytes, &memory);
    if (status == TQ_OK) {
        slab->handle = memory;
        slab->address = memory->host;
    }
    return tq_metal_check(device, status);
}

void tq_metal_slab_close(tq_device *base, tq_slab *slab)
{
    tq_gpu_free(((tq_metal_device *)base)->gpu, slab->handle);
}

void tq_metal_copy(tq_device *base, tq_cache *cache, uint8_t *to, const uint8_t *from, size_t bytes)
{
    (void)base;
    (void)cache;
    memcpy(to, from, bytes);
}

void tq_metal_download(tq_device *base, const tq_cache *cache, void *to, const uint8_t *from, size_t bytes)
{
    (void)base;
    (void)cache;
    memcpy(to, from, bytes);
}

void tq_metal_upload(tq_device *base, const tq_cache *cache, uint8_t *to, const void *from, size_t bytes)
{
    (void)base;
    (void)cache;
    memcpy(to, from, bytes);
}

uint64_t tq_metal_address(tq_cache *cache, const uint8_t *block)
{
    if (block == NULL) {
        return 0;
    }
    const tq_slab *slab = tq_pool_find(cache, block);
    const tq_gpu_memory *memory = slab->handle;
    return memory->address + (uint64_t)(block - slab->address);
}

/* --- scratch -------------------------------------------------------------------------------------------------------
 */

static void free_scratch(tq_cache *cache, tq_metal_scratch *scratch)
{
    if (scratch != NULL) {
        tq_gpu_free(((tq_metal_device *)cache->device)->gpu, scratch->memory);
        tq_release(&cache->context->allocator, scratch);
    }
}

static tq_status make_scratch(tq_cache *cache, size_t bytes, tq_metal_scratch **scratch)
{
    tq_metal_device *device = (tq_metal_device *)cache->device;
    tq_metal_scratch *made = tq_allocate(&cache->context->allocator, 1, sizeof *made);
    if (made == NULL) {
        tq_fail(cache->context, TQ_ERR_OUT_OF_MEMORY, "Metal: out of memory");
        return TQ_ERR_OUT_OF_MEMORY;
    }
    const tq_status status = tq_gpu_alloc(device->gpu, bytes, &made->memory);
    if (status != TQ_OK) {
        tq_release(&cache->context->allocator, made);
        tq_metal_check(device, status);
        return status;
    }
    *scratch = made;
    return TQ_OK;
}

tq_status tq_metal_borrow(tq_cache *cache, size_t bytes, tq_metal_scratch **scratch)
{
    tq_metal_cache *own = cache->on_device;
    tq_cache_lock(cache);
    tq_metal_scratch *idle = own->idle;
    if (idle != NULL) {
        own->idle = idle->next;
    }
    tq_cache_unlock(cache);
    if (idle != NULL && idle->memory->bytes < bytes) {
        free_scratch(cache, idle);
        idle = NULL;
    }
    if (idle == NULL) { /* More than is asked for: contexts grow. */
        const tq_status status = make_scratch(cache, bytes + bytes / 2, &idle);
        if (status != TQ_OK) {
            return status;
        }
    }
    idle->used = 0;
    *scratch = idle;
    return TQ_OK;
}

void tq_metal_return(tq_cache *cache, tq_metal_scratch *scratch)
{
    tq_metal_cache *own = cache->on_device;
    tq_cache_lock(cache);
    scratch->next = own->idle;
    own->idle = scratch;
    tq_cache_unlock(cache);
}

tq_gpu_slice tq_metal_part(tq_metal_scratch *scratch, size_t bytes)
{
    const tq_gpu_slice slice = {scratch->memory, scratch->used};
    scratch->used += tq_metal_aligned(bytes);
    return slice;
}

/* --- caches --------------------------------------------------------------------------------------------------------
 */

tq_status tq_metal_cache_open(tq_device *base, tq_cache *cache)
{
    if (cache->desc.head_dim_k != cache->desc.head_dim_v || cache->desc.head_dim_k % TQ_METAL_CHUNK != 0 ||
        cache->desc.head_dim_k > TQ_METAL_MAX_DIM) {
        return tq_fail(base->context, TQ_ERR_UNSUPPORTED,
                       "Metal: keys and values must have the same head_dim, a multiple of 16 up to 256");
    }
    cache->on_device = tq_allocate(&base->context->allocator, 1, sizeof(tq_metal_cache));
    return cache->on_device != NULL ? TQ_OK : tq_fail(base->context, TQ_ERR_OUT_OF_MEMORY, "Metal: out of memory");
}

void tq_metal_cache_close(tq_device *base, tq_cache *cache)
{
    tq_metal_cache *own = cache->on_device;
    while (own != NULL && own->idle != NULL) {
        tq_metal_scratch *scratch = own->idle;
        own->idle = scratch->next;
        free_scratch(cache, scratch);
    }
    tq_release(&base->context->allocator, own);
    cache->on_device = NULL;
}
