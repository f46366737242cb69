/* SPDX-License-Identifier: MIT */
/* Slots on top of the pool of threads. */
#define _DEFAULT_SOURCE /* _SC_NPROCESSORS_ONLN */
#define _DARWIN_C_SOURCE
#include "threads.h"

#include <stdatomic.h>
#include <unistd.h>

#include "thread_pool.h"

enum { MAX_THREADS = 1024 };

bool threads_start(struct threads *threads, size_t count, struct error *error)
{
    if (count == 0) {
        const long cores = sysconf(_SC_NPROCESSORS_ONLN);
        count = cores > 0 ? (size_t)cores : 1;
    }
    *threads = (struct threads){NULL, count};
    if (count > MAX_THREADS) {
        return error_input(error, "%zu threads are too many", count);
    }
    threads->pool = thread_pool_create(count);
    return threads->pool != NULL || error_run(error, "%zu threads cannot be started", count);
}

void threads_stop(struct threads *threads)
{
    thread_pool_destroy(threads->pool);
    threads->pool = NULL;
}

tq_executor threads_executor(const struct threads *threads)
{
    return (tq_executor){threads->count > 1 ? thread_pool_run : NULL, threads->pool};
}

struct loop {
    slot_task *task;
    void *arg;
    size_t count;
    atomic_size_t next;
};

/* Takes one index after the other until there are none left. */
static void run_slot(void *arg, size_t slot)
{
    struct loop *loop = arg;
    for (size_t index; (index = atomic_fetch_add(&loop->next, 1)) < loop->count;) {
        loop->task(loop->arg, slot, index);
    }
}

void threads_for(const struct threads *threads, slot_task *task, void *arg, size_t count)
{
    struct loop loop = {.task = task, .arg = arg, .count = count};
    const size_t slots = threads->count < count ? threads->count : count;
    if (slots == 1) { /* Not worth waking anybody. */
        run_slot(&loop, 0);
    } else {
        thread_pool_run(threads->pool, run_slot, &loop, slots);
    }
}
