/* SPDX-License-Identifier: MIT
 *
 * tq_rotate and tq_unrotate: orthogonal, inverse to each other, the rotation that codes are made with, and careful with
 * what the caller hands over. */
#include "support.h"

#include <math.h>

static const uint32_t dims[] = {1, 8, 12, 80, 128, 36, 7, 40, 100}; /* Sylvester, Paley, and no Hadamard matrix. */

static void test_orthogonal(void **state)
{
    enum { N = 20 };
    struct rng rng = rng_seeded(801);
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        const size_t dim = dims[d];
        tq_codec *codec = open_codec(*state, dims[d], TQ_FORMAT_TURBO4);
        float *x = filled(3 * N * dim * sizeof *x);
        float *y = x + N * dim;
        float *back = y + N * dim;
        rng_fill_gauss(&rng, x, N * dim);
        assert_status(tq_rotate(codec, x, 0, N, y, 0), TQ_OK);
        assert_status(tq_unrotate(codec, y, 0, N, back, 0), TQ_OK);
        for (size_t i = 0; i < N * N; i++) {
            const float *a[2] = {x + i / N * dim, y + i / N * dim};
            const float *b[2] = {x + i % N * dim, y + i % N * dim};
            assert_close(dot_of(a[1], b[1], dim), dot_of(a[0], b[0], dim),
                         1e-5 * norm_of(a[0], dim) * norm_of(b[0], dim), "dim %zu: product of vectors %zu and %zu", dim,
                         i / N, i % N);
        }
        for (size_t i = 0; i < N * dim; i++) {
            assert_close((double)back[i], (double)x[i], 1e-5 * norm_of(x + i / dim * dim, dim), "dim %zu: back", dim);
        }
        assert_status(tq_unrotate(codec, x, 0, N, y, 0), TQ_OK); /* The other way round. */
        assert_status(tq_rotate(codec, y, 0, N, back, 0), TQ_OK);
        for (size_t i = 0; i < N * dim; i++) {
            assert_close((double)back[i], (double)x[i], 1e-5 * norm_of(x + i / dim * dim, dim), "dim %zu: forth", dim);
        }
        free(x);
        tq_codec_destroy(codec);
    }
}

/* In the rotated domain every coordinate of a decoded turbo1 row has the same size: it is one of two levels. */
static void test_is_that_of_codes(void **state)
{
    struct rng rng = rng_seeded(802);
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        tq_codec_desc desc = codec_desc(dims[d], TQ_FORMAT_TURBO1);
        desc.seed = d;
        tq_codec *encoder = open_codec_desc(*state, &desc);
        desc.format = TQ_FORMAT_TURBO4; /* Another format has the same rotation, */
        tq_codec *same = open_codec_desc(*state, &desc);
        desc.seed = 99; /* another seed another one. */
        tq_codec *different = open_codec_desc(*state, &desc);
        float x[128];
        float y[128];
        float z[128];
        unsigned char row[20];
        rng_fill_gauss(&rng, x, dims[d]);
        assert_status(tq_encode(encoder, x, TQ_DTYPE_F32, 0, 1, row, sizeof row), TQ_OK);
        assert_status(tq_decode(encoder, row, sizeof row, 1, x, TQ_DTYPE_F32, 0), TQ_OK);
        assert_status(tq_rotate(same, x, 0, 1, y, 0), TQ_OK);
        assert_status(tq_rotate(different, x, 0, 1, z, 0), TQ_OK);
        double spread = 0;
        for (size_t j = 0; j < dims[d]; j++) {
            const double size = norm_of(x, dims[d]) / sqrt((double)dims[d]);
            assert_close(fabs((double)y[j]), size, 1e-5 * norm_of(x, dims[d]), "dim %u, coordinate %zu", dims[d], j);
            spread += fabs(fabs((double)z[j]) - size) / size;
        }
        assert_true(dims[d] < 7 || spread > 0.1);
        tq_codec_destroy(different);
        tq_codec_destroy(same);
        tq_codec_destroy(encoder);
    }
}

