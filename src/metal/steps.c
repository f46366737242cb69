/* SPDX-License-Identifier: MIT
 *
 * New tokens, which the host stores, and pages that leave the window: the host takes their means, the GPU encodes
 * them. */
#include "metal/metal.h"

#include <string.h>

enum { P = TQ_PAGE_TOKENS };

void tq_metal_store_step(tq_device *base, const tq_device_step *step, const tq_kv *kv, size_t first, size_t n_tokens)
{
    (void)base;
    for (size_t i = 0; i < step->n_tracks; i++) {
        const tq_track *track = step->tracks[i];
        tq_page *page = track->pages[track->n_tokens / P];
        tq_page_store(step->cache, page, track->n_tokens % P, kv, first + i * n_tokens, n_tokens);
    }
}

/* The means of a page of which all tokens are exact. */
static void store_means(const tq_device_step *step, const tq_page *page)
{
    const tq_side *sides[2] = {step->form.k, step->form.v};
    const size_t record_bytes = step->form.k->device_bytes + step->form.v->device_bytes;
    for (size_t head = 0; head < step->cache->desc.n_kv_heads; head++) {
        const uint8_t *exact = page->blocks[TQ_BLOCK_EXACT];
        uint8_t *record = page->blocks[TQ_BLOCK_ENCODED] + head * record_bytes;
        for (size_t values = 0; values < 2; values++) {
            if (sides[values]->has_mean) {
                tq_side_mean(sides[values],
                             exact + (values == 0 ? tq_exact_keys_at(step->cache, P, head)
                                                  : tq_exact_values_at(step->cache, P, head)),
                             P, record + tq_metal_mean_of_record(step->form, values == 1));
            }
        }
    }
}

static size_t rows_bytes(const tq_device_step *step, const tq_side *side, size_t n_pages)
{
    return n_pages * step->cache->desc.n_kv_heads * P * side->codec->code.row_bytes;
}

/* Encodes n pages; their means are there. */
static tq_status encode_pages(tq_metal_device *device, const tq_device_step *step, const tq_metal_page *pages,
                              uint32_t n)
{
    const tq_side *sides[2] = {step->form.k, step->form.v};
    const tq_metal_layer layer = tq_metal_layer_of(step->form);
    const uint32_t n_kv_heads = step->cache->desc.n_kv_heads;
    tq_metal_scratch *scratch;
    tq_gpu_slice rows[2];
    tq_status status =
        tq_metal_borrow(step->cache,
                        tq_metal_aligned(n * sizeof *pages) + tq_metal_aligned(rows_bytes(step, sides[0], n)) +
                            tq_metal_aligned(rows_bytes(step, sides[1], n)),
                        &scratch);
    if (status != TQ_OK) {
        return status;
    }
    const tq_gpu_slice list = tq_metal_part(scratch, n * sizeof *pages);
    memcpy(tq_metal_host(list), pages, n * sizeof *pages);
    for (uint32_t values = 0; status == TQ_OK && values < 2; values++) {
        const tq_metal_encode_args args = {
            .n_kv_heads = n_kv_heads,
            .values = values,
            .has_mean = sides[values]->has_mean,
            .k_format = (uint32_t)layer.k_format,
            .record_words = (uint32_t)tq_metal_record_words(layer.k_format, layer.v_format, layer.dim)};
        rows[values] = tq_metal_part(scratch, rows_bytes(step, sides[values], n));
        status = tq_metal_encode_pages(device->gpu, &sides[values]->codec->desc, tq_metal_code_of(sides[values]), args,
                                       list, n, rows[values]);
    }
    if (status == TQ_OK) {
        status = tq_metal_append(device->gpu, &layer, (tq_metal_append_args){n, n_kv_heads}, rows[0], rows[1], list);
    }
    if (status == TQ_OK) {
        status = tq_gpu_wait(device->gpu);
    }
    tq_metal_return(step->cache, scratch);
    return tq_metal_check(device, status);
}

void tq_metal_encode_step(tq_device *base, const tq_device_step *step, tq_page *const *pages)
{
    tq_metal_device *device = (tq_metal_device *)base;
    tq_metal_page list[TQ_DEVICE_TOGETHER];
    uint32_t n = 0;
    for (size_t i = 0; i < step->n_tracks; i++) {
        tq_page *page = pages[i];
        if (page == NULL) {
            continue;
        }
        if (page->blocks[TQ_BLOCK_SINKS] != NULL) {
            tq_page_keep_sinks(step->cache, page);
        }
        if (tq_form_is_half(step->form)) {
            tq_device_copy_page(step, page);
            continue;
        }
        if (page->exact_from == 0) {
            store_means(step, page);
        }
        list[n++] =
            (tq_metal_page){tq_metal_address(step->cache, page->blocks[TQ_BLOCK_EXACT]),
                            tq_metal_address(step->cache, page->blocks[TQ_BLOCK_ENCODED]), (uint32_t)page->exact_from};
    }
    if (n > 0 && encode_pages(device, step, list, n) != TQ_OK) { /* The pages' exact tokens may be gone. */
        atomic_store(&base->failed, 1);
    }
}
