/* SPDX-License-Identifier: MIT
 *
 * Inside a cache.
 *
 *     cache  ->  sequences  ->  one track per layer  ->  pages of 64 tokens, all KV heads together
 *
 * A page is born exact: its tokens in f16. When it leaves the window of recent tokens it is encoded; its exact tokens
 * stay until the next page leaves, so that taking back tokens across a page boundary finds everything as it was. Forks
 * share pages; a page with more than one owner is never written, but copied first. */
#ifndef TQ_CACHE_H
#define TQ_CACHE_H

#include "codec.h"
#include "pool.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Keys or values in one format: how they are encoded, and the room of one KV head in an encoded page. Made once per
 * cache and format, on demand. */
typedef struct tq_side {
    tq_codec *codec; /* Null: not made yet. */
    tq_page_kind kind;
    bool has_mean;
    size_t rows_at; /* An encoded head: f16 mean of its rotated vectors, if it has one, then 64 rows at a multiple
                       of 64. */
    size_t encoded_bytes;
    size_t device_bytes; /* The same on a device, which has a layout of its own. */
    void *on_device;     /* What a device's kernels need of it; null otherwise. */
} tq_side;

/* The formats of keys and values, of a layer or of an encoded page. */
typedef struct tq_form {
    const tq_side *k;
    const tq_side *v;
} tq_form;

static inline bool tq_same_form(tq_form a, tq_form b)
{
    return a.k == b.k && a.v == b.v;
}

/* What a page may hold. Exact tokens and sinks: [head][keys: [tokens][dim_k], values: [tokens][dim_v]] as f16 rows. */
typedef enum tq_block { TQ_BLOCK_EXACT, TQ_BLOCK_ENCODED, TQ_BLOCK_SINKS, TQ_BLOCK_KINDS } tq_block;

typedef struct tq_page {
    struct tq_page *next; /* While it waits in a list, */
    size_t index;         /* and for which place. */
    atomic_size_t owners;
    tq_form form;      /* Of the encoded block. */
    size_t n_encoded;  /* Tokens [0, n_encoded) are in the encoded block. */
    size_t exact_from; /* Tokens from here on are in the exact block, if there is one. */
    uint8_t *blocks[TQ_BLOCK_KINDS];
} tq_page;

/* One layer of one sequence. */
typedef struct tq_track {
    size_t n_tokens;
    size_t room; /* Of `pages`, in pages. */
    tq_page **pages;
    uint8_t *on_device;    /* The device's table of pages; null on a host. */
    size_t device_room;    /* Of it, in pages, */
    size_t device_current; /* and how many of its entries are right. */
    bool device_mixed;     /* Some of those are of pages in another form than the layer's. */
} tq_track;

struct tq_seq {
    tq_cache *cache;
    tq_seq *next; /* In the cache's list. */
    tq_seq *previous;
    tq_track *tracks; /* [n_layers] */
};

/* Memory that an attention with many ranges of tokens borrows. */
typedef struct tq_scratch {
    _Alignas(64) struct tq_scratch *next;
    size_t bytes; /* Behind this header, aligned like it. */
} tq_scratch;

struct tq_cache {
    const tq_context *context;
    tq_cache_desc desc;  /* With defaults resolved; `layers` is null. */
    tq_form *layers;     /* What each layer's pages are encoded to. */
    size_t window_pages; /* ceil(recent_tokens / 64) */
    atomic_flag busy;    /* Guards the lists below, and the making of sides. */
    tq_side k_sides[TQ_FORMATS];
    tq_side v_sides[TQ_FORMATS];
    tq_seq *sequences;
    tq_device *device; /* The context's; null if pages are in the host's memory. */
    tq_pool pool;      /* The device's memory, */
    void *on_device;   /* and its own data. */
    void *stream;      /* Of the call that is running. */
    tq_scratch *scratch;
    atomic_size_t n_sequences;
    atomic_size_t used[TQ_BLOCK_KINDS]; /* Bytes of all blocks. */
};

/* How many pages the query at `position` sees encoded: the first ones. All but the last of them have dropped their
 * exact tokens. */
static inline size_t tq_encoded_pages(const tq_cache *cache, size_t position)
{
    const size_t page = position / TQ_PAGE_TOKENS;
    return page > cache->window_pages ? page - cache->window_pages : 0;
}

static inline size_t tq_pages_of(size_t n_tokens)
{
    return n_tokens / TQ_PAGE_TOKENS + (n_tokens % TQ_PAGE_TOKENS != 0);
}

