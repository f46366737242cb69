/* SPDX-License-Identifier: MIT
 *
 * A register of f32 as NEON has it: four. x86/wide_avx512.h says what this is for. */
#ifndef TQ_WIDE_NEON_H
#define TQ_WIDE_NEON_H

#include "compiler.h"
#include "kernels/neon/neon.h"

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TQ_KERNEL(name) tq_##name##_neon

enum { WIDE = 4, SUMS_AT_ONCE = 16 };

typedef float32x4_t wide;

TQ_INLINE wide wide_all(float value)
{
    return vdupq_n_f32(value);
}

TQ_INLINE wide wide_load(const float *x, size_t n)
{
    if (n == WIDE) {
        return vld1q_f32(x);
    }
    float copy[WIDE] = {0};
    memcpy(copy, x, n * sizeof *x);
    return vld1q_f32(copy);
}

TQ_INLINE void wide_store(float *y, size_t n, wide a)
{
    if (n == WIDE) {
        vst1q_f32(y, a);
        return;
    }
    float copy[WIDE];
    vst1q_f32(copy, a);
    memcpy(y, copy, n * sizeof *y);
}

TQ_INLINE wide wide_load_f16(const uint8_t *x, size_t n)
{
    if (n == WIDE) {
        return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(x)));
    }
    uint8_t copy[2 * WIDE] = {0};
    memcpy(copy, x, 2 * n);
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(copy)));
}

/* a * b + c */
TQ_INLINE wide wide_fused(wide a, wide b, wide c)
{
    return vfmaq_f32(c, a, b);
}

/* a + b * c, rounded twice. */
TQ_INLINE wide wide_add_product(wide a, wide b, wide c)
{
    return vaddq_f32(a, vmulq_f32(b, c));
}

/* The sums of the lanes of each of four registers. */
TQ_INLINE void wide_store_sums(float *y, const wide *a)
{
    vst1q_f32(y, vpaddq_f32(vpaddq_f32(a[0], a[1]), vpaddq_f32(a[2], a[3])));
}

#endif /* TQ_WIDE_NEON_H */
