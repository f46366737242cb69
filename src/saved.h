/* SPDX-License-Identifier: MIT
 *
 * The numbers of a saved sequence; docs/format.md says where each stands. */
#ifndef TQ_SAVED_H
#define TQ_SAVED_H

#include "cache.h"
#include "rotation.h"

static const unsigned char TQ_SAVED_MAGIC[8] = {0x89, 'T', 'Q', 'C', '\r', '\n', 0x1A, '\n'};

enum {
    TQ_SAVED_VERSION = 1,
    TQ_SAVED_LAYOUT = 1,   /* Rows as docs/format.md has them. */
    TQ_SAVED_CODEBOOK = 1, /* The levels of docs/format.md, Lloyd-Max and trellis. */
    TQ_SAVED_HEADER_BYTES = 96,
    TQ_SAVED_LAYER_BYTES = 24, /* Per layer, in the table behind the header. */
    TQ_SAVED_CHECKSUM_BYTES = 8,
    TQ_SAVED_PAGE_BYTES = 24 /* Before the parts of a page. */
};

/* Bit 1 << kind of `parts` says that a page has a block. They follow in this order. */
static const tq_block TQ_SAVED_ORDER[TQ_BLOCK_KINDS] = {TQ_BLOCK_SINKS, TQ_BLOCK_ENCODED, TQ_BLOCK_EXACT};

/* Bytes of one head's keys or values in a saved encoded part: mean, if there is one, and 64 rows. */
static inline size_t tq_saved_side_bytes(const tq_side *side)
{
    const size_t mean_bytes = side->has_mean ? 2 * side->codec->code.dim : 0;
    return mean_bytes + TQ_PAGE_TOKENS * side->codec->code.row_bytes;
}

static inline size_t tq_saved_block_bytes(const tq_cache *cache, tq_form form, tq_block kind)
{
    return kind == TQ_BLOCK_ENCODED
               ? cache->desc.n_kv_heads * (tq_saved_side_bytes(form.k) + tq_saved_side_bytes(form.v))
               : tq_block_bytes(cache, form, kind);
}

/* The rotation of a cache's keys or values. */
static inline tq_rotation tq_saved_rotation(size_t dim)
{
    return tq_hadamard_order(dim) != 0 ? TQ_ROTATION_HADAMARD : TQ_ROTATION_HAAR;
}

#endif /* TQ_SAVED_H */
