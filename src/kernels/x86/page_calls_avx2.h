/* SPDX-License-Identifier: MIT
 *
 * What the kernels that read pages with AVX2 share: the arguments of a call, and what does not depend on how levels are
 * multiplied. That is the scales, the tokens that are wanted, and the mean of a page, which every token has whose scale
 * has no sign bit. */
#ifndef TQ_PAGE_CALLS_AVX2_H
#define TQ_PAGE_CALLS_AVX2_H

#include "compiler.h"
#include "kernels/x86/pages_x86.h"

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

enum { LANES = 8, QUARTERS = TQ_VALUE_TOKENS / LANES };

/* The arguments of page_scores. */
typedef struct scores_call {
    const tq_code *code;
    const void *prepared;
    size_t n_q;
    const float *q_mean;
    const uint8_t *page;
    size_t first;
    size_t n;
    const uint8_t *next;
    float *scores;
    size_t stride;
} scores_call;

/* The arguments of page_sum. */
typedef struct sum_call {
    const tq_code *code;
    const float *w;
    size_t w_stride;
    size_t n_q;
    const uint8_t *page;
    size_t first;
    size_t n;
    const uint8_t *next;
    float *sums;
    float *centred; /* Grow by the weights of tokens whose mean was taken off; null if the page has no mean. */
} sum_call;

/* The same for codes of 8 bits. */
void tq_eight_scores_avx2(const scores_call *call);
void tq_eight_sum_avx2(const sum_call *call);

TQ_INLINE __m256i in_all_lanes(const int32_t *dword)
{
    return _mm256_set1_epi32(*dword);
}

/* Keeps the compiler from adding in another order than it is told. Otherwise gcc computes all products of an unrolled
 * loop first, and clang one sum after the other: neither has registers for what must wait then, and with AVX2 a third
 * of the speed is gone. */
TQ_INLINE __m256i in_order(__m256i sum)
{
    __asm__("" : "+x"(sum));
    return sum;
}

/* Eight tokens of which scores are computed. */
typedef struct score_tokens {
    size_t token; /* The first of them. */
    bool all;     /* All are wanted. */
    __m256 scales;
    __m256 signs; /* The sign bits of those without a mean. */
} score_tokens;

TQ_INLINE score_tokens score_tokens_at(const scores_call *call, size_t token)
{
    const uint8_t *scales_at = call->page + tq_page_scales_at(call->code) + 2 * token;
    const __m256 scales = _mm256_cvtph_ps(_mm_loadu_si128((const void *)scales_at));
    const bool all = token >= call->first && token + LANES <= call->first + call->n;
    return (score_tokens){token, all, _mm256_andnot_ps(_mm256_set1_ps(-0.0F), scales), scales};
}

TQ_APART void store_some(const scores_call *call, size_t token, float *row, __m256 scores)
{
    float lanes[LANES];
    _mm256_storeu_ps(lanes, scores);
    for (size_t l = 0; l < LANES; l++) {
        if (token + l >= call->first && token + l < call->first + call->n) {
            row[token + l - call->first] = lanes[l];
        }
    }
}

/* Stores the scores of query i; `inner` is to be multiplied with the scales. */
TQ_INLINE void store_scores(const scores_call *call, const score_tokens *tokens, size_t i, __m256 inner)
{
    float *row = call->scores + i * call->stride;
    __m256 scores = _mm256_mul_ps(inner, tokens->scales);
    if (call->q_mean != NULL) {
        const __m256 mean = _mm256_set1_ps(call->q_mean[i]);
        scores = _mm256_add_ps(scores, _mm256_blendv_ps(mean, _mm256_setzero_ps(), tokens->signs));
    }
    if (tokens->all) {
        _mm256_storeu_ps(row + (tokens->token - call->first), scores);
    } else {
        store_some(call, tokens->token, row, scores);
    }
}

TQ_INLINE float sum_of_lanes(__m256 x)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

/* The scales of the 32 tokens of tile h of values, and the sign bits of those without a mean. */
typedef struct tile_scales {
    __m256 size[QUARTERS];
    __m256 sign[QUARTERS];
} tile_scales;

TQ_INLINE tile_scales tile_scales_at(const sum_call *call, size_t h)
{
    const uint8_t *scales_at = call->page + tq_page_scales_at(call->code) + 2 * h * TQ_VALUE_TOKENS;
    tile_scales scales;
    for (size_t a = 0; a < QUARTERS; a++) {
        scales.sign[a] = _mm256_cvtph_ps(_mm_loadu_si128((const void *)(scales_at + 2 * a * LANES)));
        scales.size[a] = _mm256_andnot_ps(_mm256_set1_ps(-0.0F), scales.sign[a]);
    }
    return scales;
}

/* Copies those weights of a row that belong to the 32 tokens from `begin` on and are wanted. */
TQ_APART void copy_weights(const sum_call *call, const float *row, size_t begin, float *copy)
{
    const size_t end = begin + TQ_VALUE_TOKENS;
    const size_t least = begin > call->first ? begin : call->first;
    const size_t most = end < call->first + call->n ? end : call->first + call->n;
    memset(copy, 0, TQ_VALUE_TOKENS * sizeof *copy);
    memcpy(copy + (least - begin), row + (least - call->first), (most - least) * sizeof *copy);
}

/* The weights of query i for the tokens of tile h, times their scales; 0 for tokens that are not wanted. */
TQ_INLINE void load_weights(const sum_call *call, const tile_scales *scales, size_t i, size_t h, __m256 *w)
{
    const size_t begin = h * TQ_VALUE_TOKENS;
    const float *row = call->w + i * call->w_stride;
    float copy[TQ_VALUE_TOKENS];
    const float *from = copy;
    __m256 centred = _mm256_setzero_ps();
    if (begin >= call->first && begin + TQ_VALUE_TOKENS <= call->first + call->n) {
        from = row + (begin - call->first);
    } else {
        copy_weights(call, row, begin, copy);
    }
    for (size_t a = 0; a < QUARTERS; a++) {
        w[a] = _mm256_loadu_ps(from + a * LANES);
    }
    if (call->centred != NULL) {
        for (size_t a = 0; a < QUARTERS; a++) {
            centred = _mm256_add_ps(centred, _mm256_blendv_ps(w[a], _mm256_setzero_ps(), scales->sign[a]));
        }
        call->centred[i] += sum_of_lanes(centred);
    }
    for (size_t a = 0; a < QUARTERS; a++) {
        w[a] = _mm256_mul_ps(w[a], scales->size[a]);
    }
}

#endif /* TQ_PAGE_CALLS_AVX2_H */
