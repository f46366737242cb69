/* SPDX-License-Identifier: MIT */
/* tq_bench attend: how fast queries attend to a filled cache, through the public API. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attend_report.h"
#include "baselines.h"
#include "commands.h"
#include "f16_attention.h"
#include "machine.h"
#include "options.h"

static const char help[] =
    "usage: tq_bench attend [OPTIONS]\n"
    "\n"
    "Fills caches with random tokens and prints what a step takes: attention of one query token, as in decoding, or\n"
    "of many, as in prefill, to the context, in every cache format, against a cache of f16, against this bench's own\n"
    "f16 attention and against what the memory can be read at.\n"
    "\n"
    "  --context N     tokens; default: 1024, 4096, 16384 and 65536, one after the other; only 1024 and 4096 on the\n"
    "                  backend scalar, whose encoders take minutes to fill more\n"
    "  --queries N     query tokens of a step, each attending to the whole context; default 1\n"
    "  --gqa N         query heads for each KV head; default 4; all: 1, 4 and 8\n"
    "  --k-format NAME, --v-format NAME\n"
    "                  one pair of formats; either alone is for both. Default: every format for both, and the pairs\n"
    "                  turbo4t/turbo3t, turbo4/turbo2 and turbo8/turbo4\n"
    "  --kv-heads N    default 8\n"
    "  --head-dim N    a multiple of 16; default 128\n"
    "  --threads N     default 1, measured in CPU time; more, in time as it passes and against one of them\n"
    "  --llc-bytes N   size of the last-level cache; each cache is made four times as large, with as many layers\n"
    "                  as that takes, and no smaller than a layer of f16. Default: what the system says\n"
    "  --backend NAME  backend of the library; default: the best one, or $TURBOQUANT_BACKEND; cuda: caches on a GPU,\n"
    "                  with its own cache in the place of the processor's, and copying for reading\n"
    "  --quick         a small cache and few rounds: to see that it runs\n"
    "  --json FILE     write the results as JSON, too\n"
    "  --help          print this\n";

enum {
    ROUNDS = 31,
    QUICK_ROUNDS = 3,
    QUICK_CONTEXT = 256,
    QUICK_LLC_BYTES = 1 << 16,
    COLD_FACTOR = 4, /* At twice the last-level cache, a good part still comes from there. */
    MOST_CONTEXTS = 4,
    MOST_GQAS = 3,
    MOST_PAIRS = 64,
    MOST_TOKENS = 1 << 24,
    MOST_KV_HEADS = 1024,
    MOST_THREADS = 1024,
    MOST_QUERIES = 1 << 16,
    MOST_GROUP = 64
};
#define MOST_LLC_BYTES ((uint64_t)1 << 36)
#define NOT_GIVEN      UINT64_MAX
#define SLICE_NS       10e6
#define QUICK_SLICE_NS 1e5

struct settings {
    uint64_t context; /* This and llc_bytes: NOT_GIVEN, until the default is known. */
    uint64_t kv_heads;
    uint64_t head_dim;
    uint64_t threads;
    uint64_t queries;
    uint64_t llc_bytes;
    const char *gqa;
    const char *k_format;
    const char *v_format;
    const char *backend;
    const char *json;
    bool quick;
    bool help;
};

struct pair {
    tq_format k_format;
    tq_format v_format;
};

/* Everything that is to be measured, and the results so far. */
struct run {
    tq_context *context;
    struct attend_setup setup;
    struct attend_shape shape; /* Of the context of the moment. */
    size_t least_cold_bytes;
    size_t contexts[MOST_CONTEXTS];
    size_t n_contexts;
    uint32_t gqas[MOST_GQAS];
    size_t n_gqas;
    struct pair pairs[MOST_PAIRS];
    size_t n_pairs;
    struct attend_row rows[MOST_CONTEXTS * MOST_GQAS * MOST_PAIRS];
    size_t n_rows;
    struct message message; /* Of the library's log. */
};

/* Writes the sentence of a bad option. */
static bool in_range(const char *name, uint64_t value, uint64_t least, uint64_t most, struct message *error)
{
    if (value < least || value > most) {
        snprintf(error->text, sizeof error->text, "%s must be from %llu to %llu", name, (unsigned long long)least,
                 (unsigned long long)most);
        return false;
    }
    return true;
}

