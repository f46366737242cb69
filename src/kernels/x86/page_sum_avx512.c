/* SPDX-License-Identifier: MIT
 *
 * Weighted sums of the values of a page:
 *
 *     for i, for k: u8[i][k] = rint(w[i][k] scale[k] * 255 / max over k: w[i][k] scale[k])
 *     for i, for j: sums[i][j] += (max / 255) step * sum over k: u8[i][k] (k8[k][j] + half)
 *
 * Weights and scales are multiplied before they are rounded, so that a row costs nothing but its part of the integer
 * sums, which are those of page_sum_avx512.h. The largest product of the 64 tokens of a page becomes 255: a page is
 * small enough that what is rounded away matters little beside the errors of the codes, and a page without large
 * weights has a step of its own.
 *
 * Tokens outside of first .. first + n - 1 have the weight 0. WITHIN. */
#include "kernels/scalar/scalar.h"
#include "kernels/x86/page_sum_avx512.h"
#include "kernels/x86/x86.h"

#include <string.h>

/* Below this, all products of a page count as 0: their reciprocal must be finite. */
static const float LEAST = 1e-30F;

/* 64 numbers, one for each token of a page. */
typedef struct by_token {
    __m512 x[4];
} by_token;

/* Weights of tokens first .. first + n - 1, zeros before and behind. */
TQ_INLINE by_token load_weights(const float *w, size_t first, size_t n)
{
    by_token loaded;
    float part[TQ_PAGE_TOKENS];
    if (n != TQ_PAGE_TOKENS) {
        memset(part, 0, sizeof part);
        memcpy(part + first, w, n * sizeof *part);
        w = part;
    }
    for (size_t i = 0; i < 4; i++) {
        loaded.x[i] = _mm512_loadu_ps(w + 16 * i);
    }
    return loaded;
}

TQ_INLINE by_token load_scales(const uint8_t *halves, uint64_t *centred)
{
    by_token scales;
    *centred = 0;
    for (size_t i = 0; i < 4; i++) {
        const __m256i bits = _mm256_load_si256((const void *)(halves + 32 * i));
        scales.x[i] = _mm512_cvtph_ps(_mm256_and_si256(bits, _mm256_set1_epi16(0x7FFF)));
        *centred |= (uint64_t)(uint16_t)~_mm256_movepi16_mask(bits) << 16 * i;
    }
    return scales;
}

static float sum_of_tokens(const by_token *w, uint64_t which)
{
    __m512 sum = _mm512_setzero_ps();
    for (size_t i = 0; i < 4; i++) {
        sum = _mm512_mask_add_ps(sum, (__mmask16)(which >> 16 * i), sum, w->x[i]);
    }
    return _mm512_reduce_add_ps(sum);
}

/* Rounds the weights of query i; returns for each tile whether any of them is not 0, in bits 0 and 1. */
TQ_INLINE unsigned round_weights(const by_token *w, const by_token *scales, tq_levels levels, size_t i,
                                 tq_weighted *work)
{
    by_token product;
    __m512i rounded[4];
    for (size_t p = 0; p < 4; p++) {
        product.x[p] = _mm512_mul_ps(w->x[p], scales->x[p]);
    }
    const float largest = _mm512_reduce_max_ps(
        _mm512_max_ps(_mm512_max_ps(product.x[0], product.x[1]), _mm512_max_ps(product.x[2], product.x[3])));
    const __m512 factor = _mm512_set1_ps(largest > LEAST ? 255 / largest : 0);
    for (size_t p = 0; p < 4; p++) {
        rounded[p] = _mm512_cvtps_epi32(_mm512_mul_ps(product.x[p], factor));
        _mm_store_si128((void *)(work->weights[i] + 16 * p), _mm512_cvtepi32_epi8(rounded[p]));
    }
    const __m512i first = _mm512_add_epi32(rounded[0], rounded[1]);
    const __m512i second = _mm512_add_epi32(rounded[2], rounded[3]);
    work->factor[i] = largest > LEAST ? largest / 255 * levels.step : 0;
    work->bias[i] = levels.half == 0 ? 0 : levels.half * (float)_mm512_reduce_add_epi32(_mm512_add_epi32(first, second));
    return (_mm512_test_epi32_mask(first, first) != 0 ? 1U : 0U) |
           (_mm512_test_epi32_mask(second, second) != 0 ? 2U : 0U);
}

void tq_page_sum_avx512(const tq_code *code, const float *w, size_t w_stride, size_t n_q, const uint8_t *page,
                        size_t first, size_t n, const uint8_t *next, float *sums, float *centred)
{
    if (!tq_page_is_tiled(code, TQ_PAGE_VALUES)) {
        tq_page_sum_scalar(code, w, w_stride, n_q, page, first, n, next, sums, centred);
        return;
    }
    if (n == 0 || n_q == 0) {
        return;
    }
    tq_weighted work;
    const tq_levels levels = tq_integer_levels(code);
    unsigned used = 0;
    uint64_t is_centred;
    const by_token scales = load_scales(page + tq_page_scales_at(code), &is_centred);
    for (size_t i = 0; i < n_q; i++) {
        const by_token weights = load_weights(w + i * w_stride, first, n);
        used |= round_weights(&weights, &scales, levels, i, &work);
        if (centred != NULL) {
            centred[i] += sum_of_tokens(&weights, is_centred);
        }
    }
    if (used == 0) {
        return;
    }
    work.code = code;
    work.page = page;
    work.ahead = next != NULL ? next : page;
    work.sums = sums;
    work.first_tile = used == 2 ? 1 : 0;
    work.end_tile = used == 1 ? 1 : 2;
    (code->trellis.bits != 0 ? tq_trellis_weighted_avx512[code->bits - 2][n_q - 1]
                             : tq_lloyd_weighted_avx512[code->bits - 1][n_q - 1])(&work);
}
