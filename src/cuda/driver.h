/* SPDX-License-Identifier: MIT
 *
 * The CUDA driver's API, loaded at run time: nothing of CUDA is linked, and no header of it is needed to build. The few
 * types and constants below are those of its binary interface. */
#ifndef TQ_CUDA_DRIVER_H
#define TQ_CUDA_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Addresses on the device are numbers of 64 bits there, and pointers here. */
_Static_assert(sizeof(void *) == 8, "CUDA devices need 64 bits");

/* CUlaunchAttribute */
typedef struct tq_cuda_launch_attribute {
    int id;
    int unused;
    union {
        int number;
        char room[64];
    } value;
} tq_cuda_launch_attribute;

/* CUlaunchConfig */
typedef struct tq_cuda_launch {
    unsigned grid[3];
    unsigned block[3];
    unsigned shared_bytes;
    void *stream;
    tq_cuda_launch_attribute *attributes;
    unsigned n_attributes;
} tq_cuda_launch;

enum {
    TQ_CUDA_OUT_OF_MEMORY = 2,
    TQ_CUDA_NO_BINARY = 209, /* For this device. */
    TQ_CUDA_NOT_FOUND = 500,
    TQ_CUDA_MULTIPROCESSORS = 16, /* Attributes of a device, */
    TQ_CUDA_MAJOR = 75,
    TQ_CUDA_MINOR = 76,
    TQ_CUDA_MOST_SHARED = 97,
    TQ_CUDA_DYNAMIC_SHARED = 8, /* of a function, */
    TQ_CUDA_CARVEOUT = 9,
    TQ_CUDA_MEMORY_TYPE = 2,     /* of a pointer */
    TQ_CUDA_DEVICE_MEMORY = 2,   /* and its values, */
    TQ_CUDA_OVERLAP_LAUNCHES = 6 /* and of a launch. */
};

typedef struct tq_cuda_driver {
    void *library;
#define X(name, symbol, arguments) int(*name) arguments;
#include "cuda/driver.def"
#undef X
} tq_cuda_driver;

/* Loads the driver; false if there is none, or one that is too old. */
bool tq_cuda_driver_open(tq_cuda_driver *driver);

void tq_cuda_driver_close(tq_cuda_driver *driver);

#endif /* TQ_CUDA_DRIVER_H */
