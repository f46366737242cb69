/* SPDX-License-Identifier: MIT
 *
 * Encoding with AVX-512. A search of b <= 4 levels compares with 2^b - 1 thresholds; each level takes its thresholds
 * from one register by a permutation,
 *
 *     level of step s:    table[i] = threshold[i + s - 1]        looked up by the index found so far, a multiple of 2 s
 */
#include "kernels/exact.h"

#include "kernels/x86/lanes_avx512.h"

enum { LADDER_LEVELS = 4 };

typedef struct ladder {
    __m512 table[LADDER_LEVELS]; /* Of step 1, 2, 4, 8. */
} ladder;

/* The ladder of 2^bits - 1 thresholds. */
TQ_INLINE ladder ladder_make(const float *thresholds, unsigned bits)
{
    ladder made;
    for (unsigned level = 0; level < bits; level++) {
        const size_t skipped = ((size_t)1 << level) - 1;
        made.table[level] = lanes_load_part(thresholds + skipped, ((size_t)1 << bits) - 1 - skipped);
    }
    return made;
}

/* The ladder with all thresholds multiplied. */
TQ_INLINE ladder ladder_scale(ladder unit, unsigned bits, float factor)
{
    for (unsigned level = 0; level < bits; level++) {
        unit.table[level] = lanes_mul(unit.table[level], lanes_all(factor));
    }
    return unit;
}

/* index + (y >= threshold ? step : 0) */
TQ_INLINE i32x16 step_up(i32x16 index, f32x16 y, f32x16 threshold, unsigned step)
{
    const __mmask16 reached = _mm512_cmp_ps_mask(y, threshold, _CMP_GE_OQ);
    return _mm512_mask_add_epi32(index, reached, index, lanes_all_i32(step));
}

/* How many of its thresholds y reaches. */
TQ_INLINE i32x16 ladder_search(ladder from, unsigned bits, f32x16 y)
{
    i32x16 index = step_up(lanes_all_i32(0), y, _mm512_broadcastss_ps(_mm512_castps512_ps128(from.table[bits - 1])),
                           1U << (bits - 1));
    for (unsigned level = bits - 1; level-- > 0;) {
        const f32x16 threshold = _mm512_permutexvar_ps(index, from.table[level]);
        index = step_up(index, y, threshold, 1U << level);
    }
    return index;
}

#include "kernels/x86/encode_lanes.h"
