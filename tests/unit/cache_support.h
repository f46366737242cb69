/* SPDX-License-Identifier: MIT
 *
 * What the tests of caches share: caches, sequences, and tokens as an engine hands them over. */
#ifndef TQ_TESTS_CACHE_SUPPORT_H
#define TQ_TESTS_CACHE_SUPPORT_H

#include "support.h"

enum { NO_MEANS = TQ_CACHE_NO_K_MEANS | TQ_CACHE_NO_V_MEANS };

tq_cache_desc cache_desc(uint32_t n_layers, uint32_t n_kv_heads, uint32_t head_dim_k, uint32_t head_dim_v);
tq_cache *open_cache(const tq_context *context, const tq_cache_desc *desc);
tq_seq *open_seq(tq_cache *cache);
tq_context *open_context_with(const tq_allocator *allocator, const tq_executor *executor);

tq_cache_stats_result stats_of(const tq_cache *cache);
void assert_stats_equal(const tq_cache_stats_result *a, const tq_cache_stats_result *b);
size_t estimate_of(const tq_context *context, const tq_cache_desc *desc, size_t n_tokens);

/* Bytes that one head's keys or values take in an encoded page: rows, and an f16 mean where there is one, up to a
 * multiple of 64. */
size_t encoded_side_bytes(const tq_cache_desc *desc, int values, tq_format format);

/* Keys, values and queries of n tokens in one layer: dense f32, [n, heads, dim]. */
struct tokens {
    size_t n;
    uint32_t n_kv_heads;
    uint32_t n_q_heads;
    uint32_t dim_k;
    uint32_t dim_v;
    float *k;
    float *v;
    float *q;
};

struct tokens tokens_gauss(struct rng *rng, const tq_cache_desc *desc, uint32_t n_q_heads, size_t n);
void tokens_free(struct tokens *tokens);
size_t tokens_out_size(const struct tokens *tokens); /* Floats of [n, n_q_heads, dim_v]. */

tq_kv tokens_kv(const struct tokens *tokens, size_t first, size_t n);
/* `out` and `lse` are arrays for all tokens; `lse` may be null. */
tq_attention tokens_attention(const struct tokens *tokens, size_t first, size_t n, float *out, float *lse);

/* tq_cache_forward; tq_cache_append if `attention` is null; tq_cache_attend if `kv` is null. */
tq_status step(tq_cache *cache, tq_seq *seq, uint32_t layer, const tq_kv *kv, const tq_attention *attention);

/* Feeds tokens first..end-1 in one call of tq_cache_forward that must succeed. */
void feed(tq_cache *cache, tq_seq *seq, uint32_t layer, const struct tokens *tokens, size_t first, size_t end,
          float *out, float *lse);

/* A sequence with the first `end` tokens in all layers. */
tq_seq *open_filled(tq_cache *cache, const tq_cache_desc *desc, const struct tokens *tokens, size_t end);

/* A cache of 3 layers and 2 KV heads, head_dim 16 and 24, whose formats are quick to encode: with and without means,
 * and f16. */
tq_cache_desc mixed_desc(void);

/* A sequence of such a cache, and what it returned. */
struct run {
    tq_seq *seq;
    float *out;
    float *lse;
};

struct run open_run(tq_seq *seq, const struct tokens *t);
void close_run(struct run *run);
/* Tokens first..end-1 to all layers; outputs of the last layer stay. */
void run_on(tq_cache *cache, struct run *run, const struct tokens *t, size_t first, size_t end);
void assert_runs_equal(const struct run *a, const struct run *b, const struct tokens *t, size_t first, size_t end);

#endif
