/* SPDX-License-Identifier: MIT
 *
 * What the tests of saved sequences share; see saved_support.h. */
#include "saved_support.h"

#define XXH_INLINE_ALL
#include <math.h>
#include <stdio.h>
#include <xxhash.h>

/* Bytes */

static size_t write_bytes(void *user, const void *data, size_t size)
{
    struct bytes *bytes = user;
    if (++bytes->calls == bytes->fail_at) {
        return size - 1;
    }
    if (bytes->size + size > bytes->room) {
        bytes->room = 2 * (bytes->size + size);
        bytes->data = realloc(bytes->data, bytes->room);
        assert_non_null(bytes->data);
    }
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
    return size;
}

static size_t read_bytes(void *user, void *data, size_t size)
{
    struct bytes *bytes = user;
    const size_t left = bytes->size - bytes->at;
    const size_t n = ++bytes->calls == bytes->fail_at ? 0 : size < left ? size : left;
    if (n > 0) {
        memcpy(data, bytes->data + bytes->at, n);
    }
    bytes->at += n;
    return n;
}

tq_writer bytes_writer(struct bytes *bytes)
{
    return (tq_writer){write_bytes, bytes};
}

tq_reader bytes_reader(struct bytes *bytes)
{
    return (tq_reader){read_bytes, bytes};
}

struct bytes bytes_copy(const struct bytes *bytes)
{
    struct bytes copy = {0};
    write_bytes(&copy, bytes->data, bytes->size);
    copy.calls = 0;
    return copy;
}

