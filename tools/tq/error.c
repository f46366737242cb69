/* SPDX-License-Identifier: MIT */
/* One line about what went wrong. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

void error_set(struct error *error, int exit_code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    error->exit_code = exit_code;
    vsnprintf(error->line, sizeof error->line, format, arguments);
    va_end(arguments);
    for (char *c = error->line; *c != '\0'; c++) { /* Names in a hostile file may hold anything. */
        if (*c < ' ' || *c > '~') {
            *c = '?';
        }
    }
}

int error_report(const struct error *error)
{
    fprintf(stderr, "tq: %s\n", error->line);
    return error->exit_code;
}
