/* SPDX-License-Identifier: MIT
 *
 * A register of f32 as AVX2 has it: eight. wide_avx512.h says what this is for. */
#ifndef TQ_WIDE_AVX2_H
#define TQ_WIDE_AVX2_H

#include "compiler.h"
#include "kernels/x86/x86.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TQ_KERNEL(name) tq_##name##_avx2

enum { WIDE = 8, SUMS_AT_ONCE = 8 };

typedef __m256 wide;

/* All bits of the first n lanes. */
TQ_INLINE __m256i wide_first(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

TQ_INLINE wide wide_all(float value)
{
    return _mm256_set1_ps(value);
}

TQ_INLINE wide wide_load(const float *x, size_t n)
{
    return n == WIDE ? _mm256_loadu_ps(x) : _mm256_maskload_ps(x, wide_first(n));
}

TQ_INLINE void wide_store(float *y, size_t n, wide a)
{
    if (n == WIDE) {
        _mm256_storeu_ps(y, a);
    } else {
        _mm256_maskstore_ps(y, wide_first(n), a);
    }
}

TQ_INLINE wide wide_load_f16(const uint8_t *x, size_t n)
{
    if (n == WIDE) {
        return _mm256_cvtph_ps(_mm_loadu_si128((const void *)x));
    }
    uint16_t copy[WIDE] = {0};
    memcpy(copy, x, n * sizeof *copy);
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)copy));
}

/* a * b + c */
TQ_INLINE wide wide_fused(wide a, wide b, wide c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* a + b * c, rounded twice. */
TQ_INLINE wide wide_add_product(wide a, wide b, wide c)
{
    return _mm256_add_ps(a, _mm256_mul_ps(b, c));
}

/* The sums of the lanes of each of four registers. */
TQ_INLINE void wide_store_sums(float *y, const wide *a)
{
    const __m256 fours = _mm256_hadd_ps(_mm256_hadd_ps(a[0], a[1]), _mm256_hadd_ps(a[2], a[3]));
    _mm_storeu_ps(y, _mm_add_ps(_mm256_castps256_ps128(fours), _mm256_extractf128_ps(fours, 1)));
}

#endif /* TQ_WIDE_AVX2_H */
