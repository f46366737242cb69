/* SPDX-License-Identifier: MIT
 *
 * The ends of the range: zero, tiny and huge vectors in every format; f16 rows bit by bit; outputs that saturate. */
#include "support.h"

#include <float.h>
#include <math.h>

/* Encodes and decodes one vector. */
static void round_trip(const tq_codec *codec, const float *x, float *decoded)
{
    unsigned char row[2 * TQ_MAX_DIM + 4];
    assert_true(tq_codec_bytes(codec) <= sizeof row);
    assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, 1, row, sizeof row), TQ_OK);
    assert_status(tq_decode(codec, row, sizeof row, 1, decoded, TQ_DTYPE_F32, 0), TQ_OK);
}

static void test_zero(void **state)
{
    for (size_t f = 0; f < tq_format_count(); f++) {
        for (size_t d = 0; d < N_TEST_DIMS; d++) {
            const uint32_t dim = TEST_DIMS[d];
            if (!is_walked(dim, tq_format_at(f))) {
                continue;
            }
            tq_codec *codec = open_codec(*state, dim, tq_format_at(f));
            const size_t row = tq_codec_bytes(codec);
            float *x = calloc(dim, sizeof *x);
            unsigned char *codes = filled(row);
            float *decoded = filled(dim * sizeof *decoded);
            assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, 1, codes, row), TQ_OK);
            for (size_t i = 0; i < row; i++) {
                assert_int_equal(codes[i], 0);
            }
            assert_status(tq_decode(codec, codes, row, 1, decoded, TQ_DTYPE_F32, 0), TQ_OK);
            for (size_t i = 0; i < dim; i++) {
                assert_true(decoded[i] == 0.0F);
            }
            free(decoded);
            free(codes);
            free(x);
            tq_codec_destroy(codec);
        }
    }
}

/* Vectors too short for fp16 become zero rows; and not only the scale is zero. */
static void test_tiny(void **state)
{
    enum { DIM = 96 };
    static const double norms[] = {1e-45, 1e-40, 1e-38, 1.2e-38, 1e-30, 1e-20, 1.08e-19, 1.1e-19, 1e-15, 1e-9, 1e-8};
    for (size_t f = 0; f < tq_format_count(); f++) {
        for (tq_scale_mode scale = TQ_SCALE_NORM; scale <= TQ_SCALE_RAW; scale++) {
            tq_codec_desc desc = codec_desc(DIM, tq_format_at(f));
            desc.scale = scale;
            tq_codec *codec = open_codec_desc(*state, &desc);
            const size_t row = tq_codec_bytes(codec);
            struct rng rng = rng_seeded(4);
            float direction[DIM];
            float x[DIM];
            rng_fill_gauss(&rng, direction, DIM);
            const double length = norm_of(direction, DIM);
            for (size_t k = 0; k < sizeof norms / sizeof norms[0]; k++) {
                for (size_t i = 0; i < DIM; i++) {
                    x[i] = (float)((double)direction[i] / length * norms[k]);
                }
                unsigned char *codes = filled(row);
                assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, 1, codes, row), TQ_OK);
                for (size_t i = 0; i < row; i++) {
                    /* f16 rows keep the sign of zero. */
                    assert_true(codes[i] == 0 || (tq_format_at(f) == TQ_FORMAT_F16 && codes[i] == 0x80));
                }
                free(codes);
            }
            /* A little above half the smallest half there is something to see. */
            for (size_t i = 0; i < DIM; i++) {
                x[i] = (float)((double)direction[i] / length * 6e-8);
            }
            float decoded[DIM];
            round_trip(codec, x, decoded);
            if (tq_format_at(f) != TQ_FORMAT_F16) {
                assert_true(dot_of(x, decoded, DIM) > 0);
            }
            tq_codec_destroy(codec);
        }
    }
}

