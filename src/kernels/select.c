/* SPDX-License-Identifier: MIT
 *
 * Chooses a backend: start from the weakest, let every stronger usable one overwrite what it improves. */
#include "device.h"
#include "kernels/kernels.h"

#include <string.h>

#if defined(TQ_X86)
#include "kernels/x86/cpu_x86.h"
#endif

typedef struct backend {
    const char *name;
    int usable;
    void (*overwrite)(tq_kernels *kernels);
} backend;

static backend backend_at(size_t index)
{
    const backend backends[] = {
#define X(name, usable) {#name, usable, tq_kernels_##name},
#include "kernels/backends.def"
#undef X
    };
    return backends[index];
}

enum {
#define X(name, usable) BACKEND_##name,
#include "kernels/backends.def"
#undef X
    CPU_BACKENDS
};

size_t tq_backend_count(void)
{
    return CPU_BACKENDS + tq_device_kinds();
}

const char *tq_backend_name(size_t index, int *usable)
{
    if (index >= tq_backend_count()) {
        return NULL;
    }
    if (index >= CPU_BACKENDS) {
        if (usable != NULL) {
            *usable = tq_device_kind_usable(index - CPU_BACKENDS);
        }
        return tq_device_kind_name(index - CPU_BACKENDS);
    }
    const backend found = backend_at(index);
    if (usable != NULL) {
        *usable = found.usable;
    }
    return found.name;
}

/* The name of the kind of device, or null if `name` is none that runs here. */
static const char *usable_device(const char *name)
{
    for (size_t i = 0; name != NULL && i < tq_device_kinds(); i++) {
        if (strcmp(name, tq_device_kind_name(i)) == 0 && tq_device_kind_usable(i)) {
            return tq_device_kind_name(i);
        }
    }
    return NULL;
}

tq_status tq_kernels_select(const char *name, tq_kernels *kernels)
{
    tq_kernels chosen;
    const char *device = usable_device(name);
    memset(&chosen, 0, sizeof chosen);
    for (size_t i = 0; i < CPU_BACKENDS; i++) {
        const backend candidate = backend_at(i);
        if (candidate.usable) {
            candidate.overwrite(&chosen);
            chosen.backend = candidate.name;
        }
        if (name != NULL && strcmp(name, candidate.name) == 0) {
            if (!candidate.usable) {
                return TQ_ERR_UNSUPPORTED;
            }
            *kernels = chosen;
            return TQ_OK;
        }
    }
    if (name != NULL && device == NULL) {
        return TQ_ERR_UNSUPPORTED;
    }
    if (device != NULL) { /* Calls that stay on the host take the best kernels there are. */
        chosen.backend = device;
    }
    *kernels = chosen;
    return TQ_OK;
}
