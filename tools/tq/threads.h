/* SPDX-License-Identifier: MIT */
/* The engine's threads. The library gets them as its executor; the engine's own loops give every thread a slot, which
 * names its scratch memory. */
#ifndef TQ_TOOL_THREADS_H
#define TQ_TOOL_THREADS_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"
#include "turboquant.h"

struct threads {
    struct thread_pool *pool;
    size_t count;
};

/* `count` includes the calling thread; 0 means one per core. */
bool threads_start(struct threads *threads, size_t count, struct error *error);

void threads_stop(struct threads *threads);

/* For tq_context_desc. With one thread, the library works on the calling thread without asking. */
tq_executor threads_executor(const struct threads *threads);

/* Work on index 0..count-1, in slot 0..threads->count-1. */
typedef void slot_task(void *arg, size_t slot, size_t index);

/* Calls task(arg, slot, index) once for every index. No two calls run in one slot at the same time. */
void threads_for(const struct threads *threads, slot_task *task, void *arg, size_t count);

#endif /* TQ_TOOL_THREADS_H */
