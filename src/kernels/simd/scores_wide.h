/* SPDX-License-Identifier: MIT
 *
 * Scores of encoded rows, for the backends whose row_levels_*.h was included before:
 *
 *     lloyd_scores, trellis_scores    for k, i: scores[i * stride + k] = s_k / dim * sum over j: q_ij * level_kj
 *     sign_scores                     for k, i: scores[i * stride + k] += |r_k| * sum over j: q_ij * sign_kj
 *
 * Levels are f32 as in the scalar backend, looked up in registers and multiplied at once: nothing is rounded but sums.
 * The query is ordered first, as row_levels_*.h says, and filled up with zeros:
 *
 *     ordered query   [block][register][lane]      times levels of the same shape, which a block of a row becomes
 *
 * A tile of 1, 2 or 4 queries x up to 4 keys keeps its sums in registers; the levels of a key serve all queries, the
 * register of a query all keys. Where dim ends within a block, whatever is read beyond it becomes some level, times 0.
 * Keys that fill no tile are joined by copies of the last one, whose scores are not kept. WITHIN 2e-6. */
#ifndef TQ_SCORES_WIDE_H
#define TQ_SCORES_WIDE_H

#include "kernels/simd/rows_wide.h"

enum { MOST_QUERIES = 4, MOST_KEYS = 4 };

/* A chunk, and what becomes of it: sums before they are multiplied with the scale, and fp16 scales. */
typedef struct score_work {
    const row_codes *codes;
    const float *q; /* Ordered. */
    const uint8_t *rows;
    size_t n;
    float totals[MOST_QUERIES][CHUNK];
    uint16_t factors[CHUNK];
} score_work;

/* Block `block` of a tile. */
TQ_INLINE void score_block(row_kind kind, const level_tables *tables, size_t n_q, size_t n_keys, const float *q,
                           size_t n_blocks, const uint8_t *const *keys, size_t block, wide *sums)
{
    TQ_UNROLL
    for (size_t first = 0; first < n_keys; first += KEYS_TOGETHER) {
        row_block blocks[KEYS_TOGETHER];
        TQ_UNROLL
        for (size_t k = 0; k < KEYS_TOGETHER; k++) {
            blocks[k] = load_block(kind, tables, keys[first + k], block);
        }
        TQ_UNROLL
        for (unsigned m = 0; m < REGISTERS; m++) {
            wide level[KEYS_TOGETHER];
            TQ_UNROLL
            for (size_t k = 0; k < KEYS_TOGETHER; k++) {
                level[k] = block_level(kind, tables, &blocks[k], m);
            }
            TQ_UNROLL
            for (size_t i = 0; i < n_q; i++) {
                const wide x = wide_load(q + (i * n_blocks + block) * BLOCK + m * WIDE, WIDE);
                TQ_UNROLL
                for (size_t k = 0; k < KEYS_TOGETHER; k++) {
                    wide *sum = &sums[i * n_keys + first + k];
                    *sum = wide_fused(level[k], x, *sum);
                }
            }
        }
    }
}

/* All keys of a chunk with n_q queries. All but `work` are constants; is_usual: dim is USUAL_DIM, two blocks. */
TQ_INLINE void score_chunk(row_kind kind, size_t n_q, bool is_usual, score_work *work)
{
    const row_codes codes = *work->codes; /* A copy that no store may change. */
    const size_t n_keys = least(SUMS_AT_ONCE / n_q, MOST_KEYS);
    const level_tables tables = make_tables(kind, is_usual ? USUAL_DIM : codes.dim, codes.levels);
    const uint8_t *row = work->rows;
    for (size_t k = 0; k < work->n; k += n_keys) {
        const uint8_t *keys[MOST_KEYS];
        wide sums[MOST_QUERIES * MOST_KEYS];
        float totals[MOST_QUERIES * MOST_KEYS];
        for (size_t r = 0; r < n_keys; r++) {
            work->factors[k + r] = tq_load_le16(row + codes.factor_at);
            keys[r] = row + codes.codes_at;
            row += k + r + 1 < work->n ? codes.row_bytes : 0;
        }
        TQ_UNROLL
        for (size_t s = 0; s < n_q * n_keys; s++) {
            sums[s] = wide_all(0);
        }
        if (is_usual) {
            score_block(kind, &tables, n_q, n_keys, work->q, 2, keys, 0, sums);
            score_block(kind, &tables, n_q, n_keys, work->q, 2, keys, 1, sums);
        }
        for (size_t block = 0; !is_usual && block < codes.n_blocks; block++) {
            score_block(kind, &tables, n_q, n_keys, work->q, codes.n_blocks, keys, block, sums);
        }
        TQ_UNROLL
        for (size_t s = 0; s < n_q * n_keys; s += 4) {
            wide_store_sums(totals + s, sums + s);
        }
        for (size_t i = 0; i < n_q; i++) {
            memcpy(work->totals[i] + k, totals + i * n_keys, n_keys * sizeof *totals);
        }
    }
}

