/* SPDX-License-Identifier: MIT
 *
 * A register of f32 as AVX-512 has it: sixteen. wide_avx2.h gives the same names to eight, wide_neon.h to four, so that
 * a kernel in which only the width differs is written once, in a file simd/<stage>_wide.h.
 *
 * Loads and stores touch the first n <= WIDE elements in memory only; loads fill up with zeros. */
#ifndef TQ_WIDE_AVX512_H
#define TQ_WIDE_AVX512_H

#include "compiler.h"
#include "kernels/x86/x86.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define TQ_KERNEL(name) tq_##name##_avx512

enum { WIDE = 16, SUMS_AT_ONCE = 16 };

typedef __m512 wide;

TQ_INLINE __mmask16 wide_first(size_t n)
{
    return (__mmask16)_bzhi_u32(0xFFFF, (unsigned)n);
}

TQ_INLINE wide wide_all(float value)
{
    return _mm512_set1_ps(value);
}

TQ_INLINE wide wide_load(const float *x, size_t n)
{
    return n == WIDE ? _mm512_loadu_ps(x) : _mm512_maskz_loadu_ps(wide_first(n), x);
}

TQ_INLINE void wide_store(float *y, size_t n, wide a)
{
    if (n == WIDE) {
        _mm512_storeu_ps(y, a);
    } else {
        _mm512_mask_storeu_ps(y, wide_first(n), a);
    }
}

TQ_INLINE wide wide_load_f16(const uint8_t *x, size_t n)
{
    return _mm512_cvtph_ps(n == WIDE ? _mm256_loadu_si256((const void *)x)
                                     : _mm256_maskz_loadu_epi16(wide_first(n), x));
}

/* a * b + c */
TQ_INLINE wide wide_fused(wide a, wide b, wide c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* a + b * c, rounded twice. */
TQ_INLINE wide wide_add_product(wide a, wide b, wide c)
{
    return _mm512_add_ps(a, _mm512_mul_ps(b, c));
}

/* The sums of the lanes of each of four registers. */
TQ_INLINE void wide_store_sums(float *y, const wide *a)
{
    const __m512 sums01 = _mm512_add_ps(_mm512_unpacklo_ps(a[0], a[1]), _mm512_unpackhi_ps(a[0], a[1]));
    const __m512 sums23 = _mm512_add_ps(_mm512_unpacklo_ps(a[2], a[3]), _mm512_unpackhi_ps(a[2], a[3]));
    const __m512 sums = _mm512_add_ps(_mm512_shuffle_ps(sums01, sums23, 0x44), _mm512_shuffle_ps(sums01, sums23, 0xEE));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(sums), _mm512_extractf32x8_ps(sums, 1));
    _mm_storeu_ps(y, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

#endif /* TQ_WIDE_AVX512_H */
