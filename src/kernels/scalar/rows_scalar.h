/* SPDX-License-Identifier: MIT
 *
 * Reading a row, as the three operations that read rows do it. */
#ifndef TQ_ROWS_SCALAR_H
#define TQ_ROWS_SCALAR_H

#include "half.h"
#include "kernels/pack.h"
#include "kernels/scalar/scalar.h"

/* The scale of a row. Its sign bit belongs to pages. */
static inline float tq_scale_read(const uint8_t *row)
{
    return tq_f32_from_f16(tq_load_le16(row) & 0x7FFF);
}

/* levels[j] = c[idx_j]; returns the scale s. */
static inline float tq_lloyd_read(const tq_code *code, const uint8_t *row, float *levels)
{
    uint8_t index[TQ_MAX_DIM];
    tq_unpack(row + code->codes_at, code->dim, code->bits, index);
    for (size_t j = 0; j < code->dim; j++) {
        levels[j] = code->centroids[index[j]];
    }
    return tq_scale_read(row);
}

/* levels[t] of a trellis code, from the planes of u and n as codebook/trellis.h says; returns the scale s. */
static inline float tq_trellis_read(const tq_code *code, const uint8_t *row, float *levels)
{
    const tq_trellis *trellis = &code->trellis;
    const size_t dim = code->dim;
    uint8_t bits[TQ_MAX_DIM] = {0}; /* u[t], and n[t] above it. */
    for (unsigned plane = 0; plane < code->bits; plane++) {
        tq_unpack_plane(row + code->codes_at + plane * tq_plane_bytes(dim, 1), dim, plane, 1, bits);
    }
    unsigned window = 0; /* u[t-6] .. u[t], newest in bit 0. */
    for (size_t t = dim - TQ_TRELLIS_MEMORY; t < dim; t++) {
        window = window << 1 | (bits[t] & 1U);
    }
    for (size_t t = 0; t < dim; t++) {
        window = (window << 1 | (bits[t] & 1U)) % TQ_TRELLIS_WINDOWS;
        const size_t idx = (size_t)4 * (bits[t] >> 1) + trellis->subset[window];
        levels[t] = ((float)trellis->k[idx] + 0.5F) * trellis->step;
    }
    return tq_scale_read(row);
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

/* Any of the readers above. */
typedef float tq_row_reader(const tq_code *code, const uint8_t *row, float *levels);

#endif /* TQ_ROWS_SCALAR_H */
