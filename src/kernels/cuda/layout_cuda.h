/* SPDX-License-Identifier: MIT
 *
 * Encoded pages on a CUDA device: which bit lies where, and how codes become levels. Everything here compiles for the
 * host as well, where tests compare it with the scalar backend.
 *
 * A record is one page (64 tokens) of one KV head:
 *
 *     +--------- stage 0, tokens 0..31 ----------+--------- stage 1, tokens 32..63 --------+
 *     | K words | V words | K sc. | V sc. | K mean | K words | V words | K sc. | V sc. | V mean |
 *     +------------------------------------------+-----------------------------------------+
 *
 * A stage is what one warp fetches with one bulk copy. Scales are 32 f16 as in rows, means d f16 of the rotated domain
 * (absent in caches without means). A record has as many bytes as the rows and means it holds.
 *
 * Words are in the order of mma.m16n8k32's fragments, so that a lane's registers are operands as soon as they are
 * looked up. Lane 4g + h owns the tokens (keys) or coordinates (values) that the mma gives to it. Eight codes that make
 * two registers are a chunk; the chunks of a lane are numbered (c, k), c < C = padded dim / 32, k < 4:
 *
 *     keys     chunk (c, k), code i: token 8k + g                   coordinate 8C h + C i + c
 *     values   chunk (c, k), code i: token 8(i/2) + 2h + i%2        coordinate 4C g + C k + c
 *
 * Code i has nibble i of each word it lies in, since prmt takes nibbles as selectors. The coordinate before (c, k, i)
 * is (c - 1, k, i), so the delays of a trellis code are whole words, except at c = 0.
 *
 * A dim that is no multiple of 32 is padded to one (80 and 112 of the usual ones).
 *
 * f16 has no words: its 64 rows lie before the record's stages if they are keys, behind them if they are values. */
#ifndef TQ_LAYOUT_CUDA_H
#define TQ_LAYOUT_CUDA_H

#include "kernels/cuda/args_cuda.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__CUDACC__)
#define TQ_CUDA_HERE   __host__ __device__ __forceinline__
#define TQ_CUDA_BOTH   TQ_CUDA_HERE constexpr
#define TQ_CUDA_UNROLL _Pragma("unroll")
#else
#define TQ_CUDA_UNROLL
#if defined(__cplusplus)
#define TQ_CUDA_HERE inline
#define TQ_CUDA_BOTH inline constexpr
#else
#define TQ_CUDA_HERE static inline
#define TQ_CUDA_BOTH static inline
#endif
#endif

enum {
    TQ_CUDA_PAGE = 64,
    TQ_CUDA_STAGE = 32, /* Tokens of a stage. */
    TQ_CUDA_SCALES = 2 * TQ_CUDA_STAGE,
    TQ_CUDA_UNCENTRED = 0x8000 /* In a scale: the mean was not taken off. */
};

/* A format is known by its number in turboquant.h: 1 f16, 11..14 turbo1..turbo4, 18 turbo8, 32..34 turbo2t..turbo4t.
 */
enum { TQ_CUDA_HALF = 1 };

TQ_CUDA_BOTH bool tq_cuda_is_trellis(int format)
{
    return format >= 30;
}

TQ_CUDA_BOTH int tq_cuda_bits(int format)
{
    return format % 10;
}

/* The place of a format with codes among TQ_CUDA_CODES. */
TQ_CUDA_BOTH int tq_cuda_code_index(int format)
{
    return tq_cuda_is_trellis(format) ? format - 27 : format == 18 ? 4 : format - 11;
}

/* Bytes that a level is looked up as, see lookup_cuda.h. */
TQ_CUDA_BOTH int tq_cuda_planes(int format)
{
    return format == 13 || format == 14 ? 2 : 1;
}

enum { TQ_CUDA_FINE = 240 }; /* Steps of the second plane in one of the first. */

TQ_CUDA_BOTH int tq_cuda_padded(int dim)
{
    return (dim + 31) / 32 * 32;
}

/* Warps of a block that encodes a page. A page that leaves the window is encoded by few blocks, so what counts is how
 * long one takes; memory for the vectors of a warp bounds it. */
