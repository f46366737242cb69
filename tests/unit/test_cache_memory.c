/* SPDX-License-Identifier: MIT
 *
 * The memory of a cache: the estimate, the smallest pages, the limit, and running out of memory at every allocation. */
#include "cache_support.h"

/* Appends tokens first..end-1 to all layers. */
static void append_all(tq_cache *cache, tq_seq *seq, const struct tokens *t, size_t first, size_t end, size_t at_once)
{
    for (uint32_t layer = 0; tq_seq_length(seq, layer) == first && layer < 3; layer++) {
        for (size_t i = first; i < end; i += at_once) {
            const tq_kv kv = tokens_kv(t, i, at_once < end - i ? at_once : end - i);
            assert_status(tq_cache_append(cache, seq, layer, &kv), TQ_OK);
        }
        assert_int_equal(tq_seq_length(seq, layer), end);
    }
}

/* Bytes of encoded pages. */
static size_t encoded_bytes(const tq_cache_desc *desc, size_t n_tokens, size_t window_pages)
{
    const size_t page = n_tokens ? (n_tokens - 1) / TQ_PAGE_TOKENS : 0;
    const size_t pages = page > window_pages ? page - window_pages : 0;
    size_t bytes = 0;
    for (uint32_t i = 0; i < 2 * desc->n_layers; i++) {
        const int values = (int)(i % 2);
        const tq_format format = values ? desc->layers[i / 2].v_format : desc->layers[i / 2].k_format;
        bytes += pages * desc->n_kv_heads * encoded_side_bytes(desc, values, format);
    }
    return bytes;
}

static void test_estimate(void **state)
{
    static const size_t lengths[] = {0, 1, 63, 64, 65, 127, 128, 129, 192, 193, 256, 257, 1000};
    static const struct {
        uint32_t recent;
        size_t window_pages;
    } windows[] = {{TQ_NO_RECENT_TOKENS, 0}, {0, 1}, {1, 1}, {64, 1}, {65, 2}, {100, 2}, {128, 2}, {129, 3}, {2000, 32},
                   {0xFFFFFFFE, 1U << 26}};
    static const uint32_t sinks[] = {0, 4, 64};
    struct rng rng = rng_seeded(71);
    tq_cache_desc desc = mixed_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 2, 1000);
    for (size_t w = 0; w < sizeof windows / sizeof windows[0]; w++) {
        for (size_t s = 0; s < 3; s++) {
            desc.recent_tokens = windows[w].recent;
            desc.sink_tokens = sinks[s];
            desc.flags = (uint32_t)((w + s) % 4);
            tq_cache *cache = open_cache(*state, &desc);
            tq_seq *seq = open_seq(cache);
            for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
                append_all(cache, seq, &t, i ? lengths[i - 1] : 0, lengths[i], i % 2 ? 7 : 1000);
                const tq_cache_stats_result stats = stats_of(cache);
                assert_int_equal(stats.page_bytes, estimate_of(*state, &desc, lengths[i]));
                assert_int_equal(stats.encoded_bytes, encoded_bytes(&desc, lengths[i], windows[w].window_pages));
                /* A token in f16 takes at least its size; exact tokens come in whole pages and sinks, and one page is
                 * both encoded and exact. */
                const size_t encoded_pages =
                    stats.encoded_bytes / (encoded_bytes(&desc, 257, 0) / 4); /* Of one page. */
                const size_t exact_tokens = lengths[i] - encoded_pages * TQ_PAGE_TOKENS;
                assert_true(stats.exact_bytes >= exact_tokens * 3 * 2 * (16 + 24) * 2);
                assert_true(stats.exact_bytes <=
                            (exact_tokens + 2 * TQ_PAGE_TOKENS + sinks[s]) * 3 * 2 * (16 + 24) * 2);
            }
            tq_seq_destroy(seq);
            assert_int_equal(stats_of(cache).page_bytes, 0);
            tq_cache_destroy(cache);
        }
    }
    tokens_free(&t);
}

/* An allocator that gives no byte more than it is asked for: what lies behind is compared when memory is freed. */
enum { FRONT = 64, BEHIND = 16 };

static void *exact_alloc(void *user, size_t alignment, size_t size)
{
    (void)user;
    (void)alignment; /* At most 64, and FRONT keeps it. */
    void *base;
    if (posix_memalign(&base, FRONT, FRONT + size + BEHIND) != 0) {
        return NULL;
    }
    memcpy(base, &size, sizeof size);
    memset((char *)base + FRONT + size, FILL_BYTE, BEHIND);
    return (char *)base + FRONT;
}

