/* SPDX-License-Identifier: MIT
 *
 * The attention kernel: grid (sequences * KV heads, exact splits + splits, tiles of query rows). A block of the first
 * splits takes exact tokens, one of the others encoded pages, its four warps every fourth page each. */
#ifndef TQ_ATTEND_KERNEL_CUDA_H
#define TQ_ATTEND_KERNEL_CUDA_H

#include "kernels/cuda/attend_encoded_cuda.h"

/* Rotates the query of row r (absent: zeros), rounds it to 16 bits and puts its bytes, and its halves for means, where
 * the fragments of a lane expect them. `work` is room for two vectors. */
template <int K, int V, int DIM, int TILES>
TQ_DEVICE void tq_prepare_query(const tq_cuda_attend_args &a, const tq_query &query, bool present, int r, float *work,
                                uint8_t *shared, tq_row_scales *scales, int lane)
{
    using shape = tq_attend_shape<K, V, DIM, TILES>;
    constexpr int C = shape::C;
    constexpr int WIDTH = 8 * C; /* Coordinates of a lane. */
    uint8_t *bytes = shared + shape::QUERY_AT;
    __half *halves = (__half *)(shared + shape::MEAN_QUERY_AT);
    const float to_domain = a.q_rotated ? sqrtf((float)DIM) : 1.0f;
    float *y = work;
    float largest = 0;
    int sum = 0;
    for (int i = lane; i < DIM; i += 32) {
        const int64_t at = query.index * a.q_token_stride + query.head * a.q_head_stride + i;
        y[i] = present ? to_domain * tq_read(a.q, a.q_dtype, at) : 0.0f;
    }
    __syncwarp();
    if (!a.q_rotated) {
        y = tq_rotate_warp<DIM>(work, work + DIM, a.k_rotation.signs, a.k_rotation.paley, lane);
    }
    for (int i = lane; i < DIM; i += 32) {
        largest = fmaxf(largest, fabsf(y[i]));
    }
    largest = tq_warp_max(largest);
    const float to_int = largest > 0 ? 32512.0f / largest : 0.0f; /* High bytes up to 127. */
    const float to_one = largest > 0 ? 1.0f / largest : 0.0f;
    for (int i = lane; i < 32 * C * shape::PLANES; i += 32) {
        const int j = i % (32 * C); /* Coordinate. */
        const int plane = i / (32 * C);
        const int x = j < DIM ? __float2int_rn(y[j] * (plane == 0 ? to_int : to_int / TQ_CUDA_FINE)) : 0;
        const int high = (x + 128) >> 8;
        const int nibble = j % WIDTH / C;
        const int fragment = plane * C + j % C;
        sum += x;
        for (int copy = r; copy < 8; copy += shape::ROWS) { /* Rows 4-7 repeat 0-3 if there are no more than four. */
            uint8_t *word = bytes + (fragment * 32 + 4 * copy + j / WIDTH) * 16 + nibble / 4 * 8 + nibble % 4;
            word[0] = (uint8_t)high;
            word[4] = (uint8_t)(x - high * 256);
        }
    }
    for (int i = lane; a.k_mean && i < DIM; i += 32) {
        const float one = y[i] * to_one;
        const __half high = __float2half_rn(one);
        const int within = i % (DIM / 4);
        for (int copy = r; copy < 8; copy += shape::ROWS) {
            __half *word =
                halves + ((within / 4) * 32 + 4 * copy + i / (DIM / 4)) * 8 + within % 4 / 2 * 4 + within % 2;
            word[0] = high;
            word[2] = __float2half_rn(one - __half2float(high));
        }
    }
    sum = tq_warp_sum(sum);
    const float unit = a.scale / DIM * (a.soft_cap > 0 ? 1.0f : TQ_LOG2E);
    if (lane == 0) {
        for (int copy = r; copy < 8; copy += shape::ROWS) {
            scales[copy].score = largest / 32512.0f * a.k_table.step * unit;
            scales[copy].mean = largest * unit;
            scales[copy].zero = TQ_FLOAT_ZERO - (float)(sum >> 1);
        }
    }
    __syncwarp();
}

