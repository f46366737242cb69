/* SPDX-License-Identifier: MIT
 *
 * Between the objects and a backend that has memory of its own. On such a device the blocks of pages are addresses
 * there, tokens and queries come from there, and work is queued on a stream: the calls return before it is done.
 *
 * All but the calls that return a status leave a failure in the device, where tq_device_status finds it: after that,
 * nothing on the device can be trusted, and every call on a cache returns TQ_ERR_BACKEND. */
#ifndef TQ_DEVICE_H
#define TQ_DEVICE_H

#include "cache.h"

#include <stdatomic.h>

enum {
    TQ_DEVICE_ENTRY = 24,   /* Bytes of an entry in a device's table of pages, at most. */
    TQ_DEVICE_TOGETHER = 64 /* Sequences of a step, at most. */
};

/* Some sequences of a cache that take the same step. */
typedef struct tq_device_step {
    tq_cache *cache;
    tq_form form; /* Of the layer. */
    tq_track *const *tracks;
    size_t n_tracks;
    void *stream;
} tq_device_step;

typedef struct tq_device_ops {
    void (*close)(tq_device *device);

    /* What a cache needs beside its blocks, in cache->on_device; TQ_ERR_UNSUPPORTED if it cannot be there. */
    tq_status (*cache_open)(tq_device *device, tq_cache *cache);
    void (*cache_close)(tq_device *device, tq_cache *cache);

    /* Pages of one track may be of different forms. */
    bool mixes_forms;

    /* What a form needs; what it makes is in on_device of its sides. */
    tq_status (*form_open)(tq_device *device, tq_side *k, tq_side *v);
    void (*side_close)(tq_device *device, tq_side *side);

    /* True if the device can read and write there. Null: it shares the host's memory, so all that callers pass are the
     * host's addresses, and so are those of blocks. */
    bool (*owns)(tq_device *device, const void *memory);

    /* Bytes of one head's keys or values in an encoded block; f16: 64 rows. */
    size_t (*side_bytes)(tq_format format, size_t dim, bool has_mean);

    /* Memory of slab->bytes, and none of it. */
    tq_status (*slab_open)(tq_device *device, tq_slab *slab);
    void (*slab_close)(tq_device *device, tq_slab *slab);

    /* Within the device, and between it and the host, which waits. */
    void (*copy)(tq_device *device, tq_cache *cache, uint8_t *to, const uint8_t *from, size_t bytes);
    void (*download)(tq_device *device, const tq_cache *cache, void *to, const uint8_t *from, size_t bytes);
    void (*upload)(tq_device *device, const tq_cache *cache, uint8_t *to, const void *from, size_t bytes);

    /* The 64 rows of one head's keys or values in a record, and where their mean is there. */
    void (*rows_from_record)(tq_form form, bool values, const uint8_t *record, uint8_t *rows);
    void (*rows_to_record)(tq_form form, bool values, const uint8_t *rows, uint8_t *record);
    size_t (*mean_at)(tq_form form, bool values);

    /* Encodes tokens [exact_from, 64) of a page for each track (null: none), as tq_page_encode does, in the page's
     * form; a page with room for sinks keeps them. */
    void (*encode)(tq_device *device, const tq_device_step *step, tq_page *const *pages);

    /* Encodes whole pages of the step's only track, up to TQ_DEVICE_TOGETHER, straight from kv: their tokens are first,
     * first + 1, ... there. Not for f16. Null: all tokens are stored first. */
    void (*encode_tokens)(tq_device *device, const tq_device_step *step, tq_page *const *pages, size_t n_pages,
                          const tq_kv *kv, size_t first);

    /* Stores n_tokens new tokens behind those that each track has, all within a page; those of track i begin at token
     * first + i * n_tokens of kv. */
    void (*store)(tq_device *device, const tq_device_step *step, const tq_kv *kv, size_t first, size_t n_tokens);

    /* Attends the newest n_tokens of each track; those of track i begin at token first + i * n_tokens of args.
     * Arguments have been checked and strides resolved. */
    tq_status (*attend)(tq_device *device, const tq_device_step *step, const tq_attention *args, size_t first,
                        size_t n_tokens);

    /* Tokens first .. first + kv->n_tokens - 1 of the step's only track, as its newest token sees them. Null: blocks
     * are read, and the host decodes them. */
    void (*decode)(tq_device *device, const tq_device_step *step, size_t first, const tq_kv_out *kv);
} tq_device_ops;

