/* SPDX-License-Identifier: MIT
 *
 * Queries as page_scores of AVX2 and AVX-VNNI read them: integers, in the order of the fields of blocks of keys.
 *
 *     q[j] = step (128 high[j] + low[j])      two rows: an exact query, 15 bits
 *     q[j] = step 128 high[j]                 one row
 *
 * The step is as small as the largest coordinate allows, and, where products are added in 16 bits, the largest sum of
 * two neighbours: levels are unsigned, so that two coordinates of opposite signs are no worse than one of them. For
 * most queries that is the tighter limit, by a tenth or a fifth; in return levels have all their bits.
 *
 * A query is exact if its step would be large against its rms: it has structure that the rotation did not spread, and
 * eight bits would not do for the rest of it. If one of a group is, all have two rows, the low ones of others being
 * zero.
 *
 * Rows are read in groups of up to eight. */
#ifndef TQ_PAGE_QUERY_AVX2_H
#define TQ_PAGE_QUERY_AVX2_H

#include "kernels/x86/levels_x86.h"

#include <stdbool.h>

enum { TQ_QUERY_ROWS = 2 * TQ_PAGE_QUERIES, TQ_QUERY_GROUP = 8, TQ_QUERY_RADIX = 128 };

typedef struct tq_prepared {
    size_t rows_of_a_query; /* 1 or 2: row i, or rows 2 i (high) and 2 i + 1 (low). */
    size_t n_rows;
    size_t rows_of_a_group; /* 1, 2, 4 or 8: rounded up, rows that are not there are zero. */
    size_t dwords_of_a_group;
    float factor[TQ_PAGE_QUERIES]; /* Score = scale (factor x + bias), where x is the sum of row i, */
    float bias[TQ_PAGE_QUERIES];   /* or TQ_QUERY_RADIX times that of row 2 i and that of row 2 i + 1. */
    int32_t start[TQ_QUERY_ROWS];  /* Of the sum of a row, because levels come as k + offset. */
    /* Row r of n in a group has for field f of the blocks of keys dword [f * n + r] of the group: four bytes, for bytes
     * 0 .. 3 of the field. */
    int32_t dwords[];
} tq_prepared;

/* The most dwords: five queries of TQ_MAX_DIM / 5 dimensions make sixteen rows. */
_Static_assert(sizeof(tq_prepared) + TQ_QUERY_ROWS * (TQ_MAX_DIM / 5) <= TQ_PREPARED_BYTES, "no room for queries");

/* How a backend multiplies keys of a code with queries. */
typedef struct tq_query_form {
    tq_levels levels;
    int offset;       /* Added to levels, which makes them unsigned. */
    int most_of_pair; /* Two neighbouring bytes of a dword add up to this at most, and to minus this at least. */
} tq_query_form;

/* `most` is what two neighbouring products may add up to; rounding both bytes of a pair adds 1 to its sum. */
static inline tq_query_form tq_query_form_of(const tq_code *code, int most)
{
    const tq_levels levels = tq_integer_levels(code);
    const int offset = -levels.k[0]; /* The lowest. */
    return (tq_query_form){levels, offset, most / (2 * offset) - 1};
}

/* Whether page_scores reads pages of this code as integers. Others read the queries as they are. */
bool tq_page_query_is_integer(const tq_code *code);

/* page_query of such a code. */
void tq_page_query_round(const tq_code *code, tq_query_form form, const float *q, size_t n_q, void *prepared);

#endif /* TQ_PAGE_QUERY_AVX2_H */
