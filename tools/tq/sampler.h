/* SPDX-License-Identifier: MIT */
/* Which token comes next. */
#ifndef TQ_TOOL_SAMPLER_H
#define TQ_TOOL_SAMPLER_H

#include "error.h"

#include <stddef.h>
#include <stdint.h>

struct candidate {
    float logit;
    uint32_t token;
};

/* The choice depends on the logits, the seed and the position alone, so that a generation that was interrupted goes on
 * in the same way. */
struct sampler {
    float temperature; /* 0: the most probable token. */
    size_t top_k;      /* Among that many most probable ones; 0: all. */
    float top_p;       /* Among the most probable ones whose probabilities add up to this; 1: all. */
    uint64_t seed;
    size_t n_vocabulary;
    struct candidate *candidates; /* [n_vocabulary] Scratch. */
};

bool sampler_create(struct sampler *sampler, float temperature, size_t top_k, float top_p, uint64_t seed,
                    size_t n_vocabulary, struct error *error);
void sampler_destroy(struct sampler *sampler);

/* The most probable token; the first one of several. */
uint32_t sampler_most_probable(const float *logits, size_t n_vocabulary);

/* The token for position `position`. */
uint32_t sampler_choose(struct sampler *sampler, const float *logits, size_t position);

#endif /* TQ_TOOL_SAMPLER_H */
