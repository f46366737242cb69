/* SPDX-License-Identifier: MIT */
/* The few calls of the CUDA driver that a benchmark needs. */
#include "device.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { L2_CACHE_SIZE = 38, NAME_BYTES = 256 };

/* X(name here, symbol, arguments): all return 0 or an error. */
#define DRIVER(X)                                                                                                      \
    X(init, cuInit, (unsigned flags))                                                                                  \
    X(get, cuDeviceGet, (int *device, int ordinal))                                                                    \
    X(attribute, cuDeviceGetAttribute, (int *value, int attribute, int device))                                        \
    X(name, cuDeviceGetName, (char *name, int bytes, int device))                                                      \
    X(retain, cuDevicePrimaryCtxRetain, (void **context, int device))                                                  \
    X(release, cuDevicePrimaryCtxRelease_v2, (int device))                                                             \
    X(push, cuCtxPushCurrent_v2, (void *context))                                                                      \
    X(pop, cuCtxPopCurrent_v2, (void **context))                                                                       \
    X(allocate, cuMemAlloc_v2, (void **address, size_t bytes))                                                         \
    X(free, cuMemFree_v2, (void *address))                                                                             \
    X(upload, cuMemcpyHtoD_v2, (void *to, const void *from, size_t bytes))                                             \
    X(move, cuMemcpyDtoDAsync_v2, (void *to, const void *from, size_t bytes, void *stream))                            \
    X(wait, cuStreamSynchronize, (void *stream))

struct device {
    void *library;
    int handle;
    void *context; /* Current while the device is open. */
    int cache_bytes;
    char label[NAME_BYTES];
#define X(name, symbol, arguments) int(*name) arguments;
    DRIVER(X)
#undef X
};

static bool load(struct device *device)
{
    void *symbol;
    device->library = dlopen("libcuda.so.1", RTLD_NOW);
    bool ok = device->library != NULL;
#define X(name, symbol_name, arguments)                                                                                \
    symbol = ok ? dlsym(device->library, #symbol_name) : NULL;                                                         \
    ok = symbol != NULL;                                                                                               \
    memcpy(&device->name, &symbol, sizeof symbol);
    DRIVER(X)
#undef X
    return ok;
}

struct device *device_open(void)
{
    struct device *device = calloc(1, sizeof *device);
    if (device == NULL) {
        return NULL;
    }
    if (load(device) && device->init(0) == 0 && device->get(&device->handle, 0) == 0 &&
        device->attribute(&device->cache_bytes, L2_CACHE_SIZE, device->handle) == 0 &&
        device->name(device->label, NAME_BYTES, device->handle) == 0 &&
        device->retain(&device->context, device->handle) == 0 && device->push(device->context) == 0) {
        return device;
    }
    device_close(device);
    return NULL;
}

void device_close(struct device *device)
{
    void *context;
    if (device != NULL && device->context != NULL) {
        device->pop(&context);
        device->release(device->handle);
    }
    if (device != NULL && device->library != NULL) {
        dlclose(device->library);
    }
    free(device);
}

const char *device_name(const struct device *device)
{
    return device->label;
}

size_t device_cache_bytes(const struct device *device)
{
    return (size_t)device->cache_bytes;
}

void *device_new(const struct device *device, size_t bytes)
{
    void *memory = NULL;
    return device->allocate(&memory, bytes) == 0 ? memory : NULL;
}

void *device_copy(const struct device *device, const void *from, size_t bytes)
{
    void *memory = device_new(device, bytes);
    if (memory != NULL && device->upload(memory, from, bytes) != 0) {
        device_free(device, memory);
        return NULL;
    }
    return memory;
}

void device_free(const struct device *device, void *memory)
{
    if (memory != NULL) {
        device->free(memory);
    }
}

bool device_move(const struct device *device, void *to, const void *from, size_t bytes)
{
    return device->move(to, from, bytes, NULL) == 0;
}

bool device_wait(const struct device *device)
{
    return device->wait(NULL) == 0;
}
