/* SPDX-License-Identifier: MIT
 *
 * Old tokens with fewer bits: which pages, how many bytes, how much error, and what happens when memory runs out. */
#include "cache_support.h"
#include "saved_support.h"

#include <math.h>
#include <stdio.h>

enum { N = 640 };

static tq_status demote(tq_cache *cache, tq_seq *seq, size_t min_age, tq_format k_format, tq_format v_format)
{
    const tq_tier tier = {min_age, {k_format, v_format}};
    return tq_cache_demote(cache, seq, &tier, 1);
}

static struct saved *look_into(const tq_context *context, const tq_cache *cache, const tq_seq *seq, struct bytes *bytes)
{
    *bytes = save_bytes(cache, seq);
    return saved_open(context, bytes);
}

/* Root of the squared error of keys or values of one page, relative to their size. */
static double page_error(const struct saved *saved, uint32_t layer, size_t page, int values, const struct tokens *t)
{
    const size_t dim = saved->dims[values];
    const float *x = values ? t->v : t->k;
    double error = 0;
    double power = 0;
    for (size_t i = page * TQ_PAGE_TOKENS * t->n_kv_heads; i < (page + 1) * TQ_PAGE_TOKENS * t->n_kv_heads; i++) {
        float decoded[TQ_MAX_DIM];
        assert_true(saved_vector(saved, layer, i / t->n_kv_heads, (uint32_t)(i % t->n_kv_heads), values, SAVED_ENCODED,
                                 decoded));
        for (size_t j = 0; j < dim; j++) {
            error += pow((double)decoded[j] - (double)x[i * dim + j], 2);
            power += pow((double)x[i * dim + j], 2);
        }
    }
    return sqrt(error / power);
}

/* The mean error of a format that pages take at once, over the first pages of a cache of its own. */
static double direct_error(const tq_context *context, tq_cache_desc desc, const struct tokens *t, int values,
                           tq_format format)
{
    desc.layers = NULL;
    desc.k_format = values ? TQ_FORMAT_TURBO4 : format;
    desc.v_format = values ? format : TQ_FORMAT_TURBO4;
    tq_cache *cache = open_cache(context, &desc);
    struct bytes bytes;
    struct saved *saved = look_into(context, cache, open_filled(cache, &desc, t, N), &bytes);
    double sum = 0;
    for (size_t page = 0; page < 6; page++) {
        sum += page_error(saved, 0, page, values, t);
    }
    saved_close(saved);
    bytes_free(&bytes);
    tq_cache_destroy(cache);
    return sum / 6;
}

static tq_cache_desc demote_desc(void)
{
    static const tq_layer_formats layers[] = {{TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4}, {TQ_FORMAT_TURBO2, TQ_FORMAT_F16}};
    tq_cache_desc desc = cache_desc(2, 2, 32, 24);
    desc.layers = layers;
    desc.effort = TQ_EFFORT_FAST;
    desc.sink_tokens = 4;
    return desc;
}

