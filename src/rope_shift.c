/* SPDX-License-Identifier: MIT
 *
 * Keys at other positions.
 *
 * RoPE (J. Su et al., arXiv:2104.09864) turns each pair of coordinates by an angle proportional to the position, so
 * moving a key by delta positions turns each pair by delta times its frequency. The rotation that spreads coordinates
 * before they are rounded mixes all pairs, so a key must be decoded and rotated back first. */
#include "desc.h"
#include "device.h"

#include <math.h>
#include <string.h>

enum { P = TQ_PAGE_TOKENS };

/* By how much each pair turns. */
typedef struct turn {
    size_t n_pairs;
    size_t step;   /* From the first coordinate of a pair to that of the next, */
    size_t across; /* and to the second. */
    float cosine[TQ_MAX_DIM / 2];
    float sine[TQ_MAX_DIM / 2];
} turn;

static turn find_turn(const tq_rope *rope, int64_t delta)
{
    turn t = {.n_pairs = rope->n_dims / 2};
    t.step = rope->pairing == TQ_ROPE_INTERLEAVED ? 2 : 1;
    t.across = rope->pairing == TQ_ROPE_INTERLEAVED ? 1 : t.n_pairs;
    for (size_t j = 0; j < t.n_pairs; j++) {
        const double frequency = pow((double)rope->theta, -2.0 * (double)j / rope->n_dims) * (double)rope->freq_scale /
                                 (rope->freq_factors == NULL ? 1.0 : (double)rope->freq_factors[j]);
        t.cosine[j] = (float)cos((double)delta * frequency);
        t.sine[j] = (float)sin((double)delta * frequency);
    }
    return t;
}

/* Turns f16 keys [begin, end) of `dim` coordinates. */
static void turn_keys(const tq_kernels *kernels, const turn *t, uint8_t *keys, size_t dim, size_t begin, size_t end)
{
    for (size_t token = begin; token < end; token++) {
        float x[TQ_MAX_DIM];
        kernels->half_decode(keys + token * 2 * dim, dim, x);
        for (size_t j = 0; j < t->n_pairs; j++) {
            float *first = x + j * t->step;
            float *second = first + t->across;
            const float turned = *first * t->cosine[j] - *second * t->sine[j];
            *second = *first * t->sine[j] + *second * t->cosine[j];
            *first = turned;
        }
        kernels->half_encode(x, dim, keys + token * 2 * dim);
    }
}

typedef struct shift_work {
    const tq_cache *cache;
    const turn *turn;
    tq_page *page;
    size_t begin; /* Tokens [begin, end) of the page, */
    size_t end;
    size_t live;      /* which has so many. */
    uint8_t *scratch; /* An exact block. */
} shift_work;

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Keys of one head, wherever they are. What is exact and encoded is encoded from what is exact. */
static void shift_head(void *arg, size_t head)
{
    const shift_work *work = arg;
    const tq_cache *cache = work->cache;
    const tq_page *page = work->page;
    const tq_kernels *kernels = &cache->context->kernels;
    const size_t n_sinks = cache->desc.sink_tokens;
    const size_t dim = cache->desc.head_dim_k;
    const size_t n_encoded = least(page->n_encoded, work->live);
    uint8_t *exact = page->blocks[TQ_BLOCK_EXACT];
    if (exact != NULL) {
        exact += tq_exact_keys_at(cache, P, head);
        turn_keys(kernels, work->turn, exact, dim, work->begin, work->end);
    }
    if (page->blocks[TQ_BLOCK_SINKS] != NULL) {
        turn_keys(kernels, work->turn, page->blocks[TQ_BLOCK_SINKS] + tq_exact_keys_at(cache, n_sinks, head), dim,
                  least(work->begin, n_sinks), least(work->end, n_sinks));
    }
    if (page->blocks[TQ_BLOCK_ENCODED] != NULL && n_encoded > 0) {
        uint8_t *encoded = page->blocks[TQ_BLOCK_ENCODED] + tq_encoded_keys_at(page->form, head);
        uint8_t *keys = work->scratch + tq_exact_keys_at(cache, P, head);
        tq_side_decode(page->form.k, encoded, n_encoded, keys);
        turn_keys(kernels, work->turn, keys, dim, work->begin, least(work->end, n_encoded));
        for (size_t token = page->exact_from; exact != NULL && token < n_encoded; token++) {
            memcpy(keys + token * 2 * dim, exact + token * 2 * dim, 2 * dim);
        }
        tq_side_encode(page->form.k, keys, 0, n_encoded, encoded);
    }
}

