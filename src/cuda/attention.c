/* SPDX-License-Identifier: MIT
 *
 * Attention: how the work is split, and its launches. */
#include "cuda/cuda.h"
#include "kernels/cuda/layout_cuda.h"

enum { P = TQ_PAGE_TOKENS, LEAST_PAGES = 4, BLOCKS_OF_SM = 4, EXACT_OF_SPLIT = 256, GENERAL_ROWS = 8 };

static const unsigned THREADS = 128;

tq_cuda_view tq_cuda_view_of(const tq_device_step *step, const tq_track *track, size_t n_queries)
{
    return (tq_cuda_view){(const tq_cuda_entry *)track->on_device, track->pages[0]->blocks[TQ_BLOCK_SINKS],
                          (int32_t)track->n_tokens, (int32_t)tq_device_first_exact(step->cache, track, n_queries)};
}

static size_t clamp(size_t x, size_t low, size_t high)
{
    return x > high ? (high > low ? high : low) : x < low ? low : x;
}

/* Splits of the longest sequence's encoded tokens, and of its exact ones, so that the device is filled. */
static void plan_splits(const tq_cuda_device *device, const tq_cache *cache, tq_form form, tq_cuda_attend_args *args)
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
    const size_t bytes = (size_t)args->n_seqs * pages * tq_block_bytes(cache, form, TQ_BLOCK_ENCODED);
    /* Few bytes: merging costs more than half of the device gains. Many: a second wave evens out what is uneven. Sums
     * of 1024 pages stay within an int32. */
    const size_t wanted = bytes < (40 << 20) ? wave / 2 : bytes > (400 << 20) ? 2 * wave : wave;
    args->n_splits = (int)clamp(wanted, (pages + 1023) / 1024, (pages + LEAST_PAGES - 1) / LEAST_PAGES);
    args->n_splits = args->n_splits < 1 ? 1 : args->n_splits;
    args->exact_splits = (int)clamp(wave, 1, (exact + EXACT_OF_SPLIT - 1) / EXACT_OF_SPLIT);
}

/* The general kernel's splits; of the stages of the longest sequence it takes four at least. */
static void plan_general_splits(const tq_cuda_device *device, tq_cuda_attend_args *args)
{
    const size_t rows = (size_t)args->n_q_tokens * (size_t)args->group;
    const size_t tracks = (size_t)args->n_seqs * (size_t)args->n_kv_heads * ((rows + GENERAL_ROWS - 1) / GENERAL_ROWS);
    const size_t wave = (size_t)BLOCKS_OF_SM * (size_t)device->n_sms / tracks;
    size_t most = 0;
    for (int i = 0; i < args->n_seqs; i++) {
        most = (size_t)args->views[i].n_tokens > most ? (size_t)args->views[i].n_tokens : most;
    }
    args->exact_splits = (int)clamp(wave, 1, (most + 2 * P - 1) / (2 * P));
    args->n_splits = 1; /* Of no tokens. */
}

tq_status tq_cuda_reserve(tq_cache *cache, tq_cuda_room *room, size_t floats)
{
    if (floats > room->count) { /* What it replaces may be in use: it is freed with the cache. */
        const tq_slab *slab;
        const tq_status status = tq_pool_keep(cache, 2 * floats * sizeof(float), &slab);
        if (status != TQ_OK) {
            return status;
        }
        *room = (tq_cuda_room){(float *)slab->address, 2 * floats};
    }
    return TQ_OK;
}

