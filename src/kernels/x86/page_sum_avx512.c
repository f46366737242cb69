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
#include "kernels/x86/across_lanes_avx512.h"
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

/* What is to be known of a page before weights are rounded. */
typedef struct page_scales {
    by_token scales;
    __mmask16 is_centred[4]; /* Which tokens had the mean taken off. */
    float step;
    float half;
} page_scales;

TQ_INLINE page_scales load_scales(const uint8_t *halves, bool has_mean)
{
    page_scales loaded = {.half = 0};
    for (size_t i = 0; i < 4; i++) {
        const __m256i bits = _mm256_load_si256((const void *)(halves + 32 * i));
        loaded.scales.x[i] = _mm512_cvtph_ps(_mm256_and_si256(bits, _mm256_set1_epi16(0x7FFF)));
        loaded.is_centred[i] = has_mean ? _mm256_testn_epi16_mask(bits, _mm256_set1_epi16((short)0x8000)) : 0;
    }
    return loaded;
}

/* What is left in each lane of the sum of those weights. */
TQ_INLINE __m512 sum_of_tokens(const by_token *w, const __mmask16 *which)
{
    __m512 sum = _mm512_setzero_ps();
    for (size_t i = 0; i < 4; i++) {
        sum = _mm512_mask_add_ps(sum, which[i], sum, w->x[i]);
    }
    return sum;
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

/* Products of weights and scales. */
TQ_INLINE by_token multiply(const by_token *w, const by_token *scales)
{
    by_token products;
    TQ_UNROLL
    for (size_t p = 0; p < 4; p++) {
        products.x[p] = _mm512_mul_ps(w->x[p], scales->x[p]);
    }
    return products;
}

/* The largest of each lane. */
TQ_INLINE __m512 largest_of(const by_token *a)
{
    return _mm512_max_ps(_mm512_max_ps(a->x[0], a->x[1]), _mm512_max_ps(a->x[2], a->x[3]));
}

/* Writes products of query i, times `factor`, as integers; returns them, of the 8-bit code their high bytes, or'ed with
 * the low ones. */
TQ_INLINE __m512i round_products(bool is_byte, const by_token *products, __m512 factor, size_t i, tq_weighted *work)
{
    __m512i rounded[4];
    TQ_UNROLL
    for (size_t p = 0; p < 4; p++) {
        rounded[p] = _mm512_castps_si512(_mm512_fmadd_ps(products->x[p], factor, _mm512_set1_ps(INTEGER)));
    }
    const __m512i low = gather_bytes(rounded, 0);
    if (!is_byte) {
        _mm512_store_si512(work->weights[i], low);
        return low;
    }
    const __m512i high = gather_bytes(rounded, 1);
    _mm512_store_si512(work->weights[i], high);
    _mm512_store_si512(work->low_weights[i], low);
    return _mm512_or_si512(high, low);
}

/* Rounds the weights of queries i .. i + count - 1, four at most; returns bytes that are not 0 for tokens that have a
 * weight. 16 bits for the 8-bit code: 65280 = 256 * 255. */
TQ_INLINE __m512i round_weights(bool is_byte, size_t count, const float *w, size_t w_stride, size_t first, size_t n,
                                const page_scales *page, size_t i, tq_weighted *work)
{
    by_token products[TQ_QUARTERS];
    __m512 most[TQ_QUARTERS];
    __m512 centred[TQ_QUARTERS];
    __m512 sums[TQ_QUARTERS];
    __m512i used = _mm512_setzero_si512();
    TQ_UNROLL
    for (size_t r = 0; r < TQ_QUARTERS; r++) {
        most[r] = centred[r] = sums[r] = _mm512_setzero_ps();
        if (r < count) {
            const by_token weights = load_weights(w + r * w_stride, first, n);
            products[r] = multiply(&weights, &page->scales);
            most[r] = largest_of(&products[r]);
            centred[r] = sum_of_tokens(&weights, page->is_centred);
        }
    }
    __m512 largest = tq_across_lanes(tq_larger, most);
    const __m512 step = _mm512_mul_ps(largest, _mm512_set1_ps(page->step / 255));
    const __mmask16 small = _mm512_cmp_ps_mask(largest, _mm512_set1_ps(SMALL), _CMP_LT_OQ);
    __m512 boost = _mm512_set1_ps(1);
    if (small != 0) {
        boost = _mm512_mask_mov_ps(boost, small, _mm512_set1_ps(BOOST));
        TQ_UNROLL
        for (size_t r = 0; r < count; r++) {
            for (size_t p = 0; p < 4; p++) {
                products[r].x[p] = _mm512_mul_ps(products[r].x[p], tq_quarter(boost, (int)r));
            }
        }
        largest = _mm512_mul_ps(largest, boost);
    }
    const __m512 factor = _mm512_maskz_div_ps(_mm512_cmp_ps_mask(largest, _mm512_setzero_ps(), _CMP_GT_OQ),
                                              _mm512_set1_ps(is_byte ? 65280 : 255), largest);
    TQ_UNROLL
    for (size_t r = 0; r < count; r++) {
        const __m512i bytes = round_products(is_byte, &products[r], tq_quarter(factor, (int)r), i + r, work);
        const __m512i ones = _mm512_set1_epi8(1);
        sums[r] = _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(_mm512_setzero_si512(), bytes, ones));
        used = _mm512_or_si512(used, bytes);
    }
    /* Of one query: arrays have room for four from each. */
    _mm_storeu_ps(work->factor + i, tq_first_lanes(step));
    _mm_storeu_ps(work->centred + i, tq_first_lanes(tq_across_lanes(tq_add, centred)));
    _mm_storeu_ps(work->bias + i, _mm_mul_ps(tq_first_lanes(tq_across_lanes(tq_add, sums)), _mm_set1_ps(page->half)));
    return used;
}

/* Which tokens have a weight for any query. */
TQ_INLINE uint64_t round_all_weights(bool is_byte, size_t n_q, const float *w, size_t w_stride, size_t first, size_t n,
                                     const page_scales *scales, tq_weighted *work)
{
    __m512i used = _mm512_setzero_si512();
    size_t i = 0;
    for (; n_q - i >= TQ_QUARTERS; i += TQ_QUARTERS) {
        used = _mm512_or_si512(
            used, round_weights(is_byte, TQ_QUARTERS, w + i * w_stride, w_stride, first, n, scales, i, work));
    }
    for (; i < n_q; i++) {
        used = _mm512_or_si512(used, round_weights(is_byte, 1, w + i * w_stride, w_stride, first, n, scales, i, work));
    }
    return _mm512_test_epi8_mask(used, used);
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
    tq_weighted work;
    tq_byte_tables tables;
    page_scales scales = load_scales(page + tq_page_scales_at(code), mean != NULL);
    if (code->bits == 8) {
        make_byte_tables(code, 0, &tables);
        scales.step = tables.step;
    } else {
        const tq_levels levels = tq_integer_levels(code);
        scales.step = levels.step;
        scales.half = levels.half;
    }
    const uint64_t used = round_all_weights(code->bits == 8, n_q, w, w_stride, first, n, &scales, &work);
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
