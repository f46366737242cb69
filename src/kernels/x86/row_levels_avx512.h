/* SPDX-License-Identifier: MIT
 *
 * The levels of a row with AVX-512, 64 coordinates at a time, as four registers of f32:
 *
 *     register m, lane l:    coordinate 4 l + m of the block
 *
 * A dword that holds the indices of four coordinates thus serves all four registers: VPERMPS looks up sixteen levels by
 * the low four bits of a dword, and a shift brings up the next index. Bits above an index are its neighbours'; where an
 * index has fewer bits, the table repeats itself over them, so nothing is masked.
 *
 *     4 bits     index m at bit 4 m: one word per lane          2 bits    at bit 2 m: one byte per lane
 *     1 bit      at bit m: VPMULTISHIFTQB brings half a byte to each lane
 *     3 bits     at bit 8 m: the same instruction brings two bits of one plane, and one of the other, to each byte
 *
 * Trellis indices are also bytes. For eight coordinates, VPMULTISHIFTQB takes eight bytes from coded bits and cells:
 * u[t-1], u[t-2], u[t-4], u[t], u[t-5], u[t-6] and two bits of n. Those are the rows of a matrix of 8 x 8 bits;
 * VGF2P8AFFINEQB with unit vectors transposes it, so that each byte belongs to one coordinate, and again with the
 * parities as a matrix makes them s0, s1 and n. A third plane of n is a mask of 64 bits.
 *
 * Of turbo8's 256 levels the positive half is looked up by VPERMI2B, byte by byte of an f32; unpacking puts the bytes
 * together. */
#ifndef TQ_ROW_LEVELS_AVX512_H
#define TQ_ROW_LEVELS_AVX512_H

#include "kernels/pack.h"
#include "kernels/simd/tiles.h"
#include "kernels/x86/wide_avx512.h"
#include "kernels/x86/x86.h"

#include <stdbool.h>
#include <string.h>

enum { BLOCK = 64, REGISTERS = 4, KEYS_TOGETHER = 4, TRELLIS_GROUP = 128 };

/* A dimension for which scores of trellis codes have code of their own, with its two blocks written out: 10 % faster.
 */
enum { USUAL_DIM = 128 };

/* A format as a constant: 1, 2, 3, 4 or 8 bits of a Lloyd-Max code, or 2 to 4 of a trellis code. */
typedef struct row_kind {
    unsigned bits;
    bool trellis;
} row_kind;

/* What look-ups need of a code. */
typedef struct level_tables {
    size_t dim;
    wide low, high;      /* Levels 0 to 15, repeated if they are fewer; 16 to 31. */
    __m512i bytes[4][2]; /* 8 bits: byte p of positive level 64 h + i. */
    __m512i bits_at[2];  /* Trellis: where the bytes of eight coordinates lie, in either half of a group. */
} level_tables;

typedef struct row_block {
    __m512i index;         /* Or, of 8 bits, */
    wide level[REGISTERS]; /* the levels. */
} row_block;

/* Where coordinate j stands among ordered ones. */
TQ_INLINE size_t ordered_place(size_t j)
{
    return j / BLOCK * BLOCK + j % 4 * WIDE + j % BLOCK / 4;
}

/* Orders the coordinates of a block. */
TQ_INLINE void order_block(const float *x, float *ordered)
{
    const __m512i first = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(2));
    const __m512 a = _mm512_loadu_ps(x);
    const __m512 b = _mm512_loadu_ps(x + 16);
    const __m512 c = _mm512_loadu_ps(x + 32);
    const __m512 d = _mm512_loadu_ps(x + 48);
    const __m512 low01 = _mm512_permutex2var_ps(a, first, b);
    const __m512 low23 = _mm512_permutex2var_ps(a, second, b);
    const __m512 high01 = _mm512_permutex2var_ps(c, first, d);
    const __m512 high23 = _mm512_permutex2var_ps(c, second, d);
    _mm512_storeu_ps(ordered, _mm512_shuffle_f32x4(low01, high01, 0x44));
    _mm512_storeu_ps(ordered + 16, _mm512_shuffle_f32x4(low01, high01, 0xEE));
    _mm512_storeu_ps(ordered + 32, _mm512_shuffle_f32x4(low23, high23, 0x44));
    _mm512_storeu_ps(ordered + 48, _mm512_shuffle_f32x4(low23, high23, 0xEE));
}

/* Loads of a block may reach beyond its row, by less than OVERRUN bytes, unless dim is a multiple of this. */
enum { OVERRUN = 64 };
TQ_INLINE size_t row_grain(row_kind kind)
{
    return kind.trellis ? TRELLIS_GROUP : BLOCK;
}

/* --- tables ------------------------------------------------------------------------------------------------------ */

