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

template <int DIM>
TQ_DEVICE tq_exact_token tq_find_exact(const tq_cuda_attend_args &a, const tq_view &v, int seq, int kv_head, int i)
{
    const int n_sinks = a.sinks != nullptr ? min(a.sink_tokens, v.n_encoded) : 0;
    if (i < n_sinks) {
        const __half *keys = (const __half *)a.sinks + ((int64_t)seq * a.n_kv_heads + kv_head) * 2 * a.sink_tokens * DIM;
        return {keys + i * DIM, a.sink_tokens * DIM, i};
    }
    const int position = v.n_encoded + i - n_sinks;
    const int page = position / TQ_CUDA_PAGE;
    const int64_t id = a.exact_table[seq * a.exact_table_stride + page % a.exact_slots];
    const __half *keys = (const __half *)a.exact + (id * a.n_kv_heads + kv_head) * 2 * TQ_CUDA_PAGE * DIM;
    return {keys + position % TQ_CUDA_PAGE * DIM, TQ_CUDA_PAGE * DIM, position};
}

template <int DIM, int ROWS>
TQ_DEVICE void tq_attend_exact(const tq_cuda_attend_args &a, const tq_view &v, int seq, int kv_head, int row0, int n_rows,
                               int split, float *shared)
{
    constexpr int PIECES = (DIM + 127) / 128;
    float *q = shared;
    float *scores = q + ROWS * DIM;
    float *sums = scores + ROWS * TQ_EXACT_CHUNK;
    __shared__ float largest[ROWS], weight[ROWS], factor[ROWS];
    __shared__ float2 weights[TQ_ATTEND_WARPS * ROWS];
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    const int n_sinks = a.sinks != nullptr ? min(a.sink_tokens, v.n_encoded) : 0;
    const int n = n_sinks + v.n_tokens - v.n_encoded;
    const int begin = (int)((int64_t)n * split / a.exact_splits);
    const int end = (int)((int64_t)n * (split + 1) / a.exact_splits);
    float sum[ROWS][PIECES][4] = {};
    for (int i = threadIdx.x; i < ROWS * DIM; i += TQ_ATTEND_THREADS) {
        const int r = i / DIM;
        const tq_query query = tq_query_of(a, seq, kv_head, row0 + min(r, n_rows - 1), v.n_tokens);
        q[i] = a.scale * tq_read(a.q, a.q_dtype,
                                 query.index * a.q_token_stride + query.head * a.q_head_stride + i % DIM);
    }
    if (threadIdx.x < ROWS) {
        largest[threadIdx.x] = TQ_NOTHING;
        weight[threadIdx.x] = 0;
    }
    __syncthreads();
    for (int first = begin; first < end; first += TQ_EXACT_CHUNK) {
        const int count = min(end - first, (int)TQ_EXACT_CHUNK);
#pragma unroll 2
        for (int i = threadIdx.x / 8; i < TQ_EXACT_CHUNK; i += TQ_ATTEND_THREADS / 8) {
            float dot[ROWS] = {};
            int position = 0;
            if (i < count) {
                const tq_exact_token token = tq_find_exact<DIM>(a, v, seq, kv_head, first + i);
                position = token.position;
#pragma unroll
                for (int piece = lane % 8; piece < DIM / 8; piece += 8) {
                    const uint4 eight = *(const uint4 *)(token.key + 8 * piece);
                    const uint32_t pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
                    for (int p = 0; p < 4; p++) {
                        const float2 k = __half22float2(*(const __half2 *)&pairs[p]);
#pragma unroll
                        for (int r = 0; r < ROWS; r++) {
                            const float2 y = *(const float2 *)(q + r * DIM + 8 * piece + 2 * p);
                            dot[r] += k.x * y.x + k.y * y.y;
                        }
                    }
                }
            }
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                for (int distance = 1; distance < 8; distance *= 2) {
                    dot[r] += __shfl_xor_sync(TQ_WARP, dot[r], distance);
                }
                if (lane % 8 == r && i < count) {
                    const tq_query query = tq_query_of(a, seq, kv_head, row0 + min(r, n_rows - 1), v.n_tokens);
                    const bool seen = position >= query.begin && position < query.end;
                    const float s = a.soft_cap > 0 ? tq_capped(dot[r], a.soft_cap) : dot[r] * TQ_LOG2E;
                    scores[r * TQ_EXACT_CHUNK + i] = seen ? s : -INFINITY;
                }
            }
        }
        __syncthreads();
        for (int r = warp; r < ROWS; r += TQ_ATTEND_WARPS) {
            float *row = scores + r * TQ_EXACT_CHUNK;
            float top = largest[r];
            float total = 0;
            for (int i = lane; i < count; i += 32) {
                top = fmaxf(top, row[i]);
            }
            for (int distance = 16; distance > 0; distance /= 2) {
                top = fmaxf(top, __shfl_xor_sync(TQ_WARP, top, distance));
            }
            for (int i = lane; i < count; i += 32) {
                row[i] = tq_exp2(row[i] - top);
                total += row[i];
            }
            for (int distance = 16; distance > 0; distance /= 2) {
                total += __shfl_xor_sync(TQ_WARP, total, distance);
            }
            if (lane == 0) {
                factor[r] = tq_exp2(largest[r] - top);
                weight[r] = weight[r] * factor[r] + total;
                largest[r] = top;
            }
        }
        __syncthreads();
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            for (int x = 0; x < 4 * PIECES; x++) {
                sum[r][x / 4][x % 4] *= factor[r];
            }
        }
#pragma unroll 4
        for (int i = warp; i < count; i += TQ_ATTEND_WARPS) {
            const tq_exact_token token = tq_find_exact<DIM>(a, v, seq, kv_head, first + i);
#pragma unroll
            for (int piece = 0; piece < PIECES; piece++) {
                const int at = piece * 128 + 4 * lane;
                if (at < DIM) {
                    const uint2 four = *(const uint2 *)(token.key + token.to_value + at);
                    const float2 low = __half22float2(*(const __half2 *)&four.x);
                    const float2 high = __half22float2(*(const __half2 *)&four.y);
#pragma unroll
                    for (int r = 0; r < ROWS; r++) {
                        const float w = scores[r * TQ_EXACT_CHUNK + i];
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
                *(float4 *)(sums + (warp * ROWS + r) * DIM + at) =
                    make_float4(sum[r][piece][0], sum[r][piece][1], sum[r][piece][2], sum[r][piece][3]);
            }
        }
    }
    if (lane == 0) { /* The weights are those of all warps. */
        for (int r = 0; r < ROWS; r++) {
            weights[warp * ROWS + r] = make_float2(largest[r], warp == 0 ? weight[r] : 0.0f);
        }
    }
    __syncthreads();
    tq_write_partials<DIM, ROWS>(a, seq, kv_head, row0, n_rows, split, sums, weights);
}

#endif /* TQ_ATTEND_EXACT_CUDA_H */
