/* SPDX-License-Identifier: MIT
 *
 * page_scores_avx512.h for trellis codes.
 *
 * A dword of row 0 holds the coded bits of 32 consecutive dimensions of a token, the first one lowest. So u[t-i] of all
 * of them is the dword shifted up by i, and filled with the upper bits of the block before: VPSHLDD. The first block
 * follows the last: the code bites its tail. */
#include "kernels/x86/page_scores_avx512.h"

TQ_INLINE block key_block(unsigned bits, const uint8_t *rows, __m512i *before)
{
    const __m512i u = load_row(rows, 0);
    const coded_bits coded = {u,
                              _mm512_shldi_epi32(u, *before, 1),
                              _mm512_shldi_epi32(u, *before, 2),
                              _mm512_shldi_epi32(u, *before, 4),
                              _mm512_shldi_epi32(u, *before, 5),
                              _mm512_shldi_epi32(u, *before, 6)};
    *before = u;
    return merge_trellis(bits, &coded, rows);
}

/* Tiles first_tile .. first_tile + tiles - 1. Everything but `work` and `first_tile` is constant. */
TQ_INLINE void dots_of_tiles(unsigned bits, size_t rows, size_t tiles, const tq_dots *work, size_t first_tile)
{
    const kind_of_code kind = {bits, true};
    const size_t n_blocks = work->code->dim / TQ_KEY_DIMS;
    const int32_t *dwords = work->dwords;
    __m512i tables[TABLES];
    __m512i sums[TQ_KEY_TILES][TQ_MOST_ROWS];
    __m512i before[TQ_KEY_TILES];
    load_tables(kind, work->code, 0x80, tables);
    TQ_UNROLL
    for (size_t t = 0; t < tiles; t++) {
        before[t] = load_row(work->page + tq_key_block_at(work->code, n_blocks - 1, first_tile + t), 0);
        TQ_UNROLL
        for (size_t r = 0; r < rows; r++) {
            sums[t][r] = _mm512_set1_epi32(work->start[r]);
        }
    }
    for (size_t r = 0; r < n_blocks; r++) {
        const size_t at = (r * TQ_KEY_TILES + first_tile) * bits * TQ_ROW_BYTES;
        block blocks[TQ_KEY_TILES];
        TQ_UNROLL
        for (size_t t = 0; t < tiles; t++) {
            blocks[t] = key_block(bits, work->page + at + t * bits * TQ_ROW_BYTES, &before[t]);
        }
        fetch_rows(work->ahead + at, tiles * bits);
        multiply_blocks(kind, rows, tiles, 8, blocks, tables, dwords, work->stride, sums);
        dwords += 8 * work->stride;
    }
    TQ_UNROLL
    for (size_t t = 0; t < tiles; t++) {
        TQ_UNROLL
        for (size_t r = 0; r < rows; r++) {
            _mm512_store_si512(work->dots + r * TQ_PAGE_TOKENS + (first_tile + t) * TQ_KEY_TOKENS, sums[t][r]);
        }
    }
}

TQ_INLINE void dots(unsigned bits, size_t rows, const tq_dots *work)
{
    const size_t tiles = rows == 1 ? 4 : 2; /* As registers allow. */
    for (size_t t = 0; t < TQ_KEY_TILES; t += tiles) {
        dots_of_tiles(bits, rows, tiles, work, t);
    }
}

#define DOTS(bits, rows)                                                                                               \
    static void dots_##bits##_##rows(const tq_dots *work)                                                              \
    {                                                                                                                  \
        dots(bits, rows, work);                                                                                        \
    }
#define DOTS_OF(bits)                                                                                                  \
    DOTS(bits, 1) DOTS(bits, 2) DOTS(bits, 3) DOTS(bits, 4) DOTS(bits, 5) DOTS(bits, 6) DOTS(bits, 7) DOTS(bits, 8)
#define NAMES_OF(bits)                                                                                                 \
    {                                                                                                                  \
        dots_##bits##_1, dots_##bits##_2, dots_##bits##_3, dots_##bits##_4, dots_##bits##_5, dots_##bits##_6,          \
            dots_##bits##_7, dots_##bits##_8                                                                           \
    }

DOTS_OF(2)
DOTS_OF(3)
DOTS_OF(4)

tq_dots_function *const tq_trellis_dots_avx512[3][TQ_MOST_ROWS] = {NAMES_OF(2), NAMES_OF(3), NAMES_OF(4)};
