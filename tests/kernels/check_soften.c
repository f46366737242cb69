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

void check_soften(trial *t)
{
    const size_t n = draw_rows(t, TQ_PAGE_TOKENS);
    output *scores = output_floats(t, "scores", n);
    output *largest = output_floats(t, "largest", 1);
    output *weight = output_floats(t, "weight", 1);
    output *factor = output_floats(t, "the factor", 1);
    t->elements = n;
    fill_scores(t, scores->data, n);
    fill_floats(t, largest->data, 1);
    *(float *)weight->data = (float)n * (float)draw(t, 64) / 64;
    if (draw(t, 4) == 0) { /* The first page. */
        *(float *)largest->data = -INFINITY;
        *(float *)weight->data = 0;
    }
    const double scores_so_far = (double)n + (double)*(float *)weight->data; /* At least so many. */
    while (next_backend(t)) {
        TIMED(t, *(float *)factor->data = t->kernels->soften(scores->data, n, largest->data, weight->data));
    }
    for (size_t k = 0; k < n; k++) {
        scores->unit[k] = 1;
    }
    factor->unit[0] = 1;
    weight->unit[0] = scores_so_far;
    expect(t, scores);
    expect(t, largest);
    expect(t, weight);
    expect(t, factor);
}
