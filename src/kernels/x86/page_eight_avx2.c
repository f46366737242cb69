/* SPDX-License-Identifier: MIT
 *
 * Pages of turbo8 with AVX2: its levels fit neither vpshufb nor eight bits, so they are gathered as floats.
 *
 *     for queries i, for keys k: scores[i][k] = s_k / dim * sum over j: q_ij c[idx_kj]
 *     for queries i, for dimensions j: sums[i][j] += sum over values k: w_ik s_k c[idx_kj]
 *
 * Row f of a block (pages_x86.h) is field f; byte b of the dwords of a half of it, eight lanes, is what one gather
 * looks up: for keys, eight tokens at one dimension, for values, eight dimensions of one token. Each is multiplied with
 * one number of each query. Tokens that are not wanted are computed and not stored, or have weight 0. */
#include "kernels/x86/page_calls_avx2.h"

enum { BYTES = 4, HALF_ROW = TQ_ROW_BYTES / 2 };

/* sums[i] += levels of byte b of eight dwords, times factors[i * stride]. */
TQ_INLINE void add_levels(size_t n_q, const float *centroids, __m256i dwords, size_t b, const float *factors,
                          size_t stride, __m256 *sums)
{
    const __m256i moved = _mm256_srl_epi32(dwords, _mm_cvtsi32_si128((int)(8 * b)));
    const __m256i index = _mm256_and_si256(moved, _mm256_set1_epi32(0xFF));
    const __m256 levels = _mm256_i32gather_ps(centroids, index, sizeof *centroids);
    for (size_t i = 0; i < n_q; i++) {
        sums[i] = _mm256_fmadd_ps(levels, _mm256_set1_ps(factors[i * stride]), sums[i]);
    }
}

/* Scores of eight tokens, those of one half of each row. */
TQ_INLINE void score_half(size_t n_q, const scores_call *call, size_t t, size_t half)
{
    const tq_code *code = call->code;
    const float *q = call->prepared;
    __m256 sums[TQ_PAGE_QUERIES];
    for (size_t i = 0; i < n_q; i++) {
        sums[i] = _mm256_setzero_ps();
    }
    for (size_t f = 0; f < code->dim / BYTES; f++) {
        const size_t block = f / 8;
        const size_t step = (block + 1) * TQ_KEY_DIMS <= code->dim ? 8 : 4; /* Dimensions from byte to byte. */
        const size_t at = tq_key_block_at(code, block, t) + f % 8 * TQ_ROW_BYTES + half * HALF_ROW;
        const __m256i dwords = _mm256_loadu_si256((const void *)(call->page + at));
        for (size_t b = 0; b < BYTES; b++) {
            const size_t j = block * TQ_KEY_DIMS + f % 8 + b * step;
            add_levels(n_q, code->centroids, dwords, b, q + j, code->dim, sums);
        }
        if (call->next != NULL && half == 0) {
            _mm_prefetch((const char *)call->next + at, _MM_HINT_T0);
        }
    }
    const score_tokens tokens = score_tokens_at(call, t * TQ_KEY_TOKENS + half * LANES);
    for (size_t i = 0; i < n_q; i++) {
        const __m256 inner = _mm256_mul_ps(sums[i], _mm256_set1_ps(1 / (float)code->dim));
        store_scores(call, &tokens, i, inner);
    }
}

TQ_INLINE void scores_of(size_t n_q, const scores_call *call)
{
    for (size_t t = call->first / TQ_KEY_TOKENS; t * TQ_KEY_TOKENS < call->first + call->n; t++) {
        score_half(n_q, call, t, 0);
        score_half(n_q, call, t, 1);
    }
}

void tq_eight_scores_avx2(const scores_call *call)
{
    if (call->n_q == 1) { /* For these the loops over queries are unrolled. */
        scores_of(1, call);
    } else if (call->n_q == 4) {
        scores_of(4, call);
    } else {
        scores_of(call->n_q, call);
    }
}

/* Adds tile h to the sums of the dimensions 8 j .. 8 j + 7. w: [n_q][32], weights times scales. */
TQ_INLINE void sum_dims(size_t n_q, const sum_call *call, const float *w, size_t h, size_t j)
{
    const tq_code *code = call->code;
    float *totals = call->sums + j * LANES;
    __m256 sums[TQ_PAGE_QUERIES];
    for (size_t i = 0; i < n_q; i++) {
        sums[i] = _mm256_loadu_ps(totals + i * code->dim);
    }
    for (size_t f = 0; f < TQ_VALUE_TOKENS / BYTES; f++) {
        const size_t at = tq_value_block_at(code, j / 2, h) + f * TQ_ROW_BYTES + j % 2 * HALF_ROW;
        const __m256i dwords = _mm256_loadu_si256((const void *)(call->page + at));
        for (size_t b = 0; b < BYTES; b++) {
            add_levels(n_q, code->centroids, dwords, b, w + f * BYTES + b, TQ_VALUE_TOKENS, sums);
        }
        if (call->next != NULL && j % 2 == 0) {
            _mm_prefetch((const char *)call->next + at, _MM_HINT_T0);
        }
    }
    for (size_t i = 0; i < n_q; i++) {
        _mm256_storeu_ps(totals + i * code->dim, sums[i]);
    }
}

TQ_INLINE void sum_of(size_t n_q, const sum_call *call)
{
    for (size_t h = call->first / TQ_VALUE_TOKENS; h * TQ_VALUE_TOKENS < call->first + call->n; h++) {
        const tile_scales scales = tile_scales_at(call, h);
        float w[TQ_PAGE_QUERIES * TQ_VALUE_TOKENS];
        for (size_t i = 0; i < n_q; i++) {
            __m256 quarters[QUARTERS];
            load_weights(call, &scales, i, h, quarters);
            for (size_t a = 0; a < QUARTERS; a++) {
                _mm256_storeu_ps(w + i * TQ_VALUE_TOKENS + a * LANES, quarters[a]);
            }
        }
        for (size_t j = 0; j < call->code->dim / LANES; j++) {
            sum_dims(n_q, call, w, h, j);
        }
    }
}

void tq_eight_sum_avx2(const sum_call *call)
{
    if (call->n_q == 1) {
        sum_of(1, call);
    } else if (call->n_q == 4) {
        sum_of(4, call);
    } else {
        sum_of(call->n_q, call);
    }
}
