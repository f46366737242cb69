/* SPDX-License-Identifier: MIT
 *
 * The trellis encoder with states in lanes, for the backends whose words_*.h was included before. For every rounding,
 * that is for every vector and gain, it runs what trellis_encode_scalar.c derives:
 *
 *     for t: x[t] = rint(y[t] * factor)                                                       quantise
 *     for t: for s: cost[t][s] = distance of x[t] to subset s                                 subset_costs
 *     for t: for n: metric'[n] = min over p = n / 2, n / 2 + 32: metric[p] + cost[t][(p, n)]  advance
 *     back:  n = n / 2 + 32 * second[t][n]                                                    trace_back
 *     for t: the nearest level of the subset; if the alignment is better: bits of u and cells  consider
 *
 * In the third line lanes are states. Both successors 2h and 2h + 1 of state h have the predecessors h and h + 32, so
 * no metric has to move before the additions, and one interleaving of the minima puts the states back in order:
 *
 *     low   metric[ 0 .. 31] + cost -.  min  u = 0: even[h] = metric'[2h]     -.  inter-  low'   metric'[ 0 .. 31]
 *     high  metric[32 .. 63] + cost -'       u = 1: odd[h]  = metric'[2h + 1] -'  leave   high'  metric'[32 .. 63]
 *
 * A coordinate's four costs are 8 bytes, repeated over the register; a byte shuffle hands each lane that of its window.
 * Which predecessor won is one comparison: the 64 bits of a coordinate are those of the even states, then the odd ones.
 *
 * In the other lines lanes are coordinates. One step of the third line waits for the one before it; PATHS roundings go
 * side by side and fill the time. Costs are computed for WORDS coordinates at once, which is also after how many steps
 * metrics are normalised.
 *
 * Tail: dim is a multiple of 8. Loads of y are partial; x, marks and costs beyond the last coordinate are computed from
 * whatever is in our own arrays and are not used. Dims below the window go to the scalar encoder. EXACT: words are
 * integers, and sums of floats have the lanes of exact.h. */
#ifndef TQ_TRELLIS_ENCODE_LANES_H
#define TQ_TRELLIS_ENCODE_LANES_H

#include "half.h"
#include "kernels/scalar/scalar.h"
#include "kernels/scale.h"

#include <string.h>

enum {
    STATES = TQ_TRELLIS_STATES,
    HALF = STATES / 2,
    WORDS = 32,        /* Lanes of u16. */
    WINDOW = 40,       /* As in the scalar encoder, also FORBIDDEN. */
    PASS = 2 * WINDOW, /* Steps of the first pass. */
    FORBIDDEN = 20000,
    MARK_SUBSET = 3,   /* A mark holds a coordinate's subset in its lowest bits, */
    MARK_CODED_BIT = 7 /* and its coded bit in the uppermost. */
};

/* The arguments of trellis_encode, tables, and the best rounding so far of the row that is being made. */
typedef struct work {
    u16x32 window_cost[2][2]; /* [newest coded bit][which predecessor]: selects the costs of 32 windows. */
    const tq_code *code;
    const float *y;
    const float *sum_squares;
    uint8_t *rows;
    float alignment;
    float scale;
    uint16_t level[8][4]; /* [cell][subset]: k in the upper byte, the cell in the lower one. */
} work;

/* Roundings on their way: path p has its x from p * x_stride on, its second and marks from p * stride on. */
typedef struct search {
    int16_t x[TQ_MAX_DIM + PATHS * 2 * WORDS]; /* Behind the last coordinate follow the first WINDOW ones again. */
    uint64_t second[TQ_MAX_DIM];               /* Bit h: metric h + 32 won at state 2h; bit 32 + h: at state 2h + 1. */
    uint8_t marks[TQ_MAX_DIM + WORDS];
} search;

typedef struct metrics {
    u16x32 low;  /* Of states 0 to 31. */
    u16x32 high; /* Of states 32 to 63. */
} metrics;

TQ_INLINE size_t stride(size_t paths)
{
    return TQ_MAX_DIM / paths;
}

TQ_INLINE size_t x_stride(size_t paths)
{
    return stride(paths) + (size_t)(2 * WORDS);
}

/* What words_shuffle_bytes wants to put word which[i] of four into lane i. */
TQ_INLINE u16x32 select_words(u16x32 which)
{
    return words_add(words_mul(which, words_all(0x0202)), words_all(0x0100));
}

