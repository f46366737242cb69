/* SPDX-License-Identifier: MIT
 *
 * Attention with page means against double precision over what the cache says it holds: what it saves, read from
 * docs/format.md; and the options that change how much is computed, or in which domain. */
#include "cache_support.h"
#include "double_reference.h"
#include "saved_support.h"

#include <math.h>
#include <stdio.h>

/* Keys and values as the query at a position sees them, dense. */
struct seen {
    const struct saved *saved;
    float *sides[2];
    double largest_value; /* Its norm. */
};

static struct seen open_seen(const struct saved *saved, uint32_t layer, size_t position)
{
    struct seen seen = {.saved = saved};
    for (int s = 0; s < 2; s++) {
        const size_t dim = saved->dims[s];
        seen.sides[s] = filled((position + 1) * saved->n_kv_heads * dim * sizeof(float));
        for (size_t i = 0; i < (position + 1) * saved->n_kv_heads; i++) {
            float *x = seen.sides[s] + i * dim;
            saved_seen(saved, layer, i / saved->n_kv_heads, (uint32_t)(i % saved->n_kv_heads), s, position, x);
            seen.largest_value = fmax(seen.largest_value, s ? norm_of(x, dim) : 0);
        }
    }
    return seen;
}

static void close_seen(struct seen *seen)
{
    free(seen->sides[0]);
    free(seen->sides[1]);
}

static const float *lookup(const void *user, int values, size_t token, size_t kv_head)
{
    const struct seen *seen = user;
    return seen->sides[values] + (token * seen->saved->n_kv_heads + kv_head) * seen->saved->dims[values];
}

/* Compares the outputs of the last n queries of a layer, dense f32: within 1e-4 of the largest value, and what the
 * backend may be off. */
static void compare(const tq_context *context, const tq_cache *cache, const tq_seq *seq, uint32_t layer,
                    const tq_attention *attention, size_t n, const char *what)
{
    struct bytes bytes = save_bytes(cache, seq);
    struct saved *saved = saved_open(context, &bytes);
    const size_t dims[2] = {saved->dims[0], saved->dims[1]};
    double *page_weights = filled((saved->layers[layer].n_pages + 1) * sizeof *page_weights);
    for (size_t row = attention->n_tokens - n; row < attention->n_tokens; row++) {
        const size_t position = saved->layers[layer].n_tokens - attention->n_tokens + row;
        struct seen seen = open_seen(saved, layer, position);
        const struct attended attended = {attention, {dims[0], dims[1]}, saved->n_kv_heads, lookup, &seen};
        for (size_t head = 0; head < attention->n_q_heads; head++) {
            double out[TQ_MAX_DIM];
            double score_error;
            const size_t at = row * attention->n_q_heads + head;
            attend_in_double(&attended, row, head, position, out, page_weights);
            const double allowed = 1e-4 * seen.largest_value +
                                   backend_error(context, &attended, row, head, position, page_weights, &score_error);
            for (size_t j = 0; j < dims[1]; j++) {
                assert_close((double)attention->out[at * dims[1] + j], out[j], allowed,
                             "%s: layer %u, position %zu, head %zu, coordinate %zu", what, layer, position, head, j);
            }
        }
        close_seen(&seen);
    }
    free(page_weights);
    saved_close(saved);
    bytes_free(&bytes);
}

/* The last page's queries of a sequence that stays as it is. */
static void compare_end(const tq_context *context, tq_cache *cache, const tq_seq *seq, const struct tokens *t,
                        const tq_attention *options, const char *what)
{
    const size_t length = tq_seq_length(seq, 0);
    const size_t n = (length - 1) % TQ_PAGE_TOKENS < 3 ? (length - 1) % TQ_PAGE_TOKENS + 1 : 3;
    float *out = filled(tokens_out_size(t) * sizeof(float));
    tq_attention attention = *options;
    const tq_attention at_end = tokens_attention(t, length - n, n, out, NULL);
    attention.q = at_end.q;
    attention.n_q_heads = at_end.n_q_heads;
    attention.n_tokens = n;
    attention.out = at_end.out;
    assert_status(tq_cache_attend(cache, seq, 0, &attention), TQ_OK);
    compare(context, cache, seq, 0, &attention, n, what);
    free(out);
}

