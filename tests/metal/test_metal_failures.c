/* SPDX-License-Identifier: MIT
 *
 * The Metal device when its GPU fails, at every call in turn: a status comes back, a sentence is logged, nothing leaks
 * or crashes; without memory a cache goes on, and without its GPU it is dead. */
#include "cache_support.h"
#include "failing_gpu.h"

#include <math.h>

enum { DIM = 16, HEADS = 1, Q_HEADS = 2, TOKENS = 150 };

static unsigned sentences;

static void count_sentence(void *user, tq_status status, const char *sentence)
{
    (void)user;
    assert_true(status < 0);
    assert_true(sentence[0] != 0);
    sentences++;
}

static size_t swallow(void *user, const void *data, size_t size)
{
    (void)user;
    (void)data;
    return size;
}

struct world {
    struct counting_allocator counting;
    tq_context *context;
    tq_cache *cache;
    tq_seq *seqs[2];
    struct tokens tokens;
    float *out;
};

static tq_status open_world(struct world *w)
{
    struct rng rng = rng_seeded(1);
    tq_context_desc desc = TQ_CONTEXT_DESC_INIT;
    tq_cache_desc shape = cache_desc(1, HEADS, DIM, DIM);
    shape.k_format = TQ_FORMAT_TURBO4;
    shape.v_format = TQ_FORMAT_TURBO3;
    shape.sink_tokens = 4;
    shape.recent_tokens = TQ_NO_RECENT_TOKENS;
    *w = (struct world){.tokens = tokens_gauss(&rng, &shape, Q_HEADS, TOKENS)};
    w->out = calloc(tokens_out_size(&w->tokens), sizeof *w->out);
    desc.backend = "metal";
    desc.log.message = count_sentence;
    desc.allocator = counting_allocator_hooks(&w->counting);
    tq_status status = tq_context_create(&desc, &w->context);
    if (status == TQ_OK) {
        status = tq_cache_create(w->context, &shape, &w->cache);
    }
    return status == TQ_OK ? tq_seq_create(w->cache, &w->seqs[0]) : status;
}

static void close_world(struct world *w)
{
    tq_cache_destroy(w->cache);
    tq_context_destroy(w->context);
    tokens_free(&w->tokens);
    free(w->out);
    assert_int_equal(w->counting.live_blocks, 0);
    assert_int_equal(w->counting.broken_promises, 0);
    assert_int_equal(gpu_live(), 0);
}

/* One token to each of both sequences. */
static tq_status both_forward(struct world *w, size_t token)
{
    const tq_kv kv = tokens_kv(&w->tokens, token, 2);
    tq_attention attention = tokens_attention(&w->tokens, token, 2, w->out, NULL);
    attention.out = w->out;
    return tq_cache_forward_batch(w->cache, w->seqs, 2, 0, &kv, &attention);
}

/* A little of everything; the first status that is no success, or TQ_OK. */
static tq_status live(struct world *w)
{
    const tq_writer writer = {swallow, NULL};
    const tq_kv kv = tokens_kv(&w->tokens, 0, 140);
    tq_status status = tq_cache_append(w->cache, w->seqs[0], 0, &kv);
    if (status == TQ_OK) {
        status = tq_seq_fork(w->seqs[0], 125, &w->seqs[1]);
    }
    for (size_t i = 0; status == TQ_OK && i < 6; i++) {
        status = both_forward(w, 140 + i);
    }
    return status == TQ_OK ? tq_cache_save(w->cache, w->seqs[1], &writer) : status;
}

static void every_failure_is_a_status(void **state)
{
    (void)state;
    static const tq_status failures[] = {TQ_ERR_OUT_OF_MEMORY, TQ_ERR_BACKEND};
    for (size_t f = 0; f < 2; f++) {
        size_t calls = 1;
        for (size_t n = 0; n <= calls; n += quick() ? 3 : 1) { /* 0: none fails. */
            struct world w;
            sentences = 0;
            gpu_fail_at(n, failures[f]);
            tq_status status = open_world(&w);
            if (status == TQ_OK) {
                status = live(&w);
            }
            /* What lacks memory while pages are encoded, loses them. */
            assert_status(status, n == 0 ? TQ_OK : status == TQ_ERR_BACKEND ? TQ_ERR_BACKEND : failures[f]);
            assert_true((sentences == 0) == (n == 0));
            close_world(&w);
            if (n == 0) {
                calls = gpu_fail_at(0, TQ_OK);
                assert_true(calls > 25);
            }
        }
    }
}

/* A step that could not have its memory can be repeated, and the sequence is as it was. */
static void lack_of_memory_passes(void **state)
{
    (void)state;
    struct world w;
    gpu_fail_at(0, TQ_OK);
    assert_status(open_world(&w), TQ_OK);
    gpu_fail_at(1, TQ_ERR_OUT_OF_MEMORY);
    const tq_kv kv = tokens_kv(&w.tokens, 0, 30);
    assert_status(tq_cache_append(w.cache, w.seqs[0], 0, &kv), TQ_ERR_OUT_OF_MEMORY);
    assert_int_equal(tq_seq_length(w.seqs[0], 0), 0);
    assert_status(tq_cache_append(w.cache, w.seqs[0], 0, &kv), TQ_OK);
    assert_int_equal(tq_seq_length(w.seqs[0], 0), 30);
    close_world(&w);
}

static void a_lost_gpu_stays_lost(void **state)
{
    (void)state;
    struct world w;
    gpu_fail_at(0, TQ_OK);
    assert_status(open_world(&w), TQ_OK);
    assert_status(live(&w), TQ_OK);
    gpu_fail_at(1, TQ_ERR_BACKEND);
    assert_status(both_forward(&w, 146), TQ_ERR_BACKEND);
    gpu_fail_at(0, TQ_OK);
    assert_status(both_forward(&w, 146), TQ_ERR_BACKEND);
    const tq_kv kv = tokens_kv(&w.tokens, 0, 1);
    assert_status(tq_cache_append(w.cache, w.seqs[0], 0, &kv), TQ_ERR_BACKEND);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failure_is_a_status),
        cmocka_unit_test(lack_of_memory_passes),
        cmocka_unit_test(a_lost_gpu_stays_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
