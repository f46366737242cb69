/* SPDX-License-Identifier: MIT
 *
 * Scores of a page of keys with SDOT. */
#include "kernels/neon/dot_dotprod.h"

#include "kernels/neon/page_scores_dot.h"
