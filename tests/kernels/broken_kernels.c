/* SPDX-License-Identifier: MIT
 *
 * Wrong kernels, each wrong in a way that is easy to overlook: the proof that test_kernels sees it. They are the scalar
 * ones with an error added. */
#include "check.h"

#include "half.h"
#include "kernels/scalar/scalar.h"

/* Loses accuracy. */
static void imprecise(size_t dim, const float *q, size_t n_q, const uint8_t *rows, size_t n, float *scores,
                      size_t stride)
{
    tq_half_scores_scalar(dim, q, n_q, rows, n, scores, stride);
    for (size_t i = 0; i < n_q; i++) {
        for (size_t k = 0; k < n; k++) {
            scores[i * stride + k] *= 1.0001F;
        }
    }
}

/* Flips a bit of one row in a hundred or so. */
static void rarely_wrong(const tq_code *code, const float *y, const float *sum_squares, size_t n, uint8_t *rows)
{
    tq_lloyd_encode_scalar(code, y, sum_squares, n, rows);
    for (size_t i = 0; i < n; i++) {
        uint8_t *row = rows + i * code->row_bytes;
        if (row[0] % 128 == 77) {
            row[code->codes_at] ^= 1;
        }
    }
}

/* Rounds ties down: y > t for y >= t. */
static void ties_down(const tq_code *code, const float *y, const float *sum_squares, size_t n, uint8_t *rows)
{
    for (size_t i = 0; i < n; i++) {
        float below[TQ_MAX_DIM];
        for (size_t j = 0; j < code->dim; j++) {
            const float up = y[i * code->dim + j];
            below[j] = tq_f32_from_bits(tq_f32_bits(up) - (up > 0)); /* The next float towards zero. */
        }
        tq_lloyd_encode_scalar(code, below, &sum_squares[i], 1, rows + i * code->row_bytes);
    }
}

static volatile uint8_t sink;

/* Reads one byte behind the row. */
static void overread(const uint8_t *row, size_t dim, float *x)
{
    sink = row[2 * dim];
    tq_half_decode_scalar(row, dim, x);
}

/* Reads one byte before the row. */
static void underread(const uint8_t *row, size_t dim, float *x)
{
    sink = row[-1];
    tq_half_decode_scalar(row, dim, x);
}

/* Writes one byte behind the row, as it was if that is a row of zeros. */
static void overwrite(const float *x, size_t dim, uint8_t *row)
{
    tq_half_encode_scalar(x, dim, row);
    row[2 * dim] = 0;
}

/* Writes into the gaps between rows of scores. */
static void gaps(const tq_code *code, const float *q, size_t n_q, const uint8_t *rows, size_t n, float *scores,
                 size_t stride)
{
    tq_lloyd_scores_scalar(code, q, n_q, rows, n, scores, stride);
    for (size_t i = 0; i + 1 < n_q && stride > n; i++) {
        scores[i * stride + n] = 0;
    }
}

/* Assumes that numbers are aligned better than to their size. */
static float misaligned(const float *x, size_t count)
{
    if ((uintptr_t)x % 32 != 0) {
        return 0;
    }
    return tq_sum_squares_scalar(x, count);
}

/* Divides by the largest number, which may be 0. */
static void divides(const tq_rotation_plan *plan, const float *y, float *x)
{
    float largest = 0;
    float scaled[TQ_MAX_DIM];
    for (size_t j = 0; j < plan->dim; j++) {
        const float magnitude = y[j] < 0 ? -y[j] : y[j];
        largest = magnitude > largest ? magnitude : largest;
    }
    for (size_t j = 0; j < plan->dim; j++) {
        scaled[j] = y[j] / largest;
    }
    tq_unrotate_scalar(plan, scaled, x);
    for (size_t j = 0; j < plan->dim; j++) {
        x[j] *= largest;
    }
}

const char *break_kernels(const char *name, tq_kernels *kernels)
{
#define BREAK(how, operation)                                                                                          \
    if (strcmp(name, #how) == 0) {                                                                                     \
        kernels->operation = how;                                                                                      \
        return #operation;                                                                                             \
    }
    BREAK(imprecise, half_scores)
    BREAK(rarely_wrong, lloyd_encode)
    BREAK(ties_down, lloyd_encode)
    BREAK(overread, half_decode)
    BREAK(underread, half_decode)
    BREAK(overwrite, half_encode)
    BREAK(gaps, lloyd_scores)
    BREAK(misaligned, sum_squares)
    BREAK(divides, unrotate)
#undef BREAK
    return NULL;
}
