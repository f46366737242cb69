/* SPDX-License-Identifier: MIT
 *
 * What the two encoders share: reading a vector, the scale of a row (src/kernels/scale.h), writing a row. */
#ifndef TQ_ENCODE_METAL_H
#define TQ_ENCODE_METAL_H

#include "kernels/metal/vector_metal.h"

/* As TQ_SCALE_* in turboquant.h; the host asserts it. */
enum { TQ_METAL_SCALE_NORM = 1, TQ_METAL_SCALE_UNBIASED, TQ_METAL_SCALE_LSQ, TQ_METAL_SCALE_RAW };

constant float TQ_SHRINK = 1.0f / 1099511627776.0f; /* 2^-40 */

/* Reads a vector, rotates it and returns its sum of squares before. One whose sum overflows is shrunk first, as rows.c
 * does, while the simdgroup's other vector stays as it is. */
inline float tq_read_vector(constant tq_metal_code &code, device const float *x, threadgroup float *work, int l,
                            thread float *y)
{
    for (int e = 0; e < tq_dim / 16; e++) {
        y[e] = x[l + 16 * e];
    }
    float sum_squares = tq_vector_dot(y, y);
    while (simd_any(sum_squares > FLT_MAX)) {
        const float factor = sum_squares > FLT_MAX ? TQ_SHRINK : 1.0f;
        for (int e = 0; e < tq_dim / 16; e++) {
            y[e] = y[e] * factor;
        }
        sum_squares = tq_vector_dot(y, y);
    }
    tq_rotate_vector(code, y, work, l);
    return sum_squares;
}

inline float tq_alignment(float yc, float cc)
{
    return yc / precise::sqrt(cc);
}

inline float tq_stored_scale(int mode, float yc, float cc, float norm)
{
    const float d = float(tq_dim);
    switch (mode) {
    case TQ_METAL_SCALE_RAW:
        return norm;
    case TQ_METAL_SCALE_LSQ:
        return yc / cc;
    case TQ_METAL_SCALE_UNBIASED:
        return norm * d / yc * norm;
    default:
        return norm * precise::sqrt(d / cc);
    }
}

/* Writes a row from the codes of its coordinates, by the threads first, first + step, ... A scale of 0 makes all of it
 * zero. */
inline void tq_write_row(threadgroup const uchar *codes, ushort scale, int first, int step, device ushort *row)
{
    if (first == 0) {
        row[0] = scale;
    }
    for (int u = first; u < tq_metal_row_units(tq_format, tq_dim); u += step) {
        tq_metal_fields fields;
        tq_metal_fields_of(tq_format, tq_dim, u, &fields);
        uint unit = 0;
        for (int i = 0; i < 16 / fields.width; i++) {
            const uint field = uint(codes[fields.first + i]) >> fields.shift & ((1U << fields.width) - 1);
            unit |= field << (i * fields.width);
        }
        row[1 + u] = scale == 0 ? ushort(0) : ushort(unit);
    }
}

#endif /* TQ_ENCODE_METAL_H */
