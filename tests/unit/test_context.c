/* SPDX-License-Identifier: MIT
 *
 * Contexts: every status, defaults, struct_size, the log, the choice of a backend, failing allocations; versions and
 * status strings. */
#include "support.h"

#include <stdbool.h>
#include <stdio.h>

/* A context that creation must not touch when it fails. */
static max_align_t elsewhere;
#define UNTOUCHED ((tq_context *)(void *)&elsewhere)

static tq_context_desc plain_desc(void)
{
    const tq_context_desc desc = TQ_CONTEXT_DESC_INIT;
    return desc;
}

/* Creation fails with `expected`, keeps its hands off the handle, and says why in the log, once. */
static void assert_refused(tq_context_desc desc, tq_status expected)
{
    struct log_record record = {0};
    tq_context *context = UNTOUCHED;
    desc.log = log_record_hooks(&record);
    assert_status(tq_context_create(&desc, &context), expected);
    assert_ptr_equal(context, UNTOUCHED);
    assert_int_equal(record.calls, 1);
    assert_int_equal(record.status, expected);
    assert_true(strlen(record.sentence) > 10);
    assert_null(strchr(record.sentence, '\n'));
}

static void assert_created(const tq_context_desc *desc, const char *backend)
{
    tq_context *context = NULL;
    assert_status(tq_context_create(desc, &context), TQ_OK);
    assert_non_null(context);
    assert_non_null(tq_context_backend(context));
    if (backend) {
        assert_string_equal(tq_context_backend(context), backend);
    }
    tq_context_destroy(context);
}

static void test_defaults(void **state)
{
    (void)state;
    assert_created(NULL, NULL);
    const tq_context_desc desc = plain_desc();
    assert_created(&desc, NULL);
}

