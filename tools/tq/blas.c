/* SPDX-License-Identifier: MIT */
/* OpenBLAS 0.3.21 (Debian 12) takes CPUs that are younger than itself for old ones and then leaves half of their speed
 * unused. Its threads are not needed: the engine's own threads call it, each for itself. */
#define _POSIX_C_SOURCE 200809L
#include "blas.h"

#include <cblas.h>
#include <stdlib.h>
#include <unistd.h>

void blas_prepare(char **argv)
{
    if (getenv("OPENBLAS_NUM_THREADS") != NULL) { /* Second start, or the user knows what he wants. */
        return;
    }
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq")) {
        setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
    }
#endif
    execv("/proc/self/exe", argv);
    openblas_set_num_threads(1); /* No /proc here: slower, but it works. */
}

const char *blas_kernels(void)
{
    return openblas_get_corename();
}
