/* SPDX-License-Identifier: MIT
 *
 * The trellis encoder: for a rotated vector, the coded bits u and cells n whose levels are nearest. codebook/trellis.h
 * says what they mean; this file finds them with the Viterbi algorithm (G. Forney, "The Viterbi algorithm", 1973), in
 * integers, so that every backend finds the same ones.
 *
 * Walking along the coordinates, the state is the last six coded bits. From each of 64 states the next bit leads to two
 * states, so each state n has two predecessors, n / 2 and n / 2 + 32, and
 *
 *     metric'[n] = min over both predecessors p:  metric[p] + cost[subset of the window (p, n)]
 *
 * is the least total cost of any sequence that ends in n. The cost of a subset at a coordinate is the squared distance
 * to its nearest level, whatever the cell number that names it. One bit per state and coordinate remembers which
 * predecessor won; following these bits back from the best end gives u.
 *
 * Tail-biting asks for a sequence that ends in the state it started in. Two passes find one: the first runs over the
 * last WINDOW coordinates and on over the first WINDOW ones, from all states alike, and takes the state at the seam of
 * the cheapest path; the second starts and ends in that state. Vectors shorter than the window have no room for that;
 * for them all 64 states are tried.
 *
 * The integers. x_t = rint(y_t * g * 8192 / norm), clamped to +-32767: four standard deviations. e = |x_t - target| as
 * uint16, doubled with saturation b - 2 times so that finer codes use the same range; cost = e * e >> 16, minus the
 * least of the four costs. Metrics are uint16 and additions saturate; the least metric is subtracted from all after
 * every 32 steps. Ties: the predecessor n / 2, the lowest state, the lowest cell.
 *
 * `lanes` vectors are encoded side by side: arrays are [..][lanes], the innermost loops run over vectors. The function
 * is compiled for 1 and for LANES lanes; vectors do not touch each other, so the bytes are the same. */
#include "kernels/exact.h"

#include "compiler.h"
#include "half.h"
#include "kernels/pack.h"
#include "kernels/scalar/scalar.h"
#include "kernels/scale.h"

#include <stdlib.h>

enum {
    STATES = TQ_TRELLIS_STATES,
    HALF = STATES / 2,
    LANES = 8,          /* Eight uint16 fill the smallest SIMD register. */
    LANE_FLOATS = 1024, /* Vectors are taken LANES at a time if that many coordinates suffice, else one by one. */
    WINDOW = 40, /* Either half of the first pass. Longer ones gain .1 to .6 % of D, shorter ones lose as much. */
    NORMALISE_EVERY = 32,
    FORBIDDEN = 20000 /* Start metric of all states but one in the second pass. */
};

/* Up to LANES vectors on their way through the encoder. Index of lane l at coordinate or state i: i * lanes + l. */
typedef struct search {
    const tq_trellis *trellis;
    size_t dim;
    int16_t x[LANE_FLOATS];
    uint16_t metric[STATES * LANES];
    uint32_t removed[LANES];      /* What normalising has subtracted. */
    uint64_t second[LANE_FLOATS]; /* Bit n: predecessor n / 2 + 32 won at state n. */
    uint8_t seam[LANES];          /* State before coordinate 0, which is also that after the last. */
} search;

TQ_INLINE uint16_t least_of(uint16_t a, uint16_t b)
{
    return a < b ? a : b;
}

TQ_INLINE uint16_t saturating_sum(uint16_t a, uint16_t b)
{
    const uint16_t sum = (uint16_t)(a + b);
    return sum < a ? 0xFFFF : sum;
}

/* cost[s * lanes + lane] of the four subsets at coordinate t. */
TQ_INLINE void subset_costs(const search *s, size_t lanes, size_t t, uint16_t *cost)
{
    const tq_trellis *trellis = s->trellis;
    uint16_t least[LANES];
    memset(least, 0xFF, sizeof least);
    for (size_t subset = 0; subset < 4; subset++) {
        uint16_t error[LANES];
        memset(error, 0xFF, sizeof error);
        for (size_t idx = subset; idx < (size_t)2 << trellis->bits; idx += 4) {
            const int16_t target = trellis->target[idx];
            for (size_t lane = 0; lane < lanes; lane++) {
                const int16_t x = s->x[t * lanes + lane];
                error[lane] = least_of(error[lane], (uint16_t)(x < target ? target - x : x - target));
            }
        }
        for (size_t lane = 0; lane < lanes; lane++) {
            for (unsigned doubling = 2; doubling < trellis->bits; doubling++) {
                error[lane] = saturating_sum(error[lane], error[lane]);
            }
            cost[subset * lanes + lane] = (uint16_t)((uint32_t)error[lane] * error[lane] >> 16);
            least[lane] = least_of(least[lane], cost[subset * lanes + lane]);
        }
    }
    for (size_t i = 0; i < 4 * lanes; i++) {
        cost[i] = (uint16_t)(cost[i] - least[i % lanes]);
    }
}

