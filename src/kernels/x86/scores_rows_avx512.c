/* SPDX-License-Identifier: MIT
 *
 * Scores of encoded rows with AVX-512. */
#include "kernels/x86/row_levels_avx512.h"

#include "kernels/simd/scores_wide.h"
