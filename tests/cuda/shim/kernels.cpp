/* SPDX-License-Identifier: MIT
 *
 * The kernels of one head_dim, TQ_CUDA_DIM, for this processor. */
#include "kernels/cuda/kernels.cu"