/* Pages by age and tier, keys and values apart, bytes exact; more bits than there are change nothing. */
static void test_tiers(void **state)
{
    static const tq_tier tiers[] = {{128, {TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO2}},
                                    {384, {TQ_FORMAT_TURBO1, TQ_FORMAT_DEFAULT}}};
    static const tq_tier better[] = {{0, {TQ_FORMAT_TURBO8, TQ_FORMAT_F16}},
                                     {1, {TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4}},
                                     {200, {TQ_FORMAT_DEFAULT, TQ_FORMAT_DEFAULT}},
                                     {SIZE_MAX, {TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO1}}};
    struct rng rng = rng_seeded(501);
    for (uint32_t flags = 0; flags < 4; flags++) {
        tq_cache_desc desc = demote_desc();
        desc.flags = flags;
        struct tokens t = tokens_gauss(&rng, &desc, 2, N);
        tq_cache *cache = open_cache(*state, &desc);
        tq_seq *seq = open_filled(cache, &desc, &t, N);
        const tq_cache_stats_result before = stats_of(cache);
        assert_status(tq_cache_demote(cache, seq, tiers, 2), TQ_OK);
        struct bytes bytes;
        struct saved *saved = look_into(*state, cache, seq, &bytes);
        size_t encoded_bytes = 0;
        for (uint32_t layer = 0; layer < 2; layer++) {
            for (size_t page = 0; page < 8; page++) {
                /* Ages are 576, 512, 448, 384 | 320, 256, 192 | 128; the last of these is exact, too. */
                const tq_layer_formats *of = &desc.layers[layer];
                const tq_format k = page < 4                                       ? TQ_FORMAT_TURBO1
                                    : page < 7 && of->k_format == TQ_FORMAT_TURBO4 ? TQ_FORMAT_TURBO3
                                                                                   : of->k_format;
                const tq_format v = page >= 4 && page < 7 ? TQ_FORMAT_TURBO2 : of->v_format;
                assert_int_equal(saved->layers[layer].pages[page].formats[0], k);
                assert_int_equal(saved->layers[layer].pages[page].formats[1], v);
                encoded_bytes += 2 * (encoded_side_bytes(&desc, 0, k) + encoded_side_bytes(&desc, 1, v));
            }
        }
        assert_int_equal(stats_of(cache).encoded_bytes, encoded_bytes);
        assert_int_equal(stats_of(cache).exact_bytes, before.exact_bytes);

        assert_status(tq_cache_demote(cache, seq, better, 4), TQ_OK);
        assert_status(tq_cache_demote(cache, seq, tiers, 2), TQ_OK);
        assert_status(tq_cache_demote(cache, seq, NULL, 0), TQ_OK);
        struct bytes again = save_bytes(cache, seq);
        /* Of the better tiers, turbo4 values of layer 1, which was f16 in the oldest pages, are fewer bytes. */
        struct saved *now = saved_open(*state, &again);
        for (size_t page = 0; page < 8; page++) {
            assert_int_equal(now->layers[0].pages[page].formats[0], saved->layers[0].pages[page].formats[0]);
            assert_int_equal(now->layers[0].pages[page].formats[1], saved->layers[0].pages[page].formats[1]);
            assert_int_equal(now->layers[1].pages[page].formats[0], saved->layers[1].pages[page].formats[0]);
        }
        assert_int_equal(memcmp(bytes.data + now->layers[0].section_at, again.data + now->layers[0].section_at,
                                now->layers[0].section_bytes),
                         0);
        saved_close(now);
        saved_close(saved);
        bytes_free(&again);
        bytes_free(&bytes);
        /* Codes of tokens that come later have the layer's format. */
        assert_status(tq_seq_truncate(seq, N - 1), TQ_OK);
        const size_t with_demoted = stats_of(cache).encoded_bytes;
        for (uint32_t layer = 0; layer < 2; layer++) {
            const tq_kv kv = tokens_kv(&t, 0, 65);
            assert_status(tq_cache_append(cache, seq, layer, &kv), TQ_OK);
            encoded_bytes = encoded_side_bytes(&desc, 0, desc.layers[layer].k_format) +
                            encoded_side_bytes(&desc, 1, desc.layers[layer].v_format) + (layer ? encoded_bytes : 0);
        }
        assert_int_equal(stats_of(cache).encoded_bytes, with_demoted + 2 * encoded_bytes);
        tq_seq_destroy(seq);
        assert_int_equal(stats_of(cache).page_bytes, 0);
        tq_cache_destroy(cache);
        tokens_free(&t);
    }
}

