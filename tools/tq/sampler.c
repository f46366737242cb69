/* SPDX-License-Identifier: MIT */
/* Greedy choice, and sampling with temperature, top-k and top-p. */
#include "sampler.h"

#include <math.h>
#include <stdlib.h>

bool sampler_create(struct sampler *sampler, float temperature, size_t top_k, float top_p, uint64_t seed,
                    size_t n_vocabulary, struct error *error)
{
    *sampler = (struct sampler){temperature, top_k, top_p, seed, n_vocabulary, NULL};
    if (!(temperature >= 0.0F && temperature <= 100.0F) || !(top_p > 0.0F && top_p <= 1.0F)) {
        return error_input(error, "--temp must be from 0 to 100, --top-p above 0 and at most 1");
    }
    sampler->candidates = malloc(n_vocabulary * sizeof *sampler->candidates);
    return sampler->candidates != NULL || error_run(error, "not enough memory");
}

void sampler_destroy(struct sampler *sampler)
{
    free(sampler->candidates);
    sampler->candidates = NULL;
}

/* SplitMix64: number `position` of the sequence that begins at the seed, in [0, 1). */
static double uniform(uint64_t seed, uint64_t position)
{
    uint64_t z = seed + (position + 1) * 0x9E3779B97F4A7C15U;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
    z = (z ^ z >> 27) * 0x94D049BB133111EBU;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

/* Greater logits first; equal ones by token, so that the order is always the same. */
static int compare(const void *a, const void *b)
{
    const struct candidate *x = a;
    const struct candidate *y = b;
    if (x->logit > y->logit || x->logit < y->logit) {
        return x->logit > y->logit ? -1 : 1;
    }
    return x->token < y->token ? -1 : 1;
}

uint32_t sampler_most_probable(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return (uint32_t)best;
}

uint32_t sampler_choose(struct sampler *sampler, const float *logits, size_t position)
{
    struct candidate *c = sampler->candidates;
    size_t n = sampler->n_vocabulary;
    if (sampler->temperature <= 0.0F) {
        return sampler_most_probable(logits, n);
    }
    for (size_t i = 0; i < n; i++) {
        c[i] = (struct candidate){logits[i], (uint32_t)i};
    }
    qsort(c, n, sizeof *c, compare);
    n = sampler->top_k != 0 && sampler->top_k < n ? sampler->top_k : n;
    double total = 0.0;
    for (size_t i = 0; i < n; i++) {
        total += exp((double)(c[i].logit - c[0].logit) / (double)sampler->temperature);
    }
    /* The same sum again, up to where top-p ends, and then up to where the random number falls. */
    double kept = 0.0;
    size_t n_kept = 0;
    while (n_kept < n && (n_kept == 0 || kept < (double)sampler->top_p * total)) {
        kept += exp((double)(c[n_kept++].logit - c[0].logit) / (double)sampler->temperature);
    }
    double left = uniform(sampler->seed, position) * kept;
    for (size_t i = 0; i < n_kept; i++) {
        left -= exp((double)(c[i].logit - c[0].logit) / (double)sampler->temperature);
        if (left < 0.0) {
            return c[i].token;
        }
    }
    return c[n_kept - 1].token;
}
