/* SPDX-License-Identifier: MIT
 *
 * Saved sequences come back as they were: whatever a sequence has been through, what was loaded answers bit for bit
 * like what was saved, also when both go on, and is saved to the same bytes. */
#include "cache_support.h"
#include "saved_support.h"

#include <stdio.h>
#include <unistd.h>

enum { N = 420, MAX_PATH = 512 };

/* What a sequence goes through, letter by letter:
 *     aN   all layers grow to N tokens       lN   the first layer does
 *     tN   cut to N                          fN   replaced by its fork at N; the parent stays
 *     dN   pages of age N and more demoted   rN   page N is taken out
 *     sN   keys of the first layer from token N on move by 100 positions */
static tq_seq *live(tq_cache *cache, const char *life, const struct tokens *t, uint32_t n_layers)
{
    tq_seq *seq = open_seq(cache);
    float *out = filled(tokens_out_size(t) * sizeof(float));
    for (const char *p = life; *p;) {
        char *end;
        const char letter = *p;
        const size_t n = strtoul(p + 1, &end, 10);
        const tq_tier tiers[] = {{n, {TQ_FORMAT_TURBO3, TQ_FORMAT_DEFAULT}},
                                 {n + 100, {TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO1}}};
        const tq_rope rope = TQ_ROPE_INIT;
        tq_seq *fork = NULL;
        p = end + (*end == ' ');
        switch (letter) {
        case 'a':
        case 'l':
            for (uint32_t layer = 0; layer < (letter == 'l' ? 1 : n_layers); layer++) {
                feed(cache, seq, layer, t, tq_seq_length(seq, layer), n, out, NULL);
            }
            break;
        case 't':
            assert_status(tq_seq_truncate(seq, n), TQ_OK);
            break;
        case 'f':
            assert_status(tq_seq_fork(seq, n, &fork), TQ_OK);
            seq = fork;
            break;
        case 'd':
            assert_status(tq_cache_demote(cache, seq, tiers, 2), TQ_OK);
            break;
        case 'r':
            assert_status(tq_seq_remove(seq, n * TQ_PAGE_TOKENS, TQ_PAGE_TOKENS), TQ_OK);
            break;
        default:
            assert_int_equal(letter, 's');
            assert_status(tq_cache_rope_shift(cache, seq, 0, n, tq_seq_length(seq, 0), 100, &rope), TQ_OK);
        }
    }
    free(out);
    return seq;
}

/* A sequence in a cache of its own. */
struct place {
    tq_cache *cache;
    tq_seq *seq;
};

static void assert_saved_equal(const struct place *a, const struct place *b, const char *what)
{
    struct bytes bytes = save_bytes(a->cache, a->seq);
    struct bytes other = save_bytes(b->cache, b->seq);
    assert_bytes_equal(&other, &bytes, what);
    bytes_free(&bytes);
    bytes_free(&other);
}

/* Both sequences take n more tokens in all layers, `at_once`, and answer the same. */
static void go_on(const struct place *a, const struct place *b, const struct tokens *t, uint32_t n_layers, size_t n,
                  size_t at_once, const char *what)
{
    struct run runs[2] = {open_run(NULL, t), open_run(NULL, t)};
    for (uint32_t layer = 0; layer < n_layers; layer++) {
        const size_t first = tq_seq_length(a->seq, layer);
        assert_int_equal(tq_seq_length(b->seq, layer), first);
        for (size_t i = first, end; i < first + n; i = end) {
            end = i + at_once < first + n ? i + at_once : first + n;
            feed(a->cache, a->seq, layer, t, i, end, runs[0].out, runs[0].lse);
            feed(b->cache, b->seq, layer, t, i, end, runs[1].out, runs[1].lse);
        }
        const size_t row = t->n_q_heads * t->dim_v;
        if (memcmp(runs[0].out + first * row, runs[1].out + first * row, n * row * sizeof(float)) != 0) {
            fail_msg("%s: other outputs in layer %u from token %zu on", what, layer, first);
        }
        assert_runs_equal(&runs[0], &runs[1], t, first, first + n);
    }
    close_run(&runs[0]);
    close_run(&runs[1]);
}

