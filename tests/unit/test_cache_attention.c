/* SPDX-License-Identifier: MIT
 *
 * What attention over a cache returns: against the double-precision model for every format, shape and option; page
 * means against none; and that cutting, laying out and permuting the same tokens changes no bit. */
#include "cache_model.h"

#include <math.h>
#include <stdio.h>

/* An array [tokens][heads][dim] of `dtype` with gaps, as an engine might have it. The gaps hold NaN. */
struct laid_out {
    void *data;
    size_t token_stride;
    size_t head_stride;
};

static struct laid_out lay_out(struct rng *rng, const float *x, size_t n, size_t heads, size_t dim, tq_dtype dtype,
                               int heads_first)
{
    struct laid_out l;
    if (heads_first) { /* [heads][tokens][dim] */
        l.token_stride = dim + rng_word(rng) % 3;
        l.head_stride = n * l.token_stride + rng_word(rng) % 3;
    } else {
        l.head_stride = dim + rng_word(rng) % 3;
        l.token_stride = heads * l.head_stride + rng_word(rng) % 3;
    }
    const size_t size = (n * l.token_stride + heads * l.head_stride) * dtype_size(dtype);
    l.data = malloc(size ? size : 1);
    assert_non_null(l.data);
    memset(l.data, 0xFF, size);
    for (size_t i = 0; i < n * heads * dim; i++) {
        const size_t at = i / dim / heads * l.token_stride + i / dim % heads * l.head_stride + i % dim;
        element_set(l.data, dtype, at, (double)x[i]);
    }
    return l;
}

/* One call on tokens first..first+n-1 in a random layout, type and split of the step, compared with the model. */
static void random_step(struct rng *rng, tq_cache *cache, tq_seq *seq, struct model_seq *model, uint32_t layer,
                        const struct tokens *t, const tq_attention *options, size_t first, size_t n, double tolerance,
                        const char *what)
{
    const tq_dtype kv_dtype = (tq_dtype)(rng_word(rng) % 3);
    tq_kv kv = tokens_kv(t, first, n);
    struct laid_out k = lay_out(rng, kv.k, n, t->n_kv_heads, t->dim_k, kv_dtype, (int)(rng_word(rng) % 2));
    struct laid_out v = lay_out(rng, kv.v, n, t->n_kv_heads, t->dim_v, kv_dtype, (int)(rng_word(rng) % 2));
    kv.k = k.data;
    kv.k_token_stride = k.token_stride;
    kv.k_head_stride = k.head_stride;
    kv.v = v.data;
    kv.v_token_stride = v.token_stride;
    kv.v_head_stride = v.head_stride;
    kv.dtype = kv_dtype;

    tq_attention attention = *options;
    attention.q_dtype = (tq_dtype)(rng_word(rng) % 3);
    const float *q_dense = t->q + first * t->n_q_heads * t->dim_k;
    struct laid_out q = lay_out(rng, q_dense, n, t->n_q_heads, t->dim_k, attention.q_dtype, (int)(rng_word(rng) % 2));
    attention.q = q.data;
    attention.q_token_stride = q.token_stride;
    attention.q_head_stride = q.head_stride;
    attention.n_q_heads = t->n_q_heads;
    attention.n_tokens = n;
    attention.out_head_stride = t->dim_v + rng_word(rng) % 3;
    attention.out_token_stride = t->n_q_heads * attention.out_head_stride + rng_word(rng) % 3;
    const size_t out_size = n * attention.out_token_stride * sizeof(float);
    const size_t lse_size = n * t->n_q_heads * sizeof(float);
    attention.out = filled(out_size);
    attention.lse = rng_word(rng) % 2 ? filled(lse_size) : NULL;

    /* Append and attend apart are the same if the queries lie in one page. */
    if (first / TQ_PAGE_TOKENS == (first + n - 1) / TQ_PAGE_TOKENS && rng_word(rng) % 2) {
        assert_status(step(cache, seq, layer, &kv, NULL), TQ_OK);
        assert_status(step(cache, seq, layer, NULL, &attention), TQ_OK);
    } else {
        assert_status(step(cache, seq, layer, &kv, &attention), TQ_OK);
    }
    model_step(model, layer, &kv, &attention, tolerance, what);
    for (size_t i = 0; i < n * attention.out_token_stride; i++) {
        const size_t in_token = i % attention.out_token_stride;
        if (in_token >= t->n_q_heads * attention.out_head_stride || in_token % attention.out_head_stride >= t->dim_v) {
            assert_true(still_filled(attention.out + i, sizeof(float)));
        }
    }
    free(attention.lse);
    free(attention.out);
    free(q.data);
    free(v.data);
    free(k.data);
}

