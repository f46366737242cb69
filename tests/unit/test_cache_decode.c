/* SPDX-License-Identifier: MIT
 *
 * tq_cache_decode against the reader of saved sequences, which knows docs/format.md alone: every token, as the newest
 * one sees it, before and after cuts; in all types and strides. */
#include "cache_support.h"
#include "saved_support.h"

#include <math.h>

enum { TOKENS = 300 };

static tq_kv_out out_of(float *k, float *v, size_t n)
{
    tq_kv_out out = TQ_KV_OUT_INIT;
    out.k = k;
    out.v = v;
    out.n_tokens = n;
    return out;
}

/* All tokens of all layers against the file's. */
static void check_all(const tq_context *context, const tq_cache *cache, const tq_cache_desc *desc, const tq_seq *seq)
{
    struct bytes bytes = save_bytes(cache, seq);
    struct saved *saved = saved_open(context, &bytes);
    for (uint32_t layer = 0; layer < desc->n_layers; layer++) {
        const size_t n = tq_seq_length(seq, layer);
        const size_t dims[2] = {desc->head_dim_k, desc->head_dim_v};
        float *got[2];
        for (int values = 0; values < 2; values++) {
            got[values] = filled(n * desc->n_kv_heads * dims[values] * sizeof(float));
        }
        const tq_kv_out out = out_of(got[0], got[1], n);
        assert_status(tq_cache_decode(cache, seq, layer, 0, &out), TQ_OK);
        for (size_t i = 0; i < 2 * n * desc->n_kv_heads; i++) {
            const int values = (int)(i % 2);
            const uint32_t head = (uint32_t)(i / 2 % desc->n_kv_heads);
            const size_t token = i / 2 / desc->n_kv_heads;
            const float *x = got[values] + (token * desc->n_kv_heads + head) * dims[values];
            float expected[TQ_MAX_DIM];
            saved_seen(saved, layer, token, head, values, n - 1, expected);
            for (size_t j = 0; j < dims[values]; j++) {
                assert_close((double)x[j], (double)expected[j], 1e-5,
                             "layer %u, token %zu, head %u, %s, coordinate %zu", layer, token, head,
                             values ? "value" : "key", j);
            }
        }
        free(got[0]);
        free(got[1]);
    }
    saved_close(saved);
    bytes_free(&bytes);
}

static void test_every_token(void **state)
{
    static const size_t cuts[] = {TOKENS, 270, 140, 70, 3};
    for (uint32_t sinks = 0; sinks < 10; sinks += 5) {
        tq_cache_desc desc = mixed_desc();
        desc.sink_tokens = sinks;
        tq_cache *cache = open_cache(*state, &desc);
        struct rng rng = rng_seeded(sinks);
        struct tokens t = tokens_gauss(&rng, &desc, desc.n_kv_heads, TOKENS);
        tq_seq *seq = open_filled(cache, &desc, &t, TOKENS);
        for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
            assert_status(tq_seq_truncate(seq, cuts[i]), TQ_OK);
            check_all(*state, cache, &desc, seq);
            if (i == 1) { /* Codes, then exact tokens, in one page. */
                const tq_kv kv = tokens_kv(&t, 0, 10);
                for (uint32_t layer = 0; layer < desc.n_layers; layer++) {
                    assert_status(tq_cache_append(cache, seq, layer, &kv), TQ_OK);
                }
                check_all(*state, cache, &desc, seq);
            }
        }
        tokens_free(&t);
        tq_cache_destroy(cache);
    }
}