/* What is exact, in whole or in part, is left alone, whatever its age; so is the page at the end. */
static void test_exact_pages(void **state)
{
    struct rng rng = rng_seeded(502);
    tq_cache_desc desc = demote_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    tq_cache *cache = open_cache(*state, &desc);
    tq_seq *seq = open_seq(cache);
    assert_status(demote(cache, seq, 0, TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO1), TQ_OK); /* Nothing there. */
    tq_seq_destroy(seq);
    seq = open_filled(cache, &desc, &t, 300);
    assert_status(tq_seq_truncate(seq, 100), TQ_OK); /* Encoded: [0, 100), the last page in part. */
    assert_status(demote(cache, seq, 0, TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO1), TQ_OK);
    struct bytes bytes;
    struct saved *saved = look_into(*state, cache, seq, &bytes);
    assert_int_equal(saved->layers[0].pages[0].formats[0], TQ_FORMAT_TURBO1);
    assert_int_equal(saved->layers[0].pages[1].formats[0], TQ_FORMAT_TURBO4);
    saved_close(saved);
    bytes_free(&bytes);
    for (uint32_t layer = 0; layer < 2; layer++) { /* The second page is encoded and exact, and full. */
        const tq_kv kv = tokens_kv(&t, 100, 28);
        assert_status(tq_cache_append(cache, seq, layer, &kv), TQ_OK);
    }
    assert_status(demote(cache, seq, 0, TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO1), TQ_OK);
    saved = look_into(*state, cache, seq, &bytes);
    assert_int_equal(saved->layers[0].pages[1].parts, SAVED_ENCODED | SAVED_EXACT);
    assert_int_equal(saved->layers[0].pages[1].formats[0], TQ_FORMAT_TURBO4);
    saved_close(saved);
    bytes_free(&bytes);
    tq_cache_destroy(cache);
    tokens_free(&t);
}

/* Errors of two encodings add up at most: |x - x''| <= |x - x'| + |x' - x''|, and each part is what the format costs at
 * once, but for a tenth, since what was decoded is distributed a little differently from what came. */
static void test_error(void **state)
{
    static const tq_format chains[][3] = {{TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO2},
                                          {TQ_FORMAT_TURBO8, TQ_FORMAT_TURBO4T, TQ_FORMAT_TURBO2T},
                                          {TQ_FORMAT_TURBO4T, TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO1}};
    struct rng rng = rng_seeded(503);
    for (uint32_t flags = 0; flags < 4; flags += 3) {
        tq_cache_desc desc = cache_desc(1, 2, 64, 40);
        desc.flags = flags;
        desc.recent_tokens = TQ_NO_RECENT_TOKENS;
        desc.effort = TQ_EFFORT_FAST;
        struct tokens t = tokens_gauss(&rng, &desc, 2, N);
        for (size_t i = 0; i < N * 2 * 64; i++) {
            t.k[i] += i % 3 == 0 ? 2.0F : 0.0F; /* A bias for the mean. */
        }
        for (size_t c = 0; c < sizeof chains / sizeof chains[0]; c++) {
            desc.k_format = chains[c][0];
            desc.v_format = chains[c][0];
            tq_cache *cache = open_cache(*state, &desc);
            tq_seq *seq = open_filled(cache, &desc, &t, N);
            double allowed[2] = {0, 0};
            for (size_t k = 0; k < 3; k++) {
                assert_status(demote(cache, seq, 0, chains[c][k], chains[c][k]), TQ_OK);
                struct bytes bytes;
                struct saved *saved = look_into(*state, cache, seq, &bytes);
                for (int values = 0; values < 2; values++) {
                    double error = 0;
                    for (size_t page = 0; page < 6; page++) {
                        assert_int_equal(saved->layers[0].pages[page].formats[values], chains[c][k]);
                        error += page_error(saved, 0, page, values, &t) / 6;
                    }
                    allowed[values] += 1.1 * direct_error(*state, desc, &t, values, chains[c][k]);
                    assert_close(error, 0, allowed[values], "chain %zu, step %zu, values %d", c, k, values);
                }
                saved_close(saved);
                bytes_free(&bytes);
            }
            tq_cache_destroy(cache);
        }
        tokens_free(&t);
    }
}

