/* SPDX-License-Identifier: MIT */
/* What tq_bench attend reads: layers of keys and values that are together larger than the processor's caches, so that
 * going through them one after the other finds each in memory. */
#ifndef TQ_BENCH_ATTEND_MEMORY_H
#define TQ_BENCH_ATTEND_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "baseline_loops.h"
#include "device.h"
#include "turboquant.h"

struct attend_shape {
    size_t context; /* Tokens. */
    uint32_t kv_heads;
    uint32_t head_dim;
    size_t cold_bytes;           /* What a pass over all layers must read at least. */
    const struct device *device; /* Where the library's caches are; null: in the host's memory. */
};

/* A cache of the library and its one sequence. */
struct filled_cache {
    tq_cache *cache;
    tq_seq *seq;
    uint32_t layers;
    size_t layer_bytes; /* That one query must read in a layer: codes, means, exact tokens. */
    size_t resident_bytes;
    size_t estimated_bytes;
};

/* Makes a cache with as many layers as it takes and fills it with random numbers. On failure nothing is left to
 * destroy. */
tq_status filled_cache_create(const tq_context *context, const struct attend_shape *shape, tq_format k_format,
                              tq_format v_format, struct filled_cache *filled);

void filled_cache_destroy(struct filled_cache *filled);

/* Keys and values in f16 as the bench's own attention reads them: [layer][KV head][K, V][context][head_dim]. On a
 * device nothing attends to them: they are bytes to be copied. */
struct dense_memory {
    const struct device *device;
    uint8_t *data;
    size_t layers;
    size_t layer_bytes;
};

/* False if memory ran out. */
bool dense_memory_create(const struct attend_shape *shape, const struct baseline_loops *loops,
                         struct dense_memory *dense);

void dense_memory_destroy(struct dense_memory *dense);

/* Standard normal numbers. */
void fill_normal(float *x, size_t n, uint64_t seed);

#endif /* TQ_BENCH_ATTEND_MEMORY_H */
