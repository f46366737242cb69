/* SPDX-License-Identifier: MIT
 *
 * page_sum_avx512.h for trellis codes.
 *
 * A lane of row 0 holds the coded bits of one dimension, of eight times four tokens. So u[t-i] of all of them is the
 * row moved up by i lanes, and filled with the last lanes of the 16 dimensions before: VALIGND. The first group of
 * dimensions follows the last: the code bites its tail. */
#include "kernels/x86/page_sum_avx512.h"

TQ_INLINE block value_block(unsigned bits, const uint8_t *rows, __m512i before)
{
    const __m512i u = load_row(rows, 0);
    const coded_bits coded = {u,
                              _mm512_alignr_epi32(u, before, 15),
                              _mm512_alignr_epi32(u, before, 14),
                              _mm512_alignr_epi32(u, before, 12),
                              _mm512_alignr_epi32(u, before, 11),
                              _mm512_alignr_epi32(u, before, 10)};
    return merge_trellis(bits, &coded, rows);
}

/* Groups first .. first + groups - 1; before: the group before them. Everything but `work`, `tables`, `first` and
 * `before` is constant. */
TQ_INLINE void weighted_groups(unsigned bits, size_t groups, size_t n_q, const tq_weighted *work, const __m512i *tables,
                               size_t first, const uint8_t *before)
{
    const kind_of_code kind = {bits, true};
    const size_t group_bytes = (size_t)TQ_VALUE_TILES * bits * TQ_ROW_BYTES;
    const uint8_t *rows = work->page + first * group_bytes;
    chains c;
    clear_chains(groups, n_q, &c);
    fetch_rows(work->ahead + first * group_bytes, groups * TQ_VALUE_TILES * bits);
    for (size_t h = work->first_tile; h < work->end_tile; h++) {
        const size_t at = h * bits * TQ_ROW_BYTES;
        __m512i u = load_row(before + at, 0);
        block b[TQ_GROUPS];
        TQ_UNROLL
        for (size_t g = 0; g < groups; g++) {
            b[g] = value_block(bits, rows + g * group_bytes + at, u);
            u = load_row(rows + g * group_bytes + at, 0);
        }
        multiply_blocks(kind, groups, n_q, work, h, b, tables, &c);
    }
    finish_groups(kind, groups, n_q, work, first, &c);
}

TQ_INLINE void weighted(unsigned bits, size_t n_q, const tq_weighted *work)
{
    const size_t groups = work->code->dim / TQ_VALUE_DIMS;
    const size_t group_bytes = (size_t)TQ_VALUE_TILES * bits * TQ_ROW_BYTES;
    const size_t together = n_q <= 6 ? TQ_GROUPS : 1; /* As registers allow. */
    const uint8_t *before = work->page + (groups - 1) * group_bytes;
    __m512i tables[TABLES];
    size_t g = 0;
    load_tables((kind_of_code){bits, true}, work->code, 0, tables);
    for (; g + together <= groups; g += together) {
        weighted_groups(bits, together, n_q, work, tables, g, before);
        before = work->page + (g + together - 1) * group_bytes;
    }
    if (g < groups) {
        weighted_groups(bits, 1, n_q, work, tables, g, before);
    }
}

#define WEIGHTED(bits, n_q)                                                                                            \
    static void weighted_##bits##_##n_q(const tq_weighted *work)                                                       \
    {                                                                                                                  \
        weighted(bits, n_q, work);                                                                                     \
    }
#define WEIGHTED_OF(bits)                                                                                              \
    WEIGHTED(bits, 1)                                                                                                  \
    WEIGHTED(bits, 2)                                                                                                  \
    WEIGHTED(bits, 3)                                                                                                  \
    WEIGHTED(bits, 4) WEIGHTED(bits, 5) WEIGHTED(bits, 6) WEIGHTED(bits, 7) WEIGHTED(bits, 8)
#define NAMES_OF(bits)                                                                                                 \
    {                                                                                                                  \
        weighted_##bits##_1, weighted_##bits##_2, weighted_##bits##_3, weighted_##bits##_4, weighted_##bits##_5,       \
            weighted_##bits##_6, weighted_##bits##_7, weighted_##bits##_8                                              \
    }

WEIGHTED_OF(2)
WEIGHTED_OF(3)
WEIGHTED_OF(4)

tq_weighted_function *const tq_trellis_weighted_avx512[3][TQ_PAGE_QUERIES] = {NAMES_OF(2), NAMES_OF(3), NAMES_OF(4)};
