/* SPDX-License-Identifier: MIT
 *
 * Inner products of rotated queries with rows:
 *
 *     scores[i][k] = scale s_k / dim * sum over j: q[i][j] level_kj
 *
 * A thread takes a row and reads it chunk by chunk, for TQ_METAL_QUERIES queries at once: they are the components of
 * float4s in threadgroup memory, so each level is looked up once and multiplied four times. */
#include "kernels/metal/levels_metal.h"

struct tq_scores_shared {
    float4 q[TQ_METAL_MAX_DIM];
    float levels[256];
};
static_assert(sizeof(tq_scores_shared) == TQ_SCORES_SHARED, "args_metal.h says how much");

kernel void tq_scores(constant tq_metal_scores_args &args [[buffer(TQ_AT_ARGS)]],
                      constant tq_metal_code &code [[buffer(TQ_SCORES_CODE)]],
                      device const float *q [[buffer(TQ_SCORES_Q)]],
                      device const ushort *rows [[buffer(TQ_SCORES_ROWS)]],
                      device float *scores [[buffer(TQ_SCORES_SCORES)]],
                      threadgroup tq_scores_shared *shared TQ_SHARED_MEMORY,
                      uint3 group [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]])
{
    const uint first_q = group.y * TQ_METAL_QUERIES;
    const uint n_q = min(args.n_q - first_q, uint(TQ_METAL_QUERIES));
    tq_load_levels(code, tq_format, index, TQ_SCORES_THREADS, shared->levels);
    tq_load_queries(q + first_q * uint(tq_dim), n_q, index, TQ_SCORES_THREADS, shared->q);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const uint k = group.x * TQ_SCORES_THREADS + index;
    if (k >= args.n) {
        return;
    }
    device const ushort *row = rows + ulong(k) * uint(tq_metal_row_words(tq_format, tq_dim));
    float4 dot = float4(0.0f);
    for (int c = 0; c < tq_dim / TQ_METAL_CHUNK; c++) {
        tq_chunk chunk;
        float levels[TQ_METAL_CHUNK];
        tq_read_row_chunk(row + 1, c, chunk);
        tq_chunk_levels(tq_format, chunk, shared->levels, levels);
        for (int i = 0; i < TQ_METAL_CHUNK; i++) {
            dot += shared->q[c * TQ_METAL_CHUNK + i] * levels[i];
        }
    }
    const float factor = args.scale * tq_scale_of(row[0]) / float(tq_dim);
    for (uint i = 0; i < n_q; i++) {
        scores[ulong(first_q + i) * args.stride + k] = dot[i] * factor;
    }
}
