/* SPDX-License-Identifier: MIT
 *
 * Attention and RoPE in double precision, over whatever keys and values there are. */
#ifndef TQ_TESTS_DOUBLE_REFERENCE_H
#define TQ_TESTS_DOUBLE_REFERENCE_H

#include "support.h"

/* The key (or value) of a token as the query at a position sees it. */
typedef const float *(*vector_lookup)(const void *user, int values, size_t token, size_t kv_head);

/* What attention in double precision needs to know. */
struct attended {
    const tq_attention *attention;
    size_t dims[2]; /* Of keys and of values. */
    size_t n_kv_heads;
    vector_lookup lookup;
    const void *user;
};

/* Attention of query `row`, head `head`, at `position`. Returns the log of the sum. If `page_weights` is not null, it
 * receives for each page the largest weight, relative to their sum: [position / 64 + 1]. */
double attend_in_double(const struct attended *a, size_t row, size_t head, size_t position, double *out,
                        double *page_weights);

/* How far a backend's output may be from that, by the tolerances of page_scores and page_sum in kernels.def, beyond the
 * rounding of f32: a score by its share of |q| |k| times the scale, which is *score_error and moves the weights by
 * twice as much in sum; the sum over a page by its share of the largest weight times value, times the root of 64. Zero
 * on the scalar backend. */
double backend_error(const tq_context *context, const struct attended *a, size_t row, size_t head, size_t position,
                     const double *page_weights, double *score_error);

/* Turns a key by RoPE, as turboquant_cache.h has it. */
void turn_in_double(const tq_rope *rope, size_t dim, double delta, double *x);

#endif
