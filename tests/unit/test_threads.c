/* SPDX-License-Identifier: MIT
 *
 * Threads: shared codecs, concurrent creation, and executors of every kind give what one thread gives. Run under
 * -fsanitize=thread this also finds hidden shared state. */
#include "support.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

enum { DIM = 80, N = 200, N_Q = 20, N_THREADS = 8 };

/* Everything that one codec computes from one input. */
struct outputs {
    unsigned char codes[N * DIM * 2];
    float decoded[N * DIM];
    float scores[N_Q * N];
    float sums[N_Q * DIM];
};

static float input[N * DIM];

/* Returns 1 if all calls succeeded. Called on worker threads. */
static int compute(const tq_codec *codec, struct outputs *out)
{
    const size_t size = N * tq_codec_bytes(codec);
    memset(out, 0, sizeof *out);
    return tq_encode(codec, input, TQ_DTYPE_F32, 0, N, out->codes, size) == TQ_OK &&
           tq_decode(codec, out->codes, size, N, out->decoded, TQ_DTYPE_F32, 0) == TQ_OK &&
           tq_attention_scores(codec, input, TQ_DTYPE_F32, 0, N_Q, out->codes, size, N, 0.1F, out->scores, 0) ==
               TQ_OK &&
           tq_weighted_sum(codec, out->scores, 0, N_Q, out->codes, size, N, out->sums, 0) == TQ_OK;
}

static int setup(void **state)
{
    struct rng rng = rng_seeded(1);
    rng_fill_gauss(&rng, input, N * DIM);
    return setup_context(state);
}

/* Runs `worker` on N_THREADS threads. */
static void run_threads(void *(*worker)(void *), void *arg)
{
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, worker, arg), 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

struct shared {
    const tq_context *context;
    const tq_codec *codec;
    const struct outputs *expected;
    atomic_int equal;
};

static void *use_shared_codec(void *user)
{
    struct shared *shared = user;
    struct outputs *out = malloc(sizeof *out);
    for (int k = 0; out && k < 3; k++) {
        if (compute(shared->codec, out) && memcmp(out, shared->expected, sizeof *out) == 0) {
            atomic_fetch_add(&shared->equal, 1);
        }
    }
    free(out);
    return NULL;
}

static void test_shared_codec(void **state)
{
    struct outputs *expected = filled(sizeof *expected);
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *codec = open_codec(*state, DIM, tq_format_at(f));
        assert_true(compute(codec, expected));
        struct shared shared = {.codec = codec, .expected = expected};
        run_threads(use_shared_codec, &shared);
        assert_int_equal(atomic_load(&shared.equal), 3 * N_THREADS);
        tq_codec_destroy(codec);
    }
    free(expected);
}

/* Creates its own context, and a codec on it and on the shared context. */
static void *create_and_use(void *user)
{
    struct shared *shared = user;
    struct outputs *out = malloc(sizeof *out);
    tq_context *own = NULL;
    if (out && tq_context_create(NULL, &own) == TQ_OK) {
        const tq_context *contexts[] = {own, shared->context};
        for (size_t i = 0; i < 2; i++) {
            const tq_codec_desc desc = codec_desc(DIM, TQ_FORMAT_TURBO3_PROD);
            tq_codec *codec = NULL;
            if (tq_codec_create(contexts[i], &desc, &codec) == TQ_OK && compute(codec, out) &&
                memcmp(out, shared->expected, sizeof *out) == 0) {
                atomic_fetch_add(&shared->equal, 1);
            }
            tq_codec_destroy(codec);
        }
    }
    tq_context_destroy(own);
    free(out);
    return NULL;
}

static void test_concurrent_creation(void **state)
{
    struct outputs *expected = filled(sizeof *expected);
    tq_codec *codec = open_codec(*state, DIM, TQ_FORMAT_TURBO3_PROD);
    assert_true(compute(codec, expected));
    struct shared shared = {.context = *state, .expected = expected};
    run_threads(create_and_use, &shared);
    assert_int_equal(atomic_load(&shared.equal), 2 * N_THREADS);
    tq_codec_destroy(codec);
    free(expected);
}

/* Executors. This one works backwards, and counts. */
static void run_backwards(void *user, tq_task task, void *arg, size_t count)
{
    *(size_t *)user += count;
    while (count-- > 0) {
        task(arg, count);
    }
}

static tq_context *open_context_with(tq_executor executor)
{
    tq_context_desc desc = TQ_CONTEXT_DESC_INIT;
    tq_context *context = NULL;
    desc.executor = executor;
    assert_status(tq_context_create(&desc, &context), TQ_OK);
    return context;
}

static void test_executors(void **state)
{
    size_t tasks = 0;
    tq_context *contexts[2] = {open_context_with(threaded_executor()),
                               open_context_with((tq_executor){run_backwards, &tasks})};
    struct outputs *expected = filled(sizeof *expected);
    struct outputs *out = filled(sizeof *out);
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *plain = open_codec(*state, DIM, tq_format_at(f));
        assert_true(compute(plain, expected));
        for (size_t c = 0; c < 2; c++) {
            tq_codec *codec = open_codec(contexts[c], DIM, tq_format_at(f));
            tasks = 0;
            assert_true(compute(codec, out));
            assert_memory_equal(out, expected, sizeof *out);
            assert_true(c == 0 || tasks > 1); /* A call with many rows is spread. */
            tq_codec_destroy(codec);
        }
        tq_codec_destroy(plain);
    }
    free(out);
    free(expected);
    tq_context_destroy(contexts[1]);
    tq_context_destroy(contexts[0]);
}

/* Errors that a task finds come back, and nothing is written by the other tasks. */
static void test_errors_under_executor(void **state)
{
    (void)state;
    tq_context *context = open_context_with(threaded_executor());
    float *x = malloc(sizeof input);
    assert_non_null(x);
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec *codec = open_codec(context, DIM, tq_format_at(f));
        const size_t row = tq_codec_bytes(codec);
        unsigned char *codes = filled(N * row);
        memcpy(x, input, sizeof input);
        x[N / 2 * DIM + 3] = NAN;
        assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, N, codes, N * row), TQ_ERR_NONFINITE);
        assert_true(still_filled(codes, N * row));
        assert_status(tq_encode(codec, input, TQ_DTYPE_F32, 0, N, codes, N * row), TQ_OK);
        codes[(N - 1) * row] = 0xFF;
        codes[(N - 1) * row + 1] = 0xFF;
        memset(x, FILL_BYTE, sizeof input);
        assert_status(tq_decode(codec, codes, N * row, N, x, TQ_DTYPE_F32, 0), TQ_ERR_CORRUPT);
        assert_true(still_filled(x, sizeof input));
        free(codes);
        tq_codec_destroy(codec);
    }
    free(x);
    tq_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_codec),
        cmocka_unit_test(test_concurrent_creation),
        cmocka_unit_test(test_executors),
        cmocka_unit_test(test_errors_under_executor),
    };
    return cmocka_run_group_tests(tests, setup, teardown_context);
}