TQ_CUDA_BOTH int tq_cuda_page_warps(int format, int dim)
{
    return tq_cuda_is_trellis(format) ? (dim <= 128 ? 8 : 4) : dim % 3 == 0 || dim % 5 == 0 || dim % 7 == 0 ? 8 : 16;
}

/* Bytes of a stage's words of one side, and of its scales. */
TQ_CUDA_BOTH int tq_cuda_words_bytes(int format, int dim)
{
    return format == TQ_CUDA_HALF ? 0 : 4 * tq_cuda_padded(dim) * tq_cuda_bits(format);
}

TQ_CUDA_BOTH int tq_cuda_scales_bytes(int format)
{
    return format == TQ_CUDA_HALF ? 0 : TQ_CUDA_SCALES;
}

/* Bytes of one side in a record. */
TQ_CUDA_BOTH int tq_cuda_side_bytes(int format, int dim, bool mean)
{
    return format == TQ_CUDA_HALF
               ? TQ_CUDA_PAGE * 2 * dim
               : 2 * (tq_cuda_words_bytes(format, dim) + tq_cuda_scales_bytes(format)) + (mean ? 2 * dim : 0);
}

/* Where the parts of a record's stages lie. */
typedef struct tq_cuda_record {
    int k_words, v_words, k_scales, v_scales, mean; /* Within a stage. */
    int stage_bytes[2];
    int bytes;
} tq_cuda_record;

TQ_CUDA_BOTH tq_cuda_record tq_cuda_record_of(int k_format, int v_format, int dim_k, int dim_v, bool k_mean,
                                              bool v_mean)
{
    const int v_words = tq_cuda_words_bytes(k_format, dim_k);
    const int k_scales = v_words + tq_cuda_words_bytes(v_format, dim_v);
    const int v_scales = k_scales + tq_cuda_scales_bytes(k_format);
    const int mean = v_scales + tq_cuda_scales_bytes(v_format);
    const int first = mean + (k_mean && k_format != TQ_CUDA_HALF ? 2 * dim_k : 0);
    const int second = mean + (v_mean && v_format != TQ_CUDA_HALF ? 2 * dim_v : 0);
    const tq_cuda_record record = {0, v_words, k_scales, v_scales, mean, {first, second}, first + second};
    return record;
}

/* Where the keys or values of a page lie. */
TQ_CUDA_BOTH tq_cuda_side_place tq_cuda_find_side(int k_format, int v_format, int dim_k, int dim_v, bool k_mean,
                                                  bool v_mean, bool values)
{
    const tq_cuda_record r = tq_cuda_record_of(k_format, v_format, dim_k, dim_v, k_mean, v_mean);
    const int begin = k_format == TQ_CUDA_HALF ? TQ_CUDA_PAGE * 2 * dim_k : 0; /* Of the stages. */
    const int end = begin + r.bytes;
    const int bytes = end + (v_format == TQ_CUDA_HALF ? TQ_CUDA_PAGE * 2 * dim_v : 0);
    const bool half = (values ? v_format : k_format) == TQ_CUDA_HALF;
    const tq_cuda_side_place rows = {
        values ? end : 0, 0, -1, TQ_CUDA_STAGE * 2 * (values ? dim_v : dim_k), bytes, values};
    const tq_cuda_side_place codes = {begin + (values ? r.v_words : r.k_words),
                                      begin + (values ? r.v_scales : r.k_scales),
                                      !(values ? v_mean : k_mean) ? -1
                                      : values                    ? begin + r.stage_bytes[0] + r.mean
                                                                  : begin + r.mean,
                                      r.stage_bytes[0],
                                      bytes,
                                      values};
    return half ? rows : codes;
}

/* Element of a block of `tokens` exact tokens, f16 [heads][keys [tokens, dim_k], values [tokens, dim_v]], where a
 * vector begins. */
TQ_CUDA_BOTH int64_t tq_cuda_exact_at(int tokens, int dim_k, int dim_v, int head, bool values, int token)
{
    return (int64_t)head * tokens * (dim_k + dim_v) + (values ? tokens * dim_k + token * dim_v : token * dim_k);
}

