/* SPDX-License-Identifier: MIT */
/* Perplexity, Kullback-Leibler divergence, agreement. In double precision: caches that are nearly exact diverge by less
 * than the rounding of floats. */
#include "divergence.h"

#include <math.h>
#include <stdlib.h>

bool divergence_create(struct divergence *divergence, size_t capacity, struct error *error)
{
    *divergence = (struct divergence){.capacity = capacity};
    divergence->losses = calloc(capacity, sizeof *divergence->losses);
    divergence->kl = calloc(capacity, sizeof *divergence->kl);
    divergence->agreed = calloc(capacity, sizeof *divergence->agreed);
    if (divergence->losses == NULL || divergence->kl == NULL || divergence->agreed == NULL) {
        divergence_destroy(divergence);
        return error_run(error, "not enough memory for %zu predictions", capacity);
    }
    return true;
}

void divergence_destroy(struct divergence *divergence)
{
    free(divergence->losses);
    free(divergence->kl);
    free(divergence->agreed);
    *divergence = (struct divergence){.n = 0};
}

struct predictions {
    struct divergence *divergence;
    const float *reference;
    const float *logits;
    const uint32_t *targets;
    size_t n_vocabulary;
};

static size_t largest(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return best;
}

/* KL = sum of p (log p - log q) = sum of p (reference - logits) - log Z(reference) + log Z(logits) */
static void compare(void *arg, size_t slot, size_t index)
{
    const struct predictions *p = arg;
    const float *reference = p->reference + index * p->n_vocabulary;
    const float *logits = p->logits + index * p->n_vocabulary;
    const size_t reference_best = largest(reference, p->n_vocabulary);
    const size_t best = largest(logits, p->n_vocabulary);
    double reference_sum = 0.0;
    double sum = 0.0;
    double difference = 0.0;
    (void)slot;
    for (size_t i = 0; i < p->n_vocabulary; i++) { /* Relative to the largest ones. */
        const double a = (double)reference[i] - (double)reference[reference_best];
        const double b = (double)logits[i] - (double)logits[best];
        const double weight = exp(a);
        reference_sum += weight;
        sum += exp(b);
        difference += weight * (a - b);
    }
    const size_t at = p->divergence->n + index;
    const double kl = difference / reference_sum - log(reference_sum) + log(sum);
    p->divergence->kl[at] = kl > 0.0 || isnan(kl) ? kl : 0.0; /* Rounding may leave -1e-17. */
    p->divergence->losses[at] = log(sum) - ((double)logits[p->targets[index]] - (double)logits[best]);
    p->divergence->agreed[at] = best == reference_best;
}

void divergence_add(struct divergence *divergence, const struct threads *threads, const float *reference,
                    const float *logits, const uint32_t *targets, size_t n, size_t n_vocabulary)
{
    struct predictions predictions = {divergence, reference, logits, targets, n_vocabulary};
    threads_for(threads, compare, &predictions, n);
    divergence->n += n;
}

double divergence_probability(const float *logits, size_t n_vocabulary, uint32_t token)
{
    const double best = (double)logits[largest(logits, n_vocabulary)];
    double sum = 0.0;
    for (size_t i = 0; i < n_vocabulary; i++) {
        sum += exp((double)logits[i] - best);
    }
    return exp((double)logits[token] - best) / sum;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

struct divergence_summary divergence_summarise(struct divergence *divergence)
{
    const size_t n = divergence->n;
    double loss = 0.0;
    double kl = 0.0;
    size_t agreed = 0;
    for (size_t i = 0; i < n; i++) {
        loss += divergence->losses[i];
        kl += divergence->kl[i];
        agreed += divergence->agreed[i];
    }
    qsort(divergence->kl, n, sizeof *divergence->kl, ascending);
    const size_t rank = (size_t)ceil(0.999 * (double)n);
    return (struct divergence_summary){
        .perplexity = exp(loss / (double)n),
        .kl_mean = kl / (double)n,
        .kl_median = 0.5 * (divergence->kl[(n - 1) / 2] + divergence->kl[n / 2]),
        .kl_p999 = divergence->kl[rank - 1],
        .top1 = (double)agreed / (double)n,
    };
}
