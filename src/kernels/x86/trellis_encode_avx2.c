/* SPDX-License-Identifier: MIT
 *
 * The trellis encoder with AVX2. */
#include "kernels/exact.h"

#include "kernels/x86/words_avx2.h"

enum { PATHS = 2 }; /* Their metrics fill eight of the 16 registers. */

#include "kernels/simd/trellis_encode_lanes.h"
