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

/* error_input(error, format, ...) and error_run(...) set the error and are false, so that a caller can return them.
 * Bytes that no terminal should see become '?'. */
#define error_input(error, ...) (error_set((error), EXIT_INPUT, __VA_ARGS__), false)
#define error_run(error, ...)   (error_set((error), EXIT_RUN, __VA_ARGS__), false)
void error_set(struct error *error, int exit_code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Prints "tq: LINE" to stderr and returns the exit code. */
int error_report(const struct error *error);

#endif /* TQ_TOOL_ERROR_H */
