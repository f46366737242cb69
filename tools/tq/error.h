/* SPDX-License-Identifier: MIT */
/* What went wrong, as one line for people, and the exit code that follows from it. */
#ifndef TQ_TOOL_ERROR_H
#define TQ_TOOL_ERROR_H

#include <stdbool.h>

enum {
    EXIT_RUN = 1,  /* It could not be done: out of memory, a file that cannot be written. */
    EXIT_INPUT = 2 /* A command line or a file that cannot be used. */
};

struct error {
    int exit_code;
    char line[512];
};

/* Both return false, so that a caller can `return error_input(...)`. Bytes that no terminal should see become '?'. */
bool error_input(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool error_run(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints "tq: LINE" to stderr and returns the exit code. */
int error_report(const struct error *error);

#endif /* TQ_TOOL_ERROR_H */
