/* SPDX-License-Identifier: MIT
 *
 * Puts the splits of a query together: sums are brought to one exponent and added, encoded ones rotated back, and
 * divided by the weight, of which a sink logit is a part:
 *
 *     out = (D H^T sum_encoded / dim + sum_exact) / weight,  lse = top + log(weight)
 *
 * One simdgroup takes a query; its two halves take the slots in turn, sixteen threads a vector (vector_metal.h). */
#include "kernels/metal/vector_metal.h"

struct tq_merge_shared {
    float work[2][TQ_METAL_MAX_DIM];
};
static_assert(sizeof(tq_merge_shared) == TQ_MERGE_SHARED, "args_metal.h says how much");

kernel void tq_merge(constant tq_metal_merge_args &args [[buffer(TQ_AT_ARGS)]],
                     constant tq_metal_code &code [[buffer(TQ_MERGE_CODE)]],
                     device const float *partials [[buffer(TQ_MERGE_PARTIALS)]],
                     device const float *sink_logits [[buffer(TQ_MERGE_SINK_LOGITS)]],
                     device float *out [[buffer(TQ_MERGE_OUT)]], device float *lse [[buffer(TQ_MERGE_LSE)]],
                     threadgroup tq_merge_shared *shared TQ_SHARED_MEMORY, uint3 group [[threadgroup_position_in_grid]],
                     uint index [[thread_index_in_threadgroup]])
{
    const int l = int(index % 16);
    const uint half_of_simd = index / 16;
    const uint floats = uint(tq_dim) + 2;
    device const float *slot = partials + ulong(group.x) * args.slots * floats;
    const float sink = args.has_sink_logits != 0 ? sink_logits[group.x % args.n_q_heads] : -INFINITY;
    float top = sink;
    for (uint s = index; s < args.slots; s += TQ_METAL_SIMD) {
        top = max(top, slot[s * floats + uint(tq_dim)]);
    }
    top = simd_max(top);
    float weight = 0;
    float encoded[TQ_MOST] = {};
    float exact[TQ_MOST] = {};
    for (uint s = half_of_simd; s < args.slots; s += 2) {
        const float factor = exp(slot[s * floats + uint(tq_dim)] - top);
        weight += factor * slot[s * floats + uint(tq_dim) + 1];
        for (int e = 0; e < tq_dim / 16; e++) {
            const float sum = factor * slot[s * floats + uint(l + 16 * e)];
            encoded[e] += s >= args.exact_splits ? sum : 0.0f;
            exact[e] += s >= args.exact_splits ? 0.0f : sum;
        }
    }
    weight += simd_shuffle_xor(weight, ushort(16));
    weight += exp(sink - top);
    for (int e = 0; e < tq_dim / 16; e++) {
        encoded[e] += simd_shuffle_xor(encoded[e], ushort(16));
        exact[e] += simd_shuffle_xor(exact[e], ushort(16));
    }
    tq_unrotate_vector(code, encoded, shared->work[half_of_simd], l);
    for (int e = 0; half_of_simd == 0 && e < tq_dim / 16; e++) {
        out[ulong(group.x) * uint(tq_dim) + uint(l + 16 * e)] = (encoded[e] + exact[e]) / weight;
    }
    if (index == 0 && args.has_lse != 0) {
        lse[group.x] = top + log(weight);
    }
}
