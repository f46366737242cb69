/* SPDX-License-Identifier: MIT
 *
 * The encoders of one dim, TQ_CUDA_DIM, by name:
 *
 *     tq_encode_<format>          vectors to rows
 *     tq_encode_pages_<format>    one side of exact pages to records; grid (pages, KV heads). f16 is 1
 *     tq_encode_<format>_shared, tq_encode_pages_<format>_shared: the dynamic shared memory they take
 *
 * A block encodes a page's vectors to rows in shared memory and puts these into words. */
#include "kernels/cuda/encode_lloyd_cuda.h"
#include "kernels/cuda/encode_trellis_cuda.h"
#include "kernels/cuda/rows_cuda.h"

namespace
{

constexpr int DIM = TQ_CUDA_DIM;

template <int FORMAT, int WARPS, bool TRELLIS = tq_cuda_is_trellis(FORMAT)> struct encoder {
    static constexpr int ROW_BYTES = tq_row_bytes_of(FORMAT, DIM);
    tq_lloyd_encoder<tq_cuda_bits(FORMAT), DIM, 4 * WARPS> memory;

    TQ_DEVICE void load(const tq_cuda_code &code)
    {
        memory.load(code);
    }
    TQ_DEVICE float *work(int mine)
    {
        return memory.work_of(mine);
    }
    TQ_DEVICE void encode(const tq_cuda_code &code, const float *y, float sum_squares, uint16_t flag, uint8_t *row)
    {
        memory.encode(code, y, sum_squares, flag, threadIdx.x / TQ_ENCODE_LANES, threadIdx.x % TQ_ENCODE_LANES, row);
    }
};

template <int FORMAT, int WARPS> struct encoder<FORMAT, WARPS, true> {
    static constexpr int ROW_BYTES = tq_row_bytes_of(FORMAT, DIM);
    tq_trellis_memory<DIM> memory[WARPS];

    TQ_DEVICE void load(const tq_cuda_code &)
    {
    }
    TQ_DEVICE float *work(int mine)
    {
        return memory[mine / 4].work[mine % 4];
    }
    /* The four vectors of a warp, one after the other. */
    TQ_DEVICE void encode(const tq_cuda_code &code, const float *y, float sum_squares, uint16_t flag, uint8_t *row)
    {
        tq_trellis_memory<DIM> &m = memory[threadIdx.x / 32];
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int i = 0; i < DIM / TQ_ENCODE_LANES; i += 2) {
            *(float2 *)&m.y[lane / TQ_ENCODE_LANES][16 * (i / 2) + 2 * (lane % TQ_ENCODE_LANES)] =
                make_float2(y[i], y[i + 1]);
        }
        __syncwarp();
        for (int v = 0; v < 4; v++) {
            const int from = v * TQ_ENCODE_LANES;
            tq_trellis_encode<tq_cuda_bits(FORMAT), DIM>(
                code, m, m.y[v], __shfl_sync(TQ_WARP, sum_squares, from), (uint16_t)__shfl_sync(TQ_WARP, flag, from),
                lane, (uint8_t *)__shfl_sync(TQ_WARP, (unsigned long long)row, from));
        }
    }
};

template <int FORMAT> TQ_DEVICE void encode_rows(const tq_cuda_encode_args &a)
{
    TQ_DYNAMIC_SHARED(shared);
    constexpr int VECTORS = 4 * TQ_ENCODE_WARPS;
    auto &e = *(encoder<FORMAT, TQ_ENCODE_WARPS> *)shared;
    const int mine = threadIdx.x / TQ_ENCODE_LANES;
    e.load(a.code);
    for (int64_t first = (int64_t)blockIdx.x * VECTORS; first < a.n; first += (int64_t)gridDim.x * VECTORS) {
        float y[DIM / TQ_ENCODE_LANES];
        const int64_t index = first + mine;
        const float sum_squares =
            tq_read_rotated<DIM>(a, min(index, a.n - 1), threadIdx.x % TQ_ENCODE_LANES, e.work(mine), y);
        e.encode(a.code, y, sum_squares, 0, index < a.n ? a.rows + index * e.ROW_BYTES : nullptr);
    }
}

/* What the threads of a page share beside an encoder. */
template <int FORMAT> struct page_memory {
    static constexpr int WARPS = tq_cuda_page_warps(FORMAT, DIM);
    static constexpr int ROW_BYTES = tq_row_bytes_of(FORMAT, DIM);
    encoder<FORMAT, WARPS> e;
    float mean[2 * DIM];
    __align__(4) uint8_t rows[TQ_CUDA_PAGE * ROW_BYTES];
};

/* The mean of 64 rotated vectors, rounded to f16: the sum in the order of tokens is rotated. */
TQ_DEVICE void find_mean(const tq_page_tokens &tokens, const tq_cuda_rotation &rotation, float *mean, uint16_t *out)
{
    for (int j = threadIdx.x; j < DIM; j += blockDim.x) {
        float sum = 0;
        for (int t = 0; t < TQ_CUDA_PAGE; t++) {
            sum = __fadd_rn(sum, tokens(t, j));
        }
        mean[j] = sum;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        const float *y = tq_rotate_warp<DIM>(mean, mean + DIM, rotation.signs, rotation.paley, threadIdx.x);
        for (int j = threadIdx.x; j < DIM; j += 32) {
            out[j] = tq_half_bits(__fmul_rn(y[j], 1.0f / TQ_CUDA_PAGE));
        }
    }
    __syncthreads();
}

