/* SPDX-License-Identifier: MIT
 *
 * Loading is strict: a flipped bit, a missing end, wrong values under right checksums, callbacks and memory that fail;
 * each is refused, and nothing is left behind. */
#include "cache_support.h"
#include "saved_support.h"

#include <math.h>
#include <stdio.h>

/* A cache, and a saved sequence that it refuses when it is damaged. */
struct damaged {
    struct counting_allocator counting;
    tq_context *context;
    tq_cache_desc desc;
    tq_cache *cache;
    struct bytes good;
    struct saved *layout;
    size_t idle_blocks; /* Of a cache without sequences. */
};

static const tq_layer_formats small_layers[] = {{TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO1},
                                                {TQ_FORMAT_F16, TQ_FORMAT_TURBO2T}};

/* Two layers with all kinds of parts: an encoded page with sinks; one that was cut and went on; nothing but exact. */
static struct damaged *open_damaged(void)
{
    struct damaged *d = calloc(1, sizeof *d);
    assert_non_null(d);
    const tq_allocator hooks = counting_allocator_hooks(&d->counting);
    d->context = open_context_with(&hooks, NULL);
    d->desc = cache_desc(2, 1, 4, 8);
    d->desc.layers = small_layers;
    d->desc.sink_tokens = 2;
    d->desc.recent_tokens = TQ_NO_RECENT_TOKENS;
    d->desc.effort = TQ_EFFORT_FAST;
    d->cache = open_cache(d->context, &d->desc);
    struct rng rng = rng_seeded(401);
    struct tokens t = tokens_gauss(&rng, &d->desc, 1, 200);
    tq_seq *seq = open_seq(d->cache);
    for (uint32_t layer = 0; layer < 2; layer++) {
        const tq_kv kv = tokens_kv(&t, 0, 200);
        assert_status(tq_cache_append(d->cache, seq, layer, &kv), TQ_OK);
    }
    assert_status(tq_seq_truncate(seq, 70), TQ_OK);
    const tq_kv kv = tokens_kv(&t, 70, 3);
    assert_status(tq_cache_append(d->cache, seq, 0, &kv), TQ_OK);
    d->good = save_bytes(d->cache, seq);
    d->layout = saved_open(d->context, &d->good);
    /* Of each format, a codec is made on demand and stays: now. */
    for (size_t i = 0; i < tq_format_count(); i++) {
        const tq_format format = tq_format_at(i);
        const tq_tier tier = {0, {is_trellis(format) ? TQ_FORMAT_DEFAULT : format, format}};
        assert_status(tq_cache_demote(d->cache, seq, is_prod(format) ? NULL : &tier, is_prod(format) ? 0 : 1), TQ_OK);
    }
    tq_seq_destroy(seq);
    tokens_free(&t);
    d->idle_blocks = d->counting.live_blocks;
    return d;
}

static void close_damaged(struct damaged *d)
{
    saved_close(d->layout);
    bytes_free(&d->good);
    tq_cache_destroy(d->cache);
    tq_context_destroy(d->context);
    assert_int_equal(d->counting.live_blocks, 0);
    assert_int_equal(d->counting.broken_promises, 0);
    free(d);
}

/* Loads; a failure has no effect. */
static tq_status load(struct damaged *d, struct bytes *bytes, tq_seq **seq)
{
    tq_seq *const untouched = (tq_seq *)(void *)d;
    const tq_reader reader = bytes_reader(bytes);
    *seq = untouched;
    bytes->at = 0;
    bytes->calls = 0;
    const tq_status status = tq_cache_load(d->cache, &reader, seq);
    if (status != TQ_OK) {
        assert_ptr_equal(*seq, untouched);
        assert_int_equal(d->counting.live_blocks, d->idle_blocks);
        assert_int_equal(stats_of(d->cache).n_sequences, 0);
        assert_int_equal(stats_of(d->cache).page_bytes, 0);
    }
    return status;
}

/* Was it refused as damage? Says where, if it was not. */
static void assert_refused(tq_status status, const char *what, size_t where)
{
    if (status != TQ_ERR_CORRUPT && status != TQ_ERR_BAD_VERSION && status != TQ_ERR_UNSUPPORTED) {
        fail_msg("%s %zu: %s", what, where, tq_status_string(status));
    }
}

