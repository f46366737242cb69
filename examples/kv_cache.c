/* SPDX-License-Identifier: MIT
 *
 * A decoding loop on a cache: a prompt in one call, then tokens one by one, and a draft that is rejected. */
#include <turboquant.h>

#include <stdio.h>
#include <stdlib.h>

enum { LAYERS = 2, KV_HEADS = 2, Q_HEADS = 4, DIM = 64, PROMPT = 200, TOKENS = 300, DRAFT = 5 };

/* What a model would compute: keys, values and queries of a token, the same whenever it is asked. */
static void fill(float *x, size_t n, size_t token, unsigned what)
{
    srand((unsigned)token * 8 + what);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)rand() / (float)RAND_MAX - 0.5F;
    }
}

/* All layers of tokens [first, first + n); the attention output of the last layer goes to `out`. */
static int step(tq_cache *cache, tq_seq *seq, size_t first, size_t n, float *out)
{
    float *k = malloc(n * KV_HEADS * DIM * sizeof *k), *v = malloc(n * KV_HEADS * DIM * sizeof *v);
    float *q = malloc(n * Q_HEADS * DIM * sizeof *q);
    tq_status status = TQ_OK;
    for (uint32_t layer = 0; layer < LAYERS && status == TQ_OK; layer++) {
        for (size_t t = 0; t < n; t++) {
            fill(k + t * KV_HEADS * DIM, KV_HEADS * DIM, first + t, 3 * layer);
            fill(v + t * KV_HEADS * DIM, KV_HEADS * DIM, first + t, 3 * layer + 1);
            fill(q + t * Q_HEADS * DIM, Q_HEADS * DIM, first + t, 3 * layer + 2);
        }
        const tq_kv kv = {.struct_size = sizeof kv, .k = k, .v = v, .n_tokens = n};
        const tq_attention attention = {
            .struct_size = sizeof attention, .q = q, .n_q_heads = Q_HEADS, .n_tokens = n, .out = out};
        status = tq_cache_forward(cache, seq, layer, &kv, &attention);
    }
    free(k), free(v), free(q);
    return status != TQ_OK;
}

int main(void)
{
    static float out[PROMPT * Q_HEADS * DIM], plain[Q_HEADS * DIM], drafted[DRAFT * Q_HEADS * DIM];
    tq_cache_desc desc = TQ_CACHE_DESC_INIT;
    desc.n_layers = LAYERS;
    desc.n_kv_heads = KV_HEADS;
    desc.head_dim_k = DIM; /* turbo4t, page means, 64 exact tokens: the defaults. */

    tq_context *context;
    tq_cache *cache;
    tq_seq *seq, *other;
    if (tq_context_create(NULL, &context) || tq_cache_create(context, &desc, &cache) || tq_seq_create(cache, &seq)) {
        return 1;
    }
    int failed = step(cache, seq, 0, PROMPT, out); /* The prompt, in one call. */
    failed |= tq_seq_fork(seq, PROMPT, &other) != TQ_OK;
    for (size_t t = PROMPT; t < TOKENS && !failed; t++) { /* Decoding. */
        failed |= step(cache, seq, t, 1, plain);
    }
    for (size_t t = PROMPT; t < TOKENS && !failed; t += DRAFT) { /* The same, with drafts of five of which none... */
        failed |= step(cache, other, t, DRAFT, drafted) || tq_seq_truncate(other, t) != TQ_OK;
        failed |= step(cache, other, t, DRAFT, drafted); /* ... and then all are accepted. */
    }
    for (size_t i = 0; i < Q_HEADS * DIM; i++) {
        failed |= plain[i] != drafted[(DRAFT - 1) * Q_HEADS * DIM + i];
    }
    tq_cache_stats_result stats = {.struct_size = sizeof stats};
    failed |= tq_cache_stats(cache, &stats) != TQ_OK;
    printf("%zu sequences of %zu tokens take %zu bytes; f16 would take %d for one\n", stats.n_sequences,
           tq_seq_length(seq, 0), stats.page_bytes, LAYERS * TOKENS * KV_HEADS * DIM * 4);
    tq_cache_destroy(cache), tq_context_destroy(context);
    return failed;
}
