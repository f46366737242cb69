/* SPDX-License-Identifier: MIT
 *
 * What the kernels need of a codec: its tables on the device, and their addresses. */
#include "cuda/cuda.h"
#include "kernels/cuda/layout_cuda.h"
#include "kernels/cuda/tables_cuda.h"

#include <string.h>

enum { FLOATS = 1024 + 36 * 36 + 2 * 16 }; /* Signs, Paley's matrix, levels, thresholds. */

size_t tq_cuda_side_size(tq_format format, size_t dim, bool has_mean)
{
    return format == TQ_FORMAT_F16 ? TQ_PAGE_TOKENS * 2 * dim : (size_t)tq_cuda_side_bytes(format, (int)dim, has_mean);
}

tq_cuda_side_place tq_cuda_place_of_side(tq_form form, bool values)
{
    const tq_cuda_record r = tq_cuda_record_of(form.k->codec->desc.format, form.v->codec->desc.format,
                                               (int)form.k->codec->code.dim, form.k->has_mean, form.v->has_mean);
    const tq_cuda_side_place keys = {r.k_words,        r.k_scales, form.k->has_mean ? r.mean : -1,
                                     r.stage_bytes[0], r.bytes,    0};
    const tq_cuda_side_place all_values = {
        r.v_words, r.v_scales, form.v->has_mean ? r.stage_bytes[0] + r.mean : -1, r.stage_bytes[0], r.bytes, 1};
    return values ? all_values : keys;
}

/* Copies floats behind those that are there; their address on the device, null for none. */
static const float *place(const tq_cuda_side *side, float *floats, size_t *n, const float *from, size_t count)
{
    if (from == NULL) {
        return NULL;
    }
    const float *at = (const float *)side->memory + *n;
    memcpy(floats + *n, from, count * sizeof *floats);
    *n += count;
    return at;
}

static void describe(const tq_codec *codec, tq_cuda_side *side, float *floats)
{
    const tq_code *code = &codec->code;
    const tq_rotation_plan *rotation = &codec->rotation;
    const size_t levels = (size_t)1 << code->bits;
    size_t n = 0;
    side->code.scale_mode = code->scale;
    side->code.n_gains = (int)code->n_gains;
    memcpy(side->code.gains, code->gains, code->n_gains * sizeof *code->gains);
    side->code.step = code->trellis.step;
    memcpy(side->code.k, code->trellis.k, sizeof side->code.k);
    memcpy(side->code.target, code->trellis.target, sizeof side->code.target);
    side->code.rotation.signs = place(side, floats, &n, rotation->signs, rotation->dim);
    side->code.rotation.paley = place(side, floats, &n, rotation->paley, rotation->paley_order * rotation->paley_order);
    side->code.centroids = place(side, floats, &n, code->centroids, levels);
    side->code.thresholds = place(side, floats, &n, code->thresholds, levels - 1);
    side->table = tq_cuda_make_table(code);
}

static tq_status open_side(tq_cuda_device *device, tq_side *side)
{
    const tq_codec *codec = side->codec;
    float floats[FLOATS] = {0};
    if (side->on_device != NULL || codec->family == TQ_FAMILY_HALF) {
        return TQ_OK;
    }
    if (codec->family == TQ_FAMILY_PROD || codec->code.bits > 4 || codec->rotation.dense != NULL) {
        return tq_fail(device->base.context, TQ_ERR_UNSUPPORTED,
                       "cuda: the prod formats, turbo8 and dense rotations are not for caches on devices");
    }
    tq_cuda_side *made = tq_allocate(&device->base.context->allocator, 1, sizeof *made);
    if (made == NULL) {
        return tq_fail(device->base.context, TQ_ERR_OUT_OF_MEMORY, "cuda: out of memory");
    }
    int error = device->driver.allocate(&made->memory, sizeof floats);
    if (error == 0) {
        describe(codec, made, floats);
        error = device->driver.upload(made->memory, floats, sizeof floats);
    }
    side->on_device = made;
    return tq_cuda_check(device, error, "uploading tables");
}

tq_status tq_cuda_form_open(tq_device *base, tq_side *k, tq_side *v)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    tq_cuda_module *module;
    const bool k_half = k->codec->family == TQ_FAMILY_HALF;
    const bool v_half = v->codec->family == TQ_FAMILY_HALF;
    if (k_half != v_half) {
        return tq_fail(base->context, TQ_ERR_UNSUPPORTED,
                       "cuda: f16 must be the format of keys and values, or of none");
    }
    const bool entered = tq_cuda_enter(device);
    tq_status status = open_side(device, k);
    if (status == TQ_OK) {
        status = open_side(device, v);
    }
    if (status == TQ_OK) {
        status = tq_cuda_load(device, k->codec->code.dim, &module);
    }
    if (status == TQ_OK) {
        status = tq_cuda_find_kernels(device, module, tq_cuda_kernel_format(k), tq_cuda_kernel_format(v));
    }
    tq_cuda_leave(device, entered);
    return status;
}

void tq_cuda_side_close(tq_device *base, tq_side *side)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    tq_cuda_side *own = side->on_device;
    if (own == NULL) {
        return;
    }
    const bool entered = tq_cuda_enter(device);
    device->driver.release(own->memory);
    tq_cuda_leave(device, entered);
    tq_release(&base->context->allocator, own);
    side->on_device = NULL;
}
