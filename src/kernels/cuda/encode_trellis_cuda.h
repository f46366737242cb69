/* SPDX-License-Identifier: MIT
 *
 * Rows of the trellis formats, byte for byte as src/kernels/scalar/trellis_encode_scalar.c makes them; the
 * Viterbi algorithm in integers, one warp to a vector.
 *
 * Lane L holds the metrics of states 2L and 2L + 1. Both come from states L and L + 32, which lanes L / 2 and
 * 16 + L / 2 hold: two exchanges of a word with two metrics. Of the four branches into a lane's states two have one
 * subset and two the other, since the taps of s0 leave out the newest and the oldest bit and those of s1 have both:
 *
 *     2L     from L: cost a, from L + 32: cost b          2L + 1     from L: cost b, from L + 32: cost a
 *
 * Decisions are two ballots a step, even states and odd ones, in shared memory. The costs of all coordinates are
 * computed before, a coordinate to a lane. Read and rotated are four vectors at once, as in encode_cuda.h. */
#ifndef TQ_ENCODE_TRELLIS_CUDA_H
#define TQ_ENCODE_TRELLIS_CUDA_H

#include "kernels/cuda/encode_cuda.h"

enum { TQ_WINDOW = 40, TQ_NORMALISE_EVERY = 32, TQ_FORBIDDEN = 20000, TQ_MOST = 65535 };

template <int DIM> struct tq_trellis_memory {
    float y[4][DIM];
    union {
        float work[4][2 * DIM]; /* For the rotation. */
        struct {
            uint32_t cost[DIM][4]; /* Of the subset 2 s1 + s0 at a coordinate. */
            uint2 decision[DIM];   /* Bit n / 2 of x (n even) or y (n odd): state n came from n / 2 + 32. */
        } search;
    };
    float levels[DIM]; /* In steps. */
    int16_t x[DIM];
    __align__(8) uint8_t codes[DIM];
    __align__(8) uint8_t best[DIM];
    uint32_t coded[DIM / 32 + 3]; /* Bit 32 + t of the string: u[t]; before it the last ones again. */
};

/* Errors of all subsets at all coordinates. */
template <int BITS, int DIM> TQ_DEVICE void tq_find_costs(const tq_cuda_code &a, tq_trellis_memory<DIM> &s, int lane)
{
    for (int t = lane; t < DIM; t += 32) {
        const int x = s.x[t];
        uint32_t cost[4];
        uint32_t least = TQ_MOST;
#pragma unroll
        for (int subset = 0; subset < 4; subset++) {
            uint32_t error = TQ_MOST;
#pragma unroll
            for (int i = subset; i < 2 << BITS; i += 4) {
                error = min(error, (uint32_t)abs(x - (int)a.target[i]));
            }
            error = min(error << (BITS - 2), (uint32_t)TQ_MOST);
            cost[subset] = error * error >> 16;
            least = min(least, cost[subset]);
        }
#pragma unroll
        for (int subset = 0; subset < 4; subset++) {
            s.search.cost[t][subset] = cost[subset] - least;
        }
    }
    __syncwarp();
}

/* Metrics of states 2L and 2L + 1. */
struct tq_metrics {
    uint32_t even;
    uint32_t odd;
};

/* One coordinate; `a` and `b` are the costs of the two subsets of this lane. */
TQ_DEVICE uint2 tq_advance(tq_metrics &m, uint32_t a, uint32_t b, int lane)
{
    const uint32_t both = m.even | m.odd << 16;
    const uint32_t half = (lane & 1) != 0 ? 0x4432 : 0x4410;
    const uint32_t low = __byte_perm(__shfl_sync(TQ_WARP, both, lane / 2), 0, half);
    const uint32_t high = __byte_perm(__shfl_sync(TQ_WARP, both, 16 + lane / 2), 0, half);
    const uint32_t even0 = min(low + a, (uint32_t)TQ_MOST);
    const uint32_t even1 = min(high + b, (uint32_t)TQ_MOST);
    const uint32_t odd0 = min(low + b, (uint32_t)TQ_MOST);
    const uint32_t odd1 = min(high + a, (uint32_t)TQ_MOST);
    m.even = min(even0, even1);
    m.odd = min(odd0, odd1);
    return make_uint2(__ballot_sync(TQ_WARP, even1 < even0), __ballot_sync(TQ_WARP, odd1 < odd0));
}

