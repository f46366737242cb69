/* SPDX-License-Identifier: MIT
 *
 * Thousands of random legal calls on a few sequences of one cache, each compared with the plain model; some of them run
 * out of memory, and must then have done nothing. */
#include "cache_model.h"

#include <stdio.h>

enum { MAX_SEQS = 6, MAX_LENGTH = 420, MAX_CALL = 150, MAX_Q_HEADS = 8 };

struct pair {
    tq_seq *seq;
    struct model_seq *model;
};

struct world {
    struct rng rng;
    const char *name;
    tq_cache_desc desc;
    uint32_t n_q_heads;
    struct counting_allocator counting;
    tq_context *context;
    tq_cache *cache;
    struct model *model;
    struct pair pairs[MAX_SEQS];
    size_t n_pairs;
    size_t done[10]; /* Calls of each kind that succeeded. */
    size_t failed;
    double tolerance;
    const tq_context *plain; /* Another context, whose memory does not run out. */
    struct adoption adoption;
};

enum kind { FORWARD, APPEND, ATTEND, FORK, TRUNCATE, REMOVE, DEMOTE, SHIFT, RELOAD, DESTROY };

static size_t below(struct world *w, size_t n)
{
    return (size_t)(rng_word(&w->rng) % n);
}

/* Tokens that all layers of a sequence have. */
static size_t shared_length(const struct world *w, const struct pair *pair)
{
    size_t shortest = SIZE_MAX;
    for (uint32_t layer = 0; layer < w->desc.n_layers; layer++) {
        const size_t length = tq_seq_length(pair->seq, layer);
        assert_int_equal(length, model_seq_length(pair->model, layer));
        shortest = length < shortest ? length : shortest;
    }
    return shortest;
}

/* One in five calls meets an allocator that fails soon. */
static void arm(struct world *w)
{
    if (below(w, 5) == 0) {
        w->counting.fail_at = w->counting.calls + 1 + below(w, 8);
        w->counting.fail_from = (int)below(w, 2);
    }
}

/* Did the call fail for want of memory? It may not fail otherwise. */
static int failed(struct world *w, tq_status status)
{
    const int met = w->counting.fail_at != 0 && w->counting.calls >= w->counting.fail_at;
    w->counting.fail_at = 0;
    assert_status(status, met ? TQ_ERR_OUT_OF_MEMORY : TQ_OK);
    w->failed += (size_t)met;
    return met;
}

static void random_attention(struct world *w, tq_attention *attention, float *logits)
{
    if (below(w, 3) == 0) {
        attention->sliding_window = 1 + below(w, 200);
    }
    if (below(w, 3) == 0) {
        attention->soft_cap = (float)(1 + 5 * rng_uniform(&w->rng));
    }
    if (below(w, 3) == 0) {
        for (uint32_t h = 0; h < w->n_q_heads; h++) {
            logits[h] = (float)rng_gauss(&w->rng);
        }
        attention->sink_logits = logits;
    }
}

static void step_randomly(struct world *w, struct pair *pair, enum kind kind)
{
    const uint32_t layer = (uint32_t)below(w, w->desc.n_layers);
    const size_t length = tq_seq_length(pair->seq, layer);
    const size_t in_page = length == 0 ? 0 : (length - 1) % TQ_PAGE_TOKENS + 1;
    size_t n = kind == ATTEND ? below(w, in_page + 1) : below(w, below(w, 8) ? 24 : MAX_CALL);
    if (kind != ATTEND && length + n > MAX_LENGTH) {
        n = MAX_LENGTH - length;
    }
    struct tokens t = tokens_gauss(&w->rng, &w->desc, w->n_q_heads, n);
    float logits[MAX_Q_HEADS];
    const size_t out_size = tokens_out_size(&t) * sizeof(float);
    float *out = filled(out_size);
    float *lse = filled(n * w->n_q_heads * sizeof(float));
    const tq_kv kv = tokens_kv(&t, 0, n);
    tq_attention attention = tokens_attention(&t, 0, n, out, below(w, 2) ? lse : NULL);
    random_attention(w, &attention, logits);
    const tq_kv *stores = kind == ATTEND ? NULL : &kv;
    const tq_attention *attends = kind == APPEND ? NULL : &attention;
    const tq_cache_stats_result stats = stats_of(w->cache);
    arm(w);
    if (failed(w, step(w->cache, pair->seq, layer, stores, attends))) {
        assert_true(still_filled(out, out_size));
        assert_int_equal(tq_seq_length(pair->seq, layer), length);
        const tq_cache_stats_result now = stats_of(w->cache);
        assert_stats_equal(&now, &stats);
    } else {
        model_step(pair->model, layer, stores, attends, w->tolerance, w->name);
        w->done[kind]++;
    }
    free(lse);
    free(out);
    tokens_free(&t);
}

