/* SPDX-License-Identifier: MIT */
/* How to store keys and values, as one string:
 *
 *     turbo4t                                                    a format for both
 *     k=turbo4t,v=turbo3t,sink=4,recent=64,means=on,protect=2    in any order; what is left out is the library's
 * default
 *
 *     k, v     f32, q8_0, q4_0, q4_0-rot (yardsticks), or a format of the library: f16, turbo4t, turbo3t, ...
 *     sink     first tokens that stay exact
 *     recent   newest tokens that stay exact; 0: only the page that is being filled. Yardsticks have no exact tokens
 *              unless this is given
 *     means    page means: on, off, k, v
 *     protect  that many first and last layers in turbo8
 *     effort   of the encoder: fast, balanced, best
 */
#ifndef TQ_TOOL_CACHE_CONFIG_H
#define TQ_TOOL_CACHE_CONFIG_H

#include <stdint.h>

#include "error.h"
#include "turboquant.h"

/* The yardsticks, which the library does not have. */
enum plain_format { PLAIN_NONE, PLAIN_F32, PLAIN_Q8_0, PLAIN_Q4_0, PLAIN_Q4_0_ROT };

struct side_format {
    enum plain_format plain; /* PLAIN_NONE: `format` counts. */
    tq_format format;
};

struct cache_config {
    struct side_format k;
    struct side_format v;
    uint32_t sink_tokens;
    uint32_t recent_tokens; /* As in tq_cache_desc. */
    uint32_t flags;         /* TQ_CACHE_NO_*_MEANS */
    uint32_t protect;       /* Layers. */
    tq_effort effort;
};

enum { CACHE_CONFIG_SIZE = 128 }; /* Room for the longest string that cache_config_print writes. */

bool cache_config_parse(const char *text, struct cache_config *config, struct error *error);

/* The string of a configuration, without what is default. */
void cache_config_print(const struct cache_config *config, char text[CACHE_CONFIG_SIZE]);

/* Completes the desc of a cache of the library, of which the sizes are set. Its `layers` is a table of desc->n_layers
 * formats, which the caller has made room for. */
void cache_config_describe(const struct cache_config *config, tq_cache_desc *desc, tq_layer_formats *layers);

/* True if the yardsticks' store serves it. */
bool cache_config_is_plain(const struct cache_config *config);

#endif /* TQ_TOOL_CACHE_CONFIG_H */
