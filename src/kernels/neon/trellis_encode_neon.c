/* SPDX-License-Identifier: MIT
 *
 * The trellis encoder with NEON. */
#include "kernels/exact.h"

#include "kernels/neon/words_neon.h"

enum { PATHS = 2 }; /* Their metrics fill 16 of the 32 registers. */

#include "kernels/simd/trellis_encode_lanes.h"
