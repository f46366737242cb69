/* SPDX-License-Identifier: MIT
 *
 * Makes the tables of lookup_cuda.h, on the host. */
#ifndef TQ_TABLES_CUDA_H
#define TQ_TABLES_CUDA_H

#include "kernels/cuda/lookup_cuda.h"
#include "kernels/kernels.h"

#include <math.h>

static inline uint32_t tq_cuda_four_bytes(const int *v)
{
    uint32_t word = 0;
    for (int i = 0; i < 4; i++) {
        word |= (uint32_t)(v[i] & 255) << 8 * i;
    }
    return word;
}

/* Two tables of eight whose sum, with signs for the bytes that are not asked for, is v[16]. */
static inline void tq_cuda_split_table(const int *v, uint32_t *t)
{
    int low[8];
    int high[8];
    for (int i = 0; i < 8; i++) {
        for (int a = 0; a < 4; a++) { /* A byte that meets the other one's -1 is one larger. */
            const int one = v[i] + a % 2;
            const int two = v[8 + i] + a / 2;
            if ((two < 0) == (a % 2 == 1) && (one < 0) == (a / 2 == 1)) {
                low[i] = one;
                high[i] = two;
            }
        }
    }
    t[0] = tq_cuda_four_bytes(low);
    t[1] = tq_cuda_four_bytes(low + 4);
    t[2] = tq_cuda_four_bytes(high);
    t[3] = tq_cuda_four_bytes(high + 4);
}

/* A selector's nibble for chunks 2 and 3 of turbo3t and turbo4t has n in its low half. */
static inline int tq_cuda_swap_halves(int nibble)
{
    return nibble >> 2 | (nibble & 3) << 2;
}

/* Half-odd multiples of `step` next to the Lloyd-Max levels: the step with the least mean squared error. */
static inline float tq_cuda_fit_levels(const tq_code *code, int *v)
{
    const int n = 1 << code->bits;
    const float *levels = code->centroids;
    double best = 1e30;
    double best_inverse = 1;
    for (int tries = 0; tries < 8000; tries++) {
        const double inverse = 126.5 / (double)levels[n - 1] * (1 - tries / 16000.0);
        double error = 0;
        for (int i = n / 2; i < n; i++) {
            const double level = (double)levels[i];
            const double top = i == n - 1 ? 9 : (double)code->thresholds[i];
            const double weight = erf(top / sqrt(2)) - erf((double)code->thresholds[i - 1] / sqrt(2));
            const double off = (floor(level * inverse) + 0.5) / inverse - level;
            error += weight * off * off;
        }
        if (error < best) {
            best = error;
            best_inverse = inverse;
        }
    }
    for (int i = n / 2; i < n; i++) {
        v[i] = (int)floor((double)levels[i] * best_inverse);
        v[n - 1 - i] = ~v[i];
    }
    return (float)(1 / best_inverse);
}

static inline tq_cuda_lookup tq_cuda_make_lookup(const tq_code *code)
{
    tq_cuda_lookup lookup;
    int v[32] = {0};
    const bool trellis = code->trellis.bits != 0;
    const int n = trellis ? 2 << code->bits : 1 << code->bits;
    if (trellis) {
        lookup.step = code->trellis.step;
        for (int i = 0; i < n; i++) {
            v[i] = code->trellis.k[i];
        }
    } else {
        lookup.step = tq_cuda_fit_levels(code, v);
    }
    for (int set = 0; set < 2; set++) {
        int entry[16];
        for (int i = 0; i < 16; i++) {
            const int index = trellis && n > 8 && set == 1 ? tq_cuda_swap_halves(i) : i;
            entry[i] = n == 32 ? v[16 + index] : v[index % n];
        }
        if (n == 16) {
            tq_cuda_split_table(entry, lookup.t[set]);
        } else {
            for (int i = 0; i < 4; i++) {
                lookup.t[set][i] = tq_cuda_four_bytes(entry + 4 * i);
            }
        }
    }
    return lookup;
}

#endif /* TQ_TABLES_CUDA_H */