static bool parse(int argc, char **argv, int first, struct settings *settings, struct message *error)
{
    const struct option options[] = {
        {.name = "--context", .number = &settings->context},   {.name = "--gqa", .text = &settings->gqa},
        {.name = "--k-format", .text = &settings->k_format},   {.name = "--v-format", .text = &settings->v_format},
        {.name = "--kv-heads", .number = &settings->kv_heads}, {.name = "--head-dim", .number = &settings->head_dim},
        {.name = "--threads", .number = &settings->threads},   {.name = "--queries", .number = &settings->queries},
        {.name = "--json", .text = &settings->json},           {.name = "--llc-bytes", .number = &settings->llc_bytes},
        {.name = "--backend", .text = &settings->backend},     {.name = "--quick", .flag = &settings->quick},
        {.name = "--help", .flag = &settings->help},           {.name = NULL},
    };
    if (!options_parse(argc, argv, first, options, error->text, sizeof error->text)) {
        return false;
    }
    if (settings->llc_bytes == NOT_GIVEN && settings->quick) {
        settings->llc_bytes = QUICK_LLC_BYTES;
    }
    if (settings->context == NOT_GIVEN && settings->quick) {
        settings->context = QUICK_CONTEXT;
    }
    if (settings->head_dim % F16_ATTENTION_STEP != 0) {
        snprintf(error->text, sizeof error->text, "--head-dim must be a multiple of %d", F16_ATTENTION_STEP);
        return false;
    }
    return (settings->context == NOT_GIVEN || in_range("--context", settings->context, 1, MOST_TOKENS, error)) &&
           in_range("--kv-heads", settings->kv_heads, 1, MOST_KV_HEADS, error) &&
           in_range("--head-dim", settings->head_dim, F16_ATTENTION_STEP, TQ_MAX_DIM, error) &&
           in_range("--threads", settings->threads, 1, MOST_THREADS, error) &&
           in_range("--queries", settings->queries, 1, MOST_QUERIES, error) &&
           (settings->llc_bytes == NOT_GIVEN || in_range("--llc-bytes", settings->llc_bytes, 1, MOST_LLC_BYTES, error));
}

static bool choose_gqas(const char *gqa, struct run *run, struct message *error)
{
    static const uint32_t all[MOST_GQAS] = {1, 4, 8};
    uint64_t number;
    if (strcmp(gqa, "all") == 0) {
        memcpy(run->gqas, all, sizeof all);
        run->n_gqas = MOST_GQAS;
        return true;
    }
    if (!options_number(gqa, &number)) {
        snprintf(error->text, sizeof error->text, "--gqa needs a number or all, not '%s'", gqa);
        return false;
    }
    run->gqas[0] = (uint32_t)number;
    run->n_gqas = 1;
    return in_range("--gqa", number, 1, MOST_GROUP, error);
}

static void choose_contexts(const struct settings *settings, struct run *run)
{
    static const size_t all[MOST_CONTEXTS] = {1 << 10, 1 << 12, 1 << 14, 1 << 16};
    if (settings->context != NOT_GIVEN) {
        run->contexts[0] = (size_t)settings->context;
        run->n_contexts = 1;
    } else {
        memcpy(run->contexts, all, sizeof all);
        run->n_contexts = strcmp(tq_context_backend(run->context), "scalar") == 0 ? 2 : MOST_CONTEXTS;
    }
}

/* Whether a cache can have these formats for keys and values; if not, the log says why. */
static tq_status check_pair(const struct run *run, struct pair pair)
{
    tq_cache_desc desc = TQ_CACHE_DESC_INIT;
    tq_cache *cache = NULL;
    desc.n_layers = 1;
    desc.n_kv_heads = run->shape.kv_heads;
    desc.head_dim_k = run->shape.head_dim;
    desc.k_format = pair.k_format;
    desc.v_format = pair.v_format;
    const tq_status status = tq_cache_create(run->context, &desc, &cache);
    tq_cache_destroy(cache);
    return status;
}

