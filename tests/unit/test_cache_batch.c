/* SPDX-License-Identifier: MIT
 *
 * tq_cache_forward_batch: what it does for many sequences is what the other calls do for each. */
#include "cache_support.h"

enum { SEQS = 5, Q_HEADS = 4, TOKENS = 400 };

struct both {
    tq_context *context;
    tq_cache *cache;
    tq_cache_desc desc;
    struct tokens tokens;
    tq_seq *single[SEQS];
    tq_seq *batch[SEQS];
};

static size_t length_of(size_t i)
{
    static const size_t lengths[SEQS] = {0, 63, 64, 130, 5};
    return lengths[i];
}

static struct both open_both(void)
{
    struct rng rng = rng_seeded(5);
    struct both b = {.context = open_context_with(NULL, NULL), .desc = cache_desc(1, 2, 16, 24)};
    b.desc.k_format = TQ_FORMAT_TURBO4;
    b.desc.v_format = TQ_FORMAT_TURBO2;
    b.cache = open_cache(b.context, &b.desc);
    b.tokens = tokens_gauss(&rng, &b.desc, Q_HEADS, TOKENS);
    for (size_t i = 0; i < SEQS; i++) {
        const tq_kv kv = tokens_kv(&b.tokens, 0, length_of(i));
        b.single[i] = open_seq(b.cache);
        b.batch[i] = open_seq(b.cache);
        assert_status(tq_cache_append(b.cache, b.single[i], 0, &kv), TQ_OK);
        assert_status(tq_cache_append(b.cache, b.batch[i], 0, &kv), TQ_OK);
    }
    return b;
}

static void close_both(struct both *b)
{
    tokens_free(&b->tokens);
    tq_cache_destroy(b->cache);
    tq_context_destroy(b->context);
}

/* n tokens for each sequence: together, and one sequence after the other. */
static void assert_same(struct both *b, size_t first, size_t n, float *outs[2], float *lses[2])
{
    tq_kv kv = tokens_kv(&b->tokens, first, SEQS * n);
    tq_attention attention = tokens_attention(&b->tokens, first, SEQS * n, outs[0], lses[0]);
    assert_status(tq_cache_forward_batch(b->cache, b->batch, SEQS, 0, &kv, &attention), TQ_OK);
    for (size_t i = 0; i < SEQS; i++) {
        kv = tokens_kv(&b->tokens, first + i * n, n);
        attention = tokens_attention(&b->tokens, first + i * n, n, outs[1], lses[1]);
        assert_status(tq_cache_forward(b->cache, b->single[i], 0, &kv, &attention), TQ_OK);
        assert_int_equal(tq_seq_length(b->batch[i], 0), tq_seq_length(b->single[i], 0));
    }
    assert_memory_equal(outs[0], outs[1], TOKENS * Q_HEADS * b->desc.head_dim_v * sizeof(float));
    assert_memory_equal(lses[0], lses[1], TOKENS * Q_HEADS * sizeof(float));
}

static void batches_are_singles(void **state)
{
    (void)state;
    struct both b = open_both();
    float *outs[2];
    float *lses[2];
    for (int i = 0; i < 2; i++) {
        outs[i] = calloc((size_t)TOKENS * Q_HEADS * b.desc.head_dim_v, sizeof **outs);
        lses[i] = calloc((size_t)TOKENS * Q_HEADS, sizeof **lses);
    }
    assert_same(&b, 0, 1, outs, lses);
    assert_same(&b, 10, 3, outs, lses);
    assert_same(&b, 40, 70, outs, lses);
    assert_same(&b, 390, 0, outs, lses);
    tq_kv kv = tokens_kv(&b.tokens, 200, SEQS);
    assert_status(tq_cache_forward_batch(b.cache, b.batch, SEQS, 0, &kv, NULL), TQ_OK);
    assert_status(tq_cache_forward_batch(b.cache, b.single, SEQS, 0, &kv, NULL), TQ_OK);
    tq_attention attention = tokens_attention(&b.tokens, 200, SEQS, outs[0], lses[0]);
    assert_status(tq_cache_forward_batch(b.cache, b.batch, SEQS, 0, NULL, &attention), TQ_OK);
    for (size_t i = 0; i < SEQS; i++) {
        attention = tokens_attention(&b.tokens, 200 + i, 1, outs[1], lses[1]);
        assert_status(tq_cache_attend(b.cache, b.single[i], 0, &attention), TQ_OK);
    }
    assert_memory_equal(outs[0], outs[1], TOKENS * Q_HEADS * b.desc.head_dim_v * sizeof(float));
    for (int i = 0; i < 2; i++) {
        free(outs[i]);
        free(lses[i]);
    }
    close_both(&b);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    struct both b = open_both();
    float out[SEQS * Q_HEADS * 24];
    const tq_kv kv = tokens_kv(&b.tokens, 0, SEQS);
    tq_attention attention = tokens_attention(&b.tokens, 0, SEQS, out, NULL);
    tq_seq *twice[SEQS];
    memcpy(twice, b.batch, sizeof twice);
    twice[4] = twice[1];
    assert_status(tq_cache_forward_batch(NULL, b.batch, SEQS, 0, &kv, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_forward_batch(b.cache, NULL, SEQS, 0, &kv, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_forward_batch(b.cache, twice, SEQS, 0, &kv, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_forward_batch(b.cache, b.batch, SEQS - 1, 0, &kv, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_forward_batch(b.cache, b.batch, SEQS - 1, 0, NULL, &attention), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_forward_batch(b.cache, b.batch, SEQS, 1, &kv, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_forward_batch(b.cache, b.batch, SEQS, 0, NULL, &attention), TQ_ERR_INVALID_ARGUMENT);
    twice[4] = NULL;
    assert_status(tq_cache_forward_batch(b.cache, twice, SEQS, 0, &kv, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_forward_batch(b.cache, NULL, 0, 0, NULL, NULL), TQ_OK);
    assert_status(tq_cache_forward_batch(b.cache, b.batch, SEQS, 0, NULL, NULL), TQ_OK);
    for (size_t i = 0; i < SEQS; i++) {
        assert_int_equal(tq_seq_length(b.batch[i], 0), length_of(i));
    }
    close_both(&b);
}

/* If memory runs out for one sequence, none has changed. */
static void batches_are_whole(void **state)
{
    (void)state;
    struct both b = open_both();
    const size_t used = stats_of(b.cache).page_bytes;
    tq_cache_destroy(b.cache);
    b.desc.memory_limit = used / 2 + 100; /* The sequences of one half, and nothing more. */
    b.cache = open_cache(b.context, &b.desc);
    for (size_t i = 0; i < SEQS; i++) {
        const tq_kv kv = tokens_kv(&b.tokens, 0, length_of(i));
        b.batch[i] = open_seq(b.cache);
        assert_status(tq_cache_append(b.cache, b.batch[i], 0, &kv), TQ_OK);
    }
    const tq_kv kv = tokens_kv(&b.tokens, 0, SEQS);
    assert_status(tq_cache_forward_batch(b.cache, b.batch, SEQS, 0, &kv, NULL), TQ_ERR_CAPACITY);
    for (size_t i = 0; i < SEQS; i++) {
        assert_int_equal(tq_seq_length(b.batch[i], 0), length_of(i));
    }
    assert_int_equal(stats_of(b.cache).page_bytes, used / 2);
    close_both(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(batches_are_singles), cmocka_unit_test(nonsense_is_refused),
                                       cmocka_unit_test(batches_are_whole)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
