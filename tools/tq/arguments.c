/* SPDX-License-Identifier: MIT */
/* Command lines of subcommands. */
#include "arguments.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST = 2 /* After "tq COMMAND". */ };

/* A lone "-" is an argument: the standard input. */
static bool is_option(const char *argument)
{
    return argument[0] == '-' && argument[1] != '\0';
}

/* Takes argv[i] and perhaps argv[i + 1] if they are a --config; returns how many were taken. */
static int take_config(struct arguments *arguments, int argc, char **argv, int i)
{
    static const char name[] = "--config";
    const size_t length = sizeof name - 1;
    if (strncmp(argv[i], name, length) != 0) {
        return 0;
    }
    if (argv[i][length] == '=') {
        arguments->configs[arguments->n_configs++] = argv[i] + length + 1;
        return 1;
    }
    if (argv[i][length] == '\0' && i + 1 < argc) {
        arguments->configs[arguments->n_configs++] = argv[i + 1];
        return 2;
    }
    return 0;
}

static bool parse(struct arguments *arguments, int argc, char **argv, const struct option *options, struct error *error)
{
    char **rest = calloc((size_t)argc, sizeof *rest);
    int n_rest = 0;
    int i = FIRST;
    if (rest == NULL || arguments->configs == NULL) {
        free(rest);
        return error_run(error, "not enough memory");
    }
    for (; i < argc && !is_option(argv[i]) && arguments->n_unnamed < MAX_UNNAMED; i++) {
        arguments->unnamed[arguments->n_unnamed++] = argv[i];
    }
    while (i < argc) {
        const int taken = take_config(arguments, argc, argv, i);
        if (taken == 0) {
            rest[n_rest++] = argv[i];
        }
        i += taken > 0 ? taken : 1;
    }
    error->exit_code = EXIT_INPUT;
    const bool ok = options_parse(n_rest, rest, 0, options, error->line, sizeof error->line);
    free(rest);
    return ok;
}

static bool is_help(int argc, char **argv)
{
    for (int i = FIRST; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            return true;
        }
    }
    return false;
}

bool arguments_parse(struct arguments *arguments, int argc, char **argv, const struct command_line *line,
                     int *exit_code)
{
    struct error error;
    *arguments = (struct arguments){.n_unnamed = 0};
    if (is_help(argc, argv)) {
        fputs(line->usage, stdout);
        *exit_code = 0;
        return false;
    }
    arguments->configs = calloc((size_t)argc, sizeof *arguments->configs);
    bool ok = parse(arguments, argc, argv, line->options, &error);
    if (ok && (arguments->n_unnamed < line->min_unnamed || arguments->n_unnamed > line->max_unnamed ||
               arguments->n_configs > line->max_configs)) {
        ok = error_input(&error, "%s (--help says more)", line->takes);
    }
    if (!ok) {
        arguments_free(arguments);
        *exit_code = error_report(&error);
    }
    return ok;
}

void arguments_free(struct arguments *arguments)
{
    free(arguments->configs);
    *arguments = (struct arguments){.n_unnamed = 0};
}

bool arguments_real(const char *name, const char *value, float *number, struct error *error)
{
    if (value == NULL) {
        return true;
    }
    char *end;
    *number = strtof(value, &end);
    return (end != value && *end == '\0' && isfinite(*number)) ||
           error_input(error, "%s needs a number, not '%s'", name, value);
}

bool arguments_numbers(const char *name, const char *value, size_t least, size_t most, size_t *numbers, size_t *n,
                       struct error *error)
{
    if (value == NULL) {
        return true;
    }
    *n = 0;
    for (const char *at = value; *at != '\0' || *n == 0;) {
        char *end;
        const unsigned long long number = *at >= '0' && *at <= '9' ? strtoull(at, &end, 10) : 0;
        if (*at < '0' || *at > '9' || number < least || number > most || *n == MAX_NUMBERS ||
            (*end != '\0' && (*end != ',' || end[1] == '\0'))) {
            return error_input(error, "%s needs up to %d numbers from %zu to %zu with commas between them, not '%s'",
                               name, MAX_NUMBERS, least, most, value);
        }
        numbers[(*n)++] = (size_t)number;
        at = *end == ',' ? end + 1 : end;
    }
    return true;
}
