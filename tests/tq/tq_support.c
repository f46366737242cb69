/* SPDX-License-Identifier: MIT
 *
 * What the tests of the tool share. */
#include "tq_support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void support_assert_ok(bool ok, const struct error *error, const char *call, const char *file, int line)
{
    if (!ok) {
        print_error("%s: %s\n", call, error->line);
        _fail(file, line);
    }
}

void fixture_open(struct engine_fixture *fixture, const char *path, size_t n_threads)
{
    struct error error;
    memset(fixture, 0, sizeof *fixture);
    assert_ok(gguf_open(&fixture->gguf, path, &error), &error);
    assert_ok(model_load(&fixture->model, &fixture->gguf, &error), &error);
    assert_ok(threads_start(&fixture->threads, n_threads, &error), &error);
    assert_ok(engine_create(&fixture->engine, &fixture->model, &fixture->threads, &error), &error);
}

void fixture_close(struct engine_fixture *fixture)
{
    engine_destroy(&fixture->engine);
    threads_stop(&fixture->threads);
    model_free(&fixture->model);
    gguf_close(&fixture->gguf);
}

struct kv_store *fixture_store(const struct engine_fixture *fixture, const char *config)
{
    struct cache_config parsed;
    struct error error;
    assert_ok(cache_config_parse(config, &parsed, &error), &error);
    struct kv_store *store = kv_store_create(&parsed, &fixture->model, &fixture->threads, &error);
    assert_ok(store != NULL, &error);
    return store;
}

float *fixture_logits(struct engine_fixture *fixture, struct kv_store *store, const uint32_t *tokens, size_t n,
                      size_t step)
{
    const size_t n_vocabulary = fixture->model.n_vocabulary;
    float *logits = malloc(n * n_vocabulary * sizeof *logits);
    struct error error;
    assert_non_null(logits);
    for (size_t done = 0; done < n; done += step) {
        const size_t count = n - done < step ? n - done : step;
        assert_ok(engine_forward(&fixture->engine, store, tokens + done, count, ENGINE_ALL_LOGITS,
                                 logits + done * n_vocabulary, &error),
                  &error);
    }
    assert_int_equal(store->n_tokens, n);
    return logits;
}

double largest_difference(const float *a, const float *b, size_t n)
{
    double largest = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double difference = fabs((double)a[i] - (double)b[i]);
        if (!(difference <= largest)) { /* NaN stays. */
            largest = difference;
        }
    }
    return largest;
}
