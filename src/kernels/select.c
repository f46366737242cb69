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

size_t tq_backend_count(void)
{
    enum {
#define X(name, usable) BACKEND_##name,
#include "kernels/backends.def"
#undef X
        BACKEND_COUNT
    };
    return BACKEND_COUNT;
}

const char *tq_backend_name(size_t index, int *usable)
{
    if (index >= tq_backend_count()) {
        return NULL;
    }
    const backend found = backend_at(index);
    if (usable != NULL) {
        *usable = found.usable;
    }
    return found.name;
}

tq_status tq_kernels_select(const char *name, tq_kernels *kernels)
{
    tq_kernels chosen;
    memset(&chosen, 0, sizeof chosen);
    for (size_t i = 0; i < tq_backend_count(); i++) {
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
    if (name != NULL) {
        return TQ_ERR_UNSUPPORTED;
    }
    *kernels = chosen;
    return TQ_OK;
}
