/* SPDX-License-Identifier: MIT */
/* Where the engine's keys and values go: one sequence in a cache of the library, or in one of the yardsticks. */
#ifndef TQ_TOOL_KV_STORE_H
#define TQ_TOOL_KV_STORE_H

#include <stdio.h>

#include "cache_config.h"
#include "error.h"
#include "model.h"
#include "threads.h"
#include "turboquant.h"

struct kv_store;

struct kv_store_ops {
    /* One layer of one step: stores n tokens and attends their queries, as tq_cache_forward does. */
    bool (*forward)(struct kv_store *store, uint32_t layer, const tq_kv *kv, const tq_attention *attention,
                    struct error *error);
    /* Shortens the sequence to n tokens in all layers, whether or not the last step reached them all. */
    bool (*truncate)(struct kv_store *store, size_t n_tokens, struct error *error);
    /* Bytes that keys and values take now. */
    size_t (*bytes)(const struct kv_store *store);
    /* Appends the sequence to a file; null if the store cannot. */
    bool (*save)(const struct kv_store *store, FILE *file, struct error *error);
    void (*destroy)(struct kv_store *store);
};

/* Kinds of stores begin with this. */
struct kv_store {
    const struct kv_store_ops *ops;
    size_t n_tokens; /* Of the sequence. */
};

/* The store that a configuration asks for. `threads` must outlive it. */
struct kv_store *kv_store_create(const struct cache_config *config, const struct model *model,
                                 const struct threads *threads, struct error *error);

/* What ops->bytes will say of a store after n_tokens tokens. Of the model, only the sizes of keys and values count. */
bool kv_store_estimate(const struct cache_config *config, const struct model *model, size_t n_tokens, size_t *bytes,
                       struct error *error);

/* A cache of the library. */
struct kv_store *kv_turboquant_create(const struct cache_config *config, const struct model *model,
                                      const struct threads *threads, struct error *error);

bool kv_turboquant_estimate(const struct cache_config *config, const struct model *model, size_t n_tokens,
                            size_t *bytes, struct error *error);

/* A cache of the library with the sequence that kv_store.save has written; its options are the file's. Reads no byte
 * more. */
struct kv_store *kv_turboquant_load(const char *path, FILE *file, const struct model *model,
                                    const struct threads *threads, struct error *error);

/* Rows of f32, or of a baseline's format, one after the other, and plain attention over them. */
struct kv_store *kv_plain_create(const struct cache_config *config, const struct model *model,
                                 const struct threads *threads, struct error *error);

bool kv_plain_estimate(const struct cache_config *config, const struct model *model, size_t n_tokens, size_t *bytes,
                       struct error *error);

/* Null is ignored. */
void kv_store_destroy(struct kv_store *store);

#endif /* TQ_TOOL_KV_STORE_H */
