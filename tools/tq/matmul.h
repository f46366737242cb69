/* SPDX-License-Identifier: MIT */
/* Activations times weights. */
#ifndef TQ_TOOL_MATMUL_H
#define TQ_TOOL_MATMUL_H

#include "tensor.h"
#include "threads.h"

/* Floats of scratch that a slot needs for matrices of up to `cols` columns. */
size_t matmul_scratch(size_t cols);

/* y[t][r] = <row r of w, x[t]> + bias[r], for n tokens; bias may be null. `scratch`: matmul_scratch() floats for every
 * slot of `threads`, with `cols` the largest of all calls. The result does not depend on the number of threads. */
void matmul(const struct threads *threads, const struct tensor *w, const float *bias, const float *x, size_t n,
            float *scratch, size_t scratch_stride, float *y);

#endif /* TQ_TOOL_MATMUL_H */
