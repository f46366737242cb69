/* SPDX-License-Identifier: MIT
 *
 * From a rotated vector to a row.
 *
 * y = sqrt(d) R x has |y|^2 = d n^2 with n = |x|, and the coordinates of y / n are close to N(0,1). Each is rounded to
 * the nearest centroid of the Lloyd-Max code of N(0,1) (TurboQuant, arXiv:2504.19874, Algorithm 1, lines 4-6). The
 * vector is never divided: thresholds are multiplied by n instead, idx_j = number of thresholds t with y_j >= t n.
 *
 * The scale is chosen for the levels c_j = centroid[idx_j], as scale.h says.
 *
 * Effort: y is multiplied by a few gains g before it is rounded, which lets fewer coordinates fall off the ends of the
 * code or pulls them apart; the gain whose c is most parallel to y, that is with the largest <y,c> / |c|, is kept.
 *
 * Every operation and its order is part of the format's promise (docs/numerics.md): the same bytes everywhere. */
#include "kernels/exact.h"

#include "half.h"
#include "kernels/pack.h"
#include "kernels/scalar/scalar.h"
#include "kernels/scale.h"

/* One rounding of a vector, and the two sums that judge it. */
typedef struct rounding {
    uint8_t index[TQ_MAX_DIM];
    float yc; /* <y,c> */
    float cc; /* <c,c> */
} rounding;

/* Number of ascending thresholds t with y >= t. */
static uint8_t nearest(const float *thresholds, unsigned bits, float y)
{
    unsigned index = 0;
    for (unsigned step = 1U << (bits - 1); step > 0; step /= 2) {
        if (y >= thresholds[index + step - 1]) {
            index += step;
        }
    }
    return (uint8_t)index;
}

static void round_to_code(const tq_code *code, const float *y, float norm, float gain, rounding *out)
{
    const float limit = norm / gain; /* gain * y >= t * norm */
    float thresholds[255];
    float levels[TQ_MAX_DIM];
    for (size_t t = 0; t + 1 < (size_t)1 << code->bits; t++) {
        thresholds[t] = code->thresholds[t] * limit;
    }
    for (size_t j = 0; j < code->dim; j++) {
        out->index[j] = nearest(thresholds, code->bits, y[j]);
        levels[j] = code->centroids[out->index[j]];
    }
    out->yc = tq_exact_dot(y, levels, code->dim);
    out->cc = tq_exact_dot(levels, levels, code->dim);
}

static void encode_row(const tq_code *code, const float *y, float sum_squares, uint8_t *row)
{
    memset(row, 0, code->row_bytes);
    if (sum_squares < 0x1p-126F) { /* Below the smallest normal number squares lose bits, or are flushed to zero. */
        return;
    }
    const float norm = sqrtf(sum_squares);
    rounding tries[2];
    rounding *best = &tries[0];
    rounding *other = &tries[1];
    round_to_code(code, y, norm, code->gains[0], best);
    for (size_t g = 1; g < code->n_gains; g++) {
        round_to_code(code, y, norm, code->gains[g], other);
        if (tq_alignment(other->yc, other->cc) > tq_alignment(best->yc, best->cc)) {
            rounding *better = other;
            other = best;
            best = better;
        }
    }
    const uint16_t scale = tq_f16_from_f32(tq_stored_scale(code->scale, code->dim, best->yc, best->cc, norm));
    if (scale != 0) {
        tq_store_le16(row, scale);
        tq_pack(best->index, code->dim, code->bits, row + code->codes_at);
    }
}

void tq_lloyd_encode_scalar(const tq_code *code, const float *y, const float *sum_squares, size_t n, uint8_t *rows)
{
    for (size_t i = 0; i < n; i++) {
        encode_row(code, y + i * code->dim, sum_squares[i], rows + i * code->row_bytes);
    }
}

/* The QJL transform of the residual (QJL, arXiv:2406.03482, Definition 3.1; TurboQuant, Algorithm 2, lines 6-8). */
void tq_sign_encode_scalar(const tq_code *code, const float *projection, float residual_norm, uint8_t *row)
{
    uint8_t positive[TQ_MAX_DIM];
    for (size_t j = 0; j < code->dim; j++) {
        positive[j] = projection[j] >= 0;
    }
    tq_store_le16(row + TQ_CODE_RESIDUAL_AT, tq_f16_from_f32(residual_norm));
    tq_pack(positive, code->dim, 1, row + code->signs_at);
}

void tq_half_encode_scalar(const float *x, size_t dim, uint8_t *row)
{
    for (size_t j = 0; j < dim; j++) {
        tq_store_le16(row + 2 * j, tq_f16_from_f32(x[j]));
    }
}
