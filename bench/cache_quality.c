/* SPDX-License-Identifier: MIT */
/* tq_bench quality: what each option of the cache is worth, on the attention outputs of one .qkv file. */
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache_bytes.h"
#include "commands.h"
#include "options.h"
#include "qkv.h"
#include "turboquant.h"

static const char help[] = "usage: tq_bench quality [OPTIONS]\n"
                           "\n"
                           "Feeds a .qkv file through the cache with different options and prints what becomes of "
                           "attention, against a cache\n"
                           "of f16 and over the second half of the positions: the relative error of the outputs and "
                           "the KL divergence of\n"
                           "the weights (of the first 1024 tokens, if there are more).\n"
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

/* Sparse values, with means and 64 exact tokens: what skip_below is set to. */
static const float thresholds[] = {1e-4F, 1e-3F, 1e-2F};
enum { THRESHOLDS = sizeof thresholds / sizeof *thresholds };

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

/* One layer of the file, as a cache of one layer takes it. */
struct layer {
    const struct qkv *qkv;
    uint32_t index;
    size_t tokens; /* The first ones of the file. */
    const float *values;
    uint32_t head_dim_v;
    size_t v_head_stride;
};

/* The second half of the positions is looked at. */
static size_t first_position(const struct layer *layer)
{
    return layer->tokens / 2;
}

static size_t output_floats(const struct layer *layer)
{
    return (layer->tokens - first_position(layer)) * layer->qkv->q_heads * layer->head_dim_v;
}

static tq_status fill(tq_cache *cache, const struct layer *layer, float skip_below, float *out)
{
    const struct qkv *qkv = layer->qkv;
    const size_t first = first_position(layer);
    const size_t head_stride = (size_t)qkv->tokens * qkv->head_dim; /* The file is head-major. */
    tq_kv kv = {.struct_size = sizeof kv,
                .k = qkv_keys(qkv, layer->index, 0),
                .v = layer->values,
                .n_tokens = first,
                .k_token_stride = qkv->head_dim,
                .k_head_stride = head_stride,
                .v_token_stride = layer->head_dim_v,
                .v_head_stride = layer->v_head_stride};
    const tq_attention attention = {.struct_size = sizeof attention,
                                    .q = qkv_queries(qkv, layer->index, 0) + first * qkv->head_dim,
                                    .n_q_heads = qkv->q_heads,
                                    .n_tokens = layer->tokens - first,
                                    .q_token_stride = qkv->head_dim,
                                    .q_head_stride = head_stride,
                                    .out = out,
                                    .skip_below = skip_below};
    tq_seq *seq = NULL;
    tq_status status = tq_seq_create(cache, &seq);
    if (status == TQ_OK) {
        status = tq_cache_append(cache, seq, 0, &kv);
    }
    kv.k = qkv_keys(qkv, layer->index, 0) + first * qkv->head_dim;
    kv.v = layer->values + first * layer->head_dim_v;
    kv.n_tokens = attention.n_tokens;
    return status == TQ_OK ? tq_cache_forward(cache, seq, 0, &kv, &attention) : status;
}

/* Stores all tokens; out: [token of the second half][query head][head_dim_v]. */
static tq_status run_cache(const tq_context *context, const struct layer *layer, const tq_cache_desc *desc,
                           float skip_below, float *out)
{
    tq_cache *cache;
    tq_status status = tq_cache_create(context, desc, &cache);
    if (status == TQ_OK) {
        status = fill(cache, layer, skip_below, out);
        tq_cache_destroy(cache);
    }
    return status;
}

/* What is added up over all layers. */
struct sums {
    double error; /* Squared, of outputs. */
    double norm;
    double divergence; /* Of softmax weights. */
    size_t queries;
};

/* The same for one threshold. */
struct sparse_sums {
    struct sums outputs;
    size_t pages;
    size_t passed_over;
};

static void add_error(const struct layer *layer, const float *exact, const float *out, struct sums *sums)
{
    for (size_t i = 0; i < output_floats(layer); i++) {
        sums->error += pow((double)exact[i] - (double)out[i], 2);
        sums->norm += pow((double)exact[i], 2);
    }
}

