/* SPDX-License-Identifier: MIT */
/* A pool of threads that take the indices of a task one by one. */
#include "thread_pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

struct thread_pool {
    pthread_mutex_t mutex;
    pthread_cond_t start;
    pthread_cond_t end;
    size_t round; /* Counts calls, so that a thread takes part in each once. */
    size_t busy;  /* Threads that have not finished this round. */
    bool leave;
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

static void *thread(void *user)
{
    struct thread_pool *pool = user;
    size_t round = 0;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (pool->round == round && !pool->leave) {
            pthread_cond_wait(&pool->start, &pool->mutex);
        }
        if (pool->leave) {
            break;
        }
        round = pool->round;
        pthread_mutex_unlock(&pool->mutex);
        work(pool);
        pthread_mutex_lock(&pool->mutex);
        if (--pool->busy == 0) {
            pthread_cond_signal(&pool->end);
        }
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
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
    pthread_mutex_lock(&pool->mutex);
    pool->leave = true;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->mutex);
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
    pthread_mutex_lock(&pool->mutex);
    pool->task = task;
    pool->arg = arg;
    pool->count = count;
    atomic_store(&pool->next, 0);
    pool->busy = pool->threads;
    pool->round++;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->mutex);
    work(pool);
    pthread_mutex_lock(&pool->mutex);
    while (pool->busy != 0) {
        pthread_cond_wait(&pool->end, &pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
}
