/* SPDX-License-Identifier: MIT
 *
 * The online softmax with AVX2, eight scores at a time:
 *
 *     top = max(*largest, scores)
 *     factor = exp(*largest - top),  *weight *= factor
 *     for k: *weight += scores[k] = exp(scores[k] - top)
 *
 * exp(x) = 2^n 2^f with n + f = x / ln 2 and |f| <= 1/2: a polynomial for 2^f, and n added to its exponent. The product
 * x / ln 2 is rounded once for f (fused), so the error of a weight w is some 1e-7 w (1 + |x|) at most, and exp(0) is 1.
 * Below exp(-87), where exponents end, weights are 0.
 * The tail is filled up with -infinity, whose weight is 0.
 * Contract: within 2e-6. NaN stays NaN. */
#include "compiler.h"
#include "kernels/x86/x86.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

enum { STEP = 8 };

/* exp(x) for x <= 0: the Taylor series of 2^f = exp(f ln 2), whose seventh term is below 1.2e-7. */
TQ_INLINE __m256 exp_of(__m256 x)
{
    /* (ln 2)^k / k!, k = 6 .. 0 */
    static const float series[7] = {
        1.54035304e-4F, 1.33335581e-3F, 9.61812911e-3F, 5.55041087e-2F, 2.40226507e-1F, 6.93147181e-1F, 1};
    const __m256 least = _mm256_set1_ps(-87.0F);
    const __m256 log2_e = _mm256_set1_ps(1.44269504F);
    const __m256 kept = _mm256_cmp_ps(x, least, _CMP_NLT_UQ);
    const __m256 limited = _mm256_max_ps(least, x); /* In this order NaN stays. */
    const __m256 n = _mm256_round_ps(_mm256_mul_ps(limited, log2_e), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256 f = _mm256_fmsub_ps(limited, log2_e, n);
    __m256 power = _mm256_set1_ps(series[0]);
    for (size_t i = 1; i < sizeof series / sizeof *series; i++) {
        power = _mm256_fmadd_ps(power, f, _mm256_set1_ps(series[i]));
    }
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23); /* 0 for NaN. */
    const __m256 scaled = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(power), exponent));
    return _mm256_and_ps(scaled, kept);
}

TQ_INLINE __m256i first_lanes(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

TQ_INLINE __m256 load(const float *scores, size_t n)
{
    if (n >= STEP) {
        return _mm256_loadu_ps(scores);
    }
    const __m256i mask = first_lanes(n);
    return _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), _mm256_maskload_ps(scores, mask), _mm256_castsi256_ps(mask));
}

TQ_INLINE void store(float *scores, size_t n, __m256 x)
{
    if (n >= STEP) {
        _mm256_storeu_ps(scores, x);
    } else {
        _mm256_maskstore_ps(scores, first_lanes(n), x);
    }
}

TQ_INLINE float greatest_lane(__m256 x)
{
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

TQ_INLINE float sum_of_lanes(__m256 x)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

TQ_INLINE float soften_row(float *scores, size_t n, float *largest, float *weight)
{
    __m256 tops = _mm256_set1_ps(*largest);
    for (size_t k = 0; k < n; k += STEP) {
        tops = _mm256_max_ps(load(scores + k, n - k), tops); /* In this order NaN is passed over. */
    }
    const float top = greatest_lane(tops);
    if (top == -INFINITY) { /* Nothing is seen, neither here nor before. */
        memset(scores, 0, n * sizeof *scores);
        return 1;
    }
    const float factor = top == *largest ? 1 : expf(*largest - top);
    __m256 sum = _mm256_setzero_ps();
    for (size_t k = 0; k < n; k += STEP) {
        const __m256 w = exp_of(_mm256_sub_ps(load(scores + k, n - k), _mm256_set1_ps(top)));
        sum = _mm256_add_ps(sum, w);
        store(scores + k, n - k, w);
    }
    *weight = *weight * factor + sum_of_lanes(sum);
    *largest = top;
    return factor;
}

void tq_soften_avx2(float *scores, size_t stride, size_t n_q, size_t n, float *largest, float *weight, float *factor)
{
    for (size_t i = 0; i < n_q; i++) {
        factor[i] = soften_row(scores + i * stride, n, &largest[i], &weight[i]);
    }
}
