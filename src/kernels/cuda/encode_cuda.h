/* SPDX-License-Identifier: MIT
 *
 * What the encoders share: a vector spread over eight lanes, with the sums and roundings of docs/numerics.md.
 *
 * Lane l of eight holds coordinates 16 r + 2 l + e (e = 0, 1), so that two of the sixteen lanes of exact.h are its own:
 * each is summed in order without a word from others, and the tree that joins them is three exchanges. */
#ifndef TQ_ENCODE_CUDA_H
#define TQ_ENCODE_CUDA_H

#include "kernels/cuda/args_cuda.h"
#include "kernels/cuda/device_cuda.h"
#include "kernels/cuda/layout_cuda.h"

enum {
    TQ_ENCODE_LANES = 8,
    TQ_ENCODE_WARPS = 4 /* Of a block that encodes rows; each has four vectors. */
};

constexpr float TQ_SMALLEST_SQUARES = 0x1p-126f;

/* As tq_stored_scale; modes are those of tq_scale_mode. */
TQ_DEVICE float tq_scale_of(int mode, float dim, float yc, float cc, float norm)
{
    switch (mode) {
    case 4: /* raw */
        return norm;
    case 3: /* lsq */
        return __fdiv_rn(yc, cc);
    case 2: /* unbiased */
        return __fmul_rn(__fdiv_rn(__fmul_rn(norm, dim), yc), norm);
    default:
        return __fmul_rn(norm, __fsqrt_rn(__fdiv_rn(dim, cc)));
    }
}

TQ_DEVICE float tq_alignment_of(float yc, float cc)
{
    return __fdiv_rn(yc, __fsqrt_rn(cc));
}

/* Joins the two sums of each of eight lanes in the order of exact.h: distances 8, 4, 2, 1. */
TQ_DEVICE float tq_join_sums(float even, float odd)
{
#pragma unroll
    for (int distance = 4; distance > 0; distance /= 2) {
        even = __fadd_rn(even, __shfl_xor_sync(TQ_WARP, even, distance));
        odd = __fadd_rn(odd, __shfl_xor_sync(TQ_WARP, odd, distance));
    }
    return __fadd_rn(even, odd);
}

/* sum of a[i] b[i]; N of a lane's coordinates, pairs side by side. */
template <int N> TQ_DEVICE float tq_dot(const float *a, const float *b)
{
    float even = 0;
    float odd = 0;
#pragma unroll
    for (int i = 0; i < N; i += 2) {
        even = __fadd_rn(even, __fmul_rn(a[i], b[i]));
        odd = __fadd_rn(odd, __fmul_rn(a[i + 1], b[i + 1]));
    }
    return tq_join_sums(even, odd);
}

/* The lane's coordinates of y = H D x, from those of x; for vectors whose dim is a power of two. */
template <int DIM> TQ_DEVICE void tq_rotate_lanes(float *y, const float *signs, int l)
{
    constexpr int N = DIM / TQ_ENCODE_LANES;
#pragma unroll
    for (int i = 0; i < N; i++) {
        y[i] = __fmul_rn(signs[16 * (i / 2) + 2 * l + i % 2], y[i]);
    }
#pragma unroll
    for (int i = 0; i < N; i += 2) {
        const float u = y[i];
        const float v = y[i + 1];
        y[i] = __fadd_rn(u, v);
        y[i + 1] = __fsub_rn(u, v);
    }
#pragma unroll
    for (int h = 1; h < TQ_ENCODE_LANES; h *= 2) {
        const float sign = (l & h) != 0 ? -1.0f : 1.0f;
#pragma unroll
        for (int i = 0; i < N; i++) { /* The product is exact. */
            y[i] = __fmaf_rn(y[i], sign, __shfl_xor_sync(TQ_WARP, y[i], h));
        }
    }
#pragma unroll
    for (int h = 2; h < N; h *= 2) {
#pragma unroll
        for (int i = 0; i < N; i++) {
            if ((i & h) == 0) {
                const float u = y[i];
                const float v = y[i + h];
                y[i] = __fadd_rn(u, v);
                y[i + h] = __fsub_rn(u, v);
            }
        }
    }
}

/* Other dims: through shared memory, [2][DIM] for each vector. All lanes of a warp come along. */
template <int DIM> TQ_DEVICE void tq_rotate_shared(float *y, const tq_cuda_rotation &rotation, int l, float *work)
{
    constexpr int N = DIM / TQ_ENCODE_LANES;
    constexpr int m = tq_paley_order(DIM);
    float *other = work + DIM;
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int at = 16 * (i / 2) + 2 * l + i % 2;
        work[at] = __fmul_rn(rotation.signs[at], y[i]);
    }
    __syncwarp();
    for (int i = l; i < DIM; i += TQ_ENCODE_LANES) {
        const float *row = rotation.paley + i % m * m;
        const float *block = work + i / m * m;
        float sum = __fmul_rn(row[0], block[0]);
        for (int k = 1; k < m; k++) {
            sum = __fadd_rn(sum, __fmul_rn(row[k], block[k]));
        }
        other[i] = sum;
    }
    __syncwarp();
    for (int h = m; h < DIM; h *= 2) {
        for (int pair = l; pair < DIM / 2; pair += TQ_ENCODE_LANES) {
            const int i = pair / h * 2 * h + pair % h;
            const float u = other[i];
            const float v = other[i + h];
            other[i] = __fadd_rn(u, v);
            other[i + h] = __fsub_rn(u, v);
        }
        __syncwarp();
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        y[i] = other[16 * (i / 2) + 2 * l + i % 2];
    }
    __syncwarp();
}

