/* SPDX-License-Identifier: MIT
 *
 * Queries as page_scores of AVX2 and AVX-VNNI reads them: integers, in the order of the fields of blocks of keys.
 *
 *     q[j] = step (256 high[j] + low[j])      two rows: an exact query, 16 bits
 *     q[j] = step 256 high[j]                 one row
 *     q[j] = step x[j]                        one row of 16-bit words
 *
 * Two rows go to all queries of a group in which one has a coordinate of more than 6 rms: such a query has structure
 * that the rotation did not spread, and 8 bits would not do for the rest of it. Words serve the code whose levels do
 * not fit the 8-bit products of AVX2 (levels_avx2.h). */
#ifndef TQ_PAGE_QUERY_AVX2_H
#define TQ_PAGE_QUERY_AVX2_H

#include "kernels/x86/levels_avx2.h"

#include <stdbool.h>

enum { TQ_QUERY_ROWS = 2 * TQ_PAGE_QUERIES };

typedef struct tq_prepared {
    size_t n_rows;                 /* 1, 2, 4, 8 or 16: rounded up, the rest are zero. */
    size_t rows_of_a_query;        /* 1 or 2: row i, or rows 2 i (high) and 2 i + 1 (low). */
    float factor[TQ_PAGE_QUERIES]; /* Score = scale (factor (256 high + low) + bias), sums of products with levels k. */
    float bias[TQ_PAGE_QUERIES];
    int32_t start[TQ_QUERY_ROWS]; /* Of the sum of a row, because levels come as k + offset. */
    /* Row r of field f of a block of keys is dword [f * n_rows + r]: four bytes, for bytes 0 .. 3 of the field. With
     * words, dword [2 f * n_rows + r] for bytes 0 and 2, dword [(2 f + 1) * n_rows + r] for bytes 1 and 3. */
    int32_t dwords[];
} tq_prepared;

/* How a backend multiplies keys of a code with queries. */
typedef struct tq_query_form {
    tq_levels levels;
    int offset; /* Added to levels, which makes them unsigned. */
    bool words;
} tq_query_form;

/* Whether page_scores reads pages of this code as integers. Others read the queries as they are. */
bool tq_page_query_is_integer(const tq_code *code);

/* page_query of such a code. */
void tq_page_query_round(const tq_code *code, tq_query_form form, const float *q, size_t n_q, void *prepared);

#endif /* TQ_PAGE_QUERY_AVX2_H */
