/* SPDX-License-Identifier: MIT
 *
 * Scores of a page of keys, for the backends whose dot_*.h was included before:
 *
 *     for queries i, for keys k: scores[i][k] = s_k / dim * sum over j: q_ij level_kj, + q_mean_i if centred
 *
 * Keys lie as pages_x86.h says: a register of levels holds 8 tokens x 4 dimensions, and is looked up once for all
 * queries. The four integers of a query that belong to it are loaded into all lanes:
 *
 *     levels       t0: k0 k1 k2 k3 | t1: k0 k1 k2 k3 | ... | t7: k0 k1 k2 k3       bytes
 *     query        q0 q1 q2 q3     | q0 q1 q2 q3     | ... | q0 q1 q2 q3
 *     sums         t0              | t1              | ... | t7                    += four products
 *
 * so sums of different tokens never meet. Levels are made unsigned by an offset, which the sum of the query takes off
 * again. Queries of sixteen bits are multiplied with levels widened to words, even bytes first, then odd ones. Levels
 * are multiples of the step plus half of it; that half is added in floats at the end.
 *
 * Blocks of 16 tokens are computed whole; tokens outside of first .. first + n - 1 are not stored. The same places of
 * the page `next` are fetched meanwhile. Contract: within 2.5e-3 |q||k|. */
#ifndef TQ_PAGE_SCORES_DOT_H
#define TQ_PAGE_SCORES_DOT_H

#include "kernels/scalar/scalar.h"
#include "kernels/x86/fields_avx2.h"
#include "kernels/x86/page_calls_avx2.h"
#include "kernels/x86/page_query_avx2.h"
#include "kernels/x86/x86.h"

/* What a kernel is compiled for: constants. */
typedef struct shape {
    bool trellis;
    unsigned bits;
    size_t n_rows; /* Of queries, at once. */
} shape;

TQ_INLINE bool has_words(bool trellis, unsigned bits)
{
    return !DOT_EIGHT_BITS && trellis && bits == 4;
}

/* Eight bits of levels where the products have room for them; else seven, or words. */
TQ_INLINE tq_query_form form_of(const tq_code *code)
{
    const bool words = has_words(code->trellis.bits != 0, code->bits);
    return words            ? (tq_query_form){tq_levels_8bit(code), 0, true}
           : DOT_EIGHT_BITS ? (tq_query_form){tq_levels_8bit(code), 128, false}
                            : (tq_query_form){tq_levels_7bit(code), 64, false};
}

/* Sums of few rows would wait for each other's additions, so each is taken in parts. */
TQ_INLINE size_t parts_of(size_t n_rows)
{
    return n_rows >= 4 ? 1 : 4 / n_rows;
}

TQ_INLINE __m256i in_all_lanes(const int32_t *dword)
{
    return _mm256_set1_epi32(*dword);
}

/* The subset bits of 32 dimensions: consecutive coded bits u[t] are consecutive bits of a dword; `before` has the
 * dwords of the 32 dimensions before. With v[t] = u[t] ^ u[t-1], they are v[t-1] ^ u[t-4] and u[t] ^ v[t-5]. */
TQ_INLINE tq_subsets key_subsets(__m256i u, __m256i before)
{
    const __m256i v = _mm256_xor_si256(u, _mm256_or_si256(_mm256_slli_epi32(u, 1), _mm256_srli_epi32(before, 31)));
    const __m256i v_before = _mm256_xor_si256(before, _mm256_slli_epi32(before, 1)); /* All bits but the lowest. */
    const __m256i v1 = _mm256_or_si256(_mm256_slli_epi32(v, 1), _mm256_srli_epi32(v_before, 31));
    const __m256i u4 = _mm256_or_si256(_mm256_slli_epi32(u, 4), _mm256_srli_epi32(before, 28));
    const __m256i v5 = _mm256_or_si256(_mm256_slli_epi32(v, 5), _mm256_srli_epi32(v_before, 27));
    return (tq_subsets){_mm256_xor_si256(v1, u4), _mm256_xor_si256(u, v5)};
}

