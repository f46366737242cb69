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
#include "kernels/cuda/codes_cuda.h"

namespace
{

enum { TQ_DECODE_THREADS = 128, TQ_DECODE_WARPS = TQ_DECODE_THREADS / 32 };

/* What the threads of a block share. */
template <int DIM> struct decode_memory {
    float work[TQ_DECODE_WARPS][2][DIM];
    float levels[256];
    uint8_t codes[TQ_CUDA_PAGE][tq_codes_stride(DIM)];
};

template <int FORMAT, int DIM, bool VALUES>
TQ_DEVICE void take_page(const tq_cuda_decode_args &a, const uint8_t *record, decode_memory<DIM> &s)
{
    const int warp = threadIdx.x / 32;
    const int stage = warp % 2;
    const int lane = threadIdx.x % 32;
    constexpr int C = tq_cuda_padded(DIM) / 32;
    constexpr int STRIDE = tq_codes_stride(DIM);
    const uint8_t *words = record + stage * a.place.stage_bytes + a.place.words;
    uint8_t *codes = s.codes[stage * TQ_CUDA_STAGE];
    for (int k = warp / 2; k < 4; k += 2) { /* Known to the compiler, so that places are. */
        switch (k) {
        case 0:
            tq_take_codes<FORMAT, VALUES>(words, C, lane, 0, codes, STRIDE);
            break;
        case 1:
            tq_take_codes<FORMAT, VALUES>(words, C, lane, 1, codes, STRIDE);
            break;
        case 2:
            tq_take_codes<FORMAT, VALUES>(words, C, lane, 2, codes, STRIDE);
            break;
        default:
            tq_take_codes<FORMAT, VALUES>(words, C, lane, 3, codes, STRIDE);
        }
    }
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
TQ_DEVICE const __half *exact_of(const tq_cuda_decode_args &a, const tq_cuda_entry &entry, int head, int token)
{
    const bool values = a.place.values != 0;
    if (token >= a.n_encoded) {
        return (const __half *)entry.exact +
               tq_cuda_exact_at(TQ_CUDA_PAGE, a.dim_k, a.dim_v, head, values, token % TQ_CUDA_PAGE);
    }
    return token < a.sink_tokens && a.sinks != nullptr
               ? (const __half *)a.sinks + tq_cuda_exact_at(a.sink_tokens, a.dim_k, a.dim_v, head, values, token)
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
    if (FORMAT != TQ_CUDA_HALF && page * TQ_CUDA_PAGE < a.n_encoded) {
        for (int i = threadIdx.x; i < tq_levels_of(FORMAT); i += TQ_DECODE_THREADS) {
            s.levels[i] = a.code.levels[i];
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
        const __half *exact = exact_of(a, entry, head, token);
        const int place = token % TQ_CUDA_PAGE;
        const int64_t to = (int64_t)(token - a.first) * a.token_stride + head * a.head_stride;
        float *x = s.work[warp][0];
        if (FORMAT == TQ_CUDA_HALF && exact == nullptr) {
            exact = (const __half *)(record + a.place.words) + place * DIM;
        }
        if (exact == nullptr) {
            const uint8_t *stage = record + place / TQ_CUDA_STAGE * a.place.stage_bytes;
            const uint16_t word = *(const uint16_t *)(stage + a.place.scales + 2 * (place % TQ_CUDA_STAGE));
            const bool centred = a.place.mean >= 0 && (word & TQ_CUDA_UNCENTRED) == 0;
            const float scale = __half2float(__ushort_as_half(word & ~TQ_CUDA_UNCENTRED));
            for (int j = lane; j < DIM; j += 32) {
                const float mean = centred ? __half2float(*(const __half *)(record + a.place.mean + 2 * j)) : 0.0f;
                x[j] = scale * s.levels[tq_level_at(tq_cuda_is_trellis(FORMAT), DIM, s.codes[place], j)] + mean;
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
X(1)
X(11)
X(12)
X(13)
X(14)
X(18)
X(32)
X(33)
X(34)
#undef X