/* From the metrics before coordinate t to those after it. second[lane] receives a bit for each state. */
TQ_INLINE void advance(search *s, size_t lanes, size_t t, uint64_t *second)
{
    uint16_t cost[4 * LANES];
    uint16_t before[STATES * LANES];
    subset_costs(s, lanes, t, cost);
    memcpy(before, s->metric, sizeof before);
    memset(second, 0, lanes * sizeof *second);
    for (size_t n = 0; n < STATES; n++) {
        const uint16_t *cost0 = cost + s->trellis->subset[n] * lanes;
        const uint16_t *cost1 = cost + s->trellis->subset[n + STATES] * lanes;
        for (size_t lane = 0; lane < lanes; lane++) {
            const uint16_t via0 = saturating_sum(before[n / 2 * lanes + lane], cost0[lane]);
            const uint16_t via1 = saturating_sum(before[(n / 2 + HALF) * lanes + lane], cost1[lane]);
            second[lane] |= (uint64_t)(via1 < via0) << n;
            s->metric[n * lanes + lane] = least_of(via0, via1);
        }
    }
}

TQ_INLINE void normalise(search *s, size_t lanes)
{
    uint16_t least[LANES];
    memset(least, 0xFF, sizeof least);
    for (size_t i = 0; i < STATES * lanes; i++) {
        least[i % lanes] = least_of(least[i % lanes], s->metric[i]);
    }
    for (size_t i = 0; i < STATES * lanes; i++) {
        s->metric[i] = (uint16_t)(s->metric[i] - least[i % lanes]);
    }
    for (size_t lane = 0; lane < lanes; lane++) {
        s->removed[lane] += least[lane];
    }
}

/* First pass: where to start and end. seam_of[n] is the state at the seam of the best path that ends in n. */
TQ_INLINE void find_seam(search *s, size_t lanes)
{
    uint8_t seam_of[LANES][STATES];
    uint64_t second[LANES];
    memset(s->metric, 0, sizeof s->metric);
    memset(s->removed, 0, sizeof s->removed);
    for (size_t step = 0; step < 2 * WINDOW; step++) {
        if (step == WINDOW) {
            for (size_t n = 0; n < STATES; n++) {
                for (size_t lane = 0; lane < lanes; lane++) {
                    seam_of[lane][n] = (uint8_t)n;
                }
            }
        }
        advance(s, lanes, (s->dim - WINDOW + step) % s->dim, second);
        for (size_t lane = 0; step >= WINDOW && lane < lanes; lane++) {
            uint8_t before[STATES];
            memcpy(before, seam_of[lane], sizeof before);
            for (size_t n = 0; n < STATES; n++) {
                seam_of[lane][n] = before[n / 2 + HALF * (second[lane] >> n & 1)];
            }
        }
        if ((step + 1) % NORMALISE_EVERY == 0) {
            normalise(s, lanes);
        }
    }
    for (size_t lane = 0; lane < lanes; lane++) {
        size_t best = 0;
        for (size_t n = 1; n < STATES; n++) {
            if (s->metric[n * lanes + lane] < s->metric[best * lanes + lane]) {
                best = n;
            }
        }
        s->seam[lane] = seam_of[lane][best];
    }
}

/* From the seam round to the seam. */
TQ_INLINE void go_round(search *s, size_t lanes)
{
    memset(s->removed, 0, sizeof s->removed);
    for (size_t i = 0; i < STATES * lanes; i++) {
        s->metric[i] = i / lanes == s->seam[i % lanes] ? 0 : FORBIDDEN;
    }
    for (size_t t = 0; t < s->dim; t++) {
        advance(s, lanes, t, s->second + t * lanes);
        if ((t + 1) % NORMALISE_EVERY == 0) {
            normalise(s, lanes);
        }
    }
}

/* For short vectors, in the place of the first pass: the seam whose way round costs least. */
TQ_INLINE void try_all_seams(search *s, size_t lanes)
{
    uint32_t least[LANES];
    uint8_t best[LANES];
    memset(least, 0xFF, sizeof least);
    for (size_t seam = 0; seam < STATES; seam++) {
        memset(s->seam, (int)seam, sizeof s->seam);
        go_round(s, lanes);
        for (size_t lane = 0; lane < lanes; lane++) {
            const uint32_t cost = s->removed[lane] + s->metric[seam * lanes + lane];
            if (cost < least[lane]) {
                least[lane] = cost;
                best[lane] = (uint8_t)seam;
            }
        }
    }
    memcpy(s->seam, best, sizeof best);
}

/* coded[t * lanes + lane] is u[t]. */
TQ_INLINE void find_coded_bits(search *s, size_t lanes, uint8_t *coded)
{
    if (s->dim < WINDOW) {
        try_all_seams(s, lanes);
    } else {
        find_seam(s, lanes);
    }
    go_round(s, lanes);
    for (size_t lane = 0; lane < lanes; lane++) {
        size_t state = s->seam[lane];
        for (size_t t = s->dim; t-- > 0;) {
            coded[t * lanes + lane] = state & 1;
            state = state / 2 + HALF * (s->second[t * lanes + lane] >> state & 1);
        }
    }
}

