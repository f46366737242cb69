/* SPDX-License-Identifier: MIT
 *
 * The public calls that store and attend: checks, then segments of at most one page, so that every query finds encoded
 * exactly the pages that its position says. */
#include "cache.h"
#include "checked.h"
#include "desc.h"

#include <math.h>

static size_t element_bytes(tq_dtype dtype)
{
    return dtype == TQ_DTYPE_F32 ? 4 : 2;
}

/* Resolves the strides of [n_tokens, n_heads, dim]; false if they make no array of that shape. */
static bool resolve_strides(size_t n_tokens, size_t n_heads, size_t dim, tq_dtype dtype, size_t *token_stride,
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

static bool all_finite(const tq_cache *cache, const void *x, tq_dtype dtype, size_t n_tokens, size_t n_heads,
                       size_t dim, size_t token_stride, size_t head_stride)
{
    for (size_t token = 0; token < n_tokens; token++) {
        for (size_t head = 0; head < n_heads; head++) {
            const size_t offset = token * token_stride + head * head_stride;
            if (!cache->context->kernels.all_finite((const char *)x + offset * element_bytes(dtype), dtype, dim)) {
                return false;
            }
        }
    }
    return true;
}

static tq_status check_place(const tq_cache *cache, const tq_seq *seq, uint32_t layer)
{
    if (seq == NULL || seq->cache != cache || layer >= cache->desc.n_layers) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache: seq is null or of another cache, or layer is out of range");
    }
    return TQ_OK;
}

/* Copies and checks the new tokens; strides are resolved in the copy. */
static tq_status read_kv(const tq_cache *cache, const tq_seq *seq, uint32_t layer, const tq_kv *from, tq_kv *kv)
{
    const tq_cache_desc *desc = &cache->desc;
    if (from == NULL || !tq_desc_read(from, kv, sizeof *kv, sizeof(tq_kv)) ||
        !resolve_strides(kv->n_tokens, desc->n_kv_heads, desc->head_dim_k, kv->dtype, &kv->k_token_stride,
                         &kv->k_head_stride) ||
        !resolve_strides(kv->n_tokens, desc->n_kv_heads, desc->head_dim_v, kv->dtype, &kv->v_token_stride,
                         &kv->v_head_stride) ||
        kv->n_tokens > PTRDIFF_MAX - seq->tracks[layer].n_tokens) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache: kv is null, its struct_size or dtype is wrong, or its strides make no array");
    }
    if (kv->n_tokens > 0 && (kv->k == NULL || kv->v == NULL)) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_cache: k or v is null");
    }
    if (!all_finite(cache, kv->k, kv->dtype, kv->n_tokens, desc->n_kv_heads, desc->head_dim_k, kv->k_token_stride,
                    kv->k_head_stride) ||
        !all_finite(cache, kv->v, kv->dtype, kv->n_tokens, desc->n_kv_heads, desc->head_dim_v, kv->v_token_stride,
                    kv->v_head_stride)) {
        return tq_fail(cache->context, TQ_ERR_NONFINITE, "tq_cache: k or v contains a NaN or an infinity");
    }
    return TQ_OK;
}

/* Copies and checks the queries; strides and scale are resolved in the copy. */
static tq_status read_attention(const tq_cache *cache, uint32_t layer, const tq_attention *from, tq_attention *args)
{
    const tq_cache_desc *desc = &cache->desc;
    if (from == NULL || !tq_desc_read(from, args, sizeof *args, sizeof(tq_attention))) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache: attention is null or its struct_size is wrong");
    }
    if (args->n_q_heads == 0 || args->n_q_heads % desc->n_kv_heads != 0 ||
        !resolve_strides(args->n_tokens, args->n_q_heads, desc->head_dim_k, args->q_dtype, &args->q_token_stride,
                         &args->q_head_stride) ||
        !resolve_strides(args->n_tokens, args->n_q_heads, desc->head_dim_v, TQ_DTYPE_F32, &args->out_token_stride,
                         &args->out_head_stride) ||
        (args->n_tokens > 0 && (args->q == NULL || args->out == NULL)) || args->soft_cap < 0 || args->skip_below < 0) {
        return tq_fail(
            cache->context, TQ_ERR_INVALID_ARGUMENT,
            "tq_cache: n_q_heads does not fit n_kv_heads, a dtype is unknown, strides make no array, q or out "
            "is null, or soft_cap or skip_below is negative");
    }
    const tq_form *form = &cache->layers[layer];
    if ((args->flags & ~(uint32_t)(TQ_ATTENTION_Q_ROTATED | TQ_ATTENTION_OUT_ROTATED)) != 0) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_cache: unknown flag of attention");
    }
    if (((args->flags & TQ_ATTENTION_Q_ROTATED) != 0 && form->k->codec->family == TQ_FAMILY_HALF) ||
        ((args->flags & TQ_ATTENTION_OUT_ROTATED) != 0 && form->v->codec->family == TQ_FAMILY_HALF)) {
        return tq_fail(cache->context, TQ_ERR_UNSUPPORTED, "tq_cache: this layer is f16 and has no rotation");
    }
    if (args->scale == 0) {
        args->scale = 1.0F / sqrtf((float)desc->head_dim_k);
    }
    if (!isfinite(args->scale) || !isfinite(args->soft_cap) || !isfinite(args->skip_below) ||
        (args->sink_logits != NULL && args->n_tokens > 0 &&
         !cache->context->kernels.all_finite(args->sink_logits, TQ_DTYPE_F32, args->n_q_heads)) ||
        !all_finite(cache, args->q, args->q_dtype, args->n_tokens, args->n_q_heads, desc->head_dim_k,
                    args->q_token_stride, args->q_head_stride)) {
        return tq_fail(cache->context, TQ_ERR_NONFINITE,
                       "tq_cache: q, scale, soft_cap, skip_below or sink_logits contains a NaN or an infinity");
    }
    return TQ_OK;
}

