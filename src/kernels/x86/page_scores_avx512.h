/* SPDX-License-Identifier: MIT
 *
 * Sums of int8 products of all keys of a page with some rows of a prepared query, for page_scores_avx512.c:
 *
 *     for rows r, for tokens k: dots[r][k] = start[r] + sum over dimensions j: (level[k][j] + 128) row[r][j]
 *
 *     operand o      t0: d0 d1 d2 d3 | t1: d0 d1 d2 d3 | ... | t15: d0 d1 d2 d3        uint8, looked up once
 *     row r          q: d0 d1 d2 d3 in all lanes                                      int8, for each row
 *     VPDPBUSD       t0: += d0 q0 + d1 q1 + d2 q2 + d3 q3 | ...                       int32
 *
 * A function is made for each number of rows, so that sums stay in registers: with up to four rows those of 64 tokens
 * (16 registers), else of 32. With each line of the page, a line of `ahead` is fetched. */
#ifndef TQ_PAGE_SCORES_AVX512_H
#define TQ_PAGE_SCORES_AVX512_H

#include "kernels/x86/operands_avx512.h"
#include "kernels/x86/page_query_avx512.h"

enum { TQ_MOST_ROWS = 8 };

/* Where a function begins: its rows of the query, and what it reads. */
typedef struct tq_dots {
    const tq_code *code;
    const uint8_t *page;
    const uint8_t *ahead;  /* Fetched meanwhile. */
    const int32_t *dwords; /* The first row's, of operand 0. */
    size_t stride;         /* From one operand's dwords to the next. */
    const int32_t *start;
    int32_t *dots;                /* [rows][64], aligned to 64. */
    const tq_byte_tables *tables; /* Of the 8-bit code. */
} tq_dots;

typedef void tq_dots_function(const tq_dots *work);

/* One function for each number of rows, the first for one. */
extern tq_dots_function *const tq_lloyd_dots_avx512[4][TQ_MOST_ROWS];   /* For 1 to 4 bits. */
extern tq_dots_function *const tq_trellis_dots_avx512[3][TQ_MOST_ROWS]; /* For 2 to 4 bits. */
extern tq_dots_function *const tq_byte_dots_avx512[TQ_MOST_ROWS / 2];   /* For pairs of rows. */

/* Fetches as many rows of `ahead`, and sums[t][r] += operands of TILES blocks times the dwords of ROWS rows. */
TQ_INLINE void multiply_blocks(kind_of_code kind, size_t rows, size_t tiles, const block *blocks, const __m512i *tables,
                               const int32_t *dwords, size_t stride, const uint8_t *ahead,
                               __m512i sums[TQ_KEY_TILES][TQ_MOST_ROWS])
{
    TQ_UNROLL
    for (unsigned k = 0; k < 8; k++) {
        __m512i levels[TQ_KEY_TILES];
        fetch_part(ahead, tiles * kind.bits, k, 8);
        TQ_UNROLL
        for (size_t t = 0; t < tiles; t++) {
            levels[t] = operand(kind, &blocks[t], k, tables);
        }
        TQ_UNROLL
        for (size_t r = 0; r < rows; r++) {
            const __m512i q = _mm512_set1_epi32(dwords[k * stride + r]);
            TQ_UNROLL
            for (size_t t = 0; t < tiles; t++) {
                sums[t][r] = add_products(sums[t][r], levels[t], q);
            }
        }
    }
}

/* From dots(bits, rows, work): a function for each number of rows, and a table of them. */
#define TQ_DOTS(bits, rows)                                                                                            \
    static void dots_##bits##_##rows(const tq_dots *work)                                                              \
    {                                                                                                                  \
        dots(bits, rows, work);                                                                                        \
    }
#define TQ_DOTS_OF(bits)                                                                                               \
    TQ_DOTS(bits, 1)                                                                                                   \
    TQ_DOTS(bits, 2)                                                                                                   \
    TQ_DOTS(bits, 3) TQ_DOTS(bits, 4) TQ_DOTS(bits, 5) TQ_DOTS(bits, 6) TQ_DOTS(bits, 7) TQ_DOTS(bits, 8)
#define TQ_DOTS_NAMES_OF(bits)                                                                                         \
    {                                                                                                                  \
        dots_##bits##_1, dots_##bits##_2, dots_##bits##_3, dots_##bits##_4, dots_##bits##_5, dots_##bits##_6,          \
            dots_##bits##_7, dots_##bits##_8                                                                           \
    }

#endif /* TQ_PAGE_SCORES_AVX512_H */