/* sums[r] += the products of one field with row r of the queries. */
TQ_INLINE void add_field(shape s, __m256i levels, const int32_t *q, size_t stride, __m256i *sums)
{
    const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(levels, 8), 8);
    const __m256i odd = _mm256_srai_epi16(levels, 8);
    for (size_t r = 0; r < s.n_rows; r++) {
        if (has_words(s.trellis, s.bits)) {
            sums[r] = dot_words(sums[r], even, in_all_lanes(q + r));
            sums[r] = dot_words(sums[r], odd, in_all_lanes(q + stride + r));
        } else {
            sums[r] = dot_bytes(sums[r], levels, in_all_lanes(q + r));
        }
    }
}

/* Adds the fields of a block, or of the half block at the end. */
TQ_INLINE void add_block(shape s, unsigned n_fields, const tq_fields *fields, const tq_tables *tables, const int32_t *q,
                         size_t stride, __m256i *sums)
{
    const size_t step = has_words(s.trellis, s.bits) ? 2 * stride : stride;
    for (unsigned k = 0; k < n_fields; k++) {
        const __m256i levels = field_levels(s.trellis, s.bits, fields, tables, k);
        add_field(s, levels, q + k * step, stride, sums + k % parts_of(s.n_rows) * s.n_rows);
    }
}

/* One half of each row of the blocks of 16 tokens t, at `at`: sums[r] of eight tokens with row first_row + r. */
TQ_INLINE void sum_half(shape s, const scores_call *call, const tq_tables *tables, size_t t, size_t at,
                        size_t first_row, __m256i *sums)
{
    const tq_code *code = call->code;
    const tq_prepared *p = call->prepared;
    const size_t stride = p->n_rows;
    const size_t n_blocks = code->dim / TQ_KEY_DIMS;
    const int32_t *q = p->dwords + first_row;
    __m256i before = _mm256_setzero_si256();
    for (size_t r = 0; r < s.n_rows * parts_of(s.n_rows); r++) {
        sums[r] = r < s.n_rows ? in_all_lanes(p->start + first_row + r) : _mm256_setzero_si256();
    }
    if (s.trellis) {
        before = load_field(call->page + tq_key_block_at(code, n_blocks - 1, t) + at);
    }
    for (size_t b = 0; b < n_blocks; b++) {
        const uint8_t *rows = call->page + tq_key_block_at(code, b, t) + at;
        tq_fields fields;
        if (s.trellis) {
            const __m256i u = load_field(rows);
            fields = trellis_fields(s.bits, rows, key_subsets(u, before));
            before = u;
        } else {
            fields = lloyd_fields(s.bits, rows);
        }
        add_block(s, FIELDS, &fields, tables, q, stride, sums);
        q += FIELDS * (has_words(s.trellis, s.bits) ? 2 * stride : stride);
    }
    if (!s.trellis && s.bits % 2 == 0 && code->dim % TQ_KEY_DIMS != 0) {
        const tq_fields fields = lloyd_fields(s.bits / 2, call->page + tq_key_block_at(code, n_blocks, t) + at);
        add_block(s, FIELDS / 2, &fields, tables, q, stride, sums);
    }
    for (size_t r = s.n_rows; r < s.n_rows * parts_of(s.n_rows); r++) {
        sums[r % s.n_rows] = _mm256_add_epi32(sums[r % s.n_rows], sums[r]);
    }
}

/* From sums of integers, [n_rows], to scores. */
TQ_INLINE void finish(const scores_call *call, size_t token, const __m256i *sums)
{
    const tq_prepared *p = call->prepared;
    const __m256 high_unit = _mm256_set1_ps(form_of(call->code).words ? 1 : 256);
    for (size_t i = 0; i < call->n_q; i++) {
        __m256 inner = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[i * p->rows_of_a_query]), high_unit);
        if (p->rows_of_a_query == 2) {
            inner = _mm256_add_ps(inner, _mm256_cvtepi32_ps(sums[2 * i + 1]));
        }
        inner = _mm256_fmadd_ps(inner, _mm256_set1_ps(p->factor[i]), _mm256_set1_ps(p->bias[i]));
        store_scores(call, i, token, inner);
    }
}

/* The rows of tile t are in `next` where they are in this page. */
TQ_INLINE void fetch_tile(const scores_call *call, size_t t)
{
    const size_t bytes = tq_page_scales_at(call->code) / TQ_KEY_TILES;
    for (size_t at = t * bytes; call->next != NULL && at < (t + 1) * bytes; at += 64) {
        _mm_prefetch((const char *)call->next + at, _MM_HINT_T0);
    }
}

