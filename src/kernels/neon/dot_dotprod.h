/* SPDX-License-Identifier: MIT
 *
 * Integer dot products with SDOT: one instruction, which takes its dword from any lane of a register. See dot_neon.h.
 */
#ifndef TQ_DOT_DOTPROD_H
#define TQ_DOT_DOTPROD_H

#include "compiler.h"

#include <arm_neon.h>
#include <stddef.h>

#define TQ_KERNEL(name) tq_##name##_dotprod

enum { DOT_REGISTERS = 1 };
typedef int32x4_t dot_sum;

TQ_INLINE dot_sum dot_zero(void)
{
    return vdupq_n_s32(0);
}

TQ_INLINE int32x4_t dot_total(dot_sum sum)
{
    return sum;
}

/* Adds four products of bytes to every sum, those of a with the dword q[at]. `at` is a constant. */
TQ_INLINE dot_sum dot_one(dot_sum sum, int8x16_t a, const int32_t *q, size_t at)
{
    const int8x16_t four = vreinterpretq_s8_s32(vld1q_s32(q + at / 4 * 4));
    switch (at % 4) {
    case 0:
        return vdotq_laneq_s32(sum, a, four, 0);
    case 1:
        return vdotq_laneq_s32(sum, a, four, 1);
    case 2:
        return vdotq_laneq_s32(sum, a, four, 2);
    default:
        return vdotq_laneq_s32(sum, a, four, 3);
    }
}

TQ_INLINE dot_sum dot_two(dot_sum sum, int8x16_t a, int8x16_t b, const int32_t *q, size_t a_at, size_t b_at)
{
    return dot_one(dot_one(sum, a, q, a_at), b, q, b_at);
}

#endif /* TQ_DOT_DOTPROD_H */
