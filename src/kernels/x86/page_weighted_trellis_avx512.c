/* SPDX-License-Identifier: MIT
 *
 * page_sum_avx512.h for trellis codes.
 *
 * A lane of row 0 holds the coded bits of one dimension, of eight times four tokens. So u[t-i] of all of them is the
 * row moved up by i lanes, and filled with the last lanes of the 16 dimensions before: VALIGND. The first group of
 * dimensions follows the last: the code bites its tail. */
#include "kernels/x86/page_sum_avx512.h"

TQ_INLINE block value_block(unsigned bits, const uint8_t *rows, __m512i u, __m512i before)
{
    const __m512i s0 = xor3(_mm512_alignr_epi32(u, before, 15), _mm512_alignr_epi32(u, before, 14),
                            _mm512_alignr_epi32(u, before, 12));
    const __m512i s1 = xor3(u, _mm512_alignr_epi32(u, before, 11), _mm512_alignr_epi32(u, before, 10));
    const __m512i even = select_bits(0x55, s0, _mm512_add_epi8(s1, s1));
    const __m512i odd = select_bits(0x55, _mm512_srli_epi16(s0, 1), s1);
    return merge_trellis(bits, even, odd, rows);
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
    const uint8_t *ahead = work->ahead + first * group_bytes;
    fetch_skipped(work, ahead, groups * bits);
    for (size_t h = work->first_tile; h < work->end_tile; h++) {
        const size_t at = h * bits * TQ_ROW_BYTES;
        __m512i u_before = load_row(before + at, 0);
        block blocks[TQ_GROUPS];
        TQ_UNROLL
        for (size_t g = 0; g < groups; g++) {
            const __m512i u = load_row(rows + g * group_bytes + at, 0);
            blocks[g] = value_block(bits, rows + g * group_bytes + at, u, u_before);
            u_before = u;
        }
        multiply_blocks(kind, groups, n_q, work, h, blocks, tables, ahead + h * groups * bits * TQ_ROW_BYTES, &c);
    }
    finish_groups(kind, groups, n_q, work, first, &c);
}

TQ_INLINE void weighted(unsigned bits, size_t n_q, const tq_weighted *work)
{
    const size_t groups = work->code->dim / TQ_VALUE_DIMS;
    const size_t group_bytes = (size_t)TQ_VALUE_TILES * bits * TQ_ROW_BYTES;
    const size_t together = n_q <= 6 ? 2 : 1; /* As registers allow. */
    const uint8_t *before = work->page + (groups - 1) * group_bytes;
    __m512i tables[TABLES];
    size_t g = 0;
    load_tables((kind_of_code){bits, true}, work->code, 0, tables);
    for (; g + together <= groups; g += together) {
        weighted_groups(bits, together, n_q, work, tables, g, before);
        before = work->page + (g + together - 1) * group_bytes;
    }
    for (; g < groups; g++) {
        weighted_groups(bits, 1, n_q, work, tables, g, before);
        before = work->page + g * group_bytes;
    }
}

TQ_WEIGHTED_OF(2)
TQ_WEIGHTED_OF(3)
TQ_WEIGHTED_OF(4)

tq_weighted_function *const tq_trellis_weighted_avx512[3][TQ_PAGE_QUERIES] = {
    TQ_WEIGHTED_NAMES_OF(2), TQ_WEIGHTED_NAMES_OF(3), TQ_WEIGHTED_NAMES_OF(4)};
