/* SPDX-License-Identifier: MIT
 *
 * Sums of a page of values with AVX2. */
#include "kernels/x86/dot_avx2.h"

#include "kernels/x86/page_sum_dot.h"
