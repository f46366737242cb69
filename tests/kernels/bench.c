/* SPDX-License-Identifier: MIT
 *
 * The time of a kernel: medians of slices of the thread's CPU time, backends in turn, so that a change of the machine's
 * mood meets all of them. */
#include "check.h"

#include <stdio.h>

enum { ROUNDS = 15, MAX_BACKENDS = 16 };
static const double SLICE_NS = 1e5; /* Long against the clock's resolution. */
static const size_t QUERIES[] = {1, 4, 8};

struct bench {
    const tq_kernels *backends;
    size_t n;
    size_t round;
    size_t turn;       /* Which backend. */
    size_t variant;    /* Which code, or type. */
    size_t query;      /* Index of QUERIES. */
    size_t n_variants; /* What the checker can draw from; 0: it draws none. */
    bool has_queries;
    bool calibrating;
    size_t repeats[MAX_BACKENDS]; /* Calls that fill a slice. */
    double ns[MAX_BACKENDS][ROUNDS];
};

size_t bench_queries(trial *t)
{
    t->bench->has_queries = true;
    return QUERIES[t->bench->query];
}

size_t bench_variant(trial *t, size_t n)
{
    t->bench->n_variants = n;
    return t->bench->variant;
}

bool bench_next_backend(trial *t)
{
    bench *b = t->bench;
    if (t->turn > 0 && !b->calibrating && ++b->turn == b->n) {
        b->turn = 0;
        b->round++;
    }
    t->turn = 1;
    if (b->round == ROUNDS) {
        return false;
    }
    b->calibrating = b->round == 0 && b->calibrating;
    t->kernels = &b->backends[b->turn];
    return true;
}

size_t bench_repeats(trial *t)
{
    return t->bench->repeats[t->bench->turn];
}

/* In the first round, calls are doubled until they take long enough; that also warms caches and branch predictors. */
void bench_add(trial *t, double ns)
{
    bench *b = t->bench;
    size_t *repeats = &b->repeats[b->turn];
    b->ns[b->turn][b->round] = ns / (double)*repeats;
    b->calibrating = b->round == 0 && ns < SLICE_NS;
    if (b->calibrating) {
        *repeats *= 2;
    }
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_row(const trial *t)
{
    bench *b = t->bench;
    printf("%-20s %-22s", t->op, t->label[0] == '\0' ? "" : t->label + 2); /* It begins with a comma. */
    for (size_t i = 0; i < b->n; i++) {
        qsort(b->ns[i], ROUNDS, sizeof *b->ns[i], ascending);
        const double ns = b->ns[i][ROUNDS / 2];
        printf(" %10.1f %8.4f", ns, ns / (double)t->elements);
    }
    putchar('\n');
    fflush(stdout);
}

/* Measures one operation with one code and number of queries. */
static void measure(trial *t, const operation *op)
{
    bench *b = t->bench;
    b->round = 0;
    b->turn = 0;
    b->calibrating = false;
    for (size_t i = 0; i < b->n; i++) {
        b->repeats[i] = 1;
    }
    t->op = op->name;
    t->class = NORMAL;
    t->dim = BENCH_DIM;
    t->rng = rng_seeded(1);
    run_trial(t, op->check);
    print_row(t);
}

static void print_head(const tq_kernels *backends, size_t n)
{
    printf("d = %d, %d rows, one gain; ns per call and per coordinate of a row and a query\n%-43s", BENCH_DIM,
           BENCH_ROWS, "");
    for (size_t i = 0; i < n; i++) {
        printf(" %19s", backends[i].backend);
    }
    putchar('\n');
}

void bench_operations(const operation *operations, size_t n_operations, const tq_kernels *backends, size_t n)
{
    static bench b;
    static trial t;
    static char problem[PROBLEM_BYTES];
    b.backends = backends;
    b.n = n;
    t.bench = &b;
    t.problem = problem;
    t.scalar = &backends[0];
    print_head(backends, n);
    for (size_t i = 0; i < n_operations; i++) {
        b.has_queries = false;
        b.n_variants = 0;
        for (b.query = 0; b.query == 0 || (b.has_queries && b.query < sizeof QUERIES / sizeof *QUERIES); b.query++) {
            for (b.variant = 0; b.variant == 0 || b.variant < b.n_variants; b.variant++) {
                measure(&t, &operations[i]);
            }
        }
    }
}
