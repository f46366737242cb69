/* SPDX-License-Identifier: MIT
 *
 * Rows of the Lloyd-Max formats, byte for byte as src/kernels/scalar/encode_scalar.c makes them:
 *
 *     y = H D x;  for each gain:  idx_j = number of thresholds t with y_j >= t (norm / gain)
 *     keep the gain whose levels c are most parallel to y;  scale = by its mode, from <y, c> and <c, c>
 *
 * Eight lanes take a vector (encode_cuda.h). Thresholds are symmetric, so the search is for |y| among the positive
 * ones; ties go up, that is, away from zero for positive y and towards it for negative y, whose magnitude is made one
 * unit in the last place smaller for that. Codes go through shared memory to become rows. */
#ifndef TQ_ENCODE_LLOYD_CUDA_H
#define TQ_ENCODE_LLOYD_CUDA_H

#include "kernels/cuda/encode_cuda.h"

/* Index of y: thresholds[i] * limit are compared. */
template <int BITS> TQ_DEVICE int tq_nearest(const float *thresholds, float limit, float y)
{
    const bool negative = y < 0;
    const float magnitude = __uint_as_float((__float_as_uint(y) & 0x7FFFFFFFU) - (negative ? 1 : 0));
    int index = 0;
#pragma unroll
    for (int step = 1 << (BITS - 1); step > 1; step /= 2) {
        if (magnitude >= __fmul_rn(thresholds[index + step / 2], limit)) {
            index += step / 2;
        }
    }
    return negative ? (1 << (BITS - 1)) - 1 - index : (1 << (BITS - 1)) + index;
}

/* The same from registers: `scaled` are all positive thresholds times the limit. */
template <int BITS> TQ_DEVICE int tq_nearest_of_few(const float *scaled, float y)
{
    const bool negative = y < 0;
    const float magnitude = __uint_as_float((__float_as_uint(y) & 0x7FFFFFFFU) - (negative ? 1 : 0));
    int index = 0;
    if (BITS == 2) {
        index = magnitude >= scaled[1];
    } else if (BITS == 3) {
        const bool upper = magnitude >= scaled[2];
        index = 2 * upper + (magnitude >= (upper ? scaled[3] : scaled[1]));
    } else if (BITS == 4) {
        const bool upper = magnitude >= scaled[4];
        const bool middle = magnitude >= (upper ? scaled[6] : scaled[2]);
        const float last = upper ? (middle ? scaled[7] : scaled[5]) : (middle ? scaled[3] : scaled[1]);
        index = 4 * upper + 2 * middle + (magnitude >= last);
    }
    return negative ? (1 << (BITS - 1)) - 1 - index : (1 << (BITS - 1)) + index;
}

/* Encodes VECTORS vectors at once. */
template <int BITS, int DIM, int VECTORS> struct tq_lloyd_encoder {
    static constexpr int N = DIM / TQ_ENCODE_LANES;
    static constexpr int HALF = 1 << (BITS - 1);
    static constexpr int ROW_BYTES = 2 + (BITS == 3 ? (2 * DIM + 7) / 8 + (DIM + 7) / 8 : (BITS * DIM + 7) / 8);

    float centroids[1 << BITS];
    float thresholds[1 << BITS]; /* Positive ones; thresholds[0] = 0 is not asked for. */
    float work[tq_paley_order(DIM) == 1 ? 1 : VECTORS * 2 * DIM];
    __align__(8) uint8_t codes[VECTORS][DIM];

    TQ_DEVICE void load(const tq_cuda_code &code)
    {
        for (int i = threadIdx.x; i < 2 * HALF; i += blockDim.x) {
            centroids[i] = code.centroids[i];
            thresholds[i] = i < HALF ? code.thresholds[HALF - 1 + i] : 0;
        }
        __syncthreads();
    }

    TQ_DEVICE float *work_of(int vector)
    {
        return work + (tq_paley_order(DIM) == 1 ? 0 : vector * 2 * DIM);
    }

    /* The lane's part of a vector to a row; all lanes of a warp come along, those without a row with null. `flag` is
     * added to the scale. */
    TQ_DEVICE void encode(const tq_cuda_code &code, const float *y, float sum_squares, uint16_t flag, int mine, int l,
                          uint8_t *row)
    {
        const float norm = __fsqrt_rn(sum_squares);
        float best_alignment = 0, best_yc = 0, best_cc = 0;
        uint32_t best[(N + 3) / 4], four[(N + 3) / 4];
        for (int g = 0; g < code.n_gains; g++) {
            const float limit = __fdiv_rn(norm, code.gains[g]);
            float levels[N], scaled[BITS <= 4 ? HALF : 1];
            if (BITS <= 4) {
#pragma unroll
                for (int t = 1; t < HALF; t++) {
                    scaled[t] = __fmul_rn(thresholds[t], limit);
                }
            }
#pragma unroll
            for (int i = 0; i < N; i++) {
                const int index =
                    BITS <= 4 ? tq_nearest_of_few<BITS>(scaled, y[i]) : tq_nearest<BITS>(thresholds, limit, y[i]);
                levels[i] = centroids[index];
                four[i / 4] = (i % 4 == 0 ? 0 : four[i / 4]) | (uint32_t)index << 8 * (i % 4);
            }
            const float yc = tq_dot<N>(y, levels);
            const float cc = tq_dot<N>(levels, levels);
            const float alignment = code.n_gains > 1 ? tq_alignment_of(yc, cc) : 0;
            if (g == 0 || alignment > best_alignment) {
                best_alignment = alignment;
                best_yc = yc;
                best_cc = cc;
#pragma unroll
                for (int i = 0; i < (N + 3) / 4; i++) {
                    best[i] = four[i];
                }
            }
        }
        const bool zero = sum_squares < TQ_SMALLEST_SQUARES;
        const uint16_t scale = zero ? 0 : tq_half_bits(tq_scale_of(code.scale_mode, DIM, best_yc, best_cc, norm));
#pragma unroll
        for (int i = 0; i < N; i += 2) {
            const uint32_t two = scale == 0 ? 0 : best[i / 4] >> 8 * (i % 4);
            *(uint16_t *)&codes[mine][16 * (i / 2) + 2 * l] = (uint16_t)two;
        }
        __syncwarp();
        if (row != nullptr) {
            write(row, (uint16_t)(scale | flag), mine, l);
        }
        __syncwarp();
    }

    TQ_DEVICE void write(uint8_t *row, uint16_t scale, int mine, int l) const
    {
        if (l == 0) {
            row[0] = (uint8_t)scale;
            row[1] = (uint8_t)(scale >> 8);
        }
        for (int eight = l; eight < DIM / 8; eight += TQ_ENCODE_LANES) {
            constexpr int LOW = BITS == 3 ? 2 : BITS;
            if (BITS == 8) {
                for (int i = 0; i < 8; i++) {
                    row[2 + 8 * eight + i] = codes[mine][8 * eight + i];
                }
                continue;
            }
            const uint32_t packed = tq_pack_eight(codes[mine] + 8 * eight, 0, LOW);
#pragma unroll
            for (int i = 0; i < LOW; i++) {
                row[2 + LOW * eight + i] = (uint8_t)(packed >> 8 * i);
            }
            if (BITS == 3) {
                row[2 + DIM / 4 + eight] = (uint8_t)tq_pack_eight(codes[mine] + 8 * eight, 2, 1);
            }
        }
    }
};

#endif /* TQ_ENCODE_LLOYD_CUDA_H */
