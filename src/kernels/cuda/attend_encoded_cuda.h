/* SPDX-License-Identifier: MIT
 *
 * Decode attention over encoded pages. For each query row and each token it sees,
 *
 *     s = cap((<q', key scale * levels> + centred <q', key mean>) scale / d)       q' the rotated query
 *     weight += exp(s);  sum += exp(s) (value scale * levels + centred value mean)
 *
 * in integers on tensor cores (mma.m16n8k32, signed bytes). A warp goes through records by itself, one stage of 32
 * tokens after the other, from its own ring of buffers; layout_cuda.h says how words lie, lookup_cuda.h how they become
 * bytes.
 *
 *     scores   A = queries, 16 bits fixed point: rows 0-7 the high bytes, rows 8-15 the low ones. B = keys.
 *     sums     A = values, coordinates by tokens. B = weights times value scales, 16 bits fixed point, high and low
 *              bytes in different columns: with four rows (TILES = 1) side by side in the eight columns of one
 *              product, and rows 4-7 of the scores repeat 0-3 so that each lane has both; with eight rows two products.
 *
 * The accumulators of the first product are where the second one wants its operand: nothing is exchanged between lanes.
 * Weights are relative to 2^E, E an integer per row and warp, chosen so that they fit 16 bits; when one does not, E
 * grows and sums are shifted, which happens a few times in a long sequence. Sums stay in int32 for a whole split. */
#ifndef TQ_ATTEND_ENCODED_CUDA_H
#define TQ_ATTEND_ENCODED_CUDA_H

#include "kernels/cuda/attend_shape_cuda.h"

/* Integers below 2^22 that start here are floats that much above 1.5 * 2^23: no conversion. */
constexpr int TQ_INTEGER_ZERO = 0x4B400000;
constexpr float TQ_FLOAT_ZERO = 12582912.0f;

/* What the query of one row is multiplied by, beside its fragments. */
struct tq_row_scales {
    float score; /* Of integer products: to scores. */
    float mean;  /* Of products with means. */
    float zero;  /* TQ_FLOAT_ZERO less half the sum of the integers: levels are v + 1/2. */
};

/* Moves E up by `by` binary digits; together the two are 256 high + low. */
TQ_DEVICE void tq_shift_pair(int &high, int &low, int by)
{
    if (by > 22) { /* Nothing is left. */
        high = low = 0;
        return;
    }
    const int kept = high >> by;
    low = (low + ((high - (kept << by)) << 8)) >> by;
    high = kept;
}