TQ_INLINE void make_tables(work *w)
{
    const tq_trellis *trellis = &w->code->trellis;
    for (size_t u = 0; u < 2; u++) {
        for (size_t which = 0; which < 2; which++) {
            uint16_t subset[HALF];
            for (size_t h = 0; h < HALF; h++) {
                subset[h] = trellis->subset[which * STATES + 2 * h + u];
            }
            w->window_cost[u][which] = select_words(words_load(subset));
        }
    }
    for (size_t idx = 0; idx < (size_t)2 << trellis->bits; idx++) {
        w->level[idx / 4][idx % 4] = (uint16_t)(trellis->k[idx] * 256 + (int)(idx / 4));
    }
}

TQ_INLINE void quantise(const float *y, size_t dim, float factor, int16_t *x)
{
    for (size_t t = 0; t < dim; t += LANES) {
        lanes_store_i16(x + t, lanes_mul(lanes_load_part(y + t, lanes_left(dim, t)), lanes_all(factor)));
    }
    memcpy(x + dim, x, WINDOW * sizeof *x);
}

/* cost[4 * i + subset] of coordinate i, for WORDS coordinates. */
TQ_INLINE void subset_costs(const tq_trellis *trellis, const int16_t *x, uint16_t *cost)
{
    const u16x32 at = words_load_for_fours(x);
    u16x32 subset_cost[4];
    u16x32 least = words_all(0xFFFF);
    for (size_t subset = 0; subset < 4; subset++) {
        u16x32 error = words_all(0xFFFF);
        for (size_t idx = subset; idx < (size_t)2 << trellis->bits; idx += 4) {
            error = words_min(error, words_distance(at, words_all((uint16_t)trellis->target[idx])));
        }
        for (unsigned doubling = 2; doubling < trellis->bits; doubling++) {
            error = words_add_saturating(error, error);
        }
        subset_cost[subset] = words_square_high(error);
        least = words_min(least, subset_cost[subset]);
    }
    for (size_t subset = 0; subset < 4; subset++) {
        subset_cost[subset] = words_sub(subset_cost[subset], least);
    }
    words_store_fours(cost, subset_cost);
}

/* From the metrics before a coordinate to those after it; `cost` are its four. */
TQ_INLINE void advance(const work *w, const uint16_t *cost, metrics *metric, uint64_t *second)
{
    const u16x32 costs = words_repeat_four(cost);
    u16x32 least[2];
    uint64_t won[2];
    for (size_t u = 0; u < 2; u++) {
        const u16x32 via0 = words_add_saturating(metric->low, words_shuffle_bytes(costs, w->window_cost[u][0]));
        const u16x32 via1 = words_add_saturating(metric->high, words_shuffle_bytes(costs, w->window_cost[u][1]));
        won[u] = words_below(via1, via0);
        least[u] = words_min(via0, via1);
    }
    *second = won[1] << HALF | won[0];
    words_interleave(least[0], least[1], &metric->low, &metric->high);
}

TQ_INLINE u16x32 least_metric(const metrics *metric)
{
    return words_all(words_least(words_min(metric->low, metric->high)));
}

/* Over `count` coordinates, starting at x[first]. second[i] is that of coordinate first + i. */
TQ_INLINE void walk(const work *w, search *s, size_t paths, size_t first, size_t count, metrics *metric)
{
    metrics at[PATHS]; /* A copy, so that they stay in registers. */
    memcpy(at, metric, paths * sizeof *at);
    for (size_t begin = 0; begin < count; begin += WORDS) {
        uint16_t cost[PATHS][4 * WORDS];
        const size_t n = count - begin < WORDS ? count - begin : WORDS;
        for (size_t p = 0; p < paths; p++) {
            subset_costs(&w->code->trellis, s->x + p * x_stride(paths) + first + begin, cost[p]);
        }
        for (size_t i = 0; i < n; i++) {
            for (size_t p = 0; p < paths; p++) {
                advance(w, cost[p] + 4 * i, &at[p], &s->second[p * stride(paths) + begin + i]);
            }
        }
        for (size_t p = 0; p < paths; p++) { /* If n < WORDS, which is at the end only, this changes nothing. */
            const u16x32 least = least_metric(&at[p]);
            at[p].low = words_sub(at[p].low, least);
            at[p].high = words_sub(at[p].high, least);
        }
    }
    memcpy(metric, at, paths * sizeof *at);
}

/* Both passes go through these. */
TQ_APART void walk_one(const work *w, search *s, size_t first, size_t count, metrics *metric)
{
    walk(w, s, 1, first, count, metric);
}

TQ_APART void walk_some(const work *w, search *s, size_t first, size_t count, metrics *metric)
{
    walk(w, s, PATHS, first, count, metric);
}

