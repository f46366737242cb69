/* SPDX-License-Identifier: MIT
 *
 * A trial: one call of one operation on drawn arguments, by the scalar backend and by the backend under test.
 *
 *     const float *x = input_floats(t, "x", n);              draw arguments; all buffers lie against guard pages
 *     output *y = output_floats(t, "y", n);
 *     while (next_backend(t)) {
 *         TIMED(t, t->kernels->operation(x, n, y->data));    call it
 *     }
 *     expect(t, y);                                          compare, as the contract in kernels.def says
 *
 * To measure times, the same function runs with fixed shapes, more backends and many calls. */
#ifndef TQ_TESTS_TRIAL_H
#define TQ_TESTS_TRIAL_H

#include <stdbool.h>

#include "kernels/kernels.h"
#include "support.h"

/* What numbers are drawn. Each function that draws says what its classes are where that is not plain. */
typedef enum input_class {
    NORMAL,
    ZEROS, /* All, or half of them, of both signs. */
    DENORMALS,
    OUTLIER,  /* One is 2^20 times as large as the others. */
    EXTREMES, /* Near the ends of what f32, or f16, can hold. */
    TIES,     /* Half-way between two roundings. */
    N_CLASSES
} input_class;

enum { MAX_ROWS = 65, MAX_QUERIES = 16, MAX_OUTPUTS = 4 };

typedef struct output {
    const char *name;
    void *data; /* Of the backend whose turn it is. What is written here before the first turn, all backends find. */
    size_t bytes;
    double *unit; /* Of each float: what the tolerance is multiplied with. 0, as it is made, asks for equality. */
    unsigned char *expected;
    unsigned char *actual;
} output;

typedef struct bench bench;

typedef struct trial {
    const char *op;
    double tolerance;
    const tq_kernels *kernels; /* Of the backend whose turn it is. */
    const tq_kernels *scalar;
    const tq_kernels *tested;
    bench *bench; /* Null while comparing. */
    struct rng rng;
    input_class class;
    size_t dim;
    size_t turn;
    size_t elements; /* Coordinates of all rows and queries, for times per element. */
    output outputs[MAX_OUTPUTS];
    size_t n_outputs;
    char shape[400]; /* What was drawn, in words. */
    char label[60];  /* What of it times are measured for. */
    char *problem;   /* What is wrong, or empty; [PROBLEM_BYTES]. */
} trial;

enum { PROBLEM_BYTES = 1000 };

/* --- drawing ----------------------------------------------------------------------------------------------------- */

size_t draw(trial *t, size_t below);
/* About a standard normal, within +-3.5. */
float draw_bell(trial *t);
/* Any of dozens of row counts up to `most`, and 0. */
size_t draw_rows(trial *t, size_t most);
/* 0 .. most. */
size_t draw_queries(trial *t, size_t most);
/* n, or a little more. */
size_t draw_stride(trial *t, size_t n);
/* Notes what was drawn, for reports. */
void describe(trial *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, for what is measured one by one: a code, a type, a number of queries. */
void label(trial *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Numbers of the trial's class. */
void fill_floats(trial *t, float *x, size_t n);

/* --- buffers ----------------------------------------------------------------------------------------------------- */

/* Against a guard page at either end, or at an odd address. Not initialised. */
void *input(trial *t, const char *name, size_t bytes, size_t alignment);
float *input_floats(trial *t, const char *name, size_t n);
/* [n_rows, stride] with n numbers in each row and NaN between rows. */
float *input_matrix(trial *t, const char *name, size_t n_rows, size_t n, size_t stride);
const void *input_copy(trial *t, const char *name, const void *from, size_t bytes, size_t alignment);

output *output_bytes(trial *t, const char *name, size_t bytes, size_t alignment);
output *output_floats(trial *t, const char *name, size_t n);
/* Floats of an array [n_rows, stride] with n in each row: nothing follows the last one. */
size_t matrix_floats(size_t n_rows, size_t n, size_t stride);

/* --- calling and comparing --------------------------------------------------------------------------------------- */

/* Makes t->kernels the next backend; false after the last. */
bool next_backend(trial *t);

#define TIMED(t, call)                                                                                                 \
    do {                                                                                                               \
        for (size_t repeats_left = timing_start(t); repeats_left > 0; repeats_left--) {                                \
            call;                                                                                                      \
        }                                                                                                              \
        timing_stop(t);                                                                                                \
    } while (0)
size_t timing_start(trial *t);
void timing_stop(trial *t);

/* Euclid's, for units: 0 for zeros, else at least 2^-100, so that what denormal numbers lose is allowed for. */
double length_of(const float *x, size_t n);

/* EXACT: equal bytes. WITHIN: each float is at most tolerance * unit from the scalar backend's. */
void expect(trial *t, const output *out);
/* Equal bytes, whatever the contract. */
void expect_bytes(trial *t, const output *out, const void *expected, size_t bytes);

/* One trial of an operation. False, with trial.problem set, if anything is wrong; a fault ends the program. */
bool run_trial(trial *t, void (*check)(trial *t));
/* Installs the handler of faults. */
void catch_faults(void);
const char *class_name(input_class class);

/* --- bench.c: what next_backend and TIMED do while times are measured. -------------------------------------------- */

bool bench_next_backend(trial *t);
size_t bench_repeats(trial *t);
void bench_add(trial *t, double ns);
size_t bench_queries(trial *t);
/* Which of n codes, or types. */
size_t bench_variant(trial *t, size_t n);
enum { BENCH_DIM = 128, BENCH_ROWS = 64 };

#endif