static void fork_randomly(struct world *w, const struct pair *parent)
{
    if (w->n_pairs == MAX_SEQS) {
        return;
    }
    const size_t length = shared_length(w, parent);
    const size_t n = below(w, 2) ? length : below(w, length + 1);
    tq_seq *seq = NULL;
    arm(w);
    if (failed(w, tq_seq_fork(parent->seq, n, &seq))) {
        assert_null(seq);
        return;
    }
    w->pairs[w->n_pairs++] = (struct pair){seq, model_seq_fork(parent->model, n)};
    w->done[FORK]++;
}

/* Mostly a few tokens, as speculative decoding does. */
static void truncate_randomly(struct world *w, struct pair *pair)
{
    const size_t length = shared_length(w, pair);
    const size_t few = below(w, 10);
    const size_t n = below(w, 3) ? length - (few < length ? few : length) : below(w, length + 1);
    w->counting.fail_at = w->counting.calls + 1; /* It needs no memory. */
    w->counting.fail_from = 1;
    assert_status(tq_seq_truncate(pair->seq, n), TQ_OK);
    w->counting.fail_at = 0;
    model_seq_truncate(pair->model, n);
    w->done[TRUNCATE]++;
}

/* What was encoded anew is compared, and taken over. */
static void adopt(struct world *w, struct pair *pair)
{
    struct bytes bytes = save_bytes(w->cache, pair->seq);
    struct saved *saved = saved_open(w->plain, &bytes);
    model_adopt(pair->model, saved, &w->adoption);
    saved_close(saved);
    bytes_free(&bytes);
}

static void remove_randomly(struct world *w, struct pair *pair)
{
    const size_t pages = shared_length(w, pair) / TQ_PAGE_TOKENS;
    const size_t first = pages == 0 ? 0 : below(w, pages);
    const size_t n = pages == 0 ? 0 : 1 + below(w, pages - first);
    w->counting.fail_at = w->counting.calls + 1; /* It needs no memory. */
    w->counting.fail_from = 1;
    assert_status(tq_seq_remove(pair->seq, first * TQ_PAGE_TOKENS, n * TQ_PAGE_TOKENS), TQ_OK);
    w->counting.fail_at = 0;
    model_seq_remove(pair->model, first * TQ_PAGE_TOKENS, n * TQ_PAGE_TOKENS);
    w->done[REMOVE] += n > 0;
}

/* Without memory some pages are done; a second call does the others. */
static void demote_randomly(struct world *w, struct pair *pair)
{
    static const tq_format bits[] = {TQ_FORMAT_DEFAULT, TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO1,
                                     TQ_FORMAT_F16};
    tq_tier tiers[2];
    for (size_t i = 0; i < 2; i++) {
        tiers[i].min_age = i * 64 + below(w, 64) * (1 + i);
        tiers[i].formats.k_format = w->desc.flags == NO_MEANS ? bits[below(w, 5)] : TQ_FORMAT_TURBO8;
        tiers[i].formats.v_format = w->desc.flags == NO_MEANS ? bits[below(w, 5)] : TQ_FORMAT_TURBO8;
    }
    const size_t n = 1 + below(w, 2);
    arm(w);
    if (failed(w, tq_cache_demote(w->cache, pair->seq, tiers, n))) {
        assert_status(tq_cache_demote(w->cache, pair->seq, tiers, n), TQ_OK);
    }
    model_demote(pair->model, tiers, n);
    adopt(w, pair);
    w->done[DEMOTE]++;
}

