/* SPDX-License-Identifier: MIT
 *
 * Where the tokens of a page are. */
#ifndef TQ_SPANS_H
#define TQ_SPANS_H

#include "cache.h"

/* The part of a page that one source of tokens holds: [begin, end) within the page. */
typedef struct tq_span {
    size_t begin;
    size_t end;
} tq_span;

static inline tq_span tq_clip(size_t begin, size_t end, size_t limit)
{
    const size_t last = end < limit ? end : limit;
    return (tq_span){begin < last ? begin : last, last};
}

/* A page's tokens lie in up to three places: sinks, codes, exact tokens. */
typedef struct tq_page_spans {
    tq_span sinks;
    tq_span encoded;
    tq_span exact;
} tq_page_spans;

/* `encoded` says which form the position of the queries asks for; after a deep cut a page may have but one. */
static inline tq_page_spans tq_find_spans(const tq_cache *cache, const tq_page *page, bool encoded, size_t n_tokens)
{
    const bool has_exact = page->blocks[TQ_BLOCK_EXACT] != NULL;
    const size_t exact_from =
        has_exact && !(encoded && page->n_encoded == TQ_PAGE_TOKENS) ? page->exact_from : page->n_encoded;
    const size_t n_sinks = page->blocks[TQ_BLOCK_SINKS] == NULL ? 0 : cache->desc.sink_tokens;
    const size_t kept = n_sinks < exact_from ? n_sinks : exact_from;
    return (tq_page_spans){tq_clip(0, kept, n_tokens), tq_clip(kept, exact_from, n_tokens),
                           tq_clip(exact_from, n_tokens, n_tokens)};
}

static inline bool tq_span_is_empty(tq_span s)
{
    return s.begin == s.end;
}

#endif /* TQ_SPANS_H */
