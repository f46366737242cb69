/* SPDX-License-Identifier: MIT
 *
 * Sixteen lanes of f32 or i32 as NEON has them: four registers. x86/lanes_avx512.h says what this is for. Shifts are
 * written as operators, which take a constant count into the instruction. */
#ifndef TQ_LANES_NEON_H
#define TQ_LANES_NEON_H

#include "compiler.h"
#include "kernels/neon/neon.h"

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TQ_KERNEL(name) tq_##name##_neon

enum { LANES = 16, LANES_GROUP = 4 };

typedef struct f32x16 {
    float32x4_t r[4];
} f32x16;

typedef struct i32x16 {
    uint32x4_t r[4];
} i32x16;

/* What an operation makes of each of the four registers of a, or of a and b, or of a, b and c. */
#define EACH(op, a)              op((a).r[0]), op((a).r[1]), op((a).r[2]), op((a).r[3])
#define EACH2(op, a, b)          PAIR2(op, a, b, 0, 1), PAIR2(op, a, b, 2, 3)
#define EACH3(op, a, b, c)       PAIR3(op, a, b, c, 0, 1), PAIR3(op, a, b, c, 2, 3)
#define PAIR2(op, a, b, i, j)    op((a).r[i], (b).r[i]), op((a).r[j], (b).r[j])
#define PAIR3(op, a, b, c, i, j) op((a).r[i], (b).r[i], (c).r[i]), op((a).r[j], (b).r[j], (c).r[j])

/* How many of `count` elements the step that begins at i covers. */
TQ_INLINE size_t lanes_left(size_t count, size_t i)
{
    return count - i < LANES ? count - i : LANES;
}

TQ_INLINE f32x16 lanes_load(const float *x)
{
    return (f32x16){{vld1q_f32(x), vld1q_f32(x + 4), vld1q_f32(x + 8), vld1q_f32(x + 12)}};
}

TQ_INLINE f32x16 lanes_load_part(const float *x, size_t n)
{
    if (n == 16) {
        return lanes_load(x);
    }
    float copy[16] = {0};
    memcpy(copy, x, n * sizeof *x);
    return lanes_load(copy);
}

TQ_INLINE void lanes_store(float *y, f32x16 a)
{
    vst1q_f32(y, a.r[0]);
    vst1q_f32(y + 4, a.r[1]);
    vst1q_f32(y + 8, a.r[2]);
    vst1q_f32(y + 12, a.r[3]);
}

TQ_INLINE void lanes_store_part(float *y, size_t n, f32x16 a)
{
    if (n == 16) {
        lanes_store(y, a);
        return;
    }
    float copy[16];
    lanes_store(copy, a);
    memcpy(y, copy, n * sizeof *y);
}

TQ_INLINE i32x16 lanes_load_i32(const uint32_t *x)
{
    return (i32x16){{vld1q_u32(x), vld1q_u32(x + 4), vld1q_u32(x + 8), vld1q_u32(x + 12)}};
}

TQ_INLINE void lanes_store_i32(uint32_t *y, i32x16 a)
{
    vst1q_u32(y, a.r[0]);
    vst1q_u32(y + 4, a.r[1]);
    vst1q_u32(y + 8, a.r[2]);
    vst1q_u32(y + 12, a.r[3]);
}

TQ_INLINE i32x16 widen_words(uint16x8_t low, uint16x8_t high)
{
    return (i32x16){
        {vmovl_u16(vget_low_u16(low)), vmovl_high_u16(low), vmovl_u16(vget_low_u16(high)), vmovl_high_u16(high)}};
}

/* Sixteen 16-bit elements, zero-extended, at any address. */
TQ_INLINE i32x16 lanes_load_u16(const void *x)
{
    const uint8_t *bytes = x;
    return widen_words(vreinterpretq_u16_u8(vld1q_u8(bytes)), vreinterpretq_u16_u8(vld1q_u8(bytes + 16)));
}

TQ_INLINE i32x16 lanes_load_u16_part(const void *x, size_t n)
{
    uint16_t copy[16] = {0};
    memcpy(copy, x, n * sizeof *copy);
    return lanes_load_u16(copy);
}