static tq_format random_format(struct rng *rng, size_t dim)
{
    tq_format format;
    do {
        format = tq_format_at(rng_word(rng) % tq_format_count());
    } while (is_prod(format) || (is_trellis(format) && dim % 8 != 0));
    return format;
}

/* All formats, with means or without, all options; then the sequence is cut, demoted, turned. */
static void test_decoded_cache(void **state)
{
    enum { N = 330 };
    static const uint32_t dims[][2] = {{16, 24}, {64, 64}, {40, 16}, {24, 128}, {80, 96}, {7, 20}};
    static const uint32_t windows[] = {0, TQ_NO_RECENT_TOKENS, 100};
    struct rng rng = rng_seeded(701);
    for (size_t c = 0; c < (quick() ? 6 : 36); c++) {
        tq_cache_desc desc = cache_desc(1, 1 + (uint32_t)(c % 2), dims[c % 6][0], dims[c % 6][1]);
        desc.k_format = random_format(&rng, desc.head_dim_k);
        desc.v_format = random_format(&rng, desc.head_dim_v);
        desc.flags = c % 3 ? 0 : (uint32_t)(rng_word(&rng) % 4);
        desc.recent_tokens = windows[rng_word(&rng) % 3];
        desc.sink_tokens = (uint32_t)(rng_word(&rng) % 10);
        struct tokens t = tokens_gauss(&rng, &desc, desc.n_kv_heads * 2, N);
        for (size_t i = 0; i < N * desc.n_kv_heads * t.dim_k; i++) {
            t.k[i] += i % t.dim_k == 3 ? 6.0F : 0.0F; /* A bias. */
        }
        float *out = filled(tokens_out_size(&t) * sizeof(float));
        float logits[4] = {0.5F, -1, 2, 0};
        tq_attention options = TQ_ATTENTION_INIT;
        options.sliding_window = c % 4 == 1 ? 150 : 0;
        options.soft_cap = c % 4 == 2 ? 5.0F : 0.0F;
        options.sink_logits = c % 5 == 3 ? logits : NULL;
        options.skip_below = c % 5 == 1 ? 1e-3F : 0.0F;
        char what[128];
        snprintf(what, sizeof what, "case %zu: %s/%s, dims %u/%u, flags %u", c, tq_format_name(desc.k_format),
                 tq_format_name(desc.v_format), desc.head_dim_k, desc.head_dim_v, desc.flags);
        tq_cache *cache = open_cache(*state, &desc);
        tq_seq *seq = open_seq(cache);
        for (size_t first = 0, end; first < N; first = end) {
            end = first + 90 < N ? first + 90 : N;
            const tq_kv kv = tokens_kv(&t, first, end - first);
            tq_attention attention = options;
            const tq_attention part = tokens_attention(&t, first, end - first, out, NULL);
            attention.q = part.q;
            attention.n_q_heads = part.n_q_heads;
            attention.n_tokens = part.n_tokens;
            attention.out = part.out;
            assert_status(tq_cache_forward(cache, seq, 0, &kv, &attention), TQ_OK);
            compare(*state, cache, seq, 0, &attention, 2, what);
        }
        const tq_tier cold = {64, {TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO3}};
        const tq_rope rope = {sizeof rope, desc.head_dim_k / 2 * 2, 0, 0, 0, NULL};
        assert_status(tq_cache_demote(cache, seq, &cold, 1), TQ_OK);
        compare_end(*state, cache, seq, &t, &options, what);
        assert_status(tq_seq_remove(seq, 0, 64), TQ_OK);
        assert_status(tq_cache_rope_shift(cache, seq, 0, 5, 200, -64, &rope), TQ_OK);
        compare_end(*state, cache, seq, &t, &options, what);
        assert_status(tq_seq_truncate(seq, 150), TQ_OK);
        compare_end(*state, cache, seq, &t, &options, what);
        const tq_kv kv = tokens_kv(&t, 150, 2);
        assert_status(tq_cache_append(cache, seq, 0, &kv), TQ_OK);
        compare_end(*state, cache, seq, &t, &options, what);
        tq_cache_destroy(cache);
        free(out);
        tokens_free(&t);
    }
}

