/* SPDX-License-Identifier: MIT
 *
 * Reads a sequence that save.c wrote. Nothing in a file is believed before it was checked: sizes follow from the cache,
 * memory is taken as bytes arrive, every section has a checksum, and rows must be such that an encoder can have written
 * them. */
#include "desc.h"
#include "device.h"
#include "half.h"
#include "rows.h"
#include "saved.h"
#include "stream.h"

#include <string.h>

enum { P = TQ_PAGE_TOKENS, ROW_BUFFER = 8192 };

/* --- the header ----------------------------------------------------------------------------------------------------
 */

typedef struct header {
    tq_cache_desc desc; /* recent_tokens as resolved: 0 is no window. */
    tq_rotation k_rotation;
    tq_rotation v_rotation;
    uint32_t page_tokens;
    uint64_t file_bytes;
} header;

static tq_status read_header(const tq_context *context, tq_source *source, header *h)
{
    unsigned char magic[sizeof TQ_SAVED_MAGIC];
    tq_source_bytes(source, magic, sizeof magic);
    if (memcmp(magic, TQ_SAVED_MAGIC, sizeof magic) != 0) {
        return tq_fail(context, TQ_ERR_CORRUPT, "tq_cache_load: this is no saved sequence");
    }
    const uint32_t version = tq_source_u32(source);
    const uint32_t required = tq_source_u32(source);
    const uint32_t layout = tq_source_u32(source);
    const uint32_t codebook = tq_source_u32(source);
    if (source->failed) {
        return tq_fail(context, TQ_ERR_CORRUPT, "tq_cache_load: the header ends early");
    }
    if (version != TQ_SAVED_VERSION) {
        return tq_fail(context, TQ_ERR_BAD_VERSION, "tq_cache_load: saved in a version this library does not read");
    }
    *h = (header){.desc = TQ_CACHE_DESC_INIT};
    h->k_rotation = (tq_rotation)tq_source_u32(source);
    h->v_rotation = (tq_rotation)tq_source_u32(source);
    h->desc.seed = tq_source_u64(source);
    h->desc.n_layers = tq_source_u32(source);
    h->desc.n_kv_heads = tq_source_u32(source);
    h->desc.head_dim_k = tq_source_u32(source);
    h->desc.head_dim_v = tq_source_u32(source);
    h->page_tokens = tq_source_u32(source);
    h->desc.recent_tokens = tq_source_u32(source);
    h->desc.sink_tokens = tq_source_u32(source);
    h->desc.flags = tq_source_u32(source);
    const uint64_t reserved = tq_source_u64(source);
    h->file_bytes = tq_source_u64(source);
    if (!tq_source_checksum(source) || h->desc.n_layers == 0) {
        return tq_fail(context, TQ_ERR_CORRUPT,
                       "tq_cache_load: the header ends early, its checksum is wrong, or there are no layers");
    }
    if (required != 0 || layout != TQ_SAVED_LAYOUT || codebook != TQ_SAVED_CODEBOOK || reserved != 0 ||
        h->page_tokens != P) {
        return tq_fail(context, TQ_ERR_BAD_VERSION,
                       "tq_cache_load: a required flag, layout, codebook or page size this library does not know");
    }
    return TQ_OK;
}

static tq_status check_shape(const tq_cache *cache, const header *h)
{
    const tq_cache_desc *have = &cache->desc;
    const tq_cache_desc *saved = &h->desc;
    if (saved->n_layers != have->n_layers || saved->n_kv_heads != have->n_kv_heads ||
        saved->head_dim_k != have->head_dim_k || saved->head_dim_v != have->head_dim_v) {
        return tq_fail(cache->context, TQ_ERR_UNSUPPORTED, "tq_cache_load: saved from a cache of another shape");
    }
    if (saved->seed != have->seed || h->k_rotation != tq_saved_rotation(have->head_dim_k) ||
        h->v_rotation != tq_saved_rotation(have->head_dim_v)) {
        return tq_fail(cache->context, TQ_ERR_UNSUPPORTED, "tq_cache_load: saved with another rotation");
    }
    if (saved->recent_tokens != have->recent_tokens || saved->sink_tokens != have->sink_tokens ||
        saved->flags != have->flags) {
        return tq_fail(cache->context, TQ_ERR_UNSUPPORTED, "tq_cache_load: saved with other options");
    }
    return TQ_OK;
}

