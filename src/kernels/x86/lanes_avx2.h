/* SPDX-License-Identifier: MIT
 *
 * Sixteen lanes of f32 or i32 as AVX2 has them: two registers. lanes_avx512.h says what this is for. */
#ifndef TQ_LANES_AVX2_H
#define TQ_LANES_AVX2_H

#include "compiler.h"
#include "kernels/x86/x86.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TQ_KERNEL(name) tq_##name##_avx2

enum { LANES = 16, LANES_GROUP = 4 };

typedef struct f32x16 {
    __m256 low, high;
} f32x16;

typedef struct i32x16 {
    __m256i low, high;
} i32x16;

/* All bits of the first n lanes. */
TQ_INLINE i32x16 lanes_first(size_t n)
{
    static const int32_t window[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    const int32_t *mask = window + 16 - n;
    return (i32x16){_mm256_loadu_si256((const void *)mask), _mm256_loadu_si256((const void *)(mask + 8))};
}

/* How many of `count` elements the step that begins at i covers. */
TQ_INLINE size_t lanes_left(size_t count, size_t i)
{
    return count - i < LANES ? count - i : LANES;
}

TQ_INLINE f32x16 lanes_load(const float *x)
{
    return (f32x16){_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)};
}

TQ_INLINE f32x16 lanes_load_part(const float *x, size_t n)
{
    if (n == 16) {
        return lanes_load(x);
    }
    const i32x16 mask = lanes_first(n);
    return (f32x16){_mm256_maskload_ps(x, mask.low), _mm256_maskload_ps(x + 8, mask.high)};
}

TQ_INLINE void lanes_store(float *y, f32x16 a)
{
    _mm256_storeu_ps(y, a.low);
    _mm256_storeu_ps(y + 8, a.high);
}

TQ_INLINE void lanes_store_part(float *y, size_t n, f32x16 a)
{
    if (n == 16) {
        lanes_store(y, a);
        return;
    }
    const i32x16 mask = lanes_first(n);
    _mm256_maskstore_ps(y, mask.low, a.low);
    _mm256_maskstore_ps(y + 8, mask.high, a.high);
}

