/* SPDX-License-Identifier: MIT
 *
 * Scores of a page of keys with NEON. */
#include "kernels/neon/dot_neon.h"

#include "kernels/neon/page_scores_dot.h"
