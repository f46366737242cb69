/* SPDX-License-Identifier: MIT
 *
 * Keys at other positions: tq_cache_rope_shift against RoPE in double precision, and tq_seq_remove. What the cache
 * holds is read from what it saves. */
#include "cache_support.h"
#include "double_reference.h"
#include "saved_support.h"

#include <math.h>
#include <stdio.h>

enum { N = 300, DIM = 32, DIM_V = 8 };

static double norm_of_doubles(const double *x, size_t n)
{
    double sum = 0;
    for (size_t j = 0; j < n; j++) {
        sum += x[j] * x[j];
    }
    return sqrt(sum);
}

/* What is in a sequence. */
struct view {
    struct bytes bytes;
    struct saved *saved;
};

static struct view look_into(const tq_context *context, const tq_cache *cache, const tq_seq *seq)
{
    struct view v = {.bytes = save_bytes(cache, seq)};
    v.saved = saved_open(context, &v.bytes);
    return v;
}

static void close_view(struct view *v)
{
    saved_close(v->saved);
    bytes_free(&v->bytes);
}

/* Root of the squared error of all encoded keys of a layer, relative to their size, as they came from `t`. */
static double encoded_error(const struct saved *saved, uint32_t layer, const struct tokens *t)
{
    double error = 0;
    double power = 0;
    for (size_t i = 0; i < saved->layers[layer].n_tokens * t->n_kv_heads; i++) {
        float x[DIM];
        const int there =
            saved_vector(saved, layer, i / t->n_kv_heads, (uint32_t)(i % t->n_kv_heads), 0, SAVED_ENCODED, x);
        for (size_t j = 0; there && j < t->dim_k; j++) {
            error += pow((double)x[j] - (double)t->k[i * t->dim_k + j], 2);
            power += pow((double)t->k[i * t->dim_k + j], 2);
        }
    }
    return power > 0 ? sqrt(error / power) : 0;
}

/* One part of a key before and after tokens [first, end) moved. Exact ones and f16 are turned and rounded to f16 once,
 * to 2^-11 of the pair, which is at most the whole key; other codes are compared in the mean of the page. */
static void compare_key(const struct view *before, const struct view *after, uint32_t layer, size_t token,
                        uint32_t head, uint32_t part, int moved, const tq_rope *rope, double delta, double *error,
                        double *power)
{
    float x[DIM];
    float y[DIM];
    double expected[DIM];
    const struct saved_page *page = &before->saved->layers[layer].pages[token / TQ_PAGE_TOKENS];
    const int tight = part != SAVED_ENCODED || page->formats[0] == TQ_FORMAT_F16;
    assert_true(saved_vector(after->saved, layer, token, head, 0, part, y));
    /* Codes are made of what is exact, if it is there. */
    assert_true((part == SAVED_ENCODED && saved_vector(before->saved, layer, token, head, 0, SAVED_EXACT, x)) ||
                saved_vector(before->saved, layer, token, head, 0, part, x));
    for (size_t j = 0; j < DIM; j++) {
        expected[j] = (double)x[j];
    }
    if (moved) {
        turn_in_double(rope, DIM, delta, expected);
    }
    const double size = norm_of_doubles(expected, DIM);
    for (size_t j = 0; j < DIM; j++) {
        if (tight) {
            assert_close((double)y[j], expected[j], moved ? 0x1.01p-11 * size : 0,
                         "layer %u, token %zu, head %u, part %u, coordinate %zu", layer, token, head, part, j);
        }
        *error += pow((double)y[j] - expected[j], 2);
    }
    *power += size * size;
}

