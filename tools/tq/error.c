/* SPDX-License-Identifier: MIT */
/* One line about what went wrong. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

static void set(struct error *error, int exit_code, const char *format, va_list arguments)
{
    error->exit_code = exit_code;
    vsnprintf(error->line, sizeof error->line, format, arguments);
    for (char *c = error->line; *c != '\0'; c++) { /* Names in a hostile file may hold anything. */
        if (*c < ' ' || *c > '~') {
            *c = '?';
        }
    }
}

bool error_input(struct error *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set(error, EXIT_INPUT, format, arguments);
    va_end(arguments);
    return false;
}

bool error_run(struct error *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set(error, EXIT_RUN, format, arguments);
    va_end(arguments);
    return false;
}

int error_report(const struct error *error)
{
    fprintf(stderr, "tq: %s\n", error->line);
    return error->exit_code;
}
