/* SPDX-License-Identifier: MIT */
/* tq inspect: what is in a saved cache. All of it is read, so that damage shows. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "commands.h"
#include "json.h"
#include "saved_run.h"
#include "turboquant.h"

static const char usage[] =
    "usage: tq inspect FILE [--json]   (FILE: of tq run --save, or of the library's tq_cache_save)\n";

enum { MAX_LAYERS = 65536 };

struct inspection {
    const char *path;
    tq_context *context;
    tq_cache *cache;
    tq_seq *seq;
    tq_cache_desc desc;
    tq_layer_formats *layers; /* [MAX_LAYERS] As the cache really has them. */
    size_t n_tokens;
    size_t f16_bytes; /* Of a cache of f16 with as many tokens. */
    size_t file_bytes;
    tq_cache_stats_result stats;
    struct tokens text; /* Of a saved generation; empty if the file is a cache and nothing else. */
    struct error last;  /* What the library's log said last. */
};

static void log_message(void *user, tq_status status, const char *sentence)
{
    struct inspection *self = user;
    const int exit_code = status == TQ_ERR_OUT_OF_MEMORY ? EXIT_RUN : EXIT_INPUT;
    error_set(&self->last, exit_code, "%s: %s", self->path, sentence);
}

static size_t read_file(void *user, void *data, size_t size)
{
    return fread(data, 1, size, user);
}

static bool succeeded(const struct inspection *self, tq_status status, struct error *error)
{
    if (status != TQ_OK) {
        *error = self->last;
    }
    return status == TQ_OK;
}

static bool start(struct inspection *self, struct error *error)
{
    const tq_context_desc desc = {.struct_size = sizeof desc, .log = {log_message, self}};
    self->layers = calloc(MAX_LAYERS, sizeof *self->layers);
    if (self->layers == NULL) {
        return error_run(error, "not enough memory");
    }
    return succeeded(self, tq_context_create(&desc, &self->context), error);
}

static bool read_cache(struct inspection *self, FILE *file, struct error *error)
{
    const tq_reader reader = {read_file, file};
    self->desc = (tq_cache_desc){.struct_size = sizeof self->desc};
    if (!succeeded(self, tq_cache_read_desc(self->context, &reader, &self->desc, self->layers, MAX_LAYERS), error)) {
        return false;
    }
    if (fseek(file, 0, SEEK_SET) != 0) {
        return error_input(error, "%s: cannot be read twice", self->path);
    }
    return succeeded(self, tq_cache_create(self->context, &self->desc, &self->cache), error) &&
           succeeded(self, tq_cache_load(self->cache, &reader, &self->seq), error);
}

/* What stands behind the cache: nothing, or the tokens of a generation. */
static bool read_text(struct inspection *self, FILE *file, struct error *error)
{
    const int next = fgetc(file);
    if (next != EOF && (ungetc(next, file) == EOF || !saved_run_read_tokens(file, self->path, &self->text, error))) {
        return false;
    }
    if (fgetc(file) != EOF) {
        return error_input(error, "%s: there is something behind the cache that is not understood", self->path);
    }
    self->file_bytes = (size_t)ftell(file);
    return true;
}

static bool measure(struct inspection *self, struct error *error)
{
    tq_cache_desc f16 = self->desc;
    f16.layers = NULL;
    f16.k_format = TQ_FORMAT_F16;
    f16.v_format = TQ_FORMAT_F16;
    self->n_tokens = tq_seq_length(self->seq, 0);
    self->stats.struct_size = sizeof self->stats;
    bool ok = succeeded(self, tq_cache_stats(self->cache, &self->stats), error) &&
              succeeded(self, tq_cache_estimate(self->context, &f16, self->n_tokens, &self->f16_bytes), error);
    for (uint32_t layer = 0; layer < self->desc.n_layers && ok; layer++) {
        ok = succeeded(self, tq_cache_layer_formats(self->cache, layer, &self->layers[layer]), error);
    }
    return ok;
}

static bool inspect(struct inspection *self, struct error *error)
{
    FILE *file = fopen(self->path, "rb");
    if (file == NULL) {
        return error_input(error, "%s: cannot be opened: %s", self->path, strerror(errno));
    }
    const bool ok =
        start(self, error) && read_cache(self, file, error) && read_text(self, file, error) && measure(self, error);
    fclose(file);
    return ok;
}

/* The first layer after `layer` that has other formats, or the number of layers. */
static uint32_t end_of_range(const struct inspection *self, uint32_t layer)
{
    uint32_t end = layer + 1;
    while (end < self->desc.n_layers && self->layers[end].k_format == self->layers[layer].k_format &&
           self->layers[end].v_format == self->layers[layer].v_format) {
        end++;
    }
    return end;
}

