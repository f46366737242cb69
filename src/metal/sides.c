/* SPDX-License-Identifier: MIT
 *
 * What the kernels need of a codec, in the device's memory. */
#include "metal/metal.h"

#include <string.h>

static bool is_half(const tq_side *side)
{
    return side->codec->family == TQ_FAMILY_HALF;
}

size_t tq_metal_side_bytes(tq_format format, size_t dim, bool has_mean)
{
    (void)has_mean; /* Records have room for one. */
    return format == TQ_FORMAT_F16 ? TQ_PAGE_TOKENS * 2 * dim
                                   : 2 * (dim + TQ_PAGE_TOKENS * (size_t)tq_metal_row_words(format, (int)dim));
}

static int32_t kernel_format(const tq_side *side)
{
    return is_half(side) ? TQ_FORMAT_TURBO4 : side->codec->desc.format;
}

tq_metal_layer tq_metal_layer_of(tq_form form)
{
    return (tq_metal_layer){(int32_t)form.k->codec->code.dim, kernel_format(form.k), kernel_format(form.v)};
}

tq_gpu_slice tq_metal_code_of(const tq_side *side)
{
    return (tq_gpu_slice){((const tq_metal_side *)side->on_device)->code, 0};
}

/* f16 gets zeros: the sums of no codes are rotated back with them. */
static tq_status open_side(tq_metal_device *device, tq_side *side)
{
    const tq_allocator *allocator = &device->base.context->allocator;
    tq_metal_code code;
    if (side->on_device != NULL) {
        return TQ_OK;
    }
    memset(&code, 0, sizeof code);
    if (!is_half(side) && tq_metal_code_init(&code, side->codec) != TQ_OK) {
        return tq_fail(device->base.context, TQ_ERR_UNSUPPORTED,
                       "Metal: the prod formats and dense rotations are not for caches on devices");
    }
    tq_metal_side *made = tq_allocate(allocator, 1, sizeof *made);
    if (made == NULL) {
        return tq_fail(device->base.context, TQ_ERR_OUT_OF_MEMORY, "Metal: out of memory");
    }
    const tq_status status = tq_gpu_alloc(device->gpu, sizeof code, &made->code);
    if (status != TQ_OK) {
        tq_release(allocator, made);
        return tq_metal_check(device, status);
    }
    memcpy(made->code->host, &code, sizeof code);
    side->on_device = made;
    return TQ_OK;
}

tq_status tq_metal_form_open(tq_device *base, tq_side *k, tq_side *v)
{
    tq_metal_device *device = (tq_metal_device *)base;
    if (is_half(k) != is_half(v)) {
        return tq_fail(base->context, TQ_ERR_UNSUPPORTED,
                       "Metal: f16 must be the format of keys and values, or of none");
    }
    const tq_status status = open_side(device, k);
    return status == TQ_OK ? open_side(device, v) : status;
}

void tq_metal_side_close(tq_device *base, tq_side *side)
{
    tq_metal_side *own = side->on_device;
    if (own != NULL) {
        tq_gpu_free(((tq_metal_device *)base)->gpu, own->code);
        tq_release(&base->context->allocator, own);
        side->on_device = NULL;
    }
}
