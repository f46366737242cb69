/* SPDX-License-Identifier: MIT
 *
 * From a row to a rotated vector, for the backends whose lanes_*.h was included before:
 *
 *     Lloyd-Max    for j: y[j] = s * centroid[index[j]]
 *     trellis      for t: s0 = u[t-1] ^ u[t-2] ^ u[t-4];  s1 = u[t] ^ u[t-5] ^ u[t-6];
 *                         y[t] = s * (k[4 n[t] + 2 s1 + s0] + 1/2) * step
 *
 * Sixteen coordinates at once. Their fields of 1, 2 or 4 bits lie side by side in one or two words, which are broadcast
 * and shifted by another count in every lane:
 *
 *     word:  .. f3 f2 f1 f0        lane l:  word >> l * bits
 *
 * Bits above a field are other coordinates'; look-ups do not see them, or they are masked. The parities of a trellis
 * are taken of sixteen windows at once: with w the coded bits from t - 8 on, u[t-i] of all of them is w >> (8 - i).
 *
 * The tail, dim mod 16, is read byte by byte and stored in part. WITHIN 1e-6. */
#ifndef TQ_DECODE_LANES_H
#define TQ_DECODE_LANES_H

#include "half.h"
#include "kernels/pack.h"
#include "kernels/scalar/rows_scalar.h"

/* A table of 2 * LANES values. */
typedef struct f32_table32 {
    f32_table low, high;
} f32_table32;

/* The first 8 n bits, n <= 8, of what a plane holds from `bytes` on. */
TQ_INLINE uint64_t load_bytes(const uint8_t *bytes, size_t n)
{
    uint64_t word = 0;
    memcpy(&word, bytes, n);
    return word;
}

/* Indices of coordinates j .. j + n - 1, with other bits above the index. */
TQ_INLINE i32x16 load_index(const uint8_t *codes, size_t dim, unsigned bits, size_t j, size_t n)
{
    if (bits == 8) {
        uint8_t copy[LANES] = {0};
        memcpy(copy, codes + j, n);
        return lanes_load_u8(copy);
    }
    if (bits == 4) {
        const uint64_t word = load_bytes(codes + j / 2, tq_plane_bytes(n, 4));
        return lanes_nibbles((uint32_t)word, (uint32_t)(word >> 32));
    }
    if (bits == 3) {
        const uint8_t *high_bits = codes + tq_plane_bytes(dim, 2);
        const i32x16 low = lanes_fields((uint32_t)load_bytes(codes + j / 4, tq_plane_bytes(n, 2)), 2);
        const i32x16 high = lanes_fields((uint32_t)load_bytes(high_bits + j / 8, tq_plane_bytes(n, 1)), 1);
        const i32x16 high_bit = lanes_and(high, lanes_all_i32(1));
        return lanes_or(lanes_and(low, lanes_all_i32(3)), lanes_shift_left(high_bit, 2));
    }
    const i32x16 fields = lanes_fields((uint32_t)load_bytes(codes + j * bits / 8, tq_plane_bytes(n, bits)), (int)bits);
    return lanes_and(fields, lanes_all_i32((1U << bits) - 1));
}

TQ_INLINE f32x16 centroids_of(const tq_code *code, unsigned bits, f32_table centroids, i32x16 index)
{
    return bits == 8 ? lanes_gather(code->centroids, index) : lanes_lookup(centroids, bits, index);
}

TQ_INLINE void lloyd_decode(const tq_code *code, unsigned bits, const uint8_t *row, float *y)
{
    const uint8_t *codes = row + code->codes_at;
    const size_t dim = code->dim;
    const f32x16 scale = lanes_all(tq_scale_read(row));
    const f32_table centroids = lanes_table(code->centroids, bits == 8 ? LANES : (size_t)1 << bits);
    size_t j = 0;
    for (; j + LANES <= dim; j += LANES) {
        const i32x16 index = load_index(codes, dim, bits, j, LANES);
        lanes_store(y + j, lanes_mul(scale, centroids_of(code, bits, centroids, index)));
    }
    if (j < dim) {
        const i32x16 index = load_index(codes, dim, bits, j, dim - j);
        lanes_store_part(y + j, dim - j, lanes_mul(scale, centroids_of(code, bits, centroids, index)));
    }
}

