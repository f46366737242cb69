/* SPDX-License-Identifier: MIT
 *
 * Scores of encoded rows with AVX2. */
#include "kernels/x86/row_levels_avx2.h"

#include "kernels/simd/scores_wide.h"
