/* SPDX-License-Identifier: MIT
 *
 * Rotations with AVX2. */
#include "kernels/exact.h"

#include "kernels/x86/lanes_avx2.h"

#include "kernels/simd/rotate_lanes.h"
