/* SPDX-License-Identifier: MIT
 *
 * Scores of a page of keys, for the backends whose dot_*.h was included before:
 *
 *     for queries i, for keys k: scores[i][k] = s_k / dim * sum over j: q_ij level_kj, + q_mean_i if centred
 *
 * Keys lie as pages_x86.h says: a register of levels holds 4 tokens x 4 dimensions, and is looked up once for all
 * queries. It is multiplied with the four integers of a query that belong to it:
 *
 *     levels       t0: k0 k1 k2 k3 | t1: k0 k1 k2 k3 | t2: .. | t3: ..       bytes
 *     query        q0 q1 q2 q3     | the same in all lanes
 *     sums         t0              | t1              | t2     | t3           += four products
 *
 * so sums of different tokens never meet. The halves of levels, level = (k + half) step, are added in floats at the
 * end. Queries are laid out as page_query_avx2.h says.
 *
 * Tiles of 16 tokens are computed whole; tokens outside of first .. first + n - 1 are not stored. With each tile a
 * quarter of the page `next` is fetched. WITHIN 7e-2 units. */
#ifndef TQ_PAGE_SCORES_DOT_NEON_H
#define TQ_PAGE_SCORES_DOT_NEON_H

#include "kernels/neon/fields_neon.h"
#include "kernels/neon/neon.h"
#include "kernels/neon/pages_neon.h"
#include "kernels/x86/page_query_avx2.h"

enum { LANES = 4 };

/* How many quarters of a tile are worked on at once, for each load of the integers of n rows of queries: as many as
 * leave room for sums and levels, of which a trellis takes more. */
#define TQ_QUARTERS(trellis, n)                                                                                        \
    ((n)*DOT_REGISTERS >= ((trellis) ? 8 : 16) ? 1 : (n)*DOT_REGISTERS >= 4 || (trellis) ? 2 : QUARTERS)

/* The arguments of page_scores. */
typedef struct scores_call {
    const tq_code *code;
    const tq_prepared *prepared;
    size_t n_q;
    const float *q_mean;
    const uint8_t *page;
    size_t first;
    size_t n;
    const uint8_t *next;
    float *scores;
    size_t stride;
} scores_call;

/* What a kernel is compiled for: constants. */
typedef struct shape {
    bool trellis;
    unsigned bits;
    size_t n_rows;   /* Of queries, at once. */
    size_t quarters; /* Of a tile of 16 tokens, at once: 1, 2 or 4. */
} shape;

/* The subset bits of 32 dimensions: consecutive coded bits u[t] are consecutive bits of a dword; `before` has the
 * dwords of the 32 dimensions before. With v[t] = u[t] ^ u[t-1], they are v[t-1] ^ u[t-4] and u[t] ^ v[t-5]. */
TQ_INLINE tq_subsets key_subsets(uint8x16_t coded, uint8x16_t coded_before)
{
    const uint32x4_t u = vreinterpretq_u32_u8(coded);
    const uint32x4_t before = vreinterpretq_u32_u8(coded_before);
    const uint32x4_t v = veorq_u32(u, vsriq_n_u32(u << 1, before, 31));
    const uint32x4_t v_before = veorq_u32(before, before << 1); /* All bits but the lowest. */
    const uint32x4_t v1 = vsriq_n_u32(v << 1, v_before, 31);
    const uint32x4_t u4 = vsriq_n_u32(u << 4, before, 28);
    const uint32x4_t v5 = vsriq_n_u32(v << 5, v_before, 27);
    return (tq_subsets){vreinterpretq_u8_u32(veorq_u32(v1, u4)), vreinterpretq_u8_u32(veorq_u32(u, v5))};
}

/* Adds the fields of a block, or of the half block at the end, of some quarters: sums[r][quarter] are those of row r.
 */
