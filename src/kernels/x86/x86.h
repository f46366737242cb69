/* SPDX-License-Identifier: MIT
 *
 * Declarations of what the x86-64 backends may have. Which of these exist, the tables say. */
#ifndef TQ_X86_H
#define TQ_X86_H

#include "kernels/kernels.h"

#define X(name, contract, result, arguments)                                                                           \
    result tq_##name##_avx2 arguments;                                                                                 \
    result tq_##name##_avxvnni arguments;                                                                              \
    result tq_##name##_avx512 arguments;
#include "kernels/kernels.def"
#undef X

#endif /* TQ_X86_H */
