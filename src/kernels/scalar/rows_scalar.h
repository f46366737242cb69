/* SPDX-License-Identifier: MIT
 *
 * Reading a row, as the three operations that read rows do it. */
#ifndef TQ_ROWS_SCALAR_H
#define TQ_ROWS_SCALAR_H

#include "half.h"
#include "kernels/pack.h"
#include "kernels/scalar/scalar.h"

/* levels[j] = c[idx_j]; returns the scale s. */
static inline float tq_lloyd_read(const tq_code *code, const uint8_t *row, float *levels)
{
    uint8_t index[TQ_MAX_DIM];
    tq_unpack(row + code->codes_at, code->dim, code->bits, index);
    for (size_t j = 0; j < code->dim; j++) {
        levels[j] = code->centroids[index[j]];
    }
    return tq_f32_from_f16(tq_load_le16(row));
}

/* signs[j] = +-1; returns the length of the residual. */
static inline float tq_sign_read(const tq_code *code, const uint8_t *row, float *signs)
{
    uint8_t positive[TQ_MAX_DIM];
    tq_unpack(row + code->signs_at, code->dim, 1, positive);
    for (size_t j = 0; j < code->dim; j++) {
        signs[j] = positive[j] ? 1.0F : -1.0F;
    }
    return tq_f32_from_f16(tq_load_le16(row + TQ_CODE_RESIDUAL_AT));
}

#endif /* TQ_ROWS_SCALAR_H */
