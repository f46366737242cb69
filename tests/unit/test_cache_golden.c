/* SPDX-License-Identifier: MIT
 *
 * Golden sequences: files that tq_cache_save wrote once, and what their vectors decode to, in tests/golden/cache_*.
 *
 *     test_cache_golden DIR            compares
 *     test_cache_golden --write DIR    writes the files; for new cases only, never to make a comparison pass
 *
 * Each file must still load, be saved to the same bytes, and hold the vectors of the text beside it, which a reader
 * written from docs/format.md alone is compared with, too. Bytes are made anew and compared where every machine and
 * backend writes the same ones: not where rows were decoded on the way. */
#include "cache_support.h"
#include "saved_support.h"

#include <math.h>
#include <stdio.h>

enum { MAX_TOKENS = 200, MAX_PATH = 1024 };

static const char HEADER[] =
    "# SPDX-License-Identifier: MIT\n"
    "# What the vectors of the saved sequence of the same name decode to, written by `test_cache_golden --write`.\n"
    "#\n"
    "#     layer token head k|v sink|encoded|exact coordinates\n"
    "#\n"
    "# One line for each part of its page that a token is in.\n";

static const char *directory;

/* Numbers that are exact in f16 and come through no C library: multiples of 1/64 below 4, and larger ones now and then.
 * Coordinate j of all vectors has a bias, so that means matter; every 17th vector goes the other way, so that its mean
 * is not taken off, and token 20 is zero. */
static void fill_exact(struct rng *rng, float *x, size_t n, size_t heads, size_t dim)
{
    for (size_t i = 0; i < n * heads; i++) {
        for (size_t j = 0; j < dim; j++) {
            const float noise = (float)((int)(rng_word(rng) >> 55) - 256) / 64;
            const float bias = (float)(j % 3) - 1;
            x[i * dim + j] = i / heads == 20 ? 0 : i % 17 == 5 ? noise - 4 * bias : noise + 2 * bias;
        }
    }
}

/* Appends tokens to one layer until it has `end` of them. */
static void append_until(tq_cache *cache, tq_seq *seq, uint32_t layer, const tq_cache_desc *desc, size_t end)
{
    static float k[MAX_TOKENS * 64];
    static float v[MAX_TOKENS * 64];
    const size_t first = tq_seq_length(seq, layer);
    struct rng rng = rng_seeded(1000 * layer + first);
    fill_exact(&rng, k, end - first, desc->n_kv_heads, desc->head_dim_k);
    fill_exact(&rng, v, end - first, desc->n_kv_heads, desc->head_dim_v);
    tq_kv kv = TQ_KV_INIT;
    kv.k = k;
    kv.v = v;
    kv.n_tokens = end - first;
    assert_status(tq_cache_append(cache, seq, layer, &kv), TQ_OK);
}

/* Sinks, means, trellis formats; one layer was cut within an encoded page and went on. */
static const tq_layer_formats cut_layers[] = {{TQ_FORMAT_TURBO4T, TQ_FORMAT_TURBO1},
                                              {TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO3T},
                                              {TQ_FORMAT_TURBO8, TQ_FORMAT_TURBO2T}};

static void make_cut(tq_cache *cache, tq_seq *seq, const tq_cache_desc *desc)
{
    for (uint32_t layer = 0; layer < 3; layer++) {
        append_until(cache, seq, layer, desc, 193);
    }
    assert_status(tq_seq_truncate(seq, 100), TQ_OK);
    append_until(cache, seq, 0, desc, 103);
}

/* Two heads, a page of fewer bits than its layer says, f16 that became codes, dimensions that are no powers of two. */
static const tq_layer_formats demoted_layers[] = {{TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO3},
                                                  {TQ_FORMAT_F16, TQ_FORMAT_TURBO4}};