TQ_INLINE void scores_of(shape s, const scores_call *call)
{
    const tq_prepared *p = call->prepared;
    const tq_query_form form = form_of(call->code);
    const tq_tables tables = make_tables(s.trellis, s.bits, form.levels.k, form.offset);
    for (size_t t = call->first / TQ_KEY_TOKENS; t * TQ_KEY_TOKENS < call->first + call->n; t++) {
        fetch_tile(call, t);
        for (size_t half = 0; half < TQ_KEY_TOKENS / LANES; half++) {
            __m256i sums[TQ_QUERY_ROWS];
            for (size_t r = 0; r < p->n_rows; r += s.n_rows) {
                sum_half(s, call, &tables, t, half * FIELD_BYTES, r, sums + r);
            }
            finish(call, t * TQ_KEY_TOKENS + half * LANES, sums);
        }
    }
}

typedef void scores_kernel(const scores_call *call);

/* Kernels are made for 1, 2, 4 and 8 rows. */
#define TQ_SCORES_KERNEL(trellis, bits, n_rows)                                                                        \
    TQ_APART void scores_##trellis##bits##n_rows(const scores_call *call)                                              \
    {                                                                                                                  \
        scores_of((shape){trellis, bits, n_rows}, call);                                                               \
    }
#define TQ_SCORES_KERNELS(trellis, bits)                                                                               \
    TQ_SCORES_KERNEL(trellis, bits, 1)                                                                                 \
    TQ_SCORES_KERNEL(trellis, bits, 2)                                                                                 \
    TQ_SCORES_KERNEL(trellis, bits, 4)                                                                                 \
    TQ_SCORES_KERNEL(trellis, bits, 8)
TQ_SCORES_KERNELS(0, 1)
TQ_SCORES_KERNELS(0, 2)
TQ_SCORES_KERNELS(0, 3)
TQ_SCORES_KERNELS(0, 4)
TQ_SCORES_KERNELS(1, 2)
TQ_SCORES_KERNELS(1, 3)
TQ_SCORES_KERNELS(1, 4)

#define TQ_SCORES_FOR(trellis, bits)                                                                                   \
    {                                                                                                                  \
        scores_##trellis##bits##1, scores_##trellis##bits##2, scores_##trellis##bits##4, scores_##trellis##bits##8     \
    }

static scores_kernel *kernel_for(const tq_code *code, size_t n_rows)
{
    static scores_kernel *const lloyd[4][4] = {TQ_SCORES_FOR(0, 1), TQ_SCORES_FOR(0, 2), TQ_SCORES_FOR(0, 3),
                                               TQ_SCORES_FOR(0, 4)};
    static scores_kernel *const trellis[3][4] = {TQ_SCORES_FOR(1, 2), TQ_SCORES_FOR(1, 3), TQ_SCORES_FOR(1, 4)};
    const size_t rows_at = n_rows >= 8 ? 3 : n_rows / 2; /* 1, 2, 4, 8 and 16 */
    return code->trellis.bits != 0 ? trellis[code->bits - 2][rows_at] : lloyd[code->bits - 1][rows_at];
}

void TQ_KERNEL(page_query)(const tq_code *code, const float *q, size_t n_q, void *prepared)
{
    if (tq_page_query_is_integer(code)) {
        tq_page_query_round(code, form_of(code), q, n_q, prepared);
    } else {
        tq_page_query_scalar(code, q, n_q, prepared);
    }
}

void TQ_KERNEL(page_scores)(const tq_code *code, const void *prepared, size_t n_q, const float *q_mean,
                            const uint8_t *page, size_t first, size_t n, const uint8_t *next, float *scores,
                            size_t stride)
{
    const scores_call call = {code, prepared, n_q, q_mean, page, first, n, next, scores, stride};
    if (tq_page_query_is_integer(code)) {
        kernel_for(code, ((const tq_prepared *)prepared)->n_rows)(&call);
    } else if (tq_page_is_tiled(code, TQ_PAGE_KEYS)) {
        tq_eight_scores_avx2(&call);
    } else {
        tq_page_scores_scalar(code, prepared, n_q, q_mean, page, first, n, next, scores, stride);
    }
}

#endif /* TQ_PAGE_SCORES_DOT_H */
