/* SPDX-License-Identifier: MIT
 *
 * test_generation MODEL: steps, saving and sampling with compressed caches. */
#define _POSIX_C_SOURCE 200809L
#include "tq_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "divergence.h"
#include "sampler.h"
#include "saved_run.h"

enum { N_PROMPT = 200, N_FIRST = 30, N_SECOND = 70 };

static struct engine_fixture fixture;

static const char *const configs[] = {"f16", "turbo4t", "k=turbo4t,v=turbo3t,sink=4,recent=64,means=on,protect=2",
                                      "turbo2,recent=0,means=off", "turbo1,sink=64,recent=10,means=k,effort=fast"};

/* Tokens that mean nothing, but the same whenever they are asked for. */
static void fill_tokens(uint32_t *tokens, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        tokens[i] = (uint32_t)(i * i * 31 + i * 7) % fixture.model.n_vocabulary;
    }
}

/* What a configuration sees depends on positions alone, so steps change only the rounding of matrix products. A cache
 * of few bits may round a coordinate the other way then, so its predictions are compared, not its logits. */
static void steps_do_not_matter(void **state)
{
    (void)state;
    uint32_t tokens[N_PROMPT + 1];
    struct error error;
    fill_tokens(tokens, N_PROMPT + 1);
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct divergence divergence;
        struct kv_store *whole_store = fixture_store(&fixture, configs[i]);
        struct kv_store *cut_store = fixture_store(&fixture, configs[i]);
        float *whole = fixture_logits(&fixture, whole_store, tokens, N_PROMPT, N_PROMPT);
        float *cut = fixture_logits(&fixture, cut_store, tokens, N_PROMPT, i % 2 == 0 ? 1 : 5);
        assert_ok(divergence_create(&divergence, N_PROMPT, &error), &error);
        divergence_add(&divergence, &fixture.threads, whole, cut, tokens + 1, N_PROMPT, fixture.model.n_vocabulary);
        const struct divergence_summary summary = divergence_summarise(&divergence);
        print_message("%s: KL %.2e\n", configs[i], summary.kl_mean);
        assert_true(summary.kl_mean < 1e-3);
        assert_int_equal(whole_store->ops->bytes(whole_store), cut_store->ops->bytes(cut_store));
        divergence_destroy(&divergence);
        free(whole);
        free(cut);
        kv_store_destroy(whole_store);
        kv_store_destroy(cut_store);
    }
}

/* Generates n tokens, each with its logits' choice. */
static void generate(struct kv_store *store, struct sampler *sampler, struct tokens *tokens, size_t n)
{
    struct error error;
    float *logits = malloc(fixture.model.n_vocabulary * sizeof *logits);
    assert_non_null(logits);
    for (size_t i = 0; i < n; i++) {
        assert_ok(engine_forward(&fixture.engine, store, tokens->ids + store->n_tokens, tokens->n - store->n_tokens,
                                 ENGINE_LAST_LOGITS, logits, &error),
                  &error);
        assert_ok(tokens_append(tokens, sampler_choose(sampler, logits, tokens->n), &error), &error);
    }
    free(logits);
}

static void saved_generation_goes_on(void **state)
{
    (void)state;
    char path[] = "/tmp/tq_test_generation_XXXXXX";
    struct sampler sampler;
    struct error error;
    const int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    assert_ok(sampler_create(&sampler, 0.9F, 50, 0.95F, 11, fixture.model.n_vocabulary, &error), &error);
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct tokens tokens = {NULL, 0, 0};
        struct tokens loaded = {NULL, 0, 0};
        for (uint32_t t = 0; t < N_PROMPT; t++) {
            assert_ok(tokens_append(&tokens, t * 13 % fixture.model.n_vocabulary, &error), &error);
        }
        struct kv_store *store = fixture_store(&fixture, configs[i]);
        generate(store, &sampler, &tokens, N_FIRST);
        assert_ok(saved_run_write(path, store, &tokens, &error), &error);
        struct kv_store *other = saved_run_read(path, &fixture.model, &fixture.threads, &loaded, &error);
        assert_ok(other != NULL, &error);
        assert_int_equal(other->n_tokens, store->n_tokens);
        assert_int_equal(other->ops->bytes(other), store->ops->bytes(store));
        generate(store, &sampler, &tokens, N_SECOND);
        generate(other, &sampler, &loaded, N_SECOND);
        assert_int_equal(tokens.n, loaded.n);
        assert_memory_equal(tokens.ids, loaded.ids, tokens.n * sizeof *tokens.ids);
        kv_store_destroy(store);
        kv_store_destroy(other);
        tokens_free(&tokens);
        tokens_free(&loaded);
    }
    sampler_destroy(&sampler);
    remove(path);
}