/* Feeds n random tokens to both layers of a cache and a model, a random number at a time. */
static void compare(const tq_context *context, struct rng *rng, const tq_cache_desc *desc, uint32_t n_q_heads,
                    const tq_attention *options, size_t n, double tolerance, const char *what)
{
    tq_cache *cache = open_cache(context, desc);
    tq_seq *seq = open_seq(cache);
    struct model *model = model_open(context, desc);
    struct model_seq *model_seq = model_seq_open(model);
    for (uint32_t layer = 0; layer < desc->n_layers; layer++) {
        struct tokens t = tokens_gauss(rng, desc, n_q_heads, n);
        for (size_t first = 0; first < n;) {
            const size_t most = rng_word(rng) % 3 ? 40 : 200;
            const size_t left = n - first;
            const size_t some = 1 + rng_word(rng) % most;
            random_step(rng, cache, seq, model_seq, layer, &t, options, first, some < left ? some : left, tolerance,
                        what);
            first += some < left ? some : left;
        }
        assert_int_equal(tq_seq_length(seq, layer), n);
        tokens_free(&t);
    }
    model_seq_close(model_seq);
    model_close(model);
    tq_cache_destroy(cache);
}

static const uint32_t groups[] = {1, 2, 4, 7};
static const uint32_t windows[] = {0, TQ_NO_RECENT_TOKENS, 1, 64, 65, 100, 128};
static const uint32_t sinks[] = {0, 4, 64};

#define PICK(rng, array) ((array)[rng_word(rng) % (sizeof(array) / sizeof(array)[0])])

/* Options of attention, each of them in half of the cases. `logits` outlives the result. */
static tq_attention random_options(struct rng *rng, uint32_t n_q_heads, float *logits)
{
    static const size_t sliding[] = {1, 2, 63, 64, 65, 100, 250, SIZE_MAX};
    tq_attention options = TQ_ATTENTION_INIT;
    options.scale = rng_word(rng) % 2 ? 0.0F : (float)(0.02 + 0.3 * rng_uniform(rng));
    options.soft_cap = rng_word(rng) % 2 ? 0.0F : (float)(0.5 + 5 * rng_uniform(rng));
    options.sliding_window = rng_word(rng) % 2 ? 0 : PICK(rng, sliding);
    if (rng_word(rng) % 2) {
        for (uint32_t h = 0; h < n_q_heads; h++) {
            logits[h] = (float)(4 * rng_gauss(rng));
        }
        options.sink_logits = logits;
    }
    return options;
}

/* (a) and (b): all formats, means off except for f16, which has none; random shapes, options, layouts and splits. */
static void test_formats_and_options(void **state)
{
    static const uint32_t dims[][2] = {{16, 0}, {64, 64}, {64, 32}, {24, 128}, {128, 0}, {80, 96}, {7, 20}, {40, 9}};
    struct rng rng = rng_seeded(41);
    float logits[28];
    for (int k = 0; k < (quick() ? 10 : 40); k++) {
        const uint32_t *dim = dims[(size_t)k % (sizeof dims / sizeof dims[0])];
        const uint32_t n_kv_heads = 1 + (uint32_t)(rng_word(&rng) % 3);
        const uint32_t n_q_heads = n_kv_heads * PICK(&rng, groups);
        tq_cache_desc desc = cache_desc(1, n_kv_heads, dim[0], dim[1]);
        const int exact = k % 5 == 0;
        do {
            desc.k_format = exact ? TQ_FORMAT_F16 : tq_format_at(rng_word(&rng) % tq_format_count());
        } while (is_prod(desc.k_format) || (is_trellis(desc.k_format) && dim[0] % 8 != 0));
        do {
            desc.v_format = exact ? TQ_FORMAT_F16 : tq_format_at(rng_word(&rng) % tq_format_count());
        } while (is_prod(desc.v_format) || (is_trellis(desc.v_format) && dim[1] % 8 != 0));
        desc.flags = exact ? (uint32_t)(rng_word(&rng) % 4) : NO_MEANS;
        desc.recent_tokens = PICK(&rng, windows);
        desc.sink_tokens = PICK(&rng, sinks);
        desc.seed = rng_word(&rng);
        desc.effort = (tq_effort)(rng_word(&rng) % 3);
        const tq_attention options = random_options(&rng, n_q_heads, logits);
        char what[256];
        snprintf(what, sizeof what,
                 "case %d: %s/%s, dims %u/%u, heads %u/%u, recent %u, sinks %u, cap %g, window %zu, %s logits", k,
                 tq_format_name(desc.k_format), tq_format_name(desc.v_format), dim[0], dim[1], n_q_heads, n_kv_heads,
                 desc.recent_tokens, desc.sink_tokens, (double)options.soft_cap, options.sliding_window,
                 options.sink_logits ? "with" : "no");
        compare(*state, &rng, &desc, n_q_heads, &options, quick() ? 230 : 330, exact ? 1e-4 : 1e-3, what);
    }
}