/* The best rounding of one vector so far. In code[t], bit 0 is u[t] and the bits above are the cell n[t]. */
typedef struct rounding {
    float alignment;
    float scale;
    uint8_t *code;
} rounding;

/* Completes the coded bits of one lane with cells, of those that they leave to choose from the nearest, and keeps the
 * result if it is better than what there is. */
TQ_APART void consider(const tq_code *code, const search *s, size_t lanes, size_t lane, const float *y,
                       float sum_squares, const uint8_t *coded, rounding *best)
{
    const tq_trellis *trellis = s->trellis;
    uint8_t chosen[TQ_MAX_DIM];
    float levels[TQ_MAX_DIM]; /* In steps. */
    unsigned window = s->seam[lane];
    for (size_t t = 0; t < s->dim; t++) {
        const int x = s->x[t * lanes + lane];
        const unsigned u = coded[t * lanes + lane];
        window = (window << 1 | u) % TQ_TRELLIS_WINDOWS;
        size_t nearest = trellis->subset[window];
        for (size_t idx = nearest + 4; idx < (size_t)2 << trellis->bits; idx += 4) {
            if (abs(x - trellis->target[idx]) < abs(x - trellis->target[nearest])) {
                nearest = idx;
            }
        }
        chosen[t] = (uint8_t)(nearest / 4 * 2 + u);
        levels[t] = (float)trellis->k[nearest] + 0.5F;
    }
    const float yc = tq_exact_dot(y, levels, s->dim) * trellis->step;
    const float cc = tq_exact_dot(levels, levels, s->dim) * (trellis->step * trellis->step);
    if (tq_alignment(yc, cc) > best->alignment) {
        best->alignment = tq_alignment(yc, cc);
        best->scale = tq_stored_scale(code->scale, s->dim, yc, cc, sqrtf(sum_squares));
        memcpy(best->code, chosen, s->dim);
    }
}

static void write_row(const tq_code *code, const rounding *best, uint8_t *row)
{
    const uint16_t scale = tq_f16_from_f32(best->scale);
    memset(row, 0, code->row_bytes);
    if (scale != 0) {
        tq_store_le16(row, scale);
        for (unsigned plane = 0; plane < code->bits; plane++) {
            tq_pack_plane(best->code, code->dim, plane, 1, row + code->codes_at + plane * tq_plane_bytes(code->dim, 1));
        }
    }
}

TQ_INLINE void encode_lanes(const tq_code *code, size_t lanes, const float *y, const float *sum_squares, uint8_t *rows)
{
    const size_t dim = code->dim;
    search s;
    uint8_t coded[LANE_FLOATS];
    uint8_t kept[LANE_FLOATS];
    rounding best[LANES];
    s.trellis = &code->trellis;
    s.dim = dim;
    for (size_t lane = 0; lane < lanes; lane++) {
        best[lane] = (rounding){.code = kept + lane * dim};
    }
    for (size_t g = 0; g < code->n_gains; g++) {
        for (size_t lane = 0; lane < lanes; lane++) {
            /* A vector that counts as zero keeps its empty rounding. */
            const float norm = sum_squares[lane] < 0x1p-126F ? INFINITY : sqrtf(sum_squares[lane]);
            const float factor = code->gains[g] * TQ_TRELLIS_UNIT / norm;
            for (size_t t = 0; t < dim; t++) {
                const float x = rintf(y[lane * dim + t] * factor);
                s.x[t * lanes + lane] = (int16_t)(x > 32767 ? 32767 : x < -32767 ? -32767 : x);
            }
        }
        find_coded_bits(&s, lanes, coded);
        for (size_t lane = 0; lane < lanes; lane++) {
            if (sum_squares[lane] >= 0x1p-126F) {
                consider(code, &s, lanes, lane, y + lane * dim, sum_squares[lane], coded, &best[lane]);
            }
        }
    }
    for (size_t lane = 0; lane < lanes; lane++) {
        write_row(code, &best[lane], rows + lane * code->row_bytes);
    }
}

TQ_APART void encode_one(const tq_code *code, const float *y, const float *sum_squares, uint8_t *row)
{
    encode_lanes(code, 1, y, sum_squares, row);
}

TQ_APART void encode_batch(const tq_code *code, const float *y, const float *sum_squares, uint8_t *rows)
{
    encode_lanes(code, LANES, y, sum_squares, rows);
}

void tq_trellis_encode_scalar(const tq_code *code, const float *y, const float *sum_squares, size_t n, uint8_t *rows)
{
    size_t i = 0;
    for (; i + LANES <= n && code->dim * LANES <= LANE_FLOATS; i += LANES) {
        encode_batch(code, y + i * code->dim, sum_squares + i, rows + i * code->row_bytes);
    }
    for (; i < n; i++) {
        encode_one(code, y + i * code->dim, sum_squares + i, rows + i * code->row_bytes);
    }
}
