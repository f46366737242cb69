/* SPDX-License-Identifier: MIT
 *
 * Attention over some pages.
 *
 * For each query, with scores s_k = scale <q, k_k> (soft-capped, masked), out = sum of exp(s_k) v_k / sum of exp(s_k).
 * Pages are taken one after the other with the online softmax (M. Milakov, N. Gimelshein, arXiv:1805.02867): m is the
 * largest score so far, sums are relative to exp(m) and are multiplied by exp(m_old - m_new) when m grows.
 *
 * Queries are rotated once, encoded keys never; encoded values are summed rotated, and one inverse rotation at the end
 * brings the sum back. Exact tokens are f16 in the vectors' own domain, so there are two sums, added at the end. */
#include "attend.h"

#include "compiler.h"
#include "spans.h"

#include <math.h>
#include <string.h>

enum { P = TQ_PAGE_TOKENS };

/* Brings the queries into the form in which pages of this side are read. */
static void prepare(tq_queries *q, const tq_side *side)
{
    const tq_codec *codec = side->codec;
    const size_t dim = codec->code.dim;
    const bool half = codec->family == TQ_FAMILY_HALF;
    for (size_t i = 0; !half && !q->is_rotated && i < q->n; i++) {
        tq_rotate_vector(codec, q->plain + i * dim, q->rotated + i * dim);
    }
    q->is_rotated = q->is_rotated || !half;
    codec->context->kernels.page_query(&codec->code, half ? q->plain : q->rotated, q->n, q->prepared);
    q->prepared_for = side;
}

/* Pages lie where the allocator put them: their structs are fetched two pages ahead. */
static void fetch_page(const tq_track *track, const tq_queries *q, size_t index)
{
    if (index < q->n_encoded_pages) {
        TQ_PREFETCH(track->pages[index]);
        TQ_PREFETCH(&track->pages[index]->blocks[TQ_BLOCK_KINDS - 1]);
    }
}

/* The encoded keys (or values) of this head in the next page, to be fetched meanwhile; null if there are none. */
static const uint8_t *next_rows(const tq_track *track, const tq_queries *q, size_t index, bool values)
{
    if (index + 1 >= q->n_encoded_pages) {
        return NULL;
    }
    const tq_page *page = track->pages[index + 1];
    return page->blocks[TQ_BLOCK_ENCODED] == NULL ? NULL
           : values ? page->blocks[TQ_BLOCK_ENCODED] + tq_encoded_values_at(page->form, q->kv_head)
                    : page->blocks[TQ_BLOCK_ENCODED] + tq_encoded_keys_at(page->form, q->kv_head);
}

/* scores[i * P + k] of the encoded tokens of a page. */
static void encoded_scores(const tq_cache *cache, tq_queries *q, const tq_page *page, tq_span tokens,
                           const uint8_t *next, float *scores)
{
    const tq_kernels *kernels = &cache->context->kernels;
    const tq_side *side = page->form.k;
    const uint8_t *keys = page->blocks[TQ_BLOCK_ENCODED] + tq_encoded_keys_at(page->form, q->kv_head);
    if (q->prepared_for != side) {
        prepare(q, side);
    }
    kernels->page_scores(&side->codec->code, q->prepared, side->codec->family == TQ_FAMILY_HALF ? q->plain : q->rotated,
                         q->n, keys + side->rows_at, tokens.begin, tokens.end - tokens.begin,
                         side->has_mean ? keys : NULL, next, scores + tokens.begin, P);
}

/* scores[i * P + k] of all tokens of a page, before cap and mask. */
static void page_scores(const tq_cache *cache, tq_queries *q, const tq_page *page, tq_page_spans spans,
                        const uint8_t *next, float *scores)
{
    const tq_kernels *kernels = &cache->context->kernels;
    const size_t dim = cache->desc.head_dim_k;
    if (!tq_span_is_empty(spans.sinks)) {
        const uint8_t *keys =
            page->blocks[TQ_BLOCK_SINKS] + tq_exact_keys_at(cache, cache->desc.sink_tokens, q->kv_head);
        kernels->half_scores(dim, q->plain, q->n, keys, spans.sinks.end, scores, P);
    }
    if (!tq_span_is_empty(spans.encoded)) {
        encoded_scores(cache, q, page, spans.encoded, next, scores);
    }
    if (!tq_span_is_empty(spans.exact)) {
        const uint8_t *keys = page->blocks[TQ_BLOCK_EXACT] + tq_exact_keys_at(cache, P, q->kv_head);
        kernels->half_scores(dim, q->plain, q->n, keys + spans.exact.begin * 2 * dim,
                             spans.exact.end - spans.exact.begin, scores + spans.exact.begin, P);
    }
}

