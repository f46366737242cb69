/* SPDX-License-Identifier: MIT
 *
 * Encoded pages. Their layout is the backend's own, so each backend writes the page that it reads. */
#include "check.h"
#include "codes.h"
#include "half.h"
#include "kernels/scalar/scalar.h"

#include <math.h>

enum { P = TQ_PAGE_TOKENS, PAGE_ALIGNMENT = 64 };

typedef struct page_trial {
    const tq_code *code;
    tq_page_kind kind;
    bool has_mean;
    const uint8_t *rows;  /* [P], what the page will hold. */
    const uint8_t *stale; /* [P], what it held before: a cache writes over what it cuts off. */
    const uint8_t *next;
    size_t cut; /* Tokens before this one are written in a second call. */
    size_t first;
    size_t n;
    output *page;
} page_trial;

static bool draw_page(trial *t, tq_page_kind kind, page_trial *p)
{
    p->code = draw_code(t, LLOYD | TRELLIS | HALVES);
    if (p->code == NULL) {
        return false;
    }
    p->kind = kind;
    p->has_mean = p->code->bits != 0 && t->bench == NULL && draw(t, 2);
    p->rows = input_rows(t, "the rows", p->code, P, p->has_mean);
    p->stale = t->bench == NULL && draw(t, 2) ? input_rows(t, "the rows before", p->code, P, p->has_mean) : NULL;
    p->cut = draw(t, P + 1);
    p->n = draw_rows(t, P);
    p->first = draw(t, P - p->n + 1);
    p->page = output_bytes(t, "the page", P * p->code->row_bytes, PAGE_ALIGNMENT);
    p->next = draw(t, 2) ? input(t, "the next page", P * p->code->row_bytes, PAGE_ALIGNMENT) : NULL;
    describe(t, ", %s from token %zu, %s mean, written from token %zu, over %s",
             kind == TQ_PAGE_KEYS ? "keys" : "values", p->first, p->has_mean ? "with" : "without", p->cut,
             p->stale != NULL ? "other rows" : "zeros");
    return true;
}

/* By the backend whose turn it is. */
static void write_page(const trial *t, const page_trial *p)
{
    const size_t row = p->code->row_bytes;
    memset(p->page->data, 0, p->page->bytes);
    if (p->stale != NULL) {
        t->kernels->page_write(p->code, p->kind, p->stale, 0, P, p->page->data);
    }
    t->kernels->page_write(p->code, p->kind, p->rows + p->cut * row, p->cut, P - p->cut, p->page->data);
    t->kernels->page_write(p->code, p->kind, p->rows, 0, p->cut, p->page->data);
}

static tq_page_kind draw_kind(trial *t)
{
    return draw(t, 2) ? TQ_PAGE_KEYS : TQ_PAGE_VALUES;
}

void check_page_write(trial *t)
{
    page_trial p;
    if (!draw_page(t, draw_kind(t), &p)) {
        return;
    }
    output *read = output_bytes(t, "the rows read", P * p.code->row_bytes, 1);
    while (next_backend(t)) {
        write_page(t, &p);
        TIMED(t, t->kernels->page_write(p.code, p.kind, p.rows, 0, P, p.page->data));
        t->kernels->page_read(p.code, p.kind, p.page->data, 0, P, read->data);
    }
    expect_bytes(t, read, p.rows, read->bytes);
}

void check_page_read(trial *t)
{
    page_trial p;
    if (!draw_page(t, draw_kind(t), &p)) {
        return;
    }
    output *read = output_bytes(t, "the rows read", p.n * p.code->row_bytes, 1);
    while (next_backend(t)) {
        write_page(t, &p);
        TIMED(t, t->kernels->page_read(p.code, p.kind, p.page->data, p.first, p.n, read->data));
    }
    expect_bytes(t, read, p.rows + p.first * p.code->row_bytes, read->bytes);
}

static size_t draw_page_queries(trial *t)
{
    const size_t most = TQ_MAX_DIM / t->dim;
    return draw_queries(t, most < TQ_PAGE_QUERIES ? most : TQ_PAGE_QUERIES);
}

/* What it makes is compared by check_page_scores. Here it must stay within its room. */
void check_page_query(trial *t)
{
    const tq_code *code = draw_code(t, LLOYD | TRELLIS | HALVES);
    const size_t n_q = draw_page_queries(t);
    const float *q = input_floats(t, "q", n_q * t->dim);
    output *prepared = output_bytes(t, "prepared", TQ_PREPARED_BYTES, PAGE_ALIGNMENT);
    while (next_backend(t)) {
        TIMED(t, t->kernels->page_query(code, q, n_q, prepared->data));
    }
}

/* |v| of the tokens asked for, or the scales of rows that are shorter: codes of one large coordinate among small ones
 * are, and levels are rounded in units of the scale. */
