/* SPDX-License-Identifier: MIT */
/* What subcommands take beyond the options of bench/options.h: arguments without a name, which come first; --config,
 * which may be given several times; and real numbers. */
#ifndef TQ_TOOL_ARGUMENTS_H
#define TQ_TOOL_ARGUMENTS_H

#include <stddef.h>

#include "error.h"
#include "options.h"

enum { MAX_UNNAMED = 4 };

struct arguments {
    const char *unnamed[MAX_UNNAMED];
    size_t n_unnamed;
    const char **configs; /* Values of --config. */
    size_t n_configs;
};

/* Reads argv[first], argv[first + 1], ...; the other options go where `options` says. */
bool arguments_parse(struct arguments *arguments, int argc, char **argv, int first, const struct option *options,
                     struct error *error);

void arguments_free(struct arguments *arguments);

/* The value of option `name`; null leaves `number` alone. */
bool arguments_real(const char *name, const char *value, float *number, struct error *error);

#endif /* TQ_TOOL_ARGUMENTS_H */
