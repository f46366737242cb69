/* SPDX-License-Identifier: MIT
 *
 * Sequences: forks that share pages and diverge, drafts that are rejected, truncation. */
#include "cache_support.h"

/* Tokens that are those of `t` before `first` and new ones from there. */
static struct tokens diverged(struct rng *rng, const tq_cache_desc *desc, const struct tokens *t, size_t first)
{
    struct tokens other = tokens_gauss(rng, desc, t->n_q_heads, t->n);
    memcpy(other.k, t->k, first * t->n_kv_heads * t->dim_k * sizeof(float));
    memcpy(other.v, t->v, first * t->n_kv_heads * t->dim_v * sizeof(float));
    memcpy(other.q, t->q, first * t->n_q_heads * t->dim_k * sizeof(float));
    return other;
}

static const size_t cuts[] = {0, 1, 3, 63, 64, 65, 100, 127, 128, 129, 140, 190, 192, 200};

/* A parent, a fork at `cut` and a fork of the fork diverge; each is as if it were alone. `order` is that in which they
 * go. */
static void check_forks(const tq_context *context, const tq_cache_desc *desc, size_t cut, size_t order)
{
    enum { PARENT = 200, N = 330 };
    struct rng rng = rng_seeded(72 + cut);
    struct tokens t[3];
    t[0] = tokens_gauss(&rng, desc, 4, N);
    t[1] = diverged(&rng, desc, &t[0], cut);
    t[2] = diverged(&rng, desc, &t[1], cut + 20);
    tq_cache *cache = open_cache(context, desc);

    struct run family[3];
    family[0] = open_run(open_seq(cache), &t[0]);
    run_on(cache, &family[0], &t[0], 0, PARENT);
    const size_t before = stats_of(cache).page_bytes;
    tq_seq *fork = NULL;
    assert_status(tq_seq_fork(family[0].seq, cut, &fork), TQ_OK);
    assert_int_equal(tq_seq_length(fork, 2), cut);
    assert_true(stats_of(cache).page_bytes - before <= (cut ? estimate_of(context, desc, cut) / 2 : 0));
    family[1] = open_run(fork, &t[1]);
    run_on(cache, &family[1], &t[1], cut, cut + 20);
    assert_status(tq_seq_fork(family[1].seq, cut + 20, &fork), TQ_OK);
    family[2] = open_run(fork, &t[2]);
    /* In turns. */
    run_on(cache, &family[2], &t[2], cut + 20, cut + 50);
    run_on(cache, &family[0], &t[0], PARENT, 270);
    run_on(cache, &family[1], &t[1], cut + 20, 300);
    run_on(cache, &family[2], &t[2], cut + 50, N);
    run_on(cache, &family[0], &t[0], 270, N);
    run_on(cache, &family[1], &t[1], 300, N);
    assert_int_equal(stats_of(cache).n_sequences, 3);

    /* Alone. A fork within encoded pages of its parent is compared where the promise holds: with what the same cuts
     * give a sequence that is truncated instead of forked. */
    static const size_t starts[] = {0, 0, 20};
    for (size_t s = 0; s < 3; s++) {
        tq_cache *own_cache = open_cache(context, desc);
        struct run alone = open_run(open_seq(own_cache), &t[s]);
        run_on(own_cache, &alone, &t[0], 0, s ? PARENT : N);
        if (s) {
            assert_status(tq_seq_truncate(alone.seq, cut), TQ_OK);
            run_on(own_cache, &alone, &t[s], cut, N);
        }
        assert_runs_equal(&family[s], &alone, &t[s], s ? cut + starts[s] : 0, N);
        close_run(&alone);
        tq_cache_destroy(own_cache);
    }

    static const size_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t s = 0; s < 3; s++) {
        struct run *gone = &family[orders[order][s]];
        close_run(gone);
        assert_int_equal(stats_of(cache).n_sequences, 2 - s);
    }
    assert_int_equal(stats_of(cache).page_bytes, 0);
    tq_cache_destroy(cache);
    for (size_t s = 0; s < 3; s++) {
        tokens_free(&t[s]);
    }
}

static void test_forks(void **state)
{
    static const uint32_t windows[] = {0, TQ_NO_RECENT_TOKENS, 128};
    static const uint32_t sinks[] = {0, 4, 64};
    for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c += quick() ? 2 : 1) {
        for (size_t w = 0; w < (quick() ? 1 : 3); w++) {
            tq_cache_desc desc = mixed_desc();
            desc.recent_tokens = windows[(w + c) % 3];
            desc.sink_tokens = sinks[c % 3];
            check_forks(*state, &desc, cuts[c], (3 * c + w) % 6);
        }
    }
}

/* A fork whose parent goes on, and goes, still answers; 100 forks of one prompt take little more than the prompt. */
static void test_many_forks(void **state)
{
    enum { PROMPT = 320, FORKS = 100 };
    struct rng rng = rng_seeded(73);
    const tq_cache_desc desc = mixed_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 2, PROMPT + 1);
    tq_cache *cache = open_cache(*state, &desc);
    struct run parent = open_run(open_seq(cache), &t);
    run_on(cache, &parent, &t, 0, PROMPT);
    const size_t prompt_bytes = stats_of(cache).page_bytes;
    tq_seq *forks[FORKS];
    for (size_t i = 0; i < FORKS; i++) {
        assert_status(tq_seq_fork(parent.seq, PROMPT, &forks[i]), TQ_OK);
    }
    assert_int_equal(stats_of(cache).page_bytes, prompt_bytes);
    run_on(cache, &parent, &t, PROMPT, PROMPT + 1);
    struct run child = open_run(forks[50], &t);
    tq_seq_destroy(parent.seq);
    run_on(cache, &child, &t, PROMPT, PROMPT + 1);
    assert_runs_equal(&child, &parent, &t, PROMPT, PROMPT + 1);
    parent.seq = NULL;
    close_run(&parent);
    close_run(&child);
    tq_cache_destroy(cache); /* And the 99 others with it. */
    tokens_free(&t);
}

