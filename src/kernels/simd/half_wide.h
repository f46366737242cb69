/* SPDX-License-Identifier: MIT
 *
 * Scores and weighted sums of rows of halves, for the backends that defined `wide` before, a register of WIDE f32:
 *
 *     half_scores    for k, i: scores[i * stride + k] = sum over j: q[i * dim + j] * x[k * dim + j]
 *     half_sum       for k, i, j: sums[i * dim + j] += w[i * w_stride + k] * x[k * dim + j]
 *
 * A row is loaded and converted once for all queries of a tile, and all sums of a tile stay in registers:
 *
 *     scores    1, 2 or 4 queries x up to 4 keys; one step takes WIDE coordinates of each
 *     sum       1, 2, 4 or 8 queries x up to 8 registers of coordinates; one step takes one key
 *
 * Scores of eight queries x two keys would load ten registers for sixteen products, four x four load eight. More
 * queries, or a number that is none of these, are several tiles over a block of keys that stays in the cache. Each row
 * of a block prefetches its like in the next block. The tail, dim mod WIDE, is loaded in part; keys that fill no tile
 * go one by one. WITHIN 2e-6: sums are ordered as it suits, multiplications and additions fused. */
#ifndef TQ_HALF_WIDE_H
#define TQ_HALF_WIDE_H

#include "kernels/simd/tiles.h"

#include <stdbool.h>
#include <string.h>

enum { MOST_SCORE_QUERIES = 4, MOST_QUERIES = 8, MOST_KEYS = 4, MOST_COLUMNS = 8, KEYS_IN_BLOCK = 32, CACHE_LINE = 64 };

/* Where to read: n keys of a block, and how many of the block after it exist. */
typedef struct key_block {
    const uint8_t *rows;
    size_t n;
    size_t n_next;
} key_block;

TQ_INLINE key_block block_at(const uint8_t *rows, size_t dim, size_t n, size_t k)
{
    const size_t count = least(n - k, KEYS_IN_BLOCK);
    return (key_block){rows + 2 * k * dim, count, least(n - k - count, KEYS_IN_BLOCK)};
}

/* Prefetches the likes of keys k .. k + n - 1 in the next block. */
TQ_INLINE void prefetch_next(const key_block *block, size_t dim, size_t k, size_t n)
{
    if (k + n <= block->n_next) {
        const char *next = (const char *)block->rows + 2 * (k + KEYS_IN_BLOCK) * dim;
        for (size_t at = 0; at < 2 * n * dim; at += CACHE_LINE) {
            TQ_PREFETCH(next + at);
        }
    }
}

/* One step of a tile of scores: n <= WIDE coordinates from j on. */
TQ_INLINE void score_step(size_t dim, const float *q, size_t n_q, const uint8_t *rows, size_t n_keys, size_t j,
                          size_t n, wide *sums)
{
    wide x[MOST_KEYS];
    for (size_t k = 0; k < n_keys; k++) {
        x[k] = wide_load_f16(rows + 2 * (k * dim + j), n);
    }
    for (size_t i = 0; i < n_q; i++) {
        const wide a = wide_load(q + i * dim + j, n);
        for (size_t k = 0; k < n_keys; k++) {
            sums[i * n_keys + k] = wide_fused(a, x[k], sums[i * n_keys + k]);
        }
    }
}

TQ_INLINE void score_tile(size_t dim, const float *q, size_t n_q, const uint8_t *rows, size_t n_keys, float *scores,
                          size_t stride)
{
    wide sums[MOST_SCORE_QUERIES * MOST_KEYS];
    float totals[MOST_SCORE_QUERIES * MOST_KEYS];
    for (size_t s = 0; s < (n_q * n_keys + 3) / 4 * 4; s++) {
        sums[s] = wide_all(0);
    }
    size_t j = 0;
    for (; j + WIDE <= dim; j += WIDE) {
        score_step(dim, q, n_q, rows, n_keys, j, WIDE, sums);
    }
    if (j < dim) {
        score_step(dim, q, n_q, rows, n_keys, j, dim - j, sums);
    }
    for (size_t s = 0; s < n_q * n_keys; s += 4) {
        wide_store_sums(totals + s, sums + s);
    }
    for (size_t i = 0; i < n_q; i++) {
        memcpy(scores + i * stride, totals + i * n_keys, n_keys * sizeof *scores);
    }
}

/* All keys of a block with n_q queries. */
TQ_INLINE void score_keys(size_t dim, const float *q, size_t n_q, const key_block *block, float *scores, size_t stride)
{
    const size_t n_keys = least(SUMS_AT_ONCE / n_q, MOST_KEYS);
    size_t k = 0;
    for (; k + n_keys <= block->n; k += n_keys) {
        prefetch_next(block, dim, k, n_keys);
        score_tile(dim, q, n_q, block->rows + 2 * k * dim, n_keys, scores + k, stride);
    }
    for (; k < block->n; k++) {
        score_tile(dim, q, n_q, block->rows + 2 * k * dim, 1, scores + k, stride);
    }
}

TQ_APART void score_keys_1(size_t dim, const float *q, const key_block *block, float *scores, size_t stride)
{
    score_keys(dim, q, 1, block, scores, stride);
}

TQ_APART void score_keys_2(size_t dim, const float *q, const key_block *block, float *scores, size_t stride)
{
    score_keys(dim, q, 2, block, scores, stride);
}

TQ_APART void score_keys_4(size_t dim, const float *q, const key_block *block, float *scores, size_t stride)
{
    score_keys(dim, q, 4, block, scores, stride);
}