/* Formats of single layers, of the cache, and defaults. */
static void test_layer_formats(void **state)
{
    static const tq_layer_formats layers[] = {{TQ_FORMAT_F16, TQ_FORMAT_F16},
                                              {TQ_FORMAT_TURBO8, TQ_FORMAT_DEFAULT},
                                              {TQ_FORMAT_DEFAULT, TQ_FORMAT_TURBO2T},
                                              {TQ_FORMAT_DEFAULT, TQ_FORMAT_DEFAULT},
                                              {TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO3}};
    struct rng rng = rng_seeded(42);
    const tq_attention options = TQ_ATTENTION_INIT;
    for (int own = quick() ? 1 : 0; own < 2; own++) {
        tq_cache_desc desc = cache_desc(5, 2, 32, 16);
        desc.flags = NO_MEANS;
        desc.layers = layers;
        desc.k_format = own ? TQ_FORMAT_TURBO2 : TQ_FORMAT_DEFAULT;
        desc.v_format = own ? TQ_FORMAT_TURBO3T : TQ_FORMAT_DEFAULT;
        desc.recent_tokens = TQ_NO_RECENT_TOKENS;
        compare(*state, &rng, &desc, 4, &options, 200, 1e-3, own ? "formats of the cache" : "default formats");
    }
}

/* The defaults of a cache without means are what the model thinks they are. */
static void test_default_desc(void **state)
{
    static const uint32_t dims[] = {64, 100};
    struct rng rng = rng_seeded(43);
    const tq_attention options = TQ_ATTENTION_INIT;
    for (size_t d = 0; d < 2; d++) {
        tq_cache_desc desc = cache_desc(1, 2, dims[d], 0);
        desc.flags = NO_MEANS;
        compare(*state, &rng, &desc, 2, &options, 300, 1e-3, "default formats and window");
    }
}

/* Squared error of attention over a cache, relative to the squared size of exact attention, for a sequence of n tokens
 * whose window is shut. */
static double error_of(const tq_context *context, tq_cache_desc desc, const struct tokens *t, uint32_t flags)
{
    const size_t size = tokens_out_size(t) * sizeof(float);
    float *out = filled(size);
    float *exact = filled(size);
    desc.recent_tokens = TQ_NO_RECENT_TOKENS;
    desc.flags = flags;
    for (int yardstick = 0; yardstick < 2; yardstick++) {
        if (yardstick) {
            desc.k_format = TQ_FORMAT_F16;
            desc.v_format = TQ_FORMAT_F16;
        }
        tq_cache *cache = open_cache(context, &desc);
        tq_seq *seq = open_seq(cache);
        feed(cache, seq, 0, t, 0, t->n, yardstick ? exact : out, NULL);
        tq_cache_destroy(cache);
    }
    double error = 0;
    double power = 0;
    for (size_t i = 256 * t->n_q_heads * t->dim_v; i < tokens_out_size(t); i++) {
        error += pow((double)out[i] - (double)exact[i], 2);
        power += pow((double)exact[i], 2);
    }
    free(exact);
    free(out);
    return error / power;
}