TQ_INLINE void store_words(uint8_t *y, size_t n, uint16x8_t low, uint16x8_t high)
{
    uint8_t copy[32];
    uint8_t *to = n == 16 ? y : copy;
    vst1q_u8(to, vreinterpretq_u8_u16(low));
    vst1q_u8(to + 16, vreinterpretq_u8_u16(high));
    if (n != 16) {
        memcpy(y, copy, 2 * n);
    }
}

/* The low halves of the lanes. */
TQ_INLINE void lanes_store_u16_part(void *y, size_t n, i32x16 a)
{
    store_words(y, n, vmovn_high_u32(vmovn_u32(a.r[0]), a.r[1]), vmovn_high_u32(vmovn_u32(a.r[2]), a.r[3]));
}

/* Sixteen f16. To f16 rounds to nearest even; beyond 65504 is the caller's to prevent. */
TQ_INLINE f32x16 lanes_load_f16(const void *x)
{
    const float16x8_t low = vreinterpretq_f16_u8(vld1q_u8(x));
    const float16x8_t high = vreinterpretq_f16_u8(vld1q_u8((const uint8_t *)x + 16));
    return (f32x16){{vcvt_f32_f16(vget_low_f16(low)), vcvt_high_f32_f16(low), vcvt_f32_f16(vget_low_f16(high)),
                     vcvt_high_f32_f16(high)}};
}

TQ_INLINE f32x16 lanes_load_f16_part(const void *x, size_t n)
{
    uint16_t copy[16] = {0};
    memcpy(copy, x, n * sizeof *copy);
    return lanes_load_f16(copy);
}

TQ_INLINE void lanes_store_f16_part(void *y, size_t n, f32x16 a)
{
    const float16x8_t low = vcvt_high_f16_f32(vcvt_f16_f32(a.r[0]), a.r[1]);
    const float16x8_t high = vcvt_high_f16_f32(vcvt_f16_f32(a.r[2]), a.r[3]);
    store_words(y, n, vreinterpretq_u16_f16(low), vreinterpretq_u16_f16(high));
}

TQ_INLINE i32x16 lanes_bits(f32x16 a)
{
    return (i32x16){{EACH(vreinterpretq_u32_f32, a)}};
}

TQ_INLINE f32x16 lanes_from_bits(i32x16 a)
{
    return (f32x16){{EACH(vreinterpretq_f32_u32, a)}};
}

TQ_INLINE i32x16 lanes_all_i32(uint32_t value)
{
    const uint32x4_t all = vdupq_n_u32(value);
    return (i32x16){{all, all, all, all}};
}

TQ_INLINE i32x16 lanes_and(i32x16 a, i32x16 b)
{
    return (i32x16){{EACH2(vandq_u32, a, b)}};
}

TQ_INLINE i32x16 lanes_or(i32x16 a, i32x16 b)
{
    return (i32x16){{EACH2(vorrq_u32, a, b)}};
}

TQ_INLINE i32x16 lanes_add_i32(i32x16 a, i32x16 b)
{
    return (i32x16){{EACH2(vaddq_u32, a, b)}};
}

TQ_INLINE i32x16 lanes_min_u32(i32x16 a, i32x16 b)
{
    return (i32x16){{EACH2(vminq_u32, a, b)}};
}

TQ_INLINE i32x16 lanes_max_u32(i32x16 a, i32x16 b)
{
    return (i32x16){{EACH2(vmaxq_u32, a, b)}};
}

TQ_INLINE i32x16 lanes_shift_left(i32x16 a, int bits)
{
    return (i32x16){{a.r[0] << bits, a.r[1] << bits, a.r[2] << bits, a.r[3] << bits}};
}

TQ_INLINE i32x16 lanes_shift_right(i32x16 a, int bits)
{
    return (i32x16){{a.r[0] >> bits, a.r[1] >> bits, a.r[2] >> bits, a.r[3] >> bits}};
}

/* 1 if a < limit, unsigned, in every lane. */
TQ_INLINE int lanes_all_below(i32x16 a, uint32_t limit)
{
    return vmaxvq_u32(vmaxq_u32(vmaxq_u32(a.r[0], a.r[1]), vmaxq_u32(a.r[2], a.r[3]))) < limit;
}

TQ_INLINE f32x16 lanes_all(float value)
{
    const float32x4_t all = vdupq_n_f32(value);
    return (f32x16){{all, all, all, all}};
}