static void make_demoted(tq_cache *cache, tq_seq *seq, const tq_cache_desc *desc)
{
    const tq_tier cold = {64, {TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO1}};
    for (uint32_t layer = 0; layer < 2; layer++) {
        append_until(cache, seq, layer, desc, 193);
    }
    assert_status(tq_seq_truncate(seq, 128), TQ_OK);
    assert_status(tq_cache_demote(cache, seq, &cold, 1), TQ_OK);
}

/* No means, the default window, layers of different lengths, one of them empty. */
static const tq_layer_formats plain_layers[] = {
    {TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO8}, {TQ_FORMAT_TURBO1, TQ_FORMAT_TURBO4}, {TQ_FORMAT_F16, TQ_FORMAT_F16}};

static void make_plain(tq_cache *cache, tq_seq *seq, const tq_cache_desc *desc)
{
    append_until(cache, seq, 0, desc, 130);
    append_until(cache, seq, 1, desc, 5);
}

struct golden {
    const char *name;
    tq_cache_desc desc;
    void (*make)(tq_cache *cache, tq_seq *seq, const tq_cache_desc *desc);
    int same_bytes; /* Everywhere. */
};

static struct golden golden_at(size_t index)
{
    struct golden g[] = {{"cache_cut", cache_desc(3, 1, 16, 24), make_cut, 1},
                         {"cache_demoted", cache_desc(2, 2, 8, 28), make_demoted, 0},
                         {"cache_plain", cache_desc(3, 1, 12, 20), make_plain, 1}};
    g[0].desc.layers = cut_layers;
    g[0].desc.sink_tokens = 4;
    g[0].desc.recent_tokens = TQ_NO_RECENT_TOKENS;
    g[0].desc.seed = UINT64_C(0xC0FFEE0DDBA11AD5);
    g[1].desc.layers = demoted_layers;
    g[1].desc.recent_tokens = TQ_NO_RECENT_TOKENS;
    g[1].desc.flags = TQ_CACHE_NO_K_MEANS;
    g[1].desc.effort = TQ_EFFORT_FAST;
    g[2].desc.layers = plain_layers;
    g[2].desc.flags = NO_MEANS;
    g[2].desc.seed = 1;
    return g[index];
}

enum { N_GOLDEN = 3 };

static void path_of(char path[MAX_PATH], const struct golden *golden, const char *ending)
{
    snprintf(path, MAX_PATH, "%s/%s.%s", directory, golden->name, ending);
}

static struct bytes make_bytes(const tq_context *context, const struct golden *golden)
{
    tq_cache *cache = open_cache(context, &golden->desc);
    tq_seq *seq = open_seq(cache);
    golden->make(cache, seq, &golden->desc);
    struct bytes bytes = save_bytes(cache, seq);
    tq_cache_destroy(cache);
    return bytes;
}

/* Calls `visit` for every vector in every part, in the order of the text. */
static void walk(const struct saved *saved, void (*visit)(FILE *file, const char *label, const float *x, size_t dim),
                 FILE *file)
{
    static const struct {
        uint32_t part;
        const char *word;
    } parts[] = {{SAVED_SINKS, "sink"}, {SAVED_ENCODED, "encoded"}, {SAVED_EXACT, "exact"}};
    for (uint32_t layer = 0; layer < saved->n_layers; layer++) {
        for (size_t i = 0; i < saved->layers[layer].n_tokens * saved->n_kv_heads * 6; i++) {
            const size_t token = i / 6 / saved->n_kv_heads;
            const uint32_t head = (uint32_t)(i / 6 % saved->n_kv_heads);
            const int values = i / 3 % 2 != 0;
            char label[64];
            float x[64];
            if (saved_vector(saved, layer, token, head, values, parts[i % 3].part, x)) {
                snprintf(label, sizeof label, "%u %zu %u %c %s", layer, token, head, values ? 'v' : 'k',
                         parts[i % 3].word);
                visit(file, label, x, saved->dims[values]);
            }
        }
    }
}

