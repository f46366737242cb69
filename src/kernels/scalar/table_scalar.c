/* SPDX-License-Identifier: MIT
 *
 * The scalar backend's table: it has every operation. */
#include "kernels/scalar/scalar.h"

void tq_kernels_scalar(tq_kernels *kernels)
{
#define X(name, contract, result, arguments) kernels->name = tq_##name##_scalar;
#include "kernels/kernels.def"
#undef X
}