TQ_DEVICE void tq_normalise(tq_metrics &m)
{
    const uint32_t least = __reduce_min_sync(TQ_WARP, min(m.even, m.odd));
    m.even -= least;
    m.odd -= least;
}

/* The state before the decision at `d` that led to `state`. */
TQ_DEVICE uint32_t tq_came_from(uint2 d, uint32_t state)
{
    const uint32_t second = ((state & 1) != 0 ? d.y : d.x) >> (state >> 1) & 1;
    return state / 2 + 32 * second;
}

/* The state at the seam of the best path over the last TQ_WINDOW coordinates and the first ones. */
template <int DIM> TQ_DEVICE uint32_t tq_find_seam(tq_trellis_memory<DIM> &s, int at_a, int at_b, int lane)
{
    tq_metrics m = {0, 0};
    for (int step = 0; step < 2 * TQ_WINDOW; step++) {
        const int t = step < TQ_WINDOW ? DIM - TQ_WINDOW + step : step - TQ_WINDOW;
        const uint2 decision = tq_advance(m, s.search.cost[t][at_a], s.search.cost[t][at_b], lane);
        if (lane == 0 && step >= TQ_WINDOW) {
            s.search.decision[step - TQ_WINDOW] = decision;
        }
        if ((step + 1) % TQ_NORMALISE_EVERY == 0) {
            tq_normalise(m);
        }
    }
    __syncwarp();
    const uint32_t least =
        __reduce_min_sync(TQ_WARP, min(m.even << 6 | (uint32_t)(2 * lane), m.odd << 6 | (uint32_t)(2 * lane + 1)));
    uint32_t state = least & 63;
    for (int step = TQ_WINDOW - 1; step >= 0; step--) {
        state = tq_came_from(s.search.decision[step], state);
    }
    __syncwarp();
    return state;
}

/* From the seam round to the seam: the coded bits. */
template <int DIM> TQ_DEVICE void tq_go_round(tq_trellis_memory<DIM> &s, uint32_t seam, int at_a, int at_b, int lane)
{
    tq_metrics m = {seam == 2U * lane ? 0U : TQ_FORBIDDEN, seam == 2U * lane + 1 ? 0U : TQ_FORBIDDEN};
    for (int t = 0; t < DIM; t++) {
        const uint2 decision = tq_advance(m, s.search.cost[t][at_a], s.search.cost[t][at_b], lane);
        if (lane == 0) {
            s.search.decision[t] = decision;
        }
        if ((t + 1) % TQ_NORMALISE_EVERY == 0) {
            tq_normalise(m);
        }
    }
    __syncwarp();
    uint32_t state = seam;
    uint32_t word = 0;
    for (int t = DIM - 1; t >= 0; t--) {
        word |= (state & 1) << t % 32;
        state = tq_came_from(s.search.decision[t], state);
        if (t % 32 == 0) {
            if (lane == 0) {
                s.coded[1 + t / 32] = word;
            }
            word = 0;
        }
    }
    if (lane == 0) {
        s.coded[0] = __brev(seam); /* The six bits of the state, the newest last. */
    }
    __syncwarp();
}

