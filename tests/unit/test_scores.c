/* SPDX-License-Identifier: MIT
 *
 * tq_attention_scores against decoding the keys and multiplying in double; every status; guard pages and strides. */
#include "support.h"

#include <math.h>

/* Largest error of a score, in units of |q||k|. */
static const double TOLERANCE = 1e-5;

static const size_t COUNTS[] = {0, 1, 2, 3, 15, 16, 17, 33, 100};
static const size_t QUERIES[] = {0, 1, 2, 5, 40};
enum { N_COUNTS = 9, N_QUERIES = 5, MAX_COUNT = 100, MAX_QUERIES = 40 };

/* Keys of one codec, encoded, and what they decode to. */
struct keys {
    unsigned char *codes;
    size_t size;
    float *decoded;
    double *norms;
};

static struct keys make_keys(const tq_codec *codec, size_t dim, size_t n, uint64_t seed)
{
    struct keys keys = {.size = n * tq_codec_bytes(codec)};
    struct rng rng = rng_seeded(seed);
    keys.codes = filled(keys.size);
    keys.decoded = filled(n * dim * sizeof *keys.decoded);
    keys.norms = filled(n * sizeof *keys.norms);
    rng_fill_gauss(&rng, keys.decoded, n * dim);
    for (size_t i = 0; i < n * dim; i++) {
        keys.decoded[i] *= (float)(i / dim % 7); /* Lengths differ, and some are zero. */
    }
    assert_status(tq_encode(codec, keys.decoded, TQ_DTYPE_F32, 0, n, keys.codes, keys.size), TQ_OK);
    assert_status(tq_decode(codec, keys.codes, keys.size, n, keys.decoded, TQ_DTYPE_F32, 0), TQ_OK);
    for (size_t i = 0; i < n; i++) {
        keys.norms[i] = norm_of(keys.decoded + i * dim, dim);
    }
    return keys;
}

static void free_keys(struct keys *keys)
{
    free(keys->norms);
    free(keys->decoded);
    free(keys->codes);
}

/* Computes the scores of n_q queries against the first n_keys keys into an array of `stride`, checks them and that
 * nothing else was written. The query buffer and the codes lie at a page that faults. */
static void check_scores(const tq_codec *codec, const struct keys *keys, size_t dim, size_t n_q, size_t n_keys,
                         tq_dtype dtype, size_t q_stride, size_t stride, float scale, int at_end)
{
    struct guarded (*guarded)(size_t) = at_end ? guarded_end : guarded_start;
    const size_t q_step = q_stride ? q_stride : dim;
    const size_t step = stride ? stride : n_keys;
    struct guarded q = guarded((n_q ? (n_q - 1) * q_step + dim : 0) * dtype_size(dtype));
    struct guarded scores = guarded((n_q && n_keys ? (n_q - 1) * step + n_keys : 0) * sizeof(float));
    struct guarded codes = guarded(n_keys * tq_codec_bytes(codec));
    struct rng rng = rng_seeded(n_q * 1000 + n_keys);
    memset(q.data, 0xFF, q.size);
    memset(scores.data, FILL_BYTE, scores.size);
    memcpy(codes.data, keys->codes, codes.size);
    for (size_t i = 0; i < n_q; i++) {
        for (size_t j = 0; j < dim; j++) {
            element_set(q.data, dtype, i * q_step + j, rng_gauss(&rng));
        }
    }
    assert_status(tq_attention_scores(codec, q.data, dtype, q_stride, n_q, codes.data, codes.size, n_keys, scale,
                                      (float *)(void *)scores.data, stride),
                  TQ_OK);
    double worst = 0;
    for (size_t i = 0; i < n_q; i++) {
        double q_norm = 0;
        for (size_t j = 0; j < dim; j++) {
            q_norm += pow(element_of(q.data, dtype, i * q_step + j), 2);
        }
        q_norm = sqrt(q_norm);
        for (size_t k = 0; k < n_keys; k++) {
            double expected = 0;
            for (size_t j = 0; j < dim; j++) {
                expected += element_of(q.data, dtype, i * q_step + j) * (double)keys->decoded[k * dim + j];
            }
            const double got = element_of(scores.data, TQ_DTYPE_F32, i * step + k);
            const double unit = fabs((double)scale) * q_norm * keys->norms[k];
            const double error = fabs(got - (double)scale * expected);
            if (unit > 0) {
                worst = error / unit > worst || isnan(error) ? error / unit : worst;
            } else {
                assert_true(got == 0.0);
            }
        }
        if (n_keys && i + 1 < n_q) {
            assert_true(
                still_filled(scores.data + (i * step + n_keys) * sizeof(float), (step - n_keys) * sizeof(float)));
        }
    }
    assert_close(worst, 0, TOLERANCE, "dim %zu, %zu queries, %zu keys, scale %g: largest error in |q||k|", dim, n_q,
                 n_keys, (double)scale);
    guarded_release(&codes);
    guarded_release(&scores);
    guarded_release(&q);
}

