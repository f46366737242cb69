/* SPDX-License-Identifier: MIT
 *
 * Weighted sums of encoded rows with NEON. */
#include "kernels/exact.h"

#include "kernels/neon/row_levels_neon.h"

#include "kernels/simd/sum_wide.h"
