/* SPDX-License-Identifier: MIT */
/* OpenBLAS 0.3.21 (Debian 12) takes CPUs that are younger than itself for old ones and then leaves half of their speed
 * unused. */
#define _POSIX_C_SOURCE 200809L
#include "blas.h"

#include <cblas.h>
#include <stdlib.h>
#include <unistd.h>

void blas_choose_kernels(char **argv)
{
#if defined(__x86_64__)
    if (getenv("OPENBLAS_CORETYPE") == NULL && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")) {
        setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
        execv("/proc/self/exe", argv); /* Without /proc it goes on, slower. */
    }
#else
    (void)argv;
#endif
}

void blas_use_one_thread(void)
{
    openblas_set_num_threads(1);
}

const char *blas_kernels(void)
{
    return openblas_get_corename();
}
