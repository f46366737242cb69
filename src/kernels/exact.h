/* SPDX-License-Identifier: MIT
 *
 * Arithmetic that gives the same bits on every machine. Include this first in every file whose floats end up in
 * encoded bytes: it forbids the compiler to fuse a multiplication and an addition (docs/numerics.md says why).
 * TQ_ALLOW_CONTRACTION exists for the test that proves that the self-test notices a build without this guard. */
#ifndef TQ_EXACT_H
#define TQ_EXACT_H

#include <float.h>
#include <stddef.h>

#if defined(__FAST_MATH__)
#error "libturboquant cannot be compiled with -ffast-math: encoded bytes would depend on the compiler"
#endif

#if FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16 /* 16: halves are halves, floats are floats too. */
#error "libturboquant needs floats computed as floats: with gcc, -fexcess-precision=fast or -mfpmath=sse"
#endif

#if !defined(TQ_ALLOW_CONTRACTION)
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off") /* gcc ignores the STDC pragma in its default -std=gnu11 mode. */
#endif
#endif

enum { TQ_LANES = 16 };

/* Sum of a[i] * b[i] in the order the format prescribes: element i goes to lane i mod 16, the lanes are added as a tree
 * of distance 8, 4, 2, 1. Sixteen lanes are one AVX-512 register, two AVX registers or four NEON registers. */
static inline float tq_exact_dot(const float *a, const float *b, size_t count)
{
    float lane[TQ_LANES] = {0};
    size_t i = 0;
    for (; i + TQ_LANES <= count; i += TQ_LANES) {
        for (size_t l = 0; l < TQ_LANES; l++) {
            lane[l] += a[i + l] * b[i + l];
        }
    }
    for (size_t l = 0; i + l < count; l++) {
        lane[l] += a[i + l] * b[i + l];
    }
    for (size_t distance = TQ_LANES / 2; distance > 0; distance /= 2) {
        for (size_t l = 0; l < distance; l++) {
            lane[l] += lane[l + distance];
        }
    }
    return lane[0];
}

#endif /* TQ_EXACT_H */
