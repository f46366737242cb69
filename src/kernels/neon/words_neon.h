/* SPDX-License-Identifier: MIT
 *
 * Thirty-two lanes of u16 as NEON has them: four registers. x86/words_avx512.h says what this is for. */
#ifndef TQ_WORDS_NEON_H
#define TQ_WORDS_NEON_H

#include "kernels/neon/lanes_neon.h"

typedef struct u16x32 {
    uint16x8_t r[4];
} u16x32;

TQ_INLINE uint16x8_t load8(const void *x)
{
    return vreinterpretq_u16_u8(vld1q_u8(x));
}

TQ_INLINE u16x32 words_load(const void *x)
{
    const uint8_t *bytes = x;
    return (u16x32){{load8(bytes), load8(bytes + 16), load8(bytes + 32), load8(bytes + 48)}};
}

TQ_INLINE void words_store(void *y, u16x32 a)
{
    for (size_t i = 0; i < 4; i++) {
        vst1q_u8((uint8_t *)y + 16 * i, vreinterpretq_u8_u16(a.r[i]));
    }
}

TQ_INLINE u16x32 words_all(unsigned value)
{
    const uint16x8_t all = vdupq_n_u16((uint16_t)value);
    return (u16x32){{all, all, all, all}};
}

/* The four u16 at x, eight times. */
TQ_INLINE u16x32 words_repeat_four(const void *x)
{
    const uint8x8_t four = vld1_u8(x);
    const uint16x8_t all = vreinterpretq_u16_u8(vcombine_u8(four, four));
    return (u16x32){{all, all, all, all}};
}

/* The bits of `mask` of 32 bytes, zero-extended. */
TQ_INLINE u16x32 words_from_bytes(const uint8_t *x, uint8_t mask)
{
    const uint8x16_t low = vandq_u8(vld1q_u8(x), vdupq_n_u8(mask));
    const uint8x16_t high = vandq_u8(vld1q_u8(x + 16), vdupq_n_u8(mask));
    return (u16x32){{vmovl_u8(vget_low_u8(low)), vmovl_high_u8(low), vmovl_u8(vget_low_u8(high)), vmovl_high_u8(high)}};
}

TQ_INLINE u16x32 words_add(u16x32 a, u16x32 b)
{
    return (u16x32){{EACH2(vaddq_u16, a, b)}};
}

TQ_INLINE u16x32 words_mul(u16x32 a, u16x32 b)
{
    return (u16x32){{EACH2(vmulq_u16, a, b)}};
}

TQ_INLINE u16x32 words_sub(u16x32 a, u16x32 b)
{
    return (u16x32){{EACH2(vsubq_u16, a, b)}};
}

TQ_INLINE u16x32 words_add_saturating(u16x32 a, u16x32 b)
{
    return (u16x32){{EACH2(vqaddq_u16, a, b)}};
}

TQ_INLINE u16x32 words_min(u16x32 a, u16x32 b)
{
    return (u16x32){{EACH2(vminq_u16, a, b)}};
}

TQ_INLINE uint16x8_t distance8(uint16x8_t a, uint16x8_t b)
{
    return vreinterpretq_u16_s16(vabdq_s16(vreinterpretq_s16_u16(a), vreinterpretq_s16_u16(b)));
}

/* |a - b|, both signed. */
TQ_INLINE u16x32 words_distance(u16x32 a, u16x32 b)
{
    return (u16x32){{EACH2(distance8, a, b)}};
}

TQ_INLINE uint16x8_t square_high8(uint16x8_t a)
{
    const uint32x4_t low = vmull_u16(vget_low_u16(a), vget_low_u16(a));
    const uint32x4_t high = vmull_high_u16(a, a);
    return vuzp2q_u16(vreinterpretq_u16_u32(low), vreinterpretq_u16_u32(high));
}

/* The upper halves of a * a. */
TQ_INLINE u16x32 words_square_high(u16x32 a)
{
    return (u16x32){{EACH(square_high8, a)}};
}

TQ_INLINE uint8x16_t low_bytes_of_words(uint16x8_t a, uint16x8_t b)
{
    return vuzp1q_u8(vreinterpretq_u8_u16(a), vreinterpretq_u8_u16(b));
}

/* Bit i is that of lane i, of which all bits are alike. */
TQ_INLINE uint32_t bits_of_words(u16x32 a)
{
    return bits_of_bytes(low_bytes_of_words(a.r[0], a.r[1]), low_bytes_of_words(a.r[2], a.r[3]));
}