/* (c) Keys and values with a bias like Qwen2's: one vector, about 20 times the signal, on all keys of a head. */
static void test_means(void **state)
{
    enum { DIM = 128 };
    const size_t n = quick() ? 384 : 640;
    struct rng rng = rng_seeded(44);
    tq_cache_desc desc = cache_desc(1, 2, DIM, 0);
    struct tokens t = tokens_gauss(&rng, &desc, 4, n);
    const double plain_off = error_of(*state, desc, &t, NO_MEANS);
    const double plain_on = error_of(*state, desc, &t, 0);
    float bias[2 * DIM];
    rng_fill_gauss(&rng, bias, 2 * DIM);
    for (size_t i = 0; i < n * 2 * DIM; i++) {
        t.k[i] += 20 * bias[i % (2 * DIM)];
    }
    static const tq_format formats[] = {TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4T, TQ_FORMAT_TURBO3T};
    for (size_t f = 0; f < (quick() ? 1 : 3); f++) {
        desc.k_format = formats[f];
        desc.v_format = TQ_FORMAT_TURBO8;
        const double off = error_of(*state, desc, &t, NO_MEANS);
        const double on = error_of(*state, desc, &t, 0);
        const double only_v = error_of(*state, desc, &t, TQ_CACHE_NO_K_MEANS);
        const double only_k = error_of(*state, desc, &t, TQ_CACHE_NO_V_MEANS);
        /* Without means a 4-bit error of 1/100 of the bias's power is four times the signal's. */
        assert_true(off > 0.3);
        assert_true(only_v > 0.3);
        assert_true(on < 0.04);
        assert_true(only_k < 0.04);
        assert_true(on < off / 10);
    }
    /* Without a bias, means do not hurt. */
    assert_true(plain_on < 1.1 * plain_off);

    /* Values, too. Exact attention is about the bias now; so the error is measured against the signal. */
    for (size_t i = 0; i < n * 2 * DIM; i++) {
        t.v[i] += 20 * (i % 2 ? 1.0F : -0.5F);
    }
    desc.k_format = TQ_FORMAT_F16;
    desc.v_format = TQ_FORMAT_TURBO4;
    assert_true(error_of(*state, desc, &t, TQ_CACHE_NO_K_MEANS) < error_of(*state, desc, &t, NO_MEANS) / 20);
    tokens_free(&t);
}

/* (d) Any way of cutting the same tokens into calls gives the same bits and takes the same memory. */
static void test_splits(void **state)
{
    static const struct {
        tq_format k, v;
        uint32_t recent, sinks, flags, dim, dim_v, group;
        size_t sliding;
    } cases[] = {
        {0, TQ_FORMAT_TURBO4, 0, 0, 0, 32, 0, 2, 0},
        {TQ_FORMAT_TURBO4, 0, TQ_NO_RECENT_TOKENS, 4, 0, 32, 16, 1, 0},
        {TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO8, 100, 64, TQ_CACHE_NO_K_MEANS, 24, 40, 4, 150},
        {TQ_FORMAT_F16, TQ_FORMAT_TURBO2T, 128, 4, 0, 16, 0, 7, 64},
        {TQ_FORMAT_F16, TQ_FORMAT_F16, 0, 0, NO_MEANS, 16, 7, 1, 0},
    };
    enum { ONE_BY_ONE = 3, APART, PAGES, N_WAYS };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const int slow = cases[c].k == 0 || cases[c].v == 0 || is_trellis(cases[c].v); /* To encode. */
        const size_t n = quick() ? (slow ? 200 : 400) : slow ? 500 : 1000;
        struct rng rng = rng_seeded(45 + c);
        tq_cache_desc desc = cache_desc(1, 2, cases[c].dim, cases[c].dim_v);
        desc.k_format = cases[c].k;
        desc.v_format = cases[c].v;
        desc.recent_tokens = cases[c].recent;
        desc.sink_tokens = cases[c].sinks;
        desc.flags = cases[c].flags;
        struct tokens t = tokens_gauss(&rng, &desc, 2 * cases[c].group, n);
        const size_t out_size = tokens_out_size(&t) * sizeof(float);
        const size_t lse_size = n * t.n_q_heads * sizeof(float);
        float *expected = filled(out_size);
        float *expected_lse = filled(lse_size);
        tq_cache_stats_result stats = {0};
        for (int way = -1; way < N_WAYS; way++) {
            tq_cache *cache = open_cache(*state, &desc);
            tq_seq *seq = open_seq(cache);
            float *out = way < 0 ? expected : filled(out_size);
            float *lse = way < 0 ? expected_lse : filled(lse_size);
            for (size_t first = 0, some; first < n; first += some) {
                some = way < 0             ? n
                       : way == PAGES      ? TQ_PAGE_TOKENS
                       : way >= ONE_BY_ONE ? 1
                                           : 1 + rng_word(&rng) % (way == 0   ? 20
                                                                   : way == 1 ? 150
                                                                              : 500);
                some = some < n - first ? some : n - first;
                const tq_kv kv = tokens_kv(&t, first, some);
                tq_attention attention = tokens_attention(&t, first, some, out, lse);
                attention.sliding_window = cases[c].sliding;
                if (way == APART) {
                    assert_status(step(cache, seq, 0, &kv, NULL), TQ_OK);
                }
                assert_status(step(cache, seq, 0, way == APART ? NULL : &kv, &attention), TQ_OK);
            }
            const tq_cache_stats_result now = stats_of(cache);
            if (way < 0) {
                stats = now;
            } else {
                assert_stats_equal(&now, &stats);
                assert_memory_equal(out, expected, out_size);
                assert_memory_equal(lse, expected_lse, lse_size);
                free(out);
                free(lse);
            }
            tq_cache_destroy(cache);
        }
        free(expected);
        free(expected_lse);
        tokens_free(&t);
    }
}

