/* SPDX-License-Identifier: MIT
 *
 * Rows through the kernels: which operations a format is made of, in which order. Arguments have been checked. */
#ifndef TQ_ROWS_H
#define TQ_ROWS_H

#include "codec.h"

#include <stdbool.h>

/* Vectors that are worked on at once, so that they fit the stack: 8 of dim 128. Where there is only one array of them,
 * encoders get twice as many: a kernel makes its tables once for a batch. */
enum { TQ_BATCH_FLOATS = TQ_MAX_DIM, TQ_ENCODE_FLOATS = 2 * TQ_MAX_DIM, TQ_BATCH_ROWS = 64 };

static inline size_t tq_rows_in(const tq_codec *codec, size_t floats)
{
    const size_t fit = floats / codec->code.dim;
    return fit < TQ_BATCH_ROWS ? fit : TQ_BATCH_ROWS;
}

static inline size_t tq_batch_rows(const tq_codec *codec)
{
    return tq_rows_in(codec, TQ_BATCH_FLOATS);
}

/* In the pages of a cache, the free sign bit of a row's scale says that the page's mean was not taken off. */
enum { TQ_ROW_UNCENTRED = 0x8000 };

/* y = sqrt(dim) R x, and x = R^T y / sqrt(dim). */
void tq_rotate_vector(const tq_codec *codec, const float *x, float *y);
void tq_unrotate_vector(const tq_codec *codec, const float *y, float *x);

/* Encodes rotated vectors, y: [n, dim]; sum_squares[i] is that of the vector before rotation. Not for TQ_FAMILY_HALF.
 */
void tq_rotated_encode(const tq_codec *codec, const float *y, const float *sum_squares, size_t n, uint8_t *rows);

/* Decodes one row to a rotated vector. For Lloyd-Max and trellis formats. */
void tq_rotated_decode(const tq_codec *codec, const uint8_t *row, float *y);

/* Encodes up to tq_rows_in(codec, TQ_ENCODE_FLOATS) vectors, x: [n, dim]. */
void tq_rows_encode(const tq_codec *codec, const float *x, size_t n, uint8_t *rows);

/* True if an encoder can have written the row's floats: finite, and scales not negative. */
bool tq_row_is_sound(const tq_codec *codec, const uint8_t *row);

/* Decodes one row. */
void tq_row_decode(const tq_codec *codec, const uint8_t *row, float *x);

/* Prepares a query for tq_rows_scores: `rotated` and, for prod formats, `projected`, dim floats each. `q` is scratch
 * afterwards. */
void tq_query_prepare(const tq_codec *codec, float *q, float scale, float *rotated, float *projected);

/* scores[i * stride + k] = <q_i, row_k>, for prepared queries. */
void tq_rows_scores(const tq_codec *codec, const float *rotated, const float *projected, size_t n_q,
                    const uint8_t *rows, size_t n, float *scores, size_t stride);

/* Adds weighted rows to `sums` and, for prod formats, to `sign_sums`: [n_q, dim], zeroed by the caller. */
void tq_rows_sum(const tq_codec *codec, const float *w, size_t w_stride, size_t n_q, const uint8_t *rows, size_t n,
                 float *sums, float *sign_sums);

/* Turns one row of sums into a vector. `sum` is scratch afterwards. */
void tq_sum_finish(const tq_codec *codec, float *sum, const float *sign_sum, float *x);

#endif /* TQ_ROWS_H */
