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
 * so sums of different tokens never meet. Levels are made unsigned by an offset, which the start of each sum takes off
 * again. The halves of levels, level = (k + half) step, are added in floats at the end.
 *
 * Tiles of 16 tokens are computed whole; tokens outside of first .. first + n - 1 are not stored. With each tile a
 * quarter of the page `next` is fetched. Contract: within 2.5e-3 |q||k|. */
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
    size_t halves; /* Of a tile of 16 tokens, at once: 1 or 2. */
} shape;

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

/* Sums of one row with the halves of a tile. Sums of few rows would wait for each other's additions, so even and odd
 * fields are added up apart. */
typedef struct row_sums {
    __m256i sum[2][2]; /* [field odd][half] */
} row_sums;

/* Adds the products of field k of the halves with all rows; q has the rows' dwords. */
TQ_INLINE void add_field(shape s, const tq_fields *fields, const tq_tables *tables, unsigned k, const int32_t *q,
                         row_sums *sums)
{
    const size_t part = s.n_rows * s.halves <= (s.trellis ? 2 : 4) ? k % 2 : 0;
    for (size_t half = 0; half < s.halves; half++) {
        const __m256i levels = field_levels(s.trellis, s.bits, &fields[half], tables, k);
        for (size_t r = 0; r < s.n_rows; r++) {
            __m256i *sum = &sums[r].sum[part][half];
            *sum = in_order(dot_bytes(*sum, levels, in_all_lanes(q + r)));
        }
    }
}

/* Adds n_fields fields of a block from `first` on. */
TQ_INLINE void add_fields(shape s, unsigned first, unsigned n_fields, const tq_fields *fields, const tq_tables *tables,
                          const int32_t *q, row_sums *sums)
{
    TQ_UNROLL
    for (unsigned k = 0; k < n_fields; k++) {
        add_field(s, fields, tables, first + k, q + k * s.n_rows, sums);
    }
}

/* Sums of tile t, or of that half of it that begins at `at` in each row of its blocks: to[r][half] are those of row r.
 */
TQ_INLINE void sum_tile(shape s, const scores_call *call, const tq_tables *tables, size_t t, size_t at,
                        const int32_t *start, const int32_t *q, __m256i (*to)[2])
{
    const tq_code *code = call->code;
    const uint8_t *block = call->page + tq_key_block_at(code, 0, t) + at;
    const size_t to_next = (size_t)TQ_ROW_BYTES * TQ_KEY_TILES * s.bits;
    const uint8_t *end = block + code->dim / TQ_KEY_DIMS * to_next;
    __m256i before[2];
    tq_fields fields[2];
    row_sums sums[TQ_QUERY_GROUP];
    for (size_t r = 0; r < s.n_rows; r++) {
        for (size_t half = 0; half < s.halves; half++) {
            sums[r].sum[0][half] = in_all_lanes(start + r);
            sums[r].sum[1][half] = _mm256_setzero_si256();
        }
    }
    for (size_t half = 0; s.trellis && half < s.halves; half++) {
        before[half] = load_field(end - to_next + half * FIELD_BYTES);
    }
    for (; block < end; block += to_next) {
        for (size_t half = 0; half < s.halves; half++) {
            const uint8_t *rows = block + half * FIELD_BYTES;
            if (s.trellis) {
                const __m256i u = load_field(rows);
                fields[half] = trellis_fields(s.bits, rows, key_subsets(u, before[half]));
                before[half] = u;
            } else {
                fields[half] = lloyd_fields(s.bits, rows);
            }
        }
        add_fields(s, 0, FIELDS, fields, tables, q, sums);
        q += FIELDS * s.n_rows;
    }
    if (!s.trellis && code->dim % TQ_KEY_DIMS != 0) {
        const uint8_t *shared = call->page + tq_key_block_at(code, code->dim / TQ_KEY_DIMS, t - t % 2) + at;
        for (size_t half = 0; half < s.halves; half++) {
            fields[half] = lloyd_fields(s.bits, shared + half * FIELD_BYTES);
        }
        if (t % 2 == 0) {
            add_fields(s, 0, FIELDS / 2, fields, tables, q, sums);
        } else {
            add_fields(s, FIELDS / 2, FIELDS / 2, fields, tables, q, sums);
        }
    }
    for (size_t r = 0; r < s.n_rows; r++) {
        for (size_t half = 0; half < s.halves; half++) {
            to[r][half] = _mm256_add_epi32(sums[r].sum[0][half], sums[r].sum[1][half]);
        }
    }
}