static void test_null(void **state)
{
    (void)state;
    const tq_context_desc desc = plain_desc();
    assert_status(tq_context_create(NULL, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_context_create(&desc, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_null(tq_context_backend(NULL));
    tq_context_destroy(NULL);
}

static void test_struct_size(void **state)
{
    (void)state;
    tq_context_desc desc = plain_desc();
    /* Too small: the log is not looked for in a struct whose size makes no sense, so the handle alone is checked. */
    for (size_t size = 0; size < sizeof desc; size++) {
        tq_context *context = UNTOUCHED;
        desc.struct_size = size;
        assert_status(tq_context_create(&desc, &context), TQ_ERR_INVALID_ARGUMENT);
        assert_ptr_equal(context, UNTOUCHED);
    }

    /* An application of a later version: its new fields must be zero. */
    struct {
        tq_context_desc desc;
        unsigned char tail[24];
    } later;
    memset(&later, 0, sizeof later);
    later.desc = plain_desc();
    later.desc.struct_size = sizeof later;
    assert_created(&later.desc, NULL);
    for (size_t i = 0; i < sizeof later.tail; i++) {
        tq_context *context = UNTOUCHED;
        later.tail[i] = 1;
        assert_status(tq_context_create(&later.desc, &context), TQ_ERR_INVALID_ARGUMENT);
        assert_ptr_equal(context, UNTOUCHED);
        later.tail[i] = 0;
    }

    /* Nothing is read beyond the struct that the caller has. */
    struct guarded exact = guarded_end(sizeof desc);
    desc = plain_desc();
    memcpy(exact.data, &desc, sizeof desc);
    assert_created((const tq_context_desc *)(void *)exact.data, NULL);
    guarded_release(&exact);
}

static void test_half_an_allocator(void **state)
{
    (void)state;
    struct counting_allocator counting = {0};
    const tq_allocator whole = counting_allocator_hooks(&counting);
    tq_context_desc desc = plain_desc();
    desc.allocator.alloc = whole.alloc;
    assert_refused(desc, TQ_ERR_INVALID_ARGUMENT);
    desc.allocator.alloc = NULL;
    desc.allocator.free = whole.free;
    assert_refused(desc, TQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(counting.calls, 0);
}

static void test_flags(void **state)
{
    (void)state;
    tq_context_desc desc = plain_desc();
    desc.flags = TQ_CONTEXT_IGNORE_ENV;
    assert_created(&desc, NULL);
    for (unsigned bit = 1; bit < 32; bit++) {
        desc.flags = (uint32_t)1 << bit;
        assert_refused(desc, TQ_ERR_INVALID_ARGUMENT);
    }
}

static void test_backend_list(void **state)
{
    (void)state;
    const size_t count = tq_backend_count();
    assert_true(count >= 1);
    for (size_t i = 0; i < count; i++) {
        int usable = 77;
        const char *name = tq_backend_name(i, &usable);
        assert_non_null(name);
        assert_string_equal(name, tq_backend_name(i, NULL));
        assert_true(usable == 0 || usable == 1);
        if (i == 0) {
            assert_string_equal(name, "scalar");
            assert_int_equal(usable, 1);
        }
        tq_context_desc desc = plain_desc();
        desc.backend = name;
        if (usable) {
            assert_created(&desc, name);
        } else {
            assert_refused(desc, TQ_ERR_UNSUPPORTED);
        }
    }
    int usable = 77;
    assert_null(tq_backend_name(count, &usable));
    assert_null(tq_backend_name(SIZE_MAX, NULL));
}

static bool is_backend(const char *name)
{
    bool found = false;
    for (size_t i = 0; i < tq_backend_count(); i++) {
        found = found || strcmp(name, tq_backend_name(i, NULL)) == 0;
    }
    return found;
}

/* The backend that does `operation`; fails if there is no such operation. */
static const char *backend_of(const tq_context *context, const char *operation)
{
    const char *backend = NULL;
    const char *name = NULL;
    for (size_t i = 0; (name = tq_context_operation(context, i, &backend)) != NULL; i++) {
        if (strcmp(name, operation) == 0) {
            return backend;
        }
    }
    fail_msg("no operation %s", operation);
    return NULL;
}

static void test_operations(void **state)
{
    (void)state;
    tq_context_desc desc = plain_desc();
    tq_context *context = open_context();
    tq_context *scalar = NULL;
    desc.backend = "scalar";
    assert_status(tq_context_create(&desc, &scalar), TQ_OK);
    size_t count = 0;
    bool contributes = false;
    const char *backend = NULL;
    for (const char *name = NULL; (name = tq_context_operation(context, count, &backend)) != NULL; count++) {
        assert_string_equal(name, tq_context_operation(context, count, NULL));
        assert_true(is_backend(backend));
        contributes = contributes || strcmp(backend, tq_context_backend(context)) == 0;
        assert_string_equal(name, tq_context_operation(scalar, count, &backend));
        assert_string_equal(backend, "scalar");
    }
    assert_true(contributes);
    assert_true(count > 20);
    backend = "kept";
    assert_null(tq_context_operation(context, count, &backend));
    assert_null(tq_context_operation(context, SIZE_MAX, &backend));
    assert_null(tq_context_operation(NULL, 0, &backend));
    assert_string_equal(backend, "kept");
    tq_context_destroy(scalar);
    tq_context_destroy(context);
}

/* AVX2 has nearly everything; its successor with other dot products has pages only. */
static void test_operations_of_a_partial_backend(void **state)
{
    (void)state;
    tq_context_desc desc = plain_desc();
    tq_context *context = NULL;
    desc.backend = "avxvnni";
    if (tq_context_create(&desc, &context) != TQ_OK) {
        skip();
    }
    assert_string_equal(backend_of(context, "page_scores"), "avxvnni");
    assert_string_equal(backend_of(context, "lloyd_encode"), "avx2");
    tq_context_destroy(context);
}

static void test_unknown_backend(void **state)
{
    (void)state;
    static const char *const names[] = {"", "Scalar", "scalar ", "scala", "no-such-backend"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tq_context_desc desc = plain_desc();
        desc.backend = names[i];
        assert_refused(desc, TQ_ERR_UNSUPPORTED);
    }
}

static void test_environment(void **state)
{
    (void)state;
    char kept[64] = "";
    const char *before = getenv("TURBOQUANT_BACKEND");
    if (before) {
        snprintf(kept, sizeof kept, "%s", before);
    }

    tq_context_desc desc = plain_desc();
    assert_int_equal(setenv("TURBOQUANT_BACKEND", "scalar", 1), 0);
    assert_created(NULL, "scalar");
    assert_created(&desc, "scalar");

    assert_int_equal(setenv("TURBOQUANT_BACKEND", "no-such-backend", 1), 0);
    tq_context *context = UNTOUCHED;
    assert_status(tq_context_create(NULL, &context), TQ_ERR_UNSUPPORTED);
    assert_ptr_equal(context, UNTOUCHED);
    assert_refused(desc, TQ_ERR_UNSUPPORTED);
    desc.backend = "scalar"; /* The description goes first, */
    assert_created(&desc, "scalar");
    desc.backend = NULL;
    desc.flags = TQ_CONTEXT_IGNORE_ENV; /* and the flag looks away. */
    assert_created(&desc, NULL);

    /* The variable is read at creation and never again. */
    assert_int_equal(setenv("TURBOQUANT_BACKEND", "scalar", 1), 0);
    context = open_context();
    assert_int_equal(setenv("TURBOQUANT_BACKEND", "no-such-backend", 1), 0);
    assert_string_equal(tq_context_backend(context), "scalar");
    tq_codec_destroy(open_codec(context, 64, TQ_FORMAT_TURBO4));
    tq_context_destroy(context);

    if (kept[0]) {
        setenv("TURBOQUANT_BACKEND", kept, 1);
    } else {
        unsetenv("TURBOQUANT_BACKEND");
    }
}

static void test_description_is_copied(void **state)
{
    (void)state;
    struct counting_allocator counting = {0};
    struct log_record record = {0};
    char name[] = "scalar";
    tq_context_desc desc = plain_desc();
    desc.backend = name;
    desc.allocator = counting_allocator_hooks(&counting);
    desc.log = log_record_hooks(&record);
    tq_context *context = NULL;
    assert_status(tq_context_create(&desc, &context), TQ_OK);
    memset(&desc, FILL_BYTE, sizeof desc);
    memset(name, 'x', sizeof name - 1);
    assert_string_equal(tq_context_backend(context), "scalar");

    tq_codec *codec = open_codec(context, 64, TQ_FORMAT_TURBO2);
    float x[64] = {0};
    unsigned char row[18];
    assert_int_equal(record.calls, 0);
    assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, 1, row, sizeof row - 1), TQ_ERR_BUFFER_TOO_SMALL);
    assert_int_equal(record.calls, 1);
    assert_int_equal(record.status, TQ_ERR_BUFFER_TOO_SMALL);
    assert_true(strlen(record.sentence) > 10);
    assert_null(strchr(record.sentence, '\n'));
    tq_codec_destroy(codec);
    tq_context_destroy(context);
    assert_true(counting.calls > 0);
    assert_int_equal(counting.live_blocks, 0);
    assert_int_equal(counting.broken_promises, 0);
}

static void test_allocation_failure(void **state)
{
    (void)state;
    struct counting_allocator counting = {0};
    tq_context_desc desc = plain_desc();
    desc.allocator = counting_allocator_hooks(&counting);
    assert_created(&desc, NULL);
    const size_t needed = counting.calls;
    assert_true(needed > 0);
    assert_int_equal(counting.live_blocks, 0);
    assert_int_equal(counting.live_bytes, 0);
    for (size_t n = 1; n <= needed; n++) {
        for (int from = 0; from <= 1; from++) {
            counting = (struct counting_allocator){.fail_at = n, .fail_from = from};
            assert_refused(desc, TQ_ERR_OUT_OF_MEMORY);
            assert_int_equal(counting.live_blocks, 0);
            assert_int_equal(counting.broken_promises, 0);
        }
    }
}

static void test_version(void **state)
{
    (void)state;
    char text[32];
    assert_int_equal(tq_version_number(), TQ_VERSION_MAJOR * 10000 + TQ_VERSION_MINOR * 100 + TQ_VERSION_PATCH);
    snprintf(text, sizeof text, "%d.%d.%d", TQ_VERSION_MAJOR, TQ_VERSION_MINOR, TQ_VERSION_PATCH);
    assert_string_equal(tq_version_string(), text);
}

static void test_status_strings(void **state)
{
    (void)state;
    static const tq_status known[] = {TQ_OK,
                                      TQ_ERR_INVALID_ARGUMENT,
                                      TQ_ERR_UNSUPPORTED,
                                      TQ_ERR_OUT_OF_MEMORY,
                                      TQ_ERR_BUFFER_TOO_SMALL,
                                      TQ_ERR_NONFINITE,
                                      TQ_ERR_CORRUPT,
                                      TQ_ERR_BAD_VERSION,
                                      TQ_ERR_BACKEND,
                                      TQ_ERR_CAPACITY};
    static const tq_status frozen[] = {0, -10, -20, -30, -40, -50, -60, -70, -80, -90};
    enum { N_KNOWN = sizeof known / sizeof known[0] };
    const char *unknown = tq_status_string(1);
    assert_non_null(unknown);
    for (size_t i = 0; i < N_KNOWN; i++) {
        assert_int_equal(known[i], frozen[i]);
        const char *sentence = tq_status_string(known[i]);
        assert_non_null(sentence);
        assert_true(strlen(sentence) > 1);
        assert_string_not_equal(sentence, unknown);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(sentence, tq_status_string(known[j]));
        }
    }
    for (tq_status status = -200; status <= 200; status++) {
        assert_non_null(tq_status_string(status));
        assert_true(strlen(tq_status_string(status)) > 1);
    }
    assert_string_equal(tq_status_string(INT32_MIN), unknown);
    assert_string_equal(tq_status_string(INT32_MAX), unknown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_struct_size),
        cmocka_unit_test(test_half_an_allocator),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_backend_list),
        cmocka_unit_test(test_operations),
        cmocka_unit_test(test_operations_of_a_partial_backend),
        cmocka_unit_test(test_unknown_backend),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_description_is_copied),
        cmocka_unit_test(test_allocation_failure),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_status_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