/* The lowest of the best. */
TQ_INLINE unsigned best_state(const metrics *metric)
{
    const u16x32 least = least_metric(metric);
    const uint64_t low = words_equal(metric->low, least);
    const uint64_t high = words_equal(metric->high, least);
    return (unsigned)__builtin_ctzll(high << HALF | low);
}

TQ_INLINE unsigned predecessor(uint64_t second, unsigned state)
{
    const unsigned bit = state / 2 + HALF * (state & 1);
    return state / 2 + HALF * (unsigned)(second >> bit & 1);
}

/* First pass: over the last WINDOW coordinates and the first ones, from all states alike, and back to between them. */
static void find_seams(const work *w, search *s, size_t paths, unsigned *seam)
{
    metrics metric[PATHS];
    for (size_t p = 0; p < paths; p++) {
        metric[p] = (metrics){words_all(0), words_all(0)};
    }
    (paths == 1 ? walk_one : walk_some)(w, s, w->code->dim - WINDOW, PASS, metric);
    for (size_t p = 0; p < paths; p++) {
        seam[p] = best_state(&metric[p]);
    }
    for (size_t step = PASS; step-- > WINDOW;) {
        for (size_t p = 0; p < paths; p++) {
            seam[p] = predecessor(s->second[p * stride(paths) + step], seam[p]);
        }
    }
}

/* Second pass: from the seam round to the seam. */
static void go_round(const work *w, search *s, size_t paths, const unsigned *seam)
{
    metrics metric[PATHS];
    for (size_t p = 0; p < paths; p++) {
        uint16_t start[STATES];
        words_store(start, words_all(FORBIDDEN));
        words_store(start + HALF, words_all(FORBIDDEN));
        start[seam[p]] = 0;
        metric[p] = (metrics){words_load(start), words_load(start + HALF)};
    }
    (paths == 1 ? walk_one : walk_some)(w, s, 0, w->code->dim, metric);
}

TQ_INLINE uint8_t mark(const work *w, unsigned before, unsigned coded)
{
    return (uint8_t)(w->code->trellis.subset[2 * before + coded] | coded << MARK_CODED_BIT);
}

/* From the seam backwards. A path of a vector that is much longer than its norm says may, with saturated metrics, begin
 * in another state than the seam, in which it ends; but the coded bits before the first are the last ones. */
TQ_INLINE void trace_back(const work *w, search *s, size_t paths, const unsigned *seam)
{
    unsigned state[PATHS];
    memcpy(state, seam, paths * sizeof *state);
    for (size_t t = w->code->dim; t-- > 0;) {
        for (size_t p = 0; p < paths; p++) {
            const unsigned before = predecessor(s->second[p * stride(paths) + t], state[p]);
            s->marks[p * stride(paths) + t] = mark(w, before, state[p] & 1);
            state[p] = before;
        }
    }
    for (size_t p = 0; p < paths; p++) {
        unsigned before = seam[p];
        for (size_t t = 0; t < TQ_TRELLIS_MEMORY; t++) {
            const unsigned coded = s->marks[p * stride(paths) + t] >> MARK_CODED_BIT;
            s->marks[p * stride(paths) + t] = mark(w, before, coded);
            before = (2 * before + coded) % STATES;
        }
    }
}

TQ_INLINE void find_coded_bits(const work *w, search *s, size_t paths)
{
    unsigned seam[PATHS];
    find_seams(w, s, paths, seam);
    go_round(w, s, paths, seam);
    trace_back(w, s, paths, seam);
}

/* For WORDS coordinates with these targets in units of x: of the level nearest to x in the marked subset, the entry of
 * w->level. */
TQ_INLINE u16x32 nearest_levels(const work *w, const int16_t *x, const uint8_t *marks)
{
    const tq_trellis *trellis = &w->code->trellis;
    const u16x32 at = words_load(x);
    const u16x32 subset = select_words(words_from_bytes(marks, MARK_SUBSET));
    u16x32 nearest = words_all(0);
    u16x32 error = words_all(0xFFFF);
    for (size_t cell = 0; cell < (size_t)1 << (trellis->bits - 1); cell++) {
        const u16x32 target = words_shuffle_bytes(words_repeat_four(trellis->target + 4 * cell), subset);
        const u16x32 level = words_shuffle_bytes(words_repeat_four(w->level[cell]), subset);
        const u16x32 distance = words_distance(at, target);
        nearest = words_where_below(distance, error, level, nearest);
        error = words_min(distance, error);
    }
    return nearest;
}

