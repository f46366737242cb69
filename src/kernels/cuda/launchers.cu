/* SPDX-License-Identifier: MIT
 *
 * The C interface of the kernels. */
#include "kernels/cuda/launchers_cuda.h"

#include "kernels/cuda/attend_cuda.h"

#if !defined(TQ_CUDA_DIMS)
#define TQ_CUDA_DIMS(X) X(64) X(80) X(96) X(112) X(128) X(192) X(256)
#endif

int tq_cuda_allow_shared(const void *kernel, int bytes)
{
    /* Setting it again is cheap and harmless, and allowed while a stream is captured. */
    const cudaError_t status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (status != cudaSuccess) {
        return (int)status;
    }
    return (int)cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, 100);
}

int tq_cuda_plan_splits(const tq_cuda_attend_args *args, int64_t n_tokens, int n_sms)
{
    const int64_t pages = (n_tokens + TQ_CUDA_PAGE - 1) / TQ_CUDA_PAGE;
    const int64_t rows = (int64_t)args->n_q_tokens * args->group;
    const int64_t tiles = rows <= 4 ? 1 : (rows + 7) / 8;
    const int64_t tracks = (int64_t)args->n_seqs * args->n_kv_heads * tiles;
    const int64_t wave = 4 * (int64_t)n_sms / tracks; /* Splits that fill the device once. */
    const int64_t bytes = (int64_t)args->n_seqs * args->n_kv_heads * pages *
                          tq_cuda_record_of(args->k_format, args->v_format, args->dim, true, true).bytes;
    const int64_t most = (pages + TQ_LEAST_PAGES - 1) / TQ_LEAST_PAGES;
    const int64_t least = (pages + 1023) / 1024; /* Sums stay within int32. */
    /* Few bytes: merging costs more than half of the device gains. Many: a second wave evens out what is uneven. */
    int64_t splits = bytes < (40 << 20) ? wave / 2 : bytes > (400 << 20) ? 2 * wave : wave;
    splits = splits > most ? most : splits;
    splits = splits < least ? least : splits;
    return (int)(splits < 1 ? 1 : splits);
}

int64_t tq_cuda_partial_floats(const tq_cuda_attend_args *a)
{
    const int64_t slots =
        (int64_t)a->n_seqs * a->n_kv_heads * a->n_q_tokens * a->group * (a->exact_splits + a->n_splits);
    return slots * (a->dim + 2);
}

int tq_cuda_attend(const tq_cuda_attend_args *args)
{
    switch (args->dim) {
#define X(DIM)                                                                                                         \
    case DIM:                                                                                                          \
        return tq_cuda_attend_dim<DIM>(*args);
        TQ_CUDA_DIMS(X)
#undef X
    default:
        return TQ_CUDA_NO_KERNEL;
    }
}
