/* SPDX-License-Identifier: MIT
 *
 * A step of the online softmax:
 *
 *     for rows i: m = max(largest[i], scores);  for k: scores[k] = exp(scores[k] - m), weight[i] += scores[k]
 *
 * exp(x) = 2^n 2^f with n + f = x / ln 2 and n whole: VREDUCEPS gives f, 0 <= f < 1, 2^f is a polynomial whose relative
 * error is 2e-7, and VSCALEFPS multiplies by 2^n, which makes 0 of what is too small. Token k is added to lane k mod
 * 16, so that tokens without weight behind the others change no bit of the sum. The tail is loaded as -infinity.
 *
 * Four rows are taken at a time, so that their lanes are added up together. WITHIN. */
#include "compiler.h"
#include "kernels/x86/across_lanes_avx512.h"
#include "kernels/x86/x86.h"

#include <float.h>
#include <math.h>

/* e^x for x <= 0, -infinity included. */
TQ_INLINE __m512 exp_negative(__m512 x)
{
    const __m512 t = _mm512_mul_ps(x, _mm512_set1_ps(0x1.715476p+0F));
    const __m512 f = _mm512_reduce_ps(t, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 p = _mm512_set1_ps(1.8775767e-3F);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(8.9893397e-3F));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.5826318e-2F));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.4015361e-1F));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9315308e-1F));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.9999994e-1F));
    return _mm512_scalef_ps(p, t);
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

/* The largest of each lane, if larger than `least`. */
TQ_INLINE __m512 largest_scores(const float *scores, size_t n, __m512 least)
{
    for (size_t k = 0; k < n; k += 16) {
        least = _mm512_max_ps(least, load_scores(scores, k, n));
    }
    return least;
}

/* Replaces a row of scores by their weights relative to e^top; returns what the weights of each lane add up to. */
TQ_INLINE __m512 weights_of(float *scores, size_t n, float top)
{
    /* If nothing is seen, neither here nor before, any number but -infinity gives all scores the weight 0. */
    const __m512 base = _mm512_set1_ps(top > -FLT_MAX ? top : -FLT_MAX);
    __m512 sum = _mm512_setzero_ps();
    for (size_t k = 0; k < n; k += 16) {
        const __m512 e = exp_negative(_mm512_sub_ps(load_scores(scores, k, n), base));
        store_weights(e, scores, k, n);
        sum = _mm512_add_ps(sum, e);
    }
    return sum;
}

/* `rows` rows, at most four. */
TQ_INLINE void soften_rows(size_t rows, float *scores, size_t stride, size_t n, float *largest, float *weight,
                           float *factor)
{
    const __mmask8 are_rows = (__mmask8)((1U << rows) - 1);
    const __m128 before = _mm_maskz_loadu_ps(are_rows, largest);
    __m128 shrink = _mm_set1_ps(1);
    __m512 most[TQ_QUARTERS];
    __m512 sums[TQ_QUARTERS];
    unsigned grown = 0;
    TQ_UNROLL
    for (size_t i = 0; i < TQ_QUARTERS; i++) {
        const __m512 least = _mm512_set1_ps(largest[i < rows ? i : 0]);
        most[i] = i < rows ? largest_scores(scores + i * stride, n, least) : least;
        grown |= _mm512_cmp_ps_mask(most[i], least, _CMP_GT_OQ);
    }
    if (grown != 0) { /* Seldom, after some pages: then nothing has to wait until one number is made of sixteen. */
        const __m128 top = tq_first_lanes(tq_across_lanes(tq_larger, most));
        const __m128 e = _mm512_castps512_ps128(exp_negative(_mm512_castps128_ps512(_mm_sub_ps(before, top))));
        shrink = _mm_mask_mov_ps(shrink, _mm_cmp_ps_mask(top, before, _CMP_GT_OQ), e);
        tq_store_some(largest, rows, top);
    }
    TQ_UNROLL
    for (size_t i = 0; i < TQ_QUARTERS; i++) {
        sums[i] = i < rows ? weights_of(scores + i * stride, n, largest[i]) : _mm512_setzero_ps();
    }
    const __m128 more = tq_first_lanes(tq_across_lanes(tq_add, sums));
    tq_store_some(factor, rows, shrink);
    tq_store_some(weight, rows, _mm_fmadd_ps(_mm_maskz_loadu_ps(are_rows, weight), shrink, more));
}

TQ_INLINE void soften(float *scores, size_t stride, size_t n_q, size_t n, float *largest, float *weight, float *factor)
{
    size_t i = 0;
    for (; n_q - i >= TQ_QUARTERS; i += TQ_QUARTERS) {
        soften_rows(TQ_QUARTERS, scores + i * stride, stride, n, largest + i, weight + i, factor + i);
    }
    for (; i < n_q; i++) {
        soften_rows(1, scores + i * stride, stride, n, largest + i, weight + i, factor + i);
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