static void test_flipped_bits(void **state)
{
    (void)state;
    struct damaged *d = open_damaged();
    struct bytes bytes = bytes_copy(&d->good);
    tq_seq *seq;
    for (size_t bit = 0; bit < 8 * bytes.size; bit += quick() ? 5 : 1) {
        bytes.data[bit / 8] ^= (unsigned char)(1U << bit % 8);
        assert_refused(load(d, &bytes, &seq), "bit", bit);
        bytes.data[bit / 8] ^= (unsigned char)(1U << bit % 8);
    }
    assert_status(load(d, &bytes, &seq), TQ_OK);
    bytes_free(&bytes);
    close_damaged(d);
}

static void test_missing_ends(void **state)
{
    (void)state;
    struct damaged *d = open_damaged();
    struct bytes bytes = bytes_copy(&d->good);
    tq_seq *seq;
    for (size_t size = 0; size < d->good.size; size++) {
        bytes.size = size;
        if (load(d, &bytes, &seq) != TQ_ERR_CORRUPT) {
            fail_msg("the first %zu bytes are not refused", size);
        }
    }
    bytes_free(&bytes);
    close_damaged(d);
}

/* The reader of a sequence takes all there is; that of a desc stops earlier. */
static void test_damaged_desc(void **state)
{
    (void)state;
    struct damaged *d = open_damaged();
    const size_t end = SAVED_HEADER + 2 * SAVED_LAYER + SAVED_CHECKSUM;
    struct bytes bytes = bytes_copy(&d->good);
    const tq_reader reader = bytes_reader(&bytes);
    for (size_t bit = 0; bit < 8 * end; bit++) {
        tq_layer_formats layers[2] = {{-1, -1}, {-1, -1}};
        tq_cache_desc found = TQ_CACHE_DESC_INIT;
        bytes.data[bit / 8] ^= (unsigned char)(1U << bit % 8);
        bytes.at = 0;
        assert_refused(tq_cache_read_desc(d->context, &reader, &found, layers, 2), "desc, bit", bit);
        assert_int_equal(found.n_layers, 0);
        assert_int_equal(layers[1].v_format, -1);
        bytes.data[bit / 8] ^= (unsigned char)(1U << bit % 8);
    }
    for (bytes.size = 0; bytes.size < end; bytes.size++) {
        tq_layer_formats layers[2] = {{-1, -1}, {-1, -1}};
        tq_cache_desc found = TQ_CACHE_DESC_INIT;
        bytes.at = 0;
        assert_status(tq_cache_read_desc(d->context, &reader, &found, layers, 2), TQ_ERR_CORRUPT);
        assert_int_equal(found.n_layers, 0);
        assert_int_equal(layers[0].k_format, -1);
    }
    bytes_free(&bytes);
    bytes = bytes_copy(&d->good);
    number_set(&bytes, 40, 4, 0); /* No layers: no cache has none. */
    saved_seal(&bytes, d->layout);
    tq_layer_formats layers[2];
    tq_cache_desc found = TQ_CACHE_DESC_INIT;
    assert_status(tq_cache_read_desc(d->context, &reader, &found, layers, 2), TQ_ERR_CORRUPT);
    assert_int_equal(d->counting.live_blocks, d->idle_blocks);
    bytes_free(&bytes);
    close_damaged(d);
}

/* A number of `size` bytes at `at` becomes `value`, and the checksums are made right. */
static void check_value(struct damaged *d, const char *what, size_t at, size_t size, uint64_t value, tq_status expected)
{
    struct bytes bytes = bytes_copy(&d->good);
    tq_seq *seq;
    assert_true(number_at(&bytes, at, size) != value);
    number_set(&bytes, at, size, value);
    saved_seal(&bytes, d->layout);
    const tq_status status = load(d, &bytes, &seq);
    if (status != expected) {
        fail_msg("%s = %llx: %s", what, (unsigned long long)value, tq_status_string(status));
    }
    bytes_free(&bytes);
}

