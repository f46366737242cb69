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

/* A vector of a page, rotated and without its mean if that makes it shorter; returns its sum of squares, divided by the
 * dimension. page_codec.c says the same for the host. */
inline float tq_read_page_vector(constant tq_metal_encode_args &args, constant tq_metal_code &code,
                                 device const tq_metal_page *pages, uint vector, threadgroup float *work, int l,
                                 thread float *y, thread bool &is_uncentred)
{
    const uint head = vector / TQ_METAL_PAGE % args.n_kv_heads;
    device const tq_metal_page &page = pages[vector / TQ_METAL_PAGE / args.n_kv_heads];
    device const ushort *x = (device const ushort *)page.exact +
                             ulong((2 * head + args.values) * TQ_METAL_PAGE + vector % TQ_METAL_PAGE) * uint(tq_dim);
    device const ushort *mean =
        page.records + ulong(head) * args.record_words + tq_metal_mean_at(int(args.k_format), tq_dim, int(args.values));
    float centred[TQ_MOST];
    for (int e = 0; e < tq_dim / 16; e++) {
        y[e] = tq_from_half_bits(x[l + 16 * e]);
    }
    tq_rotate_vector(code, y, work, l);
    for (int e = 0; e < tq_dim / 16; e++) {
        centred[e] = y[e] - tq_from_half_bits(mean[l + 16 * e]);
    }
    const float sum_squares = tq_vector_dot(y, y);
    const float shorter = tq_vector_dot(centred, centred);
    const bool is_centred = args.has_mean != 0 && shorter < sum_squares;
    for (int e = 0; e < tq_dim / 16; e++) {
        y[e] = is_centred ? centred[e] : y[e];
    }
    is_uncentred = args.has_mean != 0 && !is_centred;
    return (is_centred ? shorter : sum_squares) / float(tq_dim);
}

/* Reads vector `number`, of whichever kind there are. */
inline float tq_read(constant tq_metal_encode_args &args, constant tq_metal_code &code, device const float *x,
                     device const tq_metal_page *pages, uint number, threadgroup float *work, int l, thread float *y,
                     thread bool &is_uncentred)
{
    is_uncentred = false;
    if (args.n_kv_heads == 0) {
        return tq_read_vector(code, x + ulong(number) * uint(tq_dim), work, l, y);
    }
    return tq_read_page_vector(args, code, pages, number, work, l, y, is_uncentred);
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

/* Writes a row from the codes of its coordinates, by the threads first, first + step, ... A scale of 0 makes all codes
 * zero. */
inline void tq_write_row(threadgroup const uchar *codes, ushort scale, bool is_uncentred, int first, int step,
                         device ushort *row)
{
    if (first == 0) {
        row[0] = is_uncentred ? ushort(scale | TQ_METAL_UNCENTRED) : scale;
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
