/* SPDX-License-Identifier: MIT
 *
 * The step of the online softmax. */
#include "check.h"

#include <math.h>

/* Scores of a row; some, or all, are masked. */
static void fill_scores(trial *t, float *scores, size_t n)
{
    const size_t masked = draw(t, 4); /* 0: all, 1: every second, else none. */
    fill_floats(t, scores, n);
    for (size_t k = 0; k < n && t->bench == NULL; k++) {
        if (masked == 0 || (masked == 1 && draw(t, 2))) {
            scores[k] = -INFINITY;
        }
    }
}

/* What was found in pages before; for some rows this is the first. */
static void fill_state(trial *t, size_t n, float *largest, float *weight)
{
    fill_floats(t, largest, 1);
    *weight = (float)n * (float)draw(t, 64) / 64;
    if (draw(t, 4) == 0) {
        *largest = -INFINITY;
        *weight = 0;
    }
}

void check_soften(trial *t)
{
    const size_t n = draw_rows(t, TQ_PAGE_TOKENS);
    const size_t n_q = draw_queries(t, TQ_PAGE_QUERIES);
    const size_t stride = draw_stride(t, n);
    output *scores = output_floats(t, "scores", matrix_floats(n_q, n, stride));
    output *largest = output_floats(t, "largest", n_q);
    output *weight = output_floats(t, "weight", n_q);
    output *factor = output_floats(t, "the factor", n_q);
    t->elements = n_q * n;
    for (size_t i = 0; i < n_q; i++) {
        fill_scores(t, (float *)scores->data + i * stride, n);
        fill_state(t, n, (float *)largest->data + i, (float *)weight->data + i);
        for (size_t k = 0; k < n; k++) {
            scores->unit[i * stride + k] = 1;
        }
        factor->unit[i] = 1;
        weight->unit[i] = (double)n + (double)((float *)weight->data)[i]; /* At least so many scores so far. */
    }
    while (next_backend(t)) {
        TIMED(t, t->kernels->soften(scores->data, stride, n_q, n, largest->data, weight->data, factor->data));
    }
    expect(t, scores);
    expect(t, largest);
    expect(t, weight);
    expect(t, factor);
}