static void test_wrong_headers(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        size_t at;
        size_t size;
        uint64_t value;
        tq_status expected;
    } cases[] = {
        {"magic", 0, 8, 0, TQ_ERR_CORRUPT},
        {"version", 8, 4, 0, TQ_ERR_BAD_VERSION},
        {"version", 8, 4, 2, TQ_ERR_BAD_VERSION},
        {"required flags", 12, 4, 1, TQ_ERR_BAD_VERSION},
        {"required flags", 12, 4, 0x80000000, TQ_ERR_BAD_VERSION},
        {"layout", 16, 4, 2, TQ_ERR_BAD_VERSION},
        {"codebook", 20, 4, 0, TQ_ERR_BAD_VERSION},
        {"rotation of keys", 24, 4, 2, TQ_ERR_UNSUPPORTED},
        {"rotation of values", 28, 4, 0, TQ_ERR_UNSUPPORTED},
        {"seed", 32, 8, 1, TQ_ERR_UNSUPPORTED},
        {"layers", 40, 4, 0, TQ_ERR_CORRUPT},
        {"layers", 40, 4, 1, TQ_ERR_UNSUPPORTED},
        {"layers", 40, 4, 0xFFFFFFFF, TQ_ERR_UNSUPPORTED},
        {"heads", 44, 4, 2, TQ_ERR_UNSUPPORTED},
        {"head_dim_k", 48, 4, 8, TQ_ERR_UNSUPPORTED},
        {"head_dim_v", 52, 4, 4, TQ_ERR_UNSUPPORTED},
        {"page tokens", 56, 4, 32, TQ_ERR_BAD_VERSION},
        {"recent_tokens", 60, 4, 64, TQ_ERR_UNSUPPORTED},
        {"sink_tokens", 64, 4, 0, TQ_ERR_UNSUPPORTED},
        {"flags", 68, 4, 1, TQ_ERR_UNSUPPORTED},
        {"flags", 68, 4, 4, TQ_ERR_UNSUPPORTED},
        {"reserved", 72, 8, 1, TQ_ERR_BAD_VERSION},
        {"file bytes", 80, 8, 0, TQ_ERR_CORRUPT},
        {"file bytes", 80, 8, 100, TQ_ERR_CORRUPT},
        {"file bytes", 80, 8, UINT64_MAX, TQ_ERR_CORRUPT},
        {"tokens", 96 + 8, 8, 0, TQ_ERR_CORRUPT},
        {"tokens", 96 + 8, 8, 64, TQ_ERR_CORRUPT},
        {"tokens", 96 + 8, 8, 129, TQ_ERR_CORRUPT},
        {"tokens", 96 + 8, 8, UINT64_C(1) << 60, TQ_ERR_CORRUPT},
        {"tokens", 96 + 8, 8, UINT64_MAX, TQ_ERR_CORRUPT},
        {"tokens of the last layer", 96 + 24 + 8, 8, UINT64_C(1) << 60, TQ_ERR_CORRUPT},
        {"section bytes", 96 + 16, 8, 0, TQ_ERR_CORRUPT},
        {"section bytes", 96 + 16, 8, UINT64_MAX, TQ_ERR_CORRUPT},
        {"section bytes", 96 + 24 + 16, 8, 8, TQ_ERR_CORRUPT},
    };
    struct damaged *d = open_damaged();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_value(d, cases[i].what, cases[i].at, cases[i].size, cases[i].value, cases[i].expected);
    }
    /* A byte from one section to the other: the sum is right. */
    struct bytes bytes = bytes_copy(&d->good);
    tq_seq *seq;
    number_set(&bytes, 96 + 16, 8, number_at(&bytes, 96 + 16, 8) + 1);
    number_set(&bytes, 96 + 24 + 16, 8, number_at(&bytes, 96 + 24 + 16, 8) - 1);
    saved_seal(&bytes, d->layout);
    assert_status(load(d, &bytes, &seq), TQ_ERR_CORRUPT);
    bytes_free(&bytes);
    close_damaged(d);
}

