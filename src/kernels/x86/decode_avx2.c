/* SPDX-License-Identifier: MIT
 *
 * Decoding with AVX2. */
#include "kernels/x86/lanes_avx2.h"

#include "kernels/simd/decode_lanes.h"