/* Adds the encoded values of a page, weighted. */
static void encoded_sum(const tq_cache *cache, const tq_queries *q, const tq_page *page, tq_span tokens,
                        const uint8_t *next, const float *weights, tq_partial *sums)
{
    const tq_kernels *kernels = &cache->context->kernels;
    const tq_side *side = page->form.v;
    const uint8_t *values = page->blocks[TQ_BLOCK_ENCODED] + tq_encoded_values_at(page->form, q->kv_head);
    const bool half = side->codec->family == TQ_FAMILY_HALF;
    if (half) {
        sums->has_plain = true;
    } else {
        sums->rotation = side->codec;
    }
    kernels->page_sum(&side->codec->code, weights + tokens.begin, P, q->n, values + side->rows_at, tokens.begin,
                      tokens.end - tokens.begin, side->has_mean ? values : NULL, next,
                      half ? sums->plain : sums->rotated);
}

/* Adds the values of a page, weighted, to the two sums. */
static void page_sum(const tq_cache *cache, const tq_queries *q, const tq_page *page, tq_page_spans spans,
                     const uint8_t *next, const float *weights, tq_partial *sums)
{
    const tq_kernels *kernels = &cache->context->kernels;
    const size_t dim = cache->desc.head_dim_v;
    sums->has_plain = sums->has_plain || !tq_span_is_empty(spans.sinks) || !tq_span_is_empty(spans.exact);
    if (!tq_span_is_empty(spans.sinks)) {
        const uint8_t *values =
            page->blocks[TQ_BLOCK_SINKS] + tq_exact_values_at(cache, cache->desc.sink_tokens, q->kv_head);
        kernels->half_sum(dim, weights, P, q->n, values, spans.sinks.end, sums->plain);
    }
    if (!tq_span_is_empty(spans.encoded)) {
        encoded_sum(cache, q, page, spans.encoded, next, weights, sums);
    }
    if (!tq_span_is_empty(spans.exact)) {
        const uint8_t *values = page->blocks[TQ_BLOCK_EXACT] + tq_exact_values_at(cache, P, q->kv_head);
        kernels->half_sum(dim, weights + spans.exact.begin, P, q->n, values + spans.exact.begin * 2 * dim,
                          spans.exact.end - spans.exact.begin, sums->plain);
    }
}

/* Caps scores, and gives tokens outside of [begin, end) no weight. */
static void cap_and_mask(const tq_queries *q, size_t first, size_t n, float *scores)
{
    const float cap = q->args->soft_cap;
    for (size_t i = 0; i < q->n; i++) {
        for (size_t k = 0; cap > 0 && k < n; k++) {
            scores[i * P + k] = cap * tanhf(scores[i * P + k] / cap);
        }
        for (size_t k = 0; k < n; k++) {
            if (first + k < q->begin[i] || first + k >= q->end[i]) {
                scores[i * P + k] = -INFINITY;
            }
        }
    }
}

/* Sparse V: true if the page's values matter to a query. If not, its weights become 0; the sum of weights has them. */
static bool keep_weights(float *weights, size_t n, float skip_below)
{
    for (size_t k = 0; k < n; k++) {
        if (weights[k] >= skip_below) {
            return true;
        }
    }
    memset(weights, 0, n * sizeof *weights);
    return false;
}

/* Multiplies the sums of a query, `dim` floats from `first` on. */
static void shrink(tq_partial *sums, size_t first, size_t dim, float factor)
{
    for (size_t j = first; sums->has_plain && j < first + dim; j++) {
        sums->plain[j] *= factor;
    }
    for (size_t j = first; sums->rotation != NULL && j < first + dim; j++) {
        sums->rotated[j] *= factor;
    }
}

