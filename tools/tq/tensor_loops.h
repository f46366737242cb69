/* SPDX-License-Identifier: MIT */
/* The inner loops of the weights. tensor_loops.c is compiled once for every instruction set worth telling apart; each
 * copy gives one of these tables. */
#ifndef TQ_TOOL_TENSOR_LOOPS_H
#define TQ_TOOL_TENSOR_LOOPS_H

#include <stddef.h>
#include <stdint.h>

enum tensor_layout {
    LAYOUT_F32,
    LAYOUT_F16,
    LAYOUT_BF16,
    LAYOUT_Q8_0,
    LAYOUT_Q4_0,
    LAYOUT_Q4_K,
    LAYOUT_Q5_K,
    LAYOUT_Q6_K,
    LAYOUT_COUNT
};

struct tensor_loops {
    const char *name;
    /* n elements, a multiple of the block, of consecutive blocks. */
    void (*dequantise[LAYOUT_COUNT])(const uint8_t *blocks, size_t n, float *x);
    float (*dot)(const float *a, const float *b, size_t n);
    /* out += weight * x */
    void (*add_scaled)(float weight, const float *x, size_t n, float *out);
};

extern const struct tensor_loops tensor_loops_portable;
extern const struct tensor_loops tensor_loops_avx2;
extern const struct tensor_loops tensor_loops_avx512;

#endif /* TQ_TOOL_TENSOR_LOOPS_H */
