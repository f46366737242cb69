/* SPDX-License-Identifier: MIT */
/* tq estimate: memory of keys and values. */
#include <stdio.h>
#include <stdlib.h>

#include "arguments.h"
#include "commands.h"
#include "json.h"
#include "kv_store.h"

static const char usage[] =
    "usage: tq estimate MODEL [OPTIONS]\n"
    "       tq estimate --layers N --kv-heads N --head-dim N [OPTIONS]\n"
    "  --head-dim-v N    of values, if it is not that of keys\n"
    "  --context N       tokens (the model's context, or 8192)\n"
    "  --memory N        GiB that keys and values may take: the longest context that fits is printed, too\n"
    "  --config STRING   may be given several times (f16, the formats of the library, q8_0, q4_0)\n"
    "  --json            for scripts\n";

static const char *const usual_configs[] = {"f16",     "turbo8", "turbo4t", "turbo4", "k=turbo4t,v=turbo3t",
                                            "turbo3t", "turbo3", "turbo2t", "turbo2", "turbo1",
                                            "q8_0",    "q4_0"};

enum { N_USUAL_CONFIGS = sizeof usual_configs / sizeof *usual_configs, DEFAULT_CONTEXT = 8192 };

/* Beyond this no context is looked for. */
static const size_t MAX_CONTEXT = (size_t)1 << 40;

struct estimate {
    struct model model;   /* The sizes of its keys and values are set. */
    const char **configs; /* f16 first, if they are the usual ones. */
    size_t n_configs;
    bool usual; /* Then what does not exist for the dimension is left out. */
    size_t context;
    size_t memory; /* Bytes; 0: nothing is to fit. */
    bool json;
};

struct estimate_row {
    size_t bytes; /* 0: left out. */
    size_t f16_bytes;
    size_t longest; /* Tokens that fit. */
};

/* A cache grows by pages: 64 tokens more take as much memory as one more. */
static size_t find_longest(const struct estimate *estimate, const struct cache_config *config)
{
    const size_t step = cache_config_is_plain(config) ? 1 : TQ_PAGE_TOKENS;
    size_t fits = 0;
    size_t too_many = MAX_CONTEXT / step;
    while (too_many - fits > 1) {
        const size_t middle = fits + (too_many - fits) / 2;
        size_t bytes;
        struct error too_large; /* What cannot be counted does not fit. */
        if (kv_store_estimate(config, &estimate->model, middle * step, &bytes, &too_large) &&
            bytes <= estimate->memory) {
            fits = middle;
        } else {
            too_many = middle;
        }
    }
    return fits * step;
}

static bool compute(const struct estimate *estimate, const char *text, struct estimate_row *row, struct error *error)
{
    struct cache_config config;
    struct cache_config f16;
    if (!cache_config_parse(text, &config, error) || !cache_config_parse("f16", &f16, error) ||
        !kv_store_estimate(&f16, &estimate->model, estimate->context, &row->f16_bytes, error) ||
        !kv_store_estimate(&config, &estimate->model, estimate->context, &row->bytes, error)) {
        return false;
    }
    row->longest = estimate->memory > 0 ? find_longest(estimate, &config) : 0;
    return true;
}

static void report_head(const struct estimate *estimate)
{
    const struct model *m = &estimate->model;
    if (estimate->json) {
        printf("{\"layers\": %lu, \"kv_heads\": %lu, \"head_dim\": %lu, \"head_dim_v\": %lu, \"context\": %zu, "
               "\"memory\": %zu,\n \"rows\": [",
               (unsigned long)m->n_layers, (unsigned long)m->n_kv_heads, (unsigned long)m->head_dim,
               (unsigned long)m->head_dim_v, estimate->context, estimate->memory);
        return;
    }
    printf("%lu layers, %lu KV heads, head_dim %lu; %zu tokens, windows of exact tokens and page means included\n\n",
           (unsigned long)m->n_layers, (unsigned long)m->n_kv_heads, (unsigned long)m->head_dim, estimate->context);
    printf("%-48s %10s %10s %7s", "config", "B/token", "MiB", "f16 /");
    if (estimate->memory > 0) {
        printf(" %12s", "longest");
    }
    printf("\n");
}

static void report_row(const struct estimate *estimate, size_t index, const struct estimate_row *row)
{
    const double per_token = (double)row->bytes / (double)estimate->context;
    const double ratio = (double)row->f16_bytes / (double)row->bytes;
    if (estimate->json) {
        printf("%s\n  {\"config\": ", index > 0 ? "," : "");
        json_string(stdout, estimate->configs[index]);
        printf(", \"bytes\": %zu, \"bytes_per_token\": ", row->bytes);
        json_number(stdout, per_token);
        printf(", \"ratio\": ");
        json_number(stdout, ratio);
        if (estimate->memory > 0) {
            printf(", \"longest_context\": %zu", row->longest);
        }
        printf("}");
        return;
    }
    printf("%-48s %10.1f %10.2f %7.2f", estimate->configs[index], per_token, (double)row->bytes / (1 << 20), ratio);
    if (estimate->memory > 0) {
        printf(" %12zu", row->longest);
    }
    printf("\n");
}