/* Vectors too long for fp16 keep their direction. */
static void test_huge(void **state)
{
    enum { DIM = 128 };
    static const double peaks[] = {7e3, 7e4, 1e10, 1e18, 1e19, 1e20, 1e30, 1e37, (double)FLT_MAX};
    for (size_t f = 0; f < tq_format_count(); f++) {
        for (tq_scale_mode scale = TQ_SCALE_NORM; scale <= TQ_SCALE_RAW; scale++) {
            tq_codec_desc desc = codec_desc(DIM, tq_format_at(f));
            desc.scale = scale;
            tq_codec *codec = open_codec_desc(*state, &desc);
            const size_t row = tq_codec_bytes(codec);
            struct rng rng = rng_seeded(5);
            float direction[DIM];
            rng_fill_gauss(&rng, direction, DIM);
            double peak = 0;
            for (size_t i = 0; i < DIM; i++) {
                const double size = fabs((double)direction[i]);
                peak = size > peak ? size : peak; /* gcc 12.2 for aarch64 fails to compile fmax here. */
            }
            float unit[DIM];
            float expected[DIM];
            for (size_t i = 0; i < DIM; i++) {
                unit[i] = (float)((double)direction[i] / peak);
            }
            unsigned char usual[2 * DIM + 4];
            unsigned char codes[2 * DIM + 4];
            assert_status(tq_encode(codec, unit, TQ_DTYPE_F32, 0, 1, usual, row), TQ_OK);
            assert_status(tq_decode(codec, usual, row, 1, expected, TQ_DTYPE_F32, 0), TQ_OK);
            for (size_t k = 0; k < sizeof peaks / sizeof peaks[0]; k++) {
                float x[DIM];
                float decoded[DIM];
                for (size_t i = 0; i < DIM; i++) {
                    x[i] = (float)((double)direction[i] / peak * peaks[k]);
                }
                assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, 1, codes, row), TQ_OK);
                assert_status(tq_decode(codec, codes, row, 1, decoded, TQ_DTYPE_F32, 0), TQ_OK);
                for (size_t i = 0; i < DIM; i++) {
                    assert_true(isfinite(decoded[i]));
                }
                if (tq_format_at(f) == TQ_FORMAT_F16) {
                    for (size_t i = 0; i < DIM; i++) {
                        assert_true((double)decoded[i] == f16_to_double(f16_from_double((double)x[i])));
                    }
                    continue;
                }
                /* All these norms are beyond fp16, but for those of the first row. */
                if (peaks[k] > 65504) {
                    assert_int_equal(codes[0] | codes[1] << 8, 0x7BFF);
                }
                /* The same direction as at the usual length: the error of the code, not of overflow. */
                const double cosine = dot_of(decoded, expected, DIM) / (norm_of(decoded, DIM) * norm_of(expected, DIM));
                assert_close(cosine, 1.0, is_prod(tq_format_at(f)) ? 0.5 : 1e-4, "%s, scale mode %d, peak %g: cosine",
                             tq_format_name(tq_format_at(f)), (int)scale, peaks[k]);
            }
            tq_codec_destroy(codec);
        }
    }
}

/* Every half there is goes through an f16 row unchanged, in every element type that holds it. */
static void test_f16_identity(void **state)
{
    enum { DIM = 1024 };
    tq_codec *codec = open_codec(*state, DIM, TQ_FORMAT_F16);
    for (uint32_t first = 0; first < 0x10000; first += DIM) {
        if ((first & 0x7C00) == 0x7C00) {
            continue; /* Infinities and NaN. */
        }
        uint16_t halves[DIM];
        uint16_t decoded[DIM];
        float singles[DIM];
        unsigned char codes[2 * DIM];
        for (uint32_t i = 0; i < DIM; i++) {
            halves[i] = (uint16_t)(first + i);
        }
        assert_status(tq_encode(codec, halves, TQ_DTYPE_F16, 0, 1, codes, sizeof codes), TQ_OK);
        assert_status(tq_decode(codec, codes, sizeof codes, 1, decoded, TQ_DTYPE_F16, 0), TQ_OK);
        assert_status(tq_decode(codec, codes, sizeof codes, 1, singles, TQ_DTYPE_F32, 0), TQ_OK);
        for (uint32_t i = 0; i < DIM; i++) {
            assert_int_equal(codes[2 * i] | codes[2 * i + 1] << 8, halves[i]);
            assert_int_equal(decoded[i], halves[i]);
            assert_true((double)singles[i] == f16_to_double(halves[i]));
        }
        assert_status(tq_encode(codec, singles, TQ_DTYPE_F32, 0, 1, codes, sizeof codes), TQ_OK);
        for (uint32_t i = 0; i < DIM; i++) {
            assert_int_equal(codes[2 * i] | codes[2 * i + 1] << 8, halves[i]);
        }
    }
    tq_codec_destroy(codec);
}

