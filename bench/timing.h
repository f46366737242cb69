/* SPDX-License-Identifier: MIT */
/* How fast the formats are, all in one run so that they can be compared. */
#ifndef TQ_BENCH_TIMING_H
#define TQ_BENCH_TIMING_H

#include <stdbool.h>
#include <stddef.h>

#include "formats.h"
#include "progress.h"
#include "qkv.h"

enum {
    TIMING_KEYS = 4096,   /* Scores: one query against this many keys, the same buffer every time. */
    TIMING_VECTORS = 256, /* Encoding and decoding: this many keys at a time. */
    TIMING_ROUNDS = 31,
    TIMING_QUICK_ROUNDS = 3
};

struct timing {
    double encode_ns;        /* Per vector, TIMING_VECTORS in a call. */
    double encode_single_ns; /* Per vector, one in a call, as when decoding. */
    double decode_ns;        /* Per vector. */
    double score_ns;         /* Per key. */
    double score_vs_f16;     /* Median over the rounds of (time of f16 / time of the format), both of the same round. */
};

/* Medians over `rounds` of the thread's CPU time. In each round every format has one slice of each operation, so that a
 * change of the machine's mood meets all of them. formats->items[0] is f16. timings: [formats->count]. False if memory
 * ran out. */
bool timing_measure(const struct formats *formats, const struct qkv *qkv, size_t rounds,
                    const struct progress *progress, struct timing *timings);

#endif /* TQ_BENCH_TIMING_H */