/* What was f16 is encoded as if it had never been: with a new mean, to the same vectors. */
static void test_from_f16(void **state)
{
    struct rng rng = rng_seeded(504);
    for (uint32_t flags = 0; flags < 4; flags++) {
        tq_cache_desc desc = cache_desc(1, 2, 16, 24);
        desc.flags = flags;
        struct tokens t = tokens_gauss(&rng, &desc, 2, N);
        struct bytes bytes[2];
        struct saved *saved[2];
        for (int way = 0; way < 2; way++) {
            desc.k_format = way ? TQ_FORMAT_F16 : TQ_FORMAT_TURBO4T;
            desc.v_format = way ? TQ_FORMAT_F16 : TQ_FORMAT_TURBO3;
            tq_cache *cache = open_cache(*state, &desc);
            tq_seq *seq = open_filled(cache, &desc, &t, N);
            assert_status(demote(cache, seq, 0, TQ_FORMAT_TURBO4T, TQ_FORMAT_TURBO3), TQ_OK);
            saved[way] = look_into(*state, cache, seq, &bytes[way]);
            tq_cache_destroy(cache);
        }
        for (size_t i = 0; i < 2 * 7 * TQ_PAGE_TOKENS; i++) {
            float x[2][24];
            for (int way = 0; way < 2; way++) {
                assert_true(saved_vector(saved[way], 0, i / 2, 1, (int)(i % 2), SAVED_ENCODED, x[way]));
            }
            assert_memory_equal(x[0], x[1], (i % 2 ? 24 : 16) * sizeof(float));
        }
        for (int way = 0; way < 2; way++) {
            saved_close(saved[way]);
            bytes_free(&bytes[way]);
        }
        tokens_free(&t);
    }
}

/* Of few coordinates, f16 takes fewer bytes than codes with a scale and a mean. */
static void test_to_f16(void **state)
{
    struct rng rng = rng_seeded(505);
    tq_cache_desc desc = cache_desc(1, 1, 2, 1);
    desc.k_format = TQ_FORMAT_TURBO8;
    desc.v_format = TQ_FORMAT_TURBO8;
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    tq_cache *cache = open_cache(*state, &desc);
    tq_seq *seq = open_filled(cache, &desc, &t, N);
    const double k_error = direct_error(*state, desc, &t, 0, TQ_FORMAT_TURBO8);
    const double v_error = direct_error(*state, desc, &t, 1, TQ_FORMAT_TURBO8);
    assert_status(demote(cache, seq, 0, TQ_FORMAT_F16, TQ_FORMAT_F16), TQ_OK);
    struct bytes bytes;
    struct saved *saved = look_into(*state, cache, seq, &bytes);
    for (size_t page = 0; page < 7; page++) {
        assert_int_equal(saved->layers[0].pages[page].formats[0], TQ_FORMAT_F16);
        assert_close(page_error(saved, 0, page, 0, &t), 0, 3 * k_error + 1e-3, "keys of page %zu", page);
        assert_close(page_error(saved, 0, page, 1, &t), 0, 3 * v_error + 1e-3, "values of page %zu", page);
    }
    saved_close(saved);
    bytes_free(&bytes);
    tq_cache_destroy(cache);
    tokens_free(&t);
}

/* A fork keeps what it shares. */
static void test_forks(void **state)
{
    struct rng rng = rng_seeded(506);
    tq_cache_desc desc = demote_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    tq_cache *cache = open_cache(*state, &desc);
    tq_seq *parent = open_filled(cache, &desc, &t, N);
    tq_seq *fork = NULL;
    assert_status(tq_seq_fork(parent, N, &fork), TQ_OK);
    struct bytes before = save_bytes(cache, parent);
    const size_t bytes_alone = stats_of(cache).page_bytes;
    assert_status(demote(cache, fork, 0, TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO2), TQ_OK);
    struct bytes after = save_bytes(cache, parent);
    assert_bytes_equal(&after, &before, "parent");
    bytes_free(&after);
    /* The seven oldest pages of both layers are there twice now. */
    const size_t small =
        encoded_side_bytes(&desc, 0, TQ_FORMAT_TURBO1) + encoded_side_bytes(&desc, 1, TQ_FORMAT_TURBO2);
    const size_t sinks = 2 * 2 * 4 * 2 * (32 + 24);
    assert_int_equal(stats_of(cache).page_bytes, bytes_alone + 2 * 7 * 2 * small + sinks);
    /* And again: the same pages are the fork's own. */
    after = save_bytes(cache, fork);
    tq_seq_destroy(parent);
    struct bytes alone = save_bytes(cache, fork);
    assert_bytes_equal(&alone, &after, "fork");
    tq_seq_destroy(fork);
    assert_int_equal(stats_of(cache).page_bytes, 0);
    bytes_free(&alone);
    bytes_free(&after);
    bytes_free(&before);
    tq_cache_destroy(cache);
    tokens_free(&t);
}

