/* SPDX-License-Identifier: MIT
 *
 * The shim in the place of host_metal.m, so that a context of the backend "metal" can be had; and its failures. */
#ifndef TQ_TESTS_FAILING_GPU_H
#define TQ_TESTS_FAILING_GPU_H

#include "turboquant.h"

/* From here on, the n-th operation that can fail, fails with this status; 0: none does. Returns how many there have
 * been since the last call. */
size_t gpu_fail_at(size_t n, tq_status status);

/* What is allocated on all devices: memories. */
size_t gpu_live(void);

#endif
