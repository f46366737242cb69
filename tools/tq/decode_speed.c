/* SPDX-License-Identifier: MIT */
/* Tokens per second of single steps. What is fed is the text itself: the time does not depend on what is predicted. It
 * is the time of the processor, so that what else the machine does counts less. */
#define _POSIX_C_SOURCE 200809L
#include "decode_speed.h"

#include <stdlib.h>
#include <time.h>

#include "progress.h"

enum { FIRST_CONTEXT = 256, ROUNDS = 21 };

struct measurement {
    struct decode_speed *speed;
    struct session *session;
    const struct tokens *tokens;
    struct kv_store *stores[SPEED_MAX_CONFIGS];
    float *logits;
};

void decode_speed_contexts(struct decode_speed *speed, const struct session *session, const struct tokens *tokens)
{
    const size_t longest =
        tokens->n < session->model.context_length ? tokens->n : (size_t)session->model.context_length;
    speed->n_contexts = 0;
    for (size_t n = FIRST_CONTEXT; n <= longest && speed->n_contexts < SPEED_MAX_CONTEXTS; n *= 2) {
        speed->contexts[speed->n_contexts++] = n;
    }
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Of all threads: those that wait for others look for work all the time. */
static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Up to `n` tokens in all; the seconds it took are added. */
static bool advance(const struct measurement *m, size_t config, size_t n, double *seconds, struct error *error)
{
    struct kv_store *store = m->stores[config];
    const size_t done = store->n_tokens;
    const double begin = processor_seconds();
    const bool ok = engine_forward(&m->session->engine, store, m->tokens->ids + done, n - done, ENGINE_LAST_LOGITS,
                                   m->logits, error);
    *seconds += (processor_seconds() - begin) / (double)m->session->threads.count;
    return ok;
}

/* The steps that lead up to `n_tokens`. */
static bool measure_context(const struct measurement *m, size_t context, struct error *error)
{
    double seconds[SPEED_MAX_CONFIGS][ROUNDS] = {{0.0}};
    double ignored = 0.0;
    const size_t n_tokens = m->speed->contexts[context];
    for (size_t i = 0; i < m->speed->n_configs; i++) {
        if (!advance(m, i, n_tokens - ROUNDS, &ignored, error)) {
            return false;
        }
    }
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < m->speed->n_configs; i++) {
            if (!advance(m, i, n_tokens - ROUNDS + round + 1, &seconds[i][round], error)) {
                return false;
            }
        }
    }
    for (size_t i = 0; i < m->speed->n_configs; i++) {
        qsort(seconds[i], ROUNDS, sizeof **seconds, ascending);
        m->speed->per_second[i][context] = 1.0 / seconds[i][ROUNDS / 2];
    }
    return true;
}

static bool measure(struct measurement *m, struct error *error)
{
    const struct progress progress = progress_start();
    bool ok = m->logits != NULL || error_run(error, "not enough memory");
    for (size_t i = 0; i < m->speed->n_configs && ok; i++) {
        struct cache_config config;
        ok = cache_config_parse(m->speed->configs[i], &config, error);
        m->stores[i] = ok ? kv_store_create(&config, &m->session->model, &m->session->threads, error) : NULL;
        ok = m->stores[i] != NULL;
    }
    for (size_t i = 0; i < m->speed->n_contexts && ok; i++) {
        progress_show(&progress, "contexts", i, m->speed->n_contexts);
        ok = measure_context(m, i, error);
    }
    progress_end(&progress);
    return ok;
}

bool decode_speed_measure(struct decode_speed *speed, struct session *session, const struct tokens *tokens,
                          struct error *error)
{
    struct measurement m = {.speed = speed,
                            .session = session,
                            .tokens = tokens,
                            .logits = malloc(session->model.n_vocabulary * sizeof(float))};
    const bool ok = measure(&m, error);
    for (size_t i = 0; i < speed->n_configs; i++) {
        kv_store_destroy(m.stores[i]);
    }
    free(m.logits);
    return ok;
}
