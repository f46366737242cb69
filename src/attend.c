/* SPDX-License-Identifier: MIT
 *
 * Attention over the pages of a track.
 *
 * For each query, with scores s_k = scale <q, k_k> (soft-capped, masked), out = sum of exp(s_k) v_k / sum of exp(s_k).
 * Pages are taken one after the other with the online softmax (M. Milakov, N. Gimelshein, arXiv:1805.02867): m is the
 * largest score so far, sums are relative to exp(m) and are multiplied by exp(m_old - m_new) when m grows.
 *
 * Queries are rotated once, encoded keys never; encoded values are summed rotated, and one inverse rotation at the end
 * brings the sum back. Exact tokens are f16 in the vectors' own domain, so there are two sums, added at the end.
 *
 * A task is a KV head and a few of the queries that read it, taken together so that each code is unpacked once for all
 * of them. What is computed for a query does not depend on the others of its task. */
#include "cache.h"

#include "compiler.h"
#include "half.h"
#include "rows.h"

#include <math.h>

enum { P = TQ_PAGE_TOKENS, MAX_ROWS = 8 };

typedef struct attend_work {
    const tq_cache *cache;
    const tq_layer *layer;
    const tq_track *track;
    const tq_attention *args;
    size_t first; /* Query tokens [first, first + n_tokens). */
    size_t n_tokens;
    size_t position; /* Of the first. */
    size_t group;    /* Query heads of a KV head. */
    size_t per_task; /* Queries of a task: token-major, the heads of a group side by side. */
    size_t tasks_per_head;
} attend_work;

/* The queries of one task, and what attention has added up for each. */
typedef struct rows {
    size_t n;
    size_t kv_head;
    size_t token[MAX_ROWS]; /* Of args. */
    size_t q_head[MAX_ROWS];
    size_t begin[MAX_ROWS]; /* Positions [begin, end) are seen. */
    size_t end[MAX_ROWS];
    float largest[MAX_ROWS]; /* m */
    float weight[MAX_ROWS];  /* Sum of exp(s - m). */
} rows;

/* Two buffers of [n rows, dim] each. */
typedef struct pair {
    float plain[TQ_BATCH_FLOATS];
    float rotated[TQ_BATCH_FLOATS];
} pair;

static const void *element_at(const void *array, tq_dtype dtype, size_t index)
{
    return (const char *)array + index * (dtype == TQ_DTYPE_F32 ? 4 : 2);
}

static float dot_mean(const float *y, const uint8_t *mean, size_t dim)
{
    float sum = 0;
    for (size_t j = 0; j < dim; j++) {
        sum += y[j] * tq_f32_from_f16(tq_load_le16(mean + 2 * j));
    }
    return sum / (float)dim;
}

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

/* scores[i * P + k] of all tokens of a page, before cap and mask. */
static void page_scores(const attend_work *work, const rows *r, const pair *q, const tq_page *page, page_spans spans,
                        float *scores)
{
    const tq_layer *layer = work->layer;
    const tq_side *side = &layer->k;
    const tq_kernels *kernels = &work->cache->context->kernels;
    const size_t n_sinks = work->cache->desc.sink_tokens;
    const size_t row = 2 * side->dim;
    if (spans.sinks.end > spans.sinks.begin) {
        const uint8_t *keys = page->blocks[TQ_BLOCK_SINKS] + tq_exact_keys_at(layer, n_sinks, r->kv_head);
        kernels->half_scores(side->dim, q->plain, r->n, keys, spans.sinks.end, scores, P);
    }
    if (spans.encoded.end > spans.encoded.begin) {
        const uint8_t *keys = page->blocks[TQ_BLOCK_ENCODED] + tq_encoded_keys_at(layer, r->kv_head);
        float q_mean[MAX_ROWS];
        for (size_t i = 0; side->has_mean && i < r->n; i++) {
            q_mean[i] = dot_mean(q->rotated + i * side->dim, keys, side->dim);
        }
        kernels->page_scores(&side->codec->code, side->codec->family == TQ_FAMILY_HALF ? q->plain : q->rotated, r->n,
                             side->has_mean ? q_mean : NULL, keys + side->rows_at, spans.encoded.begin,
                             spans.encoded.end - spans.encoded.begin, scores + spans.encoded.begin, P);
    }
    if (spans.exact.end > spans.exact.begin) {
        const uint8_t *keys = page->blocks[TQ_BLOCK_EXACT] + tq_exact_keys_at(layer, P, r->kv_head);
        kernels->half_scores(side->dim, q->plain, r->n, keys + spans.exact.begin * row,
                             spans.exact.end - spans.exact.begin, scores + spans.exact.begin, P);
    }
}

