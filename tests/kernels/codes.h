/* SPDX-License-Identifier: MIT
 *
 * Drawing codes, vectors to encode with them, and rows. */
#ifndef TQ_TESTS_CODES_H
#define TQ_TESTS_CODES_H

#include "trial.h"

/* What a row is. LLOYD kernels read the first stage of PROD rows too. */
typedef enum code_family { LLOYD = 1, TRELLIS = 2, PROD = 4, HALVES = 8 } code_family;

/* A code of one of these families for the trial's dimension: every number of bits, scale mode and length of the gain
 * list; its tables lie against guard pages. Null if there is none for that dimension. */
const tq_code *draw_code(trial *t, unsigned families);

/* A rotated vector y: [dim] of the trial's class; returns its |x|^2. Ties lie on the code's thresholds, or half-way
 * between the targets of the trellis; denormals are around 2^-126 in |x|^2 or around the least f16 scale; extremes
 * around the largest ones. */
float fill_rotated(trial *t, const tq_code *code, float *y);

/* n rows: some by the scalar encoder, the others of random codes, the scales of the trial's class. With `uncentred`,
 * the sign bits of scales are random, as pages have them. */
const uint8_t *input_rows(trial *t, const char *name, const tq_code *code, size_t n, bool uncentred);

/* |v| of the vector that row k decodes to, before rotation. */
double row_length(const trial *t, const tq_code *code, const uint8_t *rows, size_t k);
/* |r| of row k of a PROD code. */
double residual_length(const tq_code *code, const uint8_t *rows, size_t k);

#endif
