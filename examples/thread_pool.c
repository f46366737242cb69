/* SPDX-License-Identifier: MIT
 *
 * Lends the library a pool of threads, and checks that the bytes do not depend on it. */
#define _POSIX_C_SOURCE 200809L /* barriers */
#include <turboquant.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, DIM = 128, COUNT = 4096 };

typedef struct pool {
    pthread_barrier_t barrier; /* Where the threads and the caller wait before and after the work. */
    tq_task task;              /* Null tells the threads to leave. */
    void *arg;
    size_t count;
    atomic_size_t next;
} pool;

static void *thread(void *user)
{
    pool *p = user;
    while (pthread_barrier_wait(&p->barrier), p->task != NULL) {
        for (size_t index; (index = atomic_fetch_add(&p->next, 1)) < p->count;) {
            p->task(p->arg, index);
        }
        pthread_barrier_wait(&p->barrier);
    }
    return NULL;
}

static void run(void *user, tq_task task, void *arg, size_t count) /* One call at a time: enough for this program. */
{
    pool *p = user;
    p->task = task, p->arg = arg, p->count = count, p->next = 0;
    pthread_barrier_wait(&p->barrier);
    pthread_barrier_wait(&p->barrier);
}

int main(void)
{
    static float x[COUNT][DIM];
    static unsigned char codes[COUNT * DIM], row[DIM];
    for (size_t i = 0; i < COUNT * DIM; i++) {
        x[i / DIM][i % DIM] = (float)rand() / (float)RAND_MAX - 0.5F;
    }
    static pool p;
    pthread_t threads[THREADS];
    int failed = pthread_barrier_init(&p.barrier, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS && !failed; i++) {
        failed = pthread_create(&threads[i], NULL, thread, &p);
    }
    tq_context_desc context_desc = {.struct_size = sizeof context_desc, .executor = {run, &p}};
    tq_codec_desc desc = {.struct_size = sizeof desc, .dim = DIM};
    tq_context *context = NULL;
    tq_codec *codec = NULL;
    if (failed || tq_context_create(&context_desc, &context) || tq_codec_create(context, &desc, &codec)) {
        return 1;
    }
    failed = tq_encode(codec, x, TQ_DTYPE_F32, 0, COUNT, codes, sizeof codes) != TQ_OK || p.count < 2;
    printf("%d vectors in %zu tasks on %d threads\n", COUNT, p.count, THREADS);
    for (size_t i = 0; i < COUNT; i++) { /* One by one, on this thread. */
        failed |= tq_encode(codec, x[i], TQ_DTYPE_F32, 0, 1, row, sizeof row) != TQ_OK ||
                  memcmp(row, codes + i * tq_codec_bytes(codec), tq_codec_bytes(codec)) != 0;
    }
    tq_codec_destroy(codec), tq_context_destroy(context);
    p.task = NULL;
    pthread_barrier_wait(&p.barrier);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    return failed;
}
