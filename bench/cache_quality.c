/* SPDX-License-Identifier: MIT */
/* tq_bench quality: what each option of the cache is worth, on the attention outputs of one .qkv file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cache_bytes.h"
#include "commands.h"
#include "options.h"
#include "qkv.h"
#include "turboquant.h"

static const char help[] = "usage: tq_bench quality [OPTIONS]\n"
                           "\n"
                           "Feeds a .qkv file through the cache with different options and prints the relative error "
                           "of the attention outputs\n"
                           "against a cache of f16, over the second half of the positions.\n"
                           "\n"
                           "  --data FILE  a .qkv file; default: the sample that comes with it\n"
                           "  --seed N     seed of the rotations; default 0\n"
                           "  --json FILE  write the results as JSON, too\n"
                           "  --help       print this\n";

/* The options of a cache that are compared, as columns. */
struct variant {
    const char *name; /* In JSON. */
    const char *heading;
    uint32_t flags;
    uint32_t recent_tokens;
    uint32_t sink_tokens;
};

static const struct variant variants[] = {
    {"plain", "plain", TQ_CACHE_NO_K_MEANS | TQ_CACHE_NO_V_MEANS, TQ_NO_RECENT_TOKENS, 0},
    {"k_means", "K means", TQ_CACHE_NO_V_MEANS, TQ_NO_RECENT_TOKENS, 0},
    {"means", "means", 0, TQ_NO_RECENT_TOKENS, 0},
    {"means_recent64", "+ 64 exact", 0, 64, 0},
    {"means_recent128", "+ 128 exact", 0, 128, 0},
    {"means_recent64_sinks4", "64 + 4 sinks", 0, 64, 4},
};
enum { VARIANTS = sizeof variants / sizeof *variants };

/* Keys and values, as rows. */
static const struct {
    const char *name;
    tq_format k_format;
    tq_format v_format;
} pairs[] = {
    {"turbo4t/turbo4t", TQ_FORMAT_TURBO4T, TQ_FORMAT_TURBO4T},
    {"turbo4/turbo4", TQ_FORMAT_TURBO4, TQ_FORMAT_TURBO4},
    {"turbo4t/turbo3t", TQ_FORMAT_TURBO4T, TQ_FORMAT_TURBO3T},
    {"turbo3t/turbo4t", TQ_FORMAT_TURBO3T, TQ_FORMAT_TURBO4T},
    {"turbo3t/turbo3t", TQ_FORMAT_TURBO3T, TQ_FORMAT_TURBO3T},
    {"turbo3/turbo3", TQ_FORMAT_TURBO3, TQ_FORMAT_TURBO3},
    {"turbo2t/turbo2t", TQ_FORMAT_TURBO2T, TQ_FORMAT_TURBO2T},
    {"turbo2/turbo2", TQ_FORMAT_TURBO2, TQ_FORMAT_TURBO2},
};
enum { PAIRS = sizeof pairs / sizeof *pairs };

static size_t output_floats(const struct qkv *qkv)
{
    return (size_t)qkv->tokens * qkv->q_heads * qkv->head_dim;
}

/* One prefill of all layers; out: [layer][token][query head][head_dim]. */
static tq_status run_cache(const tq_context *context, const struct qkv *qkv, const tq_cache_desc *desc, float *out)
{
    tq_cache *cache = NULL;
    tq_seq *seq = NULL;
    tq_status status = tq_cache_create(context, desc, &cache);
    if (status == TQ_OK) {
        status = tq_seq_create(cache, &seq);
    }
    for (uint32_t layer = 0; status == TQ_OK && layer < qkv->layers; layer++) {
        const size_t head_stride = (size_t)qkv->tokens * qkv->head_dim; /* The file is head-major. */
        const tq_kv kv = {.struct_size = sizeof kv,
                          .k = qkv_keys(qkv, layer, 0),
                          .v = qkv_values(qkv, layer, 0),
                          .n_tokens = qkv->tokens,
                          .k_token_stride = qkv->head_dim,
                          .k_head_stride = head_stride,
                          .v_token_stride = qkv->head_dim,
                          .v_head_stride = head_stride};
        const tq_attention attention = {.struct_size = sizeof attention,
                                        .q = qkv_queries(qkv, layer, 0),
                                        .n_q_heads = qkv->q_heads,
                                        .n_tokens = qkv->tokens,
                                        .q_token_stride = qkv->head_dim,
                                        .q_head_stride = head_stride,
                                        .out = out + layer * output_floats(qkv)};
        status = tq_cache_forward(cache, seq, layer, &kv, &attention);
    }
    tq_cache_destroy(cache);
    return status;
}

static double relative_error(const struct qkv *qkv, const float *exact, const float *out)
{
    double error = 0;
    double norm = 0;
    for (size_t layer = 0; layer < qkv->layers; layer++) {
        const size_t begin = layer * output_floats(qkv);
        for (size_t i = begin + output_floats(qkv) / 2; i < begin + output_floats(qkv); i++) {
            error += pow((double)exact[i] - (double)out[i], 2);
            norm += pow((double)exact[i], 2);
        }
    }
    return norm > 0 ? sqrt(error / norm) : 0;
}

struct result {
    double bytes; /* Of encoded K and V, with means, per token and KV head. */
    double error[VARIANTS];
};

