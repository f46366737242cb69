/* SPDX-License-Identifier: MIT
 *
 * Rows of halves with AVX-512: registers of sixteen f32. */
#include "compiler.h"

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

TQ_INLINE __m256 fold(wide a)
{
    return _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
}

/* The sums of the lanes of each of four registers. */
TQ_INLINE __m128 wide_sums(const wide *a)
{
    const __m256 pairs = _mm256_hadd_ps(fold(a[0]), fold(a[1]));
    const __m256 fours = _mm256_hadd_ps(pairs, _mm256_hadd_ps(fold(a[2]), fold(a[3])));
    return _mm_add_ps(_mm256_castps256_ps128(fours), _mm256_extractf128_ps(fours, 1));
}

#include "kernels/x86/half_wide.h"