static void test_wrong_pages(void **state)
{
    (void)state;
    struct damaged *d = open_damaged();
    const struct saved_page *first = &d->layout->layers[0].pages[0];
    const struct saved_page *second = &d->layout->layers[0].pages[1];
    const struct saved_page *other = &d->layout->layers[1].pages[1];
    /* What the file is made of. */
    assert_int_equal(first->parts, SAVED_SINKS | SAVED_ENCODED);
    assert_int_equal(second->parts, SAVED_ENCODED | SAVED_EXACT);
    assert_int_equal(second->n_encoded, 6);
    assert_int_equal(second->exact_from, 6);
    assert_int_equal(other->parts, SAVED_ENCODED);
    assert_int_equal(other->n_encoded, 6);

    static const uint32_t bad_formats[] = {0,
                                           2,
                                           35,
                                           0xFFFFFFFF,
                                           TQ_FORMAT_TURBO2_PROD,
                                           TQ_FORMAT_TURBO3_PROD,
                                           TQ_FORMAT_TURBO4_PROD,
                                           TQ_FORMAT_TURBO4T}; /* head_dim_k is 4. */
    for (size_t i = 0; i < sizeof bad_formats / sizeof bad_formats[0]; i++) {
        check_value(d, "key format of a page", first->at, 4, bad_formats[i], TQ_ERR_CORRUPT);
        check_value(d, "key format of a page", second->at, 4, bad_formats[i], TQ_ERR_CORRUPT);
        if (bad_formats[i] != TQ_FORMAT_TURBO4T) {
            check_value(d, "value format of a page", first->at + 4, 4, bad_formats[i], TQ_ERR_CORRUPT);
        }
    }
    static const uint32_t bad_parts[] = {0, SAVED_EXACT, SAVED_SINKS, SAVED_SINKS | SAVED_EXACT, 7, 8 + 6, 0x80000006};
    for (size_t i = 0; i < sizeof bad_parts / sizeof bad_parts[0]; i++) {
        check_value(d, "parts of the first page", first->at + 8, 4, bad_parts[i], TQ_ERR_CORRUPT);
    }
    check_value(d, "parts of the first page", first->at + 8, 4, SAVED_ENCODED, TQ_ERR_CORRUPT);
    check_value(d, "parts of the second page", second->at + 8, 4, 7, TQ_ERR_CORRUPT); /* Sinks on page 1. */
    check_value(d, "parts of the second page", second->at + 8, 4, SAVED_ENCODED | SAVED_SINKS, TQ_ERR_CORRUPT);
    check_value(d, "parts of the second page", second->at + 8, 4, SAVED_ENCODED, TQ_ERR_CORRUPT);
    static const uint32_t bad_encoded[] = {0, 63, 65, 128, 0xFFFFFFFF};
    for (size_t i = 0; i < sizeof bad_encoded / sizeof bad_encoded[0]; i++) {
        check_value(d, "n_encoded", first->at + 12, 4, bad_encoded[i], TQ_ERR_CORRUPT);
    }
    check_value(d, "n_encoded of the cut page", second->at + 12, 4, 5, TQ_ERR_CORRUPT);
    check_value(d, "n_encoded of the end", other->at + 12, 4, 5, TQ_ERR_CORRUPT);
    check_value(d, "exact_from", second->at + 16, 4, 7, TQ_ERR_CORRUPT);
    check_value(d, "exact_from", second->at + 16, 4, 64, TQ_ERR_CORRUPT);
    check_value(d, "exact_from", second->at + 16, 4, 0xFFFFFFFF, TQ_ERR_CORRUPT);
    check_value(d, "exact_from without an exact part", first->at + 16, 4, 0xFFFFFFFF, TQ_ERR_CORRUPT);
    check_value(d, "exact_from without an exact part", other->at + 16, 4, 6, TQ_ERR_CORRUPT);
    check_value(d, "n_encoded beyond the end", other->at + 12, 4, 64, TQ_ERR_CORRUPT);
    check_value(d, "reserved", first->at + 20, 4, 1, TQ_ERR_CORRUPT);
    check_value(d, "reserved", other->at + 20, 4, 0x80000000, TQ_ERR_CORRUPT);
    close_damaged(d);
}

