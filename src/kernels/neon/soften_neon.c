/* SPDX-License-Identifier: MIT
 *
 * The online softmax with NEON, four scores at a time:
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
#include "kernels/neon/neon.h"

#include <arm_neon.h>
#include <math.h>
#include <string.h>

enum { STEP = 4 };

/* exp(x) for x <= 0: the Taylor series of 2^f = exp(f ln 2), whose seventh term is below 1.2e-7. */
TQ_INLINE float32x4_t exp_of(float32x4_t x)
{
    /* (ln 2)^k / k!, k = 6 .. 0 */
    static const float series[7] = {
        1.54035304e-4F, 1.33335581e-3F, 9.61812911e-3F, 5.55041087e-2F, 2.40226507e-1F, 6.93147181e-1F, 1};
    const float32x4_t least = vdupq_n_f32(-87.0F);
    const float32x4_t log2_e = vdupq_n_f32(1.44269504F);
    const uint32x4_t vanishes = vcltq_f32(x, least);
    const float32x4_t limited = vmaxq_f32(x, least); /* NaN stays. */
    const float32x4_t n = vrndnq_f32(vmulq_f32(limited, log2_e));
    const float32x4_t f = vfmaq_f32(vnegq_f32(n), limited, log2_e);
    float32x4_t power = vdupq_n_f32(series[0]);
    for (size_t i = 1; i < sizeof series / sizeof *series; i++) {
        power = vfmaq_f32(vdupq_n_f32(series[i]), power, f);
    }
    const int32x4_t exponent = vshlq_n_s32(vcvtq_s32_f32(n), 23); /* 0 for NaN. */
    const int32x4_t scaled = vaddq_s32(vreinterpretq_s32_f32(power), exponent);
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_s32(scaled), vanishes));
}

TQ_INLINE float32x4_t load(const float *scores, size_t n)
{
    if (n >= STEP) {
        return vld1q_f32(scores);
    }
    float copy[STEP] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    memcpy(copy, scores, n * sizeof *scores);
    return vld1q_f32(copy);
}

TQ_INLINE void store(float *scores, size_t n, float32x4_t x)
{
    if (n >= STEP) {
        vst1q_f32(scores, x);
        return;
    }
    float copy[STEP];
    vst1q_f32(copy, x);
    memcpy(scores, copy, n * sizeof *scores);
}

TQ_INLINE float soften_row(float *scores, size_t n, float *largest, float *weight)
{
    float32x4_t tops = vdupq_n_f32(*largest);
    for (size_t k = 0; k < n; k += STEP) {
        tops = vmaxnmq_f32(tops, load(scores + k, n - k)); /* NaN is passed over. */
    }
    const float top = vmaxnmvq_f32(tops);
    if (top == -INFINITY) { /* Nothing is seen, neither here nor before. */
        memset(scores, 0, n * sizeof *scores);
        return 1;
    }
    const float factor = top == *largest ? 1 : expf(*largest - top);
    float32x4_t sum = vdupq_n_f32(0);
    for (size_t k = 0; k < n; k += STEP) {
        const float32x4_t w = exp_of(vsubq_f32(load(scores + k, n - k), vdupq_n_f32(top)));
        sum = vaddq_f32(sum, w);
        store(scores + k, n - k, w);
    }
    *weight = *weight * factor + vaddvq_f32(sum);
    *largest = top;
    return factor;
}

void tq_soften_neon(float *scores, size_t stride, size_t n_q, size_t n, float *largest, float *weight, float *factor)
{
    for (size_t i = 0; i < n_q; i++) {
        factor[i] = soften_row(scores + i * stride, n, &largest[i], &weight[i]);
    }
}