/* Drafted tokens that are rejected leave no trace: neither in outputs nor in memory. */
static void check_rejection(const tq_context *context, const tq_cache_desc *desc, size_t cut, size_t drafted)
{
    enum { N = 330 };
    struct rng rng = rng_seeded(74 + cut + drafted);
    struct tokens t = tokens_gauss(&rng, desc, 4, N);
    struct tokens draft = diverged(&rng, desc, &t, cut);
    tq_cache *cache = open_cache(context, desc);
    struct run direct = open_run(open_seq(cache), &t);
    run_on(cache, &direct, &t, 0, N);
    struct run rejected = open_run(open_seq(cache), &t);
    run_on(cache, &rejected, &t, 0, cut);
    run_on(cache, &rejected, &draft, cut, cut + drafted);
    assert_status(tq_seq_truncate(rejected.seq, cut), TQ_OK);
    assert_int_equal(tq_seq_length(rejected.seq, 2), cut);
    run_on(cache, &rejected, &t, cut, N);
    assert_runs_equal(&rejected, &direct, &t, cut, N);
    close_run(&direct);
    assert_int_equal(stats_of(cache).page_bytes, estimate_of(context, desc, N));
    close_run(&rejected);
    tq_cache_destroy(cache);
    tokens_free(&draft);
    tokens_free(&t);
}

/* The draft stays in the page of the newest token, so nothing leaves the window. */
static void test_rejected_in_page(void **state)
{
    static const size_t drafts[][2] = {{0, 64}, {0, 5}, {1, 63}, {60, 4}, {129, 63}, {200, 8}, {191, 1}, {192, 64}};
    for (size_t i = 0; i < sizeof drafts / sizeof drafts[0]; i++) {
        tq_cache_desc desc = mixed_desc();
        desc.sink_tokens = i % 2 ? 4 : 0;
        desc.recent_tokens = i % 3 == 2 ? TQ_NO_RECENT_TOKENS : 0;
        check_rejection(*state, &desc, drafts[i][0], drafts[i][1]);
    }
}

/* The draft begins a page, so that an old page leaves the window; taking it back brings that page back. */
static void test_rejected_across_pages(void **state)
{
    static const size_t drafts[][2] = {{60, 10}, {64, 5},  {127, 2},  {127, 64}, {128, 1},
                                       {190, 8}, {256, 5}, {65, 127}, {130, 62}, {128, 128}};
    for (size_t i = 0; i < sizeof drafts / sizeof drafts[0]; i++) {
        tq_cache_desc desc = mixed_desc();
        desc.sink_tokens = i % 2 ? 4 : 0;
        desc.recent_tokens = i % 3 == 2 ? TQ_NO_RECENT_TOKENS : i % 3 == 1 ? 128 : 0;
        check_rejection(*state, &desc, drafts[i][0], drafts[i][1]);
    }
}

/* Truncated to nothing, a sequence is as new; truncated anywhere, it gives memory back and goes on. */
static void test_truncate(void **state)
{
    enum { N = 300 };
    struct rng rng = rng_seeded(75);
    const tq_cache_desc desc = mixed_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 4, N);
    struct tokens other = tokens_gauss(&rng, &desc, 4, N);
    tq_cache *cache = open_cache(*state, &desc);
    struct run direct = open_run(open_seq(cache), &t);
    run_on(cache, &direct, &t, 0, N);
    tq_cache *second = open_cache(*state, &desc);
    struct run again = open_run(open_seq(second), &t);
    run_on(second, &again, &other, 0, N);
    size_t bytes = stats_of(second).page_bytes;
    assert_status(tq_seq_truncate(again.seq, N), TQ_OK); /* Nothing to do. */
    assert_int_equal(stats_of(second).page_bytes, bytes);
    for (size_t n = N; n-- > 0;) {
        assert_status(tq_seq_truncate(again.seq, n), TQ_OK);
        assert_true(stats_of(second).page_bytes <= bytes);
        bytes = stats_of(second).page_bytes;
        assert_int_equal(tq_seq_length(again.seq, 1), n);
    }
    assert_int_equal(bytes, 0);
    run_on(second, &again, &t, 0, N);
    assert_runs_equal(&again, &direct, &t, 0, N);
    assert_int_equal(stats_of(second).page_bytes, stats_of(cache).page_bytes);
    close_run(&direct);
    close_run(&again);
    tq_cache_destroy(second);
    tq_cache_destroy(cache);
    tokens_free(&other);
    tokens_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forks),
        cmocka_unit_test(test_many_forks),
        cmocka_unit_test(test_rejected_in_page),
        cmocka_unit_test(test_rejected_across_pages),
        cmocka_unit_test(test_truncate),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