/* Byte of word w of a lane's n: four words side by side for 16-byte loads, then two, then one. */
TQ_CUDA_BOTH int tq_cuda_word_at(int n, int lane, int w)
{
    const int whole = n / 4 * 4;
    return w < whole                     ? w / 4 * 512 + lane * 16 + w % 4 * 4
           : n % 4 >= 2 && w - whole < 2 ? whole * 128 + lane * 8 + (w - whole) * 4
                                         : (n - 1) * 128 + lane * 4;
}

/* A place of one bit of a code: nibble i of a word. */
typedef struct tq_cuda_place {
    int word;
    int bit; /* Of the nibble. */
} tq_cuda_place;

TQ_CUDA_BOTH tq_cuda_place tq_cuda_place_at(int word, int bit)
{
    const tq_cuda_place place = {word, bit};
    return place;
}

/* Bit b of the codes of chunk (c, k). The bits of a Lloyd-Max code are those of the index; of a trellis code u, then n.
 *
 *     turbo1   word c: all four chunks                 turbo2   chunks k and k + 2 share word 2c + k
 *     turbo4   a word each                             turbo8   two words each, the low four bits and the high ones
 *     turbo3   chunks 0..2 have three bits of word 3c + k; chunk 3 has the fourth bits of all three
 *     trellis  plane of u, one word for each c; then planes that save moves:
 *              turbo2t: n like u; turbo3t, turbo4t: n's low bits of chunks 2 and 0 share a word, of 3 and 1 another;
 *              turbo4t: its high bit, inverted, like u. Its low bits are inverted where the high bit is 0, which
 *              halves the table: level(~idx) = -level(idx). */
TQ_CUDA_BOTH tq_cuda_place tq_cuda_place_of(int format, int C, int c, int k, int b)
{
    const int bits = tq_cuda_bits(format);
    if (!tq_cuda_is_trellis(format)) {
        return bits == 1   ? tq_cuda_place_at(c, k)
               : bits == 2 ? tq_cuda_place_at(2 * c + k % 2, k / 2 * 2 + b)
               : bits == 4 ? tq_cuda_place_at(4 * c + k, b)
               : bits == 8 ? tq_cuda_place_at(8 * c + 2 * k + b / 4, b % 4)
               : k < 3     ? tq_cuda_place_at(3 * c + k, b)
                           : tq_cuda_place_at(3 * c + b, 3);
    }
    return b == 0      ? tq_cuda_place_at(c, k)
           : bits == 2 ? tq_cuda_place_at(C + c, k)
           : b == 3    ? tq_cuda_place_at(3 * C + c, k)
                       : tq_cuda_place_at((k % 2 + 1) * C + c, (k < 2 ? 2 : 0) + b - 1);
}

/* The token and (padded) coordinate of code i of chunk (c, k) of a lane. */
typedef struct tq_cuda_where {
    int token;
    int coordinate;
} tq_cuda_where;

TQ_CUDA_BOTH tq_cuda_where tq_cuda_where_of(bool values, int C, int lane, int c, int k, int i)
{
    const int g = lane / 4;
    const int h = lane % 4;
    const tq_cuda_where value = {8 * (i / 2) + 2 * h + i % 2, 4 * C * g + C * k + c};
    const tq_cuda_where key = {8 * k + g, 8 * C * h + C * i + c};
    return values ? value : key;
}

/* --- rows and words ------------------------------------------------------------------------------------------------
 * The code of coordinate j as the bits tq_cuda_place_of counts. `codes` is a row behind its scale. */

TQ_CUDA_HERE unsigned tq_cuda_row_code(int format, int dim, const uint8_t *codes, int j)
{
    const int bits = tq_cuda_bits(format);
    unsigned code = 0;
    if (tq_cuda_is_trellis(format) || bits == 1) {
        for (int plane = 0; plane < bits; plane++) {
            code |= (codes[plane * ((dim + 7) / 8) + j / 8] >> j % 8 & 1U) << plane;
        }
    } else if (bits == 8) {
        code = codes[j];
    } else if (bits == 4) {
        code = codes[j / 2] >> j % 2 * 4 & 15U;
    } else {
        code = codes[j / 4] >> j % 4 * 2 & 3U;
        if (bits == 3) {
            code |= (codes[(dim + 3) / 4 + j / 8] >> j % 8 & 1U) << 2;
        }
    }
    return code;
}

