/* SPDX-License-Identifier: MIT
 *
 * A step of the online softmax:
 *
 *     for rows i: m = max(largest[i], scores);  for k: scores[k] = exp(scores[k] - m), weight[i] += scores[k]
 *
 * exp(x) = 2^n 2^f with n = rint(x / ln 2) and 2^f, |f| <= 1/2, by a polynomial whose relative error is 2e-7; VSCALEFPS
 * multiplies by 2^n, and makes 0 of what is too small. Token k is added to lane k mod 16, so that tokens without weight
 * behind the others change no bit of the sum. The tail is loaded as -infinity. WITHIN. */
#include "compiler.h"
#include "kernels/x86/x86.h"

#include <immintrin.h>
#include <math.h>

/* e^x for x <= 0, -infinity included. */
TQ_INLINE __m512 exp_negative(__m512 x)
{
    const __m512 t = _mm512_max_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1.715476p+0F)), _mm512_set1_ps(-1000));
    const __m512 n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 f = _mm512_sub_ps(t, n);
    __m512 p = _mm512_set1_ps(1.3276472e-3F);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.6755413e-3F));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.5507133e-2F));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.4022120e-1F));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9314697e-1F));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1));
    return _mm512_scalef_ps(p, n);
}

/* Sixteen scores from k on; -infinity behind the last. */
TQ_INLINE __m512 load_scores(const float *scores, size_t k, size_t n)
{
    return n - k >= 16 ? _mm512_loadu_ps(scores + k)
                       : _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), (__mmask16)((1U << (n - k)) - 1), scores + k);
}

TQ_INLINE void store_weights(__m512 x, float *scores, size_t k, size_t n)
{
    if (n - k >= 16) {
        _mm512_storeu_ps(scores + k, x);
    } else {
        _mm512_mask_storeu_ps(scores + k, (__mmask16)((1U << (n - k)) - 1), x);
    }
}

/* The largest score, or `largest` if none is larger. After some pages that is so for most pages: then nothing has to
 * wait until one number has been made of sixteen. */
TQ_INLINE float largest_of(const float *scores, size_t n, float largest)
{
    const __m512 before = _mm512_set1_ps(largest);
    __m512 most = before;
    for (size_t k = 0; k < n; k += 16) {
        most = _mm512_max_ps(most, load_scores(scores, k, n));
    }
    return _mm512_cmp_ps_mask(most, before, _CMP_GT_OQ) == 0 ? largest : _mm512_reduce_max_ps(most);
}

TQ_INLINE __m256 fold(__m512 a)
{
    return _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
}

/* The sums of the lanes of each of four registers. */
TQ_INLINE __m128 sums_of_lanes(const __m512 *a)
{
    const __m256 pairs = _mm256_hadd_ps(fold(a[0]), fold(a[1]));
    const __m256 fours = _mm256_hadd_ps(pairs, _mm256_hadd_ps(fold(a[2]), fold(a[3])));
    return _mm_add_ps(_mm256_castps256_ps128(fours), _mm256_extractf128_ps(fours, 1));
}

/* Replaces a row of scores by their weights; returns what the weights of each lane add up to. */
TQ_INLINE __m512 weights_of(float *scores, size_t n, float top)
{
    /* If nothing is seen, neither here nor before, any number but -infinity gives all scores the weight 0. */
    const __m512 base = _mm512_set1_ps(top == -INFINITY ? 0 : top);
    __m512 sum = _mm512_setzero_ps();
    for (size_t k = 0; k < n; k += 16) {
        const __m512 e = exp_negative(_mm512_sub_ps(load_scores(scores, k, n), base));
        store_weights(e, scores, k, n);
        sum = _mm512_add_ps(sum, e);
    }
    return sum;
}

/* Row by row what takes throughput, then all rows at once what takes latency. */
TQ_INLINE void soften(float *scores, size_t stride, size_t n_q, size_t n, float *largest, float *weight, float *factor)
{
    __m512 sums[TQ_PAGE_QUERIES];
    float totals[TQ_PAGE_QUERIES];
    for (size_t i = 0; i < n_q; i++) {
        const float top = largest_of(scores + i * stride, n, largest[i]);
        sums[i] = weights_of(scores + i * stride, n, top);
        factor[i] = top == largest[i] ? 1 : expf(largest[i] - top);
        largest[i] = top;
    }
    for (size_t i = n_q; i % 4 != 0; i++) {
        sums[i] = _mm512_setzero_ps();
    }
    for (size_t i = 0; i < n_q; i += 4) {
        _mm_storeu_ps(totals + i, sums_of_lanes(sums + i));
    }
    for (size_t i = 0; i < n_q; i++) {
        weight[i] = weight[i] * factor[i] + totals[i];
    }
}

/* Most rows are those of a whole page. */
void tq_soften_avx512(float *scores, size_t stride, size_t n_q, size_t n, float *largest, float *weight, float *factor)
{
    if (n == TQ_PAGE_TOKENS) {
        soften(scores, stride, n_q, TQ_PAGE_TOKENS, largest, weight, factor);
    } else {
        soften(scores, stride, n_q, n, largest, weight, factor);
    }
}
