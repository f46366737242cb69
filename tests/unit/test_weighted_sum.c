/* SPDX-License-Identifier: MIT
 *
 * tq_weighted_sum against decoding the values and adding in double; every status; guard pages and strides. */
#include "support.h"

#include <math.h>

/* Largest error of a sum (its length), in units of sum over j of |w_j||v_j|. */
static const double TOLERANCE = 1e-5;

static const size_t COUNTS[] = {0, 1, 2, 3, 15, 16, 17, 33, 100};
static const size_t QUERIES[] = {0, 1, 2, 5, 40};
enum { N_COUNTS = 9, N_QUERIES = 5, MAX_COUNT = 100 };

struct values {
    unsigned char *codes;
    size_t size;
    float *decoded;
};

static struct values make_values(const tq_codec *codec, size_t dim, size_t n, uint64_t seed)
{
    struct values values = {.size = n * tq_codec_bytes(codec)};
    struct rng rng = rng_seeded(seed);
    values.codes = filled(values.size);
    values.decoded = filled(n * dim * sizeof *values.decoded);
    rng_fill_gauss(&rng, values.decoded, n * dim);
    for (size_t i = 0; i < n * dim; i++) {
        values.decoded[i] *= (float)(i / dim % 7); /* Lengths differ, and some are zero. */
    }
    assert_status(tq_encode(codec, values.decoded, TQ_DTYPE_F32, 0, n, values.codes, values.size), TQ_OK);
    assert_status(tq_decode(codec, values.codes, values.size, n, values.decoded, TQ_DTYPE_F32, 0), TQ_OK);
    return values;
}

static void free_values(struct values *values)
{
    free(values->decoded);
    free(values->codes);
}

/* What the weights look like. */
enum weights { SOFTMAX, SIGNED, SPARSE, ZERO };

static double weight(struct rng *rng, enum weights kind, size_t n)
{
    switch (kind) {
    case SOFTMAX:
        return rng_uniform(rng) / (double)n;
    case SIGNED:
        return 10 * rng_gauss(rng);
    case SPARSE:
        return rng_uniform(rng) < 0.9 ? 0 : rng_gauss(rng);
    default:
        return 0;
    }
}

static void check_sum(const tq_codec *codec, const struct values *values, size_t dim, size_t n_q, size_t n,
                      enum weights kind, size_t w_stride, size_t out_stride, int at_end)
{
    struct guarded (*guarded)(size_t) = at_end ? guarded_end : guarded_start;
    const size_t w_step = w_stride ? w_stride : n;
    const size_t out_step = out_stride ? out_stride : dim;
    struct guarded w_buffer = guarded((n_q && n ? (n_q - 1) * w_step + n : 0) * sizeof(float));
    struct guarded out_buffer = guarded((n_q ? (n_q - 1) * out_step + dim : 0) * sizeof(float));
    struct guarded codes = guarded(n * tq_codec_bytes(codec));
    float *w = (float *)(void *)w_buffer.data;
    float *out = (float *)(void *)out_buffer.data;
    double *expected = filled(dim * sizeof *expected);
    struct rng rng = rng_seeded(n_q * 1000 + n);
    memset(w, 0xFF, w_buffer.size);
    memset(out, FILL_BYTE, out_buffer.size);
    memcpy(codes.data, values->codes, codes.size);
    for (size_t i = 0; i < n_q; i++) {
        for (size_t j = 0; j < n; j++) {
            w[i * w_step + j] = (float)weight(&rng, kind, n);
        }
    }
    assert_status(tq_weighted_sum(codec, w, w_stride, n_q, codes.data, codes.size, n, out, out_stride), TQ_OK);
    double worst = 0;
    for (size_t i = 0; i < n_q; i++) {
        double unit = 0;
        double error = 0;
        memset(expected, 0, dim * sizeof *expected);
        for (size_t j = 0; j < n; j++) {
            const double w_ij = (double)w[i * w_step + j];
            unit += fabs(w_ij) * norm_of(values->decoded + j * dim, dim);
            for (size_t c = 0; c < dim; c++) {
                expected[c] += w_ij * (double)values->decoded[j * dim + c];
            }
        }
        for (size_t c = 0; c < dim; c++) {
            error += pow((double)out[i * out_step + c] - expected[c], 2);
        }
        if (unit > 0) {
            worst = sqrt(error) / unit > worst || isnan(error) ? sqrt(error) / unit : worst;
        } else {
            assert_true(error == 0);
        }
        if (i + 1 < n_q) {
            assert_true(still_filled(out + i * out_step + dim, (out_step - dim) * sizeof(float)));
        }
    }
    assert_close(worst, 0, TOLERANCE, "dim %zu, %zu rows of %zu weights of kind %d: largest error", dim, n_q, n,
                 (int)kind);
    free(expected);
    guarded_release(&codes);
    guarded_release(&out_buffer);
    guarded_release(&w_buffer);
}

