/* SPDX-License-Identifier: MIT
 *
 * Floats at the API's border with AVX-512. */
#include "kernels/x86/lanes_avx512.h"

#include "kernels/simd/convert_lanes.h"