/* A limit that no weight is below passes over nothing, bit for bit. With a real one, outputs differ by what was passed
 * over: its weights are below the limit, relative to one that is there. */
static void test_skip(void **state)
{
    enum { N = 500, DIM = 32 };
    static const tq_format formats[] = {TQ_FORMAT_F16, TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO3T};
    struct rng rng = rng_seeded(702);
    for (size_t f = 0; f < 3; f++) {
        tq_cache_desc desc = cache_desc(1, 2, DIM, 0);
        desc.k_format = formats[f];
        desc.v_format = formats[f];
        struct tokens t = tokens_gauss(&rng, &desc, 4, N);
        for (size_t i = 0; i < (size_t)N * 4 * DIM; i++) {
            t.q[i] *= 3; /* Sharp, so that some pages matter little. */
        }
        tq_cache *cache = open_cache(*state, &desc);
        float *outs[3];
        static const float limits[] = {0, 1e-37F, 0.02F};
        for (size_t k = 0; k < 3; k++) {
            outs[k] = filled(tokens_out_size(&t) * sizeof(float));
            tq_seq *seq = open_seq(cache);
            const tq_kv kv = tokens_kv(&t, 0, N);
            tq_attention attention = tokens_attention(&t, 0, N, outs[k], NULL);
            attention.skip_below = limits[k];
            assert_status(tq_cache_forward(cache, seq, 0, &kv, &attention), TQ_OK);
            compare(*state, cache, seq, 0, &attention, 10, "sparse values");
            tq_seq_destroy(seq);
        }
        assert_memory_equal(outs[0], outs[1], tokens_out_size(&t) * sizeof(float));
        double norms = 0;
        for (size_t i = 0; i < (size_t)N * 2; i++) {
            norms += norm_of(t.v + i * DIM, DIM) / 2;
        }
        size_t different = 0;
        for (size_t i = 0; i < tokens_out_size(&t); i++) {
            different += outs[0][i] != outs[2][i];
            assert_close((double)outs[2][i], (double)outs[0][i], 0.02 * norms, "element %zu", i);
        }
        assert_true(different > tokens_out_size(&t) / 20); /* Some pages were passed over, */
        assert_true(different < tokens_out_size(&t));      /* and the first of a few queries never is. */
        for (size_t k = 0; k < 3; k++) {
            free(outs[k]);
        }
        tq_cache_destroy(cache);
        tokens_free(&t);
    }
}

/* One page has the weight, and the values of those behind it are large: they are passed over. */
static void test_skip_all_but_one(void **state)
{
    enum { N = 400, DIM = 16, PEAK = 70 };
    struct rng rng = rng_seeded(703);
    tq_cache_desc desc = cache_desc(1, 1, DIM, 0);
    desc.k_format = TQ_FORMAT_F16;
    desc.v_format = TQ_FORMAT_F16;
    struct tokens t = tokens_gauss(&rng, &desc, 1, N);
    for (size_t i = 0; i < (size_t)N * DIM; i++) {
        const size_t token = i / DIM;
        t.k[i] = token == PEAK ? 2.0F : 0.0F;
        t.q[i] = 1; /* The peak's score is 8, others are 0. */
        t.v[i] = token == PEAK ? 1.0F : token / 64 > PEAK / 64 ? 1000.0F : 0.0F;
    }
    tq_cache *cache = open_cache(*state, &desc);
    tq_seq *seq = open_seq(cache);
    float *out = filled(tokens_out_size(&t) * sizeof(float));
    const tq_kv kv = tokens_kv(&t, 0, N);
    tq_attention attention = tokens_attention(&t, 0, N, out, NULL);
    attention.skip_below = 1e-3F; /* exp(-8) is 0.00034. */
    assert_status(tq_cache_forward(cache, seq, 0, &kv, &attention), TQ_OK);
    for (size_t position = 0; position < N; position++) {
        /* The weights count. */
        const double expected = position < PEAK ? 0 : exp(8) / (exp(8) + (double)position);
        assert_close((double)out[position * DIM], expected, 1e-4, "position %zu", position);
    }
    free(out);
    tq_cache_destroy(cache);
    tokens_free(&t);
}