static void test_dims(void **state)
{
    for (size_t f = 0; f < tq_format_count(); f++) {
        for (size_t d = 0; d < N_TEST_DIMS; d++) {
            const uint32_t dim = TEST_DIMS[d];
            if (!is_walked(dim, tq_format_at(f))) {
                continue;
            }
            tq_codec *codec = open_codec(*state, dim, tq_format_at(f));
            struct values values = make_values(codec, dim, 17, 100 + d);
            for (int at_end = 0; at_end <= 1; at_end++) {
                check_sum(codec, &values, dim, 1, 17, SOFTMAX, 0, 0, at_end);
                check_sum(codec, &values, dim, 2, 16, SIGNED, 16 + 3, dim + 5, at_end);
            }
            free_values(&values);
            tq_codec_destroy(codec);
        }
    }
}

static void test_counts(void **state)
{
    enum { DIM = 80 };
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        struct values values = make_values(codec, DIM, MAX_COUNT, 200);
        for (size_t i = 0; i < N_QUERIES; i++) {
            for (size_t k = 0; k < N_COUNTS; k++) {
                check_sum(codec, &values, DIM, QUERIES[i], COUNTS[k], SOFTMAX, 0, 0, 1);
                check_sum(codec, &values, DIM, QUERIES[i], COUNTS[k], SIGNED, COUNTS[k] + 5, DIM + 3, 1);
                check_sum(codec, &values, DIM, QUERIES[i], COUNTS[k], SPARSE, 0, 0, 1);
                check_sum(codec, &values, DIM, QUERIES[i], COUNTS[k], ZERO, 0, 0, 1);
            }
        }
        free_values(&values);
        tq_codec_destroy(codec);
    }
}

/* Many values: the error does not grow beyond its unit. */
static void test_long(void **state)
{
    enum { DIM = 64, N = 3000 };
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        struct values values = make_values(codec, DIM, N, 300);
        check_sum(codec, &values, DIM, 2, N, SOFTMAX, 0, 0, 1);
        check_sum(codec, &values, DIM, 2, N, SIGNED, 0, 0, 1);
        free_values(&values);
        tq_codec_destroy(codec);
    }
}

