/* SPDX-License-Identifier: MIT
 *
 * Weighted sums of rows, taken before the inverse rotation: it is linear, so one at the end serves for all rows,
 *
 *     sum over k: w_k x'_k = (sqrt(d) R)^T (sum over k: w_k s_k c_k) / d
 *
 * Each row is read once for all sums; rows of weight zero add nothing. */
#include "kernels/scalar/rows_scalar.h"

/* sums[i] += w[i] * factor * values for all n_q sums. */
static void add_row(const float *w, size_t w_stride, size_t n_q, float factor, const float *values, size_t dim,
                    float *sums)
{
    for (size_t i = 0; i < n_q; i++) {
        if (w[i * w_stride] == 0) {
            continue;
        }
        const float weight = w[i * w_stride] * factor;
        for (size_t j = 0; j < dim; j++) {
            sums[i * dim + j] += weight * values[j];
        }
    }
}

static void sum_of(const tq_code *code, tq_row_reader *read, const float *w, size_t w_stride, size_t n_q,
                   const uint8_t *rows, size_t n, float *sums)
{
    for (size_t k = 0; k < n; k++) {
        float levels[TQ_MAX_DIM];
        const float factor = read(code, rows + k * code->row_bytes, levels);
        add_row(w + k, w_stride, n_q, factor, levels, code->dim, sums);
    }
}

void tq_lloyd_sum_scalar(const tq_code *code, const float *w, size_t w_stride, size_t n_q, const uint8_t *rows,
                         size_t n, float *sums)
{
    sum_of(code, tq_lloyd_read, w, w_stride, n_q, rows, n, sums);
}

void tq_trellis_sum_scalar(const tq_code *code, const float *w, size_t w_stride, size_t n_q, const uint8_t *rows,
                           size_t n, float *sums)
{
    sum_of(code, tq_trellis_read, w, w_stride, n_q, rows, n, sums);
}

void tq_sign_sum_scalar(const tq_code *code, const float *w, size_t w_stride, size_t n_q, const uint8_t *rows, size_t n,
                        float *sums)
{
    sum_of(code, tq_sign_read, w, w_stride, n_q, rows, n, sums);
}

void tq_half_sum_scalar(size_t dim, const float *w, size_t w_stride, size_t n_q, const uint8_t *rows, size_t n,
                        float *sums)
{
    for (size_t k = 0; k < n; k++) {
        float x[TQ_MAX_DIM];
        tq_half_decode_scalar(rows + k * 2 * dim, dim, x);
        add_row(w + k, w_stride, n_q, 1.0F, x, dim, sums);
    }
}
