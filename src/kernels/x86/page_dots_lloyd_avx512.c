/* SPDX-License-Identifier: MIT
 *
 * page_scores_avx512.h for Lloyd-Max codes of 1 to 4 bits. */
#include "kernels/x86/page_scores_avx512.h"

/* The last blocks of a dim that is an odd multiple of 16: fields 0 to 3 belong to one tile, 4 to 7 to the next. */
TQ_INLINE void multiply_shared(unsigned bits, size_t rows, size_t tiles, const tq_dots *work, size_t first_tile,
                               const __m512i *tables, const int32_t *dwords, __m512i sums[TQ_KEY_TILES][TQ_MOST_ROWS])
{
    const size_t at = tq_key_block_at(work->code, work->code->dim / TQ_KEY_DIMS, first_tile);
    TQ_UNROLL
    for (unsigned k = 0; k < 4; k++) {
        fetch_part(work->ahead + at, tiles / 2 * bits, k, 4);
        TQ_UNROLL
        for (size_t t = 0; t < tiles; t++) {
            const uint8_t *shared = work->page + at + t / 2 * bits * TQ_ROW_BYTES;
            const __m512i levels = lloyd_operand(bits, shared, t % 2 == 0 ? k : 4 + k, tables);
            TQ_UNROLL
            for (size_t r = 0; r < rows; r++) {
                const __m512i q = _mm512_set1_epi32(dwords[k * work->stride + r]);
                sums[t][r] = add_products(sums[t][r], levels, q);
            }
        }
    }
}

/* Tiles first_tile .. first_tile + tiles - 1. Everything but `work` and `first_tile` is constant. */
TQ_INLINE void dots_of_tiles(unsigned bits, size_t rows, size_t tiles, const tq_dots *work, size_t first_tile)
{
    const kind_of_code kind = {bits, false};
    const size_t dim = work->code->dim;
    const int32_t *dwords = work->dwords;
    __m512i tables[TABLES];
    __m512i sums[TQ_KEY_TILES][TQ_MOST_ROWS];
    size_t at = first_tile * bits * TQ_ROW_BYTES;
    load_tables(kind, work->code, 0x80, tables);
    TQ_UNROLL
    for (size_t t = 0; t < tiles; t++) {
        TQ_UNROLL
        for (size_t r = 0; r < rows; r++) {
            sums[t][r] = _mm512_set1_epi32(work->start[r]);
        }
    }
    for (size_t r = 0; r < dim / TQ_KEY_DIMS; r++) {
        block blocks[TQ_KEY_TILES];
        TQ_UNROLL
        for (size_t t = 0; t < tiles; t++) {
            blocks[t].rows = work->page + at + t * bits * TQ_ROW_BYTES;
        }
        multiply_blocks(kind, rows, tiles, blocks, tables, dwords, work->stride, work->ahead + at, sums);
        at += TQ_KEY_TILES * bits * (size_t)TQ_ROW_BYTES;
        dwords += 8 * work->stride;
    }
    if (dim % TQ_KEY_DIMS != 0) {
        multiply_shared(bits, rows, tiles, work, first_tile, tables, dwords, sums);
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
    if (rows <= 4) {
        dots_of_tiles(bits, rows, 4, work, 0);
        return;
    }
    dots_of_tiles(bits, rows, 2, work, 0);
    dots_of_tiles(bits, rows, 2, work, 2);
}

TQ_DOTS_OF(1)
TQ_DOTS_OF(2)
TQ_DOTS_OF(3)
TQ_DOTS_OF(4)

tq_dots_function *const tq_lloyd_dots_avx512[4][TQ_MOST_ROWS] = {TQ_DOTS_NAMES_OF(1), TQ_DOTS_NAMES_OF(2),
                                                                 TQ_DOTS_NAMES_OF(3), TQ_DOTS_NAMES_OF(4)};
