/* SPDX-License-Identifier: MIT
 *
 * Sixteen lanes of f32 or i32 as AVX-512 has them: one register. lanes_avx2.h gives the same names to pairs of
 * registers, lanes_neon.h to four, so that a kernel in which only the width differs is written once, in a file
 * simd/<stage>_lanes.h.
 *
 * "part" functions touch the first n <= 16 elements in memory only; loads fill up with zeros. */
#ifndef TQ_LANES_AVX512_H
#define TQ_LANES_AVX512_H

#include "compiler.h"
#include "kernels/x86/x86.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define TQ_KERNEL(name) tq_##name##_avx512

enum { LANES = 16, LANES_GROUP = 8 }; /* LANES_GROUP values at once leave registers for temporaries. */

typedef __m512 f32x16;
typedef __m512i i32x16;

TQ_INLINE __mmask16 lanes_first(size_t n)
{
    return (__mmask16)_bzhi_u32(0xFFFF, (unsigned)n);
}

/* How many of `count` elements the step that begins at i covers. */
TQ_INLINE size_t lanes_left(size_t count, size_t i)
{
    return count - i < LANES ? count - i : LANES;
}

TQ_INLINE f32x16 lanes_load(const float *x)
{
    return _mm512_loadu_ps(x);
}

TQ_INLINE f32x16 lanes_load_part(const float *x, size_t n)
{
    return _mm512_maskz_loadu_ps(lanes_first(n), x);
}

TQ_INLINE void lanes_store(float *y, f32x16 a)
{
    _mm512_storeu_ps(y, a);
}

TQ_INLINE void lanes_store_part(float *y, size_t n, f32x16 a)
{
    _mm512_mask_storeu_ps(y, lanes_first(n), a);
}

TQ_INLINE i32x16 lanes_load_i32(const uint32_t *x)
{
    return _mm512_loadu_si512(x);
}

TQ_INLINE void lanes_store_i32(uint32_t *y, i32x16 a)
{
    _mm512_storeu_si512(y, a);
}

/* Sixteen 16-bit elements, zero-extended. */
TQ_INLINE i32x16 lanes_load_u16(const void *x)
{
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(x));
}

TQ_INLINE i32x16 lanes_load_u16_part(const void *x, size_t n)
{
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes_first(n), x));
}

/* The low halves of the lanes. */
TQ_INLINE void lanes_store_u16_part(void *y, size_t n, i32x16 a)
{
    _mm256_mask_storeu_epi16(y, lanes_first(n), _mm512_cvtepi32_epi16(a));
}

/* Sixteen f16. To f16 rounds to nearest even; beyond 65504 is the caller's to prevent. */
TQ_INLINE f32x16 lanes_load_f16(const void *x)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256(x));
}

TQ_INLINE f32x16 lanes_load_f16_part(const void *x, size_t n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes_first(n), x));
}

