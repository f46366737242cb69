/* SPDX-License-Identifier: MIT
 *
 * Sums of a page of values with NEON. */
#include "kernels/neon/dot_neon.h"

#include "kernels/neon/page_sum_dot.h"
