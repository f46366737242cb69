/* SPDX-License-Identifier: MIT
 *
 * The GPU of an Apple machine as a device (gpu_metal.h). */
#ifndef TQ_HOST_METAL_H
#define TQ_HOST_METAL_H

#include "kernels/metal/gpu_metal.h"

/* True if the system has a GPU. */
bool tq_metal_gpu_exists(void);

/* Opens the system's default GPU and compiles the kernels. The allocator, which must live as long, is for what lies on
 * the host. On an error `problem`, of `room` bytes, receives one sentence.
 *
 * TQ_OK; TQ_ERR_UNSUPPORTED (no GPU, or one without simdgroups of 32 threads); TQ_ERR_OUT_OF_MEMORY; TQ_ERR_BACKEND
 * (the kernels do not compile). */
tq_status tq_metal_gpu_open(const tq_allocator *allocator, tq_gpu **device, char *problem, size_t room);

#endif /* TQ_HOST_METAL_H */
