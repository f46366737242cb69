/* SPDX-License-Identifier: MIT
 *
 * What the tests of saved sequences share: bytes in memory as a writer and as a reader, and a reader of docs/format.md,
 * section 8, that owes nothing to the library but the decoding of single rows. */
#ifndef TQ_TESTS_SAVED_SUPPORT_H
#define TQ_TESTS_SAVED_SUPPORT_H

#include "support.h"

/* A file in memory. Zeroed, it is empty. */
struct bytes {
    unsigned char *data;
    size_t size;
    size_t room;
    size_t at;      /* Where the reader is. */
    size_t calls;   /* Of the writer or the reader, so far. */
    size_t fail_at; /* This call does not do all it should; 0: none. */
};

tq_writer bytes_writer(struct bytes *bytes);
tq_reader bytes_reader(struct bytes *bytes);
struct bytes bytes_copy(const struct bytes *bytes);
void bytes_free(struct bytes *bytes);
/* Fails if they differ; `what` begins the message. */
void assert_bytes_equal(const struct bytes *a, const struct bytes *b, const char *what);

/* A whole file. */
struct bytes bytes_of_file(const char *path);
void bytes_to_file(const struct bytes *bytes, const char *path);

/* tq_cache_save that must succeed. */
struct bytes save_bytes(const tq_cache *cache, const tq_seq *seq);
/* tq_cache_load that must succeed and read everything. */
tq_seq *load_bytes(tq_cache *cache, const struct bytes *bytes);

uint64_t number_at(const struct bytes *bytes, size_t at, size_t size);
void number_set(struct bytes *bytes, size_t at, size_t size, uint64_t value);

enum { SAVED_HEADER = 96, SAVED_LAYER = 24, SAVED_PAGE = 24, SAVED_CHECKSUM = 8 };

/* Parts of a page. */
enum { SAVED_EXACT = 1, SAVED_ENCODED = 2, SAVED_SINKS = 4 };

struct saved_page {
    size_t at; /* Of its 24 bytes. */
    tq_format formats[2];
    uint32_t parts;
    size_t n_encoded;
    size_t exact_from;
    size_t part_at[5]; /* By SAVED_*; 0: not there. */
};

struct saved_layer {
    tq_format formats[2];
    size_t n_tokens;
    size_t section_at;
    size_t section_bytes;
    size_t n_pages;
    struct saved_page *pages;
};

struct saved {
    const unsigned char *data;
    uint64_t seed;
    uint32_t n_layers;
    uint32_t n_kv_heads;
    uint32_t dims[2]; /* Of keys and of values. */
    size_t window_pages;
    size_t sink_tokens;
    uint32_t flags;
    struct saved_layer *layers;
    tq_codec *codecs[2][64]; /* By format. */
};

/* Reads a file that must be flawless. `bytes` must outlive the result. */
struct saved *saved_open(const tq_context *context, const struct bytes *bytes);
void saved_close(struct saved *saved);

/* Decodes a key (or value) of a token from one part; 0 if it is not there. */
int saved_vector(const struct saved *saved, uint32_t layer, size_t token, uint32_t head, int values, uint32_t part,
                 float *x);
/* Decodes the key (or value) that a query at `position` sees. */
void saved_seen(const struct saved *saved, uint32_t layer, size_t token, uint32_t head, int values, size_t position,
                float *x);

/* Makes all checksums right, wherever they are in `layout`. */
void saved_seal(struct bytes *bytes, const struct saved *layout);

#endif
