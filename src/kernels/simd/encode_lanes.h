/* SPDX-License-Identifier: MIT
 *
 * From a rotated vector to a row, for the backends whose lanes_*.h was included before, with `search_*` and `pack_32`
 * of their own:
 *
 *     for each gain: limit = norm / gain;
 *         for j: index[j] = number of thresholds t with y[j] >= t * limit;  c = centroid[index[j]];
 *                lane[j % 16] of yc += y[j] * c, of cc += c * c;
 *     keep the index with the largest yc / sqrt(cc), pack it
 *
 * Sixteen coordinates are searched at once; sums run in the lanes of exact.h. The 8-bit code searches every
 * 16th threshold, then compares each coordinate with the 16 thresholds that are left (gathers are slower). Indices go
 * through an array of bytes, 32 of which are packed at once.
 *
 * The tail of a vector is loaded in part and counts for nothing; indices behind it are zero, the end of the packed
 * bytes is stored in part. EXACT: no fused multiplication and addition in this file. */
#ifndef TQ_ENCODE_LANES_H
#define TQ_ENCODE_LANES_H

#include "half.h"
#include "kernels/pack.h"
#include "kernels/scale.h"

enum { PACKED_AT_ONCE = 32 };

/* One rounding of a vector, and the two sums that judge it. */
typedef struct rounding {
    uint8_t index[TQ_MAX_DIM + PACKED_AT_ONCE]; /* Zero behind the last. */
    float yc;                                   /* <y,c> */
    float cc;                                   /* <c,c> */
} rounding;

/* A code's thresholds and centroids in registers; of 8 bits, every 16th threshold. */
typedef struct code_tables {
    search thresholds;
    f32_table centroids;
} code_tables;

TQ_INLINE code_tables tables_make(const tq_code *code, unsigned bits)
{
    code_tables made;
    if (bits == 8) {
        float every16th[LANES];
        for (size_t i = 0; i + 1 < LANES; i++) {
            every16th[i] = code->thresholds[LANES * i + LANES - 1];
        }
        made.thresholds = search_make(every16th, 4, false);
        made.centroids = lanes_table(code->centroids, LANES); /* Not used. */
    } else {
        made.thresholds = search_make(code->thresholds, bits, true);
        made.centroids = lanes_table(code->centroids, (size_t)1 << bits);
    }
    return made;
}

/* The lower half of an 8-bit search, one coordinate at a time: `top`, from the upper half, says which sixteen of 256
 * thresholds are left (the last is larger than y). Also looks up the centroids c. */
TQ_INLINE i32x16 search_lower(const tq_code *code, const float *thresholds, i32x16 top, f32x16 y, f32x16 *c)
{
    uint32_t index[LANES];
    float coordinate[LANES];
    float centroid[LANES];
    lanes_store_i32(index, lanes_shift_left(top, 4));
    lanes_store(coordinate, y);
    for (size_t l = 0; l < LANES; l++) {
        index[l] += lanes_reached(thresholds + index[l], coordinate[l]);
        centroid[l] = code->centroids[index[l]];
    }
    *c = lanes_load(centroid);
    return lanes_load_i32(index);
}

/* What a rounding is made of: tables multiplied by the limit, and the sums so far, in lanes. */
typedef struct rounding_state {
    search thresholds;
    f32_table centroids;
    f32x16 yc;
    f32x16 cc;
} rounding_state;

/* Rounds the first n of sixteen coordinates. `thresholds` are those of 8 bits, multiplied by the limit. */
TQ_INLINE i32x16 round_lanes(const tq_code *code, unsigned bits, rounding_state *state, const float *thresholds,
                             const float *y, size_t n)
{
    const f32x16 a = n == LANES ? lanes_load(y) : lanes_load_part(y, n);
    i32x16 index;
    f32x16 c;
    if (bits == 8) {
        index = search_lower(code, thresholds, search_count(state->thresholds, 4, false, a), a, &c);
    } else {
        index = search_count(state->thresholds, bits, true, a);
        c = lanes_lookup(state->centroids, bits, index);
    }
    c = n == LANES ? c : lanes_keep(c, n);
    state->yc = lanes_add(state->yc, lanes_mul(a, c));
    state->cc = lanes_add(state->cc, lanes_mul(c, c));
    return index;
}

/* The 255 thresholds of 8 bits times the limit, and one that is never reached. */
TQ_INLINE void multiply_thresholds(const float *unit, float limit, float *thresholds)
{
    for (size_t t = 0; t < 256; t += LANES) {
        const f32x16 a = lanes_load_part(unit + t, lanes_left(255, t));
        lanes_store(thresholds + t, lanes_mul(a, lanes_all(limit)));
    }
    thresholds[255] = INFINITY;
}