/* Layer `layer` with tokens [first, end) moved; `format_error` is what encoding costs its keys. */
static void compare_layer(const struct view *before, const struct view *after, uint32_t layer, size_t first, size_t end,
                          const tq_rope *rope, double delta, double format_error)
{
    const struct saved_layer *l = &before->saved->layers[layer];
    assert_int_equal(after->saved->layers[layer].section_bytes, l->section_bytes);
    for (size_t p = 0; p < l->n_pages; p++) {
        const size_t begin = p * TQ_PAGE_TOKENS;
        const size_t behind = begin + TQ_PAGE_TOKENS < l->n_tokens ? begin + TQ_PAGE_TOKENS : l->n_tokens;
        const struct saved_page *page = &l->pages[p];
        const struct saved_page *now = &after->saved->layers[layer].pages[p];
        assert_memory_equal(before->bytes.data + page->at, after->bytes.data + now->at, SAVED_PAGE);
        if (end <= begin || first >= behind || first == end) { /* Not touched. */
            const size_t next = p + 1 < l->n_pages ? page[1].at : l->section_at + l->section_bytes - SAVED_CHECKSUM;
            assert_memory_equal(before->bytes.data + page->at, after->bytes.data + now->at, next - page->at);
            continue;
        }
        double error = 0;
        double power = 0;
        double unused = 0;
        for (size_t i = begin * before->saved->n_kv_heads; i < behind * before->saved->n_kv_heads; i++) {
            const size_t token = i / before->saved->n_kv_heads;
            const uint32_t head = (uint32_t)(i % before->saved->n_kv_heads);
            for (uint32_t part = SAVED_EXACT; part <= SAVED_SINKS; part *= 2) {
                float x[2][DIM];
                const int there = saved_vector(before->saved, layer, token, head, 1, part, x[0]);
                assert_int_equal(saved_vector(after->saved, layer, token, head, 1, part, x[1]), there);
                if (there) {
                    assert_memory_equal(x[0], x[1], DIM_V * sizeof(float));
                    compare_key(before, after, layer, token, head, part, token >= first && token < end, rope, delta,
                                part == SAVED_ENCODED ? &error : &unused, part == SAVED_ENCODED ? &power : &unused);
                }
            }
        }
        /* A page is a sample of the format's error; f16 between decoding and encoding costs 2^-11. */
        assert_close(sqrt(error), 0, sqrt(power) * (1.15 * format_error + 0x1p-11), "layer %u, page %zu", layer, p);
    }
}

static const tq_layer_formats layers[] = {{TQ_FORMAT_F16, TQ_FORMAT_TURBO2},
                                          {TQ_FORMAT_TURBO4T, TQ_FORMAT_TURBO2},
                                          {TQ_FORMAT_TURBO4, TQ_FORMAT_F16},
                                          {TQ_FORMAT_TURBO8, TQ_FORMAT_TURBO2}};
enum { N_LAYERS = 4 };

static tq_cache_desc rope_desc(void)
{
    tq_cache_desc desc = cache_desc(N_LAYERS, 2, DIM, DIM_V);
    desc.layers = layers;
    desc.sink_tokens = 4;
    desc.effort = TQ_EFFORT_FAST;
    return desc;
}

/* Shifts layer after layer, and compares all layers each time. */
static void check_shift(const tq_context *context, tq_cache *cache, tq_seq *seq, const struct tokens *t, size_t first,
                        size_t end, int64_t delta, const tq_rope *rope)
{
    struct view before = look_into(context, cache, seq);
    double errors[N_LAYERS];
    for (uint32_t layer = 0; layer < N_LAYERS; layer++) {
        errors[layer] = encoded_error(before.saved, layer, t);
    }
    for (uint32_t layer = 0; layer < N_LAYERS; layer++) {
        assert_status(tq_cache_rope_shift(cache, seq, layer, first, end, delta, rope), TQ_OK);
        struct view after = look_into(context, cache, seq);
        for (uint32_t other = 0; other < N_LAYERS; other++) {
            compare_layer(&before, &after, other, other <= layer ? first : 0, other <= layer ? end : 0, rope,
                          (double)delta, errors[other]);
        }
        close_view(&after);
    }
    close_view(&before);
}

