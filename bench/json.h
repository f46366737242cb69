/* SPDX-License-Identifier: MIT */
/* Pieces of JSON that several subcommands write. */
#ifndef TQ_BENCH_JSON_H
#define TQ_BENCH_JSON_H

#include <stdio.h>

#include "machine.h"

/* Text in quotes. */
void json_string(FILE *out, const char *text);

/* A line each, with a comma: a key with a text, and the key "machine". */
void json_text(FILE *out, const char *indent, const char *key, const char *text);
void json_machine(FILE *out, const char *indent, const struct machine *machine);

#endif /* TQ_BENCH_JSON_H */
