/* SPDX-License-Identifier: MIT
 *
 * Floats at the API's border with NEON. */
#include "kernels/neon/lanes_neon.h"

#include "kernels/simd/convert_lanes.h"
