/* SPDX-License-Identifier: MIT
 *
 * Attention: tables of pages, how the work is split, and the way of queries and outputs. */
#include "metal/metal.h"

#include "rows.h"

#include <math.h>
#include <string.h>

/* Threadgroups that keep a GPU of some dozen cores busy; the fewest pages that are worth a split; exact tokens of one.
 */
enum { P = TQ_PAGE_TOKENS, ENOUGH = 256, LEAST_PAGES = 4, EXACT_OF_SPLIT = 256 };

_Static_assert(sizeof(tq_metal_entry) <= TQ_DEVICE_ENTRY, "tables have room for entries");

/* --- tables --------------------------------------------------------------------------------------------------------
 */

static tq_metal_entry entry_of(const tq_device_step *step, const tq_page *page)
{
    const uint8_t *exact = page->blocks[TQ_BLOCK_EXACT];
    if (tq_form_is_half(step->form) && page->n_encoded == P) {
        exact = page->blocks[TQ_BLOCK_ENCODED];
    }
    return (tq_metal_entry){tq_metal_address(step->cache, page->blocks[TQ_BLOCK_ENCODED]),
                            tq_metal_address(step->cache, exact)};
}

/* Brings a track's table up to date. */
static void patch(const tq_device_step *step, tq_track *track)
{
    const size_t n_pages = tq_pages_of(track->n_tokens);
    for (; track->device_current < n_pages; track->device_current++) {
        const tq_metal_entry entry = entry_of(step, track->pages[track->device_current]);
        memcpy(track->on_device + track->device_current * sizeof entry, &entry, sizeof entry);
    }
}

/* What the newest n_tokens of a track see, each. */
static void make_views(const tq_device_step *step, const tq_track *track, size_t n_tokens, tq_metal_view *views)
{
    tq_metal_view view = {.table = tq_metal_address(step->cache, track->on_device)};
    if (!tq_form_is_half(step->form)) { /* Encoded pages of f16 are read as exact ones. */
        view.n_encoded = (uint32_t)tq_device_first_exact(step->cache, track, n_tokens);
        view.sinks = tq_metal_address(step->cache, track->pages[0]->blocks[TQ_BLOCK_SINKS]);
    }
    for (size_t i = 0; i < n_tokens; i++) {
        views[i] = view;
        views[i].n_tokens = (uint32_t)(track->n_tokens - n_tokens + i + 1);
    }
}

/* --- splits --------------------------------------------------------------------------------------------------------
 */

static uint32_t ceil_div(size_t a, size_t b)
{
    return (uint32_t)((a + b - 1) / b);
}

/* Splits of the longest sequence's encoded tokens, and of its exact ones. */
static void plan_splits(tq_metal_attend_args *args, const tq_metal_view *views)
{
    const size_t groups = (size_t)args->n_queries * args->n_kv_heads * ceil_div(args->group, TQ_METAL_QUERIES);
    size_t encoded = 0;
    size_t exact = 0;
    for (size_t i = 0; i < args->n_queries; i++) {
        const size_t own = views[i].n_tokens - views[i].n_encoded + (size_t)args->n_sinks;
        encoded = views[i].n_encoded > encoded ? views[i].n_encoded : encoded;
        exact = own > exact ? own : exact;
    }
    const uint32_t wanted = ceil_div(ENOUGH, groups);
    const uint32_t most = ceil_div(encoded, LEAST_PAGES * P);
    const uint32_t most_exact = ceil_div(exact, EXACT_OF_SPLIT);
    args->n_splits = wanted < most ? wanted : most > 1 ? most : 1;
    args->exact_splits = wanted < most_exact ? wanted : most_exact > 1 ? most_exact : 1;
}

/* --- queries and outputs -------------------------------------------------------------------------------------------
 */

typedef struct attend_work {
    tq_metal_device *device;
    const tq_device_step *step;
    const tq_attention *caller;
    size_t first; /* Tokens [first, first + n) of the caller's arrays. */
    size_t n;
    size_t dim;
    tq_metal_attention own;
    tq_gpu_memory *wrapped[2]; /* The caller's queries and outputs where they lie; null if they are copied. */
} attend_work;

