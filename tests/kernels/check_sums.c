/* SPDX-License-Identifier: MIT
 *
 * Weighted sums of rows. */
#include "check.h"
#include "codes.h"

#include <math.h>

typedef struct sums_trial {
    const tq_code *code;
    size_t n_q;
    size_t n;
    size_t w_stride;
    const float *w;
    const uint8_t *rows;
    output *sums;
} sums_trial;

/* Some weights are zero: such rows add nothing. */
static void clear_some(trial *t, float *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        w[i] = draw(t, 8) ? w[i] : 0;
    }
}

/* unit = sum over k: |w_ik| lengths[k], for all coordinates of sum i. They grow: from about as much as is added. */
static void set_units(trial *t, const sums_trial *s, const double *lengths)
{
    float *sums = s->sums->data;
    for (size_t i = 0; i < s->n_q; i++) {
        double unit = 0;
        for (size_t k = 0; k < s->n; k++) {
            unit += length_of(s->w + i * s->w_stride + k, 1) * lengths[k];
        }
        for (size_t j = 0; j < t->dim; j++) {
            s->sums->unit[i * t->dim + j] = unit;
            sums[i * t->dim + j] = (float)unit * draw_bell(t);
        }
    }
}

static bool draw_sums(trial *t, unsigned families, sums_trial *s)
{
    double lengths[MAX_ROWS];
    s->code = draw_code(t, families);
    if (s->code == NULL) {
        return false;
    }
    s->n_q = draw_queries(t, MAX_QUERIES);
    s->n = draw_rows(t, MAX_ROWS);
    s->w_stride = draw_stride(t, s->n);
    float *w = input_matrix(t, "w", s->n_q, s->n, s->w_stride);
    for (size_t i = 0; i < s->n_q; i++) {
        clear_some(t, w + i * s->w_stride, s->n);
    }
    s->w = w;
    s->rows = input_rows(t, "the rows", s->code, s->n, false);
    s->sums = output_floats(t, "sums", s->n_q * t->dim);
    for (size_t k = 0; k < s->n; k++) {
        lengths[k] = families == PROD ? residual_length(s->code, s->rows, k) : row_length(t, s->code, s->rows, k);
    }
    set_units(t, s, lengths);
    return true;
}

/* `rows_are` is what the operation takes first, a code or a dimension. */
#define SUM_CHECKER(operation, families, rows_are)                                                                     \
    void check_##operation(trial *t)                                                                                   \
    {                                                                                                                  \
        sums_trial s;                                                                                                  \
        if (!draw_sums(t, families, &s)) {                                                                             \
            return;                                                                                                    \
        }                                                                                                              \
        while (next_backend(t)) {                                                                                      \
            TIMED(t, t->kernels->operation(rows_are, s.w, s.w_stride, s.n_q, s.rows, s.n, s.sums->data));              \
        }                                                                                                              \
        expect(t, s.sums);                                                                                             \
    }

SUM_CHECKER(lloyd_sum, t->bench != NULL ? LLOYD : LLOYD | PROD, s.code)
SUM_CHECKER(trellis_sum, TRELLIS, s.code)
SUM_CHECKER(sign_sum, PROD, s.code)
SUM_CHECKER(half_sum, HALVES, t->dim)