/* All kinds of RoPE, ranges and pages. */
static void test_shift(void **state)
{
    static const float factors[DIM / 2] = {1, 1, 1, 1.5F, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8, 8, 8};
    static const tq_rope ropes[] = {
        TQ_ROPE_INIT,
        {sizeof(tq_rope), 0, TQ_ROPE_INTERLEAVED, 0, 0, NULL},
        {sizeof(tq_rope), 16, TQ_ROPE_NEOX, 500000, 0, NULL},
        {sizeof(tq_rope), 20, TQ_ROPE_INTERLEAVED, 100, 0.25F, NULL},
        {sizeof(tq_rope), DIM, TQ_ROPE_NEOX, 500000, 0, factors},
        {sizeof(tq_rope), 2, TQ_ROPE_INTERLEAVED, 0, 1, factors},
    };
    static const struct {
        size_t first, end;
        int64_t delta;
    } shifts[] = {{0, N, 1000},     {0, N, -7},        {10, 20, 64},    {64, 128, -64}, {70, N, -1},
                  {N - 1, N, 5000}, {2, 3, 123456789}, {130, 131, -40}, {50, 50, 9},    {0, N, 0}};
    static const uint32_t windows[] = {0, TQ_NO_RECENT_TOKENS};
    struct rng rng = rng_seeded(601);
    tq_cache_desc desc = rope_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    const size_t n_ropes = sizeof ropes / sizeof ropes[0];
    const size_t n_shifts = sizeof shifts / sizeof shifts[0];
    for (size_t i = 0; i < n_ropes * n_shifts; i += quick() ? 17 : 3) {
        desc.recent_tokens = windows[i / n_shifts % 2];
        desc.flags = (uint32_t)(i % 4);
        tq_cache *cache = open_cache(*state, &desc);
        tq_seq *seq = open_filled(cache, &desc, &t, N);
        check_shift(*state, cache, seq, &t, shifts[i % n_shifts].first, shifts[i % n_shifts].end,
                    shifts[i % n_shifts].delta, &ropes[i / n_shifts]);
        tq_cache_destroy(cache);
    }
    tokens_free(&t);
}

/* Pages that a cut went through: encoded in part, encoded and exact, and codes behind the end. */
static void test_cut_pages(void **state)
{
    static const struct {
        size_t cut, end;
    } cuts[] = {{130, 130}, {130, 150}, {20, 60}, {2, 10}, {190, 200}, {240, 250}};
    const tq_rope rope = TQ_ROPE_INIT;
    struct rng rng = rng_seeded(602);
    tq_cache_desc desc = rope_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        tq_cache *cache = open_cache(*state, &desc);
        tq_seq *seq = open_filled(cache, &desc, &t, N);
        assert_status(tq_seq_truncate(seq, cuts[i].cut), TQ_OK);
        for (uint32_t layer = 0; layer < N_LAYERS; layer++) {
            const tq_kv kv = tokens_kv(&t, cuts[i].cut, cuts[i].end - cuts[i].cut);
            assert_status(tq_cache_append(cache, seq, layer, &kv), TQ_OK);
        }
        check_shift(*state, cache, seq, &t, 0, cuts[i].end, 300, &rope);
        tq_cache_destroy(cache);
    }
    tokens_free(&t);
}

/* Forth and back: f16 is rounded twice, codes are made three times. */
static void test_forth_and_back(void **state)
{
    const tq_rope rope = {sizeof rope, 0, TQ_ROPE_NEOX, 0, 0, NULL};
    struct rng rng = rng_seeded(603);
    tq_cache_desc desc = rope_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    tq_cache *cache = open_cache(*state, &desc);
    tq_seq *seq = open_filled(cache, &desc, &t, N);
    struct view before = look_into(*state, cache, seq);
    for (uint32_t layer = 0; layer < N_LAYERS; layer++) {
        assert_status(tq_cache_rope_shift(cache, seq, layer, 0, N, 12345, &rope), TQ_OK);
        assert_status(tq_cache_rope_shift(cache, seq, layer, 0, N, -12345, &rope), TQ_OK);
    }
    struct view after = look_into(*state, cache, seq);
    for (uint32_t layer = 0; layer < N_LAYERS; layer++) {
        const double once = encoded_error(before.saved, layer, &t);
        assert_close(encoded_error(after.saved, layer, &t), 0, 1.1 * 3 * once + 0x1p-10, "layer %u", layer);
        for (size_t token = 0; token < N; token++) {
            float x[2][DIM];
            if (saved_vector(before.saved, layer, token, 1, 0, SAVED_EXACT, x[0])) {
                assert_true(saved_vector(after.saved, layer, token, 1, 0, SAVED_EXACT, x[1]));
                for (size_t j = 0; j < DIM; j++) {
                    assert_close((double)x[1][j], (double)x[0][j], 0x1.01p-10 * norm_of(x[0], DIM), "token %zu", token);
                }
            }
        }
    }
    close_view(&after);
    close_view(&before);
    tq_cache_destroy(cache);
    tokens_free(&t);
}

