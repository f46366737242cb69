/* SPDX-License-Identifier: MIT
 *
 * tq_encode and tq_decode: every status, and that nothing is written with an error; guard pages, strides, element
 * types, ties, batches; codecs that read each other's rows. */
#include "support.h"

#include <math.h>

/* |x - x'| / |x| that no format exceeds for a Gaussian vector of any dimension; this is no test of quality. */
static double loose_error(tq_format format)
{
    const unsigned bits = bits_of(format);
    return is_prod(format) ? 4.0 : format == TQ_FORMAT_F16 ? 1e-3 : bits == 8 ? 0.1 : bits >= 3 ? 0.9 : 1.3;
}

/* Statuses */

/* The arguments of one call; each test changes one. */
struct encode_args {
    const tq_codec *codec;
    const void *x;
    tq_dtype dtype;
    size_t x_stride, n;
    void *codes;
    size_t codes_size;
};

static void assert_encode_refused(struct encode_args args, void *canary, size_t canary_size, tq_status expected)
{
    assert_status(tq_encode(args.codec, args.x, args.dtype, args.x_stride, args.n, args.codes, args.codes_size),
                  expected);
    assert_true(still_filled(canary, canary_size));
}

static void test_encode_statuses(void **state)
{
    for (size_t f = 0; f < tq_format_count(); f++) {
        enum { DIM = 64, N = 3 };
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        const size_t row = tq_codec_bytes(codec);
        float x[DIM * N];
        struct rng rng = rng_seeded(1);
        rng_fill_gauss(&rng, x, DIM * N);
        unsigned char *codes = filled(N * row);
        const struct encode_args good = {codec, x, TQ_DTYPE_F32, 0, N, codes, N * row};
        struct encode_args bad;
#define REFUSE(change, status)                                                                                         \
    do {                                                                                                               \
        bad = good;                                                                                                    \
        bad.change;                                                                                                    \
        assert_encode_refused(bad, codes, N *row, status);                                                             \
    } while (0)
        REFUSE(codec = NULL, TQ_ERR_INVALID_ARGUMENT);
        REFUSE(x = NULL, TQ_ERR_INVALID_ARGUMENT);
        REFUSE(codes = NULL, TQ_ERR_INVALID_ARGUMENT);
        REFUSE(dtype = -1, TQ_ERR_INVALID_ARGUMENT);
        REFUSE(dtype = 3, TQ_ERR_INVALID_ARGUMENT);
        REFUSE(dtype = INT32_MAX, TQ_ERR_INVALID_ARGUMENT);
        REFUSE(x_stride = 1, TQ_ERR_INVALID_ARGUMENT);
        REFUSE(x_stride = DIM - 1, TQ_ERR_INVALID_ARGUMENT);
        REFUSE(x_stride = SIZE_MAX / 4, TQ_ERR_INVALID_ARGUMENT);
        REFUSE(x_stride = SIZE_MAX, TQ_ERR_INVALID_ARGUMENT);
        REFUSE(n = SIZE_MAX, TQ_ERR_INVALID_ARGUMENT);
        REFUSE(n = SIZE_MAX / DIM, TQ_ERR_INVALID_ARGUMENT);
        REFUSE(n = SIZE_MAX / row + 1, TQ_ERR_INVALID_ARGUMENT);
        REFUSE(codes_size = N * row - 1, TQ_ERR_BUFFER_TOO_SMALL);
        REFUSE(codes_size = 0, TQ_ERR_BUFFER_TOO_SMALL);
        REFUSE(n = N + 1, TQ_ERR_BUFFER_TOO_SMALL);
        /* An error is found before anything is read: here x has no second row. */
        REFUSE(n = SIZE_MAX / DIM / 16, TQ_ERR_BUFFER_TOO_SMALL);
#undef REFUSE
        /* With nothing to do, nothing is looked at. */
        assert_status(tq_encode(codec, NULL, TQ_DTYPE_F32, 0, 0, NULL, 0), TQ_OK);
        assert_status(tq_encode(codec, x, TQ_DTYPE_BF16, 0, 0, codes, N * row), TQ_OK);
        assert_status(tq_encode(NULL, NULL, TQ_DTYPE_F32, 0, 0, NULL, 0), TQ_ERR_INVALID_ARGUMENT);
        assert_true(still_filled(codes, N * row));
        assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, N, codes, N * row), TQ_OK);
        free(codes);
        tq_codec_destroy(codec);
    }
}

