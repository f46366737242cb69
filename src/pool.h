/* SPDX-License-Identifier: MIT
 *
 * Memory of a device for one cache. Blocks are cut from slabs, because a driver's own allocation takes long and may
 * wait for the device; slabs are freed with the cache. */
#ifndef TQ_POOL_H
#define TQ_POOL_H

#include "context.h"

/* Memory as the device gives it. */
typedef struct tq_slab {
    struct tq_slab *next;
    void *handle; /* The device's own; null if the address is all there is to know. */
    uint8_t *address;
    size_t bytes;
} tq_slab;

typedef struct tq_pool {
    tq_slab *slabs;
    struct tq_pool_size *sizes;
} tq_pool;

/* A slab that is freed with the cache: TQ_OK, TQ_ERR_OUT_OF_MEMORY or TQ_ERR_BACKEND. */
tq_status tq_pool_keep(tq_cache *cache, size_t bytes, const tq_slab **slab);

/* A block, uninitialised, at a multiple of 256: as tq_pool_keep. It is given back with the same size. */
tq_status tq_pool_take(tq_cache *cache, size_t bytes, uint8_t **block);
void tq_pool_give(tq_cache *cache, size_t bytes, uint8_t *block);

/* The slab that an address of the pool belongs to. */
const tq_slab *tq_pool_find(tq_cache *cache, const uint8_t *address);

void tq_pool_close(tq_cache *cache);

#endif /* TQ_POOL_H */
