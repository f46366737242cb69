/* SPDX-License-Identifier: MIT
 *
 * SplitMix64: the generator behind every seed in the library (G. Steele, D. Lea, C. Flood, "Fast splittable
 * pseudorandom number generators", OOPSLA 2014). */
#ifndef TQ_RANDOM_H
#define TQ_RANDOM_H

#include <math.h>
#include <stdint.h>

static inline uint64_t tq_random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15U;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
    z = (z ^ z >> 27) * 0x94D049BB133111EBU;
    return z ^ z >> 31;
}

/* A standard normal number by the Box-Muller transform. The first uniform is in (0, 1], so its logarithm is finite. */
static inline double tq_random_normal(uint64_t *state)
{
    const double two_pi = 6.283185307179586477;
    const double u = (double)((tq_random_next(state) >> 11) + 1) * 0x1p-53;
    const double v = (double)(tq_random_next(state) >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(two_pi * v);
}

#endif /* TQ_RANDOM_H */