/* Bit i: the upper bit of byte i. */
TQ_INLINE uint32_t bytes_signs(const uint8_t *x)
{
    const uint8x16_t upper = vdupq_n_u8(0x80);
    return bits_of_bytes(vtstq_u8(vld1q_u8(x), upper), vtstq_u8(vld1q_u8(x + 16), upper));
}

/* Bit i: whether a < b in lane i. */
TQ_INLINE uint32_t words_below(u16x32 a, u16x32 b)
{
    return bits_of_words((u16x32){{EACH2(vcltq_u16, a, b)}});
}

TQ_INLINE uint32_t words_equal(u16x32 a, u16x32 b)
{
    return bits_of_words((u16x32){{EACH2(vceqq_u16, a, b)}});
}

/* Bit i: bit `bit` of lane i. */
TQ_INLINE uint32_t words_bit(u16x32 a, unsigned bit)
{
    const u16x32 mask = words_all(1U << bit);
    return bits_of_words((u16x32){{EACH2(vtstq_u16, a, mask)}});
}

/* Where a < b, `yes`, else `no`. */
TQ_INLINE u16x32 words_where_below(u16x32 a, u16x32 b, u16x32 yes, u16x32 no)
{
    const u16x32 below = {{EACH2(vcltq_u16, a, b)}};
    return (u16x32){{EACH3(vbslq_u16, below, yes, no)}};
}

TQ_INLINE uint16_t words_least(u16x32 a)
{
    return vminvq_u16(vminq_u16(vminq_u16(a.r[0], a.r[1]), vminq_u16(a.r[2], a.r[3])));
}

TQ_INLINE uint16x8_t shuffle_bytes8(uint16x8_t a, uint16x8_t control)
{
    return vreinterpretq_u16_u8(vqtbl1q_u8(vreinterpretq_u8_u16(a), vreinterpretq_u8_u16(control)));
}

/* In every 16 bytes: byte i of the result is byte control[i] of a. */
TQ_INLINE u16x32 words_shuffle_bytes(u16x32 a, u16x32 control)
{
    return (u16x32){{EACH2(shuffle_bytes8, a, control)}};
}

/* even[0], odd[0], even[1], .. : 64 words. */
TQ_INLINE void words_interleave(u16x32 even, u16x32 odd, u16x32 *low, u16x32 *high)
{
    *low = (u16x32){{vzip1q_u16(even.r[0], odd.r[0]), vzip2q_u16(even.r[0], odd.r[0]), vzip1q_u16(even.r[1], odd.r[1]),
                     vzip2q_u16(even.r[1], odd.r[1])}};
    *high = (u16x32){{vzip1q_u16(even.r[2], odd.r[2]), vzip2q_u16(even.r[2], odd.r[2]), vzip1q_u16(even.r[3], odd.r[3]),
                      vzip2q_u16(even.r[3], odd.r[3])}};
}

/* Loads words in the order that words_store_fours wants. */
TQ_INLINE u16x32 words_load_for_fours(const int16_t *x)
{
    return words_load(x);
}

/* y[4 * i + s] = lane i of a[s]. */
TQ_INLINE void words_store_fours(uint16_t *y, const u16x32 a[4])
{
    for (size_t i = 0; i < 4; i++) {
        const uint16x8x4_t fours = {{a[0].r[i], a[1].r[i], a[2].r[i], a[3].r[i]}};
        vst4q_u16(y + 32 * i, fours);
    }
}

/* The lanes rounded to the nearest integers, at most 32767 in magnitude. */
TQ_INLINE void lanes_store_i16(int16_t *y, f32x16 a)
{
    const int16x8_t least = vdupq_n_s16(-32767);
    const int16x4_t low = vqmovn_s32(vcvtnq_s32_f32(a.r[0]));
    const int16x4_t high = vqmovn_s32(vcvtnq_s32_f32(a.r[2]));
    vst1q_s16(y, vmaxq_s16(vqmovn_high_s32(low, vcvtnq_s32_f32(a.r[1])), least));
    vst1q_s16(y + 8, vmaxq_s16(vqmovn_high_s32(high, vcvtnq_s32_f32(a.r[3])), least));
}

/* The upper bytes of words 16 * half and on, as signed numbers. */
TQ_INLINE f32x16 words_upper_bytes(u16x32 a, size_t half)
{
    const int16x8_t low = vreinterpretq_s16_u16(a.r[2 * half]) >> 8;
    const int16x8_t high = vreinterpretq_s16_u16(a.r[2 * half + 1]) >> 8;
    return (f32x16){{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_high_s16(low)),
                     vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_high_s16(high))}};
}

#endif /* TQ_WORDS_NEON_H */
