/* SPDX-License-Identifier: MIT
 *
 * A libcuda.so.1 for machines without a device: memory is the host's, kernels do nothing, and the n-th call of a test's
 * choice fails. What is allocated is counted. */
#include "cuda/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { FAILURE = 999, NO_MEMORY = 2 };

static long calls;
static long fail_at; /* 0: never. */
static long allocated;
static long contexts;
static int newest;
static int most_shared = 4096;

/* What a block can have from now on; kernels say that they take 1024 bytes. */
EXPORT void fake_shared_memory(int bytes)
{
    most_shared = bytes;
}

/* How many calls there were, and from now on the n-th fails. */
EXPORT long fake_fail_at(long n)
{
    const long before = calls;
    calls = 0;
    fail_at = n;
    return before;
}

EXPORT long fake_allocated(void)
{
    return allocated;
}

EXPORT long fake_contexts(void)
{
    return contexts;
}

static int outcome(int error)
{
    return ++calls == fail_at ? error : 0;
}

EXPORT int cuInit(unsigned flags)
{
    (void)flags;
    return 0;
}

EXPORT int cuDeviceGetCount(int *count)
{
    *count = 1;
    return outcome(FAILURE);
}

EXPORT int cuDeviceGet(int *device, int ordinal)
{
    *device = ordinal;
    return outcome(FAILURE);
}

EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    (void)device;
    *value = attribute == TQ_CUDA_MAJOR ? 9 : attribute == TQ_CUDA_MOST_SHARED ? most_shared : 100;
    return outcome(FAILURE);
}

/* For tq_bench. */
EXPORT int cuDeviceGetName(char *name, int bytes, int device)
{
    (void)device;
    snprintf(name, (size_t)bytes, "no device at all");
    return 0;
}

EXPORT int cuDevicePrimaryCtxRetain(void **context, int device)
{
    (void)device;
    const int error = outcome(FAILURE);
    *context = &newest;
    contexts += error == 0;
    return error;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int device)
{
    (void)device;
    contexts--;
    return 0;
}

EXPORT int cuCtxPushCurrent_v2(void *context)
{
    (void)context;
    return outcome(FAILURE);
}

EXPORT int cuCtxPopCurrent_v2(void **context)
{
    *context = NULL;
    return 0;
}

EXPORT int cuModuleLoadData(void **module, const void *image)
{
    (void)image;
    *module = &newest;
    return outcome(FAILURE);
}

EXPORT int cuModuleUnload(void *module)
{
    (void)module;
    return 0;
}

EXPORT int cuModuleGetFunction(void **function, void *module, const char *name)
{
    (void)module;
    (void)name;
    *function = &newest;
    return outcome(FAILURE);
}

EXPORT int cuModuleGetGlobal_v2(void **address, size_t *bytes, void *module, const char *name)
{
    static int shared = 1024;
    (void)module;
    (void)name;
    *address = &shared;
    *bytes = sizeof shared;
    return outcome(FAILURE);
}

EXPORT int cuFuncSetAttribute(void *function, int attribute, int value)
{
    (void)function;
    (void)attribute;
    (void)value;
    return outcome(FAILURE);
}

EXPORT int cuMemAlloc_v2(void **address, size_t bytes)
{
    void *memory = outcome(NO_MEMORY) == 0 ? calloc(1, bytes) : NULL;
    *address = memory;
    allocated += memory != NULL;
    return memory == NULL ? NO_MEMORY : 0;
}

EXPORT int cuMemFree_v2(void *address)
{
    allocated -= address != NULL;
    free(address);
    return 0;
}

EXPORT int cuPointerGetAttribute(void *value, int attribute, const void *address)
{
    const unsigned type = TQ_CUDA_DEVICE_MEMORY;
    (void)attribute;
    (void)address;
    memcpy(value, &type, sizeof type);
    return outcome(FAILURE);
}

EXPORT int cuMemcpyHtoD_v2(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
    return outcome(FAILURE);
}

EXPORT int cuMemcpyDtoH_v2(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
    return outcome(FAILURE);
}

EXPORT int cuMemcpyDtoDAsync_v2(void *to, const void *from, size_t bytes, void *stream)
{
    (void)stream;
    memcpy(to, from, bytes);
    return outcome(FAILURE);
}

EXPORT int cuLaunchKernelEx(const tq_cuda_launch *launch, void *function, void **arguments, void **extra)
{
    (void)launch;
    (void)function;
    (void)arguments;
    (void)extra;
    return outcome(FAILURE);
}

EXPORT int cuStreamSynchronize(void *stream)
{
    (void)stream;
    return outcome(FAILURE);
}

EXPORT int cuGetErrorString(int error, const char **text)
{
    (void)error;
    *text = "as the test wanted";
    return 0;
}
