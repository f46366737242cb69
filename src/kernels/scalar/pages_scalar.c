/* SPDX-License-Identifier: MIT
 *
 * Encoded pages of a cache. The scalar layout is that of rows, one after the other; other backends turn them round so
 * that one load serves many tokens.
 *
 * A page may have a mean m, in the rotated domain, that was taken off its vectors before they were encoded. Both halves
 * of attention put it back exactly, without touching the codes: <q, x> = (<q', s c> + <q', m>) / d for rotated q', and
 * sum over k: w_k (s_k c_k + m) = sum over k: w_k s_k c_k + (sum over k: w_k) m. */
#include "half.h"
#include "kernels/scalar/scalar.h"

#include <string.h>

static int is_uncentred(const uint8_t *row)
{
    return (tq_load_le16(row) & 0x8000) != 0;
}

void tq_page_write_scalar(const tq_code *code, tq_page_kind kind, const uint8_t *rows, size_t first, size_t n,
                          uint8_t *page)
{
    (void)kind;
    memcpy(page + first * code->row_bytes, rows, n * code->row_bytes);
}

void tq_page_read_scalar(const tq_code *code, tq_page_kind kind, const uint8_t *page, size_t first, size_t n,
                         uint8_t *rows)
{
    (void)kind;
    memcpy(rows, page + first * code->row_bytes, n * code->row_bytes);
}

/* Floats serve as they are. */
void tq_page_query_scalar(const tq_code *code, const float *q, size_t n_q, void *prepared)
{
    memcpy(prepared, q, n_q * code->dim * sizeof *q);
}

void tq_page_scores_scalar(const tq_code *code, const void *prepared, const float *q, size_t n_q, const uint8_t *page,
                           size_t first, size_t n, const uint8_t *mean, const uint8_t *next, float *scores,
                           size_t stride)
{
    float q_mean[TQ_PAGE_QUERIES];
    (void)prepared;
    (void)next;
    const uint8_t *rows = page + first * code->row_bytes;
    if (code->bits == 0) {
        tq_half_scores_scalar(code->dim, q, n_q, rows, n, scores, stride);
    } else if (code->trellis.bits != 0) {
        tq_trellis_scores_scalar(code, q, n_q, rows, n, scores, stride);
    } else {
        tq_lloyd_scores_scalar(code, q, n_q, rows, n, scores, stride);
    }
    if (mean != NULL) {
        tq_half_scores_scalar(code->dim, q, n_q, mean, 1, q_mean, 1);
    }
    for (size_t k = 0; mean != NULL && k < n; k++) {
        for (size_t i = 0; i < n_q && !is_uncentred(rows + k * code->row_bytes); i++) {
            scores[i * stride + k] += q_mean[i] / (float)code->dim;
        }
    }
}

void tq_page_sum_scalar(const tq_code *code, const float *w, size_t w_stride, size_t n_q, const uint8_t *page,
                        size_t first, size_t n, const uint8_t *mean, const uint8_t *next, float *sums)
{
    float centred[TQ_PAGE_QUERIES] = {0}; /* The weights of tokens whose mean was taken off. */
    (void)next;
    const uint8_t *rows = page + first * code->row_bytes;
    if (code->bits == 0) {
        tq_half_sum_scalar(code->dim, w, w_stride, n_q, rows, n, sums);
    } else if (code->trellis.bits != 0) {
        tq_trellis_sum_scalar(code, w, w_stride, n_q, rows, n, sums);
    } else {
        tq_lloyd_sum_scalar(code, w, w_stride, n_q, rows, n, sums);
    }
    for (size_t k = 0; mean != NULL && k < n; k++) {
        for (size_t i = 0; i < n_q && !is_uncentred(rows + k * code->row_bytes); i++) {
            centred[i] += w[i * w_stride + k];
        }
    }
    if (mean != NULL) {
        tq_half_sum_scalar(code->dim, centred, 1, n_q, mean, 1, sums);
    }
}