static void test_decode_statuses(void **state)
{
    for (size_t f = 0; f < tq_format_count(); f++) {
        enum { DIM = 64, N = 3 };
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        const size_t size = N * tq_codec_bytes(codec);
        float x[DIM * N];
        struct rng rng = rng_seeded(2);
        rng_fill_gauss(&rng, x, DIM * N);
        unsigned char *codes = filled(size);
        assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, N, codes, size), TQ_OK);
        memset(x, FILL_BYTE, sizeof x);
        const size_t huge = SIZE_MAX;
#define REFUSE(expected, ...)                                                                                          \
    do {                                                                                                               \
        assert_status(tq_decode(__VA_ARGS__), expected);                                                               \
        assert_true(still_filled(x, sizeof x));                                                                        \
    } while (0)
        REFUSE(TQ_ERR_INVALID_ARGUMENT, NULL, codes, size, N, x, TQ_DTYPE_F32, 0);
        REFUSE(TQ_ERR_INVALID_ARGUMENT, codec, NULL, size, N, x, TQ_DTYPE_F32, 0);
        REFUSE(TQ_ERR_INVALID_ARGUMENT, codec, codes, size, N, NULL, TQ_DTYPE_F32, 0);
        REFUSE(TQ_ERR_INVALID_ARGUMENT, codec, codes, size, N, x, -1, 0);
        REFUSE(TQ_ERR_INVALID_ARGUMENT, codec, codes, size, N, x, 3, 0);
        REFUSE(TQ_ERR_INVALID_ARGUMENT, codec, codes, size, N, x, TQ_DTYPE_F32, 1);
        REFUSE(TQ_ERR_INVALID_ARGUMENT, codec, codes, size, N, x, TQ_DTYPE_F32, DIM - 1);
        REFUSE(TQ_ERR_INVALID_ARGUMENT, codec, codes, size, N, x, TQ_DTYPE_F32, huge);
        REFUSE(TQ_ERR_INVALID_ARGUMENT, codec, codes, size, N, x, TQ_DTYPE_F16, huge / 4);
        REFUSE(TQ_ERR_INVALID_ARGUMENT, codec, codes, huge, huge, x, TQ_DTYPE_F32, 0);
        REFUSE(TQ_ERR_INVALID_ARGUMENT, codec, codes, huge, huge / DIM, x, TQ_DTYPE_F32, 0);
        REFUSE(TQ_ERR_BUFFER_TOO_SMALL, codec, codes, size - 1, N, x, TQ_DTYPE_F32, 0);
        REFUSE(TQ_ERR_BUFFER_TOO_SMALL, codec, codes, 0, 1, x, TQ_DTYPE_F32, 0);
        REFUSE(TQ_ERR_BUFFER_TOO_SMALL, codec, codes, size, N + 1, x, TQ_DTYPE_F32, 0);
        REFUSE(TQ_OK, codec, NULL, 0, 0, NULL, TQ_DTYPE_F32, 0);
        REFUSE(TQ_OK, codec, codes, size, 0, x, TQ_DTYPE_F32, 0);
        REFUSE(TQ_ERR_INVALID_ARGUMENT, NULL, NULL, 0, 0, NULL, TQ_DTYPE_F32, 0);
#undef REFUSE
        assert_status(tq_decode(codec, codes, size, N, x, TQ_DTYPE_F32, 0), TQ_OK);
        free(codes);
        tq_codec_destroy(codec);
    }
}

/* Memory */