static void shift_both(const struct place *a, const struct place *b, size_t first, size_t end)
{
    const tq_rope rope = TQ_ROPE_INIT;
    assert_status(tq_cache_rope_shift(a->cache, a->seq, 0, first, end, -7, &rope), TQ_OK);
    assert_status(tq_cache_rope_shift(b->cache, b->seq, 0, first, end, -7, &rope), TQ_OK);
}

/* Saved, loaded, and both go on in every way there is. */
static void check_life(const tq_context *context, const tq_context *other, const tq_cache_desc *desc,
                       const struct tokens *t, const char *life)
{
    const tq_tier cold = {0, {TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO2}};
    tq_cache *cache = open_cache(context, desc);
    tq_cache *other_cache = open_cache(other, desc);
    struct place a = {cache, live(cache, life, t, desc->n_layers)};
    struct bytes bytes = save_bytes(cache, a.seq);
    saved_close(saved_open(context, &bytes));
    struct place b = {other_cache, load_bytes(other_cache, &bytes)};
    assert_saved_equal(&a, &b, life);
    bytes_free(&bytes);
    shift_both(&a, &b, 0, tq_seq_length(a.seq, 0));
    assert_saved_equal(&a, &b, life);
    go_on(&a, &b, t, desc->n_layers, 5, 1, life);
    assert_saved_equal(&a, &b, life);
    go_on(&a, &b, t, desc->n_layers, 110, 110, life);
    assert_saved_equal(&a, &b, life);
    assert_status(tq_seq_truncate(a.seq, 90), TQ_OK);
    assert_status(tq_seq_truncate(b.seq, 90), TQ_OK);
    shift_both(&a, &b, 10, 80);
    assert_saved_equal(&a, &b, life);
    go_on(&a, &b, t, desc->n_layers, 120, 50, life);
    assert_status(tq_cache_demote(a.cache, a.seq, &cold, 1), TQ_OK);
    assert_status(tq_cache_demote(b.cache, b.seq, &cold, 1), TQ_OK);
    assert_saved_equal(&a, &b, life);
    tq_cache_destroy(other_cache);
    tq_cache_destroy(cache);
}

static const char *const lives[] = {
    "",                                  /* Empty. */
    "a1",                                /* A part of a page. */
    "a64",                               /* A page. */
    "a65",                               /* */
    "a300",                              /* All kinds of pages. */
    "a300 t130",                         /* The end in an encoded page, */
    "a300 t130 a140",                    /* which goes on exact. */
    "a300 t100",                         /* Codes behind the end, */
    "a300 t10",                          /* also in the first page. */
    "a200 t70",                          /* */
    "a300 t100 a101",                    /* In the second page, */
    "a300 t20 a21",                      /* in the first, */
    "a200 t80 a90",                      /* in one that is exact and encoded, */
    "a200 t64 a70 t66",                  /* and at its edge. */
    "a130 t20 a30",                      /* The first page back in the window, with its sinks. */
    "a300 t2 a6",                        /* Sinks cut and filled. */
    "a130 t2 a3",                        /* Cut within the sinks. */
    "a300 t130 a150 t135 a136 a200",     /* Cut twice. */
    "a300 f150",                         /* Shared pages, */
    "a300 f300 a301",                    /* and copied ones. */
    "a300 d0",                           /* Demoted, */
    "a300 d30 t100 a105",                /* and cut. */
    "l290 a300 t80 l90",                 /* Layers of different lengths. */
    "a300 r1",                           /* A page is gone, */
    "a300 r0",                           /* the sinks with it, */
    "a300 r0 t10 a20",                   /* and a cut in the page that is the first now. */
    "a300 s0",                           /* Other positions, */
    "a300 t130 a140 s50",                /* also of part of a cut page. */
    "a300 f200 d0 s70 r2 t110 a150 f130" /* All of it. */
};

