/* SPDX-License-Identifier: MIT
 *
 * Sums of int8 products of all values of a page with integer weights, for page_sum_avx512.c:
 *
 *     for i, for j: sums[i][j] += factor[i] (sum over tokens k: weights[i][k] level[k][j] + bias[i])
 *                                 + centred[i] mean[j]
 *
 *     weights of 4 tokens   w0 w1 w2 w3 in all lanes                                       uint8, for each query
 *     operand               d0: t0 t1 t2 t3 | d1: t0 t1 t2 t3 | ... | d15: t0 t1 t2 t3     int8, looked up once
 *     VPDPBUSD              d0: += w0 t0 + w1 t1 + w2 t2 + w3 t3 | ...                     int32
 *
 * A function is made for each number of queries, so that sums stay in registers. With each line of the page, a line of
 * `ahead` is fetched. */
#ifndef TQ_PAGE_SUM_AVX512_H
#define TQ_PAGE_SUM_AVX512_H

#include "kernels/x86/byte_levels_avx512.h"
#include "kernels/x86/operands_avx512.h"

typedef struct tq_weighted {
    _Alignas(64) uint8_t weights[TQ_PAGE_QUERIES][TQ_PAGE_TOKENS];
    _Alignas(64) uint8_t low_weights[TQ_PAGE_QUERIES][TQ_PAGE_TOKENS]; /* In units of 1/256. Of the 8-bit code. */
    float factor[TQ_PAGE_QUERIES + 4];                                 /* With room to write four at any place. */
    float bias[TQ_PAGE_QUERIES + 4];                                   /* Of trellis codes. */
    float centred[TQ_PAGE_QUERIES + 4]; /* Sums of the weights of tokens whose mean was taken off. */
    const uint8_t *mean;                /* Halves; null if there is none, and all of `centred` are 0. */
    const tq_code *code;
    const tq_byte_tables *tables; /* Of the 8-bit code. */
    const uint8_t *page;
    const uint8_t *ahead; /* Fetched meanwhile. */
    float *sums;          /* [n_q][dim] */
    size_t first_tile;    /* Weights in other tiles are 0. */
    size_t end_tile;
} tq_weighted;

typedef void tq_weighted_function(const tq_weighted *work);

/* One function for each number of queries, the first for one. */
extern tq_weighted_function *const tq_lloyd_weighted_avx512[4][TQ_PAGE_QUERIES];   /* For 1 to 4 bits. */
extern tq_weighted_function *const tq_trellis_weighted_avx512[3][TQ_PAGE_QUERIES]; /* For 2 to 4 bits. */
extern tq_weighted_function *const tq_byte_weighted_avx512[TQ_PAGE_QUERIES];

/* Groups of 16 dimensions that are worked on together, so that a load of weights serves both. */
enum { TQ_GROUPS = 4 };

/* Sums of products. With few queries each has two, of even and of odd fields: additions to one wait for each other. */
typedef struct chains {
    __m512i even[TQ_GROUPS][TQ_PAGE_QUERIES];
    __m512i odd[TQ_GROUPS][TQ_PAGE_QUERIES];
} chains;

enum { FEW = 2 };

TQ_INLINE void clear_chains(size_t groups, size_t n_q, chains *c)
{
    TQ_UNROLL
    for (size_t g = 0; g < groups; g++) {
        TQ_UNROLL
        for (size_t i = 0; i < n_q; i++) {
            c->even[g][i] = _mm512_setzero_si512();
            c->odd[g][i] = _mm512_setzero_si512();
        }
    }
}

TQ_INLINE __m512i broadcast_weights(const uint8_t *four)
{
    int32_t dword;
    __builtin_memcpy(&dword, four, sizeof dword);
    return _mm512_set1_epi32(dword);
}