/* Sum over the keys of p log(p / q). A weight that is 0 in f32 counts as the smallest one. */
static double divergence(const float *p, const float *q, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] > 0) {
            sum += (double)p[i] * log((double)p[i] / fmax((double)q[i], (double)FLT_TRUE_MIN));
        }
    }
    return sum;
}

static void add_divergence(const struct layer *layer, const float *exact, const float *out, struct sums *sums)
{
    const size_t row = layer->head_dim_v;
    for (size_t at = 0; at < output_floats(layer); at += row) {
        sums->divergence += divergence(exact + at, out + at, row);
        sums->queries++;
    }
}

/* Pages that a query sees, and those of which it took no value. */
static void add_pages(const struct layer *layer, const float *exact, const float *out, struct sparse_sums *sums)
{
    for (size_t at = 0; at < output_floats(layer); at += layer->head_dim_v) {
        for (size_t page = 0; page < layer->head_dim_v; page += TQ_PAGE_TOKENS) {
            bool seen = false;
            bool taken = false;
            for (size_t k = page; k < page + TQ_PAGE_TOKENS && k < layer->head_dim_v; k++) {
                seen = seen || exact[at + k] > 0;
                taken = taken || out[at + k] > 0;
            }
            sums->pages += seen;
            sums->passed_over += seen && !taken;
        }
    }
}

/* What is done to every layer, twice: with the file's values, and with others that show the weights. */
struct pass {
    const tq_context *context;
    uint64_t seed;
    const struct layer *layer;
    bool weights;
    float *exact;
    float *out;
};

static tq_cache_desc describe(const struct pass *pass, tq_format k_format, tq_format v_format)
{
    tq_cache_desc desc = TQ_CACHE_DESC_INIT;
    desc.n_layers = 1;
    desc.n_kv_heads = pass->layer->qkv->kv_heads;
    desc.head_dim_k = pass->layer->qkv->head_dim;
    desc.head_dim_v = pass->layer->head_dim_v;
    desc.k_format = k_format;
    desc.v_format = v_format;
    desc.seed = pass->seed;
    return desc;
}

static tq_status run_sparse(const struct pass *pass, struct sparse_sums sums[PAIRS][THRESHOLDS])
{
    tq_status status = TQ_OK;
    for (size_t i = 0; i < (size_t)PAIRS * THRESHOLDS && status == TQ_OK; i++) {
        struct sparse_sums *sum = &sums[i / THRESHOLDS][i % THRESHOLDS];
        const size_t pair = i / THRESHOLDS;
        const tq_cache_desc desc =
            describe(pass, pairs[pair].k_format, pass->weights ? TQ_FORMAT_F16 : pairs[pair].v_format);
        status = run_cache(pass->context, pass->layer, &desc, thresholds[i % THRESHOLDS], pass->out);
        if (pass->weights) {
            add_pages(pass->layer, pass->exact, pass->out, sum);
        } else {
            add_error(pass->layer, pass->exact, pass->out, &sum->outputs);
        }
    }
    return status;
}

static tq_status run_pass(const struct pass *pass, struct sums sums[PAIRS][VARIANTS],
                          struct sparse_sums sparse[PAIRS][THRESHOLDS])
{
    tq_cache_desc desc = describe(pass, TQ_FORMAT_F16, TQ_FORMAT_F16);
    tq_status status = run_cache(pass->context, pass->layer, &desc, 0, pass->exact);
    for (size_t i = 0; i < (size_t)PAIRS * VARIANTS && status == TQ_OK; i++) {
        const struct variant *variant = &variants[i % VARIANTS];
        const size_t pair = i / VARIANTS;
        desc = describe(pass, pairs[pair].k_format, pass->weights ? TQ_FORMAT_F16 : pairs[pair].v_format);
        desc.flags = variant->flags;
        desc.recent_tokens = variant->recent_tokens;
        desc.sink_tokens = variant->sink_tokens;
        status = run_cache(pass->context, pass->layer, &desc, 0, pass->out);
        if (pass->weights) {
            add_divergence(pass->layer, pass->exact, pass->out, &sums[pair][i % VARIANTS]);
        } else {
            add_error(pass->layer, pass->exact, pass->out, &sums[pair][i % VARIANTS]);
        }
    }
    return status == TQ_OK ? run_sparse(pass, sparse) : status;
}

