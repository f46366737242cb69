/* SPDX-License-Identifier: MIT
 *
 * Weighted sums of encoded rows, for the backends whose row_levels_*.h was included before:
 *
 *     lloyd_sum, trellis_sum    for k, i, j: sums[i * dim + j] += w[i * w_stride + k] * s_k * level_kj
 *     sign_sum                  for k, i, j: sums[i * dim + j] += w[i * w_stride + k] * |r_k| * sign_kj
 *
 * A tile of 1, 2 or 4 sums keeps one block of coordinates of each in registers while it walks over a chunk of rows; the
 * levels of a row serve all sums. Rows without a weight are left out. Sums are ordered as row_levels_*.h orders levels,
 *
 *     ordered sums   [sum][block][register][lane]
 *
 * and brought back in the end; what lies beyond dim in the last block is dropped. WITHIN 2e-6. Products are rounded
 * before they are added, in the order of rows, as in the scalar backend: where a sum is large already, a call that
 * rounds otherwise is off by more than 2e-6 of what it adds. */
#ifndef TQ_SUM_WIDE_H
#define TQ_SUM_WIDE_H

#include "kernels/simd/rows_wide.h"

enum { MOST_SUMS = 4 };

/* The rows of a chunk that have a weight. */
typedef struct sum_work {
    const row_codes *codes;
    size_t n;
    const uint8_t *rows[CHUNK];      /* Their codes. */
    float weights[MOST_SUMS][CHUNK]; /* Times scales. */
    float *sums;                     /* Ordered. */
} sum_work;

/* Adds a chunk to n_sums sums. `kind` and `n_sums` are constants. */
TQ_INLINE void sum_chunk(row_kind kind, size_t n_sums, const sum_work *work)
{
    const size_t n_blocks = work->codes->n_blocks;
    const level_tables tables = make_tables(kind, work->codes->dim, work->codes->levels);
    for (size_t block = 0; block < n_blocks; block++) {
        wide sums[MOST_SUMS][REGISTERS];
        TQ_UNROLL
        for (size_t i = 0; i < n_sums; i++) {
            TQ_UNROLL
            for (size_t m = 0; m < REGISTERS; m++) {
                sums[i][m] = wide_load(work->sums + (i * n_blocks + block) * BLOCK + m * WIDE, WIDE);
            }
        }
        for (size_t k = 0; k < work->n; k++) {
            const row_block b = load_block(kind, &tables, work->rows[k], block);
            wide weights[MOST_SUMS];
            TQ_UNROLL
            for (size_t i = 0; i < n_sums; i++) {
                weights[i] = wide_all(work->weights[i][k]);
            }
            TQ_UNROLL
            for (unsigned m = 0; m < REGISTERS; m++) {
                const wide level = block_level(kind, &tables, &b, m);
                TQ_UNROLL
                for (size_t i = 0; i < n_sums; i++) {
                    sums[i][m] = wide_add_product(sums[i][m], weights[i], level);
                }
            }
        }
        TQ_UNROLL
        for (size_t i = 0; i < n_sums; i++) {
            TQ_UNROLL
            for (size_t m = 0; m < REGISTERS; m++) {
                wide_store(work->sums + (i * n_blocks + block) * BLOCK + m * WIDE, WIDE, sums[i][m]);
            }
        }
    }
}

typedef void sum_function(const sum_work *work);

#define SUM(name, bits, trellis, n_sums)                                                                               \
    static void sum_##name##_##n_sums(const sum_work *work)                                                            \
    {                                                                                                                  \
        sum_chunk((row_kind){bits, trellis}, n_sums, work);                                                            \
    }
#define SUMS_OF(name, bits, trellis) SUM(name, bits, trellis, 1) SUM(name, bits, trellis, 2) SUM(name, bits, trellis, 4)
#define NAMES_OF(name)                                                                                                 \
    {                                                                                                                  \
        sum_##name##_1, sum_##name##_2, sum_##name##_4                                                                 \
    }

SUMS_OF(lloyd1, 1, false)
SUMS_OF(lloyd2, 2, false)
SUMS_OF(lloyd3, 3, false)
SUMS_OF(lloyd4, 4, false)
SUMS_OF(lloyd8, 8, false)
SUMS_OF(trellis2, 2, true)
SUMS_OF(trellis3, 3, true)
SUMS_OF(trellis4, 4, true)

