/* SPDX-License-Identifier: MIT
 *
 * What four registers of sixteen floats add up to, or the largest in each: side by side, in the latency of one.
 *
 *     a0 .. aF | b0 .. bF | c0 .. cF | d0 .. dF      four registers
 *     a a a a  | b b b b  | c c c c  | d d d d       one, a quarter for each                                 */
#ifndef TQ_ACROSS_LANES_AVX512_H
#define TQ_ACROSS_LANES_AVX512_H

#include "compiler.h"

#include <immintrin.h>
#include <stddef.h>

enum { TQ_QUARTERS = 4 };

typedef __m512 tq_operation(__m512 a, __m512 b);

TQ_INLINE __m512 tq_add(__m512 a, __m512 b)
{
    return _mm512_add_ps(a, b);
}

TQ_INLINE __m512 tq_larger(__m512 a, __m512 b)
{
    return _mm512_max_ps(a, b);
}

TQ_INLINE __m512 tq_across_lanes(tq_operation *operation, const __m512 x[TQ_QUARTERS])
{
    const __m512 ab = operation(_mm512_shuffle_f32x4(x[0], x[1], _MM_SHUFFLE(1, 0, 1, 0)),
                                _mm512_shuffle_f32x4(x[0], x[1], _MM_SHUFFLE(3, 2, 3, 2)));
    const __m512 cd = operation(_mm512_shuffle_f32x4(x[2], x[3], _MM_SHUFFLE(1, 0, 1, 0)),
                                _mm512_shuffle_f32x4(x[2], x[3], _MM_SHUFFLE(3, 2, 3, 2)));
    const __m512 quarters = operation(_mm512_shuffle_f32x4(ab, cd, _MM_SHUFFLE(2, 0, 2, 0)),
                                      _mm512_shuffle_f32x4(ab, cd, _MM_SHUFFLE(3, 1, 3, 1)));
    const __m512 pairs = operation(quarters, _mm512_permute_ps(quarters, _MM_SHUFFLE(1, 0, 3, 2)));
    return operation(pairs, _mm512_permute_ps(pairs, _MM_SHUFFLE(2, 3, 0, 1)));
}

/* Quarter i in all lanes. */
TQ_INLINE __m512 tq_quarter(__m512 quarters, int i)
{
    const __m512 all = _mm512_permutexvar_ps(_mm512_set1_epi32(4 * i), quarters);
    return all;
}

/* The first `count` of four floats; constant. A masked store is slow, and so is a load of what it stored. */
TQ_INLINE void tq_store_some(float *to, size_t count, __m128 x)
{
    if (count == TQ_QUARTERS) {
        _mm_storeu_ps(to, x);
    } else {
        _mm_mask_storeu_ps(to, (__mmask8)((1U << count) - 1), x);
    }
}

/* One number of each quarter. */
TQ_INLINE __m128 tq_first_lanes(__m512 quarters)
{
    const __m512i first = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    return _mm512_castps512_ps128(_mm512_permutexvar_ps(first, quarters));
}

#endif /* TQ_ACROSS_LANES_AVX512_H */
