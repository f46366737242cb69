/* SPDX-License-Identifier: MIT
 *
 * Sums of int8 products of all values of a page with integer weights, for page_sum_avx512.c:
 *
 *     for i, for j: sums[i][j] += factor[i] (sum over tokens k: weights[i][k] level[k][j] + bias[i])
 *
 *     weights of 4 tokens   w0 w1 w2 w3 in all lanes                                       uint8, for each query
 *     operand               d0: t0 t1 t2 t3 | d1: t0 t1 t2 t3 | ... | d15: t0 t1 t2 t3     int8, looked up once
 *     VPDPBUSD              d0: += w0 t0 + w1 t1 + w2 t2 + w3 t3 | ...                     int32
 *
 * A function is made for each number of queries, so that sums stay in registers. Each line of the page is loaded once,
 * and once for each it fetches a line of `ahead`. */
#ifndef TQ_PAGE_SUM_AVX512_H
#define TQ_PAGE_SUM_AVX512_H

#include "kernels/x86/operands_avx512.h"

typedef struct tq_weighted {
    const tq_code *code;
    const uint8_t *page;
    const uint8_t *ahead; /* Fetched meanwhile. */
    size_t first_tile;    /* Weights in other tiles are 0. */
    size_t end_tile;
    float factor[TQ_PAGE_QUERIES];
    float bias[TQ_PAGE_QUERIES];
    float *sums;                                         /* [n_q][dim] */
    _Alignas(64) uint8_t weights[TQ_PAGE_QUERIES][TQ_PAGE_TOKENS];
} tq_weighted;

typedef void tq_weighted_function(const tq_weighted *work);

/* One function for each number of queries, the first for one. */
extern tq_weighted_function *const tq_lloyd_weighted_avx512[4][TQ_PAGE_QUERIES];   /* For 1 to 4 bits. */
extern tq_weighted_function *const tq_trellis_weighted_avx512[3][TQ_PAGE_QUERIES]; /* For 2 to 4 bits. */

TQ_INLINE void fetch_rows(const uint8_t *ahead, size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        _mm_prefetch((const char *)ahead + i * TQ_ROW_BYTES, _MM_HINT_T0);
    }
}

/* Two chains of additions for each query: even and odd fields. */
typedef struct chains {
    __m512i even[TQ_PAGE_QUERIES];
    __m512i odd[TQ_PAGE_QUERIES];
} chains;

TQ_INLINE void clear_chains(size_t n_q, chains *c)
{
    for (size_t i = 0; i < n_q; i++) {
        c->even[i] = _mm512_setzero_si512();
        c->odd[i] = _mm512_setzero_si512();
    }
}

TQ_INLINE __m512i broadcast_weights(const uint8_t *four)
{
    int32_t dword;
    __builtin_memcpy(&dword, four, sizeof dword);
    return _mm512_set1_epi32(dword);
}

/* Adds the 32 tokens of tile h. */
TQ_INLINE void multiply_block(kind_of_code kind, size_t n_q, const tq_weighted *work, size_t h, const block *b,
                              const __m512i *tables, chains *c)
{
    for (unsigned k = 0; k < 8; k++) {
        const __m512i levels = operand(kind, b, k, tables);
        for (size_t i = 0; i < n_q; i++) {
            const __m512i w = broadcast_weights(work->weights[i] + h * TQ_VALUE_TOKENS + (size_t)4 * k);
            __m512i *chain = k % 2 == 0 ? &c->even[i] : &c->odd[i];
            *chain = _mm512_dpbusd_epi32(*chain, w, levels);
        }
    }
}

/* Adds the sums of dimensions 16 g and on. */
TQ_INLINE void finish_group(size_t n_q, const tq_weighted *work, size_t g, const chains *c)
{
    for (size_t i = 0; i < n_q; i++) {
        float *sums = work->sums + i * work->code->dim + g * TQ_VALUE_DIMS;
        const __m512 whole = _mm512_add_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(c->even[i], c->odd[i])),
                                           _mm512_set1_ps(work->bias[i]));
        _mm512_storeu_ps(sums, _mm512_fmadd_ps(whole, _mm512_set1_ps(work->factor[i]), _mm512_loadu_ps(sums)));
    }
}

#endif /* TQ_PAGE_SUM_AVX512_H */
