/* SPDX-License-Identifier: MIT
 *
 * Attention over pages of several forms. Runs of pages of one form are attended to by the form's own kernels, one run
 * of each sequence in a launch, and exact tokens by one more; a last kernel puts the parts together. To a launch a run
 * is a sequence that begins with it: its table is cut there, and positions are counted from there. Where a form has no
 * kernels, or there are many runs, the general kernel takes all. */
#include "cuda/cuda.h"

enum { P = TQ_PAGE_TOKENS, MOST_RUNS = 8 };

static const unsigned THREADS = 128;

/* How far the runs of some tracks have been taken, in pages. */
typedef struct runs {
    const tq_device_step *step;
    size_t from;                     /* The first track. */
    const tq_cuda_attend_args *args; /* Its views are those of whole sequences. */
    size_t next[TQ_CUDA_SEQS];
} runs;

/* The views of the next runs of one form, and that form; tracks without one see nothing. False: there are no more. */
static bool take_runs(runs *r, tq_form *form, tq_cuda_view *views)
{
    bool found = false;
    for (size_t i = 0; i < (size_t)r->args->n_seqs; i++) {
        const tq_cuda_view *whole = &r->args->views[i];
        tq_page *const *pages = r->step->tracks[r->from + i]->pages;
        const size_t n_encoded = (size_t)whole->n_encoded;
        const size_t begin = r->next[i];
        size_t end = begin;
        if (!found && begin < tq_pages_of(n_encoded)) {
            *form = pages[begin]->form;
            found = true;
        }
        while (end < tq_pages_of(n_encoded) && tq_same_form(pages[end]->form, *form)) {
            end++;
        }
        const size_t end_token = end * P < n_encoded ? end * P : n_encoded;
        views[i] =
            (tq_cuda_view){whole->table + begin, begin == 0 ? whole->sinks : NULL,
                           whole->n_tokens - (int32_t)(begin * P), end > begin ? (int32_t)(end_token - begin * P) : 0};
        r->next[i] = end;
    }
    return found;
}

/* How many launches runs need; 0 if not all have kernels, or there are too many. */
static size_t count_runs(const tq_device_step *step, size_t from, const tq_cuda_attend_args *args)
{
    runs all = {.step = step, .from = from, .args = args};
    tq_cuda_view views[TQ_CUDA_SEQS];
    tq_form form = step->form;
    size_t n = 0;
    while (take_runs(&all, &form, views)) {
        if (tq_form_is_half(form) || tq_cuda_attention_of(step->cache->on_device, form, 1) == NULL || n == MOST_RUNS) {
            return 0;
        }
        n++;
    }
    return n;
}

static void combine(tq_cuda_device *device, const tq_device_step *step, const tq_cuda_attend_args *args,
                    const float *parts, const float *part_lse, size_t n_parts)
{
    const tq_cuda_cache *cache = step->cache->on_device;
    const int n_heads = args->n_kv_heads * args->group;
    const tq_cuda_combine_args combined = {.n_parts = (int)n_parts,
                                           .n_rows = args->n_seqs * args->n_q_tokens * n_heads,
                                           .n_heads = n_heads,
                                           .dim = args->dim_v,
                                           .parts = parts,
                                           .part_lse = part_lse,
                                           .out = args->out,
                                           .token_stride = args->out_token_stride,
                                           .head_stride = args->out_head_stride,
                                           .lse = args->lse};
    const unsigned grid[3] = {(unsigned)combined.n_rows, 1, 1};
    tq_cuda_run(device, &cache->modules[1]->combine, grid, THREADS, step->stream, &combined, false);
}

tq_status tq_cuda_attend_mixed(tq_cuda_device *device, const tq_device_step *step, size_t from,
                               tq_cuda_attend_args *args)
{
    const size_t n_runs = count_runs(step, from, args);
    const size_t n_heads = (size_t)args->n_kv_heads * (size_t)args->group;
    const size_t n_rows = (size_t)args->n_seqs * (size_t)args->n_q_tokens * n_heads;
    const size_t dim = (size_t)args->dim_v;
    tq_cuda_room *room = &((tq_cuda_cache *)step->cache->on_device)->parts;
    runs all = {.step = step, .from = from, .args = args};
    tq_form form = step->form;
    if (n_runs == 0) {
        return tq_cuda_attend_part(device, step, step->form, TQ_CUDA_GENERAL, args);
    }
    tq_status status = tq_cuda_reserve(step->cache, room, (n_runs + 1) * n_rows * (dim + 1));
    float *parts = room->floats;
    float *part_lse = parts + (n_runs + 1) * n_rows * dim;
    for (size_t i = 0; status == TQ_OK && i <= n_runs; i++) {
        tq_cuda_attend_args part = *args;
        part.out = parts + i * n_rows * dim;
        part.out_token_stride = (int64_t)(n_heads * dim);
        part.out_head_stride = (int64_t)dim;
        part.lse = part_lse + i * n_rows;
        if (i < n_runs) {
            take_runs(&all, &form, part.views);
            part.sink_logits = NULL;
        }
        status = tq_cuda_attend_part(device, step, form, i < n_runs ? TQ_CUDA_ENCODED : TQ_CUDA_EXACT, &part);
    }
    if (status == TQ_OK) {
        combine(device, step, args, parts, part_lse, n_runs + 1);
    }
    return status;
}
