/* SPDX-License-Identifier: MIT */
/* A cache of the library as the engine's store. */
#include "kv_store.h"

#include <stdlib.h>

struct kv_turboquant {
    struct kv_store store;
    tq_context *context;
    tq_cache *cache;
    tq_seq *seq;
    uint32_t n_layers;
    struct error last; /* What the library's log said last. */
};

/* The library's sentence is better than any that could be made of a status here. */
static void log_message(void *user, tq_status status, const char *sentence)
{
    struct kv_turboquant *self = user;
    const bool unable =
        status == TQ_ERR_OUT_OF_MEMORY || status == TQ_ERR_BACKEND || status == TQ_ERR_CAPACITY || status == TQ_ERR_IO;
    error_set(&self->last, unable ? EXIT_RUN : EXIT_INPUT, "cache: %s", sentence);
}

/* Whether a call of the library succeeded; else `error` receives why not. */
static bool succeeded(const struct kv_turboquant *self, tq_status status, struct error *error)
{
    if (status != TQ_OK) {
        *error = self->last;
    }
    return status == TQ_OK;
}

static bool forward(struct kv_store *store, uint32_t layer, const tq_kv *kv, const tq_attention *attention,
                    struct error *error)
{
    struct kv_turboquant *self = (struct kv_turboquant *)store;
    if (!succeeded(self, tq_cache_forward(self->cache, self->seq, layer, kv, attention), error)) {
        return false;
    }
    store->n_tokens = tq_seq_length(self->seq, self->n_layers - 1);
    return true;
}

/* After a step that failed between two layers, the first layers have more tokens than the last ones; n_tokens, which
 * the last layer tells, is what all of them have. */
static bool truncate(struct kv_store *store, size_t n_tokens, struct error *error)
{
    struct kv_turboquant *self = (struct kv_turboquant *)store;
    if (!succeeded(self, tq_seq_truncate(self->seq, n_tokens), error)) {
        return false;
    }
    store->n_tokens = n_tokens;
    return true;
}

static size_t bytes(const struct kv_store *store)
{
    const struct kv_turboquant *self = (const struct kv_turboquant *)store;
    tq_cache_stats_result stats = {.struct_size = sizeof stats};
    return tq_cache_stats(self->cache, &stats) == TQ_OK ? stats.page_bytes : 0;
}

static size_t write_file(void *user, const void *data, size_t size)
{
    return fwrite(data, 1, size, user);
}

static size_t read_file(void *user, void *data, size_t size)
{
    return fread(data, 1, size, user);
}

static bool save(const struct kv_store *store, FILE *file, struct error *error)
{
    const struct kv_turboquant *self = (const struct kv_turboquant *)store;
    const tq_writer writer = {write_file, file};
    return succeeded(self, tq_cache_save(self->cache, self->seq, &writer), error);
}

static void destroy(struct kv_store *store)
{
    struct kv_turboquant *self = (struct kv_turboquant *)store;
    tq_cache_destroy(self->cache);
    tq_context_destroy(self->context);
    free(self);
}

static const struct kv_store_ops ops = {forward, truncate, bytes, save, destroy};

/* Without a cache yet. */
static struct kv_turboquant *create(const struct model *model, const struct threads *threads, struct error *error)
{
    struct kv_turboquant *self = calloc(1, sizeof *self);
    if (self == NULL) {
        error_set(error, EXIT_RUN, "not enough memory");
        return NULL;
    }
    *self = (struct kv_turboquant){.store = {&ops, 0}, .n_layers = model->n_layers};
    const tq_context_desc desc = {
        .struct_size = sizeof desc, .executor = threads_executor(threads), .log = {log_message, self}};
    if (!succeeded(self, tq_context_create(&desc, &self->context), error)) {
        destroy(&self->store);
        return NULL;
    }
    return self;
}

/* The store, or null, and nothing left, if something failed. `self` may be null then. */
static struct kv_store *finish(struct kv_turboquant *self, bool ok)
{
    if (ok) {
        return &self->store;
    }
    if (self != NULL) {
        destroy(&self->store);
    }
    return NULL;
}