/* Completes the coded bits with cells, and keeps the result in the row if it is better than what there is. */
TQ_APART void consider(work *w, size_t vector, const int16_t *x, const uint8_t *marks)
{
    const tq_code *code = w->code;
    const float *y = w->y + vector * code->dim;
    uint32_t planes[4][TQ_MAX_DIM / WORDS];
    f32x16 yc_lanes = lanes_all(0);
    f32x16 cc_lanes = lanes_all(0);
    for (size_t t = 0; t < code->dim; t += WORDS) {
        const u16x32 nearest = nearest_levels(w, x + t, marks + t);
        planes[0][t / WORDS] = bytes_signs(marks + t);
        for (unsigned plane = 1; plane < code->bits; plane++) {
            planes[plane][t / WORDS] = words_bit(nearest, plane - 1);
        }
        for (size_t half = 0; half < 2 && t + half * LANES < code->dim; half++) {
            const size_t at = t + half * LANES;
            const size_t n = lanes_left(code->dim, at);
            const f32x16 k = words_upper_bytes(nearest, half);
            const f32x16 level = lanes_keep(lanes_add(k, lanes_all(0.5F)), n); /* In steps. */
            yc_lanes = lanes_add(yc_lanes, lanes_mul(lanes_load_part(y + at, n), level));
            cc_lanes = lanes_add(cc_lanes, lanes_mul(level, level));
        }
    }
    const float step = code->trellis.step;
    const float yc = lanes_sum(yc_lanes) * step;
    const float cc = lanes_sum(cc_lanes) * (step * step);
    if (tq_alignment(yc, cc) > w->alignment) {
        w->alignment = tq_alignment(yc, cc);
        w->scale = tq_stored_scale(code->scale, code->dim, yc, cc, sqrtf(w->sum_squares[vector]));
        uint8_t *codes = w->rows + vector * code->row_bytes + code->codes_at;
        for (size_t plane = 0; plane < code->bits; plane++) {
            memcpy(codes + plane * (code->dim / 8), planes[plane], code->dim / 8);
        }
    }
}

/* What comes after the last rounding of a row. */
static void finish_row(const work *w, size_t vector)
{
    uint8_t *row = w->rows + vector * w->code->row_bytes;
    const uint16_t scale = tq_f16_from_f32(w->scale);
    if (scale == 0) {
        memset(row, 0, w->code->row_bytes);
    }
    tq_store_le16(row, scale);
}

/* Roundings are numbered vector by vector, gain by gain. This encodes first .. first + count - 1; if they are fewer
 * than paths, the last one goes along several times. */
static void encode_roundings(work *w, size_t paths, size_t first, size_t count)
{
    const tq_code *code = w->code;
    search s;
    for (size_t p = 0; p < paths; p++) {
        const size_t rounding = first + (p < count ? p : count - 1);
        const size_t vector = rounding / code->n_gains;
        const float gain = code->gains[rounding % code->n_gains];
        const float factor = gain * TQ_TRELLIS_UNIT / sqrtf(w->sum_squares[vector]);
        quantise(w->y + vector * code->dim, code->dim, factor, s.x + p * x_stride(paths));
    }
    if (paths == 1) {
        find_coded_bits(w, &s, 1);
    } else {
        find_coded_bits(w, &s, PATHS);
    }
    for (size_t p = 0; p < count; p++) {
        const size_t vector = (first + p) / code->n_gains;
        const size_t gain = (first + p) % code->n_gains;
        if (gain == 0) {
            w->alignment = 0;
            w->scale = 0;
        }
        if (w->sum_squares[vector] >= 0x1p-126F) { /* Others count as zero. */
            consider(w, vector, s.x + p * x_stride(paths), s.marks + p * stride(paths));
        }
        if (gain == code->n_gains - 1) {
            finish_row(w, vector);
        }
    }
}

void TQ_KERNEL(trellis_encode)(const tq_code *code, const float *y, const float *sum_squares, size_t n, uint8_t *rows)
{
    if (code->dim < WINDOW) {
        tq_trellis_encode_scalar(code, y, sum_squares, n, rows);
        return;
    }
    work w = {.code = code, .y = y, .sum_squares = sum_squares, .rows = rows};
    const size_t n_roundings = n * code->n_gains;
    const size_t most = code->dim <= stride(PATHS) ? PATHS : 1;
    make_tables(&w);
    for (size_t first = 0; first < n_roundings; first += most) {
        const size_t count = n_roundings - first < most ? n_roundings - first : most;
        encode_roundings(&w, count == 1 ? 1 : most, first, count);
    }
}

#endif /* TQ_TRELLIS_ENCODE_LANES_H */