static void test_lives(void **state)
{
    static const uint32_t windows[] = {0, TQ_NO_RECENT_TOKENS, 100};
    static const uint32_t sinks[] = {4, 0, 64};
    struct rng rng = rng_seeded(301);
    const tq_executor executor = threaded_executor();
    tq_context *other = open_context_with(NULL, &executor);
    tq_cache_desc desc = mixed_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 4, N);
    for (size_t w = 0; w < (quick() ? 1 : 3); w++) {
        for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i += quick() ? 2 : 1) {
            desc.recent_tokens = windows[(w + i) % 3];
            desc.sink_tokens = sinks[(w + i / 3) % 3];
            desc.flags = (uint32_t)((i / 2 + w) % 4);
            desc.seed = i;
            check_life(*state, other, &desc, &t, lives[i]);
        }
    }
    tokens_free(&t);
    tq_context_destroy(other);
}

/* Every format, keys and values apart, and dimensions of each kind of rotation. */
static void test_formats(void **state)
{
    static const uint32_t dims[][2] = {{16, 24}, {40, 8}, {7, 30}};
    struct rng rng = rng_seeded(302);
    for (size_t i = 0; i < tq_format_count(); i++) {
        for (size_t d = quick() ? i % 2 : 0; d < sizeof dims / sizeof dims[0]; d += quick() ? 2 : 1) {
            tq_cache_desc desc = cache_desc(1, 1, dims[d][0], dims[d][1]);
            desc.k_format = tq_format_at(i);
            desc.v_format = tq_format_at(tq_format_count() - 1 - i);
            desc.sink_tokens = 3;
            if (is_prod(desc.k_format) || is_prod(desc.v_format) || (d == 2 && i + 3 >= tq_format_count()) ||
                (d == 2 && i < 3)) {
                continue; /* Not for caches, or a trellis without a multiple of 8. */
            }
            struct tokens t = tokens_gauss(&rng, &desc, 1, N);
            check_life(*state, *state, &desc, &t, "a260 t130 a140");
            tokens_free(&t);
        }
    }
}

/* A cache of other formats takes the pages as they are, and encodes new ones its own way. */
static void test_other_formats(void **state)
{
    static const tq_layer_formats small[] = {
        {TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO1}, {TQ_FORMAT_TURBO2, TQ_FORMAT_F16}, {TQ_FORMAT_TURBO8, TQ_FORMAT_TURBO3}};
    static const tq_layer_formats large[] = {
        {TQ_FORMAT_F16, TQ_FORMAT_F16}, {TQ_FORMAT_TURBO8, TQ_FORMAT_TURBO4}, {TQ_FORMAT_TURBO2, TQ_FORMAT_F16}};
    struct rng rng = rng_seeded(303);
    struct counting_allocator counting = {0};
    const tq_allocator hooks = counting_allocator_hooks(&counting);
    tq_context *context = open_context_with(&hooks, NULL);
    const size_t idle_blocks = counting.live_blocks;
    tq_cache_desc desc = mixed_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    for (int way = 0; way < 2; way++) {
        desc.layers = way ? small : large;
        tq_cache *from = open_cache(context, &desc);
        tq_seq *seq = live(from, "a200", &t, 3);
        struct bytes bytes = save_bytes(from, seq);
        desc.layers = way ? large : small;
        tq_cache *to = open_cache(context, &desc);
        tq_seq *loaded = load_bytes(to, &bytes);
        struct bytes again = save_bytes(to, loaded);
        for (size_t i = 0; i < bytes.size; i++) { /* Only the table differs: it tells the cache's formats. */
            assert_true(again.data[i] == bytes.data[i] ||
                        (i >= SAVED_HEADER && i < SAVED_HEADER + 3 * SAVED_LAYER + 8));
        }
        float *out = filled(tokens_out_size(&t) * sizeof(float));
        for (uint32_t layer = 0; layer < 3; layer++) {
            feed(to, loaded, layer, &t, 200, N, out, NULL);
        }
        bytes_free(&again);
        again = save_bytes(to, loaded);
        struct saved *saved = saved_open(*state, &again);
        for (uint32_t layer = 0; layer < 3; layer++) {
            for (size_t page = 0; page < 5; page++) { /* The first two were encoded before. */
                const tq_layer_formats *of = page < 2 ? (way ? small : large) : desc.layers;
                assert_int_equal(saved->layers[layer].pages[page].formats[0], of[layer].k_format);
                assert_int_equal(saved->layers[layer].pages[page].formats[1], of[layer].v_format);
            }
        }
        saved_close(saved);
        free(out);
        bytes_free(&again);
        bytes_free(&bytes);
        tq_seq_destroy(loaded);
        assert_int_equal(stats_of(to).page_bytes, 0);
        tq_cache_destroy(to);
        tq_cache_destroy(from);
    }
    assert_int_equal(counting.live_blocks, idle_blocks);
    tq_context_destroy(context);
    tokens_free(&t);
}

