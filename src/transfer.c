/* SPDX-License-Identifier: MIT
 *
 * Blocks between a device and the host, for files: the host's layout on one side, the device's records on the other,
 * rows of docs/format.md between them. These calls wait for the device. */
#include "device.h"

#include <string.h>

enum { P = TQ_PAGE_TOKENS, ROW_BYTES = 258 }; /* Of the largest row on a device: dim 256 at 8 bits. */

/* One side of one head, by way of `rows`. f16 pages are rows on both sides. */
static void side_to_host(const tq_device_ops *ops, tq_form form, bool values, const uint8_t *record, uint8_t *rows,
                         uint8_t *host)
{
    const tq_side *side = values ? form.v : form.k;
    const bool half = tq_side_is_half(side);
    if (!half) {
        ops->rows_from_record(form, values, record, rows);
    }
    side->codec->context->kernels.page_write(&side->codec->code, side->kind, half ? record : rows, 0, P,
                                             host + side->rows_at);
    if (side->has_mean) {
        memcpy(host, record + ops->mean_at(form, values), 2 * side->codec->code.dim);
    }
}

static void side_from_host(const tq_device_ops *ops, tq_form form, bool values, const uint8_t *host, uint8_t *rows,
                           uint8_t *record)
{
    const tq_side *side = values ? form.v : form.k;
    const bool half = tq_side_is_half(side);
    side->codec->context->kernels.page_read(&side->codec->code, side->kind, host + side->rows_at, 0, P,
                                            half ? record : rows);
    if (!half) {
        ops->rows_to_record(form, values, rows, record);
    }
    if (side->has_mean) {
        memcpy(record + ops->mean_at(form, values), host, 2 * side->codec->code.dim);
    }
}

/* Records of encoded keys and values make one, but f16 has no record of its own. */
static uint8_t *record_of(tq_form form, bool values, size_t head, uint8_t *block)
{
    uint8_t *record = block + head * (form.k->device_bytes + form.v->device_bytes);
    return values && tq_side_is_half(form.v) ? record + form.k->device_bytes : record;
}

tq_status tq_device_read_block(const tq_cache *cache, tq_form form, tq_block kind, const uint8_t *block, uint8_t *host)
{
    tq_device *device = cache->device;
    const size_t bytes = tq_block_bytes(cache, form, kind);
    if (kind != TQ_BLOCK_ENCODED) {
        device->ops->download(device, cache, host, block, bytes);
        return tq_device_status(device);
    }
    uint8_t *copy = tq_allocate(&device->context->allocator, 1, bytes + P * ROW_BYTES);
    if (copy == NULL) {
        return TQ_ERR_OUT_OF_MEMORY;
    }
    uint8_t *rows = copy + bytes;
    device->ops->download(device, cache, copy, block, bytes);
    for (size_t head = 0; head < cache->desc.n_kv_heads; head++) {
        side_to_host(device->ops, form, false, record_of(form, false, head, copy), rows,
                     host + tq_encoded_keys_at(form, head));
        side_to_host(device->ops, form, true, record_of(form, true, head, copy), rows,
                     host + tq_encoded_values_at(form, head));
    }
    tq_release(&device->context->allocator, copy);
    return tq_device_status(device);
}

tq_status tq_device_write_block(const tq_cache *cache, tq_form form, tq_block kind, const uint8_t *host, uint8_t *block)
{
    tq_device *device = cache->device;
    const size_t bytes = tq_block_bytes(cache, form, kind);
    if (kind != TQ_BLOCK_ENCODED) {
        device->ops->upload(device, cache, block, host, bytes);
        return tq_device_status(device);
    }
    uint8_t *copy = tq_allocate(&device->context->allocator, 1, bytes + P * ROW_BYTES);
    if (copy == NULL) {
        return TQ_ERR_OUT_OF_MEMORY;
    }
    uint8_t *rows = copy + bytes;
    for (size_t head = 0; head < cache->desc.n_kv_heads; head++) {
        side_from_host(device->ops, form, false, host + tq_encoded_keys_at(form, head), rows,
                       record_of(form, false, head, copy));
        side_from_host(device->ops, form, true, host + tq_encoded_values_at(form, head), rows,
                       record_of(form, true, head, copy));
    }
    device->ops->upload(device, cache, block, copy, bytes);
    tq_release(&device->context->allocator, copy);
    return tq_device_status(device);
}

tq_status tq_page_to_host(const tq_cache *cache, const tq_page *page, tq_page *copy)
{
    tq_status status = TQ_OK;
    *copy = (tq_page){.form = page->form, .n_encoded = page->n_encoded, .exact_from = page->exact_from};
    for (size_t i = 0; status == TQ_OK && i < TQ_BLOCK_KINDS; i++) {
        const size_t bytes = tq_host_block_bytes(cache, page->form, (tq_block)i);
        if (page->blocks[i] != NULL) {
            copy->blocks[i] = tq_allocate(&cache->context->allocator, 1, bytes);
            status = copy->blocks[i] == NULL
                         ? TQ_ERR_OUT_OF_MEMORY
                         : tq_device_read_block(cache, page->form, (tq_block)i, page->blocks[i], copy->blocks[i]);
        }
    }
    return status;
}

void tq_page_free_copy(const tq_cache *cache, tq_page *copy)
{
    for (size_t i = 0; i < TQ_BLOCK_KINDS; i++) {
        tq_release(&cache->context->allocator, copy->blocks[i]);
    }
}
