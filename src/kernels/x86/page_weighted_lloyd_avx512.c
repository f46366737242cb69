/* SPDX-License-Identifier: MIT
 *
 * page_sum_avx512.h for Lloyd-Max codes of 1 to 4 bits. */
#include "kernels/x86/page_sum_avx512.h"

/* Groups first .. first + groups - 1. Everything but `work`, `tables` and `first` is constant. */
TQ_INLINE void weighted_groups(unsigned bits, size_t groups, size_t n_q, const tq_weighted *work, const __m512i *tables,
                               size_t first)
{
    const kind_of_code kind = {bits, false};
    const size_t group_bytes = (size_t)TQ_VALUE_TILES * bits * TQ_ROW_BYTES;
    const uint8_t *rows = work->page + first * group_bytes;
    chains c;
    clear_chains(groups, n_q, &c);
    const uint8_t *ahead = work->ahead + first * group_bytes;
    fetch_skipped(work, ahead, groups * bits);
    for (size_t h = work->first_tile; h < work->end_tile; h++) {
        const uint8_t *tile = rows + h * bits * TQ_ROW_BYTES;
        block b[TQ_GROUPS];
        __asm__("" : "+r"(tile));
        TQ_UNROLL
        for (size_t g = 0; g < groups; g++) {
            b[g].rows = tile + g * group_bytes;
        }
        multiply_blocks(kind, groups, n_q, work, h, b, tables, ahead + h * groups * bits * TQ_ROW_BYTES, &c);
    }
    finish_groups(kind, groups, n_q, work, first, &c);
}

TQ_INLINE void weighted(unsigned bits, size_t n_q, const tq_weighted *work)
{
    const size_t groups = work->code->dim / TQ_VALUE_DIMS;
    __m512i tables[TABLES];
    const size_t together = n_q <= 4 ? 4 : 2; /* As registers allow. */
    size_t g = 0;
    load_tables((kind_of_code){bits, false}, work->code, 0, tables);
    for (; g + together <= groups; g += together) {
        weighted_groups(bits, together, n_q, work, tables, g);
    }
    for (; g < groups; g++) {
        weighted_groups(bits, 1, n_q, work, tables, g);
    }
}

TQ_WEIGHTED_OF(1)
TQ_WEIGHTED_OF(2)
TQ_WEIGHTED_OF(3)
TQ_WEIGHTED_OF(4)

tq_weighted_function *const tq_lloyd_weighted_avx512[4][TQ_PAGE_QUERIES] = {
    TQ_WEIGHTED_NAMES_OF(1), TQ_WEIGHTED_NAMES_OF(2), TQ_WEIGHTED_NAMES_OF(3), TQ_WEIGHTED_NAMES_OF(4)};
