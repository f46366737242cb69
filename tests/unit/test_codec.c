/* SPDX-License-Identifier: MIT
 *
 * Codecs: every status, the exact size of a row, defaults, which rotations exist, failing allocations. */
#include "support.h"

static max_align_t elsewhere;
#define UNTOUCHED ((tq_codec *)(void *)&elsewhere)

static void assert_refused(const tq_context *context, const tq_codec_desc *desc, tq_status expected)
{
    tq_codec *codec = UNTOUCHED;
    assert_status(tq_codec_create(context, desc, &codec), expected);
    assert_ptr_equal(codec, UNTOUCHED);
}

static tq_codec_desc describe(const tq_codec *codec)
{
    tq_codec_desc desc = TQ_CODEC_DESC_INIT;
    assert_status(tq_codec_describe(codec, &desc), TQ_OK);
    assert_int_equal(desc.struct_size, sizeof desc);
    return desc;
}

/* Field by field: the padding between them may hold anything. */
static void assert_desc_equal(const tq_codec_desc *a, const tq_codec_desc *b)
{
    assert_int_equal(a->struct_size, b->struct_size);
    assert_int_equal(a->dim, b->dim);
    assert_int_equal(a->format, b->format);
    assert_int_equal(a->rotation, b->rotation);
    assert_int_equal(a->scale, b->scale);
    assert_int_equal(a->effort, b->effort);
    assert_true(a->seed == b->seed);
}

/* Is dim = m * 2^a with m in {1, 12, 20, 28, 36}? */
static int has_hadamard(uint32_t dim)
{
    static const uint32_t orders[] = {1, 12, 20, 28, 36};
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        const uint32_t power = dim / orders[i];
        if (dim % orders[i] == 0 && power != 0 && (power & (power - 1)) == 0) {
            return 1;
        }
    }
    return 0;
}

