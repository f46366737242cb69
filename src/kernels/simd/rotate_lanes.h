/* SPDX-License-Identifier: MIT
 *
 * The Hadamard rotation, for the backends whose lanes_*.h was included before:
 *
 *     y[i] = sign[i] * x[i];
 *     each block of m: y = P y;
 *     for (h = m; h < dim; h *= 2)
 *         each pair (i, i + h) of a run of 2 h: (u, v) -> (u + v, u - v);
 *
 * The order of additions that end in one element is the scalar kernel's, the order of elements is not.
 *
 * m = 1: a vector is dim / 16 registers. Distances 1 to 8 are butterflies between lanes, the others between registers.
 * A group of registers goes through all its stages before it is stored; what distances remain follow in passes of 2, 4
 * or 8 registers. dim < 16 is left to the scalar kernel.
 *
 * m > 1: every block is padded to whole registers,
 *
 *     x: [block 0: m][block 1: m] ..      padded: [block 0: m, free][block 1: m, free] ..
 *
 * so that no stage has a tail: the free lanes hold numbers nobody reads. A block's product with P adds its columns in
 * ascending order; entries are +-1, so a fused multiplication and addition rounds like an addition. (What fills an
 * array is a function apart, or gcc takes the array for uninitialised.) */
#ifndef TQ_ROTATE_LANES_H
#define TQ_ROTATE_LANES_H

#include "kernels/scalar/scalar.h"

#include <stdbool.h>

enum { MOST_PALEY_ROWS = 36, MOST_PALEY_VECTORS = 3 };

float TQ_KERNEL(sum_squares)(const float *x, size_t count)
{
    f32x16 sum = lanes_all(0);
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        const f32x16 a = lanes_load(x + i);
        sum = lanes_add(sum, lanes_mul(a, a));
    }
    if (i < count) {
        const f32x16 a = lanes_load_part(x + i, count - i);
        sum = lanes_add(sum, lanes_mul(a, a));
    }
    return lanes_sum(sum);
}

/* Butterflies of distance h between n registers. */
TQ_INLINE void stage(f32x16 *v, size_t n, size_t h)
{
    for (size_t i = 0; i < n / 2; i++) {
        const size_t at = i / h * 2 * h + i % h;
        const f32x16 u = v[at];
        v[at] = lanes_add(u, v[at + h]);
        v[at + h] = lanes_sub(u, v[at + h]);
    }
}

/* Butterflies of all distances between n = 1, 2, 4 or 8 registers; the last straight to memory, where the registers lie
 * `step` floats after each other. */
TQ_INLINE void combine(f32x16 *v, size_t n, float *y, size_t step)
{
    if (n == 1) {
        lanes_store(y, v[0]);
    }
    if (n > 2) {
        stage(v, n, 1);
    }
    if (n > 4) {
        stage(v, n, 2);
    }
    for (size_t i = 0; i < n / 2; i++) {
        lanes_store(y + i * step, lanes_add(v[i], v[i + n / 2]));
        lanes_store(y + (i + n / 2) * step, lanes_sub(v[i], v[i + n / 2]));
    }
}

/* All stages of m = 1 inside groups of n registers, after D if `with_signs`. */
TQ_INLINE void transform_groups(bool with_signs, const float *signs, const float *x, size_t dim, size_t n, float *y)
{
    for (size_t group = 0; group < dim; group += n * LANES) {
        f32x16 v[LANES_GROUP];
        for (size_t k = 0; k < n; k++) {
            const size_t at = group + k * LANES;
            const f32x16 a = lanes_load(x + at);
            v[k] = lanes_butterflies(with_signs ? lanes_mul(a, lanes_load(signs + at)) : a);
        }
        combine(v, n, y + group, LANES);
    }
}

/* Stages of distance `distance`, 2 * distance, .. registers: as many as n registers at once allow. */
TQ_INLINE void pass(float *y, size_t n_vectors, size_t distance, size_t n)
{
    const size_t step = distance * LANES;
    for (size_t run = 0; run < n_vectors; run += n * distance) {
        for (size_t i = run; i < run + distance; i++) {
            f32x16 v[LANES_GROUP];
            for (size_t k = 0; k < n; k++) {
                v[k] = lanes_load(y + i * LANES + k * step);
            }
            combine(v, n, y + i * LANES, step);
        }
    }
}

/* All stages from `distance` registers on. */
static void butterflies(float *y, size_t n_vectors, size_t distance)
{
    for (; distance * LANES_GROUP <= n_vectors; distance *= LANES_GROUP) {
        pass(y, n_vectors, distance, LANES_GROUP);
    }
    for (; distance * 4 <= n_vectors; distance *= 4) {
        pass(y, n_vectors, distance, 4);
    }
    if (distance < n_vectors) {
        pass(y, n_vectors, distance, 2);
    }
}

/* y = H D x, or y = H x, for m = 1. */
TQ_INLINE void sylvester(bool with_signs, const float *signs, const float *x, size_t dim, float *y)
{
    size_t group = LANES_GROUP;
    if (dim >= LANES_GROUP * LANES) {
        transform_groups(with_signs, signs, x, dim, LANES_GROUP, y);
    } else if (dim == 4 * LANES) {
        transform_groups(with_signs, signs, x, dim, group = 4, y);
    } else if (dim == 2 * LANES) {
        transform_groups(with_signs, signs, x, dim, group = 2, y);
    } else {
        transform_groups(with_signs, signs, x, dim, group = 1, y);
    }
    butterflies(y, dim / LANES, group);
}

/* Rows of P as padded vectors or, if `transposed`, its columns: P is skew but for its diagonal of ones, if m is 12 or
 * 20, else symmetric (rotation.c). */