/* Every format and dimension, a few shapes each. */
static void test_dims(void **state)
{
    for (size_t f = 0; f < tq_format_count(); f++) {
        for (size_t d = 0; d < N_TEST_DIMS; d++) {
            const uint32_t dim = TEST_DIMS[d];
            if (!is_walked(dim, tq_format_at(f))) {
                continue;
            }
            tq_codec *codec = open_codec(*state, dim, tq_format_at(f));
            struct keys keys = make_keys(codec, dim, 17, 100 + d);
            const float scale = (float)(1 / sqrt((double)dim));
            for (int at_end = 0; at_end <= 1; at_end++) {
                check_scores(codec, &keys, dim, 1, 17, TQ_DTYPE_F32, 0, 0, scale, at_end);
                check_scores(codec, &keys, dim, 3, 3, TQ_DTYPE_F16, 0, 0, scale, at_end);
                check_scores(codec, &keys, dim, 2, 16, TQ_DTYPE_BF16, dim + 1, 16 + 3, scale, at_end);
            }
            free_keys(&keys);
            tq_codec_destroy(codec);
        }
    }
}

/* Every number of keys and queries, for every format. */
static void test_counts(void **state)
{
    enum { DIM = 80 };
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        struct keys keys = make_keys(codec, DIM, MAX_COUNT, 200);
        for (size_t i = 0; i < N_QUERIES; i++) {
            for (size_t k = 0; k < N_COUNTS; k++) {
                const tq_dtype dtype = (tq_dtype)((i + k) % 3);
                check_scores(codec, &keys, DIM, QUERIES[i], COUNTS[k], dtype, 0, 0, 0.1F, 1);
                check_scores(codec, &keys, DIM, QUERIES[i], COUNTS[k], dtype, DIM + 3, COUNTS[k] + 5, 0.1F, 1);
            }
        }
        free_keys(&keys);
        tq_codec_destroy(codec);
    }
}

static void test_scale(void **state)
{
    enum { DIM = 64 };
    static const float scales[] = {0.0F, -0.0F, 1.0F, -1.0F, -0.125F, 1e-6F, 1e6F};
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        struct keys keys = make_keys(codec, DIM, 20, 300);
        for (size_t s = 0; s < sizeof scales / sizeof scales[0]; s++) {
            check_scores(codec, &keys, DIM, 4, 20, TQ_DTYPE_F32, 0, 0, scales[s], 1);
        }
        free_keys(&keys);
        tq_codec_destroy(codec);
    }
}