static void test_null(void **state)
{
    tq_codec_desc desc = codec_desc(128, TQ_FORMAT_TURBO4);
    assert_refused(*state, NULL, TQ_ERR_INVALID_ARGUMENT);
    assert_refused(NULL, &desc, TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_codec_create(*state, &desc, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(tq_codec_bytes(NULL), 0);
    tq_codec_destroy(NULL);

    tq_codec *codec = open_codec_desc(*state, &desc);
    const tq_codec_desc before = desc;
    assert_status(tq_codec_describe(NULL, &desc), TQ_ERR_INVALID_ARGUMENT);
    assert_desc_equal(&desc, &before);
    assert_status(tq_codec_describe(codec, NULL), TQ_ERR_INVALID_ARGUMENT);
    tq_codec_destroy(codec);
}

static void test_struct_size(void **state)
{
    tq_codec_desc desc = codec_desc(128, TQ_FORMAT_TURBO4);
    tq_codec *codec = open_codec_desc(*state, &desc);
    for (size_t size = 0; size < sizeof desc; size++) {
        desc.struct_size = size;
        assert_refused(*state, &desc, TQ_ERR_INVALID_ARGUMENT);
        tq_codec_desc described;
        memset(&described, FILL_BYTE, sizeof described);
        described.struct_size = size;
        const tq_codec_desc before = described;
        assert_status(tq_codec_describe(codec, &described), TQ_ERR_INVALID_ARGUMENT);
        assert_desc_equal(&described, &before);
    }

    struct {
        tq_codec_desc desc;
        unsigned char tail[24];
    } later;
    memset(&later, 0, sizeof later);
    later.desc = codec_desc(128, TQ_FORMAT_TURBO3);
    later.desc.struct_size = sizeof later;
    tq_codec *other = open_codec_desc(*state, &later.desc);
    assert_int_equal(tq_codec_bytes(other), 50);
    for (size_t i = 0; i < sizeof later.tail; i++) {
        later.tail[i] = 1;
        assert_refused(*state, &later.desc, TQ_ERR_INVALID_ARGUMENT);
        later.tail[i] = 0;
    }
    /* An application that knows more fields than this library reads zeros, the defaults, from them. */
    memset(&later, FILL_BYTE, sizeof later);
    later.desc.struct_size = sizeof later;
    assert_status(tq_codec_describe(other, &later.desc), TQ_OK);
    assert_int_equal(later.desc.struct_size, sizeof later);
    assert_int_equal(later.desc.dim, 128);
    assert_int_equal(later.desc.format, TQ_FORMAT_TURBO3);
    for (size_t i = 0; i < sizeof later.tail; i++) {
        assert_int_equal(later.tail[i], 0);
    }
    tq_codec_destroy(other);
    tq_codec_destroy(codec);
}

static void test_values(void **state)
{
    tq_codec_desc desc = codec_desc(0, TQ_FORMAT_TURBO4);
    assert_refused(*state, &desc, TQ_ERR_INVALID_ARGUMENT);
    desc.dim = TQ_MAX_DIM + 1;
    assert_refused(*state, &desc, TQ_ERR_INVALID_ARGUMENT);
    desc.dim = UINT32_MAX;
    assert_refused(*state, &desc, TQ_ERR_INVALID_ARGUMENT);
    for (int32_t value = -100; value <= 100; value++) {
        desc = codec_desc(64, value);
        if (value != TQ_FORMAT_DEFAULT && !tq_format_name(value)) {
            assert_refused(*state, &desc, TQ_ERR_INVALID_ARGUMENT);
        }
        desc = codec_desc(64, TQ_FORMAT_TURBO4);
        desc.rotation = value;
        if (value < TQ_ROTATION_DEFAULT || value > TQ_ROTATION_HAAR) {
            assert_refused(*state, &desc, TQ_ERR_INVALID_ARGUMENT);
        }
        desc = codec_desc(64, TQ_FORMAT_TURBO4);
        desc.scale = value;
        if (value < TQ_SCALE_DEFAULT || value > TQ_SCALE_RAW) {
            assert_refused(*state, &desc, TQ_ERR_INVALID_ARGUMENT);
        }
        desc = codec_desc(64, TQ_FORMAT_TURBO4);
        desc.effort = value;
        if (value < TQ_EFFORT_DEFAULT || value > TQ_EFFORT_BEST) {
            assert_refused(*state, &desc, TQ_ERR_INVALID_ARGUMENT);
        }
    }
}

static void test_log(void **state)
{
    (void)state;
    struct log_record record = {0};
    tq_context_desc context_desc = TQ_CONTEXT_DESC_INIT;
    context_desc.log = log_record_hooks(&record);
    tq_context *context = NULL;
    assert_status(tq_context_create(&context_desc, &context), TQ_OK);
    const tq_codec_desc absurd = codec_desc(0, TQ_FORMAT_TURBO4);
    assert_refused(context, &absurd, TQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(record.calls, 1);
    assert_int_equal(record.status, TQ_ERR_INVALID_ARGUMENT);
    tq_codec_desc odd = codec_desc(7, TQ_FORMAT_TURBO4);
    odd.rotation = TQ_ROTATION_HADAMARD;
    assert_refused(context, &odd, TQ_ERR_UNSUPPORTED);
    assert_int_equal(record.calls, 2);
    assert_int_equal(record.status, TQ_ERR_UNSUPPORTED);
    assert_true(strlen(record.sentence) > 10);
    tq_context_destroy(context);
}

static void test_bytes_of_128(void **state)
{
    static const struct {
        tq_format format;
        size_t bytes;
    } expected[] = {{TQ_FORMAT_F16, 256},        {TQ_FORMAT_TURBO1, 18},      {TQ_FORMAT_TURBO2, 34},
                    {TQ_FORMAT_TURBO3, 50},      {TQ_FORMAT_TURBO4, 66},      {TQ_FORMAT_TURBO8, 130},
                    {TQ_FORMAT_TURBO2_PROD, 36}, {TQ_FORMAT_TURBO3_PROD, 52}, {TQ_FORMAT_TURBO4_PROD, 68},
                    {TQ_FORMAT_TURBO2T, 34},     {TQ_FORMAT_TURBO3T, 50},     {TQ_FORMAT_TURBO4T, 66}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        tq_codec *codec = open_codec(*state, 128, expected[i].format);
        assert_int_equal(tq_codec_bytes(codec), expected[i].bytes);
        assert_int_equal(row_bytes(expected[i].format, 128), expected[i].bytes);
        tq_codec_destroy(codec);
    }
}

static void test_bytes(void **state)
{
    for (size_t f = 0; f < tq_format_count(); f++) {
        for (uint32_t dim = 1; dim <= 65; dim++) {
            if (!is_walked(dim, tq_format_at(f))) {
                continue;
            }
            tq_codec *codec = open_codec(*state, dim, tq_format_at(f));
            assert_int_equal(tq_codec_bytes(codec), row_bytes(tq_format_at(f), dim));
            tq_codec_destroy(codec);
        }
        tq_codec *codec = open_codec(*state, TQ_MAX_DIM, tq_format_at(f));
        assert_int_equal(tq_codec_bytes(codec), row_bytes(tq_format_at(f), TQ_MAX_DIM));
        tq_codec_destroy(codec);
    }
}

/* Trellis formats round once unless asked: their encoder is slow. */
static void test_trellis_effort(void **state)
{
    tq_codec *codec = open_codec(*state, 128, TQ_FORMAT_TURBO3T);
    assert_int_equal(describe(codec).effort, TQ_EFFORT_FAST);
    tq_codec_destroy(codec);
}

static void test_defaults(void **state)
{
    tq_codec_desc desc = TQ_CODEC_DESC_INIT;
    desc.dim = 96;
    tq_codec *codec = open_codec_desc(*state, &desc);
    const tq_codec_desc described = describe(codec);
    assert_int_equal(described.dim, 96);
    assert_int_equal(described.format, TQ_FORMAT_TURBO4);
    assert_int_equal(described.rotation, TQ_ROTATION_HADAMARD);
    assert_int_equal(described.scale, TQ_SCALE_NORM);
    assert_int_equal(described.effort, TQ_EFFORT_BALANCED);
    assert_true(described.seed == 0);
    assert_int_equal(tq_codec_bytes(codec), 50);
    tq_codec_destroy(codec);
}

/* What was asked for is what is described. */
static void test_describe(void **state)
{
    static const tq_format formats[] = {TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO4,
                                        TQ_FORMAT_TURBO8};
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        for (tq_rotation rotation = TQ_ROTATION_HADAMARD; rotation <= TQ_ROTATION_HAAR; rotation++) {
            for (tq_scale_mode scale = TQ_SCALE_NORM; scale <= TQ_SCALE_LSQ; scale++) {
                for (tq_effort effort = TQ_EFFORT_FAST; effort <= TQ_EFFORT_BEST; effort++) {
                    tq_codec_desc desc = codec_desc(32, formats[f]);
                    desc.rotation = rotation;
                    desc.scale = scale;
                    desc.effort = effort;
                    desc.seed = UINT64_C(0xFEDCBA9876543210);
                    tq_codec *codec = open_codec_desc(*state, &desc);
                    const tq_codec_desc described = describe(codec);
                    assert_int_equal(described.dim, 32);
                    assert_int_equal(described.format, formats[f]);
                    assert_int_equal(described.rotation, rotation);
                    assert_int_equal(described.scale, scale);
                    assert_int_equal(described.effort, effort);
                    assert_true(described.seed == desc.seed);
                    tq_codec_destroy(codec);
                }
            }
        }
    }
    /* A description can be used again: it means the same codec. Also for formats that ignore some fields. */
    for (size_t f = 0; f < tq_format_count(); f++) {
        tq_codec_desc desc = codec_desc(48, tq_format_at(f));
        desc.scale = TQ_SCALE_RAW;
        tq_codec *codec = open_codec_desc(*state, &desc);
        const tq_codec_desc first = describe(codec);
        tq_codec *again = open_codec_desc(*state, &first);
        const tq_codec_desc second = describe(again);
        assert_int_equal(first.format, tq_format_at(f));
        assert_desc_equal(&first, &second);
        tq_codec_destroy(again);
        tq_codec_destroy(codec);
    }
}

static void test_hadamard_dims(void **state)
{
    for (uint32_t dim = 1; dim <= TQ_MAX_DIM; dim++) {
        const int exists = has_hadamard(dim);
        tq_codec_desc desc = codec_desc(dim, TQ_FORMAT_TURBO2);
        desc.rotation = TQ_ROTATION_HADAMARD;
        if (!exists) {
            assert_refused(*state, &desc, TQ_ERR_UNSUPPORTED);
        }
        if (!exists && dim > 100) {
            continue; /* A dense rotation takes a while. */
        }
        desc.rotation = TQ_ROTATION_DEFAULT;
        tq_codec *codec = open_codec_desc(*state, &desc);
        assert_int_equal(describe(codec).rotation, exists ? TQ_ROTATION_HADAMARD : TQ_ROTATION_HAAR);
        tq_codec_destroy(codec);
        if (exists) {
            desc.rotation = TQ_ROTATION_HADAMARD;
            codec = open_codec_desc(*state, &desc);
            assert_int_equal(describe(codec).rotation, TQ_ROTATION_HADAMARD);
            tq_codec_destroy(codec);
        }
    }
    /* f16 does not rotate, so it does not mind. */
    tq_codec_desc desc = codec_desc(7, TQ_FORMAT_F16);
    desc.rotation = TQ_ROTATION_HADAMARD;
    tq_codec_destroy(open_codec_desc(*state, &desc));
}

static void test_allocation_failure(void **state)
{
    (void)state;
    for (size_t f = 0; f < tq_format_count(); f++) {
        for (tq_rotation rotation = TQ_ROTATION_HADAMARD; rotation <= TQ_ROTATION_HAAR; rotation++) {
            struct counting_allocator counting = {0};
            tq_context_desc context_desc = TQ_CONTEXT_DESC_INIT;
            context_desc.allocator = counting_allocator_hooks(&counting);
            tq_context *context = NULL;
            assert_status(tq_context_create(&context_desc, &context), TQ_OK);
            const size_t context_blocks = counting.live_blocks;
            const size_t context_bytes = counting.live_bytes;

            tq_codec_desc desc = codec_desc(80, tq_format_at(f));
            desc.rotation = rotation;
            counting.calls = 0;
            tq_codec *codec = open_codec_desc(context, &desc);
            const size_t needed = counting.calls;
            assert_true(needed > 0);
            tq_codec_destroy(codec);
            assert_int_equal(counting.live_blocks, context_blocks);
            assert_int_equal(counting.live_bytes, context_bytes);

            for (size_t n = 1; n <= needed; n++) {
                for (int from = 0; from <= 1; from++) {
                    counting.calls = 0;
                    counting.fail_at = n;
                    counting.fail_from = from;
                    assert_refused(context, &desc, TQ_ERR_OUT_OF_MEMORY);
                    assert_int_equal(counting.live_blocks, context_blocks);
                    assert_int_equal(counting.live_bytes, context_bytes);
                }
            }
            /* The context has not suffered. */
            counting.fail_at = 0;
            codec = open_codec_desc(context, &desc);

            /* Calls on rows do not allocate. */
            counting.calls = 0;
            float x[80 * 3];
            float scores[9];
            struct rng rng = rng_seeded(1);
            rng_fill_gauss(&rng, x, 80 * 3);
            const size_t size = 3 * tq_codec_bytes(codec);
            unsigned char *rows = malloc(size);
            assert_status(tq_encode(codec, x, TQ_DTYPE_F32, 0, 3, rows, size), TQ_OK);
            assert_status(tq_attention_scores(codec, x, TQ_DTYPE_F32, 0, 3, rows, size, 3, 1, scores, 0), TQ_OK);
            assert_status(tq_weighted_sum(codec, scores, 0, 3, rows, size, 3, x, 0), TQ_OK);
            assert_status(tq_decode(codec, rows, size, 3, x, TQ_DTYPE_F32, 0), TQ_OK);
            free(rows);
            assert_int_equal(counting.calls, 0);

            tq_codec_destroy(codec);
            tq_context_destroy(context);
            assert_int_equal(counting.live_blocks, 0);
            assert_int_equal(counting.live_bytes, 0);
            assert_int_equal(counting.broken_promises, 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_struct_size),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_bytes_of_128),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_trellis_effort),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_hadamard_dims),
        cmocka_unit_test(test_allocation_failure),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
