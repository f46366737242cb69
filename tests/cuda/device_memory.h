/* SPDX-License-Identifier: MIT
 *
 * Memory of the first CUDA device, for tests; what fails ends the test. */
#ifndef TQ_TESTS_DEVICE_MEMORY_H
#define TQ_TESTS_DEVICE_MEMORY_H

#include <stddef.h>

/* Before all others: 0 if there is no driver, or no device. */
int device_begin(void);

void *device_new(size_t bytes);
void *device_copy(const void *from, size_t bytes);
void device_free(void *memory);

/* Waits for the device, then copies to the host. */
void device_read(void *to, const void *from, size_t bytes);

#endif
