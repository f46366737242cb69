/* SPDX-License-Identifier: MIT */
/* The baselines, in every set of loops that this machine can run: errors within the bounds of their definitions,
 * scores, weighted sums and attention against decode and double precision, rotation undone; and the reader of memory. A
 * slow or wrong baseline would flatter us. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "bandwidth.h"
#include "baselines.h"
#include "f16_attention.h"
#include "random.h"

enum { MOST_ROWS = 131 };

static int failures;

__attribute__((format(printf, 2, 3))) static void expect(int condition, const char *format, ...)
{
    if (!condition) {
        va_list arguments;
        va_start(arguments, format);
        vfprintf(stderr, format, arguments);
        va_end(arguments);
        fputc('\n', stderr);
        failures++;
    }
}

/* Roughly Gaussian: twelve evenly distributed numbers, less their mean. */
static void fill(float *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        double sum = -6.0;
        for (int j = 0; j < 12; j++) {
            sum += (double)(tq_random_next(&seed) >> 11) * 0x1p-53;
        }
        x[i] = (float)sum;
    }
}

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

struct fixture {
    struct baseline baseline;
    const char *name;
    size_t n;
    float x[MOST_ROWS * TQ_MAX_DIM];
    float decoded[MOST_ROWS * TQ_MAX_DIM];
    float q[TQ_MAX_DIM];
    float scores[MOST_ROWS + 1];
    float out[TQ_MAX_DIM];
    uint8_t rows[MOST_ROWS * TQ_MAX_DIM * 2];
};

/* Relative squared error of the decoded rows. D of q8_0 and q4_0 depends on each block's extreme, so that the bands are
 * measured ones, with room for few rows; for f16, rounding to 11 bits is off by at most 2^-11. */
static void check_error(const struct fixture *fixture, enum baseline_kind kind)
{
    static const double least[BASELINE_COUNT] = {1e-9, 1e-5, 4e-3, 4e-3};
    static const double most[BASELINE_COUNT] = {0x1p-22, 6e-5, 12e-3, 12e-3};
    const size_t count = fixture->n * fixture->baseline.dim;
    double error = 0.0;
    for (size_t i = 0; i < count; i++) {
        const double difference = (double)fixture->x[i] - (double)fixture->decoded[i];
        error += difference * difference;
    }
    error /= dot(fixture->x, fixture->x, count);
    expect(error > least[kind] && error < most[kind], "%s: D is %g, not %g to %g", fixture->name, error, least[kind],
           most[kind]);
}

/* Scores round the query to 8 bits (but for f16): an error of the score of at most |q8 - q| |row|. */
static void check_scores(struct fixture *fixture, enum baseline_kind kind)
{
    const size_t dim = fixture->baseline.dim;
    const double relative = kind == BASELINE_F16 ? 1e-6 : 1e-2;
    const float untouched = 12345.0F;
    fixture->scores[fixture->n] = untouched;
    baseline_scores(&fixture->baseline, fixture->q, fixture->rows, fixture->n, 0.5F, fixture->scores);
    for (size_t i = 0; i < fixture->n; i++) {
        const float *row = fixture->decoded + i * dim;
        const double exact = 0.5 * dot(fixture->q, row, dim);
        const double budget = relative * 0.5 * sqrt(dot(fixture->q, fixture->q, dim) * dot(row, row, dim));
        expect(fabs((double)fixture->scores[i] - exact) <= budget, "%s: score %zu is %g, not %g +- %g", fixture->name,
               i, (double)fixture->scores[i], exact, budget);
    }
    expect(!(fixture->scores[fixture->n] < untouched) && !(fixture->scores[fixture->n] > untouched),
           "%s: wrote beyond the last score", fixture->name);
}