/* A fork does not see what its parent does. */
static void test_forks(void **state)
{
    const tq_rope rope = TQ_ROPE_INIT;
    struct rng rng = rng_seeded(604);
    tq_cache_desc desc = rope_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    tq_cache *cache = open_cache(*state, &desc);
    tq_seq *parent = open_filled(cache, &desc, &t, N);
    tq_seq *fork = NULL;
    assert_status(tq_seq_fork(parent, N, &fork), TQ_OK);
    struct bytes before = save_bytes(cache, fork);
    check_shift(*state, cache, parent, &t, 70, 260, 33, &rope);
    assert_status(tq_seq_remove(parent, 0, 128), TQ_OK);
    struct bytes after = save_bytes(cache, fork);
    assert_bytes_equal(&after, &before, "fork");
    bytes_free(&after);
    bytes_free(&before);
    tq_seq_destroy(parent);
    tq_seq_destroy(fork);
    assert_int_equal(stats_of(cache).page_bytes, 0);
    tq_cache_destroy(cache);
    tokens_free(&t);
}

/* Dropped context: what is left, at its new positions, is as if it alone had come. */
static void test_remove_and_shift(void **state)
{
    enum { FIRST = 64, GONE = 128, LEFT = N - GONE };
    const tq_rope rope = {sizeof rope, 0, TQ_ROPE_INTERLEAVED, 0, 0, NULL};
    struct rng rng = rng_seeded(605);
    tq_cache_desc desc = rope_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    struct tokens fresh = tokens_gauss(&rng, &desc, 2, LEFT);
    for (size_t i = 0; i < (size_t)N * 2;
         i++) { /* Bases turned to the old positions, and those left to the new ones. */
        const size_t token = i / 2;
        const size_t left = token < FIRST ? token : token - GONE;
        double x[2][DIM];
        for (size_t j = 0; j < DIM; j++) {
            x[0][j] = x[1][j] = (double)t.k[i * DIM + j];
        }
        turn_in_double(&rope, DIM, (double)token, x[0]);
        turn_in_double(&rope, DIM, (double)left, x[1]);
        for (size_t j = 0; j < DIM; j++) {
            t.k[i * DIM + j] = (float)x[0][j];
            if (token < FIRST || token >= FIRST + GONE) {
                fresh.k[(2 * left + i % 2) * DIM + j] = (float)x[1][j];
            }
        }
        if (token < FIRST || token >= FIRST + GONE) {
            memcpy(fresh.v + (2 * left + i % 2) * DIM_V, t.v + i * DIM_V, DIM_V * sizeof(float));
        }
    }
    tq_cache *cache = open_cache(*state, &desc);
    tq_seq *seq = open_filled(cache, &desc, &t, N);
    tq_seq *expected = open_filled(cache, &desc, &fresh, LEFT);
    struct view whole = look_into(*state, cache, seq);
    assert_status(tq_seq_remove(seq, FIRST, GONE), TQ_OK);
    for (uint32_t layer = 0; layer < N_LAYERS; layer++) {
        assert_int_equal(tq_seq_length(seq, layer), LEFT);
        assert_status(tq_cache_rope_shift(cache, seq, layer, FIRST, LEFT, -GONE, &rope), TQ_OK);
    }
    struct view a = look_into(*state, cache, seq);
    struct view b = look_into(*state, cache, expected);
    for (uint32_t layer = 0; layer < N_LAYERS; layer++) {
        for (size_t token = 0; token < LEFT; token++) {
            float x[2][DIM];
            for (int values = 0; values < 2; values++) {
                for (uint32_t part = SAVED_EXACT; part <= SAVED_SINKS; part *= 2) {
                    if (!saved_vector(a.saved, layer, token, 0, values, part, x[0]) ||
                        !saved_vector(b.saved, layer, token, 0, values, part, x[1])) {
                        continue;
                    }
                    const int tight = part != SAVED_ENCODED || desc.layers[layer].k_format == TQ_FORMAT_F16;
                    for (size_t j = 0; j < (values ? DIM_V : tight ? DIM : 0); j++) {
                        assert_close((double)x[0][j], (double)x[1][j], values ? 0 : 3 * 0x1.01p-11 * norm_of(x[1], DIM),
                                     "layer %u, token %zu, part %u, values %d", layer, token, part, values);
                    }
                }
            }
        }
        assert_close(encoded_error(a.saved, layer, &fresh), 0,
                     1.1 * 2 * encoded_error(whole.saved, layer, &t) + 0x1p-10, "layer %u", layer);
    }
    close_view(&b);
    close_view(&a);
    close_view(&whole);
    tq_cache_destroy(cache);
    tokens_free(&fresh);
    tokens_free(&t);
}

