/* SPDX-License-Identifier: MIT
 *
 * Encoding with AVX-512. How many of 2^b - 1 thresholds y reaches is found in one of two ways.
 *
 * A ladder halves what is left b times. Each level takes its thresholds from one register by a permutation,
 *
 *     level of step s:    table[i] = threshold[i + s - 1]        looked up by the index found so far, a multiple of 2 s
 *
 * Codes of 3 and 4 bits have thresholds so far apart that each of 32 equal bins, a quarter wide and centred on
 * multiples of a quarter, holds one at most. One multiplication guesses the bin, one comparison is left:
 *
 *     bin = round(4 y / limit)        index = base[bin] + (y >= threshold[bin] * limit)
 *
 * No threshold is closer than 0.02 to the border of a bin, so a guess that rounding puts on the wrong side of a border
 * finds the same index there: the result is exact, whatever the guess. A bin without a threshold holds the next above.
 * The bin is taken from the low bits of the sum with 1.5 * 2^23, where floats are integers; negative bins come last. */
#include "kernels/exact.h"

#include "kernels/x86/lanes_avx512.h"
#include "kernels/x86/pack_x86.h"

#include <math.h>
#include <stdbool.h>

enum { LADDER_LEVELS = 4 };

typedef struct search {
    __m512 level[LADDER_LEVELS]; /* The ladder's tables of step 1, 2, 4, 8. */
    __m512 threshold[2];         /* Of bins 0 to 15 and -16 to -1. */
    __m512i base[2];
    __m512 bins_per_unit;
    __m512 bound; /* Larger numbers are in the last bin. */
} search;

TQ_INLINE bool has_bins(unsigned bits)
{
    return bits == 3 || bits == 4; /* With 2 bits, two steps of a ladder take no longer. */
}

/* index + (y >= threshold ? step : 0) */
TQ_INLINE i32x16 step_up(i32x16 index, f32x16 y, f32x16 threshold, unsigned step)
{
    const __mmask16 reached = _mm512_cmp_ps_mask(y, threshold, _CMP_GE_OQ);
    return _mm512_mask_add_epi32(index, reached, index, lanes_all_i32(step));
}

TQ_INLINE i32x16 climb(search from, unsigned bits, f32x16 y)
{
    i32x16 index = step_up(lanes_all_i32(0), y, from.level[bits - 1], 1U << (bits - 1));
    for (unsigned level = bits - 1; level-- > 0;) {
        index = step_up(index, y, _mm512_permutexvar_ps(index, from.level[level]), 1U << level);
    }
    return index;
}

/* What a search among 2^bits - 1 thresholds needs; `spread` tells that they are those of a code of so many bits. */
TQ_INLINE search search_make(const float *thresholds, unsigned bits, bool spread)
{
    search made;
    const size_t n = ((size_t)1 << bits) - 1;
    for (unsigned level = 0; level + 1 < bits; level++) {
        const size_t skipped = ((size_t)1 << level) - 1;
        made.level[level] = lanes_load_part(thresholds + skipped, n - skipped);
    }
    made.level[bits - 1] = lanes_all(thresholds[n / 2]); /* All start in the middle. */
    if (spread && has_bins(bits)) {
        const __m512 edges = _mm512_setr_ps(-0.125F, 0.125F, 0.375F, 0.625F, 0.875F, 1.125F, 1.375F, 1.625F, 1.875F,
                                            2.125F, 2.375F, 2.625F, 2.875F, 3.125F, 3.375F, 3.625F);
        const __m512 next = _mm512_mask_mov_ps(lanes_all(INFINITY), lanes_first(n), made.level[0]);
        made.base[0] = climb(made, bits, edges);
        made.base[1] = climb(made, bits, lanes_sub(edges, lanes_all(4)));
        made.threshold[0] = _mm512_permutexvar_ps(made.base[0], next);
        made.threshold[1] = _mm512_permutexvar_ps(made.base[1], next);
    }
    return made;
}

/* The search with all thresholds multiplied by `limit`. */
TQ_INLINE search search_scale(search unit, unsigned bits, bool spread, float limit)
{
    if (spread && has_bins(bits)) {
        unit.threshold[0] = lanes_mul(unit.threshold[0], lanes_all(limit));
        unit.threshold[1] = lanes_mul(unit.threshold[1], lanes_all(limit));
        unit.bins_per_unit = lanes_all(4 / limit);
        unit.bound = lanes_all(3.8F * limit);
    } else {
        for (unsigned level = 0; level < bits; level++) {
            unit.level[level] = lanes_mul(unit.level[level], lanes_all(limit));
        }
    }
    return unit;
}

/* How many of its thresholds y reaches. */
TQ_INLINE i32x16 search_count(search from, unsigned bits, bool spread, f32x16 y)
{
    if (!spread || !has_bins(bits)) {
        return climb(from, bits, y);
    }
    enum { LEAST_MAGNITUDE_SIGN_OF_FIRST = 2 };
    const __m512 inside = _mm512_range_ps(y, from.bound, LEAST_MAGNITUDE_SIGN_OF_FIRST);
    const __m512i bin = _mm512_castps_si512(lanes_fused(inside, from.bins_per_unit, lanes_all(0x1.8p23F)));
    const __m512i base = _mm512_permutex2var_epi32(from.base[0], bin, from.base[1]);
    return step_up(base, y, _mm512_permutex2var_ps(from.threshold[0], bin, from.threshold[1]), 1);
}

#include "kernels/simd/encode_lanes.h"