TQ_INLINE wide repeated_levels(const float *levels, size_t count)
{
    const __m512i mask = _mm512_set1_epi32((int)(count - 1));
    const __m512i place =
        _mm512_and_si512(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), mask);
    return _mm512_permutexvar_ps(place, wide_load(levels, count));
}

/* The bytes of the upper 128 of 256 levels. */
TQ_INLINE void split_levels(const float *levels, __m512i bytes[4][2])
{
    for (unsigned p = 0; p < 4; p++) {
        uint8_t byte[128];
        for (size_t i = 0; i < 128; i += WIDE) {
            const __m512i words = _mm512_srli_epi32(_mm512_loadu_si512(levels + 128 + i), 8 * p);
            _mm_storeu_si128((void *)(byte + i), _mm512_cvtepi32_epi8(words));
        }
        bytes[p][0] = _mm512_loadu_si512(byte);
        bytes[p][1] = _mm512_loadu_si512(byte + 64);
    }
}

/* Indices for VPERMB on a group as load_group lays it out. Qword i of the result: byte 0 the coded bits of coordinates
 * 8 (i - 1) .., byte 1 those of 8 i .., bytes 2 and 3 the planes of n. The index -1 means byte 63. */
TQ_INLINE void find_bits(size_t dim, __m512i bits_at[2])
{
    const __m512i ones =
        _mm512_setr_epi64(0, 0x01010101, 0x02020202, 0x03030303, 0x04040404, 0x05050505, 0x06060606, 0x07070707);
    const __m512i first = _mm512_add_epi8(_mm512_set1_epi64(0x201000FF), ones);
    const __mmask64 seam = dim <= TRELLIS_GROUP ? 1 : 0; /* The last coded bits are in the same group as the first. */
    bits_at[0] = _mm512_mask_mov_epi8(first, seam, _mm512_set1_epi8((char)(dim / 8 - 1)));
    bits_at[1] = _mm512_add_epi8(first, _mm512_set1_epi8(8));
}

/* `levels` are 2^bits of a Lloyd-Max code, 2^(bits + 1) of a trellis code. */
TQ_INLINE level_tables make_tables(row_kind kind, size_t dim, const float *levels)
{
    const size_t count = (size_t)1 << (kind.bits + kind.trellis);
    level_tables tables;
    tables.dim = dim;
    if (kind.trellis) {
        find_bits(dim, tables.bits_at);
    }
    if (kind.bits == 8) {
        split_levels(levels, tables.bytes);
    } else {
        tables.low = repeated_levels(levels, least(count, WIDE));
    }
    if (count == 2 * WIDE) {
        tables.high = wide_load(levels + WIDE, WIDE);
    }
    return tables;
}

/* --- blocks ------------------------------------------------------------------------------------------------------ */

/* Two bits of one plane and one of another, for each byte. */
TQ_INLINE __m512i load_3_bits(const uint8_t *low, const uint8_t *high)
{
    const __m512i low_words = _mm512_cvtepu16_epi64(_mm_loadu_si128((const void *)low));
    const __m512i high_bytes = _mm512_cvtepu8_epi64(_mm_loadl_epi64((const void *)high));
    const __m512i low_bits = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x0E0C0A0806040200), low_words);
    const __m512i high_bit = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x0504030201003F3E), high_bytes);
    return _mm512_ternarylogic_epi32(_mm512_set1_epi8(3), low_bits, high_bit, 0xCA); /* Where 3 has ones, the former. */
}

/* Coded bits and cells of 128 coordinates: in each quarter the sixteen bytes of one plane, u, n, n. The last quarter
 * ends with the byte of u before the first one, unless that is in the same group. */
TQ_INLINE __m512i load_group(unsigned bits, size_t dim, const uint8_t *u, size_t group)
{
    const size_t plane_bytes = dim / 8;
    if (dim == TRELLIS_GROUP) { /* The planes follow each other. */
        if (bits == 4) {
            return _mm512_loadu_si512(u);
        }
        const __m512i first = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)u));
        return bits == 2 ? first : _mm512_inserti32x4(first, _mm_loadu_si128((const void *)(u + 32)), 2);
    }
    const uint8_t *at = u + 16 * group;
    const uint8_t *before = dim < TRELLIS_GROUP ? u : (group == 0 ? u + plane_bytes : at) - 16;
    __m512i planes = _mm512_castsi128_si512(_mm_loadu_si128((const void *)at));
    planes = _mm512_inserti32x4(planes, _mm_loadu_si128((const void *)(at + plane_bytes)), 1);
    if (bits > 2) {
        planes = _mm512_inserti32x4(planes, _mm_loadu_si128((const void *)(at + 2 * plane_bytes)), 2);
    }
    return _mm512_inserti32x4(planes, _mm_loadu_si128((const void *)before), 3);
}

