/* SPDX-License-Identifier: MIT
 *
 * The levels of Lloyd-Max and trellis codes as small integers, for kernels that multiply bytes: level = (k + half)
 * step.
 *
 * For Lloyd-Max codes k and step were found together: for every step, each level was rounded to the nearest multiple,
 * and the step with the least squared error kept, weighted by how often a level occurs. Trellis levels are integers by
 * themselves, where eight bits are to be had. This is what rounding adds to a code's own squared error:
 *
 *                  turbo1   turbo2   turbo3   turbo4   turbo2t  turbo3t  turbo4t
 *     |k| <= 127   0        0        0.003 %  0.11 %   0        0        0
 *     |k| <= 63    0        0        0.06 %   0.55 %   0.01 %   0.25 %   2.04 %
 *
 * There is no table of turbo4t with |k| <= 63: it would cost more than the budget, so 16-bit products take its place.
 */
#ifndef TQ_LEVELS_AVX2_H
#define TQ_LEVELS_AVX2_H

#include "kernels/kernels.h"

typedef struct tq_levels {
    const int8_t *k; /* By index; of codes with fewer than 16 levels, repeated up to 16. */
    float half;      /* 0 or 1/2. */
    float step;
} tq_levels;

/* |k| <= 127. */
static inline tq_levels tq_levels_8bit(const tq_code *code)
{
    static const int8_t turbo1[16] = {-43, 43, -43, 43, -43, 43, -43, 43, -43, 43, -43, 43, -43, 43, -43, 43};
    static const int8_t turbo2[16] = {-70, -21, 21, 70, -70, -21, 21, 70, -70, -21, 21, 70, -70, -21, 21, 70};
    static const int8_t turbo3[16] = {-88, -55, -31, -10, 10, 31, 55, 88, -88, -55, -31, -10, 10, 31, 55, 88};
    static const int8_t turbo4[16] = {-104, -79, -62, -48, -36, -25, -15, -5, 5, 15, 25, 36, 48, 62, 79, 104};
    if (code->trellis.bits != 0) {
        return (tq_levels){code->trellis.k, 0.5F, code->trellis.step};
    }
    switch (code->bits) {
    case 1:
        return (tq_levels){turbo1, 0, 0.0185554549F};
    case 2:
        return (tq_levels){turbo2, 0, 0.0215748182F};
    case 3:
        return (tq_levels){turbo3, 0, 0.0244347838F};
    default:
        return (tq_levels){turbo4, 0, 0.0261686065F};
    }
}

/* |k| <= 63; for all codes but turbo4t. */
static inline tq_levels tq_levels_7bit(const tq_code *code)
{
    static const int8_t turbo2[16] = {-40, -12, 12, 40, -40, -12, 12, 40, -40, -12, 12, 40, -40, -12, 12, 40};
    static const int8_t turbo3[16] = {-62, -39, -22, -7, 7, 22, 39, 62, -62, -39, -22, -7, 7, 22, 39, 62};
    static const int8_t turbo4[16] = {-63, -48, -37, -29, -22, -15, -9, -3, 3, 9, 15, 22, 29, 37, 48, 63};
    static const int8_t turbo2t[16] = {-62, -35, -19, -6, 6, 19, 35, 62, -62, -35, -19, -6, 6, 19, 35, 62};
    static const int8_t turbo3t[16] = {-63, -46, -34, -26, -19, -13, -8, -3, 2, 7, 12, 18, 25, 33, 45, 62};
    if (code->trellis.bits != 0) {
        return code->bits == 2 ? (tq_levels){turbo2t, 0, 0.0300190085F} : (tq_levels){turbo3t, 0.5F, 0.0392713842F};
    }
    switch (code->bits) {
    case 1:
        return tq_levels_8bit(code); /* Small enough. */
    case 2:
        return (tq_levels){turbo2, 0, 0.0377559318F};
    case 3:
        return (tq_levels){turbo3, 0, 0.0345491208F};
    default:
        return (tq_levels){turbo4, 0, 0.0433307102F};
    }
}

#endif /* TQ_LEVELS_AVX2_H */
