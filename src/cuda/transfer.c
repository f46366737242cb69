/* SPDX-License-Identifier: MIT
 *
 * Blocks between the device and the host, for files: rows of docs/format.md on one side, records on the other. These
 * calls wait for the device. */
#include "cuda/cuda.h"
#include "kernels/cuda/layout_cuda.h"

#include <string.h>

enum { PAGE_ROWS = 64 * 130 }; /* Bytes of 64 rows: dim 256 and 4 bits at most. */

static void download(tq_cuda_device *device, const tq_cache *cache, uint8_t *to, const uint8_t *from, size_t bytes)
{
    const bool entered = tq_cuda_enter(device);
    tq_cuda_note(device, device->driver.synchronise(cache->stream), "waiting for the device");
    tq_cuda_note(device, device->driver.download(to, from, bytes), "reading a block");
    tq_cuda_leave(device, entered);
}

static void upload(tq_cuda_device *device, const tq_cache *cache, uint8_t *to, const uint8_t *from, size_t bytes)
{
    const bool entered = tq_cuda_enter(device);
    tq_cuda_note(device, device->driver.synchronise(cache->stream), "waiting for the device");
    tq_cuda_note(device, device->driver.upload(to, from, bytes), "writing a block");
    tq_cuda_leave(device, entered);
}

/* Where a side's parts lie in a record. */
typedef struct parts {
    tq_cuda_side_place place;
    int n_words; /* Of a lane. */
} parts;

static parts parts_of(tq_form form, bool values)
{
    const tq_side *side = values ? form.v : form.k;
    const int dim = (int)side->codec->code.dim;
    return (parts){tq_cuda_place_of_side(form, values),
                   tq_cuda_padded(dim) / 32 * tq_cuda_bits(side->codec->desc.format)};
}

/* Puts bits [0, width) of a value at bit `at` of a row. */
static void put_bits(uint8_t *row, size_t at, unsigned value, unsigned width)
{
    row[at / 8] |= (uint8_t)((value & ((1U << width) - 1)) << at % 8);
}

/* A code as a row stores it: the inverse of tq_cuda_row_code. */
static void put_code(int format, size_t dim, uint8_t *codes, size_t j, unsigned code)
{
    const unsigned bits = (unsigned)tq_cuda_bits(format);
    if (tq_cuda_is_trellis(format) || bits == 1) {
        for (unsigned plane = 0; plane < bits; plane++) {
            put_bits(codes + plane * ((dim + 7) / 8), j, code >> plane, 1);
        }
    } else if (bits == 3) {
        put_bits(codes, 2 * j, code, 2);
        put_bits(codes + (dim + 3) / 4, j, code >> 2, 1);
    } else {
        put_bits(codes, bits * j, code, bits);
    }
}

static void rows_from_record(tq_form form, bool values, const uint8_t *record, uint8_t *rows)
{
    const tq_side *side = values ? form.v : form.k;
    const tq_code *code = &side->codec->code;
    const int format = side->codec->desc.format;
    const parts p = parts_of(form, values);
    memset(rows, 0, TQ_CUDA_PAGE * code->row_bytes);
    for (int t = 0; t < TQ_CUDA_PAGE; t++) {
        const uint8_t *stage = record + t / TQ_CUDA_STAGE * p.place.stage_bytes;
        const int token = t % TQ_CUDA_STAGE;
        uint8_t *row = rows + (size_t)t * code->row_bytes;
        memcpy(row, stage + p.place.scales + 2 * token, 2);
        for (size_t j = 0; j < code->dim; j++) {
            put_code(format, code->dim, row + 2, j,
                     tq_cuda_unpack_code(format, (int)code->dim, values, stage + p.place.words, token, (int)j));
        }
    }
}

static void rows_to_record(tq_form form, bool values, const uint8_t *rows, uint8_t *record)
{
    const tq_side *side = values ? form.v : form.k;
    const tq_code *code = &side->codec->code;
    const int row_bytes = (int)code->row_bytes;
    const parts p = parts_of(form, values);
    for (int stage = 0; stage < 2; stage++) {
        const uint8_t *own = rows + stage * TQ_CUDA_STAGE * row_bytes;
        uint8_t *at = record + stage * p.place.stage_bytes;
        for (int i = 0; i < 32 * p.n_words; i++) {
            const uint32_t word = tq_cuda_pack_word(side->codec->desc.format, (int)code->dim, values, own, row_bytes,
                                                    i / p.n_words, i % p.n_words);
            memcpy(at + p.place.words + tq_cuda_word_at(p.n_words, i / p.n_words, i % p.n_words), &word, sizeof word);
        }
        for (int token = 0; token < TQ_CUDA_STAGE; token++) {
            memcpy(at + p.place.scales + 2 * token, own + token * row_bytes, 2);
        }
    }
}

