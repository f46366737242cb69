/* SPDX-License-Identifier: MIT
 *
 * Vectors to rows of the Lloyd-Max formats, byte for byte as src/kernels/scalar/encode_scalar.c makes them:
 *
 *     y = H D x;  for each gain:  idx_j = number of thresholds t with y_j >= t (norm / gain)
 *     keep the gain whose levels c are most parallel to y;  scale = by its mode, from <y, c> and <c, c>
 *
 * Sixteen threads take a vector (vector_metal.h), a threadgroup TQ_METAL_VECTORS of them. Codes go through threadgroup
 * memory to become rows. Threads beyond the last vector do it once more and write nothing. */
#include "kernels/metal/encode_metal.h"

struct tq_encode_shared {
    float work[TQ_METAL_VECTORS][TQ_METAL_MAX_DIM];
    uchar codes[TQ_METAL_VECTORS][TQ_METAL_MAX_DIM];
};
static_assert(sizeof(tq_encode_shared) == TQ_ENCODE_SHARED, "args_metal.h says how much");

/* Number of ascending thresholds t with y >= t * limit. */
inline uint tq_nearest(constant tq_metal_code &code, float limit, float y)
{
    uint index = 0;
    for (uint step = 1U << (tq_metal_bits(tq_format) - 1); step > 0; step /= 2) {
        if (y >= code.thresholds[index + step - 1] * limit) {
            index += step;
        }
    }
    return index;
}

kernel void tq_encode(constant tq_metal_encode_args &args [[buffer(TQ_AT_ARGS)]],
                      constant tq_metal_code &code [[buffer(TQ_ENCODE_CODE)]],
                      device const float *x [[buffer(TQ_ENCODE_X)]],
                      device const tq_metal_page *pages [[buffer(TQ_ENCODE_PAGES)]],
                      device ushort *rows [[buffer(TQ_ENCODE_ROWS)]],
                      threadgroup tq_encode_shared *shared TQ_SHARED_MEMORY,
                      uint3 group [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]])
{
    const int l = int(index % 16);
    const uint slot = index / 16;
    const uint wanted = group.x * TQ_METAL_VECTORS + slot;
    const uint vector = min(wanted, args.n - 1);
    float y[TQ_MOST];
    bool is_uncentred;
    const float sum_squares = tq_read(args, code, x, pages, vector, shared->work[slot], l, y, is_uncentred);
    const float norm = precise::sqrt(sum_squares);
    uchar best[TQ_MOST] = {};
    float best_yc = 0;
    float best_cc = 0;
    for (int g = 0; g < code.n_gains; g++) {
        const float limit = norm / code.gains[g];
        uchar codes[TQ_MOST];
        float levels[TQ_MOST];
        for (int e = 0; e < tq_dim / 16; e++) {
            codes[e] = uchar(tq_nearest(code, limit, y[e]));
            levels[e] = code.levels[codes[e]];
        }
        const float yc = tq_vector_dot(y, levels);
        const float cc = tq_vector_dot(levels, levels);
        if (g == 0 || tq_alignment(yc, cc) > tq_alignment(best_yc, best_cc)) {
            best_yc = yc;
            best_cc = cc;
            for (int e = 0; e < tq_dim / 16; e++) {
                best[e] = codes[e];
            }
        }
    }
    for (int e = 0; e < tq_dim / 16; e++) {
        shared->codes[slot][l + 16 * e] = best[e];
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
    if (wanted == vector) {
        const bool zero = sum_squares < FLT_MIN; /* It counts as zero. */
        const float scale = zero ? 0.0f : tq_stored_scale(code.scale_mode, best_yc, best_cc, norm);
        tq_write_row(shared->codes[slot], tq_half_bits(scale), is_uncentred, l, 16,
                     rows + ulong(vector) * uint(tq_metal_row_words(tq_format, tq_dim)));
    }
}
