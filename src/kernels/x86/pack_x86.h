/* SPDX-License-Identifier: MIT
 *
 * Packing 32 indices with AVX2, for AVX-512 too:
 *
 *     4 bits    b0 | b1 << 4              as a sum of products, b0 * 1 + b1 * 16
 *     2 bits    b0 | b1 << 2 | ..         such sums of such sums
 *     1 bit     the sign bits of the bytes after a shift */
#ifndef TQ_PACK_X86_H
#define TQ_PACK_X86_H

#include "compiler.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The fields of one plane, bits shift .. shift + bits - 1 of 32 indices, as 4 * bits bytes. */
TQ_INLINE void pack_32(const uint8_t *index, int shift, unsigned bits, uint8_t *packed)
{
    const __m256i bytes = _mm256_loadu_si256((const void *)index);
    if (bits == 1) {
        const int signs = _mm256_movemask_epi8(_mm256_slli_epi16(bytes, 7 - shift));
        memcpy(packed, &signs, sizeof signs);
    } else if (bits == 2) {
        const __m256i low = _mm256_and_si256(bytes, _mm256_set1_epi8(3));
        const __m256i fours = _mm256_maddubs_epi16(low, _mm256_set1_epi16(0x0401));
        const __m256i sums = _mm256_madd_epi16(fours, _mm256_set1_epi32(0x00100001)); /* One byte in four. */
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(sums, sums), 0x08);
        _mm_storel_epi64((void *)packed, _mm_packus_epi16(_mm256_castsi256_si128(words), _mm_setzero_si128()));
    } else {
        const __m256i words = _mm256_maddubs_epi16(bytes, _mm256_set1_epi16(0x1001));
        const __m256i halves = _mm256_permute4x64_epi64(_mm256_packus_epi16(words, words), 0x08);
        _mm_storeu_si128((void *)packed, _mm256_castsi256_si128(halves));
    }
}

#endif /* TQ_PACK_X86_H */