static const float *token_of(const void *user, int values, size_t token, size_t kv_head)
{
    const struct tokens *t = user;
    return (values ? t->v : t->k) + (token * t->n_kv_heads + kv_head) * (values ? t->dim_v : t->dim_k);
}

/* Queries that come rotated, and outputs that stay so, are the same attention. */
static void test_rotated(void **state)
{
    enum { N = 300 };
    static const uint32_t dims[][2] = {{16, 64}, {80, 7}, {40, 24}, {128, 128}};
    struct rng rng = rng_seeded(704);
    for (size_t d = 0; d < 4; d++) {
        tq_cache_desc desc = cache_desc(1, 2, dims[d][0], dims[d][1]);
        desc.k_format = TQ_FORMAT_TURBO4;
        desc.v_format = TQ_FORMAT_TURBO3;
        desc.seed = 77 + d;
        desc.sink_tokens = 3;
        struct tokens t = tokens_gauss(&rng, &desc, 4, N);
        tq_codec_desc k_desc = codec_desc(dims[d][0], TQ_FORMAT_TURBO4);
        tq_codec_desc v_desc = codec_desc(dims[d][1], TQ_FORMAT_TURBO4);
        k_desc.seed = v_desc.seed = desc.seed;
        tq_codec *k_codec = open_codec_desc(*state, &k_desc);
        tq_codec *v_codec = open_codec_desc(*state, &v_desc);
        float *rotated = filled((size_t)N * 4 * dims[d][0] * sizeof(float));
        assert_status(tq_rotate(k_codec, t.q, 0, (size_t)N * 4, rotated, 0), TQ_OK);
        tq_cache *cache = open_cache(*state, &desc);
        float *outs[4];
        const tq_attention last = tokens_attention(&t, 0, N, rotated, NULL); /* For its queries. */
        for (uint32_t flags = 0; flags < 4; flags++) {
            outs[flags] = filled(tokens_out_size(&t) * sizeof(float));
            tq_seq *seq = open_seq(cache);
            const tq_kv kv = tokens_kv(&t, 0, N);
            tq_attention attention = tokens_attention(&t, 0, N, outs[flags], NULL);
            attention.q = flags & TQ_ATTENTION_Q_ROTATED ? rotated : t.q;
            attention.flags = flags;
            assert_status(tq_cache_forward(cache, seq, 0, &kv, &attention), TQ_OK);
            tq_seq_destroy(seq);
            if (flags & TQ_ATTENTION_OUT_ROTATED) {
                float *plain = filled(tokens_out_size(&t) * sizeof(float));
                assert_status(tq_unrotate(v_codec, outs[flags], 0, (size_t)N * 4, plain, 0), TQ_OK);
                free(outs[flags]);
                outs[flags] = plain;
            }
        }
        /* Other kernels may round the bits of a rotated query otherwise than those of one they rotated: each of the two
         * is within its tolerance. A weight of 1 on every page is more than there is. */
        static const double all_weight[N / TQ_PAGE_TOKENS + 1] = {1, 1, 1, 1, 1};
        const struct attended attended = {&last, {dims[d][0], dims[d][1]}, 2, token_of, &t};
        double rounding = 0;
        for (size_t i = 0; i < (size_t)N * 4; i++) {
            double score_error;
            rounding = fmax(rounding, backend_error(*state, &attended, i / 4, i % 4, N - 1, all_weight, &score_error));
        }
        for (size_t i = 0; i < tokens_out_size(&t); i++) {
            for (uint32_t flags = 1; flags < 4; flags++) {
                assert_close((double)outs[flags][i], (double)outs[0][i], 1e-5 + 2 * rounding, "dims %u/%u, flags %u",
                             dims[d][0], dims[d][1], flags);
            }
        }
        for (size_t i = 0; i < 4; i++) {
            free(outs[i]);
        }
        free(rotated);
        tq_cache_destroy(cache);
        tq_codec_destroy(v_codec);
        tq_codec_destroy(k_codec);
        tokens_free(&t);
    }
}