/* Where top-k and top-p leave one token, and how often the others come. */
static void sampling(void **state)
{
    (void)state;
    const float logits[4] = {1.0F, 3.0F, 2.0F, -100.0F};
    struct sampler sampler;
    struct error error;
    size_t counts[4] = {0};
    enum { DRAWS = 20000 };
    assert_ok(sampler_create(&sampler, 0.0F, 0, 1.0F, 5, 4, &error), &error);
    assert_int_equal(sampler_choose(&sampler, logits, 0), 1);
    sampler.temperature = 1.0F;
    for (size_t i = 0; i < DRAWS; i++) {
        counts[sampler_choose(&sampler, logits, i)]++;
    }
    const double sum = exp(1.0) + exp(2.0) + exp(3.0);
    for (size_t i = 0; i < 3; i++) { /* Five standard errors. */
        const double p = exp((double)logits[i]) / sum;
        assert_true(fabs((double)counts[i] - p * DRAWS) < 5.0 * sqrt(p * (1.0 - p) * DRAWS));
    }
    assert_int_equal(counts[3], 0);
    sampler.top_k = 2;
    for (size_t i = 0; i < 1000; i++) {
        assert_true(sampler_choose(&sampler, logits, i) % 3 != 0);
    }
    sampler.top_k = 0;
    sampler.top_p = 0.6F; /* The first one has 0.67. */
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(sampler_choose(&sampler, logits, i), 1);
    }
    sampler_destroy(&sampler);
    assert_false(sampler_create(&sampler, -1.0F, 0, 1.0F, 0, 4, &error));
    assert_false(sampler_create(&sampler, 1.0F, 0, 0.0F, 0, 4, &error));
}

static void configurations(void **state)
{
    (void)state;
    static const char *const good[] = {"k=turbo4t,v=turbo3t,sink=4,recent=64,means=off,protect=2,effort=best",
                                       "k=q8_0,v=q4_0", "k=f32,v=q4_0-rot", "k=f16,v=default,recent=0,means=k"};
    static const char *const bad[] = {
        "",     "turbo5",  "k=",      "sink=65",     "recent=-1",       "k=q8_0",
        "f32,", ",",       "means=x", "q8_0,sink=4", "k=turbo4,v=q8_0", "protect=99999999999",
        "x=y",  "sink=4 ", "=",       "effort=",     "k=turbo4t,,v=f16"};
    struct cache_config config;
    struct error error;
    char text[CACHE_CONFIG_SIZE];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_ok(cache_config_parse(good[i], &config, &error), &error);
        cache_config_print(&config, text);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (cache_config_parse(bad[i], &config, &error)) {
            fail_msg("'%s' was taken", bad[i]);
        }
        assert_int_equal(error.exit_code, EXIT_INPUT);
    }
}

/* A step that fails leaves the sequence as it was. */
static void failed_steps_leave_nothing(void **state)
{
    (void)state;
    struct error error;
    uint32_t tokens[N_PROMPT];
    fill_tokens(tokens, N_PROMPT);
    struct kv_store *store = fixture_store(&fixture, "turbo4t");
    float *logits = fixture_logits(&fixture, store, tokens, 10, 10);
    tokens[N_PROMPT - 1] = fixture.model.n_vocabulary;
    assert_false(engine_forward(&fixture.engine, store, tokens, N_PROMPT, ENGINE_NO_LOGITS, NULL, &error));
    assert_int_equal(store->n_tokens, 10);
    free(logits);
    kv_store_destroy(store);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_do_not_matter), cmocka_unit_test(saved_generation_goes_on),   cmocka_unit_test(sampling),
        cmocka_unit_test(configurations),      cmocka_unit_test(failed_steps_leave_nothing),
    };
    if (argc != 2) {
        fprintf(stderr, "usage: test_generation MODEL\n");
        return 2;
    }
    fixture_open(&fixture, argv[1], 2);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fixture_close(&fixture);
    return failed;
}
