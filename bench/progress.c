/* SPDX-License-Identifier: MIT */
/* One line on stderr that says how far a run is. */
#define _POSIX_C_SOURCE 200809L
#include "progress.h"

#include <stdio.h>
#include <unistd.h>

/* ECMA-48: to the start of the line, and erase it. */
#define WIPE "\r\033[K"

struct progress progress_start(void)
{
    return (struct progress){.enabled = isatty(STDERR_FILENO) == 1};
}

void progress_show(const struct progress *progress, const char *stage, size_t done, size_t total)
{
    if (progress->enabled) {
        fprintf(stderr, WIPE "%s: %zu of %zu", stage, done, total);
    }
}

void progress_end(const struct progress *progress)
{
    if (progress->enabled) {
        fputs(WIPE, stderr);
    }
}
