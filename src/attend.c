/* SPDX-License-Identifier: MIT
 *
 * Attention over the pages of a track: how the work is cut, and how the pieces are put together.
 *
 * A task is a KV head and a few of the queries that read it. The pages a query sees are cut into ranges at places that
 * its position alone decides; each range is added up by itself, and the ranges are added in order. So the result is the
 * same whether one thread takes all ranges of a task or each its own, which long contexts with few heads need. */
#include "attend.h"

#include "compiler.h"

#include <math.h>
#include <string.h>

enum {
    P = TQ_PAGE_TOKENS,
    RANGES = 16,      /* Per query: enough for the threads of a machine, few enough to be added up at once. */
    LEAST_PAGES = 16, /* Of a range: adding one up costs as much as half a page. */
    ENOUGH_TASKS = 32 /* With so many, ranges need no threads of their own. */
};

typedef struct attend_work {
    tq_cache *cache;
    tq_form form;
    const tq_track *track;
    const tq_attention *args;
    size_t first; /* Query tokens [first, first + n_tokens). */
    size_t n_tokens;
    size_t position; /* Of the first. */
    size_t group;    /* Query heads of a KV head. */
    size_t per_task; /* Queries of a task: token-major, the heads of a group side by side. */
    size_t tasks_per_head;
    size_t range_pages; /* Range r is pages [r * range_pages, (r + 1) * range_pages). */
    size_t first_range; /* That any query sees. */
    size_t n_ranges;
    tq_partial *partials; /* [task][range], or null: each task takes its ranges itself. */
} attend_work;

static const void *element_at(const void *array, tq_dtype dtype, size_t index)
{
    return (const char *)array + index * (dtype == TQ_DTYPE_F32 ? 4 : 2);
}

/* Multiplies by the scale of scores. Queries that come rotated by the orthogonal R are brought back for exact keys. */
static void read_query(const attend_work *work, tq_queries *q, size_t i)
{
    const tq_attention *args = work->args;
    const tq_codec *codec = work->form.k->codec;
    const size_t dim = work->cache->desc.head_dim_k;
    const size_t offset = q->token[i] * args->q_token_stride + q->q_head[i] * args->q_head_stride;
    float *plain = q->plain + i * dim;
    work->cache->context->kernels.widen(element_at(args->q, args->q_dtype, offset), args->q_dtype, dim, plain);
    for (size_t j = 0; j < dim; j++) {
        plain[j] *= args->scale;
    }
    if ((args->flags & TQ_ATTENTION_Q_ROTATED) != 0) {
        float *rotated = q->rotated + i * dim;
        for (size_t j = 0; j < dim; j++) {
            rotated[j] = plain[j] * sqrtf((float)dim);
        }
        tq_unrotate_vector(codec, rotated, plain);
    }
}

static void read_queries(const attend_work *work, size_t task, tq_queries *q)
{
    const tq_attention *args = work->args;
    const size_t first = task % work->tasks_per_head * work->per_task;
    const size_t total = work->n_tokens * work->group;
    q->args = args;
    q->kv_head = task / work->tasks_per_head;
    q->n_encoded_pages = tq_encoded_pages(work->cache, work->position);
    q->n = total - first < work->per_task ? total - first : work->per_task;
    q->is_rotated = (args->flags & TQ_ATTENTION_Q_ROTATED) != 0;
    q->prepared_for = NULL;
    for (size_t i = 0; i < q->n; i++) {
        const size_t token = (first + i) / work->group;
        q->token[i] = work->first + token;
        q->q_head[i] = q->kv_head * work->group + (first + i) % work->group;
        q->end[i] = work->position + token + 1;
        q->begin[i] =
            args->sliding_window != 0 && q->end[i] > args->sliding_window ? q->end[i] - args->sliding_window : 0;
        q->all_begin = i == 0 || q->begin[i] > q->all_begin ? q->begin[i] : q->all_begin;
        q->all_end = i == 0 || q->end[i] < q->all_end ? q->end[i] : q->all_end;
        q->any_begin = i == 0 || q->begin[i] < q->any_begin ? q->begin[i] : q->any_begin;
        q->any_end = i == 0 || q->end[i] > q->any_end ? q->end[i] : q->any_end;
        read_query(work, q, i);
    }
}