/* A score does not depend on what else is computed in the same call. */
static void test_independence(void **state)
{
    enum { DIM = 128, N_Q = 19, N = 150 };
    static float q[N_Q * DIM];
    static float together[N_Q * N];
    struct rng rng = rng_seeded(400);
    rng_fill_gauss(&rng, q, N_Q * DIM);
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        const size_t row = tq_codec_bytes(codec);
        struct keys keys = make_keys(codec, DIM, N, 401);
        assert_status(tq_attention_scores(codec, q, TQ_DTYPE_F32, 0, N_Q, keys.codes, keys.size, N, 0.5F, together, 0),
                      TQ_OK);
        for (size_t i = 0; i < N_Q; i += 3) {
            for (size_t k = 0; k < N; k += 7) {
                float alone;
                assert_status(tq_attention_scores(codec, q + i * DIM, TQ_DTYPE_F32, 0, 1, keys.codes + k * row, row, 1,
                                                  0.5F, &alone, 0),
                              TQ_OK);
                assert_close((double)alone, (double)together[i * N + k],
                             TOLERANCE * 0.5 * norm_of(q + i * DIM, DIM) * keys.norms[k], "score of %zu, %zu", i, k);
            }
        }
        free_keys(&keys);
        tq_codec_destroy(codec);
    }
}

