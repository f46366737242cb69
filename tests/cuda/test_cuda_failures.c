/* SPDX-License-Identifier: MIT
 *
 * The host side of the CUDA backend with fake_driver.c in the driver's place: every call of the driver fails once, and
 * each time a status comes back, a sentence is logged, and nothing leaks or crashes. No device is needed. */
#include "cache_support.h"

#include <dlfcn.h>
#include <stdio.h>

static long (*fail_at)(long n);
static long (*n_allocated)(void);
static long (*n_contexts)(void);
static void (*shared_memory)(int bytes);

static unsigned sentences;

static void count_sentence(void *user, tq_status status, const char *sentence)
{
    (void)user;
    assert_true(status < 0);
    assert_non_null(sentence);
    sentences++;
}

static size_t swallow(void *user, const void *data, size_t size)
{
    (void)user;
    (void)data;
    return size;
}

/* A little of everything; the first status that is no success, or TQ_OK. */
static tq_status live(tq_seq *seqs[2], tq_cache *cache)
{
    static float tokens[300 * 2 * 128];
    static float out[300 * 4 * 128];
    const tq_writer writer = {swallow, NULL};
    tq_kv kv = {.struct_size = sizeof kv, .k = tokens, .v = tokens, .n_tokens = 290};
    tq_attention attention = TQ_ATTENTION_INIT;
    attention.q = tokens;
    attention.n_q_heads = 4;
    attention.out = out;
    tq_status status = tq_cache_append(cache, seqs[0], 0, &kv);
    if (status == TQ_OK) {
        status = tq_seq_fork(seqs[0], 250, &seqs[1]);
    }
    kv.n_tokens = 2;
    attention.n_tokens = 2;
    for (int i = 0; status == TQ_OK && i < 70; i++) {
        status = tq_cache_forward_batch(cache, seqs, 2, 0, &kv, &attention);
    }
    const tq_kv_out decoded = {.struct_size = sizeof decoded, .k = tokens, .v = tokens, .n_tokens = 100};
    if (status == TQ_OK) {
        status = tq_cache_decode(cache, seqs[1], 0, 30, &decoded);
    }
    const tq_tier cold = {200, {TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO2}};
    if (status == TQ_OK) { /* Pages that are shared, too. */
        status = tq_cache_demote(cache, seqs[1], &cold, 1);
    }
    for (int i = 0; status == TQ_OK && i < 3; i++) {
        status = tq_cache_forward_batch(cache, seqs, 2, 0, &kv, &attention);
    }
    return status == TQ_OK ? tq_cache_save(cache, seqs[1], &writer) : status;
}

/* The same with all that is made for it. */
static tq_status live_once(void)
{
    tq_context_desc desc = TQ_CONTEXT_DESC_INIT;
    tq_context *context = NULL;
    tq_cache *cache = NULL;
    tq_seq *seqs[2] = {NULL, NULL};
    desc.backend = "cuda";
    desc.log.message = count_sentence;
    tq_status status = tq_context_create(&desc, &context);
    tq_cache_desc shape = cache_desc(1, 2, 128, 128);
    shape.k_format = TQ_FORMAT_TURBO4;
    shape.v_format = TQ_FORMAT_TURBO3;
    shape.sink_tokens = 4;
    if (status == TQ_OK) {
        status = tq_cache_create(context, &shape, &cache);
    }
    if (status == TQ_OK) {
        status = tq_seq_create(cache, &seqs[0]);
    }
    if (status == TQ_OK) {
        status = live(seqs, cache);
    }
    tq_cache_destroy(cache);
    tq_context_destroy(context);
    return status;
}

static void every_failure_is_a_status(void **state)
{
    (void)state;
    fail_at(0);
    assert_status(live_once(), TQ_OK);
    const long calls = fail_at(0);
    assert_true(calls > 300);
    for (long n = 1; n <= calls; n++) {
        sentences = 0;
        fail_at(n);
        const tq_status status = live_once();
        if (sentences == 0) {
            fail_msg("call %ld of %ld failed, and nobody said so", n, calls);
        }
        if (status == TQ_OK) { /* While things were destroyed, which has no status. */
            assert_true(calls - n < 20);
        } else {
            assert_true(status == TQ_ERR_BACKEND || status == TQ_ERR_OUT_OF_MEMORY || status == TQ_ERR_UNSUPPORTED ||
                        status == TQ_ERR_INVALID_ARGUMENT);
        }
        assert_int_equal(n_allocated(), 0);
        assert_int_equal(n_contexts(), 0);
    }
}

/* The cache is dead after a failed launch, and says so again. */
static void failures_last(void **state)
{
    (void)state;
    static float tokens[2 * 2 * 128];
    tq_context_desc desc = TQ_CONTEXT_DESC_INIT;
    tq_context *context = NULL;
    tq_kv kv = {.struct_size = sizeof kv, .k = tokens, .v = tokens, .n_tokens = 1};
    desc.backend = "cuda";
    fail_at(0);
    assert_status(tq_context_create(&desc, &context), TQ_OK);
    tq_cache_desc shape = cache_desc(1, 2, 128, 128);
    tq_cache *cache = open_cache(context, &shape);
    tq_seq *seq = open_seq(cache);
    assert_status(tq_cache_append(cache, seq, 0, &kv), TQ_OK);
    fail_at(0);
    assert_status(tq_cache_append(cache, seq, 0, &kv), TQ_OK);
    const long calls = fail_at(0); /* The last of them was the launch. */
    fail_at(calls);
    assert_status(tq_cache_append(cache, seq, 0, &kv), TQ_ERR_BACKEND);
    fail_at(0);
    assert_status(tq_cache_append(cache, seq, 0, &kv), TQ_ERR_BACKEND);
    tq_cache_destroy(cache);
    tq_context_destroy(context);
}

static void too_little_shared_memory(void **state)
{
    (void)state;
    tq_context_desc desc = TQ_CONTEXT_DESC_INIT;
    tq_context *context = NULL;
    tq_cache *cache = NULL;
    const tq_cache_desc shape = cache_desc(1, 2, 128, 128);
    struct log_record log = {0};
    desc.backend = "cuda";
    desc.log = log_record_hooks(&log);
    shared_memory(1023);
    assert_status(tq_context_create(&desc, &context), TQ_OK);
    assert_status(tq_cache_create(context, &shape, &cache), TQ_ERR_UNSUPPORTED);
    assert_non_null(strstr(log.sentence, "too little shared memory"));
    tq_context_destroy(context);
    shared_memory(4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_failure_is_a_status), cmocka_unit_test(failures_last),
                                       cmocka_unit_test(too_little_shared_memory)};
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    const char *const names[] = {"fake_fail_at", "fake_allocated", "fake_contexts", "fake_shared_memory"};
    void *functions[4] = {NULL, NULL, NULL, NULL};
    for (int i = 0; driver != NULL && i < 4; i++) {
        functions[i] = dlsym(driver, names[i]);
    }
    if (functions[0] == NULL) {
        puts("the fake driver was not found: run this test with ctest");
        return 1;
    }
    memcpy(&fail_at, &functions[0], sizeof fail_at);
    memcpy(&n_allocated, &functions[1], sizeof n_allocated);
    memcpy(&n_contexts, &functions[2], sizeof n_contexts);
    memcpy(&shared_memory, &functions[3], sizeof shared_memory);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
