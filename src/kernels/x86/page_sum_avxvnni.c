/* SPDX-License-Identifier: MIT
 *
 * Sums of a page of values with AVX-VNNI. */
#include "kernels/x86/dot_avxvnni.h"

#include "kernels/x86/page_sum_dot.h"
