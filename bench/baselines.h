/* SPDX-License-Identifier: MIT */
/* What the library is compared with, written for this bench: half precision, and the block formats that llama.cpp uses
 * for its cache. The row layouts of q8_0 and q4_0 are ggml's; the loops are the best we can write in a small file. */
#ifndef TQ_BENCH_BASELINES_H
#define TQ_BENCH_BASELINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "baseline_loops.h"
#include "turboquant.h"

enum baseline_kind {
    BASELINE_F16,      /* "f16" */
    BASELINE_Q8_0,     /* "q8_0": blocks of 32, fp16 scale absmax / 127, 8 bits each */
    BASELINE_Q4_0,     /* "q4_0": blocks of 32, fp16 scale (signed absmax) / -8, 4 bits each */
    BASELINE_Q4_0_ROT, /* "q4_0-rot": q4_0 after random signs and a Hadamard transform */
    BASELINE_COUNT
};

struct baseline {
    const struct baseline_loops *loops;
    const struct row_loops *rows;
    size_t dim;
    size_t row_bytes;
    bool rotated;
    float signs[TQ_MAX_DIM]; /* +-1, of the rotation */
};

const char *baseline_name(enum baseline_kind kind);

/* False if the format does not exist for `dim`: blocks need a multiple of 32, the rotation a power of two. */
bool baseline_supports(enum baseline_kind kind, size_t dim);

void baseline_init(struct baseline *baseline, enum baseline_kind kind, size_t dim, uint64_t seed,
                   const struct baseline_loops *loops);

/* Loops that this build has, weakest first: null for index >= their number. `usable` receives whether this machine can
 * run them. */
const struct baseline_loops *baseline_loops_at(size_t index, bool *usable);

/* The strongest loops that this machine can run. */
const struct baseline_loops *baseline_loops_best(void);

/* As in the library: x [n][dim], scores[i] = scale * <q, row i>, out = sum of w[i] * row i. */
void baseline_encode(const struct baseline *baseline, const float *x, size_t n, uint8_t *rows);
void baseline_decode(const struct baseline *baseline, const uint8_t *rows, size_t n, float *x);
void baseline_scores(const struct baseline *baseline, const float *q, const uint8_t *rows, size_t n, float scale,
                     float *scores);
void baseline_weighted_sum(const struct baseline *baseline, const float *w, const uint8_t *rows, size_t n, float *out);

#endif /* TQ_BENCH_BASELINES_H */
