/* SPDX-License-Identifier: MIT
 *
 * A GPU as the launches of launch_metal.h see it: memory, and kernels that run behind the caller's back. There are two,
 * Apple's (host_metal.m) and the one of the tests, which runs the kernels on the processor; each implements a table of
 * six operations. What others call are the functions below, which check what can be checked before a driver is asked,
 * and remember that a device is lost.
 *
 * Contract of the operations
 * - An operation that fails returns a tq_status and calls tq_gpu_fail with one sentence, else TQ_OK. It has then
 *   changed nothing. After TQ_ERR_BACKEND the device counts as lost: nothing but `free` and `destroy` is called.
 * - Launches run in the order they were made, each after the one before it. A launch copies its arguments and returns;
 *   errors of its kernel may be reported by `wait`.
 * - Memory is shared: the processor uses it where it is, while no launch that uses it is under way. Kernels find it as
 *   their argument, or, unless it was wrapped, at its address.
 * - `wrap` makes memory of the caller's bytes, without a copy, where the device can reach them; it returns
 *   TQ_ERR_UNSUPPORTED where it cannot, which is no failure. The bytes outlive the memory.
 * - Several threads may call at the same time. */
#ifndef TQ_GPU_METAL_H
#define TQ_GPU_METAL_H

#if defined(__cplusplus)
#include <atomic>
using std::atomic_bool;
#else
#include <stdatomic.h>
#include <stdbool.h>
#endif

#include "turboquant.h"

typedef struct tq_gpu tq_gpu;

/* Backends put it first in a struct of their own. */
typedef struct tq_gpu_memory {
    size_t bytes;
    void *host;       /* Where the processor has them, */
    uint64_t address; /* and kernels. */
} tq_gpu_memory;

/* An argument: memory from byte `at` on; memory null: nothing is there. */
typedef struct tq_gpu_slice {
    tq_gpu_memory *memory;
    size_t at;
} tq_gpu_slice;

enum { TQ_LAUNCH_BUFFERS = 16, TQ_LAUNCH_CONSTANTS = 4 };

/* One run of a kernel. args_metal.h says what kernels there are, and what they take. */
typedef struct tq_launch {
    unsigned kernel;
    unsigned n_constants;
    int32_t constants[TQ_LAUNCH_CONSTANTS]; /* What the kernel is specialised for. */
    const void *args;                       /* A struct, copied. */
    size_t args_bytes;
    unsigned n_buffers;
    tq_gpu_slice buffers[TQ_LAUNCH_BUFFERS]; /* By index; [0] is not used: it is where the struct goes. */
    uint32_t groups[3];
    uint32_t threads;      /* Of a group. */
    uint32_t shared_bytes; /* Of a group. */
} tq_launch;

typedef struct tq_gpu_ops {
    tq_status (*alloc)(tq_gpu *device, size_t bytes, tq_gpu_memory **memory);
    tq_status (*wrap)(tq_gpu *device, void *data, size_t bytes, tq_gpu_memory **memory);
    void (*free)(tq_gpu *device, tq_gpu_memory *memory);
    tq_status (*launch)(tq_gpu *device, const tq_launch *launch);
    tq_status (*wait)(tq_gpu *device);
    void (*destroy)(tq_gpu *device);
} tq_gpu_ops;

/* Backends put it first in a struct of their own. */
struct tq_gpu {
    const tq_gpu_ops *ops;
    atomic_bool is_lost;
    char problem[256]; /* The sentence of the last failure, of whichever thread. */
};

/* For operations: keeps the sentence, cut to fit, and returns the status. */
tq_status tq_gpu_fail(tq_gpu *device, tq_status status, const char *sentence);

/* Memory is uninitialised. TQ_ERR_INVALID_ARGUMENT for 0 bytes, TQ_ERR_OUT_OF_MEMORY, TQ_ERR_BACKEND. */
tq_status tq_gpu_alloc(tq_gpu *device, size_t bytes, tq_gpu_memory **memory);
/* Also TQ_ERR_UNSUPPORTED. */
tq_status tq_gpu_wrap(tq_gpu *device, void *data, size_t bytes, tq_gpu_memory **memory);
/* Null is ignored. */
void tq_gpu_free(tq_gpu *device, tq_gpu_memory *memory);
/* A launch of no groups does nothing. TQ_ERR_INVALID_ARGUMENT for what no device can run. */
tq_status tq_gpu_launch(tq_gpu *device, const tq_launch *launch);
tq_status tq_gpu_wait(tq_gpu *device);
/* Null is ignored. All memory has been freed. */
void tq_gpu_destroy(tq_gpu *device);

#endif /* TQ_GPU_METAL_H */