/* What is in memory after loading is what was, and the reader stops where the sequence ends. */
static void test_memory(void **state)
{
    struct rng rng = rng_seeded(304);
    tq_cache_desc desc = mixed_desc();
    desc.sink_tokens = 4;
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    tq_cache *cache = open_cache(*state, &desc);
    tq_seq *seq = live(cache, "a300", &t, 3);
    const size_t bytes_of_one = estimate_of(*state, &desc, 300);
    assert_int_equal(stats_of(cache).page_bytes, bytes_of_one);
    struct bytes two = {0};
    const tq_writer writer = bytes_writer(&two);
    assert_status(tq_cache_save(cache, seq, &writer), TQ_OK);
    const size_t size_of_one = two.size;
    assert_status(tq_cache_save(cache, seq, &writer), TQ_OK);
    const tq_reader reader = bytes_reader(&two);
    for (size_t i = 0; i < 2; i++) {
        tq_seq *loaded = NULL;
        assert_status(tq_cache_load(cache, &reader, &loaded), TQ_OK);
        assert_int_equal(two.at, (i + 1) * size_of_one);
        assert_int_equal(stats_of(cache).page_bytes, (i + 2) * bytes_of_one);
        assert_int_equal(stats_of(cache).n_sequences, i + 2);
    }
    bytes_free(&two);
    tq_cache_destroy(cache);

    /* The limit: a byte less than it takes is too little. */
    for (size_t missing = 0; missing < 2; missing++) {
        desc.memory_limit = bytes_of_one + 1 - missing;
        cache = open_cache(*state, &desc);
        seq = live(cache, "a300", &t, 3);
        struct bytes bytes = save_bytes(cache, seq);
        tq_seq *loaded = NULL;
        const tq_reader again = bytes_reader(&bytes);
        assert_status(tq_cache_load(cache, &again, &loaded), TQ_ERR_CAPACITY);
        assert_null(loaded);
        assert_int_equal(stats_of(cache).page_bytes, bytes_of_one);
        tq_seq_destroy(seq);
        load_bytes(cache, &bytes);
        bytes_free(&bytes);
        tq_cache_destroy(cache);
    }
    tokens_free(&t);
}

