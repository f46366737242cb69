/* SPDX-License-Identifier: MIT
 *
 * The levels of a row with AVX2, 32 coordinates at a time, as four registers of f32:
 *
 *     register m:    coordinates 8 m + 0 2 4 6 1 3 5 7 of the block
 *
 * Indices are first brought to bytes, those of even coordinates to the lower half of a register, those of odd ones to
 * the upper half. An f32 is four bytes, each of which VPSHUFB looks up in a table of sixteen; unpacking puts the bytes
 * together, four coordinates of either half to a register.
 *
 *     4 bits     the low and the high halves of bytes
 *     2 bits     the same, then the low and the high two bits of half a byte
 *     1 bit      each byte is tested for its bit of a dword
 *     3 bits     as 2 bits, and a bit of the other plane
 *
 * Trellis indices are put together of the bits of dwords: two parities of coded bits, and planes of n. Of turbo4t's 32
 * levels the tables hold the positive half: inverting every bit of an index negates its level. Those of turbo8 are
 * gathered. */
#ifndef TQ_ROW_LEVELS_AVX2_H
#define TQ_ROW_LEVELS_AVX2_H

#include "kernels/pack.h"
#include "kernels/simd/tiles.h"
#include "kernels/x86/wide_avx2.h"
#include "kernels/x86/x86.h"

#include <stdbool.h>

enum { BLOCK = 32, REGISTERS = 4, KEYS_TOGETHER = 1 };

/* A dimension for which scores of trellis codes have code of their own: none. */
enum { USUAL_DIM = 0 };

/* A format as a constant: 1, 2, 3, 4 or 8 bits of a Lloyd-Max code, or 2 to 4 of a trellis code. */
typedef struct row_kind {
    unsigned bits;
    bool trellis;
} row_kind;

/* What look-ups need of a code. */
typedef struct level_tables {
    __m256i bytes[4];    /* Byte p of sixteen levels, in both halves. */
    const float *levels; /* 8 bits. */
    size_t dim;
} level_tables;

typedef struct row_block {
    wide level[REGISTERS];
} row_block;

/* Where coordinate j stands among ordered ones. */
TQ_INLINE size_t ordered_place(size_t j)
{
    return j / 8 * 8 + j % 2 * 4 + j % 8 / 2;
}

/* Orders the coordinates of a block. */
TQ_INLINE void order_block(const float *x, float *ordered)
{
    const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    for (size_t j = 0; j < BLOCK; j += WIDE) {
        wide_store(ordered + j, WIDE, _mm256_permutevar8x32_ps(wide_load(x + j, WIDE), order));
    }
}

/* Loads of a block may reach beyond its row, by less than OVERRUN bytes, unless dim is a multiple of this. */
enum { OVERRUN = 32 };
TQ_INLINE size_t row_grain(row_kind kind)
{
    (void)kind;
    return BLOCK;
}

/* --- tables ------------------------------------------------------------------------------------------------------ */

/* The bytes of up to sixteen levels. */
TQ_INLINE void split_levels(const float *levels, size_t count, __m256i bytes[4])
{
    const __m128i by_place = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    float padded[16] = {0};
    memcpy(padded, levels, count * sizeof *levels);
    __m128i four[4];
    for (size_t i = 0; i < 4; i++) {
        four[i] = _mm_shuffle_epi8(_mm_castps_si128(_mm_loadu_ps(padded + 4 * i)), by_place);
    }
    const __m128i low01 = _mm_unpacklo_epi32(four[0], four[1]);
    const __m128i high01 = _mm_unpackhi_epi32(four[0], four[1]);
    const __m128i low23 = _mm_unpacklo_epi32(four[2], four[3]);
    const __m128i high23 = _mm_unpackhi_epi32(four[2], four[3]);
    bytes[0] = _mm256_broadcastsi128_si256(_mm_unpacklo_epi64(low01, low23));
    bytes[1] = _mm256_broadcastsi128_si256(_mm_unpackhi_epi64(low01, low23));
    bytes[2] = _mm256_broadcastsi128_si256(_mm_unpacklo_epi64(high01, high23));
    bytes[3] = _mm256_broadcastsi128_si256(_mm_unpackhi_epi64(high01, high23));
}

/* `levels` are 2^bits of a Lloyd-Max code, 2^(bits + 1) of a trellis code. */
TQ_INLINE level_tables make_tables(row_kind kind, size_t dim, const float *levels)
{
    const size_t count = (size_t)1 << (kind.bits + kind.trellis);
    level_tables tables = {.dim = dim, .levels = levels};
    if (kind.bits < 8) {
        split_levels(count == 32 ? levels + 16 : levels, least(count, 16), tables.bytes);
    }
    return tables;
}

/* --- blocks ------------------------------------------------------------------------------------------------------ */

TQ_INLINE uint32_t load_dword(const uint8_t *bytes)
{
    uint32_t dword;
    memcpy(&dword, bytes, sizeof dword);
    return dword;
}

/* All bits of the bytes of coordinates whose bit is set. */
TQ_INLINE __m256i bytes_of_bits(uint32_t bits)
{
    const __m256i place = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3));
    const __m256i bit = _mm256_set_m128i(_mm_set1_epi32((int)0x80200802), _mm_set1_epi32(0x40100401));
    const __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), place);
    return _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
}

