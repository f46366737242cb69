/* SPDX-License-Identifier: MIT
 *
 * Arrays, layers and sequences that callers name. */
#include "arguments.h"

#include "checked.h"
#include "device.h"

bool tq_resolve_strides(size_t n_tokens, size_t n_heads, size_t dim, tq_dtype dtype, size_t *token_stride,
                        size_t *head_stride)
{
    if (dtype < TQ_DTYPE_F32 || dtype > TQ_DTYPE_BF16) {
        return false;
    }
    if (*head_stride == 0) {
        *head_stride = dim;
    }
    if (*token_stride == 0 && !tq_multiply_fits(n_heads, *head_stride, token_stride)) {
        return false;
    }
    /* Token-major or head-major, one of the two lies within one step of the other; and the last element has an address.
     */
    size_t heads;
    size_t tokens;
    if (*head_stride < dim || *token_stride < dim || !tq_multiply_fits(n_heads, *head_stride, &heads) ||
        !tq_multiply_fits(n_tokens, *token_stride, &tokens) || heads > PTRDIFF_MAX / 16 || tokens > PTRDIFF_MAX / 16) {
        return false;
    }
    return n_tokens <= 1 || heads - *head_stride + dim <= *token_stride || tokens - *token_stride + dim <= *head_stride;
}

bool tq_is_reachable(const tq_cache *cache, const void *memory)
{
    return memory == NULL || tq_cache_is_on_host(cache) || cache->device->ops->owns(cache->device, memory);
}

tq_status tq_check_layer(const tq_cache *cache, uint32_t layer)
{
    return layer < cache->desc.n_layers
               ? TQ_OK
               : tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_cache: layer is out of range");
}

tq_status tq_check_seq(const tq_cache *cache, const tq_seq *seq)
{
    return seq != NULL && seq->cache == cache
               ? TQ_OK
               : tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_cache: seq is null or of another cache");
}
