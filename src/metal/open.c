/* SPDX-License-Identifier: MIT
 *
 * The Metal device as an object, and what becomes of the GPU's failures. */
#include "kernels/metal/host_metal.h"
#include "metal/metal.h"

bool tq_metal_is_usable(void)
{
    return tq_metal_gpu_exists();
}

tq_status tq_metal_check(tq_metal_device *device, tq_status status)
{
    if (status == TQ_ERR_BACKEND) { /* The GPU is lost. */
        atomic_store(&device->base.failed, 1);
    }
    return status == TQ_OK ? TQ_OK : tq_fail(device->base.context, status, device->gpu->problem);
}

static void close_device(tq_device *base)
{
    tq_metal_device *device = (tq_metal_device *)base;
    const tq_allocator allocator = base->context->allocator;
    tq_gpu_destroy(device->gpu);
    tq_release(&allocator, device);
}

static const tq_device_ops OPS = {
    .close = close_device,
    .cache_open = tq_metal_cache_open,
    .cache_close = tq_metal_cache_close,
    .form_open = tq_metal_form_open,
    .side_close = tq_metal_side_close,
    .owns = NULL, /* What callers pass is the host's. */
    .side_bytes = tq_metal_side_bytes,
    .slab_open = tq_metal_slab_open,
    .slab_close = tq_metal_slab_close,
    .copy = tq_metal_copy,
    .download = tq_metal_download,
    .upload = tq_metal_upload,
    .rows_from_record = tq_metal_rows_from_record,
    .rows_to_record = tq_metal_rows_to_record,
    .mean_at = tq_metal_mean_of_record,
    .encode = tq_metal_encode_step,
    .store = tq_metal_store_step,
    .attend = tq_metal_attend_step,
};

tq_status tq_metal_open(const tq_context *context, uint32_t ordinal, tq_device **device)
{
    char problem[256] = "Metal: out of memory";
    if (ordinal != 0) {
        return tq_fail(context, TQ_ERR_UNSUPPORTED, "Metal: only device 0, the system's default GPU, can be used");
    }
    tq_metal_device *made = tq_allocate(&context->allocator, 1, sizeof *made);
    tq_status status = TQ_ERR_OUT_OF_MEMORY;
    if (made != NULL) {
        made->base.ops = &OPS;
        made->base.context = context;
        status = tq_metal_gpu_open(&context->allocator, &made->gpu, problem, sizeof problem);
    }
    if (status != TQ_OK) {
        tq_release(&context->allocator, made);
        return tq_fail(context, status, problem);
    }
    *device = &made->base;
    return TQ_OK;
}