static void print_vector(FILE *file, const char *label, const float *x, size_t dim)
{
    fputs(label, file);
    for (size_t j = 0; j < dim; j++) {
        fprintf(file, " %.7g", (double)x[j]);
    }
    fputc('\n', file);
}

/* The next line must be this vector. */
static void compare_vector(FILE *file, const char *label, const float *x, size_t dim)
{
    char words[64] = "";
    unsigned layer;
    size_t token;
    unsigned head;
    char side;
    char part[16];
    assert_int_equal(fscanf(file, "%u %zu %u %c %15s", &layer, &token, &head, &side, part), 5);
    snprintf(words, sizeof words, "%u %zu %u %c %s", layer, token, head, side, part);
    assert_string_equal(words, label);
    double expected[64];
    double power = 0;
    for (size_t j = 0; j < dim; j++) {
        assert_int_equal(fscanf(file, "%lf", &expected[j]), 1);
        power += expected[j] * expected[j];
    }
    for (size_t j = 0; j < dim; j++) {
        assert_close((double)x[j], expected[j], 1e-5 * sqrt(power), "%s: coordinate %zu", label, j);
    }
}

static void write_golden(void **state)
{
    for (size_t i = 0; i < N_GOLDEN; i++) {
        const struct golden golden = golden_at(i);
        char path[MAX_PATH];
        struct bytes bytes = make_bytes(*state, &golden);
        struct saved *saved = saved_open(*state, &bytes);
        path_of(path, &golden, "tqc");
        bytes_to_file(&bytes, path);
        path_of(path, &golden, "txt");
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(HEADER, file);
        walk(saved, print_vector, file);
        assert_int_equal(fclose(file), 0);
        saved_close(saved);
        bytes_free(&bytes);
    }
}

static void compare_text(const struct saved *saved, const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) {
        fail_msg("%s cannot be opened", path);
    }
    char line[256];
    for (size_t i = 0; HEADER[i]; i += strlen(line)) {
        assert_non_null(fgets(line, sizeof line, file));
        assert_memory_equal(line, HEADER + i, strlen(line));
    }
    walk(saved, compare_vector, file);
    assert_int_equal(fscanf(file, "%255s", line), EOF);
    fclose(file);
}

static void compare_golden(void **state)
{
    for (size_t i = 0; i < N_GOLDEN; i++) {
        const struct golden golden = golden_at(i);
        char path[MAX_PATH];
        path_of(path, &golden, "tqc");
        struct bytes bytes = bytes_of_file(path);
        struct saved *saved = saved_open(*state, &bytes);
        tq_cache *cache = open_cache(*state, &golden.desc);
        struct bytes again = save_bytes(cache, load_bytes(cache, &bytes));
        assert_bytes_equal(&again, &bytes, golden.name);
        tq_cache_destroy(cache);
        bytes_free(&again);
        if (golden.same_bytes || strcmp(tq_context_backend(*state), "scalar") == 0) {
            again = make_bytes(*state, &golden);
            assert_bytes_equal(&again, &bytes, golden.name);
            bytes_free(&again);
        }
        path_of(path, &golden, "txt");
        compare_text(saved, path);
        saved_close(saved);
        bytes_free(&bytes);
    }
}

int main(int argc, char **argv)
{
    const int writes = argc == 3 && strcmp(argv[1], "--write") == 0;
    if (argc != 2 && !writes) {
        fprintf(stderr, "usage: test_cache_golden [--write] DIR\n");
        return 2;
    }
    directory = argv[argc - 1];
    const struct CMUnitTest writing[] = {cmocka_unit_test(write_golden)};
    const struct CMUnitTest comparing[] = {cmocka_unit_test(compare_golden)};
    return writes ? cmocka_run_group_tests(writing, setup_context, teardown_context)
                  : cmocka_run_group_tests(comparing, setup_context, teardown_context);
}