TQ_INLINE f32x16 lanes_add(f32x16 a, f32x16 b)
{
    return (f32x16){{EACH2(vaddq_f32, a, b)}};
}

TQ_INLINE f32x16 lanes_sub(f32x16 a, f32x16 b)
{
    return (f32x16){{EACH2(vsubq_f32, a, b)}};
}

TQ_INLINE f32x16 lanes_mul(f32x16 a, f32x16 b)
{
    return (f32x16){{EACH2(vmulq_f32, a, b)}};
}

/* a * b + c, rounded once. */
TQ_INLINE f32x16 lanes_fused(f32x16 a, f32x16 b, f32x16 c)
{
    return (f32x16){{EACH3(vfmaq_f32, c, a, b)}};
}

/* The sum of the lanes as a tree of distance 8, 4, 2, 1. */
TQ_INLINE float lanes_sum(f32x16 a)
{
    const float32x4_t four = vaddq_f32(vaddq_f32(a.r[0], a.r[2]), vaddq_f32(a.r[1], a.r[3]));
    return vpadds_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)));
}

/* Butterflies of distance 1 and 2 between the lanes of one register: see lanes_avx512.h. */
TQ_INLINE float32x4_t butterflies4(float32x4_t a)
{
    const float32x4_t sign1 = {1, -1, 1, -1};
    const float32x4_t sign2 = {1, 1, -1, -1};
    a = vfmaq_f32(vrev64q_f32(a), a, sign1);
    return vfmaq_f32(vextq_f32(a, a, 2), a, sign2);
}

/* Butterflies of distance 1, 2, 4, 8 between lanes. */
TQ_INLINE f32x16 lanes_butterflies(f32x16 a)
{
    const f32x16 b = {{EACH(butterflies4, a)}};
    const float32x4_t sum01 = vaddq_f32(b.r[0], b.r[1]);
    const float32x4_t difference01 = vsubq_f32(b.r[0], b.r[1]);
    const float32x4_t sum23 = vaddq_f32(b.r[2], b.r[3]);
    const float32x4_t difference23 = vsubq_f32(b.r[2], b.r[3]);
    return (f32x16){{vaddq_f32(sum01, sum23), vaddq_f32(difference01, difference23), vsubq_f32(sum01, sum23),
                     vsubq_f32(difference01, difference23)}};
}

/* a, with zero in all lanes but the first n. */
TQ_INLINE f32x16 lanes_keep(f32x16 a, size_t n)
{
    const uint32x4_t lane = {0, 1, 2, 3};
    const uint32x4_t left = vdupq_n_u32((uint32_t)n);
    f32x16 kept;
    for (size_t i = 0; i < 4; i++) {
        const uint32x4_t is_kept = vcltq_u32(lane + (uint32_t)(4 * i), left);
        kept.r[i] = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a.r[i]), is_kept));
    }
    return kept;
}

/* Up to sixteen f32 to look up by index, in the order of their bytes. */
typedef uint8x16x4_t f32_table;

TQ_INLINE f32_table lanes_table(const float *values, size_t n)
{
    const f32x16 padded = lanes_load_part(values, n);
    return (f32_table){{EACH(vreinterpretq_u8_f32, padded)}};
}

/* For a table of 2^bits values: those at an index of so many bits, with anything above them. */
TQ_INLINE float32x4_t lookup4(f32_table table, unsigned bits, uint32x4_t index)
{
    const uint32x4_t masked = vandq_u32(index, vdupq_n_u32((1U << bits) - 1));
    const uint32x4_t at = vmlaq_u32(vdupq_n_u32(0x03020100U), masked, vdupq_n_u32(0x04040404U));
    const uint8x16_t bytes = vreinterpretq_u8_u32(at);
    if (bits <= 2) {
        return vreinterpretq_f32_u8(vqtbl1q_u8(table.val[0], bytes));
    }
    if (bits == 3) {
        return vreinterpretq_f32_u8(vqtbl2q_u8((uint8x16x2_t){{table.val[0], table.val[1]}}, bytes));
    }
    return vreinterpretq_f32_u8(vqtbl4q_u8(table, bytes));
}

TQ_INLINE f32x16 lanes_lookup(f32_table table, unsigned bits, i32x16 index)
{
    return (f32x16){{lookup4(table, bits, index.r[0]), lookup4(table, bits, index.r[1]),
                     lookup4(table, bits, index.r[2]), lookup4(table, bits, index.r[3])}};
}

