/* SPDX-License-Identifier: MIT
 *
 * Attention over pages of any forms: keys and values of different head_dim, f16 or turbo8 on one side, pages that were
 * demoted beside others. What attend_kernel_cuda.h has no kernel for comes here, and is computed plainly, in f32:
 *
 *     for each stage of 32 tokens:  keys to shared memory; scores and weights, a row to a warp;
 *                                   values to the same memory; sums, a coordinate to a thread
 *
 * Vectors are as they lie in the cache: exact ones in their own domain, encoded ones rotated, with their mean. Queries
 * are at hand in both domains, sums are kept in both, and rotated ones are turned back in the end. Grid (sequences * KV
 * heads, splits, tiles of query rows); all splits write partial sums, for the merge. */
#ifndef TQ_ATTEND_GENERAL_CUDA_H
#define TQ_ATTEND_GENERAL_CUDA_H

#include "kernels/cuda/attend_cuda.h"
#include "kernels/cuda/codes_cuda.h"

enum { TQ_GENERAL_ROWS = 8 };

/* What the threads of a block share; MOST is the larger head_dim. */
template <int MOST> struct tq_general_memory {
    float q[2][TQ_GENERAL_ROWS][MOST]; /* In the domain of exact vectors, and rotated; times the scale of scores. */
    float x[TQ_CUDA_STAGE][MOST + 1];  /* Vectors; in the beginning and the end room for rotations. */
    float levels[256];
    float weights[TQ_GENERAL_ROWS][TQ_CUDA_STAGE];
    float factor[TQ_GENERAL_ROWS];
    const __half *exact[TQ_CUDA_STAGE]; /* Of vectors that are not encoded. */
    __align__(4) uint8_t codes[TQ_CUDA_STAGE][tq_codes_stride(MOST)];
};

/* x = H y in place, by a warp: the butterflies of device_cuda.h for any dim. */
TQ_DEVICE void tq_butterflies_of(float *x, int dim, int m, int lane)
{
    __syncwarp();
    for (int h = m; h < dim; h *= 2) {
        for (int pair = lane; pair < dim / 2; pair += 32) {
            const int i = pair / h * 2 * h + pair % h;
            const float u = x[i];
            const float v = x[i + h];
            x[i] = u + v;
            x[i + h] = u - v;
        }
        __syncwarp();
    }
}

/* to = H D x, or D H^T x / dim, of which a lane may read coordinates lane, lane + 32, ...; x is spoilt. */
TQ_DEVICE void tq_turn(float *x, float *to, int dim, bool back, const tq_cuda_rotation &r, int lane)
{
    const int m = tq_paley_order(dim);
    if (back) {
        tq_butterflies_of(x, dim, m, lane);
    }
    for (int i = lane; i < dim; i += 32) {
        float sum = back ? x[i] : r.signs[i] * x[i];
        if (m > 1) {
            sum = 0;
            for (int l = 0; l < m; l++) {
                const int at = i / m * m + l;
                sum += back ? r.paley[l * m + i % m] * x[at] : r.paley[i % m * m + l] * (r.signs[at] * x[at]);
            }
        }
        to[i] = back ? sum * r.signs[i] * (1.0f / (float)dim) : sum;
    }
    if (!back) {
        tq_butterflies_of(to, dim, m, lane);
    }
}

/* The queries of a tile in both domains, for the warp that weighs their rows. Products of rotated vectors are dim times
 * too large. */
template <int MOST>
TQ_DEVICE void tq_general_queries(const tq_cuda_attend_args &a, tq_general_memory<MOST> &s, int seq, int kv_head,
                                  int row0, int n_rows, int n_tokens)
{
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const float root = sqrtf((float)a.dim_k);
    for (int r = warp; r < n_rows; r += TQ_ATTEND_WARPS) {
        const tq_query query = tq_query_of(a, seq, kv_head, row0 + r, n_tokens);
        const int64_t at = query.index * a.q_token_stride + query.head * a.q_head_stride;
        const int given = a.q_rotated ? 1 : 0;
        float *work = s.x[warp];
        for (int i = lane; i < a.dim_k; i += 32) {
            work[i] = tq_read(a.q, a.q_dtype, at + i) * (a.q_rotated ? root : 1.0f);
            s.q[given][r][i] = work[i];
        }
        __syncwarp();
        if (a.k_rotation.signs != nullptr) { /* Else no key was ever encoded. */
            tq_turn(work, s.q[1 - given][r], a.dim_k, a.q_rotated != 0, a.k_rotation, lane);
        }
        for (int i = lane; i < a.dim_k; i += 32) {
            s.q[0][r][i] *= a.scale;
            s.q[1][r][i] *= a.scale / (float)a.dim_k;
        }
    }
}

