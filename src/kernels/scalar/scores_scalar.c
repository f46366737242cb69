/* SPDX-License-Identifier: MIT
 *
 * Inner products of queries with rows. A rotation keeps inner products, so the query is rotated (once, by the caller)
 * and the key is not rotated back: with q' = sqrt(d) R q and x' = (s / d) (sqrt(d) R)^T c,
 *
 *     <q, x'> = (s / d) <q', c>
 *
 * Each row is read once for all queries. */
#include "kernels/exact.h"

#include "kernels/scalar/rows_scalar.h"

static void scores_of(const tq_code *code, tq_row_reader *read, const float *q, size_t n_q, const uint8_t *rows,
                      size_t n, float *scores, size_t stride)
{
    for (size_t k = 0; k < n; k++) {
        float levels[TQ_MAX_DIM];
        const float factor = read(code, rows + k * code->row_bytes, levels) / (float)code->dim;
        for (size_t i = 0; i < n_q; i++) {
            scores[i * stride + k] = factor * tq_exact_dot(q + i * code->dim, levels, code->dim);
        }
    }
}

void tq_lloyd_scores_scalar(const tq_code *code, const float *q, size_t n_q, const uint8_t *rows, size_t n,
                            float *scores, size_t stride)
{
    scores_of(code, tq_lloyd_read, q, n_q, rows, n, scores, stride);
}

void tq_trellis_scores_scalar(const tq_code *code, const float *q, size_t n_q, const uint8_t *rows, size_t n,
                              float *scores, size_t stride)
{
    scores_of(code, tq_trellis_read, q, n_q, rows, n, scores, stride);
}

void tq_sign_scores_scalar(const tq_code *code, const float *q, size_t n_q, const uint8_t *rows, size_t n,
                           float *scores, size_t stride)
{
    for (size_t k = 0; k < n; k++) {
        float signs[TQ_MAX_DIM];
        const float residual = tq_sign_read(code, rows + k * code->row_bytes, signs);
        for (size_t i = 0; i < n_q; i++) {
            scores[i * stride + k] += residual * tq_exact_dot(q + i * code->dim, signs, code->dim);
        }
    }
}

void tq_half_scores_scalar(size_t dim, const float *q, size_t n_q, const uint8_t *rows, size_t n, float *scores,
                           size_t stride)
{
    for (size_t k = 0; k < n; k++) {
        float x[TQ_MAX_DIM];
        tq_half_decode_scalar(rows + k * 2 * dim, dim, x);
        for (size_t i = 0; i < n_q; i++) {
            scores[i * stride + k] = tq_exact_dot(q + i * dim, x, dim);
        }
    }
}
