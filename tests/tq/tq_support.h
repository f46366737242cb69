/* SPDX-License-Identifier: MIT
 *
 * What the tests of the tool share. */
#ifndef TQ_TESTS_TQ_SUPPORT_H
#define TQ_TESTS_TQ_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session.h"

/* Fails with the error's line if a call returned false. */
#define assert_ok(call, error) support_assert_ok((call), (error), #call, __FILE__, __LINE__)
void support_assert_ok(bool ok, const struct error *error, const char *call, const char *file, int line);

/* A model and an engine without a tokenizer, which tiny models do not have. */
struct engine_fixture {
    struct gguf gguf;
    struct model model;
    struct threads threads;
    struct engine engine;
};

void fixture_open(struct engine_fixture *fixture, const char *path, size_t n_threads);
void fixture_close(struct engine_fixture *fixture);
struct kv_store *fixture_store(const struct engine_fixture *fixture, const char *config);

/* Logits of all tokens, fed in steps of `step`; the caller frees them. */
float *fixture_logits(struct engine_fixture *fixture, struct kv_store *store, const uint32_t *tokens, size_t n,
                      size_t step);

/* The largest difference. NaN if there is one. */
double largest_difference(const float *a, const float *b, size_t n);

#endif /* TQ_TESTS_TQ_SUPPORT_H */