/* Data at the edge of a page that faults, on either side, for every format and dimension. */
static void test_guard_pages(void **state)
{
    for (size_t f = 0; f < tq_format_count(); f++) {
        for (size_t d = 0; d < N_TEST_DIMS; d++) {
            const uint32_t dim = TEST_DIMS[d];
            if (!is_walked(dim, tq_format_at(f))) {
                continue;
            }
            tq_codec *codec = open_codec(*state, dim, tq_format_at(f));
            for (size_t n = 0; n <= 3; n++) {
                const tq_dtype dtype = (tq_dtype)((n + d) % 3);
                const size_t row = tq_codec_bytes(codec);
                for (int at_end = 0; at_end <= 1; at_end++) {
                    struct guarded (*guarded)(size_t) = at_end ? guarded_end : guarded_start;
                    struct guarded x = guarded(n * dim * dtype_size(dtype));
                    struct guarded codes = guarded(n * row);
                    struct guarded decoded = guarded(n * dim * dtype_size(dtype));
                    struct rng rng = rng_seeded(6 + d);
                    double power = 0;
                    for (size_t i = 0; i < n * dim; i++) {
                        element_set(x.data, dtype, i, rng_gauss(&rng));
                        power += pow(element_of(x.data, dtype, i), 2);
                    }
                    assert_status(tq_encode(codec, x.data, dtype, 0, n, codes.data, codes.size), TQ_OK);
                    assert_status(tq_decode(codec, codes.data, codes.size, n, decoded.data, dtype, 0), TQ_OK);
                    double error = 0;
                    for (size_t i = 0; i < n * dim; i++) {
                        error += pow(element_of(x.data, dtype, i) - element_of(decoded.data, dtype, i), 2);
                    }
                    assert_true(sqrt(error) <= loose_error(tq_format_at(f)) * sqrt(power));
                    guarded_release(&decoded);
                    guarded_release(&codes);
                    guarded_release(&x);
                }
            }
            tq_codec_destroy(codec);
        }
    }
}

/* Rows apart give the bytes of dense rows, and what lies between them stays. */
static void test_strides(void **state)
{
    enum { DIM = 48, N = 5, STRIDE = 53 };
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        const size_t size = N * tq_codec_bytes(codec);
        for (tq_dtype dtype = TQ_DTYPE_F32; dtype <= TQ_DTYPE_BF16; dtype++) {
            const size_t element = dtype_size(dtype);
            struct guarded dense = guarded_end(N * DIM * element);
            /* The last row has no gap after it. */
            struct guarded apart = guarded_end(((N - 1) * STRIDE + DIM) * element);
            struct rng rng = rng_seeded(7);
            memset(apart.data, 0xFF, apart.size); /* NaN in the gaps. */
            for (size_t i = 0; i < N * DIM; i++) {
                element_set(dense.data, dtype, i, rng_gauss(&rng));
                memcpy(apart.data + (i / DIM * STRIDE + i % DIM) * element, dense.data + i * element, element);
            }
            unsigned char *from_dense = filled(size);
            unsigned char *from_apart = filled(size);
            assert_status(tq_encode(codec, dense.data, dtype, DIM, N, from_dense, size), TQ_OK);
            assert_status(tq_encode(codec, apart.data, dtype, STRIDE, N, from_apart, size), TQ_OK);
            assert_memory_equal(from_dense, from_apart, size);

            memset(dense.data, FILL_BYTE, dense.size);
            memset(apart.data, FILL_BYTE, apart.size);
            assert_status(tq_decode(codec, from_dense, size, N, dense.data, dtype, 0), TQ_OK);
            assert_status(tq_decode(codec, from_dense, size, N, apart.data, dtype, STRIDE), TQ_OK);
            for (size_t i = 0; i < N; i++) {
                assert_memory_equal(dense.data + i * DIM * element, apart.data + i * STRIDE * element, DIM * element);
                if (i + 1 < N) {
                    assert_true(still_filled(apart.data + (i * STRIDE + DIM) * element, (STRIDE - DIM) * element));
                }
            }
            free(from_apart);
            free(from_dense);
            guarded_release(&apart);
            guarded_release(&dense);
        }
        tq_codec_destroy(codec);
    }
}

/* Codes may begin at any address. */
static void test_unaligned_codes(void **state)
{
    enum { DIM = 64, N = 4 };
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        const size_t size = N * tq_codec_bytes(codec);
        float x[N * DIM];
        struct rng rng = rng_seeded(8);
        rng_fill_gauss(&rng, x, N * DIM);
        unsigned char *first = filled(size + 4);
        unsigned char *other = filled(size + 4);
        assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, N, first, size), TQ_OK);
        for (size_t offset = 1; offset <= 3; offset++) {
            float a[N * DIM];
            float b[N * DIM];
            assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, N, other + offset, size), TQ_OK);
            assert_memory_equal(first, other + offset, size);
            assert_status(tq_decode(codec, first, size, N, a, TQ_DTYPE_F32, 0), TQ_OK);
            assert_status(tq_decode(codec, other + offset, size, N, b, TQ_DTYPE_F32, 0), TQ_OK);
            assert_memory_equal(a, b, sizeof a);
        }
        free(other);
        free(first);
        tq_codec_destroy(codec);
    }
}

