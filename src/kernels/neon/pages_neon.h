/* SPDX-License-Identifier: MIT
 *
 * Pages with NEON. Those of codes of up to 4 bits have the layout of pages_x86.h, of which one row is four registers:
 * quarters of a block. All others are rows, which the kernels of rows read: turbo8 has too many levels for TBL. */
#ifndef TQ_PAGES_NEON_H
#define TQ_PAGES_NEON_H

#include "kernels/x86/pages_x86.h"

/* Whether pages of this code are read as integers. */
static inline bool tq_page_is_quartered(const tq_code *code, tq_page_kind kind)
{
    return code->bits <= 4 && tq_page_is_tiled(code, kind);
}

/* The scores of queries with the mean of a page. */
void tq_page_q_mean(size_t dim, const float *q, size_t n_q, const uint8_t *mean, float *q_mean);

/* page_scores and page_sum of the others; q_mean is null if the page has no mean. */
void tq_page_scores_of_rows(const tq_code *code, const float *q, size_t n_q, const float *q_mean, const uint8_t *page,
                            size_t first, size_t n, float *scores, size_t stride);
void tq_page_sum_of_rows(const tq_code *code, const float *w, size_t w_stride, size_t n_q, const uint8_t *page,
                         size_t first, size_t n, const uint8_t *mean, float *sums);

#endif /* TQ_PAGES_NEON_H */
