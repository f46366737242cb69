/* SPDX-License-Identifier: MIT
 *
 * A partial backend: the dense products of the Haar rotation and the QJL projection through OpenBLAS. Built only on
 * request (TURBOQUANT_OPENBLAS), because it adds a dependency at run time and threads that the library did not start.
 */
#include "kernels/kernels.h"

#include <cblas.h>

static void multiply(const float *matrix, size_t dim, const float *x, float *y)
{
    const int n = (int)dim;
    cblas_sgemv(CblasRowMajor, CblasNoTrans, n, n, 1.0F, matrix, n, x, 1, 0.0F, y, 1);
}

static void multiply_transposed(const float *matrix, size_t dim, const float *x, float *y)
{
    const int n = (int)dim;
    cblas_sgemv(CblasRowMajor, CblasTrans, n, n, 1.0F, matrix, n, x, 1, 0.0F, y, 1);
}

void tq_kernels_openblas(tq_kernels *kernels)
{
    kernels->multiply = multiply;
    kernels->multiply_transposed = multiply_transposed;
}
