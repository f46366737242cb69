/* SPDX-License-Identifier: MIT
 *
 * A plain model of a cache, in double precision and without pages, that knows for every token whether it is exact or
 * encoded, and in which formats. */
#ifndef TQ_TESTS_CACHE_MODEL_H
#define TQ_TESTS_CACHE_MODEL_H

#include "cache_support.h"
#include "double_reference.h"
#include "saved_support.h"

/* The model. It encodes without means: a cache that has them differs by the errors of the formats. */
struct model;
struct model_seq;

struct model *model_open(const tq_context *context, const tq_cache_desc *desc);
void model_close(struct model *model);
struct model_seq *model_seq_open(const struct model *model);
struct model_seq *model_seq_fork(const struct model_seq *parent, size_t n_tokens);
void model_seq_truncate(struct model_seq *seq, size_t n_tokens);
void model_seq_remove(struct model_seq *seq, size_t first, size_t n_tokens);
void model_seq_close(struct model_seq *seq);
size_t model_seq_length(const struct model_seq *seq, uint32_t layer);

/* Do to the model what was done to the cache. */
void model_demote(struct model_seq *seq, const tq_tier *tiers, size_t n_tiers);
void model_rope_shift(struct model_seq *seq, uint32_t layer, size_t first, size_t end, int64_t delta,
                      const tq_rope *rope);

/* How many vectors that were encoded anew were compared with what a cache made of them, and how many were equal. */
struct adoption {
    size_t compared;
    size_t equal;
};

/* Encoding anew what was decoded, the cache and the model may round to different codes now and then. Takes over what
 * the cache made of tokens that were encoded anew since the last call. Where they differ, the vectors must still be
 * alike, to the error of the format. */
void model_adopt(struct model_seq *seq, const struct saved *saved, struct adoption *adoption);

/* Does to the model what `step` did to the cache, and compares what the cache wrote: `out` within tolerance times the
 * largest value, `lse` within tolerance times its size, and what the backend may be off. `what` begins the message. */
void model_step(struct model_seq *seq, uint32_t layer, const tq_kv *kv, const tq_attention *attention, double tolerance,
                const char *what);

#endif
