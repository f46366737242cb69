/* SPDX-License-Identifier: MIT
 *
 * What the attention kernels agree on: which tokens a sequence shows, how they are split, where partial sums lie. */
#ifndef TQ_ATTEND_CUDA_H
#define TQ_ATTEND_CUDA_H

#include "kernels/cuda/args_cuda.h"
#include "kernels/cuda/device_cuda.h"
#include "kernels/cuda/lookup_cuda.h"

enum {
    TQ_ATTEND_WARPS = 4,
    TQ_ATTEND_THREADS = 32 * TQ_ATTEND_WARPS,
    TQ_LEAST_PAGES = TQ_ATTEND_WARPS, /* Of a split: one for each warp. */
    TQ_EXACT_CHUNK = 128              /* Exact tokens that a block takes at once. */
};

constexpr float TQ_NOTHING = -1e30f; /* Logarithm of the weight of no token; an infinity would need care. */
constexpr float TQ_LOG2E = 1.4426950408889634f;

TQ_DEVICE float tq_warp_max(float x)
{
    for (int distance = 16; distance > 0; distance /= 2) {
        x = fmaxf(x, __shfl_xor_sync(TQ_WARP, x, distance));
    }
    return x;
}

template <typename T> TQ_DEVICE T tq_warp_sum(T x)
{
    for (int distance = 16; distance > 0; distance /= 2) {
        x += __shfl_xor_sync(TQ_WARP, x, distance);
    }
    return x;
}

/* A sequence as its queries see it. */
struct tq_view {
    int n_tokens;
    int n_encoded;
    int first;      /* First token that any query sees through the sliding window. */
    int first_page; /* Encoded pages [first_page, end_page) are cut into splits of `per_split` pages. */
    int end_page;
    int per_split;
};

TQ_DEVICE tq_view tq_view_of(const tq_cuda_attend_args &a, int seq)
{
    tq_view v;
    v.n_tokens = a.views[seq].n_tokens;
    v.n_encoded = a.views[seq].n_encoded;
    v.first = a.sliding_window != 0 ? max(v.n_tokens - a.n_q_tokens + 1 - a.sliding_window, 0) : 0;
    v.end_page = (v.n_encoded + TQ_CUDA_PAGE - 1) / TQ_CUDA_PAGE;
    v.first_page = min(v.first / TQ_CUDA_PAGE, v.end_page);
    v.per_split = max((v.end_page - v.first_page + a.n_splits - 1) / a.n_splits, (int)TQ_LEAST_PAGES);
    return v;
}

/* Query row r of a KV head: token-major, the heads of a group side by side. */
struct tq_query {
    int token;
    int head;
    int64_t index; /* Of [n_seqs * n_q_tokens]. */
    int begin;     /* Sees tokens [begin, end). */
    int end;
};

TQ_DEVICE tq_query tq_query_of(const tq_cuda_attend_args &a, int seq, int kv_head, int row, int n_tokens)
{
    tq_query q;
    q.token = row / a.group;
    q.head = kv_head * a.group + row % a.group;
    q.index = (int64_t)seq * a.n_q_tokens + q.token;
    q.end = n_tokens - a.n_q_tokens + q.token + 1;
    q.begin = a.sliding_window != 0 ? max(q.end - a.sliding_window, 0) : 0;
    return q;
}

/* cap * tanh(s / cap), times log2(e). */
TQ_DEVICE float tq_capped(float s, float cap)
{
    const float e = tq_exp2(s * (2 * TQ_LOG2E / cap));
    return cap * TQ_LOG2E * (1.0f - __fdividef(2.0f, e + 1.0f));
}

/* Partial sums: of each (sequence, KV head, row) one slot for each split, exact ones first. A slot has its sum of
 * weights and their common exponent, base 2, and `dim_v` sums of values. */
struct tq_partials {
    float2 *weights;
    float *sums;
    int slots;

    TQ_DEVICE tq_partials(const tq_cuda_attend_args &a)
    {
        slots = a.exact_splits + a.n_splits;
        sums = a.partials;
        weights = (float2 *)(a.partials + (int64_t)a.n_seqs * a.n_kv_heads * a.n_q_tokens * a.group * slots * a.dim_v);
    }
    TQ_DEVICE int64_t slot(const tq_cuda_attend_args &a, int seq, int kv_head, int row, int split) const
    {
        return (((int64_t)seq * a.n_kv_heads + kv_head) * (a.n_q_tokens * a.group) + row) * slots + split;
    }
};

/* Adds up what the warps of a block have in sums[warp][row][DIM], weights[warp][row] = (exponent, weight); a warp takes
 * every fourth row. */
template <int DIM, int ROWS>
TQ_DEVICE void tq_write_partials(const tq_cuda_attend_args &a, int seq, int kv_head, int row0, int n_rows, int split,
                                 const float *sums, const float2 *weights)
{
    const tq_partials partials(a);
    const int lane = threadIdx.x % 32;
    for (int r = threadIdx.x / 32; r < n_rows; r += TQ_ATTEND_WARPS) {
        float top = TQ_NOTHING;
        float weight = 0;
        float2 parts[TQ_ATTEND_WARPS];
#pragma unroll
        for (int w = 0; w < TQ_ATTEND_WARPS; w++) {
            parts[w] = weights[w * ROWS + r];
            top = fmaxf(top, parts[w].x);
        }
#pragma unroll
        for (int w = 0; w < TQ_ATTEND_WARPS; w++) {
            parts[w].x = tq_exp2(parts[w].x - top);
            weight += parts[w].x * parts[w].y;
        }
        const int64_t slot = partials.slot(a, seq, kv_head, row0 + r, split);
#pragma unroll
        for (int i = 4 * lane; i < DIM; i += 128) {
            float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll
            for (int w = 0; w < TQ_ATTEND_WARPS; w++) {
                const float4 part = *(const float4 *)(sums + (w * ROWS + r) * DIM + i);
                sum.x += parts[w].x * part.x;
                sum.y += parts[w].x * part.y;
                sum.z += parts[w].x * part.z;
                sum.w += parts[w].x * part.w;
            }
            *(float4 *)(partials.sums + slot * DIM + i) = sum;
        }
        if (lane == 0) {
            partials.weights[slot] = make_float2(top, weight);
        }
    }
}

#endif /* TQ_ATTEND_CUDA_H */