static unsigned long recent_tokens(const struct inspection *self)
{
    return self->desc.recent_tokens == TQ_NO_RECENT_TOKENS ? 0UL : (unsigned long)self->desc.recent_tokens;
}

static const char *means(const struct inspection *self)
{
    const uint32_t flags = self->desc.flags & (TQ_CACHE_NO_K_MEANS | TQ_CACHE_NO_V_MEANS);
    return flags == 0 ? "on" : flags == TQ_CACHE_NO_V_MEANS ? "k" : flags == TQ_CACHE_NO_K_MEANS ? "v" : "off";
}

static void report(const struct inspection *self)
{
    const tq_cache_desc *d = &self->desc;
    printf("file      %s, %zu bytes\n", self->path, self->file_bytes);
    printf("shape     %lu layers, %lu KV heads, head_dim %lu", (unsigned long)d->n_layers, (unsigned long)d->n_kv_heads,
           (unsigned long)d->head_dim_k);
    if (d->head_dim_v != 0 && d->head_dim_v != d->head_dim_k) {
        printf(" (values: %lu)", (unsigned long)d->head_dim_v);
    }
    printf("\ntokens    %zu", self->n_tokens);
    if (self->text.n > 0) {
        printf("; the generation has %zu, the last of them not yet in the cache", self->text.n);
    }
    printf("\noptions   sink=%lu,recent=%lu,means=%s, seed %llu\n", (unsigned long)d->sink_tokens, recent_tokens(self),
           means(self), (unsigned long long)d->seed);
    for (uint32_t layer = 0; layer < d->n_layers; layer = end_of_range(self, layer)) {
        const unsigned long last = (unsigned long)end_of_range(self, layer) - 1;
        printf("%-9s layers %lu-%lu: keys %s, values %s\n", layer == 0 ? "formats" : "", (unsigned long)layer, last,
               tq_format_name(self->layers[layer].k_format), tq_format_name(self->layers[layer].v_format));
    }
    printf("memory    %zu bytes: %zu encoded, %zu exact", self->stats.page_bytes, self->stats.encoded_bytes,
           self->stats.exact_bytes);
    if (self->n_tokens > 0) {
        printf("; %.1f per token, 1 / %.2f of f16", (double)self->stats.page_bytes / (double)self->n_tokens,
               (double)self->f16_bytes / (double)self->stats.page_bytes);
    }
    printf("\n");
}

static void report_json(const struct inspection *self)
{
    const tq_cache_desc *d = &self->desc;
    printf("{\"file\": ");
    json_string(stdout, self->path);
    printf(
        ", \"file_bytes\": %zu,\n \"layers\": %lu, \"kv_heads\": %lu, \"head_dim\": %lu, \"head_dim_v\": %lu,\n"
        " \"tokens\": %zu, \"text_tokens\": %zu, \"sink\": %lu, \"recent\": %lu, \"means\": \"%s\", \"seed\": %llu,\n"
        " \"page_bytes\": %zu, \"encoded_bytes\": %zu, \"exact_bytes\": %zu, \"f16_bytes\": %zu,\n \"formats\": [",
        self->file_bytes, (unsigned long)d->n_layers, (unsigned long)d->n_kv_heads, (unsigned long)d->head_dim_k,
        (unsigned long)(d->head_dim_v != 0 ? d->head_dim_v : d->head_dim_k), self->n_tokens, self->text.n,
        (unsigned long)d->sink_tokens, recent_tokens(self), means(self), (unsigned long long)d->seed,
        self->stats.page_bytes, self->stats.encoded_bytes, self->stats.exact_bytes, self->f16_bytes);
    for (uint32_t layer = 0; layer < d->n_layers; layer++) {
        printf("%s{\"k\": \"%s\", \"v\": \"%s\"}", layer > 0 ? ", " : "", tq_format_name(self->layers[layer].k_format),
               tq_format_name(self->layers[layer].v_format));
    }
    printf("]}\n");
}

int inspect_main(int argc, char **argv)
{
    bool json = false;
    int exit_code;
    const struct option options[] = {{"--json", NULL, NULL, &json}, {NULL, NULL, NULL, NULL}};
    const struct command_line line = {usage, "inspect takes FILE", 1, 1, 0, options};
    struct inspection inspection = {.context = NULL};
    struct arguments arguments;
    struct error error;
    if (!arguments_parse(&arguments, argc, argv, &line, &exit_code)) {
        return exit_code;
    }
    inspection.path = arguments.unnamed[0];
    const bool ok = inspect(&inspection, &error);
    if (ok && json) {
        report_json(&inspection);
    } else if (ok) {
        report(&inspection);
    }
    exit_code = ok ? 0 : error_report(&error);
    tokens_free(&inspection.text);
    tq_cache_destroy(inspection.cache);
    tq_context_destroy(inspection.context);
    free(inspection.layers);
    arguments_free(&arguments);
    return exit_code;
}