/* The same numbers in another type or layout, and other layers and sequences beside them, change no bit. */
static void test_layouts(void **state)
{
    enum { N = 200 };
    struct rng rng = rng_seeded(46);
    const tq_cache_desc desc = cache_desc(2, 3, 48, 32);
    struct tokens t = tokens_gauss(&rng, &desc, 6, N);
    struct tokens noise = tokens_gauss(&rng, &desc, 6, N);
    float *arrays[] = {t.k, t.v, t.q};
    const size_t sizes[] = {N * 3 * 48, N * 3 * 32, N * 6 * 48};
    for (int a = 0; a < 3; a++) { /* Numbers that f16 and bf16 both have. */
        for (size_t i = 0; i < sizes[a]; i++) {
            arrays[a][i] = (float)bf16_to_double(bf16_from_double((double)arrays[a][i]));
            arrays[a][i] = fabsf(arrays[a][i]) < 0.001F ? 0.0F : arrays[a][i];
        }
    }
    const size_t out_size = tokens_out_size(&t) * sizeof(float);
    float *expected = filled(out_size);
    float *out = filled(out_size);
    tq_cache *cache = open_cache(*state, &desc);
    tq_seq *seq = open_seq(cache);
    feed(cache, seq, 0, &t, 0, N, expected, NULL);
    for (tq_dtype dtype = TQ_DTYPE_F32; dtype <= TQ_DTYPE_BF16; dtype++) {
        for (int heads_first = 0; heads_first < 2; heads_first++) {
            tq_seq *other = open_seq(cache);
            feed(cache, other, (uint32_t)heads_first ^ 1U, &noise, 0, N, out, NULL);
            struct laid_out k = lay_out(&rng, t.k, N, 3, 48, dtype, heads_first);
            struct laid_out v = lay_out(&rng, t.v, N, 3, 32, dtype, !heads_first);
            struct laid_out q = lay_out(&rng, t.q, N, 6, 48, dtype, heads_first);
            tq_kv kv = tokens_kv(&t, 0, N);
            kv.k = k.data;
            kv.v = v.data;
            kv.dtype = dtype;
            kv.k_token_stride = k.token_stride;
            kv.k_head_stride = k.head_stride;
            kv.v_token_stride = v.token_stride;
            kv.v_head_stride = v.head_stride;
            tq_attention attention = tokens_attention(&t, 0, N, out, NULL);
            attention.q = q.data;
            attention.q_dtype = dtype;
            attention.q_token_stride = q.token_stride;
            attention.q_head_stride = q.head_stride;
            const tq_status status = step(cache, other, (uint32_t)heads_first, &kv, &attention);
            assert_status(status, TQ_OK);
            assert_memory_equal(out, expected, out_size);
            free(k.data);
            free(v.data);
            free(q.data);
        }
    }
    tq_cache_destroy(cache);
    free(out);
    free(expected);
    tokens_free(&noise);
    tokens_free(&t);
}

