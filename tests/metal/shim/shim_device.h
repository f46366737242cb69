/* SPDX-License-Identifier: MIT
 *
 * A device (gpu_metal.h) whose kernels are the Metal sources, run on the processor. */
#ifndef TQ_SHIM_DEVICE_H
#define TQ_SHIM_DEVICE_H

#ifdef __cplusplus
#include <atomic> /* A template has no C linkage. */
extern "C" {
#endif

#include "kernels/metal/gpu_metal.h"

/* Threads run in the "forward", "reverse" or "random" order. One device at a time. */
tq_gpu *tq_shim_device_open(const char *order);

/* For tests that want to see an error: the barrier at "FILE:LINE" is "removed", or "divergent". */
void tq_shim_break_barrier(const char *how, const char *where);

#ifdef __cplusplus
}
#endif

#endif
