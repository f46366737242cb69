/* SPDX-License-Identifier: MIT
 *
 * What tq_encode and tq_decode must refuse in the data itself, without writing a byte: numbers that are none, and rows
 * that no encoder wrote. */
#include "support.h"

#include <math.h>

/* One NaN or infinity among many vectors: no byte of any row is written. */
static void test_nonfinite(void **state)
{
    enum { DIM = 80, N = 70, STRIDE = 83 };
    static const float values[] = {NAN, INFINITY, -INFINITY};
    static const uint16_t f16_bits[] = {0x7E01, 0x7C00, 0xFC00};
    static const uint16_t bf16_bits[] = {0x7FC1, 0x7F80, 0xFF80};
    static const size_t places[][2] = {{0, 0}, {0, DIM - 1}, {N / 2, 17}, {N - 1, 0}, {N - 1, DIM - 1}};
    static float x[N * STRIDE];
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        const size_t size = N * tq_codec_bytes(codec);
        unsigned char *codes = filled(size);
        for (tq_dtype dtype = TQ_DTYPE_F32; dtype <= TQ_DTYPE_BF16; dtype++) {
            struct rng rng = rng_seeded(3);
            for (size_t i = 0; i < N * STRIDE; i++) {
                element_set(x, dtype, i, rng_gauss(&rng));
            }
            for (size_t v = 0; v < 3; v++) {
                for (size_t p = 0; p < sizeof places / sizeof places[0]; p++) {
                    const size_t at = places[p][0] * STRIDE + places[p][1];
                    const double before = element_of(x, dtype, at);
                    if (dtype == TQ_DTYPE_F32) {
                        x[at] = values[v];
                    } else {
                        memcpy((char *)x + 2 * at, dtype == TQ_DTYPE_F16 ? &f16_bits[v] : &bf16_bits[v], 2);
                    }
                    assert_status(tq_encode(codec, x, dtype, STRIDE, N, codes, size), TQ_ERR_NONFINITE);
                    assert_true(still_filled(codes, size));
                    element_set(x, dtype, at, before);
                }
                /* Between the rows anything may stand. */
                for (size_t i = 0; i + 1 < N; i++) {
                    if (dtype == TQ_DTYPE_F32) {
                        x[i * STRIDE + DIM] = values[v];
                    } else {
                        memcpy((char *)x + 2 * (i * STRIDE + DIM), &f16_bits[v], 2);
                    }
                }
            }
            assert_status(tq_encode(codec, x, dtype, STRIDE, N, codes, size), TQ_OK);
            memset(codes, FILL_BYTE, size);
        }
        free(codes);
        tq_codec_destroy(codec);
    }
}

static void test_corrupt(void **state)
{
    enum { DIM = 64, N = 40 };
    static const uint16_t bad_scales[] = {0x7C00, 0x7C01, 0x7E00, 0x7FFF, 0xFC00,
                                          0xFE00, 0xFFFF, 0xBC00, 0x8001, 0xFBFF};
    static float x[DIM * N];
    for (size_t f = 0; f < tq_format_count(); f++) {
        const tq_format format = tq_format_at(f);
        tq_codec *codec = open_codec(*state, DIM, format);
        const size_t row = tq_codec_bytes(codec);
        unsigned char *codes = filled(N * row);
        struct rng rng = rng_seeded(11);
        rng_fill_gauss(&rng, x, DIM * N);
        assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, N, codes, N * row), TQ_OK);
        memset(x, FILL_BYTE, sizeof x);
        /* Where a half of a row lies that can be bad: the scale; of prod rows also |r|; of f16 rows any element. */
        const size_t n_places = format == TQ_FORMAT_F16 ? DIM : is_prod(format) ? 2 : 1;
        for (size_t b = 0; b < sizeof bad_scales / sizeof bad_scales[0]; b++) {
            const uint16_t bad = bad_scales[b];
            if (format == TQ_FORMAT_F16 && (bad & 0x7C00) != 0x7C00) {
                continue; /* Elements may be negative. */
            }
            static const size_t rows[] = {0, N / 2, N - 1};
            for (size_t r = 0; r < 3; r++) {
                for (size_t place = 0; place < n_places; place++) {
                    unsigned char *at = codes + rows[r] * row + 2 * place;
                    const unsigned char kept[2] = {at[0], at[1]};
                    at[0] = (unsigned char)bad;
                    at[1] = (unsigned char)(bad >> 8);
                    for (tq_dtype dtype = TQ_DTYPE_F32; dtype <= TQ_DTYPE_BF16; dtype++) {
                        assert_status(tq_decode(codec, codes, N * row, N, x, dtype, 0), TQ_ERR_CORRUPT);
                        assert_true(still_filled(x, sizeof x));
                    }
                    at[0] = kept[0];
                    at[1] = kept[1];
                }
            }
        }
        assert_status(tq_decode(codec, codes, N * row, N, x, TQ_DTYPE_F32, 0), TQ_OK);
        free(codes);
        tq_codec_destroy(codec);
    }
}

/* Any bytes decode to finite numbers or to TQ_ERR_CORRUPT. */
static void test_random_bytes(void **state)
{
    for (size_t f = 0; f < tq_format_count(); f++) {
        static const uint32_t dims[] = {1, 7, 20, 24, 64};
        for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
            if (!is_walked(dims[d], tq_format_at(f))) {
                continue;
            }
            tq_codec *codec = open_codec(*state, dims[d], tq_format_at(f));
            const size_t row = tq_codec_bytes(codec);
            struct guarded codes = guarded_end(row);
            struct rng rng = rng_seeded(12);
            float x[64];
            int decoded = 0;
            for (int k = 0; k < 2000; k++) {
                rng_fill_bytes(&rng, codes.data, row);
                if (k % 2) {
                    codes.data[1] &= 0x3F; /* A scale of at most 2. */
                }
                const tq_status status = tq_decode(codec, codes.data, row, 1, x, TQ_DTYPE_F32, 0);
                assert_true(status == TQ_OK || status == TQ_ERR_CORRUPT);
                for (size_t i = 0; status == TQ_OK && i < dims[d]; i++) {
                    assert_true(isfinite(x[i]));
                }
                decoded += status == TQ_OK;
            }
            assert_true(decoded > 0);
            guarded_release(&codes);
            tq_codec_destroy(codec);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nonfinite),
        cmocka_unit_test(test_corrupt),
        cmocka_unit_test(test_random_bytes),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