/* From the integer sums of half a tile, sums[row][half], to scores. */
TQ_INLINE void finish(const scores_call *call, size_t token, __m256i (*sums)[2], size_t half)
{
    const tq_prepared *p = call->prepared;
    const score_tokens tokens = score_tokens_at(call, token);
    for (size_t i = 0; i < call->n_q; i++) {
        __m256 inner = _mm256_cvtepi32_ps(sums[i * p->rows_of_a_query][half]);
        if (p->rows_of_a_query == 2) {
            const __m256 low = _mm256_cvtepi32_ps(sums[2 * i + 1][half]);
            inner = _mm256_fmadd_ps(inner, _mm256_set1_ps(TQ_QUERY_RADIX), low);
        }
        inner = _mm256_fmadd_ps(inner, _mm256_set1_ps(p->factor[i]), _mm256_set1_ps(p->bias[i]));
        store_scores(call, &tokens, i, inner);
    }
}

/* Fetches quarter t of the next page, its scales among it. */
TQ_INLINE void fetch_quarter(const scores_call *call, size_t t)
{
    const size_t bytes = TQ_KEY_TOKENS * call->code->row_bytes;
    for (size_t at = t * bytes; call->next != NULL && at < (t + 1) * bytes; at += TQ_ROW_BYTES) {
        _mm_prefetch((const char *)call->next + at, _MM_HINT_T0);
    }
}

TQ_INLINE void scores_of(shape s, const scores_call *call)
{
    const tq_prepared *p = call->prepared;
    const tq_query_form form = tq_query_form_of(call->code, DOT_MOST);
    const tq_tables tables = make_tables(s.trellis, s.bits, form.levels.k, form.offset);
    for (size_t t = call->first / TQ_KEY_TOKENS; t * TQ_KEY_TOKENS < call->first + call->n; t++) {
        fetch_quarter(call, t);
        for (size_t from = 0; from < 2; from += s.halves) {
            __m256i sums[TQ_QUERY_ROWS][2];
            for (size_t r = 0; r < p->n_rows; r += s.n_rows) {
                const int32_t *q = p->dwords + r / s.n_rows * p->dwords_of_a_group;
                sum_tile(s, call, &tables, t, from * FIELD_BYTES, p->start + r, q, sums + r);
            }
            for (size_t half = 0; half < s.halves; half++) {
                finish(call, t * TQ_KEY_TOKENS + (from + half) * LANES, sums, half);
            }
        }
    }
}

typedef void scores_kernel(const scores_call *call);

/* Kernels are made for 1, 2, 4 and 8 rows. */
#define TQ_SCORES_KERNEL(trellis, bits, n_rows)                                                                        \
    TQ_APART void scores_##trellis##bits##n_rows(const scores_call *call)                                              \
    {                                                                                                                  \
        scores_of((shape){trellis, bits, n_rows, TQ_HALVES(n_rows)}, call);                                            \
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
    const size_t rows_at = n_rows == 8 ? 3 : n_rows / 2;
    return code->trellis.bits != 0 ? trellis[code->bits - 2][rows_at] : lloyd[code->bits - 1][rows_at];
}

void TQ_KERNEL(page_query)(const tq_code *code, const float *q, size_t n_q, void *prepared)
{
    if (tq_page_query_is_integer(code)) {
        tq_page_query_round(code, tq_query_form_of(code, DOT_MOST), q, n_q, prepared);
    } else {
        tq_page_query_scalar(code, q, n_q, prepared);
    }
}

void TQ_KERNEL(page_scores)(const tq_code *code, const void *prepared, const float *q, size_t n_q, const uint8_t *page,
                            size_t first, size_t n, const uint8_t *mean, const uint8_t *next, float *scores,
                            size_t stride)
{
    float q_mean[TQ_PAGE_QUERIES];
    const scores_call call = {code, prepared, n_q, mean != NULL ? q_mean : NULL, page, first, n, next, scores, stride};
    if (mean != NULL && tq_page_is_tiled(code, TQ_PAGE_KEYS)) {
        tq_half_scores_avx2(code->dim, q, n_q, mean, 1, q_mean, 1);
        for (size_t i = 0; i < n_q; i++) {
            q_mean[i] /= (float)code->dim;
        }
    }
    if (tq_page_query_is_integer(code)) {
        kernel_for(code, ((const tq_prepared *)prepared)->rows_of_a_group)(&call);
    } else if (tq_page_is_tiled(code, TQ_PAGE_KEYS)) {
        tq_eight_scores_avx2(&call);
    } else if (code->bits == 0) {
        tq_half_scores_avx2(code->dim, prepared, n_q, page + first * code->row_bytes, n, scores, stride);
    } else {
        tq_page_scores_scalar(code, prepared, q, n_q, page, first, n, mean, next, scores, stride);
    }
}

#endif /* TQ_PAGE_SCORES_DOT_H */