struct result {
    double bytes; /* Of encoded K and V, with means, per token and KV head. */
    double error[VARIANTS];
    double kl[VARIANTS];
    double sparse_error[THRESHOLDS];
    double passed_over[THRESHOLDS]; /* Share of pages. */
};

/* One layer's share. Values that are the rows of the identity, exact in f16, make outputs of the softmax weights: the
 * keys, which alone decide about these, are the same. */
static tq_status measure_layer(const tq_context *context, const struct qkv *qkv, uint64_t seed, uint32_t index,
                               struct sums sums[PAIRS][VARIANTS], struct sparse_sums sparse[PAIRS][THRESHOLDS])
{
    const size_t shown = qkv->tokens < TQ_MAX_DIM ? qkv->tokens : TQ_MAX_DIM;
    const struct layer layer = {.qkv = qkv,
                                .index = index,
                                .tokens = qkv->tokens,
                                .values = qkv_values(qkv, index, 0),
                                .head_dim_v = qkv->head_dim,
                                .v_head_stride = (size_t)qkv->tokens * qkv->head_dim};
    float *identity = calloc(shown * shown * qkv->kv_heads, sizeof *identity);
    const struct layer weights = {.qkv = qkv,
                                  .index = index,
                                  .tokens = shown,
                                  .values = identity,
                                  .head_dim_v = (uint32_t)shown,
                                  .v_head_stride = shown * shown};
    const size_t floats =
        output_floats(&layer) > output_floats(&weights) ? output_floats(&layer) : output_floats(&weights);
    float *exact = calloc(2 * floats, sizeof *exact);
    tq_status status = TQ_ERR_OUT_OF_MEMORY;
    if (identity != NULL && exact != NULL) {
        for (size_t i = 0; i < shown * qkv->kv_heads; i++) {
            identity[i * shown + i % shown] = 1;
        }
        const struct pass outputs = {context, seed, &layer, false, exact, exact + floats};
        const struct pass shares = {context, seed, &weights, true, exact, exact + floats};
        status = run_pass(&outputs, sums, sparse);
        if (status == TQ_OK) {
            status = run_pass(&shares, sums, sparse);
        }
    }
    free(identity);
    free(exact);
    return status;
}

static tq_status measure_bytes(const tq_context *context, const struct qkv *qkv, struct result *results)
{
    const struct layer layer = {.qkv = qkv, .head_dim_v = qkv->head_dim};
    const struct pass pass = {.layer = &layer};
    tq_status status = TQ_OK;
    for (size_t p = 0; p < PAIRS && status == TQ_OK; p++) {
        const tq_cache_desc desc = describe(&pass, pairs[p].k_format, pairs[p].v_format);
        size_t bytes;
        status = cache_page_bytes(context, &desc, &bytes);
        results[p].bytes = (double)bytes / TQ_PAGE_TOKENS / qkv->kv_heads;
    }
    return status;
}

static double relative_error(const struct sums *sums)
{
    return sums->norm > 0 ? sqrt(sums->error / sums->norm) : 0;
}

static tq_status measure(const tq_context *context, const struct qkv *qkv, uint64_t seed, struct result *results)
{
    struct sums sums[PAIRS][VARIANTS] = {{{0}}};
    struct sparse_sums sparse[PAIRS][THRESHOLDS];
    memset(sparse, 0, sizeof sparse);
    tq_status status = measure_bytes(context, qkv, results);
    for (uint32_t index = 0; index < qkv->layers && status == TQ_OK; index++) {
        status = measure_layer(context, qkv, seed, index, sums, sparse);
    }
    for (size_t i = 0; i < (size_t)PAIRS * VARIANTS; i++) {
        const struct sums *sum = &sums[i / VARIANTS][i % VARIANTS];
        results[i / VARIANTS].error[i % VARIANTS] = relative_error(sum);
        results[i / VARIANTS].kl[i % VARIANTS] = sum->queries > 0 ? sum->divergence / (double)sum->queries : 0;
    }
    for (size_t i = 0; i < (size_t)PAIRS * THRESHOLDS; i++) {
        const struct sparse_sums *sum = &sparse[i / THRESHOLDS][i % THRESHOLDS];
        results[i / THRESHOLDS].sparse_error[i % THRESHOLDS] = relative_error(&sum->outputs);
        results[i / THRESHOLDS].passed_over[i % THRESHOLDS] =
            sum->pages > 0 ? (double)sum->passed_over / (double)sum->pages : 0;
    }
    return status;
}