template <int K, int V, int DIM, int TILES> struct tq_attend_warp {
    using shape = tq_attend_shape<K, V, DIM, TILES>;
    static constexpr int C = shape::C;
    static constexpr int ROWS = shape::ROWS;

    const tq_cuda_attend_args &a;
    const uint4 *query;      /* Fragments: [planes][C][lane]. */
    const uint4 *mean_query; /* [DIM / 16][lane], f16. */
    float *sums;             /* [ROWS][DIM] of this warp: means of values, in the end everything. */
    int lane, g, h;
    tq_row_scales scales; /* Of row g. */
    int begin, end;       /* Tokens that row g sees encoded. */
    int acc[TILES][2 * C][4];
    float top;          /* E */
    float weight;       /* Of row g, this lane's tokens. */
    float centred;      /* Of tokens of the page whose value mean was taken off. */
    float total[TILES]; /* Of weights times value scales, as integers, as one column of the second product. */
    float mean_score;   /* Of the page. */

    TQ_DEVICE tq_attend_warp(const tq_cuda_attend_args &args) : a(args)
    {
    }

    TQ_DEVICE void clear()
    {
        top = TQ_NOTHING;
        weight = centred = mean_score = 0;
#pragma unroll
        for (int t = 0; t < TILES; t++) {
            total[t] = 0;
#pragma unroll
            for (int i = 0; i < 8 * C; i++) {
                acc[t][i / 4][i % 4] = 0;
            }
        }
    }

    /* <q', mean of the page's keys>, for row g. */
    TQ_DEVICE void score_mean(const uint8_t *mean)
    {
        float d[4] = {};
#pragma unroll
        for (int s = 0; s < DIM / 16; s++) {
            const uint2 four = *(const uint2 *)(mean + 2 * (h * (DIM / 4) + 4 * s));
            tq_mma_f16(d, mean_query[s * 32 + lane], four.x, four.y);
        }
        mean_score = (d[0] + d[2]) * scales.mean; /* All columns are the same. */
    }

    /* score[2k + e] of token 8k + 2h + e and row g, base 2. */
    TQ_DEVICE void score_keys(const uint8_t *stage, float *score)
    {
        constexpr int N = C * tq_cuda_bits(K);
        uint32_t w[tq_whole_fours(N)], x[6 + C];
        int products[4][4];
        tq_load_words<N>(stage, lane, w);
        if (tq_cuda_is_trellis(K)) {
            uint32_t before[tq_whole_fours(C)];
            tq_load_words<N, C>(stage, tq_cuda_lane_before(false, lane), before);
            tq_cuda_delay<false, C>(w, before, x);
        }
#pragma unroll
        for (int k = 0; k < 4; k++) {
            products[k][0] = products[k][1] = products[k][2] = products[k][3] = TQ_INTEGER_ZERO;
        }
#pragma unroll
        for (int c = 0; c < C; c++) {
            uint32_t select[4];
            tq_cuda_selectors<K, C>(w, x, c, select);
#pragma unroll
            for (int plane = 0; plane < shape::PLANES; plane++) {
                const uint4 q = query[(plane * C + c) * 32 + lane];
#pragma unroll
                for (int k = 0; k < 4; k++) {
                    uint32_t r[4];
                    tq_cuda_bytes<K, C>(a.k_table, w, c, k, plane, select[k], r);
                    tq_mma_s8s8(products[k], q, r[0], r[1]);
                    if (tq_cuda_pairs(K) == 2) {
                        tq_mma_s8s8(products[k], q, r[2], r[3]);
                    }
                }
            }
        }
        float key_scale[8];
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const float2 two = __half22float2(*(const __half2 *)(stage + shape::RECORD.k_scales + 2 * (8 * k + 2 * h)));
            key_scale[2 * k] = two.x;
            key_scale[2 * k + 1] = two.y;
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const float high = __int_as_float(products[k][e]) - TQ_FLOAT_ZERO;
                const float low = __int_as_float(products[k][2 + e]) - scales.zero;
                score[2 * k + e] = (high * 256.0f + low) * (fabsf(key_scale[2 * k + e]) * scales.score);
            }
        }
        if (a.k_mean) {
            asm volatile("" ::: "memory"); /* A branch: predicates would cost as much without means. */
#pragma unroll
            for (int i = 0; i < 8; i++) {
                score[i] += __float_as_int(key_scale[i]) < 0 ? 0.0f : mean_score;
            }
        }
        if (a.soft_cap > 0) {
#pragma unroll
            for (int i = 0; i < 8; i++) {
                score[i] = tq_capped(score[i], a.soft_cap);
            }
        }
    }

    TQ_DEVICE void mask(int first_token, float *score)
    {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const int token = first_token + 8 * (i / 2) + 2 * h + i % 2;
            score[i] = token < begin || token >= end ? -INFINITY : score[i];
        }
    }

    /* Makes room in the 16 bits: `value_scale` and `score` are those of the stage at hand. */
    TQ_DEVICE void raise(const float *score, const float *value_scale)
    {
        float largest = TQ_NOTHING;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            largest = fmaxf(largest, score[i] + __log2f(fmaxf(value_scale[i], 0x1p-24f))); /* A scale may be 0. */
        }
        largest = fmaxf(largest, __shfl_xor_sync(TQ_WARP, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(TQ_WARP, largest, 2));
        const float raised = fmaxf(top, ceilf(largest) - 15.0f);
        if (!__any_sync(TQ_WARP, top > TQ_NOTHING)) { /* Nothing was added yet. */
            top = raised;
            return;
        }
        const float factor = tq_exp2(top - raised);
        const int by = (int)fminf(raised - top, 31.0f);
        top = raised;
        weight *= factor;
        centred *= factor;
#pragma unroll
        for (int t = 0; t < TILES; t++) {
            total[t] *= factor;
        }
        /* Columns 2h and 2h + 1 of the sums are rows of other lanes. */
        const int column_row = TILES == 1 ? 2 * h % 4 : 2 * h;
        const int by0 = __shfl_sync(TQ_WARP, by, 4 * column_row);
        const int by1 = __shfl_sync(TQ_WARP, by, 4 * column_row + 4);
#pragma unroll
        for (int i = 0; i < 2 * C; i++) {
#pragma unroll
            for (int x = 0; x < 4; x++) {
                if (TILES == 2) {
                    tq_shift_pair(acc[0][i][x], acc[TILES - 1][i][x], x % 2 ? by1 : by0);
                } else { /* High bytes are in the lanes with h < 2, low ones in the others. */
                    int high = acc[0][i][x];
                    int low = __shfl_xor_sync(TQ_WARP, high, 2);
                    if (h >= 2) {
                        const int own = high;
                        high = low;
                        low = own;
                    }
                    tq_shift_pair(high, low, x % 2 ? by1 : by0);
                    acc[0][i][x] = h < 2 ? high : low;
                }
            }
        }
        if (a.v_mean) {
            for (int r = 0; r < ROWS; r++) {
                const float f = __shfl_sync(TQ_WARP, factor, 4 * r);
                for (int i = lane; f != 1 && i < DIM; i += 32) {
                    sums[r * DIM + i] *= f;
                }
            }
            __syncwarp(); /* add_mean gives them to other lanes. */
        }
    }

    /* Weights relative to 2^E, and their products with value scales as integers behind 2^23. */
    TQ_DEVICE void weigh(const float *score, const float *value_scale, float *p, uint32_t *fixed) const
    {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            p[i] = tq_exp2(score[i] - top);
            fixed[i] = __float_as_uint(p[i] * value_scale[i] + 8388608.0f);
        }
    }

    /* The second operand of the second product, and its sum. */
    TQ_DEVICE void pack_weights(const uint32_t *fixed, uint32_t (*b)[2])
    {
#pragma unroll
        for (int t = 0; t < TILES; t++) {
            const uint32_t high_bytes = TILES == 2 ? t == 0 : g < 4;
            const uint32_t select = high_bytes ? 0x51 : 0x40;
#pragma unroll
            for (int x = 0; x < 2; x++) {
                const uint32_t *f = fixed + 4 * x;
                b[t][x] = __byte_perm(__byte_perm(f[0], f[1], select), __byte_perm(f[2], f[3], select), 0x5410);
            }
            total[t] += (float)__dp4a(b[t][0], 0x01010101U, __dp4a(b[t][1], 0x01010101U, 0U));
        }
    }

    TQ_DEVICE void add_values(const uint8_t *stage, float *score)
    {
        constexpr int PLANES = tq_cuda_planes(V);
        constexpr int N = C * tq_cuda_bits(V);
        uint32_t fixed[8], uncentred[4];
        float value_scale[8], p[8];
        const uint8_t *scale_bytes = stage + shape::RECORD.v_scales;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uncentred[k] = *(const uint32_t *)(scale_bytes + 2 * (8 * k + 2 * h));
            const float2 two = __half22float2(*(const __half2 *)&uncentred[k]);
            value_scale[2 * k] = fabsf(two.x);
            value_scale[2 * k + 1] = fabsf(two.y);
        }
        weigh(score, value_scale, p, fixed);
        /* 2^23 and more in front of what 16 bits hold: the product is rounded, and any that is too large shows. */
        const uint32_t any =
            (fixed[0] | fixed[1] | fixed[2]) | (fixed[3] | fixed[4] | fixed[5]) | (fixed[6] | fixed[7]);
        if (__any_sync(TQ_WARP, any >= 0x4B010000U || weight > 1e30f)) {
            raise(score, value_scale);
            weigh(score, value_scale, p, fixed);
        }
