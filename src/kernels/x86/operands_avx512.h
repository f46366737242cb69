/* SPDX-License-Identifier: MIT
 *
 * From the rows of a block (pages_x86.h) to its operands: 64 int8 levels in a register.
 *
 * VPERMB looks up 64 bytes in a table of 64 and reads six bits of each index. A field of fewer bits needs no masking:
 * the table repeats itself over the bits that belong to neighbours. So most fields cost one instruction, and those in
 * the upper bits a shift before it. Which bits of an index count differs from field to field; each place has a table.
 *
 * A trellis code first computes its subset bits from coded bits that lie up to six coordinates back,
 *
 *     s0 = u[t-1] ^ u[t-2] ^ u[t-4]        s1 = u[t] ^ u[t-5] ^ u[t-6]
 *
 * for eight fields at once, as bits are stored; keys and values find these bits in different ways. */
#ifndef TQ_OPERANDS_AVX512_H
#define TQ_OPERANDS_AVX512_H

#include "kernels/x86/levels_x86.h"
#include "kernels/x86/pages_avx512.h"

/* Truth tables of VPTERNLOG: a where c has ones, else b; a ^ b ^ c. */
enum { TERNARY_SELECT = 0xE4, TERNARY_XOR = 0x96 };

/* Bits of a where the mask has ones, else of b. */
TQ_INLINE __m512i select_bits(int mask, __m512i a, __m512i b)
{
    return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi8((char)mask), TERNARY_SELECT);
}

TQ_INLINE __m512i xor3(__m512i a, __m512i b, __m512i c)
{
    return _mm512_ternarylogic_epi32(a, b, c, TERNARY_XOR);
}

/* A family of formats, as a constant: 1 to 4 bits of a Lloyd-Max code, or 2 to 4 of a trellis code. */
typedef struct kind_of_code {
    unsigned bits;
    bool trellis;
} kind_of_code;

enum { TABLES = 4 };

/* Which level an index of six bits means, for each table: tables[i][v] = level[PATTERN[i][v]]. */
#define EACH_4(f, v)  f(v), f((v) + 1), f((v) + 2), f((v) + 3)
#define EACH_16(f, v) EACH_4(f, v), EACH_4(f, (v) + 4), EACH_4(f, (v) + 8), EACH_4(f, (v) + 12)
#define EACH_64(f)    EACH_16(f, 0), EACH_16(f, 16), EACH_16(f, 32), EACH_16(f, 48)

/* `width` bits of v from bit `at` on. */
#define BITS(v, at, width) ((v) >> (at) & ((1 << (width)) - 1))

#define LLOYD_1_0(v) BITS(v, 0, 1)
#define LLOYD_1_1(v) BITS(v, 1, 1)
#define LLOYD_1_2(v) BITS(v, 2, 1)
#define LLOYD_1_3(v) BITS(v, 3, 1)
#define LLOYD_2_0(v) BITS(v, 0, 2)
#define LLOYD_2_1(v) BITS(v, 2, 2)
#define LLOYD_2_2(v) BITS(v, 4, 2)
#define LLOYD_3_0(v) BITS(v, 0, 3)
#define LLOYD_3_1(v) BITS(v, 3, 3)
#define LLOYD_4_0(v) BITS(v, 0, 4)
/* idx = 4 n + s, with s and the low two bits of n in half a byte, either way round. */
#define TRELLIS_2_0(v) (4 * BITS(v, 2, 1) + BITS(v, 0, 2))
#define TRELLIS_2_1(v) (4 * BITS(v, 0, 1) + BITS(v, 2, 2))
#define TRELLIS_2_2(v) (4 * BITS(v, 3, 1) + BITS(v, 0, 2))
#define TRELLIS_2_3(v) (4 * BITS(v, 1, 1) + BITS(v, 2, 2))
#define TRELLIS_3_0(v) (4 * BITS(v, 2, 2) + BITS(v, 0, 2))
#define TRELLIS_3_1(v) (4 * BITS(v, 0, 2) + BITS(v, 2, 2))
#define TRELLIS_4_0(v) (16 * BITS(v, 4, 1) + TRELLIS_3_0(v))
#define TRELLIS_4_1(v) (16 * BITS(v, 4, 1) + TRELLIS_3_1(v))
#define TRELLIS_4_2(v) (16 * BITS(v, 5, 1) + TRELLIS_3_0(v))
#define TRELLIS_4_3(v) (16 * BITS(v, 5, 1) + TRELLIS_3_1(v))