TQ_INLINE void lanes_store_f16_part(void *y, size_t n, f32x16 a)
{
    _mm256_mask_storeu_epi16(y, lanes_first(n), _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

TQ_INLINE i32x16 lanes_bits(f32x16 a)
{
    return _mm512_castps_si512(a);
}

TQ_INLINE f32x16 lanes_from_bits(i32x16 a)
{
    return _mm512_castsi512_ps(a);
}

TQ_INLINE i32x16 lanes_all_i32(uint32_t value)
{
    return _mm512_set1_epi32((int)value);
}

TQ_INLINE i32x16 lanes_and(i32x16 a, i32x16 b)
{
    return _mm512_and_si512(a, b);
}

TQ_INLINE i32x16 lanes_or(i32x16 a, i32x16 b)
{
    return _mm512_or_si512(a, b);
}

TQ_INLINE i32x16 lanes_add_i32(i32x16 a, i32x16 b)
{
    return _mm512_add_epi32(a, b);
}

TQ_INLINE i32x16 lanes_min_u32(i32x16 a, i32x16 b)
{
    return _mm512_min_epu32(a, b);
}

TQ_INLINE i32x16 lanes_max_u32(i32x16 a, i32x16 b)
{
    return _mm512_max_epu32(a, b);
}

TQ_INLINE i32x16 lanes_shift_left(i32x16 a, int bits)
{
    return _mm512_slli_epi32(a, (unsigned)bits);
}

TQ_INLINE i32x16 lanes_shift_right(i32x16 a, int bits)
{
    return _mm512_srli_epi32(a, (unsigned)bits);
}

/* 1 if a < limit, unsigned, in every lane. */
TQ_INLINE int lanes_all_below(i32x16 a, uint32_t limit)
{
    return _mm512_cmpge_epu32_mask(a, lanes_all_i32(limit)) == 0;
}

TQ_INLINE f32x16 lanes_all(float value)
{
    return _mm512_set1_ps(value);
}

TQ_INLINE f32x16 lanes_add(f32x16 a, f32x16 b)
{
    return _mm512_add_ps(a, b);
}

TQ_INLINE f32x16 lanes_sub(f32x16 a, f32x16 b)
{
    return _mm512_sub_ps(a, b);
}

TQ_INLINE f32x16 lanes_mul(f32x16 a, f32x16 b)
{
    return _mm512_mul_ps(a, b);
}

/* a * b + c, rounded once. */
TQ_INLINE f32x16 lanes_fused(f32x16 a, f32x16 b, f32x16 c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* The sum of the lanes as a tree of distance 8, 4, 2, 1. */
TQ_INLINE float lanes_sum(f32x16 a)
{
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* Butterflies of distance 1, 2, 4, 8 between lanes. The sign of one partner is a factor of a fused multiplication and
 * addition, which rounds like an addition because the product is exact. */
TQ_INLINE f32x16 lanes_butterflies(f32x16 a)
{
    const __m512 sign1 = _mm512_setr_ps(1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1);
    const __m512 sign2 = _mm512_setr_ps(1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1);
    const __m512 sign4 = _mm512_setr_ps(1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1);
    const __m512 sign8 = _mm512_setr_ps(1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1);
    a = _mm512_fmadd_ps(a, sign1, _mm512_permute_ps(a, 0xB1));
    a = _mm512_fmadd_ps(a, sign2, _mm512_permute_ps(a, 0x4E));
    a = _mm512_fmadd_ps(a, sign4, _mm512_shuffle_f32x4(a, a, 0xB1));
    return _mm512_fmadd_ps(a, sign8, _mm512_shuffle_f32x4(a, a, 0x4E));
}

/* a, with zero in all lanes but the first n. */
TQ_INLINE f32x16 lanes_keep(f32x16 a, size_t n)
{
    return _mm512_maskz_mov_ps(lanes_first(n), a);
}

/* Up to sixteen f32 to look up by index: table[index mod 16]. */
typedef __m512 f32_table;

TQ_INLINE f32_table lanes_table(const float *values, size_t n)
{
    return lanes_load_part(values, n);
}

/* values[index] for a table of 2^bits values. */
TQ_INLINE f32x16 lanes_lookup(f32_table table, unsigned bits, i32x16 index)
{
    (void)bits;
    return _mm512_permutexvar_ps(index, table);
}

TQ_INLINE f32x16 lanes_gather(const float *values, i32x16 index)
{
    return _mm512_i32gather_ps(index, values, sizeof *values);
}

/* How many of sixteen thresholds y reaches. */
TQ_INLINE unsigned lanes_reached(const float *thresholds, float y)
{
    const unsigned reached = _mm512_cmp_ps_mask(lanes_all(y), lanes_load(thresholds), _CMP_GE_OQ);
    return (unsigned)__builtin_popcount(reached);
}

/* The low bytes of the lanes of a, then of b. */
TQ_INLINE void lanes_store_u8(uint8_t *y, i32x16 a, i32x16 b)
{
    const __m256i every4th = _mm256_setr_epi8(0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 68, 72,
                                              76, 80, 84, 88, 92, 96, 100, 104, 108, 112, 116, 120, 124);
    const __m512i bytes = _mm512_permutex2var_epi8(a, _mm512_castsi256_si512(every4th), b);
    _mm256_storeu_si256((void *)y, _mm512_castsi512_si256(bytes));
}

/* Bit l tells whether lane l is at least 0. */
TQ_INLINE unsigned lanes_not_negative(f32x16 a)
{
    return _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_GE_OQ);
}

/* Lane l of the result: word >> l * bits, where bits is 1 or 2. */
TQ_INLINE i32x16 lanes_fields(uint32_t word, int bits)
{
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_srlv_epi32(lanes_all_i32(word), _mm512_slli_epi32(lane, (unsigned)bits - 1));
}

/* The same for 4 bits: of `low` in lanes 0 to 7, of `high` in lanes 8 to 15. */
TQ_INLINE i32x16 lanes_nibbles(uint32_t low, uint32_t high)
{
    const __m512i shift = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    return _mm512_srlv_epi32(_mm512_mask_set1_epi32(lanes_all_i32(low), 0xFF00, (int)high), shift);
}

/* Sixteen bytes, zero-extended. */
TQ_INLINE i32x16 lanes_load_u8(const uint8_t *x)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)x));
}

/* Where bit 4 of the index is set, `high`, else `low`. */
TQ_INLINE f32x16 lanes_choose(f32x16 low, f32x16 high, i32x16 index)
{
    return _mm512_mask_mov_ps(low, _mm512_test_epi32_mask(index, lanes_all_i32(16)), high);
}

#endif /* TQ_LANES_AVX512_H */
