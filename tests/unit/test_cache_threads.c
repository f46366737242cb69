/* SPDX-License-Identifier: MIT
 *
 * Caches and threads: sequences in parallel, many readers of one, forks while others write, and executors; each gives
 * what one thread gives. Run under -fsanitize=thread this also finds races on shared pages. */
#include "cache_support.h"

#include <pthread.h>
#include <stdatomic.h>

enum { N_THREADS = 8, PROMPT = 150, N = 280, DIM = 16, N_Q_HEADS = 4 };

/* What all threads of a test share. */
struct shared {
    tq_cache *cache;
    tq_seq *parent;         /* With the first PROMPT tokens, or null. */
    const struct tokens *t; /* [N_THREADS]: equal before PROMPT. */
    float *const *expected; /* [N_THREADS] */
    atomic_size_t next;     /* Thread number. */
    atomic_size_t equal;
};

static void run_threads(struct shared *shared, void *(*worker)(void *))
{
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, worker, shared), 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* Feeds a sequence on from token `first`, a few tokens at a time. Returns 1 if all calls succeed. Any thread. */
static int feed_quietly(tq_cache *cache, tq_seq *seq, const struct tokens *t, size_t first, size_t at_once, float *out)
{
    for (size_t i = first, n; i < N; i += n) {
        n = at_once < N - i ? at_once : N - i;
        tq_kv kv = TQ_KV_INIT;
        kv.k = t->k + i * t->n_kv_heads * DIM;
        kv.v = t->v + i * t->n_kv_heads * DIM;
        kv.n_tokens = n;
        tq_attention attention = TQ_ATTENTION_INIT;
        attention.q = t->q + i * N_Q_HEADS * DIM;
        attention.n_q_heads = N_Q_HEADS;
        attention.n_tokens = n;
        attention.out = out + i * N_Q_HEADS * DIM;
        if (step(cache, seq, 0, &kv, &attention) != TQ_OK) {
            return 0;
        }
    }
    return 1;
}

static int outputs_equal(const float *a, const float *b, size_t first)
{
    const size_t from = first * N_Q_HEADS * DIM;
    return memcmp(a + from, b + from, ((size_t)N * N_Q_HEADS * DIM - from) * sizeof *a) == 0;
}

/* A sequence of its own: made or forked, fed, cut and fed again, destroyed. */
static void *live_one_life(void *user)
{
    struct shared *shared = user;
    const size_t me = atomic_fetch_add(&shared->next, 1);
    const size_t first = shared->parent ? PROMPT : 0;
    float *out = malloc(tokens_out_size(&shared->t[me]) * sizeof *out);
    for (int k = 0; out && k < 2; k++) {
        tq_seq *seq = NULL;
        const tq_status status =
            shared->parent ? tq_seq_fork(shared->parent, first, &seq) : tq_seq_create(shared->cache, &seq);
        int ok = status == TQ_OK && feed_quietly(shared->cache, seq, &shared->t[me], first, 1 + 7 * me, out) &&
                 outputs_equal(out, shared->expected[me], first);
        /* 257 is in the page of the last token: the cut takes off nothing encoded. */
        ok = ok && tq_seq_truncate(seq, 257) == TQ_OK &&
             feed_quietly(shared->cache, seq, &shared->t[me], 257, 3, out) &&
             outputs_equal(out, shared->expected[me], 257);
        atomic_fetch_add(&shared->equal, (size_t)ok);
        tq_seq_destroy(seq);
    }
    free(out);
    return NULL;
}

/* Tokens of each thread, equal before PROMPT, and what one thread makes of them. */
struct family {
    tq_cache_desc desc;
    struct tokens t[N_THREADS];
    float *expected[N_THREADS];
};

static struct family *open_family(const tq_context *context)
{
    struct family *f = malloc(sizeof *f);
    assert_non_null(f);
    f->desc = cache_desc(1, 2, DIM, 0);
    f->desc.k_format = TQ_FORMAT_TURBO4;
    f->desc.v_format = TQ_FORMAT_TURBO3;
    f->desc.sink_tokens = 4;
    struct rng rng = rng_seeded(81);
    tq_cache *cache = open_cache(context, &f->desc);
    for (size_t i = 0; i < N_THREADS; i++) {
        f->t[i] = tokens_gauss(&rng, &f->desc, N_Q_HEADS, N);
        memcpy(f->t[i].k, f->t[0].k, PROMPT * 2 * DIM * sizeof(float));
        memcpy(f->t[i].v, f->t[0].v, PROMPT * 2 * DIM * sizeof(float));
        f->expected[i] = filled(tokens_out_size(&f->t[i]) * sizeof(float));
        feed(cache, open_seq(cache), 0, &f->t[i], 0, N, f->expected[i], NULL);
    }
    tq_cache_destroy(cache);
    return f;
}

