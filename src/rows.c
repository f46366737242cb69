/* SPDX-License-Identifier: MIT
 *
 * Rows through the kernels.
 *
 * The prod formats (TurboQuant, arXiv:2504.19874, Algorithm 2) add a second stage. With x' the decoded first stage,
 * r = x - x' its residual and S a matrix of independent standard normals, the row also holds |r| and sign(S r), and
 *
 *     <q, x> is estimated by <q, x'> + sqrt(pi/2) / d * |r| * <S q, sign(S r)>
 *
 * S is rotation invariant, so it is applied to rotated vectors, which are sqrt(d) times as long. */
#include "rows.h"

#include "half.h"

#include <float.h>
#include <math.h>

static const float SQRT_HALF_PI = 1.25331413731550025F;

static const tq_kernels *kernels_of(const tq_codec *codec)
{
    return &codec->context->kernels;
}

void tq_rotate_vector(const tq_codec *codec, const float *x, float *y)
{
    const tq_rotation_plan *plan = &codec->rotation;
    if (plan->dense != NULL) {
        kernels_of(codec)->multiply(plan->dense, plan->dim, x, y);
    } else {
        kernels_of(codec)->rotate(plan, x, y);
    }
}

static void scale_by(float *x, size_t dim, float factor)
{
    for (size_t j = 0; j < dim; j++) {
        x[j] *= factor;
    }
}

void tq_unrotate_vector(const tq_codec *codec, const float *y, float *x)
{
    const tq_rotation_plan *plan = &codec->rotation;
    if (plan->dense != NULL) {
        kernels_of(codec)->multiply_transposed(plan->dense, plan->dim, y, x);
        scale_by(x, plan->dim, 1.0F / (float)plan->dim);
    } else {
        kernels_of(codec)->unrotate(plan, y, x);
    }
}

/* The second stage of a prod row: what the first stage left of the rotated vector y. */
static void encode_residual(const tq_codec *codec, const float *y, uint8_t *row)
{
    const tq_kernels *kernels = kernels_of(codec);
    const size_t dim = codec->code.dim;
    float residual[TQ_MAX_DIM];
    float projection[TQ_MAX_DIM];
    kernels->lloyd_decode(&codec->code, row, residual);
    for (size_t j = 0; j < dim; j++) {
        residual[j] = y[j] - residual[j];
    }
    const float length = sqrtf(kernels->sum_squares(residual, dim) / (float)dim);
    kernels->multiply(codec->projection, dim, residual, projection);
    kernels->sign_encode(&codec->code, projection, length, row);
}

/* The sum of squares of a vector. One of norm 2^64 or more, whose sum overflows, is replaced by a shrunk copy: its
 * scale will be stored as 65504 whatever it is, and 2^24 is still beyond that. */
static float measure(const tq_codec *codec, const float **x, float *shrunk)
{
    const tq_kernels *kernels = kernels_of(codec);
    const size_t dim = codec->code.dim;
    float sum_squares = kernels->sum_squares(*x, dim);
    while (sum_squares > FLT_MAX) {
        memmove(shrunk, *x, dim * sizeof *shrunk);
        scale_by(shrunk, dim, 0x1p-40F);
        *x = shrunk;
        sum_squares = kernels->sum_squares(shrunk, dim);
    }
    return sum_squares;
}

void tq_rotated_encode(const tq_codec *codec, const float *y, const float *sum_squares, size_t n, uint8_t *rows)
{
    const tq_kernels *kernels = kernels_of(codec);
    const tq_code *code = &codec->code;
    if (codec->family == TQ_FAMILY_TRELLIS) {
        kernels->trellis_encode(code, y, sum_squares, n, rows);
        return;
    }
    kernels->lloyd_encode(code, y, sum_squares, n, rows);
    for (size_t i = 0; codec->family == TQ_FAMILY_PROD && i < n; i++) {
        uint8_t *row = rows + i * code->row_bytes;
        if (tq_load_le16(row) != 0) {
            encode_residual(codec, y + i * code->dim, row);
        }
    }
}

