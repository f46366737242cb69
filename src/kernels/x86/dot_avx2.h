/* SPDX-License-Identifier: MIT
 *
 * Integer dot products with AVX2. vpmaddubsw adds two products in 16 bits, and saturates: |signed| <= 63 if the other
 * side uses all eight bits of an unsigned byte, or unsigned <= 127 if the signed side does.
 * dot_avxvnni.h gives the same names to instructions that do not. */
#ifndef TQ_DOT_AVX2_H
#define TQ_DOT_AVX2_H

#include "compiler.h"

#include <immintrin.h>

#define TQ_KERNEL(name) tq_##name##_avx2

enum { DOT_EIGHT_BITS = 0 }; /* Whether both sides may use all eight bits. */

/* sum + four products of bytes in every lane. */
TQ_INLINE __m256i dot_bytes(__m256i sum, __m256i of_unsigned, __m256i of_signed)
{
    const __m256i pairs = _mm256_maddubs_epi16(of_unsigned, of_signed);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* sum + two products of 16-bit numbers in every lane. */
TQ_INLINE __m256i dot_words(__m256i sum, __m256i a, __m256i b)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

#endif /* TQ_DOT_AVX2_H */
