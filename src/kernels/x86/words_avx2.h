/* SPDX-License-Identifier: MIT
 *
 * Thirty-two lanes of u16 as AVX2 has them: two registers. words_avx512.h says what this is for. */
#ifndef TQ_WORDS_AVX2_H
#define TQ_WORDS_AVX2_H

#include "kernels/x86/lanes_avx2.h"

typedef struct u16x32 {
    __m256i low, high;
} u16x32;

TQ_INLINE u16x32 words_load(const void *x)
{
    const __m256i *words = x;
    return (u16x32){_mm256_loadu_si256(words), _mm256_loadu_si256(words + 1)};
}

TQ_INLINE void words_store(void *y, u16x32 a)
{
    __m256i *words = y;
    _mm256_storeu_si256(words, a.low);
    _mm256_storeu_si256(words + 1, a.high);
}

TQ_INLINE u16x32 words_all(unsigned value)
{
    const __m256i all = _mm256_set1_epi16((short)value);
    return (u16x32){all, all};
}

TQ_INLINE u16x32 words_repeat_four(const void *x)
{
    const __m256i four = _mm256_broadcastq_epi64(_mm_loadl_epi64(x));
    return (u16x32){four, four};
}

TQ_INLINE u16x32 words_from_bytes(const uint8_t *x, uint8_t mask)
{
    const __m256i bytes = _mm256_and_si256(_mm256_loadu_si256((const void *)x), _mm256_set1_epi8((char)mask));
    return (u16x32){_mm256_cvtepu8_epi16(_mm256_castsi256_si128(bytes)),
                    _mm256_cvtepu8_epi16(_mm256_extracti128_si256(bytes, 1))};
}

TQ_INLINE uint32_t bytes_signs(const uint8_t *x)
{
    return (uint32_t)_mm256_movemask_epi8(_mm256_loadu_si256((const void *)x));
}

TQ_INLINE u16x32 words_add(u16x32 a, u16x32 b)
{
    return (u16x32){_mm256_add_epi16(a.low, b.low), _mm256_add_epi16(a.high, b.high)};
}

TQ_INLINE u16x32 words_mul(u16x32 a, u16x32 b)
{
    return (u16x32){_mm256_mullo_epi16(a.low, b.low), _mm256_mullo_epi16(a.high, b.high)};
}

TQ_INLINE u16x32 words_sub(u16x32 a, u16x32 b)
{
    return (u16x32){_mm256_sub_epi16(a.low, b.low), _mm256_sub_epi16(a.high, b.high)};
}

TQ_INLINE u16x32 words_add_saturating(u16x32 a, u16x32 b)
{
    return (u16x32){_mm256_adds_epu16(a.low, b.low), _mm256_adds_epu16(a.high, b.high)};
}

TQ_INLINE u16x32 words_min(u16x32 a, u16x32 b)
{
    return (u16x32){_mm256_min_epu16(a.low, b.low), _mm256_min_epu16(a.high, b.high)};
}

TQ_INLINE u16x32 words_distance(u16x32 a, u16x32 b)
{
    return (u16x32){_mm256_sub_epi16(_mm256_max_epi16(a.low, b.low), _mm256_min_epi16(a.low, b.low)),
                    _mm256_sub_epi16(_mm256_max_epi16(a.high, b.high), _mm256_min_epi16(a.high, b.high))};
}

TQ_INLINE u16x32 words_square_high(u16x32 a)
{
    return (u16x32){_mm256_mulhi_epu16(a.low, a.low), _mm256_mulhi_epu16(a.high, a.high)};
}

/* Bit i: the upper bit of lane i. */
TQ_INLINE uint32_t words_signs(u16x32 a)
{
    const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(a.low, a.high), 0xD8);
    return (uint32_t)_mm256_movemask_epi8(bytes);
}

/* All bits of the lanes in which a >= b. */
TQ_INLINE u16x32 words_reaches(u16x32 a, u16x32 b)
{
    return (u16x32){_mm256_cmpeq_epi16(_mm256_max_epu16(a.low, b.low), a.low),
                    _mm256_cmpeq_epi16(_mm256_max_epu16(a.high, b.high), a.high)};
}

TQ_INLINE uint32_t words_below(u16x32 a, u16x32 b)
{
    return ~words_signs(words_reaches(a, b));
}

