/* SPDX-License-Identifier: MIT
 *
 * From half a block of a page (pages_x86.h), the same 32 bytes of each of its rows, to levels: eight fields of 32
 * bytes. A field is looked up when it is needed, so that few registers are live:
 *
 *     tq_fields fields = lloyd_fields(bits, rows, half)  or  trellis_fields(bits, rows, half, subsets)
 *     for k < 8: field_levels(trellis, bits, &fields, &tables, k)
 *
 * Lloyd-Max: one or two shifts and masks bring a field's index into the low bits of each byte, vpshufb looks it up.
 *
 * Trellis: for the bits of row 0, the coded bits u[t] of eight fields in each byte, the caller has
 *
 *     S0 = u[t-1] ^ u[t-2] ^ u[t-4]        S1 = u[t] ^ u[t-5] ^ u[t-6]
 *
 * Merged, they are the subsets of fields 0 2 4 6 and of fields 1 3 5 7, two bits each; every second pair gives way to
 * cell numbers, and each half of a byte is an index, straight (s, n from bit 0 up: fields 0 1 4 5) or turned (n, s).
 * `bits` and `trellis` are constants wherever these are called. */
#ifndef TQ_FIELDS_AVX2_H
#define TQ_FIELDS_AVX2_H

#include "compiler.h"
#include "kernels/x86/levels_x86.h"
#include "kernels/x86/pages_x86.h"

#include <immintrin.h>

enum { FIELDS = 8, FIELD_BYTES = 32 };

/* How many halves of blocks kernels work on at once, for each load of a query's integers: more do not fit the registers
 * with eight queries. */
#define TQ_HALVES(n) ((n) == 8 ? 1 : 2)

typedef struct tq_fields {
    __m256i index[4]; /* Lloyd-Max: the rows. Trellis: [field odd * 2 + field turned]. */
    __m256i high;     /* turbo4t: bit k is the highest bit of field k. */
} tq_fields;

/* What vpshufb looks levels up in, the same in both halves of a register. Lloyd-Max codes have one; turbo2t
 * [odd * 2 + turned], turbo3t [turned], turbo4t [turned * 2 + highest bit]. */
typedef struct tq_tables {
    __m256i table[4];
} tq_tables;

/* The two planes of the subset bits. */
typedef struct tq_subsets {
    __m256i s0;
    __m256i s1;
} tq_subsets;

TQ_INLINE __m256i load_field(const uint8_t *bytes)
{
    return _mm256_load_si256((const void *)bytes);
}

TQ_INLINE __m256i twice(__m128i table)
{
    return _mm256_broadcastsi128_si256(table);
}

/* Tables of k + offset. */
TQ_INLINE tq_tables make_tables(bool trellis, unsigned bits, const int8_t *k, int offset)
{
    const __m128i low = _mm_add_epi8(_mm_loadu_si128((const void *)k), _mm_set1_epi8((char)offset));
    const __m128i turn = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    tq_tables tables;
    if (!trellis) {
        tables.table[0] = twice(low);
    } else if (bits == 2) { /* The bits of a half: s s n -, n - s s, s s - n, - n s s. */
        tables.table[0] = twice(_mm_shuffle_epi8(low, _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7)));
        tables.table[1] = twice(_mm_shuffle_epi8(low, _mm_setr_epi8(0, 4, 0, 4, 1, 5, 1, 5, 2, 6, 2, 6, 3, 7, 3, 7)));
        tables.table[2] = twice(_mm_shuffle_epi8(low, _mm_setr_epi8(0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7)));
        tables.table[3] = twice(_mm_shuffle_epi8(low, _mm_setr_epi8(0, 0, 4, 4, 1, 1, 5, 5, 2, 2, 6, 6, 3, 3, 7, 7)));
    } else {
        tables.table[0] = twice(low);
        tables.table[bits == 3 ? 1 : 2] = twice(_mm_shuffle_epi8(low, turn));
        if (bits == 4) {
            const __m128i high = _mm_add_epi8(_mm_loadu_si128((const void *)(k + 16)), _mm_set1_epi8((char)offset));
            tables.table[1] = twice(high);
            tables.table[3] = twice(_mm_shuffle_epi8(high, turn));
        }
    }
    return tables;
}

