/* SPDX-License-Identifier: MIT
 *
 * Floats at the API's border, and rows of halves. */
#include "check.h"

#include "half.h"

#include <math.h>

static tq_dtype draw_dtype(trial *t)
{
    static const char *const names[] = {"f32", "f16", "bf16"};
    const tq_dtype dtype = (tq_dtype)(t->bench != NULL ? bench_variant(t, 3) : draw(t, 3));
    label(t, ", %s", names[dtype]);
    return dtype;
}

static uint16_t to_half(tq_dtype dtype, float x)
{
    return dtype == TQ_DTYPE_F16 ? tq_f16_from_f32(x) : tq_bf16_from_f32(x);
}

/* Finite numbers for conversion to `dtype`: denormals and extremes are the narrow type's, ties lie half-way between two
 * of its numbers. */
static void fill_for(trial *t, tq_dtype dtype, float *x, size_t n)
{
    const unsigned dropped = dtype == TQ_DTYPE_F16 ? 13 : 16; /* Bits of the mantissa. */
    fill_floats(t, x, n);
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)rng_word(&t->rng);
        uint32_t made = tq_f32_bits(x[i]);
        switch (t->class) {
        case DENORMALS:
            if (dtype == TQ_DTYPE_F16) { /* Around 2^-24 to 2^-14, with ties. */
                made = (bits & 0x807FF000U) | (100U + bits % 16) << 23;
            }
            break;
        case EXTREMES: /* Around 65504, and f32's largest. */
            made = (bits & 0x80000000U) |
                   (bits & 1 ? 0x477FE000U + (bits >> 8) % 0x4000 - 0x2000 : 0x7F7FFFFFU - (bits >> 8) % 0x20000);
            break;
        case TIES:
            made = ((bits & 0x8FFFFFFFU) | 0x30000000U) >> dropped << dropped | 1U << (dropped - 1);
            made += bits % 8 == 0 ? 1U : bits % 8 == 1 ? -1U : 0U;
            break;
        default:
            break;
        }
        x[i] = tq_f32_from_bits(made);
    }
}

/* Finite numbers of `dtype`. */
static void *input_typed(trial *t, tq_dtype dtype, size_t n)
{
    const size_t size = dtype_size(dtype);
    char *x = input(t, "x", n * size, size);
    for (size_t i = 0; i < n; i++) {
        float value;
        fill_for(t, dtype, &value, 1);
        const uint16_t half = to_half(dtype, value);
        if (dtype == TQ_DTYPE_F32) {
            memcpy(x + i * size, &value, size);
        } else {
            memcpy(x + i * size, &half, size);
        }
    }
    return x;
}

/* Mostly the dimension; now and then none, or an odd number. */
static size_t draw_count(trial *t)
{
    const size_t n = t->bench != NULL || draw(t, 4) ? t->dim : draw(t, 70);
    describe(t, ", count %zu", n);
    return n;
}

void check_all_finite(trial *t)
{
    static const uint32_t bad[3][3] = {
        {0x7F800000U, 0xFF800001U, 0x7FFFFFFFU}, {0x7C00, 0xFC01, 0x7FFF}, {0x7F80, 0xFF81, 0x7FFF}};
    const tq_dtype dtype = draw_dtype(t);
    const size_t n = draw_count(t);
    char *x = input_typed(t, dtype, n);
    output *result = output_bytes(t, "the result", sizeof(int), sizeof(int));
    if (n > 0 && t->bench == NULL && draw(t, 2)) {
        const size_t size = dtype_size(dtype);
        memcpy(x + draw(t, n) * size, &bad[dtype][draw(t, 3)], size); /* The low bytes: x86 and Arm. */
        describe(t, ", one not finite");
    }
    while (next_backend(t)) {
        TIMED(t, *(int *)result->data = t->kernels->all_finite(x, dtype, n));
    }
    expect(t, result);
}

void check_widen(trial *t)
{
    const tq_dtype dtype = draw_dtype(t);
    const size_t n = draw_count(t);
    const void *x = input_typed(t, dtype, n);
    output *y = output_floats(t, "y", n);
    while (next_backend(t)) {
        TIMED(t, t->kernels->widen(x, dtype, n, y->data));
    }
    expect(t, y);
}

void check_narrow(trial *t)
{
    const tq_dtype dtype = draw_dtype(t);
    const size_t n = draw_count(t);
    float *x = input(t, "x", n * sizeof *x, sizeof *x);
    fill_for(t, dtype, x, n);
    output *y = output_bytes(t, "y", n * dtype_size(dtype), dtype_size(dtype));
    while (next_backend(t)) {
        TIMED(t, t->kernels->narrow(x, n, dtype, y->data));
    }
    expect(t, y);
}

void check_half_encode(trial *t)
{
    float *x = input(t, "x", t->dim * sizeof *x, sizeof *x);
    fill_for(t, TQ_DTYPE_F16, x, t->dim);
    output *row = output_bytes(t, "the row", 2 * t->dim, 1);
    while (next_backend(t)) {
        TIMED(t, t->kernels->half_encode(x, t->dim, row->data));
    }
    expect(t, row);
}

void check_half_decode(trial *t)
{
    uint8_t *row = input(t, "the row", 2 * t->dim, 1);
    for (size_t j = 0; j < t->dim; j++) {
        float value;
        fill_for(t, TQ_DTYPE_F16, &value, 1);
        tq_store_le16(row + 2 * j, tq_f16_from_f32(value));
    }
    output *x = output_floats(t, "x", t->dim);
    while (next_backend(t)) {
        TIMED(t, t->kernels->half_decode(row, t->dim, x->data));
    }
    expect(t, x);
}