TQ_INLINE uint32_t words_equal(u16x32 a, u16x32 b)
{
    return words_signs((u16x32){_mm256_cmpeq_epi16(a.low, b.low), _mm256_cmpeq_epi16(a.high, b.high)});
}

TQ_INLINE uint32_t words_bit(u16x32 a, unsigned bit)
{
    const int shift = 15 - (int)bit;
    return words_signs((u16x32){_mm256_slli_epi16(a.low, shift), _mm256_slli_epi16(a.high, shift)});
}

TQ_INLINE u16x32 words_where_below(u16x32 a, u16x32 b, u16x32 yes, u16x32 no)
{
    const u16x32 not_below = words_reaches(a, b);
    return (u16x32){_mm256_blendv_epi8(yes.low, no.low, not_below.low),
                    _mm256_blendv_epi8(yes.high, no.high, not_below.high)};
}

TQ_INLINE uint16_t words_least(u16x32 a)
{
    const __m256i half = _mm256_min_epu16(a.low, a.high);
    const __m128i quarter = _mm_min_epu16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    return (uint16_t)_mm_cvtsi128_si32(_mm_minpos_epu16(quarter));
}

TQ_INLINE u16x32 words_shuffle_bytes(u16x32 a, u16x32 control)
{
    return (u16x32){_mm256_shuffle_epi8(a.low, control.low), _mm256_shuffle_epi8(a.high, control.high)};
}

TQ_INLINE u16x32 interleave_sixteen(__m256i even, __m256i odd)
{
    const __m256i low = _mm256_unpacklo_epi16(even, odd);
    const __m256i high = _mm256_unpackhi_epi16(even, odd);
    return (u16x32){_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31)};
}

TQ_INLINE void words_interleave(u16x32 even, u16x32 odd, u16x32 *low, u16x32 *high)
{
    *low = interleave_sixteen(even.low, odd.low);
    *high = interleave_sixteen(even.high, odd.high);
}

TQ_INLINE u16x32 words_load_for_fours(const int16_t *x)
{
    const __m256i pairs = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    return (u16x32){_mm256_permutevar8x32_epi32(_mm256_loadu_si256((const void *)x), pairs),
                    _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const void *)(x + 16)), pairs)};
}

TQ_INLINE void store_sixteen_fours(uint16_t *y, __m256i a0, __m256i a1, __m256i a2, __m256i a3)
{
    const __m256i low01 = _mm256_unpacklo_epi16(a0, a1);
    const __m256i high01 = _mm256_unpackhi_epi16(a0, a1);
    const __m256i low23 = _mm256_unpacklo_epi16(a2, a3);
    const __m256i high23 = _mm256_unpackhi_epi16(a2, a3);
    _mm256_storeu_si256((void *)y, _mm256_unpacklo_epi32(low01, low23));
    _mm256_storeu_si256((void *)(y + 16), _mm256_unpackhi_epi32(low01, low23));
    _mm256_storeu_si256((void *)(y + 32), _mm256_unpacklo_epi32(high01, high23));
    _mm256_storeu_si256((void *)(y + 48), _mm256_unpackhi_epi32(high01, high23));
}

TQ_INLINE void words_store_fours(uint16_t *y, const u16x32 a[4])
{
    store_sixteen_fours(y, a[0].low, a[1].low, a[2].low, a[3].low);
    store_sixteen_fours(y + 64, a[0].high, a[1].high, a[2].high, a[3].high);
}

TQ_INLINE __m256i to_i32_limited(__m256 a)
{
    const __m256 limit = _mm256_set1_ps(32767.0F);
    return _mm256_cvtps_epi32(_mm256_max_ps(_mm256_min_ps(a, limit), _mm256_sub_ps(_mm256_setzero_ps(), limit)));
}

TQ_INLINE void lanes_store_i16(int16_t *y, f32x16 a)
{
    const __m256i words = _mm256_packs_epi32(to_i32_limited(a.low), to_i32_limited(a.high));
    _mm256_storeu_si256((void *)y, _mm256_permute4x64_epi64(words, 0xD8));
}

TQ_INLINE f32x16 words_upper_bytes(u16x32 a, size_t half)
{
    const __m256i words = _mm256_srai_epi16(half == 0 ? a.low : a.high, 8);
    return (f32x16){_mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(words))),
                    _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_extracti128_si256(words, 1)))};
}

#endif /* TQ_WORDS_AVX2_H */