static void exact_free(void *user, void *memory)
{
    size_t size;
    memcpy(&size, (char *)memory - FRONT, sizeof size);
    *(size_t *)user += !still_filled((char *)memory + size, BEHIND);
    free((char *)memory - FRONT);
}

/* The smallest pages there are: one coordinate, one head, one sink. */
static void test_smallest_pages(void **state)
{
    (void)state;
    static const uint32_t tiny[][3] = {{1, 1, 1}, {1, 2, 1}, {1, 1, 2}, {2, 1, 64}, {3, 1, 1}};
    size_t overruns = 0;
    const tq_allocator hooks = {exact_alloc, exact_free, &overruns};
    tq_context *context = open_context_with(&hooks, NULL);
    struct rng rng = rng_seeded(79);
    for (size_t i = 0; i < sizeof tiny / sizeof tiny[0]; i++) {
        tq_cache_desc desc = cache_desc(1, 1, tiny[i][0], tiny[i][1]);
        desc.sink_tokens = tiny[i][2];
        desc.recent_tokens = TQ_NO_RECENT_TOKENS;
        struct tokens t = tokens_gauss(&rng, &desc, 1, 200);
        float *out = filled(tokens_out_size(&t) * sizeof(float));
        tq_cache *cache = open_cache(context, &desc);
        feed(cache, open_seq(cache), 0, &t, 0, 200, out, NULL);
        assert_int_equal(stats_of(cache).page_bytes, estimate_of(context, &desc, 200));
        tq_cache_destroy(cache);
        assert_int_equal(overruns, 0);
        free(out);
        tokens_free(&t);
    }
    tq_context_destroy(context);
}

/* The estimate is arithmetic: it needs no memory, and knows contexts that no machine holds. */
static void test_estimate_is_free(void **state)
{
    (void)state;
    struct counting_allocator counting = {0};
    const tq_allocator hooks = counting_allocator_hooks(&counting);
    tq_context *context = open_context_with(&hooks, NULL);
    tq_cache_desc desc = cache_desc(80, 8, 128, 0);
    counting.fail_at = 1;
    counting.fail_from = 1;
    const size_t million = estimate_of(context, &desc, 1000000);
    counting.fail_at = 0;
    /* turbo4t: 66 bytes and 2 * 128 / 64 of the mean, for keys and values; the window and the open page in f16. */
    const double per_token = 80 * 8 * 2 * (66.0 + 4.0);
    assert_close((double)million, per_token * 1e6, 0.01 * per_token * 1e6, "bytes of a million tokens");
    tq_context_destroy(context);
}

/* A step of layer 0 that must fail with `expected` and change nothing. */
static void assert_step_fails(tq_cache *cache, struct run *run, const struct tokens *t, size_t first, size_t end,
                              tq_status expected)
{
    const size_t out_size = tokens_out_size(t) * sizeof(float);
    const tq_cache_stats_result stats = stats_of(cache);
    float *out = filled(out_size);
    const tq_kv kv = tokens_kv(t, first, end - first);
    const tq_attention attention = tokens_attention(t, first, end - first, out, NULL);
    assert_status(step(cache, run->seq, 0, &kv, &attention), expected);
    assert_true(still_filled(out, out_size));
    assert_int_equal(tq_seq_length(run->seq, 0), first);
    const tq_cache_stats_result now = stats_of(cache);
    assert_stats_equal(&now, &stats);
    free(out);
}

