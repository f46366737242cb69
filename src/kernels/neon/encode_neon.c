/* SPDX-License-Identifier: MIT
 *
 * Encoding with NEON. A search of b <= 4 levels halves what is left b times; each level takes its thresholds, which are
 * 1, 2, 4 or 8, from up to two registers by a look-up of bytes,
 *
 *     level of step s:    table[i] = threshold[(2 i + 1) s - 1]        looked up by the bits of the index found so far
 *
 * Packing puts neighbours together by shifts that insert: b0 | b1 << 4; b0 | b1 << 2 | .. from four registers that
 * every fourth index went to. */
#include "kernels/exact.h"

#include "kernels/neon/lanes_neon.h"

#include <stdbool.h>

enum { LADDER_LEVELS = 4 };

typedef struct search {
    f32_table table[LADDER_LEVELS]; /* Of step 1, 2, 4, 8. */
} search;

/* What a search among 2^bits - 1 thresholds needs. */
TQ_INLINE search search_make(const float *thresholds, unsigned bits, bool spread)
{
    search made;
    (void)spread;
    for (unsigned level = 0; level < bits; level++) {
        const size_t step = (size_t)1 << level;
        float table[LANES] = {0};
        for (size_t i = 0; (2 * i + 1) * step < (size_t)1 << bits; i++) {
            table[i] = thresholds[(2 * i + 1) * step - 1];
        }
        made.table[level] = lanes_table(table, LANES);
    }
    return made;
}

/* The search with all thresholds multiplied by `limit`. */
TQ_INLINE search search_scale(search unit, unsigned bits, bool spread, float limit)
{
    (void)spread;
    for (unsigned level = 0; level < bits; level++) {
        for (size_t i = 0; i < 2; i++) {
            const float32x4_t scaled = vmulq_n_f32(vreinterpretq_f32_u8(unit.table[level].val[i]), limit);
            unit.table[level].val[i] = vreinterpretq_u8_f32(scaled);
        }
    }
    return unit;
}

TQ_INLINE uint32x4_t count4(const search *from, unsigned bits, float32x4_t y)
{
    const float32x4_t middle = vdupq_laneq_f32(vreinterpretq_f32_u8(from->table[bits - 1].val[0]), 0);
    uint32x4_t index = vcgeq_f32(y, middle) >> 31;
    for (unsigned level = bits - 1; level-- > 0;) {
        const uint32x4_t reached = vcgeq_f32(y, lookup4(from->table[level], bits - 1 - level, index)); /* -1 if so. */
        index = vsubq_u32(vaddq_u32(index, index), reached);
    }
    return index;
}

/* How many of its thresholds y reaches. */
TQ_INLINE i32x16 search_count(search from, unsigned bits, bool spread, f32x16 y)
{
    (void)spread;
    return (i32x16){{count4(&from, bits, y.r[0]), count4(&from, bits, y.r[1]), count4(&from, bits, y.r[2]),
                     count4(&from, bits, y.r[3])}};
}

/* The fields of one plane, bits shift .. shift + bits - 1 of 32 indices, as 4 * bits bytes. */
TQ_INLINE void pack_32(const uint8_t *index, int shift, unsigned bits, uint8_t *packed)
{
    if (bits == 1) {
        const uint8x16_t bit = vdupq_n_u8((uint8_t)(1 << shift));
        const uint32_t plane = bits_of_bytes(vtstq_u8(vld1q_u8(index), bit), vtstq_u8(vld1q_u8(index + 16), bit));
        memcpy(packed, &plane, sizeof plane);
    } else if (bits == 2) {
        const uint8x8x4_t every4th = vld4_u8(index);
        const uint8x8_t low = vsli_n_u8(every4th.val[0], every4th.val[1], 2); /* Above other bits, which go. */
        const uint8x8_t high = vsli_n_u8(every4th.val[2], every4th.val[3], 2);
        vst1_u8(packed, vsli_n_u8(low, high, 4));
    } else {
        const uint8x16x2_t every2nd = vld2q_u8(index);
        vst1q_u8(packed, vsliq_n_u8(every2nd.val[0], every2nd.val[1], 4));
    }
}

#include "kernels/simd/encode_lanes.h"
