/* SPDX-License-Identifier: MIT
 *
 * What the tests of caches share; see cache_support.h. */
#include "cache_support.h"

#include <math.h>
#include <stdio.h>

tq_cache_desc cache_desc(uint32_t n_layers, uint32_t n_kv_heads, uint32_t head_dim_k, uint32_t head_dim_v)
{
    tq_cache_desc desc = TQ_CACHE_DESC_INIT;
    desc.n_layers = n_layers;
    desc.n_kv_heads = n_kv_heads;
    desc.head_dim_k = head_dim_k;
    desc.head_dim_v = head_dim_v;
    return desc;
}

tq_cache *open_cache(const tq_context *context, const tq_cache_desc *desc)
{
    tq_cache *cache = NULL;
    assert_status(tq_cache_create(context, desc, &cache), TQ_OK);
    assert_non_null(cache);
    return cache;
}

tq_seq *open_seq(tq_cache *cache)
{
    tq_seq *seq = NULL;
    assert_status(tq_seq_create(cache, &seq), TQ_OK);
    assert_non_null(seq);
    return seq;
}

tq_context *open_context_with(const tq_allocator *allocator, const tq_executor *executor)
{
    tq_context_desc desc = TQ_CONTEXT_DESC_INIT;
    if (allocator) {
        desc.allocator = *allocator;
    }
    if (executor) {
        desc.executor = *executor;
    }
    tq_context *context = NULL;
    assert_status(tq_context_create(&desc, &context), TQ_OK);
    return context;
}

tq_cache_stats_result stats_of(const tq_cache *cache)
{
    tq_cache_stats_result stats = {.struct_size = sizeof stats};
    assert_status(tq_cache_stats(cache, &stats), TQ_OK);
    assert_int_equal(stats.struct_size, sizeof stats);
    assert_int_equal(stats.encoded_bytes + stats.exact_bytes, stats.page_bytes);
    return stats;
}

void assert_stats_equal(const tq_cache_stats_result *a, const tq_cache_stats_result *b)
{
    assert_int_equal(a->n_sequences, b->n_sequences);
    assert_int_equal(a->page_bytes, b->page_bytes);
    assert_int_equal(a->encoded_bytes, b->encoded_bytes);
    assert_int_equal(a->exact_bytes, b->exact_bytes);
}

size_t estimate_of(const tq_context *context, const tq_cache_desc *desc, size_t n_tokens)
{
    size_t bytes = SIZE_MAX;
    assert_status(tq_cache_estimate(context, desc, n_tokens, &bytes), TQ_OK);
    return bytes;
}

size_t encoded_side_bytes(const tq_cache_desc *desc, int values, tq_format format)
{
    const size_t dim = values && desc->head_dim_v ? desc->head_dim_v : desc->head_dim_k;
    const uint32_t no_means = values ? TQ_CACHE_NO_V_MEANS : TQ_CACHE_NO_K_MEANS;
    const int mean = format != TQ_FORMAT_F16 && !(desc->flags & no_means);
    return TQ_PAGE_TOKENS * row_bytes(format, dim) + (mean ? (2 * dim + 63) / 64 * 64 : 0);
}