/* Element types */

/* A number that f32, f16 and bf16 all hold gives the same bytes from each. */
static void test_dtypes_encode(void **state)
{
    enum { DIM = 112, N = 9 };
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        const size_t size = N * tq_codec_bytes(codec);
        unsigned char *expected = filled(size);
        unsigned char *codes = filled(size);
        float x[DIM * N];
        struct rng rng = rng_seeded(9);
        for (size_t i = 0; i < DIM * N; i++) {
            /* 8 significant bits, exponents that all three types have. */
            x[i] = (float)ldexp((double)(rng_word(&rng) >> 56) - 128.0, (int)(rng_word(&rng) >> 61) - 8);
        }
        assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, N, expected, size), TQ_OK);
        for (tq_dtype dtype = TQ_DTYPE_F16; dtype <= TQ_DTYPE_BF16; dtype++) {
            uint16_t halves[DIM * N];
            for (size_t i = 0; i < DIM * N; i++) {
                element_set(halves, dtype, i, (double)x[i]);
                assert_true(element_of(halves, dtype, i) == (double)x[i]);
            }
            assert_status(tq_encode(codec, halves, dtype, 0, N, codes, size), TQ_OK);
            assert_memory_equal(codes, expected, size);
        }
        free(codes);
        free(expected);
        tq_codec_destroy(codec);
    }
}

/* Output as f16 and bf16 is the f32 output, rounded to nearest even. */
static void test_dtypes_decode(void **state)
{
    enum { DIM = 144, N = 9 };
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        const size_t size = N * tq_codec_bytes(codec);
        unsigned char *codes = filled(size);
        static float x[DIM * N];
        struct rng rng = rng_seeded(10);
        rng_fill_gauss(&rng, x, DIM * N);
        for (size_t i = 0; i < DIM * N; i++) {
            x[i] *= (float)ldexp(1.0, (int)(i / DIM) * 4 - 16); /* Norms from 1e-4 to 1e6. */
        }
        assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, N, codes, size), TQ_OK);
        assert_status(tq_decode(codec, codes, size, N, x, TQ_DTYPE_F32, 0), TQ_OK);
        for (tq_dtype dtype = TQ_DTYPE_F16; dtype <= TQ_DTYPE_BF16; dtype++) {
            static uint16_t halves[DIM * N];
            assert_status(tq_decode(codec, codes, size, N, halves, dtype, 0), TQ_OK);
            for (size_t i = 0; i < DIM * N; i++) {
                const uint16_t expected =
                    dtype == TQ_DTYPE_F16 ? f16_from_double((double)x[i]) : bf16_from_double((double)x[i]);
                assert_int_equal(halves[i], expected);
            }
        }
        free(codes);
        tq_codec_destroy(codec);
    }
}

/* A coordinate on a threshold belongs to the upper cell. Of the two rotated coordinates of (a, a) one is exactly zero,
 * which is the middle threshold of every codebook; and (a, -a) has the other. */
static void test_ties_go_up(void **state)
{
    static const tq_format formats[] = {TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO8};
    int seen[2] = {0, 0};
    for (size_t f = 0; f < 4; f++) {
        for (uint64_t seed = 0; seed < 16; seed++) {
            for (int flip = -1; flip <= 1; flip += 2) {
                tq_codec_desc desc = codec_desc(2, formats[f]);
                desc.seed = seed;
                desc.effort = TQ_EFFORT_FAST;
                tq_codec *codec = open_codec_desc(*state, &desc);
                struct rng rng = rng_seeded(seed);
                const uint64_t signs = rng_word(&rng);
                const float x[2] = {3.0F, 3.0F * (float)flip};
                const int opposite = ((signs ^ signs >> 1) & 1) != (flip < 0); /* D x = +-(3, -3): y[0] = 0 */
                const unsigned bits = bits_of(formats[f]);
                unsigned char row[4];
                assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, 1, row, sizeof row), TQ_OK);
                const unsigned packed = row[2] | (bits == 8 ? (unsigned)row[3] << 8 : 0);
                const unsigned index = packed >> (opposite ? 0 : bits) & ((1U << bits) - 1);
                assert_int_equal(index, 1U << (bits - 1));
                seen[opposite]++;
                tq_codec_destroy(codec);
            }
        }
    }
    assert_true(seen[0] > 0 && seen[1] > 0);
}

