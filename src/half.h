/* SPDX-License-Identifier: MIT
 *
 * Sixteen-bit floats. Conversions from f32 round to nearest, ties to even, and saturate at the largest finite value:
 * a finite number never becomes an infinity. */
#ifndef TQ_HALF_H
#define TQ_HALF_H

#include <stdint.h>
#include <string.h>

enum { TQ_F16_MAX = 0x7BFF, TQ_F16_INFINITY = 0x7C00, TQ_BF16_MAX = 0x7F7F };

static inline uint32_t tq_f32_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float tq_f32_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float tq_f32_from_f16(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000U) << 16;
    const uint32_t magnitude = half & 0x7FFFU;
    if (magnitude >= TQ_F16_INFINITY) {
        return tq_f32_from_bits(sign | 0x7F800000U | (magnitude & 0x3FFU) << 13);
    }
    if (magnitude < 0x400U) { /* Subnormal: magnitude * 2^-24, exact in f32. */
        const float value = (float)magnitude * 0x1p-24F;
        return sign != 0 ? -value : value;
    }
    return tq_f32_from_bits(sign | ((magnitude << 13) + (112U << 23))); /* Exponent bias 15 becomes 127. */
}

static inline uint16_t tq_f16_from_f32(float x)
{
    const uint32_t bits = tq_f32_bits(x);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000U);
    const uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude >= 0x477FE000U) { /* 65504 and above. */
        return (uint16_t)(sign | TQ_F16_MAX);
    }
    if (magnitude < 0x38800000U) { /* Below 2^-14: adding 1/2 leaves multiples of 2^-24 in the mantissa, rounded. */
        const float shifted = tq_f32_from_bits(magnitude) + 0.5F;
        return (uint16_t)(sign | (tq_f32_bits(shifted) - 0x3F000000U));
    }
    const uint32_t rounded = magnitude + 0xFFFU + (magnitude >> 13 & 1U);
    return (uint16_t)(sign | ((rounded >> 13) - (112U << 10)));
}

static inline float tq_f32_from_bf16(uint16_t half)
{
    return tq_f32_from_bits((uint32_t)half << 16);
}

static inline uint16_t tq_bf16_from_f32(float x)
{
    const uint32_t bits = tq_f32_bits(x);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000U);
    const uint32_t magnitude = bits & 0x7FFFFFFFU;
    const uint32_t rounded = (magnitude + 0x7FFFU + (magnitude >> 16 & 1U)) >> 16;
    return (uint16_t)(sign | (rounded > TQ_BF16_MAX ? (uint32_t)TQ_BF16_MAX : rounded));
}

/* Rows store 16-bit numbers with the low byte first, at any address. */
static inline uint16_t tq_load_le16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static inline void tq_store_le16(uint8_t *bytes, uint16_t value)
{
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}

#endif /* TQ_HALF_H */
