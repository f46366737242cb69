/* SPDX-License-Identifier: MIT
 *
 * New tokens, and pages that leave the window: launches for some tracks at once. */
#include "arguments.h"
#include "cuda/cuda.h"
#include "kernels/cuda/layout_cuda.h"

enum { P = TQ_PAGE_TOKENS };

_Static_assert(sizeof(tq_cuda_entry) <= TQ_DEVICE_ENTRY, "tables have room for entries");
_Static_assert((int)TQ_DEVICE_TOGETHER <= (int)TQ_CUDA_SEQS, "a launch takes a step");

static const unsigned THREADS = 128;

static tq_cuda_module *module_of(const tq_device_step *step, bool values)
{
    return ((tq_cuda_cache *)step->cache->on_device)->modules[values];
}

/* --- encoding ------------------------------------------------------------------------------------------------------
 */

/* Where tokens of pages are: in exact blocks, or in arrays of the caller, from token `first` on. */
typedef struct page_source {
    const tq_kv *kv; /* Null: exact blocks. */
    size_t first;
} page_source;

static const void *tokens_at(const tq_device_step *step, const page_source *source, size_t index, const tq_page *page,
                             int values)
{
    const tq_kv *kv = source->kv;
    if (kv == NULL) {
        return page->blocks[TQ_BLOCK_EXACT] + (size_t)values * P * 2 * step->cache->desc.head_dim_k;
    }
    const size_t token = (source->first + index * P) * (values ? kv->v_token_stride : kv->k_token_stride);
    return (const char *)(values ? kv->v : kv->k) + token * tq_element_bytes(kv->dtype);
}

/* Encodes n pages of one form. */
static void launch_pages(tq_cuda_device *device, const tq_device_step *step, tq_form form, tq_page *const *pages,
                         size_t n, const page_source *source)
{
    const tq_side *sides[2] = {form.k, form.v};
    const tq_kv *kv = source->kv;
    const tq_cache_desc *desc = &step->cache->desc;
    const unsigned grid[3] = {(unsigned)n, desc->n_kv_heads, 1};
    tq_cuda_pages_args args = {.n_pages = (int)n,
                               .n_kv_heads = (int)desc->n_kv_heads,
                               .dim_k = (int)desc->head_dim_k,
                               .dim_v = (int)desc->head_dim_v,
                               .dtype = kv != NULL ? kv->dtype : TQ_CUDA_F16};
    for (int values = 0; values < 2; values++) {
        const size_t dim = values ? desc->head_dim_v : desc->head_dim_k;
        const size_t head = (size_t)P * (desc->head_dim_k + desc->head_dim_v);
        const tq_format format = sides[values]->codec->desc.format;
        if (!tq_side_is_half(sides[values])) {
            args.code = ((const tq_cuda_side *)sides[values]->on_device)->code;
        }
        args.place = tq_cuda_place_of_side(form, values == 1);
        args.token_stride = (int64_t)(kv == NULL ? dim : values ? kv->v_token_stride : kv->k_token_stride);
        args.head_stride = (int64_t)(kv == NULL ? head : values ? kv->v_head_stride : kv->k_head_stride);
        for (size_t i = 0; i < n; i++) {
            args.pages[i].x = tokens_at(step, source, i, pages[i], values);
            args.pages[i].records = pages[i]->blocks[TQ_BLOCK_ENCODED];
            args.pages[i].sinks = pages[i]->blocks[TQ_BLOCK_SINKS];
            args.pages[i].first = (int32_t)pages[i]->exact_from;
            args.pages[i].n_sinks = (int32_t)desc->sink_tokens;
        }
        tq_cuda_run(device, &module_of(step, values == 1)->encode_pages[tq_format_index(format)], grid,
                    32 * (unsigned)tq_cuda_page_warps(format, (int)dim), step->stream, &args, false);
    }
}

/* Pages that were demoted and then cut keep their form, so there may be several: a launch for each. */
void tq_cuda_encode(tq_device *base, const tq_device_step *step, tq_page *const *pages)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    const page_source exact = {NULL, 0};
    tq_page *left[TQ_DEVICE_TOGETHER];
    size_t n_left = 0;
    const bool entered = tq_cuda_enter(device);
    for (size_t i = 0; i < step->n_tracks; i++) {
        if (pages[i] != NULL && tq_form_is_half(pages[i]->form)) {
            tq_device_copy_page(step, pages[i]);
        } else if (pages[i] != NULL) {
            left[n_left++] = pages[i];
        }
    }
    while (n_left > 0) {
        tq_page *some[TQ_DEVICE_TOGETHER];
        const tq_form form = left[0]->form;
        size_t n = 0;
        size_t kept = 0;
        for (size_t i = 0; i < n_left; i++) {
            if (tq_same_form(left[i]->form, form)) {
                some[n++] = left[i];
            } else {
                left[kept++] = left[i];
            }
        }
        launch_pages(device, step, form, some, n, &exact);
        n_left = kept;
    }
    tq_cuda_leave(device, entered);
}

