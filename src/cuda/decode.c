/* SPDX-License-Identifier: MIT
 *
 * Tokens as vectors again: a launch for keys, one for values. */
#include "cuda/cuda.h"

enum { P = TQ_PAGE_TOKENS };

static const unsigned THREADS = 128;

void tq_cuda_decode(tq_device *base, const tq_device_step *step, size_t first, const tq_kv_out *kv)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    const tq_cuda_module *module = ((tq_cuda_cache *)step->cache->on_device)->module;
    const tq_side *sides[2] = {step->form.k, step->form.v};
    const tq_cuda_view view = tq_cuda_view_of(step, step->tracks[0], 1);
    const unsigned n_pages = (unsigned)(tq_pages_of(first + kv->n_tokens) - first / P);
    const unsigned grid[3] = {n_pages, step->cache->desc.n_kv_heads, 1};
    tq_cuda_decode_args args = {.first = (int)first,
                                .n = (int)kv->n_tokens,
                                .n_encoded = view.n_encoded,
                                .sink_tokens = (int)step->cache->desc.sink_tokens,
                                .dtype = kv->dtype,
                                .table = view.table,
                                .sinks = view.sinks};
    const bool entered = tq_cuda_enter(device);
    tq_cuda_patch(device, step);
    for (int values = 0; values < 2; values++) {
        if (!tq_form_is_half(step->form)) {
            args.code = ((const tq_cuda_side *)sides[values]->on_device)->code;
            args.place = tq_cuda_place_of_side(step->form, values == 1);
        }
        args.place.values = values;
        args.out = values ? kv->v : kv->k;
        args.token_stride = (int64_t)(values ? kv->v_token_stride : kv->k_token_stride);
        args.head_stride = (int64_t)(values ? kv->v_head_stride : kv->k_head_stride);
        tq_cuda_run(device, &module->decode_pages[tq_format_index(tq_cuda_kernel_format(sides[values]))], grid, THREADS,
                    step->stream, &args, false);
    }
    tq_cuda_leave(device, entered);
}