/* Adds the 32 tokens of tile h; b: a block for each group. */
TQ_INLINE void multiply_blocks(kind_of_code kind, size_t groups, size_t n_q, const tq_weighted *work, size_t h,
                               const block *b, const __m512i *tables, const uint8_t *ahead, chains *c)
{
    const uint8_t *weights = work->weights[0] + h * TQ_VALUE_TOKENS;
    __asm__("" : "+r"(weights)); /* Or gcc loads the weights of the next tile here, and spills them. */
    TQ_UNROLL
    for (unsigned k = 0; k < 8; k++) {
        __m512i levels[TQ_GROUPS];
        fetch_part(ahead, groups * kind.bits, k, 8);
        TQ_UNROLL
        for (size_t g = 0; g < groups; g++) {
            levels[g] = operand(kind, &b[g], k, tables);
        }
        TQ_UNROLL
        for (size_t i = 0; i < n_q; i++) {
            const __m512i w = broadcast_weights(weights + i * TQ_PAGE_TOKENS + (size_t)4 * k);
            TQ_UNROLL
            for (size_t g = 0; g < groups; g++) {
                if (n_q > FEW || k % 2 == 0) {
                    c->even[g][i] = add_products(c->even[g][i], w, levels[g]);
                } else {
                    c->odd[g][i] = add_products(c->odd[g][i], w, levels[g]);
                }
            }
        }
    }
}

/* Fetches what is not fetched with tiles, because their weights are 0; `ahead` is as long as all tiles of groups. */
TQ_INLINE void fetch_skipped(const tq_weighted *work, const uint8_t *ahead, size_t rows_of_tile)
{
    for (size_t h = 0; h < TQ_VALUE_TILES; h++) {
        if (h < work->first_tile || h >= work->end_tile) {
            fetch_rows(ahead + h * rows_of_tile * TQ_ROW_BYTES, rows_of_tile);
        }
    }
}

/* The mean of the dimensions of a group. */
TQ_INLINE __m512 load_mean(const tq_weighted *work, size_t group)
{
    if (work->mean == NULL) {
        return _mm512_setzero_ps();
    }
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(work->mean + group * TQ_VALUE_DIMS * 2)));
}

/* Adds to the sums of query i in a group: the sums of products, and the mean. */
TQ_INLINE void add_to_sums(const tq_weighted *work, size_t i, __m512 products, __m512 mean, float *sums)
{
    const __m512 more = _mm512_fmadd_ps(products, _mm512_set1_ps(work->factor[i]), _mm512_loadu_ps(sums));
    _mm512_storeu_ps(sums, _mm512_fmadd_ps(mean, _mm512_set1_ps(work->centred[i]), more));
}

/* Adds the sums of dimensions 16 first and on. */
TQ_INLINE void finish_groups(kind_of_code kind, size_t groups, size_t n_q, const tq_weighted *work, size_t first,
                             const chains *c)
{
    float *sums = work->sums + first * TQ_VALUE_DIMS;
    __m512 means[TQ_GROUPS];
    TQ_UNROLL
    for (size_t g = 0; g < groups; g++) {
        means[g] = load_mean(work, first + g);
    }
    TQ_UNROLL
    for (size_t i = 0; i < n_q; i++) {
        TQ_UNROLL
        for (size_t g = 0; g < groups; g++) {
            const __m512i sum = n_q > FEW ? c->even[g][i] : _mm512_add_epi32(c->even[g][i], c->odd[g][i]);
            __m512 whole = _mm512_cvtepi32_ps(sum);
            if (kind.trellis) {
                whole = _mm512_add_ps(whole, _mm512_set1_ps(work->bias[i]));
            }
            add_to_sums(work, i, whole, means[g], sums + g * TQ_VALUE_DIMS);
        }
        sums += work->code->dim;
    }
}

/* From weighted(bits, n_q, work): a function for each number of queries, and a table of them. */
#define TQ_WEIGHTED(bits, n_q)                                                                                         \
    static void weighted_##bits##_##n_q(const tq_weighted *work)                                                       \
    {                                                                                                                  \
        weighted(bits, n_q, work);                                                                                     \
    }
#define TQ_WEIGHTED_OF(bits)                                                                                           \
    TQ_WEIGHTED(bits, 1)                                                                                               \
    TQ_WEIGHTED(bits, 2)                                                                                               \
    TQ_WEIGHTED(bits, 3)                                                                                               \
    TQ_WEIGHTED(bits, 4) TQ_WEIGHTED(bits, 5) TQ_WEIGHTED(bits, 6) TQ_WEIGHTED(bits, 7) TQ_WEIGHTED(bits, 8)
#define TQ_WEIGHTED_NAMES_OF(bits)                                                                                     \
    {                                                                                                                  \
        weighted_##bits##_1, weighted_##bits##_2, weighted_##bits##_3, weighted_##bits##_4, weighted_##bits##_5,       \
            weighted_##bits##_6, weighted_##bits##_7, weighted_##bits##_8                                              \
    }

#endif /* TQ_PAGE_SUM_AVX512_H */
