/* SPDX-License-Identifier: MIT
 *
 * Caches and threads: sequences in parallel, many readers of one, forks while others write, and executors; each gives
 * what one thread gives, also where a long sequence is cut into ranges. Run under -fsanitize=thread this also finds
 * races on shared pages. */
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

/* A file in memory, for any thread. */
enum { ROOM = 200000 };

struct file {
    size_t size;
    size_t at;
    unsigned char data[ROOM];
};

static size_t write_file(void *user, const void *data, size_t size)
{
    struct file *file = user;
    if (size > ROOM - file->size) {
        return 0;
    }
    memcpy(file->data + file->size, data, size);
    file->size += size;
    return size;
}

static size_t read_file(void *user, void *data, size_t size)
{
    struct file *file = user;
    const size_t n = size < file->size - file->at ? size : file->size - file->at;
    memcpy(data, file->data + file->at, n);
    file->at += n;
    return n;
}

/* Everything that can be done with a sequence, on a fork of `parent`; what it is in the end goes to `file`. Returns 1
 * if all calls succeed. Any thread. */
static int live_fully(tq_cache *cache, const tq_seq *parent, const struct tokens *t, size_t me, float *out,
                      struct file *file)
{
    /* Formats that the cache has not met: it makes what they need now, for all threads at once. */
    const tq_tier tiers[] = {{64, {TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO2}}, {128, {TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO1}}};
    const tq_rope rope = TQ_ROPE_INIT;
    const tq_writer writer = {write_file, file};
    const tq_reader reader = {read_file, file};
    tq_seq *seq = NULL;
    tq_seq *loaded = NULL;
    file->size = 0;
    file->at = 0;
    int ok = tq_seq_fork(parent, PROMPT, &seq) == TQ_OK && feed_quietly(cache, seq, t, PROMPT, 5 + me, out) &&
             tq_cache_demote(cache, seq, tiers, 2) == TQ_OK &&
             tq_cache_rope_shift(cache, seq, 0, 10 * me, N, (int64_t)me - 3, &rope) == TQ_OK &&
             tq_seq_remove(seq, 64, 64) == TQ_OK && tq_seq_truncate(seq, 200 - me) == TQ_OK &&
             tq_cache_save(cache, seq, &writer) == TQ_OK && tq_cache_load(cache, &reader, &loaded) == TQ_OK &&
             feed_quietly(cache, loaded, t, 200 - me, 9, out);
    file->size = 0;
    ok = ok && tq_cache_save(cache, loaded, &writer) == TQ_OK;
    tq_seq_destroy(seq);
    tq_seq_destroy(loaded);
    return ok;
}

static struct file *expected_files;

static void *live_one_full_life(void *user)
{
    struct shared *shared = user;
    const size_t me = atomic_fetch_add(&shared->next, 1);
    float *out = malloc(tokens_out_size(&shared->t[me]) * sizeof *out);
    struct file *file = malloc(sizeof *file);
    for (int k = 0; out && file && k < 2; k++) {
        const int ok = live_fully(shared->cache, shared->parent, &shared->t[me], me, out, file) &&
                       outputs_equal(out, shared->expected[me], 200 - me) && file->size == expected_files[me].size &&
                       memcmp(file->data, expected_files[me].data, file->size) == 0;
        atomic_fetch_add(&shared->equal, (size_t)ok);
    }
    free(file);
    free(out);
    return NULL;
}

/* Sequences that are saved, loaded, demoted, turned and cut at the same time, all on the pages of one prompt. */
static void test_parallel_lives(void **state)
{
    struct family *f = open_family(*state);
    float *out = filled(tokens_out_size(&f->t[0]) * sizeof(float));
    expected_files = filled(N_THREADS * sizeof *expected_files);
    for (int threads = 0; threads < 2; threads++) {
        tq_cache *cache = open_cache(*state, &f->desc);
        struct shared shared = {.cache = cache, .t = f->t, .expected = f->expected, .parent = open_seq(cache)};
        feed(cache, shared.parent, 0, &f->t[0], 0, PROMPT, out, NULL);
        const size_t bytes = stats_of(cache).page_bytes;
        for (size_t me = 0; !threads && me < N_THREADS; me++) {
            assert_true(live_fully(cache, shared.parent, &f->t[me], me, f->expected[me], &expected_files[me]));
        }
        if (threads) {
            run_threads(&shared, live_one_full_life);
            assert_int_equal(atomic_load(&shared.equal), 2 * N_THREADS);
        }
        assert_int_equal(stats_of(cache).n_sequences, 1);
        assert_int_equal(stats_of(cache).page_bytes, bytes);
        tq_cache_destroy(cache);
    }
    free(expected_files);
    free(out);
    close_family(f);
}

