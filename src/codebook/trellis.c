/* SPDX-License-Identifier: MIT
 *
 * Taps and levels of the trellis codes. Both come from tools/train_trellis.c: taps by a search over pairs of parities,
 * levels by Lloyd iterations on Gaussian vectors through the encoder, rounded to int8. */
#include "kernels/exact.h"

#include "codebook/trellis.h"

#include <math.h>
#include <string.h>

const unsigned tq_trellis_taps[2] = {026, 0141}; /* Octal: u[t-1], u[t-2], u[t-4] and u[t], u[t-5], u[t-6]. */

static const int8_t LEVELS_2[8] = {-116, -66, -36, -12, 11, 35, 65, 115};
static const int8_t LEVELS_3[16] = {-120, -87, -65, -49, -36, -25, -15, -5, 4, 14, 24, 35, 48, 64, 86, 119};
static const int8_t LEVELS_4[32] = {-125, -101, -85, -73, -63, -54, -47, -41, -35, -30, -25, -20, -16, -11, -7,  -3,
                                    2,    6,    10,  15,  19,  24,  29,  34,  40,  46,  53,  62,  72,  84,  100, 124};

static unsigned parity(unsigned bits)
{
    unsigned odd = 0;
    for (; bits != 0; bits &= bits - 1) {
        odd ^= 1;
    }
    return odd;
}

void tq_trellis_make(tq_trellis *trellis, unsigned bits, const unsigned taps[2], const int8_t *k, float step)
{
    memset(trellis, 0, sizeof *trellis);
    trellis->bits = bits;
    trellis->step = step;
    for (size_t i = 0; i < (size_t)2 << bits; i++) {
        trellis->k[i] = k[i];
        trellis->target[i] = (int16_t)rintf((float)(2 * k[i] + 1) * (step * (0.5F * TQ_TRELLIS_UNIT)));
    }
    for (unsigned window = 0; window < TQ_TRELLIS_WINDOWS; window++) {
        trellis->subset[window] = (uint8_t)(2 * parity(window & taps[1]) + parity(window & taps[0]));
    }
}

void tq_trellis_init(tq_trellis *trellis, unsigned bits)
{
    switch (bits) {
    case 2:
        tq_trellis_make(trellis, bits, tq_trellis_taps, LEVELS_2, 0.01608F);
        break;
    case 3:
        tq_trellis_make(trellis, bits, tq_trellis_taps, LEVELS_3, 0.02053F);
        break;
    default:
        tq_trellis_make(trellis, bits, tq_trellis_taps, LEVELS_4, 0.02415F);
        break;
    }
}
