/* SPDX-License-Identifier: MIT
 *
 * The CUDA device as an object: found, opened, closed; and what becomes of the driver's errors. */
#include "cuda/cuda.h"

#include <stdio.h>

enum { MIN_MAJOR = 8 }; /* Ampere: its matrix instructions and asynchronous copies. */

bool tq_cuda_is_usable(void)
{
    tq_cuda_driver driver;
    int count = 0;
    if (tq_cuda_n_images == 0 || !tq_cuda_driver_open(&driver)) {
        return false;
    }
    const bool usable = driver.device_count(&count) == 0 && count > 0;
    tq_cuda_driver_close(&driver);
    return usable;
}

tq_status tq_cuda_check(tq_cuda_device *device, int error, const char *what)
{
    const char *text = NULL;
    char sentence[256];
    if (error == 0) {
        return TQ_OK;
    }
    if (device->driver.error_string(error, &text) != 0 || text == NULL) {
        text = "unknown error";
    }
    snprintf(sentence, sizeof sentence, "cuda: %s failed: %s (error %d)", what, text, error);
    return tq_fail(device->base.context, error == TQ_CUDA_OUT_OF_MEMORY ? TQ_ERR_OUT_OF_MEMORY : TQ_ERR_BACKEND,
                   sentence);
}

void tq_cuda_note(tq_cuda_device *device, int error, const char *what)
{
    if (error != 0) {
        tq_cuda_check(device, error, what);
        atomic_store(&device->base.failed, 1);
    }
}

bool tq_cuda_enter(tq_cuda_device *device)
{
    const int error = device->driver.context_push(device->primary);
    tq_cuda_note(device, error, "making the device current");
    return error == 0;
}

void tq_cuda_leave(tq_cuda_device *device, bool entered)
{
    void *own;
    if (entered) {
        device->driver.context_pop(&own);
    }
}

/* Memory of the device, or memory that moves there on demand. */
static bool owns(tq_device *base, const void *memory)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    unsigned type = 0;
    const bool entered = tq_cuda_enter(device);
    const int error = device->driver.pointer_attribute(&type, TQ_CUDA_MEMORY_TYPE, memory);
    tq_cuda_leave(device, entered);
    return error == 0 && type == TQ_CUDA_DEVICE_MEMORY;
}

static void close_device(tq_device *base)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    const tq_allocator allocator = base->context->allocator;
    if (device->primary != NULL) {
        const bool entered = tq_cuda_enter(device);
        tq_cuda_unload(device);
        tq_cuda_leave(device, entered);
        device->driver.context_release(device->handle);
    }
    tq_cuda_driver_close(&device->driver);
    tq_release(&allocator, device);
}

static const tq_device_ops OPS = {
    .close = close_device,
    .cache_open = tq_cuda_cache_open,
    .cache_close = tq_cuda_cache_close,
    .mixes_forms = true,
    .form_open = tq_cuda_form_open,
    .side_close = tq_cuda_side_close,
    .owns = owns,
    .side_bytes = tq_cuda_side_size,
    .slab_open = tq_cuda_slab_open,
    .slab_close = tq_cuda_slab_close,
    .copy = tq_cuda_copy,
    .download = tq_cuda_download,
    .upload = tq_cuda_upload,
    .rows_from_record = tq_cuda_rows_from_record,
    .rows_to_record = tq_cuda_rows_to_record,
    .mean_at = tq_cuda_mean_at,
    .encode = tq_cuda_encode,
    .encode_tokens = tq_cuda_encode_tokens,
    .store = tq_cuda_store,
    .attend = tq_cuda_attend,
    .decode = tq_cuda_decode,
};

/* Finds the device and what it can do; its context is the last that is taken. */
static tq_status find_device(tq_cuda_device *device, uint32_t ordinal)
{
    int count = 0;
    int major = 0;
    tq_status status = tq_cuda_check(device, device->driver.device_count(&count), "counting devices");
    if (status == TQ_OK && ordinal >= (uint32_t)count) {
        return tq_fail(device->base.context, TQ_ERR_UNSUPPORTED, "cuda: there is no device of this number");
    }
    if (status == TQ_OK) {
        status = tq_cuda_check(device, device->driver.device_get(&device->handle, (int)ordinal), "finding the device");
    }
    if (status == TQ_OK) {
        status = tq_cuda_check(device, device->driver.device_attribute(&major, TQ_CUDA_MAJOR, device->handle),
                               "asking for the architecture");
    }
    if (status == TQ_OK && major < MIN_MAJOR) {
        return tq_fail(device->base.context, TQ_ERR_UNSUPPORTED,
                       "cuda: the device is older than compute capability 8.0");
    }
    device->overlaps = major >= 9;
    if (status == TQ_OK) {
        status = tq_cuda_check(device,
                               device->driver.device_attribute(&device->n_sms, TQ_CUDA_MULTIPROCESSORS, device->handle),
                               "asking for the multiprocessors");
    }
    if (status == TQ_OK) {
        status = tq_cuda_check(
            device, device->driver.device_attribute(&device->most_shared, TQ_CUDA_MOST_SHARED, device->handle),
            "asking for the shared memory");
    }
    if (status == TQ_OK) {
        void *primary = NULL;
        status = tq_cuda_check(device, device->driver.context_retain(&primary, device->handle),
                               "taking the device's context");
        device->primary = status == TQ_OK ? primary : NULL;
    }
    return status;
}

tq_status tq_cuda_open(const tq_context *context, uint32_t ordinal, tq_device **device)
{
    tq_cuda_device *made = tq_allocate(&context->allocator, 1, sizeof *made);
    if (made == NULL) {
        return tq_fail(context, TQ_ERR_OUT_OF_MEMORY, "cuda: out of memory");
    }
    made->base.ops = &OPS;
    made->base.context = context;
    tq_status status = TQ_OK;
    if (!tq_cuda_driver_open(&made->driver)) {
        status = tq_fail(context, TQ_ERR_UNSUPPORTED, "cuda: libcuda.so.1 is missing, too old, or finds no device");
    }
    if (status == TQ_OK) {
        status = find_device(made, ordinal);
    }
    if (status != TQ_OK) {
        close_device(&made->base);
        return status;
    }
    *device = &made->base;
    return TQ_OK;
}
