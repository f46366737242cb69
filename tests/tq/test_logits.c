/* SPDX-License-Identifier: MIT
 *
 * test_logits MODEL GOLDEN: the logits of a model against those that model_reference.py computed in double precision,
 * without a cache (f32), with one of f16, cut into steps, and on another number of threads. */
#include "tq_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TOKENS = 256, SKIPPED = 77 /* As CMakeLists.txt knows it. */ };

/* Against double precision; logits are of the size of 10. */
static const double F32_TOLERANCE = 2e-4;
/* Keys and values rounded to f16. */
static const double F16_TOLERANCE = 2e-2;

static struct engine_fixture fixture;
static FILE *golden;
static uint32_t tokens[MAX_TOKENS];
static size_t n_tokens;

/* The line "tokens 1 2 3 ...". */
static void read_tokens(void)
{
    unsigned long token;
    char word[8];
    n_tokens = 0;
    rewind(golden);
    assert_int_equal(fscanf(golden, "%7s", word), 1);
    assert_string_equal(word, "tokens");
    while (fscanf(golden, "%lu", &token) == 1) {
        assert_true(n_tokens < MAX_TOKENS);
        tokens[n_tokens++] = (uint32_t)token;
    }
    assert_true(n_tokens > 0);
}

/* Compares with the lines "logit POSITION TOKEN VALUE" and returns the largest difference. */
static double compare_with_golden(const float *logits)
{
    unsigned long position;
    unsigned long token;
    double value;
    double largest = 0.0;
    size_t n = 0;
    read_tokens();
    for (; fscanf(golden, " logit %lu %lu %lf", &position, &token, &value) == 3; n++) {
        const double difference = fabs((double)logits[position * fixture.model.n_vocabulary + token] - value);
        largest = difference <= largest ? largest : difference;
    }
    assert_true(n >= 100);
    return largest;
}

static void f32_is_golden(void **state)
{
    (void)state;
    struct kv_store *store = fixture_store(&fixture, "f32");
    float *logits = fixture_logits(&fixture, store, tokens, n_tokens, n_tokens);
    const double difference = compare_with_golden(logits);
    print_message("largest difference: %.2e\n", difference);
    assert_true(difference < F32_TOLERANCE);
    free(logits);
    kv_store_destroy(store);
}

static void f16_cache_equals_no_cache(void **state)
{
    (void)state;
    struct kv_store *store = fixture_store(&fixture, "f16");
    float *logits = fixture_logits(&fixture, store, tokens, n_tokens, n_tokens);
    const double difference = compare_with_golden(logits);
    print_message("largest difference: %.2e\n", difference);
    assert_true(difference < F16_TOLERANCE);
    free(logits);
    kv_store_destroy(store);
}

/* Steps of one to three tokens take dot products, longer ones OpenBLAS. */
static void steps_do_not_matter(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 3, 7};
    struct kv_store *store = fixture_store(&fixture, "f32");
    float *whole = fixture_logits(&fixture, store, tokens, n_tokens, n_tokens);
    kv_store_destroy(store);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        store = fixture_store(&fixture, "f32");
        float *cut = fixture_logits(&fixture, store, tokens, n_tokens, steps[i]);
        assert_true(largest_difference(whole, cut, n_tokens * fixture.model.n_vocabulary) < F32_TOLERANCE);
        free(cut);
        kv_store_destroy(store);
    }
    free(whole);
}

/* Tokens that were taken back leave nothing behind. */
static void truncation_is_exact(void **state)
{
    (void)state;
    struct error error;
    static const char *const configs[] = {"f32", "f16"};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct kv_store *store = fixture_store(&fixture, configs[i]);
        float *first = fixture_logits(&fixture, store, tokens, n_tokens, n_tokens);
        assert_ok(store->ops->truncate(store, 0, &error), &error);
        float *second = fixture_logits(&fixture, store, tokens, n_tokens, n_tokens);
        assert_memory_equal(first, second, n_tokens * fixture.model.n_vocabulary * sizeof *first);
        free(first);
        free(second);
        kv_store_destroy(store);
    }
}

static void threads_do_not_matter(void **state)
{
    (void)state;
    struct engine_fixture other;
    fixture_open(&other, fixture.gguf.path, 3);
    struct kv_store *store = fixture_store(&fixture, "f16");
    struct kv_store *other_store = fixture_store(&other, "f16");
    float *logits = fixture_logits(&fixture, store, tokens, n_tokens, n_tokens);
    float *other_logits = fixture_logits(&other, other_store, tokens, n_tokens, n_tokens);
    assert_memory_equal(logits, other_logits, n_tokens * fixture.model.n_vocabulary * sizeof *logits);
    free(logits);
    free(other_logits);
    kv_store_destroy(store);
    kv_store_destroy(other_store);
    fixture_close(&other);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_is_golden),         cmocka_unit_test(f16_cache_equals_no_cache),
        cmocka_unit_test(steps_do_not_matter),   cmocka_unit_test(truncation_is_exact),
        cmocka_unit_test(threads_do_not_matter),
    };
    if (argc != 3 || (golden = fopen(argv[2], "r")) == NULL) {
        fprintf(stderr, "usage: test_logits MODEL GOLDEN\n");
        return 2;
    }
    if (access(argv[1], R_OK) != 0) { /* The larger models are not in the repository. */
        printf("skipped: there is no %s\n", argv[1]);
        fclose(golden);
        return SKIPPED;
    }
    fixture_open(&fixture, argv[1], 1);
    read_tokens();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fixture_close(&fixture);
    fclose(golden);
    return failed;
}
