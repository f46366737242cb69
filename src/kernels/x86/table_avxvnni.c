/* SPDX-License-Identifier: MIT
 *
 * The AVX-VNNI backend's table: AVX2 with other dot products. What is not here is left to the weaker backends. */
#include "kernels/x86/x86.h"

void tq_kernels_avxvnni(tq_kernels *kernels)
{
    kernels->page_query = tq_page_query_avxvnni;
    kernels->page_scores = tq_page_scores_avxvnni;
    kernels->page_sum = tq_page_sum_avxvnni;
}
