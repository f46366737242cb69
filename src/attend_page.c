/* SPDX-License-Identifier: MIT
 *
 * Attention over one page.
 *
 * For each query, with scores s_k = scale <q, k_k> (soft-capped, masked), out = sum of exp(s_k) v_k / sum of exp(s_k).
 * Pages are taken one after the other with the online softmax (M. Milakov, N. Gimelshein, arXiv:1805.02867): m is the
 * largest score so far, sums are relative to exp(m) and are multiplied by exp(m_old - m_new) when m grows.
 *
 * Queries are rotated once, encoded keys never; encoded values are summed rotated, and one inverse rotation at the end
 * brings the sum back. Exact tokens are f16 in the vectors' own domain, so there are two sums, added at the end. */
#include "attend.h"

#include "compiler.h"

#include <math.h>
#include <string.h>

enum { P = TQ_PAGE_TOKENS };

/* The part of a page that one source of tokens holds: [begin, end) within the page. */
typedef struct span {
    size_t begin;
    size_t end;
} span;

static span clip(size_t begin, size_t end, size_t limit)
{
    const size_t last = end < limit ? end : limit;
    return (span){begin < last ? begin : last, last};
}

/* A page's tokens lie in up to three places: sinks, codes, exact tokens. */
typedef struct page_spans {
    span sinks;
    span encoded;
    span exact;
} page_spans;

/* `encoded` says which form the position of the queries asks for; after a deep cut a page may have but one. */
static page_spans find_spans(const tq_cache *cache, const tq_page *page, bool encoded, size_t n_tokens)
{
    const bool has_exact = page->blocks[TQ_BLOCK_EXACT] != NULL;
    const size_t exact_from = has_exact && !(encoded && page->n_encoded == P) ? page->exact_from : page->n_encoded;
    const size_t n_sinks = page->blocks[TQ_BLOCK_SINKS] == NULL ? 0 : cache->desc.sink_tokens;
    const size_t kept = n_sinks < exact_from ? n_sinks : exact_from;
    return (page_spans){clip(0, kept, n_tokens), clip(kept, exact_from, n_tokens),
                        clip(exact_from, n_tokens, n_tokens)};
}

static bool is_empty(span s)
{
    return s.begin == s.end;
}

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
static void encoded_scores(const tq_cache *cache, tq_queries *q, const tq_page *page, span tokens, const uint8_t *next,
                           float *scores)
{
    const tq_kernels *kernels = &cache->context->kernels;
    const tq_side *side = page->form.k;
    const uint8_t *keys = page->blocks[TQ_BLOCK_ENCODED] + tq_encoded_keys_at(page->form, q->kv_head);
    const size_t dim = side->codec->code.dim;
    float q_mean[TQ_PAGE_QUERIES];
    if (q->prepared_for != side) {
        prepare(q, side);
    }
    if (side->has_mean) {
        kernels->half_scores(dim, q->rotated, q->n, keys, 1, q_mean, 1);
        for (size_t i = 0; i < q->n; i++) {
            q_mean[i] /= (float)dim;
        }
    }
    kernels->page_scores(&side->codec->code, q->prepared, q->n, side->has_mean ? q_mean : NULL, keys + side->rows_at,
                         tokens.begin, tokens.end - tokens.begin, next, scores + tokens.begin, P);
}

/* scores[i * P + k] of all tokens of a page, before cap and mask. */
static void page_scores(const tq_cache *cache, tq_queries *q, const tq_page *page, page_spans spans,
                        const uint8_t *next, float *scores)
{
    const tq_kernels *kernels = &cache->context->kernels;
    const size_t dim = cache->desc.head_dim_k;
    if (!is_empty(spans.sinks)) {
        const uint8_t *keys =
            page->blocks[TQ_BLOCK_SINKS] + tq_exact_keys_at(cache, cache->desc.sink_tokens, q->kv_head);
        kernels->half_scores(dim, q->plain, q->n, keys, spans.sinks.end, scores, P);
    }
    if (!is_empty(spans.encoded)) {
        encoded_scores(cache, q, page, spans.encoded, next, scores);
    }
    if (!is_empty(spans.exact)) {
        const uint8_t *keys = page->blocks[TQ_BLOCK_EXACT] + tq_exact_keys_at(cache, P, q->kv_head);
        kernels->half_scores(dim, q->plain, q->n, keys + spans.exact.begin * 2 * dim,
                             spans.exact.end - spans.exact.begin, scores + spans.exact.begin, P);
    }
}

