/* SPDX-License-Identifier: MIT
 *
 * From a quarter of a block of a page (pages_x86.h), the same 16 bytes of each of its rows, to levels: eight fields of
 * 16 bytes. A field is looked up when it is needed, so that few registers are live:
 *
 *     tq_fields fields = lloyd_fields(bits, rows)  or  trellis_fields(bits, rows, subsets)
 *     for k < 8: field_levels(trellis, bits, &fields, &tables, k)
 *
 * Lloyd-Max: one or two shifts and masks bring a field's index into the low bits of each byte, TBL looks it up.
 *
 * Trellis: for the bits of row 0, the coded bits u[t] of eight fields in each byte, the caller has
 *
 *     S0 = u[t-1] ^ u[t-2] ^ u[t-4]        S1 = u[t] ^ u[t-5] ^ u[t-6]
 *
 * Merged, they are the subsets of fields 0 2 4 6 and of fields 1 3 5 7, two bits each; every second pair gives way to
 * cell numbers, and each half of a byte is an index, straight (s, n from bit 0 up: fields 0 1 4 5) or turned (n, s).
 * `bits` and `trellis` are constants wherever these are called. */
#ifndef TQ_FIELDS_NEON_H
#define TQ_FIELDS_NEON_H

#include "compiler.h"
#include "kernels/x86/levels_x86.h"
#include "kernels/x86/pages_x86.h"

#include <arm_neon.h>

enum { FIELDS = 8, FIELD_BYTES = 16, QUARTERS = TQ_ROW_BYTES / FIELD_BYTES };

typedef struct tq_fields {
    uint8x16_t index[4]; /* Lloyd-Max: the rows. Trellis: [field odd * 2 + field turned]. */
    uint8x16_t high;     /* turbo4t: bit k is the highest bit of field k. */
} tq_fields;

/* What TBL looks levels up in. Lloyd-Max codes have one; turbo2t [odd * 2 + turned], turbo3t [turned],
 * turbo4t [turned * 2 + highest bit]. */
typedef struct tq_tables {
    int8x16_t table[4];
} tq_tables;

/* The two planes of the subset bits. */
typedef struct tq_subsets {
    uint8x16_t s0;
    uint8x16_t s1;
} tq_subsets;

TQ_INLINE int8x16_t reordered(int8x16_t table, const uint8_t *order)
{
    return vqtbl1q_s8(table, vld1q_u8(order));
}

TQ_INLINE tq_tables make_tables(bool trellis, unsigned bits, const int8_t *k)
{
    /* The bits of half an index of turbo2t: s s n -, n - s s, s s - n, - n s s. */
    static const uint8_t orders2[4][16] = {{0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7},
                                           {0, 4, 0, 4, 1, 5, 1, 5, 2, 6, 2, 6, 3, 7, 3, 7},
                                           {0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7},
                                           {0, 0, 4, 4, 1, 1, 5, 5, 2, 2, 6, 6, 3, 3, 7, 7}};
    static const uint8_t turn[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    const int8x16_t low = vld1q_s8(k);
    tq_tables tables;
    if (!trellis) {
        tables.table[0] = low;
    } else if (bits == 2) {
        for (size_t i = 0; i < 4; i++) {
            tables.table[i] = reordered(low, orders2[i]);
        }
    } else {
        tables.table[0] = low;
        tables.table[bits == 3 ? 1 : 2] = reordered(low, turn);
        if (bits == 4) {
            tables.table[1] = vld1q_s8(k + 16);
            tables.table[3] = reordered(tables.table[1], turn);
        }
    }
    return tables;
}

TQ_INLINE tq_fields lloyd_fields(unsigned bits, const uint8_t *rows)
{
    tq_fields fields;
    TQ_UNROLL
    for (unsigned row = 0; row < bits; row++) {
        fields.index[row] = vld1q_u8(rows + (size_t)TQ_ROW_BYTES * row);
    }
    return fields;
}

TQ_INLINE tq_fields trellis_fields(unsigned bits, const uint8_t *rows, tq_subsets subsets)
{
    const uint8x16_t even_bits = vdupq_n_u8(0x55);
    const uint8x16_t cells_at = vdupq_n_u8(0xCC);
    const uint8x16_t even_subsets = vbslq_u8(even_bits, subsets.s0, subsets.s1 << 1);
    const uint8x16_t odd_subsets = vbslq_u8(even_bits, subsets.s0 >> 1, subsets.s1);
    const uint8x16_t even_cells = vld1q_u8(rows + TQ_ROW_BYTES);
    const uint8x16_t odd_cells = bits == 2 ? even_cells : vld1q_u8(rows + (size_t)2 * TQ_ROW_BYTES);
    tq_fields fields;
    fields.index[0] = vbslq_u8(cells_at, even_cells, even_subsets);
    fields.index[1] = vbslq_u8(cells_at, even_subsets, even_cells);
    fields.index[2] = vbslq_u8(cells_at, odd_cells, odd_subsets);
    fields.index[3] = vbslq_u8(cells_at, odd_subsets, odd_cells);
    if (bits == 4) {
        fields.high = vld1q_u8(rows + (size_t)3 * TQ_ROW_BYTES);
    }
    return fields;
}

/* The low `width` bits from bit `at` of every byte. */
TQ_INLINE uint8x16_t bits_at(uint8x16_t bytes, unsigned at, unsigned width)
{
    const uint8x16_t moved = at == 0 ? bytes : bytes >> (uint8_t)at;
    return at + width == 8 ? moved : vandq_u8(moved, vdupq_n_u8((uint8_t)((1U << width) - 1)));
}

TQ_INLINE uint8x16_t lloyd_index(unsigned bits, const tq_fields *fields, unsigned k)
{
    if (bits != 3) {
        const unsigned per_row = 8 / bits;
        return bits_at(fields->index[k / per_row], k % per_row * bits, bits);
    }
    if (k < 6) {
        return bits_at(fields->index[k / 2], k % 2 * 3, 3);
    }
    const uint8x16_t high = fields->index[2] >> (uint8_t)(k - 2);
    return vorrq_u8(bits_at(fields->index[k - 6], 6, 2), vandq_u8(high, vdupq_n_u8(4)));
}

TQ_INLINE int8x16_t trellis_levels(unsigned bits, const tq_fields *fields, const tq_tables *tables, unsigned k)
{
    const unsigned odd = k % 2;
    const unsigned turned = k / 2 % 2;
    const uint8x16_t index = bits_at(fields->index[2 * odd + turned], k / 4 * 4, 4);
    if (bits < 4) {
        return vqtbl1q_s8(tables->table[bits == 2 ? 2 * odd + turned : turned], index);
    }
    const uint8x16_t is_high = vtstq_u8(fields->high, vdupq_n_u8((uint8_t)(1U << k)));
    return vbslq_s8(is_high, vqtbl1q_s8(tables->table[2 * turned + 1], index),
                    vqtbl1q_s8(tables->table[2 * turned], index));
}

/* The 16 levels of field k, as integers. */
TQ_INLINE int8x16_t field_levels(bool trellis, unsigned bits, const tq_fields *fields, const tq_tables *tables,
                                 unsigned k)
{
    return trellis ? trellis_levels(bits, fields, tables, k)
                   : vqtbl1q_s8(tables->table[0], lloyd_index(bits, fields, k));
}

#endif /* TQ_FIELDS_NEON_H */
