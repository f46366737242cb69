/* SPDX-License-Identifier: MIT
 *
 * Tokens as vectors again: for each run of pages of one form a launch for keys, one for values. */
#include "arguments.h"
#include "cuda/cuda.h"

enum { P = TQ_PAGE_TOKENS };

static const unsigned THREADS = 128;

/* Tokens [first, end), whose pages are of one form. */
static void launch(tq_cuda_device *device, const tq_device_step *step, tq_form form, size_t first, size_t end,
                   const tq_kv_out *kv, size_t at)
{
    const tq_cache_desc *desc = &step->cache->desc;
    const tq_cuda_cache *cache = step->cache->on_device;
    const tq_side *sides[2] = {form.k, form.v};
    const tq_cuda_view view = tq_cuda_view_of(step, step->tracks[0], 1);
    const unsigned grid[3] = {(unsigned)(tq_pages_of(end) - first / P), desc->n_kv_heads, 1};
    tq_cuda_decode_args args = {.first = (int)first,
                                .n = (int)(end - first),
                                .n_encoded = view.n_encoded,
                                .dim_k = (int)desc->head_dim_k,
                                .dim_v = (int)desc->head_dim_v,
                                .sink_tokens = (int)desc->sink_tokens,
                                .dtype = kv->dtype,
                                .table = view.table,
                                .sinks = view.sinks};
    for (int values = 0; values < 2; values++) {
        const size_t token_stride = values ? kv->v_token_stride : kv->k_token_stride;
        char *out = values ? kv->v : kv->k;
        if (!tq_side_is_half(sides[values])) {
            args.code = ((const tq_cuda_side *)sides[values]->on_device)->code;
        }
        args.place = tq_cuda_place_of_side(form, values == 1);
        args.out = out + at * token_stride * tq_element_bytes(kv->dtype);
        args.token_stride = (int64_t)token_stride;
        args.head_stride = (int64_t)(values ? kv->v_head_stride : kv->k_head_stride);
        tq_cuda_run(device, &cache->modules[values]->decode_pages[tq_format_index(sides[values]->codec->desc.format)],
                    grid, THREADS, step->stream, &args, false);
    }
}

void tq_cuda_decode(tq_device *base, const tq_device_step *step, size_t first, const tq_kv_out *kv)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    tq_page *const *pages = step->tracks[0]->pages;
    const size_t end = first + kv->n_tokens;
    const bool entered = tq_cuda_enter(device);
    tq_cuda_patch(device, step);
    for (size_t from = first; from < end;) {
        const tq_form form = pages[from / P]->form;
        size_t page = from / P + 1;
        while (page * P < end && tq_same_form(pages[page]->form, form)) {
            page++;
        }
        const size_t to = page * P < end ? page * P : end;
        launch(device, step, form, from, to, kv, from - first);
        from = to;
    }
    tq_cuda_leave(device, entered);
}
