/* SPDX-License-Identifier: MIT
 *
 * Decoding with NEON. */
#include "kernels/neon/lanes_neon.h"

#include "kernels/simd/decode_lanes.h"