static void page_lengths(const trial *t, const page_trial *p, double *lengths)
{
    for (size_t k = 0; k < p->n; k++) {
        const uint8_t *row = p->rows + (p->first + k) * p->code->row_bytes;
        const double scale = p->code->bits == 0 ? 0 : fabs((double)tq_f32_from_f16(tq_load_le16(row)));
        lengths[k] = fmax(row_length(t, p->code, p->rows, p->first + k), scale);
    }
}

/* Scores of the mean are added with the rounding of f32, which is not in the unit; 1e-4 of the tolerance is about as
 * much. */
static void expect_scores(trial *t, const page_trial *p, const float *q, size_t n_q, const float *mean, size_t stride,
                          output *scores)
{
    const double rotated = p->code->bits == 0 ? 1 : sqrt((double)t->dim);
    double lengths[P];
    page_lengths(t, p, lengths);
    for (size_t i = 0; i < n_q; i++) {
        const double q_length = length_of(q + i * t->dim, t->dim) / rotated;
        const double added = 1e-4 * q_length * norm_of(mean, t->dim) / rotated;
        for (size_t k = 0; k < p->n; k++) {
            scores->unit[i * stride + k] = q_length * lengths[k] / sqrt((double)t->dim) + added;
        }
    }
    expect(t, scores);
}

/* A mean of any length: halves whose scalar decoding is `mean`. */
static const uint8_t *draw_mean(trial *t, float *mean)
{
    uint8_t *halves = input(t, "the mean", 2 * t->dim, 2);
    const float size = ldexpf(1, (int)draw(t, 21) - 10);
    for (size_t j = 0; j < t->dim; j++) {
        mean[j] = size * draw_bell(t);
    }
    tq_half_encode_scalar(mean, t->dim, halves);
    tq_half_decode_scalar(halves, t->dim, mean);
    return halves;
}

void check_page_scores(trial *t)
{
    page_trial p;
    float mean[TQ_MAX_DIM] = {0};
    if (!draw_page(t, TQ_PAGE_KEYS, &p)) {
        return;
    }
    const size_t n_q = draw_page_queries(t);
    const size_t stride = draw_stride(t, p.n);
    const float *q = input_floats(t, "q", n_q * t->dim);
    const uint8_t *halves = p.has_mean ? draw_mean(t, mean) : NULL;
    output *prepared = output_bytes(t, "prepared", TQ_PREPARED_BYTES, PAGE_ALIGNMENT);
    output *scores = output_floats(t, "scores", matrix_floats(n_q, p.n, stride));
    while (next_backend(t)) {
        write_page(t, &p);
        t->kernels->page_query(p.code, q, n_q, prepared->data);
        TIMED(t, t->kernels->page_scores(p.code, prepared->data, q, n_q, p.page->data, p.first, p.n, halves, p.next,
                                         scores->data, stride));
    }
    expect_scores(t, &p, q, n_q, mean, stride, scores);
}

/* Weights, [n_q, stride], none negative. */
static const float *draw_weights(trial *t, size_t n_q, size_t n, size_t stride)
{
    float *w = input_matrix(t, "w", n_q, n, stride);
    for (size_t i = 0; i < n_q; i++) {
        for (size_t k = 0; k < n; k++) {
            w[i * stride + k] = draw(t, 8) ? fabsf(w[i * stride + k]) : 0;
        }
    }
    return w;
}

/* Sets the units of sum i, and what it grows from. The mean is added with the rounding of f32, as in expect_scores. */
static void set_sum_units(trial *t, size_t i, size_t n, const float *w, const double *lengths, const float *mean,
                          output *sums)
{
    double largest = 0;
    double weight = 0;
    for (size_t k = 0; k < n; k++) {
        largest = fmax(largest, length_of(w + k, 1) * lengths[k]);
        weight += length_of(w + k, 1);
    }
    const double unit = largest * sqrt((double)n);
    for (size_t j = 0; j < t->dim; j++) {
        sums->unit[i * t->dim + j] = unit + 1e-4 * weight * fabs((double)mean[j]);
        ((float *)sums->data)[i * t->dim + j] = (float)unit * draw_bell(t);
    }
}

void check_page_sum(trial *t)
{
    page_trial p;
    double lengths[P];
    float mean[TQ_MAX_DIM] = {0};
    if (!draw_page(t, TQ_PAGE_VALUES, &p)) {
        return;
    }
    const size_t n_q = draw_page_queries(t);
    const size_t w_stride = draw_stride(t, p.n);
    const float *w = draw_weights(t, n_q, p.n, w_stride);
    const uint8_t *halves = p.has_mean ? draw_mean(t, mean) : NULL;
    output *sums = output_floats(t, "sums", n_q * t->dim);
    page_lengths(t, &p, lengths);
    for (size_t i = 0; i < n_q; i++) {
        set_sum_units(t, i, p.n, w + i * w_stride, lengths, mean, sums);
    }
    while (next_backend(t)) {
        write_page(t, &p);
        TIMED(t,
              t->kernels->page_sum(p.code, w, w_stride, n_q, p.page->data, p.first, p.n, halves, p.next, sums->data));
    }
    expect(t, sums);
}