/* Between a code and what words store. Turbo4's and turbo4t's levels are symmetric: bit 3 becomes their sign, and the
 * other bits the place of their magnitude. */
TQ_CUDA_HERE unsigned tq_cuda_stored_code(int format, unsigned code)
{
    if (format == 14) {
        return (code & 8U) != 0 ? code ^ 8U : code ^ 15U;
    }
    if (format == 34) { /* u | n0 | n1 | n2 */
        return (code & 8U) != 0 ? code ^ 8U : code ^ 14U;
    }
    return code;
}

/* Inverse of the above: the first bit tells which it was. */
TQ_CUDA_HERE unsigned tq_cuda_restored_code(int format, unsigned stored)
{
    if (format == 14) {
        return (stored & 8U) == 0 ? stored ^ 8U : stored ^ 15U;
    }
    if (format == 34) {
        return (stored & 8U) == 0 ? stored ^ 8U : stored ^ 14U;
    }
    return stored;
}

/* The stored code of a padded coordinate. Behind the end of a trellis row lie its last six coded bits once more, where
 * coordinate 0 looks for them. */
TQ_CUDA_HERE unsigned tq_cuda_padded_code(int format, int dim, const uint8_t *codes, int coordinate)
{
    if (coordinate < dim) {
        return tq_cuda_stored_code(format, tq_cuda_row_code(format, dim, codes, coordinate));
    }
    const int from_end = tq_cuda_padded(dim) - coordinate;
    if (tq_cuda_is_trellis(format) && from_end <= 6) {
        return tq_cuda_row_code(format, dim, codes, dim - from_end) & 1U;
    }
    return 0;
}

/* Word w of a lane, from 32 rows of a stage. */
TQ_CUDA_HERE uint32_t tq_cuda_pack_word(int format, int dim, bool values, const uint8_t *rows, int row_bytes, int lane,
                                        int w)
{
    const int C = tq_cuda_padded(dim) / 32;
    const int bits = tq_cuda_bits(format);
    uint32_t word = 0;
    for (int c = 0; c < C; c++) {
        for (int kb = 0; kb < 4 * bits; kb++) {
            const tq_cuda_place place = tq_cuda_place_of(format, C, c, kb / bits, kb % bits);
            for (int i = 0; place.word == w && i < 8; i++) {
                const tq_cuda_where at = tq_cuda_where_of(values, C, lane, c, kb / bits, i);
                const unsigned code = tq_cuda_padded_code(format, dim, rows + at.token * row_bytes + 2, at.coordinate);
                word |= (uint32_t)(code >> kb % bits & 1U) << (4 * i + place.bit);
            }
        }
    }
    return word;
}

/* The code of one coordinate of one token, from the words of a stage. */
TQ_CUDA_HERE unsigned tq_cuda_unpack_code(int format, int dim, bool values, const uint8_t *words, int token,
                                          int coordinate)
{
    const int C = tq_cuda_padded(dim) / 32;
    const int bits = tq_cuda_bits(format);
    const int c = coordinate % C;
    const int k = values ? coordinate / C % 4 : token / 8;
    const int i = values ? token / 8 * 2 + token % 2 : coordinate / C % 8;
    const int lane = values ? 4 * (coordinate / (4 * C)) + token / 2 % 4 : 4 * (token % 8) + coordinate / (8 * C);
    unsigned stored = 0;
    for (int b = 0; b < bits; b++) {
        const tq_cuda_place place = tq_cuda_place_of(format, C, c, k, b);
        const uint8_t *at = words + tq_cuda_word_at(bits * C, lane, place.word);
        stored |= (unsigned)(at[i / 2] >> (i % 2 * 4 + place.bit) & 1) << b;
    }
    return tq_cuda_restored_code(format, stored);
}

#endif /* TQ_LAYOUT_CUDA_H */
