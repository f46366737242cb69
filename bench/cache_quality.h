/* SPDX-License-Identifier: MIT */
/* tq_bench quality: what is compared, and the results. */
#ifndef TQ_BENCH_CACHE_QUALITY_H
#define TQ_BENCH_CACHE_QUALITY_H

#include <stdio.h>

#include "qkv.h"
#include "turboquant.h"

/* The options of a cache that are compared, as columns. */
enum { VARIANTS = 6 };
struct variant {
    const char *name; /* In JSON. */
    const char *heading;
    uint32_t flags;
    uint32_t recent_tokens;
    uint32_t sink_tokens;
};
extern const struct variant variants[VARIANTS];

/* Keys and values, as rows. */
enum { PAIRS = 8 };
struct pair {
    const char *name;
    tq_layer_formats formats;
};
extern const struct pair pairs[PAIRS];

/* Sparse values: what skip_below is set to. */
enum { THRESHOLDS = 3 };
extern const float thresholds[THRESHOLDS];

/* Formats that differ from layer to layer, or with age. */
enum { POLICIES = 6, MOST_TIERS = 2 };
struct policy {
    const char *name;
    size_t n_protected;         /* That many first and last layers */
    tq_format protected_format; /* have this format of keys and values, */
    tq_format format;           /* the others this one. */
    size_t n_tiers;
    struct {
        size_t min_age;
        tq_format format;
    } tiers[MOST_TIERS];
};
extern const struct policy policies[POLICIES];

/* All errors are those of the outputs, relative; KL is that of the weights, in nats. */
struct pair_result {
    double bytes; /* Of encoded K and V, with means, per token and KV head. */
    double error[VARIANTS];
    double kl[VARIANTS];
    double sparse_error[THRESHOLDS];
    double passed_over[THRESHOLDS]; /* Share of pages. */
};

struct policy_result {
    double bytes; /* The same, mean over layers and tokens. */
    double error;
    double kl;
};

struct cache_quality {
    struct pair_result pairs[PAIRS];
    struct policy_result policies[POLICIES];
};

tq_status cache_quality_measure(const tq_context *context, const struct qkv *qkv, uint64_t seed,
                                struct cache_quality *results);

void cache_quality_print(const tq_context *context, const struct qkv *qkv, const char *data,
                         const struct cache_quality *results);
void cache_quality_write(FILE *json, const tq_context *context, const struct cache_quality *results);

#endif /* TQ_BENCH_CACHE_QUALITY_H */
