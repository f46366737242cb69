/* SPDX-License-Identifier: MIT
 *
 * What the AVX-512 kernels of pages share: how they load rows, and how they fetch the next page. */
#ifndef TQ_PAGES_AVX512_H
#define TQ_PAGES_AVX512_H

#include "compiler.h"
#include "kernels/x86/pages_x86.h"

#include <immintrin.h>

TQ_INLINE __m512i load_row(const uint8_t *rows, unsigned i)
{
    __m512i row = _mm512_load_si512(rows + (size_t)TQ_ROW_BYTES * i);
    __asm__("" : "+v"(row)); /* Or compilers load it anew for every use: loads are what these kernels have most of. */
    return row;
}

/* sums += products of four unsigned and four signed bytes. Not the intrinsic: gcc 12 copies its sums from register to
 * register, an instruction for every third product. */
TQ_INLINE __m512i add_products(__m512i sums, __m512i unsigned_bytes, __m512i signed_bytes)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(unsigned_bytes), "v"(signed_bytes));
    return sums;
}

TQ_INLINE void fetch_rows(const uint8_t *ahead, size_t rows)
{
    TQ_UNROLL
    for (size_t i = 0; i < rows; i++) {
        _mm_prefetch((const char *)ahead + i * TQ_ROW_BYTES, _MM_HINT_T0);
    }
}

/* Part i of n of the next `rows` rows: fetched bit by bit while others are worked on, since a processor keeps few
 * fetches on their way. */
TQ_INLINE void fetch_part(const uint8_t *ahead, size_t rows, size_t i, size_t n)
{
    fetch_rows(ahead + i * rows / n * TQ_ROW_BYTES, (i + 1) * rows / n - i * rows / n);
}

/* What kernels do not fetch row by row: the scales, and as much more as a page's mean takes before its rows. */
TQ_INLINE void fetch_rest(const tq_code *code, const uint8_t *ahead)
{
    const size_t begin = tq_page_scales_at(code);
    const size_t end = TQ_PAGE_TOKENS * code->row_bytes + 2 * code->dim;
    for (size_t at = begin; at < end; at += TQ_ROW_BYTES) {
        _mm_prefetch((const char *)ahead + at, _MM_HINT_T0);
    }
}

#endif /* TQ_PAGES_AVX512_H */