/* Adds the encoded values of a page, weighted. */
static void encoded_sum(const tq_cache *cache, const tq_queries *q, const tq_page *page, span tokens,
                        const uint8_t *next, const float *weights, tq_partial *sums)
{
    const tq_kernels *kernels = &cache->context->kernels;
    const tq_side *side = page->form.v;
    const uint8_t *values = page->blocks[TQ_BLOCK_ENCODED] + tq_encoded_values_at(page->form, q->kv_head);
    const bool half = side->codec->family == TQ_FAMILY_HALF;
    if (!half) {
        sums->rotation = side->codec;
    }
    kernels->page_sum(&side->codec->code, weights + tokens.begin, P, q->n, values + side->rows_at, tokens.begin,
                      tokens.end - tokens.begin, side->has_mean ? values : NULL, next,
                      half ? sums->plain : sums->rotated);
}

/* Adds the values of a page, weighted, to the two sums. */
static void page_sum(const tq_cache *cache, const tq_queries *q, const tq_page *page, page_spans spans,
                     const uint8_t *next, const float *weights, tq_partial *sums)
{
    const tq_kernels *kernels = &cache->context->kernels;
    const size_t dim = cache->desc.head_dim_v;
    if (!is_empty(spans.sinks)) {
        const uint8_t *values =
            page->blocks[TQ_BLOCK_SINKS] + tq_exact_values_at(cache, cache->desc.sink_tokens, q->kv_head);
        kernels->half_sum(dim, weights, P, q->n, values, spans.sinks.end, sums->plain);
    }
    if (!is_empty(spans.encoded)) {
        encoded_sum(cache, q, page, spans.encoded, next, weights, sums);
    }
    if (!is_empty(spans.exact)) {
        const uint8_t *values = page->blocks[TQ_BLOCK_EXACT] + tq_exact_values_at(cache, P, q->kv_head);
        kernels->half_sum(dim, weights + spans.exact.begin, P, q->n, values + spans.exact.begin * 2 * dim,
                          spans.exact.end - spans.exact.begin, sums->plain);
    }
}

/* Caps the scores of tokens [first, first + n), and gives those outside of [begin, end) no weight. */
static void cap_and_mask(float *scores, size_t first, size_t n, size_t begin, size_t end, float cap)
{
    for (size_t k = 0; cap > 0 && k < n; k++) {
        scores[k] = cap * tanhf(scores[k] / cap);
    }
    if (first >= begin && first + n <= end) {
        return;
    }
    for (size_t k = 0; k < n; k++) {
        if (first + k < begin || first + k >= end) {
            scores[k] = -INFINITY;
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

void tq_attend_page(const tq_cache *cache, const tq_track *track, tq_queries *q, size_t index, size_t n_tokens,
                    tq_partial *sums)
{
    const tq_page *page = track->pages[index];
    const page_spans spans = find_spans(cache, page, index < q->n_encoded_pages, n_tokens);
    const size_t dim = cache->desc.head_dim_v;
    float scores[TQ_PAGE_QUERIES * P];
    float factor[TQ_PAGE_QUERIES];
    bool kept = false;
    fetch_page(track, q, index + 2);
    page_scores(cache, q, page, spans, next_rows(track, q, index, false), scores);
    for (size_t i = 0; i < q->n; i++) {
        cap_and_mask(scores + i * P, index * P, n_tokens, q->begin[i], q->end[i], q->args->soft_cap);
    }
    cache->context->kernels.soften(scores, P, q->n, n_tokens, sums->largest, sums->weight, factor);
    for (size_t i = 0; i < q->n; i++) {
        for (size_t j = i * dim; factor[i] != 1 && j < (i + 1) * dim; j++) {
            sums->plain[j] *= factor[i];
            sums->rotated[j] *= factor[i];
        }
        kept = keep_weights(scores + i * P, n_tokens, q->args->skip_below) || kept;
    }
    if (kept) {
        page_sum(cache, q, page, spans, next_rows(track, q, index, true), scores, sums);
    }
}

void tq_partial_clear(tq_partial *partial)
{
    memset(partial, 0, sizeof *partial);
    for (size_t i = 0; i < TQ_PAGE_QUERIES; i++) {
        partial->largest[i] = -INFINITY;
    }
}

void tq_partial_add(tq_partial *total, const tq_partial *part, size_t n, size_t dim)
{
    if (part->rotation != NULL) {
        total->rotation = part->rotation;
    }
    for (size_t i = 0; i < n; i++) {
        if (part->largest[i] == -INFINITY) { /* The query sees nothing of that part. */
            continue;
        }
        const float top = part->largest[i] > total->largest[i] ? part->largest[i] : total->largest[i];
        const float old = expf(total->largest[i] - top); /* 0 if there was nothing. */
        const float new = expf(part->largest[i] - top);
        for (size_t j = i * dim; j < (i + 1) * dim; j++) {
            total->plain[j] = total->plain[j] * old + part->plain[j] * new;
            total->rotated[j] = total->rotated[j] * old + part->rotated[j] * new;
        }
        total->weight[i] = total->weight[i] * old + part->weight[i] * new;
        total->largest[i] = top;
    }
}
