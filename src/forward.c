/* SPDX-License-Identifier: MIT
 *
 * The public calls that store and attend: checks, then segments of at most one page, so that every query finds encoded
 * exactly the pages that its position says. */
#include "arguments.h"
#include "desc.h"
#include "device.h"

#include <math.h>

static bool all_finite(const tq_cache *cache, const void *x, tq_dtype dtype, size_t n_tokens, size_t n_heads,
                       size_t dim, size_t token_stride, size_t head_stride)
{
    for (size_t token = 0; tq_cache_is_on_host(cache) && token < n_tokens; token++) {
        for (size_t head = 0; head < n_heads; head++) {
            const size_t offset = token * token_stride + head * head_stride;
            if (!cache->context->kernels.all_finite((const char *)x + offset * tq_element_bytes(dtype), dtype, dim)) {
                return false;
            }
        }
    }
    return true;
}

static tq_status check_seqs(const tq_cache *cache, tq_seq *const *seqs, size_t n_seqs)
{
    tq_status status = TQ_OK;
    if (seqs == NULL && n_seqs > 0) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_cache_forward_batch: seqs is null");
    }
    for (size_t i = 0; status == TQ_OK && i < n_seqs; i++) {
        status = tq_check_seq(cache, seqs[i]);
        for (size_t other = 0; status == TQ_OK && other < i; other++) {
            if (seqs[other] == seqs[i]) {
                status = tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                                 "tq_cache_forward_batch: a sequence is there twice");
            }
        }
    }
    return status;
}

/* True if a sequence can take so many tokens more. */
static bool can_grow(tq_seq *const *seqs, size_t n_seqs, uint32_t layer, size_t n_tokens)
{
    for (size_t i = 0; i < n_seqs; i++) {
        if (n_tokens > PTRDIFF_MAX - seqs[i]->tracks[layer].n_tokens) {
            return false;
        }
    }
    return true;
}

/* Copies and checks the new tokens; strides are resolved in the copy. */
static tq_status read_kv(const tq_cache *cache, const tq_kv *from, tq_kv *kv)
{
    const tq_cache_desc *desc = &cache->desc;
    if (from == NULL || !tq_desc_read(from, kv, sizeof *kv, sizeof(tq_kv)) ||
        !tq_resolve_strides(kv->n_tokens, desc->n_kv_heads, desc->head_dim_k, kv->dtype, &kv->k_token_stride,
                            &kv->k_head_stride) ||
        !tq_resolve_strides(kv->n_tokens, desc->n_kv_heads, desc->head_dim_v, kv->dtype, &kv->v_token_stride,
                            &kv->v_head_stride)) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache: kv is null, its struct_size or dtype is wrong, or its strides make no array");
    }
    if (kv->n_tokens > 0 && (kv->k == NULL || kv->v == NULL)) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_cache: k or v is null");
    }
    if (kv->n_tokens > 0 && (!tq_is_reachable(cache, kv->k) || !tq_is_reachable(cache, kv->v))) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_cache: k or v is not in the device's memory");
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
        !tq_resolve_strides(args->n_tokens, args->n_q_heads, desc->head_dim_k, args->q_dtype, &args->q_token_stride,
                            &args->q_head_stride) ||
        !tq_resolve_strides(args->n_tokens, args->n_q_heads, desc->head_dim_v, TQ_DTYPE_F32, &args->out_token_stride,
                            &args->out_head_stride) ||
        (args->n_tokens > 0 && (args->q == NULL || args->out == NULL)) || args->soft_cap < 0 || args->skip_below < 0) {
        return tq_fail(
            cache->context, TQ_ERR_INVALID_ARGUMENT,
            "tq_cache: n_q_heads does not fit n_kv_heads, a dtype is unknown, strides make no array, q or out "
            "is null, or soft_cap or skip_below is negative");
    }
    if (args->n_tokens > 0 && (!tq_is_reachable(cache, args->q) || !tq_is_reachable(cache, args->out) ||
                               !tq_is_reachable(cache, args->lse) || !tq_is_reachable(cache, args->sink_logits))) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache: q, out, lse or sink_logits is not in the device's memory");
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
        (args->sink_logits != NULL && args->n_tokens > 0 && tq_cache_is_on_host(cache) &&
         !cache->context->kernels.all_finite(args->sink_logits, TQ_DTYPE_F32, args->n_q_heads)) ||
        !all_finite(cache, args->q, args->q_dtype, args->n_tokens, args->n_q_heads, desc->head_dim_k,
                    args->q_token_stride, args->q_head_stride)) {
        return tq_fail(cache->context, TQ_ERR_NONFINITE,
                       "tq_cache: q, scale, soft_cap, skip_below or sink_logits contains a NaN or an infinity");
    }
    return TQ_OK;
}

