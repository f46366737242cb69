/* SPDX-License-Identifier: MIT
 *
 * Integer dot products with baseline NEON: products of two bytes are added in 16 bits, where two fit even if all
 * factors are 127, or 127 and -128; then pairs of those in 32 bits. dot_dotprod.h gives the same names to instructions
 * that do it at once. */
#ifndef TQ_DOT_NEON_H
#define TQ_DOT_NEON_H

#include "compiler.h"

#include <arm_neon.h>
#include <stddef.h>

#define TQ_KERNEL(name) tq_##name##_neon

/* Four sums; how many registers they take. */
enum { DOT_REGISTERS = 2 };
typedef struct dot_sum {
    int32x4_t low, high; /* Sums 0 and 1, and 2 and 3, of which each has two lanes. */
} dot_sum;

TQ_INLINE dot_sum dot_zero(void)
{
    return (dot_sum){vdupq_n_s32(0), vdupq_n_s32(0)};
}

TQ_INLINE int32x4_t dot_total(dot_sum sum)
{
    return vpaddq_s32(sum.low, sum.high);
}

/* Adds four products of bytes to every sum, those of a with the dword q[a_at]; then those of b with q[b_at]. */
TQ_INLINE dot_sum dot_two(dot_sum sum, int8x16_t a, int8x16_t b, const int32_t *q, size_t a_at, size_t b_at)
{
    const int8x16_t q_a = vreinterpretq_s8_s32(vld1q_dup_s32(q + a_at));
    const int8x16_t q_b = vreinterpretq_s8_s32(vld1q_dup_s32(q + b_at));
    const int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(a), vget_low_s8(q_a)), vget_low_s8(b), vget_low_s8(q_b));
    const int16x8_t high = vmlal_high_s8(vmull_high_s8(a, q_a), b, q_b);
    return (dot_sum){vpadalq_s16(sum.low, low), vpadalq_s16(sum.high, high)};
}

#endif /* TQ_DOT_NEON_H */