tq_status tq_cuda_attend_part(tq_cuda_device *device, const tq_device_step *step, tq_form form, tq_cuda_part part,
                              tq_cuda_attend_args *args)
{
    tq_cuda_cache *cache = step->cache->on_device;
    const unsigned rows = (unsigned)args->n_q_tokens * (unsigned)args->group;
    const int tiles = rows <= 4 ? 1 : 2;
    const unsigned rows_of_block = part == TQ_CUDA_GENERAL ? GENERAL_ROWS : 4 * (unsigned)tiles;
    const unsigned tracks = (unsigned)args->n_seqs * (unsigned)args->n_kv_heads;
    const tq_cuda_kernel *kernel = &cache->modules[args->dim_v > args->dim_k]->general;
    args->all_exact = part == TQ_CUDA_GENERAL || part == TQ_CUDA_EXACT;
    if (part == TQ_CUDA_GENERAL) {
        plan_general_splits(device, args);
    } else {
        kernel = tq_cuda_attention_of(cache, form, tiles);
        plan_splits(device, step->cache, form, args);
        args->exact_splits = part == TQ_CUDA_ENCODED ? 0 : args->exact_splits;
        args->n_splits = part == TQ_CUDA_EXACT ? 1 : args->n_splits;
    }
    if (part != TQ_CUDA_GENERAL && !tq_form_is_half(form)) {
        args->k_table = ((const tq_cuda_side *)form.k->on_device)->table;
        args->v_table = ((const tq_cuda_side *)form.v->on_device)->table;
    }
    const size_t slots = (size_t)args->exact_splits + (size_t)args->n_splits;
    const tq_status status =
        tq_cuda_reserve(step->cache, &cache->partials, (size_t)tracks * rows * slots * ((size_t)args->dim_v + 2));
    if (status != TQ_OK) {
        return status;
    }
    args->partials = cache->partials.floats;
    const unsigned grid[3] = {tracks, (unsigned)(args->exact_splits + (args->all_exact ? 0 : args->n_splits)),
                              (rows + rows_of_block - 1) / rows_of_block};
    const unsigned merge_grid[3] = {tracks * rows, 1, 1};
    tq_cuda_run(device, kernel, grid, THREADS, step->stream, args, false);
    tq_cuda_run(device, &cache->modules[1]->merge, merge_grid, THREADS, step->stream, args, true);
    return TQ_OK;
}

/* What kernels need of all codecs that pages can be in. */
static void describe_sides(const tq_device_step *step, tq_cuda_attend_args *args)
{
    const tq_side *all[2] = {step->cache->k_sides, step->cache->v_sides};
    for (int values = 0; values < 2; values++) {
        tq_cuda_rotation *rotation = values ? &args->v_rotation : &args->k_rotation;
        for (size_t i = 0; i < TQ_FORMATS; i++) {
            const tq_cuda_side *side = all[values][i].on_device;
            if (side != NULL) {
                const tq_format format = all[values][i].codec->desc.format;
                *rotation = side->code.rotation; /* The same in all formats. */
                args->levels[values][tq_cuda_code_index(format)] = side->code.levels;
            }
        }
    }
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
                                .dim_k = (int)desc->head_dim_k,
                                .dim_v = (int)desc->head_dim_v,
                                .k_mean = (desc->flags & TQ_CACHE_NO_K_MEANS) == 0,
                                .v_mean = (desc->flags & TQ_CACHE_NO_V_MEANS) == 0,
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
    describe_sides(step, &args);
    return args;
}

tq_status tq_cuda_attend(tq_device *base, const tq_device_step *step, const tq_attention *attention, size_t first,
                         size_t n_tokens)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    const bool has_kernel = tq_cuda_attention_of(step->cache->on_device, step->form, 1) != NULL;
    tq_status status = TQ_OK;
    const bool entered = tq_cuda_enter(device);
    tq_cuda_patch(device, step);
    for (size_t from = 0; status == TQ_OK && from < step->n_tracks; from += TQ_CUDA_SEQS) {
        const size_t n = step->n_tracks - from < TQ_CUDA_SEQS ? step->n_tracks - from : TQ_CUDA_SEQS;
        tq_cuda_attend_args args = describe(step, attention, first + from * n_tokens, n_tokens);
        bool mixed = false;
        args.n_seqs = (int)n;
        for (size_t i = 0; i < n; i++) {
            args.views[i] = tq_cuda_view_of(step, step->tracks[from + i], n_tokens);
            mixed = mixed || step->tracks[from + i]->device_mixed;
        }
        for (size_t i = 0; i < n && has_kernel && !mixed && tq_form_is_half(step->form); i++) {
            args.views[i].n_encoded = 0; /* All are read as exact ones. */
            args.views[i].sinks = NULL;
        }
        status = mixed
                     ? tq_cuda_attend_mixed(device, step, from, &args)
                     : tq_cuda_attend_part(device, step, step->form, has_kernel ? TQ_CUDA_ALL : TQ_CUDA_GENERAL, &args);
    }
    tq_cuda_leave(device, entered);
    return status;
}