typedef void score_function(score_work *work);

#define SCORES(name, bits, trellis, n_q)                                                                               \
    static void score_##name##_##n_q(score_work *work)                                                                 \
    {                                                                                                                  \
        if ((trellis) && USUAL_DIM != 0 && work->codes->dim == USUAL_DIM) {                                            \
            score_chunk((row_kind){bits, trellis}, n_q, true, work);                                                   \
        } else {                                                                                                       \
            score_chunk((row_kind){bits, trellis}, n_q, false, work);                                                  \
        }                                                                                                              \
    }
#define SCORES_OF(name, bits, trellis)                                                                                 \
    SCORES(name, bits, trellis, 1) SCORES(name, bits, trellis, 2) SCORES(name, bits, trellis, 4)
#define NAMES_OF(name)                                                                                                 \
    {                                                                                                                  \
        score_##name##_1, score_##name##_2, score_##name##_4                                                           \
    }

SCORES_OF(lloyd1, 1, false)
SCORES_OF(lloyd2, 2, false)
SCORES_OF(lloyd3, 3, false)
SCORES_OF(lloyd4, 4, false)
SCORES_OF(lloyd8, 8, false)
SCORES_OF(trellis2, 2, true)
SCORES_OF(trellis3, 3, true)
SCORES_OF(trellis4, 4, true)

static score_function *const SCORE_CHUNK[KINDS][3] = {NAMES_OF(lloyd1),   NAMES_OF(lloyd2),  NAMES_OF(lloyd3),
                                                      NAMES_OF(lloyd4),   NAMES_OF(lloyd8),  NAMES_OF(trellis2),
                                                      NAMES_OF(trellis3), NAMES_OF(trellis4)};

/* scores = factor * totals, or += */
TQ_INLINE void keep_scores(const float *totals, const float *factors, size_t n, bool add, float *scores)
{
    if (add) {
        for (size_t k = 0; k < n; k++) {
            scores[k] += factors[k] * totals[k];
        }
    } else {
        for (size_t k = 0; k < n; k++) {
            scores[k] = factors[k] * totals[k];
        }
    }
}

/* Scores of all rows with n_q queries, 1, 2 or 4. */
TQ_APART void score_tile(const row_codes *codes, const row_chunks *chunks, const float *q, size_t n_q, bool sign,
                         float *scores, size_t stride)
{
    float ordered[ORDERED_FLOATS];
    float factors[CHUNK];
    score_work work;
    score_function *score = SCORE_CHUNK[kind_place(codes->kind)][n_q / 2];
    const float divisor = sign ? 1 : (float)codes->dim;
    for (size_t i = 0; i < n_q; i++) {
        order_vector(q + i * codes->dim, codes->dim, ordered + i * codes->n_blocks * BLOCK);
    }
    work.codes = codes;
    work.q = ordered;
    memset(work.factors, 0, sizeof work.factors);
    for (size_t k = 0; k < chunks->n; k += work.n) {
        work.n = chunk_at(chunks, codes->row_bytes, k, &work.rows);
        score(&work);
        widen_factors(codes, work.factors, factors);
        for (size_t j = 0; j < CHUNK; j++) {
            factors[j] /= divisor;
        }
        for (size_t i = 0; i < n_q; i++) {
            keep_scores(work.totals[i], factors, work.n, sign, scores + i * stride + k);
        }
    }
}

TQ_APART void score_rows(const row_codes *codes, const float *q, size_t n_q, const uint8_t *rows, size_t n, bool sign,
                         float *scores, size_t stride)
{
    row_chunks chunks;
    chunks_begin(&chunks, codes, rows, n);
    for (size_t i = 0; i < n_q;) {
        const size_t tile = rows_of_tile(codes, n_q - i, MOST_QUERIES);
        score_tile(codes, &chunks, q + i * codes->dim, tile, sign, scores + i * stride, stride);
        i += tile;
    }
}

void TQ_KERNEL(lloyd_scores)(const tq_code *code, const float *q, size_t n_q, const uint8_t *rows, size_t n,
                             float *scores, size_t stride)
{
    const row_codes codes = lloyd_codes(code);
    score_rows(&codes, q, n_q, rows, n, false, scores, stride);
}

void TQ_KERNEL(trellis_scores)(const tq_code *code, const float *q, size_t n_q, const uint8_t *rows, size_t n,
                               float *scores, size_t stride)
{
    float levels[TRELLIS_LEVELS];
    const row_codes codes = trellis_codes(code, levels);
    score_rows(&codes, q, n_q, rows, n, false, scores, stride);
}

void TQ_KERNEL(sign_scores)(const tq_code *code, const float *q, size_t n_q, const uint8_t *rows, size_t n,
                            float *scores, size_t stride)
{
    const row_codes codes = sign_codes(code);
    score_rows(&codes, q, n_q, rows, n, true, scores, stride);
}

#endif /* TQ_SCORES_WIDE_H */