/* A part of the tokens, with room between heads, in each type: nothing else is written. */
static void test_parts(void **state)
{
    enum { FIRST = 50, N = 100, GAP = 5, HEADS = 2 };
    static const tq_dtype dtypes[] = {TQ_DTYPE_F32, TQ_DTYPE_F16, TQ_DTYPE_BF16};
    tq_cache_desc desc = cache_desc(1, HEADS, 24, 16);
    desc.k_format = TQ_FORMAT_TURBO3;
    desc.v_format = TQ_FORMAT_TURBO4;
    tq_cache *cache = open_cache(*state, &desc);
    struct rng rng = rng_seeded(4);
    struct tokens t = tokens_gauss(&rng, &desc, HEADS, TOKENS);
    tq_seq *seq = open_filled(cache, &desc, &t, TOKENS);
    const size_t dims[2] = {24, 16};
    float *all[2];
    for (int values = 0; values < 2; values++) {
        all[values] = filled(TOKENS * HEADS * dims[values] * sizeof(float));
    }
    tq_kv_out out = out_of(all[0], all[1], TOKENS);
    assert_status(tq_cache_decode(cache, seq, 0, 0, &out), TQ_OK);
    for (size_t d = 0; d < 3; d++) {
        unsigned char *part[2];
        for (int values = 0; values < 2; values++) {
            part[values] = filled(N * HEADS * (dims[values] + GAP) * dtype_size(dtypes[d]));
        }
        out = (tq_kv_out){.struct_size = sizeof out,
                          .k = part[0],
                          .v = part[1],
                          .dtype = dtypes[d],
                          .n_tokens = N,
                          .k_head_stride = dims[0] + GAP,
                          .v_head_stride = dims[1] + GAP};
        assert_status(tq_cache_decode(cache, seq, 0, FIRST, &out), TQ_OK);
        for (int values = 0; values < 2; values++) {
            const size_t stride = dims[values] + GAP;
            for (size_t i = 0; i < N * HEADS * stride; i++) {
                const size_t row = FIRST * HEADS + i / stride;
                const size_t j = i % stride;
                if (j >= dims[values]) {
                    assert_true(still_filled(part[values] + i * dtype_size(dtypes[d]), dtype_size(dtypes[d])));
                    continue;
                }
                const double x = (double)all[values][row * dims[values] + j];
                const double expected = d == 0   ? x
                                        : d == 1 ? f16_to_double(f16_from_double(x))
                                                 : bf16_to_double(bf16_from_double(x));
                assert_close(element_of(part[values], dtypes[d], i), expected, 0, "type %zu, element %zu", d, i);
            }
            free(part[values]);
        }
    }
    free(all[0]);
    free(all[1]);
    tokens_free(&t);
    tq_cache_destroy(cache);
}

static void test_refusals(void **state)
{
    tq_cache_desc desc = cache_desc(1, 1, 16, 16);
    tq_cache *cache = open_cache(*state, &desc);
    tq_cache *other = open_cache(*state, &desc);
    struct rng rng = rng_seeded(5);
    struct tokens t = tokens_gauss(&rng, &desc, 1, 10);
    tq_seq *seq = open_filled(cache, &desc, &t, 10);
    float k[10 * 16];
    float v[10 * 16];
    const tq_kv_out good = out_of(k, v, 10);
    tq_kv_out bad = good;
    memset(k, FILL_BYTE, sizeof k);
    assert_status(tq_cache_decode(NULL, seq, 0, 0, &good), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_decode(cache, NULL, 0, 0, &good), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_decode(other, seq, 0, 0, &good), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_decode(cache, seq, 1, 0, &good), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_decode(cache, seq, 0, 1, &good), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_decode(cache, seq, 0, SIZE_MAX, &good), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_decode(cache, seq, 0, 0, NULL), TQ_ERR_INVALID_ARGUMENT);
    bad.struct_size = 3;
    assert_status(tq_cache_decode(cache, seq, 0, 0, &bad), TQ_ERR_INVALID_ARGUMENT);
    bad = good;
    bad.v = NULL;
    assert_status(tq_cache_decode(cache, seq, 0, 0, &bad), TQ_ERR_INVALID_ARGUMENT);
    bad = good;
    bad.dtype = 7;
    assert_status(tq_cache_decode(cache, seq, 0, 0, &bad), TQ_ERR_INVALID_ARGUMENT);
    bad = good;
    bad.k_head_stride = 15;
    assert_status(tq_cache_decode(cache, seq, 0, 0, &bad), TQ_ERR_INVALID_ARGUMENT);
    assert_true(still_filled(k, sizeof k));
    bad = good;
    bad.n_tokens = 0;
    bad.k = NULL;
    assert_status(tq_cache_decode(cache, seq, 0, 10, &bad), TQ_OK);
    tokens_free(&t);
    tq_cache_destroy(cache);
    tq_cache_destroy(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_token),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
