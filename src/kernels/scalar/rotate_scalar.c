/* SPDX-License-Identifier: MIT
 *
 * The rotation that makes all coordinates alike (TurboQuant, arXiv:2504.19874, Algorithm 1, line 3, with a randomised
 * Hadamard matrix in the place of the dense one).
 *
 * dim = m * 2^a. D is a diagonal of random signs; H is the Kronecker product of Sylvester's Hadamard matrix of order
 * 2^a and Paley's of order m, all entries +-1, so H H^T = dim I. With i = m * block + j,
 *
 *     (H x)_i = sum over blocks k:  S[block][k] * sum over l:  P[j][l] * x[m * k + l]
 *
 * where S is never formed: multiplying with it is a butterflies, each replacing a pair (u, v) by (u + v, u - v).
 * No factor 1/sqrt(dim) is applied: y = H D x has |y|^2 = dim |x|^2, so that y / |x| has coordinates of variance 1,
 * which is what the codebooks are made for. */
#include "kernels/exact.h"
#include "kernels/scalar/scalar.h"

#include <string.h>

float tq_sum_squares_scalar(const float *x, size_t count)
{
    return tq_exact_dot(x, x, count);
}

/* Sylvester's part on `dim / m` blocks of m elements: stages of distance m, 2m, 4m, ... */
static void butterflies(float *y, size_t dim, size_t m)
{
    for (size_t h = m; h < dim; h *= 2) {
        for (size_t pair = 0; pair < dim; pair += 2 * h) {
            for (size_t i = pair; i < pair + h; i++) {
                const float u = y[i];
                const float v = y[i + h];
                y[i] = u + v;
                y[i + h] = u - v;
            }
        }
    }
}

/* y = P x for one block; terms are added in ascending order of l. */
static void paley_block(const float *paley, size_t m, const float *x, float *y)
{
    for (size_t j = 0; j < m; j++) {
        float sum = paley[j * m] * x[0];
        for (size_t l = 1; l < m; l++) {
            sum += paley[j * m + l] * x[l];
        }
        y[j] = sum;
    }
}

static void paley_block_transposed(const float *paley, size_t m, const float *y, float *x)
{
    for (size_t l = 0; l < m; l++) {
        float sum = 0;
        for (size_t j = 0; j < m; j++) {
            sum += paley[j * m + l] * y[j];
        }
        x[l] = sum;
    }
}

void tq_rotate_scalar(const tq_rotation_plan *plan, const float *x, float *y)
{
    const size_t m = plan->paley_order;
    float flipped[TQ_MAX_DIM];
    float *input = m == 1 ? y : flipped;
    for (size_t i = 0; i < plan->dim; i++) {
        input[i] = plan->signs[i] * x[i];
    }
    for (size_t block = 0; m > 1 && block < plan->dim; block += m) {
        paley_block(plan->paley, m, input + block, y + block);
    }
    butterflies(y, plan->dim, m);
}

void tq_unrotate_scalar(const tq_rotation_plan *plan, const float *y, float *x)
{
    const size_t m = plan->paley_order;
    const float inverse = 1.0F / (float)plan->dim;
    float mixed[TQ_MAX_DIM];
    memcpy(mixed, y, plan->dim * sizeof *y);
    butterflies(mixed, plan->dim, m); /* Sylvester's matrix is symmetric. */
    for (size_t block = 0; block < plan->dim; block += m) {
        if (m == 1) {
            x[block] = mixed[block];
        } else {
            paley_block_transposed(plan->paley, m, mixed + block, x + block);
        }
    }
    for (size_t i = 0; i < plan->dim; i++) {
        x[i] *= plan->signs[i] * inverse;
    }
}

void tq_multiply_scalar(const float *matrix, size_t dim, const float *x, float *y)
{
    for (size_t i = 0; i < dim; i++) {
        y[i] = tq_exact_dot(matrix + i * dim, x, dim);
    }
}

void tq_multiply_transposed_scalar(const float *matrix, size_t dim, const float *x, float *y)
{
    memset(y, 0, dim * sizeof *y);
    for (size_t i = 0; i < dim; i++) {
        for (size_t j = 0; j < dim; j++) {
            y[j] += matrix[i * dim + j] * x[i];
        }
    }
}