TQ_INLINE tq_fields lloyd_fields(unsigned bits, const uint8_t *rows)
{
    tq_fields fields;
    for (unsigned row = 0; row < bits; row++) {
        fields.index[row] = load_field(rows + (size_t)TQ_ROW_BYTES * row);
    }
    return fields;
}

/* Bits where the mask has ones from b, others from a. */
TQ_INLINE __m256i merge(__m256i a, __m256i b, __m256i mask)
{
    return _mm256_xor_si256(a, _mm256_and_si256(_mm256_xor_si256(a, b), mask));
}

/* What `merged` left out of a and b, at the same places. */
TQ_INLINE __m256i rest_of(__m256i a, __m256i b, __m256i merged)
{
    return _mm256_xor_si256(merged, _mm256_xor_si256(a, b));
}

TQ_INLINE tq_fields trellis_fields(unsigned bits, const uint8_t *rows, tq_subsets subsets)
{
    const __m256i even_bits = _mm256_set1_epi8(0x55);
    const __m256i cells_at = _mm256_set1_epi8((char)0xCC);
    const __m256i even_subsets = merge(_mm256_slli_epi16(subsets.s1, 1), subsets.s0, even_bits);
    const __m256i odd_subsets = merge(subsets.s1, _mm256_srli_epi16(subsets.s0, 1), even_bits);
    const __m256i even_cells = load_field(rows + TQ_ROW_BYTES);
    const __m256i odd_cells = bits == 2 ? even_cells : load_field(rows + (size_t)2 * TQ_ROW_BYTES);
    tq_fields fields;
    fields.index[0] = merge(even_subsets, even_cells, cells_at);
    fields.index[1] = rest_of(even_subsets, even_cells, fields.index[0]);
    fields.index[2] = merge(odd_subsets, odd_cells, cells_at);
    fields.index[3] = rest_of(odd_subsets, odd_cells, fields.index[2]);
    if (bits == 4) {
        fields.high = load_field(rows + (size_t)3 * TQ_ROW_BYTES);
    }
    return fields;
}

/* The low `width` bits from bit `at` of every byte. */
TQ_INLINE __m256i bits_at(__m256i bytes, unsigned at, unsigned width)
{
    const __m256i moved = at == 0 ? bytes : _mm256_srli_epi16(bytes, (int)at);
    return _mm256_and_si256(moved, _mm256_set1_epi8((char)((1 << width) - 1)));
}

TQ_INLINE __m256i lloyd_index(unsigned bits, const tq_fields *fields, unsigned k)
{
    if (bits != 3) {
        const unsigned per_row = 8 / bits;
        return bits_at(fields->index[k / per_row], k % per_row * bits, bits);
    }
    if (k < 6) {
        return bits_at(fields->index[k / 2], k % 2 * 3, 3);
    }
    const __m256i high = _mm256_srli_epi16(fields->index[2], (int)k - 2);
    return _mm256_or_si256(bits_at(fields->index[k - 6], 6, 2), _mm256_and_si256(high, _mm256_set1_epi8(4)));
}

TQ_INLINE __m256i trellis_levels(unsigned bits, const tq_fields *fields, const tq_tables *tables, unsigned k)
{
    const unsigned odd = k % 2;
    const unsigned turned = k / 2 % 2;
    const __m256i index = bits_at(fields->index[2 * odd + turned], k / 4 * 4, 4);
    if (bits == 2) {
        return _mm256_shuffle_epi8(tables->table[2 * odd + turned], index);
    }
    if (bits == 3) {
        return _mm256_shuffle_epi8(tables->table[turned], index);
    }
    const __m256i is_high = _mm256_slli_epi16(fields->high, (int)(7 - k)); /* In the highest bit of a byte. */
    return _mm256_blendv_epi8(_mm256_shuffle_epi8(tables->table[2 * turned], index),
                              _mm256_shuffle_epi8(tables->table[2 * turned + 1], index), is_high);
}

/* k + offset of the 32 levels of field k. */
TQ_INLINE __m256i field_levels(bool trellis, unsigned bits, const tq_fields *fields, const tq_tables *tables,
                               unsigned k)
{
    return trellis ? trellis_levels(bits, fields, tables, k)
                   : _mm256_shuffle_epi8(tables->table[0], lloyd_index(bits, fields, k));
}

#endif /* TQ_FIELDS_AVX2_H */
