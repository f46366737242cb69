/* SPDX-License-Identifier: MIT
 *
 * Scores of the keys of a page:
 *
 *     for queries i, for tokens k: scores[i][k] = scale[k] (factor[i] sum of q8[i] k8[k] + bias[i]) + q_mean[i]
 *
 * The integer sums are those of page_scores_avx512.h, of all tokens of the page, 16 in a register; here they become
 * floats and take the scales. q_mean[i] is the score of query i with the mean, if the mean was taken off. Of a page
 * that is read in part, the rest is computed and not written. WITHIN. */
#include "kernels/x86/page_scores_avx512.h"
#include "kernels/scalar/scalar.h"
#include "kernels/x86/across_lanes_avx512.h"
#include "kernels/x86/x86.h"

#include <string.h>

static tq_dots_function *find_dots(const tq_code *code, size_t rows)
{
    return code->bits == 8           ? tq_byte_dots_avx512[rows / 2 - 1]
           : code->trellis.bits != 0 ? tq_trellis_dots_avx512[code->bits - 2][rows - 1]
                                     : tq_lloyd_dots_avx512[code->bits - 1][rows - 1];
}

static void integer_sums(const tq_code *code, const tq_prepared_query *p, const uint8_t *page, const uint8_t *ahead,
                         int32_t *sums)
{
    for (size_t r = 0; r < p->n_rows; r += TQ_MOST_ROWS) {
        const size_t rows = p->n_rows - r < TQ_MOST_ROWS ? p->n_rows - r : TQ_MOST_ROWS;
        const tq_dots work = {code,      page, ahead, p->dwords + r, p->n_rows, p->start + r, sums + r * TQ_PAGE_TOKENS,
                              &p->tables};
        find_dots(code, rows)(&work);
    }
}

/* The scores of queries with the mean, of `count` queries, four at most. */
TQ_INLINE void mean_scores(size_t count, size_t dim, const float *q, const uint8_t *mean, float *q_mean)
{
    __m512 sums[TQ_QUARTERS] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    for (size_t j = 0; j < dim; j += 16) {
        const __m512 x = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(mean + 2 * j)));
        TQ_UNROLL
        for (size_t i = 0; i < count; i++) {
            sums[i] = _mm512_fmadd_ps(x, _mm512_loadu_ps(q + i * dim + j), sums[i]);
        }
    }
    const __m128 scores = tq_first_lanes(tq_across_lanes(tq_add, sums));
    tq_store_some(q_mean, count, _mm_div_ps(scores, _mm_set1_ps((float)dim)));
}

TQ_INLINE void all_mean_scores(size_t dim, const float *q, size_t n_q, const uint8_t *mean, float *q_mean)
{
    size_t i = 0;
    for (; n_q - i >= TQ_QUARTERS; i += TQ_QUARTERS) {
        mean_scores(TQ_QUARTERS, dim, q + i * dim, mean, q_mean + i);
    }
    for (; i < n_q; i++) {
        mean_scores(1, dim, q + i * dim, mean, q_mean + i);
    }
}

/* The scales of a page: their magnitudes, and which tokens had the mean taken off. */
typedef struct scales {
    __m512 magnitude[TQ_KEY_TILES];
    __mmask16 centred[TQ_KEY_TILES];
} scales;

TQ_INLINE scales load_scales(const uint8_t *halves)
{
    scales s;
    TQ_UNROLL
    for (size_t t = 0; t < TQ_KEY_TILES; t++) {
        const __m256i bits = _mm256_load_si256((const void *)(halves + 2 * TQ_KEY_TOKENS * t));
        s.magnitude[t] = _mm512_cvtph_ps(_mm256_and_si256(bits, _mm256_set1_epi16(0x7FFF)));
        s.centred[t] = _mm256_testn_epi16_mask(bits, _mm256_set1_epi16((short)0x8000));
    }
    return s;
}

/* All 64 scores of each query. The sum of one plane times 256 and the factor has the same bits as that of two, if the
 * low one is zero. */
TQ_INLINE void finish(const tq_prepared_query *p, size_t planes, size_t n_q, const int32_t *sums, const scales *s,
                      const float *q_mean, float *scores, size_t stride)
{
    for (size_t i = 0; i < n_q; i++) {
        const __m512 mean = _mm512_set1_ps(q_mean[i]);
        const __m512 factor = _mm512_set1_ps(planes == 1 ? 256 * p->factor[i] : p->factor[i]);
        const __m512 bias = _mm512_set1_ps(p->bias[i]);
        TQ_UNROLL
        for (size_t t = 0; t < TQ_KEY_TILES; t++) {
            __m512 whole = _mm512_cvtepi32_ps(_mm512_load_si512(sums + t * TQ_KEY_TOKENS));
            if (planes == 2) {
                const __m512i low = _mm512_load_si512(sums + TQ_PAGE_TOKENS + t * TQ_KEY_TOKENS);
                whole = _mm512_fmadd_ps(whole, _mm512_set1_ps(256), _mm512_cvtepi32_ps(low));
            }
            const __m512 score = _mm512_mul_ps(_mm512_fmadd_ps(whole, factor, bias), s->magnitude[t]);
            _mm512_storeu_ps(scores + t * TQ_KEY_TOKENS, _mm512_mask_add_ps(score, s->centred[t], score, mean));
        }
        sums += planes * TQ_PAGE_TOKENS;
        scores += stride;
    }
}

void tq_page_scores_avx512(const tq_code *code, const void *prepared, const float *q, size_t n_q, const uint8_t *page,
                           size_t first, size_t n, const uint8_t *mean, const uint8_t *next, float *scores,
                           size_t stride)
{
    const tq_prepared_query *p = prepared;
    float q_mean[TQ_PAGE_QUERIES] = {0};
    _Alignas(64) int32_t sums[TQ_QUERY_ROWS * TQ_PAGE_TOKENS];
    float part[TQ_PAGE_QUERIES * TQ_PAGE_TOKENS]; /* Scores of a page that is read in part. */
    if (code->bits == 0) {
        tq_half_scores_avx512(code->dim, prepared, n_q, page + first * code->row_bytes, n, scores, stride);
        return;
    }
    if (!tq_page_is_tiled(code, TQ_PAGE_KEYS)) {
        tq_page_scores_scalar(code, prepared, q, n_q, page, first, n, mean, next, scores, stride);
        return;
    }
    if (mean != NULL) {
        all_mean_scores(code->dim, q, n_q, mean, q_mean);
    }
    integer_sums(code, p, page, next != NULL ? next : page, sums);
    fetch_rest(code, next != NULL ? next : page);
    const scales s = load_scales(page + tq_page_scales_at(code));
    const bool whole = n == TQ_PAGE_TOKENS;
    float *all = whole ? scores : part;
    const size_t all_stride = whole ? stride : TQ_PAGE_TOKENS;
    if (p->planes == 1) {
        finish(p, 1, n_q, sums, &s, q_mean, all, all_stride);
    } else {
        finish(p, 2, n_q, sums, &s, q_mean, all, all_stride);
    }
    for (size_t i = 0; !whole && i < n_q; i++) {
        memcpy(scores + i * stride, part + i * TQ_PAGE_TOKENS + first, n * sizeof *part);
    }
}
