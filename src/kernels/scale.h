/* SPDX-License-Identifier: MIT
 *
 * The scale of a row.
 *
 * y = sqrt(d) R x is the rotated vector, n = |x|, c the levels chosen for y / n. The decoded vector is
 * x' = (s / d) (sqrt(d) R)^T c, so |x'|^2 = s^2 <c,c> / d and <x,x'> = (s / d) <y,c>. The stored scale s is what each
 * scale mode asks of x':
 *
 *     raw       s = n                        the paper's
 *     norm      |x'| = |x|                   s = n sqrt(d / <c,c>)
 *     unbiased  <x,x'> = |x|^2               s = n^2 d / <y,c>
 *     lsq       |x - x'| least               s = <y,c> / <c,c> */
#ifndef TQ_SCALE_H
#define TQ_SCALE_H

#include "kernels/exact.h"
#include "turboquant.h"

#include <math.h>

static inline float tq_stored_scale(tq_scale_mode mode, size_t dim, float yc, float cc, float norm)
{
    const float d = (float)dim;
    switch (mode) {
    case TQ_SCALE_RAW:
        return norm;
    case TQ_SCALE_LSQ:
        return yc / cc;
    case TQ_SCALE_UNBIASED:
        return norm * d / yc * norm; /* In this order: n^2 might overflow. */
    default:
        return norm * sqrtf(d / cc);
    }
}

/* How parallel y and c are, up to a factor that is the same for all c: the encoder keeps the rounding with the most. */
static inline float tq_alignment(float yc, float cc)
{
    return yc / sqrtf(cc);
}

#endif /* TQ_SCALE_H */
