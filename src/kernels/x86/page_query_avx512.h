/* SPDX-License-Identifier: MIT
 *
 * Queries as page_scores_avx512.c reads them: int8, in the order of the operands of keys.
 *
 *     q'[j] = step (256 high[j] + low[j])      two planes: an exact query, 16 bits
 *     q'[j] = step 256 high[j]                 one plane
 *
 * A *row* is a plane of a query: query i is row i, or rows 2 i (high) and 2 i + 1 (low). The dword of operand o and row
 * r is dwords[o * n_rows + r].
 *
 * Rounding to one plane is an error of step / sqrt(12) in every coordinate, whatever the key. A key's own error,
 * sqrt(D) of its length, points anywhere as well, so in a score the two have the ratio (256 step / rms(q')) / sqrt(12
 * D), however large the scores are. For a Gaussian query the largest of 128 coordinates is 3 rms, and the ratio 7 % at
 * 4 bits: a quarter of a per cent more error in all. So one plane is enough, unless
 *
 *     - a coordinate is larger than 4.5 rms: such a query has structure that the rotation did not spread (of Gaussian
 *       ones of 128 coordinates, one in a thousand);
 *     - the code is of 8 bits: its own error is no larger than that of the rounding.
 *
 * Planes are chosen query by query, and a query of one plane gets a low plane of zeros if another of its group needs
 * one: 256 is a power of two, so its scores have the same bits either way. */
#ifndef TQ_PAGE_QUERY_AVX512_H
#define TQ_PAGE_QUERY_AVX512_H

#include "kernels/x86/byte_levels_avx512.h"

enum { TQ_QUERY_ROWS = 2 * TQ_PAGE_QUERIES };

typedef struct tq_prepared_query {
    size_t planes;                 /* 1 or 2. */
    size_t n_rows;                 /* planes * n_q */
    float factor[TQ_PAGE_QUERIES]; /* Score = scale (factor (256 high + low) + bias), sums of products with levels k. */
    float bias[TQ_PAGE_QUERIES];
    int32_t start[TQ_QUERY_ROWS]; /* Of a row's sum of products, because levels come as uint8 k + 128. */
    _Alignas(64) int32_t dwords[2 * TQ_MAX_DIM / 4];
    tq_byte_tables tables; /* Of the 8-bit code. */
} tq_prepared_query;

_Static_assert(sizeof(tq_prepared_query) <= TQ_PREPARED_BYTES, "a prepared query has no room");

#endif /* TQ_PAGE_QUERY_AVX512_H */
