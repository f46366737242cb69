/* SPDX-License-Identifier: MIT */
/* What is compared, and how it is sorted. */
#include "sweep.h"

#include <stdlib.h>
#include <string.h>

static const char *const configs[] = {
    /* The library's formats with its defaults: page means, 64 exact tokens before the page that is being filled. */
    "turbo8", "turbo4t", "k=turbo4t,v=turbo3t", "turbo3t", "k=turbo3t,v=turbo2t", "turbo2t", "turbo4", "turbo3",
    "turbo2", "turbo1",
    /* What the options are worth. */
    "turbo4t,recent=0", "turbo3t,recent=0", "turbo2t,recent=0", "turbo3t,means=off", "turbo3t,means=k",
    "turbo3t,sink=4", "turbo3t,protect=1", "turbo3t,recent=128", "turbo3t,effort=best", "turbo4t,recent=0,means=off",
    /* What other engines have. */
    "q8_0", "k=q8_0,v=q4_0", "q4_0", "q4_0-rot",
    /* The same with as many exact tokens as the library has. */
    "q8_0,recent=64", "q4_0,recent=64", "q4_0-rot,recent=64"};

static const char *const speed_configs[] = {"f16",     "turbo4", "turbo4t", "turbo3t",
                                            "turbo2t", "q8_0",   "q4_0",    "q4_0-rot"};

const char *sweep_config(size_t index)
{
    return index < sizeof configs / sizeof *configs ? configs[index] : NULL;
}

const char *sweep_speed_config(size_t index)
{
    return index < sizeof speed_configs / sizeof *speed_configs ? speed_configs[index] : NULL;
}

bool sweep_supports(const struct model *model, const char *text)
{
    struct cache_config config;
    struct error error;
    size_t bytes;
    return cache_config_parse(text, &config, &error) && kv_store_estimate(&config, model, 1, &bytes, &error);
}

const char *sweep_family_name(enum sweep_family family)
{
    static const char *const names[SWEEP_FAMILIES] = {[SWEEP_TRELLIS] = "trellis codes",
                                                      [SWEEP_LLOYD_MAX] = "Lloyd-Max codes",
                                                      [SWEEP_OPTIONS] = "with options",
                                                      [SWEEP_YARDSTICKS] = "f16 and block formats"};
    return names[family];
}

enum sweep_family sweep_family_of(const char *text)
{
    struct cache_config config;
    struct error error;
    if (!cache_config_parse(text, &config, &error) || cache_config_is_plain(&config)) {
        return SWEEP_YARDSTICKS;
    }
    if (config.sink_tokens != 0 || config.recent_tokens != 0 || config.flags != 0 || config.protect != 0 ||
        config.effort != 0) {
        return SWEEP_OPTIONS;
    }
    switch (config.k.format) {
    case TQ_FORMAT_F16:
        return SWEEP_YARDSTICKS;
    case TQ_FORMAT_DEFAULT:
    case TQ_FORMAT_TURBO2T:
    case TQ_FORMAT_TURBO3T:
    case TQ_FORMAT_TURBO4T:
        return SWEEP_TRELLIS;
    default:
        return SWEEP_LLOYD_MAX;
    }
}

static int by_bytes(const void *a, const void *b)
{
    const struct perplexity_row *x = a;
    const struct perplexity_row *y = b;
    if (x->bytes_per_token < y->bytes_per_token || x->bytes_per_token > y->bytes_per_token) {
        return x->bytes_per_token > y->bytes_per_token ? -1 : 1;
    }
    if (x->summary.kl_mean < y->summary.kl_mean || x->summary.kl_mean > y->summary.kl_mean) {
        return x->summary.kl_mean < y->summary.kl_mean ? -1 : 1;
    }
    return strcmp(x->config, y->config);
}

void sweep_sort(struct perplexity *perplexity)
{
    qsort(perplexity->rows, perplexity->n_rows, sizeof *perplexity->rows, by_bytes);
}

bool sweep_on_front(const struct perplexity *perplexity, size_t index)
{
    const struct perplexity_row *row = &perplexity->rows[index];
    for (size_t i = 0; i < perplexity->n_rows; i++) {
        const struct perplexity_row *other = &perplexity->rows[i];
        if (i != index && other->bytes_per_token <= row->bytes_per_token &&
            other->summary.kl_mean < row->summary.kl_mean) {
            return false;
        }
    }
    return true;
}
