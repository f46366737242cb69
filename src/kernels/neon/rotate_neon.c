/* SPDX-License-Identifier: MIT
 *
 * Rotations with NEON. */
#include "kernels/exact.h"

#include "kernels/neon/lanes_neon.h"

#include "kernels/simd/rotate_lanes.h"
