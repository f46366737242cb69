/* SPDX-License-Identifier: MIT */
/* The memory of the GPU that contexts of the backend "cuda" work on. The driver is loaded at run time. */
#ifndef TQ_BENCH_DEVICE_H
#define TQ_BENCH_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

struct device;

/* The first GPU; null if there is none, or no memory for this. */
struct device *device_open(void);
void device_close(struct device *device);

const char *device_name(const struct device *device);
size_t device_cache_bytes(const struct device *device); /* Of its last-level cache. */

/* Memory there, uninitialised or with these bytes; null if it is used up. Null is freed by doing nothing. */
void *device_new(const struct device *device, size_t bytes);
void *device_copy(const struct device *device, const void *from, size_t bytes);
void device_free(const struct device *device, void *memory);

/* Queues a copy within the device's memory; waits for all that is queued. */
bool device_move(const struct device *device, void *to, const void *from, size_t bytes);
bool device_wait(const struct device *device);

#endif /* TQ_BENCH_DEVICE_H */
