/* SPDX-License-Identifier: MIT
 *
 * The levels of a row with NEON, 16 coordinates at a time, as four registers of f32:
 *
 *     register m:    coordinates 4 m .. 4 m + 3 of the block
 *
 * Indices are first brought to bytes, in order. An f32 is four bytes, each of which TBL looks up in a table of sixteen;
 * zipping puts the bytes together.
 *
 *     4 bits     the low and the high halves of bytes, zipped
 *     2 bits     the same, then the low and the high two bits of half a byte
 *     1 bit      each byte is tested for its bit of 16
 *     3 bits     as 2 bits, and a bit of the other plane
 *
 * Trellis indices are put together of the bits of 16-bit words: two parities of coded bits, and planes of n. Of
 * turbo4t's 32 levels the tables hold the positive half: inverting every bit of an index negates its level. Those of
 * turbo8 are loaded one by one. */
#ifndef TQ_ROW_LEVELS_NEON_H
#define TQ_ROW_LEVELS_NEON_H

#include "kernels/neon/wide_neon.h"
#include "kernels/pack.h"
#include "kernels/simd/tiles.h"

#include <stdbool.h>

enum { BLOCK = 16, REGISTERS = 4, KEYS_TOGETHER = 1 };

/* A dimension for which scores of trellis codes have code of their own: none. */
enum { USUAL_DIM = 0 };

/* A format as a constant: 1, 2, 3, 4 or 8 bits of a Lloyd-Max code, or 2 to 4 of a trellis code. */
typedef struct row_kind {
    unsigned bits;
    bool trellis;
} row_kind;

/* What look-ups need of a code. */
typedef struct level_tables {
    uint8x16x4_t bytes;  /* Byte p of sixteen levels. */
    const float *levels; /* 8 bits. */
    size_t dim;
} level_tables;

typedef struct row_block {
    wide level[REGISTERS];
} row_block;

/* Where coordinate j stands among ordered ones. */
TQ_INLINE size_t ordered_place(size_t j)
{
    return j;
}

/* Orders the coordinates of a block. */
TQ_INLINE void order_block(const float *x, float *ordered)
{
    memcpy(ordered, x, BLOCK * sizeof *x);
}

/* Loads of a block may reach beyond its row, by less than OVERRUN bytes, unless dim is a multiple of this. */
enum { OVERRUN = 16 };
TQ_INLINE size_t row_grain(row_kind kind)
{
    (void)kind;
    return BLOCK;
}

/* --- tables ------------------------------------------------------------------------------------------------------ */

/* `levels` are 2^bits of a Lloyd-Max code, 2^(bits + 1) of a trellis code. */
TQ_INLINE level_tables make_tables(row_kind kind, size_t dim, const float *levels)
{
    const size_t count = (size_t)1 << (kind.bits + kind.trellis);
    level_tables tables = {.dim = dim, .levels = levels};
    if (kind.bits < 8) {
        float padded[16] = {0};
        memcpy(padded, count == 32 ? levels + 16 : levels, least(count, 16) * sizeof *levels);
        tables.bytes = vld4q_u8((const uint8_t *)padded);
    }
    return tables;
}

/* --- blocks ------------------------------------------------------------------------------------------------------ */

TQ_INLINE uint32_t load_16_bits(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8;
}

/* All bits of the bytes of coordinates whose bit is set. */
TQ_INLINE uint8x16_t bytes_of_bits(uint32_t bits)
{
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(UINT64_C(0x8040201008040201)));
    return vtstq_u8(vcombine_u8(vdup_n_u8((uint8_t)bits), vdup_n_u8((uint8_t)(bits >> 8))), bit);
}

/* `value` in the bytes of coordinates whose bit is set, else 0. */
TQ_INLINE uint8x16_t value_where(uint32_t bits, uint8_t value)
{
    return vandq_u8(bytes_of_bits(bits), vdupq_n_u8(value));
}

/* Indices of 4 bits, with other bits above if they are not masked. */
TQ_INLINE uint8x16_t spread_halves(uint8x16_t bytes)
{
    return vzip1q_u8(bytes, vshrq_n_u8(bytes, 4));
}

/* Indices of 2 bits. */
TQ_INLINE uint8x16_t load_2_bits(const uint8_t *plane)
{
    uint32_t word;
    memcpy(&word, plane, sizeof word);
    const uint8x16_t halves = spread_halves(vreinterpretq_u8_u32(vdupq_n_u32(word)));
    return vandq_u8(vzip1q_u8(halves, vshrq_n_u8(halves, 2)), vdupq_n_u8(3));
}

