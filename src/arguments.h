/* SPDX-License-Identifier: MIT
 *
 * What the cache's calls check of their arguments. */
#ifndef TQ_ARGUMENTS_H
#define TQ_ARGUMENTS_H

#include "cache.h"

static inline size_t tq_element_bytes(tq_dtype dtype)
{
    return dtype == TQ_DTYPE_F32 ? 4 : 2;
}

/* Resolves the strides of [n_tokens, n_heads, dim]; false if they make no array of that shape. */
bool tq_resolve_strides(size_t n_tokens, size_t n_heads, size_t dim, tq_dtype dtype, size_t *token_stride,
                        size_t *head_stride);

/* On a device, nothing is read before the kernels do; but a pointer of the wrong kind is found. Null is none. */
bool tq_is_reachable(const tq_cache *cache, const void *memory);

/* TQ_OK, or TQ_ERR_INVALID_ARGUMENT and a sentence. */
tq_status tq_check_layer(const tq_cache *cache, uint32_t layer);
tq_status tq_check_seq(const tq_cache *cache, const tq_seq *seq);

#endif /* TQ_ARGUMENTS_H */