void tq_cuda_encode_tokens(tq_device *base, const tq_device_step *step, tq_page *const *pages, size_t n_pages,
                           const tq_kv *kv, size_t first)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    const page_source source = {kv, first};
    const bool entered = tq_cuda_enter(device);
    launch_pages(device, step, step->form, pages, n_pages, &source);
    tq_cuda_leave(device, entered);
}

/* --- tables --------------------------------------------------------------------------------------------------------
 */

static tq_cuda_entry entry_of(const tq_page *page)
{
    const uint8_t *exact = page->blocks[TQ_BLOCK_EXACT];
    if (tq_form_is_half(page->form) && page->n_encoded == P) {
        exact = page->blocks[TQ_BLOCK_ENCODED];
    }
    return (tq_cuda_entry){page->blocks[TQ_BLOCK_ENCODED], exact, page->form.k->codec->desc.format,
                           page->form.v->codec->desc.format};
}

static void launch_patches(tq_cuda_device *device, const tq_device_step *step, tq_cuda_patch_args *args)
{
    static const unsigned ONE[3] = {1, 1, 1};
    if (args->n > 0) {
        tq_cuda_run(device, &module_of(step, false)->patch, ONE, THREADS, step->stream, args, false);
    }
    args->n = 0;
}

void tq_cuda_patch(tq_cuda_device *device, const tq_device_step *step)
{
    tq_cuda_patch_args args = {0};
    for (size_t i = 0; i < step->n_tracks; i++) {
        tq_track *track = step->tracks[i];
        const size_t n_pages = tq_pages_of(track->n_tokens);
        track->device_mixed = track->device_mixed && track->device_current > 0;
        for (; track->device_current < n_pages; track->device_current++) {
            const tq_page *page = track->pages[track->device_current];
            track->device_mixed = track->device_mixed || !tq_same_form(page->form, step->form);
            args.patches[args.n].at = (tq_cuda_entry *)track->on_device + track->device_current;
            args.patches[args.n].entry = entry_of(page);
            if (++args.n == TQ_CUDA_PAGES) {
                launch_patches(device, step, &args);
            }
        }
    }
    launch_patches(device, step, &args);
}

/* --- new tokens ----------------------------------------------------------------------------------------------------
 */

void tq_cuda_store(tq_device *base, const tq_device_step *step, const tq_kv *kv, size_t first, size_t n_tokens)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    const tq_cache_desc *desc = &step->cache->desc;
    tq_cuda_store_args args = {.n_kv_heads = (int)desc->n_kv_heads,
                               .n_tokens = (int)n_tokens,
                               .dim_k = (int)desc->head_dim_k,
                               .dim_v = (int)desc->head_dim_v,
                               .dtype = kv->dtype,
                               .sink_tokens = (int)desc->sink_tokens,
                               .k = kv->k,
                               .v = kv->v,
                               .k_token_stride = (int64_t)kv->k_token_stride,
                               .k_head_stride = (int64_t)kv->k_head_stride,
                               .v_token_stride = (int64_t)kv->v_token_stride,
                               .v_head_stride = (int64_t)kv->v_head_stride};
    const bool entered = tq_cuda_enter(device);
    for (size_t i = 0; i < step->n_tracks; i++) {
        const tq_track *track = step->tracks[i];
        const tq_page *page = track->pages[track->n_tokens / P];
        const int n = args.n_seqs++;
        args.seqs[n].exact = page->blocks[TQ_BLOCK_EXACT];
        args.seqs[n].sinks = page->blocks[TQ_BLOCK_SINKS];
        args.seqs[n].first = (int32_t)(track->n_tokens % P);
        args.seqs[n].from = (int32_t)(first + i * n_tokens);
        if (args.n_seqs == TQ_CUDA_SEQS || i + 1 == step->n_tracks) {
            const unsigned grid[3] = {(unsigned)args.n_seqs * (unsigned)n_tokens, desc->n_kv_heads, 1};
            tq_cuda_run(device, &module_of(step, false)->store, grid, THREADS, step->stream, &args, false);
            args.n_seqs = 0;
        }
    }
    tq_cuda_leave(device, entered);
}
