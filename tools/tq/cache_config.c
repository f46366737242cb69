/* SPDX-License-Identifier: MIT */
/* Configuration strings. */
#include "cache_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOKENS = 1 << 24, MAX_SINKS = 64, MAX_PROTECT = 1024, NO_MEANS = TQ_CACHE_NO_K_MEANS | TQ_CACHE_NO_V_MEANS };

/* A name and what it stands for; tables end with a null name. */
struct word {
    const char *name;
    uint32_t value;
};

static const struct word plain_words[] = {
    {"f32", PLAIN_F32}, {"q8_0", PLAIN_Q8_0}, {"q4_0", PLAIN_Q4_0}, {"q4_0-rot", PLAIN_Q4_0_ROT}, {NULL, 0}};
static const struct word means_words[] = {
    {"on", 0}, {"off", NO_MEANS}, {"k", TQ_CACHE_NO_V_MEANS}, {"v", TQ_CACHE_NO_K_MEANS}, {NULL, 0}};
static const struct word effort_words[] = {
    {"fast", TQ_EFFORT_FAST}, {"balanced", TQ_EFFORT_BALANCED}, {"best", TQ_EFFORT_BEST}, {NULL, 0}};

static bool parse_word(const struct word *words, const char *text, uint32_t *value)
{
    for (; words->name != NULL; words++) {
        if (strcmp(words->name, text) == 0) {
            *value = words->value;
            return true;
        }
    }
    return false;
}

static const char *word_of(const struct word *words, uint32_t value)
{
    while (words->name != NULL && words->value != value) {
        words++;
    }
    return words->name;
}

static bool parse_number(const char *text, uint32_t limit, uint32_t *value)
{
    char *end;
    errno = 0;
    const unsigned long number = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || number > limit) {
        return false;
    }
    *value = (uint32_t)number;
    return true;
}

static bool parse_format(const char *text, struct side_format *side)
{
    uint32_t plain = PLAIN_NONE;
    *side = (struct side_format){PLAIN_NONE, TQ_FORMAT_DEFAULT};
    if (parse_word(plain_words, text, &plain)) {
        side->plain = (enum plain_format)plain;
        return true;
    }
    return strcmp(text, "default") == 0 || tq_format_parse(text, &side->format) == TQ_OK;
}

static bool parse_recent(const char *text, uint32_t *recent)
{
    if (!parse_number(text, MAX_TOKENS, recent)) {
        return false;
    }
    *recent = *recent == 0 ? TQ_NO_RECENT_TOKENS : *recent;
    return true;
}

static bool parse_item(const char *key, const char *value, struct cache_config *config)
{
    uint32_t effort = 0;
    if (strcmp(key, "k") == 0) {
        return parse_format(value, &config->k);
    }
    if (strcmp(key, "v") == 0) {
        return parse_format(value, &config->v);
    }
    if (strcmp(key, "sink") == 0) {
        return parse_number(value, MAX_SINKS, &config->sink_tokens);
    }
    if (strcmp(key, "recent") == 0) {
        return parse_recent(value, &config->recent_tokens);
    }
    if (strcmp(key, "means") == 0) {
        return parse_word(means_words, value, &config->flags);
    }
    if (strcmp(key, "protect") == 0) {
        return parse_number(value, MAX_PROTECT, &config->protect);
    }
    if (strcmp(key, "effort") == 0 && parse_word(effort_words, value, &effort)) {
        config->effort = (tq_effort)effort;
        return true;
    }
    return false;
}

bool cache_config_is_plain(const struct cache_config *config)
{
    return config->k.plain != PLAIN_NONE || config->v.plain != PLAIN_NONE;
}

/* The yardsticks have one option, and one store cannot hold keys of the one kind and values of the other. */
static bool check(const struct cache_config *config, const char *text, struct error *error)
{
    if (!cache_config_is_plain(config)) {
        return true;
    }
    if (config->k.plain == PLAIN_NONE || config->v.plain == PLAIN_NONE) {
        return error_input(error, "configuration '%s': f32, q8_0, q4_0 and q4_0-rot mix with each other only", text);
    }
    if (config->sink_tokens != 0 || config->flags != 0 || config->protect != 0 || config->effort != 0) {
        return error_input(error, "configuration '%s': f32, q8_0, q4_0 and q4_0-rot have no option but recent", text);
    }
    return true;
}

bool cache_config_parse(const char *text, struct cache_config *config, struct error *error)
{
    char item[64];
    *config = (struct cache_config){.sink_tokens = 0};
    for (const char *at = text;; at++) {
        const size_t size = strcspn(at, ",");
        char *value = NULL;
        bool ok = size < sizeof item;
        if (ok) {
            memcpy(item, at, size);
            item[size] = '\0';
            value = strchr(item, '=');
        }
        if (ok && value == NULL) { /* A format for both. */
            ok = parse_format(item, &config->k);
            config->v = config->k;
        } else if (ok) {
            *value = '\0';
            ok = parse_item(item, value + 1, config);
        }
        if (!ok) {
            return error_input(error, "configuration '%s': '%.*s' is not understood", text,
                               (int)(size < sizeof item ? size : sizeof item), at);
        }
        at += size;
        if (*at == '\0') {
            return check(config, text, error);
        }
    }
}

static const char *format_name(struct side_format side)
{
    return side.plain != PLAIN_NONE           ? word_of(plain_words, side.plain)
           : side.format == TQ_FORMAT_DEFAULT ? "default"
                                              : tq_format_name(side.format);
}

void cache_config_print(const struct cache_config *config, char text[CACHE_CONFIG_SIZE])
{
    char options[5][20] = {"", "", "", "", ""};
    if (config->sink_tokens != 0) {
        snprintf(options[0], sizeof options[0], ",sink=%lu", (unsigned long)config->sink_tokens);
    }
    if (config->recent_tokens != 0) {
        snprintf(options[1], sizeof options[1], ",recent=%lu",
                 config->recent_tokens == TQ_NO_RECENT_TOKENS ? 0UL : (unsigned long)config->recent_tokens);
    }
    if (config->flags != 0) {
        snprintf(options[2], sizeof options[2], ",means=%s", word_of(means_words, config->flags));
    }
    if (config->protect != 0) {
        snprintf(options[3], sizeof options[3], ",protect=%lu", (unsigned long)config->protect);
    }
    if (config->effort != 0) {
        snprintf(options[4], sizeof options[4], ",effort=%s", word_of(effort_words, (uint32_t)config->effort));
    }
    snprintf(text, CACHE_CONFIG_SIZE, "k=%s,v=%s%s%s%s%s%s", format_name(config->k), format_name(config->v), options[0],
             options[1], options[2], options[3], options[4]);
}

void cache_config_describe(const struct cache_config *config, tq_cache_desc *desc, tq_layer_formats *layers)
{
    const tq_layer_formats protected_formats = {TQ_FORMAT_TURBO8, TQ_FORMAT_TURBO8};
    const tq_layer_formats other_formats = {config->k.format, config->v.format};
    tq_policy_protect(layers, desc->n_layers, config->protect, protected_formats, other_formats);
    desc->k_format = config->k.format;
    desc->v_format = config->v.format;
    desc->layers = layers;
    desc->sink_tokens = config->sink_tokens;
    desc->recent_tokens = config->recent_tokens;
    desc->flags = config->flags;
    desc->effort = config->effort;
}