static void attend_range(const attend_work *work, tq_queries *q, size_t range, tq_partial *sums)
{
    const size_t first = range * work->range_pages;
    const size_t end = (first + work->range_pages) * P;
    const size_t begin = q->any_begin / P;
    tq_partial_clear(sums, q->n, work->cache->desc.head_dim_v);
    tq_attend_pages(work->cache, work->track, q, begin > first ? begin : first, q->any_end < end ? q->any_end : end,
                    sums);
}

/* The sum of a query's values in one domain, not yet divided by the weight. */
static void join_domains(const attend_work *work, const tq_partial *sums, size_t i, float *out)
{
    const size_t dim = work->cache->desc.head_dim_v;
    const float *plain = sums->plain + i * dim;
    const float *rotated = sums->rotated + i * dim;
    if ((work->args->flags & TQ_ATTENTION_OUT_ROTATED) != 0) { /* Both by sqrt(dim) R. */
        tq_rotate_vector(work->form.v->codec, plain, out);
        for (size_t j = 0; j < dim; j++) {
            out[j] = (out[j] + rotated[j]) / sqrtf((float)dim);
        }
        return;
    }
    memset(out, 0, dim * sizeof *out);
    if (sums->rotation != NULL) {
        tq_unrotate_vector(sums->rotation, rotated, out);
    }
    for (size_t j = 0; j < dim; j++) {
        out[j] += plain[j];
    }
}

/* Divides by the weights and writes. */
static void finish(const attend_work *work, const tq_queries *q, const tq_partial *sums)
{
    const tq_attention *args = work->args;
    for (size_t i = 0; i < q->n; i++) {
        float joined[TQ_MAX_DIM];
        float *out = args->out + q->token[i] * args->out_token_stride + q->q_head[i] * args->out_head_stride;
        float factor = 1;
        float weight = sums->weight[i];
        float largest = sums->largest[i];
        join_domains(work, sums, i, joined);
        if (args->sink_logits != NULL) {
            const float sink = args->sink_logits[q->q_head[i]];
            const float top = sink > largest ? sink : largest;
            factor = expf(largest - top);
            weight = weight * factor + expf(sink - top);
            largest = top;
        }
        for (size_t j = 0; j < work->cache->desc.head_dim_v; j++) {
            out[j] = joined[j] * factor / weight;
        }
        if (args->lse != NULL) {
            args->lse[q->token[i] * args->n_q_heads + q->q_head[i]] = largest + logf(weight);
        }
    }
}

/* --- one task after the other --------------------------------------------------------------------------------------
 */

TQ_APART void add_range(const attend_work *work, tq_queries *q, size_t range, tq_partial *total)
{
    tq_partial part;
    attend_range(work, q, range, &part);
    tq_partial_add(total, &part, q->n, work->cache->desc.head_dim_v);
}

TQ_APART void add_ranges(const attend_work *work, tq_queries *q)
{
    tq_partial total;
    tq_partial_clear(&total, q->n, work->cache->desc.head_dim_v);
    for (size_t i = 0; i < work->n_ranges; i++) {
        add_range(work, q, work->first_range + i, &total);
    }
    finish(work, q, &total);
}

static void attend_task(void *arg, size_t task)
{
    const attend_work *work = arg;
    tq_queries q;
    read_queries(work, task, &q);
    add_ranges(work, &q);
}

/* --- all ranges of all tasks side by side --------------------------------------------------------------------------
 */

static void attend_part(void *arg, size_t index)
{
    const attend_work *work = arg;
    tq_queries q;
    read_queries(work, index / work->n_ranges, &q);
    attend_range(work, &q, work->first_range + index % work->n_ranges, &work->partials[index]);
}

