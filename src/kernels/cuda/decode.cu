/* SPDX-License-Identifier: MIT
 *
 * Pages back to vectors, one side, for tq_cache_decode:
 *
 *     tq_decode_pages_<format>           grid (pages, KV heads)
 *     tq_decode_pages_<format>_shared    the dynamic shared memory it takes
 *
 * First all codes of a page are taken out of its words, lane by lane as they lie there, and put into shared memory by
 * token and coordinate; then each warp takes every fourth token:
 *
 *     x = D H^T (scale level(code) + mean) / dim
 *
 * Tokens that are exact are copied. Not exact in the order of its sums: agrees with the host to rounding. */
#include "kernels/cuda/device_cuda.h"
#include "kernels/cuda/layout_cuda.h"

namespace
{

enum { TQ_DECODE_THREADS = 128, TQ_DECODE_WARPS = TQ_DECODE_THREADS / 32 };

/* What the threads of a block share. Rows of codes are four bytes longer, so that lanes that write the same coordinate
 * of different tokens meet different banks. */
template <int DIM> struct decode_memory {
    float work[TQ_DECODE_WARPS][2][DIM];
    float levels[32];
    uint8_t codes[TQ_CUDA_PAGE][tq_cuda_padded(DIM) + 4];
};

/* The codes of one lane's chunks (c, k) of a stage, c < C, first_k <= k < first_k + 2. */
template <int FORMAT, int DIM, bool VALUES>
TQ_DEVICE void take_codes(const uint8_t *words, int lane, int first_token, int k, decode_memory<DIM> &s)
{
    constexpr int C = tq_cuda_padded(DIM) / 32;
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
            s.codes[first_token + at.token][at.coordinate] = (uint8_t)tq_cuda_restored_code(FORMAT, stored);
        }
    }
}

template <int FORMAT, int DIM, bool VALUES>
TQ_DEVICE void take_page(const tq_cuda_decode_args &a, const uint8_t *record, decode_memory<DIM> &s)
{
    const int warp = threadIdx.x / 32;
    const int stage = warp % 2;
    const uint8_t *words = record + stage * a.place.stage_bytes + a.place.words;
    for (int k = warp / 2; k < 4; k += 2) { /* Known to the compiler, so that places are. */
        switch (k) {
        case 0:
            take_codes<FORMAT, DIM, VALUES>(words, threadIdx.x % 32, stage * TQ_CUDA_STAGE, 0, s);
            break;
        case 1:
            take_codes<FORMAT, DIM, VALUES>(words, threadIdx.x % 32, stage * TQ_CUDA_STAGE, 1, s);
            break;
        case 2:
            take_codes<FORMAT, DIM, VALUES>(words, threadIdx.x % 32, stage * TQ_CUDA_STAGE, 2, s);
            break;
        default:
            take_codes<FORMAT, DIM, VALUES>(words, threadIdx.x % 32, stage * TQ_CUDA_STAGE, 3, s);
        }
    }
}

/* The place in the table of levels of coordinate j: the code itself, or two parities of coded bits and the code's
 * others. */
template <int FORMAT, int DIM> TQ_DEVICE unsigned level_of(const uint8_t *codes, int j)
{
    if (!tq_cuda_is_trellis(FORMAT)) {
        return codes[j];
    }
    unsigned window = 0; /* Bit d: the coded bit of coordinate j - d. */
#pragma unroll
    for (int d = 0; d < 7; d++) {
        window |= (codes[j >= d ? j - d : j - d + DIM] & 1U) << d;
    }
    const unsigned low = (window >> 1 ^ window >> 2 ^ window >> 4) & 1U;
    const unsigned high = (window ^ window >> 5 ^ window >> 6) & 1U;
    return low | high << 1 | (unsigned)codes[j] >> 1 << 2;
}

TQ_DEVICE void write(void *out, int dtype, int64_t i, float x)
{
    if (dtype == TQ_CUDA_F32) {
        ((float *)out)[i] = x;
    } else if (dtype == TQ_CUDA_F16) {
        ((uint16_t *)out)[i] = tq_half_bits(x);
    } else {
        ((uint16_t *)out)[i] = tq_bfloat_bits(x);
    }
}

