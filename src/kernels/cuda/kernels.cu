/* SPDX-License-Identifier: MIT
 *
 * All kernels of one head_dim, TQ_CUDA_DIM: one device module. */
#include "kernels/cuda/attend.cu"
#include "kernels/cuda/decode.cu"
#include "kernels/cuda/encode.cu"
#include "kernels/cuda/store.cu"