TQ_INLINE void add_block(shape s, unsigned n_fields, const tq_fields *fields, const tq_tables *tables, const int32_t *q,
                         dot_sum (*sums)[QUARTERS])
{
    TQ_UNROLL
    for (unsigned k = 0; k < n_fields; k += 2) {
        TQ_UNROLL
        for (size_t quarter = 0; quarter < s.quarters; quarter++) {
            const int8x16_t a = field_levels(s.trellis, s.bits, &fields[quarter], tables, k);
            const int8x16_t b = field_levels(s.trellis, s.bits, &fields[quarter], tables, k + 1);
            TQ_UNROLL
            for (size_t r = 0; r < s.n_rows; r++) {
                dot_sum *sum = &sums[r][quarter];
                *sum = dot_two(*sum, a, b, q, k * s.n_rows + r, (k + 1) * s.n_rows + r);
            }
        }
    }
}

/* Sums of those quarters of tile t that begin at `at` in each row of its blocks: to[r][quarter] are those of row r. */
TQ_INLINE void sum_tile(shape s, const scores_call *call, const tq_tables *tables, size_t t, size_t at,
                        const int32_t *q, int32x4_t (*to)[QUARTERS])
{
    const tq_code *code = call->code;
    const uint8_t *block = call->page + tq_key_block_at(code, 0, t) + at;
    const size_t to_next = (size_t)TQ_ROW_BYTES * TQ_KEY_TILES * s.bits;
    const uint8_t *end = block + code->dim / TQ_KEY_DIMS * to_next;
    uint8x16_t before[QUARTERS];
    tq_fields fields[QUARTERS];
    dot_sum sums[TQ_QUERY_GROUP][QUARTERS];
    TQ_UNROLL
    for (size_t r = 0; r < s.n_rows; r++) {
        TQ_UNROLL
        for (size_t quarter = 0; quarter < s.quarters; quarter++) {
            sums[r][quarter] = dot_zero();
        }
    }
    for (size_t quarter = 0; s.trellis && quarter < s.quarters; quarter++) {
        before[quarter] = vld1q_u8(end - to_next + quarter * FIELD_BYTES);
    }
    for (; block < end; block += to_next) {
        TQ_UNROLL
        for (size_t quarter = 0; quarter < s.quarters; quarter++) {
            const uint8_t *rows = block + quarter * FIELD_BYTES;
            if (s.trellis) {
                const uint8x16_t u = vld1q_u8(rows);
                fields[quarter] = trellis_fields(s.bits, rows, key_subsets(u, before[quarter]));
                before[quarter] = u;
            } else {
                fields[quarter] = lloyd_fields(s.bits, rows);
            }
        }
        add_block(s, FIELDS, fields, tables, q, sums);
        q += FIELDS * s.n_rows;
    }
    if (!s.trellis && s.bits % 2 == 0 && code->dim % TQ_KEY_DIMS != 0) {
        const uint8_t *last = call->page + tq_key_block_at(code, code->dim / TQ_KEY_DIMS, t) + at;
        TQ_UNROLL
        for (size_t quarter = 0; quarter < s.quarters; quarter++) {
            fields[quarter] = lloyd_fields(s.bits / 2, last + quarter * FIELD_BYTES);
        }
        add_block(s, FIELDS / 2, fields, tables, q, sums);
    }
    TQ_UNROLL
    for (size_t r = 0; r < s.n_rows; r++) {
        TQ_UNROLL
        for (size_t quarter = 0; quarter < s.quarters; quarter++) {
            to[r][quarter] = dot_total(sums[r][quarter]);
        }
    }
}

TQ_INLINE void store_scores(const scores_call *call, size_t token, float *row, float32x4_t scores)
{
    if (token >= call->first && token + LANES <= call->first + call->n) {
        vst1q_f32(row + (token - call->first), scores);
        return;
    }
    float lanes[LANES];
    vst1q_f32(lanes, scores);
    for (size_t l = 0; l < LANES; l++) {
        if (token + l >= call->first && token + l < call->first + call->n) {
            row[token + l - call->first] = lanes[l];
        }
    }
}

