/* SPDX-License-Identifier: MIT
 *
 * Rotations: (H D)(H D)^T = d I for every Hadamard dimension there is, exactly; Haar rotations to f32 precision; the
 * inverse of each; that seeds differ and that the signs are those of docs/format.md. */
#include "support.h"

#include <math.h>

#include "kernels/kernels.h"
#include "rotation.h"

static tq_kernels kernels;
static struct counting_allocator counting;
static tq_allocator allocator;

static int setup(void **state)
{
    (void)state;
    allocator = counting_allocator_hooks(&counting);
    return tq_kernels_select(NULL, &kernels) == TQ_OK ? 0 : -1;
}

/* Rows of the matrix that `plan` applies: [dim, dim]. */
static float *matrix_of(const tq_rotation_plan *plan)
{
    const size_t dim = plan->dim;
    float *columns = filled(dim * dim * sizeof *columns);
    float *rows = filled(dim * dim * sizeof *rows);
    float *unit = calloc(dim, sizeof *unit);
    assert_non_null(unit);
    for (size_t j = 0; j < dim; j++) {
        unit[j] = 1;
        if (plan->dense) {
            kernels.multiply(plan->dense, dim, unit, columns + j * dim);
        } else {
            kernels.rotate(plan, unit, columns + j * dim);
        }
        unit[j] = 0;
    }
    for (size_t i = 0; i < dim; i++) {
        for (size_t j = 0; j < dim; j++) {
            rows[i * dim + j] = columns[j * dim + i];
        }
    }
    free(unit);
    free(columns);
    return rows;
}

/* The largest |<row_i, row_j> / dim - [i = j]|. Long matrices are sampled: each row against 64 others. */
static double defect_of(const float *rows, size_t dim)
{
    const size_t step = dim > 64 ? dim / 64 : 1;
    double worst = 0;
    for (size_t i = 0; i < dim; i++) {
        for (size_t k = 0; k <= i; k += step) {
            const size_t j = i - k;
            const double product = dot_of(rows + i * dim, rows + j * dim, dim) / (double)dim;
            worst = fmax(worst, fabs(product - (i == j ? 1.0 : 0.0)));
        }
    }
    return worst;
}

/* |x - x''| / |x| after there and back, the worst of a few vectors. */
static double return_error_of(const tq_rotation_plan *plan)
{
    const size_t dim = plan->dim;
    float *x = filled(3 * dim * sizeof *x);
    float *y = x + dim;
    float *back = y + dim;
    struct rng rng = rng_seeded(dim);
    double worst = 0;
    for (int k = 0; k < 5; k++) {
        rng_fill_gauss(&rng, x, dim);
        if (plan->dense) {
            kernels.multiply(plan->dense, dim, x, y);
            kernels.multiply_transposed(plan->dense, dim, y, back);
        } else {
            kernels.rotate(plan, x, y);
            kernels.unrotate(plan, y, back);
        }
        assert_close(norm_of(y, dim) / norm_of(x, dim), sqrt((double)dim), 1e-5 * sqrt((double)dim),
                     "dim %zu: growth of the norm", dim);
        double error = 0;
        for (size_t i = 0; i < dim; i++) {
            const double returned = (double)back[i] / (plan->dense ? (double)dim : 1.0);
            error += pow(returned - (double)x[i], 2);
        }
        worst = fmax(worst, sqrt(error) / norm_of(x, dim));
    }
    free(x);
    return worst;
}

