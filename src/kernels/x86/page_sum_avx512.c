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
 * Tokens whose mean was taken off bring it with them, as a product of the mean and the sum of their weights.
 *
 * Tokens outside of first .. first + n - 1 have the weight 0. WITHIN. */
#include "kernels/x86/page_sum_avx512.h"
#include "kernels/scalar/scalar.h"
#include "kernels/x86/x86.h"

#include <string.h>

/* Products of a page that are all below this are multiplied first: their reciprocal must be finite. */
static const float SMALL = 1e-30F;
static const float BOOST = 0x1p100F;

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

/* 2^23: a float this large has its integer in the low bits, so adding it rounds. */
static const float INTEGER = 0x1p23F;

/* Bytes `byte` of four times 16 integers, in order. */
TQ_INLINE __m512i gather_bytes(const __m512i x[4], int byte)
{
    _Alignas(64) static const uint8_t from[64] = {0,  4,  8,  12,  16,  20,  24,  28,  32,  36, 40,
                                                  44, 48, 52, 56,  60,  64,  68,  72,  76,  80, 84,
                                                  88, 92, 96, 100, 104, 108, 112, 116, 120, 124};
    const __m512i index = _mm512_add_epi8(_mm512_load_si512(from), _mm512_set1_epi8((char)byte));
    const __m512i low = _mm512_permutex2var_epi8(x[0], index, x[1]);
    const __m512i high = _mm512_permutex2var_epi8(x[2], index, x[3]);
    return _mm512_inserti64x4(low, _mm512_castsi512_si256(high), 1);
}

/* rint(product * most / largest product); returns the largest product. */
TQ_INLINE float round_products(const by_token *w, const by_token *scales, float most, __m512i rounded[4])
{
    by_token product;
    TQ_UNROLL
    for (size_t p = 0; p < 4; p++) {
        product.x[p] = _mm512_mul_ps(w->x[p], scales->x[p]);
    }
    const float largest = _mm512_reduce_max_ps(
        _mm512_max_ps(_mm512_max_ps(product.x[0], product.x[1]), _mm512_max_ps(product.x[2], product.x[3])));
    if (largest < SMALL) {
        for (size_t p = 0; p < 4; p++) {
            product.x[p] = _mm512_mul_ps(product.x[p], _mm512_set1_ps(BOOST));
        }
    }
    const float boosted = largest < SMALL ? largest * BOOST : largest;
    const __m512 factor = _mm512_set1_ps(boosted > 0 ? most / boosted : 0);
    TQ_UNROLL
    for (size_t p = 0; p < 4; p++) {
        rounded[p] = _mm512_castps_si512(_mm512_fmadd_ps(product.x[p], factor, _mm512_set1_ps(INTEGER)));
    }
    return largest;
}

/* Rounds the weights of query i; returns which of them are not 0. */
TQ_INLINE uint64_t round_weights(const by_token *w, const by_token *scales, tq_levels levels, size_t i,
                                 tq_weighted *work)
{
    __m512i rounded[4];
    work->factor[i] = round_products(w, scales, 255, rounded) / 255 * levels.step;
    const __m512i bytes = gather_bytes(rounded, 0);
    _mm512_store_si512(work->weights[i], bytes);
    if (levels.half != 0) {
        const __m512i sums = _mm512_dpbusd_epi32(_mm512_setzero_si512(), bytes, _mm512_set1_epi8(1));
        work->bias[i] = levels.half * (float)_mm512_reduce_add_epi32(sums);
    }
    return _mm512_test_epi8_mask(bytes, bytes);
}

/* The same with 16 bits, for the 8-bit code: 65280 = 256 * 255. */
TQ_INLINE uint64_t round_finely(const by_token *w, const by_token *scales, float step, size_t i, tq_weighted *work)
{
    __m512i rounded[4];
    work->factor[i] = round_products(w, scales, 65280, rounded) / 255 * step;
    const __m512i high = gather_bytes(rounded, 1);
    const __m512i low = gather_bytes(rounded, 0);
    _mm512_store_si512(work->weights[i], high);
    _mm512_store_si512(work->low_weights[i], low);
    return _mm512_test_epi8_mask(_mm512_or_si512(high, low), _mm512_or_si512(high, low));
}

static tq_weighted_function *find_weighted(const tq_code *code, size_t n_q)
{
    return code->bits == 8           ? tq_byte_weighted_avx512[n_q - 1]
           : code->trellis.bits != 0 ? tq_trellis_weighted_avx512[code->bits - 2][n_q - 1]
                                     : tq_lloyd_weighted_avx512[code->bits - 1][n_q - 1];
}

void tq_page_sum_avx512(const tq_code *code, const float *w, size_t w_stride, size_t n_q, const uint8_t *page,
                        size_t first, size_t n, const uint8_t *mean, const uint8_t *next, float *sums)
{
    if (code->bits == 0) {
        tq_half_sum_avx512(code->dim, w, w_stride, n_q, page + first * code->row_bytes, n, sums);
        return;
    }
    if (!tq_page_is_tiled(code, TQ_PAGE_VALUES)) {
        tq_page_sum_scalar(code, w, w_stride, n_q, page, first, n, mean, next, sums);
        return;
    }
    if (n == 0 || n_q == 0) {
        return;
    }
    const bool is_byte = code->bits == 8;
    tq_weighted work;
    tq_byte_tables tables;
    tq_levels levels = {NULL, 0, 0};
    uint64_t used = 0;
    uint64_t is_centred;
    const by_token scales = load_scales(page + tq_page_scales_at(code), &is_centred);
    if (is_byte) {
        make_byte_tables(code, 0, &tables);
    } else {
        levels = tq_integer_levels(code);
    }
    for (size_t i = 0; i < n_q; i++) {
        const by_token weights = load_weights(w + i * w_stride, first, n);
        used |= is_byte ? round_finely(&weights, &scales, tables.step, i, &work)
                        : round_weights(&weights, &scales, levels, i, &work);
        work.centred[i] = mean != NULL ? sum_of_tokens(&weights, is_centred) : 0;
    }
    if (used == 0 && mean == NULL) {
        return;
    }
    work.code = code;
    work.page = page;
    work.ahead = next != NULL ? next : page;
    work.mean = mean;
    work.sums = sums;
    work.tables = &tables;
    work.first_tile = (uint32_t)used == 0 ? 1 : 0;
    work.end_tile = used >> 32 == 0 ? 1 : 2;
    find_weighted(code, n_q)(&work);
    fetch_rest(code, work.ahead);
}
