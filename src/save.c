/* SPDX-License-Identifier: MIT
 *
 * Writes a sequence as docs/format.md describes it. Bytes that mean nothing, such as those of tokens that were taken
 * back, are written as zeros: equal sequences are equal files. */
#include "device.h"
#include "saved.h"
#include "stream.h"

enum { P = TQ_PAGE_TOKENS, ROW_BUFFER = 8192 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void write_zeros(tq_sink *sink, size_t size)
{
    static const uint8_t zeros[256];
    for (size_t done = 0; done < size; done += sizeof zeros) {
        tq_sink_bytes(sink, zeros, least(size - done, sizeof zeros));
    }
}

/* Of 64 or fewer f16 rows, those of tokens [begin, end). */
static void write_exact_rows(tq_sink *sink, const uint8_t *rows, size_t row_bytes, size_t begin, size_t end,
                             size_t room)
{
    write_zeros(sink, begin * row_bytes);
    tq_sink_bytes(sink, rows + begin * row_bytes, (end - begin) * row_bytes);
    write_zeros(sink, (room - end) * row_bytes);
}

static void write_exact(tq_sink *sink, const tq_cache *cache, const uint8_t *block, size_t begin, size_t end,
                        size_t room)
{
    for (size_t head = 0; head < cache->desc.n_kv_heads; head++) {
        write_exact_rows(sink, block + tq_exact_keys_at(cache, room, head), (size_t)2 * cache->desc.head_dim_k, begin,
                         end, room);
        write_exact_rows(sink, block + tq_exact_values_at(cache, room, head), (size_t)2 * cache->desc.head_dim_v, begin,
                         end, room);
    }
}

static void write_side(tq_sink *sink, const tq_side *side, const uint8_t *encoded, size_t n_encoded)
{
    const tq_code *code = &side->codec->code;
    const size_t per_read = ROW_BUFFER / code->row_bytes;
    tq_sink_bytes(sink, encoded, side->has_mean ? 2 * code->dim : 0);
    for (size_t first = 0; first < n_encoded; first += per_read) {
        uint8_t rows[ROW_BUFFER];
        const size_t n = least(n_encoded - first, per_read);
        side->codec->context->kernels.page_read(code, side->kind, encoded + side->rows_at, first, n, rows);
        tq_sink_bytes(sink, rows, n * code->row_bytes);
    }
    write_zeros(sink, (P - n_encoded) * code->row_bytes);
}

/* `block` is in the host's layout. */
static void write_block(tq_sink *sink, const tq_cache *cache, const tq_page *page, const uint8_t *block, tq_block kind,
                        size_t n_encoded, size_t live)
{
    const size_t n_sinks = cache->desc.sink_tokens;
    switch (kind) {
    case TQ_BLOCK_SINKS:
        write_exact(sink, cache, block, 0, least(n_sinks, live), n_sinks);
        break;
    case TQ_BLOCK_EXACT:
        write_exact(sink, cache, block, least(page->exact_from, live), live, P);
        break;
    default:
        for (size_t head = 0; head < cache->desc.n_kv_heads; head++) {
            write_side(sink, page->form.k, block + tq_encoded_keys_at(page->form, head), n_encoded);
            write_side(sink, page->form.v, block + tq_encoded_values_at(page->form, head), n_encoded);
        }
        break;
    }
}

/* Blocks that say nothing are left out: codes of which a cut left none, and sinks of such a page, all of it exact. */
static bool is_saved(const tq_page *page, tq_block kind)
{
    return page->blocks[kind] != NULL && (kind == TQ_BLOCK_EXACT || page->n_encoded > 0);
}

/* The same from wherever the cache has it. */
static tq_status write_from(tq_sink *sink, const tq_cache *cache, const tq_page *page, tq_block kind, size_t n_encoded,
                            size_t live)
{
    uint8_t *copy = NULL;
    const uint8_t *block = page->blocks[kind];
    tq_status status = TQ_OK;
    if (cache->device != NULL) {
        copy = tq_allocate(&cache->context->allocator, 1, tq_host_block_bytes(cache, page->form, kind));
        status = copy == NULL ? TQ_ERR_OUT_OF_MEMORY : tq_device_read_block(cache, page->form, kind, block, copy);
        block = copy;
    }
    if (status == TQ_OK) {
        write_block(sink, cache, page, block, kind, n_encoded, live);
    }
    tq_release(&cache->context->allocator, copy);
    return status;
}

/* `live` tokens of the page exist. */
static tq_status write_page(tq_sink *sink, const tq_cache *cache, const tq_page *page, size_t live)
{
    const size_t n_encoded = least(page->n_encoded, live);
    const size_t exact_from = page->blocks[TQ_BLOCK_EXACT] == NULL ? 0 : least(page->exact_from, live);
    uint32_t parts = 0;
    tq_status status = TQ_OK;
    for (size_t kind = 0; kind < TQ_BLOCK_KINDS; kind++) {
        parts |= is_saved(page, (tq_block)kind) ? 1U << kind : 0;
    }
    tq_sink_u32(sink, (uint32_t)page->form.k->codec->desc.format);
    tq_sink_u32(sink, (uint32_t)page->form.v->codec->desc.format);
    tq_sink_u32(sink, parts);
    tq_sink_u32(sink, (uint32_t)n_encoded);
    tq_sink_u32(sink, (uint32_t)exact_from);
    tq_sink_u32(sink, 0);
    for (size_t i = 0; status == TQ_OK && i < TQ_BLOCK_KINDS; i++) {
        if (is_saved(page, TQ_SAVED_ORDER[i])) {
            status = write_from(sink, cache, page, TQ_SAVED_ORDER[i], n_encoded, live);
        }
    }
    return status;
}

/* Bytes of a layer's section. */
static uint64_t section_bytes(const tq_cache *cache, const tq_track *track)
{
    uint64_t bytes = TQ_SAVED_CHECKSUM_BYTES;
    for (size_t i = 0; i < tq_pages_of(track->n_tokens); i++) {
        const tq_page *page = track->pages[i];
        bytes += TQ_SAVED_PAGE_BYTES;
        for (size_t kind = 0; kind < TQ_BLOCK_KINDS; kind++) {
            bytes += is_saved(page, (tq_block)kind) ? tq_saved_block_bytes(cache, page->form, (tq_block)kind) : 0;
        }
    }
    return bytes;
}

static void write_header(tq_sink *sink, const tq_cache *cache, const tq_seq *seq)
{
    const tq_cache_desc *desc = &cache->desc;
    uint64_t file_bytes =
        TQ_SAVED_HEADER_BYTES + (uint64_t)desc->n_layers * TQ_SAVED_LAYER_BYTES + TQ_SAVED_CHECKSUM_BYTES;
    for (size_t layer = 0; layer < desc->n_layers; layer++) {
        file_bytes += section_bytes(cache, &seq->tracks[layer]);
    }
    tq_sink_bytes(sink, TQ_SAVED_MAGIC, sizeof TQ_SAVED_MAGIC);
    tq_sink_u32(sink, TQ_SAVED_VERSION);
    tq_sink_u32(sink, 0); /* Required flags. */
    tq_sink_u32(sink, TQ_SAVED_LAYOUT);
    tq_sink_u32(sink, TQ_SAVED_CODEBOOK);
    tq_sink_u32(sink, (uint32_t)tq_saved_rotation(desc->head_dim_k));
    tq_sink_u32(sink, (uint32_t)tq_saved_rotation(desc->head_dim_v));
    tq_sink_u64(sink, desc->seed);
    tq_sink_u32(sink, desc->n_layers);
    tq_sink_u32(sink, desc->n_kv_heads);
    tq_sink_u32(sink, desc->head_dim_k);
    tq_sink_u32(sink, desc->head_dim_v);
    tq_sink_u32(sink, P);
    tq_sink_u32(sink, desc->recent_tokens);
    tq_sink_u32(sink, desc->sink_tokens);
    tq_sink_u32(sink, desc->flags);
    tq_sink_u64(sink, 0); /* Reserved. */
    tq_sink_u64(sink, file_bytes);
    tq_sink_checksum(sink);
}

tq_status tq_cache_save(const tq_cache *cache, const tq_seq *seq, const tq_writer *writer)
{
    tq_sink sink;
    tq_status status = TQ_OK;
    if (cache == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (seq == NULL || seq->cache != cache || writer == NULL || writer->write == NULL) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache_save: seq is null or of another cache, or writer is null");
    }
    tq_sink_open(&sink, writer);
    write_header(&sink, cache, seq);
    for (size_t layer = 0; layer < cache->desc.n_layers; layer++) {
        tq_sink_u32(&sink, (uint32_t)cache->layers[layer].k->codec->desc.format);
        tq_sink_u32(&sink, (uint32_t)cache->layers[layer].v->codec->desc.format);
        tq_sink_u64(&sink, seq->tracks[layer].n_tokens);
        tq_sink_u64(&sink, section_bytes(cache, &seq->tracks[layer]));
    }
    tq_sink_checksum(&sink);
    for (size_t layer = 0; status == TQ_OK && layer < cache->desc.n_layers; layer++) {
        const tq_track *track = &seq->tracks[layer];
        for (size_t i = 0; status == TQ_OK && i < tq_pages_of(track->n_tokens); i++) {
            status = write_page(&sink, cache, track->pages[i], least(track->n_tokens - i * P, P));
        }
        tq_sink_checksum(&sink);
    }
    if (status != TQ_OK) {
        return tq_fail(cache->context, status, "tq_cache_save: out of memory, or the device failed");
    }
    return sink.failed ? tq_fail(cache->context, TQ_ERR_IO, "tq_cache_save: the writer failed") : TQ_OK;
}
