/* SPDX-License-Identifier: MIT */
/* One line on stderr that says how far a run is; only on a terminal. */
#ifndef TQ_BENCH_PROGRESS_H
#define TQ_BENCH_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

struct progress {
    bool enabled;
};

/* Enabled if stderr is a terminal. */
struct progress progress_start(void);

/* Shows "stage: done of total", over what was shown before. */
void progress_show(const struct progress *progress, const char *stage, size_t done, size_t total);

/* Wipes the line. */
void progress_end(const struct progress *progress);

#endif /* TQ_BENCH_PROGRESS_H */
