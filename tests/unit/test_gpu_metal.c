/* SPDX-License-Identifier: MIT
 *
 * What all devices have in common, on a fake one: what is refused before a driver is asked, and what happens after it
 * has failed. */
#include "support.h"

#include "kernels/metal/gpu_metal.h"

typedef struct fake {
    tq_gpu base;
    tq_status answer; /* To the next call that can fail. */
    size_t asked;     /* How often the driver was. */
    size_t freed;
    bool destroyed;
    tq_gpu_memory memory;
} fake;

static tq_status answer(tq_gpu *device)
{
    fake *f = (fake *)device;
    const tq_status status = f->answer;
    f->asked++;
    f->answer = TQ_OK;
    return status == TQ_OK ? TQ_OK : tq_gpu_fail(device, status, "the driver says no");
}

static tq_status fake_alloc(tq_gpu *device, size_t bytes, tq_gpu_memory **memory)
{
    fake *f = (fake *)device;
    const tq_status status = answer(device);
    if (status == TQ_OK) {
        f->memory.bytes = bytes;
        *memory = &f->memory;
    }
    return status;
}

static tq_status fake_wrap(tq_gpu *device, void *data, size_t bytes, tq_gpu_memory **memory)
{
    (void)data;
    return fake_alloc(device, bytes, memory);
}

static void fake_free(tq_gpu *device, tq_gpu_memory *memory)
{
    (void)memory;
    ((fake *)device)->freed++;
}

static tq_status fake_launch(tq_gpu *device, const tq_launch *launch)
{
    (void)launch;
    return answer(device);
}

static tq_status fake_wait(tq_gpu *device)
{
    return answer(device);
}

static void fake_destroy(tq_gpu *device)
{
    ((fake *)device)->destroyed = true;
}

static const tq_gpu_ops OPS = {fake_alloc, fake_wrap, fake_free, fake_launch, fake_wait, fake_destroy};

static fake open_fake(void)
{
    return (fake){.base.ops = &OPS};
}

static const tq_launch SOUND = {.groups = {1, 1, 1}, .threads = 32};

/* --- tests -----------------------------------------------------------------------------------------------------------
 */

static void test_memory(void **state)
{
    (void)state;
    fake f = open_fake();
    tq_gpu_memory *memory = NULL;
    unsigned char bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    assert_status(tq_gpu_alloc(&f.base, 16, &memory), TQ_OK);
    assert_int_equal(memory->bytes, 16);
    assert_status(tq_gpu_wrap(&f.base, bytes, 8, &memory), TQ_OK);
    tq_gpu_free(&f.base, memory);
    tq_gpu_free(&f.base, NULL);
    assert_int_equal(f.freed, 1);
    tq_gpu_destroy(NULL);
    tq_gpu_destroy(&f.base);
    assert_true(f.destroyed);
}

