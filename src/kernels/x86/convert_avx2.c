/* SPDX-License-Identifier: MIT
 *
 * Floats at the API's border with AVX2. */
#include "kernels/x86/lanes_avx2.h"

#include "kernels/simd/convert_lanes.h"
