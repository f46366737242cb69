/* SPDX-License-Identifier: MIT */
/* What a format does to real vectors and to attention over them. All sums are in double precision. */
#ifndef TQ_BENCH_QUALITY_H
#define TQ_BENCH_QUALITY_H

#include <stdbool.h>

#include "formats.h"
#include "progress.h"
#include "qkv.h"

struct quality {
    double d_key;             /* Mean over the keys of |k - k'|^2 / |k|^2; zero vectors do not count. */
    double d_value;           /* The same of the values. */
    double cosine_key;        /* Mean over the keys of cos(k, k'). */
    double attn_output_error; /* |o - o'| / |o| over all outputs together; K and V are both in the format. */
    double attn_kl;           /* Mean over the queries of KL(exact weights || weights on the format's scores), nats. */
    double attn_top1;         /* Share of the queries whose heaviest key stays the heaviest. */
};

/* Which query positions are measured: first, first + step, ... below the number of tokens. */
struct query_positions {
    size_t first;
    size_t step;
    size_t count;
};

struct query_positions quality_positions(const struct qkv *qkv);

/* Encodes all keys and values in every format, and compares causal attention at the positions above with exact
 * attention: softmax(q.k / sqrt(head_dim)) in double precision over the file's own vectors. The formats' attention goes
 * through their scores and weighted sums, on codes. qualities: [formats->count]. False if memory ran out. */
bool quality_measure(const struct formats *formats, const struct qkv *qkv, const struct progress *progress,
                     struct quality *qualities);

#endif /* TQ_BENCH_QUALITY_H */