static void test_wrong_numbers(void **state)
{
    (void)state;
    struct damaged *d = open_damaged();
    const struct saved_page *first = &d->layout->layers[0].pages[0];
    const struct saved_page *second = &d->layout->layers[0].pages[1];
    const struct saved_page *halves = &d->layout->layers[1].pages[0];
    static const uint64_t bad_halves[] = {0x7C00, 0xFC00, 0x7E00, 0xFFFF};
    const size_t k_mean = first->part_at[SAVED_ENCODED];
    const size_t k_rows = k_mean + 2 * 4;
    const size_t v_mean = k_rows + 64 * row_bytes(TQ_FORMAT_TURBO2, 4);
    const size_t v_rows = v_mean + 2 * 8;
    for (size_t i = 0; i < 4; i++) {
        const uint64_t bad = bad_halves[i];
        check_value(d, "sink", first->part_at[SAVED_SINKS] + 2, 2, bad, TQ_ERR_CORRUPT);
        check_value(d, "last sink", first->part_at[SAVED_SINKS] + 2 * 24 - 2, 2, bad, TQ_ERR_CORRUPT);
        check_value(d, "mean of keys", k_mean, 2, bad, TQ_ERR_CORRUPT);
        check_value(d, "mean of values", v_mean + 2 * 7, 2, bad, TQ_ERR_CORRUPT);
        check_value(d, "scale of a key", k_rows, 2, bad, TQ_ERR_CORRUPT);
        check_value(d, "scale of the last key", k_rows + 63 * row_bytes(TQ_FORMAT_TURBO2, 4), 2, bad, TQ_ERR_CORRUPT);
        check_value(d, "scale of a value", v_rows, 2, bad, TQ_ERR_CORRUPT);
        check_value(d, "scale of the last value", v_rows + 63 * row_bytes(TQ_FORMAT_TURBO1, 8), 2, bad, TQ_ERR_CORRUPT);
        check_value(d, "exact key", second->part_at[SAVED_EXACT] + 6 * 8, 2, bad, TQ_ERR_CORRUPT);
        check_value(d, "exact value", second->part_at[SAVED_EXACT] + 64 * 8 + 6 * 16, 2, bad, TQ_ERR_CORRUPT);
        check_value(d, "encoded f16 key", halves->part_at[SAVED_ENCODED] + 8, 2, bad, TQ_ERR_CORRUPT);
    }
    /* What does not exist is zero. */
    const struct saved_page *end = &d->layout->layers[1].pages[1];
    check_value(d, "exact key before the exact part", second->part_at[SAVED_EXACT] + 5 * 8, 1, 1, TQ_ERR_CORRUPT);
    check_value(d, "exact key behind the end", second->part_at[SAVED_EXACT] + 9 * 8, 1, 1, TQ_ERR_CORRUPT);
    check_value(d, "last exact value", second->part_at[SAVED_EXACT] + 64 * 24 - 1, 1, 1, TQ_ERR_CORRUPT);
    check_value(d, "encoded key behind the cut", second->part_at[SAVED_ENCODED] + 8 + 6 * 3, 1, 1, TQ_ERR_CORRUPT);
    check_value(d, "encoded f16 key behind the end", end->part_at[SAVED_ENCODED] + 6 * 8, 1, 1, TQ_ERR_CORRUPT);
    /* Without means, a scale has no sign. */
    d->desc.flags = NO_MEANS;
    tq_cache_destroy(d->cache);
    d->cache = open_cache(d->context, &d->desc);
    tq_seq *seq = open_seq(d->cache);
    struct rng rng = rng_seeded(402);
    struct tokens t = tokens_gauss(&rng, &d->desc, 1, 70);
    const tq_kv kv = tokens_kv(&t, 0, 70);
    assert_status(tq_cache_append(d->cache, seq, 0, &kv), TQ_OK);
    bytes_free(&d->good);
    saved_close(d->layout);
    d->good = save_bytes(d->cache, seq);
    d->layout = saved_open(d->context, &d->good);
    tq_seq_destroy(seq);
    d->idle_blocks = d->counting.live_blocks;
    const size_t row = d->layout->layers[0].pages[0].part_at[SAVED_ENCODED] + 3 * row_bytes(TQ_FORMAT_TURBO2, 4);
    check_value(d, "sign of a scale", row + 1, 1, d->good.data[row + 1] | 0x80U, TQ_ERR_CORRUPT);
    tokens_free(&t);
    close_damaged(d);
}

/* Uses a sequence in all ways. */
static void use(struct damaged *d, tq_seq *seq, const struct tokens *t)
{
    const tq_tier cold = {0, {TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO1}};
    const tq_rope rope = TQ_ROPE_INIT;
    float out[70 * 8];
    for (uint32_t layer = 0; layer < 2; layer++) {
        const tq_kv kv = tokens_kv(t, 0, 70);
        const tq_attention attention = tokens_attention(t, 0, 70, out, NULL);
        assert_status(tq_cache_rope_shift(d->cache, seq, layer, 3, tq_seq_length(seq, layer), 5, &rope), TQ_OK);
        assert_status(tq_cache_forward(d->cache, seq, layer, &kv, &attention), TQ_OK);
        for (size_t i = 0; i < 70 * 8; i++) {
            assert_true(fabsf(out[i]) <= 1e6F); /* And no NaN. */
        }
    }
    assert_status(tq_cache_demote(d->cache, seq, &cold, 1), TQ_OK);
    assert_status(tq_seq_truncate(seq, 50), TQ_OK);
    struct bytes bytes = save_bytes(d->cache, seq);
    bytes_free(&bytes);
}

