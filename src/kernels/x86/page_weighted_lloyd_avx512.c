/* SPDX-License-Identifier: MIT
 *
 * page_sum_avx512.h for Lloyd-Max codes of 1 to 4 bits. */
#include "kernels/x86/page_sum_avx512.h"

TQ_INLINE void weighted(unsigned bits, size_t n_q, const tq_weighted *work)
{
    const kind_of_code kind = {bits, false};
    __m512i tables[TABLES];
    load_tables(kind, work->code, 0, tables);
    for (size_t g = 0; g < work->code->dim / TQ_VALUE_DIMS; g++) {
        const size_t group_at = g * TQ_VALUE_TILES * bits * TQ_ROW_BYTES;
        chains c;
        clear_chains(n_q, &c);
        fetch_rows(work->ahead + group_at, TQ_VALUE_TILES * (size_t)bits);
        for (size_t h = work->first_tile; h < work->end_tile; h++) {
            block b;
            b.rows = work->page + group_at + h * bits * TQ_ROW_BYTES;
            multiply_block(kind, n_q, work, h, &b, tables, &c);
        }
        finish_group(n_q, work, g, &c);
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
    {weighted_##bits##_1, weighted_##bits##_2, weighted_##bits##_3, weighted_##bits##_4,                               \
     weighted_##bits##_5, weighted_##bits##_6, weighted_##bits##_7, weighted_##bits##_8}

WEIGHTED_OF(1)
WEIGHTED_OF(2)
WEIGHTED_OF(3)
WEIGHTED_OF(4)

tq_weighted_function *const tq_lloyd_weighted_avx512[4][TQ_PAGE_QUERIES] = {NAMES_OF(1), NAMES_OF(2), NAMES_OF(3),
                                                                            NAMES_OF(4)};