static void test_memory_limit(void **state)
{
    enum { N = 600, START = 130 };
    struct rng rng = rng_seeded(76);
    tq_cache_desc desc = cache_desc(1, 2, 16, 24);
    desc.k_format = TQ_FORMAT_TURBO4;
    desc.v_format = TQ_FORMAT_TURBO4;
    desc.sink_tokens = 4;
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    tq_cache *unlimited = open_cache(*state, &desc);
    struct run calm = open_run(open_seq(unlimited), &t);
    feed(unlimited, calm.seq, 0, &t, 0, N, calm.out, calm.lse);

    desc.memory_limit = estimate_of(*state, &desc, START) + 1;
    tq_cache *cache = open_cache(*state, &desc);
    assert_int_equal(estimate_of(*state, &desc, N), stats_of(unlimited).page_bytes); /* The limit is no matter. */
    struct run run = open_run(open_seq(cache), &t);
    /* As much as fits, one by one. */
    size_t n = 0;
    for (int full = 0; !full;) {
        tq_kv kv = tokens_kv(&t, n, 1);
        tq_attention attention = tokens_attention(&t, n, 1, run.out, run.lse);
        const tq_status status = step(cache, run.seq, 0, &kv, &attention);
        full = status == TQ_ERR_CAPACITY;
        assert_true(full || status == TQ_OK);
        n += !full;
        assert_int_equal(tq_seq_length(run.seq, 0), n);
        assert_true(stats_of(cache).page_bytes <= desc.memory_limit);
    }
    assert_true(n % TQ_PAGE_TOKENS == 0 && n > 0);
    assert_step_fails(cache, &run, &t, n, n + 1, TQ_ERR_CAPACITY);
    assert_step_fails(cache, &run, &t, n, N, TQ_ERR_CAPACITY);
    const tq_kv kv = tokens_kv(&t, n, 1);
    assert_status(step(cache, run.seq, 0, &kv, NULL), TQ_ERR_CAPACITY);
    assert_runs_equal(&run, &calm, &t, 0, n);

    /* Another sequence finds no room, until the first gives some back. */
    struct run second = open_run(open_seq(cache), &t);
    assert_step_fails(cache, &second, &t, 0, N, TQ_ERR_CAPACITY);
    tq_seq_destroy(run.seq);
    run.seq = NULL;
    feed(cache, second.seq, 0, &t, 0, 64, second.out, second.lse);
    assert_runs_equal(&second, &calm, &t, 0, 64);
    /* A fork takes no pages, but writing into the page it shares does. */
    tq_seq *forks[40];
    struct run fork = open_run(NULL, &t);
    assert_status(tq_seq_truncate(second.seq, 40), TQ_OK);
    size_t refused = 0;
    for (size_t i = 0; i < 40; i++) {
        assert_status(tq_seq_fork(second.seq, 40, &forks[i]), TQ_OK);
        fork.seq = forks[i];
        const tq_kv one = tokens_kv(&t, 40, 1);
        const tq_status status = tq_cache_append(cache, forks[i], 0, &one);
        refused += status == TQ_ERR_CAPACITY;
        assert_true(status == TQ_OK || status == TQ_ERR_CAPACITY);
        assert_int_equal(tq_seq_length(forks[i], 0), status == TQ_OK ? 41 : 40);
        assert_true(stats_of(cache).page_bytes <= desc.memory_limit);
    }
    assert_true(refused > 30);
    tq_seq_destroy(second.seq);
    second.seq = NULL;
    for (size_t i = 0; i < 39; i++) {
        tq_seq_destroy(forks[i]);
    }
    assert_int_equal(tq_seq_length(forks[39], 0), 40);
    feed(cache, forks[39], 0, &t, 40, 60, fork.out, fork.lse); /* It has its page alone now. */
    assert_runs_equal(&fork, &calm, &t, 40, 60);
    fork.seq = NULL;
    close_run(&fork);
    close_run(&second);
    close_run(&run);
    close_run(&calm);
    tq_cache_destroy(cache);
    tq_cache_destroy(unlimited);
    tokens_free(&t);
}

/* With room for the end and one page in passing, a sequence gets there, in whatever steps. */
static void test_limit_is_enough(void **state)
{
    enum { N = 600 };
    static const size_t at_once[] = {1, 13, 64, 100, N};
    struct rng rng = rng_seeded(77);
    tq_cache_desc desc = mixed_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    /* A layer at a time: each may hold one exact page more than in the end. */
    const size_t page_in_passing = estimate_of(*state, &desc, 64);
    const size_t limit = estimate_of(*state, &desc, N) + page_in_passing;
    for (size_t i = 0; i < sizeof at_once / sizeof at_once[0]; i++) {
        desc.memory_limit = limit;
        tq_cache *cache = open_cache(*state, &desc);
        append_all(cache, open_seq(cache), &t, 0, N, at_once[i]);
        tq_cache_destroy(cache);
    }
    tokens_free(&t);
}

/* The n-th allocation of a life fails: the call says so, nothing has changed, and then it succeeds. */
static void test_allocation_failures(void **state)
{
    (void)state;
    enum { N = 330, CUT = 150 };
    static struct counting_allocator counting;
    counting = (struct counting_allocator){0};
    const tq_allocator hooks = counting_allocator_hooks(&counting);
    tq_context *context = open_context_with(&hooks, NULL);
    const size_t idle_blocks = counting.live_blocks;
    struct rng rng = rng_seeded(78);
    tq_cache_desc desc = mixed_desc();
    desc.sink_tokens = 4;
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);

    tq_cache *calm_cache = open_cache(context, &desc);
    struct run calm = open_run(open_seq(calm_cache), &t);
    feed(calm_cache, calm.seq, 0, &t, 0, N, calm.out, calm.lse);
    tq_seq_destroy(calm.seq);
    calm.seq = NULL;
    tq_cache_destroy(calm_cache);
    assert_int_equal(counting.live_blocks, idle_blocks);

    /* Tries a call with the first, second, ... allocation failing until it succeeds. */