template <int FORMAT, int MOST>
TQ_DEVICE void tq_general_take(const uint8_t *words, bool values, int dim, tq_general_memory<MOST> &s)
{
    const int C = tq_cuda_padded(dim) / 32;
    const int lane = threadIdx.x % 32;
    const int k = threadIdx.x / 32;
    if (values) {
        tq_take_codes<FORMAT, true>(words, C, lane, k, s.codes[0], tq_codes_stride(MOST));
    } else {
        tq_take_codes<FORMAT, false>(words, C, lane, k, s.codes[0], tq_codes_stride(MOST));
    }
}

/* Keys or values of tokens first .. first + 31 to s.x; zeros behind the last token. */
template <int MOST>
TQ_DEVICE void tq_general_vectors(const tq_cuda_attend_args &a, const tq_cuda_view &view, tq_general_memory<MOST> &s,
                                  int kv_head, int first, bool values)
{
    const int lane = threadIdx.x % 32;
    const int dim = values ? a.dim_v : a.dim_k;
    const tq_cuda_entry entry = view.table[first / TQ_CUDA_PAGE];
    const int format = values ? entry.v_format : entry.k_format;
    const int stage = first / TQ_CUDA_STAGE % 2;
    const bool encoded = first < view.n_encoded;
    const tq_cuda_side_place place =
        tq_cuda_find_side(entry.k_format, entry.v_format, a.dim_k, a.dim_v, a.k_mean != 0, a.v_mean != 0, values);
    const uint8_t *record = entry.records + (int64_t)kv_head * place.record_bytes;
    const uint8_t *words = record + place.words + stage * place.stage_bytes;
    const bool codes = encoded && format != TQ_CUDA_HALF;
    if (threadIdx.x < TQ_CUDA_STAGE) {
        const int token = first + threadIdx.x;
        const __half *exact = nullptr;
        if (token >= view.n_encoded) {
            exact = (const __half *)entry.exact +
                    tq_cuda_exact_at(TQ_CUDA_PAGE, a.dim_k, a.dim_v, kv_head, values, token % TQ_CUDA_PAGE);
        } else if (token < a.sink_tokens && view.sinks != nullptr) {
            exact =
                (const __half *)view.sinks + tq_cuda_exact_at(a.sink_tokens, a.dim_k, a.dim_v, kv_head, values, token);
        } else if (!codes) {
            exact = (const __half *)words + threadIdx.x * dim;
        }
        s.exact[threadIdx.x] = exact;
    }
    if (codes) {
        const float *levels = a.levels[values][tq_cuda_code_index(format)];
        for (int i = threadIdx.x; i < tq_levels_of(format); i += TQ_ATTEND_THREADS) {
            s.levels[i] = levels[i];
        }
        switch (format) {
#define X(FORMAT)                                                                                                      \
    case FORMAT:                                                                                                       \
        tq_general_take<FORMAT>(words, values, dim, s);                                                                \
        break;
            X(11) X(12) X(13) X(14) X(18) X(32) X(33) X(34)
#undef X
        }
    }
    __syncthreads();
    for (int i = threadIdx.x / 32; i < TQ_CUDA_STAGE; i += TQ_ATTEND_WARPS) {
        const __half *exact = s.exact[i];
        uint16_t scale_bits = TQ_CUDA_UNCENTRED;
        if (exact == nullptr) {
            scale_bits = *(const uint16_t *)(record + place.scales + stage * place.stage_bytes + 2 * i);
        }
        const bool centred = place.mean >= 0 && (scale_bits & TQ_CUDA_UNCENTRED) == 0;
        const float scale = __half2float(__ushort_as_half((uint16_t)(scale_bits & ~TQ_CUDA_UNCENTRED)));
        for (int j = lane; j < dim; j += 32) {
            float x = 0;
            if (exact == nullptr) {
                const float mean = centred ? __half2float(*(const __half *)(record + place.mean + 2 * j)) : 0.0f;
                x = scale * s.levels[tq_level_at(tq_cuda_is_trellis(format), dim, s.codes[i], j)] + mean;
            } else if (first + i < view.n_tokens) {
                x = __half2float(exact[j]);
            }
            s.x[i][j] = x;
        }
    }
    __syncthreads();
}

/* A row as its warp has it: the exponent of its weights, base 2, and their sum. */
struct tq_general_row {
    float top;
    float weight;
};

/* One step of the online softmax: scores of row r, a token to a lane, become weights. */
template <int MOST>
TQ_DEVICE void tq_general_weigh(const tq_cuda_attend_args &a, tq_general_memory<MOST> &s, const tq_query &query, int r,
                                int first, tq_general_row &row)
{
    const int lane = threadIdx.x % 32;
    const float *q = s.q[s.exact[lane] == nullptr ? 1 : 0][r];
    float score = 0;
    for (int j = 0; j < a.dim_k; j++) {
        score += q[j] * s.x[lane][j];
    }
    score = a.soft_cap > 0 ? tq_capped(score, a.soft_cap) : score * TQ_LOG2E;
    score = first + lane >= query.begin && first + lane < query.end ? score : -INFINITY;
    const float top = fmaxf(row.top, tq_warp_max(score));
    const float weight = tq_exp2(score - top);
    const float factor = tq_exp2(row.top - top);
    row.weight = row.weight * factor + tq_warp_sum(weight);
    row.top = top;
    s.weights[r][lane] = weight;
    if (lane == 0) {
        s.factor[r] = factor;
    }
}