static void test_read_desc(void **state)
{
    static const uint32_t windows[] = {0, TQ_NO_RECENT_TOKENS, 100};
    struct rng rng = rng_seeded(305);
    for (size_t w = 0; w < 3; w++) {
        tq_cache_desc desc = mixed_desc();
        desc.recent_tokens = windows[w];
        desc.sink_tokens = (uint32_t)w;
        desc.flags = (uint32_t)w;
        desc.seed = UINT64_MAX - w;
        struct tokens t = tokens_gauss(&rng, &desc, 2, N);
        tq_cache *cache = open_cache(*state, &desc);
        struct bytes bytes = save_bytes(cache, live(cache, "a300", &t, 3));
        tq_cache_destroy(cache);

        tq_layer_formats layers[4];
        tq_cache_desc found = TQ_CACHE_DESC_INIT;
        const tq_reader reader = bytes_reader(&bytes);
        assert_status(tq_cache_read_desc(*state, &reader, &found, layers, 4), TQ_OK);
        assert_int_equal(found.n_layers, 3);
        assert_int_equal(found.n_kv_heads, 2);
        assert_int_equal(found.head_dim_k, 16);
        assert_int_equal(found.head_dim_v, 24);
        assert_int_equal(found.recent_tokens, w == 0 ? 64 : windows[w]);
        assert_int_equal(found.sink_tokens, w);
        assert_int_equal(found.flags, w);
        assert_true(found.seed == desc.seed);
        assert_ptr_equal(found.layers, layers);
        assert_memory_equal(layers, desc.layers, 3 * sizeof *layers);
        cache = open_cache(*state, &found); /* A cache made of it loads the file. */
        load_bytes(cache, &bytes);
        tq_cache_destroy(cache);

        bytes.at = 0;
        found = (tq_cache_desc)TQ_CACHE_DESC_INIT;
        assert_status(tq_cache_read_desc(*state, &reader, &found, NULL, 0), TQ_OK);
        assert_int_equal(bytes.at, SAVED_HEADER);
        assert_null(found.layers);
        cache = open_cache(*state, &found);
        load_bytes(cache, &bytes);
        tq_cache_destroy(cache);

        bytes.at = 0;
        memset(layers, FILL_BYTE, sizeof layers);
        found = (tq_cache_desc)TQ_CACHE_DESC_INIT;
        assert_status(tq_cache_read_desc(*state, &reader, &found, layers, 2), TQ_ERR_BUFFER_TOO_SMALL);
        assert_int_equal(found.n_layers, 3);
        assert_true(still_filled(layers, sizeof layers));
        bytes_free(&bytes);
        tokens_free(&t);
    }
}