/* An executor of some threads, or none: the task is run by the caller alone. */
struct crew {
    size_t n_threads;
    size_t largest; /* Tasks of one call. */
};

struct job {
    tq_task task;
    void *arg;
    size_t count;
    atomic_size_t next;
};

static void *work(void *user)
{
    struct job *job = user;
    for (size_t i; (i = atomic_fetch_add(&job->next, 1)) < job->count;) {
        job->task(job->arg, i);
    }
    return NULL;
}

static void run_crew(void *user, tq_task task, void *arg, size_t count)
{
    struct crew *crew = user;
    struct job job = {.task = task, .arg = arg, .count = count};
    pthread_t threads[N_THREADS];
    size_t started = 0;
    crew->largest = count > crew->largest ? count : crew->largest;
    while (started + 1 < crew->n_threads && pthread_create(&threads[started], NULL, work, &job) == 0) {
        started++;
    }
    work(&job);
    for (size_t i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* A long sequence and one head: its tokens are cut into ranges. Outputs and sums of all queries of the end, in calls of
 * different sizes and with different windows, one after the other. */
static void attend_long(const tq_context *context, const tq_cache_desc *desc, const struct tokens *t, float *out,
                        float *lse)
{
    static const size_t windows[] = {0, 100, 3000};
    const size_t end = t->n - 100;
    const size_t out_size = (size_t)100 * t->n_q_heads * t->dim_v;
    tq_cache *cache = open_cache(context, desc);
    tq_seq *seq = open_seq(cache);
    const tq_kv kv = tokens_kv(t, 0, end);
    assert_status(tq_cache_append(cache, seq, 0, &kv), TQ_OK);
    for (size_t w = 0; w < 3; w++) {
        for (size_t at_once = 1; at_once <= 100; at_once += 33) {
            tq_seq *fork = NULL;
            assert_status(tq_seq_fork(seq, end, &fork), TQ_OK);
            for (size_t i = 0, n; i < 100; i += n) {
                n = at_once < 100 - i ? at_once : 100 - i;
                const tq_kv some = tokens_kv(t, end + i, n);
                tq_attention attention = TQ_ATTENTION_INIT;
                attention.q = t->q + (end + i) * t->n_q_heads * t->dim_k;
                attention.n_q_heads = t->n_q_heads;
                attention.n_tokens = n;
                attention.out = out + i * t->n_q_heads * t->dim_v;
                attention.lse = lse + i * t->n_q_heads;
                attention.sliding_window = windows[w];
                assert_status(tq_cache_forward(cache, fork, 0, &some, &attention), TQ_OK);
            }
            out += out_size;
            lse += 100 * t->n_q_heads;
            tq_seq_destroy(fork);
        }
    }
    tq_cache_destroy(cache);
}

static void test_ranges(void **state)
{
    enum { WAYS = 3 * 4, HEADS = 2 };
    static struct crew crews[] = {{1, 0}, {2, 0}, {8, 0}};
    struct rng rng = rng_seeded(82);
    tq_cache_desc desc = cache_desc(1, 1, DIM, 0);
    desc.k_format = TQ_FORMAT_TURBO2;
    desc.v_format = TQ_FORMAT_TURBO2;
    desc.effort = TQ_EFFORT_FAST;
    const size_t n = quick() ? 4300 : 8500;
    struct tokens t = tokens_gauss(&rng, &desc, HEADS, n);
    const size_t out_size = (size_t)WAYS * 100 * HEADS * DIM * sizeof(float);
    const size_t lse_size = (size_t)WAYS * 100 * HEADS * sizeof(float);
    float *expected = filled(out_size);
    float *expected_lse = filled(lse_size);
    attend_long(*state, &desc, &t, expected, expected_lse);
    for (size_t way = 1; way < WAYS; way++) { /* However the tokens come. */
        const size_t first = way / 4 * 4;
        assert_memory_equal(expected + way * out_size / 4 / WAYS, expected + first * out_size / 4 / WAYS,
                            out_size / WAYS);
    }
    for (size_t c = 0; c < 3; c++) {
        const tq_executor executor = {run_crew, &crews[c]};
        tq_context *context = open_context_with(NULL, &executor);
        float *out = filled(out_size);
        float *lse = filled(lse_size);
        attend_long(context, &desc, &t, out, lse);
        assert_memory_equal(out, expected, out_size);
        assert_memory_equal(lse, expected_lse, lse_size);
        assert_true(crews[c].largest >= 8); /* Ranges of one query, side by side. */
        free(lse);
        free(out);
        tq_context_destroy(context);
    }
    free(expected_lse);
    free(expected);
    tokens_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parallel_sequences),
        cmocka_unit_test(test_parallel_readers),
        cmocka_unit_test(test_executors),
        cmocka_unit_test(test_parallel_lives),
        cmocka_unit_test(test_ranges),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
