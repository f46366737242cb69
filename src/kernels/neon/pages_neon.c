/* SPDX-License-Identifier: MIT
 *
 * What NEON does with pages whatever the dot products: writing and reading them, queries, and pages of rows. */
#include "kernels/neon/pages_neon.h"

#include "half.h"
#include "kernels/neon/neon.h"
#include "kernels/scalar/scalar.h"
#include "kernels/x86/page_query_avx2.h"

void tq_page_write_neon(const tq_code *code, tq_page_kind kind, const uint8_t *rows, size_t first, size_t n,
                        uint8_t *page)
{
    (tq_page_is_quartered(code, kind) ? tq_page_write_x86 : tq_page_write_scalar)(code, kind, rows, first, n, page);
}

void tq_page_read_neon(const tq_code *code, tq_page_kind kind, const uint8_t *page, size_t first, size_t n,
                       uint8_t *rows)
{
    (tq_page_is_quartered(code, kind) ? tq_page_read_x86 : tq_page_read_scalar)(code, kind, page, first, n, rows);
}

void tq_page_query_neon(const tq_code *code, const float *q, size_t n_q, void *prepared)
{
    if (tq_page_is_quartered(code, TQ_PAGE_KEYS)) {
        const tq_query_form form = {.levels = tq_integer_levels(code), .most_of_pair = 2 * INT8_MAX};
        tq_page_query_round(code, form, q, n_q, prepared);
    } else {
        tq_page_query_scalar(code, q, n_q, prepared);
    }
}

static bool is_centred(const uint8_t *row)
{
    return (tq_load_le16(row) & 0x8000) == 0;
}

void tq_page_q_mean(size_t dim, const float *q, size_t n_q, const uint8_t *mean, float *q_mean)
{
    tq_half_scores_neon(dim, q, n_q, mean, 1, q_mean, 1);
    for (size_t i = 0; i < n_q; i++) {
        q_mean[i] /= (float)dim;
    }
}

void tq_page_scores_of_rows(const tq_code *code, const float *q, size_t n_q, const float *q_mean, const uint8_t *page,
                            size_t first, size_t n, float *scores, size_t stride)
{
    const uint8_t *rows = page + first * code->row_bytes;
    if (code->bits == 0) {
        tq_half_scores_neon(code->dim, q, n_q, rows, n, scores, stride);
    } else if (code->trellis.bits != 0) {
        tq_trellis_scores_neon(code, q, n_q, rows, n, scores, stride);
    } else {
        tq_lloyd_scores_neon(code, q, n_q, rows, n, scores, stride);
    }
    for (size_t k = 0; q_mean != NULL && k < n; k++) {
        for (size_t i = 0; i < n_q && is_centred(rows + k * code->row_bytes); i++) {
            scores[i * stride + k] += q_mean[i];
        }
    }
}

void tq_page_sum_of_rows(const tq_code *code, const float *w, size_t w_stride, size_t n_q, const uint8_t *page,
                         size_t first, size_t n, const uint8_t *mean, float *sums)
{
    const uint8_t *rows = page + first * code->row_bytes;
    if (code->bits == 0) {
        tq_half_sum_neon(code->dim, w, w_stride, n_q, rows, n, sums);
    } else if (code->trellis.bits != 0) {
        tq_trellis_sum_neon(code, w, w_stride, n_q, rows, n, sums);
    } else {
        tq_lloyd_sum_neon(code, w, w_stride, n_q, rows, n, sums);
    }
    if (mean != NULL) {
        float centred[TQ_PAGE_QUERIES] = {0}; /* The weights of tokens whose mean was taken off. */
        for (size_t k = 0; k < n; k++) {
            for (size_t i = 0; i < n_q && is_centred(rows + k * code->row_bytes); i++) {
                centred[i] += w[i * w_stride + k];
            }
        }
        tq_half_sum_neon(code->dim, centred, 1, n_q, mean, 1, sums);
    }
}