/* Without its first page a sequence has no sinks, and a cut in the page that is first now invents none. */
static void test_remove_sinks(void **state)
{
    struct rng rng = rng_seeded(606);
    tq_cache_desc desc = rope_desc();
    desc.sink_tokens = 20;
    struct tokens t = tokens_gauss(&rng, &desc, 2, N + 200);
    tq_cache *cache = open_cache(*state, &desc);
    tq_seq *seq = open_filled(cache, &desc, &t, N);
    assert_status(tq_seq_remove(seq, 0, 64), TQ_OK);
    assert_status(tq_seq_truncate(seq, 10), TQ_OK);
    for (uint32_t layer = 0; layer < N_LAYERS; layer++) {
        const tq_kv kv = tokens_kv(&t, 74, 300);
        assert_status(tq_cache_append(cache, seq, layer, &kv), TQ_OK);
    }
    struct view v = look_into(*state, cache, seq);
    for (uint32_t layer = 0; layer < N_LAYERS; layer++) {
        double error = 0;
        double power = 0;
        for (size_t token = 0; token < 64; token++) {
            float x[DIM];
            saved_seen(v.saved, layer, token, 0, 0, 309, x);
            for (size_t j = 0; j < DIM; j++) {
                const double k = (double)t.k[(64 + token) * 2 * DIM + j];
                error += pow((double)x[j] - k, 2);
                power += k * k;
            }
        }
        /* A vanished token of 64 would cost an eighth. */
        assert_close(sqrt(error / power), 0, 0.115, "layer %u", layer);
    }
    close_view(&v);
    tq_cache_destroy(cache);
    tokens_free(&t);
}

