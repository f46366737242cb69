/* SPDX-License-Identifier: MIT
 *
 * The AVX2 backend's table: what is not here is left to the weaker backends. */
#include "kernels/x86/pages_x86.h"
#include "kernels/x86/x86.h"

void tq_kernels_avx2(tq_kernels *kernels)
{
    kernels->all_finite = tq_all_finite_avx2;
    kernels->widen = tq_widen_avx2;
    kernels->narrow = tq_narrow_avx2;
    kernels->sum_squares = tq_sum_squares_avx2;
    kernels->rotate = tq_rotate_avx2;
    kernels->unrotate = tq_unrotate_avx2;
    kernels->lloyd_encode = tq_lloyd_encode_avx2;
    kernels->lloyd_decode = tq_lloyd_decode_avx2;
    kernels->lloyd_scores = tq_lloyd_scores_avx2;
    kernels->lloyd_sum = tq_lloyd_sum_avx2;
    kernels->trellis_encode = tq_trellis_encode_avx2;
    kernels->trellis_decode = tq_trellis_decode_avx2;
    kernels->trellis_scores = tq_trellis_scores_avx2;
    kernels->trellis_sum = tq_trellis_sum_avx2;
    kernels->sign_encode = tq_sign_encode_avx2;
    kernels->sign_scores = tq_sign_scores_avx2;
    kernels->sign_sum = tq_sign_sum_avx2;
    kernels->half_encode = tq_half_encode_avx2;
    kernels->half_decode = tq_half_decode_avx2;
    kernels->half_scores = tq_half_scores_avx2;
    kernels->half_sum = tq_half_sum_avx2;
    kernels->page_write = tq_page_write_x86;
    kernels->page_read = tq_page_read_x86;
    kernels->page_query = tq_page_query_avx2;
    kernels->page_scores = tq_page_scores_avx2;
    kernels->page_sum = tq_page_sum_avx2;
    kernels->soften = tq_soften_avx2;
}