/* Codecs that read each other's rows */

static void test_seeds_and_modes(void **state)
{
    enum { DIM = 64 };
    float x[DIM];
    float expected[DIM];
    float decoded[DIM];
    unsigned char row[2 + DIM];
    struct rng rng = rng_seeded(13);
    rng_fill_gauss(&rng, x, DIM);
    tq_codec_desc desc = codec_desc(DIM, TQ_FORMAT_TURBO4);
    desc.seed = 5;
    desc.scale = TQ_SCALE_UNBIASED;
    desc.effort = TQ_EFFORT_BEST;
    tq_codec *writer = open_codec_desc(*state, &desc);
    desc.scale = TQ_SCALE_RAW;
    desc.effort = TQ_EFFORT_FAST;
    tq_codec *reader = open_codec_desc(*state, &desc);
    desc.seed = 6;
    tq_codec *stranger = open_codec_desc(*state, &desc);
    assert_status(tq_encode(writer, x, TQ_DTYPE_F32, 0, 1, row, sizeof row), TQ_OK);
    assert_status(tq_decode(writer, row, sizeof row, 1, expected, TQ_DTYPE_F32, 0), TQ_OK);
    assert_status(tq_decode(reader, row, sizeof row, 1, decoded, TQ_DTYPE_F32, 0), TQ_OK);
    assert_memory_equal(decoded, expected, sizeof expected);
    assert_status(tq_decode(stranger, row, sizeof row, 1, decoded, TQ_DTYPE_F32, 0), TQ_OK);
    const double power = dot_of(x, x, DIM);
    assert_true(dot_of(x, expected, DIM) > 0.97 * power);
    assert_true(fabs(dot_of(x, decoded, DIM)) < 0.6 * power);
    tq_codec_destroy(stranger);
    tq_codec_destroy(reader);
    tq_codec_destroy(writer);
}

/* One call with many vectors writes what one call for each writes. */
static void test_batches(void **state)
{
    enum { DIM = 96, N = 700 };
    float *x = malloc(N * DIM * sizeof *x);
    float *a = malloc(N * DIM * sizeof *a);
    float *b = malloc(N * DIM * sizeof *b);
    struct rng rng = rng_seeded(14);
    rng_fill_gauss(&rng, x, N * DIM);
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        const size_t row = tq_codec_bytes(codec);
        unsigned char *together = filled(N * row);
        unsigned char *single = filled(N * row);
        assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, N, together, N * row), TQ_OK);
        assert_status(tq_decode(codec, together, N * row, N, a, TQ_DTYPE_F32, 0), TQ_OK);
        for (size_t i = 0; i < N; i++) {
            assert_status(tq_encode(codec, x + i * DIM, TQ_DTYPE_F32, 0, 1, single + i * row, row), TQ_OK);
            assert_status(tq_decode(codec, single + i * row, row, 1, b + i * DIM, TQ_DTYPE_F32, 0), TQ_OK);
        }
        assert_memory_equal(together, single, N * row);
        assert_memory_equal(a, b, N * DIM * sizeof *a);
        free(single);
        free(together);
        tq_codec_destroy(codec);
    }
    free(b);
    free(a);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode_statuses), cmocka_unit_test(test_decode_statuses),
        cmocka_unit_test(test_guard_pages),     cmocka_unit_test(test_strides),
        cmocka_unit_test(test_unaligned_codes), cmocka_unit_test(test_dtypes_encode),
        cmocka_unit_test(test_dtypes_decode),   cmocka_unit_test(test_ties_go_up),
        cmocka_unit_test(test_seeds_and_modes), cmocka_unit_test(test_batches),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