#pragma unroll
        for (int i = 0; i < 8; i++) {
            weight += p[i];
        }
        if (a.v_mean) {
#pragma unroll
            for (int k = 0; k < 4; k++) {
                centred += (uncentred[k] & 0x8000U) != 0 ? 0.0f : p[2 * k];
                centred += (int)uncentred[k] < 0 ? 0.0f : p[2 * k + 1];
            }
        }
        uint32_t b[PLANES][TILES][2];
#pragma unroll
        for (int plane = 0; plane < PLANES; plane++) {
            if (plane == 1) {
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    fixed[i] = __float_as_uint(p[i] * (value_scale[i] * (1.0f / TQ_CUDA_FINE)) + 8388608.0f);
                }
            }
            pack_weights(fixed, b[plane]);
        }
        uint32_t w[tq_whole_fours(N)], x[6 + C];
        const uint8_t *words = stage + shape::RECORD.v_words;
        tq_load_words<N>(words, lane, w);
        if (tq_cuda_is_trellis(V)) {
            uint32_t before[tq_whole_fours(C)];
            tq_load_words<N, C>(words, tq_cuda_lane_before(true, lane), before);
            tq_cuda_delay<true, C>(w, before, x);
        }
#pragma unroll
        for (int c = 0; c < C; c++) {
            uint32_t select[4];
            tq_cuda_selectors<V, C>(w, x, c, select);
#pragma unroll
            for (int k = 0; k < 4 * PLANES; k += 2) {
                const int plane = k / 4;
                uint32_t r[4], s[4];
                tq_cuda_bytes<V, C>(a.v_table, w, c, k % 4, plane, select[k % 4], r);
                tq_cuda_bytes<V, C>(a.v_table, w, c, k % 4 + 1, plane, select[k % 4 + 1], s);
#pragma unroll
                for (int t = 0; t < TILES; t++) {
                    int *sum = acc[t][2 * c + k % 4 / 2];
                    tq_mma_s8u8(sum, r[0], s[0], r[1], s[1], b[plane][t][0], b[plane][t][1]);
                    if (tq_cuda_pairs(V) == 2) {
                        tq_mma_s8u8(sum, r[2], s[2], r[3], s[3], b[plane][t][0], b[plane][t][1]);
                    }
                }
            }
        }
    }

    /* sums += centred weights * mean of the page's values. */
    TQ_DEVICE void add_mean(const uint8_t *mean)
    {
        centred += __shfl_xor_sync(TQ_WARP, centred, 1);
        centred += __shfl_xor_sync(TQ_WARP, centred, 2);
        float w[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            w[r] = __shfl_sync(TQ_WARP, centred, 4 * r);
        }
#pragma unroll
        for (int i = 4 * lane; i < DIM; i += 128) {
            const uint2 four = *(const uint2 *)(mean + 2 * i);
            const float2 low = __half22float2(*(const __half2 *)&four.x);
            const float2 high = __half22float2(*(const __half2 *)&four.y);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                float4 *sum = (float4 *)(sums + r * DIM + i);
                float4 s = *sum;
                s.x += w[r] * low.x;
                s.y += w[r] * low.y;
                s.z += w[r] * high.x;
                s.w += w[r] * high.y;
                *sum = s;
            }
        }
        centred = 0;
    }

    /* Adds the integers to `sums`, which without means held nothing; returns E and the weight of row g, in lanes with h
     * = 0. */
    TQ_DEVICE float2 finish()
    {
        weight += __shfl_xor_sync(TQ_WARP, weight, 1);
        weight += __shfl_xor_sync(TQ_WARP, weight, 2);
#pragma unroll
        for (int t = 0; t < TILES; t++) {
            total[t] += __shfl_xor_sync(TQ_WARP, total[t], 1);
            total[t] += __shfl_xor_sync(TQ_WARP, total[t], 2);
        }
        const float other = TILES == 2 ? total[TILES - 1] : __shfl_xor_sync(TQ_WARP, total[0], 16);
        const float half = 0.5f * (total[0] * 256.0f + other); /* Of row g, where it is below ROWS. */
        const int row = TILES == 1 ? 2 * h % 4 : 2 * h;
        const float half0 = __shfl_sync(TQ_WARP, half, 4 * row);
        const float half1 = __shfl_sync(TQ_WARP, half, 4 * row + 4);
        __syncwarp();
#pragma unroll
        for (int i = 0; i < 2 * C; i++) {
#pragma unroll
            for (int x = 0; x < 4; x++) {
                const int low = TILES == 2 ? acc[TILES - 1][i][x] : __shfl_xor_sync(TQ_WARP, acc[0][i][x], 2);
                const int coordinate = 4 * C * g + C * (2 * (i % 2) + x / 2) + i / 2;
                if ((TILES == 2 || h < 2) && coordinate < DIM) {
                    float *sum = sums + (row + x % 2) * DIM + coordinate;
                    *sum = ((float)acc[0][i][x] * 256.0f + (float)low + (x % 2 ? half1 : half0)) * a.v_table.step +
                           (a.v_mean ? *sum : 0.0f);
                }
            }
        }
        return make_float2(top, weight);
    }
};

#endif /* TQ_ATTEND_ENCODED_CUDA_H */
