/* SPDX-License-Identifier: MIT
 *
 * The NEON backend's table: what is not here is left to the weaker backends. */
#include "kernels/neon/neon.h"

void tq_kernels_neon(tq_kernels *kernels)
{
    kernels->all_finite = tq_all_finite_neon;
    kernels->widen = tq_widen_neon;
    kernels->narrow = tq_narrow_neon;
    kernels->sum_squares = tq_sum_squares_neon;
    kernels->rotate = tq_rotate_neon;
    kernels->unrotate = tq_unrotate_neon;
    kernels->lloyd_encode = tq_lloyd_encode_neon;
    kernels->lloyd_decode = tq_lloyd_decode_neon;
    kernels->lloyd_scores = tq_lloyd_scores_neon;
    kernels->lloyd_sum = tq_lloyd_sum_neon;
    kernels->trellis_encode = tq_trellis_encode_neon;
    kernels->trellis_decode = tq_trellis_decode_neon;
    kernels->trellis_scores = tq_trellis_scores_neon;
    kernels->trellis_sum = tq_trellis_sum_neon;
    kernels->sign_encode = tq_sign_encode_neon;
    kernels->sign_scores = tq_sign_scores_neon;
    kernels->sign_sum = tq_sign_sum_neon;
    kernels->half_encode = tq_half_encode_neon;
    kernels->half_decode = tq_half_decode_neon;
    kernels->half_scores = tq_half_scores_neon;
    kernels->half_sum = tq_half_sum_neon;
    kernels->page_write = tq_page_write_neon;
    kernels->page_read = tq_page_read_neon;
    kernels->page_query = tq_page_query_neon;
    kernels->page_scores = tq_page_scores_neon;
    kernels->page_sum = tq_page_sum_neon;
    kernels->soften = tq_soften_neon;
}
