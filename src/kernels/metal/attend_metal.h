/* SPDX-License-Identifier: MIT
 *
 * Attention of one simdgroup over blocks of 64 tokens, with the online softmax (arXiv:1805.02867), for the four query
 * rows that are the components of float4s. Thread k has the scores of tokens 2k and 2k + 1; the weights go through
 * threadgroup memory; then it adds values of one chunk of coordinates of every (32 / width)th token. */
#ifndef TQ_ATTEND_METAL_H
#define TQ_ATTEND_METAL_H

#include "kernels/metal/levels_metal.h"

constant float TQ_NOTHING = -1e30f; /* The largest score of no token; an infinity would need care. */

/* Of one simdgroup: relative to exp(top), the weights of the thread's tokens, and sums of its values. */
struct tq_running {
    float4 top;
    float4 weight;
    float4 sums[TQ_METAL_CHUNK];
};

struct tq_simd_shared {
    float4 weights[TQ_METAL_PAGE]; /* Of a block's tokens, times the scales of their values. */
    float4 top;
    float4 weight;
};

struct tq_attend_shared {
    float4 q[TQ_METAL_MAX_DIM];
    float4 sums[TQ_METAL_MAX_DIM];
    float k_levels[256];
    float v_levels[256];
    tq_simd_shared simd[TQ_ATTEND_SIMDS];
};
static_assert(sizeof(tq_attend_shared) == TQ_ATTEND_SHARED, "args_metal.h says how much");

/* Threads side by side that share the values of a token: a power of two, and as many as there are chunks or more. */
inline uint tq_value_width()
{
    return tq_dim <= 32 ? 2 : tq_dim <= 64 ? 4 : tq_dim <= 128 ? 8 : 16;
}

inline void tq_begin(thread tq_running &r)
{
    r.top = float4(TQ_NOTHING);
    r.weight = float4(0.0f);
    for (int i = 0; i < TQ_METAL_CHUNK; i++) {
        r.sums[i] = float4(0.0f);
    }
}

/* A score as the softmax sees it. */
inline float4 tq_capped(float4 score, float cap)
{
    return cap > 0 ? tanh(score / cap) * cap : score;
}

/* Takes the scores of the thread's two tokens; leaves their weights, exp(score - top), in the scores' place. */
inline void tq_soften(thread tq_running &r, thread float4 *scores)
{
    const float4 top = max(r.top, simd_max(max(scores[0], scores[1])));
    const float4 factor = exp(r.top - top);
    r.top = top;
    scores[0] = exp(scores[0] - top);
    scores[1] = exp(scores[1] - top);
    r.weight = r.weight * factor + scores[0] + scores[1];
    for (int i = 0; i < TQ_METAL_CHUNK; i++) {
        r.sums[i] = r.sums[i] * factor;
    }
}

inline void tq_add_values(thread tq_running &r, float4 weight, thread const float *values)
{
    for (int i = 0; i < TQ_METAL_CHUNK; i++) {
        r.sums[i] += weight * values[i];
    }
}

/* Adds up what the simdgroups have, and writes it as partial sums: for each of n rows, `stride` floats apart, dim sums,
 * the largest score and the weight. All threads of the threadgroup come here. */
inline void tq_write_partials(thread tq_running &r, threadgroup tq_attend_shared *shared, uint index, uint n,
                              uint stride, device float *partials)
{
    const uint simd = index / TQ_METAL_SIMD;
    const uint lane = index % TQ_METAL_SIMD;
    const uint chunk = lane % tq_value_width();
    for (ushort distance = 16; distance >= tq_value_width(); distance /= 2) {
        for (int i = 0; i < TQ_METAL_CHUNK; i++) {
            r.sums[i] += simd_shuffle_xor(r.sums[i], distance);
        }
    }
    const float4 weight = simd_sum(r.weight);
    if (lane == 0) {
        shared->simd[simd].top = r.top;
        shared->simd[simd].weight = weight;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float4 top = shared->simd[0].top;
    for (int s = 1; s < TQ_ATTEND_SIMDS; s++) {
        top = max(top, shared->simd[s].top);
    }
    float4 total = float4(0.0f);
    for (uint s = 0; s < TQ_ATTEND_SIMDS; s++) {
        total += shared->simd[s].weight * exp(shared->simd[s].top - top);
        if (s == simd && lane < uint(tq_dim / TQ_METAL_CHUNK)) { /* These threads have whole sums now. */
            for (int i = 0; i < TQ_METAL_CHUNK; i++) {
                const uint j = chunk * TQ_METAL_CHUNK + uint(i);
                const float4 sum = r.sums[i] * exp(r.top - top);
                shared->sums[j] = s == 0 ? sum : shared->sums[j] + sum;
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    for (uint i = 0; i < n; i++) {
        for (uint j = index; j < uint(tq_dim); j += TQ_ATTEND_THREADS) {
            partials[i * stride + j] = shared->sums[j][i];
        }
        if (index == 0) {
            partials[i * stride + uint(tq_dim)] = top[i];
            partials[i * stride + uint(tq_dim) + 1] = total[i];
        }
    }
}

#endif /* TQ_ATTEND_METAL_H */