static void test_rotated_f16(void **state)
{
    static const tq_layer_formats layers[] = {{TQ_FORMAT_F16, TQ_FORMAT_TURBO4}, {TQ_FORMAT_TURBO4, TQ_FORMAT_F16}};
    struct rng rng = rng_seeded(705);
    tq_cache_desc desc = cache_desc(2, 1, 16, 0);
    desc.layers = layers;
    struct tokens t = tokens_gauss(&rng, &desc, 1, 3);
    tq_cache *cache = open_cache(*state, &desc);
    tq_seq *seq = open_seq(cache);
    float out[3 * 16];
    const tq_kv kv = tokens_kv(&t, 0, 3);
    for (uint32_t flags = 1; flags < 9; flags++) {
        for (uint32_t layer = 0; layer < 2; layer++) {
            tq_attention attention = tokens_attention(&t, 0, 3, out, NULL);
            attention.flags = flags;
            const size_t length = tq_seq_length(seq, layer);
            const tq_status expected = flags > 3            ? TQ_ERR_INVALID_ARGUMENT
                                       : flags >> layer & 1 ? TQ_ERR_UNSUPPORTED
                                                            : TQ_OK;
            memset(out, FILL_BYTE, sizeof out);
            assert_status(tq_cache_forward(cache, seq, layer, &kv, &attention), expected);
            assert_int_equal(tq_seq_length(seq, layer), expected == TQ_OK ? length + 3 : length);
            assert_int_equal(still_filled(out, sizeof out), expected != TQ_OK);
        }
    }
    tq_attention attention = tokens_attention(&t, 0, 3, out, NULL);
    attention.skip_below = -0.5F;
    assert_status(tq_cache_forward(cache, seq, 0, &kv, &attention), TQ_ERR_INVALID_ARGUMENT);
    attention.skip_below = NAN;
    assert_status(tq_cache_forward(cache, seq, 0, &kv, &attention), TQ_ERR_NONFINITE);
    attention.skip_below = INFINITY;
    assert_status(tq_cache_forward(cache, seq, 0, &kv, &attention), TQ_ERR_NONFINITE);
    tq_cache_destroy(cache);
    tokens_free(&t);
}

static void test_policy_set(void **state)
{
    (void)state;
    const tq_layer_formats none = {0, 0};
    const tq_layer_formats good = {TQ_FORMAT_TURBO8, TQ_FORMAT_F16};
    tq_layer_formats layers[6] = {none, none, none, none, none, none};
    assert_status(tq_policy_set(layers, 5, 1, 2, good), TQ_OK);
    assert_status(tq_policy_set(layers, 5, 4, 1, good), TQ_OK);
    assert_status(tq_policy_set(layers, 5, 5, 0, good), TQ_OK);
    for (size_t i = 0; i < 6; i++) {
        const tq_layer_formats expected = i == 1 || i == 2 || i == 4 ? good : none;
        assert_memory_equal(&layers[i], &expected, sizeof expected);
    }
    assert_status(tq_policy_set(NULL, 5, 0, 0, good), TQ_OK);
    assert_status(tq_policy_set(NULL, 5, 0, 1, good), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_policy_set(layers, 5, 6, 0, good), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_policy_set(layers, 5, 3, 3, good), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_policy_set(layers, 5, 2, SIZE_MAX, good), TQ_ERR_INVALID_ARGUMENT);
    assert_memory_equal(&layers[3], &none, sizeof none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decoded_cache),    cmocka_unit_test(test_skip),
        cmocka_unit_test(test_skip_all_but_one), cmocka_unit_test(test_rotated),
        cmocka_unit_test(test_rotated_f16),      cmocka_unit_test(test_policy_set),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
