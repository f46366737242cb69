/* SPDX-License-Identifier: MIT
 *
 * Scores of the keys of a page:
 *
 *     for queries i, for tokens k: scores[i][k] = scale[k] (factor[i] sum of q8[i] k8[k] + bias[i]) + q_mean[i]
 *
 * The integer sums are those of page_scores_avx512.h, of all tokens of the page, 16 in a register; here they become
 * floats and take the scales. Of a page that is read in part, the rest is computed and not written. WITHIN. */
#include "kernels/x86/page_scores_avx512.h"
#include "kernels/scalar/scalar.h"
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
        s.centred[t] = (__mmask16)~_mm256_movepi16_mask(bits);
    }
    return s;
}

/* The 64 scores of query i. */
TQ_INLINE void finish(const tq_prepared_query *p, size_t planes, size_t i, const int32_t *sums, const scales *s,
                      const float *q_mean, float *scores)
{
    const int32_t *own = sums + i * planes * TQ_PAGE_TOKENS;
    const __m512 mean = _mm512_set1_ps(q_mean != NULL ? q_mean[i] : 0);
    TQ_UNROLL
    for (size_t t = 0; t < TQ_KEY_TILES; t++) {
        const size_t k = t * TQ_KEY_TOKENS;
        const __m512 high = _mm512_cvtepi32_ps(_mm512_load_si512(own + k));
        const __m512 low =
            planes == 2 ? _mm512_cvtepi32_ps(_mm512_load_si512(own + TQ_PAGE_TOKENS + k)) : _mm512_setzero_ps();
        const __m512 whole = _mm512_fmadd_ps(high, _mm512_set1_ps(256), low);
        const __m512 score = _mm512_mul_ps(
            _mm512_fmadd_ps(whole, _mm512_set1_ps(p->factor[i]), _mm512_set1_ps(p->bias[i])), s->magnitude[t]);
        _mm512_storeu_ps(scores + k, _mm512_mask_add_ps(score, s->centred[t], score, mean));
    }
}

void tq_page_scores_avx512(const tq_code *code, const void *prepared, size_t n_q, const float *q_mean,
                           const uint8_t *page, size_t first, size_t n, const uint8_t *next, float *scores,
                           size_t stride)
{
    const tq_prepared_query *p = prepared;
    _Alignas(64) int32_t sums[TQ_QUERY_ROWS * TQ_PAGE_TOKENS];
    if (code->bits == 0) {
        tq_half_scores_avx512(code->dim, prepared, n_q, page + first * code->row_bytes, n, scores, stride);
        return;
    }
    if (!tq_page_is_tiled(code, TQ_PAGE_KEYS)) {
        tq_page_scores_scalar(code, prepared, n_q, q_mean, page, first, n, next, scores, stride);
        return;
    }
    integer_sums(code, p, page, next != NULL ? next : page, sums);
    fetch_rest(code, next != NULL ? next : page);
    const scales s = load_scales(page + tq_page_scales_at(code));
    for (size_t i = 0; i < n_q; i++) {
        float part[TQ_PAGE_TOKENS];
        float *all = n == TQ_PAGE_TOKENS ? scores + i * stride : part;
        if (p->planes == 1) {
            finish(p, 1, i, sums, &s, q_mean, all);
        } else {
            finish(p, 2, i, sums, &s, q_mean, all);
        }
        if (n != TQ_PAGE_TOKENS) {
            memcpy(scores + i * stride, part + first, n * sizeof *part);
        }
    }
}