TQ_APART void load_paley(const tq_rotation_plan *plan, int transposed, size_t width, float *vectors)
{
    const size_t m = plan->paley_order;
    const int negate = transposed && m <= 20;
    for (size_t l = 0; l < m; l++) {
        for (size_t j = 0; j < width; j += LANES) {
            const f32x16 row = lanes_load_part(plan->paley + l * m + j, lanes_left(m, j));
            lanes_store(vectors + l * width + j, lanes_mul(row, lanes_all(negate ? -1.0F : 1.0F)));
        }
        if (negate) {
            vectors[l * width + l] = 1;
        }
    }
}

/* y = sum over l of x[l] * vectors[l], n registers wide. */
TQ_INLINE void multiply_block(const float *vectors, size_t m, size_t n, const float *x, float *y)
{
    f32x16 sum[MOST_PALEY_VECTORS];
    for (size_t v = 0; v < n; v++) {
        sum[v] = lanes_mul(lanes_load(vectors + v * LANES), lanes_all(x[0]));
    }
    for (size_t l = 1; l < m; l++) {
        const f32x16 factor = lanes_all(x[l]);
        for (size_t v = 0; v < n; v++) {
            sum[v] = lanes_fused(lanes_load(vectors + (l * n + v) * LANES), factor, sum[v]);
        }
    }
    for (size_t v = 0; v < n; v++) {
        lanes_store(y + v * LANES, sum[v]);
    }
}

/* multiply_block for blocks that begin x_step and y_step floats after each other. */
static void multiply_blocks(const float *vectors, size_t m, size_t n_blocks, const float *x, size_t x_step, float *y,
                            size_t y_step)
{
    for (size_t block = 0; block < n_blocks; block++) {
        if (m <= LANES) {
            multiply_block(vectors, m, 1, x + block * x_step, y + block * y_step);
        } else if (m <= 2 * LANES) {
            multiply_block(vectors, m, 2, x + block * x_step, y + block * y_step);
        } else {
            multiply_block(vectors, m, 3, x + block * x_step, y + block * y_step);
        }
    }
}

/* y[i] = x[i] * signs[i] * factor. */
TQ_APART void flip(const float *signs, const float *x, size_t dim, float factor, float *y)
{
    size_t i = 0;
    for (; i + LANES <= dim; i += LANES) {
        const f32x16 sign = lanes_mul(lanes_load(signs + i), lanes_all(factor));
        lanes_store(y + i, lanes_mul(lanes_load(x + i), sign));
    }
    if (i < dim) {
        const f32x16 sign = lanes_mul(lanes_load_part(signs + i, dim - i), lanes_all(factor));
        lanes_store_part(y + i, dim - i, lanes_mul(lanes_load_part(x + i, dim - i), sign));
    }
}

/* Blocks of m floats to blocks of `width`, filled up with zeros. */
static void pad_blocks(const float *x, size_t m, size_t n_blocks, size_t width, float *padded)
{
    for (size_t block = 0; block < n_blocks; block++) {
        for (size_t j = 0; j < m; j += LANES) {
            lanes_store(padded + block * width + j, lanes_load_part(x + block * m + j, lanes_left(m, j)));
        }
    }
}

static void unpad_blocks(const float *padded, size_t m, size_t n_blocks, size_t width, float *y)
{
    for (size_t block = 0; block < n_blocks; block++) {
        for (size_t j = 0; j < m; j += LANES) {
            lanes_store_part(y + block * m + j, lanes_left(m, j), lanes_load(padded + block * width + j));
        }
    }
}

void TQ_KERNEL(rotate)(const tq_rotation_plan *plan, const float *x, float *y)
{
    const size_t m = plan->paley_order;
    if (plan->dim < LANES && m == 1) {
        tq_rotate_scalar(plan, x, y);
        return;
    }
    if (m == 1) {
        sylvester(true, plan->signs, x, plan->dim, y);
        return;
    }
    const size_t n_blocks = plan->dim / m;
    const size_t width = (m + LANES - 1) / LANES * LANES;
    float columns[MOST_PALEY_ROWS * MOST_PALEY_VECTORS * LANES];
    float flipped[TQ_MAX_DIM];
    float padded[TQ_MAX_DIM]; /* Enough: the most is 1024, for 12 * 64, 20 * 32 and 28 * 32. */
    load_paley(plan, 1, width, columns);
    flip(plan->signs, x, plan->dim, 1, flipped);
    multiply_blocks(columns, m, n_blocks, flipped, m, padded, width);
    butterflies(padded, n_blocks * width / LANES, width / LANES);
    unpad_blocks(padded, m, n_blocks, width, y);
}

void TQ_KERNEL(unrotate)(const tq_rotation_plan *plan, const float *y, float *x)
{
    const size_t m = plan->paley_order;
    const float inverse = 1.0F / (float)plan->dim;
    float mixed[TQ_MAX_DIM];
    if (plan->dim < LANES && m == 1) {
        tq_unrotate_scalar(plan, y, x);
        return;
    }
    if (m == 1) {
        sylvester(false, plan->signs, y, plan->dim, mixed);
        flip(plan->signs, mixed, plan->dim, inverse, x);
        return;
    }
    const size_t n_blocks = plan->dim / m;
    const size_t width = (m + LANES - 1) / LANES * LANES;
    float rows[MOST_PALEY_ROWS * MOST_PALEY_VECTORS * LANES];
    load_paley(plan, 0, width, rows);
    pad_blocks(y, m, n_blocks, width, mixed);
    butterflies(mixed, n_blocks * width / LANES, width / LANES);
    multiply_blocks(rows, m, n_blocks, mixed, width, mixed, width);
    unpad_blocks(mixed, m, n_blocks, width, x);
    flip(plan->signs, x, plan->dim, inverse, x);
}

#endif /* TQ_ROTATE_LANES_H */
