/* SPDX-License-Identifier: MIT
 *
 * What all devices have in common: checks, and the memory of being lost. */
#include "kernels/metal/gpu_metal.h"

#include <string.h>

tq_status tq_gpu_fail(tq_gpu *device, tq_status status, const char *sentence)
{
    const size_t room = sizeof device->problem - 1;
    const size_t length = strlen(sentence);
    const size_t kept = length < room ? length : room;
    memcpy(device->problem, sentence, kept);
    device->problem[kept] = 0;
    return status;
}

static tq_status refuse_if_lost(tq_gpu *device)
{
    return atomic_load(&device->is_lost) ? TQ_ERR_BACKEND : TQ_OK; /* `problem` says why it was lost. */
}

static tq_status note(tq_gpu *device, tq_status status)
{
    if (status == TQ_ERR_BACKEND) {
        atomic_store(&device->is_lost, true);
    }
    return status;
}

tq_status tq_gpu_alloc(tq_gpu *device, size_t bytes, tq_gpu_memory **memory)
{
    if (bytes == 0) {
        return tq_gpu_fail(device, TQ_ERR_INVALID_ARGUMENT, "device memory of 0 bytes was asked for");
    }
    const tq_status status = refuse_if_lost(device);
    return status != TQ_OK ? status : note(device, device->ops->alloc(device, bytes, memory));
}

tq_status tq_gpu_wrap(tq_gpu *device, void *data, size_t bytes, tq_gpu_memory **memory)
{
    if (data == NULL || bytes == 0) {
        return tq_gpu_fail(device, TQ_ERR_INVALID_ARGUMENT, "device memory was to be made of nothing");
    }
    const tq_status status = refuse_if_lost(device);
    return status != TQ_OK ? status : note(device, device->ops->wrap(device, data, bytes, memory));
}

void tq_gpu_free(tq_gpu *device, tq_gpu_memory *memory)
{
    if (memory != NULL) {
        device->ops->free(device, memory);
    }
}

static bool is_sound(const tq_launch *launch)
{
    if (launch->n_buffers > TQ_LAUNCH_BUFFERS || launch->n_constants > TQ_LAUNCH_CONSTANTS || launch->threads == 0 ||
        (launch->args == NULL) != (launch->args_bytes == 0)) {
        return false;
    }
    for (unsigned i = 0; i < launch->n_buffers; i++) {
        const tq_gpu_slice *slice = &launch->buffers[i];
        if (slice->memory != NULL && slice->at >= slice->memory->bytes) {
            return false;
        }
    }
    return true;
}

tq_status tq_gpu_launch(tq_gpu *device, const tq_launch *launch)
{
    if (!is_sound(launch)) {
        return tq_gpu_fail(device, TQ_ERR_INVALID_ARGUMENT,
                           "a kernel was given too many arguments, no threads, or memory past its end");
    }
    const tq_status status = refuse_if_lost(device);
    const bool is_empty = launch->groups[0] == 0 || launch->groups[1] == 0 || launch->groups[2] == 0;
    return status != TQ_OK || is_empty ? status : note(device, device->ops->launch(device, launch));
}

tq_status tq_gpu_wait(tq_gpu *device)
{
    tq_status status = refuse_if_lost(device);
    if (status == TQ_OK) {
        status = note(device, device->ops->wait(device));
    }
    return status == TQ_OK ? refuse_if_lost(device) : status; /* Another thread may have waited for this one's work. */
}

void tq_gpu_destroy(tq_gpu *device)
{
    if (device != NULL) {
        device->ops->destroy(device);
    }
}
