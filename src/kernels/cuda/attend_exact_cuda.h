/* SPDX-License-Identifier: MIT
 *
 * Attention over exact tokens: the window and the sinks, in f16 and the vectors' own domain.
 *
 *     for each query, for each token it sees:  s = cap(scale <q, k>);  weight += exp(s);  sum += exp(s) v
 *
 * A block takes 128 tokens at once: eight lanes to a key, scores to shared memory, one warp to a row's softmax, then
 * each warp a quarter of the values with four coordinates to a lane. These are a few hundred tokens; what matters is
 * that they are there while other blocks stream the encoded ones. */
#ifndef TQ_ATTEND_EXACT_CUDA_H
#define TQ_ATTEND_EXACT_CUDA_H

#include "kernels/cuda/attend_cuda.h"

/* Where the key of an exact token lies; its value is `to_value` halves further on. */
struct tq_exact_token {
    const __half *key;
    int to_value;
    int position;
};

/* How many of a sequence's encoded tokens are read exact. */
TQ_DEVICE int tq_sinks_of(const tq_cuda_attend_args &a, const tq_view &v, int seq)
{
    return a.views[seq].sinks != nullptr ? min(a.sink_tokens, v.n_encoded) : 0;
}

template <int DIM>
TQ_DEVICE tq_exact_token tq_find_exact(const tq_cuda_attend_args &a, const tq_view &v, int seq, int kv_head, int i)
{
    const tq_cuda_view &view = a.views[seq];
    const int n_sinks = tq_sinks_of(a, v, seq);
    if (i < n_sinks) {
        const __half *keys = (const __half *)view.sinks + kv_head * 2 * a.sink_tokens * DIM;
        return {keys + i * DIM, a.sink_tokens * DIM, i};
    }
    const int position = v.n_encoded + i - n_sinks;
    const void *block = view.table[position / TQ_CUDA_PAGE].exact;
    const __half *keys = (const __half *)block + kv_head * 2 * TQ_CUDA_PAGE * DIM;
    return {keys + position % TQ_CUDA_PAGE * DIM, TQ_CUDA_PAGE * DIM, position};
}

/* What the phases of a chunk of tokens share. */
template <int DIM, int ROWS> struct tq_exact_shared {
    float q[ROWS][DIM]; /* Times the scale of scores. */
    float scores[ROWS][TQ_EXACT_CHUNK];
    float sums[TQ_ATTEND_WARPS][ROWS][DIM];
    const __half *keys[TQ_EXACT_CHUNK];
    const __half *values[TQ_EXACT_CHUNK];
    int positions[TQ_EXACT_CHUNK];
    float largest[ROWS];
    float weight[ROWS];
    float factor[ROWS];
    float2 weights[TQ_ATTEND_WARPS * ROWS];
};

/* Scores, eight lanes to a token; BATCH tokens are fetched before the first is used. */
template <int DIM, int ROWS>
TQ_DEVICE void tq_exact_scores(const tq_cuda_attend_args &a, tq_exact_shared<DIM, ROWS> &s, const tq_query &query,
                               int count)
{
    constexpr int BATCH = DIM <= 128 ? 4 : 2;
    constexpr int PIECES = (DIM / 8 + 7) / 8;
    constexpr int AT_ONCE = TQ_ATTEND_THREADS / 8;
    const int lane = threadIdx.x % 32;
    for (int first = 0; first < count; first += BATCH * AT_ONCE) {
        uint4 data[BATCH][PIECES];
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            const int i = first + b * AT_ONCE + threadIdx.x / 8;
#pragma unroll
            for (int p = 0; p < PIECES; p++) {
                const int piece = lane % 8 + 8 * p;
                if (i < count && piece < DIM / 8) {
                    data[b][p] = *(const uint4 *)(s.keys[i] + 8 * piece);
                } else {
                    data[b][p] = make_uint4(0, 0, 0, 0);
                }
            }
        }
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            const int i = first + b * AT_ONCE + threadIdx.x / 8;
            if (first + b * AT_ONCE >= count) {
                break;
            }
            float dot[ROWS] = {};
#pragma unroll
            for (int p = 0; p < PIECES; p++) {
                const int piece = min(lane % 8 + 8 * p, DIM / 8 - 1);
                const uint32_t pairs[4] = {data[b][p].x, data[b][p].y, data[b][p].z, data[b][p].w};
#pragma unroll
                for (int x = 0; x < 4; x++) {
                    const float2 k = __half22float2(*(const __half2 *)&pairs[x]);
#pragma unroll
                    for (int r = 0; r < ROWS; r++) {
                        const float2 y = *(const float2 *)(s.q[r] + 8 * piece + 2 * x);
                        dot[r] += k.x * y.x + k.y * y.y;
                    }
                }
            }
            float own = 0; /* Of row lane % 8. */
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                dot[r] += __shfl_xor_sync(TQ_WARP, dot[r], 1);
                dot[r] += __shfl_xor_sync(TQ_WARP, dot[r], 2);
                dot[r] += __shfl_xor_sync(TQ_WARP, dot[r], 4);
                own = lane % 8 == r ? dot[r] : own;
            }
            if (lane % 8 < ROWS && i < count) {
                const bool seen = s.positions[i] >= query.begin && s.positions[i] < query.end;
                const float score = a.soft_cap > 0 ? tq_capped(own, a.soft_cap) : own * TQ_LOG2E;
                s.scores[lane % 8][i] = seen ? score : -INFINITY;
            }
        }
    }
}