/* --- pages ---------------------------------------------------------------------------------------------------------
 */

/* True if no f16 number is infinite or NaN. */
static bool halves_are_finite(const uint8_t *halves, size_t count)
{
    bool finite = true;
    for (size_t i = 0; i < count; i++) {
        finite = finite && (tq_load_le16(halves + 2 * i) & TQ_F16_INFINITY) != TQ_F16_INFINITY;
    }
    return finite;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    uint8_t any = 0;
    for (size_t i = 0; i < size; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

/* The sign bit of a scale is a flag in pages with a mean. */
static bool row_is_sound(const tq_side *side, uint8_t *row)
{
    const uint16_t scale = tq_load_le16(row);
    if (!side->has_mean) {
        return tq_row_is_sound(side->codec, row);
    }
    tq_store_le16(row, scale & (uint16_t)~TQ_ROW_UNCENTRED);
    const bool sound = tq_row_is_sound(side->codec, row);
    tq_store_le16(row, scale);
    return sound;
}

static bool read_side(tq_source *source, const tq_side *side, size_t n_encoded, uint8_t *encoded)
{
    const tq_code *code = &side->codec->code;
    const size_t per_read = ROW_BUFFER / code->row_bytes;
    tq_source_bytes(source, encoded, side->has_mean ? 2 * code->dim : 0);
    bool sound = !side->has_mean || halves_are_finite(encoded, code->dim);
    for (size_t first = 0; first < P; first += per_read) {
        uint8_t rows[ROW_BUFFER];
        const size_t n = P - first < per_read ? P - first : per_read;
        tq_source_bytes(source, rows, n * code->row_bytes);
        for (size_t i = 0; i < n; i++) {
            uint8_t *row = rows + i * code->row_bytes;
            sound = sound && (first + i < n_encoded ? row_is_sound(side, row) : is_zero(row, code->row_bytes));
        }
        if (sound) {
            side->codec->context->kernels.page_write(code, side->kind, rows, first, n, encoded + side->rows_at);
        }
    }
    return sound;
}

/* f16 rows of one head, of which tokens [begin, end) exist. */
static bool read_exact_rows(tq_source *source, size_t row_bytes, size_t begin, size_t end, size_t room, uint8_t *rows)
{
    tq_source_bytes(source, rows, room * row_bytes);
    return is_zero(rows, begin * row_bytes) &&
           halves_are_finite(rows + begin * row_bytes, (end - begin) * row_bytes / 2) &&
           is_zero(rows + end * row_bytes, (room - end) * row_bytes);
}

static bool read_exact(tq_source *source, const tq_cache *cache, size_t begin, size_t end, size_t room, uint8_t *block)
{
    const size_t key = (size_t)2 * cache->desc.head_dim_k;
    const size_t value = (size_t)2 * cache->desc.head_dim_v;
    bool sound = true;
    for (size_t head = 0; sound && head < cache->desc.n_kv_heads; head++) {
        sound = read_exact_rows(source, key, begin, end, room, block + tq_exact_keys_at(cache, room, head)) &&
                read_exact_rows(source, value, begin, end, room, block + tq_exact_values_at(cache, room, head));
    }
    return sound;
}

/* `block` is in the host's layout. */
static bool read_block(tq_source *source, const tq_cache *cache, const tq_page *page, tq_block kind, size_t live,
                       uint8_t *block)
{
    const size_t n_sinks = cache->desc.sink_tokens;
    bool sound = true;
    switch (kind) {
    case TQ_BLOCK_SINKS:
        return read_exact(source, cache, 0, live < n_sinks ? live : n_sinks, n_sinks, block);
    case TQ_BLOCK_EXACT:
        return read_exact(source, cache, page->exact_from, live, P, block);
    default:
        for (size_t head = 0; sound && head < cache->desc.n_kv_heads; head++) {
            sound = read_side(source, page->form.k, page->n_encoded, block + tq_encoded_keys_at(page->form, head)) &&
                    read_side(source, page->form.v, page->n_encoded, block + tq_encoded_values_at(page->form, head));
        }
        return sound;
    }
}

/* The same to wherever the cache has it. */
static tq_status read_to(tq_source *source, tq_cache *cache, const tq_page *page, tq_block kind, size_t live)
{
    if (cache->device == NULL) {
        return read_block(source, cache, page, kind, live, page->blocks[kind]) ? TQ_OK : TQ_ERR_CORRUPT;
    }
    uint8_t *copy = tq_allocate(&cache->context->allocator, 1, tq_host_block_bytes(cache, page->form, kind));
    tq_status status = TQ_ERR_OUT_OF_MEMORY;
    if (copy != NULL) {
        status = read_block(source, cache, page, kind, live, copy) ? TQ_OK : TQ_ERR_CORRUPT;
    }
    if (status == TQ_OK) {
        status = tq_device_write_block(cache, page->form, kind, copy, page->blocks[kind]);
    }
    tq_release(&cache->context->allocator, copy);
    return status;
}

/* What a page says of itself, in the order of the file. */
typedef struct page_header {
    uint32_t k_format;
    uint32_t v_format;
    uint32_t parts;
    uint32_t n_encoded;
    uint32_t exact_from;
    uint32_t reserved;
} page_header;

static bool has_part(const page_header *h, tq_block kind)
{
    return (h->parts >> kind & 1) != 0;
}

/* True if each of `live` tokens is somewhere, and nothing is claimed that is not there. */
static bool page_is_whole(const tq_cache *cache, const page_header *h, size_t index, size_t live)
{
    const bool exact = has_part(h, TQ_BLOCK_EXACT);
    const bool encoded = has_part(h, TQ_BLOCK_ENCODED);
    const bool sinks = has_part(h, TQ_BLOCK_SINKS);
    if (h->parts >> TQ_BLOCK_KINDS != 0 || h->reserved != 0 || h->n_encoded > live || (h->n_encoded > 0) != encoded ||
        (sinks && (!encoded || index != 0 || cache->desc.sink_tokens == 0))) {
        return false;
    }
    return exact ? h->exact_from <= h->n_encoded && h->exact_from < P : h->exact_from == 0 && h->n_encoded == live;
}

/* Reads a page into `page`, which has a share of what it holds whatever happens. */
static tq_status read_page(tq_source *source, tq_cache *cache, size_t index, size_t live, tq_page *page)
{
    page_header h;
    h.k_format = tq_source_u32(source);
    h.v_format = tq_source_u32(source);
    h.parts = tq_source_u32(source);
    h.n_encoded = tq_source_u32(source);
    h.exact_from = tq_source_u32(source);
    h.reserved = tq_source_u32(source);
    const tq_layer_formats formats = {(tq_format)h.k_format, (tq_format)h.v_format};
    if (source->failed || !page_is_whole(cache, &h, index, live) || tq_format_find(formats.k_format) == NULL ||
        tq_format_find(formats.v_format) == NULL) {
        return TQ_ERR_CORRUPT;
    }
    tq_status status = tq_cache_form(cache, formats, &page->form);
    if (status == TQ_ERR_UNSUPPORTED) { /* No cache of this shape can have it. */
        status = TQ_ERR_CORRUPT;
    }
    page->n_encoded = h.n_encoded;
    page->exact_from = h.exact_from;
    for (size_t i = 0; status == TQ_OK && i < TQ_BLOCK_KINDS; i++) {
        const tq_block kind = TQ_SAVED_ORDER[i];
        if (has_part(&h, kind)) {
            status = tq_block_allocate(cache, page->form, kind, true, &page->blocks[kind]);
            if (status == TQ_OK) {
                status = read_to(source, cache, page, kind, live);
            }
        }
    }
    return status == TQ_OK && source->failed ? TQ_ERR_CORRUPT : status;
}

/* A layer in the table behind the header. */
typedef struct layer_entry {
    tq_layer_formats formats;
    uint64_t n_tokens;
    uint64_t section_bytes;
} layer_entry;

static bool has_form(const tq_page *page, tq_layer_formats formats)
{
    return page->form.k->codec->desc.format == formats.k_format && page->form.v->codec->desc.format == formats.v_format;
}

/* Reads a layer's section; pages that were read belong to the track, also if it fails. */
static tq_status read_section(tq_source *source, tq_cache *cache, const layer_entry *entry, tq_track *track)
{
    tq_status status = TQ_OK;
    const uint64_t start = source->bytes;
    const size_t n_tokens = (size_t)entry->n_tokens;
    for (size_t begin = 0; status == TQ_OK && begin < n_tokens; begin += P) {
        const size_t live = n_tokens - begin < P ? n_tokens - begin : P;
        status = tq_track_reserve(cache, track, begin / P + 1);
        tq_page *page = status == TQ_OK ? tq_page_create(cache) : NULL;
        if (page == NULL) {
            return TQ_ERR_OUT_OF_MEMORY;
        }
        page->form = cache->layers[0]; /* Until it is known: a page always has one. */
        track->pages[begin / P] = page;
        track->n_tokens = begin + live;
        status = read_page(source, cache, begin / P, live, page);
        if (status == TQ_OK && cache->device != NULL && !cache->device->ops->mixes_forms &&
            !has_form(page, entry->formats)) {
            status = TQ_ERR_UNSUPPORTED;
        }
    }
    if (status == TQ_OK && (!tq_source_checksum(source) || source->bytes - start != entry->section_bytes)) {
        status = TQ_ERR_CORRUPT;
    }
    return status;
}

/* --- the table of layers, and the whole ----------------------------------------------------------------------------
 */

static layer_entry read_entry(tq_source *source)
{
    layer_entry entry;
    entry.formats.k_format = (tq_format)tq_source_u32(source);
    entry.formats.v_format = (tq_format)tq_source_u32(source);
    entry.n_tokens = tq_source_u64(source);
    entry.section_bytes = tq_source_u64(source);
    return entry;
}

/* Reads the table; the sections must make up the file. */
static tq_status read_table(tq_source *source, const header *h, layer_entry *entries)
{
    uint64_t left = h->file_bytes;
    const uint64_t fixed =
        TQ_SAVED_HEADER_BYTES + (uint64_t)h->desc.n_layers * TQ_SAVED_LAYER_BYTES + TQ_SAVED_CHECKSUM_BYTES;
    bool fits = left >= fixed;
    left -= fixed;
    for (size_t layer = 0; layer < h->desc.n_layers; layer++) {
        entries[layer] = read_entry(source);
        fits = fits && entries[layer].section_bytes <= left && entries[layer].n_tokens <= PTRDIFF_MAX;
        left -= entries[layer].section_bytes;
    }
    return tq_source_checksum(source) && fits && left == 0 ? TQ_OK : TQ_ERR_CORRUPT;
}

static tq_status read_sequence(tq_source *source, tq_cache *cache, const header *h, tq_seq *seq)
{
    const tq_allocator *allocator = &cache->context->allocator;
    layer_entry *entries = tq_allocate(allocator, cache->desc.n_layers, sizeof *entries);
    tq_status status = entries == NULL ? TQ_ERR_OUT_OF_MEMORY : read_table(source, h, entries);
    for (size_t layer = 0; status == TQ_OK && layer < cache->desc.n_layers; layer++) {
        status = read_section(source, cache, &entries[layer], &seq->tracks[layer]);
    }
    tq_release(allocator, entries);
    return status;
}

static const char *sentence_for(tq_status status)
{
    switch (status) {
    case TQ_ERR_CORRUPT:
        return "tq_cache_load: the data ends early, a checksum is wrong, or it holds what no encoder writes";
    case TQ_ERR_UNSUPPORTED:
        return "tq_cache_load: this device cannot hold pages of several formats in a layer";
    case TQ_ERR_CAPACITY:
        return "tq_cache_load: memory_limit has been reached";
    default:
        return "tq_cache_load: out of memory";
    }
}

tq_status tq_cache_load(tq_cache *cache, const tq_reader *reader, tq_seq **seq)
{
    tq_source source;
    header h;
    if (cache == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (reader == NULL || reader->read == NULL || seq == NULL) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_cache_load: reader or seq is null");
    }
    tq_source_open(&source, reader);
    tq_status status = read_header(cache->context, &source, &h);
    if (status == TQ_OK) {
        status = check_shape(cache, &h);
    }
    if (status != TQ_OK) {
        return status;
    }
    tq_seq *made = tq_seq_make(cache);
    status = made == NULL ? TQ_ERR_OUT_OF_MEMORY : read_sequence(&source, cache, &h, made);
    if (status != TQ_OK) {
        if (made != NULL) {
            tq_seq_free(made);
        }
        return tq_fail(cache->context, status, sentence_for(status));
    }
    tq_seq_enlist(made);
    *seq = made;
    return TQ_OK;
}

/* Reads the formats of all layers, and only then gives them away. */
static tq_status read_formats(const tq_context *context, tq_source *source, size_t n_layers, tq_layer_formats *layers)
{
    tq_layer_formats *formats = tq_allocate(&context->allocator, n_layers, sizeof *formats);
    if (formats == NULL) {
        return tq_fail(context, TQ_ERR_OUT_OF_MEMORY, "tq_cache_read_desc: out of memory");
    }
    for (size_t i = 0; i < n_layers; i++) {
        formats[i] = read_entry(source).formats;
    }
    const bool sound = tq_source_checksum(source);
    if (sound) {
        memcpy(layers, formats, n_layers * sizeof *layers);
    }
    tq_release(&context->allocator, formats);
    return sound ? TQ_OK
                 : tq_fail(context, TQ_ERR_CORRUPT,
                           "tq_cache_read_desc: the table of layers ends early or its checksum is wrong");
}

tq_status tq_cache_read_desc(const tq_context *context, const tq_reader *reader, tq_cache_desc *desc,
                             tq_layer_formats *layers, size_t room)
{
    tq_source source;
    header h;
    tq_cache_desc unused = TQ_CACHE_DESC_INIT;
    if (context == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (reader == NULL || reader->read == NULL || desc == NULL ||
        !tq_desc_read(desc, &unused, sizeof unused, sizeof(tq_cache_desc))) {
        return tq_fail(context, TQ_ERR_INVALID_ARGUMENT,
                       "tq_cache_read_desc: reader or desc is null, or desc's struct_size is wrong");
    }
    tq_source_open(&source, reader);
    tq_status status = read_header(context, &source, &h);
    if (status != TQ_OK) {
        return status;
    }
    if (h.desc.recent_tokens == 0) {
        h.desc.recent_tokens = TQ_NO_RECENT_TOKENS;
    }
    if (layers != NULL && h.desc.n_layers > room) {
        status = tq_fail(context, TQ_ERR_BUFFER_TOO_SMALL, "tq_cache_read_desc: there are more layers than room");
    } else if (layers != NULL) {
        status = read_formats(context, &source, h.desc.n_layers, layers);
        h.desc.layers = layers;
    }
    if (status == TQ_OK || status == TQ_ERR_BUFFER_TOO_SMALL) {
        tq_desc_write(&h.desc, desc, sizeof h.desc, sizeof(tq_cache_desc));
    }
    return status;
}
