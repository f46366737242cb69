/* SPDX-License-Identifier: MIT
 *
 * How the x86 backends lay out a page: turned round, so that what one int8 dot product instruction reads lies in one
 * register, and nothing is ever added across lanes.
 *
 * An *operand* is what such an instruction multiplies: 64 indices, one in each byte, 16 lanes of 4 bytes.
 *
 *     keys     lane = token, byte = dimension     16 tokens x 4 dimensions: a dword of the query goes to all lanes
 *     values   lane = dimension, byte = token     4 tokens x 16 dimensions: a dword of weights goes to all lanes
 *
 * A *block* is eight operands, fields 0 to 7, in `bits` rows of 64 bytes: byte p of the rows holds the eight indices of
 * b bits at byte p of the operands. With F the fields, lowest bits first:
 *
 *     1 bit     row 0   F0 F1 F2 F3 F4 F5 F6 F7
 *     2 bits    row i   F4i F4i+1 F4i+2 F4i+3                      i = 0, 1
 *     3 bits    row 0   F0 F1 low two bits of F6
 *               row 1   F2 F3 low two bits of F7
 *               row 2   F4 F5 high bit of F6, high bit of F7
 *     4 bits    row i   F2i F2i+1                                  i = 0 .. 3
 *     8 bits    row i   Fi                                         i = 0 .. 7
 *
 * In a trellis code a field is a coded bit u and a cell number n (codebook/trellis.h). Rows 1 and on are such that they
 * merge with the subset bits, of which kernels compute those of F0 F2 F4 F6 (and those of F1 F3 F5 F7) side by side in
 * a byte: bits 0-1, 2-3, 4-5, 6-7. Every second pair gives way to the n of its neighbour, so that index 4 n + 2 s1 + s0
 * of b + 1 <= 4 bits, or its two halves in turned order, fills half a byte:
 *
 *     row 0                  u0 u1 u2 u3 u4 u5 u6 u7
 *     2 bits   row 1         n2 n3 n0 n1 n6 n7 n4 n5
 *     3 bits   row 1, row 2  n2 n0 n6 n4,  n3 n1 n7 n5             two bits each
 *     4 bits   row 1, row 2  as 3 bits: the low two bits of n
 *              row 3         the high bits of n0 n1 n2 n3 n4 n5 n6 n7
 *
 * A page is a sequence of blocks, then the 64 scales (fp16, sign bit as in the rows):
 *
 *     keys     for every 32 dimensions r, for every 16 tokens t: a block
 *                  field k, lane l, byte j = dimension 32 r + 8 j + k of token 16 t + l
 *              If dim is an odd multiple of 16, two tiles share each of the last blocks, t even:
 *                  field k, lane l, byte j = dimension 32 r + 4 j + k of token 16 t + l, k < 4
 *                  field 4 + k, the same of token 16 (t + 1) + l
 *     values   for every 16 dimensions g, for every 32 tokens h: a block
 *                  field k, lane l, byte j = dimension 16 g + l of token 32 h + 4 k + j
 *
 * Coded bits of consecutive dimensions are thus consecutive bits of a key's dword in row 0, and consecutive lanes of
 * the values' row 0: the bits u[t-1] .. u[t-6] that a subset needs come from shifts. */
#ifndef TQ_PAGES_X86_H
#define TQ_PAGES_X86_H

#include "kernels/kernels.h"

#include <stdbool.h>

enum {
    TQ_ROW_BYTES = 64,
    TQ_KEY_TOKENS = 16, /* Of a block of keys. */
    TQ_KEY_DIMS = 32,
    TQ_VALUE_TOKENS = 32, /* Of a block of values. */
    TQ_VALUE_DIMS = 16,
    TQ_KEY_TILES = TQ_PAGE_TOKENS / TQ_KEY_TOKENS,
    TQ_VALUE_TILES = TQ_PAGE_TOKENS / TQ_VALUE_TOKENS
};

/* Whether pages of this code are laid out like this. All others are rows, which the scalar kernels read: halves,
 * dimensions that are no multiple of 16, and keys of an odd multiple of 16 in trellis codes, whose coded bits would not
 * be consecutive in a shared block. */
static inline bool tq_page_is_tiled(const tq_code *code, tq_page_kind kind)
{
    const size_t step = kind == TQ_PAGE_VALUES || code->trellis.bits == 0 ? 16 : TQ_KEY_DIMS;
    return code->bits != 0 && code->dim % step == 0;
}

/* Where the scales begin. */
static inline size_t tq_page_scales_at(const tq_code *code)
{
    return TQ_PAGE_TOKENS * code->dim * code->bits / 8;
}

/* Whether two tiles share the blocks of keys for dimensions 32 r and on. */
static inline bool tq_key_block_is_shared(const tq_code *code, size_t r)
{
    return (r + 1) * TQ_KEY_DIMS > code->dim;
}

/* Where the block of keys for dimensions 32 r and on, tokens 16 t and on, begins; or the second half of a shared one,
 * field 4, if t is odd and bits are even. */
static inline size_t tq_key_block_at(const tq_code *code, size_t r, size_t t)
{
    const size_t rows = tq_key_block_is_shared(code, r) ? t * code->bits / 2 : t * code->bits;
    return TQ_ROW_BYTES * (r * TQ_KEY_TILES * code->bits + rows);
}

/* Where the block of values for dimensions 16 g and on, tokens 32 h and on, begins. */
static inline size_t tq_value_block_at(const tq_code *code, size_t g, size_t h)
{
    return TQ_ROW_BYTES * code->bits * (g * TQ_VALUE_TILES + h);
}

void tq_page_write_x86(const tq_code *code, tq_page_kind kind, const uint8_t *rows, size_t first, size_t n,
                       uint8_t *page);
void tq_page_read_x86(const tq_code *code, tq_page_kind kind, const uint8_t *page, size_t first, size_t n,
                      uint8_t *rows);

#endif /* TQ_PAGES_X86_H */