TQ_INLINE i32x16 lanes_load_i32(const uint32_t *x)
{
    const __m256i *halves = (const void *)x;
    return (i32x16){_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
}

TQ_INLINE void lanes_store_i32(uint32_t *y, i32x16 a)
{
    __m256i *halves = (void *)y;
    _mm256_storeu_si256(halves, a.low);
    _mm256_storeu_si256(halves + 1, a.high);
}

/* Sixteen 16-bit elements, zero-extended. */
TQ_INLINE i32x16 lanes_load_u16(const void *x)
{
    const __m128i *words = x;
    return (i32x16){_mm256_cvtepu16_epi32(_mm_loadu_si128(words)), _mm256_cvtepu16_epi32(_mm_loadu_si128(words + 1))};
}

TQ_INLINE i32x16 lanes_load_u16_part(const void *x, size_t n)
{
    uint16_t copy[16] = {0};
    memcpy(copy, x, n * sizeof *copy);
    return lanes_load_u16(copy);
}

TQ_INLINE void store_words(void *y, size_t n, __m256i words)
{
    if (n == 16) {
        _mm256_storeu_si256(y, words);
        return;
    }
    uint16_t copy[16];
    _mm256_storeu_si256((void *)copy, words);
    memcpy(y, copy, n * sizeof *copy);
}

/* The low halves of the lanes, which are below 65536. */
TQ_INLINE void lanes_store_u16_part(void *y, size_t n, i32x16 a)
{
    store_words(y, n, _mm256_permute4x64_epi64(_mm256_packus_epi32(a.low, a.high), 0xD8));
}

/* Sixteen f16. To f16 rounds to nearest even; beyond 65504 is the caller's to prevent. */
TQ_INLINE f32x16 lanes_load_f16(const void *x)
{
    const __m128i *halves = x;
    return (f32x16){_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}

TQ_INLINE f32x16 lanes_load_f16_part(const void *x, size_t n)
{
    uint16_t copy[16] = {0};
    memcpy(copy, x, n * sizeof *copy);
    return lanes_load_f16(copy);
}

TQ_INLINE void lanes_store_f16_part(void *y, size_t n, f32x16 a)
{
    const __m128i low = _mm256_cvtps_ph(a.low, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m128i high = _mm256_cvtps_ph(a.high, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    store_words(y, n, _mm256_set_m128i(high, low));
}

TQ_INLINE i32x16 lanes_bits(f32x16 a)
{
    return (i32x16){_mm256_castps_si256(a.low), _mm256_castps_si256(a.high)};
}

TQ_INLINE f32x16 lanes_from_bits(i32x16 a)
{
    return (f32x16){_mm256_castsi256_ps(a.low), _mm256_castsi256_ps(a.high)};
}

TQ_INLINE i32x16 lanes_all_i32(uint32_t value)
{
    const __m256i all = _mm256_set1_epi32((int)value);
    return (i32x16){all, all};
}

TQ_INLINE i32x16 lanes_and(i32x16 a, i32x16 b)
{
    return (i32x16){_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
}

TQ_INLINE i32x16 lanes_or(i32x16 a, i32x16 b)
{
    return (i32x16){_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
}

TQ_INLINE i32x16 lanes_add_i32(i32x16 a, i32x16 b)
{
    return (i32x16){_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}

TQ_INLINE i32x16 lanes_min_u32(i32x16 a, i32x16 b)
{
    return (i32x16){_mm256_min_epu32(a.low, b.low), _mm256_min_epu32(a.high, b.high)};
}

TQ_INLINE i32x16 lanes_max_u32(i32x16 a, i32x16 b)
{
    return (i32x16){_mm256_max_epu32(a.low, b.low), _mm256_max_epu32(a.high, b.high)};
}

TQ_INLINE i32x16 lanes_shift_left(i32x16 a, int bits)
{
    return (i32x16){_mm256_slli_epi32(a.low, bits), _mm256_slli_epi32(a.high, bits)};
}

TQ_INLINE i32x16 lanes_shift_right(i32x16 a, int bits)
{
    return (i32x16){_mm256_srli_epi32(a.low, bits), _mm256_srli_epi32(a.high, bits)};
}

/* 1 if a < limit, unsigned, in every lane. */
TQ_INLINE int lanes_all_below(i32x16 a, uint32_t limit)
{
    const __m256i most = _mm256_max_epu32(a.low, a.high);
    const __m256i reached = _mm256_cmpeq_epi32(_mm256_max_epu32(most, _mm256_set1_epi32((int)limit)), most);
    return _mm256_testz_si256(reached, reached);
}

TQ_INLINE f32x16 lanes_all(float value)
{
    const __m256 all = _mm256_set1_ps(value);
    return (f32x16){all, all};
}

TQ_INLINE f32x16 lanes_add(f32x16 a, f32x16 b)
{
    return (f32x16){_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}

TQ_INLINE f32x16 lanes_sub(f32x16 a, f32x16 b)
{
    return (f32x16){_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}

TQ_INLINE f32x16 lanes_mul(f32x16 a, f32x16 b)
{
    return (f32x16){_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}

/* a * b + c, rounded once. */
TQ_INLINE f32x16 lanes_fused(f32x16 a, f32x16 b, f32x16 c)
{
    return (f32x16){_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}

/* The sum of the lanes as a tree of distance 8, 4, 2, 1. */
TQ_INLINE float lanes_sum(f32x16 a)
{
    const __m256 eight = _mm256_add_ps(a.low, a.high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* Butterflies of distance 1, 2, 4 between the lanes of one register: see lanes_avx512.h. */
TQ_INLINE __m256 butterflies8(__m256 a)
{
    const __m256 sign1 = _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1);
    const __m256 sign2 = _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1);
    const __m256 sign4 = _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1);
    a = _mm256_fmadd_ps(a, sign1, _mm256_permute_ps(a, 0xB1));
    a = _mm256_fmadd_ps(a, sign2, _mm256_permute_ps(a, 0x4E));
    return _mm256_fmadd_ps(a, sign4, _mm256_permute2f128_ps(a, a, 0x01));
}

/* Butterflies of distance 1, 2, 4, 8 between lanes. */
TQ_INLINE f32x16 lanes_butterflies(f32x16 a)
{
    const __m256 u = butterflies8(a.low);
    const __m256 v = butterflies8(a.high);
    return (f32x16){_mm256_add_ps(u, v), _mm256_sub_ps(u, v)};
}

/* a, with zero in all lanes but the first n. */
TQ_INLINE f32x16 lanes_keep(f32x16 a, size_t n)
{
    return lanes_from_bits(lanes_and(lanes_bits(a), lanes_first(n)));
}

/* Up to sixteen f32 to look up by index. */
typedef f32x16 f32_table;

TQ_INLINE f32_table lanes_table(const float *values, size_t n)
{
    return lanes_load_part(values, n);
}

TQ_INLINE __m256 lookup8(f32_table table, unsigned bits, __m256i index)
{
    const __m256 low = _mm256_permutevar8x32_ps(table.low, index); /* By index mod 8. */
    if (bits <= 3) {
        return low;
    }
    const __m256 high = _mm256_permutevar8x32_ps(table.high, index);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}

/* values[index] for a table of 2^bits values. */
TQ_INLINE f32x16 lanes_lookup(f32_table table, unsigned bits, i32x16 index)
{
    return (f32x16){lookup8(table, bits, index.low), lookup8(table, bits, index.high)};
}

TQ_INLINE f32x16 lanes_gather(const float *values, i32x16 index)
{
    int32_t at[16];
    float found[16];
    _mm256_storeu_si256((void *)at, index.low);
    _mm256_storeu_si256((void *)(at + 8), index.high);
    for (size_t l = 0; l < 16; l++) { /* Plain loads: qemu 7.2 gets the gather instruction wrong here. */
        found[l] = values[at[l]];
    }
    return (f32x16){_mm256_loadu_ps(found), _mm256_loadu_ps(found + 8)};
}

/* How many of sixteen thresholds y reaches. */
TQ_INLINE unsigned lanes_reached(const float *thresholds, float y)
{
    const __m256 all = _mm256_set1_ps(y);
    const int low = _mm256_movemask_ps(_mm256_cmp_ps(all, _mm256_loadu_ps(thresholds), _CMP_GE_OQ));
    const int high = _mm256_movemask_ps(_mm256_cmp_ps(all, _mm256_loadu_ps(thresholds + 8), _CMP_GE_OQ));
    return (unsigned)__builtin_popcount((unsigned)(high << 8 | low));
}

/* The low bytes of the lanes of a, then of b; all are below 256. */
TQ_INLINE void lanes_store_u8(uint8_t *y, i32x16 a, i32x16 b)
{
    const __m256i words_a = _mm256_packus_epi32(a.low, a.high);
    const __m256i words_b = _mm256_packus_epi32(b.low, b.high);
    const __m256i fours = _mm256_packus_epi16(words_a, words_b); /* Of a, a, b, b; twice. */
    _mm256_storeu_si256((void *)y, _mm256_permutevar8x32_epi32(fours, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
}

/* Bit l tells whether lane l is at least 0. */
TQ_INLINE unsigned lanes_not_negative(f32x16 a)
{
    const __m256 zero = _mm256_setzero_ps();
    const int low = _mm256_movemask_ps(_mm256_cmp_ps(a.low, zero, _CMP_GE_OQ));
    const int high = _mm256_movemask_ps(_mm256_cmp_ps(a.high, zero, _CMP_GE_OQ));
    return (unsigned)(high << 8 | low);
}

/* Lane l of the result: word >> l * bits, where bits is 1 or 2. */
TQ_INLINE i32x16 lanes_fields(uint32_t word, int bits)
{
    const __m256i all = _mm256_set1_epi32((int)word);
    const __m256i low = _mm256_slli_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), bits - 1);
    const __m256i high = _mm256_slli_epi32(_mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15), bits - 1);
    return (i32x16){_mm256_srlv_epi32(all, low), _mm256_srlv_epi32(all, high)};
}

/* The same for 4 bits: of `low` in lanes 0 to 7, of `high` in lanes 8 to 15. */
TQ_INLINE i32x16 lanes_nibbles(uint32_t low, uint32_t high)
{
    const __m256i shift = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    return (i32x16){_mm256_srlv_epi32(_mm256_set1_epi32((int)low), shift),
                    _mm256_srlv_epi32(_mm256_set1_epi32((int)high), shift)};
}

/* Sixteen bytes, zero-extended. */
TQ_INLINE i32x16 lanes_load_u8(const uint8_t *x)
{
    const __m128i bytes = _mm_loadu_si128((const void *)x);
    return (i32x16){_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
}

/* Where bit 4 of the index is set, `high`, else `low`. */
TQ_INLINE f32x16 lanes_choose(f32x16 low, f32x16 high, i32x16 index)
{
    const f32x16 chosen = lanes_from_bits(lanes_shift_left(index, 27)); /* In the sign. */
    return (f32x16){_mm256_blendv_ps(low.low, high.low, chosen.low),
                    _mm256_blendv_ps(low.high, high.high, chosen.high)};
}

#endif /* TQ_LANES_AVX2_H */
