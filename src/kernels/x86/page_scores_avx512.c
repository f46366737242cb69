/* SPDX-License-Identifier: MIT
 *
 * Scores of the keys of a page:
 *
 *     for queries i, for tokens k: scores[i][k] = scale[k] (factor[i] sum of q8[i] k8[k] + bias[i]) + q_mean[i]
 *
 * The integer sums are those of page_scores_avx512.h, of all tokens of the page, 16 in a register; here they become
 * floats and take the scales. Of a page that is read in part, the rest is computed and not written. WITHIN. */
#include "kernels/scalar/scalar.h"
#include "kernels/x86/page_scores_avx512.h"
#include "kernels/x86/x86.h"

#include <string.h>

static tq_dots_function *find_dots(const tq_code *code, size_t rows)
{
    return code->trellis.bits != 0 ? tq_trellis_dots_avx512[code->bits - 2][rows - 1]
                                   : tq_lloyd_dots_avx512[code->bits - 1][rows - 1];
}

static void integer_sums(const tq_code *code, const tq_prepared_query *p, const uint8_t *page, const uint8_t *ahead,
                         int32_t *sums)
{
    for (size_t r = 0; r < p->n_rows; r += TQ_MOST_ROWS) {
        const size_t rows = p->n_rows - r < TQ_MOST_ROWS ? p->n_rows - r : TQ_MOST_ROWS;
        const tq_dots work = {code,      page,         ahead, p->dwords + r, p->n_rows, p->start + r,
                              sums + r * TQ_PAGE_TOKENS};
        find_dots(code, rows)(&work);
    }
}

/* The scales of 16 tokens: their magnitudes, and which tokens had the mean taken off. */
typedef struct scales {
    __m512 magnitude;
    __mmask16 centred;
} scales;

static scales load_scales(const uint8_t *halves)
{
    const __m256i bits = _mm256_load_si256((const void *)halves);
    return (scales){_mm512_cvtph_ps(_mm256_and_si256(bits, _mm256_set1_epi16(0x7FFF))),
                    (__mmask16)~_mm256_movepi16_mask(bits)};
}

/* Scores of 16 tokens from a query's sums. */
static __m512 finish(const tq_prepared_query *p, size_t i, const int32_t *sums, const scales *s, const float *q_mean)
{
    const __m512 high = _mm512_cvtepi32_ps(_mm512_load_si512(sums));
    const __m512 low = p->planes == 2 ? _mm512_cvtepi32_ps(_mm512_load_si512(sums + TQ_PAGE_TOKENS))
                                      : _mm512_setzero_ps();
    const __m512 whole = _mm512_fmadd_ps(high, _mm512_set1_ps(256), low);
    const __m512 score = _mm512_mul_ps(
        _mm512_fmadd_ps(whole, _mm512_set1_ps(p->factor[i]), _mm512_set1_ps(p->bias[i])), s->magnitude);
    return q_mean == NULL ? score : _mm512_mask_add_ps(score, s->centred, score, _mm512_set1_ps(q_mean[i]));
}

/* Writes the scores of tokens first .. end - 1 among tokens begin .. begin + 15. */
static void store_scores(__m512 x, size_t begin, size_t first, size_t end, float *scores)
{
    if (begin >= first && begin + 16 <= end) {
        _mm512_storeu_ps(scores + begin - first, x);
        return;
    }
    float all[16];
    const size_t from = first > begin ? first - begin : 0;
    const size_t to = end < begin + 16 ? end - begin : 16;
    _mm512_storeu_ps(all, x);
    memcpy(scores + begin + from - first, all + from, (to - from) * sizeof *all);
}

void tq_page_scores_avx512(const tq_code *code, const void *prepared, size_t n_q, const float *q_mean,
                           const uint8_t *page, size_t first, size_t n, const uint8_t *next, float *scores,
                           size_t stride)
{
    const tq_prepared_query *p = prepared;
    _Alignas(64) int32_t sums[TQ_QUERY_ROWS * TQ_PAGE_TOKENS];
    if (!tq_page_is_tiled(code, TQ_PAGE_KEYS)) {
        tq_page_scores_scalar(code, prepared, n_q, q_mean, page, first, n, next, scores, stride);
        return;
    }
    if (n == 0 || n_q == 0) {
        return;
    }
    integer_sums(code, p, page, next != NULL ? next : page, sums);
    for (size_t begin = first / 16 * 16; begin < first + n; begin += 16) {
        const scales s = load_scales(page + tq_page_scales_at(code) + 2 * begin);
        for (size_t i = 0; i < n_q; i++) {
            const __m512 x = finish(p, i, sums + i * p->planes * TQ_PAGE_TOKENS + begin, &s, q_mean);
            store_scores(x, begin, first, first + n, scores + i * stride);
        }
    }
}