/* f16 rows round to nearest even: ties, neighbours of ties, subnormals, both ends. */
static void test_f16_rounding(void **state)
{
    tq_codec *codec = open_codec(*state, 1, TQ_FORMAT_F16);
    for (uint32_t half = 0; half < 0x7C00; half++) {
        const double low = f16_to_double((uint16_t)half);
        const double high = half == 0x7BFF ? 65536.0 : f16_to_double((uint16_t)(half + 1));
        const float middle = (float)(0.5 * (low + high)); /* Exact. */
        const float around[] = {nextafterf(middle, 0.0F), middle, nextafterf(middle, FLT_MAX)};
        for (size_t i = 0; i < 3; i++) {
            for (int sign = -1; sign <= 1; sign += 2) {
                const float x = (float)sign * around[i];
                unsigned char row[2];
                assert_status(tq_encode(codec, &x, TQ_DTYPE_F32, 0, 1, row, 2), TQ_OK);
                const uint32_t up = half == 0x7BFF ? half : half + 1; /* Saturates. */
                const uint32_t expected = i == 0 ? half : i == 2 ? up : half % 2 == 0 ? half : up;
                assert_int_equal(row[0] | row[1] << 8, expected | (sign < 0 ? 0x8000U : 0U));
                assert_int_equal(f16_from_double((double)x), expected | (sign < 0 ? 0x8000U : 0U));
            }
        }
    }
    const float extremes[] = {FLT_MAX, 1e30F, 65520.0F, 65505.0F, 0x1p-25F, 0x1.000002p-25F, 0x1p-26F, 0x1p-149F};
    for (size_t i = 0; i < sizeof extremes / sizeof extremes[0]; i++) {
        unsigned char row[2];
        assert_status(tq_encode(codec, &extremes[i], TQ_DTYPE_F32, 0, 1, row, 2), TQ_OK);
        assert_int_equal(row[0] | row[1] << 8, f16_from_double((double)extremes[i]));
    }
    tq_codec_destroy(codec);
}

/* An f16 row decoded as bf16 rounds a second time, and a bf16 or f32 output never becomes infinite. */
static void test_decode_saturates(void **state)
{
    enum { DIM = 16 };
    tq_codec *codec = open_codec(*state, DIM, TQ_FORMAT_TURBO8);
    /* Scale 65504 and the outermost level everywhere: one coordinate of x' is about 4.0 * 65504. */
    unsigned char row[2 + DIM];
    memset(row, 0xFF, sizeof row);
    row[0] = 0xFF;
    row[1] = 0x7B;
    int beyond = 0;
    float singles[DIM];
    uint16_t halves[DIM];
    assert_status(tq_decode(codec, row, sizeof row, 1, singles, TQ_DTYPE_F32, 0), TQ_OK);
    assert_status(tq_decode(codec, row, sizeof row, 1, halves, TQ_DTYPE_F16, 0), TQ_OK);
    for (size_t i = 0; i < DIM; i++) {
        assert_true(isfinite(singles[i]));
        beyond += fabs((double)singles[i]) > 65520;
        assert_int_equal(halves[i], f16_from_double((double)singles[i]));
    }
    assert_true(beyond > 0);
    tq_codec_destroy(codec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero),         cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_huge),         cmocka_unit_test(test_f16_identity),
        cmocka_unit_test(test_f16_rounding), cmocka_unit_test(test_decode_saturates),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