static void test_statuses(void **state)
{
    enum { DIM = 64, N_Q = 3, N = 5 };
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        struct keys keys = make_keys(codec, DIM, N, 500);
        const unsigned char *codes = keys.codes;
        const size_t size = keys.size;
        float q[N_Q * DIM];
        float scores[N_Q * N];
        struct rng rng = rng_seeded(501);
        rng_fill_gauss(&rng, q, N_Q * DIM);
        memset(scores, FILL_BYTE, sizeof scores);
        const size_t huge = SIZE_MAX;
#define EXPECT(expected, ...)                                                                                          \
    do {                                                                                                               \
        assert_status(tq_attention_scores(__VA_ARGS__), expected);                                                     \
        assert_true(still_filled(scores, sizeof scores));                                                              \
    } while (0)
#define INVALID(...)   EXPECT(TQ_ERR_INVALID_ARGUMENT, __VA_ARGS__)
#define TOO_SMALL(...) EXPECT(TQ_ERR_BUFFER_TOO_SMALL, __VA_ARGS__)
#define NONFINITE(...) EXPECT(TQ_ERR_NONFINITE, __VA_ARGS__)
        INVALID(NULL, q, TQ_DTYPE_F32, 0, N_Q, codes, size, N, 1, scores, 0);
        INVALID(codec, NULL, TQ_DTYPE_F32, 0, N_Q, codes, size, N, 1, scores, 0);
        INVALID(codec, q, TQ_DTYPE_F32, 0, N_Q, NULL, size, N, 1, scores, 0);
        INVALID(codec, q, TQ_DTYPE_F32, 0, N_Q, codes, size, N, 1, NULL, 0);
        INVALID(codec, q, -1, 0, N_Q, codes, size, N, 1, scores, 0);
        INVALID(codec, q, 3, 0, N_Q, codes, size, N, 1, scores, 0);
        INVALID(codec, q, TQ_DTYPE_F32, 1, N_Q, codes, size, N, 1, scores, 0);
        INVALID(codec, q, TQ_DTYPE_F32, DIM - 1, N_Q, codes, size, N, 1, scores, 0);
        INVALID(codec, q, TQ_DTYPE_F32, huge, N_Q, codes, size, N, 1, scores, 0);
        INVALID(codec, q, TQ_DTYPE_F32, 0, N_Q, codes, size, N, 1, scores, 1);
        INVALID(codec, q, TQ_DTYPE_F32, 0, N_Q, codes, size, N, 1, scores, N - 1);
        INVALID(codec, q, TQ_DTYPE_F32, 0, N_Q, codes, size, N, 1, scores, huge);
        INVALID(codec, q, TQ_DTYPE_F32, 0, N_Q, codes, size, N, 1, scores, huge / 4);
        INVALID(codec, q, TQ_DTYPE_F32, 0, huge, codes, size, N, 1, scores, 0);
        INVALID(codec, q, TQ_DTYPE_F32, 0, huge / DIM, codes, size, N, 1, scores, 0);
        INVALID(codec, q, TQ_DTYPE_F32, 0, N_Q, codes, huge, huge, 1, scores, 0);
        TOO_SMALL(codec, q, TQ_DTYPE_F32, 0, N_Q, codes, size - 1, N, 1, scores, 0);
        TOO_SMALL(codec, q, TQ_DTYPE_F32, 0, N_Q, codes, 0, N, 1, scores, 0);
        TOO_SMALL(codec, q, TQ_DTYPE_F32, 0, 1, codes, size, N + 1, 1, scores, 0);
        NONFINITE(codec, q, TQ_DTYPE_F32, 0, N_Q, codes, size, N, NAN, scores, 0);
        NONFINITE(codec, q, TQ_DTYPE_F32, 0, N_Q, codes, size, N, INFINITY, scores, 0);
        NONFINITE(codec, q, TQ_DTYPE_F32, 0, N_Q, codes, size, N, -INFINITY, scores, 0);
        static const size_t places[] = {0, DIM, N_Q * DIM - 1};
        static const float values[] = {NAN, INFINITY, -INFINITY};
        for (size_t p = 0; p < 3; p++) {
            for (size_t v = 0; v < 3; v++) {
                const float before = q[places[p]];
                q[places[p]] = values[v];
                NONFINITE(codec, q, TQ_DTYPE_F32, 0, N_Q, codes, size, N, 1, scores, 0);
                q[places[p]] = before;
            }
        }
        uint16_t halves[DIM] = {0};
        halves[DIM - 1] = 0x7C00;
        NONFINITE(codec, halves, TQ_DTYPE_F16, 0, 1, codes, size, N, 1, scores, 0);
        halves[DIM - 1] = 0x7F80;
        NONFINITE(codec, halves, TQ_DTYPE_BF16, 0, 1, codes, size, N, 1, scores, 0);

        /* Counts may be 0: then no pointer is read and the call succeeds. */
        EXPECT(TQ_OK, codec, NULL, TQ_DTYPE_F32, 0, 0, NULL, 0, 0, 1, NULL, 0);
        EXPECT(TQ_OK, codec, NULL, TQ_DTYPE_F32, 0, 0, codes, size, N, 1, NULL, 0);
        EXPECT(TQ_OK, codec, q, TQ_DTYPE_F32, 0, N_Q, NULL, 0, 0, 1, NULL, 0);
        EXPECT(TQ_OK, codec, NULL, TQ_DTYPE_F32, 0, 0, NULL, 0, N, 1, NULL, 0);
        EXPECT(TQ_OK, codec, NULL, TQ_DTYPE_F32, 0, N_Q, NULL, 0, 0, 1, NULL, 0);
        INVALID(NULL, NULL, TQ_DTYPE_F32, 0, 0, NULL, 0, 0, 1, NULL, 0);
        EXPECT(TQ_OK, codec, q, TQ_DTYPE_F32, 0, 0, codes, size, N, 1, scores, 0);
        EXPECT(TQ_OK, codec, q, TQ_DTYPE_F32, 0, N_Q, codes, size, 0, 1, scores, 0);
#undef NONFINITE
#undef TOO_SMALL
#undef INVALID
#undef EXPECT
        assert_status(tq_attention_scores(codec, q, TQ_DTYPE_F32, 0, N_Q, codes, size, N, 1, scores, 0), TQ_OK);
        assert_false(still_filled(scores, sizeof scores));
        free_keys(&keys);
        tq_codec_destroy(codec);
    }
}

/* Rows that tq_decode would refuse give some scores; under a sanitizer this finds reads outside tables. */
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
            float q[2 * 64];
            float scores[2 * 9];
            rng_fill_gauss(&rng, q, 2 * dims[d]);
            for (int k = 0; k < 100; k++) {
                rng_fill_bytes(&rng, codes.data, codes.size);
                assert_status(
                    tq_attention_scores(codec, q, TQ_DTYPE_F32, 0, 2, codes.data, codes.size, 9, 1, scores, 0), TQ_OK);
            }
            guarded_release(&codes);
            tq_codec_destroy(codec);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dims),         cmocka_unit_test(test_counts),   cmocka_unit_test(test_scale),
        cmocka_unit_test(test_independence), cmocka_unit_test(test_statuses), cmocka_unit_test(test_random_bytes),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
