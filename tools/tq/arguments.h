/* SPDX-License-Identifier: MIT */
/* What subcommands take beyond the options of bench/options.h: arguments without a name, which come first; --config,
 * which may be given several times; real numbers and lists. */
#ifndef TQ_TOOL_ARGUMENTS_H
#define TQ_TOOL_ARGUMENTS_H

#include <stddef.h>

#include "error.h"
#include "options.h"

enum { MAX_UNNAMED = 4, MAX_NUMBERS = 32 /* In one option. */ };

struct arguments {
    const char *unnamed[MAX_UNNAMED];
    size_t n_unnamed;
    const char **configs; /* Values of --config. */
    size_t n_configs;
};

/* What a subcommand takes. */
struct command_line {
    const char *usage; /* Printed for --help. */
    const char *takes; /* "ppl takes MODEL and TEXT", said to who gives something else. */
    size_t min_unnamed;
    size_t max_unnamed;
    size_t max_configs;
    const struct option *options;
};

enum { ANY_CONFIGS = 1 << 16 };

/* Reads argv[2], argv[3], ... If it returns false, the command has ended with *exit_code: --help was printed, or what
 * is wrong. Options that can stand alone still have their values. */
bool arguments_parse(struct arguments *arguments, int argc, char **argv, const struct command_line *line,
                     int *exit_code);

void arguments_free(struct arguments *arguments);

/* The value of option `name`; null leaves `number` alone. */
bool arguments_real(const char *name, const char *value, float *number, struct error *error);

/* Values of option `name`, numbers with commas between them, each from `least` to `most`; null leaves `numbers` alone.
 */
bool arguments_numbers(const char *name, const char *value, size_t least, size_t most, size_t *numbers, size_t *n,
                       struct error *error);

#endif /* TQ_TOOL_ARGUMENTS_H */
