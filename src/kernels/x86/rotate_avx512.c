/* SPDX-License-Identifier: MIT
 *
 * Rotations with AVX-512. */
#include "kernels/exact.h"

#include "kernels/x86/lanes_avx512.h"

#include "kernels/simd/rotate_lanes.h"
