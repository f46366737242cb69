/* SPDX-License-Identifier: MIT
 *
 * What a block of the attention kernel needs: registers, and room in shared memory. */
#ifndef TQ_ATTEND_SHAPE_CUDA_H
#define TQ_ATTEND_SHAPE_CUDA_H

#include "kernels/cuda/attend_exact_cuda.h"

/* Where things lie in a block's shared memory. */
template <int K, int V, int DIM, int TILES> struct tq_attend_shape {
    static constexpr int C = tq_cuda_padded(DIM) / 32;
    static constexpr int ROWS = 4 * TILES;
    static constexpr int BITS = tq_cuda_bits(K) + tq_cuda_bits(V);
    static constexpr int STAGES = BITS >= 5 ? 2 : 4; /* Two to a page. */
    static constexpr int SUM_REGISTERS = 8 * C * TILES;
    static constexpr int BLOCKS = SUM_REGISTERS <= 32 ? 4 : SUM_REGISTERS <= 64 ? 3 : 2; /* On a multiprocessor. */
    static constexpr tq_cuda_record RECORD = tq_cuda_record_of(K, V, DIM, DIM, true, true);
    static constexpr int ROOM = (RECORD.stage_bytes[0] + 127) / 128 * 128;
    static constexpr int BARRIERS_AT = TQ_ATTEND_WARPS * STAGES * ROOM;
    static constexpr int QUERY_AT = BARRIERS_AT + (TQ_ATTEND_WARPS * STAGES * 8 + 15) / 16 * 16;
    static constexpr int PLANES = tq_cuda_planes(K);
    static constexpr int MEAN_QUERY_AT = QUERY_AT + PLANES * C * 512;
    static constexpr int SUMS_AT = MEAN_QUERY_AT + DIM / 16 * 512;
    static constexpr int ENCODED_BYTES = SUMS_AT + TQ_ATTEND_WARPS * ROWS * DIM * 4;
    static constexpr int EXACT_BYTES = sizeof(tq_exact_shared<DIM, ROWS>);
    static constexpr int SHARED_BYTES = ENCODED_BYTES > EXACT_BYTES ? ENCODED_BYTES : EXACT_BYTES;
};

#endif /* TQ_ATTEND_SHAPE_CUDA_H */
