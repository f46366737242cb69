/* SPDX-License-Identifier: MIT
 *
 * Codebooks: the solver derives the tables again, its distortions are the constants of the paper and of the Gaussian
 * source, and a second derivation that shares nothing with the solver agrees. */
#include "support.h"

#include <math.h>

#include "codebook/codebook.h"
#include "codebook/lloyd_max.h"

static const unsigned TABLE_BITS[] = {1, 2, 3, 4, 8};
enum { N_TABLES = 5 };

/* Distortion of the optimal quantiser of N(0,1) with 2^bits levels; docs/numerics.md. */
static const double DISTORTION[9] = {0,         0.363380,   0.117482,   0.034548,    0.009501,
                                     0.0025047, 0.00064424, 0.00016348, 0.0000411851};
/* Half a unit of the last digit that is printed above. */
static const double DIGIT[9] = {0, 5e-7, 5e-7, 5e-7, 5e-7, 5e-8, 5e-9, 5e-9, 5e-11};

static double density(double x)
{
    return exp(-0.5 * x * x) / 2.5066282746310002;
}

/* E (x - c)^2 over a <= x < b, by Simpson's rule. */
static double cell_error(double a, double b, double c)
{
    enum { STEPS = 400 };
    const double h = (b - a) / STEPS;
    double sum = 0;
    for (int i = 0; i <= STEPS; i++) {
        const double x = a + h * i;
        sum += (i == 0 || i == STEPS ? 1 : i % 2 ? 4 : 2) * (x - c) * (x - c) * density(x);
    }
    return sum * h / 3;
}

static void test_distortion(void **state)
{
    (void)state;
    for (unsigned bits = 1; bits <= 8; bits++) {
        double levels[128];
        const double distortion = tq_lloyd_max((size_t)1 << (bits - 1), levels);
        assert_close(distortion, DISTORTION[bits], DIGIT[bits], "%u bits: distortion of the solver", bits);
    }
}

static void test_tables(void **state)
{
    (void)state;
    for (size_t t = 0; t < N_TABLES; t++) {
        const unsigned bits = TABLE_BITS[t];
        const size_t half = (size_t)1 << (bits - 1);
        const tq_codebook book = tq_codebook_for(bits);
        double levels[128];
        tq_lloyd_max(half, levels);
        for (size_t i = 0; i < half; i++) {
            assert_close((double)book.centroids[half + i], levels[i], 1e-6, "%u bits: level %zu", bits, i);
            assert_true(book.centroids[half - 1 - i] == -book.centroids[half + i]);
        }
        for (size_t i = 0; i + 1 < 2 * half; i++) {
            const double middle = 0.5 * ((double)book.centroids[i] + (double)book.centroids[i + 1]);
            assert_true(book.centroids[i] < book.centroids[i + 1]);
            assert_close((double)book.thresholds[i], middle, 1e-6, "%u bits: threshold %zu", bits, i);
            assert_true(book.thresholds[i] == -book.thresholds[2 * half - 2 - i]);
        }
    }
}

/* The two conditions of optimality, and the distortion, by numerical integration of the tables themselves. */
static void test_optimality(void **state)
{
    (void)state;
    for (size_t t = 0; t < N_TABLES; t++) {
        const unsigned bits = TABLE_BITS[t];
        const size_t n = (size_t)1 << bits;
        const tq_codebook book = tq_codebook_for(bits);
        double distortion = 0;
        for (size_t i = 0; i < n; i++) {
            const double a = i == 0 ? -12 : (double)book.thresholds[i - 1];
            const double b = i + 1 == n ? 12 : (double)book.thresholds[i];
            const double c = (double)book.centroids[i];
            distortion += cell_error(a, b, c);
            /* The level is the mean of its cell: moving it either way costs. The step is small against the cell, and
             * the gain of the wrong direction would be seen at twice the rounding of a table entry. */
            const double width = fmin(b, 6) - fmax(a, -6);
            assert_true(cell_error(a, b, c + 1e-3 * width) > cell_error(a, b, c));
            assert_true(cell_error(a, b, c - 1e-3 * width) > cell_error(a, b, c));
        }
        assert_close(distortion, DISTORTION[bits], 2e-6 * DISTORTION[bits] + DIGIT[bits],
                     "%u bits: distortion of the table", bits);
    }
}

/* The levels that docs/format.md prints. */
static void test_printed_levels(void **state)
{
    (void)state;
    static const double three[] = {0.245094, 0.756005, 1.343909, 2.151946};
    static const double four[] = {0.128395, 0.388048, 0.656759, 0.942340, 1.256231, 1.618046, 2.069017, 2.732590};
    for (size_t i = 0; i < 4; i++) {
        assert_close((double)tq_codebook_for(3).centroids[4 + i], three[i], 6e-7, "3 bits: level %zu", i);
    }
    for (size_t i = 0; i < 8; i++) {
        assert_close((double)tq_codebook_for(4).centroids[8 + i], four[i], 6e-7, "4 bits: level %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distortion),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_optimality),
        cmocka_unit_test(test_printed_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