/* Random bytes under right checksums. What is not refused is a sequence like any other, and is saved as it was. */
static void test_random_bytes(void **state)
{
    (void)state;
    struct damaged *d = open_damaged();
    struct rng rng = rng_seeded(403);
    struct tokens t = tokens_gauss(&rng, &d->desc, 1, 70);
    const size_t first = d->layout->layers[0].section_at;
    size_t accepted = 0;
    size_t refused = 0;
    for (size_t i = 0; i < (quick() ? 1000 : 5000); i++) {
        struct bytes bytes = bytes_copy(&d->good);
        tq_seq *seq;
        /* Often in the 24 bytes of a page. */
        const struct saved_page *page = &d->layout->layers[rng_word(&rng) % 2].pages[rng_word(&rng) % 2];
        const size_t at = rng_word(&rng) % 3 == 0 ? page->at + rng_word(&rng) % SAVED_PAGE
                                                  : first + rng_word(&rng) % (bytes.size - first);
        bytes.data[at] =
            (unsigned char)(rng_word(&rng) % 5 ? rng_word(&rng) : bytes.data[at] ^ 1U << rng_word(&rng) % 8);
        saved_seal(&bytes, d->layout);
        if (load(d, &bytes, &seq) == TQ_OK) {
            struct bytes again = save_bytes(d->cache, seq);
            assert_bytes_equal(&again, &bytes, "what was not refused");
            bytes_free(&again);
            use(d, seq, &t);
            tq_seq_destroy(seq);
            accepted++;
        } else {
            refused++;
        }
        bytes_free(&bytes);
    }
    assert_true(accepted > 100 && refused > 100);
    tokens_free(&t);
    close_damaged(d);
}

/* Every call of the writer fails once, and every call of the reader. */
static void test_failing_callbacks(void **state)
{
    (void)state;
    struct damaged *d = open_damaged();
    struct bytes bytes = bytes_copy(&d->good);
    tq_seq *seq = NULL;
    size_t nth = 0;
    do {
        bytes.fail_at = ++nth;
        const tq_status status = load(d, &bytes, &seq);
        assert_status(status, bytes.calls < nth ? TQ_OK : TQ_ERR_CORRUPT);
    } while (bytes.calls >= nth);
    assert_true(nth > 20);
    struct bytes copy = {0};
    const tq_writer writer = bytes_writer(&copy);
    for (nth = 1;; nth++) {
        copy.size = 0;
        copy.calls = 0;
        copy.fail_at = nth;
        const tq_status status = tq_cache_save(d->cache, seq, &writer);
        if (copy.calls < nth) {
            assert_status(status, TQ_OK);
            break;
        }
        assert_status(status, TQ_ERR_IO);
        assert_int_equal(copy.calls, nth); /* It is not asked again. */
    }
    assert_bytes_equal(&copy, &d->good, "saved after failures");
    bytes_free(&copy);
    bytes_free(&bytes);
    close_damaged(d);
}

static void test_allocation_failures(void **state)
{
    (void)state;
    struct damaged *d = open_damaged();
    struct bytes bytes = bytes_copy(&d->good);
    tq_seq *seq = NULL;
    tq_layer_formats layers[2];
    tq_cache_desc found = TQ_CACHE_DESC_INIT;
    const tq_reader reader = bytes_reader(&bytes);
    size_t nth = 0;
    for (int met = 1; met;) {
        d->counting.fail_at = d->counting.calls + ++nth;
        d->counting.fail_from = (int)(nth % 2);
        const tq_status status = load(d, &bytes, &seq);
        met = d->counting.calls >= d->counting.fail_at;
        assert_status(status, met ? TQ_ERR_OUT_OF_MEMORY : TQ_OK);
    }
    assert_true(nth > 10);
    d->counting.fail_at = d->counting.calls + 1;
    d->counting.fail_from = 1;
    bytes.at = 0;
    assert_status(tq_cache_read_desc(d->context, &reader, &found, layers, 2), TQ_ERR_OUT_OF_MEMORY);
    bytes.at = 0;
    assert_status(tq_cache_read_desc(d->context, &reader, &found, NULL, 0), TQ_OK); /* Needs none, */
    struct bytes saved = save_bytes(d->cache, seq);                                 /* nor does this. */
    d->counting.fail_at = 0;
    assert_bytes_equal(&saved, &d->good, "saved without memory");
    bytes_free(&saved);
    bytes_free(&bytes);
    close_damaged(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flipped_bits),        cmocka_unit_test(test_missing_ends),
        cmocka_unit_test(test_damaged_desc),        cmocka_unit_test(test_wrong_headers),
        cmocka_unit_test(test_wrong_pages),         cmocka_unit_test(test_wrong_numbers),
        cmocka_unit_test(test_random_bytes),        cmocka_unit_test(test_failing_callbacks),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