/* A page on a device is turned on the host. */
static tq_status shift_on_host(tq_cache *cache, shift_work *work)
{
    const tq_page *page = work->page;
    tq_page copy;
    tq_status status = tq_page_to_host(cache, page, &copy);
    if (status == TQ_OK) {
        work->page = &copy;
        tq_run(cache->context, shift_head, work, cache->desc.n_kv_heads);
    }
    for (size_t i = 0; status == TQ_OK && i < TQ_BLOCK_KINDS; i++) {
        if (page->blocks[i] != NULL) {
            status = tq_device_write_block(cache, page->form, (tq_block)i, copy.blocks[i], page->blocks[i]);
        }
    }
    tq_page_free_copy(cache, &copy);
    return status;
}

static tq_status shift_page(tq_cache *cache, shift_work *work)
{
    if (cache->device != NULL) {
        return shift_on_host(cache, work);
    }
    tq_run(cache->context, shift_head, work, cache->desc.n_kv_heads);
    return TQ_OK;
}

/* Checks a description and resolves its defaults. */
static tq_status read_rope(const tq_cache *cache, const tq_rope *from, tq_rope *rope)
{
    if (from == NULL || !tq_desc_read(from, rope, sizeof *rope, sizeof(tq_rope))) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache_rope_shift: rope is null or its struct_size is wrong");
    }
    rope->n_dims = rope->n_dims == 0 ? cache->desc.head_dim_k : rope->n_dims;
    rope->theta = rope->theta == 0 ? 10000.0F : rope->theta;
    rope->freq_scale = rope->freq_scale == 0 ? 1.0F : rope->freq_scale;
    if (rope->n_dims % 2 != 0 || rope->n_dims > cache->desc.head_dim_k || rope->pairing < TQ_ROPE_NEOX ||
        rope->pairing > TQ_ROPE_INTERLEAVED) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache_rope_shift: n_dims is odd or above head_dim_k, or pairing is unknown");
    }
    if (!isfinite(rope->theta) || !isfinite(rope->freq_scale) ||
        (rope->freq_factors != NULL &&
         !cache->context->kernels.all_finite(rope->freq_factors, TQ_DTYPE_F32, rope->n_dims / 2))) {
        return tq_fail(cache->context, TQ_ERR_NONFINITE, "tq_cache_rope_shift: rope contains a NaN or an infinity");
    }
    bool positive = rope->theta > 0 && rope->freq_scale > 0;
    for (size_t j = 0; rope->freq_factors != NULL && j < rope->n_dims / 2; j++) {
        positive = positive && rope->freq_factors[j] > 0;
    }
    return positive ? TQ_OK
                    : tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                              "tq_cache_rope_shift: theta, freq_scale or a factor is not positive");
}

static bool any_page(const void *arg, size_t index)
{
    (void)arg;
    (void)index;
    return true;
}

tq_status tq_cache_rope_shift(tq_cache *cache, tq_seq *seq, uint32_t layer, size_t first, size_t end, int64_t delta,
                              const tq_rope *rope)
{
    tq_rope resolved;
    if (cache == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (seq == NULL || seq->cache != cache || layer >= cache->desc.n_layers || first > end ||
        end > seq->tracks[layer].n_tokens) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache_rope_shift: seq is null or of another cache, or layer or tokens are out of range");
    }
    tq_status status = read_rope(cache, rope, &resolved);
    if (status != TQ_OK || first == end || delta == 0) {
        return status;
    }
    tq_track *track = &seq->tracks[layer];
    uint8_t *scratch =
        tq_allocate(&cache->context->allocator, 1, tq_block_bytes(cache, cache->layers[layer], TQ_BLOCK_EXACT));
    status = scratch == NULL ? TQ_ERR_OUT_OF_MEMORY
                             : tq_track_own(cache, track, first / P, tq_pages_of(end), any_page, NULL);
    if (status != TQ_OK) {
        tq_release(&cache->context->allocator, scratch);
        return tq_fail(cache->context, status,
                       status == TQ_ERR_CAPACITY ? "tq_cache_rope_shift: memory_limit has been reached"
                                                 : "tq_cache_rope_shift: out of memory");
    }
    const turn t = find_turn(&resolved, delta);
    for (size_t i = first / P; status == TQ_OK && i < tq_pages_of(end); i++) {
        shift_work work = {.cache = cache,
                           .turn = &t,
                           .page = track->pages[i],
                           .begin = first > i * P ? first - i * P : 0,
                           .end = least(end - i * P, P),
                           .live = least(track->n_tokens - i * P, P),
                           .scratch = scratch};
        status = shift_page(cache, &work);
    }
    tq_release(&cache->context->allocator, scratch);
    return status == TQ_OK ? TQ_OK
                           : tq_fail(cache->context, status,
                                     "tq_cache_rope_shift: out of memory, or the device failed; some pages are done");
}
