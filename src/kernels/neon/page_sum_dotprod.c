/* SPDX-License-Identifier: MIT
 *
 * Sums of a page of values with SDOT. */
#include "kernels/neon/dot_dotprod.h"

#include "kernels/neon/page_sum_dot.h"