/* Where an exact token is; null if it is encoded. */
TQ_DEVICE const __half *exact_of(const tq_cuda_decode_args &a, const tq_cuda_entry &entry, int head, int dim, int token)
{
    const int place = token % TQ_CUDA_PAGE;
    if (token >= a.n_encoded) {
        return (const __half *)entry.exact + ((2 * head + a.place.values) * TQ_CUDA_PAGE + place) * dim;
    }
    return token < a.sink_tokens && a.sinks != nullptr
               ? (const __half *)a.sinks + ((2 * head + a.place.values) * a.sink_tokens + token) * dim
               : nullptr;
}

template <int FORMAT, int DIM> TQ_DEVICE void decode_page(const tq_cuda_decode_args &a)
{
    TQ_DYNAMIC_SHARED(shared);
    decode_memory<DIM> &s = *(decode_memory<DIM> *)shared;
    const int page = a.first / TQ_CUDA_PAGE + blockIdx.x;
    const int head = blockIdx.y;
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    const tq_cuda_entry entry = a.table[page];
    const uint8_t *record = entry.records + (int64_t)head * a.place.record_bytes;
    if (page * TQ_CUDA_PAGE < a.n_encoded) {
        const int n_levels = tq_cuda_is_trellis(FORMAT) ? 2 << tq_cuda_bits(FORMAT) : 1 << tq_cuda_bits(FORMAT);
        for (int i = threadIdx.x; i < n_levels; i += TQ_DECODE_THREADS) {
            s.levels[i] = tq_cuda_is_trellis(FORMAT) ? ((float)a.code.k[i] + 0.5f) * a.code.step : a.code.centroids[i];
        }
        if (a.place.values) {
            take_page<FORMAT, DIM, true>(a, record, s);
        } else {
            take_page<FORMAT, DIM, false>(a, record, s);
        }
    }
    __syncthreads();
    const int begin = max(a.first, page * TQ_CUDA_PAGE);
    const int end = min(a.first + a.n, (page + 1) * TQ_CUDA_PAGE);
    for (int token = begin + warp; token < end; token += TQ_DECODE_WARPS) {
        const __half *exact = exact_of(a, entry, head, DIM, token);
        const int place = token % TQ_CUDA_PAGE;
        const int64_t to = (int64_t)(token - a.first) * a.token_stride + head * a.head_stride;
        float *x = s.work[warp][0];
        if (exact == nullptr) {
            const uint8_t *stage = record + place / TQ_CUDA_STAGE * a.place.stage_bytes;
            const uint16_t word = *(const uint16_t *)(stage + a.place.scales + 2 * (place % TQ_CUDA_STAGE));
            const bool centred = a.place.mean >= 0 && (word & TQ_CUDA_UNCENTRED) == 0;
            const float scale = __half2float(__ushort_as_half(word & ~TQ_CUDA_UNCENTRED));
            for (int j = lane; j < DIM; j += 32) {
                const float mean = centred ? __half2float(*(const __half *)(record + a.place.mean + 2 * j)) : 0.0f;
                x[j] = scale * s.levels[level_of<FORMAT, DIM>(s.codes[place], j)] + mean;
            }
            __syncwarp();
            x = tq_unrotate_warp<DIM>(x, s.work[warp][1], a.code.rotation.signs, a.code.rotation.paley, lane);
        }
        for (int j = lane; j < DIM; j += 32) {
            write(a.out, a.dtype, to + j, exact != nullptr ? __half2float(exact[j]) : x[j]);
        }
        __syncwarp();
    }
}

} // namespace

#define X(FORMAT)                                                                                                      \
    extern "C" __device__ int tq_decode_pages_##FORMAT##_shared = sizeof(decode_memory<TQ_CUDA_DIM>);                  \
    extern "C" __global__ void __launch_bounds__(TQ_DECODE_THREADS)                                                    \
        tq_decode_pages_##FORMAT(TQ_ARGS(tq_cuda_decode_args) a)                                                       \
    {                                                                                                                  \
        decode_page<FORMAT, TQ_CUDA_DIM>(a);                                                                           \
    }
X(11)
X(12)
X(13)
X(14)
X(32)
X(33)
X(34)
#undef X
