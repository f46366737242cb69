/* SPDX-License-Identifier: MIT
 *
 * Inner products of queries with rows. */
#include "check.h"
#include "codes.h"

#include <math.h>

typedef struct scores_trial {
    const tq_code *code;
    size_t n_q;
    size_t n;
    size_t stride;
    const float *q;
    const uint8_t *rows;
    output *scores;
} scores_trial;

static bool draw_scores(trial *t, unsigned families, scores_trial *s)
{
    s->code = draw_code(t, families);
    if (s->code == NULL) {
        return false;
    }
    s->n_q = draw_queries(t, MAX_QUERIES);
    s->n = draw_rows(t, MAX_ROWS);
    s->stride = draw_stride(t, s->n);
    s->q = input_floats(t, "q", s->n_q * t->dim);
    s->rows = input_rows(t, "the rows", s->code, s->n, false);
    s->scores = output_floats(t, "scores", matrix_floats(s->n_q, s->n, s->stride));
    return true;
}

/* unit = |q_i| lengths[k]; between rows of scores it stays 0: nothing may be written there. */
static void set_units(const trial *t, const scores_trial *s, const double *lengths)
{
    for (size_t i = 0; i < s->n_q; i++) {
        const double q = length_of(s->q + i * t->dim, t->dim);
        for (size_t k = 0; k < s->n; k++) {
            s->scores->unit[i * s->stride + k] = q * lengths[k];
        }
    }
}

static void expect_scores(trial *t, const scores_trial *s)
{
    /* Queries of codes are rotated: sqrt(dim) times as long as before. */
    const double rotated = s->code->bits == 0 ? 1 : sqrt((double)t->dim);
    double lengths[MAX_ROWS];
    for (size_t k = 0; k < s->n; k++) {
        lengths[k] = row_length(t, s->code, s->rows, k) / rotated;
    }
    set_units(t, s, lengths);
    expect(t, s->scores);
}

void check_lloyd_scores(trial *t)
{
    scores_trial s;
    if (!draw_scores(t, t->bench != NULL ? LLOYD : LLOYD | PROD, &s)) {
        return;
    }
    while (next_backend(t)) {
        TIMED(t, t->kernels->lloyd_scores(s.code, s.q, s.n_q, s.rows, s.n, s.scores->data, s.stride));
    }
    expect_scores(t, &s);
}

void check_trellis_scores(trial *t)
{
    scores_trial s;
    if (!draw_scores(t, TRELLIS, &s)) {
        return;
    }
    while (next_backend(t)) {
        TIMED(t, t->kernels->trellis_scores(s.code, s.q, s.n_q, s.rows, s.n, s.scores->data, s.stride));
    }
    expect_scores(t, &s);
}

void check_half_scores(trial *t)
{
    scores_trial s;
    if (!draw_scores(t, HALVES, &s)) {
        return;
    }
    while (next_backend(t)) {
        TIMED(t, t->kernels->half_scores(t->dim, s.q, s.n_q, s.rows, s.n, s.scores->data, s.stride));
    }
    expect_scores(t, &s);
}

void check_sign_scores(trial *t)
{
    scores_trial s;
    double lengths[MAX_ROWS];
    if (!draw_scores(t, PROD, &s)) {
        return;
    }
    for (size_t k = 0; k < s.n; k++) {
        lengths[k] = residual_length(s.code, s.rows, k) * sqrt((double)t->dim);
    }
    set_units(t, &s, lengths);
    float *scores = s.scores->data; /* They grow: from about as much as is added. */
    for (size_t i = 0; i < s.scores->bytes / sizeof *scores; i++) {
        scores[i] = (float)s.scores->unit[i] * draw_bell(t);
    }
    while (next_backend(t)) {
        TIMED(t, t->kernels->sign_scores(s.code, s.q, s.n_q, s.rows, s.n, s.scores->data, s.stride));
    }
    expect(t, s.scores);
}
