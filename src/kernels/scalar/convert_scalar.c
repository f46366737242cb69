/* SPDX-License-Identifier: MIT
 *
 * Floats at the API's border: f32, f16 and bf16 to f32 and back. */
#include "half.h"
#include "kernels/scalar/scalar.h"

/* A float is NaN or infinite if all bits of its exponent are set. The loops have no early exit, so that compilers can
 * vectorise them. */
static int halves_finite(const uint16_t *x, size_t count, unsigned exponent)
{
    unsigned bad = 0;
    for (size_t i = 0; i < count; i++) {
        bad |= (x[i] & exponent) == exponent;
    }
    return bad == 0;
}

int tq_all_finite_scalar(const void *x, tq_dtype dtype, size_t count)
{
    if (dtype == TQ_DTYPE_F16) {
        return halves_finite(x, count, 0x7C00U);
    }
    if (dtype == TQ_DTYPE_BF16) {
        return halves_finite(x, count, 0x7F80U);
    }
    const float *values = x;
    unsigned bad = 0;
    for (size_t i = 0; i < count; i++) {
        bad |= (tq_f32_bits(values[i]) & 0x7F800000U) == 0x7F800000U;
    }
    return bad == 0;
}

void tq_widen_scalar(const void *x, tq_dtype dtype, size_t count, float *y)
{
    if (dtype == TQ_DTYPE_F32) {
        memcpy(y, x, count * sizeof *y);
        return;
    }
    const uint16_t *halves = x;
    for (size_t i = 0; i < count; i++) {
        y[i] = dtype == TQ_DTYPE_F16 ? tq_f32_from_f16(halves[i]) : tq_f32_from_bf16(halves[i]);
    }
}

void tq_narrow_scalar(const float *x, size_t count, tq_dtype dtype, void *y)
{
    if (dtype == TQ_DTYPE_F32) {
        memcpy(y, x, count * sizeof *x);
        return;
    }
    uint16_t *halves = y;
    for (size_t i = 0; i < count; i++) {
        halves[i] = dtype == TQ_DTYPE_F16 ? tq_f16_from_f32(x[i]) : tq_bf16_from_f32(x[i]);
    }
}
