/* SPDX-License-Identifier: MIT
 *
 * Rows of halves with AVX-512: registers of sixteen f32. */
#include "kernels/x86/wide_avx512.h"

#include "kernels/simd/half_wide.h"
