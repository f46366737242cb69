/* SPDX-License-Identifier: MIT
 *
 * Integer dot products with AVX2. vpmaddubsw adds the products of two neighbouring bytes in 16 bits, and saturates:
 * whoever makes the integers sees to it that they fit. dot_avxvnni.h gives the same names to an instruction that has
 * room for all. */
#ifndef TQ_DOT_AVX2_H
#define TQ_DOT_AVX2_H

#include "compiler.h"

#include <immintrin.h>
#include <stdint.h>

#define TQ_KERNEL(name) tq_##name##_avx2

enum { DOT_MOST = INT16_MAX }; /* What two neighbouring products may add up to. */

/* sum + four products of bytes in every lane. */
TQ_INLINE __m256i dot_bytes(__m256i sum, __m256i of_unsigned, __m256i of_signed)
{
    const __m256i pairs = _mm256_maddubs_epi16(of_unsigned, of_signed);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#endif /* TQ_DOT_AVX2_H */
