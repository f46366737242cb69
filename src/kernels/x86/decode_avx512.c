/* SPDX-License-Identifier: MIT
 *
 * Decoding with AVX-512. */
#include "kernels/x86/lanes_avx512.h"

#include "kernels/simd/decode_lanes.h"
