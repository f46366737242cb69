/* SPDX-License-Identifier: MIT
 *
 * The integer levels that x86 kernels multiply with are those of the codebooks, but for what levels_x86.h says. */
#include "support.h"

#include "codebook/codebook.h"
#include "kernels/x86/levels_x86.h"

#include <math.h>

static double normal_below(double x)
{
    return 0.5 * erfc(-x / sqrt(2.0));
}

/* Levels are the means of their cells, so taking other ones adds the mean square of the difference. */
static double added_error(const tq_codebook *book, unsigned bits, tq_levels levels)
{
    const size_t n = (size_t)1 << bits;
    double added = 0;
    for (size_t i = 0; i < n; i++) {
        const double lower = i == 0 ? 0 : normal_below((double)book->thresholds[i - 1]);
        const double upper = i == n - 1 ? 1 : normal_below((double)book->thresholds[i]);
        const double level = ((double)levels.k[i] + (double)levels.half) * (double)levels.step;
        added += (upper - lower) * pow(level - (double)book->centroids[i], 2);
    }
    return added;
}

static void test_lloyd_levels(void **state)
{
    /* Of the mean squared errors in tables.c, the part that rounding may add. */
    const double errors[4] = {0.36338, 0.117482, 0.0345478, 0.00950101};
    const double parts[4] = {1e-6, 1e-5, 5e-5, 1.2e-3};
    (void)state;
    for (unsigned bits = 1; bits <= 4; bits++) {
        const tq_codebook book = tq_codebook_for(bits);
        const tq_code code = {.bits = bits, .centroids = book.centroids};
        const double part = added_error(&book, bits, tq_integer_levels(&code)) / errors[bits - 1];
        assert_close(part, 0, parts[bits - 1], "%u bits", bits);
    }
}

static void test_trellis_levels(void **state)
{
    (void)state;
    for (unsigned bits = 2; bits <= 4; bits++) {
        tq_code code = {.bits = bits};
        tq_trellis_init(&code.trellis, bits);
        const tq_levels levels = tq_integer_levels(&code);
        for (size_t i = 0; i < (size_t)2 << bits; i++) {
            const double level = ((double)levels.k[i] + (double)levels.half) * (double)levels.step;
            assert_close(level, ((double)code.trellis.k[i] + 0.5) * (double)code.trellis.step, 1e-9, "level %zu", i);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lloyd_levels),
        cmocka_unit_test(test_trellis_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
