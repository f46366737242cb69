/* SPDX-License-Identifier: MIT
 *
 * Attention: how the work is split, and its launches. */
#include "cuda/cuda.h"
#include "kernels/cuda/layout_cuda.h"

enum { P = TQ_PAGE_TOKENS, LEAST_PAGES = 4, BLOCKS_OF_SM = 4, EXACT_OF_SPLIT = 256 };

static const unsigned THREADS = 128;

tq_cuda_view tq_cuda_view_of(const tq_device_step *step, const tq_track *track, size_t n_queries)
{
    tq_cuda_view view = {(const tq_cuda_entry *)track->on_device, NULL, (int32_t)track->n_tokens, 0};
    if (!tq_form_is_half(step->form)) { /* Encoded pages of f16 are read as exact ones. */
        view.n_encoded = (int32_t)tq_device_first_exact(step->cache, track, n_queries);
        view.sinks = track->pages[0]->blocks[TQ_BLOCK_SINKS];
    }
    return view;
}

static size_t clamp(size_t x, size_t low, size_t high)
{
    return x > high ? (high > low ? high : low) : x < low ? low : x;
}

/* Splits of the longest sequence's encoded tokens, and of its exact ones, so that the device is filled. */
static void plan_splits(const tq_cuda_device *device, const tq_device_step *step, tq_cuda_attend_args *args)
{
    const size_t rows = (size_t)args->n_q_tokens * (size_t)args->group;
    const size_t tiles = rows <= 4 ? 1 : (rows + 7) / 8;
    const size_t tracks = (size_t)args->n_seqs * (size_t)args->n_kv_heads * tiles;
    const size_t wave = (size_t)BLOCKS_OF_SM * (size_t)device->n_sms / tracks; /* That fill the device once. */
    size_t encoded = 0;
    size_t exact = 0;
    for (int i = 0; i < args->n_seqs; i++) {
        const tq_cuda_view *view = &args->views[i];
        const size_t own = (size_t)(view->n_tokens - view->n_encoded) + (size_t)args->sink_tokens;
        encoded = (size_t)view->n_encoded > encoded ? (size_t)view->n_encoded : encoded;
        exact = own > exact ? own : exact;
    }
    const size_t pages = (encoded + P - 1) / P;
    const size_t bytes = (size_t)args->n_seqs * pages * tq_block_bytes(step->cache, step->form, TQ_BLOCK_ENCODED);
    /* Few bytes: merging costs more than half of the device gains. Many: a second wave evens out what is uneven. Sums
     * of 1024 pages stay within an int32. */
    const size_t wanted = bytes < (40 << 20) ? wave / 2 : bytes > (400 << 20) ? 2 * wave : wave;
    args->n_splits = (int)clamp(wanted, (pages + 1023) / 1024, (pages + LEAST_PAGES - 1) / LEAST_PAGES);
    args->n_splits = args->n_splits < 1 ? 1 : args->n_splits;
    args->exact_splits = (int)clamp(wave, 1, (exact + EXACT_OF_SPLIT - 1) / EXACT_OF_SPLIT);
}

static tq_status reserve_partials(const tq_device_step *step, tq_cuda_attend_args *args)
{
    tq_cuda_cache *own = step->cache->on_device;
    const size_t floats = (size_t)args->n_seqs * (size_t)args->n_kv_heads * (size_t)args->n_q_tokens *
                          (size_t)args->group * (size_t)(args->exact_splits + args->n_splits) * (size_t)(args->dim + 2);
    if (floats > own->partial_floats) { /* What it replaces may be in use: it is freed with the cache. */
        const tq_slab *slab;
        const tq_status status = tq_pool_keep(step->cache, 2 * floats * sizeof(float), &slab);
        if (status != TQ_OK) {
            return status;
        }
        own->partials = (float *)slab->address;
        own->partial_floats = 2 * floats;
    }
    args->partials = own->partials;
    return TQ_OK;
}

