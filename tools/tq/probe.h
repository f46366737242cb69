/* SPDX-License-Identifier: MIT */
/* What keys and values are like, what error of attention follows from that for each format, and what error there is.
 *
 * Predicted, to first order. A format of relative error D (mean of |x - x'|^2 / |x|^2 of Gaussian vectors) leaves an
 * error of all directions alike, so that the logit of key k_i for query q is off by s_i with
 *
 *     s_i^2 = |q|^2 |k_i - m|^2 D / (dim * dim)          m: mean of the key's page; 1/sqrt(dim): attention's scale
 *
 * and the output o = sum of p_i v_i by
 *
 *     E|e|^2 = sum of p_i^2 s_i^2 |v_i - o|^2   (keys)   +   sum of p_i^2 |v_i - m'|^2 D   (values)
 *
 * over the tokens that the query does not see exact. Measured: attention of a cache of the library with its defaults.
 * Errors are relative: root of the sum of |e|^2 over the sum of |o|^2. */
#ifndef TQ_TOOL_PROBE_H
#define TQ_TOOL_PROBE_H

#include "recording.h"

enum { PROBE_FORMATS = 8 };

/* Best first. */
tq_format probe_format(size_t index);

struct probe_side {
    double norm;    /* Mean. */
    double bias;    /* Norm of the mean vector / mean norm. */
    double page;    /* Share of the energy that the means of pages hold. */
    double outlier; /* Largest root mean square of a coordinate / root mean square of all. */
};

struct probe_head { /* Of keys and values, with their queries. */
    struct probe_side k;
    struct probe_side v;
    double near;   /* Share of the attention on the last 64 tokens. */
    double output; /* Sum of |o|^2. */
    double k_part; /* Sum of predicted |e|^2 for D = 1. */
    double v_part;
    double measured[PROBE_FORMATS]; /* Sums of |e|^2, the same format for keys and values. */
};

struct probe {
    const struct recording *recording;
    const struct threads *threads;
    double k_distortion[PROBE_FORMATS]; /* D */
    double v_distortion[PROBE_FORMATS];
    size_t k_bytes[PROBE_FORMATS]; /* Of a vector. */
    size_t v_bytes[PROBE_FORMATS];
    size_t n_heads;
    struct probe_head *heads; /* [layer][KV head] */
    float *outputs;           /* Exact outputs of the queries that are looked at. */
};

bool probe_run(struct probe *probe, const struct recording *recording, const struct threads *threads,
               struct error *error);

void probe_free(struct probe *probe);

/* Relative errors of n heads together. */
double probe_predicted(const struct probe *probe, const struct probe_head *heads, size_t n, size_t k_format,
                       size_t v_format);
double probe_measured(const struct probe_head *heads, size_t n, size_t format);

/* What to use, for a relative error of `target` or less on average over the layers. */
struct probe_advice {
    size_t k_format;
    size_t v_format;
    double predicted; /* Mean over the layers. */
    double measured;
    double k_alone; /* Predicted, with exact values; and the other way round. */
    double v_alone;
    uint32_t protect;       /* First and last layers that are worse than 1.5 times the target, if no others are. */
    uint32_t worst_layer;   /* By prediction. */
    double worst_predicted; /* Its error. */
};

/* The smallest pair of formats that keeps to the target by prediction, and its error as measured. */
bool probe_advise(const struct probe *probe, double target, struct probe_advice *advice, struct error *error);

#endif /* TQ_TOOL_PROBE_H */