#define FAIL_EVERY(call, unchanged)                                                                                    \
    do {                                                                                                               \
        for (size_t nth = 1;; nth++) {                                                                                 \
            counting.fail_at = counting.calls + nth;                                                                   \
            counting.fail_from = nth % 2 == 0;                                                                         \
            const tq_status status = (call);                                                                           \
            const int met = counting.calls >= counting.fail_at;                                                        \
            counting.fail_at = 0;                                                                                      \
            if (!met) {                                                                                                \
                assert_status(status, TQ_OK);                                                                          \
                break;                                                                                                 \
            }                                                                                                          \
            assert_status(status, TQ_ERR_OUT_OF_MEMORY);                                                               \
            assert_true(unchanged);                                                                                    \
        }                                                                                                              \
    } while (0)

    tq_cache *cache = NULL;
    FAIL_EVERY(tq_cache_create(context, &desc, &cache), cache == NULL);
    struct run run = open_run(NULL, &t);
    FAIL_EVERY(tq_seq_create(cache, &run.seq), run.seq == NULL && stats_of(cache).n_sequences == 0);
    tq_kv kv = tokens_kv(&t, 0, CUT);
    tq_attention attention = tokens_attention(&t, 0, CUT, run.out, run.lse);
    const size_t out_size = tokens_out_size(&t) * sizeof(float);
    FAIL_EVERY(tq_cache_forward(cache, run.seq, 0, &kv, &attention),
               tq_seq_length(run.seq, 0) == 0 && stats_of(cache).page_bytes == 0 && still_filled(run.out, out_size));
    for (uint32_t layer = 1; layer < 3; layer++) {
        FAIL_EVERY(tq_cache_append(cache, run.seq, layer, &kv), tq_seq_length(run.seq, layer) == 0);
    }
    tq_seq *fork = NULL;
    const size_t bytes = stats_of(cache).page_bytes;
    FAIL_EVERY(tq_seq_fork(run.seq, CUT, &fork), fork == NULL && stats_of(cache).n_sequences == 1);
    /* Shared pages are copied now. */
    kv = tokens_kv(&t, CUT, N - CUT);
    attention = tokens_attention(&t, CUT, N - CUT, run.out, run.lse);
    FAIL_EVERY(tq_cache_forward(cache, run.seq, 0, &kv, &attention),
               tq_seq_length(run.seq, 0) == CUT && stats_of(cache).page_bytes == bytes);
    assert_runs_equal(&run, &calm, &t, 0, N);
    struct run forked = open_run(fork, &t);
    attention = tokens_attention(&t, CUT, N - CUT, forked.out, forked.lse);
    FAIL_EVERY(tq_cache_forward(cache, fork, 0, &kv, &attention), tq_seq_length(fork, 0) == CUT);
    assert_runs_equal(&forked, &calm, &t, CUT, N);
    attention = tokens_attention(&t, N - 5, 5, forked.out, forked.lse);
    FAIL_EVERY(tq_cache_attend(cache, fork, 0, &attention), tq_seq_length(fork, 0) == N);
    assert_runs_equal(&forked, &calm, &t, CUT, N);
    /* Truncation cannot fail, also where pages are shared. */
    counting.fail_at = counting.calls + 1;
    counting.fail_from = 1;
    assert_status(tq_seq_truncate(fork, CUT - 20), TQ_OK);
    assert_status(tq_seq_truncate(run.seq, 10), TQ_OK);
    counting.fail_at = 0;
#undef FAIL_EVERY

    close_run(&forked);
    run.seq = NULL; /* Goes with the cache. */
    tq_cache_destroy(cache);
    assert_int_equal(counting.live_blocks, idle_blocks);
    close_run(&run);
    close_run(&calm);
    tokens_free(&t);
    tq_context_destroy(context);
    assert_int_equal(counting.live_blocks, 0);
    assert_int_equal(counting.broken_promises, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_estimate),         cmocka_unit_test(test_smallest_pages),
        cmocka_unit_test(test_estimate_is_free), cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_limit_is_enough),  cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
