/* SPDX-License-Identifier: MIT
 *
 * Weighted sums of encoded rows with AVX-512. */
#include "kernels/exact.h"

#include "kernels/x86/row_levels_avx512.h"

#include "kernels/simd/sum_wide.h"
