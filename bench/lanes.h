/* SPDX-License-Identifier: MIT */
/* Vectors of floats in the instruction set that a file is compiled for: AVX-512, AVX2, or any vectors of four. Files
 * that include this are compiled once for each (bench/CMakeLists.txt); FOR_THIS_SET(name) tells the copies apart. */
#ifndef TQ_BENCH_LANES_H
#define TQ_BENCH_LANES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "half.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512VNNI__)
#define FOR_THIS_SET(name) name##_avx512
#elif defined(__AVX2__)
#define FOR_THIS_SET(name) name##_avx2
#else
#define FOR_THIS_SET(name) name##_portable
#endif

#define INLINE static inline __attribute__((always_inline))

/* A partial sum is still spread over the lanes of a vector. */

#if defined(__AVX2__)
typedef __m256 partial;

INLINE float load_half(const uint8_t *p)
{
    return _cvtsh_ss(tq_load_le16(p));
}

INLINE void store_sums(partial a, partial b, partial c, partial d, float scale, float *sums)
{
    const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    const __m128 total = _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
    _mm_storeu_ps(sums, _mm_mul_ps(total, _mm_set1_ps(scale)));
}

#if defined(__AVX512VNNI__)
enum { LANES = 16 };
typedef __m512 floats;

INLINE floats load_halves(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

INLINE void store_halves(uint8_t *p, const float *x)
{
    const __m256i halves =
        _mm512_maskz_cvtps_ph(0xFFFF, _mm512_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_storeu_si256((__m256i *)(void *)p, halves);
}

INLINE void store_floats(float *p, floats x)
{
    _mm512_storeu_ps(p, x);
}

INLINE floats load_floats(const float *p)
{
    return _mm512_loadu_ps(p);
}

INLINE floats multiply_add(floats a, const float *b, floats c)
{
    return _mm512_fmadd_ps(a, load_floats(b), c);
}

INLINE floats add_scaled_lanes(floats sum, float factor, floats x)
{
    return _mm512_fmadd_ps(_mm512_set1_ps(factor), x, sum);
}

INLINE partial fold(floats a, floats b)
{
    const __m512 sum = _mm512_add_ps(a, b);
    return _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1));
}
#else
enum { LANES = 8 };
typedef __m256 floats;

INLINE floats load_halves(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

INLINE void store_halves(uint8_t *p, const float *x)
{
    const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128((__m128i *)(void *)p, halves);
}

INLINE void store_floats(float *p, floats x)
{
    _mm256_storeu_ps(p, x);
}

INLINE floats load_floats(const float *p)
{
    return _mm256_loadu_ps(p);
}

INLINE floats multiply_add(floats a, const float *b, floats c)
{
    return _mm256_fmadd_ps(a, load_floats(b), c);
}

INLINE floats add_scaled_lanes(floats sum, float factor, floats x)
{
    return _mm256_fmadd_ps(_mm256_set1_ps(factor), x, sum);
}

INLINE partial fold(floats a, floats b)
{
    return _mm256_add_ps(a, b);
}
#endif

#else /* Anything else: vectors of four, which SSE2 and NEON have. */
typedef float floats __attribute__((vector_size(16)));
typedef uint32_t words __attribute__((vector_size(16)));
typedef uint16_t halves __attribute__((vector_size(8)));
typedef floats partial;

enum { LANES = 4 };

INLINE float load_half(const uint8_t *p)
{
    return tq_f32_from_f16(tq_load_le16(p));
}

/* A half's exponent and mantissa, moved to their place in a float, make the value times 2^-112; subnormals too. The
 * rows hold no infinity and no NaN. */
INLINE floats load_halves(const uint8_t *p)
{
    halves row;
    memcpy(&row, p, sizeof row);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    row = row << 8 | row >> 8;
#endif
    const words bits = __builtin_convertvector(row, words);
    const floats magnitude = (floats)((bits & 0x7FFFU) << 13) * 0x1p112F;
    return (floats)((words)magnitude | (bits & 0x8000U) << 16);
}

INLINE void store_halves(uint8_t *p, const float *x)
{
    for (size_t i = 0; i < LANES; i++) {
        tq_store_le16(p + 2 * i, tq_f16_from_f32(x[i]));
    }
}

INLINE void store_floats(float *p, floats x)
{
    memcpy(p, &x, sizeof x);
}

INLINE floats load_floats(const float *p)
{
    floats x;
    memcpy(&x, p, sizeof x);
    return x;
}

INLINE floats multiply_add(floats a, const float *b, floats c)
{
    return a * load_floats(b) + c;
}

INLINE floats add_scaled_lanes(floats sum, float factor, floats x)
{
    return sum + factor * x;
}

INLINE partial fold(floats a, floats b)
{
    return a + b;
}

INLINE void store_sums(partial a, partial b, partial c, partial d, float scale, float *sums)
{
    const partial rows[4] = {a, b, c, d};
    for (size_t i = 0; i < 4; i++) {
        sums[i] = scale * ((rows[i][0] + rows[i][1]) + (rows[i][2] + rows[i][3]));
    }
}
#endif

#endif /* TQ_BENCH_LANES_H */
