/* SPDX-License-Identifier: MIT
 *
 * What is moved and not computed: new tokens to exact blocks, entries to tables, rows to records and back. */
#include "kernels/cuda/encode_cuda.h"
#include "kernels/cuda/rows_cuda.h"

/* Grid (sequences * tokens, heads). */
extern "C" __global__ void __launch_bounds__(128) tq_store_tokens(TQ_ARGS(tq_cuda_store_args) a)
{
    const int seq = blockIdx.x / a.n_tokens;
    const int i = blockIdx.x % a.n_tokens;
    const int head = blockIdx.y;
    const int64_t from = a.seqs[seq].from + i;
    const int token = a.seqs[seq].first + i;
    for (int side = 0; side < 2; side++) {
        const void *x = side ? a.v : a.k;
        const int64_t at =
            side ? from * a.v_token_stride + head * a.v_head_stride : from * a.k_token_stride + head * a.k_head_stride;
        uint16_t *exact =
            (uint16_t *)a.seqs[seq].exact + tq_cuda_exact_at(TQ_CUDA_PAGE, a.dim_k, a.dim_v, head, side == 1, token);
        uint16_t *sinks = token < a.sink_tokens && a.seqs[seq].sinks != nullptr
                              ? (uint16_t *)a.seqs[seq].sinks +
                                    tq_cuda_exact_at(a.sink_tokens, a.dim_k, a.dim_v, head, side == 1, token)
                              : nullptr;
        for (int j = threadIdx.x; j < (side ? a.dim_v : a.dim_k); j += blockDim.x) {
            const uint16_t half = tq_half_bits(tq_read(x, a.dtype, at + j));
            exact[j] = half;
            if (sinks != nullptr) {
                sinks[j] = half;
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(128) tq_patch_tables(TQ_ARGS(tq_cuda_patch_args) a)
{
    for (int i = threadIdx.x; i < a.n; i += blockDim.x) {
        *a.patches[i].at = a.patches[i].entry;
    }
}

TQ_DEVICE uint8_t *record_of(const tq_cuda_rows_args &a)
{
    const int64_t place = a.at != nullptr ? a.at[blockIdx.x] : (int64_t)blockIdx.x;
    return a.records + place * a.place.record_bytes;
}

extern "C" __global__ void __launch_bounds__(128) tq_rows_to_records(TQ_ARGS(tq_cuda_rows_args) a)
{
    uint8_t *record = record_of(a);
    const int64_t rows_at = (int64_t)blockIdx.x * TQ_CUDA_PAGE * tq_row_bytes_of(a.format, a.dim);
    tq_write_rows(a.format, a.dim, a.place, a.rows + rows_at, record);
    for (int j = threadIdx.x; a.means != nullptr && j < a.dim; j += blockDim.x) {
        *(uint16_t *)(record + a.place.mean + 2 * j) = a.means[(int64_t)blockIdx.x * a.dim + j];
    }
}

extern "C" __global__ void __launch_bounds__(128) tq_records_to_rows(TQ_ARGS(tq_cuda_rows_args) a)
{
    const uint8_t *record = record_of(a);
    const int64_t rows_at = (int64_t)blockIdx.x * TQ_CUDA_PAGE * tq_row_bytes_of(a.format, a.dim);
    tq_read_rows(a.format, a.dim, a.place, record, TQ_CUDA_PAGE, a.rows + rows_at);
    for (int j = threadIdx.x; a.means != nullptr && j < a.dim; j += blockDim.x) {
        a.means[(int64_t)blockIdx.x * a.dim + j] = *(const uint16_t *)(record + a.place.mean + 2 * j);
    }
}