static bool choose_one_pair(const struct settings *settings, struct run *run, struct message *error)
{
    const char *const names[2] = {settings->k_format != NULL ? settings->k_format : settings->v_format,
                                  settings->v_format != NULL ? settings->v_format : settings->k_format};
    tq_format formats[2];
    for (size_t i = 0; i < 2; i++) {
        if (tq_format_parse(names[i], &formats[i]) != TQ_OK) {
            snprintf(error->text, sizeof error->text, "%s is no format", names[i]);
            return false;
        }
    }
    run->pairs[0] = (struct pair){formats[0], formats[1]};
    run->n_pairs = 1;
    if (check_pair(run, run->pairs[0]) != TQ_OK) {
        *error = run->message;
        return false;
    }
    return true;
}

static bool choose_pairs(const struct settings *settings, struct run *run, struct message *error)
{
    static const struct pair mixed[] = {{TQ_FORMAT_TURBO4T, TQ_FORMAT_TURBO3T},
                                        {TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO2},
                                        {TQ_FORMAT_TURBO8, TQ_FORMAT_TURBO4}};
    if (settings->k_format != NULL || settings->v_format != NULL) {
        return choose_one_pair(settings, run, error);
    }
    const size_t n_mixed = sizeof mixed / sizeof *mixed;
    for (size_t i = 0; i < tq_format_count() + n_mixed && run->n_pairs < MOST_PAIRS; i++) {
        const tq_format same = tq_format_at(i);
        const struct pair pair = i < tq_format_count() ? (struct pair){same, same} : mixed[i - tq_format_count()];
        if (check_pair(run, pair) == TQ_OK) {
            run->pairs[run->n_pairs++] = pair;
        }
    }
    return true;
}

/* Measures a pair of formats at the context of the moment and every gqa. */
static tq_status measure_pair(struct run *run, struct pair pair, const struct filled_cache *f16,
                              const struct dense_memory *dense)
{
    struct filled_cache filled;
    tq_status status = filled_cache_create(run->context, &run->shape, pair.k_format, pair.v_format, &filled);
    if (status != TQ_OK) {
        return status;
    }
    for (size_t i = 0; status == TQ_OK && i < run->n_gqas; i++) {
        struct attend_row *row = &run->rows[run->n_rows];
        *row = (struct attend_row){.k_format = pair.k_format,
                                   .v_format = pair.v_format,
                                   .shape = run->shape,
                                   .gqa = run->gqas[i],
                                   .layers = filled.layers,
                                   .layer_bytes = filled.layer_bytes,
                                   .resident_bytes = filled.resident_bytes,
                                   .estimated_bytes = filled.estimated_bytes};
        status = attend_measure(&run->setup, &run->shape, row->gqa, &filled, f16, dense, &row->speed);
        if (status == TQ_OK) {
            attend_report_row(&run->setup, row, run->n_rows == 0 ? NULL : row - 1);
            run->n_rows++;
        }
    }
    filled_cache_destroy(&filled);
    return status;
}

static tq_status measure_context(struct run *run, size_t context)
{
    struct filled_cache f16;
    struct dense_memory dense;
    const size_t f16_layer = context * run->shape.kv_heads * 2 * run->shape.head_dim * sizeof(uint16_t);
    run->shape.context = context;
    /* Caches of all formats are about equally large, so that what is left of them in the processor is so, too. */
    run->shape.cold_bytes = run->least_cold_bytes > f16_layer ? run->least_cold_bytes : f16_layer;
    tq_status status = filled_cache_create(run->context, &run->shape, TQ_FORMAT_F16, TQ_FORMAT_F16, &f16);
    if (status != TQ_OK) {
        return status;
    }
    if (!dense_memory_create(&run->shape, run->setup.loops, &dense)) {
        status = TQ_ERR_OUT_OF_MEMORY;
    }
    for (size_t i = 0; status == TQ_OK && i < run->n_pairs; i++) {
        status = measure_pair(run, run->pairs[i], &f16, &dense);
    }
    dense_memory_destroy(&dense);
    filled_cache_destroy(&f16);
    return status;
}

static int measure(struct run *run, FILE *json)
{
    attend_report_head(run->context, &run->setup, &run->shape);
    for (size_t i = 0; i < run->n_contexts; i++) {
        const tq_status status = measure_context(run, run->contexts[i]);
        if (status != TQ_OK) {
            return complain(run->message.text[0] != '\0' ? run->message.text : tq_status_string(status), EXIT_FAILURE);
        }
    }
    attend_report_foot(&run->setup);
    if (json != NULL) {
        attend_report_json(json, run->context, &run->setup, run->rows, run->n_rows);
    }
    return EXIT_SUCCESS;
}

