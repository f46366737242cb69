/* SPDX-License-Identifier: MIT */
/* tq_micro_bench: every operation of every format of the library at three dimensions, on Google Benchmark.
 *
 * Names are format/dim/operation, as in turbo4/128/scores; items are vectors. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "formats.h"
#include "gbench_shim.h"
#include "random.h"

enum { VECTORS = 1024, OPERATIONS = 4 };

/* Data of one format at one dimension. */
struct fixture {
    struct format format;
    float *x;       /* [VECTORS][dim] */
    float *weights; /* [VECTORS] */
    float *out;     /* [VECTORS][dim] */
    uint8_t *rows;
};

static void run_encode(void *arg)
{
    const struct fixture *fixture = arg;
    fixture->format.calls->encode(fixture->format.keys, fixture->x, VECTORS, fixture->rows);
}

static void run_decode(void *arg)
{
    const struct fixture *fixture = arg;
    fixture->format.calls->decode(fixture->format.keys, fixture->rows, VECTORS, fixture->out);
}

static void run_scores(void *arg)
{
    const struct fixture *fixture = arg;
    fixture->format.calls->scores(fixture->format.keys, fixture->x, fixture->rows, VECTORS, 1.0F, fixture->out);
}

static void run_weighted_sum(void *arg)
{
    const struct fixture *fixture = arg;
    fixture->format.calls->weighted_sum(fixture->format.values, fixture->weights, fixture->rows, VECTORS, fixture->out);
}

static const struct {
    const char *name;
    void (*run)(void *arg);
} operations[OPERATIONS] = {
    {"encode", run_encode}, {"decode", run_decode}, {"scores", run_scores}, {"weighted_sum", run_weighted_sum}};

/* Evenly distributed in (-1, 1): speed does not depend on the distribution. */
static void fill(float *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(tq_random_next(&seed) >> 40) * 0x1p-23F - 1.0F + 0x1p-24F;
    }
}

static void fixture_destroy(struct fixture *fixture)
{
    format_destroy(&fixture->format);
    free(fixture->x);
    free(fixture->weights);
    free(fixture->out);
    free(fixture->rows);
}

static int fixture_create(const tq_context *context, tq_format id, size_t dim, struct fixture *fixture)
{
    const struct format_options defaults = {.seed = 0};
    if (format_from_library(context, id, dim, &defaults, &fixture->format) != TQ_OK) {
        return 0;
    }
    fixture->x = malloc(VECTORS * dim * sizeof *fixture->x);
    fixture->weights = malloc(VECTORS * sizeof *fixture->weights);
    fixture->out = malloc(VECTORS * dim * sizeof *fixture->out);
    fixture->rows = malloc(VECTORS * fixture->format.row_bytes);
    if (fixture->x == NULL || fixture->weights == NULL || fixture->out == NULL || fixture->rows == NULL) {
        fixture_destroy(fixture);
        return 0;
    }
    fill(fixture->x, VECTORS * dim, 1);
    fill(fixture->weights, VECTORS, 2);
    run_encode(fixture); /* So that decode, scores and weighted_sum have rows whichever runs first. */
    return 1;
}

static void fixture_register(struct fixture *fixture, size_t dim)
{
    for (size_t i = 0; i < OPERATIONS; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s/%zu/%s", fixture->format.name, dim, operations[i].name);
        gbench_register(name, operations[i].run, fixture, VECTORS);
    }
}

int main(int argc, char **argv)
{
    static const size_t dims[] = {64, 128, 256};
    const size_t most = tq_format_count() * sizeof dims / sizeof *dims;
    size_t count = 0;
    tq_context *context;
    const tq_status status = tq_context_create(NULL, &context);
    if (status != TQ_OK) {
        fprintf(stderr, "tq_micro_bench: %s\n", tq_status_string(status));
        return EXIT_FAILURE;
    }
    struct fixture *fixtures = calloc(most, sizeof *fixtures);
    int exit_code = EXIT_FAILURE;
    if (fixtures != NULL) {
        for (size_t i = 0; i < most; i++) {
            const size_t dim = dims[i % (sizeof dims / sizeof *dims)];
            const tq_format id = tq_format_at(i / (sizeof dims / sizeof *dims));
            if (fixture_create(context, id, dim, &fixtures[count])) {
                fixture_register(&fixtures[count++], dim);
            }
        }
        exit_code = gbench_run(argc, argv);
    }
    for (size_t i = 0; i < count; i++) {
        fixture_destroy(&fixtures[i]);
    }
    free(fixtures);
    tq_context_destroy(context);
    return exit_code;
}