static tq_cache_desc describe(const struct qkv *qkv, uint64_t seed)
{
    tq_cache_desc desc = TQ_CACHE_DESC_INIT;
    desc.n_layers = qkv->layers;
    desc.n_kv_heads = qkv->kv_heads;
    desc.head_dim_k = qkv->head_dim;
    desc.seed = seed;
    return desc;
}

static tq_status measure(const tq_context *context, const struct qkv *qkv, uint64_t seed, float *exact, float *out,
                         struct result *results)
{
    tq_cache_desc desc = describe(qkv, seed);
    desc.k_format = desc.v_format = TQ_FORMAT_F16;
    tq_status status = run_cache(context, qkv, &desc, exact);
    for (size_t p = 0; p < PAIRS && status == TQ_OK; p++) {
        for (size_t v = 0; v < VARIANTS && status == TQ_OK; v++) {
            desc = describe(qkv, seed);
            desc.k_format = pairs[p].k_format;
            desc.v_format = pairs[p].v_format;
            size_t page_bytes;
            cache_page_bytes(context, &desc, &page_bytes);
            results[p].bytes = (double)page_bytes / TQ_PAGE_TOKENS / qkv->layers / qkv->kv_heads;
            desc.flags = variants[v].flags;
            desc.recent_tokens = variants[v].recent_tokens;
            desc.sink_tokens = variants[v].sink_tokens;
            status = run_cache(context, qkv, &desc, out);
            results[p].error[v] = relative_error(qkv, exact, out);
        }
    }
    return status;
}

static void print_table(const struct qkv *qkv, const char *data, const struct result *results)
{
    printf(
        "turboquant %s, cache on %s\n%u layers, %u KV heads, head_dim %u, %u tokens; relative error of the attention\n"
        "outputs against a cache of f16, positions %u and above\n\n%-17s %6s",
        tq_version_string(), data, qkv->layers, qkv->kv_heads, qkv->head_dim, qkv->tokens, qkv->tokens / 2, "K/V",
        "bytes");
    for (size_t v = 0; v < VARIANTS; v++) {
        printf(" %12s", variants[v].heading);
    }
    for (size_t p = 0; p < PAIRS; p++) {
        printf("\n%-17s %6.0f", pairs[p].name, results[p].bytes);
        for (size_t v = 0; v < VARIANTS; v++) {
            printf(" %12.5f", results[p].error[v]);
        }
    }
    printf("\n\nbytes: of an encoded token and KV head, K and V with their means (4 at head_dim 128 less without "
           "each).\n");
}

static void write_json(FILE *out, const struct result *results)
{
    fprintf(out, "{\"version\": \"%s\", \"quality\": [", tq_version_string());
    for (size_t p = 0; p < PAIRS; p++) {
        fprintf(out, "%s\n  {\"formats\": \"%s\", \"bytes\": %.9g", p == 0 ? "" : ",", pairs[p].name, results[p].bytes);
        for (size_t v = 0; v < VARIANTS; v++) {
            fprintf(out, ", \"%s\": %.9g", variants[v].name, results[p].error[v]);
        }
        fputc('}', out);
    }
    fputs("\n]}\n", out);
}

static int run(const struct qkv *qkv, const char *data, uint64_t seed, FILE *json)
{
    struct result results[PAIRS];
    tq_context *context;
    float *exact = calloc(2 * qkv->layers * output_floats(qkv), sizeof *exact);
    tq_status status = tq_context_create(NULL, &context);
    if (exact == NULL || status != TQ_OK) {
        free(exact);
        return complain(exact == NULL ? "not enough memory" : tq_status_string(status), EXIT_FAILURE);
    }
    status = measure(context, qkv, seed, exact, exact + qkv->layers * output_floats(qkv), results);
    free(exact);
    tq_context_destroy(context);
    if (status != TQ_OK) {
        return complain(tq_status_string(status), EXIT_FAILURE);
    }
    print_table(qkv, data, results);
    if (json != NULL) {
        write_json(json, results);
    }
    return EXIT_SUCCESS;
}

int cache_quality_main(int argc, char **argv, int first)
{
    const char *data = TQ_BENCH_DATA;
    const char *json_path = NULL;
    uint64_t seed = 0;
    bool wants_help = false;
    char error[1024];
    struct qkv qkv;
    const struct option options[] = {{.name = "--data", .text = &data},
                                     {.name = "--seed", .number = &seed},
                                     {.name = "--json", .text = &json_path},
                                     {.name = "--help", .flag = &wants_help},
                                     {.name = NULL}};
    if (!options_parse(argc, argv, first, options, error, sizeof error)) {
        return complain(error, EXIT_USAGE);
    }
    if (wants_help) {
        fputs(help, stdout);
        return EXIT_SUCCESS;
    }
    if (!qkv_read(data, &qkv, error, sizeof error)) {
        return complain(error, EXIT_USAGE);
    }
    FILE *json = json_path != NULL ? fopen(json_path, "w") : NULL;
    int exit_code = json_path != NULL && json == NULL ? complain("the JSON file cannot be written", EXIT_USAGE)
                                                      : run(&qkv, data, seed, json);
    if (json != NULL && fclose(json) != 0) {
        exit_code = complain("the JSON file could not be written in full", EXIT_FAILURE);
    }
    qkv_free(&qkv);
    return exit_code;
}