template <int MOST> TQ_DEVICE void tq_attend_general_block(const tq_cuda_attend_args &a)
{
    constexpr int ROWS = TQ_GENERAL_ROWS;
    constexpr int PIECES = (MOST + TQ_ATTEND_THREADS - 1) / TQ_ATTEND_THREADS;
    constexpr int OWN = ROWS / TQ_ATTEND_WARPS; /* Rows of a warp: warp, warp + 4. */
    TQ_DYNAMIC_SHARED(shared);
    tq_general_memory<MOST> &s = *(tq_general_memory<MOST> *)shared;
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    const int seq = blockIdx.x / a.n_kv_heads;
    const int kv_head = blockIdx.x % a.n_kv_heads;
    const int row0 = blockIdx.z * ROWS;
    const int n_rows = min(a.n_q_tokens * a.group - row0, ROWS);
    const tq_cuda_view &view = a.views[seq];
    const int low = tq_view_of(a, seq).first / TQ_CUDA_STAGE;
    const int count = (view.n_tokens + TQ_CUDA_STAGE - 1) / TQ_CUDA_STAGE - low;
    const int begin = low + (int)((int64_t)count * blockIdx.y / a.exact_splits);
    const int end = low + (int)((int64_t)count * (blockIdx.y + 1) / a.exact_splits);
    float sums[2][ROWS][PIECES] = {}; /* Of exact values, of rotated ones: coordinates threadIdx.x, + 128. */
    tq_general_row rows[OWN];
    for (int i = 0; i < OWN; i++) {
        rows[i] = {TQ_NOTHING, 0};
    }
    tq_let_next_begin();
    tq_general_queries<MOST>(a, s, seq, kv_head, row0, n_rows, view.n_tokens);
    for (int stage = begin; stage < end; stage++) {
        const int first = stage * TQ_CUDA_STAGE;
        tq_general_vectors<MOST>(a, view, s, kv_head, first, false);
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            const int r = warp + i * TQ_ATTEND_WARPS;
            if (r < n_rows) {
                const tq_query query = tq_query_of(a, seq, kv_head, row0 + r, view.n_tokens);
                tq_general_weigh<MOST>(a, s, query, r, first, rows[i]);
            }
        }
        __syncthreads();
        tq_general_vectors<MOST>(a, view, s, kv_head, first, true);
#pragma unroll
        for (int piece = 0; piece < PIECES; piece++) {
            const int j = threadIdx.x + piece * TQ_ATTEND_THREADS;
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                const float factor = r < n_rows ? s.factor[r] : 0.0f;
                sums[0][r][piece] *= factor;
                sums[1][r][piece] *= factor;
            }
            for (int i = 0; j < a.dim_v && i < TQ_CUDA_STAGE; i++) {
                const float x = s.x[i][j];
                const bool encoded = s.exact[i] == nullptr;
#pragma unroll
                for (int r = 0; r < ROWS; r++) {
                    const float w = (r < n_rows ? s.weights[r][i] : 0.0f) * x;
                    sums[0][r][piece] += encoded ? 0.0f : w;
                    sums[1][r][piece] += encoded ? w : 0.0f;
                }
            }
        }
        __syncthreads();
    }

    /* Rows of s.x: 8 of exact sums, 8 of rotated ones, 8 of those turned back. */
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int piece = 0; piece < PIECES; piece++) {
            const int j = threadIdx.x + piece * TQ_ATTEND_THREADS;
            if (j < a.dim_v) {
                s.x[r][j] = sums[0][r][piece];
                s.x[ROWS + r][j] = sums[1][r][piece];
            }
        }
    }
    __syncthreads();
    const tq_partials partials(a);
#pragma unroll
    for (int i = 0; i < OWN; i++) {
        const int r = warp + i * TQ_ATTEND_WARPS;
        if (r < n_rows) {
            const int64_t slot = partials.slot(a, seq, kv_head, row0 + r, blockIdx.y);
            const bool turn = a.v_rotation.signs != nullptr; /* Else no value was ever encoded. */
            if (turn) {
                tq_turn(s.x[ROWS + r], s.x[2 * ROWS + r], a.dim_v, true, a.v_rotation, lane);
            }
            for (int j = lane; j < a.dim_v; j += 32) {
                partials.sums[slot * a.dim_v + j] = s.x[r][j] + (turn ? s.x[2 * ROWS + r][j] : 0.0f);
            }
            if (lane == 0) {
                partials.weights[slot] = make_float2(rows[i].top, rows[i].weight);
            }
        }
    }
}

#endif /* TQ_ATTEND_GENERAL_CUDA_H */
