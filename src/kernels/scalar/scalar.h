/* SPDX-License-Identifier: MIT
 *
 * The scalar backend: the readable reference of every operation. What it computes is what the formats mean; every
 * other backend is tested against it. */
#ifndef TQ_SCALAR_H
#define TQ_SCALAR_H

#include "kernels/kernels.h"

#define X(name, contract, result, arguments) result tq_##name##_scalar arguments;
#include "kernels/kernels.def"
#undef X

#endif /* TQ_SCALAR_H */
