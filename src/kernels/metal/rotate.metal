/* SPDX-License-Identifier: MIT
 *
 * y = H D x for queries, with the bits of the scalar backend. Sixteen threads take a vector (vector_metal.h). */
#include "kernels/metal/vector_metal.h"

kernel void tq_rotate(constant tq_metal_rows_args &args [[buffer(TQ_AT_ARGS)]],
                      constant tq_metal_code &code [[buffer(TQ_ROTATE_CODE)]],
                      device const float *x [[buffer(TQ_ROTATE_X)]], device float *y [[buffer(TQ_ROTATE_Y)]],
                      threadgroup float *work TQ_SHARED_MEMORY, uint3 group [[threadgroup_position_in_grid]],
                      uint index [[thread_index_in_threadgroup]])
{
    const int l = int(index % 16);
    const uint slot = index / 16;
    const uint wanted = group.x * TQ_METAL_VECTORS + slot;
    const uint vector = min(wanted, args.n - 1);
    float part[TQ_MOST];
    for (int e = 0; e < tq_dim / 16; e++) {
        part[e] = x[ulong(vector) * uint(tq_dim) + uint(l + 16 * e)];
    }
    tq_rotate_vector(code, part, work + slot * TQ_METAL_MAX_DIM, l);
    for (int e = 0; wanted == vector && e < tq_dim / 16; e++) {
        y[ulong(vector) * uint(tq_dim) + uint(l + 16 * e)] = part[e];
    }
}