/* Entry `index` of the device's table is no longer right. */
static inline void tq_track_touch(tq_track *track, size_t index)
{
    if (track->device_current > index) {
        track->device_current = index;
    }
}

/* --- Where things lie in blocks ------------------------------------------------------------------------------------
 */

/* Bytes of a block in the host's layout; `form` matters for encoded ones only. */
static inline size_t tq_host_block_bytes(const tq_cache *cache, tq_form form, tq_block kind)
{
    const tq_cache_desc *desc = &cache->desc;
    const size_t token = (size_t)2 * (desc->head_dim_k + desc->head_dim_v);
    const size_t head = kind == TQ_BLOCK_ENCODED ? form.k->encoded_bytes + form.v->encoded_bytes
                        : kind == TQ_BLOCK_EXACT ? TQ_PAGE_TOKENS * token
                                                 : desc->sink_tokens * token;
    return desc->n_kv_heads * head;
}

/* Bytes of a block where the cache has it. */
static inline size_t tq_block_bytes(const tq_cache *cache, tq_form form, tq_block kind)
{
    return cache->device != NULL && kind == TQ_BLOCK_ENCODED
               ? cache->desc.n_kv_heads * (form.k->device_bytes + form.v->device_bytes)
               : tq_host_block_bytes(cache, form, kind);
}

/* Exact keys of one head in a block of `tokens` tokens; its values follow. */
static inline size_t tq_exact_keys_at(const tq_cache *cache, size_t tokens, size_t head)
{
    return 2 * head * tokens * (cache->desc.head_dim_k + cache->desc.head_dim_v);
}

static inline size_t tq_exact_values_at(const tq_cache *cache, size_t tokens, size_t head)
{
    return tq_exact_keys_at(cache, tokens, head) + 2 * tokens * cache->desc.head_dim_k;
}

/* Encoded keys of one head; its values follow. */
static inline size_t tq_encoded_keys_at(tq_form form, size_t head)
{
    return head * (form.k->encoded_bytes + form.v->encoded_bytes);
}

static inline size_t tq_encoded_values_at(tq_form form, size_t head)
{
    return tq_encoded_keys_at(form, head) + form.k->encoded_bytes;
}

/* --- cache.c -------------------------------------------------------------------------------------------------------
 */

/* Guards for the few instructions that touch the cache's lists. */
void tq_cache_lock(tq_cache *cache);
void tq_cache_unlock(tq_cache *cache);

/* Finds what it takes to store keys and values in these formats, and makes it if it is not there: TQ_OK,
 * TQ_ERR_UNSUPPORTED, TQ_ERR_INVALID_ARGUMENT or TQ_ERR_OUT_OF_MEMORY, as tq_cache_create. */
tq_status tq_cache_form(tq_cache *cache, tq_layer_formats formats, tq_form *form);

/* --- sequence.c ----------------------------------------------------------------------------------------------------
 */

/* A sequence that the cache's list does not know yet, or null; tq_seq_enlist makes it known. */
tq_seq *tq_seq_make(tq_cache *cache);
void tq_seq_enlist(tq_seq *seq);
void tq_seq_free(tq_seq *seq);

/* --- pages.c -------------------------------------------------------------------------------------------------------
 */

/* A block, zeroed; counted in cache->used, and against the limit if `limited`. TQ_OK, TQ_ERR_CAPACITY,
 * TQ_ERR_OUT_OF_MEMORY, or TQ_ERR_BACKEND of a device. */
tq_status tq_block_allocate(tq_cache *cache, tq_form form, tq_block kind, bool limited, uint8_t **block);
void tq_block_free(tq_cache *cache, tq_form form, tq_block kind, uint8_t *block);

/* A page without blocks and with one owner; null if there is no memory. */
tq_page *tq_page_create(tq_cache *cache);

/* Gives up one owner's share of a page; the last one frees it. */
void tq_page_release(tq_cache *cache, tq_page *page);

/* A copy with one owner, its bytes held against the limit: as tq_block_allocate. */
tq_status tq_page_copy(tq_cache *cache, const tq_page *page, tq_page **copy);

/* Makes those of pages [first, end) of a track its own of which is_wanted(arg, index) is true, by copying what has
 * other owners: all of them, or none and what tq_block_allocate says. */
tq_status tq_track_own(tq_cache *cache, tq_track *track, size_t first, size_t end,
                       bool (*is_wanted)(const void *arg, size_t index), const void *arg);