static sum_function *const SUM_CHUNK[KINDS][3] = {NAMES_OF(lloyd1),   NAMES_OF(lloyd2),  NAMES_OF(lloyd3),
                                                  NAMES_OF(lloyd4),   NAMES_OF(lloyd8),  NAMES_OF(trellis2),
                                                  NAMES_OF(trellis3), NAMES_OF(trellis4)};

/* Finds the rows of a chunk that have a weight in one of n_sums sums. */
TQ_INLINE void find_weighted(const row_codes *codes, const float *w, size_t w_stride, size_t n_sums,
                             const uint8_t *rows, size_t n, sum_work *work)
{
    uint16_t halves[CHUNK] = {0};
    float factors[CHUNK];
    for (size_t k = 0; k < n; k++) {
        halves[k] = tq_load_le16(rows + k * codes->row_bytes + codes->factor_at);
    }
    widen_factors(codes, halves, factors);
    work->n = 0;
    for (size_t k = 0; k < n; k++) {
        bool weighted = false;
        for (size_t i = 0; i < n_sums; i++) {
            const float weight = w[i * w_stride + k];
            weighted = weighted || weight != 0;
            work->weights[i][work->n] = weight * factors[k];
        }
        work->rows[work->n] = rows + k * codes->row_bytes + codes->codes_at;
        work->n += weighted;
    }
}

/* Adds all rows to n_sums sums, 1, 2 or 4. */
TQ_APART void sum_tile(const row_codes *codes, const row_chunks *chunks, const float *w, size_t w_stride, size_t n_sums,
                       float *sums)
{
    float ordered[ORDERED_FLOATS];
    sum_work work = {.codes = codes, .sums = ordered};
    const size_t ordered_dim = codes->n_blocks * BLOCK;
    for (size_t i = 0; i < n_sums; i++) {
        order_vector(sums + i * codes->dim, codes->dim, ordered + i * ordered_dim);
    }
    const uint8_t *rows;
    size_t n;
    for (size_t k = 0; k < chunks->n; k += n) {
        n = chunk_at(chunks, codes->row_bytes, k, &rows);
        find_weighted(codes, w + k, w_stride, n_sums, rows, n, &work);
        SUM_CHUNK[kind_place(codes->kind)][n_sums / 2](&work);
    }
    for (size_t i = 0; i < n_sums; i++) {
        for (size_t j = 0; j < codes->dim; j++) {
            sums[i * codes->dim + j] = ordered[i * ordered_dim + ordered_place(j)];
        }
    }
}

TQ_APART void sum_rows(const row_codes *codes, const float *w, size_t w_stride, size_t n_q, const uint8_t *rows,
                       size_t n, float *sums)
{
    row_chunks chunks;
    chunks_begin(&chunks, codes, rows, n);
    for (size_t i = 0; i < n_q;) {
        const size_t tile = rows_of_tile(codes, n_q - i, MOST_SUMS);
        sum_tile(codes, &chunks, w + i * w_stride, w_stride, tile, sums + i * codes->dim);
        i += tile;
    }
}

void TQ_KERNEL(lloyd_sum)(const tq_code *code, const float *w, size_t w_stride, size_t n_q, const uint8_t *rows,
                          size_t n, float *sums)
{
    const row_codes codes = lloyd_codes(code);
    sum_rows(&codes, w, w_stride, n_q, rows, n, sums);
}

void TQ_KERNEL(trellis_sum)(const tq_code *code, const float *w, size_t w_stride, size_t n_q, const uint8_t *rows,
                            size_t n, float *sums)
{
    float levels[TRELLIS_LEVELS];
    const row_codes codes = trellis_codes(code, levels);
    sum_rows(&codes, w, w_stride, n_q, rows, n, sums);
}

void TQ_KERNEL(sign_sum)(const tq_code *code, const float *w, size_t w_stride, size_t n_q, const uint8_t *rows,
                         size_t n, float *sums)
{
    const row_codes codes = sign_codes(code);
    sum_rows(&codes, w, w_stride, n_q, rows, n, sums);
}

#endif /* TQ_SUM_WIDE_H */
