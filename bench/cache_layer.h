/* SPDX-License-Identifier: MIT */
/* One layer of a .qkv file fed through a cache, and what became of its attention. */
#ifndef TQ_BENCH_CACHE_LAYER_H
#define TQ_BENCH_CACHE_LAYER_H

#include "qkv.h"
#include "turboquant.h"

/* One layer of the file, as a cache of one layer takes it. */
struct layer {
    const struct qkv *qkv;
    uint32_t index;
    size_t tokens; /* The first ones of the file. */
    const float *values;
    uint32_t head_dim_v;
    size_t v_head_stride;
};

/* How it is fed. */
struct feed {
    tq_cache_desc desc; /* Of a cache of this one layer. */
    float skip_below;   /* As in tq_attention. */
    /* Demotion: after the first half, and after each page of tokens from there on. None if n_tiers is 0. */
    const tq_tier *tiers;
    size_t n_tiers;
};

/* The second half of the positions is looked at: outputs are [position][query head][head_dim_v]. */
size_t layer_first_position(const struct layer *layer);
size_t layer_output_floats(const struct layer *layer);

/* Stores all tokens; `encoded_bytes`, if not null, is what encoded pages take in the end. */
tq_status layer_run(const tq_context *context, const struct layer *layer, const struct feed *feed, float *out,
                    size_t *encoded_bytes);

/* What is added up over layers. */
struct sums {
    double error; /* Squared, of outputs. */
    double norm;
    double divergence; /* Of softmax weights. */
    size_t queries;
};

void layer_add_error(const struct layer *layer, const float *exact, const float *out, struct sums *sums);

/* For a layer whose values are the rows of the identity, so that outputs are the softmax weights. */
void layer_add_divergence(const struct layer *layer, const float *exact, const float *out, struct sums *sums);

double relative_error(const struct sums *sums);
double mean_divergence(const struct sums *sums);

#endif /* TQ_BENCH_CACHE_LAYER_H */