void tq_rows_encode(const tq_codec *codec, const float *x, size_t n, uint8_t *rows)
{
    const tq_code *code = &codec->code;
    float y[TQ_ENCODE_FLOATS];
    float shrunk[TQ_MAX_DIM];
    float sum_squares[TQ_BATCH_ROWS];
    if (codec->family == TQ_FAMILY_HALF) {
        for (size_t i = 0; i < n; i++) {
            kernels_of(codec)->half_encode(x + i * code->dim, code->dim, rows + i * code->row_bytes);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const float *vector = x + i * code->dim;
        sum_squares[i] = measure(codec, &vector, shrunk);
        tq_rotate_vector(codec, vector, y + i * code->dim);
    }
    tq_rotated_encode(codec, y, sum_squares, n, rows);
}

bool tq_row_is_sound(const tq_codec *codec, const uint8_t *row)
{
    if (codec->family == TQ_FAMILY_HALF) {
        unsigned infinite = 0;
        for (size_t j = 0; j < codec->code.dim; j++) {
            infinite |= (tq_load_le16(row + 2 * j) & TQ_F16_INFINITY) == TQ_F16_INFINITY;
        }
        return infinite == 0;
    }
    /* Read as integers, negative halves and those that are not finite are the largest. */
    return tq_load_le16(row) < TQ_F16_INFINITY &&
           (codec->family != TQ_FAMILY_PROD || tq_load_le16(row + TQ_CODE_RESIDUAL_AT) < TQ_F16_INFINITY);
}

void tq_rotated_decode(const tq_codec *codec, const uint8_t *row, float *y)
{
    if (codec->family == TQ_FAMILY_TRELLIS) {
        kernels_of(codec)->trellis_decode(&codec->code, row, y);
    } else {
        kernels_of(codec)->lloyd_decode(&codec->code, row, y);
    }
}

void tq_row_decode(const tq_codec *codec, const uint8_t *row, float *x)
{
    static const float one = 1.0F;
    float y[TQ_MAX_DIM];
    float signs[TQ_MAX_DIM];
    switch (codec->family) {
    case TQ_FAMILY_HALF:
        kernels_of(codec)->half_decode(row, codec->code.dim, x);
        break;
    case TQ_FAMILY_LLOYD:
    case TQ_FAMILY_TRELLIS:
        tq_rotated_decode(codec, row, y);
        tq_unrotate_vector(codec, y, x);
        break;
    case TQ_FAMILY_PROD:
        kernels_of(codec)->lloyd_decode(&codec->code, row, y);
        memset(signs, 0, codec->code.dim * sizeof *signs);
        kernels_of(codec)->sign_sum(&codec->code, &one, 1, 1, row, 1, signs);
        tq_sum_finish(codec, y, signs, x);
        break;
    }
}

void tq_query_prepare(const tq_codec *codec, float *q, float scale, float *rotated, float *projected)
{
    const size_t dim = codec->code.dim;
    scale_by(q, dim, scale);
    if (codec->family == TQ_FAMILY_HALF) {
        memcpy(rotated, q, dim * sizeof *q);
        return;
    }
    tq_rotate_vector(codec, q, rotated);
    if (codec->family == TQ_FAMILY_PROD) {
        const float d = (float)dim;
        kernels_of(codec)->multiply(codec->projection, dim, rotated, projected);
        scale_by(projected, dim, SQRT_HALF_PI / (d * sqrtf(d)));
    }
}

void tq_rows_scores(const tq_codec *codec, const float *rotated, const float *projected, size_t n_q,
                    const uint8_t *rows, size_t n, float *scores, size_t stride)
{
    const tq_kernels *kernels = kernels_of(codec);
    if (codec->family == TQ_FAMILY_HALF) {
        kernels->half_scores(codec->code.dim, rotated, n_q, rows, n, scores, stride);
        return;
    }
    if (codec->family == TQ_FAMILY_TRELLIS) {
        kernels->trellis_scores(&codec->code, rotated, n_q, rows, n, scores, stride);
        return;
    }
    kernels->lloyd_scores(&codec->code, rotated, n_q, rows, n, scores, stride);
    if (codec->family == TQ_FAMILY_PROD) {
        kernels->sign_scores(&codec->code, projected, n_q, rows, n, scores, stride);
    }
}

void tq_rows_sum(const tq_codec *codec, const float *w, size_t w_stride, size_t n_q, const uint8_t *rows, size_t n,
                 float *sums, float *sign_sums)
{
    const tq_kernels *kernels = kernels_of(codec);
    if (codec->family == TQ_FAMILY_HALF) {
        kernels->half_sum(codec->code.dim, w, w_stride, n_q, rows, n, sums);
        return;
    }
    if (codec->family == TQ_FAMILY_TRELLIS) {
        kernels->trellis_sum(&codec->code, w, w_stride, n_q, rows, n, sums);
        return;
    }
    kernels->lloyd_sum(&codec->code, w, w_stride, n_q, rows, n, sums);
    if (codec->family == TQ_FAMILY_PROD) {
        kernels->sign_sum(&codec->code, w, w_stride, n_q, rows, n, sign_sums);
    }
}

void tq_sum_finish(const tq_codec *codec, float *sum, const float *sign_sum, float *x)
{
    const size_t dim = codec->code.dim;
    if (codec->family == TQ_FAMILY_HALF) {
        memcpy(x, sum, dim * sizeof *x);
        return;
    }
    if (codec->family == TQ_FAMILY_PROD) {
        float back[TQ_MAX_DIM];
        const float factor = SQRT_HALF_PI / sqrtf((float)dim);
        kernels_of(codec)->multiply_transposed(codec->projection, dim, sign_sum, back);
        for (size_t j = 0; j < dim; j++) {
            sum[j] += factor * back[j];
        }
    }
    tq_unrotate_vector(codec, sum, x);
}