static void shift_randomly(struct world *w, struct pair *pair)
{
    const uint32_t layer = (uint32_t)below(w, w->desc.n_layers);
    const size_t end = below(w, tq_seq_length(pair->seq, layer) + 1);
    const size_t first = below(w, end + 1);
    const int64_t delta = (int64_t)below(w, 400) - 200;
    tq_rope rope = TQ_ROPE_INIT;
    rope.pairing = (tq_rope_pairing)below(w, 2);
    rope.n_dims = (uint32_t)below(w, 2) * 4;
    arm(w);
    if (!failed(w, tq_cache_rope_shift(w->cache, pair->seq, layer, first, end, delta, &rope))) {
        model_rope_shift(pair->model, layer, first, end, delta, &rope);
        adopt(w, pair);
        w->done[SHIFT]++;
    }
}

/* The loaded sequence goes on in place of the saved one. */
static void reload(struct world *w, struct pair *pair)
{
    struct bytes bytes = save_bytes(w->cache, pair->seq);
    const tq_reader reader = bytes_reader(&bytes);
    tq_seq *seq = NULL;
    arm(w);
    if (!failed(w, tq_cache_load(w->cache, &reader, &seq))) {
        struct bytes again = save_bytes(w->cache, seq);
        assert_bytes_equal(&again, &bytes, w->name);
        bytes_free(&again);
        tq_seq_destroy(pair->seq);
        pair->seq = seq;
        w->done[RELOAD]++;
    }
    bytes_free(&bytes);
}

static void destroy(struct world *w, size_t index)
{
    tq_seq_destroy(w->pairs[index].seq);
    model_seq_close(w->pairs[index].model);
    w->pairs[index] = w->pairs[--w->n_pairs];
    w->done[DESTROY]++;
}

static void call_randomly(struct world *w)
{
    static const enum kind often[] = {FORWARD,  FORWARD, FORWARD, FORWARD, FORWARD, FORWARD, APPEND,
                                      APPEND,   APPEND,  ATTEND,  ATTEND,  ATTEND,  FORK,    TRUNCATE,
                                      TRUNCATE, REMOVE,  DEMOTE,  SHIFT,   RELOAD};
    if (w->n_pairs == 0) {
        tq_seq *seq = NULL;
        arm(w);
        if (!failed(w, tq_seq_create(w->cache, &seq))) {
            w->pairs[w->n_pairs++] = (struct pair){seq, model_seq_open(w->model)};
        }
        return;
    }
    const size_t index = below(w, w->n_pairs);
    struct pair *pair = &w->pairs[index];
    const enum kind kind = below(w, 60) == 0 ? DESTROY : often[below(w, sizeof often / sizeof often[0])];
    switch (kind) {
    case FORK:
        fork_randomly(w, pair);
        break;
    case TRUNCATE:
        truncate_randomly(w, pair);
        break;
    case REMOVE:
        remove_randomly(w, pair);
        break;
    case DEMOTE:
        demote_randomly(w, pair);
        break;
    case SHIFT:
        shift_randomly(w, pair);
        break;
    case RELOAD:
        reload(w, pair);
        break;
    case DESTROY:
        destroy(w, index);
        break;
    default:
        step_randomly(w, pair, kind);
    }
    assert_int_equal(stats_of(w->cache).n_sequences, w->n_pairs);
}

