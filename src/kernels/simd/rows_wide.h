/* SPDX-License-Identifier: MIT
 *
 * What scores and sums of rows share, for the backends whose row_levels_*.h was included before: which codes there are,
 * and rows in chunks. */
#ifndef TQ_ROWS_WIDE_H
#define TQ_ROWS_WIDE_H

#include "half.h"

#include <math.h>

enum { CHUNK = 64, ORDERED_FLOATS = 2 * TQ_MAX_DIM }; /* Ordered vectors fit the stack: two of the largest dim. */

/* The codes of rows, whatever their family: where they lie, what they mean, and what a level is multiplied with. */
typedef struct row_codes {
    row_kind kind;
    size_t dim;
    size_t row_bytes;
    size_t codes_at;
    const float *levels;
    size_t factor_at; /* Of the fp16 scale, or length of the residual. */
    bool is_scale;    /* Its sign bit belongs to pages. */
    size_t n_blocks;
} row_codes;

TQ_INLINE row_codes codes_of(const tq_code *code, row_kind kind, const float *levels)
{
    return (row_codes){.kind = kind,
                       .dim = code->dim,
                       .row_bytes = code->row_bytes,
                       .codes_at = code->codes_at,
                       .levels = levels,
                       .is_scale = true,
                       .n_blocks = (code->dim + BLOCK - 1) / BLOCK};
}

TQ_INLINE row_codes lloyd_codes(const tq_code *code)
{
    return codes_of(code, (row_kind){code->bits, false}, code->centroids);
}

enum { TRELLIS_LEVELS = 32 };

/* Fills in `levels`; what a code has less than TRELLIS_LEVELS is never looked up. */
TQ_INLINE row_codes trellis_codes(const tq_code *code, float levels[TRELLIS_LEVELS])
{
    for (size_t i = 0; i < TRELLIS_LEVELS; i++) {
        levels[i] = ((float)code->trellis.k[i] + 0.5F) * code->trellis.step;
    }
    return codes_of(code, (row_kind){code->bits, true}, levels);
}

TQ_INLINE row_codes sign_codes(const tq_code *code)
{
    static const float signs[2] = {-1, 1};
    row_codes codes = codes_of(code, (row_kind){1, false}, signs);
    codes.codes_at = code->signs_at;
    codes.factor_at = TQ_CODE_RESIDUAL_AT;
    codes.is_scale = false;
    return codes;
}

/* Where the function for a kind stands in a table of KINDS. */
enum { KINDS = 8 };
TQ_INLINE size_t kind_place(row_kind kind)
{
    return kind.trellis ? 3 + kind.bits : (kind.bits == 8 ? 4 : kind.bits - 1);
}

/* Rows in chunks. A block that is not full is read beyond its row, so the last rows are a chunk of their own: a copy
 * with room behind it. */
typedef struct row_chunks {
    const uint8_t *rows;
    size_t n;
    size_t n_in_place;
    uint8_t copy[TQ_MAX_DIM + 8 + 2 * OVERRUN];
} row_chunks;

TQ_APART void chunks_begin(row_chunks *chunks, const row_codes *codes, const uint8_t *rows, size_t n)
{
    chunks->rows = rows;
    chunks->n = n;
    chunks->n_in_place = n;
    if (codes->dim % row_grain(codes->kind) != 0) {
        const size_t n_copied = least(n, (OVERRUN - 1) / codes->row_bytes + 1);
        chunks->n_in_place = n - n_copied;
        memset(chunks->copy, 0, sizeof chunks->copy);
        memcpy(chunks->copy, rows + chunks->n_in_place * codes->row_bytes, n_copied * codes->row_bytes);
    }
}

/* How many rows the chunk that begins with row k has; *rows becomes its first row. */
TQ_INLINE size_t chunk_at(const row_chunks *chunks, size_t row_bytes, size_t k, const uint8_t **rows)
{
    if (k < chunks->n_in_place) {
        *rows = chunks->rows + k * row_bytes;
        return least(chunks->n_in_place - k, CHUNK);
    }
    *rows = chunks->copy;
    return chunks->n - k;
}

/* The scales, or lengths of residuals, of a chunk, from the fp16 numbers that rows hold. */
TQ_INLINE void widen_factors(const row_codes *codes, const uint16_t halves[CHUNK], float factors[CHUNK])
{
    for (size_t k = 0; k < CHUNK; k += WIDE) {
        wide_store(factors + k, WIDE, wide_load_f16((const void *)(halves + k), WIDE));
    }
    for (size_t k = 0; codes->is_scale && k < CHUNK; k++) {
        factors[k] = fabsf(factors[k]);
    }
}

/* Rows of queries, or of sums, that are worked on together. */
TQ_INLINE size_t rows_of_tile(const row_codes *codes, size_t n_q, size_t most)
{
    return queries_of_tile(least(n_q, ORDERED_FLOATS / (codes->n_blocks * BLOCK)), most);
}

/* Orders a vector, and fills it up with zeros. */
TQ_APART void order_vector(const float *x, size_t dim, float *ordered)
{
    size_t j = 0;
    for (; j + BLOCK <= dim; j += BLOCK) {
        order_block(x + j, ordered + j);
    }
    if (j < dim) {
        float rest[BLOCK] = {0};
        memcpy(rest, x + j, (dim - j) * sizeof *x);
        order_block(rest, ordered + j);
    }
}

#endif /* TQ_ROWS_WIDE_H */
