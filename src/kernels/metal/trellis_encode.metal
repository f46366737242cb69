/* SPDX-License-Identifier: MIT
 *
 * Vectors to rows of the trellis formats, byte for byte as src/kernels/scalar/trellis_encode_scalar.c makes them; that
 * file says what is computed:
 *
 *     for each gain:  x_t = rint(y_t gain 8192 / norm)
 *         metric'[n] = min over p in {n / 2, n / 2 + 32}:  metric[p] + cost_t[subset of the window (p, n)]
 *         from a seam round to it; back along the winners for the coded bits; then the nearest cells
 *
 * One simdgroup takes a vector. Thread k has the metrics of states k and k + 32: those from which states 2k and 2k + 1
 * are reached. It computes these two, and two shuffles bring them where the next step wants them. Costs of all steps
 * are computed before, a thread per coordinate. The winners of a thread's two states are two bits per step, kept in a
 * register and stored every sixteen steps.
 *
 * In sums both halves of the simdgroup do the same (vector_metal.h). */
#include "kernels/metal/encode_metal.h"

constant int TQ_WINDOW = 40; /* Half of the first pass. */
constant int TQ_NORMALISE_EVERY = 32;
constant uint TQ_FORBIDDEN = 20000;
constant float TQ_UNIT = 8192;

struct tq_trellis_shared {
    float work[2][TQ_METAL_MAX_DIM];
    ushort cost[TQ_METAL_MAX_DIM][4];
    uint winners[TQ_METAL_MAX_DIM / 16][32]; /* Bits 2(t % 16) and above: of states 2k and 2k + 1. */
    short x[TQ_METAL_MAX_DIM];
    uchar codes[TQ_METAL_MAX_DIM]; /* u, with cells above it at last. */
};
static_assert(sizeof(tq_trellis_shared) == TQ_TRELLIS_SHARED, "args_metal.h says how much");

inline uint tq_saturated(uint metric)
{
    return min(metric, 0xFFFFU);
}

/* Subset of the levels that a window of seven coded bits, newest lowest, leaves to choose from. */
inline uint tq_subset(uint window)
{
    const uint s0 = (window >> 1 ^ window >> 2 ^ window >> 4) & 1U;
    const uint s1 = (window ^ window >> 5 ^ window >> 6) & 1U;
    return 2 * s1 + s0;
}

/* The nearest level of a subset, the lowest on ties. */
inline int tq_nearest_of(constant tq_metal_code &code, int subset, int x)
{
    int nearest = subset;
    for (int idx = subset + 4; idx < 2 << tq_metal_bits(tq_format); idx += 4) {
        if (abs(x - code.targets[idx]) < abs(x - code.targets[nearest])) {
            nearest = idx;
        }
    }
    return nearest;
}

inline void tq_subset_costs(constant tq_metal_code &code, int x, threadgroup ushort *cost)
{
    uint costs[4];
    uint least = 0xFFFF;
    for (int subset = 0; subset < 4; subset++) {
        uint error = uint(abs(x - code.targets[tq_nearest_of(code, subset, x)]));
        for (int doubling = 2; doubling < tq_metal_bits(tq_format); doubling++) {
            error = tq_saturated(2 * error);
        }
        costs[subset] = error * error >> 16;
        least = min(least, costs[subset]);
    }
    for (int subset = 0; subset < 4; subset++) {
        cost[subset] = ushort(costs[subset] - least);
    }
}

/* Metrics of states k and k + 32, and what normalising has subtracted from all. */
struct tq_metrics {
    uint low;
    uint high;
    uint removed;
};