void TQ_KERNEL(lloyd_decode)(const tq_code *code, const uint8_t *row, float *y)
{
    switch (code->bits) {
    case 1:
        lloyd_decode(code, 1, row, y);
        break;
    case 2:
        lloyd_decode(code, 2, row, y);
        break;
    case 3:
        lloyd_decode(code, 3, row, y);
        break;
    case 4:
        lloyd_decode(code, 4, row, y);
        break;
    default:
        lloyd_decode(code, 8, row, y);
        break;
    }
}

/* The 2^(bits + 1) levels times the scale. */
TQ_INLINE f32_table32 trellis_levels(const tq_trellis *trellis, unsigned bits, float scale)
{
    float levels[2 * LANES] = {0};
    for (size_t i = 0; i < (size_t)2 << bits; i++) {
        levels[i] = ((float)trellis->k[i] + 0.5F) * trellis->step * scale;
    }
    return (f32_table32){lanes_table(levels, LANES), lanes_table(levels + LANES, LANES)};
}

/* Index bits of sixteen coordinates: s0 and s1 from the coded bits u[t-8] .. u[t+15], and 1 to 3 planes of n. */
TQ_INLINE i32x16 trellis_index(uint32_t window, const uint32_t *n, unsigned bits)
{
    const i32x16 one_of_each = lanes_all_i32(0x00010001U);
    const uint32_t s0 = window >> 7 ^ window >> 6 ^ window >> 4;
    const uint32_t s1 = window >> 8 ^ window >> 3 ^ window >> 2;
    i32x16 pairs = lanes_and(lanes_fields((s0 & 0xFFFFU) | s1 << 16, 1), one_of_each); /* In bits 0 and 16. */
    if (bits > 2) {
        const i32x16 above = lanes_and(lanes_fields(n[0] | n[1] << 16, 1), one_of_each);
        pairs = lanes_or(pairs, lanes_shift_left(above, 2));
    } else {
        const i32x16 above = lanes_and(lanes_fields(n[0], 1), lanes_all_i32(1));
        pairs = lanes_or(pairs, lanes_shift_left(above, 2));
    }
    if (bits > 3) {
        const i32x16 above = lanes_and(lanes_fields(n[2], 1), lanes_all_i32(1));
        pairs = lanes_or(pairs, lanes_shift_left(above, 4));
    }
    return lanes_or(pairs, lanes_shift_right(pairs, 15)); /* Bits 16 and 18 become 1 and 3. */
}

TQ_INLINE void trellis_decode(const tq_code *code, unsigned bits, const uint8_t *row, float *y)
{
    const size_t plane_bytes = code->dim / 8;
    const uint8_t *u = row + code->codes_at;
    const f32_table32 levels = trellis_levels(&code->trellis, bits, tq_scale_read(row));
    uint32_t before = u[plane_bytes - 1]; /* u[t-8] .. u[t-1], around the end. */
    for (size_t t = 0; t < code->dim; t += LANES) {
        const size_t left = lanes_left(code->dim, t); /* 8 or 16. */
        uint32_t planes[4];
        for (unsigned plane = 0; plane < bits; plane++) {
            planes[plane] = (uint32_t)load_bytes(u + plane * plane_bytes + t / 8, left / 8);
        }
        const i32x16 index = trellis_index(before | planes[0] << 8, planes + 1, bits);
        const f32x16 low = lanes_lookup(levels.low, bits + 1, index);
        const f32x16 level = bits < 4 ? low : lanes_choose(low, lanes_lookup(levels.high, 4, index), index);
        lanes_store_part(y + t, left, level);
        before = planes[0] >> 8;
    }
}

void TQ_KERNEL(trellis_decode)(const tq_code *code, const uint8_t *row, float *y)
{
    switch (code->bits) {
    case 2:
        trellis_decode(code, 2, row, y);
        break;
    case 3:
        trellis_decode(code, 3, row, y);
        break;
    default:
        trellis_decode(code, 4, row, y);
        break;
    }
}

#endif /* TQ_DECODE_LANES_H */
