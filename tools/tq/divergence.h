/* SPDX-License-Identifier: MIT */
/* How well a model predicts a text, and how far its predictions are from a reference's. */
#ifndef TQ_TOOL_DIVERGENCE_H
#define TQ_TOOL_DIVERGENCE_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "threads.h"

struct divergence {
    size_t n; /* Predictions so far. */
    size_t capacity;
    double *losses;  /* [capacity] -log probability of the token that came. */
    double *kl;      /* [capacity] Kullback-Leibler divergence from the reference, in nats. */
    uint8_t *agreed; /* [capacity] 1: the most probable token is the reference's. */
};

bool divergence_create(struct divergence *divergence, size_t capacity, struct error *error);
void divergence_destroy(struct divergence *divergence);

/* Adds n predictions: logits [n][n_vocabulary] of the reference and of what is compared with it, and the tokens that
 * came. At most `capacity` in all. */
void divergence_add(struct divergence *divergence, const struct threads *threads, const float *reference,
                    const float *logits, const uint32_t *targets, size_t n, size_t n_vocabulary);

struct divergence_summary {
    double perplexity;
    double kl_mean;
    double kl_median;
    double kl_p999; /* 99.9 % of the predictions diverge less. */
    double top1;    /* Share of the predictions that agree. */
};

/* Sorts the divergences. */
struct divergence_summary divergence_summarise(struct divergence *divergence);

/* The probability of a token. */
double divergence_probability(const float *logits, size_t n_vocabulary, uint32_t token);

#endif /* TQ_TOOL_DIVERGENCE_H */
