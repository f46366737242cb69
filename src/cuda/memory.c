/* SPDX-License-Identifier: MIT
 *
 * Device memory, and a cache's part of the device. */
#include "cuda/cuda.h"

tq_status tq_cuda_slab_open(tq_device *base, tq_slab *slab)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    void *address = NULL;
    const bool entered = tq_cuda_enter(device);
    const int error = device->driver.allocate(&address, slab->bytes);
    tq_cuda_leave(device, entered);
    slab->address = address;
    return tq_cuda_check(device, error, "allocating device memory");
}

void tq_cuda_slab_close(tq_device *base, tq_slab *slab)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    const bool entered = tq_cuda_enter(device);
    device->driver.release(slab->address); /* Waits for what is still running. */
    tq_cuda_leave(device, entered);
}

void tq_cuda_copy(tq_device *base, tq_cache *cache, uint8_t *to, const uint8_t *from, size_t bytes)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    const bool entered = tq_cuda_enter(device);
    tq_cuda_note(device, device->driver.copy(to, from, bytes, cache->stream), "copying a block");
    tq_cuda_leave(device, entered);
}

void tq_cuda_download(tq_device *base, const tq_cache *cache, void *to, const uint8_t *from, size_t bytes)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    const bool entered = tq_cuda_enter(device);
    tq_cuda_note(device, device->driver.synchronise(cache->stream), "waiting for the device");
    tq_cuda_note(device, device->driver.download(to, from, bytes), "reading a block");
    tq_cuda_leave(device, entered);
}

void tq_cuda_upload(tq_device *base, const tq_cache *cache, uint8_t *to, const void *from, size_t bytes)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    const bool entered = tq_cuda_enter(device);
    tq_cuda_note(device, device->driver.synchronise(cache->stream), "waiting for the device");
    tq_cuda_note(device, device->driver.upload(to, from, bytes), "writing a block");
    tq_cuda_leave(device, entered);
}

tq_status tq_cuda_cache_open(tq_device *base, tq_cache *cache)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    tq_cuda_cache *own = tq_allocate(&base->context->allocator, 1, sizeof *own);
    if (own == NULL) {
        return tq_fail(base->context, TQ_ERR_OUT_OF_MEMORY, "cuda: out of memory");
    }
    const bool entered = tq_cuda_enter(device);
    tq_status status = tq_cuda_load(device, cache->desc.head_dim_k, &own->modules[0]);
    if (status == TQ_OK) {
        status = tq_cuda_load(device, cache->desc.head_dim_v, &own->modules[1]);
    }
    tq_cuda_leave(device, entered);
    if (status != TQ_OK) {
        tq_release(&base->context->allocator, own);
        return status;
    }
    cache->on_device = own;
    return TQ_OK;
}

void tq_cuda_cache_close(tq_device *base, tq_cache *cache)
{
    tq_release(&base->context->allocator, cache->on_device);
    cache->on_device = NULL;
}