TQ_INLINE f32x16 lanes_gather(const float *values, i32x16 index)
{
    uint32_t at[16];
    float found[16];
    lanes_store_i32(at, index);
    for (size_t l = 0; l < 16; l++) {
        found[l] = values[at[l]];
    }
    return lanes_load(found);
}

/* How many of sixteen thresholds y reaches. */
TQ_INLINE unsigned lanes_reached(const float *thresholds, float y)
{
    const f32x16 all = lanes_all(y);
    const f32x16 t = lanes_load(thresholds);
    const i32x16 reached = {{EACH2(vcgeq_f32, all, t)}}; /* -1 if so. */
    const uint32x4_t sum = vaddq_u32(vaddq_u32(reached.r[0], reached.r[1]), vaddq_u32(reached.r[2], reached.r[3]));
    return 0U - vaddvq_u32(sum);
}

/* The low bytes of the lanes. */
TQ_INLINE uint8x16_t low_bytes(i32x16 a)
{
    const uint16x8_t low = vmovn_high_u32(vmovn_u32(a.r[0]), a.r[1]);
    const uint16x8_t high = vmovn_high_u32(vmovn_u32(a.r[2]), a.r[3]);
    return vmovn_high_u16(vmovn_u16(low), high);
}

/* The low bytes of the lanes of a, then of b. */
TQ_INLINE void lanes_store_u8(uint8_t *y, i32x16 a, i32x16 b)
{
    vst1q_u8(y, low_bytes(a));
    vst1q_u8(y + 16, low_bytes(b));
}

/* Bit i is that of byte i, of which all bits are alike. */
TQ_INLINE uint32_t bits_of_bytes(uint8x16_t low, uint8x16_t high)
{
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(UINT64_C(0x8040201008040201)));
    const uint8x16_t pairs = vpaddq_u8(vandq_u8(low, bit), vandq_u8(high, bit));
    const uint8x16_t fours = vpaddq_u8(pairs, pairs);
    return vgetq_lane_u32(vreinterpretq_u32_u8(vpaddq_u8(fours, fours)), 0);
}

/* Bit l tells whether lane l is at least 0. */
TQ_INLINE unsigned lanes_not_negative(f32x16 a)
{
    const i32x16 is = {{EACH(vcgezq_f32, a)}};
    return bits_of_bytes(low_bytes(is), vdupq_n_u8(0));
}

/* Lane l of the result: word >> l * bits, where bits is 1 or 2. */
TQ_INLINE i32x16 lanes_fields(uint32_t word, int bits)
{
    const int32x4_t lane = {0, 1, 2, 3};
    const uint32x4_t all = vdupq_n_u32(word);
    i32x16 fields;
    for (int i = 0; i < 4; i++) {
        fields.r[i] = vshlq_u32(all, (lane + 4 * i) * -bits); /* To the right. */
    }
    return fields;
}

/* The same for 4 bits: of `low` in lanes 0 to 7, of `high` in lanes 8 to 15. */
TQ_INLINE i32x16 lanes_nibbles(uint32_t low, uint32_t high)
{
    const int32x4_t first = {0, -4, -8, -12};
    const int32x4_t second = {-16, -20, -24, -28};
    const uint32x4_t l = vdupq_n_u32(low);
    const uint32x4_t h = vdupq_n_u32(high);
    return (i32x16){{vshlq_u32(l, first), vshlq_u32(l, second), vshlq_u32(h, first), vshlq_u32(h, second)}};
}

/* Sixteen bytes, zero-extended. */
TQ_INLINE i32x16 lanes_load_u8(const uint8_t *x)
{
    const uint8x16_t bytes = vld1q_u8(x);
    return widen_words(vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes));
}

TQ_INLINE float32x4_t choose4(uint32x4_t index, float32x4_t high, float32x4_t low)
{
    return vbslq_f32(vtstq_u32(index, vdupq_n_u32(16)), high, low);
}

/* Where bit 4 of the index is set, `high`, else `low`. */
TQ_INLINE f32x16 lanes_choose(f32x16 low, f32x16 high, i32x16 index)
{
    return (f32x16){{EACH3(choose4, index, high, low)}};
}

#endif /* TQ_LANES_NEON_H */