/* Stores kv, and attends each segment's queries as soon as its tokens are there. `args` may be null. */
static tq_status store(tq_cache *cache, tq_seq *seq, uint32_t layer, const tq_kv *kv, const tq_attention *args)
{
    tq_track *track = &seq->tracks[layer];
    tq_store work;
    const tq_status status = tq_store_begin(&work, cache, cache->layers[layer], track, kv);
    if (status != TQ_OK) {
        return tq_fail(cache->context, status,
                       status == TQ_ERR_CAPACITY ? "tq_cache: memory_limit has been reached"
                                                 : "tq_cache: out of memory");
    }
    while (work.done < kv->n_tokens) {
        const size_t first = work.done;
        const size_t position = track->n_tokens;
        const size_t count = tq_store_segment(&work);
        if (args != NULL) {
            tq_attend_segment(cache, cache->layers[layer], track, args, first, count, position);
        }
    }
    tq_store_end(&work);
    return TQ_OK;
}

tq_status tq_cache_forward(tq_cache *cache, tq_seq *seq, uint32_t layer, const tq_kv *kv, const tq_attention *attention)
{
    tq_kv tokens;
    tq_attention args;
    if (cache == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    tq_status status = check_place(cache, seq, layer);
    if (status == TQ_OK) {
        status = read_kv(cache, seq, layer, kv, &tokens);
    }
    if (status == TQ_OK) {
        status = read_attention(cache, layer, attention, &args);
    }
    if (status != TQ_OK) {
        return status;
    }
    if (tokens.n_tokens != args.n_tokens) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache_forward: kv and attention have different numbers of tokens");
    }
    return store(cache, seq, layer, &tokens, &args);
}

tq_status tq_cache_append(tq_cache *cache, tq_seq *seq, uint32_t layer, const tq_kv *kv)
{
    tq_kv tokens;
    if (cache == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    tq_status status = check_place(cache, seq, layer);
    if (status == TQ_OK) {
        status = read_kv(cache, seq, layer, kv, &tokens);
    }
    return status == TQ_OK ? store(cache, seq, layer, &tokens, NULL) : status;
}

tq_status tq_cache_attend(const tq_cache *cache, const tq_seq *seq, uint32_t layer, const tq_attention *attention)
{
    tq_attention args;
    if (cache == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    tq_status status = check_place(cache, seq, layer);
    if (status == TQ_OK) {
        status = read_attention(cache, layer, attention, &args);
    }
    if (status != TQ_OK) {
        return status;
    }
    const tq_track *track = &seq->tracks[layer];
    if (args.n_tokens > track->n_tokens) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache_attend: the sequence has fewer tokens than there are queries");
    }
    if (args.n_tokens == 0) {
        return TQ_OK;
    }
    const size_t position = track->n_tokens - args.n_tokens;
    if (position / TQ_PAGE_TOKENS != (track->n_tokens - 1) / TQ_PAGE_TOKENS) {
        return tq_fail(cache->context, TQ_ERR_UNSUPPORTED,
                       "tq_cache_attend: a query is in an older page than the newest token");
    }
    tq_attend_segment(seq->cache, cache->layers[layer], track, &args, 0, args.n_tokens, position);
    return TQ_OK;
}