/* The index of each coordinate in a byte. Of 2 bits, bit 3 is anything. */
TQ_INLINE __m512i load_trellis(unsigned bits, const level_tables *tables, const uint8_t *u, size_t block)
{
    const __m512i group = load_group(bits, tables->dim, u, block / 2);
    const __m512i planes = _mm512_permutexvar_epi8(tables->bits_at[block % 2], group);
    /* Offsets in a qword, from row 7 of the matrix to row 0: n, n, u[t-6], u[t-5], u[t], u[t-4], u[t-2], u[t-1]. */
    const __m512i rows = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x0706040803021018), planes);
    const __m512i columns = _mm512_gf2p8affine_epi64_epi8(_mm512_set1_epi64((int64_t)0x8040201008040201), rows, 0);
    const __m512i index = _mm512_gf2p8affine_epi64_epi8(columns, _mm512_set1_epi64(0x0738408000000000), 0);
    if (bits < 4) {
        return index;
    }
    uint64_t high;
    memcpy(&high, u + 3 * (tables->dim / 8) + 8 * block, sizeof high);
    return _mm512_mask_add_epi8(index, high, index, _mm512_set1_epi8(16));
}

/* Levels of 64 indices of 8 bits. */
TQ_INLINE void look_up_bytes(const level_tables *tables, __m512i index, wide level[REGISTERS])
{
    const __m512i transpose = _mm512_set4_epi32(0x0F0B0703, 0x0E0A0602, 0x0D090501, 0x0C080400);
    const __m512i place = _mm512_shuffle_epi8(index, transpose); /* What unpacking undoes. */
    const __mmask64 positive = _mm512_movepi8_mask(place);
    const __m512i inverted = _mm512_xor_si512(place, _mm512_set1_epi8(127));
    const __m512i magnitude = _mm512_mask_mov_epi8(inverted, positive, place); /* VPERMI2B does not see bit 7. */
    __m512i byte[4];
    TQ_UNROLL
    for (size_t p = 0; p < 4; p++) {
        byte[p] = _mm512_permutex2var_epi8(tables->bytes[p][0], magnitude, tables->bytes[p][1]);
    }
    byte[3] = _mm512_ternarylogic_epi32(byte[3], place, _mm512_set1_epi8((char)0x80), 0xD2); /* Unless positive, -. */
    const __m512i low01 = _mm512_unpacklo_epi8(byte[0], byte[1]);
    const __m512i high01 = _mm512_unpackhi_epi8(byte[0], byte[1]);
    const __m512i low23 = _mm512_unpacklo_epi8(byte[2], byte[3]);
    const __m512i high23 = _mm512_unpackhi_epi8(byte[2], byte[3]);
    level[0] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(low01, low23));
    level[1] = _mm512_castsi512_ps(_mm512_unpackhi_epi16(low01, low23));
    level[2] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(high01, high23));
    level[3] = _mm512_castsi512_ps(_mm512_unpackhi_epi16(high01, high23));
}

/* Reads block `block` of a row whose codes begin at `codes`. */
TQ_INLINE row_block load_block(row_kind kind, const level_tables *tables, const uint8_t *codes, size_t block)
{
    const uint8_t *at = codes + BLOCK / 8 * kind.bits * block;
    row_block b;
    if (kind.trellis) {
        b.index = load_trellis(kind.bits, tables, codes, block);
    } else if (kind.bits == 1) {
        const __m512i halves = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60);
        int64_t qword;
        memcpy(&qword, at, sizeof qword);
        b.index = _mm512_multishift_epi64_epi8(halves, _mm512_set1_epi64(qword));
    } else if (kind.bits == 2) {
        b.index = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)at));
    } else if (kind.bits == 3) {
        b.index = load_3_bits(codes + 16 * block, codes + tq_plane_bytes(tables->dim, 2) + 8 * block);
    } else if (kind.bits == 4) {
        b.index = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)at));
    } else {
        look_up_bytes(tables, _mm512_loadu_si512(at), b.level);
    }
    return b;
}

/* Register m of a block's levels. */
TQ_INLINE wide block_level(row_kind kind, const level_tables *tables, const row_block *b, unsigned m)
{
    if (kind.bits == 8) {
        return b->level[m];
    }
    const __m512i index = _mm512_srli_epi32(b->index, m * (kind.trellis || kind.bits == 3 ? 8 : kind.bits));
    return kind.trellis && kind.bits == 4 ? _mm512_permutex2var_ps(tables->low, index, tables->high)
                                          : _mm512_permutexvar_ps(index, tables->low);
}

#endif /* TQ_ROW_LEVELS_AVX512_H */
