/* SPDX-License-Identifier: MIT
 *
 * Random signs, Paley's Hadamard matrices, and dense random rotations. */
#include "rotation.h"

#include "context.h"
#include "random.h"

#include <math.h>
#include <string.h>

/* Streams of random numbers that one seed gives: the signs use the seed itself. */
static const uint64_t HAAR_STREAM = 0x48616172U;       /* "Haar" */
static const uint64_t PROJECTION_STREAM = 0x514A4C53U; /* "QJLS" */

size_t tq_hadamard_order(size_t dim)
{
    static const size_t orders[] = {1, 12, 20, 28, 36};
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        const size_t blocks = dim / orders[i];
        if (dim % orders[i] == 0 && blocks > 0 && (blocks & (blocks - 1)) == 0) {
            return orders[i];
        }
    }
    return 0;
}

/* Word w of the generator gives the signs of coordinates 64w .. 64w + 63, lowest bit first, 1 meaning minus. */
static void fill_signs(float *signs, size_t dim, uint64_t seed)
{
    uint64_t word = 0;
    for (size_t i = 0; i < dim; i++) {
        if (i % 64 == 0) {
            word = tq_random_next(&seed);
        }
        signs[i] = (word >> i % 64 & 1) != 0 ? -1.0F : 1.0F;
    }
}

/* Legendre symbol: 1 if a is a non-zero square modulo the odd prime q, -1 if it is no square, 0 if q divides a. */
static float legendre(size_t a, size_t q)
{
    if (a % q == 0) {
        return 0;
    }
    for (size_t x = 1; x < q; x++) {
        if (x * x % q == a % q) {
            return 1;
        }
    }
    return -1;
}

/* Paley's conference matrix of order q + 1: a border of ones round Q[i][j] = legendre(i - j), the left border of the
 * same sign as legendre(-1) so that the matrix is symmetric (q = 1 mod 4) or skew (q = 3 mod 4); zero diagonal. */
static float conference(size_t i, size_t j, size_t q)
{
    if (i == 0 || j == 0) {
        return i == j ? 0 : (i == 0 ? 1 : legendre(q - 1, q));
    }
    return legendre(i - 1 + q - (j - 1), q);
}

/* Hadamard matrix of order m (R. Paley, "On orthogonal matrices", 1933). Construction I, q = m - 1 = 11 or 19: C + I,
 * with C skew. Construction II, q = m/2 - 1 = 13 or 17: each entry of the symmetric C becomes a block of 2 x 2,
 * +-1 -> +-[1 1; 1 -1] and 0 -> [1 -1; -1 -1]. */
static void fill_paley(float *matrix, size_t m)
{
    static const float entry[2][2] = {{1, 1}, {1, -1}};
    static const float diagonal[2][2] = {{1, -1}, {-1, -1}};
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < m; j++) {
            if (m == 12 || m == 20) {
                matrix[i * m + j] = i == j ? 1 : conference(i, j, m - 1);
            } else {
                const float c = conference(i / 2, j / 2, m / 2 - 1);
                matrix[i * m + j] = i / 2 == j / 2 ? diagonal[i % 2][j % 2] : c * entry[i % 2][j % 2];
            }
        }
    }
}

void tq_random_projection(float *matrix, size_t dim, uint64_t seed)
{
    uint64_t state = seed ^ PROJECTION_STREAM;
    for (size_t i = 0; i < dim * dim; i++) {
        matrix[i] = (float)tq_random_normal(&state);
    }
}

static double dot(const double *a, const double *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* A rotation drawn from the Haar measure: the rows of a matrix of independent normals, made orthonormal one after the
 * other (modified Gram-Schmidt, which is a QR decomposition with a positive diagonal). In double precision the rows end
 * orthogonal to far below the resolution of f32. TurboQuant, arXiv:2504.19874, Algorithm 1, line 1. */
static void fill_haar(float *dense, double *rows, size_t dim, uint64_t seed)
{
    uint64_t state = seed ^ HAAR_STREAM;
    for (size_t i = 0; i < dim * dim; i++) {
        rows[i] = tq_random_normal(&state);
    }
    for (size_t i = 0; i < dim; i++) {
        double *row = rows + i * dim;
        for (size_t k = 0; k < i; k++) {
            const double *done = rows + k * dim;
            const double along = dot(row, done, dim);
            for (size_t j = 0; j < dim; j++) {
                row[j] -= along * done[j];
            }
        }
        const double length = sqrt(dot(row, row, dim));
        for (size_t j = 0; j < dim; j++) {
            row[j] /= length;
            dense[i * dim + j] = (float)(row[j] * sqrt((double)dim));
        }
    }
}

static tq_status init_dense(tq_rotation_plan *plan, const tq_allocator *allocator, size_t dim, uint64_t seed)
{
    double *rows = tq_allocate(allocator, dim * dim, sizeof *rows);
    plan->dense = tq_allocate(allocator, dim * dim, sizeof *plan->dense);
    if (rows != NULL && plan->dense != NULL) {
        fill_haar(plan->dense, rows, dim, seed);
    }
    const tq_status status = rows != NULL && plan->dense != NULL ? TQ_OK : TQ_ERR_OUT_OF_MEMORY;
    tq_release(allocator, rows);
    return status;
}

static tq_status init_hadamard(tq_rotation_plan *plan, const tq_allocator *allocator, size_t dim, uint64_t seed)
{
    const size_t m = tq_hadamard_order(dim);
    plan->paley_order = m;
    plan->signs = tq_allocate(allocator, dim, sizeof *plan->signs);
    if (plan->signs == NULL) {
        return TQ_ERR_OUT_OF_MEMORY;
    }
    fill_signs(plan->signs, dim, seed);
    if (m > 1) {
        plan->paley = tq_allocate(allocator, m * m, sizeof *plan->paley);
        if (plan->paley == NULL) {
            return TQ_ERR_OUT_OF_MEMORY;
        }
        fill_paley(plan->paley, m);
    }
    return TQ_OK;
}

tq_status tq_rotation_init(tq_rotation_plan *plan, const tq_allocator *allocator, size_t dim, tq_rotation kind,
                           uint64_t seed)
{
    memset(plan, 0, sizeof *plan);
    plan->dim = dim;
    const tq_status status =
        kind == TQ_ROTATION_HAAR ? init_dense(plan, allocator, dim, seed) : init_hadamard(plan, allocator, dim, seed);
    if (status != TQ_OK) {
        tq_rotation_free(plan, allocator);
    }
    return status;
}

void tq_rotation_free(tq_rotation_plan *plan, const tq_allocator *allocator)
{
    tq_release(allocator, plan->signs);
    tq_release(allocator, plan->paley);
    tq_release(allocator, plan->dense);
    memset(plan, 0, sizeof *plan);
}
