/* SPDX-License-Identifier: MIT */
/* Which store serves a configuration. */
#include "kv_store.h"

struct kv_store *kv_store_create(const struct cache_config *config, const struct model *model,
                                 const struct threads *threads, struct error *error)
{
    return cache_config_is_plain(config) ? kv_plain_create(config, model, threads, error)
                                         : kv_turboquant_create(config, model, threads, error);
}

bool kv_store_estimate(const struct cache_config *config, const struct model *model, size_t n_tokens, size_t *bytes,
                       struct error *error)
{
    return cache_config_is_plain(config) ? kv_plain_estimate(config, model, n_tokens, bytes, error)
                                         : kv_turboquant_estimate(config, model, n_tokens, bytes, error);
}

void kv_store_destroy(struct kv_store *store)
{
    if (store != NULL) {
        store->ops->destroy(store);
    }
}
