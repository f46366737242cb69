/* SPDX-License-Identifier: MIT
 *
 * Rows of docs/format.md to records and back: for files, copies between devices, and tests. One block per record;
 * nothing here is hurried. */
#include "kernels/cuda/args_cuda.h"
#include "kernels/cuda/layout_cuda.h"

#include <cuda_runtime.h>

namespace
{

enum { THREADS = 128 };

/* One side of a record. */
struct side {
    int format;
    bool values;
    int words, scales, mean; /* Within a stage; the mean within its stage. */
    uint8_t *rows;
    uint16_t *means;
};

__device__ int row_bytes_of(int format, int dim)
{
    const int bits = tq_cuda_bits(format);
    if (tq_cuda_is_trellis(format) || bits == 1) {
        return 2 + bits * ((dim + 7) / 8);
    }
    return bits == 3 ? 2 + (2 * dim + 7) / 8 + (dim + 7) / 8 : 2 + (bits * dim + 7) / 8;
}

__device__ side side_of(const tq_cuda_pages_args &a, const tq_cuda_record &record, bool values)
{
    return {values ? a.v_format : a.k_format,
            values,
            values ? record.v_words : 0,
            values ? record.v_scales : record.k_scales,
            (values ? record.stage_bytes[0] : 0) + record.mean,
            values ? a.v_rows : a.k_rows,
            values ? a.v_means : a.k_means};
}

__device__ void write_side(const tq_cuda_pages_args &a, const side &s, int64_t index, uint8_t *record, int stage_bytes)
{
    const int n_words = tq_cuda_padded(a.dim) / 32 * tq_cuda_bits(s.format);
    const int row_bytes = row_bytes_of(s.format, a.dim);
    const uint8_t *rows = s.rows + index * TQ_CUDA_PAGE * row_bytes;
    for (int i = threadIdx.x; i < 2 * 32 * n_words; i += THREADS) {
        const int stage = i / (32 * n_words);
        const int lane = i / n_words % 32;
        const uint32_t word = tq_cuda_pack_word(s.format, a.dim, s.values, rows + stage * TQ_CUDA_STAGE * row_bytes,
                                                row_bytes, lane, i % n_words);
        *(uint32_t *)(record + stage * stage_bytes + s.words + tq_cuda_word_at(n_words, lane, i % n_words)) = word;
    }
    for (int t = threadIdx.x; t < TQ_CUDA_PAGE; t += THREADS) {
        uint8_t *scale = record + t / TQ_CUDA_STAGE * stage_bytes + s.scales + t % TQ_CUDA_STAGE * 2;
        scale[0] = rows[t * row_bytes];
        scale[1] = rows[t * row_bytes + 1];
    }
    for (int i = threadIdx.x; s.means != nullptr && i < a.dim; i += THREADS) {
        *(uint16_t *)(record + s.mean + 2 * i) = s.means[index * a.dim + i];
    }
}

/* Whole bytes of a row are put together by one thread each. */
__device__ uint8_t row_byte(const side &s, int dim, const uint8_t *words, int token, int at)
{
    const int bits = tq_cuda_bits(s.format);
    const int plane_bytes = (dim + 7) / 8;
    const bool planes = tq_cuda_is_trellis(s.format) || bits == 1;
    const int low_bytes = (2 * dim + 7) / 8; /* Of turbo3: two bits, then one. */
    const bool high = bits == 3 && at >= low_bytes;
    const int shift = planes ? at / plane_bytes : high ? 2 : 0;
    const int width = planes || high ? 1 : bits == 3 ? 2 : bits;
    const int first = (planes ? at % plane_bytes : high ? at - low_bytes : at) * (8 / width);
    unsigned byte = 0;
    for (int j = first; j < first + 8 / width && j < dim; j++) {
        const unsigned code = tq_cuda_unpack_code(s.format, dim, s.values, words, token, j);
        byte |= (code >> shift & ((1U << width) - 1)) << (j - first) * width;
    }
    return (uint8_t)byte;
}

__device__ void read_side(const tq_cuda_pages_args &a, const side &s, int64_t index, const uint8_t *record,
                          int stage_bytes)
{
    const int row_bytes = row_bytes_of(s.format, a.dim);
    uint8_t *rows = s.rows + index * TQ_CUDA_PAGE * row_bytes;
    for (int i = threadIdx.x; i < TQ_CUDA_PAGE * row_bytes; i += THREADS) {
        const int t = i / row_bytes;
        const int at = i % row_bytes;
        const uint8_t *stage = record + t / TQ_CUDA_STAGE * stage_bytes;
        rows[i] = at < 2 ? stage[s.scales + t % TQ_CUDA_STAGE * 2 + at]
                         : row_byte(s, a.dim, stage + s.words, t % TQ_CUDA_STAGE, at - 2);
    }
    for (int i = threadIdx.x; s.means != nullptr && i < a.dim; i += THREADS) {
        s.means[index * a.dim + i] = *(const uint16_t *)(record + s.mean + 2 * i);
    }
}

template <bool WRITE> __global__ void __launch_bounds__(THREADS) convert(const __grid_constant__ tq_cuda_pages_args a)
{
    const tq_cuda_record record =
        tq_cuda_record_of(a.k_format, a.v_format, a.dim, a.k_means != nullptr, a.v_means != nullptr);
    const int64_t place = a.record_of != nullptr ? a.record_of[blockIdx.x] : (int64_t)blockIdx.x;
    uint8_t *at = a.pages + place * record.bytes;
    for (int values = 0; values < 2; values++) {
        const side s = side_of(a, record, values != 0);
        if (WRITE) {
            write_side(a, s, blockIdx.x, at, record.stage_bytes[0]);
        } else {
            read_side(a, s, blockIdx.x, at, record.stage_bytes[0]);
        }
    }
}

} // namespace

int tq_cuda_rows_to_pages(const tq_cuda_pages_args *args)
{
    convert<true><<<args->n_records, THREADS, 0, (cudaStream_t)args->stream>>>(*args);
    return (int)cudaGetLastError();
}

int tq_cuda_pages_to_rows(const tq_cuda_pages_args *args)
{
    convert<false><<<args->n_records, THREADS, 0, (cudaStream_t)args->stream>>>(*args);
    return (int)cudaGetLastError();
}
