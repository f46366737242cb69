/* SPDX-License-Identifier: MIT
 *
 * Levels of the 8-bit code. Its own error is so small that int8 levels would be the larger one, so they have 16 bits,
 * as two operands:
 *
 *     level = step (high + low / 256)          high, low: int8
 *
 * of whose products with two planes of a query or of weights the three upper ones are added. A table of 256 bytes is
 * four registers: VPERMI2B looks up half of it, and bit 7 of the index chooses the half. */
#ifndef TQ_BYTE_LEVELS_AVX512_H
#define TQ_BYTE_LEVELS_AVX512_H

#include "kernels/x86/pages_avx512.h"

typedef struct tq_byte_tables {
    _Alignas(64) int8_t high[256];
    _Alignas(64) int8_t low[256];
    float step;
} tq_byte_tables;

/* `flip` in every byte: 0x80 turns int8 k into uint8 k + 128. */
TQ_INLINE void make_byte_tables(const tq_code *code, int flip, tq_byte_tables *tables)
{
    const float most = code->centroids[255];
    const __m512 factor = _mm512_set1_ps(256 * 127 / most);
    const __m128i flips = _mm_set1_epi8((char)flip);
    for (size_t i = 0; i < 256; i += 16) {
        const __m512i x = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(code->centroids + i), factor));
        const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(x, _mm512_set1_epi32(128)), 8);
        _mm_store_si128((void *)(tables->high + i), _mm_xor_si128(_mm512_cvtepi32_epi8(high), flips));
        _mm_store_si128((void *)(tables->low + i), _mm_xor_si128(_mm512_cvtepi32_epi8(x), flips));
    }
    tables->step = most / 127;
}

/* A table in registers. */
typedef struct byte_table {
    __m512i quarter[4];
} byte_table;

TQ_INLINE byte_table load_byte_table(const int8_t *bytes)
{
    return (byte_table){{_mm512_load_si512(bytes), _mm512_load_si512(bytes + 64), _mm512_load_si512(bytes + 128),
                         _mm512_load_si512(bytes + 192)}};
}

TQ_INLINE __m512i look_up(const byte_table *table, __m512i index)
{
    const __m512i lower = _mm512_permutex2var_epi8(table->quarter[0], index, table->quarter[1]);
    const __m512i upper = _mm512_permutex2var_epi8(table->quarter[2], index, table->quarter[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), lower, upper);
}

#endif /* TQ_BYTE_LEVELS_AVX512_H */