static size_t floats_of(const attend_work *work)
{
    return work->n * work->caller->n_q_heads * work->dim;
}

static const void *query_at(const attend_work *work, size_t token, size_t head)
{
    const tq_attention *a = work->caller;
    const size_t at = (work->first + token) * a->q_token_stride + head * a->q_head_stride;
    return (const char *)a->q + at * (a->q_dtype == TQ_DTYPE_F32 ? 4 : 2);
}

static float *output_at(const attend_work *work, size_t token, size_t head)
{
    const tq_attention *a = work->caller;
    return a->out + (work->first + token) * a->out_token_stride + head * a->out_head_stride;
}

static bool is_dense(const attend_work *work, size_t token_stride, size_t head_stride)
{
    return head_stride == work->dim && token_stride == work->dim * work->caller->n_q_heads;
}

/* Uses the caller's arrays without a copy where the device can. */
static void wrap(attend_work *work)
{
    const tq_attention *a = work->caller;
    const size_t bytes = floats_of(work) * sizeof(float);
    if (a->flags == 0 && a->q_dtype == TQ_DTYPE_F32 && is_dense(work, a->q_token_stride, a->q_head_stride) &&
        tq_gpu_wrap(work->device->gpu, (void *)query_at(work, 0, 0), bytes, &work->wrapped[0]) == TQ_OK) {
        work->own.q = (tq_gpu_slice){work->wrapped[0], 0};
    }
    if (a->flags == 0 && is_dense(work, a->out_token_stride, a->out_head_stride) &&
        tq_gpu_wrap(work->device->gpu, output_at(work, 0, 0), bytes, &work->wrapped[1]) == TQ_OK) {
        work->own.out = (tq_gpu_slice){work->wrapped[1], 0};
    }
}

/* Queries that come rotated by the orthogonal R are brought back for exact keys. */
static void read_queries(attend_work *work)
{
    const tq_side *side = work->step->form.k;
    float *q = tq_metal_host(work->own.q);
    float *rotated = tq_metal_host(work->own.rotated);
    work->own.is_rotated = (work->caller->flags & TQ_ATTENTION_Q_ROTATED) != 0;
    for (size_t i = 0; work->wrapped[0] == NULL && i < work->n * work->caller->n_q_heads; i++) {
        const size_t heads = work->caller->n_q_heads;
        float *plain = q + i * work->dim;
        side->codec->context->kernels.widen(query_at(work, i / heads, i % heads), work->caller->q_dtype, work->dim,
                                            plain);
        for (size_t j = 0; work->own.is_rotated && j < work->dim; j++) {
            rotated[i * work->dim + j] = plain[j] * sqrtf((float)work->dim);
        }
        if (work->own.is_rotated) {
            tq_unrotate_vector(side->codec, rotated + i * work->dim, plain);
        }
    }
}

static void write_outputs(const attend_work *work)
{
    const size_t heads = work->caller->n_q_heads;
    const float *out = tq_metal_host(work->own.out);
    for (size_t i = 0; work->wrapped[1] == NULL && i < work->n * heads; i++) {
        float *to = output_at(work, i / heads, i % heads);
        if ((work->caller->flags & TQ_ATTENTION_OUT_ROTATED) == 0) {
            memcpy(to, out + i * work->dim, work->dim * sizeof *to);
            continue;
        }
        tq_rotate_vector(work->step->form.v->codec, out + i * work->dim, to);
        for (size_t j = 0; j < work->dim; j++) {
            to[j] /= sqrtf((float)work->dim);
        }
    }
    if (work->caller->lse != NULL) {
        memcpy(work->caller->lse + work->first * heads, tq_metal_host(work->own.lse), work->n * heads * sizeof(float));
    }
}

/* --- a step --------------------------------------------------------------------------------------------------------
 */

