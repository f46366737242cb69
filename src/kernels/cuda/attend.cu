/* SPDX-License-Identifier: MIT
 *
 * The attention kernels of one dim, TQ_CUDA_DIM, and the function that launches them. */
#include "kernels/cuda/attend_kernel_cuda.h"
#include "kernels/cuda/launchers_cuda.h"
#include "kernels/cuda/merge_cuda.h"

namespace
{

template <int K, int V, int TILES> int launch(const tq_cuda_attend_args &a)
{
    constexpr int BYTES = tq_attend_shape<K, V, TQ_CUDA_DIM, TILES>::SHARED_BYTES;
    const auto kernel = tq_attend_kernel<K, V, TQ_CUDA_DIM, TILES>;
    const int rows = a.n_q_tokens * a.group;
    const dim3 grid(a.n_seqs * a.n_kv_heads, a.exact_splits + a.n_splits, (rows + 4 * TILES - 1) / (4 * TILES));
    const int status = tq_cuda_allow_shared((const void *)kernel, BYTES);
    if (status != 0) {
        return status;
    }
    kernel<<<grid, TQ_ATTEND_THREADS, BYTES, (cudaStream_t)a.stream>>>(a);
    return (int)cudaGetLastError();
}

int launch_attend(const tq_cuda_attend_args &a)
{
    const bool few = a.n_q_tokens * a.group <= 4;
#define X(K, V)                                                                                                        \
    if (a.k_format == K && a.v_format == V) {                                                                          \
        return few ? launch<K, V, 1>(a) : launch<K, V, 2>(a);                                                          \
    }
#include "kernels/cuda/instances.def"
#undef X
    return TQ_CUDA_NO_KERNEL;
}

} // namespace

template <> int tq_cuda_attend_dim<TQ_CUDA_DIM>(const tq_cuda_attend_args &a)
{
    const int status = launch_attend(a);
    if (status != 0) {
        return status;
    }
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute overlap = {};
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
    config.gridDim = dim3(a.n_seqs * a.n_kv_heads * a.group * a.n_q_tokens);
    config.blockDim = dim3(TQ_ATTEND_THREADS);
    config.stream = (cudaStream_t)a.stream;
    config.attrs = &overlap;
    config.numAttrs = 1;
    return (int)cudaLaunchKernelEx(&config, tq_merge_kernel<TQ_CUDA_DIM>, a);
}
