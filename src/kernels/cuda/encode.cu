/* SPDX-License-Identifier: MIT
 *
 * Vectors to rows of the Lloyd-Max formats, byte for byte as src/kernels/scalar/encode_scalar.c makes them:
 *
 *     y = H D x;  for each gain:  idx_j = number of thresholds t with y_j >= t (norm / gain)
 *     keep the gain whose levels c are most parallel to y;  scale = by its mode, from <y, c> and <c, c>
 *
 * Eight lanes take a vector (encode_cuda.h). Thresholds are symmetric, so the search is for |y| among the positive
 * ones; ties go up, that is, away from zero for positive y and towards it for negative y, whose magnitude is made one
 * unit in the last place smaller for that. Codes go through shared memory to become rows. */
#include "kernels/cuda/encode_cuda.h"

#if !defined(TQ_CUDA_DIMS)
#define TQ_CUDA_DIMS(X) X(64) X(80) X(96) X(112) X(128) X(192) X(256)
#endif

namespace
{

enum { WARPS = 4, VECTORS = 4 * WARPS }; /* Of a block. */

template <int BITS, int DIM> struct block_memory {
    float centroids[1 << BITS];
    float thresholds[1 << BITS]; /* Positive ones; thresholds[0] = 0 is not asked for. */
    float work[tq_paley_order(DIM) == 1 ? 1 : VECTORS * 2 * DIM];
    __align__(8) uint8_t codes[VECTORS][DIM];
    uint16_t scales[VECTORS];
};

/* Index of y: thresholds[i] * limit are compared. */
template <int BITS> __device__ __forceinline__ int nearest(const float *thresholds, float limit, float y)
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
template <int BITS> __device__ __forceinline__ int nearest_of_few(const float *scaled, float y)
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

template <int BITS, int DIM>
__global__ void __launch_bounds__(32 * WARPS) encode(const __grid_constant__ tq_cuda_encode_args a)
{
    constexpr int N = DIM / TQ_ENCODE_LANES;
    constexpr int HALF = 1 << (BITS - 1);
    constexpr int ROW_BYTES = 2 + (BITS == 3 ? (2 * DIM + 7) / 8 + (DIM + 7) / 8 : (BITS * DIM + 7) / 8);
    __shared__ block_memory<BITS, DIM> s;
    const int lane = threadIdx.x % 32;
    const int l = lane % TQ_ENCODE_LANES;
    const int mine = threadIdx.x / TQ_ENCODE_LANES;
    for (int i = threadIdx.x; i < 2 * HALF; i += 32 * WARPS) {
        s.centroids[i] = a.centroids[i];
        s.thresholds[i] = i < HALF ? a.thresholds[HALF - 1 + i] : 0;
    }
    __syncthreads();
    for (int64_t first = (int64_t)blockIdx.x * VECTORS; first < a.n; first += (int64_t)gridDim.x * VECTORS) {
        const int64_t index = min(first + mine, a.n - 1);
        float y[N];
        const float sum_squares =
            tq_read_rotated<DIM>(a, index, l, s.work + (tq_paley_order(DIM) == 1 ? 0 : mine * 2 * DIM), y);
        const float norm = __fsqrt_rn(sum_squares);
        float best_alignment = 0, best_yc = 0, best_cc = 0;
        uint32_t best[(N + 3) / 4], codes[(N + 3) / 4];
        for (int g = 0; g < a.n_gains; g++) {
            const float limit = __fdiv_rn(norm, a.gains[g]);
            float levels[N], scaled[BITS <= 4 ? HALF : 1];
            if (BITS <= 4) {
#pragma unroll
                for (int t = 1; t < HALF; t++) {
                    scaled[t] = __fmul_rn(s.thresholds[t], limit);
                }
            }
#pragma unroll
            for (int i = 0; i < N; i++) {
                const int index_of =
                    BITS <= 4 ? nearest_of_few<BITS>(scaled, y[i]) : nearest<BITS>(s.thresholds, limit, y[i]);
                levels[i] = s.centroids[index_of];
                codes[i / 4] = (i % 4 == 0 ? 0 : codes[i / 4]) | (uint32_t)index_of << 8 * (i % 4);
            }
            const float yc = tq_dot<N>(y, levels);
            const float cc = tq_dot<N>(levels, levels);
            const float alignment = a.n_gains > 1 ? tq_alignment_of(yc, cc) : 0;
            if (g == 0 || alignment > best_alignment) {
                best_alignment = alignment;
                best_yc = yc;
                best_cc = cc;
#pragma unroll
                for (int i = 0; i < (N + 3) / 4; i++) {
                    best[i] = codes[i];
                }
            }
        }
        const bool zero = sum_squares < TQ_SMALLEST_SQUARES;
        const uint16_t scale = zero ? 0 : tq_half_bits(tq_scale_of(a.scale_mode, DIM, best_yc, best_cc, norm));
#pragma unroll
        for (int i = 0; i < N; i += 2) {
            const uint32_t two = scale == 0 ? 0 : best[i / 4] >> 8 * (i % 4);
            *(uint16_t *)&s.codes[mine][16 * (i / 2) + 2 * l] = (uint16_t)two;
        }
        if (l == 0) {
            s.scales[mine] = scale;
        }
        __syncwarp();
        if (first + mine < a.n) {
            uint8_t *row = a.rows + index * ROW_BYTES;
            if (l == 0) {
                row[0] = (uint8_t)scale;
                row[1] = (uint8_t)(scale >> 8);
            }
            for (int eight = l; eight < DIM / 8; eight += TQ_ENCODE_LANES) {
                constexpr int LOW = BITS == 3 ? 2 : BITS;
                if (BITS == 8) {
                    for (int i = 0; i < 8; i++) {
                        row[2 + 8 * eight + i] = s.codes[mine][8 * eight + i];
                    }
                    continue;
                }
                const uint32_t packed = tq_pack_eight(s.codes[mine] + 8 * eight, 0, LOW);
#pragma unroll
                for (int i = 0; i < LOW; i++) {
                    row[2 + LOW * eight + i] = (uint8_t)(packed >> 8 * i);
                }
                if (BITS == 3) {
                    row[2 + DIM / 4 + eight] = (uint8_t)tq_pack_eight(s.codes[mine] + 8 * eight, 2, 1);
                }
            }
        }
        __syncwarp();
    }
}

template <int DIM> int launch(const tq_cuda_encode_args &a)
{
    const int64_t blocks = (a.n + VECTORS - 1) / VECTORS;
    const int grid = (int)(blocks < 132 * 64 ? blocks : 132 * 64);
    const cudaStream_t stream = (cudaStream_t)a.stream;
    switch (a.format) {
    case 11:
        encode<1, DIM><<<grid, 32 * WARPS, 0, stream>>>(a);
        break;
    case 12:
        encode<2, DIM><<<grid, 32 * WARPS, 0, stream>>>(a);
        break;
    case 13:
        encode<3, DIM><<<grid, 32 * WARPS, 0, stream>>>(a);
        break;
    case 14:
        encode<4, DIM><<<grid, 32 * WARPS, 0, stream>>>(a);
        break;
    case 18:
        encode<8, DIM><<<grid, 32 * WARPS, 0, stream>>>(a);
        break;
    default:
        return TQ_CUDA_NO_KERNEL;
    }
    return (int)cudaGetLastError();
}

} // namespace

extern "C" int tq_cuda_lloyd_encode(const tq_cuda_encode_args *args)
{
    switch (args->dim) {
#define X(DIM)                                                                                                         \
    case DIM:                                                                                                          \
        return launch<DIM>(*args);
        TQ_CUDA_DIMS(X)
#undef X
    default:
        return TQ_CUDA_NO_KERNEL;
    }
}
