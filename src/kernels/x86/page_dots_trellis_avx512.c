/* SPDX-License-Identifier: MIT
 *
 * page_scores_avx512.h for trellis codes.
 *
 * A dword of row 0 holds the coded bits of 32 consecutive dimensions of a token, the first one lowest: a byte has those
 * of fields 0 to 7, and the dword shifted up by 8, filled with the upper bits of the block before (VPSHLDD), those of
 * the eight coordinates before. The subset bits are sums of some of these sixteen: VGF2P8AFFINEQB adds up those of one
 * byte. The first block follows the last: the code bites its tail. */
#include "kernels/x86/page_scores_avx512.h"

/* Row i of a matrix over bits, which VGF2P8AFFINEQB wants last first. */
#define MATRIX_ROW(i, bits) ((uint64_t)((bits)&0xFF) << 8 * (7 - (i)))

/* Coordinates that subset bits of field k add up, in a byte of this one and the eight coordinates before. */
#define BACK(k, i) (1 << (8 + (k) - (i)))
#define S0(k)      (BACK(k, 1) | BACK(k, 2) | BACK(k, 4))
#define S1(k)      (BACK(k, 0) | BACK(k, 5) | BACK(k, 6))
#define MATRIX(first, shift)                                                                                           \
    (MATRIX_ROW(0, S0(first) >> (shift)) | MATRIX_ROW(1, S1(first) >> (shift)) |                                       \
     MATRIX_ROW(2, S0((first) + 2) >> (shift)) | MATRIX_ROW(3, S1((first) + 2) >> (shift)) |                           \
     MATRIX_ROW(4, S0((first) + 4) >> (shift)) | MATRIX_ROW(5, S1((first) + 4) >> (shift)) |                           \
     MATRIX_ROW(6, S0((first) + 6) >> (shift)) | MATRIX_ROW(7, S1((first) + 6) >> (shift)))

/* s1 s0 of fields first, first + 2, first + 4, first + 6. */
TQ_INLINE __m512i subsets(unsigned first, __m512i u, __m512i eight_before)
{
    const __m512i own = _mm512_set1_epi64((long long)(first == 0 ? MATRIX(0, 8) : MATRIX(1, 8)));
    const __m512i carried = _mm512_set1_epi64((long long)(first == 0 ? MATRIX(0, 0) : MATRIX(1, 0)));
    return _mm512_xor_si512(_mm512_gf2p8affine_epi64_epi8(u, own, 0),
                            _mm512_gf2p8affine_epi64_epi8(eight_before, carried, 0));
}

/* The block at `rows`; before: row 0 of the block before, and then of this one. */
TQ_INLINE block key_block(unsigned bits, const uint8_t *rows, __m512i *before)
{
    const __m512i u = load_row(rows, 0);
    const __m512i eight_before = _mm512_shldi_epi32(u, *before, 8);
    *before = u;
    return merge_trellis(bits, subsets(0, u, eight_before), subsets(1, u, eight_before), rows);
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
        multiply_blocks(kind, rows, tiles, blocks, tables, dwords, work->stride, work->ahead + at, sums);
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

TQ_DOTS_OF(2)
TQ_DOTS_OF(3)
TQ_DOTS_OF(4)

tq_dots_function *const tq_trellis_dots_avx512[3][TQ_MOST_ROWS] = {TQ_DOTS_NAMES_OF(2), TQ_DOTS_NAMES_OF(3),
                                                                   TQ_DOTS_NAMES_OF(4)};