void bytes_free(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

void assert_bytes_equal(const struct bytes *a, const struct bytes *b, const char *what)
{
    for (size_t i = 0; i < a->size && i < b->size; i++) {
        if (a->data[i] != b->data[i]) {
            fail_msg("%s: byte %zu of %zu differs: %02x, %02x", what, i, a->size, a->data[i], b->data[i]);
        }
    }
    if (a->size != b->size) {
        fail_msg("%s: %zu bytes, %zu bytes", what, a->size, b->size);
    }
}

struct bytes bytes_of_file(const char *path)
{
    struct bytes bytes = {0};
    unsigned char part[4096];
    FILE *file = fopen(path, "rb");
    if (!file) {
        fail_msg("%s cannot be opened", path);
    }
    for (size_t n; (n = fread(part, 1, sizeof part, file)) > 0;) {
        write_bytes(&bytes, part, n);
    }
    assert_int_equal(fclose(file), 0);
    return bytes;
}

void bytes_to_file(const struct bytes *bytes, const char *path)
{
    FILE *file = fopen(path, "wb");
    if (!file) {
        fail_msg("%s cannot be written", path);
    }
    assert_int_equal(fwrite(bytes->data, 1, bytes->size, file), bytes->size);
    assert_int_equal(fclose(file), 0);
}

struct bytes save_bytes(const tq_cache *cache, const tq_seq *seq)
{
    struct bytes bytes = {0};
    const tq_writer writer = bytes_writer(&bytes);
    assert_status(tq_cache_save(cache, seq, &writer), TQ_OK);
    return bytes;
}

tq_seq *load_bytes(tq_cache *cache, const struct bytes *bytes)
{
    struct bytes source = *bytes;
    source.at = 0;
    const tq_reader reader = bytes_reader(&source);
    tq_seq *seq = NULL;
    assert_status(tq_cache_load(cache, &reader, &seq), TQ_OK);
    assert_non_null(seq);
    assert_int_equal(source.at, bytes->size);
    return seq;
}

uint64_t number_at(const struct bytes *bytes, size_t at, size_t size)
{
    uint64_t value = 0;
    assert_true(at + size <= bytes->size);
    for (size_t i = size; i-- > 0;) {
        value = value << 8 | bytes->data[at + i];
    }
    return value;
}

void number_set(struct bytes *bytes, size_t at, size_t size, uint64_t value)
{
    assert_true(at + size <= bytes->size);
    for (size_t i = 0; i < size; i++) {
        bytes->data[at + i] = (unsigned char)(value >> 8 * i);
    }
}

/* The reader */

static size_t table_end(uint32_t n_layers)
{
    return SAVED_HEADER + (size_t)n_layers * SAVED_LAYER;
}

static uint64_t checksum_of(const struct bytes *bytes, size_t begin, size_t end)
{
    return XXH3_64bits(bytes->data + begin, end - begin);
}

static int has_mean(const struct saved *saved, int values, tq_format format)
{
    return format != TQ_FORMAT_F16 && !(saved->flags >> values & 1U);
}

/* Bytes of one head's keys or values in an encoded part. */
static size_t side_bytes(const struct saved *saved, int values, tq_format format)
{
    const size_t dim = saved->dims[values];
    return (has_mean(saved, values, format) ? 2 * dim : 0) + TQ_PAGE_TOKENS * row_bytes(format, dim);
}

/* Reads the header and the table. */
static void open_table(struct saved *saved, const struct bytes *bytes)
{
    static const unsigned char magic[8] = {0x89, 'T', 'Q', 'C', '\r', '\n', 0x1A, '\n'};
    assert_memory_equal(bytes->data, magic, 8);
    assert_int_equal(number_at(bytes, 8, 4), 1);
    assert_int_equal(number_at(bytes, 12, 4), 0);
    assert_int_equal(number_at(bytes, 16, 4), 1);
    assert_int_equal(number_at(bytes, 20, 4), 1);
    saved->seed = number_at(bytes, 32, 8);
    saved->n_layers = (uint32_t)number_at(bytes, 40, 4);
    saved->n_kv_heads = (uint32_t)number_at(bytes, 44, 4);
    saved->dims[0] = (uint32_t)number_at(bytes, 48, 4);
    saved->dims[1] = (uint32_t)number_at(bytes, 52, 4);
    assert_int_equal(number_at(bytes, 56, 4), TQ_PAGE_TOKENS);
    saved->window_pages = ((size_t)number_at(bytes, 60, 4) + TQ_PAGE_TOKENS - 1) / TQ_PAGE_TOKENS;
    saved->sink_tokens = (size_t)number_at(bytes, 64, 4);
    saved->flags = (uint32_t)number_at(bytes, 68, 4);
    assert_int_equal(number_at(bytes, 72, 8), 0);
    assert_int_equal(number_at(bytes, 80, 8), bytes->size);
    assert_int_equal(number_at(bytes, 88, 8), checksum_of(bytes, 0, 88));
    saved->layers = calloc(saved->n_layers, sizeof *saved->layers);
    assert_non_null(saved->layers);
    size_t at = table_end(saved->n_layers) + SAVED_CHECKSUM;
    for (uint32_t i = 0; i < saved->n_layers; i++) {
        struct saved_layer *layer = &saved->layers[i];
        const size_t entry = SAVED_HEADER + (size_t)i * SAVED_LAYER;
        layer->formats[0] = (tq_format)number_at(bytes, entry, 4);
        layer->formats[1] = (tq_format)number_at(bytes, entry + 4, 4);
        layer->n_tokens = (size_t)number_at(bytes, entry + 8, 8);
        layer->section_at = at;
        layer->section_bytes = (size_t)number_at(bytes, entry + 16, 8);
        layer->n_pages = (layer->n_tokens + TQ_PAGE_TOKENS - 1) / TQ_PAGE_TOKENS;
        at += layer->section_bytes;
    }
    assert_int_equal(at, bytes->size);
    at = table_end(saved->n_layers);
    assert_int_equal(number_at(bytes, at, 8), checksum_of(bytes, SAVED_HEADER, at));
}

/* Reads the 24 bytes of a page; returns where the next one begins. */
static size_t open_page(const struct saved *saved, const struct bytes *bytes, size_t at, struct saved_page *page)
{
    page->at = at;
    page->formats[0] = (tq_format)number_at(bytes, at, 4);
    page->formats[1] = (tq_format)number_at(bytes, at + 4, 4);
    page->parts = (uint32_t)number_at(bytes, at + 8, 4);
    page->n_encoded = (size_t)number_at(bytes, at + 12, 4);
    page->exact_from = (size_t)number_at(bytes, at + 16, 4);
    assert_int_equal(number_at(bytes, at + 20, 4), 0);
    assert_true(page->parts > 0 && page->parts < 8);
    at += SAVED_PAGE;
    const size_t exact_token = (size_t)2 * saved->n_kv_heads * (saved->dims[0] + saved->dims[1]);
    for (uint32_t part = SAVED_SINKS; part > 0; part /= 2) {
        if (page->parts & part) {
            page->part_at[part] = at;
            at += part == SAVED_SINKS   ? saved->sink_tokens * exact_token
                  : part == SAVED_EXACT ? TQ_PAGE_TOKENS * exact_token
                                        : saved->n_kv_heads * (side_bytes(saved, 0, page->formats[0]) +
                                                               side_bytes(saved, 1, page->formats[1]));
        }
    }
    return at;
}

static void open_codec_once(const tq_context *context, struct saved *saved, int values, tq_format format)
{
    assert_in_range(format, 1, 63);
    if (!saved->codecs[values][format]) {
        tq_codec_desc desc = codec_desc(saved->dims[values], format);
        desc.seed = saved->seed;
        saved->codecs[values][format] = open_codec_desc(context, &desc);
    }
}

struct saved *saved_open(const tq_context *context, const struct bytes *bytes)
{
    struct saved *saved = calloc(1, sizeof *saved);
    assert_non_null(saved);
    saved->data = bytes->data;
    open_table(saved, bytes);
    for (uint32_t i = 0; i < saved->n_layers; i++) {
        struct saved_layer *layer = &saved->layers[i];
        layer->pages = calloc(layer->n_pages + 1, sizeof *layer->pages);
        assert_non_null(layer->pages);
        size_t at = layer->section_at;
        for (size_t p = 0; p < layer->n_pages; p++) {
            at = open_page(saved, bytes, at, &layer->pages[p]);
            open_codec_once(context, saved, 0, layer->pages[p].formats[0]);
            open_codec_once(context, saved, 1, layer->pages[p].formats[1]);
        }
        assert_int_equal(number_at(bytes, at, 8), checksum_of(bytes, layer->section_at, at));
        assert_int_equal(at + SAVED_CHECKSUM, layer->section_at + layer->section_bytes);
    }
    return saved;
}

void saved_close(struct saved *saved)
{
    for (uint32_t i = 0; i < saved->n_layers; i++) {
        free(saved->layers[i].pages);
    }
    free(saved->layers);
    for (size_t f = 0; f < 64; f++) {
        tq_codec_destroy(saved->codecs[0][f]);
        tq_codec_destroy(saved->codecs[1][f]);
    }
    free(saved);
}

static void read_halves(const unsigned char *halves, size_t n, float *x)
{
    for (size_t j = 0; j < n; j++) {
        x[j] = (float)f16_to_double((uint16_t)(halves[2 * j] | halves[2 * j + 1] << 8));
    }
}

/* A row, and the page's mean if it was taken off. */
static void read_encoded(const struct saved *saved, const struct saved_page *page, size_t token, uint32_t head,
                         int values, float *x)
{
    const size_t dim = saved->dims[values];
    const tq_format format = page->formats[values];
    const tq_codec *codec = saved->codecs[values][format];
    const size_t bytes = row_bytes(format, dim);
    const int mean = has_mean(saved, values, format);
    const unsigned char *side =
        saved->data + page->part_at[SAVED_ENCODED] +
        head * (side_bytes(saved, 0, page->formats[0]) + side_bytes(saved, 1, page->formats[1])) +
        (values ? side_bytes(saved, 0, page->formats[0]) : 0);
    unsigned char row[2 * TQ_MAX_DIM + 2];
    memcpy(row, side + (mean ? 2 * dim : 0) + token * bytes, bytes);
    const int uncentred = mean && row[1] & 0x80;
    if (mean) {
        row[1] &= 0x7F;
    }
    assert_status(tq_decode(codec, row, bytes, 1, x, TQ_DTYPE_F32, 0), TQ_OK);
    if (mean && !uncentred) {
        float m[TQ_MAX_DIM];
        float back[TQ_MAX_DIM];
        read_halves(side, dim, m);
        assert_status(tq_unrotate(codec, m, 0, 1, back, 0), TQ_OK);
        for (size_t j = 0; j < dim; j++) {
            x[j] += (float)((double)back[j] / sqrt((double)dim));
        }
    }
}

int saved_vector(const struct saved *saved, uint32_t layer, size_t token, uint32_t head, int values, uint32_t part,
                 float *x)
{
    assert_true(token < saved->layers[layer].n_tokens);
    const struct saved_page *page = &saved->layers[layer].pages[token / TQ_PAGE_TOKENS];
    const size_t in_page = token % TQ_PAGE_TOKENS;
    const size_t room = part == SAVED_SINKS ? saved->sink_tokens : TQ_PAGE_TOKENS;
    if (!(page->parts & part) || (part == SAVED_ENCODED && in_page >= page->n_encoded) ||
        (part == SAVED_EXACT && in_page < page->exact_from) || in_page >= room) {
        return 0;
    }
    if (part == SAVED_ENCODED) {
        read_encoded(saved, page, in_page, head, values, x);
    } else {
        const size_t keys = (size_t)2 * room * saved->dims[0];
        const unsigned char *rows =
            saved->data + page->part_at[part] + head * (keys + (size_t)2 * room * saved->dims[1]) + (values ? keys : 0);
        read_halves(rows + in_page * 2 * saved->dims[values], saved->dims[values], x);
    }
    return 1;
}

void saved_seen(const struct saved *saved, uint32_t layer, size_t token, uint32_t head, int values, size_t position,
                float *x)
{
    const int far = token / TQ_PAGE_TOKENS + 1 + saved->window_pages <= position / TQ_PAGE_TOKENS;
    const uint32_t first = far ? SAVED_ENCODED : SAVED_EXACT;
    assert_true(saved_vector(saved, layer, token, head, values, SAVED_SINKS, x) ||
                saved_vector(saved, layer, token, head, values, first, x) ||
                saved_vector(saved, layer, token, head, values, first ^ (SAVED_ENCODED | SAVED_EXACT), x));
}

void saved_seal(struct bytes *bytes, const struct saved *layout)
{
    const size_t table = table_end(layout->n_layers);
    number_set(bytes, 88, 8, checksum_of(bytes, 0, 88));
    number_set(bytes, table, 8, checksum_of(bytes, SAVED_HEADER, table));
    for (uint32_t i = 0; i < layout->n_layers; i++) {
        const struct saved_layer *layer = &layout->layers[i];
        const size_t end = layer->section_at + layer->section_bytes - SAVED_CHECKSUM;
        if (end + SAVED_CHECKSUM <= bytes->size) {
            number_set(bytes, end, 8, checksum_of(bytes, layer->section_at, end));
        }
    }
}