static void test_statuses(void **state)
{
    enum { DIM = 64, N_Q = 3, N = 5 };
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        struct values values = make_values(codec, DIM, N, 400);
        const unsigned char *codes = values.codes;
        const size_t size = values.size;
        float w[N_Q * N];
        float out[N_Q * DIM];
        struct rng rng = rng_seeded(401);
        rng_fill_gauss(&rng, w, N_Q * N);
        memset(out, FILL_BYTE, sizeof out);
        const size_t huge = SIZE_MAX;
#define EXPECT(expected, ...)                                                                                          \
    do {                                                                                                               \
        assert_status(tq_weighted_sum(__VA_ARGS__), expected);                                                         \
        assert_true(still_filled(out, sizeof out));                                                                    \
    } while (0)
#define INVALID(...)   EXPECT(TQ_ERR_INVALID_ARGUMENT, __VA_ARGS__)
#define TOO_SMALL(...) EXPECT(TQ_ERR_BUFFER_TOO_SMALL, __VA_ARGS__)
        INVALID(NULL, w, 0, N_Q, codes, size, N, out, 0);
        INVALID(codec, NULL, 0, N_Q, codes, size, N, out, 0);
        INVALID(codec, w, 0, N_Q, NULL, size, N, out, 0);
        INVALID(codec, w, 0, N_Q, codes, size, N, NULL, 0);
        INVALID(codec, w, 1, N_Q, codes, size, N, out, 0);
        INVALID(codec, w, N - 1, N_Q, codes, size, N, out, 0);
        INVALID(codec, w, huge, N_Q, codes, size, N, out, 0);
        INVALID(codec, w, huge / 4, N_Q, codes, size, N, out, 0);
        INVALID(codec, w, 0, N_Q, codes, size, N, out, 1);
        INVALID(codec, w, 0, N_Q, codes, size, N, out, DIM - 1);
        INVALID(codec, w, 0, N_Q, codes, size, N, out, huge);
        INVALID(codec, w, 0, N_Q, codes, size, N, out, huge / 4);
        INVALID(codec, w, 0, huge, codes, size, N, out, 0);
        INVALID(codec, w, 0, huge / DIM, codes, size, N, out, 0);
        INVALID(codec, w, 0, N_Q, codes, huge, huge, out, 0);
        TOO_SMALL(codec, w, 0, N_Q, codes, size - 1, N, out, 0);
        TOO_SMALL(codec, w, 0, N_Q, codes, 0, N, out, 0);
        TOO_SMALL(codec, w, 0, 1, codes, size, N + 1, out, 0);
        static const size_t places[] = {0, N, N_Q * N - 1};
        static const float bad[] = {NAN, INFINITY, -INFINITY};
        for (size_t p = 0; p < 3; p++) {
            for (size_t v = 0; v < 3; v++) {
                const float before = w[places[p]];
                w[places[p]] = bad[v];
                EXPECT(TQ_ERR_NONFINITE, codec, w, 0, N_Q, codes, size, N, out, 0);
                w[places[p]] = before;
            }
        }

        /* Counts may be 0: then no pointer is read and the call succeeds. */
        EXPECT(TQ_OK, codec, NULL, 0, 0, NULL, 0, 0, NULL, 0);
        EXPECT(TQ_OK, codec, NULL, 0, 0, codes, size, N, NULL, 0);
        EXPECT(TQ_OK, codec, NULL, 0, 0, NULL, 0, N, NULL, 0);
        EXPECT(TQ_OK, codec, w, 0, 0, codes, size, N, out, 0);
        INVALID(NULL, NULL, 0, 0, NULL, 0, 0, NULL, 0);
        /* No values: the sums are zero, and there has to be a place for them. */
        INVALID(codec, NULL, 0, N_Q, NULL, 0, 0, NULL, 0);
        INVALID(codec, NULL, 0, N_Q, NULL, 0, 0, out, DIM - 1);
#undef TOO_SMALL
#undef INVALID
#undef EXPECT
        assert_status(tq_weighted_sum(codec, NULL, 0, N_Q, NULL, 0, 0, out, 0), TQ_OK);
        for (size_t i = 0; i < N_Q * DIM; i++) {
            assert_true(out[i] == 0.0F);
        }
        assert_status(tq_weighted_sum(codec, w, 0, N_Q, codes, size, N, out, 0), TQ_OK);
        assert_true(norm_of(out, N_Q * DIM) > 0);
        free_values(&values);
        tq_codec_destroy(codec);
    }
}

/* Zero weights cost nothing: what their rows hold does not matter, even where it is no number. */
static void test_zero_weights(void **state)
{
    enum { DIM = 64, N = 6 };
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        struct values values = make_values(codec, DIM, N, 500);
        const size_t row = tq_codec_bytes(codec);
        const float w[N] = {0.0F, 0.5F, -0.0F, -1.5F, 0.0F, 2.0F};
        float expected[DIM];
        float out[DIM];
        assert_status(tq_weighted_sum(codec, w, 0, 1, values.codes, values.size, N, expected, 0), TQ_OK);
        for (size_t j = 0; j < N; j += 2) {
            memset(values.codes + j * row, 0xFF, row); /* A scale that is NaN. */
        }
        assert_status(tq_weighted_sum(codec, w, 0, 1, values.codes, values.size, N, out, 0), TQ_OK);
        assert_memory_equal(out, expected, sizeof out);
        free_values(&values);
        tq_codec_destroy(codec);
    }
}

static void test_random_bytes(void **state)
{
    static const uint32_t dims[] = {1, 7, 20, 24, 64};
    for (size_t f = 0; f < tq_format_count(); f++) {
        for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
            if (!is_walked(dims[d], tq_format_at(f))) {
                continue;
            }
            tq_codec *codec = open_codec(*state, dims[d], tq_format_at(f));
            struct guarded codes = guarded_end(9 * tq_codec_bytes(codec));
            struct rng rng = rng_seeded(600);
            float w[2 * 9];
            float out[2 * 64];
            rng_fill_gauss(&rng, w, 2 * 9);
            for (int k = 0; k < 100; k++) {
                rng_fill_bytes(&rng, codes.data, codes.size);
                assert_status(tq_weighted_sum(codec, w, 0, 2, codes.data, codes.size, 9, out, 0), TQ_OK);
            }
            guarded_release(&codes);
            tq_codec_destroy(codec);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dims),     cmocka_unit_test(test_counts),       cmocka_unit_test(test_long),
        cmocka_unit_test(test_statuses), cmocka_unit_test(test_zero_weights), cmocka_unit_test(test_random_bytes),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
