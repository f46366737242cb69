/* SPDX-License-Identifier: MIT
 *
 * What the kernels need of a codec: its tables on the device, and their addresses. */
#include "cuda/cuda.h"
#include "kernels/cuda/layout_cuda.h"
#include "kernels/cuda/tables_cuda.h"

#include <string.h>

enum { FLOATS = 1024 + 36 * 36 + 2 * 256 }; /* Signs, Paley's matrix, levels, thresholds. */

size_t tq_cuda_side_size(tq_format format, size_t dim, bool has_mean)
{
    return (size_t)tq_cuda_side_bytes(format, (int)dim, has_mean);
}

tq_cuda_side_place tq_cuda_place_of_side(tq_form form, bool values)
{
    return tq_cuda_find_side(form.k->codec->desc.format, form.v->codec->desc.format, (int)form.k->codec->code.dim,
                             (int)form.v->codec->code.dim, form.k->has_mean, form.v->has_mean, values);
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
    const size_t n_levels = (size_t)1 << code->bits;
    float levels[32]; /* Of a trellis code. */
    size_t n = 0;
    side->code.scale_mode = code->scale;
    side->code.n_gains = (int)code->n_gains;
    memcpy(side->code.gains, code->gains, code->n_gains * sizeof *code->gains);
    side->code.step = code->trellis.step;
    memcpy(side->code.k, code->trellis.k, sizeof side->code.k);
    memcpy(side->code.target, code->trellis.target, sizeof side->code.target);
    side->code.rotation.signs = place(side, floats, &n, rotation->signs, rotation->dim);
    side->code.rotation.paley = place(side, floats, &n, rotation->paley, rotation->paley_order * rotation->paley_order);
    side->code.centroids = place(side, floats, &n, code->centroids, n_levels);
    side->code.thresholds = place(side, floats, &n, code->thresholds, n_levels - 1);
    side->code.levels = side->code.centroids;
    if (code->trellis.bits != 0) {
        for (size_t i = 0; i < 2 * n_levels; i++) {
            levels[i] = ((float)code->trellis.k[i] + 0.5F) * code->trellis.step;
        }
        side->code.levels = place(side, floats, &n, levels, 2 * n_levels);
    }
    if (code->bits <= 4) {
        side->table = tq_cuda_make_table(code);
    }
}

static tq_status open_side(tq_cuda_device *device, tq_side *side)
{
    const tq_codec *codec = side->codec;
    tq_cuda_module *module;
    float floats[FLOATS] = {0};
    if (codec->family == TQ_FAMILY_PROD || codec->rotation.dense != NULL) {
        return tq_fail(device->base.context, TQ_ERR_UNSUPPORTED,
                       "cuda: the prod formats and dense rotations are not for caches on devices");
    }
    tq_status status = tq_cuda_load(device, codec->code.dim, &module);
    if (status == TQ_OK) {
        status = tq_cuda_find_codec(device, module, codec->desc.format);
    }
    if (status != TQ_OK || side->on_device != NULL || tq_side_is_half(side)) {
        return status;
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
    const bool half = tq_side_is_half(k) && tq_side_is_half(v);
    const tq_side *larger = v->codec->code.dim > k->codec->code.dim ? v : k;
    const bool entered = tq_cuda_enter(device);
    tq_status status = open_side(device, k);
    if (status == TQ_OK) {
        status = open_side(device, v);
    }
    if (status == TQ_OK) {
        status = tq_cuda_load(device, larger->codec->code.dim, &module);
    }
    if (status == TQ_OK) {
        status = tq_cuda_find(device, module, "tq_attend_general", &module->general);
    }
    if (status == TQ_OK && k->codec->code.dim == v->codec->code.dim) {
        status = tq_cuda_find_attention(device, module, half ? TQ_FORMAT_TURBO4 : k->codec->desc.format,
                                        half ? TQ_FORMAT_TURBO4 : v->codec->desc.format);
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