static void run_world(const tq_context *plain, const tq_cache_desc *desc, uint32_t group, uint64_t seed, size_t n_calls,
                      double tolerance)
{
    struct world w = {.rng = rng_seeded(seed),
                      .desc = *desc,
                      .n_q_heads = group * desc->n_kv_heads,
                      .tolerance = tolerance,
                      .plain = plain};
    char name[64];
    snprintf(name, sizeof name, "world %llu", (unsigned long long)seed);
    w.name = name;
    const tq_allocator hooks = counting_allocator_hooks(&w.counting);
    w.context = open_context_with(&hooks, NULL);
    const size_t idle_blocks = w.counting.live_blocks;
    w.cache = open_cache(w.context, desc);
    w.model = model_open(plain, desc);
    for (size_t i = 0; i < n_calls; i++) {
        call_randomly(&w);
    }
    for (int kind = FORWARD; kind <= DESTROY; kind++) {
        assert_true(w.done[kind] > n_calls / 1000);
    }
    assert_true(w.failed > n_calls / 1000);
    /* Rounding decoded vectors anew, hardly any code differs. */
    assert_true(w.adoption.compared > 0);
    assert_true(desc->flags != NO_MEANS || (double)w.adoption.equal > 0.95 * (double)w.adoption.compared);
    while (w.n_pairs > 0) {
        destroy(&w, w.n_pairs - 1);
    }
    assert_int_equal(stats_of(w.cache).page_bytes, 0);
    tq_cache_destroy(w.cache);
    assert_int_equal(w.counting.live_blocks, idle_blocks);
    model_close(w.model);
    tq_context_destroy(w.context);
    assert_int_equal(w.counting.live_blocks, 0);
    assert_int_equal(w.counting.broken_promises, 0);
}

/* Quick formats, thousands of calls. */
static void test_random_calls(void **state)
{
    static const tq_layer_formats layers[] = {{TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO3}, {TQ_FORMAT_TURBO2, TQ_FORMAT_F16}};
    static const struct {
        uint32_t recent, sinks, heads, group;
    } worlds[] = {{0, 0, 2, 2}, {TQ_NO_RECENT_TOKENS, 4, 1, 4}, {100, 64, 2, 1}, {64, 3, 1, 7}};
    for (size_t i = 0; i < sizeof worlds / sizeof worlds[0]; i++) {
        tq_cache_desc desc = cache_desc(2, worlds[i].heads, 16, 8);
        desc.layers = layers;
        desc.flags = NO_MEANS;
        desc.recent_tokens = worlds[i].recent;
        desc.sink_tokens = worlds[i].sinks;
        desc.seed = i;
        run_world(*state, &desc, worlds[i].group, 100 + i, quick() ? 600 : 3000, 1e-3);
    }
}

static void test_random_calls_trellis(void **state)
{
    tq_cache_desc desc = cache_desc(1, 1, 16, 0);
    desc.flags = NO_MEANS;
    desc.sink_tokens = 2;
    desc.recent_tokens = TQ_NO_RECENT_TOKENS;
    run_world(*state, &desc, 2, 200, quick() ? 700 : 2000, 1e-3);
}

/* With means the cache's codes differ from the model's. Eight bits are off by 1/100 of a vector at most; so scores are,
 * in units of |q| |k| / sqrt(dim), which is 4 for Gaussians of 16 coordinates, and an output moves by twice the error
 * of its scores. */
static void test_random_calls_means(void **state)
{
    static const tq_layer_formats layers[] = {{TQ_FORMAT_TURBO8, TQ_FORMAT_TURBO8}, {TQ_FORMAT_F16, TQ_FORMAT_F16}};
    tq_cache_desc desc = cache_desc(2, 1, 16, 8);
    desc.layers = layers;
    desc.sink_tokens = 5;
    run_world(*state, &desc, 2, 300, quick() ? 600 : 3000, 0.08);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_calls),
        cmocka_unit_test(test_random_calls_trellis),
        cmocka_unit_test(test_random_calls_means),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