static void check_weighted_sum(struct fixture *fixture)
{
    const size_t dim = fixture->baseline.dim;
    baseline_weighted_sum(&fixture->baseline, fixture->scores, fixture->rows, fixture->n, fixture->out);
    for (size_t j = 0; j < dim; j++) {
        double exact = 0.0;
        double size = 0.0;
        for (size_t i = 0; i < fixture->n; i++) {
            const double term = (double)fixture->scores[i] * (double)fixture->decoded[i * dim + j];
            exact += term;
            size += fabs((double)fixture->scores[i]);
        }
        /* A rotated sum mixes all coordinates, so its rounding errors are those of the whole vector. */
        expect(fabs((double)fixture->out[j] - exact) <= 1e-5 * (size + 1e-3) * 4.0, "%s: sum %zu is %g, not %g",
               fixture->name, j, (double)fixture->out[j], exact);
    }
}

static void check(struct fixture *fixture, const struct baseline_loops *loops, enum baseline_kind kind, size_t dim,
                  size_t n)
{
    char name[128];
    snprintf(name, sizeof name, "%s, dim %zu, %zu rows [%s]", baseline_name(kind), dim, n, loops->name);
    fixture->name = name;
    fixture->n = n;
    fill(fixture->x, n * dim, 1 + dim);
    fill(fixture->q, dim, 2);
    baseline_init(&fixture->baseline, kind, dim, 7, loops);
    baseline_encode(&fixture->baseline, fixture->x, n, fixture->rows);
    baseline_decode(&fixture->baseline, fixture->rows, n, fixture->decoded);
    check_error(fixture, kind);
    check_scores(fixture, kind);
    check_weighted_sum(fixture);
}

/* ggml's definition on one block, worked out by hand: the extreme -16 gives the scale 2 and code 0; 15 is rounded up to
 * code 16 and clipped to 15. */
static void check_q4_0_by_hand(const struct baseline_loops *loops)
{
    static const uint8_t expected[18] = {0x00, 0x40, 0x80, 0x8F, 0x88, 0x88, 0x88, 0x88, 0x88,
                                         0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x98};
    struct baseline baseline;
    float x[32] = {0};
    uint8_t row[18];
    x[0] = -16.0F; /* low nibble of byte 0: 0 */
    x[1] = 15.0F;  /* low nibble of byte 1: 15 */
    x[31] = 2.0F;  /* high nibble of byte 15: 9 */
    baseline_init(&baseline, BASELINE_Q4_0, 32, 0, loops);
    baseline_encode(&baseline, x, 1, row);
    for (size_t i = 0; i < sizeof row; i++) {
        expect(row[i] == expected[i], "q4_0 [%s]: byte %zu is %02x, not %02x", loops->name, i, row[i], expected[i]);
    }
}

enum { MOST_HEADS = 271, MOST_KEYS = 523 }; /* More than a stripe has. */

struct attention {
    float q[MOST_HEADS * TQ_MAX_DIM];
    float x[MOST_KEYS * TQ_MAX_DIM];
    float k[MOST_KEYS * TQ_MAX_DIM]; /* As the rows have them. */
    float v[MOST_KEYS * TQ_MAX_DIM];
    float out[MOST_HEADS * TQ_MAX_DIM + 1];
    uint8_t k_rows[MOST_KEYS * TQ_MAX_DIM * 2];
    uint8_t v_rows[MOST_KEYS * TQ_MAX_DIM * 2];
};

/* One head's softmax and weighted sum in double precision. Weights lie between 0 and 1, so the error is relative to the
 * largest value, which is below 6. */
static void check_head(const struct attention *a, size_t h, size_t dim, size_t n, double scale, const char *name)
{
    double weights[MOST_KEYS];
    double total = 0.0;
    double top = -HUGE_VAL;
    for (size_t i = 0; i < n; i++) {
        weights[i] = scale * dot(a->q + h * dim, a->k + i * dim, dim);
        top = fmax(top, weights[i]);
    }
    for (size_t i = 0; i < n; i++) {
        weights[i] = exp(weights[i] - top);
        total += weights[i];
    }
    for (size_t j = 0; j < dim; j++) {
        double exact = 0.0;
        for (size_t i = 0; i < n; i++) {
            exact += weights[i] / total * (double)a->v[i * dim + j];
        }
        expect(fabs((double)a->out[h * dim + j] - exact) <= 2e-5, "%s: output %zu of head %zu is %g, not %g", name, j,
               h, (double)a->out[h * dim + j], exact);
    }
}