/* Is there such a file? */
static int is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static void test_files(void **state)
{
    char folder[] = "/tmp/tq_saved_XXXXXX";
    char path[MAX_PATH];
    char part[MAX_PATH + 8];
    char missing[MAX_PATH];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.tqc", folder);
    snprintf(part, sizeof part, "%s.part", path);
    snprintf(missing, sizeof missing, "%s/none/a.tqc", folder);
    struct rng rng = rng_seeded(306);
    tq_cache_desc desc = mixed_desc();
    struct tokens t = tokens_gauss(&rng, &desc, 2, N);
    tq_cache *cache = open_cache(*state, &desc);
    tq_cache *other = open_cache(*state, &desc);
    tq_seq *seq = live(cache, "a150", &t, 3);
    tq_seq *stranger = open_seq(other);
    tq_seq *loaded = NULL;

    assert_status(tq_cache_load_file(cache, path, &loaded), TQ_ERR_IO);
    assert_status(tq_cache_save_file(cache, seq, path), TQ_OK);
    assert_false(is_there(part));
    struct bytes expected = save_bytes(cache, seq);
    struct bytes bytes = bytes_of_file(path);
    assert_bytes_equal(&bytes, &expected, "file");
    assert_status(tq_cache_load_file(cache, path, &loaded), TQ_OK);
    struct bytes again = save_bytes(cache, loaded);
    assert_bytes_equal(&again, &expected, "loaded file");

    /* What fails leaves the file as it was. */
    assert_status(tq_cache_save_file(cache, stranger, path), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_save_file(cache, NULL, path), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_save_file(cache, seq, missing), TQ_ERR_IO);
    assert_status(tq_cache_save_file(cache, seq, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_save_file(NULL, seq, path), TQ_ERR_INVALID_ARGUMENT);
    if (is_there("/dev/full")) { /* The disk is full: writing fails, late. */
        assert_int_equal(symlink("/dev/full", part), 0);
        assert_status(tq_cache_save_file(cache, seq, path), TQ_ERR_IO);
    }
    assert_false(is_there(part));
    bytes_free(&again);
    again = bytes_of_file(path);
    assert_bytes_equal(&again, &expected, "file after failures");
    assert_status(tq_seq_truncate(seq, 100), TQ_OK);
    assert_status(tq_cache_save_file(cache, seq, path), TQ_OK); /* Another takes its place. */
    bytes_free(&again);
    again = bytes_of_file(path);
    assert_true(again.size < expected.size);

    /* A file with more than a sequence in it, none, and what is no file. */
    tq_seq *none = NULL;
    const tq_writer writer = bytes_writer(&bytes);
    assert_int_equal(writer.write(writer.user, "", 1), 1);
    bytes_to_file(&bytes, path);
    assert_status(tq_cache_load_file(cache, path, &none), TQ_ERR_CORRUPT);
    bytes.size = 0;
    bytes_to_file(&bytes, path);
    assert_status(tq_cache_load_file(cache, path, &none), TQ_ERR_CORRUPT);
    assert_status(tq_cache_load_file(cache, missing, &none), TQ_ERR_IO);
    assert_status(tq_cache_load_file(cache, folder, &none), TQ_ERR_IO);
    assert_status(tq_cache_load_file(cache, NULL, &none), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_load_file(cache, path, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_load_file(NULL, path, &none), TQ_ERR_INVALID_ARGUMENT);
    assert_null(none);
    assert_int_equal(stats_of(cache).n_sequences, 2);
    assert_int_equal(remove(path), 0);
    assert_int_equal(rmdir(folder), 0);
    bytes_free(&again);
    bytes_free(&bytes);
    bytes_free(&expected);
    tq_cache_destroy(other);
    tq_cache_destroy(cache);
    tokens_free(&t);
}

static void test_arguments(void **state)
{
    const tq_context *context = *state;
    tq_cache_desc desc = mixed_desc();
    tq_cache *cache = open_cache(context, &desc);
    tq_cache *other = open_cache(context, &desc);
    tq_seq *seq = open_seq(cache);
    tq_seq *stranger = open_seq(other);
    tq_seq *loaded = NULL;
    struct bytes bytes = save_bytes(cache, seq);
    struct bytes sink = {0};
    bytes.calls = 0;
    const tq_writer writer = bytes_writer(&sink);
    const tq_reader reader = bytes_reader(&bytes);
    const tq_writer no_writer = {NULL, NULL};
    const tq_reader no_reader = {NULL, NULL};
    tq_cache_desc found = TQ_CACHE_DESC_INIT;
    assert_status(tq_cache_save(NULL, seq, &writer), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_save(cache, NULL, &writer), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_save(cache, stranger, &writer), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_save(cache, seq, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_save(cache, seq, &no_writer), TQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(sink.calls, 0);
    assert_status(tq_cache_load(NULL, &reader, &loaded), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_load(cache, NULL, &loaded), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_load(cache, &no_reader, &loaded), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_load(cache, &reader, NULL), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_read_desc(NULL, &reader, &found, NULL, 0), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_read_desc(context, NULL, &found, NULL, 0), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_read_desc(context, &no_reader, &found, NULL, 0), TQ_ERR_INVALID_ARGUMENT);
    assert_status(tq_cache_read_desc(context, &reader, NULL, NULL, 0), TQ_ERR_INVALID_ARGUMENT);
    found.struct_size = 1;
    assert_status(tq_cache_read_desc(context, &reader, &found, NULL, 0), TQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(found.n_layers, 0);
    assert_int_equal(bytes.calls, 0);
    assert_null(loaded);
    bytes_free(&bytes);
    tq_cache_destroy(other);
    tq_cache_destroy(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lives),     cmocka_unit_test(test_formats),   cmocka_unit_test(test_other_formats),
        cmocka_unit_test(test_memory),    cmocka_unit_test(test_read_desc), cmocka_unit_test(test_files),
        cmocka_unit_test(test_arguments),
    };
    return cmocka_run_group_tests(tests, setup_context, teardown_context);
}
