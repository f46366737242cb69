/* SPDX-License-Identifier: MIT
 *
 * What all kernels share: numbers of 16 bits, words of a lane, and the rotation of a vector by a warp. */
#ifndef TQ_DEVICE_CUDA_H
#define TQ_DEVICE_CUDA_H

#include "kernels/cuda/args_cuda.h"
#include "kernels/cuda/instructions_cuda.h"

#include <stdint.h>

TQ_DEVICE float tq_read(const void *array, int dtype, int64_t i)
{
    if (dtype == TQ_CUDA_F32) {
        return ((const float *)array)[i];
    }
    if (dtype == TQ_CUDA_F16) {
        return __half2float(((const __half *)array)[i]);
    }
    return __uint_as_float((uint32_t)((const uint16_t *)array)[i] << 16);
}

/* As tq_f16_from_f32: to nearest even, saturating. */
TQ_DEVICE uint16_t tq_half_bits(float x)
{
    const float limited = fminf(fmaxf(x, -65504.0f), 65504.0f);
    return __half_as_ushort(__float2half_rn(limited));
}

/* As tq_bf16_from_f32, likewise. */
TQ_DEVICE uint16_t tq_bfloat_bits(float x)
{
    const uint32_t bits = __float_as_uint(x);
    const uint32_t magnitude = bits & 0x7FFFFFFFU;
    return (uint16_t)((bits >> 16 & 0x8000U) | min((magnitude + 0x7FFFU + (magnitude >> 16 & 1U)) >> 16, 0x7F7FU));
}

__host__ TQ_DEVICE constexpr int tq_whole_fours(int n)
{
    return (n + 3) / 4 * 4;
}

/* The first USED of a lane's N words, in the order of tq_cuda_word_at. `w` has room for whole fours. */
template <int N, int USED = N> TQ_DEVICE void tq_load_words(const uint8_t *words, int lane, uint32_t *w)
{
    constexpr int WHOLE = N / 4 * 4;
#pragma unroll
    for (int i = 0; i < WHOLE && i < USED; i += 4) {
        const uint4 four = *(const uint4 *)(words + i * 128 + lane * 16);
        w[i] = four.x;
        w[i + 1] = four.y;
        w[i + 2] = four.z;
        w[i + 3] = four.w;
    }
    if (N % 4 >= 2 && USED > WHOLE) {
        const uint2 two = *(const uint2 *)(words + WHOLE * 128 + lane * 8);
        w[WHOLE] = two.x;
        w[WHOLE + 1] = two.y;
    }
    if (N % 2 == 1 && USED == N) {
        w[N - 1] = *(const uint32_t *)(words + (N - 1) * 128 + lane * 4);
    }
}

/* --- rotation ------------------------------------------------------------------------------------------------------
 * y = H D x for one vector in shared memory, by one warp, in the order of docs/numerics.md; `other` is as much room.
 * The result is where the function says. */
__host__ TQ_DEVICE constexpr int tq_paley_order(int dim)
{
    return dim % 9 == 0 ? 36 : dim % 7 == 0 ? 28 : dim % 5 == 0 ? 20 : dim % 3 == 0 ? 12 : 1;
}

template <int DIM> TQ_DEVICE void tq_butterflies(float *x, int lane)
{
    constexpr int m = tq_paley_order(DIM);
    __syncwarp();
    if constexpr (m == 1) { /* In registers: a lane has E neighbours. */
        constexpr int E = DIM / 32;
        float y[E];
#pragma unroll
        for (int e = 0; e < E; e++) {
            y[e] = x[lane * E + e];
        }
#pragma unroll
        for (int h = 1; h < E; h *= 2) {
#pragma unroll
            for (int e = 0; e < E; e++) {
                if ((e & h) == 0) {
                    const float u = y[e];
                    const float v = y[e + h];
                    y[e] = __fadd_rn(u, v);
                    y[e + h] = __fsub_rn(u, v);
                }
            }
        }
#pragma unroll
        for (int h = 1; h < 32; h *= 2) {
            const float sign = (lane & h) != 0 ? -1.0f : 1.0f;
#pragma unroll
            for (int e = 0; e < E; e++) { /* The product is exact, so nothing is rounded that was not before. */
                y[e] = __fmaf_rn(y[e], sign, __shfl_xor_sync(TQ_WARP, y[e], h));
            }
        }
#pragma unroll
        for (int e = 0; e < E; e++) {
            x[lane * E + e] = y[e];
        }
        __syncwarp();
    } else {
#pragma unroll
        for (int h = m; h < DIM; h *= 2) {
            for (int pair = lane; pair < DIM / 2; pair += 32) {
                const int i = pair / h * 2 * h + pair % h;
                const float u = x[i];
                const float v = x[i + h];
                x[i] = __fadd_rn(u, v);
                x[i + h] = __fsub_rn(u, v);
            }
            __syncwarp();
        }
    }
}

template <int DIM>
TQ_DEVICE float *tq_rotate_warp(float *x, float *other, const float *signs, const float *paley, int lane)
{
    constexpr int m = tq_paley_order(DIM);
    for (int i = lane; i < DIM; i += 32) {
        x[i] = __fmul_rn(signs[i], x[i]);
    }
    if (m == 1) {
        tq_butterflies<DIM>(x, lane);
        return x;
    }
    __syncwarp();
    for (int i = lane; i < DIM; i += 32) {
        const float *row = paley + i % m * m;
        const float *block = x + i / m * m;
        float sum = __fmul_rn(row[0], block[0]);
        for (int l = 1; l < m; l++) {
            sum = __fadd_rn(sum, __fmul_rn(row[l], block[l]));
        }
        other[i] = sum;
    }
    tq_butterflies<DIM>(other, lane);
    return other;
}

/* x = D H^T y / dim, not exact in its order. */
template <int DIM>
TQ_DEVICE float *tq_unrotate_warp(float *y, float *other, const float *signs, const float *paley, int lane)
{
    constexpr int m = tq_paley_order(DIM);
    tq_butterflies<DIM>(y, lane);
    for (int i = lane; i < DIM; i += 32) {
        float sum = y[i];
        if (m > 1) {
            sum = 0;
            for (int j = 0; j < m; j++) {
                sum += paley[j * m + i % m] * y[i / m * m + j];
            }
        }
        other[i] = sum * signs[i] * (1.0F / DIM);
    }
    __syncwarp();
    return other;
}

#endif /* TQ_DEVICE_CUDA_H */
