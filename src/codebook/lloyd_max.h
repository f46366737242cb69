/* SPDX-License-Identifier: MIT
 *
 * Solver for the Lloyd-Max quantiser of the normal distribution. Used by tools/gen_codebooks.c and by the tests, not by
 * the library, which carries its results in tables.c. */
#ifndef TQ_LLOYD_MAX_H
#define TQ_LLOYD_MAX_H

#include <stddef.h>

/* Computes the positive half of the optimal quantiser of N(0,1) with 2 * n_positive levels, which is symmetric:
 * levels[0] < levels[1] < ... are its positive levels. Returns the mean squared error. n_positive is 1..128. */
double tq_lloyd_max(size_t n_positive, double *levels);

#endif /* TQ_LLOYD_MAX_H */
