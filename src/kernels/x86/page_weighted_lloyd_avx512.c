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
    fetch_rows(work->ahead + first * group_bytes, groups * TQ_VALUE_TILES * bits);
    for (size_t h = work->first_tile; h < work->end_tile; h++) {
        block b[TQ_GROUPS];
        TQ_UNROLL
        for (size_t g = 0; g < groups; g++) {
            b[g].rows = rows + g * group_bytes + h * bits * TQ_ROW_BYTES;
        }
        multiply_blocks(kind, groups, n_q, work, h, b, tables, &c);
    }
    finish_groups(kind, groups, n_q, work, first, &c);
}

TQ_INLINE void weighted(unsigned bits, size_t n_q, const tq_weighted *work)
{
    const size_t groups = work->code->dim / TQ_VALUE_DIMS;
    __m512i tables[TABLES];
    size_t g = 0;
    load_tables((kind_of_code){bits, false}, work->code, 0, tables);
    for (; g + TQ_GROUPS <= groups; g += TQ_GROUPS) {
        weighted_groups(bits, TQ_GROUPS, n_q, work, tables, g);
    }
    if (g < groups) {
        weighted_groups(bits, 1, n_q, work, tables, g);
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

WEIGHTED_OF(1)
WEIGHTED_OF(2)
WEIGHTED_OF(3)
WEIGHTED_OF(4)

tq_weighted_function *const tq_lloyd_weighted_avx512[4][TQ_PAGE_QUERIES] = {NAMES_OF(1), NAMES_OF(2), NAMES_OF(3),
                                                                            NAMES_OF(4)};
