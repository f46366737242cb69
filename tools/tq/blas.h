/* SPDX-License-Identifier: MIT */
/* OpenBLAS: which of its kernels it uses, and how many threads. */
#ifndef TQ_TOOL_BLAS_H
#define TQ_TOOL_BLAS_H

/* Call first in main. OpenBLAS chooses its kernels while the program is being loaded, before main; so where its choice
 * would be wrong, this sets its environment variable OPENBLAS_CORETYPE and starts the program again. */
void blas_choose_kernels(char **argv);

/* The engine's own threads call OpenBLAS, each for itself: the result then does not depend on their number. */
void blas_use_one_thread(void);

/* Name of the kernels that OpenBLAS uses ("SkylakeX"). */
const char *blas_kernels(void);

#endif /* TQ_TOOL_BLAS_H */
