/* SPDX-License-Identifier: MIT
 *
 * From a row to a rotated vector: y_j = s c_j (TurboQuant, arXiv:2504.19874, Algorithm 1, lines 8-10). The caller
 * rotates back: x' = R^T y / sqrt(d). */
#include "kernels/scalar/rows_scalar.h"

static void decode(const tq_code *code, tq_row_reader *read, const uint8_t *row, float *y)
{
    const float scale = read(code, row, y);
    for (size_t j = 0; j < code->dim; j++) {
        y[j] *= scale;
    }
}

void tq_lloyd_decode_scalar(const tq_code *code, const uint8_t *row, float *y)
{
    decode(code, tq_lloyd_read, row, y);
}

void tq_trellis_decode_scalar(const tq_code *code, const uint8_t *row, float *y)
{
    decode(code, tq_trellis_read, row, y);
}

void tq_half_decode_scalar(const uint8_t *row, size_t dim, float *x)
{
    for (size_t j = 0; j < dim; j++) {
        x[j] = tq_f32_from_f16(tq_load_le16(row + 2 * j));
    }
}