/* Indices of 4 bits. */
TQ_INLINE uint8x16_t load_4_bits(const uint8_t *plane)
{
    const uint8x8_t bytes = vld1_u8(plane);
    return vandq_u8(spread_halves(vcombine_u8(bytes, bytes)), vdupq_n_u8(15));
}

/* Levels of indices below 16, with the bits of `sign` inverted in their upper bytes. */
TQ_INLINE row_block look_up(const level_tables *tables, uint8x16_t index, uint8x16_t sign)
{
    const uint8x16_t byte0 = vqtbl1q_u8(tables->bytes.val[0], index);
    const uint8x16_t byte1 = vqtbl1q_u8(tables->bytes.val[1], index);
    const uint8x16_t byte2 = vqtbl1q_u8(tables->bytes.val[2], index);
    const uint8x16_t byte3 = veorq_u8(vqtbl1q_u8(tables->bytes.val[3], index), sign);
    const uint16x8_t low01 = vreinterpretq_u16_u8(vzip1q_u8(byte0, byte1));
    const uint16x8_t high01 = vreinterpretq_u16_u8(vzip2q_u8(byte0, byte1));
    const uint16x8_t low23 = vreinterpretq_u16_u8(vzip1q_u8(byte2, byte3));
    const uint16x8_t high23 = vreinterpretq_u16_u8(vzip2q_u8(byte2, byte3));
    return (row_block){
        {vreinterpretq_f32_u16(vzip1q_u16(low01, low23)), vreinterpretq_f32_u16(vzip2q_u16(low01, low23)),
         vreinterpretq_f32_u16(vzip1q_u16(high01, high23)), vreinterpretq_f32_u16(vzip2q_u16(high01, high23))}};
}

TQ_INLINE row_block load_trellis(unsigned bits, const level_tables *tables, const uint8_t *u, size_t block)
{
    const size_t plane_bytes = tables->dim / 8;
    const uint8_t *at = u + 2 * block;
    const uint32_t window = load_16_bits(at) << 8 | (block == 0 ? u + plane_bytes : at)[-1];
    const uint32_t s0 = window >> 7 ^ window >> 6 ^ window >> 4; /* u[t-i] is bit 8 - i. */
    const uint32_t s1 = window >> 8 ^ window >> 3 ^ window >> 2;
    uint8x16_t index = vorrq_u8(value_where(s0, 1), value_where(s1, 2));
    index = vorrq_u8(index, value_where(load_16_bits(at + plane_bytes), 4));
    if (bits > 2) {
        index = vorrq_u8(index, value_where(load_16_bits(at + 2 * plane_bytes), 8));
    }
    if (bits < 4) {
        return look_up(tables, index, vdupq_n_u8(0));
    }
    const uint8x16_t negative = bytes_of_bits(~load_16_bits(at + 3 * plane_bytes));
    index = veorq_u8(index, vandq_u8(negative, vdupq_n_u8(15)));
    return look_up(tables, index, vandq_u8(negative, vdupq_n_u8(0x80)));
}

TQ_INLINE row_block gather_levels(const float *levels, const uint8_t *index)
{
    row_block b;
    TQ_UNROLL
    for (size_t m = 0; m < REGISTERS; m++) {
        const uint8_t *four = index + 4 * m;
        b.level[m] = (wide){levels[four[0]], levels[four[1]], levels[four[2]], levels[four[3]]};
    }
    return b;
}

/* Reads block `block` of a row whose codes begin at `codes`. */
TQ_INLINE row_block load_block(row_kind kind, const level_tables *tables, const uint8_t *codes, size_t block)
{
    const uint8x16_t none = vdupq_n_u8(0);
    const uint8_t *at = codes + BLOCK / 8 * kind.bits * block;
    if (kind.trellis) {
        return load_trellis(kind.bits, tables, codes, block);
    }
    switch (kind.bits) {
    case 1:
        return look_up(tables, value_where(load_16_bits(at), 1), none);
    case 2:
        return look_up(tables, load_2_bits(at), none);
    case 3: {
        const uint8_t *high = codes + tq_plane_bytes(tables->dim, 2) + 2 * block;
        const uint8x16_t index = vorrq_u8(load_2_bits(codes + 4 * block), value_where(load_16_bits(high), 4));
        return look_up(tables, index, none);
    }
    case 4:
        return look_up(tables, load_4_bits(at), none);
    default:
        return gather_levels(tables->levels, at);
    }
}

/* Register m of a block's levels. */
TQ_INLINE wide block_level(row_kind kind, const level_tables *tables, const row_block *b, unsigned m)
{
    (void)kind;
    (void)tables;
    return b->level[m];
}

#endif /* TQ_ROW_LEVELS_NEON_H */
