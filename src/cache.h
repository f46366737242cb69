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

#include <stdatomic.h>
#include <stdbool.h>

/* Keys or values of one layer: how they are encoded, and the room of one KV head in an encoded page. */
typedef struct tq_side {
    tq_codec *codec;
    size_t dim;
    bool has_mean;
    size_t rows_at; /* An encoded head: f16 mean of its rotated vectors, if it has one, then 64 rows. */
    size_t encoded_bytes;
} tq_side;

/* What a page may hold. Exact tokens and sinks: [head][keys: [tokens][dim_k], values: [tokens][dim_v]] as f16 rows. */
typedef enum tq_block { TQ_BLOCK_EXACT, TQ_BLOCK_ENCODED, TQ_BLOCK_SINKS, TQ_BLOCK_KINDS } tq_block;

typedef struct tq_layer {
    tq_side k;
    tq_side v;
    size_t block_bytes[TQ_BLOCK_KINDS]; /* Of a page's block of each kind. */
} tq_layer;

typedef struct tq_page {
    struct tq_page *next; /* While in a reserve. */
    atomic_size_t owners;
    size_t n_encoded;  /* Tokens [0, n_encoded) are in the encoded block. */
    size_t exact_from; /* Tokens from here on are in the exact block, if there is one. */
    uint8_t *blocks[TQ_BLOCK_KINDS];
} tq_page;

/* One layer of one sequence. */
typedef struct tq_track {
    size_t n_tokens;
    size_t room; /* Of `pages`, in pages. */
    tq_page **pages;
} tq_track;

struct tq_seq {
    tq_cache *cache;
    tq_seq *next; /* In the cache's list. */
    tq_seq *previous;
    tq_track *tracks; /* [n_layers] */
};

struct tq_cache {
    const tq_context *context;
    tq_cache_desc desc; /* With defaults resolved; `layers` is null. */
    tq_layer *layers;
    size_t window_pages; /* ceil(recent_tokens / 64) */
    atomic_flag busy;    /* Guards the list of sequences. */
    tq_seq *sequences;
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

/* Exact keys of one head in a block of `tokens` tokens; its values follow. */
static inline size_t tq_exact_keys_at(const tq_layer *layer, size_t tokens, size_t head)
{
    return 2 * head * tokens * (layer->k.dim + layer->v.dim);
}

static inline size_t tq_exact_values_at(const tq_layer *layer, size_t tokens, size_t head)
{
    return tq_exact_keys_at(layer, tokens, head) + 2 * tokens * layer->k.dim;
}

/* Encoded keys of one head; its values follow. */
static inline size_t tq_encoded_keys_at(const tq_layer *layer, size_t head)
{
    return head * (layer->k.encoded_bytes + layer->v.encoded_bytes);
}

static inline size_t tq_encoded_values_at(const tq_layer *layer, size_t head)
{
    return tq_encoded_keys_at(layer, head) + layer->k.encoded_bytes;
}

/* --- pages.c -------------------------------------------------------------------------------------------------------
 */

/* Gives up one owner's share of a page; the last one frees it. */
void tq_page_release(tq_cache *cache, const tq_layer *layer, tq_page *page);

/* Stores exact tokens from `first` on and, before each page boundary, encodes the page that leaves the window. Each
 * call of `tq_store_segment` stores the tokens of one page at most and says how many; the rest of the work was done
 * when all memory was reserved. */
typedef struct tq_store {
    tq_cache *cache;
    const tq_layer *layer;
    tq_track *track;
    const tq_kv *kv; /* Strides resolved. */
    size_t done;     /* Tokens stored so far. */
    tq_page *spare_pages;
    uint8_t *spare_blocks[TQ_BLOCK_KINDS]; /* Lists through the first bytes of each block. */
} tq_store;

/* Reserves all memory that storing kv->n_tokens needs. TQ_OK, TQ_ERR_CAPACITY or TQ_ERR_OUT_OF_MEMORY; on an error
 * nothing has changed. */
tq_status tq_store_begin(tq_store *store, tq_cache *cache, const tq_layer *layer, tq_track *track, const tq_kv *kv);

size_t tq_store_segment(tq_store *store);

/* Frees what was reserved and not needed. */
void tq_store_end(tq_store *store);

/* --- page_codec.c --------------------------------------------------------------------------------------------------
 */

/* Encodes tokens [exact_from, 64) from the exact block to the encoded one; both are there, and the page has one owner.
 * The page's mean is taken anew if all tokens are exact. */
void tq_page_encode(const tq_cache *cache, const tq_layer *layer, tq_page *page);

/* Copies tokens [exact_from, sink_tokens) of a first page from its exact block to its sinks. */
void tq_page_keep_sinks(const tq_cache *cache, const tq_layer *layer, tq_page *page);

/* --- attend.c ------------------------------------------------------------------------------------------------------
 */

/* Attention of queries [first, first + n_tokens) of `attention`, whose positions are in one page; the first of them is
 * at `position`. Arguments have been checked and strides resolved. */
void tq_attend_segment(const tq_cache *cache, const tq_layer *layer, const tq_track *track,
                       const tq_attention *attention, size_t first, size_t n_tokens, size_t position);

#endif /* TQ_CACHE_H */