static void close_family(struct family *f)
{
    for (size_t i = 0; i < N_THREADS; i++) {
        free(f->expected[i]);
        tokens_free(&f->t[i]);
    }
    free(f);
}

static void check_lives(const tq_context *context, const struct family *f, int forked)
{
    tq_cache *cache = open_cache(context, &f->desc);
    struct shared shared = {.cache = cache, .t = f->t, .expected = f->expected};
    if (forked) {
        float *out = filled(tokens_out_size(&f->t[0]) * sizeof(float));
        shared.parent = open_seq(cache);
        feed(cache, shared.parent, 0, &f->t[0], 0, PROMPT, out, NULL);
        free(out);
    }
    const size_t bytes = stats_of(cache).page_bytes;
    run_threads(&shared, live_one_life);
    assert_int_equal(atomic_load(&shared.equal), 2 * N_THREADS);
    assert_int_equal(stats_of(cache).n_sequences, forked ? 1 : 0);
    assert_int_equal(stats_of(cache).page_bytes, bytes);
    tq_cache_destroy(cache);
}

static void test_parallel_sequences(void **state)
{
    struct family *f = open_family(*state);
    check_lives(*state, f, 0);
    check_lives(*state, f, 1);
    close_family(f);
}

/* Many readers of a sequence that nobody writes. */
static void *read_often(void *user)
{
    struct shared *shared = user;
    const struct tokens *t = &shared->t[0];
    float *out = malloc(tokens_out_size(t) * sizeof *out);
    for (size_t k = 1; out && k <= 20; k++) {
        const size_t n = k; /* Queries: all in the last page, 256..279. */
        tq_attention attention = TQ_ATTENTION_INIT;
        attention.q = t->q + (N - n) * N_Q_HEADS * DIM;
        attention.n_q_heads = N_Q_HEADS;
        attention.n_tokens = n;
        attention.out = out + (N - n) * N_Q_HEADS * DIM;
        const int ok = tq_cache_attend(shared->cache, shared->parent, 0, &attention) == TQ_OK &&
                       outputs_equal(out, shared->expected[0], N - n);
        atomic_fetch_add(&shared->equal, (size_t)ok);
    }
    free(out);
    return NULL;
}

static void test_parallel_readers(void **state)
{
    struct family *f = open_family(*state);
    tq_cache *cache = open_cache(*state, &f->desc);
    struct shared shared = {.cache = cache, .parent = open_seq(cache), .t = f->t, .expected = f->expected};
    float *out = filled(tokens_out_size(&f->t[0]) * sizeof(float));
    feed(cache, shared.parent, 0, &f->t[0], 0, N, out, NULL);
    run_threads(&shared, read_often);
    assert_int_equal(atomic_load(&shared.equal), 20 * N_THREADS);
    free(out);
    tq_cache_destroy(cache);
    close_family(f);
}

static void run_backwards(void *user, tq_task task, void *arg, size_t count)
{
    *(size_t *)user += count > 1;
    while (count-- > 0) {
        task(arg, count);
    }
}

/* An executor changes no bit. */
static void test_executors(void **state)
{
    struct family *f = open_family(*state);
    size_t spread = 0;
    const tq_executor executors[] = {threaded_executor(), {run_backwards, &spread}};
    for (size_t e = 0; e < 2; e++) {
        tq_context *context = open_context_with(NULL, &executors[e]);
        for (size_t at_once = 1; at_once <= N; at_once += 93) {
            tq_cache *cache = open_cache(context, &f->desc);
            float *out = filled(tokens_out_size(&f->t[1]) * sizeof(float));
            assert_true(feed_quietly(cache, open_seq(cache), &f->t[1], 0, at_once, out));
            assert_true(outputs_equal(out, f->expected[1], 0));
            free(out);
            tq_cache_destroy(cache);
        }
        tq_context_destroy(context);
    }
    assert_true(spread > 0);
    close_family(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parallel_sequences),
        cmocka_unit_test(test_parallel_readers),
        cmocka_unit_test(test_executors),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
