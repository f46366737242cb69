/* SPDX-License-Identifier: MIT
 *
 * Integer dot products with AVX-VNNI: one instruction each, which does not saturate. See dot_avx2.h. */
#ifndef TQ_DOT_AVXVNNI_H
#define TQ_DOT_AVXVNNI_H

#include "compiler.h"

#include <immintrin.h>
#include <stdint.h>

#define TQ_KERNEL(name) tq_##name##_avxvnni

enum { DOT_MOST = INT32_MAX };

TQ_INLINE __m256i dot_bytes(__m256i sum, __m256i of_unsigned, __m256i of_signed)
{
    return _mm256_dpbusd_avx_epi32(sum, of_unsigned, of_signed);
}

#endif /* TQ_DOT_AVXVNNI_H */
