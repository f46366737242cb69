/* SPDX-License-Identifier: MIT
 *
 * Encoding and decoding of rows. */
#include "check.h"
#include "codes.h"

#include "half.h"

/* Rows for the encoder of the trellis, of whose calls the longest take a millisecond: few of long vectors. */
static size_t draw_few_rows(trial *t)
{
    const size_t most = t->dim <= 40 ? 17 : 4096 / t->dim;
    return draw_rows(t, t->bench != NULL || most > MAX_ROWS ? MAX_ROWS : most);
}

/* Encodes n rows with the operation of the code's family. */
static void check_rows(trial *t, const tq_code *code, size_t n)
{
    const bool trellis = code->trellis.bits != 0;
    float *y = input(t, "y", n * t->dim * sizeof *y, sizeof *y);
    float *sum_squares = input(t, "sum_squares", n * sizeof *sum_squares, sizeof *sum_squares);
    for (size_t k = 0; k < n; k++) {
        sum_squares[k] = fill_rotated(t, code, y + k * t->dim);
    }
    output *rows = output_bytes(t, "the rows", n * code->row_bytes, 1);
    while (next_backend(t)) {
        if (trellis) {
            TIMED(t, t->kernels->trellis_encode(code, y, sum_squares, n, rows->data));
        } else {
            TIMED(t, t->kernels->lloyd_encode(code, y, sum_squares, n, rows->data));
        }
    }
    expect(t, rows);
}

void check_lloyd_encode(trial *t)
{
    const tq_code *code = draw_code(t, LLOYD | PROD);
    check_rows(t, code, draw_rows(t, t->bench != NULL ? MAX_ROWS : 8));
}

void check_trellis_encode(trial *t)
{
    const tq_code *code = draw_code(t, TRELLIS);
    if (code != NULL) {
        check_rows(t, code, draw_few_rows(t));
    }
}

void check_sign_encode(trial *t)
{
    const tq_code *code = draw_code(t, PROD);
    const float *projection = input_floats(t, "projection", t->dim);
    float residual_norm;
    fill_floats(t, &residual_norm, 1);
    residual_norm = residual_norm < 0 ? -residual_norm : residual_norm;
    output *row = output_bytes(t, "the row", code->row_bytes, 1);
    while (next_backend(t)) {
        TIMED(t, t->kernels->sign_encode(code, projection, residual_norm, row->data));
    }
    expect(t, row);
}

static void expect_decoded(trial *t, const uint8_t *row, output *y)
{
    for (size_t j = 0; j < t->dim; j++) {
        y->unit[j] = (double)tq_f32_from_f16(tq_load_le16(row));
    }
    expect(t, y);
}

void check_lloyd_decode(trial *t)
{
    const tq_code *code = draw_code(t, LLOYD | PROD);
    const uint8_t *rows = input_rows(t, "the rows", code, 4, false);
    output *y = output_floats(t, "y", t->dim);
    const uint8_t *row = rows + draw(t, 4) * code->row_bytes;
    while (next_backend(t)) {
        TIMED(t, t->kernels->lloyd_decode(code, row, y->data));
    }
    expect_decoded(t, row, y);
}

void check_trellis_decode(trial *t)
{
    const tq_code *code = draw_code(t, TRELLIS);
    if (code == NULL) {
        return;
    }
    const uint8_t *rows = input_rows(t, "the rows", code, 4, false);
    output *y = output_floats(t, "y", t->dim);
    const uint8_t *row = rows + draw(t, 4) * code->row_bytes;
    while (next_backend(t)) {
        TIMED(t, t->kernels->trellis_decode(code, row, y->data));
    }
    expect_decoded(t, row, y);
}