/* Null stays null, also if there are no bytes. */
static const void *bytes_behind(const void *memory, size_t bytes)
{
    return bytes == 0 ? memory : (const char *)memory + bytes;
}

static tq_status begin_stores(tq_store *stores, tq_kv *parts, tq_cache *cache, tq_seq *const *seqs, size_t n_seqs,
                              uint32_t layer, const tq_kv *kv)
{
    const size_t each = kv->n_tokens / n_seqs;
    const size_t element = tq_element_bytes(kv->dtype);
    tq_status status = TQ_OK;
    for (size_t i = 0; status == TQ_OK && i < n_seqs; i++) {
        parts[i] = *kv;
        parts[i].n_tokens = each;
        parts[i].k = bytes_behind(kv->k, i * each * kv->k_token_stride * element);
        parts[i].v = bytes_behind(kv->v, i * each * kv->v_token_stride * element);
        status = tq_store_begin(&stores[i], cache, cache->layers[layer], &seqs[i]->tracks[layer], &parts[i]);
        for (size_t begun = 0; status != TQ_OK && begun < i; begun++) {
            tq_store_end(&stores[begun]);
        }
    }
    return status;
}

/* Stores the tokens of one sequence, and attends each segment's queries as soon as its tokens are there. `first` is its
 * first query token. */
static void store_one(tq_store *store, const tq_attention *args, size_t first)
{
    while (store->done < store->kv->n_tokens) {
        const size_t from = first + store->done;
        const size_t position = store->track->n_tokens;
        const size_t count = tq_store_segment(store);
        if (args != NULL) {
            tq_attend_segment(store->cache, store->form, store->track, args, from, count, position);
        }
    }
}

static tq_status store_begun(tq_store *stores, size_t n_seqs, const tq_kv *kv, const tq_attention *args)
{
    if (stores[0].cache->device != NULL) {
        return tq_device_store(stores, n_seqs, kv, args);
    }
    for (size_t i = 0; i < n_seqs; i++) {
        store_one(&stores[i], args, i * (kv->n_tokens / n_seqs));
    }
    return TQ_OK;
}

/* `args` may be null. */
static tq_status store(tq_cache *cache, tq_seq *const *seqs, size_t n_seqs, uint32_t layer, const tq_kv *kv,
                       const tq_attention *args)
{
    tq_store own_store;
    tq_kv own_part;
    tq_store *stores = &own_store;
    tq_kv *parts = &own_part;
    void *memory = NULL;
    if (!tq_cache_is_on_host(cache)) {
        cache->stream = kv->stream;
    }
    if (n_seqs > 1) {
        memory = tq_allocate(&cache->context->allocator, n_seqs, sizeof *stores + sizeof *parts);
        if (memory == NULL) {
            return tq_fail(cache->context, TQ_ERR_OUT_OF_MEMORY, "tq_cache: out of memory");
        }
        stores = memory;
        parts = (tq_kv *)(stores + n_seqs);
    }
    tq_status status = begin_stores(stores, parts, cache, seqs, n_seqs, layer, kv);
    if (status != TQ_OK) {
        tq_fail(cache->context, status,
                status == TQ_ERR_CAPACITY        ? "tq_cache: memory_limit has been reached"
                : status == TQ_ERR_OUT_OF_MEMORY ? "tq_cache: out of memory"
                                                 : "tq_cache: the device failed");
    } else {
        status = store_begun(stores, n_seqs, kv, args);
        for (size_t i = 0; i < n_seqs; i++) {
            tq_store_end(&stores[i]);
        }
    }
    tq_release(&cache->context->allocator, memory);
    return status;
}

/* All queries must be in the page of the newest token. */
static tq_status check_queries(const tq_cache *cache, const tq_track *track, size_t n_queries)
{
    if (n_queries > track->n_tokens) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache_attend: the sequence has fewer tokens than there are queries");
    }
    if ((track->n_tokens - n_queries) / TQ_PAGE_TOKENS != (track->n_tokens - 1) / TQ_PAGE_TOKENS) {
        return tq_fail(cache->context, TQ_ERR_UNSUPPORTED,
                       "tq_cache_attend: a query is in an older page than the newest token");
    }
    return TQ_OK;
}

