/* SPDX-License-Identifier: MIT
 *
 * Rows of halves with NEON: registers of four f32. */
#include "kernels/neon/wide_neon.h"

#include "kernels/simd/half_wide.h"
