/* SPDX-License-Identifier: MIT
 *
 * Thirty-two lanes of u16 as AVX-512 has them: one register. words_avx2.h gives the same names to pairs of registers.
 */
#ifndef TQ_WORDS_AVX512_H
#define TQ_WORDS_AVX512_H

#include "kernels/x86/lanes_avx512.h"

typedef __m512i u16x32;

TQ_INLINE u16x32 words_load(const void *x)
{
    return _mm512_loadu_si512(x);
}

TQ_INLINE void words_store(void *y, u16x32 a)
{
    _mm512_storeu_si512(y, a);
}

TQ_INLINE u16x32 words_all(unsigned value)
{
    return _mm512_set1_epi16((short)value);
}

/* The four u16 at x, eight times. */
TQ_INLINE u16x32 words_repeat_four(const void *x)
{
    return _mm512_broadcastq_epi64(_mm_loadl_epi64(x));
}

/* The bits of `mask` of 32 bytes, zero-extended. */
TQ_INLINE u16x32 words_from_bytes(const uint8_t *x, uint8_t mask)
{
    const __m256i bytes = _mm256_loadu_si256((const void *)x);
    return _mm512_cvtepu8_epi16(_mm256_and_si256(bytes, _mm256_set1_epi8((char)mask)));
}

/* Bit i: the upper bit of byte i. */
TQ_INLINE uint32_t bytes_signs(const uint8_t *x)
{
    return (uint32_t)_mm256_movemask_epi8(_mm256_loadu_si256((const void *)x));
}

TQ_INLINE u16x32 words_add(u16x32 a, u16x32 b)
{
    return _mm512_add_epi16(a, b);
}

TQ_INLINE u16x32 words_mul(u16x32 a, u16x32 b)
{
    return _mm512_mullo_epi16(a, b);
}

TQ_INLINE u16x32 words_sub(u16x32 a, u16x32 b)
{
    return _mm512_sub_epi16(a, b);
}

TQ_INLINE u16x32 words_add_saturating(u16x32 a, u16x32 b)
{
    return _mm512_adds_epu16(a, b);
}

TQ_INLINE u16x32 words_min(u16x32 a, u16x32 b)
{
    return _mm512_min_epu16(a, b);
}

/* |a - b| of signed lanes. */
TQ_INLINE u16x32 words_distance(u16x32 a, u16x32 b)
{
    return _mm512_sub_epi16(_mm512_max_epi16(a, b), _mm512_min_epi16(a, b));
}

/* a * a >> 16 */
TQ_INLINE u16x32 words_square_high(u16x32 a)
{
    return _mm512_mulhi_epu16(a, a);
}

/* Bit i: a < b in lane i. */
TQ_INLINE uint32_t words_below(u16x32 a, u16x32 b)
{
    return _mm512_cmplt_epu16_mask(a, b);
}

/* Bit i: a == b in lane i. */
TQ_INLINE uint32_t words_equal(u16x32 a, u16x32 b)
{
    return _mm512_cmpeq_epi16_mask(a, b);
}

/* Bit i: bit `bit` of lane i. */
TQ_INLINE uint32_t words_bit(u16x32 a, unsigned bit)
{
    return _mm512_test_epi16_mask(a, words_all(1U << bit));
}

/* yes where a < b, else no. */
TQ_INLINE u16x32 words_where_below(u16x32 a, u16x32 b, u16x32 yes, u16x32 no)
{
    return _mm512_mask_blend_epi16(_mm512_cmplt_epu16_mask(a, b), no, yes);
}

TQ_INLINE uint16_t words_least(u16x32 a)
{
    const __m256i half = _mm256_min_epu16(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    const __m128i quarter = _mm_min_epu16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    return (uint16_t)_mm_cvtsi128_si32(_mm_minpos_epu16(quarter));
}

/* In every 16 bytes: byte i of the result is byte control[i] of a. */
TQ_INLINE u16x32 words_shuffle_bytes(u16x32 a, u16x32 control)
{
    return _mm512_shuffle_epi8(a, control);
}

/* even[0], odd[0], even[1], odd[1], ...: 32 words in *low, 32 in *high. */
TQ_INLINE void words_interleave(u16x32 even, u16x32 odd, u16x32 *low, u16x32 *high)
{
    const u16x32 first = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                                          37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    *low = _mm512_permutex2var_epi16(even, first, odd);
    *high = _mm512_permutex2var_epi16(even, _mm512_add_epi16(first, words_all(16)), odd);
}

/* Lanes in the order in which words_store_fours wants them. */
TQ_INLINE u16x32 words_load_for_fours(const int16_t *x)
{
    const __m512i pairs = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_epi32(pairs, _mm512_loadu_si512(x));
}

/* y[4 * i + s] = a[s] of element i, for elements that words_load_for_fours loaded. */
TQ_INLINE void words_store_fours(uint16_t *y, const u16x32 a[4])
{
    const __m512i low01 = _mm512_unpacklo_epi16(a[0], a[1]);
    const __m512i high01 = _mm512_unpackhi_epi16(a[0], a[1]);
    const __m512i low23 = _mm512_unpacklo_epi16(a[2], a[3]);
    const __m512i high23 = _mm512_unpackhi_epi16(a[2], a[3]);
    _mm512_storeu_si512(y, _mm512_unpacklo_epi32(low01, low23));
    _mm512_storeu_si512(y + 32, _mm512_unpackhi_epi32(low01, low23));
    _mm512_storeu_si512(y + 64, _mm512_unpacklo_epi32(high01, high23));
    _mm512_storeu_si512(y + 96, _mm512_unpackhi_epi32(high01, high23));
}

/* Sixteen floats as i16: to the nearest integer, limited to +-32767. */
TQ_INLINE void lanes_store_i16(int16_t *y, f32x16 a)
{
    const __m512 limit = _mm512_set1_ps(32767.0F);
    const __m512 limited = _mm512_max_ps(_mm512_min_ps(a, limit), _mm512_sub_ps(_mm512_setzero_ps(), limit));
    _mm256_storeu_si256((void *)y, _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(limited)));
}

/* The upper bytes, signed, of words 0 to 15 or of words 16 to 31. */
TQ_INLINE f32x16 words_upper_bytes(u16x32 a, size_t half)
{
    const __m256i words = half == 0 ? _mm512_castsi512_si256(a) : _mm512_extracti64x4_epi64(a, 1);
    return _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_srai_epi16(words, 8)));
}

#endif /* TQ_WORDS_AVX512_H */
