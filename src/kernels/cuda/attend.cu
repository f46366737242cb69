/* SPDX-License-Identifier: MIT
 *
 * The attention kernels of one dim, TQ_CUDA_DIM, by name:
 *
 *     tq_attend_<keys>_<values>_<tiles>           formats by number, 1 tile for 4 query rows of a KV head, 2 for 8
 *     tq_attend_<keys>_<values>_<tiles>_shared    the bytes of dynamic shared memory it takes
 *     tq_attend_general, tq_attend_general_shared what takes pages of any forms
 *     tq_merge                                    what follows them
 *     tq_combine                                  what follows several merges */
#include "kernels/cuda/attend_general_cuda.h"
#include "kernels/cuda/attend_kernel_cuda.h"
#include "kernels/cuda/merge_cuda.h"

#define KERNEL(K, V, TILES)                                                                                            \
    extern "C" __device__ int tq_attend_##K##_##V##_##TILES##_shared =                                                 \
        tq_attend_shape<K, V, TQ_CUDA_DIM, TILES>::SHARED_BYTES;                                                       \
    extern "C" __global__ void __launch_bounds__(TQ_ATTEND_THREADS,                                                    \
                                                 (tq_attend_shape<K, V, TQ_CUDA_DIM, TILES>::BLOCKS))                  \
        tq_attend_##K##_##V##_##TILES(TQ_ARGS(tq_cuda_attend_args) a)                                                  \
    {                                                                                                                  \
        tq_attend_block<K, V, TQ_CUDA_DIM, TILES>(a);                                                                  \
    }
#define X(K, V) KERNEL(K, V, 1) KERNEL(K, V, 2)
#include "kernels/cuda/instances.def"
#undef X
#undef KERNEL

extern "C" __device__ int tq_attend_general_shared = sizeof(tq_general_memory<TQ_CUDA_DIM>);
extern "C" __global__ void __launch_bounds__(TQ_ATTEND_THREADS) tq_attend_general(TQ_ARGS(tq_cuda_attend_args) a)
{
    tq_attend_general_block<TQ_CUDA_DIM>(a);
}

extern "C" __global__ void __launch_bounds__(TQ_ATTEND_THREADS) tq_merge(TQ_ARGS(tq_cuda_attend_args) a)
{
    tq_merge_block<TQ_CUDA_DIM>(a);
}

extern "C" __global__ void __launch_bounds__(TQ_ATTEND_THREADS) tq_combine(TQ_ARGS(tq_cuda_combine_args) a)
{
    tq_combine_block(a);
}