TQ_APART void join_parts(const attend_work *work, const tq_queries *q, const tq_partial *parts)
{
    tq_partial total;
    tq_partial_clear(&total, q->n, work->cache->desc.head_dim_v);
    for (size_t i = 0; i < work->n_ranges; i++) {
        tq_partial_add(&total, &parts[i], q->n, work->cache->desc.head_dim_v);
    }
    finish(work, q, &total);
}

static void join_task(void *arg, size_t task)
{
    const attend_work *work = arg;
    tq_queries q;
    read_queries(work, task, &q);
    join_parts(work, &q, work->partials + task * work->n_ranges);
}

/* Memory of the cache that no other thread uses now; null if there is none. */
static tq_scratch *borrow_scratch(tq_cache *cache, size_t bytes)
{
    const tq_allocator *allocator = &cache->context->allocator;
    tq_cache_lock(cache);
    tq_scratch *scratch = cache->scratch;
    if (scratch != NULL) {
        cache->scratch = scratch->next;
    }
    tq_cache_unlock(cache);
    if (scratch != NULL && scratch->bytes >= bytes) {
        return scratch;
    }
    tq_release(allocator, scratch);
    scratch = tq_allocate(allocator, 1, sizeof *scratch + bytes);
    if (scratch != NULL) {
        scratch->bytes = bytes;
    }
    return scratch;
}

static void return_scratch(tq_cache *cache, tq_scratch *scratch)
{
    tq_cache_lock(cache);
    scratch->next = cache->scratch;
    cache->scratch = scratch;
    tq_cache_unlock(cache);
}

/* Cuts the pages that a query at `position` sees. */
static void cut_ranges(attend_work *work)
{
    const size_t window = work->args->sliding_window;
    const size_t last = work->position / P;
    const size_t seen = window != 0 && window / P + 1 < last ? window / P + 2 : last + 1;
    const size_t begin = window != 0 && work->position + 1 > window ? (work->position + 1 - window) / P : 0;
    const size_t wanted = (seen + RANGES - 1) / RANGES;
    work->range_pages = wanted > LEAST_PAGES ? wanted : LEAST_PAGES;
    work->first_range = begin / work->range_pages;
    work->n_ranges = last / work->range_pages - work->first_range + 1;
}

void tq_attend_segment(tq_cache *cache, tq_form form, const tq_track *track, const tq_attention *attention,
                       size_t first, size_t n_tokens, size_t position)
{
    const tq_cache_desc *desc = &cache->desc;
    const size_t dim = desc->head_dim_k > desc->head_dim_v ? desc->head_dim_k : desc->head_dim_v;
    const size_t fit = TQ_MAX_DIM / dim;
    attend_work work = {.cache = cache,
                        .form = form,
                        .track = track,
                        .args = attention,
                        .first = first,
                        .n_tokens = n_tokens,
                        .position = position,
                        .group = attention->n_q_heads / desc->n_kv_heads,
                        .per_task = fit < TQ_PAGE_QUERIES ? fit : TQ_PAGE_QUERIES};
    work.tasks_per_head = (n_tokens * work.group + work.per_task - 1) / work.per_task;
    const size_t n_tasks = work.tasks_per_head * desc->n_kv_heads;
    tq_scratch *scratch = NULL;
    cut_ranges(&work);
    if (cache->context->executor.run != NULL && work.n_ranges > 1 && n_tasks < ENOUGH_TASKS) {
        scratch = borrow_scratch(cache, n_tasks * work.n_ranges * sizeof(tq_partial));
    }
    if (scratch == NULL) {
        tq_run(cache->context, attend_task, &work, n_tasks);
        return;
    }
    work.partials = (tq_partial *)(scratch + 1);
    tq_run(cache->context, attend_part, &work, n_tasks * work.n_ranges);
    tq_run(cache->context, join_task, &work, n_tasks);
    return_scratch(cache, scratch);
}