/* Attends the newest `each` tokens of some tracks; the first one's first query is token `first`. */
static tq_status attend_tracks(tq_cache *cache, tq_track *const *tracks, size_t n_tracks, uint32_t layer,
                               const tq_attention *args, size_t first, size_t each)
{
    const tq_form form = cache->layers[layer];
    if (cache->device != NULL) {
        if (!tq_cache_is_on_host(cache)) {
            cache->stream = args->stream;
        }
        return tq_device_attend(cache, form, tracks, n_tracks, args, first, each);
    }
    for (size_t i = 0; i < n_tracks; i++) {
        tq_attend_segment(cache, form, tracks[i], args, first + i * each, each, tracks[i]->n_tokens - each);
    }
    return TQ_OK;
}

static tq_status attend(tq_cache *cache, tq_seq *const *seqs, size_t n_seqs, uint32_t layer, const tq_attention *args)
{
    const size_t each = args->n_tokens / n_seqs;
    tq_status status = TQ_OK;
    for (size_t i = 0; each > 0 && status == TQ_OK && i < n_seqs; i++) {
        status = check_queries(cache, &seqs[i]->tracks[layer], each);
    }
    for (size_t from = 0; each > 0 && status == TQ_OK && from < n_seqs; from += TQ_DEVICE_TOGETHER) {
        tq_track *tracks[TQ_DEVICE_TOGETHER];
        const size_t n = n_seqs - from < TQ_DEVICE_TOGETHER ? n_seqs - from : TQ_DEVICE_TOGETHER;
        for (size_t i = 0; i < n; i++) {
            tracks[i] = &seqs[from + i]->tracks[layer];
        }
        status = attend_tracks(cache, tracks, n, layer, args, from * each, each);
    }
    return status;
}

tq_status tq_cache_forward_batch(tq_cache *cache, tq_seq *const *seqs, size_t n_seqs, uint32_t layer, const tq_kv *kv,
                                 const tq_attention *attention)
{
    tq_kv tokens;
    tq_attention args;
    if (cache == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    tq_status status = tq_check_layer(cache, layer);
    if (status == TQ_OK) {
        status = check_seqs(cache, seqs, n_seqs);
    }
    if (status == TQ_OK && kv != NULL) {
        status = read_kv(cache, kv, &tokens);
    }
    if (status == TQ_OK && attention != NULL) {
        status = read_attention(cache, layer, attention, &args);
    }
    if (status != TQ_OK || n_seqs == 0) {
        return status;
    }
    if ((kv != NULL && (tokens.n_tokens % n_seqs != 0 || !can_grow(seqs, n_seqs, layer, tokens.n_tokens))) ||
        (attention != NULL && args.n_tokens % n_seqs != 0)) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache: n_tokens is no multiple of the number of sequences, or too large");
    }
    if (kv != NULL && attention != NULL && tokens.n_tokens != args.n_tokens) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache_forward: kv and attention have different numbers of tokens");
    }
    if (kv != NULL) {
        return store(cache, seqs, n_seqs, layer, &tokens, attention != NULL ? &args : NULL);
    }
    return attention != NULL ? attend(cache, seqs, n_seqs, layer, &args) : TQ_OK;
}

tq_status tq_cache_forward(tq_cache *cache, tq_seq *seq, uint32_t layer, const tq_kv *kv, const tq_attention *attention)
{
    if (cache != NULL && (kv == NULL || attention == NULL)) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_cache_forward: kv or attention is null");
    }
    return tq_cache_forward_batch(cache, &seq, 1, layer, kv, attention);
}

tq_status tq_cache_append(tq_cache *cache, tq_seq *seq, uint32_t layer, const tq_kv *kv)
{
    if (cache != NULL && kv == NULL) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_cache_append: kv is null");
    }
    return tq_cache_forward_batch(cache, &seq, 1, layer, kv, NULL);
}

tq_status tq_cache_attend(const tq_cache *cache, const tq_seq *seq, uint32_t layer, const tq_attention *attention)
{
    tq_attention args;
    if (cache == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    tq_status status = tq_check_layer(cache, layer);
    if (status == TQ_OK) {
        status = tq_check_seq(cache, seq);
    }
    if (status == TQ_OK) {
        status = read_attention(cache, layer, attention, &args);
    }
    if (status != TQ_OK || args.n_tokens == 0) {
        return status;
    }
    tq_track *track = &seq->tracks[layer];
    status = check_queries(cache, track, args.n_tokens);
    return status == TQ_OK ? attend_tracks(seq->cache, &track, 1, layer, &args, 0, args.n_tokens) : status;
}