TQ_INLINE void round_to_code(const tq_code *code, unsigned bits, const code_tables *tables, const float *y, float limit,
                             rounding *out)
{
    const size_t dim = code->dim;
    rounding_state state = {search_scale(tables->thresholds, bits == 8 ? 4 : bits, bits != 8, limit), tables->centroids,
                            lanes_all(0), lanes_all(0)};
    float thresholds[256];
    if (bits == 8) {
        multiply_thresholds(code->thresholds, limit, thresholds);
    }
    size_t j = 0;
    for (; j + 2 * LANES <= dim; j += 2 * LANES) {
        const i32x16 first = round_lanes(code, bits, &state, thresholds, y + j, LANES);
        const i32x16 second = round_lanes(code, bits, &state, thresholds, y + j + LANES, LANES);
        lanes_store_u8(out->index + j, first, second);
    }
    if (j < dim) {
        const size_t n = lanes_left(dim, j);
        const i32x16 first = round_lanes(code, bits, &state, thresholds, y + j, n);
        const i32x16 second = round_lanes(code, bits, &state, thresholds, y + j + n, dim - j - n);
        lanes_store_u8(out->index + j, first, second);
        memset(out->index + dim, 0, PACKED_AT_ONCE);
    }
    out->yc = lanes_sum(state.yc);
    out->cc = lanes_sum(state.cc);
}

TQ_INLINE void pack_plane(const uint8_t *index, size_t dim, int shift, unsigned bits, uint8_t *packed)
{
    size_t j = 0;
    for (; j + PACKED_AT_ONCE <= dim; j += PACKED_AT_ONCE) {
        pack_32(index + j, shift, bits, packed + j * bits / 8);
    }
    if (j < dim) {
        uint8_t last[PACKED_AT_ONCE / 2];
        pack_32(index + j, shift, bits, last);
        memcpy(packed + j * bits / 8, last, tq_plane_bytes(dim - j, bits));
    }
}

TQ_INLINE void pack(const uint8_t *index, size_t dim, unsigned bits, uint8_t *packed)
{
    if (bits == 8) {
        memcpy(packed, index, dim);
    } else if (bits == 3) {
        pack_plane(index, dim, 0, 2, packed);
        pack_plane(index, dim, 2, 1, packed + tq_plane_bytes(dim, 2));
    } else {
        pack_plane(index, dim, 0, bits, packed);
    }
}

TQ_INLINE void encode_row(const tq_code *code, unsigned bits, const code_tables *tables, const float *y, float norm,
                          uint8_t *row)
{
    rounding tries[2];
    rounding *best = &tries[0];
    rounding *other = &tries[1];
    round_to_code(code, bits, tables, y, norm / code->gains[0], best);
    for (size_t g = 1; g < code->n_gains; g++) {
        round_to_code(code, bits, tables, y, norm / code->gains[g], other);
        if (tq_alignment(other->yc, other->cc) > tq_alignment(best->yc, best->cc)) {
            rounding *better = other;
            other = best;
            best = better;
        }
    }
    const uint16_t scale = tq_f16_from_f32(tq_stored_scale(code->scale, code->dim, best->yc, best->cc, norm));
    if (scale == 0 || code->signs_at != 0) { /* Else the scale and the codes fill the row. */
        memset(row, 0, code->row_bytes);
    }
    if (scale != 0) {
        tq_store_le16(row, scale);
        pack(best->index, code->dim, bits, row + code->codes_at);
    }
}

/* The tables are made once for all rows: on AVX-512 that takes a fifth of the time of a row. */
TQ_INLINE void encode(const tq_code *code, unsigned bits, const float *y, const float *sum_squares, size_t n,
                      uint8_t *rows)
{
    const code_tables tables = tables_make(code, bits);
    for (size_t i = 0; i < n; i++) {
        uint8_t *row = rows + i * code->row_bytes;
        if (sum_squares[i] < 0x1p-126F) { /* As in encode_scalar.c. */
            memset(row, 0, code->row_bytes);
        } else {
            encode_row(code, bits, &tables, y + i * code->dim, sqrtf(sum_squares[i]), row);
        }
    }
}

void TQ_KERNEL(lloyd_encode)(const tq_code *code, const float *y, const float *sum_squares, size_t n, uint8_t *rows)
{
    switch (code->bits) {
    case 1:
        encode(code, 1, y, sum_squares, n, rows);
        break;
    case 2:
        encode(code, 2, y, sum_squares, n, rows);
        break;
    case 3:
        encode(code, 3, y, sum_squares, n, rows);
        break;
    case 4:
        encode(code, 4, y, sum_squares, n, rows);
        break;
    default:
        encode(code, 8, y, sum_squares, n, rows);
        break;
    }
}

void TQ_KERNEL(sign_encode)(const tq_code *code, const float *projection, float residual_norm, uint8_t *row)
{
    tq_store_le16(row + TQ_CODE_RESIDUAL_AT, tq_f16_from_f32(residual_norm));
    for (size_t j = 0; j < code->dim; j += LANES) {
        const size_t n = lanes_left(code->dim, j);
        const unsigned positive = lanes_not_negative(lanes_load_part(projection + j, n)) & ((1U << n) - 1);
        const uint8_t bytes[2] = {(uint8_t)positive, (uint8_t)(positive >> 8)};
        memcpy(row + code->signs_at + j / 8, bytes, tq_plane_bytes(n, 1));
    }
}

#endif /* TQ_ENCODE_LANES_H */
