/* SPDX-License-Identifier: MIT
 *
 * A device (gpu_metal.h) that passes all on to the shim's, but for the call that is to fail. */
#include "failing_gpu.h"

#include "kernels/metal/host_metal.h"
#include "shim/shim_device.h"

#include <stdlib.h>
#include <string.h>

typedef struct failing {
    tq_gpu base;
    tq_gpu *shim;
} failing;

static size_t calls;
static size_t fail_at;
static tq_status failure;
static size_t live;

size_t gpu_fail_at(size_t n, tq_status status)
{
    const size_t so_far = calls;
    calls = 0;
    fail_at = n;
    failure = status;
    return so_far;
}

size_t gpu_live(void)
{
    return live;
}

/* What is to be answered to a call: the shim's answer unless it is this one's turn. */
static tq_status turn(tq_gpu *device)
{
    return ++calls == fail_at ? tq_gpu_fail(device, failure, "the test says no") : TQ_OK;
}

static tq_status answer(tq_gpu *device, tq_status status)
{
    return status == TQ_OK ? TQ_OK : tq_gpu_fail(device, status, ((failing *)device)->shim->problem);
}

static tq_status failing_alloc(tq_gpu *device, size_t bytes, tq_gpu_memory **memory)
{
    tq_status status = turn(device);
    if (status == TQ_OK) {
        status = answer(device, tq_gpu_alloc(((failing *)device)->shim, bytes, memory));
    }
    live += status == TQ_OK;
    return status;
}

static tq_status failing_wrap(tq_gpu *device, void *data, size_t bytes, tq_gpu_memory **memory)
{
    if ((uintptr_t)data % 16 != 0) { /* Systems ask for whole pages; tests shall meet both answers often. */
        return TQ_ERR_UNSUPPORTED;
    }
    live++;
    return tq_gpu_wrap(((failing *)device)->shim, data, bytes, memory);
}

static void failing_free(tq_gpu *device, tq_gpu_memory *memory)
{
    live--;
    tq_gpu_free(((failing *)device)->shim, memory);
}

static tq_status failing_launch(tq_gpu *device, const tq_launch *launch)
{
    const tq_status status = turn(device);
    return status == TQ_OK ? answer(device, tq_gpu_launch(((failing *)device)->shim, launch)) : status;
}

static tq_status failing_wait(tq_gpu *device)
{
    return turn(device);
}

static void failing_destroy(tq_gpu *device)
{
    tq_gpu_destroy(((failing *)device)->shim);
    free(device);
}

static const tq_gpu_ops OPS = {failing_alloc,  failing_wrap, failing_free,
                               failing_launch, failing_wait, failing_destroy};

bool tq_metal_gpu_exists(void)
{
    return true;
}

tq_status tq_metal_gpu_open(const tq_allocator *allocator, tq_gpu **device, char *problem, size_t room)
{
    (void)allocator;
    const char *order = getenv("TQ_SHIM_ORDER");
    failing *made = calloc(1, sizeof *made);
    if (++calls == fail_at) {
        free(made);
        strncpy(problem, "the test says no", room);
        return failure;
    }
    made->base.ops = &OPS;
    made->shim = tq_shim_device_open(order != NULL ? order : "forward");
    *device = &made->base;
    return TQ_OK;
}
