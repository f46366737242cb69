/* SPDX-License-Identifier: MIT */
/* A pool of threads that take the indices of a task one by one. Who waits looks for a while before going to sleep:
 * steps of attention follow each other in microseconds, and waking a thread takes as many. */
#include "thread_pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { LOOKS = 1 << 15 };

struct thread_pool {
    pthread_mutex_t mutex;
    pthread_cond_t start;
    pthread_cond_t end;
    atomic_size_t round; /* Counts calls, so that a thread takes part in each once; and the end of the pool. */
    atomic_size_t busy;  /* Threads that have not finished this round. */
    bool leave;
    bool alone;
    tq_task task;
    void *arg;
    size_t count;
    atomic_size_t next;
    size_t threads; /* Started ones. */
    pthread_t ids[];
};

static void work(struct thread_pool *pool)
{
    for (size_t index; (index = atomic_fetch_add(&pool->next, 1)) < pool->count;) {
        pool->task(pool->arg, index);
    }
}

/* Waits while `counter` is `value`, or, not `same`, while it is not. */
static void wait_while(struct thread_pool *pool, pthread_cond_t *cond, atomic_size_t *counter, size_t value, bool same)
{
    for (size_t i = 0; i < LOOKS; i++) {
        if ((atomic_load(counter) == value) != same) {
            return;
        }
    }
    pthread_mutex_lock(&pool->mutex);
    while ((atomic_load(counter) == value) == same) {
        pthread_cond_wait(cond, &pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
}

static void next_round(struct thread_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->round, 1);
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->mutex);
}

static void *thread(void *user)
{
    struct thread_pool *pool = user;
    for (size_t round = 0;; round++) {
        wait_while(pool, &pool->start, &pool->round, round, true);
        if (pool->leave) {
            return NULL;
        }
        work(pool);
        if (atomic_fetch_sub(&pool->busy, 1) == 1) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_signal(&pool->end);
            pthread_mutex_unlock(&pool->mutex);
        }
    }
}

struct thread_pool *thread_pool_create(size_t threads)
{
    struct thread_pool *pool = calloc(1, sizeof *pool + threads * sizeof *pool->ids);
    if (pool == NULL) {
        return NULL;
    }
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->start, NULL);
    pthread_cond_init(&pool->end, NULL);
    for (; pool->threads + 1 < threads; pool->threads++) {
        if (pthread_create(&pool->ids[pool->threads], NULL, thread, pool) != 0) {
            thread_pool_destroy(pool);
            return NULL;
        }
    }
    return pool;
}

void thread_pool_destroy(struct thread_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pool->leave = true;
    next_round(pool);
    for (size_t i = 0; i < pool->threads; i++) {
        pthread_join(pool->ids[i], NULL);
    }
    pthread_cond_destroy(&pool->end);
    pthread_cond_destroy(&pool->start);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

void thread_pool_run(void *user, tq_task task, void *arg, size_t count)
{
    struct thread_pool *pool = user;
    pool->task = task;
    pool->arg = arg;
    pool->count = count;
    atomic_store(&pool->next, 0);
    if (pool->alone) {
        work(pool);
        return;
    }
    atomic_store(&pool->busy, pool->threads);
    next_round(pool);
    work(pool);
    wait_while(pool, &pool->end, &pool->busy, 0, false);
}

void thread_pool_set_alone(struct thread_pool *pool, bool alone)
{
    pool->alone = alone;
}