static tq_cache_desc describe(const struct cache_config *config, const struct model *model, tq_layer_formats *layers)
{
    tq_cache_desc desc = {.struct_size = sizeof desc,
                          .n_layers = model->n_layers,
                          .n_kv_heads = model->n_kv_heads,
                          .head_dim_k = model->head_dim,
                          .head_dim_v = model->head_dim_v};
    cache_config_describe(config, &desc, layers);
    return desc;
}

bool kv_turboquant_estimate(const struct cache_config *config, const struct model *model, size_t n_tokens,
                            size_t *bytes, struct error *error)
{
    const struct threads none = {NULL, 1};
    struct kv_turboquant *self = create(model, &none, error);
    tq_layer_formats *layers = calloc(model->n_layers, sizeof *layers);
    bool ok = self != NULL && (layers != NULL || error_run(error, "not enough memory"));
    if (ok) {
        const tq_cache_desc desc = describe(config, model, layers);
        ok = succeeded(self, tq_cache_estimate(self->context, &desc, n_tokens, bytes), error);
    }
    free(layers);
    finish(self, false);
    return ok;
}

struct kv_store *kv_turboquant_create(const struct cache_config *config, const struct model *model,
                                      const struct threads *threads, struct error *error)
{
    struct kv_turboquant *self = create(model, threads, error);
    tq_layer_formats *layers = calloc(model->n_layers, sizeof *layers);
    bool ok = self != NULL && (layers != NULL || error_run(error, "not enough memory"));
    if (ok) {
        const tq_cache_desc desc = describe(config, model, layers);
        ok = succeeded(self, tq_cache_create(self->context, &desc, &self->cache), error) &&
             succeeded(self, tq_seq_create(self->cache, &self->seq), error);
    }
    free(layers);
    return finish(self, ok);
}

/* Reads the desc and goes back to where it began. */
static bool read_desc(const struct kv_turboquant *self, const char *path, FILE *file, const struct model *model,
                      tq_cache_desc *desc, tq_layer_formats *layers, struct error *error)
{
    const tq_reader reader = {read_file, file};
    const long start = ftell(file);
    *desc = (tq_cache_desc){.struct_size = sizeof *desc};
    const tq_status status = tq_cache_read_desc(self->context, &reader, desc, layers, model->n_layers);
    if (status != TQ_ERR_BUFFER_TOO_SMALL && !succeeded(self, status, error)) {
        return false;
    }
    if (desc->n_layers != model->n_layers || desc->n_kv_heads != model->n_kv_heads ||
        desc->head_dim_k != model->head_dim ||
        (desc->head_dim_v != 0 ? desc->head_dim_v : desc->head_dim_k) != model->head_dim_v) {
        return error_input(error, "%s: saved with another model", path);
    }
    return (start >= 0 && fseek(file, start, SEEK_SET) == 0) || error_run(error, "%s: cannot be read twice", path);
}

struct kv_store *kv_turboquant_load(const char *path, FILE *file, const struct model *model,
                                    const struct threads *threads, struct error *error)
{
    struct kv_turboquant *self = create(model, threads, error);
    tq_layer_formats *layers = calloc(model->n_layers, sizeof *layers);
    tq_cache_desc desc;
    bool ok = self != NULL && (layers != NULL || error_run(error, "not enough memory")) &&
              read_desc(self, path, file, model, &desc, layers, error);
    if (ok) {
        const tq_reader reader = {read_file, file};
        ok = succeeded(self, tq_cache_create(self->context, &desc, &self->cache), error) &&
             succeeded(self, tq_cache_load(self->cache, &reader, &self->seq), error);
        self->store.n_tokens = ok ? tq_seq_length(self->seq, self->n_layers - 1) : 0;
    }
    for (uint32_t layer = 0; ok && layer < model->n_layers; layer++) {
        ok = tq_seq_length(self->seq, layer) == self->store.n_tokens ||
             error_input(error, "%s: layers of different lengths", path);
    }
    free(layers);
    return finish(self, ok);
}
