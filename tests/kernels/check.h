/* SPDX-License-Identifier: MIT
 *
 * The checkers: one per row of kernels.def, which makes one trial of the operation. A row without one does not link. */
#ifndef TQ_TESTS_CHECK_H
#define TQ_TESTS_CHECK_H

#include "trial.h"

#define X(name, contract, result, arguments) void check_##name(trial *t);
#include "kernels/kernels.def"
#undef X

typedef struct operation {
    const char *name;
    double tolerance; /* Of kernels.def; 0 means EXACT. */
    void (*check)(trial *t);
} operation;

/* Medians of the time of every operation of the table, on `n` backends in turn. */
void bench_operations(const operation *operations, size_t n_operations, const tq_kernels *backends, size_t n);

/* Writes a wrong kernel over that of `kernels`: proof that this program notices. The operation's name; null if there is
 * no wrong kernel called `name`. */
const char *break_kernels(const char *name, tq_kernels *kernels);

#endif