static void test_arguments(void **state)
{
    struct rng rng = rng_seeded(507);
    tq_cache_desc desc = cache_desc(1, 1, 12, 8);
    desc.k_format = TQ_FORMAT_TURBO4;
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    tq_cache *cache = open_cache(*state, &desc);
    tq_cache *other = open_cache(*state, &desc);
    tq_seq *seq = open_filled(cache, &desc, &t, N);
    tq_seq *stranger = open_seq(other);
    struct bytes before = save_bytes(cache, seq);
    const tq_tier good[] = {{0, {TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO1}}, {64, {TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO1}}};
    const tq_tier equal[] = {good[0], good[0]};
    const tq_tier descending[] = {good[1], good[0]};
    static const struct {
        tq_format k, v;
        tq_status expected;
    } formats[] = {{2, TQ_FORMAT_TURBO1, TQ_ERR_INVALID_ARGUMENT},
                   {TQ_FORMAT_TURBO1, -1, TQ_ERR_INVALID_ARGUMENT},
                   {TQ_FORMAT_TURBO2T, TQ_FORMAT_TURBO1, TQ_ERR_UNSUPPORTED}, /* head_dim_k is 12. */
                   {TQ_FORMAT_DEFAULT, TQ_FORMAT_TURBO2_PROD, TQ_ERR_UNSUPPORTED},
                   {TQ_FORMAT_TURBO4_PROD, TQ_FORMAT_DEFAULT, TQ_ERR_UNSUPPORTED}};
    assert_status(tq_cache_demote(NULL, seq, good, 2), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_demote(cache, NULL, good, 2), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_demote(cache, stranger, good, 2), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_demote(cache, seq, NULL, 1), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_demote(cache, seq, equal, 2), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_demote(cache, seq, descending, 2), TQ_ERR_INVALID_ARGUMENT);
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        const tq_tier bad[] = {good[0], {500, {formats[i].k, formats[i].v}}}; /* Also if no page is that old. */
        assert_status(tq_cache_demote(cache, seq, bad, 2), formats[i].expected);
    }
    struct bytes after = save_bytes(cache, seq);
    assert_bytes_equal(&after, &before, "after errors");
    bytes_free(&after);
    bytes_free(&before);
    tq_cache_destroy(other);
    tq_cache_destroy(cache);
    tokens_free(&t);
}

/* A cache that is full to the last byte can be demoted, and then has room. */
static void test_full_cache(void **state)
{
    struct rng rng = rng_seeded(508);
    tq_cache_desc desc = demote_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    desc.memory_limit = estimate_of(*state, &desc, N);
    tq_cache *cache = open_cache(*state, &desc);
    tq_seq *seq = open_filled(cache, &desc, &t, N);
    assert_int_equal(stats_of(cache).page_bytes, desc.memory_limit);
    const tq_kv kv = tokens_kv(&t, 0, 64);
    assert_status(tq_cache_append(cache, seq, 0, &kv), TQ_ERR_CAPACITY);
    tq_seq *fork = NULL; /* What is shared must be copied, for which there is no room. */
    assert_status(tq_seq_fork(seq, N, &fork), TQ_OK);
    assert_status(demote(cache, fork, 64, TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO2), TQ_ERR_CAPACITY);
    assert_int_equal(stats_of(cache).page_bytes, desc.memory_limit);
    tq_seq_destroy(fork);
    assert_status(demote(cache, seq, 64, TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO2), TQ_OK);
    assert_true(stats_of(cache).page_bytes < desc.memory_limit);
    assert_status(tq_cache_append(cache, seq, 0, &kv), TQ_OK);
    tq_cache_destroy(cache);
    tokens_free(&t);
}