/* None of this gets as far as the driver. */
static void test_refused(void **state)
{
    (void)state;
    fake f = open_fake();
    tq_gpu_memory *memory = NULL;
    unsigned char bytes[32] = {0};
    assert_status(tq_gpu_alloc(&f.base, 16, &memory), TQ_OK);
    const size_t asked = f.asked;
    tq_gpu_memory *untouched = NULL;
    assert_status(tq_gpu_alloc(&f.base, 0, &untouched), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_gpu_wrap(&f.base, NULL, 8, &untouched), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_gpu_wrap(&f.base, bytes, 0, &untouched), TQ_ERR_INVALID_ARGUMENT);
    assert_null(untouched);
    assert_true(f.base.problem[0] != 0);

    tq_launch launch = SOUND;
    launch.threads = 0;
    assert_status(tq_gpu_launch(&f.base, &launch), TQ_ERR_INVALID_ARGUMENT);
    launch = SOUND;
    launch.n_buffers = TQ_LAUNCH_BUFFERS + 1;
    assert_status(tq_gpu_launch(&f.base, &launch), TQ_ERR_INVALID_ARGUMENT);
    launch = SOUND;
    launch.n_constants = TQ_LAUNCH_CONSTANTS + 1;
    assert_status(tq_gpu_launch(&f.base, &launch), TQ_ERR_INVALID_ARGUMENT);
    launch = SOUND;
    launch.args_bytes = 4;
    assert_status(tq_gpu_launch(&f.base, &launch), TQ_ERR_INVALID_ARGUMENT);
    launch = SOUND;
    launch.n_buffers = 2;
    launch.buffers[1] = (tq_gpu_slice){memory, 16};
    assert_status(tq_gpu_launch(&f.base, &launch), TQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(f.asked, asked);
    assert_false(f.base.is_lost);

    launch.buffers[1].at = 15; /* The last byte. */
    assert_status(tq_gpu_launch(&f.base, &launch), TQ_OK);
    assert_int_equal(f.asked, asked + 1);
}

/* What has no groups is done without asking. */
static void test_nothing_to_do(void **state)
{
    (void)state;
    fake f = open_fake();
    for (size_t axis = 0; axis < 3; axis++) {
        tq_launch launch = SOUND;
        launch.groups[axis] = 0;
        assert_status(tq_gpu_launch(&f.base, &launch), TQ_OK);
    }
    assert_int_equal(f.asked, 0);
}

/* A device that has no memory, or cannot wrap, goes on. */
static void test_out_of_memory(void **state)
{
    (void)state;
    fake f = open_fake();
    tq_gpu_memory *memory = NULL;
    unsigned char byte = 0;
    f.answer = TQ_ERR_OUT_OF_MEMORY;
    assert_status(tq_gpu_alloc(&f.base, 16, &memory), TQ_ERR_OUT_OF_MEMORY);
    assert_string_equal(f.base.problem, "the driver says no");
    f.answer = TQ_ERR_UNSUPPORTED;
    assert_status(tq_gpu_wrap(&f.base, &byte, 1, &memory), TQ_ERR_UNSUPPORTED);
    assert_null(memory);
    assert_status(tq_gpu_alloc(&f.base, 16, &memory), TQ_OK);
    assert_status(tq_gpu_wait(&f.base), TQ_OK);
}

/* Whichever call finds that the device is lost: no other one reaches the driver, the sentence stays, and memory can
 * still be freed. */
static void test_lost(void **state)
{
    (void)state;
    for (int call = 0; call < 4; call++) {
        fake f = open_fake();
        tq_gpu_memory *memory = NULL;
        unsigned char bytes[4] = {0};
        assert_status(tq_gpu_alloc(&f.base, 16, &memory), TQ_OK);
        for (int i = 0; i < 4; i++) {
            tq_gpu_memory *other = NULL;
            const int which = (call + i) % 4;
            f.answer = i == 0 ? TQ_ERR_BACKEND : TQ_OK;
            assert_status(which == 0   ? tq_gpu_alloc(&f.base, 4, &other)
                          : which == 1 ? tq_gpu_wrap(&f.base, bytes, 4, &other)
                          : which == 2 ? tq_gpu_launch(&f.base, &SOUND)
                                       : tq_gpu_wait(&f.base),
                          TQ_ERR_BACKEND);
        }
        assert_int_equal(f.asked, 2);
        assert_string_equal(f.base.problem, "the driver says no");
        tq_gpu_free(&f.base, memory);
        tq_gpu_destroy(&f.base);
        assert_int_equal(f.freed, 1);
        assert_true(f.destroyed);
    }
}

static void test_long_sentence(void **state)
{
    (void)state;
    fake f = open_fake();
    char sentence[sizeof f.base.problem + 10];
    memset(sentence, 'x', sizeof sentence);
    sentence[sizeof sentence - 1] = 0;
    assert_status(tq_gpu_fail(&f.base, TQ_ERR_IO, sentence), TQ_ERR_IO);
    assert_int_equal(strlen(f.base.problem), sizeof f.base.problem - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),        cmocka_unit_test(test_refused), cmocka_unit_test(test_nothing_to_do),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_lost),    cmocka_unit_test(test_long_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
