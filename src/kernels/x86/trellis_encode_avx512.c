/* SPDX-License-Identifier: MIT
 *
 * The trellis encoder with AVX-512. */
#include "kernels/exact.h"

#include "kernels/x86/words_avx512.h"

enum { PATHS = 4 }; /* 2.2 times as fast as one. */

#include "kernels/x86/trellis_encode_lanes.h"
