/* SPDX-License-Identifier: MIT
 *
 * Weighted sums of encoded rows with AVX2. */
#include "kernels/exact.h"

#include "kernels/x86/row_levels_avx2.h"

#include "kernels/simd/sum_wide.h"