/* A lane's coordinates of a vector. */
template <int DIM> TQ_DEVICE void tq_read_vector(const void *x, int dtype, int64_t index, int l, float *y)
{
#pragma unroll
    for (int i = 0; i < DIM / TQ_ENCODE_LANES; i += 2) {
        const int64_t pair = (index * DIM + 16 * (i / 2) + 2 * l) / 2;
        if (dtype == TQ_CUDA_F32) {
            const float2 two = ((const float2 *)x)[pair];
            y[i] = two.x;
            y[i + 1] = two.y;
        } else {
            const uint32_t two = ((const uint32_t *)x)[pair];
            if (dtype == TQ_CUDA_F16) {
                const float2 f = __half22float2(*(const __half2 *)&two);
                y[i] = f.x;
                y[i + 1] = f.y;
            } else {
                y[i] = __uint_as_float(two << 16);
                y[i + 1] = __uint_as_float(two & 0xFFFF0000U);
            }
        }
    }
}

/* Four vectors of a warp, eight lanes each. `work` is for dims that need it: 2 DIM floats for each vector. */
template <int DIM> TQ_DEVICE void tq_rotate_four(float *y, const tq_cuda_rotation &rotation, int l, float *work)
{
    if (tq_paley_order(DIM) == 1) {
        tq_rotate_lanes<DIM>(y, rotation.signs, l);
    } else {
        tq_rotate_shared<DIM>(y, rotation, l, work);
    }
}

/* A vector for a row of its own: rotated, and its squared norm. */
template <int DIM>
TQ_DEVICE float tq_read_rotated(const tq_cuda_encode_args &a, int64_t index, int l, float *work, float *y)
{
    tq_read_vector<DIM>(a.x, a.dtype, index, l, y);
    float sum_squares = tq_dot<DIM / TQ_ENCODE_LANES>(y, y);
    while (__any_sync(TQ_WARP, isinf(sum_squares))) { /* A norm of 2^64 or more: its scale will be 65504. */
        const float factor = isinf(sum_squares) ? 0x1p-40f : 1.0f;
#pragma unroll
        for (int i = 0; i < DIM / TQ_ENCODE_LANES; i++) {
            y[i] = __fmul_rn(y[i], factor);
        }
        sum_squares = tq_dot<DIM / TQ_ENCODE_LANES>(y, y);
    }
    tq_rotate_four<DIM>(y, a.code.rotation, l, work);
    return sum_squares;
}

/* Coordinates of a page's tokens, as exact blocks hold them: rounded to f16. */
struct tq_page_tokens {
    const void *x;
    int dtype;
    int64_t token_stride; /* In elements, */
    int64_t at;           /* and of the page's first vector. */

    TQ_DEVICE uint16_t half(int token, int j) const
    {
        const int64_t i = at + token * token_stride + j;
        return dtype == TQ_CUDA_F16 ? ((const uint16_t *)x)[i] : tq_half_bits(tq_read(x, dtype, i));
    }
    TQ_DEVICE float operator()(int token, int j) const
    {
        return __half2float(__ushort_as_half(half(token, j)));
    }
};

/* A vector of a page, as src/page_codec.c prepares it: rotated, the mean (null: none) taken off if that makes it
 * shorter, and its squared norm, which is measured rotated. */
template <int DIM>
TQ_DEVICE float tq_read_centred(const tq_page_tokens &tokens, int token, const tq_cuda_rotation &rotation,
                                const float *mean, int l, float *work, float *y, bool *uncentred)
{
    constexpr int N = DIM / TQ_ENCODE_LANES;
#pragma unroll
    for (int i = 0; i < N; i++) {
        y[i] = tokens(token, 16 * (i / 2) + 2 * l + i % 2);
    }
    tq_rotate_four<DIM>(y, rotation, l, work);
    float sum_squares = tq_dot<N>(y, y);
    *uncentred = false;
    if (mean != nullptr) {
        float centred[N];
#pragma unroll
        for (int i = 0; i < N; i++) {
            centred[i] = __fsub_rn(y[i], mean[16 * (i / 2) + 2 * l + i % 2]);
        }
        const float shorter = tq_dot<N>(centred, centred);
        *uncentred = !(shorter < sum_squares);
#pragma unroll
        for (int i = 0; i < N; i++) {
            y[i] = *uncentred ? y[i] : centred[i];
        }
        sum_squares = *uncentred ? sum_squares : shorter;
    }
    return __fdiv_rn(sum_squares, (float)DIM);
}

/* `width` bits of eight codes from `shift` on, as bits of a row: 8 width of them. */
TQ_DEVICE uint32_t tq_pack_eight(const uint8_t *codes, int shift, int width)
{
    const uint2 two = *(const uint2 *)codes;
    const uint32_t mask = 0x01010101U * ((1U << width) - 1);
    uint32_t low = two.x >> shift & mask;
    uint32_t high = two.y >> shift & mask;
    if (width == 4) { /* Four bits of a byte, then two bytes side by side. */
        low = (low | low >> 4) & 0x00FF00FFU;
        high = (high | high >> 4) & 0x00FF00FFU;
        return __byte_perm(low, high, 0x6420);
    }
    const int step = 8 - width;
    low = (low | low >> step) | (low >> 2 * step | low >> 3 * step);
    high = (high | high >> step) | (high >> 2 * step | high >> 3 * step);
    const uint32_t part = (1U << 4 * width) - 1;
    return (low & part) | (high & part) << 4 * width;
}

#endif /* TQ_ENCODE_CUDA_H */
