/* SPDX-License-Identifier: MIT
 *
 * Scores of encoded rows with NEON. */
#include "kernels/neon/row_levels_neon.h"

#include "kernels/simd/scores_wide.h"