/* A page on its way. */
typedef struct visit {
    size_t n_tokens;
    tq_page_spans spans;
    _Alignas(64) float scores[TQ_PAGE_QUERIES * P]; /* Then weights. */
} visit;

/* Computes the scores of tokens [index * P, end), as many as the page has. */
static void score_page(const tq_cache *cache, const tq_track *track, tq_queries *q, size_t index, size_t end, visit *v)
{
    const tq_page *page = track->pages[index];
    const size_t first = index * P;
    v->n_tokens = end - first < P ? end - first : P;
    v->spans = tq_find_spans(cache, page, index < q->n_encoded_pages, v->n_tokens);
    fetch_page(track, q, index + 2);
    page_scores(cache, q, page, v->spans, next_rows(track, q, index, false), v->scores);
    if (first < q->all_begin || first + v->n_tokens > q->all_end || q->args->soft_cap > 0) {
        cap_and_mask(q, first, v->n_tokens, v->scores);
    }
}

/* Turns scores into weights; true if values with these weights are to be added. */
static bool soften_page(const tq_cache *cache, const tq_queries *q, visit *v, tq_partial *sums)
{
    const size_t dim = cache->desc.head_dim_v;
    float factor[TQ_PAGE_QUERIES];
    bool kept = false;
    cache->context->kernels.soften(v->scores, P, q->n, v->n_tokens, sums->largest, sums->weight, factor);
    for (size_t i = 0; i < q->n; i++) {
        if (factor[i] != 1) {
            shrink(sums, i * dim, dim, factor[i]);
        }
        kept = q->args->skip_below <= 0 || keep_weights(v->scores + i * P, v->n_tokens, q->args->skip_below) || kept;
    }
    return kept;
}

/* The scores of the next page are computed before the values of this one are added up: neither waits for the other, so
 * the processor has something to do while numbers of the one go through the softmax. */
void tq_attend_pages(const tq_cache *cache, const tq_track *track, tq_queries *q, size_t begin, size_t end,
                     tq_partial *sums)
{
    visit visits[2];
    if (begin * P >= end) {
        return;
    }
    score_page(cache, track, q, begin, end, &visits[begin % 2]);
    for (size_t index = begin; index * P < end; index++) {
        visit *v = &visits[index % 2];
        const bool kept = soften_page(cache, q, v, sums);
        if ((index + 1) * P < end) {
            score_page(cache, track, q, index + 1, end, &visits[(index + 1) % 2]);
        }
        if (kept) {
            page_sum(cache, q, track->pages[index], v->spans, next_rows(track, q, index, true), v->scores, sums);
        }
    }
}

void tq_partial_clear(tq_partial *partial, size_t n, size_t dim)
{
    for (size_t i = 0; i < TQ_PAGE_QUERIES; i++) {
        partial->largest[i] = -INFINITY;
        partial->weight[i] = 0;
    }
    memset(partial->plain, 0, n * dim * sizeof *partial->plain);
    memset(partial->rotated, 0, n * dim * sizeof *partial->rotated);
    partial->has_plain = false;
    partial->rotation = NULL;
}

static void add_scaled(float *total, float total_factor, const float *part, float part_factor, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        total[j] = total[j] * total_factor + part[j] * part_factor;
    }
}

void tq_partial_add(tq_partial *total, const tq_partial *part, size_t n, size_t dim)
{
    if (part->rotation != NULL) {
        total->rotation = part->rotation;
    }
    total->has_plain = total->has_plain || part->has_plain;
    for (size_t i = 0; i < n; i++) {
        if (part->largest[i] == -INFINITY) { /* The query sees nothing of that part. */
            continue;
        }
        const float top = part->largest[i] > total->largest[i] ? part->largest[i] : total->largest[i];
        const float old = expf(total->largest[i] - top); /* 0 if there was nothing. */
        const float new = expf(part->largest[i] - top);
        if (total->has_plain) {
            add_scaled(total->plain + i * dim, old, part->plain + i * dim, new, dim);
        }
        if (total->rotation != NULL) {
            add_scaled(total->rotated + i * dim, old, part->rotated + i * dim, new, dim);
        }
        total->weight[i] = total->weight[i] * old + part->weight[i] * new;
        total->largest[i] = top;
    }
}
