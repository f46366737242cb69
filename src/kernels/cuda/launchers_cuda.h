/* SPDX-License-Identifier: MIT
 *
 * Between the launchers and the files that hold the kernels of one dim each. */
#ifndef TQ_LAUNCHERS_CUDA_H
#define TQ_LAUNCHERS_CUDA_H

#include "kernels/cuda/args_cuda.h"

/* Defined by attend.cu, compiled once for each dim. */
template <int DIM> int tq_cuda_attend_dim(const tq_cuda_attend_args &a);

/* Lets a kernel use so much shared memory, on the current device; remembers for which it has. */
int tq_cuda_allow_shared(const void *kernel, int bytes);

#endif /* TQ_LAUNCHERS_CUDA_H */
