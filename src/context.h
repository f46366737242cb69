/* SPDX-License-Identifier: MIT
 *
 * What all objects share: memory, threads, log and kernels. */
#ifndef TQ_CONTEXT_H
#define TQ_CONTEXT_H

#include "kernels/kernels.h"
#include "turboquant.h"

/* A backend with memory of its own: device.h. */
typedef struct tq_device tq_device;

struct tq_context {
    tq_allocator allocator;
    tq_executor executor;
    tq_log log;
    tq_kernels kernels;
    tq_device *device; /* Null: caches are in the host's memory. */
};

/* Zeroed memory for rows * size bytes, aligned to 64; null if there is none or the product does not fit. */
void *tq_allocate(const tq_allocator *allocator, size_t rows, size_t size);

/* The same for one of the structs of which there are many, aligned as structs are: 64 would cost as much again. */
void *tq_allocate_struct(const tq_allocator *allocator, size_t size);

/* Frees what either returned; null is ignored. */
void tq_release(const tq_allocator *allocator, void *memory);

/* Sends a sentence to the log and returns the status, so that a check reads `return tq_fail(...)`. */
tq_status tq_fail(const tq_context *context, tq_status status, const char *sentence);

/* Calls task(arg, index) for every index below count, on the executor if there is more than one. */
void tq_run(const tq_context *context, tq_task task, void *arg, size_t count);

/* Encodes golden vectors and compares: TQ_OK, TQ_ERR_OUT_OF_MEMORY or TQ_ERR_BACKEND. */
tq_status tq_selftest(const tq_context *context);

#endif /* TQ_CONTEXT_H */
