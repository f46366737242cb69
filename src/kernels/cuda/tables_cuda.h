/* SPDX-License-Identifier: MIT
 *
 * Makes the tables of lookup_cuda.h, on the host. */
#ifndef TQ_TABLES_CUDA_H
#define TQ_TABLES_CUDA_H

#include "kernels/cuda/args_cuda.h"
#include "kernels/cuda/layout_cuda.h"
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

/* The step whose half-odd multiples, one byte each, are nearest to the Lloyd-Max levels. */
static inline double tq_cuda_best_step(const tq_code *code)
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
    return 1 / best_inverse;
}

/* Bytes of both planes of the Lloyd-Max levels; returns the step. */
static inline double tq_cuda_fit_levels(const tq_code *code, int *v, int *w)
{
    const int n = 1 << code->bits;
    const double step = tq_cuda_best_step(code);
    for (int i = n / 2; i < n; i++) {
        const double level = (double)code->centroids[i] / step;
        v[i] = (int)floor(level);
        w[i] = (int)floor((level - v[i] - 0.5) * (double)TQ_CUDA_FINE);
        v[n - 1 - i] = ~v[i];
        w[n - 1 - i] = ~w[i];
    }
    return step;
}

static inline void tq_cuda_fill_table(const int *v, uint32_t *t)
{
    for (int i = 0; i < 4; i++) {
        t[i] = tq_cuda_four_bytes(v + 4 * i);
    }
}

static inline tq_cuda_table tq_cuda_lloyd_table(const tq_code *code)
{
    tq_cuda_table table;
    int planes[2][16];
    const int n = 1 << code->bits;
    table.step = (float)tq_cuda_fit_levels(code, planes[0], planes[1]);
    for (int plane = 0; plane < 2; plane++) {
        for (int i = 0; n == 16 && i < 8; i++) { /* Magnitudes. */
            planes[plane][i] = planes[plane][8 + i];
        }
        for (int i = n; i < 16; i++) {
            planes[plane][i] = planes[plane][i % n];
        }
        tq_cuda_fill_table(planes[plane], table.t[plane]);
    }
    return table;
}

static inline tq_cuda_table tq_cuda_trellis_table(const tq_code *code)
{
    tq_cuda_table table;
    const int n = 2 << code->bits;
    table.step = code->trellis.step;
    for (int set = 0; set < 2; set++) {
        int entry[16];
        for (int i = 0; i < 16; i++) {
            const int index = n > 8 && set == 1 ? tq_cuda_swap_halves(i) : i;
            entry[i] = (int)code->trellis.k[n == 32 ? 16 + index : index % n];
        }
        if (n == 16) {
            tq_cuda_split_table(entry, table.t[set]);
        } else {
            tq_cuda_fill_table(entry, table.t[set]);
        }
    }
    return table;
}

static inline tq_cuda_table tq_cuda_make_table(const tq_code *code)
{
    return code->trellis.bits != 0 ? tq_cuda_trellis_table(code) : tq_cuda_lloyd_table(code);
}

#endif /* TQ_TABLES_CUDA_H */
