/* SPDX-License-Identifier: MIT
 *
 * Rows to vectors: y_j = s level_j, x = D H^T y / dim, to within the tolerances of lloyd_decode, trellis_decode and
 * unrotate in kernels.def. Sixteen threads take a row: thread l has the coordinates l + 16 e, one of each chunk. */
#include "kernels/metal/levels_metal.h"

struct tq_decode_shared {
    float work[TQ_METAL_VECTORS][TQ_METAL_MAX_DIM];
};
static_assert(sizeof(tq_decode_shared) == TQ_DECODE_SHARED, "args_metal.h says how much");

kernel void tq_decode(constant tq_metal_rows_args &args [[buffer(TQ_AT_ARGS)]],
                      constant tq_metal_code &code [[buffer(TQ_DECODE_CODE)]],
                      device const ushort *rows [[buffer(TQ_DECODE_ROWS)]], device float *x [[buffer(TQ_DECODE_X)]],
                      threadgroup tq_decode_shared *shared TQ_SHARED_MEMORY,
                      uint3 group [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]])
{
    const int l = int(index % 16);
    const uint slot = index / 16;
    const uint wanted = group.x * TQ_METAL_VECTORS + slot;
    const uint vector = min(wanted, args.n - 1);
    device const ushort *row = rows + ulong(vector) * uint(tq_metal_row_words(tq_format, tq_dim));
    const float scale = tq_scale_of(row[0]);
    float y[TQ_MOST];
    for (int e = 0; e < tq_dim / 16; e++) {
        tq_chunk chunk;
        tq_read_row_chunk(row + 1, e, chunk);
        y[e] = scale * code.levels[tq_metal_index(tq_format, chunk.unit, tq_chunk_window(chunk), l)];
    }
    tq_unrotate_vector(code, y, shared->work[slot], l);
    for (int e = 0; wanted == vector && e < tq_dim / 16; e++) {
        x[ulong(vector) * uint(tq_dim) + uint(l + 16 * e)] = y[e];
    }
}
