/* SPDX-License-Identifier: MIT
 *
 * Sums of squares, Hadamard rotations, dense products. */
#include "check.h"

#include "context.h"
#include "rotation.h"

#include <math.h>
#include <stdlib.h>

void check_sum_squares(trial *t)
{
    const float *x = input_floats(t, "x", t->dim);
    output *sum = output_floats(t, "the sum", 1);
    while (next_backend(t)) {
        TIMED(t, *(float *)sum->data = t->kernels->sum_squares(x, t->dim));
    }
    expect(t, sum);
}

static void *plain_alloc(void *user, size_t alignment, size_t bytes)
{
    (void)user;
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void plain_free(void *user, void *memory)
{
    (void)user;
    free(memory);
}

/* The library's plan, its matrices against guard pages. False if there is no Hadamard rotation of that dimension. */
static bool draw_plan(trial *t, tq_rotation_plan *guarded)
{
    static const tq_allocator allocator = {plain_alloc, plain_free, NULL};
    tq_rotation_plan plan;
    if (tq_hadamard_order(t->dim) == 0 ||
        tq_rotation_init(&plan, &allocator, t->dim, TQ_ROTATION_HADAMARD, rng_word(&t->rng)) != TQ_OK) {
        return false;
    }
    const size_t m = plan.paley_order;
    *guarded = plan;
    guarded->signs = (float *)input_copy(t, "plan.signs", plan.signs, t->dim * sizeof(float), sizeof(float));
    if (plan.paley != NULL) {
        guarded->paley = (float *)input_copy(t, "plan.paley", plan.paley, m * m * sizeof(float), sizeof(float));
    }
    tq_rotation_free(&plan, &allocator);
    return true;
}

void check_rotate(trial *t)
{
    tq_rotation_plan plan;
    if (!draw_plan(t, &plan)) {
        return;
    }
    const float *x = input_floats(t, "x", t->dim);
    output *y = output_floats(t, "y", t->dim);
    while (next_backend(t)) {
        TIMED(t, t->kernels->rotate(&plan, x, y->data));
    }
    expect(t, y);
}

void check_unrotate(trial *t)
{
    tq_rotation_plan plan;
    if (!draw_plan(t, &plan)) {
        return;
    }
    const float *y = input_floats(t, "y", t->dim);
    output *x = output_floats(t, "x", t->dim);
    while (next_backend(t)) {
        TIMED(t, t->kernels->unrotate(&plan, y, x->data));
    }
    for (size_t j = 0; j < t->dim; j++) {
        x->unit[j] = length_of(y, t->dim) / sqrt((double)t->dim);
    }
    expect(t, x);
}

/* Numbers of class normal; every large matrix costs time to fill. */
static float *draw_matrix(trial *t)
{
    const size_t n = t->dim * t->dim;
    float *matrix = input(t, "the matrix", n * sizeof *matrix, sizeof *matrix);
    for (size_t i = 0; i < n; i++) {
        matrix[i] = draw_bell(t);
    }
    return matrix;
}

/* Of row i (step 1) or column i (step dim). */
static double line_length(const float *matrix, size_t dim, size_t i, bool column)
{
    double sum = 0;
    for (size_t j = 0; j < dim; j++) {
        const double element = (double)matrix[column ? j * dim + i : i * dim + j];
        sum += element * element;
    }
    return sqrt(sum);
}

static void expect_product(trial *t, const float *matrix, bool columns, const float *x, output *y)
{
    for (size_t i = 0; t->bench == NULL && i < t->dim; i++) {
        y->unit[i] = line_length(matrix, t->dim, i, columns) * length_of(x, t->dim);
    }
    expect(t, y);
}

void check_multiply(trial *t)
{
    const float *matrix = draw_matrix(t);
    const float *x = input_floats(t, "x", t->dim);
    output *y = output_floats(t, "y", t->dim);
    while (next_backend(t)) {
        TIMED(t, t->kernels->multiply(matrix, t->dim, x, y->data));
    }
    expect_product(t, matrix, false, x, y);
}

void check_multiply_transposed(trial *t)
{
    const float *matrix = draw_matrix(t);
    const float *x = input_floats(t, "x", t->dim);
    output *y = output_floats(t, "y", t->dim);
    while (next_backend(t)) {
        TIMED(t, t->kernels->multiply_transposed(matrix, t->dim, x, y->data));
    }
    expect_product(t, matrix, true, x, y);
}
