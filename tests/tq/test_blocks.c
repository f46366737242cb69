/* SPDX-License-Identifier: MIT
 *
 * test_blocks FILE: blocks of every type against what model_reference.py decoded them to, with the loops of every
 * instruction set of this machine. The file has tensors NAME and, in F32, NAME.values. */
#include "tq_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct gguf gguf;

static void check(const struct tensor_loops *loops, const struct gguf_tensor *blocks, const float *expected)
{
    const size_t n = blocks->dims[0] * blocks->dims[1];
    float *values = malloc(n * sizeof *values);
    assert_non_null(values);
    loops->dequantise[blocks->type->layout](blocks->data, n, values);
    for (size_t i = 0; i < n; i++) { /* Two roundings: of the product, and of a sum that may cancel. */
        if (!(fabs((double)values[i] - (double)expected[i]) <= 3e-7 * fmax(1.0, fabs((double)expected[i])))) {
            fail_msg("%s, %s, element %zu: %.9g instead of %.9g", loops->name, blocks->type->name, i, (double)values[i],
                     (double)expected[i]);
        }
    }
    free(values);
}

static void blocks_decode(void **state)
{
    (void)state;
    const struct tensor_loops *const loops[] = {&tensor_loops_portable, tensor_loops_best()};
    size_t n = 0;
    for (size_t i = 0; i < gguf.n_tensors; i++) {
        char name[64];
        const struct gguf_string stem = gguf.tensors[i].name;
        snprintf(name, sizeof name, "%.*s.values", (int)stem.size, stem.data);
        const struct gguf_tensor *expected = gguf_tensor(&gguf, name);
        if (expected != NULL) {
            for (size_t j = 0; j < sizeof loops / sizeof *loops; j++) {
                check(loops[j], &gguf.tensors[i], (const float *)(const void *)expected->data);
            }
            n++;
        }
    }
    assert_int_equal(n, 7);
}

static void dots_and_sums(void **state)
{
    (void)state;
    const struct tensor_loops *const loops[] = {&tensor_loops_portable, tensor_loops_best()};
    enum { N = 200 };
    float a[N];
    float b[N];
    for (size_t i = 0; i < N; i++) {
        a[i] = (float)(i % 17) - 8.0F;
        b[i] = (float)(i % 5) - 1.5F;
    }
    for (size_t n = 0; n <= N; n++) {
        double expected = 0.0;
        for (size_t i = 0; i < n; i++) {
            expected += (double)a[i] * (double)b[i];
        }
        for (size_t j = 0; j < sizeof loops / sizeof *loops; j++) { /* Small numbers: exact. */
            assert_true(fabs((double)loops[j]->dot(a, b, n) - expected) < 1e-9);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(blocks_decode), cmocka_unit_test(dots_and_sums)};
    struct error error;
    if (argc != 2) {
        fprintf(stderr, "usage: test_blocks FILE\n");
        return 2;
    }
    if (!gguf_open(&gguf, argv[1], &error)) {
        return error_report(&error);
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    gguf_close(&gguf);
    return failed;
}
