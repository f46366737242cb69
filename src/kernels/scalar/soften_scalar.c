/* SPDX-License-Identifier: MIT
 *
 * The online softmax (M. Milakov, N. Gimelshein, arXiv:1805.02867): sums over the scores seen so far are relative to
 * exp(m) with m the largest of them, and are multiplied by exp(m_old - m_new) when m grows. */
#include "kernels/scalar/scalar.h"

#include <math.h>
#include <string.h>

static float soften_row(float *scores, size_t n, float *largest, float *weight)
{
    float top = *largest;
    for (size_t k = 0; k < n; k++) {
        top = scores[k] > top ? scores[k] : top;
    }
    if (top == -INFINITY) { /* Nothing is seen, neither here nor before. */
        memset(scores, 0, n * sizeof *scores);
        return 1;
    }
    const float factor = expf(*largest - top);
    *weight *= factor;
    *largest = top;
    for (size_t k = 0; k < n; k++) {
        scores[k] = expf(scores[k] - top);
        *weight += scores[k];
    }
    return factor;
}

void tq_soften_scalar(float *scores, size_t stride, size_t n_q, size_t n, float *largest, float *weight, float *factor)
{
    for (size_t i = 0; i < n_q; i++) {
        factor[i] = soften_row(scores + i * stride, n, &largest[i], &weight[i]);
    }
}