/* Adds the values of a page, weighted, to the two sums. */
static void page_sum(const attend_work *work, const rows *r, const tq_page *page, page_spans spans,
                     const float *weights, pair *sums)
{
    const tq_layer *layer = work->layer;
    const tq_side *side = &layer->v;
    const tq_kernels *kernels = &work->cache->context->kernels;
    const size_t n_sinks = work->cache->desc.sink_tokens;
    const size_t row = 2 * side->dim;
    if (spans.sinks.end > spans.sinks.begin) {
        const uint8_t *values = page->blocks[TQ_BLOCK_SINKS] + tq_exact_values_at(layer, n_sinks, r->kv_head);
        kernels->half_sum(side->dim, weights, P, r->n, values, spans.sinks.end, sums->plain);
    }
    if (spans.encoded.end > spans.encoded.begin) {
        const uint8_t *values = page->blocks[TQ_BLOCK_ENCODED] + tq_encoded_values_at(layer, r->kv_head);
        float centred[MAX_ROWS] = {0};
        kernels->page_sum(&side->codec->code, weights + spans.encoded.begin, P, r->n, values + side->rows_at,
                          spans.encoded.begin, spans.encoded.end - spans.encoded.begin,
                          side->codec->family == TQ_FAMILY_HALF ? sums->plain : sums->rotated,
                          side->has_mean ? centred : NULL);
        for (size_t i = 0; side->has_mean && i < r->n; i++) {
            for (size_t j = 0; j < side->dim; j++) {
                sums->rotated[i * side->dim + j] += centred[i] * tq_f32_from_f16(tq_load_le16(values + 2 * j));
            }
        }
    }
    if (spans.exact.end > spans.exact.begin) {
        const uint8_t *values = page->blocks[TQ_BLOCK_EXACT] + tq_exact_values_at(layer, P, r->kv_head);
        kernels->half_sum(side->dim, weights + spans.exact.begin, P, r->n, values + spans.exact.begin * row,
                          spans.exact.end - spans.exact.begin, sums->plain);
    }
}

/* Turns a row's scores of tokens [first, first + n) into weights relative to a new largest score; masked ones become 0.
 * Returns the factor for what was added up before. */
static float soften(float *scores, size_t first, size_t n, size_t begin, size_t end, float cap, float *largest,
                    float *weight)
{
    float top = *largest;
    for (size_t k = 0; k < n; k++) {
        if (first + k < begin || first + k >= end) {
            scores[k] = -INFINITY;
        } else if (cap > 0) {
            scores[k] = cap * tanhf(scores[k] / cap);
        }
        top = scores[k] > top ? scores[k] : top;
    }
    if (top == -INFINITY) { /* Nothing is seen, neither here nor before. */
        memset(scores, 0, n * sizeof *scores);
        return 1;
    }
    const float factor = expf(*largest - top);
    *weight *= factor;
    *largest = top;
    for (size_t k = 0; k < n; k++) {
        scores[k] = expf(scores[k] - top);
        *weight += scores[k];
    }
    return factor;
}

TQ_APART void attend_page(const attend_work *work, rows *r, const pair *q, size_t index, size_t n_tokens, pair *sums)
{
    const tq_page *page = work->track->pages[index];
    const bool encoded = index < tq_encoded_pages(work->cache, work->position);
    const page_spans spans = find_spans(work->cache, page, encoded, n_tokens);
    const size_t dim = work->layer->v.dim;
    float scores[MAX_ROWS * P];
    page_scores(work, r, q, page, spans, scores);
    for (size_t i = 0; i < r->n; i++) {
        const float factor = soften(scores + i * P, index * P, n_tokens, r->begin[i], r->end[i], work->args->soft_cap,
                                    &r->largest[i], &r->weight[i]);
        for (size_t j = 0; factor != 1 && j < dim; j++) {
            sums->plain[i * dim + j] *= factor;
            sums->rotated[i * dim + j] *= factor;
        }
    }
    page_sum(work, r, page, spans, scores, sums);
}