static void test_hadamard(void **state)
{
    (void)state;
    static const uint32_t orders[] = {1, 12, 20, 28, 36};
    int found = 0;
    for (uint32_t dim = 1; dim <= TQ_MAX_DIM; dim++) {
        size_t expected_order = 0;
        for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
            for (uint32_t product = orders[i]; product <= dim; product *= 2) {
                if (product == dim) {
                    expected_order = orders[i];
                }
            }
        }
        assert_int_equal(tq_hadamard_order(dim), expected_order);
        if (expected_order == 0) {
            continue;
        }
        found++;
        tq_rotation_plan plan;
        assert_status(tq_rotation_init(&plan, &allocator, dim, TQ_ROTATION_HADAMARD, 77), TQ_OK);
        assert_int_equal(plan.dim, dim);
        assert_null(plan.dense);
        float *rows = matrix_of(&plan);
        for (size_t i = 0; i < (size_t)dim * dim; i++) {
            assert_true(rows[i] == 1.0F || rows[i] == -1.0F);
        }
        assert_true(defect_of(rows, dim) == 0);
        assert_true(return_error_of(&plan) < 1e-6);
        free(rows);
        tq_rotation_free(&plan, &allocator);
        assert_int_equal(counting.live_blocks, 0);
    }
    /* 1..1024: 11 powers of two, and 7, 6, 6, 5 multiples of 12, 20, 28, 36. */
    assert_int_equal(found, 11 + 7 + 6 + 6 + 5);
    assert_int_equal(counting.broken_promises, 0);
}

/* Column j of H D is the sign of coordinate j times column j of H, and the first column of H is all +1 up to the sign
 * convention of Paley's matrix; so between two seeds columns differ by the sign of docs/format.md and nothing else. */
static void test_signs(void **state)
{
    (void)state;
    static const uint32_t dims[] = {1, 20, 64, 96, 128, 144, 512};
    const uint64_t seeds[] = {0, 1, UINT64_C(0x9E3779B97F4A7C15), UINT64_MAX};
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        const uint32_t dim = dims[d];
        float *plain = NULL; /* H, with the signs of seed 0 taken off. */
        for (size_t s = 0; s < 4; s++) {
            tq_rotation_plan plan;
            assert_status(tq_rotation_init(&plan, &allocator, dim, TQ_ROTATION_HADAMARD, seeds[s]), TQ_OK);
            float *rows = matrix_of(&plan);
            struct rng rng = rng_seeded(seeds[s]);
            uint64_t word = 0;
            for (size_t j = 0; j < dim; j++) {
                word = j % 64 == 0 ? rng_word(&rng) : word >> 1;
                for (size_t i = 0; word & 1 && i < dim; i++) {
                    rows[i * dim + j] = -rows[i * dim + j];
                }
            }
            if (plain) {
                assert_memory_equal(rows, plain, dim * dim * sizeof *rows);
                free(rows);
            } else {
                plain = rows;
            }
            tq_rotation_free(&plan, &allocator);
        }
        free(plain);
    }
}

static void test_haar(void **state)
{
    (void)state;
    static const uint32_t dims[] = {1, 2, 3, 5, 7, 9, 15, 17, 31, 44, 63, 64, 65, 100, 127, 128, 200, 257, 500, 1000};
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        const uint32_t dim = dims[d];
        if (quick() && dim > 300) {
            continue;
        }
        tq_rotation_plan plan;
        assert_status(tq_rotation_init(&plan, &allocator, dim, TQ_ROTATION_HAAR, 78), TQ_OK);
        assert_non_null(plan.dense);
        assert_close(defect_of(plan.dense, dim), 0, 1e-5, "dim %u: R R^T - I", (unsigned)dim);
        assert_true(return_error_of(&plan) < 1e-5);
        tq_rotation_free(&plan, &allocator);
        assert_int_equal(counting.live_blocks, 0);
    }
    assert_int_equal(counting.broken_promises, 0);
}

