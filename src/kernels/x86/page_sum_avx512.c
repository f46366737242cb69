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
    const uint64_t wanted = (n >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << first;
    by_token loaded;
    for (size_t i = 0; i < 4; i++) {
        const __mmask16 mask = (__mmask16)(wanted >> 16 * i);
        const size_t begin = 16 * i > first ? 16 * i - first : 0; /* Of what the mask lets through. */
        loaded.x[i] = _mm512_maskz_expandloadu_ps(mask, w + (mask != 0 ? begin : 0));
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

/* Rounds the weights of query i. */
TQ_INLINE void round_weights(const by_token *w, const by_token *scales, tq_levels levels, size_t i, tq_weighted *work)
{
    by_token product;
    for (size_t p = 0; p < 4; p++) {
        product.x[p] = _mm512_mul_ps(w->x[p], scales->x[p]);
    }
    const float largest = _mm512_reduce_max_ps(
        _mm512_max_ps(_mm512_max_ps(product.x[0], product.x[1]), _mm512_max_ps(product.x[2], product.x[3])));
    const __m512 factor = _mm512_set1_ps(largest > LEAST ? 255 / largest : 0);
    __m512i total = _mm512_setzero_si512();
    for (size_t p = 0; p < 4; p++) {
        const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(product.x[p], factor));
        total = _mm512_add_epi32(total, rounded);
        _mm_store_si128((void *)(work->weights[i] + 16 * p), _mm512_cvtepi32_epi8(rounded));
    }
    work->factor[i] = largest > LEAST ? largest / 255 * levels.step : 0;
    work->bias[i] = levels.half == 0 ? 0 : levels.half * (float)_mm512_reduce_add_epi32(total);
}

/* Whether any query has a weight in a tile. */
static bool tile_is_used(const tq_weighted *work, size_t n_q, size_t tile)
{
    __m256i any = _mm256_setzero_si256();
    for (size_t i = 0; i < n_q; i++) {
        any = _mm256_or_si256(any, _mm256_load_si256((const void *)(work->weights[i] + tile * TQ_VALUE_TOKENS)));
    }
    return !_mm256_testz_si256(any, any);
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
    tq_weighted work = {.code = code, .page = page, .ahead = next != NULL ? next : page, .sums = sums};
    const tq_levels levels = tq_integer_levels(code);
    uint64_t is_centred;
    const by_token scales = load_scales(page + tq_page_scales_at(code), &is_centred);
    for (size_t i = 0; i < n_q; i++) {
        const by_token weights = load_weights(w + i * w_stride, first, n);
        round_weights(&weights, &scales, levels, i, &work);
        if (centred != NULL) {
            centred[i] += sum_of_tokens(&weights, is_centred);
        }
    }
    work.end_tile = TQ_VALUE_TILES;
    while (work.first_tile < work.end_tile && !tile_is_used(&work, n_q, work.first_tile)) {
        work.first_tile++;
    }
    while (work.first_tile < work.end_tile && !tile_is_used(&work, n_q, work.end_tile - 1)) {
        work.end_tile--;
    }
    if (work.first_tile < work.end_tile) {
        (code->trellis.bits != 0 ? tq_trellis_weighted_avx512[code->bits - 2][n_q - 1]
                                 : tq_lloyd_weighted_avx512[code->bits - 1][n_q - 1])(&work);
    }
}
