/* SPDX-License-Identifier: MIT
 *
 * The trellis codes behind turbo2t, turbo3t and turbo4t: which of 2^(bits+1) levels a coordinate may take, given the
 * coded bits around it.
 *
 * A scalar quantiser of b bits has 2^b levels. A trellis code has twice as many, dealt to four subsets in turn (level
 * idx belongs to subset idx mod 4; G. Ungerboeck, "Channel coding with multilevel/phase signals", 1982, used backwards
 * for quantisation by M. Marcellin and T. Fischer, "Trellis coded quantization", 1990). Each coordinate t stores one
 * coded bit u[t] and a cell number n[t] of b - 1 bits. The coded bits say which subset: two parities of a window of the
 * last seven of them,
 *
 *     s0 = u[t-1] ^ u[t-2] ^ u[t-4]        s1 = u[t] ^ u[t-5] ^ u[t-6]        (indices modulo dim)
 *     idx = 4 n[t] + 2 s1 + s0             level = (k[idx] + 1/2) * step
 *
 * so a coordinate costs b bits, yet the encoder may choose among the 2^(b+1) levels by choosing a whole sequence u that
 * makes the best subset come up at every coordinate. Any sequence of coded bits is a legal one, so decoding walks no
 * trellis: two parities and a table. Taking indices modulo dim ("tail-biting") spends no bits on where the sequence
 * starts.
 *
 * Levels are antisymmetric, k[~idx] = ~k[idx], that is level(~idx) = -level(idx): inverting every bit of an index
 * negates its level. That halves the table for kernels with small look-ups, and costs nothing. Levels are odd multiples
 * of half a step so that zero, which is its own negative, is not needed. */
#ifndef TQ_TRELLIS_H
#define TQ_TRELLIS_H

#include <stddef.h>
#include <stdint.h>

enum {
    TQ_TRELLIS_MEMORY = 6,                       /* Coded bits that the state remembers. */
    TQ_TRELLIS_STATES = 1 << TQ_TRELLIS_MEMORY,  /* State: the last six coded bits, newest in bit 0. */
    TQ_TRELLIS_WINDOWS = 2 << TQ_TRELLIS_MEMORY, /* Window: seven coded bits, newest in bit 0. */
    TQ_TRELLIS_UNIT = 8192                       /* Integer targets are in 1/8192 of a standard deviation. */
};

typedef struct tq_trellis {
    unsigned bits;                      /* b, per coordinate: 2, 3 or 4. */
    float step;                         /* Levels are (k + 1/2) step, in standard deviations. */
    int8_t k[32];                       /* [2^(b+1)], ascending. */
    int16_t target[32];                 /* The levels in units of 1/8192, rounded: what the encoder compares with. */
    uint8_t subset[TQ_TRELLIS_WINDOWS]; /* 2 s1 + s0 of each window. */
} tq_trellis;

/* The taps of the formats: bit i of taps[j] puts u[t-i] into s_j. */
extern const unsigned tq_trellis_taps[2];

/* The code of the formats: bits is 2, 3 or 4. */
void tq_trellis_init(tq_trellis *trellis, unsigned bits);

/* A code with other taps or levels, for the tool that searches. */
void tq_trellis_make(tq_trellis *trellis, unsigned bits, const unsigned taps[2], const int8_t *k, float step);

#endif /* TQ_TRELLIS_H */