/* From the integer sums of four tokens, sums[row][quarter], to scores. */
TQ_INLINE void finish(const scores_call *call, size_t token, int32x4_t (*sums)[QUARTERS], size_t quarter)
{
    const tq_prepared *p = call->prepared;
    const uint8_t *scales_at = call->page + tq_page_scales_at(call->code) + 2 * token;
    const float32x4_t scales = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(scales_at)));
    const uint32x4_t has_mean = vcgezq_s32(vreinterpretq_s32_f32(scales)); /* No sign bit. */
    for (size_t i = 0; i < call->n_q; i++) {
        float32x4_t inner = vcvtq_f32_s32(sums[i * p->rows_of_a_query][quarter]);
        if (p->rows_of_a_query == 2) {
            inner = vfmaq_n_f32(vcvtq_f32_s32(sums[2 * i + 1][quarter]), inner, TQ_QUERY_RADIX);
        }
        inner = vfmaq_n_f32(vdupq_n_f32(p->bias[i]), inner, p->factor[i]);
        float32x4_t scores = vmulq_f32(inner, vabsq_f32(scales));
        if (call->q_mean != NULL) {
            const uint32x4_t mean = vreinterpretq_u32_f32(vdupq_n_f32(call->q_mean[i]));
            scores = vaddq_f32(scores, vreinterpretq_f32_u32(vandq_u32(mean, has_mean)));
        }
        store_scores(call, token, call->scores + i * call->stride, scores);
    }
}

/* Fetches quarter t of the next page, its scales among it. */
TQ_INLINE void fetch_quarter(const scores_call *call, size_t t)
{
    const size_t bytes = TQ_KEY_TOKENS * call->code->row_bytes;
    for (size_t at = t * bytes; call->next != NULL && at < (t + 1) * bytes; at += TQ_ROW_BYTES) {
        TQ_PREFETCH((const char *)call->next + at);
    }
}

TQ_INLINE void scores_of(shape s, const scores_call *call)
{
    const tq_prepared *p = call->prepared;
    const tq_tables tables = make_tables(s.trellis, s.bits, tq_integer_levels(call->code).k);
    for (size_t t = call->first / TQ_KEY_TOKENS; t * TQ_KEY_TOKENS < call->first + call->n; t++) {
        fetch_quarter(call, t);
        for (size_t from = 0; from < QUARTERS; from += s.quarters) {
            int32x4_t sums[TQ_QUERY_ROWS][QUARTERS];
            for (size_t r = 0; r < p->n_rows; r += s.n_rows) {
                const int32_t *q = p->dwords + r / s.n_rows * p->dwords_of_a_group;
                sum_tile(s, call, &tables, t, from * FIELD_BYTES, q, sums + r);
            }
            for (size_t quarter = 0; quarter < s.quarters; quarter++) {
                finish(call, t * TQ_KEY_TOKENS + (from + quarter) * LANES, sums, quarter);
            }
        }
    }
}

typedef void scores_kernel(const scores_call *call);

/* Kernels are made for 1, 2, 4 and 8 rows. */
#define TQ_SCORES_KERNEL(trellis, bits, n_rows)                                                                        \
    TQ_APART void scores_##trellis##bits##n_rows(const scores_call *call)                                              \
    {                                                                                                                  \
        scores_of((shape){trellis, bits, n_rows, TQ_QUARTERS(trellis, n_rows)}, call);                                 \
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

void TQ_KERNEL(page_scores)(const tq_code *code, const void *prepared, const float *q, size_t n_q, const uint8_t *page,
                            size_t first, size_t n, const uint8_t *mean, const uint8_t *next, float *scores,
                            size_t stride)
{
    float of_mean[TQ_PAGE_QUERIES];
    const float *q_mean = mean != NULL ? of_mean : NULL;
    if (mean != NULL) {
        tq_page_q_mean(code->dim, q, n_q, mean, of_mean);
    }
    if (tq_page_is_quartered(code, TQ_PAGE_KEYS)) {
        const scores_call call = {code, prepared, n_q, q_mean, page, first, n, next, scores, stride};
        kernel_for(code, call.prepared->rows_of_a_group)(&call);
    } else {
        tq_page_scores_of_rows(code, q, n_q, q_mean, page, first, n, scores, stride);
    }
}

#endif /* TQ_PAGE_SCORES_DOT_NEON_H */
