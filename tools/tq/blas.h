/* SPDX-License-Identifier: MIT */
/* OpenBLAS: which of its kernels it uses, and how many threads. */
#ifndef TQ_TOOL_BLAS_H
#define TQ_TOOL_BLAS_H

/* Call first in main. OpenBLAS chooses its kernels and starts its threads while the program is being loaded, before
 * main; so where its choice would be wrong, this sets its environment variables and starts the program again. */
void blas_prepare(char **argv);

/* Name of the kernels that OpenBLAS uses ("SkylakeX"). */
const char *blas_kernels(void);

#endif /* TQ_TOOL_BLAS_H */