/* A line for each pair; `column` says which numbers. */
static void print_rows(const char *title, const struct result *results, const double *(*column)(const struct result *))
{
    printf("\n%s\n%-17s %6s", title, "K/V", "bytes");
    for (size_t v = 0; v < VARIANTS; v++) {
        printf(" %12s", variants[v].heading);
    }
    for (size_t p = 0; p < PAIRS; p++) {
        printf("\n%-17s %6.0f", pairs[p].name, results[p].bytes);
        for (size_t v = 0; v < VARIANTS; v++) {
            printf(" %12.5f", column(&results[p])[v]);
        }
    }
    putchar('\n');
}

static const double *errors_of(const struct result *result)
{
    return result->error;
}

static const double *kls_of(const struct result *result)
{
    return result->kl;
}

static void print_sparse(const struct result *results)
{
    printf("\nSparse values, with means and 64 exact: error of the outputs, and pages passed over\n%-24s", "K/V");
    for (size_t t = 0; t < THRESHOLDS; t++) {
        printf("  skip_below %9g", (double)thresholds[t]);
    }
    for (size_t p = 0; p < PAIRS; p++) {
        printf("\n%-24s", pairs[p].name);
        for (size_t t = 0; t < THRESHOLDS; t++) {
            printf("  %12.5f %5.1f %%", results[p].sparse_error[t], 100 * results[p].passed_over[t]);
        }
    }
    putchar('\n');
}

static void print_table(const struct qkv *qkv, const char *data, const struct result *results)
{
    printf(
        "turboquant %s, cache on %s\n%u layers, %u KV heads, head_dim %u, %u tokens; against a cache of f16, positions"
        " %u and above\n",
        tq_version_string(), data, qkv->layers, qkv->kv_heads, qkv->head_dim, qkv->tokens, qkv->tokens / 2);
    print_rows("Relative error of the attention outputs", results, errors_of);
    print_rows("KL divergence of the attention weights, nats, mean over queries and heads", results, kls_of);
    print_sparse(results);
    printf("\nbytes: of an encoded token and KV head, K and V with their means (4 at head_dim 128 less without "
           "each).\n");
    if (qkv->tokens > TQ_MAX_DIM) {
        printf("The divergence is that of the first %d tokens, positions %d and above.\n", TQ_MAX_DIM, TQ_MAX_DIM / 2);
    }
}

static void write_json(FILE *out, const struct result *results)
{
    fprintf(out, "{\"version\": \"%s\", \"quality\": [", tq_version_string());
    for (size_t p = 0; p < PAIRS; p++) {
        fprintf(out, "%s\n  {\"formats\": \"%s\", \"bytes\": %.9g", p == 0 ? "" : ",", pairs[p].name, results[p].bytes);
        for (size_t v = 0; v < VARIANTS; v++) {
            fprintf(out, ", \"%s\": %.9g", variants[v].name, results[p].error[v]);
        }
        for (size_t v = 0; v < VARIANTS; v++) {
            fprintf(out, "%s\"%s\": %.9g", v == 0 ? ", \"kl\": {" : ", ", variants[v].name, results[p].kl[v]);
        }
        fputs("}", out);
        for (size_t t = 0; t < THRESHOLDS; t++) {
            fprintf(out, "%s{\"skip_below\": %.9g, \"error\": %.9g, \"passed_over\": %.9g}",
                    t == 0 ? ", \"sparse\": [" : ", ", (double)thresholds[t], results[p].sparse_error[t],
                    results[p].passed_over[t]);
        }
        fputs("]}", out);
    }
    fputs("\n]}\n", out);
}

static int run(const struct qkv *qkv, const char *data, uint64_t seed, FILE *json)
{
    struct result results[PAIRS];
    tq_context *context;
    tq_status status = tq_context_create(NULL, &context);
    if (status == TQ_OK) {
        status = measure(context, qkv, seed, results);
        tq_context_destroy(context);
    }
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
