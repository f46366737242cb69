/* SPDX-License-Identifier: MIT
 *
 * The trellis encoder with AVX-512. */
#include "kernels/exact.h"

#include "kernels/x86/words_avx512.h"

enum { PATHS = 4 }; /* Their metrics fill eight of the 32 registers. */

#include "kernels/simd/trellis_encode_lanes.h"
