/* SPDX-License-Identifier: MIT */
/* Command lines of subcommands. */
#include "arguments.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

bool arguments_parse(struct arguments *arguments, int argc, char **argv, int first, const struct option *options,
                     struct error *error)
{
    char **rest = calloc((size_t)argc, sizeof *rest);
    int n_rest = 0;
    int i = first;
    *arguments = (struct arguments){.configs = calloc((size_t)argc, sizeof *arguments->configs)};
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