/* Queries are long, so that some weights are tiny and the largest score keeps growing; more so from head to head. */
static void check_attention(struct attention *a, const struct baseline_loops *loops, size_t heads, size_t dim, size_t n)
{
    char name[128];
    const float untouched = 12345.0F;
    const double scale = 1.0 / sqrt((double)dim);
    snprintf(name, sizeof name, "attention, %zu heads, dim %zu, %zu keys [%s]", heads, dim, n, loops->name);
    fill(a->q, heads * dim, 3);
    for (size_t h = 0; h < heads; h++) {
        for (size_t j = 0; j < dim; j++) {
            a->q[h * dim + j] *= (float)(1 + h % 15);
        }
    }
    fill(a->x, n * dim, 4 + n);
    loops->f16.encode(a->x, dim, n, a->k_rows);
    fill(a->x, n * dim, 5 + dim);
    loops->f16.encode(a->x, dim, n, a->v_rows);
    loops->f16.decode(a->k_rows, dim, n, a->k);
    loops->f16.decode(a->v_rows, dim, n, a->v);
    a->out[heads * dim] = untouched;
    loops->f16_attend(a->q, heads, dim, a->k_rows, a->v_rows, n, (float)scale, a->out);
    for (size_t h = 0; h < heads; h++) {
        check_head(a, h, dim, n, scale, name);
    }
    expect(!(a->out[heads * dim] < untouched) && !(a->out[heads * dim] > untouched), "%s: wrote beyond the output",
           name);
}

static void check_attention_shapes(struct attention *attention, const struct baseline_loops *loops)
{
    static const size_t attention_dims[] = {16, 48, 64, 80, 128, 256, 1024};
    static const size_t keys[] = {1, 2, 31, 32, 33, 64, 131};
    static const size_t heads[] = {1, 2, 3, 4, 8, 15};
    for (size_t d = 0; d < sizeof attention_dims / sizeof *attention_dims; d++) {
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            for (size_t h = 0; h < sizeof heads / sizeof *heads; h++) {
                check_attention(attention, loops, heads[h], attention_dims[d], keys[k]);
            }
        }
    }
    check_attention(attention, loops, MOST_HEADS, 16, MOST_KEYS);
}

/* A reader that leaves bytes out would find the memory too fast. */
static void check_read(const struct baseline_loops *loops)
{
    static uint8_t memory[40 * BANDWIDTH_STEP];
    const uint64_t before = loops->read(memory, sizeof memory);
    for (size_t i = 0; i < sizeof memory; i++) {
        memory[i] = 1;
        expect(loops->read(memory, sizeof memory) != before, "read [%s]: byte %zu does not matter", loops->name, i);
        memory[i] = 0;
    }
}

int main(void)
{
    static const size_t dims[] = {1, 7, 32, 64, 80, 96, 112, 128, 256, 576, 1024};
    static const size_t counts[] = {1, 2, 3, 4, MOST_ROWS};
    struct fixture *fixture = malloc(sizeof *fixture);
    struct attention *attention = malloc(sizeof *attention);
    const struct baseline_loops *loops;
    bool usable;
    if (fixture == NULL || attention == NULL) {
        free(fixture);
        free(attention);
        return EXIT_FAILURE;
    }
    for (size_t set = 0; (loops = baseline_loops_at(set, &usable)) != NULL; set++) {
        if (!usable) {
            printf("not on this machine: %s\n", loops->name);
            continue;
        }
        printf("%s\n", loops->name);
        check_q4_0_by_hand(loops);
        check_attention_shapes(attention, loops);
        check_read(loops);
        for (size_t i = 0; i < sizeof dims / sizeof *dims * (sizeof counts / sizeof *counts); i++) {
            const size_t dim = dims[i / (sizeof counts / sizeof *counts)];
            const size_t n = counts[i % (sizeof counts / sizeof *counts)];
            for (enum baseline_kind kind = 0; kind < BASELINE_COUNT; kind++) {
                if (baseline_supports(kind, dim)) {
                    check(fixture, loops, kind, dim, n);
                }
            }
        }
    }
    free(fixture);
    free(attention);
    printf("%d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