/* One side of one head between a record and the host's layout. */
static void side_to_host(tq_form form, bool values, const uint8_t *record, uint8_t *host)
{
    const tq_side *side = values ? form.v : form.k;
    uint8_t rows[PAGE_ROWS];
    rows_from_record(form, values, record, rows);
    side->codec->context->kernels.page_write(&side->codec->code, side->kind, rows, 0, TQ_CUDA_PAGE,
                                             host + side->rows_at);
    if (side->has_mean) {
        memcpy(host, record + tq_cuda_place_of_side(form, values).mean, 2 * side->codec->code.dim);
    }
}

static void side_to_record(tq_form form, bool values, const uint8_t *host, uint8_t *record)
{
    const tq_side *side = values ? form.v : form.k;
    uint8_t rows[PAGE_ROWS];
    side->codec->context->kernels.page_read(&side->codec->code, side->kind, host + side->rows_at, 0, TQ_CUDA_PAGE,
                                            rows);
    rows_to_record(form, values, rows, record);
    if (side->has_mean) {
        memcpy(record + tq_cuda_place_of_side(form, values).mean, host, 2 * side->codec->code.dim);
    }
}

/* f16 pages are rows on both sides. */
static void half_to_host(tq_form form, size_t head, const uint8_t *block, uint8_t *host)
{
    const tq_side *sides[2] = {form.k, form.v};
    for (size_t i = 0; i < 2; i++) {
        sides[i]->codec->context->kernels.page_write(
            &sides[i]->codec->code, sides[i]->kind, block + (2 * head + i) * sides[i]->device_bytes, 0, TQ_CUDA_PAGE,
            host + (i == 0 ? tq_encoded_keys_at(form, head) : tq_encoded_values_at(form, head)));
    }
}

static void half_to_device(tq_form form, size_t head, const uint8_t *host, uint8_t *block)
{
    const tq_side *sides[2] = {form.k, form.v};
    for (size_t i = 0; i < 2; i++) {
        sides[i]->codec->context->kernels.page_read(
            &sides[i]->codec->code, sides[i]->kind,
            host + (i == 0 ? tq_encoded_keys_at(form, head) : tq_encoded_values_at(form, head)), 0, TQ_CUDA_PAGE,
            block + (2 * head + i) * sides[i]->device_bytes);
    }
}

tq_status tq_cuda_read_block(tq_device *base, const tq_cache *cache, tq_form form, tq_block kind, const uint8_t *block,
                             uint8_t *host)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    const size_t bytes = tq_block_bytes(cache, form, kind);
    if (kind != TQ_BLOCK_ENCODED) {
        download(device, cache, host, block, bytes);
        return tq_device_status(base);
    }
    uint8_t *copy = tq_allocate(&base->context->allocator, 1, bytes);
    if (copy == NULL) {
        return TQ_ERR_OUT_OF_MEMORY;
    }
    download(device, cache, copy, block, bytes);
    for (size_t head = 0; head < cache->desc.n_kv_heads; head++) {
        const uint8_t *record = copy + head * (form.k->device_bytes + form.v->device_bytes);
        if (form.k->codec->family == TQ_FAMILY_HALF) {
            half_to_host(form, head, copy, host);
        } else {
            side_to_host(form, false, record, host + tq_encoded_keys_at(form, head));
            side_to_host(form, true, record, host + tq_encoded_values_at(form, head));
        }
    }
    tq_release(&base->context->allocator, copy);
    return tq_device_status(base);
}

tq_status tq_cuda_write_block(tq_device *base, tq_cache *cache, tq_form form, tq_block kind, const uint8_t *host,
                              uint8_t *block)
{
    tq_cuda_device *device = (tq_cuda_device *)base;
    const size_t bytes = tq_block_bytes(cache, form, kind);
    if (kind != TQ_BLOCK_ENCODED) {
        upload(device, cache, block, host, bytes);
        return tq_device_status(base);
    }
    uint8_t *copy = tq_allocate(&base->context->allocator, 1, bytes);
    if (copy == NULL) {
        return TQ_ERR_OUT_OF_MEMORY;
    }
    for (size_t head = 0; head < cache->desc.n_kv_heads; head++) {
        uint8_t *record = copy + head * (form.k->device_bytes + form.v->device_bytes);
        if (form.k->codec->family == TQ_FAMILY_HALF) {
            half_to_device(form, head, host, copy);
        } else {
            side_to_record(form, false, host + tq_encoded_keys_at(form, head), record);
            side_to_record(form, true, host + tq_encoded_values_at(form, head), record);
        }
    }
    upload(device, cache, block, copy, bytes);
    tq_release(&base->context->allocator, copy);
    return tq_device_status(base);
}