/* `value` in the bytes of coordinates whose bit is set, else 0. */
TQ_INLINE __m256i value_where(uint32_t bits, int value)
{
    return _mm256_and_si256(bytes_of_bits(bits), _mm256_set1_epi8((char)value));
}

/* Indices of 2 bits. */
TQ_INLINE __m256i load_2_bits(const uint8_t *plane)
{
    const __m128i bytes = _mm_loadl_epi64((const void *)plane);
    const __m128i halves = _mm_unpacklo_epi8(bytes, _mm_srli_epi16(bytes, 4)); /* Below other bits. */
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(halves, 2), halves), _mm256_set1_epi8(3));
}

/* Indices of 4 bits. */
TQ_INLINE __m256i load_4_bits(const uint8_t *plane)
{
    const __m128i bytes = _mm_loadu_si128((const void *)plane);
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes), _mm256_set1_epi8(15));
}

/* Levels of indices below 16, with the bits of `sign` inverted in their upper bytes. */
TQ_INLINE row_block look_up(const level_tables *tables, __m256i index, __m256i sign)
{
    const __m256i byte0 = _mm256_shuffle_epi8(tables->bytes[0], index);
    const __m256i byte1 = _mm256_shuffle_epi8(tables->bytes[1], index);
    const __m256i byte2 = _mm256_shuffle_epi8(tables->bytes[2], index);
    const __m256i byte3 = _mm256_xor_si256(_mm256_shuffle_epi8(tables->bytes[3], index), sign);
    const __m256i low01 = _mm256_unpacklo_epi8(byte0, byte1);
    const __m256i high01 = _mm256_unpackhi_epi8(byte0, byte1);
    const __m256i low23 = _mm256_unpacklo_epi8(byte2, byte3);
    const __m256i high23 = _mm256_unpackhi_epi8(byte2, byte3);
    return (row_block){{_mm256_castsi256_ps(_mm256_unpacklo_epi16(low01, low23)),
                        _mm256_castsi256_ps(_mm256_unpackhi_epi16(low01, low23)),
                        _mm256_castsi256_ps(_mm256_unpacklo_epi16(high01, high23)),
                        _mm256_castsi256_ps(_mm256_unpackhi_epi16(high01, high23))}};
}

TQ_INLINE row_block load_trellis(unsigned bits, const level_tables *tables, const uint8_t *u, size_t block)
{
    const size_t plane_bytes = tables->dim / 8;
    const uint8_t *at = u + 4 * block;
    const uint64_t window = (uint64_t)load_dword(at) << 8 | (block == 0 ? u + plane_bytes : at)[-1];
    const uint32_t s0 = (uint32_t)(window >> 7 ^ window >> 6 ^ window >> 4); /* u[t-i] is bit 8 - i. */
    const uint32_t s1 = (uint32_t)(window >> 8 ^ window >> 3 ^ window >> 2);
    __m256i index = _mm256_or_si256(value_where(s0, 1), value_where(s1, 2));
    index = _mm256_or_si256(index, value_where(load_dword(at + plane_bytes), 4));
    if (bits > 2) {
        index = _mm256_or_si256(index, value_where(load_dword(at + 2 * plane_bytes), 8));
    }
    if (bits < 4) {
        return look_up(tables, index, _mm256_setzero_si256());
    }
    const __m256i negative = bytes_of_bits(~load_dword(at + 3 * plane_bytes));
    index = _mm256_xor_si256(index, _mm256_and_si256(negative, _mm256_set1_epi8(15)));
    return look_up(tables, index, _mm256_and_si256(negative, _mm256_set1_epi8((char)0x80)));
}

TQ_INLINE row_block gather_levels(const float *levels, const uint8_t *index)
{
    const __m128i order = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 8, 8, 8, 8, 8, 8, 8);
    row_block b;
    TQ_UNROLL
    for (size_t m = 0; m < REGISTERS; m++) {
        const __m128i bytes = _mm_shuffle_epi8(_mm_loadl_epi64((const void *)(index + 8 * m)), order);
        b.level[m] = _mm256_i32gather_ps(levels, _mm256_cvtepu8_epi32(bytes), sizeof *levels);
    }
    return b;
}

/* Reads block `block` of a row whose codes begin at `codes`. */
TQ_INLINE row_block load_block(row_kind kind, const level_tables *tables, const uint8_t *codes, size_t block)
{
    const __m256i none = _mm256_setzero_si256();
    const uint8_t *at = codes + BLOCK / 8 * kind.bits * block;
    if (kind.trellis) {
        return load_trellis(kind.bits, tables, codes, block);
    }
    switch (kind.bits) {
    case 1:
        return look_up(tables, value_where(load_dword(at), 1), none);
    case 2:
        return look_up(tables, load_2_bits(at), none);
    case 3: {
        const uint8_t *high = codes + tq_plane_bytes(tables->dim, 2) + 4 * block;
        return look_up(tables, _mm256_or_si256(load_2_bits(codes + 8 * block), value_where(load_dword(high), 4)), none);
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

#endif /* TQ_ROW_LEVELS_AVX2_H */
