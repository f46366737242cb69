/* SPDX-License-Identifier: MIT
 *
 * Scores of a page of keys with AVX2. */
#include "kernels/x86/dot_avx2.h"

#include "kernels/x86/page_scores_dot.h"
