/* SPDX-License-Identifier: MIT
 *
 * test_gguf MODEL: damaged files are refused with one line, or make a model that can be used; nothing is read outside
 * of the file. */
#include "tq_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRUNCATIONS = 4096 };

#if defined(TQ_QUICK)
enum { FLIPS = 3000 };
#else
enum { FLIPS = 10000 };
#endif

static const uint8_t *original;
static size_t original_size;
static size_t metadata_size; /* Up to the data of the tensors. */

static struct threads threads;

/* A few tokens through the model. */
static bool predict(const struct model *model, const struct tokenizer *tokenizer, struct error *error)
{
    static const char text[] = "Hello, world 42";
    struct tokens tokens = {NULL, 0, 0};
    struct cache_config config;
    struct engine engine;
    struct kv_store *store = NULL;
    bool ok = cache_config_parse("turbo4", &config, error) && engine_create(&engine, model, &threads, error);
    if (ok) {
        store = kv_store_create(&config, model, &threads, error);
        float *logits = malloc(model->n_vocabulary * sizeof *logits);
        assert_non_null(logits);
        ok = store != NULL && tokenizer_encode(tokenizer, text, strlen(text), &tokens, error) &&
             engine_forward(&engine, store, tokens.ids, tokens.n, ENGINE_LAST_LOGITS, logits, error);
        free(logits);
        engine_destroy(&engine);
    }
    kv_store_destroy(store);
    tokens_free(&tokens);
    return ok;
}

/* The whole way of a file. Returns false if it was refused, in the one way that is allowed. */
static bool use(const uint8_t *bytes, size_t size)
{
    struct gguf gguf = {0};
    struct model model = {.n_layers = 0};
    struct tokenizer tokenizer = {.n_tokens = 0};
    struct error error = {0, ""};
    const bool ok = gguf_parse(&gguf, "file", bytes, size, &error) && model_load(&model, &gguf, &error) &&
                    tokenizer_load(&tokenizer, &gguf, &error) && predict(&model, &tokenizer, &error);
    tokenizer_free(&tokenizer);
    model_free(&model);
    gguf_close(&gguf);
    if (!ok) {
        assert_int_equal(error.exit_code, EXIT_INPUT);
        assert_true(strlen(error.line) > 0);
        assert_null(strchr(error.line, '\n'));
    }
    return ok;
}

/* In memory that ends where the file ends, so that AddressSanitizer sees one byte too many. */
static void truncations_are_refused(void **state)
{
    (void)state;
    for (size_t size = 0; size < TRUNCATIONS; size++) {
        uint8_t *bytes = malloc(size + (size == 0));
        assert_non_null(bytes);
        memcpy(bytes, original, size);
        assert_false(use(bytes, size));
        free(bytes);
    }
    uint8_t *bytes = malloc(original_size);
    assert_non_null(bytes);
    memcpy(bytes, original, original_size);
    assert_true(use(bytes, original_size));
    free(bytes);
    for (size_t size = TRUNCATIONS; size < original_size; size += original_size / 50) { /* And further behind. */
        bytes = malloc(size);
        assert_non_null(bytes);
        memcpy(bytes, original, size);
        assert_false(use(bytes, size));
        free(bytes);
    }
}

/* Where the long lists of tokens and merges begin and end; outside of them a byte means more. */
static bool in_lists(const struct gguf *gguf, size_t at)
{
    for (size_t i = 0; i < gguf->n_entries; i++) {
        const struct gguf_entry *entry = &gguf->entries[i];
        const size_t begin = (size_t)(entry->at - gguf->bytes) + 64;
        const size_t end =
            i + 1 < gguf->n_entries ? (size_t)((const uint8_t *)gguf->entries[i + 1].key.data - gguf->bytes) - 8 : 0;
        if (entry->array && at >= begin && at + 64 < end) {
            return true;
        }
    }
    return false;
}

/* One to three bytes at a time, nine of ten outside of the lists. */
static void flipped_bytes_do_no_harm(void **state)
{
    (void)state;
    struct gguf gguf;
    struct error error;
    size_t refused = 0;
    uint8_t *bytes = malloc(original_size);
    assert_non_null(bytes);
    memcpy(bytes, original, original_size);
    assert_ok(gguf_parse(&gguf, "file", original, original_size, &error), &error);
    srand(2);
    for (size_t i = 0; i < FLIPS; i++) {
        size_t places[3];
        const size_t n = 1 + (size_t)rand() % 3;
        for (size_t j = 0; j < n; j++) {
            do {
                places[j] = (size_t)rand() % metadata_size;
            } while (i % 10 != 0 && in_lists(&gguf, places[j]));
            bytes[places[j]] = (uint8_t)(i % 3 == 0 ? 0xFF : i % 3 == 1 ? bytes[places[j]] ^ 1 << rand() % 8 : rand());
        }
        refused += !use(bytes, original_size);
        for (size_t j = 0; j < n; j++) {
            bytes[places[j]] = original[places[j]];
        }
    }
    print_message("%zu of %d refused\n", refused, FLIPS);
    assert_true(refused > FLIPS / 4);
    gguf_close(&gguf);
    free(bytes);
}

/* Sizes and counts of 2^64 - 1 and of 2^32 at every place of the first bytes. */
static void huge_numbers_are_refused(void **state)
{
    (void)state;
    static const uint8_t huge[3][8] = {{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
                                       {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F},
                                       {0, 0, 0, 0, 1, 0, 0, 0}};
    uint8_t *bytes = malloc(original_size);
    assert_non_null(bytes);
    memcpy(bytes, original, original_size);
    for (size_t at = 8; at < 1000; at++) {
        for (size_t i = 0; i < 3; i++) {
            memcpy(bytes + at, huge[i], sizeof huge[i]);
            use(bytes, original_size);
            memcpy(bytes + at, original + at, sizeof huge[i]);
        }
    }
    free(bytes);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truncations_are_refused),
        cmocka_unit_test(flipped_bytes_do_no_harm),
        cmocka_unit_test(huge_numbers_are_refused),
    };
    struct gguf gguf;
    struct error error;
    if (argc != 2) {
        fprintf(stderr, "usage: test_gguf MODEL\n");
        return 2;
    }
    if (!gguf_open(&gguf, argv[1], &error)) {
        return error_report(&error);
    }
    original = gguf.bytes;
    original_size = gguf.size;
    metadata_size = gguf.size;
    for (size_t i = 0; i < gguf.n_tensors; i++) {
        const size_t begin = (size_t)(gguf.tensors[i].data - gguf.bytes);
        metadata_size = begin < metadata_size ? begin : metadata_size;
    }
    if (!threads_start(&threads, 1, &error)) {
        return error_report(&error);
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    threads_stop(&threads);
    gguf_close(&gguf);
    return failed;
}