static tq_status launch(tq_cuda_device *device, const tq_device_step *step, tq_cuda_attend_args *args)
{
    const tq_cuda_module *module = ((tq_cuda_cache *)step->cache->on_device)->module;
    plan_splits(device, step, args);
    const tq_status status = reserve_partials(step, args);
    if (status != TQ_OK) {
        return status;
    }
    const unsigned rows = (unsigned)args->n_q_tokens * (unsigned)args->group;
    const unsigned tiles = rows <= 4 ? 1 : 2;
    const size_t k = tq_format_index(tq_cuda_kernel_format(step->form.k));
    const size_t v = tq_format_index(tq_cuda_kernel_format(step->form.v));
    const tq_cuda_kernel *kernel = &module->attend[k][v][tiles - 1];
    const unsigned tracks = (unsigned)args->n_seqs * (unsigned)args->n_kv_heads;
    const unsigned grid[3] = {tracks, (unsigned)(args->exact_splits + args->n_splits),
                              (rows + 4 * tiles - 1) / (4 * tiles)};
    const unsigned merge_grid[3] = {tracks * rows, 1, 1};
    tq_cuda_run(device, kernel, grid, THREADS, step->stream, args, false);
    tq_cuda_run(device, &module->merge, merge_grid, THREADS, step->stream, args, true);
    return TQ_OK;
}

/* What does not depend on the sequences; `token` is the first query's. */
static tq_cuda_attend_args describe(const tq_device_step *step, const tq_attention *attention, size_t token,
                                    size_t n_tokens)
{
    const tq_cache_desc *desc = &step->cache->desc;
    const size_t element = attention->q_dtype == TQ_DTYPE_F32 ? 4 : 2;
    tq_cuda_attend_args args = {.n_kv_heads = (int)desc->n_kv_heads,
                                .group = (int)(attention->n_q_heads / desc->n_kv_heads),
                                .n_q_tokens = (int)n_tokens,
                                .dim = (int)desc->head_dim_k,
                                .k_mean = step->form.k->has_mean,
                                .v_mean = step->form.v->has_mean,
                                .sink_tokens = (int)desc->sink_tokens,
                                .sliding_window =
                                    attention->sliding_window > INT32_MAX ? 0 : (int)attention->sliding_window,
                                .scale = attention->scale,
                                .soft_cap = attention->soft_cap,
                                .q_dtype = attention->q_dtype,
                                .q_rotated = (attention->flags & TQ_ATTENTION_Q_ROTATED) != 0,
                                .out_rotated = (attention->flags & TQ_ATTENTION_OUT_ROTATED) != 0,
                                .q = (const char *)attention->q + token * attention->q_token_stride * element,
                                .q_token_stride = (int64_t)attention->q_token_stride,
                                .q_head_stride = (int64_t)attention->q_head_stride,
                                .out = attention->out + token * attention->out_token_stride,
                                .out_token_stride = (int64_t)attention->out_token_stride,
                                .out_head_stride = (int64_t)attention->out_head_stride,
                                .lse = attention->lse == NULL ? NULL : attention->lse + token * attention->n_q_heads,
                                .sink_logits = attention->sink_logits};
    if (!tq_form_is_half(step->form)) {
        const tq_cuda_side *k = step->form.k->on_device;
        const tq_cuda_side *v = step->form.v->on_device;
        args.k_rotation = k->code.rotation;
        args.v_rotation = v->code.rotation;
        args.k_table = k->table;
        args.v_table = v->table;
    }
    return args;
}

tq_status tq_cuda_attend(tq_device *base, const tq_device_step *step, const tq_attention *attention, size_t first,
                         size_t n_tokens)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    tq_status status = TQ_OK;
    const bool entered = tq_cuda_enter(device);
    tq_cuda_patch(device, step);
    for (size_t from = 0; status == TQ_OK && from < step->n_tracks; from += TQ_CUDA_SEQS) {
        const size_t n = step->n_tracks - from < TQ_CUDA_SEQS ? step->n_tracks - from : TQ_CUDA_SEQS;
        tq_cuda_attend_args args = describe(step, attention, first + from * n_tokens, n_tokens);
        args.n_seqs = (int)n;
        for (size_t i = 0; i < n; i++) {
            args.views[i] = tq_cuda_view_of(step, step->tracks[from + i], n_tokens);
        }
        status = launch(device, step, &args);
    }
    tq_cuda_leave(device, entered);
    return status;
}
