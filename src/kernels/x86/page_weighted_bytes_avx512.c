/* SPDX-License-Identifier: MIT
 *
 * page_sum_avx512.h for the 8-bit code: weights of 16 bits as well, high and low bytes, so that they are as fine as the
 * levels. The product of the two low parts is left out. */
#include "kernels/x86/byte_levels_avx512.h"
#include "kernels/x86/page_sum_avx512.h"

TQ_INLINE void weighted_group(size_t n_q, const tq_weighted *work, const byte_table *high_table,
                              const byte_table *low_table, size_t group)
{
    __m512i high_sums[TQ_PAGE_QUERIES];
    __m512i low_sums[TQ_PAGE_QUERIES];
    TQ_UNROLL
    for (size_t i = 0; i < n_q; i++) {
        high_sums[i] = _mm512_setzero_si512();
        low_sums[i] = _mm512_setzero_si512();
    }
    for (size_t quad = 0; quad < TQ_PAGE_TOKENS / 4; quad++) {
        const size_t at = tq_value_block_at(work->code, group, quad / 8) + quad % 8 * TQ_ROW_BYTES;
        const __m512i index = load_row(work->page + at, 0);
        const __m512i high = look_up(high_table, index);
        const __m512i low = look_up(low_table, index);
        fetch_rows(work->ahead + at, 1);
        TQ_UNROLL
        for (size_t i = 0; i < n_q; i++) {
            const __m512i w_high = broadcast_weights(work->weights[i] + 4 * quad);
            const __m512i w_low = broadcast_weights(work->low_weights[i] + 4 * quad);
            high_sums[i] = add_products(high_sums[i], w_high, high);
            low_sums[i] = add_products(low_sums[i], w_high, low);
            low_sums[i] = add_products(low_sums[i], w_low, high);
        }
    }
    const __m512 mean = load_mean(work, group);
    TQ_UNROLL
    for (size_t i = 0; i < n_q; i++) {
        const __m512 whole = _mm512_fmadd_ps(_mm512_cvtepi32_ps(low_sums[i]), _mm512_set1_ps(1.0F / 256),
                                             _mm512_cvtepi32_ps(high_sums[i]));
        add_to_sums(work, i, whole, mean, work->sums + i * work->code->dim + group * TQ_VALUE_DIMS);
    }
}

TQ_INLINE void weighted(size_t n_q, const tq_weighted *work)
{
    const byte_table high = load_byte_table(work->tables->high);
    const byte_table low = load_byte_table(work->tables->low);
    for (size_t g = 0; g < work->code->dim / TQ_VALUE_DIMS; g++) {
        weighted_group(n_q, work, &high, &low, g);
    }
}

#define WEIGHTED(n_q)                                                                                                  \
    static void weighted_##n_q(const tq_weighted *work)                                                                \
    {                                                                                                                  \
        weighted(n_q, work);                                                                                           \
    }

WEIGHTED(1)
WEIGHTED(2)
WEIGHTED(3)
WEIGHTED(4)
WEIGHTED(5)
WEIGHTED(6)
WEIGHTED(7)
WEIGHTED(8)

tq_weighted_function *const tq_byte_weighted_avx512[TQ_PAGE_QUERIES] = {weighted_1, weighted_2, weighted_3, weighted_4,
                                                                        weighted_5, weighted_6, weighted_7, weighted_8};