/* With a context, decides what to measure and measures it. */
static int run_all(const struct settings *settings, struct run *run)
{
    struct message error;
    const uint64_t llc_bytes = settings->llc_bytes != NOT_GIVEN ? settings->llc_bytes
                               : run->shape.device != NULL      ? device_cache_bytes(run->shape.device)
                                                                : machine_last_level_cache();
    run->least_cold_bytes = COLD_FACTOR * (size_t)llc_bytes;
    if (!choose_gqas(settings->gqa, run, &error) || !choose_pairs(settings, run, &error)) {
        return complain(error.text, EXIT_USAGE);
    }
    choose_contexts(settings, run);
    run->message.text[0] = '\0'; /* Formats that were passed over have said why. */
    FILE *json = settings->json != NULL ? fopen(settings->json, "w") : NULL;
    if (settings->json != NULL && json == NULL) {
        snprintf(error.text, sizeof error.text, "%s: cannot be written: %s", settings->json, strerror(errno));
        return complain(error.text, EXIT_USAGE);
    }
    int exit_code = measure(run, json);
    if (json != NULL && fclose(json) != 0) {
        exit_code = complain("the JSON file could not be written in full", EXIT_FAILURE);
    }
    return exit_code;
}

/* Caches of the backend cuda are in a GPU's memory, and take what is there. */
static int run_where_it_is(const struct settings *settings, struct run *run)
{
    struct device *device = NULL;
    if (strcmp(tq_context_backend(run->context), "cuda") == 0) {
        device = device_open();
        if (device == NULL) {
            return complain("the CUDA driver does not give memory of its first device", EXIT_FAILURE);
        }
    }
    run->shape.device = device;
    const int exit_code = run_all(settings, run);
    device_close(device);
    return exit_code;
}

static int run_with_threads(const struct settings *settings, struct run *run)
{
    tq_context_desc desc = TQ_CONTEXT_DESC_INIT;
    run->setup = (struct attend_setup){.loops = baseline_loops_best(),
                                       .pool = thread_pool_create((size_t)settings->threads),
                                       .threads = (size_t)settings->threads,
                                       .queries = (size_t)settings->queries,
                                       .rounds = settings->quick ? QUICK_ROUNDS : ROUNDS,
                                       .slice_ns = settings->quick ? QUICK_SLICE_NS : SLICE_NS};
    run->shape =
        (struct attend_shape){.kv_heads = (uint32_t)settings->kv_heads, .head_dim = (uint32_t)settings->head_dim};
    if (run->setup.pool == NULL) {
        return complain("the threads cannot be started", EXIT_FAILURE);
    }
    desc.backend = settings->backend;
    desc.log = message_log(&run->message);
    if (settings->threads > 1) {
        desc.executor = (tq_executor){thread_pool_run, run->setup.pool};
    }
    const tq_status status = tq_context_create(&desc, &run->context);
    const int exit_code = status == TQ_OK
                              ? run_where_it_is(settings, run)
                              : complain(run->message.text, status == TQ_ERR_UNSUPPORTED ? EXIT_USAGE : EXIT_FAILURE);
    tq_context_destroy(run->context);
    thread_pool_destroy(run->setup.pool);
    return exit_code;
}

int attend_main(int argc, char **argv, int first)
{
    struct settings settings = {.context = NOT_GIVEN,
                                .kv_heads = 8,
                                .head_dim = 128,
                                .threads = 1,
                                .queries = 1,
                                .llc_bytes = NOT_GIVEN,
                                .gqa = "4"};
    struct message error;
    if (!parse(argc, argv, first, &settings, &error)) {
        return complain(error.text, EXIT_USAGE);
    }
    if (settings.help) {
        fputs(help, stdout);
        return EXIT_SUCCESS;
    }
    struct run *run = calloc(1, sizeof *run);
    const int exit_code = run != NULL ? run_with_threads(&settings, run) : complain("not enough memory", EXIT_FAILURE);
    free(run);
    return exit_code;
}
