/* SPDX-License-Identifier: MIT */
/* tq info: this build, this machine, formats; and what is in a model file. */
#include <inttypes.h>
#include <stdio.h>

#include "arguments.h"
#include "blas.h"
#include "commands.h"
#include "gguf.h"
#include "json.h"
#include "machine.h"
#include "model.h"
#include "tensor.h"
#include "turboquant.h"

static const char usage[] = "usage: tq info [MODEL] [--json]\n";

enum { EXAMPLE_DIM = 128 };

struct info {
    struct machine machine;
    tq_context *context;
    bool has_model;
    struct gguf gguf;
    struct model model;
};

/* Bytes of a vector of EXAMPLE_DIM coordinates. */
static size_t row_bytes(const tq_context *context, tq_format format)
{
    tq_codec_desc desc = TQ_CODEC_DESC_INIT;
    tq_codec *codec;
    desc.dim = EXAMPLE_DIM;
    desc.format = format;
    if (tq_codec_create(context, &desc, &codec) != TQ_OK) {
        return 0;
    }
    const size_t bytes = tq_codec_bytes(codec);
    tq_codec_destroy(codec);
    return bytes;
}

/* Tensors of one type, all together; null types are skipped. */
static uint64_t tensor_bytes(const struct gguf *gguf, uint32_t type, size_t *n)
{
    uint64_t bytes = 0;
    *n = 0;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        if (gguf->tensors[i].type->id == type) {
            bytes += gguf->tensors[i].bytes;
            ++*n;
        }
    }
    return bytes;
}

enum { LAST_TYPE = 30 };

static void report_model(const struct info *info)
{
    const struct model *m = &info->model;
    printf("\nmodel         %.*s, %.*s, %.1f M parameters\n", (int)m->name.size, m->name.data,
           (int)m->architecture.size, m->architecture.data, 1e-6 * (double)m->n_parameters);
    printf("layers        %" PRIu32 ", width %" PRIu32 ", FFN %" PRIu32 "\n", m->n_layers, m->width, m->ffn_width);
    printf("heads         %" PRIu32 " query, %" PRIu32 " KV, head_dim %" PRIu32, m->n_q_heads, m->n_kv_heads,
           m->head_dim);
    if (m->head_dim_v != m->head_dim) {
        printf(" (values: %" PRIu32 ")", m->head_dim_v);
    }
    printf("\nvocabulary    %" PRIu32 ", context %" PRIu32 "\n", m->n_vocabulary, m->context_length);
    for (uint32_t type = 0; type <= LAST_TYPE; type++) {
        size_t n;
        const uint64_t bytes = tensor_bytes(&info->gguf, type, &n);
        if (n > 0) {
            printf("%-13s %zu tensors, %" PRIu64 " bytes\n", tensor_type_find(type)->name, n, bytes);
        }
    }
}

static void report(const struct info *info)
{
    const char *name;
    int usable;
    printf("libturboquant %s, cache kernels %s (of", tq_version_string(), tq_context_backend(info->context));
    for (size_t i = 0; (name = tq_backend_name(i, &usable)) != NULL; i++) {
        printf(" %s%s", name, usable ? "" : " [not here]");
    }
    printf(")\nCPU           %s, %ld cores\ncompiler      %s\nflags         %s\n", info->machine.cpu,
           info->machine.cores, info->machine.compiler, info->machine.flags);
    printf("engine        OpenBLAS kernels %s, rows %s\n", blas_kernels(), tensor_loops_best()->name);
    printf("formats       bytes of a vector of %d:", EXAMPLE_DIM);
    for (size_t i = 0; i < tq_format_count(); i++) {
        const tq_format format = tq_format_at(i);
        printf(" %s %zu%s", tq_format_name(format), row_bytes(info->context, format),
               i + 1 < tq_format_count() ? "," : "\n");
    }
    if (info->has_model) {
        report_model(info);
    }
}

static void report_json_model(const struct info *info)
{
    const struct model *m = &info->model;
    printf(",\n \"model\": {\"name\": ");
    json_text(stdout, m->name.data, m->name.size);
    printf(", \"architecture\": ");
    json_text(stdout, m->architecture.data, m->architecture.size);
    printf(", \"parameters\": %" PRIu64 ", \"layers\": %" PRIu32 ", \"width\": %" PRIu32 ", \"ffn_width\": %" PRIu32
           ", \"query_heads\": %" PRIu32 ", \"kv_heads\": %" PRIu32 ", \"head_dim\": %" PRIu32
           ", \"head_dim_v\": %" PRIu32 ", \"vocabulary\": %" PRIu32 ", \"context\": %" PRIu32 "}",
           m->n_parameters, m->n_layers, m->width, m->ffn_width, m->n_q_heads, m->n_kv_heads, m->head_dim,
           m->head_dim_v, m->n_vocabulary, m->context_length);
}

static void report_json(const struct info *info)
{
    const struct {
        const char *key;
        const char *value;
    } texts[] = {{"version", tq_version_string()},   {"backend", tq_context_backend(info->context)},
                 {"cpu", info->machine.cpu},         {"compiler", info->machine.compiler},
                 {"flags", info->machine.flags},     {"openblas", blas_kernels()},
                 {"rows", tensor_loops_best()->name}};
    printf("{");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        printf("\"%s\": ", texts[i].key);
        json_string(stdout, texts[i].value);
        printf(",\n ");
    }
    printf("\"cores\": %ld,\n \"backends\": [", info->machine.cores);
    const char *name;
    int usable;
    for (size_t i = 0; (name = tq_backend_name(i, &usable)) != NULL; i++) {
        printf("%s{\"name\": \"%s\", \"usable\": %s}", i > 0 ? ", " : "", name, usable ? "true" : "false");
    }
    printf("],\n \"formats\": [");
    for (size_t i = 0; i < tq_format_count(); i++) {
        const tq_format format = tq_format_at(i);
        printf("%s{\"name\": \"%s\", \"bytes_at_%d\": %zu}", i > 0 ? ", " : "", tq_format_name(format), EXAMPLE_DIM,
               row_bytes(info->context, format));
    }
    printf("]");
    if (info->has_model) {
        report_json_model(info);
    }
    printf("}\n");
}

int info_main(int argc, char **argv)
{
    bool json = false;
    int exit_code;
    const struct option options[] = {{"--json", NULL, NULL, &json}, {NULL, NULL, NULL, NULL}};
    const struct command_line line = {usage, "info takes at most a MODEL", 0, 1, 0, options};
    struct info info = {.machine = machine_describe()};
    struct arguments arguments;
    struct error error;
    if (!arguments_parse(&arguments, argc, argv, &line, &exit_code)) {
        return exit_code;
    }
    info.has_model = arguments.n_unnamed == 1;
    bool ok = !info.has_model ||
              (gguf_open(&info.gguf, arguments.unnamed[0], &error) && model_load(&info.model, &info.gguf, &error));
    if (ok && tq_context_create(NULL, &info.context) != TQ_OK) {
        ok = error_run(&error, "the library cannot start: is TURBOQUANT_BACKEND a backend of this machine?");
    }
    if (ok && json) {
        report_json(&info);
    } else if (ok) {
        report(&info);
    }
    exit_code = ok ? 0 : error_report(&error);
    tq_context_destroy(info.context);
    model_free(&info.model);
    gguf_close(&info.gguf);
    arguments_free(&arguments);
    return exit_code;
}
