/* SPDX-License-Identifier: MIT
 *
 * Levels as integers of seven bits, |k| <= 63, for products of bytes that must add up in 16 bits (dot_avx2.h). Found as
 * those of levels_x86.h were: for every step, each level was rounded to the nearest multiple, and the step with the
 * least squared error kept, weighted by how often a level occurs. What that adds to a code's own squared error:
 *
 *     turbo1   turbo2   turbo3   turbo4   turbo2t  turbo3t  turbo4t
 *     0        0        0.06 %   0.55 %   0.01 %   0.25 %   2.04 %
 *
 * That is too much for turbo4t, which has no levels here: it is multiplied in words. */
#ifndef TQ_LEVELS_AVX2_H
#define TQ_LEVELS_AVX2_H

#include "kernels/x86/levels_x86.h"

/* For all codes that levels_x86.h has, but turbo4t. */
static inline tq_levels tq_small_levels(const tq_code *code)
{
    static const int8_t lloyd[4][16] = {
        {-43, 43},
        {-40, -12, 12, 40},
        {-62, -39, -22, -7, 7, 22, 39, 62},
        {-63, -48, -37, -29, -22, -15, -9, -3, 3, 9, 15, 22, 29, 37, 48, 63},
    };
    static const float lloyd_step[4] = {0.0185554549F, 0.0377559318F, 0.0345491208F, 0.0433307102F};
    static const int8_t turbo2t[16] = {-62, -35, -19, -6, 6, 19, 35, 62};
    static const int8_t turbo3t[16] = {-63, -46, -34, -26, -19, -13, -8, -3, 2, 7, 12, 18, 25, 33, 45, 62};
    if (code->trellis.bits == 2) {
        return (tq_levels){turbo2t, 0.0300190085F, 0};
    }
    if (code->trellis.bits == 3) {
        return (tq_levels){turbo3t, 0.0392713842F, 0.5F};
    }
    return (tq_levels){lloyd[code->bits - 1], lloyd_step[code->bits - 1], 0};
}

#endif /* TQ_LEVELS_AVX2_H */