/* Takes `steps` steps from coordinate `first` on, round the end; winners of step s go to place s. */
inline void tq_walk(threadgroup tq_trellis_shared *shared, int first, int steps, uint k, thread tq_metrics &m)
{
    uint winners = 0;
    m.removed = 0;
    for (int s = 0; s < steps; s++) {
        threadgroup const ushort *cost = shared->cost[(first + s) % tq_dim];
        uint both = 0; /* The metrics of states 2k and 2k + 1. */
        for (uint bit = 0; bit < 2; bit++) {
            const uint n = 2 * k + bit; /* Also the window from state k; that from k + 32 is n + 64. */
            const uint via0 = tq_saturated(m.low + cost[tq_subset(n)]);
            const uint via1 = tq_saturated(m.high + cost[tq_subset(n + 64)]);
            winners |= uint(via1 < via0) << (uint(s % 16) * 2 + bit);
            both |= min(via0, via1) << (16 * bit);
        }
        m.low = simd_shuffle(both, ushort(k / 2)) >> (16 * (k % 2)) & 0xFFFFU;
        m.high = simd_shuffle(both, ushort(k / 2 + 16)) >> (16 * (k % 2)) & 0xFFFFU;
        if (s % 16 == 15 || s == steps - 1) {
            shared->winners[s / 16][k] = winners;
            winners = 0;
        }
        if ((s + 1) % TQ_NORMALISE_EVERY == 0) {
            const uint least = simd_min(min(m.low, m.high));
            m.low -= least;
            m.high -= least;
            m.removed += least;
        }
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
}

inline uint tq_state_before(threadgroup const tq_trellis_shared *shared, int s, uint state)
{
    const uint winner = shared->winners[s / 16][state / 2] >> (uint(s % 16) * 2 + state % 2) & 1U;
    return state / 2 + 32 * winner;
}

/* First pass: the state at the seam of the cheapest path from all states over the last and the first coordinates. */
inline uint tq_find_seam(threadgroup tq_trellis_shared *shared, uint k)
{
    tq_metrics m = {0, 0, 0};
    tq_walk(shared, tq_dim - TQ_WINDOW, 2 * TQ_WINDOW, k, m);
    uint state = simd_min(min(m.low << 6 | k, m.high << 6 | (k + 32))) & 63U;
    for (int s = 2 * TQ_WINDOW; s-- > TQ_WINDOW;) {
        state = tq_state_before(shared, s, state);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup); /* Winners will be overwritten. */
    return state;
}

/* From the seam round to the seam; returns what that costs. */
inline uint tq_go_round(threadgroup tq_trellis_shared *shared, uint seam, uint k)
{
    tq_metrics m = {k == seam ? 0U : TQ_FORBIDDEN, k + 32 == seam ? 0U : TQ_FORBIDDEN, 0};
    tq_walk(shared, 0, tq_dim, k, m);
    return m.removed + simd_shuffle(seam < 32 ? m.low : m.high, ushort(seam % 32));
}

/* For short vectors: the seam whose way round costs least. */
inline uint tq_try_all_seams(threadgroup tq_trellis_shared *shared, uint k)
{
    uint best = 0;
    uint least = 0xFFFFFFFF;
    for (uint seam = 0; seam < 64; seam++) {
        const uint cost = tq_go_round(shared, seam, k);
        if (cost < least) {
            least = cost;
            best = seam;
        }
    }
    return best;
}

/* Fills shared->codes with the coded bits of the best sequence for shared->x. */
inline void tq_find_coded_bits(constant tq_metal_code &code, threadgroup tq_trellis_shared *shared, uint k)
{
    simdgroup_barrier(mem_flags::mem_threadgroup);
    for (int t = int(k); t < tq_dim; t += 32) {
        tq_subset_costs(code, shared->x[t], shared->cost[t]);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
    const uint seam = tq_dim < TQ_WINDOW ? tq_try_all_seams(shared, k) : tq_find_seam(shared, k);
    tq_go_round(shared, seam, k);
    if (k == 0) {
        uint state = seam;
        for (int t = tq_dim; t-- > 0;) {
            shared->codes[t] = uchar(state & 1U);
            state = tq_state_before(shared, t, state);
        }
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
}

/* Seven coded bits up to coordinate t. */
inline uint tq_window_at(threadgroup const uchar *codes, int t)
{
    uint window = 0;
    for (int d = 6; d >= 0; d--) {
        window = window << 1 | codes[(t + tq_dim - d) % tq_dim];
    }
    return window;
}

kernel void tq_trellis_encode(constant tq_metal_encode_args &args [[buffer(TQ_AT_ARGS)]],
                              constant tq_metal_code &code [[buffer(TQ_ENCODE_CODE)]],
                              device const float *x [[buffer(TQ_ENCODE_X)]],
                              device const tq_metal_page *pages [[buffer(TQ_ENCODE_PAGES)]],
                              device ushort *rows [[buffer(TQ_ENCODE_ROWS)]],
                              threadgroup tq_trellis_shared *shared TQ_SHARED_MEMORY,
                              uint3 group [[threadgroup_position_in_grid]], uint k [[thread_index_in_threadgroup]])
{
    const int l = int(k % 16);
    float y[TQ_MOST];
    bool is_uncentred;
    const float sum_squares = tq_read(args, code, x, pages, group.x, shared->work[k / 16], l, y, is_uncentred);
    const bool zero = sum_squares < FLT_MIN; /* It counts as zero. */
    const float norm = zero ? INFINITY : precise::sqrt(sum_squares);
    float best_alignment = 0;
    float best_scale = 0;
    uchar best[TQ_MOST] = {};
    for (int g = 0; g < code.n_gains; g++) {
        const float factor = code.gains[g] * TQ_UNIT / norm;
        short wanted[TQ_MOST];
        for (int e = 0; e < tq_dim / 16; e++) {
            wanted[e] = short(clamp(rint(y[e] * factor), -32767.0f, 32767.0f));
        }
        for (int e = 0; k < 16 && e < tq_dim / 16; e++) {
            shared->x[l + 16 * e] = wanted[e];
        }
        tq_find_coded_bits(code, shared, k);
        uchar chosen[TQ_MOST];
        float levels[TQ_MOST]; /* In steps. */
        for (int e = 0; e < tq_dim / 16; e++) {
            const int t = l + 16 * e;
            const uint window = tq_window_at(shared->codes, t);
            const int nearest = tq_nearest_of(code, int(tq_subset(window)), wanted[e]);
            chosen[e] = uchar(uint(nearest / 4 * 2) + (window & 1U));
            levels[e] = code.steps[nearest];
        }
        const float yc = tq_vector_dot(y, levels) * code.step;
        const float cc = tq_vector_dot(levels, levels) * (code.step * code.step);
        if (!zero && tq_alignment(yc, cc) > best_alignment) {
            best_alignment = tq_alignment(yc, cc);
            best_scale = tq_stored_scale(code.scale_mode, yc, cc, norm);
            for (int e = 0; e < tq_dim / 16; e++) {
                best[e] = chosen[e];
            }
        }
    }
    simdgroup_barrier(mem_flags::mem_threadgroup); /* All coded bits have been read. */
    for (int e = 0; k < 16 && e < tq_dim / 16; e++) {
        shared->codes[l + 16 * e] = best[e];
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
    tq_write_row(shared->codes, tq_half_bits(best_scale), is_uncentred, int(k), 32,
                 rows + ulong(group.x) * uint(tq_metal_row_words(tq_format, tq_dim)));
}
