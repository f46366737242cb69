/* SPDX-License-Identifier: MIT
 *
 * Puts the splits of a query together: their sums are brought to one exponent and added, encoded ones rotated back, and
 * divided by the weight, of which a sink logit is a part. One block for each (sequence, query head, token). */
#ifndef TQ_MERGE_CUDA_H
#define TQ_MERGE_CUDA_H

#include "kernels/cuda/attend_cuda.h"

template <int DIM> TQ_DEVICE void tq_merge_block(const tq_cuda_attend_args &a)
{
    __shared__ __align__(16) float sums[TQ_ATTEND_WARPS][2][DIM]; /* Exact, encoded. */
    __shared__ float warp_weights[TQ_ATTEND_WARPS];
    __shared__ float work[2][DIM];
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    const int rows = a.n_q_tokens * a.group;
    const int row = blockIdx.x % rows;
    const int kv_head = blockIdx.x / rows % a.n_kv_heads;
    const int seq = blockIdx.x / rows / a.n_kv_heads;
    const tq_view view = tq_view_of(a, seq);
    const tq_query query = tq_query_of(a, seq, kv_head, row, view.n_tokens);
    const tq_partials partials(a);
    const int64_t slot = partials.slot(a, seq, kv_head, row, 0);
    const int n_pages = a.all_exact ? 0 : view.end_page - view.first_page;
    const int used = a.exact_splits + (n_pages + view.per_split - 1) / view.per_split;
    const float sink = a.sink_logits != nullptr ? a.sink_logits[query.head] * TQ_LOG2E : -INFINITY;
    float top = fmaxf(TQ_NOTHING, sink);
    tq_wait_for_last(); /* Only the partial sums are the other kernel's. */
    for (int s = lane; s < used; s += 32) {
        top = fmaxf(top, partials.weights[slot + s].x);
    }
    top = tq_warp_max(top);
    float weight = 0;
    for (int encoded = 0; encoded < 2; encoded++) {
        const int begin = encoded ? a.exact_splits : 0;
        const int end = encoded ? used : a.exact_splits;
        for (int i = 4 * lane; i < (DIM + 127) / 128 * 128; i += 128) {
            float4 sum = make_float4(0, 0, 0, 0);
            float part = 0;
#pragma unroll 4
            for (int s = begin + warp; s < end; s += TQ_ATTEND_WARPS) {
                const float2 w = partials.weights[slot + s];
                const float f = tq_exp2(w.x - top);
                part += f * w.y;
                if (i < DIM) {
                    const float4 x = *(const float4 *)(partials.sums + (slot + s) * DIM + i);
                    sum.x += f * x.x;
                    sum.y += f * x.y;
                    sum.z += f * x.z;
                    sum.w += f * x.w;
                }
            }
            if (i < DIM) {
                *(float4 *)&sums[warp][encoded][i] = sum;
            }
            weight += i == 4 * lane ? part : 0.0f;
        }
    }
    if (lane == 0) {
        warp_weights[warp] = weight;
    }
    __syncthreads();
    if (warp != 0) {
        return;
    }
    weight = tq_exp2(sink - top);
    for (int w = 0; w < TQ_ATTEND_WARPS; w++) {
        weight += warp_weights[w];
    }
    const int other = a.out_rotated ? 0 : 1; /* The sums that are not in the domain of the output. */
    for (int i = lane; i < DIM; i += 32) {
        float sum = 0;
        for (int w = 0; w < TQ_ATTEND_WARPS; w++) {
            sum += sums[w][other][i];
        }
        work[0][i] = sum;
    }
    const float *turned = work[0]; /* Zeros, if nothing is encoded in this cache. */
    if (a.out_rotated) {
        turned = tq_rotate_warp<DIM>(work[0], work[1], a.v_rotation.signs, a.v_rotation.paley, lane);
    } else if (a.v_rotation.signs != nullptr) {
        turned = tq_unrotate_warp<DIM>(work[0], work[1], a.v_rotation.signs, a.v_rotation.paley, lane);
    }
    const float divisor = a.out_rotated ? weight * sqrtf((float)DIM) : weight;
    float *out = a.out + query.index * a.out_token_stride + query.head * a.out_head_stride;
    for (int i = lane; i < DIM; i += 32) {
        float sum = turned[i];
        for (int w = 0; w < TQ_ATTEND_WARPS; w++) {
            sum += sums[w][1 - other][i];
        }
        out[i] = sum / divisor;
    }
    if (lane == 0 && a.lse != nullptr) {
        a.lse[query.index * (a.n_kv_heads * a.group) + query.head] = (top + __log2f(weight)) / TQ_LOG2E;
    }
}

/* One block for each row. */
TQ_DEVICE void tq_combine_block(const tq_cuda_combine_args &a)
{
    const int row = blockIdx.x;
    float top = TQ_NOTHING;
    float weight = 0;
    for (int p = 0; p < a.n_parts; p++) {
        top = fmaxf(top, a.part_lse[p * a.n_rows + row]);
    }
    for (int p = 0; p < a.n_parts; p++) {
        weight += tq_exp2((a.part_lse[p * a.n_rows + row] - top) * TQ_LOG2E);
    }
    float *out = a.out + row / a.n_heads * a.token_stride + row % a.n_heads * a.head_stride;
    for (int i = threadIdx.x; i < a.dim; i += blockDim.x) {
        float sum = 0;
        for (int p = 0; p < a.n_parts; p++) {
            const float w = tq_exp2((a.part_lse[p * a.n_rows + row] - top) * TQ_LOG2E);
            sum += w > 0 ? w * a.parts[((int64_t)p * a.n_rows + row) * a.dim + i] : 0.0f;
        }
        out[i] = sum / weight;
    }
    if (threadIdx.x == 0 && a.lse != nullptr) {
        a.lse[row] = top + __log2f(weight) / TQ_LOG2E;
    }
}

#endif /* TQ_MERGE_CUDA_H */
