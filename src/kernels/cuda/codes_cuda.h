/* SPDX-License-Identifier: MIT
 *
 * Codes out of the words of a stage, lane by lane as they lie there, by token and coordinate; and the levels they stand
 * for. */
#ifndef TQ_CODES_CUDA_H
#define TQ_CODES_CUDA_H

#include "kernels/cuda/device_cuda.h"
#include "kernels/cuda/layout_cuda.h"

/* Bytes of a token's codes in shared memory: four more than there are, so that lanes that write the same coordinate of
 * different tokens meet different banks. */
TQ_DEVICE constexpr int tq_codes_stride(int dim)
{
    return tq_cuda_padded(dim) + 4;
}

/* The codes of a lane's chunks (c, k), c < C. */
template <int FORMAT, bool VALUES>
TQ_DEVICE void tq_take_codes(const uint8_t *words, int C, int lane, int k, uint8_t *codes, int stride)
{
    constexpr int BITS = tq_cuda_bits(FORMAT);
#pragma unroll
    for (int c = 0; c < C; c++) {
        uint32_t word[BITS];
        int bit[BITS];
#pragma unroll
        for (int b = 0; b < BITS; b++) {
            const tq_cuda_place place = tq_cuda_place_of(FORMAT, C, c, k, b);
            word[b] = *(const uint32_t *)(words + tq_cuda_word_at(BITS * C, lane, place.word));
            bit[b] = place.bit;
        }
#pragma unroll
        for (int i = 0; i < 8; i++) {
            unsigned stored = 0;
#pragma unroll
            for (int b = 0; b < BITS; b++) {
                stored |= (word[b] >> (4 * i + bit[b]) & 1U) << b;
            }
            const tq_cuda_where at = tq_cuda_where_of(VALUES, C, lane, c, k, i);
            codes[at.token * stride + at.coordinate] = (uint8_t)tq_cuda_restored_code(FORMAT, stored);
        }
    }
}

/* How many levels a format has. */
TQ_DEVICE int tq_levels_of(int format)
{
    return (tq_cuda_is_trellis(format) ? 2 : 1) << tq_cuda_bits(format);
}

/* The place of coordinate j among the levels: the code itself, or two parities of coded bits and the code's others. */
TQ_DEVICE unsigned tq_level_at(bool trellis, int dim, const uint8_t *codes, int j)
{
    if (!trellis) {
        return codes[j];
    }
    unsigned window = 0; /* Bit d: the coded bit of coordinate j - d. */
#pragma unroll
    for (int d = 0; d < 7; d++) {
        window |= (codes[j >= d ? j - d : j - d + dim] & 1U) << d;
    }
    const unsigned low = (window >> 1 ^ window >> 2 ^ window >> 4) & 1U;
    const unsigned high = (window ^ window >> 5 ^ window >> 6) & 1U;
    return low | high << 1 | (unsigned)codes[j] >> 1 << 2;
}

#endif /* TQ_CODES_CUDA_H */
