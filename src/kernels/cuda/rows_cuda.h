/* SPDX-License-Identifier: MIT
 *
 * Between the rows of docs/format.md and the words of a record, for one side, by a block of threads. */
#ifndef TQ_ROWS_CUDA_H
#define TQ_ROWS_CUDA_H

#include "kernels/cuda/args_cuda.h"
#include "kernels/cuda/device_cuda.h"
#include "kernels/cuda/layout_cuda.h"

TQ_DEVICE constexpr int tq_row_bytes_of(int format, int dim)
{
    return tq_cuda_is_trellis(format) || format == 11
               ? 2 + tq_cuda_bits(format) * ((dim + 7) / 8)
               : 2 + (tq_cuda_bits(format) == 3 ? (2 * dim + 7) / 8 + (dim + 7) / 8
                                                : (tq_cuda_bits(format) * dim + 7) / 8);
}

/* 64 rows to a record. A warp makes the same word of all lanes, so that its threads agree on which codes are in it. */
TQ_DEVICE void tq_write_rows(int format, int dim, const tq_cuda_side_place &place, const uint8_t *rows, uint8_t *record)
{
    const int n_words = tq_cuda_padded(dim) / 32 * tq_cuda_bits(format);
    const int row_bytes = tq_row_bytes_of(format, dim);
    for (int i = threadIdx.x; i < 2 * 32 * n_words; i += blockDim.x) {
        const int stage = i / (32 * n_words);
        const int lane = i % 32;
        const int w = i / 32 % n_words;
        const uint32_t word = tq_cuda_pack_word(format, dim, place.values != 0,
                                                rows + stage * TQ_CUDA_STAGE * row_bytes, row_bytes, lane, w);
        *(uint32_t *)(record + stage * place.stage_bytes + place.words + tq_cuda_word_at(n_words, lane, w)) = word;
    }
    for (int t = threadIdx.x; t < TQ_CUDA_PAGE; t += blockDim.x) {
        uint8_t *scale = record + t / TQ_CUDA_STAGE * place.stage_bytes + place.scales + t % TQ_CUDA_STAGE * 2;
        scale[0] = rows[t * row_bytes];
        scale[1] = rows[t * row_bytes + 1];
    }
}

/* Whole bytes of a row are put together by one thread each. */
TQ_DEVICE uint8_t tq_row_byte(int format, int dim, bool values, const uint8_t *words, int token, int at)
{
    const int bits = tq_cuda_bits(format);
    const int plane_bytes = (dim + 7) / 8;
    const bool planes = tq_cuda_is_trellis(format) || bits == 1;
    const int low_bytes = (2 * dim + 7) / 8; /* Of turbo3: two bits, then one. */
    const bool high = bits == 3 && at >= low_bytes;
    const int shift = planes ? at / plane_bytes : high ? 2 : 0;
    const int width = planes || high ? 1 : bits == 3 ? 2 : bits;
    const int first = (planes ? at % plane_bytes : high ? at - low_bytes : at) * (8 / width);
    unsigned byte = 0;
    for (int j = first; j < first + 8 / width && j < dim; j++) {
        const unsigned code = tq_cuda_unpack_code(format, dim, values, words, token, j);
        byte |= (code >> shift & ((1U << width) - 1)) << (j - first) * width;
    }
    return (uint8_t)byte;
}

/* Rows [0, n) of a record. */
TQ_DEVICE void tq_read_rows(int format, int dim, const tq_cuda_side_place &place, const uint8_t *record, int n,
                            uint8_t *rows)
{
    const int row_bytes = tq_row_bytes_of(format, dim);
    for (int i = threadIdx.x; i < n * row_bytes; i += blockDim.x) {
        const int t = i / row_bytes;
        const int at = i % row_bytes;
        const uint8_t *stage = record + t / TQ_CUDA_STAGE * place.stage_bytes;
        rows[i] = at < 2 ? stage[place.scales + t % TQ_CUDA_STAGE * 2 + at]
                         : tq_row_byte(format, dim, place.values != 0, stage + place.words, t % TQ_CUDA_STAGE, at - 2);
    }
}

#endif /* TQ_ROWS_CUDA_H */
