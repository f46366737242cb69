/* SPDX-License-Identifier: MIT
 *
 * The dotprod backend's table: NEON with other dot products. What is not here is left to the weaker backends. */
#include "kernels/neon/neon.h"

void tq_kernels_dotprod(tq_kernels *kernels)
{
    kernels->page_scores = tq_page_scores_dotprod;
    kernels->page_sum = tq_page_sum_dotprod;
}
