/* SPDX-License-Identifier: MIT
 *
 * test_memory MODEL: what a process takes for a long generation is what tq_cache_estimate says, beside what it takes
 * for a short one: weights, activations, threads. */
#define _POSIX_C_SOURCE 200809L
#include "tq_support.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHORT = 1024, LONG = 8000, SINGLE_STEPS = 400, PROMPT_STEP = 512 };

static const double TOLERANCE = 0.02;

/* What tq_cache_estimate leaves out of a page and layer: its struct, and what malloc adds to that and to the codes. For
 * the two KV heads of the small model that is up to 3 % of a page, for eight of 128 coordinates below 1 %. */
enum { PAGE_OVERHEAD = 320 };

static struct engine_fixture fixture;

/* Memory of this process, counted page by page: the counters of /proc/self/statm lag behind. 0 if nobody tells. */
static size_t resident_bytes(void)
{
    char line[256];
    unsigned long kib = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL && sscanf(line, "Rss: %lu", &kib) != 1) {
    }
    if (file != NULL) {
        fclose(file);
    }
    return (size_t)kib << 10;
}

/* Freed memory goes back to the system, so that what comes next is not hidden in it. */
static void destroy(struct kv_store *store)
{
    kv_store_destroy(store);
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
}

/* Up to n tokens: a prompt, and then one by one. */
static void advance(struct kv_store *store, size_t n)
{
    struct error error;
    while (store->n_tokens < n) {
        uint32_t tokens[PROMPT_STEP];
        const size_t left = n - store->n_tokens;
        const size_t prompt = left > SINGLE_STEPS ? left - SINGLE_STEPS : 1;
        const size_t count = prompt < PROMPT_STEP ? prompt : PROMPT_STEP;
        for (size_t i = 0; i < count; i++) {
            tokens[i] = (uint32_t)((store->n_tokens + i) * 7919 % fixture.model.n_vocabulary);
        }
        assert_ok(engine_forward(&fixture.engine, store, tokens, count, ENGINE_NO_LOGITS, NULL, &error), &error);
    }
}

/* All weights, and activations of whole chunks: what is there before any cache. */
static void warm_up(void)
{
    struct error error;
    struct kv_store *store = fixture_store(&fixture, "f16");
    const uint32_t token = 0;
    float *logits = malloc(fixture.model.n_vocabulary * sizeof *logits);
    assert_non_null(logits);
    advance(store, SHORT);
    assert_ok(engine_forward(&fixture.engine, store, &token, 1, ENGINE_LAST_LOGITS, logits, &error), &error);
    free(logits);
    destroy(store);
}

static void resident_memory_is_the_estimate(void **state)
{
    (void)state;
    static const char *const configs[] = {"f16", "turbo4t", "k=turbo3,v=turbo2t,recent=0", "turbo2,means=off"};
    if (resident_bytes() == 0) {
        skip();
    }
    warm_up();
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct cache_config config;
        struct error error;
        size_t estimates[2];
        assert_ok(cache_config_parse(configs[i], &config, &error), &error);
        assert_ok(kv_store_estimate(&config, &fixture.model, SHORT, &estimates[0], &error), &error);
        assert_ok(kv_store_estimate(&config, &fixture.model, LONG, &estimates[1], &error), &error);
        struct kv_store *store = fixture_store(&fixture, configs[i]);
        advance(store, SHORT);
        assert_int_equal(store->ops->bytes(store), estimates[0]);
        const size_t before = resident_bytes();
        advance(store, LONG);
        assert_int_equal(store->ops->bytes(store), estimates[1]);
        const double grown = (double)resident_bytes() - (double)before;
        const double expected = (double)estimates[1] - (double)estimates[0];
        print_message("%s: %.0f KiB more, %.0f estimated\n", configs[i], grown / 1024.0, expected / 1024.0);
        const double overhead = (double)PAGE_OVERHEAD * (LONG - SHORT) / TQ_PAGE_TOKENS * fixture.model.n_layers;
        assert_true(grown > (1.0 - TOLERANCE) * expected && grown < (1.0 + TOLERANCE) * expected + overhead);
        destroy(store);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(resident_memory_is_the_estimate)};
    if (argc != 2) {
        fprintf(stderr, "usage: test_memory MODEL\n");
        return 2;
    }
    fixture_open(&fixture, argv[1], 1); /* With more, the library keeps some memory for joining their work. */
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fixture_close(&fixture);
    return failed;
}