static const uint8_t LLOYD_PATTERNS[4][TABLES][64] = {
    {{EACH_64(LLOYD_1_0)}, {EACH_64(LLOYD_1_1)}, {EACH_64(LLOYD_1_2)}, {EACH_64(LLOYD_1_3)}},
    {{EACH_64(LLOYD_2_0)}, {EACH_64(LLOYD_2_1)}, {EACH_64(LLOYD_2_2)}, {0}},
    {{EACH_64(LLOYD_3_0)}, {EACH_64(LLOYD_3_1)}, {0}, {0}},
    {{EACH_64(LLOYD_4_0)}, {0}, {0}, {0}},
};
static const uint8_t TRELLIS_PATTERNS[3][TABLES][64] = {
    {{EACH_64(TRELLIS_2_0)}, {EACH_64(TRELLIS_2_1)}, {EACH_64(TRELLIS_2_2)}, {EACH_64(TRELLIS_2_3)}},
    {{EACH_64(TRELLIS_3_0)}, {EACH_64(TRELLIS_3_1)}, {EACH_64(TRELLIS_3_0)}, {EACH_64(TRELLIS_3_1)}},
    {{EACH_64(TRELLIS_4_0)}, {EACH_64(TRELLIS_4_1)}, {EACH_64(TRELLIS_4_2)}, {EACH_64(TRELLIS_4_3)}},
};

/* The tables, with `flip` in every byte: 0x80 turns int8 k into uint8 k + 128. */
TQ_INLINE void load_tables(kind_of_code kind, const tq_code *code, int flip, __m512i tables[TABLES])
{
    const __m512i levels =
        _mm512_xor_si512(_mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)tq_integer_levels(code).k)),
                         _mm512_set1_epi8((char)flip));
    TQ_UNROLL
    for (size_t i = 0; i < TABLES; i++) {
        const uint8_t *pattern = kind.trellis ? TRELLIS_PATTERNS[kind.bits - 2][i] : LLOYD_PATTERNS[kind.bits - 1][i];
        tables[i] = _mm512_permutexvar_epi8(_mm512_loadu_si512(pattern), levels);
    }
}

/* A block as its operands are looked up. */
typedef struct block {
    const uint8_t *rows; /* Lloyd-Max codes. */
    __m512i pairs[4];    /* Trellis codes: four bits of fields 0 and 4, 2 and 6, 1 and 5, 3 and 7. */
    __m512i high;        /* Trellis codes of 4 bits: the high bits of n. */
} block;

/* Merges subset bits with cell numbers: even has s1 s0 of fields 0, 2, 4, 6, odd of fields 1, 3, 5, 7. */
TQ_INLINE block merge_trellis(unsigned bits, __m512i even, __m512i odd, const uint8_t *rows)
{
    const __m512i n_even = load_row(rows, 1);
    const __m512i n_odd = bits == 2 ? n_even : load_row(rows, 2);
    return (block){rows,
                   {select_bits(0x33, even, n_even), select_bits(0x33, n_even, even), select_bits(0x33, odd, n_odd),
                    select_bits(0x33, n_odd, odd)},
                   bits == 4 ? load_row(rows, 3) : even};
}

TQ_INLINE __m512i trellis_operand(unsigned bits, const block *b, unsigned field, const __m512i *tables)
{
    const unsigned i = 2 * (field % 2) + field / 2 % 2;
    __m512i index = field < 4 ? b->pairs[i] : _mm512_srli_epi16(b->pairs[i], 4);
    if (bits == 4) { /* The high bits of fields 2 i and 2 i + 1 at bits 4 and 5. */
        const __m512i high = field < 2   ? _mm512_slli_epi16(b->high, 4)
                             : field < 4 ? _mm512_slli_epi16(b->high, 2)
                             : field < 6 ? b->high
                                         : _mm512_srli_epi16(b->high, 2);
        index = select_bits(0x0F, index, high);
    }
    return _mm512_permutexvar_epi8(index, tables[i]);
}

TQ_INLINE __m512i lloyd_operand_3(const uint8_t *rows, unsigned field, const __m512i *tables)
{
    if (field < 6) {
        return _mm512_permutexvar_epi8(load_row(rows, field / 2), tables[field % 2]);
    }
    const __m512i low = _mm512_srli_epi16(load_row(rows, field - 6), 6);
    const __m512i high = _mm512_srli_epi16(load_row(rows, 2), field == 6 ? 4 : 5);
    return _mm512_permutexvar_epi8(select_bits(4, high, low), tables[0]);
}

TQ_INLINE __m512i lloyd_operand(unsigned bits, const uint8_t *rows, unsigned field, const __m512i *tables)
{
    const __m512i row = load_row(rows, field * bits / 8);
    switch (bits) {
    case 1:
        return _mm512_permutexvar_epi8(field < 4 ? row : _mm512_srli_epi16(row, 4), tables[field % 4]);
    case 2:
        return field % 4 < 3 ? _mm512_permutexvar_epi8(row, tables[field % 4])
                             : _mm512_permutexvar_epi8(_mm512_srli_epi16(row, 2), tables[2]);
    case 3:
        return lloyd_operand_3(rows, field, tables);
    default:
        return _mm512_permutexvar_epi8(field % 2 == 0 ? row : _mm512_srli_epi16(row, 4), tables[0]);
    }
}

/* Field `field` of a block: 64 levels. `kind` and `field` are constants. */
TQ_INLINE __m512i operand(kind_of_code kind, const block *b, unsigned field, const __m512i *tables)
{
    return kind.trellis ? trellis_operand(kind.bits, b, field, tables)
                        : lloyd_operand(kind.bits, b->rows, field, tables);
}

#endif /* TQ_OPERANDS_AVX512_H */