static void test_arguments(void **state)
{
    struct rng rng = rng_seeded(607);
    tq_cache_desc desc = rope_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    tq_cache *cache = open_cache(*state, &desc);
    tq_cache *other = open_cache(*state, &desc);
    tq_seq *seq = open_filled(cache, &desc, &t, N);
    tq_seq *stranger = open_filled(other, &desc, &t, N);
    struct bytes before = save_bytes(cache, seq);
    /* No more factors are read than head_dim_k allows, whatever n_dims says. */
    struct guarded guard = guarded_end(DIM / 2 * sizeof(float));
    float *factors = (float *)(void *)guard.data;
    for (size_t j = 0; j < DIM / 2; j++) {
        factors[j] = 1;
    }
    const tq_rope good = {sizeof good, 0, 0, 0, 0, factors};
    assert_status(tq_cache_rope_shift(NULL, seq, 0, 0, 9, 1, &good), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_rope_shift(cache, NULL, 0, 0, 9, 1, &good), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_rope_shift(cache, stranger, 0, 0, 9, 1, &good), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_rope_shift(cache, seq, N_LAYERS, 0, 9, 1, &good), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_rope_shift(cache, seq, 0, 10, 9, 1, &good), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_rope_shift(cache, seq, 0, 0, N + 1, 1, &good), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_rope_shift(cache, seq, 0, 0, SIZE_MAX, 1, &good), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_rope_shift(cache, seq, 0, 0, 9, 1, NULL), TQ_ERR_INVALID_ARGUMENT);
    const tq_rope bad[] = {
        {sizeof good - 1, 0, 0, 0, 0, NULL},      {sizeof good, 3, 0, 0, 0, factors},
        {sizeof good, DIM + 2, 0, 0, 0, factors}, {sizeof good, 0x80000000, 0, 0, 0, factors},
        {sizeof good, 0, -1, 0, 0, NULL},         {sizeof good, 0, 2, 0, 0, NULL},
        {sizeof good, 0, 0, -10000, 0, NULL},     {sizeof good, 0, 0, 0, -1, NULL},
        {sizeof good, 0, 0, NAN, 0, NULL},        {sizeof good, 0, 0, INFINITY, 0, NULL},
        {sizeof good, 0, 0, 0, NAN, NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) { /* Also if there is nothing to do. */
        const tq_status expected = i < 8 ? TQ_ERR_INVALID_ARGUMENT : TQ_ERR_NONFINITE;
        assert_status(tq_cache_rope_shift(cache, seq, 0, 0, 9, 1, &bad[i]), expected);
        assert_status(tq_cache_rope_shift(cache, seq, 0, 5, 5, 0, &bad[i]), expected);
    }
    static const float bad_factors[] = {0, -1, NAN, -INFINITY};
    for (size_t i = 0; i < 4; i++) {
        factors[DIM / 2 - 1] = bad_factors[i];
        assert_status(tq_cache_rope_shift(cache, seq, 0, 0, 9, 1, &good),
                      i < 2 ? TQ_ERR_INVALID_ARGUMENT : TQ_ERR_NONFINITE);
    }
    assert_status(tq_seq_remove(NULL, 0, 64), TQ_ERR_INVALID_ARGUMENT);
    static const size_t bad_removals[][2] = {
        {1, 64}, {32, 64}, {0, 1}, {64, 63}, {256, 64}, {0, 320}, {320, 0}, {64, SIZE_MAX - 63}, {SIZE_MAX - 63, 64}};
    for (size_t i = 0; i < sizeof bad_removals / sizeof bad_removals[0]; i++) {
        assert_status(tq_seq_remove(seq, bad_removals[i][0], bad_removals[i][1]), TQ_ERR_INVALID_ARGUMENT);
    }
    assert_status(tq_seq_remove(seq, 64, 0), TQ_OK);
    struct bytes after = save_bytes(cache, seq);
    assert_bytes_equal(&after, &before, "after errors");
    bytes_free(&after);
    bytes_free(&before);
    guarded_release(&guard);
    tq_cache_destroy(other);
    tq_cache_destroy(cache);
    tokens_free(&t);
}

/* Every allocation fails, with shared pages; and a limit that copies would exceed. Nothing has changed then. */
static void test_out_of_memory(void **state)
{
    (void)state;
    const tq_rope rope = TQ_ROPE_INIT;
    struct counting_allocator counting = {0};
    const tq_allocator hooks = counting_allocator_hooks(&counting);
    tq_context *context = open_context_with(&hooks, NULL);
    struct rng rng = rng_seeded(608);
    tq_cache_desc desc = rope_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    const size_t limit = estimate_of(context, &desc, N);
    for (int limited = 0; limited < 2; limited++) {
        desc.memory_limit = limited ? limit : 0;
        tq_cache *cache = open_cache(context, &desc);
        tq_seq *seq = open_filled(cache, &desc, &t, N);
        tq_seq *fork = NULL;
        assert_status(tq_seq_fork(seq, N, &fork), TQ_OK);
        struct bytes before = save_bytes(cache, seq);
        const tq_cache_stats_result stats = stats_of(cache);
        const size_t live_blocks = counting.live_blocks;
        size_t nth = 0;
        for (int met = 1; met && !limited;) {
            counting.fail_at = counting.calls + ++nth;
            counting.fail_from = (int)(nth % 2);
            const tq_status status = tq_cache_rope_shift(cache, seq, 1, 20, N, -20, &rope);
            met = counting.calls >= counting.fail_at;
            counting.fail_at = 0;
            assert_status(status, met ? TQ_ERR_OUT_OF_MEMORY : TQ_OK);
            if (met) {
                struct bytes after = save_bytes(cache, seq);
                const tq_cache_stats_result now = stats_of(cache);
                assert_bytes_equal(&after, &before, "after a failure");
                assert_stats_equal(&now, &stats);
                assert_int_equal(counting.live_blocks, live_blocks);
                bytes_free(&after);
            }
        }
        assert_true(limited || nth > 8);
        if (limited) {
            assert_status(tq_cache_rope_shift(cache, seq, 1, 20, N, -20, &rope), TQ_ERR_CAPACITY);
            struct bytes after = save_bytes(cache, seq);
            assert_bytes_equal(&after, &before, "after the limit");
            bytes_free(&after);
            tq_seq_destroy(fork);
            fork = NULL;
            assert_status(tq_cache_rope_shift(cache, seq, 1, 20, N, -20, &rope), TQ_OK); /* In place. */
        }
        bytes_free(&before);
        tq_cache_destroy(cache);
    }
    tq_context_destroy(context);
    assert_int_equal(counting.live_blocks, 0);
    assert_int_equal(counting.broken_promises, 0);
    tokens_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shift),
        cmocka_unit_test(test_cut_pages),
        cmocka_unit_test(test_forth_and_back),
        cmocka_unit_test(test_forks),
        cmocka_unit_test(test_remove_and_shift),
        cmocka_unit_test(test_remove_sinks),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