/* Room for n_pages in a track: TQ_OK or TQ_ERR_OUT_OF_MEMORY. */
tq_status tq_track_reserve(const tq_cache *cache, tq_track *track, size_t n_pages);

/* --- store.c -------------------------------------------------------------------------------------------------------
 */

/* Stores exact tokens from `first` on and, before each page boundary, encodes the page that leaves the window. Each
 * call of `tq_store_segment` stores the tokens of one page at most and says how many; the rest of the work was done
 * when all memory was reserved. */
typedef struct tq_store {
    tq_cache *cache;
    tq_form form; /* Of the layer. */
    tq_track *track;
    const tq_kv *kv; /* Strides resolved. */
    size_t done;     /* Tokens stored so far. */
    tq_page *spare_pages;
    uint8_t **spare_blocks[TQ_BLOCK_KINDS];
    size_t n_spare_blocks[TQ_BLOCK_KINDS];
    uint8_t **spares; /* Room for the lists. */
} tq_store;

/* Reserves all memory that storing kv->n_tokens needs. TQ_OK, TQ_ERR_CAPACITY or TQ_ERR_OUT_OF_MEMORY; on an error
 * nothing has changed. */
tq_status tq_store_begin(tq_store *store, tq_cache *cache, tq_form form, tq_track *track, const tq_kv *kv);

size_t tq_store_segment(tq_store *store);

/* A segment in parts, for devices. Pages [*first, *end) leave the window; of each, the page if there is something to
 * encode, with blocks for it, else null; then the next segment's tokens go to the newest page, from `begin` on. */
void tq_store_leaving(const tq_store *store, size_t *first, size_t *end);
tq_page *tq_store_leave(tq_store *store, size_t index);
void tq_store_left(tq_store *store, size_t index, size_t end);
size_t tq_store_next(const tq_store *store);
tq_page *tq_store_receive(tq_store *store);
void tq_store_received(tq_store *store, size_t count);

/* The next page, if its 64 tokens are all new and will have left the window when the last token is stored: with room
 * for codes, but none for exact tokens. Else null. It counts as stored and encoded. */
tq_page *tq_store_pass(tq_store *store);

/* Stores n_tokens tokens of kv, from `first` on, at a place of a page whose memory the host sees. */
void tq_page_store(const tq_cache *cache, tq_page *page, size_t place, const tq_kv *kv, size_t first, size_t n_tokens);

/* Frees what was reserved and not needed. */
void tq_store_end(tq_store *store);

/* --- page_codec.c --------------------------------------------------------------------------------------------------
 */

/* The mean of rotated vectors, rounded to f16, from f16 rows [n][dim]: they are added up in the order of tokens, and
 * their sum is rotated. */
void tq_side_mean(const tq_side *side, const uint8_t *exact, size_t n, uint8_t *mean);

/* Encodes tokens [first, end) of one head's keys or values from f16 rows, [end][dim], to its part of an encoded block.
 * The mean is taken anew if first is 0, of all `end` tokens. */
void tq_side_encode(const tq_side *side, const uint8_t *exact, size_t first, size_t end, uint8_t *encoded);

/* The inverse for one token: x, to the format's error. */
void tq_side_vector(const tq_side *side, const uint8_t *encoded, size_t token, float *x);

/* The same as f16 rows, of tokens [0, end). */
void tq_side_decode(const tq_side *side, const uint8_t *encoded, size_t end, uint8_t *exact);

/* Encodes what another format encoded; a mean stays. `exact` is scratch for 64 f16 rows. */
void tq_side_recode(const tq_side *from, const uint8_t *encoded, size_t end, const tq_side *to, uint8_t *recoded,
                    uint8_t *exact);

/* Encodes tokens [exact_from, 64) from the exact block to the encoded one; both are there, and the page has one owner.
 * The page's mean is taken anew if all tokens are exact. Sinks are kept if the page has room for them. */
void tq_page_encode(const tq_cache *cache, tq_page *page);

/* Copies tokens [exact_from, sink_tokens) of a first page from its exact block to its sinks. */
void tq_page_keep_sinks(const tq_cache *cache, tq_page *page);

/* --- attend.c ------------------------------------------------------------------------------------------------------
 */

/* Attention of queries [first, first + n_tokens) of `attention`, whose positions are in one page; the first of them is
 * at `position`. Arguments have been checked and strides resolved. */
void tq_attend_segment(tq_cache *cache, tq_form form, const tq_track *track, const tq_attention *attention,
                       size_t first, size_t n_tokens, size_t position);

#endif /* TQ_CACHE_H */