template <int K, int V, int DIM, int TILES> TQ_DEVICE void tq_attend_block(const tq_cuda_attend_args &a)
{
    using shape = tq_attend_shape<K, V, DIM, TILES>;
    constexpr int ROWS = shape::ROWS;
    constexpr int STAGES = shape::STAGES;
    constexpr int PAGES_AHEAD = STAGES / 2;
    TQ_DYNAMIC_SHARED(shared);
    __shared__ tq_row_scales scales[8];
    __shared__ float2 weights[TQ_ATTEND_WARPS * ROWS];
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    const int seq = blockIdx.x / a.n_kv_heads;
    const int kv_head = blockIdx.x % a.n_kv_heads;
    const int row0 = blockIdx.z * ROWS;
    const int n_rows = min(a.n_q_tokens * a.group - row0, ROWS);
    const tq_view view = tq_view_of(a, seq);
    tq_let_next_begin(); /* The merge may wait for us on the device. */
    if ((int)blockIdx.y < a.exact_splits) {
        tq_attend_exact<DIM, ROWS>(a, view, seq, kv_head, row0, n_rows, blockIdx.y, shared);
        return;
    }
    const int split = blockIdx.y - a.exact_splits;
    const int first = view.first_page + split * view.per_split;
    const int last = min(first + view.per_split, view.end_page);
    if (first >= last) {
        return;
    }

    /* Pages first + warp, + 4, ...; two stages each. Their places are read 32 pages ahead, one to a lane. */
    const int n_pages = (last - first - warp + TQ_ATTEND_WARPS - 1) / TQ_ATTEND_WARPS;
    const tq_cuda_record record = tq_cuda_record_of(K, V, DIM, DIM, a.k_mean, a.v_mean);
    const tq_cuda_entry *table = a.views[seq].table + first + warp;
    uint8_t *buffers = shared + warp * STAGES * shape::ROOM;
    uint64_t places = 0;
    tq_ring<STAGES> ring;
    ring.init(buffers, (uint64_t *)(shared + shape::BARRIERS_AT) + warp * STAGES, shape::ROOM, lane);
    const auto find = [&](int page) {
        if (page % 32 == 0) {
            places = page + lane < n_pages ? (uint64_t)table[TQ_ATTEND_WARPS * (page + lane)].records : 0;
        }
        return (const uint8_t *)__shfl_sync(TQ_WARP, places, page % 32) + kv_head * record.bytes;
    };
#pragma unroll
    for (int page = 0; page < PAGES_AHEAD; page++) {
        const uint8_t *from = find(page);
        ring.fetch(2 * page, from, page < n_pages ? record.stage_bytes[0] : 0);
        ring.fetch(2 * page + 1, from + record.stage_bytes[0], page < n_pages ? record.stage_bytes[1] : 0);
    }

    tq_attend_warp<K, V, DIM, TILES> work(a);
    float *sums = (float *)(shared + shape::SUMS_AT) + warp * ROWS * DIM;
    for (int r = warp; r < ROWS; r += TQ_ATTEND_WARPS) {
        const tq_query query = tq_query_of(a, seq, kv_head, row0 + min(r, n_rows - 1), view.n_tokens);
        tq_prepare_query<K, V, DIM, TILES>(a, query, r < n_rows, r, sums, shared, scales, lane);
    }
    for (int i = 4 * lane; a.v_mean && i < ROWS * DIM; i += 128) {
        *(float4 *)(sums + i) = make_float4(0, 0, 0, 0);
    }
    __syncthreads();
    work.query = (const uint4 *)(shared + shape::QUERY_AT);
    work.mean_query = (const uint4 *)(shared + shape::MEAN_QUERY_AT);
    work.sums = sums;
    work.lane = lane;
    work.g = lane / 4;
    work.h = lane % 4;
    work.scales = scales[work.g];
    const int row = row0 + min(work.g % ROWS, n_rows - 1);
    work.begin =
        max(tq_query_of(a, seq, kv_head, row, view.n_tokens).begin, a.views[seq].sinks != nullptr ? a.sink_tokens : 0);
    work.end = view.n_encoded;
    work.clear();

    const int always_seen = max(view.first + a.n_q_tokens, a.views[seq].sinks != nullptr ? a.sink_tokens : 0);
    for (int page = 0; page < n_pages; page++) {
        const uint8_t *next = find(page + PAGES_AHEAD);
        const int first_stage = 2 * (page % PAGES_AHEAD);
        const uint32_t phase = page / PAGES_AHEAD % 2;
        const int token = (first + warp + page * TQ_ATTEND_WARPS) * TQ_CUDA_PAGE;
        const bool masked = token < always_seen || token + TQ_CUDA_PAGE > view.n_encoded;
#pragma unroll 1
        for (int half = 0; half < 2; half++) {
            const uint8_t *bytes = buffers + (first_stage + half) * shape::ROOM;
            ring.wait(first_stage + half, phase);
            if (!a.only_loads) {
                float score[8];
                if (a.k_mean && half == 0) {
                    work.score_mean(bytes + shape::RECORD.mean);
                }
                work.score_keys(bytes, score);
                if (masked) {
                    work.mask(token + half * TQ_CUDA_STAGE, score);
                }
                work.add_values(bytes, score);
                if (a.v_mean && half == 1) {
                    work.add_mean(bytes + shape::RECORD.mean);
                }
            }
            __syncwarp();
            ring.fetch(first_stage + half, half == 0 ? next : next + record.stage_bytes[0],
                       page + PAGES_AHEAD >= n_pages ? 0
                       : half == 0                   ? record.stage_bytes[0]
                                                     : record.stage_bytes[1]);
        }
    }
    const float2 weight = work.finish();
    if (work.h == 0 && work.g < ROWS) {
        weights[warp * ROWS + work.g] = weight;
    }
    __syncthreads();
    tq_write_partials<DIM, ROWS>(a, seq, kv_head, row0, n_rows, split + a.exact_splits,
                                 (const float *)(shared + shape::SUMS_AT), weights);
}

#endif /* TQ_ATTEND_KERNEL_CUDA_H */