/* Divides by the weights, rotates back, writes. */
TQ_APART void finish(const attend_work *work, rows *r, pair *sums)
{
    const tq_attention *args = work->args;
    const tq_side *side = &work->layer->v;
    for (size_t i = 0; i < r->n; i++) {
        float *out = args->out + r->token[i] * args->out_token_stride + r->q_head[i] * args->out_head_stride;
        const float *plain = sums->plain + i * side->dim;
        float back[TQ_MAX_DIM] = {0};
        float factor = 1;
        if (side->codec->family != TQ_FAMILY_HALF) {
            tq_unrotate(side->codec, sums->rotated + i * side->dim, back);
        }
        if (args->sink_logits != NULL) {
            const float sink = args->sink_logits[r->q_head[i]];
            const float top = sink > r->largest[i] ? sink : r->largest[i];
            factor = expf(r->largest[i] - top);
            r->weight[i] = r->weight[i] * factor + expf(sink - top);
            r->largest[i] = top;
        }
        for (size_t j = 0; j < side->dim; j++) {
            out[j] = (plain[j] + back[j]) * factor / r->weight[i];
        }
        if (args->lse != NULL) {
            args->lse[r->token[i] * args->n_q_heads + r->q_head[i]] = r->largest[i] + logf(r->weight[i]);
        }
    }
}

TQ_APART void attend_rows(const attend_work *work, rows *r, const pair *q)
{
    pair sums = {{0}, {0}};
    size_t begin = r->begin[0];
    size_t end = r->end[0];
    for (size_t i = 1; i < r->n; i++) {
        begin = r->begin[i] < begin ? r->begin[i] : begin;
        end = r->end[i] > end ? r->end[i] : end;
    }
    for (size_t index = begin / P; index * P < end; index++) {
        attend_page(work, r, q, index, end - index * P < P ? end - index * P : P, &sums);
    }
    finish(work, r, &sums);
}

static void attend_task(void *arg, size_t task)
{
    const attend_work *work = arg;
    const tq_attention *args = work->args;
    const tq_side *side = &work->layer->k;
    const size_t first = task % work->tasks_per_head * work->per_task;
    const size_t total = work->n_tokens * work->group;
    pair q;
    rows r = {.kv_head = task / work->tasks_per_head};
    r.n = total - first < work->per_task ? total - first : work->per_task;
    for (size_t i = 0; i < r.n; i++) {
        const size_t token = (first + i) / work->group;
        r.token[i] = work->first + token;
        r.q_head[i] = r.kv_head * work->group + (first + i) % work->group;
        r.end[i] = work->position + token + 1;
        r.begin[i] = args->sliding_window != 0 && r.end[i] > args->sliding_window ? r.end[i] - args->sliding_window : 0;
        r.largest[i] = -INFINITY;
        r.weight[i] = 0;
        float *plain = q.plain + i * side->dim;
        const size_t offset = r.token[i] * args->q_token_stride + r.q_head[i] * args->q_head_stride;
        work->cache->context->kernels.widen(element_at(args->q, args->q_dtype, offset), args->q_dtype, side->dim,
                                            plain);
        for (size_t j = 0; j < side->dim; j++) {
            plain[j] *= args->scale;
        }
        if (side->codec->family != TQ_FAMILY_HALF) {
            tq_rotate(side->codec, plain, q.rotated + i * side->dim);
        }
    }
    attend_rows(work, &r, &q);
}

void tq_attend_segment(const tq_cache *cache, const tq_layer *layer, const tq_track *track,
                       const tq_attention *attention, size_t first, size_t n_tokens, size_t position)
{
    const size_t dim = layer->k.dim > layer->v.dim ? layer->k.dim : layer->v.dim;
    const size_t fit = TQ_BATCH_FLOATS / dim;
    attend_work work = {.cache = cache,
                        .layer = layer,
                        .track = track,
                        .args = attention,
                        .first = first,
                        .n_tokens = n_tokens,
                        .position = position,
                        .group = attention->n_q_heads / cache->desc.n_kv_heads,
                        .per_task = fit < MAX_ROWS ? fit : MAX_ROWS};
    work.tasks_per_head = (n_tokens * work.group + work.per_task - 1) / work.per_task;
    tq_run(cache->context, attend_task, &work, work.tasks_per_head * cache->desc.n_kv_heads);
}
