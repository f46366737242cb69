/* SPDX-License-Identifier: MIT
 *
 * Scores of a page of keys with AVX-VNNI. */
#include "kernels/x86/dot_avxvnni.h"

#include "kernels/x86/page_scores_dot.h"
