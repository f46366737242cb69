/* SPDX-License-Identifier: MIT
 *
 * A vector in the hands of sixteen threads, half a simdgroup: thread l has y[e] = coordinate l + 16 e. These are the
 * lanes of docs/numerics.md, so sums come out with the bits of the scalar backend,
 *
 *     lane[l] = sum over e of a[e] b[e], in ascending order;  then lane[l] += lane[l + 8], + 4, + 2, + 1
 *
 * where each exchange adds both ways: a + b and b + a are equal, so all sixteen threads end with the sum. Butterflies
 * of distance 8 and less exchange with other threads, those of 16 and more stay in the thread.
 *
 * All threads of a simdgroup call these functions together. */
#ifndef TQ_VECTOR_METAL_H
#define TQ_VECTOR_METAL_H

#include <metal_stdlib>

#include "kernels/metal/args_metal.h"

/* Encoded bytes are the same everywhere only if a * b + c is rounded twice, and divisions and roots are IEEE's. */
#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

/* Known when a kernel is specialised, so that the compiler unrolls and drops what it does not need. Other compilers of
 * these sources (tests/metal/) have words of their own. */
#if !defined(TQ_FUNCTION_CONSTANT)
#define TQ_FUNCTION_CONSTANT(name, index) constant int name [[function_constant(index)]]
#define TQ_SHARED_MEMORY                  [[threadgroup(0)]]
#endif
TQ_FUNCTION_CONSTANT(tq_dim, TQ_CONSTANT_DIM);
TQ_FUNCTION_CONSTANT(tq_format, TQ_CONSTANT_FORMAT);
TQ_FUNCTION_CONSTANT(tq_v_format, TQ_CONSTANT_V_FORMAT);

enum { TQ_MOST = TQ_METAL_MAX_DIM / 16 }; /* Coordinates of a thread. */

inline float tq_vector_dot(thread const float *a, thread const float *b)
{
    float sum = 0;
    for (int e = 0; e < tq_dim / 16; e++) {
        sum = sum + a[e] * b[e];
    }
    for (ushort distance = 8; distance > 0; distance /= 2) {
        sum = sum + simd_shuffle_xor(sum, distance);
    }
    return sum;
}

/* Half-precision bits, to nearest even, saturating, as tq_f16_from_f32 in src/half.h has it: in integers, since `half`
 * would become infinite, and denormal numbers might be flushed. */
inline ushort tq_half_bits(float x)
{
    const uint bits = as_type<uint>(x);
    const uint sign = bits >> 16 & 0x8000U;
    const uint magnitude = bits & 0x7FFFFFFFU;
    if (magnitude >= 0x477FE000U) {
        return ushort(sign | 0x7BFFU);
    }
    if (magnitude < 0x38800000U) {
        return ushort(sign | (as_type<uint>(as_type<float>(magnitude) + 0.5f) - 0x3F000000U));
    }
    return ushort(sign | (((magnitude + 0xFFFU + (magnitude >> 13 & 1U)) >> 13) - (112U << 10)));
}

/* The inverse, of finite values. */
inline float tq_from_half_bits(ushort bits)
{
    const uint magnitude = bits & 0x7FFFU;
    const float value =
        magnitude < 0x400U ? float(magnitude) * (1.0f / 16777216.0f) : as_type<float>((magnitude << 13) + (112U << 23));
    return (bits & 0x8000U) != 0 ? -value : value;
}

/* The scale of a row, from its word. Its sign bit belongs to pages. */
inline float tq_scale_of(ushort word)
{
    return float(as_type<half>(ushort(word & 0x7FFF)));
}

/* --- rotation ------------------------------------------------------------------------------------------------------
 * `work` is the vector's own: [dim]. */

inline void tq_store_vector(thread const float *y, threadgroup float *work, int l)
{
    simdgroup_barrier(mem_flags::mem_threadgroup); /* Everyone has read what was there. */
    for (int e = 0; e < tq_dim / 16; e++) {
        work[l + 16 * e] = y[e];
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
}

/* Replaces pairs (u, v) of distance h by (u + v, u - v), for h = m, 2m, 4m, ... */
inline void tq_butterflies(thread float *y, threadgroup float *work, int m, int l)
{
    for (int h = m; h < tq_dim; h *= 2) {
        if (m == 1 && h < 16) {
            for (int e = 0; e < tq_dim / 16; e++) {
                const float other = simd_shuffle_xor(y[e], ushort(h));
                y[e] = (l & h) == 0 ? y[e] + other : other - y[e];
            }
        } else if (m == 1) {
            for (int e = 0; e < tq_dim / 16; e++) {
                if ((e & h / 16) == 0) {
                    const float u = y[e];
                    const float v = y[e + h / 16];
                    y[e] = u + v;
                    y[e + h / 16] = u - v;
                }
            }
        } else {
            tq_store_vector(y, work, l);
            for (int e = 0; e < tq_dim / 16; e++) {
                const int j = l + 16 * e;
                y[e] = j / h % 2 == 0 ? work[j] + work[j + h] : work[j - h] - work[j];
            }
        }
    }
}

/* y = H D x */
inline void tq_rotate_vector(constant tq_metal_code &code, thread float *y, threadgroup float *work, int l)
{
    const int m = tq_metal_paley_order(tq_dim);
    for (int e = 0; e < tq_dim / 16; e++) {
        y[e] = code.signs[l + 16 * e] * y[e];
    }
    if (m > 1) {
        tq_store_vector(y, work, l);
        for (int e = 0; e < tq_dim / 16; e++) {
            const int j = l + 16 * e;
            float sum = code.paley[j % m * m] * work[j / m * m];
            for (int k = 1; k < m; k++) {
                sum = sum + code.paley[j % m * m + k] * work[j / m * m + k];
            }
            y[e] = sum;
        }
    }
    tq_butterflies(y, work, m, l);
}

/* y = D H^T y / dim */
inline void tq_unrotate_vector(constant tq_metal_code &code, thread float *y, threadgroup float *work, int l)
{
    const int m = tq_metal_paley_order(tq_dim);
    tq_butterflies(y, work, m, l);
    if (m > 1) {
        tq_store_vector(y, work, l);
        for (int e = 0; e < tq_dim / 16; e++) {
            const int j = l + 16 * e;
            float sum = 0;
            for (int k = 0; k < m; k++) {
                sum = sum + code.paley[k * m + j % m] * work[j / m * m + k];
            }
            y[e] = sum;
        }
    }
    for (int e = 0; e < tq_dim / 16; e++) {
        y[e] = y[e] * code.signs[l + 16 * e] * (1.0f / float(tq_dim));
    }
}

#endif /* TQ_VECTOR_METAL_H */