static void *must_alloc(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

/* Tokens */

static float *gauss(struct rng *rng, size_t n)
{
    float *x = must_alloc(n, sizeof *x);
    rng_fill_gauss(rng, x, n);
    return x;
}

struct tokens tokens_gauss(struct rng *rng, const tq_cache_desc *desc, uint32_t n_q_heads, size_t n)
{
    const uint32_t dim_v = desc->head_dim_v ? desc->head_dim_v : desc->head_dim_k;
    return (struct tokens){.n = n,
                           .n_kv_heads = desc->n_kv_heads,
                           .n_q_heads = n_q_heads,
                           .dim_k = desc->head_dim_k,
                           .dim_v = dim_v,
                           .k = gauss(rng, n * desc->n_kv_heads * desc->head_dim_k),
                           .v = gauss(rng, n * desc->n_kv_heads * dim_v),
                           .q = gauss(rng, n * n_q_heads * desc->head_dim_k)};
}

void tokens_free(struct tokens *tokens)
{
    free(tokens->k);
    free(tokens->v);
    free(tokens->q);
}

size_t tokens_out_size(const struct tokens *tokens)
{
    return tokens->n * tokens->n_q_heads * tokens->dim_v;
}

tq_kv tokens_kv(const struct tokens *tokens, size_t first, size_t n)
{
    tq_kv kv = TQ_KV_INIT;
    assert_true(first + n <= tokens->n);
    kv.k = tokens->k + first * tokens->n_kv_heads * tokens->dim_k;
    kv.v = tokens->v + first * tokens->n_kv_heads * tokens->dim_v;
    kv.n_tokens = n;
    return kv;
}

tq_attention tokens_attention(const struct tokens *tokens, size_t first, size_t n, float *out, float *lse)
{
    tq_attention attention = TQ_ATTENTION_INIT;
    assert_true(first + n <= tokens->n);
    attention.q = tokens->q + first * tokens->n_q_heads * tokens->dim_k;
    attention.n_q_heads = tokens->n_q_heads;
    attention.n_tokens = n;
    attention.out = out + first * tokens->n_q_heads * tokens->dim_v;
    attention.lse = lse ? lse + first * tokens->n_q_heads : NULL;
    return attention;
}

tq_status step(tq_cache *cache, tq_seq *seq, uint32_t layer, const tq_kv *kv, const tq_attention *attention)
{
    return !kv          ? tq_cache_attend(cache, seq, layer, attention)
           : !attention ? tq_cache_append(cache, seq, layer, kv)
                        : tq_cache_forward(cache, seq, layer, kv, attention);
}

void feed(tq_cache *cache, tq_seq *seq, uint32_t layer, const struct tokens *tokens, size_t first, size_t end,
          float *out, float *lse)
{
    const tq_kv kv = tokens_kv(tokens, first, end - first);
    const tq_attention attention = tokens_attention(tokens, first, end - first, out, lse);
    assert_int_equal(tq_seq_length(seq, layer), first);
    assert_status(tq_cache_forward(cache, seq, layer, &kv, &attention), TQ_OK);
    assert_int_equal(tq_seq_length(seq, layer), end);
}

/* Sequences that tests compare */

/* Formats that together have every kind of page, with and without means, and that are quick to encode: the trellis of
 * 64 states costs a hundred times as much. */
static const tq_layer_formats mixed[] = {
    {TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO2}, {TQ_FORMAT_F16, TQ_FORMAT_TURBO3}, {TQ_FORMAT_TURBO1, TQ_FORMAT_F16}};

tq_seq *open_filled(tq_cache *cache, const tq_cache_desc *desc, const struct tokens *tokens, size_t end)
{
    tq_seq *seq = open_seq(cache);
    for (uint32_t layer = 0; layer < desc->n_layers; layer++) {
        const tq_kv kv = tokens_kv(tokens, 0, end);
        assert_status(tq_cache_append(cache, seq, layer, &kv), TQ_OK);
    }
    return seq;
}

tq_cache_desc mixed_desc(void)
{
    tq_cache_desc desc = cache_desc(3, 2, 16, 24);
    desc.layers = mixed;
    desc.effort = TQ_EFFORT_FAST;
    return desc;
}

struct run open_run(tq_seq *seq, const struct tokens *t)
{
    return (struct run){seq, filled(tokens_out_size(t) * sizeof(float)), filled(t->n * t->n_q_heads * sizeof(float))};
}

void close_run(struct run *run)
{
    tq_seq_destroy(run->seq);
    free(run->out);
    free(run->lse);
}

void run_on(tq_cache *cache, struct run *run, const struct tokens *t, size_t first, size_t end)
{
    for (uint32_t layer = 0; layer < 3; layer++) {
        feed(cache, run->seq, layer, t, first, end, run->out, run->lse);
    }
}

void assert_runs_equal(const struct run *a, const struct run *b, const struct tokens *t, size_t first, size_t end)
{
    const size_t row = t->n_q_heads * t->dim_v;
    assert_memory_equal(a->out + first * row, b->out + first * row, (end - first) * row * sizeof(float));
    assert_memory_equal(a->lse + first * t->n_q_heads, b->lse + first * t->n_q_heads,
                        (end - first) * t->n_q_heads * sizeof(float));
}
