/* SPDX-License-Identifier: MIT
 *
 * tq_cache_decode: tokens of a layer as vectors again, each as the newest token sees it. */
#include "arguments.h"
#include "desc.h"
#include "device.h"
#include "half.h"
#include "spans.h"

enum { P = TQ_PAGE_TOKENS };

/* A page, in the host's memory and layout, and what of it is wanted. */
typedef struct decode_work {
    const tq_cache *cache;
    const tq_kv_out *to;
    const tq_page *page;
    tq_page_spans spans;
    size_t begin; /* Tokens [begin, end) of the page */
    size_t end;
    size_t at; /* are tokens `at` and on of `to`. */
} decode_work;

static void narrow(const tq_cache *cache, const float *x, size_t dim, tq_dtype dtype, void *to)
{
    if (dtype == TQ_DTYPE_F32) {
        memcpy(to, x, dim * sizeof *x);
    } else if (dtype == TQ_DTYPE_F16) {
        cache->context->kernels.half_encode(x, dim, to);
    } else {
        for (size_t j = 0; j < dim; j++) {
            ((uint16_t *)to)[j] = tq_bf16_from_f32(x[j]);
        }
    }
}

static bool is_in(tq_span span, size_t token)
{
    return token >= span.begin && token < span.end;
}

/* One vector, from where it is. */
static void read_vector(const decode_work *work, bool values, size_t head, size_t token, float *x)
{
    const tq_cache *cache = work->cache;
    const tq_side *side = values ? work->page->form.v : work->page->form.k;
    const size_t dim = side->codec->code.dim;
    if (is_in(work->spans.encoded, token)) {
        tq_side_vector(side,
                       work->page->blocks[TQ_BLOCK_ENCODED] + (values ? tq_encoded_values_at(work->page->form, head)
                                                                      : tq_encoded_keys_at(work->page->form, head)),
                       token, x);
        return;
    }
    const bool sink = is_in(work->spans.sinks, token);
    const size_t tokens = sink ? cache->desc.sink_tokens : P;
    const uint8_t *block = work->page->blocks[sink ? TQ_BLOCK_SINKS : TQ_BLOCK_EXACT];
    const size_t at = values ? tq_exact_values_at(cache, tokens, head) : tq_exact_keys_at(cache, tokens, head);
    cache->context->kernels.half_decode(block + at + token * 2 * dim, dim, x);
}

static void decode_head(void *arg, size_t head)
{
    const decode_work *work = arg;
    const tq_kv_out *to = work->to;
    const size_t element = tq_element_bytes(to->dtype);
    for (size_t token = work->begin; token < work->end; token++) {
        float x[TQ_MAX_DIM];
        const size_t out = work->at + token - work->begin;
        read_vector(work, false, head, token, x);
        narrow(work->cache, x, work->cache->desc.head_dim_k, to->dtype,
               (char *)to->k + (out * to->k_token_stride + head * to->k_head_stride) * element);
        read_vector(work, true, head, token, x);
        narrow(work->cache, x, work->cache->desc.head_dim_v, to->dtype,
               (char *)to->v + (out * to->v_token_stride + head * to->v_head_stride) * element);
    }
}

/* Tokens [first, end) of a page, which is in the host's memory or a device's. */
static tq_status decode_page(decode_work *work, const tq_page *page)
{
    tq_page copy;
    tq_status status = TQ_OK;
    work->page = page;
    if (work->cache->device != NULL) {
        status = tq_page_to_host(work->cache, page, &copy);
        work->page = &copy;
    }
    if (status == TQ_OK) {
        tq_run(work->cache->context, decode_head, work, work->cache->desc.n_kv_heads);
    }
    if (work->cache->device != NULL) {
        tq_page_free_copy(work->cache, &copy);
        work->page = NULL;
    }
    return status;
}

static tq_status decode_pages(const tq_cache *cache, const tq_track *track, size_t first, const tq_kv_out *to)
{
    const size_t end = first + to->n_tokens;
    const size_t n_encoded = tq_encoded_pages(cache, track->n_tokens - 1);
    tq_status status = TQ_OK;
    for (size_t i = first / P; status == TQ_OK && i < tq_pages_of(end); i++) {
        decode_work work = {.cache = cache, .to = to};
        work.spans = tq_find_spans(cache, track->pages[i], i < n_encoded, track->n_tokens - i * P);
        work.begin = first > i * P ? first - i * P : 0;
        work.end = end - i * P < P ? end - i * P : P;
        work.at = i * P + work.begin - first;
        status = decode_page(&work, track->pages[i]);
    }
    return status;
}

/* Copies and checks where the tokens go; strides are resolved in the copy. */
static tq_status read_kv_out(const tq_cache *cache, const tq_kv_out *from, tq_kv_out *to)
{
    const tq_cache_desc *desc = &cache->desc;
    if (from == NULL || !tq_desc_read(from, to, sizeof *to, sizeof(tq_kv_out)) ||
        !tq_resolve_strides(to->n_tokens, desc->n_kv_heads, desc->head_dim_k, to->dtype, &to->k_token_stride,
                            &to->k_head_stride) ||
        !tq_resolve_strides(to->n_tokens, desc->n_kv_heads, desc->head_dim_v, to->dtype, &to->v_token_stride,
                            &to->v_head_stride) ||
        (to->n_tokens > 0 && (to->k == NULL || to->v == NULL))) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache_decode: kv or its k or v is null, its struct_size or dtype is wrong, or its strides "
                       "make no array");
    }
    if (to->n_tokens > 0 && (!tq_is_reachable(cache, to->k) || !tq_is_reachable(cache, to->v))) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache_decode: k or v is not in the device's memory");
    }
    return TQ_OK;
}

tq_status tq_cache_decode(const tq_cache *cache, const tq_seq *seq, uint32_t layer, size_t first, const tq_kv_out *kv)
{
    tq_kv_out to;
    if (cache == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    tq_status status = tq_check_layer(cache, layer);
    if (status == TQ_OK) {
        status = tq_check_seq(cache, seq);
    }
    if (status == TQ_OK) {
        status = read_kv_out(cache, kv, &to);
    }
    if (status != TQ_OK) {
        return status;
    }
    tq_track *track = &seq->tracks[layer];
    if (first > track->n_tokens || to.n_tokens > track->n_tokens - first) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_cache_decode: the sequence has fewer tokens");
    }
    if (to.n_tokens == 0) {
        return TQ_OK;
    }
    if (cache->device != NULL && cache->device->ops->decode != NULL) {
        return tq_device_decode(seq->cache, cache->layers[layer], track, first, &to);
    }
    status = decode_pages(cache, track, first, &to);
    return status == TQ_OK ? TQ_OK
                           : tq_fail(cache->context, status, "tq_cache_decode: out of memory, or the device failed");
}
