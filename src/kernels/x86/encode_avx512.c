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

/* How many of its thresholds y reaches. */
TQ_INLINE i32x16 ladder_search(ladder from, unsigned bits, f32x16 y)
{
    i32x16 index = lanes_step(lanes_all_i32(0), y, _mm512_broadcastss_ps(_mm512_castps512_ps128(from.table[bits - 1])),
                              1U << (bits - 1));
    for (unsigned level = bits - 1; level-- > 0;) {
        const f32x16 threshold = _mm512_permutexvar_ps(index, from.table[level]);
        index = lanes_step(index, y, threshold, 1U << level);
    }
    return index;
}

#include "kernels/x86/encode_lanes.h"