/* Heads know nothing of each other: exchanging two KV heads with their query heads exchanges the outputs. */
static void test_heads_permute(void **state)
{
    enum { N = 200, DIM = 32, GROUP = 2 };
    struct rng rng = rng_seeded(47);
    const tq_cache_desc desc = cache_desc(1, 2, DIM, 0);
    struct tokens t = tokens_gauss(&rng, &desc, 2 * GROUP, N);
    const size_t out_size = tokens_out_size(&t) * sizeof(float);
    float *out[2] = {filled(out_size), filled(out_size)};
    for (int swapped = 0; swapped < 2; swapped++) {
        tq_cache *cache = open_cache(*state, &desc);
        feed(cache, open_seq(cache), 0, &t, 0, N, out[swapped], NULL);
        tq_cache_destroy(cache);
        /* Exchanges the halves of every token. */
        float *arrays[] = {t.k, t.v, t.q, out[0]};
        const size_t halves[] = {DIM, DIM, GROUP * DIM, GROUP * DIM};
        for (int a = 0; a < (swapped ? 0 : 4); a++) {
            for (size_t i = 0; i < 2 * N * halves[a]; i++) {
                if (i / halves[a] % 2 == 0) {
                    const float kept = arrays[a][i];
                    arrays[a][i] = arrays[a][i + halves[a]];
                    arrays[a][i + halves[a]] = kept;
                }
            }
        }
    }
    assert_memory_equal(out[0], out[1], out_size);
    free(out[0]);
    free(out[1]);
    tokens_free(&t);
}

/* Numbers at the ends of what is legal: zeros, keys and values that saturate, queries beyond all measure. */
static void test_extreme_numbers(void **state)
{
    enum { N = 200, DIM = 16 };
    static const struct {
        float k, v, q;
        int finite;
    } sizes[] = {{0, 0, 0, 1},    {1, 0, 1, 1},     {0, 1, 0, 1},        {1e-6F, 1e-6F, 1, 1},
                 {3e4F, 1, 1, 1}, {1e30F, 1, 0, 1}, {1, 3e4F, 1, 1},     {1, 1e30F, 1, 1},
                 {1, 1, 1e4F, 1}, {1, 1, 1e30F, 0}, {3e4F, 1, 3e38F, 0}, {1e-38F, 1e-38F, 1e-38F, 1}};
    static const tq_format formats[] = {TQ_FORMAT_F16, TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO3T};
    struct rng rng = rng_seeded(48);
    for (size_t c = 0; c < 3 * sizeof sizes / sizeof sizes[0]; c++) {
        const size_t s = c / 3;
        tq_cache_desc desc = cache_desc(1, 1, DIM, 0);
        desc.k_format = formats[c % 3];
        desc.v_format = formats[c % 3];
        desc.recent_tokens = TQ_NO_RECENT_TOKENS;
        struct tokens t = tokens_gauss(&rng, &desc, 2, N);
        for (size_t i = 0; i < N * DIM; i++) { /* At most 1, so that times 3e38 is finite. */
            t.k[i] = tanhf(t.k[i]) * sizes[s].k;
            t.v[i] = tanhf(t.v[i]) * sizes[s].v;
        }
        for (size_t i = 0; i < 2 * N * DIM; i++) {
            t.q[i] = tanhf(t.q[i]) * sizes[s].q;
        }
        for (size_t i = 0; c % 2 && i < N * DIM; i++) { /* All of one sign: the mean is as large. */
            t.k[i] = fabsf(t.k[i]);
            t.v[i] = fabsf(t.v[i]);
        }
        float *out = filled(tokens_out_size(&t) * sizeof(float));
        float *lse = filled(N * 2 * sizeof(float));
        tq_cache *cache = open_cache(*state, &desc);
        feed(cache, open_seq(cache), 0, &t, 0, N, out, lse);
        tq_cache_destroy(cache);
        /* Attention is a mean of the values: it cannot be larger than the largest, but for the codebook's error. */
        const double largest = fmin((double)sizes[s].v, 65504.0);
        for (size_t i = 0; i < (sizes[s].finite ? tokens_out_size(&t) : 0); i++) {
            assert_close((double)out[i], 0, 2 * largest, "%s: size %zu, element %zu", tq_format_name(formats[c % 3]), s,
                         i);
            assert_true(isfinite(lse[i / DIM]));
        }
        free(out);
        free(lse);
        tokens_free(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats_and_options),
        cmocka_unit_test(test_layer_formats),
        cmocka_unit_test(test_default_desc),
        cmocka_unit_test(test_means),
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_heads_permute),
        cmocka_unit_test(test_extreme_numbers),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