static bool run(const struct estimate *estimate, struct error *error)
{
    struct estimate_row *rows = calloc(estimate->n_configs, sizeof *rows);
    bool ok = rows != NULL || error_run(error, "not enough memory");
    for (size_t i = 0; i < estimate->n_configs && ok; i++) {
        ok = compute(estimate, estimate->configs[i], &rows[i], error);
        if (!ok && estimate->usual && i > 0) {
            rows[i].bytes = 0;
            ok = true;
        }
    }
    if (ok) {
        report_head(estimate);
        for (size_t i = 0; i < estimate->n_configs; i++) {
            if (rows[i].bytes > 0) {
                report_row(estimate, i, &rows[i]);
            }
        }
        printf("%s", estimate->json ? "\n ]}\n" : "");
    }
    free(rows);
    return ok;
}

/* What stands in place of a model file. */
struct shape {
    uint64_t layers;
    uint64_t kv_heads;
    uint64_t head_dim;
    uint64_t head_dim_v;
};

static bool take_shape(const struct shape *shape, bool has_model, struct model *model, struct error *error)
{
    enum { MOST = 1 << 20 };
    const bool any = shape->layers > 0 || shape->kv_heads > 0 || shape->head_dim > 0 || shape->head_dim_v > 0;
    const bool all = shape->layers > 0 && shape->kv_heads > 0 && shape->head_dim > 0;
    if (has_model ? any : !all) {
        return error_input(error, "estimate takes MODEL, or --layers, --kv-heads and --head-dim (--help says more)");
    }
    if (shape->layers > MOST || shape->kv_heads > MOST || shape->head_dim > MOST || shape->head_dim_v > MOST) {
        return error_input(error, "no model has more than %d layers, heads or coordinates", MOST);
    }
    if (!has_model) {
        model->n_layers = (uint32_t)shape->layers;
        model->n_kv_heads = (uint32_t)shape->kv_heads;
        model->head_dim = (uint32_t)shape->head_dim;
        model->head_dim_v = (uint32_t)(shape->head_dim_v > 0 ? shape->head_dim_v : shape->head_dim);
        model->context_length = DEFAULT_CONTEXT;
    }
    return true;
}

static bool take_memory(const char *value, struct estimate *estimate, struct error *error)
{
    float gib = 0.0F;
    if (!arguments_real("--memory", value, &gib, error)) {
        return false;
    }
    if (value != NULL && !(gib > 0.0F && gib < 1e6F)) {
        return error_input(error, "--memory takes more than 0 and less than a million GiB");
    }
    estimate->memory = (size_t)((double)gib * (1 << 30));
    return true;
}

int estimate_main(int argc, char **argv)
{
    struct shape shape = {.layers = 0};
    uint64_t context = 0;
    const char *memory = NULL;
    struct estimate estimate = {.json = false};
    int exit_code;
    const struct option options[] = {
        {"--layers", NULL, &shape.layers, NULL},     {"--kv-heads", NULL, &shape.kv_heads, NULL},
        {"--head-dim", NULL, &shape.head_dim, NULL}, {"--head-dim-v", NULL, &shape.head_dim_v, NULL},
        {"--context", NULL, &context, NULL},         {"--memory", &memory, NULL, NULL},
        {"--json", NULL, NULL, &estimate.json},      {NULL, NULL, NULL, NULL}};
    const struct command_line line = {usage, "estimate takes at most a MODEL", 0, 1, ANY_CONFIGS, options};
    struct gguf gguf = {.mapping = NULL};
    struct arguments arguments;
    struct error error;
    if (!arguments_parse(&arguments, argc, argv, &line, &exit_code)) {
        return exit_code;
    }
    const bool has_model = arguments.n_unnamed == 1;
    bool ok =
        take_shape(&shape, has_model, &estimate.model, &error) && take_memory(memory, &estimate, &error) &&
        (!has_model || (gguf_open(&gguf, arguments.unnamed[0], &error) && model_load(&estimate.model, &gguf, &error)));
    estimate.context = context > 0 ? context : estimate.model.context_length;
    estimate.usual = arguments.n_configs == 0;
    estimate.configs = arguments.n_configs > 0 ? arguments.configs : (const char **)usual_configs;
    estimate.n_configs = arguments.n_configs > 0 ? arguments.n_configs : N_USUAL_CONFIGS;
    ok = ok && run(&estimate, &error);
    exit_code = ok ? 0 : error_report(&error);
    model_free(&estimate.model);
    gguf_close(&gguf);
    arguments_free(&arguments);
    return exit_code;
}