/* Rows with gaps are those without; gaps and what lies behind the arrays stay as they are. */
static void test_strides(void **state)
{
    enum { N = 5, DIM = 24 };
    struct rng rng = rng_seeded(803);
    tq_codec *codec = open_codec(*state, DIM, TQ_FORMAT_TURBO2);
    tq_status (*const calls[])(const tq_codec *, const float *, size_t, size_t, float *, size_t) = {tq_rotate,
                                                                                                    tq_unrotate};
    for (size_t c = 0; c < 2; c++) {
        float x[N * DIM];
        float y[N * DIM];
        const size_t x_stride = DIM + 3;
        const size_t y_stride = DIM + 1;
        struct guarded from = guarded_end(((N - 1) * x_stride + DIM) * sizeof(float));
        struct guarded to = guarded_end(((N - 1) * y_stride + DIM) * sizeof(float));
        float *gaps_x = (float *)(void *)from.data;
        float *gaps_y = (float *)(void *)to.data;
        rng_fill_gauss(&rng, x, N * DIM);
        for (size_t i = 0; i < (N - 1) * x_stride + DIM; i++) {
            gaps_x[i] = i % x_stride < DIM ? x[i / x_stride * DIM + i % x_stride] : NAN;
        }
        memset(to.data, FILL_BYTE, to.size);
        assert_status(calls[c](codec, x, 0, N, y, 0), TQ_OK);
        assert_status(calls[c](codec, gaps_x, x_stride, N, gaps_y, y_stride), TQ_OK);
        for (size_t i = 0; i < N; i++) {
            assert_memory_equal(gaps_y + i * y_stride, y + i * DIM, DIM * sizeof(float));
            assert_true(i + 1 == N || still_filled(gaps_y + i * y_stride + DIM, sizeof(float)));
        }
        guarded_release(&from);
        guarded_release(&to);
    }
    tq_codec_destroy(codec);
}

static void test_bad_input(void **state)
{
    enum { DIM = 16 };
    tq_codec *codec = open_codec(*state, DIM, TQ_FORMAT_TURBO4);
    tq_codec *half = open_codec(*state, DIM, TQ_FORMAT_F16);
    tq_status (*const calls[])(const tq_codec *, const float *, size_t, size_t, float *, size_t) = {tq_rotate,
                                                                                                    tq_unrotate};
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t c = 0; c < 2; c++) {
        float x[2 * DIM] = {0};
        float y[2 * DIM];
        memset(y, FILL_BYTE, sizeof y);
        assert_status(calls[c](NULL, x, 0, 1, y, 0), TQ_ERR_INVALID_ARGUMENT);
        assert_status(calls[c](codec, NULL, 0, 1, y, 0), TQ_ERR_INVALID_ARGUMENT);
        assert_status(calls[c](codec, x, 0, 1, NULL, 0), TQ_ERR_INVALID_ARGUMENT);
        assert_status(calls[c](codec, x, DIM - 1, 1, y, 0), TQ_ERR_INVALID_ARGUMENT);
        assert_status(calls[c](codec, x, 0, 1, y, DIM - 1), TQ_ERR_INVALID_ARGUMENT);
        assert_status(calls[c](codec, x, 0, SIZE_MAX / 2, y, 0), TQ_ERR_INVALID_ARGUMENT);
        assert_status(calls[c](codec, x, SIZE_MAX / 2, 3, y, 0), TQ_ERR_INVALID_ARGUMENT);
        assert_status(calls[c](half, x, 0, 1, y, 0), TQ_ERR_UNSUPPORTED);
        for (size_t i = 0; i < 3; i++) {
            x[2 * DIM - 1] = bad[i];
            assert_status(calls[c](codec, x, 0, 2, y, 0), TQ_ERR_NONFINITE);
        }
        assert_true(still_filled(y, sizeof y));
        assert_status(calls[c](codec, NULL, 0, 0, NULL, 0), TQ_OK);
    }
    tq_codec_destroy(half);
    tq_codec_destroy(codec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orthogonal),
        cmocka_unit_test(test_is_that_of_codes),
        cmocka_unit_test(test_strides),
        cmocka_unit_test(test_bad_input),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
