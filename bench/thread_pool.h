/* SPDX-License-Identifier: MIT */
/* Threads to lend to the library and to the baselines. */
#ifndef TQ_BENCH_THREAD_POOL_H
#define TQ_BENCH_THREAD_POOL_H

#include <stdbool.h>

#include "turboquant.h"

struct thread_pool;

/* `threads` counts the thread that calls thread_pool_run; 1 starts none. Null if memory or threads ran out. */
struct thread_pool *thread_pool_create(size_t threads);

void thread_pool_destroy(struct thread_pool *pool);

/* tq_executor.run; `user` is the pool. One call at a time. */
void thread_pool_run(void *user, tq_task task, void *arg, size_t count);

/* While `alone`, calls are worked on by the calling thread only. */
void thread_pool_set_alone(struct thread_pool *pool, bool alone);

#endif /* TQ_BENCH_THREAD_POOL_H */
