/* SPDX-License-Identifier: MIT
 *
 * Rows of halves with AVX2 and F16C: registers of eight f32. */
#include "kernels/x86/wide_avx2.h"

#include "kernels/simd/half_wide.h"
