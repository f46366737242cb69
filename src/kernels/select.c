/* SPDX-License-Identifier: MIT
 *
 * Chooses a backend: start from the weakest, let every stronger usable one overwrite what it improves. */
#include "kernels/kernels.h"

#include <string.h>

#if defined(TQ_X86)
#include "kernels/x86/cpu_x86.h"
#endif
#if defined(TQ_NEON)
#include "kernels/neon/cpu_neon.h"
#endif

#define X(name, usable)                                                                                                \
    static int name##_is_usable(void)                                                                                  \
    {                                                                                                                  \
        return usable;                                                                                                 \
    }
#include "kernels/backends.def"
#undef X

static const struct backend {
    const char *name;
    int (*is_usable)(void); /* Asks the processor, which takes time on a virtual machine. */
    void (*overwrite)(tq_kernels *kernels);
} backends[] = {
#define X(name, usable) {#name, name##_is_usable, tq_kernels_##name},
#include "kernels/backends.def"
#undef X
};

size_t tq_backend_count(void)
{
    return sizeof backends / sizeof *backends;
}

const char *tq_backend_name(size_t index, int *usable)
{
    if (index >= tq_backend_count()) {
        return NULL;
    }
    if (usable != NULL) {
        *usable = backends[index].is_usable();
    }
    return backends[index].name;
}

/* Lets a backend overwrite what it improves, and notes what that was. */
static void apply(const struct backend *backend, tq_kernels *kernels)
{
    const tq_kernels before = *kernels;
    backend->overwrite(kernels);
    kernels->backend = backend->name;
#define X(operation, contract, result, arguments)                                                                      \
    kernels->served_by[TQ_OPERATION_##operation] =                                                                     \
        kernels->operation == before.operation ? before.served_by[TQ_OPERATION_##operation] : backend->name;
#include "kernels/kernels.def"
#undef X
}

tq_status tq_kernels_select(const char *name, tq_kernels *kernels)
{
    tq_kernels chosen;
    memset(&chosen, 0, sizeof chosen);
    for (size_t i = 0; i < tq_backend_count(); i++) {
        const struct backend *candidate = &backends[i];
        const int usable = candidate->is_usable();
        if (usable) {
            apply(candidate, &chosen);
        }
        if (name != NULL && strcmp(name, candidate->name) == 0) {
            if (!usable) {
                return TQ_ERR_UNSUPPORTED;
            }
            *kernels = chosen;
            return TQ_OK;
        }
    }
    if (name != NULL) {
        return TQ_ERR_UNSUPPORTED;
    }
    *kernels = chosen;
    return TQ_OK;
}
