/* SPDX-License-Identifier: MIT
 *
 * Floats at the API's border, sixteen at a time, for the backends whose lanes_*.h was included before:
 *
 *     all_finite    for i: bad |= (bits(x[i]) & exponent) == exponent
 *     widen         for i: y[i] = f32(x[i])
 *     narrow        for i: y[i] = f16 or bf16(clamp(x[i]))
 *     half_encode, half_decode   narrow and widen of f16
 *
 * f16 is converted by instructions, bf16 by shifts: it is the upper half of an f32. Before f32 becomes f16
 * its magnitude is limited, as an integer, so that even NaN saturates as in half.h.
 * The tail, count mod 16, is loaded and stored in part. EXACT for finite numbers. */
#ifndef TQ_CONVERT_LANES_H
#define TQ_CONVERT_LANES_H

#include "half.h"

static int f32_finite(const float *x, size_t count)
{
    const i32x16 exponent = lanes_all_i32(0x7F800000U);
    i32x16 most = lanes_all_i32(0);
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        most = lanes_max_u32(most, lanes_and(lanes_bits(lanes_load(x + i)), exponent));
    }
    if (i < count) {
        most = lanes_max_u32(most, lanes_and(lanes_bits(lanes_load_part(x + i, count - i)), exponent));
    }
    return lanes_all_below(most, 0x7F800000U);
}

static int halves_finite(const uint16_t *x, size_t count, uint32_t exponent)
{
    i32x16 most = lanes_all_i32(0);
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        most = lanes_max_u32(most, lanes_and(lanes_load_u16(x + i), lanes_all_i32(exponent)));
    }
    if (i < count) {
        most = lanes_max_u32(most, lanes_and(lanes_load_u16_part(x + i, count - i), lanes_all_i32(exponent)));
    }
    return lanes_all_below(most, exponent);
}

int TQ_KERNEL(all_finite)(const void *x, tq_dtype dtype, size_t count)
{
    switch (dtype) {
    case TQ_DTYPE_F16:
        return halves_finite(x, count, 0x7C00U);
    case TQ_DTYPE_BF16:
        return halves_finite(x, count, 0x7F80U);
    default:
        return f32_finite(x, count);
    }
}

void TQ_KERNEL(half_decode)(const uint8_t *row, size_t dim, float *x)
{
    size_t i = 0;
    for (; i + LANES <= dim; i += LANES) {
        lanes_store(x + i, lanes_load_f16(row + 2 * i));
    }
    if (i < dim) {
        lanes_store_part(x + i, dim - i, lanes_load_f16_part(row + 2 * i, dim - i));
    }
}

TQ_INLINE i32x16 magnitude_below(i32x16 bits, uint32_t limit)
{
    return lanes_min_u32(lanes_and(bits, lanes_all_i32(0x7FFFFFFFU)), lanes_all_i32(limit));
}

void TQ_KERNEL(half_encode)(const float *x, size_t dim, uint8_t *row)
{
    const i32x16 sign = lanes_all_i32(0x80000000U);
    for (size_t i = 0; i < dim; i += LANES) {
        const size_t n = lanes_left(dim, i);
        const i32x16 bits = lanes_bits(lanes_load_part(x + i, n));
        const i32x16 limited = magnitude_below(bits, 0x477FE000U); /* 65504 */
        lanes_store_f16_part(row + 2 * i, n, lanes_from_bits(lanes_or(limited, lanes_and(bits, sign))));
    }
}

static void widen_bf16(const uint16_t *x, size_t count, float *y)
{
    for (size_t i = 0; i < count; i += LANES) {
        const size_t n = lanes_left(count, i);
        lanes_store_part(y + i, n, lanes_from_bits(lanes_shift_left(lanes_load_u16_part(x + i, n), 16)));
    }
}

static void narrow_bf16(const float *x, size_t count, uint16_t *y)
{
    for (size_t i = 0; i < count; i += LANES) {
        const size_t n = lanes_left(count, i);
        const i32x16 bits = lanes_bits(lanes_load_part(x + i, n));
        const i32x16 magnitude = lanes_and(bits, lanes_all_i32(0x7FFFFFFFU));
        const i32x16 odd = lanes_and(lanes_shift_right(bits, 16), lanes_all_i32(1));
        const i32x16 rounded = lanes_add_i32(lanes_add_i32(magnitude, lanes_all_i32(0x7FFFU)), odd);
        const i32x16 limited = lanes_min_u32(lanes_shift_right(rounded, 16), lanes_all_i32(TQ_BF16_MAX));
        const i32x16 sign = lanes_and(lanes_shift_right(bits, 16), lanes_all_i32(0x8000U));
        lanes_store_u16_part(y + i, n, lanes_or(limited, sign));
    }
}

void TQ_KERNEL(widen)(const void *x, tq_dtype dtype, size_t count, float *y)
{
    switch (dtype) {
    case TQ_DTYPE_F16:
        TQ_KERNEL(half_decode)(x, count, y);
        break;
    case TQ_DTYPE_BF16:
        widen_bf16(x, count, y);
        break;
    default:
        memcpy(y, x, count * sizeof *y);
        break;
    }
}

void TQ_KERNEL(narrow)(const float *x, size_t count, tq_dtype dtype, void *y)
{
    switch (dtype) {
    case TQ_DTYPE_F16:
        TQ_KERNEL(half_encode)(x, count, y);
        break;
    case TQ_DTYPE_BF16:
        narrow_bf16(x, count, y);
        break;
    default:
        memcpy(y, x, count * sizeof *x);
        break;
    }
}

#endif /* TQ_CONVERT_LANES_H */