struct tq_device {
    const tq_device_ops *ops;
    const tq_context *context;
    atomic_int failed;
};

/* The kinds of devices of this build, which are listed behind the CPU backends. */
size_t tq_device_kinds(void);
const char *tq_device_kind_name(size_t index);
bool tq_device_kind_usable(size_t index);

/* Opens the context's device if its backend has one: TQ_OK, TQ_ERR_UNSUPPORTED, TQ_ERR_OUT_OF_MEMORY or
 * TQ_ERR_BACKEND. */
tq_status tq_device_open(tq_context *context, const char *backend, uint32_t ordinal);

/* Stores new tokens of some sequences, kv->n_tokens for all of them together, and attends their queries; `args` may be
 * null. The stores have been begun; each has its part of kv's tokens. */
tq_status tq_device_store(tq_store *stores, size_t n_seqs, const tq_kv *kv, const tq_attention *args);

/* Attends the newest n_tokens of each track. */
tq_status tq_device_attend(tq_cache *cache, tq_form form, tq_track *const *tracks, size_t n_tracks,
                           const tq_attention *args, size_t first, size_t n_tokens);

/* Decodes tokens of a track. */
tq_status tq_device_decode(tq_cache *cache, tq_form form, tq_track *track, size_t first, const tq_kv_out *kv);

/* TQ_OK, or TQ_ERR_BACKEND and a sentence if something failed on the device. */
tq_status tq_device_status(const tq_device *device);

/* Room for n_pages in what the device knows of a track. */
tq_status tq_device_track_reserve(tq_cache *cache, tq_track *track, size_t n_pages);
void tq_device_track_free(tq_cache *cache, tq_track *track);

/* From here on the newest n_queries tokens of a track see its tokens exact. */
size_t tq_device_first_exact(const tq_cache *cache, const tq_track *track, size_t n_queries);

/* Encodes an f16 page, by copying its exact tokens, and keeps its sinks. */
void tq_device_copy_page(const tq_device_step *step, const tq_page *page);

static inline bool tq_side_is_half(const tq_side *side)
{
    return side->codec->family == TQ_FAMILY_HALF;
}

/* No codes: encoded pages hold f16 rows, and are read as exact ones. */
static inline bool tq_form_is_half(tq_form form)
{
    return tq_side_is_half(form.k) && tq_side_is_half(form.v);
}

/* True if what callers pass, and blocks, are where the host can read them. */
static inline bool tq_cache_is_on_host(const tq_cache *cache)
{
    return cache->device == NULL || cache->device->ops->owns == NULL;
}

/* --- transfer.c ----------------------------------------------------------------------------------------------------
 */

/* Copies a block to the host, in the host's layout, and back: TQ_OK, TQ_ERR_OUT_OF_MEMORY or TQ_ERR_BACKEND. */
tq_status tq_device_read_block(const tq_cache *cache, tq_form form, tq_block kind, const uint8_t *block, uint8_t *host);
tq_status tq_device_write_block(const tq_cache *cache, tq_form form, tq_block kind, const uint8_t *host,
                                uint8_t *block);

/* A copy of a page on a device, its blocks in the host's memory and layout: as tq_device_read_block. Freed in any case.
 */
tq_status tq_page_to_host(const tq_cache *cache, const tq_page *page, tq_page *copy);
void tq_page_free_copy(const tq_cache *cache, tq_page *copy);

#endif /* TQ_DEVICE_H */
