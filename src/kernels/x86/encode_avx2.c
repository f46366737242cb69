/* SPDX-License-Identifier: MIT
 *
 * Encoding with AVX2. A search of b <= 4 levels compares with 2^b - 1 thresholds; each level takes its thresholds,
 * which are 1, 2, 4 or 8, from one register by a permutation,
 *
 *     level of step s:    table[i] = threshold[(2 i + 1) s - 1]        looked up by the bits of the index found so far
 */
#include "kernels/exact.h"

#include "kernels/x86/lanes_avx2.h"
#include "kernels/x86/pack_x86.h"

#include <stdbool.h>

enum { LADDER_LEVELS = 4 };

typedef struct search {
    __m256 table[LADDER_LEVELS]; /* Of step 1, 2, 4, 8. */
} search;

/* What a search among 2^bits - 1 thresholds needs. */
TQ_INLINE search search_make(const float *thresholds, unsigned bits, bool spread)
{
    search made;
    (void)spread;
    for (unsigned level = 0; level < bits; level++) {
        const size_t step = (size_t)1 << level;
        float table[8] = {0};
        for (size_t i = 0; (2 * i + 1) * step < (size_t)1 << bits; i++) {
            table[i] = thresholds[(2 * i + 1) * step - 1];
        }
        made.table[level] = _mm256_loadu_ps(table);
    }
    return made;
}

/* The search with all thresholds multiplied by `limit`. */
TQ_INLINE search search_scale(search unit, unsigned bits, bool spread, float limit)
{
    (void)spread;
    for (unsigned level = 0; level < bits; level++) {
        unit.table[level] = _mm256_mul_ps(unit.table[level], _mm256_set1_ps(limit));
    }
    return unit;
}

TQ_INLINE __m256i count8(search from, unsigned bits, __m256 y)
{
    __m256i index = _mm256_setzero_si256();
    for (unsigned level = bits; level-- > 0;) {
        const __m256 threshold = _mm256_permutevar8x32_ps(from.table[level], index);
        const __m256i reached = _mm256_castps_si256(_mm256_cmp_ps(y, threshold, _CMP_GE_OQ)); /* -1 if so. */
        index = _mm256_sub_epi32(_mm256_add_epi32(index, index), reached);
    }
    return index;
}

/* How many of its thresholds y reaches. */
TQ_INLINE i32x16 search_count(search from, unsigned bits, bool spread, f32x16 y)
{
    (void)spread;
    return (i32x16){count8(from, bits, y.low), count8(from, bits, y.high)};
}

#include "kernels/simd/encode_lanes.h"
