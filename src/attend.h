/* SPDX-License-Identifier: MIT
 *
 * Inside attention: a few queries that are worked on together, and what has been added up for them. */
#ifndef TQ_ATTEND_H
#define TQ_ATTEND_H

#include "cache.h"
#include "rows.h"

/* Up to TQ_PAGE_QUERIES queries of one KV head whose positions lie in one page, so that each code is unpacked once for
 * all of them. What is computed for a query does not depend on the others. Arrays of vectors are dense: [n][dim]. */
typedef struct tq_queries {
    const tq_attention *args;
    size_t n;
    size_t kv_head;
    size_t n_encoded_pages;        /* That their position sees encoded. */
    size_t token[TQ_PAGE_QUERIES]; /* Of args. */
    size_t q_head[TQ_PAGE_QUERIES];
    size_t begin[TQ_PAGE_QUERIES]; /* Positions [begin, end) are seen. */
    size_t end[TQ_PAGE_QUERIES];
    size_t all_begin; /* Positions [all_begin, all_end) are seen by all. */
    size_t all_end;
    size_t any_begin; /* Positions outside of [any_begin, any_end) are seen by none. */
    size_t any_end;
    _Alignas(64) float plain[TQ_MAX_DIM]; /* Times the scale of scores. */
    _Alignas(64) float rotated[TQ_MAX_DIM];
    bool is_rotated;
    const tq_side *prepared_for; /* `prepared` is what this side's page_scores reads. */
    _Alignas(64) uint8_t prepared[TQ_PREPARED_BYTES];
} tq_queries;

/* Sums over some tokens, relative to exp(largest): of weights, and of weighted values, exact ones in the vectors' own
 * domain and encoded ones rotated. */
typedef struct tq_partial {
    float largest[TQ_PAGE_QUERIES];
    float weight[TQ_PAGE_QUERIES];
    _Alignas(64) float plain[TQ_MAX_DIM]; /* [n][dim] */
    _Alignas(64) float rotated[TQ_MAX_DIM];
    bool has_plain;           /* False while all of `plain` is zero: most ranges have encoded tokens only. */
    const tq_codec *rotation; /* That of `rotated`; null while all of it is zero. */
} tq_partial;

/* Nothing of n vectors of dim_v coordinates. */
void tq_partial_clear(tq_partial *partial, size_t n, size_t dim);

/* Adds tokens [begin * 64, end) of a track, as far as the queries see them; `begin` is a page. */
void tq_attend_pages(const tq_cache *cache, const tq_track *track, tq_queries *q, size_t begin, size_t end,
                     tq_partial *sums);

/* total += part, with dim_v coordinates in each of n vectors. */
void tq_partial_add(tq_partial *total, const tq_partial *part, size_t n, size_t dim);

#endif /* TQ_ATTEND_H */