/* Cells: of the levels that the coded bits leave to choose from, the nearest. */
template <int BITS, int DIM> TQ_DEVICE void tq_choose_cells(const tq_cuda_code &a, tq_trellis_memory<DIM> &s, int lane)
{
    for (int t = lane; t < DIM; t += 32) {
        const int at = 32 + t - 6;
        const uint32_t seven = __funnelshift_r(s.coded[at / 32], s.coded[at / 32 + 1], at % 32); /* u[t] is bit 6. */
        const uint32_t s0 = seven >> 5 ^ seven >> 4 ^ seven >> 2;
        const uint32_t s1 = seven >> 6 ^ seven >> 1 ^ seven;
        const int subset = (int)(2 * (s1 & 1) + (s0 & 1));
        const int x = s.x[t];
        int nearest = 0;
        int error = 0x7FFFFFFF;
        int level = 0;
#pragma unroll
        for (int i = 0; i < 2 << BITS; i++) {
            const int e = abs(x - (int)a.target[i]);
            if (i % 4 == subset && e < error) {
                error = e;
                nearest = i;
                level = a.k[i];
            }
        }
        s.codes[t] = (uint8_t)(nearest / 4 * 2 + (int)(seven >> 6 & 1));
        s.levels[t] = (float)level + 0.5f;
    }
    __syncwarp();
}

/* <y, levels> in lanes 0-15 and <levels, levels> in lanes 16-31, in the order of exact.h. */
template <int DIM> TQ_DEVICE float tq_two_dots(const tq_trellis_memory<DIM> &s, const float *y, int lane)
{
    const float *other = lane < 16 ? y : s.levels;
    float sum = 0;
    for (int i = lane % 16; i < DIM; i += 16) {
        sum = __fadd_rn(sum, __fmul_rn(other[i], s.levels[i]));
    }
#pragma unroll
    for (int distance = 8; distance > 0; distance /= 2) {
        sum = __fadd_rn(sum, __shfl_xor_sync(TQ_WARP, sum, distance));
    }
    return sum;
}

template <int BITS, int DIM>
TQ_DEVICE void tq_trellis_encode(const tq_cuda_code &a, tq_trellis_memory<DIM> &s, const float *y, float sum_squares,
                                 uint16_t flag, int lane, uint8_t *row)
{
    constexpr int ROW_BYTES = 2 + BITS * ((DIM + 7) / 8);
    const int s0 = __popc(2 * lane & 026) & 1; /* Subsets of this lane's branches. */
    const int s1 = lane >> 4 & 1;
    const int at_a = 2 * s1 + s0;
    const int at_b = 2 * (1 - s1) + s0;
    const float norm = __fsqrt_rn(sum_squares);
    float best_alignment = 0;
    float best_scale = 0;
    for (int g = 0; g < a.n_gains && sum_squares >= TQ_SMALLEST_SQUARES; g++) {
        const float factor = __fdiv_rn(__fmul_rn(a.gains[g], 8192.0f), norm);
        for (int t = lane; t < DIM; t += 32) {
            s.x[t] = (int16_t)fminf(fmaxf(rintf(__fmul_rn(y[t], factor)), -32767.0f), 32767.0f);
        }
        __syncwarp();
        tq_find_costs<BITS, DIM>(a, s, lane);
        const uint32_t seam = tq_find_seam<DIM>(s, at_a, at_b, lane);
        tq_go_round<DIM>(s, seam, at_a, at_b, lane);
        tq_choose_cells<BITS, DIM>(a, s, lane);
        const float sum = tq_two_dots<DIM>(s, y, lane);
        const float yc = __fmul_rn(__shfl_sync(TQ_WARP, sum, 0), a.step);
        const float cc = __fmul_rn(__shfl_sync(TQ_WARP, sum, 16), __fmul_rn(a.step, a.step));
        const float alignment = tq_alignment_of(yc, cc);
        if (alignment > best_alignment) {
            best_alignment = alignment;
            best_scale = tq_scale_of(a.scale_mode, DIM, yc, cc, norm);
            for (int t = lane; t < DIM; t += 32) {
                s.best[t] = s.codes[t];
            }
        }
        __syncwarp();
    }
    const uint16_t scale = tq_half_bits(best_scale);
    if (row != nullptr) {
        for (int i = lane; i < ROW_BYTES; i += 32) {
            row[i] = i < 2        ? (uint8_t)((scale | flag) >> 8 * i)
                     : scale == 0 ? 0
                                  : (uint8_t)tq_pack_eight(s.best + (i - 2) % (DIM / 8) * 8, (i - 2) / (DIM / 8), 1);
        }
    }
    __syncwarp();
}

#endif /* TQ_ENCODE_TRELLIS_CUDA_H */
