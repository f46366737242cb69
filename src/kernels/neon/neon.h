/* SPDX-License-Identifier: MIT
 *
 * Declarations of what the Arm backends may have. Which of these exist, the tables say. */
#ifndef TQ_NEON_H
#define TQ_NEON_H

#include "kernels/kernels.h"

#define X(name, contract, result, arguments)                                                                           \
    result tq_##name##_neon arguments;                                                                                 \
    result tq_##name##_dotprod arguments;
#include "kernels/kernels.def"
#undef X

#endif /* TQ_NEON_H */