/* Haar measure: over many seeds every entry of R has mean 0 and variance 1/d. */
static void test_haar_measure(void **state)
{
    (void)state;
    enum { DIM = 6, N = 2000 };
    double mean[DIM * DIM] = {0};
    double square[DIM * DIM] = {0};
    for (uint64_t seed = 0; seed < N; seed++) {
        tq_rotation_plan plan;
        assert_status(tq_rotation_init(&plan, &allocator, DIM, TQ_ROTATION_HAAR, seed), TQ_OK);
        for (size_t i = 0; i < DIM * DIM; i++) {
            mean[i] += (double)plan.dense[i] / N; /* sqrt(d) R */
            square[i] += (double)plan.dense[i] * (double)plan.dense[i] / N;
        }
        tq_rotation_free(&plan, &allocator);
    }
    /* Entries of sqrt(d) R have variance 1; their squares have variance 3d/(d+2) - 1 = 1.25. Five sigma. */
    for (size_t i = 0; i < DIM * DIM; i++) {
        assert_close(mean[i], 0, 5 * sqrt(1.0 / N), "mean of entry %zu", i);
        assert_close(square[i], 1, 5 * sqrt(1.25 / N), "variance of entry %zu", i);
    }
}

static void test_seeds(void **state)
{
    (void)state;
    enum { DIM = 36 };
    for (tq_rotation kind = TQ_ROTATION_HADAMARD; kind <= TQ_ROTATION_HAAR; kind++) {
        float *matrices[3];
        const uint64_t seeds[3] = {5, 5, 6};
        for (size_t s = 0; s < 3; s++) {
            tq_rotation_plan plan;
            assert_status(tq_rotation_init(&plan, &allocator, DIM, kind, seeds[s]), TQ_OK);
            matrices[s] = matrix_of(&plan);
            tq_rotation_free(&plan, &allocator);
        }
        assert_memory_equal(matrices[0], matrices[1], DIM * DIM * sizeof(float));
        assert_true(memcmp(matrices[0], matrices[2], DIM * DIM * sizeof(float)) != 0);
        for (size_t s = 0; s < 3; s++) {
            free(matrices[s]);
        }
    }
}

/* The projection of the prod formats: independent standard normals. Moments within five sigma. */
static void test_projection(void **state)
{
    (void)state;
    enum { DIM = 256, N = DIM * DIM };
    float *matrix = filled(N * sizeof *matrix);
    tq_random_projection(matrix, DIM, 79);
    double moments[5] = {0};
    double lagged = 0;
    for (size_t i = 0; i < N; i++) {
        const double x = (double)matrix[i];
        double power = 1;
        for (size_t m = 0; m < 5; m++) {
            moments[m] += power / N;
            power *= x;
        }
        lagged += x * (double)matrix[(i + 1) % N] / N;
    }
    assert_close(moments[1], 0, 5 * sqrt(1.0 / N), "mean");
    assert_close(moments[2], 1, 5 * sqrt(2.0 / N), "variance");
    assert_close(moments[3], 0, 5 * sqrt(15.0 / N), "third moment");
    assert_close(moments[4], 3, 5 * sqrt(96.0 / N), "fourth moment");
    assert_close(lagged, 0, 5 * sqrt(1.0 / N), "correlation of neighbours");
    free(matrix);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    for (tq_rotation kind = TQ_ROTATION_HADAMARD; kind <= TQ_ROTATION_HAAR; kind++) {
        counting = (struct counting_allocator){0};
        tq_rotation_plan plan;
        assert_status(tq_rotation_init(&plan, &allocator, 48, kind, 1), TQ_OK);
        tq_rotation_free(&plan, &allocator);
        const size_t needed = counting.calls;
        for (size_t n = 1; n <= needed; n++) {
            counting = (struct counting_allocator){.fail_at = n};
            assert_status(tq_rotation_init(&plan, &allocator, 48, kind, 1), TQ_ERR_OUT_OF_MEMORY);
            assert_int_equal(counting.live_blocks, 0);
            assert_int_equal(counting.broken_promises, 0);
        }
        counting = (struct counting_allocator){0};
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hadamard),      cmocka_unit_test(test_signs), cmocka_unit_test(test_haar),
        cmocka_unit_test(test_haar_measure),  cmocka_unit_test(test_seeds), cmocka_unit_test(test_projection),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