/* Room for all that is not wrapped. */
static tq_status lay_out(attend_work *work, const tq_metal_layer *layer, const tq_metal_view *views,
                         tq_metal_scratch **scratch)
{
    const size_t floats = floats_of(work) * sizeof(float);
    const size_t rows = work->n * work->caller->n_q_heads * sizeof(float);
    const size_t logits = work->caller->n_q_heads * sizeof(float);
    const size_t partials = tq_metal_partial_bytes(layer, &work->own.args);
    const tq_status status =
        tq_metal_borrow(work->step->cache,
                        tq_metal_aligned(work->n * sizeof *views) + 3 * tq_metal_aligned(floats) +
                            tq_metal_aligned(rows) + tq_metal_aligned(logits) + tq_metal_aligned(partials),
                        scratch);
    if (status != TQ_OK) {
        return status;
    }
    work->own.views = tq_metal_part(*scratch, work->n * sizeof *views);
    memcpy(tq_metal_host(work->own.views), views, work->n * sizeof *views);
    work->own.rotated = tq_metal_part(*scratch, floats);
    work->own.partials = tq_metal_part(*scratch, partials);
    if (work->wrapped[0] == NULL) {
        work->own.q = tq_metal_part(*scratch, floats);
    }
    if (work->wrapped[1] == NULL) {
        work->own.out = tq_metal_part(*scratch, floats);
    }
    if (work->caller->lse != NULL) {
        work->own.lse = tq_metal_part(*scratch, rows);
    }
    if (work->caller->sink_logits != NULL) {
        work->own.sink_logits = tq_metal_part(*scratch, logits);
        memcpy(tq_metal_host(work->own.sink_logits), work->caller->sink_logits, logits);
    }
    return TQ_OK;
}

static tq_status run(attend_work *work, const tq_metal_view *views)
{
    const tq_metal_layer layer = tq_metal_layer_of(work->step->form);
    tq_gpu *gpu = work->device->gpu;
    tq_metal_scratch *scratch;
    wrap(work);
    tq_status status = lay_out(work, &layer, views, &scratch);
    if (status == TQ_OK) {
        read_queries(work);
        status = tq_metal_attend(gpu, &layer, &work->own);
        if (status == TQ_OK) {
            status = tq_gpu_wait(gpu);
        }
        if (status == TQ_OK) {
            write_outputs(work);
        }
        tq_metal_return(work->step->cache, scratch);
        tq_metal_check(work->device, status);
    }
    tq_gpu_free(gpu, work->wrapped[0]);
    tq_gpu_free(gpu, work->wrapped[1]);
    return status;
}

/* Some tracks, TQ_PAGE_TOKENS queries in all at most. */
static tq_status attend(attend_work *work, tq_track *const *tracks, size_t n_tracks)
{
    tq_metal_view views[P];
    const size_t each = work->n / n_tracks;
    for (size_t i = 0; i < n_tracks; i++) {
        patch(work->step, tracks[i]);
        make_views(work->step, tracks[i], each, views + i * each);
    }
    plan_splits(&work->own.args, views);
    return run(work, views);
}

tq_status tq_metal_attend_step(tq_device *base, const tq_device_step *step, const tq_attention *attention, size_t first,
                               size_t n_tokens)
{
    const tq_cache_desc *desc = &step->cache->desc;
    const size_t together = P / n_tokens; /* Tokens of one page: no more than P. */
    tq_status status = TQ_OK;
    for (size_t from = 0; status == TQ_OK && from < step->n_tracks; from += together) {
        const size_t n_tracks = step->n_tracks - from < together ? step->n_tracks - from : together;
        attend_work work = {.device = (tq_metal_device *)base,
                            .step = step,
                            .caller = attention,
                            .first = first + from * n_tokens,
                            .n = n_tracks * n_tokens,
                            .dim = desc->head_dim_k};
        work.own.args = (tq_metal_attend_args){
            .n_queries = (uint32_t)work.n,
            .n_kv_heads = desc->n_kv_heads,
            .group = (uint32_t)(attention->n_q_heads / desc->n_kv_heads),
            .n_sinks = desc->sink_tokens,
            .sliding_window = attention->sliding_window > INT32_MAX ? 0 : (uint32_t)attention->sliding_window,
            .scale = attention->scale,
            .soft_cap = attention->soft_cap};
        work.own.k_code = tq_metal_code_of(step->form.k);
        work.own.v_code = tq_metal_code_of(step->form.v);
        status = attend(&work, step->tracks + from, n_tracks);
    }
    return status;
}
