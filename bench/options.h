/* SPDX-License-Identifier: MIT */
/* Command lines: long options, described by a table, so that every subcommand of tq_bench parses in the same way. */
#ifndef TQ_BENCH_OPTIONS_H
#define TQ_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct option {
    const char *name; /* With its dashes: "--seed". The table ends with a null name. */
    /* Where the value goes; exactly one is set. `flag` takes none. */
    const char **text;
    uint64_t *number;
    bool *flag;
};

/* Reads argv[first], argv[first + 1], ...: "--name VALUE", "--name=VALUE" or "--name". On failure returns false and
 * writes one sentence to `error`. */
bool options_parse(int argc, char **argv, int first, const struct option *options, char *error, size_t error_size);

/* A number as options take it: decimal, or hexadecimal after 0x. */
bool options_number(const char *text, uint64_t *number);

#endif /* TQ_BENCH_OPTIONS_H */