/* One step of the online softmax: scores become weights. */
template <int DIM, int ROWS> TQ_DEVICE void tq_exact_soften(tq_exact_shared<DIM, ROWS> &s, int count)
{
    const int lane = threadIdx.x % 32;
    for (int r = threadIdx.x / 32; r < ROWS; r += TQ_ATTEND_WARPS) {
        float *row = s.scores[r];
        float top = s.largest[r];
        float total = 0;
        for (int i = lane; i < count; i += 32) {
            top = fmaxf(top, row[i]);
        }
        top = tq_warp_max(top);
        for (int i = lane; i < count; i += 32) {
            row[i] = tq_exp2(row[i] - top);
            total += row[i];
        }
        total = tq_warp_sum(total);
        __syncwarp();
        if (lane == 0) {
            s.factor[r] = tq_exp2(s.largest[r] - top);
            s.weight[r] = s.weight[r] * s.factor[r] + total;
            s.largest[r] = top;
        }
    }
}

/* Queries in the domain of exact keys, times the scale of scores. Those that come rotated are turned back, by a warp
 * each. */
template <int DIM, int ROWS>
TQ_DEVICE void tq_exact_queries(const tq_cuda_attend_args &a, tq_exact_shared<DIM, ROWS> &s, int seq, int kv_head,
                                int row0, int n_rows, int n_tokens)
{
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    for (int r = warp; r < ROWS; r += TQ_ATTEND_WARPS) {
        const tq_query query = tq_query_of(a, seq, kv_head, row0 + min(r, n_rows - 1), n_tokens);
        const int64_t at = query.index * a.q_token_stride + query.head * a.q_head_stride;
        float *to = a.q_rotated ? s.sums[warp][0] : s.q[r];
        const float factor = a.q_rotated ? a.scale * sqrtf((float)DIM) : a.scale;
        for (int i = lane; i < DIM; i += 32) {
            to[i] = factor * tq_read(a.q, a.q_dtype, at + i);
        }
        if (a.q_rotated) {
            __syncwarp();
            tq_unrotate_warp<DIM>(to, s.q[r], a.k_rotation.signs, a.k_rotation.paley, lane);
        }
    }
}

template <int DIM, int ROWS>
TQ_DEVICE void tq_attend_exact(const tq_cuda_attend_args &a, const tq_view &v, int seq, int kv_head, int row0,
                               int n_rows, int split, void *shared)
{
    constexpr int PIECES = (DIM + 127) / 128;
    tq_exact_shared<DIM, ROWS> &s = *(tq_exact_shared<DIM, ROWS> *)shared;
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    const int n_sinks = tq_sinks_of(a, v, seq);
    const int n = n_sinks + v.n_tokens - v.n_encoded;
    const int begin = (int)((int64_t)n * split / a.exact_splits);
    const int end = (int)((int64_t)n * (split + 1) / a.exact_splits);
    const tq_query own = tq_query_of(a, seq, kv_head, row0 + min(lane % 8, n_rows - 1), v.n_tokens); /* Of a score. */
    float sum[ROWS][PIECES][4] = {};
    tq_exact_queries<DIM, ROWS>(a, s, seq, kv_head, row0, n_rows, v.n_tokens);
    if (threadIdx.x < ROWS) {
        s.largest[threadIdx.x] = TQ_NOTHING;
        s.weight[threadIdx.x] = 0;
    }
    for (int first = begin; first < end; first += TQ_EXACT_CHUNK) {
        const int count = min(end - first, (int)TQ_EXACT_CHUNK);
        if (threadIdx.x < count) {
            const tq_exact_token token = tq_find_exact<DIM>(a, v, seq, kv_head, first + threadIdx.x);
            s.keys[threadIdx.x] = token.key;
            s.values[threadIdx.x] = token.key + token.to_value;
            s.positions[threadIdx.x] = token.position;
        }
        __syncthreads();
        tq_exact_scores<DIM, ROWS>(a, s, own, count);
        __syncthreads();
        tq_exact_soften<DIM, ROWS>(s, count);
        __syncthreads();
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
#pragma unroll
            for (int x = 0; x < 4 * PIECES; x++) {
                sum[r][x / 4][x % 4] *= s.factor[r];
            }
        }
#pragma unroll 4
        for (int i = warp; i < count; i += TQ_ATTEND_WARPS) {
#pragma unroll
            for (int piece = 0; piece < PIECES; piece++) {
                const int at = piece * 128 + 4 * lane;
                if (at < DIM) {
                    const uint2 four = *(const uint2 *)(s.values[i] + at);
                    const float2 low = __half22float2(*(const __half2 *)&four.x);
                    const float2 high = __half22float2(*(const __half2 *)&four.y);
#pragma unroll
                    for (int r = 0; r < ROWS; r++) {
                        const float w = s.scores[r][i];
                        sum[r][piece][0] += w * low.x;
                        sum[r][piece][1] += w * low.y;
                        sum[r][piece][2] += w * high.x;
                        sum[r][piece][3] += w * high.y;
                    }
                }
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int piece = 0; piece < PIECES; piece++) {
            const int at = piece * 128 + 4 * lane;
            if (at < DIM) {
                *(float4 *)(s.sums[warp][r] + at) =
                    make_float4(sum[r][piece][0], sum[r][piece][1], sum[r][piece][2], sum[r][piece][3]);
            }
        }
    }
    __syncthreads();
    if (threadIdx.x < TQ_ATTEND_WARPS * ROWS) { /* The weight is that of all warps. */
        const int r = threadIdx.x % ROWS;
        s.weights[threadIdx.x] = make_float2(s.largest[r], threadIdx.x < ROWS ? s.weight[r] : 0.0f);
    }
    __syncthreads();
    tq_write_partials<DIM, ROWS>(a, seq, kv_head, row0, n_rows, split, &s.sums[0][0][0], s.weights);
}

#endif /* TQ_ATTEND_EXACT_CUDA_H */
