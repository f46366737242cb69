/* SPDX-License-Identifier: MIT
 *
 * Which bit lies where, in rows (docs/format.md) and in the pages of a Metal device, and how codes become indices of
 * levels. Arithmetic alone, so that it compiles for the host too, where a test compares it with the scalar backend.
 *
 * Sixteen coordinates are a *chunk*; its codes of b bits fill b *units* of 16 bits, in every format:
 *
 *     1, 2, 4, 8 bits   unit v: fields of 16/b coordinates, the lowest in the lowest bits
 *     3 bits            units 0, 1: the low two bits as above; unit 2: the high bits
 *     trellis           unit 0: u; units 1 ..: the bits of n
 *
 * Rows keep planes together, so the units of a chunk lie apart; pages put them side by side. A page holds 64 tokens of
 * one KV head, called a record:
 *
 *     | mean, d f16 | 64 scales, f16 | units of keys | mean | 64 scales | units of values |
 *
 *     keys     unit (c, v) of token t at (c b + v) 64 + t      one thread per two tokens: loads lie side by side
 *     values   unit (c, v) of token t at (t d/16 + c) b + v    one thread per chunk: so do these
 *
 * A cache without means leaves them zero. Dimensions are multiples of 16, up to 256. */
#ifndef TQ_LAYOUT_METAL_H
#define TQ_LAYOUT_METAL_H

#if defined(__METAL_VERSION__)
#define TQ_METAL_THREAD        thread
#define TQ_METAL_ADDRESS(type) device type *
#else
#include <stdint.h>
#define TQ_METAL_THREAD
#define TQ_METAL_ADDRESS(type) uint64_t /* Of memory of the device: tq_gpu_memory.address. */
#endif

enum {
    TQ_METAL_MAX_DIM = 256,
    TQ_METAL_CHUNK = 16,
    TQ_METAL_PAGE = 64,          /* Tokens. */
    TQ_METAL_UNCENTRED = 0x8000, /* In a scale: the mean was not taken off. */
    TQ_METAL_MAX_UNITS = 8       /* Of a chunk. */
};

/* A format is its number in turboquant.h: 11 .. 14 and 18 turbo1 .. turbo4 and turbo8, 32 .. 34 turbo2t .. turbo4t. */
static inline int tq_metal_is_trellis(int format)
{
    return format >= 30;
}

static inline int tq_metal_bits(int format)
{
    return format % 10;
}

/* m of dim = m * 2^a. */
static inline int tq_metal_paley_order(int dim)
{
    return dim % 9 == 0 ? 36 : dim % 7 == 0 ? 28 : dim % 5 == 0 ? 20 : dim % 3 == 0 ? 12 : 1;
}

/* --- rows ----------------------------------------------------------------------------------------------------------
 * In 16-bit words: the scale, then units. */

static inline int tq_metal_row_units(int format, int dim)
{
    return tq_metal_bits(format) * (dim / TQ_METAL_CHUNK);
}

static inline int tq_metal_row_words(int format, int dim)
{
    return 1 + tq_metal_row_units(format, dim);
}

/* Where a row has unit v of chunk c, counted behind the scale. */
static inline int tq_metal_row_unit(int format, int dim, int c, int v)
{
    const int chunks = dim / TQ_METAL_CHUNK;
    if (tq_metal_is_trellis(format)) {
        return v * chunks + c;
    }
    if (tq_metal_bits(format) == 3) {
        return v < 2 ? 2 * c + v : 2 * chunks + c;
    }
    return c * tq_metal_bits(format) + v;
}

/* What unit `u` of a row is made of: bits shift .. shift + width - 1 of the codes of coordinates first, first + 1, ...
 */
typedef struct tq_metal_fields {
    int first;
    int width;
    int shift;
} tq_metal_fields;

static inline void tq_metal_fields_of(int format, int dim, int u, TQ_METAL_THREAD tq_metal_fields *fields)
{
    const int chunks = dim / TQ_METAL_CHUNK;
    const int bits = tq_metal_bits(format);
    if (tq_metal_is_trellis(format)) {
        fields->width = 1;
        fields->shift = u / chunks;
        fields->first = u % chunks * TQ_METAL_CHUNK;
        return;
    }
    fields->width = bits == 3 ? (u < 2 * chunks ? 2 : 1) : bits;
    fields->shift = bits == 3 && u >= 2 * chunks ? 2 : 0;
    fields->first = (fields->shift == 0 ? u : u - 2 * chunks) * (16 / fields->width);
}

/* --- records -------------------------------------------------------------------------------------------------------
 * In 16-bit words. */

static inline int tq_metal_mean_at(int format, int dim, int values)
{
    return values ? dim + TQ_METAL_PAGE * tq_metal_row_words(format, dim) : 0; /* `format`: that of the keys. */
}

static inline int tq_metal_scales_at(int dim)
{
    return dim; /* Behind the mean. */
}

static inline int tq_metal_units_at(int dim)
{
    return dim + TQ_METAL_PAGE;
}

static inline int tq_metal_record_words(int k_format, int v_format, int dim)
{
    return 2 * dim + TQ_METAL_PAGE * (tq_metal_row_words(k_format, dim) + tq_metal_row_words(v_format, dim));
}

/* Unit v of chunk c of token t, counted behind the scales. */
static inline int tq_metal_page_unit(int format, int dim, int values, int t, int c, int v)
{
    const int bits = tq_metal_bits(format);
    return values ? (t * (dim / TQ_METAL_CHUNK) + c) * bits + v : (c * bits + v) * TQ_METAL_PAGE + t;
}

/* --- from units to levels ------------------------------------------------------------------------------------------
 * A trellis code's index is made of two parities of its window of coded bits and the bits of n. Sixteen windows are
 * looked at in one go: bit i + 6 of the window word is u[t] of coordinate i, bit i + 6 - d is u[t - d]. */

static inline uint32_t tq_metal_window(uint32_t u, uint32_t u_before)
{
    return u << 6 | u_before >> 10;
}

static inline uint32_t tq_metal_parity0(uint32_t window)
{
    return (window >> 5 ^ window >> 4 ^ window >> 2) & 0xFFFFU;
}

static inline uint32_t tq_metal_parity1(uint32_t window)
{
    return (window >> 6 ^ window >> 1 ^ window) & 0xFFFFU;
}

/* What coordinate i takes from a plane of one-bit fields, of two-bit fields, ... */
static inline uint32_t tq_metal_field(uint32_t unit, int width, int i)
{
    return unit >> i % (16 / width) * width & ((1U << width) - 1);
}

/* Index of coordinate i of a chunk. The parities are those of a trellis chunk's window. */
static inline uint32_t tq_metal_index(int format, TQ_METAL_THREAD const uint16_t *unit, uint32_t window, int i)
{
    const int bits = tq_metal_bits(format);
    if (!tq_metal_is_trellis(format)) {
        return bits == 3 ? tq_metal_field(unit[i / 8], 2, i) | tq_metal_field(unit[2], 1, i) << 2
                         : tq_metal_field(unit[i * bits / 16], bits, i);
    }
    uint32_t index = tq_metal_field(tq_metal_parity0(window), 1, i) | tq_metal_field(tq_metal_parity1(window), 1, i)
                                                                          << 1;
    for (int v = 1; v < bits; v++) {
        index |= tq_metal_field(unit[v], 1, i) << (v + 1);
    }
    return index;
}

#endif /* TQ_LAYOUT_METAL_H */