/* Every page is in its old or its new formats, and holds its tokens to their error. */
static void check_whole(const tq_context *context, const tq_cache *cache, const tq_seq *seq, const struct tokens *t,
                        const double errors[2][64])
{
    struct bytes bytes;
    struct saved *saved = look_into(context, cache, seq, &bytes);
    for (uint32_t layer = 0; layer < 2; layer++) {
        for (size_t page = 0; page < 7; page++) {
            for (int values = 0; values < 2; values++) {
                const tq_format format = saved->layers[layer].pages[page].formats[values];
                assert_true(errors[values][format] > 0);
                assert_close(page_error(saved, layer, page, values, t), 0, errors[values][format],
                             "layer %u, page %zu, values %d", layer, page, values);
            }
        }
    }
    saved_close(saved);
    bytes_free(&bytes);
}

static void test_allocation_failures(void **state)
{
    struct rng rng = rng_seeded(509);
    tq_cache_desc desc = demote_desc();
    desc.memory_limit = SIZE_MAX;
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    double errors[2][64] = {{0}};
    for (int values = 0; values < 2; values++) { /* A single page may be worse than the mean of all. */
        static const tq_format formats[] = {TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO2, TQ_FORMAT_F16, TQ_FORMAT_TURBO1};
        double most = 0;
        for (size_t f = 0; f < 4; f++) {
            const double error = 1.2 * direct_error(*state, desc, &t, values, formats[f]);
            most = formats[f] == TQ_FORMAT_TURBO1 ? most : fmax(most, error);
            errors[values][formats[f]] = error;
        }
        errors[values][TQ_FORMAT_TURBO1] += most; /* Encoded twice. */
    }
    for (int shared = 0; shared < 2; shared++) {
        struct counting_allocator counting = {0};
        const tq_allocator hooks = counting_allocator_hooks(&counting);
        tq_context *context = open_context_with(&hooks, NULL);
        tq_cache *cache = open_cache(context, &desc);
        tq_seq *calm = open_filled(cache, &desc, &t, N);
        assert_status(demote(cache, calm, 0, TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO1), TQ_OK);
        struct bytes expected = save_bytes(cache, calm);
        tq_seq_destroy(calm);
        const size_t idle_blocks = counting.live_blocks;
        for (size_t nth = 1, met = 1; met; nth++) {
            tq_seq *seq = open_filled(cache, &desc, &t, N);
            tq_seq *fork = NULL;
            struct bytes before = save_bytes(cache, seq);
            if (shared) {
                assert_status(tq_seq_fork(seq, N, &fork), TQ_OK);
            }
            counting.fail_at = counting.calls + nth;
            counting.fail_from = (int)(nth % 2);
            const tq_status status = demote(cache, seq, 0, TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO1);
            met = counting.calls >= counting.fail_at;
            counting.fail_at = 0;
            assert_status(status, met ? TQ_ERR_OUT_OF_MEMORY : TQ_OK);
            check_whole(*state, cache, seq, &t, errors);
            assert_status(demote(cache, seq, 0, TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO1), TQ_OK);
            struct bytes after = save_bytes(cache, seq);
            assert_bytes_equal(&after, &expected, "demoted at the second call");
            bytes_free(&after);
            if (shared) {
                after = save_bytes(cache, fork);
                assert_bytes_equal(&after, &before, "fork");
                bytes_free(&after);
            }
            bytes_free(&before);
            tq_seq_destroy(fork);
            tq_seq_destroy(seq);
            assert_int_equal(counting.live_blocks, idle_blocks);
            assert_int_equal(stats_of(cache).page_bytes, 0);
            assert_true(!met || nth < 200);
        }
        bytes_free(&expected);
        tq_cache_destroy(cache);
        tq_context_destroy(context);
        assert_int_equal(counting.live_blocks, 0);
    }
    tokens_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiers),
        cmocka_unit_test(test_exact_pages),
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_from_f16),
        cmocka_unit_test(test_to_f16),
        cmocka_unit_test(test_forks),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_full_cache),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