/* What stays exact of a first page. */
TQ_DEVICE void keep_sinks(const tq_cuda_pages_args &a, const tq_page_tokens &tokens)
{
    const auto &page = a.pages[blockIdx.x];
    uint16_t *sinks =
        (uint16_t *)page.sinks + tq_cuda_exact_at(page.n_sinks, a.dim_k, a.dim_v, blockIdx.y, a.place.values != 0, 0);
    for (int i = page.first * DIM + threadIdx.x; i < page.n_sinks * DIM; i += blockDim.x) {
        sinks[i] = tokens.half(i / DIM, i % DIM);
    }
}

/* f16 is copied. */
TQ_DEVICE void copy_pages(const tq_cuda_pages_args &a)
{
    const auto &page = a.pages[blockIdx.x];
    const tq_page_tokens tokens = {page.x, a.dtype, a.token_stride, blockIdx.y * a.head_stride};
    uint16_t *rows = (uint16_t *)(page.records + (int64_t)blockIdx.y * a.place.record_bytes + a.place.words);
    if (page.sinks != nullptr) {
        keep_sinks(a, tokens);
    }
    for (int i = page.first * DIM + threadIdx.x; i < TQ_CUDA_PAGE * DIM; i += blockDim.x) {
        rows[i] = tokens.half(i / DIM, i % DIM);
    }
}

template <int FORMAT> TQ_DEVICE void encode_pages(const tq_cuda_pages_args &a)
{
    TQ_DYNAMIC_SHARED(shared);
    constexpr int ROW_BYTES = page_memory<FORMAT>::ROW_BYTES;
    page_memory<FORMAT> &s = *(page_memory<FORMAT> *)shared;
    const auto &page = a.pages[blockIdx.x];
    const int head = blockIdx.y;
    const int mine = threadIdx.x / TQ_ENCODE_LANES;
    const tq_page_tokens tokens = {page.x, a.dtype, a.token_stride, head * a.head_stride};
    uint8_t *record = page.records + (int64_t)head * a.place.record_bytes;
    uint16_t *stored_mean = (uint16_t *)(record + a.place.mean);
    s.e.load(a.code);
    if (page.sinks != nullptr) {
        keep_sinks(a, tokens);
    }
    if (a.place.mean >= 0 && page.first == 0) {
        find_mean(tokens, a.code.rotation, s.mean, stored_mean);
    }
    for (int j = threadIdx.x; a.place.mean >= 0 && j < DIM; j += blockDim.x) {
        s.mean[j] = __half2float(__ushort_as_half(stored_mean[j]));
    }
    tq_read_rows(FORMAT, DIM, a.place, record, page.first, s.rows);
    __syncthreads();
    for (int first = page.first; first < TQ_CUDA_PAGE; first += 4 * s.WARPS) {
        float y[DIM / TQ_ENCODE_LANES];
        bool uncentred;
        const int token = first + mine;
        const float sum_squares = tq_read_centred<DIM>(tokens, min(token, TQ_CUDA_PAGE - 1), a.code.rotation,
                                                       a.place.mean >= 0 ? s.mean : nullptr,
                                                       threadIdx.x % TQ_ENCODE_LANES, s.e.work(mine), y, &uncentred);
        s.e.encode(a.code, y, sum_squares, uncentred ? TQ_CUDA_UNCENTRED : 0,
                   token < TQ_CUDA_PAGE ? s.rows + token * ROW_BYTES : nullptr);
    }
    __syncthreads();
    tq_write_rows(FORMAT, DIM, a.place, s.rows, record);
}

} // namespace

#define X(FORMAT)                                                                                                      \
    extern "C" __device__ int tq_encode_##FORMAT##_shared = sizeof(encoder<FORMAT, TQ_ENCODE_WARPS>);                  \
    extern "C" __global__ void __launch_bounds__(32 * TQ_ENCODE_WARPS)                                                 \
        tq_encode_##FORMAT(TQ_ARGS(tq_cuda_encode_args) a)                                                             \
    {                                                                                                                  \
        encode_rows<FORMAT>(a);                                                                                        \
    }
#define X_PAGES(FORMAT)                                                                                                \
    X(FORMAT)                                                                                                          \
    extern "C" __device__ int tq_encode_pages_##FORMAT##_shared = sizeof(page_memory<FORMAT>);                         \
    extern "C" __global__ void __launch_bounds__(32 * page_memory<FORMAT>::WARPS, 1)                                   \
        tq_encode_pages_##FORMAT(TQ_ARGS(tq_cuda_pages_args) a)                                                        \
    {                                                                                                                  \
        encode_pages<FORMAT>(a);                                                                                       \
    }
X_PAGES(11)
X_PAGES(12)
X_PAGES(13)
X_PAGES(14)
X_PAGES(18)
X_PAGES(32)
X_PAGES(33)
X_PAGES(34)
#undef X_PAGES
#undef X

extern "C" __device__ int tq_encode_pages_1_shared = 0;
extern "C" __global__ void __launch_bounds__(512) tq_encode_pages_1(TQ_ARGS(tq_cuda_pages_args) a)
{
    copy_pages(a);
}
