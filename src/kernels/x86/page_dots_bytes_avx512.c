/* SPDX-License-Identifier: MIT
 *
 * page_scores_avx512.h for the 8-bit code. Rows come in pairs, the planes of a query, and so do sums:
 *
 *     dots[2 i]     = start[2 i] + sum of high levels times high row
 *     dots[2 i + 1] = start[2 i + 1] + sum of high levels times low row, and of low levels times high row */
#include "kernels/x86/byte_levels_avx512.h"
#include "kernels/x86/page_scores_avx512.h"

enum { TILES = 2, MOST_QUERIES = TQ_MOST_ROWS / 2 };

typedef struct byte_sums {
    __m512i high[TILES][MOST_QUERIES];
    __m512i low[TILES][MOST_QUERIES];
} byte_sums;

/* One field: rows of two tiles, one index in each byte. */
TQ_INLINE void add_field(size_t queries, const byte_table *high_table, const byte_table *low_table,
                         const uint8_t *const rows[TILES], const int32_t *dwords, byte_sums *sums)
{
    TQ_UNROLL
    for (size_t t = 0; t < TILES; t++) {
        const __m512i index = _mm512_load_si512(rows[t]);
        const __m512i high = look_up(high_table, index);
        const __m512i low = look_up(low_table, index);
        TQ_UNROLL
        for (size_t i = 0; i < queries; i++) {
            const __m512i q_high = _mm512_set1_epi32(dwords[2 * i]);
            const __m512i q_low = _mm512_set1_epi32(dwords[2 * i + 1]);
            sums->high[t][i] = add_products(sums->high[t][i], high, q_high);
            sums->low[t][i] = add_products(sums->low[t][i], high, q_low);
            sums->low[t][i] = add_products(sums->low[t][i], low, q_high);
        }
    }
}

/* Tiles first and first + 1. */
TQ_INLINE void dots_of_tiles(size_t queries, const tq_dots *work, const byte_table *high, const byte_table *low,
                             size_t first)
{
    const tq_code *code = work->code;
    const int32_t *dwords = work->dwords;
    byte_sums sums;
    TQ_UNROLL
    for (size_t t = 0; t < TILES; t++) {
        TQ_UNROLL
        for (size_t i = 0; i < queries; i++) {
            sums.high[t][i] = _mm512_set1_epi32(work->start[2 * i]);
            sums.low[t][i] = _mm512_set1_epi32(work->start[2 * i + 1]);
        }
    }
    for (size_t o = 0; o < code->dim / 4; o++) { /* Eight bits: a row is an operand. */
        const size_t field = o % 8 * TQ_ROW_BYTES;
        const size_t at = tq_key_block_at(code, o / 8, first) + field;
        const uint8_t *rows[TILES] = {work->page + at, work->page + tq_key_block_at(code, o / 8, first + 1) + field};
        fetch_rows(work->ahead + at, 1);
        fetch_rows(work->ahead + (rows[1] - work->page), 1);
        add_field(queries, high, low, rows, dwords, &sums);
        dwords += work->stride;
    }
    TQ_UNROLL
    for (size_t t = 0; t < TILES; t++) {
        TQ_UNROLL
        for (size_t i = 0; i < queries; i++) {
            int32_t *dots = work->dots + 2 * i * TQ_PAGE_TOKENS + (first + t) * TQ_KEY_TOKENS;
            _mm512_store_si512(dots, sums.high[t][i]);
            _mm512_store_si512(dots + TQ_PAGE_TOKENS, sums.low[t][i]);
        }
    }
}

TQ_INLINE void dots(size_t queries, const tq_dots *work)
{
    const byte_table high = load_byte_table(work->tables->high);
    const byte_table low = load_byte_table(work->tables->low);
    for (size_t t = 0; t < TQ_KEY_TILES; t += TILES) {
        dots_of_tiles(queries, work, &high, &low, t);
    }
}

#define DOTS(queries)                                                                                                  \
    static void dots_##queries(const tq_dots *work)                                                                    \
    {                                                                                                                  \
        dots(queries, work);                                                                                           \
    }

DOTS(1)
DOTS(2)
DOTS(3)
DOTS(4)

tq_dots_function *const tq_byte_dots_avx512[TQ_MOST_ROWS / 2] = {dots_1, dots_2, dots_3, dots_4};