void TQ_KERNEL(half_scores)(size_t dim, const float *q, size_t n_q, const uint8_t *rows, size_t n, float *scores,
                            size_t stride)
{
    for (size_t k = 0; k < n; k += KEYS_IN_BLOCK) {
        const key_block block = block_at(rows, dim, n, k);
        for (size_t i = 0; i < n_q; i += queries_of_tile(n_q - i, MOST_SCORE_QUERIES)) {
            float *tile = scores + i * stride + k;
            switch (queries_of_tile(n_q - i, MOST_SCORE_QUERIES)) {
            case 4:
                score_keys_4(dim, q + i * dim, &block, tile, stride);
                break;
            case 2:
                score_keys_2(dim, q + i * dim, &block, tile, stride);
                break;
            default:
                score_keys_1(dim, q + i * dim, &block, tile, stride);
                break;
            }
        }
    }
}

/* Keys of a block in which a query has a weight other than zero. */
typedef struct weighted_keys {
    size_t count;
    uint8_t key[KEYS_IN_BLOCK];
} weighted_keys;

TQ_INLINE weighted_keys find_weighted(const float *w, size_t w_stride, size_t n_q, size_t n)
{
    weighted_keys found;
    found.count = 0;
    for (size_t k = 0; k < n; k++) {
        bool weighted = false;
        for (size_t i = 0; i < n_q; i++) {
            weighted = weighted || w[i * w_stride + k] != 0;
        }
        found.key[found.count] = (uint8_t)k;
        found.count += weighted;
    }
    return found;
}

/* n_columns registers of n coordinates each, from j on; n < WIDE only for one register. */
TQ_INLINE void sum_tile(size_t dim, const float *w, size_t w_stride, size_t n_q, const key_block *block,
                        const weighted_keys *keys, size_t j, size_t n_columns, size_t n, float *sums)
{
    wide sum[MOST_QUERIES * MOST_COLUMNS];
    for (size_t i = 0; i < n_q; i++) {
        for (size_t c = 0; c < n_columns; c++) {
            sum[i * n_columns + c] = wide_load(sums + i * dim + j + c * WIDE, n);
        }
    }
    for (size_t s = 0; s < keys->count; s++) {
        const size_t k = keys->key[s];
        wide x[MOST_COLUMNS];
        if (j == 0) {
            prefetch_next(block, dim, k, 1);
        }
        for (size_t c = 0; c < n_columns; c++) {
            x[c] = wide_load_f16(block->rows + 2 * (k * dim + j + c * WIDE), n);
        }
        for (size_t i = 0; i < n_q; i++) {
            const wide weight = wide_all(w[i * w_stride + k]);
            for (size_t c = 0; c < n_columns; c++) {
                sum[i * n_columns + c] = wide_fused(weight, x[c], sum[i * n_columns + c]);
            }
        }
    }
    for (size_t i = 0; i < n_q; i++) {
        for (size_t c = 0; c < n_columns; c++) {
            wide_store(sums + i * dim + j + c * WIDE, n, sum[i * n_columns + c]);
        }
    }
}

/* All keys of a block with the weights of n_q queries. */
TQ_INLINE void sum_keys(size_t dim, const float *w, size_t w_stride, size_t n_q, const key_block *block, float *sums)
{
    const weighted_keys keys = find_weighted(w, w_stride, n_q, block->n);
    const size_t n_columns = least(SUMS_AT_ONCE / n_q, MOST_COLUMNS);
    size_t j = 0;
    for (; j + n_columns * WIDE <= dim; j += n_columns * WIDE) {
        sum_tile(dim, w, w_stride, n_q, block, &keys, j, n_columns, WIDE, sums);
    }
    for (; j + WIDE <= dim; j += WIDE) {
        sum_tile(dim, w, w_stride, n_q, block, &keys, j, 1, WIDE, sums);
    }
    if (j < dim) {
        sum_tile(dim, w, w_stride, n_q, block, &keys, j, 1, dim - j, sums);
    }
}

TQ_APART void sum_keys_1(size_t dim, const float *w, size_t w_stride, const key_block *block, float *sums)
{
    sum_keys(dim, w, w_stride, 1, block, sums);
}

TQ_APART void sum_keys_2(size_t dim, const float *w, size_t w_stride, const key_block *block, float *sums)
{
    sum_keys(dim, w, w_stride, 2, block, sums);
}

TQ_APART void sum_keys_4(size_t dim, const float *w, size_t w_stride, const key_block *block, float *sums)
{
    sum_keys(dim, w, w_stride, 4, block, sums);
}

TQ_APART void sum_keys_8(size_t dim, const float *w, size_t w_stride, const key_block *block, float *sums)
{
    sum_keys(dim, w, w_stride, 8, block, sums);
}

void TQ_KERNEL(half_sum)(size_t dim, const float *w, size_t w_stride, size_t n_q, const uint8_t *rows, size_t n,
                         float *sums)
{
    for (size_t k = 0; k < n; k += KEYS_IN_BLOCK) {
        const key_block block = block_at(rows, dim, n, k);
        for (size_t i = 0; i < n_q; i += queries_of_tile(n_q - i, MOST_QUERIES)) {
            const float *weights = w + i * w_stride + k;
            switch (queries_of_tile(n_q - i, MOST_QUERIES)) {
            case 8:
                sum_keys_8(dim, weights, w_stride, &block, sums + i * dim);
                break;
            case 4:
                sum_keys_4(dim, weights, w_stride, &block, sums + i * dim);
                break;
            case 2:
                sum_keys_2(dim, weights, w_stride, &block, sums + i * dim);
                break;
            default:
                sum_keys_1(dim, weights, w_stride, &block, sums + i * dim);
                break;
            }
        }
    }
}

#endif /* TQ_HALF_WIDE_H */
